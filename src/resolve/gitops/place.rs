//! From the address of a repository to its files.
//!
//! A repository is, in this order: what `remotes` of the spec says; the repository that the object itself comes from; the
//! checkout that the spec lies in, told by the addresses in its `.git/config`; the folder of the spec, when the path that is
//! asked for is in it; and else what git fetches.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    super::{
        batch::Home,
        charts::{self, Checkout},
        remotes::{Declared, Place, below, place_of, repository},
    },
    Follower,
    subject::{Refusal, Subject},
};
use crate::{
    error::{Classify as _, Diagnostic},
    files::{self, Limits},
    spec::ChartSource,
    tree::{RelPath, Tree},
};

/// How far above the spec a `.git` is looked for.
const LEVELS: usize = 32;

/// The largest `.git/config` that is read.
const CONFIG: u64 = 1 << 20;

/// The top of a repository.
#[derive(Clone)]
pub(super) enum Root {
    /// A folder below the spec's; none is the spec's own.
    Spec(Option<RelPath>),
    /// Above the spec's folder; the path from there to it.
    Above(RelPath),
    /// A commit.
    Git(Arc<Checkout>),
}

/// Repositories that were fetched, with their files.
#[derive(Default)]
pub(super) struct Yard {
    checkouts: Mutex<HashMap<String, Arc<Checkout>>>,
    trees: Mutex<HashMap<String, Arc<Tree>>>,
}

/// A repository as an object names it.
#[derive(Clone, Debug)]
pub(super) struct Repository {
    /// What names it in messages, such as `GitRepository flux-system/apps`.
    pub(super) name: String,
    pub(super) url: String,
    pub(super) reference: Revision,
}

/// What of a repository is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Revision {
    /// A branch, tag or commit.
    Named(String),
    /// The tag that a range of versions means.
    Range(String),
}

impl Root {
    /// Returns where what comes from here is.
    pub(super) fn home(&self) -> Home {
        match self {
            Root::Spec(_) | Root::Above(_) => Home::Spec,
            Root::Git(checkout) => Home::Git(checkout.clone()),
        }
    }

    /// Returns a path of the repository: below the spec's folder, or below the repository's top.
    pub(super) fn path(&self, written: &str) -> Result<Option<RelPath>, Refusal> {
        let base = match self {
            Root::Spec(Some(base)) => base.as_str(),
            _ => "",
        };
        let path = below(base, written.trim_start_matches('/'))
            .map_err(|_| Refusal::new("gitops-path", format!("{written} leads out of the repository")))?;
        let Root::Above(spec) = self else { return Ok(path) };
        let inner = path.as_ref().and_then(|path| path.as_str().strip_prefix(spec.as_str()));
        match inner {
            Some("") => Ok(None),
            Some(inner) if inner.starts_with('/') => Ok(inner.trim_start_matches('/').parse().ok()),
            _ => {
                let text = format!("{written} of the repository is outside of {spec}, the folder of the spec");
                Err(Refusal::new("gitops-path", text).hint("move the spec to the top of the repository"))
            }
        }
    }

    /// Returns the chart in a folder of the repository.
    pub(super) fn chart(&self, path: Option<&RelPath>) -> ChartSource {
        match self {
            Root::Spec(_) | Root::Above(_) => {
                ChartSource::Path(path.map_or_else(|| ".".to_owned(), ToString::to_string))
            }
            Root::Git(checkout) => ChartSource::Repo { url: checkout.address_of(path), version: String::new() },
        }
    }
}

impl Follower<'_, '_> {
    /// Finds the repository that an object names; `path` is what is wanted of it.
    pub(super) async fn locate(
        &self,
        subject: &Subject<'_>,
        wanted: &Repository,
        path: &str,
        notes: &mut Vec<Diagnostic>,
    ) -> Result<Root, Refusal> {
        let Repository { name, url, .. } = wanted;
        let Some(mut place) = Place::parse(url) else {
            let text = format!("{name} is at {url:?}, which is no address of a git repository");
            return Err(Refusal::new("gitops-source", text));
        };
        if let Revision::Named(reference) = &wanted.reference {
            place.reference = Some(reference.clone());
        }
        match repository(&self.job.spec.remotes, &place) {
            Some(Declared::Folder(folder)) => {
                let root = below(folder, "").map_err(|why| Refusal::new("gitops-source", why))?;
                return Ok(Root::Spec(root));
            }
            Some(Declared::Commit(url)) => return self.fetch(wanted, &url).await,
            None => {}
        }
        if let Some(own) = subject.checkout()
            && Place::parse(&own.source()).is_some_and(|own| own.key == place.key)
        {
            return Ok(Root::Git(own.clone()));
        }
        if matches!(subject.batch.via.home, Home::Spec) {
            if let Some(root) = self.around(&place) {
                return Ok(root);
            }
            let inside = below("", path.trim_start_matches('/')).ok().flatten();
            if let Some(inside) = inside.filter(|inside| files::is_folder(&self.job.folder.join(inside.as_str()))) {
                let text = format!(
                    "{}: {name}, {url}, is taken to be the folder of the spec, which has {inside}",
                    subject.title()
                );
                notes.push(Diagnostic::warning("gitops-repository", text).at(subject.place(None)).hint(format!(
                    "`{url:?}: {{path: .}}` under `remotes` says so; `{{commit: …}}` takes it from where it is"
                )));
                return Ok(Root::Spec(None));
            }
        }
        let url = format!("git+{}", place.url);
        let reference = match &wanted.reference {
            Revision::Named(reference) => reference.clone(),
            Revision::Range(range) => {
                self.acquirer.tag(&url, range).await.map_err(|error| unreached(wanted, &error))?
            }
        };
        self.fetch(wanted, &format!("{url}?ref={reference}")).await
    }

