//! Brings one blob from a source to its place in a file: hashed on the way, resumed after failures.
//!
//! ```text
//!   source ─ chunks ─→ buffer ─→ hash + write on a blocking thread      (one buffer fills while the other is written)
//! ```
//!
//! # Invariants
//! - [`download`] returns `Ok` only when every byte was hashed in order and the digest is right.
//! - The hash covers what was handed to the file, not what the file gives back; what is read back later is read by the
//!   archive's own checks.
//! - The state of the hash is never ahead of the bytes written, so a mark is always a prefix that is in the file.
//!
//! # Failure
//! A stream that breaks is reopened at the last good byte, for as long as there is progress; [`MAX_FAILURES`] failures
//! in a row without any end it. Wrong bytes are fetched once more from the start, then they are [`Error::Corrupt`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, future::BoxFuture};

use super::{Error, Slots, Source};
use crate::{
    error::{Classify, Side},
    event::{Event, Observer},
    files::{self, Positional, blocking},
    oci::{Descriptor, Digest, Hasher},
};

/// How many failures in a row, without one byte of progress, end a transfer. With the pauses between them this is about
/// half a minute, on top of the source's own retries of each request.
pub(super) const MAX_FAILURES: u32 = 10;

/// How many bytes are hashed and written at once: large enough that the switch to a blocking thread costs nothing, small
/// enough that two for each connection fit into the memory that is promised (2 MiB for each).
const BATCH: usize = 1 << 20;

/// How many new bytes are worth a mark: at most this much of a blob is fetched again after a kill.
const MARK_EVERY: u64 = 4 << 20;

/// How many streams in a row may end early and empty before the blob is called shorter than it should be.
const MAX_EMPTY: u32 = 3;

/// The part of a blob that is in the file already and was hashed.
#[derive(Clone, Debug)]
pub struct Prefix {
    /// How many bytes.
    pub bytes: u64,
    /// The state of the hash after them.
    pub hasher: Hasher,
}

/// Says where a blob goes, and who wants to hear of it.
pub struct Download<'a> {
    /// What to fetch.
    pub blob: &'a Descriptor,
    /// The file.
    pub file: Arc<Positional>,
    /// Where in the file the blob starts.
    pub base: u64,
    /// What is there already.
    pub prefix: Option<Prefix>,
    /// The connections that may be used beside the first one.
    pub slots: &'a Slots,
    /// Is told of retries.
    pub observer: &'a dyn Observer,
    /// Is told the number of bytes as they reach the file.
    pub moved: &'a (dyn Fn(u64) + Send + Sync),
    /// Is told how many bytes of the blob are in the file in one piece, and their digest.
    pub mark: &'a (dyn Fn(u64, Digest) + Send + Sync),
}

/// Fetches one blob into its place and verifies it.
///
/// # Errors
/// [`Error::Corrupt`] or [`Error::Size`] for wrong bytes, [`Error::Place`] with the side that failed otherwise.
pub async fn download<S: Source>(source: &S, job: Download<'_>) -> Result<(), Error> {
    let mut prefix = job.prefix.clone();
    let mut refetched = false;
    loop {
        let start = prefix
            .take()
            .filter(|prefix| prefix.bytes <= job.blob.size)
            .unwrap_or_else(|| Prefix { bytes: 0, hasher: job.blob.digest.algorithm().hasher() });
        let actual = once(source, &job, start).await?;
        if actual == job.blob.digest {
            (job.mark)(job.blob.size, actual);
            return Ok(());
        }
        // What is in the file is worth nothing: nobody shall continue it.
        (job.mark)(0, job.blob.digest.algorithm().hasher().finish());
        if refetched {
            return Err(Error::Corrupt { side: Side::Source, expected: job.blob.digest, actual });
        }
        refetched = true;
        job.observer.on(&Event::Refetching { digest: job.blob.digest });
    }
}

