//! Which files a kustomization needs, and reading just those: the folder of a spec may hold archives and repositories that
//! nobody wants in memory.
//!
//! Every text in a kustomization that is the path of a file or of a folder with a kustomization is taken for one; that reads
//! a file too many now and then, and none too few. Texts in plugin configurations count as well, inline or in files.

use std::{
    collections::{BTreeSet, VecDeque},
    path::Path,
};

use crate::{
    error::{Classify, Kind},
    files,
    tree::{PathError, RelPath, Tree},
    yaml::{self, Node},
};

/// The names that a kustomization may have.
pub(in crate::resolve) const NAMES: &[&str] = &["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// Fields whose files are configurations that name further files.
const PLUGINS: &[&str] = &["generators", "transformers", "validators"];

/// The largest file: as for manifests.
const MAX_FILE: u64 = 64 << 20;

/// How much is read for one entry: twice what a build takes of resources, for what generators put in.
const MAX_BYTES: u64 = 256 << 20;

/// How many files are read for one entry.
const MAX_FILES: usize = 50_000;

/// The longest text that can be a path.
const MAX_PATH: usize = 4096;

/// How deep configurations stand in texts of configurations.
const MAX_NESTED: usize = 8;

/// Says why the files cannot be read.
#[derive(Debug, thiserror::Error)]
pub(in crate::resolve) enum Error {
    /// The machine says so.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// Too much.
    #[error("the kustomization needs more than {MAX_FILES} files or {} MiB", MAX_BYTES >> 20)]
    TooMuch,
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        match self {
            Error::Files(error) => error.kind(),
            Error::TooMuch => Kind::Usage,
        }
    }
}

/// Reads what the kustomization in a folder needs; paths are relative to `top`.
///
/// # Errors
/// A file is too large or leads out of `top` by a link; together they are too much. What is not there is not missed: the
/// build tells where it was asked for.
pub(in crate::resolve) fn read(top: &Path, folder: Option<&RelPath>) -> Result<Tree, Error> {
    let mut reader = Reader {
        top,
        tree: Tree::new(),
        left: MAX_BYTES,
        seen: BTreeSet::new(),
        followed: BTreeSet::new(),
        queue: VecDeque::new(),
    };
    reader.queue.push_back((folder.cloned(), false));
    while let Some((folder, plugins)) = reader.queue.pop_front() {
        if !reader.seen.insert((folder.clone(), plugins)) {
            continue;
        }
        for name in NAMES {
            let Ok(path) = RelPath::join(folder.as_ref(), name) else { continue };
            if reader.take(&path)? {
                let text = reader.content(&path);
                reader.texts(folder.as_ref(), &text, Some(plugins), 0)?;
            }
        }
    }
    Ok(reader.tree)
}

struct Reader<'a> {
    top: &'a Path,
    tree: Tree,
    left: u64,
    /// Folders, and whether what they build configures plugins.
    seen: BTreeSet<(Option<RelPath>, bool)>,
    /// Configurations, and the folder that their paths are relative to.
    followed: BTreeSet<(Option<RelPath>, RelPath)>,
    queue: VecDeque<(Option<RelPath>, bool)>,
}

