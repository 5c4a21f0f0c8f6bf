//! Two kinds of patterns for file names: those of `.Files.Glob`, and those of `.helmignore`.
//!
//! # Failure
//! As in helm, a pattern that `.Files.Glob` cannot read matches everything.

use regex::Regex;

/// A pattern of `.Files.Glob`: `*` stays within a folder, `**` does not, `?`, `[a-z]`, `{a,b}`.
#[derive(Debug)]
pub struct Glob {
    pattern: Option<Regex>,
}

impl Glob {
    /// Reads a pattern.
    pub fn new(pattern: &str) -> Glob {
        Glob { pattern: translate(pattern).and_then(|text| Regex::new(&text).ok()) }
    }

    /// Tells whether a path matches.
    pub fn matches(&self, path: &str) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(path))
    }
}

fn push_literal(out: &mut String, c: char) {
    out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
}

fn translate(pattern: &str) -> Option<String> {
    let mut out = String::from("(?s)^");
    let mut chars = pattern.chars().peekable();
    let mut depth = 0usize;
    while let Some(c) = chars.next() {
        match c {
            '*' => {
                if chars.peek() == Some(&'*') {
                    while chars.peek() == Some(&'*') {
                        chars.next();
                    }
                    out.push_str(".*");
                } else {
                    out.push_str("[^/]*");
                }
            }
            '?' => out.push_str("[^/]"),
            '{' => {
                depth += 1;
                out.push_str("(?:");
            }
            '}' if depth > 0 => {
                depth -= 1;
                out.push(')');
            }
            ',' if depth > 0 => out.push('|'),
            '[' => {
                out.push('[');
                if chars.peek() == Some(&'!') {
                    chars.next();
                    out.push('^');
                }
                let mut any = false;
                loop {
                    match chars.next()? {
                        ']' if any => break,
                        '-' if any && chars.peek() != Some(&']') => out.push('-'),
                        '\\' => push_literal(&mut out, chars.next()?),
                        '[' => out.push_str("\\["),
                        '&' | '~' | '^' => return None,
                        other => push_literal(&mut out, other),
                    }
                    any = true;
                }
                out.push(']');
            }
            '\\' => push_literal(&mut out, chars.next()?),
            other => push_literal(&mut out, other),
        }
    }
    if depth > 0 {
        return None;
    }
    out.push('$');
    Some(out)
}

/// Matches as Go's `filepath.Match`: `*` and `?` stay within a folder; `None` for a malformed pattern.
pub fn shell_match(pattern: &str, name: &str) -> Option<bool> {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    check(&pattern)?;
    Some(shell(&pattern, &name))
}

fn check(pattern: &[char]) -> Option<()> {
    let mut at = 0;
    while at < pattern.len() {
        match pattern[at] {
            '\\' => {
                pattern.get(at + 1)?;
                at += 2;
            }
            '[' => at = class(pattern, at, '\0')?.1,
            _ => at += 1,
        }
    }
    Some(())
}

/// Matches one character against a class: whether it matches, and where the class ends.
fn class(pattern: &[char], start: usize, c: char) -> Option<(bool, usize)> {
    let mut at = start + 1;
    let negated = pattern.get(at) == Some(&'^');
    at += usize::from(negated);
    let mut found = false;
    let mut count = 0;
    let one = |at: &mut usize| -> Option<char> {
        let mut c = *pattern.get(*at)?;
        if c == '-' || c == ']' {
            return None;
        }
        if c == '\\' {
            *at += 1;
            c = *pattern.get(*at)?;
        }
        *at += 1;
        pattern.get(*at)?;
        Some(c)
    };
    loop {
        if count > 0 && pattern.get(at) == Some(&']') {
            return Some((found != negated, at + 1));
        }
        let low = one(&mut at)?;
        let mut high = low;
        if pattern.get(at) == Some(&'-') {
            at += 1;
            high = one(&mut at)?;
        }
        found |= low <= c && c <= high;
        count += 1;
    }
}

/// Matches with one place to come back to: linear for each star.
fn shell(pattern: &[char], name: &[char]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(p) {
            Some('*') => {
                back = Some((p + 1, n));
                p += 1;
                continue;
            }
            None if n == name.len() => return true,
            None => None,
            Some(want) => match (want, name.get(n)) {
                (_, None) => None,
                ('?', Some(c)) => (*c != '/').then_some(p + 1),
                ('[', Some(c)) => class(pattern, p, *c).filter(|(found, _)| *found && *c != '/').map(|(_, end)| end),
                ('\\', Some(c)) => (pattern.get(p + 1) == Some(c)).then_some(p + 2),
                (want, Some(c)) => (want == c).then_some(p + 1),
            },
        };
        match step {
            Some(next) => {
                p = next;
                n += 1;
            }
            None => match back {
                Some((star, from)) if from < name.len() && name[from] != '/' => {
                    (p, n) = (star, from + 1);
                    back = Some((star, from + 1));
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_of_files() {
        for (pattern, path, want) in [
            ("*.yaml", "a.yaml", true),
            ("*.yaml", "d/a.yaml", false),
            ("**.yaml", "d/a.yaml", true),
            ("d/**", "d/e/f", true),
            ("{a,b}.txt", "b.txt", true),
            ("[a-c]x", "bx", true),
            ("[!a]x", "ax", false),
            ("a?c", "abc", true),
        ] {
            assert_eq!(Glob::new(pattern).matches(path), want, "{pattern} {path}");
        }
    }

    #[test]
    fn patterns_of_helmignore() {
        for (pattern, name, want) in [
            ("*.tgz", "a.tgz", Some(true)),
            ("*", "a/b", Some(false)),
            ("templates/.?*", "templates/.x", Some(true)),
            ("a[", "a", None),
            ("[a-b]*c", "bxxc", Some(true)),
            ("a*b*c", "a1b2c", Some(true)),
        ] {
            assert_eq!(shell_match(pattern, name), want, "{pattern} {name}");
        }
    }
}
