//! Archive → registry: what goes where, blobs first, manifests children first, signatures, tags last, receipt.
//!
//! ```text
//!  Archive ─ plan ─→ LoadPlan ─ blobs ─ manifests ─ companions ─ signatures ─ tags ─ check ─→ receipt
//! ```
//!
//! | file | owns |
//! |---|---|
//! | `rename.rs` | names in the enclave: pure, with collision detection |
//! | `plan.rs` | what a load will do; a value that `--dry-run` prints |
//! | `push.rs` | doing it |
//! | `once.rs` | nothing is put into a repository twice at the same time |
//! | `receipt.rs` | what was done, kept in the registry and on this machine |
//!
//! # Invariants
//! - Only an admitted archive reaches this code.
//! - No tag is written before everything that it needs is in the registry and every digest has answered.
//! - Loading twice changes nothing the second time; a load that was interrupted is continued by the same call.
//!
//! # Failure
//! [`Error`] says which side failed. Images that a registry refuses are all named in one run.

mod once;
mod plan;
mod push;
pub mod receipt;
mod rollback;

pub use plan::{ChartPlan, FileSet, ImagePlan, LoadPlan, plan};
pub use push::{Job, Loaded, LoadedChart, push};
pub use rollback::{Return, back, earlier};

use crate::{
    archive,
    error::{Classify, Diagnostic, Kind, Side},
    files,
    names::RenameError,
    registry, store, trust,
};

/// Says why a load failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The archive is damaged or cannot be read.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// The archive is not trusted, or not one to load now.
    #[error(transparent)]
    Trust(#[from] trust::Error),
    /// A name has no place in the target.
    #[error(transparent)]
    Rename(#[from] RenameError),
    /// Content could not be read or moved.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// A file on this machine could not be read or written.
    #[error(transparent)]
    File(#[from] files::Error),
    /// The registry refuses indexes of which it does not hold every entry.
    #[error("the registry refuses {} because it does not hold all the platforms that their indexes name; no tag was written", counted(.0.len()))]
    SparseRefused(Vec<Diagnostic>),
    /// Something that was pushed does not answer.
    #[error("{} not answer after the push", .0.len())]
    Unanswered(Vec<Diagnostic>),
    /// There is nothing to go back to.
    #[error("there is nothing to go back to: {0}")]
    NothingBefore(String),
    /// What an earlier load brought is not whole any more.
    #[error("the registry does not hold the earlier load whole any more, {} missing; no tag was moved: load its archive again, with --allow-rollback", counted_parts(.0.len()))]
    Gone(Vec<Diagnostic>),
    /// The record of the last load cannot be read.
    #[error("the record of the last load in {place} cannot be read: {why}")]
    Record {
        /// Where it is.
        place: String,
        /// What is wrong with it.
        why: String,
    },
}

fn counted(number: usize) -> String {
    if number == 1 { "an image".to_owned() } else { format!("{number} images") }
}

fn counted_parts(number: usize) -> String {
    if number == 1 { "one part is".to_owned() } else { format!("{number} parts are") }
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        match self {
            Error::Archive(cause) => cause.kind(),
            Error::Trust(cause) => cause.kind(),
            Error::Record { .. } => Kind::Untrusted,
            Error::Rename(cause) => cause.kind(),
            Error::Store(cause) => cause.kind(),
            Error::Registry(cause) => cause.kind(),
            Error::File(cause) => cause.kind(),
            Error::SparseRefused(_) => Kind::Answer,
            Error::Unanswered(_) | Error::Gone(_) => Kind::Incomplete,
            Error::NothingBefore(_) => Kind::NotFound,
        }
    }

    fn side(&self) -> Option<Side> {
        match self {
            Error::Archive(_) => Some(Side::Source),
            Error::Store(cause) => cause.side(),
            Error::Registry(_) | Error::SparseRefused(_) | Error::Unanswered(_) | Error::Gone(_) => Some(Side::Target),
            _ => None,
        }
    }

    fn diagnostics(&self) -> &[Diagnostic] {
        match self {
            Error::SparseRefused(diagnostics) | Error::Unanswered(diagnostics) | Error::Gone(diagnostics) => {
                diagnostics
            }
            _ => &[],
        }
    }
}
