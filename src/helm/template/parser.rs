//! Parses a template file into the templates it defines, with the grammar and the mistakes of Go's `text/template`.
//!
//! # Invariants
//! - Variables are declared before they are used and every function exists, so evaluation never meets an unknown name
//!   except for a variable whose declaration was skipped.
//! - Nesting is bounded by `DEPTH`; the parser never recurses deeper.
//!
//! # Failure
//! A [`ParseError`] names the file, the line and what Go would say.

mod expressions;

use std::{collections::HashMap, rc::Rc};

use super::{
    ast::{Branch, Node, Pos},
    lexer::{Keyword, LexError, Lexeme, Lexer, Token},
    number::unquote,
};

/// How deep parentheses and control structures may nest. Go allows 10,000 parentheses; no chart comes near 100.
const DEPTH: usize = 1000;

/// A source file that holds templates.
#[derive(Debug)]
pub struct Source {
    /// The name in messages.
    pub name: Rc<str>,
    /// The text.
    pub text: Rc<str>,
}

impl Source {
    /// Returns line (from 1) and column (bytes, from 0) of an offset, as Go's messages count them.
    pub fn place(&self, pos: Pos) -> (u32, u32) {
        let bytes = self.text.as_bytes();
        let before = &bytes[..bytes.len().min(pos as usize)];
        let line = before.iter().filter(|byte| **byte == b'\n').count();
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count();
        (line as u32 + 1, column as u32)
    }
}

impl Source {
    /// Returns so many bytes of the text from an offset on.
    pub fn piece(&self, from: Pos, len: u32) -> &str {
        self.text.get(from as usize..from as usize + len as usize).unwrap_or_default()
    }

    /// Returns the line that holds an offset, without the white space around it and cut to a length for messages.
    pub fn line_text(&self, pos: Pos) -> String {
        const SHOWN: usize = 300;
        let bytes = self.text.as_bytes();
        let at = bytes.len().min(pos as usize);
        let from = bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |found| found + 1);
        let to = bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |found| at + found);
        String::from_utf8_lossy(&bytes[from..to]).trim().chars().take(SHOWN).collect()
    }
}

/// A named template.
#[derive(Debug)]
pub struct Template {
    /// Its name.
    pub name: Rc<str>,
    /// The file it comes from.
    pub source: Rc<Source>,
    /// What it does; shared between files that say the same.
    pub root: Rc<[Node]>,
}

impl Template {
    /// Tells whether there is nothing but white space in it.
    pub fn is_empty(&self) -> bool {
        self.root
            .iter()
            .all(|node| matches!(node, Node::Text(pos, len) if self.source.piece(*pos, *len).trim().is_empty()))
    }
}

/// Says what the template breaks, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parse error at ({file}:{line}): {message}")]
pub struct ParseError {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// What is wrong.
    pub message: String,
}

/// What a file holds: the template of the file itself first, then what it defines.
pub type Parsed = Vec<Rc<Template>>;

/// Parses a file.
///
/// # Errors
/// [`ParseError`] for everything that Go's parser rejects.
pub fn parse(name: &str, text: &str) -> Result<Parsed, ParseError> {
    let source = Rc::new(Source { name: name.into(), text: text.into() });
    let mut parser = Parser {
        source: &source,
        lexer: Lexer::new(&source.text),
        ahead: Vec::new(),
        at: 0,
        vars: vec!["$".into()],
        loops: 0,
        depth: 0,
        found: HashMap::new(),
        order: Vec::new(),
    };
    match parser.file() {
        Ok(parsed) => Ok(parsed),
        Err(Fault { at, message }) => {
            let (line, _) = source.place(at as Pos);
            Err(ParseError { file: name.to_owned(), line, message })
        }
    }
}

