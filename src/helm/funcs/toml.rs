//! TOML in both directions, in the layout that helm's library writes.

use super::{Func, Param, func, json::failure, weigh};
use crate::helm::template::{
    gofmt,
    value::{Dict, Map, Str, Value},
};

use Param::{Any, Str as Text};

/// How deep tables and arrays may nest.
const DEPTH: usize = 500;

pub(super) const FUNCS: &[Func] = &[
    func("toToml", &[Any], |interp, args| {
        weigh(interp, args.value(0))?;
        let text = match write(args.value(0)) {
            Ok(text) => text,
            Err(message) => message,
        };
        interp.afford(text.len())?;
        Ok(Value::from(text))
    }),
    func("fromToml", &[Text], |interp, args| {
        interp.spend((args.bytes(0).len() / 8) as u64)?;
        Ok(match read(&args.text(0)) {
            Ok(map) => Value::dict(map),
            Err(message) => failure(message, false),
        })
    }),
];

/// Writes a dictionary as a document, anything else as a value.
fn write(value: &Value) -> Result<String, String> {
    let mut out = String::new();
    let Value::Dict(dict) = value else {
        inline(&mut out, value, 0)?;
        return Ok(out);
    };
    table(&mut out, &mut Vec::new(), dict)?;
    Ok(out)
}

fn bare(key: &str) -> String {
    if !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') {
        key.to_owned()
    } else {
        quoted(key)
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn is_table_array(value: &Value) -> bool {
    match value {
        Value::List(list) => !list.items.is_empty() && list.items.iter().all(|item| matches!(item, Value::Dict(_))),
        _ => false,
    }
}

fn header(out: &mut String, path: &[String], brackets: (&str, &str)) {
    let indent = "  ".repeat(path.len().saturating_sub(1));
    out.push_str(&format!("{indent}{}{}{}\n", brackets.0, path.join("."), brackets.1));
}

fn table(out: &mut String, path: &mut Vec<String>, dict: &Dict) -> Result<(), String> {
    if path.len() > DEPTH {
        return Err(format!("toml: more than {DEPTH} levels"));
    }
    let map = dict.snapshot();
    for (key, value) in map.iter().filter(|(_, value)| !value.is_nil()) {
        if !matches!(value, Value::Dict(_)) && !is_table_array(value) {
            let mut line = String::new();
            inline(&mut line, value, 0)?;
            out.push_str(&format!("{}{} = {line}\n", "  ".repeat(path.len()), bare(&key.text())));
        }
    }
    for (key, value) in &map {
        path.push(bare(&key.text()));
        match value {
            Value::Dict(inner) => {
                if path.len() == 1 && !out.is_empty() {
                    out.push('\n');
                }
                header(out, path, ("[", "]"));
                table(out, path, inner)?;
            }
            Value::List(list) if is_table_array(value) => {
                for item in &list.items {
                    if let Value::Dict(inner) = item {
                        if !out.is_empty() {
                            out.push('\n');
                        }
                        header(out, path, ("[[", "]]"));
                        table(out, path, inner)?;
                    }
                }
            }
            _ => {}
        }
        path.pop();
    }
    Ok(())
}

fn inline(out: &mut String, value: &Value, depth: usize) -> Result<(), String> {
    if depth > DEPTH {
        return Err(format!("toml: more than {DEPTH} levels"));
    }
    match value {
        Value::Missing | Value::Nil => return Err("toml: cannot encode array with nil element".to_owned()),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Int(_, number) => out.push_str(&number.to_string()),
        Value::Float(number) => {
            let text = match gofmt::float(*number, b'f', None).as_str() {
                "+Inf" => "inf".to_owned(),
                "-Inf" => "-inf".to_owned(),
                "NaN" => "nan".to_owned(),
                text if text.contains('.') => text.to_owned(),
                text => format!("{text}.0"),
            };
            out.push_str(&text);
        }
        Value::Str(text) => out.push_str(&quoted(&text.text())),
        Value::Bytes(bytes) => {
            let numbers: Vec<String> = bytes.bytes().iter().map(u8::to_string).collect();
            out.push_str(&format!("[{}]", numbers.join(", ")));
        }
        Value::List(list) => {
            out.push('[');
            for (i, item) in list.items.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                inline(out, item, depth + 1)?;
            }
            out.push(']');
        }
        Value::Dict(dict) => {
            out.push('{');
            for (i, (key, item)) in dict.snapshot().iter().filter(|(_, item)| !item.is_nil()).enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                out.push_str(&bare(&key.text()));
                out.push_str(" = ");
                inline(out, item, depth + 1)?;
            }
            out.push('}');
        }
        Value::Object(object) => {
            return Err(format!("toml: unsupported type: {}", object.type_name()));
        }
    }
    Ok(())
}

