//! Text: trimming, cutting, replacing, indenting, quoting, testing.

use super::{Args, Func, Outcome, Param, empty, func, strval, variadic};
use crate::helm::template::{
    error::CallError,
    exec::Interp,
    gofmt,
    value::{DictKind, Map, Str, Value},
};

use Param::{Any, Int, Str as Text};

pub(super) const FUNCS: &[Func] = &[
    func("trim", &[Text], |_, args| Ok(Value::str(trimmed(args.bytes(0))))),
    func("upper", &[Text], |_, args| Ok(Value::str(mapped(&args.text(0), upper)))),
    func("lower", &[Text], |_, args| Ok(Value::str(mapped(&args.text(0), lower)))),
    func("trimall", &[Text, Text], trim_all),
    func("trimAll", &[Text, Text], trim_all),
    func("trimSuffix", &[Text, Text], |_, args| {
        let (suffix, text) = (args.bytes(0), args.bytes(1));
        Ok(same_or(args.value(1), text.strip_suffix(suffix).unwrap_or(text)))
    }),
    func("trimPrefix", &[Text, Text], |_, args| {
        let (prefix, text) = (args.bytes(0), args.bytes(1));
        Ok(same_or(args.value(1), text.strip_prefix(prefix).unwrap_or(text)))
    }),
    func("contains", &[Text, Text], |_, args| Ok(Value::Bool(find(args.bytes(1), args.bytes(0)).is_some()))),
    func("hasPrefix", &[Text, Text], |_, args| Ok(Value::Bool(args.bytes(1).starts_with(args.bytes(0))))),
    func("hasSuffix", &[Text, Text], |_, args| Ok(Value::Bool(args.bytes(1).ends_with(args.bytes(0))))),
    func("trunc", &[Int, Text], trunc),
    func("substr", &[Int, Int, Text], substr),
    func("repeat", &[Int, Text], |interp, args| {
        let Ok(count) = usize::try_from(args.int(0)) else {
            return Err(CallError::function("strings: negative Repeat count"));
        };
        interp.afford(args.bytes(1).len().saturating_mul(count))?;
        Ok(Value::str(args.bytes(1).repeat(count)))
    }),
    func("replace", &[Text, Text, Text], |interp, args| {
        replaced(interp, args.bytes(2), args.bytes(0), args.bytes(1)).map(Value::str)
    }),
    func("indent", &[Int, Text], |interp, args| indent(interp, args, b"")),
    func("nindent", &[Int, Text], |interp, args| indent(interp, args, b"\n")),
    variadic("quote", &[], Any, |_, args| {
        let mut parts = Vec::with_capacity(args.len());
        for value in args.0.iter().filter(|value| !value.is_nil()) {
            parts.push(gofmt::quote(strval(value)?.bytes(), false));
        }
        Ok(Value::str(parts.join(&b' ')))
    }),
    variadic("squote", &[], Any, |_, args| {
        let mut parts = Vec::with_capacity(args.len());
        for value in args.0.iter().filter(|value| !value.is_nil()) {
            parts.push([b"'", &*gofmt::sprint(value)?, b"'"].concat());
        }
        Ok(Value::str(parts.join(&b' ')))
    }),
    variadic("cat", &[], Any, |_, args| {
        let mut parts = Vec::with_capacity(args.len());
        for value in args.0.iter().filter(|value| !value.is_nil()) {
            parts.push(gofmt::sprint(value)?);
        }
        Ok(Value::str(parts.join(&b' ')))
    }),
    func("toString", &[Any], |_, args| Ok(Value::Str(strval(args.value(0))?))),
    func("split", &[Text, Text], |interp, args| numbered(interp, split(args.bytes(1), args.bytes(0), -1))),
    func("splitn", &[Text, Int, Text], |interp, args| {
        numbered(interp, split(args.bytes(2), args.bytes(0), args.int(1)))
    }),
    func("splitList", &[Text, Text], |interp, args| {
        let parts = split(args.bytes(1), args.bytes(0), -1);
        interp.spend(parts.len() as u64 / 4)?;
        Ok(Value::strings(parts))
    }),
    variadic("default", &[Any], Any, |_, args| {
        let given = args.value(1);
        Ok(if args.len() < 2 || empty(given) { args.value(0).clone() } else { given.clone() })
    }),
    func("empty", &[Any], |_, args| Ok(Value::Bool(empty(args.value(0))))),
    variadic("coalesce", &[], Any, |_, args| {
        Ok(args.0.iter().find(|value| !empty(value)).cloned().unwrap_or(Value::Nil))
    }),
    variadic("all", &[], Any, |_, args| Ok(Value::Bool(!args.0.iter().any(empty)))),
    variadic("any", &[], Any, |_, args| Ok(Value::Bool(!args.0.iter().all(empty)))),
    func("typeOf", &[Any], |_, args| Ok(Value::str(args.value(0).type_name()))),
    func("typeIs", &[Text, Any], |_, args| Ok(Value::Bool(args.bytes(0) == args.value(1).type_name().as_bytes()))),
    func("typeIsLike", &[Text, Any], |_, args| {
        let (target, name) = (args.text(0), args.value(1).type_name());
        Ok(Value::Bool(target == name || format!("*{target}") == name))
    }),
    func("kindOf", &[Any], |_, args| Ok(Value::str(args.value(0).kind_name()))),
    func("kindIs", &[Text, Any], |_, args| Ok(Value::Bool(args.bytes(0) == args.value(1).kind_name().as_bytes()))),
];

