//! Argo CD: ApplicationSets, to the Applications that they make.
//!
//! Both template languages are those of Argo CD: `{{name}}` (valyala/fasttemplate), and Go's with `goTemplate: true`.

use serde_json::{Map, Value as Json};

use super::{
    Action,
    generators::{self, Params},
    subject::{Refusal, Subject, flag, items},
};
use crate::{
    helm::{Ambient, KeySource, Limits, Time, text::evaluate},
    kube::{Object, Origin},
    yaml::{self, Node, Value},
};

/// How much work one text may be: a thousandth of what a chart may.
const STEPS: u64 = 50_000;

/// How texts are filled in.
pub(super) struct Template {
    go: bool,
}

impl Template {
    /// Returns parameters as the language wants them: without Go's, in one level with dotted names.
    pub(super) fn params(&self, fields: Map<String, Json>) -> Params {
        if self.go {
            return fields;
        }
        let mut flat = Params::new();
        flatten("", &Json::Object(fields), &mut flat);
        flat
    }

    /// Fills in a text.
    pub(super) fn expand(&self, written: &str, params: &Params) -> Result<String, Refusal> {
        if !written.contains("{{") {
            return Ok(written.to_owned());
        }
        if !self.go {
            return Ok(fast(written, params));
        }
        let ambient = Ambient { now: Time::unix(super::super::charts::NOW), random: [0; 32], keys: KeySource::Sample };
        let limits = Limits { steps: STEPS, output: 1 << 20, nesting: 100 };
        let data = Json::Object(params.clone()).to_string();
        evaluate(written, &data, &ambient, &limits)
            .map_err(|error| Refusal::new("gitops-template", format!("its template {written:?} fails: {error}")))
    }

    /// Fills in every text of a value, names of labels included.
    fn fill(&self, node: &Node, params: &Params) -> Result<Node, Refusal> {
        let value = match &node.value {
            Value::String(text) => Value::String(self.expand(text, params)?),
            Value::Seq(items) => {
                let items: Result<Vec<Node>, Refusal> = items.iter().map(|item| self.fill(item, params)).collect();
                Value::Seq(items?)
            }
            Value::Map(entries) => {
                let entry = |(key, value): &(Node, Node)| Ok((self.fill(key, params)?, self.fill(value, params)?));
                let entries: Result<Vec<(Node, Node)>, Refusal> = entries.iter().map(entry).collect();
                Value::Map(entries?)
            }
            _ => return Ok(node.clone()),
        };
        Ok(Node::new(value, node.at))
    }
}

fn flatten(prefix: &str, value: &Json, flat: &mut Params) {
    match value {
        Json::Object(fields) => {
            for (key, value) in fields {
                let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&name, value, flat);
            }
        }
        Json::String(_) => {
            flat.insert(prefix.to_owned(), value.clone());
        }
        other => {
            flat.insert(prefix.to_owned(), Json::from(other.to_string()));
        }
    }
}

