//! Evaluates templates with the rules of Go's `text/template` and helm's functions on top.
//!
//! # Invariants
//! - Nothing outside the values, the templates and the [`Ambient`] is ever seen: no file, no network, no environment.
//! - Work, output and nesting are bounded by [`Limits`]; whatever the template says, evaluation ends.
//!
//! # Failure
//! An [`ExecError`] with the place, Go's words and the include chain.

use std::{collections::HashMap, rc::Rc};

use super::{
    ast::{Branch, Command, Expr, Node, Number, Pipe, Pos},
    error::{CallError, ExecError, Limit, Site},
    gofmt, methods,
    parser::{self, Parsed, Template},
    value::{DictKind, Elem, IntKind, Str, Value},
};
use crate::helm::{
    Ambient, Limits,
    funcs::{Args, Func, Param, Run},
};

/// Go's limit for templates that include themselves, in helm's engine: a name may be open this often.
const INCLUDES: usize = 1000;

/// Bytes of text that count as one step of work.
/// All text that the steps of a chart pay for together is less than a gigabyte.
const BYTES_PER_STEP: usize = 16;

/// Holds the templates that names resolve to; a child sees its parent's.
#[derive(Debug, Default)]
pub struct Templates {
    own: HashMap<Rc<str>, Rc<Template>>,
    parent: Option<Rc<Templates>>,
}

impl Templates {
    /// Adds what a file holds; a later definition replaces an earlier one unless it is empty.
    pub fn add(&mut self, parsed: &Parsed) {
        for template in parsed {
            if template.is_empty() && self.get(&template.name).is_some() {
                continue;
            }
            self.own.insert(template.name.clone(), template.clone());
        }
    }

    /// Looks up a template.
    pub fn get(&self, name: &str) -> Option<&Rc<Template>> {
        self.own.get(name).or_else(|| self.parent.as_ref()?.get(name))
    }
}

/// Tells from where in the file a part of the output came.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Where the part begins in the output.
    pub out: u32,
    /// The offset in the file.
    pub from: Pos,
    /// Whether it is text of the file; an action's result otherwise.
    pub text: bool,
}

/// Tells where each part of an output came from, in order.
pub type Trail = Vec<Step>;

struct Frame<'t> {
    template: &'t Template,
    vars: Vec<(Rc<str>, Value)>,
    trail: Option<Trail>,
}

enum Flow {
    On,
    Break,
    Continue,
}

type Eval<T> = Result<T, Box<ExecError>>;

impl Frame<'_> {
    fn site(&self, pos: Pos, code: &dyn std::fmt::Display) -> Site {
        let source = &self.template.source;
        let (line, column) = source.place(pos);
        let full = code.to_string();
        let code = match full.char_indices().nth(20) {
            Some((cut, _)) => format!("{}...", &full[..cut]),
            None => full.clone(),
        };
        let (file, template) = (source.name.to_string(), self.template.name.to_string());
        Site { file, line, column, template, code, expression: full, text: source.line_text(pos) }
    }

    fn fail<T>(&self, pos: Pos, code: &dyn std::fmt::Display, message: impl Into<String>) -> Eval<T> {
        Err(Box::new(ExecError::new(self.site(pos, code), message)))
    }

    fn call_failed(&self, pos: Pos, code: &dyn std::fmt::Display, function: &str, error: CallError) -> Box<ExecError> {
        Box::new(ExecError::call(self.site(pos, code), function, error))
    }

    fn limit<T>(&self, pos: Pos, code: &dyn std::fmt::Display, limit: Limit) -> Eval<T> {
        Err(self.call_failed(pos, code, "template", CallError::Limit(limit)))
    }

    fn set(&mut self, name: &str, value: Value) -> bool {
        match self.vars.iter_mut().rev().find(|(known, _)| &**known == name) {
            Some((_, place)) => {
                *place = value;
                true
            }
            None => false,
        }
    }
}

/// Evaluates templates of one chart.
pub struct Interp<'e> {
    /// What enters from outside.
    pub ambient: &'e Ambient,
    /// The bounds.
    pub limits: &'e Limits,
    /// Patterns that were compiled already.
    pub patterns: HashMap<Str, Rc<regex::bytes::Regex>>,
    /// The name of the variable that every template starts with.
    dollar: Rc<str>,
    templates: Rc<Templates>,
    parsed: HashMap<Str, Rc<Parsed>>,
    included: HashMap<Rc<str>, usize>,
    nesting: usize,
    steps: u64,
    serial: u64,
}

