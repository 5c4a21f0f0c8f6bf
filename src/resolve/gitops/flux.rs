//! Flux: HelmReleases and Kustomizations, with the sources that they refer to.
//!
//! Values are merged as helm-controller does: `valuesFrom` in its order, then `values`
//! (fluxcd/pkg, `chartutil/values.go`, `ChartValuesFromReferences`).

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::{
    Action, Follower,
    build::{self, Shape},
    catalogue::{Known, data, datum, reference},
    chart::{self, Defaults, From, Layer, kustomization as fields_of},
    place::{Repository, Revision, Root},
    subject::{Refusal, Subject, flag, items, text, texts},
};
use crate::{
    discover::object_step,
    error::Diagnostic,
    files,
    spec::ChartSource,
    tree::RelPath,
    yaml::{Node, Value},
};

/// The group of sources.
const SOURCES: &str = "source.toolkit.fluxcd.io";

/// The longest name of a release: helm's own bound, to which helm-controller shortens.
const RELEASE: usize = 53;

/// The chart that a release asks for.
struct Asked {
    name: String,
    source: ChartSource,
    defaults: Option<Defaults>,
}

/// Reads a HelmRelease.
pub(super) async fn release(follower: &Follower<'_, '_>, subject: &Subject<'_>) -> Result<Vec<Action>, Refusal> {
    let mut notes = Vec::new();
    let asked = match (subject.get("spec.chartRef"), subject.get("spec.chart.spec")) {
        (Some(reference), _) => referred(follower, subject, reference, &mut notes).await?,
        (None, Some(spec)) => of_spec(follower, subject, spec, subject.namespace(), &mut notes).await?,
        (None, None) => {
            let hint = "when it is a patch, name the kustomization that applies it (`kustomize:`) instead of the file";
            return Err(
                Refusal::new("gitops-chart", "it names no chart: neither spec.chart nor spec.chartRef").hint(hint)
            );
        }
    };
    let mut layers = Vec::new();
    let mut settled = Vec::new();
    for from in subject.get("spec.valuesFrom").and_then(Node::as_seq).unwrap_or_default() {
        let key = text(from, "valuesKey").unwrap_or("values.yaml");
        let wanted = reference(from, subject.namespace(), key)?;
        let Some(datum) = datum(subject, &wanted)? else { continue };
        settled.push(datum.settled.clone());
        match text(from, "targetPath") {
            None => layers.push(Layer::Text { text: datum.text, name: datum.name }),
            Some(path) => layers.push(at_path(path, &datum.text, flag(from, "literal"))),
        }
    }
    if let Some(values) = subject.get("spec.values") {
        layers.push(Layer::Inline(values.clone()));
    }
    let mut post = Vec::new();
    for renderer in subject.get("spec.postRenderers").and_then(Node::as_seq).unwrap_or_default() {
        if let Some(kustomize) = renderer.get("kustomize") {
            post.push(fields_of(kustomize, &["patches", "patchesStrategicMerge", "patchesJson6902", "images"])?);
        }
    }
    let target = subject.text("spec.targetNamespace");
    let plan = chart::Plan {
        name: asked.name,
        from: From::Source(asked.source),
        release: release_name(subject, target),
        namespace: target.or(subject.namespace()).unwrap_or("default").to_owned(),
        defaults: asked.defaults,
        layers,
        variants: Vec::new(),
        post,
        kube_version: None,
        api_versions: Vec::new(),
    };
    let mut actions: Vec<Action> = notes.into_iter().map(Action::Note).collect();
    actions.extend(settled.into_iter().map(|(object, field)| Action::Settled { object, field }));
    actions.push(Action::Chart(Box::new(plan)));
    Ok(actions)
}

fn release_name(subject: &Subject<'_>, target: Option<&str>) -> String {
    let name = match (subject.text("spec.releaseName"), target) {
        (Some(name), _) => name.to_owned(),
        (None, Some(target)) => format!("{target}-{}", subject.object.name),
        (None, None) => subject.object.name.clone(),
    };
    if name.len() <= RELEASE {
        return name;
    }
    // helm-controller: 40 characters, a dash, 12 of the SHA-256.
    let digest = crate::oci::Digest::sha256(name.as_bytes()).hex();
    format!("{}-{}", name.get(..40).unwrap_or(&name), &digest[..12])
}

