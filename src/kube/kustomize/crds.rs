//! `crds`: OpenAPI definitions whose extensions say which fields hold names, labels and annotations.

use crate::yaml::Node;

use super::{
    Error, Problem,
    config::{Config, NameReference},
    fieldspec::{FieldSpec, merge_one},
    id::Gvk,
    read::{self, Section},
};

/// How deep definitions refer to each other before they count as circular.
const MAX_DEPTH: usize = 32;

/// Reads what a file of definitions adds to the configuration.
///
/// # Errors
/// The file is no mapping, or definitions refer to each other without end.
pub(super) fn read(file: &str, text: &str) -> Result<Config, Error> {
    let document = read::document(file, text)?;
    let all = Section::new(file, &document)?;
    let mut config = Config::default();
    for (name, definition) in document.as_map().unwrap_or_default() {
        let name = name.key().unwrap_or_default();
        let properties = definition.at_path(["Schema", "properties"]);
        let is_kind = ["kind", "apiVersion", "metadata"]
            .iter()
            .all(|field| properties.is_some_and(|properties| properties.get(field).is_some()));
        if is_kind {
            let kind = name.rsplit('.').next().unwrap_or_default().to_owned();
            let mut reader = Reader { all: all.node, config: &mut config, gvk: Gvk { kind, ..Gvk::default() } };
            reader.definition(&name, &mut Vec::new()).map_err(|problem| problem.at(file, definition.at))?;
        }
    }
    Ok(config)
}

struct Reader<'a> {
    all: &'a Node,
    config: &'a mut Config,
    gvk: Gvk,
}

impl Reader<'_> {
    fn spec(&self, path: &[String]) -> FieldSpec {
        FieldSpec { gvk: self.gvk.clone(), path: path.join("/"), create: false }
    }

    fn definition(&mut self, name: &str, path: &mut Vec<String>) -> Result<(), Problem> {
        if path.len() > MAX_DEPTH {
            return Err(Problem::CircularDefinitions { name: name.to_owned() });
        }
        let all = self.all;
        let properties = all.get(name).and_then(|definition| definition.at_path(["Schema", "properties"]));
        for (field, property) in properties.and_then(Node::as_map).unwrap_or_default() {
            path.push(field.key().unwrap_or_default().into_owned());
            let has = |extension: &str| property.get(extension).and_then(Node::as_str).is_some();
            let spec = self.spec(path);
            if has("x-kubernetes-annotation") {
                merge_one(&mut self.config.annotations, spec.clone())?;
            }
            if has("x-kubernetes-label-selector") {
                merge_one(&mut self.config.common_labels, spec.clone())?;
            }
            if has("x-kubernetes-identity") {
                merge_one(&mut self.config.name_prefix, spec)?;
            }
            let text = |extension: &str| property.get(extension).and_then(Node::as_str).map(str::to_owned);
            if let (Some(version), Some(kind)) =
                (text("x-kubernetes-object-ref-api-version"), text("x-kubernetes-object-ref-kind"))
            {
                let key = text("x-kubernetes-object-ref-name-key").unwrap_or_else(|| "name".to_owned());
                path.push(key);
                let referrers = vec![self.spec(path)];
                path.pop();
                let target = Gvk { kind, version, group: String::new() };
                self.config.merge_reference(NameReference { target, referrers })?;
            }
            if let Some(reference) = text("$ref") {
                self.definition(&reference, path)?;
            }
            path.pop();
        }
        Ok(())
    }
}
