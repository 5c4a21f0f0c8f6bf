//! `bundle`: resolve, pin, sign, carry and load everything that a Kubernetes deployment needs, without internet on the
//! other side.
//!
//! ```text
//!  bundle.yaml ─parse→ Spec ─resolve→ Lock ─fetch→ Archive ═(sneakernet)═ Archive ─load→ registry (+ receipt)
//!                             │             │                       └─serve→ OCI registry over HTTP
//!                      kube · discover  store · registry
//!                    (pure, no network) (every byte verified)
//! ```
//!
//! A module imports only modules above its own line; modules on one line of verbs never import each other. A test reads
//! this folder and fails on an upward import.
//!
//! | layer | module | owns |
//! |---|---|---|
//! | words | [`error`] | kinds of failure, exit codes, diagnostics |
//! | words | [`tree`] | paths that cannot escape, files in memory |
//! | words | [`yaml`] | YAML and JSON documents with the place of every value |
//! | words | [`oci`] | digests, references, descriptors, views of manifests |
//! | words | [`event`] | what the library tells while it works |
//! | nouns | [`helm`] | charts rendered as helm renders them |
//! | places | [`store`] | sources, sinks, walking and copying content |
#![forbid(unsafe_code)]

pub mod error;
pub mod tree;
pub mod yaml;

pub mod oci;

pub mod event;

pub mod helm;

pub mod store;
