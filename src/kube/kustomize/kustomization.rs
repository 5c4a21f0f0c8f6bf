//! The file `kustomization.yaml`: its fields, checked as strictly as kustomize checks them.
//!
//! # Failure
//! An unknown field, a field of the wrong type, a wrong `kind` or `apiVersion`, or nothing at all: with file and line.

use bytes::Bytes;

use crate::{
    error::{Diagnostic, Location},
    yaml::{Mark, Node, Value},
};

use super::{
    Error, Problem,
    read::{self, Section, Written},
};

const FIELDS: &[&str] = &[
    "apiVersion",
    "kind",
    "metadata",
    "openapi",
    "namePrefix",
    "nameSuffix",
    "namespace",
    "commonLabels",
    "labels",
    "commonAnnotations",
    "patchesStrategicMerge",
    "patchesJson6902",
    "patches",
    "images",
    "imageTags",
    "replacements",
    "replicas",
    "vars",
    "sortOptions",
    "resources",
    "components",
    "crds",
    "bases",
    "configMapGenerator",
    "secretGenerator",
    "helmGlobals",
    "helmCharts",
    "helmChartInflationGenerator",
    "generatorOptions",
    "configurations",
    "generators",
    "transformers",
    "validators",
    "buildMetadata",
];

/// Fields that still work and what replaces them.
const DEPRECATED: &[(&str, &str)] = &[
    ("bases", "resources"),
    ("commonLabels", "labels"),
    ("imageTags", "images"),
    ("patchesJson6902", "patches"),
    ("patchesStrategicMerge", "patches"),
    ("vars", "replacements"),
];

/// Holds a kustomization.
pub(super) struct Kustomization {
    /// The file as people know it.
    pub(super) file: String,
    /// The file's own name.
    pub(super) name: &'static str,
    document: Node,
    pub(super) is_component: bool,
}

impl Kustomization {
    /// Reads the file.
    ///
    /// # Errors
    /// See the module.
    pub(super) fn read(name: &'static str, file: String, content: &Bytes) -> Result<Kustomization, Error> {
        let text = std::str::from_utf8(content).map_err(|_| Problem::NotText.at(&file, Mark::START))?;
        let document = read::document(&file, text)?;
        let top = Section::new(&file, &document)?;
        top.only(FIELDS)?;
        let kind = top.text_or_empty("kind")?;
        let is_component = kind == "Component";
        let place = |field: &str| top.get(field).map_or(document.at, |node| node.at);
        if !matches!(kind.as_str(), "" | "Kustomization" | "Component") {
            return Err(Problem::WrongKind { found: kind }.at(&file, place("kind")));
        }
        let expected =
            if is_component { "kustomize.config.k8s.io/v1alpha1" } else { "kustomize.config.k8s.io/v1beta1" };
        let api_version = top.text_or_empty("apiVersion")?;
        if !api_version.is_empty() && api_version != expected {
            let problem = Problem::WrongVersion { found: api_version, expected };
            return Err(problem.at(&file, place("apiVersion")));
        }
        let says_something = FIELDS[2..].iter().filter_map(|field| top.get(field)).any(|node| match &node.value {
            Value::String(text) => !text.is_empty(),
            _ => true,
        });
        if !says_something {
            return Err(Problem::EmptyKustomization.at(&file, document.at));
        }
        let kustomization = Kustomization { file, name, document, is_component };
        kustomization.check()?;
        Ok(kustomization)
    }

    /// Checks what is not read on every way through a build.
    fn check(&self) -> Result<(), Error> {
        let top = self.top();
        if let Some(metadata) = top.section("metadata")? {
            metadata.only(&["name", "namespace", "labels", "annotations"])?;
        }
        if let Some(globals) = top.section("helmGlobals")? {
            globals.only(&["chartHome", "configHome"])?;
        }
        for field in ["resources", "bases", "components", "crds", "configurations", "generators", "transformers"] {
            top.texts(field)?;
        }
        Ok(())
    }

    pub(super) fn top(&self) -> Section<'_> {
        Section { file: &self.file, node: &self.document }
    }

    /// Returns where a field stands, or where the file begins.
    pub(super) fn place(&self, field: &str) -> Mark {
        self.top().get(field).map_or(self.document.at, |node| node.at)
    }

    /// Returns the resources, and after them the bases.
    pub(super) fn resources(&self) -> Result<Vec<Written>, Error> {
        let mut found = self.top().texts("resources")?;
        found.extend(self.top().texts("bases")?);
        Ok(found)
    }

    /// Tells which fields are on their way out.
    pub(super) fn warnings(&self) -> Vec<Diagnostic> {
        let top = self.top();
        let found = DEPRECATED.iter().filter_map(|(old, new)| Some((old, new, top.get(old)?)));
        found
            .map(|(old, new, node)| {
                Diagnostic::warning("kustomize-deprecated", format!("`{old}` is deprecated"))
                    .at(Location::new(&self.file, node.at.line, node.at.column))
                    .hint(format!("use `{new}`"))
            })
            .collect()
    }
}
