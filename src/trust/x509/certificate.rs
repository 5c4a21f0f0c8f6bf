//! What a certificate says, as far as an authority and its users need it.
//!
//! # Invariants
//! - The DER bytes are kept as they came; nothing is serialised again.
//! - A certificate with two extensions of one kind, or with bytes after it, is refused.

use std::fmt;

use jiff::Timestamp;
use x509_parser::{
    extensions::{GeneralName, GeneralSubtree, ParsedExtension},
    prelude::{FromDer as _, X509Certificate},
};

use super::{CaKey, Error, IpRange, Scope, ServerName};
use crate::{
    oci::Digest,
    trust::encoding::{hex, unbase64, write_pem},
};

/// The label of certificates in PEM (RFC 7468, section 5).
const LABEL: &str = "CERTIFICATE";
/// cert-manager refuses PEM data with more certificates.
const MAX_CHAIN: usize = 10;
/// Ten certificates, each under the limit that cert-manager has for one of an authority.
const MAX_PEM: usize = 65_000;

/// Holds a certificate.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    subject: String,
    issuer: String,
    common_name: String,
    organization: Option<String>,
    serial: String,
    not_before: Timestamp,
    not_after: Timestamp,
    authority: Option<Option<u32>>,
    signs_certificates: bool,
    key_id: Option<Vec<u8>>,
    authority_key_id: Option<Vec<u8>>,
    names: Vec<ServerName>,
    other_names: Vec<String>,
    scope: Option<Scope>,
    self_issued: bool,
    public_key: Vec<u8>,
}

fn broken(why: impl Into<String>) -> Error {
    Error::Malformed { what: "certificate", why: why.into() }
}

