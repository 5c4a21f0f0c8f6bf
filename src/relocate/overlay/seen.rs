//! What a rendering names, image by image and place by place.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value as Json;

use crate::{
    discover::{Context, Occurrence, Step},
    helm::{self, Chart, Limits, Options, Overrides, Rendered},
    kube::{Object, object::objects},
    yaml,
};

use super::{
    Setup,
    marks::{self, Segment, Way},
};

/// A place that names an image: template, object, field, and which one of those in the field.
pub(super) type Key = (String, usize);

/// An image at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// The reference as written.
    pub(super) written: String,
    /// Whether it is beyond doubt an image.
    pub(super) sure: bool,
}

/// Everything that a rendering names.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) images: BTreeMap<Key, Named>,
    /// The texts of each template.
    texts: BTreeMap<String, String>,
}

impl Seen {
    /// Tells whether a place names an image now. A name in the enclave may look less like an image than the one in front of
    /// the public did; then the text decides: it holds the new name, and the old one only inside of new ones.
    pub(super) fn says(&self, key: &Key, old: &str, new: &str) -> bool {
        match self.images.get(key) {
            Some(named) => named.written == new,
            None => {
                let template = key.0.split(" → ").next().unwrap_or_default();
                let text = self.texts.get(template).map_or("", String::as_str);
                let inside = |at: usize| at > 0 && text.as_bytes()[at - 1] == b'/';
                text.contains(new) && text.match_indices(old).all(|(at, _)| inside(at))
            }
        }
    }
}

/// Renders a chart again and again, and reads what changed.
pub(super) struct Eye<'a> {
    setup: &'a Setup<'a>,
    context: Context,
    /// Texts that were read before; most renderings differ in a few only.
    read: HashMap<(String, String), Vec<(String, Named)>>,
}

fn parsed(template: &str, text: &str) -> Vec<Object> {
    // What is no object names no image; helm itself says so when the chart is installed.
    objects(template, text).unwrap_or_default()
}

impl<'a> Eye<'a> {
    pub(super) fn new(setup: &'a Setup<'a>) -> Self {
        Eye { setup, context: Context::new(Vec::new()), read: HashMap::new() }
    }

    pub(super) fn chart(&self) -> &'a Chart {
        self.setup.chart
    }

    /// Renders with an overlay over the user's values.
    pub(super) fn look(&mut self, overlay: &Json) -> Result<Seen, helm::Error> {
        let overrides = self.overrides(overlay);
        let Setup { chart, release, capabilities, ambient, skip_schema, .. } = self.setup;
        let options = Options { skip_schema_validation: *skip_schema, ..Options::default() };
        let rendered = helm::render(chart, &overrides, release, capabilities, ambient, &Limits::default(), &options)?;
        Ok(self.read(&rendered))
    }

    fn overrides(&self, overlay: &Json) -> Overrides {
        let given = self.setup.overrides.clone();
        let is_empty = overlay.as_object().is_none_or(serde_json::Map::is_empty);
        if is_empty { given } else { given.file("overlay", overlay.to_string()) }
    }

    /// Returns the values that the templates see.
    pub(super) fn values(&self, overlay: &Json) -> Result<Json, helm::Error> {
        helm::computed_values(self.setup.chart, &self.overrides(overlay))
    }

    fn read(&mut self, rendered: &Rendered) -> Seen {
        let hooks = rendered.hooks.iter().filter(|hook| !hook.is_test()).map(|hook| &hook.manifest);
        let texts: Vec<_> = rendered.manifests.iter().chain(hooks).collect();
        if self.read.is_empty() {
            for crd in &rendered.crds {
                self.context.learn(&parsed(&crd.path, &crd.text));
            }
        }
        let mut fresh = Vec::new();
        for manifest in &texts {
            let key = (manifest.template.clone(), manifest.text.clone());
            if !self.read.contains_key(&key) {
                fresh.push((key, parsed(&manifest.template, &manifest.text)));
            }
        }
        for (_, objects) in &fresh {
            self.context.learn(objects);
        }
        for (key, objects) in fresh {
            let found = self.context.find(&objects);
            // What is written nowhere in the text has no value behind it.
            let written = found.occurrences.iter().filter(|occurrence| !occurrence.pieces.is_empty());
            let images = written.map(|occurrence| (told(occurrence), named(occurrence))).collect();
            self.read.insert(key, images);
        }
        let mut seen = Seen::default();
        for manifest in &texts {
            seen.texts.entry(manifest.template.clone()).or_default().push_str(&manifest.text);
        }
        let mut count: HashMap<String, usize> = HashMap::new();
        for manifest in texts {
            let key = (manifest.template.clone(), manifest.text.clone());
            for (place, named) in self.read.get(&key).into_iter().flatten() {
                let nth = count.entry(place.clone()).or_default();
                seen.images.insert((place.clone(), *nth), named.clone());
                *nth += 1;
            }
        }
        seen
    }
}

