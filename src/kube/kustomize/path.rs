//! Paths into a resource, as replacements and variables write them: `spec.containers.[name=app].image`.
//!
//! Looking up follows one path to one place and compares literally; picking finds every place, takes the value in
//! brackets for a regular expression that need not match as a whole, and can make what is missing.

use super::{
    Problem,
    fieldspec::split_path,
    node::{Content, Node, Tag},
    selector::expression,
};

/// What picking makes at the end of a path when it is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Scalar,
    List,
    Map,
}

impl Kind {
    pub(super) fn of(node: &Node) -> Kind {
        match node.content {
            Content::Scalar(_) => Kind::Scalar,
            Content::List(_) => Kind::List,
            Content::Map(_) => Kind::Map,
        }
    }

    fn make(self) -> Node {
        match self {
            Kind::Scalar => Node::scalar("", Tag::Unset),
            Kind::List => Node::list(Vec::new()),
            Kind::Map => Node::map(),
        }
    }
}

/// Splits a path at dots; `[…]` may hold dots.
pub(super) fn split(path: &str) -> Vec<String> {
    let mut parts = split_path(path, '.').into_iter();
    let mut found = Vec::new();
    while let Some(part) = parts.next() {
        if !part.starts_with('[') || part.ends_with(']') {
            found.push(part);
            continue;
        }
        let mut whole = part;
        for next in parts.by_ref() {
            whole.push('.');
            whole.push_str(&next);
            if next.ends_with(']') {
                break;
            }
        }
        found.push(if whole.contains('=') { whole } else { whole.trim_matches(['[', ']']).to_owned() });
    }
    found
}

/// Turns `list[0]` into two parts.
pub(super) fn split_indices(parts: Vec<String>) -> Vec<String> {
    let mut found = Vec::with_capacity(parts.len());
    for part in parts {
        let index = part.strip_suffix(']').and_then(|rest| rest.rsplit_once('['));
        match index {
            Some((name, index)) if !index.is_empty() && index.bytes().all(|b| b.is_ascii_digit()) => {
                if !name.is_empty() {
                    found.push(name.to_owned());
                }
                found.push(index.to_owned());
            }
            _ => found.push(part),
        }
    }
    found
}

fn index_of(part: &str) -> Option<usize> {
    part.parse().ok()
}

fn is_match(part: &str) -> bool {
    part.starts_with('[') && part.ends_with(']')
}

fn name_and_value(part: &str) -> Result<(&str, &str), Problem> {
    let inner = part.strip_suffix(']').unwrap_or(part);
    let inner = inner.strip_prefix('[').unwrap_or(inner);
    inner.split_once('=').ok_or_else(|| Problem::PathPart { part: part.to_owned() })
}

fn wrong(node: &Node, expected: &'static str, part: &str) -> Problem {
    Problem::Shape { expected, found: node.kind_name(), field: part.to_owned() }
}

/// Follows a path; `None` when it ends early.
///
/// # Errors
/// A part does not fit what is there, or cannot be understood.
pub(super) fn lookup<'a>(root: &'a Node, path: &[String]) -> Result<Option<&'a Node>, Problem> {
    let mut node = root;
    for part in path.iter().map(|part| part.trim()).filter(|part| !part.is_empty()) {
        let list = || match node.as_list() {
            Some(items) => Ok(items),
            None if node.is_null() => Ok(&[][..]),
            None => Err(wrong(node, "a list", part)),
        };
        let next = if let Some(index) = index_of(part) {
            list()?.get(index)
        } else if part == "-" {
            list()?.last()
        } else if part == "*" {
            return Err(Problem::PathPart { part: part.to_owned() });
        } else if is_match(part) {
            let (name, value) = name_and_value(part)?;
            let fits = |item: &&Node| match name {
                "" => item.written() == value,
                name => item.get(name).is_some_and(|found| found.written() == value),
            };
            list()?.iter().find(fits)
        } else if node.is_null() {
            None
        } else if node.as_map().is_none() {
            return Err(wrong(node, "a mapping", part));
        } else {
            node.get(part)
        };
        match next {
            Some(next) => node = next,
            None => return Ok(None),
        }
    }
    Ok(Some(node))
}

/// Finds every place that a path leads to, as indices into lists and mappings.
///
/// # Errors
/// A part does not fit what is there, or cannot be understood.
pub(super) fn pick(root: &mut Node, path: &[String], create: Option<Kind>) -> Result<Vec<Vec<usize>>, Problem> {
    let mut found = Vec::new();
    walk(root, path, create, &mut Vec::new(), &mut found)?;
    Ok(found)
}

