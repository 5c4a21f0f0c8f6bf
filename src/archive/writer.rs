//! Writes an archive: blobs in parallel straight to their final offset, the control part last, the final name at the
//! very end.
//!
//! ```text
//!   NAME.partial ──── blobs ──── headers, control ──── sync ──── rename ──→ NAME
//!   NAME.partial.journal  (hints; gone with the rename)
//! ```
//!
//! # Invariants
//! - Every blob was hashed on its way in, or hashed again from the file when an earlier run had written it.
//! - The disk never holds more than the archive itself and a small journal.
//! - One process at a time writes one archive; a second one is told so at once.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use super::{
    Error, Layout,
    header::{END, padding, prelude},
    journal::{self, Hint, Journal},
    layout::Blob,
};
use crate::{
    error::Side,
    event::Observer,
    files::{self, Positional, blocking},
    oci::{Descriptor, Digest, Hasher},
    store::{self, Download, Mark, Resume, Sink, Slots, Source, download},
};

/// How much is read at once when bytes in the file are hashed again.
pub(super) const READ: usize = 1 << 20;

/// An archive that is being written; a [`Sink`] for the blobs of its layout.
pub struct Writer {
    layout: Layout,
    target: PathBuf,
    journal_path: PathBuf,
    file: Arc<Positional>,
    journal: Arc<Journal>,
    state: Mutex<State>,
    slots: Slots,
    observer: Arc<dyn Observer>,
}

#[derive(Default)]
struct State {
    hints: HashMap<Digest, Hint>,
    done: HashSet<Digest>,
}

/// Says what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// The digest of its `bundle.json`, which names it.
    pub bundle: Digest,
}

impl Writer {
    /// Opens `target.partial` for this layout. What an earlier run of the same layout left is kept as a hint; what
    /// another layout left is discarded. Checks that there is room for the rest.
    ///
    /// # Errors
    /// [`files::Error::Exists`] when a folder has its name, [`files::Error::Locked`] when another process writes it,
    /// [`files::Error::NoRoom`] with the missing number of bytes, and other errors of the disk.
    pub fn open(target: &Path, layout: Layout, slots: &Slots, observer: Arc<dyn Observer>) -> Result<Writer, Error> {
        // Found out now, not when everything was pulled and cannot get its name.
        if files::is_folder(target) {
            return Err(files::Error::Exists { path: target.to_owned() }.into());
        }
        let partial = beside(target, ".partial");
        let journal_path = beside(target, ".partial.journal");
        let file = Positional::open_exclusive(&partial)?;
        let id = layout.id();
        let known = journal::read(&journal_path, &id).filter(|_| file.len().is_ok_and(|len| len == layout.total()));
        let hints = match known {
            Some(hints) => hints,
            None => {
                // The old blocks are given back before the new ones are counted.
                file.set_len(0)?;
                HashMap::new()
            }
        };
        let needed = layout.total().saturating_sub(file.allocated()?);
        let folder = partial.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if let Some(free) = files::free_space(folder)
            && free < needed
        {
            if file.is_empty()? {
                files::remove(&partial)?;
            }
            return Err(files::Error::NoRoom { path: partial, needed: Some(needed - free) }.into());
        }
        if let Err(error) = file.reserve(layout.total()) {
            // Another process took the room meanwhile; what was set aside of it is given back.
            if hints.is_empty() {
                file.set_len(0)?;
                files::remove(&partial)?;
            }
            return Err(error.into());
        }
        let journal = Journal::start(&journal_path, &id, &hints)?;
        Ok(Writer {
            layout,
            target: target.to_owned(),
            journal_path,
            file: Arc::new(file),
            journal: Arc::new(journal),
            state: Mutex::new(State { hints, done: HashSet::new() }),
            slots: slots.clone(),
            observer,
        })
    }

    /// Returns where everything goes.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<&Blob, store::Error> {
        let blob = self
            .layout
            .blob(&descriptor.digest)
            .ok_or_else(|| store::Error::place(Side::Target, Error::Unplanned(descriptor.digest)))?;
        if blob.size == descriptor.size {
            return Ok(blob);
        }
        Err(store::Error::Size {
            side: Side::Source,
            digest: blob.digest,
            expected: blob.size,
            actual: descriptor.size,
        })
    }

    /// Hashes the prefix that an earlier run left of a blob; the state of the hash when the bytes are what they were.
    async fn still_there(&self, blob: &Blob, bytes: u64, expected: Digest) -> Option<Hasher> {
        if bytes > blob.size {
            return None;
        }
        let (file, blob) = (self.file.clone(), blob.clone());
        let hasher = blocking(move || hash(&file, blob.offset, bytes, blob.digest.algorithm().hasher())).await;
        hasher.ok().filter(|hasher| hasher.clone().finish() == expected)
    }

    /// Writes what is at hand and the control part, makes it durable, and gives the archive its final name, replacing
    /// what had it before.
    ///
    /// # Errors
    /// [`Error::Incomplete`] when blobs are missing, and errors of the disk; the unfinished archive then stays.
    pub async fn finish(self) -> Result<Finished, Error> {
        let Writer { layout, target, journal_path, file, state, .. } = self;
        let done = state.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()).done;
        let missing: Vec<Digest> = layout
            .blobs()
            .iter()
            .map(|blob| blob.digest)
            .filter(|digest| !done.contains(digest) && layout.held(digest).is_none())
            .collect();
        if !missing.is_empty() {
            return Err(Error::Incomplete { path: file.path().to_owned(), missing });
        }
        blocking(move || {
            write_frame(&file, &layout)?;
            file.sync()?;
            files::rename_durably(file.path(), &target)?;
            files::remove(&journal_path)?;
            let bundle = layout.control.get(2).map(|(_, bytes)| Digest::sha256(bytes));
            Ok(Finished { path: target, bytes: layout.total(), bundle: bundle.unwrap_or_else(|| Digest::sha256(b"")) })
        })
        .await
    }
}

