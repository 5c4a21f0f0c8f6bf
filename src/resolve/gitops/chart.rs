//! Charts that objects ask for: fetched like those of the spec, rendered with the values that the objects give.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value as Json, json};

use super::{
    super::{
        batch::{Batch, Home, Origin},
        charts::{self, Acquired, Ready, Values},
        inputs, kustomize,
    },
    Carried, Follower, Yield,
    subject::{Refusal, Subject, leave},
};
use crate::{
    discover::Step,
    error::{Diagnostic, Kind, Location},
    files,
    helm::Overrides,
    kube::Object,
    spec::{self, ChartSource, ChartValues, Entry},
    tree::{RelPath, Tree},
    yaml::{self, Node, Value},
};

/// The largest archive of an address: as for charts of repositories.
const MAX_ARCHIVE: usize = 100 << 20;

/// What is rendered.
pub(super) struct Plan {
    /// The name of the chart, where its address does not say it.
    pub(super) name: String,
    pub(super) from: From,
    pub(super) release: String,
    pub(super) namespace: String,
    /// Files of the chart that take the place of its default values.
    pub(super) defaults: Option<Defaults>,
    /// What comes later wins.
    pub(super) layers: Vec<Layer>,
    /// Further sets of layers on top, by name.
    pub(super) variants: Vec<(String, Vec<Layer>)>,
    /// Kustomizations that are applied to what was rendered.
    pub(super) post: Vec<Map<String, Json>>,
    pub(super) kube_version: Option<String>,
    pub(super) api_versions: Vec<String>,
}

/// Where a chart comes from.
pub(super) enum From {
    /// Where charts of a spec come from too.
    Source(ChartSource),
    /// An archive that the object holds.
    Archive(Bytes),
    /// The address of an archive.
    Url(String),
}

/// Files that take the place of default values.
pub(super) struct Defaults {
    /// Paths in the chart.
    pub(super) files: Vec<String>,
    /// Whether one may be absent.
    pub(super) optional: bool,
}

/// Values of one origin.
pub(super) enum Layer {
    /// Values that stand in the object.
    Inline(Node),
    /// A text of values, and what names it.
    Text { text: String, name: String },
    /// A file of the chart.
    InChart { path: String, optional: bool },
    /// A flag of helm.
    Set(String),
    /// A flag whose value stays text.
    SetText(String),
    /// A flag whose value is a text without any syntax.
    SetLiteral(String),
}

/// Values on their way: what flags set must not win over what comes later.
struct Stack {
    values: Overrides,
    flags: bool,
    places: Vec<(String, Node)>,
}

impl Stack {
    fn flat(self) -> Result<Stack, String> {
        if !self.flags {
            return Ok(self);
        }
        let merged = self.values.to_json().map_err(|error| error.to_string())?;
        Ok(Stack { values: Overrides::new().file("values", merged), flags: false, places: self.places })
    }

    fn put(self, layer: &Layer, shown: &str, files: &BTreeMap<String, Bytes>) -> Result<Stack, String> {
        Ok(match layer {
            Layer::Inline(node) => {
                let json = node.to_json().map_err(|error| error.to_string())?;
                let mut stack = self.flat()?;
                stack.values = stack.values.file(shown, json.to_string());
                stack.places.push((shown.to_owned(), node.clone()));
                stack
            }
            Layer::Text { text, name } => {
                let mut stack = self.flat()?;
                stack.values = stack.values.file(name.clone(), text.clone());
                stack
            }
            Layer::InChart { path, optional } => {
                let plain = path.trim_start_matches("./");
                let Some(bytes) = files.get(plain) else {
                    return if *optional { Ok(self) } else { Err(format!("the chart has no file {path}")) };
                };
                let text = std::str::from_utf8(bytes).map_err(|_| format!("{path} of the chart is no text"))?;
                let mut stack = self.flat()?;
                stack.values = stack.values.file(path.clone(), text);
                stack
            }
            Layer::Set(flag) => Stack { values: self.values.set(flag.clone()), flags: true, places: self.places },
            Layer::SetText(flag) => {
                Stack { values: self.values.set_string(flag.clone()), flags: true, places: self.places }
            }
            Layer::SetLiteral(flag) => {
                Stack { values: self.values.set_literal(flag.clone()), flags: true, places: self.places }
            }
        })
    }
}

