//! The functions of Go's template language itself, and helm's own that reach into the evaluator.

use super::{Args, Func, Outcome, Param, Run, func, strval, variadic, weigh};
use crate::helm::template::{
    error::CallError,
    exec::Interp,
    gofmt,
    value::{DictKind, IntKind, Map, Str, Value},
};

use Param::{Any, Str as Text};

pub(super) const FUNCS: &[Func] = &[
    Func { name: "and", params: &[Any], variadic: Some(Any), run: Run::Until(false) },
    Func { name: "or", params: &[Any], variadic: Some(Any), run: Run::Until(true) },
    func("not", &[Any], |_, args| Ok(Value::Bool(!args.value(0).truth()))),
    variadic("eq", &[Any], Any, eq),
    func("ne", &[Any, Any], |_, args| Ok(Value::Bool(!equal(args.value(0), args.value(1))?))),
    func("lt", &[Any, Any], |_, args| Ok(Value::Bool(less(args.value(0), args.value(1))?))),
    func("le", &[Any, Any], |_, args| {
        let (a, b) = (args.value(0), args.value(1));
        Ok(Value::Bool(less(a, b)? || equal(a, b)?))
    }),
    func("gt", &[Any, Any], |_, args| {
        let (a, b) = (args.value(0), args.value(1));
        Ok(Value::Bool(!(less(a, b)? || equal(a, b)?)))
    }),
    func("ge", &[Any, Any], |_, args| Ok(Value::Bool(!less(args.value(0), args.value(1))?))),
    func("len", &[Any], len),
    variadic("index", &[Any], Any, index),
    variadic("call", &[Any], Any, call),
    variadic("print", &[], Any, |interp, args| {
        args.0.iter().try_for_each(|value| weigh(interp, value))?;
        Ok(Value::str(gofmt::sprint_all(args.0)?))
    }),
    variadic("println", &[], Any, |_, args| Ok(Value::str(gofmt::sprintln(args.0)?))),
    variadic("printf", &[Text], Any, |interp, args| {
        args.from(1).iter().try_for_each(|value| weigh(interp, value))?;
        Ok(Value::str(gofmt::sprintf(args.bytes(0), args.from(1), interp.limits.output)?))
    }),
    variadic("html", &[], Any, |_, args| Ok(Value::str(html(&joined(args)?)))),
    variadic("js", &[], Any, |_, args| Ok(Value::str(js(&joined(args)?)))),
    variadic("urlquery", &[], Any, |_, args| Ok(Value::str(query_escape(&joined(args)?)))),
    func("include", &[Text, Any], |interp, args| interp.include(args.bytes(0), args.value(1).clone())),
    func("tpl", &[Text, Any], |interp, args| match args.value(0) {
        Value::Str(text) => interp.tpl(text, args.value(1).clone()),
        _ => Ok(Value::str("")),
    }),
    func("required", &[Text, Any], |_, args| {
        let value = args.value(1);
        let lacking = value.is_nil() || matches!(value, Value::Str(text) if text.is_empty());
        if lacking { Err(CallError::Refused(args.text(0).into_owned())) } else { Ok(value.clone()) }
    }),
    func("fail", &[Text], |_, args| Err(CallError::Refused(args.text(0).into_owned()))),
    func("lookup", &[Text, Text, Text, Text], |_, _| Ok(Value::dict(Map::new()))),
    func("getHostByName", &[Text], |_, _| Ok(Value::str(""))),
    func("hello", &[], |_, _| Ok(Value::str("Hello!"))),
];

fn joined(args: Args<'_>) -> Result<Vec<u8>, CallError> {
    if let [Value::Str(text)] = args.0 {
        return Ok(text.bytes().to_vec());
    }
    let shown: Vec<Value> =
        args.0.iter().map(|value| if value.is_nil() { Value::str("<no value>") } else { value.clone() }).collect();
    Ok(gofmt::sprint_all(&shown)?)
}

/// The kinds that Go's comparisons know.
#[derive(PartialEq, Clone, Copy)]
enum Basic {
    Bool,
    Int,
    Uint,
    Float,
    Text,
    Other,
}

fn basic(value: &Value) -> Basic {
    match value {
        Value::Bool(_) => Basic::Bool,
        Value::Int(kind, _) if kind.unsigned() => Basic::Uint,
        Value::Int(..) => Basic::Int,
        Value::Float(_) => Basic::Float,
        Value::Str(_) => Basic::Text,
        _ => Basic::Other,
    }
}

fn incompatible(a: &Value, b: &Value) -> CallError {
    CallError::function(format!("incompatible types for comparison: {} and {}", a.type_name(), b.type_name()))
}

fn equal(a: &Value, b: &Value) -> Result<bool, CallError> {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::Int(_, a), Value::Int(_, b)) => Ok(a == b),
        (Value::Float(a), Value::Float(b)) => Ok(a == b),
        (Value::Str(a), Value::Str(b)) => Ok(a == b),
        _ if a.is_nil() || b.is_nil() => Ok(a.is_nil() && b.is_nil() || nil_slice(a) || nil_slice(b)),
        _ if basic(a) != basic(b) => Err(incompatible(a, b)),
        _ if a.kind_name() != b.kind_name() => Err(CallError::function(format!(
            "non-comparable types {}: {}, {}: {}",
            strval(a)?.text(),
            a.type_name(),
            b.type_name(),
            strval(b)?.text()
        ))),
        (Value::Object(a), Value::Object(b)) => Ok(a.equals(b)),
        _ if nil_slice(a) || nil_slice(b) => Ok(nil_slice(a) && nil_slice(b)),
        _ => Err(CallError::function(format!("non-comparable type {}: {}", strval(b)?.text(), b.type_name()))),
    }
}

