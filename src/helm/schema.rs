//! Values against `values.schema.json`: JSON Schema from draft 4 to 2020-12.
//!
//! # Invariants
//! - Nothing is fetched. A reference to another document admits everything, and the caller is told which.
//! - Depth and work are bounded: a schema that refers to itself without end is an error.
//!
//! # Failure
//! [`Error::Schema`] with every place that breaks the schema, chart by chart.

mod collections;
mod formats;

use std::{collections::HashMap, rc::Rc};

use super::{
    dependency::Live,
    error::Error,
    funcs::{json, regexes},
    template::value::{Dict, Map, Value},
};

use formats::has_format;

/// How deep a check may go through references and values.
const DEPTH: usize = 128;

/// How many subschemas may be checked for one chart.
const STEPS: usize = 2_000_000;

/// How many mistakes are listed for one chart.
const SHOWN: usize = 100;

/// Checks the values of a chart and its subcharts; returns references that were not followed, with their charts.
pub(super) fn validate(live: &Live<'_>, values: &Rc<Dict>) -> Result<Vec<(String, String)>, Error> {
    let mut remote = Vec::new();
    let mut report = String::new();
    chart(live, values, &mut remote, &mut report);
    if report.is_empty() { Ok(remote) } else { Err(Error::Schema(report)) }
}

fn chart(live: &Live<'_>, values: &Rc<Dict>, remote: &mut Vec<(String, String)>, report: &mut String) {
    let name = &live.metadata.name;
    if let Some(schema) = &live.chart.schema {
        let mistakes = match json::read(schema) {
            Ok(schema) => {
                let mut checker = Checker::new(&schema);
                let values = Value::Dict(values.clone());
                checker.check(&schema, &values, &mut String::new(), 0);
                remote.extend(checker.remote.into_iter().map(|target| (name.clone(), target)));
                checker.mistakes
            }
            Err(message) => vec![format!("- values.schema.json: {message}")],
        };
        if !mistakes.is_empty() {
            report.push_str(&format!("{name}:\n{}\n", mistakes.join("\n")));
        }
    }
    for child in &live.children {
        let child_name = &child.metadata.name;
        match values.peek(|map| map.get(child_name.as_bytes()).cloned()) {
            None | Some(Value::Nil | Value::Missing) => {}
            Some(Value::Dict(below)) => chart(child, &below, remote, report),
            Some(other) => report.push_str(&format!(
                "{child_name}:\ninvalid type for values: expected object (map), got {}\n",
                other.type_name()
            )),
        }
    }
}

/// What of a value some subschema has looked at.
#[derive(Default)]
struct Seen {
    all_properties: bool,
    properties: Vec<Vec<u8>>,
    items: usize,
}

impl Seen {
    fn add(&mut self, other: Seen) {
        self.all_properties |= other.all_properties;
        self.properties.extend(other.properties);
        self.items = self.items.max(other.items);
    }
}

struct Checker<'s> {
    root: &'s Value,
    /// Draft 7 and older: a reference hides its neighbours, formats are checked.
    old: bool,
    names: HashMap<String, Value>,
    patterns: HashMap<String, Option<regex::bytes::Regex>>,
    mistakes: Vec<String>,
    remote: Vec<String>,
    steps: usize,
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Missing | Value::Nil => "null",
        Value::Bool(_) => "boolean",
        Value::Int(..) | Value::Float(_) => "number",
        Value::Str(_) | Value::Bytes(_) => "string",
        Value::List(_) => "array",
        Value::Dict(_) => "object",
        Value::Object(_) => "unknown",
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(_, number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    }
}

fn is_type(value: &Value, wanted: &str) -> bool {
    match wanted {
        "integer" => number(value).is_some_and(|number| number.fract() == 0.0),
        wanted => kind(value) == wanted,
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Str(text) => Some(text.text().into_owned()),
        _ => None,
    }
}

fn items(value: &Value) -> Option<&[Value]> {
    match value {
        Value::List(list) => Some(&list.items),
        _ => None,
    }
}

fn entries(value: &Value) -> Option<Map> {
    match value {
        Value::Dict(dict) => Some(dict.peek(Map::clone)),
        _ => None,
    }
}

fn get(schema: &Value, key: &str) -> Option<Value> {
    match schema {
        Value::Dict(dict) => dict.peek(|map| map.get(key.as_bytes()).cloned()),
        _ => None,
    }
}

