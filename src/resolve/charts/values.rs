//! The values of an entry: files, `set`, variants; and where a value of theirs stands.
//!
//! # Invariants
//! - What comes later wins: the files in their order, then `set`, then the files and the `set` of a variant.
//! - A key of `set` is a path as in `helm --set`; tables below it are merged, everything else replaces what was there.

use std::path::Path;

use super::Failures;
use crate::{
    error::{Classify as _, Diagnostic, Kind, Location},
    files,
    helm::Overrides,
    spec::{self, ChartValues, Entry},
    yaml::{self, Node, Value},
};

/// The largest values file.
const MAX_VALUES: u64 = 64 << 20;

/// The values of an entry, read.
#[derive(Debug, Default)]
pub(in crate::resolve) struct Values {
    base: Vec<Layer>,
    variants: Vec<(Entry, Vec<Layer>)>,
    /// Takes the place of the others when it is not empty.
    ready: Vec<Ready>,
}

/// Values that somebody put in order already.
#[derive(Debug)]
pub(in crate::resolve) struct Ready {
    variant: Option<Entry>,
    overrides: Overrides,
    layers: Vec<Layer>,
}

impl Ready {
    /// Takes values, and where they stand: files as the user can open them, what comes later over what comes before.
    pub(in crate::resolve) fn new(variant: Option<Entry>, overrides: Overrides, places: Vec<(String, Node)>) -> Ready {
        let layer = |(shown, node)| Layer::File { shown, text: String::new(), documents: vec![node] };
        Ready { variant, overrides, layers: places.into_iter().map(layer).collect() }
    }
}

/// What one rendering is given.
pub(super) struct Given<'a> {
    /// The variant; none for the first rendering.
    pub(super) variant: Option<&'a Entry>,
    pub(super) overrides: Overrides,
    layers: Vec<(&'a Layer, bool)>,
}

/// Values of one origin.
#[derive(Debug)]
enum Layer {
    File {
        shown: String,
        text: String,
        documents: Vec<Node>,
    },
    /// The file of the spec, and the paths with their values.
    Set {
        file: String,
        values: Vec<(String, Node)>,
    },
}

impl Values {
    /// Takes values that are in order.
    pub(in crate::resolve) fn of(ready: Vec<Ready>) -> Values {
        Values { ready, ..Values::default() }
    }
}

/// Reads the values of an entry.
///
/// # Errors
/// Every file that cannot be read or is no YAML.
pub(super) fn read(folder: &Path, spec_file: &str, chart: &spec::Chart) -> Result<Values, Failures> {
    let mut failures = Failures::new();
    let base = layers(folder, spec_file, &chart.values, &chart.entry, &mut failures);
    let variants = chart
        .variants
        .iter()
        .map(|variant| {
            let layers = layers(folder, spec_file, &variant.values, &variant.entry, &mut failures);
            (variant.entry.clone(), layers)
        })
        .collect();
    if failures.is_empty() { Ok(Values { base, variants, ready: Vec::new() }) } else { Err(failures) }
}

fn layers(folder: &Path, spec_file: &str, values: &ChartValues, entry: &Entry, failures: &mut Failures) -> Vec<Layer> {
    let mut found = Vec::new();
    for path in &values.files {
        match file(folder, path, entry) {
            Ok(layer) => found.push(layer),
            Err(failure) => failures.push(failure),
        }
    }
    if !values.set.is_empty() {
        found.push(Layer::Set { file: spec_file.to_owned(), values: values.set.clone() });
    }
    found
}

