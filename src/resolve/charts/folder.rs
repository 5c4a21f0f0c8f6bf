//! Charts on this machine: folders, archives, and how one becomes the other.
//!
//! # Invariants
//! - The same files are the same archive: sorted, mode 0644, no owner, no time; what `.helmignore` names is left out.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::Error;
use crate::{
    files::{self, Limits},
    helm::{chart::Ignore, metadata::Metadata},
    tree::{PathError, RelPath, Tree},
};

/// Where a chart was found, so that `file://` dependencies can be looked for beside it.
#[derive(Clone)]
pub(super) enum Home {
    /// A folder on this machine; nothing outside of `root` is looked at.
    Folder {
        root: PathBuf,
        at: Option<RelPath>,
        /// What stands in front of `at` in a path relative to the spec.
        shown: String,
    },
    /// A folder of a commit.
    Git { address: super::git::Address, commit: std::sync::Arc<super::git::Commit>, at: Option<RelPath> },
    /// Nowhere: it came as an archive.
    Nowhere,
}

/// A chart's files and how they came.
pub(super) struct Found {
    /// The files, without a folder on top.
    pub(super) tree: Tree,
    /// The archive, when it came as one.
    pub(super) archive: Option<Bytes>,
    pub(super) home: Home,
}

/// Unpacks a packaged chart: the files below its one top folder.
///
/// # Errors
/// What [`files::read_tarball`] says.
pub fn unpack(name: &Path, bytes: &Bytes) -> Result<Tree, files::Error> {
    let tree = files::read_tarball(name, bytes.as_ref(), &Limits::default())?.tree;
    let below_top = tree.iter().filter_map(|(path, content)| {
        let inner: RelPath = path.as_str().split_once('/')?.1.parse().ok()?;
        Some((inner, content.clone()))
    });
    Ok(below_top.collect())
}

/// Unpacks a chart inside a chart.
pub fn unpack_inner(name: &str, bytes: &Bytes) -> Result<Tree, String> {
    unpack(Path::new(name), bytes).map_err(|error| error.to_string())
}

/// Packs a chart's files.
pub(super) fn pack(metadata: &Metadata, tree: &Tree) -> Result<Bytes, Error> {
    let failed = |why: String| Error::Pack { chart: metadata.name.clone(), why };
    let top: RelPath = metadata.name.parse().map_err(|error: PathError| failed(error.to_string()))?;
    let moved = tree.iter().map(|(path, bytes)| Ok((RelPath::join(Some(&top), path.as_str())?, bytes.clone())));
    let moved = moved.collect::<Result<Tree, PathError>>().map_err(|error| failed(error.to_string()))?;
    let packed = files::pack(&moved).and_then(|tar| files::gzip(&tar)).map_err(|error| failed(error.to_string()))?;
    Ok(packed.into())
}

/// Reads a folder or an archive.
pub(super) fn read(place: &Path, home: Home) -> Result<Found, Error> {
    let limits = Limits::default();
    if !files::is_folder(place) {
        let archive = files::read_limited(place, limits.bytes)?;
        return Ok(Found { tree: unpack(place, &archive)?, archive: Some(archive), home: Home::Nowhere });
    }
    let mut rules = Tree::new();
    match files::read_limited(&place.join(IGNORE), limits.file_bytes) {
        Ok(bytes) => {
            rules.insert(ignore_file(), bytes);
        }
        Err(error) if error.is_missing() => {}
        Err(error) => return Err(error.into()),
    }
    let ignore = ignore(&rules, &place.display().to_string())?;
    let tree = files::read_tree(place, &limits, &|path, is_folder| !ignore.hits(path.as_str(), is_folder))?;
    Ok(Found { tree, archive: None, home })
}

/// Leaves out what `.helmignore` names.
pub(super) fn without_ignored(tree: &Tree, place: &str) -> Result<Tree, Error> {
    let ignore = ignore(tree, place)?;
    let kept = tree.iter().filter(|(path, _)| {
        let text = path.as_str();
        let mut above = text.match_indices('/').map(|(at, _)| &text[..at]);
        !above.any(|folder| ignore.hits(folder, true)) && !ignore.hits(text, false)
    });
    Ok(kept.map(|(path, bytes)| (path.clone(), bytes.clone())).collect())
}

/// The file with the rules.
const IGNORE: &str = ".helmignore";

#[expect(clippy::expect_used, reason = "the name is a constant that is a portable path")]
fn ignore_file() -> RelPath {
    IGNORE.parse().expect("a constant without separators is a path below a root")
}

fn ignore(tree: &Tree, place: &str) -> Result<Ignore, Error> {
    Ignore::of(tree).map_err(|cause| Error::Chart { place: place.to_owned(), cause: cause.into() })
}

