//! What other tools call a list of things to carry: hand-kept lists, Zarf packages, oc-mirror's image sets, Hauler's
//! manifests.
//!
//! ```text
//!  text ─ read() ─→ Peer (items, each with its place) ─┬─ compared with what a bundle carries (`audit`)
//!                                                      └─ write() ─→ the text of a spec, with everything as entry or comment
//! ```
//!
//! | file | owns |
//! |---|---|
//! | `mod.rs` | the model, and which document a text is |
//! | `list.rs` | lists of images: plain text, YAML |
//! | `zarf.rs` | `ZarfPackageConfig` |
//! | `imageset.rs` | `ImageSetConfiguration` of oc-mirror, both versions |
//! | `hauler.rs` | Hauler's `Images`, `Charts`, `Files` and their relatives |
//! | `write.rs` | a spec from all of them |
//!
//! # Invariants
//! - Nothing is lost: every key of a document becomes an item, a property of one, or [`What::Other`] with a reason.
//! - References are normalised as Docker does: `nginx` is `docker.io/library/nginx:latest`.
//! - Nothing of a document is run, fetched or expanded.
//!
//! # Failure
//! [`Error`] when a text is none of these documents. Items that cannot be understood are [`What::Other`].

mod hauler;
mod imageset;
mod list;
mod write;
mod zarf;

use std::fmt;

use serde::Serialize;

use crate::{
    error::{Classify, Diagnostic, Kind, Location},
    oci::{Digest, Reference},
    yaml::{self, Node},
};

pub use write::{Written, template, write};

/// Names the tool that a document is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tool {
    /// A list of images, kept by hand.
    List,
    /// A Zarf package.
    Zarf,
    /// An image set of oc-mirror.
    ImageSet,
    /// A manifest of Hauler.
    Hauler,
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tool::List => "list of images",
            Tool::Zarf => "Zarf package",
            Tool::ImageSet => "oc-mirror image set",
            Tool::Hauler => "Hauler manifest",
        })
    }
}

/// Holds what a document of another tool says.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Whose document it is.
    pub tool: Tool,
    /// The file as the user knows it.
    pub file: String,
    /// The name that it gives itself.
    pub name: Option<String>,
    /// The version that it gives itself.
    pub version: Option<String>,
    /// What it says about itself.
    pub description: Option<String>,
    /// The platforms that it names, each once.
    pub platforms: Vec<String>,
    /// Everything in it, in its order.
    pub items: Vec<Item>,
}

/// One thing that a document says.
#[derive(Clone, Debug)]
pub struct Item {
    /// Where, as a path of keys, such as `components[0].images[2]`.
    pub label: String,
    /// Where in the text.
    pub at: Location,
    /// What.
    pub what: What,
}

/// What an item asks for.
#[derive(Clone, Debug)]
pub enum What {
    /// An image.
    Image(Image),
    /// A Helm chart.
    Chart(Chart),
    /// Kubernetes manifests.
    Manifest(Source),
    /// A folder with a kustomization.
    Kustomize(String),
    /// A file or a folder of files.
    File {
        /// The name that it shall have.
        name: Option<String>,
        /// Where it is.
        source: Source,
    },
    /// Images that shall be left out.
    Blocked(String),
    /// Something that a bundle has no word for.
    Other {
        /// What it is, in one line.
        what: String,
        /// Why it has no counterpart, or what has taken its place.
        why: String,
    },
}

/// An image of another tool's document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// As written.
    pub written: String,
    /// In full, with its tag.
    pub reference: Reference,
    /// The file that holds it.
    pub archive: Option<String>,
    /// The file with the public key that must have signed it.
    pub key: Option<String>,
}

