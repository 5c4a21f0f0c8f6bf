//! Zarf packages (`zarf.yaml`, API `zarf.dev/v1alpha1`).
//!
//! What zarf decides when a package is deployed (variables, actions, data injections) has no counterpart: manifests stay
//! what they are, and the enclave deploys them by its own means.

use super::{Chart, Peer, Reader, Source, Tool, What, chart_of_address, items, platform, text};
use crate::{oci::Digest, yaml::Node};

const DEPLOY: &str = "it happens when zarf deploys; a bundle carries, and leaves deploying to helm, kubectl or GitOps";

/// Returns why a key has no counterpart.
fn why(key: &str) -> Option<&'static str> {
    Some(match key {
        "variables" | "constants" => "values that zarf puts in when it deploys; write them into values files",
        "actions" | "scripts" | "healthChecks" | "dataInjections" => DEPLOY,
        "repos" => "git repositories are not carried; carry what is rendered from them",
        "import" => "another package is meant; translate it as well, its items are not here",
        "only" => "a bundle carries everything that its spec names; write one spec for each choice",
        "noWait" | "schemaValidation" | "releaseName" | "template" | "templateValuesFiles" => DEPLOY,
        "executable" | "symlinks" | "extractPath" => "files travel as they are",
        "build" => "zarf wrote it",
        _ => return None,
    })
}

/// Reads a package.
pub(super) fn read(mut reader: Reader<'_>, document: &Node) -> Peer {
    let mut platforms = Vec::new();
    for (at, component) in items(document, "components").iter().enumerate() {
        let label = format!("components[{at}]");
        images(&mut reader, &label, component);
        for (at, chart) in items(component, "charts").iter().enumerate() {
            self::chart(&mut reader, &format!("{label}.charts[{at}]"), chart);
        }
        for (at, manifest) in items(component, "manifests").iter().enumerate() {
            manifests(&mut reader, &format!("{label}.manifests[{at}]"), manifest);
        }
        for (at, file) in items(component, "files").iter().enumerate() {
            self::file(&mut reader, &format!("{label}.files[{at}]"), file);
        }
        if let Some(architecture) = component.at_path(["only", "cluster", "architecture"]).and_then(Node::text) {
            platform(&mut platforms, architecture);
        }
        let known = [
            "name",
            "description",
            "default",
            "required",
            "group",
            "images",
            "imageTars",
            "imageArchives",
            "charts",
            "manifests",
            "files",
        ];
        reader.rest(&label, component, &known, &why);
    }
    let known = ["apiVersion", "kind", "metadata", "components"];
    reader.rest("", document, &known, &why);
    let metadata = document.get("metadata");
    if let Some(metadata) = metadata {
        // What else people write about a package is about people; a bundle has a description.
        let known = [
            "name",
            "version",
            "description",
            "architecture",
            "uncompressed",
            "url",
            "authors",
            "documentation",
            "source",
            "vendor",
            "image",
            "aggregateChecksum",
            "annotations",
        ];
        reader.rest("metadata", metadata, &known, &|_| None);
    }
    let said = |key: &str| metadata.and_then(|node| text(node, key));
    if let Some(architecture) = said("architecture") {
        platforms.clear();
        platform(&mut platforms, &architecture);
    }
    let (name, version, description) = (said("name"), said("version"), said("description"));
    Peer { name, version, description, platforms, ..reader.finish(Tool::Zarf) }
}

fn images(reader: &mut Reader<'_>, label: &str, component: &Node) {
    for (at, node) in items(component, "images").iter().enumerate() {
        // The next version of the format writes `{name: …}`.
        let written = node.text().map(str::to_owned).or_else(|| text(node, "name"));
        let label = format!("{label}.images[{at}]");
        match written {
            Some(written) => {
                reader.image(label, node, &written);
            }
            None => reader.other(label, node, node.kind_name(), "it is no image reference"),
        }
    }
    for key in ["imageTars", "imageArchives"] {
        for (at, archive) in items(component, key).iter().enumerate() {
            let path = text(archive, "path");
            for (within, node) in items(archive, "images").iter().enumerate() {
                let label = format!("{label}.{key}[{at}].images[{within}]");
                if let Some(image) = reader.image(label, node, node.text().unwrap_or_default()) {
                    image.archive.clone_from(&path);
                }
            }
        }
    }
}

