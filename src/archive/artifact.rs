//! Files as OCI artifacts: one artifact for each `files` entry of the spec, a layer for each file, so that stock `oras`
//! pulls them from any registry.
//!
//! # Invariants
//! - The manifest follows from the inventory alone, so an archive that is served and one that is loaded show the same.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::json;

use super::inventory::{Inventory, Role};
use crate::oci::{Descriptor, Tag, media_type};

/// The type of such artifacts.
const ARTIFACT_TYPE: &str = "application/vnd.airgap-bundler.files.v1";
/// The type of one file.
const FILE_TYPE: &str = "application/vnd.airgap-bundler.file.v1";
/// The annotation that tells the name of a file (image specification, "Pre-Defined Annotation Keys").
const TITLE: &str = "org.opencontainers.image.title";
/// The annotation that tells the version (image specification, "Pre-Defined Annotation Keys").
const VERSION: &str = "org.opencontainers.image.version";

/// An artifact that holds files: its manifest, and what the manifest needs.
#[derive(Clone, Debug)]
pub struct FileArtifact {
    /// The manifest.
    pub manifest: (Descriptor, Bytes),
    /// The empty configuration.
    pub config: (Descriptor, Bytes),
    /// The files, which are blobs of the archive.
    pub files: Vec<Descriptor>,
}

impl FileArtifact {
    /// Returns the size of all files in bytes.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).fold(0, u64::saturating_add)
    }
}

impl Inventory {
    /// Returns the artifacts of the files by name: the first component of each file's path.
    pub fn file_artifacts(&self) -> BTreeMap<String, FileArtifact> {
        let mut sets: BTreeMap<&str, Vec<(&str, Descriptor)>> = BTreeMap::new();
        for file in self.files.iter().filter(|file| file.role == Role::File) {
            let path = file.path.as_str();
            let (name, title) = path.split_once('/').unwrap_or((path, path));
            sets.entry(name).or_default().push((title, Descriptor::new(FILE_TYPE, file.digest, file.size)));
        }
        sets.into_iter().map(|(name, members)| (name.to_owned(), self.artifact(name, members))).collect()
    }

    fn artifact(&self, name: &str, members: Vec<(&str, Descriptor)>) -> FileArtifact {
        // Image specification, "Guidance for an empty descriptor".
        let empty = Bytes::from_static(b"{}");
        let config = Descriptor::of(media_type::EMPTY, &empty);
        let layers: Vec<Descriptor> = members
            .iter()
            .map(|(title, file)| {
                let mut layer = file.clone();
                layer.annotations.insert(TITLE.to_owned(), (*title).to_owned());
                layer
            })
            .collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type::MANIFEST, "artifactType": ARTIFACT_TYPE, "config": config,
            "layers": layers, "annotations": {TITLE: name, VERSION: self.version},
        });
        let bytes = Bytes::from(manifest.to_string());
        let manifest = (Descriptor::of(media_type::MANIFEST, &bytes), bytes);
        let files = members.into_iter().map(|(_, file)| file).collect();
        FileArtifact { manifest, config: (config, empty), files }
    }

    /// Returns the version as the tag of these artifacts: what no tag can hold becomes `_`, as Helm does with `+`.
    pub fn version_tag(&self) -> Tag {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let text: String = self.version.chars().map(|c| if allowed(c) { c } else { '_' }).take(128).collect();
        // A version starts with a letter or digit, so this never happens.
        text.parse().unwrap_or_else(|_| Tag::latest())
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        archive::{Draft, Plan, PlannedFile, Role},
        oci::{Digest, Manifest},
    };
    use bytes::Bytes;

    #[test]
    fn files_of_one_entry_become_one_artifact() {
        let file = |path: &str, role| PlannedFile {
            path: path.parse().unwrap(),
            digest: Digest::sha256(path.as_bytes()),
            size: path.len() as u64,
            role,
            content: Some(Bytes::copy_from_slice(path.as_bytes())),
            because: serde_json::json!([]),
        };
        let draft = Draft::new(Plan {
            name: "n".into(),
            version: "1.0+build".into(),
            files: vec![
                file("dash/b/x.json", Role::File),
                file("dash/a.json", Role::File),
                file("single.bin", Role::File),
                file("manifests/a.yaml", Role::Kubernetes),
            ],
            ..Plan::default()
        })
        .unwrap();
        let artifacts = draft.inventory().file_artifacts();
        assert_eq!(artifacts.keys().collect::<Vec<_>>(), ["dash", "single.bin"]);
        let view = Manifest::parse(None, &artifacts["dash"].manifest.1).unwrap();
        let titles: Vec<_> = view.layers.iter().map(|layer| layer.annotations[super::TITLE].as_str()).collect();
        assert_eq!(titles, ["a.json", "b/x.json"]);
        assert_eq!(view.artifact_type.as_deref(), Some(super::ARTIFACT_TYPE));
        assert_eq!(artifacts["dash"].size(), 11 + 13);
        assert_eq!(draft.inventory().version_tag().as_str(), "1.0_build");
    }
}
