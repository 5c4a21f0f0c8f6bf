//! Charts: fetched, completed and rendered.
//!
//! ```text
//!  entry ─ acquire.rs ─ web | registry | git | folder ─→ files ─ vendor.rs ─→ Acquired ─ render.rs ─→ objects
//!                 ↑ range, pins of the lock                ↑ dependencies        ↑ values.rs, variants
//! ```
//!
//! | file | owns |
//! |---|---|
//! | `acquire.rs` | [`Acquirer`]: from an address and a range to files |
//! | `web.rs`, `registry.rs`, `git.rs`, `folder.rs` | the four kinds of places |
//! | `checkout.rs` | whole repositories in git |
//! | `repositories.rs` | helm's `repositories.yaml` |
//! | `once.rs` | everything is fetched once |
//! | `vendor.rs` | [`Acquired`]: dependencies put inside |
//! | `inputs.rs` | [`inputs`]: charts with what they are rendered with, for others that render |
//! | `values.rs` | values of an entry, and where a key of them stands |
//! | `render.rs` | renderings, and their objects |
//! | `optional.rs` | images that other values bring |
//! | `lists.rs` | lists of images that authors publish |
//!
//! # Invariants
//! - What does not load or render stops everything; every such chart is named in one run.
//! - The lock names public addresses; mirrors, logins and paths outside the spec do not show.
//! - Renderings see the same time and the same random bytes every time, so the lock does not change by itself.

mod acquire;
mod checkout;
mod error;
mod folder;
mod git;
mod inputs;
mod lists;
mod once;
pub(super) mod optional;
mod registry;
mod render;
mod repositories;
mod values;
mod vendor;
mod web;

use std::sync::Arc;

use futures_util::{StreamExt, stream};

use optional::Ground;

use super::{Job, batch::Batch, search::Listed};
use crate::{
    discover::Step,
    error::{Classify as _, Diagnostic, Kind},
    event::{Event, Phase},
    files,
    helm::Package,
    lock::{LockedChart, LockedDependency},
    oci::Digest,
    spec::{self, ChartSource},
};

pub(super) use acquire::fits;
pub use acquire::{Acquirer, Ask};
pub(super) use checkout::Checkout;
pub use error::Error;
pub use folder::{unpack, unpack_inner};
pub use inputs::{Input, ambient, inputs};
pub(super) use render::NOW;
pub(super) use values::{Ready, Values};
pub use vendor::Acquired;
pub(super) use vendor::of_archive;

/// What an entry of `charts` gave.
pub(super) struct Outcome {
    pub(super) locked: LockedChart,
    pub(super) package: Package,
    /// What mistakes of its objects begin with.
    pub(super) subject: String,
    pub(super) batches: Vec<Batch>,
    pub(super) listed: Vec<Listed>,
    /// What trying other values takes; none when the chart does not render with those of the spec.
    pub(super) ground: Option<Ground>,
    pub(super) warnings: Vec<Diagnostic>,
    /// Renderings that fail; the others are searched all the same, so that their mistakes are told in the same run.
    pub(super) failures: Failures,
}

/// Mistakes with their kinds.
type Failures = Vec<(Kind, Diagnostic)>;

/// Acquires and renders every chart of the spec, in its order.
pub(super) async fn charts<'a>(
    job: &Job<'a>,
    acquirer: &Acquirer,
) -> Vec<(&'a spec::Chart, Result<Outcome, Failures>)> {
    if !job.spec.charts.is_empty() {
        job.observer.on(&Event::Planned { phase: Phase::Charts, items: job.spec.charts.len() as u64, bytes: 0 });
    }
    stream::iter(&job.spec.charts)
        .map(async |chart| {
            let done = one(job, acquirer, chart).await;
            if done.is_ok() {
                job.observer.on(&Event::Done { phase: Phase::Charts, item: chart.name.clone(), bytes: 0 });
            }
            (chart, done)
        })
        .buffered(job.jobs.max(1))
        .collect()
        .await
}

async fn one(job: &Job<'_>, acquirer: &Acquirer, entry: &spec::Chart) -> Result<Outcome, Failures> {
    // Values that cannot be read are told in the same run as a chart that cannot be had.
    let values = values::read(job.folder, &job.spec.file, entry);
    let acquired = acquire(job, acquirer, &entry.name, entry, &entry.entry.label).await;
    let (acquired, values) = match (acquired, values) {
        (Ok(acquired), Ok(values)) => (acquired, values),
        (acquired, values) => {
            let mut failures = values.err().unwrap_or_default();
            failures.extend(acquired.err().unwrap_or_default());
            return Err(failures);
        }
    };
    let because = vec![Step::entry(entry.entry.label.clone())];
    finish(acquired, entry, values, job.spec.kubernetes.clone(), because).await
}

