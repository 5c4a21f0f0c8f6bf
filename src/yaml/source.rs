//! Back from values to the text that they were read from: which bytes say a scalar, and which say a part of it.
//!
//! A reader that knows a scalar's value and where it begins walks through both at once: every character of the value that
//! is no white space must come next in the text, as itself or as an escape. White space is free, because folding, line
//! breaks and indentation change it. So no style needs rules of its own, and a text that does not say the value is noticed.
//!
//! # Invariants
//! - What [`Source::scalar`] returns was found in the text character by character; nothing is assumed.
//!
//! # Failure
//! `None` where the text does not say the value at that place, such as at an alias.

use std::ops::Range;

use super::Mark;

/// Finds values in the text that they were read from.
#[derive(Debug)]
pub struct Source<'t> {
    text: &'t str,
    /// Where each line begins.
    lines: Vec<usize>,
    /// The same with every line break of YAML 1.1, when there are others than LF and CR LF.
    unusual: Option<Vec<usize>>,
}

/// Points at the bytes of a text that say a scalar.
#[derive(Clone, Debug)]
pub struct Scalar {
    /// The bytes that say each byte of the value; empty where it is white space.
    bytes: Vec<(usize, usize)>,
    /// The scalar with its quotes; a block without its header.
    whole: Range<usize>,
    /// How it is written.
    style: Style,
}

/// Tells how a scalar is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Without quotes.
    Plain,
    /// In single quotes.
    Single,
    /// In double quotes.
    Double,
    /// Below `|` or `>`.
    Block,
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

impl<'t> Source<'t> {
    /// Makes a finder for a text.
    pub fn new(text: &'t str) -> Self {
        let base = text.len() - text.strip_prefix('\u{feff}').unwrap_or(text).len();
        let lines = std::iter::once(base).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Source { text, lines, unusual: unusual_lines(text, base) }
    }

    /// Returns the byte at a place.
    pub fn offset(&self, at: Mark) -> Option<usize> {
        self.offset_in(&self.lines, at)
    }

    fn offset_in(&self, lines: &[usize], at: Mark) -> Option<usize> {
        let start = *lines.get(usize::try_from(at.line).ok()?.checked_sub(1)?)?;
        let column = usize::try_from(at.column).ok()?.checked_sub(1)?;
        let line = &self.text[start..];
        match line.char_indices().nth(column) {
            Some((offset, _)) => Some(start + offset),
            None => (line.chars().count() == column).then_some(self.text.len()),
        }
    }

    /// Finds the scalar with a value that begins at a place.
    pub fn scalar(&self, at: Mark, value: &str) -> Option<Scalar> {
        let usual = self.offset(at).and_then(|start| scalar(self.text, start, value));
        usual.or_else(|| scalar(self.text, self.offset_in(self.unusual.as_deref()?, at)?, value))
    }

    /// Returns the text.
    pub fn text(&self) -> &'t str {
        self.text
    }

    /// Returns where a line begins; lines count from 1.
    pub fn line_start(&self, line: u32) -> Option<usize> {
        self.lines.get(usize::try_from(line).ok()?.checked_sub(1)?).copied()
    }
}

fn unusual_lines(text: &str, base: usize) -> Option<Vec<usize>> {
    let has = text.contains(['\u{85}', '\u{2028}', '\u{2029}']) || text.replace("\r\n", "").contains('\r');
    has.then(|| {
        let breaks = text.char_indices().filter(|(at, c)| match c {
            '\n' | '\u{85}' | '\u{2028}' | '\u{2029}' => true,
            '\r' => !text[at + 1..].starts_with('\n'),
            _ => false,
        });
        std::iter::once(base).chain(breaks.map(|(at, c)| at + c.len_utf8())).collect()
    })
}

impl Scalar {
    /// Returns the bytes of the text that say a part of the value; the part begins and ends with what is no white space.
    pub fn range(&self, part: Range<usize>) -> Option<Range<usize>> {
        let (first, last) = (self.bytes.get(part.start)?, self.bytes.get(part.end.checked_sub(1)?)?);
        (first.1 > first.0 && last.1 > last.0 && first.0 < last.1).then_some(first.0..last.1)
    }

    /// Returns the whole scalar: with its quotes, and a block without its header and without the white space around it.
    pub fn whole(&self) -> Range<usize> {
        self.whole.clone()
    }

    /// Tells how it is written.
    pub fn style(&self) -> Style {
        self.style
    }
}

