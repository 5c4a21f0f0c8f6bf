//! What can go wrong with a cluster, which cluster it was, and what to do.

use std::{path::PathBuf, time::Duration};

use super::Place;
use crate::{
    error::{Classify, Kind},
    files, net, yaml,
};

/// Says why the Kubernetes API did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing says where a cluster is.
    #[error(
        "no cluster is configured: looked at {looked}; give --kubeconfig FILE, or set KUBECONFIG (copy the file from a control plane: /etc/kubernetes/admin.conf, k3s: /etc/rancher/k3s/k3s.yaml)"
    )]
    NoConfig {
        /// Where it was looked for.
        looked: String,
    },
    /// A kubeconfig cannot be used.
    #[error("{}: {problem}", file.display())]
    Config {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        problem: ConfigProblem,
    },
    /// A credential plugin gave nothing usable.
    #[error("{place}: credential plugin {problem}")]
    Plugin {
        /// Which cluster.
        place: Box<Place>,
        /// What went wrong.
        problem: PluginProblem,
    },
    /// There was no connection, or it broke.
    #[error("{place}: {}{}", cause, unreachable(cause))]
    Unreachable {
        /// Which cluster.
        place: Box<Place>,
        /// Why.
        #[source]
        cause: Box<net::Error>,
    },
    /// The server is not the one that the kubeconfig means, as far as its certificate can tell.
    #[error("{place}: the API server's certificate does not hold: {problem}{}", distrusted(problem))]
    Certificate {
        /// Which cluster.
        place: Box<Place>,
        /// What is wrong with it.
        problem: net::CertificateProblem,
    },
    /// The server does not know who is asking.
    #[error(
        "{place}: the server does not accept these credentials ({}); they may have expired or belong to another cluster: log in again or choose another --context",
        refused.message
    )]
    Unauthorized {
        /// Which cluster.
        place: Box<Place>,
        /// What it said.
        refused: Box<Refused>,
    },
    /// The server knows, and says no.
    #[error("{place}: {what} is forbidden: {}; a ClusterRole that allows this must be bound to this user", refused.message)]
    Forbidden {
        /// Which cluster.
        place: Box<Place>,
        /// What was asked for.
        what: String,
        /// What it said.
        refused: Box<Refused>,
    },
    /// The cluster does not serve this kind of object.
    #[error("{place}: no kind {kind} in {api_version}{}", known(.served))]
    NoSuchKind {
        /// Which cluster.
        place: Box<Place>,
        /// Which group and version.
        api_version: String,
        /// Which kind.
        kind: String,
        /// The versions of that group that are served.
        served: Vec<String>,
    },
    /// Another manager owns fields that would change.
    #[error("{place}: cannot apply {what}: {}; to take these fields over, apply with force", owners(conflicts))]
    Conflict {
        /// Which cluster.
        place: Box<Place>,
        /// Which object.
        what: String,
        /// Who owns what.
        conflicts: Vec<Conflict>,
    },
    /// The server refuses an object for what is in it.
    #[error("{place}: {what} is refused: {} ({})", refused.message, refused.reason)]
    Invalid {
        /// Which cluster.
        place: Box<Place>,
        /// Which object.
        what: String,
        /// What it said.
        refused: Box<Refused>,
    },
    /// The object or the namespace that it would be in is not there.
    #[error("{place}: {what}: {}", refused.message)]
    NotFound {
        /// Which cluster.
        place: Box<Place>,
        /// What was asked for.
        what: String,
        /// What it said.
        refused: Box<Refused>,
    },
    /// The server failed or has no time.
    #[error("{place}: {what}: the server answered {status}: {}", refused.message)]
    Failing {
        /// Which cluster.
        place: Box<Place>,
        /// What was asked for.
        what: String,
        /// With which HTTP status.
        status: u16,
        /// What it said.
        refused: Box<Refused>,
    },
    /// The answer is no answer of a Kubernetes API.
    #[error("{place}: {what}: this is no answer of a Kubernetes API ({problem}); is the server address right?")]
    Foreign {
        /// Which cluster.
        place: Box<Place>,
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A list has no end.
    #[error("{place}: {what}: more than {limit} objects")]
    TooMany {
        /// Which cluster.
        place: Box<Place>,
        /// What was listed.
        what: String,
        /// The limit.
        limit: usize,
    },
    /// What was waited for did not come.
    #[error("{place}: {what} is not as expected after {} s: {last}", limit.as_secs())]
    Waited {
        /// Which cluster.
        place: Box<Place>,
        /// Which object.
        what: String,
        /// How long it was waited for.
        limit: Duration,
        /// How it was last seen.
        last: String,
    },
    /// A document given to apply is no object.
    #[error("cannot apply this: {0}")]
    NoObject(&'static str),
}

/// Says what is wrong with a kubeconfig.
#[derive(Debug, thiserror::Error)]
pub enum ConfigProblem {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] files::Error),
    /// It is not UTF-8.
    #[error("not UTF-8 text")]
    Text,
    /// It is no YAML.
    #[error(transparent)]
    Yaml(#[from] yaml::Error),
    /// It is YAML of another shape.
    #[error("no kubeconfig: {0}")]
    Shape(String),
    /// No context is chosen.
    #[error("no current-context; choose one with --context: {0}")]
    NoContext(String),
    /// The context is not there.
    #[error("no context {0:?}; there are: {1}")]
    UnknownContext(String, String),
    /// A context names something that is not there.
    #[error("context {context:?} names the {what} {name:?}, which is not there")]
    Dangling {
        /// Which context.
        context: String,
        /// `cluster` or `user`.
        what: &'static str,
        /// Which one.
        name: String,
    },
    /// The server address cannot be used.
    #[error("cluster {0:?} has no server address that can be used (https://host:port)")]
    Server(String),
    /// Base64 that is none.
    #[error("{0} is no base64")]
    Base64(&'static str),
    /// A certificate without its key, or the other way round.
    #[error("user {0:?} has a client certificate without key, or a key without certificate")]
    HalfPair(String),
    /// An authority together with the wish not to check.
    #[error("cluster {0:?} names a certificate authority and insecure-skip-tls-verify: remove one of them")]
    AuthorityAndInsecure(String),
    /// A name that no certificate bears.
    #[error("tls-server-name {0:?} is no host name")]
    ServerName(String),
    /// A proxy that this program cannot use.
    #[error("proxy-url of cluster {0:?}: http and https proxies can be used")]
    Proxy(String),
    /// `tls-server-name` together with a proxy.
    #[error("cluster {0:?} has tls-server-name and proxy-url, which cannot be combined here")]
    ServerNameAndProxy(String),
    /// The old built-in plugins.
    #[error(
        "user {user:?} uses auth-provider {provider:?}, which Kubernetes removed in 1.26; use an exec credential plugin"
    )]
    AuthProvider {
        /// Which user.
        user: String,
        /// Which plugin.
        provider: String,
    },
    /// An exec plugin without a command, or of an unknown version.
    #[error("user {0:?}: exec needs a command and apiVersion client.authentication.k8s.io/v1 or v1beta1")]
    Exec(String),
    /// The token file of a user or of the pod cannot be read.
    #[error("token file: {0}")]
    TokenFile(#[source] files::Error),
}

