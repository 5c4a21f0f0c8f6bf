//! The short way: block style as programs and most people write it, read in one pass without the parser.
//!
//! Nearly every manifest and values file is made of block mappings, block lists, one-line keys and ordinary scalars. That
//! much YAML can be read line by line, many times faster than by a full scanner. Everything else is declined, and the
//! caller takes the long way: tags, anchors, aliases, merges, complex keys, tabs outside of text, equal keys in one mapping,
//! unusual characters, and whatever is wrong. So this module reports no errors, and it may decline whatever it likes.
//!
//! # Invariants
//! - What is not declined is YAML, and the nodes are those of the long way, places included.
//! - The walk is bounded: a level deeper than [`DEPTH`] is declined.
//!
//! # Failure
//! `None` declines; nothing else happens.

mod flow;
mod reading;
mod scalars;

use super::{Mark, Node, Options, Value, scalar};

/// How deep collections nest at most; more is unusual enough for the long way.
const DEPTH: usize = 100;

/// YAML requires a key to end within 1,024 characters; close to that the long way decides.
const KEY_BYTES: usize = 1000;

/// From so many keys on, a mapping is searched for equal ones by sorting instead of comparing.
const MANY_KEYS: usize = 16;

/// Names the part of a document that becomes nodes; what else there is only has to be YAML.
#[derive(Clone, Copy, Debug)]
pub enum Keep {
    /// Everything.
    All,
    /// Nothing.
    Nothing,
    /// These keys of a mapping, in capital or small letters, with what is kept of their values.
    Keys(&'static [(&'static str, Keep)]),
}

impl Keep {
    /// Returns what is kept of a key's value.
    fn of(self, key: &str) -> Keep {
        match self {
            Keep::Keys(keys) => {
                keys.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map_or(Keep::Nothing, |(_, keep)| *keep)
            }
            whole => whole,
        }
    }

    /// Returns what is kept of an item of a list.
    fn of_item(self) -> Keep {
        match self {
            Keep::Keys(_) => Keep::Nothing,
            whole => whole,
        }
    }

    fn is_nothing(self) -> bool {
        matches!(self, Keep::Nothing)
    }
}

/// Reads every document of a text, or declines.
pub(super) fn documents(text: &str, options: &Options, keep: Keep) -> Option<Vec<Node>> {
    // Two bytes (`a:`) make three nodes at most, so the limit on nodes holds by itself.
    if text.len() > options.max_nodes / 2 || !usual(text) {
        return None;
    }
    let mut reader = Reader {
        text,
        bytes: text.as_bytes(),
        ascii: text.is_ascii(),
        at: 0,
        line_start: 0,
        line: 1,
        keep,
        depth: DEPTH.min(options.depth().saturating_sub(flow::DEPTH)),
        levels: Vec::new(),
        root: None,
        marked: false,
        found: Vec::new(),
    };
    reader.lines()?;
    reader.end_document()?;
    Some(reader.found)
}

/// Tells whether there are only characters that need no thought: neither forbidden ones nor line breaks other than LF.
fn usual(text: &str) -> bool {
    let plain = |byte: u8| matches!(byte, b' '..=b'~' | b'\n' | b'\t');
    let strange =
        |c: char| matches!(c, '\u{80}'..='\u{a0}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
    // A block without an exit inside is what a compiler makes fast.
    let all_plain = |block: &[u8]| block.iter().fold(true, |so_far, byte| so_far & plain(*byte));
    text.as_bytes().chunks(256).all(all_plain)
        || text.chars().all(|c| if c.is_ascii() { plain(c as u8) } else { !strange(c) })
}

/// Holds a collection that may go on.
struct Level {
    indent: usize,
    at: Mark,
    keep: Keep,
    content: Content,
    /// Where a value would stand that has not been seen: it is null unless a deeper line follows.
    waiting: Option<Mark>,
    /// What is kept of that value.
    keep_value: Keep,
}

enum Content {
    Seq(Vec<Node>),
    Map { entries: Vec<(Node, Node)>, key: Option<Node> },
}

impl Level {
    fn is_map(&self) -> bool {
        matches!(self.content, Content::Map { .. })
    }

    fn take(&mut self, node: Option<Node>) {
        self.waiting = None;
        match (&mut self.content, node) {
            (Content::Seq(items), Some(node)) => items.push(node),
            (Content::Map { entries, key }, Some(node)) => entries.extend(key.take().map(|key| (key, node))),
            (_, None) => {}
        }
    }
}

struct Reader<'t> {
    text: &'t str,
    bytes: &'t [u8],
    ascii: bool,
    /// Where reading goes on.
    at: usize,
    line_start: usize,
    line: u32,
    keep: Keep,
    depth: usize,
    levels: Vec<Level>,
    /// The finished collection at the top of the document.
    root: Option<Node>,
    /// Whether `---` began the document.
    marked: bool,
    found: Vec<Node>,
}