fn file(folder: &Path, path: &str, entry: &Entry) -> Result<Layer, (Kind, Diagnostic)> {
    let place = folder.join(path);
    let shown = place.to_string_lossy();
    let shown = shown.strip_prefix("./").unwrap_or(&shown).to_owned();
    let at_entry = |kind, text: String| {
        (kind, Diagnostic::error("values", format!("{}: {text}", entry.label)).at(entry.at.clone()))
    };
    let bytes = files::read_limited(&place, MAX_VALUES).map_err(|error| at_entry(error.kind(), error.to_string()))?;
    let text =
        String::from_utf8(bytes.to_vec()).map_err(|_| at_entry(Kind::Usage, format!("{shown} is not UTF-8 text")))?;
    let documents = yaml::documents(&text, &yaml::Options::lenient()).map_err(|error| {
        let at = Location::new(&shown, error.at.line, error.at.column);
        let text = format!("{}: {}", entry.label, error.problem);
        (Kind::Usage, Diagnostic::error("values", text).at(at))
    })?;
    let layer = Layer::File { shown: shown.clone(), text, documents };
    // What helm would refuse although it is YAML.
    let checked = apply(Overrides::new(), [&layer]);
    checked.and_then(|overrides| overrides.check().map_err(|error| error.to_string())).map_err(|why| {
        let text = format!("{}: {why}", entry.label);
        (Kind::Usage, Diagnostic::error("values", text).at(Location::new(shown, 1, 1)))
    })?;
    Ok(layer)
}

fn apply<'l>(overrides: Overrides, layers: impl IntoIterator<Item = &'l Layer>) -> Result<Overrides, String> {
    let mut overrides = overrides;
    let mut set = false;
    for layer in layers {
        match layer {
            Layer::File { shown, text, .. } if !set => overrides = overrides.file(shown.clone(), text.clone()),
            // Files come before flags; one that comes after a `set` is given as a flag too, in its turn.
            Layer::File { shown, documents, .. } => {
                for document in documents.iter().filter(|document| !document.is_null()) {
                    let json = document.to_json().map_err(|error| format!("{shown}: {error}"))?;
                    overrides = overrides.set_json(json.to_string());
                }
            }
            Layer::Set { values, .. } => {
                set = true;
                for (path, value) in values {
                    overrides = assign(overrides, path, value)?;
                }
            }
        }
    }
    Ok(overrides)
}

/// Sets every value below a path; an empty table is a value.
fn assign(overrides: Overrides, path: &str, value: &Node) -> Result<Overrides, String> {
    match &value.value {
        Value::Map(entries) if !entries.is_empty() => entries.iter().try_fold(overrides, |overrides, (key, value)| {
            let key = key.key().ok_or_else(|| format!("`{path}` has a key that is {}", key.kind_name()))?;
            let mut escaped = String::new();
            for c in key.chars() {
                if matches!(c, '.' | ',' | '=' | '[' | ']' | '{' | '}' | '\\') {
                    escaped.push('\\');
                }
                escaped.push(c);
            }
            assign(overrides, &format!("{path}.{escaped}"), value)
        }),
        _ => {
            let json = value.to_json().map_err(|error| format!("`{path}`: {error}"))?;
            Ok(overrides.set_json(format!("{path}={json}")))
        }
    }
}

impl Values {
    /// Returns what the first rendering is given.
    ///
    /// # Errors
    /// A `set` that JSON cannot hold.
    pub(super) fn base(&self) -> Result<Overrides, String> {
        apply(Overrides::new(), &self.base)
    }

    /// Returns what every rendering is given, the first one first.
    ///
    /// # Errors
    /// A `set` that JSON cannot hold.
    pub(super) fn renderings(&self) -> Result<Vec<Given<'_>>, String> {
        if !self.ready.is_empty() {
            return Ok(self
                .ready
                .iter()
                .map(|ready| Given {
                    variant: ready.variant.as_ref(),
                    overrides: ready.overrides.clone(),
                    layers: ready.layers.iter().map(|layer| (layer, ready.variant.is_none())).collect(),
                })
                .collect());
        }
        let mut found = vec![Given {
            variant: None,
            overrides: apply(Overrides::new(), &self.base)?,
            layers: self.base.iter().map(|layer| (layer, true)).collect(),
        }];
        for (entry, layers) in &self.variants {
            let all: Vec<(&Layer, bool)> =
                self.base.iter().map(|layer| (layer, true)).chain(layers.iter().map(|layer| (layer, false))).collect();
            found.push(Given {
                variant: Some(entry),
                overrides: apply(Overrides::new(), all.iter().map(|(layer, _)| *layer))?,
                layers: all,
            });
        }
        Ok(found)
    }
}

impl Given<'_> {
    /// Finds where a value was given last, and whether every rendering is given it.
    pub(super) fn locate(&self, path: &str) -> Option<(Location, bool)> {
        self.layers.iter().rev().find_map(|(layer, base)| Some((layer.locate(path)?, *base)))
    }
}

