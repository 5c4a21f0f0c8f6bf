//! The lock, `bundle.lock`: every image, manifest and file pinned by digest, each with its reasons; reviewed like code.
//!
//! | file | owns |
//! |---|---|
//! | `text.rs` | the file: writing it, reading it back with places |
//! | `difference.rs` | what changed between two locks |
//!
//! # Invariants
//! - Entries are sorted and unique, reasons are sorted and unique and never empty: [`Lock::new`] and [`Lock::parse`] are
//!   the only ways to a lock, and both see to it.
//! - The same content is the same text: no times, no counts, no order of discovery. Two branches that add different
//!   images merge without touching each other's lines.
//! - `parse(to_text(lock)) == lock`.
//!
//! # Failure
//! A lock that was edited or merged wrongly is refused with every place that is wrong.

mod difference;
mod text;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    discover::Finding,
    error::{Classify, Kind},
    oci::{Descriptor, Digest, Exact, MediaType, Platform, Reference},
    tree::RelPath,
};

pub use difference::{Change, Difference, Item};

/// Holds what a lock is made of, before it is known to be consistent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    /// The bundle's name.
    pub name: String,
    /// The bundle's version.
    pub version: String,
    /// The platforms whose images are carried.
    pub platforms: Vec<Platform>,
    /// The images and other OCI artifacts.
    pub images: Vec<LockedImage>,
    /// The manifests that are carried.
    pub manifests: Vec<LockedFile>,
    /// The files that are carried.
    pub files: Vec<LockedFile>,
}

/// Pins everything that a bundle carries.
#[derive(Clone, Debug, PartialEq)]
pub struct Lock {
    contents: Contents,
}

/// Pins an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LockedImage {
    /// The name that the deployment uses, in full; it keeps its tag.
    pub image: Reference,
    /// The digest of the manifest or index.
    pub digest: Digest,
    /// The type of the manifest or index.
    pub media_type: MediaType,
    /// The size of the manifest or index in bytes.
    pub size: u64,
    /// Where the image is pulled from when that is not its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Reference>,
    /// The archive or layout that the image is taken from, as the spec names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
    /// Why the image is there; never empty.
    pub because: Vec<Finding>,
}

/// Pins a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LockedFile {
    /// The name in the bundle.
    #[serde(deserialize_with = "rel_path")]
    pub name: RelPath,
    /// The digest of the content.
    pub digest: Digest,
    /// The size of the content in bytes.
    pub size: u64,
    /// How old the file may be when the bundle is loaded, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<u64>,
    /// The path or address that it comes from.
    pub source: String,
    /// The entry of the spec, such as `files[0]`.
    pub entry: String,
}

/// Reads a path with all its rules.
fn rel_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RelPath, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

/// Says why contents make no lock.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// Nobody knows why the image is there.
    #[error("image {0} has no reason")]
    NoReason(Box<Reference>),
    /// An image is there twice.
    #[error("image {image} is pinned twice, to {} and {}", digests[0].short(), digests[1].short())]
    ImageTwice {
        /// Which one.
        image: Box<Reference>,
        /// What it is pinned to.
        digests: Box<[Digest; 2]>,
    },
    /// The name holds another digest than the pin.
    #[error("image {image} is pinned to {digest}, which is not the digest in its name")]
    OtherDigest {
        /// Which one.
        image: Box<Reference>,
        /// The digest of the pin.
        digest: Digest,
    },
    /// A name is there twice.
    #[error("{item} {name} is there twice")]
    NameTwice {
        /// A manifest or a file.
        item: Item,
        /// Which name.
        name: RelPath,
    },
}

impl Classify for LockError {
    fn kind(&self) -> Kind {
        match self {
            // Reasons come from the resolver, never from a user.
            LockError::NoReason(_) => Kind::Internal,
            LockError::ImageTwice { .. } | LockError::OtherDigest { .. } | LockError::NameTwice { .. } => Kind::Usage,
        }
    }
}

impl LockedImage {
    /// Returns the descriptor of the manifest or index.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type.clone(), self.digest, self.size)
    }

    /// Returns the image by its name and digest.
    pub fn exact(&self) -> Exact {
        self.image.pin(self.digest)
    }

    /// Returns where to pull the image from, by digest.
    pub fn source(&self) -> Exact {
        self.from.as_ref().unwrap_or(&self.image).pin(self.digest)
    }

    fn check(&self) -> Result<(), LockError> {
        if self.because.is_empty() {
            return Err(LockError::NoReason(Box::new(self.image.clone())));
        }
        match self.image.digest {
            Some(named) if named != self.digest => {
                Err(LockError::OtherDigest { image: Box::new(self.image.clone()), digest: self.digest })
            }
            _ => Ok(()),
        }
    }

    fn sort(&mut self) {
        self.because.sort();
        self.because.dedup();
    }
}

impl Lock {
    /// Makes a lock: sorts everything, and joins the reasons of images that are there several times with one digest.
    ///
    /// # Errors
    /// An image without reason or with two digests, or a name that is there twice.
    pub fn new(mut contents: Contents) -> Result<Lock, LockError> {
        let mut images: BTreeMap<Reference, LockedImage> = BTreeMap::new();
        for image in contents.images {
            image.check()?;
            match images.get_mut(&image.image) {
                Some(known) if known.digest != image.digest => {
                    let digests = Box::new([known.digest, image.digest]);
                    return Err(LockError::ImageTwice { image: Box::new(image.image), digests });
                }
                Some(known) => known.because.extend(image.because),
                None => {
                    images.insert(image.image.clone(), image);
                }
            }
        }
        contents.images = images.into_values().collect();
        contents.images.iter_mut().for_each(LockedImage::sort);
        for (item, files) in [(Item::Manifest, &mut contents.manifests), (Item::File, &mut contents.files)] {
            files.sort_by(|a, b| a.name.cmp(&b.name));
            if let Some(pair) = files.windows(2).find(|pair| pair[0].name == pair[1].name) {
                return Err(LockError::NameTwice { item, name: pair[0].name.clone() });
            }
        }
        contents.platforms.sort();
        contents.platforms.dedup();
        Ok(Lock { contents })
    }

    /// Returns the bundle's name.
    pub fn name(&self) -> &str {
        &self.contents.name
    }

    /// Returns the bundle's version.
    pub fn version(&self) -> &str {
        &self.contents.version
    }

    /// Returns the platforms whose images are carried, sorted.
    pub fn platforms(&self) -> &[Platform] {
        &self.contents.platforms
    }

    /// Returns the images, sorted by name.
    pub fn images(&self) -> &[LockedImage] {
        &self.contents.images
    }

    /// Returns the manifests, sorted by name.
    pub fn manifests(&self) -> &[LockedFile] {
        &self.contents.manifests
    }

    /// Returns the files, sorted by name.
    pub fn files(&self) -> &[LockedFile] {
        &self.contents.files
    }

    /// Returns the pin of an image.
    pub fn image(&self, name: &Reference) -> Option<&LockedImage> {
        let images = self.images();
        images.binary_search_by(|image| image.image.cmp(name)).ok().map(|at| &images[at])
    }

    /// Returns everything, for changing it into another lock.
    pub fn into_contents(self) -> Contents {
        self.contents
    }
}

#[cfg(test)]
mod tests;
