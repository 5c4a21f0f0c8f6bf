//! From a document to a [`Spec`]: the top level and everything that is not a list of things to carry.

use std::collections::HashMap;

use crate::{
    error::Diagnostic,
    oci::{Host, Platform, Tag},
    yaml::{Node, Value},
};

use super::{
    check::{Checker, Fields, items},
    keys,
    model::{
        Discovery, Entry, Guesses, Issuer, Kubernetes, Mirror, Optional, Registry, Rule, Selection, Spec, Substitution,
        Unfollowed, Verify,
    },
    names::Prefix,
    sections,
};

/// The platform that is carried when the spec names none.
const DEFAULT_PLATFORM: &str = "linux/amd64";

/// Platforms that registries hold images for: Go's names, which the image specification prescribes.
const PLATFORMS: &[&str] = &[
    "linux/386",
    "linux/amd64",
    "linux/arm",
    "linux/arm64",
    "linux/loong64",
    "linux/mips64le",
    "linux/mipsle",
    "linux/ppc64le",
    "linux/riscv64",
    "linux/s390x",
    "windows/amd64",
    "windows/arm64",
    "freebsd/amd64",
    "freebsd/arm64",
    "darwin/amd64",
    "darwin/arm64",
    "wasip1/wasm",
];

/// Architectures under names that other tools use.
const ARCHITECTURES: &[(&str, &str)] = &[
    ("x86_64", "amd64"),
    ("x64", "amd64"),
    ("aarch64", "arm64"),
    ("i386", "386"),
    ("armv7", "arm/v7"),
    ("armhf", "arm/v7"),
];

/// Reads a whole spec.
pub(super) fn spec(file: &str, document: &Node) -> Result<(Spec, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut cx = Checker::new(file);
    let Some(fields) = cx.fields(document, &keys::BUNDLE, "") else { return cx.finish(None) };
    if let Some(kind) = document.get("kind").and_then(Node::as_str).filter(|kind| *kind != keys::KIND) {
        foreign(&mut cx, kind, document);
    }
    let metadata = fields.get("metadata").and_then(|node| cx.fields(node, &keys::METADATA, "metadata"));
    let (name, version, description) = metadata.as_ref().map_or((None, None, None), |fields| {
        (name(&mut cx, fields), version(&mut cx, fields), cx.text(fields, "description").map(str::to_owned))
    });
    let platforms = platforms(&mut cx, &fields);
    let kubernetes = kubernetes(&mut cx, &fields);
    let registries = registries(&mut cx, &fields);
    let substitutions = substitutions(&mut cx, &fields);
    let remotes = sections::remotes(&mut cx, &fields);
    let charts = sections::charts(&mut cx, &fields);
    let manifests = sections::manifests(&mut cx, &fields);
    let images = sections::images(&mut cx, &fields);
    let files = sections::files(&mut cx, &fields);
    let discovery = discovery(&mut cx, &fields);
    let verify = verify(&mut cx, &fields);
    let issuer = issuer(&mut cx, &fields);
    if ["charts", "manifests", "images", "files"].iter().all(|key| items(&fields, key).is_empty()) {
        cx.warn(
            "nothing-to-carry",
            "the spec names nothing to carry".to_owned(),
            document,
            "add charts, manifests, images or files",
        );
    }
    let spec = match (name, version) {
        (Some(name), Some(version)) => Some(Spec {
            file: file.to_owned(),
            name,
            version,
            description,
            platforms,
            kubernetes,
            registries,
            substitutions,
            remotes,
            charts,
            manifests,
            images,
            files,
            discovery,
            verify,
            issuer,
        }),
        _ => None,
    };
    cx.finish(spec)
}

/// Helps with the files of other tools.
fn foreign(cx: &mut Checker<'_>, kind: &str, document: &Node) {
    let from = match kind {
        "ZarfPackageConfig" => "zarf",
        "ImageSetConfiguration" => "imageset",
        "Images" | "Charts" | "Files"
            if document.get("apiVersion").and_then(Node::as_str).is_some_and(|v| v.contains("hauler")) =>
        {
            "hauler"
        }
        _ => return,
    };
    let hint = format!("`bundle init --from-{from}` translates it");
    cx.error_with("other-tool", format!("this is a {kind} of another tool"), document, hint);
}