/// Fetches everything behind `start` and returns the digest of the whole.
async fn once<S: Source>(source: &S, job: &Download<'_>, start: Prefix) -> Result<Digest, Error> {
    if start.bytes > 0 {
        (job.moved)(start.bytes);
    }
    let front = Segment::new(start.bytes, job.blob.size);
    let hasher = fetch(source, job, &front, Some(start.hasher)).await?;
    Ok(hasher.unwrap_or_else(|| job.blob.digest.algorithm().hasher()).finish())
}

/// A stretch of the blob that one connection fetches. Its end moves towards its start when another connection takes
/// over the tail.
#[derive(Debug)]
struct Segment {
    start: u64,
    end: AtomicU64,
    /// Everything before this has arrived.
    received: AtomicU64,
    /// Everything before this is in the file.
    written: AtomicU64,
}

impl Segment {
    fn new(start: u64, end: u64) -> Self {
        Segment { start, end: AtomicU64::new(end), received: AtomicU64::new(start), written: AtomicU64::new(start) }
    }

    fn end(&self) -> u64 {
        self.end.load(Ordering::Relaxed)
    }
}

/// Fetches one segment, for as long as there is progress. With a hasher it is the front: what arrives is hashed before
/// it is written, and marked.
async fn fetch<S: Source>(
    source: &S,
    job: &Download<'_>,
    segment: &Segment,
    hasher: Option<Hasher>,
) -> Result<Option<Hasher>, Error> {
    let mut batch = Batch::new(job, segment, hasher);
    let mut failures = 0;
    let mut empty = 0;
    while batch.at < segment.end() {
        let before = batch.at;
        let Err(broken) = stream(source, job.blob, &mut batch).await else { continue };
        if batch.at > before {
            (failures, empty) = (0, 0);
        }
        let error = match broken {
            Broken::Error(error) => error,
            Broken::Short => {
                empty += 1;
                let size = || Error::Size {
                    side: Side::Source,
                    digest: job.blob.digest,
                    expected: job.blob.size,
                    actual: batch.at,
                };
                if empty >= MAX_EMPTY || !source.is_remote() {
                    return Err(size());
                }
                size()
            }
        };
        failures += 1;
        // A stream that ends early is a connection that was cut, until it has happened too often without progress.
        let transient = error.kind().is_transient() || matches!(error, Error::Size { .. });
        let local = error.side() == Some(Side::Target);
        if !transient || local || !source.is_remote() || failures >= MAX_FAILURES || empty >= MAX_EMPTY {
            return Err(error);
        }
        let wait = if batch.at > before { Duration::ZERO } else { pause(&job.blob.digest, failures) };
        job.observer.on(&Event::Retrying {
            what: format!("{} from byte {}", job.blob.digest, batch.at),
            reason: error.to_string(),
            attempt: failures,
            wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        });
        tokio::time::sleep(wait).await;
    }
    batch.finish().await
}

/// Says why a stream did not reach its end.
enum Broken {
    /// It said why.
    Error(Error),
    /// It ended without a word.
    Short,
}

/// Reads one stream into the batch until the segment's end, wherever that moves meanwhile.
async fn stream<S: Source>(source: &S, blob: &Descriptor, batch: &mut Batch<'_>) -> Result<(), Broken> {
    let to = batch.segment.end();
    let mut reader = source.open(blob, batch.at, to).await.map_err(Broken::Error)?;
    let overrun =
        |actual| Broken::Error(Error::Size { side: Side::Source, digest: blob.digest, expected: blob.size, actual });
    while batch.at < batch.segment.end() {
        let chunk = match reader.next().await {
            None => return Err(Broken::Short),
            Some(chunk) => chunk.map_err(Broken::Error)?,
        };
        let end = batch.segment.end();
        let room = usize::try_from(end - batch.at).unwrap_or(usize::MAX);
        if chunk.len() > room && end == to {
            return Err(overrun(batch.at + chunk.len() as u64));
        }
        batch.push(&chunk[..chunk.len().min(room)]).await.map_err(Broken::Error)?;
    }
    // The end of the stream is waited for, so that its connection can be used again, and nothing follows unseen.
    if batch.segment.end() == to {
        while let Some(Ok(chunk)) = reader.next().await {
            if !chunk.is_empty() {
                return Err(overrun(batch.at + chunk.len() as u64));
            }
        }
    }
    Ok(())
}

