//! Repositories: where they are, and how their blobs are read.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::{
    credentials::Credentials,
    endpoint::{Endpoint, MAX_ERROR_BODY},
    error::{Error, Who},
    manifests::By,
    scope::Scopes,
    wire::{Answer, ContentRange},
};
use crate::{
    error::{Classify as _, Kind, Side},
    event::Observer,
    net::{self, Client, HeaderValue, Method, Request, Response, Settings, header},
    oci::{Descriptor, Digest, Host, Repository},
    store::{self, Reader},
};

/// Knows every registry that this process talks to. Cheap to clone; clones share connections, tokens and what was learnt.
#[derive(Clone)]
pub struct Registries(Arc<Inner>);

struct Inner {
    client: Client,
    credentials: Credentials,
    mirrors: HashMap<Host, Mirror>,
    endpoints: Mutex<HashMap<(Host, Host), Arc<Endpoint>>>,
}

#[derive(Clone)]
struct Mirror {
    host: Host,
    prefix: String,
}

/// One repository. Cheap to clone.
#[derive(Clone)]
pub struct Remote {
    pub(super) endpoint: Arc<Endpoint>,
    host: Host,
    repository: Repository,
    /// The path in API addresses: behind a mirror with its prefix.
    pub(super) path: Arc<str>,
    pub(super) side: Side,
    /// The repository is new: nothing needs to be looked for.
    pub(super) empty: bool,
    /// Blobs that were looked for and are not there.
    pub(super) absent: Arc<Mutex<HashSet<Digest>>>,
}

impl Registries {
    /// Makes the connection to all registries; nothing is asked yet.
    ///
    /// # Errors
    /// [`Error::Mirror`] when a mirror in the settings is no address.
    pub fn new(settings: Settings, credentials: Credentials, observer: Arc<dyn Observer>) -> Result<Self, Error> {
        let mut mirrors = HashMap::new();
        for (host, one) in &settings.hosts {
            if let Some(written) = &one.mirror {
                let bad = || Error::Mirror { host: host.to_string(), mirror: net::printable(written, 200) };
                let (mirror, prefix) = written.trim_end_matches('/').split_once('/').unwrap_or((written, ""));
                let mirror = mirror.trim_end_matches('/').parse().map_err(|_| bad())?;
                if !prefix.is_empty() {
                    prefix.parse::<Repository>().map_err(|_| bad())?;
                }
                mirrors.insert(host.clone(), Mirror { host: mirror, prefix: prefix.to_owned() });
            }
        }
        let client = Client::new(settings, observer);
        Ok(Registries(Arc::new(Inner { client, credentials, mirrors, endpoints: Mutex::default() })))
    }

    /// Returns the HTTP client, for content that is not in registries.
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    /// Returns whose credentials go where.
    pub fn credentials(&self) -> &Credentials {
        &self.0.credentials
    }

    /// Returns the address at which a host is really asked, `http(s)://HOST/[PREFIX/]`, when the settings say anything
    /// about it: that it has a mirror, or that it speaks plain HTTP. `None` says that its own addresses hold as they are.
    ///
    /// # Errors
    /// [`Error::Net`] while a loopback address whose protocol nobody said does not answer.
    pub async fn reached_at(&self, host: &Host) -> Result<Option<net::Url>, Error> {
        let mirror = self.0.mirrors.get(host);
        let said = self.0.client.settings().hosts.get(host).and_then(|settings| settings.plain_http);
        if mirror.is_none() && said.is_none() {
            return Ok(None);
        }
        let endpoint = self.endpoint(host, mirror.map_or(host, |mirror| &mirror.host));
        match mirror {
            Some(mirror) if !mirror.prefix.is_empty() => endpoint.url(&format!("{}/", mirror.prefix)).await.map(Some),
            _ => Ok(Some(endpoint.base().await?.clone())),
        }
    }

