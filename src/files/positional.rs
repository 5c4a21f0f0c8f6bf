//! Reads and writes at offsets, without a cursor that tasks could fight over.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Action, Error};

/// A file that many tasks read and write at offsets of their own.
#[derive(Debug)]
pub struct Positional {
    file: fs::File,
    path: PathBuf,
}

impl Positional {
    /// Opens an existing regular file for reading only; works on read-only media.
    ///
    /// # Errors
    /// [`Error::NotRegular`] for folders, pipes and devices, [`Error::Io`] otherwise.
    pub fn open(path: &Path) -> Result<Self, Error> {
        // Asked before opening, because opening a pipe waits for its writer.
        let before = fs::metadata(path).map_err(|cause| Error::io(path, Action::Open, cause))?;
        if !before.is_file() {
            return Err(Error::NotRegular { path: path.to_owned() });
        }
        let file = fs::File::open(path).map_err(|cause| Error::io(path, Action::Open, cause))?;
        let this = Positional { file, path: path.to_owned() };
        if this.metadata()?.is_file() { Ok(this) } else { Err(Error::NotRegular { path: this.path }) }
    }

    /// Opens a file for reading and writing, creates it if it is not there, keeps what it holds, and locks it against
    /// every other process that opens it in this way.
    ///
    /// # Errors
    /// [`Error::Locked`] at once, when another process holds it; [`Error::Io`] otherwise.
    pub fn open_exclusive(path: &Path) -> Result<Self, Error> {
        Self::open_locked(path, |file| file.try_lock())
    }

    /// Does the same, but waits for the other process.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn open_in_turn(path: &Path) -> Result<Self, Error> {
        Self::open_locked(path, |file| match file.lock() {
            // Some network shares have no locks; then writers at the same time are not kept apart.
            Err(cause) if cause.kind() == io::ErrorKind::Unsupported => Ok(()),
            other => other.map_err(fs::TryLockError::Error),
        })
    }

    fn open_locked(path: &Path, lock: impl Fn(&fs::File) -> Result<(), fs::TryLockError>) -> Result<Self, Error> {
        loop {
            if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
                return Err(Error::NotRegular { path: path.to_owned() });
            }
            let file = fs::OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)
                .map_err(|cause| Error::io(path, Action::Open, cause))?;
            match lock(&file) {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => return Err(Error::Locked { path: path.to_owned() }),
                Err(fs::TryLockError::Error(cause)) => return Err(Error::io(path, Action::Lock, cause)),
            }
            let this = Positional { file, path: path.to_owned() };
            // Between opening and locking, the holder before us may have renamed the file to its final name: then the
            // lock is on a finished file, which must not be touched, and the name is free for a new one.
            if this.still_has_its_name()? {
                return Ok(this);
            }
        }
    }

    #[cfg(unix)]
    fn still_has_its_name(&self) -> Result<bool, Error> {
        use std::os::unix::fs::MetadataExt;
        let own = self.metadata()?;
        Ok(fs::symlink_metadata(&self.path).is_ok_and(|named| (named.dev(), named.ino()) == (own.dev(), own.ino())))
    }

    #[cfg(not(unix))]
    fn still_has_its_name(&self) -> Result<bool, Error> {
        // Elsewhere an open file cannot be renamed away.
        Ok(true)
    }

    /// Wraps a file that has no name any more.
    pub(super) fn anonymous(file: fs::File, path: PathBuf) -> Self {
        Positional { file, path }
    }

    /// Returns the path under which the file was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the size in bytes.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn len(&self) -> Result<u64, Error> {
        Ok(self.metadata()?.len())
    }

    /// Tells whether the file has no bytes.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len()? == 0)
    }

    /// Returns how many bytes of the disk the file takes, without its holes.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn allocated(&self) -> Result<u64, Error> {
        let metadata = self.metadata()?;
        #[cfg(unix)]
        {
            // POSIX `st_blocks` counts units of 512 bytes whatever the block size is.
            Ok(std::os::unix::fs::MetadataExt::blocks(&metadata) * 512)
        }
        #[cfg(not(unix))]
        {
            Ok(metadata.len())
        }
    }

    fn metadata(&self) -> Result<fs::Metadata, Error> {
        self.file.metadata().map_err(|cause| Error::io(&self.path, Action::Open, cause))
    }

    /// Makes the file exactly this long; new bytes are zero and take no room yet.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::NoRoom`].
    pub fn set_len(&self, bytes: u64) -> Result<(), Error> {
        self.file.set_len(bytes).map_err(|cause| Error::io(&self.path, Action::Write, cause))
    }

    /// Fills `buffer` from offset `at`.
    ///
    /// # Errors
    /// [`Error::Truncated`] when the file ends before the buffer is full, [`Error::Io`] otherwise.
    pub fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> Result<(), Error> {
        read_all_at(&self.file, buffer, at).map_err(|cause| match cause.kind() {
            io::ErrorKind::UnexpectedEof => {
                Error::Truncated { path: self.path.clone(), entry: format!("the range at byte {at}") }
            }
            _ => Error::io(&self.path, Action::Read, cause),
        })
    }

    /// Writes all of `bytes` at offset `at`.
    ///
    /// # Errors
    /// [`Error::NoRoom`] when the disk is full, [`Error::Io`] otherwise.
    pub fn write_all_at(&self, bytes: &[u8], at: u64) -> Result<(), Error> {
        put_all_at(&self.file, bytes, at).map_err(|cause| Error::io(&self.path, Action::Write, cause))
    }

    /// Lets the system begin to bring a range that was just written to the disk, without waiting for it, so that the
    /// sync at the end finds little left to do. A hint: where it cannot be given, nothing is lost but time.
    pub fn start_writeback(&self, at: u64, bytes: u64) {
        #[cfg(target_os = "linux")]
        {
            // Linux starts writing the dirty pages of a range that is called unneeded, and drops only the clean ones;
            // right after a write there are none (mm/fadvise.c). A sync from another thread instead would hold up
            // every writer of the file: measured twice as slow.
            let bytes = std::num::NonZeroU64::new(bytes);
            let _ = rustix::fs::fadvise(&self.file, at, bytes, rustix::fs::Advice::DontNeed);
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = (at, bytes);
        }
    }

    /// Waits until every byte is on the disk.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::NoRoom`]: some systems allocate only now.
    pub fn sync(&self) -> Result<(), Error> {
        self.file.sync_all().map_err(|cause| Error::io(&self.path, Action::Sync, cause))
    }
}

