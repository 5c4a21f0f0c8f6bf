//! Reads TOML.

use super::DEPTH;
use crate::helm::template::value::{Map, Str, Value};

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

pub(super) fn read(text: &str) -> Result<Map, String> {
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
