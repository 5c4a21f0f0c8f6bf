//! Every function of a helm template, one file per family.
//!
//! # Invariants
//! - A function says in its signature what it takes; the evaluator has checked count and types before it runs.
//! - Functions see nothing but their arguments and the evaluator: no file, no network, no environment, no clock of
//!   their own.
//!
//! # Failure
//! A [`CallError`] in the words of the Go function that it stands for.

pub mod builtins;
pub mod crypto;
pub mod data;
pub mod dates;
pub mod dicts;
pub mod encoding;
pub mod json;
pub mod lists;
pub mod math;
pub mod merge;
pub mod paths;
pub mod regexes;
pub mod strings;
pub mod toml;
pub mod urls;
pub mod versions;
pub mod words;

use std::{collections::HashMap, rc::Rc, sync::OnceLock};

use crate::helm::template::{
    error::{CallError, Limit},
    exec::Interp,
    gofmt,
    object::Object,
    value::{Dict, DictKind, Elem, IntKind, Str, Value, text},
};

/// What a call gives.
pub type Outcome = Result<Value, CallError>;

/// The Go type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Param {
    /// `interface {}`
    Any,
    /// `string`
    Str,
    /// `int`
    Int,
    /// `uint32`
    Uint32,
    /// `float64`
    Float,
    /// `bool`
    Bool,
    /// `map[string]interface {}`
    Dict,
    /// `[]interface {}`
    List,
    /// `time.Time`
    Time,
    /// `sprig.certificate`
    Certificate,
}

impl Param {
    /// Returns Go's name of the type.
    pub const fn name(self) -> &'static str {
        match self {
            Param::Any => "interface {}",
            Param::Str => "string",
            Param::Int => "int",
            Param::Uint32 => "uint32",
            Param::Float => "float64",
            Param::Bool => "bool",
            Param::Dict => "map[string]interface {}",
            Param::List => "[]interface {}",
            Param::Time => "time.Time",
            Param::Certificate => "sprig.certificate",
        }
    }

    /// Tells whether Go lets nil stand for such a value.
    pub const fn takes_nil(self) -> bool {
        matches!(self, Param::Any | Param::Dict | Param::List)
    }

    /// Tells whether a value is assignable to the type.
    pub fn accepts(self, value: &Value) -> bool {
        match (self, value) {
            (Param::Any, _) => true,
            (_, Value::Missing) => self.takes_nil(),
            (Param::Str, Value::Str(_)) => true,
            (Param::Int, Value::Int(kind, _)) => *kind == IntKind::Int,
            (Param::Uint32, Value::Int(kind, _)) => *kind == IntKind::Uint32,
            (Param::Float, Value::Float(_)) => true,
            (Param::Bool, Value::Bool(_)) => true,
            (Param::Dict, Value::Dict(dict)) => {
                matches!(dict.kind(), DictKind::Plain | DictKind::Nil | DictKind::Values)
            }
            (Param::List, Value::List(list)) => list.elem == Elem::Any,
            (Param::Time, Value::Object(object)) => matches!(**object, Object::Time(_)),
            (Param::Certificate, Value::Object(object)) => matches!(**object, Object::Certificate { .. }),
            _ => false,
        }
    }
}

/// How a function runs.
pub enum Run {
    /// With all its arguments.
    With(fn(&mut Interp<'_>, Args<'_>) -> Outcome),
    /// One argument after the other, until one has this truth.
    Until(bool),
}

/// A function that templates can call.
pub struct Func {
    /// Its name.
    pub name: &'static str,
    /// The types of its parameters.
    pub params: &'static [Param],
    /// The type of any further argument.
    pub variadic: Option<Param>,
    /// What it does.
    pub run: Run,
}

impl std::fmt::Debug for Func {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Makes a function with a fixed number of parameters.
pub const fn func(name: &'static str, params: &'static [Param], run: fn(&mut Interp<'_>, Args<'_>) -> Outcome) -> Func {
    Func { name, params, variadic: None, run: Run::With(run) }
}

/// Makes a function that takes any number of further arguments.
pub const fn variadic(
    name: &'static str,
    params: &'static [Param],
    more: Param,
    run: fn(&mut Interp<'_>, Args<'_>) -> Outcome,
) -> Func {
    Func { name, params, variadic: Some(more), run: Run::With(run) }
}

const FAMILIES: &[&[Func]] = &[
    builtins::FUNCS,
    crypto::FUNCS,
    data::FUNCS,
    dates::FUNCS,
    dicts::FUNCS,
    encoding::FUNCS,
    json::FUNCS,
    lists::FUNCS,
    math::FUNCS,
    merge::FUNCS,
    paths::FUNCS,
    regexes::FUNCS,
    strings::FUNCS,
    toml::FUNCS,
    urls::FUNCS,
    versions::FUNCS,
    words::FUNCS,
];

/// Walks all functions.
pub fn all() -> impl Iterator<Item = &'static Func> {
    FAMILIES.iter().flat_map(|family| family.iter())
}

