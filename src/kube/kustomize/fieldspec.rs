//! Field specifications: which kinds, which path, and whether to make what is missing.
//!
//! A path names fields, separated by `/` (`\/` for a slash in a name). Lists on the way are entered without being
//! named; `name[]` says that the field must be a list, and is never created.

use super::{
    Error, Problem,
    id::{Gvk, split},
    node::{Content, Node, Tag},
    read::Section,
};

/// Selects fields of kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FieldSpec {
    pub(super) gvk: Gvk,
    pub(super) path: String,
    pub(super) create: bool,
}

/// What to make at the end of a path when it is missing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Create {
    Nothing,
    Scalar(Tag),
    Map,
}

/// Splits a path at a delimiter that no backslash precedes; a leading delimiter counts for nothing.
pub(super) fn split_path(path: &str, delimiter: char) -> Vec<String> {
    let mut parts: Vec<&str> = path.split(delimiter).collect();
    if parts.len() > 1 && parts[0].is_empty() {
        parts.remove(0);
    }
    let mut found: Vec<String> = Vec::with_capacity(parts.len());
    for part in parts {
        match found.last_mut() {
            Some(last) if last.ends_with('\\') => {
                last.pop();
                last.push(delimiter);
                last.push_str(part);
            }
            _ => found.push(part.to_owned()),
        }
    }
    found
}

impl FieldSpec {
    pub(super) fn any(path: &str, create: bool) -> FieldSpec {
        FieldSpec { gvk: Gvk::default(), path: path.to_owned(), create }
    }

    pub(super) fn read(section: &Section<'_>) -> Result<FieldSpec, Error> {
        Ok(FieldSpec { gvk: gvk(section)?, path: section.text_or_empty("path")?, create: section.flag("create")? })
    }

    /// Sets the field in a resource, wherever the path leads.
    ///
    /// # Errors
    /// Something on the way is no list and no mapping, or `set` refuses.
    pub(super) fn apply(
        &self,
        resource: &mut Node,
        missing: Create,
        set: &mut dyn FnMut(&mut Node) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let (group, version) = split(resource.get("apiVersion").map_or("", Node::written));
        let kind = resource.get("kind").map_or("", Node::written);
        if !self.gvk.selects(group, version, kind) {
            return Ok(());
        }
        self.apply_anyway(resource, missing, set)
    }

    /// Sets the field whatever the kind.
    pub(super) fn apply_anyway(
        &self,
        resource: &mut Node,
        missing: Create,
        set: &mut dyn FnMut(&mut Node) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let path = split_path(&self.path, '/');
        let missing = if self.create { missing } else { Create::Nothing };
        visit(resource, &path, missing, set)
            .map_err(|problem| Problem::InField { path: self.path.clone(), problem: Box::new(problem) })
    }
}

/// Applies several specifications one after the other.
pub(super) fn apply_all(
    specs: &[FieldSpec],
    resource: &mut Node,
    missing: Create,
    set: &mut dyn FnMut(&mut Node) -> Result<(), Problem>,
) -> Result<(), Problem> {
    specs.iter().try_for_each(|spec| spec.apply(resource, missing, set))
}

fn visit(
    node: &mut Node,
    path: &[String],
    missing: Create,
    set: &mut dyn FnMut(&mut Node) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let Some((step, rest)) = path.split_first() else { return set(node) };
    if node.is_null() {
        return Ok(());
    }
    let kind = node.kind_name();
    match &mut node.content {
        Content::List(items) => return items.iter_mut().try_for_each(|item| visit(item, path, missing, set)),
        Content::Map(_) => {}
        Content::Scalar(_) => {
            return Err(Problem::Shape { expected: "a list or a mapping", found: kind, field: step.clone() });
        }
    }
    let (name, is_list) = step.strip_suffix("[]").map_or((step.as_str(), false), |name| (name, true));
    if name.is_empty() {
        return Err(Problem::EmptyPath);
    }
    let wanted = match missing {
        _ if is_list => None,
        Create::Nothing => None,
        Create::Scalar(tag) if rest.is_empty() => Some(Node::scalar("", tag)),
        _ => Some(Node::map()),
    };
    let field = match &wanted {
        // A scalar that is made has no type before it is set.
        Some(made) if made.as_scalar().is_some() => node.get_or_insert(name, || Node::scalar("", Tag::Unset)),
        Some(made) => node.get_or_insert(name, || made.clone()),
        None => node.get_mut(name),
    };
    let Some(field) = field else { return Ok(()) };
    if field.is_null() {
        match wanted {
            Some(made) => field.content = made.content,
            None if is_list => field.content = Content::List(Vec::new()),
            None => {}
        }
    }
    visit(field, rest, missing, set)
}

/// Reads group, version and kind of a section.
pub(super) fn gvk(section: &Section<'_>) -> Result<Gvk, Error> {
    Ok(Gvk {
        group: section.text_or_empty("group")?,
        version: section.text_or_empty("version")?,
        kind: section.text_or_empty("kind")?,
    })
}

/// Adds a specification unless an equal one, or one that is more particular, is there.
///
/// # Errors
/// One of them creates the field and the other does not.
pub(super) fn merge_one(specs: &mut Vec<FieldSpec>, spec: FieldSpec) -> Result<(), Problem> {
    match specs.iter().find(|known| known.path == spec.path && spec.gvk.selects_kind(&known.gvk)) {
        Some(known) if known.create != spec.create => Err(Problem::ConflictingSpecs { path: spec.path }),
        Some(_) => Ok(()),
        None => {
            specs.push(spec);
            Ok(())
        }
    }
}

/// Adds several specifications.
pub(super) fn merge_all(specs: &mut Vec<FieldSpec>, more: &[FieldSpec]) -> Result<(), Problem> {
    more.iter().try_for_each(|spec| merge_one(specs, spec.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backslash_keeps_a_slash_in_a_name() {
        assert_eq!(split_path("metadata/annotations/a.b\\/c", '/'), ["metadata", "annotations", "a.b/c"]);
        assert_eq!(split_path("/a/b", '/'), ["a", "b"]);
    }
}
