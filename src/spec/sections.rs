//! The things that a bundle carries: charts, manifests, images, files.

use url::Url;

use crate::{
    oci::{Digest, Reference, Repository},
    tree::RelPath,
    yaml::{Node, Value},
};

use super::{
    check::{Checker, Fields, items},
    keys,
    model::{
        Chart, ChartSource, ChartValues, Entry, File, FileSource, Image, Manifest, ManifestSource, Remote,
        RemoteSource, Variant,
    },
    names,
    read::{Seen, dns_label, path, path_text},
};

/// Reads `charts`.
pub(super) fn charts(cx: &mut Checker<'_>, fields: &Fields<'_>) -> Vec<Chart> {
    let mut seen = Seen::default();
    let mut found = Vec::new();
    for (node, label) in items(fields, "charts") {
        let Some(fields) = cx.fields(node, &keys::CHART, &label) else { continue };
        let name = chart_name(cx, &fields);
        if let (Some(name), Some(at)) = (&name, fields.get("name")) {
            seen.is_new(cx, name, "chart", &fields.entry, at, "one chart with several sets of values has `variants`");
        }
        let source = chart_source(cx, &fields);
        let namespace = dns_label(cx, &fields, "namespace");
        let values = chart_values(cx, &fields);
        let mut variants = Vec::new();
        for (node, label) in items(&fields, "variants") {
            let Some(fields) = cx.fields(node, &keys::VARIANT, &label) else { continue };
            let values = chart_values(cx, &fields);
            if values.files.is_empty() && values.set.is_empty() {
                cx.error("empty", format!("`{label}` changes nothing"), node);
            }
            variants.push(Variant { entry: fields.entry, values });
        }
        if let (Some(name), Some(source)) = (name, source) {
            found.push(Chart { entry: fields.entry, name, source, namespace, values, variants });
        }
    }
    found
}

/// Reads `remotes`.
pub(super) fn remotes(cx: &mut Checker<'_>, fields: &Fields<'_>) -> Vec<Remote> {
    let mut seen = Seen::default();
    let mut found = Vec::new();
    for (key, value) in fields.get("remotes").and_then(Node::as_map).unwrap_or_default() {
        let address = key.text().unwrap_or_default().to_owned();
        let label = format!("remotes.{address}");
        let Some(fields) = cx.fields(value, &keys::REMOTE, &label) else { continue };
        let source = if fields.get("path").is_some() {
            path(cx, &fields, "path").map(RemoteSource::Path)
        } else if fields.get("sha256").is_some() {
            sha256(cx, &fields).map(|sha256| RemoteSource::File { sha256 })
        } else {
            let repo = match fields.get("repo") {
                Some(_) => url(cx, &fields, "repo", &["git+https", "git+ssh", "git+file"]),
                None => None,
            };
            commit(cx, &fields).map(|commit| RemoteSource::Commit { commit, repo })
        };
        let Some(source) = source else { continue };
        if seen.is_new(cx, &address, "address", &fields.entry, key, "") {
            found.push(Remote { entry: fields.entry, address, source });
        }
    }
    found
}

fn commit(cx: &mut Checker<'_>, fields: &Fields<'_>) -> Option<String> {
    let text = cx.text(fields, "commit")?;
    // Git's object names are SHA-1 or SHA-256 in hex; a short one may become ambiguous.
    if matches!(text.len(), 40 | 64) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Some(text.to_owned());
    }
    let message = format!("`{}`: {text:?} is no commit: its full id in lower-case hex is", fields.label("commit"));
    cx.error_with("bad-commit", message, fields.get("commit")?, "`git rev-parse TAG^{commit}` prints it");
    None
}

/// A chart's name becomes a part of a repository's name when the chart is pushed.
fn chart_name(cx: &mut Checker<'_>, fields: &Fields<'_>) -> Option<String> {
    let text = cx.text(fields, "name")?;
    if text.parse::<Repository>().is_ok() && !text.contains('/') {
        return Some(text.to_owned());
    }
    let message =
        format!("`{}`: {text:?} is no name of a chart: lower-case letters, digits, - and . are", fields.label("name"));
    cx.error("bad-name", message, fields.get("name")?);
    None
}

fn chart_source(cx: &mut Checker<'_>, fields: &Fields<'_>) -> Option<ChartSource> {
    if fields.get("repo").is_some() {
        let version = cx.text(fields, "version").map(str::to_owned);
        let written = fields.node.get("version").is_some_and(|node| !node.is_null());
        let exact = cx.text(fields, "repo").is_some_and(|url| url.starts_with("git+") || url.contains("@sha256:"));
        if !written && !exact {
            let message = format!("`{}` needs `version`", fields.entry.label);
            cx.error_with(
                "missing-key",
                message,
                fields.node,
                "a version or a range such as ^1.18; any version is '*'",
            );
        }
        let url = url(cx, fields, "repo", &["https", "http", "oci", "git+https", "git+ssh", "git+file"]);
        let version = if exact { Some(version.unwrap_or_default()) } else { version };
        return Some(ChartSource::Repo { url: url?, version: version? });
    }
    path(cx, fields, "path").map(ChartSource::Path)
}

