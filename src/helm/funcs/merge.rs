//! `merge` and its kin, with the rules of the library that sprig uses: what counts as empty, what is shared, what wins.
//!
//! # Invariants
//! - The destination is changed in place; nested dictionaries of a source become shared with it.

use std::rc::Rc;

use super::{Args, Func, Outcome, Param, func, variadic};
use crate::helm::template::{
    error::{CallError, Limit},
    exec::Interp,
    value::{Dict, DictKind, Map, Value},
};

/// How deep merged dictionaries may nest.
const DEPTH: usize = 1000;

pub(super) const FUNCS: &[Func] = &[
    variadic("merge", &[Param::Dict], Param::Dict, |interp, args| all(interp, args, false)),
    variadic("mustMerge", &[Param::Dict], Param::Dict, |interp, args| all(interp, args, false)),
    variadic("mergeOverwrite", &[Param::Dict], Param::Dict, |interp, args| all(interp, args, true)),
    variadic("mustMergeOverwrite", &[Param::Dict], Param::Dict, |interp, args| all(interp, args, true)),
    func("ternary", &[Param::Any, Param::Any, Param::Bool], |_, args| {
        Ok(args.value(if args.truth(2) { 0 } else { 1 }).clone())
    }),
];

fn all(interp: &mut Interp<'_>, args: Args<'_>, overwrite: bool) -> Outcome {
    let target = match args.value(0) {
        Value::Dict(dict) if dict.kind() != DictKind::Nil => dict.seen_as(DictKind::Plain),
        _ => Value::dict(Map::new()),
    };
    if let Value::Dict(target) = &target {
        for i in 1..args.len() {
            if let Some(source) = args.dict(i) {
                into(interp, target, source, overwrite, DEPTH)?;
            }
        }
    }
    Ok(target)
}

fn empty(value: &Value) -> bool {
    match value {
        Value::Object(_) => false,
        other => !other.truth(),
    }
}

fn into(
    interp: &mut Interp<'_>,
    target: &Rc<Dict>,
    source: &Rc<Dict>,
    overwrite: bool,
    depth: usize,
) -> Result<(), CallError> {
    if depth == 0 {
        return Err(Limit::Depth(DEPTH).into());
    }
    if target.is(source) {
        return Ok(());
    }
    let entries = source.snapshot();
    interp.spend(1 + entries.len() as u64 / 4)?;
    for (key, value) in entries {
        let before = target.get(key.bytes());
        if value.is_nil() {
            if overwrite {
                target.set(key, Value::Nil);
            }
            continue;
        }
        match (&value, &before) {
            (Value::Dict(value), Some(Value::Dict(before))) => {
                into(interp, before, value, overwrite, depth - 1)?;
                if !before.peek(Map::is_empty) {
                    continue;
                }
            }
            (Value::List(_) | Value::Bytes(_), Some(before)) if !empty(before) => {
                if overwrite && !source.peek(Map::is_empty) {
                    target.set(key, value);
                }
                continue;
            }
            _ => {}
        }
        if overwrite || before.as_ref().is_none_or(empty) {
            target.set(key, value);
        }
    }
    Ok(())
}
