//! JSON patches (RFC 6902) as kustomize's library applies them: negative indices count from the end, `add` needs its parent.

use crate::yaml::{self, Mark};

use super::super::{
    Error, Problem, load,
    node::{Content, Field, Node, Tag},
};

/// Holds one operation.
#[derive(Clone, Debug)]
pub(in super::super) struct Operation {
    at: Mark,
    action: Action,
    path: String,
}

#[derive(Clone, Debug)]
enum Action {
    Add(Node),
    Remove,
    Replace(Node),
    Move(String),
    Copy(String),
    Test(Node),
}

/// Reads a patch; `None` when the text is no list of operations.
///
/// # Errors
/// It is a list, but an item of it is no operation.
pub(in super::super) fn read(file: &str, text: &str, first_line: u32) -> Result<Option<Vec<Operation>>, Error> {
    // Text that begins like JSON must be JSON: kustomize does not try YAML then.
    if text.starts_with('[') && serde_json::from_str::<serde_json::Value>(text).is_err() {
        return Err(Problem::NoJsonPatch.at(file, Mark { line: first_line, column: 1 }));
    }
    let Ok(documents) = yaml::documents(text, &yaml::Options::default()) else { return Ok(None) };
    let Some(document) = documents.into_iter().next() else { return Ok(None) };
    let Some(items) = document.as_seq() else { return Ok(None) };
    let mut operations = Vec::with_capacity(items.len());
    for item in items {
        let at = Mark { line: item.at.line + first_line - 1, column: item.at.column };
        operations.push(operation(item, at).map_err(|problem| problem.at(file, at))?);
    }
    Ok(Some(operations))
}

fn operation(item: &yaml::Node, at: Mark) -> Result<Operation, Problem> {
    let text = |name: &str| item.get(name).and_then(yaml::Node::as_str).map(str::to_owned);
    let need = |name: &'static str| text(name).ok_or(Problem::Operation { missing: name });
    let op = need("op")?;
    // An operation without a value sets null, as kustomize's library has it.
    let value = || item.get("value").map_or_else(|| Node::scalar("null", Tag::Null), load::from_json);
    let action = match op.as_str() {
        "add" => Action::Add(value()),
        "remove" => Action::Remove,
        "replace" => Action::Replace(value()),
        "move" => Action::Move(need("from")?),
        "copy" => Action::Copy(need("from")?),
        "test" => Action::Test(value()),
        _ => return Err(Problem::OperationName { found: op }),
    };
    Ok(Operation { at, action, path: need("path")? })
}

/// Applies a patch to an object.
///
/// # Errors
/// A path leads nowhere, or a test fails; the operation is named by its line.
pub(in super::super) fn apply(operations: &[Operation], object: &mut Node) -> Result<(), Problem> {
    let origin = object.at;
    let mut result = load::through_json(object)?;
    for operation in operations {
        let failed = |problem| Problem::InOperation {
            path: operation.path.clone(),
            line: operation.at.line,
            problem: Box::new(problem),
        };
        // Only what copies can make more of what is there than the patch's own text holds.
        let grows = matches!(operation.action, Action::Copy(_) | Action::Move(_));
        let size = |result: &Node| if grows { result.check_size() } else { Ok(()) };
        step(operation, &mut result).and_then(|()| size(&result)).map_err(failed)?;
    }
    result.check_size()?;
    result.at = origin;
    *object = result;
    Ok(())
}

