//! Moves leaves from a source to a sink.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Error, Sink, Slots, Source};
use crate::{
    event::{Event, Observer, Phase},
    oci::{Descriptor, Digest, ManifestError},
};

/// Counts what a copy did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Blobs that were moved.
    pub moved: u64,
    /// Their bytes.
    pub moved_bytes: u64,
    /// Blobs that were there already.
    pub kept: u64,
    /// Their bytes.
    pub kept_bytes: u64,
}

/// Sorts descriptors by falling size and keeps each digest once.
///
/// # Errors
/// [`Error::Manifest`] when a digest comes with two sizes.
pub fn largest_first(leaves: &[Descriptor]) -> Result<Vec<&Descriptor>, Error> {
    let mut sizes: HashMap<Digest, u64> = HashMap::with_capacity(leaves.len());
    let mut unique = Vec::with_capacity(leaves.len());
    for leaf in leaves {
        match sizes.insert(leaf.digest, leaf.size) {
            None => unique.push(leaf),
            Some(size) if size == leaf.size => {}
            Some(_) => {
                return Err(Error::Manifest { digest: leaf.digest, cause: ManifestError::TwoSizes(leaf.digest) });
            }
        }
    }
    // The digest breaks ties, so that the order is the same on every run.
    unique.sort_by(|a, b| b.size.cmp(&a.size).then(a.digest.cmp(&b.digest)));
    Ok(unique)
}

/// Moves every leaf that the sink does not have, each once, the largest first, as many at a time as there are slots.
/// The first failure stops the others; what was complete by then stays in the sink, so the same call continues there.
///
/// # Errors
/// The first failure of the source or the sink.
pub async fn copy<S: Source, K: Sink>(
    source: &S,
    sink: &K,
    leaves: &[Descriptor],
    slots: &Slots,
    observer: &dyn Observer,
    phase: Phase,
) -> Result<Copied, Error> {
    let leaves = largest_first(leaves)?;
    observer.on(&Event::Planned {
        phase,
        items: leaves.len() as u64,
        bytes: leaves.iter().fold(0, |sum, leaf| leaf.size.saturating_add(sum)),
    });
    let queue = slots.queue(leaves.len());
    let one = async |leaf: &Descriptor| {
        let _slot = queue.next().await;
        if sink.has(leaf).await? {
            observer.on(&Event::Kept { phase, bytes: leaf.size });
            observer.on(&Event::Done { phase, item: leaf.digest.to_string(), bytes: leaf.size });
            return Ok::<_, Error>(Copied { kept: 1, kept_bytes: leaf.size, ..Copied::default() });
        }
        let told = AtomicU64::new(0);
        let moved = |bytes: u64| {
            // Bytes that a retry moves again count once.
            let before = told.fetch_add(bytes, Ordering::Relaxed);
            let fresh = bytes.min(leaf.size.saturating_sub(before));
            if fresh > 0 {
                observer.on(&Event::Moved { phase, bytes: fresh });
            }
        };
        sink.put(leaf, source, &moved).await?;
        let untold = leaf.size.saturating_sub(told.load(Ordering::Relaxed));
        if untold > 0 {
            observer.on(&Event::Moved { phase, bytes: untold });
        }
        observer.on(&Event::Done { phase, item: leaf.digest.to_string(), bytes: leaf.size });
        Ok(Copied { moved: 1, moved_bytes: leaf.size, ..Copied::default() })
    };
    stream::iter(leaves)
        .map(one)
        .buffer_unordered(slots.total())
        .try_fold(Copied::default(), async |sum, one| {
            Ok(Copied {
                moved: sum.moved + one.moved,
                moved_bytes: sum.moved_bytes + one.moved_bytes,
                kept: sum.kept + one.kept,
                kept_bytes: sum.kept_bytes + one.kept_bytes,
            })
        })
        .await
}
