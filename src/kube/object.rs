//! Objects: documents that say what kind they are.
//!
//! A text is a stream of YAML documents or JSON values. Lists (`kind: List`, `DeploymentList`, …) dissolve into their
//! items, as they do when kubectl applies them; an item of a typed list inherits kind and apiVersion from the list
//! (apimachinery, `unstructured` scheme, `decodeToList`). Empty documents are nothing.
//!
//! # Failure
//! Every document that is no object is reported, not only the first one; a text that is not YAML ends there.

use crate::{
    error::{Diagnostic, Location},
    yaml::{self, Node, Value},
};

/// Tells where an object was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The file as the user knows it.
    pub file: String,
    /// The line where the object begins, from 1.
    pub line: u32,
}

/// Holds one Kubernetes object.
#[derive(Clone, Debug)]
pub struct Object {
    /// Where it was written.
    pub origin: Origin,
    /// The `apiVersion`, such as `apps/v1`.
    pub api_version: String,
    /// The `kind`.
    pub kind: String,
    /// The name; its `generateName` when it has no name, empty when it has neither.
    pub name: String,
    /// The namespace, when the object names one.
    pub namespace: Option<String>,
    /// Everything.
    pub node: Node,
}

impl Object {
    /// Returns the API group; empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// Returns the API version without its group.
    pub fn version(&self) -> &str {
        self.api_version.split_once('/').map_or(self.api_version.as_str(), |(_, version)| version)
    }

    /// Returns the place of a value within this object.
    pub fn location(&self, node: &Node) -> Location {
        Location::new(&self.origin.file, node.at.line, node.at.column)
    }
}

/// Tells whether kubectl would read a file of this name in a folder: `.yaml`, `.yml` and `.json` are manifests, other
/// files are not (cli-runtime, `resource.FileExtensions`).
pub fn is_manifest_file(name: &str) -> bool {
    matches!(name.rsplit_once('.'), Some((_, "yaml" | "yml" | "json")))
}

/// Reads every object of a text.
///
/// # Errors
/// Every document that is no Kubernetes object, or the first place that is not YAML.
pub fn objects(file: &str, text: &str) -> Result<Vec<Object>, Vec<Diagnostic>> {
    let documents = yaml::documents(text, &yaml::Options::lenient()).map_err(|error| {
        let at = Location::new(file, error.at.line, error.at.column);
        vec![Diagnostic::error("manifest-syntax", error.problem.to_string()).at(at)]
    })?;
    let mut reader = Reader { file, found: Vec::new(), wrong: Vec::new() };
    for document in documents {
        if !document.is_null() {
            reader.take(document, None);
        }
    }
    if reader.wrong.is_empty() { Ok(reader.found) } else { Err(reader.wrong) }
}

struct Reader<'a> {
    file: &'a str,
    found: Vec<Object>,
    wrong: Vec<Diagnostic>,
}

/// What the items of a typed list inherit.
struct Inherited {
    api_version: String,
    kind: String,
}