    pub(super) fn endpoint(&self, host: &Host, asked: &Host) -> Arc<Endpoint> {
        let mut endpoints = self.0.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        let made = endpoints.entry((host.clone(), asked.clone())).or_insert_with(|| {
            let (client, credentials) = (self.0.client.clone(), self.0.credentials.clone());
            Arc::new(Endpoint::new(client, credentials, host.clone(), asked.clone()))
        });
        made.clone()
    }

    /// Returns a repository. `side` says whether content is read from it or written to it: rights are asked accordingly,
    /// and errors name that side. Mirrors stand in for sources only.
    pub fn repository(&self, host: &Host, repository: &Repository, side: Side) -> Remote {
        let mirror = self.0.mirrors.get(host).filter(|_| side == Side::Source);
        let asked = mirror.map_or(host, |mirror| &mirror.host);
        let path = match mirror {
            Some(mirror) if !mirror.prefix.is_empty() => format!("{}/{repository}", mirror.prefix),
            _ => repository.to_string(),
        };
        let endpoint = self.endpoint(host, asked);
        Remote {
            endpoint,
            host: host.clone(),
            repository: repository.clone(),
            path: path.into(),
            side,
            empty: false,
            absent: Arc::default(),
        }
    }
}

impl Remote {
    /// Says that the repository is new or empty, so that blobs are uploaded without looking for them first.
    pub fn assume_empty(mut self) -> Self {
        self.empty = true;
        self
    }

    /// Returns the registry as references name it.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Returns the repository as references name it.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Tells whether the registry has been seen to ignore ranges, so that reading parts of a blob at once is of no use.
    pub fn ignores_ranges(&self) -> bool {
        self.endpoint.ignores_ranges.load(Ordering::Relaxed)
    }

    /// Returns the rights that requests to this repository need.
    pub(super) fn scopes(&self) -> Scopes {
        match self.side {
            Side::Source => Scopes::repository(&self.path, &["pull"]),
            Side::Target => Scopes::repository(&self.path, &["pull", "push"]),
        }
    }

    /// Makes a request for an address below `/v2/NAME/`.
    pub(super) async fn request(&self, method: Method, rest: &str) -> Result<Request, Error> {
        Ok(Request::new(method, self.endpoint.url(&format!("v2/{}/{rest}", self.path)).await?))
    }

    pub(super) async fn send(&self, request: Request) -> Result<(Response, Who), Error> {
        self.endpoint.send(request, &self.path, &self.scopes()).await
    }

    pub(super) fn net(&self, cause: net::Error) -> Error {
        self.endpoint.net(&self.path, cause)
    }

    /// Turns an answer that is no success into an error.
    pub(super) async fn refusal(&self, response: Response, who: Who, doing: &'static str, what: &str) -> Error {
        let (status, asked) = (response.status(), response.retry_after());
        let answer = Answer::parse(status, &response.beginning(MAX_ERROR_BODY).await, &who.hidden);
        self.refused(answer, asked, who, doing, what)
    }

    pub(super) fn refused(
        &self,
        answer: Answer,
        asked: Option<std::time::Duration>,
        who: Who,
        doing: &'static str,
        what: &str,
    ) -> Error {
        let (place, status, answer) = (self.endpoint.place(&self.path), answer.status, Box::new(answer));
        match status {
            401 | 403 => Error::Denied { place, doing, answer, who: Box::new(who) },
            404 => Error::NotFound { place, what: what.to_owned(), answer },
            429 => Error::RateLimited { place, answer, asked },
            _ => Error::Status { place, doing, answer },
        }
    }

    pub(super) fn place_error(&self, error: Error) -> store::Error {
        store::Error::place(self.side, error)
    }

