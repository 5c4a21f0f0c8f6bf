//! What can go wrong with an archive.

use std::{fmt, path::PathBuf};

use super::{inventory::FORMAT, verify::Damage};
use crate::{
    error::{Classify, Kind, Side},
    files,
    oci::{Digest, Reference},
    store,
};

/// Says why an archive could not be planned, written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk said no.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// A source or the archive as a sink said no.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The file is something else.
    #[error("{} is not a bundle archive: {why}", path.display())]
    NotAnArchive {
        /// Which file.
        path: PathBuf,
        /// How that shows.
        why: &'static str,
    },
    /// The control part is not as it must be.
    #[error("{}: {entry}: {fault}", path.display())]
    Malformed {
        /// Which archive.
        path: PathBuf,
        /// Which entry.
        entry: String,
        /// What is wrong with it.
        fault: Fault,
    },
    /// The archive was made by a newer version and cannot be read by this one.
    #[error(
        "{} needs what this version does not know ({}): use a newer version of this program",
        path.display(),
        unknown.join(", ")
    )]
    Newer {
        /// Which archive.
        path: PathBuf,
        /// The incompatible features, or the format version.
        unknown: Vec<String>,
    },
    /// Entries do not have the bytes that the inventory says.
    #[error("{} is damaged: {}", path.display(), first(damage))]
    Damaged {
        /// Which archive.
        path: PathBuf,
        /// Every damaged entry.
        damage: Vec<Damage>,
    },
    /// Blobs are still missing.
    #[error("{} is not complete: {} of its blobs are missing, such as {}", path.display(), missing.len(), one(missing))]
    Incomplete {
        /// Which archive.
        path: PathBuf,
        /// Which blobs.
        missing: Vec<Digest>,
    },
    /// Two images of a plan have one name.
    #[error("{reference} names two images, {first} and {second}")]
    DuplicateName {
        /// The name.
        reference: Box<Reference>,
        /// The one.
        first: Digest,
        /// The other.
        second: Digest,
    },
    /// A plan names an image twice.
    #[error("{0} is planned twice; its references belong together")]
    DuplicateImage(Digest),
    /// A chart of a plan can have no place in a registry.
    #[error(
        "the chart {name:?} {version:?} cannot be carried: registries take names of lower-case letters, digits and . _ - inside, and versions of at most 128 characters"
    )]
    ChartName {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
    },
    /// Two charts of a plan have one name and version.
    #[error("there are two charts {name} {version}, and only one can have this name: take one, or change its version")]
    DuplicateChart {
        /// Their name.
        name: String,
        /// Their version.
        version: String,
    },
    /// What a plan calls a chart is none.
    #[error("the chart {name} {version}: {digest} is not the manifest of a chart")]
    NotAChart {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
        /// The digest of its manifest.
        digest: Digest,
    },
    /// Two files of a plan have one path.
    #[error("the file {0} is planned twice")]
    DuplicateFile(String),
    /// An image of a plan has no reference.
    #[error("{0} has no reference, so nobody could ask for it")]
    Nameless(Digest),
    /// A plan's graph does not hold what it names.
    #[error("{0} is planned, but was not walked")]
    NotWalked(Digest),
    /// A plan names content with two sizes.
    #[error("{0} is planned with two sizes")]
    TwoSizes(Digest),
    /// The name or version of a plan breaks a rule.
    #[error("{what} {text:?} is not allowed: letters, digits and . _ + - inside, at most 128")]
    Name {
        /// Name, version or signature.
        what: &'static str,
        /// What was given.
        text: String,
    },
    /// The inventory of a plan is larger than a reader accepts, or holds what JSON readers disagree on.
    #[error("the inventory cannot be written: {0}")]
    Inventory(Fault),
    /// A blob is not part of this archive.
    #[error("{0} is not part of this archive")]
    Unplanned(Digest),
}

/// Says what is wrong with one entry of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The tar header is not the one that belongs here.
    Header,
    /// Bytes after the content are not zero.
    Padding,
    /// The entry is missing where it must stand.
    Absent,
    /// Something else stands here.
    Unexpected(String),
    /// The content hashes to something else.
    Digest {
        /// What the inventory says.
        expected: Digest,
        /// What the bytes hash to.
        actual: Digest,
    },
    /// The file is shorter or longer than its entries.
    Length {
        /// What the entries add up to.
        expected: u64,
        /// How long the file is.
        actual: u64,
    },
    /// The entry is larger than this part of an archive may be.
    TooLarge(u64),
    /// Not strict JSON, or not an inventory.
    Json(String),
    /// The inventory contradicts itself.
    Inconsistent(String),
    /// The bytes are not those that follow from the inventory.
    NotDerived,
    /// The bytes cannot be read.
    Unreadable(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Header => f.write_str("its tar header is not the one that belongs here"),
            Fault::Padding => f.write_str("bytes that must be zero are not"),
            Fault::Absent => f.write_str("is missing"),
            Fault::Unexpected(found) => write!(f, "found {found:?} instead"),
            Fault::Digest { actual, .. } => write!(f, "wrong bytes: they hash to {actual}"),
            Fault::Length { expected, actual } => {
                write!(f, "the file has {actual} bytes, but its entries have {expected}")
            }
            Fault::TooLarge(limit) => write!(f, "larger than {limit} bytes"),
            Fault::Json(error) => write!(f, "not valid: {error}"),
            Fault::Inconsistent(what) => write!(f, "contradicts itself: {what}"),
            Fault::NotDerived => f.write_str("is not what follows from bundle.json"),
            Fault::Unreadable(cause) => write!(f, "cannot be read: {cause}"),
        }
    }
}

fn first(damage: &[Damage]) -> String {
    match damage {
        [] => "nothing is known".to_owned(),
        [one] => one.to_string(),
        [one, rest @ ..] => format!("{one}; and {} more", rest.len()),
    }
}

fn one(missing: &[Digest]) -> String {
    missing.first().map(Digest::to_string).unwrap_or_default()
}

impl Error {
    pub(super) fn newer_format(path: PathBuf, format: u64) -> Self {
        Error::Newer { path, unknown: vec![format!("format {format}, where this version reads format {FORMAT}")] }
    }
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        match self {
            Error::Files(cause) => cause.kind(),
            Error::Store(cause) => cause.kind(),
            Error::NotAnArchive { .. } | Error::Malformed { .. } | Error::Damaged { .. } => Kind::Corrupt,
            Error::Newer { .. }
            | Error::DuplicateName { .. }
            | Error::DuplicateFile(_)
            | Error::ChartName { .. }
            | Error::DuplicateChart { .. }
            | Error::Name { .. }
            | Error::Inventory(_) => Kind::Usage,
            Error::Incomplete { .. } => Kind::Incomplete,
            Error::TwoSizes(_) | Error::NotAChart { .. } => Kind::Corrupt,
            Error::DuplicateImage(_) | Error::Nameless(_) | Error::NotWalked(_) | Error::Unplanned(_) => Kind::Internal,
        }
    }

    fn side(&self) -> Option<Side> {
        match self {
            Error::Store(cause) => cause.side(),
            _ => None,
        }
    }
}
