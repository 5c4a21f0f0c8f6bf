//! Where a resource came from and who changed it, for `buildMetadata`; and the annotations that never leave a build.

use super::{Problem, resource::Resource};

const ORIGIN: &str = "config.kubernetes.io/origin";
const TRANSFORMATIONS: &str = "alpha.config.kubernetes.io/transformations";

/// Asks for a hash in the name.
pub(super) const NEEDS_HASH: &str = "internal.config.kubernetes.io/needsHashSuffix";

/// Annotations with which kustomize talks to itself.
const INTERNAL: &[&str] = &[
    "internal.config.kubernetes.io/previousKinds",
    "internal.config.kubernetes.io/previousNames",
    "internal.config.kubernetes.io/prefixes",
    "internal.config.kubernetes.io/suffixes",
    "internal.config.kubernetes.io/previousNamespaces",
    "internal.config.kubernetes.io/allowNameChange",
    "internal.config.kubernetes.io/allowKindChange",
    "internal.config.kubernetes.io/refBy",
    "internal.config.kubernetes.io/generatorBehavior",
    NEEDS_HASH,
    "internal.config.kubernetes.io/path",
    "internal.config.kubernetes.io/index",
    "internal.config.kubernetes.io/seqindent",
    "internal.config.kubernetes.io/id",
    "internal.config.kubernetes.io/annotations-migration-resource-id",
    "config.kubernetes.io/path",
    "config.kubernetes.io/index",
    "config.k8s.io/id",
];

/// Names what made or changed a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// The file of the resource.
    pub(super) path: String,
    /// The file that configures a generator or transformer.
    pub(super) configured_in: String,
    /// The generator or transformer: apiVersion, kind, name and namespace.
    pub(super) configured_by: [String; 4],
}

impl Step {
    pub(super) fn builtin(file: &str, kind: &str) -> Step {
        let by = ["builtin".to_owned(), kind.to_owned(), String::new(), String::new()];
        Step { path: String::new(), configured_in: file.to_owned(), configured_by: by }
    }

    fn write(&self, out: &mut String, first: &str, indent: &str) {
        let mut lead = first;
        let mut line = |text: String| {
            out.push_str(lead);
            out.push_str(&text);
            out.push('\n');
            lead = indent;
        };
        for (name, text) in [("path", &self.path), ("configuredIn", &self.configured_in)] {
            if !text.is_empty() {
                line(format!("{name}: {}", quoted(text)));
            }
        }
        if self.configured_by.iter().any(|part| !part.is_empty()) {
            line("configuredBy:".to_owned());
            for (name, text) in ["apiVersion", "kind", "name", "namespace"].iter().zip(&self.configured_by) {
                if !text.is_empty() {
                    line(format!("  {name}: {}", quoted(text)));
                }
            }
        }
    }
}

fn quoted(text: &str) -> String {
    if super::scalar::is_special_in_yaml_1_1(text) { format!("{text:?}") } else { text.to_owned() }
}

/// Remembers the steps of one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Trail {
    origin: Option<Step>,
    changes: Vec<Step>,
}

impl Trail {
    /// Notes where the resource comes from, unless that is known.
    pub(super) fn begin(&mut self, step: Step) {
        self.origin.get_or_insert(step);
    }

    /// Notes a change; one without an origin made the resource.
    pub(super) fn change(&mut self, step: &Step) {
        match self.origin {
            None => self.origin = Some(step.clone()),
            Some(_) => self.changes.push(step.clone()),
        }
    }

    /// Returns where a plugin's configuration comes from, as the step that the plugin will be.
    pub(super) fn as_plugin(&self, resource: &Resource) -> Option<Step> {
        let origin = self.origin.as_ref()?;
        let by = [resource.api_version(), resource.kind(), resource.name(), resource.namespace()];
        Some(Step { path: String::new(), configured_in: origin.path.clone(), configured_by: by.map(str::to_owned) })
    }
}

/// What of the trail is written into the result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) origins: bool,
    pub(super) transformations: bool,
    pub(super) managed_by: bool,
}

/// Gives annotations their final form: internal ones are gone, all are text, the trail is there when wanted.
pub(super) fn finish(resource: &mut Resource, wanted: Wanted) -> Result<(), Problem> {
    let mut annotations = resource.annotations();
    annotations.retain(|name, _| !INTERNAL.contains(&name.as_str()) && name != ORIGIN && name != TRANSFORMATIONS);
    if wanted.origins
        && let Some(origin) = &resource.trail.origin
    {
        let mut text = String::new();
        origin.write(&mut text, "", "");
        annotations.insert(ORIGIN.to_owned(), text);
    }
    if wanted.transformations && !resource.trail.changes.is_empty() {
        let mut text = String::new();
        for step in &resource.trail.changes {
            step.write(&mut text, "- ", "  ");
        }
        annotations.insert(TRANSFORMATIONS.to_owned(), text);
    }
    resource.set_metadata_map("annotations", annotations)
}