/// A table while it is read: dictionaries that may still grow.
#[derive(Default)]
struct Tree {
    entries: Vec<(String, Branch)>,
    defined: bool,
}

enum Branch {
    Leaf(Value),
    Table(Tree),
    Tables(Vec<Tree>),
}

impl Tree {
    fn slot(&mut self, key: &str) -> Option<&mut Branch> {
        self.entries.iter_mut().find(|(known, _)| known == key).map(|(_, branch)| branch)
    }

    /// Walks to a table, making what is missing; arrays of tables stand for their last one.
    fn descend(&mut self, path: &[String]) -> Result<&mut Tree, String> {
        let Some((key, rest)) = path.split_first() else { return Ok(self) };
        if self.slot(key).is_none() {
            self.entries.push((key.clone(), Branch::Table(Tree::default())));
        }
        match self.slot(key) {
            Some(Branch::Table(tree)) => tree.descend(rest),
            Some(Branch::Tables(trees)) => match trees.last_mut() {
                Some(tree) => tree.descend(rest),
                None => Err(format!("key {key:?} has no table")),
            },
            _ => Err(format!("key {key:?} has already been defined")),
        }
    }

    fn set(&mut self, path: &[String], value: Value) -> Result<(), String> {
        let Some((key, parents)) = path.split_last() else { return Err("expected a key".to_owned()) };
        let tree = self.descend(parents)?;
        if tree.slot(key).is_some() {
            return Err(format!("key {key:?} has already been defined"));
        }
        tree.entries.push((key.clone(), Branch::Leaf(value)));
        Ok(())
    }

