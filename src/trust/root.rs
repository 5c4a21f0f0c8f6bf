//! Root certificates (RFC 5280), as far as handing them out needs: is this one, whose is it, how long does it live.
//!
//! # Invariants
//! - Whatever holds a private key is refused before anything else is said about it.
//! - This is no validation of a chain: a root is trusted because a person compared its fingerprint.

use super::{
    Error,
    encoding::{self, Der, tag},
};
use crate::oci::Digest;

/// A certificate of an authority that signed itself.
#[derive(Clone, PartialEq, Eq)]
pub struct RootCertificate {
    der: Vec<u8>,
    name: String,
    not_after: String,
}

const WHAT: &str = "root certificate";

/// Tags of DER elements that only certificates have (X.690; RFC 5280, A.1).
mod certificate_tag {
    pub(super) const BOOLEAN: u8 = 0x01;
    pub(super) const OCTET_STRING: u8 = 0x04;
    pub(super) const OID: u8 = 0x06;
    pub(super) const UTC_TIME: u8 = 0x17;
    pub(super) const GENERALIZED_TIME: u8 = 0x18;
    pub(super) const SET: u8 = 0x31;
    pub(super) const VERSION: u8 = 0xa0;
    pub(super) const ISSUER_UNIQUE_ID: u8 = 0x81;
    pub(super) const SUBJECT_UNIQUE_ID: u8 = 0x82;
    pub(super) const EXTENSIONS: u8 = 0xa3;
}
use certificate_tag::*;

/// id-ce-keyUsage and id-ce-basicConstraints (RFC 5280, 4.2.1.3 and 4.2.1.9).
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
/// id-at-commonName and id-at-organizationName (RFC 5280, A.1).
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];
/// keyCertSign is bit 5 of the key usage, counted from the highest (RFC 5280, 4.2.1.3).
const KEY_CERT_SIGN: u8 = 0x80 >> 5;

/// What is read of a certificate.
struct Read {
    is_self_issued: bool,
    is_authority: bool,
    may_sign: bool,
    name: String,
    not_after: String,
}

impl RootCertificate {
    /// Reads a PEM file that holds one root certificate; text around the block, as `openssl x509 -text` writes, is ignored.
    ///
    /// # Errors
    /// [`Error::KeyFile`] for keys, leaves, intermediates, several certificates, and what is no certificate.
    pub fn from_pem(text: &str) -> Result<RootCertificate, Error> {
        let wrong = |why| Error::KeyFile { what: WHAT, why };
        if text.contains("PRIVATE KEY-----") {
            return Err(wrong(
                "the file holds a private key, which must not be handed out: give the certificate alone",
            ));
        }
        const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
        const END: &str = "-----END CERTIFICATE-----";
        if text.matches(BEGIN).count() > 1 {
            return Err(wrong("the file holds several certificates: only the root belongs into trust stores"));
        }
        let start = text.find(BEGIN).ok_or(wrong("there is no certificate in PEM form in it"))?;
        let end = text[start..].find(END).ok_or(wrong("the PEM block does not end"))? + END.len();
        let (_, der) = encoding::read_pem(&text[start..start + end]).map_err(wrong)?;
        let read = read(&der).ok_or(wrong("the PEM block holds no certificate"))?;
        match read {
            Read { is_authority: false, .. } => {
                Err(wrong("it is the certificate of a server or a person, not of an authority: give the root"))
            }
            Read { is_self_issued: false, .. } => {
                Err(wrong("another authority signed it: trust stores take the root, servers send what is between"))
            }
            Read { may_sign: false, .. } => Err(wrong("its key usage does not allow it to sign certificates")),
            Read { name, not_after, .. } => Ok(RootCertificate { der: der.to_vec(), name, not_after }),
        }
    }

    /// Returns the PEM block alone.
    pub fn to_pem(&self) -> String {
        encoding::write_pem("CERTIFICATE", &self.der)
    }

    /// Returns the bytes of the certificate.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Returns the bytes in base64, without line breaks.
    pub fn to_base64(&self) -> String {
        encoding::base64(&self.der)
    }

    /// Returns the common name, else the organisation, else a word for having none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the last moment of its life, `20361231235959Z`.
    pub fn not_after(&self) -> &str {
        &self.not_after
    }

    /// Returns the digest of the certificate.
    pub fn digest(&self) -> Digest {
        Digest::sha256(&self.der)
    }

    /// Returns the SHA-256 fingerprint as `openssl x509 -fingerprint -sha256` shows it, for people to compare.
    pub fn fingerprint(&self) -> String {
        let hex = self.digest().hex().to_ascii_uppercase();
        hex.as_bytes().chunks(2).map(String::from_utf8_lossy).collect::<Vec<_>>().join(":")
    }
}

impl std::fmt::Debug for RootCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RootCertificate({}, {})", self.name, self.fingerprint())
    }
}

