//! A directory that belongs to us alone: small files written atomically, large files that grow while bytes arrive and
//! appear under their name only when they are complete, and streams that read them in bounded pieces.
//!
//! # Invariants
//! - A path given to a [`Folder`] is relative and has plain components only; nothing outside the folder is touched.
//! - A file under its final name is complete: it was written elsewhere and renamed. With durability on, its bytes and
//!   its directory entry are on the disk before the call returns.
//! - A reader holds one buffer of [`CHUNK`] bytes, whatever the size of the file.
//!
//! # Failure
//! [`FolderError`] names the operation and the path; a missing file is `None` or `false`, not an error, wherever asking
//! is a normal question.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::FileExt,
    path::{Component, Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::{Bytes, BytesMut};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};

use crate::error::{Classify, Kind};

use super::arriving::Arriving;

/// How much a reader takes at once: large enough that system calls and task switches vanish beside copying, small
/// enough that a hundred readers need 50 MiB.
pub(super) const CHUNK: usize = 512 << 10;

/// Where half-written small files live until they get their name.
const TEMPORARY: &str = "tmp";

/// Says which operation failed on which path.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: {cause}", path.display())]
pub struct FolderError {
    /// What was tried, as a verb.
    pub operation: &'static str,
    /// On what.
    pub path: PathBuf,
    /// Why it failed.
    #[source]
    pub cause: io::Error,
}

impl FolderError {
    /// Tells whether the disk or the quota is full.
    pub fn is_full(&self) -> bool {
        matches!(self.cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

impl Classify for FolderError {
    fn kind(&self) -> Kind {
        Kind::of_io(&self.cause)
    }
}

/// Names one entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The file name; entries whose name is not UTF-8 are none of ours and never listed.
    pub name: String,
    /// Whether it is a directory.
    pub is_folder: bool,
}

/// Gives access to a directory that belongs to us.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    durable: bool,
    serial: AtomicU64,
}

/// Holds a folder for this process alone until it is dropped.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "the lock lasts as long as the file is open")] File);

impl Folder {
    /// Opens the folder at `root` and makes it when it is not there. With `durable`, every write waits for the disk.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn open(root: &Path, durable: bool) -> Result<Folder, FolderError> {
        let folder = Folder { root: root.to_owned(), durable, serial: AtomicU64::new(0) };
        let temporary = root.join(TEMPORARY);
        fs::create_dir_all(&temporary).map_err(failed("make", &temporary))?;
        Ok(folder)
    }

