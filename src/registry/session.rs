//! Upload sessions: how they are opened, where they are, how they are given up.

use std::time::Duration;

use super::{
    endpoint::Shown,
    error::Error,
    remote::Remote,
    scope::Scopes,
    wire::{location, upload_range},
};
use crate::{
    net::{self, Method, Request, Response, Url},
    oci::Descriptor,
};

/// The smallest chunk of the last rung; Amazon's registry wants 5 MB and says so, GitHub's refuses more than 4 MiB.
const CHUNK: u64 = 4 << 20;
/// The largest chunk that a registry can ask for.
const MAX_CHUNK: u64 = 1 << 30;

/// An open upload.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) url: Url,
    /// The size of chunks, if it comes to chunks.
    pub(super) chunk: u64,
}

/// What came of a mount.
pub(super) enum Mounted {
    Done,
    Session(Session),
    No,
}

impl Remote {
    /// Asks the registry to take a blob from another of its repositories. Refusals of any kind mean only that it must be
    /// uploaded: registries answer 202, 400, 401, 403, 404 or 405 to a mount that they do not like.
    pub(super) async fn mount(&self, blob: &Descriptor) -> Result<Mounted, Error> {
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
    pub(super) async fn begin(&self) -> Result<Session, Error> {
        let request = self.request(Method::POST, "blobs/uploads/").await?;
        let (response, who) = self.send(request).await?;
        match response.status() {
            200..=299 => {
                let session = self.session(&response)?;
                response.discard().await;
                Ok(session)
            }
            _ => Err(self.refusal(response, who, "starting an upload", "the repository").await),
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

    pub(super) fn follow(&self, here: &Url, text: &str) -> Result<Url, Error> {
        location(here, text).map_err(|cause| Error::Location {
            place: self.endpoint.place(&self.path),
            location: net::printable(text.split(['?', '#']).next().unwrap_or_default(), 200),
            cause,
        })
    }

    /// Tells the registry that an upload will not be finished. Not worth an error: registries clean up by themselves.
    pub(super) async fn abandon(&self, session: &Url) {
        let cancel = async {
            let shown = self.shown_at(session).await.ok()?;
            let request = Request::new(Method::DELETE, session.clone()).on_behalf_of(&self.endpoint.profile);
            self.endpoint.client.once(&request.authorization(shown.value)).await.ok()
        };
        let _ = tokio::time::timeout(Duration::from_secs(5), cancel).await;
    }

    /// Returns what to show at the address of an upload: nothing outside of the registry's own origin.
    pub(super) async fn shown_at(&self, url: &Url) -> Result<Shown, Error> {
        if net::may_carry(self.endpoint.base().await?, url) {
            self.endpoint.show(&self.path, &self.scopes()).await
        } else {
            Ok(Shown::default())
        }
    }

    /// Asks how far an upload came.
    pub(super) async fn status(&self, session: &mut Session) -> Option<u64> {
        let (response, _) = self.send(Request::get(session.url.clone())).await.ok()?;
        let got = matches!(response.status(), 200..=299).then(|| upload_range(response.header("range")?)).flatten()?;
        if let Some(text) = response.header("location") {
            session.url = self.follow(response.url(), text).ok()?;
        }
        Some(got)
    }
}
