//! Generators of an ApplicationSet that need nothing but their own text: lists, and what combines them
//! (argo-cd, `applicationset/generators`).

use serde_json::{Map, Value as Json};

use super::{
    appset::Template,
    subject::{Refusal, items, text, texts},
};
use crate::yaml::{self, Node, Value};

/// How deep generators may stand inside each other.
const DEPTH: usize = 8;

/// How many sets of parameters one object may have.
const SETS: usize = 2_000;

/// Parameters of one Application.
pub(super) type Params = Map<String, Json>;

/// What a generator gave.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) sets: Vec<Params>,
    /// Generators that are not followed, and why.
    pub(super) unable: Vec<(&'static str, String)>,
}

/// Why the generators of a kind are not followed.
const OUTSIDE: &[(&str, &str)] = &[
    ("clusters", "its clusters are known to the cluster that Argo CD runs in"),
    ("clusterDecisionResource", "its clusters are known to the cluster that Argo CD runs in"),
    ("git", "it reads files or folders of a repository while it runs"),
    ("scmProvider", "it asks a service for repositories"),
    ("pullRequest", "it asks a service for pull requests"),
    ("plugin", "it asks a service"),
];

/// Returns the parameters of a list of generators, one after the other.
pub(super) fn all(generators: &[Node], template: &Template, known: &Params, depth: usize) -> Result<Made, Refusal> {
    let mut made = Made::default();
    for generator in generators {
        let one = one(generator, template, known, depth)?;
        made.sets.extend(one.sets);
        made.unable.extend(one.unable);
        if made.sets.len() > SETS {
            return Err(Refusal::new("gitops-limit", format!("it makes more than {SETS} applications")));
        }
    }
    Ok(made)
}

fn one(generator: &Node, template: &Template, known: &Params, depth: usize) -> Result<Made, Refusal> {
    if depth > DEPTH {
        return Err(Refusal::new(
            "gitops-limit",
            format!("its generators stand inside each other more than {DEPTH} deep"),
        ));
    }
    let get = |key: &str| generator.get(key).filter(|node| !node.is_null());
    let mut made = if let Some(list) = get("list") {
        Made { sets: listed(list, template, known)?, ..Made::default() }
    } else if let Some(matrix) = get("matrix") {
        product(matrix, template, known, depth)?
    } else if let Some(merge) = get("merge") {
        merged(merge, template, known, depth)?
    } else {
        let found = OUTSIDE.iter().find(|(key, _)| generator.get(key).is_some());
        let Some((kind, why)) = found else {
            let kinds: Vec<String> = generator
                .as_map()
                .unwrap_or_default()
                .iter()
                .filter_map(|(key, _)| Some(key.key()?.into_owned()))
                .collect();
            return Err(Refusal::new(
                "gitops-generator",
                format!("no generator is known of the kind {}", kinds.join(", ")),
            ));
        };
        Made { sets: Vec::new(), unable: vec![(kind, (*why).to_owned())] }
    };
    if let Some(selector) = get("selector") {
        made.sets.retain(|set| selects(selector, set));
    }
    Ok(made)
}

fn listed(list: &Node, template: &Template, known: &Params) -> Result<Vec<Params>, Refusal> {
    let wrong = |text: String| Refusal::new("gitops-generator", text);
    let mut elements: Vec<Node> = items(list, "elements").to_vec();
    if let Some(written) = text(list, "elementsYaml") {
        let written = template.expand(written, known)?;
        let documents = yaml::documents(&written, &yaml::Options::lenient());
        let documents = documents.map_err(|error| wrong(format!("`elementsYaml`: {error}")))?;
        elements.extend(documents.into_iter().flat_map(|document| match document.value {
            Value::Seq(items) => items,
            _ => Vec::new(),
        }));
    }
    let mut sets = Vec::new();
    for element in elements {
        match element.to_json() {
            Ok(Json::Object(fields)) => sets.push(template.params(fields)),
            Ok(_) => return Err(wrong(format!("an element of its list is {}", element.kind_name()))),
            Err(error) => return Err(wrong(error.to_string())),
        }
    }
    Ok(sets)
}

fn product(matrix: &Node, template: &Template, known: &Params, depth: usize) -> Result<Made, Refusal> {
    let generators = items(matrix, "generators");
    let [first, second] = generators else {
        return Err(Refusal::new("gitops-generator", "`matrix` combines two generators"));
    };
    let mut made = one(first, template, known, depth + 1)?;
    let mut sets = Vec::new();
    for outer in std::mem::take(&mut made.sets) {
        let mut seen = known.clone();
        seen.extend(outer.clone());
        // The second generator may use parameters of the first one.
        let inner = one(second, template, &seen, depth + 1)?;
        made.unable.extend(inner.unable);
        for inner in inner.sets {
            let mut set = outer.clone();
            set.extend(inner);
            sets.push(set);
        }
        if sets.len() > SETS {
            return Err(Refusal::new("gitops-limit", format!("it makes more than {SETS} applications")));
        }
    }
    made.unable.dedup();
    Ok(Made { sets, ..made })
}

fn merged(merge: &Node, template: &Template, known: &Params, depth: usize) -> Result<Made, Refusal> {
    let keys = texts(merge, "mergeKeys");
    let generators = items(merge, "generators");
    if keys.is_empty() || generators.len() < 2 {
        return Err(Refusal::new("gitops-generator", "`merge` needs `mergeKeys` and two generators or more"));
    }
    let value = |set: &Params| -> Vec<Json> {
        keys.iter().map(|key| lookup(set, key).cloned().unwrap_or(Json::Null)).collect()
    };
    let mut made = Made::default();
    for (at, generator) in generators.iter().enumerate() {
        let next = one(generator, template, known, depth + 1)?;
        made.unable.extend(next.unable);
        if at == 0 {
            made.sets = next.sets;
            continue;
        }
        for set in next.sets {
            let wanted = value(&set);
            for base in made.sets.iter_mut().filter(|base| value(base) == wanted) {
                overlay(base, &set);
            }
        }
    }
    Ok(made)
}

/// Follows a dotted name, unless the whole is a name.
fn lookup<'p>(set: &'p Params, key: &str) -> Option<&'p Json> {
    if let Some(found) = set.get(key) {
        return Some(found);
    }
    let (first, rest) = key.split_once('.')?;
    rest.split('.').try_fold(set.get(first)?, |value, key| value.get(key))
}

fn overlay(base: &mut Params, more: &Params) {
    for (key, value) in more {
        match (base.get_mut(key), value) {
            (Some(Json::Object(inner)), Json::Object(more)) => overlay(inner, more),
            _ => {
                base.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Tells whether a label selector over the parameters holds.
fn selects(selector: &Node, set: &Params) -> bool {
    let value =
        |key: &str| lookup(set, key).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    let labels = selector.get("matchLabels").and_then(Node::as_map).unwrap_or_default();
    let labels =
        labels.iter().all(|(key, wanted)| key.key().is_some_and(|key| value(&key).as_deref() == wanted.text()));
    labels
        && items(selector, "matchExpressions").iter().all(|expression| {
            let found = value(text(expression, "key").unwrap_or_default());
            let values = texts(expression, "values");
            match text(expression, "operator").unwrap_or_default() {
                "In" => found.is_some_and(|found| values.contains(&found)),
                "NotIn" => found.is_none_or(|found| !values.contains(&found)),
                "Exists" => found.is_some(),
                "DoesNotExist" => found.is_none(),
                _ => false,
            }
        })
}
