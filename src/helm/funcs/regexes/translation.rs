//! Patterns of RE2, as Go reads them, in the words of the `regex` crate.

use super::REPEAT;

/// Writes a character so that it stands for itself everywhere.
fn literal(out: &mut String, c: char) {
    if c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii() {
        out.push(c);
    } else {
        out.push_str(&format!("\\x{{{:x}}}", c as u32));
    }
}

/// Returns the members of an ASCII class, for use inside brackets.
fn perl_class(c: char) -> Option<&'static str> {
    Some(match c {
        'd' => "0-9",
        's' => r"\t\n\x0c\r\x20",
        'w' => "0-9A-Za-z_",
        'D' => "[^0-9]",
        'S' => r"[^\t\n\x0c\r\x20]",
        'W' => "[^0-9A-Za-z_]",
        _ => return None,
    })
}

struct Translator<'a> {
    chars: Vec<char>,
    at: usize,
    out: String,
    source: &'a str,
}

/// Rewrites a pattern of Go for the `regex` crate.
pub(super) fn translate(source: &str) -> Result<String, String> {
    let mut translator =
        Translator { chars: source.chars().collect(), at: 0, out: String::with_capacity(source.len() * 2), source };
    translator.run()?;
    Ok(translator.out)
}

impl Translator<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn run(&mut self) -> Result<(), String> {
        // Whether something stands before that may be repeated, and whether it is itself a repetition.
        let (mut repeatable, mut repeated) = (false, false);
        while let Some(c) = self.peek(0) {
            let mut is_repeat = false;
            match c {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '*' | '+' | '?' => {
                    self.at += 1;
                    self.repeat(&c.to_string(), repeatable, repeated)?;
                    is_repeat = true;
                }
                '{' => match self.count() {
                    Some((text, length)) => {
                        self.at += length;
                        self.bounds(&text)?;
                        self.repeat(&text, repeatable, repeated)?;
                        is_repeat = true;
                    }
                    None => {
                        self.at += 1;
                        literal(&mut self.out, '{');
                    }
                },
                '(' => {
                    self.group()?;
                    (repeatable, repeated) = (false, false);
                    continue;
                }
                '|' => {
                    self.at += 1;
                    self.out.push('|');
                    (repeatable, repeated) = (false, false);
                    continue;
                }
                '.' | '^' | '$' | ')' => {
                    self.at += 1;
                    self.out.push(c);
                }
                other => {
                    self.at += 1;
                    literal(&mut self.out, other);
                }
            }
            repeatable = true;
            repeated = is_repeat;
        }
        Ok(())
    }

    fn repeat(&mut self, operator: &str, repeatable: bool, repeated: bool) -> Result<(), String> {
        if !repeatable {
            return Err(format!("missing argument to repetition operator: `{operator}`"));
        }
        if repeated {
            return Err(format!("invalid nested repetition operator: `{operator}`"));
        }
        self.out.push_str(operator);
        if self.peek(0) == Some('?') {
            self.at += 1;
            self.out.push('?');
        }
        Ok(())
    }

    /// Reads `{n}`, `{n,}` or `{n,m}`: its text and length.
    fn count(&self) -> Option<(String, usize)> {
        let rest = &self.chars[self.at + 1..];
        let close = rest.iter().position(|c| *c == '}')?;
        let inner: String = rest[..close].iter().collect();
        let digits = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'))
        };
        let good = match inner.split_once(',') {
            Some((least, most)) => digits(least) && (most.is_empty() || digits(most)),
            None => digits(&inner),
        };
        good.then(|| (format!("{{{inner}}}"), close + 2))
    }

    fn bounds(&self, text: &str) -> Result<(), String> {
        let bad = || Err(format!("invalid repeat count: `{text}`"));
        let inner = text.trim_matches(['{', '}']);
        let numbers: Result<Vec<u32>, _> =
            inner.split(',').filter(|part| !part.is_empty()).map(str::parse::<u32>).collect();
        match numbers {
            Ok(numbers) if numbers.iter().any(|number| *number > REPEAT) => bad(),
            Ok(numbers) if numbers.len() == 2 && numbers[0] > numbers[1] => bad(),
            Ok(_) => Ok(()),
            Err(_) => bad(),
        }
    }

    fn group(&mut self) -> Result<(), String> {
        self.at += 1;
        self.out.push('(');
        if self.peek(0) != Some('?') {
            return Ok(());
        }
        let rest: String = self.chars[self.at..].iter().collect();
        if rest.starts_with("?P<") || rest.starts_with("?<") {
            let Some(close) = rest.find('>') else {
                return Err(format!("invalid named capture: `({rest}`"));
            };
            let name = &rest[..=close];
            if name.contains("<=") || name.contains("<!") {
                return Err(format!("invalid or unsupported Perl syntax: `({}`", &rest[..3]));
            }
            self.out.push_str(name);
            self.at += name.chars().count();
            return Ok(());
        }
        let end = rest.find([':', ')']).map_or(rest.len(), |end| end + 1);
        let flags = &rest[..end];
        if end == rest.len() && !rest.ends_with([':', ')'])
            || !flags[1..].chars().all(|c| "imsU-:)".contains(c))
            || flags == "?)"
        {
            return Err(format!(
                "invalid or unsupported Perl syntax: `({}`",
                flags.chars().take(3).collect::<String>()
            ));
        }
        self.out.push_str(flags);
        self.at += flags.chars().count();
        Ok(())
    }

    fn escape(&mut self) -> Result<(), String> {
        let Some(c) = self.peek(1) else {
            return Err("trailing backslash at end of expression: ``".to_owned());
        };
        if let Some(class) = perl_class(c) {
            self.at += 2;
            if class.starts_with('[') {
                self.out.push_str(class);
            } else {
                self.out.push('[');
                self.out.push_str(class);
                self.out.push(']');
            }
            return Ok(());
        }
        match c {
            'b' | 'B' => {
                self.at += 2;
                self.out.push_str(if c == 'b' { r"(?-u:\b)" } else { r"(?-u:\B)" });
            }
            'A' | 'z' => {
                self.at += 2;
                self.out.push('\\');
                self.out.push(c);
            }
            'C' => {
                self.at += 2;
                self.out.push_str("(?s-u:.)");
            }
            'Q' => {
                self.at += 2;
                while let Some(c) = self.peek(0) {
                    if c == '\\' && self.peek(1) == Some('E') {
                        self.at += 2;
                        return Ok(());
                    }
                    self.at += 1;
                    literal(&mut self.out, c);
                }
            }
            'E' => self.at += 2,
            'p' | 'P' => {
                let text = self.unicode_class();
                self.out.push_str(&text);
            }
            _ => {
                let c = self.escaped_char()?;
                literal(&mut self.out, c);
            }
        }
        Ok(())
    }

    fn unicode_class(&mut self) -> String {
        let start = self.at;
        self.at += 2;
        if self.peek(0) == Some('{') {
            while self.peek(0).is_some_and(|c| c != '}') {
                self.at += 1;
            }
        }
        self.at = (self.at + 1).min(self.chars.len());
        self.chars[start..self.at].iter().collect()
    }

    /// Reads an escape that stands for one character.
    fn escaped_char(&mut self) -> Result<char, String> {
        let bad = |translator: &Self| {
            let shown: String = translator.chars[translator.at..].iter().take(2).collect();
            format!("invalid escape sequence: `{shown}`")
        };
        let Some(c) = self.peek(1) else {
            return Err("trailing backslash at end of expression: ``".to_owned());
        };
        let (found, length) = match c {
            '0'..='7' => {
                let next = self.peek(2).filter(|c| ('0'..='7').contains(c));
                if c != '0' && next.is_none() {
                    return Err(bad(self));
                }
                let digits: String =
                    self.chars[self.at + 1..].iter().take(3).take_while(|c| ('0'..='7').contains(*c)).collect();
                let code = u32::from_str_radix(&digits, 8).unwrap_or(0);
                (char::from_u32(code), digits.len() + 1)
            }
            'x' if self.peek(2) == Some('{') => {
                let digits: String = self.chars[self.at + 3..].iter().take_while(|c| **c != '}').collect();
                let code = u32::from_str_radix(&digits, 16).ok();
                (code.and_then(char::from_u32), digits.chars().count() + 4)
            }
            'x' => {
                let digits: String = self.chars[self.at + 2..].iter().take(2).collect();
                let code = if digits.len() == 2 { u32::from_str_radix(&digits, 16).ok() } else { None };
                (code.and_then(char::from_u32), 4)
            }
            'a' => (Some('\u{7}'), 2),
            'f' => (Some('\u{c}'), 2),
            'n' => (Some('\n'), 2),
            'r' => (Some('\r'), 2),
            't' => (Some('\t'), 2),
            'v' => (Some('\u{b}'), 2),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => (Some(c), 2),
            _ => (None, 2),
        };
        let Some(found) = found else { return Err(bad(self)) };
        self.at += length;
        Ok(found)
    }

    fn class_char(&mut self) -> Result<char, String> {
        match self.peek(0) {
            Some('\\') => self.escaped_char(),
            Some(c) => {
                self.at += 1;
                Ok(c)
            }
            None => Err(format!("missing closing ]: `{}`", self.source)),
        }
    }

    fn class(&mut self) -> Result<(), String> {
        let start = self.at;
        self.at += 1;
        self.out.push('[');
        if self.peek(0) == Some('^') {
            self.at += 1;
            self.out.push('^');
        }
        let mut first = true;
        loop {
            let missing = || {
                let rest: String = self.chars[start..].iter().collect();
                format!("missing closing ]: `{rest}`")
            };
            let Some(c) = self.peek(0) else { return Err(missing()) };
            if c == ']' && !first {
                self.at += 1;
                self.out.push(']');
                return Ok(());
            }
            first = false;
            if c == '[' && self.peek(1) == Some(':') {
                let rest: String = self.chars[self.at..].iter().collect();
                if let Some(close) = rest.find(":]") {
                    let name = &rest[..close + 2];
                    self.out.push_str(name);
                    self.at += name.chars().count();
                    continue;
                }
            }
            if c == '\\' {
                if let Some(class) = self.peek(1).and_then(perl_class) {
                    self.at += 2;
                    self.out.push_str(class);
                    continue;
                }
                if matches!(self.peek(1), Some('p' | 'P')) {
                    let text = self.unicode_class();
                    self.out.push_str(&text);
                    continue;
                }
            }
            let from = self.class_char()?;
            literal(&mut self.out, from);
            if self.peek(0) == Some('-') && self.peek(1).is_some_and(|c| c != ']') {
                self.at += 1;
                let to = self.class_char()?;
                if to < from {
                    return Err(format!("invalid character class range: `{from}-{to}`"));
                }
                self.out.push('-');
                literal(&mut self.out, to);
            }
        }
    }
}
