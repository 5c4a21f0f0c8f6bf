//! Definitions of custom resources among the inputs: their schemas say which fields are images, and what fills those in
//! that are left out.
//!
//! A field is one when its name says image and its type is text, when it is a list of texts called images, or when it is a
//! mapping with `repository` and `tag`. Defaults apply as in the API server (Kubernetes documentation, "Defaulting"): a
//! field that is absent gets its default when the mapping around it is there.

use crate::{
    kube::Object,
    oci::Reference,
    yaml::{Mark, Node, Value},
};

use super::{
    Confidence, Level, Piece, Role,
    fields::{self, Part, Selected},
    guess, negative,
    rules::{Field, Form},
    site::{Path, Site},
};

/// How deep a schema is followed; the deepest seen has about 40 levels.
const MAX_DEPTH: usize = 64;

/// How many image fields one schema may have.
const MAX_FIELDS: usize = 4_000;

/// What the schema of one version of a kind says about images.
#[derive(Clone, Debug)]
pub(super) struct Schema {
    pub(super) group: String,
    pub(super) kind: String,
    pub(super) version: String,
    pub(super) fields: Vec<Field>,
    defaults: Vec<Default>,
    storage: bool,
}

/// A field with a default.
#[derive(Clone, Debug)]
struct Default {
    /// The way to the mapping around it, and which steps have a default of their own and so are always there.
    parent: Vec<(Part, bool)>,
    /// Whether it is part of the default of the mapping around it, and so holds only when that is absent.
    whole: bool,
    key: String,
    image: String,
    /// The place in the definition, for people.
    place: Path,
    /// What is written there, and where.
    written: (String, Mark),
}

impl Default {
    /// Returns where the image is written: in the definition, not in the object that leaves it out.
    fn pieces(&self, site: &Site<'_>) -> Vec<Piece> {
        let (text, at) = &self.written;
        let role = if *text == self.image { Role::Reference } else { Role::Name };
        let level = Level { at: *at, start: 0, end: text.len(), base64: false };
        // Objects inside of texts know nothing of where definitions were read.
        (site.depth == 0).then(|| Piece { role, levels: vec![level] }).into_iter().collect()
    }
}

/// Reads every version of a definition.
pub(super) fn read(definition: &Object) -> Vec<Schema> {
    if definition.kind != "CustomResourceDefinition" || definition.group() != "apiextensions.k8s.io" {
        return Vec::new();
    }
    let root = &definition.node;
    let text = |path: &[&str]| root.at_path(path.iter().copied()).and_then(Node::as_str).map(str::to_owned);
    let (Some(group), Some(kind)) = (text(&["spec", "group"]), text(&["spec", "names", "kind"])) else {
        return Vec::new();
    };
    if negative::is_other_kind(&group, &kind) {
        return Vec::new();
    }
    let shared = root.at_path(["spec", "validation", "openAPIV3Schema"]);
    let shared_place = || Path::default().key("spec").key("validation").key("openAPIV3Schema");
    let versions = root.at_path(["spec", "versions"]).and_then(Node::as_seq).unwrap_or_default();
    let mut found = Vec::new();
    for (i, version) in versions.iter().enumerate() {
        let own = version.at_path(["schema", "openAPIV3Schema"]);
        let own_place = || Path::default().key("spec").key("versions").index(i).key("schema").key("openAPIV3Schema");
        let (Some(schema), Some(name)) = (own.or(shared), version.get("name").and_then(Node::as_str)) else { continue };
        let storage = version.get("storage").is_some_and(|storage| storage.value == Value::Bool(true));
        let place = if own.is_some() { own_place() } else { shared_place() };
        found.push(Schema::of(&group, &kind, name, storage, schema, place));
    }
    // apiextensions.k8s.io/v1beta1 has one version beside the schema.
    if versions.is_empty()
        && let (Some(schema), Some(name)) = (shared, text(&["spec", "version"]))
    {
        found.push(Schema::of(&group, &kind, &name, true, schema, shared_place()));
    }
    found
}

