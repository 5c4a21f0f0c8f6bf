//! `bundle template`.

use std::path::{Path, PathBuf};

use super::{Context, Failure, OutputError, args::Access, env, ui};
use crate::{
    error::{Classify, Diagnostic, Kind},
    event::Event,
    files::{self, Limits as FileLimits},
    helm::{
        Ambient, Capabilities, Chart, KeySource, Limits, Options, Origin, Overrides, Release, Show, Time, render,
        render::Warning, to_helm_template_output,
    },
    registry::{Credentials, Registries},
    resolve::{
        self,
        charts::{Acquirer, Ask, unpack, unpack_inner},
    },
    spec::ChartSource,
    trust::{Randomness as _, SystemRandomness},
};

/// The largest values file or `--set-file` that is read.
const MAX_VALUES: u64 = 64 << 20;

/// Render a chart as `helm template` does, without helm and without a cluster.
///
/// The chart is a folder, a .tgz, an address in a registry (oci://…), or a name with --repo. Flags and output are those of
/// `helm template` (version 4), including the keys, certificates and password hashes that a chart generates: they are new
/// with every run, as with helm.
#[derive(Debug, clap::Args)]
// helm's own `--version` is the chart's.
#[command(disable_version_flag = true)]
pub(crate) struct Args {
    /// [NAME] CHART: the name of the release, and the chart: a folder, a .tgz, oci://…, or a name in --repo.
    #[arg(value_name = "NAME CHART", num_args = 1..=2, required = true)]
    names: Vec<String>,
    /// The repository in which CHART is a name.
    #[arg(long, value_name = "URL")]
    repo: Option<String>,
    /// The version, or a range of versions, of a chart from a repository or registry; without it, the newest.
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// Values files; repeat, or separate by commas; later ones win.
    #[arg(short = 'f', long, value_name = "FILE", value_delimiter = ',')]
    values: Vec<PathBuf>,
    /// Set values: key1=val1,key2=val2.
    #[arg(long, value_name = "VALUES")]
    set: Vec<String>,
    /// Set text values.
    #[arg(long, value_name = "VALUES")]
    set_string: Vec<String>,
    /// Set values from files: key1=path1,key2=path2.
    #[arg(long, value_name = "VALUES")]
    set_file: Vec<String>,
    /// Set JSON values: key1=json1 or an object.
    #[arg(long, value_name = "VALUES")]
    set_json: Vec<String>,
    /// Set one text value as it stands.
    #[arg(long, value_name = "VALUE")]
    set_literal: Vec<String>,
    /// The namespace.
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// With the files of crds/.
    #[arg(long)]
    include_crds: bool,
    /// The Kubernetes version that charts see.
    #[arg(long, value_name = "VERSION")]
    kube_version: Option<String>,
    /// Further API versions that charts see; repeat, or separate by commas.
    #[arg(short, long, value_name = "VERSIONS", value_delimiter = ',')]
    api_versions: Vec<String>,
    /// Only what these templates make.
    #[arg(short, long, value_name = "TEMPLATE", value_delimiter = ',')]
    show_only: Vec<String>,
    /// Without test hooks.
    #[arg(long)]
    skip_tests: bool,
    /// Without hooks.
    #[arg(long)]
    no_hooks: bool,
    /// Render as an upgrade: .Release.IsUpgrade is true.
    #[arg(long)]
    is_upgrade: bool,
    /// Do not check values against the schemas of charts.
    #[arg(long)]
    skip_schema_validation: bool,
    #[command(flatten)]
    access: Access,
}

/// A flag or a chart that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unusable(String);

impl Classify for Unusable {
    fn kind(&self) -> Kind {
        Kind::Usage
    }
}

fn load(path: &Path) -> Result<Chart, Failure> {
    if files::is_folder(path) {
        let tree = files::read_tree(path, &FileLimits::default(), &|_, _| true)?;
        return Ok(Chart::load(&tree, Origin::Folder, &unpack_inner)?);
    }
    let bytes = files::read_limited(path, FileLimits::default().bytes)?;
    Ok(Chart::load(&unpack(path, &bytes)?, Origin::Archive, &unpack_inner)?)
}

/// A chart that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{name} cannot be fetched")]
struct NotFetched {
    name: String,
    kind: Kind,
    diagnostics: Vec<Diagnostic>,
}

impl Classify for NotFetched {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }
}

fn text(path: &Path) -> Result<String, Failure> {
    let bytes = files::read_limited(path, MAX_VALUES)?;
    String::from_utf8(bytes.to_vec()).map_err(|_| Unusable(format!("{} is not UTF-8 text", path.display())).into())
}

