//! A writable registry over a directory: uploads stream to the disk and are hashed on the way.
//!
//! What lies where is the business of `records.rs`; this file runs its blocking calls off the event loop and owns the
//! state of uploads.
//!
//! # Invariants
//! - At most two batches of [`BATCH`] bytes of an upload are in memory: one that is written and one that comes in.
//! - An upload goes on when the request that feeds it is dropped in the middle: its bytes and its hash stay in step.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher as _, RandomState},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use tokio::{
    sync::OwnedMutexGuard,
    task::{JoinHandle, spawn_blocking},
};

use crate::{
    error::Side,
    files::{Arriving, FolderError},
    oci::{Algorithm, Descriptor, Digest, Hasher, Host, Repository},
    store::{self, Reader},
};

use super::{
    arrival::Arrival,
    backend::{Backend, Policy, Pushed, Stored},
    records::{self, Records},
    refusal::Refusal,
    route::Which,
    start::StartError,
};

/// How many bytes are hashed and written in one go.
const BATCH: usize = 512 << 10;

/// How long a request waits for another one that writes to the same upload; a client whose connection broke may come
/// back before its old request has noticed.
const UPLOAD_PATIENCE: Duration = Duration::from_secs(10);

/// How often uploads are looked at for stale ones.
const UPKEEP: Duration = Duration::from_secs(60 * 60);

/// Serves and fills a directory.
#[derive(Clone, Debug)]
pub struct Data {
    records: Arc<Records>,
    uploads: Arc<Uploads>,
}

/// Repository and id.
type Key = (String, String);

/// One request at a time works on an upload.
type Slot = Arc<tokio::sync::Mutex<Upload>>;

#[derive(Debug)]
struct Uploads {
    known: Mutex<HashMap<Key, Slot>>,
    swept: Mutex<Instant>,
    serial: AtomicU64,
}

/// What is known of an upload between two requests.
#[derive(Debug)]
enum Upload {
    /// Nothing yet: the file, if there is one, is from an earlier process.
    Unseen,
    /// It holds so many bytes; the hash is known when every byte passed through this process.
    Waiting { length: u64, hasher: Option<Box<Hasher>> },
    /// It became a blob or was dropped.
    Gone,
}

/// An upload that a request works on.
struct Work {
    file: Arriving,
    hasher: Option<Box<Hasher>>,
}

