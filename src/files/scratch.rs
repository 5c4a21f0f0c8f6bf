//! Folders that a command makes for itself.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use super::{Action, Error};

/// A folder that is gone when the value is dropped; only its owner may enter it.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes a folder among the temporary files of the system.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn new(name: &str) -> Result<Scratch, Error> {
        let place = std::env::temp_dir();
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.subsec_nanos());
        let mut attempt = 0u32;
        loop {
            let path = place.join(format!("{name}-{}-{:x}", std::process::id(), nanos.wrapping_add(attempt)));
            let mut builder = fs::DirBuilder::new();
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            match builder.create(&path) {
                Ok(()) => return Ok(Scratch(path)),
                // Somebody else's folder, or a trap: never entered.
                Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists && attempt < 100 => attempt += 1,
                Err(cause) => return Err(Error::io(path, Action::Make, cause)),
            }
        }
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nobody can be told; the system clears what stays.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Makes a folder with its parents; one that is there and empty is taken as it is.
///
/// # Errors
/// [`Error::Exists`] when it holds anything, [`Error::Io`] otherwise.
pub fn make_empty_folder(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(|cause| Error::io(path, Action::Make, cause))?;
    let mut entries = fs::read_dir(path).map_err(|cause| Error::io(path, Action::List, cause))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(Error::Exists { path: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_folder_leaves_nothing() {
        let (one, two) = (Scratch::new("bundle-test").unwrap(), Scratch::new("bundle-test").unwrap());
        assert_ne!(one.path(), two.path());
        make_empty_folder(&one.path().join("a/b")).unwrap();
        fs::write(one.path().join("a/b/c"), "x").unwrap();
        assert!(matches!(make_empty_folder(one.path()), Err(Error::Exists { .. })));
        make_empty_folder(&two.path().join("new/folder")).unwrap();
        make_empty_folder(&two.path().join("new/folder")).unwrap();
        let path = one.path().to_owned();
        drop(one);
        assert!(!path.exists() && two.path().exists());
    }
}