/// Says how a line of a plain scalar ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    Line,
    Comment,
    /// A colon makes it a key.
    Colon,
}

impl<'t> Reader<'t> {
    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    /// Tells whether a blank, a line break or the end stands here.
    fn is_gap(&self, at: usize) -> bool {
        matches!(self.byte(at), None | Some(b' ' | b'\n'))
    }

    fn is_dash(&self, at: usize) -> bool {
        self.byte(at) == Some(b'-') && self.is_gap(at + 1)
    }

    fn after_spaces(&self, at: usize) -> usize {
        at + self.bytes[at.min(self.bytes.len())..].iter().take_while(|byte| **byte == b' ').count()
    }

    fn line_end(&self, at: usize) -> usize {
        self.bytes[at..].iter().position(|byte| *byte == b'\n').map_or(self.bytes.len(), |length| at + length)
    }

    /// Returns the place of a byte of the current line.
    fn mark(&self, at: usize) -> Option<Mark> {
        let before = self.text.get(self.line_start..at)?;
        let column = if self.ascii { before.len() } else { before.chars().count() };
        Some(Mark { line: self.line, column: u32::try_from(column).ok()? + 1 })
    }

    /// Goes to the line that begins behind a line break.
    fn next_line(&mut self, end: usize) {
        self.at = (end + 1).min(self.bytes.len());
        self.line_start = self.at;
        self.line += 1;
    }

    fn lines(&mut self) -> Option<()> {
        while self.at < self.bytes.len() {
            let start = self.after_spaces(self.at);
            match self.byte(start) {
                None => break,
                Some(b'\n') => self.next_line(start),
                Some(b'#') => self.next_line(self.line_end(start)),
                Some(b'\t') => return None,
                Some(b'-') if start == self.line_start && self.bytes[start..].starts_with(b"---") => {
                    self.end_document()?;
                    self.marked = true;
                    self.rest_of_line(start + 3)?;
                }
                Some(b'.') if start == self.line_start && self.bytes[start..].starts_with(b"...") => return None,
                Some(_) => self.content(start)?,
            }
        }
        Some(())
    }

    /// Goes over the end of a line: blanks and a comment.
    fn rest_of_line(&mut self, at: usize) -> Option<()> {
        let next = self.after_spaces(at);
        match self.byte(next) {
            None | Some(b'\n') => self.next_line(next),
            Some(b'#') if next > at => self.next_line(self.line_end(next)),
            Some(_) => return None,
        }
        Some(())
    }

    fn end_document(&mut self) -> Option<()> {
        while !self.levels.is_empty() {
            self.close()?;
        }
        match self.root.take() {
            Some(root) => self.found.push(root),
            // An explicit document without content is null; the long way knows where.
            None if self.marked => return None,
            None => {}
        }
        Some(())
    }

    fn open(&mut self, at: usize, map: bool) -> Option<()> {
        if self.levels.len() >= self.depth {
            return None;
        }
        let keep = self.levels.last().map_or(self.keep, |parent| parent.keep_value);
        let content = match map {
            true => Content::Map { entries: Vec::new(), key: None },
            false => Content::Seq(Vec::new()),
        };
        let (indent, at) = (at - self.line_start, self.mark(at)?);
        self.levels.push(Level { indent, at, keep, content, waiting: None, keep_value: Keep::Nothing });
        Some(())
    }

    /// Ends the innermost collection.
    fn close(&mut self) -> Option<()> {
        self.settle();
        let level = self.levels.pop()?;
        let value = match level.content {
            Content::Seq(items) => Value::Seq(items),
            Content::Map { entries, .. } => {
                if has_equal_keys(&entries) {
                    return None;
                }
                Value::Map(entries)
            }
        };
        let node = (!level.keep.is_nothing()).then(|| Node::new(value, level.at));
        match self.levels.last_mut() {
            Some(parent) => parent.take(node),
            // What is kept of nothing still is a document.
            None => self.root = Some(node.unwrap_or_else(|| Node::new(Value::Null, level.at))),
        }
        Some(())
    }

    /// Makes null of a value that did not come.
    fn settle(&mut self) {
        if let Some(level) = self.levels.last_mut()
            && let Some(at) = level.waiting
        {
            let keep = !level.keep_value.is_nothing();
            level.take(keep.then(|| Node::written(Value::Null, at, "").styled(true, false)));
        }
    }

