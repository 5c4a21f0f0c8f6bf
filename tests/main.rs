//! The one integration binary: a module per capability, fixtures in `support/`.

mod helm;
mod layers;
mod yaml;
