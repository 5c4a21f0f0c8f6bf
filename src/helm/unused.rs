//! Values that were given and that no template looked at.

use std::rc::Rc;

use super::{
    render::Warning,
    template::value::{Dict, Map, Value},
    values::{GLOBAL, table_at},
};

/// Starts to record which values templates look at.
pub(super) fn track(values: &Rc<Dict>) {
    values.track();
    for value in values.peek(Map::clone).values() {
        if let Value::Dict(inner) = value {
            track(inner);
        }
    }
}

/// Reports values that were given and that no template looked at.
pub(super) fn unused(given: &Rc<Dict>, seen: &Rc<Dict>, tables: &[Rc<Dict>], path: &str, warnings: &mut Vec<Warning>) {
    for (key, value) in given.peek(Map::clone) {
        let name = key.text().into_owned();
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let here = seen.peek(|map| map.get(&key).cloned());
        let globals: Vec<Rc<Dict>> = match path.strip_prefix(GLOBAL) {
            // Every subchart has its own copy of the globals.
            Some(rest) => {
                let parent = rest.rsplit_once('.').map_or("", |(parent, _)| parent);
                tables.iter().filter_map(|table| table_at(table, &format!("{GLOBAL}{parent}"))).collect()
            }
            None => Vec::new(),
        };
        match (&value, &here) {
            // A table of a subchart, or one that nobody printed as a whole.
            (Value::Dict(value), Some(Value::Dict(here))) => unused(value, here, tables, &path, warnings),
            (_, Some(_)) => {
                let read = seen.was_read(key.bytes()) || globals.iter().any(|table| table.was_read(key.bytes()));
                if !read && path != GLOBAL {
                    warnings.push(Warning::UnusedValue { path });
                }
            }
            // Removed by null, or a switch that only dependencies look at.
            (_, None) => {}
        }
    }
}
