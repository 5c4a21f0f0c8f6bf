//! Changes of structure: entries of mappings and items of lists that come, go or change, in the text that they stand in.
//!
//! Block style is changed by lines, flow style and JSON by what stands between commas. Every change can also be made in the
//! tree, so that what comes out is compared with what was meant.

use std::ops::Range;

use serde_json::{Map, Value as Json};

use crate::yaml::{self, Node, Scalar, Source, Style, Value};

/// A way into an object: keys and indexes.
pub(super) type Way = Vec<Segment>;

/// One step of a way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    Key(String),
    Index(usize),
}

/// Makes a way of keys.
pub(super) fn keys(keys: &[&str]) -> Way {
    keys.iter().map(|key| Segment::Key((*key).to_owned())).collect()
}

/// One change of an object.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    /// Gives an entry of a mapping another key, another value, or both.
    Put { map: Way, key: String, new_key: String, value: Json },
    /// Adds an entry behind another one.
    Insert { map: Way, after: String, key: String, value: String },
    /// Takes an entry out.
    Remove { map: Way, key: String },
    /// Takes an item out of a list.
    RemoveItem { list: Way, index: usize },
}

pub(super) fn lookup<'n>(root: &'n Node, way: &[Segment]) -> Option<&'n Node> {
    way.iter().try_fold(root, |node, segment| match segment {
        Segment::Key(key) => node.get(key),
        Segment::Index(index) => node.as_seq()?.get(*index),
    })
}

fn lookup_json<'j>(root: &'j mut Json, way: &[Segment]) -> Option<&'j mut Json> {
    way.iter().try_fold(root, |node, segment| match segment {
        Segment::Key(key) => node.get_mut(key),
        Segment::Index(index) => node.get_mut(*index),
    })
}

/// Makes a change in a tree.
pub(super) fn in_tree(root: &mut Json, change: &Change) -> Option<()> {
    match change {
        Change::Put { map, key, new_key, value } => {
            let map = lookup_json(root, map)?.as_object_mut()?;
            map.remove(key)?;
            map.insert(new_key.clone(), value.clone());
        }
        Change::Insert { map, key, value, .. } => {
            let map = lookup_json(root, map)?.as_object_mut()?;
            map.insert(key.clone(), Json::String(value.clone()));
        }
        Change::Remove { map, key } => drop(lookup_json(root, map)?.as_object_mut()?.remove(key)?),
        Change::RemoveItem { list, index } => {
            let list = lookup_json(root, list)?.as_array_mut()?;
            if *index >= list.len() {
                return None;
            }
            list.remove(*index);
        }
    }
    Some(())
}

/// Plans a change in the text; nothing when the text is written in a way that only a person should change.
pub(super) fn in_text(source: &Source<'_>, root: &Node, change: &Change) -> Option<Vec<(Range<usize>, String)>> {
    match change {
        Change::Put { map, key, new_key, value } => {
            let entry = Entry::find(source, lookup(root, map)?, key)?;
            match value {
                Json::String(new) if entry.value.as_map().is_none() && entry.value.as_seq().is_none() => {
                    let mut edits = Vec::new();
                    if key != new_key {
                        edits.push(scalar_edit(source, entry.key, new_key)?);
                    }
                    edits.push(scalar_edit(source, entry.value, new)?);
                    Some(edits)
                }
                Json::Object(table) => Some(vec![entry.replace(source, new_key, table)?]),
                _ => None,
            }
        }
        Change::Insert { map, after, key, value } => {
            Entry::find(source, lookup(root, map)?, after)?.insert_behind(source, key, value).map(|edit| vec![edit])
        }
        Change::Remove { map, key } => {
            let map = lookup(root, map)?;
            Entry::find(source, map, key)?.remove(source).map(|edit| vec![edit])
        }
        Change::RemoveItem { list, index } => {
            let list = lookup(root, list)?;
            let items = list.as_seq().filter(|items| items.len() > 1)?;
            let item = items.get(*index)?;
            if is_flow(source, list)? {
                let start = source.offset(item.at)?;
                return Some(vec![(
                    without_comma(source.text(), start..flow_end(source.text(), start)?)?,
                    String::new(),
                )]);
            }
            let line = source.line_start(item.at.line)?;
            let before = source.text().get(line..source.offset(item.at)?)?;
            let dash = before.find('-').filter(|dash| before[..*dash].chars().all(|c| c == ' '))?;
            (before[dash + 1..].chars().all(|c| c == ' ')).then_some(())?;
            Some(vec![(line..block_end(source.text(), line, dash, false), String::new())])
        }
    }
}

