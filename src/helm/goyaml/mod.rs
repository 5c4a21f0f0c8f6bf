//! Writes YAML byte for byte as Go's libraries do below helm's `toYaml`: key order, quoting, folding at 80 columns.
//!
//! ```text
//!  toYaml        value → JSON's view of it → go-yaml v2 layout (lists as deep as their key)
//!  toYamlPretty  value → go-yaml v3 layout (lists two deeper, no folding)
//! ```
//!
//! # Failure
//! What JSON cannot hold (infinities, a value inside itself) is [`Unwritable`]; helm turns that into an empty text.

mod characters;
mod order;
mod plain;

use super::{
    funcs::json,
    template::{
        gofmt,
        number::{parse_int_literal, parse_uint_literal},
        value::{DictKind, Str, Value},
    },
};

use characters::{analyze, escape, is_break, printable};
use order::{key_order, simple_order};
use plain::plain_is_text;

/// Says that a value has no YAML form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unwritable(pub String);

/// Which library's layout to follow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    V2,
    V3,
}

/// How deep a written value may nest; encoding/json gives up on cycles at the same depth.
const DEPTH: usize = 1000;

/// Where lines are folded; go-yaml v3 never does.
const WIDTH: usize = 80;

/// Writes a value as `sigs.k8s.io/yaml`, with the final line feed.
///
/// # Errors
/// [`Unwritable`] for what JSON cannot hold.
pub fn write(value: &Value) -> Result<Vec<u8>, Unwritable> {
    document(value, Layout::V2)
}

/// Writes a value as go-yaml v3 with two spaces of indentation.
///
/// # Errors
/// [`Unwritable`] for a value that is nested too deep.
pub fn write_pretty(value: &Value) -> Result<Vec<u8>, Unwritable> {
    document(value, Layout::V3)
}

