//! Views of raw manifest bytes: what kind of document it is and which content it names.

use indexmap::IndexMap;
use serde::Deserialize;

use super::{Descriptor, Digest, DigestError, MediaType, Platform, media_type};

/// Annotation names that this project reads or writes.
pub mod annotation {
    /// The reference of an entry in an image layout's `index.json` (image specification, "Pre-Defined Annotation Keys").
    pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
    /// What containerd and Docker read as the full name of an entry.
    pub const CONTAINERD_NAME: &str = "io.containerd.image.name";
    /// When content was made, RFC 3339.
    pub const CREATED: &str = "org.opencontainers.image.created";
    /// BuildKit: which image an attestation manifest in the same index speaks of.
    pub const ATTESTED_DIGEST: &str = "vnd.docker.reference.digest";
    /// BuildKit: what an entry of an index is, when it is no image.
    pub const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
}

/// Tells what a manifest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ManifestKind {
    /// Names other manifests.
    Index,
    /// Names a configuration and layers; images and artifacts alike.
    Image,
}

/// Shows what raw manifest bytes say; never written back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Index or image.
    pub kind: ManifestKind,
    /// The media type, from the document, else from where it was announced.
    pub media_type: MediaType,
    /// The entries of an index; empty for an image.
    pub manifests: Vec<Descriptor>,
    /// The configuration of an image.
    pub config: Option<Descriptor>,
    /// The layers of an image, or the blobs of an artifact.
    pub layers: Vec<Descriptor>,
    /// The manifest that this one refers to.
    pub subject: Option<Descriptor>,
    /// The artifact type as registries determine it: the document's own, else the config's media type (distribution
    /// specification, "Listing Referrers").
    pub artifact_type: Option<String>,
    /// Annotations of the whole.
    pub annotations: IndexMap<String, String>,
}

/// Says why bytes are not a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The document is larger than a manifest may be.
    #[error("a manifest of {0} bytes is over the limit of {limit} bytes", limit = Manifest::MAX_BYTES)]
    TooLarge(usize),
    /// Not JSON, or fields of the wrong type.
    #[error("not a manifest: {0}")]
    Json(String),
    /// Docker schema 1, which names no sizes and cannot be carried by digest.
    #[error(
        "a Docker schema 1 manifest: no registry of today accepts it; rebuild or re-push the image with a current tool"
    )]
    Schema1,
    /// The document can be read both as an index and as an image (GHSA-5j5w-g665-5m35).
    #[error("the document has both `manifests` and `layers` or `config`: it could be read in two ways")]
    Ambiguous,
    /// The media type in the document is not the announced one.
    #[error("the document says it is {document}, but was announced as {announced}")]
    TypeMismatch {
        /// What the document says.
        document: MediaType,
        /// What the registry or the descriptor says.
        announced: MediaType,
    },
    /// The media type is none that this view understands.
    #[error("{0} is no manifest type that this version understands")]
    UnknownType(MediaType),
    /// A digest in the document breaks a rule.
    #[error("in {field}: {cause}")]
    Digest {
        /// Which field.
        field: &'static str,
        /// Which rule.
        cause: DigestError,
    },
    /// The same digest is named with two sizes.
    #[error("{0} is named with two different sizes")]
    TwoSizes(Digest),
    /// The document has no media type and nothing announced one.
    #[error("the document does not say what it is")]
    NoType,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    media_type: Option<String>,
    digest: String,
    size: u64,
    platform: Option<Platform>,
    artifact_type: Option<String>,
    #[serde(default)]
    annotations: Option<IndexMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawManifest {
    schema_version: Option<i64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    manifests: Option<Vec<RawDescriptor>>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
    blobs: Option<Vec<RawDescriptor>>,
    subject: Option<RawDescriptor>,
    #[serde(default)]
    annotations: Option<IndexMap<String, String>>,
}

impl Manifest {
    /// The largest manifest that is read, in bytes. Registries must accept 4 MiB (distribution specification, "Pushing
    /// Manifests"); twice that leaves room for those that accept more.
    pub const MAX_BYTES: usize = 8 << 20;

