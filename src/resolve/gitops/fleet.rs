//! Rancher Fleet: folders with a `fleet.yaml`, GitRepos and Bundles.
//!
//! A folder is a chart, a kustomization or manifests, in this order, unless its `fleet.yaml` says which
//! (rancher/fleet, "fleet.yaml reference").

use serde_json::Map;

use super::{
    super::{
        batch::{Home, Origin as Written},
        kustomize::NAMES,
    },
    Action, Follower,
    build::{self, Shape},
    catalogue::{Reference, datum},
    chart::{self, From, Layer},
    place::{Repository, Revision, Root},
    subject::{Refusal, Subject, flag, items, text, texts},
};
use crate::{
    error::{Diagnostic, Kind, Location},
    kube::{Object, Origin},
    spec::ChartSource,
    tree::{RelPath, Tree},
    yaml::{self, Node, Value},
};

/// The file that describes a folder.
pub(in crate::resolve) const FILE: &str = "fleet.yaml";

/// What an object that stands for such a folder is called.
pub(in crate::resolve) const KIND: &str = "Fleet";

/// The group of Fleet's objects.
const API_VERSION: &str = "fleet.cattle.io/v1alpha1";

/// What of a folder is no manifest.
const NO_MANIFESTS: &str = "{fleet.yaml,overlays/**}";

/// The largest values file.
const MAX_VALUES: u64 = 64 << 20;

/// Reads a `fleet.yaml` to an object that stands for its folder; `shown` names the file in mistakes.
///
/// # Errors
/// It is no YAML, or no mapping.
pub(in crate::resolve) fn bundle(folder: &str, shown: &str, text: &str) -> Result<Object, (Kind, Diagnostic)> {
    let wrong = |at: yaml::Mark, message: String| {
        (Kind::Usage, Diagnostic::error("fleet", message).at(Location::new(shown, at.line, at.column)))
    };
    let mut documents =
        yaml::documents(text, &yaml::Options::lenient()).map_err(|error| wrong(error.at, error.problem.to_string()))?;
    documents.retain(|document| !document.is_null());
    let node = match (documents.pop(), documents.is_empty()) {
        (None, _) => Node::new(Value::Map(Vec::new()), yaml::Mark::START),
        (Some(node), true) if node.as_map().is_some() => node,
        (Some(node), _) => return Err(wrong(node.at, format!("{FILE} is one mapping"))),
    };
    Ok(of_folder(folder, shown, node))
}

fn of_folder(folder: &str, shown: &str, node: Node) -> Object {
    Object {
        origin: Origin { file: shown.to_owned(), line: node.at.line },
        api_version: API_VERSION.to_owned(),
        kind: KIND.to_owned(),
        name: if folder.is_empty() { ".".to_owned() } else { folder.to_owned() },
        namespace: None,
        node,
    }
}

/// Where the folder of an object is.
fn place(subject: &Subject<'_>) -> Result<(Root, Option<RelPath>), Refusal> {
    let (root, file) = match (&subject.batch.via.home, &subject.batch.origin) {
        (Home::Git(checkout), _) => (Root::Git(checkout.clone()), subject.object.origin.file.clone()),
        (_, Written::File(path)) if !path.is_empty() => (Root::Spec(None), path.clone()),
        _ => (Root::Spec(None), subject.object.origin.file.clone()),
    };
    match RelPath::join(None, &file) {
        Ok(file) => Ok((root, file.parent())),
        Err(_) => Err(Refusal::new("gitops-path", format!("{file} is not in the folder of the spec"))),
    }
}

