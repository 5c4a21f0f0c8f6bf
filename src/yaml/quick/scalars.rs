//! What the scalars of the short way say: folding, escapes, block scalars.

use std::borrow::Cow;

use super::{Mark, Node, Value, scalar};

/// A scalar as it stands in the text.
pub(super) enum Scalar<'t> {
    /// Without quotes.
    Plain(Written<'t>),
    /// In quotes.
    Quoted(Written<'t>),
    /// Lines below `|` or `>`.
    Block { text: &'t str, indent: usize, folded: bool, chomp: Option<u8> },
}

/// The characters of a plain or quoted scalar.
pub(super) struct Written<'t> {
    text: &'t str,
    style: Style,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    PlainLines,
    Single,
    Double,
}

/// Tells whether a text between double quotes has only escapes that stand for themselves.
pub(super) fn escapes_are_ordinary(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'\\' && !matches!(bytes.next(), Some(b'n' | b't' | b'r' | b'"' | b'\\' | b'/')) {
            return false;
        }
    }
    true
}

impl<'t> Written<'t> {
    pub(super) fn one_line(text: &'t str) -> Self {
        Written { text, style: Style::Plain }
    }

    pub(super) fn lines(text: &'t str) -> Self {
        Written { text, style: Style::PlainLines }
    }

    pub(super) fn quoted(text: &'t str, double: bool) -> Self {
        Written { text, style: if double { Style::Double } else { Style::Single } }
    }

    /// Makes the node, or declines.
    pub(super) fn node(&self, at: Mark) -> Option<Node> {
        let text = self.content()?;
        Some(match self.style {
            Style::Plain => Node::written(scalar::plain(&text), at, &text).styled(true, false),
            // More than one line is text: no number, boolean or null has a blank inside.
            Style::PlainLines => Node::new(Value::String(text.into_owned()), at).styled(true, false),
            Style::Single | Style::Double => Node::new(Value::String(text.into_owned()), at),
        })
    }

    fn content(&self) -> Option<Cow<'t, str>> {
        let text = match self.text.contains('\n') {
            true => Cow::Owned(folded(self.text)?),
            false => Cow::Borrowed(self.text),
        };
        Some(match self.style {
            Style::Single if text.contains('\'') => Cow::Owned(text.replace("''", "'")),
            Style::Double if text.contains('\\') => Cow::Owned(unescaped(&text)?),
            _ => text,
        })
    }
}

/// Folds lines: a break becomes a blank, further empty lines become breaks. Declines an escaped break.
fn folded(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut empty = 0;
    let mut lines = text.split('\n').enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        let last = lines.peek().is_none();
        // Blanks around a break are no content; at both ends of the scalar they are.
        let line = if number > 0 { line.trim_start_matches([' ', '\t']) } else { line };
        let line = if last { line } else { line.trim_end_matches([' ', '\t']) };
        if line.ends_with('\\') && !last {
            return None;
        }
        if number > 0 {
            if line.is_empty() && !last {
                empty += 1;
                continue;
            }
            match empty {
                0 => out.push(' '),
                count => out.extend(std::iter::repeat_n('\n', count)),
            }
            empty = 0;
        }
        out.push_str(line);
    }
    Some(out)
}

fn unescaped(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        out.push(match after.as_bytes().first()? {
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            byte @ (b'"' | b'\\' | b'/') => char::from(*byte),
            _ => return None,
        });
        rest = &after[1..];
    }
    out.push_str(rest);
    Some(out)
}

impl Scalar<'_> {
    /// Makes the node, or declines.
    pub(super) fn node(&self, at: Mark) -> Option<Node> {
        match self {
            Scalar::Plain(written) | Scalar::Quoted(written) => written.node(at),
            Scalar::Block { text, indent, folded, chomp } => {
                Some(Node::new(Value::String(block(text, *indent, *folded, *chomp)), at).styled(false, *folded))
            }
        }
    }
}

/// Puts the lines of a block scalar together.
fn block(text: &str, indent: usize, folded: bool, chomp: Option<u8>) -> String {
    let mut out = String::with_capacity(text.len());
    // Breaks that wait until it is known whether text follows, and whether the line before them began with a blank.
    let (mut breaks, mut blank_before, mut seen) = (0, false, false);
    for line in text.split_inclusive('\n') {
        let content = line.strip_suffix('\n').unwrap_or(line);
        let ended = content.len() < line.len();
        // A line of blanks is text as far as it is longer than the indentation.
        let content = content.get(indent..).unwrap_or_default();
        if content.is_empty() {
            breaks += usize::from(ended);
            continue;
        }
        let blank = content.starts_with([' ', '\t']);
        match breaks {
            // The one break between two ordinary lines of a folded scalar is a blank; more lose one.
            1 if seen && folded && !blank && !blank_before => out.push(' '),
            count if seen && folded && !blank && !blank_before => out.extend(std::iter::repeat_n('\n', count - 1)),
            count => out.extend(std::iter::repeat_n('\n', count)),
        }
        out.push_str(content);
        (breaks, blank_before, seen) = (usize::from(ended), blank, true);
    }
    match chomp {
        Some(b'-') => {}
        Some(_) => out.extend(std::iter::repeat_n('\n', breaks)),
        None if seen && breaks > 0 => out.push('\n'),
        None => {}
    }
    out
}
