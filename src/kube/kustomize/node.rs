//! The tree that transformers change: YAML as kustomize holds it, scalars with their text, tag and quotes.
//!
//! kustomize edits text and tags, and only at the end does a scalar become a value. What comes out of an edit therefore
//! depends on how the field was written before: a number put into a quoted field stays text.
//!
//! # Invariants
//! - A mapping holds every name once.
//! - A scalar with [`Tag::Unset`] gets its type from its text when the build is finished.

use crate::yaml::{self, Mark};

use super::{Problem, refold, scalar};

/// How deep a resource may nest: it is walked recursively. The deepest definition of a kind in the wild has about 40 levels.
pub(super) const MAX_DEPTH: usize = 200;

/// How many values a resource may hold after patches and replacements copied parts of it.
const MAX_VALUES: usize = 2_000_000;

/// How long a text may become by replacements and variables.
const MAX_TEXT: usize = 16 << 20;

/// Refuses a text that grew out of hand.
pub(super) fn check_text(length: usize) -> Result<(), Problem> {
    if length > MAX_TEXT { Err(Problem::Grown { limit: MAX_TEXT, what: "bytes in one text" }) } else { Ok(()) }
}

/// Says what a scalar is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    Unset,
    Text,
    Int,
    Float,
    Bool,
    Null,
    Time,
}

/// Holds a scalar.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scalar {
    pub(super) text: String,
    pub(super) tag: Tag,
    /// Whether it stands in quotes, which makes text of everything.
    pub(super) quoted: bool,
    /// Whether it is a folded block (`>`).
    pub(super) folded: bool,
    /// A null that a merge must not remove.
    pub(super) keep: bool,
}

/// Holds one entry of a mapping.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: String,
    /// Whether the key is text; JSON has no other keys.
    pub(super) is_text: bool,
    pub(super) at: Mark,
    pub(super) value: Node,
}

/// Holds a part of a resource, with the place where it was written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) content: Content,
    pub(super) at: Mark,
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Field>),
}

/// Says what a key means that a mapping has already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeated {
    Refuse,
    FirstCounts,
}

impl PartialEq for Node {
    fn eq(&self, other: &Node) -> bool {
        match (&self.content, &other.content) {
            (Content::Scalar(a), Content::Scalar(b)) => a == b,
            (Content::List(a), Content::List(b)) => a == b,
            (Content::Map(a), Content::Map(b)) => {
                a.len() == b.len() && a.iter().all(|field| other.get(&field.name) == Some(&field.value))
            }
            _ => false,
        }
    }
}

impl Node {
    pub(super) fn scalar(text: impl Into<String>, tag: Tag) -> Node {
        let scalar = Scalar { text: text.into(), tag, quoted: false, folded: false, keep: false };
        Node { content: Content::Scalar(scalar), at: Mark::START }
    }

    pub(super) fn text(text: impl Into<String>) -> Node {
        Node::scalar(text, Tag::Text)
    }

    pub(super) fn map() -> Node {
        Node { content: Content::Map(Vec::new()), at: Mark::START }
    }

    pub(super) fn list(items: Vec<Node>) -> Node {
        Node { content: Content::List(items), at: Mark::START }
    }