fn chart(reader: &mut Reader<'_>, label: &str, node: &Node) {
    let name = text(node, "name").unwrap_or_default();
    let mut found = Chart {
        name: text(node, "repoName").unwrap_or_else(|| name.clone()),
        version: text(node, "version"),
        namespace: text(node, "namespace"),
        values: Vec::new(),
        ..Chart::default()
    };
    for (at, file) in items(node, "valuesFiles").iter().enumerate() {
        match file.text() {
            Some(path) if !path.contains("://") => found.values.push(path.to_owned()),
            Some(address) => {
                let what = format!("the values file {address}");
                reader.other(
                    format!("{label}.valuesFiles[{at}]"),
                    file,
                    what,
                    "values files lie beside the spec: download it",
                );
            }
            None => {}
        }
    }
    match (text(node, "localPath"), text(node, "url")) {
        (Some(path), _) => {
            found.is_path = true;
            found.source = path;
        }
        (None, Some(url)) => address(&mut found, &url, text(node, "gitPath").as_deref()),
        (None, None) => {
            reader.other(label, node, format!("the chart {name}"), "it says neither `url` nor `localPath`");
            return;
        }
    }
    reader.add(label, node, What::Chart(found));
    let known = [
        "name",
        "repoName",
        "version",
        "namespace",
        "valuesFiles",
        "localPath",
        "url",
        "gitPath",
        "releaseName",
        "noWait",
    ];
    reader.rest(label, node, &known, &|key| match key {
        "variables" | "values" => {
            Some("values that zarf puts in when it deploys; write them into values files or `set`")
        }
        key => why(key),
    });
}

/// Reads the address of a chart: a registry, a git repository (`….git`, `….git@REF`), or a Helm repository.
fn address(chart: &mut Chart, url: &str, folder: Option<&str>) {
    if url.starts_with("oci://") {
        chart.name = chart_of_address(url);
        chart.source = url.to_owned();
        return;
    }
    let (repository, reference) = match url.rsplit_once('@') {
        Some((repository, reference)) if repository.ends_with(".git") => (repository, Some(reference.to_owned())),
        _ => (url, None),
    };
    if !repository.ends_with(".git") && folder.is_none() {
        chart.source = url.to_owned();
        return;
    }
    let folder = folder.map(|folder| format!("//{}", folder.trim_matches('/'))).unwrap_or_default();
    let reference = reference.or_else(|| chart.version.take()).map(|at| format!("?ref={at}")).unwrap_or_default();
    chart.source = format!("git+{repository}{folder}{reference}");
    chart.version = None;
}

fn manifests(reader: &mut Reader<'_>, label: &str, node: &Node) {
    for (at, file) in items(node, "files").iter().enumerate() {
        let label = format!("{label}.files[{at}]");
        let Some(written) = file.text() else { continue };
        // An address may carry its digest: `https://…@<64 hex digits>`.
        let (place, digest) = match written.rsplit_once('@') {
            Some((place, hex)) if hex.len() == 64 => (place, format!("sha256:{hex}").parse::<Digest>().ok()),
            _ => (written, None),
        };
        reader.add(label, file, What::Manifest(Source::of(place, digest)));
    }
    for (at, folder) in items(node, "kustomizations").iter().enumerate() {
        let label = format!("{label}.kustomizations[{at}]");
        match folder.text() {
            Some(path) if !path.contains("://") && !path.starts_with("git@") && !path.starts_with("github.com/") => {
                reader.add(label, folder, What::Kustomize(path.to_owned()));
            }
            Some(address) => {
                let what = format!("the kustomization {address}");
                reader.other(label, folder, what, "it is remote: clone it, and name the folder");
            }
            None => {}
        }
    }
    let known = ["name", "namespace", "files", "kustomizations", "kustomizeAllowAnyDirectory", "noWait"];
    reader.rest(label, node, &known, &why);
}

fn file(reader: &mut Reader<'_>, label: &str, node: &Node) {
    let Some(written) = text(node, "source") else {
        reader.other(label, node, "a file without `source`", "nothing says where it comes from");
        return;
    };
    let digest = text(node, "shasum").and_then(|hex| format!("sha256:{hex}").parse::<Digest>().ok());
    let target = text(node, "target");
    let name =
        target.as_deref().map(|target| target.trim_matches('/').rsplit('/').next().unwrap_or_default().to_owned());
    reader.add(
        label,
        node,
        What::File { name: name.filter(|name| !name.is_empty()), source: Source::of(&written, digest) },
    );
    reader.rest(label, node, &["source", "shasum", "target"], &why);
}
