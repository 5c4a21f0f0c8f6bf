//! ConfigMaps and Secrets from literals, files and env files.

use std::collections::BTreeMap;

use base64::Engine;
use bytes::Bytes;

use super::{
    Error, Problem,
    folder::Folder,
    node::{Node, Tag},
    read::{Section, Written},
    resource::{Behavior, Resource},
};

/// Options of generators.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    unhashed: bool,
    immutable: bool,
}

impl Options {
    pub(super) fn read(section: &Section<'_>, strict: bool) -> Result<Options, Error> {
        if strict {
            section.only(&["labels", "annotations", "disableNameSuffixHash", "immutable"])?;
        }
        Ok(Options {
            labels: section.text_map("labels")?,
            annotations: section.text_map("annotations")?,
            unhashed: section.flag("disableNameSuffixHash")?,
            immutable: section.flag("immutable")?,
        })
    }

    /// Adds what holds for all generators; a label of one's own wins.
    pub(super) fn merge_global(&mut self, global: &Options) {
        for (own, global) in [(&mut self.labels, &global.labels), (&mut self.annotations, &global.annotations)] {
            for (name, text) in global {
                own.entry(name.clone()).or_insert_with(|| text.clone());
            }
        }
        self.unhashed |= global.unhashed;
        self.immutable |= global.immutable;
    }
}

/// Describes what to generate.
#[derive(Clone, Debug)]
pub(super) struct Generator {
    pub(super) secret: bool,
    pub(super) name: String,
    pub(super) namespace: String,
    behavior: Behavior,
    literals: Vec<Written>,
    files: Vec<Written>,
    envs: Vec<Written>,
    pub(super) options: Options,
    kind: String,
}

impl Generator {
    pub(super) fn read(section: &Section<'_>, secret: bool, strict: bool) -> Result<Generator, Error> {
        if strict {
            let mut known = vec!["namespace", "name", "behavior", "literals", "files", "envs", "env", "options"];
            known.extend(secret.then_some("type"));
            section.only(&known)?;
        }
        let behavior = match section.text_or_empty("behavior")?.as_str() {
            "replace" => Behavior::Replace,
            "merge" => Behavior::Merge,
            _ => Behavior::Create,
        };
        let mut envs = section.texts("envs")?;
        if let Some(env) = section.get("env") {
            let text = super::read::text(section.file, env)?;
            if !text.is_empty() {
                envs.push(Written { text, at: env.at });
            }
        }
        let options = section.section("options")?.map(|options| Options::read(&options, strict)).transpose()?;
        Ok(Generator {
            secret,
            name: section.text_or_empty("name")?,
            namespace: section.text_or_empty("namespace")?,
            behavior,
            literals: section.texts("literals")?,
            files: section.texts("files")?,
            envs,
            options: options.unwrap_or_default(),
            kind: section.text_or_empty("type")?,
        })
    }

    /// Makes the resource.
    ///
    /// # Errors
    /// A source cannot be read, or a key comes twice.
    pub(super) fn make(&self, folder: &Folder<'_>, file: &str, line: u32) -> Result<Resource, Error> {
        let kind = if self.secret { "Secret" } else { "ConfigMap" };
        let place = crate::yaml::Mark { line, column: 1 };
        if self.name.is_empty() {
            return Err(Problem::GeneratorName { kind }.at(file, place));
        }
        let mut node = Node::map();
        node.at = place;
        let data = self.data(folder, file)?;
        self.fill(&mut node, kind, data).map_err(|problem| problem.at(file, place))?;
        let mut made = Resource::new(node, file);
        let labels = [("labels", &self.options.labels), ("annotations", &self.options.annotations)];
        for (field, map) in labels {
            if !map.is_empty() {
                made.set_metadata_map(field, map.clone()).map_err(|problem| problem.at(file, place))?;
            }
        }
        made.hashed = !self.options.unhashed;
        made.behavior = self.behavior;
        Ok(made)
    }

