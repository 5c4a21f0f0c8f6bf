//! How many transfers run at the same time.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Counts connections, shared by everything that transfers in one command. Each leaf holds one; when no leaf waits for
/// one any more, the transfers that still run may take the idle ones for further ranges of their own blobs.
#[derive(Clone, Debug)]
pub struct Slots {
    free: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    bids: Arc<Mutex<HashMap<u64, u64>>>,
    total: usize,
}

/// One transfer's wish for further connections; dropping it withdraws the wish.
#[derive(Debug)]
pub(super) struct Bid {
    slots: Slots,
    id: u64,
}

/// Holds one connection until it is dropped.
#[derive(Debug)]
pub struct Slot {
    _permit: OwnedSemaphorePermit,
}

/// Announces leaves that will need a slot; dropping it withdraws those that never got one.
#[derive(Debug)]
pub(super) struct Queue {
    slots: Slots,
    left: AtomicUsize,
}

impl Slots {
    /// What is used when nobody says otherwise: enough to fill a line with 20 ms of round trip, few enough that
    /// registries do not mind.
    pub const DEFAULT: usize = 16;

    /// Makes `total` slots, at least one.
    pub fn new(total: usize) -> Self {
        let total = total.clamp(1, 1024);
        Slots { free: Arc::new(Semaphore::new(total)), waiting: Arc::default(), bids: Arc::default(), total }
    }

    /// Returns how many slots there are.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Takes an idle slot, unless a leaf waits for one.
    pub fn spare(&self) -> Option<Slot> {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let permit = self.free.clone().try_acquire_owned().ok()?;
        Some(Slot { _permit: permit })
    }

    /// Announces a transfer that could use several connections.
    pub(super) fn bid(&self) -> Bid {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Bid { slots: self.clone(), id: NEXT.fetch_add(1, Ordering::Relaxed) }
    }

    fn bids(&self) -> MutexGuard<'_, HashMap<u64, u64>> {
        self.bids.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(super) fn queue(&self, leaves: usize) -> Queue {
        self.waiting.fetch_add(leaves, Ordering::Relaxed);
        Queue { slots: self.clone(), left: AtomicUsize::new(leaves) }
    }
}

impl Default for Slots {
    fn default() -> Self {
        Slots::new(Self::DEFAULT)
    }
}

impl Bid {
    /// Takes an idle slot for `remaining` bytes, unless a leaf waits for one or another transfer has more than twice as
    /// much before it: what finishes last is what counts.
    pub(super) fn spare(&self, remaining: u64) -> Option<Slot> {
        let mut bids = self.slots.bids();
        bids.insert(self.id, remaining);
        let largest = bids.values().max().copied().unwrap_or_default();
        if remaining < largest / 2 {
            return None;
        }
        drop(bids);
        self.slots.spare()
    }
}

impl Drop for Bid {
    fn drop(&mut self) {
        self.slots.bids().remove(&self.id);
    }
}

impl Queue {
    /// Waits for a slot for the next leaf.
    pub(super) async fn next(&self) -> Slot {
        let permit = match self.slots.free.clone().acquire_owned().await {
            Ok(permit) => permit,
            // Nobody closes the semaphore.
            Err(_) => std::future::pending().await,
        };
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            self.slots.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        Slot { _permit: permit }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.slots.waiting.fetch_sub(*self.left.get_mut(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn spare_slots_wait_behind_leaves() {
        let slots = Slots::new(3);
        let queue = slots.queue(3);
        let first = queue.next().await;
        assert!(slots.spare().is_none());
        let second = queue.next().await;
        let third = queue.next().await;
        assert!(slots.spare().is_none());
        drop(second);
        let spare = slots.spare();
        assert!(spare.is_some() && slots.spare().is_none());
        drop((first, third, spare, queue));
        let withdrawn = slots.queue(5);
        assert!(slots.spare().is_none());
        drop(withdrawn);
        assert!(slots.spare().is_some());
    }
}
