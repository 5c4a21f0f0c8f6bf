//! Relocation: manifests, values and kustomizations that name the enclave's registry instead of the sources.
//!
//! ```text
//!  manifests ─ discover ─→ occurrences ─ names ─→ edits ─ edit ─→ the same text with other names ─ compared with the first
//!                              └ issuers: what asks the internet for certificates ─→ the enclave's own issuer
//!  chart ─ render with marks ─→ which value ends up in which image ─→ overlay ─ render again ─→ proved, or named
//! ```
//!
//! | file | owns |
//! |---|---|
//! | `mod.rs` | [`Error`] |
//! | `names.rs` | [`Names`]: where an image is in the enclave, and whether it was carried |
//! | `rewrite.rs` | [`rewrite`]: images in manifests |
//! | `edit.rs` | from places in nested texts to bytes of the outermost one |
//! | `overlay/` | [`overlay`]: values that move the images of a chart, and the proof |
//! | `kustomize.rs` | [`component`]: an images transformer |
//! | `issuers.rs` | [`secure`]: what asks the internet for certificates |
//! | `structure.rs` | entries that come and go in a text |
//!
//! # Invariants
//! - Only the bytes of the scalars concerned change; what comes out is read again and compared with what went in.
//! - Names are those that a load gives.
//! - What comes out goes in again unchanged.
//!
//! # Failure
//! [`Error`]: manifests that cannot be read, images that were not carried, names that collide. What cannot be changed safely
//! is left alone and named, never changed by half.

mod edit;
mod issuers;
mod kustomize;
mod names;
mod overlay;
mod rewrite;
mod structure;

use crate::{
    error::{Classify, Diagnostic, Kind},
    names::RenameError,
};

pub use issuers::{Issuer, Secured, secure};
pub use kustomize::component;
pub use names::{Names, Place};
pub use overlay::{Overlay, Setting, Setup, Unmoved, overlay, overlay_of_all};
pub use rewrite::{Choices, Moved, Rewritten, rewrite};

/// Says why nothing was relocated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The manifests cannot be read.
    #[error("{file} is no list of Kubernetes objects")]
    Manifests {
        /// The file.
        file: String,
        /// Every mistake.
        mistakes: Vec<Diagnostic>,
    },
    /// Images are named that were not carried.
    #[error("{} of the images named here {} not in the archive", missing.len(), if missing.len() == 1 { "is" } else { "are" })]
    NotCarried {
        /// Each with its place.
        missing: Vec<Diagnostic>,
    },
    /// A chart does not render.
    #[error("the chart {chart} does not render: {cause}")]
    Chart {
        /// Its name.
        chart: String,
        /// Why.
        cause: crate::helm::Error,
    },
    /// A name has no place in the enclave.
    #[error(transparent)]
    Name(#[from] RenameError),
    /// The text that came out does not say what it must.
    #[error("what was made of {file} differs from it at line {line} in more than names of images")]
    Changed {
        /// The file.
        file: String,
        /// The line of the input.
        line: u32,
    },
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        match self {
            Error::Manifests { .. } => Kind::Usage,
            Error::NotCarried { .. } => Kind::Incomplete,
            Error::Name(error) => error.kind(),
            Error::Chart { cause, .. } => cause.kind(),
            Error::Changed { .. } => Kind::Internal,
        }
    }

    fn diagnostics(&self) -> &[Diagnostic] {
        match self {
            Error::Manifests { mistakes, .. } => mistakes,
            Error::NotCarried { missing } => missing,
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests;
