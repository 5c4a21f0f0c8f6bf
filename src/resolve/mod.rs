//! Spec → Lock: reads every input, finds every image, pins each to a digest.
//!
//! ```text
//!  manifests, kustomizations ─┐
//!  charts ─ renderings ───────┴─ objects ─ search ─┐
//!  images of the spec ─────────────────────────────┼─ one entry per name, all its reasons ─ pin ─→ Lock
//!  files ──────────────────────────────────────────┘
//! ```
//!
//! | file | owns |
//! |---|---|
//! | `inputs.rs` | reading manifests and files |
//! | `kustomize/` | building kustomizations |
//! | `remotes.rs` | what remote addresses stand for |
//! | `gitops/` | objects of GitOps tools, followed to their charts and kustomizations |
//! | `charts/` | fetching, completing and rendering charts |
//! | `batch.rs` | objects between reading and searching |
//! | `search.rs` | all objects at once: what is an image, and what becomes of guesses |
//! | `beyond.rs` | optional images; what is found and not carried |
//! | `parallel.rs` | work on all processors |
//! | `pin.rs` | tag → digest, keeping the pins of the lock before |
//! | `signatures.rs` | who must have signed what is pinned |
//!
//! # Invariants
//! - Everything that cannot be read, understood or pinned is an error; nothing is left out in silence.
//! - Pins do not move unless asked: an image that the previous lock pinned keeps its digest.
//! - Inputs are read in parallel; the lock does not depend on their order.
//!
//! # Failure
//! [`Error`] carries every mistake of all inputs, each with its place.

mod batch;
mod beyond;
pub mod charts;
mod gitops;
mod inputs;
mod kustomize;
mod parallel;
mod pin;
mod remotes;
mod search;
mod signatures;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use crate::{
    discover::{Confidence, Finding, Step},
    error::{Classify, Diagnostic, Kind, Location, Side},
    event::Observer,
    files, helm,
    lock::{Difference, Lock, LockedChart, LockedFile, LockedImage, NotCarried},
    oci::{Digest, Reference},
    registry::Registries,
    spec::Spec,
};

use charts::Acquirer;
use search::Input;

/// Says why a spec did not resolve.
#[derive(Debug, thiserror::Error)]
#[error("{summary}")]
pub struct Error {
    summary: String,
    kind: Kind,
    side: Option<Side>,
    diagnostics: Vec<Diagnostic>,
}

impl Error {
    /// Makes an error of everything that went wrong; the kind that says most decides.
    fn of(what: &str, failures: Vec<(Kind, Diagnostic)>) -> Self {
        let rank = |kind: &Kind| match kind {
            Kind::Usage => 5,
            Kind::Untrusted => 4,
            Kind::Corrupt => 3,
            Kind::NotFound => 2,
            Kind::Unavailable => 1,
            // Guesses are decided about in a file; nothing else can be wrong with them.
            _ => 0,
        };
        let kind = failures.iter().map(|(kind, _)| *kind).max_by_key(rank).unwrap_or(Kind::Internal);
        let number = failures.len();
        let summary = if number == 1 {
            format!("the spec does not resolve: {what}")
        } else {
            format!("the spec does not resolve: {number} mistakes in {what}")
        };
        let side = (!matches!(kind, Kind::Usage | Kind::Incomplete)).then_some(Side::Source);
        Error { summary, kind, side, diagnostics: failures.into_iter().map(|(_, diagnostic)| diagnostic).collect() }
    }
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn side(&self) -> Option<Side> {
        self.side
    }

    fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }
}

/// Says which pins may move.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Update {
    /// None: what is pinned stays.
    #[default]
    Nothing,
    /// All.
    Everything,
    /// Those whose name holds one of these texts.
    Matching(Vec<String>),
}

impl Update {
    fn moves(&self, image: &Reference) -> bool {
        self.moves_any(&[&image.to_string()])
    }

    /// Tells whether what goes by any of these names may move.
    fn moves_any(&self, names: &[&str]) -> bool {
        match self {
            Update::Nothing => false,
            Update::Everything => true,
            Update::Matching(parts) => parts.iter().any(|part| names.iter().any(|name| name.contains(part.as_str()))),
        }
    }
}

/// What is resolved, and with what.
pub struct Job<'a> {
    /// The spec.
    pub spec: &'a Spec,
    /// Its folder.
    pub folder: &'a Path,
    /// The lock before, if there is one.
    pub previous: Option<&'a Lock>,
    /// Which pins may move.
    pub update: Update,
    /// Today as a number, `20261231`: the sequence of a first lock.
    pub date: u64,
    /// How registries are reached.
    pub registries: &'a Registries,
    /// How many requests run at the same time.
    pub jobs: usize,
    /// Is told what happens.
    pub observer: &'a dyn Observer,
}

/// What a spec resolved to.
#[derive(Clone, Debug)]
pub struct Resolution {
    /// The lock.
    pub lock: Lock,
    /// The charts of the lock, in the same order, as they travel.
    pub packages: Vec<helm::Package>,
    /// What deserves a look.
    pub warnings: Vec<Diagnostic>,
}

