//! What a certificate says of itself, for messages: whether it is to be trusted was decided elsewhere.
//!
//! # Invariants
//! - Reads DER (X.690) of RFC 5280, section 4.1, and stops at anything else; every length is checked against what is there.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use crate::net::printable;

/// Holds the fields that people compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// Whose it is.
    pub(super) subject: String,
    /// Who signed it.
    pub(super) issuer: String,
    /// When its time begins.
    pub(super) not_before: Timestamp,
    /// When its time ends.
    pub(super) not_after: Timestamp,
    /// The names of hosts that it is for.
    pub(super) names: Vec<String>,
}

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;
const OCTETS: u8 = 0x04;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[3]`, the extensions of a certificate.
const EXTENSIONS: u8 = 0xa3;
/// `[0]`, its version.
const VERSION: u8 = 0xa0;
/// 2.5.29.17, subjectAltName.
const ALT_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
/// 2.5.4.3, commonName.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// 2.5.4.10, organizationName.
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];

/// The rest of a DER value.
#[derive(Clone, Copy)]
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// Takes the next element: its tag and its content.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let bytes = usize::from(first & 0x7f);
                let length = rest.get(..bytes)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
                (length, &rest[bytes..])
            }
            _ => return None,
        };
        let content = rest.get(..length)?;
        self.0 = &rest[length..];
        Some((tag, content))
    }

    fn expect(&mut self, wanted: u8) -> Option<Der<'a>> {
        let (tag, content) = self.next()?;
        (tag == wanted).then_some(Der(content))
    }
}

/// Reads a certificate.
pub(super) fn read(der: &[u8]) -> Option<Shown> {
    let mut body = Der(der).expect(SEQUENCE)?.expect(SEQUENCE)?;
    if body.0.first() == Some(&VERSION) {
        body.next()?;
    }
    body.next()?; // Serial number.
    body.expect(SEQUENCE)?; // Signature algorithm.
    let issuer = name(body.expect(SEQUENCE)?);
    let mut validity = body.expect(SEQUENCE)?;
    let (not_before, not_after) = (time(validity.next()?)?, time(validity.next()?)?);
    let subject = name(body.expect(SEQUENCE)?);
    let mut names = Vec::new();
    while let Some((tag, content)) = body.next() {
        if tag == EXTENSIONS {
            names = alt_names(Der(content)).unwrap_or_default();
        }
    }
    Some(Shown { subject, issuer, not_before, not_after, names })
}

/// Writes a name by its common name and its organisation, whichever there are.
fn name(mut name: Der<'_>) -> String {
    let (mut common, mut organization) = (None, None);
    while let Some(mut set) = name.expect(SET) {
        while let Some(mut pair) = set.expect(SEQUENCE) {
            let (Some(oid), Some((_, value))) = (pair.expect(OID), pair.next()) else { continue };
            let value = printable(&String::from_utf8_lossy(value), 100);
            match oid.0 {
                COMMON_NAME => common = Some(value),
                ORGANIZATION => organization = Some(value),
                _ => {}
            }
        }
    }
    match (common, organization) {
        (Some(common), Some(organization)) => format!("{common} ({organization})"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "a name without common name".to_owned(),
    }
}

/// RFC 5280, section 4.1.2.5: `YYMMDDHHMMSSZ`, years from 50 on being of the last century, or `YYYYMMDDHHMMSSZ`.
fn time((tag, content): (u8, &[u8])) -> Option<Timestamp> {
    let text = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, rest): (i16, &str) = match (tag, text.len()) {
        (UTC_TIME, 12) => {
            let short: i16 = text[..2].parse().ok()?;
            (if short < 50 { 2000 + short } else { 1900 + short }, &text[2..])
        }
        (GENERALIZED_TIME, 14) => (text[..4].parse().ok()?, &text[4..]),
        _ => return None,
    };
    let part = |at: usize| rest[at..at + 2].parse::<i8>().ok();
    let time = DateTime::new(year, part(0)?, part(2)?, part(4)?, part(6)?, part(8)?, 0).ok()?;
    time.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

fn alt_names(mut extensions: Der<'_>) -> Option<Vec<String>> {
    let mut list = extensions.expect(SEQUENCE)?;
    while let Some(mut extension) = list.expect(SEQUENCE) {
        if extension.expect(OID)?.0 != ALT_NAMES {
            continue;
        }
        // Between them may be the flag that it is critical.
        let (mut tag, mut content) = extension.next()?;
        while tag != OCTETS {
            (tag, content) = extension.next()?;
        }
        let mut names = Vec::new();
        let mut all = Der(content).expect(SEQUENCE)?;
        while let Some((tag, value)) = all.next() {
            match (tag, value.len()) {
                // `[2]` is a name, `[7]` an address.
                (0x82, _) => names.push(printable(&String::from_utf8_lossy(value), 100)),
                (0x87, 4) => {
                    let octets: [u8; 4] = value.try_into().ok()?;
                    names.push(std::net::Ipv4Addr::from(octets).to_string());
                }
                (0x87, 16) => {
                    let octets: [u8; 16] = value.try_into().ok()?;
                    names.push(std::net::Ipv6Addr::from(octets).to_string());
                }
                _ => {}
            }
        }
        return Some(names);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

    #[test]
    fn what_people_compare_is_read() {
        let mut params = CertificateParams::new(vec!["reg.lan".into(), "10.0.0.7".into()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "reg.lan");
        params.distinguished_name.push(DnType::OrganizationName, "Enclave");
        params.not_before = date_time_ymd(2026, 1, 2);
        params.not_after = date_time_ymd(2060, 3, 4);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let shown = read(certificate.der()).unwrap();
        assert!(shown.subject.contains("reg.lan"), "{shown:?}");
        assert_eq!(shown.subject, shown.issuer);
        assert_eq!(shown.not_before.to_string(), "2026-01-02T00:00:00Z");
        assert_eq!(shown.not_after.to_string(), "2060-03-04T00:00:00Z");
        assert_eq!(shown.names, ["reg.lan", "10.0.0.7"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..300, with: u8) {
            read(&bytes);
            let params = CertificateParams::new(vec!["a.b".into()]).unwrap();
            let mut der = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
            let at = at % der.len();
            der[at] = with;
            read(&der);
        }
    }
}
