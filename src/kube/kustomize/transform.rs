//! One step of a build: a transformer with everything that it needs, and the place that asks for it.

use std::collections::BTreeMap;

use crate::yaml::Mark;

use super::{
    Error, Problem,
    fieldspec::FieldSpec,
    hash,
    images::Image,
    labels,
    names::{self, End},
    namespace::Namespace,
    patch::{self, Patch, json::Operation},
    replacements::Replacement,
    replicas::Replica,
    resource::Resource,
    schema::Schemas,
    selector::Selector,
    set::Set,
    trail::Step,
    value_add::ValueAdd,
};

/// What a step does.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// Strategic merge patches, each for the resource of its name.
    MergeByName(Vec<Resource>),
    Patch {
        patch: Patch,
        target: Option<Selector>,
    },
    /// A JSON patch as `patchesJson6902` has it: the change of a name is not remembered.
    Json {
        operations: Vec<Operation>,
        target: Selector,
    },
    Namespace(Namespace),
    Extend {
        end: End,
        text: String,
        specs: Vec<FieldSpec>,
    },
    /// Labels or annotations.
    Entries {
        entries: BTreeMap<String, String>,
        specs: Vec<FieldSpec>,
    },
    Image {
        image: Image,
        specs: Vec<FieldSpec>,
    },
    Replica {
        replica: Replica,
        specs: Vec<FieldSpec>,
    },
    Replacements(Vec<Replacement>),
    ValueAdd(ValueAdd),
    Hash,
}

/// A step, where it was asked for, and what the trail says of it.
#[derive(Clone, Debug)]
pub(super) struct Transformer {
    pub(super) action: Action,
    pub(super) file: String,
    pub(super) at: Mark,
    pub(super) step: Option<Step>,
}

impl Transformer {
    /// Takes the step.
    ///
    /// # Errors
    /// What the action says, at the place that asked for it.
    pub(super) fn apply(&self, set: &mut Set, schemas: &Schemas) -> Result<(), Error> {
        self.action.apply(set, schemas).map_err(|problem| problem.at(&self.file, self.at))?;
        if let Some(step) = &self.step {
            for item in &mut set.items {
                item.trail.change(step);
            }
        }
        set.drop_gone();
        Ok(())
    }
}

impl Action {
    fn apply(&self, set: &mut Set, schemas: &Schemas) -> Result<(), Problem> {
        match self {
            Action::MergeByName(patches) => {
                for one in patches {
                    Patch::Merge(vec![one.clone()]).apply(set, None, schemas)?;
                    set.drop_gone();
                }
                Ok(())
            }
            Action::Patch { patch, target } => patch.apply(set, target.as_ref(), schemas),
            Action::Json { operations, target } => {
                for at in target.select(set, schemas)? {
                    patch::apply_json(operations, &mut set.items[at])?;
                }
                Ok(())
            }
            Action::Namespace(namespace) => namespace.apply(set, schemas),
            Action::Extend { end, text, specs } => names::extend(set, *end, text, specs, schemas),
            Action::Entries { entries, specs } => labels::apply(set, entries, specs),
            Action::Image { image, specs } => image.apply(set, specs),
            Action::Replica { replica, specs } => replica.apply(set, specs, schemas),
            Action::Replacements(all) => all.iter().try_for_each(|replacement| replacement.apply(set, schemas)),
            Action::ValueAdd(add) => add.apply(set, schemas),
            Action::Hash => add_hashes(set, schemas),
        }
    }
}

/// Adds the hash of its content to the name of every resource that asks for it.
pub(super) fn add_hashes(set: &mut Set, schemas: &Schemas) -> Result<(), Problem> {
    for item in set.items.iter_mut().filter(|item| item.hashed) {
        let hash = hash::of(item).map_err(|problem| problem.of(item.label()))?;
        item.remember(schemas);
        let name = format!("{}-{hash}", item.name());
        item.set_name(&name)?;
    }
    Ok(())
}
