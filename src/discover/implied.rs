//! Images that no manifest names: an operator has them compiled in, or makes them from a version field.
//!
//! What is known is a data file, `implied.yaml`. An entry either tells the image, or that there is one that only the
//! operator knows; then a warning says so and what to do.

use std::{collections::BTreeMap, sync::OnceLock};

use serde::Deserialize;

use crate::{
    error::Diagnostic,
    oci::Reference,
    yaml::{self, Node},
};

use super::{
    Confidence, rules,
    site::{Path, Site, object_step},
};

/// One thing that is known about a kind.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Implied {
    /// The name in provenance.
    name: String,
    /// `group/Kind`.
    kinds: Vec<String>,
    /// Fields of which none may be there.
    #[serde(default)]
    absent: Vec<String>,
    /// Fields that must be there.
    #[serde(default)]
    present: Vec<String>,
    /// A field with a version, and the first major version that the entry holds for.
    #[serde(default)]
    since: Option<Bound>,
    /// A field with a version, and the first major version that it does not hold for.
    #[serde(default)]
    before: Option<Bound>,
    /// The image; `{spec.version}` stands for a field, `{v:spec.version}` for one with a `v` in front.
    #[serde(default)]
    image: Option<String>,
    /// The variable of the operator that names the image instead.
    #[serde(default)]
    env: Option<String>,
    /// The end of the repository of the operator's image.
    #[serde(default)]
    operator: Option<String>,
    /// The image by the operator's version; `=` stands for the operator's own image.
    #[serde(default)]
    versions: BTreeMap<String, String>,
    /// How to choose another image.
    #[serde(rename = "override")]
    how: String,
    /// What is not known, when there is no image to name.
    #[serde(default)]
    unknown: Option<String>,
    /// What to do then, when naming the image is not it.
    #[serde(default)]
    hint: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bound {
    field: String,
    major: u64,
}

fn known() -> &'static [Implied] {
    static KNOWN: OnceLock<Vec<Implied>> = OnceLock::new();
    // A test reads the file too; a program whose own data is broken finds less, and says nothing wrong.
    KNOWN.get_or_init(|| yaml::from_text(include_str!("implied.yaml")).unwrap_or_default())
}

/// Adds what the object implies.
pub(super) fn find(site: &mut Site<'_>) {
    let object = site.object;
    let kind = format!("{}/{}", object.group(), object.kind);
    for entry in known().iter().filter(|entry| entry.kinds.contains(&kind)) {
        if entry.holds_for(&object.node) {
            entry.apply(site);
        }
    }
}

impl Implied {
    fn holds_for(&self, root: &Node) -> bool {
        let is_there = |path: &String| {
            root.at_path(path.split('.')).is_some_and(|node| !node.is_null() && node.as_str() != Some(""))
        };
        let major = |bound: &Bound| -> Option<u64> {
            rules::text_at(root, &bound.field)?.trim_start_matches('v').split('.').next()?.parse().ok()
        };
        !self.absent.iter().any(is_there)
            && self.present.iter().all(is_there)
            && self.since.as_ref().is_none_or(|bound| major(bound).is_some_and(|found| found >= bound.major))
            && self.before.as_ref().is_none_or(|bound| major(bound).is_some_and(|found| found < bound.major))
    }

    /// Returns the image, or nothing when only the operator knows.
    fn resolve(&self, site: &Site<'_>) -> Option<String> {
        let context = site.context;
        if let Some(value) = self.env.as_ref().and_then(|name| context.operator_variable(name)) {
            return Some(value.to_owned());
        }
        if let Some(template) = &self.image {
            return fill_in(template, &site.object.node);
        }
        let operator = context.operator(self.operator.as_deref()?)?;
        let tag = operator.tag.as_ref()?.as_str();
        let version = tag.trim_start_matches('v');
        match self.versions.get(version).or_else(|| self.versions.get("*"))?.as_str() {
            "=" => Some(operator.to_string()),
            image => Some(image.to_owned()),
        }
    }

    fn apply(&self, site: &mut Site<'_>) {
        let object = site.object;
        let node = object.node.get("spec").unwrap_or(&object.node);
        match self.resolve(site).filter(|image| image.parse::<Reference>().is_ok()) {
            Some(image) => {
                // The rule tells how to choose another one: whoever asks why it is there wants to know that next.
                let rule = format!("{}; override: {}", self.name, self.how);
                site.add(&image, Confidence::Rule, &rule, node, &Path::default().key("spec"));
            }
            // The operator's own image comes with the operator, wherever that is.
            None if self.versions.get("*").is_some_and(|image| image == "=") => {}
            None => {
                let what = self.unknown.as_deref().unwrap_or("the operator chooses an image that no manifest names");
                let message = format!("{}: {what} ({})", object_step(object), self.name);
                let hint = self
                    .hint
                    .clone()
                    .unwrap_or_else(|| format!("name it under `images` of the spec, or choose it: {}", self.how));
                site.report(Diagnostic::warning("image-implied", message).hint(hint), node);
            }
        }
    }
}

/// Replaces `{path}` by the field's text.
fn fill_in(template: &str, root: &Node) -> Option<String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}')?;
        let (with_v, path) = name.strip_prefix("v:").map_or((false, name), |path| (true, path));
        let value = rules::text_at(root, path)?;
        text.push_str(before);
        if with_v && !value.starts_with('v') {
            text.push('v');
        }
        text.push_str(value);
        rest = after;
    }
    text.push_str(rest);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_file_is_sound() {
        let entries: Vec<Implied> = yaml::from_text(include_str!("implied.yaml")).unwrap();
        assert!(entries.len() > 20);
        for entry in &entries {
            assert!(!entry.kinds.is_empty() && !entry.how.is_empty(), "{}", entry.name);
            assert!(entry.kinds.iter().all(|kind| kind.split_once('/').is_some()), "{}", entry.name);
            assert!(
                entry.image.is_some() || entry.env.is_some() || entry.operator.is_some() || entry.unknown.is_some(),
                "{}",
                entry.name
            );
            for image in entry.versions.values().filter(|image| *image != "=") {
                assert!(image.parse::<Reference>().is_ok_and(|image| image.tag.is_some()), "{image}");
            }
        }
    }

    #[test]
    fn templates_take_fields() {
        let root =
            yaml::documents("spec: {version: 3.8.0, type: filebeat}", &yaml::Options::default()).unwrap().remove(0);
        assert_eq!(fill_in("a/{spec.type}:{v:spec.version}", &root).as_deref(), Some("a/filebeat:v3.8.0"));
        assert_eq!(fill_in("a:{spec.other}", &root), None);
    }
}
