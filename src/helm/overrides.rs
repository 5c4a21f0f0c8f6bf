//! What the user says about values: files and flags, in helm's order of precedence.
//!
//! # Invariants
//! - Plain data: files are read by the caller, everything is parsed where it is rendered.

use std::{collections::BTreeMap, rc::Rc};

use super::{
    error::Error,
    funcs::json,
    strvals::{self, Kind},
    template::value::{Dict, Map, Value},
    values::{documents, layered, new_dict, table},
};

/// How deep tables may nest while they are merged.
const DEPTH: usize = 1000;

/// Values files and flags.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    files: Vec<(String, String)>,
    json: Vec<String>,
    typed: Vec<String>,
    text: Vec<String>,
    content: Vec<(String, BTreeMap<String, String>)>,
    literal: Vec<String>,
}

impl Overrides {
    /// Says nothing.
    pub fn new() -> Overrides {
        Overrides::default()
    }

    /// Adds a values file: its name for messages, and its content.
    pub fn file(mut self, name: impl Into<String>, content: impl Into<String>) -> Overrides {
        self.files.push((name.into(), content.into()));
        self
    }

    /// Adds a `--set-json`.
    pub fn set_json(mut self, text: impl Into<String>) -> Overrides {
        self.json.push(text.into());
        self
    }

    /// Adds a `--set`.
    pub fn set(mut self, text: impl Into<String>) -> Overrides {
        self.typed.push(text.into());
        self
    }

    /// Adds a `--set-string`.
    pub fn set_string(mut self, text: impl Into<String>) -> Overrides {
        self.text.push(text.into());
        self
    }

    /// Adds a `--set-literal`.
    pub fn set_literal(mut self, text: impl Into<String>) -> Overrides {
        self.literal.push(text.into());
        self
    }

    /// Adds a `--set-file`; `read` returns the content of the files that it names.
    ///
    /// # Errors
    /// What `read` says, and [`Error::Values`] for a malformed flag.
    pub fn set_file(
        mut self,
        text: impl Into<String>,
        mut read: impl FnMut(&str) -> Result<String, String>,
    ) -> Result<Overrides, Error> {
        let text = text.into();
        let mut content = BTreeMap::new();
        let mut give = |path: &str| {
            let file = read(path)?;
            content.insert(path.to_owned(), file);
            Ok(Value::Nil)
        };
        strvals::assign(&text, &new_dict(Map::new()), Kind::File(&mut give))
            .map_err(|message| flag("--set-file", message))?;
        self.content.push((text, content));
        Ok(self)
    }

    /// Tells whether anything was said.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
            && self.json.is_empty()
            && self.typed.is_empty()
            && self.text.is_empty()
            && self.content.is_empty()
            && self.literal.is_empty()
    }

    /// Parses everything, without a chart.
    ///
    /// # Errors
    /// The first file or flag that is malformed.
    pub fn check(&self) -> Result<(), Error> {
        self.merged().map(|_| ())
    }

    /// Merges everything, without a chart, and writes it as JSON: what comes later is put on top of it.
    ///
    /// # Errors
    /// The first file or flag that is malformed.
    pub fn to_json(&self) -> Result<String, Error> {
        let merged = self.merged()?;
        let bytes = json::compact(&Value::Dict(merged))
            .map_err(|message| Error::Values { origin: "failed to merge values".to_owned(), message })?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Merges everything into one table.
    pub(super) fn merged(&self) -> Result<Rc<Dict>, Error> {
        let mut base = new_dict(Map::new());
        for (name, content) in &self.files {
            let failed = |message: String| Error::Values { origin: format!("failed to parse {name}"), message };
            let next = table(&documents(content).map_err(failed)?).map_err(failed)?;
            base = layered(&base, &next, DEPTH);
        }
        for text in &self.json {
            let failed = |message: String| flag("--set-json", format!("{message} in {text}"));
            if text.trim_start().starts_with('{') {
                match json::read(text.trim().as_bytes()).map_err(failed)? {
                    Value::Dict(next) => base = layered(&base, &next, DEPTH),
                    other => return Err(failed(format!("an object is expected, not {}", other.type_name()))),
                }
            } else {
                strvals::assign(text, &base, Kind::Json).map_err(failed)?;
            }
        }
        for text in &self.typed {
            strvals::assign(text, &base, Kind::Typed).map_err(|message| flag("--set", message))?;
        }
        for text in &self.text {
            strvals::assign(text, &base, Kind::Text).map_err(|message| flag("--set-string", message))?;
        }
        for (text, content) in &self.content {
            let mut give = |path: &str| Ok(Value::from(content.get(path).map_or("", String::as_str)));
            strvals::assign(text, &base, Kind::File(&mut give)).map_err(|message| flag("--set-file", message))?;
        }
        for text in &self.literal {
            strvals::assign_literal(text, &base).map_err(|message| flag("--set-literal", message))?;
        }
        Ok(base)
    }
}

fn flag(name: &str, message: String) -> Error {
    Error::Values { origin: format!("failed parsing {name} data"), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_merged_can_be_put_below_something_else() {
        let first = Overrides::new().file("a", "a: {b: 1, c: [x]}\nd: ~\n").set("a.b=2").to_json().unwrap();
        let second = Overrides::new().file("first", first).file("then", "a: {b: 3}\ne: 1.10\n").to_json().unwrap();
        assert_eq!(second, r#"{"a":{"b":3,"c":["x"]},"d":null,"e":1.1}"#);
        assert!(Overrides::new().file("a", "[").to_json().is_err());
    }
}