/// Says why a credential plugin gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PluginProblem {
    /// The program is not there.
    #[error("{command:?} is not found{}", advice(.hint))]
    NotFound {
        /// Which program.
        command: String,
        /// What the kubeconfig says about installing it.
        hint: Option<String>,
    },
    /// It cannot be started.
    #[error("{0:?} cannot be started: {1}")]
    Start(String, String),
    /// It takes too long.
    #[error("{0:?} gave no answer in {1} s")]
    Slow(String, u64),
    /// It wants to speak with a person and there is none.
    #[error("{0:?} needs a terminal (interactiveMode: Always)")]
    NoTerminal(String),
    /// It failed.
    #[error("{0:?} failed: {1}")]
    Failed(String, String),
    /// Its answer cannot be read.
    #[error("{0:?} answered no ExecCredential of the expected version with a token or a client certificate")]
    Unreadable(String),
}

/// Holds what the server said when it refused: the fields of its `Status` object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// The machine-readable reason, such as `AlreadyExists`.
    pub reason: String,
    /// The message for people.
    pub message: String,
    /// Single causes: reason, message, field.
    pub causes: Vec<(String, String, String)>,
}

/// Names a field that another manager owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The manager as the server names it, with the version and the time it last applied.
    pub manager: String,
    /// The field.
    pub field: String,
}

