//! An object that is followed: its fields, its name in messages, what it is refused for.

use std::sync::Arc;

use super::{
    super::{
        batch::{Batch, Home, Via},
        search::Input,
    },
    catalogue::Catalogue,
};
use crate::{
    discover::{Step, object_step},
    error::{Diagnostic, Kind, Location},
    kube::Object,
    yaml::{Mark, Node},
};

/// An object that is followed.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) catalogue: &'a Catalogue<'a>,
    pub(super) input: &'a Input,
    pub(super) batch: &'a Batch,
    pub(super) object: &'a Object,
}

/// Says why something is not followed.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    kind: Kind,
    code: &'static str,
    text: String,
    hint: Option<String>,
    at: Option<Location>,
    /// Whether an object that is still to come may change it.
    pub(super) waits: bool,
}

impl Refusal {
    /// Says that the object is wrong.
    pub(super) fn new(code: &'static str, text: impl Into<String>) -> Refusal {
        Refusal { kind: Kind::Usage, code, text: text.into(), hint: None, at: None, waits: false }
    }

    /// Says that something cannot be followed here, although it may be right.
    pub(super) fn unable(why: impl Into<String>) -> Refusal {
        Refusal {
            kind: Kind::Incomplete,
            ..Refusal::new("not-followed", format!("not followed, because {}", why.into()))
        }
    }

    /// Says that another object is missing.
    pub(super) fn missing(text: impl Into<String>) -> Refusal {
        Refusal { kind: Kind::Incomplete, waits: true, ..Refusal::new("gitops-missing", text) }
    }

    pub(super) fn of_kind(self, kind: Kind) -> Refusal {
        Refusal { kind, ..self }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Refusal {
        Refusal { hint: Some(hint.into()), ..self }
    }

    pub(super) fn at(self, at: Location) -> Refusal {
        Refusal { at: Some(at), ..self }
    }

    /// Returns the mistake; `title` names the object.
    pub(super) fn told(self, title: &str, object: &Object, place: Location) -> (Kind, Diagnostic) {
        let leave = leave(object);
        let hint = match self.hint {
            Some(hint) => format!("{hint}; or {leave}"),
            None => leave,
        };
        let diagnostic = Diagnostic::error(self.code, format!("{title}: {}", self.text));
        (self.kind, diagnostic.at(self.at.unwrap_or(place)).hint(hint))
    }
}

/// Says how not to follow an object.
pub(super) fn leave(object: &Object) -> String {
    format!("leave it: `- {{object: \"{}\", reason: …}}` under `discovery.ignore`", named(object))
}

/// Names an object as patterns of the spec do.
fn named(object: &Object) -> String {
    match &object.namespace {
        Some(namespace) => format!("{} {namespace}/{}", object.kind, object.name),
        None => format!("{} {}", object.kind, object.name),
    }
}

impl<'a> Subject<'a> {
    /// Names the object in messages, after its entry.
    pub(super) fn title(&self) -> String {
        format!("{}: {}", self.input.label, object_step(self.object))
    }

    /// Returns the place of a value, or of the object.
    pub(super) fn place(&self, at: Option<Mark>) -> Location {
        self.batch.location(self.object, at)
    }

    /// Returns the way to the object, the entry of the spec first.
    pub(super) fn way(&self) -> Vec<Step> {
        let mut way = vec![Step::entry(self.input.label.clone())];
        way.extend(self.batch.way_to(self.object));
        way
    }

    /// Returns how what the object brings is reached.
    pub(super) fn via(&self, home: Home) -> Via {
        Via {
            way: self.batch.way_to(self.object),
            subject: Some(self.title()),
            depth: self.batch.via.depth + 1,
            home,
            made: false,
        }
    }

    /// Returns the repository that paths of the object are in, when it is one in git.
    pub(super) fn checkout(&self) -> Option<&'a Arc<super::super::charts::Checkout>> {
        match &self.batch.via.home {
            Home::Git(checkout) => Some(checkout),
            _ => None,
        }
    }

    /// Returns the namespace, unless the object names none.
    pub(super) fn namespace(&self) -> Option<&'a str> {
        self.object.namespace.as_deref()
    }

    /// Returns a value by its dotted path.
    pub(super) fn get(&self, path: &str) -> Option<&'a Node> {
        self.object.node.at_path(path.split('.')).filter(|node| !node.is_null())
    }

    /// Returns a text by its dotted path; numbers count as they are written.
    pub(super) fn text(&self, path: &str) -> Option<&'a str> {
        self.get(path).and_then(Node::text).filter(|text| !text.is_empty())
    }
}

/// Returns a text of a mapping; numbers count as they are written.
pub(super) fn text<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    node.get(key).and_then(Node::text).filter(|text| !text.is_empty())
}

/// Tells whether a flag of a mapping is set.
pub(super) fn flag(node: &Node, key: &str) -> bool {
    node.get(key).is_some_and(|node| node.value == crate::yaml::Value::Bool(true))
}

/// Returns the items of a list in a mapping.
pub(super) fn items<'n>(node: &'n Node, key: &str) -> &'n [Node] {
    node.get(key).and_then(Node::as_seq).unwrap_or_default()
}

/// Returns the texts of a list in a mapping.
pub(super) fn texts(node: &Node, key: &str) -> Vec<String> {
    items(node, key).iter().filter_map(Node::text).map(str::to_owned).collect()
}