    pub(super) fn as_scalar(&self) -> Option<&Scalar> {
        match &self.content {
            Content::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    pub(super) fn as_list(&self) -> Option<&[Node]> {
        match &self.content {
            Content::List(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn as_map(&self) -> Option<&[Field]> {
        match &self.content {
            Content::Map(fields) => Some(fields),
            _ => None,
        }
    }

    /// Returns what is written: the text of a scalar, nothing for lists and mappings.
    pub(super) fn written(&self) -> &str {
        self.as_scalar().map_or("", |scalar| &scalar.text)
    }

    pub(super) fn is_null(&self) -> bool {
        self.as_scalar().is_some_and(|scalar| scalar.tag == Tag::Null)
    }

    /// Tells whether a text can be set here without a change of type.
    pub(super) fn is_text(&self) -> bool {
        self.as_scalar().is_some_and(|scalar| matches!(scalar.tag, Tag::Text | Tag::Unset))
    }

    pub(super) fn is_empty_map(&self) -> bool {
        self.as_map().is_some_and(<[Field]>::is_empty)
    }

    /// Tells whether there is nothing: null, or an empty list or mapping.
    pub(super) fn is_void(&self) -> bool {
        self.is_null() || self.is_empty_map() || self.as_list().is_some_and(<[Node]>::is_empty)
    }

    /// Refuses a part that grew out of hand.
    pub(super) fn check_size(&self) -> Result<(), Problem> {
        let mut budget = MAX_VALUES;
        if self.fits(MAX_DEPTH, &mut budget) {
            return Ok(());
        }
        Err(Problem::Grown { limit: MAX_VALUES, what: "values, or nested too deep" })
    }

    fn fits(&self, depth: usize, budget: &mut usize) -> bool {
        let (Some(depth), Some(left)) = (depth.checked_sub(1), budget.checked_sub(1)) else { return false };
        *budget = left;
        match &self.content {
            Content::Scalar(_) => true,
            Content::List(items) => items.iter().all(|item| item.fits(depth, budget)),
            Content::Map(fields) => fields.iter().all(|field| field.value.fits(depth, budget)),
        }
    }

    pub(super) fn kind_name(&self) -> &'static str {
        match &self.content {
            Content::Scalar(scalar) if scalar.tag == Tag::Null => "nothing",
            Content::Scalar(_) => "a single value",
            Content::List(_) => "a list",
            Content::Map(_) => "a mapping",
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Node> {
        self.as_map()?.iter().find(|field| field.name == name).map(|field| &field.value)
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Node> {
        match &mut self.content {
            Content::Map(fields) => fields.iter_mut().find(|field| field.name == name).map(|field| &mut field.value),
            _ => None,
        }
    }

    pub(super) fn at_path<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Option<&Node> {
        path.into_iter().try_fold(self, |node, name| node.get(name))
    }

    /// Returns the field, after making it when it is missing; `None` when this is no mapping.
    pub(super) fn get_or_insert(&mut self, name: &str, missing: impl FnOnce() -> Node) -> Option<&mut Node> {
        let Content::Map(fields) = &mut self.content else { return None };
        let index = match fields.iter().position(|field| field.name == name) {
            Some(index) => index,
            None => {
                let value = missing();
                fields.push(Field { name: name.to_owned(), is_text: true, at: value.at, value });
                fields.len() - 1
            }
        };
        Some(&mut fields[index].value)
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<Node> {
        let Content::Map(fields) = &mut self.content else { return None };
        let index = fields.iter().position(|field| field.name == name)?;
        Some(fields.remove(index).value)
    }

    /// Sets a field of a mapping. Null removes it; what stands in quotes stays in quotes.
    ///
    /// # Errors
    /// This is no mapping.
    pub(super) fn set(&mut self, name: &str, mut value: Node) -> Result<(), Problem> {
        if self.is_null() {
            return Ok(());
        }
        let kind = self.kind_name();
        let Content::Map(fields) = &mut self.content else {
            return Err(Problem::Shape { expected: "a mapping", found: kind, field: name.to_owned() });
        };
        if let Content::Scalar(scalar) = &mut value.content {
            if scalar.tag == Tag::Null && !scalar.keep {
                fields.retain(|field| field.name != name);
                return Ok(());
            }
            scalar.guard();
        }
        match fields.iter_mut().find(|field| field.name == name) {
            Some(field) => field.value.replace_keeping_quotes(value),
            None => fields.push(Field { name: name.to_owned(), is_text: true, at: value.at, value }),
        }
        Ok(())
    }

    /// Sets this scalar; what stands in quotes stays in quotes.
    ///
    /// # Errors
    /// This is a list or a mapping.
    pub(super) fn set_here(&mut self, value: Node) -> Result<(), Problem> {
        if self.as_scalar().is_none() {
            let (expected, found) = ("a single value", self.kind_name());
            return Err(Problem::Shape { expected, found, field: String::new() });
        }
        if !value.is_null() {
            self.replace_keeping_quotes(value);
        }
        Ok(())
    }

    fn replace_keeping_quotes(&mut self, mut value: Node) {
        if let Content::Scalar(new) = &mut value.content {
            new.quoted = matches!(&self.content, Content::Scalar(old) if old.quoted);
            new.folded = matches!(&self.content, Content::Scalar(old) if old.folded);
        }
        *self = Node { content: value.content, at: self.at };
    }

    /// Reads a document.
    ///
    /// # Errors
    /// A mapping names a key twice.
    pub(super) fn read(node: yaml::Node, repeated: Repeated) -> Result<Node, Problem> {
        let at = node.at;
        let (plain, folded) = (node.is_plain(), node.is_folded());
        let text = node.text().map(str::to_owned);
        let content = match node.value {
            yaml::Value::Seq(items) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    list.push(Node::read(item, repeated)?);
                }
                Content::List(list)
            }
            yaml::Value::Map(entries) => {
                let mut fields: Vec<Field> = Vec::with_capacity(entries.len());
                let mut seen = std::collections::HashMap::with_capacity(entries.len());
                for (key, value) in entries {
                    let name = key.text().unwrap_or_default().to_owned();
                    let first = seen.get(&name).copied();
                    seen.entry(name.clone()).or_insert(key.at.line);
                    if let Some(first) = first {
                        if repeated == Repeated::FirstCounts {
                            continue;
                        }
                        let problem = yaml::Problem::Duplicate { key: name, first };
                        return Err(Problem::Syntax(yaml::Error { at: key.at, problem }));
                    }
                    let is_text = match &key.value {
                        yaml::Value::String(text) if key.is_plain() => scalar::tag(text) == Tag::Text,
                        yaml::Value::String(_) => true,
                        _ => scalar::tag(&name) == Tag::Text,
                    };
                    fields.push(Field { name, is_text, at: key.at, value: Node::read(value, repeated)? });
                }
                Content::Map(fields)
            }
            yaml::Value::String(text) => {
                let tag = if plain { scalar::tag(&text) } else { Tag::Text };
                Content::Scalar(Scalar { text, tag, quoted: !plain, folded, keep: false })
            }
            yaml::Value::Null => Content::Scalar(Scalar {
                text: text.unwrap_or_default(),
                tag: Tag::Null,
                quoted: false,
                folded: false,
                keep: false,
            }),
            _ => {
                let text = text.unwrap_or_default();
                let tag = scalar::tag(&text);
                Content::Scalar(Scalar { text, tag, quoted: false, folded: false, keep: false })
            }
        };
        Ok(Node { content, at })
    }

    /// Turns the finished part into values, keys in byte order.
    ///
    /// # Errors
    /// A key is no text, or a scalar does not fit its type.
    pub(super) fn finish(&self) -> Result<yaml::Node, Problem> {
        let value = match &self.content {
            Content::Scalar(scalar) => scalar.value(self.at)?,
            Content::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    list.push(item.finish()?);
                }
                yaml::Value::Seq(list)
            }
            Content::Map(fields) => {
                let mut entries = Vec::with_capacity(fields.len());
                for field in fields {
                    if !field.is_text {
                        return Err(Problem::Key { key: field.name.clone(), at: field.at });
                    }
                    let key = yaml::Node::new(yaml::Value::String(field.name.clone()), field.at);
                    entries.push((key, field.value.finish()?));
                }
                entries.sort_by(|(a, _), (b, _)| a.as_str().cmp(&b.as_str()));
                yaml::Value::Map(entries)
            }
        };
        Ok(yaml::Node::new(value, self.at))
    }

    /// Returns what stands in a text file for this part: a scalar with its quotes.
    pub(super) fn source(&self) -> String {
        match self.as_scalar() {
            Some(scalar) if scalar.is_quoted_when_written() => format!("{:?}", scalar.text),
            Some(scalar) => scalar.text.clone(),
            None => String::new(),
        }
    }
}

impl Scalar {
    /// Puts text that YAML 1.1 reads as something else into quotes.
    fn guard(&mut self) {
        let is_text = matches!(self.tag, Tag::Text | Tag::Unset);
        if is_text && !self.quoted && scalar::is_special_in_yaml_1_1(&self.text) {
            self.quoted = true;
        }
    }

    fn is_quoted_when_written(&self) -> bool {
        self.quoted || (self.tag == Tag::Text && scalar::tag(&self.text) != Tag::Text)
    }

    fn value(&self, at: Mark) -> Result<yaml::Value, Problem> {
        let by_text = scalar::tag(&self.text);
        let text = || {
            let text = if self.folded { refold::through(&self.text) } else { None };
            Ok(yaml::Value::String(text.unwrap_or_else(|| self.text.clone())))
        };
        match self.tag {
            Tag::Text => text(),
            _ if self.quoted && (self.tag == Tag::Unset || self.tag == by_text) => text(),
            Tag::Unset => scalar::value(&self.text, by_text, at),
            tag if tag == by_text => scalar::value(&self.text, by_text, at),
            Tag::Float if by_text == Tag::Int => scalar::value(&self.text, by_text, at),
            tag => Err(Problem::Misfit { text: self.text.clone(), tag: scalar::name(tag), at }),
        }
    }
}
