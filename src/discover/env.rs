//! Environment variables that name images: `RELATED_IMAGE_*`, `*_IMAGE`, maps of several lines, values kept in ConfigMaps.

use crate::yaml::Node;

use super::{
    guess,
    script,
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
        if guess::is_strict(value) || (named && (guess::is_image(value) || (single && guess::is_image_or_name(value)))) {
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
    let Some(value) = context.config_value(site.object.namespace.as_deref(), map, key) else { return };
    let value = value.trim();
    if guess::is_strict(value) || (guess::names_image(name) && guess::is_image_or_name(value)) {
        site.guess(value, RULE, source, path);
    }
}
