//! Descriptors and media types.

use std::fmt;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{Digest, Platform};

/// Names the type of content; compared as written, as registries do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MediaType(String);

/// The media types that this project gives a meaning to.
pub mod media_type {
    /// OCI image index.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// OCI image manifest.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// OCI image configuration.
    pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// OCI uncompressed layer.
    pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// OCI gzip layer.
    pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// OCI zstd layer.
    pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// The empty descriptor's type.
    pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
    /// Docker manifest list.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker image manifest, schema 2.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker schema 1, refused everywhere.
    pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
    /// Docker schema 1 with its own signature, refused everywhere.
    pub const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    /// A layer that is fetched from its own address; must not be pushed.
    pub const DOCKER_FOREIGN_LAYER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    /// Sigstore bundle.
    pub const SIGSTORE_BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
    /// Cosign's simple signing payload.
    pub const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
}

impl MediaType {
    /// Takes a media type without its parameters (`; charset=…`), trimmed.
    pub fn new(text: &str) -> Self {
        MediaType(text.split(';').next().unwrap_or_default().trim().to_owned())
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Tells whether this is an index (OCI) or a manifest list (Docker).
    pub fn is_index(&self) -> bool {
        matches!(self.as_str(), media_type::INDEX | media_type::DOCKER_LIST)
    }

    /// Tells whether this is an image manifest (OCI or Docker schema 2).
    pub fn is_image(&self) -> bool {
        matches!(self.as_str(), media_type::MANIFEST | media_type::DOCKER_MANIFEST)
    }

    /// Tells whether content of this type lives under a registry's `/manifests/`.
    pub fn is_manifest(&self) -> bool {
        self.is_index() || self.is_image()
    }

    /// Tells whether content of this type is fetched from its own address and not held by registries.
    pub fn is_foreign(&self) -> bool {
        self.as_str() == media_type::DOCKER_FOREIGN_LAYER || self.as_str().contains(".layer.nondistributable.")
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for MediaType {
    fn from(text: &str) -> Self {
        MediaType::new(text)
    }
}

/// Names content with its type, digest and size (image specification, "Content Descriptors"). Fields that have no
/// meaning here are not kept: descriptors are read from raw manifests and never written back into them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The type of the content.
    pub media_type: MediaType,
    /// The digest of the content.
    pub digest: Digest,
    /// The size of the content in bytes.
    pub size: u64,
    /// The platform, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The type of the artifact that a manifest describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Annotations in their own order.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub annotations: IndexMap<String, String>,
}

impl Descriptor {
    /// Makes a descriptor without platform and annotations.
    pub fn new(media_type: impl Into<MediaType>, digest: Digest, size: u64) -> Self {
        Descriptor {
            media_type: media_type.into(),
            digest,
            size,
            platform: None,
            artifact_type: None,
            annotations: IndexMap::new(),
        }
    }

    /// Describes bytes in memory by their SHA-256.
    pub fn of(media_type: impl Into<MediaType>, bytes: &[u8]) -> Self {
        Descriptor::new(media_type, Digest::sha256(bytes), bytes.len() as u64)
    }
}
