//! Writes finished objects byte for byte as kubectl does: sigs.k8s.io/yaml, which is go-yaml v2 folding at 80 columns.
//!
//! # Invariants
//! - Keys come in go-yaml's order, lists as deep as their key.
//! - Pure layout: values were made by [`super::node::Node::finish`] and are not changed here.

use crate::yaml::{Node, Value};

use super::quoting::{analyze, escape, is_break, key_order, plain_is_text, printable};

/// Where lines are folded.
const WIDTH: usize = 80;

/// Writes one document, with the final line feed.
pub(super) fn document(node: &Node) -> String {
    let mut emitter = Emitter { out: Vec::new(), column: 0, indent: -1, space: true, indention: true };
    emitter.node(node, Place::Root);
    emitter.line_break();
    String::from_utf8(emitter.out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Where a node stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Item,
    Key,
    ComplexKey,
    Field,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

struct Emitter {
    out: Vec<u8>,
    column: usize,
    indent: isize,
    space: bool,
    indention: bool,
}

impl Emitter {
    fn put(&mut self, byte: u8) {
        self.out.push(byte);
        self.column += 1;
    }

    fn line_break(&mut self) {
        self.out.push(b'\n');
        self.column = 0;
    }

    fn write_char(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
        self.column += 1;
    }

    fn indicator(&mut self, text: &[u8], need_space: bool, is_space: bool, is_indention: bool) {
        if need_space && !self.space {
            self.put(b' ');
        }
        self.out.extend_from_slice(text);
        self.column += text.len();
        self.space = is_space;
        self.indention = self.indention && is_indention;
    }

    fn start_line(&mut self) {
        let indent = usize::try_from(self.indent).unwrap_or(0);
        if !self.indention || self.column > indent || (self.column == indent && !self.space) {
            self.line_break();
        }
        while self.column < indent {
            self.put(b' ');
        }
        self.space = true;
        self.indention = true;
    }

    fn node(&mut self, node: &Node, place: Place) {
        match &node.value {
            Value::Null => self.scalar("null", Style::Plain, place),
            Value::Bool(truth) => self.scalar(if *truth { "true" } else { "false" }, Style::Plain, place),
            Value::Int(number) => self.scalar(&number.to_string(), Style::Plain, place),
            Value::UInt(number) => self.scalar(&number.to_string(), Style::Plain, place),
            Value::Float(number) => self.scalar(&float(*number), Style::Plain, place),
            Value::String(text) => self.text(text, place),
            Value::Seq(items) => self.list(items, place),
            Value::Map(entries) => self.map(entries),
        }
    }

    fn list(&mut self, items: &[Node], place: Place) {
        if items.is_empty() {
            self.indicator(b"[", true, true, false);
            self.indicator(b"]", false, false, false);
            return;
        }
        let before = self.indent;
        let flush = matches!(place, Place::Field | Place::Key | Place::ComplexKey) && !self.indention;
        if self.indent < 0 {
            self.indent = 0;
        } else if !flush {
            self.indent += 2;
        }
        for item in items {
            self.start_line();
            self.indicator(b"-", true, false, true);
            self.node(item, Place::Item);
        }
        self.indent = before;
    }

    fn map(&mut self, entries: &[(Node, Node)]) {
        if entries.is_empty() {
            self.indicator(b"{", true, true, false);
            self.indicator(b"}", false, false, false);
            return;
        }
        let mut sorted: Vec<(&str, &Node)> =
            entries.iter().map(|(key, value)| (key.as_str().unwrap_or_default(), value)).collect();
        if sorted.iter().any(|(key, _)| !key.bytes().all(|byte| byte.is_ascii_alphabetic())) {
            sorted.sort_by(|(a, _), (b, _)| key_order(a, b));
        }
        let before = self.indent;
        self.indent = if self.indent < 0 { 0 } else { self.indent + 2 };
        for (key, value) in sorted {
            self.start_line();
            if key.len() <= 128 && !key.contains(is_break) {
                self.text(key, Place::Key);
                self.indicator(b":", false, false, false);
            } else {
                self.indicator(b"?", true, false, true);
                self.text(key, Place::ComplexKey);
                self.start_line();
                self.indicator(b":", true, false, true);
            }
            self.node(value, Place::Field);
        }
        self.indent = before;
    }

    fn text(&mut self, text: &str, place: Place) {
        let style = if text.contains('\n') {
            Style::Literal
        } else if plain_is_text(text) {
            Style::Plain
        } else {
            Style::Double
        };
        self.scalar(text, style, place);
    }

    fn scalar(&mut self, text: &str, wanted: Style, place: Place) {
        let facts = analyze(text);
        let simple_key = place == Place::Key;
        let mut style = wanted;
        if simple_key && facts.multiline {
            style = Style::Double;
        }
        if style == Style::Plain && (!facts.plain || (text.is_empty() && simple_key)) {
            style = Style::Single;
        }
        if style == Style::Single && !facts.single {
            style = Style::Double;
        }
        if style == Style::Literal && (!facts.block || simple_key) {
            style = Style::Double;
        }
        let before = self.indent;
        self.indent = if self.indent < 0 { 2 } else { self.indent + 2 };
        let fold = !simple_key;
        match style {
            Style::Plain => self.plain(text, fold),
            Style::Single => self.single(text, fold),
            Style::Double => self.double(text, fold),
            Style::Literal => self.literal(text),
        }
        self.indent = before;
    }

    /// Writes text, folding at single spaces beyond the width; `quote` doubles apostrophes.
    fn folded(&mut self, text: &str, fold: bool, quote: bool) {
        let (mut spaces, mut breaks) = (false, false);
        let mut buffer = [0; 4];
        let mut chars = text.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            let next = chars.peek().map(|(_, next)| *next);
            if c == ' ' {
                let inner = !quote || (at > 0 && next.is_some());
                if fold && !spaces && self.column > WIDTH && inner && next != Some(' ') {
                    self.start_line();
                } else {
                    self.put(b' ');
                }
                spaces = true;
            } else if is_break(c) {
                if !breaks && c == '\n' {
                    self.line_break();
                }
                self.write_char(c.encode_utf8(&mut buffer));
                self.column = 0;
                self.indention = true;
                breaks = true;
            } else {
                if breaks {
                    self.start_line();
                }
                if quote && c == '\'' {
                    self.put(b'\'');
                }
                self.write_char(c.encode_utf8(&mut buffer));
                self.indention = false;
                (spaces, breaks) = (false, false);
            }
        }
    }

    fn plain(&mut self, text: &str, fold: bool) {
        if !self.space {
            self.put(b' ');
        }
        self.folded(text, fold, false);
        self.space = false;
        self.indention = false;
    }

    fn single(&mut self, text: &str, fold: bool) {
        self.indicator(b"'", true, false, false);
        self.folded(text, fold, true);
        self.indicator(b"'", false, false, false);
        self.space = false;
        self.indention = false;
    }

    fn double(&mut self, text: &str, fold: bool) {
        self.indicator(b"\"", true, false, false);
        let mut spaces = false;
        let mut buffer = [0; 4];
        let mut chars = text.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            if !printable(c) || is_break(c) || c == '"' || c == '\\' {
                for byte in escape(c).bytes() {
                    self.put(byte);
                }
                spaces = false;
            } else if c == ' ' {
                let next = chars.peek().map(|(_, next)| *next);
                if fold && !spaces && self.column > WIDTH && at > 0 && next.is_some() {
                    self.start_line();
                    if next == Some(' ') {
                        self.put(b'\\');
                    }
                } else {
                    self.put(b' ');
                }
                spaces = true;
            } else {
                self.write_char(c.encode_utf8(&mut buffer));
                spaces = false;
            }
        }
        self.indicator(b"\"", false, false, false);
        self.space = false;
        self.indention = false;
    }

    fn literal(&mut self, text: &str) {
        self.indicator(b"|", true, false, false);
        if text.starts_with(|c| c == ' ' || is_break(c)) {
            self.indicator(b"2", false, false, false);
        }
        let mut ends = text.chars().rev();
        match (ends.next(), ends.next()) {
            (Some(last), _) if !is_break(last) => self.indicator(b"-", false, false, false),
            (Some(_), None) => self.indicator(b"+", false, false, false),
            (Some(_), Some(before)) if is_break(before) => self.indicator(b"+", false, false, false),
            _ => {}
        }
        self.line_break();
        self.indention = true;
        self.space = true;
        let mut breaks = true;
        let mut buffer = [0; 4];
        for c in text.chars() {
            if is_break(c) {
                if c == '\n' {
                    self.line_break();
                } else {
                    self.write_char(c.encode_utf8(&mut buffer));
                    self.column = 0;
                }
                self.indention = true;
                breaks = true;
            } else {
                if breaks {
                    self.start_line();
                }
                self.write_char(c.encode_utf8(&mut buffer));
                self.indention = false;
                breaks = false;
            }
        }
        // A text that ends with a break leaves the cursor at the start of a line.
        if breaks && self.out.last() == Some(&b'\n') {
            self.out.pop();
            self.column = 1;
            self.indention = false;
        }
    }
}

/// Spells a number as Go's `strconv.FormatFloat(number, 'g', -1, 64)`.
fn float(number: f64) -> String {
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    // Go switches to an exponent below -4 and from 6, its limit for shortest output.
    if !(-4..6).contains(&exponent) {
        format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
    } else {
        number.to_string()
    }
}
