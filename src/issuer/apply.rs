//! The manifests through the Kubernetes API: checks first, then one after the other, each waited for.
//!
//! # Invariants
//! - Nothing is changed before it is known that cert-manager serves its kinds, works, and that no issuer is in the way.
//! - Applying twice changes nothing the second time.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::{Document, Error, Options};
use crate::{
    cluster::{self, Apply, Cluster, Selection},
    error::{Classify as _, Diagnostic},
    event::{Event, Observer},
};

/// Who owns the fields in the cluster.
const MANAGER: &str = "bundle";
const CERT_MANAGER: &str = "cert-manager.io/v1";
/// How cert-manager's chart labels the deployments that must answer.
const PARTS: [(&str, &str); 2] = [
    ("controller", "app.kubernetes.io/name=cert-manager,app.kubernetes.io/component=controller"),
    ("webhook", "app.kubernetes.io/name=webhook,app.kubernetes.io/component=webhook"),
];

/// Says what is applied where.
pub struct Job<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// What is applied, in this order.
    pub documents: &'a [Document],
    /// How they were made.
    pub options: &'a Options,
    /// How long each is waited for.
    pub limit: Duration,
    /// Whether the server only checks.
    pub dry_run: bool,
    /// Whether fields that others own are taken over.
    pub force: bool,
    /// Where charts can be pulled from, for the remedy when cert-manager is missing.
    pub charts: Option<&'a str>,
    /// Who is told.
    pub observer: &'a dyn Observer,
}

/// Says what became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was not there.
    Created,
    /// It was changed.
    Configured,
    /// It was like that already.
    Unchanged,
    /// The cluster does not know the kind, and can do without it.
    Skipped,
}

/// Tells of an object.
#[derive(Clone, Debug, Serialize)]
pub struct Applied {
    /// The kind.
    pub kind: String,
    /// The namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// Tells of a certificate in the cluster that the authority signed or will sign.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LookFor {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The issuer that it names.
    pub issuer: String,
    /// Whether cert-manager says that it is ready.
    pub ready: bool,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<String>,
}

fn api_version(document: &Document) -> &str {
    document.value["apiVersion"].as_str().unwrap_or_default()
}

