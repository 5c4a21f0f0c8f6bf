//! Many renderings of one chart, and the values that could be another way.
//!
//! A chart says by its conditions what it can do: values that are `false` until somebody wants more, subcharts that are off,
//! words that templates compare values with. Each is a [`Switch`].
//!
//! # Invariants
//! - What the caller gives itself is decided: no switch names it.
//! - Switches come in the same order every time: by path.
//!
//! # Failure
//! [`Error`] as rendering; values with which nothing can be computed have no switches.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    rc::Rc,
};

use super::{
    Ambient, Limits,
    capabilities::Capabilities,
    chart::{Chart, satisfies},
    dependency::Live,
    error::Error,
    overrides::Overrides,
    render::{Given, Known, Options, Release, Rendered, on_large_stack, run},
    template::{
        ast::{Branch, Command, Expr, Node, Pipe},
        value::{Dict, Map, Value},
    },
    values::{coalesce_values, value_at},
};

/// How deep tables of values are searched; the deepest switch in known charts lies eight levels deep.
const DEPTH: usize = 24;

/// How many switches of one chart are listed: the largest known charts have about a thousand.
const SWITCHES: usize = 4000;

/// A value that could be another way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Switch {
    /// Its path, as `helm --set` reads it.
    pub path: String,
    /// What it would be, as JSON.
    json: String,
    /// What kind of switch it is.
    pub kind: Kind,
}

/// Kinds of switches, the ones that bring images most often first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It switches a subchart on.
    Subchart,
    /// A value called `enabled` or alike that is false.
    Enabled,
    /// Any other value that is false.
    Flag,
    /// A word that templates compare the value with.
    Word,
}

impl Switch {
    fn truth(path: String, kind: Kind) -> Switch {
        Switch { path, json: "true".to_owned(), kind }
    }

    /// Puts the value on top of others.
    pub fn apply(&self, values: Overrides) -> Overrides {
        values.set_json(format!("{}={}", self.path, self.json))
    }
}

/// As `helm --set` reads it.
impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.path, self.json.trim_matches('"'))
    }
}

/// Renders one chart again and again; templates are parsed once.
pub struct Session<'a> {
    given: Given<'a>,
    known: Known,
}

/// Does work with a [`Session`], on a thread with a large stack.
///
/// # Errors
/// [`Error::Renderer`] when there is no thread, or it panicked.
pub fn explore<T: Send>(
    chart: &Chart,
    release: &Release,
    capabilities: &Capabilities,
    ambient: &Ambient,
    limits: &Limits,
    work: impl FnOnce(&mut Session<'_>) -> T + Send,
) -> Result<T, Error> {
    on_large_stack(|| {
        let given = Given { chart, release, capabilities, ambient, limits };
        work(&mut Session { given, known: Known::default() })
    })
}

impl Session<'_> {
    /// Renders the chart.
    ///
    /// # Errors
    /// As [`render`](super::render()).
    pub fn render(&mut self, values: &Overrides, options: &Options) -> Result<Rendered, Error> {
        run(&self.given, values, options, &mut self.known)
    }

    /// Returns the values that are off with these values; `decided` is what the caller says itself.
    ///
    /// # Errors
    /// What keeps values from being computed.
    pub fn switches(&self, values: &Overrides, decided: &Overrides) -> Result<Vec<Switch>, Error> {
        let (given, decided) = (values.merged()?, decided.merged()?);
        let mut live = Live::of(self.given.chart)?;
        live.process(&given)?;
        let all = coalesce_values(&live, &given, false)?;
        let mut found = BTreeSet::new();
        subcharts(self.given.chart, &live, &all, "", &mut found);
        flags(&all, "", DEPTH, &mut found);
        found.retain(|switch| !is_decided(&decided, &switch.path));
        Ok(found.into_iter().take(SWITCHES).collect())
    }

    /// Returns the words that templates compare values with, except the ones that the values hold; knows the templates only
    /// after a rendering.
    ///
    /// # Errors
    /// What keeps values from being computed.
    pub fn words(&self, values: &Overrides, decided: &Overrides) -> Result<Vec<Switch>, Error> {
        let (given, decided) = (values.merged()?, decided.merged()?);
        let mut live = Live::of(self.given.chart)?;
        live.process(&given)?;
        let all = coalesce_values(&live, &given, false)?;
        let mut words: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (file, templates) in self.known.all() {
            let prefix = prefix(file);
            for template in templates {
                let mut found = |path: &[Rc<str>], word: &str| {
                    words.entry(format!("{prefix}{}", path.join("."))).or_default().insert(word.to_owned());
                };
                template.root.iter().for_each(|node| compared(node, &mut found));
            }
        }
        let mut found = Vec::new();
        for (path, words) in words {
            let Some(Value::Str(now)) = value_at(&all, &path) else { continue };
            if is_decided(&decided, &path) {
                continue;
            }
            let other = words.into_iter().filter(|word| word.as_bytes() != now.bytes() && !word.is_empty());
            found.extend(other.map(|word| Switch {
                path: path.clone(),
                json: serde_json::Value::from(word).to_string(),
                kind: Kind::Word,
            }));
        }
        found.truncate(SWITCHES);
        Ok(found)
    }
}

/// Returns what stands in front of the values of a template's chart.
fn prefix(file: &str) -> String {
    let mut prefix = String::new();
    let mut parts = file.split('/').skip(1);
    while parts.next() == Some("charts") {
        prefix.push_str(parts.next().unwrap_or_default());
        prefix.push('.');
    }
    prefix
}

