//! Patches: strategic merge and JSON, inline or from a file, for one resource or for all that a selector finds.
//!
//! | file | owns |
//! |---|---|
//! | `strategic.rs` | laying one object over another |
//! | `list.rs` | lists that merge |
//! | `json.rs` | RFC 6902 |

pub(super) mod json;
mod list;
pub(super) mod strategic;

use super::{Error, Problem, load, resource::Resource, schema::Schemas, selector::Selector, set::Set};

/// A patch as it will be applied.
#[derive(Clone, Debug)]
pub(super) enum Patch {
    Merge(Vec<Resource>),
    Json(Vec<json::Operation>),
}

/// The text of a patch and where it stands.
pub(super) struct Source<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
    /// The line of the file where the text begins.
    pub(super) line: u32,
}

impl Source<'_> {
    /// Makes places in an inline patch places in the kustomization.
    fn shift(&self, resources: &mut [Resource]) {
        for resource in resources {
            resource.origin.line = resource.origin.line.saturating_add(self.line - 1);
        }
    }

    /// Reads the resources of a strategic merge patch.
    pub(super) fn resources(&self) -> Result<Vec<Resource>, Error> {
        let mut found = load::patches(self.file, self.text).map_err(|error| error.shifted(self.line - 1))?;
        self.shift(&mut found);
        Ok(found)
    }
}

impl Patch {
    /// Reads a patch of either form.
    ///
    /// # Errors
    /// It has neither form.
    pub(super) fn read(source: &Source<'_>) -> Result<Patch, Error> {
        if let Some(operations) = json::read(source.file, source.text, source.line)? {
            return Ok(Patch::Json(operations));
        }
        let found = source.resources()?;
        Ok(if found.is_empty() { Patch::Json(Vec::new()) } else { Patch::Merge(found) })
    }

    /// Says whether the patch may change names and kinds.
    pub(super) fn allow(&mut self, name_change: bool, kind_change: bool) {
        if let Patch::Merge(patches) = self {
            for patch in patches {
                patch.name_may_change = name_change;
                patch.kind_may_change = kind_change;
            }
        }
    }

    /// Applies the patch.
    ///
    /// # Errors
    /// Its target is missing or not unique, or it does not fit.
    pub(super) fn apply(&self, set: &mut Set, target: Option<&Selector>, schemas: &Schemas) -> Result<(), Problem> {
        match (self, target) {
            (Patch::Json(_), None) => Err(Problem::TargetMissing),
            (Patch::Json(operations), Some(target)) => {
                for at in target.select(set, schemas)? {
                    set.items[at].remember(schemas);
                    apply_json(operations, &mut set.items[at])?;
                }
                Ok(())
            }
            (Patch::Merge(patches), Some(target)) => {
                let [patch] = &patches[..] else { return Err(Problem::ManyPatches { count: patches.len() }) };
                for at in target.select(set, schemas)? {
                    let mut patch = patch.clone();
                    let api_version = set.items[at].api_version().to_owned();
                    patch.node.set("apiVersion", super::node::Node::scalar(api_version, super::node::Tag::Unset))?;
                    apply_merge(&patch, &mut set.items[at], schemas)?;
                }
                set.drop_gone();
                Ok(())
            }
            (Patch::Merge(patches), None) => {
                for patch in patches {
                    let at = set.one(&patch.id(schemas), schemas)?;
                    apply_merge(patch, &mut set.items[at], schemas)?;
                }
                Ok(())
            }
        }
    }
}

/// Applies a JSON patch to one resource.
pub(super) fn apply_json(operations: &[json::Operation], resource: &mut Resource) -> Result<(), Problem> {
    let label = resource.label();
    json::apply(operations, &mut resource.node).map_err(|problem| problem.of(label))
}

/// Lays a patch over one resource. Name and kind stay unless the patch may change them; the namespace always stays.
fn apply_merge(patch: &Resource, resource: &mut Resource, schemas: &Schemas) -> Result<(), Problem> {
    let label = resource.label();
    let (name, namespace, kind) =
        (resource.name().to_owned(), resource.namespace().to_owned(), resource.kind().to_owned());
    if patch.name_may_change || patch.kind_may_change {
        resource.remember(schemas);
    }
    strategic::merge(&mut resource.node, patch.node.clone(), schemas).map_err(|problem| problem.of(label))?;
    if resource.is_gone() {
        return Ok(());
    }
    if !patch.kind_may_change {
        resource.set_kind(&kind)?;
    }
    if !patch.name_may_change {
        resource.set_name(&name)?;
    }
    resource.set_namespace(&namespace)
}
