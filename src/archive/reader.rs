//! Reads archives: first the control part, unverified; after admission, blobs.
//!
//! ```text
//!   open ─→ Unverified ── admit(check) ─→ Archive ─→ source(), verify_all()
//!              │ peek()                      only this serves bytes
//! ```
//!
//! # Invariants
//! - Opening reads the control part alone, whatever the size of the file, and writes nothing anywhere.
//! - `bundle.json` is not interpreted before the check, given its raw bytes and the signatures, has agreed.
//! - Each tar header of the control part equals the one that would be written; `oci-layout`, `index.json` and the size
//!   of the file are those that follow from the inventory. Headers and padding between blobs are compared by
//!   [`Archive::verify_all`]; they say nothing that is used.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};

use super::{
    Error, Fault, Layout,
    header::{self, BLOCK, END, Header, padding},
    index::{OCI_LAYOUT, index_json},
    inventory::{Inventory, MAX_BYTES},
    layout::{Blob, Held},
};
use crate::{
    error::Side,
    files::{Positional, stream_range},
    oci::{Descriptor, Digest},
    store::{self, Reader, Source},
};

/// The largest signature file: room for thousands of subjects, and far less than what would hurt.
pub(super) const MAX_SIGNATURE: u64 = 4 << 20;

/// How many signature files there may be.
pub(super) const MAX_SIGNATURES: usize = 64;

/// The control part of an archive, as it stands in the file.
#[derive(Clone, Debug)]
pub struct Control {
    /// The content of `oci-layout`.
    pub layout: Bytes,
    /// The content of `index.json`.
    pub index: Bytes,
    /// The content of `bundle.json`: what the signatures cover.
    pub bundle: Bytes,
    /// The signature files by name, sorted.
    pub signatures: Vec<(String, Bytes)>,
}

impl Control {
    /// Returns the digest of `bundle.json`, which names the archive.
    pub fn digest(&self) -> Digest {
        Digest::sha256(&self.bundle)
    }
}

/// An archive that nobody has admitted: gives its control part, but no blob.
#[derive(Debug)]
pub struct Unverified {
    file: Positional,
    control: Control,
    mtime: u64,
}

/// An admitted archive.
#[derive(Clone, Debug)]
pub struct Archive {
    pub(super) file: Arc<Positional>,
    pub(super) layout: Arc<Layout>,
    control: Control,
}

impl Unverified {
    /// Opens an archive and reads its control part.
    ///
    /// # Errors
    /// [`Error::NotAnArchive`], [`Error::Malformed`], and errors of the disk.
    pub fn open(path: &Path) -> Result<Unverified, Error> {
        let file = Positional::open(path)?;
        let mut cursor = Cursor { file: &file, at: 0, len: file.len()? };
        let first = cursor
            .header()?
            .filter(|header| header.path == "oci-layout")
            .ok_or(Error::NotAnArchive { path: path.to_owned(), why: "it does not start with the entry oci-layout" })?;
        let mtime = first.mtime;
        let layout = cursor.content(&first, OCI_LAYOUT.len() as u64)?;
        let index = cursor.entry("index.json", mtime)?;
        let bundle = cursor.entry("bundle.json", mtime)?;
        let mut signatures: Vec<(String, Bytes)> = Vec::new();
        while let Some(header) = cursor.header()?.filter(|header| signature_path(&header.path)) {
            let unordered = signatures.last().is_some_and(|(before, _)| *before >= header.path);
            if unordered || header.mtime != mtime || signatures.len() >= MAX_SIGNATURES {
                return Err(cursor.malformed(&header.path, Fault::Header));
            }
            let content = cursor.content(&header, MAX_SIGNATURE)?;
            signatures.push((header.path, content));
        }
        let control = Control { layout, index, bundle, signatures };
        Ok(Unverified { file, control, mtime })
    }