/// Looks up a function by its name.
pub fn find(name: &str) -> Option<&'static Func> {
    static INDEX: OnceLock<HashMap<&'static str, &'static Func>> = OnceLock::new();
    INDEX.get_or_init(|| all().map(|func| (func.name, func)).collect()).get(name).copied()
}

/// The arguments of a call, checked against the signature.
///
/// The accessors return an empty value when the signature says otherwise than the function: never a panic.
#[derive(Clone, Copy)]
pub struct Args<'a>(pub &'a [Value]);

impl<'a> Args<'a> {
    /// Returns the number of arguments.
    pub fn len(self) -> usize {
        self.0.len()
    }

    /// Tells whether there are none.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Returns an argument.
    pub fn value(self, at: usize) -> &'a Value {
        const NOTHING: &Value = &Value::Missing;
        self.0.get(at).unwrap_or(NOTHING)
    }

    /// Returns the arguments from a place on.
    pub fn from(self, at: usize) -> &'a [Value] {
        self.0.get(at..).unwrap_or_default()
    }

    /// Returns the bytes of a string argument.
    pub fn bytes(self, at: usize) -> &'a [u8] {
        match self.value(at) {
            Value::Str(text) => text.bytes(),
            _ => b"",
        }
    }

    /// Returns the text of a string argument.
    pub fn text(self, at: usize) -> std::borrow::Cow<'a, str> {
        text(self.bytes(at))
    }

    /// Returns an integer argument.
    pub fn int(self, at: usize) -> i64 {
        match self.value(at) {
            Value::Int(_, number) => *number,
            _ => 0,
        }
    }

    /// Returns a boolean argument.
    pub fn truth(self, at: usize) -> bool {
        matches!(self.value(at), Value::Bool(true))
    }

    /// Returns a dictionary argument; `None` for Go's nil map.
    pub fn dict(self, at: usize) -> Option<&'a Rc<Dict>> {
        match self.value(at) {
            Value::Dict(dict) => Some(dict),
            _ => None,
        }
    }
}

/// Turns any value into text as sprig's `toString` does.
///
/// # Errors
/// A bound that printing breaks.
pub fn strval(value: &Value) -> Result<Str, CallError> {
    match value {
        Value::Str(text) | Value::Bytes(text) => Ok(text.clone()),
        other => Ok(Str::from(gofmt::sprint(other)?)),
    }
}

/// Tells whether sprig calls a value empty.
pub fn empty(value: &Value) -> bool {
    !value.truth()
}

/// Returns the elements of any slice; `None` for what is none.
pub fn elements(value: &Value) -> Option<Vec<Value>> {
    match value {
        Value::List(list) => Some(list.items.clone()),
        Value::Bytes(bytes) => {
            Some(bytes.bytes().iter().map(|byte| Value::Int(IntKind::Uint8, i64::from(*byte))).collect())
        }
        _ => None,
    }
}

/// Checks that a value is not endless as text before it is written or compared: a dictionary that holds another one twice,
/// thirty times over, is small in memory. Counts it as work.
///
/// # Errors
/// [`Limit::Output`] when the text would be too long.
pub fn weigh(interp: &mut Interp<'_>, value: &Value) -> Result<(), CallError> {
    // Writers have bounds of their own for what is deeper.
    const DEPTH: usize = 1100;
    fn walk(value: &Value, left: &mut usize, depth: usize) {
        // Each node takes two bytes at least: itself and what stands between it and the next.
        let size = match value {
            Value::Str(text) | Value::Bytes(text) => text.len() + 2,
            _ => 2,
        };
        *left = left.saturating_sub(size);
        if *left == 0 || depth == 0 {
            return;
        }
        match value {
            Value::List(list) => list.items.iter().all(|item| {
                walk(item, left, depth - 1);
                *left > 0
            }),
            Value::Dict(dict) => dict.peek(|map| {
                map.iter().all(|(key, item)| {
                    *left = left.saturating_sub(key.len());
                    walk(item, left, depth - 1);
                    *left > 0
                })
            }),
            _ => true,
        };
    }
    if !matches!(value, Value::List(_) | Value::Dict(_)) {
        return Ok(());
    }
    let limit = interp.limits.output;
    let mut left = limit;
    walk(value, &mut left, DEPTH);
    interp.spend((limit - left) as u64 / 64)?;
    if left == 0 { Err(Limit::Output(limit).into()) } else { Ok(()) }
}

/// Returns the message of Go's panic when a list function meets nil.
pub fn nil_pointer() -> CallError {
    CallError::function("runtime error: invalid memory address or nil pointer dereference")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = all().map(|func| func.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(find("env").is_none() && find("expandenv").is_none());
    }
}
