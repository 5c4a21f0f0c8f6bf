//! Lists: making, taking apart, searching.

use super::{
    Args, Func, Outcome, Param, builtins::place, elements, empty, func, math::to_int, nil_pointer, strval, variadic,
};
use crate::helm::template::{
    error::CallError,
    exec::Interp,
    value::{Elem, List, Str, Value},
};
use std::rc::Rc;

use Param::{Any, Int, Str as Text};

type Body = fn(&mut Interp<'_>, Args<'_>) -> Outcome;

const PUSH: Body = |_, args| {
    let mut items = slice(args.value(0), "push on")?;
    items.push(args.value(1).clone());
    Ok(Value::list(items))
};
const PREPEND: Body = |_, args| {
    let mut items = slice(args.value(0), "prepend on")?;
    items.insert(0, args.value(1).clone());
    Ok(Value::list(items))
};
const FIRST: Body = |_, args| Ok(slice(args.value(0), "find first on")?.into_iter().next().unwrap_or(Value::Nil));
const LAST: Body = |_, args| Ok(slice(args.value(0), "find last on")?.pop().unwrap_or(Value::Nil));
const REST: Body = |_, args| {
    let mut items = slice(args.value(0), "find rest on")?;
    if items.is_empty() {
        return Ok(Value::nil_list(Elem::Any));
    }
    items.remove(0);
    Ok(Value::list(items))
};
const INITIAL: Body = |_, args| {
    let mut items = slice(args.value(0), "find initial on")?;
    if items.pop().is_none() {
        return Ok(Value::nil_list(Elem::Any));
    }
    Ok(Value::list(items))
};
const REVERSE: Body = |_, args| {
    let mut items = slice(args.value(0), "find reverse on")?;
    items.reverse();
    Ok(Value::list(items))
};
const COMPACT: Body = |_, args| {
    let items = slice(args.value(0), "compact on")?;
    Ok(Value::list(items.into_iter().filter(|item| !empty(item)).collect()))
};
const UNIQ: Body = |interp, args| {
    let mut kept: Vec<Value> = Vec::new();
    for item in slice(args.value(0), "find uniq on")? {
        interp.spend(1 + kept.len() as u64 / 8)?;
        if !contains(&kept, &item) {
            kept.push(item);
        }
    }
    Ok(Value::list(kept))
};
const WITHOUT: Body = |interp, args| {
    let items = slice(args.value(0), "find without on")?;
    interp.spend((items.len() * args.len()) as u64 / 8)?;
    Ok(Value::list(items.into_iter().filter(|item| !contains(args.from(1), item)).collect()))
};
const HAS: Body = |interp, args| {
    if args.value(1).is_nil() {
        return Ok(Value::Bool(false));
    }
    let items = slice(args.value(1), "find has on")?;
    interp.spend(items.len() as u64 / 8)?;
    Ok(Value::Bool(contains(&items, args.value(0))))
};
const CHUNK: Body = |_, args| {
    let size = args.int(0);
    let items = slice(args.value(1), "chunk type").map_err(|error| match error {
        CallError::Function(message) => CallError::Function(message.replace("chunk type type", "chunk type")),
        other => other,
    })?;
    let Some(size) = usize::try_from(size).ok().filter(|size| *size > 0) else {
        return Err(CallError::function("runtime error: makeslice: len out of range"));
    };
    let chunks = items.chunks(size).map(|chunk| Value::list(chunk.to_vec())).collect();
    Ok(Value::list_of(Elem::Lists, chunks))
};

