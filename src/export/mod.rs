//! Archive or lock → what the enclave's machines are configured with: mirrors, trust, policies, names.
//!
//! ```text
//!  Inventory ─┐
//!             ├→ Content ─┬→ mirrors   node configuration that sends every pull to the enclave
//!  Lock ──────┘           ├→ policy    admission that accepts only what was shipped
//!                         └→ images    names for scripts
//! ```
//!
//! | file | owns |
//! |---|---|
//! | `content.rs` | [`Content`]: what was shipped, from an archive or from a lock |
//! | `images.rs` | [`images`]: names outside and inside |
//!
//! # Invariants
//! - Nothing here talks to a network or reads a clock.
//! - The same content and target give the same text.
//!
//! # Failure
//! [`Error`]: what cannot be expressed in a format is refused with what to do instead, never written half.

mod content;
mod images;

pub use content::{Content, Shipped};
pub use images::{ImageRow, images};

use crate::{
    error::{Classify, Kind},
    names::RenameError,
};

/// Says why something could not be exported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name has no place in the target.
    #[error(transparent)]
    Rename(#[from] RenameError),
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        match self {
            Error::Rename(cause) => cause.kind(),
        }
    }
}
