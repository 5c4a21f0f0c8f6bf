//! Reads and writes past the page cache: what passes once and is read by somebody else later needs no copy in memory.
//!
//! Large archives would otherwise push everything out of the page cache that the machine works with, and each byte costs a
//! copy and a page more (measured on ext4: 0.05 s of processor time for 595 MB instead of 0.1 s at best and 1.3 s at worst).
//!
//! # Invariants
//! - Only whole blocks are written in this way, each by one writer; the bytes before and behind them go through the cache.
//! - Where a file system cannot, everything goes through the cache, and nothing else changes.

use std::{fs, ops::Range, path::Path, sync::OnceLock};

use super::positional::{put_all_at, read_all_at};

/// The alignment of offsets, lengths and memory: the block of common file systems, and a multiple of what any disk wants
/// (`open(2)`, `O_DIRECT`).
const BLOCK: usize = 4096;

/// Fewer bytes are not worth a request of their own to the disk.
const WORTH: usize = 64 << 10;

/// A second handle on a file, for what goes past the cache; opened when it is first wanted.
#[derive(Debug, Default)]
pub(super) struct Direct(OnceLock<Option<fs::File>>);

impl Direct {
    /// Writes the blocks inside `bytes` past the cache and returns their range; `None` when nothing was written, because
    /// the file system cannot, or there is too little.
    pub(super) fn write(&self, file: &fs::File, path: &Path, bytes: &[u8], at: u64) -> Option<Range<usize>> {
        let inside = whole_blocks(bytes, at)?;
        let direct = self.0.get_or_init(|| open(file, path)).as_ref()?;
        // A refusal is not told here: the same write through the cache either works or says why.
        put_all_at(direct, &bytes[inside.clone()], at + inside.start as u64).ok().map(|()| inside)
    }

    /// Fills the blocks inside `bytes` past the cache and returns their range; `None` when nothing was read.
    pub(super) fn read(&self, file: &fs::File, path: &Path, bytes: &mut [u8], at: u64) -> Option<Range<usize>> {
        let inside = whole_blocks(bytes, at)?;
        let direct = self.0.get_or_init(|| open(file, path)).as_ref()?;
        read_all_at(direct, &mut bytes[inside.clone()], at + inside.start as u64).ok().map(|()| inside)
    }
}

/// Returns which of the bytes for offset `at` are whole blocks that lie as they must in memory.
fn whole_blocks(bytes: &[u8], at: u64) -> Option<Range<usize>> {
    let before = padding(at);
    let whole = bytes.len().checked_sub(before)? / BLOCK * BLOCK;
    let inside = bytes.get(before..before + whole)?;
    (whole >= WORTH && (inside.as_ptr() as usize).is_multiple_of(BLOCK)).then_some(before..before + whole)
}

/// Returns how many bytes are missing from an offset to the next block.
fn padding(at: u64) -> usize {
    (BLOCK - (at % BLOCK as u64) as usize) % BLOCK
}

#[cfg(target_os = "linux")]
fn open(file: &fs::File, path: &Path) -> Option<fs::File> {
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
    let flags = i32::try_from(rustix::fs::OFlags::DIRECT.bits()).ok()?;
    let direct = fs::OpenOptions::new().read(true).write(true).custom_flags(flags).open(path).ok()?;
    let identity = |file: &fs::File| file.metadata().map(|metadata| (metadata.dev(), metadata.ino())).ok();
    // The name may lead to another file by now.
    (identity(&direct)? == identity(file)?).then_some(direct)
}

#[cfg(not(target_os = "linux"))]
fn open(_: &fs::File, _: &Path) -> Option<fs::File> {
    None
}

/// Collects the bytes for one place of a file in memory that lies as the place does, so that whole blocks of it can be
/// written past the cache.
#[derive(Debug, Default)]
pub struct Buffer {
    memory: Vec<u8>,
    from: usize,
    room: usize,
}

