//! Requests, answers, redirects, retries.

use std::{fmt, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use jiff::Timestamp;
use reqwest::{
    Method, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_LENGTH, DATE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER},
};

use super::{
    body::{self, BodyStream, Progress, UploadStream, Watched},
    error::Error,
    origin,
    queue::{HostQueue, Lane, Queues},
    retry::{self, Waits},
    secret::Secret,
    settings::{Pinned, Settings},
    tls::Clients,
};
use crate::{
    error::Classify as _,
    event::{Event, Observer},
    oci::Host,
};

/// How many redirects are followed; the fetch standard allows twice that, curl's `--location` five times.
const MAX_REDIRECTS: usize = 10;
/// Bodies up to this size are read to the end when nobody wants them, so that the connection can be used again.
const DRAIN: u64 = 64 << 10;

/// Makes requests. Cheap to clone; all clones share connections, queues and pauses.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    clients: Clients,
    queues: Queues,
    observer: Arc<dyn Observer>,
}

/// Describes a request that can be made again: its body, if any, is in memory.
#[derive(Clone)]
pub struct Request {
    method: Method,
    url: Url,
    headers: HeaderMap,
    authorization: Option<Secret>,
    body: Option<Bytes>,
    profile: Option<Host>,
}

/// Holds the head of an answer and its body, still on the way.
pub struct Response {
    status: StatusCode,
    headers: HeaderMap,
    url: Url,
    body: BodyStream,
}

impl Request {
    /// Makes a request without body.
    pub fn new(method: Method, url: Url) -> Self {
        Request { method, url, headers: HeaderMap::new(), authorization: None, body: None, profile: None }
    }

    /// Makes a GET request.
    pub fn get(url: Url) -> Self {
        Request::new(Method::GET, url)
    }

    /// Adds a header.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sets the value of `Authorization`; it is sent to the origin of this request's address and nowhere else.
    pub fn authorization(mut self, value: Option<Secret>) -> Self {
        self.authorization = value;
        self
    }

    /// Says for which registry the request is made: its authorities and client certificate apply.
    pub fn on_behalf_of(mut self, registry: &Host) -> Self {
        self.profile = Some(registry.clone());
        self
    }

    /// Sets another address; credentials that were set before belong to the former one and are gone.
    pub fn at(mut self, url: Url) -> Self {
        self.url = url;
        self.authorization = None;
        self
    }

    /// Returns the address.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Returns the method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    fn what(&self) -> String {
        format!("{} {}", self.method, origin::shown(&self.url))
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what())
    }
}

impl Response {
    /// Returns the status.
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// Returns the address that answered, after redirects.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Returns the first value of a header, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Returns every value of a header that is text.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect()
    }

    /// Returns what `Content-Length` says.
    pub fn content_length(&self) -> Option<u64> {
        self.header("content-length").and_then(|text| text.trim().parse().ok())
    }

    /// Returns how long the server asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        let now = self.header(DATE.as_str()).and_then(retry::http_date).unwrap_or_else(Timestamp::now);
        self.header(RETRY_AFTER.as_str()).and_then(|text| retry::retry_after(text, now))
    }

    /// Returns the body as it arrives.
    pub fn stream(self) -> BodyStream {
        self.body
    }

    /// Returns the whole body.
    ///
    /// # Errors
    /// [`Error::TooLarge`] as soon as there are more than `limit` bytes, whatever was announced.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes, Error> {
        let too_large = || Error::TooLarge { url: origin::shown(&self.url), limit };
        if self.content_length().is_some_and(|length| length > limit as u64) {
            return Err(too_large());
        }
        let mut whole = BytesMut::new();
        while let Some(chunk) = self.body.next().await {
            let chunk = chunk?;
            if whole.len() + chunk.len() > limit {
                return Err(too_large());
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }

    /// Returns the first bytes of a body that is only shown to people; what cannot be read is left out.
    pub async fn beginning(mut self, limit: usize) -> Bytes {
        let mut begin = BytesMut::new();
        while let Some(Ok(chunk)) = self.body.next().await {
            let room = limit - begin.len();
            begin.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if begin.len() == limit {
                break;
            }
        }
        begin.freeze()
    }

    /// Reads the beginning of the body into memory, so that the answer no longer counts as one of the host's requests:
    /// whoever makes another request on account of this one must not hold a turn meanwhile.
    pub async fn settle(mut self, limit: usize) -> Response {
        let body = std::mem::replace(&mut self.body, futures_util::stream::empty().boxed());
        let begin = Response { body, headers: HeaderMap::new(), url: self.url.clone(), status: self.status };
        let begin = begin.beginning(limit).await;
        Response { body: futures_util::stream::iter([Ok(begin)]).boxed(), ..self }
    }

    /// Reads a small body to its end, so that the connection can be used again; drops a large one.
    pub async fn discard(mut self) {
        if self.content_length().is_some_and(|length| length <= DRAIN) {
            let drain = async { while let Some(Ok(_)) = self.body.next().await {} };
            // Not worth waiting for: a new connection is cheaper.
            let _ = tokio::time::timeout(Duration::from_millis(500), drain).await;
        }
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}", self.status, origin::shown(&self.url))
    }
}