    /// Reads a line that is neither empty nor a comment.
    fn content(&mut self, start: usize) -> Option<()> {
        let indent = start - self.line_start;
        let dash = self.is_dash(start);
        while let Some(top) = self.levels.last() {
            // A list may stand as deep as the key that it belongs to; the next key ends it.
            let ended = top.indent > indent || (top.indent == indent && !top.is_map() && !dash && self.is_flush());
            if !ended {
                break;
            }
            self.close()?;
        }
        match self.levels.last() {
            None if self.root.is_some() || indent > 0 => return None,
            None => self.open(start, !dash)?,
            Some(top) if top.indent < indent => {
                top.waiting?;
                if !dash && self.key(start)?.is_none() {
                    return self.value(start);
                }
                self.open(start, !dash)?;
            }
            Some(top) if top.is_map() && dash => {
                top.waiting?;
                self.open(start, false)?;
            }
            Some(top) if top.is_map() == dash => return None,
            Some(_) => {}
        }
        if dash { self.item(start) } else { self.entry(start) }
    }

    /// Tells whether the innermost list stands as deep as the key that it belongs to.
    fn is_flush(&self) -> bool {
        matches!(self.levels.as_slice(), [.., parent, list] if parent.is_map() && parent.indent == list.indent)
    }

    /// Reads an item of the innermost list, which begins with its dash.
    fn item(&mut self, mut dash: usize) -> Option<()> {
        loop {
            self.settle();
            let after = self.mark(dash + 1)?;
            let level = self.levels.last_mut()?;
            level.waiting = Some(after);
            level.keep_value = level.keep.of_item();
            let start = self.after_spaces(dash + 1);
            if matches!(self.byte(start), None | Some(b'\n' | b'#')) {
                return self.rest_of_line(dash + 1);
            }
            if self.is_dash(start) {
                self.open(start, false)?;
                dash = start;
                continue;
            }
            if self.key(start)?.is_some() {
                self.open(start, true)?;
                return self.entry(start);
            }
            return self.value(start);
        }
    }

    /// Reads an entry of the innermost mapping.
    fn entry(&mut self, start: usize) -> Option<()> {
        self.settle();
        let (written, colon) = self.key(start)??;
        let (at, after) = (self.mark(start)?, self.mark(colon + 1)?);
        let level = self.levels.last_mut()?;
        level.waiting = Some(after);
        level.keep_value = Keep::Nothing;
        if !level.keep.is_nothing() {
            let key = written.node(at)?;
            // A key that JSON has no form for, and one that is no text, are for the long way.
            level.keep_value = level.keep.of(&key.key()?);
            if let Content::Map { key: place, .. } = &mut level.content {
                *place = (!level.keep_value.is_nothing()).then_some(key);
            }
        }
        let value = self.after_spaces(colon + 1);
        if matches!(self.byte(value), None | Some(b'\n' | b'#')) {
            return self.rest_of_line(colon + 1);
        }
        self.value(value)
    }

    /// Reads a value on the line of its key or dash.
    fn value(&mut self, start: usize) -> Option<()> {
        let at = self.mark(start)?;
        let level = self.levels.last()?;
        let (indent, keep) = (level.indent, level.keep_value);
        let scalar = match self.byte(start)? {
            b'|' | b'>' => self.block_scalar(start, indent)?,
            quote @ (b'"' | b'\'') => self.quoted(start, quote, indent)?,
            b'[' | b'{' => {
                let (node, end) = flow::node(self, start)?;
                self.rest_of_line(end)?;
                self.levels.last_mut()?.take((!keep.is_nothing()).then_some(node));
                return Some(());
            }
            _ if self.starts_plain(start) => self.plain(start, indent)?,
            _ => return None,
        };
        let node = if keep.is_nothing() { None } else { Some(scalar.node(at)?) };
        self.levels.last_mut()?.take(node);
        Some(())
    }
}

fn has_equal_keys(entries: &[(Node, Node)]) -> bool {
    let equal = |a: &Node, b: &Node| a.key() == b.key();
    if entries.len() < MANY_KEYS {
        return entries.iter().enumerate().any(|(i, (a, _))| entries[..i].iter().any(|(b, _)| equal(a, b)));
    }
    let mut names: Vec<_> = entries.iter().map(|(key, _)| key.key()).collect();
    names.sort_unstable();
    names.windows(2).any(|pair| pair[0] == pair[1])
}

#[cfg(test)]
mod tests;
