//! Words: case conventions, wrapping, abbreviating, random text.

use super::{
    Args, Func, Outcome, Param, func,
    strings::{lower, mapped, upper},
};
use crate::helm::template::{exec::Interp, gofmt, value::Value};

use Param::{Int, Str as Text};

pub(super) const FUNCS: &[Func] = &[
    func("title", &[Text], |_, args| Ok(Value::str(title(&args.text(0))))),
    func("untitle", &[Text], |_, args| {
        Ok(Value::str(first_letters(&args.text(0), |c, first| if first { lower(c) } else { c })))
    }),
    func("swapcase", &[Text], |_, args| Ok(Value::str(swap_case(&args.text(0))))),
    func("initials", &[Text], |_, args| {
        // Byte by byte, as the library does: what is not ASCII comes out as Latin-1.
        let words = args.bytes(0).split(|byte| (*byte as char).is_whitespace());
        Ok(Value::str(words.filter_map(|word| word.first()).map(|byte| *byte as char).collect::<String>()))
    }),
    func("nospace", &[Text], |_, args| Ok(no_space(args))),
    func("camelcase", &[Text], |_, args| Ok(Value::str(pascal(&args.text(0))))),
    func("snakecase", &[Text], |_, args| Ok(Value::str(dashed(&args.text(0), '_')))),
    func("kebabcase", &[Text], |_, args| Ok(Value::str(dashed(&args.text(0), '-')))),
    func("wrap", &[Int, Text], |interp, args| wrapped(interp, args.bytes(1), args.int(0), b"\n", false)),
    func("wrapWith", &[Int, Text, Text], |interp, args| {
        let line = if args.bytes(1).is_empty() { b"\n" } else { args.bytes(1) };
        wrapped(interp, args.bytes(2), args.int(0), line, true)
    }),
    func("abbrev", &[Int, Text], |_, args| {
        let (width, text) = (args.int(0), args.bytes(1));
        Ok(if width < 4 { args.value(1).clone() } else { Value::str(abbreviated(text, 0, width)) })
    }),
    func("abbrevboth", &[Int, Int, Text], |_, args| {
        let (left, right, text) = (args.int(0), args.int(1), args.bytes(2));
        let keep = right < 4 || (left > 0 && right < 7);
        Ok(if keep { args.value(2).clone() } else { Value::str(abbreviated(text, left, right)) })
    }),
    func("plural", &[Text, Text, Int], |_, args| Ok(args.value(if args.int(2) == 1 { 0 } else { 1 }).clone())),
    func("shuffle", &[Text], |interp, args| {
        let mut chars: Vec<char> = args.text(0).chars().collect();
        for i in (1..chars.len()).rev() {
            let other = below(interp, i as u64 + 1) as usize;
            chars.swap(i, other);
        }
        Ok(Value::str(chars.into_iter().collect::<String>()))
    }),
    func("randAlphaNum", &[Int], |interp, args| {
        random(interp, args, b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
    }),
    func("randAlpha", &[Int], |interp, args| {
        random(interp, args, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
    }),
    func("randNumeric", &[Int], |interp, args| random(interp, args, b"0123456789")),
    func("randAscii", &[Int], |interp, args| {
        let printable: Vec<u8> = (b' '..=b'~').collect();
        random(interp, args, &printable)
    }),
];

/// Returns a number below `bound` from the ambient's stream.
pub(super) fn below(interp: &mut Interp<'_>, bound: u64) -> u64 {
    let mut bytes = [0; 16];
    interp.random(&mut bytes);
    (u128::from_le_bytes(bytes) % u128::from(bound.max(1))) as u64
}

fn random(interp: &mut Interp<'_>, args: Args<'_>, alphabet: &[u8]) -> Outcome {
    // A negative count is an error that sprig swallows.
    let count = usize::try_from(args.int(0)).unwrap_or(0);
    interp.afford(count)?;
    interp.spend(count as u64)?;
    let text: Vec<u8> = (0..count).map(|_| alphabet[below(interp, alphabet.len() as u64) as usize]).collect();
    Ok(Value::str(text))
}

fn first_letters(text: &str, map: fn(char, bool) -> char) -> String {
    let mut first = true;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_whitespace() {
            first = true;
            out.push(c);
        } else {
            out.push(map(c, first));
            first = false;
        }
    }
    out
}

/// Tells whether Go's `strings.Title` starts a new word after a character.
fn separates(c: char) -> bool {
    if c.is_ascii() { !(c.is_ascii_alphanumeric() || c == '_') } else { !c.is_alphanumeric() && c.is_whitespace() }
}

fn title(text: &str) -> String {
    let mut before = ' ';
    text.chars()
        .map(|c| {
            let mapped = if separates(before) { upper(c) } else { c };
            before = c;
            mapped
        })
        .collect()
}

fn swap_case(text: &str) -> String {
    mapped(text, |c| {
        if c.is_uppercase() {
            lower(c)
        } else if c.is_lowercase() {
            upper(c)
        } else {
            c
        }
    })
}

/// Removes white space byte by byte, as the library does: what is not ASCII comes out as Latin-1.
fn no_space(args: Args<'_>) -> Value {
    let space = |byte: u8| (byte as char).is_whitespace();
    let bytes = args.bytes(0);
    if !bytes.iter().any(|byte| space(*byte)) {
        return args.value(0).clone();
    }
    Value::str(bytes.iter().filter(|byte| !space(**byte)).map(|byte| *byte as char).collect::<String>())
}

fn connects(c: char) -> bool {
    c == '-' || c == '_' || c.is_whitespace()
}

fn pascal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    let mut current = None;
    let mut seen = None;
    let mut was_upper = false;
    for c in rest.by_ref() {
        seen = Some(c);
        if !connects(c) {
            was_upper = c.is_uppercase();
            current = Some(upper(c));
            break;
        }
        out.push(c);
    }
    let Some(mut current) = current else {
        // Only connectors: the library repeats the last one.
        out.extend(seen);
        return out;
    };
    for next in rest {
        let before = current;
        current = next;
        if connects(current) && connects(before) {
            out.push(before);
            continue;
        }
        if connects(before) {
            was_upper = current.is_uppercase();
            current = upper(current);
        } else {
            if was_upper {
                if current.is_uppercase() {
                    current = lower(current);
                } else {
                    was_upper = false;
                }
            }
            out.push(before);
        }
    }
    out.push(current);
    out
}