/// Reads an object that stands for a folder.
pub(super) async fn file(follower: &Follower<'_, '_>, subject: &Subject<'_>) -> Result<Vec<Action>, Refusal> {
    let (root, folder) = place(subject)?;
    let node = &subject.object.node;
    let none = Node::new(Value::Null, node.at);
    let helm = node.get("helm").unwrap_or(&none);
    let customizations = items(node, "targetCustomizations");
    let mut actions = Vec::new();
    let own = |name: &str| RelPath::join(folder.as_ref(), name).ok();
    let has = async |name: &str| match own(name) {
        Some(path) => follower.has(&root, &path).await,
        None => Ok(false),
    };
    let mut kustomized = text(node.get("kustomize").unwrap_or(&none), "dir").is_some();
    for name in NAMES {
        kustomized |= has(name).await?;
    }
    if text(helm, "chart").is_some() || has("Chart.yaml").await? {
        let bundle = Bundle { follower, subject, root: &root, folder: folder.as_ref() };
        let mut plan = bundle.plan(node, helm, &none, &mut actions).await?;
        for (at, other) in customizations.iter().enumerate() {
            let Some(over) = other.get("helm").filter(|over| !over.is_null()) else { continue };
            let name = text(other, "name").map_or_else(|| format!("targetCustomizations[{at}]"), str::to_owned);
            if ["chart", "repo", "version"].iter().any(|key| over.get(key).is_some()) {
                let other = bundle.plan(node, helm, over, &mut actions).await?;
                actions.push(Action::Chart(Box::new(other)));
            } else {
                let layers = bundle.layers(over, &mut actions).await?;
                plan.variants.push((name, layers));
            }
        }
        actions.push(Action::Chart(Box::new(plan)));
        return Ok(actions);
    }
    let build = |path: Option<RelPath>, shape: Shape| {
        let plan = build::Plan { root: root.clone(), path, shape, over: Map::new(), variables: None };
        Action::Build(Box::new(plan))
    };
    if kustomized {
        let dirs = customizations.iter().filter_map(|other| other.get("kustomize"));
        let all: Vec<&Node> = node.get("kustomize").into_iter().chain(dirs).collect();
        let mut named: Vec<&str> = all.iter().filter_map(|kustomize| text(kustomize, "dir")).collect();
        if named.is_empty() {
            named.push(".");
        }
        for dir in named {
            let path = below(folder.as_ref(), dir)?;
            actions.push(build(path, Shape::Kustomize));
        }
        return Ok(actions);
    }
    let shape = |exclude: &str| Shape::Folder { recurse: true, include: None, exclude: Some(exclude.to_owned()) };
    actions.push(build(folder.clone(), shape(NO_MANIFESTS)));
    let overlays = customizations.iter().filter_map(|other| other.get("yaml")).flat_map(|yaml| texts(yaml, "overlays"));
    for overlay in overlays {
        // Files that end so are patches of others, and name no object of their own.
        let path = below(folder.as_ref(), &format!("overlays/{overlay}"))?;
        actions.push(build(path, shape("*_patch.{yaml,yml,json}")));
    }
    Ok(actions)
}

fn below(folder: Option<&RelPath>, written: &str) -> Result<Option<RelPath>, Refusal> {
    match RelPath::join(folder, written) {
        Ok(path) => Ok(Some(path)),
        Err(crate::tree::PathError::Empty) => Ok(None),
        Err(_) => Err(Refusal::new("gitops-path", format!("{written} leads out of the repository"))),
    }
}

/// A folder that is a chart.
struct Bundle<'b, 'a, 'j> {
    follower: &'b Follower<'a, 'j>,
    subject: &'b Subject<'b>,
    root: &'b Root,
    folder: Option<&'b RelPath>,
}

