//! Brings one blob from a source to its place in a file: verified, resumed after failures, and over several connections
//! when one cannot carry it fast enough.
//!
//! ```text
//!   blob  ├──── front ────→·········├── part ──→·······├── part ──→······┤
//!          hashed as it arrives      written only; read back and hashed when the front gets there
//! ```
//!
//! One connection starts at the front. While slots are idle, the largest stretch that is still to come is cut in two and
//! its tail given to another connection, so that connections never wait for each other and no part size has to fit all
//! networks.
//!
//! # Invariants
//! - [`download`] returns `Ok` only when every byte was hashed in order and the digest is right.
//! - A mark is never ahead of what was written: a prefix comes with the digest of exactly its bytes, a part with none.
//!
//! # Failure
//! A stream that breaks is reopened at the last good byte, for as long as there is progress; ten failures in a row
//! without any end it. Wrong bytes are fetched once more from the start, then they are [`Error::Corrupt`].

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval_at},
};

use super::{
    Error, Slots, Source,
    segment::{BATCH, MARK_EVERY, Segments, fetch},
};
use crate::{
    error::Side,
    event::{Event, Observer},
    files::{self, Buffer, Positional, blocking},
    oci::{Descriptor, Digest, Hasher},
};

/// What an earlier run left of a blob.
#[derive(Clone, Debug, Default)]
pub struct Resume {
    /// How many bytes from the start were hashed, and the state of the hash after them.
    pub prefix: Option<(u64, Hasher)>,
    /// Ranges behind the prefix that were written; they are hashed on the way like everything else.
    pub parts: Vec<Range<u64>>,
}

/// Something worth remembering for the next run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// So many bytes from the start are in the file, and hash to this.
    Prefix(u64, Digest),
    /// This range is in the file.
    Part(Range<u64>),
    /// Nothing that was marked before is worth anything.
    Nothing,
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
    pub resume: Resume,
    /// The connections that may be used beside the first one.
    pub slots: &'a Slots,
    /// Is told of retries.
    pub observer: &'a dyn Observer,
    /// Is told the number of bytes as they reach the file.
    pub moved: &'a (dyn Fn(u64) + Send + Sync),
    /// Is told what to remember.
    pub mark: &'a (dyn Fn(Mark) + Send + Sync),
}

/// A stretch is cut in two only when both halves are at least this long: below it, a new connection costs more than it
/// brings.
const MIN_PART: u64 = 16 << 20;

/// A stretch that is nearly done is left alone.
const MIN_REMAINING: Duration = Duration::from_millis(250);

/// How often the stretches are looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Below this time to the first byte a connection is not held back by distance: with the few megabytes that may be under
/// way on one connection, it carries hundreds of megabytes a second.
const NEAR: Duration = Duration::from_millis(8);

/// A connection slower than this, in bytes a second, is held back by something even when the source is near: some
/// registries throttle each connection.
const SLOW: u64 = 30 << 20;

/// Fetches one blob into its place and verifies it.
///
/// # Errors
/// [`Error::Corrupt`] or [`Error::Size`] for wrong bytes, [`Error::Place`] with the side that failed otherwise.
pub async fn download<S: Source>(source: &S, mut job: Download<'_>) -> Result<(), Error> {
    let mut refetched = false;
    loop {
        let resume = std::mem::take(&mut job.resume);
        let actual = once(source, &job, resume).await?;
        if actual == job.blob.digest {
            (job.mark)(Mark::Prefix(job.blob.size, actual));
            return Ok(());
        }
        (job.mark)(Mark::Nothing);
        if refetched {
            return Err(Error::Corrupt { side: Side::Source, expected: job.blob.digest, actual });
        }
        refetched = true;
        job.observer.on(&Event::Refetching { digest: job.blob.digest });
    }
}

