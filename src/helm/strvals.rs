//! The languages of `--set`, `--set-string`, `--set-file`, `--set-json` and `--set-literal`.
//!
//! # Failure
//! A message that names the key; what was set before it stays set, as in helm.

use std::rc::Rc;

use super::{
    funcs::json,
    template::value::{Dict, Map, Str, Value},
    values::new_dict,
};

/// Helm's largest index into a list.
const INDEX: i64 = 65_536;

/// Helm's bound for nested names.
const NESTING: usize = 30;

/// How values are read.
pub(super) enum Kind<'a> {
    /// Guessed: numbers, booleans, null, text.
    Typed,
    /// Always text.
    Text,
    /// JSON.
    Json,
    /// The content of the file of that name.
    File(&'a mut dyn FnMut(&str) -> Result<Value, String>),
}

/// Reads assignments into a table.
///
/// # Errors
/// What is wrong, in helm's words.
pub(super) fn assign(text: &str, values: &Rc<Dict>, kind: Kind<'_>) -> Result<(), String> {
    let mut reader = Reader { chars: text.chars().collect(), at: 0, kind };
    loop {
        match reader.key(values, 0) {
            Ok(()) => {}
            Err(Stop::End) => return Ok(()),
            Err(Stop::Wrong(message)) => return Err(message),
        }
    }
}

/// Reads one assignment whose value is literal text.
///
/// # Errors
/// As [`assign`].
pub(super) fn assign_literal(text: &str, values: &Rc<Dict>) -> Result<(), String> {
    let Some((path, value)) = text.split_once('=') else {
        return Err(format!("key {text:?} has no value"));
    };
    // The path has the grammar of the other flags without escapes; the rest is the value.
    let mut reader = Reader { chars: path.chars().chain(['=']).collect(), at: 0, kind: Kind::Text };
    let mut taken = false;
    let value = Value::from(value);
    let mut give = |_: &str| {
        taken = true;
        Ok(value.clone())
    };
    reader.kind = Kind::File(&mut give);
    match reader.key(values, 0) {
        Ok(()) | Err(Stop::End) => Ok(()),
        Err(Stop::Wrong(message)) => Err(message),
    }
}

/// Why reading stopped.
enum Stop {
    End,
    Wrong(String),
}

fn wrong<T>(message: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Wrong(message.into()))
}

struct Reader<'a> {
    chars: Vec<char>,
    at: usize,
    kind: Kind<'a>,
}

fn set(values: &Rc<Dict>, key: &str, value: Value) {
    if !key.is_empty() {
        values.set(Str::from(key), value);
    }
}

fn set_index(mut list: Vec<Value>, index: i64, value: Value) -> Result<Vec<Value>, Stop> {
    if index < 0 {
        return wrong(format!("negative {index} index not allowed"));
    }
    if index > INDEX {
        return wrong(format!("index of {index} is greater than maximum supported index of {INDEX}"));
    }
    let at = index as usize;
    if list.len() <= at {
        list.resize(at + 1, Value::Nil);
    }
    list[at] = value;
    Ok(list)
}