impl Follower<'_, '_> {
    /// Fetches and renders a chart and adds what comes out.
    pub(super) async fn chart(&self, subject: &Subject<'_>, plan: Plan, found: &mut Yield) {
        match self.rendered(subject, plan, found).await {
            Ok(()) => {}
            Err(Failed::Refused(refusal)) => {
                found.failures.push(refusal.told(&subject.title(), subject.object, subject.place(None)));
            }
            Err(Failed::Told(failures)) => {
                found.failures.extend(failures.into_iter().map(|(kind, diagnostic)| {
                    let more =
                        "a copy under `charts` with `path` stands in for it, `registries` says how a host is reached";
                    let more = format!("{more}; or {}", leave(subject.object));
                    let hint = match &diagnostic.hint {
                        Some(hint) => format!("{hint}; {more}"),
                        None => more,
                    };
                    (kind, diagnostic.hint(hint))
                }));
            }
        }
    }

    async fn rendered(&self, subject: &Subject<'_>, plan: Plan, found: &mut Yield) -> Result<(), Failed> {
        let place = subject.place(None);
        let source = match &plan.from {
            From::Source(source) => source.clone(),
            From::Archive(_) => ChartSource::Path(place.file.clone()),
            From::Url(url) => ChartSource::Path(url.clone()),
        };
        let entry = spec::Chart {
            entry: Entry { label: subject.title(), at: place.clone() },
            name: plan.release.clone(),
            source,
            namespace: Some(plan.namespace.clone()),
            values: ChartValues::default(),
            variants: Vec::new(),
        };
        let mut acquired = self.acquired(subject, &plan, &entry).await?;
        let tree = self.files(&acquired)?;
        let wrong = |why: String| Failed::Refused(Refusal::new("gitops-values", why));
        if let Some(defaults) = &plan.defaults {
            acquired.chart.values = own_values(defaults, &tree).map_err(wrong)?;
        }
        let values = ready(&plan, &place, &tree).map_err(wrong)?;
        let mut cluster = self.job.spec.kubernetes.clone();
        cluster.version = plan.kube_version.clone().or(cluster.version);
        cluster.api_versions.extend(plan.api_versions.iter().cloned());
        let outcome = charts::finish(acquired, &entry, values, cluster, subject.way()).await;
        let outcome = outcome.map_err(Failed::Told)?;
        let mut batches = outcome.batches;
        for post in &plan.post {
            batches = self.post_render(subject, batches, post).await.map_err(Failed::Refused)?;
        }
        let way = subject.batch.way_to(subject.object);
        for mut batch in batches {
            batch.via = subject.via(Home::Nowhere);
            batch.via.subject = Some(outcome.subject.clone());
            found.batches.push(batch);
        }
        found.listed.extend(outcome.listed.into_iter().map(|mut listed| {
            for finding in &mut listed.findings {
                finding.provenance.splice(0..0, way.iter().cloned());
            }
            listed
        }));
        found.warnings.extend(outcome.warnings);
        found.failures.extend(outcome.failures);
        found.charts.push(Carried { locked: outcome.locked, package: outcome.package });
        Ok(())
    }

    async fn acquired(&self, subject: &Subject<'_>, plan: &Plan, entry: &spec::Chart) -> Result<Acquired, Failed> {
        let of_archive = async |bytes: Bytes, source: String| {
            charts::of_archive(bytes, source)
                .await
                .map_err(|error| Failed::Refused(Refusal::new("chart", error.to_string())))
        };
        match &plan.from {
            From::Archive(bytes) => {
                let at = subject.batch.way_to(subject.object);
                let file = at.iter().rev().find_map(|step| match step {
                    Step::File { file, .. } => Some(file.clone()),
                    _ => None,
                });
                of_archive(bytes.clone(), file.unwrap_or_default()).await
            }
            From::Url(url) => {
                let bytes = inputs::get(self.job.registries, url, MAX_ARCHIVE).await;
                let bytes = bytes.map_err(|(kind, text)| Failed::Refused(Refusal::new("chart", text).of_kind(kind)))?;
                let acquired = of_archive(bytes, url.clone()).await?;
                self.unchanged(&acquired)?;
                Ok(acquired)
            }
            From::Source(source) => {
                if let Some(copy) = self.copy(plan, source) {
                    let mut acquired = of_archive(copy.package.archive.clone(), copy.locked.source.clone()).await?;
                    acquired.package = copy.package.clone();
                    acquired.vendored = copy.locked.vendored.clone();
                    return Ok(acquired);
                }
                let acquired = charts::acquire(self.job, self.acquirer, &plan.name, entry, &subject.input.label).await;
                acquired.map_err(Failed::Told)
            }
        }
    }

