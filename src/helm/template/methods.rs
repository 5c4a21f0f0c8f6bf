//! Methods that templates call on helm's own values: `.Values`, `.Files`, `.Capabilities.APIVersions` and objects.

use super::{
    error::CallError,
    exec::Interp,
    value::{Dict, DictKind, Elem, Map, Str, Value},
};
use crate::helm::{
    funcs::{encoding::base64, paths, weigh},
    glob::Glob,
    goyaml,
};

/// Tells whether `.Values` has a method of this name; methods hide keys.
pub fn of_values(name: &str) -> bool {
    matches!(name, "AsMap" | "Table" | "YAML" | "PathValue" | "Encode")
}

/// Tells whether `.Files` has a method of this name.
pub fn of_files(name: &str) -> bool {
    matches!(name, "Get" | "GetBytes" | "Glob" | "AsConfig" | "AsSecrets" | "Lines")
}

fn bad_args(name: &str, want: usize, args: &[Value]) -> CallError {
    if args.len() == want {
        CallError::Arity(format!(
            "wrong type for value; expected string; got {}",
            args.first().map_or("nothing", Value::type_name)
        ))
    } else {
        CallError::Arity(format!("wrong number of args for {name}: want {want} got {}", args.len()))
    }
}

/// Calls a method; `None` when the type has none of that name.
pub fn call(interp: &mut Interp<'_>, receiver: &Value, name: &str, args: &[Value]) -> Option<Result<Value, CallError>> {
    match receiver {
        Value::Object(object) => object.access(name, args),
        Value::List(list) if list.elem == Elem::Versions => Some(match args {
            [Value::Str(wanted)] => {
                Ok(Value::Bool(list.items.iter().any(|item| matches!(item, Value::Str(known) if known == wanted))))
            }
            _ => Err(bad_args(name, 1, args)),
        }),
        Value::Dict(dict) if dict.kind() == DictKind::Files => Some(files(interp, dict, name, args)),
        Value::Dict(dict) => Some(values(interp, dict, name, args)),
        _ => None,
    }
}

fn values(interp: &mut Interp<'_>, dict: &std::rc::Rc<Dict>, name: &str, args: &[Value]) -> Result<Value, CallError> {
    let table = |path: &[u8]| {
        let mut current = Value::Dict(dict.clone());
        for part in path.split(|byte| *byte == b'.') {
            current = match &current {
                Value::Dict(dict) => dict.get(part).unwrap_or(Value::Nil),
                _ => Value::Nil,
            };
            if !matches!(current, Value::Dict(_)) {
                let part = String::from_utf8_lossy(part);
                return Err(CallError::function(format!("{part:?} is not a table")));
            }
        }
        Ok(current)
    };
    match (name, args) {
        ("AsMap", []) => Ok(dict.seen_as(DictKind::Plain)),
        ("YAML", []) => {
            let whole = Value::Dict(dict.clone());
            weigh(interp, &whole)?;
            match goyaml::write(&whole) {
                Ok(text) => Ok(Value::str(text)),
                Err(error) => Err(CallError::function(error.to_string())),
            }
        }
        ("Table", [Value::Str(path)]) => table(path.bytes()).map(|found| match found {
            Value::Dict(dict) => dict.seen_as(DictKind::Values),
            other => other,
        }),
        ("PathValue", [Value::Str(path)]) => {
            let bytes = path.bytes();
            let (parent, key) = match bytes.iter().rposition(|byte| *byte == b'.') {
                Some(at) => (table(&bytes[..at])?, &bytes[at + 1..]),
                None => (Value::Dict(dict.clone()), bytes),
            };
            let key = String::from_utf8_lossy(key);
            match parent.entry(&key) {
                Some(value) if !matches!(value, Value::Dict(_)) => Ok(value),
                _ => Err(CallError::function(format!("{key:?} is not a value"))),
            }
        }
        ("AsMap" | "YAML", _) => Err(bad_args(name, 0, args)),
        _ => Err(bad_args(name, 1, args)),
    }
}

fn files(interp: &mut Interp<'_>, dict: &std::rc::Rc<Dict>, name: &str, args: &[Value]) -> Result<Value, CallError> {
    let content = |name: &Str| match dict.get(name.bytes()) {
        Some(Value::Bytes(bytes)) => bytes,
        _ => Str::from(""),
    };
    let by_base = |encode: fn(&Str) -> Value| {
        let mut map = Map::new();
        dict.with(|files| {
            for (path, file) in files {
                if let Value::Bytes(bytes) = file {
                    map.insert(Str::from(paths::base(&path.text())), encode(bytes));
                }
            }
        });
        let mut text = goyaml::write(&Value::dict_of(DictKind::Strings, map)).unwrap_or_default();
        if text.last() == Some(&b'\n') {
            text.pop();
        }
        text
    };
    match (name, args) {
        ("Get", [Value::Str(path)]) => Ok(Value::Str(content(path))),
        ("GetBytes", [Value::Str(path)]) => Ok(Value::Bytes(content(path))),
        ("Lines", [Value::Str(path)]) => {
            let content = content(path);
            if content.is_empty() {
                return Ok(Value::strings(Vec::<Str>::new()));
            }
            let bytes = content.bytes();
            let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
            let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
            interp.spend(lines.len() as u64 / 4)?;
            Ok(Value::strings(lines))
        }
        ("Glob", [Value::Str(pattern)]) => {
            let glob = Glob::new(&pattern.text());
            let mut found = Map::new();
            dict.with(|files| {
                for (path, file) in files {
                    if glob.matches(&path.text()) {
                        found.insert(path.clone(), file.clone());
                    }
                }
            });
            interp.spend(dict.len() as u64 + 10)?;
            Ok(Value::dict_of(DictKind::Files, found))
        }
        ("AsConfig", []) => {
            let text = by_base(|bytes| Value::Str(bytes.clone()));
            interp.afford(text.len())?;
            Ok(Value::str(text))
        }
        ("AsSecrets", []) => {
            let text = by_base(|bytes| Value::from(base64(bytes.bytes())));
            interp.afford(text.len())?;
            Ok(Value::str(text))
        }
        ("AsConfig" | "AsSecrets", _) => Err(bad_args(name, 0, args)),
        _ => Err(bad_args(name, 1, args)),
    }
}