impl<'e> Interp<'e> {
    /// Makes an evaluator over a set of templates.
    pub fn new(templates: Templates, ambient: &'e Ambient, limits: &'e Limits) -> Self {
        Interp {
            ambient,
            limits,
            patterns: HashMap::new(),
            dollar: "$".into(),
            templates: Rc::new(templates),
            parsed: HashMap::new(),
            included: HashMap::new(),
            nesting: 0,
            steps: 0,
            serial: 0,
        }
    }

    /// Returns random bytes of the ambient's stream.
    pub fn random(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(32) {
            self.serial += 1;
            let mut input = self.ambient.random.to_vec();
            input.extend_from_slice(&self.serial.to_le_bytes());
            if let crate::oci::Digest::Sha256(digest) = crate::oci::Digest::sha256(&input) {
                chunk.copy_from_slice(&digest[..chunk.len()]);
            }
        }
    }

    /// Returns how much work was done so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Counts work.
    ///
    /// # Errors
    /// [`Limit::Steps`] when there was too much.
    pub fn spend(&mut self, steps: u64) -> Result<(), Limit> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > self.limits.steps { Err(Limit::Steps(self.limits.steps)) } else { Ok(()) }
    }

    /// Checks the size of a text that is about to be made, and counts it as work.
    ///
    /// # Errors
    /// [`Limit::Output`] when it is too long.
    pub fn afford(&mut self, bytes: usize) -> Result<(), Limit> {
        if bytes > self.limits.output {
            return Err(Limit::Output(self.limits.output));
        }
        self.spend((bytes / BYTES_PER_STEP) as u64)
    }

    /// Runs the template of a file and returns its output, with the trail of where it came from.
    ///
    /// # Errors
    /// [`ExecError`] of the file's own frame, with everything below nested in it.
    pub fn file(&mut self, name: &str, data: Value) -> Result<(Vec<u8>, Trail), Box<ExecError>> {
        let template = self.templates.get(name).cloned();
        let Some(template) = template else { return Ok((Vec::new(), Vec::new())) };
        self.included.clear();
        let mut out = Vec::new();
        let mut frame =
            Frame { template: &template, vars: vec![(self.dollar.clone(), data.clone())], trail: Some(Vec::new()) };
        self.nodes(&mut frame, &data, &template.root, &mut out)?;
        Ok((out, frame.trail.unwrap_or_default()))
    }

    fn nested<T>(&mut self, run: impl FnOnce(&mut Self) -> Result<T, CallError>) -> Result<T, CallError> {
        if self.nesting >= self.limits.nesting {
            return Err(CallError::Limit(Limit::Nesting(self.limits.nesting)));
        }
        self.nesting += 1;
        let done = run(self);
        self.nesting -= 1;
        done
    }

    fn run(&mut self, template: &Rc<Template>, data: Value) -> Result<Vec<u8>, CallError> {
        let data = data.settled();
        let mut out = Vec::new();
        let mut frame = Frame { template, vars: vec![(self.dollar.clone(), data.clone())], trail: None };
        self.nested(|interp| {
            interp.nodes(&mut frame, &data, &template.root, &mut out).map_err(CallError::Exec)?;
            Ok(())
        })?;
        Ok(out)
    }

    /// Runs a named template, as helm's `include`.
    ///
    /// # Errors
    /// [`CallError`] when there is none, when it fails, or when it includes itself without end.
    pub fn include(&mut self, name: &[u8], data: Value) -> Result<Value, CallError> {
        let name = String::from_utf8_lossy(name);
        let Some(template) = self.templates.get(&name).cloned() else {
            return Err(CallError::function(format!(
                "template: no template {name:?} associated with template \"gotpl\""
            )));
        };
        let open = self.included.entry(template.name.clone()).or_insert(0);
        if *open > INCLUDES {
            return Err(CallError::function(format!(
                "rendering template has a nested reference name: {name}: unable to execute template"
            )));
        }
        *open += 1;
        let done = self.run(&template, data);
        if let Some(open) = self.included.get_mut(&template.name) {
            *open -= 1;
        }
        Ok(Value::str(done?))
    }

    /// Evaluates a text as a template, as helm's `tpl`.
    ///
    /// # Errors
    /// [`CallError`] when it is no template or fails.
    pub fn tpl(&mut self, text: &Str, data: Value) -> Result<Value, CallError> {
        if memchr::memmem::find(text.bytes(), b"{{").is_none() {
            return Ok(Value::str(without_no_value(text.bytes().to_vec())));
        }
        self.spend((text.len() / 8) as u64)?;
        let parsed = match self.parsed.get(text) {
            Some(parsed) => parsed.clone(),
            None => {
                let parsed = parser::parse("gotpl", &text.text())
                    .map_err(|error| CallError::Parse { text: text.text().chars().take(200).collect(), error })?;
                let parsed = Rc::new(parsed);
                // What is long or one of very many is not worth its memory.
                if text.len() <= 16 << 10 && self.parsed.len() < 4096 {
                    self.parsed.insert(text.clone(), parsed.clone());
                }
                parsed
            }
        };
        let Some(main) = parsed.first() else { return Ok(Value::str("")) };
        let outer = self.templates.clone();
        if parsed.len() > 1 {
            let mut inner = Templates { own: HashMap::new(), parent: Some(outer.clone()) };
            inner.add(&parsed);
            self.templates = Rc::new(inner);
        }
        let done = self.run(main, data);
        self.templates = outer;
        let out = done.map_err(|error| match error {
            CallError::Exec(inner) => CallError::Exec(inner),
            other => other,
        })?;
        Ok(Value::str(without_no_value(out)))
    }

    fn nodes(&mut self, frame: &mut Frame<'_>, dot: &Value, nodes: &[Node], out: &mut Vec<u8>) -> Eval<Flow> {
        for node in nodes {
            match self.node(frame, dot, node, out)? {
                Flow::On => {}
                flow => return Ok(flow),
            }
        }
        Ok(Flow::On)
    }

    fn write(&mut self, frame: &mut Frame<'_>, pos: Pos, text: &[u8], out: &mut Vec<u8>, plain: bool) -> Eval<()> {
        if let Some(trail) = &mut frame.trail {
            trail.push(Step { out: out.len() as u32, from: pos, text: plain });
        }
        out.extend_from_slice(text);
        if out.len() > self.limits.output {
            return frame.limit(pos, &"output", Limit::Output(self.limits.output));
        }
        Ok(())
    }

    fn node(&mut self, frame: &mut Frame<'_>, dot: &Value, node: &Node, out: &mut Vec<u8>) -> Eval<Flow> {
        if let Err(limit) = self.spend(1) {
            return frame.limit(0, &"...", limit);
        }
        match node {
            Node::Text(pos, len) => {
                let source = &frame.template.source;
                self.write(frame, *pos, source.piece(*pos, *len).as_bytes(), out, true)?;
            }
            Node::Action(pipe) => {
                let value = self.pipe(frame, dot, pipe)?;
                if pipe.decl.is_empty() {
                    match &value {
                        Value::Str(text) => self.write(frame, pipe.pos, text.bytes(), out, false)?,
                        other => {
                            let text = gofmt::print_value(other)
                                .map_err(|limit| frame.call_failed(pipe.pos, pipe, "print", limit.into()))?;
                            self.write(frame, pipe.pos, &text, out, false)?;
                        }
                    }
                }
            }
            Node::If(branch) | Node::With(branch) => {
                let mark = frame.vars.len();
                let value = self.pipe(frame, dot, &branch.pipe)?;
                let flow = if value.truth() {
                    let dot = if matches!(node, Node::With(_)) { &value } else { dot };
                    self.nodes(frame, dot, &branch.then, out)
                } else {
                    self.nodes(frame, dot, &branch.otherwise, out)
                };
                frame.vars.truncate(mark);
                return flow;
            }
            Node::Range(branch) => {
                let mark = frame.vars.len();
                let flow = self.range(frame, dot, branch, out);
                frame.vars.truncate(mark);
                return flow;
            }
            Node::Template { pos, name, data } => {
                let Some(template) = self.templates.get(name).cloned() else {
                    return frame.fail(*pos, &format!("{name:?}"), format!("template {name:?} not defined"));
                };
                let data = match data {
                    Some(pipe) => self.pipe(frame, dot, pipe)?,
                    None => Value::Missing,
                };
                let mut inner =
                    Frame { template: &template, vars: vec![(self.dollar.clone(), data.clone())], trail: None };
                if let Some(trail) = &mut frame.trail {
                    trail.push(Step { out: out.len() as u32, from: *pos, text: false });
                }
                self.nested(|interp| {
                    interp.nodes(&mut inner, &data, &template.root, out).map_err(CallError::Exec)?;
                    Ok(())
                })
                .map_err(|error| match error {
                    // Go reports the inner template's place; the call is kept as a link of the chain.
                    error @ CallError::Exec(_) => {
                        frame.call_failed(*pos, &format!("template {name:?}"), "template", error)
                    }
                    error => frame.call_failed(*pos, &format!("template {name:?}"), "template", error),
                })?;
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn range(&mut self, frame: &mut Frame<'_>, dot: &Value, branch: &Branch, out: &mut Vec<u8>) -> Eval<Flow> {
        let pipe = &branch.pipe;
        let value = self.pipe(frame, dot, pipe)?;
        let mark = frame.vars.len();
        let mut ran = false;
        macro_rules! each {
            ($index:expr, $elem:expr) => {{
                ran = true;
                let (index, elem): (Value, Value) = ($index, $elem);
                if let Err(limit) = self.spend(1) {
                    return frame.limit(pipe.pos, pipe, limit);
                }
                match (pipe.decl.len(), pipe.assign) {
                    (0, _) => {}
                    (1, true) => {
                        frame.set(&pipe.decl[0], elem.clone());
                    }
                    (_, true) => {
                        frame.set(&pipe.decl[0], index);
                        frame.set(&pipe.decl[1], elem.clone());
                    }
                    (1, false) => frame.vars[mark - 1].1 = elem.clone(),
                    (_, false) => {
                        frame.vars[mark - 1].1 = elem.clone();
                        frame.vars[mark - 2].1 = index;
                    }
                }
                let flow = self.nodes(frame, &elem, &branch.then, out)?;
                frame.vars.truncate(mark);
                if let Flow::Break = flow {
                    break;
                }
            }};
        }
        match &value {
            Value::Missing | Value::Nil => {}
            Value::Int(kind, count) => {
                if pipe.decl.len() > 1 {
                    return frame.fail(
                        pipe.pos,
                        pipe,
                        format!("can't use {count} to iterate over more than one variable"),
                    );
                }
                for number in 0..*count {
                    each!(Value::Missing, Value::Int(*kind, number));
                }
            }
            Value::List(list) => {
                for (i, item) in list.items.iter().enumerate() {
                    each!(Value::int(i as i64), item.clone());
                }
            }
            Value::Bytes(bytes) => {
                for (i, byte) in bytes.bytes().iter().enumerate() {
                    each!(Value::int(i as i64), Value::Int(IntKind::Uint8, i64::from(*byte)));
                }
            }
            Value::Dict(map) => {
                for (key, item) in map.snapshot() {
                    each!(Value::Str(key), item);
                }
            }
            other => {
                let shown = gofmt::sprint(other).unwrap_or_default();
                let shown = String::from_utf8_lossy(&shown).into_owned();
                return frame.fail(pipe.pos, pipe, format!("range can't iterate over {shown}"));
            }
        }
        if ran { Ok(Flow::On) } else { self.nodes(frame, dot, &branch.otherwise, out) }
    }

    fn pipe(&mut self, frame: &mut Frame<'_>, dot: &Value, pipe: &Pipe) -> Eval<Value> {
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
        return Ok(Value::object(super::object::Object::Complex(real, imaginary)));
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

/// Removes `<no value>`, which Go prints for what is missing and helm takes out again.
pub fn without_no_value(text: Vec<u8>) -> Vec<u8> {
    const MARK: &[u8] = b"<no value>";
    let find = |text: &[u8]| memchr::memmem::find(text, MARK);
    let Some(mut at) = find(&text) else { return text };
    let mut kept = Vec::with_capacity(text.len());
    let mut rest = &text[..];
    loop {
        kept.extend_from_slice(&rest[..at]);
        rest = &rest[at + MARK.len()..];
        match find(rest) {
            Some(next) => at = next,
            None => break,
        }
    }
    kept.extend_from_slice(rest);
    kept
}
