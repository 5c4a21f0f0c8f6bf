//! From a chart and values to manifests, hooks, notes and CRDs, in the order in which helm shows them.
//!
//! # Invariants
//! - The same chart, values, release, capabilities and ambient give the same bytes.
//! - Templates run one after the other over shared values, as in helm: the deepest paths first.
//!
//! # Failure
//! [`Error`] with the template, the line and the include chain; nothing is returned from a chart that fails in part.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    panic::AssertUnwindSafe,
    rc::Rc,
    sync::Arc,
};

use bytes::Bytes;

use crate::yaml;

use super::{
    Ambient, Limits,
    capabilities::Capabilities,
    chart::{Chart, File},
    dependency::Live,
    error::Error,
    manifest::{Head, install_order, split},
    overrides::Overrides,
    schema, semver,
    template::{
        exec::{Interp, Templates, Trail, without_no_value},
        parser::{self, Parsed},
        value::{self, Dict, DictKind, Map, Str, Value},
    },
    unused::{track, unused},
    values::{coalesce_values, new_dict, table_at},
};

/// Stack of a rendering. Only pages that are used cost memory; 3,000 nested templates need about half of it.
const STACK: usize = 512 << 20;

/// The release that is rendered.
#[derive(Clone, Debug)]
pub struct Release {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Whether it exists already.
    pub is_upgrade: bool,
    /// Its revision.
    pub revision: u32,
}

impl Release {
    /// Makes a first installation.
    pub fn new(name: impl Into<String>, namespace: impl Into<String>) -> Release {
        Release { name: name.into(), namespace: namespace.into(), is_upgrade: false, revision: 1 }
    }
}

/// A document that a template made.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The template's path, with the chart's name in front.
    pub template: String,
    /// The document.
    pub text: String,
    /// The object's kind; empty when it has none.
    pub kind: String,
    /// The object's name.
    pub name: String,
    /// Where in the template's output the document is, and how that output came about.
    origin: Arc<Output>,
    start: usize,
}

/// What a template wrote, with the trail of where each part came from.
#[derive(Debug)]
struct Output {
    text: String,
    trail: Trail,
    source: Bytes,
}

impl Manifest {
    /// Returns the line of the template that made a line of the text; both count from 1.
    pub fn template_line(&self, line: u32) -> Option<u32> {
        let before = self.text.split_inclusive('\n').take(usize::try_from(line.checked_sub(1)?).ok()?);
        let offset: usize = before.map(str::len).sum();
        self.origin.line(self.start + offset)
    }
}

impl Output {
    /// Returns the line of the template that made the line which begins at an offset of the output.
    fn line(&self, offset: usize) -> Option<u32> {
        let line = self.text.get(offset..)?.split('\n').next()?;
        // The last piece that begins before the line's first visible character made the line.
        let visible = offset + (line.len() - line.trim_start().len()).min(line.len().saturating_sub(1));
        let after = self.trail.partition_point(|step| step.out as usize <= visible);
        let step = self.trail.get(after.saturating_sub(1))?;
        let breaks = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count() as u32;
        let at = (step.from as usize).min(self.source.len());
        // Inside a piece of text every line of the output is a line of the template.
        let inside = match self.text.get(step.out as usize..visible) {
            Some(text) if step.text => breaks(text.as_bytes()),
            _ => 0,
        };
        Some(breaks(&self.source[..at]) + 1 + inside)
    }
}

/// A manifest that helm runs instead of keeping it.
#[derive(Clone, Debug)]
pub struct Hook {
    /// The document.
    pub manifest: Manifest,
    /// When it runs, such as `pre-install` or `test`.
    pub events: Vec<String>,
    /// Its weight.
    pub weight: i64,
}

impl Hook {
    /// Tells whether it runs only as a test.
    pub fn is_test(&self) -> bool {
        self.events.iter().any(|event| event == "test")
    }
}

/// A file of a `crds/` folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crd {
    /// Its path, with the chart's name in front.
    pub path: String,
    /// Its content as it is.
    pub text: String,
}

/// Something worth a look that does not stop the rendering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// A chart is deprecated.
    Deprecated {
        /// Its path of names.
        chart: String,
    },
    /// A schema refers to another document, which is not fetched: what it says was not checked.
    SchemaReference {
        /// The chart.
        chart: String,
        /// The reference.
        reference: String,
    },
    /// A value was given that no template read.
    UnusedValue {
        /// Its dotted path.
        path: String,
    },
}

