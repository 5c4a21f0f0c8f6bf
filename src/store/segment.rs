//! One connection's stretch of a blob.
//!
//! ```text
//!   source ─ chunks ─→ buffer ─→ hash + write on a blocking thread      (one buffer fills while the other is written)
//! ```
//!
//! All connections of one blob run in one task; the counters are atomic only because that task may move between threads.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{FutureExt, StreamExt, future::BoxFuture};

use super::{
    Error, Source,
    download::{Mark, Wire},
};
use crate::{
    error::{Classify, Side},
    event::Event,
    files::{self, Buffer, blocking},
    oci::{Digest, Hasher},
};

/// How many failures in a row, without one byte of progress, end a transfer. With the pauses between them this is about
/// half a minute, on top of the source's own retries of each request.
pub(super) const MAX_FAILURES: u32 = 10;

/// How many bytes are hashed and written at once: large enough that the switch to a blocking thread costs nothing, small
/// enough that two for each connection fit into the memory that is promised (2 MiB for each).
pub(super) const BATCH: usize = 1 << 20;

/// How many bytes are written before the system is asked to bring them to the disk: long enough for the file system to
/// allocate in large extents, short enough that little is left for the sync at the end.
const WRITEBACK_EVERY: u64 = 16 << 20;

/// How many new bytes are worth a mark: at most this much of a connection's work is done again after a kill.
pub(super) const MARK_EVERY: u64 = 4 << 20;

/// A stream that broke after fewer bytes is no reason to hurry with the next one.
const WORTH_HURRYING: u64 = 64 << 10;

/// How many streams in a row may end early and empty before the blob is called shorter than it should be.
const MAX_EMPTY: u32 = 3;

/// A stretch that one connection fetches. Its end moves towards its start when another one takes over the tail.
#[derive(Debug)]
pub(super) struct Segment {
    start: u64,
    end: AtomicU64,
    /// Everything before this has arrived.
    received: AtomicU64,
    /// Everything before this is in the file.
    written: AtomicU64,
    /// Somebody fetches it, or has.
    claimed: AtomicBool,
    since: Mutex<Option<Instant>>,
}

impl Segment {
    fn new(range: Range<u64>, there: bool) -> Self {
        let got = if there { range.end } else { range.start };
        Segment {
            start: range.start,
            end: AtomicU64::new(range.end),
            received: AtomicU64::new(got),
            written: AtomicU64::new(got),
            claimed: AtomicBool::new(there),
            since: Mutex::new(None),
        }
    }

    pub(super) fn end(&self) -> u64 {
        self.end.load(Ordering::Relaxed)
    }

    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Takes the segment; false when somebody else has.
    pub(super) fn claim(&self) -> bool {
        !self.claimed.swap(true, Ordering::Relaxed)
    }

    fn remaining(&self) -> u64 {
        self.end().saturating_sub(self.received.load(Ordering::Relaxed))
    }

    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.since.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Returns the bytes a second since its first byte.
    fn rate(&self) -> Option<u64> {
        let elapsed = self.since().as_ref()?.elapsed().as_micros().max(1);
        let bytes = u128::from(self.received.load(Ordering::Relaxed).saturating_sub(self.start));
        u64::try_from(bytes * 1_000_000 / elapsed).ok()
    }
}

/// The stretches of one blob, in order and without gaps.
#[derive(Debug)]
pub(super) struct Segments(Mutex<Vec<Arc<Segment>>>);

impl Segments {
    /// Cuts `start..size` at the parts that are there already.
    pub(super) fn new(start: u64, size: u64, mut parts: Vec<Range<u64>>) -> Self {
        parts.sort_by_key(|part| part.start);
        let mut list = Vec::new();
        let mut at = start;
        for part in parts {
            let (from, to) = (part.start.max(at), part.end.min(size));
            if from < to {
                if at < from {
                    list.push(Arc::new(Segment::new(at..from, false)));
                }
                list.push(Arc::new(Segment::new(from..to, true)));
                at = to;
            }
        }
        if at < size {
            list.push(Arc::new(Segment::new(at..size, false)));
        }
        Segments(Mutex::new(list))
    }

    fn list(&self) -> MutexGuard<'_, Vec<Arc<Segment>>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Returns how many bytes of all stretches are in the file.
    pub(super) fn written(&self) -> u64 {
        self.list().iter().map(|segment| segment.written() - segment.start).sum()
    }

    pub(super) fn starting_at(&self, at: u64) -> Option<Arc<Segment>> {
        self.list().iter().find(|segment| segment.start == at).cloned()
    }

    /// Returns how much the next split would share, and the rate of the connection that has it now.
    pub(super) fn largest(&self, min_part: u64) -> Option<(u64, u64)> {
        let list = self.list();
        let rates: Vec<u64> = list.iter().filter_map(|segment| segment.rate()).collect();
        let (at, remaining) = largest(&list, min_part)?;
        // A stretch that nobody fetches yet goes at the pace of the others.
        let rate = list[at].rate().or(rates.iter().max().copied())?;
        Some((remaining, rate))
    }

