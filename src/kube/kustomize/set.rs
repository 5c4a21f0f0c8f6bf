//! The resources of a kustomization, in their order, no two with one identity.

use super::{
    Problem,
    id::Id,
    node::{Content, Node},
    resource::{Behavior, Resource},
    schema::Schemas,
};

/// Holds resources.
#[derive(Clone, Debug, Default)]
pub(super) struct Set {
    pub(super) items: Vec<Resource>,
}

impl Set {
    /// Adds a resource.
    ///
    /// # Errors
    /// One of its identity is there.
    pub(super) fn append(&mut self, resource: Resource, schemas: &Schemas) -> Result<(), Problem> {
        let id = resource.id(schemas);
        if let Some(first) = self.items.iter().find(|item| item.id(schemas).same(&id)) {
            let first = format!("{}:{}", first.origin.file, first.origin.line);
            return Err(Problem::Twice { resource: resource.label(), first });
        }
        self.items.push(resource);
        Ok(())
    }

    /// Returns the index of the one resource that has, or had, this identity.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub(super) fn one(&self, id: &Id<'_>, schemas: &Schemas) -> Result<usize, Problem> {
        let found = self.matching(schemas, |other| id.same(other));
        match found[..] {
            [one] => Ok(one),
            [] => Err(Problem::NoTarget { wanted: id.label() }),
            _ => Err(Problem::ManyTargets { wanted: id.label(), count: found.len() }),
        }
    }

    /// Returns the indices of resources whose current identity, or a former one, fits.
    pub(super) fn matching(&self, schemas: &Schemas, mut fits: impl FnMut(&Id<'_>) -> bool) -> Vec<usize> {
        let indices = 0..self.items.len();
        indices
            .filter(|index| {
                let item = &self.items[*index];
                !item.is_gone() && item.any_id(schemas, &mut fits)
            })
            .collect()
    }

    /// Takes what a generator made: adds it, or merges it into what is there.
    ///
    /// # Errors
    /// The behavior does not fit what is there.
    pub(super) fn absorb(&mut self, mut made: Resource, schemas: &Schemas) -> Result<(), Problem> {
        let found = {
            let id = made.id(schemas);
            self.matching(schemas, |other| id.same(other))
        };
        match (&found[..], made.behavior) {
            ([], Behavior::Create) => self.append(made, schemas),
            ([], _) => Err(Problem::NothingToMerge { resource: made.label() }),
            ([_], Behavior::Create) => Err(Problem::AlreadyThere { resource: made.label() }),
            ([index], behavior) => {
                let old = &self.items[*index];
                made.inherit_metadata(old)?;
                if behavior == Behavior::Merge {
                    inherit_data(&mut made.node, &old.node)?;
                    made.trail = old.trail.clone();
                }
                self.items[*index] = made;
                Ok(())
            }
            _ => Err(Problem::ManyTargets { wanted: made.label(), count: found.len() }),
        }
    }

    /// Removes what transformers emptied.
    pub(super) fn drop_gone(&mut self) {
        self.items.retain(|item| !item.is_gone());
    }
}

/// Lays the new data over the old: text below `data`, bytes below `binaryData`.
fn inherit_data(new: &mut Node, old: &Node) -> Result<(), Problem> {
    for field in ["data", "binaryData"] {
        let mut merged = std::collections::BTreeMap::new();
        for node in [old.get(field), new.get(field)].into_iter().flatten() {
            if let Content::Map(fields) = &node.content {
                merged.extend(fields.iter().map(|entry| (entry.name.clone(), entry.value.written().to_owned())));
            }
        }
        new.remove(field);
        if merged.is_empty() {
            continue;
        }
        let mut node = Node::map();
        for (name, text) in merged {
            node.set(&name, Node::text(text))?;
        }
        new.set(field, node)?;
    }
    Ok(())
}
