//! Reading: manifests, blobs, and the lists of repositories, tags and referrers.

use axum::{
    body::Body,
    http::{HeaderName, StatusCode, header},
    response::Response,
};

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::oci::{Digest, Repository, media_type};

use super::{
    api::{Asked, Registry, plain, with, with_digest},
    backend::Backend,
    refusal::Refusal,
    route::{self, Which},
    span::{self, Span},
};

const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

/// The most bytes of descriptors in one page of referrers: clients read an index of up to 4 MiB (distribution
/// specification, "Pushing Manifests"); the frame around them needs a little.
const REFERRERS_BYTES: usize = (4 << 20) - 1024;

impl<B: Backend> Registry<B> {
    pub(super) async fn get_manifest(
        &self,
        name: &Repository,
        which: &Which,
        asked: &Asked<'_>,
    ) -> Result<Response, Refusal> {
        let stored = self.backend.manifest(name, which).await?;
        let digest = stored.descriptor.digest;
        if is_unchanged(asked, digest) {
            return Ok(with_digest(plain(StatusCode::NOT_MODIFIED), digest));
        }
        let length = stored.bytes.len();
        let body = if asked.wants_body { Body::from(stored.bytes) } else { Body::empty() };
        let response = with(Response::new(body), header::CONTENT_TYPE, stored.descriptor.media_type.as_str());
        Ok(with_digest(with(response, header::CONTENT_LENGTH, &length.to_string()), digest))
    }

    pub(super) async fn get_blob(
        &self,
        name: &Repository,
        digest: Digest,
        asked: &Asked<'_>,
    ) -> Result<Response, Refusal> {
        let size = self.backend.size(name, digest).await?;
        if is_unchanged(asked, digest) {
            return Ok(with_digest(plain(StatusCode::NOT_MODIFIED), digest));
        }
        // A range that depends on another version of the blob is void; content by digest has one version only.
        let applies = asked.header(header::IF_RANGE).is_none_or(|tag| tag == format!("\"{digest}\""));
        let range = asked.header(header::RANGE).filter(|_| applies && asked.wants_body);
        let (status, from, to) = match Span::of(range, size) {
            Span::Whole => (StatusCode::OK, 0, size),
            Span::Part(from, to) => (StatusCode::PARTIAL_CONTENT, from, to),
            Span::Unsatisfiable => return Err(Refusal::Range { size }),
        };
        let body = match asked.wants_body && from < to {
            true => {
                // A failure that shows at once can still be told; later, only the connection can be broken.
                let mut reader = self.backend.open(name, digest, from, to).await?;
                let first = reader.try_next().await?;
                Body::from_stream(stream::iter(first.map(Ok)).chain(reader))
            }
            false => Body::empty(),
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        if status == StatusCode::PARTIAL_CONTENT {
            response = with(response, header::CONTENT_RANGE, &format!("bytes {from}-{}/{size}", to - 1));
        }
        response = with(response, header::CONTENT_LENGTH, &(to - from).to_string());
        response = with(response, header::CONTENT_TYPE, "application/octet-stream");
        response = with(response, header::ACCEPT_RANGES, "bytes");
        Ok(with_digest(response, digest))
    }

    pub(super) async fn repositories(&self, asked: &Asked<'_>) -> Result<Response, Refusal> {
        let names = self.backend.repositories().await?;
        self.listing("/v2/_catalog", &names, asked, |page| serde_json::json!({ "repositories": page }))
    }

    pub(super) async fn tags(
        &self,
        shown: &Repository,
        name: &Repository,
        asked: &Asked<'_>,
    ) -> Result<Response, Refusal> {
        let tags = self.backend.tags(name).await?;
        let path = format!("/v2/{shown}/tags/list");
        self.listing(&path, &tags, asked, |page| serde_json::json!({ "name": shown, "tags": page }))
    }

    fn listing(
        &self,
        path: &str,
        names: &[String],
        asked: &Asked<'_>,
        body: impl FnOnce(&[String]) -> serde_json::Value,
    ) -> Result<Response, Refusal> {
        let n = match asked.query.get("n") {
            Some(text) => Some(text.parse::<usize>().map_err(|_| Refusal::Parameter("n"))?),
            None => None,
        };
        let (page, more) = span::page(names, n, asked.query.get("last"), self.policy.page);
        let mut response = json(body(page), "application/json");
        if let (true, Some(last)) = (more, page.last()) {
            let n = n.unwrap_or(self.policy.page).min(self.policy.page).to_string();
            response = with(response, header::LINK, &next(path, &[("n", &n), ("last", last)], asked));
        }
        Ok(response)
    }

    pub(super) async fn referrers(
        &self,
        shown: &Repository,
        name: &Repository,
        subject: Digest,
        asked: &Asked<'_>,
    ) -> Result<Response, Refusal> {
        if !self.policy.referrers {
            return Err(Refusal::NoEndpoint);
        }
        // A `+` that the client did not encode arrives as a space, which no media type holds.
        let filter = asked.query.get("artifactType").map(|wanted| wanted.replace(' ', "+"));
        let after = asked.query.get("last").map(route::digest).transpose()?;
        let mut rest = self.backend.referrers(name, subject).await?;
        rest.retain(|one| after.is_none_or(|after| one.digest > after));
        rest.retain(|one| filter.as_ref().is_none_or(|wanted| one.artifact_type.as_ref() == Some(wanted)));
        rest.sort_by_key(|one| one.digest);
        let mut page = Vec::new();
        let mut bytes = 0;
        let mut last = None;
        for one in &rest {
            let value = serde_json::json!(one);
            bytes += value.to_string().len() + 1;
            // One that is too large alone is sent alone.
            if page.len() == self.policy.page || (bytes > REFERRERS_BYTES && !page.is_empty()) {
                break;
            }
            page.push(value);
            last = Some(one.digest.to_string());
        }
        let more = page.len() < rest.len();
        let index = serde_json::json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": page });
        let mut response = json(index, media_type::INDEX);
        if filter.is_some() {
            response = with(response, FILTERS_APPLIED, "artifactType");
        }
        if let (true, Some(last)) = (more, last) {
            let path = format!("/v2/{shown}/referrers/{subject}");
            let mut parameters = vec![("last", last.as_str())];
            parameters.extend(filter.as_deref().map(|wanted| ("artifactType", wanted)));
            response = with(response, header::LINK, &next(&path, &parameters, asked));
        }
        Ok(response)
    }
}

/// Writes the link to the next page (RFC 8288).
fn next(path: &str, parameters: &[(&str, &str)], asked: &Asked<'_>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters);
    query.extend_pairs(asked.query.get("ns").map(|origin| ("ns", origin)));
    format!("<{path}?{}>; rel=\"next\"", query.finish())
}

fn json(value: serde_json::Value, media_type: &str) -> Response {
    let text = value.to_string();
    let length = text.len().to_string();
    let response = with(Response::new(Body::from(text)), header::CONTENT_TYPE, media_type);
    with(response, header::CONTENT_LENGTH, &length)
}

/// Tells whether the client has this content already (`If-None-Match`, RFC 9110, section 13.1.2).
pub(super) fn is_unchanged(asked: &Asked<'_>, digest: Digest) -> bool {
    asked.header(header::IF_NONE_MATCH).is_some_and(|tags| {
        tags.split(',')
            .map(|tag| tag.trim().trim_start_matches("W/").trim_matches('"'))
            .any(|tag| tag == digest.to_string())
    })
}