    /// Reads raw bytes. `announced` is the media type from a descriptor or a `Content-Type`; generic types
    /// (`application/json`, `text/plain`, `application/octet-stream`) announce nothing.
    ///
    /// # Errors
    /// Everything that makes the document unusable or ambiguous; see [`ManifestError`].
    pub fn parse(announced: Option<&MediaType>, bytes: &[u8]) -> Result<Manifest, ManifestError> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(ManifestError::TooLarge(bytes.len()));
        }
        let announced = announced.filter(|announced| {
            !matches!(announced.as_str(), "" | "application/json" | "text/plain" | "application/octet-stream")
        });
        if let Some(announced) = announced
            && matches!(announced.as_str(), media_type::DOCKER_SCHEMA1 | media_type::DOCKER_SCHEMA1_SIGNED)
        {
            return Err(ManifestError::Schema1);
        }
        let raw: RawManifest = serde_json::from_slice(bytes).map_err(|error| ManifestError::Json(error.to_string()))?;
        if raw.schema_version == Some(1) {
            return Err(ManifestError::Schema1);
        }
        let image_like = raw.config.is_some() || raw.layers.is_some() || raw.blobs.is_some();
        if raw.manifests.is_some() && image_like {
            return Err(ManifestError::Ambiguous);
        }
        let document = raw.media_type.as_deref().map(MediaType::new);
        if let (Some(document), Some(announced)) = (&document, announced)
            && document != announced
        {
            return Err(ManifestError::TypeMismatch { document: document.clone(), announced: announced.clone() });
        }
        let media_type = match document.or_else(|| announced.cloned()) {
            Some(media_type) => media_type,
            // `mediaType` is optional in OCI documents (image specification, "Image Manifest"): the fields tell.
            None if raw.manifests.is_some() => media_type::INDEX.into(),
            None if image_like => media_type::MANIFEST.into(),
            None => return Err(ManifestError::NoType),
        };
        let kind = if media_type.is_index() {
            ManifestKind::Index
        } else if media_type.is_image() || media_type.as_str() == ARTIFACT_MANIFEST {
            ManifestKind::Image
        } else {
            return Err(ManifestError::UnknownType(media_type));
        };
        if (kind == ManifestKind::Index && image_like) || (kind == ManifestKind::Image && raw.manifests.is_some()) {
            return Err(ManifestError::Ambiguous);
        }
        let list = |field, raw: Option<Vec<RawDescriptor>>| {
            raw.unwrap_or_default().into_iter().map(|one| descriptor(field, one)).collect::<Result<Vec<_>, _>>()
        };
        let manifests = list("manifests", raw.manifests)?;
        let mut layers = list("layers", raw.layers)?;
        layers.extend(list("blobs", raw.blobs)?);
        let config = raw.config.map(|one| descriptor("config", one)).transpose()?;
        let subject = raw.subject.map(|one| descriptor("subject", one)).transpose()?;
        let mut sizes = std::collections::HashMap::new();
        for one in manifests.iter().chain(&layers).chain(&config) {
            if *sizes.entry(one.digest).or_insert(one.size) != one.size {
                return Err(ManifestError::TwoSizes(one.digest));
            }
        }
        let artifact_type = raw
            .artifact_type
            .filter(|own| !own.is_empty())
            .or_else(|| config.as_ref().map(|config| config.media_type.as_str().to_owned()));
        let annotations = raw.annotations.unwrap_or_default();
        Ok(Manifest { kind, media_type, manifests, config, layers, subject, artifact_type, annotations })
    }

    /// Returns everything that must be there before this manifest is: entries of an index, config and layers of an
    /// image; each digest once, in document order. The subject is not a child: it may be pushed before or after.
    pub fn children(&self) -> Vec<Descriptor> {
        let mut seen = std::collections::HashSet::new();
        self.manifests
            .iter()
            .chain(&self.config)
            .chain(&self.layers)
            .filter(|child| seen.insert(child.digest))
            .cloned()
            .collect()
    }
}