    /// Gives away a stretch that nobody fetches yet, or else the second half of the largest one.
    pub(super) fn split(&self, min_part: u64) -> Option<Arc<Segment>> {
        let mut list = self.list();
        let (at, remaining) = largest(&list, min_part)?;
        let segment = list[at].clone();
        if segment.claim() {
            return Some(segment);
        }
        let end = segment.end();
        // On a boundary of the file's own blocks, so that neighbours do not write into one page.
        let middle = (end - remaining / 2) & !4095;
        if middle <= segment.received.load(Ordering::Relaxed) {
            return None;
        }
        segment.end.store(middle, Ordering::Relaxed);
        let tail = Arc::new(Segment::new(middle..end, false));
        tail.claim();
        list.insert(at + 1, tail.clone());
        Some(tail)
    }
}

/// Finds the stretch with the most left that may be given away: whole if nobody has it, else in two halves.
fn largest(list: &[Arc<Segment>], min_part: u64) -> Option<(usize, u64)> {
    list.iter()
        .enumerate()
        .map(|(at, segment)| (at, segment.remaining(), segment.claimed.load(Ordering::Relaxed)))
        .filter(|(_, remaining, claimed)| *remaining > 0 && (!claimed || *remaining >= 2 * min_part))
        .max_by_key(|(_, remaining, claimed)| (!claimed, *remaining))
        .map(|(at, remaining, _)| (at, remaining))
}

