//! JSON (RFC 8259) with places, one value after another, as kubectl reads `.json` files.

use super::{Error, Mark, Node, Options, Problem, Value, resolve::Entries};

/// Parses every value of a text; between values there is white space only.
pub(super) fn documents(text: &str, options: &Options) -> Result<Vec<Node>, Error> {
    let mut reader = Reader { rest: text, at: Mark::START, budget: options.max_nodes, options };
    let mut found = Vec::new();
    reader.skip_blanks();
    while !reader.rest.is_empty() {
        found.push(reader.value(0)?);
        reader.skip_blanks();
    }
    Ok(found)
}

struct Reader<'a> {
    rest: &'a str,
    at: Mark,
    budget: usize,
    options: &'a Options,
}

impl Reader<'_> {
    fn fail<T>(&self, what: &'static str) -> Result<T, Error> {
        Err(Error::new(self.at, Problem::Json(what)))
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let found = self.peek()?;
        self.rest = &self.rest[found.len_utf8()..];
        if found == '\n' {
            self.at = Mark { line: self.at.line.saturating_add(1), column: 1 };
        } else {
            self.at.column = self.at.column.saturating_add(1);
        }
        Some(found)
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r')) {
            self.next();
        }
    }

    fn value(&mut self, depth: usize) -> Result<Node, Error> {
        let at = self.at;
        match self.budget.checked_sub(1) {
            Some(left) => self.budget = left,
            None => return Err(Error::new(at, Problem::TooMany(self.options.max_nodes))),
        }
        match self.peek() {
            Some('{' | '[') if depth >= self.options.depth() => {
                Err(Error::new(at, Problem::TooDeep(self.options.depth())))
            }
            Some('{') => self.object(depth),
            Some('[') => self.array(depth),
            Some('"') => Ok(Node::new(Value::String(self.string()?), at)),
            Some(_) => self.word(at),
            None => self.fail("a value is missing"),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Node, Error> {
        let at = self.at;
        let mut items = Vec::new();
        self.next();
        self.skip_blanks();
        if self.peek() != Some(']') {
            loop {
                self.skip_blanks();
                items.push(self.value(depth + 1)?);
                self.skip_blanks();
                match self.peek() {
                    Some(',') => self.next(),
                    Some(']') => break,
                    _ => return self.fail("expected , or ] in a list"),
                };
            }
        }
        self.next();
        Ok(Node::new(Value::Seq(items), at))
    }

    fn object(&mut self, depth: usize) -> Result<Node, Error> {
        let at = self.at;
        let mut entries = Entries::new(self.options.duplicates, 0);
        self.next();
        self.skip_blanks();
        if self.peek() != Some('}') {
            loop {
                self.skip_blanks();
                let key_at = self.at;
                let key = Node::new(Value::String(self.string()?), key_at);
                self.skip_blanks();
                if self.peek() != Some(':') {
                    return self.fail("expected : after a key");
                }
                self.next();
                self.skip_blanks();
                entries.insert(key, self.value(depth + 1)?)?;
                self.skip_blanks();
                match self.peek() {
                    Some(',') => self.next(),
                    Some('}') => break,
                    _ => return self.fail("expected , or } in an object"),
                };
            }
        }
        self.next();
        Ok(Node::new(Value::Map(entries.finish()), at))
    }

    fn string(&mut self) -> Result<String, Error> {
        if self.peek() != Some('"') {
            return self.fail("expected a string in double quotes");
        }
        self.next();
        let mut text = String::new();
        loop {
            match self.peek() {
                None | Some('\n') => return self.fail("a string has no end"),
                Some(c) if c < ' ' => return self.fail("a control character inside a string"),
                Some('"') => {
                    self.next();
                    return Ok(text);
                }
                Some('\\') => {
                    self.next();
                    text.push(self.escape()?);
                }
                Some(c) => {
                    self.next();
                    text.push(c);
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, Error> {
        let plain = match self.peek() {
            Some(c @ ('"' | '\\' | '/')) => c,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                self.next();
                return self.unicode();
            }
            _ => return self.fail("an unknown escape"),
        };
        self.next();
        Ok(plain)
    }

    /// Reads four hex digits, and the second half when they are the first half of a surrogate pair.
    fn unicode(&mut self) -> Result<char, Error> {
        let high = self.hex()?;
        if !(0xd800..0xdc00).contains(&high) {
            return char::from_u32(high).map_or_else(|| self.fail("half a surrogate pair"), Ok);
        }
        if !self.rest.starts_with("\\u") {
            return self.fail("half a surrogate pair");
        }
        self.next();
        self.next();
        let low = self.hex()?;
        if !(0xdc00..0xe000).contains(&low) {
            return self.fail("half a surrogate pair");
        }
        let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
        char::from_u32(code).map_or_else(|| self.fail("half a surrogate pair"), Ok)
    }

    fn hex(&mut self) -> Result<u32, Error> {
        let mut code = 0;
        for _ in 0..4 {
            let Some(digit) = self.peek().and_then(|c| c.to_digit(16)) else {
                return self.fail("expected four hex digits");
            };
            code = code << 4 | digit;
            self.next();
        }
        Ok(code)
    }

    /// Reads `true`, `false`, `null` or a number.
    fn word(&mut self, at: Mark) -> Result<Node, Error> {
        let length = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')))
            .unwrap_or(self.rest.len());
        let word = &self.rest[..length];
        let value = match word {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" => Value::Null,
            _ if !is_number(word) => return self.fail("expected a value"),
            _ => match (word.parse::<i64>(), word.parse::<u64>(), word.parse::<f64>()) {
                (Ok(number), _, _) => Value::Int(number),
                (_, Ok(number), _) => Value::UInt(number),
                (_, _, Ok(number)) if number.is_finite() => Value::Float(number),
                _ => return self.fail("a number without a finite value"),
            },
        };
        let node = Node::written(value, at, word);
        self.rest = &self.rest[length..];
        self.at.column = self.at.column.saturating_add(u32::try_from(length).unwrap_or(u32::MAX));
        Ok(node)
    }
}

/// RFC 8259, section 6: no leading zeros, no plus sign, digits on both sides of the point.
fn is_number(text: &str) -> bool {
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = text.split_once(['e', 'E']).map_or((text, None), |(m, e)| (m, Some(e)));
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(w, f)| (w, Some(f)));
    all_digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(all_digits)
        && exponent.is_none_or(|e| all_digits(e.strip_prefix(['+', '-']).unwrap_or(e)))
}
