//! Pipelines, commands and operands: fields, variables, functions and their arguments.

use std::rc::Rc;

use super::{
    super::{
        ast::{Command, Expr, Number, Pipe, Pos},
        methods, object,
        value::{DictKind, Elem, IntKind, Str, Value},
    },
    Eval, Frame, Interp,
};
use crate::helm::funcs::{Args, Func, Param, Run};

impl Interp<'_> {
    pub(super) fn pipe(&mut self, frame: &mut Frame<'_>, dot: &Value, pipe: &Pipe) -> Eval<Value> {
        let mut value: Option<Value> = None;
        for command in &pipe.cmds {
            value = Some(self.command(frame, dot, command, value)?.settled());
        }
        let value = value.unwrap_or(Value::Missing);
        for name in &pipe.decl {
            if pipe.assign {
                if !frame.set(name, value.clone()) {
                    return frame.fail(pipe.pos, pipe, format!("undefined variable: {name}"));
                }
            } else {
                frame.vars.push((name.clone(), value.clone()));
            }
        }
        Ok(value)
    }

    fn command(&mut self, frame: &mut Frame<'_>, dot: &Value, command: &Command, last: Option<Value>) -> Eval<Value> {
        let first = &command.args[0];
        let args = &command.args[1..];
        match first {
            Expr::Field(pos, names) => {
                return self.fields(frame, dot, dot.clone(), names, args, last, (*pos, first));
            }
            Expr::Chain(pos, base, names) => {
                let receiver = self.chain_base(frame, dot, base, *pos, first)?;
                return self.fields(frame, dot, receiver, names, args, last, (*pos, first));
            }
            Expr::Func(pos, func) => return self.call(frame, dot, func, args, last, (*pos, command)),
            Expr::Variable(pos, name, names) if !names.is_empty() => {
                let receiver = self.variable(frame, *pos, name)?;
                return self.fields(frame, dot, receiver, names, args, last, (*pos, first));
            }
            _ => {}
        }
        if !args.is_empty() || last.is_some() {
            return frame.fail(first.pos(), first, format!("can't give argument to non-function {first}"));
        }
        match first {
            Expr::Pipe(pipe) => self.pipe(frame, dot, pipe),
            Expr::Variable(pos, name, _) => self.variable(frame, *pos, name),
            Expr::Bool(_, truth) => Ok(Value::Bool(*truth)),
            Expr::Dot(_) => Ok(dot.clone()),
            Expr::Number(pos, number) => constant(frame, *pos, number),
            Expr::Str(_, value, _) => Ok(value.clone()),
            _ => frame.fail(first.pos(), first, "nil is not a command"),
        }
    }

    fn chain_base(&mut self, frame: &mut Frame<'_>, dot: &Value, base: &Expr, pos: Pos, whole: &Expr) -> Eval<Value> {
        match base {
            Expr::Nil(_) => frame.fail(pos, whole, format!("indirection through explicit nil in {whole}")),
            base => self.operand(frame, dot, base),
        }
    }

    fn variable(&mut self, frame: &mut Frame<'_>, pos: Pos, name: &Rc<str>) -> Eval<Value> {
        match frame.vars.iter().rev().find(|(known, _)| known == name) {
            Some((_, value)) => Ok(value.clone()),
            None => frame.fail(pos, name, format!("undefined variable: {name}")),
        }
    }

    /// Evaluates an operand that may stand anywhere; literals as an untyped place sees them.
    fn operand(&mut self, frame: &mut Frame<'_>, dot: &Value, expr: &Expr) -> Eval<Value> {
        match expr {
            Expr::Dot(_) => Ok(dot.clone()),
            Expr::Nil(_) => Ok(Value::Nil),
            Expr::Bool(_, truth) => Ok(Value::Bool(*truth)),
            Expr::Number(pos, number) => constant(frame, *pos, number),
            Expr::Str(_, value, _) => Ok(value.clone()),
            Expr::Field(pos, names) => self.fields(frame, dot, dot.clone(), names, &[], None, (*pos, expr)),
            Expr::Variable(pos, name, names) => {
                let value = self.variable(frame, *pos, name)?;
                if names.is_empty() {
                    return Ok(value);
                }
                self.fields(frame, dot, value, names, &[], None, (*pos, expr))
            }
            Expr::Func(pos, func) => self.call(frame, dot, func, &[], None, (*pos, expr)),
            Expr::Pipe(pipe) => self.pipe(frame, dot, pipe),
            Expr::Chain(pos, base, names) => {
                let receiver = self.chain_base(frame, dot, base, *pos, expr)?;
                self.fields(frame, dot, receiver, names, &[], None, (*pos, expr))
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "Go's evalFieldChain takes the same")]
    fn fields(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Value,
        mut receiver: Value,
        names: &[Rc<str>],
        args: &[Expr],
        last: Option<Value>,
        at: (Pos, &Expr),
    ) -> Eval<Value> {
        let Some((name, before)) = names.split_last() else { return Ok(receiver) };
        for name in before {
            receiver = self.field(frame, dot, name, &[], None, receiver, at)?;
        }
        self.field(frame, dot, name, args, last, receiver, at)
    }

    #[expect(clippy::too_many_arguments, reason = "Go's evalField takes the same")]
    fn field(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Value,
        name: &Rc<str>,
        args: &[Expr],
        last: Option<Value>,
        receiver: Value,
        (pos, expr): (Pos, &Expr),
    ) -> Eval<Value> {
        let method = match &receiver {
            Value::Missing => return Ok(Value::Missing),
            Value::Nil => {
                return frame.fail(pos, expr, format!("nil pointer evaluating interface {{}}.{name}"));
            }
            Value::Dict(map) => {
                let method = match map.kind() {
                    DictKind::Plain | DictKind::Nil | DictKind::Strings => false,
                    DictKind::Values => methods::of_values(name),
                    DictKind::Files => methods::of_files(name),
                };
                if !method {
                    if !args.is_empty() || last.is_some() {
                        return frame.fail(pos, expr, format!("{name} is not a method but has arguments"));
                    }
                    return Ok(map.get(name.as_bytes()).unwrap_or(match map.kind() {
                        DictKind::Strings => Value::str(""),
                        DictKind::Files => Value::Bytes(Str::from("")),
                        _ => Value::Nil,
                    }));
                }
                true
            }
            Value::Object(_) => true,
            Value::List(list) => list.elem == Elem::Versions && &**name == "Has",
            _ => false,
        };
        if method {
            let mut values = Vec::with_capacity(args.len() + 1);
            for arg in args {
                values.push(self.operand(frame, dot, arg)?);
            }
            values.extend(last);
            match methods::call(self, &receiver, name, &values) {
                Some(Ok(value)) => return Ok(value),
                Some(Err(error)) => return Err(frame.call_failed(pos, expr, name, error)),
                None => {}
            }
        }
        frame.fail(pos, expr, format!("can't evaluate field {name} in type {}", interface_name(&receiver)))
    }

    fn call(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Value,
        func: &'static Func,
        args: &[Expr],
        last: Option<Value>,
        (pos, code): (Pos, &dyn std::fmt::Display),
    ) -> Eval<Value> {
        if let Err(limit) = self.spend(1) {
            return frame.limit(pos, code, limit);
        }
        let count = args.len() + usize::from(last.is_some());
        let fixed = func.params.len();
        if func.variadic.is_some() && count < fixed {
            let message = format!("wrong number of args for {}: want at least {fixed} got {}", func.name, args.len());
            return frame.fail(pos, &func.name, message);
        }
        if func.variadic.is_none() && count != fixed {
            let message = format!("wrong number of args for {}: want {fixed} got {count}", func.name);
            return frame.fail(pos, &func.name, message);
        }
        let run = match func.run {
            Run::Until(stop) => {
                let mut value = Value::Missing;
                for arg in args {
                    value = self.argument(frame, dot, Param::Any, arg)?;
                    if value.truth() == stop {
                        return Ok(value);
                    }
                }
                return Ok(last.unwrap_or(value));
            }
            Run::With(run) => run,
        };
        let param = |i: usize| func.params.get(i).copied().or(func.variadic).unwrap_or(Param::Any);
        let mut values = Vec::with_capacity(count);
        for (i, arg) in args.iter().enumerate() {
            values.push(self.argument(frame, dot, param(i), arg)?);
        }
        if let Some(last) = last {
            let param = param(values.len());
            values.push(checked(frame, last, param, pos, code)?);
        }
        let done = run(self, Args(&values)).map_err(|error| frame.call_failed(pos, code, func.name, error))?;
        let size = match &done {
            Value::Str(text) | Value::Bytes(text) => text.len(),
            Value::List(list) => list.items.len() * 8,
            _ => 0,
        };
        match self.afford(size) {
            Ok(()) => Ok(done),
            Err(limit) => Err(frame.call_failed(pos, code, func.name, limit.into())),
        }
    }

    fn argument(&mut self, frame: &mut Frame<'_>, dot: &Value, param: Param, expr: &Expr) -> Eval<Value> {
        let pos = expr.pos();
        match (expr, param) {
            (Expr::Nil(_), param) if !param.takes_nil() => {
                frame.fail(pos, expr, format!("cannot assign nil to {}", param.name()))
            }
            (Expr::Nil(_), Param::Any) => Ok(Value::Nil),
            (Expr::Nil(_), _) => Ok(Value::Missing),
            (Expr::Bool(..) | Expr::Number(..) | Expr::Str(..), Param::Any) => self.operand(frame, dot, expr),
            (Expr::Str(_, value, _), Param::Str) => Ok(value.clone()),
            (Expr::Bool(_, truth), Param::Bool) => Ok(Value::Bool(*truth)),
            (Expr::Number(_, Number { int: Some(int), .. }), Param::Int) => Ok(Value::int(*int)),
            // Go cuts a constant to the type without a word.
            (Expr::Number(_, Number { int: Some(int @ 0..), .. }), Param::Uint32) => {
                Ok(Value::Int(IntKind::Uint32, *int & i64::from(u32::MAX)))
            }
            (Expr::Number(_, number), Param::Float) if number.complex.is_none_or(|(_, imaginary)| imaginary == 0.0) => {
                Ok(Value::Float(number.float))
            }
            (Expr::Bool(..) | Expr::Number(..) | Expr::Str(..), _) => {
                let message = match param {
                    Param::Str | Param::Bool => format!("expected {}; found {expr}", param.name()),
                    Param::Int => format!("expected integer; found {expr}"),
                    Param::Uint32 => format!("expected unsigned integer; found {expr}"),
                    Param::Float => format!("expected float; found {expr}"),
                    _ => format!("can't handle {expr} for arg of type {}", param.name()),
                };
                frame.fail(pos, expr, message)
            }
            _ => {
                let value = self.operand(frame, dot, expr)?;
                checked(frame, value, param, pos, expr)
            }
        }
    }
}

fn interface_name(value: &Value) -> &'static str {
    match value {
        // What came out of a map or list is an interface to Go until it is used.
        Value::Missing | Value::Nil => "interface {}",
        other => other.type_name(),
    }
}

fn constant(frame: &Frame<'_>, pos: Pos, number: &Number) -> Eval<Value> {
    if let Some((real, imaginary)) = number.complex {
        return Ok(Value::object(object::Object::Complex(real, imaginary)));
    }
    if number.is_float {
        return Ok(Value::Float(number.float));
    }
    match number.int {
        Some(int) => Ok(Value::int(int)),
        None => frame.fail(pos, &number.text, format!("{} overflows int", number.text)),
    }
}

fn checked(frame: &Frame<'_>, value: Value, param: Param, pos: Pos, code: &dyn std::fmt::Display) -> Eval<Value> {
    if param.accepts(&value) {
        return Ok(value);
    }
    let message = if matches!(value, Value::Missing) {
        format!("invalid value; expected {}", param.name())
    } else {
        format!("wrong type for value; expected {}; got {}", param.name(), interface_name(&value))
    };
    frame.fail(pos, code, message)
}
