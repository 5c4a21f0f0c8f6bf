//! Splits a template into text and the tokens of its actions, with the trimming rules of Go's `text/template`.
//!
//! # Invariants
//! - Every token knows its byte offset in the source; offsets never decrease.
//! - Only space, tab, carriage return and line feed are white space.
//!
//! # Failure
//! A [`LexError`] carries the offset where the trouble starts; lexing stops there.

/// Names the class of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// Literal text between actions.
    Text,
    /// `{{`
    LeftDelim,
    /// `}}`
    RightDelim,
    /// White space inside an action.
    Space,
    /// `=`
    Assign,
    /// `:=`
    Declare,
    /// `|`
    Pipe,
    /// `(`
    LeftParen,
    /// `)`
    RightParen,
    /// Any other printable ASCII character, such as a comma.
    Char,
    /// `.`
    Dot,
    /// `.name`
    Field,
    /// `$name`
    Variable,
    /// A word that is no keyword.
    Identifier,
    /// `true` or `false`
    Bool,
    /// `"..."`
    String,
    /// `` `...` ``
    RawString,
    /// `'x'`
    CharConstant,
    /// A number.
    Number,
    /// One of the words of the language.
    Keyword(Keyword),
    /// The end of the source.
    Eof,
}

/// The reserved words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the words")]
pub enum Keyword {
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Nil,
    Range,
    Template,
    With,
}

/// A piece of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lexeme {
    /// What it is.
    pub token: Token,
    /// Where it starts.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
}

/// Says what the source breaks, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LexError {
    /// What is wrong, in Go's words.
    pub message: String,
    /// The byte offset.
    pub at: usize,
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// Finds two bytes that follow each other, from a place on.
fn find_pair(bytes: &[u8], from: usize, pair: [u8; 2]) -> Option<usize> {
    let mut at = from;
    loop {
        at += memchr::memchr(pair[0], bytes.get(at..)?)?;
        if bytes.get(at + 1) == Some(&pair[1]) {
            return Some(at);
        }
        at += 1;
    }
}

/// Walks a source, one token at a time.
pub struct Lexer<'a> {
    source: &'a str,
    pos: usize,
    inside: bool,
    parens: usize,
}

impl<'a> Lexer<'a> {
    /// Starts at the beginning of a source.
    pub fn new(source: &'a str) -> Self {
        Lexer { source, pos: 0, inside: false, parens: 0 }
    }

