//! Writing blobs: the ladder of methods, and what happens when a rung breaks.
//!
//! ```text
//!   HEAD (unless known) ─ mount from a repository that has it ─ POST, then one of
//!     1. PUT with the whole body                   every current registry; the only way with Google's
//!     2. PATCH with the whole body, then PUT       old Artifactory answers 404 to a PUT with a body
//!     3. PATCH chunk by chunk, then PUT            behind proxies that limit the size of a request
//! ```
//! A rung that a registry refuses is left once, and what worked is remembered for all its repositories. A failure that may
//! pass (5xx, 429, a broken connection) restarts the blob with a fresh session: the source can always be read again.

use std::{
    sync::{PoisonError, atomic::Ordering},
    time::Duration,
};

use super::{
    challenge::Challenge,
    endpoint::MAX_ERROR_BODY,
    error::{Error, Who},
    feed::{self, Feed},
    remote::Remote,
    scope::Scopes,
    wire::{Answer, location, upload_range, with_digest},
};
use crate::{
    error::Classify as _,
    event::Event,
    net::{self, HeaderValue, Method, Request, Response, Url, header},
    oci::Descriptor,
    store,
};

/// The smallest chunk of the last rung; Amazon's registry wants 5 MB and says so, GitHub's refuses more than 4 MiB.
const CHUNK: u64 = 4 << 20;
/// The largest chunk that a registry can ask for.
const MAX_CHUNK: u64 = 1 << 30;
/// How often a registry may keep less of a chunk than it was sent.
const MAX_SHORTFALLS: u32 = 64;
/// How many server errors in a row on one rung make us try the next: some proxies answer 502 to what they do not like.
const TRIES_PER_RUNG: u32 = 3;
/// How many times one blob is started again because a token was refused.
const MAX_RENEWALS: u32 = 3;

/// How a blob is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    Whole,
    Stream,
    Chunks,
}

impl Mode {
    fn of(number: u8) -> Self {
        match number {
            0 => Mode::Whole,
            1 => Mode::Stream,
            _ => Mode::Chunks,
        }
    }

    fn next(self) -> Option<Self> {
        match self {
            Mode::Whole => Some(Mode::Stream),
            Mode::Stream => Some(Mode::Chunks),
            Mode::Chunks => None,
        }
    }
}

/// An open upload.
#[derive(Clone)]
struct Session {
    url: Url,
    chunk: u64,
}

/// What an attempt came to, when it did not succeed.
enum Setback {
    /// The source failed; the feed knows how.
    Source,
    /// May pass: start again.
    Passing { error: Error, asked: Option<Duration> },
    /// The token was refused and another one is there: start again.
    Renewed,
    /// This rung is refused.
    Refused(Error),
    /// Will not pass.
    Final(Error),
}

impl From<Error> for Setback {
    fn from(error: Error) -> Self {
        Setback::Final(error)
    }
}