    async fn open_range(&self, blob: &Descriptor, from: u64, to: u64) -> Result<Reader, store::Error> {
        let (side, digest, size) = (self.side, blob.digest, blob.size);
        let wrong_size = |actual| store::Error::Size { side, digest, expected: size, actual };
        if from >= to {
            return Ok(stream::empty().boxed());
        }
        if blob.media_type.is_manifest() {
            let raw = self.manifest(&By::Digest(digest)).await.map_err(|error| self.not_there(error, digest))?;
            if raw.bytes.len() as u64 != size {
                return Err(wrong_size(raw.bytes.len() as u64));
            }
            let part = raw.bytes.slice(from as usize..to.min(size) as usize);
            return Ok(stream::once(async { Ok(part) }).boxed());
        }
        let ranged = from > 0 || to < size;
        let mut request = self.blob(Method::GET, &digest).await?;
        if ranged && !self.ignores_ranges() {
            let range = format!("bytes={from}-{}", to - 1);
            if let Ok(range) = HeaderValue::from_str(&range) {
                request = request.header(header::RANGE, range);
            }
        }
        let (response, who) = self.send(request).await.map_err(|error| self.place_error(error))?;
        let skip = match response.status() {
            200 => {
                if response.content_length().is_some_and(|length| length != size) {
                    return Err(wrong_size(response.content_length().unwrap_or_default()));
                }
                if ranged {
                    self.endpoint.set_ignores_ranges();
                }
                from
            }
            206 => {
                let range = response.header("content-range").and_then(ContentRange::parse);
                match range {
                    Some(ContentRange { total: Some(total), .. }) if total != size => return Err(wrong_size(total)),
                    Some(ContentRange { bytes: Some((first, last)), .. }) if first == from && last < to => 0,
                    // A part that was not asked for cannot be used; the whole can.
                    _ => {
                        self.endpoint.set_ignores_ranges();
                        response.discard().await;
                        return Box::pin(self.open_range(blob, from, to)).await;
                    }
                }
            }
            416 => {
                let total =
                    response.header("content-range").and_then(ContentRange::parse).and_then(|range| range.total);
                return match total {
                    Some(total) if total != size => Err(wrong_size(total)),
                    _ if !self.ignores_ranges() => {
                        self.endpoint.set_ignores_ranges();
                        response.discard().await;
                        Box::pin(self.open_range(blob, from, to)).await
                    }
                    _ => Err(self.place_error(self.refusal(response, who, "reading a blob", "").await)),
                };
            }
            404 => return Err(store::Error::Missing { side, digest }),
            _ => {
                let error = self.refusal(response, who, "reading a blob", &digest.to_string()).await;
                return Err(self.place_error(error));
            }
        };
        if self.side == Side::Target {
            self.endpoint.note_held(digest, &self.path);
        }
        Ok(self.cut(response, blob, skip, to - from))
    }

    /// Passes on `length` bytes after the first `skip`. More than the blob has is an error, fewer are a broken connection:
    /// the reader asks for the rest, and learns then whether there is one.
    fn cut(&self, response: Response, blob: &Descriptor, skip: u64, length: u64) -> Reader {
        struct Cut {
            body: net::BodyStream,
            skip: u64,
            left: u64,
            /// Bytes of the blob that follow those asked for.
            beyond: u64,
            remote: Remote,
            digest: Digest,
            size: u64,
        }
        let remote = self.clone();
        let whole = skip > 0 || length == blob.size;
        let beyond = if whole { blob.size.saturating_sub(skip + length) } else { 0 };
        let cut =
            Cut { body: response.stream(), skip, left: length, beyond, remote, digest: blob.digest, size: blob.size };
        stream::unfold(Some(cut), |cut| async move {
            let mut cut = cut?;
            loop {
                // The end is awaited, so that surplus bytes are seen and the connection can be used again; unless a server
                // that ignores ranges is about to send the rest of the blob.
                if cut.left == 0 && cut.beyond > 0 {
                    return None;
                }
                let mut bytes: Bytes = match cut.body.next().await {
                    None if cut.left == 0 => return None,
                    None => {
                        let host = cut.remote.endpoint.place("").registry.to_string();
                        let cause = net::Error::Broken { host, cause: "the body ended early".to_owned() };
                        return Some((Err(cut.remote.place_error(cut.remote.net(cause))), None));
                    }
                    // What was asked for is complete; how the connection ends does not matter.
                    Some(Err(_)) if cut.left == 0 => return None,
                    Some(Err(cause)) => return Some((Err(cut.remote.place_error(cut.remote.net(cause))), None)),
                    Some(Ok(bytes)) => bytes,
                };
                let skipped = (bytes.len() as u64).min(cut.skip);
                cut.skip -= skipped;
                let mut bytes = bytes.split_off(skipped as usize);
                if bytes.is_empty() {
                    continue;
                }
                let surplus = (bytes.len() as u64).saturating_sub(cut.left);
                if surplus > cut.beyond {
                    let (side, digest, expected) = (cut.remote.side, cut.digest, cut.size);
                    let error = store::Error::Size { side, digest, expected, actual: expected + surplus - cut.beyond };
                    return Some((Err(error), None));
                }
                bytes.truncate(bytes.len() - surplus as usize);
                cut.beyond -= surplus;
                cut.left -= bytes.len() as u64;
                if bytes.is_empty() {
                    continue;
                }
                return Some((Ok(bytes), Some(cut)));
            }
        })
        .boxed()
    }

