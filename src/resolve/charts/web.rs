//! Repositories over HTTP: indices, archives, provenance files.
//!
//! # Invariants
//! - A login is shown to the origin of the repository that it belongs to. An archive on another host, and whatever is
//!   redirected elsewhere, is asked for without.
//! - What the index says about an archive's SHA-256 holds, or the archive is not used.
//! - What comes out names the public address, whoever was asked in its place.

use std::{collections::HashMap, sync::Arc, sync::Mutex, sync::PoisonError};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;

use super::{
    Error,
    once::Once,
    repositories::{Known, Repositories},
};
use crate::{
    error::Classify as _,
    files,
    helm::{Index, index::Release},
    net::{self, Client, ClientPair, Pem, Request, Secret, Url},
    oci::{Digest, Host},
    registry::{Login, Registries},
};

/// The largest index that is read; those of the largest public repositories have 25 MB.
const MAX_INDEX: usize = 64 << 20;
/// The largest archive that is read: helm's bound for an unpacked chart.
pub(super) const MAX_ARCHIVE: usize = 100 << 20;
/// The largest provenance file that is read; it holds a `Chart.yaml` and a signature.
pub(super) const MAX_PROVENANCE: usize = 2 << 20;
/// How a provenance file begins (RFC 4880, section 7).
const CLEARSIGNED: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE-----";

/// Asks repositories.
pub(super) struct Web {
    registries: Registries,
    indices: Once<Arc<Index>>,
    archives: Once<(Bytes, Option<Bytes>)>,
    /// Clients of repositories with certificates of their own, by the name of the repository.
    clients: Mutex<HashMap<String, Client>>,
}

/// A repository as it is asked.
#[derive(Clone, Copy)]
struct Asked<'a> {
    url: &'a Url,
    known: Option<&'a Known>,
}

/// An archive with its signature.
pub(super) struct Downloaded {
    pub(super) archive: Bytes,
    pub(super) provenance: Option<Bytes>,
    /// Where it is, without anything secret.
    pub(super) source: String,
}

impl Web {
    pub(super) fn new(registries: Registries) -> Web {
        Web { registries, indices: Once::default(), archives: Once::default(), clients: Mutex::default() }
    }

    /// Returns the index of a repository.
    pub(super) async fn index(&self, repository: &Url, repositories: &Repositories) -> Result<Arc<Index>, Error> {
        let make = async {
            let asked = Asked { url: repository, known: repositories.by_url(repository)? };
            let url = below(repository, "index.yaml");
            let bytes = self.get(&url, asked, MAX_INDEX).await?;
            let shown = net::shown(&url);
            let parsed = files::blocking(move || match std::str::from_utf8(&bytes) {
                Ok(text) => Index::parse(text),
                Err(_) => Err(crate::helm::index::IndexError::Shape("no text")),
            });
            parsed.await.map(Arc::new).map_err(|cause| Error::Index { url: shown, cause })
        };
        self.indices.get(repository.as_str(), make).await
    }

