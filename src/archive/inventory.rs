//! What `bundle.json` says: the name of the whole, its images, charts and files, and every entry of the tar.
//!
//! # Invariants
//! - The bytes that were signed are kept as they stand and never written again; this model is a view of them.
//! - Written by [`Inventory::to_bytes`], the same value gives the same bytes: fixed key order, no fractions.
//!
//! # Failure
//! [`Inventory::parse`] first looks at format and incompatible features, so that a newer archive says "use a newer
//! version" and not "unknown field". Keys that this version does not know are ignored: what must not be ignored comes
//! with an incompatible feature.

use std::{collections::HashSet, path::Path};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Chart, Error, Fault, Time, chart, json};
use crate::{
    lock::Verified,
    oci::{Digest, MediaType, Platform, Reference, Tag},
    tree::RelPath,
};

/// The format version that this module writes and reads.
pub const FORMAT: u64 = 1;

/// The largest control document that is read.
pub(super) const MAX_BYTES: u64 = 32 << 20;

/// Incompatible features that this version understands; none yet. Reserved: `parts`, `differential`.
const KNOWN_INCOMPATIBLE: &[&str] = &[];

/// What `bundle.json` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inventory {
    /// The format version; see [`FORMAT`].
    pub format: u64,
    /// What else a reader must know.
    pub features: Features,
    /// The name of the bundle.
    pub name: String,
    /// Its version, for people.
    pub version: String,
    /// Its place in the row of bundles of this name, for the protection against going back.
    pub sequence: u64,
    /// When it was made; also the time of every tar header.
    pub created: Time,
    /// When it should be replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
    /// The program that made it, with its version.
    pub tool: String,
    /// The digest of the `bundle.json` of the bundle before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// The platforms that were selected; empty means all.
    pub platforms: Vec<Platform>,
    /// The lock file, an entry of role `lock`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<Digest>,
    /// The images, sorted by their first reference.
    pub images: Vec<Image>,
    /// The charts, sorted by name and version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub charts: Vec<Chart>,
    /// Manifests and other files, sorted by path.
    pub files: Vec<FileEntry>,
    /// Every entry of the tar in its order, except `bundle.json` itself and the signatures.
    pub entries: Vec<Entry>,
}

/// What a reader must know to do something with an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Features {
    /// May be ignored.
    pub compatible: Vec<String>,
    /// May be ignored by those who only read; who writes (merges, splits) must know them.
    pub read_only_compatible: Vec<String>,
    /// Must be known by everyone.
    pub incompatible: Vec<String>,
}

/// An image or artifact that somebody asks for by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// The names, sorted; never empty.
    pub references: Vec<Reference>,
    /// The digest of the root manifest.
    pub digest: Digest,
    /// The type of the root manifest.
    pub media_type: MediaType,
    /// The size of the root manifest.
    pub size: u64,
    /// The image manifests that are here, with their platforms.
    pub platforms: Vec<PlatformManifest>,
    /// Entries of its index that were left out; not empty means that the index is sparse.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// The index that this one was made from, when it is not upstream's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub derived_from: Option<Digest>,
    /// Signatures, attestations and other artifacts that belong to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// Whose signatures of it were checked when the archive was made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verified: Vec<Verified>,
    /// Why it is here, as the lock says.
    pub because: serde_json::Value,
}

/// One image manifest of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlatformManifest {
    /// The platform, when it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The digest of the manifest.
    pub digest: Digest,
    /// The size of the manifest, its configuration and its layers together.
    pub size: u64,
}

/// An entry of an index that is not in the archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeftOut {
    /// Its digest.
    pub digest: Digest,
    /// Its platform, when the index says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

/// A signature, attestation or other artifact that speaks of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// The manifest that it speaks of.
    pub subject: Digest,
    /// The digest of its own manifest.
    pub digest: Digest,
    /// The type of its manifest.
    pub media_type: MediaType,
    /// The size of its manifest.
    pub size: u64,
    /// What kind of artifact it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The tag under which it is found, such as cosign's `sha256-….sig`; without one it is a referrer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
}

