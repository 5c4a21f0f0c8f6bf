//! The folder of one kustomization: what it may read, and how files are named in errors.
//!
//! # Invariants
//! - Files come from the folder and from below it, as kustomize demands; folders may come from anywhere in the tree.

use std::rc::Rc;

use bytes::Bytes;

use crate::tree::{RelPath, Tree};

use super::{Environment, Error, Fetched, Problem, read::Written};

const NAMES: &[&str] = &["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// A folder in a tree.
#[derive(Clone)]
pub(super) struct Folder<'a> {
    tree: Rc<Tree>,
    /// The folder; `None` is the top of the tree.
    path: Option<RelPath>,
    /// What names the tree in errors, when it is a remote one.
    label: Rc<str>,
    env: &'a Environment<'a>,
}

/// What a written path leads to.
pub(super) enum Entry<'a> {
    File { name: String, content: Bytes },
    Folder(Folder<'a>),
}

/// Tells whether a written path can only mean something on the network.
fn is_remote(written: &str) -> bool {
    written.contains("://")
        || written.starts_with("git::")
        || written.starts_with("git@")
        || written.starts_with("github.com/")
        || written.starts_with("gh:")
        || written.contains("?ref=")
        || written.contains(".git//")
}

impl<'a> Folder<'a> {
    pub(super) fn new(tree: &Tree, path: Option<RelPath>, env: &'a Environment<'a>) -> Folder<'a> {
        Folder { tree: Rc::new(tree.clone()), path, label: "".into(), env }
    }

    /// Names a file of this tree for people.
    fn name(&self, path: &str) -> String {
        format!("{}{path}", self.label)
    }

    /// Names the folder for people.
    pub(super) fn display(&self) -> String {
        self.name(self.path.as_ref().map_or(".", RelPath::as_str))
    }

    /// Returns the last part of the folder's name.
    pub(super) fn base_name(&self) -> String {
        self.path.as_ref().map_or("", RelPath::name).to_owned()
    }

    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    pub(super) fn path(&self) -> Option<&RelPath> {
        self.path.as_ref()
    }

    /// Returns the file that describes this kustomization.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub(super) fn kustomization(&self) -> Result<(&'static str, String, Bytes), Problem> {
        let mut found = Vec::new();
        for name in NAMES {
            if let Ok(path) = RelPath::join(self.path.as_ref(), name)
                && let Some(content) = self.tree.get(path.as_str())
            {
                found.push((*name, self.name(path.as_str()), content.clone()));
            }
        }
        match found.len() {
            1 => found.pop().ok_or(Problem::NoKustomization { folder: self.display() }),
            0 => Err(Problem::NoKustomization { folder: self.display() }),
            _ => Err(Problem::ManyKustomizations { folder: self.display() }),
        }
    }

    fn join(&self, written: &str) -> Result<Option<RelPath>, Problem> {
        let whole = match &self.path {
            Some(path) => format!("{path}/{written}"),
            None => written.to_owned(),
        };
        if written.starts_with('/') {
            return Err(Problem::AbsolutePath { path: written.to_owned() });
        }
        let mut depth = 0usize;
        for part in whole.split('/') {
            match part {
                "" | "." => {}
                ".." => depth = depth.checked_sub(1).ok_or(Problem::LeavesTree { path: written.to_owned() })?,
                _ => depth += 1,
            }
        }
        if depth == 0 {
            return Ok(None);
        }
        let path = RelPath::join(self.path.as_ref(), written);
        path.map(Some).map_err(|source| Problem::Path { path: written.to_owned(), source })
    }

    fn is_below(&self, path: &RelPath) -> bool {
        self.path.as_ref().is_none_or(|folder| path.as_str().starts_with(&format!("{folder}/")))
    }

    fn folder_exists(&self, path: Option<&RelPath>) -> bool {
        path.is_none_or(|path| {
            let prefix = format!("{path}/");
            self.tree.iter().any(|(file, _)| file.as_str().starts_with(&prefix))
        })
    }

    fn remote(&self, written: &str) -> Result<Option<Fetched>, Problem> {
        if !is_remote(written) {
            return Ok(None);
        }
        let fetched = self.env.remote.and_then(|remote| remote.fetch(written));
        fetched.map(Some).ok_or(Problem::Undeclared { what: written.to_owned() })
    }

    /// Reads a file that the kustomization names.
    ///
    /// # Errors
    /// It is not there, or outside the folder.
    pub(super) fn load(&self, written: &Written, file: &str) -> Result<(String, Bytes), Error> {
        self.read(&written.text).map_err(|problem| problem.at(file, written.at))
    }

    fn read(&self, written: &str) -> Result<(String, Bytes), Problem> {
        if let Some(fetched) = self.remote(written)? {
            return match fetched {
                Fetched::File(content) => Ok((written.to_owned(), content)),
                Fetched::Folder { .. } => Err(Problem::NoFile { path: written.to_owned() }),
            };
        }
        let Some(path) = self.join(written)? else { return Err(Problem::NoFile { path: written.to_owned() }) };
        if !self.is_below(&path) {
            return Err(Problem::OutsideFolder { path: written.to_owned(), folder: self.display() });
        }
        match self.tree.get(path.as_str()) {
            Some(content) => Ok((self.name(path.as_str()), content.clone())),
            None => Err(Problem::NoFile { path: written.to_owned() }),
        }
    }

    /// Finds what a resource entry means: a file, or the folder of another kustomization.
    ///
    /// # Errors
    /// There is neither.
    pub(super) fn open(&self, written: &Written, file: &str) -> Result<Entry<'a>, Error> {
        let found = match self.remote(&written.text) {
            Ok(Some(Fetched::File(content))) => Ok(Entry::File { name: written.text.clone(), content }),
            Ok(Some(Fetched::Folder { tree, root })) => {
                let label = format!("{}: ", written.text).into();
                Ok(Entry::Folder(Folder { tree: Rc::new(tree), path: root, label, env: self.env }))
            }
            Err(problem) => Err(problem),
            Ok(None) => self.local(&written.text),
        };
        found.map_err(|problem| problem.at(file, written.at))
    }

    fn local(&self, written: &str) -> Result<Entry<'a>, Problem> {
        let path = self.join(written)?;
        if let Some(path) = &path
            && let Some(content) = self.tree.get(path.as_str())
        {
            if !self.is_below(path) {
                return Err(Problem::OutsideFolder { path: written.to_owned(), folder: self.display() });
            }
            return Ok(Entry::File { name: self.name(path.as_str()), content: content.clone() });
        }
        if !self.folder_exists(path.as_ref()) {
            return Err(Problem::NoFileOrFolder { path: written.to_owned() });
        }
        Ok(Entry::Folder(Folder { path, ..self.clone() }))
    }

    /// Tells whether this folder is another one, or holds it: a kustomization cannot be built from one above it.
    pub(super) fn holds(&self, other: &Folder<'_>) -> bool {
        if self.label != other.label {
            return false;
        }
        match (&self.path, &other.path) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(outer), Some(inner)) => outer == inner || inner.as_str().starts_with(&format!("{outer}/")),
        }
    }
}