fn is_dns_label(text: &str) -> bool {
    // RFC 1123, section 2.1, as Kubernetes' object names: lower case, at most 63 characters.
    let alnum = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && alnum(bytes.first())
        && alnum(bytes.last())
        && bytes.iter().all(|b| *b == b'-' || alnum(Some(b)))
}

/// Reads a text that must be a DNS label.
pub(super) fn dns_label(cx: &mut Checker<'_>, fields: &Fields<'_>, key: &str) -> Option<String> {
    let text = cx.text(fields, key)?;
    if is_dns_label(text) {
        return Some(text.to_owned());
    }
    let label = fields.label(key);
    let message =
        format!("`{label}`: {text:?} is no DNS label: up to 63 lower-case letters, digits and -, not at the ends");
    let better: String = text
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
        .take(63)
        .collect();
    let better = better.trim_matches('-');
    let node = fields.get(key)?;
    if is_dns_label(better) {
        cx.error_with("bad-name", message, node, format!("perhaps `{better}`"));
    } else {
        cx.error("bad-name", message, node);
    }
    None
}

fn name(cx: &mut Checker<'_>, fields: &Fields<'_>) -> Option<String> {
    dns_label(cx, fields, "name")
}

fn version(cx: &mut Checker<'_>, fields: &Fields<'_>) -> Option<String> {
    let text = cx.text(fields, "version")?;
    match text.parse::<Tag>() {
        Ok(_) => Some(text.to_owned()),
        Err(error) => {
            let node = fields.get("version")?;
            let message = format!("`metadata.version`: {error}");
            if text.contains('+') {
                cx.error_with("bad-version", message, node, "write _ for +, as Helm does");
            } else {
                cx.error("bad-version", message, node);
            }
            None
        }
    }
}

fn platforms(cx: &mut Checker<'_>, fields: &Fields<'_>) -> Vec<Platform> {
    let mut found: Vec<Platform> = Vec::new();
    for (text, node, label) in cx.texts(fields, "platforms") {
        let architecture = text.rsplit('/').next().unwrap_or(text);
        let os = text.split_once('/').map_or("linux", |(os, _)| os);
        if let Some((_, known)) = ARCHITECTURES.iter().find(|(alias, _)| *alias == architecture) {
            let message = format!("`{label}`: {text:?} is not what image indexes call this platform");
            cx.error_with("bad-platform", message, node, format!("write {os}/{known}"));
            continue;
        }
        let platform = match text.parse::<Platform>() {
            Ok(platform) => platform,
            Err(error) => {
                let as_linux = format!("linux/{text}");
                let message = format!("`{label}`: {error}");
                if PLATFORMS.contains(&as_linux.as_str()) {
                    cx.error_with("bad-platform", message, node, format!("write {as_linux}"));
                } else {
                    cx.error("bad-platform", message, node);
                }
                continue;
            }
        };
        let plain = format!("{}/{}", platform.os, platform.architecture);
        if !PLATFORMS.contains(&plain.as_str()) {
            let hint = match crate::error::nearest(&plain, PLATFORMS.iter().copied()) {
                Some(near) => format!("did you mean {near}?"),
                None => "images for it are rare".to_owned(),
            };
            cx.warn("unknown-platform", format!("`{label}`: {text} is not a usual platform"), node, hint);
        }
        if found.contains(&platform) {
            cx.error("duplicate", format!("`{label}`: {text} is there twice"), node);
        } else {
            found.push(platform);
        }
    }
    if found.is_empty() {
        if fields.get("platforms").is_some_and(|node| node.as_seq().is_some_and(<[Node]>::is_empty)) {
            let node = fields.get("platforms").unwrap_or(fields.node);
            cx.error("empty", "`platforms` is empty".to_owned(), node);
        }
        found.extend(DEFAULT_PLATFORM.parse());
    }
    found
}

