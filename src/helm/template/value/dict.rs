//! Dictionaries that everyone who has them sees changing.

use std::{cell::RefCell, collections::BTreeSet, rc::Rc};

use super::{DictKind, Map, Str, Value};

/// Holds a dictionary that everyone who has it sees changing, whatever type they see it under.
#[derive(Debug, Default)]
pub struct Dict {
    pub(super) kind: DictKind,
    pub(super) shared: Rc<Shared>,
}

#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) map: RefCell<Map>,
    pub(super) reads: RefCell<Option<Box<Reads>>>,
}

/// What templates looked at in a dictionary.
#[derive(Debug, Default)]
pub struct Reads {
    /// Single keys.
    pub keys: BTreeSet<Str>,
    /// Everything at once, as printing or merging does.
    pub whole: bool,
}

impl Dict {
    /// Returns the Go type.
    pub fn kind(&self) -> DictKind {
        self.kind
    }

    /// Shows the same dictionary under another Go type.
    pub fn seen_as(&self, kind: DictKind) -> Value {
        Value::Dict(Rc::new(Dict { kind, shared: self.shared.clone() }))
    }

    /// Tells whether both are one and the same dictionary.
    pub fn is(&self, other: &Dict) -> bool {
        Rc::ptr_eq(&self.shared, &other.shared)
    }

    /// Looks up a key.
    pub fn get(&self, key: &[u8]) -> Option<Value> {
        self.note_key(key);
        self.shared.map.borrow().get(key).cloned()
    }

    /// Tells whether there is such a key.
    pub fn has(&self, key: &[u8]) -> bool {
        self.note_key(key);
        self.shared.map.borrow().contains_key(key)
    }

    fn note_key(&self, key: &[u8]) {
        if let Some(reads) = self.shared.reads.borrow_mut().as_mut()
            && !reads.whole
            && !reads.keys.contains(key)
        {
            reads.keys.insert(Str::from(key));
        }
    }

    fn note_whole(&self) {
        if let Some(reads) = self.shared.reads.borrow_mut().as_mut() {
            reads.whole = true;
        }
    }

    /// Starts to record what is read.
    pub fn track(&self) {
        self.shared.reads.borrow_mut().get_or_insert_with(Box::default);
    }

    /// Tells what was read since [`Dict::track`]; everything when that never happened.
    pub fn was_read(&self, key: &[u8]) -> bool {
        self.shared.reads.borrow().as_ref().is_none_or(|reads| reads.whole || reads.keys.contains(key))
    }

    /// Looks at the entries without leaving a trace.
    pub fn peek<R>(&self, look: impl FnOnce(&Map) -> R) -> R {
        look(&self.shared.map.borrow())
    }

    /// Sets a key.
    pub fn set(&self, key: Str, value: Value) {
        let before = self.shared.map.borrow_mut().insert(key, value);
        drop(before);
    }

    /// Removes a key.
    pub fn unset(&self, key: &[u8]) {
        let before = self.shared.map.borrow_mut().remove(key);
        drop(before);
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.shared.map.borrow().len()
    }

    /// Tells whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies the entries; their values stay shared.
    pub fn snapshot(&self) -> Map {
        self.note_whole();
        self.shared.map.borrow().clone()
    }

    /// Lends the entries; nothing may change the dictionary meanwhile.
    pub fn with<R>(&self, look: impl FnOnce(&Map) -> R) -> R {
        self.note_whole();
        look(&self.shared.map.borrow())
    }
}