    fn into_map(self) -> Map {
        self.entries
            .into_iter()
            .map(|(key, branch)| {
                let value = match branch {
                    Branch::Leaf(value) => value,
                    Branch::Table(tree) => Value::dict(tree.into_map()),
                    Branch::Tables(trees) => {
                        Value::list(trees.into_iter().map(|tree| Value::dict(tree.into_map())).collect())
                    }
                };
                (Str::from(key), value)
            })
            .collect()
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

fn read(text: &str) -> Result<Map, String> {
    let mut reader = Reader { text, at: 0 };
    let located = |reader: &Reader<'_>, message: String| {
        let line = reader.text[..reader.at.min(text.len())].matches('\n').count() + 1;
        format!("toml: line {line}: {message}")
    };
    let mut root = Tree::default();
    let mut path: Vec<String> = Vec::new();
    loop {
        reader.blank();
        if reader.rest().is_empty() {
            return Ok(root.into_map());
        }
        let line = reader.line(&mut root, &mut path);
        line.map_err(|message| located(&reader, message))?;
    }
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn eat(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        self.at += if found { text.len() } else { 0 };
        found
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t']).len();
    }

    /// Skips white space, line ends and comments.
    fn blank(&mut self) {
        loop {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
            if !self.rest().starts_with('#') {
                return;
            }
            let rest = self.rest();
            self.at += rest.find('\n').unwrap_or(rest.len());
        }
    }

    fn line_end(&mut self) -> Result<(), String> {
        self.space();
        if self.rest().starts_with('#') {
            let rest = self.rest();
            self.at += rest.find('\n').unwrap_or(rest.len());
        }
        if self.rest().is_empty() || self.eat("\n") || self.eat("\r\n") {
            return Ok(());
        }
        let found: String = self.rest().chars().take(1).collect();
        Err(format!("expected a new line, but got {found:?}"))
    }

    fn line(&mut self, root: &mut Tree, path: &mut Vec<String>) -> Result<(), String> {
        let array = self.eat("[[");
        if array || self.eat("[") {
            *path = self.keys()?;
            if !self.eat(if array { "]]" } else { "]" }) {
                return Err("expected the end of a table name".to_owned());
            }
            let Some((key, parents)) = path.split_last() else { return Err("empty table name".to_owned()) };
            let parent = root.descend(parents)?;
            if array {
                match parent.slot(key) {
                    None => parent.entries.push((key.clone(), Branch::Tables(vec![Tree::default()]))),
                    Some(Branch::Tables(trees)) => trees.push(Tree::default()),
                    Some(_) => return Err(format!("key {key:?} has already been defined")),
                }
            } else {
                let tree = parent.descend(std::slice::from_ref(key))?;
                if tree.defined {
                    return Err(format!("key {key:?} has already been defined"));
                }
                tree.defined = true;
            }
            return self.line_end();
        }
        let keys = self.keys()?;
        if !self.eat("=") {
            return Err("expected '=' after a key".to_owned());
        }
        self.space();
        let value = self.value(0)?;
        root.descend(path)?.set(&keys, value)?;
        self.line_end()
    }

    fn keys(&mut self) -> Result<Vec<String>, String> {
        let mut keys = Vec::new();
        loop {
            self.space();
            let rest = self.rest();
            let key = if rest.starts_with(['"', '\'']) {
                self.string()?
            } else {
                let end =
                    rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')).unwrap_or(rest.len());
                if end == 0 {
                    return Err("expected a key".to_owned());
                }
                self.at += end;
                rest[..end].to_owned()
            };
            keys.push(key);
            self.space();
            if !self.eat(".") {
                return Ok(keys);
            }
        }
    }

    fn string(&mut self) -> Result<String, String> {
        for mark in ["\"\"\"", "'''"] {
            if self.eat(mark) {
                if !self.eat("\n") {
                    self.eat("\r\n");
                }
                let rest = self.rest();
                let mut end = 0;
                loop {
                    let Some(found) = rest[end..].find(mark) else { return Err("unterminated string".to_owned()) };
                    end += found;
                    let escapes = rest[..end].bytes().rev().take_while(|byte| *byte == b'\\').count();
                    if mark == "'''" || escapes % 2 == 0 {
                        break;
                    }
                    end += 1;
                }
                // Up to two more quotes belong to the text.
                while rest[end + 3..].starts_with(&mark[..1]) {
                    end += 1;
                }
                self.at += end + 3;
                return if mark == "'''" { Ok(rest[..end].to_owned()) } else { unescape(&rest[..end]) };
            }
        }
        if self.eat("'") {
            let rest = self.rest();
            let end = rest.find(['\'', '\n']).filter(|end| rest[*end..].starts_with('\''));
            let Some(end) = end else { return Err("unterminated string".to_owned()) };
            self.at += end + 1;
            return Ok(rest[..end].to_owned());
        }
        self.eat("\"");
        let rest = self.rest();
        let mut escaped = false;
        for (at, c) in rest.char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '\n' => break,
                '"' => {
                    self.at += at + 1;
                    return unescape(&rest[..at]);
                }
                _ => {}
            }
        }
        Err("unterminated string".to_owned())
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > DEPTH {
            return Err(format!("more than {DEPTH} levels"));
        }
        let rest = self.rest();
        match rest.chars().next() {
            None => Err("expected a value".to_owned()),
            Some('"' | '\'') => Ok(Value::from(self.string()?)),
            Some('[') => {
                self.at += 1;
                let mut items = Vec::new();
                loop {
                    self.blank();
                    if self.eat("]") {
                        return Ok(Value::list(items));
                    }
                    items.push(self.value(depth + 1)?);
                    self.blank();
                    if !self.eat(",") && !self.rest().starts_with(']') {
                        return Err("expected a comma or the end of an array".to_owned());
                    }
                }
            }
            Some('{') => {
                self.at += 1;
                let mut tree = Tree::default();
                self.space();
                if self.eat("}") {
                    return Ok(Value::dict(Map::new()));
                }
                loop {
                    let keys = self.keys()?;
                    if !self.eat("=") {
                        return Err("expected '=' after a key".to_owned());
                    }
                    self.space();
                    let value = self.value(depth + 1)?;
                    tree.set(&keys, value)?;
                    self.space();
                    if self.eat("}") {
                        return Ok(Value::dict(tree.into_map()));
                    }
                    if !self.eat(",") {
                        return Err("expected a comma or the end of an inline table".to_owned());
                    }
                }
            }
            Some(_) => {
                let end = rest.find([',', ']', '}', '#', '\n', '\r', '\t']).unwrap_or(rest.len());
                let word = rest[..end].trim_end();
                self.at += word.len();
                scalar(word)
            }
        }
    }
}