/// Writes everything that is no fetched blob: control part, held content, headers, padding, end.
fn write_frame(file: &Positional, layout: &Layout) -> Result<(), Error> {
    file.write_all_at(&layout.control_bytes(), 0)?;
    let mtime = layout.mtime();
    // The padding of one entry and the header of the next touch, so they are one write.
    let mut gap = Vec::new();
    let mut gap_at = layout.control_end;
    for blob in layout.blobs() {
        gap.extend(prelude(&blob.path, blob.size, mtime));
        if let Some(content) = layout.held(&blob.digest) {
            // Held content came from outside like any other.
            let actual = blob.digest.same_algorithm(&content);
            if actual != blob.digest || content.len() as u64 != blob.size {
                let expected = blob.digest;
                return Err(store::Error::Corrupt { side: Side::Source, expected, actual }.into());
            }
            gap.extend_from_slice(&content);
            gap.resize(gap.len() + padding(blob.size) as usize, 0);
            if gap.len() < READ {
                continue;
            }
        }
        file.write_all_at(&gap, gap_at)?;
        gap.clear();
        if layout.held(&blob.digest).is_none() {
            gap_at = blob.offset + blob.size;
            gap.resize(padding(blob.size) as usize, 0);
        } else {
            gap_at = blob.next();
        }
    }
    gap.resize(gap.len() + END as usize, 0);
    file.write_all_at(&gap, gap_at)?;
    Ok(())
}

/// Hashes a range of a file.
pub(super) fn hash(file: &Positional, mut at: u64, bytes: u64, mut hasher: Hasher) -> Result<Hasher, files::Error> {
    let mut left = bytes;
    let mut buffer = vec![0; usize::try_from(left).unwrap_or(READ).min(READ)];
    while left > 0 {
        let n = usize::try_from(left).unwrap_or(READ).min(READ);
        file.read_exact_at(&mut buffer[..n], at)?;
        hasher.update(&buffer[..n]);
        at += n as u64;
        left -= n as u64;
    }
    Ok(hasher)
}

fn beside(target: &Path, suffix: &str) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    target.with_file_name(name)
}

impl Sink for Writer {
    async fn has(&self, descriptor: &Descriptor) -> Result<bool, store::Error> {
        let blob = self.blob(descriptor)?;
        let prefix = {
            let state = self.state();
            if state.done.contains(&blob.digest) {
                return Ok(true);
            }
            state.hints.get(&blob.digest).and_then(|hint| hint.prefix)
        };
        if prefix != Some((blob.size, blob.digest)) {
            return Ok(false);
        }
        let kept = self.still_there(blob, blob.size, blob.digest).await.is_some();
        let mut state = self.state();
        if kept {
            state.done.insert(blob.digest);
        } else {
            state.hints.remove(&blob.digest);
        }
        Ok(kept)
    }

    async fn put<S: Source>(
        &self,
        descriptor: &Descriptor,
        source: &S,
        moved: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), store::Error> {
        let blob = self.blob(descriptor)?;
        let hint = self.state().hints.get(&blob.digest).cloned().unwrap_or_default();
        let prefix = match hint.prefix {
            Some((bytes, digest)) => self.still_there(blob, bytes, digest).await.map(|hasher| (bytes, hasher)),
            None => None,
        };
        // Where the prefix was lost, the parts behind it were hardly kept.
        let parts = if prefix.is_some() == hint.prefix.is_some() { hint.parts } else { BTreeMap::new() };
        let resume = Resume { prefix, parts: parts.into_iter().map(|(start, end)| start..end).collect() };
        let mark = |mark: Mark| {
            self.state().hints.entry(blob.digest).or_default().add(&mark);
            self.journal.mark(&blob.digest, &mark);
        };
        let job = Download {
            blob: descriptor,
            file: self.file.clone(),
            base: blob.offset,
            resume,
            slots: &self.slots,
            observer: &*self.observer,
            moved,
            mark: &mark,
        };
        download(source, job).await.map_err(|error| self.with_room(error))?;
        self.state().done.insert(blob.digest);
        Ok(())
    }
}

impl Writer {
    /// Says how much room is missing when the disk is full: all that is not yet on it.
    fn with_room(&self, error: store::Error) -> store::Error {
        let store::Error::Place { side: Side::Target, cause } = &error else { return error };
        let cause: &dyn std::error::Error = &**cause;
        let Some(files::Error::NoRoom { path, needed: None }) = cause.downcast_ref() else { return error };
        let missing = self.layout.total().saturating_sub(self.file.allocated().unwrap_or_default());
        // Where the room was set aside beforehand, the file system itself ran out of something else.
        let needed = Some(missing).filter(|missing| *missing > 0);
        store::Error::place(Side::Target, files::Error::NoRoom { path: path.clone(), needed })
    }
}
