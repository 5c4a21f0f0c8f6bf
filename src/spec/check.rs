//! What every section of a spec is checked for: keys, types, texts; mistakes are collected, not thrown.

use std::str::FromStr;

use crate::{
    error::{Diagnostic, Location, Severity, nearest},
    yaml::{Node, Value},
};

use super::{
    keys::{self, Key, Shape, Table},
    model::Entry,
};

/// Collects what is wrong with a spec.
pub(super) struct Checker<'a> {
    file: &'a str,
    diagnostics: Vec<Diagnostic>,
}

/// Holds the keys of a mapping that are there, known and of the right type.
pub(super) struct Fields<'n> {
    pub(super) entry: Entry,
    pub(super) node: &'n Node,
    found: Vec<(&'static str, &'n Node)>,
}

/// What keys are called elsewhere that describe signatures by certificates.
const KEYLESS: &[&str] = &["keyless", "identity", "issuer", "subject", "certificate", "oidc", "fulcio", "rekor"];

impl<'n> Fields<'n> {
    /// Returns the value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.found.iter().find(|(name, _)| *name == key).map(|(_, node)| *node)
    }

    /// Returns the label of a value inside this mapping.
    pub(super) fn label(&self, key: &str) -> String {
        if self.entry.label.is_empty() { key.to_owned() } else { format!("{}.{key}", self.entry.label) }
    }
}

impl<'a> Checker<'a> {
    pub(super) fn new(file: &'a str) -> Self {
        Checker { file, diagnostics: Vec::new() }
    }

    pub(super) fn location(&self, node: &Node) -> Location {
        Location::new(self.file, node.at.line, node.at.column)
    }

    pub(super) fn error(&mut self, code: &'static str, message: String, node: &Node) {
        let diagnostic = Diagnostic::error(code, message).at(self.location(node));
        self.diagnostics.push(diagnostic);
    }

    pub(super) fn error_with(&mut self, code: &'static str, message: String, node: &Node, hint: impl Into<String>) {
        let diagnostic = Diagnostic::error(code, message).at(self.location(node)).hint(hint);
        self.diagnostics.push(diagnostic);
    }

    pub(super) fn warn(&mut self, code: &'static str, message: String, node: &Node, hint: impl Into<String>) {
        let diagnostic = Diagnostic::warning(code, message).at(self.location(node)).hint(hint);
        self.diagnostics.push(diagnostic);
    }

    /// Returns the value with the warnings, or everything that was noticed when something is an error.
    pub(super) fn finish<T>(mut self, value: Option<T>) -> Result<(T, Vec<Diagnostic>), Vec<Diagnostic>> {
        self.diagnostics.sort_by(|a, b| a.at.cmp(&b.at));
        match value {
            Some(value) if self.diagnostics.iter().all(|d| d.severity != Severity::Error) => {
                Ok((value, self.diagnostics))
            }
            _ => Err(self.diagnostics),
        }
    }

    /// Checks the keys of a mapping and the types of their values.
    pub(super) fn fields<'n>(&mut self, node: &'n Node, table: &'static Table, label: &str) -> Option<Fields<'n>> {
        let entry = Entry { label: label.to_owned(), at: self.location(node) };
        let place = if label.is_empty() { "the spec".to_owned() } else { format!("`{label}`") };
        let Value::Map(entries) = &node.value else {
            let names: Vec<&str> = table.keys.iter().map(|key| key.name).collect();
            let message = format!("{place} must be a mapping, not {}", describe(node));
            self.error_with("wrong-type", message, node, format!("keys are {}", names.join(", ")));
            return None;
        };
        let mut fields = Fields { entry, node, found: Vec::new() };
        for (name, value) in entries {
            let written = name.text().unwrap_or_default();
            let Some(key) = table.keys.iter().find(|key| key.name == written) else {
                self.unknown(name, written, table, &place);
                continue;
            };
            if fields.get(key.name).is_some() {
                self.error("duplicate-key", format!("`{}` is there twice in {place}", key.name), name);
            } else if self.fits(key, value, &fields.label(key.name)) {
                fields.found.push((key.name, value));
            }
        }
        self.missing(&fields, table, &place);
        Some(fields)
    }

    fn unknown(&mut self, name: &Node, written: &str, table: &Table, place: &str) {
        let names = || table.keys.iter().map(|key| key.name);
        let is_keyless = std::ptr::eq(table, &keys::VERIFY) && KEYLESS.iter().any(|word| written.contains(word));
        let hint = match nearest(written, names()) {
            _ if is_keyless => {
                "keyless signatures are not checked, only those by public keys: `key` names the file".to_owned()
            }
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("keys are {}", names().collect::<Vec<_>>().join(", ")),
        };
        self.error_with("unknown-key", format!("unknown key `{written}` in {place}"), name, hint);
    }

