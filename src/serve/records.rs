//! The records of a writable registry on the disk, and the rules that keep them consistent.
//!
//! ```text
//! DIR/
//!   registry.json                                      what this directory is, and its version
//!   lock                                               held by the one process that serves it
//!   blobs/<algorithm>/<xx>/<hex>                       content, once, whatever number of repositories hold it
//!   repositories/<name>/_blobs/<algorithm>/<hex>       the repository holds this blob
//!   repositories/<name>/_manifests/<algorithm>/<hex>   ... this manifest; the file says its media type
//!   repositories/<name>/_tags/<tag>                    the digest that the tag names
//!   repositories/<name>/_referrers/<algorithm>/<subject>/<algorithm>-<hex>   the descriptor of a referrer
//!   repositories/<name>/_uploads/<id>                  bytes of an upload that is not finished
//! ```
//! No component of a repository name starts with an underscore, so records and nested repositories never meet.
//!
//! # Invariants
//! - A record names content that is complete: content first, then the manifest's record, then referrers, tags last;
//!   removal goes the other way. A crash leaves at most content without a record, which the next start removes.
//! - Content is removed only when no record names it, while nobody can add one.

use std::{
    collections::{BTreeSet, HashSet},
    path::Path,
    sync::{Mutex, PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};

use bytes::Bytes;

use crate::{
    files::{Arriving, Folder, FolderError, Lock},
    oci::{Descriptor, Digest, ManifestKind, MediaType, Repository, Tag},
};

use super::{
    backend::{Policy, Pushed, Stored},
    refusal::Refusal,
    route::{self, Which},
    start::StartError,
};

/// The format of the directory; a registry of another format is never touched.
const FORMAT: &str = r#"{"registry":"bundle","version":1}"#;

/// Uploads that nobody touched for so long are dropped.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// The largest record: the descriptor of a referrer, whose annotations come from a manifest.
const MAX_RECORD: u64 = 16 << 20;

/// Keeps the records.
#[derive(Debug)]
pub(super) struct Records {
    pub(super) folder: Folder,
    _lock: Lock,
    names: RwLock<BTreeSet<String>>,
    /// Shared by those who add records, exclusive for those who remove content.
    content: RwLock<()>,
    /// Makes "look at the tag, then move it" one step.
    tags: Mutex<()>,
}

impl Records {
    /// Opens a directory and makes it a registry when it is empty or new.
    pub(super) fn open(root: &Path, durable: bool) -> Result<Records, StartError> {
        let folder = Folder::open(root, durable)?;
        let lock = folder.lock()?.ok_or_else(|| StartError::InUse(root.to_owned()))?;
        match folder.read("registry.json", MAX_RECORD)? {
            Some(format) if format == FORMAT.as_bytes() => {}
            Some(_) => return Err(StartError::Format(root.to_owned())),
            None => folder.write("registry.json", FORMAT.as_bytes())?,
        }
        folder.sweep_temporary()?;
        let records = Records {
            folder,
            _lock: lock,
            names: RwLock::default(),
            content: RwLock::default(),
            tags: Mutex::default(),
        };
        let names = records.find_names(&["_blobs", "_manifests"])?;
        *records.names.write().unwrap_or_else(PoisonError::into_inner) = names;
        records.drop_stale_uploads()?;
        records.sweep()?;
        Ok(records)
    }

    /// Finds the repositories that have one of these kinds of records.
    fn find_names(&self, kinds: &[&str]) -> Result<BTreeSet<String>, FolderError> {
        let mut names = BTreeSet::new();
        let mut open = vec![String::new()];
        while let Some(name) = open.pop() {
            let separator = if name.is_empty() { "" } else { "/" };
            for entry in self.folder.entries(&format!("repositories{separator}{name}"))? {
                if kinds.contains(&entry.name.as_str()) {
                    names.insert(name.clone());
                }
                let nested = format!("{name}{separator}{}", entry.name);
                if entry.is_folder && route::name(&nested).is_ok() {
                    open.push(nested);
                }
            }
        }
        Ok(names)
    }

    fn name_list(&self) -> Vec<String> {
        self.names.read().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn adding(&self) -> RwLockReadGuard<'_, ()> {
        self.content.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whether a repository exists.
    pub(super) fn knows(&self, name: &Repository) -> bool {
        self.names.read().unwrap_or_else(PoisonError::into_inner).contains(name.as_str())
    }

    fn must_know(&self, name: &Repository) -> Result<(), Refusal> {
        if self.knows(name) { Ok(()) } else { Err(Refusal::NameUnknown(name.to_string())) }
    }

    fn learn(&self, name: &Repository) {
        if !self.knows(name) {
            self.names.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_string());
        }
    }

    /// Returns the names of all repositories, sorted.
    pub(super) fn repositories(&self) -> Vec<String> {
        self.name_list()
    }

    // ── blobs ──

    /// Returns the size of a blob that the repository holds.
    pub(super) fn size(&self, name: &Repository, blob: Digest) -> Result<u64, Refusal> {
        if self.folder.size(&blob_record(name.as_str(), blob))?.is_none() {
            return Err(Refusal::BlobUnknown(blob));
        }
        self.folder.size(&content(blob))?.ok_or(Refusal::BlobUnknown(blob))
    }

    /// Makes verified bytes a blob of the repository.
    pub(super) fn commit(&self, name: &Repository, blob: Digest, arriving: Arriving, at: &str) -> Result<(), Refusal> {
        let _adding = self.adding();
        if self.folder.size(&content(blob))? == Some(arriving.length()) {
            self.folder.remove(at)?;
        } else {
            self.folder.settle(&arriving, &content(blob))?;
        }
        self.hold(name, blob)
    }

    fn hold(&self, name: &Repository, blob: Digest) -> Result<(), Refusal> {
        let record = blob_record(name.as_str(), blob);
        if self.folder.size(&record)?.is_none() {
            self.folder.write(&record, b"")?;
        }
        self.learn(name);
        Ok(())
    }

    /// Makes a blob of another repository one of this.
    pub(super) fn mount(&self, name: &Repository, blob: Digest, from: Option<&Repository>) -> Result<bool, Refusal> {
        let _adding = self.adding();
        let sources = match from {
            Some(from) => vec![from.to_string()],
            None => self.name_list(),
        };
        for source in sources {
            if self.folder.size(&blob_record(&source, blob))?.is_some() && self.folder.size(&content(blob))?.is_some() {
                self.hold(name, blob)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Forgets a blob in one repository.
    pub(super) fn delete_blob(&self, name: &Repository, blob: Digest) -> Result<(), Refusal> {
        let _removing = self.content.write().unwrap_or_else(PoisonError::into_inner);
        self.must_know(name)?;
        if !self.folder.remove(&blob_record(name.as_str(), blob))? {
            return Err(Refusal::BlobUnknown(blob));
        }
        self.remove_unheld(blob)
    }

    fn remove_unheld(&self, digest: Digest) -> Result<(), Refusal> {
        for name in self.name_list() {
            for record in [blob_record(&name, digest), manifest_record(&name, digest)] {
                if self.folder.size(&record)?.is_some() {
                    return Ok(());
                }
            }
        }
        self.folder.remove(&content(digest))?;
        Ok(())
    }

    // ── manifests ──

    /// Returns a manifest.
    pub(super) fn manifest(&self, name: &Repository, which: &Which) -> Result<Stored, Refusal> {
        self.must_know(name)?;
        let unknown = || Refusal::ManifestUnknown(which.to_string());
        let digest = match which {
            Which::Digest(digest) => *digest,
            Which::Tag(tag) => self.tagged(name, tag)?.ok_or_else(unknown)?,
        };
        let record = manifest_record(name.as_str(), digest);
        let media_type = self.folder.read(&record, MAX_RECORD)?.ok_or_else(unknown)?;
        let media_type = MediaType::new(&String::from_utf8_lossy(&media_type));
        let bytes = self.folder.read(&content(digest), MAX_RECORD)?.ok_or_else(unknown)?;
        Ok(Stored { descriptor: Descriptor::new(media_type, digest, bytes.len() as u64), bytes: bytes.into() })
    }

    fn tagged(&self, name: &Repository, tag: &Tag) -> Result<Option<Digest>, Refusal> {
        let record = tag_record(name.as_str(), tag.as_str());
        let Some(text) = self.folder.read(&record, MAX_RECORD)? else { return Ok(None) };
        match std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok()) {
            Some(digest) => Ok(Some(digest)),
            None => Err(Refusal::Damaged { record }),
        }
    }

    /// Stores a manifest: content, record, referrer, then tags.
    pub(super) fn put_manifest(&self, name: &Repository, pushed: &Pushed, policy: Policy) -> Result<(), Refusal> {
        let _adding = self.adding();
        self.check_children(name, pushed, policy)?;
        let _tags = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_tags(name, pushed, policy)?;
        let digest = pushed.digest;
        if self.folder.size(&content(digest))? != Some(pushed.bytes.len() as u64) {
            self.folder.write(&content(digest), &pushed.bytes)?;
        }
        self.learn(name);
        self.folder.write(&manifest_record(name.as_str(), digest), pushed.media_type.as_str().as_bytes())?;
        if let Some(subject) = &pushed.view.subject {
            let descriptor = Descriptor {
                artifact_type: pushed.view.artifact_type.clone(),
                annotations: pushed.view.annotations.clone(),
                ..Descriptor::new(pushed.media_type.as_str(), digest, pushed.bytes.len() as u64)
            };
            let record = referrer_record(name.as_str(), subject.digest, digest);
            self.folder.write(&record, serde_json::json!(descriptor).to_string().as_bytes())?;
        }
        for tag in &pushed.tags {
            self.folder.write(&tag_record(name.as_str(), tag.as_str()), digest.to_string().as_bytes())?;
        }
        Ok(())
    }

    fn check_children(&self, name: &Repository, pushed: &Pushed, policy: Policy) -> Result<(), Refusal> {
        let mut missing = Vec::new();
        match pushed.view.kind {
            ManifestKind::Index if policy.refuse_sparse => {
                for child in &pushed.view.manifests {
                    if self.folder.size(&manifest_record(name.as_str(), child.digest))?.is_none() {
                        missing.push(child.digest);
                    }
                }
            }
            ManifestKind::Image if policy.refuse_missing_blobs => {
                for child in pushed.view.children().iter().filter(|child| !child.media_type.is_foreign()) {
                    match self.size(name, child.digest) {
                        Ok(_) => {}
                        Err(Refusal::BlobUnknown(digest)) => missing.push(digest),
                        Err(other) => return Err(other),
                    }
                }
            }
            _ => {}
        }
        if missing.is_empty() { Ok(()) } else { Err(Refusal::ContentUnknown(missing)) }
    }

    fn check_tags(&self, name: &Repository, pushed: &Pushed, policy: Policy) -> Result<(), Refusal> {
        for (position, tag) in pushed.tags.iter().enumerate() {
            let now = self.tagged(name, tag)?;
            if policy.immutable_tags && now.is_some_and(|now| now != pushed.digest) {
                return Err(Refusal::Immutable(tag.clone()));
            }
            if let (0, Some(expected)) = (position, &pushed.expected)
                && !now.is_some_and(|now| expected.is_empty() || expected.contains(&now))
            {
                return Err(Refusal::Changed);
            }
        }
        Ok(())
    }

    /// Forgets a tag, or a manifest with its tags.
    pub(super) fn delete_manifest(&self, name: &Repository, which: &Which) -> Result<(), Refusal> {
        let _removing = self.content.write().unwrap_or_else(PoisonError::into_inner);
        let _tags = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
        self.must_know(name)?;
        let digest = match which {
            Which::Tag(tag) => {
                return match self.folder.remove(&tag_record(name.as_str(), tag.as_str()))? {
                    true => Ok(()),
                    false => Err(Refusal::ManifestUnknown(which.to_string())),
                };
            }
            Which::Digest(digest) => *digest,
        };
        let stored = self.manifest(name, which)?;
        for tag in self.tags(name)? {
            let Ok(tag) = route::tag(&tag) else { continue };
            if self.tagged(name, &tag)? == Some(digest) {
                self.folder.remove(&tag_record(name.as_str(), tag.as_str()))?;
            }
        }
        let view = crate::oci::Manifest::parse(Some(&stored.descriptor.media_type), &stored.bytes);
        if let Ok(Some(subject)) = view.map(|view| view.subject) {
            self.folder.remove(&referrer_record(name.as_str(), subject.digest, digest))?;
        }
        self.folder.remove(&manifest_record(name.as_str(), digest))?;
        self.remove_unheld(digest)
    }

    /// Returns the tags of a repository, sorted.
    pub(super) fn tags(&self, name: &Repository) -> Result<Vec<String>, Refusal> {
        self.must_know(name)?;
        let entries = self.folder.entries(&format!("repositories/{name}/_tags"))?;
        Ok(entries.into_iter().map(|entry| entry.name).collect())
    }

    /// Returns the referrers of a manifest, sorted by digest.
    pub(super) fn referrers(&self, name: &Repository, subject: Digest) -> Result<Vec<Descriptor>, Refusal> {
        let folder = referrers_folder(name.as_str(), subject);
        let mut found = Vec::new();
        for entry in self.folder.entries(&folder)? {
            let record = format!("{folder}/{}", entry.name);
            // Gone since it was listed: no longer a referrer.
            let Some(text) = self.folder.read(&record, MAX_RECORD)? else { continue };
            found.push(serde_json::from_slice(&text).map_err(|_| Refusal::Damaged { record })?);
        }
        Ok(found)
    }

    // ── upkeep ──

    /// Drops uploads that nobody continues.
    pub(super) fn drop_stale_uploads(&self) -> Result<(), FolderError> {
        for name in self.find_names(&["_uploads"])? {
            for entry in self.folder.entries(&format!("repositories/{name}/_uploads"))? {
                let at = upload(&name, &entry.name);
                if self.folder.age(&at)?.is_some_and(|age| age > STALE) {
                    self.folder.remove(&at)?;
                }
            }
        }
        Ok(())
    }

    /// Removes content that no record names: what a crash between two steps leaves behind.
    fn sweep(&self) -> Result<(), FolderError> {
        let mut held = HashSet::new();
        for name in self.name_list() {
            for kind in ["_blobs", "_manifests"] {
                let folder = format!("repositories/{name}/{kind}");
                for algorithm in self.folder.entries(&folder)? {
                    for entry in self.folder.entries(&format!("{folder}/{}", algorithm.name))? {
                        held.insert(format!("{}:{}", algorithm.name, entry.name));
                    }
                }
            }
        }
        for algorithm in self.folder.entries("blobs")? {
            for fan in self.folder.entries(&format!("blobs/{}", algorithm.name))? {
                let folder = format!("blobs/{}/{}", algorithm.name, fan.name);
                for entry in self.folder.entries(&folder)? {
                    if !held.contains(&format!("{}:{}", algorithm.name, entry.name)) {
                        self.folder.remove(&format!("{folder}/{}", entry.name))?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Tells where content is.
pub(super) fn content(digest: Digest) -> String {
    let hex = digest.hex();
    format!("blobs/{}/{}/{hex}", digest.algorithm().name(), &hex[..2])
}

/// Tells where the bytes of an upload are.
pub(super) fn upload(name: &str, id: &str) -> String {
    format!("repositories/{name}/_uploads/{id}")
}

fn blob_record(name: &str, digest: Digest) -> String {
    format!("repositories/{name}/_blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

fn manifest_record(name: &str, digest: Digest) -> String {
    format!("repositories/{name}/_manifests/{}/{}", digest.algorithm().name(), digest.hex())
}

fn tag_record(name: &str, tag: &str) -> String {
    format!("repositories/{name}/_tags/{tag}")
}

fn referrers_folder(name: &str, subject: Digest) -> String {
    format!("repositories/{name}/_referrers/{}/{}", subject.algorithm().name(), subject.hex())
}

fn referrer_record(name: &str, subject: Digest, referrer: Digest) -> String {
    format!("{}/{}-{}", referrers_folder(name, subject), referrer.algorithm().name(), referrer.hex())
}

/// Opens the bytes of a blob.
pub(super) fn stream(
    records: &Records,
    blob: Digest,
    from: u64,
    to: u64,
) -> Result<futures_util::stream::BoxStream<'static, Result<Bytes, FolderError>>, Refusal> {
    records.folder.stream(&content(blob), from, to)?.ok_or(Refusal::BlobUnknown(blob))
}