fn step(operation: &Operation, root: &mut Node) -> Result<(), Problem> {
    match &operation.action {
        Action::Add(value) => add(root, &operation.path, value.clone()),
        Action::Remove => remove(root, &operation.path).map(drop),
        Action::Replace(value) => {
            if operation.path.is_empty() {
                *root = value.clone();
                return Ok(());
            }
            let (parent, key) = parent(root, &operation.path)?;
            match &mut parent.content {
                Content::List(items) => {
                    let at = index(&key, items.len(), false)?;
                    items[at] = value.clone();
                }
                // A field that is missing is made: the library does not look whether there is something to replace.
                _ => put(parent, &key, value.clone()),
            }
            Ok(())
        }
        Action::Move(from) => {
            let value = remove(root, from)?;
            add(root, &operation.path, value)
        }
        Action::Copy(from) => {
            let (parent, key) = parent(root, from)?;
            let value = child(parent, &key)?.cloned().unwrap_or_else(|| Node::scalar("null", Tag::Null));
            add(root, &operation.path, value)
        }
        Action::Test(expected) => {
            let found = if operation.path.is_empty() {
                Some(&*root)
            } else {
                let (parent, key) = parent(root, &operation.path)?;
                child(parent, &key)?.map(|node| &*node)
            };
            match found {
                Some(found) if found == expected => Ok(()),
                None if expected.is_null() => Ok(()),
                _ => Err(Problem::TestFailed),
            }
        }
    }
}

/// Splits a JSON pointer (RFC 6901) and undoes its escapes. What stands before the first slash counts for nothing.
fn split(path: &str) -> Result<Vec<String>, Problem> {
    let Some((_, rest)) = path.split_once('/') else { return Err(Problem::Pointer { found: path.to_owned() }) };
    Ok(rest.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect())
}

fn parent<'a>(root: &'a mut Node, path: &str) -> Result<(&'a mut Node, String), Problem> {
    let mut parts = split(path)?;
    let last = parts.pop().unwrap_or_default();
    let mut node = root;
    for part in parts {
        node = child(node, &part)?.ok_or(Problem::PathMissing { part })?;
    }
    if node.as_scalar().is_some() {
        return Err(Problem::PathMissing { part: last });
    }
    Ok((node, last))
}

/// Returns the index that a part names in a list of `length` elements, of which the one past the end may count.
fn index(part: &str, length: usize, past_end: bool) -> Result<usize, Problem> {
    if part == "-" && past_end {
        return Ok(length);
    }
    let wrong = || Problem::Index { part: part.to_owned(), length };
    let number: i64 = part.parse().map_err(|_| wrong())?;
    let limit = if past_end { length + 1 } else { length };
    let from_end = usize::try_from(number.unsigned_abs()).map_err(|_| wrong())?;
    let found = if number < 0 { limit.checked_sub(from_end) } else { Some(from_end) };
    found.filter(|found| *found < limit).ok_or_else(wrong)
}

fn child<'a>(node: &'a mut Node, part: &str) -> Result<Option<&'a mut Node>, Problem> {
    match &mut node.content {
        Content::Map(fields) => Ok(fields.iter_mut().find(|field| field.name == part).map(|field| &mut field.value)),
        Content::List(items) => {
            let at = index(part, items.len(), false)?;
            Ok(items.get_mut(at))
        }
        Content::Scalar(_) => Ok(None),
    }
}

fn add(root: &mut Node, path: &str, value: Node) -> Result<(), Problem> {
    if path.is_empty() {
        *root = value;
        return Ok(());
    }
    let (parent, key) = parent(root, path)?;
    match &mut parent.content {
        Content::List(items) => {
            let at = index(&key, items.len(), true)?;
            items.insert(at, value);
        }
        _ => put(parent, &key, value),
    }
    Ok(())
}

fn put(map: &mut Node, name: &str, value: Node) {
    let Content::Map(fields) = &mut map.content else { return };
    match fields.iter_mut().find(|field| field.name == name) {
        Some(field) => field.value = value,
        None => fields.push(Field { name: name.to_owned(), is_text: true, at: value.at, value }),
    }
}

fn remove(root: &mut Node, path: &str) -> Result<Node, Problem> {
    let (parent, key) = parent(root, path)?;
    match &mut parent.content {
        Content::List(items) => {
            let at = index(&key, items.len(), false)?;
            Ok(items.remove(at))
        }
        _ => parent.remove(&key).ok_or(Problem::PathMissing { part: key }),
    }
}
