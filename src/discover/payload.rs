//! Texts that hold documents: YAML, JSON, properties and scripts in ConfigMaps, Secrets, annotations and fields.
//!
//! What is found in them is a guess, whatever the text says: nobody knows whether the program that reads it uses it.
//!
//! # Invariants
//! - Recursion ends: texts inside texts are followed three levels deep, and the bytes read per object are bounded.

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{
    error::Diagnostic,
    kube::Object,
    yaml::{self, Node, Value},
};

use super::{
    Confidence, Finding, Level, Occurrence, Step, guess, negative, script,
    site::{Path, Site, object_step},
};

/// A ConfigMap in a manifest in a ConfigMap is the deepest nesting seen.
const MAX_DEPTH: usize = 3;

/// How many values one text may hold.
const MAX_NODES: usize = 200_000;

/// Reads the texts of a ConfigMap or a Secret.
pub(super) fn data(site: &mut Site<'_>) {
    let object = site.object;
    let secret = object.kind == "Secret";
    for section in ["data", "stringData"] {
        let Some(map) = object.node.get(section) else { continue };
        let entries = map.as_map().unwrap_or_default();
        for (name, value) in entries {
            let (Some(key), Some(written)) = (name.key(), value.as_str()) else { continue };
            let path = Path::default().key(section).key(&key);
            if negative::is_example(&key) {
                continue;
            }
            let decoded;
            site.set_decoded(None);
            let content = if secret && section == "data" {
                // Whatever is no text inside is a certificate, a key or an archive.
                let plain: String = written.split_whitespace().collect();
                match BASE64_STANDARD.decode(plain).ok().and_then(|bytes| String::from_utf8(bytes).ok()) {
                    Some(text) => {
                        decoded = text;
                        site.set_decoded(Some(&decoded));
                        decoded.as_str()
                    }
                    None => continue,
                }
            } else {
                written
            };
            entry(site, &key, content, map, value, &path);
            site.set_decoded(None);
        }
    }
}

/// Reads one entry: a single line is judged by its key, more is a document.
fn entry(site: &mut Site<'_>, key: &str, content: &str, map: &Node, node: &Node, path: &Path) {
    let trimmed = content.trim();
    if trimmed.contains('\n') || trimmed.starts_with(['{', '[']) {
        return text(site, content, node, path);
    }
    if let Some((stem, "repository" | "repo" | "REPOSITORY")) = key.rsplit_once(['.', '_', '-'])
        && let Some(tag) = ["tag", "TAG", "imageTag", "version"].iter().find_map(|name| {
            let beside = |separator| map.get(&format!("{stem}{separator}{name}")).and_then(Node::text);
            beside('.').or_else(|| beside('_')).or_else(|| beside('-'))
        })
        && guess::is_image(&format!("{trimmed}:{tag}"))
    {
        // `trivy.repository` and `trivy.tag`.
        return site.guess_name(&format!("{trimmed}:{tag}"), trimmed, "config", node, path);
    }
    let named = guess::names_image(key);
    if guess::is_strict(trimmed)
        || (guess::is_on_registry(trimmed) && !guess::names_prefix(key))
        || (named && guess::is_image(trimmed))
        || (key.to_ascii_lowercase().ends_with("image") && guess::is_image_or_name(trimmed) && named)
    {
        site.guess(trimmed, "config", node, path);
    } else if trimmed.contains(char::is_whitespace) || trimmed.contains('=') {
        script::text(site, trimmed, node, path);
    }
}

/// Reads a text of several lines: a document when it is one, lines otherwise.
pub(super) fn text(site: &mut Site<'_>, content: &str, node: &Node, path: &Path) {
    if site.depth >= MAX_DEPTH {
        return;
    }
    match site.budget.checked_sub(content.len()) {
        Some(left) => site.budget = left,
        None => {
            let message =
                format!("{}: the texts in it are too large to look for images: `{path}`", object_step(site.object));
            let hint = "name the images that it needs under `images` of the spec";
            return site.report(Diagnostic::warning("payload-unread", message).hint(hint), node);
        }
    }
    // Most texts hold no image, and parsing is what costs.
    if !content.contains([':', '/']) {
        return;
    }
    let options =
        yaml::Options { max_depth: 64, max_nodes: MAX_NODES, max_alias_nodes: 10_000, ..yaml::Options::default() };
    let documents = match yaml::documents(content, &options) {
        Ok(documents) if documents.iter().any(|document| matches!(document.value, Value::Map(_) | Value::Seq(_))) => {
            documents
        }
        _ => return script::text(site, content, node, path),
    };
    let level = site.level(node, content);
    for document in documents {
        if matches!(document.value, Value::Map(_) | Value::Seq(_)) {
            inside(site, document, level, node, path);
        }
    }
}

/// Looks for images in a document inside a text, and brings what is found to the place of the text.
fn inside(site: &mut Site<'_>, document: Node, level: Option<Level>, node: &Node, path: &Path) {
    let field = |key: &str| document.get(key).and_then(Node::as_str).unwrap_or_default().to_owned();
    let (api_version, kind) = (field("apiVersion"), field("kind"));
    let is_object = !api_version.is_empty() && !kind.is_empty();
    let name = document.at_path(["metadata", "name"]).and_then(Node::as_str).unwrap_or_default().to_owned();
    let origin = site.object.origin.clone();
    let (api_version, kind) = if is_object { (api_version, kind) } else { Default::default() };
    let object = Object { origin, api_version, kind, name, namespace: None, node: document };
    let mut inner = Site::new(&object, site.context);
    (inner.depth, inner.budget) = (site.depth + 1, site.budget);
    super::examine(&mut inner);
    site.budget = inner.budget;
    let findings = std::mem::take(&mut inner.found.findings);
    let occurrences = std::mem::take(&mut inner.found.occurrences);
    let mut seen = Vec::new();
    for finding in findings {
        // One reason per image and text: the text is what a person looks at.
        if seen.contains(&finding.written) {
            continue;
        }
        seen.push(finding.written.clone());
        let finding = lifted(site, finding, node, path);
        site.found.findings.push(finding);
    }
    for mut occurrence in occurrences {
        for piece in &mut occurrence.pieces {
            piece.levels.splice(0..0, level);
        }
        if level.is_none() {
            occurrence.pieces.clear();
        }
        let finding = lifted(site, occurrence.finding, node, path);
        site.found.occurrences.push(Occurrence { finding, ..occurrence });
    }
}

/// Returns a finding of a text as one of the object around it.
fn lifted(site: &Site<'_>, finding: Finding, node: &Node, path: &Path) -> Finding {
    let mut rule = "embedded object".to_owned();
    let mut steps = vec![Step::Field { field: path.to_string() }];
    for step in finding.provenance {
        match step {
            Step::File { .. } => {}
            Step::Object { ref object, .. } if object.is_empty() => {}
            Step::Rule { rule: inner } => rule = inner,
            step => steps.push(step),
        }
    }
    steps.push(Step::Rule { rule });
    site.lifted(&finding.written, Confidence::Guess, steps, node)
}
