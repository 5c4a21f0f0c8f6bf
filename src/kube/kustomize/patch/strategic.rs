//! Strategic merge: a patch laid over an object, field by field.
//!
//! Rules of kustomize, which differ from those of the API server: `$retainKeys`, `$setElementOrder` and
//! `$deleteFromPrimitiveList` mean nothing, a field whose value is an empty null disappears from every mapping that is
//! visited, and every mapping of the object is visited, also where the patch says nothing.
//!
//! # Failure
//! The patch has a mapping where the object has a list (or the like), or an unknown `$patch` directive.

use super::{
    super::{
        Problem,
        node::{Content, Node},
        schema::{Schema, Schemas},
    },
    list,
};

/// Where the result of a merge is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nowhere: the part is to be removed.
    Gone,
    /// In the object, which was changed in place.
    Object,
    /// In the patch, to be put in the object's place.
    Patch,
}

/// Says what `$patch` asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Directive {
    Merge,
    Replace,
    Delete,
}

impl Directive {
    pub(super) fn parse(text: &str) -> Result<Directive, Problem> {
        match text {
            "merge" => Ok(Directive::Merge),
            "replace" => Ok(Directive::Replace),
            "delete" => Ok(Directive::Delete),
            other => Err(Problem::Directive { found: other.to_owned() }),
        }
    }
}

const KEY: &str = "$patch";

/// Merges a patch into an object. Afterwards the object may be void, which means that it was deleted.
///
/// # Errors
/// See the module.
pub(in super::super) fn merge(object: &mut Node, mut patch: Node, schemas: &Schemas) -> Result<(), Problem> {
    match walk(Some(object), Some(&mut patch), None, schemas)? {
        Outcome::Object => {}
        Outcome::Patch => *object = patch,
        Outcome::Gone => *object = Node::map(),
    }
    Ok(())
}

fn present(node: Option<&Node>) -> Option<&Node> {
    node.filter(|node| !node.is_null())
}

/// Returns what is known of a part: what its parent knows of it, or what its own kind tells.
fn schema_of<'a>(known: Option<Schema<'a>>, sources: [Option<&Node>; 2], schemas: &'a Schemas) -> Option<Schema<'a>> {
    known.or_else(|| {
        sources.into_iter().flatten().find_map(|node| {
            let text = |name: &str| node.get(name).filter(|field| !field.is_void()).map_or("", Node::written);
            let (api_version, kind) = (text("apiVersion"), text("kind"));
            if api_version.is_empty() || kind.is_empty() { None } else { schemas.of_kind(api_version, kind) }
        })
    })
}

pub(super) fn walk(
    object: Option<&mut Node>,
    patch: Option<&mut Node>,
    schema: Option<Schema<'_>>,
    schemas: &Schemas,
) -> Result<Outcome, Problem> {
    let (here, there) = (present(object.as_deref()), present(patch.as_deref()));
    let schema = schema_of(schema, [here, there], schemas);
    if let (Some(here), Some(there)) = (here, there)
        && std::mem::discriminant(&here.content) != std::mem::discriminant(&there.content)
    {
        let (expected, found) = (here.kind_name(), there.kind_name());
        return Err(Problem::PatchShape { expected, found, at: there.at });
    }
    match here.or(there).map(|node| &node.content) {
        None | Some(Content::Map(_)) => mapping(object, patch, schema, schemas),
        Some(Content::List(_)) => match schema.as_ref().and_then(Schema::merge_keys) {
            Some(keys) => list::merged(object, patch, &keys, schema, schemas),
            None => Ok(if patch.is_some() { Outcome::Patch } else { Outcome::Object }),
        },
        Some(Content::Scalar(_)) => Ok(if patch.is_some() { Outcome::Patch } else { Outcome::Object }),
    }
}