impl Bundle<'_, '_, '_> {
    /// Reads `helm`, and what a cluster changes about it.
    async fn plan(
        &self,
        node: &Node,
        helm: &Node,
        over: &Node,
        actions: &mut Vec<Action>,
    ) -> Result<chart::Plan, Refusal> {
        let say = |key: &str| text(over, key).or_else(|| text(helm, key));
        let version = say("version").unwrap_or("*").to_owned();
        let (name, from) = match (say("chart"), say("repo").filter(|repo| !repo.is_empty())) {
            (None, None) => (String::new(), self.root.chart(self.folder)),
            (None, Some(url)) => {
                // The address of a chart in a registry.
                let last = url.rsplit('/').next().unwrap_or_default().to_owned();
                (last, ChartSource::Repo { url: url.to_owned(), version })
            }
            (Some(chart), Some(repo)) => {
                let url = match repo.starts_with("oci://") {
                    true => format!("{}/{chart}", repo.trim_end_matches('/')),
                    false => repo.to_owned(),
                };
                (chart.to_owned(), ChartSource::Repo { url, version })
            }
            (Some(chart), None) if chart.starts_with("oci://") => {
                let last = chart.rsplit('/').next().unwrap_or_default().to_owned();
                (last, ChartSource::Repo { url: chart.to_owned(), version })
            }
            (Some(chart), None) if chart.contains("://") || chart.starts_with("git::") || chart.starts_with("git@") => {
                let text = format!("its chart is at {chart}, whose content nothing fixes");
                return Err(Refusal::unable(text).hint("name the chart under `charts`"));
            }
            (Some(chart), None) => {
                let path = below(self.folder, chart)?;
                (path.as_ref().map_or("", RelPath::name).to_owned(), self.root.chart(path.as_ref()))
            }
        };
        let mut layers = self.layers(helm, actions).await?;
        layers.extend(self.layers(over, actions).await?);
        let folder = self.folder.map_or("default", RelPath::name);
        let namespace = text(node, "namespace").or_else(|| text(node, "defaultNamespace")).unwrap_or("default");
        Ok(chart::Plan {
            name,
            from: From::Source(from),
            release: say("releaseName").unwrap_or(folder).to_owned(),
            namespace: namespace.to_owned(),
            defaults: None,
            layers,
            variants: Vec::new(),
            post: Vec::new(),
            kube_version: None,
            api_versions: Vec::new(),
        })
    }

    /// Reads values: files, then those that stand here, then those of ConfigMaps and Secrets.
    async fn layers(&self, helm: &Node, actions: &mut Vec<Action>) -> Result<Vec<Layer>, Refusal> {
        let mut layers = Vec::new();
        for written in texts(helm, "valuesFiles") {
            let path = below(self.folder, &written)?;
            let found = match &path {
                Some(path) => self.follower.file(self.root, path, MAX_VALUES).await?,
                None => None,
            };
            let Some(text) = found else {
                let text = format!("its values file {written} is not there");
                return Err(Refusal::new("gitops-values", text).at(self.subject.place(Some(helm.at))));
            };
            layers.push(Layer::Text { text, name: written });
        }
        if let Some(values) = helm.get("values").filter(|values| !values.is_null()) {
            layers.push(Layer::Inline(values.clone()));
        }
        for from in items(helm, "valuesFrom") {
            for (field, kind) in [("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")] {
                let Some(reference) = from.get(field) else { continue };
                let Some(name) = text(reference, "name") else { continue };
                let (namespace, key) = (text(reference, "namespace"), text(reference, "key").unwrap_or("values.yaml"));
                let optional = flag(reference, "optional");
                let wanted = Reference { kind, namespace, name, key, optional, at: reference.at };
                if let Some(datum) = datum(self.subject, &wanted)? {
                    let (object, field) = datum.settled;
                    actions.push(Action::Settled { object, field });
                    layers.push(Layer::Text { text: datum.text, name: datum.name });
                }
            }
        }
        Ok(layers)
    }
}

