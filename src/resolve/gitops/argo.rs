//! Argo CD: Applications, with one source or several.
//!
//! What a folder of a repository is follows Argo CD: what the source says, else a chart, a kustomization, manifests
//! (argo-cd, `util/app/discovery`). Values: files, `values` or `valuesObject`, parameters.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::{
    Action, Follower,
    build::{self, Shape},
    chart::{self, From, Layer, kustomization as fields_of},
    place::{Repository, Revision, Root},
    subject::{Refusal, Subject, flag, items, text, texts},
};
use crate::{
    error::Diagnostic,
    spec::ChartSource,
    tree::RelPath,
    yaml::{Node, Value},
};

/// The largest values file of a repository.
const MAX_VALUES: u64 = 64 << 20;

/// The parts of an Application that its sources share.
struct App<'a> {
    name: &'a str,
    namespace: &'a str,
    /// Repositories by the name that other sources give them.
    named: BTreeMap<&'a str, &'a Node>,
    /// What parameters may name with `$`.
    environment: Vec<(&'static str, String)>,
}

/// Reads an Application.
pub(super) async fn application(follower: &Follower<'_, '_>, subject: &Subject<'_>) -> Result<Vec<Action>, Refusal> {
    let many = subject.get("spec.sources").and_then(Node::as_seq).unwrap_or_default();
    let one = subject.get("spec.sourceHydrator.drySource").or_else(|| subject.get("spec.source"));
    let sources: Vec<&Node> = if many.is_empty() { one.into_iter().collect() } else { many.iter().collect() };
    if sources.is_empty() {
        return Err(Refusal::new("gitops-source", "it names no source: neither spec.source nor spec.sources"));
    }
    let named = sources.iter().filter_map(|source| Some((text(source, "ref")?, *source))).collect();
    let app = App {
        name: &subject.object.name,
        namespace: subject.text("spec.destination.namespace").unwrap_or("default"),
        named,
        environment: vec![
            ("ARGOCD_APP_NAME", subject.object.name.clone()),
            ("ARGOCD_APP_NAMESPACE", subject.text("spec.destination.namespace").unwrap_or_default().to_owned()),
            ("ARGOCD_APP_PROJECT_NAME", subject.text("spec.project").unwrap_or_default().to_owned()),
        ],
    };
    let mut actions = Vec::new();
    for node in sources {
        match source(follower, subject, &app, node, &mut actions).await {
            Ok(()) => {}
            Err(refusal) if refusal.waits => return Err(refusal),
            Err(refusal) => actions.push(Action::Refused(refusal)),
        }
    }
    Ok(actions)
}

