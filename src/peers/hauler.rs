//! Manifests of Hauler (`content.hauler.cattle.io` and `collection.hauler.cattle.io`, v1alpha1 and v1).

use super::{Chart, Peer, Reader, Source, Tool, What, chart_of_address, items, platform, text};
use crate::yaml::Node;

/// Annotations of a document that stand for every item in it.
const REGISTRY: &str = "hauler.dev/registry";
const PLATFORM: &str = "hauler.dev/platform";
const KEY: &str = "hauler.dev/key";

/// Tells whether an API version is one of Hauler's.
pub(super) fn is_group(api: &str) -> bool {
    api.split('/').next().is_some_and(|group| group == "hauler.cattle.io" || group.ends_with(".hauler.cattle.io"))
}

/// Returns why a key has no counterpart.
fn why(key: &str) -> Option<&'static str> {
    Some(match key {
        "rewrite" => "images and charts keep their names; `load` says where they go",
        "use-tlog-verify" => "signatures are checked with keys, without a log",
        key if key.starts_with("certificate-") => "signatures are checked with public keys; keyless ones are not",
        "add-images" | "add-dependencies" => "images and dependencies of charts are always carried",
        "exclude-extras" => "signatures and attestations are always carried",
        "platform" => "platforms are chosen for the whole bundle, under `platforms`",
        "verify" | "keyring" => "the lock pins charts by digest",
        "usernameEnv" | "passwordEnv" | "passCredentialsAll" => "logins are those of docker and helm",
        "certFile" | "keyFile" | "caFile" | "plainHTTP" | "insecureSkipTLSVerify" => {
            "how hosts are reached stands under `registries`"
        }
        _ => return None,
    })
}

/// Reads a manifest of several documents.
pub(super) fn read(mut reader: Reader<'_>, documents: &[&Node]) -> Peer {
    let mut platforms = Vec::new();
    let mut name = None;
    for (at, document) in documents.iter().enumerate() {
        let kind = text(document, "kind").unwrap_or_default();
        // The document and the list in it.
        let label = |list: &str, item: usize| format!("{kind}[{at}].{list}[{item}]");
        name = name.or_else(|| document.at_path(["metadata", "name"]).and_then(Node::text).map(str::to_owned));
        let annotations = document.at_path(["metadata", "annotations"]);
        let annotation = |key: &str| annotations.and_then(|node| text(node, key));
        if let Some(all) = annotation(PLATFORM) {
            platform(&mut platforms, &all);
        }
        if let Some(annotations) = annotations {
            let why = |key: &str| why(key.strip_prefix("hauler.dev/").unwrap_or(key));
            reader.rest("metadata.annotations", annotations, &[REGISTRY, PLATFORM, KEY], &why);
        }
        let Some(spec) = document.get("spec") else { continue };
        match kind.as_str() {
            "Images" => {
                for (item, node) in items(spec, "images").iter().enumerate() {
                    let (registry, key) = (annotation(REGISTRY), annotation(KEY));
                    if let Some(own) = image(&mut reader, label("images", item), node, registry, key) {
                        platform(&mut platforms, &own);
                    }
                }
            }
            "Charts" | "ThickCharts" => {
                for (item, node) in items(spec, "charts").iter().enumerate() {
                    let label = label("charts", item);
                    // A thick chart holds the chart one level down, and images that nothing else names.
                    chart(&mut reader, &label, node.get("chart").unwrap_or(node));
                    for (extra, node) in items(node, "extraImages").iter().enumerate() {
                        let written = node.text().map(str::to_owned).or_else(|| text(node, "ref"));
                        reader.image(format!("{label}.extraImages[{extra}]"), node, &written.unwrap_or_default());
                    }
                }
            }
            "Files" => {
                for (item, node) in items(spec, "files").iter().enumerate() {
                    let label = label("files", item);
                    // Its first version called the path `ref`.
                    match text(node, "path").or_else(|| text(node, "ref")) {
                        Some(path) => {
                            let what = What::File { name: text(node, "name"), source: Source::of(&path, None) };
                            reader.add(label, node, what);
                        }
                        None => reader.other(label, node, "a file without `path`", "nothing says where it comes from"),
                    }
                }
            }
            "Directories" => {
                for (item, node) in items(spec, "directories").iter().enumerate() {
                    if let Some(path) = text(node, "path") {
                        let what = What::File { name: text(node, "name"), source: Source::Path(path) };
                        reader.add(label("directories", item), node, what);
                    }
                }
            }
            "ImageTxts" => {
                for (item, node) in items(spec, "imageTxts").iter().enumerate() {
                    let what = format!("the list of images {}", text(node, "ref").unwrap_or_default());
                    reader.other(
                        label("imageTxts", item),
                        node,
                        what,
                        "it lies elsewhere: download it, and compare or list it here",
                    );
                }
            }
            _ => {
                let what = format!("a document of kind {kind:?}");
                reader.other(kind.clone(), document, what, "only Images, Charts, Files and their relatives are read");
                continue;
            }
        }
        let known = ["images", "charts", "files", "directories", "imageTxts"];
        reader.rest(&format!("{kind}[{at}].spec"), spec, &known, &why);
    }
    Peer { name, platforms, ..reader.finish(Tool::Hauler) }
}

/// Adds an image, and returns the platform that it is wanted for.
fn image(
    reader: &mut Reader<'_>,
    label: String,
    node: &Node,
    registry: Option<String>,
    key: Option<String>,
) -> Option<String> {
    // The first version called the name `ref`, and a text is what people write by mistake.
    let written = text(node, "name").or_else(|| text(node, "ref")).or_else(|| node.text().map(str::to_owned));
    let Some(mut written) = written else {
        reader.other(label, node, "an image without `name`", "nothing says which");
        return None;
    };
    if let Some(registry) = registry
        && !has_host(&written)
    {
        written = format!("{}/{written}", registry.trim_end_matches('/'));
    }
    let own = text(node, "key");
    if let Some(image) = reader.image(label.clone(), node, &written) {
        image.key = own.or(key);
    }
    reader.rest(&label, node, &["name", "ref", "key", "platform"], &why);
    text(node, "platform")
}

fn has_host(name: &str) -> bool {
    name.split_once('/').is_some_and(|(host, _)| host.contains(['.', ':']) || host == "localhost")
}

fn chart(reader: &mut Reader<'_>, label: &str, node: &Node) {
    let name = text(node, "name").unwrap_or_default();
    let repository = text(node, "repoURL").unwrap_or_default();
    let mut found = Chart { version: text(node, "version"), ..Chart::default() };
    let is_address = repository.contains("://");
    if !is_address {
        // A path, whole or below `repoURL`.
        let base = repository.trim_end_matches('/');
        found.source = if base.is_empty() || base == "." { name.clone() } else { format!("{base}/{name}") };
        found.is_path = true;
        found.version = None;
        let last = name.trim_end_matches('/').rsplit('/').next().unwrap_or(&name);
        found.name = last.trim_end_matches(".tgz").to_owned();
    } else if repository.starts_with("oci://") {
        let base = repository.trim_end_matches('/');
        found.source = if chart_of_address(base) == name { base.to_owned() } else { format!("{base}/{name}") };
        found.name = name.clone();
    } else {
        (found.source, found.name) = (repository.clone(), name.clone());
    }
    if name.is_empty() {
        reader.other(label, node, "a chart without `name`", "nothing says which");
        return;
    }
    found.values = items(node, "valuesFiles").iter().filter_map(Node::text).map(str::to_owned).collect();
    reader.add(label, node, What::Chart(found));
    reader.rest(label, node, &["name", "repoURL", "version", "valuesFiles"], &why);
}
