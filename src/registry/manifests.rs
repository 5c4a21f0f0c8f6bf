//! Manifests and tags.

use std::{collections::HashSet, fmt, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde::Deserialize;

use super::{
    endpoint::MAX_ERROR_BODY,
    error::{Error, Mismatch, PagesProblem},
    remote::Remote,
    wire::{Answer, next_link},
};
use crate::{
    error::{Classify as _, Side},
    net::{self, HeaderValue, Method, Request, Response, header},
    oci::{Descriptor, Digest, Manifest, ManifestError, MediaType, Tag},
    store,
};

/// Names a manifest within a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// By what it is called.
    Tag(Tag),
    /// By what it is.
    Digest(Digest),
}

/// Holds a manifest as it came, with the descriptor that follows from its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawManifest {
    /// Media type, digest and size.
    pub descriptor: Descriptor,
    /// The bytes, never changed.
    pub bytes: Bytes,
}

/// What we understand, newest first. Some registries answer with schema 1 when the OCI types are missing, others with 406
/// when anything unusual is asked for, so this is sent with manifests only.
const ACCEPT: HeaderValue = HeaderValue::from_static(
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json",
);
/// More pages than this has no real list.
const MAX_PAGES: usize = 10_000;
/// More tags than this has no real repository.
const MAX_TAGS: usize = 2_000_000;
/// The largest page that is read.
const MAX_PAGE: usize = 8 << 20;

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            By::Tag(tag) => tag.fmt(f),
            By::Digest(digest) => digest.fmt(f),
        }
    }
}

impl From<Tag> for By {
    fn from(tag: Tag) -> Self {
        By::Tag(tag)
    }
}

impl From<Digest> for By {
    fn from(digest: Digest) -> Self {
        By::Digest(digest)
    }
}

impl RawManifest {
    /// Takes bytes that are ours, with their media type.
    pub fn new(media_type: impl Into<MediaType>, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        RawManifest { descriptor: Descriptor::of(media_type, &bytes), bytes }
    }
}

/// How long to wait before a manifest is put again that was refused with DIGEST_INVALID. What we send has the digest that
/// we say, so these words are about something else: distribution says them too when the link of a layer or child that the
/// manifest names does not hold a digest (`PutManifest` in registry/handlers/manifests.go), as while that link is being
/// written. That passes.
const UNSETTLED_WAITS: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_millis(300), Duration::from_millis(1000), Duration::from_millis(3000)];

