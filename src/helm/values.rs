//! Values: reading them, laying them over each other, filling in the defaults of charts as helm 4 does.
//!
//! # Invariants
//! - Functions that Go's helm lets change their input change it here too, because what is shared shows in the result.

use std::rc::Rc;

use crate::yaml::{self, Node};

use super::{
    error::Error,
    funcs::data::from_node,
    template::value::{Dict, Map, Str, Value},
};

/// How deep values may nest.
const DEPTH: usize = 1000;

/// The key whose table every subchart gets.
pub(super) const GLOBAL: &str = "global";

/// Splits a text at lines that hold nothing but `---`, as the Kubernetes reader below helm does.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut at) = (0, 0);
    for line in text.split_inclusive('\n') {
        let end = at + line.len();
        if let Some(rest) = line.strip_prefix("---") {
            let rest = rest.trim();
            if rest.is_empty() || rest.starts_with('#') {
                if at > start {
                    parts.push(&text[start..at]);
                    start = end;
                } else if at == start && parts.is_empty() && start == 0 {
                    // A marker at the very top belongs to the first document.
                    start = at;
                }
            }
        }
        at = end;
    }
    if start < text.len() {
        parts.push(&text[start..]);
    }
    parts
}

/// Reads the documents of a values file.
///
/// # Errors
/// What is wrong with it; a document that is no mapping is.
pub(super) fn documents(text: &str) -> Result<Vec<Node>, String> {
    let mut found = Vec::new();
    for part in split(text) {
        let nodes = yaml::documents(part, &yaml::Options::lenient()).map_err(|error| error.to_string())?;
        if let Some(node) = nodes.into_iter().next() {
            match node.value {
                yaml::Value::Map(_) => found.push(node),
                yaml::Value::Null => {}
                _ => return Err(format!("values must be a mapping, not {}", node.kind_name())),
            }
        }
    }
    Ok(found)
}

/// Merges documents into one table.
///
/// # Errors
/// What JSON cannot hold.
pub(super) fn table(documents: &[Node]) -> Result<Rc<Dict>, String> {
    let mut merged = new_dict(Map::new());
    for document in documents {
        if let Value::Dict(next) = from_node(document)? {
            merged = if merged.peek(Map::is_empty) { next } else { layered(&merged, &next, DEPTH) };
        }
    }
    Ok(merged)
}

/// Makes a plain dictionary.
pub(super) fn new_dict(map: Map) -> Rc<Dict> {
    match Value::dict(map) {
        Value::Dict(dict) => dict,
        // `Value::dict` makes nothing else.
        _ => Rc::new(Dict::default()),
    }
}

/// Lays one table over another into a new one: tables merge, anything else is replaced.
pub(super) fn layered(below: &Rc<Dict>, above: &Rc<Dict>, depth: usize) -> Rc<Dict> {
    let mut out = below.peek(Map::clone);
    above.peek(|above| {
        for (key, value) in above {
            let merged = match (out.get(key), value) {
                (Some(Value::Dict(below)), Value::Dict(above)) if depth > 0 => {
                    Value::Dict(layered(below, above, depth - 1))
                }
                _ => value.clone(),
            };
            out.insert(key.clone(), merged);
        }
    });
    new_dict(out)
}

/// Copies tables and lists, so that nothing is shared.
pub(super) fn deep(value: &Value) -> Value {
    match value {
        Value::Dict(dict) => Value::dict_of(dict.kind(), dict.peek(copied)),
        Value::List(list) => Value::list_of(list.elem, list.items.iter().map(deep).collect()),
        other => other.clone(),
    }
}

fn copied(map: &Map) -> Map {
    map.iter().map(|(key, value)| (key.clone(), deep(value))).collect()
}

/// Copies a table with everything in it.
pub(super) fn deep_dict(dict: &Rc<Dict>) -> Rc<Dict> {
    new_dict(dict.peek(copied))
}

/// A chart while its values are computed: what the algorithms below need of it.
pub(super) trait Charted {
    /// The name under which its values are found.
    fn name(&self) -> &str;
    /// Its default values.
    fn defaults(&self) -> &Rc<Dict>;
    /// Its subcharts.
    fn children(&self) -> &[Self]
    where
        Self: Sized;
}

/// Fills the defaults of a chart and its subcharts into a copy of the values.
///
/// With `merge`, null values stay; without, they remove the key that they name.
///
/// # Errors
/// [`Error::NotATable`] when the values of a subchart are none.
pub(super) fn coalesce_values<C: Charted>(chart: &C, values: &Rc<Dict>, merge: bool) -> Result<Rc<Dict>, Error> {
    let copy = deep_dict(values);
    coalesce(chart, &copy, merge)?;
    Ok(copy)
}

fn coalesce<C: Charted>(chart: &C, dest: &Rc<Dict>, merge: bool) -> Result<(), Error> {
    defaults_into(chart, dest, merge);
    for child in chart.children() {
        let name = Str::from(child.name());
        let table = match dest.peek(|map| map.get(&name).cloned()) {
            None => {
                let table = new_dict(Map::new());
                dest.set(name, Value::Dict(table.clone()));
                table
            }
            Some(Value::Dict(table)) => table,
            Some(_) => return Err(Error::NotATable(child.name().to_owned())),
        };
        globals_into(&table, dest);
        coalesce(child, &table, merge)?;
    }
    Ok(())
}

