//! The outer forms of keys and signatures, read strictly: base64, PEM, DER, and JSON without duplicate keys.
//!
//! # Invariants
//! - Every reader accepts exactly one spelling of a value (PEM alone tolerates CRLF and blank lines around it), so that a
//!   changed bit is an error and not another spelling.
//! - Nothing here recurses deeper than a constant.

use std::fmt;

use base64::{Engine as _, engine::general_purpose};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use zeroize::Zeroizing;

/// Writes base64 with padding (RFC 4648, section 4).
pub(super) fn base64(bytes: &[u8]) -> String {
    general_purpose::STANDARD.encode(bytes)
}

/// Writes base64 without padding, as fingerprints show it.
pub(super) fn base64_unpadded(bytes: &[u8]) -> String {
    general_purpose::STANDARD_NO_PAD.encode(bytes)
}

/// Reads base64; padding must be there and unused bits must be zero.
pub(super) fn unbase64(text: &str) -> Option<Vec<u8>> {
    general_purpose::STANDARD.decode(text).ok()
}

/// Writes lower-case hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|n| char::from_digit(u32::from(n), 16)).collect()
}

/// Reads 64 lower-case hex digits.
pub(super) fn unhex(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if text.len() != 64 {
        return None;
    }
    let mut out = [0; 32];
    for (slot, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *slot = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

/// The longest key file that is read; an RSA key of 8,192 bits needs under 7 KiB.
const MAX_PEM: usize = 32 << 10;

/// The width of PEM lines (RFC 7468, section 2).
const PEM_WIDTH: usize = 64;

/// Reads a text that is one PEM block and nothing else; returns its label and content.
pub(super) fn read_pem(text: &str) -> Result<(&str, Zeroizing<Vec<u8>>), &'static str> {
    if text.len() > MAX_PEM {
        return Err("the file is too large for a key");
    }
    let mut lines =
        text.trim_matches(['\r', '\n', ' ', '\t']).split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let label = lines
        .next()
        .and_then(|line| line.strip_prefix("-----BEGIN "))
        .and_then(|line| line.strip_suffix("-----"))
        .ok_or("it does not start with a PEM header")?;
    let mut body = Zeroizing::new(String::with_capacity(text.len()));
    let mut ended = false;
    let mut short = false;
    for line in lines {
        if ended {
            return Err("something follows the end of the PEM block");
        }
        if let Some(rest) = line.strip_prefix("-----END ") {
            if rest.strip_suffix("-----") != Some(label) {
                return Err("the PEM block ends with another label than it began with");
            }
            ended = true;
        } else if short || line.is_empty() || line.len() > PEM_WIDTH {
            return Err("the lines of the PEM block are not 64 characters wide");
        } else {
            short = line.len() < PEM_WIDTH;
            body.push_str(line);
        }
    }
    if !ended {
        return Err("the PEM block does not end");
    }
    let content = unbase64(&body).ok_or("the PEM block is not canonical base64")?;
    Ok((label, Zeroizing::new(content)))
}

/// Writes a PEM block.
pub(super) fn write_pem(label: &str, content: &[u8]) -> String {
    let body = base64(content);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(PEM_WIDTH));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

/// Tags of DER elements (X.690).
pub(super) mod tag {
    /// INTEGER.
    pub(in super::super) const INTEGER: u8 = 0x02;
    /// BIT STRING.
    pub(in super::super) const BIT_STRING: u8 = 0x03;
    /// OCTET STRING.
    pub(in super::super) const OCTET_STRING: u8 = 0x04;
    /// OBJECT IDENTIFIER.
    pub(in super::super) const OID: u8 = 0x06;
    /// SEQUENCE.
    pub(in super::super) const SEQUENCE: u8 = 0x30;
}

/// Writes a DER element around parts that are written already.
pub(super) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    match length {
        0..=0x7f => out.push(length as u8),
        0x80..=0xff => out.extend([0x81, length as u8]),
        // Nothing written here comes near 64 KiB; what did would not be read again.
        _ => out.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

/// Takes DER elements from the front of a slice.
pub(super) struct Der<'a>(pub(super) &'a [u8]);

impl<'a> Der<'a> {
    /// Takes the element with this tag and returns its content; lengths must be minimal (X.690, section 10.1).
    pub(super) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(2)?;
        if head[0] != tag {
            return None;
        }
        let (length, rest) = match head[1] {
            short @ ..=0x7f => (usize::from(short), rest),
            0x81 => {
                let (bytes, rest) = rest.split_at_checked(1)?;
                (Some(usize::from(bytes[0])).filter(|n| *n >= 0x80)?, rest)
            }
            0x82 => {
                let (bytes, rest) = rest.split_at_checked(2)?;
                (Some(usize::from(bytes[0]) << 8 | usize::from(bytes[1])).filter(|n| *n >= 0x100)?, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(content)
    }

    /// Takes a positive INTEGER in its minimal form and returns its digits without the sign byte.
    pub(super) fn positive(&mut self) -> Option<&'a [u8]> {
        match self.take(tag::INTEGER)? {
            [0, digits @ ..] if digits.first().is_some_and(|first| *first >= 0x80) => Some(digits),
            digits if digits.first().is_some_and(|first| (1..0x80).contains(first)) => Some(digits),
            _ => None,
        }
    }

    /// Succeeds when nothing is left.
    pub(super) fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// Takes an ECDSA signature apart (RFC 3279, section 2.2.3); `None` when it is not canonical DER.
pub(super) fn ecdsa_parts(signature: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut outer = Der(signature);
    let mut inner = Der(outer.take(tag::SEQUENCE)?);
    outer.end()?;
    let parts = (inner.positive()?, inner.positive()?);
    inner.end()?;
    Some(parts)
}

/// How deep JSON may nest; the documents read here need six levels.
const MAX_DEPTH: usize = 32;

/// Reads JSON in which no object has a key twice, because readers disagree on which of the two counts.
pub(super) fn read_json(bytes: &[u8]) -> Result<Value, &'static str> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict(MAX_DEPTH).deserialize(&mut deserializer).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => "a key appears twice, or it nests too deeply",
        _ => "it is not JSON",
    })?;
    deserializer.end().map_err(|_| "something follows the JSON document")?;
    Ok(value)
}

