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
//! | `age.rs` | how old files are |
//! | `inputs.rs` | reading manifests and files |
//! | `kustomize/` | building kustomizations |
//! | `charts/` | fetching, completing and rendering charts |
//! | `batch.rs` | objects between reading and searching |
//! | `search.rs` | all objects at once: what is an image, and what becomes of guesses |
//! | `pin.rs` | tag → digest, keeping the pins of the lock before |
//!
//! # Invariants
//! - Everything that cannot be read, understood or pinned is an error; nothing is left out in silence.
//! - Pins do not move unless asked: an image that the previous lock pinned keeps its digest.
//! - Inputs are read in parallel; the lock does not depend on their order.
//!
//! # Failure
//! [`Error`] carries every mistake of all inputs, each with its place.

mod age;
mod batch;
pub mod charts;
mod inputs;
mod kustomize;
mod pin;
mod search;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use crate::{
    discover::{Confidence, Finding, Step},
    error::{Classify, Diagnostic, Kind, Location, Side},
    event::Observer,
    files, helm,
    lock::{Difference, Lock, LockedChart, LockedFile, LockedHost, LockedImage},
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
    /// Charts, sorted by name and version.
    pub charts: Vec<LockedChart>,
    /// The same charts, in the same order, as they travel.
    pub packages: Vec<helm::Package>,
    /// Files.
    pub files: Vec<LockedFile>,
    /// Host names.
    pub hosts: Vec<LockedHost>,
    /// What deserves a look.
    pub warnings: Vec<Diagnostic>,
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
            files: self.files.clone(),
            hosts: self.hosts.clone(),
        };
        wanted.compare(lock)
    }
}

/// Reads every input of a spec and returns what it asks for; needs the network only for inputs that are addresses.
///
/// # Errors
/// Every mistake in every input.
pub async fn gather(job: &Job<'_>) -> Result<Wanted, Error> {
    let mut failures: Vec<(Kind, Diagnostic)> =
        unsupported(job.spec).into_iter().map(|diagnostic| (Kind::Usage, diagnostic)).collect();
    let mut wanted = Wanted::default();
    // What several entries need is fetched once.
    let acquirer = Arc::new(Acquirer::new(job.registries));
    let (read, fetched) = tokio::join!(inputs::manifests(job, &acquirer), charts::charts(job, &acquirer));
    let mut all = Vec::with_capacity(read.len() + fetched.len());
    for (entry, result) in read {
        match result {
            Ok(read) => {
                wanted.warnings.extend(read.warnings);
                failures.extend(read.failures);
                all.push(Input {
                    label: entry.label.clone(),
                    at: entry.at.clone(),
                    subject: None,
                    batches: read.batches,
                    listed: Vec::new(),
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
                });
                wanted.warnings.extend(outcome.warnings);
                failures.extend(outcome.failures);
                carry(&mut wanted, &mut failures, chart, outcome.locked, outcome.package);
            }
            Err(mistakes) => failures.extend(mistakes),
        }
    }
    wanted.hosts = batch::hosts(&all);
    let (spec, folder) = (job.spec.clone(), job.folder.to_owned());
    let places: BTreeMap<String, Location> = all.iter().map(|input| (input.label.clone(), input.at.clone())).collect();
    let outcome = files::blocking(move || search::search(&spec, &folder, &all)).await;
    wanted.warnings.extend(outcome.warnings);
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
    let undecided = failures.iter().all(|(kind, _)| *kind == Kind::Incomplete);
    let what = if undecided { "guesses that nobody decided about" } else { "its inputs" };
    Err(Error::of(what, failures))
}

/// Takes a chart; one that two entries carry is carried once.
fn carry(
    wanted: &mut Wanted,
    failures: &mut Vec<(Kind, Diagnostic)>,
    chart: &crate::spec::Chart,
    locked: LockedChart,
    package: helm::Package,
) {
    let at = &chart.entry.at;
    let same = |other: &&mut LockedChart| other.chart == locked.chart && other.version == locked.version;
    match wanted.charts.iter_mut().find(same) {
        Some(other) if other.digest == locked.digest => other.because.extend(locked.because),
        Some(other) => {
            let text = format!(
                "{}: {} {} has other content here than from {}",
                chart.entry.label, locked.chart, locked.version, other.source
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

/// Returns what the spec asks for and this version cannot do: refused, because half of it would be worse than nothing.
fn unsupported(spec: &Spec) -> Vec<Diagnostic> {
    let refuse = |entry: &crate::spec::Entry, what: &str| {
        Diagnostic::error("unsupported", format!("{}: {what} are not resolved by this version", entry.label))
            .at(entry.at.clone())
    };
    let verify = spec.verify.iter().map(|verify| refuse(&verify.entry, "upstream signature policies"));
    let issuer = spec.issuer.iter().map(|issuer| refuse(&issuer.entry, "certificate authorities"));
    verify.chain(issuer).collect()
}

/// Resolves a spec: gathers everything that it asks for and pins it.
///
/// # Errors
/// Every mistake in every input; then every image that cannot be pinned.
pub async fn resolve(job: &Job<'_>) -> Result<Resolution, Error> {
    let wanted = gather(job).await?;
    let pinned = pin::pin(job, &wanted.images).await?;
    let images: Vec<LockedImage> = pinned;
    let mut lock = Lock {
        name: job.spec.name.clone(),
        version: job.spec.version.clone(),
        sequence: 0,
        platforms: job.spec.platforms.clone(),
        charts: wanted.charts,
        images,
        files: wanted.files,
        hosts: wanted.hosts,
    };
    lock.sequence = lock.next_sequence(job.previous, job.date);
    Ok(Resolution { lock, packages: wanted.packages, warnings: wanted.warnings })
}
