//! Writing: uploads, manifests, deletes.

use axum::{
    http::{HeaderName, StatusCode, header},
    response::Response,
};

use crate::oci::{Algorithm, Digest, Manifest, MediaType, Repository};

use super::{
    api::{Asked, CONTENT_DIGEST, Registry, plain, with},
    arrival::Arrival,
    backend::{Backend, Pushed},
    refusal::Refusal,
    route::{self, Which},
    span,
};

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const TAG: HeaderName = HeaderName::from_static("oci-tag");
const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// The most tags in one push; the specification asks for ten.
const MAX_TAGS: usize = 100;

impl<B: Backend> Registry<B> {
    pub(super) async fn post_upload(
        &self,
        name: &Repository,
        asked: &Asked<'_>,
        body: Arrival,
    ) -> Result<Response, Refusal> {
        if let Some(text) = asked.query.get("mount") {
            let digest = route::digest(text)?;
            // Where it comes from is a hint only: an impossible name is a blob that is not there.
            let from = asked.query.get("from").map(|from| from.parse::<Repository>());
            let mounted = match from {
                _ if !self.policy.mount => false,
                Some(Err(_)) => false,
                Some(Ok(from)) => self.backend.mount(name, digest, Some(&from)).await?,
                None => self.backend.mount(name, digest, None).await?,
            };
            if mounted {
                return Ok(self.created_blob(name, digest, asked));
            }
        }
        let announced = asked.query.get("digest").map(route::digest).transpose()?;
        let algorithm = match (announced, asked.query.get("digest-algorithm")) {
            (Some(digest), _) => digest.algorithm(),
            (None, None | Some("sha256")) => Algorithm::Sha256,
            (None, Some("sha512")) => Algorithm::Sha512,
            (None, Some(_)) => return Err(Refusal::Parameter("digest-algorithm")),
        };
        let id = self.backend.begin(name, algorithm).await?;
        match announced {
            Some(digest) if self.policy.single_post => {
                if let Err(refusal) = self.backend.finish(name, &id, digest, None, body).await {
                    // Nobody knows the id of this upload; if it cannot be dropped now, it becomes stale.
                    let _ = self.backend.cancel(name, &id).await;
                    return Err(refusal);
                }
                Ok(self.created_blob(name, digest, asked))
            }
            _ => Ok(self.upload(StatusCode::ACCEPTED, name, &id, 0, asked)),
        }
    }

    pub(super) async fn get_upload(&self, name: &Repository, id: &str, asked: &Asked<'_>) -> Result<Response, Refusal> {
        let length = self.backend.progress(name, id).await?;
        Ok(self.upload(StatusCode::NO_CONTENT, name, id, length, asked))
    }

    pub(super) async fn patch_upload(
        &self,
        name: &Repository,
        id: &str,
        asked: &Asked<'_>,
        body: Arrival,
    ) -> Result<Response, Refusal> {
        let start = chunk_start(asked, &body)?;
        let length = self.backend.append(name, id, start, body).await;
        let length = length.map_err(|refusal| self.located(refusal, name, id, asked))?;
        Ok(self.upload(StatusCode::ACCEPTED, name, id, length, asked))
    }

    pub(super) async fn put_upload(
        &self,
        name: &Repository,
        id: &str,
        asked: &Asked<'_>,
        body: Arrival,
    ) -> Result<Response, Refusal> {
        let digest = route::digest(asked.query.get("digest").ok_or(Refusal::DigestMissing)?)?;
        let start = chunk_start(asked, &body)?;
        let finished = self.backend.finish(name, id, digest, start, body).await;
        finished.map_err(|refusal| self.located(refusal, name, id, asked))?;
        Ok(self.created_blob(name, digest, asked))
    }

    pub(super) async fn delete_upload(&self, name: &Repository, id: &str) -> Result<Response, Refusal> {
        self.backend.cancel(name, id).await?;
        Ok(plain(StatusCode::NO_CONTENT))
    }

    pub(super) async fn delete_blob(&self, name: &Repository, digest: Digest) -> Result<Response, Refusal> {
        self.must_delete()?;
        self.backend.delete_blob(name, digest).await?;
        Ok(plain(StatusCode::ACCEPTED))
    }

    pub(super) async fn delete_manifest(&self, name: &Repository, which: &Which) -> Result<Response, Refusal> {
        self.must_delete()?;
        self.backend.delete_manifest(name, which).await?;
        Ok(plain(StatusCode::ACCEPTED))
    }