/// A file that is no image content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileEntry {
    /// Where it belongs, relative to the folder where files are unpacked.
    #[serde(deserialize_with = "path")]
    pub path: RelPath,
    /// Its digest.
    pub digest: Digest,
    /// Its size.
    pub size: u64,
    /// What it is.
    pub role: Role,
    /// Why it is here.
    pub because: serde_json::Value,
}

/// One entry of the tar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Its name in the tar.
    #[serde(deserialize_with = "path")]
    pub path: RelPath,
    /// Its size.
    pub size: u64,
    /// Its digest.
    pub digest: Digest,
    /// What it is.
    pub role: Role,
    /// The images that need it: positions in `images`, rising.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<u32>,
    /// The charts that need it: positions in `charts`, rising.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub charts: Vec<u32>,
}

/// What an entry is for. Content that serves several purposes has the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// `oci-layout`.
    Layout,
    /// `index.json`.
    Index,
    /// An index of images for several platforms.
    ImageIndex,
    /// An index that was made here from upstream's.
    DerivedIndex,
    /// The manifest of an image or artifact.
    Manifest,
    /// The configuration of an image.
    Config,
    /// A layer of an image or a blob of an artifact.
    Layer,
    /// A manifest or blob of a signature, attestation or other attachment.
    Attachment,
    /// The lock file.
    Lock,
    /// The spec.
    Spec,
    /// The archive of a Helm chart.
    Chart,
    /// Kubernetes manifests.
    Kubernetes,
    /// Any other file.
    File,
}

fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RelPath, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

impl Inventory {
    /// Returns the bytes of `bundle.json`.
    ///
    /// # Errors
    /// [`Error::Inventory`] when a reader would refuse them: too large, or with fractions in a `because`.
    pub fn to_bytes(&self) -> Result<Bytes, Error> {
        let json = |error: serde_json::Error| Error::Inventory(Fault::Json(error.to_string()));
        let mut bytes = serde_json::to_vec(self).map_err(json)?;
        bytes.push(b'\n');
        if bytes.len() as u64 > MAX_BYTES {
            return Err(Error::Inventory(Fault::TooLarge(MAX_BYTES)));
        }
        json::check(&bytes).map_err(json)?;
        Ok(bytes.into())
    }

    /// Reads `bundle.json`. `archive` names the file in errors.
    ///
    /// # Errors
    /// [`Error::Newer`] when the format or a feature is not known here, [`Error::Malformed`] otherwise.
    pub fn parse(archive: &Path, bytes: &[u8]) -> Result<Inventory, Error> {
        #[derive(Deserialize)]
        struct Head {
            format: u64,
            features: Features,
        }
        let malformed = |fault| Error::Malformed { path: archive.to_owned(), entry: "bundle.json".into(), fault };
        let json = |error: serde_json::Error| malformed(Fault::Json(error.to_string()));
        if bytes.len() as u64 > MAX_BYTES {
            return Err(malformed(Fault::TooLarge(MAX_BYTES)));
        }
        json::check(bytes).map_err(json)?;
        let head: Head = serde_json::from_slice(bytes).map_err(json)?;
        if head.format != FORMAT {
            return Err(Error::newer_format(archive.to_owned(), head.format));
        }
        let unknown: Vec<String> = head
            .features
            .incompatible
            .into_iter()
            .filter(|feature| !KNOWN_INCOMPATIBLE.contains(&feature.as_str()))
            .collect();
        if !unknown.is_empty() {
            return Err(Error::Newer { path: archive.to_owned(), unknown });
        }
        let inventory: Inventory = serde_json::from_slice(bytes).map_err(json)?;
        inventory.consistent().map_err(|what| malformed(Fault::Inconsistent(what)))?;
        Ok(inventory)
    }