/// Puts a value at a path, as `helm --set` does; quotes around a value keep it text.
fn at_path(path: &str, value: &str, literal: bool) -> Layer {
    let quoted = |mark: char| value.len() > 1 && value.starts_with(mark) && value.ends_with(mark);
    if literal {
        Layer::SetLiteral(format!("{path}={value}"))
    } else if quoted('\'') || quoted('"') {
        Layer::SetText(format!("{path}={}", value.trim_matches(['\'', '"'])))
    } else {
        Layer::Set(format!("{path}={value}"))
    }
}

/// Finds a source.
fn source<'a>(
    subject: &Subject<'a>,
    reference: &Node,
    namespace: Option<&str>,
) -> Result<(Known<'a>, &'static str), Refusal> {
    let (Some(kind), Some(name)) = (text(reference, "kind"), text(reference, "name")) else {
        let text = "its reference to a source has no `kind` and `name`";
        return Err(Refusal::new("gitops-source", text).at(subject.place(Some(reference.at))));
    };
    let known = ["HelmRepository", "GitRepository", "OCIRepository", "Bucket", "HelmChart", "ExternalArtifact"];
    let Some(kind) = known.into_iter().find(|known| *known == kind) else {
        let text = format!("{kind} is no kind of source of Flux");
        return Err(Refusal::new("gitops-source", text).at(subject.place(Some(reference.at))));
    };
    let namespace = text(reference, "namespace").or(namespace);
    match subject.catalogue.find(subject.input, SOURCES, kind, namespace, name) {
        Some(found) => Ok((found, kind)),
        None => {
            let shown = namespace.map(|namespace| format!("{namespace}/")).unwrap_or_default();
            let text = format!("its source {kind} {shown}{name} is not among the inputs");
            let hint = "add the manifest that makes the source under `manifests`";
            Err(Refusal::missing(text).hint(hint).at(subject.place(Some(reference.at))))
        }
    }
}

/// Reads `spec.chartRef`.
async fn referred(
    follower: &Follower<'_, '_>,
    subject: &Subject<'_>,
    reference: &Node,
    notes: &mut Vec<Diagnostic>,
) -> Result<Asked, Refusal> {
    let (found, kind) = source(subject, reference, subject.namespace())?;
    let spec = found.object.node.get("spec").cloned().unwrap_or(Node::new(Value::Null, found.object.node.at));
    let name = object_step(found.object).to_string();
    match kind {
        "HelmChart" => of_spec(follower, subject, &spec, found.object.namespace.as_deref(), notes).await,
        "OCIRepository" => {
            let url = text(&spec, "url").unwrap_or_default();
            if !url.starts_with("oci://") {
                return Err(Refusal::new("gitops-source", format!("{name} has no address that begins with oci://")));
            }
            let none = Node::new(Value::Null, spec.at);
            let wanted = spec.get("ref").unwrap_or(&none);
            let (url, version) = match (text(wanted, "digest"), text(wanted, "semver"), text(wanted, "tag")) {
                (Some(digest), ..) => (format!("{url}@{digest}"), String::new()),
                (None, Some(range), _) => (url.to_owned(), range.to_owned()),
                (None, None, tag) => (format!("{url}:{}", tag.unwrap_or("latest")), String::new()),
            };
            let bare = url.split('@').next().unwrap_or_default();
            let last = bare.rsplit('/').next().unwrap_or_default().split(':').next().unwrap_or_default().to_owned();
            Ok(Asked { name: last, source: ChartSource::Repo { url, version }, defaults: None })
        }
        _ => Err(Refusal::unable(format!("its chart comes from {name}, which is made in the cluster"))),
    }
}

