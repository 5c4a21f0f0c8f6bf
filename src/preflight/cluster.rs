//! The cluster, held against what the deployment needs of it.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream};
use serde_json::Value;

use super::{
    apis,
    needs::{Asked, Needs, is_built_in},
    nodes,
    registry::{Push, clock},
    report::{Check, id, some_of},
};
use crate::{
    cluster::{Cluster, Error, Options, Selection, condition},
    error::Classify as _,
    event::Observer,
};

/// How many kinds in how many namespaces are asked about at most; each is a request.
const MAX_REVIEWS: usize = 300;
/// How many requests are made at once: an API server is not a download server.
const AT_ONCE: usize = 8;
/// What a deployment of cert-manager calls itself (its chart's labels).
const CERT_MANAGER: &str = "app.kubernetes.io/name=cert-manager";

/// Says what an archive brings along.
#[derive(Clone, Copy, Debug)]
pub struct Carried<'a> {
    /// What a load would push.
    pub pushes: &'a [Push],
    /// Whether the chart of cert-manager is there.
    pub cert_manager: bool,
    /// Whether objects are known at all: from charts or manifests.
    pub objects: bool,
}

/// Connects to the cluster and checks everything about it.
pub async fn check(
    options: &Options,
    observer: std::sync::Arc<dyn Observer>,
    needs: &Needs,
    carried: Carried<'_>,
) -> Vec<Check> {
    let cluster = match Cluster::connect(options, observer).await {
        Ok(cluster) => cluster,
        Err(error) => {
            let mut checks = vec![Check::failure(id::CLUSTER, error.to_string()).of_kind(error.kind())];
            let rest = [
                id::READY,
                id::CLUSTER_CLOCK,
                id::APIS,
                id::DEFINITIONS,
                id::CERT_MANAGER,
                id::STORAGE,
                id::INGRESS,
                id::RIGHTS,
                id::NODES,
                id::PLATFORMS,
                id::RUNTIMES,
            ];
            checks.extend(rest.into_iter().map(|id| Check::unchecked(id, "needs a cluster that answers")));
            return checks;
        }
    };
    let place = cluster.place();
    let version = cluster.version();
    let mut checks = vec![match cluster.is_insecure() {
        false => Check::ok(id::CLUSTER, format!("{place} is Kubernetes {}", version.git_version)),
        true => Check::warning(
            id::CLUSTER,
            format!("{place} is Kubernetes {}, and its certificate is not checked", version.git_version),
        )
        .remedy("put the cluster's CA into the kubeconfig (certificate-authority-data)"),
    }];
    checks.push(match cluster.ready().await {
        Ok(Ok(())) => Check::ok(id::READY, "the API server is ready"),
        Ok(Err(why)) => Check::failure(id::READY, format!("the API server is not ready: {why}"))
            .remedy("wait for the control plane, or look at its logs"),
        Err(error) => Check::unchecked(id::READY, error.to_string()),
    });
    checks.push(match cluster.clocks() {
        Some((there, here)) => clock(id::CLUSTER_CLOCK, "the API server", there, here),
        None => Check::unchecked(id::CLUSTER_CLOCK, "the API server does not say what time it has"),
    });
    let objects = async {
        if !carried.objects {
            let text = "no objects are known: the archive holds no charts, and no --manifests were given";
            return [id::APIS, id::DEFINITIONS, id::STORAGE, id::INGRESS, id::RIGHTS]
                .into_iter()
                .map(|id| {
                    Check::unchecked(id, text).remedy("give what will be applied: --manifests FILE (helm template …)")
                })
                .collect();
        }
        let mut found = kinds(&cluster, needs).await;
        found.push(storage(&cluster, needs).await);
        found.extend(ingress(&cluster, needs).await);
        found.push(rights(&cluster, needs).await);
        found
    };
    let (objects, certificates, nodes): (Vec<Check>, Check, Vec<Check>) =
        tokio::join!(objects, cert_manager(&cluster, needs, carried), nodes::check(&cluster, carried.pushes));
    checks.extend(objects);
    checks.push(certificates);
    checks.extend(nodes);
    checks
}

