//! A read-only registry over any source: an archive, a layout, memory.
//!
//! # Invariants
//! - Bytes that were never verified are not served as if they were: the first full read of a blob hashes it on the way
//!   and gives the last piece away only when the digest is right; a range of a blob that nobody has read yet waits until
//!   the blob was hashed once. Later reads cost nothing more.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::{
    error::Side,
    oci::{Descriptor, Digest, Hasher, Host, Repository},
    store::{self, Reader, Source},
};

use super::{
    backend::{Backend, Stored},
    catalogue::{Catalogue, Shelf, read_manifest},
    refusal::Refusal,
    route::Which,
};

/// Serves what a catalogue shows from a source.
#[derive(Debug)]
pub struct ReadOnly<S> {
    source: Arc<S>,
    catalogue: Catalogue,
    verified: Arc<Verified>,
}

/// Remembers what was verified, and who is at it.
#[derive(Debug, Default)]
struct Verified {
    done: Mutex<HashSet<Digest>>,
    running: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
}

impl Verified {
    fn has(&self, digest: Digest) -> bool {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).contains(&digest)
    }

    fn add(&self, digest: Digest) {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).insert(digest);
    }

    fn turn(&self, digest: Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(running.entry(digest).or_default())
    }

    fn end(&self, digest: Digest) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest);
    }
}

impl<S: Source + 'static> ReadOnly<S> {
    /// Serves `catalogue` from `source`.
    pub fn new(source: S, catalogue: Catalogue) -> Self {
        ReadOnly { source: Arc::new(source), catalogue, verified: Arc::default() }
    }

    fn shelf(&self, name: &Repository) -> Result<&Shelf, Refusal> {
        self.catalogue.shelf(name).ok_or_else(|| Refusal::NameUnknown(name.to_string()))
    }

    fn blob(&self, name: &Repository, digest: Digest) -> Result<&Descriptor, Refusal> {
        self.shelf(name)?.blobs.get(&digest).ok_or(Refusal::BlobUnknown(digest))
    }

    /// Verifies a blob that nobody has read yet. One task at a time reads it, and it goes on when the client that
    /// wanted it loses patience, so that the next one finds the work done.
    async fn verify(&self, blob: &Descriptor) -> Result<(), Refusal> {
        let (source, verified, blob) = (Arc::clone(&self.source), Arc::clone(&self.verified), blob.clone());
        let turn = verified.turn(blob.digest);
        let task = tokio::spawn(async move {
            let _turn = turn.lock().await;
            let outcome = async {
                if !verified.has(blob.digest) {
                    let reader = source.open(&blob, 0, blob.size).await?;
                    let mut whole = verifying(&blob, reader, Arc::clone(&verified));
                    while whole.try_next().await?.is_some() {}
                }
                Ok(())
            };
            let outcome: Result<(), store::Error> = outcome.await;
            verified.end(blob.digest);
            outcome
        });
        Ok(task.await.map_err(|_| Refusal::Stopped)??)
    }
}

/// Hashes what is read and gives the last piece away only when the digest is right.
fn verifying(blob: &Descriptor, reader: Reader, verified: Arc<Verified>) -> Reader {
    let expected = blob.clone();
    let check = Check { hasher: expected.digest.algorithm().hasher(), passed: 0, held: None };
    stream::try_unfold((reader, Some(check)), move |(mut reader, check)| {
        let (expected, verified) = (expected.clone(), Arc::clone(&verified));
        async move {
            let Some(mut check) = check else { return Ok(None) };
            loop {
                match reader.try_next().await? {
                    Some(piece) => {
                        check.passed += piece.len() as u64;
                        check.hasher.update(&piece);
                        if let Some(earlier) = check.held.replace(piece) {
                            return Ok(Some((earlier, (reader, Some(check)))));
                        }
                    }
                    None => {
                        let last = check.verdict(&expected)?;
                        verified.add(expected.digest);
                        return Ok(last.map(|last| (last, (reader, None))));
                    }
                }
            }
        }
    })
    .boxed()
}

/// Hashes what passes and keeps the latest piece back.
struct Check {
    hasher: Hasher,
    passed: u64,
    held: Option<Bytes>,
}

impl Check {
    fn verdict(self, expected: &Descriptor) -> Result<Option<Bytes>, store::Error> {
        let digest = expected.digest;
        if self.passed != expected.size {
            let (expected, actual) = (expected.size, self.passed);
            return Err(store::Error::Size { side: Side::Source, digest, expected, actual });
        }
        let actual = self.hasher.finish();
        if actual != digest {
            return Err(store::Error::Corrupt { side: Side::Source, expected: digest, actual });
        }
        Ok(self.held)
    }
}

impl<S: Source + 'static> Backend for ReadOnly<S> {
    fn locate(&self, name: Repository, origin: Option<&Host>) -> Repository {
        self.catalogue.locate(name, origin)
    }

    async fn repositories(&self) -> Result<Vec<String>, Refusal> {
        Ok(self.catalogue.names().map(str::to_owned).collect())
    }

    async fn tags(&self, name: &Repository) -> Result<Vec<String>, Refusal> {
        Ok(self.shelf(name)?.tags.keys().cloned().collect())
    }

    async fn manifest(&self, name: &Repository, which: &Which) -> Result<Stored, Refusal> {
        let shelf = self.shelf(name)?;
        let digest = match which {
            Which::Digest(digest) => Some(digest),
            Which::Tag(tag) => shelf.tags.get(tag.as_str()),
        };
        let descriptor = digest.and_then(|digest| shelf.manifests.get(digest));
        let descriptor = descriptor.ok_or_else(|| Refusal::ManifestUnknown(which.to_string()))?;
        let (bytes, _) = read_manifest(&*self.source, descriptor).await?;
        Ok(Stored { descriptor: descriptor.clone(), bytes })
    }

    async fn referrers(&self, name: &Repository, subject: Digest) -> Result<Vec<Descriptor>, Refusal> {
        let shelf = self.catalogue.shelf(name);
        let referrers = shelf.and_then(|shelf| shelf.referrers.get(&subject));
        Ok(referrers.map(|referrers| referrers.values().cloned().collect()).unwrap_or_default())
    }

    async fn size(&self, name: &Repository, blob: Digest) -> Result<u64, Refusal> {
        Ok(self.blob(name, blob)?.size)
    }

    async fn open(&self, name: &Repository, blob: Digest, from: u64, to: u64) -> Result<Reader, Refusal> {
        let descriptor = self.blob(name, blob)?;
        let absent = |error| match error {
            store::Error::Missing { .. } => Refusal::BlobUnknown(blob),
            other => Refusal::Source(other),
        };
        if !self.verified.has(blob) {
            if (from, to) == (0, descriptor.size) {
                let reader = self.source.open(descriptor, from, to).await.map_err(absent)?;
                return Ok(verifying(descriptor, reader, Arc::clone(&self.verified)));
            }
            self.verify(descriptor).await.map_err(|refusal| match refusal {
                Refusal::Source(error) => absent(error),
                other => other,
            })?;
        }
        self.source.open(descriptor, from, to).await.map_err(absent)
    }
}
