//! What remote addresses stand for: bases and files of kustomizations, repositories of GitOps objects.
//!
//! ```text
//!  https://github.com/org/repo//base?ref=v1 ─ Place { repository, folder, reference } ─┐
//!                                 `remotes` of the spec: path | sha256 | commit ───────┴─→ files
//! ```
//!
//! # Invariants
//! - A kustomization is built from what is declared and from nothing else: every declaration fixes the content.
//! - An address may be declared as it is written, or with its whole repository.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;

use super::{
    charts::{Acquirer, Checkout},
    inputs, kustomize,
};
use crate::{
    error::{Classify as _, Kind},
    files,
    kube::kustomize as build,
    registry::Registries,
    spec::{Remote, RemoteSource},
    tree::{PathError, RelPath},
};

/// The largest file that stands in for an address.
const MAX_FILE: u64 = 64 << 20;

/// What an address of git means, however it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The repository for comparisons: host and path, without scheme, user and `.git`.
    pub(super) key: String,
    /// The address of the repository as git takes it.
    pub(super) url: String,
    /// The folder in it, as written.
    pub(super) folder: String,
    /// The branch, tag or commit.
    pub(super) reference: Option<String>,
}

/// Hosts whose repositories are known by two names, so that folders can follow without a mark.
const TWO_NAMES: &[&str] = &["github.com", "bitbucket.org"];

impl Place {
    /// Reads an address as kustomize, Flux and Argo CD write it; `None` when it means no repository.
    pub(super) fn parse(written: &str) -> Option<Place> {
        let rest = written.strip_prefix("git::").unwrap_or(written);
        let rest = rest.strip_prefix("git+").unwrap_or(rest);
        let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, query)| (rest, query));
        let reference = query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            matches!(key, "ref" | "version").then(|| value.to_owned()).filter(|value| !value.is_empty())
        });
        let (scheme, rest) = match rest.split_once("://") {
            Some((scheme, rest)) => (scheme, rest.to_owned()),
            // user@host:path, as scp writes it.
            None if rest.split('/').next().is_some_and(|host| host.contains('@') && host.contains(':')) => {
                ("ssh", rest.replacen(':', "/", 1))
            }
            None if rest.split('/').next().is_some_and(|host| host.contains('.') && !host.starts_with('.')) => {
                ("https", rest.to_owned())
            }
            None => return None,
        };
        if !matches!(scheme, "https" | "http" | "ssh" | "file") {
            return None;
        }
        let (host, path) = match scheme {
            "file" => ("", rest.trim_start_matches('/')),
            _ => rest.split_once('/')?,
        };
        let (path, folder) = split(host, path);
        if path.is_empty() {
            return None;
        }
        let bare = host.rsplit('@').next().unwrap_or(host).to_ascii_lowercase();
        let name = path.strip_suffix(".git").unwrap_or(&path);
        Some(Place {
            key: format!("{bare}/{name}"),
            url: format!("{scheme}://{host}/{path}"),
            folder: folder.trim_matches('/').to_owned(),
            reference,
        })
    }
}

/// Divides a path into the repository and the folder in it.
fn split(host: &str, path: &str) -> (String, String) {
    if let Some((repository, folder)) = path.split_once("//") {
        return (repository.trim_matches('/').to_owned(), folder.to_owned());
    }
    if let Some((repository, folder)) = path.split_once(".git/") {
        return (format!("{repository}.git"), folder.to_owned());
    }
    let host = host.rsplit('@').next().unwrap_or(host);
    if TWO_NAMES.contains(&host) {
        let mut parts = path.splitn(3, '/');
        let names = [parts.next(), parts.next()].into_iter().flatten().collect::<Vec<_>>().join("/");
        return (names, parts.next().unwrap_or_default().to_owned());
    }
    (path.trim_matches('/').to_owned(), String::new())
}

/// What a declaration says about a repository.
pub(super) enum Declared<'a> {
    /// Its top is this folder, relative to the spec.
    Folder(&'a str),
    /// It is at a commit; the address is one for git.
    Commit(String),
}

/// Finds what the spec says about a repository.
pub(super) fn repository<'a>(declared: &'a [Remote], place: &Place) -> Option<Declared<'a>> {
    declared.iter().find_map(|remote| {
        let named = Place::parse(&remote.address)?;
        if named.key != place.key || !named.folder.is_empty() {
            return None;
        }
        if named.reference.is_some() && named.reference != place.reference {
            return None;
        }
        of_source(&remote.source, &named)
    })
}

fn of_source<'a>(source: &'a RemoteSource, place: &Place) -> Option<Declared<'a>> {
    match source {
        RemoteSource::Path(path) => Some(Declared::Folder(path)),
        RemoteSource::File { .. } => None,
        RemoteSource::Commit { commit, repo } => {
            let url = match repo {
                Some(repo) => Place::parse(repo).map_or_else(|| repo.clone(), |place| format!("git+{}", place.url)),
                None => format!("git+{}", place.url),
            };
            Some(Declared::Commit(format!("{url}?ref={commit}")))
        }
    }
}

/// Answers for what the spec declares; used on a thread that may wait.
pub(super) struct Remotes {
    pub(super) declared: Vec<Remote>,
    pub(super) folder: PathBuf,
    pub(super) acquirer: Arc<Acquirer>,
    pub(super) registries: Registries,
    pub(super) runtime: tokio::runtime::Handle,
    /// Why something that is declared could not be had.
    pub(super) failure: Mutex<Option<(Kind, String)>>,
}

