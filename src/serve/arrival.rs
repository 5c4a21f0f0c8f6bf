//! The body of a request, frame by frame, with a limit on silence.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures_util::StreamExt;

use super::refusal::Refusal;

/// How much of an unwanted body is read and thrown away, so that a client that is still sending gets to read the answer
/// instead of a reset connection.
const DRAIN: u64 = 16 << 20;

/// How long an unwanted body is read.
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// Gives the bytes that a client sends.
///
/// # Invariants
/// - Silence longer than the limit ends the body with [`Refusal::Interrupted`]; so do fewer bytes than `Content-Length`.
#[derive(Debug)]
pub struct Arrival {
    stream: Option<BodyDataStream>,
    announced: Option<u64>,
    received: u64,
    patience: Duration,
    worth_draining: bool,
}

impl Arrival {
    /// Takes over a body. `waits` tells that the client sends it only after `100 Continue`.
    pub(super) fn new(body: Body, announced: Option<u64>, waits: bool, patience: Duration) -> Self {
        Arrival { stream: Some(body.into_data_stream()), announced, received: 0, patience, worth_draining: !waits }
    }

    /// Returns the announced length.
    pub fn announced(&self) -> Option<u64> {
        self.announced
    }

    /// Returns how many bytes have come.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Returns the next bytes; `None` at the end.
    ///
    /// # Errors
    /// [`Refusal::Interrupted`] when the client went away, stopped sending, or sent less than announced.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        let Some(stream) = &mut self.stream else { return Ok(None) };
        match tokio::time::timeout(self.patience, stream.next()).await {
            Ok(Some(Ok(bytes))) => {
                self.received += bytes.len() as u64;
                self.worth_draining = true;
                Ok(Some(bytes))
            }
            Ok(None) => {
                self.stream = None;
                match self.announced {
                    Some(announced) if announced != self.received => Err(Refusal::Interrupted),
                    _ => Ok(None),
                }
            }
            Ok(Some(Err(_))) | Err(_) => {
                self.stream = None;
                Err(Refusal::Interrupted)
            }
        }
    }

    /// Reads everything into memory, up to `limit` bytes.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`] and what [`Arrival::next`] says.
    pub async fn collect(&mut self, limit: usize) -> Result<Bytes, Refusal> {
        if self.announced.is_some_and(|announced| announced > limit as u64) {
            return Err(Refusal::TooLarge(limit));
        }
        let mut whole = Vec::new();
        while let Some(bytes) = self.next().await? {
            if whole.len() + bytes.len() > limit {
                return Err(Refusal::TooLarge(limit));
            }
            whole.extend_from_slice(&bytes);
        }
        Ok(whole.into())
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let Some(mut stream) = self.stream.take() else { return };
        let more_than_drained =
            self.announced.is_some_and(|announced| announced - self.received.min(announced) > DRAIN);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if !self.worth_draining || more_than_drained || self.announced == Some(self.received) {
            return;
        }
        runtime.spawn(async move {
            let drained = async {
                let mut left = DRAIN;
                while let Some(Ok(bytes)) = stream.next().await {
                    left = left.saturating_sub(bytes.len() as u64);
                    if left == 0 {
                        break;
                    }
                }
            };
            // Whether all of it came makes no difference: the answer is already decided.
            let _ = tokio::time::timeout(DRAIN_TIME, drained).await;
        });
    }
}