    fn fill(&self, node: &mut Node, kind: &str, data: BTreeMap<String, Bytes>) -> Result<(), Problem> {
        node.set("apiVersion", Node::text("v1"))?;
        node.set("kind", Node::text(kind))?;
        let mut metadata = Node::map();
        metadata.set("name", Node::scalar(self.name.clone(), Tag::Text))?;
        if !self.namespace.is_empty() {
            metadata.set("namespace", Node::scalar(self.namespace.clone(), Tag::Text))?;
        }
        node.set("metadata", metadata)?;
        if self.secret {
            let secret_type = if self.kind.is_empty() { "Opaque" } else { &self.kind };
            node.set("type", Node::text(secret_type))?;
            node.set("data", Node::map())?;
        }
        for (name, value) in data {
            let (field, text) = match std::str::from_utf8(&value) {
                Ok(text) if !self.secret => ("data", text.to_owned()),
                _ if self.secret => ("data", base64(&value)),
                _ => ("binaryData", base64(&value)),
            };
            if let Some(map) = node.get_or_insert(field, Node::map) {
                map.set(&name, Node::text(text))?;
            }
        }
        if self.options.immutable {
            node.set("immutable", Node::scalar("true", Tag::Bool))?;
        }
        Ok(())
    }

    fn data(&self, folder: &Folder<'_>, file: &str) -> Result<BTreeMap<String, Bytes>, Error> {
        let mut data = BTreeMap::new();
        let mut add = |name: String, value: Bytes, source: &Written| match data.insert(name.clone(), value) {
            None => Ok(()),
            Some(_) => Err(Problem::KeyTwice { key: name, generator: self.name.clone() }.at(file, source.at)),
        };
        for source in &self.envs {
            let (name, content) = folder.load(source, file)?;
            for (name, value) in env_lines(&name, &content)? {
                add(name, value, source)?;
            }
        }
        for source in &self.literals {
            let wrong = || Problem::Literal { text: source.text.clone() }.at(file, source.at);
            let (name, value) = source.text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(wrong)?;
            add(name.to_owned(), Bytes::copy_from_slice(unquoted(value).as_bytes()), source)?;
        }
        for source in &self.files {
            let wrong = || Problem::FileSource { text: source.text.clone() }.at(file, source.at);
            let (name, path) = match source.text.split_once('=') {
                None => {
                    (source.text.rsplit('/').find(|part| !part.is_empty()).unwrap_or_default(), source.text.as_str())
                }
                Some((name, path)) if !name.is_empty() && !path.is_empty() && !path.contains('=') => (name, path),
                Some(_) => return Err(wrong()),
            };
            let path = Written { text: path.to_owned(), at: source.at };
            let (_, content) = folder.load(&path, file)?;
            add(name.to_owned(), content, source)?;
        }
        Ok(data)
    }
}

fn unquoted(text: &str) -> &str {
    for quote in ['"', '\''] {
        if text.len() >= 2
            && let Some(inner) = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote))
        {
            return inner;
        }
    }
    text
}

/// Reads the lines of an env file: `name=value`, or a name alone for an empty value; `#` begins a comment line.
fn env_lines(file: &str, content: &Bytes) -> Result<Vec<(String, Bytes)>, Error> {
    let mut found = Vec::new();
    for (index, line) in content.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let at = crate::yaml::Mark { line: u32::try_from(index + 1).unwrap_or(u32::MAX), column: 1 };
        let text = std::str::from_utf8(line).map_err(|_| Problem::NotText.at(file, at))?;
        let text = if index == 0 { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text };
        let text = text.trim_start();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        // A line without a name is passed over, as kustomize does.
        if !name.is_empty() {
            found.push((name.to_owned(), Bytes::copy_from_slice(value.as_bytes())));
        }
    }
    Ok(found)
}

/// Encodes bytes as base64 in lines of 70 characters, when it takes more than one.
fn base64(bytes: &[u8]) -> String {
    const LINE: usize = 70;
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    if text.len() < LINE {
        return text;
    }
    let mut out = String::with_capacity(text.len() + text.len() / LINE + 1);
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(LINE));
        out.push_str(line);
        out.push('\n');
        rest = more;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_base64_breaks_after_70_characters() {
        assert_eq!(base64(b"hello"), "aGVsbG8=");
        let long = base64(&[0; 60]);
        assert_eq!(long.lines().map(str::len).collect::<Vec<_>>(), [70, 10]);
        assert!(long.ends_with('\n'));
    }

    #[test]
    fn quotes_around_a_literal_go() {
        assert_eq!((unquoted("\"a\""), unquoted("'a"), unquoted("\"")), ("a", "'a", "\""));
    }
}
