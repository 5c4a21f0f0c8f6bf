//! Hashes every blob of an archive and compares every byte between them.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::{StreamExt, stream};

use super::{
    Archive, Error, Fault, Layout,
    header::{padding, prelude},
    layout::Blob,
    writer::READ,
};
use crate::{
    event::{Event, Observer, Phase},
    files::{Positional, blocking},
};

/// One damaged entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Its name in the tar.
    pub entry: String,
    /// What is wrong with it.
    pub fault: Fault,
    /// The images that need it, by their first reference, and the charts, as `charts/NAME:VERSION`.
    pub images: Vec<String>,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.entry, self.fault)?;
        if let Some((first, rest)) = self.images.split_first() {
            write!(f, " (needed by {first}")?;
            if !rest.is_empty() {
                write!(f, " and {} more", rest.len())?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

/// Says what was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How many blobs.
    pub blobs: usize,
    /// How many bytes they have.
    pub bytes: u64,
}

impl Archive {
    /// Hashes every blob, `concurrency` at a time, and compares every header and every byte of padding.
    ///
    /// # Errors
    /// [`Error::Damaged`] with every damaged entry, in the order of the file.
    pub async fn verify_all(&self, concurrency: usize, observer: &Arc<dyn Observer>) -> Result<Verified, Error> {
        let layout = &self.layout;
        let bytes = layout.blobs().iter().map(|blob| blob.size).sum();
        observer.on(&Event::Planned { phase: Phase::Verify, items: layout.blobs().len() as u64, bytes });
        let mut order: Vec<usize> = (0..layout.blobs().len()).collect();
        // The largest first, so that the last one to finish is a small one.
        order.sort_by_key(|at| std::cmp::Reverse(layout.blobs()[*at].size));
        let order = Arc::new(order);
        let next = Arc::new(AtomicUsize::new(0));
        let damaged: Arc<Mutex<Vec<(usize, Fault)>>> = Arc::default();
        let concurrency = concurrency.clamp(1, 64);
        stream::iter(0..concurrency)
            .map(|_| {
                let (file, layout, observer) = (self.file.clone(), self.layout.clone(), observer.clone());
                let (order, next, damaged) = (order.clone(), next.clone(), damaged.clone());
                blocking(move || {
                    let mut buffer = vec![0; READ];
                    while let Some(at) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let blob = &layout.blobs()[*at];
                        let fault = verify_blob(&file, &layout, blob, &mut buffer, &*observer).err();
                        observer.on(&Event::Done { phase: Phase::Verify, item: blob.path.clone(), bytes: blob.size });
                        if let Some(fault) = fault {
                            damaged.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((*at, fault));
                        }
                    }
                })
            })
            .buffer_unordered(concurrency)
            .collect::<()>()
            .await;
        let mut damaged = std::mem::take(&mut *damaged.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
        if damaged.is_empty() {
            return Ok(Verified { blobs: layout.blobs().len(), bytes });
        }
        damaged.sort_by_key(|(at, _)| *at);
        let damage = damaged
            .into_iter()
            .map(|(at, fault)| {
                let blob = &layout.blobs()[at];
                Damage { entry: blob.path.clone(), fault, images: self.needed_by(at) }
            })
            .collect();
        Err(Error::Damaged { path: self.path().to_owned(), damage })
    }

    fn needed_by(&self, blob: usize) -> Vec<String> {
        let inventory = self.inventory();
        // Entries start with the two control files.
        let Some(entry) = inventory.entries.get(blob + 2) else { return Vec::new() };
        let charts = entry.charts.iter().filter_map(|at| inventory.charts.get(*at as usize)).map(|chart| chart.place());
        let mut names: Vec<String> = entry
            .images
            .iter()
            .filter_map(|at| inventory.namesake(inventory.images.get(*at as usize)?).references.first())
            .map(ToString::to_string)
            .chain(charts)
            .collect();
        names.sort();
        names.dedup();
        names
    }
}

fn verify_blob(
    file: &Positional,
    layout: &Layout,
    blob: &Blob,
    buffer: &mut [u8],
    observer: &dyn Observer,
) -> Result<(), Fault> {
    let unreadable = |error: crate::files::Error| Fault::Unreadable(error.to_string());
    let header = prelude(&blob.path, blob.size, layout.mtime());
    file.read_exact_at(&mut buffer[..header.len()], blob.header_at()).map_err(unreadable)?;
    let header_is_good = buffer[..header.len()] == header;
    let mut hasher = blob.digest.algorithm().hasher();
    let mut at = blob.offset;
    let mut left = blob.size;
    while left > 0 {
        let n = usize::try_from(left).unwrap_or(buffer.len()).min(buffer.len());
        file.read_exact_at(&mut buffer[..n], at).map_err(unreadable)?;
        hasher.update(&buffer[..n]);
        at += n as u64;
        left -= n as u64;
        observer.on(&Event::Moved { phase: Phase::Verify, bytes: n as u64 });
    }
    let actual = hasher.finish();
    if actual != blob.digest {
        return Err(Fault::Digest { expected: blob.digest, actual });
    }
    if !header_is_good {
        return Err(Fault::Header);
    }
    let pad = padding(blob.size) as usize;
    file.read_exact_at(&mut buffer[..pad], at).map_err(unreadable)?;
    if buffer[..pad].iter().any(|byte| *byte != 0) {
        return Err(Fault::Padding);
    }
    Ok(())
}