fn find_scalar(source: &Source<'_>, node: &Node) -> Option<Scalar> {
    source.scalar(node.at, node.text().filter(|text| !text.trim().is_empty())?)
}

/// Replaces a whole scalar, in its own style where that is possible.
fn scalar_edit(source: &Source<'_>, node: &Node, new: &str) -> Option<(Range<usize>, String)> {
    let scalar = find_scalar(source, node)?;
    let text = match scalar.style() {
        Style::Double => format!("\"{new}\""),
        Style::Single => format!("'{new}'"),
        Style::Plain => plain(new),
        Style::Block => new.to_owned(),
    };
    Some((scalar.whole(), text))
}

/// Writes a text without quotes when every reader takes it for that text. Names of objects need no escapes.
fn plain(text: &str) -> String {
    let word = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '-' | '_'));
    let read = yaml::documents(text, &yaml::Options::default());
    let same = read.is_ok_and(|nodes| matches!(nodes.as_slice(), [node] if node.as_str() == Some(text)));
    if word && same { text.to_owned() } else { format!("\"{text}\"") }
}

/// Tells whether a collection is written in brackets.
fn is_flow(source: &Source<'_>, node: &Node) -> Option<bool> {
    Some(source.text().get(source.offset(node.at)?..)?.starts_with(['{', '[']))
}

/// An entry of a mapping, and where it stands.
struct Entry<'n> {
    key: &'n Node,
    value: &'n Node,
    flow: bool,
    /// Where the key begins.
    start: usize,
    /// Where its line begins.
    line: usize,
}

impl<'n> Entry<'n> {
    fn find(source: &Source<'_>, map: &'n Node, name: &str) -> Option<Entry<'n>> {
        let (key, value) = map.as_map()?.iter().find(|(key, _)| key.key().is_some_and(|key| key == name))?;
        let (start, line) = (source.offset(key.at)?, source.line_start(key.at.line)?);
        let flow = is_flow(source, map)?;
        // An entry that an alias or a merge brought here stands elsewhere.
        let said = find_scalar(source, key)?.whole();
        (said.start == start).then_some(Entry { key, value, flow, start, line })
    }

    /// Returns how far the line is indented, when the key is the first thing on it.
    fn indent(&self, source: &Source<'_>) -> Option<usize> {
        let before = source.text().get(self.line..self.start)?;
        before.chars().all(|c| c == ' ').then_some(before.len())
    }

    /// Returns the lines of the entry in block style.
    fn lines(&self, source: &Source<'_>) -> Option<Range<usize>> {
        let indent = self.indent(source)?;
        let at_key = self.value.as_seq().is_some() && self.value.at.column == self.key.at.column;
        Some(self.line..block_end(source.text(), self.line, indent, at_key))
    }

    /// Returns key and value in flow style.
    fn span(&self, source: &Source<'_>) -> Option<Range<usize>> {
        Some(self.start..flow_end(source.text(), self.start)?)
    }

    fn replace(&self, source: &Source<'_>, key: &str, table: &Map<String, Json>) -> Option<(Range<usize>, String)> {
        if self.flow {
            let text = format!("\"{key}\": {}", serde_json::to_string(table).ok()?);
            return Some((self.span(source)?, text));
        }
        let lines = self.lines(source)?;
        let ending = ending(source.text(), &lines);
        let indent = " ".repeat(self.indent(source)?);
        let mut text = format!("{indent}{key}:");
        for (key, value) in table {
            text.push_str(&format!("{}{indent}  {key}: {}", ending.unwrap_or("\n"), plain(value.as_str()?)));
        }
        text.push_str(ending.unwrap_or_default());
        Some((lines, text))
    }

    fn insert_behind(&self, source: &Source<'_>, key: &str, value: &str) -> Option<(Range<usize>, String)> {
        if self.flow {
            let end = self.span(source)?.end;
            return Some((end..end, format!(", \"{key}\": \"{value}\"")));
        }
        let before = source.text().get(self.line..self.start)?;
        // Behind the dash of an item, the other keys stand below the first one.
        let indent: String = before.chars().map(|_| ' ').collect();
        let at_key = self.value.as_seq().is_some() && self.value.at.column == self.key.at.column;
        let end = block_end(source.text(), self.line, indent.len(), at_key);
        let entry = format!("{indent}{key}: {}", plain(value));
        Some(match ending(source.text(), &(self.line..end)) {
            Some(ending) => (end..end, format!("{entry}{ending}")),
            None => (end..end, format!("\n{entry}")),
        })
    }

    fn remove(&self, source: &Source<'_>) -> Option<(Range<usize>, String)> {
        let range = if self.flow { without_comma(source.text(), self.span(source)?)? } else { self.lines(source)? };
        Some((range, String::new()))
    }
}