fn mapping(
    object: Option<&mut Node>,
    patch: Option<&mut Node>,
    schema: Option<Schema<'_>>,
    schemas: &Schemas,
) -> Result<Outcome, Problem> {
    let Some(object) = object else { return patch.map_or(Ok(Outcome::Gone), |patch| add(patch, schema, schemas)) };
    if object.is_null() {
        return match patch {
            Some(patch) => add(patch, schema, schemas),
            // A null that someone wrote as a word stays; `field:` with nothing behind it goes.
            None if object.written().is_empty() => Ok(Outcome::Gone),
            None => Ok(Outcome::Object),
        };
    }
    let Some(patch) = patch else {
        fields(object, None, schema.as_ref(), schemas)?;
        return Ok(Outcome::Object);
    };
    if patch.is_null() {
        return Ok(Outcome::Gone);
    }
    match take_directive(patch)? {
        Directive::Delete => Ok(Outcome::Gone),
        Directive::Replace => {
            settle_fields(patch, schema.as_ref(), schemas)?;
            Ok(Outcome::Patch)
        }
        Directive::Merge => {
            fields(object, Some(patch), schema.as_ref(), schemas)?;
            Ok(Outcome::Object)
        }
    }
}

/// Takes a part of the patch that the object does not have.
fn add(patch: &mut Node, schema: Option<Schema<'_>>, schemas: &Schemas) -> Result<Outcome, Problem> {
    if patch.is_null() {
        return Ok(Outcome::Patch);
    }
    if matches!(take_directive(patch), Ok(Directive::Delete)) {
        return Ok(Outcome::Gone);
    }
    settle_fields(patch, schema.as_ref(), schemas)?;
    Ok(Outcome::Patch)
}

fn take_directive(patch: &mut Node) -> Result<Directive, Problem> {
    let Some(found) = patch.get(KEY) else { return Ok(Directive::Merge) };
    let directive = Directive::parse(found.written())?;
    patch.remove(KEY);
    Ok(directive)
}

fn names(node: Option<&Node>) -> Vec<String> {
    node.and_then(Node::as_map).unwrap_or_default().iter().map(|field| field.name.clone()).collect()
}

fn fields(
    object: &mut Node,
    mut patch: Option<&mut Node>,
    schema: Option<&Schema<'_>>,
    schemas: &Schemas,
) -> Result<(), Problem> {
    let mut all = names(Some(object));
    all.extend(names(patch.as_deref()));
    all.sort();
    all.dedup();
    for name in all {
        let known = schema.and_then(|schema| schema.field(&name));
        let theirs = patch.as_mut().and_then(|patch| patch.get_mut(&name));
        match walk(object.get_mut(&name), theirs, known, schemas)? {
            Outcome::Object => {}
            Outcome::Gone => {
                object.remove(&name);
            }
            Outcome::Patch => {
                if let Some(value) = patch.as_mut().and_then(|patch| patch.remove(&name)) {
                    object.set(&name, value)?;
                }
            }
        }
    }
    Ok(())
}

/// Carries out what a patch says about itself where nothing is to be patched: nulls and deletions go, directives too.
pub(super) fn settle(node: &mut Node, schema: Option<Schema<'_>>, schemas: &Schemas) -> Result<Outcome, Problem> {
    if node.is_null() {
        return Ok(Outcome::Gone);
    }
    let schema = schema_of(schema, [Some(node), None], schemas);
    match &node.content {
        Content::Scalar(_) => {}
        Content::Map(_) => {
            if take_directive(node)? == Directive::Delete {
                return Ok(Outcome::Gone);
            }
            settle_fields(node, schema.as_ref(), schemas)?;
        }
        Content::List(_) => {
            if let Some(keys) = schema.as_ref().and_then(Schema::merge_keys) {
                return list::settled(node, &keys, schema, schemas);
            }
        }
    }
    Ok(Outcome::Object)
}

fn settle_fields(node: &mut Node, schema: Option<&Schema<'_>>, schemas: &Schemas) -> Result<(), Problem> {
    for name in names(Some(node)) {
        let known = schema.and_then(|schema| schema.field(&name));
        let Some(field) = node.get_mut(&name) else { continue };
        if settle(field, known, schemas)? == Outcome::Gone {
            node.remove(&name);
        }
    }
    Ok(())
}
