//! Prefixes and suffixes of names.

use super::{
    Problem,
    fieldspec::{Create, FieldSpec},
    id::Id,
    node::{Node, Tag},
    schema::Schemas,
    set::Set,
};

/// Which end of a name is extended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Prefix,
    Suffix,
}

/// Kinds whose name is not theirs to choose.
fn is_fixed(id: &Id<'_>) -> bool {
    matches!(
        (id.group, id.kind),
        (_, "CustomResourceDefinition" | "Namespace") | ("apiregistration.k8s.io", "APIService")
    )
}

/// Extends names.
///
/// # Errors
/// A field that holds a name is no single value.
pub(super) fn extend(
    set: &mut Set,
    end: End,
    text: &str,
    specs: &[FieldSpec],
    schemas: &Schemas,
) -> Result<(), Problem> {
    for item in &mut set.items {
        let original = item.original_id(schemas);
        if is_fixed(&original) {
            continue;
        }
        let gvk = original.gvk();
        for spec in specs.iter().filter(|spec| spec.gvk.selects_kind(&gvk)) {
            if spec.path == "metadata/name" && !text.is_empty() {
                match end {
                    End::Prefix => item.prefixes.push(text.to_owned()),
                    End::Suffix => item.suffixes.push(text.to_owned()),
                }
                item.remember(schemas);
            }
            let label = item.label();
            let mut set_name = |node: &mut Node| {
                let old = node.written();
                let new = match end {
                    End::Prefix => format!("{text}{old}"),
                    End::Suffix => format!("{old}{text}"),
                };
                node.set_here(Node::scalar(new, Tag::Unset))
            };
            spec.apply(&mut item.node, Create::Scalar(Tag::Text), &mut set_name).map_err(|p| p.of(label))?;
        }
    }
    Ok(())
}