struct Strict(usize);

impl Strict {
    fn deeper<E: de::Error>(&self) -> Result<Strict, E> {
        self.0.checked_sub(1).map(Strict).ok_or_else(|| E::custom("too deep"))
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element_seed(self.deeper()?)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(self.deeper()?)?;
            if object.insert(key, value).is_some() {
                return Err(de::Error::custom("a key appears twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn base64_has_one_spelling() {
        assert_eq!(unbase64("QQ=="), Some(b"A".to_vec()));
        for bad in ["QQ", "QQ=", "QR==", "QQ==\n", " QQ==", "Q-==", "QQ==QQ=="] {
            assert_eq!(unbase64(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn pem_is_one_block_of_even_lines() {
        let good = write_pem("X", &[7; 100]);
        assert_eq!(read_pem(&good).map(|(label, content)| (label, content.to_vec())), Ok(("X", vec![7; 100])));
        assert!(read_pem(&good.replace('\n', "\r\n")).is_ok());
        for bad in [
            good.replace("END X", "END Y"),
            format!("{good}{good}"),
            format!("hello\n{good}"),
            good.replace("-----END X-----\n", ""),
            good.replacen("BwcH", "Bw\ncH", 1),
            good.replacen("BwcH", "BwcH\n\n", 1),
            good.replacen("BwcH", "Proc-Type: 4,ENCRYPTED\n", 1),
            "x".repeat(MAX_PEM + 1),
        ] {
            assert!(read_pem(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn der_lengths_and_integers_are_minimal() {
        assert_eq!(ecdsa_parts(&[0x30, 6, 2, 1, 1, 2, 1, 2]), Some((&[1][..], &[2][..])));
        for bad in [
            &[0x30, 0x81, 6, 2, 1, 1, 2, 1, 2][..],
            &[0x30, 7, 2, 2, 0, 1, 2, 1, 2],
            &[0x30, 6, 2, 1, 1, 2, 1, 2, 0],
            &[0x30, 6, 2, 1, 0x81, 2, 1, 2],
            &[0x30, 6, 2, 1, 0, 2, 1, 2],
            &[0x30, 5, 2, 1, 1, 2, 0],
            &[0x30, 0x83, 0, 0, 6, 2, 1, 1, 2, 1, 2],
        ] {
            assert_eq!(ecdsa_parts(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn json_has_one_meaning() {
        assert!(read_json(br#"{"a":{"b":[1,null,"x",1.5,true,-1]}}"#).is_ok());
        let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
        for bad in [
            &b"{\"a\":1,\"a\":1}"[..],
            b"{\"a\":1,\"\\u0061\":1}",
            b"{} {}",
            b"NaN",
            b"1e309",
            b"\"\xc0\xaf\"",
            deep.as_bytes(),
        ] {
            assert!(read_json(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
        assert!(read_json("[".repeat(1_000_000).as_bytes()).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn readers_are_total(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "(-----BEGIN X-----\n)?\\PC{0,90}(\n-----END X-----)?") {
            let _ = (ecdsa_parts(&bytes), read_json(&bytes), read_pem(&text), read_json(text.as_bytes()), unbase64(&text), unhex(&text));
            let written = write_pem("KEY", &bytes);
            let (label, content) = read_pem(&written).unwrap();
            prop_assert_eq!((label, content.as_slice()), ("KEY", bytes.as_slice()));
        }
    }
}