/// Returns what [`parse`] would make of the same text under another name, or `None` when that takes parsing it: the text
/// speaks of one of the names.
pub fn renamed(parsed: &Parsed, name: &str) -> Option<Parsed> {
    let before = &parsed.first()?.source;
    let speaks_of = |name: &str| memchr::memmem::find(before.text.as_bytes(), name.as_bytes()).is_some();
    if speaks_of(&before.name) || speaks_of(name) {
        return None;
    }
    let source = Rc::new(Source { name: name.into(), text: before.text.clone() });
    let under = |template: &Rc<Template>| {
        let name = if template.name == before.name { &source.name } else { &template.name };
        Rc::new(Template { name: name.clone(), source: source.clone(), root: template.root.clone() })
    };
    Some(parsed.iter().map(under).collect())
}

struct Fault {
    at: usize,
    message: String,
}

impl From<LexError> for Fault {
    fn from(error: LexError) -> Self {
        Fault { at: error.at, message: error.message }
    }
}

type Parse<T> = Result<T, Fault>;

/// How a list of nodes ended.
enum Closed {
    End,
    Else,
}

struct Parser<'a> {
    source: &'a Rc<Source>,
    lexer: Lexer<'a>,
    ahead: Vec<Lexeme>,
    at: usize,
    vars: Vec<Rc<str>>,
    loops: usize,
    depth: usize,
    found: HashMap<Rc<str>, usize>,
    order: Vec<Rc<Template>>,
}

impl<'a> Parser<'a> {
    fn fail<T>(&self, message: impl Into<String>) -> Parse<T> {
        Err(Fault { at: self.at, message: message.into() })
    }

