//! Certificates (RFC 5280) with what sprig puts into them, in the order and encoding of Go's `x509.CreateCertificate`.

use std::net::IpAddr;

use num_bigint::BigUint;

use super::{
    Key,
    der::{self, Reader, tag},
    oid,
    primes::Random,
};
use crate::{helm::template::clock::Time, oci::Digest};

/// id-at-commonName (RFC 5280, A.1).
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// id-ce-keyUsage, -subjectAltName, -basicConstraints, -subjectKeyIdentifier, -authorityKeyIdentifier, -extKeyUsage (RFC
/// 5280, 4.2.1): the last byte below 2.5.29.
const KEY_USAGE: u8 = 15;
const ALTERNATIVE_NAME: u8 = 17;
const BASIC_CONSTRAINTS: u8 = 19;
const SUBJECT_KEY: u8 = 14;
const AUTHORITY_KEY: u8 = 35;
const EXTENDED_USAGE: u8 = 37;
/// id-kp-serverAuth and id-kp-clientAuth (RFC 5280, 4.2.1.12).
const SERVER: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
const CLIENT: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];

/// Nanoseconds of a day.
const DAY: i64 = 86_400_000_000_000;

/// What a certificate is for.
pub(in crate::helm) struct Subject<'a> {
    /// The common name.
    pub(in crate::helm) name: &'a [u8],
    /// The addresses.
    pub(in crate::helm) ips: Vec<IpAddr>,
    /// The host names.
    pub(in crate::helm) hosts: Vec<Vec<u8>>,
    /// How many days it is valid; may be negative.
    pub(in crate::helm) days: i64,
    /// Whether it signs others.
    pub(in crate::helm) authority: bool,
}

/// What is read of a certificate that signs another.
pub(in crate::helm) struct Certificate {
    subject: Vec<u8>,
    key_info: Vec<u8>,
    key_id: Option<Vec<u8>>,
}

fn extension(id: u8, critical: bool, content: &[u8]) -> Vec<u8> {
    let critical = if critical { der::element(tag::BOOLEAN, &[0xff]) } else { Vec::new() };
    der::sequence(&[&oid(&[0x55, 0x1d, id]), &critical, &der::element(tag::OCTET_STRING, content)])
}

/// Writes a name as Go does: PrintableString where it may, UTF8String otherwise.
fn distinguished(name: &[u8]) -> Result<Vec<u8>, String> {
    if name.is_empty() {
        return Ok(der::sequence(&[]));
    }
    let text = std::str::from_utf8(name).map_err(|_| "asn1: string not valid UTF-8")?;
    let printable = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte));
    let text = der::element(if printable { tag::PRINTABLE_STRING } else { tag::UTF8_STRING }, name);
    Ok(der::sequence(&[&der::element(tag::SET, &der::sequence(&[&oid(COMMON_NAME), &text]))]))
}

/// Writes a time: UTCTime up to 2049, GeneralizedTime from then on (RFC 5280, 4.1.2.5).
fn moment(time: Time) -> Vec<u8> {
    let time = time.utc();
    let short = time.format("2006").parse().is_ok_and(|year: i64| (1950..2050).contains(&year));
    if short {
        der::element(tag::UTC_TIME, time.format("060102150405Z").as_bytes())
    } else {
        der::element(tag::GENERALIZED_TIME, time.format("20060102150405Z").as_bytes())
    }
}

fn alternatives(subject: &Subject<'_>) -> Result<Vec<u8>, String> {
    let mut names = Vec::new();
    for host in &subject.hosts {
        if !host.is_ascii() {
            return Err(format!("x509: {:?} cannot be encoded as an IA5String", String::from_utf8_lossy(host)));
        }
        names.extend(der::element(0x82, host));
    }
    for ip in &subject.ips {
        match ip.to_canonical() {
            IpAddr::V4(ip) => names.extend(der::element(0x87, &ip.octets())),
            IpAddr::V6(ip) => names.extend(der::element(0x87, &ip.octets())),
        }
    }
    Ok(names)
}