type Failure = (Kind, String);

impl Remotes {
    /// Returns why a declared address could not be had, when that is what ended a build.
    pub(super) fn failure(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn find(&self, written: &str) -> Option<Result<build::Fetched, Failure>> {
        let place = Place::parse(written);
        if let Some(exact) = self.declared.iter().find(|remote| remote.address == written) {
            return Some(match &exact.source {
                RemoteSource::Path(path) => self.local(path, ""),
                RemoteSource::File { sha256 } => {
                    let fetched = self.runtime.block_on(inputs::fetch_file(&self.registries, written, *sha256));
                    fetched.map(build::Fetched::File)
                }
                RemoteSource::Commit { .. } => match place
                    .as_ref()
                    .and_then(|place| Some((of_source(&exact.source, place)?, place.folder.as_str())))
                {
                    Some((Declared::Commit(url), folder)) => self.commit(&url, folder),
                    _ => Err((Kind::Usage, format!("{written} is no address of a git repository"))),
                },
            });
        }
        let place = place?;
        Some(match repository(&self.declared, &place)? {
            Declared::Folder(path) => self.local(path, &place.folder),
            Declared::Commit(url) => self.commit(&url, &place.folder),
        })
    }

    fn local(&self, path: &str, folder: &str) -> Result<build::Fetched, Failure> {
        let wrong = |kind, text: String| (kind, text);
        let root = below(path, folder).map_err(|why| wrong(Kind::Usage, why))?;
        let place = place_of(&self.folder, root.as_ref());
        if files::is_file(&place) {
            let bytes =
                files::read_limited(&place, MAX_FILE).map_err(|error| wrong(error.kind(), error.to_string()))?;
            return Ok(build::Fetched::File(bytes));
        }
        if !files::is_folder(&place) {
            return Err(wrong(Kind::Usage, format!("{} is not there", place.display())));
        }
        let tree =
            kustomize::read(&self.folder, root.as_ref()).map_err(|error| wrong(error.kind(), error.to_string()))?;
        Ok(build::Fetched::Folder { tree, root })
    }

    fn commit(&self, url: &str, folder: &str) -> Result<build::Fetched, Failure> {
        let wrong = |error: super::charts::Error| (error.kind(), error.to_string());
        let root = below("", folder).map_err(|why| (Kind::Usage, why))?;
        let (tree, source): (_, String) = self.runtime.block_on(async {
            let checkout: Checkout = self.acquirer.checkout(url).await.map_err(wrong)?;
            Ok::<_, Failure>((checkout.tree().await.map_err(wrong)?, checkout.source()))
        })?;
        if let Some(root) = &root
            && let Some(bytes) = tree.get(root.as_str())
        {
            return Ok(build::Fetched::File(Bytes::clone(bytes)));
        }
        if root.as_ref().is_some_and(|root| tree.below(root).is_empty()) {
            return Err((Kind::NotFound, format!("{source} has no {folder}")));
        }
        Ok(build::Fetched::Folder { tree, root })
    }
}

impl build::Remote for Remotes {
    fn fetch(&self, written: &str) -> Option<build::Fetched> {
        match self.find(written)? {
            Ok(found) => Some(found),
            Err((kind, why)) => {
                let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                *failure = Some((kind, format!("{written} is declared, and {why}")));
                None
            }
        }
    }
}

/// Joins two folders below the spec's.
pub(super) fn below(base: &str, folder: &str) -> Result<Option<RelPath>, String> {
    match RelPath::join(None, &format!("./{base}/{folder}")) {
        Ok(path) => Ok(Some(path)),
        Err(PathError::Empty) => Ok(None),
        Err(error) => Err(format!("{base}/{folder} is not in the folder of the spec: {error}")),
    }
}

/// Returns a place on this machine.
pub(super) fn place_of(folder: &Path, path: Option<&RelPath>) -> PathBuf {
    path.map_or_else(|| folder.to_owned(), |path| folder.join(path.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_mean_the_same_repository_however_they_are_written() {
        for (written, key, url, folder, reference) in [
            ("https://github.com/o/r//base?ref=v1", "github.com/o/r", "https://github.com/o/r", "base", "v1"),
            ("github.com/o/r/deploy/base?ref=v1", "github.com/o/r", "https://github.com/o/r", "deploy/base", "v1"),
            ("git@github.com:o/r.git//base?version=v1", "github.com/o/r", "ssh://git@github.com/o/r.git", "base", "v1"),
            ("ssh://git@GitHub.com/o/r.git", "github.com/o/r", "ssh://git@GitHub.com/o/r.git", "", ""),
            ("git::https://h.example/a/b/c.git/x?ref=1", "h.example/a/b/c", "https://h.example/a/b/c.git", "x", "1"),
            ("https://h.example/a/b/c", "h.example/a/b/c", "https://h.example/a/b/c", "", ""),
            ("file:///srv/r//k?ref=main", "/srv/r", "file:///srv/r", "k", "main"),
        ] {
            let place = Place::parse(written).unwrap();
            let found = (
                place.key.as_str(),
                place.url.as_str(),
                place.folder.as_str(),
                place.reference.as_deref().unwrap_or(""),
            );
            assert_eq!(found, (key, url, folder, reference), "{written}");
        }
        for none in ["../base", "base", "oci://h/a", "https://h.example", "./a.b/c"] {
            assert!(Place::parse(none).is_none(), "{none}");
        }
    }
}
