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
//! | `routes.rs` | the mapping of a load as rules |
//! | `sheet.rs` | [`Sheet`]: a file to write; templates |
//! | `images.rs` | [`images`]: names outside and inside |
//! | `mirrors/` | [`mirrors`]: one file per runtime |
//! | `policy/` | [`policy`]: admission of what was shipped |
//! | `trust.rs` | [`trust`]: the root, for everything that must trust it |
//!
//! # Invariants
//! - Nothing here talks to a network or reads a clock.
//! - The same content and target give the same text.
//!
//! # Failure
//! [`Error`]: what cannot be expressed in a format is refused with what to do instead, never written half.

mod content;
mod images;
mod mirrors;
mod policy;
mod routes;
mod sheet;
mod trust;

pub use content::{Content, Shipped};
pub use images::{ImageRow, images};
pub use mirrors::{MirrorFormat, Registry, mirrors};
pub use policy::{PolicyFormat, PolicyRequest, policy};
pub use sheet::Sheet;
pub use trust::trust;

use crate::{
    error::{Classify, Kind},
    names::RenameError,
    tree::PathError,
};

/// Says why something could not be exported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name has no place in the target.
    #[error(transparent)]
    Rename(#[from] RenameError),
    /// There is no image that anything could be said about.
    #[error("there is no image in it, so there is nothing to configure")]
    NoImages,
    /// An image is named after the registry of the enclave itself.
    #[error(
        "{image} is named after {host} itself: a mirror of {host} in {host} would hide everything else there; give the image its name outside, or load to a registry of another name"
    )]
    OwnName {
        /// The image.
        image: String,
        /// The registry.
        host: String,
    },
    /// A runtime has no words for where an image is.
    #[error(
        "{format} can put a path in front of the names of a registry, no more, and {source_name} is at {target}: load with `--layout source`, or change the names with `bundle rewrite` or `bundle export values`; k3s, CRI-O and OpenShift can express this layout"
    )]
    NotExpressible {
        /// The runtime.
        format: &'static str,
        /// The image.
        source_name: String,
        /// Its repository in the enclave.
        target: String,
    },
    /// Nothing says whose signatures are accepted.
    #[error(
        "no key was given, so the policy would refuse everything: --key FILE names the public key that signs your archives"
    )]
    NoKey,
    /// The format takes one key.
    #[error("OpenShift joins policies of one name so that each must hold: one key, or `--format containers-policy`")]
    OneKey,
    /// What should be a namespace is none.
    #[error("{0:?} is not the name of a namespace")]
    Namespace(String),
    /// A name cannot be that of a file.
    #[error("a name cannot be that of a file: {0}")]
    Path(PathError),
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        match self {
            Error::Rename(cause) => cause.kind(),
            Error::NoImages
            | Error::OwnName { .. }
            | Error::NotExpressible { .. }
            | Error::OneKey
            | Error::Namespace(_)
            | Error::Path(_) => Kind::Usage,
            Error::NoKey => Kind::Untrusted,
        }
    }
}