    pub(super) async fn blob(&self, method: Method, digest: &Digest) -> Result<Request, store::Error> {
        self.request(method, &format!("blobs/{digest}")).await.map_err(|error| self.place_error(error))
    }

    fn not_there(&self, error: Error, digest: Digest) -> store::Error {
        match error {
            Error::NotFound { .. } => store::Error::Missing { side: self.side, digest },
            Error::WrongDigest { digests, .. } => {
                store::Error::Corrupt { side: self.side, expected: digests.wanted, actual: digests.actual }
            }
            other => self.place_error(other),
        }
    }

    /// Looks for a blob by HEAD; false also where HEAD is not answered, since uploading again does no harm.
    pub(super) async fn has_blob(&self, blob: &Descriptor) -> Result<bool, store::Error> {
        let request = self.blob(Method::HEAD, &blob.digest).await?;
        let origin = request.url().clone();
        let (response, who) = self.send(request).await.map_err(|error| self.place_error(error))?;
        let there = match response.status() {
            200 => response.content_length().is_none_or(|length| length == blob.size),
            404 | 405 | 501 => false,
            // A redirect to storage whose signature is for GET only.
            _ if !net::may_carry(&origin, response.url()) => false,
            _ => {
                let what = blob.digest.to_string();
                return Err(self.place_error(self.refusal(response, who, "looking for a blob", &what).await));
            }
        };
        let mut absent = self.absent.lock().unwrap_or_else(PoisonError::into_inner);
        if there {
            absent.remove(&blob.digest);
            self.endpoint.note_held(blob.digest, &self.path);
        } else {
            absent.insert(blob.digest);
        }
        Ok(there)
    }
}

impl store::Source for Remote {
    async fn open(&self, blob: &Descriptor, from: u64, to: u64) -> Result<Reader, store::Error> {
        self.open_range(blob, from, to.min(blob.size)).await
    }

    /// True until the registry is seen to ignore ranges.
    fn is_remote(&self) -> bool {
        !self.ignores_ranges()
    }

    fn distance(&self, _: &Descriptor) -> Option<std::time::Duration> {
        self.endpoint.distance()
    }
}

impl store::Sink for Remote {
    async fn has(&self, blob: &Descriptor) -> Result<bool, store::Error> {
        if self.empty {
            return Ok(false);
        }
        if !blob.media_type.is_manifest() {
            return self.has_blob(blob).await;
        }
        let head = self.head(&By::Digest(blob.digest)).await;
        match head {
            Ok(head) => Ok(head.is_some_and(|head| head.digest == blob.digest && head.size == blob.size)),
            Err(error) if error.kind() == Kind::Corrupt => Ok(false),
            Err(error) => Err(self.place_error(error)),
        }
    }

    async fn put<S: store::Source>(
        &self,
        blob: &Descriptor,
        source: &S,
        moved: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), store::Error> {
        if blob.media_type.is_manifest() {
            self.put_manifest_from(blob, source, moved).await
        } else {
            self.put_blob(blob, source, moved).await
        }
    }
}
