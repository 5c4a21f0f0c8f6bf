//! How resources are told apart: group, version, kind, name and namespace.

use super::schema::Schemas;

/// Stands for the namespace of kinds that have none.
pub(super) const NO_NAMESPACE: &str = "_non_namespaceable_";

/// Names a kind, or selects kinds: an empty part selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Gvk {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
}

/// Splits an `apiVersion` into group and version.
pub(super) fn split(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

impl Gvk {
    /// Tells whether this selector selects a kind.
    pub(super) fn selects(&self, group: &str, version: &str, kind: &str) -> bool {
        let fits = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
        fits(&self.group, group) && fits(&self.version, version) && fits(&self.kind, kind)
    }

    /// Tells whether this selector selects another kind.
    pub(super) fn selects_kind(&self, other: &Gvk) -> bool {
        self.selects(&other.group, &other.version, &other.kind)
    }

    /// Orders kinds as kustomize sorts its configurations: what others need comes first.
    pub(super) fn rank(&self) -> (i32, String) {
        let or = |text: &str, none: &str| if text.is_empty() { none.to_owned() } else { text.to_owned() };
        let text = format!("{}_{}_{}", or(&self.group, "~G"), or(&self.version, "~V"), or(&self.kind, "~K"));
        (super::order::default_rank(&self.kind), text)
    }
}

/// Identifies a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id<'a> {
    pub(super) group: &'a str,
    pub(super) version: &'a str,
    pub(super) kind: &'a str,
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
    /// Whether the kind is known to live outside namespaces.
    pub(super) cluster: bool,
}

impl<'a> Id<'a> {
    pub(super) fn new(
        api_version: &'a str,
        kind: &'a str,
        name: &'a str,
        namespace: &'a str,
        schemas: &Schemas,
    ) -> Self {
        let (group, version) = split(api_version);
        Id { group, version, kind, name, namespace, cluster: schemas.is_cluster_scoped(api_version, kind) }
    }

    pub(super) fn effective_namespace(&self) -> &'a str {
        match self.namespace {
            _ if self.cluster => NO_NAMESPACE,
            "" => "default",
            other => other,
        }
    }

    pub(super) fn same_kind_and_name(&self, other: &Id<'_>) -> bool {
        (self.group, self.version, self.kind, self.name) == (other.group, other.version, other.kind, other.name)
    }

    pub(super) fn same(&self, other: &Id<'_>) -> bool {
        self.same_kind_and_name(other) && self.effective_namespace() == other.effective_namespace()
    }

    pub(super) fn gvk(&self) -> Gvk {
        Gvk { group: self.group.to_owned(), version: self.version.to_owned(), kind: self.kind.to_owned() }
    }

    /// Names the resource for people.
    pub(super) fn label(&self) -> String {
        let kind = if self.kind.is_empty() { "any kind" } else { self.kind };
        let name = if self.name.is_empty() { "any name" } else { self.name };
        match self.namespace {
            "" | NO_NAMESPACE => format!("{kind} {name}"),
            namespace => format!("{kind} {namespace}/{name}"),
        }
    }
}
