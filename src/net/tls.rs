//! Whom to trust: builds the HTTP client for a host from system roots, given authorities and `certs.d` folders.

use std::{
    collections::HashMap,
    error::Error as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use reqwest::{Certificate, Identity, NoProxy, Proxy, Url};

use super::{
    error::{CertificateProblem, Error},
    origin,
    secret::printable,
    settings::{ClientPair, Pem, Pinned, Settings},
};
use crate::{files, oci::Host};

/// The largest certificate or key file that is read; system bundles have a quarter of this.
const MAX_PEM: u64 = 1 << 20;

/// Installs the one cryptography provider of this process, `ring`. Called by `main`; calling it again does nothing.
pub fn install_crypto() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error means that another thread was first, with the same provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

/// Builds clients and keeps them: one for all hosts without anything particular, one for each that has.
pub(super) struct Clients {
    settings: Settings,
    /// By what is particular, so that hosts without anything particular share connections.
    made: Mutex<HashMap<Trust, Built>>,
    /// By registry and target, so that files are read once.
    known: Mutex<HashMap<(Option<Host>, String), Built>>,
    /// The one client of a program part that speaks with one server only, and that server.
    pinned: Option<(Url, Built)>,
}

/// How many targets are remembered; a server that redirects to ever new hosts must not fill the memory.
const MAX_KNOWN: usize = 4096;

#[derive(Clone)]
pub(super) struct Built {
    pub(super) client: reqwest::Client,
    /// The machine has no list of authorities.
    no_roots: bool,
}

/// What tells two clients apart.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Trust {
    authorities: Vec<Vec<u8>>,
    identity: Option<Vec<u8>>,
}

impl Clients {
    pub(super) fn new(settings: Settings) -> Self {
        install_crypto();
        Clients { settings, made: Mutex::default(), known: Mutex::default(), pinned: None }
    }