fn kubernetes(cx: &mut Checker<'_>, fields: &Fields<'_>) -> Kubernetes {
    let Some(fields) = fields.get("kubernetes").and_then(|node| cx.fields(node, &keys::KUBERNETES, "kubernetes"))
    else {
        return Kubernetes::default();
    };
    let version = cx.text(&fields, "version").map(str::to_owned);
    if let (Some(version), Some(node)) = (&version, fields.get("version")) {
        let numbers = version.strip_prefix('v').unwrap_or(version);
        let core = numbers.split(['-', '+']).next().unwrap_or(numbers);
        let parts: Vec<&str> = core.split('.').collect();
        let number = |part: &str| part.len() <= 9 && !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !(2..=3).contains(&parts.len()) || !parts.iter().all(|part| number(part)) {
            let message =
                format!("`kubernetes.version`: {version:?} is no version of Kubernetes, such as 1.33 or v1.33.2");
            cx.error("bad-version", message, node);
        }
    }
    let mut api_versions = Vec::new();
    for (text, node, label) in cx.texts(&fields, "apiVersions") {
        let word =
            |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-');
        // group/version, or group/version/Kind, or the core group's version alone.
        if text.split('/').count() <= 3 && text.split('/').all(word) {
            api_versions.push(text.to_owned());
        } else {
            let message = format!("`{label}`: {text:?} is no API version, such as monitoring.coreos.com/v1");
            cx.error("bad-value", message, node);
        }
    }
    Kubernetes { version, api_versions }
}

fn registries(cx: &mut Checker<'_>, fields: &Fields<'_>) -> Vec<Registry> {
    let mut found: Vec<Registry> = Vec::new();
    for (key, value) in fields.get("registries").and_then(Node::as_map).unwrap_or_default() {
        let written = key.text().unwrap_or_default();
        let label = format!("registries.{written}");
        let Ok(host) = written.parse::<Host>() else {
            let message = format!("`{label}`: {written:?} is no registry host");
            match written.split_once("://") {
                Some((_, rest)) => {
                    cx.error_with("bad-host", message, key, format!("write {} alone", rest.trim_end_matches('/')));
                }
                None => cx.error("bad-host", message, key),
            }
            continue;
        };
        if found.iter().any(|known| known.host == host) {
            cx.error("duplicate", format!("`{label}`: {host} is there twice"), key);
            continue;
        }
        let Some(fields) = cx.fields(value, &keys::REGISTRY, &label) else { continue };
        let mirror = mirror(cx, &fields);
        let ca = path(cx, &fields, "ca");
        let plain_http = matches!(fields.get("plainHttp").map(|node| &node.value), Some(Value::Bool(true)));
        if fields.node.as_map().is_some_and(<[(Node, Node)]>::is_empty) {
            cx.error("empty", format!("`{label}` says nothing"), value);
        }
        found.push(Registry { entry: fields.entry, host, mirror, ca, plain_http });
    }
    found
}

fn mirror(cx: &mut Checker<'_>, fields: &Fields<'_>) -> Option<Mirror> {
    let text = cx.text(fields, "mirror")?;
    let node = fields.get("mirror")?;
    let (host, prefix) = text.split_once('/').map_or((text, None), |(host, prefix)| (host, Some(prefix)));
    let prefix = prefix.map(|prefix| prefix.trim_end_matches('/')).filter(|prefix| !prefix.is_empty());
    let parsed = host.parse().ok().zip(match prefix {
        Some(prefix) => prefix.parse().ok().map(Some),
        None => Some(None),
    });
    if parsed.is_none() {
        let message =
            format!("`{}`: {text:?} is no registry, such as registry.example.com/dockerhub", fields.label("mirror"));
        match text.split_once("://") {
            Some((_, rest)) => {
                cx.error_with("bad-host", message, node, format!("write {rest}; plain HTTP is `plainHttp: true`"))
            }
            None => cx.error("bad-host", message, node),
        }
    }
    parsed.map(|(host, prefix)| Mirror { host, prefix })
}