impl Schema {
    fn of(group: &str, kind: &str, version: &str, storage: bool, schema: &Node, mut place: Path) -> Schema {
        let (group, kind, version) = (group.to_owned(), kind.to_owned(), version.to_owned());
        let mut found = Schema { group, kind, version, fields: Vec::new(), defaults: Vec::new(), storage };
        found.descend(schema, &mut Vec::new(), &mut Vec::new(), &mut place);
        found
    }

    /// Reads the properties of a mapping; `parts` leads to it and `keys` names the way.
    fn descend(&mut self, schema: &Node, parts: &mut Vec<(Part, bool)>, keys: &mut Vec<String>, place: &mut Path) {
        if parts.len() > MAX_DEPTH || self.fields.len() > MAX_FIELDS {
            return;
        }
        if let Some(items) = schema.get("items") {
            parts.push((Part::Each, false));
            place.push("items");
            self.descend(items, parts, keys, place);
            place.pop();
            parts.pop();
        }
        if let Some(values) = schema.get("additionalProperties").filter(|values| values.as_map().is_some()) {
            parts.push((Part::Any, false));
            place.push("additionalProperties");
            keys.push("*".to_owned());
            self.descend(values, parts, keys, place);
            keys.pop();
            place.pop();
            parts.pop();
        }
        let properties = schema.get("properties").and_then(Node::as_map).unwrap_or_default();
        for (name, property) in properties {
            let Some(key) = name.key() else { continue };
            keys.push(key.clone().into_owned());
            if negative::is_other_field(keys.iter().rev().map(String::as_str), keys.len()) || keys[0] == "metadata" {
                keys.pop();
                continue;
            }
            place.push("properties");
            place.push(&key);
            let filled = property.get("default").is_some_and(|default| default.as_map().is_some());
            parts.push((Part::Key(key.clone().into_owned()), filled));
            self.property(&key, property, schema, parts, place);
            self.descend(property, parts, keys, place);
            parts.pop();
            place.pop();
            place.pop();
            keys.pop();
        }
    }

    fn property(&mut self, key: &str, property: &Node, around: &Node, parts: &[(Part, bool)], place: &Path) {
        let type_of = |schema: &Node| schema.get("type").and_then(Node::as_str).unwrap_or_default().to_owned();
        let text_of =
            |name: &str| property.at_path(["properties", name]).is_some_and(|inner| type_of(inner) == "string");
        let named = guess::names_image(key);
        let add = |fields: &mut Vec<Field>, form| {
            fields.push(Field { form, parts: parts.iter().map(|(part, _)| part.clone()).collect() });
        };
        self.default_of_mapping(property, parts, place);
        match type_of(property).as_str() {
            "string" if named || key == "baseImage" => {
                add(&mut self.fields, Form::Image);
                self.default_of(key, property, around, parts, place);
            }
            "array" if named && property.get("items").is_some_and(|items| type_of(items) == "string") => {
                add(&mut self.fields, Form::Image);
            }
            "object" if text_of("repository") && (text_of("tag") || text_of("version") || text_of("digest")) => {
                let pieces = named || text_of("tag") || (text_of("image") && text_of("version"));
                // A Git repository has a version too.
                if pieces && !text_of("branch") && !text_of("url") && !text_of("chart") {
                    add(&mut self.fields, Form::Split);
                }
            }
            "object" if named && text_of("name") && text_of("tag") => add(&mut self.fields, Form::Split),
            _ => {}
        }
    }

    /// Takes in images in the default of a mapping, where the field has no default of its own.
    fn default_of_mapping(&mut self, property: &Node, parts: &[(Part, bool)], place: &Path) {
        let entries = property.get("default").and_then(Node::as_map).unwrap_or_default();
        for (name, value) in entries {
            let (Some(key), Some(image)) = (name.key(), value.as_str()) else { continue };
            let own = property.at_path(["properties", &key, "default"]).is_some();
            let pinned = image.parse::<Reference>().is_ok_and(|image| image.tag.is_some() || image.digest.is_some());
            if !own && pinned && guess::names_image(&key) {
                let place = place.key("default").key(&key);
                let (key, image) = (key.into_owned(), image.to_owned());
                let written = (image.clone(), value.at);
                self.defaults.push(Default { parent: parts.to_vec(), whole: true, key, image, place, written });
            }
        }
    }