    fn must_delete(&self) -> Result<(), Refusal> {
        if self.policy.delete { Ok(()) } else { Err(Refusal::Unsupported("this registry does not delete")) }
    }

    pub(super) async fn put_manifest(
        &self,
        name: &Repository,
        which: Which,
        asked: &Asked<'_>,
        mut body: Arrival,
    ) -> Result<Response, Refusal> {
        let bytes = body.collect(self.policy.max_manifest).await?;
        let announced = asked.header(header::CONTENT_TYPE).map(MediaType::new);
        let view = Manifest::parse(announced.as_ref(), &bytes).map_err(Refusal::ManifestInvalid)?;
        let (digest, mut tags) = match which {
            Which::Digest(expected) => {
                let actual = expected.same_algorithm(&bytes);
                if actual != expected {
                    return Err(Refusal::DigestMismatch { expected, actual });
                }
                (expected, Vec::new())
            }
            Which::Tag(tag) => (Digest::sha256(&bytes), vec![tag]),
        };
        let by_digest = tags.is_empty();
        for text in asked.query.all("tag").filter(|_| by_digest) {
            let tag = route::tag(text)?;
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        if tags.len() > MAX_TAGS {
            return Err(Refusal::Parameter("tag"));
        }
        let expected = asked.header(header::IF_MATCH).map(|list| {
            // `*` and tags that are not ours leave an empty list or match nothing.
            list.split(',').filter_map(|tag| tag.trim().trim_matches('"').parse().ok()).collect()
        });
        let subject = view.subject.as_ref().map(|subject| subject.digest).filter(|_| self.policy.referrers);
        let pushed = Pushed { bytes, digest, media_type: view.media_type.clone(), view, tags: tags.clone(), expected };
        self.backend.put_manifest(name, pushed, self.policy).await?;
        let location = self.location(&format!("/v2/{name}/manifests/{digest}"), asked);
        let mut response = with(plain(StatusCode::CREATED), header::LOCATION, &location);
        response = with(response, CONTENT_DIGEST, &digest.to_string());
        if let Some(subject) = subject {
            response = with(response, SUBJECT, &subject.to_string());
        }
        for tag in tags.iter().filter(|_| by_digest) {
            response = with(response, TAG, tag.as_str());
        }
        Ok(response)
    }

    fn created_blob(&self, name: &Repository, digest: Digest, asked: &Asked<'_>) -> Response {
        let location = self.location(&format!("/v2/{name}/blobs/{digest}"), asked);
        let response = with(plain(StatusCode::CREATED), header::LOCATION, &location);
        with(response, CONTENT_DIGEST, &digest.to_string())
    }

    fn upload(&self, status: StatusCode, name: &Repository, id: &str, length: u64, asked: &Asked<'_>) -> Response {
        let response = with(plain(status), header::LOCATION, &self.upload_location(name, id, asked));
        with(with(response, header::RANGE, &span::arrived(length)), UPLOAD_ID, id)
    }

    fn upload_location(&self, name: &Repository, id: &str, asked: &Asked<'_>) -> String {
        self.location(&format!("/v2/{name}/blobs/uploads/{id}"), asked)
    }

    fn located(&self, refusal: Refusal, name: &Repository, id: &str, asked: &Asked<'_>) -> Refusal {
        match refusal {
            Refusal::OutOfOrder { held, .. } => {
                Refusal::OutOfOrder { held, location: self.upload_location(name, id, asked) }
            }
            other => other,
        }
    }
}

/// Returns where a chunk starts, when the client says so; its length must be what it says.
fn chunk_start(asked: &Asked<'_>, body: &Arrival) -> Result<Option<u64>, Refusal> {
    let Some(range) = asked.header(header::CONTENT_RANGE) else { return Ok(None) };
    let (first, last) = span::chunk(range).ok_or(Refusal::Header("Content-Range"))?;
    match body.announced() {
        // An empty body cannot be written as an inclusive range; clients that try are taken at their length.
        Some(0) => Ok(Some(first)),
        Some(actual) if last.checked_sub(first).and_then(|rest| rest.checked_add(1)) != Some(actual) => {
            Err(Refusal::SizeInvalid { announced: (last + 1).saturating_sub(first), actual })
        }
        _ => Ok(Some(first)),
    }
}
