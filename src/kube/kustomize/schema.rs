//! Which lists merge, by which keys, and which kinds live outside namespaces.
//!
//! The built-in knowledge is a table (`schema.txt`). `openapi: {path: …}` replaces it by a description of the user's own.

use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

use crate::yaml;

use super::Problem;

const TABLE: &str = include_str!("schema.txt");

/// How deep references are followed before a description counts as circular.
const MAX_REFERENCES: usize = 64;

static BUILT_IN: LazyLock<Table> = LazyLock::new(|| Table::parse(TABLE));

#[derive(Default)]
struct Table {
    types: HashMap<&'static str, HashMap<&'static str, TableField>>,
    kinds: HashMap<(&'static str, &'static str), &'static str>,
    cluster: HashSet<(&'static str, &'static str)>,
}

struct TableField {
    shape: Shape,
    of: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Shape {
    Map,
    List,
    Merged(Vec<String>),
}

impl Table {
    fn parse(text: &'static str) -> Table {
        let mut table = Table::default();
        let mut section = "";
        let mut head = ("", "");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if line.starts_with('[') {
                section = line;
                continue;
            }
            let mut words = line.split_ascii_whitespace();
            if !line.starts_with(' ') {
                head.0 = words.next().unwrap_or_default();
                if section == "[kinds]" {
                    head.1 = words.next().unwrap_or_default();
                }
            }
            for word in words {
                match section {
                    "[types]" => {
                        let (name, field) = TableField::parse(word);
                        table.types.entry(head.0).or_default().insert(name, field);
                    }
                    "[kinds]" => {
                        table.kinds.insert((head.0, word), head.1);
                    }
                    _ => {
                        table.cluster.insert((head.0, word));
                    }
                }
            }
        }
        table
    }
}

impl TableField {
    fn parse(word: &'static str) -> (&'static str, TableField) {
        let (field, of) = word.split_once(':').map_or((word, None), |(field, of)| (field, Some(of)));
        if let Some((name, keys)) = field.split_once('*') {
            let keys = keys.split(',').filter(|key| !key.is_empty()).map(str::to_owned).collect();
            return (name, TableField { shape: Shape::Merged(keys), of });
        }
        match field.strip_suffix("[]") {
            Some(name) => (name, TableField { shape: Shape::List, of }),
            None => (field, TableField { shape: Shape::Map, of }),
        }
    }
}

/// Describes a field, or an object, to a merge.
#[derive(Clone, Debug)]
pub(super) enum Schema<'a> {
    /// A type of the table and the shape in which it comes.
    Built { of: Option<&'static str>, shape: BuiltShape },
    /// A definition of the user's own.
    Own { definition: &'a yaml::Node, all: &'a Own },
}

/// The shape of a field of the table.
#[derive(Clone, Debug)]
pub(super) enum BuiltShape {
    /// One object.
    One,
    /// A list that is replaced.
    Replaced,
    /// A list that merges by keys.
    Merged(&'static [String]),
}

/// What the user described.
#[derive(Debug)]
pub(super) struct Own {
    definitions: yaml::Node,
    kinds: HashMap<(String, String), String>,
    scopes: HashMap<(String, String), bool>,
}

/// Knows kinds: by the table, or by a description.
#[derive(Debug, Default)]
pub(super) struct Schemas {
    own: Option<Own>,
}

impl Schemas {
    /// Takes a description in place of the table.
    pub(super) fn describe(&mut self, own: Own) {
        self.own = Some(own);
    }

    pub(super) fn is_cluster_scoped(&self, api_version: &str, kind: &str) -> bool {
        if BUILT_IN.cluster.contains(&(api_version, kind)) {
            return true;
        }
        let Some(own) = &self.own else { return false };
        own.scopes.get(&(api_version.to_owned(), kind.to_owned())) == Some(&false)
    }

    /// Returns what is known of a kind.
    pub(super) fn of_kind(&self, api_version: &str, kind: &str) -> Option<Schema<'_>> {
        match &self.own {
            Some(own) => {
                let name = own.kinds.get(&(api_version.to_owned(), kind.to_owned()))?;
                Some(Schema::Own { definition: own.definitions.get(name)?, all: own })
            }
            None => {
                let of = BUILT_IN.kinds.get(&(api_version, kind)).copied();
                of.map(|of| Schema::Built { of: Some(of), shape: BuiltShape::One })
            }
        }
    }
}