/// Asks for every kind that the objects are of. A kind that is missing is one that Kubernetes removed, one whose definition
/// comes along, or one that nobody brings.
async fn kinds(cluster: &Cluster, needs: &Needs) -> Vec<Check> {
    let kinds: Vec<_> = needs.kinds().collect();
    let answers: Vec<_> = stream::iter(kinds)
        .map(async |((api_version, kind), places)| {
            (api_version, kind, places, cluster.resource(api_version, kind).await)
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    let mut checks = Vec::new();
    let (mut served, mut coming, mut custom) = (0, Vec::new(), 0);
    for (api_version, kind, places, answer) in answers {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let own = is_built_in(group);
        match answer {
            Ok(_) if own => served += 1,
            Ok(_) => custom += 1,
            Err(Error::NoSuchKind { served: versions, .. }) => {
                let defined = (group.to_owned(), version.to_owned(), kind.clone());
                if needs.defined.contains(&defined) {
                    coming.push(format!("{kind} ({api_version})"));
                    continue;
                }
                let id = if own { id::APIS } else { id::DEFINITIONS };
                let text = format!("the cluster does not serve {kind} in {api_version}: {}", some_of(places));
                let remedy = match (own, versions.is_empty()) {
                    (true, _) => apis::remedy(apis::removed(api_version, kind)),
                    (false, false) => {
                        format!("it serves {}: the operator there has another version", versions.join(", "))
                    }
                    (false, true) => {
                        "install the operator first: neither the cluster nor the objects bring this definition"
                            .to_owned()
                    }
                };
                checks.push(Check::failure(id, text).remedy(remedy));
            }
            Err(error) => {
                let id = if own { id::APIS } else { id::DEFINITIONS };
                checks.push(Check::unchecked(id, error.to_string()));
            }
        }
    }
    if !checks.iter().any(|check| check.id == id::APIS.0) {
        checks.push(Check::ok(id::APIS, format!("all {served} kinds of Kubernetes' own that are used are served")));
    }
    if !checks.iter().any(|check| check.id == id::DEFINITIONS.0) {
        let mut text = format!("{custom} kinds of custom resources are there");
        if !coming.is_empty() {
            text.push_str(&format!("; their definitions come along for {}", some_of(coming)));
        }
        checks.push(Check::ok(id::DEFINITIONS, text));
    }
    checks
}

/// Returns the names of all objects of a cluster-wide kind, and the objects.
async fn named(cluster: &Cluster, api_version: &str, kind: &str) -> Result<BTreeMap<String, Value>, Error> {
    let all = cluster.list(api_version, kind, &Selection::default()).await?;
    let name = |object: &Value| object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(all.into_iter().map(|object| (name(&object), object)).collect())
}

fn is_default(object: &Value, annotation: &str) -> bool {
    let annotations = object.pointer("/metadata/annotations");
    annotations.and_then(|all| all.get(annotation)).and_then(Value::as_str) == Some("true")
}

async fn storage(cluster: &Cluster, needs: &Needs) -> Check {
    if needs.storage.is_empty() && needs.default_storage.is_empty() {
        return Check::ok(id::STORAGE, "nothing asks for a volume");
    }
    let there = match named(cluster, "storage.k8s.io/v1", "StorageClass").await {
        Ok(there) => there,
        Err(error) => return Check::unchecked(id::STORAGE, error.to_string()),
    };
    let known: BTreeSet<&String> = there.keys().chain(&needs.own_storage).collect();
    let mut missing = lacking(&needs.storage, &known);
    let has_default = there.values().any(|class| is_default(class, "storageclass.kubernetes.io/is-default-class"));
    if !has_default && !needs.default_storage.is_empty() {
        missing.push(format!("a default class, for {}", some_of(&needs.default_storage)));
    }
    let exist = if there.is_empty() {
        "the cluster has none".to_owned()
    } else {
        format!("there are {}", some_of(there.keys()))
    };
    match missing.is_empty() {
        true => Check::ok(id::STORAGE, format!("every storage class is there; {exist}")),
        false => Check::failure(id::STORAGE, format!("missing: {}; {exist}", missing.join("; "))).remedy(
            "install the storage driver, create a class of this name, or set another one in the values (claims wait for ever otherwise)",
        ),
    }
}

fn lacking(asked: &Asked<String>, known: &BTreeSet<&String>) -> Vec<String> {
    let missing = asked.iter().filter(|(class, _)| !class.is_empty() && !known.contains(class));
    missing.map(|(class, places)| format!("{class:?}, for {}", some_of(places))).collect()
}

async fn ingress(cluster: &Cluster, needs: &Needs) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut ok = Vec::new();
    if !needs.ingress.is_empty() {
        match named(cluster, "networking.k8s.io/v1", "IngressClass").await {
            Ok(there) => {
                let known = there.keys().chain(&needs.own_ingress).collect();
                let mut missing = lacking(&needs.ingress, &known);
                let default = there.values().any(|one| is_default(one, "ingressclass.kubernetes.io/is-default-class"));
                if let Some(places) = needs.ingress.get("").filter(|_| !default) {
                    missing.push(format!("a default class, for {}", some_of(places)));
                }
                match missing.is_empty() {
                    true => ok.push("every ingress class is there"),
                    false => checks.push(
                        Check::failure(id::INGRESS, format!("missing ingress classes: {}", missing.join("; ")))
                            .remedy("install the ingress controller first, or set another class in the values"),
                    ),
                }
            }
            Err(error) => checks.push(Check::unchecked(id::INGRESS, error.to_string())),
        }
    }
    if !needs.gateways.is_empty() {
        match named(cluster, "gateway.networking.k8s.io/v1", "GatewayClass").await {
            Ok(there) => {
                let missing = lacking(&needs.gateways, &there.keys().chain(&needs.own_gateways).collect());
                match missing.is_empty() {
                    true => ok.push("every gateway class is there"),
                    false => checks.push(
                        Check::failure(id::INGRESS, format!("missing gateway classes: {}", missing.join("; ")))
                            .remedy("install the gateway controller first"),
                    ),
                }
            }
            // That the Gateway API itself is missing is told with the definitions.
            Err(error) => checks.push(Check::unchecked(id::INGRESS, error.to_string())),
        }
    }
    if checks.is_empty() {
        let text = if ok.is_empty() { "nothing asks for an ingress or a gateway".to_owned() } else { ok.join("; ") };
        checks.push(Check::ok(id::INGRESS, text));
    }
    checks
}

/// Asks whether this user may apply what will be applied. Kinds that are not there yet cannot be asked about by their path.
async fn rights(cluster: &Cluster, needs: &Needs) -> Check {
    let mut questions = BTreeSet::new();
    for (api_version, kind, namespace) in &needs.placed {
        if let Ok(resource) = cluster.resource(api_version, kind).await {
            let namespace =
                resource.namespaced.then(|| namespace.clone().unwrap_or_else(|| cluster.namespace().to_owned()));
            questions.insert((resource.group().to_owned(), resource.name.clone(), namespace));
        }
    }
    let total = questions.len();
    let answers: Vec<_> = stream::iter(questions.into_iter().take(MAX_REVIEWS))
        .map(async |(group, resource, namespace)| {
            let mut answer = cluster.may("create", &group, &resource, namespace.as_deref()).await;
            if matches!(&answer, Ok(answer) if answer.allowed) {
                answer = cluster.may("patch", &group, &resource, namespace.as_deref()).await;
            }
            let dot = if group.is_empty() { "" } else { "." };
            let place = namespace.map(|namespace| format!(" in {namespace}")).unwrap_or_default();
            (format!("{resource}{dot}{group}{place}"), answer)
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    let asked = answers.len();
    let mut denied = Vec::new();
    for (what, answer) in answers {
        match answer {
            Ok(answer) if answer.allowed => {}
            Ok(_) => denied.push(what),
            Err(error) => return Check::unchecked(id::RIGHTS, error.to_string()),
        }
    }
    if !denied.is_empty() {
        let text = format!("this user may not create and patch {}", some_of(denied));
        return Check::failure(id::RIGHTS, text)
            .remedy("use another --context, or bind a role that allows it (cluster-admin for a whole deployment)");
    }
    match asked < total {
        true => Check::unchecked(
            id::RIGHTS,
            format!("only {asked} of {total} kinds and namespaces were asked about; all of them are allowed"),
        ),
        false => Check::ok(id::RIGHTS, format!("this user may create and patch all {total} kinds in their namespaces")),
    }
}

async fn cert_manager(cluster: &Cluster, needs: &Needs, carried: Carried<'_>) -> Check {
    let asked = match needs.certificates.is_empty() {
        true => String::new(),
        false => format!("; needed by {}", some_of(&needs.certificates)),
    };
    let served = match cluster.resources("cert-manager.io/v1").await {
        Ok(served) => served.is_some(),
        Err(error) => return Check::unchecked(id::CERT_MANAGER, error.to_string()),
    };
    if !served {
        return match (needs.certificates.is_empty(), carried.cert_manager) {
            (_, true) => Check::warning(id::CERT_MANAGER, format!("cert-manager is not installed, and the archive brings its chart{asked}"))
                .remedy("load the archive, install cert-manager from the enclave's registry, then bundle issuer apply, then the rest"),
            (false, false) => Check::failure(id::CERT_MANAGER, format!("cert-manager is not installed{asked}"))
                .remedy("add the chart of cert-manager to the bundle, and install it first"),
            (true, false) => Check::ok(id::CERT_MANAGER, "cert-manager is not installed, and nothing asks for it"),
        };
    }
    let selection = Selection { labels: Some(CERT_MANAGER), ..Selection::default() };
    let deployments = match cluster.list("apps/v1", "Deployment", &selection).await {
        Ok(deployments) => deployments,
        Err(error) => return Check::unchecked(id::CERT_MANAGER, format!("its kinds are there; {error}")),
    };
    let Some(deployment) = deployments.iter().find(|one| one.pointer("/metadata/name").is_some()) else {
        return Check::warning(
            id::CERT_MANAGER,
            format!("the kinds of cert-manager are there, and nothing that runs it{asked}"),
        )
        .remedy("install cert-manager, not only its definitions");
    };
    let text = |pointer: &str| deployment.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let image = text("/spec/template/spec/containers/0/image");
    let tag = image.split('@').next().and_then(|name| name.rsplit_once(':')).map(|(_, tag)| tag.to_owned());
    let labelled = deployment.pointer("/metadata/labels").and_then(|labels| labels.get("app.kubernetes.io/version"));
    let version =
        labelled.and_then(Value::as_str).map(str::to_owned).or(tag).unwrap_or_else(|| "of unknown version".to_owned());
    let place = format!("cert-manager {version} in namespace {}", text("/metadata/namespace"));
    match condition(deployment, "Available") {
        Some(("True", ..)) => Check::ok(id::CERT_MANAGER, format!("{place} is available")),
        Some((_, _, message)) => Check::failure(id::CERT_MANAGER, format!("{place} does not run: {message}"))
            .remedy("look at its pods: an image that cannot be pulled is the usual reason"),
        None => Check::warning(id::CERT_MANAGER, format!("{place} does not say that it runs"))
            .remedy("look at its pods: kubectl get pods --all-namespaces -l app.kubernetes.io/name=cert-manager"),
    }
}