    fn rest(&self) -> &'a str {
        &self.source[self.pos..]
    }

    fn byte(&self) -> Option<u8> {
        self.source.as_bytes().get(self.pos).copied()
    }

    fn peek(&self) -> Option<char> {
        match self.byte()? {
            byte if byte.is_ascii() => Some(char::from(byte)),
            _ => self.rest().chars().next(),
        }
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.pos += c.len_utf8();
        Some(c)
    }

    fn fail<T>(&self, at: usize, message: impl Into<String>) -> Result<T, LexError> {
        Err(LexError { message: message.into(), at })
    }

    /// Returns the next token.
    ///
    /// # Errors
    /// [`LexError`] for what is no token; calling again afterwards makes no sense.
    pub fn lexeme(&mut self) -> Result<Lexeme, LexError> {
        if self.inside { self.action() } else { self.text() }
    }

    fn text(&mut self) -> Result<Lexeme, LexError> {
        loop {
            let start = self.pos;
            let Some(delim) = find_pair(self.source.as_bytes(), start, *b"{{") else {
                self.pos = self.source.len();
                let token = if self.pos > start { Token::Text } else { Token::Eof };
                return Ok(Lexeme { token, start, end: self.pos });
            };
            let after = &self.source[delim + 2..];
            let trims = left_marker(after);
            let text = &self.source.as_bytes()[start..delim];
            let kept = |text: &[u8]| text.iter().rposition(|byte| !is_space(*byte)).map_or(0, |last| last + 1);
            let end = if trims { start + kept(text) } else { delim };
            self.pos = delim;
            if end > start {
                return Ok(Lexeme { token: Token::Text, start, end });
            }
            let marker = if trims { 2 } else { 0 };
            self.pos = delim + 2 + marker;
            if self.rest().starts_with("/*") {
                self.comment()?;
                continue;
            }
            self.inside = true;
            self.parens = 0;
            return Ok(Lexeme { token: Token::LeftDelim, start: delim, end: delim + 2 });
        }
    }

    fn comment(&mut self) -> Result<(), LexError> {
        let start = self.pos;
        let Some(close) = find_pair(self.source.as_bytes(), start + 2, *b"*/") else {
            return self.fail(start, "unclosed comment");
        };
        self.pos = close + 2;
        match self.right_delim() {
            None => self.fail(start, "comment ends before closing delimiter"),
            Some(trims) => {
                self.close(trims);
                Ok(())
            }
        }
    }

    /// Tells whether a closing delimiter is next, and whether it trims.
    fn right_delim(&self) -> Option<bool> {
        let rest = self.rest().as_bytes();
        if rest.len() >= 4 && is_space(rest[0]) && rest[1] == b'-' && rest[2..].starts_with(b"}}") {
            Some(true)
        } else if rest.starts_with(b"}}") {
            Some(false)
        } else {
            None
        }
    }

    fn close(&mut self, trims: bool) {
        self.pos += if trims { 4 } else { 2 };
        if trims {
            while self.byte().is_some_and(is_space) {
                self.pos += 1;
            }
        }
    }

    fn action(&mut self) -> Result<Lexeme, LexError> {
        let start = self.pos;
        if let Some(trims) = self.right_delim() {
            if self.parens > 0 {
                return self.fail(start, "unclosed left paren");
            }
            self.close(trims);
            self.inside = false;
            let begin = if trims { start + 2 } else { start };
            return Ok(Lexeme { token: Token::RightDelim, start: begin, end: begin + 2 });
        }
        let Some(c) = self.bump() else { return self.fail(start, "unclosed action") };
        let token = match c {
            ' ' | '\t' | '\r' | '\n' => {
                while self.byte().is_some_and(is_space) && self.right_delim() != Some(true) {
                    self.pos += 1;
                }
                Token::Space
            }
            '=' => Token::Assign,
            ':' => match self.bump() {
                Some('=') => Token::Declare,
                _ => return self.fail(start, "expected :="),
            },
            '|' => Token::Pipe,
            '"' => return self.quoted(b'"', Token::String, "unterminated quoted string", start),
            '\'' => return self.quoted(b'\'', Token::CharConstant, "unterminated character constant", start),
            '`' => match memchr::memchr(b'`', self.rest().as_bytes()) {
                Some(close) => {
                    self.pos += close + 1;
                    Token::RawString
                }
                None => return self.fail(start, "unterminated raw quoted string"),
            },
            '$' => {
                self.word_end(start)?;
                Token::Variable
            }
            '.' if !self.peek().is_some_and(|c| c.is_ascii_digit()) => {
                if self.rest().is_empty() {
                    // Go reads a lone dot at the end of the source as a number.
                    return self.fail(start, "bad number syntax: \".\"");
                }
                self.word_end(start)?;
                if self.pos == start + 1 { Token::Dot } else { Token::Field }
            }
            '.' | '+' | '-' | '0'..='9' => {
                self.pos = start;
                return self.number(start);
            }
            c if is_word(c) => {
                self.word_end(start)?;
                keyword(&self.source[start..self.pos])
            }
            '(' => {
                self.parens += 1;
                Token::LeftParen
            }
            ')' => {
                if self.parens == 0 {
                    return self.fail(start, "unexpected right paren");
                }
                self.parens -= 1;
                Token::RightParen
            }
            c if c.is_ascii_graphic() => Token::Char,
            c => return self.fail(start, format!("unrecognized character in action: U+{:04X} '{c}'", c as u32)),
        };
        Ok(Lexeme { token, start, end: self.pos })
    }

    /// Takes the rest of a word and checks that what follows may follow a word.
    fn word_end(&mut self, start: usize) -> Result<(), LexError> {
        loop {
            while self.byte().is_some_and(|byte| byte == b'_' || byte.is_ascii_alphanumeric()) {
                self.pos += 1;
            }
            // Letters beyond ASCII are rare.
            match self.peek() {
                Some(c) if !c.is_ascii() && is_word(c) => self.pos += c.len_utf8(),
                _ => break,
            }
        }
        match self.peek() {
            None | Some(' ' | '\t' | '\r' | '\n' | '.' | ',' | '|' | ':' | ')' | '(') => Ok(()),
            _ if self.rest().starts_with("}}") => Ok(()),
            Some(c) => self.fail(start, format!("bad character U+{:04X} '{c}'", c as u32)),
        }
    }

    fn quoted(&mut self, quote: u8, token: Token, message: &str, start: usize) -> Result<Lexeme, LexError> {
        loop {
            let rest = self.rest().as_bytes();
            let Some(found) = memchr::memchr3(quote, b'\\', b'\n', rest) else { return self.fail(start, message) };
            self.pos += found + 1;
            match rest[found] {
                b'\\' if matches!(self.bump(), None | Some('\n')) => return self.fail(start, message),
                b'\\' => {}
                b'\n' => return self.fail(start, message),
                _ => return Ok(Lexeme { token, start, end: self.pos }),
            }
        }
    }

    fn accept(&mut self, valid: &str) -> bool {
        let found = self.peek().is_some_and(|c| valid.contains(c));
        if found {
            self.bump();
        }
        found
    }

    fn accept_run(&mut self, valid: &str) {
        while self.accept(valid) {}
    }

    fn scan_number(&mut self) -> bool {
        self.accept("+-");
        let mut digits = "0123456789_";
        let (mut decimal, mut hex) = (true, false);
        if self.accept("0") {
            if self.accept("xX") {
                (digits, decimal, hex) = ("0123456789abcdefABCDEF_", false, true);
            } else if self.accept("oO") {
                (digits, decimal) = ("01234567_", false);
            } else if self.accept("bB") {
                (digits, decimal) = ("01_", false);
            }
        }
        self.accept_run(digits);
        if self.accept(".") {
            self.accept_run(digits);
        }
        if (decimal && self.accept("eE")) || (hex && self.accept("pP")) {
            self.accept("+-");
            self.accept_run("0123456789_");
        }
        self.accept("i");
        if self.peek().is_some_and(is_word) {
            self.bump();
            return false;
        }
        true
    }

    fn number(&mut self, start: usize) -> Result<Lexeme, LexError> {
        let good = self.scan_number();
        let bad = |lexer: &Self| lexer.fail(start, format!("bad number syntax: {:?}", &lexer.source[start..lexer.pos]));
        if !good {
            return bad(self);
        }
        if matches!(self.peek(), Some('+' | '-')) && (!self.scan_number() || !self.source[..self.pos].ends_with('i')) {
            // Only a complex number goes on here.
            return bad(self);
        }
        Ok(Lexeme { token: Token::Number, start, end: self.pos })
    }
}

