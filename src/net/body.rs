//! Bodies in both directions, with a clock: a body that stands still is an error, never a hang.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{
    Stream, StreamExt,
    stream::{BoxStream, unfold},
};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Duration, Instant, timeout},
};

use super::{error::Error, settings::Timeouts, tls::Built};

/// Bodies of answers, as they arrive.
pub type BodyStream = BoxStream<'static, Result<Bytes, Error>>;

/// Says that the body of an upload ended before its time; the caller that made the body knows why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("upload aborted by its source")]
pub struct Abort;

/// What an upload sends.
pub type UploadStream = BoxStream<'static, Result<Bytes, Abort>>;

struct Reading {
    response: reqwest::Response,
    built: Built,
    host: String,
    timeouts: Timeouts,
    waited: Duration,
    bytes: u64,
    /// Held until the body is read or dropped: a running download counts as one of the host's requests.
    _turn: Option<OwnedSemaphorePermit>,
}

/// Turns an answer into its body, bounded in silence and slowness.
pub(super) fn read(
    response: reqwest::Response,
    built: Built,
    host: String,
    timeouts: Timeouts,
    turn: Option<OwnedSemaphorePermit>,
) -> BodyStream {
    let reading = Reading { response, built, host, timeouts, waited: Duration::ZERO, bytes: 0, _turn: turn };
    unfold(Some(reading), |reading| async move {
        let mut reading = reading?;
        match reading.next().await {
            Ok(None) => None,
            Ok(Some(bytes)) => Some((Ok(bytes), Some(reading))),
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let began = Instant::now();
        let chunk = match timeout(self.timeouts.idle, self.response.chunk()).await {
            Err(_) => return Err(Error::Stalled { host: self.host.clone(), after: self.timeouts.idle }),
            Ok(Err(error)) => return Err(self.built.explain(self.host.clone(), error)),
            Ok(Ok(None)) => return Ok(None),
            Ok(Ok(Some(chunk))) => chunk,
        };
        self.waited += began.elapsed();
        self.bytes += chunk.len() as u64;
        if self.waited >= self.timeouts.slow_window {
            let (bytes, over) = (self.bytes, self.waited);
            if (bytes as f64) < self.timeouts.slow_floor as f64 * over.as_secs_f64() {
                return Err(Error::Slow { host: self.host.clone(), bytes, over });
            }
            self.waited = Duration::ZERO;
            self.bytes = 0;
        }
        Ok(Some(chunk))
    }
}

/// Knows who has the word in an exchange, and since when.
#[derive(Debug)]
pub(super) struct Progress {
    since: Mutex<Instant>,
    phase: AtomicU8,
}

/// The server or the network has to take what was sent.
const SENDING: u8 = 0;
/// Our own source has to give the next bytes; it has its own clock.
const FEEDING: u8 = 1;
/// Everything is sent; the server has to answer.
const SENT: u8 = 2;

impl Progress {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Progress { since: Mutex::new(Instant::now()), phase: AtomicU8::new(SENDING) })
    }

    fn enter(&self, phase: u8) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.phase.store(phase, Ordering::Relaxed);
    }

    /// Marks that sending begins.
    pub(super) fn begin(&self) {
        self.enter(SENDING);
    }

    /// Marks that there is nothing to send, or nothing more.
    pub(super) fn sent(&self) {
        self.enter(SENT);
    }

    /// Returns when patience ends: with `sending` for each piece, with `answer` for the answer.
    pub(super) fn deadline(&self, sending: Duration, answer: Duration) -> (Instant, Duration) {
        let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
        match self.phase.load(Ordering::Relaxed) {
            SENDING => (since + sending, sending),
            FEEDING => (Instant::now() + sending, sending),
            _ => (since + answer, answer),
        }
    }
}

/// The size of the pieces that an upload is cut into: with the default idle time the least accepted speed of an upload
/// is 4 KiB/s.
const PIECE: usize = 128 << 10;

/// Wraps the body of an upload so that [`Progress`] sees each piece go.
pub(super) struct Watched {
    inner: UploadStream,
    rest: Bytes,
    left: u64,
    progress: Arc<Progress>,
}

impl Watched {
    pub(super) fn new(inner: UploadStream, length: u64, progress: Arc<Progress>) -> Self {
        if length == 0 {
            progress.sent();
        }
        Watched { inner, rest: Bytes::new(), left: length, progress }
    }
}

impl Stream for Watched {
    type Item = Result<Bytes, Abort>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while self.rest.is_empty() {
            match self.inner.as_mut().poll_next(cx) {
                Poll::Pending => {
                    if self.left > 0 {
                        self.progress.enter(FEEDING);
                    }
                    return Poll::Pending;
                }
                Poll::Ready(Some(Ok(bytes))) => self.rest = bytes,
                Poll::Ready(other) => {
                    self.progress.sent();
                    return Poll::Ready(other);
                }
            }
        }
        let cut = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(cut);
        self.left = self.left.saturating_sub(piece.len() as u64);
        self.progress.enter(if self.left == 0 { SENT } else { SENDING });
        Poll::Ready(Some(Ok(piece)))
    }
}
