//! Where the files of a large foreign tar stand, so that they can be read at their places without unpacking.

use std::{
    collections::BTreeMap,
    io::{self, Read, Seek, SeekFrom},
    path::PathBuf,
    sync::Arc,
};

use super::{Action, Error, Positional};
use crate::tree::{PathError, RelPath};

/// How many entries a foreign tar may have; an image with a thousand layers has a few thousand.
const MAX_ENTRIES: usize = 100_000;

/// How many links may follow each other: `docker save` of old chained two.
const MAX_LINKS: usize = 8;

/// A file inside a tar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Where its content starts.
    pub offset: u64,
    /// How long it is.
    pub size: u64,
}

/// The names of a tar and where their content stands.
#[derive(Clone, Debug)]
pub struct TarIndex {
    file: Arc<Positional>,
    files: BTreeMap<RelPath, Place>,
    links: BTreeMap<RelPath, RelPath>,
}

impl TarIndex {
    /// Reads the headers of an uncompressed tar. Links are kept as names within the tar; a link that leaves it, a device
    /// and a sparse file are errors, and so is a name that occurs twice.
    ///
    /// # Errors
    /// [`Error::NotRegular`], [`Error::LinkOut`], [`Error::Twice`], [`Error::Name`], [`Error::Truncated`],
    /// [`Error::TooMany`], [`Error::Io`].
    pub fn read(file: Arc<Positional>) -> Result<Self, Error> {
        let path = file.path().to_owned();
        let io = |cause| Error::io(&path, Action::Unpack, cause);
        let name = |cause| Error::Name { path: path.clone(), cause };
        let length = file.len()?;
        let mut index = TarIndex { file: file.clone(), files: BTreeMap::new(), links: BTreeMap::new() };
        let mut archive = tar::Archive::new(Cursor { file: &file, at: 0, length });
        let mut seen = 0usize;
        for entry in archive.entries_with_seek().map_err(io)? {
            let mut entry = entry.map_err(io)?;
            seen += 1;
            if seen > MAX_ENTRIES {
                return Err(Error::TooMany { path, limit: MAX_ENTRIES });
            }
            let kind = entry.header().entry_type();
            if kind.is_dir() || kind.is_pax_global_extensions() {
                continue;
            }
            let text = utf8(&entry.path_bytes()).map_err(name)?;
            let own: RelPath = text.strip_prefix("./").unwrap_or(&text).parse().map_err(name)?;
            let inside = || path.join(own.as_str());
            let mut sparse = false;
            if let Some(extensions) = entry.pax_extensions().map_err(io)? {
                for extension in extensions {
                    // The tar library reads the holes of such a file as its content.
                    sparse |= extension.map_err(io)?.key_bytes().starts_with(b"GNU.sparse.");
                }
            }
            let taken = if kind.is_symlink() || kind.is_hard_link() {
                let target = entry.link_name_bytes().ok_or_else(|| Error::NotRegular { path: inside() })?;
                let target = utf8(&target).map_err(name)?;
                // A symbolic link starts from its own folder, a hard link from the root of the tar.
                let base = if kind.is_symlink() { own.parent() } else { None };
                let target = RelPath::join(base.as_ref(), &target).map_err(|_| Error::LinkOut { path: inside() })?;
                index.links.insert(own.clone(), target).is_some() || index.files.contains_key(&own)
            } else if (kind.is_file() || kind.is_contiguous()) && !sparse {
                let (offset, size) = (entry.raw_file_position(), entry.size());
                if offset.checked_add(size).is_none_or(|end| end > length) {
                    return Err(Error::Truncated { path, entry: text });
                }
                index.files.insert(own.clone(), Place { offset, size }).is_some() || index.links.contains_key(&own)
            } else {
                return Err(Error::NotRegular { path: inside() });
            };
            if taken {
                return Err(Error::Twice { path, entry: text });
            }
        }
        Ok(index)
    }

    /// Returns the file that holds everything.
    pub fn file(&self) -> &Arc<Positional> {
        &self.file
    }

    /// Finds a file by name, through links within the tar.
    pub fn find(&self, name: &str) -> Option<Place> {
        let mut name = name;
        for _ in 0..=MAX_LINKS {
            if let Some(place) = self.files.get(name) {
                return Some(*place);
            }
            name = self.links.get(name)?.as_str();
        }
        None
    }