impl Certificate {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn from_der(der: &[u8]) -> Result<Certificate, Error> {
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|error| broken(error.to_string()))?;
        if !rest.is_empty() {
            return Err(broken("something follows it"));
        }
        parsed.extensions_map().map_err(|error| broken(error.to_string()))?;
        let moment = |time: i64| Timestamp::from_second(time).map_err(|_| broken("a time in it cannot be"));
        let name = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        let mut found = Certificate {
            der: der.to_vec(),
            subject: parsed.subject().to_string(),
            issuer: parsed.issuer().to_string(),
            common_name: name.map_or_else(|| parsed.subject().to_string(), str::to_owned),
            organization: parsed
                .subject()
                .iter_organization()
                .next()
                .and_then(|name| name.as_str().ok())
                .map(str::to_owned),
            serial: hex(parsed.raw_serial()),
            not_before: moment(parsed.validity().not_before.timestamp())?,
            not_after: moment(parsed.validity().not_after.timestamp())?,
            authority: None,
            signs_certificates: false,
            key_id: None,
            authority_key_id: None,
            names: Vec::new(),
            other_names: Vec::new(),
            scope: None,
            self_issued: parsed.subject().as_raw() == parsed.issuer().as_raw(),
            public_key: parsed.public_key().subject_public_key.data.to_vec(),
        };
        for extension in parsed.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::BasicConstraints(constraints) if constraints.ca => {
                    found.authority = Some(constraints.path_len_constraint);
                }
                ParsedExtension::KeyUsage(usage) => found.signs_certificates = usage.key_cert_sign(),
                ParsedExtension::SubjectKeyIdentifier(id) => found.key_id = Some(id.0.to_vec()),
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    found.authority_key_id = id.key_identifier.as_ref().map(|id| id.0.to_vec());
                }
                ParsedExtension::SubjectAlternativeName(names) => {
                    (found.names, found.other_names) = split_names(&names.general_names);
                }
                ParsedExtension::NameConstraints(constraints) => {
                    found.scope = Some(scope(constraints.permitted_subtrees.as_deref().unwrap_or_default())?);
                }
                ParsedExtension::ParseError { .. } => return Err(broken("an extension in it is broken")),
                _ => {}
            }
        }
        Ok(found)
    }

    /// Reads a text with exactly one certificate in PEM; text around it is passed over, as every tool does.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn from_pem(text: &str) -> Result<Certificate, Error> {
        let mut all = read_chain(text)?;
        match (all.pop(), all.is_empty()) {
            (Some(one), true) => Ok(one),
            _ => Err(broken("one is expected, the file holds several")),
        }
    }

    /// Returns the PEM form.
    pub fn to_pem(&self) -> String {
        write_pem(LABEL, &self.der)
    }

    /// Returns the DER form.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Returns the common name, or the whole subject where there is none.
    pub fn name(&self) -> &str {
        &self.common_name
    }

    /// Returns the whole subject.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Returns the organization in the subject.
    pub fn organization(&self) -> Option<&str> {
        self.organization.as_deref()
    }

    /// Returns the whole name of whoever signed it.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the serial number in hex digits.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// Returns when it begins.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// Returns when it ends.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Tells whether it is one of an authority.
    pub fn is_authority(&self) -> bool {
        self.authority.is_some() && self.signs_certificates
    }

    /// Returns how many authorities may stand below this one; `None` when it says nothing.
    pub fn path_length(&self) -> Option<u32> {
        self.authority.flatten()
    }

    /// Tells whether subject and issuer are one: a root.
    pub fn is_self_issued(&self) -> bool {
        self.self_issued
    }

    /// Returns the identifier of its key.
    pub fn key_id(&self) -> Option<&[u8]> {
        self.key_id.as_deref()
    }

    /// Tells whether its issuer is `other`, by name and key identifier.
    pub fn is_issued_by(&self, other: &Certificate) -> bool {
        self.issuer == other.subject
            && match (&self.authority_key_id, &other.key_id) {
                (Some(mine), Some(theirs)) => mine == theirs,
                _ => true,
            }
    }

    /// Returns the names of servers in it.
    pub fn names(&self) -> &[ServerName] {
        &self.names
    }

    /// Returns the names that are neither host names nor addresses.
    pub fn other_names(&self) -> &[String] {
        &self.other_names
    }

    /// Returns what it may sign; `None` when it says nothing about names.
    pub fn scope(&self) -> Option<&Scope> {
        self.scope.as_ref()
    }

    /// Returns the fingerprint as tools print it: SHA-256, pairs of hex digits.
    pub fn fingerprint(&self) -> String {
        let digest = Digest::sha256(&self.der).hex().to_uppercase();
        let pairs: Vec<&str> = (0..digest.len()).step_by(2).filter_map(|at| digest.get(at..at + 2)).collect();
        pairs.join(":")
    }

    /// Tells whether the key is the private half of this certificate's.
    pub fn belongs_to(&self, key: &CaKey) -> bool {
        self.public_key == key.point()
    }

    /// Returns the part of its life that is over, in hundredths.
    pub fn age(&self, now: Timestamp) -> i64 {
        let whole = (self.not_after.as_second() - self.not_before.as_second()).max(1);
        (now.as_second() - self.not_before.as_second()).saturating_mul(100) / whole
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({}, {})", self.subject, self.serial)
    }
}

