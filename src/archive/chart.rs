//! Charts in an archive: what `bundle.json` says of them, and how they get there.
//!
//! A chart travels as helm's own OCI artifact, its `.tgz` byte for byte. It has no name that the world agrees on, so
//! `index.json` and the enclave call it `charts/NAME:VERSION`.
//!
//! # Invariants
//! - A chart can be pushed: its name is one component of a repository name and its version can be a tag.
//! - No two charts want the same place, and no two are the same artifact.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{
    Error,
    inventory::{Attachment, Role},
    plan::{Entries, PlannedAttachment},
};
use crate::{
    helm::{Package, package},
    oci::{Digest, MediaType, Reference, Tag},
    store::Graph,
};

/// The folder of charts: in `index.json`, in registries, and in a Helm repository over HTTP.
pub const CHARTS: &str = "charts";

/// Stands for the registry of a chart in signatures, which must name one. Nobody can own it (RFC 6761, section 6.4), so no
/// image can be taken for a chart.
const NOWHERE: &str = "charts.invalid";

/// A Helm chart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Chart {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The version of the application that it installs, when it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_version: Option<String>,
    /// The digest of the manifest of its artifact.
    pub digest: Digest,
    /// The type of this manifest.
    pub media_type: MediaType,
    /// The size of this manifest.
    pub size: u64,
    /// The digest of its archive, the `.tgz`.
    pub archive: Digest,
    /// The size of its archive.
    pub archive_size: u64,
    /// Where it comes from.
    pub source: String,
    /// The charts that were put into it because it needs them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vendored: Vec<Vendored>,
    /// Signatures, attestations and other artifacts that belong to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// Why it is here, as the lock says.
    pub because: serde_json::Value,
}

/// A chart that was fetched and put into another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vendored {
    /// Where it was put: the names of the charts that hold it and its own, such as `shop/redis`.
    pub path: String,
    /// Its version.
    pub version: String,
    /// The digest of its archive.
    pub archive: Digest,
    /// Where it comes from.
    pub source: String,
}

impl Chart {
    /// Returns the tag under which helm looks for it; `None` when its version cannot be one.
    pub fn tag(&self) -> Option<Tag> {
        package::tag(&self.version)
    }

    /// Returns its name in `index.json`: `charts/NAME:VERSION`.
    pub fn place(&self) -> String {
        format!("{CHARTS}/{}:{}", self.name, self.version.replace('+', "_"))
    }

    /// Returns the name under which it is signed; `None` when it can have no place in a registry.
    pub(super) fn signed_name(&self) -> Option<Reference> {
        signed_name(&self.name, &self.version)
    }
}

fn signed_name(name: &str, version: &str) -> Option<Reference> {
    let tag = package::tag(version)?;
    // A slash would make it another chart's folder; a digest or a tag in the name would be taken for its own.
    let plain = !name.contains(['/', ':', '@']);
    format!("{NOWHERE}/{name}:{tag}").parse().ok().filter(|_| plain)
}

/// Checks what follows from the inventory alone. `blobs` holds the digests and sizes of all entries.
pub(super) fn check(charts: &[Chart], blobs: &HashSet<(Digest, u64)>) -> Result<(), String> {
    let mut roots = HashSet::new();
    let mut places = HashSet::new();
    let mut before: Option<(&str, &str)> = None;
    for chart in charts {
        let name = format!("the chart {} {}", chart.name, chart.version);
        if chart.signed_name().is_none() {
            return Err(format!("{name} can have no place in a registry"));
        }
        let order = (chart.name.as_str(), chart.version.as_str());
        if before.is_some_and(|before| before >= order) {
            return Err(format!("{name} is out of order"));
        }
        before = Some(order);
        if !roots.insert(chart.digest) || !places.insert(chart.place()) {
            return Err(format!("{name} or its place occurs twice"));
        }
        if !blobs.contains(&(chart.digest, chart.size)) || !blobs.contains(&(chart.archive, chart.archive_size)) {
            return Err(format!("there is no entry for {name}"));
        }
        let lost = chart.attachments.iter().find(|one| !blobs.contains(&(one.digest, one.size)));
        if let Some(attachment) = lost {
            return Err(format!("there is no entry for the attachment {}", attachment.digest));
        }
    }
    Ok(())
}

/// A chart of a plan.
#[derive(Debug)]
pub struct PlannedChart<'a> {
    /// The chart; everything of it is at hand.
    pub package: &'a Package,
    /// The walked graph that holds its manifest.
    pub graph: &'a Graph,
    /// Where it comes from.
    pub source: String,
    /// What was put into it.
    pub vendored: Vec<Vendored>,
    /// What speaks of it.
    pub attachments: Vec<PlannedAttachment<'a>>,
    /// Why it is here.
    pub because: serde_json::Value,
}