/// Everything that a spec asks for, before anything is pinned.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Images by name, each with all its reasons.
    pub images: BTreeMap<Reference, WantedImage>,
    /// Images that were found and are not carried, sorted by name.
    pub not_carried: Vec<NotCarried>,
    /// Charts, sorted by name and version.
    pub charts: Vec<LockedChart>,
    /// The same charts, in the same order, as they travel.
    pub packages: Vec<helm::Package>,
    /// Files.
    pub files: Vec<LockedFile>,
    /// What deserves a look.
    pub warnings: Vec<Diagnostic>,
}

/// A chart on its way into the lock.
#[derive(Clone, Debug)]
struct Carried {
    locked: LockedChart,
    package: helm::Package,
}

/// One image before it is pinned.
#[derive(Clone, Debug, Default)]
pub struct WantedImage {
    /// Where it is pulled from instead.
    pub from: Option<Reference>,
    /// The file that it comes from.
    pub archive: Option<String>,
    /// Why it is wanted.
    pub because: Vec<Finding>,
}

impl Wanted {
    /// Returns what differs between what the spec asks for and what a lock pins; digests are the lock's own business,
    /// except where the spec itself names one.
    pub fn compare(&self, spec: &Spec, lock: &Lock) -> Vec<Difference> {
        let images = self.images.iter().map(|(name, image)| {
            let pinned = lock.images.iter().find(|pinned| pinned.image == *name);
            let absent = || LockedImage {
                image: name.clone(),
                digest: Digest::sha256(b""),
                media_type: crate::oci::media_type::INDEX.into(),
                size: 0,
                from: None,
                archive: None,
                verified: Vec::new(),
                because: Vec::new(),
            };
            LockedImage {
                from: image.from.clone(),
                archive: image.archive.clone(),
                because: image.because.clone(),
                ..pinned.cloned().unwrap_or_else(absent)
            }
        });
        let wanted = Lock {
            name: spec.name.clone(),
            version: spec.version.clone(),
            sequence: lock.sequence,
            platforms: spec.platforms.clone(),
            charts: self.charts.clone(),
            images: images.collect(),
            // What is not carried changes nothing in the archive.
            not_carried: lock.not_carried.clone(),
            files: self.files.clone(),
        };
        wanted.compare(lock)
    }
}

/// Reads every input of a spec and returns what it asks for; needs the network only for inputs that are addresses.
///
/// # Errors
/// Every mistake in every input.
pub async fn gather(job: &Job<'_>) -> Result<Wanted, Error> {
    let mut failures: Vec<(Kind, Diagnostic)> = signatures::rules(job).err().unwrap_or_default();
    let mut wanted = Wanted::default();
    // What several entries need is fetched once.
    let acquirer = Arc::new(Acquirer::new(job.registries));
    let (read, fetched) = tokio::join!(inputs::manifests(job, &acquirer), charts::charts(job, &acquirer));
    let mut all = Vec::with_capacity(read.len() + fetched.len());
    // Charts of the spec that are at hand stand in for those that objects name.
    let mut copies = Vec::new();
    for (entry, result) in read {
        match result {
            Ok(read) => {
                wanted.warnings.extend(read.warnings);
                failures.extend(read.failures);
                for chart in read.charts {
                    carry(&mut wanted, &mut failures, &entry.label, &entry.at, chart);
                }
                all.push(Input {
                    label: entry.label.clone(),
                    at: entry.at.clone(),
                    subject: None,
                    batches: read.batches,
                    listed: Vec::new(),
                    ground: None,
                });
            }
            Err(mistakes) => failures.extend(mistakes),
        }
    }
    for (chart, result) in fetched {
        match result {
            Ok(outcome) => {
                all.push(Input {
                    label: chart.entry.label.clone(),
                    at: chart.entry.at.clone(),
                    subject: Some(outcome.subject),
                    batches: outcome.batches,
                    listed: outcome.listed,
                    ground: outcome.ground,
                });
                wanted.warnings.extend(outcome.warnings);
                failures.extend(outcome.failures);
                let carried = Carried { locked: outcome.locked, package: outcome.package };
                if matches!(chart.source, crate::spec::ChartSource::Path(_)) {
                    copies.push(carried.clone());
                }
                carry(&mut wanted, &mut failures, &chart.entry.label, &chart.entry.at, carried);
            }
            Err(mistakes) => failures.extend(mistakes),
        }
    }
    let followed = gitops::follow(job, &acquirer, &mut all, copies).await;
    wanted.warnings.extend(followed.warnings);
    failures.extend(followed.failures);
    for (label, at, chart) in followed.charts {
        carry(&mut wanted, &mut failures, &label, &at, chart);
    }
    let (spec, folder) = (job.spec.clone(), job.folder.to_owned());
    let places: BTreeMap<String, Location> = all.iter().map(|input| (input.label.clone(), input.at.clone())).collect();
    let settled = followed.settled;
    let outcome = files::blocking(move || search::search(&spec, &folder, &all, &settled)).await;
    wanted.warnings.extend(outcome.warnings);
    wanted.not_carried = outcome.not_carried;
    failures.extend(outcome.failures);
    for finding in outcome.taken {
        let Some(Step::Entry { entry }) = finding.provenance.first() else { continue };
        let Some(at) = places.get(entry) else { continue };
        add(job.spec, &mut wanted, &mut failures, at, finding, None);
    }
    sort_charts(&mut wanted);
    for image in &job.spec.images {
        let finding = Finding {
            written: image.written.clone(),
            confidence: Confidence::Declared,
            provenance: vec![Step::entry(image.entry.label.clone())],
        };
        add(job.spec, &mut wanted, &mut failures, &image.entry.at, finding, image.archive.clone());
    }
    match inputs::files(job).await {
        Ok(files) => wanted.files = files,
        Err(mistakes) => failures.extend(mistakes),
    }
    if failures.is_empty() {
        return Ok(wanted);
    }
    let undecided = failures.iter().all(|(_, diagnostic)| diagnostic.code == "guess-undecided");
    let what = if undecided { "guesses that nobody decided about" } else { "its inputs" };
    Err(Error::of(what, failures))
}

