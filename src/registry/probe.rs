//! Questions that change nothing: does a registry answer, and may we write there.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{Error, Registries, Remote};
use crate::{
    net::{self, Method, Request, Url},
    oci::Host,
};

/// Holds how a registry answered to `GET /v2/`.
#[derive(Clone, Debug)]
pub struct Pong {
    /// The address that was asked, with the scheme that was found.
    pub url: Url,
    /// The status: 200, or 401 when it wants to know who asks.
    pub status: u16,
    /// The time that its clock shows, as its `Date` header says, and when that was here.
    pub date: Option<(Timestamp, Timestamp)>,
    /// How long the answer took.
    pub took: Duration,
    /// What calls itself a registry: the API version header, or a challenge (distribution-spec, "Determining Support").
    pub is_registry: bool,
}

/// Says what became of an upload that was opened only to be given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// The registry has forgotten it.
    Up,
    /// The registry knows no way to give up; it forgets unfinished uploads by itself.
    ToTime,
}

impl Registries {
    /// Asks a registry whether it is there. Credentials are not sent.
    ///
    /// # Errors
    /// [`Error::Net`] when there is no answer.
    pub async fn ping(&self, host: &Host) -> Result<Pong, Error> {
        let endpoint = self.endpoint(host, host);
        let url = endpoint.url("v2/").await?;
        let begun = Instant::now();
        let request = Request::get(url.clone()).on_behalf_of(host);
        let response = endpoint.client.once(&request).await.map_err(|cause| endpoint.net("", cause))?;
        let (took, here) = (begun.elapsed(), Timestamp::now());
        let date = response.header("date").and_then(net::http_date).map(|there| (there, here));
        let known = response.header("docker-distribution-api-version").is_some();
        let status = response.status();
        let is_registry = match status {
            200 => true,
            401 => known || response.header("www-authenticate").is_some(),
            _ => known,
        };
        response.discard().await;
        Ok(Pong { url, status, date, took, is_registry })
    }
}

impl Remote {
    /// Opens an upload and gives it up again: the registry checks name and rights as for a real one, and no content is
    /// sent.
    ///
    /// # Errors
    /// The registry's refusal; no answer.
    pub async fn try_upload(&self) -> Result<Given, Error> {
        let session = self.begin().await?;
        let shown = self.shown_at(&session.url).await?;
        let request = Request::new(Method::DELETE, session.url.clone())
            .on_behalf_of(&self.endpoint.profile)
            .authorization(shown.value);
        match self.endpoint.client.once(&request).await {
            Ok(response) if (200..300).contains(&response.status()) => Ok(Given::Up),
            _ => Ok(Given::ToTime),
        }
    }
}
