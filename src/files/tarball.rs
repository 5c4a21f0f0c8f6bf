//! Small foreign tars, plain or gzip, read into memory.
//!
//! Nothing of a foreign tar is ever unpacked onto the disk, so links in it can lead nowhere: they are refused all the
//! same, because whoever made them expected something that would not happen.

use std::{
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use bytes::Bytes;

use super::{Action, Error, Limits, is_gzip};
use crate::tree::{RelPath, Tree};

/// What a tar held.
#[derive(Clone, Debug, Default)]
pub struct Unpacked {
    /// The files; of a name that occurs twice, the last one, as Helm and tar do.
    pub tree: Tree,
    /// Names that occurred more than once.
    pub duplicates: Vec<RelPath>,
}

/// How many times compressed data may expand: honest text reaches about 100, and the format's own maximum is 1,032.
pub(super) const MAX_RATIO: u64 = 200;

/// Below this many bytes no ratio is checked: a few zeros compress better than anything honest.
pub(super) const RATIO_FLOOR: u64 = 16 << 20;

/// How much memory is taken before it is known how much there is: small charts need no more.
const FIRST_PIECE: usize = 64 << 10;

/// Reads a tar, which may be gzip, into memory. `origin` names it in errors.
///
/// # Errors
/// [`Error::NotRegular`] for links and devices, [`Error::Name`] for names that leave the root, [`Error::Truncated`],
/// [`Error::Bomb`], the limits, and [`Error::Io`] for what is no tar.
pub fn read_tarball(origin: &Path, input: impl Read, limits: &Limits) -> Result<Unpacked, Error> {
    let io = |cause| Error::io(origin, Action::Unpack, cause);
    let mut input = BufReader::with_capacity(64 << 10, input);
    // Headers and padding come on top of the content: 1.5 KiB a file and one extension header.
    let overhead = (limits.files as u64).saturating_mul(4096);
    let raw_limit = limits.bytes.saturating_add(overhead);
    let gzip = is_gzip(input.fill_buf().map_err(io)?);
    let mut guard = if gzip {
        Guard::new(Box::new(Inflate::new(input)) as Box<dyn Read + '_>, raw_limit)
    } else {
        Guard::new(Box::new(input) as Box<dyn Read + '_>, raw_limit)
    };
    // All at once, up to the checksum at the end: decompressing is fast in large pieces only, and the files need no copy.
    let mut raw = Vec::with_capacity(FIRST_PIECE);
    let done = guard.read_to_end(&mut raw);
    if guard.tripped {
        return Err(Error::TooLarge { path: origin.to_owned(), limit: limits.bytes });
    }
    done.map_err(|cause| match cause.get_ref().and_then(|inner| inner.downcast_ref::<TooMuch>()) {
        Some(TooMuch) => Error::Bomb { path: origin.to_owned(), ratio: MAX_RATIO },
        None => io(cause),
    })?;
    read_entries(origin, &Bytes::from(raw), limits)
}

/// Finds the files in a tar: they are parts of its memory.
fn read_entries(origin: &Path, raw: &Bytes, limits: &Limits) -> Result<Unpacked, Error> {
    let io = |cause| Error::io(origin, Action::Unpack, cause);
    let mut unpacked = Unpacked::default();
    let mut left = limits.bytes;
    let mut seen = 0usize;
    let mut archive = tar::Archive::new(io::Cursor::new(&raw[..]));
    for entry in archive.entries_with_seek().map_err(io)? {
        let entry = entry.map_err(io)?;
        seen += 1;
        if seen > limits.files {
            return Err(Error::TooMany { path: origin.to_owned(), limit: limits.files });
        }
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() || kind.is_dir() {
            continue;
        }
        let name = entry.path_bytes().into_owned();
        let inside = || origin.join(String::from_utf8_lossy(&name).as_ref());
        if !kind.is_file() && !kind.is_contiguous() {
            return Err(Error::NotRegular { path: inside() });
        }
        let text = String::from_utf8(name.clone()).map_err(|error| Error::Name {
            path: origin.to_owned(),
            cause: crate::tree::PathError::NotPortable(String::from_utf8_lossy(error.as_bytes()).into_owned()),
        })?;
        let path: RelPath = text
            .strip_prefix("./")
            .unwrap_or(&text)
            .parse()
            .map_err(|cause| Error::Name { path: origin.to_owned(), cause })?;
        let size = entry.size();
        if size > limits.file_bytes {
            return Err(Error::TooLarge { path: inside(), limit: limits.file_bytes });
        }
        if size > left {
            return Err(Error::TooLarge { path: origin.to_owned(), limit: limits.bytes });
        }
        let start = entry.raw_file_position();
        // The reader ends quietly where a cut tar ends.
        let Some(end) = start.checked_add(size).filter(|end| *end <= raw.len() as u64) else {
            return Err(Error::Truncated { path: origin.to_owned(), entry: text });
        };
        let bytes = raw.slice(start as usize..end as usize);
        left -= size;
        if unpacked.tree.insert(path.clone(), bytes).is_some() && !unpacked.duplicates.contains(&path) {
            unpacked.duplicates.push(path);
        }
    }
    Ok(unpacked)
}

/// Stops reading after a number of bytes and remembers that it did.
struct Guard<'a> {
    inner: Box<dyn Read + 'a>,
    left: u64,
    tripped: bool,
}

impl<'a> Guard<'a> {
    fn new(inner: Box<dyn Read + 'a>, limit: u64) -> Self {
        Guard { inner, left: limit, tripped: false }
    }
}

impl Read for Guard<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.left = match self.left.checked_sub(n as u64) {
            Some(left) => left,
            None => {
                self.tripped = true;
                return Err(io::Error::other("over the limit"));
            }
        };
        Ok(n)
    }
}

