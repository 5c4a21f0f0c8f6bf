//! Reads and writes at offsets, without a cursor that tasks could fight over.

use std::{
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures_util::{Stream, stream};

use super::{
    Action, Error,
    direct::{Buffer, Direct},
};

/// A file that many tasks read and write at offsets of their own.
#[derive(Debug)]
pub struct Positional {
    file: fs::File,
    path: PathBuf,
    direct: Direct,
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
        let this = Positional { file, path: path.to_owned(), direct: Direct::default() };
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
            let this = Positional { file, path: path.to_owned(), direct: Direct::default() };
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
        Positional { file, path, direct: Direct::default() }
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

    /// Makes the file exactly this long and has the file system set the room aside, where it can: then the disk cannot
    /// fill up half-way, and writers at different offsets do not wait for each other's allocations (measured on ext4: a
    /// quarter less time for an archive).
    ///
    /// # Errors
    /// [`Error::NoRoom`] when the disk has too little left, [`Error::Io`].
    pub fn reserve(&self, bytes: u64) -> Result<(), Error> {
        self.set_len(bytes)?;
        #[cfg(target_os = "linux")]
        {
            use rustix::{fs::FallocateFlags, io::Errno};
            // Any other refusal says that this file system cannot (network shares, FUSE); then it allocates as it writes.
            if bytes > 0
                && let Err(full @ (Errno::NOSPC | Errno::DQUOT)) =
                    rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, bytes)
            {
                return Err(Error::io(&self.path, Action::Write, full.into()));
            }
        }
        Ok(())
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

    /// Does the same with bytes that will not be read again soon: past the page cache as far as the disk, the place and the
    /// memory allow (see [`Buffer`]).
    ///
    /// # Errors
    /// As [`Positional::write_all_at`].
    pub fn write_once_at(&self, bytes: &[u8], at: u64) -> Result<(), Error> {
        let Some(done) = self.direct.write(&self.file, &self.path, bytes, at) else {
            return self.write_all_at(bytes, at);
        };
        self.write_all_at(&bytes[..done.start], at)?;
        self.write_all_at(&bytes[done.end..], at + done.end as u64)
    }

    /// Reads `length` bytes that will not be read again soon into the buffer, past the page cache as far as possible.
    ///
    /// # Errors
    /// As [`Positional::read_exact_at`].
    pub fn read_once_at(&self, buffer: Buffer, at: u64, length: usize) -> Result<Buffer, Error> {
        let mut buffer = buffer.for_reading(at, length);
        let bytes = buffer.bytes_mut();
        match self.direct.read(&self.file, &self.path, bytes, at) {
            None => self.read_exact_at(bytes, at)?,
            Some(done) => {
                self.read_exact_at(&mut bytes[..done.start], at)?;
                self.read_exact_at(&mut bytes[done.end..], at + done.end as u64)?;
            }
        }
        Ok(buffer)
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
pub(super) fn read_all_at(file: &fs::File, buffer: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, at)
}

#[cfg(unix)]
pub(super) fn put_all_at(file: &fs::File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(windows)]
pub(super) fn read_all_at(file: &fs::File, mut buffer: &mut [u8], mut at: u64) -> io::Result<()> {
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
pub(super) fn put_all_at(file: &fs::File, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
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

/// How much of a range is read at once.
const READ: u64 = 512 << 10;

/// How many buffers of a stream are kept for its next reads: one is being filled, one used, one about to come back.
const KEPT: usize = 3;

/// Reads a range of a file piece by piece, on threads where blocking does no harm, one piece ahead of its reader.
pub fn stream_range(file: Arc<Positional>, range: Range<u64>) -> impl Stream<Item = Result<Bytes, Error>> + Send {
    let pool: Pool = Arc::default();
    let read = move |at: u64| {
        let n = range.end.saturating_sub(at).min(READ);
        let (file, pool) = (file.clone(), pool.clone());
        (n > 0).then(|| blocking(move || Piece::read(&file, at, n, pool)))
    };
    let first = read(range.start);
    stream::try_unfold((range.start, first, read), move |(at, next, read)| async move {
        let Some(next) = next else { return Ok(None) };
        let bytes = next.await?;
        let at = at + bytes.len() as u64;
        let next = read(at);
        Ok(Some((bytes, (at, next, read))))
    })
}

type Pool = Arc<Mutex<Vec<Vec<u8>>>>;

/// A buffer that goes back to its stream when nobody looks at it any more: fresh memory for each piece of a large file
/// costs more than reading it.
struct Piece {
    buffer: Vec<u8>,
    length: usize,
    pool: Pool,
}

impl Piece {
    fn read(file: &Positional, at: u64, n: u64, pool: Pool) -> Result<Bytes, Error> {
        let length = usize::try_from(n).unwrap_or_default();
        let mut buffer = pool.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).pop().unwrap_or_default();
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        file.read_exact_at(&mut buffer[..length], at)?;
        Ok(Bytes::from_owner(Piece { buffer, length, pool }))
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let mut pool = self.pool.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if pool.len() < KEPT {
            pool.push(std::mem::take(&mut self.buffer));
        }
    }
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

    #[tokio::test]
    async fn a_range_comes_in_pieces_and_whole() {
        use futures_util::TryStreamExt;
        let folder = tempfile::tempdir().unwrap();
        let file = Positional::open_exclusive(&folder.path().join("x")).unwrap();
        let content: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
        file.write_all_at(&content, 0).unwrap();
        let file = Arc::new(file);
        for range in [0..3_000_000, 17..1_500_001, 5..5, 2_999_999..3_000_000] {
            let pieces: Vec<Bytes> = stream_range(file.clone(), range.clone()).try_collect().await.unwrap();
            assert!(pieces.concat() == content[range.start as usize..range.end as usize]);
            let mut stream = std::pin::pin!(stream_range(file.clone(), range.clone()));
            let mut at = range.start as usize;
            // Each piece is let go before the next one, so that buffers are used again.
            while let Some(piece) = stream.try_next().await.unwrap() {
                assert!(piece == content[at..at + piece.len()]);
                at += piece.len();
            }
            assert_eq!(at as u64, range.end);
        }
        let beyond: Result<Vec<Bytes>, _> = stream_range(file, 2_999_999..3_000_001).try_collect().await;
        assert!(matches!(beyond, Err(Error::Truncated { .. })));
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
