//! JSON as Go's `encoding/json` writes and reads it.

use super::{Args, Func, Outcome, Param, encoding, func, weigh};
use crate::helm::template::{
    error::CallError,
    exec::Interp,
    gofmt,
    object::Object,
    value::{DictKind, Elem, Map, Str, Value},
};

use Param::{Any, Str as Text};

/// How deep a value may nest, written or read. Go reads 10,000 levels, which no text in a chart has.
const DEPTH: usize = 1000;

pub(super) const FUNCS: &[Func] = &[
    func("toJson", &[Any], |interp, args| silent(interp, args, Form::Compact)),
    func("mustToJson", &[Any], |interp, args| loud(interp, args, Form::Compact)),
    func("toPrettyJson", &[Any], |interp, args| silent(interp, args, Form::Pretty)),
    func("mustToPrettyJson", &[Any], |interp, args| loud(interp, args, Form::Pretty)),
    func("toRawJson", &[Any], |interp, args| loud(interp, args, Form::Raw)),
    func("mustToRawJson", &[Any], |interp, args| loud(interp, args, Form::Raw)),
    func("fromJson", &[Text], |interp, args| from_json(interp, args, false)),
    func("fromJsonArray", &[Text], |interp, args| from_json(interp, args, true)),
    func("mustFromJson", &[Text], |interp, args| {
        interp.spend((args.bytes(0).len() / 8) as u64)?;
        read(args.bytes(0)).map_err(CallError::Function)
    }),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Compact,
    Pretty,
    Raw,
}

fn loud(interp: &mut Interp<'_>, args: Args<'_>, form: Form) -> Outcome {
    weigh(interp, args.value(0))?;
    let mut out = Vec::new();
    write(&mut out, args.value(0), form, 0, 0).map_err(CallError::Function)?;
    interp.afford(out.len())?;
    Ok(Value::str(out))
}

fn silent(interp: &mut Interp<'_>, args: Args<'_>, form: Form) -> Outcome {
    match loud(interp, args, form) {
        Err(error @ CallError::Limit(_)) => Err(error),
        other => Ok(other.unwrap_or_else(|_| Value::str(""))),
    }
}

fn from_json(interp: &mut Interp<'_>, args: Args<'_>, list: bool) -> Outcome {
    interp.spend((args.bytes(0).len() / 8) as u64)?;
    let kind = |value: &Value| match value {
        Value::Bool(_) => "bool",
        Value::Float(_) => "number",
        Value::Str(_) => "string",
        Value::List(_) => "array",
        _ => "object",
    };
    let read = match read(args.bytes(0)) {
        Ok(Value::Nil) if list => return Ok(Value::nil_list(Elem::Any)),
        Ok(Value::Nil) => return Ok(Value::dict_of(DictKind::Nil, Map::new())),
        Ok(value @ Value::List(_)) if list => return Ok(value),
        Ok(value @ Value::Dict(_)) if !list => return Ok(value),
        Ok(other) => {
            let want = if list { "[]interface {}" } else { "map[string]interface {}" };
            format!("json: cannot unmarshal {} into Go value of type {want}", kind(&other))
        }
        Err(message) => message,
    };
    Ok(failure(read, list))
}

/// Wraps a message as helm's readers do: under `Error`, or as the only element.
pub(super) fn failure(message: String, list: bool) -> Value {
    if list {
        Value::list(vec![Value::from(message)])
    } else {
        Value::dict([(Str::from("Error"), Value::from(message))].into_iter().collect())
    }
}

/// Writes a value as compact JSON.
///
/// # Errors
/// Go's message for what JSON cannot hold.
pub fn compact(value: &Value) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    write(&mut out, value, Form::Compact, 0, 0)?;
    Ok(out)
}

/// Writes a float as JSON does.
///
/// # Errors
/// Infinities and NaN.
pub fn float(number: f64) -> Result<String, String> {
    if !number.is_finite() {
        return Err(format!("json: unsupported value: {}", gofmt::float(number, b'g', None)));
    }
    let size = number.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = gofmt::float(number, b'e', None);
        // e-09 becomes e-9.
        return Ok(match text.rsplit_once("e-0") {
            Some((mantissa, digit)) if digit.len() == 1 => format!("{mantissa}e-{digit}"),
            _ => text,
        });
    }
    Ok(gofmt::float(number, b'f', None))
}

/// Encodes bytes as JSON does a `[]byte`.
pub fn base64(bytes: &[u8]) -> String {
    encoding::base64(bytes)
}

/// Returns what JSON shows of an object: its exported fields, or what its own method says.
pub fn object_value(object: &Object) -> Value {
    match object {
        Object::Semver(_) => Value::from(object.stringer().unwrap_or_default()),
        Object::Time(time) => Value::from(time.to_rfc3339_nano()),
        other => Value::dict(
            other
                .parts()
                .into_iter()
                .filter(|(name, _)| name.starts_with(|c: char| c.is_ascii_uppercase()))
                .map(|(name, value)| {
                    // The build information has lower-case names in JSON.
                    let name = match (other, name) {
                        (Object::HelmVersion(_), "Version") => "version",
                        (Object::HelmVersion(_), "GitCommit") => "git_commit",
                        (Object::HelmVersion(_), "GitTreeState") => "git_tree_state",
                        (Object::HelmVersion(_), "GoVersion") => "go_version",
                        (Object::HelmVersion(_), "KubeClientVersion") => "kube_client_version",
                        (_, name) => name,
                    };
                    (Str::from(name), value)
                })
                .collect(),
        ),
    }
}