    /// Finds a chart of the spec that stands in for one of a repository: one at hand, of its name, of a version that fits.
    fn copy(&self, plan: &Plan, source: &ChartSource) -> Option<&Carried> {
        let ChartSource::Repo { url, version } = source else { return None };
        if url.starts_with("git+") || url.contains('@') {
            return None;
        }
        let tag = url.strip_prefix("oci://").and_then(|rest| rest.rsplit_once(':')).map(|(_, tag)| tag);
        let range = match tag.filter(|tag| !tag.contains('/')) {
            Some("latest") => "",
            Some(tag) => tag,
            None => version,
        };
        self.copies.iter().find(|copy| copy.locked.chart == plan.name && charts::fits(range, &copy.locked.version))
    }

    /// Holds an archive of an address against the lock before.
    fn unchanged(&self, acquired: &Acquired) -> Result<(), Failed> {
        let metadata = &acquired.chart.metadata;
        let pinned = self.job.previous.into_iter().flat_map(|lock| &lock.charts).find(|locked| {
            locked.source == acquired.source && !self.job.update.moves_any(&[&locked.chart, &locked.source])
        });
        let Some(pinned) = pinned.filter(|pinned| pinned.digest != acquired.package.digest()) else { return Ok(()) };
        let text = format!("{} changed: the lock has {} {}", acquired.source, pinned.chart, pinned.version);
        let hint = format!("`bundle resolve --update {}` takes what is there now", metadata.name);
        Err(Failed::Refused(Refusal::new("chart", text).of_kind(Kind::Corrupt).hint(hint)))
    }

    /// Returns the files of a chart.
    fn files(&self, acquired: &Acquired) -> Result<BTreeMap<String, Bytes>, Failed> {
        let name = std::path::Path::new(&acquired.source);
        let tree = charts::unpack(name, &acquired.package.archive)
            .map_err(|error| Failed::Refused(Refusal::new("chart", error.to_string())))?;
        Ok(tree.iter().map(|(path, bytes)| (path.to_string(), bytes.clone())).collect())
    }

    /// Applies a kustomization to what a chart made; hooks and definitions pass by, as they do in Flux.
    async fn post_render(
        &self,
        subject: &Subject<'_>,
        batches: Vec<Batch>,
        post: &Map<String, Json>,
    ) -> Result<Vec<Batch>, Refusal> {
        let (mut tree, mut resources, mut rest) = (Tree::new(), Vec::new(), Vec::new());
        let mut origins: BTreeMap<String, Origin> = BTreeMap::new();
        for batch in batches {
            let text = match &batch.origin {
                Origin::Template { manifest: Some(manifest), variant: None, .. }
                    if !batch.objects.is_empty() && !batch.objects.iter().any(is_hook) =>
                {
                    Some(manifest.text.clone())
                }
                _ => None,
            };
            let path = format!("{:06}.yaml", origins.len());
            match (text, path.parse::<RelPath>()) {
                (Some(text), Ok(file)) => {
                    tree.insert(file, text);
                    resources.push(Json::from(path.clone()));
                    origins.insert(path, batch.origin);
                }
                _ => rest.push(batch),
            }
        }
        let mut kustomization = post.clone();
        kustomization.insert("resources".to_owned(), Json::Array(resources));
        if let Ok(file) = kustomize::NAMES[0].parse::<RelPath>() {
            tree.insert(file, Json::Object(kustomization).to_string());
        }
        let (workshop, way) = (self.workshop.clone(), subject.way());
        let built = files::blocking(move || {
            let task = kustomize::Task { tree: &tree, root: None, home: &Home::Nowhere, inside: None, way: &way };
            kustomize::make(&workshop, &task)
        })
        .await;
        let built = built.map_err(|mistake| {
            Refusal::new("gitops-build", format!("its post-renderer does not apply: {}", mistake.text))
                .of_kind(mistake.kind)
        })?;
        let mut by_file: BTreeMap<String, Vec<Object>> = BTreeMap::new();
        for object in built.objects {
            by_file.entry(object.origin.file.clone()).or_default().push(object);
        }
        for (file, objects) in by_file {
            let origin = origins.remove(&file).unwrap_or(Origin::File(file));
            rest.push(Batch::new(objects, origin));
        }
        Ok(rest)
    }
}

/// How a chart did not come about.
enum Failed {
    Refused(Refusal),
    Told(Vec<(Kind, Diagnostic)>),
}

fn is_hook(object: &Object) -> bool {
    object.node.at_path(["metadata", "annotations"]).is_some_and(|all| all.get("helm.sh/hook").is_some())
}

