//! Labels and annotations, wherever the field specifications want them.

use std::collections::BTreeMap;

use super::{
    Problem,
    fieldspec::{Create, FieldSpec, apply_all},
    node::Node,
    set::Set,
};

/// Sets entries of mappings.
///
/// # Errors
/// A field that should hold labels is no mapping.
pub(super) fn apply(set: &mut Set, entries: &BTreeMap<String, String>, specs: &[FieldSpec]) -> Result<(), Problem> {
    for item in &mut set.items {
        for (name, text) in entries {
            let label = item.label();
            let mut set_entry = |node: &mut Node| node.set(name, Node::text(text.clone()));
            apply_all(specs, &mut item.node, Create::Map, &mut set_entry).map_err(|problem| problem.of(label))?;
        }
    }
    Ok(())
}
