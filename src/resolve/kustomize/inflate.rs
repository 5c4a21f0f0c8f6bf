//! `helmCharts` of a kustomization, rendered as helm would for kustomize.

use std::sync::{Mutex, PoisonError};

use super::{
    super::{
        batch::Home,
        charts::{self, Acquired, Ask},
    },
    NAMES, Workshop,
};
use crate::{
    helm::{
        Ambient, Capabilities, Chart, KeySource, Limits, Options, Overrides, Release, Show, Time, render,
        semver::Version, to_helm_template_output,
    },
    kube::kustomize::{ChartRequest, Charts, ValuesMerge},
    lock::{LockedChart, LockedDependency},
    spec::ChartSource,
    tree::{PathError, RelPath},
};

/// Renders charts that are there, and fetches others.
pub(super) struct Inflater<'a> {
    pub(super) workshop: &'a Workshop,
    /// Where the files of the kustomization are.
    pub(super) home: &'a Home,
    /// A folder that was put in front of their paths.
    pub(super) inside: Option<&'a str>,
    /// What was rendered, with the file that asks for it.
    pub(super) used: Mutex<Vec<(String, Acquired)>>,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Charts for Inflater<'_> {
    fn render(&self, request: &ChartRequest<'_>) -> Result<String, Failure> {
        if !request.name_template.is_empty() {
            return Err("`nameTemplate` is not supported: write the name itself as `releaseName`".into());
        }
        let chart = self.chart(request)?;
        let own = if request.values_merge == ValuesMerge::Merge && request.values_file.is_none() {
            defaults(&chart)?
        } else {
            None
        };
        let values = values(request, own);
        let version = Some(&request.kube_version).filter(|version| !version.is_empty());
        let cluster = &self.workshop.cluster;
        let versions = cluster.api_versions.iter().chain(&request.api_versions).cloned();
        let mut capabilities = Capabilities::default().with_api_versions(versions);
        if let Some(version) = version.or(cluster.version.as_ref()) {
            capabilities = capabilities.with_kube_version(version)?;
        }
        let namespace = if request.namespace.is_empty() { "default" } else { &request.namespace };
        // Helm would append the time.
        let release = match request.release_name.as_str() {
            "" => Release::new(format!("{}-{}", request.name, charts::NOW), namespace),
            name => Release::new(name, namespace),
        };
        let ambient = Ambient { now: Time::unix(charts::NOW), random: [0; 32], keys: KeySource::Sample };
        let rendered =
            render(&chart, &values, &release, &capabilities, &ambient, &Limits::default(), &Options::default())?;
        let show = Show {
            include_crds: request.include_crds,
            no_hooks: request.skip_hooks,
            skip_tests: request.skip_tests,
            show_only: Vec::new(),
        };
        Ok(to_helm_template_output(&rendered, &show)?)
    }
}

impl Inflater<'_> {
    fn chart(&self, request: &ChartRequest<'_>) -> Result<Chart, Failure> {
        let remote = !request.repo.is_empty();
        // Kustomize keeps what it fetched under the version (api/internal/builtins/HelmChartInflationGenerator.go).
        let home = match (remote, request.version.as_str()) {
            (true, version) if !version.is_empty() => format!("{}/{}-{version}", request.chart_home, request.name),
            _ => request.chart_home.clone(),
        };
        let written = format!("{home}/{}", request.name);
        let place = match RelPath::join(request.folder.as_ref(), &written) {
            Ok(place) => place,
            Err(PathError::Escapes(_) | PathError::Absolute(_)) => {
                return Err(format!("{written} is not in the folder of the spec: copy the chart into it").into());
            }
            Err(error) => return Err(error.into()),
        };
        let source = if let Some(source) = self.beside(request, &place) {
            source
        } else if !remote {
            return Err(format!("there is no folder {place}, and no `repo` is given").into());
        } else if Version::parse(&request.version).is_err() {
            return Err("a chart that is fetched needs an exact `version`: nothing else would stay the same".into());
        } else if request.repo.starts_with("oci://") {
            let url = format!("{}/{}", request.repo.trim_end_matches('/'), request.name);
            ChartSource::Repo { url, version: request.version.clone() }
        } else {
            ChartSource::Repo { url: request.repo.clone(), version: request.version.clone() }
        };
        let Workshop { pins, update, acquirer, runtime, folder, .. } = self.workshop;
        let own =
            |locked: &&LockedChart| locked.chart == request.name && !update.moves_any(&[&locked.chart, &locked.source]);
        let pins: Vec<&LockedChart> = pins.iter().filter(own).collect();
        let moves = |inside: &LockedDependency| update.moves_any(&[&inside.path, &inside.source]);
        let ask = Ask { name: &request.name, source: &source, folder, pins: &pins, moves: &moves };
        let acquired = runtime.block_on(acquirer.acquire(&ask)).map_err(|errors| {
            let told: Vec<String> = errors
                .iter()
                .map(|error| match error.hint() {
                    Some(hint) => format!("{error} ({hint})"),
                    None => error.to_string(),
                })
                .collect();
            told.join("; ")
        })?;
        let file = |name: &&str| RelPath::join(request.folder.as_ref(), name).ok();
        let file = NAMES.iter().filter_map(|name| file(name)).find(|path| request.tree.get(path.as_str()).is_some());
        let file = file.map_or_else(String::new, |path| self.outside(&path).to_string());
        let chart = acquired.chart.clone();
        self.used.lock().unwrap_or_else(PoisonError::into_inner).push((file, acquired));
        Ok(chart)
    }

    /// Returns a path as it was before a folder was put in front.
    fn outside(&self, path: &RelPath) -> RelPath {
        let inner = self.inside.and_then(|inside| path.as_str().strip_prefix(inside)?.strip_prefix('/')?.parse().ok());
        inner.unwrap_or_else(|| path.clone())
    }

    /// Returns the chart that lies beside the kustomization.
    fn beside(&self, request: &ChartRequest<'_>, place: &RelPath) -> Option<ChartSource> {
        let outside = self.outside(place);
        match self.home {
            Home::Git(checkout) => {
                let there = !request.tree.below(place).is_empty();
                let url = || checkout.address_of(Some(&outside));
                there.then(|| ChartSource::Repo { url: url(), version: String::new() })
            }
            _ => {
                let there = crate::files::is_folder(&self.workshop.folder.join(outside.as_str()));
                there.then(|| ChartSource::Path(outside.to_string()))
            }
        }
    }
}

/// Returns the chart's own values as text.
fn defaults(chart: &Chart) -> Result<Option<String>, Failure> {
    let Some(values) = chart.values.first() else { return Ok(None) };
    // JSON is YAML.
    Ok(Some(values.to_json()?.to_string()))
}

/// Orders values as kustomize does: the values file and the inline ones as `valuesMerge` says, then the additional files.
fn values(request: &ChartRequest<'_>, own: Option<String>) -> Overrides {
    let file = request.values_file.clone().or(own).map(|text| ("valuesFile", text));
    let inline = request.values_inline.clone().map(|text| ("valuesInline", text));
    let pair = match request.values_merge {
        _ if inline.is_none() => [file, None],
        ValuesMerge::Override => [file, inline],
        ValuesMerge::Merge => [inline, file],
        ValuesMerge::Replace => [inline, None],
    };
    let first = pair.into_iter().flatten();
    let first = first.fold(Overrides::new(), |all, (name, text)| all.file(name, text));
    request.additional_values.iter().fold(first, |all, text| all.file("additionalValuesFiles", text.clone()))
}
