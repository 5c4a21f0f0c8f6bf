//! Whole files and folders into memory, with limits.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use super::{Action, Error};
use crate::tree::{RelPath, Tree};

/// Bounds what is read into memory.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many files.
    pub files: usize,
    /// How many bytes one file may have.
    pub file_bytes: u64,
    /// How many bytes all files may have together.
    pub bytes: u64,
    /// How many folders may be nested.
    pub depth: usize,
}

impl Default for Limits {
    /// Helm's own bounds for a chart, which also fit folders of manifests: 100 MiB in all; single files may be larger
    /// than its 5 MiB, because custom resource definitions of operators are.
    fn default() -> Self {
        Limits { files: 20_000, file_bytes: 32 << 20, bytes: 100 << 20, depth: 32 }
    }
}

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
/// [`Error::TooLarge`], [`Error::NotRegular`] or [`Error::Io`].
pub fn read_limited(path: &Path, limit: u64) -> Result<Bytes, Error> {
    let io = |action| move |cause| Error::io(path, action, cause);
    let metadata = fs::metadata(path).map_err(io(Action::Open))?;
    if !metadata.is_file() {
        return Err(Error::NotRegular { path: path.to_owned() });
    }
    if metadata.len() > limit {
        return Err(Error::TooLarge { path: path.to_owned(), limit });
    }
    let file = fs::File::open(path).map_err(io(Action::Open))?;
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
    // One byte more than allowed, so that a file that grew meanwhile is noticed.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(io(Action::Read))?;
    if bytes.len() as u64 > limit {
        return Err(Error::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes.into())
}

/// Reads the regular file at a path below `root`, of at most `limit` bytes; a link must not lead out of the root.
///
/// # Errors
/// [`Error::LinkOut`], and those of [`read_limited`].
pub fn read_below(root: &Path, path: &RelPath, limit: u64) -> Result<Bytes, Error> {
    let place = root.join(path.as_str());
    let real = |path: &Path| fs::canonicalize(path).map_err(|cause| Error::io(path, Action::Open, cause));
    if !real(&place)?.starts_with(real(root)?) {
        return Err(Error::LinkOut { path: place });
    }
    read_limited(&place, limit)
}

/// Reads every file below `root` that `wanted` accepts (folders are asked too, with `true`). Links to files and folders
/// below the root are followed; any other link is an error.
///
/// # Errors
/// [`Error::LinkOut`], [`Error::NotRegular`], [`Error::Name`], the limits, and [`Error::Io`].
pub fn read_tree(root: &Path, limits: &Limits, wanted: &dyn Fn(&RelPath, bool) -> bool) -> Result<Tree, Error> {
    let mut tree = Tree::new();
    let mut left = limits.bytes;
    visit(root, limits, wanted, &mut |relative, real| {
        let bytes = read_limited(real, limits.file_bytes.min(left)).map_err(|error| match error {
            Error::TooLarge { .. } if left < limits.file_bytes => {
                Error::TooLarge { path: root.to_owned(), limit: limits.bytes }
            }
            other => other,
        })?;
        left -= bytes.len() as u64;
        tree.insert(relative, bytes);
        Ok(())
    })?;
    Ok(tree)
}

/// Returns the paths of all files below `root`, in byte order, without reading them; links as in [`read_tree`].
///
/// # Errors
/// As [`read_tree`].
pub fn walk_files(root: &Path) -> Result<Vec<RelPath>, Error> {
    let mut found = Vec::new();
    visit(root, &Limits::default(), &|_, _| true, &mut |relative, _| {
        found.push(relative);
        Ok(())
    })?;
    found.sort();
    Ok(found)
}

fn visit(
    root: &Path,
    limits: &Limits,
    wanted: &dyn Fn(&RelPath, bool) -> bool,
    take: &mut dyn FnMut(RelPath, &Path) -> Result<(), Error>,
) -> Result<(), Error> {
    let canonical = fs::canonicalize(root).map_err(|cause| Error::io(root, Action::Open, cause))?;
    let mut walk = Walk { root: canonical.clone(), limits, wanted, take, seen: 0 };
    walk.folder(&canonical, None, &mut vec![canonical.clone()])
}

struct Walk<'a> {
    root: PathBuf,
    limits: &'a Limits,
    wanted: &'a dyn Fn(&RelPath, bool) -> bool,
    take: &'a mut dyn FnMut(RelPath, &Path) -> Result<(), Error>,
    seen: usize,
}

