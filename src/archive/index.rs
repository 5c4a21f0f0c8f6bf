//! `oci-layout` and `index.json`: what stock tools read. Both follow from the inventory, so a reader compares.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{CHARTS, inventory::Inventory};
use crate::oci::{Digest, MediaType, annotation, media_type};

/// The content of `oci-layout` (image layout specification, "oci-layout file").
pub(super) const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// Returns the bytes of `index.json`: every image once under each of its names, every chart, and every
/// attachment.
///
/// A name is the full reference. A reference with both tag and digest is also listed without the digest, unless
/// another image has that name: people ask for `nginx:1.27`, however it was pinned.
pub(super) fn index_json(inventory: &Inventory) -> Bytes {
    let mut names: BTreeMap<String, Digest> = BTreeMap::new();
    for image in &inventory.images {
        for reference in &image.references {
            names.insert(reference.to_string(), image.digest);
        }
    }
    let mut short: BTreeMap<String, Vec<Digest>> = BTreeMap::new();
    for image in &inventory.images {
        for reference in &image.references {
            if let (Some(tag), Some(_)) = (&reference.tag, &reference.digest) {
                short.entry(format!("{}:{tag}", reference.name())).or_default().push(image.digest);
            }
        }
    }
    for (name, mut digests) in short {
        digests.dedup();
        if let [only] = digests[..] {
            names.entry(name).or_insert(only);
        }
    }
    let mut manifests = Vec::new();
    for image in &inventory.images {
        for (name, _) in names.iter().filter(|(_, digest)| **digest == image.digest) {
            manifests.push(descriptor(&image.media_type, &image.digest, image.size, None, Some(name)));
        }
    }
    for chart in &inventory.charts {
        // Image names start with a host, and `charts` is none: no image has this name.
        manifests.push(descriptor(&chart.media_type, &chart.digest, chart.size, None, Some(&chart.place())));
    }
    let of_images = inventory.images.iter().map(|image| {
        let mut repositories: Vec<String> = image.references.iter().map(|one| one.name()).collect();
        repositories.dedup();
        (&image.attachments, repositories)
    });
    let of_charts = inventory.charts.iter().map(|chart| (&chart.attachments, vec![format!("{CHARTS}/{}", chart.name)]));
    let mut listed = std::collections::HashSet::new();
    for (attachments, repositories) in of_images.chain(of_charts) {
        for attachment in attachments {
            let kind = attachment.artifact_type.as_deref();
            let mut named = false;
            if let Some(tag) = &attachment.tag {
                for repository in &repositories {
                    let name = format!("{repository}:{tag}");
                    if names.contains_key(&name) {
                        continue;
                    }
                    named = true;
                    if listed.insert((attachment.digest, Some(name.clone()))) {
                        let (media_type, digest) = (&attachment.media_type, &attachment.digest);
                        manifests.push(descriptor(media_type, digest, attachment.size, kind, Some(&name)));
                    }
                }
            }
            if !named && listed.insert((attachment.digest, None)) {
                manifests.push(descriptor(&attachment.media_type, &attachment.digest, attachment.size, kind, None));
            }
        }
    }
    let index = json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": manifests});
    index.to_string().into()
}

fn descriptor(
    media_type: &MediaType,
    digest: &Digest,
    size: u64,
    artifact_type: Option<&str>,
    name: Option<&str>,
) -> Value {
    let mut entry = Map::new();
    entry.insert("mediaType".into(), media_type.as_str().into());
    entry.insert("digest".into(), digest.to_string().into());
    entry.insert("size".into(), size.into());
    if let Some(artifact_type) = artifact_type {
        entry.insert("artifactType".into(), artifact_type.into());
    }
    if let Some(name) = name {
        // containers/image and oras look for the first, containerd and Docker for the second.
        entry.insert("annotations".into(), json!({annotation::REF_NAME: name, annotation::CONTAINERD_NAME: name}));
    }
    Value::Object(entry)
}