/// Fetches everything that is not there and returns the digest of the whole.
async fn once<S: Source>(source: &S, job: &Download<'_>, resume: Resume) -> Result<Digest, Error> {
    let size = job.blob.size;
    let fresh = || (0, job.blob.digest.algorithm().hasher());
    let (start, hasher) = resume.prefix.filter(|(bytes, _)| *bytes <= size).unwrap_or_else(fresh);
    let segments = Segments::new(start, size, resume.parts);
    let there = start + segments.written();
    if there > 0 {
        (job.moved)(there);
    }
    let wire = Wire { source, job, progress: Notify::new(), first_byte: AtomicU64::new(u64::MAX) };
    let front = front(&wire, &segments, start, hasher);
    tokio::pin!(front);
    if size - start < 2 * MIN_PART || !source.is_remote() {
        return front.await;
    }
    let bid = job.slots.bid();
    let mut helpers: FuturesUnordered<BoxFuture<'_, Result<(), Error>>> = FuturesUnordered::new();
    let mut look = interval_at(Instant::now() + LOOK, LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            digest = &mut front => return digest,
            Some(helped) = helpers.next() => helped?,
            _ = look.tick() => {
                while source.is_remote()
                    && let Some(remaining) = worth(&wire, &segments)
                    && let Some(slot) = bid.spare(remaining)
                    && let Some(part) = segments.split(MIN_PART)
                {
                    let wire = &wire;
                    helpers.push(Box::pin(async move {
                        let _slot = slot;
                        fetch(wire, &part, None).await.map(drop)
                    }));
                }
            }
        }
    }
}

/// What all connections of one blob share.
pub(super) struct Wire<'a, S> {
    pub source: &'a S,
    pub job: &'a Download<'a>,
    /// Wakes the front when a part has grown.
    pub progress: Notify,
    /// The shortest time to a first byte that was seen, in microseconds.
    pub first_byte: AtomicU64,
}

/// Tells how much another connection would find to do, if it would help.
fn worth<S: Source>(wire: &Wire<'_, S>, segments: &Segments) -> Option<u64> {
    let (remaining, rate) = segments.largest(MIN_PART)?;
    let first_byte = Duration::from_micros(wire.first_byte.load(Ordering::Relaxed));
    let long = u128::from(remaining) * 1000 > u128::from(rate) * MIN_REMAINING.as_millis();
    let held_back = first_byte >= NEAR || rate < SLOW;
    // A source that never answered sooner is far away, however busy the processors are; a single late byte may be theirs.
    let far = wire.source.distance(wire.job.blob).is_some_and(|distance| distance >= NEAR);
    (long && held_back && (far || !wire.job.slots.machine_is_busy())).then_some(remaining)
}

/// Hashes the blob from `at` to its end: fetches what nobody else fetches, and follows behind those who do.
async fn front<S: Source>(
    wire: &Wire<'_, S>,
    segments: &Segments,
    mut at: u64,
    mut hasher: Hasher,
) -> Result<Digest, Error> {
    let mut marked = at;
    while let Some(segment) = segments.starting_at(at) {
        if segment.claim() {
            let fetched = fetch(wire, &segment, Some(hasher)).await?;
            at = segment.end();
            hasher = match fetched {
                Some(hasher) => hasher,
                None => read_back(wire.job, 0..at, wire.job.blob.digest.algorithm().hasher()).await?,
            };
            marked = at;
            continue;
        }
        while at < segment.end() {
            let written = segment.written();
            if written <= at {
                wire.progress.notified().await;
                continue;
            }
            let to = written.min(at + 4 * BATCH as u64);
            hasher = read_back(wire.job, at..to, hasher).await?;
            at = to;
            if at - marked >= MARK_EVERY {
                marked = at;
                (wire.job.mark)(Mark::Prefix(at, hasher.clone().finish()));
            }
        }
    }
    Ok(hasher.finish())
}

/// Hashes a range that another connection wrote.
async fn read_back(job: &Download<'_>, range: Range<u64>, mut hasher: Hasher) -> Result<Hasher, Error> {
    let (file, base) = (job.file.clone(), job.base);
    blocking(move || {
        let mut buffer = Buffer::default();
        let mut at = range.start;
        while at < range.end {
            // After the first one they begin where blocks do.
            let whole = BATCH - usize::try_from((base + at) % BATCH as u64).unwrap_or(0);
            let n = usize::try_from(range.end - at).unwrap_or(whole).min(whole);
            buffer = file.read_once_at(buffer, base + at, n)?;
            hasher.update(buffer.bytes());
            at += n as u64;
        }
        Ok::<_, files::Error>(hasher)
    })
    .await
    .map_err(|cause| Error::place(Side::Target, cause))
}