impl<'a> Schema<'a> {
    pub(super) fn field(&self, name: &str) -> Option<Schema<'a>> {
        match self {
            Schema::Built { of, shape: BuiltShape::One } => {
                let field = BUILT_IN.types.get((*of)?)?.get(name)?;
                let shape = match &field.shape {
                    Shape::Map => BuiltShape::One,
                    Shape::List => BuiltShape::Replaced,
                    Shape::Merged(keys) => BuiltShape::Merged(keys),
                };
                Some(Schema::Built { of: field.of, shape })
            }
            Schema::Built { .. } => None,
            Schema::Own { definition, all } => {
                let by_name = definition.at_path(["properties", name]);
                let found =
                    by_name.or_else(|| definition.get("additionalProperties").filter(|n| n.as_map().is_some()))?;
                all.resolve(found).map(|definition| Schema::Own { definition, all })
            }
        }
    }

    pub(super) fn elements(&self) -> Option<Schema<'a>> {
        match self {
            Schema::Built { of, shape: BuiltShape::Replaced | BuiltShape::Merged(_) } => {
                Some(Schema::Built { of: *of, shape: BuiltShape::One })
            }
            Schema::Built { .. } => None,
            Schema::Own { definition, all } => {
                if definition.get("type").and_then(yaml::Node::as_str) != Some("array") {
                    return None;
                }
                all.resolve(definition.get("items")?).map(|definition| Schema::Own { definition, all })
            }
        }
    }

    /// Returns the keys by which this list merges; `None` when it is replaced.
    pub(super) fn merge_keys(&self) -> Option<Vec<String>> {
        match self {
            Schema::Built { shape: BuiltShape::Merged(keys), .. } => Some(keys.to_vec()),
            Schema::Built { .. } => None,
            Schema::Own { definition, .. } => {
                let strategy = definition.get("x-kubernetes-patch-strategy").and_then(yaml::Node::as_str)?;
                if !strategy.split(',').any(|strategy| strategy == "merge") {
                    return None;
                }
                if let Some(keys) = definition.get("x-kubernetes-list-map-keys").and_then(yaml::Node::as_seq) {
                    return Some(keys.iter().filter_map(yaml::Node::as_str).map(str::to_owned).collect());
                }
                let key = definition.get("x-kubernetes-patch-merge-key").and_then(yaml::Node::as_str);
                Some(key.into_iter().map(str::to_owned).collect())
            }
        }
    }
}

impl Own {
    /// Reads an OpenAPI description (version 2: `definitions` and `paths`).
    ///
    /// # Errors
    /// The text is no YAML or no mapping.
    pub(super) fn read(text: &str) -> Result<Own, Problem> {
        let options = yaml::Options::lenient();
        let document = yaml::documents(text, &options).map_err(Problem::Syntax)?.into_iter().next();
        let Some(document) = document.filter(|document| document.as_map().is_some()) else {
            return Err(Problem::OpenApi);
        };
        let mut kinds = HashMap::new();
        let mut scopes: HashMap<(String, String), bool> = HashMap::new();
        let definitions = document.get("definitions").cloned();
        let definitions = definitions.unwrap_or_else(|| yaml::Node::new(yaml::Value::Map(Vec::new()), document.at));
        for (name, definition) in definitions.as_map().unwrap_or_default() {
            let found = definition.get("x-kubernetes-group-version-kind").and_then(yaml::Node::as_seq);
            for kind in found.unwrap_or_default() {
                if let (Some(kind), Some(name)) = (gvk(kind), name.as_str()) {
                    kinds.insert(kind, name.to_owned());
                }
            }
        }
        let paths = document.get("paths").and_then(yaml::Node::as_map);
        for (path, item) in paths.unwrap_or_default() {
            if let Some(kind) = item.at_path(["get", "x-kubernetes-group-version-kind"]).and_then(gvk) {
                let namespaced = path.as_str().is_some_and(|path| path.contains("namespaces/{namespace}"));
                *scopes.entry(kind).or_insert(namespaced) |= namespaced;
            }
        }
        Ok(Own { definitions, kinds, scopes })
    }

    fn resolve<'a>(&'a self, mut definition: &'a yaml::Node) -> Option<&'a yaml::Node> {
        for _ in 0..MAX_REFERENCES {
            let Some(reference) = definition.get("$ref").and_then(yaml::Node::as_str) else { return Some(definition) };
            definition = self.definitions.get(reference.strip_prefix("#/definitions/")?)?;
        }
        None
    }
}

fn gvk(node: &yaml::Node) -> Option<(String, String)> {
    let text = |name: &str| node.get(name).and_then(yaml::Node::as_str).unwrap_or_default();
    let (group, version, kind) = (text("group"), text("version"), text("kind"));
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    (!kind.is_empty()).then(|| (api_version, kind.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_knows_lists_that_merge() {
        let schemas = Schemas::default();
        let pod =
            schemas.of_kind("apps/v1", "Deployment").and_then(|s| s.field("spec")?.field("template")?.field("spec"));
        let containers = pod.and_then(|pod| pod.field("containers")).unwrap();
        assert_eq!(containers.merge_keys(), Some(vec!["name".to_owned()]));
        let ports = containers.elements().and_then(|container| container.field("ports")).unwrap();
        assert_eq!(ports.merge_keys(), Some(vec!["containerPort".to_owned(), "protocol".to_owned()]));
        assert!(schemas.of_kind("apps/v1", "Unknown").is_none());
        assert!(schemas.is_cluster_scoped("v1", "Namespace") && !schemas.is_cluster_scoped("v1", "Pod"));
    }

    #[test]
    fn every_type_of_the_table_exists() {
        for fields in BUILT_IN.types.values() {
            for of in fields.values().filter_map(|field| field.of) {
                assert!(BUILT_IN.types.contains_key(of), "{of}");
            }
        }
        for of in BUILT_IN.kinds.values() {
            assert!(BUILT_IN.types.contains_key(of), "{of}");
        }
    }
}