/// A chart of another tool's document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chart {
    /// Its own name, as its repository calls it.
    pub name: String,
    /// Its version; without one, the newest.
    pub version: Option<String>,
    /// A repository (`https://`), the chart itself (`oci://`, `git+…`), or a path.
    pub source: String,
    /// Whether `source` is a path.
    pub is_path: bool,
    /// The namespace of the release.
    pub namespace: Option<String>,
    /// Values files.
    pub values: Vec<String>,
    /// Values that are written in the document itself.
    pub set: Vec<(String, serde_json::Value)>,
}

/// Where something comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A path beside the document.
    Path(String),
    /// An address, and the digest of what it answers.
    Url(String, Option<Digest>),
}

impl Source {
    /// Tells addresses and paths apart.
    fn of(text: &str, sha256: Option<Digest>) -> Source {
        let is_address = text.starts_with("https://") || text.starts_with("http://");
        if is_address { Source::Url(text.to_owned(), sha256) } else { Source::Path(text.to_owned()) }
    }

    /// Returns the path or the address.
    pub fn as_str(&self) -> &str {
        match self {
            Source::Path(text) | Source::Url(text, _) => text,
        }
    }
}

/// Says why a text is no document of another tool.
#[derive(Debug, thiserror::Error)]
#[error("{}", match diagnostics.as_slice() { [one] => one.message.clone(), many => format!("{} mistakes in {file}", many.len()) })]
pub struct Error {
    file: String,
    diagnostics: Vec<Diagnostic>,
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        Kind::Usage
    }
}

/// What `read` knows of.
const KNOWN: &str = "a list of images (one per line, or YAML with `images:`), a zarf.yaml, an ImageSetConfiguration \
                     and a Hauler manifest are known";

/// Reads a document; `file` names it in messages.
///
/// # Errors
/// The text is none of the documents that are known here.
pub fn read(file: &str, text: &str) -> Result<Peer, Error> {
    let unknown = |what: String, line: u32| {
        let at = Location::new(file, line, 1);
        Error { file: file.to_owned(), diagnostics: vec![Diagnostic::error("unknown-document", what).at(at)] }
    };
    let mut reader = Reader { file, items: Vec::new() };
    let parsed = yaml::documents(text, &yaml::Options::default());
    let documents: Vec<&Node> = match &parsed {
        Ok(documents) => documents.iter().filter(|document| !document.is_null()).collect(),
        Err(_) => Vec::new(),
    };
    let [first, ..] = documents[..] else {
        // Broken YAML that is no list either is told as broken YAML.
        if let Some(peer) = list::plain(&mut reader, text) {
            return Ok(peer);
        }
        return Err(match parsed {
            Err(error) => unknown(format!("{file}:{}: {}", error.at.line, error.problem), error.at.line),
            Ok(_) => unknown(format!("{file} is empty; {KNOWN}"), 1),
        });
    };
    let api = |node: &Node| node.get("apiVersion").and_then(Node::text).unwrap_or_default().to_owned();
    let kind = |node: &Node| node.get("kind").and_then(Node::text).unwrap_or_default().to_owned();
    match (api(first).as_str(), kind(first).as_str()) {
        (_, "ZarfPackageConfig" | "ZarfInitConfig") => Ok(zarf::read(reader, first)),
        (_, "ImageSetConfiguration") => Ok(imageset::read(reader, first)),
        (api, _) if hauler::is_group(api) => Ok(hauler::read(reader, &documents)),
        ("", "") if first.get("components").is_some() => Ok(zarf::read(reader, first)),
        _ => {
            if let Some(peer) = list::yaml(&mut reader, &documents) {
                return Ok(peer);
            }
            if first.as_map().is_none()
                && let Some(peer) = list::plain(&mut reader, text)
            {
                return Ok(peer);
            }
            let what = match (kind(first).as_str(), api(first).as_str()) {
                ("", _) => "a document without a kind".to_owned(),
                (kind, "") => kind.to_owned(),
                (kind, api) => format!("{api} {kind}"),
            };
            Err(unknown(format!("{file} cannot be compared: it is {what}; {KNOWN}"), first.at.line))
        }
    }
}

