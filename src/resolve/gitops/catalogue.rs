//! All objects by group, kind and name, for objects that refer to each other.
//!
//! # Invariants
//! - An object of the same input is preferred to one of another, one of the named namespace to one that names none.
//! - Of equals the last one counts, as when they are applied one after the other.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    super::{batch::Batch, search::Input},
    subject::{Refusal, Subject},
};
use crate::{
    discover::{Step, object_step},
    kube::Object,
    yaml::{Mark, Node},
};

/// An object and where it is.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) input: &'a Input,
    pub(super) batch: &'a Batch,
    pub(super) object: &'a Object,
}

/// All objects.
pub(super) struct Catalogue<'a> {
    by: BTreeMap<(&'a str, &'a str, &'a str), Vec<Known<'a>>>,
}

/// A value of a ConfigMap or a Secret.
pub(super) struct Datum {
    pub(super) text: String,
    /// What names it in messages.
    pub(super) name: String,
    /// The field that gave it.
    pub(super) settled: (Step, String),
}

/// Names a value of a ConfigMap or a Secret.
#[derive(Clone, Copy)]
pub(super) struct Reference<'r> {
    pub(super) kind: &'r str,
    pub(super) namespace: Option<&'r str>,
    pub(super) name: &'r str,
    pub(super) key: &'r str,
    /// Whether it may be absent.
    pub(super) optional: bool,
    /// Where it is referred to.
    pub(super) at: Mark,
}

impl<'a> Catalogue<'a> {
    pub(super) fn of(inputs: &'a [Input]) -> Catalogue<'a> {
        let mut by: BTreeMap<_, Vec<Known<'a>>> = BTreeMap::new();
        for input in inputs {
            for batch in &input.batches {
                for object in &batch.objects {
                    let key = (object.group(), object.kind.as_str(), object.name.as_str());
                    by.entry(key).or_default().push(Known { input, batch, object });
                }
            }
        }
        Catalogue { by }
    }

    /// Finds an object that another one refers to.
    pub(super) fn find(
        &self,
        from: &Input,
        group: &str,
        kind: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Option<Known<'a>> {
        let all = self.by.get(&(group, kind, name))?.iter();
        let fits = |known: &&Known<'a>| match (namespace, known.object.namespace.as_deref()) {
            (Some(wanted), Some(has)) => wanted == has,
            _ => true,
        };
        let rank =
            |known: &&Known<'a>| (std::ptr::eq(known.input, from), known.object.namespace.as_deref() == namespace);
        // The last of the best.
        all.filter(fits).max_by_key(rank).copied()
    }
}

/// Returns a value of a ConfigMap or a Secret; nothing when it may be absent and is.
///
/// # Errors
/// The object or the key is missing, or its value cannot be read.
pub(super) fn datum(subject: &Subject<'_>, wanted: &Reference<'_>) -> Result<Option<Datum>, Refusal> {
    let Reference { kind, name, key, .. } = *wanted;
    if !matches!(kind, "ConfigMap" | "Secret") {
        let text = format!("values come from a {kind}, and only ConfigMaps and Secrets hold values");
        return Err(Refusal::new("gitops-values", text).at(subject.place(Some(wanted.at))));
    }
    let what = format!("{kind} {}{name}", wanted.namespace.map(|space| format!("{space}/")).unwrap_or_default());
    let Some(known) = subject.catalogue.find(subject.input, "", kind, wanted.namespace, name) else {
        if wanted.optional {
            return Ok(None);
        }
        let text = format!("the values of {what} are not among the inputs");
        let hint = format!(
            "add the manifest that makes it under `manifests`, or one with what matters for images in its key {key:?}"
        );
        return Err(Refusal::missing(text).hint(hint).at(subject.place(Some(wanted.at))));
    };
    let object = known.object;
    let place = known.batch.location(object, None);
    let name = format!("{what} ({place})");
    if object.node.get("sops").is_some() {
        let text = format!("the values of {name} are encrypted");
        let hint = format!("name a manifest with what matters for images in its key {key:?} in its place");
        return Err(Refusal::unable(text).hint(hint).at(subject.place(Some(wanted.at))));
    }
    let plain = |field: &str| {
        let value = object.node.get(field)?.get(key)?;
        value.text().map(str::to_owned)
    };
    let decoded = |field: &str| -> Option<Result<String, Refusal>> {
        let value = plain(field)?;
        let compact: String = value.split_whitespace().collect();
        let bytes = STANDARD.decode(compact).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let wrong = || Refusal::new("gitops-values", format!("{name}: {field}[{key:?}] is no text in base64"));
        Some(bytes.ok_or_else(wrong))
    };
    let text = match kind {
        "ConfigMap" => plain("data").map(Ok).or_else(|| decoded("binaryData")),
        _ => plain("stringData").map(Ok).or_else(|| decoded("data")),
    };
    match text {
        Some(text) => {
            let field = if is_plain(key) { format!(".{key}") } else { format!("[{key:?}]") };
            let root = match kind {
                "Secret" if object.node.get("stringData").is_some_and(|data| data.get(key).is_some()) => "stringData",
                _ => "data",
            };
            let settled = (object_step(object), format!("{root}{field}"));
            Ok(Some(Datum { text: text?, name, settled }))
        }
        None if wanted.optional => Ok(None),
        None => {
            let text = format!("{name} has no key {key:?}, which values come from");
            Err(Refusal::missing(text).at(subject.place(Some(wanted.at))))
        }
    }
}

/// Returns all values of a ConfigMap or a Secret.
///
/// # Errors
/// As [`datum`].
pub(super) fn data(subject: &Subject<'_>, wanted: &Reference<'_>) -> Result<Vec<(String, Datum)>, Refusal> {
    let known = subject.catalogue.find(subject.input, "", wanted.kind, wanted.namespace, wanted.name);
    let Some(known) = known else {
        // Says what is missing.
        return datum(subject, wanted).map(|_| Vec::new());
    };
    let fields = ["data", "stringData", "binaryData"].into_iter().filter_map(|field| known.object.node.get(field));
    let keys = fields.flat_map(|node| node.as_map().unwrap_or_default()).filter_map(|(key, _)| key.key());
    let mut found = Vec::new();
    for key in keys {
        let one = datum(subject, &Reference { key: &key, ..*wanted })?;
        found.extend(one.map(|datum| (key.clone().into_owned(), datum)));
    }
    Ok(found)
}

/// As paths of findings write keys without brackets.
fn is_plain(key: &str) -> bool {
    key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Reads where values come from: `kind`, `name` and a key.
pub(super) fn reference<'r>(
    node: &'r Node,
    namespace: Option<&'r str>,
    key: &'r str,
) -> Result<Reference<'r>, Refusal> {
    let text = |key: &str| node.get(key).and_then(Node::text);
    let (Some(kind), Some(name)) = (text("kind"), text("name")) else {
        return Err(Refusal::new("gitops-values", "values come from something without `kind` and `name`"));
    };
    let optional = node.get("optional").is_some_and(|node| node.value == crate::yaml::Value::Bool(true));
    Ok(Reference { kind, namespace, name, key, optional, at: node.at })
}
