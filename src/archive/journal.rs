//! Hints beside an unfinished archive, so that a killed `create` goes on where it was.
//!
//! One line for the layout, then one line for each mark: the digest of the blob, and
//!
//! | words | mean |
//! |---|---|
//! | `prefix BYTES DIGEST` | so many bytes from its start are in the file and hash to this |
//! | `part FROM TO` | this range of it is in the file |
//! | `nothing` | what was said before is void |
//!
//! Lines are appended. A line that was cut by a crash is no line, and a hint that lies (the disk lost what had been
//! written) shows when the bytes are hashed again.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Mutex,
};

use crate::{
    files::{self, Appender},
    oci::Digest,
    store::Mark,
};

/// The first words of a journal; the number changes with its format.
const HEAD: &str = "bundle-journal 1";

/// The largest journal that is read; at 150 bytes a line, a mark every 4 MiB, this is enough for a terabyte.
const MAX_BYTES: u64 = 64 << 20;

/// What the journal knows of a blob.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hint {
    /// How many bytes from the start are there, and their digest.
    pub prefix: Option<(u64, Digest)>,
    /// Where further ranges start, and where they end.
    pub parts: BTreeMap<u64, u64>,
}

impl Hint {
    pub(super) fn add(&mut self, mark: &Mark) {
        match mark {
            Mark::Nothing => *self = Hint::default(),
            Mark::Prefix(bytes, digest) => {
                self.prefix = Some((*bytes, *digest));
                self.parts.retain(|_, end| *end > *bytes);
            }
            Mark::Part(range) => {
                let end = self.parts.entry(range.start).or_default();
                *end = range.end.max(*end);
            }
        }
    }

    fn marks(&self) -> Vec<Mark> {
        let prefix = self.prefix.map(|(bytes, digest)| Mark::Prefix(bytes, digest));
        prefix.into_iter().chain(self.parts.iter().map(|(start, end)| Mark::Part(*start..*end))).collect()
    }
}

/// An open journal.
#[derive(Debug)]
pub(super) struct Journal {
    file: Mutex<Option<Appender>>,
}

/// Reads the hints for the layout `id`; `None` when there is no journal or it belongs to another layout.
pub(super) fn read(path: &Path, id: &Digest) -> Option<HashMap<Digest, Hint>> {
    let bytes = files::read_limited(path, MAX_BYTES).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    if lines.next() != Some(&format!("{HEAD} {id}")) {
        return None;
    }
    let mut hints = HashMap::new();
    for line in lines {
        if let Some((blob, mark)) = parse(line) {
            hints.entry(blob).or_insert_with(Hint::default).add(&mark);
        }
    }
    Some(hints)
}

impl Journal {
    /// Starts a journal with the hints that are still believed.
    pub(super) fn start(path: &Path, id: &Digest, hints: &HashMap<Digest, Hint>) -> Result<Self, files::Error> {
        let mut text = format!("{HEAD} {id}\n");
        for (blob, hint) in hints {
            for mark in hint.marks() {
                text.push_str(&line(blob, &mark));
            }
        }
        // Not waited for: a journal that a power cut took costs time, and one that it damaged holds only hints.
        match files::quick_write(path, text.as_bytes()) {
            // The archive has its room already; without room for a new journal the old one goes on, if there is one.
            Err(files::Error::NoRoom { .. }) => Ok(Journal { file: Mutex::new(Appender::open(path).ok()) }),
            Err(error) => Err(error),
            Ok(()) => Ok(Journal { file: Mutex::new(Some(Appender::open(path)?)) }),
        }
    }

    /// Appends a mark. Without it only time is lost, so a failure is no failure of the whole.
    pub(super) fn mark(&self, blob: &Digest, mark: &Mark) {
        let mut file = self.file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(file) = &mut *file {
            let _ = file.append(line(blob, mark).as_bytes());
        }
    }
}

fn line(blob: &Digest, mark: &Mark) -> String {
    match mark {
        Mark::Prefix(bytes, digest) => format!("{blob} prefix {bytes} {digest}\n"),
        Mark::Part(range) => format!("{blob} part {} {}\n", range.start, range.end),
        Mark::Nothing => format!("{blob} nothing\n"),
    }
}

fn parse(line: &str) -> Option<(Digest, Mark)> {
    let words: Vec<&str> = line.split(' ').collect();
    let (blob, rest) = words.split_first()?;
    let mark = match rest {
        ["prefix", bytes, digest] => Mark::Prefix(bytes.parse().ok()?, digest.parse().ok()?),
        ["part", from, to] => Mark::Part(from.parse().ok()?..to.parse().ok()?),
        ["nothing"] => Mark::Nothing,
        _ => return None,
    };
    Some((blob.parse().ok()?, mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_line_of_a_blob_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let (id, blob, other) = (Digest::sha256(b"layout"), Digest::sha256(b"a"), Digest::sha256(b"b"));
        assert_eq!(read(&path, &id), None);
        let journal = Journal::start(&path, &id, &HashMap::new()).unwrap();
        for bytes in [4, 8] {
            journal.mark(&blob, &Mark::Part(100..100 + bytes));
            journal.mark(&blob, &Mark::Prefix(bytes, other));
        }
        journal.mark(&other, &Mark::Prefix(1, other));
        journal.mark(&other, &Mark::Nothing);
        let hint = Hint { prefix: Some((8, other)), parts: BTreeMap::from([(100, 108)]) };
        let expected = HashMap::from([(blob, hint), (other, Hint::default())]);
        assert_eq!(read(&path, &id), Some(expected.clone()));
        assert_eq!(read(&path, &other), None);
        // A line that a crash cut, and noise.
        let mut bytes = files::read_limited(&path, 1 << 20).unwrap().to_vec();
        bytes.extend_from_slice(b"x y\n\xff\xfe 1 2\n");
        bytes.extend_from_slice(format!("{blob} prefix 12 {other}").as_bytes());
        files::atomic_write(&path, &bytes).unwrap();
        assert_eq!(read(&path, &id), Some(expected));
    }
}
