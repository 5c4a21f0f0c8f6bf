//! The one integration binary: a module per capability, fixtures in `support/`.

mod access;
mod layers;
mod stock_registry;
mod support;
mod tls;
mod transport;
