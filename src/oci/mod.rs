//! The words of the OCI specifications: digests, references, descriptors, platforms, and views of raw manifests.
//!
//! | file | owns |
//! |---|---|
//! | `digest.rs` | [`Digest`]: sha256 or sha512, nothing else can exist |
//! | `reference.rs` | [`Host`], [`Repository`], [`Tag`], [`Reference`], [`Exact`] (a reference that has a digest) |
//! | `descriptor.rs` | [`Descriptor`], [`MediaType`] |
//! | `platform.rs` | [`Platform`] and how a selection matches |
//! | `manifest.rs` | [`Manifest`]: a view of raw bytes that names their children |
//!
//! # Invariants
//! - Raw manifest bytes are what is stored, hashed and sent; a [`Manifest`] is only a view and is never serialised again.
//! - Parsing is strict and total: hostile text yields an error, never a panic and never a value that breaks a rule.

mod descriptor;
mod digest;
mod manifest;
mod platform;
mod reference;

pub use descriptor::{Descriptor, MediaType, media_type};
pub use digest::{Algorithm, Digest, DigestError, Hasher};
pub use manifest::{Manifest, ManifestError, ManifestKind, annotation};
pub use platform::{Platform, PlatformError};
pub use reference::{Exact, Host, Reference, ReferenceError, Repository, Tag};