    /// Returns the control part.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Reads the inventory without any proof of where it comes from; for showing, never for acting.
    ///
    /// # Errors
    /// [`Error::Newer`] and [`Error::Malformed`].
    pub fn peek(&self) -> Result<Inventory, Error> {
        Inventory::parse(self.file.path(), &self.control.bundle)
    }

    /// Lets `check` decide on the raw control part, and if it agrees, interprets the inventory, compares everything
    /// that follows from it, and returns an archive that serves bytes, with what the check returned.
    ///
    /// # Errors
    /// The error of the check; [`Error::Newer`] and [`Error::Malformed`] otherwise.
    pub fn admit<T, E: From<Error>>(self, check: impl FnOnce(&Control) -> Result<T, E>) -> Result<(Archive, T), E> {
        let proof = check(&self.control)?;
        Ok((self.interpret()?, proof))
    }

    fn interpret(self) -> Result<Archive, Error> {
        let Unverified { file, control, mtime } = self;
        let path: PathBuf = file.path().to_owned();
        let malformed = |entry: &str, fault| Error::Malformed { path: path.clone(), entry: entry.to_owned(), fault };
        let inventory = Inventory::parse(&path, &control.bundle)?;
        if inventory.created.seconds() != mtime {
            return Err(malformed("oci-layout", Fault::Header));
        }
        let derived = [
            ("oci-layout", &control.layout, Bytes::from_static(OCI_LAYOUT)),
            ("index.json", &control.index, index_json(&inventory)),
        ];
        for ((name, bytes, expected), entry) in derived.into_iter().zip(&inventory.entries) {
            let actual = entry.digest.same_algorithm(bytes);
            if actual != entry.digest || bytes.len() as u64 != entry.size {
                return Err(malformed(name, Fault::Digest { expected: entry.digest, actual }));
            }
            if *bytes != expected {
                return Err(malformed(name, Fault::NotDerived));
            }
        }
        let (index, bundle) = (control.index.clone(), control.bundle.clone());
        let layout = Layout::new(&path, inventory, index, bundle, control.signatures.clone(), Held::default())?;
        let (expected, actual) = (layout.total(), file.len()?);
        if expected != actual {
            return Err(malformed("end", Fault::Length { expected, actual }));
        }
        // What follows the last signature must be the first blob, or the end.
        let end = layout.blobs().last().map_or(layout.control_end, Blob::next);
        let mut zeros = [0; END as usize];
        file.read_exact_at(&mut zeros, end)?;
        if zeros.iter().any(|byte| *byte != 0) {
            return Err(malformed("end", Fault::Padding));
        }
        if let Some(blob) = layout.blobs().first() {
            let expected = header::prelude(&blob.path, blob.size, mtime);
            let mut actual = vec![0; expected.len()];
            file.read_exact_at(&mut actual, blob.header_at())?;
            if actual != expected {
                return Err(malformed(&blob.path, Fault::Header));
            }
        }
        Ok(Archive { file: Arc::new(file), layout: Arc::new(layout), control })
    }
}

/// Tells whether a name is that of a signature file: `bundle.json.sigstore.json`, `bundle.json.KEY.sigstore.json`, or a
/// file directly in `bundle.sig/`; always one that a header holds without an extension.
pub(super) fn signature_path(path: &str) -> bool {
    let word = |name: &str| super::inventory::check_word("signature", name).is_ok();
    let of_key = |name: &str| name.ends_with(".sigstore.json") && word(name);
    path.len() <= header::NAME
        && (path == "bundle.json.sigstore.json"
            || path.strip_prefix("bundle.json.").is_some_and(of_key)
            || path.strip_prefix("bundle.sig/").is_some_and(word))
}

/// Reads the control part from front to back.
struct Cursor<'a> {
    file: &'a Positional,
    at: u64,
    len: u64,
}

