//! The two notations of keys and certificates: DER (X.690) and PEM (RFC 7468).
//!
//! # Invariants
//! - What is written here is DER: shortest lengths, no leading zeros.
//! - Reading never goes past the input and never recurses.

use num_bigint::BigUint;

use crate::helm::funcs::encoding::{base64, unbase64};

/// Tags of X.690, 8.6 and following, as they appear in keys and certificates.
pub(super) mod tag {
    pub(in super::super) const BOOLEAN: u8 = 0x01;
    pub(in super::super) const INTEGER: u8 = 0x02;
    pub(in super::super) const BIT_STRING: u8 = 0x03;
    pub(in super::super) const OCTET_STRING: u8 = 0x04;
    pub(in super::super) const NULL: u8 = 0x05;
    pub(in super::super) const OID: u8 = 0x06;
    pub(in super::super) const UTF8_STRING: u8 = 0x0c;
    pub(in super::super) const PRINTABLE_STRING: u8 = 0x13;
    pub(in super::super) const UTC_TIME: u8 = 0x17;
    pub(in super::super) const GENERALIZED_TIME: u8 = 0x18;
    pub(in super::super) const SEQUENCE: u8 = 0x30;
    pub(in super::super) const SET: u8 = 0x31;

    /// The tag of a constructed element that the context gives a number.
    pub(in super::super) const fn context(number: u8) -> u8 {
        0xa0 | number
    }
}

/// Writes an element.
pub(super) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len();
    if length < 128 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let bytes = &bytes[bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1)..];
        out.push(0x80 | bytes.len() as u8);
        out.extend_from_slice(bytes);
    }
    out.extend_from_slice(content);
    out
}

/// Writes a sequence of elements that are written already.
pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(tag::SEQUENCE, &parts.concat())
}

/// Writes a number that is not negative.
pub(super) fn integer(number: &BigUint) -> Vec<u8> {
    let mut bytes = number.to_bytes_be();
    if bytes.first().is_some_and(|byte| byte & 0x80 != 0) {
        bytes.insert(0, 0);
    }
    element(tag::INTEGER, &bytes)
}

/// Writes a bit string of whole bytes.
pub(super) fn bits(bytes: &[u8]) -> Vec<u8> {
    element(tag::BIT_STRING, &[&[0], bytes].concat())
}

/// Reads elements one after the other.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// Takes the next element: its tag, its content, and all its bytes.
    pub(super) fn any(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk::<2>()?;
        let (length, header) = match first {
            0..=0x7f => (usize::from(first), 2),
            // Four bytes of length are more than any key or certificate has.
            0x81..=0x84 => {
                let count = usize::from(first & 0x7f);
                let bytes = rest.get(..count)?;
                (bytes.iter().fold(0usize, |all, byte| all << 8 | usize::from(*byte)), 2 + count)
            }
            _ => return None,
        };
        let end = header.checked_add(length)?;
        let whole = self.0.get(..end)?;
        self.0 = &self.0[end..];
        Some((tag, &whole[header..], whole))
    }

    /// Takes the content of the next element if it has this tag.
    pub(super) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let (found, content, _) = ahead.any()?;
        (found == tag).then(|| {
            *self = ahead;
            content
        })
    }

    /// Takes a sequence.
    pub(super) fn sequence(&mut self) -> Option<Reader<'a>> {
        self.take(tag::SEQUENCE).map(Reader)
    }

    /// Takes a number that is not negative.
    pub(super) fn number(&mut self) -> Option<BigUint> {
        let bytes = self.take(tag::INTEGER)?;
        (bytes.first()? & 0x80 == 0).then(|| BigUint::from_bytes_be(bytes))
    }

    /// Tells whether everything was read.
    pub(super) fn is_done(self) -> bool {
        self.0.is_empty()
    }
}

/// Reads what is one element and nothing else.
pub(super) fn only_sequence(bytes: &[u8]) -> Option<Reader<'_>> {
    let mut outer = Reader(bytes);
    let inner = outer.sequence()?;
    outer.is_done().then_some(inner)
}

/// Writes a PEM block, 64 characters a line.
pub(super) fn pem(label: &str, body: &[u8]) -> String {
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in base64(body).as_bytes().chunks(64) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

/// Finds the first PEM block that is whole: its label and its content.
pub(super) fn unpem(text: &[u8]) -> Option<(String, Vec<u8>)> {
    const BEGIN: &str = "-----BEGIN ";
    let text = String::from_utf8_lossy(text);
    let mut rest: &str = &text;
    loop {
        let at = if rest.starts_with(BEGIN) { 0 } else { rest.find("\n-----BEGIN ")? + 1 };
        rest = &rest[at + BEGIN.len()..];
        let Some((label, after)) = rest.split_once("-----") else { continue };
        if label.contains('\n') {
            continue;
        }
        let Some(end) = after.find(&format!("-----END {label}-----")) else { continue };
        let mut body = &after[..end];
        // Headers end with an empty line (RFC 1421, 4.4).
        if body.contains(": ") {
            let Some((_, below)) = body.split_once("\n\n") else { continue };
            body = below;
        }
        let compact: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        if let Ok(bytes) = unbase64(compact.as_bytes()) {
            return Some((label.to_owned(), bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_signs_are_der() {
        assert_eq!(integer(&BigUint::from(0u8)), [2, 1, 0]);
        assert_eq!(integer(&BigUint::from(128u8)), [2, 2, 0, 128]);
        assert_eq!(element(4, &[7; 200])[..3], [4, 0x81, 200]);
        assert_eq!(Reader(&element(4, &[7; 300])).take(4), Some(&[7; 300][..]));
        assert_eq!(Reader(&[2, 1, 0x80]).number(), None);
    }

    #[test]
    fn broken_input_is_none() {
        for bytes in [&[][..], &[0x30], &[0x30, 0x80], &[0x30, 5, 1], &[0x30, 0x84, 255, 255, 255, 255]] {
            assert!(Reader(bytes).any().is_none());
        }
        let block = pem("X", b"content");
        assert_eq!(
            unpem(format!("-----BEGIN no\nrubbish\n{block}").as_bytes()),
            Some(("X".into(), b"content".to_vec()))
        );
        for text in ["", "-----BEGIN ", "-----BEGIN A-----\n", "-----BEGIN A-----\n!\n-----END A-----"] {
            assert_eq!(unpem(text.as_bytes()), None, "{text}");
        }
    }
}
