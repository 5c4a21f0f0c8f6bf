//! Which cluster, which user: the rules of kubectl for `--kubeconfig`, `KUBECONFIG`, `~/.kube/config` and contexts
//! (kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig).
//!
//! Of several files the first that names an entry wins, also for the current context; paths inside a file are relative to
//! that file. With nothing at all, a pod's service account.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use super::{ConfigProblem, Error, Options, account};
use crate::{
    files,
    net::{ClientPair, Pem, Secret, Url},
    yaml,
};

/// The largest kubeconfig that is read; with hundreds of clusters they have a few hundred kilobytes.
const MAX_CONFIG: u64 = 8 << 20;
/// How many files `KUBECONFIG` may list.
const MAX_FILES: usize = 100;

/// Holds everything that is needed to reach one cluster as one user.
pub(super) struct Access {
    /// The file that named the context, for messages.
    pub(super) file: PathBuf,
    pub(super) context: String,
    pub(super) namespace: String,
    pub(super) server: Url,
    pub(super) server_name: Option<String>,
    pub(super) ca: Option<Pem>,
    pub(super) insecure: bool,
    pub(super) proxy: Option<Secret>,
    pub(super) client: Option<ClientPair>,
    pub(super) proof: Proof,
    pub(super) impersonate: Vec<(String, String)>,
}

/// Says by what a user is recognised, besides a client certificate.
pub(super) enum Proof {
    /// Nothing, or the certificate alone.
    None,
    /// A token.
    Token(Secret),
    /// A file whose token changes, as kubelet's projected ones do every hour.
    TokenFile(PathBuf),
    /// A name and a password; Kubernetes itself dropped them, proxies in front of it still use them.
    Basic(String, Secret),
    /// A program that gives a token or a certificate.
    Plugin(Box<Plugin>),
}

/// Describes a credential plugin.
pub(super) struct Plugin {
    pub(super) api_version: String,
    pub(super) command: String,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) install_hint: Option<String>,
    pub(super) interactive: bool,
    /// What `KUBERNETES_EXEC_INFO` says of the cluster, when the plugin wants to know.
    pub(super) cluster: Option<serde_json::Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Config {
    clusters: Option<Vec<Named>>,
    users: Option<Vec<Named>>,
    contexts: Option<Vec<Named>>,
    current_context: Option<String>,
}