impl Home {
    /// Says where a chart of the spec is: below the spec's folder, charts beside it are there for the asking; elsewhere only
    /// what is inside of it.
    pub(super) fn of_spec(folder: &Path, written: &str) -> Home {
        match RelPath::join(None, written) {
            Ok(at) => Home::Folder { root: folder.to_owned(), at: Some(at), shown: String::new() },
            // The spec's own folder is the chart.
            Err(PathError::Empty) => Home::Folder { root: folder.to_owned(), at: None, shown: String::new() },
            Err(_) => {
                let shown = written.trim_end_matches('/').to_owned();
                Home::Folder { root: folder.join(written), at: None, shown }
            }
        }
    }

    /// Returns how the lock names the place: relative to the spec, or as an address.
    pub(super) fn source(&self) -> String {
        match self {
            Home::Folder { at, shown, .. } => match (shown.as_str(), at) {
                ("", None) => ".".to_owned(),
                ("", Some(at)) => at.to_string(),
                (shown, None) => shown.to_owned(),
                (shown, Some(at)) => format!("{shown}/{at}"),
            },
            Home::Git { address, commit, at } => address.source(at.as_ref(), &commit.id),
            Home::Nowhere => String::new(),
        }
    }

    /// Reads what is there.
    pub(super) fn open(self) -> Result<Found, Error> {
        match &self {
            Home::Folder { root, at, .. } => {
                let place = at.as_ref().map_or_else(|| root.clone(), |at| root.join(at.as_str()));
                read(&place, self)
            }
            Home::Git { commit, at, .. } => {
                let tree = commit.tree(at.as_ref(), &Limits::default())?;
                let tree = without_ignored(&tree, &self.source())?;
                Ok(Found { tree, archive: None, home: self })
            }
            Home::Nowhere => Ok(Found { tree: Tree::new(), archive: None, home: self }),
        }
    }

    /// Follows a `file://` address.
    pub(super) fn follow(&self, chart: &str, written: &str) -> Result<Home, Error> {
        let path = written.strip_prefix("file://").unwrap_or(written);
        let outside = |root: PathBuf| Error::Outside { chart: chart.to_owned(), written: written.to_owned(), root };
        let join = |at: &Option<RelPath>, root: PathBuf| match RelPath::join(at.as_ref(), path) {
            Ok(at) => Ok(Some(at)),
            Err(PathError::Empty) => Ok(None),
            Err(_) => Err(outside(root)),
        };
        Ok(match self {
            Home::Folder { root, at, shown } => {
                Home::Folder { root: root.clone(), at: join(at, root.clone())?, shown: shown.clone() }
            }
            Home::Git { address, commit, at } => Home::Git {
                address: address.clone(),
                commit: commit.clone(),
                at: join(at, PathBuf::from("the repository"))?,
            },
            Home::Nowhere => {
                return Err(Error::NoFolder { chart: chart.to_owned(), written: written.to_owned() });
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_always_the_same_archive_without_what_it_ignores() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        for (name, text) in [
            ("Chart.yaml", "name: web"),
            ("templates/a.yaml", "a"),
            ("templates/.b.yaml.swp", "b"),
            ("junk/deep/x", "x"),
            (".git/config", "c"),
            (".helmignore", "junk/\n.git\n*.bak\n"),
            ("old.bak", "o"),
        ] {
            write(name, text);
        }
        let home = Home::of_spec(folder.path(), ".");
        let found = read(folder.path(), home).unwrap();
        let names: Vec<&str> = found.tree.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(names, [".helmignore", "Chart.yaml", "templates/a.yaml"]);
        let metadata = Metadata { name: "web".into(), ..Metadata::default() };
        let packed = pack(&metadata, &found.tree).unwrap();
        assert_eq!(packed, pack(&metadata, &found.tree).unwrap());
        assert_eq!(unpack(Path::new("web.tgz"), &packed).unwrap(), found.tree);
        assert_eq!(without_ignored(&found.tree, "web").unwrap(), found.tree);
    }

    #[test]
    fn dependencies_beside_a_chart_stay_below_the_spec() {
        let home = Home::of_spec(Path::new("/srv/spec"), "./charts/web");
        let at = |home: Result<Home, Error>| match home {
            Ok(Home::Folder { root, at, .. }) => {
                root.join(at.as_ref().map_or("", RelPath::as_str)).display().to_string()
            }
            Ok(_) => "elsewhere".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(at(home.follow("web", "file://../common")), "/srv/spec/charts/common");
        assert_eq!(at(home.follow("web", "file://../..")), "/srv/spec/");
        assert!(at(home.follow("web", "file://../../../x")).contains("outside of /srv/spec"));
        assert!(at(home.follow("web", "file:///etc")).contains("outside"));
        let outside = Home::of_spec(Path::new("/srv/spec"), "../web");
        assert_eq!(at(outside.follow("web", "file://./sub")), "/srv/spec/../web/sub");
        assert!(at(outside.follow("web", "file://../x")).contains("outside"));
        assert!(matches!(Home::Nowhere.follow("web", "file://x"), Err(Error::NoFolder { .. })));
    }
}