/// Takes a chart; one that two entries carry is carried once.
fn carry(wanted: &mut Wanted, failures: &mut Vec<(Kind, Diagnostic)>, label: &str, at: &Location, chart: Carried) {
    let Carried { locked, package } = chart;
    let same = |other: &&mut LockedChart| other.chart == locked.chart && other.version == locked.version;
    match wanted.charts.iter_mut().find(same) {
        Some(other) if other.digest == locked.digest => {
            for way in locked.because {
                if !other.because.contains(&way) {
                    other.because.push(way);
                }
            }
        }
        Some(other) => {
            let text = format!(
                "{label}: {} {} has other content here than from {}",
                locked.chart, locked.version, other.source
            );
            failures.push((
                Kind::Usage,
                Diagnostic::error("chart-twice", text)
                    .at(at.clone())
                    .hint("give one of them another version in its Chart.yaml"),
            ));
        }
        None => {
            wanted.charts.push(locked);
            wanted.packages.push(package);
        }
    }
}

fn sort_charts(wanted: &mut Wanted) {
    let charts = std::mem::take(&mut wanted.charts).into_iter().zip(std::mem::take(&mut wanted.packages));
    let mut both: Vec<(LockedChart, helm::Package)> = charts.collect();
    both.sort_by(|(a, _), (b, _)| (&a.chart, &a.version).cmp(&(&b.chart, &b.version)));
    (wanted.charts, wanted.packages) = both.into_iter().unzip();
}

fn add(
    spec: &Spec,
    wanted: &mut Wanted,
    failures: &mut Vec<(Kind, Diagnostic)>,
    at: &crate::error::Location,
    finding: Finding,
    archive: Option<String>,
) {
    let reference = match finding.written.parse::<Reference>() {
        Ok(reference) => reference.with_default_tag(),
        Err(error) => {
            failures.push((Kind::Usage, Diagnostic::error("image", error.to_string()).at(at.clone())));
            return;
        }
    };
    let image = wanted.images.entry(reference.clone()).or_default();
    image.from = spec.substitute(&reference).map(|(from, _)| from);
    if let Some(archive) = archive {
        match &image.archive {
            Some(other) if *other != archive => {
                let text = format!("{reference} comes from two files, {other} and {archive}");
                failures.push((Kind::Usage, Diagnostic::error("image-twice", text).at(at.clone())));
            }
            _ => image.archive = Some(archive),
        }
    }
    if !image.because.contains(&finding) {
        image.because.push(finding);
    }
}

/// Resolves a spec: gathers everything that it asks for and pins it.
///
/// # Errors
/// Every mistake in every input; then every image that cannot be pinned.
pub async fn resolve(job: &Job<'_>) -> Result<Resolution, Error> {
    let wanted = gather(job).await?;
    let pinned = pin::pin(job, &wanted.images).await?;
    let mut images: Vec<LockedImage> = pinned;
    let mut warnings = wanted.warnings;
    warnings.extend(signatures::check(job, &mut images).await?);
    let mut lock = Lock {
        name: job.spec.name.clone(),
        version: job.spec.version.clone(),
        sequence: 0,
        platforms: job.spec.platforms.clone(),
        charts: wanted.charts,
        images,
        not_carried: wanted.not_carried,
        files: wanted.files,
    };
    lock.sequence = lock.next_sequence(job.previous, job.date);
    Ok(Resolution { lock, packages: wanted.packages, warnings })
}

/// Checks the signatures that the spec wants of the images of a lock, and returns the lock as it is with what was found.
///
/// # Errors
/// Every image that is not signed as it must be.
pub async fn verify(job: &Job<'_>, lock: &Lock) -> Result<(Lock, Vec<Diagnostic>), Error> {
    let mut lock = lock.clone();
    for image in &mut lock.images {
        image.verified.clear();
    }
    let warnings = signatures::check(job, &mut lock.images).await?;
    Ok((lock, warnings))
}
