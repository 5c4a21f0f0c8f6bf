//! One registry as it is really asked: its address, what it wants to see, the tokens that it gave, what it can do.
//!
//! Requests are made first and authenticated when the registry asks for it. The first request to a registry goes alone;
//! those that wait for it then know whether and how to authenticate, and none of them is wasted.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    challenge::Challenge,
    credentials::{Credentials, Found, Login},
    error::{Error, Place, Who},
    manifests::RawManifest,
    realm::{self, Trust},
    scope::Scopes,
    token::{self, Ask},
    wire::Answer,
};
use crate::{
    error::Classify as _,
    net::{self, Client, Method, Request, Response, Secret, Url, header},
    oci::{Digest, Host, Tag},
};

/// Token servers answer with a few kilobytes; tokens that list many rights have some dozens.
const MAX_TOKEN_ANSWER: usize = 1 << 20;
/// How much of an error body is read.
pub(super) const MAX_ERROR_BODY: usize = 64 << 10;
/// How many bytes of manifests are kept for being read a second time; a manifest has some kilobytes.
const MAX_KNOWN: usize = 4 << 20;
/// What Docker Hub's API is called; references name it `docker.io`.
const DOCKER_HUB_API: &str = "registry-1.docker.io";

/// What is known about the authentication of a registry.
#[derive(Clone, Debug)]
enum Scheme {
    Unknown,
    /// It answered a request without credentials.
    Open,
    Basic,
    Bearer {
        realm: Url,
        service: Option<String>,
    },
}

/// A token and how it was come by; locked while a new one is fetched.
#[derive(Default)]
struct Slot {
    ask: Option<Ask>,
    token: Option<(Secret, Instant)>,
    generation: u64,
}

/// What was shown with a request.
#[derive(Clone, Default)]
pub(super) struct Shown {
    pub(super) value: Option<Secret>,
    /// Which generation of the token; none for Basic and for nothing.
    generation: Option<u64>,
    pub(super) who: Who,
}

type Slots = HashMap<(String, Scopes), Arc<tokio::sync::Mutex<Slot>>>;
type Manifests = HashMap<(String, Digest), RawManifest>;

/// A lock for each list of referrers, by repository and tag.
type Locks = HashMap<(String, Tag), Arc<tokio::sync::Mutex<()>>>;

/// One registry, shared by all its repositories.
pub(super) struct Endpoint {
    pub(super) client: Client,
    pub(super) credentials: Credentials,
    /// The name in references; settings and certificates go by it.
    pub(super) profile: Host,
    /// The host that is asked: a mirror, Docker Hub's API, or the same.
    pub(super) host: Host,
    authority: Arc<str>,
    base: tokio::sync::OnceCell<Url>,
    scheme: Mutex<Scheme>,
    discovery: tokio::sync::Mutex<()>,
    slots: Mutex<Slots>,
    /// Where blobs are on this registry, as far as we put or saw them: what can be mounted.
    pub(super) held: Mutex<HashMap<Digest, HashSet<String>>>,
    pub(super) upload_mode: AtomicU8,
    pub(super) ignores_ranges: AtomicBool,
    /// The shortest time in which it began an answer, in microseconds.
    nearest: AtomicU64,
    /// It was seen to keep lists of referrers itself.
    pub(super) keeps_referrers: AtomicBool,
    lists: Mutex<Locks>,
    /// Manifests that were read from repositories of this registry, with their size together.
    manifests: Mutex<(Manifests, usize)>,
}

impl Endpoint {
    pub(super) fn new(client: Client, credentials: Credentials, profile: Host, host: Host) -> Self {
        let authority =
            if host.is_docker_hub() { DOCKER_HUB_API.to_owned() } else { host.as_str().to_ascii_lowercase() };
        Endpoint {
            client,
            credentials,
            profile,
            host,
            authority: authority.into(),
            base: tokio::sync::OnceCell::new(),
            scheme: Mutex::new(Scheme::Unknown),
            discovery: tokio::sync::Mutex::new(()),
            slots: Mutex::default(),
            held: Mutex::default(),
            upload_mode: AtomicU8::new(0),
            ignores_ranges: AtomicBool::new(false),
            nearest: AtomicU64::new(u64::MAX),
            keeps_referrers: AtomicBool::new(false),
            lists: Mutex::default(),
            manifests: Mutex::default(),
        }
    }

    pub(super) fn place(&self, path: &str) -> Place {
        Place { registry: self.authority.clone(), repository: path.into() }
    }

