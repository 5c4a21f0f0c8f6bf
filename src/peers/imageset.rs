//! Image sets of oc-mirror (`mirror.openshift.io`, v1alpha2 and v2alpha1).
//!
//! Platform releases and operator catalogs name images only indirectly, through content that oc-mirror downloads; they
//! have no counterpart here and are named as such.

use super::{Chart, Peer, Reader, Tool, What, chart_of_address, items, platform, text};
use crate::yaml::Node;

/// Returns why a key has no counterpart.
fn why(key: &str) -> Option<&'static str> {
    Some(match key {
        "platform" => "releases of OpenShift are mirrored with oc-mirror itself",
        "operators" => "a catalog names its images only inside: list the ones you need, or mirror it with oc-mirror",
        "samples" => "oc-mirror does not carry them either",
        "storageConfig" => "a bundle keeps no state beside its archives",
        "archiveSize" => "archives are split when they are made",
        "imagepaths" | "imagePaths" => {
            "images are found by rendering; fields of custom resources go under discovery.rules"
        }
        "targetRepo" | "targetTag" | "targetName" => "images keep their names; `load` says where they go",
        _ => return None,
    })
}

/// Reads an image set.
pub(super) fn read(mut reader: Reader<'_>, document: &Node) -> Peer {
    let mut platforms = Vec::new();
    let name = document.at_path(["metadata", "name"]).and_then(Node::text).map(str::to_owned);
    if let Some(mirror) = document.get("mirror") {
        for (at, node) in items(mirror, "additionalImages").iter().enumerate() {
            let label = format!("mirror.additionalImages[{at}]");
            match text(node, "name") {
                Some(written) => {
                    let plain = written.strip_prefix("docker://").unwrap_or(&written).to_owned();
                    reader.image(label.clone(), node, &plain);
                    reader.rest(&label, node, &["name"], &why);
                }
                None => reader.other(label, node, "an image without `name`", "nothing says which"),
            }
        }
        if let Some(helm) = mirror.get("helm") {
            for key in ["repositories", "repos"] {
                for (at, repository) in items(helm, key).iter().enumerate() {
                    let url = text(repository, "url").unwrap_or_default();
                    for (within, chart) in items(repository, "charts").iter().enumerate() {
                        let label = format!("mirror.helm.{key}[{at}].charts[{within}]");
                        self::chart(&mut reader, &label, chart, &url);
                    }
                    reader.rest(&format!("mirror.helm.{key}[{at}]"), repository, &["name", "url", "charts"], &why);
                }
            }
            for (at, chart) in items(helm, "local").iter().enumerate() {
                self::chart(&mut reader, &format!("mirror.helm.local[{at}]"), chart, "");
            }
            reader.rest("mirror.helm", helm, &["repositories", "repos", "local"], &why);
        }
        for (at, node) in items(mirror, "blockedImages").iter().enumerate() {
            if let Some(name) = text(node, "name").or_else(|| node.text().map(str::to_owned)) {
                reader.add(format!("mirror.blockedImages[{at}]"), node, What::Blocked(name));
            }
        }
        platform_and_operators(&mut reader, mirror, &mut platforms);
        let known = ["additionalImages", "helm", "blockedImages", "platform", "operators"];
        reader.rest("mirror", mirror, &known, &why);
    }
    reader.rest("", document, &["apiVersion", "kind", "metadata", "mirror"], &why);
    Peer { name, platforms, ..reader.finish(Tool::ImageSet) }
}

fn platform_and_operators(reader: &mut Reader<'_>, mirror: &Node, platforms: &mut Vec<String>) {
    if let Some(node) = mirror.get("platform").filter(|node| node.as_map().is_some_and(|map| !map.is_empty())) {
        let channels = items(node, "channels");
        for (at, channel) in channels.iter().enumerate() {
            let mut what = format!("the releases of {}", text(channel, "name").unwrap_or_default());
            if let (Some(from), Some(to)) = (text(channel, "minVersion"), text(channel, "maxVersion")) {
                what.push_str(&format!(" from {from} to {to}"));
            }
            reader.other(format!("mirror.platform.channels[{at}]"), channel, what, why("platform").unwrap_or_default());
        }
        for architecture in items(node, "architectures").iter().filter_map(Node::text) {
            if architecture != "multi" {
                platform(platforms, architecture);
            }
        }
        reader.rest("mirror.platform", node, &["channels", "architectures"], &|_| why("platform"));
    }
    for (at, operator) in items(mirror, "operators").iter().enumerate() {
        let catalog = text(operator, "catalog").unwrap_or_default();
        let packages: Vec<String> =
            items(operator, "packages").iter().filter_map(|package| text(package, "name")).collect();
        let what = match packages.as_slice() {
            [] => format!("the operators of {catalog}"),
            some => format!("the operators {} of {catalog}", some.join(", ")),
        };
        reader.other(format!("mirror.operators[{at}]"), operator, what, why("operators").unwrap_or_default());
    }
}

fn chart(reader: &mut Reader<'_>, label: &str, node: &Node, repository: &str) {
    let name = text(node, "name").unwrap_or_default();
    let mut found = Chart { name: name.clone(), version: text(node, "version"), ..Chart::default() };
    match text(node, "path") {
        Some(path) => {
            found.is_path = true;
            found.source = path;
            found.version = None;
        }
        None if repository.is_empty() => {
            reader.other(label, node, format!("the chart {name}"), "nothing says where it comes from");
            return;
        }
        None if repository.starts_with("oci://") => {
            let repository = repository.trim_end_matches('/');
            let is_chart = chart_of_address(repository) == name;
            found.source = if is_chart { repository.to_owned() } else { format!("{repository}/{name}") };
        }
        None => found.source = repository.to_owned(),
    }
    for (key, value) in node.get("values").and_then(Node::as_map).unwrap_or_default() {
        if let (Some(key), Ok(value)) = (key.key(), value.to_json()) {
            found.set.push((key.replace('.', "\\."), value));
        }
    }
    reader.add(label, node, What::Chart(found));
    reader.rest(label, node, &["name", "version", "path", "values"], &why);
}