/// Replaces `{{ name }}`; what is no parameter stays as it is.
fn fast(written: &str, params: &Params) -> String {
    let mut out = String::new();
    let mut rest = written;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let Some((name, behind)) = after.split_once("}}") else {
            out.push_str("{{");
            rest = after;
            break;
        };
        match params.get(name.trim()).and_then(Json::as_str) {
            Some(value) => out.push_str(value),
            None => {
                out.push_str("{{");
                out.push_str(name);
                out.push_str("}}");
            }
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// Reads an ApplicationSet.
pub(super) fn applications(subject: &Subject<'_>) -> Result<Vec<Action>, Refusal> {
    let none = Node::new(Value::Null, subject.object.node.at);
    let spec = subject.get("spec").unwrap_or(&none);
    let template = Template { go: flag(spec, "goTemplate") };
    let Some(pattern) = spec.get("template") else {
        return Err(Refusal::new("gitops-template", "it has no spec.template"));
    };
    let mut objects = Vec::new();
    let mut actions = Vec::new();
    for generator in items(spec, "generators") {
        let made = generators::all(std::slice::from_ref(generator), &template, &Params::new(), 0)?;
        let own = ["list", "matrix", "merge", "clusters", "git"]
            .into_iter()
            .find_map(|kind| generator.get(kind)?.get("template").filter(|template| !template.is_null()));
        // A generator may have a template of its own over the common one.
        let pattern = match own {
            Some(own) => laid_over(pattern, own),
            None => pattern.clone(),
        };
        for params in &made.sets {
            let mut filled = template.fill(&pattern, params)?;
            if let Some(patch) = spec.get("templatePatch").and_then(Node::as_str) {
                let patch = template.expand(patch, params)?;
                let documents = yaml::documents(&patch, &yaml::Options::lenient())
                    .map_err(|error| Refusal::new("gitops-template", format!("`templatePatch`: {error}")))?;
                for document in documents.iter().filter(|document| document.as_map().is_some()) {
                    filled = laid_over(&filled, document);
                }
            }
            objects.push(application(subject, filled));
        }
        for (kind, why) in made.unable {
            // Where the parameters only say to which cluster, what is deployed is the same everywhere.
            if has_sources(&pattern) && !names_parameters(&pattern) {
                objects.push(application(subject, pattern.clone()));
                continue;
            }
            let refusal = Refusal::unable(format!("of its generator `{kind}`: {why}"));
            let hint = "name what it deploys under `charts` or `manifests`";
            actions.push(Action::Refused(refusal.hint(hint).at(subject.place(Some(generator.at)))));
        }
    }
    actions.push(Action::Made(objects));
    Ok(actions)
}

/// Makes an Application of a template.
fn application(subject: &Subject<'_>, filled: Node) -> Object {
    let text = |field: &str| {
        let text = filled.at_path(["metadata", field]).and_then(Node::text);
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let name = text("name").unwrap_or_else(|| subject.object.name.clone());
    // What only the cluster knows is no part of a name.
    let name = match name.find("{{") {
        Some(at) => match name[..at].trim_end_matches(['-', '.']) {
            "" => subject.object.name.clone(),
            start => start.to_owned(),
        },
        None => name,
    };
    Object {
        origin: Origin { file: subject.object.origin.file.clone(), line: subject.object.origin.line },
        api_version: subject.object.api_version.clone(),
        kind: "Application".to_owned(),
        name,
        namespace: text("namespace").or_else(|| subject.object.namespace.clone()),
        node: filled,
    }
}

fn sources(template: &Node) -> Vec<&Node> {
    let one = template.at_path(["spec", "source"]);
    let many = template.at_path(["spec", "sources"]).and_then(Node::as_seq).unwrap_or_default();
    one.into_iter().chain(many).collect()
}

fn has_sources(template: &Node) -> bool {
    !sources(template).is_empty()
}

fn names_parameters(template: &Node) -> bool {
    fn holds(node: &Node) -> bool {
        node.as_str().is_some_and(|text| text.contains("{{"))
            || node.as_seq().unwrap_or_default().iter().any(holds)
            || node.as_map().unwrap_or_default().iter().any(|(key, value)| holds(key) || holds(value))
    }
    sources(template).into_iter().any(holds)
}

/// Lays one value over another: mappings are merged, everything else is replaced.
fn laid_over(base: &Node, over: &Node) -> Node {
    let (Some(below), Some(above)) = (base.as_map(), over.as_map()) else { return over.clone() };
    let mut entries = below.to_vec();
    for (key, value) in above {
        let name = key.key();
        match entries.iter_mut().find(|(known, _)| known.key() == name) {
            Some((_, known)) => *known = laid_over(known, value),
            None => entries.push((key.clone(), value.clone())),
        }
    }
    Node::new(Value::Map(entries), base.at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(text: &str) -> Node {
        yaml::documents(text, &yaml::Options::default()).unwrap().remove(0)
    }

    fn sets(go: bool, text: &str) -> Vec<String> {
        let template = Template { go };
        let node = node(text);
        let made = generators::all(node.as_seq().unwrap(), &template, &Params::new(), 0).unwrap();
        let set = |params: &Params| Json::Object(params.clone()).to_string();
        made.sets.iter().map(set).chain(made.unable.iter().map(|(kind, _)| (*kind).to_owned())).collect()
    }

    #[test]
    fn lists_are_combined() {
        assert_eq!(
            sets(false, "- list: {elements: [{env: a, values: {x: '1'}}, {env: b, number: 2}]}\n"),
            [r#"{"env":"a","values.x":"1"}"#, r#"{"env":"b","number":"2"}"#]
        );
        let nested = "- matrix: {generators: [{list: {elements: [{a: [{b: x}, {b: y}]}]}}, {list: {elementsYaml: '{{ .a | toJson }}'}}]}\n";
        assert_eq!(sets(true, nested).len(), 2);
    }

    #[test]
    fn matrices_and_merges() {
        let matrix = "- matrix: {generators: [{list: {elements: [{a: '1'}, {a: '2'}]}}, {list: {elements: [{b: x}, {b: y}]}}]}\n";
        assert_eq!(sets(false, matrix).len(), 4);
        let merge = "- merge: {mergeKeys: [a], generators: [{list: {elements: [{a: '1', v: o}, {a: '2', v: o}]}}, {list: {elements: [{a: '2', v: new}, {a: '3'}]}}]}\n";
        assert_eq!(sets(false, merge), [r#"{"a":"1","v":"o"}"#, r#"{"a":"2","v":"new"}"#]);
        let selected =
            "- list: {elements: [{a: '1'}, {a: '2'}]}\n  selector: {matchLabels: {a: '2'}}\n- clusters: {}\n";
        assert_eq!(sets(false, selected), [r#"{"a":"2"}"#, "clusters"]);
    }

    #[test]
    fn texts_are_filled_in_by_either_language() {
        let params: Params = serde_json::from_str(r#"{"env": "prod", "values.x": "1"}"#).unwrap();
        let simple = Template { go: false };
        assert_eq!(simple.expand("a-{{env}}-{{ values.x }}-{{gone}}", &params).unwrap(), "a-prod-1-{{gone}}");
        let go = Template { go: true };
        assert_eq!(go.expand("a-{{ .env | upper }}", &params).unwrap(), "a-PROD");
        assert!(go.expand("{{ .env", &params).is_err());
    }
}