/// Keeps an entry's body unread: a file may hold other entries that this program cannot use, as long as nobody chooses them.
#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(default, alias = "user", alias = "context")]
    cluster: serde_json::Value,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct ClusterEntry {
    server: String,
    tls_server_name: Option<String>,
    insecure_skip_tls_verify: bool,
    certificate_authority: Option<PathBuf>,
    certificate_authority_data: Option<String>,
    proxy_url: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct UserEntry {
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<String>,
    client_key: Option<PathBuf>,
    client_key_data: Option<String>,
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
    #[serde(rename = "as")]
    as_user: Option<String>,
    as_uid: Option<String>,
    as_groups: Option<Vec<String>>,
    as_user_extra: Option<HashMap<String, Vec<String>>>,
    username: Option<String>,
    password: Option<String>,
    auth_provider: Option<AuthProvider>,
    exec: Option<ExecEntry>,
}

#[derive(Deserialize)]
struct AuthProvider {
    #[serde(default)]
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ExecEntry {
    api_version: String,
    command: String,
    args: Option<Vec<String>>,
    env: Option<Vec<Variable>>,
    install_hint: Option<String>,
    provide_cluster_info: bool,
    interactive_mode: Option<String>,
}

#[derive(Deserialize)]
struct Variable {
    name: String,
    value: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ContextEntry {
    cluster: String,
    user: String,
    namespace: Option<String>,
}

/// Finds the cluster that the options mean.
pub(super) fn find(options: &Options) -> Result<Access, Error> {
    if let Some(path) = &options.kubeconfig {
        return choose(vec![(path.clone(), read(path)?)], options);
    }
    let environment = &options.environment;
    let mut looked = Vec::new();
    let paths: Vec<PathBuf> = match environment.get("KUBECONFIG") {
        Some(list) => {
            looked.push(format!("KUBECONFIG={list}"));
            std::env::split_paths(list).filter(|path| !path.as_os_str().is_empty()).take(MAX_FILES).collect()
        }
        None => {
            looked.push("~/.kube/config".to_owned());
            environment.path("HOME").map(|home| home.join(".kube/config")).into_iter().collect()
        }
    };
    let mut configs = Vec::new();
    for path in paths {
        // As kubectl does: a list may name files that are not there yet.
        if files::is_file(&path) {
            let config = read(&path)?;
            configs.push((path, config));
        }
    }
    if !configs.is_empty() {
        return choose(configs, options);
    }
    if let Some(access) = account::find(environment)? {
        return Ok(access);
    }
    looked.push("the service account of a pod".to_owned());
    Err(Error::NoConfig { looked: looked.join(", ") })
}

fn read(path: &Path) -> Result<Config, Error> {
    let bad = |problem| Error::Config { file: path.to_owned(), problem };
    let bytes = files::read_limited(path, MAX_CONFIG).map_err(|cause| bad(cause.into()))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| bad(ConfigProblem::Text))?;
    let documents = yaml::documents(text, &yaml::Options::default()).map_err(|cause| bad(cause.into()))?;
    let Some(document) = documents.into_iter().find(|document| !document.is_null()) else {
        return Ok(Config::default());
    };
    let value = document.to_json().map_err(|cause| bad(cause.into()))?;
    serde_json::from_value(value).map_err(|cause| bad(ConfigProblem::Shape(cause.to_string())))
}

fn entry<'a>(
    configs: &'a [(PathBuf, Config)],
    list: fn(&Config) -> &Option<Vec<Named>>,
    name: &str,
) -> Option<(&'a Path, &'a serde_json::Value)> {
    configs.iter().find_map(|(path, config)| {
        let found = list(config).iter().flatten().find(|named| named.name == name)?;
        Some((path.as_path(), &found.cluster))
    })
}

fn parsed<T: Default + for<'de> Deserialize<'de>>(file: &Path, body: &serde_json::Value) -> Result<T, Error> {
    if body.is_null() {
        return Ok(T::default());
    }
    T::deserialize(body)
        .map_err(|cause| Error::Config { file: file.to_owned(), problem: ConfigProblem::Shape(cause.to_string()) })
}

fn choose(configs: Vec<(PathBuf, Config)>, options: &Options) -> Result<Access, Error> {
    let first = configs.first().map(|(path, _)| path.clone()).unwrap_or_default();
    let names = || {
        let mut names: Vec<&str> =
            configs.iter().flat_map(|(_, config)| config.contexts.iter().flatten()).map(|c| c.name.as_str()).collect();
        names.dedup();
        if names.is_empty() { "there are no contexts".to_owned() } else { names.join(", ") }
    };
    let current = || configs.iter().find_map(|(_, config)| config.current_context.clone().filter(|c| !c.is_empty()));
    let Some(name) = options.context.clone().or_else(current) else {
        return Err(Error::Config { file: first, problem: ConfigProblem::NoContext(names()) });
    };
    let Some((file, body)) = entry(&configs, |config| &config.contexts, &name) else {
        return Err(Error::Config { file: first, problem: ConfigProblem::UnknownContext(name, names()) });
    };
    let context: ContextEntry = parsed(file, body)?;
    let file = file.to_owned();
    let dangling = |what, missing: &str| Error::Config {
        file: file.clone(),
        problem: ConfigProblem::Dangling { context: name.clone(), what, name: missing.to_owned() },
    };
    let (cluster_file, body) =
        entry(&configs, |config| &config.clusters, &context.cluster).ok_or(dangling("cluster", &context.cluster))?;
    let cluster: ClusterEntry = parsed(cluster_file, body)?;
    let (user_file, user) = if context.user.is_empty() {
        (file.as_path(), UserEntry::default())
    } else {
        let (user_file, body) =
            entry(&configs, |config| &config.users, &context.user).ok_or(dangling("user", &context.user))?;
        (user_file, parsed(user_file, body)?)
    };
    let mut access = reach(cluster_file, &context.cluster, cluster)?;
    identify(user_file, &context.user, user, &mut access)?;
    access.file = file.clone();
    access.context = name;
    if let Some(namespace) = context.namespace.filter(|namespace| !namespace.is_empty()) {
        access.namespace = namespace;
    }
    Ok(access)
}

fn beside(file: &Path, path: PathBuf) -> PathBuf {
    match file.parent() {
        Some(folder) => folder.join(path),
        None => path,
    }
}

/// Takes what is given in place, else what is in a file; an empty text counts as not given.
fn pem(
    file: &Path,
    what: &'static str,
    data: Option<String>,
    path: Option<PathBuf>,
) -> Result<Option<Pem>, ConfigProblem> {
    if let Some(data) = data.filter(|data| !data.is_empty()) {
        let data: String = data.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let bytes = STANDARD.decode(data).map_err(|_| ConfigProblem::Base64(what))?;
        let text = String::from_utf8(bytes).map_err(|_| ConfigProblem::Base64(what))?;
        return Ok(Some(Pem::Text(Secret::new(text))));
    }
    Ok(path.filter(|path| !path.as_os_str().is_empty()).map(|path| Pem::File(beside(file, path))))
}

fn reach(file: &Path, name: &str, entry: ClusterEntry) -> Result<Access, Error> {
    let bad = |problem| Error::Config { file: file.to_owned(), problem };
    let named = || name.to_owned();
    let server = if entry.server.contains("://") { entry.server.clone() } else { format!("https://{}", entry.server) };
    let usable = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
    };
    let server = Some(server)
        .filter(|_| !entry.server.is_empty())
        .and_then(|server| Url::parse(&server).ok())
        .filter(usable)
        .ok_or_else(|| bad(ConfigProblem::Server(named())))?;
    let ca = pem(file, "certificate-authority-data", entry.certificate_authority_data, entry.certificate_authority)
        .map_err(bad)?;
    if ca.is_some() && entry.insecure_skip_tls_verify {
        return Err(bad(ConfigProblem::AuthorityAndInsecure(named())));
    }
    let proxy = entry.proxy_url.filter(|proxy| !proxy.is_empty());
    if let Some(proxy) = &proxy
        && !Url::parse(proxy).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
    {
        return Err(bad(ConfigProblem::Proxy(named())));
    }
    let server_name = entry.tls_server_name.filter(|name| !name.is_empty());
    if server_name.is_some() && proxy.is_some() {
        return Err(bad(ConfigProblem::ServerNameAndProxy(named())));
    }
    Ok(Access {
        file: file.to_owned(),
        context: String::new(),
        namespace: "default".to_owned(),
        server,
        server_name,
        ca,
        insecure: entry.insecure_skip_tls_verify,
        proxy: proxy.map(Secret::new),
        client: None,
        proof: Proof::None,
        impersonate: Vec::new(),
    })
}

