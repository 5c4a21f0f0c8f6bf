//! Evaluates templates with the rules of Go's `text/template` and helm's functions on top.
//!
//! # Invariants
//! - Nothing outside the values, the templates and the [`Ambient`] is ever seen: no file, no network, no environment.
//! - Work, output and nesting are bounded by [`Limits`]; whatever the template says, evaluation ends.
//!
//! # Failure
//! An [`ExecError`] with the place, Go's words and the include chain.

mod expressions;

use std::{collections::HashMap, rc::Rc};

use super::{
    ast::{Branch, Node, Pos},
    error::{CallError, ExecError, Limit, Site},
    gofmt,
    parser::{self, Parsed, Template},
    value::{IntKind, Str, Value},
};
use crate::helm::{Ambient, Limits};

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
