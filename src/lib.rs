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
//! | words | [`oci`] | digests, references, descriptors, views of manifests |
//! | words | [`event`] | what the library tells while it works |
//! | places | [`files`] | reading from disk with limits |
//! | places | [`net`] | the HTTP client: trust, queues, retries, redirects |
//! | places | [`store`] | sources, sinks, walking and copying content |
//! | places | [`registry`] | one repository of a registry as source and sink |
#![forbid(unsafe_code)]

pub mod error;
pub mod tree;

pub mod oci;

pub mod event;

pub mod files;
pub mod net;
pub mod store;

pub mod registry;