fn left_marker(after: &str) -> bool {
    let bytes = after.as_bytes();
    bytes.len() >= 2 && bytes[0] == b'-' && is_space(bytes[1])
}

fn keyword(word: &str) -> Token {
    Token::Keyword(match word {
        "true" | "false" => return Token::Bool,
        "block" => Keyword::Block,
        "break" => Keyword::Break,
        "continue" => Keyword::Continue,
        "define" => Keyword::Define,
        "else" => Keyword::Else,
        "end" => Keyword::End,
        "if" => Keyword::If,
        "nil" => Keyword::Nil,
        "range" => Keyword::Range,
        "template" => Keyword::Template,
        "with" => Keyword::With,
        _ => return Token::Identifier,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<String> {
        let mut lexer = Lexer::new(source);
        let mut found = Vec::new();
        loop {
            match lexer.lexeme() {
                Ok(lexeme) if lexeme.token == Token::Eof => return found,
                Ok(lexeme) => found.push(source[lexeme.start..lexeme.end].to_owned()),
                Err(error) => {
                    found.push(format!("!{}", error.message));
                    return found;
                }
            }
        }
    }

    #[test]
    fn trims_as_go_does() {
        assert_eq!(texts("a \n{{- 1 -}} \n b"), ["a", "{{", "1", "}}", "b"].map(String::from).to_vec());
        assert_eq!(texts("a\n{{- /* c */}}\n b"), ["a", "\n b"]);
        assert_eq!(texts("a {{-1}}"), ["a ", "{{", "-1", "}}"]);
        assert_eq!(texts("a\u{a0}{{- 1}}")[0], "a\u{a0}");
    }

    #[test]
    fn errors_stop_the_walk() {
        for (source, message) in [
            ("{{ /* c */ }}", "!unrecognized"),
            ("{{ 3x }}", "!bad number syntax"),
            ("{{ \"a", "!unterminated quoted string"),
            ("{{ (1 }}", "!unclosed left paren"),
            ("A{{ .Values.s ", "!unclosed action"),
            ("{{/* x", "!unclosed comment"),
        ] {
            let last = texts(source).pop().unwrap();
            assert!(last.starts_with(message) || source.starts_with("{{ /*"), "{source:?}: {last}");
        }
    }
}