/// What a chart gives.
#[derive(Clone, Debug, Default)]
pub struct Rendered {
    /// The documents in install order.
    pub manifests: Vec<Manifest>,
    /// The hooks, in install order of their kinds.
    pub hooks: Vec<Hook>,
    /// The notes of the chart itself.
    pub notes: String,
    /// The files of all `crds/` folders.
    pub crds: Vec<Crd>,
    /// What deserves a look.
    pub warnings: Vec<Warning>,
    /// How much work it was.
    pub steps: u64,
    /// Templates that failed, where that was allowed.
    pub failed: BTreeSet<String>,
}

/// Choices of a rendering.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Does not hold the values against the schema.
    pub skip_schema_validation: bool,
    /// Runs these templates only, by their paths with the chart's name in front; all when there are none.
    pub only: BTreeSet<String>,
    /// Does not free the memory of templates and values: the process ends afterwards, and taking it apart piece by piece
    /// takes a tenth of the time of a rendering.
    pub keeps_memory: bool,
    /// Goes on when a template fails, and says so; leaves the notes alone, in which charts like to refuse values.
    pub lenient: bool,
}

/// Renders a chart.
///
/// # Errors
/// [`Error`] for everything that stops helm, and for broken bounds.
pub fn render(
    chart: &Chart,
    values: &Overrides,
    release: &Release,
    capabilities: &Capabilities,
    ambient: &Ambient,
    limits: &Limits,
    options: &Options,
) -> Result<Rendered, Error> {
    on_large_stack(|| {
        let given = Given { chart, release, capabilities, ambient, limits };
        run(&given, values, options, &mut Known::default())
    })?
}

/// Runs something with a stack that is large: templates may nest deeper than the caller's stack is.
///
/// # Errors
/// [`Error::Renderer`] when it panicked.
pub(super) fn on_large_stack<T>(work: impl FnOnce() -> T) -> Result<T, Error> {
    // A thread of its own would start slowly, and the C library's allocator serves all threads but the first page by page.
    let work = || stacker::grow(STACK, work);
    std::panic::catch_unwind(AssertUnwindSafe(work)).map_err(|_| Error::Renderer("it panicked".to_owned()))
}

/// What stays the same in all renderings of a chart.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) chart: &'a Chart,
    pub(super) release: &'a Release,
    pub(super) capabilities: &'a Capabilities,
    pub(super) ambient: &'a Ambient,
    pub(super) limits: &'a Limits,
}

/// Templates that were parsed: subcharts often carry the same library, and renderings of one chart the same templates.
/// Found by their lengths: equal lengths are rare, and comparing is cheaper than hashing.
#[derive(Default)]
pub(super) struct Known(HashMap<usize, Vec<(Bytes, Rc<str>, Parsed)>>);

impl Known {
    fn parse(&mut self, name: &str, text: &Bytes) -> Result<Parsed, Error> {
        let alike = self.0.entry(text.len()).or_default();
        let same = |other: &Bytes| other.as_ptr() == text.as_ptr() || other == text;
        if let Some((_, _, parsed)) = alike.iter().find(|(other, known, _)| **known == *name && same(other)) {
            return Ok(parsed.clone());
        }
        let parsed = match alike.iter().find(|(other, ..)| same(other)) {
            Some((_, _, parsed)) => parser::renamed(parsed, name),
            None => None,
        };
        let parsed = match parsed {
            Some(parsed) => parsed,
            None => parser::parse(name, &value::text(text))?,
        };
        alike.push((text.clone(), name.into(), parsed.clone()));
        Ok(parsed)
    }

    /// Returns every template, with the name of its file.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &Parsed)> {
        self.0.values().flatten().map(|(_, name, parsed)| (&**name, parsed))
    }
}

/// Returns the values that the templates of a chart see: those given over the defaults of the chart and its subcharts.
///
/// # Errors
/// [`Error`] for values that cannot be merged or written as JSON.
pub fn computed_values(chart: &Chart, values: &Overrides) -> Result<serde_json::Value, Error> {
    chart.check_dependencies()?;
    let given = values.merged()?;
    let mut live = Live::of(chart)?;
    live.process(&given)?;
    let computed = coalesce_values(&live, &given, false)?;
    let failed = |message: String| Error::Values { origin: "computed values".to_owned(), message };
    let text = super::funcs::json::compact(&Value::Dict(computed)).map_err(failed)?;
    serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))
}

fn entry(key: &str, value: Value) -> (Str, Value) {
    (Str::from(key), value)
}

/// A template with what it sees.
struct Unit {
    data: Rc<Dict>,
    base: String,
    file: File,
}

struct Builder<'a> {
    release: Value,
    capabilities: Value,
    units: BTreeMap<String, Unit>,
    tables: Vec<Rc<Dict>>,
    warnings: &'a mut Vec<Warning>,
}