/// The classes of words in a camel-case text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    None,
    Number,
    Upper,
    Alphabet,
    Connector,
    Punctuation,
    Other,
}

fn is_punctuation(c: char) -> bool {
    if c.is_ascii() {
        // Unicode calls `$+<=>^`|~` symbols, not punctuation.
        c.is_ascii_punctuation() && !"$+<=>^`|~".contains(c)
    } else {
        !c.is_alphanumeric() && !c.is_whitespace() && gofmt::is_print(c)
    }
}

fn run(text: &str, holds: impl Fn(char) -> bool) -> usize {
    text.char_indices().find(|(_, c)| !holds(*c)).map_or(text.len(), |(at, _)| at)
}

/// Takes the next word off a text.
fn next_word(text: &str) -> (Word, &str, &str) {
    let Some(first) = text.chars().next() else { return (Word::None, "", "") };
    // The library calls a letter what has an upper or lower case.
    let alphabet = |c: char| c.is_uppercase() || c.is_lowercase() || c.is_alphabetic();
    let (word, end) = if connects(first) {
        (Word::Connector, run(text, connects))
    } else if is_punctuation(first) {
        (Word::Punctuation, run(text, is_punctuation))
    } else if first.is_uppercase() {
        let uppers = run(text, char::is_uppercase);
        let after = text[uppers..].chars().next();
        let end = if text[..uppers].chars().count() > 1 {
            // The last capital starts the next word when small letters follow.
            match (after, text[..uppers].chars().next_back()) {
                (Some(c), Some(last)) if alphabet(c) => uppers - last.len_utf8(),
                _ => uppers,
            }
        } else {
            uppers + run(&text[uppers..], |c| alphabet(c) && !c.is_uppercase())
        };
        (Word::Upper, end)
    } else if alphabet(first) {
        (Word::Alphabet, run(text, |c| alphabet(c) && !c.is_uppercase()))
    } else if first.is_numeric() {
        (Word::Number, run(text, char::is_numeric))
    } else {
        let other = |c: char| !(connects(c) || alphabet(c) || c.is_numeric() || is_punctuation(c));
        (Word::Other, run(text, other))
    };
    (word, &text[..end], &text[end..])
}