async fn source(
    follower: &Follower<'_, '_>,
    subject: &Subject<'_>,
    app: &App<'_>,
    node: &Node,
    actions: &mut Vec<Action>,
) -> Result<(), Refusal> {
    let Some(url) = text(node, "repoURL") else {
        return Err(Refusal::new("gitops-source", "a source has no `repoURL`").at(subject.place(Some(node.at))));
    };
    if node.get("plugin").is_some_and(|plugin| !plugin.is_null()) {
        return Err(Refusal::unable("a plugin of Argo CD makes its manifests").at(subject.place(Some(node.at))));
    }
    let revision = text(node, "targetRevision").unwrap_or_default();
    let mut notes = Vec::new();
    if let Some(chart) = text(node, "chart") {
        let version = if matches!(revision, "" | "HEAD") { "*" } else { revision }.to_owned();
        let url = match url.split_once("://") {
            Some(("oci", _)) => format!("{}/{chart}", url.trim_end_matches('/')),
            Some(_) => url.to_owned(),
            // A registry is named without a scheme.
            None => format!("oci://{}/{chart}", url.trim_end_matches('/')),
        };
        let plan =
            helm(follower, subject, app, node, chart, ChartSource::Repo { url, version }, None, &mut notes).await?;
        actions.extend(notes.into_iter().map(Action::Note));
        actions.push(Action::Chart(Box::new(plan)));
        return Ok(());
    }
    if url.starts_with("oci://") {
        let url = if revision.is_empty() { url.to_owned() } else { format!("{url}:{revision}") };
        let last = url.rsplit('/').next().unwrap_or_default().split(':').next().unwrap_or_default().to_owned();
        let from = ChartSource::Repo { url, version: String::new() };
        let plan = helm(follower, subject, app, node, &last, from, None, &mut notes).await?;
        actions.extend(notes.into_iter().map(Action::Note));
        actions.push(Action::Chart(Box::new(plan)));
        return Ok(());
    }
    let Some(written) = text(node, "path") else {
        if text(node, "ref").is_some() {
            // It only gives values to others.
            return Ok(());
        }
        let place = subject.place(Some(node.at));
        return Err(Refusal::new("gitops-source", "a source has neither `chart` nor `path`").at(place));
    };
    let root = repository(follower, subject, node, written, &mut notes).await?;
    let path = root.path(written)?;
    let file = |name: &str| RelPath::join(path.as_ref(), name).ok();
    let has = async |name: &str| match file(name) {
        Some(file) => follower.has(&root, &file).await,
        None => Ok(false),
    };
    let explicit = ["helm", "kustomize", "directory"]
        .into_iter()
        .find(|key| node.get(key).is_some_and(|value| value.as_map().is_some_and(|entries| !entries.is_empty())));
    let kind = match explicit {
        Some(kind) => kind,
        None if has("Chart.yaml").await? => "helm",
        None if has("kustomization.yaml").await? || has("kustomization.yml").await? || has("Kustomization").await? => {
            "kustomize"
        }
        None => "directory",
    };
    let action = match kind {
        "helm" => {
            let name = path.as_ref().map_or("", RelPath::name).to_owned();
            let from = root.chart(path.as_ref());
            let place = Some((&root, path.as_ref()));
            Action::Chart(Box::new(helm(follower, subject, app, node, &name, from, place, &mut notes).await?))
        }
        "kustomize" => {
            let over = options(node)?;
            Action::Build(Box::new(build::Plan { root, path, shape: Shape::Kustomize, over, variables: None }))
        }
        _ => {
            let none = Node::new(Value::Null, node.at);
            let directory = node.get("directory").unwrap_or(&none);
            let shape = Shape::Folder {
                recurse: flag(directory, "recurse"),
                include: text(directory, "include").map(str::to_owned),
                exclude: text(directory, "exclude").map(str::to_owned),
            };
            Action::Build(Box::new(build::Plan { root, path, shape, over: Map::new(), variables: None }))
        }
    };
    actions.extend(notes.into_iter().map(Action::Note));
    actions.push(action);
    Ok(())
}

/// Finds the repository of a source.
async fn repository(
    follower: &Follower<'_, '_>,
    subject: &Subject<'_>,
    node: &Node,
    path: &str,
    notes: &mut Vec<Diagnostic>,
) -> Result<Root, Refusal> {
    let url = text(node, "repoURL").unwrap_or_default().to_owned();
    let revision = text(node, "targetRevision").unwrap_or("HEAD");
    let is_range = revision.contains(['*', '<', '>', '^', '~', ' ']);
    let reference = match is_range {
        true => Revision::Range(revision.to_owned()),
        false => Revision::Named(revision.to_owned()),
    };
    let wanted = Repository { name: "its repository".to_owned(), url, reference };
    follower.locate(subject, &wanted, path, notes).await
}

