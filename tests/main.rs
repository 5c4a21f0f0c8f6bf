//! The one integration binary: a module per capability, fixtures in `support/`.

mod archive;
mod layers;
mod local_images;
mod tampering;
mod walking;
