//! Dictionaries: making, looking up, changing in place. Merging has its own file.

use super::{
    Args, Func, Outcome, Param, func,
    lists::{deep_equal, unwrapped},
    strval, variadic,
};
use crate::helm::template::{
    error::{CallError, Limit},
    exec::Interp,
    value::{DictKind, List, Map, Str, Value},
};
use std::rc::Rc;

use Param::{Any, Dict, Str as Text};

/// How deep a copied value may nest.
const DEPTH: usize = 1000;

/// Work that an item of a copied list or table stands for. A table that holds another one twice, thirty times over, is small
/// until it is copied: all copies of a chart together stay below a gigabyte.
const ITEM_STEPS: u64 = 2;

/// Work that a copied table stands for, for the half kilobyte that it takes.
const TABLE_STEPS: u64 = 48;

pub(super) const FUNCS: &[Func] = &[
    variadic("dict", &[], Any, dict),
    func("get", &[Dict, Text], |_, args| {
        Ok(args.dict(0).and_then(|dict| dict.get(args.bytes(1))).unwrap_or_else(|| Value::str("")))
    }),
    func("set", &[Dict, Text, Any], |_, args| match (args.dict(0), args.value(1)) {
        (Some(dict), Value::Str(key)) if dict.kind() != DictKind::Nil => {
            dict.set(key.clone(), unwrapped(args.value(2)));
            Ok(plain(args.value(0)))
        }
        _ => Err(CallError::function("assignment to entry in nil map")),
    }),
    func("unset", &[Dict, Text], |_, args| {
        if let Some(dict) = args.dict(0) {
            dict.unset(args.bytes(1));
        }
        Ok(plain(args.value(0)))
    }),
    func("hasKey", &[Dict, Text], |_, args| Ok(Value::Bool(args.dict(0).is_some_and(|dict| dict.has(args.bytes(1)))))),
    variadic("pluck", &[Text], Dict, |_, args| {
        let found = (1..args.len()).filter_map(|i| args.dict(i)?.get(args.bytes(0)));
        Ok(Value::list(found.collect()))
    }),
    variadic("keys", &[], Dict, |interp, args| {
        let mut keys = Vec::new();
        for i in 0..args.len() {
            if let Some(dict) = args.dict(i) {
                keys.extend(dict.with(|map| map.keys().cloned().collect::<Vec<Str>>()));
            }
        }
        interp.spend(keys.len() as u64 / 8)?;
        Ok(Value::strings(keys))
    }),
    func("values", &[Dict], |_, args| {
        let items = args.dict(0).map(|dict| dict.with(|map| map.values().cloned().collect::<Vec<Value>>()));
        Ok(Value::list(items.unwrap_or_default()))
    }),
    variadic("pick", &[Dict], Text, |_, args| {
        let mut picked = Map::new();
        if let Some(dict) = args.dict(0) {
            for key in args.from(1) {
                if let Value::Str(key) = key
                    && let Some(value) = dict.get(key.bytes())
                {
                    picked.insert(key.clone(), value);
                }
            }
        }
        Ok(Value::dict(picked))
    }),
    variadic("omit", &[Dict], Text, |interp, args| {
        let mut left = args.dict(0).map(|dict| dict.snapshot()).unwrap_or_default();
        interp.spend(left.len() as u64 / 8)?;
        for i in 1..args.len() {
            left.remove(args.bytes(i));
        }
        Ok(Value::dict(left))
    }),
    variadic("dig", &[], Any, dig),
    func("deepCopy", &[Any], |interp, args| copied(interp, args.value(0), DEPTH)),
    func("mustDeepCopy", &[Any], |interp, args| copied(interp, args.value(0), DEPTH)),
    func("deepEqual", &[Any, Any], |interp, args| {
        super::weigh(interp, args.value(0))?;
        Ok(Value::Bool(deep_equal(args.value(0), args.value(1), DEPTH)))
    }),
];

/// Go's functions return the map as `map[string]interface {}`; the entries stay the same ones.
fn plain(value: &Value) -> Value {
    match value {
        Value::Dict(dict) => dict.seen_as(DictKind::Plain),
        _ => Value::dict(Map::new()),
    }
}

fn dict(_: &mut Interp<'_>, args: Args<'_>) -> Outcome {
    let mut map = Map::new();
    for pair in args.0.chunks(2) {
        let value = pair.get(1).map_or_else(|| Value::str(""), unwrapped);
        map.insert(strval(&pair[0])?, value);
    }
    Ok(Value::dict(map))
}

fn dig(_: &mut Interp<'_>, args: Args<'_>) -> Outcome {
    let Some((last, rest)) = args.0.split_last() else {
        return Err(CallError::function("dig needs at least three arguments"));
    };
    let Some((default, keys)) = rest.split_last().filter(|(_, keys)| !keys.is_empty()) else {
        return Err(CallError::function("dig needs at least three arguments"));
    };
    let conversion = |value: &Value, want: &str| {
        let have = if value.is_nil() { "nil" } else { value.type_name() };
        CallError::function(format!("interface conversion: interface {{}} is {have}, not {want}"))
    };
    let mut current = last.clone();
    for key in keys {
        let Value::Str(key) = key else { return Err(conversion(key, "string")) };
        let next = match &current {
            Value::Dict(dict) if dict.kind() == DictKind::Plain => dict.get(key.bytes()),
            other => return Err(conversion(other, "map[string]interface {}")),
        };
        match next {
            Some(value) => current = value,
            None => return Ok(unwrapped(default)),
        }
    }
    Ok(current)
}

/// Copies containers, so that changing the copy leaves the original alone.
pub(super) fn copied(interp: &mut Interp<'_>, value: &Value, depth: usize) -> Outcome {
    if depth == 0 {
        return Err(Limit::Depth(DEPTH).into());
    }
    match value {
        Value::Missing | Value::Nil => Ok(Value::Nil),
        Value::List(list) => {
            interp.spend(ITEM_STEPS * (2 + list.items.len() as u64))?;
            let items = list.items.iter().map(|item| copied(interp, item, depth - 1)).collect::<Result<_, _>>()?;
            Ok(Value::List(Rc::new(List { elem: list.elem, items, nil: list.nil })))
        }
        Value::Dict(dict) => {
            let map = dict.snapshot();
            interp.spend(TABLE_STEPS + ITEM_STEPS * map.len() as u64)?;
            let map = map
                .into_iter()
                .map(|(key, value)| Ok((key, copied(interp, &value, depth - 1)?)))
                .collect::<Result<Map, CallError>>()?;
            Ok(Value::dict_of(dict.kind(), map))
        }
        other => Ok(other.clone()),
    }
}
