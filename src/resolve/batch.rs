//! Objects between reading and searching: everything is read before the first object is searched, because what one input
//! defines may be used by another.
//!
//! # Invariants
//! - Findings name files as the lock does, relative to the spec or to the chart; mistakes name them as the user can open
//!   them.
//! - A line that is told is a line of a file that somebody wrote; where nobody wrote one, there is none.

use std::{path::Path, path::PathBuf, sync::Arc};

use super::charts::Checkout;
use crate::{
    discover::{Context, Findings, Step, object_step},
    error::Location,
    helm::render::Manifest,
    kube::Object,
    tree::Tree,
};

/// Objects of one text, or of one build.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) objects: Vec<Object>,
    pub(super) origin: Origin,
    pub(super) via: Via,
}

/// The objects of GitOps tools on the way to a batch.
#[derive(Clone, Debug, Default)]
pub(super) struct Via {
    /// Their steps, and the files that they stand in.
    pub(super) way: Vec<Step>,
    /// What mistakes begin with.
    pub(super) subject: Option<String>,
    /// How many of them there are.
    pub(super) depth: usize,
    /// Where the files are that paths in the objects mean.
    pub(super) home: Home,
    /// Whether the objects were made by another one, and are only followed further.
    pub(super) made: bool,
}

/// Where the files are that paths in objects mean.
#[derive(Clone, Debug, Default)]
pub(super) enum Home {
    /// In the folder of the spec.
    #[default]
    Spec,
    /// In a repository in git.
    Git(Arc<Checkout>),
    /// Nowhere: a chart made the objects.
    Nowhere,
}

/// Where the objects of a batch come from.
#[derive(Debug)]
pub(super) enum Origin {
    /// A file of manifests; the name that the lock uses.
    File(String),
    /// A file of a chart.
    Template {
        /// The charts on the way, the outermost first.
        charts: Vec<Step>,
        /// The set of values, unless it is the first one.
        variant: Option<String>,
        /// The path in the innermost chart.
        file: String,
        /// What knows which line of the template made a line; none for files that are taken as they are.
        manifest: Option<Box<Manifest>>,
    },
    /// A kustomization; its files relative to the spec, and the folder of the spec.
    Built { tree: Arc<Tree>, folder: PathBuf },
    /// A kustomization or a file of a repository in git, and the repository as the lock names it.
    Fetched { source: String },
}

impl Batch {
    /// Makes a batch of what an entry of the spec names.
    pub(super) fn new(objects: Vec<Object>, origin: Origin) -> Batch {
        Batch { objects, origin, via: Via::default() }
    }

    /// Returns the way to an object, without the entry of the spec.
    pub(super) fn way_to(&self, object: &Object) -> Vec<Step> {
        let mut way = self.via.way.clone();
        if self.via.made {
            way.push(object_step(object));
            return way;
        }
        if let Origin::Template { charts, variant, .. } = &self.origin {
            way.extend(charts.iter().cloned());
            way.extend(variant.iter().map(|variant| Step::Variant { variant: variant.clone() }));
        }
        let (mut file, mut line) = (object.origin.file.clone(), Some(object.origin.line));
        self.origin.rename(&mut file, &mut line, None);
        way.push(Step::File { file, line });
        way.push(object_step(object));
        way
    }

    /// Returns the place of an object, or of a value in it, as the user can open it.
    pub(super) fn location(&self, object: &Object, at: Option<crate::yaml::Mark>) -> Location {
        let at = at.unwrap_or(crate::yaml::Mark { line: object.origin.line, column: 1 });
        self.origin.place(Location::new(&object.origin.file, at.line, at.column))
    }

    /// Finds the images of the batch.
    pub(super) fn find(&self, context: &Context) -> Findings {
        let mut found = context.find(&self.objects);
        for finding in &mut found.findings {
            let written = finding.written.clone();
            for step in &mut finding.provenance {
                if let Step::File { file, line } = step {
                    self.origin.rename(file, line, Some(&written));
                }
            }
            if let Origin::Template { charts, variant, .. } = &self.origin {
                let variant = variant.iter().map(|variant| Step::Variant { variant: variant.clone() });
                let way = charts.iter().cloned().chain(variant);
                finding.provenance.splice(0..0, way);
            }
            finding.provenance.splice(0..0, self.via.way.iter().cloned());
        }
        for diagnostic in &mut found.diagnostics {
            diagnostic.at = diagnostic.at.take().map(|at| self.origin.place(at));
        }
        found
    }

    /// Returns the label of the set of values.
    pub(super) fn variant(&self) -> Option<&str> {
        match &self.origin {
            Origin::Template { variant, .. } => variant.as_deref(),
            _ => None,
        }
    }
}

impl Origin {
    /// Names a file as the lock does; `written` is the image that the line must speak of, where lines may be those of
    /// another file.
    fn rename(&self, file: &mut String, line: &mut Option<u32>, written: Option<&str>) {
        match self {
            Origin::File(path) => file.clone_from(path),
            Origin::Template { file: path, manifest, .. } => {
                file.clone_from(path);
                *line = line.map(|line| template_line(manifest.as_deref(), line));
            }
            // A patch brings lines of its own file into an object of another one.
            Origin::Built { tree, .. } => {
                *line = line.filter(|line| {
                    let text = tree.get(file).and_then(|bytes| std::str::from_utf8(bytes).ok());
                    let text = text.and_then(|text| text.lines().nth((*line as usize).checked_sub(1)?));
                    written.is_none_or(|written| text.is_some_and(|text| names(text, written)))
                });
            }
            Origin::Fetched { source } => {
                *file = format!("{source}:{file}");
                if written.is_some() {
                    *line = None;
                }
            }
        }
    }

    fn place(&self, at: Location) -> Location {
        match self {
            Origin::File(_) => at,
            Origin::Template { manifest, .. } => {
                Location { line: template_line(manifest.as_deref(), at.line), column: 1, file: at.file }
            }
            Origin::Built { folder, .. } => Location { file: shown(folder, &at.file), ..at },
            Origin::Fetched { source } => Location { file: format!("{source}:{}", at.file), ..at },
        }
    }
}

fn template_line(manifest: Option<&Manifest>, line: u32) -> u32 {
    manifest.and_then(|manifest| manifest.template_line(line)).unwrap_or(line)
}

/// Tells whether a line speaks of an image: it holds its name, or the word.
fn names(line: &str, written: &str) -> bool {
    let name = written.rsplit('/').next().unwrap_or(written);
    let name = name.split([':', '@']).next().unwrap_or(name);
    line.contains(name) || line.to_ascii_lowercase().contains("image")
}

/// Writes a path as the user can open it: with the folder of the spec in front, unless that is the current one.
pub(super) fn shown(folder: &Path, path: &str) -> String {
    let joined = folder.join(path);
    let text = joined.to_string_lossy();
    text.strip_prefix("./").unwrap_or(&text).to_owned()
}