/// Collects the items of a document.
struct Reader<'a> {
    file: &'a str,
    items: Vec<Item>,
}

impl Reader<'_> {
    fn add(&mut self, label: impl Into<String>, node: &Node, what: What) {
        let at = Location::new(self.file, node.at.line, node.at.column);
        self.items.push(Item { label: label.into(), at, what });
    }

    fn other(&mut self, label: impl Into<String>, node: &Node, what: impl Into<String>, why: impl Into<String>) {
        self.add(label, node, What::Other { what: what.into(), why: why.into() });
    }

    /// Adds an image; a text that is no reference is kept as something else.
    fn image(&mut self, label: String, node: &Node, written: &str) -> Option<&mut Image> {
        match written.trim().parse::<Reference>() {
            Ok(reference) => {
                let reference = reference.with_default_tag();
                let image = Image { written: written.trim().to_owned(), reference, archive: None, key: None };
                self.add(label, node, What::Image(image));
                match self.items.last_mut().map(|item| &mut item.what) {
                    Some(What::Image(image)) => Some(image),
                    _ => None,
                }
            }
            Err(error) => {
                let why = match written.contains("###") || written.contains("${") || written.contains("{{") {
                    true => "it holds a variable: write what it stands for".to_owned(),
                    false => format!("it is no image reference: {error}"),
                };
                self.other(label, node, format!("the image {written:?}"), why);
                None
            }
        }
    }

    /// Adds every key of a mapping that is not among `known`, so that none is passed over in silence.
    fn rest(&mut self, label: &str, node: &Node, known: &[&str], why: &dyn Fn(&str) -> Option<&'static str>) {
        for (key, value) in node.as_map().unwrap_or_default() {
            let name = key.key().unwrap_or_default();
            let is_empty = value.is_null()
                || value.as_seq().is_some_and(<[Node]>::is_empty)
                || value.as_map().is_some_and(<[(Node, Node)]>::is_empty)
                || value.text().is_some_and(|text| matches!(text.trim(), "" | "false"));
            if known.contains(&name.as_ref()) || is_empty {
                continue;
            }
            let label = if label.is_empty() { name.to_string() } else { format!("{label}.{name}") };
            let what = match value.text() {
                Some(text) => format!("`{name}: {}`", shortened(text)),
                None => format!("`{name}`"),
            };
            let why = why(&name).unwrap_or("a bundle has no word for it");
            self.other(label, key, what, why);
        }
    }

    fn finish(self, tool: Tool) -> Peer {
        Peer {
            tool,
            file: self.file.to_owned(),
            name: None,
            version: None,
            description: None,
            platforms: Vec::new(),
            items: self.items,
        }
    }
}

/// The longest value that is repeated in a message.
const MAX_SHOWN: usize = 60;

fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let cut: String = line.chars().take(MAX_SHOWN).collect();
    if cut.len() < text.trim_end().len() { format!("{cut}…") } else { cut }
}

/// Returns a text below a key, also when YAML reads it as a number.
fn text(node: &Node, key: &str) -> Option<String> {
    node.get(key).filter(|node| !node.is_null()).and_then(Node::text).map(str::to_owned).filter(|text| !text.is_empty())
}

/// Returns the items of a list below a key.
fn items<'n>(node: &'n Node, key: &str) -> &'n [Node] {
    node.get(key).and_then(Node::as_seq).unwrap_or_default()
}

/// Adds a platform once.
fn platform(platforms: &mut Vec<String>, text: &str) {
    let full = if text.contains('/') { text.to_owned() } else { format!("linux/{text}") };
    if !platforms.contains(&full) {
        platforms.push(full);
    }
}

/// Returns the name of a chart in a registry: the last part of its address, without tag and digest.
fn chart_of_address(address: &str) -> String {
    let path = address.split('@').next().unwrap_or(address).trim_end_matches('/');
    let last = path.rsplit('/').next().unwrap_or(path);
    last.split(':').next().unwrap_or(last).to_owned()
}
