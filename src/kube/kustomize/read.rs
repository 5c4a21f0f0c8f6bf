//! Reads typed fields out of kustomizations and configurations, as Go's JSON reader does below kustomize: names match in
//! any case, null is absent, a number is no text.
//!
//! # Failure
//! The first field that has the wrong type, or is unknown where that is an error, with file and line.

use std::collections::BTreeMap;

use crate::{
    error::nearest,
    yaml::{self, Node},
};

use super::{Error, Problem};

/// A mapping whose fields are read by name.
#[derive(Clone, Copy)]
pub(super) struct Section<'a> {
    pub(super) file: &'a str,
    pub(super) node: &'a Node,
}

/// Reads the first document of a text; null when there is none.
pub(super) fn document(file: &str, text: &str) -> Result<Node, Error> {
    let found =
        yaml::documents(text, &yaml::Options::lenient()).map_err(|error| Problem::Syntax(error).start_of(file))?;
    Ok(found.into_iter().next().unwrap_or_else(|| Node::new(yaml::Value::Null, yaml::Mark::START)))
}

impl<'a> Section<'a> {
    /// Takes a mapping; null counts as an empty one.
    pub(super) fn new(file: &'a str, node: &'a Node) -> Result<Self, Error> {
        if node.as_map().is_some() || node.is_null() {
            return Ok(Section { file, node });
        }
        Err(wrong_type(file, node, "a mapping"))
    }

    fn entries(&self) -> &'a [(Node, Node)] {
        self.node.as_map().unwrap_or_default()
    }

    /// Refuses every field that is not named.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Error> {
        for (key, _) in self.entries() {
            let name = key.key().unwrap_or_default();
            if !known.iter().any(|known| known.eq_ignore_ascii_case(&name)) {
                let near = nearest(&name, known.iter().copied()).map(str::to_owned);
                let problem = Problem::UnknownField { name: name.into_owned(), near };
                return Err(problem.at(self.file, key.at));
            }
        }
        Ok(())
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a Node> {
        let is_it = |key: &Node| key.key().is_some_and(|key| key.eq_ignore_ascii_case(name));
        let found = self.entries().iter().rev().find(|(key, _)| is_it(key))?;
        Some(&found.1).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Error> {
        self.get(name).map(|node| text(self.file, node)).transpose()
    }

    /// Returns a text; empty when there is none.
    pub(super) fn text_or_empty(&self, name: &str) -> Result<String, Error> {
        Ok(self.text(name)?.unwrap_or_default())
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, Error> {
        match self.get(name).map(|node| (&node.value, node)) {
            None => Ok(false),
            Some((yaml::Value::Bool(flag), _)) => Ok(*flag),
            Some((_, node)) => Err(wrong_type(self.file, node, "true or false")),
        }
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, Error> {
        match self.get(name).map(|node| (&node.value, node)) {
            None => Ok(None),
            Some((yaml::Value::Int(number), _)) => Ok(Some(*number)),
            Some((_, node)) => Err(wrong_type(self.file, node, "a whole number")),
        }
    }

    pub(super) fn list(&self, name: &str) -> Result<&'a [Node], Error> {
        match self.get(name) {
            None => Ok(&[]),
            Some(node) => node.as_seq().ok_or_else(|| wrong_type(self.file, node, "a list")),
        }
    }

    pub(super) fn sections(&self, name: &str) -> Result<Vec<Section<'a>>, Error> {
        self.list(name)?.iter().map(|node| Section::new(self.file, node)).collect()
    }

    pub(super) fn section(&self, name: &str) -> Result<Option<Section<'a>>, Error> {
        self.get(name).map(|node| Section::new(self.file, node)).transpose()
    }

    /// Returns a list of texts with their places.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<Written>, Error> {
        let items = self.list(name)?.iter();
        items
            .map(|node| {
                // Null in a list of texts is an empty text.
                let text = if node.is_null() { String::new() } else { text(self.file, node)? };
                Ok(Written { text, at: node.at })
            })
            .collect()
    }

    pub(super) fn text_map(&self, name: &str) -> Result<BTreeMap<String, String>, Error> {
        let Some(section) = self.section(name)? else { return Ok(BTreeMap::new()) };
        let entry = |(key, value): &(Node, Node)| {
            let value = if value.is_null() { String::new() } else { text(self.file, value)? };
            Ok((key.key().unwrap_or_default().into_owned(), value))
        };
        section.entries().iter().map(entry).collect()
    }

    pub(super) fn flag_map(&self, name: &str) -> Result<BTreeMap<String, bool>, Error> {
        let Some(section) = self.section(name)? else { return Ok(BTreeMap::new()) };
        let entry = |(key, value): &(Node, Node)| match value.value {
            yaml::Value::Bool(flag) => Ok((key.key().unwrap_or_default().into_owned(), flag)),
            _ => Err(wrong_type(self.file, value, "true or false")),
        };
        section.entries().iter().map(entry).collect()
    }
}

/// A text of the user's, and its place.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) text: String,
    pub(super) at: yaml::Mark,
}

pub(super) fn text(file: &str, node: &Node) -> Result<String, Error> {
    node.as_str().map(str::to_owned).ok_or_else(|| wrong_type(file, node, "a text"))
}

pub(super) fn wrong_type(file: &str, node: &Node, expected: &'static str) -> Error {
    let quote = expected == "a text" && node.text().is_some();
    Problem::WrongType { expected, found: node.kind_name(), quote }.at(file, node.at)
}