impl Reader<'_> {
    /// Reads a file once; tells whether it is there.
    fn take(&mut self, path: &RelPath) -> Result<bool, Error> {
        if self.tree.get(path.as_str()).is_some() {
            return Ok(true);
        }
        if !files::is_file(&self.top.join(path.as_str())) {
            return Ok(false);
        }
        let bytes = files::read_below(self.top, path, MAX_FILE)?;
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or(Error::TooMuch)?;
        if self.tree.len() >= MAX_FILES {
            return Err(Error::TooMuch);
        }
        self.tree.insert(path.clone(), bytes);
        Ok(true)
    }

    /// Returns the text of a file that was read; what is no text names no path.
    fn content(&self, path: &RelPath) -> String {
        let bytes = self.tree.get(path.as_str());
        bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default().to_owned()
    }

    /// Follows the paths in a text of YAML; one that is none tells so when it is built.
    /// `kustomization` is none for a configuration, and says whether everything in a kustomization configures plugins.
    fn texts(
        &mut self,
        folder: Option<&RelPath>,
        text: &str,
        kustomization: Option<bool>,
        depth: usize,
    ) -> Result<(), Error> {
        let Ok(documents) = yaml::documents(text, &yaml::Options::lenient()) else { return Ok(()) };
        for document in &documents {
            for (key, value) in document.as_map().unwrap_or_default() {
                let named = || key.key().is_some_and(|key| PLUGINS.contains(&key.as_ref()));
                let plugins = kustomization.is_some_and(|all| all || named());
                self.node(folder, value, plugins, depth)?;
            }
            // A list of configurations in one text.
            for item in document.as_seq().unwrap_or_default() {
                self.node(folder, item, false, depth)?;
            }
        }
        Ok(())
    }

    fn node(&mut self, folder: Option<&RelPath>, node: &Node, plugins: bool, depth: usize) -> Result<(), Error> {
        if let Some(text) = node.as_str() {
            return self.text(folder, text, plugins, depth);
        }
        for (_, value) in node.as_map().unwrap_or_default() {
            self.node(folder, value, plugins, depth)?;
        }
        for item in node.as_seq().unwrap_or_default() {
            self.node(folder, item, plugins, depth)?;
        }
        Ok(())
    }

    fn text(&mut self, folder: Option<&RelPath>, text: &str, plugins: bool, depth: usize) -> Result<(), Error> {
        if text.contains('\n') {
            return if plugins && depth < MAX_NESTED { self.texts(folder, text, None, depth + 1) } else { Ok(()) };
        }
        if text.len() > MAX_PATH {
            return Ok(());
        }
        self.path(folder, text, plugins, depth)?;
        // `files: [key=path]` of generators.
        match text.split_once('=') {
            Some((_, path)) => self.path(folder, path, plugins, depth),
            None => Ok(()),
        }
    }

    fn path(&mut self, folder: Option<&RelPath>, written: &str, plugins: bool, depth: usize) -> Result<(), Error> {
        let path = match RelPath::join(folder, written) {
            Ok(path) => Some(path),
            Err(PathError::Empty) => None,
            Err(_) => return Ok(()),
        };
        let place = path.as_ref().map_or_else(|| self.top.to_owned(), |path| self.top.join(path.as_str()));
        if files::is_folder(&place) {
            // A folder without a kustomization is asked for its names only.
            self.queue.push_back((path, plugins));
        } else if let Some(path) = path
            && self.take(&path)?
            && plugins
            && depth < MAX_NESTED
            && self.followed.insert((folder.cloned(), path.clone()))
        {
            let text = self.content(&path);
            self.texts(folder, &text, None, depth + 1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(top: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = top.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }

    fn read_of(top: &Path, folder: &str) -> Vec<String> {
        let tree = read(top, folder.parse().ok().as_ref()).unwrap();
        tree.iter().map(|(path, _)| path.to_string()).collect()
    }

    #[test]
    fn what_is_named_is_read_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        write(
            place.path(),
            &[
                (
                    "over/kustomization.yaml",
                    "resources: [../base, a.yaml, gone.yaml, 'https://x.example/y']\npatches: [{path: p/p.yaml}]\nconfigMapGenerator: [{name: c, files: [k=c.txt]}]\ngenerators: [g.yaml, \"kind: X\\nfiles: [inline.txt]\\n\"]\n",
                ),
                ("over/a.yaml", "x: other.yaml\n"),
                ("over/other.yaml", ""),
                ("over/p/p.yaml", ""),
                ("over/c.txt", "c"),
                ("over/g.yaml", "files: [from.txt]\n"),
                ("over/from.txt", ""),
                ("over/inline.txt", ""),
                ("base/Kustomization", "resources: [.., b.yaml]\n"),
                ("base/b.yaml", ""),
                ("huge.tar", "not named"),
                ("kustomization.yml", "resources: [over]\n"),
            ],
        );
        assert_eq!(
            read_of(place.path(), "over"),
            [
                "base/Kustomization",
                "base/b.yaml",
                "kustomization.yml",
                "over/a.yaml",
                "over/c.txt",
                "over/from.txt",
                "over/g.yaml",
                "over/inline.txt",
                "over/kustomization.yaml",
                "over/p/p.yaml",
            ]
        );
    }

    #[test]
    fn configurations_in_folders_are_followed_and_circles_end() {
        let place = tempfile::tempdir().unwrap();
        write(
            place.path(),
            &[
                ("kustomization.yaml", "generators: [gen]\ntransformers: [loop.yaml]\n"),
                ("gen/kustomization.yaml", "resources: [g.yaml, ..]\n"),
                ("gen/g.yaml", "files: [a.txt]\n"),
                ("gen/a.txt", ""),
                ("loop.yaml", "- x: [loop.yaml, loop.yaml, loop.yaml, .]\n"),
            ],
        );
        let tree = read(place.path(), None).unwrap();
        let read: Vec<&str> = tree.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(read, ["gen/a.txt", "gen/g.yaml", "gen/kustomization.yaml", "kustomization.yaml", "loop.yaml"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_out_of_the_folder_are_refused() {
        let place = tempfile::tempdir().unwrap();
        write(place.path(), &[("secret", "s"), ("top/k/kustomization.yaml", "resources: [x.yaml]\n")]);
        std::os::unix::fs::symlink(place.path().join("secret"), place.path().join("top/k/x.yaml")).unwrap();
        assert!(matches!(read(&place.path().join("top"), "k".parse().ok().as_ref()), Err(Error::Files(_))));
    }
}
