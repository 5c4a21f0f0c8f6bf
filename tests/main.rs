//! The one integration binary: a module per capability, fixtures in `support/`.

mod layers;
mod yaml;
