//! JSON as Go's `encoding/json` writes and reads it.

mod reader;

use super::{Args, Func, Outcome, Param, encoding, func, weigh};
use crate::helm::template::{
    error::CallError,
    exec::Interp,
    gofmt,
    object::Object,
    value::{DictKind, Elem, Map, Str, Value},
};

use Param::{Any, Str as Text};

pub use reader::{read, read_prefix};

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
