//! Reads JSON as Go's `encoding/json` does.

use super::DEPTH;
use crate::helm::template::{
    gofmt,
    value::{Map, Str, Value},
};

/// Reads a JSON text, numbers as floats.
///
/// # Errors
/// Go's message.
pub fn read(text: &[u8]) -> Result<Value, String> {
    let mut reader = Reader { text, at: 0 };
    reader.space();
    let value = reader.value(0)?;
    reader.space();
    match reader.peek() {
        None => Ok(value),
        Some(byte) => Err(invalid(byte, "after top-level value")),
    }
}

/// Reads the JSON value that a text starts with, and tells where it ends.
///
/// # Errors
/// Go's message.
pub fn read_prefix(text: &[u8]) -> Result<(Value, usize), String> {
    let mut reader = Reader { text, at: 0 };
    reader.space();
    let value = reader.value(0)?;
    Ok((value, reader.at))
}

fn invalid(byte: u8, context: &str) -> String {
    let shown = match byte {
        b'\'' => "'\\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        other => {
            let quoted = gofmt::quote(&[other], false);
            let text = String::from_utf8_lossy(&quoted).into_owned();
            format!("'{}'", text.trim_matches('"'))
        }
    };
    format!("invalid character {shown} {context}")
}

const END: &str = "unexpected end of JSON input";

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > DEPTH {
            return Err("exceeded max depth".to_owned());
        }
        match self.peek() {
            None => Err(END.to_owned()),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Value::Str(self.string()?)),
            Some(b't') => self.word(b"true", Value::Bool(true)),
            Some(b'f') => self.word(b"false", Value::Bool(false)),
            Some(b'n') => self.word(b"null", Value::Nil),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(byte) => Err(invalid(byte, "looking for beginning of value")),
        }
    }

    fn word(&mut self, word: &[u8], value: Value) -> Result<Value, String> {
        for (i, want) in word.iter().enumerate() {
            match self.peek() {
                None => return Err(END.to_owned()),
                Some(byte) if byte != *want => {
                    let name = String::from_utf8_lossy(word);
                    return Err(invalid(byte, &format!("in literal {name} (expecting '{}')", word[i] as char)));
                }
                Some(_) => self.at += 1,
            }
        }
        Ok(value)
    }

    fn digits(&mut self, context: &str) -> Result<(), String> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start {
            return Ok(());
        }
        Err(self.peek().map_or_else(|| END.to_owned(), |byte| invalid(byte, context)))
    }

    fn number(&mut self) -> Result<Value, String> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits("in numeric literal")?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits("after decimal point in numeric literal")?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits("in exponent of numeric literal")?;
        }
        let text = String::from_utf8_lossy(&self.text[start..self.at]);
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::Float(number)),
            _ => Err(format!("json: cannot unmarshal number {text} into Go value of type float64")),
        }
    }

    fn unit(&mut self) -> Result<u32, String> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = match self.peek() {
                None => return Err(END.to_owned()),
                Some(byte) => {
                    (byte as char).to_digit(16).ok_or_else(|| invalid(byte, "in \\u hexadecimal character escape"))?
                }
            };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }

    fn string(&mut self) -> Result<Str, String> {
        self.at += 1;
        let mut out = Vec::new();
        loop {
            let byte = self.peek().ok_or_else(|| END.to_owned())?;
            self.at += 1;
            match byte {
                b'"' => break,
                b'\\' => {
                    let escape = self.peek().ok_or_else(|| END.to_owned())?;
                    self.at += 1;
                    match escape {
                        b'"' | b'\\' | b'/' => out.push(escape),
                        b'b' => out.push(8),
                        b'f' => out.push(12),
                        b'n' => out.push(10),
                        b'r' => out.push(13),
                        b't' => out.push(9),
                        b'u' => {
                            let first = self.unit()?;
                            let mut c = char::from_u32(first);
                            if (0xd800..0xdc00).contains(&first) && self.text[self.at..].starts_with(b"\\u") {
                                let before = self.at;
                                self.at += 2;
                                let second = self.unit()?;
                                if (0xdc00..0xe000).contains(&second) {
                                    c = char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00));
                                } else {
                                    self.at = before;
                                }
                            }
                            let c = c.unwrap_or('\u{fffd}');
                            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                        }
                        other => return Err(invalid(other, "in string escape code")),
                    }
                }
                byte if byte < 0x20 => return Err(invalid(byte, "in string literal")),
                byte => out.push(byte),
            }
        }
        if std::str::from_utf8(&out).is_err() {
            out = String::from_utf8_lossy(&out).into_owned().into_bytes();
        }
        Ok(Str::from(out))
    }

    fn array(&mut self, depth: usize) -> Result<Value, String> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::list(items));
        }
        loop {
            self.space();
            items.push(self.value(depth + 1)?);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::list(items));
                }
                Some(byte) => return Err(invalid(byte, "after array element")),
                None => return Err(END.to_owned()),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, String> {
        self.at += 1;
        let mut map = Map::new();
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::dict(map));
        }
        loop {
            self.space();
            let key = match self.peek() {
                Some(b'"') => self.string()?,
                Some(byte) => {
                    return Err(invalid(byte, "looking for beginning of object key string"));
                }
                None => return Err(END.to_owned()),
            };
            self.space();
            match self.peek() {
                Some(b':') => self.at += 1,
                Some(byte) => return Err(invalid(byte, "after object key")),
                None => return Err(END.to_owned()),
            }
            self.space();
            let value = self.value(depth + 1)?;
            map.insert(key, value);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Value::dict(map));
                }
                Some(byte) => return Err(invalid(byte, "after object key:value pair")),
                None => return Err(END.to_owned()),
            }
        }
    }
}
