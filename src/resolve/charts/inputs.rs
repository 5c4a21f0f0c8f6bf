//! The charts of a spec with everything that they are rendered with, for whoever renders them in another way.

use super::{
    super::{Error as Failed, Job},
    Acquirer, Failures, NOW, acquire, values,
};
use crate::{
    error::{Diagnostic, Kind},
    helm::{Ambient, Capabilities, Chart, KeySource, Overrides, Release, Time},
    spec,
};

/// One chart and what it is rendered with.
pub struct Input {
    /// The name of the entry, which is that of the release.
    pub name: String,
    /// The chart.
    pub chart: Chart,
    /// The release.
    pub release: Release,
    /// The cluster.
    pub capabilities: Capabilities,
    /// The values of each rendering, the first one first.
    pub renderings: Vec<Overrides>,
}

/// Returns the time and the randomness of every rendering that is made to find images.
pub fn ambient() -> Ambient {
    Ambient { now: Time::unix(NOW), random: [0; 32], keys: KeySource::Sample }
}

/// Acquires every chart of the spec, with its values.
///
/// # Errors
/// Every chart that cannot be had and all values that cannot be read.
pub async fn inputs(job: &Job<'_>) -> Result<Vec<Input>, Failed> {
    let acquirer = Acquirer::new(job.registries);
    let (mut found, mut failures) = (Vec::new(), Failures::new());
    for entry in &job.spec.charts {
        match one(job, &acquirer, entry).await {
            Ok(input) => found.push(input),
            Err(mut wrong) => failures.append(&mut wrong),
        }
    }
    if failures.is_empty() { Ok(found) } else { Err(Failed::of("charts", failures)) }
}

async fn one(job: &Job<'_>, acquirer: &Acquirer, entry: &spec::Chart) -> Result<Input, Failures> {
    let wrong = |text: String| {
        let text = format!("{}: {text}", entry.entry.label);
        vec![(Kind::Usage, Diagnostic::error("chart", text).at(entry.entry.at.clone()))]
    };
    let values = values::read(job.folder, &job.spec.file, entry)?;
    let acquired = acquire(job, acquirer, &entry.name, entry, &entry.entry.label).await?;
    let cluster = &job.spec.kubernetes;
    let capabilities = Capabilities::default().with_api_versions(cluster.api_versions.iter().cloned());
    let capabilities = match &cluster.version {
        Some(version) => capabilities.with_kube_version(version).map_err(|error| wrong(error.to_string()))?,
        None => capabilities,
    };
    let renderings = values.renderings().map_err(wrong)?.into_iter().map(|given| given.overrides).collect();
    let release = Release::new(entry.name.as_str(), entry.namespace.as_deref().unwrap_or("default"));
    Ok(Input { name: entry.name.clone(), chart: acquired.chart, release, capabilities, renderings })
}