    pub(super) fn net(&self, path: &str, cause: net::Error) -> Error {
        Error::Net { place: self.place(path), cause: Box::new(cause) }
    }

    /// Returns `http(s)://HOST/`. A loopback address of which nothing is said is tried with TLS, then without; all other
    /// hosts are asked by https unless plain HTTP was asked for.
    pub(super) async fn base(&self) -> Result<&Url, Error> {
        self.base
            .get_or_try_init(|| async {
                let hosts = &self.client.settings().hosts;
                let said = [&self.profile, &self.host].into_iter().filter_map(|host| hosts.get(host));
                match said.clone().find_map(|settings| settings.plain_http) {
                    Some(true) => return self.root("http"),
                    Some(false) => return self.root("https"),
                    None => {}
                }
                let tls_meant = said.clone().any(|settings| !settings.ca.is_empty() || settings.client.is_some());
                if tls_meant || !self.host.is_loopback() { self.root("https") } else { self.detect().await }
            })
            .await
    }

    fn root(&self, scheme: &str) -> Result<Url, Error> {
        Url::parse(&format!("{scheme}://{}/", self.authority)).map_err(|error| {
            self.net("", net::Error::Request { url: self.authority.to_string(), cause: error.to_string() })
        })
    }

    /// Finds out what a port on this machine speaks. Nothing is decided while nobody answers.
    async fn detect(&self) -> Result<Url, Error> {
        let ping = |base: Url| async {
            let url = base.join("v2/").unwrap_or(base);
            self.client.once(&Request::get(url).on_behalf_of(&self.profile)).await
        };
        let mut trial = self.client.trial(format!("GET {}/v2/", self.authority));
        loop {
            let cause = match ping(self.root("https")?).await {
                Err(net::Error::Tls { plain: true, .. }) => return self.root("http"),
                Err(error) if error.kind().is_transient() => match ping(self.root("http")?).await {
                    Ok(_) => return self.root("http"),
                    Err(cause) => cause,
                },
                // Whatever is wrong with TLS shows with the request itself.
                _ => return self.root("https"),
            };
            let over = trial.made() as usize >= self.client.settings().retry.retries_unreached;
            if over || !cause.kind().is_transient() || !trial.again(&cause.to_string(), None).await {
                return Err(self.net("", cause));
            }
        }
    }

    /// Returns the address of an API path.
    pub(super) async fn url(&self, path: &str) -> Result<Url, Error> {
        let base = self.base().await?;
        base.join(path)
            .map_err(|error| self.net("", net::Error::Request { url: path.to_owned(), cause: error.to_string() }))
    }

    /// Makes a request and authenticates it when the registry asks for that.
    pub(super) async fn send(&self, request: Request, path: &str, scopes: &Scopes) -> Result<(Response, Who), Error> {
        let request = request.on_behalf_of(&self.profile);
        let base = self.base().await?;
        if !net::may_carry(base, request.url()) {
            // An upload session elsewhere: whatever is needed there is in its address.
            let response = self.client.send(request).await.map_err(|cause| self.net(path, cause))?;
            return Ok((response, Who::default()));
        }
        let first = match self.is_unknown() {
            true => Some(self.discovery.lock().await),
            false => None,
        };
        // Whoever waited behind the first request knows the scheme now and need not stand in line.
        let first = first.filter(|_| self.is_unknown());
        let shown = self.show(path, scopes).await?;
        let response = self.attempt(&request, &shown, path).await?;
        if response.status() != 401 {
            self.learn_open();
            drop(first);
            // Some registries answer 403 or 404, not 401, to strangers.
            let hidden = matches!(response.status(), 403 | 404) && shown.value.is_none();
            if !hidden || !net::may_carry(base, response.url()) {
                return Ok((response, shown.who));
            }
            let response = response.settle(MAX_ERROR_BODY).await;
            if let Some(challenges) = self.ping(path).await?
                && let Some(shown) = self.answer(&challenges, path, scopes, &shown).await?
                && shown.value.is_some()
            {
                let again = self.attempt(&request, &shown, path).await?;
                return Ok((again, shown.who));
            }
            return Ok((response, shown.who));
        }
        // A token may have to be fetched from the same host.
        let response = response.settle(MAX_ERROR_BODY).await;
        let challenges = Challenge::parse_all(response.headers("www-authenticate"));
        if !net::may_carry(base, response.url()) {
            return self.send_elsewhere(request, response, &challenges, path).await;
        }
        let answered = self.answer(&challenges, path, scopes, &shown).await?;
        drop(first);
        match answered {
            Some(shown) => {
                let again = self.attempt(&request, &shown, path).await?;
                Ok((again, shown.who))
            }
            None => {
                let mut who = shown.who;
                if who.login.is_none() {
                    who.troubles = self.credentials.find(&self.host, path).await.troubles;
                }
                Ok((response, who))
            }
        }
    }

