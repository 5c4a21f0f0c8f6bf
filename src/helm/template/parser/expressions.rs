//! Pipelines: declarations, commands, operands and literals.

use std::rc::Rc;

use super::{
    super::{
        ast::{Command, Expr, Number, Pipe, Pos},
        lexer::{Keyword, Lexeme, Token},
        number::{parse_number, unquote, unquote_char},
        value::Value,
    },
    Parse, Parser,
};
use crate::helm::funcs;

impl Parser<'_> {
    fn declare(&mut self, lexeme: Lexeme, pipe: &mut Pipe) {
        let name: Rc<str> = self.text(lexeme).into();
        self.vars.push(name.clone());
        pipe.decl.push(name);
    }

    pub(super) fn pipeline(&mut self, context: &str, end: Token) -> Parse<Pipe> {
        let first = self.peek_word()?;
        let mut pipe = Pipe { pos: first.start as Pos, decl: Vec::new(), assign: false, cmds: Vec::new() };
        loop {
            let variable = self.peek_word()?;
            if variable.token != Token::Variable {
                break;
            }
            let variable = self.next_word()?;
            let after = self.next()?;
            let next = if after.token == Token::Space { self.next_word()? } else { after };
            match next.token {
                Token::Assign | Token::Declare => {
                    pipe.assign = next.token == Token::Assign;
                    self.declare(variable, &mut pipe);
                    break;
                }
                Token::Char if self.text(next) == "," => {
                    self.declare(variable, &mut pipe);
                    if context == "range" && pipe.decl.len() < 2 {
                        match self.peek_word()?.token {
                            Token::Variable | Token::RightDelim | Token::RightParen => continue,
                            _ => return self.fail("range can only initialize variables"),
                        }
                    }
                    return self.fail(format!("too many declarations in {context}"));
                }
                _ => {
                    self.back(next);
                    if after.token == Token::Space {
                        self.back(after);
                    }
                    self.back(variable);
                    break;
                }
            }
        }
        loop {
            let lexeme = self.next_word()?;
            match lexeme.token {
                token if token == end => {
                    self.check(&pipe, context)?;
                    return Ok(pipe);
                }
                Token::Bool
                | Token::CharConstant
                | Token::Dot
                | Token::Field
                | Token::Identifier
                | Token::Number
                | Token::Keyword(Keyword::Nil)
                | Token::RawString
                | Token::String
                | Token::Variable
                | Token::LeftParen => {
                    self.back(lexeme);
                    let command = self.command()?;
                    pipe.cmds.push(command);
                }
                _ => return self.unexpected(lexeme, context),
            }
        }
    }

    fn check(&mut self, pipe: &Pipe, context: &str) -> Parse<()> {
        if pipe.cmds.is_empty() {
            return self.fail(format!("missing value for {context}"));
        }
        for (i, command) in pipe.cmds.iter().enumerate().skip(1) {
            if let Expr::Bool(..) | Expr::Dot(_) | Expr::Nil(_) | Expr::Number(..) | Expr::Str(..) = command.args[0] {
                return self.fail(format!("non executable command in pipeline stage {}", i + 1));
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Parse<Command> {
        let mut args = Vec::new();
        loop {
            self.peek_word()?;
            if let Some(operand) = self.operand()? {
                args.push(operand);
            }
            let lexeme = self.next()?;
            match lexeme.token {
                Token::Space => continue,
                Token::RightDelim | Token::RightParen => self.back(lexeme),
                Token::Pipe => {}
                _ => return self.unexpected(lexeme, "operand"),
            }
            break;
        }
        if args.is_empty() {
            return self.fail("empty command");
        }
        Ok(Command { args })
    }

    fn operand(&mut self) -> Parse<Option<Expr>> {
        let Some(term) = self.term()? else { return Ok(None) };
        let first = self.peek()?;
        if first.token != Token::Field {
            return Ok(Some(term));
        }
        let mut more: Vec<Rc<str>> = Vec::new();
        while self.peek()?.token == Token::Field {
            let field = self.next()?;
            more.push(self.text(field)[1..].into());
        }
        let at = first.start as Pos;
        Ok(Some(match term {
            Expr::Field(_, mut names) => {
                names.append(&mut more);
                Expr::Field(at, names)
            }
            Expr::Variable(_, name, mut names) => {
                names.append(&mut more);
                Expr::Variable(at, name, names)
            }
            Expr::Bool(..) | Expr::Str(..) | Expr::Number(..) | Expr::Nil(_) | Expr::Dot(_) => {
                return self.fail(format!("unexpected . after term {:?}", term.to_string()));
            }
            other => Expr::Chain(at, Box::new(other), more),
        }))
    }

    fn term(&mut self) -> Parse<Option<Expr>> {
        let lexeme = self.next_word()?;
        let pos = lexeme.start as Pos;
        let text = self.text(lexeme);
        Ok(Some(match lexeme.token {
            Token::Identifier => match funcs::find(text) {
                Some(func) => Expr::Func(pos, func),
                None => return self.fail(format!("function {text:?} not defined")),
            },
            Token::Dot => Expr::Dot(pos),
            Token::Keyword(Keyword::Nil) => Expr::Nil(pos),
            Token::Variable => {
                let Some(name) = self.vars.iter().rev().find(|name| &***name == text) else {
                    return self.fail(format!("undefined variable {text:?}"));
                };
                Expr::Variable(pos, name.clone(), Vec::new())
            }
            Token::Field => Expr::Field(pos, vec![text[1..].into()]),
            Token::Bool => Expr::Bool(pos, text == "true"),
            Token::CharConstant => match unquote_char(text) {
                Some(c) => Expr::Number(
                    pos,
                    Number { text: text.into(), int: Some(c), float: c as f64, is_float: false, complex: None },
                ),
                None => return self.fail(format!("malformed character constant: {text}")),
            },
            Token::Number => match parse_number(text) {
                Ok(number) => Expr::Number(pos, number),
                Err(message) => return self.fail(message),
            },
            Token::LeftParen => {
                let pipe = self.deeper(|parser| parser.pipeline("parenthesized pipeline", Token::RightParen))?;
                Expr::Pipe(Box::new(pipe))
            }
            Token::String | Token::RawString => match unquote(text) {
                Some(bytes) => Expr::Str(pos, Value::str(bytes), text.into()),
                None => return self.fail("invalid syntax"),
            },
            _ => {
                self.back(lexeme);
                return Ok(None);
            }
        }))
    }
}
