//! One queue per host: how many requests run at once, and when all of them have to pause.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use reqwest::Url;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Duration, Instant, sleep_until},
};

use super::origin;

/// Tells uploads from everything else. They queue apart, because the body of an upload may itself come from a download
/// of the same host: in one queue the two could wait for each other for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    Answers,
    Uploads,
}

/// Orders the requests to one host.
#[derive(Debug)]
pub(super) struct HostQueue {
    answers: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
    paused_until: Mutex<Option<Instant>>,
    reached: AtomicBool,
}

/// Holds the queues of all hosts.
#[derive(Debug)]
pub(super) struct Queues {
    width: usize,
    hosts: Mutex<HashMap<String, Arc<HostQueue>>>,
}

impl Queues {
    pub(super) fn new(width: usize) -> Self {
        Queues { width: width.max(1), hosts: Mutex::new(HashMap::new()) }
    }

    pub(super) fn of(&self, url: &Url) -> Arc<HostQueue> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let key = format!("{}://{}", url.scheme(), origin::authority(url));
        hosts
            .entry(key)
            .or_insert_with(|| {
                Arc::new(HostQueue {
                    answers: Arc::new(Semaphore::new(self.width)),
                    uploads: Arc::new(Semaphore::new(self.width)),
                    paused_until: Mutex::new(None),
                    reached: AtomicBool::new(false),
                })
            })
            .clone()
    }
}

impl HostQueue {
    /// Waits for a turn and for the end of a pause.
    pub(super) async fn turn(&self, lane: Lane) -> Option<OwnedSemaphorePermit> {
        let lane = match lane {
            Lane::Answers => &self.answers,
            Lane::Uploads => &self.uploads,
        };
        // Nobody closes these semaphores; if one were closed, order would be lost but nothing else.
        let permit = lane.clone().acquire_owned().await.ok();
        loop {
            let until = *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
            match until {
                Some(until) if until > Instant::now() => sleep_until(until).await,
                _ => return permit,
            }
        }
    }

    /// Lets nobody send for a while; the longer of two pauses counts.
    pub(super) fn pause(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut paused = self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
        *paused = Some(paused.map_or(until, |before| before.max(until)));
    }

    pub(super) fn set_reached(&self) {
        self.reached.store(true, Ordering::Relaxed);
    }

    pub(super) fn was_reached(&self) -> bool {
        self.reached.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_of_answers_does_not_hold_uploads_back() {
        let queues = Queues::new(1);
        let queue = queues.of(&"https://r.example/a".parse().unwrap());
        let first = queue.turn(Lane::Answers).await;
        let upload = tokio::time::timeout(Duration::from_secs(5), queue.turn(Lane::Uploads)).await;
        assert!(upload.is_ok());
        let second = tokio::time::timeout(Duration::from_millis(20), queue.turn(Lane::Answers)).await;
        assert!(second.is_err());
        drop(first);
        assert!(queue.turn(Lane::Answers).await.is_some());
        // The same origin has the same queue, another port has its own.
        assert!(Arc::ptr_eq(&queue, &queues.of(&"https://r.example/b?c".parse().unwrap())));
        assert!(!Arc::ptr_eq(&queue, &queues.of(&"https://r.example:1/".parse().unwrap())));
    }

    #[tokio::test]
    async fn a_pause_holds_everybody_back() {
        let queue = Queues::new(4).of(&"http://r.example/".parse().unwrap());
        queue.pause(Duration::from_millis(80));
        queue.pause(Duration::from_millis(10));
        let before = Instant::now();
        queue.turn(Lane::Uploads).await;
        assert!(before.elapsed() >= Duration::from_millis(75));
    }
}