impl Args {
    /// Gathers the values in helm's order: files, JSON, `--set`, text, files as values, literals.
    fn overrides(&self) -> Result<Overrides, Failure> {
        let mut overrides = Overrides::new();
        for path in &self.values {
            overrides = overrides.file(path.display().to_string(), text(path)?);
        }
        overrides = self.set_json.iter().fold(overrides, |all, one| all.set_json(one.clone()));
        overrides = self.set.iter().fold(overrides, |all, one| all.set(one.clone()));
        overrides = self.set_string.iter().fold(overrides, |all, one| all.set_string(one.clone()));
        for one in &self.set_file {
            let read = |path: &str| text(Path::new(path)).map_err(|error| error.to_string());
            overrides = overrides.set_file(one.clone(), read)?;
        }
        Ok(self.set_literal.iter().fold(overrides, |all, one| all.set_literal(one.clone())))
    }

    /// Splits the names into those of the release and of the chart.
    fn names(&self) -> Result<(&str, &str), Failure> {
        match self.names.as_slice() {
            [chart] => Ok(("release-name", chart)),
            [name, chart] => Ok((name, chart)),
            _ => Err(Unusable("give a chart, or a name and a chart".to_owned()).into()),
        }
    }

    /// Returns the address that the chart is fetched from; `None` when it is on this machine.
    fn address(&self) -> Option<&str> {
        let chart = self.names.last()?;
        let is_address = chart.starts_with("oci://") || chart.starts_with("git+");
        self.repo.as_deref().or(is_address.then_some(chart))
    }

    /// Tells whether the chart is on this machine: nothing is fetched then.
    pub fn is_local(&self) -> bool {
        self.address().is_none()
    }

    async fn fetch(&self, context: &Context, chart: &str, url: String) -> Result<Chart, Failure> {
        let source = ChartSource::Repo { url, version: self.version.clone().unwrap_or_default() };
        let credentials = Credentials::new(env::surroundings());
        let registries = Registries::new(self.access.settings(None), credentials, context.observer.clone())?;
        let ask = Ask { name: chart, source: &source, folder: Path::new("."), pins: &[], moves: &|_| true };
        let acquired = Acquirer::new(&registries).acquire(&ask).await.map_err(|errors| {
            let kind = errors.first().map_or(Kind::Internal, Classify::kind);
            let told = |error: &resolve::charts::Error| {
                let diagnostic = Diagnostic::error("chart", error.to_string());
                error.hint().into_iter().fold(diagnostic, Diagnostic::hint)
            };
            NotFetched { name: chart.to_owned(), kind, diagnostics: errors.iter().map(told).collect() }
        })?;
        Ok(acquired.chart)
    }

    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let (name, chart) = self.names()?;
        match self.address() {
            Some(url) => self.show(context, name, &self.fetch(context, chart, url.to_owned()).await?),
            None => self.run_here(context),
        }
    }

    /// Renders a chart of this machine.
    pub fn run_here(&self, context: &Context) -> Result<(), Failure> {
        let (name, chart) = self.names()?;
        let chart = load(Path::new(chart))?;
        let done = self.show(context, name, &chart);
        // The process ends now, and its memory with it.
        std::mem::forget(chart);
        done
    }

    /// Renders a chart and prints what it gives.
    fn show(&self, context: &Context, name: &str, chart: &Chart) -> Result<(), Failure> {
        let mut capabilities = Capabilities::default().with_api_versions(self.api_versions.iter().cloned());
        if let Some(version) = &self.kube_version {
            let bad = |error: &dyn std::fmt::Display| Unusable(format!("--kube-version {version}: {error}"));
            capabilities = capabilities.with_kube_version(version).map_err(|error| bad(&error))?;
        }
        let mut release = Release::new(name, self.namespace.as_str());
        release.is_upgrade = self.is_upgrade;
        let now = i64::try_from(env::now()).unwrap_or_default();
        let mut random = [0; 32];
        SystemRandomness.fill(&mut random)?;
        let ambient = Ambient { now: Time::unix(now), random, keys: KeySource::Fresh };
        let options =
            Options { skip_schema_validation: self.skip_schema_validation, keeps_memory: true, ..Options::default() };
        let overrides = self.overrides()?;
        let rendered = render(chart, &overrides, &release, &capabilities, &ambient, &Limits::default(), &options)?;
        for warning in &rendered.warnings {
            context.observer.on(&Event::Noted(match warning {
                Warning::Deprecated { chart } => Diagnostic::warning("deprecated", format!("the chart {chart} is deprecated")),
                Warning::SchemaReference { chart, reference } => {
                    let text = format!("the schema of {chart} refers to {reference}, which is not fetched: what it says was not checked");
                    Diagnostic::warning("schema-reference", text)
                }
                Warning::UnusedValue { path } => Diagnostic::warning("unused-value", format!("no template reads the value {path}")),
            }));
        }
        let show = Show {
            include_crds: self.include_crds,
            no_hooks: self.no_hooks,
            skip_tests: self.skip_tests,
            show_only: self.show_only.clone(),
        };
        let output = to_helm_template_output(&rendered, &show)?;
        std::mem::forget(rendered);
        ui::write_all(output.as_bytes()).map_err(OutputError)?;
        Ok(())
    }
}
