//! Lists and mappings in brackets that stand on one line and hold ordinary scalars.

use super::{Mark, Node, Reader, Value, has_equal_keys, reading::is_ordinary_key, scalars, scalars::Written};

/// How deep brackets nest at most.
pub(super) const DEPTH: usize = 16;

/// Reads a list or mapping in brackets, and returns where it ends.
pub(super) fn node(reader: &Reader<'_>, at: usize) -> Option<(Node, usize)> {
    collection(reader, at, DEPTH)
}

fn collection(reader: &Reader<'_>, start: usize, depth: usize) -> Option<(Node, usize)> {
    let depth = depth.checked_sub(1)?;
    let map = reader.byte(start)? == b'{';
    let close = if map { b'}' } else { b']' };
    let (mut items, mut entries) = (Vec::new(), Vec::new());
    let mut at = reader.after_spaces(start + 1);
    if reader.byte(at)? != close {
        loop {
            if map {
                let (key, end) = scalar(reader, at)?;
                if !is_key(&key) || reader.byte(end)? != b':' || reader.byte(end + 1)? != b' ' {
                    return None;
                }
                let (value, end) = value(reader, reader.after_spaces(end + 1), depth)?;
                entries.push((key, value));
                at = end;
            } else {
                let (item, end) = value(reader, at, depth)?;
                items.push(item);
                at = end;
            }
            at = reader.after_spaces(at);
            match reader.byte(at)? {
                b',' => at = reader.after_spaces(at + 1),
                byte if byte == close => break,
                _ => return None,
            }
        }
    }
    if has_equal_keys(&entries) {
        return None;
    }
    let value = if map { Value::Map(entries) } else { Value::Seq(items) };
    Some((Node::new(value, reader.mark(start)?), at + 1))
}

fn is_key(key: &Node) -> bool {
    // What is written without quotes and means no text is rare as a key in brackets.
    key.as_str().is_some_and(|text| text.len() < super::KEY_BYTES)
}

fn value(reader: &Reader<'_>, at: usize, depth: usize) -> Option<(Node, usize)> {
    match reader.byte(at)? {
        b'[' | b'{' => collection(reader, at, depth),
        _ => scalar(reader, at),
    }
}

/// Reads a scalar of one line, and returns where it ends.
fn scalar(reader: &Reader<'_>, start: usize) -> Option<(Node, usize)> {
    let at: Mark = reader.mark(start)?;
    match reader.byte(start)? {
        quote @ (b'"' | b'\'') => {
            let close = reader.close_quote(start).filter(|close| *close < reader.line_end(start))?;
            let inner = reader.text.get(start + 1..close)?;
            if quote == b'"' && !scalars::escapes_are_ordinary(inner) {
                return None;
            }
            Some((Written::quoted(inner, quote == b'"').node(at)?, close + 1))
        }
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'/' => {
            let word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'/' | b'.' | b'-');
            let length = reader.bytes[start..].iter().take_while(|byte| word(byte)).count();
            let text = reader.text.get(start..start + length)?;
            // Behind it the scalar must be over: a blank could be inside it, and other signs belong to it or not.
            let end = reader.after_spaces(start + length);
            let over = matches!(reader.byte(end), Some(b',' | b']' | b'}'))
                || (end == start + length && reader.bytes[end..].starts_with(b": ") && is_ordinary_key(text));
            over.then(|| Some((Written::one_line(text).node(at)?, start + length)))?
        }
        _ => None,
    }
}