/// Passes over anchors and tags, which stand before the scalar.
fn skip_properties(text: &str, mut at: usize) -> usize {
    while text[at..].starts_with(['&', '!']) {
        at += text[at..].find(is_blank).unwrap_or(text.len() - at);
        at += text[at..].len() - text[at..].trim_start_matches(is_blank).len();
    }
    at
}

fn scalar(text: &str, start: usize, value: &str) -> Option<Scalar> {
    let start = skip_properties(text, start);
    let (style, mut at) = match text[start..].chars().next()? {
        '"' => (Style::Double, start + 1),
        '\'' => (Style::Single, start + 1),
        '|' | '>' => (Style::Block, start + text[start..].find('\n')? + 1),
        _ => (Style::Plain, start),
    };
    let mut bytes = vec![(0, 0); value.len()];
    let (mut first, mut last) = (None, at);
    for (index, wanted) in value.char_indices().filter(|(_, c)| !is_blank(*c)) {
        let (from, to) = loop {
            let (found, end) = next(text, at, style)?;
            let from = at;
            at = end;
            match found {
                Some(c) if is_blank(c) => {}
                Some(c) if c == wanted => break (from, end),
                Some(_) => return None,
                None => {}
            }
        };
        first.get_or_insert(from);
        last = to;
        let raw = to - from == wanted.len_utf8();
        for (i, byte) in bytes[index..index + wanted.len_utf8()].iter_mut().enumerate() {
            *byte = if raw { (from + i, from + i + 1) } else { (from, to) };
        }
    }
    let whole = match style {
        Style::Double | Style::Single => {
            while let Some((None, end)) = next(text, at, style).or_else(|| blank(text, at)) {
                at = end;
            }
            let end = text[at..].chars().next().filter(|c| *c == if style == Style::Double { '"' } else { '\'' })?;
            start..at + end.len_utf8()
        }
        Style::Plain | Style::Block => first.unwrap_or(last)..last,
    };
    Some(Scalar { bytes, whole, style })
}

/// Passes over one white space as if it were nothing.
fn blank(text: &str, at: usize) -> Option<(Option<char>, usize)> {
    let c = text.get(at..)?.chars().next().filter(|c| is_blank(*c))?;
    Some((None, at + c.len_utf8()))
}

/// Reads the next character that the text says, and where it ends; an escaped line break says none.
fn next(text: &str, at: usize, style: Style) -> Option<(Option<char>, usize)> {
    let rest = text.get(at..)?;
    let c = rest.chars().next()?;
    let end = at + c.len_utf8();
    match (style, c) {
        (Style::Single, '\'') => rest.starts_with("''").then_some((Some('\''), at + 2)),
        (Style::Double, '"') => None,
        (Style::Double, '\\') => escape(&text[end..]).map(|(found, length)| (found, end + length)),
        (Style::Double | Style::Single, c) if is_blank(c) => Some((None, end)),
        (_, c) => Some((Some(c), end)),
    }
}

