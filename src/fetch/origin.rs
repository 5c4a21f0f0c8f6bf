//! Where content comes from: a registry, an archive on disk, a file, an address.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::{StreamExt, stream};

use super::Error;
use crate::{
    error::Side,
    files::{Positional, blocking, stream_range},
    lock::{LockedFile, LockedImage},
    net,
    oci::{Descriptor, Digest},
    registry::{Registries, Remote},
    store::{self, LocalSource, Reader, Source, open_image},
    tree::RelPath,
};

/// The largest file that is fetched from an address: held in memory once, so it is bounded.
const MAX_FETCHED: usize = 1 << 30;

/// One place that content comes from.
#[derive(Clone)]
pub(super) enum Origin {
    /// A repository of a registry.
    Remote(Box<Remote>),
    /// An image in a file or folder.
    Local(LocalSource),
    /// One file of this machine.
    File(PathBuf),
    /// One file behind an address.
    Url(Registries, net::Url),
}

impl Origin {
    /// Returns where an image of the lock comes from.
    pub async fn of(registries: &Registries, folder: &Path, image: &LockedImage) -> Result<Origin, Error> {
        if let Some(archive) = &image.archive {
            let (root, source) = open_image(&folder.join(archive), Some(&image.image)).await?;
            if root.digest != image.digest {
                let (path, locked, found) = (archive.clone(), image.digest, root.digest);
                return Err(Error::ArchiveChanged { path, locked, found });
            }
            return Ok(Origin::Local(source));
        }
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
            Origin::Local(source) => source.open(blob, from, to).await,
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

    fn distance(&self, blob: &Descriptor) -> Option<std::time::Duration> {
        match self {
            Origin::Remote(remote) => remote.distance(blob),
            _ => None,
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
    Ok(stream_range(file, from..to).map(move |chunk| chunk.map_err(place)).boxed())
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