    fn text(&self, lexeme: Lexeme) -> &'a str {
        &self.source.text[lexeme.start..lexeme.end]
    }

    fn next(&mut self) -> Parse<Lexeme> {
        let lexeme = match self.ahead.pop() {
            Some(lexeme) => lexeme,
            None => self.lexer.lexeme()?,
        };
        self.at = lexeme.start;
        Ok(lexeme)
    }

    fn back(&mut self, lexeme: Lexeme) {
        self.ahead.push(lexeme);
    }

    fn peek(&mut self) -> Parse<Lexeme> {
        let lexeme = self.next()?;
        self.back(lexeme);
        Ok(lexeme)
    }

    fn next_word(&mut self) -> Parse<Lexeme> {
        loop {
            let lexeme = self.next()?;
            if lexeme.token != Token::Space {
                return Ok(lexeme);
            }
        }
    }

    fn peek_word(&mut self) -> Parse<Lexeme> {
        let lexeme = self.next_word()?;
        self.back(lexeme);
        Ok(lexeme)
    }

    fn unexpected<T>(&mut self, lexeme: Lexeme, context: &str) -> Parse<T> {
        self.at = lexeme.start;
        let shown: String = match lexeme.token {
            Token::Eof => "EOF".to_owned(),
            Token::Keyword(_) => format!("<{}>", self.text(lexeme)),
            _ => format!("{:?}", self.text(lexeme).chars().take(10).collect::<String>()),
        };
        self.fail(format!("unexpected {shown} in {context}"))
    }

    fn deeper<T>(&mut self, run: impl FnOnce(&mut Self) -> Parse<T>) -> Parse<T> {
        if self.depth >= DEPTH {
            return self.fail("max expression depth exceeded");
        }
        self.depth += 1;
        let done = run(self);
        self.depth -= 1;
        done
    }

    fn add(&mut self, name: Rc<str>, root: Vec<Node>) -> Parse<()> {
        let template = Rc::new(Template { name: name.clone(), source: self.source.clone(), root: root.into() });
        match self.found.get(&name).copied() {
            Some(place) if !self.order[place].is_empty() => {
                if !template.is_empty() {
                    return self.fail(format!("multiple definition of template {name:?}"));
                }
            }
            Some(place) => self.order[place] = template,
            None => {
                self.found.insert(name, self.order.len());
                self.order.push(template);
            }
        }
        Ok(())
    }

    fn file(&mut self) -> Parse<Parsed> {
        let mut root = Vec::new();
        loop {
            let lexeme = self.peek()?;
            match lexeme.token {
                Token::Eof => break,
                Token::LeftDelim => {
                    let delim = self.next()?;
                    let word = self.next_word()?;
                    if word.token == Token::Keyword(Keyword::Define) {
                        self.define()?;
                        continue;
                    }
                    self.back(word);
                    self.back(delim);
                }
                _ => {}
            }
            match self.node()? {
                Ok(node) => root.push(node),
                Err(Closed::End) => return self.fail("unexpected {{end}}"),
                Err(Closed::Else) => return self.fail("unexpected {{else}}"),
            }
        }
        let name = self.source.name.clone();
        self.add(name.clone(), root)?;
        let mut order = std::mem::take(&mut self.order);
        if let Some(place) = order.iter().position(|template| template.name == name) {
            order[..=place].rotate_right(1);
        }
        Ok(order)
    }

    fn fresh<T>(&mut self, run: impl FnOnce(&mut Self) -> Parse<T>) -> Parse<T> {
        let vars = std::mem::replace(&mut self.vars, vec!["$".into()]);
        let loops = std::mem::take(&mut self.loops);
        let done = run(self);
        (self.vars, self.loops) = (vars, loops);
        done
    }

    fn define(&mut self) -> Parse<()> {
        const CONTEXT: &str = "define clause";
        let name = self.next_word()?;
        let name = self.template_name(name, CONTEXT)?;
        let close = self.next_word()?;
        if close.token != Token::RightDelim {
            return self.unexpected(close, CONTEXT);
        }
        let (root, closed) = self.fresh(Self::list)?;
        if let Closed::Else = closed {
            return self.fail("unexpected {{else}} in define clause");
        }
        self.add(name, root)
    }

    fn list(&mut self) -> Parse<(Vec<Node>, Closed)> {
        let mut nodes = Vec::new();
        loop {
            if self.peek_word()?.token == Token::Eof {
                return self.fail("unexpected EOF");
            }
            match self.node()? {
                Ok(node) => nodes.push(node),
                Err(closed) => return Ok((nodes, closed)),
            }
        }
    }

    fn node(&mut self) -> Parse<Result<Node, Closed>> {
        let lexeme = self.next_word()?;
        match lexeme.token {
            Token::Text => Ok(Ok(Node::Text(lexeme.start as Pos, (lexeme.end - lexeme.start) as u32))),
            Token::LeftDelim => self.deeper(Self::action),
            _ => self.unexpected(lexeme, "input"),
        }
    }

    fn action(&mut self) -> Parse<Result<Node, Closed>> {
        let lexeme = self.next_word()?;
        let Token::Keyword(keyword) = lexeme.token else {
            self.back(lexeme);
            return Ok(Ok(Node::Action(self.pipeline("command", Token::RightDelim)?)));
        };
        match keyword {
            Keyword::Block => self.block().map(Ok),
            Keyword::Break | Keyword::Continue => {
                let name = self.text(lexeme);
                let close = self.next_word()?;
                if close.token != Token::RightDelim {
                    return self.unexpected(close, &format!("{{{{{name}}}}}"));
                }
                if self.loops == 0 {
                    return self.fail(format!("{{{{{name}}}}} outside {{{{range}}}}"));
                }
                Ok(Ok(if keyword == Keyword::Break { Node::Break } else { Node::Continue }))
            }
            Keyword::Else => {
                let next = self.peek_word()?;
                if !matches!(next.token, Token::Keyword(Keyword::If | Keyword::With)) {
                    let close = self.next_word()?;
                    if close.token != Token::RightDelim {
                        return self.unexpected(close, "else");
                    }
                }
                Ok(Err(Closed::Else))
            }
            Keyword::End => {
                let close = self.next_word()?;
                if close.token != Token::RightDelim {
                    return self.unexpected(close, "end");
                }
                Ok(Err(Closed::End))
            }
            Keyword::If => self.control("if").map(|branch| Ok(Node::If(branch))),
            Keyword::With => self.control("with").map(|branch| Ok(Node::With(branch))),
            Keyword::Range => self.control("range").map(|branch| Ok(Node::Range(branch))),
            Keyword::Template => self.call().map(Ok),
            Keyword::Nil => {
                self.back(lexeme);
                Ok(Ok(Node::Action(self.pipeline("command", Token::RightDelim)?)))
            }
            Keyword::Define => self.unexpected(lexeme, "command"),
        }
    }

    fn control(&mut self, context: &'static str) -> Parse<Branch> {
        let mark = self.vars.len();
        let pipe = self.pipeline(context, Token::RightDelim)?;
        let looping = usize::from(context == "range");
        self.loops += looping;
        let body = self.list();
        self.loops -= looping;
        let (then, closed) = body?;
        let mut otherwise = Vec::new();
        if let Closed::Else = closed {
            let next = self.peek()?;
            match (context, next.token) {
                ("if", Token::Keyword(Keyword::If)) => {
                    self.next()?;
                    otherwise.push(Node::If(self.deeper(|parser| parser.control("if"))?));
                }
                ("with", Token::Keyword(Keyword::With)) => {
                    self.next()?;
                    otherwise.push(Node::With(self.deeper(|parser| parser.control("with"))?));
                }
                _ => {
                    let (nodes, closed) = self.list()?;
                    if let Closed::Else = closed {
                        return self.fail("expected end; found {{else}}");
                    }
                    otherwise = nodes;
                    if otherwise.is_empty() {
                        // An else without a body still is one.
                        otherwise.push(Node::Text(0, 0));
                    }
                }
            }
        }
        self.vars.truncate(mark);
        Ok(Branch { pipe, then, otherwise })
    }

    fn template_name(&mut self, lexeme: Lexeme, context: &str) -> Parse<Rc<str>> {
        match lexeme.token {
            Token::String | Token::RawString => match unquote(self.text(lexeme)) {
                Some(name) => Ok(String::from_utf8_lossy(&name).into()),
                None => self.fail("invalid syntax"),
            },
            _ => self.unexpected(lexeme, context),
        }
    }

    fn block(&mut self) -> Parse<Node> {
        const CONTEXT: &str = "block clause";
        let lexeme = self.next_word()?;
        let name = self.template_name(lexeme, CONTEXT)?;
        let pipe = self.pipeline(CONTEXT, Token::RightDelim)?;
        let (root, closed) = self.fresh(Self::list)?;
        if let Closed::Else = closed {
            return self.fail("unexpected {{else}} in block clause");
        }
        self.add(name.clone(), root)?;
        Ok(Node::Template { pos: lexeme.start as Pos, name, data: Some(pipe) })
    }

    fn call(&mut self) -> Parse<Node> {
        const CONTEXT: &str = "template clause";
        let lexeme = self.next_word()?;
        let name = self.template_name(lexeme, CONTEXT)?;
        let next = self.next_word()?;
        let data = if next.token == Token::RightDelim {
            None
        } else {
            self.back(next);
            Some(self.pipeline(CONTEXT, Token::RightDelim)?)
        };
        Ok(Node::Template { pos: lexeme.start as Pos, name, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renaming_is_parsing_again_under_another_name() {
        let text =
            "{{/* x */}}{{- define \"lib.name\" -}}{{ .Values.a | default \"b\" }}{{- end }}\n{{ $x := 1 }}{{ $x }}";
        let renamed = renamed(&parse("one/a.tpl", text).unwrap(), "two/a.tpl").unwrap();
        assert_eq!(format!("{renamed:?}"), format!("{:?}", parse("two/a.tpl", text).unwrap()));
        assert_eq!(&*renamed[0].source.name, "two/a.tpl");
    }

    #[test]
    fn a_text_that_speaks_of_a_name_is_parsed_again() {
        let parsed = parse("one", "{{ define \"two\" }}x{{ end }}").unwrap();
        assert!(renamed(&parsed, "two").is_none());
        assert!(renamed(&parsed, "three").is_some());
        assert!(renamed(&parse("one", "{{ define \"one\" }}x{{ end }}").unwrap(), "three").is_none());
    }
}