fn owners(conflicts: &[Conflict]) -> String {
    let mut by_manager: Vec<(&str, Vec<&str>)> = Vec::new();
    for conflict in conflicts {
        match by_manager.iter_mut().find(|(manager, _)| *manager == conflict.manager) {
            Some((_, fields)) => fields.push(&conflict.field),
            None => by_manager.push((&conflict.manager, vec![&conflict.field])),
        }
    }
    let each: Vec<String> =
        by_manager.iter().map(|(manager, fields)| format!("{manager} owns {}", fields.join(", "))).collect();
    each.join("; ")
}

fn known(served: &[String]) -> String {
    if served.is_empty() {
        ": the cluster does not have this API group; its CustomResourceDefinitions must be installed first".to_owned()
    } else {
        format!("; of this group it serves {}", served.join(", "))
    }
}

fn advice(hint: &Option<String>) -> String {
    hint.as_ref().map(|hint| format!(": {hint}")).unwrap_or_default()
}

fn unreachable(cause: &net::Error) -> &'static str {
    match cause {
        net::Error::Resolve { .. } => "; the name must be known to this machine's resolver or in /etc/hosts",
        net::Error::Connect { .. } => {
            "; is the API server running and this the right address (--context, --kubeconfig)?"
        }
        _ => "",
    }
}

fn distrusted(problem: &net::CertificateProblem) -> &'static str {
    use net::CertificateProblem as Problem;
    match problem {
        Problem::UnknownIssuer | Problem::NoRoots => {
            "; the kubeconfig's certificate-authority-data is of another cluster or missing: fetch the kubeconfig anew from the control plane"
        }
        Problem::WrongName => {
            "; use an address that the certificate names, or set tls-server-name in the kubeconfig to one of its names"
        }
        Problem::Client => {
            "; the client certificate of the kubeconfig may have expired: fetch the kubeconfig anew from the control plane"
        }
        _ => "",
    }
}

impl Error {
    pub(super) fn net(place: &Place, cause: net::Error) -> Self {
        let place = Box::new(place.clone());
        match cause {
            net::Error::Certificate { problem, .. } => Error::Certificate { place, problem },
            cause => Error::Unreachable { place, cause: Box::new(cause) },
        }
    }

    pub(super) fn plugin(place: &Place, problem: PluginProblem) -> Self {
        Error::Plugin { place: Box::new(place.clone()), problem }
    }

    /// Tells whether the cluster does not serve the kind that was asked for.
    pub fn is_no_such_kind(&self) -> bool {
        matches!(self, Error::NoSuchKind { .. })
    }
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        match self {
            Error::NoConfig { .. }
            | Error::Unauthorized { .. }
            | Error::Forbidden { .. }
            | Error::NoSuchKind { .. }
            | Error::NotFound { .. }
            | Error::Plugin { .. } => Kind::NotFound,
            Error::Config { problem, .. } => match problem {
                ConfigProblem::Read(cause) | ConfigProblem::TokenFile(cause) => cause.kind(),
                _ => Kind::Usage,
            },
            Error::Unreachable { cause, .. } => cause.kind(),
            Error::Certificate { .. } => Kind::Untrusted,
            Error::Conflict { .. } => Kind::Answer,
            Error::Invalid { .. } | Error::NoObject(_) => Kind::Usage,
            Error::Failing { .. } | Error::Waited { .. } => Kind::Unavailable,
            Error::Foreign { .. } | Error::TooMany { .. } => Kind::Corrupt,
        }
    }
}