fn globals_into(dest: &Rc<Dict>, source: &Rc<Dict>) {
    let global = |dict: &Rc<Dict>| dict.peek(|map| map.get(GLOBAL.as_bytes()).cloned());
    let below = match global(dest) {
        None => new_dict(Map::new()),
        Some(Value::Dict(table)) => table,
        Some(_) => return,
    };
    let above = match global(source) {
        None => new_dict(Map::new()),
        Some(Value::Dict(table)) => table,
        Some(_) => return,
    };
    for (key, value) in above.peek(Map::clone) {
        let here = below.peek(|map| map.get(&key).cloned());
        match (&value, here) {
            (Value::Dict(table), None) => below.set(key, Value::Dict(new_dict(table.peek(Map::clone)))),
            (Value::Dict(table), Some(Value::Dict(here))) => {
                // A shallow copy: tables below stay shared with the parent, as in helm.
                let copy = new_dict(table.peek(Map::clone));
                tables(&copy, &here, true, DEPTH);
                below.set(key, Value::Dict(copy));
            }
            (Value::Dict(_), Some(_)) => {}
            (_, Some(Value::Dict(_))) => {}
            _ => below.set(key, value),
        }
    }
    dest.set(Str::from(GLOBAL), Value::Dict(below));
}

fn defaults_into<C: Charted>(chart: &C, values: &Rc<Dict>, merge: bool) {
    let defaults = deep_dict(chart.defaults());
    for (key, value) in defaults.peek(Map::clone) {
        match values.peek(|map| map.get(&key).cloned()) {
            None => values.set(key, value),
            Some(here) if here.is_nil() => {
                if !merge {
                    values.unset(key.bytes());
                }
            }
            Some(Value::Dict(here)) => {
                if let Value::Dict(table) = &value {
                    let child = chart.children().iter().any(|child| child.name().as_bytes() == key.bytes());
                    tables(&here, table, merge || child, DEPTH);
                }
            }
            Some(_) => {}
        }
    }
}

/// Fills a table with what it lacks; the values that are there win.
pub(super) fn tables(dest: &Rc<Dict>, source: &Rc<Dict>, merge: bool, depth: usize) {
    if depth == 0 || dest.is(source) {
        return;
    }
    // Which nulls were in the source from the start tells "the user removes a default" from "the user says null".
    let before = source.peek(Map::clone);
    let mut from = before.clone();
    dest.peek(|dest| {
        for (key, value) in dest {
            if value.is_nil() {
                from.insert(key.clone(), Value::Nil);
                source.set(key.clone(), Value::Nil);
            }
        }
    });
    for (key, value) in from {
        let real = before.get(&key).is_some_and(|value| !value.is_nil());
        match dest.peek(|map| map.get(&key).cloned()) {
            Some(here) if !merge && here.is_nil() && real => dest.unset(key.bytes()),
            None => dest.set(key, value),
            Some(Value::Dict(here)) => {
                if let Value::Dict(table) = &value {
                    tables(&here, table, merge, depth - 1);
                }
            }
            Some(_) => {}
        }
    }
}

/// Looks up a table by a dotted path.
pub(super) fn table_at(values: &Rc<Dict>, path: &str) -> Option<Rc<Dict>> {
    path.split('.').try_fold(values.clone(), |table, part| match table.peek(|map| map.get(part.as_bytes()).cloned()) {
        Some(Value::Dict(next)) => Some(next),
        _ => None,
    })
}

/// Looks up a value that is no table by a dotted path.
pub(super) fn value_at(values: &Rc<Dict>, path: &str) -> Option<Value> {
    let (table, key) = match path.rsplit_once('.') {
        Some((parents, key)) => (table_at(values, parents)?, key),
        None => (values.clone(), path),
    };
    table.peek(|map| map.get(key.as_bytes()).cloned()).filter(|value| !matches!(value, Value::Dict(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_as_the_reader_does() {
        assert_eq!(split("a: 1\n---\nb: 2\n"), ["a: 1\n", "b: 2\n"]);
        assert_eq!(split("---\na: 1\n--- # x\nb: 2"), ["---\na: 1\n", "b: 2"]);
        assert_eq!(split("a: |\n  ---\n"), ["a: |\n  ---\n"]);
        assert!(split("").is_empty());
    }

    #[test]
    fn nulls_remove_defaults_unless_merging() {
        let dict = |text: &str| table(&documents(text).unwrap()).unwrap();
        for (merge, want) in [(false, false), (true, true)] {
            let dest = dict("a: {b: null, c: 1}");
            tables(&dest, &dict("a: {b: 2, d: 3}"), merge, DEPTH);
            let a = table_at(&dest, "a").unwrap();
            assert_eq!(a.has(b"b"), want);
            assert!(a.has(b"c") && a.has(b"d"));
        }
    }
}