/// Fetches the chart `name` of an entry; `label` is what the lock calls the entry.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) async fn acquire(
    job: &Job<'_>,
    acquirer: &Acquirer,
    name: &str,
    entry: &spec::Chart,
    label: &str,
) -> Result<Acquired, Failures> {
    let pins = pins(job, name, &entry.source, label);
    let moves = |inside: &LockedDependency| job.update.moves_any(&[&inside.path, &inside.source]);
    let ask = Ask { name, source: &entry.source, folder: job.folder, pins: &pins, moves: &moves };
    acquirer.acquire(&ask).await.map_err(|errors| {
        errors.into_iter().map(|error| (error.kind(), diagnostic(entry, &error))).collect::<Failures>()
    })
}

/// Renders a chart that is complete; `because` is the way to it from the spec.
///
/// # Errors
/// Nothing can be rendered.
pub(super) async fn finish(
    acquired: Acquired,
    entry: &spec::Chart,
    values: Values,
    cluster: spec::Kubernetes,
    because: Vec<Step>,
) -> Result<Outcome, Failures> {
    let locked = locked(&acquired, because);
    let Acquired { chart, package, warnings, .. } = acquired;
    let mut warnings: Vec<Diagnostic> =
        warnings.into_iter().map(|warning| Diagnostic { at: Some(entry.entry.at.clone()), ..warning }).collect();
    let ground = Ground {
        chart: Arc::new(chart),
        entry: entry.clone(),
        values: Arc::new(values),
        cluster,
        said: Arc::default(),
    };
    let (ground, mut rendered) = files::blocking(move || {
        let rendered = render::render(&ground.chart, &ground.entry, &ground.values, &ground.cluster)?;
        Ok::<_, Failures>((ground, rendered))
    })
    .await?;
    let chart = ground.chart.clone();
    warnings.append(&mut rendered.warnings);
    let said = Arc::new(std::mem::take(&mut rendered.said));
    let ground = rendered.failures.is_empty().then_some(Ground { said, ..ground });
    let mut listed = Vec::new();
    lists::read(&chart, &mut listed, &mut warnings, entry);
    let subject = render::subject(&chart, entry);
    Ok(Outcome {
        locked,
        package,
        subject,
        batches: rendered.batches,
        listed,
        ground,
        warnings,
        failures: rendered.failures,
    })
}

/// Returns what the lock says of a chart that was found on this way.
pub(super) fn locked(acquired: &Acquired, because: Vec<Step>) -> LockedChart {
    let (metadata, package) = (&acquired.chart.metadata, &acquired.package);
    LockedChart {
        chart: metadata.name.clone(),
        version: metadata.version.clone(),
        digest: package.digest(),
        archive: Digest::sha256(&package.archive),
        size: package.archive.len() as u64,
        source: acquired.source.clone(),
        vendored: acquired.vendored.clone(),
        because: vec![because],
    }
}

fn diagnostic(entry: &spec::Chart, error: &Error) -> Diagnostic {
    let text = format!("{}: {error}", entry.entry.label);
    let diagnostic = Diagnostic::error("chart", text).at(entry.entry.at.clone());
    match error.hint() {
        Some(hint) => diagnostic.hint(hint),
        None => diagnostic,
    }
}

/// Returns what the lock before says about the chart of an entry, the entry's own first.
pub(super) fn pins<'a>(job: &Job<'a>, name: &str, source: &ChartSource, label: &str) -> Vec<&'a LockedChart> {
    let Some(previous) = job.previous else { return Vec::new() };
    let wanted = name;
    let in_registry = match source {
        ChartSource::Repo { url, .. } => registry::Address::parse(url).ok().map(|address| address.chart().to_owned()),
        ChartSource::Path(_) => None,
    };
    let same_entry = |locked: &LockedChart| locked.because.iter().any(|way| way.first() == Some(&Step::entry(label)));
    // A chart from a folder or from git may have another name than its release.
    let by_place = match source {
        ChartSource::Path(_) => true,
        ChartSource::Repo { url, .. } => url.starts_with("git+"),
    };
    let name = in_registry.as_deref().unwrap_or(wanted);
    let mut found: Vec<&LockedChart> = previous
        .charts
        .iter()
        .filter(|locked| locked.chart == name || (by_place && same_entry(locked)))
        .filter(|locked| !job.update.moves_any(&[wanted, &locked.chart, &locked.source]))
        .collect();
    found.sort_by_key(|locked| !same_entry(locked));
    found
}
