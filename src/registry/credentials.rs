//! Whose credentials go to which registry: given ones, then the files and helpers that Docker and podman use.
//!
//! | order | source |
//! |---|---|
//! | 1 | given on the command line, for one host |
//! | 2 | the file of `REGISTRY_AUTH_FILE` |
//! | 3 | `$XDG_RUNTIME_DIR/containers/auth.json` |
//! | 4 | `$XDG_CONFIG_HOME/containers/auth.json`, else `~/.config/containers/auth.json` |
//! | 5 | `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json` |
//!
//! Within a file: `credHelpers` of the host, then `credsStore`, then `auths`. The first that has credentials wins. A source
//! that cannot be read does not stop public pulls; it is reported when a registry wants credentials and none were found.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use super::helper::{self, HelperError};
use crate::{
    files,
    net::{Environment, Secret, printable},
    oci::Host,
};

/// The largest configuration file that is read; real ones have a few kilobytes.
const MAX_FILE: u64 = 4 << 20;
/// How long the answer of a helper is used before it is asked again: helpers of clouds hand out passwords that expire.
const HELPER_LIFE: Duration = Duration::from_secs(15 * 60);
/// The key under which Docker keeps the credentials of Docker Hub.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// Holds what proves who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// A user name and a password.
    Basic {
        /// The user name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A refresh token, exchanged for access tokens (`identitytoken`, or a helper's user name `<token>`).
    Identity(Secret),
    /// An access token, used as it is (`registrytoken`).
    Access(Secret),
}

/// Holds the outcome of a search for credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The credentials, if there are any.
    pub login: Option<Login>,
    /// Where they come from, to be shown.
    pub from: String,
    /// What could not be read on the way.
    pub troubles: Vec<String>,
}

impl Found {
    /// Returns user and source for messages.
    pub fn describe(&self) -> Option<String> {
        let who = match self.login.as_ref()? {
            Login::Basic { username, .. } => format!("{:?}", printable(username, 64)),
            Login::Identity(_) => "the holder of an identity token".to_owned(),
            Login::Access(_) => "the holder of a registry token".to_owned(),
        };
        Some(format!("{who} from {}", self.from))
    }
}

/// Finds credentials. Cheap to clone; files are read once, when first needed.
#[derive(Clone, Debug, Default)]
pub struct Credentials(Arc<Inner>);

type HelperAnswer = Result<Option<Login>, String>;

#[derive(Debug, Default)]
struct Inner {
    environment: Environment,
    given: Vec<(Host, Login)>,
    files: OnceLock<Vec<ConfigFile>>,
    /// By helper and server.
    helped: tokio::sync::Mutex<HashMap<(String, String), (Instant, HelperAnswer)>>,
}

#[derive(Debug)]
struct ConfigFile {
    path: PathBuf,
    content: Result<Config, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default)]
    auths: HashMap<String, Entry>,
    #[serde(default)]
    cred_helpers: HashMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entry(…)")
    }
}

impl Credentials {
    /// Uses the files and helpers that the environment names.
    pub fn new(environment: Environment) -> Self {
        Credentials(Arc::new(Inner { environment, ..Inner::default() }))
    }

    /// Uses nothing: every registry is asked without credentials.
    pub fn none() -> Self {
        let inner = Inner::default();
        let _ = inner.files.set(Vec::new());
        Credentials(Arc::new(inner))
    }

    /// Adds credentials for one host; they win over every file.
    pub fn with(self, host: Host, login: Login) -> Self {
        let mut given = self.0.given.clone();
        given.push((host, login));
        let inner = Inner { environment: self.0.environment.clone(), given, ..Inner::default() };
        if self.0.files.get().is_some_and(Vec::is_empty) {
            let _ = inner.files.set(Vec::new());
        }
        Credentials(Arc::new(inner))
    }

    /// Finds the credentials for a repository.
    pub async fn find(&self, host: &Host, repository: &str) -> Found {
        if let Some((_, login)) = self.0.given.iter().rev().find(|(known, _)| known == host) {
            return Found { login: Some(login.clone()), from: "the command line".to_owned(), troubles: Vec::new() };
        }
        let mut found = Found::default();
        for file in self.0.files.get_or_init(|| self.read_files()) {
            let shown = file.path.display();
            let config = match &file.content {
                Ok(config) => config,
                Err(trouble) => {
                    found.troubles.push(format!("{shown}: {trouble}"));
                    continue;
                }
            };
            let helper = config.helper_of(host).or(config.creds_store.as_deref().map(|name| (server_key(host), name)));
            if let Some((server, name)) = helper {
                match self.ask(name, &server).await {
                    Ok(Some(login)) => {
                        return Found {
                            login: Some(login),
                            from: format!("docker-credential-{name} ({shown})"),
                            ..found
                        };
                    }
                    Ok(None) => {}
                    Err(trouble) => found.troubles.push(trouble),
                }
            }
            match config.entry(host, repository) {
                None => {}
                Some((key, Ok(login))) => {
                    return Found { login: Some(login), from: format!("{shown}, entry {key}"), ..found };
                }
                Some((key, Err(trouble))) => found.troubles.push(format!("{shown}, entry {key}: {trouble}")),
            }
        }
        found
    }

