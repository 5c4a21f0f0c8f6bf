//! Hints beside an unfinished archive, so that a killed `create` goes on where it was.
//!
//! One line for the layout, then one line for each mark: the digest of the blob, how many of its bytes are in the file,
//! and what those bytes hash to. Lines are appended; the last one of a blob counts. A line that was cut by a crash is no
//! line, and a hint that lies (the disk lost what had been written) shows when the bytes are hashed again.

use std::{collections::HashMap, path::Path, sync::Mutex};

use crate::{
    files::{self, Appender},
    oci::Digest,
};

/// The first words of a journal; the number changes with its format.
const HEAD: &str = "bundle-journal 1";

/// The largest journal that is read; at 150 bytes a line, a mark every 4 MiB, this is enough for a terabyte.
const MAX_BYTES: u64 = 64 << 20;

/// What the journal knows of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hint {
    pub bytes: u64,
    pub digest: Digest,
}

/// An open journal.
#[derive(Debug)]
pub(super) struct Journal {
    file: Mutex<Appender>,
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
        let mut words = line.split(' ');
        if let (Some(blob), Some(bytes), Some(digest), None) = (words.next(), words.next(), words.next(), words.next())
            && let (Ok(blob), Ok(bytes), Ok(digest)) = (blob.parse(), bytes.parse(), digest.parse())
        {
            hints.insert(blob, Hint { bytes, digest });
        }
    }
    Some(hints)
}

impl Journal {
    /// Starts a journal with the hints that are still believed.
    pub(super) fn start(path: &Path, id: &Digest, hints: &HashMap<Digest, Hint>) -> Result<Self, files::Error> {
        let mut text = format!("{HEAD} {id}\n");
        for (blob, hint) in hints {
            text.push_str(&line(blob, hint));
        }
        files::atomic_write(path, text.as_bytes())?;
        Ok(Journal { file: Mutex::new(Appender::open(path)?) })
    }

    /// Appends a mark. Without it only time is lost, so a failure is no failure of the whole.
    pub(super) fn mark(&self, blob: &Digest, hint: Hint) {
        let mut file = self.file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let _ = file.append(line(blob, &hint).as_bytes());
    }
}

fn line(blob: &Digest, hint: &Hint) -> String {
    format!("{blob} {} {}\n", hint.bytes, hint.digest)
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
            journal.mark(&blob, Hint { bytes, digest: other });
        }
        let expected = HashMap::from([(blob, Hint { bytes: 8, digest: other })]);
        assert_eq!(read(&path, &id), Some(expected.clone()));
        assert_eq!(read(&path, &other), None);
        // A line that a crash cut, and noise.
        let mut bytes = files::read_limited(&path, 1 << 20).unwrap().to_vec();
        bytes.extend_from_slice(b"x y\n\xff\xfe 1 2\n");
        bytes.extend_from_slice(format!("{blob} 12 {other}").as_bytes());
        files::atomic_write(&path, &bytes).unwrap();
        assert_eq!(read(&path, &id), Some(expected));
    }
}