fn read(der: &[u8]) -> Option<Read> {
    let mut outer = Der(der);
    let mut certificate = Der(outer.take(tag::SEQUENCE)?);
    outer.end()?;
    let mut body = Der(certificate.take(tag::SEQUENCE)?);
    certificate.take(tag::SEQUENCE)?;
    certificate.take(tag::BIT_STRING)?;
    certificate.end()?;
    // Version 1 has none, and no extensions either.
    let _ = body.take(VERSION);
    body.take(tag::INTEGER)?;
    body.take(tag::SEQUENCE)?;
    let issuer = body.take(tag::SEQUENCE)?;
    let mut validity = Der(body.take(tag::SEQUENCE)?);
    let _ = moment(&mut validity)?;
    let not_after = moment(&mut validity)?;
    validity.end()?;
    let subject = body.take(tag::SEQUENCE)?;
    body.take(tag::SEQUENCE)?;
    let _ = body.take(ISSUER_UNIQUE_ID);
    let _ = body.take(SUBJECT_UNIQUE_ID);
    let (mut is_authority, mut may_sign) = (false, true);
    if let Some(wrapped) = body.take(EXTENSIONS) {
        let mut wrapped = Der(wrapped);
        let mut all = Der(wrapped.take(tag::SEQUENCE)?);
        wrapped.end()?;
        while !all.0.is_empty() {
            let mut one = Der(all.take(tag::SEQUENCE)?);
            let id = one.take(OID)?;
            let _ = one.take(BOOLEAN);
            let value = one.take(OCTET_STRING)?;
            one.end()?;
            match id {
                BASIC_CONSTRAINTS => {
                    let mut constraints = Der(Der(value).take(tag::SEQUENCE)?);
                    is_authority = constraints.take(BOOLEAN).is_some_and(|value| value == [0xff]);
                }
                // A BIT STRING starts with the number of unused bits.
                KEY_USAGE => {
                    let bits = Der(value).take(tag::BIT_STRING)?;
                    may_sign = bits.get(1).is_some_and(|bits| bits & KEY_CERT_SIGN != 0);
                }
                _ => {}
            }
        }
    }
    body.end()?;
    Some(Read { is_self_issued: issuer == subject, is_authority, may_sign, name: name(subject), not_after })
}

/// Takes a time and writes it with four digits of the year: two-digit years below 50 are of this century (RFC 5280,
/// 4.1.2.5.1).
fn moment(at: &mut Der<'_>) -> Option<String> {
    let digits = |bytes: &[u8], length: usize| {
        let text = std::str::from_utf8(bytes).ok()?.strip_suffix('Z')?;
        (text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.to_owned())
    };
    if let Some(bytes) = at.take(UTC_TIME) {
        let text = digits(bytes, 12)?;
        return Some(format!("{}{text}Z", if text.as_str() < "50" { "20" } else { "19" }));
    }
    Some(digits(at.take(GENERALIZED_TIME)?, 14)? + "Z")
}

/// Finds what a person calls the owner of a name.
fn name(subject: &[u8]) -> String {
    let mut all = Der(subject);
    let (mut common, mut organization) = (None, None);
    while let Some(set) = all.take(SET) {
        let mut set = Der(set);
        while let Some(attribute) = set.take(tag::SEQUENCE) {
            let mut attribute = Der(attribute);
            let Some(id) = attribute.take(OID) else { continue };
            // UTF8String, PrintableString, TeletexString, IA5String.
            let text = [0x0c, 0x13, 0x14, 0x16].into_iter().find_map(|tag| attribute.take(tag));
            let text = text.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            match id {
                COMMON_NAME => common = text,
                ORGANIZATION => organization = text,
                _ => {}
            }
        }
    }
    common.or(organization).unwrap_or_else(|| "without a name".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};

    use super::*;

    fn authority(change: impl FnOnce(&mut CertificateParams)) -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Enclave Root CA G1");
        params.not_after = rcgen::date_time_ymd(2046, 5, 4);
        change(&mut params);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn why(text: &str) -> &'static str {
        match RootCertificate::from_pem(text).unwrap_err() {
            Error::KeyFile { why, .. } => why,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_root_is_read() {
        let root = authority(|_| {});
        let text = format!("Certificate:\n    Data:\n{}\n", root.pem().replace('\n', "\r\n"));
        let read = RootCertificate::from_pem(&text).unwrap();
        assert_eq!((read.name(), read.not_after()), ("Enclave Root CA G1", "20460504000000Z"));
        assert_eq!(read.der(), root.der().as_ref());
        assert_eq!(read.fingerprint().len(), 32 * 3 - 1);
        assert_eq!(RootCertificate::from_pem(&read.to_pem()).unwrap(), read);
        let late = authority(|params| params.not_after = rcgen::date_time_ymd(2051, 1, 1));
        assert_eq!(RootCertificate::from_pem(&late.pem()).unwrap().not_after(), "20510101000000Z");
    }

    #[test]
    fn what_is_no_root_is_refused() {
        let root = authority(|_| {});
        let key = KeyPair::generate().unwrap();
        assert!(why(&key.serialize_pem()).contains("private key"));
        assert!(why(&(root.pem() + &key.serialize_pem())).contains("private key"));
        assert!(why(&(root.pem() + &root.pem())).contains("several"));
        let leaf = CertificateParams::new(vec!["reg.lan".into()]).unwrap().signed_by(&key, &root).unwrap();
        assert!(why(&leaf.pem()).contains("a server"));
        let lonely = CertificateParams::new(vec!["reg.lan".into()]).unwrap().self_signed(&key).unwrap();
        assert!(why(&lonely.pem()).contains("a server"));
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.distinguished_name.push(DnType::CommonName, "Enclave Issuing CA G1.1");
        assert!(why(&params.signed_by(&key, &root).unwrap().pem()).contains("another authority"));
        let mute = authority(|params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature]);
        assert!(why(&mute.pem()).contains("key usage"));
        assert!(why("hello").contains("no certificate"));
        assert!(why("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").contains("no certificate"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn damage_never_panics(at in 0usize..400, value: u8) {
            let mut der = authority(|_| {}).der().to_vec();
            let at = at % der.len();
            der[at] = value;
            let _ = RootCertificate::from_pem(&encoding::write_pem("CERTIFICATE", &der));
        }
    }
}