/// Counts the attempts of one operation that spans several requests.
pub struct Trial {
    client: Client,
    what: String,
    waits: Waits,
}

impl Trial {
    /// Waits before another attempt and tells the observer; false, without waiting, when there shall be none.
    /// `asked` is what the server asked for; it counts up to a limit.
    pub async fn again(&mut self, reason: &str, asked: Option<Duration>) -> bool {
        let Some(drawn) = self.waits.next() else { return false };
        let policy = &self.client.settings().retry;
        let wait = drawn.max(asked.unwrap_or_default().min(policy.longest_asked));
        self.client.0.observer.on(&Event::Retrying {
            what: self.what.clone(),
            reason: reason.to_owned(),
            attempt: self.waits.made(),
            wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        });
        tokio::time::sleep(wait).await;
        true
    }

    /// Returns how many times [`Trial::again`] granted another attempt.
    pub fn made(&self) -> u32 {
        self.waits.made()
    }
}

impl Client {
    /// Makes a client. Certificate files are read when the first host needs them.
    pub fn new(settings: Settings, observer: Arc<dyn Observer>) -> Self {
        let queues = Queues::new(settings.concurrency);
        Client(Arc::new(Inner { clients: Clients::new(settings), queues, observer }))
    }

    /// Makes a client that speaks with one server and with no other, on that server's own terms. Registries, certificate
    /// folders and authorities of the settings do not apply.
    ///
    /// # Errors
    /// When certificates, keys or the proxy cannot be used.
    pub fn pinned(
        settings: Settings,
        server: &Url,
        pinned: &Pinned,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, Error> {
        let queues = Queues::new(settings.concurrency);
        Ok(Client(Arc::new(Inner { clients: Clients::pinned(settings, server, pinned)?, queues, observer })))
    }

    /// Returns the settings.
    pub fn settings(&self) -> &Settings {
        self.0.clients.settings()
    }

    /// Returns who is told what happens.
    pub fn observer(&self) -> &Arc<dyn Observer> {
        &self.0.observer
    }

    /// Starts counting attempts of an operation that the observer knows as `what`.
    pub fn trial(&self, what: impl Into<String>) -> Trial {
        Trial { client: self.clone(), what: what.into(), waits: self.settings().retry.waits() }
    }

    /// Makes a request, follows redirects, and tries again after transient failures and statuses. When trying ends, the
    /// last answer is returned whatever its status.
    ///
    /// # Errors
    /// Whatever kept the last attempt from having an answer.
    pub async fn send(&self, request: Request) -> Result<Response, Error> {
        let mut trial = self.trial(request.what());
        loop {
            match self.once(&request).await {
                Ok(response) if retry::is_transient(response.status()) => {
                    let reason = format!("status {}", response.status());
                    if !trial.again(&reason, response.retry_after()).await {
                        return Ok(response);
                    }
                    response.discard().await;
                }
                Ok(response) => return Ok(response),
                Err(error) => {
                    let policy = &self.settings().retry;
                    let unreached = error.is_connect() && !self.0.queues.of(&request.url).was_reached();
                    let over = unreached && trial.made() as usize >= policy.retries_unreached;
                    if !error.kind().is_transient() || over || !trial.again(&error.to_string(), None).await {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Makes a request once, following redirects.
    ///
    /// # Errors
    /// Whatever kept it from having an answer.
    pub async fn once(&self, request: &Request) -> Result<Response, Error> {
        let mut url = request.url.clone();
        let mut authorization = request.authorization.as_ref();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.exchange(request, &url, authorization, None).await?;
            let follow = match response.status() {
                301..=303 => matches!(request.method, Method::GET | Method::HEAD),
                307 | 308 => true,
                _ => false,
            };
            let Some(location) = response.header(LOCATION.as_str()).filter(|_| follow) else { return Ok(response) };
            let refused = |to: String, cause| Error::Redirect { from: origin::shown(&url), to, cause };
            let Ok(next) = url.join(location) else {
                let shown = location.split(['?', '#']).next().unwrap_or_default();
                return Err(refused(super::printable(shown, 100), origin::Refusal::Scheme));
            };
            origin::check_step(&url, &next).map_err(|cause| refused(origin::shown(&next), cause))?;
            // Once gone, credentials do not come back: a foreign host must not choose where at home they are used.
            authorization = authorization.filter(|_| origin::may_carry(&request.url, &next));
            response.discard().await;
            url = next;
        }
        Err(Error::TooManyRedirects { url: origin::shown(&request.url), limit: MAX_REDIRECTS })
    }

    /// Makes a request with a body that exists once. Neither retried nor redirected; the answer is returned as it is.
    ///
    /// # Errors
    /// Whatever kept it from having an answer; [`Error::Aborted`] when the body ended with [`super::Abort`].
    pub async fn upload(&self, request: &Request, body: UploadStream, length: u64) -> Result<Response, Error> {
        self.exchange(request, &request.url, request.authorization.as_ref(), Some((body, length))).await
    }

    async fn exchange(
        &self,
        request: &Request,
        url: &Url,
        authorization: Option<&Secret>,
        upload: Option<(UploadStream, u64)>,
    ) -> Result<Response, Error> {
        let timeouts = self.settings().timeouts;
        let host = origin::authority(url);
        let bad = |cause: &str| Error::Request { url: origin::shown(url), cause: cause.to_owned() };
        let mut built_request = reqwest::Request::new(request.method.clone(), url.clone());
        *built_request.headers_mut() = request.headers.clone();
        if let Some(secret) = authorization {
            let mut value = HeaderValue::from_str(secret.expose())
                .map_err(|_| bad("the credentials hold characters that HTTP cannot carry"))?;
            value.set_sensitive(true);
            built_request.headers_mut().insert(AUTHORIZATION, value);
        }
        let progress = Progress::new();
        let lane = if upload.is_some() { Lane::Uploads } else { Lane::Answers };
        let answer = match request.method {
            Method::PUT | Method::PATCH => timeouts.commit,
            _ => timeouts.idle,
        };
        match upload {
            Some((stream, length)) => {
                built_request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
                let watched = Watched::new(stream, length, progress.clone());
                *built_request.body_mut() = Some(reqwest::Body::wrap_stream(watched));
            }
            None => {
                let body = request.body.clone();
                if body.is_none() && matches!(request.method, Method::POST | Method::PUT | Method::PATCH) {
                    // Some servers answer 411 to a request that could have a body and does not say that it has none.
                    built_request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(0));
                }
                *built_request.body_mut() = body.map(reqwest::Body::from);
                progress.sent();
            }
        }
        let built = self.0.clients.get(request.profile.as_ref(), url)?;
        let queue = self.0.queues.of(url);
        let turn = queue.turn(lane).await;
        progress_restart(&progress, lane);
        let sending = built.client.execute(built_request);
        tokio::pin!(sending);
        let result = loop {
            let (deadline, patience) = progress.deadline(timeouts.idle, answer);
            tokio::select! {
                result = &mut sending => break result,
                () = tokio::time::sleep_until(deadline) => {
                    let (deadline, _) = progress.deadline(timeouts.idle, answer);
                    if deadline <= tokio::time::Instant::now() {
                        return Err(Error::Stalled { host, after: patience });
                    }
                }
            }
        };
        let response = result.map_err(|error| built.explain(host.clone(), error))?;
        queue.set_reached();
        let mut head = Response {
            status: response.status(),
            headers: response.headers().clone(),
            url: url.clone(),
            body: futures_util::stream::empty().boxed(),
        };
        self.heed(&queue, &head);
        // Without a body there is nothing left to wait for.
        let turn = turn.filter(|_| request.method != Method::HEAD && head.content_length() != Some(0));
        head.body = body::read(response, built, host, timeouts, turn);
        Ok(head)
    }

    /// Lets all requests to a host pause when it says that there are too many of them.
    fn heed(&self, queue: &HostQueue, response: &Response) {
        if matches!(response.status(), 429 | 503)
            && let Some(asked) = response.retry_after()
        {
            queue.pause(asked.min(self.settings().retry.longest_asked));
        }
    }
}

/// Starts the clock when it is this request's turn.
fn progress_restart(progress: &Progress, lane: Lane) {
    match lane {
        Lane::Answers => progress.sent(),
        Lane::Uploads => progress.begin(),
    }
}
