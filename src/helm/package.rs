//! A chart as it travels: its archive, and the OCI artifact that helm makes of it.
//!
//! ```text
//!  manifest ─┬─ config      application/vnd.cncf.helm.config.v1+json            what Chart.yaml says, as JSON
//!            ├─ layer       application/vnd.cncf.helm.chart.content.v1.tar+gzip the .tgz, byte for byte
//!            └─ layer       application/vnd.cncf.helm.chart.provenance.v1.prov  the .prov, when there is one
//! ```
//!
//! # Invariants
//! - The artifact follows from the archive and the provenance file alone (no time of making), so the same chart has the same
//!   digest wherever it is packed; one that was pulled from a registry keeps its own manifest.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::metadata::{Import, Metadata};
use crate::{
    oci::{Descriptor, Digest, Tag, media_type},
    yaml,
};

/// The type of what `Chart.yaml` says (Helm, "Helm OCI MediaTypes").
pub const CONFIG: &str = "application/vnd.cncf.helm.config.v1+json";
/// The type of the archive.
pub const CONTENT: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
/// The type that helm 3.0 gave to archives.
pub const LEGACY_CONTENT: &str = "application/tar+gzip";
/// The type of the provenance file.
pub const PROVENANCE: &str = "application/vnd.cncf.helm.chart.provenance.v1.prov";

/// A chart, packed.
#[derive(Clone, Debug)]
pub struct Package {
    /// What its `Chart.yaml` says.
    pub metadata: Metadata,
    /// The `.tgz`.
    pub archive: Bytes,
    /// The `.tgz.prov`.
    pub provenance: Option<Bytes>,
    /// The root manifest of the artifact.
    pub manifest: (Descriptor, Bytes),
    /// Everything that the manifest names: the configuration, then the layers.
    pub blobs: Vec<(Descriptor, Bytes)>,
}

impl Package {
    /// Makes the artifact of a chart, as `helm push` does, but without the time.
    pub fn new(metadata: Metadata, archive: Bytes, provenance: Option<Bytes>) -> Package {
        let config = Bytes::from(metadata.to_json().to_string());
        let mut blobs =
            vec![(Descriptor::of(CONFIG, &config), config), (Descriptor::of(CONTENT, &archive), archive.clone())];
        if let Some(provenance) = &provenance {
            blobs.push((Descriptor::of(PROVENANCE, provenance), provenance.clone()));
        }
        let mut annotations = Map::new();
        let mut annotate = |key: &str, value: &str| {
            if !value.is_empty() {
                annotations.insert(format!("org.opencontainers.image.{key}"), value.into());
            }
        };
        // Image specification, "Pre-Defined Annotation Keys"; those that helm sets.
        annotate("title", &metadata.name);
        annotate("version", &metadata.version);
        annotate("description", &metadata.description);
        annotate("url", &metadata.home);
        annotate("source", metadata.sources.first().map_or("", String::as_str));
        let layers: Vec<&Descriptor> = blobs.iter().skip(1).map(|(descriptor, _)| descriptor).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": blobs[0].0, "layers": layers, "annotations": annotations,
        });
        let bytes = Bytes::from(manifest.to_string());
        Package {
            metadata,
            archive,
            provenance,
            manifest: (Descriptor::of(media_type::MANIFEST, &bytes), bytes),
            blobs,
        }
    }

    /// Takes an artifact as a registry holds it: its own manifest, and every blob that the manifest names. `None` when there
    /// is no archive among the blobs.
    pub fn pulled(
        metadata: Metadata,
        manifest: (Descriptor, Bytes),
        blobs: Vec<(Descriptor, Bytes)>,
    ) -> Option<Package> {
        let of = |types: &[&str]| {
            let found = blobs.iter().find(|(descriptor, _)| types.contains(&descriptor.media_type.as_str()));
            found.map(|(_, bytes)| bytes.clone())
        };
        let archive = of(&[CONTENT, LEGACY_CONTENT])?;
        let provenance = of(&[PROVENANCE]);
        Some(Package { metadata, archive, provenance, manifest, blobs })
    }

    /// Returns the digest of the artifact.
    pub fn digest(&self) -> Digest {
        self.manifest.0.digest
    }

    /// Returns the tag under which helm looks for the version; `None` when the version cannot be one.
    pub fn tag(&self) -> Option<Tag> {
        tag(&self.metadata.version)
    }
}

