//! k3s and RKE2: HelmChart and HelmChartConfig (k3s-io/helm-controller).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;

use super::{
    Action,
    catalogue::{Reference, datum},
    chart::{self, From, Layer},
    subject::{Refusal, Subject, flag, items, text, texts},
};
use crate::{
    discover::object_step,
    error::Diagnostic,
    spec::ChartSource,
    yaml::{Node, Value},
};

/// The group of both kinds.
const GROUP: &str = "helm.cattle.io";

/// The variable that stands for the server of the cluster itself.
const SERVER: &str = "%{";

/// Reads a HelmChart and what configures it.
pub(super) fn chart(subject: &Subject<'_>) -> Result<Vec<Action>, Refusal> {
    let mut actions = Vec::new();
    let none = Node::new(Value::Null, subject.object.node.at);
    let spec = subject.get("spec").unwrap_or(&none);
    let target = text(spec, "targetNamespace").or(subject.namespace()).unwrap_or("default");
    let written = text(spec, "chart");
    let version = text(spec, "version").unwrap_or("*").to_owned();
    let (name, from) = match (text(spec, "chartContent"), written) {
        (Some(content), _) => {
            let compact: String = content.split_whitespace().collect();
            let bytes = STANDARD
                .decode(compact)
                .map_err(|error| Refusal::new("gitops-chart", format!("spec.chartContent is no base64: {error}")))?;
            (subject.object.name.clone(), From::Archive(Bytes::from(bytes)))
        }
        (None, Some(chart))
            if chart.contains(SERVER) || text(spec, "repo").is_some_and(|repo| repo.contains(SERVER)) =>
        {
            let text = "its chart is served by the cluster itself, which brings its own charts and images";
            return Err(Refusal::unable(text).hint("carry the air-gap images of the distribution"));
        }
        (None, Some(chart)) if chart.starts_with("oci://") => {
            let last = chart.rsplit('/').next().unwrap_or_default().to_owned();
            let url = chart.to_owned();
            (last, From::Source(ChartSource::Repo { url, version }))
        }
        (None, Some(chart)) if chart.contains("://") => (subject.object.name.clone(), From::Url(chart.to_owned())),
        (None, Some(chart)) => {
            let Some(repo) = text(spec, "repo") else {
                let text = format!("its chart {chart} has no spec.repo: where it is depends on the node");
                return Err(Refusal::unable(text));
            };
            let url = match repo.strip_prefix("oci://") {
                Some(_) => format!("{}/{chart}", repo.trim_end_matches('/')),
                None => repo.to_owned(),
            };
            (chart.to_owned(), From::Source(ChartSource::Repo { url, version }))
        }
        (None, None) => return Err(Refusal::new("gitops-chart", "it names no chart")),
    };
    let mut layers = Vec::new();
    values(subject, spec, "it", &mut layers, &mut actions)?;
    let namespace = subject.namespace();
    if let Some(config) =
        subject.catalogue.find(subject.input, GROUP, "HelmChartConfig", namespace, &subject.object.name)
    {
        let what = object_step(config.object).to_string();
        if let Some(spec) = config.object.node.get("spec") {
            values(subject, spec, &what, &mut layers, &mut actions)?;
        }
    }
    for (key, value) in spec.get("set").and_then(Node::as_map).unwrap_or_default() {
        let (Some(key), Some(value)) = (key.key(), value.text()) else { continue };
        // Numbers and flags keep their type; commas belong to the value.
        let typed = matches!(value, "true" | "false" | "null") || value.parse::<i64>().is_ok();
        let set = format!("{key}={}", value.replace(',', "\\,"));
        layers.push(if typed { Layer::Set(set) } else { Layer::SetText(set) });
    }
    actions.push(Action::Chart(Box::new(chart::Plan {
        name,
        from,
        release: subject.object.name.clone(),
        namespace: target.to_owned(),
        defaults: None,
        layers,
        variants: Vec::new(),
        post: Vec::new(),
        kube_version: None,
        api_versions: Vec::new(),
    })));
    Ok(actions)
}

/// Reads the values of a HelmChart or of what configures it.
fn values(
    subject: &Subject<'_>,
    spec: &Node,
    what: &str,
    layers: &mut Vec<Layer>,
    actions: &mut Vec<Action>,
) -> Result<(), Refusal> {
    if let Some(values) = spec.get("values").filter(|values| !values.is_null()) {
        layers.push(Layer::Inline(values.clone()));
    }
    if let Some(content) = text(spec, "valuesContent") {
        let name = format!("spec.valuesContent of {what}");
        layers.push(Layer::Text { text: content.to_owned(), name });
    }
    for secret in items(spec, "valuesSecrets") {
        let Some(name) = text(secret, "name") else { continue };
        for key in texts(secret, "keys") {
            let namespace = subject.namespace();
            let optional = flag(secret, "ignoreMissing");
            let wanted = Reference { kind: "Secret", namespace, name, key: &key, optional, at: secret.at };
            if let Some(datum) = datum(subject, &wanted)? {
                let (object, field) = datum.settled;
                actions.push(Action::Settled { object, field });
                layers.push(Layer::Text { text: datum.text, name: datum.name });
            }
        }
    }
    Ok(())
}

/// Reads a HelmChartConfig: its HelmChart takes it into account, when it is among the inputs.
pub(super) fn config(subject: &Subject<'_>) -> Result<Vec<Action>, Refusal> {
    let chart = subject.catalogue.find(subject.input, GROUP, "HelmChart", subject.namespace(), &subject.object.name);
    if chart.is_some() {
        return Ok(Vec::new());
    }
    let text =
        format!("{}: not followed, because the HelmChart that it configures is not among the inputs", subject.title());
    let hint =
        "k3s and RKE2 bring some charts themselves, with their images; what these values add belongs under `images`";
    Ok(vec![Action::Note(Diagnostic::warning("not-followed", text).at(subject.place(None)).hint(hint))])
}

/// Refuses objects whose values are only known to the cluster that manages others.
pub(super) fn elsewhere(subject: &Subject<'_>) -> Result<Vec<Action>, Refusal> {
    let why = match subject.object.kind.as_str() {
        "HelmChartProxy" => "its values are filled in for each cluster by Cluster API",
        _ => "its repository is an object of the Rancher server",
    };
    Err(Refusal::unable(why).hint("name the chart with the values of your cluster under `charts`"))
}