fn is_decided(decided: &Rc<Dict>, path: &str) -> bool {
    // Whoever writes `null`, or a whole other thing than a table, decided as well.
    let mut table = decided.clone();
    for part in unescaped(path) {
        match table.peek(|map| map.get(part.as_bytes()).cloned()) {
            Some(Value::Dict(next)) => table = next,
            Some(_) => return true,
            None => return false,
        }
    }
    false
}

/// Splits a path of `helm --set` at its dots.
fn unescaped(path: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        match (c, parts.last_mut()) {
            ('.', _) => parts.push(String::new()),
            ('\\', Some(part)) => part.extend(chars.next()),
            (c, Some(part)) => part.push(c),
            (_, None) => {}
        }
    }
    parts
}

fn escaped(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    for c in key.chars() {
        if matches!(c, '.' | ',' | '=' | '[' | ']' | '{' | '}' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Lists what switches on the subcharts that are off.
fn subcharts(chart: &Chart, live: &Live<'_>, all: &Rc<Dict>, path: &str, found: &mut BTreeSet<Switch>) {
    for wanted in &chart.metadata.dependencies {
        let name = if wanted.alias.is_empty() { &wanted.name } else { &wanted.alias };
        let below = chart.dependencies.iter().find(|inner| satisfies(wanted, inner.name(), &inner.metadata.version));
        let on = live.children.iter().find(|child| child.metadata.name == *name);
        match (on, below) {
            (Some(on), Some(below)) => subcharts(below, on, all, &format!("{path}{name}."), found),
            (None, Some(_)) => {
                let conditions = wanted.condition.trim().split(',').filter(|condition| !condition.is_empty());
                let mut said = false;
                for condition in conditions {
                    let condition = format!("{path}{condition}");
                    if let Some(Value::Bool(_)) = value_at(all, &condition) {
                        found.insert(Switch::truth(condition, Kind::Subchart));
                        said = true;
                        break;
                    }
                }
                // Tags count where no condition says anything.
                if let (false, Some(tag)) = (said, wanted.tags.first()) {
                    found.insert(Switch::truth(format!("tags.{}", escaped(tag)), Kind::Subchart));
                }
            }
            (_, None) => {}
        }
    }
}

/// Lists what is false.
fn flags(table: &Rc<Dict>, path: &str, depth: usize, found: &mut BTreeSet<Switch>) {
    if depth == 0 || found.len() >= SWITCHES {
        return;
    }
    for (key, value) in table.peek(Map::clone) {
        let Ok(key) = std::str::from_utf8(key.bytes()) else { continue };
        if path.is_empty() && key == "tags" {
            continue;
        }
        let at = format!("{path}{}", escaped(key));
        match value {
            Value::Bool(false) => {
                let lower = key.to_ascii_lowercase();
                let enables = ["enable", "create", "install", "deploy"].iter().any(|word| lower.contains(word));
                let kind = if enables { Kind::Enabled } else { Kind::Flag };
                let is_known = found.contains(&Switch::truth(at.clone(), Kind::Subchart));
                if !is_known {
                    found.insert(Switch::truth(at, kind));
                }
            }
            Value::Dict(inner) => flags(&inner, &format!("{at}."), depth - 1, found),
            _ => {}
        }
    }
}

/// Tells of every comparison of a value with a word: `eq .Values.mode "cluster"`.
fn compared(node: &Node, found: &mut dyn FnMut(&[Rc<str>], &str)) {
    match node {
        Node::Text(..) | Node::Break | Node::Continue => {}
        Node::Action(pipe) => in_pipe(pipe, found),
        Node::If(branch) | Node::With(branch) | Node::Range(branch) => {
            let Branch { pipe, then, otherwise } = branch;
            in_pipe(pipe, found);
            then.iter().chain(otherwise).for_each(|node| compared(node, found));
        }
        Node::Template { data, .. } => data.iter().for_each(|pipe| in_pipe(pipe, found)),
    }
}

fn in_pipe(pipe: &Pipe, found: &mut dyn FnMut(&[Rc<str>], &str)) {
    for Command { args } in &pipe.cmds {
        if let Some(Expr::Func(_, func)) = args.first()
            && matches!(func.name, "eq" | "ne")
        {
            let from_pipe = pipe.cmds.first().filter(|first| first.args.len() == 1).map(|first| &first.args[0]);
            let values = args[1..].iter().chain(from_pipe).filter_map(of_values);
            for path in values {
                for arg in &args[1..] {
                    if let Expr::Str(_, Value::Str(word), _) = arg {
                        found(path, &word.text());
                    }
                }
            }
        }
        for arg in args {
            in_expr(arg, found);
        }
    }
}

fn in_expr(expr: &Expr, found: &mut dyn FnMut(&[Rc<str>], &str)) {
    match expr {
        Expr::Pipe(pipe) => in_pipe(pipe, found),
        Expr::Chain(_, base, _) => in_expr(base, found),
        _ => {}
    }
}

/// Returns the path of a value that an operand looks up, also through a function around it, such as `lower`.
fn of_values(expr: &Expr) -> Option<&[Rc<str>]> {
    match expr {
        Expr::Field(_, names) | Expr::Variable(_, _, names) => match names.split_first() {
            Some((first, rest)) if &**first == "Values" && !rest.is_empty() => Some(rest),
            _ => None,
        },
        Expr::Pipe(pipe) => pipe.cmds.iter().flat_map(|command| &command.args).find_map(of_values),
        _ => None,
    }
}
