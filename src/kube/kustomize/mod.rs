//! kustomize: a folder of resources, patches and generators becomes the objects that `kubectl kustomize` prints.
//!
//! ```text
//!  kustomization.rs ─→ accumulate.rs ── load.rs ─────────────→ Set of Resources ─→ transform.rs ─→ Built
//!   (the file)          (the order of    generator.rs, chart.rs  (set.rs,            patch/ names namespace labels
//!                        things)         plugins.rs               resource.rs)        images replicas replacements
//!                                                                                    └ once: hash refs vars order trail
//! ```
//!
//! Behavior is that of kustomize 5.7 (kubectl 1.35), bugs included: what comes out here must be what the cluster's owner
//! gets from kubectl. The built-in configurations are tables (`defaults.txt`, `schema.txt`).
//!
//! # Invariants
//! - Pure: files come as a [`Tree`]; remote bases and charts come through [`Environment`], and only declared ones.
//! - Nothing is executed, and nothing outside the tree is read. Files come from a kustomization's own folder.
//! - [`Limits`] bound nesting, resources and bytes.
//!
//! # Failure
//! The first mistake ends the build with file, line, what is wrong and what to do. A build that succeeds is complete.

mod accumulate;
mod chart;
mod config;
mod crds;
mod emit;
mod error;
mod fieldspec;
mod folder;
mod generator;
mod hash;
mod id;
mod images;
mod kustomization;
mod labels;
mod load;
mod names;
mod namespace;
mod node;
mod order;
mod patch;
mod path;
mod plugins;
mod quoting;
mod read;
mod refold;
mod refs;
mod replacements;
mod replicas;
mod resource;
mod scalar;
mod schema;
mod selector;
mod set;
mod trail;
mod transform;
mod value_add;
mod vars;

use bytes::Bytes;

use crate::{
    error::Diagnostic,
    tree::{RelPath, Tree},
};

use super::Object;

pub use chart::{ChartRequest, Charts, ValuesMerge};
pub use error::{Error, Problem};

/// What a remote entry of a kustomization stands for.
#[derive(Clone, Debug)]
pub enum Fetched {
    /// A file.
    File(Bytes),
    /// A repository and the folder in it; `None` is its top.
    Folder {
        /// The files.
        tree: Tree,
        /// The folder of the kustomization.
        root: Option<RelPath>,
    },
}

/// Answers for remote entries that were declared.
pub trait Remote {
    /// Returns what a written address stands for; `None` when it was not declared.
    fn fetch(&self, written: &str) -> Option<Fetched>;
}

/// Bounds a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many kustomizations may stand inside each other.
    pub depth: usize,
    /// How many resources may be read.
    pub resources: usize,
    /// How many bytes of resources may be read.
    pub bytes: usize,
}

impl Default for Limits {
    /// Returns limits far above the largest kustomizations in the wild (1,000 resources, 20 MB, 10 levels).
    fn default() -> Self {
        Limits { depth: 64, resources: 50_000, bytes: 256 << 20 }
    }
}

/// What a build may ask for besides the tree.
#[derive(Clone, Copy, Default)]
pub struct Environment<'a> {
    /// Answers for remote entries; without it every remote entry is an error.
    pub remote: Option<&'a dyn Remote>,
    /// Renders charts; without it `helmCharts` is an error, as it is for kubectl.
    pub charts: Option<&'a dyn Charts>,
    /// Bounds.
    pub limits: Limits,
}

/// Holds the result of a build.
#[derive(Clone, Debug)]
pub struct Built {
    /// The objects in their order, each with the file and line where it was written or asked for.
    pub objects: Vec<Object>,
    /// What deserves a look: deprecated fields, variables that nothing uses.
    pub warnings: Vec<Diagnostic>,
}

impl Built {
    /// Writes the objects as `kubectl kustomize` prints them.
    pub fn to_yaml(&self) -> String {
        let documents: Vec<String> = self.objects.iter().map(|object| emit::document(&object.node)).collect();
        documents.join("---\n")
    }
}

/// Builds the kustomization in a folder of a tree; `None` is the top.
///
/// # Errors
/// The first mistake, with its place. See the module.
pub fn build(tree: &Tree, root: Option<&RelPath>, environment: &Environment<'_>) -> Result<Built, Error> {
    let mut builder = accumulate::Builder::new(environment);
    let resources = builder.build(folder::Folder::new(tree, root.cloned(), environment))?;
    let mut objects = Vec::with_capacity(resources.len());
    for resource in resources {
        let finished = resource
            .node
            .finish()
            .map_err(|problem| problem.of(resource.label()).at(&resource.origin.file, resource.at()))?;
        let namespace = Some(resource.namespace().to_owned()).filter(|namespace| !namespace.is_empty());
        objects.push(Object {
            api_version: resource.api_version().to_owned(),
            kind: resource.kind().to_owned(),
            name: resource.name().to_owned(),
            namespace,
            node: finished,
            origin: resource.origin,
        });
    }
    Ok(Built { objects, warnings: builder.warnings })
}
