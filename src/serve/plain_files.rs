//! Plain files over HTTP: what travels as artifacts under `files/`, for machines that have `curl` or a package manager and
//! no client of registries.
//!
//! ```text
//!  files/NAME:TAG ─ manifest ─ layers ─→ /files/NAME/PATH      /files/NAME/ lists the paths
//! ```
//!
//! # Invariants
//! - A file is a layer of the registry with the path as its title: verified, by range, with the same access rules.
//! - Of several tags the newest version is meant; `?tag=TAG` names another.

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::Response,
};

use crate::{
    helm::semver::Version,
    oci::{Descriptor, Manifest, Repository},
};

use super::{
    api::{Asked, Registry, with},
    backend::Backend,
    refusal::Refusal,
    route::{self, Which},
};

/// The folder of such artifacts, in names of repositories and in addresses.
pub(super) const FILES: &str = "files";
/// The annotation that tells the path of a file (image specification, "Pre-Defined Annotation Keys").
const TITLE: &str = "org.opencontainers.image.title";

impl<B: Backend> Registry<B> {
    /// Answers with a file, or with the list of paths when none is named.
    pub(super) async fn plain_file(
        &self,
        repository: &Repository,
        path: &str,
        asked: &Asked<'_>,
    ) -> Result<Response, Refusal> {
        let tag = match asked.query.get("tag") {
            Some(text) => route::tag(text)?,
            None => {
                let tags = self.backend.tags(repository).await?;
                let newest = tags.into_iter().max_by(|a, b| newer(a, b));
                route::tag(&newest.ok_or_else(|| Refusal::NameUnknown(repository.to_string()))?)?
            }
        };
        let stored = self.backend.manifest(repository, &Which::Tag(tag)).await?;
        let manifest = Manifest::parse(Some(&stored.descriptor.media_type), &stored.bytes)
            .map_err(|_| Refusal::Damaged { record: repository.to_string() })?;
        if path.is_empty() {
            let listing: String = manifest.layers.iter().filter_map(title).map(|title| format!("{title}\n")).collect();
            let length = listing.len().to_string();
            let body = if asked.wants_body { Body::from(listing) } else { Body::empty() };
            let response = with(Response::new(body), header::CONTENT_TYPE, "text/plain; charset=utf-8");
            return Ok(with(response, header::CONTENT_LENGTH, &length));
        }
        let layer = manifest.layers.iter().find(|layer| title(layer) == Some(path));
        let layer = layer.ok_or_else(|| Refusal::NameUnknown(format!("{repository}/{path}")))?;
        let mut response = self.get_blob(repository, layer.digest, asked).await?;
        // Whatever the file is, a browser is not to run it as a page of this origin.
        response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Ok(response)
    }
}

fn title(layer: &Descriptor) -> Option<&str> {
    layer.annotations.get(TITLE).map(String::as_str)
}

/// Orders tags: versions by what they mean, other texts before them and by their letters.
fn newer(a: &str, b: &str) -> std::cmp::Ordering {
    match (Version::parse(a), Version::parse(b)) {
        (Ok(one), Ok(other)) => one.compare(&other).then_with(|| a.cmp(b)),
        (one, other) => one.is_ok().cmp(&other.is_ok()).then_with(|| a.cmp(b)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_is_meant() {
        let mut tags = vec!["1.10.0", "latest", "1.9.0", "zebra", "1.10.0-rc.1"];
        tags.sort_by(|a, b| newer(a, b));
        assert_eq!(tags, ["latest", "zebra", "1.9.0", "1.10.0-rc.1", "1.10.0"]);
    }
}