impl Builder<'_> {
    /// Builds what the templates of a chart and its subcharts see.
    fn chart(&mut self, live: &Live<'_>, path: &str, values: Value, root: bool) -> Rc<Dict> {
        if live.metadata.deprecated {
            self.warnings.push(Warning::Deprecated { chart: path.replace("/charts/", "/") });
        }
        let subcharts = new_dict(Map::new());
        let files: Map = live
            .chart
            .files
            .iter()
            .map(|file| (Str::from(file.name.as_str()), Value::Bytes(Str::from(&file.data[..]))))
            .collect();
        let data = new_dict(
            [
                entry("Chart", live.metadata.view(root)),
                entry("Files", Value::dict_of(DictKind::Files, files)),
                entry("Release", self.release.clone()),
                entry("Capabilities", self.capabilities.clone()),
                entry("Values", values.clone()),
                entry("Subcharts", Value::Dict(subcharts.clone())),
            ]
            .into_iter()
            .collect(),
        );
        for child in &live.children {
            let name = &child.metadata.name;
            let below = match &values {
                Value::Dict(values) => table_at(values, name),
                _ => None,
            };
            // The same table under the type that has methods; nested tables stay shared with the parent.
            let below = match below {
                Some(table) => table.seen_as(DictKind::Values),
                None => Value::dict_of(DictKind::Values, Map::new()),
            };
            let inner = self.chart(child, &format!("{path}/charts/{name}"), below, false);
            subcharts.set(Str::from(name.as_str()), Value::Dict(inner));
        }
        for file in &live.chart.templates {
            let name = file.name.rsplit('/').next().unwrap_or(&file.name);
            if live.metadata.is_library() && !name.starts_with('_') {
                continue;
            }
            let unit = Unit { data: data.clone(), base: format!("{path}/templates"), file: file.clone() };
            self.units.insert(super::funcs::paths::clean(&format!("{path}/{}", file.name)), unit);
        }
        if let Value::Dict(values) = &values {
            self.tables.push(values.clone());
        }
        data
    }
}

pub(super) fn run(
    given: &Given<'_>,
    overrides: &Overrides,
    options: &Options,
    known: &mut Known,
) -> Result<Rendered, Error> {
    let Given { chart, release, capabilities, ambient, limits } = *given;
    if chart.metadata.is_library() {
        return Err(Error::Library { chart: chart.name().to_owned() });
    }
    chart.check_dependencies()?;
    let mut rendered = Rendered::default();
    let given = overrides.merged()?;
    let mut live = Live::of(chart)?;
    live.process(&given)?;
    let values = coalesce_values(&live, &given, false)?;
    if !options.skip_schema_validation {
        let skipped = schema::validate(&live, &values)?;
        rendered
            .warnings
            .extend(skipped.into_iter().map(|(chart, reference)| Warning::SchemaReference { chart, reference }));
    }
    let wanted = &live.metadata.kube_version;
    if !wanted.is_empty() && !semver::is_compatible(wanted, &capabilities.kube.normalized) {
        return Err(Error::KubeVersion { wanted: wanted.clone(), have: capabilities.kube.git.clone() });
    }
    let mut builder = Builder {
        release: Value::dict(
            [
                entry("Name", Value::from(release.name.as_str())),
                entry("Namespace", Value::from(release.namespace.as_str())),
                entry("IsUpgrade", Value::Bool(release.is_upgrade)),
                entry("IsInstall", Value::Bool(!release.is_upgrade)),
                entry("Revision", Value::int(i64::from(release.revision))),
                entry("Service", Value::from("Helm")),
            ]
            .into_iter()
            .collect(),
        ),
        capabilities: Value::object(super::template::object::Object::Capabilities(Rc::new(capabilities.clone()))),
        units: BTreeMap::new(),
        tables: Vec::new(),
        warnings: &mut rendered.warnings,
    };
    builder.chart(&live, live.metadata.name.as_str(), values.seen_as(DictKind::Values), true);
    let Builder { units, tables, .. } = builder;
    if !options.lenient {
        track(&values);
    }
    let mut templates = Templates::default();
    for name in order(&units) {
        templates.add(&known.parse(name, &units[name].file.data)?);
    }
    let outputs = execute(templates, &units, ambient, limits, options, &mut rendered)?;
    documents(outputs, &units, &live.metadata.name, options.lenient, &mut rendered)?;
    if options.only.is_empty() {
        crds(&live, &live.metadata.name, &mut rendered.crds);
    }
    if !options.lenient {
        unused(&given, &values, &tables, "", &mut rendered.warnings);
    }
    if options.keeps_memory {
        std::mem::forget((units, tables, values, given, live));
    }
    Ok(rendered)
}