impl Certificate {
    /// Reads a certificate from PEM.
    ///
    /// # Errors
    /// `Err(None)` when there is no PEM block; Go's message when it holds no certificate.
    pub(in crate::helm) fn from_pem(text: &[u8]) -> Result<Certificate, Option<&'static str>> {
        let (_, bytes) = der::unpem(text).ok_or(None)?;
        Certificate::read(&bytes).ok_or(Some("x509: malformed certificate"))
    }

    fn read(bytes: &[u8]) -> Option<Certificate> {
        let mut outer = der::only_sequence(bytes)?;
        let mut body = outer.sequence()?;
        outer.sequence()?;
        outer.take(tag::BIT_STRING)?;
        let _version = body.take(tag::context(0));
        body.take(tag::INTEGER)?;
        body.sequence()?;
        body.sequence()?;
        body.sequence()?;
        let (subject_tag, _, subject) = body.any()?;
        let (key_tag, _, key_info) = body.any()?;
        if [subject_tag, key_tag] != [tag::SEQUENCE; 2] {
            return None;
        }
        let mut key_id = None;
        while !body.is_done() {
            let (tag, content, _) = body.any()?;
            if tag == tag::context(3) {
                key_id = subject_key(Reader(content).sequence()?)?;
            }
        }
        Some(Certificate { subject: subject.to_vec(), key_info: key_info.to_vec(), key_id })
    }

    /// Makes a certificate, signed by an authority or by its own key, as PEM.
    ///
    /// # Errors
    /// Go's message.
    pub(in crate::helm) fn create(
        subject: &Subject<'_>,
        key: &Key,
        signer: Option<(&Certificate, &Key)>,
        now: Time,
        random: Random<'_>,
    ) -> Result<String, String> {
        let mut serial = [0; 16];
        random(&mut serial);
        let signing = signer.map_or(key, |(_, key)| key);
        let Some(algorithm) = signing.signature_algorithm() else {
            return Err("x509: certificate private key does not implement crypto.Signer".to_owned());
        };
        let Some(info) = key.public_info() else {
            return Err("x509: unsupported public key type: *dsa.PublicKey".to_owned());
        };
        let name = distinguished(subject.name)?;
        let issuer = signer.map_or(&name, |(parent, _)| &parent.subject);
        if let Some((parent, signing)) = signer
            && signing.public_info().is_some_and(|info| info != parent.key_info)
        {
            return Err("x509: provided PrivateKey doesn't match parent's PublicKey".to_owned());
        }
        let mut extensions = vec![
            extension(
                KEY_USAGE,
                true,
                &der::element(tag::BIT_STRING, if subject.authority { &[2, 0xa4] } else { &[5, 0xa0] }),
            ),
            extension(EXTENDED_USAGE, false, &der::sequence(&[&oid(SERVER), &oid(CLIENT)])),
        ];
        let constraint = if subject.authority { der::element(tag::BOOLEAN, &[0xff]) } else { Vec::new() };
        extensions.push(extension(BASIC_CONSTRAINTS, true, &der::sequence(&[&constraint])));
        if subject.authority {
            // The first 160 bits of the key's SHA-256 (RFC 7093, 2, method 1), as Go does since 1.25.
            if let Digest::Sha256(digest) = Digest::sha256(&key.public_bits()) {
                extensions.push(extension(SUBJECT_KEY, false, &der::element(tag::OCTET_STRING, &digest[..20])));
            }
        }
        if let Some((Certificate { key_id: Some(id), .. }, _)) = signer
            && *issuer != name
        {
            extensions.push(extension(AUTHORITY_KEY, false, &der::sequence(&[&der::element(0x80, id)])));
        }
        let names = alternatives(subject)?;
        if !names.is_empty() {
            extensions.push(extension(ALTERNATIVE_NAME, subject.name.is_empty(), &der::element(tag::SEQUENCE, &names)));
        }
        // Go multiplies without looking for an overflow.
        let until = now.plus(subject.days.wrapping_mul(DAY));
        let body = der::sequence(&[
            &der::element(tag::context(0), &der::element(tag::INTEGER, &[2])),
            &der::integer(&BigUint::from_bytes_be(&serial)),
            &algorithm,
            issuer,
            &der::sequence(&[&moment(now), &moment(until)]),
            &name,
            &info,
            &der::element(tag::context(3), &der::element(tag::SEQUENCE, &extensions.concat())),
        ]);
        let signature = signing.sign(&body)?;
        Ok(der::pem("CERTIFICATE", &der::sequence(&[&body, &algorithm, &der::bits(&signature)])))
    }
}

/// Finds the subject key identifier among extensions: `None` when they are malformed, `Some(None)` when there is none.
fn subject_key(mut extensions: Reader<'_>) -> Option<Option<Vec<u8>>> {
    let mut found = None;
    while !extensions.is_done() {
        let mut one = extensions.sequence()?;
        let id = one.take(tag::OID)?;
        let _critical = one.take(tag::BOOLEAN);
        let content = one.take(tag::OCTET_STRING)?;
        if id == [0x55, 0x1d, SUBJECT_KEY] {
            found = Some(Reader(content).take(tag::OCTET_STRING)?.to_vec());
        }
    }
    Some(found)
}
