//! Where content comes from: a registry, an archive on disk, a file, an address.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::Error;
use crate::{
    error::Side,
    files::{Positional, blocking},
    lock::{LockedFile, LockedImage},
    net,
    oci::{Descriptor, Digest},
    registry::{Registries, Remote},
    store::{self, Reader, Source},
    tree::RelPath,
};

/// How much of a local file is read at once.
const READ: u64 = 512 << 10;

/// The largest file that is fetched from an address: held in memory once, so it is bounded.
const MAX_FETCHED: usize = 1 << 30;

/// One place that content comes from.
#[derive(Clone)]
pub(super) enum Origin {
    /// A repository of a registry.
    Remote(Box<Remote>),
    /// One file of this machine.
    File(PathBuf),
    /// One file behind an address.
    Url(Registries, net::Url),
}

impl Origin {
    /// Returns where an image of the lock comes from.
    pub fn of(registries: &Registries, _folder: &Path, image: &LockedImage) -> Result<Origin, Error> {
        // OPEN_IMAGE
        let from = image.from.as_ref().unwrap_or(&image.image);
        Ok(Origin::Remote(Box::new(registries.repository(&from.host, &from.repository, Side::Source))))
    }

    /// Returns where one member of a file entry comes from.
    pub fn of_file(
        registries: &Registries,
        folder: &Path,
        file: &LockedFile,
        member: &RelPath,
    ) -> Result<Origin, Error> {
        match (&file.path, &file.url) {
            (_, Some(url)) => {
                let url = url.parse().map_err(|_| Error::Address(url.clone()))?;
                Ok(Origin::Url(registries.clone(), url))
            }
            (Some(path), None) => {
                let path = folder.join(path);
                Ok(Origin::File(if crate::files::is_folder(&path) { path.join(member.as_str()) } else { path }))
            }
            (None, None) => Err(Error::Address(file.name.clone())),
        }
    }
}

/// Returns the files of an entry with their paths in the archive: `NAME/path`.
pub(super) fn members(file: &LockedFile) -> impl Iterator<Item = (RelPath, RelPath, Digest, u64)> {
    file.members.iter().filter_map(|member| {
        let path: RelPath = format!("{}/{}", file.name, member.path).parse().ok()?;
        Some((path, member.path.clone(), member.digest, member.size))
    })
}

impl Source for Origin {
    async fn open(&self, blob: &Descriptor, from: u64, to: u64) -> Result<Reader, store::Error> {
        match self {
            Origin::Remote(remote) => remote.open(blob, from, to).await,
            Origin::File(path) => open_file(path.clone(), blob, from, to).await,
            Origin::Url(registries, url) => open_url(registries, url.clone(), blob, from, to).await,
        }
    }

    fn is_remote(&self) -> bool {
        match self {
            Origin::Remote(remote) => remote.is_remote(),
            _ => false,
        }
    }
}

async fn open_file(path: PathBuf, blob: &Descriptor, from: u64, to: u64) -> Result<Reader, store::Error> {
    let place = |cause| store::Error::place(Side::Source, cause);
    let file = Arc::new(blocking(move || Positional::open(&path)).await.map_err(place)?);
    let length = file.len().map_err(place)?;
    if length != blob.size {
        return Err(store::Error::Size {
            side: Side::Source,
            digest: blob.digest,
            expected: blob.size,
            actual: length,
        });
    }
    let chunks = stream::unfold((file, from), move |(file, at)| async move {
        if at >= to {
            return None;
        }
        let length = usize::try_from(READ.min(to - at)).unwrap_or(0);
        let read = {
            let file = file.clone();
            blocking(move || {
                let mut buffer = vec![0; length];
                file.read_exact_at(&mut buffer, at).map(|()| Bytes::from(buffer))
            })
        };
        let chunk = read.await.map_err(|cause| store::Error::place(Side::Source, cause));
        Some((chunk, (file, at + length as u64)))
    });
    Ok(chunks.boxed())
}

async fn open_url(
    registries: &Registries,
    url: net::Url,
    blob: &Descriptor,
    from: u64,
    to: u64,
) -> Result<Reader, store::Error> {
    let place = |cause| store::Error::place(Side::Source, cause);
    let limit = usize::try_from(blob.size).unwrap_or(MAX_FETCHED).min(MAX_FETCHED);
    let response = registries.client().send(net::Request::get(url)).await.map_err(place)?;
    if response.status() != 200 {
        return Err(store::Error::Missing { side: Side::Source, digest: blob.digest });
    }
    let bytes = response.bytes(limit).await.map_err(place)?;
    let range = usize::try_from(from).unwrap_or(usize::MAX)..usize::try_from(to).unwrap_or(usize::MAX);
    if range.end > bytes.len() || range.start > range.end {
        let actual = bytes.len() as u64;
        return Err(store::Error::Size { side: Side::Source, digest: blob.digest, expected: blob.size, actual });
    }
    Ok(stream::iter([Ok(bytes.slice(range))]).boxed())
}

/// Knows which origin holds which digest.
#[derive(Default)]
pub(super) struct Router {
    origins: Vec<Origin>,
    places: HashMap<Digest, usize>,
}

impl Router {
    /// Adds an origin and returns its number.
    pub fn add(&mut self, origin: Origin) -> usize {
        self.origins.push(origin);
        self.origins.len() - 1
    }

    /// Says that a digest is at an origin; the first one that has it serves it.
    pub fn route(&mut self, digest: Digest, origin: usize) {
        self.places.entry(digest).or_insert(origin);
    }
}

impl Source for Router {
    async fn open(&self, blob: &Descriptor, from: u64, to: u64) -> Result<Reader, store::Error> {
        match self.places.get(&blob.digest).and_then(|at| self.origins.get(*at)) {
            Some(origin) => origin.open(blob, from, to).await,
            None => Err(store::Error::Missing { side: Side::Source, digest: blob.digest }),
        }
    }

    fn is_remote(&self) -> bool {
        self.origins.iter().any(Source::is_remote)
    }
}
