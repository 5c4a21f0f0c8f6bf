//! Renderings of a chart, and the objects in them.
//!
//! # Invariants
//! - Hooks count, tests of helm do not: nothing runs those in the enclave unless somebody brings their images on purpose.
//! - Every object tells the way through charts and template, and a rendering that says nothing new adds none.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::{
        batch::{Batch, Origin},
        search::of_chart,
    },
    Failures,
    values::Values,
};
use crate::{
    discover::Step,
    error::{Classify as _, Diagnostic, Kind, Location},
    helm::{
        self, Ambient, Capabilities, Chart, KeySource, Limits, Options, Release, Rendered, Time,
        render::{Manifest, Warning},
    },
    kube,
    spec::{self, Kubernetes},
};

/// The time that charts see, in seconds since 1970: the beginning of 2025. Any other would do; what matters is that it does
/// not pass.
pub(in crate::resolve) const NOW: i64 = 1_735_689_600;

/// What the renderings of a chart gave.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) batches: Vec<Batch>,
    pub(super) warnings: Vec<Diagnostic>,
    /// Every rendering that fails, and every object that cannot be read.
    pub(super) failures: Failures,
    /// What was rendered and said.
    pub(super) said: BTreeSet<String>,
}

/// What surrounds the renderings of an entry.
pub(super) struct Setting {
    pub(super) release: Release,
    pub(super) capabilities: Capabilities,
    pub(super) ambient: Ambient,
}

/// Returns what surrounds the renderings of an entry.
///
/// # Errors
/// A version of Kubernetes that is none.
pub(super) fn setting(entry: &spec::Chart, cluster: &Kubernetes) -> Result<Setting, helm::Error> {
    let capabilities = Capabilities::default().with_api_versions(cluster.api_versions.iter().cloned());
    let capabilities = match &cluster.version {
        Some(version) => capabilities.with_kube_version(version)?,
        None => capabilities,
    };
    let release = Release::new(entry.name.as_str(), entry.namespace.as_deref().unwrap_or("default"));
    let ambient = Ambient { now: Time::unix(NOW), random: [0; 32], keys: KeySource::Sample };
    Ok(Setting { release, capabilities, ambient })
}

/// Says which chart a mistake belongs to.
pub(super) fn subject(chart: &Chart, entry: &spec::Chart) -> String {
    format!("{}: {} {}", entry.entry.label, chart.metadata.name, chart.metadata.version)
}

/// Renders a chart with every set of values and reads the objects; blocks for as long as that takes.
///
/// # Errors
/// Nothing can be rendered.
pub(super) fn render(
    chart: &Chart,
    entry: &spec::Chart,
    values: &Values,
    cluster: &Kubernetes,
) -> Result<Found, Failures> {
    let wrong = |text: String| {
        let text = format!("{}: {text}", entry.entry.label);
        vec![(Kind::Usage, Diagnostic::error("chart", text).at(entry.entry.at.clone()))]
    };
    let Setting { release, capabilities, ambient } =
        setting(entry, cluster).map_err(|error| wrong(error.to_string()))?;
    let renderings = values.renderings().map_err(wrong)?;
    let mut collector = Collector { chart, entry, found: Found::default(), said: BTreeSet::new() };
    let mut unused: BTreeMap<(Option<Location>, String), (usize, usize)> = BTreeMap::new();
    for given in &renderings {
        let variant = given.variant.map(|entry| entry.label.rsplit('.').next().unwrap_or_default().to_owned());
        let rendered = helm::render(
            chart,
            &given.overrides,
            &release,
            &capabilities,
            &ambient,
            &Limits::default(),
            &Options::default(),
        );
        match rendered {
            Ok(rendered) => {
                for warning in &rendered.warnings {
                    match warning {
                        Warning::UnusedValue { path } => {
                            let (at, base) = given.locate(path).map_or((None, true), |(at, base)| (Some(at), base));
                            let renderings = if base { renderings.len() } else { 1 };
                            unused.entry((at, path.clone())).or_insert((0, renderings)).0 += 1;
                        }
                        other => collector.note(other),
                    }
                }
                collector.rendered(&rendered, variant.as_deref());
            }
            Err(error) => collector.failed(&error, variant.as_deref(), given.variant),
        }
    }
    let Collector { mut found, said, .. } = collector;
    found.said = said;
    if !found.failures.is_empty() {
        return Ok(found);
    }
    let mut switches = BTreeSet::new();
    collect_switches(chart, "", &mut switches);
    // A value that one rendering ignores and another one reads is no mistake.
    for ((at, path), (count, renderings)) in unused {
        if count >= renderings && !switches.contains(&path) {
            let text = format!("{}: no template of {} reads the value {path}", entry.entry.label, chart.name());
            let at = at.unwrap_or_else(|| entry.entry.at.clone());
            found.warnings.push(Diagnostic::warning("unused-value", text).at(at));
        }
    }
    Ok(found)
}

