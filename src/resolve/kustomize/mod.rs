//! Kustomizations of a spec: from a folder on this machine to objects.
//!
//! | file | owns |
//! |---|---|
//! | `reading.rs` | which files a kustomization needs, and reading just those |
//! | `inflate.rs` | `helmCharts`: rendered here |
//!
//! # Invariants
//! - Bases may lie anywhere in the folder of the spec, and nowhere else.
//! - Nothing is fetched but charts of an exact version and what `remotes` of the spec fixes: what is built changes only when
//!   somebody changes a file.

mod inflate;
mod reading;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    Carried, Job, Update,
    batch::{Batch, Home, Origin, shown},
    charts::{self, Acquirer},
    remotes::Remotes,
};
use crate::{
    discover::Step,
    error::{Classify as _, Diagnostic, Kind, Location},
    kube::{
        Object,
        kustomize::{self, Environment, Limits, Problem},
    },
    lock::LockedChart,
    registry::Registries,
    spec::{Entry, Kubernetes, Remote},
    tree::{PathError, RelPath, Tree},
};

pub(super) use reading::{NAMES, read};

type Failures = Vec<(Kind, Diagnostic)>;

/// What a kustomization gave.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) batch: Batch,
    pub(super) warnings: Vec<Diagnostic>,
    pub(super) charts: Vec<Carried>,
}

/// What builds need besides files; owned, for threads that may wait.
#[derive(Clone)]
pub(super) struct Workshop {
    /// The folder of the spec.
    pub(super) folder: PathBuf,
    pub(super) cluster: Kubernetes,
    pub(super) acquirer: Arc<Acquirer>,
    pub(super) registries: Registries,
    pub(super) runtime: tokio::runtime::Handle,
    pub(super) declared: Vec<Remote>,
    /// The charts of the lock before.
    pub(super) pins: Vec<LockedChart>,
    pub(super) update: Update,
}

impl Workshop {
    /// Takes what a job says; must be called on the runtime.
    pub(super) fn of(job: &Job<'_>, acquirer: &Arc<Acquirer>) -> Workshop {
        Workshop {
            folder: job.folder.to_owned(),
            cluster: job.spec.kubernetes.clone(),
            acquirer: acquirer.clone(),
            registries: job.registries.clone(),
            runtime: tokio::runtime::Handle::current(),
            declared: job.spec.remotes.clone(),
            pins: job.previous.map(|lock| lock.charts.clone()).unwrap_or_default(),
            update: job.update.clone(),
        }
    }
}

/// A kustomization to build.
pub(super) struct Task<'a> {
    pub(super) tree: &'a Tree,
    /// Its folder; none at the top.
    pub(super) root: Option<&'a RelPath>,
    /// Where the files of the tree are.
    pub(super) home: &'a Home,
    /// A folder that was put in front of their paths.
    pub(super) inside: Option<&'a str>,
    /// The steps to what asks for it, the entry of the spec first.
    pub(super) way: &'a [Step],
}

/// What came out of a build; files are named as in the tree.
pub(super) struct Product {
    pub(super) objects: Vec<Object>,
    pub(super) warnings: Vec<Diagnostic>,
    pub(super) charts: Vec<Carried>,
}

/// Says why a kustomization does not build.
pub(super) struct Mistake {
    pub(super) kind: Kind,
    pub(super) text: String,
    pub(super) hint: Option<String>,
    /// The place, with the file as in the tree; none when it is the whole folder.
    pub(super) at: Option<Location>,
}