/// Writes a value so that equal ones look equal, whatever type their numbers have.
fn canonical(value: &Value) -> String {
    json::compact(value).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

impl<'s> Checker<'s> {
    fn new(root: &'s Value) -> Checker<'s> {
        let draft = get(root, "$schema").and_then(|uri| text(&uri)).unwrap_or_default();
        let old = ["draft-03", "draft-04", "draft-06", "draft-07"].iter().any(|name| draft.contains(name));
        let mut checker = Checker {
            root,
            old,
            names: HashMap::new(),
            patterns: HashMap::new(),
            mistakes: Vec::new(),
            remote: Vec::new(),
            steps: 0,
        };
        checker.collect(root, 0);
        checker
    }

    /// Remembers subschemas that have a name of their own.
    fn collect(&mut self, schema: &Value, depth: usize) {
        if depth > DEPTH {
            return;
        }
        if let Some(map) = entries(schema) {
            for key in ["$id", "id"] {
                if let Some(id) = map.get(key.as_bytes()).and_then(text) {
                    self.names.entry(id.trim_end_matches('#').to_owned()).or_insert_with(|| schema.clone());
                }
            }
            for key in ["$anchor", "$dynamicAnchor"] {
                if let Some(anchor) = map.get(key.as_bytes()).and_then(text) {
                    self.names.entry(format!("#{anchor}")).or_insert_with(|| schema.clone());
                }
            }
            map.values().for_each(|value| self.collect(value, depth + 1));
        } else if let Some(list) = items(schema) {
            list.iter().for_each(|value| self.collect(value, depth + 1));
        }
    }

    fn wrong(&mut self, path: &str, message: impl Into<String>) {
        if self.mistakes.len() < SHOWN {
            self.mistakes.push(format!("- at '{path}': {}", message.into()));
        }
    }

    fn pattern(&mut self, pattern: &str) -> Option<regex::bytes::Regex> {
        self.patterns.entry(pattern.to_owned()).or_insert_with(|| regexes::compile(pattern).ok()).clone()
    }

    /// Checks without keeping the mistakes.
    fn holds(&mut self, schema: &Value, value: &Value, path: &mut String, depth: usize) -> Option<Seen> {
        let before = std::mem::take(&mut self.mistakes);
        let seen = self.check(schema, value, path, depth);
        let good = self.mistakes.is_empty();
        self.mistakes = before;
        good.then_some(seen)
    }

    fn resolve(&mut self, reference: &str) -> Option<Value> {
        if reference == "#" {
            return Some(self.root.clone());
        }
        let (document, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let base = if document.is_empty() { Some(self.root.clone()) } else { self.names.get(document).cloned() };
        if document.is_empty() && !fragment.is_empty() && !fragment.starts_with('/') {
            return self.names.get(reference).cloned();
        }
        let Some(mut current) = base else {
            if !document.contains("json-schema.org/") && !self.remote.iter().any(|known| known == reference) {
                self.remote.push(reference.to_owned());
            }
            return Some(Value::Bool(true));
        };
        for part in fragment.split('/').skip(1) {
            let part = part.replace("~1", "/").replace("~0", "~").replace("%25", "%").replace("%24", "$");
            current = match &current {
                Value::Dict(_) => get(&current, &part)?,
                Value::List(list) => list.items.get(part.parse::<usize>().ok()?)?.clone(),
                _ => return None,
            };
        }
        Some(current)
    }

    fn check(&mut self, schema: &Value, value: &Value, path: &mut String, depth: usize) -> Seen {
        let mut seen = Seen::default();
        self.steps += 1;
        if depth > DEPTH || self.steps > STEPS {
            self.wrong(path, "the schema refers to itself without end or is too large");
            return seen;
        }
        let map = match schema {
            Value::Bool(true) => return seen,
            Value::Bool(false) => {
                self.wrong(path, "false schema");
                return seen;
            }
            _ => match entries(schema) {
                Some(map) => map,
                None => return seen,
            },
        };
        let key = |name: &str| map.get(name.as_bytes());
        for name in ["$ref", "$dynamicRef", "$recursiveRef"] {
            let Some(reference) = key(name).and_then(text) else { continue };
            match self.resolve(&reference) {
                Some(target) => {
                    let below = self.check(&target, value, path, depth + 1);
                    seen.add(below);
                }
                None => self.wrong(path, format!("{name} {reference:?} leads nowhere")),
            }
            if self.old {
                return seen;
            }
        }
        self.plain(&map, value, path);
        self.combined(&map, value, path, depth, &mut seen);
        match value {
            Value::Dict(_) => self.object(&map, value, path, depth, &mut seen),
            Value::List(_) => self.array(&map, value, path, depth, &mut seen),
            _ => {}
        }
        seen
    }

    /// Checks what concerns the value alone.
    fn plain(&mut self, map: &Map, value: &Value, path: &str) {
        let key = |name: &str| map.get(name.as_bytes());
        match key("type") {
            Some(Value::Str(wanted)) if !is_type(value, &wanted.text()) => {
                self.wrong(path, format!("got {}, want {}", kind(value), wanted.text()));
            }
            Some(Value::List(list)) => {
                let names: Vec<String> = list.items.iter().filter_map(text).collect();
                if !names.iter().any(|wanted| is_type(value, wanted)) {
                    self.wrong(path, format!("got {}, want {}", kind(value), names.join(" or ")));
                }
            }
            _ => {}
        }
        if let Some(Value::List(allowed)) = key("enum") {
            let have = canonical(value);
            if !allowed.items.iter().any(|item| canonical(item) == have) {
                let names: Vec<String> = allowed.items.iter().map(canonical).collect();
                self.wrong(path, format!("value must be one of {}", names.join(", ")));
            }
        }
        if let Some(wanted) = key("const")
            && canonical(wanted) != canonical(value)
        {
            self.wrong(path, format!("value must be {}", canonical(wanted)));
        }
        if let Some(have) = number(value) {
            let bound = |name: &str| key(name).and_then(number);
            // In draft 4 the exclusive bounds are switches.
            let exclusive = |name: &str| matches!(key(name), Some(Value::Bool(true)));
            if let Some(least) = bound("minimum")
                && (have < least || (exclusive("exclusiveMinimum") && have == least))
            {
                self.wrong(path, format!("minimum: got {have}, want {least}"));
            }
            if let Some(most) = bound("maximum")
                && (have > most || (exclusive("exclusiveMaximum") && have == most))
            {
                self.wrong(path, format!("maximum: got {have}, want {most}"));
            }
            if bound("exclusiveMinimum").is_some_and(|least| have <= least) {
                self.wrong(path, format!("exclusiveMinimum: got {have}"));
            }
            if bound("exclusiveMaximum").is_some_and(|most| have >= most) {
                self.wrong(path, format!("exclusiveMaximum: got {have}"));
            }
            if let Some(step) = bound("multipleOf")
                && step > 0.0
                && ((have / step) - (have / step).round()).abs() > 1e-9
            {
                self.wrong(path, format!("multipleOf: got {have}, want {step}"));
            }
        }
        if let Some(have) = text(value) {
            let length = have.chars().count() as f64;
            if key("minLength").and_then(number).is_some_and(|least| length < least) {
                self.wrong(path, format!("minLength: got {length}"));
            }
            if key("maxLength").and_then(number).is_some_and(|most| length > most) {
                self.wrong(path, format!("maxLength: got {length}"));
            }
            if let Some(pattern) = key("pattern").and_then(text) {
                match self.pattern(&pattern) {
                    Some(compiled) if !compiled.is_match(have.as_bytes()) => {
                        self.wrong(path, format!("{have:?} does not match pattern {pattern:?}"));
                    }
                    Some(_) => {}
                    None => self.wrong(path, format!("pattern {pattern:?} is no regular expression")),
                }
            }
            if self.old
                && let Some(format) = key("format").and_then(text)
                && !has_format(&have, &format)
            {
                self.wrong(path, format!("{have:?} is not valid {format}"));
            }
        }
    }

    fn combined(&mut self, map: &Map, value: &Value, path: &mut String, depth: usize, seen: &mut Seen) {
        let key = |name: &str| map.get(name.as_bytes());
        for schema in key("allOf").and_then(items).unwrap_or_default() {
            let below = self.check(schema, value, path, depth + 1);
            seen.add(below);
        }
        if let Some(choices) = key("anyOf").and_then(items) {
            let mut found = false;
            for schema in choices {
                if let Some(below) = self.holds(schema, value, path, depth + 1) {
                    found = true;
                    seen.add(below);
                }
            }
            if !found {
                self.wrong(path, "'anyOf' failed");
            }
        }
        if let Some(choices) = key("oneOf").and_then(items) {
            let mut count = 0;
            for schema in choices {
                if let Some(below) = self.holds(schema, value, path, depth + 1) {
                    count += 1;
                    seen.add(below);
                }
            }
            if count != 1 {
                let why = if count == 0 { "none matched" } else { "more than one matched" };
                self.wrong(path, format!("'oneOf' failed, {why}"));
            }
        }
        if let Some(schema) = key("not")
            && self.holds(schema, value, path, depth + 1).is_some()
        {
            self.wrong(path, "'not' failed");
        }
        if let Some(condition) = key("if") {
            let branch = match self.holds(condition, value, path, depth + 1) {
                Some(below) => {
                    seen.add(below);
                    key("then")
                }
                None => key("else"),
            };
            if let Some(schema) = branch {
                let below = self.check(schema, value, path, depth + 1);
                seen.add(below);
            }
        }
    }

    fn inside(&mut self, schema: &Value, value: &Value, path: &mut String, part: &str, depth: usize) {
        let length = path.len();
        path.push('/');
        path.push_str(&part.replace('~', "~0").replace('/', "~1"));
        self.check(schema, value, path, depth + 1);
        path.truncate(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(schema: &str, value: &str) -> Vec<String> {
        let (schema, value) = (json::read(schema.as_bytes()).unwrap(), json::read(value.as_bytes()).unwrap());
        let mut checker = Checker::new(&schema);
        checker.check(&schema, &value, &mut String::new(), 0);
        checker.mistakes
    }

    #[test]
    fn keywords() {
        for (schema, good, bad) in [
            (r#"{"type":"integer"}"#, "1", "1.5"),
            (r#"{"type":["string","null"]}"#, "null", "1"),
            (r#"{"properties":{"a":{"minimum":0}},"required":["a"]}"#, r#"{"a":0}"#, r#"{"a":-5}"#),
            (r#"{"additionalProperties":false,"properties":{"a":{}}}"#, r#"{"a":1}"#, r#"{"b":1}"#),
            (r##"{"$ref":"#/$defs/x","$defs":{"x":{"enum":["a"]}}}"##, r#""a""#, r#""b""#),
            (r#"{"oneOf":[{"type":"string"},{"maximum":3}]}"#, "2", "4"),
            (r#"{"if":{"required":["a"]},"then":{"required":["b"]}}"#, r#"{"c":1}"#, r#"{"a":1}"#),
            (r#"{"allOf":[{"properties":{"a":{}}}],"unevaluatedProperties":false}"#, r#"{"a":1}"#, r#"{"b":1}"#),
            (r#"{"items":{"type":"string"},"uniqueItems":true}"#, r#"["a"]"#, r#"["a","a"]"#),
            (r#"{"patternProperties":{"^x-":{"type":"string"}}}"#, r#"{"x-a":"b"}"#, r#"{"x-a":1}"#),
            (r#"{"not":{"const":1}}"#, "2", "1"),
            (r#"{"pattern":"^\\d+$"}"#, r#""12""#, r#""x""#),
        ] {
            assert!(mistakes(schema, good).is_empty(), "{schema} {good}");
            assert!(!mistakes(schema, bad).is_empty(), "{schema} {bad}");
        }
    }

    #[test]
    fn endless_references_end() {
        assert!(!mistakes(r##"{"$ref":"#"}"##, "{}").is_empty());
        assert!(
            !mistakes(
                r##"{"$defs":{"a":{"anyOf":[{"$ref":"#/$defs/a"},{"$ref":"#/$defs/a"}]}},"$ref":"#/$defs/a"}"##,
                "{}"
            )
            .is_empty()
        );
    }

    #[test]
    fn nothing_is_fetched() {
        let schema = json::read(br#"{"$ref":"https://example.com/x.json"}"#).unwrap();
        let mut checker = Checker::new(&schema);
        checker.check(&schema, &Value::int(1), &mut String::new(), 0);
        assert!(checker.mistakes.is_empty() && checker.remote.len() == 1);
    }
}