    fn default_of(&mut self, key: &str, property: &Node, around: &Node, parts: &[(Part, bool)], place: &Path) {
        let Some(node) = property.get("default") else { return };
        let Some(image) = node.as_str() else { return };
        let written = (image.to_owned(), node.at);
        let Ok(reference) = image.parse::<Reference>() else { return };
        let beside =
            |name: String| around.at_path(["properties", &name, "default"]).and_then(Node::text).map(str::to_owned);
        let tag = || {
            ["Tag", "Version", "_version"]
                .iter()
                .find_map(|end| beside(format!("{key}{end}")))
                .or_else(|| beside("version".into()))
        };
        let image = match reference {
            // Without tag it is one half of a reference; the other half is beside it or in the operator.
            Reference { tag: None, digest: None, .. } => match tag() {
                Some(tag) => format!("{image}:{tag}"),
                None => return,
            },
            _ => image.to_owned(),
        };
        if guess::is_image(&image) {
            let parent = parts[..parts.len() - 1].to_vec();
            let place = place.key("default");
            self.defaults.push(Default { parent, whole: false, key: key.to_owned(), image, place, written });
        }
    }

    /// Adds the defaults of the fields that the object leaves out.
    pub(super) fn fill_in(&self, site: &mut Site<'_>) {
        let object = site.object;
        let rule = format!("default in the schema of {}.{}", self.kind, self.group);
        for default in &self.defaults {
            for (path, node, absent) in holders(&object.node, &default.parent) {
                let empty = node.get(&default.key).is_none_or(Node::is_null);
                if absent || (!default.whole && node.as_map().is_some() && empty) {
                    let path = path.key(&default.key);
                    let pieces = default.pieces(site);
                    site.add_written(&default.image, (Confidence::Rule, &rule), node, &path, pieces);
                }
            }
        }
    }
}

/// Returns every mapping that the way leads to: its path, the deepest node of it that is there, and whether it is there only
/// because of defaults.
fn holders<'n>(root: &'n Node, parent: &[(Part, bool)]) -> Vec<(Path, &'n Node, bool)> {
    let parts: Vec<Part> = parent.iter().map(|(part, _)| part.clone()).collect();
    let mut found: Vec<_> = fields::select(root, &parts).into_iter().map(|at| (at.path, at.node, false)).collect();
    for cut in 0..parent.len() {
        let missing = &parent[cut..];
        let (Part::Key(key), true) =
            (&parts[cut], missing.iter().all(|(part, filled)| *filled && matches!(part, Part::Key(_))))
        else {
            continue;
        };
        for Selected { mut path, node, .. } in fields::select(root, &parts[..cut]) {
            if node.as_map().is_some() && node.get(key).is_none_or(Node::is_null) {
                for (part, _) in missing {
                    if let Part::Key(key) = part {
                        path.push(key);
                    }
                }
                found.push((path, node, true));
            }
        }
    }
    found
}

/// Adds the defaults of a definition of which there is no object among the inputs: the operator's first object needs them.
pub(super) fn defaults(site: &mut Site<'_>) {
    let (object, context) = (site.object, site.context);
    for schema in read(object).into_iter().filter(|schema| schema.storage) {
        if context.has_objects(&schema.group, &schema.kind) {
            continue;
        }
        let rule = format!("default in the schema of {}.{}", schema.kind, schema.group);
        for default in &schema.defaults {
            let node = object.node.get("spec").unwrap_or(&object.node);
            let pieces = default.pieces(site);
            site.add_written(&default.image, (Confidence::Rule, &rule), node, &default.place, pieces);
        }
    }
}