/// Returns the tag of a version: tags cannot hold `+`, and helm writes `_` instead.
pub fn tag(version: &str) -> Option<Tag> {
    version.replace('+', "_").parse().ok()
}

impl Metadata {
    /// Reads the configuration of an artifact; `None` when it describes no chart that helm would accept.
    pub fn from_json(text: &str) -> Option<Metadata> {
        let documents = yaml::documents(text, &yaml::Options::lenient()).ok()?;
        let mut metadata = Metadata::default();
        metadata.read(documents.first()?).ok()?;
        metadata.validate().ok()?;
        Some(metadata)
    }

    /// Returns what helm writes as the configuration of the artifact: the fields of `Chart.yaml` that are not empty.
    pub fn to_json(&self) -> Value {
        let mut out = Map::new();
        let mut text = |key: &str, value: &str| {
            if !value.is_empty() {
                out.insert(key.to_owned(), value.into());
            }
        };
        text("name", &self.name);
        text("home", &self.home);
        text("version", &self.version);
        text("description", &self.description);
        text("icon", &self.icon);
        text("apiVersion", &self.api_version);
        text("condition", &self.condition);
        text("tags", &self.tags);
        text("appVersion", &self.app_version);
        text("kubeVersion", &self.kube_version);
        text("type", &self.kind);
        let mut list = |key: &str, value: Value| {
            if value.as_array().is_some_and(|items| !items.is_empty()) {
                out.insert(key.to_owned(), value);
            }
        };
        list("sources", json!(self.sources));
        list("keywords", json!(self.keywords));
        let people = self
            .maintainers
            .iter()
            .map(|person| without_empty(json!({"name": person.name, "email": person.email, "url": person.url})));
        list("maintainers", people.collect());
        let dependencies = self.dependencies.iter().map(|wanted| {
            let imports: Vec<Value> = wanted.imports.iter().filter_map(import).collect();
            without_empty(json!({
                "name": wanted.name, "version": wanted.version, "repository": wanted.repository, "condition": wanted.condition,
                "tags": wanted.tags, "import-values": imports, "alias": wanted.alias,
            }))
        });
        list("dependencies", dependencies.collect());
        if self.deprecated {
            out.insert("deprecated".to_owned(), true.into());
        }
        if !self.annotations.is_empty() {
            let annotations: Map<String, Value> =
                self.annotations.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
            out.insert("annotations".to_owned(), annotations.into());
        }
        Value::Object(out)
    }
}

fn import(import: &Import) -> Option<Value> {
    match import {
        Import::Export(name) => Some(name.as_str().into()),
        Import::Pair { child, parent } => Some(json!({"child": child, "parent": parent})),
        Import::Other => None,
    }
}

fn without_empty(value: Value) -> Value {
    let Value::Object(map) = value else { return value };
    let holds = |value: &Value| match value {
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    };
    Value::Object(map.into_iter().filter(|(_, value)| holds(value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Manifest;

    #[test]
    fn the_same_chart_is_the_same_artifact() {
        let metadata = Metadata {
            name: "shop".into(),
            version: "1.0.0+build.1".into(),
            api_version: "v2".into(),
            ..Metadata::default()
        };
        let packed = Package::new(metadata.clone(), Bytes::from_static(b"tgz"), Some(Bytes::from_static(b"prov")));
        let again = Package::new(metadata, Bytes::from_static(b"tgz"), Some(Bytes::from_static(b"prov")));
        assert_eq!(packed.digest(), again.digest());
        assert_eq!(packed.tag().unwrap().as_str(), "1.0.0_build.1");
        let view = Manifest::parse(None, &packed.manifest.1).unwrap();
        assert_eq!(view.config.unwrap().media_type.as_str(), CONFIG);
        assert_eq!(view.layers.len(), 2);
        let config: Value = serde_json::from_slice(&packed.blobs[0].1).unwrap();
        assert_eq!(Metadata::from_json(&config.to_string()).unwrap().to_json(), config);
        assert!(Metadata::from_json("{}").is_none() && Metadata::from_json("[").is_none());
        assert_eq!(config, json!({"name": "shop", "version": "1.0.0+build.1", "apiVersion": "v2"}));
    }
}