    async fn attempt(&self, request: &Request, shown: &Shown, path: &str) -> Result<Response, Error> {
        let request = request.clone().authorization(shown.value.clone());
        let asked = Instant::now();
        let response = self.client.send(request).await.map_err(|cause| self.net(path, cause))?;
        self.nearest.fetch_min(u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(response)
    }

    /// Returns the shortest time in which the registry began an answer: how far away it is, however busy it or this
    /// machine may be by now.
    pub(super) fn distance(&self) -> Option<Duration> {
        let shortest = self.nearest.load(Ordering::Relaxed);
        (shortest < u64::MAX).then_some(Duration::from_micros(shortest))
    }

    /// Returns what to show with a request, from what is known; fetches or renews a token when needed.
    pub(super) async fn show(&self, path: &str, scopes: &Scopes) -> Result<Shown, Error> {
        let scheme = self.scheme.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match scheme {
            Scheme::Unknown | Scheme::Open => Ok(Shown::default()),
            Scheme::Basic => Ok(self.show_basic(path).await.unwrap_or_default()),
            Scheme::Bearer { realm, service } => {
                let default = Ask { realm, service, scopes: scopes.clone() };
                self.show_token(path, scopes, default, None).await
            }
        }
    }

    /// Answers the challenges of a 401; none when there is nothing to show that was not shown already.
    pub(super) async fn answer(
        &self,
        challenges: &[Challenge],
        path: &str,
        scopes: &Scopes,
        shown: &Shown,
    ) -> Result<Option<Shown>, Error> {
        let mut refused = None;
        for challenge in challenges.iter().filter(|challenge| challenge.scheme == "bearer") {
            let Some(realm) = challenge.param("realm") else { continue };
            let Ok(realm) = Url::parse(realm) else {
                let (place, realm) = (self.place(path), net::printable(realm, 200));
                refused = Some(Error::Realm { place, realm, cause: super::wire::LocationError::NotAnAddress });
                continue;
            };
            let base = self.base().await?;
            if let Err(cause) = net::check_step(base, &realm) {
                refused = Some(Error::realm(self.place(path), net::shown(&realm), cause));
                continue;
            }
            let service = challenge.param("service").map(str::to_owned);
            self.learn(Scheme::Bearer { realm: realm.clone(), service: service.clone() });
            let challenged = Scopes::parse(challenge.param("scope").unwrap_or_default());
            let ask = Ask { realm, service, scopes: scopes.answering(&challenged) };
            return Ok(Some(self.show_token(path, scopes, ask, Some(shown)).await?));
        }
        if challenges.iter().any(|challenge| challenge.scheme == "basic") {
            self.learn(Scheme::Basic);
            let fresh = self.show_basic(path).await;
            return Ok(fresh.filter(|fresh| fresh.value != shown.value));
        }
        match refused {
            Some(error) => Err(error),
            None if challenges.is_empty() => Ok(None),
            None => {
                let offered: Vec<&str> = challenges.iter().map(|challenge| challenge.scheme.as_str()).collect();
                Err(Error::Scheme { place: self.place(path), offered: net::printable(&offered.join(", "), 100) })
            }
        }
    }

    fn is_unknown(&self) -> bool {
        matches!(*self.scheme.lock().unwrap_or_else(PoisonError::into_inner), Scheme::Unknown)
    }

    fn learn(&self, scheme: Scheme) {
        *self.scheme.lock().unwrap_or_else(PoisonError::into_inner) = scheme;
    }

    fn learn_open(&self) {
        let mut scheme = self.scheme.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*scheme, Scheme::Unknown) {
            *scheme = Scheme::Open;
        }
    }