impl Reader<'_> {
    fn wrong(&mut self, code: &'static str, message: String, node: &Node) {
        let at = Location::new(self.file, node.at.line, node.at.column);
        let mut diagnostic = Diagnostic::error(code, message).at(at);
        let name = self.file.rsplit('/').next().unwrap_or(self.file);
        if matches!(name, "kustomization.yaml" | "kustomization.yml") {
            diagnostic =
                diagnostic.hint("a kustomization is built, not applied: use an entry `kustomize:` with its folder");
        } else if matches!(name, "Chart.yaml" | "values.yaml") {
            diagnostic =
                diagnostic.hint("this looks like a part of a Helm chart: use an entry under `charts` with its folder");
        }
        self.wrong.push(diagnostic);
    }

    /// Returns a text field; one that is there but is no text is a mistake.
    fn text(&mut self, node: &Node, field: &'static str) -> Result<Option<String>, ()> {
        match node.get(field) {
            None => Ok(None),
            Some(value) if value.is_null() => Ok(None),
            Some(value) => match value.as_str() {
                Some("") => Ok(None),
                Some(text) => Ok(Some(text.to_owned())),
                None => {
                    let message = format!("`{field}` must be text, not {}", value.kind_name());
                    self.wrong("manifest-field-type", message, value);
                    Err(())
                }
            },
        }
    }

    fn take(&mut self, node: Node, inherited: Option<&Inherited>) {
        if node.as_map().is_none() {
            let message =
                format!("{} is no Kubernetes object: a mapping with apiVersion and kind is expected", node.kind_name());
            return self.wrong("manifest-no-object", message, &node);
        }
        let (Ok(api_version), Ok(kind)) = (self.text(&node, "apiVersion"), self.text(&node, "kind")) else { return };
        let api_version = api_version.or_else(|| inherited.map(|list| list.api_version.clone()));
        let kind = kind.or_else(|| inherited.map(|list| list.kind.clone()).filter(|kind| !kind.is_empty()));
        let (api_version, kind) = match (api_version, kind) {
            (Some(api_version), Some(kind)) => (api_version, kind),
            (None, None) => {
                let message = "this document has neither apiVersion nor kind, so it is no Kubernetes object".to_owned();
                return self.wrong("manifest-no-object", message, &node);
            }
            (None, Some(kind)) => {
                return self.wrong("manifest-no-api-version", format!("this {kind} has no apiVersion"), &node);
            }
            (Some(api_version), None) => {
                let message = format!("this object of {api_version} has no kind");
                return self.wrong("manifest-no-kind", message, &node);
            }
        };
        match kind.strip_suffix("List") {
            Some(item) if node.get("items").is_some() || (item.is_empty() && api_version == "v1") => {
                let inherited = Inherited { api_version, kind: item.to_owned() };
                self.take_items(node, &inherited);
            }
            _ => self.keep(node, api_version, kind),
        }
    }

    fn take_items(&mut self, list: Node, inherited: &Inherited) {
        let Value::Map(entries) = list.value else { return };
        for (key, value) in entries {
            if key.as_str() != Some("items") {
                continue;
            }
            match value.value {
                Value::Null => {}
                Value::Seq(items) => {
                    for item in items {
                        self.take(item, Some(inherited));
                    }
                }
                _ => {
                    let message = format!("`items` must be a list, not {}", value.kind_name());
                    self.wrong("manifest-field-type", message, &value);
                }
            }
        }
    }

    fn keep(&mut self, node: Node, api_version: String, kind: String) {
        let metadata = |field: &str| {
            let text = node.at_path(["metadata", field]).and_then(Node::text);
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let name = metadata("name").or_else(|| metadata("generateName")).unwrap_or_default();
        let namespace = metadata("namespace");
        let origin = Origin { file: self.file.to_owned(), line: node.at.line };
        self.found.push(Object { origin, api_version, kind, name, namespace, node });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Vec<(String, String, u32)> {
        objects("m.yaml", text)
            .unwrap()
            .into_iter()
            .map(|object| (format!("{} {}", object.api_version, object.kind), object.name.clone(), object.origin.line))
            .collect()
    }

    fn wrong(text: &str) -> Vec<String> {
        objects("m.yaml", text).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn streams_lists_and_json_become_objects() {
        let text = "\
# comment only
---
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: n}
---
apiVersion: v1
kind: List
items:
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: b}
- apiVersion: apps/v1
  kind: DeploymentList
  items:
  - metadata: {name: c}
---
{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"generateName\": \"d-\"}}
---
";
        let names = read(text);
        assert_eq!(
            names,
            [
                ("v1 Pod".into(), "a".into(), 3),
                ("apps/v1 Deployment".into(), "b".into(), 10),
                ("apps/v1 Deployment".into(), "c".into(), 16),
                ("v1 Pod".into(), "d-".into(), 18),
            ]
        );
        let json = "{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[{\"apiVersion\":\"v1\",\"kind\":\"Pod\"}]}\n{\"apiVersion\":\"v1\",\"kind\":\"Node\"}";
        assert_eq!(read(json).len(), 2);
        assert!(read("kind: List\napiVersion: v1\nitems:\n").is_empty());
        assert!(read("").is_empty());
    }

    #[test]
    fn kinds_that_only_sound_like_lists_are_objects() {
        assert_eq!(
            read("apiVersion: eraser.sh/v1\nkind: ImageList\nspec: {images: [a]}\nmetadata: {name: x}").len(),
            1
        );
    }

    #[test]
    fn groups_and_versions_are_parts_of_the_api_version() {
        let found =
            objects("m", "apiVersion: apps/v1\nkind: A\n---\napiVersion: v1\nkind: B\nmetadata: {namespace: n}")
                .unwrap();
        assert_eq!((found[0].group(), found[0].version()), ("apps", "v1"));
        assert_eq!((found[1].group(), found[1].version()), ("", "v1"));
        assert_eq!(found[1].namespace.as_deref(), Some("n"));
    }

    #[test]
    fn every_document_that_is_no_object_is_reported() {
        let text = "a: 1\n---\n- x\n---\nkind: Pod\n---\napiVersion: v1\n---\napiVersion: 1\nkind: [x]\n---\napiVersion: v1\nkind: List\nitems: 3\n---\napiVersion: v1\nkind: List\nitems: [{apiVersion: v1}, 7]\n";
        let found = wrong(text);
        assert_eq!(found.len(), 9, "{found:#?}");
        assert!(found[0].starts_with("m.yaml:1:1: this document has neither"));
        assert!(found[1].starts_with("m.yaml:3:1: a list is no Kubernetes object"));
        assert!(found[2].contains("Pod has no apiVersion") && found[3].contains("v1 has no kind"));
        assert!(found[4].starts_with("m.yaml:9:13: `apiVersion` must be text"));
        assert!(found[5].starts_with("m.yaml:10:7: `kind` must be text"));
        let hint = objects("base/kustomization.yaml", "resources: [a.yaml]").unwrap_err();
        assert!(hint[0].hint.as_deref().unwrap_or_default().contains("kustomize"));
    }

    #[test]
    fn text_that_is_not_yaml_is_an_error_with_its_place() {
        let found = wrong("apiVersion: v1\nkind: Pod\nspec: {{ .Values.x }}\n");
        assert!(found[0].starts_with("m.yaml:3:8: "), "{found:?}");
    }

    #[test]
    fn kubectl_reads_three_kinds_of_files_in_a_folder() {
        for (name, expected) in [
            ("a.yaml", true),
            ("a.yml", true),
            ("a.json", true),
            ("README.md", false),
            ("yaml", false),
            ("a.YAML", false),
        ] {
            assert_eq!(is_manifest_file(name), expected, "{name}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_makes_the_reader_panic(
            text in "(apiVersion: v1\n|kind: (List|Pod)\n|items: |- |\\{\"kind\":|\\[|\\]|\\}|metadata: |---\n|\\PC{0,6}|\n){0,16}"
        ) {
            if let Ok(found) = objects("m", &text) {
                let _ = crate::kube::object::is_manifest_file(&text);
                prop_assert!(found.iter().all(|object| !object.kind.is_empty() && object.origin.line > 0));
            }
        }
    }
}
