//! Charts, packed as helm packs them.

use airgap_bundler::{
    discover::Step,
    files,
    helm::{Package, metadata::Metadata},
    lock::{LockedChart, LockedDependency},
    oci::Digest,
    tree::Tree,
};
use bytes::Bytes;
use serde_json::Value;

/// Packs a chart; `files` are relative to its folder, and `description` is its `Chart.yaml` as JSON, which is YAML.
pub fn chart(description: &Value, files: &[(&str, &str)], provenance: Option<&str>) -> Package {
    let metadata = Metadata::from_json(&description.to_string()).expect("a chart that helm accepts");
    let folder = metadata.name.clone();
    let mut tree = Tree::default();
    let mut add = |path: &str, text: &str| {
        tree.insert(format!("{folder}/{path}").parse().unwrap(), Bytes::copy_from_slice(text.as_bytes()));
    };
    add("Chart.yaml", &description.to_string());
    for (path, text) in files {
        add(path, text);
    }
    let archive = files::gzip(&files::pack(&tree).unwrap()).unwrap();
    Package::new(metadata, archive.into(), provenance.map(|text| Bytes::copy_from_slice(text.as_bytes())))
}

/// Pins a chart.
pub fn locked(package: &Package, source: &str, vendored: &[(&str, &str)]) -> LockedChart {
    LockedChart {
        chart: package.metadata.name.clone(),
        version: package.metadata.version.clone(),
        digest: package.digest(),
        archive: Digest::sha256(&package.archive),
        size: package.archive.len() as u64,
        source: source.to_owned(),
        vendored: vendored
            .iter()
            .map(|(path, version)| LockedDependency {
                path: (*path).to_owned(),
                version: (*version).to_owned(),
                archive: Digest::sha256(path.as_bytes()),
                source: format!("https://charts.example.com/{version}.tgz"),
            })
            .collect(),
        because: vec![
            vec![Step::entry("charts[0]")],
            vec![Step::entry("charts[1]"), Step::Variant { variant: "variants[0]".into() }],
        ],
    }
}