    /// Asks what a registry that answered strangers wants from others; once, and only when there is something to show.
    async fn ping(&self, path: &str) -> Result<Option<Vec<Challenge>>, Error> {
        if self.credentials.find(&self.host, path).await.login.is_none() {
            return Ok(None);
        }
        let _alone = self.discovery.lock().await;
        if !matches!(*self.scheme.lock().unwrap_or_else(PoisonError::into_inner), Scheme::Open) {
            // Somebody else has learnt it meanwhile; the challenge that was met then is as good as one of our own.
            return Ok(Some(self.known_challenge()));
        }
        let request = Request::get(self.url("v2/").await?).on_behalf_of(&self.profile);
        let response = self.client.send(request).await.map_err(|cause| self.net(path, cause))?;
        let challenges = Challenge::parse_all(response.headers("www-authenticate"));
        let asked = response.status() == 401 && net::may_carry(self.base().await?, response.url());
        response.discard().await;
        Ok(asked.then_some(challenges))
    }

    fn known_challenge(&self) -> Vec<Challenge> {
        match &*self.scheme.lock().unwrap_or_else(PoisonError::into_inner) {
            Scheme::Unknown | Scheme::Open => Vec::new(),
            Scheme::Basic => vec![Challenge { scheme: "basic".to_owned(), params: Vec::new() }],
            Scheme::Bearer { realm, service } => {
                let mut params = vec![("realm".to_owned(), realm.to_string())];
                params.extend(service.clone().map(|service| ("service".to_owned(), service)));
                vec![Challenge { scheme: "bearer".to_owned(), params }]
            }
        }
    }

    fn who(&self, found: &Found) -> Who {
        let hidden = match &found.login {
            None => Vec::new(),
            Some(Login::Basic { username, password }) => {
                let encoded = basic(username, password);
                let encoded = encoded.expose().trim_start_matches("Basic ");
                vec![Secret::new(encoded), password.clone()]
            }
            Some(Login::Identity(token) | Login::Access(token)) => vec![token.clone()],
        };
        Who { login: found.describe(), troubles: found.troubles.clone(), foreign_realm: None, hidden }
    }

    async fn show_basic(&self, path: &str) -> Option<Shown> {
        let found = self.credentials.find(&self.host, path).await;
        let value = match found.login.as_ref()? {
            Login::Basic { username, password } => basic(username, password),
            Login::Access(token) => Secret::new(format!("Bearer {}", token.expose())),
            // A refresh token means nothing to a registry without token server.
            Login::Identity(_) => return None,
        };
        Some(Shown { value: Some(value), generation: None, who: self.who(&found) })
    }

    /// Returns a token. `refused` is what a registry has just refused: the same token is not shown again.
    async fn show_token(&self, path: &str, own: &Scopes, ask: Ask, refused: Option<&Shown>) -> Result<Shown, Error> {
        let found = self.credentials.find(&self.host, path).await;
        let mut who = self.who(&found);
        if let Some(Login::Access(token)) = &found.login {
            let value = Secret::new(format!("Bearer {}", token.expose()));
            return Ok(Shown { value: Some(value), generation: None, who });
        }
        let key = (found.from.clone(), own.clone());
        let slot = self.slots.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone();
        // Locked while a token is fetched: whoever needs the same one waits for it.
        let mut slot = slot.lock().await;
        let trust = self.judge(&ask.realm, path).await?;
        if trust == Trust::Anonymous && found.login.is_some() {
            who.foreign_realm = Some(net::authority(&ask.realm));
            who.login = None;
        }
        let stale = refused.is_some_and(|shown| shown.generation == Some(slot.generation));
        let known_and_good = slot.token.as_ref().is_some_and(|(_, until)| *until > Instant::now());
        if stale || !known_and_good {
            // What a registry once asked for stays right for the next renewal.
            let ask = match (refused, slot.ask.take()) {
                (None, Some(before)) => before,
                _ => ask,
            };
            let login = found.login.as_ref().filter(|_| trust == Trust::Credentials);
            let fetched = self.fetch_token(&ask, login, path, &who).await?;
            slot.ask = Some(ask);
            slot.token = Some(fetched);
            slot.generation += 1;
        }
        who.hidden.extend(slot.token.as_ref().map(|(token, _)| token.clone()));
        let value = slot.token.as_ref().map(|(token, _)| Secret::new(format!("Bearer {}", token.expose())));
        Ok(Shown { value, generation: Some(slot.generation), who })
    }

    async fn judge(&self, realm: &Url, path: &str) -> Result<Trust, Error> {
        let hosts = &self.client.settings().hosts;
        let allowed: Vec<String> = [&self.profile, &self.host]
            .into_iter()
            .filter_map(|host| hosts.get(host))
            .flat_map(|settings| settings.auth_realms.clone())
            .collect();
        realm::judge(self.base().await?, realm, &allowed)
            .map_err(|cause| Error::realm(self.place(path), net::shown(realm), cause))
    }

