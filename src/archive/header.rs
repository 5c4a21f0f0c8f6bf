//! The one way to write a tar header (POSIX.1-1988 ustar), and the check that a header was written in that way.
//!
//! Everything that a tar could say in two ways is fixed: regular files only, mode 0644, owner 0 without a name, no
//! devices, no prefix field. Sizes from 8 GiB on use the base-256 form that all tars of today read; names of more than
//! 100 bytes, which only `blobs/sha512/…` has, get one PAX record `path`.

/// The unit of a tar.
pub(super) const BLOCK: u64 = 512;

/// Two zero blocks end a tar.
pub(super) const END: u64 = 2 * BLOCK;

/// The longest name that a header holds.
pub(super) const NAME: usize = 100;

/// What eleven octal digits hold.
const OCTAL_MAX: u64 = (1 << 33) - 1;

/// Returns how many zero bytes follow content of this size.
pub(super) fn padding(size: u64) -> u64 {
    (BLOCK - size % BLOCK) % BLOCK
}

/// Returns everything that stands before the content of an entry: one header, or three blocks for a long name.
pub(super) fn prelude(path: &str, size: u64, mtime: u64) -> Vec<u8> {
    if path.len() <= NAME {
        return block(path.as_bytes(), b'0', size, mtime).to_vec();
    }
    let record = pax_record(path);
    let mut bytes = block(b"././@PaxHeader", b'x', record.len() as u64, mtime).to_vec();
    bytes.extend_from_slice(&record);
    bytes.resize(bytes.len() + padding(record.len() as u64) as usize, 0);
    bytes.extend_from_slice(&block(&path.as_bytes()[..NAME], b'0', size, mtime));
    bytes
}

/// Returns how long [`prelude`] is.
pub(super) fn prelude_len(path: &str) -> u64 {
    if path.len() <= NAME { BLOCK } else { 3 * BLOCK }
}

/// `LENGTH path=PATH\n`, where the length counts itself (POSIX.1-2001, pax extended header).
fn pax_record(path: &str) -> Vec<u8> {
    let rest = format!(" path={path}\n");
    let mut length = rest.len() + 1;
    while length.to_string().len() + rest.len() != length {
        length = length.to_string().len() + rest.len();
    }
    format!("{length}{rest}").into_bytes()
}

fn block(name: &[u8], kind: u8, size: u64, mtime: u64) -> [u8; BLOCK as usize] {
    let mut block = [0; BLOCK as usize];
    block[..name.len()].copy_from_slice(name);
    block[100..108].copy_from_slice(b"0000644\0");
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    if size <= OCTAL_MAX {
        block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    } else {
        block[124] = 0x80;
        block[128..136].copy_from_slice(&size.to_be_bytes());
    }
    block[136..148].copy_from_slice(format!("{:011o}\0", mtime.min(OCTAL_MAX)).as_bytes());
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[329..337].copy_from_slice(b"0000000\0");
    block[337..345].copy_from_slice(b"0000000\0");
    // The sum of all bytes with the checksum field itself read as blanks.
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum::<u32>() + 8 * u32::from(b' ');
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// What a header of the control part says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub path: String,
    pub size: u64,
    pub mtime: u64,
}

/// Reads one block as the header of an entry with a short name; `None` unless it is exactly what [`prelude`] writes.
pub(super) fn parse(bytes: &[u8; BLOCK as usize]) -> Option<Header> {
    let name = &bytes[..NAME];
    let name = &name[..name.iter().position(|byte| *byte == 0).unwrap_or(NAME)];
    let path = str::from_utf8(name).ok()?.to_owned();
    let size = if bytes[124] == 0x80 {
        u64::from_be_bytes(bytes[128..136].try_into().ok()?)
    } else {
        octal(&bytes[124..135])?
    };
    let mtime = octal(&bytes[136..147])?;
    // Whatever this reading overlooked shows here.
    (prelude(&path, size, mtime) == bytes).then_some(Header { path, size, mtime })
}

fn octal(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |value, digit| match digit {
        b'0'..=b'7' => Some(value << 3 | u64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_reading_and_no_other_spelling_does() {
        for (path, size, mtime) in [
            ("oci-layout".to_owned(), 30, 0),
            (format!("blobs/sha256/{}", "a".repeat(64)), OCTAL_MAX, OCTAL_MAX),
            (format!("blobs/sha256/{}", "b".repeat(64)), OCTAL_MAX + 1, 1_700_000_000),
            ("x".repeat(100), u64::MAX, 7),
        ] {
            let bytes: [u8; 512] = prelude(&path, size, mtime).try_into().unwrap();
            assert_eq!(parse(&bytes), Some(Header { path, size, mtime }));
            for bit in 0..512 * 8 {
                let mut flipped = bytes;
                flipped[bit / 8] ^= 1 << (bit % 8);
                // A flipped bit breaks the checksum, whatever else it means.
                assert_eq!(parse(&flipped), None, "bit {bit}");
            }
        }
    }

    #[test]
    fn pax_lengths_count_themselves() {
        for length in [101, 141, 986, 987, 988] {
            let path = "p".repeat(length);
            let record = pax_record(&path);
            let text = String::from_utf8(record.clone()).unwrap();
            let (claimed, _) = text.split_once(' ').unwrap();
            assert_eq!(claimed.parse::<usize>().unwrap(), record.len(), "{length}");
        }
        let path = format!("blobs/sha512/{}", "c".repeat(128));
        assert_eq!(prelude(&path, 5, 0).len() as u64, prelude_len(&path));
    }

    #[test]
    fn a_tar_library_agrees() {
        let long = format!("blobs/sha512/{}", "c".repeat(128));
        let mut bytes = Vec::new();
        for (path, content) in [("oci-layout", &b"abc"[..]), (&long, b"0123")] {
            bytes.extend(prelude(path, content.len() as u64, 12));
            bytes.extend(content);
            bytes.resize(bytes.len() + padding(content.len() as u64) as usize, 0);
        }
        bytes.extend([0; END as usize]);
        let unpacked =
            crate::files::read_tarball(std::path::Path::new("x"), &bytes[..], &crate::files::Limits::default())
                .unwrap();
        assert_eq!(unpacked.tree.get("oci-layout").unwrap().as_ref(), b"abc");
        assert_eq!(unpacked.tree.get(&long).unwrap().as_ref(), b"0123");
    }
}