/// Orders templates as helm parses and runs them: more slashes first, then names from the end of the alphabet.
fn order(units: &BTreeMap<String, Unit>) -> Vec<&String> {
    let mut names: Vec<&String> = units.keys().collect();
    names.sort_by_key(|name| std::cmp::Reverse((name.matches('/').count(), *name)));
    names
}

fn execute(
    templates: Templates,
    units: &BTreeMap<String, Unit>,
    ambient: &Ambient,
    limits: &Limits,
    options: &Options,
    rendered: &mut Rendered,
) -> Result<BTreeMap<String, (String, Trail)>, Error> {
    let mut interp = Interp::new(templates, ambient, limits);
    let mut outputs = BTreeMap::new();
    for name in order(units) {
        let hidden = name.rsplit('/').next().is_some_and(|base| base.starts_with('_'));
        let only = &options.only;
        let unwanted = options.lenient && name.ends_with("NOTES.txt");
        if hidden || unwanted || !(only.is_empty() || only.contains(name)) {
            continue;
        }
        let unit = &units[name];
        let template = [entry("Name", Value::from(name.as_str())), entry("BasePath", Value::from(unit.base.as_str()))];
        unit.data.set(Str::from("Template"), Value::dict_of(DictKind::Values, template.into_iter().collect()));
        let (out, mut trail) = match interp.file(name, Value::Dict(unit.data.clone())) {
            Ok(done) => done,
            Err(error) if options.lenient && error.limit().is_none() => {
                rendered.failed.insert(name.clone());
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let before = out.len();
        let out = without_no_value(out);
        if out.len() != before {
            // Offsets moved; what is left of the trail would be wrong.
            trail.truncate(1);
        }
        outputs.insert(name.clone(), (text(out), trail));
    }
    rendered.steps = interp.steps();
    if options.keeps_memory {
        std::mem::forget(interp);
    }
    Ok(outputs)
}

fn text(bytes: Vec<u8>) -> String {
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }
}

fn documents(
    outputs: BTreeMap<String, (String, Trail)>,
    units: &BTreeMap<String, Unit>,
    root: &str,
    lenient: bool,
    rendered: &mut Rendered,
) -> Result<(), Error> {
    'outputs: for (name, (out, trail)) in outputs {
        if name.ends_with("NOTES.txt") {
            if name == format!("{root}/templates/NOTES.txt") {
                rendered.notes = out;
            }
            continue;
        }
        if out.trim().is_empty() {
            continue;
        }
        let source = units.get(&name).map(|unit| unit.file.data.clone()).unwrap_or_default();
        let parts = split(&out);
        let origin = Arc::new(Output { text: out, trail, source });
        for (start, end) in parts {
            let text = &origin.text[start..end];
            let failed = |line: Option<u32>, message: String| {
                let lines = line
                    .map(|line| text.split_inclusive('\n').take((line as usize).saturating_sub(1)).map(str::len).sum());
                let line = lines.and_then(|offset: usize| origin.line(start + offset));
                Error::Manifest { template: name.clone(), line, message }
            };
            let head = yaml::parts(text, &yaml::Options::lenient(), Head::PARTS)
                .map_err(|error| failed(Some(error.at.line), error.to_string()))
                .and_then(|nodes| match nodes.first() {
                    Some(node) => Head::read(node).map_err(|(line, message)| failed(line, message)),
                    None => Ok(Head::default()),
                });
            let head = match head {
                Ok(head) => head,
                Err(_) if lenient => {
                    rendered.failed.insert(name);
                    continue 'outputs;
                }
                Err(error) => return Err(error),
            };
            let manifest = Manifest {
                template: name.clone(),
                text: text.to_owned(),
                kind: head.kind,
                name: head.name,
                origin: origin.clone(),
                start,
            };
            match head.hooks {
                None => rendered.manifests.push(manifest),
                Some(Some(events)) => rendered.hooks.push(Hook { manifest, events, weight: head.weight }),
                // An unknown event: helm leaves the document out.
                Some(None) => {}
            }
        }
    }
    rendered.manifests.sort_by(|a, b| install_order(&a.kind, &b.kind));
    rendered.hooks.sort_by(|a, b| install_order(&a.manifest.kind, &b.manifest.kind));
    Ok(())
}

fn crds(live: &Live<'_>, path: &str, found: &mut Vec<Crd>) {
    for file in &live.chart.files {
        let extension = file.name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
        if file.name.starts_with("crds/") && matches!(extension.as_deref(), Some("yaml" | "yml" | "json")) {
            let text = String::from_utf8_lossy(&file.data).into_owned();
            found.push(Crd { path: format!("{path}/{}", file.name), text });
        }
    }
    for child in &live.children {
        crds(child, &format!("{path}/charts/{}", child.metadata.name), found);
    }
}
