//! Requests → answers: who may, which endpoint, which method; then `pull.rs` or `push.rs`.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::any,
};

use crate::oci::{Digest, Host, Repository};

use super::{
    access::Access,
    arrival::Arrival,
    backend::{Backend, Policy},
    charts::Charts,
    refusal::{Refusal, Trouble},
    route::{Query, Route},
    start::Options,
};

pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const NAMESPACE: HeaderName = HeaderName::from_static("oci-namespace");

/// Tells of one request that was answered.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Where it came from, when it came through a socket of ours.
    pub peer: Option<SocketAddr>,
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The query, without the question mark.
    pub query: Option<String>,
    /// The status code of the answer.
    pub status: u16,
    /// What failed on our side, for answers of 500 and above.
    pub trouble: Option<String>,
}

/// Is told of every request when its answer begins; called from many tasks at once and must return quickly.
pub type Watch = Arc<dyn Fn(&Visit) + Send + Sync>;

/// Carries the address of the client from the socket to the request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

pub(super) struct Registry<B> {
    pub(super) backend: B,
    pub(super) policy: Policy,
    pub(super) charts: Charts,
    access: Access,
    watch: Option<Watch>,
    patience: Duration,
    secure: bool,
}

/// Makes the routes of a registry: everything under `/v2`, and the charts that it holds as a Helm repository: `/index.yaml`,
/// `/charts/FILE`, and the same under a prefix. Others may be merged with it.
pub fn router<B: Backend>(options: &Options, backend: B) -> Router {
    let registry = Arc::new(Registry {
        backend,
        policy: options.policy,
        charts: Charts::new(options.charts_created),
        access: options.access.clone(),
        watch: options.watch.clone(),
        patience: options.limits.silence,
        secure: options.tls.is_some(),
    });
    Router::new()
        .route("/v2", any(answer::<B>))
        .route("/v2/", any(answer::<B>))
        .route("/v2/{*path}", any(answer::<B>))
        // A Helm repository has any number of components in front.
        .fallback(any(answer::<B>))
        .with_state(registry)
}

async fn answer<B: Backend>(State(registry): State<Arc<Registry<B>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let mut response = match registry.dispatch(&parts, body).await {
        Ok(response) => response,
        Err(refusal) => registry.refuse(refusal),
    };
    if parts.uri.path().starts_with("/v2") {
        response.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    }
    if let Some(watch) = &registry.watch {
        watch(&Visit {
            peer: parts.extensions.get::<Peer>().map(|peer| peer.0),
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(str::to_owned),
            status: response.status().as_u16(),
            trouble: response.extensions().get::<Trouble>().map(|trouble| trouble.0.clone()),
        });
    }
    response
}

/// Holds what the handlers need to know of a request.
pub(super) struct Asked<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) query: Query,
    /// `GET`; else `HEAD`, whose answer has no body.
    pub(super) wants_body: bool,
}

impl Asked<'_> {
    /// Returns a header as text.
    pub(super) fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl<B: Backend> Registry<B> {
    async fn dispatch(&self, parts: &Parts, body: Body) -> Result<Response, Refusal> {
        let method = &parts.method;
        let reads = matches!(*method, Method::GET | Method::HEAD);
        let asked = Asked {
            headers: &parts.headers,
            query: Query::parse(parts.uri.query()),
            wants_body: *method == Method::GET,
        };
        // Taken before anything can be refused: what is left of it is drained when it is dropped.
        let body = Arrival::new(
            body,
            asked.header(header::CONTENT_LENGTH).and_then(|length| length.parse().ok()),
            parts.headers.contains_key(header::EXPECT),
            self.patience,
        );
        if !self.access.admits(&parts.headers, !reads) {
            return Err(Refusal::Unauthorized);
        }
        let route = Route::parse(parts.uri.path())?;
        if !reads && route != Route::Nothing && !self.backend.is_writable() {
            return Err(Refusal::Unsupported("this registry is read-only"));
        }
        let origin: Option<Host> = asked.query.get("ns").filter(|_| reads).and_then(|text| text.parse().ok());
        let locate = |name: Repository| match reads {
            true => self.backend.locate(name, origin.as_ref()),
            false => name,
        };
        let mut response = match (method.as_str(), route) {
            ("GET" | "HEAD", Route::Ping) => Ok(plain(StatusCode::OK)),
            ("GET" | "HEAD", Route::Catalog) => self.repositories(&asked).await,
            ("GET" | "HEAD", Route::Tags(name)) => self.tags(&name, &locate(name.clone()), &asked).await,
            ("GET" | "HEAD", Route::Manifest(name, which)) => self.get_manifest(&locate(name), &which, &asked).await,
            ("GET" | "HEAD", Route::Blob(name, digest)) => self.get_blob(&locate(name), digest, &asked).await,
            ("GET" | "HEAD", Route::Referrers(name, subject)) => {
                self.referrers(&name, &locate(name.clone()), subject, &asked).await
            }
            ("GET" | "HEAD", Route::ChartIndex(prefix)) => self.chart_index(&prefix, &asked).await,
            ("GET" | "HEAD", Route::ChartFile(prefix, file)) => self.chart_file(&prefix, &file, &asked).await,
            ("GET" | "HEAD", Route::File(name, path)) => self.plain_file(&name, &path, &asked).await,
            ("PUT", Route::Manifest(name, which)) => self.put_manifest(&name, which, &asked, body).await,
            ("DELETE", Route::Manifest(name, which)) => self.delete_manifest(&name, &which).await,
            ("DELETE", Route::Blob(name, digest)) => self.delete_blob(&name, digest).await,
            ("POST", Route::Uploads(name)) => self.post_upload(&name, &asked, body).await,
            ("GET", Route::Upload(name, id)) => self.get_upload(&name, &id, &asked).await,
            ("PATCH", Route::Upload(name, id)) => self.patch_upload(&name, &id, &asked, body).await,
            ("PUT", Route::Upload(name, id)) => self.put_upload(&name, &id, &asked, body).await,
            ("DELETE", Route::Upload(name, id)) => self.delete_upload(&name, &id).await,
            (_, Route::Nothing) => Err(Refusal::NoEndpoint),
            _ => Err(Refusal::Unsupported("this endpoint does not offer this method")),
        }?;
        if let Some(value) = origin.and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
            response.headers_mut().insert(NAMESPACE, value);
        }
        Ok(response)
    }

    fn refuse(&self, refusal: Refusal) -> Response {
        let challenge = matches!(refusal, Refusal::Unauthorized);
        let mut response = refusal.into_response();
        if challenge {
            let value = HeaderValue::from_static("Basic realm=\"registry\", charset=\"UTF-8\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
        }
        response
    }

    /// Returns a location under this registry.
    pub(super) fn location(&self, path: &str, asked: &Asked<'_>) -> String {
        match asked.header(header::HOST) {
            Some(host) if self.policy.absolute_locations => {
                format!("{}://{host}{path}", if self.secure { "https" } else { "http" })
            }
            _ => path.to_owned(),
        }
    }
}

/// Makes an answer without a body.
pub(super) fn plain(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Adds a header whose value is made of checked names and numbers.
pub(super) fn with(mut response: Response, name: HeaderName, value: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().append(name, value);
    }
    response
}

/// Adds the digest headers.
pub(super) fn with_digest(response: Response, digest: Digest) -> Response {
    let response = with(response, CONTENT_DIGEST, &digest.to_string());
    with(response, header::ETAG, &format!("\"{digest}\""))
}
