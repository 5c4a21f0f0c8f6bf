//! Whole repositories in git, for manifests and kustomizations that objects name.

use std::sync::Arc;

use super::{
    Acquirer, Error,
    git::{Address, Commit},
};
use crate::{
    files::{self, Limits},
    helm::index,
    tree::{RelPath, Tree},
};

/// How much of a repository is read: more than of a chart, for repositories that hold everything of a deployment.
const LIMITS: Limits = Limits { files: 100_000, file_bytes: 64 << 20, bytes: 256 << 20, depth: 64 };

/// A commit of a repository.
#[derive(Clone)]
pub(in crate::resolve) struct Checkout {
    address: Address,
    commit: Arc<Commit>,
}

impl std::fmt::Debug for Checkout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.source())
    }
}

impl Checkout {
    /// Returns the address with the commit, as the lock names it.
    pub(in crate::resolve) fn source(&self) -> String {
        self.address.source(None, &self.commit.id)
    }

    /// Returns the address of a folder, for a chart in it.
    pub(in crate::resolve) fn address_of(&self, folder: Option<&RelPath>) -> String {
        self.address.of_folder(folder)
    }

    /// Reads the files of the repository.
    ///
    /// # Errors
    /// They are too much, or git fails.
    pub(in crate::resolve) async fn tree(&self) -> Result<Tree, Error> {
        let commit = self.commit.clone();
        files::blocking(move || commit.tree(None, &LIMITS)).await
    }
}

impl Acquirer {
    /// Fetches the commit that an address of a repository, `git+…?ref=…`, stands for.
    ///
    /// # Errors
    /// The address is none, or git fails.
    pub(in crate::resolve) async fn checkout(&self, url: &str) -> Result<Checkout, Error> {
        let address = Address::parse(url)?;
        let commit = self.git.fetch(&address, None, &self.environment).await?;
        Ok(Checkout { address, commit })
    }

    /// Chooses the tag of a repository that a range of versions means.
    ///
    /// # Errors
    /// The address is none, git fails, or no tag fits.
    pub(in crate::resolve) async fn tag(&self, url: &str, range: &str) -> Result<String, Error> {
        let address = Address::parse(url)?;
        let tags = self.git.tags(&address, &self.environment).await?;
        // Tags of git mostly have a `v` in front.
        let bare = |tag: &str| tag.strip_prefix('v').unwrap_or(tag).to_owned();
        let versions =
            index::versions_of_tags(tags.iter().map(|tag| bare(tag)).collect::<Vec<_>>().iter().map(String::as_str));
        let texts: Vec<&str> = versions.iter().map(String::as_str).collect();
        let at = index::select(&texts, range).map_err(|cause| Error::Select { place: url.to_owned(), cause })?;
        let chosen = texts[at];
        Ok(tags
            .iter()
            .find(|tag| bare(tag).replace('_', "+") == chosen)
            .map_or_else(|| chosen.to_owned(), String::clone))
    }
}
