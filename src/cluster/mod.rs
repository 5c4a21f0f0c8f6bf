//! The Kubernetes API: reads objects, applies them, waits for them. One connection to one cluster as one user.
//!
//! | file | owns |
//! |---|---|
//! | `kubeconfig.rs` | which cluster, which user, by which certificates: `KUBECONFIG`, `--kubeconfig`, contexts |
//! | `account.rs` | the service account of a pod, for a program that runs inside |
//! | `login.rs` | what proves who asks: tokens, token files, passwords; refreshed when they grow old |
//! | `plugin.rs` | credential plugins (`client.authentication.k8s.io`) |
//! | `request.rs` | one request and its answer: limits, `Status` objects, warnings |
//! | `kinds.rs` | API discovery: from `apiVersion` and `kind` to a path |
//! | `objects.rs` | get, list, apply, wait |
//! | `review.rs` | what this user may do |
//! | `error.rs` | [`Error`] |
//!
//! The API needs five verbs here and no types, so this module speaks it through [`crate::net`] instead of a client
//! library: the same limits, proxies and redaction as everywhere, and no second HTTP stack
//! (`docs/decisions/0006-kubernetes-api.md`).
//!
//! # Invariants
//! - Only the authorities that the kubeconfig names are trusted; the system's count when it names none, as in kubectl.
//! - Credentials reach the API server of their cluster and no other address; none appears in an error or an event.
//! - Every answer is bounded, every list is read page by page and has an end, every wait has a limit.
//! - Nothing is changed except by [`Cluster::apply`], and nothing at all when it is told to only try.
//!
//! # Failure
//! [`Error`] says which cluster, what its server answered in its own words, and what to do.

mod account;
mod error;
mod kinds;
mod kubeconfig;
mod login;
mod objects;
mod plugin;
mod request;
mod review;

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    error::Diagnostic,
    event::{Event, Observer},
    net::{Client, Environment, Pinned, Settings, Timeouts, Url, authority},
};

pub use error::{ConfigProblem, Conflict, Error, PluginProblem, Refused};
pub use kinds::Resource;
pub use objects::{Apply, Selection, condition, is_ready};
pub use review::Answer;

/// Says which cluster is meant, and where what is known about it lies.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The one kubeconfig to read; without it `KUBECONFIG`, then `~/.kube/config`, then the pod's service account.
    pub kubeconfig: Option<PathBuf>,
    /// The context to use instead of the current one.
    pub context: Option<String>,
    /// `KUBECONFIG`, `HOME`, `KUBERNETES_SERVICE_HOST`, proxies, and what plugins see.
    pub environment: Environment,
}

/// Holds a connection to the API of one cluster. Cheap to clone.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    client: Client,
    base: Url,
    place: Place,
    namespace: String,
    login: login::Login,
    kinds: kinds::Cache,
    insecure: bool,
    version: Version,
    date: Option<(Timestamp, Timestamp)>,
}

/// Names a cluster in messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The address of the API server.
    pub server: String,
    /// The context of the kubeconfig, or `in-cluster`.
    pub context: String,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cluster {} (context {})", self.server, self.context)
    }
}

/// Tells what an API server says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Version {
    /// The major version, `1`.
    pub major: String,
    /// The minor version; some distributions add a `+`.
    pub minor: String,
    /// The whole version, `v1.34.2+k3s1`.
    pub git_version: String,
    /// Where it runs, `linux/amd64`.
    pub platform: String,
}

impl Version {
    /// Returns major and minor version as numbers.
    pub fn numbers(&self) -> Option<(u32, u32)> {
        let number = |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().ok();
        Some((number(&self.major)?, number(&self.minor)?))
    }
}

impl Cluster {
    /// Finds the configuration, makes a client, and asks the server for its version.
    ///
    /// # Errors
    /// [`Error::NoConfig`] and [`Error::Config`] before anything is asked; then those of a request: unreachable, not
    /// trusted, not authenticated.
    pub async fn connect(options: &Options, observer: Arc<dyn Observer>) -> Result<Cluster, Error> {
        let access = kubeconfig::find(options)?;
        let place = Place { server: crate::net::shown(&access.server), context: access.context.clone() };
        let mut base = access.server.clone();
        let reached_at = match &access.server_name {
            Some(name) => Some((name.clone(), addresses(&access.server, &place).await?)),
            None => None,
        };
        if let Some((name, _)) = &reached_at
            && base.set_host(Some(name)).is_err()
        {
            let problem = ConfigProblem::ServerName(name.clone());
            return Err(Error::Config { file: access.file, problem });
        }
        let login = login::Login::new(&access, &options.environment)?;
        let settings = Settings {
            environment: options.environment.clone(),
            // An API server answers at once, or is a load balancer without one behind it.
            timeouts: Timeouts { commit: Duration::from_secs(60), ..Timeouts::default() },
            ..Settings::default()
        };
        let pinned = Pinned {
            ca: access.ca.clone(),
            client: login.certificate().await.map_err(|problem| Error::plugin(&place, problem))?.or(access.client),
            reached_at,
            insecure: access.insecure,
            proxy: access.proxy.clone(),
        };
        let client =
            Client::pinned(settings, &base, &pinned, observer.clone()).map_err(|cause| Error::net(&place, cause))?;
        if access.insecure {
            observer.on(&Event::Noted(
                Diagnostic::warning(
                    "cluster-not-verified",
                    format!("{place}: the kubeconfig says insecure-skip-tls-verify: anyone on the way can answer for it and read the credentials"),
                )
                .hint("put the cluster's CA into certificate-authority-data"),
            ));
        }
        let mut inner = Inner {
            client,
            base,
            place,
            namespace: access.namespace,
            login,
            kinds: kinds::Cache::default(),
            insecure: access.insecure,
            version: Version::default(),
            date: None,
        };
        (inner.version, inner.date) = inner.ask_version().await?;
        Ok(Cluster(Arc::new(inner)))
    }

    /// Returns how messages name this cluster.
    pub fn place(&self) -> &Place {
        &self.0.place
    }

    /// Returns the namespace of the context: where a namespaced object goes that names none.
    pub fn namespace(&self) -> &str {
        &self.0.namespace
    }

    /// Tells whether any certificate is taken from this server.
    pub fn is_insecure(&self) -> bool {
        self.0.insecure
    }

    /// Returns what the server said of itself when the connection was made.
    pub fn version(&self) -> &Version {
        &self.0.version
    }

    /// Returns what the server's clock showed when the connection was made, and what ours showed then.
    pub fn clocks(&self) -> Option<(Timestamp, Timestamp)> {
        self.0.date
    }

    /// Returns `host:port` of the API server as the kubeconfig spells it.
    pub fn authority(&self) -> String {
        authority(&self.0.base)
    }

    /// Asks whether the server is ready to serve (`/readyz`); says what is not when it is not.
    ///
    /// # Errors
    /// Those of a request. A server that is not ready is an answer, no error.
    pub async fn ready(&self) -> Result<Result<(), String>, Error> {
        self.0.ready().await
    }
}

/// Resolves the server's name, because the request will bear the name of its certificate instead.
async fn addresses(server: &Url, place: &Place) -> Result<Vec<std::net::SocketAddr>, Error> {
    let port = server.port_or_known_default().unwrap_or(443);
    let host = server.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    let found = tokio::net::lookup_host((host.as_str(), port)).await;
    match found.map(|found| found.collect::<Vec<_>>()) {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(Error::net(place, crate::net::Error::Resolve { host, cause: "no address".to_owned() })),
        Err(cause) => Err(Error::net(place, crate::net::Error::Resolve { host, cause: cause.to_string() })),
    }
}