impl Data {
    /// Opens a directory; makes it when it is not there. With `durable`, an answered push survives a power cut.
    ///
    /// # Errors
    /// The directory cannot be used, is used by another process, or holds something else.
    pub fn open(root: &Path, durable: bool) -> Result<Data, StartError> {
        let uploads = Uploads { known: Mutex::default(), swept: Mutex::new(Instant::now()), serial: AtomicU64::new(0) };
        Ok(Data { records: Arc::new(Records::open(root, durable)?), uploads: Arc::new(uploads) })
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Records) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let records = Arc::clone(&self.records);
        spawn_blocking(move || work(&records)).await.map_err(|_| Refusal::Stopped)?
    }

    /// Takes an upload for this request alone.
    async fn take(&self, name: &Repository, id: &str) -> Result<OwnedMutexGuard<Upload>, Refusal> {
        if !is_id(id) {
            return Err(Refusal::UploadUnknown);
        }
        let key = (name.to_string(), id.to_owned());
        let slot = {
            let mut known = self.uploads.known.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(known.entry(key).or_insert_with(|| Arc::new(tokio::sync::Mutex::new(Upload::Unseen))))
        };
        let Ok(mut upload) = tokio::time::timeout(UPLOAD_PATIENCE, slot.lock_owned()).await else {
            return Err(Refusal::UploadBusy);
        };
        if matches!(*upload, Upload::Unseen) {
            let at = records::upload(name.as_str(), id);
            *upload = match self.run(move |records| Ok(records.folder.size(&at)?)).await? {
                Some(length) => Upload::Waiting { length, hasher: None },
                None => Upload::Gone,
            };
        }
        if matches!(*upload, Upload::Gone) {
            self.forget(name, id);
            return Err(Refusal::UploadUnknown);
        }
        Ok(upload)
    }

    fn forget(&self, name: &Repository, id: &str) {
        let mut known = self.uploads.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(&(name.to_string(), id.to_owned()));
    }

    /// Opens the file of an upload that `take` gave; the upload is unseen until [`keep`] is called.
    async fn open_upload(&self, upload: &mut Upload, name: &Repository, id: &str) -> Result<Work, Refusal> {
        let (length, hasher) = match std::mem::replace(upload, Upload::Unseen) {
            Upload::Waiting { length, hasher } => (length, hasher),
            Upload::Unseen | Upload::Gone => return Err(Refusal::UploadUnknown),
        };
        let at = records::upload(name.as_str(), id);
        let file = self.run(move |records| Ok(records.folder.arrive_again(&at)?)).await?;
        let file = file.ok_or(Refusal::UploadUnknown)?;
        let hasher = hasher.filter(|_| file.length() == length);
        Ok(Work { file, hasher })
    }

    fn drop_stale_uploads(&self) {
        let mut swept = self.uploads.swept.lock().unwrap_or_else(PoisonError::into_inner);
        if swept.elapsed() < UPKEEP {
            return;
        }
        *swept = Instant::now();
        // Upkeep that fails is tried again in an hour; the request that triggered it has nothing to do with it.
        drop(self.run_detached(|records| records.drop_stale_uploads()));
        let mut known = self.uploads.known.lock().unwrap_or_else(PoisonError::into_inner);
        // What no request holds can be read from the disk again, at the price of hashing it again.
        known.retain(|_, slot| Arc::strong_count(slot) > 1);
    }

    fn run_detached(&self, work: impl FnOnce(&Records) -> Result<(), FolderError> + Send + 'static) -> JoinHandle<()> {
        let records = Arc::clone(&self.records);
        spawn_blocking(move || drop(work(&records)))
    }

    async fn do_append(
        self,
        name: Repository,
        id: String,
        start: Option<u64>,
        mut body: Arrival,
    ) -> Result<u64, Refusal> {
        let mut upload = self.take(&name, &id).await?;
        check_start(&upload, start)?;
        let work = self.open_upload(&mut upload, &name, &id).await?;
        let (work, result) = pour(work, &mut body).await?;
        let length = work.file.length();
        *upload = Upload::Waiting { length, hasher: work.hasher };
        result.map(|()| length)
    }

    async fn do_finish(
        self,
        name: Repository,
        id: String,
        digest: Digest,
        start: Option<u64>,
        mut body: Arrival,
    ) -> Result<(), Refusal> {
        let mut upload = self.take(&name, &id).await?;
        check_start(&upload, start)?;
        let mut work = self.open_upload(&mut upload, &name, &id).await?;
        if work.hasher.as_ref().is_none_or(|hasher| algorithm(hasher) != digest.algorithm()) {
            work.hasher = (work.file.length() == 0).then(|| Box::new(digest.algorithm().hasher()));
        }
        let before = (work.file.length(), work.hasher.clone());
        let (mut work, result) = pour(work, &mut body).await?;
        let at = records::upload(name.as_str(), &id);
        if let Err(refusal) = result {
            let (length, hasher) = before;
            *upload = self
                .run(move |_| {
                    work.file.cut(length)?;
                    Ok(Upload::Waiting { length, hasher })
                })
                .await?;
            return Err(refusal);
        }
        let (repository, file) = (name.clone(), work.file);
        let done = self.run(move |records| {
            let actual = match work.hasher {
                Some(hasher) => hasher.finish(),
                None => {
                    let mut hasher = digest.algorithm().hasher();
                    file.replay(|bytes| hasher.update(bytes))?;
                    hasher.finish()
                }
            };
            if actual != digest {
                records.folder.remove(&at)?;
                return Ok(Err(Refusal::DigestMismatch { expected: digest, actual }));
            }
            records.commit(&repository, digest, file, &at).map(Ok)
        });
        let verdict = done.await?;
        *upload = Upload::Gone;
        self.forget(&name, &id);
        verdict
    }
}