impl Reader<'_> {
    /// Reads up to a stop; without one, everything that is left.
    fn until(&mut self, stops: &[char]) -> (String, Option<char>) {
        let mut text = String::new();
        while let Some(c) = self.chars.get(self.at).copied() {
            self.at += 1;
            if stops.contains(&c) {
                return (text, Some(c));
            }
            if c == '\\' {
                match self.chars.get(self.at) {
                    Some(next) => text.push(*next),
                    None => return (text, None),
                }
                self.at += 1;
            } else {
                text.push(c);
            }
        }
        (text, None)
    }

    fn key(&mut self, values: &Rc<Dict>, level: usize) -> Result<(), Stop> {
        let (key, last) = self.until(&['=', '[', ',', '.']);
        match last {
            None if key.is_empty() => Err(Stop::End),
            None => wrong(format!("key {key:?} has no value")),
            Some('[') => {
                let index = self.index()?;
                let list = match values.peek(|map| map.get(key.as_bytes()).cloned()) {
                    None => Vec::new(),
                    Some(Value::List(list)) => list.items.clone(),
                    Some(_) => return wrong(format!("unable to parse key: {key} is not a list")),
                };
                let (list, stop) = self.item(list, index, level)?;
                set(values, &key, Value::list(list));
                stop.map_or(Ok(()), Err)
            }
            Some('=') => {
                let (value, stop) = self.value()?;
                set(values, &key, value);
                stop.map_or(Ok(()), Err)
            }
            Some(',') => {
                set(values, &key, Value::str(""));
                wrong(format!("key {key:?} has no value (cannot end with ,)"))
            }
            Some(_) => {
                if level + 1 > NESTING {
                    return wrong(format!(
                        "value name nested level is greater than maximum supported nested level of {NESTING}"
                    ));
                }
                let inner = match values.peek(|map| map.get(key.as_bytes()).cloned()) {
                    None => new_dict(Map::new()),
                    Some(Value::Dict(inner)) => inner,
                    Some(_) => return wrong(format!("unable to parse key: {key} is not a table")),
                };
                let done = self.key(&inner, level + 1);
                let empty = inner.peek(Map::is_empty);
                if done.is_ok() && empty {
                    return wrong(format!("key map {key:?} has no value"));
                }
                if !empty {
                    set(values, &key, Value::Dict(inner));
                }
                done
            }
        }
    }

    fn index(&mut self) -> Result<i64, Stop> {
        let (text, last) = self.until(&[']']);
        match (last, text.parse()) {
            (Some(_), Ok(index)) => Ok(index),
            _ => wrong(format!("error parsing index: {text:?} is not a number")),
        }
    }

    fn item(&mut self, mut list: Vec<Value>, index: i64, level: usize) -> Result<(Vec<Value>, Option<Stop>), Stop> {
        if index < 0 {
            return wrong(format!("negative {index} index not allowed"));
        }
        let (text, last) = self.until(&['[', '.', '=']);
        if !text.is_empty() {
            return wrong(format!("unexpected data at end of array index: {text:?}"));
        }
        let here = list.get(index as usize).cloned();
        match last {
            None => Ok((list, Some(Stop::End))),
            Some('=') => {
                let (value, stop) = self.value()?;
                Ok((set_index(list, index, value)?, stop))
            }
            Some('[') => {
                let next = self.index()?;
                let inner = match here {
                    Some(Value::List(inner)) => inner.items.clone(),
                    None | Some(Value::Nil | Value::Missing) => Vec::new(),
                    Some(_) => return wrong("unable to parse key: not a list"),
                };
                let (inner, stop) = self.item(inner, next, level)?;
                Ok((set_index(list, index, Value::list(inner))?, stop))
            }
            Some(_) => {
                let inner = match here {
                    Some(Value::Dict(inner)) => inner,
                    Some(_) => {
                        let inner = new_dict(Map::new());
                        list[index as usize] = Value::Dict(inner.clone());
                        inner
                    }
                    None => new_dict(Map::new()),
                };
                let stop = match self.key(&inner, level) {
                    Ok(()) => None,
                    // Helm leaves the list as it was when the key is the last one.
                    Err(Stop::End) => return Ok((set_index(list, index, Value::Dict(inner))?, Some(Stop::End))),
                    Err(stop) => return Err(stop),
                };
                Ok((set_index(list, index, Value::Dict(inner))?, stop))
            }
        }
    }

    /// Skips white space up to and with a comma; tells whether nothing else was there.
    fn nothing(&mut self) -> bool {
        while let Some(c) = self.chars.get(self.at) {
            match c {
                ',' => {
                    self.at += 1;
                    return true;
                }
                c if c.is_whitespace() => self.at += 1,
                _ => return false,
            }
        }
        true
    }

    /// Reads a value; the stop tells that the text ends after it.
    fn value(&mut self) -> Result<(Value, Option<Stop>), Stop> {
        if let Kind::Json = self.kind {
            if self.nothing() {
                return Ok((Value::Nil, None));
            }
            let rest: String = self.chars[self.at..].iter().collect();
            let (value, length) = json::read_prefix(rest.as_bytes()).map_err(Stop::Wrong)?;
            self.at += rest.get(..length).map_or(0, |read| read.chars().count());
            self.nothing();
            return Ok((value, None));
        }
        match self.chars.get(self.at) {
            None => match self.kind {
                Kind::File(_) => Ok((self.typed("")?, Some(Stop::End))),
                _ => Ok((Value::str(""), Some(Stop::End))),
            },
            Some('{') => {
                self.at += 1;
                let mut items = Vec::new();
                loop {
                    let (text, last) = self.until(&[',', '}']);
                    match last {
                        None => return wrong("list must terminate with '}'"),
                        Some('}') => {
                            if self.chars.get(self.at) == Some(&',') {
                                self.at += 1;
                            }
                            items.push(self.typed(&text)?);
                            return Ok((Value::list(items), None));
                        }
                        Some(_) => items.push(self.typed(&text)?),
                    }
                }
            }
            Some(_) => {
                let (text, _) = self.until(&[',']);
                Ok((self.typed(&text)?, None))
            }
        }
    }

    fn typed(&mut self, text: &str) -> Result<Value, Stop> {
        match &mut self.kind {
            Kind::File(read) => read(text).map_err(Stop::Wrong),
            Kind::Typed => Ok(guessed(text)),
            Kind::Text | Kind::Json => Ok(Value::from(text)),
        }
    }
}

