//! A registry over HTTP: the OCI distribution API (specification 1.1) over whatever holds content; and the charts in it as a
//! Helm repository.
//!
//! ```text
//!  archive, layout, memory ── Source + Catalogue ──→ ReadOnly ─┐
//!                                                              ├─ Backend → Registry (API) → listen (sockets, TLS)
//!  a directory of our own ─────────────────────────→ Data ─────┘
//! ```
//!
//! | file | owns |
//! |---|---|
//! | `start.rs` | [`start`], [`Options`], [`Running`]: sockets, TLS, limits, graceful stop |
//! | `api.rs`, `pull.rs`, `push.rs` | requests → answers: dispatch, reading, writing |
//! | `route.rs`, `span.rs`, `refusal.rs`, `arrival.rs` | request lines, ranges and pages, errors, bodies |
//! | `charts.rs` | the same charts as a Helm repository over HTTP |
//! | `plain_files.rs` | files over HTTP, without a client of registries |
//! | `access.rs` | who may use it |
//! | `backend.rs` | [`Backend`], [`Policy`] |
//! | `read_only.rs`, `catalogue.rs` | [`ReadOnly`], [`Catalogue`] |
//! | `from_archive.rs` | [`gather`]: what an archive shows |
//! | `data.rs`, `records.rs` | [`Data`]: uploads, and the records on the disk |
//!
//! # Invariants
//! - No blob is ever whole in memory; a manifest is, and its size is limited.
//! - What is pushed becomes visible only after its digest was computed here and is right; tags move last.
//! - What is served from a source was verified before its last byte leaves.
//!
//! # Failure
//! A refused request is answered with the specification's error codes ([`Refusal`]); a failure of the disk or the source
//! is a 5xx whose true cause only the observer of requests learns. Starting fails with [`StartError`].

mod access;
mod api;
mod arrival;
mod backend;
mod catalogue;
mod charts;
mod data;
mod from_archive;
mod plain_files;
mod pull;
mod push;
mod read_only;
mod records;
mod refusal;
mod route;
mod span;
mod start;

pub use access::{Access, Login};
pub use api::{Visit, Watch, router};
pub use arrival::Arrival;
pub use backend::{Backend, Policy, Pushed, Stored};
pub use catalogue::{Catalogue, Shown};
pub use data::Data;
pub use from_archive::{Carried, CarriedError, gather};
pub use read_only::ReadOnly;
pub use refusal::Refusal;
pub use route::Which;
pub use start::{Limits, Options, Running, StartError, Tls, listen, start};