/// Sorts the charts of a plan and refuses those that cannot travel together.
pub(super) fn arrange(charts: &mut [PlannedChart<'_>]) -> Result<(), Error> {
    let order = |chart: &PlannedChart<'_>| {
        let metadata = &chart.package.metadata;
        (metadata.name.clone(), metadata.version.clone())
    };
    charts.sort_by_key(order);
    let mut places = HashMap::new();
    for chart in charts {
        let (name, version) = order(chart);
        let Some(place) = signed_name(&name, &version) else { return Err(Error::ChartName { name, version }) };
        if places.insert(place.to_string(), ()).is_some() {
            return Err(Error::DuplicateChart { name, version });
        }
        chart.attachments.sort_by(|a, b| (a.subject, &a.tag, a.root).cmp(&(b.subject, &b.tag, b.root)));
        chart.attachments.dedup_by(|a, b| (a.subject, &a.tag, a.root) == (b.subject, &b.tag, b.root));
    }
    Ok(())
}

/// Adds the content of a chart to the entries and returns what the inventory says of it.
pub(super) fn describe(entries: &mut Entries, position: u32, chart: PlannedChart<'_>) -> Result<Chart, Error> {
    let package = chart.package;
    let (root, _) = &package.manifest;
    let not_a_chart = || Error::NotAChart {
        name: package.metadata.name.clone(),
        version: package.metadata.version.clone(),
        digest: root.digest,
    };
    let archive = Digest::sha256(&package.archive);
    let nodes =
        entries.add_graph(chart.graph, root.digest, Needs::Chart(position), |node, within| match &node.manifest {
            Some(_) => Role::Manifest,
            None if node.descriptor.digest == archive => Role::Chart,
            None => within.get(&node.descriptor.digest).copied().unwrap_or(Role::Layer),
        })?;
    let manifest = nodes.last().and_then(|node| node.manifest.as_ref()).map(|(_, manifest)| manifest);
    let config = manifest.and_then(|manifest| manifest.config.as_ref());
    if config.is_none_or(|config| config.media_type.as_str() != package::CONFIG) {
        return Err(not_a_chart());
    }
    // Whoever names its archive by another algorithm than the lock could not be compared with it.
    let layer = manifest.and_then(|manifest| manifest.layers.iter().find(|layer| layer.digest == archive));
    let Some(layer) = layer else { return Err(not_a_chart()) };
    for (blob, bytes) in &package.blobs {
        entries.held.content.set(blob.digest, bytes.clone());
    }
    if let Some(lost) = nodes.iter().find(|node| entries.held.content.get(&node.descriptor.digest).is_none()) {
        return Err(Error::NotWalked(lost.descriptor.digest));
    }
    let mut attachments = Vec::with_capacity(chart.attachments.len());
    for attachment in chart.attachments {
        attachments.push(entries.add_attachment(attachment, Needs::Chart(position))?);
    }
    let metadata = &package.metadata;
    Ok(Chart {
        name: metadata.name.clone(),
        version: metadata.version.clone(),
        app_version: Some(metadata.app_version.clone()).filter(|version| !version.is_empty()),
        digest: root.digest,
        media_type: root.media_type.clone(),
        size: root.size,
        archive,
        archive_size: layer.size,
        source: chart.source,
        vendored: chart.vendored,
        attachments,
        because: chart.because,
    })
}

/// Says what needs an entry: the image or the chart at a position.
#[derive(Clone, Copy, Debug)]
pub(super) enum Needs {
    /// An image.
    Image(u32),
    /// A chart.
    Chart(u32),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Repository;
    use proptest::prelude::*;

    #[test]
    fn only_what_a_registry_takes_has_a_place() {
        for (name, version) in [("shop", "1.0.0"), ("a.b_c--d", "v1.0.0-rc.1+build.5"), ("0", "0")] {
            assert!(signed_name(name, version).is_some(), "{name} {version}");
        }
        let long = "1".repeat(129);
        for (name, version) in [
            ("Shop", "1.0.0"),
            ("a/b", "1.0.0"),
            ("", "1.0.0"),
            ("..", "1.0.0"),
            ("a:1", "1.0.0"),
            ("a@b", "1.0.0"),
            ("shop", ""),
            ("shop", "1 0"),
            ("shop", "1/0"),
            ("shop", &long),
            (&"a".repeat(300), "1.0.0"),
        ] {
            assert!(signed_name(name, version).is_none(), "{name} {version}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_place_is_one_component_and_a_tag(name in "[a-zA-Z0-9._/:@+-]{0,8}", version in "[a-zA-Z0-9._/:@+ -]{0,8}") {
            if let Some(signed) = signed_name(&name, &version) {
                let place: Result<Repository, _> = format!("{CHARTS}/{name}").parse();
                prop_assert_eq!(place.unwrap().as_str().split('/').count(), 2);
                prop_assert_eq!(signed.repository.as_str(), name.as_str());
                prop_assert_eq!(signed.tag, package::tag(&version));
                prop_assert!(signed.digest.is_none());
            }
        }
    }
}
