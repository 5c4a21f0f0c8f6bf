//! What the library tells while it works: one closed [`Event`] enum, handed to an [`Observer`].
//!
//! The library never prints; bars, plain lines and JSON lines are renderers in `cli/progress.rs`.
//!
//! # Invariants
//! - `Planned` comes before the first `Moved` of its phase, so totals are known when progress starts.
//! - The `bytes` of all `Moved` and `Kept` events of a phase sum up to the total of its plan.

use serde::Serialize;

use crate::{error::Diagnostic, oci::Digest};

/// Names a stretch of work that has totals of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Charts are fetched, completed and rendered.
    Charts,
    /// References become digests.
    Resolve,
    /// Manifests are read, so that every size is known.
    Plan,
    /// Blobs come from their sources.
    Pull,
    /// Bytes are hashed and compared.
    Verify,
    /// Blobs go into a registry.
    Push,
}

/// Tells one thing that happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// The totals of a phase are known.
    Planned {
        /// Which phase.
        phase: Phase,
        /// How many items (blobs, images, manifests).
        items: u64,
        /// How many bytes.
        bytes: u64,
    },
    /// Bytes of an item were moved or checked.
    Moved {
        /// Which phase.
        phase: Phase,
        /// How many bytes since the last such event of this item.
        bytes: u64,
    },
    /// Bytes need not be moved: they are there already.
    Kept {
        /// Which phase.
        phase: Phase,
        /// How many bytes.
        bytes: u64,
    },
    /// One item is complete.
    Done {
        /// Which phase.
        phase: Phase,
        /// Which item: a reference, a path or a digest.
        item: String,
        /// Its size.
        bytes: u64,
    },
    /// A request failed and is made again.
    Retrying {
        /// What is tried again.
        what: String,
        /// Why.
        reason: String,
        /// Which attempt failed, from 1.
        attempt: u32,
        /// How long until the next one, in milliseconds.
        wait_ms: u64,
    },
    /// A blob arrived with wrong bytes and is fetched once more from the start.
    Refetching {
        /// Which blob.
        digest: Digest,
    },
    /// Something that the user should know.
    Noted(Diagnostic),
}

/// Receives events; called from many tasks at once and must return quickly.
pub trait Observer: Send + Sync {
    /// Takes one event.
    fn on(&self, event: &Event);
}

/// Ignores every event.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn on(&self, _: &Event) {}
}