/// Reads what names a chart in a source: `spec.chart.spec` of a HelmRelease, or `spec` of a HelmChart.
async fn of_spec(
    follower: &Follower<'_, '_>,
    subject: &Subject<'_>,
    spec: &Node,
    namespace: Option<&str>,
    notes: &mut Vec<Diagnostic>,
) -> Result<Asked, Refusal> {
    let Some(name) = text(spec, "chart") else {
        let place = subject.place(Some(spec.at));
        return Err(Refusal::new("gitops-chart", "it names no chart in its source").at(place));
    };
    let Some(reference) = spec.get("sourceRef") else {
        let place = subject.place(Some(spec.at));
        return Err(Refusal::new("gitops-chart", "its chart has no `sourceRef`").at(place));
    };
    let (found, kind) = source(subject, reference, namespace)?;
    let origin = object_step(found.object).to_string();
    let of_source = |key: &str| found.object.node.get("spec").and_then(|spec| text(spec, key));
    let mut values = texts(spec, "valuesFiles");
    values.extend(text(spec, "valuesFile").map(str::to_owned));
    let optional = flag(spec, "ignoreMissingValuesFiles");
    let version = text(spec, "version").unwrap_or("*").to_owned();
    match kind {
        "HelmRepository" => {
            let Some(url) = of_source("url") else {
                return Err(Refusal::new("gitops-source", format!("{origin} has no spec.url")));
            };
            let url = url.trim_end_matches('/');
            let source = match url.starts_with("oci://") {
                true => ChartSource::Repo { url: format!("{url}/{name}"), version },
                false if of_source("type") == Some("oci") => {
                    return Err(Refusal::new("gitops-source", format!("{origin} is of type oci and at {url:?}")));
                }
                false => ChartSource::Repo { url: url.to_owned(), version },
            };
            let defaults = (!values.is_empty()).then_some(Defaults { files: values, optional });
            Ok(Asked { name: name.to_owned(), source, defaults })
        }
        "GitRepository" => {
            let root = git(follower, subject, found, name, notes).await?;
            let path = root.path(name)?;
            // Paths are those of the repository; the files of a chart are read from the chart.
            let inside = |file: &String| -> String {
                let whole = root.path(file).ok().flatten().map(|path| path.to_string()).unwrap_or_default();
                let below = path.as_ref().and_then(|path| whole.strip_prefix(&format!("{path}/")).map(str::to_owned));
                below.unwrap_or(whole)
            };
            let files: Vec<String> = values.iter().map(inside).collect();
            let defaults = (!files.is_empty()).then_some(Defaults { files, optional });
            let last = path.as_ref().map_or("", RelPath::name).to_owned();
            Ok(Asked { name: last, source: root.chart(path.as_ref()), defaults })
        }
        _ => {
            let text = format!("its chart comes from {origin}, and charts of a {kind} are not fetched");
            Err(Refusal::unable(text).hint("name the chart under `charts`"))
        }
    }
}

/// Finds the repository of a GitRepository.
async fn git(
    follower: &Follower<'_, '_>,
    subject: &Subject<'_>,
    found: Known<'_>,
    path: &str,
    notes: &mut Vec<Diagnostic>,
) -> Result<Root, Refusal> {
    let name = object_step(found.object).to_string();
    let spec = found.object.node.get("spec").cloned().unwrap_or(Node::new(Value::Null, found.object.node.at));
    let Some(url) = text(&spec, "url") else {
        return Err(Refusal::new("gitops-source", format!("{name} has no spec.url")));
    };
    let none = Node::new(Value::Null, spec.at);
    let wanted = spec.get("ref").unwrap_or(&none);
    let named = ["commit", "name", "semver", "tag", "branch"].into_iter().find_map(|key| {
        let value = text(wanted, key)?;
        Some(if key == "semver" { Revision::Range(value.to_owned()) } else { Revision::Named(value.to_owned()) })
    });
    // The branch that Flux takes when none is named.
    let reference = named.unwrap_or_else(|| Revision::Named("master".to_owned()));
    follower.locate(subject, &Repository { name, url: url.to_owned(), reference }, path, notes).await
}

