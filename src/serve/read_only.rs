//! A read-only registry over any source: an archive, a layout, memory.
//!
//! # Invariants
//! - Bytes that were never verified are not served as if they were: the first full read of a blob hashes it on the way
//!   and gives the last piece away only when the digest is right; a range of a blob that nobody has read yet waits until
//!   the blob was hashed once. Later reads cost nothing more.

use std::{
    collections::HashSet,
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
    source: S,
    catalogue: Catalogue,
    verified: Arc<Mutex<HashSet<Digest>>>,
}

impl<S: Source + 'static> ReadOnly<S> {
    /// Serves `catalogue` from `source`.
    pub fn new(source: S, catalogue: Catalogue) -> Self {
        ReadOnly { source, catalogue, verified: Arc::default() }
    }

    fn shelf(&self, name: &Repository) -> Result<&Shelf, Refusal> {
        self.catalogue.shelf(name).ok_or_else(|| Refusal::NameUnknown(name.to_string()))
    }

    fn blob(&self, name: &Repository, digest: Digest) -> Result<&Descriptor, Refusal> {
        self.shelf(name)?.blobs.get(&digest).ok_or(Refusal::BlobUnknown(digest))
    }

    fn is_verified(&self, digest: Digest) -> bool {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).contains(&digest)
    }

    fn verifying(&self, blob: &Descriptor, reader: Reader) -> Reader {
        let expected = blob.clone();
        let verified = Arc::clone(&self.verified);
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
                            verified.lock().unwrap_or_else(PoisonError::into_inner).insert(expected.digest);
                            return Ok(last.map(|last| (last, (reader, None))));
                        }
                    }
                }
            }
        })
        .boxed()
    }
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
        let (bytes, _) = read_manifest(&self.source, descriptor).await?;
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
        if !self.is_verified(blob) {
            let whole = self.source.open(descriptor, 0, descriptor.size).await.map_err(absent)?;
            let mut whole = self.verifying(descriptor, whole);
            if (from, to) == (0, descriptor.size) {
                return Ok(whole);
            }
            while whole.try_next().await?.is_some() {}
        }
        self.source.open(descriptor, from, to).await.map_err(absent)
    }
}