impl Job<'_> {
    fn missing(&self, what: String) -> Error {
        let install = match self.charts {
            Some(charts) => format!(
                "helm install cert-manager oci://{charts}/cert-manager --namespace cert-manager --create-namespace --set crds.enabled=true"
            ),
            None => "helm install cert-manager oci://REGISTRY/charts/cert-manager --namespace cert-manager --create-namespace --set crds.enabled=true".to_owned(),
        };
        let remedy = format!(
            "Bring it in a bundle (charts: [{{name: cert-manager, repo: https://charts.jetstack.io, version: …}}]), load that, then: {install} --ca-file ca.crt; then run this again"
        );
        Error::NoCertManager { place: self.cluster.place().to_string(), what, remedy }
    }

    /// Checks that cert-manager is there and answers.
    async fn check(&self) -> Result<(), Error> {
        for kind in ["ClusterIssuer", "Certificate"] {
            match self.cluster.resource(CERT_MANAGER, kind).await {
                Ok(_) => {}
                Err(error) if error.is_no_such_kind() => {
                    return Err(self.missing(format!("cert-manager is not installed (no {kind} of {CERT_MANAGER})")));
                }
                Err(error) => return Err(error.into()),
            }
        }
        for (part, labels) in PARTS {
            let selection = Selection { labels: Some(labels), ..Selection::default() };
            let found = match self.cluster.list("apps/v1", "Deployment", &selection).await {
                Ok(found) => found,
                // Whoever may not look finds out when applying.
                Err(cluster::Error::Forbidden { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            for deployment in found {
                let text = |pointer: &str| deployment.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
                let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
                let available = |object: &Value| {
                    object.pointer("/status/availableReplicas").and_then(Value::as_u64).unwrap_or_default() > 0
                };
                if available(&deployment) {
                    continue;
                }
                self.note("waits", format!("waiting for the {part} of cert-manager ({namespace}/{name})"));
                let waited =
                    self.cluster.wait(("apps/v1", "Deployment"), Some(namespace), name, self.limit, available).await;
                match waited {
                    Ok(_) => {}
                    Err(error @ cluster::Error::Waited { .. }) => {
                        let place = self.cluster.place().to_string();
                        let what = format!("the {part} of cert-manager ({namespace}/{name}) is not running: {error}");
                        let remedy = format!(
                            "See `kubectl -n {namespace} describe pods`: an image that cannot be pulled means that nodes do not trust the registry yet"
                        );
                        return Err(Error::NoCertManager { place, what, remedy });
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let namespace = &self.options.secret_namespace;
        if self.cluster.get("v1", "Namespace", None, namespace).await?.is_none() {
            let place = self.cluster.place().to_string();
            let what = format!(
                "the namespace {namespace} is not there, in which cert-manager looks for the Secrets of ClusterIssuers"
            );
            let remedy = "--secret-namespace names another one".to_owned();
            return Err(Error::NoCertManager { place, what, remedy });
        }
        Ok(())
    }

    /// Refuses issuers of another type under the same name: cert-manager takes one type only, and applying adds to what is
    /// there.
    async fn in_the_way(&self, document: &Document) -> Result<Option<Value>, Error> {
        let found =
            self.cluster.get(api_version(document), document.kind(), document.namespace(), document.name()).await?;
        if document.kind().ends_with("Issuer") {
            let other = found.as_ref().and_then(|found| found["spec"].as_object()).and_then(|spec| {
                spec.keys().find(|key| ["acme", "vault", "selfSigned", "venafi"].contains(&key.as_str()))
            });
            if let Some(other) = other {
                let what = format!("{} {}", document.kind(), document.name());
                let place = document.namespace().map(|namespace| format!("-n {namespace} ")).unwrap_or_default();
                let why = format!(
                    "it is there with type {other}, and an issuer has one type: `kubectl {place}delete {} {}`, then run this again",
                    document.kind().to_lowercase(),
                    document.name()
                );
                return Err(Error::NotReady { what, why });
            }
        }
        Ok(found)
    }

    fn note(&self, code: &'static str, text: String) {
        let note = Diagnostic { severity: crate::error::Severity::Note, ..Diagnostic::warning(code, text) };
        self.observer.on(&Event::Noted(note));
    }

    /// Tells whether the cluster can take a document; trust-manager is the only part that it can do without.
    async fn is_served(&self, document: &Document) -> Result<bool, Error> {
        match self.cluster.resource(api_version(document), document.kind()).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_no_such_kind() && document.kind() == "Bundle" => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn apply_one(&self, document: &Document, before: Option<&Value>) -> Result<Outcome, Error> {
        let how = Apply { manager: MANAGER, force: self.force, dry_run: self.dry_run };
        // The webhook of cert-manager answers some seconds after its pod does.
        let start = std::time::Instant::now();
        let after = loop {
            match self.cluster.apply(&document.value, &how).await {
                Ok(after) => break after,
                Err(error) if error.kind().is_transient() && start.elapsed() < self.limit => {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Err(error) => return Err(error.into()),
            }
        };
        let version = |object: &Value| object.pointer("/metadata/resourceVersion").cloned();
        Ok(match before {
            None => Outcome::Created,
            Some(before) if version(before) == version(&after) => Outcome::Unchanged,
            Some(_) => Outcome::Configured,
        })
    }

    async fn wait(&self, document: &Document) -> Result<(), Error> {
        let holds: fn(&Value) -> bool = match document.kind() {
            "ClusterIssuer" | "Issuer" | "Certificate" => cluster::is_ready,
            "Bundle" => |object| cluster::condition(object, "Synced").is_some_and(|(status, _, _)| status == "True"),
            _ => return Ok(()),
        };
        let (namespace, name) = (document.namespace(), document.name());
        let kind = (api_version(document), document.kind());
        match self.cluster.wait(kind, namespace, name, self.limit, holds).await {
            Ok(_) => Ok(()),
            Err(error @ cluster::Error::Waited { .. }) => {
                Err(Error::NotReady { what: format!("{} {name}", document.kind()), why: error.to_string() })
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Applies the documents and waits until issuers, bundle and certificate are ready.
///
/// # Errors
/// [`Error::NoCertManager`], [`Error::NotReady`], those of the cluster.
pub async fn apply(job: &Job<'_>) -> Result<Vec<Applied>, Error> {
    job.check().await?;
    let mut planned = Vec::new();
    for document in job.documents {
        let served = job.is_served(document).await?;
        let before = if served { job.in_the_way(document).await? } else { None };
        planned.push((document, served, before));
    }
    let mut done = Vec::new();
    for (document, served, before) in planned {
        let outcome = match served {
            true => job.apply_one(document, before.as_ref()).await?,
            false => {
                let text = "trust-manager is not installed: the roots are in a ConfigMap only; bring its chart (trust-manager, https://charts.jetstack.io) to have them in every labelled namespace";
                job.observer.on(&Event::Noted(Diagnostic::warning("no-trust-manager", text)));
                Outcome::Skipped
            }
        };
        if served && !job.dry_run {
            job.wait(document).await?;
        }
        done.push(Applied {
            kind: document.kind().to_owned(),
            namespace: document.namespace().map(str::to_owned),
            name: document.name().to_owned(),
            outcome,
        });
    }
    Ok(done)
}

/// Lists the certificates in a cluster that name one of the issuers.
///
/// # Errors
/// Those of the cluster.
pub async fn in_use(cluster: &Cluster, issuers: &[String]) -> Result<Vec<LookFor>, Error> {
    let mut found = Vec::new();
    for certificate in cluster.list(CERT_MANAGER, "Certificate", &Selection::default()).await? {
        let text = |pointer: &str| certificate.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let issuer = text("/spec/issuerRef/name").unwrap_or_default();
        if issuers.contains(&issuer) {
            found.push(LookFor {
                namespace: text("/metadata/namespace").unwrap_or_default(),
                name: text("/metadata/name").unwrap_or_default(),
                issuer,
                ready: cluster::is_ready(&certificate),
                not_after: text("/status/notAfter"),
            });
        }
    }
    Ok(found)
}
