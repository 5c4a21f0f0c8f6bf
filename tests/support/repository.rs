//! A Helm repository over HTTP, and charts to put into it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use airgap_bundler::{
    files,
    oci::Digest,
    serve::{self, Options, Running},
    tree::Tree,
};
use axum::{
    Router,
    extract::Request,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::any,
};
use bytes::Bytes;

use super::{
    certificates::Certificates,
    registry::{basic, wait_for},
};

/// Tells of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub path: String,
    pub authorization: Option<String>,
}

#[derive(Clone)]
enum Answer {
    Bytes(Bytes),
    Status(u16),
    Redirect(String),
}

#[derive(Default)]
struct State {
    answers: BTreeMap<String, Answer>,
    login: Option<(String, String)>,
    asked: Vec<Asked>,
}

/// Is a repository on a port of its own; dropping it stops it.
pub struct Repository {
    running: Running,
    secure: bool,
    state: Arc<Mutex<State>>,
    index: Mutex<BTreeMap<String, Vec<String>>>,
}

impl Repository {
    pub fn start() -> Repository {
        Repository::with(None)
    }

    /// Starts one that speaks TLS.
    pub fn secure(certificates: &Certificates) -> Repository {
        Repository::with(Some(serve::Tls {
            certificates: certificates.server.clone().into_bytes(),
            key: certificates.server_key.clone().into_bytes(),
            client_roots: None,
        }))
    }

    fn with(tls: Option<serve::Tls>) -> Repository {
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        let router = Router::new().fallback(any(move |request: Request| answer(request, Arc::clone(&shared))));
        let secure = tls.is_some();
        let options = Options { tls, ..Options::default() };
        let running = wait_for(async move { serve::listen(&options, router).await }).unwrap();
        Repository { running, secure, state, index: Mutex::default() }
    }

    pub fn addr(&self) -> SocketAddr {
        self.running.addr()
    }

    /// Returns `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.addr().to_string()
    }

    pub fn url(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, self.addr())
    }

    /// Asks everybody for this login.
    pub fn wants(&self, user: &str, password: &str) {
        self.state.lock().unwrap().login = Some((user.to_owned(), password.to_owned()));
    }

    pub fn put(&self, path: &str, bytes: impl Into<Bytes>) {
        self.state.lock().unwrap().answers.insert(path.to_owned(), Answer::Bytes(bytes.into()));
    }

    pub fn fails(&self, path: &str, status: u16) {
        self.state.lock().unwrap().answers.insert(path.to_owned(), Answer::Status(status));
    }

    pub fn redirects(&self, path: &str, to: &str) {
        self.state.lock().unwrap().answers.insert(path.to_owned(), Answer::Redirect(to.to_owned()));
    }

    /// Publishes an archive, and lists it in `/index.yaml` with its digest.
    pub fn publish(&self, name: &str, version: &str, archive: &[u8]) {
        let file = format!("{name}-{version}.tgz");
        self.put(&format!("/{file}"), archive.to_vec());
        self.list(name, &format!("version: {version}, urls: [{file}], digest: {}", Digest::sha256(archive).hex()));
    }

    /// Adds an entry to `/index.yaml`, given as the fields behind the name.
    pub fn list(&self, name: &str, fields: &str) {
        let mut index = self.index.lock().unwrap();
        index.entry(name.to_owned()).or_default().push(format!("  - {{name: {name}, {fields}}}\n"));
        let entries: String = index.iter().map(|(name, all)| format!("  {name}:\n{}", all.concat())).collect();
        self.put("/index.yaml", format!("apiVersion: v1\nentries:\n{entries}"));
    }

    pub fn forget(&self, name: &str) {
        self.index.lock().unwrap().remove(name);
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    /// Returns how often a path was asked for.
    pub fn times(&self, path: &str) -> usize {
        self.asked().iter().filter(|asked| asked.path == path).count()
    }
}

async fn answer(request: Request, state: Arc<Mutex<State>>) -> Response {
    let path = request.uri().path().to_owned();
    let authorization = request.headers().get(header::AUTHORIZATION).map(|text| text.to_str().unwrap().to_owned());
    let mut state = state.lock().unwrap();
    state.asked.push(Asked { path: path.clone(), authorization: authorization.clone() });
    if let Some((user, password)) = &state.login
        && authorization != Some(basic(user, password))
    {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    match state.answers.get(&path) {
        None => StatusCode::NOT_FOUND.into_response(),
        Some(Answer::Bytes(bytes)) => bytes.clone().into_response(),
        Some(Answer::Status(status)) => StatusCode::from_u16(*status).unwrap().into_response(),
        Some(Answer::Redirect(to)) => (StatusCode::FOUND, [(header::LOCATION, to.clone())]).into_response(),
    }
}

/// Packs files as a chart; paths are below the chart.
pub fn archive(name: &str, files: &[(&str, &str)]) -> Vec<u8> {
    let tree: Tree = files
        .iter()
        .map(|(path, text)| (format!("{name}/{path}").parse().unwrap(), Bytes::copy_from_slice(text.as_bytes())))
        .collect();
    files::gzip(&files::pack(&tree).unwrap()).unwrap()
}

/// Returns a template with a pod of an image.
pub fn pod(image: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {{{{ .Release.Name }}}}}}\nspec:\n  containers:\n  - {{name: a, image: \"{image}\"}}\n"
    )
}

/// Packs a chart with one pod, whose image is `IMAGE:VERSION`, and with what else `Chart.yaml` shall say.
pub fn simple(name: &str, version: &str, more: &str) -> Vec<u8> {
    let chart = format!("apiVersion: v2\nname: {name}\nversion: {version}\n{more}");
    archive(
        name,
        &[("Chart.yaml", &chart), ("templates/pod.yaml", &pod(&format!("{name}:{}", version.replace('+', "_"))))],
    )
}
