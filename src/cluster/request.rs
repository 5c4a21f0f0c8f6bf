//! One request to the API server and its answer.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{Conflict, Error, Inner, Place, Refused, Version};
use crate::{
    error::{Classify as _, Diagnostic},
    event::Event,
    net::{HeaderValue, Method, Request, Response, header, http_date, is_transient, printable},
};

/// The largest answer. A page of a list holds up to 500 objects, each at most about 1.5 MiB in etcd and a few kilobytes
/// in practice.
pub(super) const MAX_ANSWER: usize = 128 << 20;
/// How much of a text from the server is shown.
const SHOWN: usize = 500;
/// How much of an answer is read that is a failure.
const SETTLED: usize = 64 << 10;
/// How the server begins when a field is not in the schema of a built-in kind (apimachinery, managedfields,
/// `structuredmerge.go`).
const WRONG_FIELDS: &str = "failed to create typed patch object";

/// Describes a request.
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) path: Vec<String>,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) body: Option<(&'static str, Value)>,
    /// What is asked for, in words for messages.
    pub(super) what: String,
}

impl Ask {
    pub(super) fn get(path: impl IntoIterator<Item = impl Into<String>>, what: impl Into<String>) -> Self {
        Ask {
            method: Method::GET,
            path: path.into_iter().map(Into::into).collect(),
            query: Vec::new(),
            body: None,
            what: what.into(),
        }
    }
}