fn document(value: &Value, layout: Layout) -> Result<Vec<u8>, Unwritable> {
    let mut emitter = Emitter { out: Vec::new(), column: 0, indent: -1, space: true, indention: true, layout };
    emitter.node(value, Place::Root, DEPTH)?;
    emitter.line_break();
    Ok(emitter.out)
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
    layout: Layout,
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

    fn node(&mut self, value: &Value, place: Place, depth: usize) -> Result<(), Unwritable> {
        if depth == 0 {
            return Err(Unwritable(format!(
                "json: unsupported value: encountered a cycle or more than {DEPTH} levels"
            )));
        }
        match value {
            Value::Missing | Value::Nil => self.scalar("null", Style::Plain, place),
            Value::Bool(truth) => self.scalar(if *truth { "true" } else { "false" }, Style::Plain, place),
            Value::Int(kind, number) => {
                let text = if kind.unsigned() { (*number as u64).to_string() } else { number.to_string() };
                self.scalar(&text, Style::Plain, place);
            }
            Value::Float(number) => {
                let text = if self.layout == Layout::V2 { self.json_float(*number)? } else { yaml_float(*number) };
                self.scalar(&text, Style::Plain, place);
            }
            Value::Str(text) => self.text(&text.text(), place),
            Value::Bytes(bytes) if self.layout == Layout::V2 => self.text(&json::base64(bytes.bytes()), place),
            Value::Bytes(bytes) => {
                let items: Vec<Value> = bytes.bytes().iter().map(|byte| Value::int(i64::from(*byte))).collect();
                self.list(&items, place, depth)?;
            }
            Value::List(list) if list.nil && self.layout == Layout::V2 => self.scalar("null", Style::Plain, place),
            Value::List(list) => self.list(&list.items, place, depth)?,
            Value::Dict(dict) if dict.kind() == DictKind::Nil && self.layout == Layout::V2 => {
                self.scalar("null", Style::Plain, place);
            }
            Value::Dict(dict) => {
                let map = dict.snapshot();
                let mut entries: Vec<(Str, Value)> = map.into_iter().collect();
                if entries.iter().any(|(key, _)| !simple_order(key.bytes())) {
                    entries.sort_by(|(a, _), (b, _)| key_order(&a.text(), &b.text()));
                }
                self.map(&entries, place, depth)?;
            }
            Value::Object(object) => match json::object_value(object) {
                Value::Object(_) => self.scalar("{}", Style::Plain, place),
                other => self.node(&other, place, depth - 1)?,
            },
        }
        Ok(())
    }

    /// Numbers pass through JSON: what it writes as an integer is one for YAML.
    fn json_float(&self, number: f64) -> Result<String, Unwritable> {
        let text = json::float(number).map_err(Unwritable)?;
        if let Some(int) = parse_int_literal(&text) {
            return Ok(int.to_string());
        }
        if let Some(int) = parse_uint_literal(&text) {
            return Ok(int.to_string());
        }
        Ok(yaml_float(number))
    }

    fn list(&mut self, items: &[Value], place: Place, depth: usize) -> Result<(), Unwritable> {
        if items.is_empty() {
            self.indicator(b"[", true, true, false);
            self.indicator(b"]", false, false, false);
            return Ok(());
        }
        let before = self.indent;
        let flush = self.layout == Layout::V2
            && matches!(place, Place::Field | Place::Key | Place::ComplexKey)
            && !self.indention;
        if self.indent < 0 {
            self.indent = 0;
        } else if !flush {
            self.indent += 2;
        }
        for item in items {
            self.start_line();
            self.indicator(b"-", true, false, true);
            self.node(item, Place::Item, depth - 1)?;
        }
        self.indent = before;
        Ok(())
    }

    fn map(&mut self, entries: &[(Str, Value)], _place: Place, depth: usize) -> Result<(), Unwritable> {
        if entries.is_empty() {
            self.indicator(b"{", true, true, false);
            self.indicator(b"}", false, false, false);
            return Ok(());
        }
        let before = self.indent;
        self.indent = if self.indent < 0 { 0 } else { self.indent + 2 };
        for (key, value) in entries {
            let key = key.text();
            self.start_line();
            if key.len() <= 128 && !key.contains(is_break) {
                self.text(&key, Place::Key);
                self.indicator(b":", false, false, false);
            } else {
                self.indicator(b"?", true, false, true);
                self.text(&key, Place::ComplexKey);
                self.start_line();
                self.indicator(b":", true, false, true);
            }
            self.node(value, Place::Field, depth - 1)?;
        }
        self.indent = before;
        Ok(())
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
        let fold = !simple_key && self.layout == Layout::V2;
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

fn yaml_float(number: f64) -> String {
    match gofmt::float(number, b'g', None) {
        text if text == "+Inf" => ".inf".to_owned(),
        text if text == "-Inf" => "-.inf".to_owned(),
        text if text == "NaN" => ".nan".to_owned(),
        text => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yaml(value: &Value) -> String {
        String::from_utf8(write(value).unwrap()).unwrap()
    }

    fn dict(entries: &[(&str, Value)]) -> Value {
        Value::dict(entries.iter().map(|(key, value)| (Str::from(*key), value.clone())).collect())
    }

    #[test]
    fn writes_what_helm_writes() {
        let long = format!("{}{}", "hello ".repeat(20), " ".to_owned() + &"xy".repeat(30));
        let value = dict(&[
            ("k", Value::from(long)),
            ("e", Value::from("😀")),
            ("t", Value::from("a\tb")),
            ("m", Value::from("a\n  b\n")),
            ("l", Value::list(vec![Value::list(vec![Value::Float(1.0), dict(&[("x", Value::from("y\nz"))])])])),
            ("ke\ny", Value::int(1)),
            ("", Value::int(2)),
            ("nil", Value::Nil),
        ]);
        let want = "\"\": 2\ne: \"\\U0001F600\"\nk: hello hello hello hello hello hello hello hello hello hello hello hello hello hello\n  hello hello hello hello hello hello  xyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxy\n? |-\n  ke\n  y\n: 1\nl:\n- - 1\n  - x: |-\n      y\n      z\nm: |\n  a\n    b\nnil: null\nt: \"a\\tb\"\n";
        assert_eq!(yaml(&value), want);
        assert_eq!(yaml(&Value::from("a\nb")), "|-\n  a\n  b\n");
    }

    #[test]
    fn quotes_what_would_change() {
        for text in ["yes", "1", "1.5", "0x1f", "2021-01-01", "1:30", "~", "", ".5", "1_000", "08", "1e3"] {
            assert!(yaml(&Value::from(text)).starts_with('"'), "{text}");
        }
        for text in ["a: b", "- x", "#x", "{a", "*a", "'q'", "a #b", "a:"] {
            assert!(yaml(&Value::from(text)).starts_with('\''), "{text}");
        }
        for text in ["v1.2.3", "1.2.3", "a:b", "hello world", "-x", "10Gi", "/path", "=", "12:99"] {
            assert_eq!(yaml(&Value::from(text)), format!("{text}\n"));
        }
    }
}