    async fn fetch(&self, wanted: &Repository, url: &str) -> Result<Root, Refusal> {
        let known = |yard: &Yard| yard.checkouts.lock().unwrap_or_else(PoisonError::into_inner).get(url).cloned();
        if let Some(checkout) = known(&self.yard) {
            return Ok(Root::Git(checkout));
        }
        let checkout = Arc::new(self.acquirer.checkout(url).await.map_err(|error| unreached(wanted, &error))?);
        let mut all = self.yard.checkouts.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Root::Git(all.entry(url.to_owned()).or_insert(checkout).clone()))
    }

    /// Reads a repository that was fetched.
    pub(super) async fn tree(&self, checkout: &Checkout) -> Result<Arc<Tree>, Refusal> {
        let source = checkout.source();
        let known = |yard: &Yard| yard.trees.lock().unwrap_or_else(PoisonError::into_inner).get(&source).cloned();
        if let Some(tree) = known(&self.yard) {
            return Ok(tree);
        }
        let tree = checkout.tree().await;
        let tree = tree.map_err(|error| Refusal::new("gitops-source", error.to_string()).of_kind(error.kind()))?;
        let mut all = self.yard.trees.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(all.entry(source).or_insert_with(|| Arc::new(tree)).clone())
    }

    /// Finds the checkout that the spec lies in, when it is one of this repository.
    fn around(&self, place: &Place) -> Option<Root> {
        let folder = std::path::absolute(self.job.folder).ok()?;
        let top = folder.ancestors().take(LEVELS).find(|above| files::is_folder(&above.join(".git")))?;
        let config = files::read_limited(&top.join(".git/config"), CONFIG).ok()?;
        let config = String::from_utf8_lossy(&config);
        let urls = config.lines().filter_map(|line| line.trim().strip_prefix("url")?.trim().strip_prefix('='));
        let own = urls.filter_map(|url| Place::parse(url.trim())).any(|own| own.key == place.key);
        if !own {
            return None;
        }
        if top == folder {
            return Some(Root::Spec(None));
        }
        let inner = folder.strip_prefix(top).ok().map(|inner| inner.to_string_lossy().into_owned());
        inner.and_then(|inner| inner.parse().ok()).map(Root::Above)
    }

    /// Tells whether a repository has a file.
    pub(super) async fn has(&self, root: &Root, path: &RelPath) -> Result<bool, Refusal> {
        Ok(match root {
            Root::Spec(_) | Root::Above(_) => files::is_file(&place_of(self.job.folder, Some(path))),
            Root::Git(checkout) => self.tree(checkout).await?.get(path.as_str()).is_some(),
        })
    }

    /// Reads the files of some names below a folder of the spec's; paths are relative to the spec.
    pub(super) fn files_named(&self, path: Option<&RelPath>, wanted: &dyn Fn(&str) -> bool) -> Result<Tree, Refusal> {
        let place = place_of(self.job.folder, path);
        let tree = files::read_tree(&place, &Limits::default(), &|path, is_folder| is_folder || wanted(path.name()));
        let tree = tree.map_err(|error| Refusal::new("gitops-path", error.to_string()).of_kind(error.kind()))?;
        let whole =
            tree.iter().filter_map(|(inner, bytes)| Some((RelPath::join(path, inner.as_str()).ok()?, bytes.clone())));
        Ok(whole.collect())
    }

    /// Reads a file of a repository.
    pub(super) async fn file(&self, root: &Root, path: &RelPath, limit: u64) -> Result<Option<String>, Refusal> {
        let bytes = match root {
            Root::Spec(_) | Root::Above(_) => {
                let place: &Path = self.job.folder;
                if !files::is_file(&place.join(path.as_str())) {
                    return Ok(None);
                }
                let read = files::read_below(place, path, limit);
                read.map_err(|error| Refusal::new("gitops-file", error.to_string()).of_kind(error.kind()))?
            }
            Root::Git(checkout) => match self.tree(checkout).await?.get(path.as_str()) {
                Some(bytes) => bytes.clone(),
                None => return Ok(None),
            },
        };
        let text = String::from_utf8(bytes.to_vec());
        text.map(Some).map_err(|_| Refusal::new("gitops-file", format!("{path} is not UTF-8 text")))
    }
}

fn unreached(wanted: &Repository, error: &charts::Error) -> Refusal {
    let text = format!("{} cannot be had from {}: {error}", wanted.name, wanted.url);
    let hint = format!(
        "a copy beside the spec stands in for it: `{:?}: {{path: …}}` under `remotes`, with `path: .` when it is the \
         folder of the spec",
        wanted.url
    );
    Refusal::new("gitops-source", text).of_kind(error.kind()).hint(hint)
}