#[allow(clippy::too_many_arguments)] // One chart, described by the parts of one source.
async fn helm(
    follower: &Follower<'_, '_>,
    subject: &Subject<'_>,
    app: &App<'_>,
    node: &Node,
    name: &str,
    from: ChartSource,
    place: Option<(&Root, Option<&RelPath>)>,
    notes: &mut Vec<Diagnostic>,
) -> Result<chart::Plan, Refusal> {
    let none = Node::new(Value::Null, node.at);
    let helm = node.get("helm").unwrap_or(&none);
    let optional = flag(helm, "ignoreMissingValueFiles");
    let mut layers = Vec::new();
    for written in texts(helm, "valueFiles") {
        let written = expand(&written, &app.environment);
        match value_file(follower, subject, app, &written, place, notes).await? {
            Some(Layer::InChart { path, .. }) => layers.push(Layer::InChart { path, optional }),
            Some(layer) => layers.push(layer),
            None if optional => {}
            None => {
                let text = format!("its values file {written} is not there");
                return Err(Refusal::new("gitops-values", text).at(subject.place(Some(helm.at))));
            }
        }
    }
    match (helm.get("valuesObject").filter(|values| !values.is_null()), text(helm, "values")) {
        (Some(values), _) => layers.push(Layer::Inline(values.clone())),
        (None, Some(values)) => {
            layers.push(Layer::Text { text: values.to_owned(), name: format!("`values` of {}", subject.title()) });
        }
        (None, None) => {}
    }
    for parameter in items(helm, "parameters") {
        let Some(key) = text(parameter, "name") else { continue };
        let value = expand(text(parameter, "value").unwrap_or_default(), &app.environment);
        let set = format!("{key}={}", escaped(&value));
        layers.push(if flag(parameter, "forceString") { Layer::SetText(set) } else { Layer::Set(set) });
    }
    for parameter in items(helm, "fileParameters") {
        let (Some(key), Some(written)) = (text(parameter, "name"), text(parameter, "path")) else { continue };
        match value_file(follower, subject, app, written, place, notes).await? {
            Some(Layer::Text { text, .. }) => layers.push(Layer::SetLiteral(format!("{key}={text}"))),
            _ => {
                let text = format!("the file {written} of its parameter {key} is not there");
                return Err(Refusal::new("gitops-values", text).at(subject.place(Some(parameter.at))));
            }
        }
    }
    Ok(chart::Plan {
        name: name.to_owned(),
        from: From::Source(from),
        release: text(helm, "releaseName").unwrap_or(app.name).to_owned(),
        namespace: text(helm, "namespace").unwrap_or(app.namespace).to_owned(),
        defaults: None,
        layers,
        variants: Vec::new(),
        post: Vec::new(),
        kube_version: text(helm, "kubeVersion").map(str::to_owned),
        api_versions: texts(helm, "apiVersions"),
    })
}

/// Finds a values file: in the chart, beside it in its repository, or in another source (`$ref/…`).
async fn value_file(
    follower: &Follower<'_, '_>,
    subject: &Subject<'_>,
    app: &App<'_>,
    written: &str,
    place: Option<(&Root, Option<&RelPath>)>,
    notes: &mut Vec<Diagnostic>,
) -> Result<Option<Layer>, Refusal> {
    if written.contains("://") {
        let text = format!("its values file {written} is fetched from an address, which nothing pins");
        return Err(Refusal::unable(text).hint("put the file beside the chart"));
    }
    let read = async |root: &Root, path: Option<RelPath>| -> Result<Option<Layer>, Refusal> {
        let Some(path) = path else { return Ok(None) };
        let found = follower.file(root, &path, MAX_VALUES).await?;
        Ok(found.map(|text| Layer::Text { text, name: path.to_string() }))
    };
    if let Some((name, path)) = written.strip_prefix('$').and_then(|rest| rest.split_once('/')) {
        let Some(other) = app.named.get(name) else {
            let text = format!("its values file {written} is of a source {name:?} that it does not have");
            return Err(Refusal::new("gitops-values", text));
        };
        let root = repository(follower, subject, other, path, notes).await?;
        return read(&root, root.path(path)?).await;
    }
    match place {
        None => Ok(Some(Layer::InChart { path: written.to_owned(), optional: false })),
        Some((root, folder)) => {
            if let Some(absolute) = written.strip_prefix('/') {
                return read(root, root.path(absolute)?).await;
            }
            let path = RelPath::join(folder, written);
            let wrong =
                |_| Refusal::new("gitops-values", format!("its values file {written} is outside of the repository"));
            read(root, Some(path.map_err(wrong)?)).await
        }
    }
}

