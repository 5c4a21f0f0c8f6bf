//! The one integration binary: a module per capability, fixtures in `support/`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that fails says so by panicking"
)]

mod access;
mod archive;
mod discover;
mod faults;
mod layers;
mod serve;
mod stock_registry;
mod support;
mod transport;
mod trust;
mod yaml;
