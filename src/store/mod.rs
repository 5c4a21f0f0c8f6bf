//! Content-addressed places: a [`Source`] gives bytes, a [`Sink`] takes them, [`walk`] plans and [`copy`] moves.
//!
//! ```text
//!   registry ─┐                       ┌─ archive
//!   archive  ─┤ Source ─ copy ─ Sink ─┤─ registry
//!   layout   ─┘   (walk reads manifests only)
//! ```
//!
//! A sink *pulls*: it gets the source, not a stream, so it can reopen a blob at any offset after a failure, split a
//! large one over several connections, or send the same body again to a registry that dropped it
//! (`docs/decisions/0002-sinks-pull.md`).
//!
//! # Invariants
//! - Every blob is verified against its descriptor exactly once, where it enters a sink, before the sink reports it done.
//! - Leaves move in parallel, largest first; manifests follow in order, children before parents.
//! - A wrong digest is never retried as if it were a hiccup: one full refetch, then [`Error::Corrupt`].

mod copy;
mod download;
mod layout;
mod local;
mod memory;
mod route;
mod segment;
mod slots;
mod tar;
mod walk;

use std::future::Future;

use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::{
    error::{Classify, Kind, Side},
    oci::{Descriptor, Digest, ManifestError, Platform},
};

pub use copy::{Copied, copy, largest_first};
pub use download::{Download, Mark, Resume, download};
pub use local::{LocalError, LocalSource, open_image};
pub use memory::Memory;
pub use route::Routes;
pub use slots::{Slot, Slots};
pub use walk::{Graph, MAX_DEPTH, MAX_NODES, Node, Policy, read_manifest, walk};

/// A stream of bytes that nobody has verified yet.
pub type Reader = BoxStream<'static, Result<Bytes, Error>>;

/// Gives the bytes of content by descriptor.
pub trait Source: Send + Sync {
    /// Opens the bytes of `blob` from offset `from` up to `to` (exclusive, at most the size). The bytes are not verified.
    /// Retries of the opening are the source's own business; an error in the middle of the stream is the reader's.
    fn open(&self, blob: &Descriptor, from: u64, to: u64) -> impl Future<Output = Result<Reader, Error>> + Send;

    /// Tells whether several ranges of one blob may be read at the same time with gain.
    fn is_remote(&self) -> bool {
        false
    }

    /// Returns the shortest time in which whoever has the blob began an answer so far, when that says how far away it is.
    fn distance(&self, _blob: &Descriptor) -> Option<std::time::Duration> {
        None
    }
}

/// Takes content.
pub trait Sink: Send + Sync {
    /// Tells whether the content is there already, complete and trustworthy.
    fn has(&self, blob: &Descriptor) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Takes the content of `blob` from `source`, verifies it, and returns when it is complete. `moved` is told the
    /// number of bytes as they pass.
    fn put<S: Source>(
        &self,
        blob: &Descriptor,
        source: &S,
        moved: &(dyn Fn(u64) + Send + Sync),
    ) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Says why content could not be moved.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes have another digest than the descriptor says.
    #[error("{side} gave wrong bytes for {expected}: they hash to {actual}")]
    Corrupt {
        /// Which end.
        side: Side,
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// There are fewer or more bytes than the descriptor says.
    #[error("{side} gave {actual} bytes for {digest}, which has {expected}")]
    Size {
        /// Which end.
        side: Side,
        /// Which blob.
        digest: Digest,
        /// The size in the descriptor.
        expected: u64,
        /// The number of bytes that came (at least).
        actual: u64,
    },
    /// A manifest cannot be read.
    #[error("manifest {digest}: {cause}")]
    Manifest {
        /// Which manifest.
        digest: Digest,
        /// Why.
        #[source]
        cause: ManifestError,
    },
    /// Manifests are nested too deeply, or there are too many of them.
    #[error("{digest}: {what}")]
    Limit {
        /// Where the limit was reached.
        digest: Digest,
        /// Which limit.
        what: &'static str,
    },
    /// An index offers none of the selected platforms.
    #[error("{digest} offers {}, but none of {}", list(offered), list(wanted))]
    NoPlatform {
        /// Which index.
        digest: Digest,
        /// What was selected.
        wanted: Vec<Platform>,
        /// What the index has.
        offered: Vec<Platform>,
    },
    /// The content is not in this place.
    #[error("{digest} is not in the {side}")]
    Missing {
        /// Which end.
        side: Side,
        /// Which blob.
        digest: Digest,
    },
    /// The place itself failed: a registry, a disk.
    #[error("{cause}")]
    Place {
        /// Which end.
        side: Side,
        /// Why; says itself of what kind it is.
        cause: Box<dyn Classify>,
    },
}

impl Error {
    /// Wraps the error of a place.
    pub fn place(side: Side, cause: impl Classify) -> Self {
        Error::Place { side, cause: Box::new(cause) }
    }
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        match self {
            Error::Corrupt { .. } | Error::Size { .. } | Error::Manifest { .. } | Error::Limit { .. } => Kind::Corrupt,
            Error::Missing { .. } | Error::NoPlatform { .. } => Kind::NotFound,
            Error::Place { cause, .. } => cause.kind(),
        }
    }

    fn side(&self) -> Option<Side> {
        match self {
            Error::Corrupt { side, .. }
            | Error::Size { side, .. }
            | Error::Missing { side, .. }
            | Error::Place { side, .. } => Some(*side),
            Error::Manifest { .. } | Error::Limit { .. } | Error::NoPlatform { .. } => Some(Side::Source),
        }
    }
}

fn list(platforms: &[Platform]) -> String {
    platforms.iter().map(Platform::to_string).collect::<Vec<_>>().join(", ")
}

/// Compares bytes that came from a source with their descriptor: first the size, then the digest.
fn verify(blob: &Descriptor, bytes: &[u8]) -> Result<(), Error> {
    let side = Side::Source;
    if bytes.len() as u64 != blob.size {
        return Err(Error::Size { side, digest: blob.digest, expected: blob.size, actual: bytes.len() as u64 });
    }
    let actual = blob.digest.same_algorithm(bytes);
    if actual != blob.digest {
        return Err(Error::Corrupt { side, expected: blob.digest, actual });
    }
    Ok(())
}