fn line(out: &mut Vec<u8>, form: Form, indent: usize) {
    if form == Form::Pretty {
        out.push(b'\n');
        out.resize(out.len() + indent * 2, b' ');
    }
}

fn write(out: &mut Vec<u8>, value: &Value, form: Form, indent: usize, depth: usize) -> Result<(), String> {
    if depth > DEPTH {
        return Err(format!("json: unsupported value: encountered a cycle via {}", value.type_name()));
    }
    match value {
        Value::Missing | Value::Nil => out.extend_from_slice(b"null"),
        Value::Bool(truth) => out.extend_from_slice(if *truth { b"true" } else { b"false" }),
        Value::Int(kind, number) if kind.unsigned() => out.extend((*number as u64).to_string().bytes()),
        Value::Int(_, number) => out.extend(number.to_string().bytes()),
        Value::Float(number) => out.extend(float(*number)?.bytes()),
        Value::Str(text) => string(out, text.bytes(), form != Form::Raw),
        Value::Bytes(bytes) => string(out, base64(bytes.bytes()).as_bytes(), false),
        Value::List(list) if list.nil => out.extend_from_slice(b"null"),
        Value::List(list) => {
            out.push(b'[');
            for (i, item) in list.items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                line(out, form, indent + 1);
                write(out, item, form, indent + 1, depth + 1)?;
            }
            if !list.items.is_empty() {
                line(out, form, indent);
            }
            out.push(b']');
        }
        Value::Dict(dict) if dict.kind() == DictKind::Nil => out.extend_from_slice(b"null"),
        Value::Dict(dict) => {
            out.push(b'{');
            let map = dict.snapshot();
            let some = !map.is_empty();
            for (i, (key, item)) in map.into_iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                line(out, form, indent + 1);
                string(out, key.bytes(), form != Form::Raw);
                out.push(b':');
                if form == Form::Pretty {
                    out.push(b' ');
                }
                write(out, &item, form, indent + 1, depth + 1)?;
            }
            if some {
                line(out, form, indent);
            }
            out.push(b'}');
        }
        Value::Object(object) if matches!(**object, Object::KubeVersion(_)) => {
            // A structure keeps the order of its fields, other than a map.
            let parts =
                object.parts().into_iter().filter(|(name, _)| name.starts_with(|c: char| c.is_ascii_uppercase()));
            for (i, (name, part)) in parts.enumerate() {
                out.push(if i == 0 { b'{' } else { b',' });
                line(out, form, indent + 1);
                string(out, name.as_bytes(), false);
                out.extend_from_slice(if form == Form::Pretty { b": " } else { b":" });
                write(out, &part, form, indent + 1, depth + 1)?;
            }
            line(out, form, indent);
            out.push(b'}');
        }
        Value::Object(object) => match object_value(object) {
            Value::Object(_) => out.extend_from_slice(b"{}"),
            other => write(out, &other, form, indent, depth + 1)?,
        },
    }
    Ok(())
}