impl Layer {
    fn locate(&self, path: &str) -> Option<Location> {
        match self {
            Layer::File { shown, documents, .. } => {
                let at = documents.iter().rev().find_map(|document| descend(document, path))?;
                Some(Location::new(shown, at.line, at.column))
            }
            Layer::Set { file, values } => values.iter().rev().find_map(|(key, value)| {
                let key: String = key.split('[').next().unwrap_or_default().replace('\\', "");
                let at = match path.strip_prefix(&key) {
                    Some("") => Some(value.at),
                    Some(rest) => rest.strip_prefix('.').and_then(|rest| descend(value, rest)),
                    None => key.strip_prefix(path).filter(|rest| rest.starts_with('.')).map(|_| value.at),
                }?;
                Some(Location::new(file, at.line, at.column))
            }),
        }
    }
}

/// Follows a dotted path; keys may hold dots themselves.
fn descend(node: &Node, path: &str) -> Option<yaml::Mark> {
    node.as_map()?.iter().find_map(|(key, value)| match path.strip_prefix(key.key()?.as_ref())? {
        "" => Some(key.at),
        rest => descend(value, rest.strip_prefix('.')?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Location {
        Location::new("bundle.yaml", 1, 1)
    }

    fn entry(label: &str) -> Entry {
        Entry { label: label.to_owned(), at: place() }
    }

    fn chart(files: &[&str], set: &str, variants: Vec<(&[&str], &str)>) -> spec::Chart {
        let values = |files: &[&str], set: &str| ChartValues {
            files: files.iter().map(|file| (*file).to_owned()).collect(),
            set: match yaml::documents(set, &yaml::Options::lenient()).unwrap().into_iter().next() {
                Some(node) => {
                    let entries = node.as_map().unwrap_or_default();
                    entries.iter().map(|(key, value)| (key.text().unwrap().to_owned(), value.clone())).collect()
                }
                None => Vec::new(),
            },
        };
        spec::Chart {
            entry: entry("charts[0]"),
            name: "web".into(),
            source: spec::ChartSource::Path("web".into()),
            namespace: None,
            values: values(files, set),
            variants: variants
                .into_iter()
                .map(|(files, set)| spec::Variant { entry: entry("charts[0].variants[0]"), values: values(files, set) })
                .collect(),
        }
    }

    #[test]
    fn places_of_values() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("v.yaml"), "a:\n  b.c: 1\n  d: {e: 2}\nx: 1\n").unwrap();
        let chart = chart(&["v.yaml"], "x: 3\nq.r: {s: 1}", vec![(&["v.yaml"], "")]);
        let values = read(folder.path(), "bundle.yaml", &chart).unwrap();
        let renderings = values.renderings().unwrap();
        let at = |path: &str| {
            let (at, base) = renderings[0].locate(path)?;
            Some((at.file.rsplit('/').next().unwrap().to_owned(), at.line, at.column, base))
        };
        assert_eq!(at("a.b.c"), Some(("v.yaml".into(), 2, 3, true)));
        assert_eq!(at("a.d.e"), Some(("v.yaml".into(), 3, 7, true)));
        assert_eq!(at("x"), Some(("bundle.yaml".into(), 1, 4, true)));
        assert_eq!(at("q.r.s"), Some(("bundle.yaml".into(), 2, 7, true)));
        assert_eq!(at("q"), Some(("bundle.yaml".into(), 2, 6, true)));
        assert_eq!(at("nothing"), None);
        assert!(!renderings[1].locate("x").unwrap().1, "the variant's file wins over the entry's set");
    }

    #[test]
    fn values_that_are_none_are_told_with_their_place() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("bad.yaml"), "a: [\n").unwrap();
        std::fs::write(folder.path().join("list.yaml"), "- a\n").unwrap();
        let chart = chart(&["bad.yaml", "gone.yaml", "list.yaml"], "", Vec::new());
        let failures = read(folder.path(), "bundle.yaml", &chart).err().unwrap();
        let told: Vec<String> = failures.iter().map(|(_, diagnostic)| diagnostic.to_string()).collect();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].contains("bad.yaml:2:") && told[1].starts_with("bundle.yaml:1:1"), "{told:?}");
        assert!(told[2].contains("list.yaml"), "{told:?}");
    }
}