/// Finds a part in a text.
pub(super) fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    match part {
        [] => Some(0),
        [byte] => text.iter().position(|other| other == byte),
        _ => text.windows(part.len()).position(|window| window == part),
    }
}

/// Shares the value when the text did not change.
fn same_or(value: &Value, text: &[u8]) -> Value {
    match value {
        Value::Str(before) if before.len() == text.len() => value.clone(),
        _ => Value::str(text),
    }
}

fn trimmed(text: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(text) {
        Ok(text) => text.trim().as_bytes().to_vec(),
        Err(_) => text.trim_ascii().to_vec(),
    }
}

/// Maps a character as Go does: one to one, never one to many.
fn single(c: char, mut mapped: impl Iterator<Item = char>) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(only), None) => only,
        _ => c,
    }
}

/// Returns the upper-case character.
pub(super) fn upper(c: char) -> char {
    single(c, c.to_uppercase())
}

/// Returns the lower-case character.
pub(super) fn lower(c: char) -> char {
    single(c, c.to_lowercase())
}

/// Maps every character of a text.
pub(super) fn mapped(text: &str, map: fn(char) -> char) -> String {
    text.chars().map(map).collect()
}

fn trim_all(_: &mut Interp<'_>, args: Args<'_>) -> Outcome {
    let (set, text) = (args.text(0), args.text(1));
    Ok(Value::str(text.trim_matches(|c| set.contains(c))))
}

fn trunc(_: &mut Interp<'_>, args: Args<'_>) -> Outcome {
    let (count, text) = (args.int(0), args.bytes(1));
    let length = text.len() as i64;
    let part = if count < 0 && length.saturating_add(count) > 0 {
        &text[(length + count) as usize..]
    } else if count >= 0 && length > count {
        &text[..count as usize]
    } else {
        text
    };
    Ok(same_or(args.value(1), part))
}

fn substr(_: &mut Interp<'_>, args: Args<'_>) -> Outcome {
    let (start, end, text) = (args.int(0), args.int(1), args.bytes(2));
    let length = text.len() as i64;
    let (from, to) = if start < 0 {
        (0, end)
    } else if end < 0 || end > length {
        (start, length)
    } else {
        (start, end)
    };
    let part = usize::try_from(from).ok().zip(usize::try_from(to).ok()).and_then(|(from, to)| text.get(from..to));
    match part {
        Some(part) => Ok(Value::str(part)),
        None => Err(CallError::function(format!(
            "runtime error: slice bounds out of range [{from}:{to}] with length {length}"
        ))),
    }
}

/// Replaces every occurrence, as `strings.ReplaceAll`.
pub(super) fn replaced(interp: &mut Interp<'_>, text: &[u8], from: &[u8], to: &[u8]) -> Result<Vec<u8>, CallError> {
    if from.is_empty() {
        let whole = String::from_utf8_lossy(text);
        interp.afford(text.len().saturating_add((whole.chars().count() + 1).saturating_mul(to.len())))?;
        let mut out = to.to_vec();
        let mut buffer = [0; 4];
        for c in whole.chars() {
            out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
            out.extend_from_slice(to);
        }
        return Ok(out);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = find(rest, from) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        if out.len() > interp.limits.output {
            interp.afford(out.len())?;
        }
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    Ok(out)
}

fn indent(interp: &mut Interp<'_>, args: Args<'_>, before: &[u8]) -> Outcome {
    let Ok(spaces) = usize::try_from(args.int(0)) else {
        return Err(CallError::function("strings: negative Repeat count"));
    };
    let text = args.bytes(1);
    let lines = text.iter().filter(|byte| **byte == b'\n').count() + 1;
    let size = text.len().saturating_add(lines.saturating_mul(spaces)).saturating_add(1);
    interp.afford(size)?;
    let mut out = Vec::with_capacity(size);
    out.extend_from_slice(before);
    for (i, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if i > 0 {
            out.push(b'\n');
        }
        out.resize(out.len() + spaces, b' ');
        out.extend_from_slice(line);
    }
    Ok(Value::str(out))
}

/// Splits as `strings.SplitN`.
pub(super) fn split<'a>(text: &'a [u8], separator: &[u8], limit: i64) -> Vec<&'a [u8]> {
    if limit == 0 {
        return Vec::new();
    }
    let most = if limit < 0 { usize::MAX } else { limit as usize };
    let mut parts = Vec::new();
    let mut rest = text;
    if separator.is_empty() {
        while !rest.is_empty() && parts.len() + 1 < most {
            let length = gofmt::runes(rest).next().map_or(1, |rune| rune.map_or(1, char::len_utf8));
            parts.push(&rest[..length]);
            rest = &rest[length..];
        }
        if !rest.is_empty() {
            parts.push(rest);
        }
        return parts;
    }
    while parts.len() + 1 < most
        && let Some(at) = find(rest, separator)
    {
        parts.push(&rest[..at]);
        rest = &rest[at + separator.len()..];
    }
    parts.push(rest);
    parts
}

fn numbered(interp: &mut Interp<'_>, parts: Vec<&[u8]>) -> Outcome {
    interp.spend(parts.len() as u64 / 4)?;
    let map: Map =
        parts.into_iter().enumerate().map(|(i, part)| (Str::from(format!("_{i}")), Value::str(part))).collect();
    Ok(Value::dict_of(DictKind::Strings, map))
}