    /// Tells whether a value is there and has the type of its key.
    fn fits(&mut self, key: &Key, value: &Node, label: &str) -> bool {
        if value.is_null() {
            return false;
        }
        let expected = match &key.shape {
            Shape::Text | Shape::Version | Shape::Word(_) if value.text().is_none() => "text",
            Shape::Flag if !matches!(value.value, Value::Bool(_)) => "true or false",
            Shape::Texts | Shape::Objects(_) | Shape::TextsOrObjects(_) if value.as_seq().is_none() => "a list",
            Shape::Object(_) | Shape::ByName(_) | Shape::Free if value.as_map().is_none() => "a mapping",
            Shape::Word(words) if !words.contains(&value.text().unwrap_or_default()) => {
                let written = value.text().unwrap_or_default();
                let message = format!("`{label}` must be {}, not {written:?}", words.join(" or "));
                match nearest(written, words.iter().copied()) {
                    Some(near) => self.error_with("bad-value", message, value, format!("did you mean `{near}`?")),
                    None => self.error("bad-value", message, value),
                }
                return false;
            }
            _ => return true,
        };
        let message = format!("`{label}` must be {expected}, not {}", describe(value));
        self.error("wrong-type", message, value);
        false
    }

    /// Reports what must be there and is not, and what must not be there together.
    fn missing(&mut self, fields: &Fields<'_>, table: &'static Table, place: &str) {
        let node = fields.node;
        // A key that is there with a wrong value was reported already; what counts is whether it was written.
        let written = |name: &str| node.get(name).is_some_and(|value| !value.is_null());
        for key in table.keys.iter().filter(|key| key.required && !written(key.name)) {
            let about = key.about.to_owned();
            self.error_with("missing-key", format!("{place} needs `{}`", key.name), node, about);
        }
        for key in table.keys {
            if let Some(other) = key.only_with
                && written(key.name)
                && !written(other)
            {
                let at = node.get(key.name).unwrap_or(node);
                self.error(
                    "conflicting-keys",
                    format!("`{}` in {place} belongs to `{other}`, which is not there", key.name),
                    at,
                );
            }
        }
        if !table.one_of.is_empty() {
            let chosen: Vec<&str> = table.one_of.iter().copied().filter(|name| written(name)).collect();
            let names = table.one_of.join("`, `");
            match chosen.as_slice() {
                [_] => {}
                [] => self.error("missing-key", format!("{place} needs one of `{names}`"), node),
                several => {
                    let message = format!("{place} has `{}`: only one of them can be", several.join("` and `"));
                    self.error("conflicting-keys", message, node);
                }
            }
        }
    }

    /// Returns the text of a key, if it is there.
    pub(super) fn text<'n>(&mut self, fields: &Fields<'n>, key: &str) -> Option<&'n str> {
        self.text_of(fields.get(key)?, &fields.label(key))
    }

    /// Returns a text that is neither empty nor holds characters that no file or name should hold.
    pub(super) fn text_of<'n>(&mut self, node: &'n Node, label: &str) -> Option<&'n str> {
        let Some(text) = node.text().filter(|_| !node.is_null()) else {
            self.error("wrong-type", format!("`{label}` must be text, not {}", describe(node)), node);
            return None;
        };
        if text.trim().is_empty() {
            self.error("empty", format!("`{label}` is empty"), node);
            return None;
        }
        if text.chars().any(|c| c.is_control() && c != '\n') {
            self.error("bad-value", format!("`{label}` holds a control character"), node);
            return None;
        }
        if text.contains("${") || text.contains("{{") {
            let hint = "nothing is expanded in a spec: write the value itself";
            self.warn("not-expanded", format!("`{label}` is taken as it stands: {text}"), node, hint);
        }
        Some(text)
    }

    /// Returns the texts of a list, each with its node and label.
    pub(super) fn texts<'n>(&mut self, fields: &Fields<'n>, key: &str) -> Vec<(&'n str, &'n Node, String)> {
        let mut found = Vec::new();
        for (node, label) in items(fields, key) {
            if let Some(text) = self.text_of(node, &label) {
                found.push((text, node, label));
            }
        }
        found
    }

    /// Returns the text of a key as a type.
    pub(super) fn parsed<T: FromStr<Err: std::fmt::Display>>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        code: &'static str,
    ) -> Option<T> {
        let text = self.text(fields, key)?;
        let node = fields.get(key)?;
        self.parse(text, node, &fields.label(key), code)
    }

    /// Reads a text as a type.
    pub(super) fn parse<T: FromStr<Err: std::fmt::Display>>(
        &mut self,
        text: &str,
        node: &Node,
        label: &str,
        code: &'static str,
    ) -> Option<T> {
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.error(code, format!("`{label}`: {error}"), node);
                None
            }
        }
    }
}

/// Returns the items of a list with their labels.
pub(super) fn items<'n>(fields: &Fields<'n>, key: &str) -> Vec<(&'n Node, String)> {
    let label = fields.label(key);
    let items = fields.get(key).and_then(Node::as_seq).unwrap_or_default();
    items.iter().enumerate().map(|(i, node)| (node, format!("{label}[{i}]"))).collect()
}

/// Says what a value is, with what was written when that is short.
fn describe(node: &Node) -> String {
    match node.text() {
        Some(text) if !text.is_empty() && text.chars().count() <= 40 => format!("{} ({text})", node.kind_name()),
        _ => node.kind_name().to_owned(),
    }
}
