//! One source made of many: each blob comes from where it is known to be.

use std::{collections::HashMap, sync::Arc};

use super::{Error, Reader, Source};
use crate::{
    error::{Classify, Kind, Side},
    oci::{Descriptor, Digest},
};

/// Sends each request to the first source that is known to have the blob; when that one says it has not, to the next.
/// One copy over all of them can then order the blobs of all images by size, and fetch what they share once.
#[derive(Debug)]
pub struct Routes<S> {
    sources: Vec<Arc<S>>,
    routes: HashMap<Digest, Vec<usize>>,
}

impl<S> Default for Routes<S> {
    fn default() -> Self {
        Routes { sources: Vec::new(), routes: HashMap::new() }
    }
}

impl<S: Source> Routes<S> {
    /// Makes an empty set of routes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that a source has these blobs.
    pub fn add(&mut self, source: S, blobs: impl IntoIterator<Item = Digest>) {
        let at = self.sources.len();
        self.sources.push(Arc::new(source));
        for blob in blobs {
            self.routes.entry(blob).or_default().push(at);
        }
    }
}

impl<S: Source> Source for Routes<S> {
    async fn open(&self, blob: &Descriptor, from: u64, to: u64) -> Result<Reader, Error> {
        let mut last = Error::Missing { side: Side::Source, digest: blob.digest };
        for at in self.routes.get(&blob.digest).into_iter().flatten() {
            match self.sources[*at].open(blob, from, to).await {
                Err(error) if error.kind() == Kind::NotFound => last = error,
                other => return other,
            }
        }
        Err(last)
    }

    fn is_remote(&self) -> bool {
        self.sources.iter().any(|source| source.is_remote())
    }

    fn distance(&self, blob: &Descriptor) -> Option<std::time::Duration> {
        let first = self.routes.get(&blob.digest)?.first()?;
        self.sources[*first].distance(blob)
    }
}