/// The artifact manifest of a release candidate of the image specification; registries still hold some.
const ARTIFACT_MANIFEST: &str = "application/vnd.oci.artifact.manifest.v1+json";

fn descriptor(field: &'static str, raw: RawDescriptor) -> Result<Descriptor, ManifestError> {
    Ok(Descriptor {
        media_type: MediaType::new(raw.media_type.as_deref().unwrap_or("application/octet-stream")),
        digest: raw.digest.parse().map_err(|cause| ManifestError::Digest { field, cause })?,
        size: raw.size,
        platform: raw.platform,
        artifact_type: raw.artifact_type,
        annotations: raw.annotations.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn parse(value: serde_json::Value) -> Result<Manifest, ManifestError> {
        Manifest::parse(None, value.to_string().as_bytes())
    }

    fn entry(n: u64) -> serde_json::Value {
        json!({"mediaType": media_type::MANIFEST, "digest": Digest::sha256(&n.to_be_bytes()).to_string(), "size": n})
    }

    #[test]
    fn names_every_child_once() {
        let manifest =
            parse(json!({"schemaVersion": 2, "config": entry(1), "layers": [entry(2), entry(2), entry(3)]})).unwrap();
        assert_eq!(manifest.kind, ManifestKind::Image);
        assert_eq!(manifest.children().iter().map(|child| child.size).collect::<Vec<_>>(), [1, 2, 3]);
        let index = parse(json!({"schemaVersion": 2, "manifests": [entry(4)]})).unwrap();
        assert_eq!((index.kind, index.media_type.as_str()), (ManifestKind::Index, media_type::INDEX));
    }

    #[test]
    fn refuses_what_can_be_read_in_two_ways() {
        assert_eq!(parse(json!({"manifests": [], "layers": []})), Err(ManifestError::Ambiguous));
        assert_eq!(parse(json!({"mediaType": media_type::INDEX, "layers": []})), Err(ManifestError::Ambiguous));
        let announced: MediaType = media_type::INDEX.into();
        let bytes = json!({"mediaType": media_type::MANIFEST, "layers": []}).to_string();
        assert!(matches!(Manifest::parse(Some(&announced), bytes.as_bytes()), Err(ManifestError::TypeMismatch { .. })));
        // The same key twice.
        assert!(Manifest::parse(None, br#"{"layers":[],"layers":[]}"#).is_err());
    }

    #[test]
    fn refuses_old_and_broken_documents() {
        assert_eq!(parse(json!({"schemaVersion": 1, "fsLayers": []})), Err(ManifestError::Schema1));
        assert!(matches!(
            parse(json!({"layers": [{"digest": "sha256:../../x", "size": 1}]})),
            Err(ManifestError::Digest { .. })
        ));
        assert!(parse(json!({"layers": [{"digest": Digest::sha256(b"").to_string(), "size": -1}]})).is_err());
        let mut lie = entry(1);
        lie["size"] = json!(2);
        assert!(matches!(parse(json!({"layers": [entry(1), lie]})), Err(ManifestError::TwoSizes(_))));
        assert_eq!(parse(json!({})), Err(ManifestError::NoType));
    }

    #[test]
    fn a_generic_content_type_announces_nothing() {
        let bytes = json!({"mediaType": media_type::DOCKER_LIST, "manifests": []}).to_string();
        let manifest = Manifest::parse(Some(&"application/json; charset=utf-8".into()), bytes.as_bytes()).unwrap();
        assert_eq!(manifest.media_type.as_str(), media_type::DOCKER_LIST);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..120) {
            let _ = Manifest::parse(None, &bytes);
            let good = json!({"schemaVersion": 2, "config": entry(1), "layers": [entry(2)]}).to_string();
            let mut mutated = good.into_bytes();
            for (slot, byte) in mutated.iter_mut().skip(cut).zip(&bytes) { *slot ^= byte; }
            let _ = Manifest::parse(None, &mutated);
        }
    }
}
