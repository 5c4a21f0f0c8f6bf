//! Lists that merge: elements meet by one or more keys, or by their own value.
//!
//! New elements of the patch come first. An element that lacks a key changes how the others are found; what happens then
//! is not what one would design, but it is what kustomize does, and fields like `ports` depend on it.

use super::{
    super::{
        Problem,
        node::{Content, Node, Tag},
        schema::{Schema, Schemas},
    },
    strategic::{Directive, Outcome, settle, walk},
};

const KEY: &str = "$patch";

/// Merges the list of a patch into the list of an object.
pub(super) fn merged(
    object: Option<&mut Node>,
    patch: Option<&mut Node>,
    keys: &[String],
    schema: Option<Schema<'_>>,
    schemas: &Schemas,
) -> Result<Outcome, Problem> {
    let object = object.filter(|node| !node.is_null());
    match (object, patch) {
        (None, None) => Ok(Outcome::Gone),
        (None, Some(patch)) => {
            elements(patch, None, true, keys, schema, schemas)?;
            Ok(Outcome::Patch)
        }
        (Some(object), None) => {
            elements(object, None, false, keys, schema, schemas)?;
            Ok(Outcome::Object)
        }
        (Some(_), Some(patch)) if patch.is_null() => Ok(Outcome::Gone),
        (Some(object), Some(patch)) => match take_directive(patch)? {
            Directive::Delete => Ok(Outcome::Gone),
            Directive::Replace => {
                elements(patch, None, true, keys, schema, schemas)?;
                Ok(Outcome::Patch)
            }
            Directive::Merge => {
                elements(object, Some(patch), false, keys, schema, schemas)?;
                Ok(Outcome::Object)
            }
        },
    }
}

/// Carries out what a list of a patch says about itself.
pub(super) fn settled(
    list: &mut Node,
    keys: &[String],
    schema: Option<Schema<'_>>,
    schemas: &Schemas,
) -> Result<Outcome, Problem> {
    if take_directive(list)? == Directive::Delete {
        return Ok(Outcome::Gone);
    }
    elements(list, None, true, keys, schema, schemas)?;
    Ok(Outcome::Object)
}

/// Finds an element that is nothing but `$patch`, and removes it.
fn take_directive(list: &mut Node) -> Result<Directive, Problem> {
    let Content::List(items) = &mut list.content else { return Ok(Directive::Merge) };
    let found = items.iter().find_map(|item| item.get(KEY).map(|directive| (item, directive)));
    let Some((item, directive)) = found else { return Ok(Directive::Merge) };
    if item.as_map().is_some_and(|fields| fields.len() > 1) {
        return Ok(Directive::Merge);
    }
    let written = directive.written().to_owned();
    let directive = Directive::parse(&written)?;
    place(items, None, &[KEY.to_owned()], &[written])?;
    Ok(directive)
}

fn items_of(node: &mut Node) -> Option<&mut Vec<Node>> {
    match &mut node.content {
        Content::List(items) => Some(items),
        _ => None,
    }
}

