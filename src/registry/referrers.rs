//! Referrers: signatures, attestations and other content that names an image as its subject.
//!
//! A registry either keeps the list itself (`/referrers/`), or clients keep it under a tag (distribution specification,
//! "Referrers Tag Schema"). Descriptors in such lists are hints: some clients write wrong artifact types into them, so
//! nothing is left out because of what a descriptor says.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::{
    error::{Error, PagesProblem},
    manifests::{By, RawManifest},
    remote::Remote,
};
use crate::{
    net::Method,
    oci::{Descriptor, Digest, Manifest, MediaType, Tag, media_type},
};

/// More referrers than this has no real image; each costs a request.
const MAX_REFERRERS: usize = 100_000;
/// How often an addition to the list is tried while others change it.
const MAX_ATTEMPTS: u32 = 10;
/// The longest hash in the tag of a list ("Referrers Tag Schema": the encoded section is cut at 64 characters).
const MAX_TAG_HEX: usize = 64;

impl Remote {
    /// Returns everything that names the manifest as its subject.
    ///
    /// # Errors
    /// Whatever kept the list from being read; only 404, and the registry's own word that it has no such operation, lead
    /// to the list under a tag, and only 404 there means that there are none.
    pub async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Error> {
        let request = self.request(Method::GET, &format!("referrers/{subject}")).await?;
        let mut found = Vec::new();
        let mut is_list = true;
        let read = self
            .pages(request, "list of referrers", |content_type, bytes| {
                let parsed = Manifest::parse(content_type, bytes).ok().filter(|index| index.media_type.is_index());
                let Some(index) = parsed else {
                    // A registry without the operation may answer with its web page.
                    is_list = content_type.is_some_and(MediaType::is_index);
                    return Err(PagesProblem::Unreadable);
                };
                found.extend(index.manifests);
                if found.len() > MAX_REFERRERS { Err(PagesProblem::TooMany) } else { Ok(()) }
            })
            .await;
        match read {
            Ok(()) => Ok(found),
            Err(Error::NotFound { .. }) => self.tagged_referrers(subject).await,
            Err(Error::Status { ref answer, .. })
                if matches!(answer.status, 405 | 501) || answer.has_code(&["UNSUPPORTED"]) =>
            {
                self.tagged_referrers(subject).await
            }
            Err(Error::Pages { .. }) if !is_list && found.is_empty() => self.tagged_referrers(subject).await,
            Err(error) => Err(error),
        }
    }