/// Reads a GitRepo: every folder that it names, and those below with a `fleet.yaml`.
pub(super) async fn repository(follower: &Follower<'_, '_>, subject: &Subject<'_>) -> Result<Vec<Action>, Refusal> {
    let Some(url) = subject.text("spec.repo") else {
        return Err(Refusal::new("gitops-source", "it has no spec.repo"));
    };
    let named = subject.text("spec.revision").or_else(|| subject.text("spec.branch")).unwrap_or("master");
    let reference = Revision::Named(named.to_owned());
    let mut paths: Vec<String> = subject.get("spec").map(|spec| texts(spec, "paths")).unwrap_or_default();
    if paths.is_empty() {
        paths.push("./".to_owned());
    }
    let mut notes = Vec::new();
    let wanted = Repository { name: "its repository".to_owned(), url: url.to_owned(), reference };
    let root = follower.locate(subject, &wanted, &paths[0], &mut notes).await?;
    let mut objects = Vec::new();
    for written in &paths {
        let path = root.path(written)?;
        let tree = match &root {
            Root::Git(checkout) => (*follower.tree(checkout).await?).clone(),
            _ => follower.files_named(path.as_ref(), &|name| name == FILE)?,
        };
        objects.extend(bundles(&tree, path.as_ref())?);
    }
    let mut actions: Vec<Action> = notes.into_iter().map(Action::Note).collect();
    actions.push(Action::Found { home: root.home(), objects });
    Ok(actions)
}

/// Finds the folders with a `fleet.yaml` below a path; the path itself counts when there is none.
fn bundles(tree: &Tree, path: Option<&RelPath>) -> Result<Vec<Object>, Refusal> {
    let start = path.map(|path| format!("{path}/")).unwrap_or_default();
    let mut found = Vec::new();
    for (file, bytes) in tree.iter().filter(|(file, _)| file.name() == FILE && file.as_str().starts_with(&start)) {
        let folder = file.parent().map(|folder| folder.to_string()).unwrap_or_default();
        let content = String::from_utf8_lossy(bytes);
        let object = bundle(&folder, file.as_str(), &content);
        found.push(object.map_err(|(_, diagnostic)| Refusal::new("fleet", diagnostic.to_string()))?);
    }
    if found.is_empty() {
        let folder = path.map(ToString::to_string).unwrap_or_default();
        let file = format!("{start}{FILE}");
        found.push(of_folder(&folder, &file, Node::new(Value::Map(Vec::new()), yaml::Mark::START)));
    }
    Ok(found)
}

/// Reads a Bundle: what Fleet makes of a folder.
pub(super) fn made(subject: &Subject<'_>) -> Result<Vec<Action>, Refusal> {
    let none = Node::new(Value::Null, subject.object.node.at);
    let spec = subject.get("spec").unwrap_or(&none);
    let helm = spec.get("helm").unwrap_or(&none);
    let mut actions = Vec::new();
    if let (Some(chart), Some(repo)) = (text(helm, "chart"), text(helm, "repo")) {
        let url = if repo.starts_with("oci://") { format!("{repo}/{chart}") } else { repo.to_owned() };
        let version = text(helm, "version").unwrap_or("*").to_owned();
        let layers = helm.get("values").map(|values| Layer::Inline(values.clone())).into_iter().collect();
        let namespace = text(spec, "namespace").or_else(|| text(spec, "defaultNamespace")).unwrap_or("default");
        actions.push(Action::Chart(Box::new(chart::Plan {
            name: chart.to_owned(),
            from: From::Source(ChartSource::Repo { url, version }),
            release: text(helm, "releaseName").unwrap_or(&subject.object.name).to_owned(),
            namespace: namespace.to_owned(),
            defaults: None,
            layers,
            variants: Vec::new(),
            post: Vec::new(),
            kube_version: None,
            api_versions: Vec::new(),
        })));
    }
    for (at, resource) in items(spec, "resources").iter().enumerate() {
        let name = text(resource, "name").unwrap_or_default();
        if text(resource, "encoding").is_some() || name.ends_with("Chart.yaml") {
            let text = format!("spec.resources[{at}], {name:?}, is compressed or a part of a chart");
            let hint = "name the folder that the Bundle was made of";
            return Err(Refusal::unable(text).hint(hint).at(subject.place(Some(resource.at))));
        }
        if let Some(content) = text(resource, "content") {
            actions.push(Action::Text { field: format!("spec.resources[{at}].content"), text: content.to_owned() });
        }
    }
    Ok(actions)
}
