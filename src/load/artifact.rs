//! Files as OCI artifacts: one artifact for each `files` entry of the spec, a layer for each file, unpacked by `oras pull`.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::json;

use crate::{
    archive::{Inventory, Role},
    oci::{Descriptor, media_type},
};

/// The type of such artifacts.
const ARTIFACT_TYPE: &str = "application/vnd.airgap-bundler.files.v1";
/// The type of one file.
const FILE_TYPE: &str = "application/vnd.airgap-bundler.file.v1";
/// The annotation that tells the name of a file (image specification, "Pre-Defined Annotation Keys").
const TITLE: &str = "org.opencontainers.image.title";

/// An artifact: its manifest and the blobs that it needs.
#[derive(Clone, Debug)]
pub(super) struct Artifact {
    pub manifest: (Descriptor, Bytes),
    pub config: (Descriptor, Bytes),
    /// The files, in the archive.
    pub files: Vec<Descriptor>,
}

impl Artifact {
    /// Returns the size of all files in bytes.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
}

/// Returns the artifacts of an inventory by name: the first component of each file's path.
pub(super) fn of_files(inventory: &Inventory) -> BTreeMap<String, Artifact> {
    let mut sets: BTreeMap<String, Vec<(String, Descriptor)>> = BTreeMap::new();
    for file in inventory.files.iter().filter(|file| file.role == Role::File) {
        let path = file.path.as_str();
        let (name, title) = path.split_once('/').unwrap_or((path, path));
        sets.entry(name.to_owned())
            .or_default()
            .push((title.to_owned(), Descriptor::new(FILE_TYPE, file.digest, file.size)));
    }
    sets.into_iter()
        .map(|(name, members)| {
            let empty = Bytes::from_static(b"{}");
            let config = Descriptor::of(media_type::EMPTY, &empty);
            let layers: Vec<_> = members
                .iter()
                .map(|(title, file)| {
                    let mut layer = file.clone();
                    layer.annotations.insert(TITLE.to_owned(), title.clone());
                    layer
                })
                .collect();
            let manifest = json!({
                "schemaVersion": 2, "mediaType": media_type::MANIFEST, "artifactType": ARTIFACT_TYPE, "config": config,
                "layers": layers,
                "annotations": {TITLE: name, "org.opencontainers.image.version": inventory.version},
            });
            let bytes = Bytes::from(manifest.to_string());
            let manifest = (Descriptor::of(media_type::MANIFEST, &bytes), bytes);
            let files = members.into_iter().map(|(_, file)| file).collect();
            (name, Artifact { manifest, config: (config, empty), files })
        })
        .collect()
}