/// Takes host names and addresses out of a list of names; the second list is the rest, as text.
pub(super) fn split_names(all: &[GeneralName<'_>]) -> (Vec<ServerName>, Vec<String>) {
    let (mut names, mut others) = (Vec::new(), Vec::new());
    for name in all {
        let known = match name {
            GeneralName::DNSName(name) => name.parse().ok(),
            GeneralName::IPAddress(octets) => match octets.len() {
                4 => <[u8; 4]>::try_from(*octets).ok().map(|octets| ServerName::Ip(octets.into())),
                16 => <[u8; 16]>::try_from(*octets).ok().map(|octets| ServerName::Ip(octets.into())),
                _ => None,
            },
            _ => None,
        };
        match known {
            Some(name) => names.push(name),
            None => others.push(name.to_string()),
        }
    }
    (names, others)
}

fn scope(permitted: &[GeneralSubtree<'_>]) -> Result<Scope, Error> {
    let (mut domains, mut ranges) = (Vec::new(), Vec::new());
    for subtree in permitted {
        match &subtree.base {
            GeneralName::DNSName(domain) => domains.push(domain.trim_start_matches('.').to_ascii_lowercase()),
            GeneralName::IPAddress(octets) => {
                ranges
                    .push(IpRange::from_octets(octets).ok_or_else(|| broken("a range of addresses in it is broken"))?);
            }
            // Other kinds of names are none of a server's.
            _ => {}
        }
    }
    Scope::of_parts(domains, ranges)
}

/// Reads every certificate of a PEM text, in its order; there is at least one.
///
/// # Errors
/// [`Error::Malformed`]; also when there are more than cert-manager takes.
pub fn read_chain(text: &str) -> Result<Vec<Certificate>, Error> {
    if text.len() > MAX_PEM {
        return Err(broken(format!("the file is larger than {MAX_PEM} bytes")));
    }
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("-----BEGIN CERTIFICATE-----") {
        let Some((body, after)) = after.split_once("-----END CERTIFICATE-----") else {
            return Err(broken("a PEM block does not end"));
        };
        let compact: String = body.split_ascii_whitespace().collect();
        let der = unbase64(&compact).ok_or_else(|| broken("a PEM block is not base64"))?;
        found.push(Certificate::from_der(&der)?);
        if found.len() > MAX_CHAIN {
            return Err(broken(format!("the file holds more than {MAX_CHAIN} certificates")));
        }
        rest = after;
    }
    if found.is_empty() {
        return Err(broken("the file holds none in PEM"));
    }
    Ok(found)
}

/// Writes certificates one after the other.
pub fn write_chain<'a>(chain: impl IntoIterator<Item = &'a Certificate>) -> String {
    chain.into_iter().map(Certificate::to_pem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::{
        SystemRandomness,
        x509::{Authority, CaNames, Lifetime, Request},
    };
    use proptest::prelude::*;

    fn root() -> Certificate {
        static ROOT: std::sync::OnceLock<Certificate> = std::sync::OnceLock::new();
        let make = || {
            let now = Timestamp::from_second(1_800_000_000).unwrap();
            let names = CaNames::new("Acme").unwrap();
            let root = Authority::root(&names, 1, Lifetime::Years(10), now, &mut SystemRandomness).unwrap();
            root.certificate().clone()
        };
        ROOT.get_or_init(make).clone()
    }

    #[test]
    fn chains_are_read_with_text_around_them_and_have_limits() {
        let root = root();
        let two = format!("Subject: something\n{}\r\n# note\n{}", root.to_pem().replace('\n', "\r\n"), root.to_pem());
        assert_eq!(read_chain(&two).unwrap(), [root.clone(), root.clone()]);
        assert_eq!(write_chain([&root]), root.to_pem());
        assert!(Certificate::from_pem(&two).unwrap_err().to_string().contains("several"));
        assert!(read_chain(&root.to_pem().repeat(11)).is_err() && read_chain("").is_err());
        assert!(read_chain(&root.to_pem().replace("-----END", "----END")).is_err());
        assert_eq!(root.fingerprint().len(), 95);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn reading_is_total(at in 0usize..600, flip in 1u8.., cut in 0usize..600, noise in "\\PC{0,200}") {
            let mut der = root().der().to_vec();
            let index = at % der.len();
            der[index] ^= flip;
            let _ = Certificate::from_der(&der);
            der.truncate(cut);
            let _ = Certificate::from_der(&der);
            let _ = read_chain(&write_pem(LABEL, &der));
            let _ = Request::from_pem(&write_pem("CERTIFICATE REQUEST", &der));
            let _ = read_chain(&noise);
        }
    }
}
