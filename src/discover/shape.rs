//! Pod specs at places that no rule names: what has the shape of one is one.
//!
//! A mapping with a list `containers` (or `initContainers`, `ephemeralContainers`) whose items have an image is a pod spec,
//! under whichever root a custom resource keeps it. So is a list of containers under another name (`extraContainers`,
//! `sidecars`), when its items have both a name and an image.

use crate::{error::Diagnostic, oci::Reference, yaml::Node};

use super::{
    Confidence, negative,
    site::{MAX_LEVELS, Path, Site},
};

/// The lists of containers of a pod spec.
const LISTS: &[&str] = &["initContainers", "containers", "ephemeralContainers"];

/// Finds pod specs anywhere in the object.
pub(super) fn find(site: &mut Site<'_>, rule: &str) {
    let object = site.object;
    descend(site, &object.node, &mut Path::default(), rule);
}

fn descend(site: &mut Site<'_>, node: &Node, path: &mut Path, rule: &str) {
    if negative::is_other_field(path.keys(), path.len()) || path.len() > MAX_LEVELS {
        return;
    }
    if let Some(entries) = node.as_map() {
        for (name, value) in entries {
            let Some(key) = name.key() else { continue };
            path.push(&key);
            if value.as_seq().is_some() && is_list_of_containers(&key, value) {
                containers(site, value, path, rule);
            }
            descend(site, value, path, rule);
            path.pop();
        }
        if LISTS.iter().any(|list| node.get(list).is_some_and(|list| list.as_seq().is_some())) {
            volumes(site, node, path, rule);
        }
    } else if let Some(items) = node.as_seq() {
        for (i, item) in items.iter().enumerate() {
            path.push_index(i);
            descend(site, item, path, rule);
            path.pop();
        }
    }
}

fn is_list_of_containers(key: &str, list: &Node) -> bool {
    let items = list.as_seq().unwrap_or_default();
    let has = |item: &Node, key| item.get(key).is_some_and(|text| text.as_str().is_some());
    if LISTS.contains(&key) {
        return items.iter().any(|item| has(item, "image"));
    }
    let named = key.ends_with("Containers") || key.to_ascii_lowercase().ends_with("sidecars");
    named && items.iter().any(|item| has(item, "image") && has(item, "name"))
}

/// Reads a mapping that is known to be a pod spec, or a part of one.
pub(super) fn pod_spec(site: &mut Site<'_>, spec: &Node, path: &Path, rule: &str) {
    for list in LISTS {
        if let Some(list_node) = spec.get(list) {
            containers(site, list_node, &path.key(list), rule);
        }
    }
    volumes(site, spec, path, rule);
}

fn containers(site: &mut Site<'_>, list: &Node, path: &Path, rule: &str) {
    for (i, item) in list.as_seq().unwrap_or_default().iter().enumerate() {
        if let Some(image) = item.get("image") {
            take(site, image, &path.index(i).key("image"), rule);
        }
    }
}

fn volumes(site: &mut Site<'_>, spec: &Node, path: &Path, rule: &str) {
    let volumes = spec.get("volumes").and_then(Node::as_seq).unwrap_or_default();
    for (i, volume) in volumes.iter().enumerate() {
        if let Some(reference) = volume.at_path(["image", "reference"]) {
            take(site, reference, &path.key("volumes").index(i).key("image").key("reference"), rule);
        }
    }
}

fn take(site: &mut Site<'_>, image: &Node, path: &Path, rule: &str) {
    let field = path.to_string();
    if site.is_settled(&field) {
        return;
    }
    let Some(text) = image.as_str().filter(|text| !text.is_empty() && *text != "auto") else { return };
    if text.parse::<Reference>().is_ok() {
        site.add(text, Confidence::Rule, rule, image, path);
    } else if site.depth == 0 {
        let message = format!("`{field}` of {} is no image reference: {text:?}", super::site::object_step(site.object));
        let hint = "when it is put together at run time, name the image under `images` of the spec";
        site.report(Diagnostic::warning("image-unreadable", message).hint(hint), image);
    }
    site.settle(field);
}
