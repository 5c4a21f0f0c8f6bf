//! Files that appear complete or not at all.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use super::{Action, Error, Positional};
use crate::tree::RelPath;

/// Writes a small file so that its name shows either the old content or all of the new one, also after a power cut. Two
/// writers at the same time take turns; the last one wins.
///
/// # Errors
/// [`Error::NoRoom`] when the disk is full, [`Error::Io`] otherwise; the old content is then still there.
pub fn atomic_write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    // Always the same name: what a killed process left here is taken over by the next one.
    name.push(".partial");
    let beside = Positional::open_in_turn(&path.with_file_name(name))?;
    let written = beside
        .set_len(0)
        .and_then(|()| beside.write_all_at(bytes, 0))
        .and_then(|()| beside.sync())
        .map_err(|error| error.needing(bytes.len() as u64))
        .and_then(|()| rename_durably(beside.path(), path));
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(beside.path());
    }
    written
}

/// Writes a small file of hints so that its name shows either the old content or all of the new one; after a power cut
/// it may hold anything, so it must be worth nothing then. Waits for no disk.
///
/// # Errors
/// [`Error::NoRoom`] when the disk is full, [`Error::Io`] otherwise.
pub fn quick_write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".partial.{}", std::process::id()));
    let beside = path.with_file_name(name);
    let written = fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    written.map_err(|cause| {
        let _ = fs::remove_file(&beside);
        Error::io(path, Action::Write, cause).needing(bytes.len() as u64)
    })
}

/// Writes a file that must not be there yet.
///
/// # Errors
/// [`Error::Exists`] when something has this name, also a link that leads nowhere; [`Error::NoRoom`] when the disk is
/// full, [`Error::Io`] otherwise.
pub fn create_new(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    create(path, bytes, &mut fs::OpenOptions::new())
}

/// Writes a file that must not be there yet and that only its owner may read: a private key. It never has, not even for
/// a moment, another mode.
///
/// # Errors
/// Those of [`create_new`].
pub fn create_new_private(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut options = fs::OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    create(path, bytes, &mut options)
}

fn create(path: &Path, bytes: &[u8], options: &mut fs::OpenOptions) -> Result<(), Error> {
    let mut file = options.write(true).create_new(true).open(path).map_err(|cause| match cause.kind() {
        std::io::ErrorKind::AlreadyExists => Error::Exists { path: path.to_owned() },
        _ => Error::io(path, Action::Write, cause),
    })?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(|cause| Error::io(path, Action::Write, cause).needing(bytes.len() as u64))
        .and_then(|()| sync_folder(path));
    if written.is_err() {
        // It is ours and incomplete; the first error is the one to report.
        let _ = fs::remove_file(path);
    }
    written
}

/// Renames a file within its folder and makes the new name durable.
///
/// # Errors
/// [`Error::Io`].
pub fn rename_durably(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(|cause| Error::io(to, Action::Rename, cause))?;
    sync_folder(to)
}

#[cfg(unix)]
fn sync_folder(of: &Path) -> Result<(), Error> {
    let folder = match of.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let sync = fs::File::open(&folder).and_then(|folder| folder.sync_all());
    match sync {
        // Some file systems (FUSE, network shares) cannot sync a folder; there is no other way to ask them.
        Err(cause) if matches!(cause.kind(), std::io::ErrorKind::InvalidInput | std::io::ErrorKind::Unsupported) => {
            Ok(())
        }
        other => other.map_err(|cause| Error::io(folder, Action::Sync, cause)),
    }
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> Result<(), Error> {
    // Other systems give no handle on a folder; their journal makes renames durable in order.
    let _: Option<PathBuf> = None;
    Ok(())
}

/// Returns the place of a file below a root, when no link and no file stands where a folder must be.
///
/// # Errors
/// [`Error::Io`] naming what is in the way.
pub fn way_below(root: &Path, path: &RelPath) -> Result<PathBuf, Error> {
    walk_below(root, path, |_| Ok(()))
}

/// Makes the folders of a file below a root, and returns its place. No link is followed on the way.
///
/// # Errors
/// [`Error::Io`].
pub fn make_way_below(root: &Path, path: &RelPath) -> Result<PathBuf, Error> {
    create_folder(root)?;
    walk_below(root, path, |folder| fs::create_dir(folder).map_err(|cause| Error::io(folder, Action::Make, cause)))
}

fn walk_below(root: &Path, path: &RelPath, absent: impl Fn(&Path) -> Result<(), Error>) -> Result<PathBuf, Error> {
    let mut place = root.to_owned();
    let mut segments = path.as_str().split('/').peekable();
    while let Some(segment) = segments.next() {
        place.push(segment);
        let is_folder = segments.peek().is_some();
        match fs::symlink_metadata(&place) {
            Ok(found) if is_folder && !found.is_dir() || !is_folder && !found.is_file() => {
                let cause = std::io::Error::new(
                    std::io::ErrorKind::PermissionDenied,
                    "a link or something else stands there, and nothing is written through it",
                );
                return Err(Error::io(&place, Action::Write, cause));
            }
            Ok(_) => {}
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
                if is_folder {
                    absent(&place)?;
                }
            }
            Err(cause) => return Err(Error::io(&place, Action::Open, cause)),
        }
    }
    Ok(place)
}

