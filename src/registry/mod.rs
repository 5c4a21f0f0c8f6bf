//! One repository of a registry as [`Source`](crate::store::Source) and [`Sink`](crate::store::Sink).
//!
//! | file | owns |
//! |---|---|
//! | `wire.rs`, `challenge.rs`, `scope.rs`, `token.rs` | what registries say, read without I/O |
//! | `credentials.rs`, `helper.rs` | whose credentials go to which registry |
//! | `realm.rs` | which token servers get them |
//! | `endpoint.rs` | one registry: its address, authentication, what it can do |
//! | `remote.rs` | [`Remote`]: one repository; reading blobs |
//! | `manifests.rs` | manifests and tags |
//! | `upload.rs`, `session.rs`, `feed.rs` | writing blobs: the ladder of upload methods |
//! | `probe.rs` | questions that change nothing |
//! | `referrers.rs` | signatures and other content that refers to an image |
//!
//! # Invariants
//! - The digest of a manifest is computed from its bytes; what a registry says about it must agree.
//! - A blob is hashed on its way up, and its last bytes are sent only when the hash is right: a registry never gets to
//!   commit wrong bytes.
//! - Credentials go to the registry that they are for and to its token server; see [`crate::net`] and `realm.rs`.
//! - "Could not check" is never "not there": only 404 means that, and for referrers the registry's own word that it has no
//!   such operation.
//!
//! # Failure
//! [`Error`]: always with registry and repository, and with the registry's own code and message where it gave them.

mod challenge;
mod credentials;
mod endpoint;
mod error;
mod feed;
mod helper;
mod manifests;
mod probe;
mod realm;
mod referrers;
mod remote;
mod scope;
mod session;
mod token;
mod upload;
mod wire;

pub use challenge::Challenge;
pub use credentials::{Credentials, Found, Login};
pub use error::{Error, Mismatch, PagesProblem, Place, Who};
pub use manifests::{By, RawManifest};
pub use probe::{Given, Pong};
pub use remote::{Registries, Remote};
pub use scope::Scopes;
pub use wire::{Answer, ContentRange, LocationError, location, next_link, upload_range};
