//! Content in memory: small files, manifests that were read already, and the fixture of tests.

use std::{collections::HashMap, sync::RwLock};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};

use super::{Error, Reader, Sink, Source};
use crate::{
    error::Side,
    oci::{Descriptor, Digest, MediaType},
};

/// Holds blobs in memory. What it hands out was put in by its owner or verified by [`Sink::put`].
#[derive(Debug, Default)]
pub struct Memory {
    blobs: RwLock<HashMap<Digest, Bytes>>,
}

impl Memory {
    /// Makes an empty place.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes and describes them by their SHA-256.
    pub fn add(&self, media_type: impl Into<MediaType>, bytes: impl Into<Bytes>) -> Descriptor {
        let bytes = bytes.into();
        let descriptor = Descriptor::of(media_type, &bytes);
        self.set(descriptor.digest, bytes);
        descriptor
    }

    /// Adds bytes under a digest that the caller has verified.
    pub fn set(&self, digest: Digest, bytes: Bytes) {
        self.blobs.write().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(digest, bytes);
    }

    /// Returns the bytes of a blob.
    pub fn get(&self, digest: &Digest) -> Option<Bytes> {
        self.blobs.read().unwrap_or_else(|poisoned| poisoned.into_inner()).get(digest).cloned()
    }
}

/// Cuts what is asked for out of bytes in memory.
pub(super) fn slice(bytes: &Bytes, blob: &Descriptor, from: u64, to: u64) -> Result<Reader, Error> {
    let range = usize::try_from(from).ok().zip(usize::try_from(to.min(blob.size)).ok());
    match range {
        Some((from, to)) if from <= to && to <= bytes.len() => Ok(stream::iter([Ok(bytes.slice(from..to))]).boxed()),
        _ => Err(Error::Size {
            side: Side::Source,
            digest: blob.digest,
            expected: blob.size,
            actual: bytes.len() as u64,
        }),
    }
}

impl Source for Memory {
    async fn open(&self, blob: &Descriptor, from: u64, to: u64) -> Result<Reader, Error> {
        let bytes = self.get(&blob.digest).ok_or(Error::Missing { side: Side::Source, digest: blob.digest })?;
        slice(&bytes, blob, from, to)
    }
}

impl Sink for Memory {
    async fn has(&self, blob: &Descriptor) -> Result<bool, Error> {
        Ok(self.get(&blob.digest).is_some_and(|bytes| bytes.len() as u64 == blob.size))
    }

    async fn put<S: Source>(
        &self,
        blob: &Descriptor,
        source: &S,
        moved: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), Error> {
        let mut reader = source.open(blob, 0, blob.size).await?;
        let mut bytes = BytesMut::new();
        while let Some(chunk) = reader.next().await {
            let chunk = chunk?;
            bytes.extend_from_slice(&chunk);
            moved(chunk.len() as u64);
            if bytes.len() as u64 > blob.size {
                break;
            }
        }
        super::verify(blob, &bytes)?;
        self.set(blob.digest, bytes.freeze());
        Ok(())
    }
}
