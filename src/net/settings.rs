//! What a user can say about reaching hosts.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use super::{environment::Environment, retry::Policy, secret::Secret};
use crate::oci::Host;

/// Says how hosts are reached; a plain value, complete before the first request.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is particular to a registry, by the name that references use.
    pub hosts: BTreeMap<Host, HostSettings>,
    /// Certificate authorities trusted for every host, in addition to the system's.
    pub ca: Vec<Pem>,
    /// Proxies (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`) and `SSL_CERT_FILE` come from here.
    pub environment: Environment,
    /// Folders with a subfolder per `host[:port]`: `*.crt` are authorities, `*.cert` with `*.key` are client pairs
    /// (containers-certs.d(5), Docker "Verify repository client with certificates").
    pub certs_d: Vec<PathBuf>,
    /// When to give up waiting.
    pub timeouts: Timeouts,
    /// When to try again.
    pub retry: Policy,
    /// How many requests one host gets at the same time, uploads counted apart.
    pub concurrency: usize,
}

/// Says what is particular to one registry.
#[derive(Clone, Debug, Default)]
pub struct HostSettings {
    /// `Some(true)`: plain HTTP. `Some(false)`: HTTPS even on a loopback address. `None`: HTTPS; on a loopback address
    /// plain HTTP when the port does not speak TLS.
    pub plain_http: Option<bool>,
    /// Certificate authorities for this registry, and for where it redirects to.
    pub ca: Vec<Pem>,
    /// The certificate and key that this client shows to the registry.
    pub client: Option<ClientPair>,
    /// `host[:port][/prefix]` that is asked instead; names stay the same.
    pub mirror: Option<String>,
    /// Hosts of token servers that get this registry's credentials although they belong to another domain.
    pub auth_realms: Vec<String>,
}

/// Holds PEM text or says where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pem {
    /// Read from this file when first needed.
    File(PathBuf),
    /// The text itself.
    Text(Secret),
}

/// Names a client certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientPair {
    /// The certificate, with its chain.
    pub cert: Pem,
    /// The private key.
    pub key: Pem,
}

/// Says how one server is reached that has its own authorities and knows this client by certificate, such as the API
/// server of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Pinned {
    /// The only authorities that count; without them, those of the system.
    pub ca: Option<Pem>,
    /// The certificate and key that this client shows.
    pub client: Option<ClientPair>,
    /// The name of the server's certificate, which the address to ask must then bear, and where the server listens.
    pub reached_at: Option<(String, Vec<SocketAddr>)>,
    /// Whether any certificate is taken. Whoever sets this tells the user.
    pub insecure: bool,
    /// The proxy to use instead of what the environment says; can hold a password.
    pub proxy: Option<Secret>,
}

/// Says when to give up waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For TCP and TLS together.
    pub connect: Duration,
    /// For the next byte in either direction.
    pub idle: Duration,
    /// For the answer to a request whose body is completely sent: registries copy whole blobs before they answer.
    pub commit: Duration,
    /// The stretch of waiting over which the least speed is measured.
    pub slow_window: Duration,
    /// The least speed in bytes per second; a slower body counts as stalled.
    pub slow_floor: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            commit: Duration::from_secs(300),
            slow_window: Duration::from_secs(60),
            slow_floor: 1024,
        }
    }
}

impl Default for Settings {
    /// Returns settings without hosts, proxies and certificate folders.
    fn default() -> Self {
        Settings {
            hosts: BTreeMap::new(),
            ca: Vec::new(),
            environment: Environment::default(),
            certs_d: Vec::new(),
            timeouts: Timeouts::default(),
            retry: Policy::default(),
            concurrency: 16,
        }
    }
}

impl Settings {
    /// Returns the settings that the environment alone gives: proxies, `SSL_CERT_FILE` and the certificate folders that
    /// Docker and podman use.
    pub fn of_environment(environment: Environment) -> Self {
        let mut certs_d = Vec::new();
        if let Some(config) =
            environment.path("XDG_CONFIG_HOME").or_else(|| Some(environment.path("HOME")?.join(".config")))
        {
            certs_d.push(config.join("containers/certs.d"));
        }
        certs_d.extend(["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from));
        Settings { environment, certs_d, ..Settings::default() }
    }
}
