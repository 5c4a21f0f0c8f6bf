//! The tree that comes out: values with their places.

use std::borrow::Cow;

use super::{Error, Problem};

/// Points into a text; both numbers count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mark {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

impl Mark {
    /// The first character of a text.
    pub const START: Mark = Mark { line: 1, column: 1 };

    /// Returns the place of the character at `offset` bytes.
    pub(super) fn of(text: &str, offset: usize) -> Mark {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Mark { line: u32::try_from(line).unwrap_or(u32::MAX), column: u32::try_from(column).unwrap_or(u32::MAX) }
    }
}

/// Holds a value as Go's reader understands it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A boolean, also written `yes`, `off`, `y` and the like.
    Bool(bool),
    /// An integer that fits 64 bits with a sign.
    Int(i64),
    /// A larger integer that fits 64 bits without a sign.
    UInt(u64),
    /// Any other number.
    Float(f64),
    /// Text.
    String(String),
    /// A list.
    Seq(Vec<Node>),
    /// A mapping in the order of the text.
    Map(Vec<(Node, Node)>),
}

/// Holds a value and the place where it begins.
#[derive(Clone, Debug)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it begins.
    pub at: Mark,
    /// What was written, where the value alone does not tell: `1.10`, `on`, `0644`.
    source: Option<Box<str>>,
    plain: bool,
    folded: bool,
}

/// Two nodes are equal when their values are, wherever and however they were written.
impl PartialEq for Node {
    fn eq(&self, other: &Node) -> bool {
        self.value == other.value
    }
}

impl Node {
    /// Makes a node of a value.
    pub fn new(value: Value, at: Mark) -> Self {
        Node { value, at, source: None, plain: false, folded: false }
    }

    pub(super) fn written(value: Value, at: Mark, source: &str) -> Self {
        let source = match value {
            Value::String(_) | Value::Seq(_) | Value::Map(_) => None,
            _ => Some(source.into()),
        };
        Node { value, at, source, plain: false, folded: false }
    }

    pub(super) fn styled(mut self, plain: bool, folded: bool) -> Self {
        (self.plain, self.folded) = (plain, folded);
        self
    }

    /// Tells whether this is a folded block (`>`).
    pub fn is_folded(&self) -> bool {
        self.folded
    }

    /// Tells whether this is a scalar that stood in the text without quotes, block indicator or tag.
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// Returns a scalar as it was written: a string's content, or the characters that stand for a number, a boolean or
    /// null. Lists and mappings have none.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => self.source.as_deref(),
        }
    }

    /// Returns the content of a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the items of a list.
    pub fn as_seq(&self) -> Option<&[Node]> {
        match &self.value {
            Value::Seq(items) => Some(items),
            _ => None,
        }
    }

    /// Returns the entries of a mapping.
    pub fn as_map(&self) -> Option<&[(Node, Node)]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// Tells whether this is null.
    pub fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    /// Returns the value of a key in a mapping; keys compare as JSON would spell them.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_map()?.iter().find(|(name, _)| name.key().is_some_and(|name| name == key)).map(|(_, value)| value)
    }

    /// Follows several keys.
    pub fn at_path<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Option<&Node> {
        path.into_iter().try_fold(self, |node, key| node.get(key))
    }

    /// Returns the node as a key of JSON, as sigs.k8s.io/yaml converts it: `yes` becomes `true`, `0x10` becomes `16`.
    /// Null, lists, mappings and integers above 2⁶³ are no keys.
    pub fn key(&self) -> Option<Cow<'_, str>> {
        match &self.value {
            Value::String(text) => Some(Cow::Borrowed(text)),
            Value::Bool(true) => Some(Cow::Borrowed("true")),
            Value::Bool(false) => Some(Cow::Borrowed("false")),
            Value::Int(number) => Some(Cow::Owned(number.to_string())),
            Value::Float(number) => Some(Cow::Owned(go_float(*number))),
            Value::Null | Value::UInt(_) | Value::Seq(_) | Value::Map(_) => None,
        }
    }

    /// Names the kind of value for people: `a string`, `a list`.
    pub fn kind_name(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::UInt(_) | Value::Float(_) => "a number",
            Value::String(_) => "a string",
            Value::Seq(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// Returns the value as JSON. Integers stay integers; Go's reader would make floating-point numbers of them.
    ///
    /// # Errors
    /// `.inf` and `.nan`, which JSON does not have, and keys that JSON cannot hold.
    pub fn to_json(&self) -> Result<serde_json::Value, Error> {
        use serde_json::Value as Json;
        Ok(match &self.value {
            Value::Null => Json::Null,
            Value::Bool(yes) => Json::Bool(*yes),
            Value::Int(number) => Json::from(*number),
            Value::UInt(number) => Json::from(*number),
            Value::Float(number) => match serde_json::Number::from_f64(*number) {
                Some(number) => Json::Number(number),
                None => return Err(Error::new(self.at, Problem::NotFinite(number.to_string()))),
            },
            Value::String(text) => Json::String(text.clone()),
            Value::Seq(items) => {
                // A loop, because adapters would cost several frames per level of nesting.
                let mut array = Vec::with_capacity(items.len());
                for item in items {
                    array.push(item.to_json()?);
                }
                Json::Array(array)
            }
            Value::Map(entries) => {
                let mut object = serde_json::Map::new();
                for (name, value) in entries {
                    let key = name.key().ok_or_else(|| Error::new(name.at, Problem::Key(name.kind_name())))?;
                    object.insert(key.into_owned(), value.to_json()?);
                }
                Json::Object(object)
            }
        })
    }
}

/// Spells a number as Go's `strconv.FormatFloat(f, 'g', -1, 32)` does, which is what sigs.k8s.io/yaml makes of a key.
#[allow(clippy::cast_possible_truncation)] // Rounding to 32 bits is what Go does here.
fn go_float(number: f64) -> String {
    let single = number as f32;
    if single.is_nan() {
        return ".nan".to_owned();
    }
    if single.is_infinite() {
        return if single > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let scientific = format!("{single:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    // Go switches to an exponent below -4 and from 6, its limit for shortest output.
    if !(-4..6).contains(&exponent) {
        format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
    } else {
        single.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floating_point_keys_are_spelled_as_go_spells_them() {
        for (number, key) in [
            (1.5, "1.5"),
            (1000.0, "1000"),
            (1e6, "1e+06"),
            (123_456.0, "123456"),
            (1_234_567.0, "1.234567e+06"),
            (1e21, "1e+21"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (1.123_456_789, "1.1234568"),
            (-2.5, "-2.5"),
            (f64::INFINITY, ".inf"),
        ] {
            assert_eq!(go_float(number), key);
        }
    }

    #[test]
    fn places_count_characters() {
        assert_eq!(Mark::of("äb\ncä!", 7), Mark { line: 2, column: 3 });
    }
}
