//! Reads a request line: which endpoint of the distribution API it names, and its query parameters.
//!
//! Repository names hold slashes, so paths are read from their end (distribution specification, "Endpoints"):
//! `/v2/<name>/blobs/<digest>` is a blob whatever `<name>` looks like.

use crate::{
    archive::CHARTS,
    oci::{Digest, Repository, Tag},
};

use super::{plain_files::FILES, refusal::Refusal};

/// The longest repository name. Clients limit host and name together to 255 characters (distribution specification,
/// "Pulling manifests"), and each of our names becomes a path on the disk.
const MAX_NAME: usize = 255;

/// Names a manifest within a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// By tag.
    Tag(Tag),
    /// By digest.
    Digest(Digest),
}

impl std::fmt::Display for Which {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Which::Tag(tag) => tag.fmt(f),
            Which::Digest(digest) => digest.fmt(f),
        }
    }
}

/// Names an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Ping,
    Catalog,
    Tags(Repository),
    Manifest(Repository, Which),
    Blob(Repository, Digest),
    Uploads(Repository),
    Upload(Repository, String),
    Referrers(Repository, Digest),
    /// The index of the Helm repository of what lies under a prefix, which is empty or ends with a slash.
    ChartIndex(String),
    /// A file of this Helm repository.
    ChartFile(String, String),
    /// A file of an artifact under `files/`; without a path, their list.
    File(Repository, String),
    /// No endpoint of this API.
    Nothing,
}

impl Route {
    /// Reads the path of a request: under `/v2` the distribution API, beside it the Helm repository.
    pub(super) fn parse(path: &str) -> Result<Route, Refusal> {
        let path = decode(path);
        let turned = turned(&path);
        let Some(rest) = turned.as_deref().unwrap_or(&path).strip_prefix("/v2") else {
            return match plain_file(&path) {
                Some((repository, file)) => Ok(Route::File(name(&repository)?, file)),
                None => Ok(helm_repository(&path)),
            };
        };
        let segments: Vec<&str> = match rest.strip_prefix('/') {
            Some(rest) => rest.split('/').collect(),
            None if rest.is_empty() => return Ok(Route::Ping),
            None => return Ok(Route::Nothing),
        };
        match segments.as_slice() {
            [""] => Ok(Route::Ping),
            ["_catalog"] => Ok(Route::Catalog),
            [name @ .., "tags", "list"] if !name.is_empty() => Ok(Route::Tags(repository(name)?)),
            [name @ .., "blobs", "uploads"] | [name @ .., "blobs", "uploads", ""] if !name.is_empty() => {
                Ok(Route::Uploads(repository(name)?))
            }
            [name @ .., "blobs", "uploads", id] if !name.is_empty() => {
                let id = (*id).to_owned();
                Ok(Route::Upload(repository(name)?, id))
            }
            [name @ .., "manifests", which] if !name.is_empty() => {
                Ok(Route::Manifest(repository(name)?, reference(which)?))
            }
            [name @ .., "blobs", text] if !name.is_empty() => Ok(Route::Blob(repository(name)?, digest(text)?)),
            [name @ .., "referrers", text] if !name.is_empty() => {
                Ok(Route::Referrers(repository(name)?, digest(text)?))
            }
            _ => Ok(Route::Nothing),
        }
    }
}

/// Turns `/PREFIX/v2/NAME` into `/v2/PREFIX/NAME`: Docker Engine puts the path of a mirror in front of `/v2/` (moby,
/// `registry-mirrors`), where all others put it behind.
fn turned(path: &str) -> Option<String> {
    let (prefix, rest) = path.split_once("/v2/").filter(|(prefix, _)| !prefix.is_empty())?;
    // What lies under `files/` has names of its own choice.
    let is_plain = prefix.split('/').any(|segment| segment == FILES);
    (!is_plain).then(|| if rest.is_empty() { "/v2/".to_owned() } else { format!("/v2{prefix}/{rest}") })
}

/// Reads `/PREFIX/files/NAME/PATH`: the repository `PREFIX/files/NAME` and the path.
fn plain_file(path: &str) -> Option<(String, String)> {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let at = segments.iter().position(|segment| *segment == FILES)?;
    let (before, rest) = segments.split_at_checked(at + 2)?;
    // `…/files/NAME` alone lacks the slash that its links would need; charts of that name are none of these.
    (!rest.is_empty()).then(|| (before.join("/"), rest.join("/")))
}

/// Reads a path beside the distribution API.
fn helm_repository(path: &str) -> Route {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let prefix = |segments: &[&str]| segments.iter().map(|segment| format!("{segment}/")).collect();
    match segments.as_slice() {
        [before @ .., "index.yaml"] => Route::ChartIndex(prefix(before)),
        [before @ .., CHARTS, file] => Route::ChartFile(prefix(before), (*file).to_owned()),
        _ => Route::Nothing,
    }
}

fn repository(segments: &[&str]) -> Result<Repository, Refusal> {
    name(&segments.join("/"))
}

/// Reads a repository name as the API accepts it.
pub(super) fn name(text: &str) -> Result<Repository, Refusal> {
    match text.parse() {
        Ok(name) if text.len() <= MAX_NAME => Ok(name),
        _ => Err(Refusal::NameInvalid(text.chars().take(MAX_NAME).collect())),
    }
}

/// Reads a digest as the API accepts it.
pub(super) fn digest(text: &str) -> Result<Digest, Refusal> {
    text.parse().map_err(Refusal::DigestSyntax)
}

fn reference(text: &str) -> Result<Which, Refusal> {
    if text.contains(':') {
        return digest(text).map(Which::Digest);
    }
    tag(text).map(Which::Tag)
}

