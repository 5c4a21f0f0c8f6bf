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
    error::{Error, Mismatch, Who},
    feed::{self, Feed},
    remote::Remote,
    session::{Mounted, Session},
    wire::{Answer, upload_range, with_digest},
};
use crate::{
    error::Classify as _,
    event::Event,
    net::{self, HeaderValue, Method, Request, Response, Url, header},
    oci::Descriptor,
    store,
};

/// How often a registry may keep less of a chunk than it was sent.
const MAX_SHORTFALLS: u32 = 64;
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
        let (mut refetched, mut renewals) = (false, 0);
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
                    if !trial.again(&error.to_string(), asked).await {
                        return Err(self.place_error(error));
                    }
                }
                Setback::Refused(error) => match mode.next() {
                    Some(next) => mode = next,
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
        let answer = Answer::parse(status, &response.beginning(MAX_ERROR_BODY).await, &shown.who.hidden);
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
                    // Some registries write the range with its end exclusive; and after a single byte, 0-0 means that byte.
                    let got = response
                        .header("range")
                        .and_then(upload_range)
                        .map_or(to, |got| if got == to + 1 || (got, to) == (0, 1) { to } else { got });
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
            let digests = Box::new(Mismatch { wanted: blob.digest, actual });
            return Err(Setback::Final(Error::WrongDigest { place, what, digests }));
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