impl Remote {
    /// Takes a blob from a source and writes it, unless it is there.
    pub(super) async fn put_blob<S: store::Source>(
        &self,
        blob: &Descriptor,
        source: &S,
        moved: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), store::Error> {
        let known_absent = self.absent.lock().unwrap_or_else(PoisonError::into_inner).contains(&blob.digest);
        if !self.empty && !known_absent && self.has_blob(blob).await? {
            moved(blob.size);
            return Ok(());
        }
        let client = &self.endpoint.client;
        let what = format!("upload of {} to {}", blob.digest, self.endpoint.place(&self.path));
        let mut feed = Feed::new(source, blob, moved, client.trial(format!("reading {}", blob.digest)));
        let mut session = match self.mount(blob).await.map_err(|error| self.place_error(error))? {
            Mounted::Done => {
                feed.report_all();
                self.written(blob);
                return Ok(());
            }
            Mounted::Session(session) => Some(session),
            Mounted::No => None,
        };
        let mut mode = Mode::of(self.endpoint.upload_mode.load(Ordering::Relaxed));
        let mut trial = client.trial(what);
        let (mut refetched, mut renewals, mut in_a_row) = (false, 0, 0);
        loop {
            feed.restart();
            let setback = match self.attempt(mode, session.take(), blob, &mut feed).await {
                Ok(()) => {
                    self.endpoint.upload_mode.fetch_max(mode as u8, Ordering::Relaxed);
                    feed.report_all();
                    self.written(blob);
                    return Ok(());
                }
                Err(setback) => setback,
            };
            match setback {
                Setback::Source => {
                    let fault = feed
                        .fault
                        .take()
                        .unwrap_or(store::Error::Missing { side: crate::error::Side::Source, digest: blob.digest });
                    // Bytes from a network may be right the second time; those of a disk stay wrong.
                    let wrong = matches!(fault, store::Error::Corrupt { .. } | store::Error::Size { .. });
                    if !wrong || refetched || !source.is_remote() {
                        return Err(fault);
                    }
                    refetched = true;
                    client.observer().on(&Event::Refetching { digest: blob.digest });
                }
                Setback::Renewed if renewals < MAX_RENEWALS => renewals += 1,
                Setback::Renewed => {
                    let answer = Answer { status: 401, ..Answer::default() };
                    let error = self.refused(answer, None, Who::default(), "writing a blob", "");
                    return Err(self.place_error(error));
                }
                Setback::Passing { error, asked } => {
                    in_a_row += 1;
                    if in_a_row >= TRIES_PER_RUNG
                        && matches!(error, Error::Status { .. })
                        && let Some(next) = mode.next()
                    {
                        (mode, in_a_row) = (next, 0);
                    }
                    if !trial.again(&error.to_string(), asked).await {
                        return Err(self.place_error(error));
                    }
                }
                Setback::Refused(error) => match mode.next() {
                    Some(next) => (mode, in_a_row) = (next, 0),
                    None => return Err(self.place_error(error)),
                },
                Setback::Final(error) => return Err(self.place_error(error)),
            }
        }
    }

    fn written(&self, blob: &Descriptor) {
        self.endpoint.note_held(blob.digest, &self.path);
        self.absent.lock().unwrap_or_else(PoisonError::into_inner).remove(&blob.digest);
    }

    /// Asks the registry to take a blob from another of its repositories. Refusals of any kind mean only that it must be
    /// uploaded: registries answer 202, 400, 401, 403, 404 or 405 to a mount that they do not like.
    async fn mount(&self, blob: &Descriptor) -> Result<Mounted, Error> {
        let Some(from) = self.endpoint.holder(&blob.digest, &self.path) else { return Ok(Mounted::No) };
        let rest = format!("blobs/uploads/?mount={}&from={from}", blob.digest);
        let request = self.request(Method::POST, &rest).await?;
        let mut scopes = self.scopes();
        scopes.merge(&Scopes::repository(&from, &["pull"]));
        let response = match self.endpoint.send(request, &self.path, &scopes).await {
            Ok((response, _)) => response,
            Err(Error::Token { answer, .. }) if (400..500).contains(&answer.status) => return Ok(Mounted::No),
            Err(error) => return Err(error),
        };
        match response.status() {
            201 => {
                response.discard().await;
                // Some registries say 201 and have nothing.
                let there = self.has_blob(blob).await.unwrap_or(false);
                Ok(if there { Mounted::Done } else { Mounted::No })
            }
            202 => {
                let session = self.session(&response)?;
                response.discard().await;
                Ok(Mounted::Session(session))
            }
            _ => {
                response.discard().await;
                Ok(Mounted::No)
            }
        }
    }

    /// Opens an upload.
    async fn begin(&self) -> Result<Session, Setback> {
        let request = self.request(Method::POST, "blobs/uploads/").await?;
        let (response, who) = self.send(request).await?;
        match response.status() {
            200..=299 => {
                let session = self.session(&response)?;
                response.discard().await;
                Ok(session)
            }
            _ => Err(Setback::Final(self.refusal(response, who, "starting an upload", "the repository").await)),
        }
    }

