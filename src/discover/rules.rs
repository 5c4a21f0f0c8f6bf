//! Custom resources by group and kind: which of their fields are images.
//!
//! The rules that come with the program are a data file, `rules.txt`; a spec adds its own, and schemas among the inputs
//! become rules too (`schema.rs`). All three are applied here.
//!
//! ```text
//! postgresql.cnpg.io cluster           group and kind, the kind in lower case
//!  image spec.imageName                a reference, or its pieces in a mapping; a list of those
//!  split spec.driver                   a mapping whose fields are the pieces of one reference
//!  map spec.registry.override          a mapping of names to references
//!  pod spec.template.spec              a pod spec
//!  url spec.url                        a reference behind docker:// or oci://, or a bare one
//!  oci spec                            a mapping with such a `url` and `ref: {tag, digest}` beside it
//! ```

use std::{collections::HashMap, sync::OnceLock};

use crate::{
    error::Diagnostic,
    oci::Reference,
    yaml::{Node, Value},
};

use super::{
    Confidence, Role,
    fields::{self, Part, Selected},
    guess, shape,
    site::{Path, Site, object_step},
    split,
};

/// How a field holds images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Image,
    Split,
    Map,
    Pod,
    Url,
    Oci,
}

/// Who says that a field is an image; decides what a value means that does not look like one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Author {
    /// The data file.
    Known,
    /// A schema, whose field is only called image.
    Schema,
    /// The spec.
    User,
}

/// A field of a kind that holds images.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) form: Form,
    pub(super) parts: Vec<Part>,
}

type Table = HashMap<(String, String), Vec<Field>>;

fn read(text: &str) -> Table {
    let mut table = Table::new();
    let mut current: Option<(String, String)> = None;
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let Some((first, second)) = line.trim().split_once(' ') else { continue };
        if !line.starts_with(' ') {
            current = Some((first.to_owned(), second.to_owned()));
            continue;
        }
        let form = match first {
            "image" => Form::Image,
            "split" => Form::Split,
            "map" => Form::Map,
            "pod" => Form::Pod,
            "url" => Form::Url,
            "oci" => Form::Oci,
            _ => continue,
        };
        if let Some(kind) = &current {
            let fields = table.entry(kind.clone()).or_default();
            fields.extend(second.split(' ').map(|path| Field { form, parts: fields::parse(path) }));
        }
    }
    table
}

fn known() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| read(include_str!("rules.txt")))
}

/// Applies the rules of the spec, which are stronger than everything that the program knows.
pub(super) fn find_named(site: &mut Site<'_>) {
    let (object, context) = (site.object, site.context);
    for rule in context.user_rules(object.group(), &object.kind) {
        for path in &rule.paths {
            let field = Field { form: Form::Image, parts: fields::parse(path) };
            apply(site, &field, &rule.name, Author::User);
        }
    }
}

/// Applies the rules that come with the program and those that schemas among the inputs make.
pub(super) fn find(site: &mut Site<'_>) {
    let (object, context) = (site.object, site.context);
    let kind = object.kind.to_ascii_lowercase();
    let key = (object.group().to_owned(), kind);
    if let Some(fields) = known().get(&key) {
        let name = format!("{}.{}", object.kind, object.group());
        for field in fields {
            apply(site, field, &name, Author::Known);
        }
    }
    if object.group() == "longhorn.io"
        && object.kind == "Setting"
        && object.name.ends_with("-image")
        && let Some(value) = object.node.get("value")
    {
        let at = Selected { path: Path::default().key("value"), node: value, parent: None };
        image(site, &at, "Setting.longhorn.io", Author::Known);
    }
    if let Some(schema) = context.schema(object.group(), &object.kind, object.version()) {
        let name = format!("schema of {}.{}", object.kind, object.group());
        for field in &schema.fields {
            apply(site, field, &name, Author::Schema);
        }
        schema.fill_in(site);
    }
}

fn apply(site: &mut Site<'_>, field: &Field, rule: &str, author: Author) {
    let object = site.object;
    for at in fields::select(&object.node, &field.parts) {
        if site.is_settled(&at.path.to_string()) {
            continue;
        }
        match field.form {
            Form::Image => image(site, &at, rule, author),
            Form::Pod => shape::pod_spec(site, at.node, &at.path, rule),
            Form::Split => {
                pieces(site, &at, rule);
            }
            Form::Map => {
                for (name, value) in at.node.as_map().unwrap_or_default() {
                    let Some(key) = name.key() else { continue };
                    image(site, &Selected { path: at.path.key(&key), node: value, parent: None }, rule, author);
                }
            }
            Form::Url => url(site, at.node, "", &at.path, rule),
            Form::Oci => {
                if let Some(node) = at.node.get("url") {
                    let piece = |key| at.node.at_path(["ref", key]).and_then(Node::text);
                    let digest = piece("digest").map(|digest| format!("@{digest}"));
                    let tail = digest.or_else(|| piece("tag").map(|tag| format!(":{tag}"))).unwrap_or_default();
                    url(site, node, &tail, &at.path.key("url"), rule);
                }
            }
        }
    }
}