/// Collects the values that switch dependencies on and off: no template reads those, and yet they matter.
fn collect_switches(chart: &Chart, prefix: &str, found: &mut BTreeSet<String>) {
    for wanted in &chart.metadata.dependencies {
        found.extend(wanted.condition.split(',').map(|path| format!("{prefix}{}", path.trim())));
        found.extend(wanted.tags.iter().map(|tag| format!("tags.{tag}")));
    }
    for inner in &chart.dependencies {
        let mut named = false;
        for wanted in chart.metadata.dependencies.iter().filter(|wanted| wanted.name == inner.name()) {
            let name = if wanted.alias.is_empty() { &wanted.name } else { &wanted.alias };
            collect_switches(inner, &format!("{prefix}{name}."), found);
            named = true;
        }
        if !named {
            collect_switches(inner, &format!("{prefix}{}.", inner.name()), found);
        }
    }
}

struct Collector<'a> {
    chart: &'a Chart,
    entry: &'a spec::Chart,
    found: Found,
    /// What was said already, by another rendering.
    said: BTreeSet<String>,
}

impl Collector<'_> {
    fn subject(&self) -> String {
        subject(self.chart, self.entry)
    }

    fn note(&mut self, warning: &Warning) {
        let label = &self.entry.entry.label;
        let diagnostic = match warning {
            Warning::Deprecated { chart } => {
                Diagnostic::warning("deprecated", format!("{label}: the chart {chart} is deprecated"))
                    .hint("its home page may name a successor")
            }
            Warning::SchemaReference { chart, reference } => Diagnostic::warning(
                "schema-reference",
                format!(
                    "{label}: the schema of {chart} refers to {reference}, which is not fetched: what it says was not checked"
                ),
            ),
            Warning::UnusedValue { .. } => return,
        };
        let diagnostic = diagnostic.at(self.entry.entry.at.clone());
        if self.said.insert(diagnostic.message.clone()) {
            self.found.warnings.push(diagnostic);
        }
    }

    fn failed(&mut self, error: &helm::Error, variant: Option<&str>, place: Option<&spec::Entry>) {
        // The same mistake with every set of values is one mistake.
        if !self.said.insert(format!("failed {error}")) {
            return;
        }
        let with = variant.map(|variant| format!(" with {variant}")).unwrap_or_default();
        let text = format!("{} does not render{with}: {error}", self.subject());
        let at = place.map_or(&self.entry.entry.at, |place| &place.at);
        let mut diagnostic = Diagnostic::error("render", text).at(at.clone());
        if error.refusal().is_some() {
            diagnostic = diagnostic.hint("the chart itself asks for this; give the value under `values` or `set`");
        } else if matches!(error, helm::Error::Schema(_)) {
            diagnostic = diagnostic.hint("the chart's values.schema.json says what is allowed");
        } else if matches!(error, helm::Error::KubeVersion { .. }) {
            diagnostic = diagnostic.hint("`kubernetes.version` in the spec says which cluster is meant");
        }
        self.found.failures.push((error.kind(), diagnostic));
    }

    fn rendered(&mut self, rendered: &Rendered, variant: Option<&str>) {
        let hooks = rendered.hooks.iter().filter(|hook| !hook.is_test()).map(|hook| &hook.manifest);
        for manifest in rendered.manifests.iter().chain(hooks) {
            self.manifest(manifest, variant);
        }
        for crd in &rendered.crds {
            self.text(&crd.path, &crd.text, variant, None);
        }
    }

    fn manifest(&mut self, manifest: &Manifest, variant: Option<&str>) {
        self.text(&manifest.template, &manifest.text, variant, Some(manifest));
    }

    /// Reads the objects of one text; `manifest` knows which line of the template made a line of it.
    fn text(&mut self, template: &str, text: &str, variant: Option<&str>, manifest: Option<&Manifest>) {
        // Most renderings differ from each other in a few texts only.
        if variant.is_some() && self.said.contains(&whole(template, text)) {
            return;
        }
        self.said.insert(whole(template, text));
        let (charts, file) = self.way(template);
        match kube::object::objects(template, text) {
            Ok(objects) => {
                let manifest = manifest.cloned().map(Box::new);
                let origin = Origin::Template { charts, variant: variant.map(str::to_owned), file, manifest };
                self.found.batches.push(Batch::new(objects, origin));
            }
            Err(mistakes) => {
                let line = |line| manifest.and_then(|manifest| manifest.template_line(line)).unwrap_or(line);
                for mistake in mistakes {
                    let at = mistake.at.clone().map(|at| Location { line: line(at.line), column: 1, file: at.file });
                    let place = at.as_ref().map(ToString::to_string).unwrap_or_default();
                    if self.said.insert(format!("{place} {}", mistake.message)) {
                        let mistake = of_chart(Diagnostic { at, ..mistake }, &self.subject(), variant);
                        self.found.failures.push((Kind::Usage, mistake));
                    }
                }
            }
        }
    }

    /// Returns the charts on the way to a template, and its path in the innermost one.
    fn way(&self, template: &str) -> (Vec<Step>, String) {
        let step = |chart: &str, version: &str| Step::Chart { chart: chart.to_owned(), version: version.to_owned() };
        let mut chart = Some(self.chart);
        let mut steps = vec![step(self.chart.name(), &self.chart.metadata.version)];
        let mut rest =
            template.strip_prefix(self.chart.name()).and_then(|rest| rest.strip_prefix('/')).unwrap_or(template);
        while let Some((name, below)) = rest.strip_prefix("charts/").and_then(|rest| rest.split_once('/')) {
            chart = chart.and_then(|chart| inner(chart, name));
            steps.push(step(name, chart.map_or("", |chart| &chart.metadata.version)));
            rest = below;
        }
        (steps, rest.to_owned())
    }
}