    async fn fetch_token(
        &self,
        ask: &Ask,
        login: Option<&Login>,
        path: &str,
        who: &Who,
    ) -> Result<(Secret, Instant), Error> {
        let begun = Instant::now();
        let request = match login {
            Some(Login::Identity(refresh)) => Request::new(Method::POST, ask.realm.clone())
                .header(header::CONTENT_TYPE, header::HeaderValue::from_static("application/x-www-form-urlencoded"))
                .body(ask.refresh_form(refresh)),
            Some(Login::Basic { username, password }) => {
                Request::get(ask.get_url()).authorization(Some(basic(username, password)))
            }
            Some(Login::Access(_)) | None => Request::get(ask.get_url()),
        };
        let net_error = |cause| self.net(path, cause);
        let response = self.client.send(request.on_behalf_of(&self.profile)).await.map_err(net_error)?;
        let (place, realm) = (self.place(path), net::shown(&ask.realm));
        if response.status() != 200 {
            let answer =
                Box::new(Answer::parse(response.status(), &response.beginning(MAX_ERROR_BODY).await, &who.hidden));
            return Err(Error::Token { place, realm, answer, who: Box::new(who.clone()) });
        }
        let body = response.bytes(MAX_TOKEN_ANSWER).await.map_err(net_error)?;
        let (token, life) = token::parse(&body).ok_or(Error::NoToken { place, realm })?;
        Ok((token, begun + life))
    }

    /// Answers another registry to which ours redirected, and which wants a token that anybody gets.
    async fn send_elsewhere(
        &self,
        request: Request,
        response: Response,
        challenges: &[Challenge],
        path: &str,
    ) -> Result<(Response, Who), Error> {
        let there = response.url().clone();
        let bearer = challenges.iter().find(|challenge| challenge.scheme == "bearer");
        let realm = bearer.and_then(|bearer| Url::parse(bearer.param("realm")?).ok());
        let (Some(bearer), Some(realm)) = (bearer, realm) else { return Ok((response, Who::default())) };
        net::check_step(&there, &realm).map_err(|cause| Error::realm(self.place(path), net::shown(&realm), cause))?;
        let scopes = Scopes::parse(bearer.param("scope").unwrap_or_default());
        let ask = Ask { realm, service: bearer.param("service").map(str::to_owned), scopes };
        let (token, _) = self.fetch_token(&ask, None, path, &Who::default()).await?;
        let value = Secret::new(format!("Bearer {}", token.expose()));
        let request = request.at(there).authorization(Some(value));
        let response = self.client.send(request).await.map_err(|cause| self.net(path, cause))?;
        Ok((response, Who::default()))
    }

    /// Notes that a blob is in a repository of this registry.
    pub(super) fn note_held(&self, digest: Digest, path: &str) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).entry(digest).or_default().insert(path.to_owned());
    }

    /// Returns another repository of this registry that has a blob.
    pub(super) fn holder(&self, digest: &Digest, except: &str) -> Option<String> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(digest)?.iter().find(|path| *path != except).cloned()
    }

    /// Returns the lock for additions to a list that is kept under a tag.
    pub(super) fn list_lock(&self, path: &str, tag: &Tag) -> Arc<tokio::sync::Mutex<()>> {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        lists.entry((path.to_owned(), tag.clone())).or_default().clone()
    }

    /// Returns a manifest that was read from this repository before: pinning reads what planning reads again.
    pub(super) fn known_manifest(&self, path: &str, digest: &Digest) -> Option<RawManifest> {
        let known = self.manifests.lock().unwrap_or_else(PoisonError::into_inner);
        known.0.get(&(path.to_owned(), *digest)).cloned()
    }

    /// Keeps a verified manifest while there is room.
    pub(super) fn remember_manifest(&self, path: &str, raw: &RawManifest) {
        let mut known = self.manifests.lock().unwrap_or_else(PoisonError::into_inner);
        if known.1 + raw.bytes.len() <= MAX_KNOWN {
            known.1 += raw.bytes.len();
            known.0.insert((path.to_owned(), raw.descriptor.digest), raw.clone());
        }
    }

    pub(super) fn set_ignores_ranges(&self) {
        self.ignores_ranges.store(true, Ordering::Relaxed);
    }
}

fn basic(username: &str, password: &Secret) -> Secret {
    Secret::new(format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.expose()))))
}