fn algorithm(hasher: &Hasher) -> Algorithm {
    match hasher {
        Hasher::Sha256(_) => Algorithm::Sha256,
        Hasher::Sha512(_) => Algorithm::Sha512,
    }
}

fn check_start(upload: &Upload, start: Option<u64>) -> Result<(), Refusal> {
    match (upload, start) {
        // The location is filled in by whoever knows the request.
        (Upload::Waiting { length, .. }, Some(start)) if start != *length => {
            Err(Refusal::OutOfOrder { held: *length, location: String::new() })
        }
        _ => Ok(()),
    }
}

/// Moves a body into an upload: while one batch is hashed and written, the next one comes in. The inner result tells
/// whether the whole body came; the upload is in step either way.
async fn pour(work: Work, body: &mut Arrival) -> Result<(Work, Result<(), Refusal>), Refusal> {
    type Written = (Work, Result<(), FolderError>);
    let mut idle = Some(work);
    let mut writing: Option<JoinHandle<Written>> = None;
    loop {
        let mut batch: Vec<Bytes> = Vec::new();
        let mut size = 0;
        let end = loop {
            match body.next().await {
                Ok(Some(bytes)) => {
                    size += bytes.len();
                    batch.push(bytes);
                    if size >= BATCH {
                        break None;
                    }
                }
                Ok(None) => break Some(Ok(())),
                Err(refusal) => break Some(Err(refusal)),
            }
        };
        let work = match (idle.take(), writing.take()) {
            (Some(work), _) => work,
            (None, Some(task)) => match task.await.map_err(|_| Refusal::Stopped)? {
                (work, Ok(())) => work,
                (work, Err(failure)) => return Ok((work, Err(failure.into()))),
            },
            (None, None) => return Err(Refusal::Stopped),
        };
        if batch.is_empty() {
            return Ok((work, end.unwrap_or(Ok(()))));
        }
        let task = spawn_blocking(move || write(work, &batch));
        match end {
            None => writing = Some(task),
            Some(end) => {
                let (work, written) = task.await.map_err(|_| Refusal::Stopped)?;
                return Ok((work, written.map_err(Refusal::from).and(end)));
            }
        }
    }
}

fn write(mut work: Work, batch: &[Bytes]) -> (Work, Result<(), FolderError>) {
    let written = work.file.append(batch);
    if let (Ok(()), Some(hasher)) = (&written, &mut work.hasher) {
        for bytes in batch {
            hasher.update(bytes);
        }
    }
    (work, written)
}

impl Uploads {
    /// Makes an id that cannot be guessed, in the form of a UUID, which the specification asks for. The standard
    /// library's hash keys come from the operating system's random numbers, and the hash does not reveal them.
    fn new_id(&self) -> String {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let half = || {
            let mut hasher = RandomState::new().build_hasher();
            hasher.write_u64(serial);
            hasher.finish()
        };
        let (high, low) = (half(), half());
        // Version 4, variant 1 (RFC 9562, section 5.4).
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            0x8000 | low >> 48 & 0x3fff,
            low & 0xffff_ffff_ffff
        )
    }
}

fn is_id(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'))
}

/// Runs work that must not stop half-way because the client went away.
async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::spawn(work).await.map_err(|_| Refusal::Stopped)?
}

impl Backend for Data {
    fn locate(&self, name: Repository, origin: Option<&Host>) -> Repository {
        let mirrored = origin.and_then(|host| super::catalogue::mirror_name(host, &name));
        match mirrored {
            Some(mirrored) if self.records.knows(&mirrored) => mirrored,
            _ => name,
        }
    }

    async fn repositories(&self) -> Result<Vec<String>, Refusal> {
        Ok(self.records.repositories())
    }