/// Returns the line break at the end of a range of lines.
fn ending(text: &str, lines: &Range<usize>) -> Option<&'static str> {
    let lines = &text[lines.clone()];
    if lines.ends_with("\r\n") {
        return Some("\r\n");
    }
    lines.ends_with('\n').then_some("\n")
}

/// Returns where the lines of an entry or item end that begins at `line` with `indent` blanks before it. Blank lines and
/// comments behind it are not its own.
fn block_end(text: &str, line: usize, indent: usize, items_at_indent: bool) -> usize {
    let mut end = line;
    let mut at = line;
    for (i, row) in text[line..].split_inclusive('\n').enumerate() {
        let content = row.trim_start_matches(' ');
        let depth = row.len() - content.len();
        let content = content.trim_end();
        at += row.len();
        let is_item = items_at_indent && depth == indent && (content == "-" || content.starts_with("- "));
        if i == 0 || depth > indent && !content.is_empty() && !content.starts_with('#') || is_item {
            end = at;
        } else if !content.is_empty() && depth <= indent && !(content.starts_with('#') && depth > indent) {
            break;
        }
    }
    end
}

/// Returns where a key with its value, or an item, ends in flow style: before the comma or the bracket.
fn flow_end(text: &str, start: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut depth, mut at, mut last) = (0usize, start, start);
    // A quote opens a text only where a value may begin; `it's` is a word.
    let mut fresh = true;
    while at < bytes.len() {
        match bytes[at] {
            quote @ (b'"' | b'\'') if fresh => {
                at += 1;
                while *bytes.get(at)? != quote {
                    at += if bytes[at] == b'\\' && quote == b'"' { 2 } else { 1 };
                }
                fresh = false;
                last = at + 1;
            }
            b'{' | b'[' => {
                depth += 1;
                fresh = true;
            }
            b'}' | b']' if depth == 0 => return Some(last),
            b'}' | b']' => {
                depth -= 1;
                last = at + 1;
            }
            b',' if depth == 0 => return Some(last),
            b',' | b':' => fresh = true,
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ => {
                fresh = false;
                last = at + 1;
            }
        }
        at += 1;
    }
    None
}

/// Extends a range in flow style by the comma behind it, or before it when it is the last one.
fn without_comma(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let behind = text[range.end..].trim_start();
    if let Some(rest) = behind.strip_prefix(',') {
        return Some(range.start..text.len() - rest.trim_start().len());
    }
    let before = text[..range.start].trim_end();
    match before.strip_suffix(',') {
        Some(rest) => Some(rest.len()..range.end),
        None => behind.starts_with(['}', ']']).then_some(range),
    }
}

/// Tells whether a node is text.
pub(super) fn text_of(node: Option<&Node>) -> Option<&str> {
    node.filter(|node| matches!(node.value, Value::String(_) | Value::Bool(_))).and_then(Node::text)
}
