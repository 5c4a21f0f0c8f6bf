//! The one integration binary: a module per capability, fixtures in `support/`.

mod discover;
mod layers;
mod yaml;
