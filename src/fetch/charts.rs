//! Charts on their way into an archive: compared with the lock, with what upstream attached to them.
//!
//! # Invariants
//! - A chart is carried only when its artifact and its archive are the ones that the lock pins.
//! - Its content is at hand; only what is attached to it in a registry still has to be pulled.

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    Error, Job,
    companions::{self, Companion},
};
use crate::{
    archive::{PlannedAttachment, PlannedChart, Vendored},
    error::Side,
    helm::Package,
    lock::LockedChart,
    oci::{Digest, Reference},
    registry::Remote,
    store::{Graph, Memory, Policy, walk},
};

/// How a source begins that is a registry.
const REGISTRY: &str = "oci://";

/// One chart of the lock.
pub(super) struct Carried<'a> {
    locked: &'a LockedChart,
    package: &'a Package,
    graph: Graph,
    /// Where its companions are.
    pub remote: Option<Remote>,
    pub companions: Vec<Companion>,
}

/// Compares the charts with the lock and finds what speaks of them.
pub(super) async fn gather<'a>(job: &Job<'a>) -> Result<Vec<Carried<'a>>, Error> {
    if let Some(missing) = job.lock.charts.get(job.charts.len()) {
        return Err(Error::ChartAbsent { chart: title(missing) });
    }
    if let Some(extra) = job.charts.get(job.lock.charts.len()) {
        return Err(Error::ChartChanged { chart: format!("{} {}", extra.metadata.name, extra.metadata.version) });
    }
    stream::iter(job.lock.charts.iter().zip(job.charts))
        .map(async |(locked, package)| one(job, locked, package).await)
        .buffered(job.slots.total())
        .try_collect()
        .await
}

fn title(locked: &LockedChart) -> String {
    format!("{} {}", locked.chart, locked.version)
}

async fn one<'a>(job: &Job<'a>, locked: &'a LockedChart, package: &'a Package) -> Result<Carried<'a>, Error> {
    let (root, bytes) = &package.manifest;
    let is_locked = package.metadata.name == locked.chart
        && package.metadata.version == locked.version
        && root.digest == locked.digest
        && root.digest.same_algorithm(bytes) == root.digest
        && locked.archive.same_algorithm(&package.archive) == locked.archive
        && package.archive.len() as u64 == locked.size;
    if !is_locked {
        return Err(Error::ChartChanged { chart: title(locked) });
    }
    let memory = Memory::new();
    memory.set(root.digest, bytes.clone());
    let graph = walk(&memory, std::slice::from_ref(root), &Policy::default()).await?;
    let (remote, companions) = match origin(locked)? {
        Some(name) => {
            let remote = job.registries.repository(&name.host, &name.repository, Side::Source);
            let companions = companions::find(&remote, vec![root.digest])
                .await
                .map_err(|cause| Error::Companions { image: Box::new(name), cause: Box::new(cause) })?;
            (Some(remote), companions)
        }
        None => (None, Vec::new()),
    };
    Ok(Carried { locked, package, graph, remote, companions })
}

/// Returns the name in a registry of the artifact that is carried. One that got other charts put into it is none that a
/// registry knows.
fn origin(locked: &LockedChart) -> Result<Option<Reference>, Error> {
    let Some(name) = locked.source.strip_prefix(REGISTRY).filter(|_| locked.vendored.is_empty()) else {
        return Ok(None);
    };
    // Helm writes the version of a chart where a registry has the tag.
    name.replace('+', "_").parse().map(Some).map_err(|_| Error::Address(locked.source.clone()))
}

impl Carried<'_> {
    /// Returns the chart as the archive plans it.
    pub fn planned(&self) -> PlannedChart<'_> {
        let vendored = self.locked.vendored.iter().map(|one| Vendored {
            path: one.path.clone(),
            version: one.version.clone(),
            archive: one.archive,
            source: one.source.clone(),
        });
        PlannedChart {
            package: self.package,
            graph: &self.graph,
            source: self.locked.source.clone(),
            vendored: vendored.collect(),
            attachments: self.companions.iter().map(attachment).collect(),
            because: serde_json::to_value(&self.locked.because).unwrap_or_default(),
        }
    }

    /// Returns what still has to be pulled.
    pub fn leaves(&self) -> impl Iterator<Item = Digest> {
        self.companions.iter().flat_map(|companion| companion.graph.leaves()).map(|leaf| leaf.digest)
    }
}

/// Returns a companion as the archive plans it.
pub(super) fn attachment(companion: &Companion) -> PlannedAttachment<'_> {
    PlannedAttachment {
        subject: companion.subject,
        root: companion.root,
        graph: &companion.graph,
        tag: companion.tag.clone(),
    }
}
