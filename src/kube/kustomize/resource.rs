//! One resource on its way through the build: its tree, and what kustomize must remember of it.
//!
//! A resource keeps every name that it had, because fields elsewhere still hold the old one.

use std::collections::BTreeMap;

use crate::{kube::Origin, yaml::Mark};

use super::{
    Problem,
    id::Id,
    node::{Node, Tag},
    schema::Schemas,
};

/// Says what a generator does when a resource of its name is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Behavior {
    #[default]
    Create,
    Replace,
    Merge,
}

/// Holds a name that a resource had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Former {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) kind: String,
}

/// Holds a resource.
#[derive(Clone, Debug)]
pub(super) struct Resource {
    pub(super) node: Node,
    pub(super) origin: Origin,
    pub(super) former: Vec<Former>,
    pub(super) prefixes: Vec<String>,
    pub(super) suffixes: Vec<String>,
    pub(super) name_may_change: bool,
    pub(super) kind_may_change: bool,
    pub(super) behavior: Behavior,
    /// Whether a hash of the content becomes part of the name.
    pub(super) hashed: bool,
    /// The variables that take their value here.
    pub(super) vars: Vec<String>,
    /// Where `buildMetadata` says that it came from, and who changed it.
    pub(super) trail: super::trail::Trail,
}

impl Resource {
    pub(super) fn new(node: Node, file: &str) -> Resource {
        let origin = Origin { file: file.to_owned(), line: node.at.line };
        Resource {
            node,
            origin,
            former: Vec::new(),
            prefixes: Vec::new(),
            suffixes: Vec::new(),
            name_may_change: false,
            kind_may_change: false,
            behavior: Behavior::Create,
            hashed: false,
            vars: Vec::new(),
            trail: super::trail::Trail::default(),
        }
    }

    pub(super) fn at(&self) -> Mark {
        self.node.at
    }

    pub(super) fn api_version(&self) -> &str {
        self.node.get("apiVersion").map_or("", Node::written)
    }

    pub(super) fn kind(&self) -> &str {
        self.node.get("kind").map_or("", Node::written)
    }

    fn metadata_text(&self, name: &str) -> &str {
        let field = self.node.get("metadata").and_then(|metadata| metadata.get(name));
        field.filter(|field| !field.is_void()).map_or("", Node::written)
    }

    pub(super) fn name(&self) -> &str {
        self.metadata_text("name")
    }

    pub(super) fn namespace(&self) -> &str {
        self.metadata_text("namespace")
    }

    /// Tells whether nothing is left of it.
    pub(super) fn is_gone(&self) -> bool {
        self.node.is_void()
    }

    pub(super) fn id<'a>(&'a self, schemas: &Schemas) -> Id<'a> {
        Id::new(self.api_version(), self.kind(), self.name(), self.namespace(), schemas)
    }

    /// Returns the identities that it had, the oldest first. Their scope is not looked up: the namespace says it.
    pub(super) fn former_ids(&self) -> impl Iterator<Item = Id<'_>> {
        let (group, version) = super::id::split(self.api_version());
        self.former.iter().map(move |former| Id {
            group,
            version,
            kind: &former.kind,
            name: &former.name,
            namespace: &former.namespace,
            cluster: false,
        })
    }

    /// Returns the identity with which it entered the build.
    pub(super) fn original_id<'a>(&'a self, schemas: &Schemas) -> Id<'a> {
        self.former_ids().next().unwrap_or_else(|| self.id(schemas))
    }

    /// Tells whether the current identity or a former one fits.
    pub(super) fn any_id(&self, schemas: &Schemas, mut fits: impl FnMut(&Id<'_>) -> bool) -> bool {
        self.former_ids().any(|id| fits(&id)) || fits(&self.id(schemas))
    }

    /// Remembers the current identity, before it changes.
    pub(super) fn remember(&mut self, schemas: &Schemas) {
        let id = self.id(schemas);
        let former = Former {
            name: id.name.to_owned(),
            namespace: id.effective_namespace().to_owned(),
            kind: id.kind.to_owned(),
        };
        self.former.push(former);
    }

    pub(super) fn set_kind(&mut self, kind: &str) -> Result<(), Problem> {
        self.node.set("kind", Node::scalar(kind, Tag::Unset))
    }

    pub(super) fn set_metadata(&mut self, field: &str, value: Node) -> Result<(), Problem> {
        match self.node.get_or_insert("metadata", Node::map) {
            Some(metadata) => metadata.set(field, value),
            None => Ok(()),
        }
    }

    pub(super) fn set_name(&mut self, name: &str) -> Result<(), Problem> {
        self.set_metadata("name", Node::scalar(name, Tag::Unset))
    }

    pub(super) fn set_namespace(&mut self, namespace: &str) -> Result<(), Problem> {
        if namespace.is_empty() {
            if let Some(metadata) = self.node.get_mut("metadata") {
                metadata.remove("namespace");
            }
            return Ok(());
        }
        self.set_metadata("namespace", Node::scalar(namespace, Tag::Unset))
    }

    fn metadata_map(&self, name: &str) -> BTreeMap<String, String> {
        let fields = self.node.at_path(["metadata", name]).and_then(Node::as_map).unwrap_or_default();
        fields.iter().map(|field| (field.name.clone(), field.value.written().to_owned())).collect()
    }

    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        self.metadata_map("labels")
    }

    pub(super) fn annotations(&self) -> BTreeMap<String, String> {
        self.metadata_map("annotations")
    }

    /// Writes labels or annotations anew, each as text; an empty set removes the field.
    pub(super) fn set_metadata_map(&mut self, field: &str, map: BTreeMap<String, String>) -> Result<(), Problem> {
        let Some(metadata) = self.node.get_or_insert("metadata", Node::map) else { return Ok(()) };
        metadata.remove(field);
        if map.is_empty() {
            return Ok(());
        }
        let mut node = Node::map();
        for (name, text) in map {
            node.set(&name, Node::text(text))?;
        }
        metadata.set(field, node)
    }

    /// Takes over what a merging generator leaves as it was: labels, annotations, name and namespace.
    pub(super) fn inherit_metadata(&mut self, old: &Resource) -> Result<(), Problem> {
        for field in ["labels", "annotations"] {
            let mut map = old.metadata_map(field);
            map.extend(self.metadata_map(field));
            self.set_metadata_map(field, map)?;
        }
        let (name, namespace) = (old.name().to_owned(), old.namespace().to_owned());
        self.set_name(&name)?;
        self.set_namespace(&namespace)?;
        self.former.clone_from(&old.former);
        self.prefixes.clone_from(&old.prefixes);
        self.suffixes.clone_from(&old.suffixes);
        self.vars.clone_from(&old.vars);
        self.behavior = old.behavior;
        self.hashed = self.hashed && old.hashed;
        Ok(())
    }

    /// Names the resource for people.
    pub(super) fn label(&self) -> String {
        match self.namespace() {
            "" => format!("{} {}", self.kind(), self.name()),
            namespace => format!("{} {namespace}/{}", self.kind(), self.name()),
        }
    }
}
