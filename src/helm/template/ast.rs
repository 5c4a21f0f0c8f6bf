//! The syntax tree of a template.
//!
//! # Invariants
//! - Every expression knows the byte offset in its file that Go's messages would name.
//! - Every function is resolved: an unknown name never gets past the parser.

use std::{fmt, rc::Rc};

use super::value::Value;
use crate::helm::funcs::Func;

/// A byte offset in the template's file.
pub type Pos = u32;

/// A piece of a template.
#[derive(Debug)]
pub enum Node {
    /// Text that is written as it is: where it stands in the file, and how many bytes it has.
    Text(Pos, u32),
    /// A pipeline whose result is written unless it declares variables.
    Action(Pipe),
    /// A condition.
    If(Branch),
    /// A condition that becomes the dot.
    With(Branch),
    /// A loop.
    Range(Branch),
    /// A call of a named template.
    Template {
        /// Where.
        pos: Pos,
        /// The name.
        name: Rc<str>,
        /// What becomes the dot.
        data: Option<Pipe>,
    },
    /// Leaves the innermost loop.
    Break,
    /// Goes on with the innermost loop.
    Continue,
}

/// A control structure with two bodies.
#[derive(Debug)]
pub struct Branch {
    /// What is decided on or looped over.
    pub pipe: Pipe,
    /// The body.
    pub then: Vec<Node>,
    /// The other body; empty when there is none.
    pub otherwise: Vec<Node>,
}

/// Commands whose results feed each other.
#[derive(Debug)]
pub struct Pipe {
    /// Where it starts.
    pub pos: Pos,
    /// The variables it sets.
    pub decl: Vec<Rc<str>>,
    /// Whether they exist already.
    pub assign: bool,
    /// The commands.
    pub cmds: Vec<Command>,
}

/// An operand with its arguments.
#[derive(Debug)]
pub struct Command {
    /// The operand and the arguments; never empty.
    pub args: Vec<Expr>,
}

/// An operand.
#[derive(Debug)]
pub enum Expr {
    /// `.`
    Dot(Pos),
    /// `nil`
    Nil(Pos),
    /// `true`, `false`
    Bool(Pos, bool),
    /// A number.
    Number(Pos, Number),
    /// A string, with its text as written.
    Str(Pos, Value, Rc<str>),
    /// `.a.b`
    Field(Pos, Vec<Rc<str>>),
    /// `$x.a.b`
    Variable(Pos, Rc<str>, Vec<Rc<str>>),
    /// A function.
    Func(Pos, &'static Func),
    /// `(...)`
    Pipe(Box<Pipe>),
    /// `(...).a.b`
    Chain(Pos, Box<Expr>, Vec<Rc<str>>),
}

/// A number as Go's parser keeps it: in every type it fits.
#[derive(Clone, Debug)]
pub struct Number {
    /// As written.
    pub text: Rc<str>,
    /// The integer, when it is one.
    pub int: Option<i64>,
    /// The value as a float.
    pub float: f64,
    /// Whether an untyped place sees a float.
    pub is_float: bool,
    /// The real and the imaginary part, which an untyped place sees when the literal has an `i`.
    pub complex: Option<(f64, f64)>,
}

impl Expr {
    /// Returns where the expression starts.
    pub fn pos(&self) -> Pos {
        match self {
            Expr::Dot(pos)
            | Expr::Nil(pos)
            | Expr::Bool(pos, _)
            | Expr::Number(pos, _)
            | Expr::Str(pos, ..)
            | Expr::Field(pos, _)
            | Expr::Variable(pos, ..)
            | Expr::Func(pos, _)
            | Expr::Chain(pos, ..) => *pos,
            Expr::Pipe(pipe) => pipe.pos,
        }
    }
}

/// Writes at most this much of a node into a message: enough to name any value.
const SHOWN: usize = 200;

struct Bounded<'a, 'b> {
    out: &'a mut fmt::Formatter<'b>,
    left: usize,
}

impl fmt::Write for Bounded<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.len() > self.left {
            return Err(fmt::Error);
        }
        self.left -= text.len();
        self.out.write_str(text)
    }
}

fn fields(out: &mut dyn fmt::Write, fields: &[Rc<str>]) -> fmt::Result {
    fields.iter().try_for_each(|field| write!(out, ".{field}"))
}

fn expr(out: &mut dyn fmt::Write, node: &Expr) -> fmt::Result {
    match node {
        Expr::Dot(_) => out.write_str("."),
        Expr::Nil(_) => out.write_str("nil"),
        Expr::Bool(_, truth) => write!(out, "{truth}"),
        Expr::Number(_, number) => out.write_str(&number.text),
        Expr::Str(_, _, written) => out.write_str(written),
        Expr::Field(_, names) => fields(out, names),
        Expr::Variable(_, name, names) => {
            out.write_str(name)?;
            fields(out, names)
        }
        Expr::Func(_, func) => out.write_str(func.name),
        Expr::Pipe(inner) => {
            out.write_str("(")?;
            pipe(out, inner)?;
            out.write_str(")")
        }
        Expr::Chain(_, base, names) => {
            if let Expr::Pipe(inner) = &**base {
                out.write_str("(")?;
                pipe(out, inner)?;
                out.write_str(")")?;
            } else {
                expr(out, base)?;
            }
            fields(out, names)
        }
    }
}

fn pipe(out: &mut dyn fmt::Write, node: &Pipe) -> fmt::Result {
    for (i, name) in node.decl.iter().enumerate() {
        write!(out, "{}{name}", if i > 0 { ", " } else { "" })?;
    }
    if !node.decl.is_empty() {
        out.write_str(if node.assign { " = " } else { " := " })?;
    }
    for (i, command) in node.cmds.iter().enumerate() {
        if i > 0 {
            out.write_str(" | ")?;
        }
        for (i, arg) in command.args.iter().enumerate() {
            if i > 0 {
                out.write_str(" ")?;
            }
            expr(out, arg)?;
        }
    }
    Ok(())
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _cut = expr(&mut Bounded { out: f, left: SHOWN }, self);
        Ok(())
    }
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _cut = pipe(&mut Bounded { out: f, left: SHOWN }, self);
        Ok(())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, arg) in self.args.iter().enumerate() {
            write!(f, "{}{arg}", if i > 0 { " " } else { "" })?;
        }
        Ok(())
    }
}