/// What one flush gives back: the state of the hash, the buffer to use again, and how many bytes were written.
type Flushed = Result<(Option<Hasher>, Vec<u8>, u64), files::Error>;

/// Collects chunks into large writes: while one buffer is hashed and written, the other one fills.
struct Batch<'a> {
    job: &'a Download<'a>,
    segment: &'a Segment,
    /// The front of the blob hashes; `None` also while a flush holds the state.
    hasher: Option<Hasher>,
    /// Everything before this offset of the blob was taken from the stream.
    at: u64,
    buffer: Vec<u8>,
    spare: Option<Vec<u8>>,
    flushing: Option<BoxFuture<'static, Flushed>>,
    marked: u64,
}

impl<'a> Batch<'a> {
    fn new(job: &'a Download<'a>, segment: &'a Segment, hasher: Option<Hasher>) -> Self {
        Batch {
            job,
            segment,
            hasher,
            at: segment.start,
            buffer: Vec::new(),
            spare: None,
            flushing: None,
            marked: segment.start,
        }
    }

    async fn push(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            if self.buffer.capacity() == 0 {
                let left = usize::try_from(self.segment.end() - self.at).unwrap_or(BATCH);
                self.buffer = self.spare.take().unwrap_or_else(|| Vec::with_capacity(left.min(BATCH)));
            }
            let taken = bytes.len().min(BATCH - self.buffer.len());
            self.buffer.extend_from_slice(&bytes[..taken]);
            self.at += taken as u64;
            self.segment.received.store(self.at, Ordering::Relaxed);
            bytes = &bytes[taken..];
            if self.buffer.len() == BATCH {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Hands the buffer to a blocking thread, after the one before has come back.
    async fn flush(&mut self) -> Result<(), Error> {
        self.settle().await?;
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut hasher = self.hasher.take();
        let file = self.job.file.clone();
        let at = self.job.base + self.at - buffer.len() as u64;
        self.flushing = Some(Box::pin(blocking(move || {
            if let Some(hasher) = &mut hasher {
                hasher.update(&buffer);
            }
            file.write_all_at(&buffer, at)?;
            let written = buffer.len() as u64;
            buffer.clear();
            Ok((hasher, buffer, written))
        })));
        Ok(())
    }

    /// Waits for the write that is under way.
    async fn settle(&mut self) -> Result<(), Error> {
        let Some(flushing) = self.flushing.take() else { return Ok(()) };
        let (hasher, buffer, written) = flushing.await.map_err(|cause| Error::place(Side::Target, cause))?;
        self.hasher = hasher;
        self.spare = Some(buffer);
        let total = self.segment.written.fetch_add(written, Ordering::Relaxed) + written;
        (self.job.moved)(written);
        if let Some(hasher) = &self.hasher
            && total - self.marked >= MARK_EVERY
        {
            self.marked = total;
            (self.job.mark)(total, hasher.clone().finish());
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<Option<Hasher>, Error> {
        if !self.buffer.is_empty() {
            self.flush().await?;
        }
        self.settle().await?;
        Ok(self.hasher)
    }
}

/// How long to wait after failures without progress: a tenth of a second, doubled each time, at most ten seconds, spread
/// by the digest so that many blobs do not come back at the same moment.
pub(super) fn pause(digest: &Digest, failures: u32) -> Duration {
    let spread = match digest {
        Digest::Sha256([first, ..]) | Digest::Sha512([first, ..]) => u64::from(*first),
    };
    let base = 100u64 << failures.saturating_sub(1).min(7);
    Duration::from_millis((base * (256 + spread) / 384).min(10_000))
}