fn substitutions(cx: &mut Checker<'_>, fields: &Fields<'_>) -> Vec<Substitution> {
    let mut found: Vec<Substitution> = Vec::new();
    for (node, label) in items(fields, "substitutions") {
        let Some(fields) = cx.fields(node, &keys::SUBSTITUTION, &label) else { continue };
        let from: Option<Prefix> = cx.parsed(&fields, "from", "bad-reference");
        let to: Option<Prefix> = cx.parsed(&fields, "to", "bad-reference");
        let reason = cx.text(&fields, "reason").map(str::to_owned);
        let (Some(from), Some(to)) = (from, to) else { continue };
        if from.is_folder() != to.is_folder() {
            let message = format!("`{label}`: either both `from` and `to` end with /, or neither does");
            cx.error("bad-reference", message, node);
        } else if from == to {
            cx.error("bad-reference", format!("`{label}` changes nothing"), node);
        } else if let Some(first) = found.iter().find(|known| known.from == from) {
            let message = format!("`{label}`: {from} is replaced by `{}` already", first.entry.label);
            cx.error("duplicate", message, node);
        } else {
            found.push(Substitution { entry: fields.entry, from, to, reason });
        }
    }
    found
}

fn discovery(cx: &mut Checker<'_>, fields: &Fields<'_>) -> Discovery {
    let Some(fields) = fields.get("discovery").and_then(|node| cx.fields(node, &keys::DISCOVERY, "discovery")) else {
        return Discovery::default();
    };
    let guesses = match fields.get("guesses").and_then(Node::text) {
        Some("include") => Guesses::Include,
        Some("ignore") => Guesses::Ignore,
        _ => Guesses::Fail,
    };
    let optional = match fields.get("optional").and_then(Node::text) {
        Some("include") => Optional::Include,
        Some("ignore") => Optional::Ignore,
        _ => Optional::List,
    };
    let accept = selections(cx, &fields, "accept");
    let mut ignore = Vec::new();
    let mut unfollowed = Vec::new();
    for (node, label) in items(&fields, "ignore") {
        let Some(fields) = cx.fields(node, &keys::IGNORED, &label) else { continue };
        let reason = cx.text(&fields, "reason").map(str::to_owned);
        if fields.get("object").is_some() {
            if let Some(object) = cx.parsed(&fields, "object", "bad-pattern") {
                unfollowed.push(Unfollowed { entry: fields.entry, object, reason });
            }
        } else if let Some(image) = cx.parsed(&fields, "image", "bad-pattern") {
            ignore.push(Selection { entry: fields.entry, image, reason });
        }
    }
    let mut rules = Vec::new();
    for (node, label) in items(&fields, "rules") {
        let Some(fields) = cx.fields(node, &keys::RULE, &label) else { continue };
        rules.extend(rule(cx, fields));
    }
    Discovery { guesses, optional, accept, ignore, unfollowed, rules }
}

fn selections(cx: &mut Checker<'_>, fields: &Fields<'_>, key: &str) -> Vec<Selection> {
    let mut found = Vec::new();
    for (node, label) in items(fields, key) {
        let Some(fields) = cx.fields(node, &keys::SELECTION, &label) else { continue };
        let reason = cx.text(&fields, "reason").map(str::to_owned);
        if let Some(image) = cx.parsed(&fields, "image", "bad-pattern") {
            found.push(Selection { entry: fields.entry, image, reason });
        }
    }
    found
}