fn chart_values(cx: &mut Checker<'_>, fields: &Fields<'_>) -> ChartValues {
    let mut files = Vec::new();
    for (text, node, label) in cx.texts(fields, "values") {
        files.extend(path_text(cx, text, node, &label));
    }
    let mut set = Vec::new();
    if let Some(node) = fields.get("set") {
        unique_keys(cx, node, &fields.label("set"));
        for (key, value) in node.as_map().unwrap_or_default() {
            set.push((key.text().unwrap_or_default().to_owned(), value.clone()));
        }
    }
    ChartValues { files, set }
}

/// Reports equal keys anywhere inside a free-form value.
fn unique_keys(cx: &mut Checker<'_>, node: &Node, label: &str) {
    match &node.value {
        Value::Map(entries) => {
            let mut seen = std::collections::HashSet::new();
            for (key, value) in entries {
                let name = key.key().unwrap_or_default();
                unique_keys(cx, value, &format!("{label}.{name}"));
                if !seen.insert(name.clone()) {
                    cx.error("duplicate-key", format!("`{name}` is there twice in `{label}`"), key);
                }
            }
        }
        Value::Seq(items) => {
            for (i, item) in items.iter().enumerate() {
                unique_keys(cx, item, &format!("{label}[{i}]"));
            }
        }
        _ => {}
    }
}

/// Reads `manifests`.
pub(super) fn manifests(cx: &mut Checker<'_>, fields: &Fields<'_>) -> Vec<Manifest> {
    let mut seen = Seen::default();
    let mut found = Vec::new();
    for (node, label) in items(fields, "manifests") {
        let Some(fields) = cx.fields(node, &keys::MANIFEST, &label) else { continue };
        let source = if fields.get("url").is_some() {
            remote(cx, &fields).map(|(url, sha256)| ManifestSource::Url { url, sha256 })
        } else if fields.get("kustomize").is_some() {
            path(cx, &fields, "kustomize").map(ManifestSource::Kustomize)
        } else {
            path(cx, &fields, "path").map(ManifestSource::Path)
        };
        let Some(source) = source else { continue };
        let (ManifestSource::Path(what) | ManifestSource::Kustomize(what) | ManifestSource::Url { url: what, .. }) =
            &source;
        if seen.is_new(cx, what, "source", &fields.entry, node, "") {
            found.push(Manifest { entry: fields.entry, source });
        }
    }
    found
}

/// Reads `images`.
pub(super) fn images(cx: &mut Checker<'_>, fields: &Fields<'_>) -> Vec<Image> {
    let mut seen = Seen::default();
    let mut found = Vec::new();
    for (node, label) in items(fields, "images") {
        let (entry, written, at, archive) = if node.as_map().is_some() {
            let Some(fields) = cx.fields(node, &keys::IMAGE, &label) else { continue };
            let archive = path(cx, &fields, "archive");
            let Some(written) = cx.text(&fields, "image") else { continue };
            let at = fields.get("image").unwrap_or(node);
            (fields.entry, written, at, archive)
        } else {
            let Some(written) = cx.text_of(node, &label) else { continue };
            (Entry { label: label.clone(), at: cx.location(node) }, written, node, None)
        };
        let Some(reference) = reference(cx, written, at, &label) else { continue };
        if seen.is_new(cx, &reference.to_string(), "image", &entry, at, "") {
            found.push(Image { entry, written: written.to_owned(), reference, archive });
        }
    }
    found
}

fn reference(cx: &mut Checker<'_>, written: &str, node: &Node, label: &str) -> Option<Reference> {
    let reference: Reference = match written.parse() {
        Ok(reference) => reference,
        Err(error) => {
            let message = format!("`{label}`: {written:?} is no image reference: {error}");
            match written.split_once("://") {
                Some((_, rest)) => cx.error_with("bad-reference", message, node, format!("write {rest}")),
                None => cx.error("bad-reference", message, node),
            }
            return None;
        }
    };
    if reference.tag.is_none() && reference.digest.is_none() {
        let message = format!("`{label}`: {written} has neither tag nor digest");
        cx.error_with("bad-reference", message, node, format!("write {written}:latest if that is meant"));
        return None;
    }
    Some(reference)
}