fn nil_slice(value: &Value) -> bool {
    matches!(value, Value::List(list) if list.nil)
}

fn eq(_: &mut Interp<'_>, args: Args<'_>) -> Outcome {
    if args.len() < 2 {
        return Err(CallError::function("missing argument for comparison"));
    }
    for other in args.from(1) {
        if equal(args.value(0), other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn less(a: &Value, b: &Value) -> Result<bool, CallError> {
    let bad = || CallError::function("invalid type for comparison");
    if basic(a) == Basic::Other || basic(b) == Basic::Other {
        return Err(bad());
    }
    match (a, b) {
        (Value::Int(_, a), Value::Int(_, b)) => Ok(a < b),
        (Value::Float(a), Value::Float(b)) => Ok(a < b),
        (Value::Str(a), Value::Str(b)) => Ok(a < b),
        (Value::Bool(_), Value::Bool(_)) => Err(bad()),
        _ => Err(incompatible(a, b)),
    }
}

fn len(_: &mut Interp<'_>, args: Args<'_>) -> Outcome {
    let value = args.value(0);
    let count = match value {
        Value::Str(text) | Value::Bytes(text) => text.len(),
        Value::List(list) => list.items.len(),
        Value::Dict(dict) => dict.with(|map| map.len()),
        Value::Nil | Value::Missing => return Err(CallError::function("len of nil pointer")),
        other => return Err(CallError::function(format!("len of type {}", other.type_name()))),
    };
    Ok(Value::int(count as i64))
}

/// Turns an index into a place; `count` itself is allowed only where slicing may end.
pub(super) fn place(index: &Value, count: usize) -> Result<usize, CallError> {
    match index {
        Value::Int(_, number) => match usize::try_from(*number) {
            Ok(place) if place <= count => Ok(place),
            _ => Err(CallError::function(format!("index out of range: {number}"))),
        },
        Value::Missing | Value::Nil => Err(CallError::function("cannot index slice/array with nil")),
        other => Err(CallError::function(format!("cannot index slice/array with type {}", other.type_name()))),
    }
}

fn out_of_range(place: usize, count: usize) -> CallError {
    CallError::function(format!("error calling index: reflect: slice index out of range [{place}] of {count}"))
}

fn index(_: &mut Interp<'_>, args: Args<'_>) -> Outcome {
    let mut item = args.value(0).clone();
    if item.is_nil() {
        return Err(CallError::function("index of untyped nil"));
    }
    for key in args.from(1) {
        item = match &item {
            Value::List(list) => {
                let at = place(key, list.items.len())?;
                list.items.get(at).cloned().ok_or_else(|| out_of_range(at, list.items.len()))?
            }
            Value::Str(text) | Value::Bytes(text) => {
                let at = place(key, text.len())?;
                let byte = text.bytes().get(at).copied().ok_or_else(|| out_of_range(at, text.len()))?;
                Value::Int(IntKind::Uint8, i64::from(byte))
            }
            Value::Dict(dict) => match key {
                Value::Str(key) => dict.get(key.bytes()).unwrap_or(match dict.kind() {
                    DictKind::Strings => Value::str(""),
                    DictKind::Files => Value::Bytes(Str::from("")),
                    _ => Value::Nil,
                }),
                Value::Missing | Value::Nil => {
                    return Err(CallError::function("value is nil; should be of type string"));
                }
                other => {
                    return Err(CallError::function(format!("value has type {}; should be string", other.type_name())));
                }
            },
            Value::Nil | Value::Missing => return Err(CallError::function("index of nil pointer")),
            other => {
                return Err(CallError::function(format!("can't index item of type {}", other.type_name())));
            }
        };
    }
    Ok(item)
}

fn call(_: &mut Interp<'_>, args: Args<'_>) -> Outcome {
    let value = args.value(0);
    if value.is_nil() {
        return Err(CallError::function("call of nil"));
    }
    Err(CallError::function(format!("non-function of type {}", value.type_name())))
}

fn html(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            0 => out.extend_from_slice("\u{fffd}".as_bytes()),
            b'"' => out.extend_from_slice(b"&#34;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            other => out.push(*other),
        }
    }
    out
}

fn js(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for c in String::from_utf8_lossy(text).chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' | '>' | '&' | '=' => out.push_str(&format!("\\u{:04X}", c as u32)),
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04X}", c as u32)),
            c if c.is_ascii() || gofmt::is_print(c) => out.push(c),
            c => out.push_str(&format!("\\u{:04X}", c as u32)),
        }
    }
    out
}

/// Escapes as Go's `url.QueryEscape`.
pub(super) fn query_escape(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(*byte as char),
            b' ' => out.push('+'),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}