fn string(out: &mut Vec<u8>, text: &[u8], html: bool) {
    out.push(b'"');
    for rune in gofmt::runes(text) {
        match rune {
            Err(_) => out.extend_from_slice(b"\\ufffd"),
            Ok('"') => out.extend_from_slice(b"\\\""),
            Ok('\\') => out.extend_from_slice(b"\\\\"),
            Ok('\n') => out.extend_from_slice(b"\\n"),
            Ok('\r') => out.extend_from_slice(b"\\r"),
            Ok('\t') => out.extend_from_slice(b"\\t"),
            Ok('\u{8}') => out.extend_from_slice(b"\\b"),
            Ok('\u{c}') => out.extend_from_slice(b"\\f"),
            Ok(c)
                if (c as u32) < 0x20
                    || (html && matches!(c, '<' | '>' | '&'))
                    || matches!(c, '\u{2028}' | '\u{2029}') =>
            {
                out.extend(format!("\\u{:04x}", c as u32).bytes());
            }
            Ok(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

/// Reads a JSON text, numbers as floats.
///
/// # Errors
/// Go's message.
pub fn read(text: &[u8]) -> Result<Value, String> {
    let mut reader = Reader { text, at: 0 };
    reader.space();
    let value = reader.value(0)?;
    reader.space();
    match reader.peek() {
        None => Ok(value),
        Some(byte) => Err(invalid(byte, "after top-level value")),
    }
}

/// Reads the JSON value that a text starts with, and tells where it ends.
///
/// # Errors
/// Go's message.
pub fn read_prefix(text: &[u8]) -> Result<(Value, usize), String> {
    let mut reader = Reader { text, at: 0 };
    reader.space();
    let value = reader.value(0)?;
    Ok((value, reader.at))
}

fn invalid(byte: u8, context: &str) -> String {
    let shown = match byte {
        b'\'' => "'\\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        other => {
            let quoted = gofmt::quote(&[other], false);
            let text = String::from_utf8_lossy(&quoted).into_owned();
            format!("'{}'", text.trim_matches('"'))
        }
    };
    format!("invalid character {shown} {context}")
}

const END: &str = "unexpected end of JSON input";

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > DEPTH {
            return Err("exceeded max depth".to_owned());
        }
        match self.peek() {
            None => Err(END.to_owned()),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Value::Str(self.string()?)),
            Some(b't') => self.word(b"true", Value::Bool(true)),
            Some(b'f') => self.word(b"false", Value::Bool(false)),
            Some(b'n') => self.word(b"null", Value::Nil),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(byte) => Err(invalid(byte, "looking for beginning of value")),
        }
    }

    fn word(&mut self, word: &[u8], value: Value) -> Result<Value, String> {
        for (i, want) in word.iter().enumerate() {
            match self.peek() {
                None => return Err(END.to_owned()),
                Some(byte) if byte != *want => {
                    let name = String::from_utf8_lossy(word);
                    return Err(invalid(byte, &format!("in literal {name} (expecting '{}')", word[i] as char)));
                }
                Some(_) => self.at += 1,
            }
        }
        Ok(value)
    }

    fn digits(&mut self, context: &str) -> Result<(), String> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start {
            return Ok(());
        }
        Err(self.peek().map_or_else(|| END.to_owned(), |byte| invalid(byte, context)))
    }

    fn number(&mut self) -> Result<Value, String> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits("in numeric literal")?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits("after decimal point in numeric literal")?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits("in exponent of numeric literal")?;
        }
        let text = String::from_utf8_lossy(&self.text[start..self.at]);
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::Float(number)),
            _ => Err(format!("json: cannot unmarshal number {text} into Go value of type float64")),
        }
    }

    fn unit(&mut self) -> Result<u32, String> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = match self.peek() {
                None => return Err(END.to_owned()),
                Some(byte) => {
                    (byte as char).to_digit(16).ok_or_else(|| invalid(byte, "in \\u hexadecimal character escape"))?
                }
            };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }

    fn string(&mut self) -> Result<Str, String> {
        self.at += 1;
        let mut out = Vec::new();
        loop {
            let byte = self.peek().ok_or_else(|| END.to_owned())?;
            self.at += 1;
            match byte {
                b'"' => break,
                b'\\' => {
                    let escape = self.peek().ok_or_else(|| END.to_owned())?;
                    self.at += 1;
                    match escape {
                        b'"' | b'\\' | b'/' => out.push(escape),
                        b'b' => out.push(8),
                        b'f' => out.push(12),
                        b'n' => out.push(10),
                        b'r' => out.push(13),
                        b't' => out.push(9),
                        b'u' => {
                            let first = self.unit()?;
                            let mut c = char::from_u32(first);
                            if (0xd800..0xdc00).contains(&first) && self.text[self.at..].starts_with(b"\\u") {
                                let before = self.at;
                                self.at += 2;
                                let second = self.unit()?;
                                if (0xdc00..0xe000).contains(&second) {
                                    c = char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00));
                                } else {
                                    self.at = before;
                                }
                            }
                            let c = c.unwrap_or('\u{fffd}');
                            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                        }
                        other => return Err(invalid(other, "in string escape code")),
                    }
                }
                byte if byte < 0x20 => return Err(invalid(byte, "in string literal")),
                byte => out.push(byte),
            }
        }
        if std::str::from_utf8(&out).is_err() {
            out = String::from_utf8_lossy(&out).into_owned().into_bytes();
        }
        Ok(Str::from(out))
    }

    fn array(&mut self, depth: usize) -> Result<Value, String> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::list(items));
        }
        loop {
            self.space();
            items.push(self.value(depth + 1)?);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::list(items));
                }
                Some(byte) => return Err(invalid(byte, "after array element")),
                None => return Err(END.to_owned()),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, String> {
        self.at += 1;
        let mut map = Map::new();
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::dict(map));
        }
        loop {
            self.space();
            let key = match self.peek() {
                Some(b'"') => self.string()?,
                Some(byte) => {
                    return Err(invalid(byte, "looking for beginning of object key string"));
                }
                None => return Err(END.to_owned()),
            };
            self.space();
            match self.peek() {
                Some(b':') => self.at += 1,
                Some(byte) => return Err(invalid(byte, "after object key")),
                None => return Err(END.to_owned()),
            }
            self.space();
            let value = self.value(depth + 1)?;
            map.insert(key, value);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Value::dict(map));
                }
                Some(byte) => return Err(invalid(byte, "after object key:value pair")),
                None => return Err(END.to_owned()),
            }
        }
    }
}
