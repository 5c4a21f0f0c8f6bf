//! Documents in a template's output: where they begin, what they are, in which order they are installed.

use std::cmp::Ordering;

use crate::yaml::{Keep, Node, Value};

use super::metadata::scalar;

/// The order in which helm installs kinds; others follow by name.
const ORDER: [&str; 38] = [
    "PriorityClass",
    "Namespace",
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "PodSecurityPolicy",
    "PodDisruptionBudget",
    "ServiceAccount",
    "Secret",
    "SecretList",
    "ConfigMap",
    "StorageClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleList",
    "ClusterRoleBinding",
    "ClusterRoleBindingList",
    "Role",
    "RoleList",
    "RoleBinding",
    "RoleBindingList",
    "Service",
    "DaemonSet",
    "Pod",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "StatefulSet",
    "Job",
    "CronJob",
    "IngressClass",
    "Ingress",
    "APIService",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
];

/// The events of hooks.
const EVENTS: [&str; 9] = [
    "pre-install",
    "post-install",
    "pre-delete",
    "post-delete",
    "pre-upgrade",
    "post-upgrade",
    "pre-rollback",
    "post-rollback",
    "test",
];

/// Compares two kinds by the order of installation.
pub(super) fn install_order(a: &str, b: &str) -> Ordering {
    let place = |kind: &str| ORDER.iter().position(|known| *known == kind);
    match (place(a), place(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0c)
}

/// Splits at every line that starts with `---`, whatever follows, and trims: the places of the documents.
pub(super) fn split(text: &str) -> Vec<(usize, usize)> {
    let trimmed_start = text.len() - text.trim_start().len();
    let trimmed_end = text.trim_end().len().max(trimmed_start);
    let bytes = &text.as_bytes()[..trimmed_end];
    let mut parts = Vec::new();
    let mut push = |mut start: usize, mut end: usize| {
        if start == end {
            return;
        }
        let part = &text[start..end];
        start += part.len() - part.trim_start().len();
        end = start.max(start + text[start..end].trim_end().len());
        parts.push((start, end));
    };
    let mut begin = trimmed_start;
    let mut at = trimmed_start;
    // Where a line begins: at the very start, and behind every line feed that no marker before it has taken.
    let mut line = Some(trimmed_start);
    while let Some(mark) = line {
        if bytes[mark..].starts_with(b"---") {
            let mut end = mark;
            while end > begin && is_space(bytes[end - 1]) {
                end -= 1;
            }
            push(begin, end);
            at = mark + 3;
            while at < bytes.len() && is_space(bytes[at]) {
                at += 1;
            }
            begin = at;
        }
        line = text[at..trimmed_end].find('\n').map(|feed| at + feed + 1);
        at = line.unwrap_or(at);
    }
    push(begin, trimmed_end);
    parts
}

/// What helm reads of a document.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// The kind.
    pub kind: String,
    /// The name.
    pub name: String,
    /// The hook's events, `Some(None)` when one of them is unknown.
    pub hooks: Option<Option<Vec<String>>>,
    /// The hook's weight.
    pub weight: i64,
}

impl Head {
    /// The parts of a document that [`Head::read`] looks at.
    pub(super) const PARTS: Keep = Keep::Keys(&[
        ("apiVersion", Keep::All),
        ("kind", Keep::All),
        ("metadata", Keep::Keys(&[("name", Keep::All), ("annotations", Keep::All)])),
    ]);

    /// Reads the head of a document.
    pub(super) fn read(node: &Node) -> Result<Head, (Option<u32>, String)> {
        let mut head = Head::default();
        let bad = |node: &Node, what: &str| {
            Err((
                Some(node.at.line),
                format!(
                    "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {} into Go {what}",
                    node.kind_name()
                ),
            ))
        };
        let text = |node: &Node, field: &str| scalar(node, field).map_err(|message| (Some(node.at.line), message));
        if node.is_null() {
            return Ok(head);
        }
        unkeyable(node)?;
        if node.as_map().is_none() {
            return bad(node, "value of type util.SimpleHead");
        }
        if let Some(version) = field(node, "apiVersion") {
            text(version, "apiVersion")?;
        }
        if let Some(kind) = field(node, "kind") {
            head.kind = text(kind, "kind")?;
        }
        let Some(metadata) = field(node, "metadata").filter(|metadata| !metadata.is_null()) else {
            return Ok(head);
        };
        if metadata.as_map().is_none() {
            return bad(metadata, "struct field SimpleHead.metadata");
        }
        if let Some(name) = field(metadata, "name") {
            head.name = text(name, "metadata.name")?;
        }
        let Some(annotations) = field(metadata, "annotations").filter(|node| !node.is_null()) else {
            return Ok(head);
        };
        let Some(entries) = annotations.as_map() else {
            return bad(annotations, "struct field .metadata.annotations of type map[string]string");
        };
        for (key, value) in entries {
            let value = text(value, "an annotation")?;
            match key.key().as_deref() {
                Some("helm.sh/hook") => head.hooks = Some(events(&value)),
                Some("helm.sh/hook-weight") => head.weight = value.parse().unwrap_or(0),
                _ => {}
            }
        }
        Ok(head)
    }
}

/// Refuses what JSON has no form for, as helm's reader does on its way.
fn unkeyable(node: &Node) -> Result<(), (Option<u32>, String)> {
    match &node.value {
        Value::Float(number) if !number.is_finite() => {
            Err((Some(node.at.line), format!("json: unsupported value: {number}")))
        }
        Value::Seq(items) => items.iter().try_for_each(unkeyable),
        Value::Map(entries) => entries.iter().try_for_each(|(key, value)| {
            if key.key().is_none() {
                return Err((Some(key.at.line), format!("unsupported map key: {}", key.kind_name())));
            }
            unkeyable(value)
        }),
        _ => Ok(()),
    }
}

/// Finds a field as Go's JSON reader does: by its name, or else by its name in other letters.
fn field<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    node.get(name).or_else(|| {
        node.as_map()?
            .iter()
            .find(|(key, _)| key.key().is_some_and(|key| key.eq_ignore_ascii_case(name)))
            .map(|(_, value)| value)
    })
}

fn events(text: &str) -> Option<Vec<String>> {
    text.split(',')
        .map(|event| {
            let event = event.trim().to_lowercase();
            let event = if event == "test-success" { "test" } else { &event };
            EVENTS.iter().find(|known| **known == event).map(|known| (*known).to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Vec<&str> {
        split(text).into_iter().map(|(start, end)| &text[start..end]).collect()
    }

    #[test]
    fn splits_as_helm() {
        assert_eq!(parts("---\na: 1\n---\nb: 2\n"), ["a: 1", "b: 2"]);
        assert_eq!(parts("a: 1\n\n  \n--- # c\nb: 2"), ["a: 1", "# c\nb: 2"]);
        assert_eq!(parts("a: x---y\n ---\nb: 1"), ["a: x---y\n ---\nb: 1"]);
        // The white space after a marker belongs to it, so the next one stands at no beginning of a line.
        assert_eq!(parts("---\n---\n\n---"), ["---"]);
        assert_eq!(parts("a: |\n  x\n-----BEGIN"), ["a: |\n  x", "--BEGIN"]);
        assert_eq!(parts("  \n "), Vec::<&str>::new());
    }

    #[test]
    fn orders_kinds() {
        let mut kinds = ["Zebra", "Service", "Namespace", "Apple", ""];
        kinds.sort_by(|a, b| install_order(a, b));
        assert_eq!(kinds, ["Namespace", "Service", "", "Apple", "Zebra"]);
    }
}
