//! The text of a spec: from another tool's document, or to start from.
//!
//! # Invariants
//! - Every item of a document is in the text, as an entry or as a comment; each comment is a warning too.
//! - What is written parses: every entry was tried, together with those before it, by the one who calls.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Chart, Image, Item, Peer, Source, What};
use crate::error::Diagnostic;

/// A spec that was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// The text.
    pub text: String,
    /// How many entries it has.
    pub entries: usize,
    /// Everything that is in it only as a comment.
    pub warnings: Vec<Diagnostic>,
}

/// The version of a bundle whose author has none yet.
const FIRST_VERSION: &str = "0.1.0";

/// Returns a spec to start from, with every section explained.
pub fn template(name: &str) -> String {
    let name = label_of(name);
    format!(
        "# What the bundle carries. `bundle resolve` finds the images and pins them; `bundle create --key` makes the archive.\n\
         apiVersion: airgap-bundler/v1\n\
         kind: Bundle\n\
         metadata:\n  name: {name}\n  version: {FIRST_VERSION}\n\
         platforms: [linux/amd64]\n\
         \n\
         # The cluster that charts see; images can depend on it.\n\
         # kubernetes: {{version: \"1.33\"}}\n\
         \n\
         # Helm charts: from a repository, a registry, git or a folder. Their images are found by rendering.\n\
         charts: []\n  \
         # - {{name: cert-manager, repo: \"https://charts.jetstack.io\", version: ^1.18, namespace: cert-manager, values: [values/cm.yaml]}}\n  \
         # - {{name: redis, repo: \"oci://registry-1.docker.io/bitnamicharts/redis\", version: 20.x}}\n  \
         # - {{name: shop, path: ./charts/shop}}\n\
         \n\
         # Kubernetes manifests and kustomizations; every image in them is found.\n\
         manifests: []\n  \
         # - {{path: deploy/}}\n  \
         # - {{kustomize: overlays/production}}\n\
         \n\
         # Images that nothing above names.\n\
         images: []\n  \
         # - docker.io/library/busybox:1.37\n  \
         # - {{image: \"registry.example.com/app:1.0\", archive: dist/app.tar}}\n\
         \n\
         # Plain files.\n\
         files: []\n  \
         # - {{path: dashboards/, name: dashboards}}\n\
         \n\
         # What only looks like an image is an error until it is decided about.\n\
         # discovery:\n\
         #   accept: [{{image: \"quay.io/prometheus-operator/*\"}}]\n\
         #   ignore: [{{image: \"*/busybox:*\", reason: only named in a comment}}]\n\
         \n\
         # Signatures that images must have.\n\
         # verify:\n\
         #   - {{images: \"ghcr.io/acme/*\", key: acme.pub}}\n"
    )
}

/// Writes a spec that carries what a document of another tool carries. Paths are put below `folder`, which leads from the
/// spec to the document; `fits` says whether the text of a spec parses, and what is wrong with it if not.
pub fn write(peer: &Peer, folder: &str, fits: &dyn Fn(&str) -> Result<(), String>) -> Written {
    let mut writer = Writer { peer, folder, fits, head: String::new(), warnings: Vec::new(), lost: Vec::new() };
    writer.head();
    let charts = writer.charts();
    let manifests = writer.manifests();
    let images = writer.images();
    let files = writer.files();
    let ignored = writer.blocked();
    let keys = writer.keys();
    let mut entries = 0;
    let mut text = writer.head.clone();
    for (section, lines) in
        [("charts", charts), ("manifests", manifests), ("images", images), ("files", files), ("verify", keys)]
    {
        let written = lines.iter().filter(|line| !line.trim_start().starts_with('#')).count();
        if lines.is_empty() {
            continue;
        }
        entries += written;
        let _ = writeln!(text, "{section}:{}", if written == 0 { " []" } else { "" });
        lines.iter().for_each(|line| text.push_str(&format!("{line}\n")));
    }
    if !ignored.is_empty() {
        entries += ignored.len();
        text.push_str("discovery:\n  ignore:\n");
        ignored.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
    }
    for item in &peer.items {
        if let What::Other { what, why } = &item.what {
            writer.lose(item, what.clone(), why.clone());
        }
    }
    if !writer.lost.is_empty() {
        writer.lost.sort();
        text.push_str("\n# Not translated; decide what to do about each:\n");
        writer.lost.iter().for_each(|(_, line)| text.push_str(&format!("#   {line}\n")));
    }
    Written { text, entries, warnings: writer.warnings }
}

