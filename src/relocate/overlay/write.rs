//! The overlay as a values file, with a comment on every value.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::{Overlay, marks::Segment, seen::line};

/// How many images a comment names; a single key of a large chart moves dozens.
const NAMED: usize = 6;

impl Overlay {
    /// Returns the values as JSON, for another rendering.
    pub fn values(&self) -> &Json {
        &self.json
    }

    /// Writes the values file; `head` becomes comments at its top.
    pub fn to_text(&self, head: &str) -> String {
        let mut text: String = head.lines().map(|line| format!("# {line}").trim_end().to_owned() + "\n").collect();
        let mut notes: BTreeMap<Vec<String>, Vec<String>> = BTreeMap::new();
        for setting in &self.settings {
            // A list is written as a whole, and so are the notes on what is in it.
            let keys = setting.way.iter().map_while(|segment| match segment {
                Segment::Key(key) => Some(key.clone()),
                Segment::Index(_) => None,
            });
            let note = notes.entry(keys.collect()).or_default();
            if setting.images.is_empty() {
                note.push("this chart refuses images of other registries otherwise".to_owned());
            }
            let more = setting.images.len().saturating_sub(NAMED);
            note.extend(setting.images.iter().take(NAMED).cloned());
            if more > 0 {
                note.push(format!("and {more} more"));
            }
        }
        match self.json.as_object().filter(|map| !map.is_empty()) {
            Some(map) => map.iter().for_each(|(key, value)| {
                write(&mut text, key, value, 0, &mut Vec::new(), &notes);
            }),
            None => text.push_str("{}\n"),
        }
        text
    }
}

fn write(
    text: &mut String,
    key: &str,
    value: &Json,
    depth: usize,
    way: &mut Vec<String>,
    notes: &BTreeMap<Vec<String>, Vec<String>>,
) {
    way.push(key.to_owned());
    let indent = "  ".repeat(depth);
    for note in notes.get(way).into_iter().flatten() {
        let note: String = note.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        text.push_str(&format!("{indent}# {note}\n"));
    }
    let name = line(&Json::String(key.to_owned()));
    match value.as_object().filter(|map| !map.is_empty()) {
        Some(map) => {
            text.push_str(&format!("{indent}{name}:\n"));
            for (key, value) in map {
                write(text, key, value, depth + 1, way, notes);
            }
        }
        None => text.push_str(&format!("{indent}{name}: {}\n", line(value))),
    }
    way.pop();
}