/// Merges elements: those of the patch with those of the list, or (`alone`) each of the list with itself.
fn elements(
    list: &mut Node,
    patch: Option<&mut Node>,
    alone: bool,
    keys: &[String],
    schema: Option<Schema<'_>>,
    schemas: &Schemas,
) -> Result<(), Problem> {
    let Some(list) = items_of(list) else { return Ok(()) };
    let mut patch = patch.and_then(items_of);
    let element_schema = schema.as_ref().and_then(Schema::elements);
    let by_value = keys.is_empty();
    let value_key = [String::new()];
    let keys = if by_value { &value_key[..] } else { keys };
    let mut wanted: Vec<Vec<String>> = Vec::new();
    // The patch goes first, so its new elements do.
    for item in patch.as_deref().into_iter().flatten().chain(list.iter()) {
        let values = if by_value { vec![item.written().to_owned()] } else { key_values(item, keys) };
        if !wanted.contains(&values) {
            wanted.push(values);
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    if keys.len() > 1 {
        reconcile(&mut wanted);
    }
    let mut result: Vec<Node> = Vec::new();
    let mut valid_keys = Vec::new();
    for values in &wanted {
        let (used_keys, used_values) = usable(&wanted, values, keys);
        let (find_keys, find_values) = usable(std::slice::from_ref(&used_values), &used_values, &used_keys);
        let here = find(list, &find_keys, &find_values);
        let there = patch.as_deref().and_then(|patch| find(patch, &find_keys, &find_values));
        let outcome = match (alone, here) {
            (true, None) => Outcome::Gone,
            (true, Some(at)) => settle(&mut list[at], element_schema.clone(), schemas)?,
            (false, _) => {
                let theirs = there.and_then(|at| patch.as_mut().map(|patch| &mut patch[at]));
                walk(here.map(|at| &mut list[at]), theirs, element_schema.clone(), schemas)?
            }
        };
        let merged = match outcome {
            Outcome::Gone => None,
            Outcome::Object => here.map(|at| list[at].clone()),
            Outcome::Patch => there.and_then(|at| patch.as_ref().map(|patch| patch[at].clone())),
        };
        match merged.filter(|node| !node.is_null() && !node.is_empty_map()) {
            None => place(list, None, &used_keys, &used_values)?,
            Some(mut merged) => {
                for (key, value) in used_keys.iter().zip(&used_values) {
                    if merged.get(key).is_none() && !value.is_empty() {
                        let value = Node::scalar(value.clone(), Tag::Unset);
                        if key.is_empty() { merged.set_here(value)? } else { merged.set(key, value)? }
                    }
                }
                if let (Outcome::Object, Some(at)) = (outcome, here) {
                    list[at] = merged.clone();
                }
                place(&mut result, Some(&merged), &used_keys, &used_values)?;
            }
        }
        valid_keys = used_keys;
    }
    append(&mut result, list, &valid_keys)?;
    *list = result;
    Ok(())
}

/// Returns what an element has for each key; an empty text for what it lacks.
fn key_values(item: &Node, keys: &[String]) -> Vec<String> {
    let value = |key: &String| item.get(key).filter(|value| !value.is_void()).map_or("", Node::written).to_owned();
    keys.iter().map(value).collect()
}

/// Makes equal what differs only in keys that one of the two lacks.
fn reconcile(wanted: &mut [Vec<String>]) {
    for i in 0..wanted.len() {
        let first = wanted[i].clone();
        for j in 0..wanted.len() {
            if let Some(both) = common(&first, &wanted[j]) {
                wanted[i].clone_from(&both);
                wanted[j] = both;
            }
        }
    }
}

fn common(a: &[String], b: &[String]) -> Option<Vec<String>> {
    let mut shared = false;
    let mut both = Vec::with_capacity(a.len());
    for (a, b) in a.iter().zip(b) {
        if a == b {
            shared = true;
        } else if !a.is_empty() && !b.is_empty() {
            return None;
        }
        both.push(if a.is_empty() { b.clone() } else { a.clone() });
    }
    shared.then_some(both)
}

/// Leaves out keys that no element has.
fn usable(all: &[Vec<String>], values: &[String], keys: &[String]) -> (Vec<String>, Vec<String>) {
    let is_used = |at: usize| all.iter().any(|values| values.get(at).is_some_and(|value| !value.is_empty()));
    // The same name at two places counts as one key.
    let used: Vec<&String> = (0..keys.len()).filter(|at| is_used(*at)).map(|at| &keys[at]).collect();
    if used.is_empty() {
        return (keys.to_vec(), values.to_vec());
    }
    let is_kept = |at: usize| !values[at].is_empty() || used.contains(&&keys[at]);
    let used_values = (0..values.len()).filter(|at| is_kept(*at)).map(|at| values[at].clone()).collect();
    (keys.iter().filter(|key| used.contains(key)).cloned().collect(), used_values)
}

/// Finds the first element that has these values; with an empty key, the first of that value.
fn find(list: &[Node], keys: &[String], values: &[String]) -> Option<usize> {
    let value = |at: usize| values.get(at).map_or("", String::as_str);
    if keys.first().is_none_or(String::is_empty) {
        return list.iter().position(|item| item.written() == value(0));
    }
    let has = |item: &Node, at: usize| item.get(&keys[at]).is_some_and(|found| found.written() == value(at));
    list.iter().position(|item| item.as_map().is_some() && (0..keys.len()).all(|at| has(item, at)))
}

/// Puts an element in the place of those that have these values, or at the end; without an element, removes them.
/// Elements that are nothing disappear.
fn place(list: &mut Vec<Node>, element: Option<&Node>, keys: &[String], values: &[String]) -> Result<(), Problem> {
    let wants_mapping =
        keys.first().is_some_and(|key| !key.is_empty()) && values.first().is_some_and(|v| !v.is_empty());
    let mut placed = false;
    let mut result = Vec::with_capacity(list.len() + 1);
    for item in list.drain(..) {
        if item.is_null() || item.is_empty_map() {
            continue;
        }
        if item.as_map().is_none() && wants_mapping {
            result.push(item);
            continue;
        }
        let mut fits = !values.is_empty();
        for (key, value) in keys.iter().zip(values) {
            if !element_has(&item, key, value)? {
                fits = false;
                break;
            }
        }
        if !fits {
            if !values.is_empty() {
                result.push(item);
            }
            continue;
        }
        placed = true;
        result.extend(element.cloned());
    }
    *list = result;
    if let Some(element) = element.filter(|element| !element.is_null() && !placed) {
        list.push(element.clone());
    }
    Ok(())
}

fn element_has(item: &Node, key: &str, value: &str) -> Result<bool, Problem> {
    if key.is_empty() {
        if item.as_scalar().is_none() {
            let (expected, found) = ("a single value", item.kind_name());
            return Err(Problem::PatchShape { expected, found, at: item.at });
        }
        return Ok(item.written() == value);
    }
    if item.as_map().is_none() {
        return Err(Problem::PatchShape { expected: "a mapping", found: item.kind_name(), at: item.at });
    }
    Ok(item.get(key).is_some_and(|found| value.is_empty() || found.written() == value))
}

/// Adds the elements of a list to the merged ones; an element that is there already is replaced.
fn append(result: &mut Vec<Node>, list: &[Node], keys: &[String]) -> Result<(), Problem> {
    for item in list {
        if keys.first().is_none_or(String::is_empty) {
            place(result, Some(item), &[String::new()], &[item.written().to_owned()])?;
            continue;
        }
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            if item.as_map().is_none() && !item.is_null() {
                return Err(Problem::PatchShape { expected: "a mapping", found: item.kind_name(), at: item.at });
            }
            match item.get(key) {
                None => result.push(item.clone()),
                Some(value) => values.push(value.written().to_owned()),
            }
        }
        if keys.len() > 1 {
            place(result, None, keys, &values)?;
        }
        place(result, Some(item), keys, &values)?;
    }
    Ok(())
}