/// Appends to a file.
#[derive(Debug)]
pub struct Appender {
    file: fs::File,
    path: PathBuf,
}

impl Appender {
    /// Opens an existing file for appending.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file =
            fs::OpenOptions::new().append(true).open(path).map_err(|cause| Error::io(path, Action::Open, cause))?;
        Ok(Appender { file, path: path.to_owned() })
    }

    /// Appends bytes in one write, so that lines of several writers do not mix.
    ///
    /// # Errors
    /// [`Error::NoRoom`] when the disk is full, [`Error::Io`] otherwise.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(|cause| Error::io(&self.path, Action::Write, cause))
    }
}

/// Makes a folder and those above it; that it is there is no error.
///
/// # Errors
/// [`Error::Io`].
pub fn create_folder(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(|cause| Error::io(path, Action::Write, cause))
}

/// Removes a file; that it is not there is no error.
///
/// # Errors
/// [`Error::Io`].
pub fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => Err(Error::io(path, Action::Remove, cause)),
        _ => Ok(()),
    }
}

/// Tells whether anything has this name, also a link that leads nowhere.
pub fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_files_replace_nothing_and_private_ones_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bundle.key");
        create_new_private(&path, b"secret").unwrap();
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions()) & 0o777, 0o600);
        for refused in [create_new(&path, b"x"), create_new_private(&path, b"x")] {
            assert!(matches!(refused, Err(Error::Exists { .. })));
        }
        assert_eq!(fs::read(&path).unwrap(), b"secret");
        assert!(matches!(create_new(&folder.path().join("none/x"), b"x"), Err(Error::Io { .. })));
        create_new(&folder.path().join("bundle.pub"), b"public").unwrap();
    }

    #[test]
    fn writers_at_the_same_time_take_turns() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock.yaml");
        std::thread::scope(|scope| {
            for n in 0..8u8 {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..20 {
                        atomic_write(path, &vec![n; 1000 + usize::from(n)]).unwrap();
                    }
                });
            }
        });
        let bytes = fs::read(&path).unwrap();
        assert!(bytes.len() == 1000 + usize::from(bytes[0]) && bytes.iter().all(|byte| *byte == bytes[0]));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_that_leads_nowhere_counts_as_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let (link, target) = (folder.path().join("link"), folder.path().join("target"));
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(matches!(create_new_private(&link, b"x"), Err(Error::Exists { .. })));
        assert!(!target.exists());
    }

    #[test]
    fn replaces_whole_files_and_leaves_nothing_beside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock.yaml");
        atomic_write(&path, b"one").unwrap();
        // What a killed process left is no obstacle, and does not stay.
        fs::write(folder.path().join("lock.yaml.partial"), "longer than what follows").unwrap();
        atomic_write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        // A folder of that name cannot be replaced; nothing is left behind.
        let taken = folder.path().join("taken");
        fs::create_dir(&taken).unwrap();
        assert!(atomic_write(&taken, b"x").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
