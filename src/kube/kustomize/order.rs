//! The order of what comes out: as it was put together, or by kind with namespaces first and webhooks last.

use super::{Problem, id::Id, schema::Schemas, set::Set};

const FIRST: &[&str] = &[
    "Namespace",
    "ResourceQuota",
    "StorageClass",
    "CustomResourceDefinition",
    "ServiceAccount",
    "PodSecurityPolicy",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ConfigMap",
    "Secret",
    "Endpoints",
    "Service",
    "LimitRange",
    "PriorityClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
];

const LAST: &[&str] = &["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

/// Says how to sort.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Not at all.
    Fifo,
    /// By kind: the first ones, all others, the last ones.
    Legacy { first: Vec<String>, last: Vec<String> },
}

impl Order {
    /// Returns kustomize's own order of kinds.
    pub(super) fn by_kind() -> Order {
        let owned = |kinds: &[&str]| kinds.iter().map(|kind| (*kind).to_owned()).collect();
        Order::Legacy { first: owned(FIRST), last: owned(LAST) }
    }

    /// Sorts.
    pub(super) fn sort(&self, set: &mut Set, schemas: &Schemas) -> Result<(), Problem> {
        let Order::Legacy { first, last } = self else { return Ok(()) };
        set.items.sort_by_cached_key(|item| {
            let id = item.id(schemas);
            let kind = sort_text(&[(id.group, "~G"), (id.version, "~V"), (id.kind, "~K")]);
            // Of two namespaces, the one of the core group comes first although its text sorts last.
            let is_core_namespace = id.kind == "Namespace" && id.group.is_empty();
            (rank(id.kind, first, last), !is_core_namespace, kind, full_text(&id))
        });
        Ok(())
    }
}

fn rank<T: AsRef<str>>(kind: &str, first: &[T], last: &[T]) -> i32 {
    let place = |at: usize| i32::try_from(at).unwrap_or(i32::MAX / 2);
    // A kind that is named more than once has its last place.
    if let Some(at) = last.iter().rposition(|known| known.as_ref() == kind) {
        return 1 + place(at);
    }
    match first.iter().rposition(|known| known.as_ref() == kind) {
        Some(at) => place(at) - place(first.len()),
        None => 0,
    }
}

/// Returns the place of a kind in kustomize's own order.
pub(super) fn default_rank(kind: &str) -> i32 {
    rank(kind, FIRST, LAST)
}

fn sort_text(parts: &[(&str, &str)]) -> String {
    let parts: Vec<&str> =
        parts.iter().map(|(text, none)| if text.is_empty() { none } else { text }).copied().collect();
    parts.join("_")
}

fn full_text(id: &Id<'_>) -> String {
    let or = |text: &str, none: &str| if text.is_empty() { none.to_owned() } else { text.to_owned() };
    let kind = format!("{}.{}.{}", or(id.kind, "[noKind]"), or(id.version, "[noVer]"), or(id.group, "[noGrp]"));
    format!("{kind}|{}|{}", or(id.namespace, "~X"), or(id.name, "~N"))
}