    /// Walks the names that start with `prefix`, links too.
    pub fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.files.keys().chain(self.links.keys()).map(RelPath::as_str).filter(move |name| name.starts_with(prefix))
    }

    /// Reads a small file into memory.
    ///
    /// # Errors
    /// [`Error::TooLarge`] and [`Error::Io`]; `None` when there is no such file.
    pub fn read_file(&self, name: &str, limit: u64) -> Result<Option<bytes::Bytes>, Error> {
        let Some(place) = self.find(name) else { return Ok(None) };
        let size = usize::try_from(place.size).ok().filter(|_| place.size <= limit);
        let Some(size) = size else {
            return Err(Error::TooLarge { path: self.inside(name), limit });
        };
        let mut bytes = vec![0; size];
        self.file.read_exact_at(&mut bytes, place.offset)?;
        Ok(Some(bytes.into()))
    }

    fn inside(&self, name: &str) -> PathBuf {
        self.file.path().join(name)
    }
}

fn utf8(bytes: &[u8]) -> Result<String, PathError> {
    str::from_utf8(bytes)
        .map(str::to_owned)
        .map_err(|_| PathError::NotPortable(String::from_utf8_lossy(bytes).into_owned()))
}

/// Gives a positional file the cursor that the tar library wants.
struct Cursor<'a> {
    file: &'a Positional,
    at: u64,
    length: u64,
}

impl Read for Cursor<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.length.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let n = buffer.len().min(left);
        self.file.read_exact_at(&mut buffer[..n], self.at).map_err(io::Error::other)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for Cursor<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
        };
        self.at = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tarball(entries: &[(&str, tar::EntryType, &[u8], &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, bytes, link) in entries {
            let mut header = tar::Header::new_gnu();
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(bytes.len() as u64);
            header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
            header.set_cksum();
            builder.append(&header, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn index(bytes: &[u8]) -> Result<TarIndex, Error> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        TarIndex::read(Arc::new(Positional::open(file.path()).unwrap()))
    }

    const FILE: tar::EntryType = tar::EntryType::Regular;
    const LINK: tar::EntryType = tar::EntryType::Symlink;

    #[test]
    fn finds_files_also_through_links_inside() {
        let found = index(&tarball(&[
            ("./a/layer.tar", FILE, b"hello", ""),
            ("b/layer.tar", LINK, b"", "../a/layer.tar"),
            ("c", LINK, b"", "b/layer.tar"),
            ("d", tar::EntryType::Link, b"", "a/layer.tar"),
            ("loop", LINK, b"", "loop"),
            ("dangling", LINK, b"", "nowhere"),
        ]))
        .unwrap();
        for name in ["a/layer.tar", "b/layer.tar", "c", "d"] {
            assert_eq!(found.read_file(name, 100).unwrap().unwrap().as_ref(), b"hello", "{name}");
        }
        assert!(found.find("loop").is_none() && found.find("dangling").is_none());
        assert!(matches!(found.read_file("c", 4), Err(Error::TooLarge { .. })));
    }

    #[test]
    fn refuses_what_leaves_repeats_or_lies() {
        assert!(matches!(index(&tarball(&[("a", LINK, b"", "../../etc/passwd")])), Err(Error::LinkOut { .. })));
        assert!(matches!(index(&tarball(&[("a", LINK, b"", "/etc/passwd")])), Err(Error::LinkOut { .. })));
        assert!(matches!(index(&tarball(&[("../a", FILE, b"", "")])), Err(Error::Name { .. })));
        assert!(matches!(index(&tarball(&[("a", FILE, b"1", ""), ("a", FILE, b"2", "")])), Err(Error::Twice { .. })));
        assert!(matches!(index(&tarball(&[("a", FILE, b"1", ""), ("a", LINK, b"", "b")])), Err(Error::Twice { .. })));
        assert!(matches!(index(&tarball(&[("a", tar::EntryType::Fifo, b"", "")])), Err(Error::NotRegular { .. })));
        let whole = tarball(&[("a", FILE, &[7; 2000], "")]);
        assert!(matches!(index(&whole[..1500]), Err(Error::Truncated { .. })));
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_pax_extensions([("GNU.sparse.major", &b"1"[..])]).unwrap();
        let mut bytes = builder.into_inner().unwrap();
        bytes.truncate(1024);
        bytes.extend(tarball(&[("a", FILE, b"1", "")]));
        assert!(matches!(index(&bytes), Err(Error::NotRegular { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn never_panics_and_never_points_outside(noise in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..1600) {
            let mut bytes = tarball(&[("a", FILE, b"content", ""), ("b", LINK, b"", "a"), ("c", FILE, b"x", "")]);
            for (slot, byte) in bytes.iter_mut().skip(at).zip(&noise) { *slot ^= byte; }
            let length = bytes.len() as u64;
            if let Ok(found) = index(&bytes) {
                prop_assert!(found.files.values().all(|place| place.offset + place.size <= length));
            }
        }
    }
}