/// Keeps commas in a value, unless it is a list.
fn escaped(value: &str) -> String {
    if value.starts_with('{') && value.ends_with('}') {
        return value.to_owned();
    }
    let mut out = String::new();
    let mut before = ' ';
    for c in value.chars() {
        if c == ',' && before != '\\' {
            out.push('\\');
        }
        out.push(c);
        before = c;
    }
    out
}

/// Replaces `$NAME` and `${NAME}` of Argo CD's build environment.
fn expand(text: &str, environment: &[(&'static str, String)]) -> String {
    let mut names: Vec<&(&'static str, String)> = environment.iter().collect();
    // A longer name first: one may begin with another.
    names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    names.iter().fold(text.to_owned(), |text, (name, value)| {
        text.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value)
    })
}

/// Reads `kustomize` of a source as fields of a kustomization.
fn options(node: &Node) -> Result<Map<String, Json>, Refusal> {
    let Some(kustomize) = node.get("kustomize") else { return Ok(Map::new()) };
    let fields = [
        "namePrefix",
        "nameSuffix",
        "namespace",
        "commonLabels",
        "commonAnnotations",
        "patches",
        "components",
        "replicas",
    ];
    let mut over = fields_of(kustomize, &fields)?;
    let images: Vec<Json> = texts(kustomize, "images").iter().map(|text| image(text)).collect();
    if !images.is_empty() {
        over.insert("images".to_owned(), Json::Array(images));
    }
    Ok(over)
}

/// Reads `[NAME=]NEW[:TAG][@DIGEST]`, as `kustomize edit set image` does.
fn image(written: &str) -> Json {
    let (name, new) = match written.split_once('=') {
        Some((name, new)) => (Some(name), new),
        None => (None, written),
    };
    let (rest, digest) = new.split_once('@').map_or((new, None), |(rest, digest)| (rest, Some(digest)));
    let slash = rest.rfind('/').unwrap_or(0);
    let (bare, tag) = match rest[slash..].find(':') {
        Some(colon) => (&rest[..slash + colon], Some(&rest[slash + colon + 1..])),
        None => (rest, None),
    };
    let mut image = Map::new();
    image.insert("name".to_owned(), json!(name.unwrap_or(bare)));
    if name.is_some() {
        image.insert("newName".to_owned(), json!(bare));
    }
    for (key, value) in [("newTag", tag), ("digest", digest)] {
        if let Some(value) = value {
            image.insert(key.to_owned(), json!(value));
        }
    }
    Json::Object(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_written_as_kustomize_reads_them() {
        assert_eq!(image("nginx:1.27"), json!({"name": "nginx", "newTag": "1.27"}));
        assert_eq!(
            image("a=h:5000/b:2@sha256:00"),
            json!({"name": "a", "newName": "h:5000/b", "newTag": "2", "digest": "sha256:00"})
        );
        assert_eq!(image("h:5000/b"), json!({"name": "h:5000/b"}));
    }

    #[test]
    fn commas_and_names_in_parameters() {
        assert_eq!((escaped("a,b\\,c"), escaped("{a,b}")), ("a\\,b\\,c".into(), "{a,b}".into()));
        let environment = [("ARGOCD_APP_NAME", "shop".to_owned()), ("ARGOCD_APP_NAMESPACE", "web".to_owned())];
        assert_eq!(expand("$ARGOCD_APP_NAME-${ARGOCD_APP_NAMESPACE}.$X", &environment), "shop-web.$X");
    }
}