impl Buffer {
    /// Uses the memory again for at most `size` bytes that begin at offset `at` of a file. All but the last buffer of a row
    /// end where a block does.
    #[must_use]
    pub fn begin(mut self, at: u64, size: usize) -> Buffer {
        self.memory.clear();
        self.memory.reserve(size + BLOCK);
        let off = self.memory.as_ptr().align_offset(BLOCK);
        // Where the system does not say how memory lies, it lies anyhow, and everything goes through the cache.
        let past = (at % BLOCK as u64) as usize;
        self.from = if off < BLOCK { (off + past) % BLOCK } else { 0 };
        self.memory.resize(self.from, 0);
        self.room = size - past.min(size / 2);
        self
    }

    /// Uses the memory again for exactly `size` bytes from offset `at` of a file, which are to be read into it.
    pub(super) fn for_reading(self, at: u64, size: usize) -> Buffer {
        let mut buffer = self.begin(at, size);
        buffer.memory.resize(buffer.from + size, 0);
        buffer.room = 0;
        buffer
    }

    /// Returns the memory of the bytes.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.from..]
    }

    /// Takes as many of the bytes as there is room for and returns how many.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room);
        self.memory.extend_from_slice(&bytes[..taken]);
        self.room -= taken;
        taken
    }

    /// Returns the bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.from..]
    }

    /// Tells whether there is no room left.
    pub fn is_full(&self) -> bool {
        self.room == 0
    }

    /// Tells whether nothing is in it, also when it was never begun.
    pub fn is_empty(&self) -> bool {
        self.memory.len() == self.from
    }
}

#[cfg(test)]
mod tests {
    use super::super::Positional;
    use super::*;
    use proptest::prelude::*;

    /// Returns a folder beside the tests' own program: temporary folders may be memory, which may know no direct writes.
    fn on_disk() -> tempfile::TempDir {
        let program = std::env::current_exe().unwrap();
        tempfile::tempdir_in(program.parent().unwrap()).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_the_place_the_bytes_arrive(at in 0u64..20_000, length in 0usize..400_000, size in 8192usize..200_000) {
            let folder = on_disk();
            let file = Positional::open_exclusive(&folder.path().join("x")).unwrap();
            file.reserve(at + length as u64 + 10).unwrap();
            let content: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let mut rest = content.as_slice();
            let mut place = at;
            let mut buffer = Buffer::default();
            while !rest.is_empty() {
                buffer = buffer.begin(place, size);
                while !buffer.is_full() && !rest.is_empty() {
                    let taken = buffer.push(&rest[..rest.len().min(1000)]);
                    rest = &rest[taken..];
                }
                file.write_once_at(buffer.bytes(), place).unwrap();
                place += buffer.bytes().len() as u64;
            }
            let read = file.read_once_at(buffer, at, length + 10).unwrap();
            let read = read.bytes();
            prop_assert_eq!(read.len(), length + 10);
            prop_assert!(read[..length] == content);
            prop_assert!(read[length..].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn whole_blocks_go_past_the_cache_where_the_disk_can() {
        let folder = on_disk();
        let path = folder.path().join("x");
        let file = fs::OpenOptions::new().create_new(true).read(true).write(true).open(&path).unwrap();
        file.set_len(1 << 20).unwrap();
        let direct = Direct::default();
        let mut buffer = Buffer::default().begin(512, 1 << 19);
        while !buffer.is_full() {
            buffer.push(&[7; 4000]);
        }
        let written = direct.write(&file, &path, buffer.bytes(), 512);
        match direct.0.get() {
            Some(Some(_)) => assert_eq!(written, Some(4096 - 512..buffer.bytes().len())),
            _ => assert_eq!(written, None, "this file system has no direct writes"),
        }
        // Too little, and another file under the name.
        assert_eq!(direct.write(&file, &path, &[0; 100], 0), None);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "other").unwrap();
        assert_eq!(Direct::default().write(&file, &path, buffer.bytes(), 512), None);
        assert_eq!(fs::read(&path).unwrap(), b"other");
    }
}
