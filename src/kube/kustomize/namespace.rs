//! The namespace of resources, and where else it is written: subjects of role bindings, services behind APIs and webhooks.

use super::{
    Problem,
    fieldspec::{Create, FieldSpec, apply_all},
    node::{Content, Node, Tag},
    resource::Resource,
    schema::Schemas,
    set::Set,
};

/// Which subjects of a role binding move to the namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Subjects {
    /// Those that are named `default`.
    #[default]
    Default,
    /// Every service account.
    ServiceAccounts,
    /// None.
    None,
}

/// What to do.
#[derive(Clone, Debug)]
pub(super) struct Namespace {
    pub(super) name: String,
    pub(super) specs: Vec<FieldSpec>,
    /// Whether fields that have a value keep it.
    pub(super) unset_only: bool,
    pub(super) subjects: Subjects,
}

impl Namespace {
    /// Moves resources to the namespace.
    ///
    /// # Errors
    /// A field is no single value, or two resources become one.
    pub(super) fn apply(&self, set: &mut Set, schemas: &Schemas) -> Result<(), Problem> {
        if self.name.is_empty() {
            return Ok(());
        }
        for at in 0..set.items.len() {
            let item = &mut set.items[at];
            if item.is_gone() {
                continue;
            }
            item.remember(schemas);
            let label = item.label();
            self.apply_to(item, schemas).map_err(|problem| problem.of(label))?;
            let item = &set.items[at];
            let id = item.id(schemas);
            if let Some(other) =
                (0..set.items.len()).find(|other| *other != at && set.items[*other].id(schemas).same(&id))
            {
                let first = &set.items[other].origin;
                return Err(Problem::Twice { resource: item.label(), first: format!("{}:{}", first.file, first.line) });
            }
        }
        Ok(())
    }

    /// Writes the namespace into one resource.
    pub(super) fn apply_to(&self, item: &mut Resource, schemas: &Schemas) -> Result<(), Problem> {
        let is_core = item.api_version() == "v1";
        let is_binding = matches!(item.kind(), "RoleBinding" | "ClusterRoleBinding");
        let mut set = |node: &mut Node| self.set(node);
        if !item.id(schemas).cluster {
            let spec = FieldSpec::any("metadata/namespace", true);
            spec.apply(&mut item.node, Create::Scalar(Tag::Unset), &mut set)?;
        }
        if is_binding {
            self.move_subjects(&mut item.node)?;
        }
        let is_left = |spec: &&FieldSpec| {
            spec.path != "metadata/namespace"
                && (is_core || spec.path != "metadata/name")
                && !(is_binding
                    && matches!(spec.gvk.kind.as_str(), "RoleBinding" | "ClusterRoleBinding")
                    && spec.path == "subjects/namespace")
        };
        let specs: Vec<FieldSpec> = self.specs.iter().filter(is_left).cloned().collect();
        apply_all(&specs, &mut item.node, Create::Scalar(Tag::Text), &mut set)
    }

    fn set(&self, node: &mut Node) -> Result<(), Problem> {
        if self.unset_only && !node.is_void() && !node.written().is_empty() {
            return Ok(());
        }
        node.set_here(Node::text(self.name.clone()))
    }

    fn move_subjects(&self, binding: &mut Node) -> Result<(), Problem> {
        let Some(subjects) = binding.get_mut("subjects").filter(|subjects| !subjects.is_null()) else { return Ok(()) };
        let kind = subjects.kind_name();
        let Content::List(subjects) = &mut subjects.content else {
            return Err(Problem::Shape { expected: "a list", found: kind, field: "subjects".to_owned() });
        };
        for subject in subjects {
            let has = |name: &str, value: &str| subject.get(name).is_some_and(|found| found.written() == value);
            let moves = match self.subjects {
                Subjects::Default => has("name", "default"),
                Subjects::ServiceAccounts => has("kind", "ServiceAccount"),
                Subjects::None => false,
            };
            if moves && let Some(field) = subject.get_or_insert("namespace", || Node::scalar("", Tag::Unset)) {
                self.set(field)?;
            }
        }
        Ok(())
    }
}
