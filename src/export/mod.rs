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
//! | `dns.rs` | [`dns`]: names for the enclave's name servers |
//! | `unpack.rs` | [`unpack`]: the files of an archive |
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
mod dns;
mod images;
mod mirrors;
mod policy;
mod routes;
mod sheet;
mod trust;
mod unpack;

pub use content::{Content, Shipped};
pub use dns::{DnsFormat, DnsRequest, dns};
pub use images::{ImageRow, images};
pub use mirrors::{MirrorFormat, Registry, mirrors};
pub use policy::{PolicyFormat, PolicyRequest, policy};
pub use sheet::Sheet;
pub use trust::trust;
pub use unpack::{UnpackedFile, unpack};

use std::path::PathBuf;

use crate::{
    archive,
    error::{Classify, Kind, Side},
    files,
    names::RenameError,
    store,
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
    /// The archive cannot be read.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// Content cannot be read, or is not what it must be.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The disk said no.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// Files with other content are in the way.
    #[error("{} is there and says something else{}; nothing was written: --force replaces it", first(.0), more(.0))]
    InTheWay(Vec<PathBuf>),
    /// No files have these names.
    #[error("there are no files named {}; there are {}", unknown.join(", "), if known.is_empty() { "none".to_owned() } else { known.join(", ") })]
    UnknownFiles {
        /// What was asked for.
        unknown: Vec<String>,
        /// What is there.
        known: Vec<String>,
    },
    /// Nothing has a name.
    #[error("no manifest and no chart speaks of a host name; name them with --host, or the registry with --registry")]
    NoHosts,
    /// What should be a host name is none.
    #[error("{0:?} is not a full host name such as chat.enclave.lan")]
    HostName(String),
    /// A name is in no zone that was named.
    #[error("{0} is in none of the zones: name its zone with --zone")]
    NoZone(String),
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
            Error::InTheWay(_) | Error::HostName(_) | Error::NoZone(_) => Kind::Usage,
            Error::UnknownFiles { .. } | Error::NoHosts => Kind::NotFound,
            Error::Archive(cause) => cause.kind(),
            Error::Store(cause) => cause.kind(),
            Error::Files(cause) => cause.kind(),
            Error::NoKey => Kind::Untrusted,
        }
    }

    fn side(&self) -> Option<Side> {
        match self {
            Error::Archive(cause) => cause.side(),
            Error::Store(cause) => cause.side(),
            _ => None,
        }
    }
}

fn first(paths: &[PathBuf]) -> String {
    paths.first().map(|path| path.display().to_string()).unwrap_or_default()
}

fn more(paths: &[PathBuf]) -> String {
    match paths.len() {
        0 | 1 => String::new(),
        number => format!(", and so do {} others", number - 1),
    }
}
