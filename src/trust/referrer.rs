//! The newer form of image signatures: a manifest that refers to the image and holds a sigstore bundle.
//!
//! # Invariants
//! - The bytes depend on the bundle, the subject and the given time only, so loading twice pushes the same.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::statement::PREDICATE_TYPE;
use crate::oci::{Descriptor, annotation, media_type};

/// The annotation by which clients tell the two kinds of bundles apart without reading them.
const CONTENT: &str = "dev.sigstore.bundle.content";
/// The annotation by which clients find the purpose of a bundle without reading it.
const PREDICATE: &str = "dev.sigstore.bundle.predicateType";

/// Holds a manifest that refers to an image, and its blobs; push the blobs first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleReferrer {
    /// The manifest, to put by digest. Its descriptor has `artifactType` and annotations, as a referrers list needs them.
    pub manifest: (Descriptor, Bytes),
    /// The empty config and the bundle.
    pub blobs: [(Descriptor, Bytes); 2],
}

/// Makes the manifest that attaches a bundle of a signed statement to one of the images that it covers. `created` is an
/// RFC 3339 time; stock verifiers accept its absence.
pub fn bundle_referrer(subject: &Descriptor, bundle: &Bytes, created: Option<&str>) -> BundleReferrer {
    // Image specification, "Guidance for an empty descriptor".
    let empty = Bytes::from_static(b"{}");
    let config = Descriptor::of(media_type::EMPTY, &empty);
    let layer = Descriptor::of(media_type::SIGSTORE_BUNDLE, bundle);
    // A subject is named by type, digest and size alone; a platform or a name would make another manifest of it.
    let subject = Descriptor::new(subject.media_type.clone(), subject.digest, subject.size);
    let mut annotations = Map::new();
    if let Some(created) = created {
        annotations.insert(annotation::CREATED.to_owned(), created.into());
    }
    annotations.insert(CONTENT.to_owned(), "dsse-envelope".into());
    annotations.insert(PREDICATE.to_owned(), PREDICATE_TYPE.into());
    let manifest: Bytes = json!({
        "schemaVersion": 2,
        "mediaType": media_type::MANIFEST,
        "artifactType": media_type::SIGSTORE_BUNDLE,
        "config": config,
        "layers": [layer],
        "subject": subject,
        "annotations": annotations,
    })
    .to_string()
    .into();
    let mut descriptor = Descriptor::of(media_type::MANIFEST, &manifest);
    descriptor.artifact_type = Some(media_type::SIGSTORE_BUNDLE.to_owned());
    descriptor.annotations = annotations
        .into_iter()
        .filter_map(|(name, value)| match value {
            Value::String(value) => Some((name, value)),
            _ => None,
        })
        .collect();
    BundleReferrer { manifest: (descriptor, manifest), blobs: [(config, empty), (layer, bundle.clone())] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Manifest;

    #[test]
    fn refers_to_the_image_and_holds_the_bundle() {
        let mut subject = Descriptor::of(media_type::INDEX, b"index");
        subject.annotations.insert("a".to_owned(), "b".to_owned());
        let bundle = Bytes::from_static(b"{\"mediaType\":\"x\"}");
        let made = bundle_referrer(&subject, &bundle, Some("1970-01-01T00:00:00Z"));
        let read = Manifest::parse(None, &made.manifest.1).unwrap();
        assert_eq!(read.subject, Some(Descriptor::of(media_type::INDEX, b"index")));
        assert_eq!(read.artifact_type.as_deref(), Some(media_type::SIGSTORE_BUNDLE));
        assert_eq!(read.children(), made.blobs.iter().map(|(blob, _)| blob.clone()).collect::<Vec<_>>());
        assert_eq!(read.annotations, made.manifest.0.annotations);
        for (descriptor, bytes) in &made.blobs {
            assert_eq!(*descriptor, Descriptor::of(descriptor.media_type.clone(), bytes));
        }
        assert_ne!(made, bundle_referrer(&subject, &bundle, None));
    }
}