/// Reads a tag as the API accepts it.
pub(super) fn tag(text: &str) -> Result<Tag, Refusal> {
    text.parse().map_err(|_| Refusal::TagInvalid(text.chars().take(200).collect()))
}

/// Undoes percent encoding; text that is not UTF-8 afterwards matches no name.
fn decode(path: &str) -> String {
    if !path.contains('%') {
        return path.to_owned();
    }
    let hex = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let bytes = path.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Holds the query parameters of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: Option<&str>) -> Query {
        Query(
            url::form_urlencoded::parse(text.unwrap_or_default().as_bytes())
                .map(|(key, value)| (key.into_owned(), value.into_owned()))
                .collect(),
        )
    }

    /// Returns the first value of a parameter.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// Returns every value of a parameter.
    pub(super) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == key).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn repo(text: &str) -> Repository {
        text.parse().unwrap()
    }

    #[test]
    fn reads_every_endpoint_from_its_end() {
        let digest = Digest::sha256(b"x");
        let tag: Tag = "v1".parse().unwrap();
        for (path, route) in [
            ("/v2".to_owned(), Route::Ping),
            ("/v2/".to_owned(), Route::Ping),
            ("/v2/_catalog".to_owned(), Route::Catalog),
            ("/v2/a/b/tags/list".to_owned(), Route::Tags(repo("a/b"))),
            ("/v2/tags/list/tags/list".to_owned(), Route::Tags(repo("tags/list"))),
            ("/v2/a/manifests/v1".to_owned(), Route::Manifest(repo("a"), Which::Tag(tag.clone()))),
            (format!("/v2/a/manifests/{digest}"), Route::Manifest(repo("a"), Which::Digest(digest))),
            ("/v2/a/blobs/uploads/manifests/v1".to_owned(), Route::Manifest(repo("a/blobs/uploads"), Which::Tag(tag))),
            (format!("/v2/a/blobs/{digest}"), Route::Blob(repo("a"), digest)),
            (format!("/v2/a/blobs/{}", digest.to_string().replace(':', "%3A")), Route::Blob(repo("a"), digest)),
            (format!("/v2/a/blobs/blobs/{digest}"), Route::Blob(repo("a/blobs"), digest)),
            ("/v2/a/blobs/uploads/".to_owned(), Route::Uploads(repo("a"))),
            ("/v2/a/blobs/uploads".to_owned(), Route::Uploads(repo("a"))),
            ("/v2/a/blobs/uploads/id".to_owned(), Route::Upload(repo("a"), "id".into())),
            (format!("/v2/a/referrers/{digest}"), Route::Referrers(repo("a"), digest)),
            ("/v1/x".to_owned(), Route::Nothing),
            ("/index.yaml".to_owned(), Route::ChartIndex(String::new())),
            ("/a/b/index.yaml".to_owned(), Route::ChartIndex("a/b/".into())),
            ("/charts/a-1.0.0%2Bb.tgz".to_owned(), Route::ChartFile(String::new(), "a-1.0.0+b.tgz".into())),
            ("/a/charts/b.tgz".to_owned(), Route::ChartFile("a/".into(), "b.tgz".into())),
            ("/files/dash/b/index.yaml".to_owned(), Route::File("files/dash".parse().unwrap(), "b/index.yaml".into())),
            ("/m/files/dash/v2/x".to_owned(), Route::File("m/files/dash".parse().unwrap(), "v2/x".into())),
            ("/files/dash/".to_owned(), Route::File("files/dash".parse().unwrap(), String::new())),
            ("/files/dash".to_owned(), Route::Nothing),
            ("/docker.io/v2/".to_owned(), Route::Ping),
            (
                "/m/docker.io/v2/library/nginx/manifests/1".to_owned(),
                Route::Manifest("m/docker.io/library/nginx".parse().unwrap(), Which::Tag("1".parse().unwrap())),
            ),
            ("/charts".to_owned(), Route::Nothing),
            ("/a/charts/b/c".to_owned(), Route::Nothing),
            ("".to_owned(), Route::Nothing),
            ("/v2x".to_owned(), Route::Nothing),
            ("/v2/tags/list".to_owned(), Route::Nothing),
            ("/v2/a".to_owned(), Route::Nothing),
        ] {
            assert_eq!(Route::parse(&path).unwrap(), route, "{path}");
        }
    }

    #[test]
    fn refuses_what_is_no_name() {
        let long = format!("/v2/{}/tags/list", "a".repeat(256));
        for bad in [
            "/v2/A/tags/list",
            "/v2/../tags/list",
            "/v2/a/%2e%2e/tags/list",
            "/v2//tags/list",
            "/v2/_uploads/tags/list",
            "/v2/a/manifests/.x",
            "/v2/a/manifests/",
            "/v2/a/manifests/sha256:00",
            "/v2/a/blobs/sha256:00",
            "/v2/a/blobs/x",
            "/v2/a/referrers/x",
            &long,
        ] {
            assert!(Route::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn parameters_may_repeat() {
        let query = Query::parse(Some("tag=a&n=3&tag=b&digest=sha256%3Aff"));
        assert_eq!(query.all("tag").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((query.get("n"), query.get("digest"), query.get("x")), (Some("3"), Some("sha256:ff"), None));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn never_panics(path in "/(v2/)?\\PC{0,60}|/charts/\\PC{0,20}|/v2(/(%[0-9a-f]{0,2}|[a-z.:_]{0,6}|blobs|uploads|manifests)){0,6}") {
            if let Ok(Route::Upload(name, _) | Route::Tags(name)) = Route::parse(&path) {
                prop_assert!(!name.as_str().split('/').any(|part| part.starts_with(['.', '_']) || part.is_empty()));
            }
        }
    }
}