/// Reads a Kustomization.
pub(super) async fn kustomization(follower: &Follower<'_, '_>, subject: &Subject<'_>) -> Result<Vec<Action>, Refusal> {
    let mut notes = Vec::new();
    let path = subject.text("spec.path").unwrap_or("./");
    let Some(reference) = subject.get("spec.sourceRef") else {
        let hint = "when it is a patch, name the kustomization that applies it (`kustomize:`) instead of the file";
        return Err(Refusal::new("gitops-source", "it has no spec.sourceRef").hint(hint));
    };
    let root = match source(subject, reference, subject.namespace()) {
        Ok((found, "GitRepository")) => git(follower, subject, found, path, &mut notes).await?,
        Ok((found, kind)) => {
            let text =
                format!("its files come from {}, and those of a {kind} are not fetched", object_step(found.object));
            return Err(Refusal::unable(text).hint("name the folder or its files under `manifests`"));
        }
        // `flux bootstrap` writes the source into the cluster; the files that it stands for are these.
        Err(refusal) => match beside(follower, subject, reference, path) {
            Some(note) => {
                notes.push(note);
                Root::Spec(None)
            }
            None => return Err(refusal),
        },
    };
    let mut over = match subject.get("spec") {
        Some(spec) => fields_of(
            spec,
            &[
                "patches",
                "patchesStrategicMerge",
                "patchesJson6902",
                "images",
                "components",
                "namePrefix",
                "nameSuffix",
            ],
        )?,
        None => Map::new(),
    };
    if let Some(namespace) = subject.text("spec.targetNamespace") {
        over.insert("namespace".to_owned(), Json::from(namespace));
    }
    let (variables, settled) = variables(subject)?;
    let plan = build::Plan { path: root.path(path)?, root, shape: Shape::Flux, over, variables };
    let mut actions: Vec<Action> = notes.into_iter().map(Action::Note).collect();
    actions.extend(settled.into_iter().map(|(object, field)| Action::Settled { object, field }));
    actions.push(Action::Build(Box::new(plan)));
    Ok(actions)
}

/// Tells whether a repository that no object describes is the folder of the spec: it has what is asked for.
fn beside(follower: &Follower<'_, '_>, subject: &Subject<'_>, reference: &Node, path: &str) -> Option<Diagnostic> {
    let is_git = text(reference, "kind") == Some("GitRepository") && subject.checkout().is_none();
    let inner = Root::Spec(None).path(path).ok().flatten()?;
    if !is_git || !files::is_folder(&follower.job.folder.join(inner.as_str())) {
        return None;
    }
    let name = text(reference, "name").unwrap_or_default();
    let text = format!(
        "{}: no input describes GitRepository {name}; it is taken to be the folder of the spec, which has {inner}",
        subject.title()
    );
    let hint = "add the manifest that makes the source under `manifests`, to say where its files are";
    Some(Diagnostic::warning("gitops-repository", text).at(subject.place(Some(reference.at))).hint(hint))
}

type Variables = (Option<BTreeMap<String, String>>, Vec<(crate::discover::Step, String)>);

/// Reads `spec.postBuild`.
fn variables(subject: &Subject<'_>) -> Result<Variables, Refusal> {
    let Some(post) = subject.get("spec.postBuild") else { return Ok((None, Vec::new())) };
    let (mut found, mut settled) = (BTreeMap::new(), Vec::new());
    for from in items(post, "substituteFrom") {
        let wanted = reference(from, subject.namespace(), "")?;
        for (name, datum) in data(subject, &wanted)? {
            settled.push(datum.settled);
            found.insert(name, datum.text);
        }
    }
    for (key, value) in post.get("substitute").and_then(Node::as_map).unwrap_or_default() {
        if let (Some(key), Some(value)) = (key.key(), value.text()) {
            found.insert(key.into_owned(), value.to_owned());
        }
    }
    Ok((Some(found), settled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_at_paths_keep_quotes_apart() {
        let told = |layer: Layer| match layer {
            Layer::Set(flag) => format!("set {flag}"),
            Layer::SetText(flag) => format!("text {flag}"),
            Layer::SetLiteral(flag) => format!("literal {flag}"),
            _ => String::new(),
        };
        assert_eq!(told(at_path("a.b", "1", false)), "set a.b=1");
        assert_eq!(told(at_path("a.b", "'1'", false)), "text a.b=1");
        assert_eq!(told(at_path("a.b", "\"x\"", false)), "text a.b=x");
        assert_eq!(told(at_path("a.b", "1,2", true)), "literal a.b=1,2");
    }
}
