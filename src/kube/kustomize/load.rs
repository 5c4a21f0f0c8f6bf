//! From a file of resources to resources: documents, lists that dissolve, and what every resource must have.

use crate::yaml::{self, Duplicates, Mark, Options};

use super::{
    Error, Problem,
    node::{Content, MAX_DEPTH, Node, Repeated, Tag},
    resource::Resource,
};

/// Reads the resources of a text.
///
/// # Errors
/// The text is not YAML, or a document has no kind or no name.
pub(super) fn resources(file: &str, text: &str) -> Result<Vec<Resource>, Error> {
    read(file, text, Repeated::Refuse)
}

/// Reads the resources of a patch, where of two equal keys the first counts.
///
/// # Errors
/// As for [`resources`].
pub(super) fn patches(file: &str, text: &str) -> Result<Vec<Resource>, Error> {
    read(file, text, Repeated::FirstCounts)
}

fn read(file: &str, text: &str, repeated: Repeated) -> Result<Vec<Resource>, Error> {
    let nodes = documents(file, text, repeated)?;
    let mut queue: std::collections::VecDeque<Node> = nodes.into();
    let mut found = Vec::new();
    while let Some(node) = queue.pop_front() {
        let kind = node.get("kind").map_or("", Node::written);
        let items = node.get("items").filter(|_| kind.ends_with("List"));
        match items.map(|items| (&items.content, items)) {
            None => found.push(Resource::new(node, file)),
            Some((_, items)) if items.is_null() => {}
            Some((Content::List(items), _)) => {
                for item in items {
                    // Items go through JSON, which decides on types; integers arrive as they are.
                    let values = item.finish().map_err(|problem| problem.at(file, item.at))?;
                    let item = from_values(&values, false);
                    check(file, &item)?;
                    queue.push_back(item);
                }
            }
            Some((_, items)) => {
                let problem =
                    Problem::Shape { expected: "a list", found: items.kind_name(), field: "items".to_owned() };
                return Err(problem.at(file, items.at));
            }
        }
    }
    for resource in &mut found {
        let enabled = resource.node.at_path(["metadata", "annotations", super::trail::NEEDS_HASH]);
        resource.hashed = enabled.is_some_and(|value| value.written() == "enabled");
    }
    Ok(found)
}

/// Reads the documents of a text that are something, a single list dissolved.
fn documents(file: &str, text: &str, repeated: Repeated) -> Result<Vec<Node>, Error> {
    let options =
        Options { duplicates: Duplicates::Keep, own_keys_win: true, max_depth: MAX_DEPTH, ..Options::default() };
    separators(file, text)?;
    let read = yaml::documents(text, &options).map_err(|error| Problem::Syntax(error).start_of(file))?;
    let mut nodes = Vec::with_capacity(read.len());
    for document in read {
        let at = document.at;
        nodes.push(Node::read(document, repeated).map_err(|problem| problem.at(file, at))?);
    }
    let alone = nodes.len() == 1;
    nodes.retain(|node| !node.is_null());
    if alone && let Some(list) = nodes.first_mut() {
        let is_list = matches!(list.get("kind").map_or("", Node::written), "List" | "ResourceList");
        if is_list && let Some(items) = list.remove("items") {
            nodes = match items.content {
                Content::List(items) => items,
                _ => Vec::new(),
            };
        }
    }
    nodes.retain(|node| !node.is_void());
    for node in &nodes {
        check(file, node)?;
    }
    Ok(nodes)
}

/// Refuses content on the line of a document separator, which kustomize's reader does not understand.
fn separators(file: &str, text: &str) -> Result<(), Error> {
    for (index, line) in text.lines().enumerate().skip(1) {
        if let Some(rest) = line.strip_prefix("---") {
            let rest = rest.trim();
            if !rest.is_empty() && !rest.starts_with('#') {
                let line = u32::try_from(index + 1).unwrap_or(u32::MAX);
                return Err(Problem::Separator.at(file, Mark { line, column: 1 }));
            }
        }
    }
    Ok(())
}

/// Demands a kind, and a name of everything that is no list.
fn check(file: &str, node: &Node) -> Result<(), Error> {
    if node.as_map().is_none() {
        return Err(Problem::NoResource { found: node.kind_name() }.at(file, node.at));
    }
    let text = |node: Option<&Node>| node.filter(|node| !node.is_void()).map_or("", Node::written).to_owned();
    let kind = text(node.get("kind"));
    if kind.is_empty() {
        return Err(Problem::NoKind.at(file, node.at));
    }
    if !kind.ends_with("List") && text(node.at_path(["metadata", "name"])).is_empty() {
        return Err(Problem::NoName { kind }.at(file, node.at));
    }
    Ok(())
}

/// Sends a part through JSON and back: numbers become floating-point, times become text.
///
/// # Errors
/// JSON cannot hold it.
pub(super) fn through_json(node: &Node) -> Result<Node, Problem> {
    Ok(from_json(&node.finish()?))
}

/// Takes a value as it comes out of Go's JSON reader.
pub(super) fn from_json(value: &yaml::Node) -> Node {
    from_values(value, true)
}

/// Takes a value; `rounded` makes floating-point numbers of integers.
#[allow(clippy::cast_precision_loss)] // That is what Go does to integers here.
fn from_values(value: &yaml::Node, rounded: bool) -> Node {
    use yaml::Value;
    let number = |number: f64| match super::scalar::from_f64(number) {
        Value::Int(number) => Node::scalar(number.to_string(), Tag::Int),
        Value::UInt(number) => Node::scalar(number.to_string(), Tag::Int),
        _ => Node::scalar(format!("{number:e}"), Tag::Float),
    };
    let mut node = match &value.value {
        Value::Null => Node::scalar("null", Tag::Null),
        Value::Bool(flag) => Node::scalar(flag.to_string(), Tag::Bool),
        Value::Int(int) if rounded => number(*int as f64),
        Value::UInt(int) if rounded => number(*int as f64),
        Value::Int(int) => Node::scalar(int.to_string(), Tag::Int),
        Value::UInt(int) => Node::scalar(int.to_string(), Tag::Int),
        Value::Float(float) => number(*float),
        Value::String(text) => Node::text(text.clone()),
        Value::Seq(items) => Node::list(items.iter().map(|item| from_values(item, rounded)).collect()),
        Value::Map(entries) => {
            let field = |(key, value): &(yaml::Node, yaml::Node)| super::node::Field {
                name: key.key().unwrap_or_default().into_owned(),
                is_text: true,
                at: key.at,
                value: from_values(value, rounded),
            };
            Node { content: Content::Map(entries.iter().map(field).collect()), at: value.at }
        }
    };
    node.at = value.at;
    node
}