/// Reads `files`.
pub(super) fn files(cx: &mut Checker<'_>, fields: &Fields<'_>) -> Vec<File> {
    let mut seen = Seen::default();
    let mut found: Vec<File> = Vec::new();
    for (node, label) in items(fields, "files") {
        let Some(fields) = cx.fields(node, &keys::FILE, &label) else { continue };
        let source = if fields.get("url").is_some() {
            remote(cx, &fields).map(|(url, sha256)| FileSource::Url { url, sha256 })
        } else {
            path(cx, &fields, "path").map(FileSource::Path)
        };
        let max_age = cx.text(&fields, "maxAge").and_then(|text| match names::duration(text) {
            Ok(duration) => Some(duration),
            Err(error) => {
                let node = fields.get("maxAge").unwrap_or(node);
                cx.error("bad-duration", format!("`{}`: {error}", fields.label("maxAge")), node);
                None
            }
        });
        let name = file_name(cx, &fields, source.as_ref());
        let (Some(source), Some(name)) = (source, name) else { continue };
        let at = fields.get("name").unwrap_or(node);
        if !seen.is_new(cx, name.as_str(), "name", &fields.entry, at, "give one of them another `name`") {
            continue;
        }
        let below =
            |a: &RelPath, b: &RelPath| a.as_str().strip_prefix(b.as_str()).is_some_and(|rest| rest.starts_with('/'));
        if let Some(other) = found.iter().find(|other| below(&name, &other.name) || below(&other.name, &name)) {
            let message =
                format!("`{label}`: {name} and {} of `{}` lie within each other", other.name, other.entry.label);
            cx.error("duplicate", message, at);
        }
        found.push(File { entry: fields.entry, name, source, max_age });
    }
    found
}

/// Returns the name in the bundle: the written one, or the last part of the path or address.
fn file_name(cx: &mut Checker<'_>, fields: &Fields<'_>, source: Option<&FileSource>) -> Option<RelPath> {
    if fields.get("name").is_some() {
        let text = cx.text(fields, "name")?;
        let text = text.strip_suffix('/').unwrap_or(text);
        return cx.parse(text, fields.get("name")?, &fields.label("name"), "bad-path");
    }
    let last = match source? {
        FileSource::Path(path) => path.trim_end_matches('/').rsplit('/').next().map(str::to_owned),
        FileSource::Url { url, .. } => {
            let url = Url::parse(url).ok()?;
            url.path_segments().and_then(|mut parts| parts.next_back().map(str::to_owned))
        }
    };
    let name = last.and_then(|last| last.parse::<RelPath>().ok());
    if name.is_none() {
        let message = format!("`{}` needs `name`: its source does not end with one", fields.entry.label);
        cx.error("missing-key", message, fields.node);
    }
    name
}

/// Reads an address and the digest of what it answers.
fn remote(cx: &mut Checker<'_>, fields: &Fields<'_>) -> Option<(String, Digest)> {
    let url = url(cx, fields, "url", &["https", "http"]);
    if fields.node.get("sha256").is_none_or(Node::is_null) {
        let message = format!("`{}` needs `sha256`", fields.entry.label);
        cx.error_with("missing-key", message, fields.node, "`curl -L URL | sha256sum` prints it");
        return None;
    }
    let digest = sha256(cx, fields);
    Some((url?, digest?))
}

fn sha256(cx: &mut Checker<'_>, fields: &Fields<'_>) -> Option<Digest> {
    let text = cx.text(fields, "sha256")?;
    let node = fields.get("sha256")?;
    let full = if text.contains(':') { text.to_owned() } else { format!("sha256:{text}") };
    match full.parse() {
        Ok(digest @ Digest::Sha256(_)) => Some(digest),
        _ => {
            let message = format!("`{}`: {text:?} is no SHA-256: 64 lower-case hex digits are", fields.label("sha256"));
            cx.error("bad-digest", message, node);
            None
        }
    }
}

fn url(cx: &mut Checker<'_>, fields: &Fields<'_>, key: &str, schemes: &[&str]) -> Option<String> {
    let text = cx.text(fields, key)?;
    let node = fields.get(key)?;
    let label = fields.label(key);
    let url = match Url::parse(text) {
        Ok(url) if url.host_str().is_some_and(|host| !host.is_empty()) || url.scheme() == "git+file" => url,
        _ => {
            cx.error("bad-url", format!("`{label}`: {text:?} is no address, such as {}://host/path", schemes[0]), node);
            return None;
        }
    };
    if !schemes.contains(&url.scheme()) {
        let message = format!("`{label}`: {}:// is not fetched, only {} are", url.scheme(), schemes.join(", "));
        cx.error("bad-url", message, node);
        return None;
    }
    // ssh has no address without a user, and no password in it.
    let user = !url.username().is_empty() && url.scheme() != "git+ssh";
    if user || url.password().is_some() {
        let message = format!("`{label}` holds credentials, which a spec must not");
        cx.error_with("bad-url", message, node, "put them into Docker's config.json");
        return None;
    }
    Some(text.to_owned())
}