pub(super) const FUNCS: &[Func] = &[
    variadic("list", &[], Any, |_, args| Ok(Value::list(args.0.iter().map(unwrapped).collect()))),
    variadic("tuple", &[], Any, |_, args| Ok(Value::list(args.0.iter().map(unwrapped).collect()))),
    func("append", &[Any, Any], PUSH),
    func("push", &[Any, Any], PUSH),
    func("mustAppend", &[Any, Any], PUSH),
    func("mustPush", &[Any, Any], PUSH),
    func("prepend", &[Any, Any], PREPEND),
    func("mustPrepend", &[Any, Any], PREPEND),
    func("first", &[Any], FIRST),
    func("mustFirst", &[Any], FIRST),
    func("last", &[Any], LAST),
    func("mustLast", &[Any], LAST),
    func("rest", &[Any], REST),
    func("mustRest", &[Any], REST),
    func("initial", &[Any], INITIAL),
    func("mustInitial", &[Any], INITIAL),
    func("reverse", &[Any], REVERSE),
    func("mustReverse", &[Any], REVERSE),
    func("compact", &[Any], COMPACT),
    func("mustCompact", &[Any], COMPACT),
    func("uniq", &[Any], UNIQ),
    func("mustUniq", &[Any], UNIQ),
    variadic("without", &[Any], Any, WITHOUT),
    variadic("mustWithout", &[Any], Any, WITHOUT),
    func("has", &[Any, Any], HAS),
    func("mustHas", &[Any, Any], HAS),
    variadic("slice", &[Any], Any, cut),
    variadic("mustSlice", &[Any], Any, cut),
    func("chunk", &[Int, Any], CHUNK),
    func("mustChunk", &[Int, Any], CHUNK),
    variadic("concat", &[], Any, concat),
    func("sortAlpha", &[Any], sort_alpha),
    func("join", &[Text, Any], join),
    func("toStrings", &[Any], |_, args| Ok(Value::strings(strings(args.value(0))?))),
    func("until", &[Int], |interp, args| {
        let count = args.int(0);
        steps(interp, 0, count, if count < 0 { -1 } else { 1 })
    }),
    func("untilStep", &[Int, Int, Int], |interp, args| steps(interp, args.int(0), args.int(1), args.int(2))),
    variadic("seq", &[], Int, seq),
];

/// Stores nil as an interface that holds nil, as Go's variadic interface slices do.
pub(super) fn unwrapped(value: &Value) -> Value {
    if let Value::Missing = value { Value::Nil } else { value.clone() }
}

fn slice(value: &Value, action: &str) -> Result<Vec<Value>, CallError> {
    match elements(value) {
        Some(items) => Ok(items),
        None if value.is_nil() => Err(nil_pointer()),
        None => Err(CallError::function(format!("Cannot {action} type {}", value.kind_name()))),
    }
}

/// Compares as Go's `reflect.DeepEqual`.
pub(super) fn deep_equal(a: &Value, b: &Value, depth: usize) -> bool {
    if depth == 0 {
        return false;
    }
    match (a, b) {
        (Value::Missing | Value::Nil, Value::Missing | Value::Nil) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(x, a), Value::Int(y, b)) => x == y && a == b,
        (Value::Float(a), Value::Float(b)) => a == b,
        (Value::Str(a), Value::Str(b)) | (Value::Bytes(a), Value::Bytes(b)) => a == b,
        (Value::List(a), Value::List(b)) => {
            a.elem == b.elem
                && a.nil == b.nil
                && a.items.len() == b.items.len()
                && a.items.iter().zip(&b.items).all(|(a, b)| deep_equal(a, b, depth - 1))
        }
        (Value::Dict(a), Value::Dict(b)) => {
            a.kind() == b.kind()
                && (a.is(b)
                    || a.with(|a| {
                        b.with(|b| {
                            a.len() == b.len()
                                && a.iter()
                                    .zip(b.iter())
                                    .all(|((ka, va), (kb, vb))| ka == kb && deep_equal(va, vb, depth - 1))
                        })
                    }))
        }
        (Value::Object(a), Value::Object(b)) => Rc::ptr_eq(a, b),
        _ => false,
    }
}

fn contains(items: &[Value], needle: &Value) -> bool {
    items.iter().any(|item| deep_equal(item, needle, 1000))
}