fn scalar(word: &str) -> Result<Value, String> {
    match word {
        "true" => return Ok(Value::Bool(true)),
        "false" => return Ok(Value::Bool(false)),
        "inf" | "+inf" => return Ok(Value::Float(f64::INFINITY)),
        "-inf" => return Ok(Value::Float(f64::NEG_INFINITY)),
        "nan" | "+nan" | "-nan" => return Ok(Value::Float(f64::NAN)),
        _ => {}
    }
    let plain = word.replace('_', "");
    let prefixed = [("0x", 16), ("0o", 8), ("0b", 2)]
        .iter()
        .find_map(|(prefix, radix)| i64::from_str_radix(plain.strip_prefix(prefix)?, *radix).ok());
    if let Some(number) = prefixed.or_else(|| plain.parse().ok()) {
        return Ok(Value::int64(number));
    }
    let floats = plain.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+');
    if floats && let Ok(number) = plain.parse::<f64>() {
        return Ok(Value::Float(number));
    }
    if word.len() >= 8 && word.as_bytes()[0].is_ascii_digit() && word.contains(['-', ':']) {
        for layout in ["2006-01-02T15:04:05Z07:00", "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05", "2006-01-02"] {
            if let Ok(time) = crate::helm::template::clock::Time::parse(layout, word) {
                return Ok(Value::object(crate::helm::template::object::Object::Time(time)));
            }
        }
    }
    Err(format!("expected value but found {word:?} instead"))
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = rest[at + 1..].chars().next().ok_or("unterminated escape")?;
        rest = &rest[at + 1 + escape.len_utf8()..];
        match escape {
            'b' => out.push('\u{8}'),
            't' => out.push('\t'),
            'n' => out.push('\n'),
            'f' => out.push('\u{c}'),
            'r' => out.push('\r'),
            'e' => out.push('\u{1b}'),
            '"' => out.push('"'),
            '\\' => out.push('\\'),
            'u' | 'U' | 'x' => {
                let length = match escape {
                    'u' => 4,
                    'U' => 8,
                    _ => 2,
                };
                let code = rest.get(..length).and_then(|hex| u32::from_str_radix(hex, 16).ok());
                out.push(code.and_then(char::from_u32).ok_or("invalid escape of a character")?);
                rest = &rest[length..];
            }
            '\n' | ' ' | '\t' | '\r' => rest = rest.trim_start_matches([' ', '\t', '\r', '\n']),
            other => return Err(format!("invalid escape character {other:?}")),
        }
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let text = "a = 1\nb = [\"x\", \"y\"]\n\n[t]\n  c = 1.5\n  [t.u]\n    d = \"q\\\"\"\n\n[[v]]\n  e = true\n\n[[v]]\n  e = false\n";
        assert_eq!(write(&Value::dict(read(text).unwrap())).unwrap(), text);
        assert!(read("a = ").is_err() && read("a = 1\na = 2").is_err() && read("[a").is_err());
    }
}
