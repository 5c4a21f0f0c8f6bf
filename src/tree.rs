//! Files in memory: [`RelPath`] cannot leave its root, and a [`Tree`] is what charts, kustomizations and tarballs look like.
//!
//! # Invariants
//! - A `RelPath` is relative, uses `/`, holds no `.`, `..` or empty segment, no NUL, no backslash and no control character.
//! - A `Tree` iterates in byte order of its paths, so everything derived from it is reproducible.
//!
//! # Failure
//! Every rejected name says which rule it broke; nothing is "cleaned up" silently. [`RelPath::join`] resolves `..` and
//! fails when that would leave the root.

use std::{borrow::Borrow, collections::BTreeMap, fmt, str::FromStr};

use bytes::Bytes;
use serde::{Serialize, Serializer};

/// Names a file below a root; no value of this type points outside it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelPath(String);

/// Says why a name is not a path below a root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The name is empty.
    #[error("an empty path")]
    Empty,
    /// The name is absolute or names a drive.
    #[error("{0:?} is absolute; a path below the root is expected")]
    Absolute(String),
    /// The name leaves its root.
    #[error("{0:?} leaves its root")]
    Escapes(String),
    /// The name holds a character or a segment that no portable name has.
    #[error("{0:?} is not a portable file name")]
    NotPortable(String),
    /// The name is longer than 4,096 bytes, or one segment is longer than 255.
    #[error("a path of {0} bytes is too long")]
    TooLong(usize),
}

impl RelPath {
    /// Returns the path with `/` between its segments.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the last segment.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// Returns the folder that holds this path; `None` at the top.
    pub fn parent(&self) -> Option<RelPath> {
        self.0.rsplit_once('/').map(|(parent, _)| RelPath(parent.to_owned()))
    }

    /// Resolves `written` (which may hold `.` and `..`) against the folder `base`; `None` as base is the root.
    ///
    /// # Errors
    /// [`PathError::Escapes`] when the result would be outside the root, and every other rule of the type.
    pub fn join(base: Option<&RelPath>, written: &str) -> Result<RelPath, PathError> {
        if written.starts_with('/') {
            return Err(PathError::Absolute(written.to_owned()));
        }
        let mut segments: Vec<&str> = base.map(|base| base.0.split('/').collect()).unwrap_or_default();
        for segment in written.split('/') {
            match segment {
                "" | "." => {}
                ".." => {
                    if segments.pop().is_none() {
                        return Err(PathError::Escapes(written.to_owned()));
                    }
                }
                other => segments.push(other),
            }
        }
        segments.join("/").parse()
    }
}

impl FromStr for RelPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        if text.is_empty() {
            return Err(PathError::Empty);
        }
        if text.len() > 4096 {
            return Err(PathError::TooLong(text.len()));
        }
        let bytes = text.as_bytes();
        if bytes[0] == b'/' || (bytes.len() > 1 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':') {
            return Err(PathError::Absolute(text.to_owned()));
        }
        if text.chars().any(|c| c.is_control() || c == '\\') {
            return Err(PathError::NotPortable(text.to_owned()));
        }
        for segment in text.split('/') {
            match segment {
                ".." => return Err(PathError::Escapes(text.to_owned())),
                "" | "." => return Err(PathError::NotPortable(text.to_owned())),
                long if long.len() > 255 => return Err(PathError::TooLong(long.len())),
                _ => {}
            }
        }
        Ok(RelPath(text.to_owned()))
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for RelPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Serialize for RelPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Holds files in memory, in byte order of their paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    files: BTreeMap<RelPath, Bytes>,
}

impl Tree {
    /// Makes an empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file and returns what was there before.
    pub fn insert(&mut self, path: RelPath, content: impl Into<Bytes>) -> Option<Bytes> {
        self.files.insert(path, content.into())
    }

    /// Returns the content of a file.
    pub fn get(&self, path: &str) -> Option<&Bytes> {
        self.files.get(path)
    }

    /// Walks all files in byte order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&RelPath, &Bytes)> {
        self.files.iter()
    }

    /// Returns the number of files.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Tells whether there is no file.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Returns the files below `folder`, with paths relative to it.
    pub fn below(&self, folder: &RelPath) -> Tree {
        let prefix = format!("{folder}/");
        let files = self.files.range(folder.clone()..).take_while(|(path, _)| path.0.starts_with(&folder.0));
        Tree {
            files: files
                .filter_map(|(path, content)| {
                    path.0.strip_prefix(&prefix).map(|rest| (RelPath(rest.to_owned()), content.clone()))
                })
                .collect(),
        }
    }
}

impl FromIterator<(RelPath, Bytes)> for Tree {
    fn from_iter<I: IntoIterator<Item = (RelPath, Bytes)>>(iter: I) -> Self {
        Tree { files: iter.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spelling_leaves_the_root() {
        for bad in
            ["", "/etc/passwd", "../x", "a/../../x", "a/..", "C:x", "a\\b", "a\0b", "a//b", "./a", "a/.", "\u{1b}[31m"]
        {
            assert!(bad.parse::<RelPath>().is_err(), "{bad:?}");
        }
        assert!("x".repeat(256).parse::<RelPath>().is_err());
        assert_eq!("a/b.yaml".parse::<RelPath>().unwrap().name(), "b.yaml");
    }

    #[test]
    fn join_resolves_within_the_root_only() {
        let base: RelPath = "overlays/prod".parse().unwrap();
        assert_eq!(RelPath::join(Some(&base), "../../base").unwrap().as_str(), "base");
        assert_eq!(RelPath::join(Some(&base), "./x.yaml").unwrap().as_str(), "overlays/prod/x.yaml");
        assert!(matches!(RelPath::join(Some(&base), "../../../x"), Err(PathError::Escapes(_))));
        assert!(matches!(RelPath::join(Some(&base), "/x"), Err(PathError::Absolute(_))));
    }

    #[test]
    fn below_takes_the_folder_and_nothing_beside_it() {
        let tree: Tree = ["charts/a/x", "charts/ab/y", "charts/a/sub/z", "top"]
            .map(|path| (path.parse().unwrap(), Bytes::from_static(b"")))
            .into_iter()
            .collect();
        let below: Vec<String> =
            tree.below(&"charts/a".parse().unwrap()).iter().map(|(path, _)| path.to_string()).collect();
        assert_eq!(below, ["sub/z", "x"]);
    }
}