/// Builds a kustomization; blocks for as long as that takes.
///
/// # Errors
/// The first mistake.
pub(super) fn make(workshop: &Workshop, task: &Task<'_>) -> Result<Product, Mistake> {
    let inflater = inflate::Inflater { workshop, home: task.home, inside: task.inside, used: Mutex::default() };
    let remotes = Remotes {
        declared: workshop.declared.clone(),
        folder: workshop.folder.clone(),
        acquirer: workshop.acquirer.clone(),
        registries: workshop.registries.clone(),
        runtime: workshop.runtime.clone(),
        failure: Mutex::default(),
    };
    let environment = Environment { remote: Some(&remotes), charts: Some(&inflater), limits: Limits::default() };
    let built = kustomize::build(task.tree, task.root, &environment).map_err(|error| {
        let at = match *error.problem {
            // The place is a folder.
            Problem::NoKustomization { .. } | Problem::ManyKustomizations { .. } => None,
            _ => Some((*error.at).clone()),
        };
        if let Some((kind, text)) = remotes.failure() {
            return Mistake { kind, text, hint: None, at };
        }
        let (text, hint) = told(&error.problem);
        // What is not there is not asked of anybody: the kustomization is wrong.
        Mistake { kind: Kind::Usage, text, hint, at }
    })?;
    let used = inflater.used.into_inner().unwrap_or_else(PoisonError::into_inner);
    let carried = used.into_iter().map(|(file, acquired)| {
        let mut way = task.way.to_vec();
        if !file.is_empty() {
            let file = match task.home {
                Home::Git(checkout) => format!("{}:{file}", checkout.source()),
                _ => file,
            };
            way.push(Step::File { file, line: None });
        }
        Carried { locked: charts::locked(&acquired, way), package: acquired.package }
    });
    Ok(Product { objects: built.objects, warnings: built.warnings, charts: carried.collect() })
}

/// Builds the kustomization of an entry; blocks for as long as that takes.
///
/// # Errors
/// The folder is outside of the spec's, or the kustomization does not build.
pub(super) fn build(workshop: &Workshop, written: &str, entry: &Entry) -> Result<Built, Failures> {
    let folder: &Path = &workshop.folder;
    let wrong = |kind: Kind, text: String| {
        (kind, Diagnostic::error("kustomize", format!("{}: {text}", entry.label)).at(entry.at.clone()))
    };
    let root = match RelPath::join(None, written) {
        Ok(root) => Some(root),
        Err(PathError::Empty) => None,
        Err(_) => {
            let text = format!("{written} is not in the folder of the spec");
            let (kind, diagnostic) = wrong(Kind::Usage, text);
            return Err(vec![(kind, diagnostic.hint(MOVE))]);
        }
    };
    let tree = reading::read(folder, root.as_ref()).map_err(|error| vec![wrong(error.kind(), error.to_string())])?;
    let way = [Step::entry(entry.label.clone())];
    let task = Task { tree: &tree, root: root.as_ref(), home: &Home::Spec, inside: None, way: &way };
    let product = make(workshop, &task).map_err(|mistake| {
        let at = mistake.at.map(|at| Location { file: shown(folder, &at.file), ..at });
        let (kind, diagnostic) = wrong(mistake.kind, mistake.text);
        let diagnostic = diagnostic.at(at.unwrap_or_else(|| entry.at.clone()));
        vec![(kind, mistake.hint.into_iter().fold(diagnostic, Diagnostic::hint))]
    })?;
    let warnings = product.warnings.into_iter().map(|warning| {
        let at = warning.at.map(|at| Location { file: shown(folder, &at.file), ..at });
        Diagnostic { message: format!("{}: {}", entry.label, warning.message), at, ..warning }
    });
    let origin = Origin::Built { tree: Arc::new(tree), folder: folder.to_owned() };
    Ok(Built { batch: Batch::new(product.objects, origin), warnings: warnings.collect(), charts: product.charts })
}

/// What to do about a base outside.
const MOVE: &str = "move the spec to a folder that holds the kustomization and all its bases";

/// Says what is wrong, and what to do where the cause is that this is a spec.
fn told(problem: &Problem) -> (String, Option<String>) {
    match problem {
        Problem::Undeclared { what } => (
            format!("{what} is remote, and a kustomization of a spec is built from what the spec fixes"),
            Some(format!(
                "declare it under `remotes` of the spec: `{what:?}: {{commit: …}}` for a commit of a repository, \
                 `{{sha256: …}}` for a file, or `{{path: …}}` for a copy beside the spec"
            )),
        ),
        Problem::LeavesTree { .. } | Problem::AbsolutePath { .. } => (problem.to_string(), Some(MOVE.to_owned())),
        Problem::NoKustomization { .. } => {
            (problem.to_string(), Some("name the folder that holds kustomization.yaml".to_owned()))
        }
        _ => (problem.to_string(), None),
    }
}
