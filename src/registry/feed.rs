//! Feeds an upload from a source and hashes on the way.
//!
//! The feed holds back its last piece until the whole is known to be right. Since the length is announced, a registry that
//! does not get the last piece has nothing to commit.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;

use crate::{
    error::{Classify as _, Side},
    net::{Abort, Trial, UploadStream},
    oci::{Descriptor, Hasher},
    store,
};

/// How many pieces wait between source and network: enough that both can work at the same time.
const DEPTH: usize = 4;

/// Reads one blob, possibly in several runs, and remembers what was read.
pub(super) struct Feed<'a, S> {
    source: &'a S,
    blob: &'a Descriptor,
    moved: &'a (dyn Fn(u64) + Send + Sync),
    /// The hash of the first `hashed` bytes.
    hasher: Hasher,
    hashed: u64,
    /// How many bytes were reported as moved; a second attempt does not report them again.
    reported: u64,
    /// Why the feed ended before its time.
    pub(super) fault: Option<store::Error>,
    trial: Trial,
}

/// Makes the two ends of a feed.
pub(super) fn channel() -> (mpsc::Sender<Result<Bytes, Abort>>, UploadStream) {
    let (sender, receiver) = mpsc::channel(DEPTH);
    let body = stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    (sender, body.boxed())
}

impl<'a, S: store::Source> Feed<'a, S> {
    pub(super) fn new(
        source: &'a S,
        blob: &'a Descriptor,
        moved: &'a (dyn Fn(u64) + Send + Sync),
        trial: Trial,
    ) -> Self {
        let hasher = blob.digest.algorithm().hasher();
        Feed { source, blob, moved, hasher, hashed: 0, reported: 0, fault: None, trial }
    }

    /// Starts from the beginning, with a new hash.
    pub(super) fn restart(&mut self) {
        self.hasher = self.blob.digest.algorithm().hasher();
        self.hashed = 0;
        self.fault = None;
    }

    /// Reports everything that was not reported yet, when the blob came by another way.
    pub(super) fn report_all(&mut self) {
        self.report(self.blob.size);
    }

    fn report(&mut self, at: u64) {
        if at > self.reported {
            (self.moved)(at - self.reported);
            self.reported = at;
        }
    }

    /// Sends the bytes from `from` to `to`; returns whether all of them went out.
    pub(super) async fn run(&mut self, from: u64, to: u64, sender: mpsc::Sender<Result<Bytes, Abort>>) -> bool {
        match self.pump(from, to, &sender).await {
            Ok(complete) => complete,
            Err(fault) => {
                self.fault = Some(fault);
                // Ends the body with an error, so that the request is broken off and not completed.
                let _ = sender.send(Err(Abort)).await;
                false
            }
        }
    }

    async fn pump(
        &mut self,
        from: u64,
        to: u64,
        sender: &mpsc::Sender<Result<Bytes, Abort>>,
    ) -> Result<bool, store::Error> {
        let mut at = from;
        let mut held: Option<Bytes> = None;
        while at < to {
            let mut reader = self.source.open(self.blob, at, to).await?;
            let failure = loop {
                match reader.next().await {
                    None => break None,
                    Some(Err(error)) => break Some(error),
                    Some(Ok(bytes)) => {
                        if bytes.is_empty() {
                            continue;
                        }
                        let end = at + bytes.len() as u64;
                        if end > to {
                            return Err(self.size(end));
                        }
                        self.hash(at, &bytes);
                        at = end;
                        if let Some(piece) = held.replace(bytes)
                            && sender.send(Ok(piece)).await.is_err()
                        {
                            return Ok(false);
                        }
                        self.report(at);
                    }
                }
            };
            match failure {
                None if at < to => return Err(self.size(at)),
                None => {}
                Some(error) if !error.kind().is_transient() => return Err(error),
                Some(error) => {
                    let again = self.trial.again(&error.to_string(), None).await;
                    if !again {
                        return Err(error);
                    }
                }
            }
        }
        if to == self.blob.size && self.hashed == to {
            let actual = self.hasher.clone().finish();
            if actual != self.blob.digest {
                return Err(store::Error::Corrupt { side: Side::Source, expected: self.blob.digest, actual });
            }
        }
        match held {
            Some(piece) => Ok(sender.send(Ok(piece)).await.is_ok()),
            None => Ok(true),
        }
    }

    /// Hashes what was not hashed before; bytes that are sent a second time were.
    fn hash(&mut self, at: u64, bytes: &[u8]) {
        let known = self.hashed.saturating_sub(at).min(bytes.len() as u64);
        let fresh = &bytes[known as usize..];
        if at + known == self.hashed {
            self.hasher.update(fresh);
            self.hashed += fresh.len() as u64;
        }
    }

    fn size(&self, actual: u64) -> store::Error {
        store::Error::Size { side: Side::Source, digest: self.blob.digest, expected: self.blob.size, actual }
    }
}