    /// Takes the folder for this process; `None` when another process has it.
    ///
    /// # Errors
    /// The lock file cannot be made.
    pub fn lock(&self) -> Result<Option<Lock>, FolderError> {
        let path = self.root.join("lock");
        let file =
            OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock(file))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(cause)) => Err(failed("lock", &path)(cause)),
        }
    }

    /// Removes half-written small files of an earlier process. Call it only while holding the [`Lock`].
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn sweep_temporary(&self) -> Result<(), FolderError> {
        for entry in self.entries(TEMPORARY)? {
            self.remove(&format!("{TEMPORARY}/{}", entry.name))?;
        }
        Ok(())
    }

    fn at(&self, relative: &str) -> Result<PathBuf, FolderError> {
        let path = Path::new(relative);
        if relative.is_empty() || !path.components().all(|component| matches!(component, Component::Normal(_))) {
            let cause = io::Error::new(io::ErrorKind::InvalidInput, "the path leaves its folder");
            return Err(FolderError { operation: "use", path: path.to_owned(), cause });
        }
        Ok(self.root.join(path))
    }

    /// Reads a small file; `None` when it is not there.
    ///
    /// # Errors
    /// The file cannot be read, or is larger than `limit` bytes.
    pub fn read(&self, relative: &str, limit: u64) -> Result<Option<Vec<u8>>, FolderError> {
        let path = self.at(relative)?;
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(cause) if is_absent(&cause) => return Ok(None),
            Err(cause) => return Err(failed("open", &path)(cause)),
        };
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed("read", &path))?;
        if bytes.len() as u64 > limit {
            let cause = io::Error::new(io::ErrorKind::InvalidData, format!("it is larger than {limit} bytes"));
            return Err(failed("read", &path)(cause));
        }
        Ok(Some(bytes))
    }

    /// Returns the size of a file; `None` when it is not there.
    ///
    /// # Errors
    /// The question cannot be answered.
    pub fn size(&self, relative: &str) -> Result<Option<u64>, FolderError> {
        let path = self.at(relative)?;
        match fs::metadata(&path) {
            Ok(metadata) => Ok(metadata.is_file().then_some(metadata.len())),
            Err(cause) if is_absent(&cause) => Ok(None),
            Err(cause) => Err(failed("look at", &path)(cause)),
        }
    }

    /// Returns how long ago a file was last written; `None` when it is not there.
    ///
    /// # Errors
    /// The question cannot be answered.
    pub fn age(&self, relative: &str) -> Result<Option<Duration>, FolderError> {
        let path = self.at(relative)?;
        match fs::metadata(&path).and_then(|metadata| metadata.modified()) {
            // A time in the future counts as now.
            Ok(modified) => Ok(Some(SystemTime::now().duration_since(modified).unwrap_or_default())),
            Err(cause) if is_absent(&cause) => Ok(None),
            Err(cause) => Err(failed("look at", &path)(cause)),
        }
    }

    /// Lists a directory, sorted by name; empty when it is not there.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn entries(&self, relative: &str) -> Result<Vec<Entry>, FolderError> {
        let path = self.at(relative)?;
        let listing = match fs::read_dir(&path) {
            Ok(listing) => listing,
            Err(cause) if is_absent(&cause) => return Ok(Vec::new()),
            Err(cause) => return Err(failed("list", &path)(cause)),
        };
        let mut entries = Vec::new();
        for entry in listing {
            let entry = entry.map_err(failed("list", &path))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let is_folder = entry.file_type().map_err(failed("list", &path))?.is_dir();
            entries.push(Entry { name, is_folder });
        }
        entries.sort();
        Ok(entries)
    }

    /// Writes a small file: readers see the old bytes or the new ones, never a mixture.
    ///
    /// # Errors
    /// The file cannot be written; the old one is untouched.
    pub fn write(&self, relative: &str, bytes: &[u8]) -> Result<(), FolderError> {
        let path = self.at(relative)?;
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let temporary = self.root.join(TEMPORARY).join(format!("{}-{serial}", std::process::id()));
        let written = File::create(&temporary)
            .and_then(|mut file| {
                file.write_all(bytes)?;
                // An empty file has nothing but its name, which is synced with its directory.
                if self.durable && !bytes.is_empty() { file.sync_data() } else { Ok(()) }
            })
            .map_err(failed("write", &temporary))
            .and_then(|()| self.rename(&temporary, &path));
        if written.is_err() {
            // The first failure is what matters; a leftover is swept when the folder is opened next.
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), FolderError> {
        let Some(parent) = to.parent() else { return Ok(()) };
        // Making the parent and renaming into it races with [`Folder::prune`]; one more try settles it.
        for last in [false, true] {
            fs::create_dir_all(parent).map_err(failed("make", parent))?;
            match fs::rename(from, to) {
                Ok(()) => break,
                Err(cause) if cause.kind() == io::ErrorKind::NotFound && !last => {}
                Err(cause) => return Err(failed("name", to)(cause)),
            }
        }
        if self.durable {
            File::open(parent).and_then(|folder| folder.sync_all()).map_err(failed("sync", parent))?;
        }
        Ok(())
    }

    /// Removes a file; `false` when it was not there.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn remove(&self, relative: &str) -> Result<bool, FolderError> {
        let path = self.at(relative)?;
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(cause) if is_absent(&cause) => Ok(false),
            Err(cause) => Err(failed("remove", &path)(cause)),
        }
    }

    /// Removes a directory when it is empty.
    ///
    /// # Errors
    /// The directory cannot be removed although it is empty.
    pub fn prune(&self, relative: &str) -> Result<(), FolderError> {
        let path = self.at(relative)?;
        match fs::remove_dir(&path) {
            Err(cause) if !is_absent(&cause) && cause.kind() != io::ErrorKind::DirectoryNotEmpty => {
                Err(failed("remove", &path)(cause))
            }
            _ => Ok(()),
        }
    }

    /// Starts a file that grows.
    ///
    /// # Errors
    /// The file exists already or cannot be made.
    pub fn arrive(&self, relative: &str) -> Result<Arriving, FolderError> {
        let path = self.at(relative)?;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed("make", parent))?;
        }
        let file =
            OpenOptions::new().read(true).append(true).create_new(true).open(&path).map_err(failed("make", &path))?;
        Ok(Arriving { path, file, length: 0 })
    }

    /// Continues a file that an earlier process left growing; `None` when it is not there.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn arrive_again(&self, relative: &str) -> Result<Option<Arriving>, FolderError> {
        let path = self.at(relative)?;
        match OpenOptions::new().read(true).append(true).open(&path) {
            Ok(file) => {
                let length = file.metadata().map_err(failed("look at", &path))?.len();
                Ok(Some(Arriving { path, file, length }))
            }
            Err(cause) if is_absent(&cause) => Ok(None),
            Err(cause) => Err(failed("open", &path)(cause)),
        }
    }

    /// Gives an arrived file its final name.
    ///
    /// # Errors
    /// The bytes cannot be brought to the disk, or the name cannot be given.
    pub fn settle(&self, arriving: &Arriving, relative: &str) -> Result<(), FolderError> {
        let to = self.at(relative)?;
        if self.durable {
            arriving.file.sync_data().map_err(failed("sync", &arriving.path))?;
        }
        self.rename(&arriving.path, &to)
    }

    /// Opens a file as a stream of the bytes from `from` up to `to`; `None` when the file is not there.
    ///
    /// # Errors
    /// The file cannot be opened. A failure in the middle, and a file shorter than `to`, are the stream's errors.
    pub fn stream(
        &self,
        relative: &str,
        from: u64,
        to: u64,
    ) -> Result<Option<BoxStream<'static, Result<Bytes, FolderError>>>, FolderError> {
        let path = self.at(relative)?;
        match File::open(&path) {
            Ok(file) => Ok(Some(pieces(file, path, from, to))),
            Err(cause) if is_absent(&cause) => Ok(None),
            Err(cause) => Err(failed("open", &path)(cause)),
        }
    }
}

