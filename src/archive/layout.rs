//! Where every byte of an archive goes.

use std::{collections::HashMap, path::Path};

use bytes::Bytes;

use super::{
    Error, Fault,
    header::{self, END, padding, prelude_len},
    index::OCI_LAYOUT,
    inventory::Inventory,
};
use crate::{
    oci::{Descriptor, Digest, MediaType},
    store::Memory,
};

/// Says where every entry stands and how large the whole is; known before the first layer is fetched.
#[derive(Debug)]
pub struct Layout {
    pub(super) inventory: Inventory,
    /// The control files in their order, with their content.
    pub(super) control: Vec<(String, Bytes)>,
    /// Where the control part ends and the first blob's header stands.
    pub(super) control_end: u64,
    pub(super) blobs: Vec<Blob>,
    by_digest: HashMap<Digest, usize>,
    total: u64,
    held: Held,
}

/// What a plan knows of its blobs beside digest and size.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Content that is at hand: manifests, the lock, small files.
    pub content: Memory,
    /// The types under which sources know their blobs.
    pub types: HashMap<Digest, MediaType>,
}

/// One blob of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Its name in the tar.
    pub path: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size.
    pub size: u64,
    /// Where its content starts in the file.
    pub offset: u64,
}

impl Blob {
    /// Returns where its header starts.
    pub(super) fn header_at(&self) -> u64 {
        self.offset - prelude_len(&self.path)
    }

    /// Returns where the next header starts.
    pub(super) fn next(&self) -> u64 {
        self.offset + self.size + padding(self.size)
    }
}

impl Layout {
    /// Lays out an inventory with its control files; `archive` names the file in errors.
    pub(super) fn new(
        archive: &Path,
        inventory: Inventory,
        index: Bytes,
        bundle: Bytes,
        signatures: Vec<(String, Bytes)>,
        held: Held,
    ) -> Result<Layout, Error> {
        let mut control = vec![
            ("oci-layout".to_owned(), Bytes::from_static(OCI_LAYOUT)),
            ("index.json".to_owned(), index),
            ("bundle.json".to_owned(), bundle),
        ];
        control.extend(signatures);
        let mut at = 0u64;
        for (path, content) in &control {
            at += prelude_len(path) + content.len() as u64 + padding(content.len() as u64);
        }
        let control_end = at;
        let blob_entries = inventory.entries.get(2..).unwrap_or_default();
        let mut blobs = Vec::with_capacity(blob_entries.len());
        let mut by_digest = HashMap::with_capacity(blob_entries.len());
        // Sizes come from outside: no file system holds more than a signed 64-bit offset.
        let too_large = || Error::Malformed {
            path: archive.to_owned(),
            entry: "bundle.json".into(),
            fault: Fault::Inconsistent("the sizes of the entries add up to more than any disk holds".into()),
        };
        let add = |a: u64, b: u64| a.checked_add(b).filter(|sum| *sum <= i64::MAX as u64).ok_or_else(too_large);
        for entry in blob_entries {
            let offset = add(at, prelude_len(entry.path.as_str()))?;
            let blob = Blob { path: entry.path.as_str().to_owned(), digest: entry.digest, size: entry.size, offset };
            at = add(add(offset, entry.size)?, padding(entry.size))?;
            by_digest.insert(entry.digest, blobs.len());
            blobs.push(blob);
        }
        let total = add(at, END)?;
        Ok(Layout { inventory, control, control_end, blobs, by_digest, total, held })
    }

    /// Returns what `bundle.json` says.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// Returns the size of the archive in bytes.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Returns every blob in the order of the file.
    pub fn blobs(&self) -> &[Blob] {
        &self.blobs
    }

    /// Returns a blob by digest.
    pub fn blob(&self, digest: &Digest) -> Option<&Blob> {
        self.by_digest.get(digest).map(|at| &self.blobs[*at])
    }

    /// Returns the blobs that must still be fetched: all whose content was not at hand when the plan was made.
    pub fn leaves(&self) -> Vec<Descriptor> {
        self.blobs
            .iter()
            .filter(|blob| self.held(&blob.digest).is_none())
            .map(|blob| {
                let media_type = self.held.types.get(&blob.digest).cloned().unwrap_or_else(|| BLOB.into());
                Descriptor::new(media_type, blob.digest, blob.size)
            })
            .collect()
    }

    /// Returns the content of a blob that was at hand when the plan was made.
    pub(super) fn held(&self, digest: &Digest) -> Option<Bytes> {
        self.held.content.get(digest)
    }

    /// Returns the one way to write the control part.
    pub(super) fn control_bytes(&self) -> Vec<u8> {
        let mtime = self.mtime();
        let mut bytes = Vec::with_capacity(usize::try_from(self.control_end).unwrap_or_default());
        for (path, content) in &self.control {
            bytes.extend(header::prelude(path, content.len() as u64, mtime));
            bytes.extend_from_slice(content);
            bytes.resize(bytes.len() + padding(content.len() as u64) as usize, 0);
        }
        bytes
    }

    /// Returns the time of every header.
    pub(super) fn mtime(&self) -> u64 {
        self.inventory.created.seconds()
    }

    /// Names the places of all blobs: two layouts with the same name can continue each other's files.
    pub(super) fn id(&self) -> Digest {
        let mut text = format!("{}\n", self.total);
        for blob in &self.blobs {
            text.push_str(&format!("{} {} {}\n", blob.offset, blob.size, blob.digest));
        }
        Digest::sha256(text.as_bytes())
    }
}

/// The type of a blob of which only digest and size are known.
const BLOB: &str = "application/octet-stream";