    async fn tagged_referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Error> {
        match self.manifest(&By::Tag(list_tag(subject))).await {
            Ok(raw) => Ok(self.parse_list(&raw, subject)?.manifests),
            Err(Error::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn parse_list(&self, raw: &RawManifest, subject: &Digest) -> Result<Manifest, Error> {
        let unreadable = || Error::Pages {
            place: self.endpoint.place(&self.path),
            what: "list of referrers",
            cause: PagesProblem::Unreadable,
        };
        let list = Manifest::parse(Some(&raw.descriptor.media_type), &raw.bytes).map_err(|cause| Error::Manifest {
            place: self.endpoint.place(&self.path),
            what: format!("list of referrers {}", list_tag(subject)),
            cause: Box::new(cause),
        })?;
        if list.media_type.is_index() { Ok(list) } else { Err(unreadable()) }
    }

    /// Puts a manifest that names `subject` as its subject, and sees to it that it is listed: by the registry itself if it
    /// says so, else under the tag of the list.
    ///
    /// # Errors
    /// As [`Remote::put_manifest`], and [`Error::Contended`] when others kept changing the list.
    pub async fn add_referrer(&self, subject: &Digest, manifest: &RawManifest) -> Result<(), Error> {
        // A registry that lists it without having said so needs no tag either.
        let entry = list_entry(manifest).map_err(|cause| Error::Manifest {
            place: self.endpoint.place(&self.path),
            what: format!("manifest {}", manifest.descriptor.digest),
            cause: Box::new(cause),
        })?;
        let tag = list_tag(subject);
        let by = By::Tag(tag.clone());
        // Within this process one at a time; against others by reading again.
        let lock = self.endpoint.list_lock(&self.path, &tag);
        let _alone = lock.lock().await;
        // Most registries need the list; it is read meanwhile, until one has shown that it does not.
        let (kept, mut list) = if self.endpoint.keeps_referrers.load(Ordering::Relaxed) {
            (self.send_manifest(manifest, None).await?, None)
        } else {
            let (kept, list) = futures_util::join!(self.send_manifest(manifest, None), self.manifest(&by));
            (kept?, Some(list))
        };
        if kept {
            self.endpoint.keeps_referrers.store(true, Ordering::Relaxed);
            return Ok(());
        }
        let mut trial =
            self.endpoint.client.trial(format!("list of referrers {}:{tag}", self.endpoint.place(&self.path)));
        for attempt in 1..=MAX_ATTEMPTS {
            let read = match list.take() {
                Some(read) => read,
                None => self.manifest(&by).await,
            };
            let before = match read {
                Ok(raw) => {
                    self.parse_list(&raw, subject)?;
                    Some(raw)
                }
                Err(Error::NotFound { .. }) => None,
                Err(error) => return Err(error),
            };
            let Some(after) = with_entry(before.as_ref(), &entry) else { return Ok(()) };
            self.put_manifest(&after, Some(&tag)).await?;
            // Somebody may have read the same list and written another one right after us.
            let now = self.manifest(&by).await?;
            if with_entry(Some(&now), &entry).is_none() {
                return Ok(());
            }
            if attempt == MAX_ATTEMPTS || !trial.again("the list was changed by somebody else", None).await {
                break;
            }
        }
        Err(Error::Contended { place: self.endpoint.place(&self.path), tag, attempts: MAX_ATTEMPTS })
    }
}

/// Returns the tag under which the list of a manifest's referrers is kept.
pub(super) fn list_tag(subject: &Digest) -> Tag {
    let hex = subject.hex();
    let text = format!("{}-{}", subject.algorithm().name(), &hex[..hex.len().min(MAX_TAG_HEX)]);
    text.parse().expect("an algorithm's name, a dash and 64 hex digits follow the grammar of tags")
}

/// Describes a referrer as the list must: with its real artifact type and its annotations.
fn list_entry(manifest: &RawManifest) -> Result<Value, crate::oci::ManifestError> {
    let view = Manifest::parse(Some(&manifest.descriptor.media_type), &manifest.bytes)?;
    let mut entry = json!({
        "mediaType": view.media_type,
        "digest": manifest.descriptor.digest,
        "size": manifest.bytes.len(),
    });
    if let Some(artifact_type) = view.artifact_type {
        entry["artifactType"] = json!(artifact_type);
    }
    if !view.annotations.is_empty() {
        entry["annotations"] = json!(view.annotations);
    }
    Ok(entry)
}

/// Returns the list with the entry in it; none when it is there already, just so. Everything else in the list, known to us
/// or not, stays as it is.
fn with_entry(before: Option<&RawManifest>, entry: &Value) -> Option<RawManifest> {
    let empty = || json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": []});
    let mut list = before.and_then(|raw| serde_json::from_slice(&raw.bytes).ok()).unwrap_or_else(empty);
    let media_type = before.map_or_else(|| MediaType::from(media_type::INDEX), |raw| raw.descriptor.media_type.clone());
    if !list["manifests"].is_array() {
        list["manifests"] = json!([]);
    }
    let entries = list["manifests"].as_array_mut()?;
    match entries.iter_mut().find(|known| known["digest"] == entry["digest"]) {
        Some(known) if known == entry => return None,
        Some(known) => *known = entry.clone(),
        None => entries.push(entry.clone()),
    }
    Some(RawManifest::new(media_type, list.to_string().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature() -> RawManifest {
        let bytes = json!({
            "schemaVersion": 2,
            "mediaType": media_type::MANIFEST,
            "artifactType": media_type::SIGSTORE_BUNDLE,
            "config": {"mediaType": media_type::EMPTY, "digest": Digest::sha256(b"{}").to_string(), "size": 2},
            "layers": [],
            "annotations": {"k": "v"},
        });
        RawManifest::new(media_type::MANIFEST, bytes.to_string().into_bytes())
    }

    #[test]
    fn the_entry_has_the_real_type_and_replaces_a_wrong_one() {
        let signature = signature();
        let entry = list_entry(&signature).unwrap();
        assert_eq!(entry["artifactType"], media_type::SIGSTORE_BUNDLE);
        assert_eq!(entry["annotations"]["k"], "v");
        let list = with_entry(None, &entry).unwrap();
        assert!(with_entry(Some(&list), &entry).is_none());
        // As cosign 3.1 writes it: the config's type, no annotations, and fields that we do not know.
        let wrong = json!({
            "schemaVersion": 2, "mediaType": media_type::INDEX, "x": 1,
            "manifests": [
                {"mediaType": media_type::MANIFEST, "digest": Digest::sha256(b"other").to_string(), "size": 5, "y": 2},
                {"mediaType": media_type::MANIFEST, "digest": signature.descriptor.digest.to_string(),
                 "size": signature.bytes.len(), "artifactType": media_type::EMPTY},
            ],
        });
        let wrong = RawManifest::new(media_type::INDEX, wrong.to_string().into_bytes());
        let right: Value = serde_json::from_slice(&with_entry(Some(&wrong), &entry).unwrap().bytes).unwrap();
        assert_eq!((&right["x"], &right["manifests"][0]["y"], &right["manifests"][1]), (&json!(1), &json!(2), &entry));
    }

    #[test]
    fn tags_of_lists_are_cut() {
        assert_eq!(list_tag(&Digest::sha256(b"")).as_str().len(), "sha256-".len() + 64);
        let long: Digest = format!("sha512:{}", "ab".repeat(64)).parse().unwrap();
        assert_eq!(list_tag(&long).as_str().len(), "sha512-".len() + 64);
    }
}