/// Takes a reference that is written as an address.
fn url(site: &mut Site<'_>, node: &Node, tail: &str, path: &Path, rule: &str) {
    let text = node.as_str().unwrap_or_default();
    let bare = ["docker://", "oci://"].iter().find_map(|scheme| text.strip_prefix(scheme)).unwrap_or(text);
    let whole = format!("{bare}{tail}");
    if guess::is_image(&whole) {
        let role = if tail.is_empty() { Role::Reference } else { Role::Name };
        let pieces = site.piece(role, node, bare).into_iter().collect();
        site.add_written(&whole, (Confidence::Rule, rule), node, path, pieces);
        site.settle(path.to_string());
    }
}

fn pieces(site: &mut Site<'_>, at: &Selected<'_>, rule: &str) -> bool {
    let Some(joined) = split::join(at.node) else { return false };
    let lead = at.path.key(joined.keys[0]);
    if site.is_settled(&lead.to_string()) {
        return true;
    }
    let node = at.node.get(joined.keys[0]).unwrap_or(at.node);
    let pieces = site.pieces(at.node, &joined.parts);
    site.add_written(&joined.text, (Confidence::Rule, rule), node, &lead, pieces);
    for key in &joined.keys {
        site.settle(at.path.key(key).to_string());
    }
    true
}

fn image(site: &mut Site<'_>, at: &Selected<'_>, rule: &str, author: Author) {
    match &at.node.value {
        Value::String(text) => one(site, text, at, rule, author),
        Value::Seq(items) => {
            for (i, item) in items.iter().enumerate() {
                image(site, &Selected { path: at.path.index(i), node: item, parent: None }, rule, author);
            }
        }
        Value::Map(_) => {
            if at.node.get("containers").is_some() {
                shape::pod_spec(site, at.node, &at.path, rule);
            } else if !pieces(site, at, rule) {
                if let Some(reference) = at.node.get("reference") {
                    let inner = Selected { path: at.path.key("reference"), node: reference, parent: None };
                    image(site, &inner, rule, author);
                } else if author == Author::User {
                    unreadable(site, at, "is a mapping that holds no image", author);
                }
            }
        }
        Value::Null => {}
        _ if author == Author::User => {
            unreadable(site, at, &format!("must be text, not {}", at.node.kind_name()), author);
        }
        _ => {}
    }
}

fn one(site: &mut Site<'_>, text: &str, at: &Selected<'_>, rule: &str, author: Author) {
    let field = at.path.to_string();
    if text.is_empty() || text == "auto" || site.is_settled(&field) {
        return;
    }
    let joined = at.parent.and_then(|parent| split::with_tag_beside(text, parent)).map(|joined| joined.text);
    let named = match author {
        // A field that is only called image may hold the name of something else.
        Author::Schema => guess::is_image(joined.as_deref().unwrap_or(text)),
        Author::Known | Author::User => text.parse::<Reference>().is_ok(),
    };
    if named {
        let role = if joined.is_some() { Role::Name } else { Role::Reference };
        let pieces = site.piece(role, at.node, text).into_iter().collect();
        site.add_written(joined.as_deref().unwrap_or(text), (Confidence::Rule, rule), at.node, &at.path, pieces);
        site.settle(field);
    } else if author != Author::Schema {
        unreadable(site, at, &format!("is no image reference: {text:?}"), author);
        site.settle(field);
    }
}

/// A field that the user named must be understood; one that the program knows may be put together at run time.
fn unreadable(site: &mut Site<'_>, at: &Selected<'_>, what: &str, author: Author) {
    if site.depth > 0 {
        return;
    }
    let message = format!("{}: `{}` {what}", object_step(site.object), at.path);
    let diagnostic = match author {
        Author::User => Diagnostic::error("image-unreadable", message)
            .hint("the rule in `discovery.rules` says that this is an image"),
        _ => Diagnostic::warning("image-unreadable", message)
            .hint("when it is put together at run time, name the image under `images` of the spec"),
    };
    site.report(diagnostic, at.node);
}

/// Returns the text of a node at a path, for rules that look at versions.
pub(super) fn text_at<'n>(root: &'n Node, path: &str) -> Option<&'n str> {
    root.at_path(path.split('.')).and_then(Node::text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_file_is_sound() {
        let text = include_str!("rules.txt");
        let mut kinds = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some(field) = line.strip_prefix(' ') {
                let (form, paths) = field.split_once(' ').unwrap();
                assert!(["image", "split", "map", "pod", "url", "oci"].contains(&form), "{line}");
                for path in paths.split(' ') {
                    assert!(!path.is_empty() && !path.starts_with("status") && !path.contains(".."), "{line}");
                    assert!(!path.contains("rbd.image"), "{line}");
                }
            } else {
                let (group, kind) = line.split_once(' ').unwrap();
                assert!(
                    group.contains('.') && kind.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()),
                    "{line}"
                );
                kinds.push(line);
            }
        }
        let count = kinds.len();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(count, kinds.len(), "a kind is there twice");
        assert!(count > 250, "{count}");
        assert_eq!(known().len(), count);
    }
}