struct Writer<'a> {
    peer: &'a Peer,
    folder: &'a str,
    fits: &'a dyn Fn(&str) -> Result<(), String>,
    head: String,
    warnings: Vec<Diagnostic>,
    /// Line in the document and comment.
    lost: Vec<(u32, String)>,
}

impl Writer<'_> {
    fn head(&mut self) {
        let peer = self.peer;
        let stem = peer.file.rsplit('/').next().unwrap_or(&peer.file).split('.').next().unwrap_or_default();
        let name = label_of(peer.name.as_deref().unwrap_or(stem));
        let mut head = format!(
            "# Translated from {} ({}) by `bundle init`. Review it, then run `bundle resolve`.\n\
             apiVersion: airgap-bundler/v1\nkind: Bundle\nmetadata:\n  name: {name}\n",
            one_line(&peer.file),
            peer.tool
        );
        let version = peer.version.as_deref().map(|version| version.replace('+', "_"));
        let with = |version: &str| format!("{head}  version: {}\n", scalar(version));
        let version = version.filter(|version| (self.fits)(&with(version)).is_ok());
        match &version {
            Some(version) => head = with(version),
            None => {
                let said =
                    peer.version.as_deref().map(|said| format!("; it said {}", one_line(said))).unwrap_or_default();
                head = format!("{}  # the first{said}\n", with(FIRST_VERSION).trim_end());
            }
        }
        if let Some(description) = &peer.description {
            let with = format!("{head}  description: {}\n", json!(description));
            // What no spec may say is still for people to read.
            head = match (self.fits)(&with) {
                Ok(()) => with,
                Err(_) => format!("{head}  # {}\n", one_line(description)),
            };
        }
        let fit: Vec<&String> = peer
            .platforms
            .iter()
            .filter(|platform| (self.fits)(&format!("{head}platforms: [{}]\n", scalar(platform))).is_ok())
            .collect();
        match fit.as_slice() {
            [] => head.push_str("platforms: [linux/amd64]  # nothing said which\n"),
            some => {
                let some: Vec<String> = some.iter().map(|platform| scalar(platform)).collect();
                let _ = writeln!(head, "platforms: [{}]", some.join(", "));
            }
        }
        self.head = head;
    }

    /// Says that an item is not in the spec.
    fn lose(&mut self, item: &Item, what: String, why: String) {
        let (label, what, why) = (one_line(&item.label), one_line(&what), one_line(&why));
        let (file, line) = (one_line(&item.at.file), item.at.line);
        self.lost.push((line, format!("{file}:{line}: {label}: {what}: {why}")));
        let text = format!("`{label}`: {what} is not translated: {why}");
        self.warnings.push(Diagnostic::warning("not-translated", text).at(item.at.clone()));
    }

    /// Says what deserves a look about an item that is in the spec.
    fn note(&mut self, item: &Item, text: String) {
        let text = format!("`{}`: {}", one_line(&item.label), one_line(&text));
        self.warnings.push(Diagnostic::warning("translated", text).at(item.at.clone()));
    }

    fn path(&self, written: &str) -> String {
        if self.folder.is_empty() || written.starts_with('/') {
            return written.to_owned();
        }
        format!("{}/{}", self.folder.trim_end_matches('/'), written.trim_start_matches("./"))
    }

    /// Tries an entry after those that are there already.
    fn tried(&self, section: &str, lines: &[String], entry: &str) -> Result<(), String> {
        let mut text = format!("{}{section}:\n", self.head);
        lines.iter().for_each(|line| text.push_str(&format!("{line}\n")));
        (self.fits)(&format!("{text}  - {entry}\n"))
    }

    fn charts(&mut self) -> Vec<String> {
        let peer = self.peer;
        let mut taken: Vec<(&Item, &Chart, Vec<&Chart>)> = Vec::new();
        for item in &peer.items {
            let What::Chart(chart) = &item.what else { continue };
            let Some((_, first, more)) = taken.iter_mut().find(|(_, known, _)| known.name == chart.name) else {
                taken.push((item, chart, Vec::new()));
                continue;
            };
            let same = first.source == chart.source && first.version == chart.version;
            match same {
                true if first.values == chart.values && first.set == chart.set => {}
                true => more.push(chart),
                false => {
                    let version = chart.version.as_deref().unwrap_or("newest");
                    let what = format!("the chart {} {version} from {}", chart.name, chart.source);
                    self.lose(
                        item,
                        what,
                        "a spec holds one chart of a name: write another spec, or carry it by `oci://…`".into(),
                    );
                }
            }
        }
        let mut lines: Vec<String> = Vec::new();
        for (item, chart, variants) in taken {
            let mut fields = self.chart(chart);
            if !variants.is_empty() {
                let sets = variants.iter().map(|variant| flow(&self.values(variant))).collect::<Vec<_>>();
                fields.push(("variants", format!("[{}]", sets.join(", "))));
                let text =
                    format!("{} is there with several values: they became `variants`, on top of the first", chart.name);
                self.note(item, text);
            }
            if chart.version.is_none() && !chart.is_path && !chart.source.starts_with("git+") {
                self.note(
                    item,
                    format!("{} has no version: the newest is taken when the lock is written first", chart.name),
                );
            }
            let entry = flow(&fields);
            match self.tried("charts", &lines, &entry) {
                Ok(()) => lines.push(format!("  - {entry}")),
                Err(why) => self.lose(item, format!("the chart {} from {}", chart.name, chart.source), why),
            }
        }
        lines
    }

    fn chart(&self, chart: &Chart) -> Vec<(&'static str, String)> {
        let mut fields = vec![("name", scalar(&chart.name))];
        if chart.is_path {
            fields.push(("path", scalar(&self.path(&chart.source))));
        } else {
            fields.push(("repo", scalar(&chart.source)));
            match &chart.version {
                Some(version) => fields.push(("version", json!(version).to_string())),
                None if chart.source.starts_with("git+") => {}
                None => fields.push(("version", json!("*").to_string())),
            }
        }
        if let Some(namespace) = &chart.namespace {
            fields.push(("namespace", scalar(namespace)));
        }
        fields.extend(self.values(chart));
        fields
    }

    fn values(&self, chart: &Chart) -> Vec<(&'static str, String)> {
        let mut fields = Vec::new();
        if !chart.values.is_empty() {
            let files: Vec<String> = chart.values.iter().map(|file| scalar(&self.path(file))).collect();
            fields.push(("values", format!("[{}]", files.join(", "))));
        }
        if !chart.set.is_empty() {
            let set: serde_json::Map<String, Value> = chart.set.iter().cloned().collect();
            fields.push(("set", Value::Object(set).to_string()));
        }
        fields
    }

    fn manifests(&mut self) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for item in &self.peer.items {
            let entry = match &item.what {
                What::Manifest(Source::Path(path)) => flow(&[("path", scalar(&self.path(path)))]),
                What::Kustomize(path) => flow(&[("kustomize", scalar(&self.path(path)))]),
                What::Manifest(Source::Url(url, Some(sha256))) => {
                    flow(&[("url", scalar(url)), ("sha256", sha256.hex())])
                }
                What::Manifest(Source::Url(url, None)) => {
                    let why = format!("it needs its `sha256`: `curl -L {url} | sha256sum` prints it");
                    self.lose(item, format!("the manifest {url}"), why);
                    continue;
                }
                _ => continue,
            };
            let line = format!("  - {entry}");
            if lines.contains(&line) {
                continue;
            }
            match self.tried("manifests", &lines, &entry) {
                Ok(()) => lines.push(line),
                Err(why) => self.lose(item, format!("the manifest {entry}"), why),
            }
        }
        lines
    }

    fn images(&mut self) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        let mut group = String::new();
        for item in &self.peer.items {
            let What::Image(Image { written, reference, archive, .. }) = &item.what else { continue };
            if !seen.insert(reference.to_string()) {
                continue;
            }
            let name = reference.to_string();
            let entry = match archive {
                Some(archive) => flow(&[("image", scalar(&name)), ("archive", scalar(&self.path(archive)))]),
                // A full reference is plain text as an item of a list.
                None => name.clone(),
            };
            // Images do not get in each other's way: each is tried alone.
            if let Err(why) = self.tried("images", &[], &entry) {
                self.lose(item, format!("the image {written}"), why);
                continue;
            }
            let own = item.label.rsplit_once('[').map(|(group, _)| group).unwrap_or_default();
            if own != group && own.contains('[') {
                own.clone_into(&mut group);
                lines.push(format!("  # {}", one_line(own)));
            }
            lines.push(format!("  - {entry}"));
        }
        lines
    }

    fn files(&mut self) -> Vec<String> {
        /// How many names are tried for files that have the same.
        const TRIES: usize = 20;
        let mut lines: Vec<String> = Vec::new();
        for item in &self.peer.items {
            let What::File { name, source } = &item.what else { continue };
            let place = match source {
                Source::Path(path) => vec![("path", scalar(&self.path(path)))],
                Source::Url(url, Some(sha256)) => vec![("url", scalar(url)), ("sha256", sha256.hex())],
                Source::Url(url, None) => {
                    let why = format!("it needs its `sha256`: `curl -L {url} | sha256sum` prints it");
                    self.lose(item, format!("the file {url}"), why);
                    continue;
                }
            };
            let last = || source.as_str().trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
            let name = name.clone().unwrap_or_else(last);
            let mut outcome = Err(String::new());
            for attempt in 1..=TRIES {
                let name = if attempt == 1 { name.clone() } else { format!("{attempt}-{name}") };
                let mut fields = place.clone();
                fields.push(("name", scalar(&name)));
                let entry = flow(&fields);
                outcome = self.tried("files", &lines, &entry).map(|()| (attempt, name, entry));
                // Only a name that is taken already is worth another try.
                if outcome.is_ok() || self.tried("files", &[], &flow(&fields)).is_err() {
                    break;
                }
            }
            match outcome {
                Ok((attempt, given, entry)) => {
                    if attempt > 1 {
                        self.note(item, format!("several files are called {name}: this one became {given}"));
                    }
                    lines.push(format!("  - {entry}"));
                }
                Err(why) => self.lose(item, format!("the file {}", source.as_str()), why),
            }
        }
        lines
    }

    fn blocked(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        for item in &self.peer.items {
            let What::Blocked(name) = &item.what else { continue };
            let pattern = match name.parse::<crate::oci::Reference>() {
                // Without tag and digest every image of the name is meant.
                Ok(reference) if reference.tag.is_none() && reference.digest.is_none() => {
                    format!("{}:*", reference.name())
                }
                Ok(reference) => reference.to_string(),
                Err(_) => name.clone(),
            };
            let entry = flow(&[("image", scalar(&pattern)), ("reason", "\"blocked there\"".to_owned())]);
            let text = format!("{}discovery:\n  ignore:\n    - {entry}\n", self.head);
            match (self.fits)(&text) {
                Ok(()) => lines.push(format!("  - {entry}")),
                Err(why) => self.lose(item, format!("the blocked image {name}"), why),
            }
        }
        lines
    }

    fn keys(&mut self) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for item in &self.peer.items {
            let What::Image(Image { reference, key: Some(key), .. }) = &item.what else { continue };
            let entry = flow(&[("images", scalar(&reference.to_string())), ("key", scalar(&self.path(key)))]);
            let line = format!("  - {entry}");
            if lines.contains(&line) {
                continue;
            }
            let is_file = !key.contains("://");
            match self.tried("verify", &[], &entry) {
                Ok(()) if is_file => lines.push(line),
                Ok(()) => self.lose(item, format!("the key {key} of {reference}"), "keys are files".to_owned()),
                Err(why) => self.lose(item, format!("the key {key} of {reference}"), why),
            }
        }
        lines
    }
}

/// Writes a mapping in one line.
fn flow(fields: &[(&str, String)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    format!("{{{}}}", fields.join(", "))
}

/// Writes a text plainly where YAML reads it as just that in every version and place, else in quotes.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '.' || c == '/')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/@".contains(&b))
        && text.contains(|c: char| c.is_ascii_alphabetic())
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null" | ".nan" | ".inf"
        );
    if plain { text.to_owned() } else { json!(text).to_string() }
}

/// Makes a DNS label of a name.
fn label_of(name: &str) -> String {
    let label: String =
        name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(63).collect();
    let label = label.trim_matches('-');
    if label.is_empty() { "bundle".to_owned() } else { label.to_owned() }
}

/// Puts a text from outside into a comment: one line, nothing that drives a terminal or that YAML takes for a line's end.
fn one_line(text: &str) -> String {
    let ends = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}');
    text.chars().map(|c| if ends(c) { ' ' } else { c }).collect()
}