#[cfg(unix)]
fn read_all_at(file: &fs::File, buffer: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, at)
}

#[cfg(unix)]
fn put_all_at(file: &fs::File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(windows)]
fn read_all_at(file: &fs::File, mut buffer: &mut [u8], mut at: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buffer, at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                buffer = &mut buffer[n..];
                at += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(windows)]
fn put_all_at(file: &fs::File, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_write(file, bytes, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                bytes = &bytes[n..];
                at += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Returns how many bytes this user may still write on the disk that holds `path`; `None` where the system does not
/// tell.
pub fn free_space(path: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let stats = rustix::fs::statvfs(path).ok()?;
        Some(stats.f_bavail.saturating_mul(stats.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

/// Starts `work`, which blocks, on a thread where blocking does no harm, and returns its result. The work starts at
/// once and runs to its end even when nobody waits any more. A panic of the work is passed on.
pub fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> impl Future<Output = T> + Send {
    let running = tokio::task::spawn_blocking(work);
    async move {
        match running.await {
            Ok(done) => done,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The only other reason is that the runtime is being shut down; then nobody waits for this any more.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_writer_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.partial");
        let first = Positional::open_exclusive(&path).unwrap();
        assert!(matches!(Positional::open_exclusive(&path), Err(Error::Locked { .. })));
        drop(first);
        Positional::open_exclusive(&path).unwrap();
    }

    #[test]
    fn a_file_that_lost_its_name_is_not_taken_for_the_named_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.partial");
        let first = Positional::open_exclusive(&path).unwrap();
        fs::rename(&path, folder.path().join("x")).unwrap();
        assert!(!first.still_has_its_name().unwrap());
        let second = Positional::open_exclusive(&path).unwrap();
        assert!(second.still_has_its_name().unwrap());
    }

    #[test]
    fn reads_and_writes_anywhere_and_says_where_a_file_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let file = Positional::open_exclusive(&path).unwrap();
        file.set_len(10).unwrap();
        file.write_all_at(b"abc", 7).unwrap();
        let mut buffer = [1; 4];
        file.read_exact_at(&mut buffer, 6).unwrap();
        assert_eq!(&buffer, b"\0abc");
        assert!(matches!(file.read_exact_at(&mut buffer, 8), Err(Error::Truncated { .. })));
        assert!(matches!(Positional::open(folder.path()), Err(Error::NotRegular { .. })));
        assert!(Positional::open(&folder.path().join("none")).unwrap_err().is_missing());
    }
}