impl Cursor<'_> {
    fn malformed(&self, entry: &str, fault: Fault) -> Error {
        Error::Malformed { path: self.file.path().to_owned(), entry: entry.to_owned(), fault }
    }

    /// Reads the header that stands here, without moving; `None` when it is none of ours.
    fn header(&self) -> Result<Option<Header>, Error> {
        let mut block = [0; BLOCK as usize];
        if self.len.saturating_sub(self.at) < BLOCK {
            return Ok(None);
        }
        self.file.read_exact_at(&mut block, self.at)?;
        Ok(header::parse(&block))
    }

    /// Reads the content behind a header, its padding too, and moves on.
    fn content(&mut self, header: &Header, limit: u64) -> Result<Bytes, Error> {
        if header.size > limit {
            return Err(self.malformed(&header.path, Fault::TooLarge(limit)));
        }
        let padded = header.size + padding(header.size);
        if self.len.saturating_sub(self.at + BLOCK) < padded {
            let expected = self.at + BLOCK + padded;
            return Err(self.malformed(&header.path, Fault::Length { expected, actual: self.len }));
        }
        let mut bytes = vec![0; usize::try_from(padded).unwrap_or_default()];
        self.file.read_exact_at(&mut bytes, self.at + BLOCK)?;
        let size = usize::try_from(header.size).unwrap_or_default();
        if bytes[size..].iter().any(|byte| *byte != 0) {
            return Err(self.malformed(&header.path, Fault::Padding));
        }
        bytes.truncate(size);
        self.at += BLOCK + padded;
        Ok(bytes.into())
    }

    fn entry(&mut self, name: &str, mtime: u64) -> Result<Bytes, Error> {
        match self.header()? {
            Some(header) if header.path == name && header.mtime == mtime => self.content(&header, MAX_BYTES),
            Some(header) if header.path == name => Err(self.malformed(name, Fault::Header)),
            Some(header) => Err(self.malformed(name, Fault::Unexpected(header.path))),
            None => Err(self.malformed(name, Fault::Absent)),
        }
    }
}

impl Archive {
    /// Returns what `bundle.json` says.
    pub fn inventory(&self) -> &Inventory {
        self.layout.inventory()
    }

    /// Returns the control part.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Returns where everything stands.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Returns a source of all blobs.
    pub fn source(&self) -> ArchiveSource {
        ArchiveSource { file: self.file.clone(), layout: self.layout.clone() }
    }

    /// Reads a blob of at most `limit` bytes into memory and verifies it.
    ///
    /// # Errors
    /// [`Error::Unplanned`] when it is not here, [`Error::Malformed`] when it is too large or damaged.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Bytes, Error> {
        let blob = self.layout.blob(digest).ok_or(Error::Unplanned(*digest))?;
        let malformed = |fault| Error::Malformed { path: self.path().to_owned(), entry: blob.path.clone(), fault };
        let size = usize::try_from(blob.size).ok().filter(|_| blob.size <= limit);
        let mut bytes = vec![0; size.ok_or_else(|| malformed(Fault::TooLarge(limit)))?];
        self.file.read_exact_at(&mut bytes, blob.offset)?;
        let actual = digest.same_algorithm(&bytes);
        if actual != *digest {
            return Err(malformed(Fault::Digest { expected: *digest, actual }));
        }
        Ok(bytes.into())
    }
}

/// The blobs of an admitted archive, read at their places; several at once do not disturb each other.
#[derive(Clone, Debug)]
pub struct ArchiveSource {
    file: Arc<Positional>,
    layout: Arc<Layout>,
}

impl Source for ArchiveSource {
    async fn open(&self, blob: &Descriptor, from: u64, to: u64) -> Result<Reader, store::Error> {
        let side = Side::Source;
        let found = self.layout.blob(&blob.digest).ok_or(store::Error::Missing { side, digest: blob.digest })?;
        if found.size != blob.size || to > blob.size || from > to {
            return Err(store::Error::Size { side, digest: blob.digest, expected: blob.size, actual: found.size });
        }
        let range = found.offset + from..found.offset + to;
        Ok(stream_range(self.file.clone(), range).map_err(|cause| store::Error::place(Side::Source, cause)).boxed())
    }
}