    /// Makes the client for one server: its authorities are the only ones, and nothing else is ever asked.
    pub(super) fn pinned(settings: Settings, server: &Url, pinned: &Pinned) -> Result<Self, Error> {
        let mut clients = Clients::new(settings);
        let host = origin::authority(server);
        let identity = match &pinned.client {
            Some(pair) => Some(together(&identity(&host, pair)?)?),
            None => None,
        };
        let proxies = match &pinned.proxy {
            Some(proxy) => vec![Proxy::all(proxy.expose()).map_err(|_| Error::Proxy { variable: "proxy-url" })?],
            None => clients.proxies()?,
        };
        let mut builder = clients.base(&proxies, identity.as_ref());
        if let Some((name, addresses)) = &pinned.reached_at {
            builder = builder.resolve_to_addrs(name, addresses);
        }
        let setup = |cause: reqwest::Error| Error::Setup { cause: chain(&cause) };
        let built = if pinned.insecure {
            let client = builder.tls_certs_only([]).tls_danger_accept_invalid_certs(true).build().map_err(setup)?;
            Built { client, no_roots: false }
        } else if let Some(pem) = &pinned.ca {
            let (path, text) = read(&host, pem)?;
            let only = certificates(path, &text)?;
            Built { client: builder.tls_certs_only(only).build().map_err(setup)?, no_roots: false }
        } else {
            clients.with_roots(Vec::new(), || {
                let builder = clients.base(&proxies, identity.as_ref());
                match &pinned.reached_at {
                    Some((name, addresses)) => builder.resolve_to_addrs(name, addresses),
                    None => builder,
                }
            })?
        };
        clients.pinned = Some((server.clone(), built));
        Ok(clients)
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the client for requests to `target` on behalf of the registry `profile`.
    pub(super) fn get(&self, profile: Option<&Host>, target: &Url) -> Result<Built, Error> {
        if let Some((server, built)) = &self.pinned {
            // Who we are is for this server alone.
            return if origin::same_origin(server, target) {
                Ok(built.clone())
            } else {
                let cause = origin::Refusal::Elsewhere;
                Err(Error::Redirect { from: origin::shown(server), to: origin::shown(target), cause })
            };
        }
        let key = (profile.cloned(), format!("{}://{}", target.scheme(), origin::authority(target)));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(built) = known.get(&key) {
            return Ok(built.clone());
        }
        let trust = self.trust(profile, target)?;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let built = match made.get(&trust) {
            Some(built) => built.clone(),
            None => self.build(&trust)?,
        };
        made.insert(trust, built.clone());
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(key, built.clone());
        Ok(built)
    }

    fn trust(&self, profile: Option<&Host>, target: &Url) -> Result<Trust, Error> {
        if target.scheme() == "http" {
            return Ok(Trust::default());
        }
        let authority = origin::authority(target);
        let target_host: Option<Host> = authority.parse().ok();
        let mut trust = Trust::default();
        let mut names: Vec<String> = vec![authority.clone()];
        let profile_is_target = |host: &Host| {
            let settings = self.settings.hosts.get(host);
            let mirror = settings.and_then(|settings| settings.mirror.as_deref());
            match mirror {
                Some(mirror) => mirror.split('/').next() == Some(authority.as_str()),
                None => Some(host) == target_host.as_ref(),
            }
        };
        for host in profile.into_iter().chain(target_host.as_ref()) {
            if let Some(settings) = self.settings.hosts.get(host) {
                for pem in &settings.ca {
                    trust.authorities.push(read(host.as_str(), pem)?.1);
                }
                // A redirect target may be signed by the registry's authority, but who we are is for the registry only.
                if let Some(pair) = &settings.client
                    && trust.identity.is_none()
                    && profile_is_target(host)
                {
                    trust.identity = Some(identity(host.as_str(), pair)?);
                }
            }
            if profile_is_target(host) && !names.iter().any(|name| name == host.as_str()) {
                names.push(host.as_str().to_owned());
            }
        }
        for folder in &self.settings.certs_d {
            for name in &names {
                self.certs_d(&folder.join(name), name, &mut trust)?;
            }
        }
        trust.authorities.sort();
        trust.authorities.dedup();
        Ok(trust)
    }

    fn certs_d(&self, folder: &Path, name: &str, trust: &mut Trust) -> Result<(), Error> {
        let file = |cause| Error::File { whom: name.to_owned(), cause };
        for path in files::list(folder).map_err(file)? {
            match path.extension().and_then(|ext| ext.to_str()) {
                Some("crt") => trust.authorities.push(read(name, &Pem::File(path))?.1),
                Some("cert") if trust.identity.is_none() => {
                    let pair = ClientPair { key: Pem::File(path.with_extension("key")), cert: Pem::File(path) };
                    trust.identity = Some(identity(name, &pair)?);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn build(&self, trust: &Trust) -> Result<Built, Error> {
        let mut extra = Vec::new();
        for pem in &trust.authorities {
            extra.extend(certificates(None, pem)?);
        }
        for pem in &self.settings.ca {
            let (path, text) = read("every host", pem)?;
            extra.extend(certificates(path, &text)?);
        }
        let identity = match &trust.identity {
            Some(pem) => Some(together(pem)?),
            None => None,
        };
        let proxies = self.proxies()?;
        self.with_roots(extra, || self.base(&proxies, identity.as_ref()))
    }

    fn base(&self, proxies: &[Proxy], identity: Option<&Identity>) -> reqwest::ClientBuilder {
        let timeouts = &self.settings.timeouts;
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("bundle/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .http1_only()
            .tcp_nodelay(true)
            .connect_timeout(timeouts.connect)
            .no_proxy();
        for proxy in proxies {
            builder = builder.proxy(proxy.clone());
        }
        if let Some(identity) = identity {
            builder = builder.identity(identity.clone());
        }
        builder
    }

    /// Builds a client that trusts the system's authorities and these.
    fn with_roots(
        &self,
        extra: Vec<Certificate>,
        builder: impl Fn() -> reqwest::ClientBuilder,
    ) -> Result<Built, Error> {
        // As everywhere, SSL_CERT_FILE stands in place of the system's list.
        let instead = match self.settings.environment.path("SSL_CERT_FILE") {
            Some(path) => {
                let (path, text) = read("SSL_CERT_FILE", &Pem::File(path))?;
                Some(certificates(path, &text)?)
            }
            None => None,
        };
        let setup = |cause: reqwest::Error| Error::Setup { cause: chain(&cause) };
        if let Some(instead) = instead {
            let client = builder().tls_certs_only(instead.into_iter().chain(extra)).build().map_err(setup)?;
            return Ok(Built { client, no_roots: false });
        }
        match builder().tls_certs_merge(extra.clone()).build() {
            Ok(client) => Ok(Built { client, no_roots: false }),
            // Without system certificates plain HTTP must still work, and HTTPS with given authorities.
            Err(_) => {
                let client = builder().tls_certs_only(extra).build().map_err(setup)?;
                Ok(Built { client, no_roots: true })
            }
        }
    }

    fn proxies(&self) -> Result<Vec<Proxy>, Error> {
        let environment = &self.settings.environment;
        let find = |names: &[&'static str]| {
            names.iter().find_map(|name| environment.get(name).map(|value| (*name, value.to_owned())))
        };
        // As Go's tools do, loopback is never asked through a proxy.
        let never = environment.get("NO_PROXY").or_else(|| environment.get("no_proxy")).unwrap_or_default();
        let no_proxy = NoProxy::from_string(&format!("localhost,127.0.0.0/8,::1,{never}"));
        let mut proxies = Vec::new();
        // HTTP_PROXY in capitals can be set by whoever calls a CGI program (CVE-2016-5385).
        let http: &[&'static str] = if environment.get("REQUEST_METHOD").is_some() {
            &["http_proxy", "all_proxy", "ALL_PROXY"]
        } else {
            &["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]
        };
        if let Some((variable, value)) = find(http) {
            proxies.push(Proxy::http(value).map_err(|_| Error::Proxy { variable })?.no_proxy(no_proxy.clone()));
        }
        if let Some((variable, value)) = find(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]) {
            proxies.push(Proxy::https(value).map_err(|_| Error::Proxy { variable })?.no_proxy(no_proxy));
        }
        Ok(proxies)
    }
}

fn read(whom: &str, pem: &Pem) -> Result<(Option<PathBuf>, Vec<u8>), Error> {
    match pem {
        Pem::Text(text) => Ok((None, text.expose().as_bytes().to_vec())),
        Pem::File(path) => {
            let bytes =
                files::read_limited(path, MAX_PEM).map_err(|cause| Error::File { whom: whom.to_owned(), cause })?;
            certificates_or_key(path, &bytes)?;
            Ok((Some(path.clone()), bytes.to_vec()))
        }
    }
}

fn certificates_or_key(path: &Path, pem: &[u8]) -> Result<(), Error> {
    let found = pem.windows(11).any(|window| window == b"-----BEGIN ");
    if found { Ok(()) } else { Err(Error::Pem { path: Some(path.to_owned()), cause: "no PEM block in this file" }) }
}

fn certificates(path: Option<PathBuf>, pem: &[u8]) -> Result<Vec<Certificate>, Error> {
    match Certificate::from_pem_bundle(pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(Error::Pem { path, cause: "no certificate in PEM form" }),
    }
}

fn identity(whom: &str, pair: &ClientPair) -> Result<Vec<u8>, Error> {
    let mut pem = read(whom, &pair.cert)?.1;
    pem.push(b'\n');
    pem.extend(read(whom, &pair.key)?.1);
    Ok(pem)
}

fn together(pem: &[u8]) -> Result<Identity, Error> {
    Identity::from_pem(pem)
        .map_err(|_| Error::Pem { path: None, cause: "the client certificate and its key cannot be used together" })
}

/// Joins the messages of an error and its causes.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    printable(&text, 300)
}

fn find_rustls<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        if let Some(inner) = cause.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref())
            && let Some(found) = find_rustls(inner)
        {
            return Some(found);
        }
        next = cause.source();
    }
    None
}

impl Built {
    /// Makes sense of an error of the HTTP client.
    pub(super) fn explain(&self, host: String, error: reqwest::Error) -> Error {
        let error = error.without_url();
        if let Some(tls) = find_rustls(&error) {
            return self.explain_tls(host, tls);
        }
        let cause = chain(&error);
        if error.is_connect() {
            return if cause.contains("dns error") {
                Error::Resolve { host, cause }
            } else {
                Error::Connect { host, cause }
            };
        }
        if error.is_builder() {
            return Error::Request { url: host, cause };
        }
        // hyper's words for a head that is no HTTP or over its limits (400 KiB, 100 lines); it has no public type for them.
        if ["message head is too large", "invalid HTTP", "invalid content-length", "unexpected transfer-encoding"]
            .iter()
            .any(|words| cause.contains(words))
        {
            return Error::Protocol { host, cause };
        }
        Error::Broken { host, cause: error.source().map_or(cause, chain) }
    }

    fn explain_tls(&self, host: String, error: &rustls::Error) -> Error {
        use rustls::{AlertDescription as Alert, CertificateError as Bad};
        let certificate = |host, problem| Error::Certificate { host, problem };
        match error {
            rustls::Error::InvalidCertificate(bad) => certificate(
                host,
                match bad {
                    Bad::UnknownIssuer if self.no_roots => CertificateProblem::NoRoots,
                    Bad::UnknownIssuer => CertificateProblem::UnknownIssuer,
                    Bad::Expired | Bad::ExpiredContext { .. } => CertificateProblem::Expired,
                    Bad::NotValidYet | Bad::NotValidYetContext { .. } => CertificateProblem::NotYetValid,
                    Bad::NotValidForName | Bad::NotValidForNameContext { .. } => CertificateProblem::WrongName,
                    other => CertificateProblem::Other(printable(&other.to_string(), 200)),
                },
            ),
            rustls::Error::AlertReceived(
                Alert::CertificateRequired
                | Alert::BadCertificate
                | Alert::UnknownCA
                | Alert::CertificateUnknown
                | Alert::CertificateExpired
                | Alert::AccessDenied,
            ) => certificate(host, CertificateProblem::Client),
            other => Error::Tls {
                host,
                cause: printable(&other.to_string(), 200),
                plain: matches!(other, rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)),
            },
        }
    }
}
