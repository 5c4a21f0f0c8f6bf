//! Base64, base32, checksums.

use super::{Func, Outcome, Param, func};
use crate::{helm::template::value::Value, oci::Algorithm};

use Param::Str as Text;

pub(super) const FUNCS: &[Func] = &[
    func("b64enc", &[Text], |_, args| Ok(Value::str(base64(args.bytes(0))))),
    func("b64dec", &[Text], |_, args| lenient(unbase64(args.bytes(0)), "base64")),
    func("b32enc", &[Text], |_, args| Ok(Value::str(base32(args.bytes(0))))),
    func("b32dec", &[Text], |_, args| lenient(unbase32(args.bytes(0)), "base32")),
    func("sha1sum", &[Text], |_, args| Ok(Value::str(hex(&sha1(args.bytes(0)))))),
    func("sha256sum", &[Text], |_, args| Ok(Value::str(digest(Algorithm::Sha256, args.bytes(0))))),
    func("sha512sum", &[Text], |_, args| Ok(Value::str(digest(Algorithm::Sha512, args.bytes(0))))),
    func("adler32sum", &[Text], |_, args| Ok(Value::str(adler32(args.bytes(0)).to_string()))),
];

fn digest(algorithm: Algorithm, bytes: &[u8]) -> String {
    let mut hasher = algorithm.hasher();
    hasher.update(bytes);
    hasher.finish().hex()
}

/// sprig gives the message of a failed decoding as the result.
fn lenient(decoded: Result<Vec<u8>, usize>, name: &str) -> Outcome {
    Ok(match decoded {
        Ok(bytes) => Value::str(bytes),
        Err(at) => Value::from(format!("illegal {name} data at input byte {at}")),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Encodes with the standard alphabet and padding.
pub fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().enumerate().fold(0u32, |word, (i, byte)| word | u32::from(*byte) << (16 - 8 * i));
        for i in 0..4 {
            let digit = BASE64[(word >> (18 - 6 * i)) as usize & 63];
            out.push(if i <= chunk.len() { digit as char } else { '=' });
        }
    }
    out
}

fn base32(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.chunks(5) {
        let word = chunk.iter().enumerate().fold(0u64, |word, (i, byte)| word | u64::from(*byte) << (32 - 8 * i));
        let digits = (chunk.len() * 8).div_ceil(5);
        for i in 0..8 {
            let digit = BASE32[(word >> (35 - 5 * i)) as usize & 31];
            out.push(if i < digits { digit as char } else { '=' });
        }
    }
    out
}

/// Decodes as Go: line breaks are skipped, padding is required.
///
/// # Errors
/// The offset that Go names.
pub fn unbase64(text: &[u8]) -> Result<Vec<u8>, usize> {
    decode(text, 6, 4, |byte| BASE64.iter().position(|known| *known == byte))
}

fn unbase32(text: &[u8]) -> Result<Vec<u8>, usize> {
    decode(text, 5, 8, |byte| BASE32.iter().position(|known| *known == byte))
}

fn decode(text: &[u8], bits: u32, group: usize, digit: impl Fn(u8) -> Option<usize>) -> Result<Vec<u8>, usize> {
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    let mut digits: Vec<u64> = Vec::with_capacity(group);
    let break_ = |byte: u8| byte == b'\n' || byte == b'\r';
    let mut at = 0;
    while at < text.len() {
        let byte = text[at];
        if break_(byte) {
            at += 1;
            continue;
        }
        if let Some(value) = digit(byte) {
            digits.push(value as u64);
            at += 1;
            if digits.len() == group {
                flush(&mut out, &digits, bits, group);
                digits.clear();
            }
            continue;
        }
        if byte != b'=' {
            return Err(at);
        }
        let have = digits.len();
        let full = (have as u32 * bits) / 8;
        let valid = have > 0 && (full * 8).div_ceil(bits) as usize == have && full > 0;
        if !valid {
            return Err(at);
        }
        let mut missing = group - have;
        while missing > 0 {
            while at < text.len() && break_(text[at]) {
                at += 1;
            }
            match text.get(at) {
                Some(b'=') => at += 1,
                Some(_) => return Err(at),
                None => return Err(text.len()),
            }
            missing -= 1;
        }
        while at < text.len() && break_(text[at]) {
            at += 1;
        }
        if at < text.len() {
            return Err(at);
        }
        flush(&mut out, &digits, bits, group);
        return Ok(out);
    }
    if digits.is_empty() { Ok(out) } else { Err(text.len() - digits.len()) }
}

fn flush(out: &mut Vec<u8>, digits: &[u64], bits: u32, group: usize) {
    let word = digits.iter().fold(0u64, |word, value| word << bits | value);
    let word = word << (bits as usize * (group - digits.len()));
    let total = bits as usize * group;
    let bytes = digits.len() * bits as usize / 8;
    out.extend((0..bytes).map(|i| (word >> (total - 8 * (i + 1))) as u8));
}

fn adler32(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1u32, 0u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65521;
        b = (b + a) % 65521;
    }
    b << 16 | a
}

/// SHA-1 (FIPS 180-4, 6.1): only for `sha1sum`, never for anything that must be safe.
pub fn sha1(bytes: &[u8]) -> [u8; 20] {
    let mut state: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    let mut message = bytes.to_vec();
    message.push(0x80);
    while message.len() % 64 != 56 {
        message.push(0);
    }
    message.extend_from_slice(&((bytes.len() as u64) << 3).to_be_bytes());
    for block in message.chunks_exact(64) {
        let mut words = [0u32; 80];
        for (word, part) in words.iter_mut().zip(block.chunks_exact(4)) {
            *word = u32::from_be_bytes([part[0], part[1], part[2], part[3]]);
        }
        for i in 16..80 {
            words[i] = (words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (i, word) in words.iter().enumerate() {
            let (mix, key) = match i / 20 {
                0 => (b & c | !b & d, 0x5a82_7999),
                1 => (b ^ c ^ d, 0x6ed9_eba1),
                2 => (b & c | b & d | c & d, 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6u32),
            };
            let next = a.rotate_left(5).wrapping_add(mix).wrapping_add(e).wrapping_add(key).wrapping_add(*word);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        for (slot, value) in state.iter_mut().zip([a, b, c, d, e]) {
            *slot = slot.wrapping_add(value);
        }
    }
    let mut out = [0; 20];
    for (slot, word) in out.chunks_exact_mut(4).zip(state) {
        slot.copy_from_slice(&word.to_be_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums() {
        assert_eq!(hex(&sha1(b"abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(adler32(b"Wikipedia"), 300_286_872);
        assert_eq!(digest(Algorithm::Sha256, b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn bases() {
        for text in ["", "f", "fo", "foo", "foob", "fooba", "foobar"] {
            assert_eq!(unbase64(base64(text.as_bytes()).as_bytes()).unwrap(), text.as_bytes());
            assert_eq!(unbase32(base32(text.as_bytes()).as_bytes()).unwrap(), text.as_bytes());
        }
        assert_eq!(base64(b"foob"), "Zm9vYg==");
        assert_eq!(base32(b"foob"), "MZXW6YQ=");
        assert_eq!(unbase64(b"Zm9v\nYg=="), Ok(b"foob".to_vec()));
        assert_eq!(unbase64(b"Zm9vYg"), Err(4));
        assert_eq!(unbase64(b"Z!"), Err(1));
    }
}
