//! Text in quotes, as Go's `strconv` writes it.

use std::sync::OnceLock;

/// Tells whether Go's `unicode.IsPrint` holds.
pub fn is_print(c: char) -> bool {
    static PRINTABLE: OnceLock<Option<regex::Regex>> = OnceLock::new();
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    let pattern = PRINTABLE.get_or_init(|| regex::Regex::new(r"^[\p{L}\p{M}\p{N}\p{P}\p{S}]$").ok());
    let mut buffer = [0; 4];
    pattern.as_ref().is_some_and(|pattern| pattern.is_match(c.encode_utf8(&mut buffer)))
}

/// Walks text that may not be UTF-8 the way Go does: each bad byte by itself.
pub fn runes(bytes: &[u8]) -> impl Iterator<Item = Result<char, u8>> + '_ {
    bytes
        .utf8_chunks()
        .flat_map(|chunk| chunk.valid().chars().map(Ok).chain(chunk.invalid().iter().map(|byte| Err(*byte))))
}

/// Quotes as `strconv.Quote`, or `strconv.QuoteToASCII`.
pub fn quote(bytes: &[u8], ascii: bool) -> Vec<u8> {
    quote_with(bytes, '"', ascii)
}

pub(super) fn quote_with(bytes: &[u8], mark: char, ascii: bool) -> Vec<u8> {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push(mark);
    for rune in runes(bytes) {
        match rune {
            Err(byte) => out.push_str(&format!("\\x{byte:02x}")),
            Ok('\\') => out.push_str("\\\\"),
            Ok(c) if c == mark => {
                out.push('\\');
                out.push(c);
            }
            Ok(c) if is_print(c) && (!ascii || c.is_ascii()) => out.push(c),
            Ok('\u{7}') => out.push_str("\\a"),
            Ok('\u{8}') => out.push_str("\\b"),
            Ok('\u{c}') => out.push_str("\\f"),
            Ok('\n') => out.push_str("\\n"),
            Ok('\r') => out.push_str("\\r"),
            Ok('\t') => out.push_str("\\t"),
            Ok('\u{b}') => out.push_str("\\v"),
            Ok(c) if (c as u32) < 0x20 || c as u32 == 0x7f => out.push_str(&format!("\\x{:02x}", c as u32)),
            Ok(c) if (c as u32) < 0x10000 => out.push_str(&format!("\\u{:04x}", c as u32)),
            Ok(c) => out.push_str(&format!("\\U{:08x}", c as u32)),
        }
    }
    out.push(mark);
    out.into_bytes()
}
