//! The one integration binary: a module per capability, fixtures in `support/`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that fails says so by panicking"
)]

mod access;
mod archive;
mod charts;
mod cli_archive;
mod cluster;
mod demo;
mod discover;
mod docs;
mod faults;
mod findings;
mod gitops;
mod helm;
mod issuer;
mod journey;
mod kustomize;
mod layers;
mod local_images;
mod optional;
mod preflight;
mod relocate;
mod serve;
mod stacks;
mod stock_registry;
mod support;
mod tampering;
mod tls;
mod transport;
mod trust;
mod walking;
mod yaml;