/// Puts values in order, for every rendering.
fn ready(plan: &Plan, place: &Location, files: &BTreeMap<String, Bytes>) -> Result<Values, String> {
    let start = || Stack { values: Overrides::new(), flags: false, places: Vec::new() };
    let put = |stack: Stack, layers: &[Layer]| {
        layers.iter().try_fold(stack, |stack, layer| stack.put(layer, &place.file, files))
    };
    let first = put(start(), &plan.layers)?;
    let mut all = vec![Ready::new(None, first.values, first.places)];
    for (name, layers) in &plan.variants {
        let stack = put(put(start(), &plan.layers)?, layers)?;
        let entry = Entry { label: name.clone(), at: place.clone() };
        all.push(Ready::new(Some(entry), stack.values, stack.places));
    }
    Ok(Values::of(all))
}

/// Merges files of a chart to the values that it has when nothing else is said.
fn own_values(defaults: &Defaults, files: &BTreeMap<String, Bytes>) -> Result<Vec<Node>, String> {
    let mut merged = Overrides::new();
    for path in &defaults.files {
        match files.get(path.trim_start_matches("./")) {
            Some(bytes) => {
                let text = std::str::from_utf8(bytes).map_err(|_| format!("{path} of the chart is no text"))?;
                merged = merged.file(path.clone(), text);
            }
            None if defaults.optional => {}
            None => return Err(format!("the chart has no file {path}, which its default values come from")),
        }
    }
    let merged = merged.to_json().map_err(|error| error.to_string())?;
    let mut documents = yaml::documents(&merged, &yaml::Options::lenient()).map_err(|error| error.to_string())?;
    documents.retain(|document| matches!(document.value, Value::Map(_)));
    Ok(documents)
}

/// Turns fields of an object into a kustomization.
pub(super) fn kustomization(node: &Node, fields: &[&str]) -> Result<Map<String, Json>, Refusal> {
    let mut found = Map::new();
    for field in fields {
        let Some(value) = node.get(field).filter(|value| !value.is_null()) else { continue };
        let json = value.to_json().map_err(|error| Refusal::new("gitops-build", format!("`{field}`: {error}")))?;
        if json != json!([]) && json != json!({}) && json != json!("") {
            found.insert((*field).to_owned(), json);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(text: &str) -> Node {
        yaml::documents(text, &yaml::Options::default()).unwrap().remove(0)
    }

    #[test]
    fn what_comes_later_wins_flags_included() {
        let files = [("extra.yaml".to_owned(), Bytes::from_static(b"c: 9"))].into();
        let layers = [
            Layer::Text { text: "a: 1\nb: 1\n".into(), name: "map".into() },
            Layer::Set("b=2".into()),
            Layer::Set("d.e=x".into()),
            Layer::Inline(node("b: 3\n")),
            Layer::InChart { path: "./extra.yaml".into(), optional: false },
            Layer::InChart { path: "gone.yaml".into(), optional: true },
            Layer::SetText("c=4".into()),
            Layer::SetLiteral("f=a,b{".into()),
        ];
        let start = Stack { values: Overrides::new(), flags: false, places: Vec::new() };
        let stack = layers.iter().try_fold(start, |stack, layer| stack.put(layer, "x", &files)).unwrap();
        assert_eq!(stack.values.to_json().unwrap(), r#"{"a":1,"b":3,"c":"4","d":{"e":"x"},"f":"a,b{"}"#);
        let gone = Layer::InChart { path: "gone.yaml".into(), optional: false };
        let start = Stack { values: Overrides::new(), flags: false, places: Vec::new() };
        assert!(start.put(&gone, "x", &files).is_err());
    }

    #[test]
    fn files_of_a_chart_replace_its_defaults() {
        let files = [("values.yaml", "a: 1\nb: 1\n"), ("prod.yaml", "b: 2\n")]
            .map(|(path, text)| (path.to_owned(), Bytes::from_static(text.as_bytes())))
            .into();
        let of = |list: &[&str], optional| {
            let defaults = Defaults { files: list.iter().map(|path| (*path).to_owned()).collect(), optional };
            own_values(&defaults, &files).map(|nodes| nodes[0].to_json().unwrap().to_string())
        };
        assert_eq!(of(&["values.yaml", "./prod.yaml"], false).unwrap(), r#"{"a":1,"b":2}"#);
        assert_eq!(of(&["prod.yaml", "gone.yaml"], true).unwrap(), r#"{"b":2}"#);
        assert!(of(&["gone.yaml"], false).is_err());
    }
}
