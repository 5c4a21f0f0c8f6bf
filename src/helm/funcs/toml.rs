//! TOML in both directions, in the layout that helm's library writes.

mod reader;

use super::{Func, Param, func, json::failure, weigh};
use crate::helm::template::{
    gofmt,
    value::{Dict, Value},
};

use Param::{Any, Str as Text};

use reader::read;

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
