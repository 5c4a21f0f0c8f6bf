//! Replica counts by name.

use super::{
    Error, Problem,
    fieldspec::{Create, FieldSpec},
    node::{Node, Tag},
    read::Section,
    schema::Schemas,
    set::Set,
};

/// Says how many replicas a workload has.
#[derive(Clone, Debug, Default)]
pub(super) struct Replica {
    pub(super) name: String,
    pub(super) count: i64,
}

impl Replica {
    pub(super) fn read(section: &Section<'_>) -> Result<Replica, Error> {
        Ok(Replica { name: section.text_or_empty("name")?, count: section.number("count")?.unwrap_or_default() })
    }

    /// Sets the count.
    ///
    /// # Errors
    /// No workload has the name.
    pub(super) fn apply(&self, set: &mut Set, specs: &[FieldSpec], schemas: &Schemas) -> Result<(), Problem> {
        let mut found = false;
        for spec in specs {
            let fits = |id: &super::id::Id<'_>| id.name == self.name && spec.gvk.selects(id.group, id.version, id.kind);
            for at in set.matching(schemas, fits) {
                found = true;
                let item = &mut set.items[at];
                let label = item.label();
                let mut write = |node: &mut Node| node.set_here(Node::scalar(self.count.to_string(), Tag::Int));
                spec.apply(&mut item.node, Create::Scalar(Tag::Int), &mut write)
                    .map_err(|problem| problem.of(label))?;
            }
        }
        if found { Ok(()) } else { Err(Problem::NoReplicas { name: self.name.clone() }) }
    }
}