/// Fetches one segment, for as long as there is progress. With a hasher it is the front: what arrives is hashed before
/// it is written.
pub(super) async fn fetch<S: Source>(
    wire: &Wire<'_, S>,
    segment: &Segment,
    hasher: Option<Hasher>,
) -> Result<Option<Hasher>, Error> {
    let (source, job) = (wire.source, wire.job);
    let mut batch = Batch::new(wire, segment, hasher);
    let mut failures = 0;
    let mut empty = 0;
    while batch.at < segment.end() {
        let before = batch.at;
        let Err(broken) = stream(&mut batch).await else { continue };
        if batch.at > before {
            (failures, empty) = (0, 0);
        }
        failures += 1;
        let error = match broken {
            Broken::Error(error) => {
                if !error.kind().is_transient() || error.side() == Some(Side::Target) || !source.is_remote() {
                    return Err(error);
                }
                error
            }
            // A stream that ends early is a connection that was cut, until it has happened too often without progress.
            Broken::Short => {
                empty += 1;
                let (expected, actual) = (job.blob.size, batch.at);
                let error = Error::Size { side: Side::Source, digest: job.blob.digest, expected, actual };
                if empty >= MAX_EMPTY || !source.is_remote() {
                    return Err(error);
                }
                error
            }
        };
        if failures >= MAX_FAILURES {
            return Err(error);
        }
        let hurry = batch.at - before >= WORTH_HURRYING;
        let wait = if hurry { Duration::ZERO } else { pause(&job.blob.digest, failures) };
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
async fn stream<S: Source>(batch: &mut Batch<'_, S>) -> Result<(), Broken> {
    let blob = batch.wire.job.blob;
    let to = batch.segment.end();
    let asked = Instant::now();
    let mut reader = batch.wire.source.open(blob, batch.at, to).await.map_err(Broken::Error)?;
    let waited = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
    batch.wire.first_byte.fetch_min(waited, Ordering::Relaxed);
    batch.segment.since().get_or_insert_with(Instant::now);
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
type Flushed = Result<(Option<Hasher>, Buffer, u64), files::Error>;

/// Collects chunks into large writes: while one buffer is hashed and written, the other one fills. The copy costs less
/// than keeping the chunks would: the source then needs new memory for each, and the kernel clears it every time.
struct Batch<'a, S> {
    wire: &'a Wire<'a, S>,
    segment: &'a Segment,
    /// Whether this is the front of the blob.
    front: bool,
    /// The state of the front's hash; `None` while a flush has it.
    hasher: Option<Hasher>,
    /// How much is hashed and written at once.
    size: usize,
    /// Everything before this offset of the blob was taken from the stream.
    at: u64,
    buffer: Buffer,
    spare: Option<Buffer>,
    flushing: Option<BoxFuture<'static, Flushed>>,
    marked: u64,
    /// Everything before this was given to the disk.
    given: u64,
    giving: Option<BoxFuture<'static, ()>>,
}

impl<'a, S> Batch<'a, S> {
    fn new(wire: &'a Wire<'a, S>, segment: &'a Segment, hasher: Option<Hasher>) -> Self {
        Batch {
            wire,
            segment,
            front: hasher.is_some(),
            hasher,
            // Small blobs get small buffers.
            size: usize::try_from(segment.end() - segment.start).unwrap_or(BATCH).clamp(1, BATCH),
            at: segment.start,
            buffer: Buffer::default(),
            spare: None,
            flushing: None,
            marked: segment.start,
            given: segment.start,
            giving: None,
        }
    }

    async fn push(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            if self.buffer.is_empty() {
                let buffer = self.spare.take().unwrap_or_else(|| std::mem::take(&mut self.buffer));
                self.buffer = buffer.begin(self.wire.job.base + self.at, self.size);
            }
            let taken = self.buffer.push(bytes);
            self.at += taken as u64;
            self.segment.received.store(self.at, Ordering::Relaxed);
            bytes = &bytes[taken..];
            if self.buffer.is_full() {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Hands the buffer to a blocking thread, after the one before has come back.
    async fn flush(&mut self) -> Result<(), Error> {
        self.settle().await?;
        let buffer = std::mem::take(&mut self.buffer);
        let mut hasher = self.hasher.take();
        let file = self.wire.job.file.clone();
        let written = buffer.bytes().len() as u64;
        let at = self.wire.job.base + self.at - written;
        self.flushing = Some(Box::pin(blocking(move || {
            if let Some(hasher) = &mut hasher {
                hasher.update(buffer.bytes());
            }
            file.write_once_at(buffer.bytes(), at)?;
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
        self.wire.progress.notify_one();
        (self.wire.job.moved)(written);
        if total - self.marked >= MARK_EVERY {
            self.mark(total);
        }
        if total - self.given >= WRITEBACK_EVERY {
            self.give(total);
        }
        Ok(())
    }

    /// Has the disk begin to write what is in the file, unless it still does from the last time: a slow disk must not
    /// hold up what the memory can take.
    fn give(&mut self, total: u64) {
        if let Some(giving) = &mut self.giving
            && giving.now_or_never().is_none()
        {
            return;
        }
        let file = self.wire.job.file.clone();
        let (at, bytes) = (self.wire.job.base + self.given, total - self.given);
        self.given = total;
        self.giving = Some(Box::pin(blocking(move || file.start_writeback(at, bytes))));
    }

    fn mark(&mut self, total: u64) {
        let mark = match &self.hasher {
            Some(hasher) => Mark::Prefix(total, hasher.clone().finish()),
            None => Mark::Part(self.segment.start..total),
        };
        self.marked = total;
        (self.wire.job.mark)(mark);
    }

    async fn finish(mut self) -> Result<Option<Hasher>, Error> {
        if !self.buffer.is_empty() {
            self.flush().await?;
        }
        self.settle().await?;
        if self.given < self.at && self.segment.end() - self.segment.start >= MARK_EVERY {
            self.give(self.at);
        }
        if !self.front && self.marked < self.at {
            self.mark(self.at);
        }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIN: u64 = 16 << 20;

    #[test]
    fn what_nobody_fetches_is_given_away_before_anything_is_cut() {
        let segments = Segments::new(5, 100 << 20, vec![30 << 20..40 << 20, 60 << 20..61 << 20]);
        assert_eq!(segments.written(), 11 << 20);
        let front = segments.starting_at(5).unwrap();
        assert!(front.claim() && !front.claim());
        assert!(!segments.starting_at(30 << 20).unwrap().claim(), "it is there already");
        assert_eq!(segments.split(MIN).unwrap().start, 61 << 20);
        assert_eq!(segments.split(MIN).unwrap().start, 40 << 20);
        // Now the largest one is cut, and the halves are too short to be cut again.
        let tail = segments.split(MIN).unwrap();
        assert_eq!((tail.start, tail.end()), ((80 << 20) + (1 << 19), 100 << 20));
        assert!(segments.split(MIN).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn stretches_never_overlap_and_leave_no_gap(
            start in 0u64..1000,
            size in 1000u64..1 << 34,
            parts in proptest::collection::vec((0u64..1 << 34, 0u64..1 << 30), 0..6),
            steps in proptest::collection::vec((any::<u16>(), any::<bool>()), 0..60),
        ) {
            let parts = parts.into_iter().map(|(from, length)| from..from + length).collect();
            let segments = Segments::new(start, size, parts);
            for (amount, cut) in steps {
                if cut {
                    if let Some(part) = segments.split(MIN) {
                        prop_assert!(part.remaining() > 0);
                    }
                } else {
                    // Some bytes arrive somewhere.
                    let list = segments.list();
                    let segment = &list[usize::from(amount) % list.len()];
                    segment.claim();
                    let grown = segment.received.load(Ordering::Relaxed) + u64::from(amount) * 1000;
                    segment.received.store(grown.min(segment.end()), Ordering::Relaxed);
                }
            }
            let mut at = start;
            while let Some(segment) = segments.starting_at(at) {
                prop_assert!(segment.received.load(Ordering::Relaxed) <= segment.end() && segment.end() > at);
                at = segment.end();
            }
            prop_assert_eq!(at, size);
        }
    }
}