/// Marks the error of a reader that gave up on an absurd ratio.
#[derive(Debug, thiserror::Error)]
#[error("expands too much")]
pub(super) struct TooMuch;

/// Decompresses gzip, all members, and gives up when the output is out of proportion to the input.
pub(super) struct Inflate<R: BufRead> {
    decoder: flate2::bufread::MultiGzDecoder<Counted<R>>,
    out: u64,
}

struct Counted<R> {
    inner: R,
    taken: u64,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.taken += n as u64;
        Ok(n)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, n: usize) {
        self.taken += n as u64;
        self.inner.consume(n);
    }
}

impl<R: BufRead> Inflate<R> {
    pub(super) fn new(input: R) -> Self {
        Inflate { decoder: flate2::bufread::MultiGzDecoder::new(Counted { inner: input, taken: 0 }), out: 0 }
    }
}

impl<R: BufRead> Read for Inflate<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.decoder.read(buffer)?;
        self.out += n as u64;
        let taken = self.decoder.get_ref().taken;
        if self.out > RATIO_FLOOR && self.out / MAX_RATIO > taken.max(1) {
            return Err(io::Error::other(TooMuch));
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn tarball(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, bytes) in entries {
            let mut header = tar::Header::new_ustar();
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            if kind.is_symlink() || kind.is_hard_link() {
                header.set_link_name("/etc/passwd").unwrap();
            }
            header.set_cksum();
            builder.append(&header, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Unpacked, Error> {
        read_tarball(Path::new("x.tgz"), bytes, &Limits::default())
    }

    const FILE: tar::EntryType = tar::EntryType::Regular;

    #[test]
    fn reads_plain_and_gzip_alike() {
        let plain = tarball(&[("./a/Chart.yaml", FILE, b"name: a"), ("a/b", FILE, b"1"), ("a/b", FILE, b"2")]);
        for bytes in [plain.clone(), gzip(&plain)] {
            let unpacked = read(&bytes).unwrap();
            assert_eq!(unpacked.tree.get("a/Chart.yaml").unwrap().as_ref(), b"name: a");
            assert_eq!(unpacked.tree.get("a/b").unwrap().as_ref(), b"2");
            assert_eq!(unpacked.duplicates.len(), 1);
        }
    }

    #[test]
    fn refuses_names_that_leave_links_and_devices() {
        for name in ["../x", "/etc/x", "a/../../x", "a\\b", "C:x", "a//b"] {
            assert!(matches!(read(&tarball(&[(name, FILE, b"")])), Err(Error::Name { .. })), "{name}");
        }
        for kind in [
            tar::EntryType::Symlink,
            tar::EntryType::Link,
            tar::EntryType::Char,
            tar::EntryType::Fifo,
            tar::EntryType::GNUSparse,
        ] {
            assert!(read(&tarball(&[("a", kind, b"")])).is_err(), "{kind:?}");
        }
    }

    #[test]
    fn a_cut_tar_is_no_shorter_file() {
        let whole = tarball(&[("a", FILE, &[7; 5000])]);
        for cut in [600, 1000, 5000, 5511] {
            assert!(read(&whole[..cut]).is_err(), "{cut}");
        }
        let packed = gzip(&whole);
        for cut in [3, 12, packed.len() / 2, packed.len() - 9] {
            assert!(read(&packed[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn bombs_stop_early() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        let mut header = tar::Header::new_ustar();
        header.set_path("zeros").unwrap();
        header.set_size(64 << 20);
        header.set_cksum();
        encoder.write_all(header.as_bytes()).unwrap();
        for _ in 0..64 {
            encoder.write_all(&vec![0; 1 << 20]).unwrap();
        }
        let bomb = encoder.finish().unwrap();
        let limits = Limits { file_bytes: 80 << 20, ..Limits::default() };
        assert!(matches!(read_tarball(Path::new("x"), &bomb[..], &limits), Err(Error::Bomb { .. })));
        assert!(matches!(read(&bomb), Err(Error::Bomb { .. } | Error::TooLarge { .. })));
        // A size that the header claims is not believed.
        let mut huge = tarball(&[("a", FILE, b"")]);
        huge[124..135].copy_from_slice(b"77777777777");
        assert!(read(&huge).is_err());
        // Many empty files.
        let many = tarball(&vec![("a", FILE, &b""[..]); 50]);
        let limits = Limits { files: 49, ..Limits::default() };
        assert!(matches!(read_tarball(Path::new("x"), &many[..], &limits), Err(Error::TooMany { .. })));
        // An extension header of any length is bounded by the total.
        let long = tarball(&[("a", tar::EntryType::GNULongName, &vec![b'x'; 300_000])]);
        let limits = Limits { files: 10, bytes: 1000, ..Limits::default() };
        assert!(matches!(read_tarball(Path::new("x"), &long[..], &limits), Err(Error::TooLarge { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn never_panics(noise in proptest::collection::vec(any::<u8>(), 0..600), at in 0usize..1500) {
            let _ = read(&noise);
            let mut bytes = tarball(&[("a", FILE, b"content"), ("b", FILE, b"")]);
            for (slot, byte) in bytes.iter_mut().skip(at).zip(&noise) { *slot ^= byte; }
            let _ = read(&bytes);
            let _ = read(&gzip(&bytes));
        }
    }
}