/// Returns the place that [`pick`] found.
pub(super) fn follow<'a>(root: &'a mut Node, place: &[usize]) -> Option<&'a mut Node> {
    place.iter().try_fold(root, |node, at| match &mut node.content {
        Content::List(items) => items.get_mut(*at),
        Content::Map(fields) => fields.get_mut(*at).map(|field| &mut field.value),
        Content::Scalar(_) => None,
    })
}

fn walk(
    node: &mut Node,
    path: &[String],
    create: Option<Kind>,
    here: &mut Vec<usize>,
    found: &mut Vec<Vec<usize>>,
) -> Result<(), Problem> {
    let Some((part, rest)) = path.split_first() else {
        found.push(here.clone());
        return Ok(());
    };
    let next_kind = |create: Kind| match rest.first() {
        None => create,
        Some(next) if next.is_empty() => create,
        Some(next) if is_match(next) || index_of(next).is_some() => Kind::List,
        Some(_) => Kind::Map,
    };
    let is_pattern = is_match(part) || part == "*" || index_of(part).is_some();
    if node.is_null() {
        let past_end = index_of(part).map(|_| Problem::Index { part: part.clone(), length: 0 });
        return past_end.map_or(Ok(()), Err);
    }
    let described = wrong(node, if is_pattern { "a list" } else { "a mapping" }, part);
    match &mut node.content {
        Content::Map(fields) if !is_pattern => {
            let at = match (fields.iter().position(|field| field.name == *part), create) {
                (Some(at), _) => at,
                (None, None) => return Ok(()),
                (None, Some(create)) => {
                    node.set(part, next_kind(create).make())?;
                    node.as_map().map_or(0, <[_]>::len) - 1
                }
            };
            here.push(at);
            if let Some(child) = follow(node, &[at]) {
                walk(child, rest, create, here, found)?;
            }
            here.pop();
            Ok(())
        }
        Content::List(items) if is_pattern => {
            let chosen: Vec<usize> = if let Some(index) = index_of(part) {
                if let Some(create) = create
                    && items.len() == index
                {
                    items.push(next_kind(create).make());
                }
                if index >= items.len() {
                    return Err(Problem::Index { part: part.clone(), length: items.len() });
                }
                vec![index]
            } else if part == "*" {
                (0..items.len()).collect()
            } else {
                return matching(items, part, rest, create, here, found);
            };
            for at in chosen {
                here.push(at);
                walk(&mut items[at], rest, create, here, found)?;
                here.pop();
            }
            Ok(())
        }
        _ => Err(described),
    }
}

/// Goes on with every element that fits `[name=expression]`, or `[=expression]` for elements that are single values.
fn matching(
    items: &mut Vec<Node>,
    part: &str,
    rest: &[String],
    create: Option<Kind>,
    here: &mut Vec<usize>,
    found: &mut Vec<Vec<usize>>,
) -> Result<(), Problem> {
    let (name, value) = name_and_value(part)?;
    let pattern = expression(value)?;
    let before = found.len();
    for attempt in 0..2 {
        for (at, item) in items.iter_mut().enumerate() {
            here.push(at);
            if name.is_empty() {
                if pattern.is_match(item.source().trim()) {
                    found.push(here.clone());
                }
            } else if item.get(name).is_some_and(|found| pattern.is_match(found.source().trim())) {
                walk(item, rest, create, here, found)?;
            }
            here.pop();
        }
        if found.len() > before || create.is_none() || attempt == 1 {
            break;
        }
        let scalar = Node::scalar(value, Tag::Unset);
        let mut made = scalar.clone();
        if !name.is_empty() {
            made = Node::map();
            made.set(name, scalar)?;
        }
        items.push(made);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_in_brackets_do_not_split() {
        assert_eq!(split("a.[name=x.y].b"), ["a", "[name=x.y]", "b"]);
        assert_eq!(split("metadata.annotations.[a.b/c].d"), ["metadata", "annotations", "a.b/c", "d"]);
        assert_eq!(split("metadata.annotations.a\\.b"), ["metadata", "annotations", "a.b"]);
        assert_eq!(split_indices(split("spec.ports[0].port")), ["spec", "ports", "0", "port"]);
    }
}