fn identify(file: &Path, name: &str, user: UserEntry, access: &mut Access) -> Result<(), Error> {
    let bad = |problem| Error::Config { file: file.to_owned(), problem };
    if let Some(provider) = user.auth_provider {
        return Err(bad(ConfigProblem::AuthProvider { user: name.to_owned(), provider: provider.name }));
    }
    let cert = pem(file, "client-certificate-data", user.client_certificate_data, user.client_certificate);
    let key = pem(file, "client-key-data", user.client_key_data, user.client_key);
    access.client = match (cert.map_err(bad)?, key.map_err(bad)?) {
        (Some(cert), Some(key)) => Some(ClientPair { cert, key }),
        (None, None) => None,
        _ => return Err(bad(ConfigProblem::HalfPair(name.to_owned()))),
    };
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    // As client-go: a token file counts before a token, both before a password, all before a plugin.
    access.proof = if let Some(path) = user.token_file.filter(|path| !path.as_os_str().is_empty()) {
        Proof::TokenFile(beside(file, path))
    } else if let Some(token) = given(user.token) {
        Proof::Token(Secret::new(token))
    } else if let (Some(username), password) = (given(user.username), user.password) {
        Proof::Basic(username, Secret::new(password.unwrap_or_default()))
    } else if let Some(exec) = user.exec {
        Proof::Plugin(Box::new(plugin(file, name, exec, access)?))
    } else {
        Proof::None
    };
    let mut impersonate = Vec::new();
    impersonate.extend(given(user.as_user).map(|value| ("Impersonate-User".to_owned(), value)));
    impersonate.extend(given(user.as_uid).map(|value| ("Impersonate-Uid".to_owned(), value)));
    impersonate.extend(user.as_groups.into_iter().flatten().map(|value| ("Impersonate-Group".to_owned(), value)));
    for (key, values) in user.as_user_extra.into_iter().flatten() {
        impersonate.extend(values.into_iter().map(|value| (format!("Impersonate-Extra-{key}"), value)));
    }
    access.impersonate = impersonate;
    Ok(())
}

fn plugin(file: &Path, name: &str, exec: ExecEntry, access: &Access) -> Result<Plugin, Error> {
    let known = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];
    if exec.command.is_empty() || !known.contains(&exec.api_version.as_str()) {
        return Err(Error::Config { file: file.to_owned(), problem: ConfigProblem::Exec(name.to_owned()) });
    }
    // As client-go: a command with a slash in it is a path, relative to the kubeconfig.
    let command = match exec.command.contains('/') {
        true => beside(file, PathBuf::from(&exec.command)).to_string_lossy().into_owned(),
        false => exec.command,
    };
    let cluster = exec.provide_cluster_info.then(|| {
        let mut info = serde_json::json!({"server": access.server.as_str()});
        if let Some(name) = &access.server_name {
            info["tls-server-name"] = name.as_str().into();
        }
        if access.insecure {
            info["insecure-skip-tls-verify"] = true.into();
        }
        if let Some(Pem::Text(text)) = &access.ca {
            info["certificate-authority-data"] = STANDARD.encode(text.expose()).into();
        }
        info
    });
    Ok(Plugin {
        api_version: exec.api_version,
        command,
        args: exec.args.unwrap_or_default(),
        env: exec.env.into_iter().flatten().map(|variable| (variable.name, variable.value)).collect(),
        install_hint: exec.install_hint,
        interactive: exec.interactive_mode.as_deref() == Some("Always"),
        cluster,
    })
}
