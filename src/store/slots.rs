//! How many transfers run at the same time.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Counts connections, shared by everything that transfers in one command. Each leaf holds one; when no leaf waits for
/// one any more, the transfers that still run may take the idle ones for further ranges of their own blobs.
#[derive(Clone, Debug)]
pub struct Slots {
    free: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    total: usize,
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
        Slots { free: Arc::new(Semaphore::new(total)), waiting: Arc::default(), total }
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