impl Remote {
    /// Fetches a manifest. Its digest is computed from its bytes and must be the one asked for or announced.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::WrongDigest`], [`Error::Manifest`] when it cannot be read, and everything that can
    /// happen to any request.
    pub async fn manifest(&self, by: &By) -> Result<RawManifest, Error> {
        if let By::Digest(digest) = by
            && let Some(known) = self.endpoint.known_manifest(&self.path, digest).filter(|_| self.side == Side::Source)
        {
            return Ok(known);
        }
        let mut refetched = false;
        loop {
            match self.fetch_manifest(by).await {
                // Wrong bytes are fetched once more; a damaged cache on the way may heal, a wrong registry does not.
                Err(Error::WrongDigest { digests, .. }) if !refetched => {
                    let announced = digests.wanted;
                    refetched = true;
                    self.endpoint.client.observer().on(&crate::event::Event::Refetching { digest: announced });
                }
                Ok(raw) => {
                    if self.side == Side::Source {
                        self.endpoint.remember_manifest(&self.path, &raw);
                    }
                    return Ok(raw);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn fetch_manifest(&self, by: &By) -> Result<RawManifest, Error> {
        let request = self.request(Method::GET, &format!("manifests/{by}")).await?.header(header::ACCEPT, ACCEPT);
        let mut trial = self.endpoint.client.trial(format!("GET {}:{by}", self.endpoint.place(&self.path)));
        let (announced_type, announced, bytes) = loop {
            let (response, who) = self.send(request.clone()).await?;
            if response.status() != 200 {
                return Err(self.refusal(response, who, "reading a manifest", &format!("manifest {by}")).await);
            }
            let announced_type = response.header("content-type").map(MediaType::new);
            let announced = content_digest(&response);
            match response.bytes(Manifest::MAX_BYTES).await {
                Ok(bytes) => break (announced_type, announced, bytes),
                Err(net::Error::TooLarge { .. }) => {
                    let cause = ManifestError::TooLarge(Manifest::MAX_BYTES + 1);
                    return Err(self.manifest_error(by, cause));
                }
                Err(error) if error.kind().is_transient() => {
                    if !trial.again(&error.to_string(), None).await {
                        return Err(self.net(error));
                    }
                }
                Err(error) => return Err(self.net(error)),
            }
        };
        let digest = match by {
            By::Digest(asked) => {
                self.same(by, *asked, asked.same_algorithm(&bytes))?;
                *asked
            }
            By::Tag(_) => {
                if let Some(announced) = announced {
                    self.same(by, announced, announced.same_algorithm(&bytes))?;
                }
                Digest::sha256(&bytes)
            }
        };
        let media_type = match Manifest::parse(announced_type.as_ref(), &bytes) {
            Ok(manifest) => manifest.media_type,
            // Reached by digest, content is carried whatever it is.
            Err(ManifestError::UnknownType(media_type)) if matches!(by, By::Digest(_)) => media_type,
            Err(cause) => return Err(self.manifest_error(by, cause)),
        };
        Ok(RawManifest { descriptor: Descriptor::new(media_type, digest, bytes.len() as u64), bytes })
    }

    fn same(&self, by: &By, announced: Digest, actual: Digest) -> Result<(), Error> {
        if announced == actual {
            return Ok(());
        }
        let digests = Box::new(Mismatch { wanted: announced, actual });
        Err(Error::WrongDigest { place: self.endpoint.place(&self.path), what: format!("manifest {by}"), digests })
    }

    fn manifest_error(&self, by: &By, cause: ManifestError) -> Error {
        Error::Manifest {
            place: self.endpoint.place(&self.path),
            what: format!("manifest {by}"),
            cause: Box::new(cause),
        }
    }

    /// Asks what a manifest is without fetching it; none when it is not there. A registry that answers HEAD
    /// incompletely is asked by GET.
    ///
    /// # Errors
    /// As [`Remote::manifest`], but "not there" is no error.
    pub async fn head(&self, by: &By) -> Result<Option<Descriptor>, Error> {
        let request = self.request(Method::HEAD, &format!("manifests/{by}")).await?.header(header::ACCEPT, ACCEPT);
        let (response, who) = self.send(request).await?;
        match response.status() {
            200 => {
                let digest = match by {
                    By::Digest(digest) => Some(*digest),
                    By::Tag(_) => content_digest(&response),
                };
                if let (Some(digest), Some(size), Some(media_type)) =
                    (digest, response.content_length(), response.header("content-type").map(MediaType::new))
                    && media_type.is_manifest()
                {
                    return Ok(Some(Descriptor::new(media_type, digest, size)));
                }
            }
            404 => return Ok(None),
            400 | 405 | 406 | 501 => {}
            _ => return Err(self.refusal(response, who, "looking for a manifest", &format!("manifest {by}")).await),
        }
        response.discard().await;
        match self.manifest(by).await {
            Ok(raw) => Ok(Some(raw.descriptor)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts a manifest under its digest, or under a tag. A tag that the registry does not let move is no error when it
    /// is this very manifest already.
    ///
    /// # Errors
    /// [`Error::ManifestBlobUnknown`] when the registry misses content that the manifest names, [`Error::TagImmutable`],
    /// and everything that can happen to any request.
    pub async fn put_manifest(&self, manifest: &RawManifest, tag: Option<&Tag>) -> Result<(), Error> {
        self.send_manifest(manifest, tag).await.map(drop)
    }

    /// Puts a manifest; returns whether the registry says that it keeps the list of referrers itself.
    pub(super) async fn send_manifest(&self, manifest: &RawManifest, tag: Option<&Tag>) -> Result<bool, Error> {
        for wait in UNSETTLED_WAITS {
            match self.send_manifest_once(manifest, tag).await {
                Err(Error::Status { answer, .. }) if answer.status == 400 && answer.has_code(&["DIGEST_INVALID"]) => {
                    tokio::time::sleep(wait).await;
                }
                other => return other,
            }
        }
        self.send_manifest_once(manifest, tag).await
    }

    async fn send_manifest_once(&self, manifest: &RawManifest, tag: Option<&Tag>) -> Result<bool, Error> {
        let digest = manifest.descriptor.digest;
        let by = tag.cloned().map_or(By::Digest(digest), By::Tag);
        let content_type = HeaderValue::from_str(manifest.descriptor.media_type.as_str()).map_err(|_| {
            let cause = "a media type that HTTP cannot carry".to_owned();
            self.net(net::Error::Request { url: by.to_string(), cause })
        })?;
        let request = self
            .request(Method::PUT, &format!("manifests/{by}"))
            .await?
            .header(header::CONTENT_TYPE, content_type)
            .body(manifest.bytes.clone());
        let (response, who) = self.send(request).await?;
        if !(200..300).contains(&response.status()) {
            return self.put_refused(response, who, manifest, &by).await.map(|()| false);
        }
        let keeps_referrers = response.header("oci-subject").is_some();
        let stored = content_digest(&response).filter(|stored| stored.algorithm() == digest.algorithm());
        response.discard().await;
        match stored {
            Some(stored) => self.same(&by, digest, stored)?,
            // Not said, so it is looked for.
            None if self.head(&By::Digest(digest)).await?.is_some() => {}
            None => {
                let answer = Box::new(Answer { status: 404, ..Answer::default() });
                let what = format!("manifest {digest}, which was accepted a moment ago,");
                return Err(Error::NotFound { place: self.endpoint.place(&self.path), what, answer });
            }
        }
        Ok(keeps_referrers)
    }

    async fn put_refused(
        &self,
        response: Response,
        who: super::Who,
        manifest: &RawManifest,
        by: &By,
    ) -> Result<(), Error> {
        let asked = response.retry_after();
        let answer = Answer::parse(response.status(), &response.beginning(MAX_ERROR_BODY).await, &who.hidden);
        let place = self.endpoint.place(&self.path);
        // distribution says MANIFEST_BLOB_UNKNOWN with 400, go-containerregistry MANIFEST_UNKNOWN with 404.
        if matches!(answer.status, 400 | 404 | 422)
            && answer.has_code(&["MANIFEST_BLOB_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN"])
        {
            return Err(Error::ManifestBlobUnknown { place, what: format!("manifest {by}"), answer: Box::new(answer) });
        }
        if let By::Tag(tag) = by
            && matches!(answer.status, 400 | 403 | 409 | 412)
        {
            let wanted = manifest.descriptor.digest;
            // Only whether the tag is there counts here; if that cannot be told, the refusal itself is the error.
            if let Ok(Some(there)) = self.head(by).await {
                let have = there.digest;
                if have == wanted {
                    return Ok(());
                }
                let says_so = answer.message.as_deref().unwrap_or_default().to_ascii_lowercase().contains("immutab");
                if matches!(answer.status, 409 | 412) || answer.has_code(&["TAG_INVALID"]) || says_so {
                    let digests = Box::new(Mismatch { wanted, actual: have });
                    return Err(Error::TagImmutable { place, tag: tag.clone(), digests });
                }
            }
        }
        Err(self.refused(answer, asked, who, "writing a manifest", &format!("repository for manifest {by}")))
    }

    /// Takes a manifest from a source, checks it, and puts it under its digest.
    pub(super) async fn put_manifest_from<S: store::Source>(
        &self,
        blob: &Descriptor,
        source: &S,
        moved: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), store::Error> {
        let wrong_size =
            |actual| store::Error::Size { side: Side::Source, digest: blob.digest, expected: blob.size, actual };
        if blob.size > Manifest::MAX_BYTES as u64 {
            let cause = ManifestError::TooLarge(usize::try_from(blob.size).unwrap_or(usize::MAX));
            return Err(store::Error::Manifest { digest: blob.digest, cause });
        }
        let mut trial = self.endpoint.client.trial(format!("reading {}", blob.digest));
        let bytes = 'read: loop {
            let mut reader = source.open(blob, 0, blob.size).await?;
            let mut bytes = BytesMut::new();
            let failure = loop {
                match reader.next().await {
                    None => break 'read bytes.freeze(),
                    Some(Err(error)) => break error,
                    Some(Ok(part)) => {
                        bytes.extend_from_slice(&part);
                        if bytes.len() as u64 > blob.size {
                            return Err(wrong_size(bytes.len() as u64));
                        }
                    }
                }
            };
            if !failure.kind().is_transient() || !trial.again(&failure.to_string(), None).await {
                return Err(failure);
            }
        };
        if bytes.len() as u64 != blob.size {
            return Err(wrong_size(bytes.len() as u64));
        }
        let actual = blob.digest.same_algorithm(&bytes);
        if actual != blob.digest {
            return Err(store::Error::Corrupt { side: Side::Source, expected: blob.digest, actual });
        }
        let raw = RawManifest { descriptor: blob.clone(), bytes };
        self.put_manifest(&raw, None).await.map_err(|error| self.place_error(error))?;
        moved(blob.size);
        Ok(())
    }

    /// Lists all tags.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such repository, [`Error::Pages`] when the list leads elsewhere or nowhere.
    pub async fn tags(&self) -> Result<Vec<Tag>, Error> {
        #[derive(Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        const WHAT: &str = "list of tags";
        let mut tags = Vec::new();
        // A page of 1000 is the most that some registries allow.
        let request = self.request(Method::GET, "tags/list?n=1000").await?;
        self.pages(request, WHAT, |_, bytes| {
            let page: Page = serde_json::from_slice(bytes).map_err(|_| PagesProblem::Unreadable)?;
            // What cannot be a tag cannot be asked for either.
            tags.extend(page.tags.unwrap_or_default().iter().filter_map(|tag| tag.parse::<Tag>().ok()));
            if tags.len() > MAX_TAGS { Err(PagesProblem::TooMany) } else { Ok(()) }
        })
        .await?;
        Ok(tags)
    }

    /// Reads a list page by page; pages must stay on the registry's own origin. Returns false when the first page is
    /// answered with a status that means that there is no such list here.
    pub(super) async fn pages(
        &self,
        first: Request,
        what: &'static str,
        mut take: impl FnMut(Option<&MediaType>, &[u8]) -> Result<(), PagesProblem> + Send,
    ) -> Result<(), Error> {
        let bad = |cause| Error::Pages { place: self.endpoint.place(&self.path), what, cause };
        let mut seen = HashSet::new();
        let mut request = first;
        for _ in 0..MAX_PAGES {
            let here = request.url().clone();
            if !seen.insert(here.clone()) {
                return Err(bad(PagesProblem::Circle));
            }
            let mut trial = self.endpoint.client.trial(format!("GET {}", net::shown(&here)));
            let (next, content_type, bytes) = loop {
                let (response, who) = self.send(request.clone()).await?;
                if response.status() != 200 {
                    return Err(self.refusal(response, who, "reading a list", what).await);
                }
                let next = next_link(response.headers("link"));
                let content_type = response.header("content-type").map(MediaType::new);
                match response.bytes(MAX_PAGE).await {
                    Ok(bytes) => break (next, content_type, bytes),
                    Err(error) if error.kind().is_transient() => {
                        if !trial.again(&error.to_string(), None).await {
                            return Err(self.net(error));
                        }
                    }
                    Err(error) => return Err(self.net(error)),
                }
            };
            take(content_type.as_ref(), &bytes).map_err(bad)?;
            let Some(next) = next else { return Ok(()) };
            let next = here.join(&next).map_err(|_| bad(PagesProblem::NotAnAddress))?;
            if !net::same_origin(&here, &next) || !next.username().is_empty() {
                return Err(bad(PagesProblem::OtherOrigin));
            }
            request = Request::get(next);
        }
        Err(bad(PagesProblem::TooMany))
    }

    /// Deletes a manifest or a tag; returns whether it was there.
    ///
    /// # Errors
    /// [`Error::Status`] when the registry does not delete, and everything that can happen to any request.
    pub async fn delete(&self, by: &By) -> Result<bool, Error> {
        let request = self.request(Method::DELETE, &format!("manifests/{by}")).await?;
        let mut scopes = self.scopes();
        scopes.merge(&super::Scopes::repository(&self.path, &["delete"]));
        let (response, who) = self.endpoint.send(request, &self.path, &scopes).await?;
        match response.status() {
            200..=299 => Ok(true),
            404 => Ok(false),
            _ => Err(self.refusal(response, who, "deleting a manifest", &format!("manifest {by}")).await),
        }
    }
}

fn content_digest(response: &Response) -> Option<Digest> {
    response.header("docker-content-digest").and_then(|text| text.trim().parse().ok())
}

impl Remote {
    /// Looks for the tags under which cosign keeps signatures, attestations and SBOMs of an image.
    ///
    /// # Errors
    /// Everything that can happen to any request; a tag that is not there is no error.
    pub async fn cosign_tags(&self, digest: &Digest) -> Result<Vec<(Tag, Descriptor)>, Error> {
        let mut found = Vec::new();
        for suffix in ["sig", "att", "sbom"] {
            let text = format!("{}-{}.{suffix}", digest.algorithm().name(), digest.hex());
            // A sha512 is too long for a tag; cosign has no such tags.
            let Ok(tag) = text.parse::<Tag>() else { continue };
            if let Some(descriptor) = self.head(&By::Tag(tag.clone())).await? {
                found.push((tag, descriptor));
            }
        }
        Ok(found)
    }
}