    async fn ask(&self, name: &str, server: &str) -> HelperAnswer {
        // Held while the helper runs: sixteen downloads must not start sixteen helpers.
        let mut helped = self.0.helped.lock().await;
        let key = (name.to_owned(), server.to_owned());
        if let Some((when, answer)) = helped.get(&key)
            && when.elapsed() < HELPER_LIFE
        {
            return answer.clone();
        }
        let (environment, owned) = (self.0.environment.clone(), key.clone());
        let answer = tokio::task::spawn_blocking(move || helper::get(&owned.0, &owned.1, &environment))
            .await
            .unwrap_or(Err(HelperError::Died))
            .map_err(|error| format!("docker-credential-{}: {error}", printable(name, 64)));
        helped.insert(key, (Instant::now(), answer.clone()));
        answer
    }

    fn read_files(&self) -> Vec<ConfigFile> {
        let environment = &self.0.environment;
        let home = environment.path("HOME");
        let mut paths = Vec::new();
        let named = environment.path("REGISTRY_AUTH_FILE");
        paths.extend(named.clone());
        paths.extend(environment.path("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json")));
        let config = environment.path("XDG_CONFIG_HOME").or_else(|| Some(home.as_ref()?.join(".config")));
        paths.extend(config.map(|dir| dir.join("containers/auth.json")));
        let docker = environment.path("DOCKER_CONFIG").or_else(|| Some(home.as_ref()?.join(".docker")));
        paths.extend(docker.map(|dir| dir.join("config.json")));
        let mut read = Vec::new();
        for path in paths {
            let content = match files::read_limited(&path, MAX_FILE) {
                Ok(bytes) => serde_json::from_slice(&bytes)
                    // serde_json names line and column; it does not quote the values of a document.
                    .map_err(|error| format!("cannot be read as JSON at line {}", error.line())),
                // Only a file that somebody named must be there.
                Err(error) if error.is_missing() && Some(&path) != named.as_ref() => continue,
                Err(files::Error::Io { cause, .. }) => Err(format!("cannot be read: {cause}")),
                Err(error) => Err(error.to_string()),
            };
            read.push(ConfigFile { path, content });
        }
        read
    }
}

/// Returns the key that helpers know a registry by.
fn server_key(host: &Host) -> String {
    if host.is_docker_hub() { DOCKER_HUB_KEY.to_owned() } else { host.as_str().to_owned() }
}

/// Returns the host of a key as `docker login` has written it over the years: with a scheme, with `/v1/` or `/v2/`.
fn legacy_host(key: &str) -> Option<Host> {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let bare = matches!(path.trim_end_matches('/'), "" | "v1" | "v2");
    if bare || rest.len() != key.len() { host.parse().ok() } else { None }
}

impl Config {
    fn helper_of(&self, host: &Host) -> Option<(String, &str)> {
        let exact = self.cred_helpers.get(&server_key(host)).map(|name| (server_key(host), name.as_str()));
        exact.or_else(|| {
            let mut keys: Vec<_> =
                self.cred_helpers.iter().filter(|(key, _)| legacy_host(key).as_ref() == Some(host)).collect();
            keys.sort();
            let (key, name) = keys.first()?;
            Some(((*key).clone(), name.as_str()))
        })
    }

    /// Finds the entry of `auths`: the longest namespace first (containers-auth.json(5)), then the host in any spelling.
    fn entry(&self, host: &Host, repository: &str) -> Option<(String, Result<Login, &'static str>)> {
        let mut name = format!("{host}/{repository}");
        loop {
            if let Some(entry) = self.auths.get(&name)
                && let Some(login) = entry.login()
            {
                return Some((name, login));
            }
            match name.rfind('/') {
                Some(slash) => name.truncate(slash),
                None => break,
            }
        }
        let mut keys: Vec<_> = self.auths.iter().filter(|(key, _)| legacy_host(key).as_ref() == Some(host)).collect();
        // The key that Docker writes for its own hub comes before others that mean the same.
        keys.sort_by_key(|(key, _)| (key.as_str() != DOCKER_HUB_KEY, key.as_str()));
        keys.into_iter().find_map(|(key, entry)| Some((printable(key, 100), entry.login()?)))
    }
}

impl Entry {
    /// Returns what the entry holds; none when it is empty, as it is where a helper keeps the secret.
    fn login(&self) -> Option<Result<Login, &'static str>> {
        let text = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        if let Some(token) = text(&self.identitytoken) {
            return Some(Ok(Login::Identity(Secret::new(token))));
        }
        if let Some(token) = text(&self.registrytoken) {
            return Some(Ok(Login::Access(Secret::new(token))));
        }
        if let Some(auth) = text(&self.auth) {
            let decoded = STANDARD.decode(auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let Some(decoded) = decoded else { return Some(Err("`auth` is no base64 of USER:PASSWORD")) };
            let Some((username, password)) = decoded.split_once(':') else {
                return Some(Err("`auth` holds no colon between user and password"));
            };
            // Docker ends old passwords with NUL.
            return Some(Ok(basic(username, password.trim_matches('\0'))));
        }
        match (text(&self.username), text(&self.password)) {
            (Some(username), Some(password)) => Some(Ok(basic(&username, &password))),
            _ => None,
        }
    }
}

/// Returns a login; the user name `<token>` marks a refresh token (docker-credential-helpers).
pub(super) fn basic(username: &str, password: &str) -> Login {
    if username == "<token>" {
        Login::Identity(Secret::new(password))
    } else {
        Login::Basic { username: username.to_owned(), password: Secret::new(password) }
    }
}
