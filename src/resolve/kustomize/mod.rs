//! Kustomizations of a spec: from a folder on this machine to objects.
//!
//! | file | owns |
//! |---|---|
//! | `reading.rs` | which files a kustomization needs, and reading just those |
//! | `inflate.rs` | `helmCharts`: rendered here |
//!
//! # Invariants
//! - Bases may lie anywhere in the folder of the spec, and nowhere else.
//! - Nothing is fetched but charts of an exact version: what is built changes only when somebody changes a file.

mod inflate;
mod reading;

use std::{path::Path, sync::Arc};

use super::{
    batch::{Batch, Origin, shown},
    charts::Acquirer,
};
use crate::{
    error::{Classify as _, Diagnostic, Kind, Location},
    kube::kustomize::{self, Environment, Limits, Problem},
    spec::{Entry, Kubernetes},
    tree::{PathError, RelPath},
};

type Failures = Vec<(Kind, Diagnostic)>;

/// What a kustomization gave.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) batch: Batch,
    pub(super) warnings: Vec<Diagnostic>,
}

/// Builds the kustomization of an entry; blocks for as long as that takes. Charts are fetched by `runtime`.
///
/// # Errors
/// The folder is outside of the spec's, or the kustomization does not build.
pub(super) fn build(
    folder: &Path,
    written: &str,
    entry: &Entry,
    cluster: &Kubernetes,
    acquirer: &Acquirer,
    runtime: &tokio::runtime::Handle,
) -> Result<Built, Failures> {
    let wrong = |kind: Kind, text: String| {
        (kind, Diagnostic::error("kustomize", format!("{}: {text}", entry.label)).at(entry.at.clone()))
    };
    let root = match RelPath::join(None, written) {
        Ok(root) => Some(root),
        Err(PathError::Empty) => None,
        Err(_) => {
            let text = format!("{written} is not in the folder of the spec");
            let (kind, diagnostic) = wrong(Kind::Usage, text);
            return Err(vec![(
                kind,
                diagnostic.hint("move the spec to a folder that holds the kustomization and all its bases"),
            )]);
        }
    };
    let tree = reading::read(folder, root.as_ref()).map_err(|error| vec![wrong(error.kind(), error.to_string())])?;
    let charts = inflate::Inflater { folder, cluster, acquirer, runtime };
    let environment = Environment { remote: None, charts: Some(&charts), limits: Limits::default() };
    let built = kustomize::build(&tree, root.as_ref(), &environment).map_err(|error| {
        let at = match *error.problem {
            // The place is a folder.
            Problem::NoKustomization { .. } | Problem::ManyKustomizations { .. } => entry.at.clone(),
            _ => Location { file: shown(folder, &error.at.file), ..(*error.at).clone() },
        };
        let (text, hint) = told(&error.problem);
        let diagnostic = Diagnostic::error("kustomize", format!("{}: {text}", entry.label)).at(at);
        // What is not there is not asked of anybody: the kustomization is wrong.
        vec![(Kind::Usage, hint.into_iter().fold(diagnostic, Diagnostic::hint))]
    })?;
    let warnings = built.warnings.into_iter().map(|warning| {
        let at = warning.at.map(|at| Location { file: shown(folder, &at.file), ..at });
        Diagnostic { message: format!("{}: {}", entry.label, warning.message), at, ..warning }
    });
    let origin = Origin::Built { tree: Arc::new(tree), folder: folder.to_owned() };
    Ok(Built { batch: Batch { objects: built.objects, origin }, warnings: warnings.collect() })
}

/// Says what is wrong, and what to do where the cause is that this is a spec.
fn told(problem: &Problem) -> (String, Option<&'static str>) {
    match problem {
        Problem::Undeclared { what } => (
            format!("{what} is remote, and a kustomization of a spec is built from files that are there"),
            Some("put it beside the kustomization (`git clone`, a submodule, `curl -O`) and name that path"),
        ),
        Problem::LeavesTree { .. } | Problem::AbsolutePath { .. } => {
            (problem.to_string(), Some("move the spec to a folder that holds the kustomization and all its bases"))
        }
        Problem::NoKustomization { .. } => (problem.to_string(), Some("name the folder that holds kustomization.yaml")),
        _ => (problem.to_string(), None),
    }
}
