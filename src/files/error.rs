//! What can go wrong with files.

use std::{fmt, io, path::PathBuf};

use crate::{
    error::{Classify, Kind},
    tree::PathError,
};

/// Names what was being done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Opening it.
    Open,
    /// Reading it.
    Read,
    /// Writing it.
    Write,
    /// Making it durable.
    Sync,
    /// Giving it its final name.
    Rename,
    /// Removing it.
    Remove,
    /// Locking it.
    Lock,
    /// Listing it.
    List,
    /// Unpacking it.
    Unpack,
    /// Making it.
    Make,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Action::Open => "open",
            Action::Read => "read",
            Action::Write => "write",
            Action::Sync => "sync",
            Action::Rename => "rename",
            Action::Remove => "remove",
            Action::Lock => "lock",
            Action::List => "list",
            Action::Unpack => "unpack",
            Action::Make => "make",
        })
    }
}

/// Says why a file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused.
    #[error("cannot {action} {}: {cause}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        action: Action,
        /// Why it failed.
        #[source]
        cause: io::Error,
    },
    /// The disk, or the user's quota on it, is full.
    #[error(
        "no room left on the disk that holds {}: free {} and run the same command again",
        path.display(),
        needed.map_or_else(|| "some space".to_owned(), |bytes| format!("{bytes} bytes"))
    )]
    NoRoom {
        /// Which file could not grow.
        path: PathBuf,
        /// How many bytes are missing, when that is known.
        needed: Option<u64>,
    },
    /// Something has that name already, and is not overwritten.
    #[error("{} is there already and is not overwritten: move it away, or choose another name", path.display())]
    Exists {
        /// Which file.
        path: PathBuf,
    },
    /// There is more than may be read.
    #[error("{} is larger than {limit} bytes, the most that is read here", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// How much is allowed.
        limit: u64,
    },
    /// There are more files than may be read.
    #[error("{} holds more than {limit} files, the most that are read here", path.display())]
    TooMany {
        /// Which folder or tar.
        path: PathBuf,
        /// How many are allowed.
        limit: usize,
    },
    /// Folders are nested too deeply, or a link leads round in a circle.
    #[error("{} is nested too deeply", path.display())]
    TooDeep {
        /// Which folder.
        path: PathBuf,
    },
    /// Compressed data expands beyond all reason.
    #[error("{} expands more than {ratio} times: that is no honest compression", path.display())]
    Bomb {
        /// Which file.
        path: PathBuf,
        /// The allowed ratio.
        ratio: u64,
    },
    /// Not a regular file: a link, a device, a pipe.
    #[error("{} is not a regular file", path.display())]
    NotRegular {
        /// Which file, or which entry of which tar.
        path: PathBuf,
    },
    /// A link leads out of its folder.
    #[error("{} is a link that leads out of its folder", path.display())]
    LinkOut {
        /// Which link.
        path: PathBuf,
    },
    /// A name breaks the rules for names.
    #[error("in {}: {cause}", path.display())]
    Name {
        /// Which folder or tar.
        path: PathBuf,
        /// Which rule.
        #[source]
        cause: PathError,
    },
    /// A tar has two entries of one name, so it could be read in two ways.
    #[error("{} holds {entry:?} twice: it could be read in two ways", path.display())]
    Twice {
        /// Which tar.
        path: PathBuf,
        /// Which entry.
        entry: String,
    },
    /// An entry of a tar ends early.
    #[error("{} ends in the middle of {entry:?}", path.display())]
    Truncated {
        /// Which tar.
        path: PathBuf,
        /// Which entry.
        entry: String,
    },
    /// Another process has it.
    #[error("{} is in use by another process that writes it; wait for it, or stop it", path.display())]
    Locked {
        /// Which file.
        path: PathBuf,
    },
}

impl Error {
    /// Wraps an I/O error, and recognises a full disk.
    pub(super) fn io(path: impl Into<PathBuf>, action: Action, cause: io::Error) -> Self {
        let path = path.into();
        match cause.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::NoRoom { path, needed: None },
            _ => Error::Io { path, action, cause },
        }
    }

    /// Says how many bytes are missing when the disk is full; other errors stay as they are.
    pub fn needing(self, bytes: u64) -> Self {
        match self {
            Error::NoRoom { path, .. } => Error::NoRoom { path, needed: Some(bytes) },
            other => other,
        }
    }

    /// Tells whether the file does not exist.
    pub fn is_missing(&self) -> bool {
        matches!(self, Error::Io { cause, .. }
            if matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory))
    }
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        match self {
            Error::Io { cause, .. } => Kind::of_io(cause),
            // Trying again helps once there is room, or the other process is done.
            Error::NoRoom { .. } | Error::Locked { .. } => Kind::Unavailable,
            Error::Exists { .. }
            | Error::TooLarge { .. }
            | Error::TooMany { .. }
            | Error::TooDeep { .. }
            | Error::Bomb { .. }
            | Error::NotRegular { .. }
            | Error::LinkOut { .. }
            | Error::Twice { .. }
            | Error::Name { .. } => Kind::Usage,
            Error::Truncated { .. } => Kind::Corrupt,
        }
    }
}