    /// Fetches a version of a chart from the first of its addresses that has it.
    pub(super) async fn chart(
        &self,
        repository: &Url,
        repositories: &Repositories,
        release: &Release,
        urls: &[Url],
    ) -> Result<Downloaded, Error> {
        let asked = Asked { url: repository, known: repositories.by_url(repository)? };
        let mut first = None;
        for url in urls {
            let make = async {
                let archive = self.archive(url, asked, release).await?;
                Ok((archive, self.provenance(url, asked).await?))
            };
            match self.archives.get(&format!("{} {url}", release.digest), make).await {
                Ok((archive, provenance)) => {
                    return Ok(Downloaded { archive, provenance, source: net::shown(url) });
                }
                // Corrupt content is not healed by looking elsewhere in silence.
                Err(error) if error.kind() == crate::error::Kind::Corrupt => return Err(error),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or_else(|| Error::NoAddress {
            place: net::shown(repository),
            version: net::printable(&release.version, 100),
        }))
    }

    async fn archive(&self, url: &Url, asked: Asked<'_>, release: &Release) -> Result<Bytes, Error> {
        match net::check_step(asked.url, url) {
            // Nothing secret is sent there, and the digest came over the protected connection.
            Err(net::Refusal::Downgrade) if !release.digest.is_empty() => {}
            Err(cause) => {
                return Err(Error::Step { from: net::shown(asked.url), to: net::shown(url), cause });
            }
            Ok(()) => {}
        }
        let bytes = self.get(url, asked, MAX_ARCHIVE).await?;
        if !release.digest.is_empty() {
            let actual = Digest::sha256(&bytes).hex();
            let expected = release.digest.trim();
            let hex = expected.strip_prefix("sha256:").unwrap_or(expected);
            if !hex.eq_ignore_ascii_case(&actual) {
                let expected = net::printable(expected, 100);
                return Err(Error::Digest { url: net::shown(url), expected, actual });
            }
        }
        Ok(bytes)
    }

    /// Fetches the provenance file of an archive, if there is one. Storage services answer 403 where a stranger asks for
    /// something that does not exist, and some web servers a page of their own.
    async fn provenance(&self, archive: &Url, asked: Asked<'_>) -> Result<Option<Bytes>, Error> {
        let mut url = archive.clone();
        url.set_path(&format!("{}.prov", archive.path()));
        match self.get(&url, asked, MAX_PROVENANCE).await {
            Ok(bytes) => Ok(Some(bytes).filter(|bytes| bytes.starts_with(CLEARSIGNED))),
            Err(Error::Status { status: 403 | 404 | 410, .. }) => Ok(None),
            Err(Error::Net(cause)) if matches!(*cause, net::Error::TooLarge { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn get(&self, url: &Url, asked: Asked<'_>, limit: usize) -> Result<Bytes, Error> {
        let host: Option<Host> = net::authority(url).parse().ok();
        let real = match &host {
            Some(host) => self.real(url, host).await?,
            None => url.clone(),
        };
        let authorization = self.authorization(url, &real, asked).await;
        let known = authorization.is_some();
        let mut request = Request::get(real.clone()).authorization(authorization);
        if let Some(host) = &host {
            request = request.on_behalf_of(host);
        }
        let client = self.client(asked.known, host.as_ref());
        let mut trial = client.trial(format!("GET {}", net::shown(url)));
        loop {
            let response = client.send(request.clone()).await?;
            if response.status() != 200 {
                return Err(Error::Status { url: net::shown(url), status: response.status(), known });
            }
            match response.bytes(limit).await {
                Ok(bytes) => return Ok(bytes),
                Err(error) if error.kind().is_transient() && trial.again(&error.to_string(), None).await => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Returns the address that is asked: behind a mirror another one.
    async fn real(&self, url: &Url, host: &Host) -> Result<Url, Error> {
        let Some(base) = self.registries.reached_at(host).await? else { return Ok(url.clone()) };
        let mut real = base.clone();
        real.set_path(&format!("{}/{}", base.path().trim_end_matches('/'), url.path().trim_start_matches('/')));
        real.set_query(url.query());
        Ok(real)
    }

    /// Returns what to show: the login of `repositories.yaml` to the origin of that entry, else the login that Docker's
    /// files have for the host; either only at the repository's own origin.
    async fn authorization(&self, url: &Url, real: &Url, asked: Asked<'_>) -> Option<Secret> {
        let basic = |user: &str, password: &Secret| {
            Secret::new(format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.expose()))))
        };
        if let Some(known) = asked.known
            && let Some((user, password)) = known.login()
        {
            let owner = known.url.parse::<Url>().ok();
            if known.pass_credentials_all || owner.is_some_and(|owner| net::may_carry(&owner, real)) {
                return Some(basic(&user, &password));
            }
        }
        if !net::may_carry(asked.url, url) {
            return None;
        }
        let host: Host = net::authority(real).parse().ok()?;
        let found = self.registries.credentials().find(&host, real.path().trim_start_matches('/')).await;
        match found.login? {
            Login::Basic { username, password } => Some(basic(&username, &password)),
            Login::Access(token) => Some(Secret::new(format!("Bearer {}", token.expose()))),
            // A refresh token means nothing without a token server.
            Login::Identity(_) => None,
        }
    }

    fn client(&self, known: Option<&Known>, host: Option<&Host>) -> Client {
        let shared = self.registries.client();
        let (Some(known), Some(host)) = (known.filter(|known| known.has_certificates()), host) else {
            return shared.clone();
        };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let made = clients.entry(format!("{} {host}", known.name)).or_insert_with(|| {
            let mut settings = shared.settings().clone();
            let own = settings.hosts.entry(host.clone()).or_default();
            let file = |path: &str| Pem::File(path.into());
            if !known.ca_file.is_empty() {
                own.ca.push(file(&known.ca_file));
            }
            if !known.cert_file.is_empty() && !known.key_file.is_empty() {
                own.client = Some(ClientPair { cert: file(&known.cert_file), key: file(&known.key_file) });
            }
            Client::new(settings, shared.observer().clone())
        });
        made.clone()
    }
}

/// Returns an address below a repository, with the repository's query.
pub(super) fn below(repository: &Url, name: &str) -> Url {
    let mut url = repository.clone();
    url.set_path(&format!("{}/{name}", repository.path().trim_end_matches('/')));
    url
}

/// Resolves an address of an index as helm does: whole ones stay, others are relative to the repository as a folder and take
/// its query.
pub(super) fn resolve(repository: &Url, written: &str) -> Option<Url> {
    match Url::parse(written) {
        Ok(url) => Some(url),
        Err(_) => {
            let mut base = below(repository, "");
            base.set_fragment(None);
            let mut url = base.join(written).ok()?;
            url.set_query(repository.query());
            Some(url)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_an_index() {
        let repository: Url = "https://charts.example.com/stable?x=1".parse().unwrap();
        assert_eq!(below(&repository, "index.yaml").as_str(), "https://charts.example.com/stable/index.yaml?x=1");
        for (written, expected) in [
            ("web-1.tgz", "https://charts.example.com/stable/web-1.tgz?x=1"),
            ("charts/web-1.tgz", "https://charts.example.com/stable/charts/web-1.tgz?x=1"),
            ("/web-1.tgz", "https://charts.example.com/web-1.tgz?x=1"),
            ("../web-1.tgz", "https://charts.example.com/web-1.tgz?x=1"),
            ("https://cdn.example.com/web-1.tgz", "https://cdn.example.com/web-1.tgz"),
            ("oci://registry.example.com/web:1", "oci://registry.example.com/web:1"),
        ] {
            assert_eq!(resolve(&repository, written).unwrap().as_str(), expected);
        }
    }
}
