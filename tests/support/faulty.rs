//! A registry in memory that misbehaves on demand: quirks that last, and faults that strike a number of times.

use std::{
    collections::HashMap,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use airgap_bundler::{net::Url, oci::Digest};
use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request, State, connect_info::Connected},
    http::{HeaderMap, HeaderValue, StatusCode, header::HeaderName},
    response::Response,
    serve::{IncomingStream, Listener},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpListener,
};

/// One request as it came in.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// The `Host` header: one server is several origins under several names.
    pub host: String,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.path.contains(part)
    }

    pub fn param(&self, name: &str) -> Option<String> {
        let url: Url = format!("http://x/?{}", self.query).parse().unwrap();
        url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
    }

    /// Everything that the request says, for a search of what it must not say.
    pub fn text(&self) -> String {
        let headers: Vec<_> = self.headers.iter().map(|(n, v)| format!("{n}: {:?}", v)).collect();
        format!(
            "{} {}?{}\n{}\n{}",
            self.method,
            self.path,
            self.query,
            headers.join("\n"),
            String::from_utf8_lossy(&self.body)
        )
    }
}

/// An answer before it is sent, for faults to change.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// Overrides `Content-Length`, for HEAD and for lies.
    pub length: Option<u64>,
    /// Breaks the connection after so many bytes of the body.
    pub cut: Option<usize>,
    /// Sends nothing more after so many bytes, and keeps the connection.
    pub stall: Option<usize>,
    /// Waits after each byte.
    pub trickle: Option<Duration>,
    /// Breaks the connection before the head.
    pub reset: bool,
    /// Does not say how long the body is.
    pub chunked: bool,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Reply { status, ..Reply::default() }
    }

    pub fn error(status: u16, code: &str) -> Self {
        let body = format!(r#"{{"errors":[{{"code":"{code}","message":"as the test wants it"}}]}}"#);
        Reply::status(status).with("content-type", "application/json").body(body)
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.without(name);
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn without(&mut self, name: &str) {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

type Test = Box<dyn Fn(&Seen) -> bool + Send + Sync>;
type Change = Box<dyn Fn(&Seen, &mut Reply) + Send + Sync>;

struct Fault {
    on: Test,
    left: usize,
    /// Instead of doing what was asked, or to the answer after it was done.
    instead: bool,
    change: Change,
}

/// What a registry is like, for as long as it lives.
#[derive(Clone, Debug)]
pub struct Quirks {
    /// Takes `PUT` with the whole body; else answers 404, as old Artifactory.
    pub whole_put: bool,
    /// Answers `PATCH` with this; 405 means that it has none.
    pub patch: u16,
    /// Refuses larger bodies with 413, as a proxy in front does.
    pub max_body: Option<usize>,
    /// Refuses larger chunks with 416, as GitHub's.
    pub max_chunk: Option<usize>,
    /// Announces this and refuses smaller chunks.
    pub min_chunk: Option<usize>,
    /// Accepts chunks after the first and drops them, as Amazon's.
    pub drops_chunks: bool,
    /// What stands before the path in `Location`; empty: relative.
    pub location_base: String,
    pub location_query: String,
    /// Answers mounts with this; 201 does it.
    pub mount: u16,
    /// Keeps lists of referrers and says so.
    pub referrers: bool,
    pub immutable_tags: bool,
    pub ranges: bool,
    pub content_digest: bool,
    pub head: bool,
    /// Wants this `Authorization`.
    pub basic: Option<String>,
    /// Wants tokens of its own `/token`, valid so long.
    pub tokens: Option<Duration>,
    /// Where the challenge says that tokens are; default: its own `/token`.
    pub realm: Option<String>,
    /// What the token server says of their lifetime; default: the truth.
    pub announced_life: Option<u64>,
}

impl Default for Quirks {
    fn default() -> Self {
        Quirks {
            whole_put: true,
            patch: 202,
            max_body: None,
            max_chunk: None,
            min_chunk: None,
            drops_chunks: false,
            location_base: String::new(),
            location_query: String::new(),
            mount: 201,
            referrers: false,
            immutable_tags: false,
            ranges: true,
            content_digest: true,
            head: true,
            basic: None,
            tokens: None,
            realm: None,
            announced_life: None,
        }
    }
}

/// What the registry holds and has seen.
#[derive(Default)]
pub struct Store {
    pub blobs: Mutex<HashMap<(String, Digest), Bytes>>,
    /// By repository and tag or digest: media type and bytes.
    pub manifests: Mutex<HashMap<(String, String), (String, Bytes)>>,
    uploads: Mutex<HashMap<u64, Vec<u8>>>,
    tokens: Mutex<HashMap<String, (Instant, String)>>,
    pub seen: Mutex<Vec<Seen>>,
    faults: Mutex<Vec<Fault>>,
    quirks: Mutex<Quirks>,
    count: AtomicU64,
}

/// A running registry; stopped when dropped.
pub struct Faulty {
    pub store: Arc<Store>,
    pub port: u16,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Faulty {
    pub async fn start(quirks: Quirks) -> Self {
        Self::start_with(quirks, None).await
    }

    /// Starts with TLS, or without.
    pub async fn start_with(quirks: Quirks, tls: Option<rustls::ServerConfig>) -> Self {
        let store = Arc::new(Store { quirks: Mutex::new(quirks), ..Store::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let tls = tls.map(|config| tokio_rustls::TlsAcceptor::from(Arc::new(config)));
        let app = Router::new().fallback(serve).with_state(store.clone());
        let service = app.into_make_service_with_connect_info::<Connection>();
        let task = tokio::spawn(async move { axum::serve(Door { listener, tls }, service).await.unwrap() });
        Faulty { store, port, task }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The same server under another name: another origin.
    pub fn stranger(&self) -> String {
        format!("localhost:{}", self.port)
    }

    pub fn set(&self, change: impl FnOnce(&mut Quirks)) {
        change(&mut self.store.quirks.lock().unwrap());
    }

    /// Answers `times` requests otherwise, without doing what they ask.
    pub fn instead(
        &self,
        times: usize,
        on: impl Fn(&Seen) -> bool + Send + Sync + 'static,
        change: impl Fn(&Seen, &mut Reply) + Send + Sync + 'static,
    ) {
        let fault = Fault { on: Box::new(on), left: times, instead: true, change: Box::new(change) };
        self.store.faults.lock().unwrap().push(fault);
    }

    /// Does what is asked and changes the answer, `times` times.
    pub fn after(
        &self,
        times: usize,
        on: impl Fn(&Seen) -> bool + Send + Sync + 'static,
        change: impl Fn(&Seen, &mut Reply) + Send + Sync + 'static,
    ) {
        let fault = Fault { on: Box::new(on), left: times, instead: false, change: Box::new(change) };
        self.store.faults.lock().unwrap().push(fault);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.store.seen.lock().unwrap().clone()
    }

    pub fn count(&self, method: &str, part: &str) -> usize {
        self.seen().iter().filter(|seen| seen.is(method, part)).count()
    }

    pub fn blob(&self, digest: &Digest) -> Option<Bytes> {
        let blobs = self.store.blobs.lock().unwrap();
        blobs.iter().find(|((_, known), _)| known == digest).map(|(_, bytes)| bytes.clone())
    }

    /// Puts content in place, as if somebody had pushed it.
    pub fn hold(&self, repository: &str, blobs: impl IntoIterator<Item = Bytes>) {
        let mut held = self.store.blobs.lock().unwrap();
        held.extend(blobs.into_iter().map(|bytes| ((repository.to_owned(), Digest::sha256(&bytes)), bytes)));
    }

    pub fn hold_manifest(&self, repository: &str, names: &[&str], media_type: &str, bytes: &Bytes) {
        let mut held = self.store.manifests.lock().unwrap();
        let digest = Digest::sha256(bytes).to_string();
        for name in names.iter().copied().chain([digest.as_str()]) {
            held.insert((repository.to_owned(), name.to_owned()), (media_type.to_owned(), bytes.clone()));
        }
    }

    /// Makes every token invalid that was given so far.
    pub fn forget_tokens(&self) {
        self.store.tokens.lock().unwrap().clear();
    }
}

async fn serve(
    State(store): State<Arc<Store>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    // A body that breaks off is no request at all.
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
        connection.broken.store(true, Ordering::SeqCst);
        return Response::new(Body::empty());
    };
    let seen = Seen {
        method: head.method.to_string(),
        host: head.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body,
    };
    store.seen.lock().unwrap().push(seen.clone());
    let mut fault = None;
    {
        let mut faults = store.faults.lock().unwrap();
        if let Some(at) = faults.iter().position(|fault| fault.left > 0 && (fault.on)(&seen)) {
            faults[at].left -= 1;
            fault = Some(at);
        }
    }
    let instead = fault.is_some_and(|at| store.faults.lock().unwrap()[at].instead);
    let mut reply = if instead { Reply::default() } else { store.answer(&seen) };
    if let Some(at) = fault {
        (store.faults.lock().unwrap()[at].change)(&seen, &mut reply);
    }
    send(reply, &seen, &connection)
}

fn send(reply: Reply, seen: &Seen, connection: &Connection) -> Response {
    if reply.reset {
        connection.broken.store(true, Ordering::SeqCst);
        return Response::new(Body::empty());
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap();
    for (name, value) in &reply.headers {
        let name: HeaderName = name.parse().unwrap();
        response.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
    }
    let length = reply.length.unwrap_or(reply.body.len() as u64);
    if reply.status != 204 && reply.trickle.is_none() && !reply.chunked {
        response.headers_mut().insert("content-length", HeaderValue::from(length));
    }
    if seen.method == "HEAD" {
        return response;
    }
    let broken = || Err(io::Error::other("cut by the test"));
    *response.body_mut() = if let Some(pause) = reply.trickle {
        let bytes = reply.body.clone();
        Body::from_stream(stream::iter(0..bytes.len()).then(move |at| {
            let byte = bytes.slice(at..at + 1);
            async move {
                tokio::time::sleep(pause).await;
                Ok::<_, io::Error>(byte)
            }
        }))
    } else if let Some(at) = reply.cut {
        let parts = [Ok(reply.body.slice(..at.min(reply.body.len()))), broken()];
        Body::from_stream(stream::iter(parts).then(|part| async {
            // Lets what was written before go out.
            tokio::time::sleep(Duration::from_millis(2)).await;
            part
        }))
    } else if let Some(at) = reply.stall {
        let part: Result<Bytes, io::Error> = Ok(reply.body.slice(..at.min(reply.body.len())));
        Body::from_stream(stream::iter([part]).chain(stream::pending()))
    } else if reply.chunked {
        Body::from_stream(stream::iter([Ok::<_, io::Error>(reply.body)]))
    } else {
        Body::from(reply.body)
    };
    response
}

impl Store {
    fn answer(&self, seen: &Seen) -> Reply {
        let quirks = self.quirks.lock().unwrap().clone();
        if seen.path == "/token" {
            return self.token(seen, &quirks);
        }
        if let Some(refused) = self.refuse(seen, &quirks) {
            return refused;
        }
        let path = seen.path.trim_start_matches("/v2/");
        let (head, last) = path.rsplit_once('/').unwrap_or((path, ""));
        if path.is_empty() {
            return Reply::status(200).body("{}");
        }
        if let Some((repository, _)) = path.split_once("/blobs/uploads/") {
            return self.upload(seen, repository, last, &quirks);
        }
        if let Some(repository) = head.strip_suffix("/blobs") {
            return self.blob(seen, repository, last, &quirks);
        }
        if let Some(repository) = head.strip_suffix("/manifests") {
            return self.manifest(seen, repository, last, &quirks);
        }
        if let Some(repository) = head.strip_suffix("/referrers") {
            return self.referrers(repository, last, &quirks);
        }
        if let Some(repository) = path.strip_suffix("/tags/list") {
            return self.tags(seen, repository);
        }
        Reply::error(404, "NAME_UNKNOWN")
    }

    fn refuse(&self, seen: &Seen, quirks: &Quirks) -> Option<Reply> {
        let shown = seen.header("authorization");
        if let Some(wanted) = &quirks.basic
            && quirks.tokens.is_none()
            && shown != Some(wanted)
        {
            return Some(Reply::error(401, "UNAUTHORIZED").with("www-authenticate", "BASIC realm=\"test\""));
        }
        if quirks.tokens.is_some() || quirks.realm.is_some() {
            let repository = seen.path.trim_start_matches("/v2/").split("/blobs/").next().unwrap_or_default();
            let repository = repository.split("/manifests/").next().unwrap_or_default();
            let repository = repository.trim_end_matches("/tags/list").split("/referrers/").next().unwrap_or_default();
            let write = !matches!(seen.method.as_str(), "GET" | "HEAD");
            let scope = format!("repository:{repository}:{}", if write { "pull,push" } else { "pull" });
            let good = shown.and_then(|shown| shown.strip_prefix("Bearer ")).is_some_and(|token| {
                self.tokens.lock().unwrap().get(token).is_some_and(|(until, scopes)| {
                    *until > Instant::now()
                        && scopes.split(' ').any(|one| {
                            one.starts_with(&format!("repository:{repository}:"))
                                && one.contains("pull")
                                && (!write || one.contains("push"))
                        })
                })
            });
            if !good {
                let realm = quirks.realm.clone().unwrap_or_else(|| format!("http://{}/token", seen.host));
                let challenge = format!(r#"Bearer realm="{realm}",service="test",scope="{scope}""#);
                return Some(Reply::error(401, "UNAUTHORIZED").with("www-authenticate", challenge));
            }
        }
        None
    }

    fn token(&self, seen: &Seen, quirks: &Quirks) -> Reply {
        let form = String::from_utf8_lossy(&seen.body).into_owned();
        let by_form = form.contains("grant_type=refresh_token");
        if let Some(wanted) = &quirks.basic
            && seen.header("authorization") != Some(wanted)
            && !(by_form && form.contains(wanted))
        {
            return Reply::error(401, "UNAUTHORIZED");
        }
        let url: Url =
            format!("http://x/?{}", if by_form { form.as_str() } else { seen.query.as_str() }).parse().unwrap();
        let scopes: Vec<_> =
            url.query_pairs().filter(|(name, _)| name == "scope").map(|(_, scope)| scope.into_owned()).collect();
        let life = quirks.tokens.unwrap_or(Duration::from_secs(60));
        let token = format!("token-{}", self.count.fetch_add(1, Ordering::SeqCst));
        self.tokens.lock().unwrap().insert(token.clone(), (Instant::now() + life, scopes.join(" ")));
        let announced = quirks.announced_life.unwrap_or(life.as_secs());
        Reply::status(200).body(format!(r#"{{"access_token":"{token}","expires_in":{announced}}}"#))
    }

    fn blob(&self, seen: &Seen, repository: &str, digest: &str, quirks: &Quirks) -> Reply {
        let Ok(digest) = digest.parse::<Digest>() else { return Reply::error(400, "DIGEST_INVALID") };
        let Some(bytes) = self.blobs.lock().unwrap().get(&(repository.to_owned(), digest)).cloned() else {
            return Reply::error(404, "BLOB_UNKNOWN");
        };
        let range = seen.header("range").filter(|_| quirks.ranges).and_then(|range| {
            let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
            Some((first.parse::<usize>().ok()?, last.parse::<usize>().ok()?))
        });
        match range {
            Some((first, _)) if first >= bytes.len() => {
                Reply::status(416).with("content-range", format!("bytes */{}", bytes.len()))
            }
            Some((first, last)) => {
                let last = last.min(bytes.len() - 1);
                Reply::status(206)
                    .with("content-range", format!("bytes {first}-{last}/{}", bytes.len()))
                    .body(bytes.slice(first..=last))
            }
            None => Reply::status(200).with("docker-content-digest", digest.to_string()).body(bytes),
        }
    }

    fn manifest(&self, seen: &Seen, repository: &str, name: &str, quirks: &Quirks) -> Reply {
        let key = (repository.to_owned(), name.to_owned());
        let held = self.manifests.lock().unwrap().get(&key).cloned();
        match seen.method.as_str() {
            "PUT" => {
                let digest = Digest::sha256(&seen.body).to_string();
                let by_digest = name.contains(':');
                if by_digest && name != digest {
                    return Reply::error(400, "DIGEST_INVALID");
                }
                if quirks.immutable_tags && !by_digest && held.is_some() {
                    return Reply::error(409, "TAG_INVALID");
                }
                let content_type = seen.header("content-type").unwrap_or_default().to_owned();
                let mut held = self.manifests.lock().unwrap();
                let value = (content_type, seen.body.clone());
                held.insert((repository.to_owned(), digest.clone()), value.clone());
                held.insert(key, value);
                let view: serde_json::Value = serde_json::from_slice(&seen.body).unwrap_or_default();
                let mut reply = Reply::status(201).with("location", format!("/v2/{repository}/manifests/{digest}"));
                if quirks.content_digest {
                    reply = reply.with("docker-content-digest", digest);
                }
                if let Some(subject) = view["subject"]["digest"].as_str().filter(|_| quirks.referrers) {
                    reply = reply.with("oci-subject", subject);
                }
                reply
            }
            "DELETE" => match self.manifests.lock().unwrap().remove(&key) {
                Some(_) => Reply::status(202),
                None => Reply::error(404, "MANIFEST_UNKNOWN"),
            },
            "HEAD" if !quirks.head => Reply::status(405),
            _ => match held {
                None => Reply::error(404, "MANIFEST_UNKNOWN"),
                Some((media_type, bytes)) => {
                    let mut reply = Reply::status(200).with("content-type", media_type);
                    if quirks.content_digest {
                        reply = reply.with("docker-content-digest", Digest::sha256(&bytes).to_string());
                    }
                    reply.body(bytes)
                }
            },
        }
    }

    fn referrers(&self, repository: &str, digest: &str, quirks: &Quirks) -> Reply {
        if !quirks.referrers {
            return Reply::error(404, "NOT_FOUND");
        }
        let mut list = Vec::new();
        for ((known, name), (media_type, bytes)) in self.manifests.lock().unwrap().iter() {
            let view: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
            if known == repository && name.contains(':') && view["subject"]["digest"] == digest {
                list.push(serde_json::json!({"mediaType": media_type, "digest": name, "size": bytes.len()}));
            }
        }
        let index = serde_json::json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": list
        });
        Reply::status(200).with("content-type", "application/vnd.oci.image.index.v1+json").body(index.to_string())
    }

    fn tags(&self, seen: &Seen, repository: &str) -> Reply {
        let mut tags: Vec<String> = self
            .manifests
            .lock()
            .unwrap()
            .keys()
            .filter(|(known, name)| known == repository && !name.contains(':'))
            .map(|(_, name)| name.clone())
            .collect();
        tags.sort();
        let last = seen.param("last").unwrap_or_default();
        let page: Vec<_> = tags.iter().filter(|tag| **tag > last).take(2).cloned().collect();
        let mut reply = Reply::status(200);
        if let Some(end) = page.last().filter(|end| Some(*end) != tags.last()) {
            reply = reply.with("link", format!("</v2/{repository}/tags/list?n=2&last={end}>; rel=\"next\""));
        }
        reply.body(serde_json::json!({"name": repository, "tags": page}).to_string())
    }

    fn upload(&self, seen: &Seen, repository: &str, id: &str, quirks: &Quirks) -> Reply {
        let location =
            |id: u64| format!("{}/v2/{repository}/blobs/uploads/{id}{}", quirks.location_base, quirks.location_query);
        if seen.method == "POST" {
            if let (Some(digest), Some(from)) = (seen.param("mount"), seen.param("from")) {
                let digest: Digest = digest.parse().unwrap();
                if quirks.mount == 201 {
                    let bytes = self.blobs.lock().unwrap().get(&(from, digest)).cloned();
                    if let Some(bytes) = bytes {
                        self.blobs.lock().unwrap().insert((repository.to_owned(), digest), bytes);
                        return Reply::status(201).with("docker-content-digest", digest.to_string());
                    }
                } else if quirks.mount == 299 {
                    // Says yes and does nothing.
                    return Reply::status(201).with("docker-content-digest", digest.to_string());
                } else if quirks.mount != 202 {
                    return Reply::error(quirks.mount, "UNSUPPORTED");
                }
            }
            let id = self.count.fetch_add(1, Ordering::SeqCst);
            self.uploads.lock().unwrap().insert(id, Vec::new());
            let mut reply = Reply::status(202).with("location", location(id)).with("range", "0-0");
            if let Some(least) = quirks.min_chunk {
                reply = reply.with("oci-chunk-min-length", least.to_string());
            }
            return reply;
        }
        let Ok(id) = id.parse::<u64>() else { return Reply::error(404, "BLOB_UPLOAD_UNKNOWN") };
        // The session's own query must come back byte for byte.
        let own = quirks.location_query.trim_start_matches('?');
        if !seen.query.starts_with(own) {
            return Reply::error(400, "BLOB_UPLOAD_INVALID");
        }
        let mut uploads = self.uploads.lock().unwrap();
        let Some(upload) = uploads.get_mut(&id) else { return Reply::error(404, "BLOB_UPLOAD_UNKNOWN") };
        let range = |upload: &[u8]| format!("0-{}", upload.len().saturating_sub(1));
        match seen.method.as_str() {
            "GET" => Reply::status(204).with("location", location(id)).with("range", range(upload)),
            "DELETE" => {
                uploads.remove(&id);
                Reply::status(204)
            }
            "PATCH" => {
                if quirks.patch == 405 {
                    return Reply::error(405, "UNSUPPORTED");
                }
                if quirks.max_body.is_some_and(|most| seen.body.len() > most) {
                    return Reply::status(413);
                }
                if quirks.max_chunk.is_some_and(|most| seen.body.len() > most) {
                    return Reply::status(416).with("range", range(upload));
                }
                if let Some(content_range) = seen.header("content-range") {
                    let (first, last) = content_range.split_once('-').unwrap();
                    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
                    if first != upload.len() || last + 1 - first != seen.body.len() {
                        return Reply::status(416).with("location", location(id)).with("range", range(upload));
                    }
                }
                if !(quirks.drops_chunks && !upload.is_empty()) {
                    upload.extend_from_slice(&seen.body);
                }
                Reply::status(quirks.patch).with("location", location(id)).with("range", range(upload))
            }
            "PUT" => {
                if !quirks.whole_put && !seen.body.is_empty() {
                    return Reply::error(404, "UNSUPPORTED");
                }
                if quirks.max_body.is_some_and(|most| seen.body.len() > most) {
                    return Reply::status(413);
                }
                upload.extend_from_slice(&seen.body);
                let wanted: Digest = seen.param("digest").unwrap().parse().unwrap();
                let bytes = Bytes::from(uploads.remove(&id).unwrap());
                if wanted.same_algorithm(&bytes) != wanted {
                    return Reply::error(400, "DIGEST_INVALID");
                }
                self.blobs.lock().unwrap().insert((repository.to_owned(), wanted), bytes);
                Reply::status(201).with("docker-content-digest", wanted.to_string())
            }
            _ => Reply::status(405),
        }
    }
}

/// Lets a handler break its own connection.
#[derive(Clone, Debug)]
struct Connection {
    broken: Arc<AtomicBool>,
}

struct Door {
    listener: TcpListener,
    tls: Option<tokio_rustls::TlsAcceptor>,
}

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Duplex for S {}

struct Breakable {
    stream: Box<dyn Duplex>,
    connection: Connection,
}

impl Listener for Door {
    type Io = Breakable;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Breakable, Self::Addr) {
        loop {
            let Ok((stream, address)) = self.listener.accept().await else { continue };
            stream.set_nodelay(true).unwrap();
            let stream: Box<dyn Duplex> = match &self.tls {
                None => Box::new(stream),
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => Box::new(stream),
                    Err(_) => continue,
                },
            };
            let connection = Connection { broken: Arc::new(AtomicBool::new(false)) };
            return (Breakable { stream, connection }, address);
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

impl Connected<IncomingStream<'_, Door>> for Connection {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.io().connection.clone()
    }
}

impl Breakable {
    fn check(&self) -> io::Result<()> {
        if self.connection.broken.load(Ordering::SeqCst) { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

impl AsyncRead for Breakable {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Breakable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
