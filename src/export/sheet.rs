//! Files to write, and how templates become them.

use crate::tree::RelPath;

/// One file that an export gives out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sheet {
    /// Where it belongs below the folder of the export. Never holds a colon: these files travel on media that know none.
    pub path: RelPath,
    /// What it says.
    pub text: String,
}

impl Sheet {
    /// Makes a file.
    pub(super) fn new(path: RelPath, text: impl Into<String>) -> Sheet {
        Sheet { path, text: text.into() }
    }

    /// Makes a file with a name that is written in this program.
    pub(super) fn fixed(path: &'static str, text: impl Into<String>) -> Sheet {
        let path = path.parse().expect("the names that this module writes are portable: each has a test");
        Sheet { path, text: text.into() }
    }
}

/// Replaces `@NAME@` by its value; a line that speaks of a value that is not there is left out. Values are put in as they
/// are: whoever calls this has them checked or quoted for the place where they stand.
pub(super) fn fill(template: &str, values: &[(&str, Option<&str>)]) -> String {
    let mut out = String::with_capacity(template.len());
    for line in template.split_inclusive('\n') {
        let mut text = String::with_capacity(line.len());
        let mut rest = line;
        let mut wanted = true;
        while let Some((before, token, after)) = next_token(rest) {
            text.push_str(before);
            match values.iter().find(|(name, _)| *name == token) {
                Some((_, Some(value))) => text.push_str(value),
                Some((_, None)) => wanted = false,
                None => text.push_str(&rest[before.len()..rest.len() - after.len()]),
            }
            rest = after;
        }
        if wanted {
            out.push_str(&text);
            out.push_str(rest);
        }
    }
    out
}

/// Splits at the first `@NAME@`: what is before, the name, what is behind.
fn next_token(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let start = from + text[from..].find('@')?;
        let rest = &text[start + 1..];
        let length = rest.bytes().take_while(|byte| byte.is_ascii_uppercase() || *byte == b'_').count();
        if length > 0 && rest[length..].starts_with('@') {
            return Some((&text[..start], &rest[..length], &rest[length + 1..]));
        }
        from = start + 1;
    }
}

/// Returns text that can stand in a comment of one line, whatever it held.
pub(super) fn comment(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Returns every line of `text` behind `indent`.
pub(super) fn indented(text: &str, indent: &str) -> String {
    text.lines().map(|line| format!("{indent}{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_once_and_lines_without_a_value_go() {
        let template = "a @X@ b\nca = \"@CA@\"\nmail user@example.org @NOT_KNOWN@\n";
        let text = fill(template, &[("X", Some("@CA@ $1")), ("CA", None)]);
        assert_eq!(text, "a @CA@ $1 b\nmail user@example.org @NOT_KNOWN@\n");
    }

    #[test]
    fn comments_stay_on_their_line() {
        assert_eq!(comment("a\nb\r\u{1b}c"), "a b  c");
        assert_eq!(indented("a\nb\n", "  "), "  a\n  b\n");
    }
}
