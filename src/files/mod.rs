//! Reading from disk with limits; the only module that touches the file system.
//!
//! # Invariants
//! - Nothing is read without an upper bound on its size.
//!
//! # Failure
//! [`Error`] names the path; a missing file can be told from an unreadable one ([`Error::is_missing`]).

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use crate::error::{Classify, Kind};

/// Says why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("{}: {cause}", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The file is larger than anything sensible.
    #[error("{}: larger than the {limit} bytes that such a file may have", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
}

impl Error {
    /// Tells whether the file or folder does not exist.
    pub fn is_missing(&self) -> bool {
        matches!(self, Error::Io { cause, .. } if matches!(cause.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory))
    }
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        match self {
            Error::Io { cause, .. } => Kind::of_io(cause),
            Error::TooLarge { .. } => Kind::Usage,
        }
    }
}

/// Returns the whole content of a file of at most `max` bytes.
///
/// # Errors
/// [`Error::TooLarge`] for a larger file, [`Error::Io`] for everything else.
pub fn read_limited(path: &Path, max: u64) -> Result<Vec<u8>, Error> {
    let io = |cause| Error::Io { path: path.to_owned(), cause };
    let mut bytes = Vec::new();
    File::open(path).map_err(io)?.take(max.saturating_add(1)).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > max {
        return Err(Error::TooLarge { path: path.to_owned(), limit: max });
    }
    Ok(bytes)
}

/// Returns the paths in a folder, sorted; none when the folder does not exist.
///
/// # Errors
/// [`Error::Io`] when the folder exists and cannot be read.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let io = |cause| Error::Io { path: folder.to_owned(), cause };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(cause) => {
            let error = io(cause);
            return if error.is_missing() { Ok(Vec::new()) } else { Err(error) };
        }
    };
    let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(io)?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_up_to_the_limit_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ten");
        fs::write(&path, [7; 10]).unwrap();
        assert_eq!(read_limited(&path, 10).unwrap().len(), 10);
        assert!(matches!(read_limited(&path, 9), Err(Error::TooLarge { limit: 9, .. })));
        assert!(read_limited(&folder.path().join("none"), 9).unwrap_err().is_missing());
        assert_eq!(list(folder.path()).unwrap(), [path]);
        assert!(list(&folder.path().join("none")).unwrap().is_empty());
    }
}