    fn session(&self, response: &Response) -> Result<Session, Error> {
        let here = response.url();
        let chunk = response
            .header("oci-chunk-min-length")
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0)
            .clamp(CHUNK, MAX_CHUNK);
        let url = match (response.header("location"), response.header("docker-upload-uuid")) {
            (Some(text), _) => self.follow(here, text)?,
            (None, Some(uuid)) if uuid.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.=".contains(&byte)) => {
                let path = format!("/v2/{}/blobs/uploads/{uuid}", self.path);
                self.follow(here, &path)?
            }
            _ => return Err(Error::NoLocation { place: self.endpoint.place(&self.path) }),
        };
        Ok(Session { url, chunk })
    }

    fn follow(&self, here: &Url, text: &str) -> Result<Url, Error> {
        location(here, text).map_err(|cause| Error::Location {
            place: self.endpoint.place(&self.path),
            location: net::printable(text.split(['?', '#']).next().unwrap_or_default(), 200),
            cause,
        })
    }

    async fn attempt<S: store::Source>(
        &self,
        mode: Mode,
        session: Option<Session>,
        blob: &Descriptor,
        feed: &mut Feed<'_, S>,
    ) -> Result<(), Setback> {
        let mut session = match session {
            Some(session) => session,
            None => self.begin().await?,
        };
        let outcome = match mode {
            Mode::Whole => self.put_whole(&session.url, blob, feed).await,
            Mode::Stream => self.patch_all(&mut session, blob, feed, blob.size.max(1)).await,
            Mode::Chunks => {
                let chunk = session.chunk;
                self.patch_all(&mut session, blob, feed, chunk).await
            }
        };
        if let Err(Setback::Source | Setback::Refused(_) | Setback::Final(_)) = &outcome {
            self.abandon(&session.url).await;
        }
        outcome
    }

    /// Tells the registry that an upload will not be finished. Not worth an error: registries clean up by themselves.
    async fn abandon(&self, session: &Url) {
        let cancel = async {
            let shown = self.shown_at(session).await.ok()?;
            let request = Request::new(Method::DELETE, session.clone()).on_behalf_of(&self.endpoint.profile);
            self.endpoint.client.once(&request.authorization(shown.value)).await.ok()
        };
        let _ = tokio::time::timeout(Duration::from_secs(5), cancel).await;
    }

    /// Returns what to show at the address of an upload: nothing outside of the registry's own origin.
    async fn shown_at(&self, url: &Url) -> Result<super::endpoint::Shown, Error> {
        if net::may_carry(self.endpoint.base().await?, url) {
            self.endpoint.show(&self.path, &self.scopes()).await
        } else {
            Ok(super::endpoint::Shown::default())
        }
    }

    /// Sends the bytes from `from` to `to` of the blob as one body. Returns the answer if it is a success.
    async fn transfer<S: store::Source>(
        &self,
        request: Request,
        feed: &mut Feed<'_, S>,
        from: u64,
        to: u64,
    ) -> Result<Response, Setback> {
        let octets = HeaderValue::from_static("application/octet-stream");
        let shown = self.shown_at(request.url()).await?;
        let request = request
            .header(header::CONTENT_TYPE, octets)
            .authorization(shown.value.clone())
            .on_behalf_of(&self.endpoint.profile);
        let (sender, body) = feed::channel();
        let result = {
            let feeding = feed.run(from, to, sender);
            let sending = self.endpoint.client.upload(&request, body, to - from);
            tokio::pin!(feeding, sending);
            let mut complete = None;
            loop {
                tokio::select! {
                    done = &mut feeding, if complete.is_none() => complete = Some(done),
                    result = &mut sending => break result.map(|response| (response, complete.unwrap_or(false))),
                }
            }
        };
        if feed.fault.is_some() {
            return Err(Setback::Source);
        }
        match result {
            Ok((response, complete)) if (200..300).contains(&response.status()) => {
                if complete {
                    return Ok(response);
                }
                let cause = net::Error::Broken {
                    host: net::authority(request.url()),
                    cause: "the upload was accepted before it was complete".to_owned(),
                };
                Err(Setback::Passing { error: self.net(cause), asked: None })
            }
            Ok((response, _)) => Err(self.setback(response, &shown).await),
            Err(cause) if cause.kind().is_transient() => Err(Setback::Passing { error: self.net(cause), asked: None }),
            Err(cause) => Err(Setback::Final(self.net(cause))),
        }
    }

    /// Decides what an answer that is no success means for an upload.
    async fn setback(&self, response: Response, shown: &super::endpoint::Shown) -> Setback {
        let (status, asked) = (response.status(), response.retry_after());
        let response = response.settle(MAX_ERROR_BODY).await;
        let at_home = match self.endpoint.base().await {
            Ok(base) => net::may_carry(base, response.url()),
            Err(error) => return Setback::Final(error),
        };
        if status == 401 && at_home {
            let challenges = Challenge::parse_all(response.headers("www-authenticate"));
            match self.endpoint.answer(&challenges, &self.path, &self.scopes(), shown).await {
                Ok(Some(_)) => return Setback::Renewed,
                Ok(None) => {}
                Err(error) => return Setback::Final(error),
            }
        }
        let answer = Answer::parse(status, &response.beginning(MAX_ERROR_BODY).await);
        let lost = answer.has_code(&["BLOB_UPLOAD_UNKNOWN"]);
        let named = answer.has_code(&["NAME_INVALID", "NAME_UNKNOWN", "DENIED", "UNAUTHORIZED"]);
        let damaged = answer.has_code(&["DIGEST_INVALID", "SIZE_INVALID"]);
        let error = self.refused(answer, asked, shown.who.clone(), "writing a blob", "the upload");
        match status {
            // A redirect of an upload: the session that it leads to is as good as any other after a new POST.
            _ if net::is_transient(status) || lost || damaged => Setback::Passing { error, asked },
            400 | 404 | 405 | 411 | 413 | 415 | 416 | 501 if !named => Setback::Refused(error),
            _ => Setback::Final(error),
        }
    }

    async fn put_whole<S: store::Source>(
        &self,
        session: &Url,
        blob: &Descriptor,
        feed: &mut Feed<'_, S>,
    ) -> Result<(), Setback> {
        if blob.size == 0 {
            return self.commit(session, blob, feed).await;
        }
        let request = Request::new(Method::PUT, with_digest(session, &blob.digest));
        let response = self.transfer(request, feed, 0, blob.size).await?;
        self.accepted(response, blob).await
    }

    /// Sends the blob by PATCH in chunks of the given size, then commits it.
    async fn patch_all<S: store::Source>(
        &self,
        session: &mut Session,
        blob: &Descriptor,
        feed: &mut Feed<'_, S>,
        chunk: u64,
    ) -> Result<(), Setback> {
        let (mut at, mut shortfalls) = (0, 0);
        let several = chunk < blob.size;
        while at < blob.size {
            let to = at.saturating_add(chunk).min(blob.size);
            let mut request = Request::new(Method::PATCH, session.url.clone());
            if several && let Ok(range) = HeaderValue::from_str(&format!("{at}-{}", to - 1)) {
                request = request.header(header::CONTENT_RANGE, range);
            }
            let got = match self.transfer(request, feed, at, to).await {
                Ok(response) => {
                    if let Some(text) = response.header("location") {
                        session.url = self.follow(response.url(), text)?;
                    }
                    // Some registries write the range with its end exclusive.
                    let got = response
                        .header("range")
                        .and_then(upload_range)
                        .map_or(to, |got| if got == to + 1 { to } else { got });
                    response.discard().await;
                    got
                }
                // The session may have survived; what it has need not be sent again.
                Err(Setback::Passing { error, asked }) if several && at > 0 => match self.status(session).await {
                    Some(got) if got >= at && got <= to => {
                        shortfalls += 1;
                        if shortfalls > MAX_SHORTFALLS {
                            return Err(Setback::Passing { error, asked });
                        }
                        if got == at {
                            tokio::time::sleep(
                                asked.unwrap_or(Duration::from_millis(500)).min(Duration::from_secs(30)),
                            )
                            .await;
                        }
                        at = got;
                        continue;
                    }
                    _ => return Err(Setback::Passing { error, asked }),
                },
                Err(Setback::Refused(error)) if several && at > 0 => match self.status(session).await {
                    Some(got) if got > at && got <= to => got,
                    _ => return Err(Setback::Refused(error)),
                },
                Err(setback) => return Err(setback),
            };
            if got > to || got <= at {
                let (place, digest) = (self.endpoint.place(&self.path), blob.digest);
                return Err(Setback::Refused(Error::Stuck { place, digest, at: got }));
            }
            if got < to {
                shortfalls += 1;
                if shortfalls > MAX_SHORTFALLS {
                    let (place, digest) = (self.endpoint.place(&self.path), blob.digest);
                    return Err(Setback::Refused(Error::Stuck { place, digest, at: got }));
                }
            }
            at = got;
        }
        self.commit(&session.url, blob, feed).await
    }

    /// Asks how far an upload came.
    async fn status(&self, session: &mut Session) -> Option<u64> {
        let (response, _) = self.send(Request::get(session.url.clone())).await.ok()?;
        let got = matches!(response.status(), 200..=299).then(|| upload_range(response.header("range")?)).flatten()?;
        if let Some(text) = response.header("location") {
            session.url = self.follow(response.url(), text).ok()?;
        }
        Some(got)
    }

    /// Ends an upload whose bytes are all there.
    async fn commit<S: store::Source>(
        &self,
        session: &Url,
        blob: &Descriptor,
        feed: &mut Feed<'_, S>,
    ) -> Result<(), Setback> {
        if blob.size == 0 {
            // Nothing is sent, but what the digest says must still be true.
            let (sender, _body) = feed::channel();
            feed.run(0, 0, sender).await;
            if feed.fault.is_some() {
                return Err(Setback::Source);
            }
        }
        let request = Request::new(Method::PUT, with_digest(session, &blob.digest));
        let shown = self.shown_at(request.url()).await?;
        let request = request.authorization(shown.value.clone()).on_behalf_of(&self.endpoint.profile);
        // Once only: a commit whose answer was lost may have happened, and a second one would fail.
        match self.endpoint.client.once(&request).await {
            Ok(response) if (200..300).contains(&response.status()) => self.accepted(response, blob).await,
            Ok(response) => Err(self.setback(response, &shown).await),
            Err(cause) if cause.kind().is_transient() => {
                if self.has_blob(blob).await.unwrap_or(false) {
                    return Ok(());
                }
                Err(Setback::Passing { error: self.net(cause), asked: None })
            }
            Err(cause) => Err(Setback::Final(self.net(cause))),
        }
    }

    /// Checks what the registry says about a blob that it took.
    async fn accepted(&self, response: Response, blob: &Descriptor) -> Result<(), Setback> {
        let stored = response.header("docker-content-digest").and_then(|text| text.trim().parse().ok());
        let status = response.status();
        response.discard().await;
        // distribution answers a sha512 upload with the sha256 that it stores it by.
        if let Some(actual) = stored.filter(|stored: &crate::oci::Digest| stored.algorithm() == blob.digest.algorithm())
            && actual != blob.digest
        {
            let (place, what) = (self.endpoint.place(&self.path), "the uploaded blob".to_owned());
            return Err(Setback::Final(Error::WrongDigest { place, what, announced: blob.digest, actual }));
        }
        // 201 is the only answer that says that the blob is there; others are taken at their HEAD.
        if status != 201 && !self.has_blob(blob).await.unwrap_or(false) {
            let error =
                self.refused(Answer { status, ..Answer::default() }, None, Who::default(), "writing a blob", "");
            return Err(Setback::Passing { error, asked: None });
        }
        Ok(())
    }
}

/// What came of a mount.
enum Mounted {
    Done,
    Session(Session),
    No,
}