    async fn tags(&self, name: &Repository) -> Result<Vec<String>, Refusal> {
        let name = name.clone();
        self.run(move |records| records.tags(&name)).await
    }

    async fn manifest(&self, name: &Repository, which: &Which) -> Result<Stored, Refusal> {
        let (name, which) = (name.clone(), which.clone());
        self.run(move |records| records.manifest(&name, &which)).await
    }

    async fn referrers(&self, name: &Repository, subject: Digest) -> Result<Vec<Descriptor>, Refusal> {
        let name = name.clone();
        self.run(move |records| records.referrers(&name, subject)).await
    }

    async fn size(&self, name: &Repository, blob: Digest) -> Result<u64, Refusal> {
        let name = name.clone();
        self.run(move |records| records.size(&name, blob)).await
    }

    async fn open(&self, name: &Repository, blob: Digest, from: u64, to: u64) -> Result<Reader, Refusal> {
        let name = name.clone();
        let stream = self
            .run(move |records| {
                records.size(&name, blob)?;
                records::stream(records, blob, from, to)
            })
            .await?;
        Ok(stream.map_err(|cause| store::Error::place(Side::Source, cause)).boxed())
    }

    fn is_writable(&self) -> bool {
        true
    }

    async fn put_manifest(&self, name: &Repository, pushed: Pushed, policy: Policy) -> Result<(), Refusal> {
        let name = name.clone();
        self.run(move |records| records.put_manifest(&name, &pushed, policy)).await
    }

    async fn delete_manifest(&self, name: &Repository, which: &Which) -> Result<(), Refusal> {
        let (name, which) = (name.clone(), which.clone());
        self.run(move |records| records.delete_manifest(&name, &which)).await
    }

    async fn delete_blob(&self, name: &Repository, blob: Digest) -> Result<(), Refusal> {
        let name = name.clone();
        self.run(move |records| records.delete_blob(&name, blob)).await
    }

    async fn mount(&self, name: &Repository, blob: Digest, from: Option<&Repository>) -> Result<bool, Refusal> {
        let (name, from) = (name.clone(), from.cloned());
        self.run(move |records| records.mount(&name, blob, from.as_ref())).await
    }

    async fn begin(&self, name: &Repository, algorithm: Algorithm) -> Result<String, Refusal> {
        self.drop_stale_uploads();
        let id = self.uploads.new_id();
        let at = records::upload(name.as_str(), &id);
        self.run(move |records| Ok(records.folder.arrive(&at).map(drop)?)).await?;
        let fresh = Upload::Waiting { length: 0, hasher: Some(Box::new(algorithm.hasher())) };
        let mut known = self.uploads.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert((name.to_string(), id.clone()), Arc::new(tokio::sync::Mutex::new(fresh)));
        Ok(id)
    }

    async fn progress(&self, name: &Repository, id: &str) -> Result<u64, Refusal> {
        match &*self.take(name, id).await? {
            Upload::Waiting { length, .. } => Ok(*length),
            Upload::Unseen | Upload::Gone => Err(Refusal::UploadUnknown),
        }
    }

    async fn append(&self, name: &Repository, id: &str, start: Option<u64>, body: Arrival) -> Result<u64, Refusal> {
        detached(self.clone().do_append(name.clone(), id.to_owned(), start, body)).await
    }

    async fn finish(
        &self,
        name: &Repository,
        id: &str,
        digest: Digest,
        start: Option<u64>,
        body: Arrival,
    ) -> Result<(), Refusal> {
        detached(self.clone().do_finish(name.clone(), id.to_owned(), digest, start, body)).await
    }

    async fn cancel(&self, name: &Repository, id: &str) -> Result<(), Refusal> {
        let mut upload = self.take(name, id).await?;
        let at = records::upload(name.as_str(), id);
        self.run(move |records| Ok(records.folder.remove(&at)?)).await?;
        *upload = Upload::Gone;
        self.forget(name, id);
        Ok(())
    }
}
