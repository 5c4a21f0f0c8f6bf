//! `helmCharts` of a kustomization, rendered as helm would for kustomize.

use std::path::Path;

use super::super::charts::{self, Acquirer, Ask};
use crate::{
    helm::{
        Ambient, Capabilities, Chart, KeySource, Limits, Options, Overrides, Release, Show, Time, render,
        semver::Version, to_helm_template_output,
    },
    kube::kustomize::{ChartRequest, Charts, ValuesMerge},
    spec::{ChartSource, Kubernetes},
    tree::{PathError, RelPath},
};

/// Renders charts that are there, and fetches others.
pub(super) struct Inflater<'a> {
    pub(super) folder: &'a Path,
    pub(super) cluster: &'a Kubernetes,
    pub(super) acquirer: &'a Acquirer,
    pub(super) runtime: &'a tokio::runtime::Handle,
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
        let versions = self.cluster.api_versions.iter().chain(&request.api_versions).cloned();
        let mut capabilities = Capabilities::default().with_api_versions(versions);
        if let Some(version) = version.or(self.cluster.version.as_ref()) {
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
        let source = if crate::files::is_folder(&self.folder.join(place.as_str())) {
            ChartSource::Path(place.to_string())
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
        let ask = Ask { name: &request.name, source: &source, folder: self.folder, pins: &[], moves: &|_| true };
        let acquired = self.runtime.block_on(self.acquirer.acquire(&ask)).map_err(|errors| {
            let told: Vec<String> = errors
                .iter()
                .map(|error| match error.hint() {
                    Some(hint) => format!("{error} ({hint})"),
                    None => error.to_string(),
                })
                .collect();
            told.join("; ")
        })?;
        Ok(acquired.chart)
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
