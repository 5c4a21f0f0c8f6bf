//! What is known around the objects: rules of the user, schemas, ConfigMaps, which kinds and operators there are.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    kube::Object,
    oci::Reference,
    yaml::{Mark, Node},
};

use super::{
    Findings, guess, implied, podspec,
    schema::{self, Schema},
};

/// Names fields of a custom resource that are images; a spec writes it under `discovery.rules`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserRule {
    /// How provenance names the rule, such as `discovery.rules[0]`.
    pub name: String,
    /// The API group; empty for the core group.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The fields, such as `spec.sidecars[].image`.
    pub paths: Vec<String>,
}

/// The longest value of a ConfigMap that a variable can take an image from.
const LONGEST_VALUE: usize = 1024;

/// Holds what is known around the objects that are examined. Objects that one input defines may be used by another, so all
/// inputs are learned before the first one is examined.
#[derive(Clone, Debug, Default)]
pub struct Context {
    rules: Vec<UserRule>,
    schemas: Vec<Schema>,
    /// namespace (empty when unsaid), name, key → values: inputs may define the same one differently, as may renderings.
    config: BTreeMap<(String, String, String), BTreeMap<String, Mark>>,
    kinds: BTreeSet<(String, String)>,
    /// Images of pod specs: which operators run, and in which version.
    operators: BTreeSet<Reference>,
    /// Variables of pod specs that name images.
    variables: BTreeMap<String, String>,
}

impl Context {
    /// Makes a context with the user's rules and nothing learned yet.
    pub fn new(rules: Vec<UserRule>) -> Self {
        Context { rules, ..Context::default() }
    }

    /// Takes in what objects say about others: definitions, ConfigMaps, operators.
    pub fn learn(&mut self, objects: &[Object]) {
        for object in objects {
            self.kinds.insert((object.group().to_owned(), object.kind.clone()));
            self.schemas.extend(schema::read(object));
            if object.group().is_empty() && object.kind == "ConfigMap" {
                self.learn_config(object);
            }
            let mut found = Findings::default();
            podspec::find(object, &mut found);
            if !found.findings.is_empty() {
                self.learn_variables(&object.node, 0);
            }
            self.operators.extend(found.findings.iter().filter_map(|finding| finding.written.parse().ok()));
        }
    }

    /// Takes in the variables below a node of a workload.
    fn learn_variables(&mut self, node: &Node, depth: usize) {
        // Variables of a CronJob stand eleven levels deep.
        if depth > 16 {
            return;
        }
        if let (Some(name), Some(value)) =
            (node.get("name").and_then(Node::as_str), node.get("value").and_then(Node::as_str))
            && guess::names_image(name)
            && guess::is_image(value)
        {
            self.variables.insert(name.to_owned(), value.to_owned());
        }
        for (_, value) in node.as_map().unwrap_or_default() {
            self.learn_variables(value, depth + 1);
        }
        for item in node.as_seq().unwrap_or_default() {
            self.learn_variables(item, depth + 1);
        }
    }

    fn learn_config(&mut self, object: &Object) {
        for (key, value) in object.node.get("data").and_then(Node::as_map).unwrap_or_default() {
            if let (Some(key), Some(text)) = (key.key(), value.as_str().filter(|value| value.len() <= LONGEST_VALUE)) {
                let namespace = object.namespace.clone().unwrap_or_default();
                let place = (namespace, object.name.clone(), key.into_owned());
                self.config.entry(place).or_default().insert(text.to_owned(), value.at);
            }
        }
    }

    /// Finds every image that the objects name or imply.
    pub fn find(&self, objects: &[Object]) -> Findings {
        let mut all = Findings::default();
        for object in objects {
            let mut site = super::site::Site::new(object, self);
            super::examine(&mut site);
            implied::find(&mut site);
            let mut found = site.found;
            found.diagnostics.sort_by(|a, b| a.at.cmp(&b.at));
            all.findings.append(&mut found.findings);
            all.diagnostics.append(&mut found.diagnostics);
            all.occurrences.append(&mut found.occurrences);
        }
        all
    }

    pub(super) fn user_rules(&self, group: &str, kind: &str) -> impl Iterator<Item = &UserRule> {
        self.rules.iter().filter(move |rule| rule.group == group && rule.kind == kind)
    }

    /// Returns the schema of a kind; that of its version, or the one that is stored.
    pub(super) fn schema(&self, group: &str, kind: &str, version: &str) -> Option<&Schema> {
        self.schemas.iter().find(|schema| schema.group == group && schema.kind == kind && schema.version == version)
    }

    pub(super) fn has_objects(&self, group: &str, kind: &str) -> bool {
        self.kinds.contains(&(group.to_owned(), kind.to_owned()))
    }

    /// Returns the values of a ConfigMap's key and where they stand. A manifest that names no namespace is applied to whichever the user chooses, so an
    /// unsaid namespace fits every other.
    pub(super) fn config_values(&self, namespace: Option<&str>, name: &str, key: &str) -> Vec<(&str, Mark)> {
        let get = |namespace: &str| self.config.get(&(namespace.to_owned(), name.to_owned(), key.to_owned()));
        let exact = get(namespace.unwrap_or_default());
        let found = exact.or_else(|| match namespace {
            Some(_) => get(""),
            None => self.config.iter().find(|((_, map, known), _)| map == name && known == key).map(|(_, value)| value),
        });
        found.into_iter().flatten().map(|(value, at)| (value.as_str(), *at)).collect()
    }

    /// Returns what a variable of a workload names.
    pub(super) fn operator_variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Returns the image of an operator by the end of its repository.
    pub(super) fn operator(&self, repository: &str) -> Option<&Reference> {
        self.operators.iter().find(|image| {
            let path = image.repository.as_str();
            path == repository || path.strip_suffix(repository).is_some_and(|rest| rest.ends_with('/'))
        })
    }
}