fn guessed(text: &str) -> Value {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Value::Bool(true),
        _ if text.eq_ignore_ascii_case("false") => Value::Bool(false),
        _ if text.eq_ignore_ascii_case("null") => Value::Nil,
        "0" => Value::int64(0),
        _ if !text.starts_with('0') => match text.parse() {
            Ok(number) => Value::int64(number),
            Err(_) => Value::from(text),
        },
        _ => Value::from(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json_of(text: &str, kind: Kind<'_>) -> String {
        let values = new_dict(Map::new());
        match assign(text, &values, kind) {
            Ok(()) => String::from_utf8(json::compact(&Value::Dict(values)).unwrap()).unwrap(),
            Err(message) => format!("!{message}"),
        }
    }

    #[test]
    fn assignments() {
        for (text, want) in [
            ("a=1,b=x", r#"{"a":1,"b":"x"}"#),
            ("a.b.c=true", r#"{"a":{"b":{"c":true}}}"#),
            ("a={x,1,null}", r#"{"a":["x",1,null]}"#),
            ("a[1].b=2", r#"{"a":[null,{"b":2}]}"#),
            ("a[0][1]=x", r#"{"a":[[null,"x"]]}"#),
            (r"a\.b=c\,d", r#"{"a.b":"c,d"}"#),
            ("a=", r#"{"a":""}"#),
            ("a=007,b=0", r#"{"a":"007","b":0}"#),
            ("a=1.5", r#"{"a":"1.5"}"#),
            ("", "{}"),
        ] {
            assert_eq!(json_of(text, Kind::Typed), want, "{text}");
        }
        for text in ["a", "a,b=1", "a[-1]=x", "a[x]=1", "a={1", "a.=1,b"] {
            assert!(json_of(text, Kind::Typed).starts_with('!'), "{text}");
        }
        assert_eq!(json_of("a=1", Kind::Text), r#"{"a":"1"}"#);
        assert_eq!(json_of(r#"a={"x":[1]},b=,c="s""#, Kind::Json), r#"{"a":{"x":[1]},"b":null,"c":"s"}"#);
    }
}