/// Reads what follows a backslash (YAML 1.1, section 5.6, with the `\/` of 1.2; RFC 8259, section 7, for surrogate pairs).
fn escape(rest: &str) -> Option<(Option<char>, usize)> {
    let c = rest.chars().next()?;
    let hex = |digits: usize| u32::from_str_radix(rest.get(1..=digits)?, 16).ok();
    let found = match c {
        '0' => '\0',
        'a' => '\u{7}',
        'b' => '\u{8}',
        't' | '\t' => '\t',
        'n' => '\n',
        'v' => '\u{b}',
        'f' => '\u{c}',
        'r' => '\r',
        'e' => '\u{1b}',
        ' ' | '"' | '/' | '\\' | '\'' => c,
        'N' => '\u{85}',
        '_' => '\u{a0}',
        'L' => '\u{2028}',
        'P' => '\u{2029}',
        'x' => return Some((Some(char::from_u32(hex(2)?)?), 3)),
        'U' => return Some((Some(char::from_u32(hex(8)?)?), 9)),
        'u' => {
            let high = hex(4)?;
            if !(0xd800..0xdc00).contains(&high) {
                return Some((Some(char::from_u32(high)?), 5));
            }
            let low = rest.get(5..)?.strip_prefix("\\u")?.get(..4).and_then(|low| u32::from_str_radix(low, 16).ok())?;
            let low = low.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
            return Some((Some(char::from_u32(0x10000 + ((high - 0xd800) << 10) + low)?), 11));
        }
        c if is_blank(c) => return Some((None, c.len_utf8())),
        _ => return None,
    };
    Some((Some(found), c.len_utf8()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::yaml::{self, Node, Value};

    fn texts<'n>(node: &'n Node, found: &mut Vec<&'n Node>) {
        match &node.value {
            Value::Seq(items) => items.iter().for_each(|item| texts(item, found)),
            Value::Map(entries) => entries.iter().for_each(|(key, value)| {
                texts(key, found);
                texts(value, found);
            }),
            _ if node.text().is_some_and(|text| !text.is_empty()) => found.push(node),
            _ => {}
        }
    }

    /// Finds the part in the value of `a` and returns what the text says there.
    fn said(text: &str, part: &str) -> Option<String> {
        let document = yaml::documents(text, &yaml::Options::default()).unwrap().remove(0);
        let node = document.get("a").unwrap();
        let value = node.text().unwrap();
        let start = value.find(part).unwrap();
        let range = Source::new(text).scalar(node.at, value)?.range(start..start + part.len())?;
        Some(text[range].to_owned())
    }

    #[test]
    fn parts_of_every_style_are_found() {
        for text in [
            "a: x/y:1",
            "a: 'x/y:1'",
            "a: \"x/y:1\"",
            "{\"a\": \"x/y:1\"}",
            "a: &n x/y:1",
            "a: !!str\n  x/y:1",
            "a: |-\n  one\n  two x/y:1 three\n",
            "a: >\n  one\n  two x/y:1\n  three\n",
            "a: |2\n    x/y:1\n   b",
            "a: \"one \\\n   two \\\" \\u00e4 x/y:1\"",
            "a: 'it''s\n\n  x/y:1'",
            "a: one\n  two x/y:1\n",
            "\u{feff}a: ä x/y:1",
            "a: ä\r\n  x/y:1\r\nb: 1\r\n",
            "# c\u{2028}\na: x/y:1",
            "# c\rb: 1\ra: x/y:1\r",
        ] {
            assert_eq!(said(text, "x/y:1").as_deref(), Some("x/y:1"), "{text:?}");
        }
        assert_eq!(said(r#"{"a": "x\/y:1"}"#, "x/y:1").as_deref(), Some(r"x\/y:1"));
        assert_eq!(said("{\"a\": \"\\ud83d\\ude00 x/y:1\"}", "x/y:1").as_deref(), Some("x/y:1"));
        // An alias says another place.
        assert_eq!(said("b: &b x/y:1\na: *b\n", "x/y:1").as_deref(), Some("x/y:1"));
    }

    #[test]
    fn whole_scalars_have_their_quotes() {
        for (text, whole) in
            [("a: 'x y '", "'x y '"), ("a: \"x\"", "\"x\""), ("a: x y # c", "x y"), ("a: |\n  x\n  y\n", "x\n  y")]
        {
            let document = yaml::documents(text, &yaml::Options::default()).unwrap().remove(0);
            let node = document.get("a").unwrap();
            let scalar = Source::new(text).scalar(node.at, node.text().unwrap()).unwrap();
            assert_eq!(&text[scalar.whole()], whole);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_scalar_without_alias_is_found(
            text in "(([a-c]|'a b'): ?( |'x''y'|\"x\\\\ny\"|>\n  a\n  b\n|\\|-\n  a ä\n|b c|[a-c]/[a-c]:1|&x 1|\n  - x y\n|\\[a, 'b c'\\]|\\{a: b\\})\r?\n){0,6}"
        ) {
            let Ok(documents) = yaml::documents(&text, &yaml::Options::default()) else { return Ok(()) };
            let source = Source::new(&text);
            for document in &documents {
                let mut found = Vec::new();
                texts(document, &mut found);
                for node in found.into_iter().filter(|node| !node.text().unwrap().trim().is_empty()) {
                    prop_assert!(source.scalar(node.at, node.text().unwrap()).is_some(), "{:?} at {:?}", node.value, node.at);
                }
            }
        }

        #[test]
        fn no_place_makes_it_panic(text in "\\PC{0,20}(\n|\r|\\PC){0,12}", line in 0u32..9, column in 0u32..40, value in "\\PC{0,4}") {
            let _ = Source::new(&text).scalar(Mark { line, column }, &value);
        }
    }
}
