//! Large gzip inputs into an anonymous temporary file.

use std::{
    fs,
    io::{self, BufReader, Read, Write},
    path::Path,
};

use super::{
    Action, Error, Positional,
    tarball::{Inflate, MAX_RATIO, TooMuch},
};

/// Decompresses the gzip file `path` into a temporary file that has no name and vanishes with the process. Gzip cannot
/// be read from the middle, and a tar of an image is read in another order than it was written.
///
/// # Errors
/// [`Error::Bomb`], [`Error::TooLarge`] beyond `limit` bytes, [`Error::NoRoom`], [`Error::Io`].
pub fn expand_gzip(path: &Path, limit: u64) -> Result<Positional, Error> {
    let io = |action| move |cause| Error::io(path, action, cause);
    let input = fs::File::open(path).map_err(io(Action::Open))?;
    let folder = std::env::temp_dir();
    let mut output = anonymous(&folder)?;
    let mut reader = Inflate::new(BufReader::with_capacity(256 << 10, input)).take(limit.saturating_add(1));
    let mut buffer = vec![0; 256 << 10];
    let mut written = 0u64;
    loop {
        let n = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
            Err(cause) if cause.get_ref().is_some_and(|inner| inner.is::<TooMuch>()) => {
                return Err(Error::Bomb { path: path.to_owned(), ratio: MAX_RATIO });
            }
            Err(cause) => return Err(Error::io(path, Action::Unpack, cause)),
        };
        written += n as u64;
        if written > limit {
            return Err(Error::TooLarge { path: path.to_owned(), limit });
        }
        output.write_all(&buffer[..n]).map_err(|cause| Error::io(&folder, Action::Write, cause))?;
    }
    Ok(Positional::anonymous(output, path.to_owned()))
}

/// Makes a file that nobody else can open: its name is gone before anything is written.
fn anonymous(folder: &Path) -> Result<fs::File, Error> {
    static COUNTER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let io = |cause| Error::io(folder, Action::Write, cause);
    loop {
        let number = COUNTER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = folder.join(format!(".bundle-{}-{number}.tmp", std::process::id()));
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(&path) {
            Ok(file) => {
                // Where an open file cannot be removed, the system's own cleaning of its temporary folder does it.
                let _ = fs::remove_file(&path);
                return Ok(file);
            }
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
            Err(cause) => return Err(io(cause)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_within_bounds_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.gz");
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(b"hello").unwrap();
        fs::write(&path, encoder.finish().unwrap()).unwrap();
        let file = expand_gzip(&path, 5).unwrap();
        let mut text = [0; 5];
        file.read_exact_at(&mut text, 0).unwrap();
        assert_eq!((&text, file.len().unwrap()), (b"hello", 5));
        assert!(matches!(expand_gzip(&path, 4), Err(Error::TooLarge { .. })));

        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&vec![0; 40 << 20]).unwrap();
        fs::write(&path, encoder.finish().unwrap()).unwrap();
        assert!(matches!(expand_gzip(&path, 1 << 30), Err(Error::Bomb { .. })));
        fs::write(&path, b"no gzip").unwrap();
        assert!(matches!(expand_gzip(&path, 1 << 30), Err(Error::Io { .. })));
    }
}