/// Holds an answer whose status was not judged yet.
pub(super) struct Reply {
    pub(super) status: u16,
    /// What the server's clock shows, and what ours showed then.
    pub(super) date: Option<(Timestamp, Timestamp)>,
    pub(super) body: bytes::Bytes,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    kind: String,
    reason: Option<String>,
    message: Option<String>,
    details: Option<Details>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Details {
    causes: Option<Vec<Cause>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cause {
    reason: Option<String>,
    message: Option<String>,
    field: Option<String>,
}

impl Reply {
    pub(super) fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Tells whether a 404 comes from the API, about an object, and not from something in front of it.
    pub(super) fn says_not_found(&self) -> bool {
        self.status == 404
            && serde_json::from_slice::<Status>(&self.body)
                .is_ok_and(|status| status.kind == "Status" && status.reason.as_deref() == Some("NotFound"))
    }

    /// Tells whether a failure is not the server's own: the object has fields that its kind does not have.
    fn blames_the_object(&self) -> bool {
        self.status == 500
            && serde_json::from_slice::<Status>(&self.body)
                .is_ok_and(|status| status.message.unwrap_or_default().starts_with(WRONG_FIELDS))
    }

    /// Returns the object that a good answer holds, or what went wrong.
    pub(super) fn object(self, place: &Place, what: &str) -> Result<Value, Error> {
        if !self.is_ok() {
            return Err(self.refusal(place, what));
        }
        let foreign =
            |problem: String| Error::Foreign { place: Box::new(place.clone()), what: what.to_owned(), problem };
        let value: Value = serde_json::from_slice(&self.body).map_err(|_| foreign("it is no JSON".to_owned()))?;
        if value.is_object() { Ok(value) } else { Err(foreign("it is no object".to_owned())) }
    }

    /// Returns what an answer other than 2xx means.
    pub(super) fn refusal(&self, place: &Place, what: &str) -> Error {
        let place = Box::new(place.clone());
        let what = what.to_owned();
        let status = serde_json::from_slice::<Status>(&self.body).ok().filter(|status| status.kind == "Status");
        let from_api = status.is_some();
        let refused = Box::new(match status {
            Some(status) => {
                let text = |text: Option<String>| printable(&text.unwrap_or_default(), SHOWN);
                let causes = status.details.and_then(|details| details.causes).unwrap_or_default();
                Refused {
                    reason: text(status.reason),
                    message: text(status.message),
                    causes: causes.into_iter().map(|c| (text(c.reason), text(c.message), text(c.field))).collect(),
                }
            }
            None => {
                let begin = &self.body[..self.body.len().min(SHOWN)];
                let text = printable(&String::from_utf8_lossy(begin), SHOWN);
                let message = if text.is_empty() { format!("status {} without a body", self.status) } else { text };
                Refused { message, ..Refused::default() }
            }
        });
        match self.status {
            401 => Error::Unauthorized { place, refused },
            403 => Error::Forbidden { place, what, refused },
            404 if from_api => Error::NotFound { place, what, refused },
            409 => {
                let conflicts: Vec<Conflict> = refused
                    .causes
                    .iter()
                    .filter(|(reason, ..)| reason == "FieldManagerConflict")
                    .map(|(_, message, field)| Conflict {
                        manager: message.strip_prefix("conflict with ").unwrap_or(message).to_owned(),
                        field: field.clone(),
                    })
                    .collect();
                match conflicts.is_empty() {
                    true => Error::Invalid { place, what, refused },
                    false => Error::Conflict { place, what, conflicts },
                }
            }
            400 | 405 | 406 | 413 | 415 | 422 if from_api => Error::Invalid { place, what, refused },
            500 if self.blames_the_object() => Error::Invalid { place, what, refused },
            status @ (408 | 410 | 429 | 500..=599) => Error::Failing { place, what, status, refused },
            status => Error::Foreign { place, what, problem: format!("status {status}: {}", refused.message) },
        }
    }
}

impl Inner {
    /// Makes a request; a refused token or plugin credential is renewed once.
    pub(super) async fn reply(&self, ask: &Ask) -> Result<Reply, Error> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(&ask.path);
        }
        if !ask.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&ask.query);
        }
        let mut anew = false;
        loop {
            let authorization =
                self.login.authorization(anew).await.map_err(|problem| Error::plugin(&self.place, problem))?;
            let mut request = Request::new(ask.method.clone(), url.clone())
                .header(header::ACCEPT, HeaderValue::from_static("application/json"))
                .authorization(authorization);
            for (name, value) in self.login.headers() {
                request = request.header(name.clone(), value.clone());
            }
            if let Some((media_type, body)) = &ask.body {
                request =
                    request.header(header::CONTENT_TYPE, HeaderValue::from_static(media_type)).body(body.to_string());
            }
            let response = match ask.method {
                Method::PATCH => self.patch(request, &ask.what).await?,
                _ => self.client.send(request).await.map_err(|cause| Error::net(&self.place, cause))?,
            };
            if response.status() == 401 && self.login.can_renew() && !anew {
                response.discard().await;
                anew = true;
                continue;
            }
            self.pass_warnings(&response);
            let status = response.status();
            let date = response.header("date").and_then(http_date).map(|there| (there, Timestamp::now()));
            let body = response.bytes(MAX_ANSWER).await.map_err(|cause| Error::net(&self.place, cause))?;
            return Ok(Reply { status, date, body });
        }
    }

    /// Makes a request with an object in it. Tried again as every other, unless the failure is one of the object: for a
    /// field that a built-in kind does not have, the server answers 500 (seen with 1.34).
    async fn patch(&self, request: Request, what: &str) -> Result<Response, Error> {
        let mut trial = self.client.trial(format!("applying {what} to {}", self.place));
        loop {
            let cause = match self.client.once(&request).await {
                Ok(response) if is_transient(response.status()) => {
                    let (status, asked) = (response.status(), response.retry_after());
                    let reply = Reply { status, date: None, body: response.beginning(SETTLED).await };
                    if reply.blames_the_object() || !trial.again(&format!("status {status}"), asked).await {
                        return Err(reply.refusal(&self.place, what));
                    }
                    continue;
                }
                Ok(response) => return Ok(response),
                Err(cause) => cause,
            };
            if !cause.kind().is_transient() || !trial.again(&cause.to_string(), None).await {
                return Err(Error::net(&self.place, cause));
            }
        }
    }

    /// Makes a request whose answer is an object.
    pub(super) async fn object(&self, ask: &Ask) -> Result<Value, Error> {
        self.reply(ask).await?.object(&self.place, &ask.what)
    }

    /// Passes on what the server warns of, such as deprecated versions (RFC 7234 section 5.5, code 299).
    fn pass_warnings(&self, response: &Response) {
        for text in response.headers("warning").into_iter().take(20) {
            let text =
                text.strip_prefix("299 ").map_or(text, |rest| rest.split_once(' ').map_or(rest, |(_, text)| text));
            let text = text.trim().trim_matches('"').replace("\\\"", "\"");
            let message = format!("{}: {}", self.place, printable(&text, SHOWN));
            self.client.observer().on(&Event::Noted(Diagnostic::warning("cluster-warning", message)));
        }
    }

    pub(super) async fn ask_version(&self) -> Result<(Version, Option<(Timestamp, Timestamp)>), Error> {
        let ask = Ask::get(["version"], "the version");
        let reply = self.reply(&ask).await?;
        let date = reply.date;
        let value = reply.object(&self.place, &ask.what)?;
        let foreign = |problem: &str| Error::Foreign {
            place: Box::new(self.place.clone()),
            what: ask.what.clone(),
            problem: problem.to_owned(),
        };
        let version = Version::deserialize(&value).map_err(|_| foreign("no version in it"))?;
        let text = |text: &String| printable(text, 100);
        if version.git_version.is_empty() {
            return Err(foreign("no gitVersion in it"));
        }
        let version = Version {
            major: text(&version.major),
            minor: text(&version.minor),
            git_version: text(&version.git_version),
            platform: text(&version.platform),
        };
        Ok((version, date))
    }

    pub(super) async fn ready(&self) -> Result<Result<(), String>, Error> {
        let mut ask = Ask::get(["readyz"], "whether it is ready");
        ask.query.push(("verbose", String::new()));
        let reply = self.reply(&ask).await?;
        let text = String::from_utf8_lossy(&reply.body);
        if reply.is_ok() {
            return Ok(Ok(()));
        }
        // Lines are `[+]etcd ok` and `[-]poststarthook/… failed: reason withheld`.
        let failed: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("[-]")).collect();
        if failed.is_empty() {
            return Err(reply.refusal(&self.place, &ask.what));
        }
        Ok(Err(printable(&failed.join("; "), SHOWN)))
    }
}
