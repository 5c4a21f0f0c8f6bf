//! The file: YAML with a header, one block an image.

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::{Diagnostic, Location, nearest},
    oci::Platform,
    yaml::{self, Duplicates, Node, Options},
};

use super::{Contents, Item, Lock, LockError, LockedFile, LockedImage};

/// The value of `apiVersion`.
const API_VERSION: &str = "airgap-bundler/v1";
/// The value of `kind`.
const KIND: &str = "Lock";

/// What stands above every lock, for whoever opens one.
const HEADER: &str = "\
# Written by `bundle resolve`. Review changes like code: a moved digest is other software.
# To move pins, run `bundle resolve --update [NAME…]`; do not edit by hand.
";

/// The keys of a lock.
const KEYS: &[&str] = &["apiVersion", "kind", "metadata", "platforms", "images", "manifests", "files"];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata,
    platforms: Vec<String>,
    images: &'a [LockedImage],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    manifests: &'a [LockedFile],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    files: &'a [LockedFile],
}

#[derive(Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    name: String,
    version: String,
}

impl Lock {
    /// Returns the text of the file.
    ///
    /// # Errors
    /// The text cannot be written, which no content is known to cause.
    pub fn to_text(&self) -> Result<String, yaml::Error> {
        let document = Document {
            api_version: API_VERSION,
            kind: KIND,
            metadata: Metadata { name: self.name().to_owned(), version: self.version().to_owned() },
            platforms: self.platforms().iter().map(ToString::to_string).collect(),
            images: self.images(),
            manifests: self.manifests(),
            files: self.files(),
        };
        Ok(format!("{HEADER}{}", yaml::to_text(&document)?))
    }

    /// Reads a lock; `file` is its name in messages. Entries may stand in any order, as merging leaves them.
    ///
    /// # Errors
    /// Every entry that is wrong, with its place.
    pub fn parse(file: &str, text: &str) -> Result<Lock, Vec<Diagnostic>> {
        let mut reader = Reader { file, wrong: Vec::new() };
        let lock = reader.lock(text);
        match lock {
            Some(lock) if reader.wrong.is_empty() => Ok(lock),
            _ => {
                reader.wrong.sort_by(|a, b| a.at.cmp(&b.at));
                Err(reader.wrong)
            }
        }
    }
}