fn rule(cx: &mut Checker<'_>, fields: Fields<'_>) -> Option<Rule> {
    let group = cx.text(&fields, "group").map(str::to_owned);
    let kind = cx.text(&fields, "kind").map(str::to_owned);
    if let (Some(group), Some(node)) = (&group, fields.get("group"))
        && !group.split('.').all(is_dns_label)
    {
        let hint = if group.contains('/') { "without the version" } else { "such as example.com" };
        cx.error_with("bad-name", format!("`{}`: {group:?} is no API group", fields.label("group")), node, hint);
    }
    if let (Some(kind), Some(node)) = (&kind, fields.get("kind"))
        && !kind.bytes().all(|b| b.is_ascii_alphanumeric())
    {
        cx.error("bad-name", format!("`{}`: {kind:?} is no kind", fields.label("kind")), node);
    }
    let mut paths = Vec::new();
    for (text, node, label) in cx.texts(&fields, "paths") {
        let key = |key: &str| {
            key == "*" || (!key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-/".contains(&b)))
        };
        if text.split('.').all(|part| key(part.strip_suffix("[]").unwrap_or(part))) {
            paths.push(text.to_owned());
        } else {
            let message = format!("`{label}`: {text:?} is no path of a field, such as spec.sidecars[].image");
            cx.error("bad-value", message, node);
        }
    }
    if fields.get("paths").and_then(Node::as_seq).is_some_and(<[Node]>::is_empty) {
        cx.error("empty", format!("`{}` is empty", fields.label("paths")), fields.node);
    }
    Some(Rule { entry: fields.entry, group: group?, kind: kind?, paths })
}

fn verify(cx: &mut Checker<'_>, fields: &Fields<'_>) -> Vec<Verify> {
    let mut found = Vec::new();
    for (node, label) in items(fields, "verify") {
        let Some(fields) = cx.fields(node, &keys::VERIFY, &label) else { continue };
        let images = cx.parsed(&fields, "images", "bad-pattern");
        let key = path(cx, &fields, "key");
        if let (Some(images), Some(key)) = (images, key) {
            found.push(Verify { entry: fields.entry, images, key });
        }
    }
    found
}

fn issuer(cx: &mut Checker<'_>, fields: &Fields<'_>) -> Option<Issuer> {
    let fields = cx.fields(fields.get("issuer")?, &keys::ISSUER, "issuer")?;
    let organization = cx.text(&fields, "organization").map(str::to_owned);
    let mut list = |key: &str, what: &str, fits: fn(&str) -> bool| {
        let mut found = Vec::new();
        for (text, node, label) in cx.texts(&fields, key) {
            if !fits(text) {
                cx.error("bad-name", format!("`{label}`: {text:?} is no {what}"), node);
            } else if found.iter().any(|known| known == text) {
                cx.error("duplicate", format!("`{label}`: {text} is there twice"), node);
            } else {
                found.push(text.to_owned());
            }
        }
        found
    };
    let is_domain = |text: &str| text.len() <= 253 && text.split('.').all(is_dns_label);
    let domains = list("domains", "domain in lower case", is_domain);
    let is_range = |text: &str| {
        let (base, prefix) = text.split_once('/').unwrap_or((text, "0"));
        base.parse::<std::net::IpAddr>().is_ok() && prefix.parse::<u8>().is_ok_and(|prefix| prefix <= 128)
    };
    let ip_ranges = list("ipRanges", "range of addresses, such as 10.0.0.0/8", is_range);
    let replaces = list("replaces", "name of an issuer", is_domain);
    Some(Issuer { entry: fields.entry, organization: organization?, domains, ip_ranges, replaces })
}

/// Reads a path of a file beside the spec.
pub(super) fn path(cx: &mut Checker<'_>, fields: &Fields<'_>, key: &str) -> Option<String> {
    let text = cx.text(fields, key)?;
    path_text(cx, text, fields.get(key)?, &fields.label(key))
}

/// Checks a path of a file beside the spec.
pub(super) fn path_text(cx: &mut Checker<'_>, text: &str, node: &Node, label: &str) -> Option<String> {
    if text.contains("://") {
        cx.error_with("bad-path", format!("`{label}`: {text:?} is an address, not a path"), node, "use `url`");
        return None;
    }
    if text.starts_with("~/") {
        cx.error("bad-path", format!("`{label}`: {text:?}: ~ is not expanded"), node);
        return None;
    }
    if text.contains('\n') || text.len() > 4096 {
        cx.error("bad-path", format!("`{label}` is no path"), node);
        return None;
    }
    Some(text.to_owned())
}

/// Remembers who used a name first.
#[derive(Default)]
pub(super) struct Seen(HashMap<String, Entry>);

impl Seen {
    /// Tells whether the name is new; otherwise reports the first user.
    pub(super) fn is_new(
        &mut self,
        cx: &mut Checker<'_>,
        name: &str,
        what: &str,
        entry: &Entry,
        node: &Node,
        hint: &str,
    ) -> bool {
        if let Some(first) = self.0.get(name) {
            let message =
                format!("`{}`: {what} {name} is in `{}` (line {}) already", entry.label, first.label, first.at.line);
            if hint.is_empty() {
                cx.error("duplicate", message, node);
            } else {
                cx.error_with("duplicate", message, node, hint);
            }
            return false;
        }
        self.0.insert(name.to_owned(), entry.clone());
        true
    }
}
