//! Environment variables that name images: `RELATED_IMAGE_*`, `*_IMAGE`, maps of several lines, values kept in ConfigMaps.

use crate::yaml::Node;

use super::{
    Confidence, Level, Piece, Role, guess, script,
    site::{Path, Site},
};

/// The class in provenance.
const RULE: &str = "environment";

/// Tells whether a mapping is an environment variable: a name and a value, or a source of one.
pub(super) fn is_variable(map: &Node) -> bool {
    let named = map.get("name").is_some_and(|name| name.as_str().is_some());
    named
        && map.as_map().is_some_and(|entries| entries.len() <= 3)
        && (map.get("value").is_some_and(|value| value.as_map().is_none() && value.as_seq().is_none())
            || map.get("valueFrom").is_some())
}

/// Joins references whose pieces are variables of their own: `X_IMAGE_NAME`, `X_IMAGE_TAG`, `X_CONTAINER_REGISTRY`.
pub(super) fn join(site: &mut Site<'_>, list: &[Node], path: &Path) {
    let found = |name: &str| {
        let is_it = |item: &&Node| item.get("name").and_then(Node::as_str) == Some(name);
        let node = list.iter().find(is_it)?.get("value")?;
        Some((node.text()?.trim(), node)).filter(|(text, _)| !text.is_empty())
    };
    let value = |name: &str| found(name).map(|(text, _)| text);
    for (i, item) in list.iter().enumerate() {
        let Some(name) = item.get("name").and_then(Node::as_str) else { continue };
        let ends = ["_IMAGE_NAME", "_IMAGE_REPOSITORY", "_REPOSITORY", "_IMAGE_REPO", "_REPO", "_IMAGE"];
        let (Some(stem), Some(written)) = (ends.iter().find_map(|end| name.strip_suffix(end)), value(name)) else {
            continue;
        };
        if written.contains('@') || written.rsplit('/').next().is_some_and(|last| last.contains(':')) {
            continue;
        }
        let piece = |ends: &[&str]| ends.iter().find_map(|end| found(&format!("{stem}{end}")));
        let Some((tag, tag_node)) = piece(&["_IMAGE_TAG", "_TAG", "_IMAGE_VERSION"]) else { continue };
        let registry = piece(&["_IMAGE_REGISTRY", "_REGISTRY", "_CONTAINER_REGISTRY"]);
        let registry = registry.filter(|_| !guess::has_host(written));
        let front = registry.map(|(registry, _)| format!("{}/", registry.trim_end_matches('/')));
        let whole = format!("{}{written}:{tag}", front.unwrap_or_default());
        let path = path.index(i).key("value");
        if guess::is_image(&whole) {
            let node = item.get("value").unwrap_or(item);
            let front = registry.and_then(|(text, node)| site.piece(Role::Registry, node, text.trim_end_matches('/')));
            let name = site.piece(Role::Repository, node, written);
            let tag = site.piece(Role::Tag, tag_node, tag);
            let pieces = front.into_iter().chain(name).chain(tag).collect();
            site.add_written(&whole, (Confidence::Guess, RULE), node, &path, pieces);
            site.settle(path.to_string());
        }
    }
}

/// Reads an environment variable.
pub(super) fn variable(site: &mut Site<'_>, map: &Node, path: &Path) {
    let name = map.get("name").and_then(Node::as_str).unwrap_or_default();
    if let Some(value) = map.get("value")
        && let Some(text) = value.as_str()
    {
        let path = path.key("value");
        if !site.is_settled(&path.to_string()) {
            read(site, name, text, value, &path);
        }
    }
    if let Some(source) = map.at_path(["valueFrom", "configMapKeyRef"]) {
        from_config_map(site, name, source, &path.key("valueFrom").key("configMapKeyRef"));
    }
}

/// Tells whether a variable is an image and not a part of one: a plain name such as `busybox` is enough then.
fn ends_in_image(name: &str) -> bool {
    name.to_ascii_uppercase().ends_with("IMAGE") || name.starts_with("RELATED_IMAGE_")
}

fn read(site: &mut Site<'_>, name: &str, text: &str, node: &Node, path: &Path) {
    let trimmed = text.trim();
    if trimmed.contains('\n') || trimmed.starts_with(['{', '[']) {
        return super::payload::text(site, text, node, path);
    }
    let named = guess::names_image(name);
    for part in trimmed.split([',', ' ', ';']).map(str::trim).filter(|part| !part.is_empty()) {
        // `4.3.1=quay.io/a/b:1` maps a version to its image.
        let value = part.split_once('=').map_or(part, |(_, value)| value);
        let single = value == trimmed;
        let prefix = guess::names_prefix(name) || guess::names_repository(name);
        if guess::is_strict(value)
            || (guess::is_on_registry(value) && !prefix)
            || (named && (guess::is_image(value) || (single && ends_in_image(name) && guess::is_image_or_name(value))))
        {
            site.guess(value, RULE, node, path);
        } else if part.starts_with('-') {
            script::line(site, trimmed, node, path);
            return;
        }
    }
}

/// Follows a variable into a ConfigMap among the inputs.
fn from_config_map(site: &mut Site<'_>, name: &str, source: &Node, path: &Path) {
    let text = |key: &str| source.get(key).and_then(Node::as_str);
    let (Some(map), Some(key)) = (text("name"), text("key")) else { return };
    let context = site.context;
    for (text, at) in context.config_values(site.object.namespace.as_deref(), map, key) {
        let value = text.trim();
        if guess::is_strict(value)
            || (guess::names_image(name) && guess::is_image(value))
            || (ends_in_image(name) && guess::is_image_or_name(value))
        {
            let start = text.len() - text.trim_start().len();
            let level = Level { at, start, end: start + value.len(), base64: false };
            // Objects inside of texts know nothing of where the objects around them were read.
            let here = site.depth == 0;
            let pieces = here.then(|| Piece { role: Role::Reference, levels: vec![level] }).into_iter().collect();
            site.add_written(value, (Confidence::Guess, RULE), source, path, pieces);
        }
    }
}
