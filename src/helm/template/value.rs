//! Values as Go's templates see them: byte strings, sized numbers, immutable lists, shared dictionaries that functions
//! change in place, and the few objects with methods.
//!
//! # Invariants
//! - A dictionary iterates in byte order of its keys, as Go's templates, `fmt` and JSON do.
//! - [`Value::Missing`] is Go's invalid value and [`Value::Nil`] an interface that holds nil: a field of the first is
//!   missing again, a field of the second is an error. The end of every pipeline turns the second into the first.
//! - Dropping a value never recurses, however deep it is.

mod dict;

use std::{
    borrow::{Borrow, Cow},
    cell::RefCell,
    collections::BTreeMap,
    fmt,
    rc::Rc,
};

use super::object::Object;
use dict::Shared;
pub use dict::{Dict, Reads};

/// Holds a Go string: any bytes, usually UTF-8.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Str(Rc<[u8]>);

/// Returns bytes as text, with U+FFFD for what is not UTF-8.
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    // The strict check first: it is many times faster than the one that replaces.
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

impl Str {
    /// Returns the bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the text, with U+FFFD for what is not UTF-8.
    pub fn text(&self) -> Cow<'_, str> {
        text(&self.0)
    }

    /// Returns the length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether there is no byte.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text())
    }
}

impl From<&str> for Str {
    fn from(text: &str) -> Self {
        Str(text.as_bytes().into())
    }
}

impl From<String> for Str {
    fn from(text: String) -> Self {
        Str(text.into_bytes().into())
    }
}

impl From<&[u8]> for Str {
    fn from(bytes: &[u8]) -> Self {
        Str(bytes.into())
    }
}

impl From<Vec<u8>> for Str {
    fn from(bytes: Vec<u8>) -> Self {
        Str(bytes.into())
    }
}

impl Borrow<[u8]> for Str {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// Names the Go integer type of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntKind {
    /// `int`
    Int,
    /// `int64`
    Int64,
    /// `int32`
    Int32,
    /// `uint8`
    Uint8,
    /// `uint64`
    Uint64,
    /// `uint32`
    Uint32,
}

impl IntKind {
    /// Returns Go's name of the type.
    pub const fn name(self) -> &'static str {
        match self {
            IntKind::Int => "int",
            IntKind::Int64 => "int64",
            IntKind::Int32 => "int32",
            IntKind::Uint8 => "uint8",
            IntKind::Uint64 => "uint64",
            IntKind::Uint32 => "uint32",
        }
    }

    /// Tells whether the type has no sign.
    pub const fn unsigned(self) -> bool {
        matches!(self, IntKind::Uint8 | IntKind::Uint64 | IntKind::Uint32)
    }
}

/// Names the Go element type of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elem {
    /// `[]interface {}`
    Any,
    /// `[]string`
    Str,
    /// `[]int`
    Int,
    /// `[][]interface {}`
    Lists,
    /// `common.VersionSet`, which has a method
    Versions,
}

/// Names the Go type of a dictionary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DictKind {
    /// `map[string]interface {}`
    #[default]
    Plain,
    /// Go's nil map, which JSON writes as `null` and which nothing can be put into
    Nil,
    /// `common.Values`, which has methods
    Values,
    /// `map[string]string`
    Strings,
    /// `engine.files`, which has methods
    Files,
}

/// The entries of a dictionary.
pub type Map = BTreeMap<Str, Value>;

/// Holds a list; lists never change once made.
#[derive(Debug)]
pub struct List {
    /// The Go element type.
    pub elem: Elem,
    /// The elements.
    pub items: Vec<Value>,
    /// Whether it is Go's nil slice, which JSON writes as `null`.
    pub nil: bool,
}

/// A value of a template.
#[derive(Clone, Debug)]
pub enum Value {
    /// Go's invalid value: nothing was there.
    Missing,
    /// An interface that holds nil.
    Nil,
    /// `bool`
    Bool(bool),
    /// Any integer type.
    Int(IntKind, i64),
    /// `float64`
    Float(f64),
    /// `string`
    Str(Str),
    /// `[]byte`
    Bytes(Str),
    /// Any other slice.
    List(Rc<List>),
    /// A map.
    Dict(Rc<Dict>),
    /// A Go value with fields and methods.
    Object(Rc<Object>),
}

impl Value {
    /// Makes a string.
    pub fn str(text: impl Into<Str>) -> Value {
        Value::Str(text.into())
    }

    /// Makes an `int`.
    pub fn int(number: i64) -> Value {
        Value::Int(IntKind::Int, number)
    }

    /// Makes an `int64`.
    pub fn int64(number: i64) -> Value {
        Value::Int(IntKind::Int64, number)
    }

    /// Makes a `[]interface {}`.
    pub fn list(items: Vec<Value>) -> Value {
        Value::List(Rc::new(List { elem: Elem::Any, items, nil: false }))
    }

    /// Makes a `[]string`.
    pub fn strings<S: Into<Str>>(items: impl IntoIterator<Item = S>) -> Value {
        Value::List(Rc::new(List { elem: Elem::Str, items: items.into_iter().map(Value::str).collect(), nil: false }))
    }

