//! A file that grows while bytes arrive; [`Folder`](super::Folder) makes it and gives it its final name.
//!
//! # Invariants
//! - After a failed write the file ends where it ended before: length and bytes stay in step.

use std::{
    fs::File,
    io::{self, IoSlice, Write},
    os::unix::fs::FileExt,
    path::PathBuf,
};

use bytes::Bytes;

use super::folder::{CHUNK, FolderError, failed};

/// Takes bytes into a file that has no final name yet.
#[derive(Debug)]
pub struct Arriving {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) length: u64,
}

impl Arriving {
    /// Returns how many bytes have arrived.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// The disk refuses; the file then ends where it ended before.
    pub fn append(&mut self, pieces: &[Bytes]) -> Result<(), FolderError> {
        let written = self.write_all(pieces);
        match written {
            Ok(count) => {
                self.length += count;
                Ok(())
            }
            Err(cause) => {
                let error = failed("write", &self.path)(cause);
                self.cut(self.length)?;
                Err(error)
            }
        }
    }

    fn write_all(&mut self, pieces: &[Bytes]) -> io::Result<u64> {
        let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut rest = slices.as_mut_slice();
        let mut total = 0;
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match self.file.write_vectored(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    total += count as u64;
                    IoSlice::advance_slices(&mut rest, count);
                }
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(cause),
            }
        }
        Ok(total)
    }

    /// Forgets the bytes after `length`.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn cut(&mut self, length: u64) -> Result<(), FolderError> {
        self.file.set_len(length).map_err(failed("cut", &self.path))?;
        self.length = length;
        Ok(())
    }

    /// Hands all bytes from the start to `take`, in order.
    ///
    /// # Errors
    /// The file cannot be read, or is shorter than it was.
    pub fn replay(&self, mut take: impl FnMut(&[u8])) -> Result<(), FolderError> {
        let mut buffer = vec![0; CHUNK];
        let mut at = 0;
        while at < self.length {
            let wanted = usize::try_from(self.length - at).map_or(CHUNK, |left| left.min(CHUNK));
            self.file.read_exact_at(&mut buffer[..wanted], at).map_err(failed("read", &self.path))?;
            take(&buffer[..wanted]);
            at += wanted as u64;
        }
        Ok(())
    }
}
