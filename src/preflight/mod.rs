//! Is the enclave ready? Every finding in one run, before anything is changed.
//!
//! ```text
//!  Archive ─ pushes ─→ registry: name, address, certificate, clock, rights, depth, what is there ┐
//!  charts, manifests ─ needs ─→ cluster: kinds, storage and ingress classes, rights, nodes       ├─→ Report
//!                           └─→ resolver: the names that people will type                        ┘
//! ```
//!
//! | file | owns |
//! |---|---|
//! | `report.rs` | [`Check`], [`Report`]: identifiers, outcomes, the exit code |
//! | `registry.rs`, `rights.rs` | the registry that a load would push to |
//! | `certificate.rs` | what a server's certificate says of itself |
//! | `needs.rs` | what the objects of a deployment ask of a cluster |
//! | `apis.rs` | API versions that Kubernetes removed, as data |
//! | `cluster.rs`, `nodes.rs` | the cluster, held against the needs |
//! | `resolver.rs` | names of hosts |
//!
//! # Invariants
//! - Nothing is changed: registries are asked by HEAD and GET, and by uploads that are given up before any content was sent;
//!   clusters by GET and by access reviews, which are not kept.
//! - "Could not check" is an outcome of its own and never counts as fine in the summary.
//! - One check that fails does not keep the others from running; what depends on it says so.
//!
//! # Failure
//! There is none: whatever goes wrong is a finding of the [`Report`].

mod apis;
mod certificate;
mod cluster;
mod needs;
mod nodes;
mod registry;
mod report;
mod resolver;
mod rights;

pub use cluster::{Carried, check as check_cluster};
pub use needs::Needs;
pub use registry::{Push, Subject, check as check_registry};
pub use report::{Check, Outcome, Report, id};
pub use resolver::check as check_names;

/// Holds the API versions against a Kubernetes version, without any cluster.
pub fn check_version(needs: &Needs, version: (u32, u32)) -> Vec<Check> {
    apis::check(needs, version)
}