    /// Makes a list of a Go type.
    pub fn list_of(elem: Elem, items: Vec<Value>) -> Value {
        Value::List(Rc::new(List { elem, items, nil: false }))
    }

    /// Makes Go's nil slice.
    pub fn nil_list(elem: Elem) -> Value {
        Value::List(Rc::new(List { elem, items: Vec::new(), nil: true }))
    }

    /// Makes a `map[string]interface {}`.
    pub fn dict(map: Map) -> Value {
        Value::dict_of(DictKind::Plain, map)
    }

    /// Makes a dictionary of a Go type.
    pub fn dict_of(kind: DictKind, map: Map) -> Value {
        Value::Dict(Rc::new(Dict {
            kind,
            shared: Rc::new(Shared { map: RefCell::new(map), reads: RefCell::new(None) }),
        }))
    }

    /// Makes an object.
    pub fn object(object: Object) -> Value {
        Value::Object(Rc::new(object))
    }

    /// Tells whether there is nothing in it, as Go's `== nil` on an interface.
    pub fn is_nil(&self) -> bool {
        matches!(self, Value::Missing | Value::Nil)
    }

    /// Turns an interface that holds nil into the invalid value, as the end of a pipeline does.
    pub fn settled(self) -> Value {
        if let Value::Nil = self { Value::Missing } else { self }
    }

    /// Decides conditions as `if` does.
    pub fn truth(&self) -> bool {
        match self {
            Value::Missing | Value::Nil => false,
            Value::Bool(b) => *b,
            Value::Int(_, n) => *n != 0,
            Value::Float(f) => *f != 0.0,
            Value::Str(s) | Value::Bytes(s) => !s.is_empty(),
            Value::List(list) => !list.items.is_empty(),
            Value::Dict(dict) => !dict.is_empty(),
            Value::Object(object) => object.truth(),
        }
    }

    /// Returns Go's name of the type, as `%T` prints it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Missing | Value::Nil => "<nil>",
            Value::Bool(_) => "bool",
            Value::Int(kind, _) => kind.name(),
            Value::Float(_) => "float64",
            Value::Str(_) => "string",
            Value::Bytes(_) => "[]uint8",
            Value::List(list) => match list.elem {
                Elem::Any => "[]interface {}",
                Elem::Str => "[]string",
                Elem::Int => "[]int",
                Elem::Lists => "[][]interface {}",
                Elem::Versions => "common.VersionSet",
            },
            Value::Dict(dict) => match dict.kind() {
                DictKind::Plain | DictKind::Nil => "map[string]interface {}",
                DictKind::Values => "common.Values",
                DictKind::Strings => "map[string]string",
                DictKind::Files => "engine.files",
            },
            Value::Object(object) => object.type_name(),
        }
    }

    /// Returns Go's name of the kind, as `reflect.Kind` prints it.
    pub fn kind_name(&self) -> &'static str {
        match self {
            Value::Missing | Value::Nil => "invalid",
            Value::Bool(_) => "bool",
            Value::Int(kind, _) => kind.name(),
            Value::Float(_) => "float64",
            Value::Str(_) => "string",
            Value::Bytes(_) | Value::List(_) => "slice",
            Value::Dict(_) => "map",
            Value::Object(object) => object.kind_name(),
        }
    }

    /// Looks up a key of a dictionary.
    pub fn entry(&self, key: &str) -> Option<Value> {
        match self {
            Value::Dict(dict) => dict.get(key.as_bytes()),
            _ => None,
        }
    }

    fn is_container(&self) -> bool {
        matches!(self, Value::List(_) | Value::Dict(_))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::str(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::str(text)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Value::Bool(truth)
    }
}

/// Takes nested containers apart with an own stack, so that no depth overflows the thread's.
fn dismantle(values: Vec<Value>) {
    let mut stack = values;
    while let Some(value) = stack.pop() {
        match value {
            Value::List(list) => {
                if let Ok(mut list) = Rc::try_unwrap(list) {
                    stack.extend(std::mem::take(&mut list.items).into_iter().filter(Value::is_container));
                }
            }
            Value::Dict(dict) => {
                if let Ok(dict) = Rc::try_unwrap(dict)
                    && let Ok(mut shared) = Rc::try_unwrap(dict.shared)
                {
                    let map = std::mem::take(shared.map.get_mut());
                    stack.extend(map.into_values().filter(Value::is_container));
                }
            }
            _ => {}
        }
    }
}

impl Drop for List {
    fn drop(&mut self) {
        if self.items.iter().any(Value::is_container) {
            dismantle(std::mem::take(&mut self.items));
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let map = self.map.get_mut();
        if map.values().any(Value::is_container) {
            dismantle(std::mem::take(map).into_values().collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropping_never_recurses() {
        let mut value = Value::Nil;
        for level in 0..300_000 {
            value = if level % 2 == 0 {
                Value::list(vec![value])
            } else {
                Value::dict([(Str::from("a"), value)].into_iter().collect())
            };
        }
        drop(value);
    }

    #[test]
    fn truth_follows_go() {
        for falsy in
            [Value::Missing, Value::Nil, Value::Bool(false), Value::int(0), Value::str(""), Value::list(vec![])]
        {
            assert!(!falsy.truth());
        }
        assert!(Value::str("false").truth());
    }
}