fn named(occurrence: &Occurrence) -> Named {
    Named { written: occurrence.finding.written.clone(), sure: occurrence.is_evident() }
}

fn told(occurrence: &Occurrence) -> String {
    let steps = occurrence.finding.provenance.iter().filter(|step| !matches!(step, Step::Rule { .. }));
    steps.map(|step| step.without_line().to_string()).collect::<Vec<_>>().join(" → ")
}

/// Returns the ways of values that templates name and nothing gives, as far as they are about images.
pub(super) fn absent(chart: &Chart, values: &Json) -> BTreeSet<Way> {
    let mut found = BTreeSet::new();
    collect_absent(chart, &mut Vec::new(), values, &mut found);
    found
}

/// The most values without a default that are tried.
const MOST_ABSENT: usize = 200;

fn collect_absent(chart: &Chart, prefix: &mut Vec<String>, values: &Json, found: &mut BTreeSet<Way>) {
    for file in &chart.templates {
        let text = String::from_utf8_lossy(&file.data);
        for (at, name) in text.match_indices(".Values.") {
            let rest = &text[at + name.len()..];
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_'))).unwrap_or(rest.len());
            let path = rest[..end].trim_end_matches('.');
            let keys =
                prefix.iter().map(String::as_str).filter(|_| !path.starts_with("global.")).chain(path.split('.'));
            let way: Way = keys.map(|key| Segment::Key(key.to_owned())).collect();
            let is_text = match marks::get(values, &way) {
                None | Some(Json::Null) => true,
                Some(Json::String(text)) => text.is_empty(),
                Some(_) => false,
            };
            // A table in the way of a text would hide what other templates find in it.
            let fits = (1..way.len())
                .all(|end| marks::get(values, &way[..end]).is_none_or(|node| node.is_object() || node.is_null()));
            if is_text && fits && !path.is_empty() && marks::may_be_image(&way) && found.len() < MOST_ABSENT {
                found.insert(way);
            }
        }
    }
    for inner in &chart.dependencies {
        let aliases = chart.metadata.dependencies.iter().filter(|wanted| wanted.name == inner.name());
        let mut names: BTreeSet<&str> = aliases
            .map(|wanted| if wanted.alias.is_empty() { wanted.name.as_str() } else { wanted.alias.as_str() })
            .collect();
        if names.is_empty() {
            names.insert(inner.name());
        }
        for name in names {
            prefix.push(name.to_owned());
            collect_absent(inner, prefix, values, found);
            prefix.pop();
        }
    }
}

/// Tells whether a template of the chart or its subcharts holds a text.
pub(super) fn mentions(chart: &Chart, text: &str) -> bool {
    let holds = |data: &[u8]| data.windows(text.len()).any(|part| part == text.as_bytes());
    chart.templates.iter().any(|file| holds(&file.data)) || chart.dependencies.iter().any(|inner| mentions(inner, text))
}

/// Writes a value in one line of YAML.
pub(super) fn line(value: &Json) -> String {
    match value {
        Json::String(text) => yaml::to_text(text).unwrap_or_else(|_| value.to_string()).trim_end().to_owned(),
        // JSON is YAML.
        other => other.to_string(),
    }
}
