//! Images that lie in files: OCI layouts in folders or tars, and what `docker save` writes.
//!
//! # Invariants
//! - Nothing is unpacked. Layers are read at their places; only a gzip tar is expanded, into a file without a name.
//! - Blobs of a layout are named by digest and verified where they arrive, like any other; what `docker save` wrote has
//!   no digests, so it is hashed here and compared with the configuration's own list of layers.
//!
//! # Failure
//! A file with several images and none of the wanted name says which names it has.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::{StreamExt, TryStreamExt};

use super::{Error, Memory, Reader, Source, layout, memory::slice};
use crate::{
    error::{Classify, Kind, Side},
    files::{self, Place, Positional, TarIndex, blocking, stream_range},
    oci::{Descriptor, Digest, Reference},
};

/// How large a gzip tar may become; more than any image, less than a disk.
const MAX_EXPANDED: u64 = 256 << 30;

/// The largest JSON document of a layout or of `docker save`.
pub(super) const MAX_JSON: u64 = 32 << 20;

/// Says why a file is no image.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The disk said no, or the tar breaks a rule.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// Neither an OCI layout nor from `docker save`.
    #[error("{} is neither an OCI image layout nor a tar from `docker save`", .0.display())]
    NotAnImage(PathBuf),
    /// A document in it cannot be read.
    #[error("{}: {entry}: {cause}", path.display())]
    Json {
        /// Which file.
        path: PathBuf,
        /// Which document.
        entry: String,
        /// What is wrong with it.
        cause: String,
    },
    /// Something that it names is not in it.
    #[error("{} names {entry}, but does not hold it", path.display())]
    Missing {
        /// Which file.
        path: PathBuf,
        /// What is missing.
        entry: String,
    },
    /// It holds several images, and none of them is the wanted one.
    #[error("{} holds several images, but none named {wanted}; it has {}", path.display(), names(offered))]
    Unclear {
        /// Which file.
        path: PathBuf,
        /// What was wanted.
        wanted: String,
        /// What it has.
        offered: Vec<String>,
    },
    /// A layer has other bytes than the configuration says.
    #[error("{}: the layer {entry} hashes to {actual}, but the configuration says {expected}", path.display())]
    Layer {
        /// Which file.
        path: PathBuf,
        /// Which layer.
        entry: String,
        /// What the configuration says.
        expected: Digest,
        /// What the layer hashes to.
        actual: Digest,
    },
}

fn names(offered: &[String]) -> String {
    if offered.is_empty() { "no names at all".to_owned() } else { offered.join(", ") }
}

impl Classify for LocalError {
    fn kind(&self) -> Kind {
        match self {
            LocalError::Files(cause) => cause.kind(),
            LocalError::NotAnImage(_) | LocalError::Json { .. } => Kind::Usage,
            LocalError::Missing { .. } | LocalError::Layer { .. } => Kind::Corrupt,
            LocalError::Unclear { .. } => Kind::NotFound,
        }
    }

    fn side(&self) -> Option<Side> {
        Some(Side::Source)
    }
}

/// Gives the blobs of an image that lies in a file or folder. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LocalSource(Arc<Places>);

#[derive(Debug, Default)]
pub(super) struct Places {
    /// Documents that were made or read here.
    pub held: Memory,
    /// Blobs inside a tar.
    pub inside: HashMap<Digest, (Arc<Positional>, Place)>,
    /// Where a layout in a folder has its blobs.
    pub folder: Option<PathBuf>,
}

/// Opens an image in a file or folder. `wanted` chooses among several; a single one is taken whatever its name is.
///
/// # Errors
/// [`LocalError`].
pub async fn open_image(path: &Path, wanted: Option<&Reference>) -> Result<(Descriptor, LocalSource), LocalError> {
    let (path, wanted) = (path.to_owned(), wanted.cloned());
    let (root, places) = if files::is_folder(&path) {
        blocking(move || {
            let index = files::read_limited(&path.join("index.json"), MAX_JSON).map_err(|error| {
                if error.is_missing() { LocalError::NotAnImage(path.clone()) } else { error.into() }
            })?;
            let places = Places { folder: Some(path.clone()), ..Places::default() };
            layout::choose(&path, &index, wanted.as_ref(), &places.held).map(|root| (root, places))
        })
        .await?
    } else {
        let index = blocking(move || index_of(&path)).await?;
        if let Some(document) = index.read_file("index.json", MAX_JSON)? {
            let path = index.file().path().to_owned();
            let places = layout::places(&index);
            layout::choose(&path, &document, wanted.as_ref(), &places.held).map(|root| (root, places))?
        } else {
            super::tar::docker_save(index, wanted.as_ref()).await?
        }
    };
    Ok((root, LocalSource(Arc::new(places))))
}

fn index_of(path: &Path) -> Result<TarIndex, LocalError> {
    let file = Positional::open(path)?;
    let mut start = [0; 2];
    if file.len()? < 512 {
        return Err(LocalError::NotAnImage(path.to_owned()));
    }
    file.read_exact_at(&mut start, 0)?;
    let file = if files::is_gzip(&start) { files::expand_gzip(path, MAX_EXPANDED)? } else { file };
    Ok(TarIndex::read(Arc::new(file))?)
}

impl Source for LocalSource {
    async fn open(&self, blob: &Descriptor, from: u64, to: u64) -> Result<Reader, Error> {
        let side = Side::Source;
        let size = |actual| Error::Size { side, digest: blob.digest, expected: blob.size, actual };
        if let Some(bytes) = self.0.held.get(&blob.digest) {
            return slice(&bytes, blob, from, to);
        }
        let (file, place) = match (self.0.inside.get(&blob.digest), &self.0.folder) {
            (Some(found), _) => found.clone(),
            (None, Some(folder)) => {
                let path = folder.join("blobs").join(blob.digest.algorithm().name()).join(blob.digest.hex());
                let digest = blob.digest;
                let file =
                    blocking(move || Positional::open(&path)).await.map_err(|error| match error.is_missing() {
                        true => Error::Missing { side, digest },
                        false => Error::place(side, error),
                    })?;
                let size = file.len().map_err(|error| Error::place(side, error))?;
                (Arc::new(file), Place { offset: 0, size })
            }
            (None, None) => return Err(Error::Missing { side, digest: blob.digest }),
        };
        if place.size != blob.size || to > blob.size || from > to {
            return Err(size(place.size));
        }
        let range = place.offset + from..place.offset + to;
        Ok(stream_range(file, range).map_err(move |cause| Error::place(side, cause)).boxed())
    }
}