fn push_word(out: &mut String, word: Word, text: &str, connector: char) {
    match word {
        Word::Upper => out.push_str(&mapped(text, lower)),
        Word::Connector => out.extend(text.chars().map(|c| if connects(c) { connector } else { lower(c) })),
        _ => out.push_str(text),
    }
}

fn dashed(text: &str, connector: char) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let (mut word, mut part, mut rest) = next_word(text);
    while !rest.is_empty() {
        if word != Word::Connector {
            push_word(&mut out, word, part, connector);
        }
        let (before, last) = (word, part);
        (word, part, rest) = next_word(rest);
        let joins = |word: Word| matches!(word, Word::Alphabet | Word::Number);
        let breaks = |word: Word| !matches!(word, Word::None | Word::Connector | Word::Punctuation);
        match before {
            Word::Number => {
                while joins(word) {
                    push_word(&mut out, word, part, connector);
                    (word, part, rest) = next_word(rest);
                }
                if breaks(word) {
                    out.push(connector);
                }
            }
            Word::Connector => push_word(&mut out, before, last, connector),
            Word::Punctuation => {}
            _ if word != Word::Number => {
                if !matches!(word, Word::Connector | Word::Punctuation) {
                    out.push(connector);
                }
            }
            _ if rest.is_empty() => {}
            _ => {
                let number = part;
                (word, part, rest) = next_word(rest);
                if word != Word::Alphabet {
                    push_word(&mut out, Word::Number, number, connector);
                    if !matches!(word, Word::Connector | Word::Punctuation) {
                        out.push(connector);
                    }
                } else {
                    out.push(connector);
                    push_word(&mut out, Word::Number, number, connector);
                    while joins(word) {
                        push_word(&mut out, word, part, connector);
                        (word, part, rest) = next_word(rest);
                    }
                    if breaks(word) {
                        out.push(connector);
                    }
                }
            }
        }
    }
    push_word(&mut out, word, part, connector);
    out
}

fn wrapped(interp: &mut Interp<'_>, text: &[u8], width: i64, line: &[u8], long: bool) -> Outcome {
    let width = usize::try_from(width.max(1)).unwrap_or(usize::MAX);
    interp.afford(text.len().saturating_add((text.len() / width + 1).saturating_mul(line.len())))?;
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while text.len() - at > width {
        if text[at] == b' ' {
            at += 1;
            continue;
        }
        let window = &text[at..at + width + 1];
        if let Some(space) = window.iter().rposition(|byte| *byte == b' ') {
            out.extend_from_slice(&text[at..at + space]);
            out.extend_from_slice(line);
            at += space + 1;
        } else if long {
            out.extend_from_slice(&text[at..at + width]);
            out.extend_from_slice(line);
            at += width;
        } else {
            match text[at + width..].iter().position(|byte| *byte == b' ') {
                Some(space) => {
                    let end = at + width + space;
                    out.extend_from_slice(&text[at..end]);
                    out.extend_from_slice(line);
                    at = end + 1;
                }
                None => {
                    out.extend_from_slice(&text[at..]);
                    at = text.len();
                }
            }
        }
    }
    out.extend_from_slice(&text[at..]);
    Ok(Value::str(out))
}

fn abbreviated(text: &[u8], offset: i64, width: i64) -> Vec<u8> {
    let length = text.len() as i64;
    if text.is_empty() || width < 4 {
        return Vec::new();
    }
    if length <= width {
        return text.to_vec();
    }
    let mut offset = offset.min(length);
    if length - offset < width - 3 {
        offset = length - (width - 3);
    }
    if offset <= 4 {
        return [&text[..(width - 3) as usize], b"..."].concat();
    }
    if width < 7 {
        return Vec::new();
    }
    if offset + width - 3 < length {
        return [b"...", &*abbreviated(&text[offset as usize..], 0, width - 3)].concat();
    }
    [b"...", &text[(length - (width - 3)) as usize..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_conventions() {
        assert_eq!(dashed("FirstName", '_'), "first_name");
        assert_eq!(dashed("HTTPServer", '-'), "http-server");
        assert_eq!(dashed("NoHTTPS", '_'), "no_https");
        assert_eq!(dashed("GO_PATH", '_'), "go_path");
        assert_eq!(dashed("GO PATH", '_'), "go_path");
        assert_eq!(pascal("http_server"), "HttpServer");
        assert_eq!(pascal("no_https"), "NoHttps");
        assert_eq!(title("hello world-wide"), "Hello World-Wide");
    }
}
