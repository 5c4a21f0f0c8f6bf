//! Small tars and gzip streams of our own, from memory to memory, the same bytes every time.

use std::io::{self, Write};

use crate::tree::Tree;

/// Makes a tar of regular files: mode 0644, no owner, no time.
///
/// # Errors
/// A path is longer than a ustar header holds.
pub fn pack(tree: &Tree) -> io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes) in tree.iter() {
        let mut header = tar::Header::new_ustar();
        header.set_path(path.as_str())?;
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, bytes.as_ref())?;
    }
    builder.into_inner()
}

/// Compresses bytes, without a time or name in the header.
///
/// # Errors
/// None in practice: writing to memory does not fail.
pub fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{Limits, read_tarball};
    use std::path::Path;

    #[test]
    fn what_is_packed_is_read_back() {
        let mut tree = Tree::default();
        for (path, content) in [("a/b.txt", &b"one"[..]), ("empty", b"")] {
            tree.insert(path.parse().unwrap(), bytes::Bytes::copy_from_slice(content));
        }
        let packed = gzip(&pack(&tree).unwrap()).unwrap();
        assert_eq!(packed, gzip(&pack(&tree).unwrap()).unwrap());
        let read = read_tarball(Path::new("x"), &packed[..], &Limits::default()).unwrap();
        assert_eq!(read.tree.get("a/b.txt").unwrap().as_ref(), b"one");
        assert_eq!(read.tree.len(), 2);
    }
}