fn pieces(file: File, path: PathBuf, from: u64, to: u64) -> BoxStream<'static, Result<Bytes, FolderError>> {
    let file = Arc::new(file);
    let path = Arc::new(path);
    // The buffer goes round: once the receiver has dropped a piece, its memory is used again.
    stream::try_unfold((from, BytesMut::new()), move |(at, mut buffer)| {
        let (file, path) = (Arc::clone(&file), Arc::clone(&path));
        async move {
            if at >= to {
                return Ok(None);
            }
            let wanted = usize::try_from(to - at).map_or(CHUNK, |left| left.min(CHUNK));
            let read = tokio::task::spawn_blocking(move || {
                buffer.resize(wanted, 0);
                file.read_exact_at(&mut buffer, at).map(|()| buffer)
            })
            .await
            .unwrap_or_else(|stopped| Err(io::Error::other(stopped)));
            let mut buffer = read.map_err(failed("read", &path))?;
            let piece = buffer.split().freeze();
            Ok(Some((piece, (at + wanted as u64, buffer))))
        }
    })
    .boxed()
}

pub(super) fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    move |cause| FolderError { operation, path: path.to_owned(), cause }
}

/// A file is also absent when one of its parents is a file.
fn is_absent(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;

    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path(), true).unwrap();
        (place, folder)
    }

    #[test]
    fn nothing_outside_is_touched() {
        let (_place, folder) = folder();
        for bad in ["", "..", "../x", "/etc/passwd", "a/../../x", "."] {
            assert!(folder.read(bad, 1).is_err(), "{bad}");
            assert!(folder.write(bad, b"x").is_err(), "{bad}");
            assert!(folder.remove(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn small_files_are_replaced_whole() {
        let (_place, folder) = folder();
        assert_eq!(folder.read("a/b/c", 10).unwrap(), None);
        folder.write("a/b/c", b"one").unwrap();
        folder.write("a/b/c", b"two!").unwrap();
        assert_eq!(folder.read("a/b/c", 4).unwrap().unwrap(), b"two!");
        assert!(folder.read("a/b/c", 3).is_err());
        assert_eq!(folder.size("a/b/c").unwrap(), Some(4));
        assert_eq!(folder.size("a/b/c/d").unwrap(), None);
        assert_eq!(folder.entries("a").unwrap(), [Entry { name: "b".into(), is_folder: true }]);
        assert!(folder.entries("tmp").unwrap().is_empty());
        folder.prune("a/b").unwrap();
        assert!(folder.remove("a/b/c").unwrap() && !folder.remove("a/b/c").unwrap());
        folder.prune("a/b").unwrap();
        assert!(folder.entries("a").unwrap().is_empty());
    }

    #[test]
    fn one_process_at_a_time() {
        let (_place, folder) = folder();
        let held = folder.lock().unwrap();
        assert!(held.is_some() && folder.lock().unwrap().is_none());
        drop(held);
        assert!(folder.lock().unwrap().is_some());
    }

    #[tokio::test]
    async fn a_file_appears_when_it_is_complete_and_streams_in_pieces() {
        let (_place, folder) = folder();
        let mut arriving = folder.arrive("in/1").unwrap();
        assert!(folder.arrive("in/1").is_err());
        let data: Vec<u8> = (0..CHUNK * 2 + 77).map(|n| (n * 31 % 251) as u8).collect();
        arriving.append(&[Bytes::from_static(b"junk")]).unwrap();
        arriving.cut(0).unwrap();
        arriving.append(&[Bytes::new(), Bytes::copy_from_slice(&data[..10]), Bytes::new()]).unwrap();
        drop(arriving);
        let mut arriving = folder.arrive_again("in/1").unwrap().unwrap();
        assert_eq!(arriving.length(), 10);
        arriving.append(&[Bytes::copy_from_slice(&data[10..])]).unwrap();
        let mut replayed = Vec::new();
        arriving.replay(|piece| replayed.extend_from_slice(piece)).unwrap();
        assert!(replayed == data);
        assert_eq!(folder.size("out/x").unwrap(), None);
        folder.settle(&arriving, "out/x").unwrap();
        assert_eq!((folder.size("out/x").unwrap(), folder.size("in/1").unwrap()), (Some(data.len() as u64), None));

        for (from, to) in [(0, data.len()), (5, CHUNK + 6), (7, 7), (data.len() - 1, data.len())] {
            let read: Vec<Bytes> =
                folder.stream("out/x", from as u64, to as u64).unwrap().unwrap().try_collect().await.unwrap();
            assert!(read.concat() == data[from..to], "{from}..{to}");
        }
        let beyond = folder.stream("out/x", 0, data.len() as u64 + 1).unwrap().unwrap();
        assert!(beyond.try_collect::<Vec<_>>().await.is_err());
        assert!(folder.stream("out/y", 0, 1).unwrap().is_none());
    }
}