/// Reads what a further rendering says that those before did not.
pub(super) struct Again<'a> {
    chart: &'a Chart,
    entry: &'a spec::Chart,
    said: &'a BTreeSet<String>,
}

impl<'a> Again<'a> {
    pub(super) fn new(chart: &'a Chart, entry: &'a spec::Chart, said: &'a BTreeSet<String>) -> Self {
        Again { chart, entry, said }
    }

    /// Returns the objects of new texts; a text that cannot be read holds none.
    pub(super) fn batches(&self, rendered: &Rendered) -> Vec<Batch> {
        let Again { chart, entry, said } = *self;
        let mut collector = Collector { chart, entry, found: Found::default(), said: BTreeSet::new() };
        let hooks = rendered.hooks.iter().filter(|hook| !hook.is_test()).map(|hook| &hook.manifest);
        let manifests = rendered.manifests.iter().chain(hooks);
        let texts = manifests
            .map(|manifest| (&manifest.template, &manifest.text, Some(manifest)))
            .chain(rendered.crds.iter().map(|crd| (&crd.path, &crd.text, None)));
        for (template, text, manifest) in texts {
            if !said.contains(&whole(template, text)) {
                collector.text(template, text, None, manifest);
            }
        }
        collector.found.batches
    }
}

fn whole(template: &str, text: &str) -> String {
    format!("{template} {}", crate::oci::Digest::sha256(text.as_bytes()))
}

/// Finds a subchart by the name under which it is rendered: its alias, where it has one.
fn inner<'c>(chart: &'c Chart, name: &str) -> Option<&'c Chart> {
    let wanted = chart.metadata.dependencies.iter().find(|wanted| match wanted.alias.as_str() {
        "" => wanted.name == name,
        alias => alias == name,
    });
    let real = wanted.map_or(name, |wanted| wanted.name.as_str());
    let mut same = chart.dependencies.iter().filter(|inner| inner.name() == real);
    let first = same.clone().next();
    same.find(|inner| wanted.is_none_or(|wanted| super::acquire::fits(&wanted.version, &inner.metadata.version)))
        .or(first)
}