impl Walk<'_> {
    /// `above` holds the real paths of the folders on the way here, so that a circle of links is noticed.
    fn folder(&mut self, folder: &Path, name: Option<&RelPath>, above: &mut Vec<PathBuf>) -> Result<(), Error> {
        if above.len() > self.limits.depth {
            return Err(Error::TooDeep { path: folder.to_owned() });
        }
        for file_name in names(folder)? {
            let path = folder.join(&file_name);
            let escaped = |cause| Error::Name { path: folder.to_owned(), cause };
            let relative = RelPath::join(name, &file_name).map_err(escaped)?;
            let io = |cause| Error::io(&path, Action::Read, cause);
            let mut metadata = fs::symlink_metadata(&path).map_err(io)?;
            let mut real = path.clone();
            if metadata.is_symlink() {
                real = fs::canonicalize(&path).map_err(io)?;
                if !real.starts_with(&self.root) {
                    return Err(Error::LinkOut { path });
                }
                metadata = fs::metadata(&real).map_err(io)?;
            }
            if metadata.is_dir() {
                if (self.wanted)(&relative, true) {
                    if above.contains(&real) {
                        return Err(Error::TooDeep { path });
                    }
                    above.push(real.clone());
                    self.folder(&real, Some(&relative), above)?;
                    above.pop();
                }
            } else if (self.wanted)(&relative, false) {
                self.seen += 1;
                if self.seen > self.limits.files {
                    return Err(Error::TooMany { path: self.root.clone(), limit: self.limits.files });
                }
                (self.take)(relative, &real)?;
            }
        }
        Ok(())
    }
}

/// The entries of a folder in byte order; a name that is not UTF-8 is an error, because nothing here could spell it.
fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let io = |cause| Error::io(folder, Action::List, cause);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        found.push(name.into_string().map_err(|name| Error::Name {
            path: folder.to_owned(),
            cause: crate::tree::PathError::NotPortable(name.to_string_lossy().into_owned()),
        })?);
    }
    found.sort_unstable();
    Ok(found)
}

/// Returns the names of the regular files (not links, not folders) directly in a folder, in byte order.
///
/// # Errors
/// [`Error::Io`] and [`Error::Name`].
pub fn file_names(folder: &Path) -> Result<Vec<String>, Error> {
    let mut found = names(folder)?;
    found.retain(|name| fs::symlink_metadata(folder.join(name)).is_ok_and(|metadata| metadata.is_file()));
    Ok(found)
}

/// Tells whether the path names a regular file, directly or by a link.
pub fn is_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}

/// Tells whether the path names a folder, directly or by a link.
pub fn is_folder(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

/// Returns when a file was changed last, in seconds since 1970.
///
/// # Errors
/// [`Error::Io`].
pub fn modified(path: &Path) -> Result<i64, Error> {
    let time = fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .map_err(|cause| Error::io(path, Action::Read, cause))?;
    let since = time.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Ok(i64::try_from(since).unwrap_or(i64::MAX))
}

/// Tells whether bytes start as gzip does (RFC 1952, section 2.3.1).
pub fn is_gzip(start: &[u8]) -> bool {
    start.starts_with(&[0x1f, 0x8b])
}

/// Returns the paths in a folder, sorted; none when the folder does not exist.
///
/// # Errors
/// [`Error::Io`] when the folder exists and cannot be read.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    match names(folder) {
        Ok(names) => Ok(names.into_iter().map(|name| folder.join(name)).collect()),
        Err(error) if error.is_missing() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(_: &RelPath, _: bool) -> bool {
        true
    }

    #[test]
    fn limits_are_exact() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, b"12345").unwrap();
        assert_eq!(read_limited(&path, 5).unwrap().as_ref(), b"12345");
        assert!(matches!(read_limited(&path, 4), Err(Error::TooLarge { limit: 4, .. })));
        assert!(matches!(read_limited(folder.path(), 4), Err(Error::NotRegular { .. })));
        let limits = Limits { bytes: 4, ..Limits::default() };
        assert!(matches!(read_tree(folder.path(), &limits, &all), Err(Error::TooLarge { limit: 4, .. })));
        let limits = Limits { files: 0, ..Limits::default() };
        assert!(matches!(read_tree(folder.path(), &limits, &all), Err(Error::TooMany { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn links_inside_are_followed_and_links_out_are_refused() {
        use std::os::unix::fs::symlink;
        let outside = tempfile::tempdir().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir(root.join("a")).unwrap();
        fs::write(root.join("a/x.yaml"), b"x").unwrap();
        symlink("a", root.join("b")).unwrap();
        symlink("a/x.yaml", root.join("c.yaml")).unwrap();
        let tree = read_tree(root, &Limits::default(), &all).unwrap();
        assert_eq!(tree.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["a/x.yaml", "b/x.yaml", "c.yaml"]);
        let skipped = read_tree(root, &Limits::default(), &|path, _| path.as_str() != "b").unwrap();
        assert_eq!(skipped.len(), 2);

        symlink("..", root.join("a/up")).unwrap();
        assert!(matches!(read_tree(root, &Limits::default(), &all), Err(Error::TooDeep { .. })));
        fs::remove_file(root.join("a/up")).unwrap();
        symlink(outside.path(), root.join("out")).unwrap();
        assert!(matches!(read_tree(root, &Limits::default(), &all), Err(Error::LinkOut { .. })));
    }
}
