//! Scalars in the text: where they begin and end.

use super::{
    KEY_BYTES, Reader, Stop, scalar,
    scalars::{self, Scalar, Written},
};
use crate::yaml::Value;

impl<'t> Reader<'t> {
    /// Reads a key and finds its colon; `Some(None)` when there is no key.
    pub(super) fn key(&self, start: usize) -> Option<Option<(Written<'t>, usize)>> {
        let (written, colon) = match self.byte(start)? {
            quote @ (b'"' | b'\'') => {
                let Some(close) = self.close_quote(start).filter(|close| *close < self.line_end(start)) else {
                    return Some(None);
                };
                let colon = self.after_spaces(close + 1);
                if self.byte(colon) != Some(b':') || !self.is_gap(colon + 1) {
                    return Some(None);
                }
                let inner = self.text.get(start + 1..close)?;
                if quote == b'"' && !scalars::escapes_are_ordinary(inner) {
                    return None;
                }
                (Written::quoted(inner, quote == b'"'), colon)
            }
            _ if !self.starts_plain(start) => return Some(None),
            _ => {
                let (end, colon, stop) = self.plain_line(start)?;
                if stop != Stop::Colon {
                    return Some(None);
                }
                let text = self.text.get(start..end)?;
                if !is_ordinary_key(text) {
                    return None;
                }
                (Written::one_line(text), colon)
            }
        };
        (colon - start < KEY_BYTES).then_some(Some((written, colon)))
    }

    /// Tells whether a plain scalar can begin here.
    pub(super) fn starts_plain(&self, at: usize) -> bool {
        match self.byte(at) {
            Some(b'-' | b':') => !self.is_gap(at + 1) && self.byte(at + 1) != Some(b'\t'),
            Some(
                b'?' | b',' | b'[' | b']' | b'{' | b'}' | b'#' | b'&' | b'*' | b'!' | b'|' | b'>' | b'\'' | b'"' | b'%'
                | b'@' | b'`' | b'\t' | b' ' | b'\n',
            )
            | None => false,
            Some(_) => true,
        }
    }

    /// Reads one line of a plain scalar: where it ends without blanks, where it stopped, and why.
    pub(super) fn plain_line(&self, start: usize) -> Option<(usize, usize, Stop)> {
        let (mut at, mut end) = (start, start);
        loop {
            match self.byte(at) {
                None | Some(b'\n') => return Some((end, at, Stop::Line)),
                Some(b'\t') => return None,
                Some(b' ') => {}
                Some(b':') if self.is_gap(at + 1) => return Some((end, at, Stop::Colon)),
                Some(b':') if self.byte(at + 1) == Some(b'\t') => return None,
                Some(b'#') if at > start && self.bytes[at - 1] == b' ' => return Some((end, at, Stop::Comment)),
                Some(_) => end = at + 1,
            }
            at += 1;
        }
    }

    /// Finds the quote that closes the one here, perhaps lines below.
    pub(super) fn close_quote(&self, start: usize) -> Option<usize> {
        let quote = self.byte(start)?;
        let mut at = start + 1;
        loop {
            match self.byte(at)? {
                b'\\' if quote == b'"' => at += 2,
                b'\'' if quote == b'\'' && self.byte(at + 1) == Some(b'\'') => at += 2,
                byte if byte == quote => return Some(at),
                _ => at += 1,
            }
        }
    }

