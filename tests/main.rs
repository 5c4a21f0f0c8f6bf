//! The one integration binary: a module per capability, fixtures in `support/`.

mod archive;
mod discover;
mod layers;
mod yaml;
