//! The one integration binary: a module per capability, fixtures in `support/`.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a fixture that fails should fail its test, and say so")]

mod access;
mod layers;
mod stock_registry;
mod support;
mod tls;
mod transport;
