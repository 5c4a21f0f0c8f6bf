//! What a registry stands on: the [`Backend`] trait, and the [`Policy`] that a registry follows.

use std::future::Future;

use bytes::Bytes;

use crate::{
    oci::{Algorithm, Descriptor, Digest, Host, Manifest, MediaType, Repository, Tag},
    store::Reader,
};

use super::{arrival::Arrival, refusal::Refusal, route::Which};

/// Says what a registry accepts. The default is a liberal registry of today; the other settings are what registries in
/// the field do, so that clients can be tested against them.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Refuse an index whose manifests are not all there, as distribution 2.8, Nexus and Gitea do.
    pub refuse_sparse: bool,
    /// Refuse an image whose config or layers are not all there. Layers that live elsewhere are never asked for.
    pub refuse_missing_blobs: bool,
    /// Refuse to move a tag to another digest.
    pub immutable_tags: bool,
    /// Allow deletes.
    pub delete: bool,
    /// Offer the referrers API; without it, clients must use the tag schema.
    pub referrers: bool,
    /// Mount blobs from other repositories.
    pub mount: bool,
    /// Take a blob in a single `POST`.
    pub single_post: bool,
    /// Send absolute locations, built from the `Host` header, instead of relative ones.
    pub absolute_locations: bool,
    /// The largest manifest in bytes.
    pub max_manifest: usize,
    /// The most names in one page of tags or repositories, and the most descriptors in one page of referrers.
    pub page: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            refuse_sparse: false,
            refuse_missing_blobs: true,
            immutable_tags: false,
            delete: true,
            referrers: true,
            mount: true,
            single_post: true,
            absolute_locations: false,
            // Distribution specification, "Pushing Manifests": at least 4 megabytes should be supported.
            max_manifest: 4 << 20,
            page: 1000,
        }
    }
}

/// Holds a manifest as it was pushed.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its media type, digest and size.
    pub descriptor: Descriptor,
    /// Its bytes.
    pub bytes: Bytes,
}

/// Holds a manifest that a client pushes; its bytes hash to `digest`.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// The bytes.
    pub bytes: Bytes,
    /// Their digest.
    pub digest: Digest,
    /// The media type that is given back with it.
    pub media_type: MediaType,
    /// What the bytes say.
    pub view: Manifest,
    /// The tags that shall name it.
    pub tags: Vec<Tag>,
    /// Put it only when the first tag names one of these now (`If-Match`); an empty list means anything that exists.
    pub expected: Option<Vec<Digest>>,
}

const READ_ONLY: &str = "this registry is read-only";

fn read_only<T: Send>() -> impl Future<Output = Result<T, Refusal>> + Send {
    std::future::ready(Err(Refusal::Unsupported(READ_ONLY)))
}

/// Holds the content of a registry. The reading half is required; a backend that implements only that is read-only.
#[allow(unused_variables, reason = "the provided methods refuse whatever they are given")]
pub trait Backend: Send + Sync + 'static {
    /// Tells under which name a request for `name` is answered. `origin` is the host of the registry that the client
    /// believes to talk to, when it uses this one as a mirror.
    fn locate(&self, name: Repository, origin: Option<&Host>) -> Repository;

    /// Returns the names of all repositories, sorted.
    fn repositories(&self) -> impl Future<Output = Result<Vec<String>, Refusal>> + Send;

    /// Returns the tags of a repository, sorted.
    fn tags(&self, name: &Repository) -> impl Future<Output = Result<Vec<String>, Refusal>> + Send;

    /// Returns a manifest.
    fn manifest(&self, name: &Repository, which: &Which) -> impl Future<Output = Result<Stored, Refusal>> + Send;

    /// Returns the manifests whose subject is `subject`, sorted by digest; empty when there are none.
    fn referrers(
        &self,
        name: &Repository,
        subject: Digest,
    ) -> impl Future<Output = Result<Vec<Descriptor>, Refusal>> + Send;

    /// Returns the size of a blob.
    fn size(&self, name: &Repository, blob: Digest) -> impl Future<Output = Result<u64, Refusal>> + Send;

    /// Opens a blob from offset `from` up to `to` (exclusive). A full read that ends without error is verified.
    fn open(
        &self,
        name: &Repository,
        blob: Digest,
        from: u64,
        to: u64,
    ) -> impl Future<Output = Result<Reader, Refusal>> + Send;

    /// Tells whether anything can be written.
    fn is_writable(&self) -> bool {
        false
    }

    /// Stores a manifest and moves its tags.
    fn put_manifest(
        &self,
        name: &Repository,
        pushed: Pushed,
        policy: Policy,
    ) -> impl Future<Output = Result<(), Refusal>> + Send {
        read_only()
    }

    /// Forgets a tag, or a manifest and every tag that names it.
    fn delete_manifest(&self, name: &Repository, which: &Which) -> impl Future<Output = Result<(), Refusal>> + Send {
        read_only()
    }

    /// Forgets a blob in one repository.
    fn delete_blob(&self, name: &Repository, blob: Digest) -> impl Future<Output = Result<(), Refusal>> + Send {
        read_only()
    }

    /// Makes a blob of another repository one of this, from `from` or from wherever it is; `false` when it is nowhere.
    fn mount(
        &self,
        name: &Repository,
        blob: Digest,
        from: Option<&Repository>,
    ) -> impl Future<Output = Result<bool, Refusal>> + Send {
        read_only()
    }

    /// Starts an upload and returns its id.
    fn begin(&self, name: &Repository, algorithm: Algorithm) -> impl Future<Output = Result<String, Refusal>> + Send {
        read_only()
    }

    /// Returns how many bytes an upload holds.
    fn progress(&self, name: &Repository, id: &str) -> impl Future<Output = Result<u64, Refusal>> + Send {
        read_only()
    }

    /// Appends to an upload and returns how many bytes it then holds. With `start`, the upload must hold that many
    /// before. What came before a body broke off is kept.
    fn append(
        &self,
        name: &Repository,
        id: &str,
        start: Option<u64>,
        body: Arrival,
    ) -> impl Future<Output = Result<u64, Refusal>> + Send {
        read_only()
    }

    /// Appends the last bytes and makes the upload a blob when it hashes to `digest`; drops the upload when it does
    /// not. A body that broke off leaves the upload as it was before, so that the request can be made again.
    fn finish(
        &self,
        name: &Repository,
        id: &str,
        digest: Digest,
        start: Option<u64>,
        body: Arrival,
    ) -> impl Future<Output = Result<(), Refusal>> + Send {
        read_only()
    }

    /// Drops an upload.
    fn cancel(&self, name: &Repository, id: &str) -> impl Future<Output = Result<(), Refusal>> + Send {
        read_only()
    }
}
