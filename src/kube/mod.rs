//! Kubernetes manifests as values: documents with kind, name and the place where they stand.
//!
//! | file | owns |
//! |---|---|
//! | [`object`] | from text to objects: streams, JSON, lists |
//! | [`hosts`](fn@hosts) | the host names that objects are reached by |
//! | [`kustomize`] | from a folder of resources, patches and generators to objects, as `kubectl kustomize` |
//!
//! # Invariants
//! - Pure: text in, values out. Which files belong to a folder of manifests is told by [`object::is_manifest_file`];
//!   reading them is the caller's part.
//!
//! # Failure
//! Mistakes are [`Diagnostic`](crate::error::Diagnostic)s with file, line and column; nothing is skipped because it
//! could not be read.

mod hosts;
pub mod kustomize;
pub mod object;

pub use hosts::{hosts, is_full_name};
pub use object::{Object, Origin};