struct Reader<'a> {
    file: &'a str,
    wrong: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn wrong(&mut self, code: &'static str, message: String, at: yaml::Mark) -> &mut Diagnostic {
        let at = Location::new(self.file, at.line, at.column);
        self.wrong.push(Diagnostic::error(code, message).at(at));
        let last = self.wrong.len() - 1;
        &mut self.wrong[last]
    }

    fn lock(&mut self, text: &str) -> Option<Lock> {
        let options = Options { duplicates: Duplicates::Refuse, ..Options::default() };
        let mut documents = match yaml::documents(text, &options) {
            Ok(documents) => documents,
            Err(error) => {
                let conflict = text.lines().any(|line| line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> "));
                let diagnostic = self.wrong("lock-syntax", error.problem.to_string(), error.at);
                if conflict {
                    diagnostic.hint = Some(
                        "the file holds a merge conflict: keep both sides' images, then run `bundle resolve`"
                            .to_owned(),
                    );
                }
                return None;
            }
        };
        let document = match (documents.pop(), documents.is_empty()) {
            (Some(document), true) if document.as_map().is_some() => document,
            _ => {
                self.wrong("lock-syntax", "a lock is one mapping".to_owned(), yaml::Mark::START);
                return None;
            }
        };
        self.keys(&document)?;
        let metadata: Option<Metadata> = document.get("metadata").and_then(|node| self.typed(node, "metadata"));
        let platforms: Vec<Platform> = self
            .items(&document, "platforms")
            .into_iter()
            .filter_map(|(node, label)| self.platform(node, &label))
            .collect();
        let images: Vec<(LockedImage, &Node)> = self.entries(&document, "images");
        let manifests: Vec<(LockedFile, &Node)> = self.entries(&document, "manifests");
        let files: Vec<(LockedFile, &Node)> = self.entries(&document, "files");
        self.images(&images);
        self.files(Item::Manifest, &manifests);
        self.files(Item::File, &files);
        let metadata = metadata?;
        if !self.wrong.is_empty() {
            return None;
        }
        let lock = Lock::new(Contents {
            name: metadata.name,
            version: metadata.version,
            platforms,
            images: images.into_iter().map(|(image, _)| image).collect(),
            manifests: manifests.into_iter().map(|(file, _)| file).collect(),
            files: files.into_iter().map(|(file, _)| file).collect(),
        });
        match lock {
            Ok(lock) => Some(lock),
            Err(error) => {
                self.wrong("lock-content", error.to_string(), document.at);
                None
            }
        }
    }

    /// Checks the keys; what another version of this tool wrote is not guessed at.
    fn keys(&mut self, document: &Node) -> Option<()> {
        for (key, expected) in [("apiVersion", API_VERSION), ("kind", KIND)] {
            let found = document.get(key);
            if found.and_then(Node::as_str) != Some(expected) {
                let written = found.and_then(Node::text).unwrap_or("nothing");
                let at = found.map_or(document.at, |node| node.at);
                let message =
                    format!("`{key}` must be {expected}, not {written}: this is no lock that this version can read");
                self.wrong("lock-version", message, at);
                return None;
            }
        }
        for (key, _) in document.as_map().unwrap_or_default() {
            let written = key.text().unwrap_or_default();
            if !KEYS.contains(&written) {
                let near = nearest(written, KEYS.iter().copied());
                let diagnostic = self.wrong("unknown-key", format!("unknown key `{written}`"), key.at);
                diagnostic.hint = near.map(|near| format!("did you mean `{near}`?"));
            }
        }
        for key in ["metadata", "platforms", "images"] {
            if document.get(key).is_none() {
                self.wrong("missing-key", format!("the lock needs `{key}`"), document.at);
            }
        }
        Some(())
    }

    fn items<'n>(&mut self, document: &'n Node, key: &str) -> Vec<(&'n Node, String)> {
        let Some(list) = document.get(key) else { return Vec::new() };
        match list.as_seq() {
            Some(items) => items.iter().enumerate().map(|(i, node)| (node, format!("{key}[{i}]"))).collect(),
            None => {
                self.wrong("wrong-type", format!("`{key}` must be a list, not {}", list.kind_name()), list.at);
                Vec::new()
            }
        }
    }

    fn typed<T: DeserializeOwned>(&mut self, node: &Node, label: &str) -> Option<T> {
        let value = match node.to_json() {
            Ok(value) => value,
            Err(error) => {
                self.wrong("lock-content", format!("`{label}`: {}", error.problem), error.at);
                return None;
            }
        };
        match serde_json::from_value(value) {
            Ok(value) => Some(value),
            Err(error) => {
                self.wrong("lock-content", format!("`{label}`: {error}"), node.at);
                None
            }
        }
    }

    fn platform(&mut self, node: &Node, label: &str) -> Option<Platform> {
        let text: String = self.typed(node, label)?;
        match text.parse() {
            Ok(platform) => Some(platform),
            Err(error) => {
                self.wrong("bad-platform", format!("`{label}`: {error}"), node.at);
                None
            }
        }
    }

    fn entries<'n, T: DeserializeOwned>(&mut self, document: &'n Node, key: &str) -> Vec<(T, &'n Node)> {
        let mut found = Vec::new();
        for (node, label) in self.items(document, key) {
            found.extend(self.typed(node, &label).map(|entry| (entry, node)));
        }
        found
    }

    fn images(&mut self, images: &[(LockedImage, &Node)]) {
        let mut seen = std::collections::HashMap::new();
        for (image, node) in images {
            if let Err(error) = image.check() {
                self.wrong("lock-content", error.to_string(), node.at);
            }
            if let Some((first, line)) = seen.insert(&image.image, (image.digest, node.at.line)) {
                let digests = Box::new([first, image.digest]);
                let error = LockError::ImageTwice { image: Box::new(image.image.clone()), digests };
                let diagnostic = self.wrong("duplicate", format!("{error}; the first is in line {line}"), node.at);
                diagnostic.hint = Some("keep one of them: `bundle resolve` adds what is missing".to_owned());
            }
        }
    }

    fn files(&mut self, item: Item, files: &[(LockedFile, &Node)]) {
        let mut seen = std::collections::HashMap::new();
        for (file, node) in files {
            if let Some(line) = seen.insert(&file.name, node.at.line) {
                let error = LockError::NameTwice { item, name: file.name.clone() };
                self.wrong("duplicate", format!("{error}; the first is in line {line}"), node.at);
            }
        }
    }
}