/// Cuts a part out of a list. Sprig's function of this name hides the one of the language, so text is an error.
fn cut(_: &mut Interp<'_>, args: Args<'_>) -> Outcome {
    let value = args.value(0);
    let count = match value {
        Value::List(list) => list.items.len(),
        Value::Bytes(bytes) => bytes.len(),
        other if other.is_nil() => return Err(nil_pointer()),
        other => {
            return Err(CallError::function(format!(
                "list should be type of slice or array but {}",
                other.kind_name()
            )));
        }
    };
    if count == 0 {
        return Ok(Value::Nil);
    }
    let bound = |at: usize, default: usize| -> Result<usize, CallError> {
        if args.len() <= at {
            return Ok(default);
        }
        place(&Value::int(to_int(args.value(at))), count)
            .map_err(|_| CallError::function("reflect.Value.Slice: slice index out of bounds"))
    };
    let (start, end) = (bound(1, 0)?, bound(2, count)?);
    if start > end {
        return Err(CallError::function("reflect.Value.Slice: slice index out of bounds"));
    }
    Ok(match value {
        Value::List(list) => {
            Value::List(Rc::new(List { elem: list.elem, items: list.items[start..end].to_vec(), nil: false }))
        }
        Value::Bytes(bytes) => Value::Bytes(Str::from(&bytes.bytes()[start..end])),
        _ => Value::Nil,
    })
}

fn concat(interp: &mut Interp<'_>, args: Args<'_>) -> Outcome {
    let mut all = Vec::new();
    for list in args.0 {
        match elements(list) {
            Some(items) => {
                interp.spend(items.len() as u64 / 8)?;
                all.extend(items);
            }
            None if list.is_nil() => return Err(nil_pointer()),
            None => {
                return Err(CallError::function(format!("Cannot concat type {} as list", list.kind_name())));
            }
        }
    }
    if all.is_empty() { Ok(Value::nil_list(Elem::Any)) } else { Ok(Value::list(all)) }
}

/// Turns anything into strings, leaving out nil.
fn strings(value: &Value) -> Result<Vec<Str>, CallError> {
    match elements(value) {
        Some(items) => items.iter().filter(|item| !item.is_nil()).map(strval).collect(),
        None if value.is_nil() => Ok(Vec::new()),
        None => Ok(vec![strval(value)?]),
    }
}

fn sort_alpha(interp: &mut Interp<'_>, args: Args<'_>) -> Outcome {
    let value = args.value(0);
    if elements(value).is_none() {
        return Ok(Value::strings([strval(value)?]));
    }
    let mut items = strings(value)?;
    interp.spend(items.len() as u64 / 4)?;
    items.sort();
    Ok(Value::strings(items))
}

fn join(interp: &mut Interp<'_>, args: Args<'_>) -> Outcome {
    let items = strings(args.value(1))?;
    let mut size = 0usize;
    for item in &items {
        size = size.saturating_add(item.len()).saturating_add(args.bytes(0).len());
    }
    interp.afford(size)?;
    let parts: Vec<&[u8]> = items.iter().map(Str::bytes).collect();
    Ok(Value::str(parts.join(args.bytes(0))))
}

fn range(interp: &mut Interp<'_>, start: i64, stop: i64, step: i64) -> Result<Vec<i64>, CallError> {
    if (stop < start && step >= 0) || (stop >= start && step <= 0) {
        return Ok(Vec::new());
    }
    let count = (i128::from(stop) - i128::from(start)).unsigned_abs().div_ceil(i128::from(step).unsigned_abs());
    interp.spend(u64::try_from(count).unwrap_or(u64::MAX))?;
    // Each number lies between the two ends; only the way there may leave the type for a moment.
    Ok((0..count as i64).map(|i| start.wrapping_add(i.wrapping_mul(step))).collect())
}

fn steps(interp: &mut Interp<'_>, start: i64, stop: i64, step: i64) -> Outcome {
    let numbers = range(interp, start, stop, step)?;
    Ok(Value::list_of(Elem::Int, numbers.into_iter().map(Value::int).collect()))
}

fn seq(interp: &mut Interp<'_>, args: Args<'_>) -> Outcome {
    let sign = |start: i64, end: i64| if end < start { -1 } else { 1 };
    let (start, end, step) = match args.len() {
        1 => (1, args.int(0), sign(1, args.int(0))),
        2 => (args.int(0), args.int(1), sign(args.int(0), args.int(1))),
        3 => {
            let (start, step, end) = (args.int(0), args.int(1), args.int(2));
            if end < start && step > 0 {
                return Ok(Value::str(""));
            }
            (start, end, step)
        }
        _ => return Ok(Value::str("")),
    };
    let stop = end.saturating_add(sign(start, end));
    let numbers: Vec<String> = range(interp, start, stop, step)?.iter().map(i64::to_string).collect();
    Ok(Value::str(numbers.join(" ")))
}