    /// Reads a plain scalar, which goes on in lines that stand deeper than its collection.
    pub(super) fn plain(&mut self, start: usize, indent: usize) -> Option<Scalar<'t>> {
        let (mut end, mut at, mut stop) = self.plain_line(start)?;
        let mut folded = false;
        loop {
            match stop {
                Stop::Colon => return None,
                Stop::Comment => {
                    self.next_line(self.line_end(at));
                    break;
                }
                Stop::Line => self.next_line(at),
            }
            let (mut next, mut skipped) = (self.at, 0);
            // Empty lines belong to the scalar if it goes on behind them.
            loop {
                let text = self.after_spaces(next);
                if self.byte(text) != Some(b'\n') {
                    break;
                }
                (next, skipped) = (text + 1, skipped + 1);
            }
            let text = self.after_spaces(next);
            if text - next <= indent || matches!(self.byte(text), None | Some(b'#')) {
                break;
            }
            (self.line_start, self.line) = (next, self.line + skipped);
            (end, at, stop) = self.plain_line(text)?;
            folded = true;
        }
        let text = self.text.get(start..end)?;
        if is_not_finite(text) {
            return None;
        }
        Some(Scalar::Plain(if folded { Written::lines(text) } else { Written::one_line(text) }))
    }

    /// Reads a quoted scalar, which may go on below.
    pub(super) fn quoted(&mut self, start: usize, quote: u8, indent: usize) -> Option<Scalar<'t>> {
        let close = self.close_quote(start)?;
        let inner = self.text.get(start + 1..close)?;
        let mut lines = inner.match_indices('\n').peekable();
        while let Some((before, _)) = lines.next() {
            let line = inner.get(before + 1..lines.peek().map_or(inner.len(), |(next, _)| *next))?;
            let text = line.trim_start_matches(' ');
            // Less indented lines are allowed or not depending on the parser; `---` there never is.
            if line.len() - text.len() <= indent && !(text.is_empty() && lines.peek().is_some()) {
                return None;
            }
            self.line += 1;
            self.line_start = start + 1 + before + 1;
        }
        let written = Written::quoted(inner, quote == b'"');
        if quote == b'"' && !scalars::escapes_are_ordinary(inner) {
            return None;
        }
        self.rest_of_line(close + 1)?;
        Some(Scalar::Quoted(written))
    }

    /// Reads a literal or folded scalar.
    pub(super) fn block_scalar(&mut self, start: usize, indent: usize) -> Option<Scalar<'t>> {
        let folded = self.byte(start)? == b'>';
        let chomp = match self.byte(start + 1) {
            Some(chomp @ (b'-' | b'+')) => Some(chomp),
            _ => None,
        };
        self.rest_of_line(start + 1 + usize::from(chomp.is_some()))?;
        let from = self.at;
        // The first line with text says how deep the text stands; an empty one must not be longer.
        let (mut deep, mut widest) = (None, 0);
        while self.at < self.bytes.len() {
            let text = self.after_spaces(self.at);
            let spaces = text - self.at;
            let end = match self.byte(text) {
                Some(b'\n') => text,
                // Blanks at the very end: whether they are a line is for the long way.
                None => return None,
                Some(_) if deep.is_none() && (spaces <= indent || self.byte(text) == Some(b'\t')) => break,
                Some(_) if deep.is_some_and(|deep| spaces < deep) => {
                    if self.byte(text) == Some(b'\t') {
                        return None;
                    }
                    break;
                }
                Some(_) => {
                    deep.get_or_insert(spaces);
                    self.line_end(text)
                }
            };
            if deep.is_none() {
                widest = widest.max(spaces);
            }
            self.next_line(end);
        }
        let deep = deep?;
        if widest > deep {
            return None;
        }
        Some(Scalar::Block { text: self.text.get(from..self.at)?, indent: deep, folded, chomp })
    }
}

/// Tells whether a plain key is text or a small number: no null, no merge, nothing infinite.
pub(super) fn is_ordinary_key(text: &str) -> bool {
    match text.as_bytes() {
        [b'0'..=b'9', ..] => text.len() < 18 && text.bytes().all(|byte| byte.is_ascii_digit()),
        [b'n' | b'N', ..] => !matches!(text, "null" | "Null" | "NULL"),
        [b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'/' | b'$', ..] => true,
        // Such as `.hidden` and `-x`, when it is no number.
        [b'.' | b'-', ..] => matches!(scalar::plain(text), Value::String(_)),
        _ => false,
    }
}

/// Tells whether a plain scalar is a number without a finite value, which not every reader takes.
fn is_not_finite(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    matches!(text, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN")
}