    /// Returns an entry by the digest of its content.
    pub fn entry(&self, digest: &Digest) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.digest == *digest)
    }

    /// Checks everything that follows from the document alone.
    fn consistent(&self) -> Result<(), String> {
        check_word("name", &self.name)
            .and_then(|()| check_word("version", &self.version))
            .map_err(|e| e.to_string())?;
        let fixed: Vec<(&str, Role)> =
            self.entries.iter().take(2).map(|entry| (entry.path.as_str(), entry.role)).collect();
        if fixed != [("oci-layout", Role::Layout), ("index.json", Role::Index)] {
            return Err("the first entries are not oci-layout and index.json".into());
        }
        let mut digests = HashSet::with_capacity(self.entries.len());
        let mut before: Option<&RelPath> = None;
        let files: HashSet<Digest> = self.files.iter().map(|file| file.digest).chain(self.lock).collect();
        for entry in &self.entries[2..] {
            if entry.path.as_str() != blob_path(&entry.digest) {
                return Err(format!("the entry {} does not carry the name of its digest", entry.path));
            }
            if before.is_some_and(|before| *before >= entry.path) {
                return Err(format!("the entry {} is out of order", entry.path));
            }
            if matches!(entry.role, Role::Layout | Role::Index) {
                return Err(format!("the entry {} has the role of a control file", entry.path));
            }
            if !is_selection(&entry.images, self.images.len()) {
                return Err(format!("the entry {} names images that are not there", entry.path));
            }
            if !is_selection(&entry.charts, self.charts.len()) {
                return Err(format!("the entry {} names charts that are not there", entry.path));
            }
            if entry.images.is_empty() && entry.charts.is_empty() && !files.contains(&entry.digest) {
                return Err(format!("nothing needs the entry {}", entry.path));
            }
            before = Some(&entry.path);
            digests.insert((entry.digest, entry.size));
        }
        let known: HashSet<Digest> = digests.iter().map(|(digest, _)| *digest).collect();
        let mut roots = HashSet::new();
        let mut names = HashSet::new();
        for image in &self.images {
            if image.references.is_empty() || !image.references.windows(2).all(|pair| pair[0] < pair[1]) {
                return Err(format!("the references of {} are empty or out of order", image.digest));
            }
            if !roots.insert(image.digest) || !image.references.iter().all(|reference| names.insert(reference)) {
                return Err(format!("{} or one of its names occurs twice", image.digest));
            }
            if image.references.iter().any(|reference| reference.digest.is_some_and(|named| named != image.digest)) {
                return Err(format!("a reference of {} names another digest", image.digest));
            }
            if !digests.contains(&(image.digest, image.size)) {
                return Err(format!("there is no entry for the image {}", image.digest));
            }
            for attachment in &image.attachments {
                if !digests.contains(&(attachment.digest, attachment.size)) {
                    return Err(format!("there is no entry for the attachment {}", attachment.digest));
                }
            }
            if let Some(lost) = image.platforms.iter().find(|platform| !known.contains(&platform.digest)) {
                return Err(format!("there is no entry for {}", lost.digest));
            }
        }
        chart::check(&self.charts, &digests)?;
        let mut before: Option<&RelPath> = None;
        for file in &self.files {
            if before.is_some_and(|before| *before >= file.path) {
                return Err(format!("the file {} is out of order", file.path));
            }
            if !digests.contains(&(file.digest, file.size)) {
                return Err(format!("there is no entry for the file {}", file.path));
            }
            before = Some(&file.path);
        }
        match self.lock {
            Some(lock) if !known.contains(&lock) => Err("there is no entry for the lock".into()),
            _ => Ok(()),
        }
    }
}

/// Tells whether these are positions in a list of this length, rising.
fn is_selection(positions: &[u32], length: usize) -> bool {
    positions.windows(2).all(|pair| pair[0] < pair[1]) && positions.last().is_none_or(|last| (*last as usize) < length)
}

/// Returns where a blob stands in the tar (image layout specification, "Blobs").
pub(super) fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// Checks a name or version: what is safe as a part of a file name everywhere.
pub(super) fn check_word(what: &'static str, text: &str) -> Result<(), Error> {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
    let bytes = text.as_bytes();
    if bytes.len() <= 128 && edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(|byte| inside(*byte)) {
        Ok(())
    } else {
        Err(Error::Name { what, text: text.to_owned() })
    }
}
