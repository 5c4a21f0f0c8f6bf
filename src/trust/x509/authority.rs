//! Authorities: they sign certificates of other authorities, of servers, and lists of what is revoked.
//!
//! # Invariants
//! - Serial numbers have 159 bits, all random but the highest: positive, and always 20 bytes long (RFC 5280, section
//!   4.1.2.2).
//! - Nothing outlives what signed it, and nothing is signed before or after the authority's own time.
//! - A server's certificate is checked by rustls-webpki before it is handed out.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, KeyIdMethod, KeyUsagePurpose, NameConstraints, PublicKeyData, SanType, SerialNumber,
};

use super::{CaKey, Certificate, Curve, Error, Request, Scope, ServerName, verify_server};
use crate::{
    oci::Digest,
    trust::{Randomness, encoding::write_pem},
};

/// Clocks differ: what is made now must be valid on machines that are a little behind.
const BACKDATED: i64 = 5 * 60;
const DAY: i64 = 86_400;
/// The longest life of a server's certificate that browsers accept (CA/Browser Forum ballot SC-31).
pub const MAX_SERVER_DAYS: u32 = 397;
/// X.520 limits the organization and the common name to 64 characters.
const MAX_ATTRIBUTE: usize = 64;
/// How long a list of revoked certificates counts.
const CRL_DAYS: i64 = 30;

/// Names the authorities of an enclave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaNames {
    organization: String,
}

impl CaNames {
    /// Makes the names from the organization.
    ///
    /// # Errors
    /// [`Error::Organization`] when the names would not fit into certificates.
    pub fn new(organization: &str) -> Result<CaNames, Error> {
        let wrong = |why| Error::Organization { text: organization.to_owned(), why };
        let organization = organization.trim();
        if organization.is_empty() {
            return Err(wrong("it is empty"));
        }
        if organization.chars().any(char::is_control) {
            return Err(wrong("it holds control characters"));
        }
        let names = CaNames { organization: organization.to_owned() };
        if names.issuing(99, 99).chars().count() > MAX_ATTRIBUTE {
            return Err(wrong("the names of its authorities would be longer than 64 characters"));
        }
        Ok(names)
    }

    /// Returns the organization.
    pub fn organization(&self) -> &str {
        &self.organization
    }

    /// Returns the common name of a root.
    pub fn root(&self, generation: u32) -> String {
        format!("{} Root CA G{generation}", self.organization)
    }

    /// Returns the common name of an issuing authority.
    pub fn issuing(&self, root: u32, generation: u32) -> String {
        format!("{} Issuing CA G{root}.{generation}", self.organization)
    }
}

/// Says how long certificates live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// So many years of 365 days and a quarter.
    Years(u8),
    /// So many days.
    Days(u32),
}

/// Says what a server's certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Answering clients.
    Server,
    /// Answering clients, and being one (mutual TLS).
    ServerAndClient,
}

/// Says why a certificate is revoked (RFC 5280, section 5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nobody says.
    Unspecified,
    /// Somebody else may have the key.
    KeyCompromise,
    /// Another certificate took its place.
    Superseded,
    /// What it was for is no more.
    Cessation,
}

/// Names a revoked certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// The serial number in hex digits.
    pub serial: String,
    /// When it was revoked.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
}

/// Holds a certificate of an authority with its key.
#[derive(Debug)]
pub struct Authority {
    certificate: Certificate,
    key: CaKey,
}

fn writing(what: &'static str) -> impl Fn(rcgen::Error) -> Error {
    move |error| Error::Write { what, why: error.to_string() }
}

/// Returns a moment in the X.509 crate's type, which has no public name: `epoch` is 1970 in that type. No certificate is
/// made by a clock from before.
fn moment<T: std::ops::Add<Duration, Output = T>>(epoch: T, time: Timestamp) -> T {
    epoch + Duration::from_secs(u64::try_from(time.as_second()).unwrap_or_default())
}

macro_rules! moment {
    ($time:expr) => {
        moment(rcgen::date_time_ymd(1970, 1, 1), $time)
    };
}

/// Returns a subject of organization and common name.
pub(super) fn distinguished(organization: &str, name: &str) -> DistinguishedName {
    let mut all = DistinguishedName::new();
    all.push(DnType::OrganizationName, organization);
    all.push(DnType::CommonName, name);
    all
}

/// Returns the identifier of a key: the first 160 bits of its SHA-256 (RFC 7093, section 2, method 1).
fn key_id(point: &[u8]) -> KeyIdMethod {
    KeyIdMethod::PreSpecified(match Digest::sha256(point) {
        Digest::Sha256(bytes) => bytes[..20].to_vec(),
        Digest::Sha512(bytes) => bytes[..20].to_vec(),
    })
}

fn serial(random: &mut dyn Randomness) -> Result<SerialNumber, Error> {
    let mut bytes = [0; 20];
    random.fill(&mut bytes)?;
    // The top bit clear makes it positive, the next one set makes it never zero and always of the same length.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn after(start: Timestamp, seconds: i64) -> Result<Timestamp, Error> {
    let late = |_| Error::Write { what: "certificate", why: "its end cannot be expressed".to_owned() };
    let whole = Timestamp::from_second(start.as_second()).map_err(late)?;
    whole.checked_add(SignedDuration::from_secs(seconds)).map_err(late)
}

impl Lifetime {
    fn seconds(self) -> i64 {
        match self {
            Lifetime::Years(years) => i64::from(years) * 1461 * DAY / 4,
            Lifetime::Days(days) => i64::from(days) * DAY,
        }
    }

    fn years_of(self, what: &'static str, least: u8, most: u8) -> Result<Lifetime, Error> {
        match self {
            Lifetime::Years(years) if !(least..=most).contains(&years) => {
                Err(Error::AuthorityLifetime { what, years, least, most })
            }
            life => Ok(life),
        }
    }
}

/// Writes what an issuing authority may sign. Addresses are always spoken of: those of a family without a range are all
/// excluded, because a verifier lets through what constraints do not mention.
fn constraints(scope: &Scope) -> NameConstraints {
    let mut permitted: Vec<GeneralSubtree> = scope.domains().iter().cloned().map(GeneralSubtree::DnsName).collect();
    let subnet = |range: &super::IpRange| CidrSubnet::from_addr_prefix(range.base(), range.prefix());
    permitted.extend(scope.ranges().iter().map(|range| GeneralSubtree::IpAddress(subnet(range))));
    let mut excluded = Vec::new();
    if !scope.ranges().iter().any(|range| range.base().is_ipv4()) {
        excluded.push(GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4])));
    }
    if !scope.ranges().iter().any(|range| range.base().is_ipv6()) {
        excluded.push(GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16])));
    }
    NameConstraints { permitted_subtrees: permitted, excluded_subtrees: excluded }
}

impl Authority {
    /// Puts a certificate and its key together.
    ///
    /// # Errors
    /// [`Error::OtherKey`], [`Error::NotAnAuthority`].
    pub fn new(certificate: Certificate, key: CaKey) -> Result<Authority, Error> {
        if !certificate.belongs_to(&key) {
            return Err(Error::OtherKey(certificate.name().to_owned()));
        }
        let not = |why| Error::NotAnAuthority { name: certificate.name().to_owned(), why };
        if !certificate.is_authority() {
            return Err(not("it may not sign certificates"));
        }
        if certificate.key_id().is_none() {
            return Err(not("its key has no identifier"));
        }
        Ok(Authority { certificate, key })
    }

    /// Makes a root: it may have authorities below it, and those none.
    ///
    /// # Errors
    /// [`Error::AuthorityLifetime`], [`Error::NoRandomness`], [`Error::Write`].
    pub fn root(
        names: &CaNames,
        generation: u32,
        life: Lifetime,
        now: Timestamp,
        random: &mut dyn Randomness,
    ) -> Result<Authority, Error> {
        let life = life.years_of("a root", 2, 30)?;
        let key = CaKey::generate(Curve::P384, random)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished(names.organization(), &names.root(generation));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.key_identifier_method = key_id(key.point());
        params.serial_number = Some(serial(random)?);
        params.not_before = moment!(after(now, -BACKDATED)?);
        params.not_after = moment!(after(now, life.seconds())?);
        let made = params.self_signed(&key).map_err(writing("root certificate"))?;
        Authority::new(Certificate::from_der(made.der())?, key)
    }

    /// Returns the certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Returns the key.
    pub fn key(&self) -> &CaKey {
        &self.key
    }

    fn check_time(&self, now: Timestamp) -> Result<(), Error> {
        let authority = || self.certificate.name().to_owned();
        if now >= self.certificate.not_after() {
            return Err(Error::Expired { authority: authority(), end: self.certificate.not_after() });
        }
        if now < self.certificate.not_before() {
            return Err(Error::NotYet { authority: authority(), start: self.certificate.not_before() });
        }
        Ok(())
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        key: SubjectKey<'_>,
        until: Timestamp,
        now: Timestamp,
        random: &mut dyn Randomness,
    ) -> Result<Certificate, Error> {
        params.serial_number = Some(serial(random)?);
        params.not_before = moment!(after(now, -BACKDATED)?.max(self.certificate.not_before()));
        params.not_after = moment!(until);
        params.use_authority_key_identifier_extension = true;
        let der = rcgen_der(&self.certificate);
        let issuer = rcgen::Issuer::from_ca_cert_der(&der, &self.key).map_err(writing("certificate"))?;
        let made = params.signed_by(&key.public(), &issuer).map_err(writing("certificate"))?;
        Certificate::from_der(made.der())
    }

    /// Signs the key of an issuing authority, which may sign what is in `scope`. It ends with this authority at the latest.
    ///
    /// # Errors
    /// [`Error::NotAnAuthority`] when no authority may stand below this one; [`Error::Expired`], [`Error::NotYet`],
    /// [`Error::AuthorityLifetime`], [`Error::NoRandomness`], [`Error::Write`].
    #[allow(clippy::too_many_arguments, reason = "each is one field of the certificate")]
    pub fn sign_issuing(
        &self,
        key: SubjectKey<'_>,
        organization: &str,
        name: &str,
        scope: &Scope,
        life: Lifetime,
        now: Timestamp,
        random: &mut dyn Randomness,
    ) -> Result<Certificate, Error> {
        let life = life.years_of("an issuing authority", 1, 3)?;
        self.check_time(now)?;
        if self.certificate.path_length() == Some(0) {
            let why = "no authority may stand below it";
            return Err(Error::NotAnAuthority { name: self.certificate.name().to_owned(), why });
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished(organization, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.key_identifier_method = key_id(key.public().der_bytes());
        params.name_constraints = Some(constraints(scope));
        let until = after(now, life.seconds())?.min(self.certificate.not_after());
        self.sign(params, key, until, now, random)
    }

    /// Signs a server's certificate.
    ///
    /// # Errors
    /// [`Error::Refused`] with every name that lies outside; [`Error::NoName`], [`Error::ServerLifetime`],
    /// [`Error::Outlives`], [`Error::Expired`], [`Error::NotYet`], [`Error::NoRandomness`], [`Error::Write`], and
    /// [`Error::Chain`] when a verifier would not believe the result.
    pub fn sign_server(
        &self,
        key: SubjectKey<'_>,
        names: &[ServerName],
        life: Lifetime,
        usage: Usage,
        now: Timestamp,
        random: &mut dyn Randomness,
    ) -> Result<Certificate, Error> {
        if names.is_empty() {
            return Err(Error::NoName);
        }
        let authority = || self.certificate.name().to_owned();
        self.check_time(now)?;
        if let Some(scope) = self.certificate.scope() {
            let refused = scope.refuse(names);
            if !refused.is_empty() {
                return Err(Error::Refused { authority: authority(), permitted: scope.to_string(), refused });
            }
        }
        let days = life.seconds() / DAY;
        if !(1..=i64::from(MAX_SERVER_DAYS)).contains(&days) {
            return Err(Error::ServerLifetime { days: days.try_into().unwrap_or(u32::MAX), limit: MAX_SERVER_DAYS });
        }
        let (until, end) = (after(now, life.seconds())?, self.certificate.not_after());
        if until > end {
            let days = (end.as_second() - now.as_second()) / DAY;
            return Err(Error::Outlives { authority: authority(), wanted: until, end, days });
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(self.certificate(), names);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if matches!(key, SubjectKey::Requested(Request { is_rsa: true, .. })) {
            params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
        }
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        if usage == Usage::ServerAndClient {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        }
        for name in names {
            params.subject_alt_names.push(match name {
                ServerName::Ip(ip) => SanType::IpAddress(*ip),
                ServerName::Dns(name) => SanType::DnsName(name.as_str().try_into().map_err(writing("certificate"))?),
            });
        }
        params.key_identifier_method = key_id(key.public().der_bytes());
        let made = self.sign(params, key, until, now, random)?;
        // This authority as anchor: its own chain was checked when it was made or taken over.
        verify_server(std::slice::from_ref(&made), std::slice::from_ref(&self.certificate), now)?;
        Ok(made)
    }

    /// Signs the list of what is revoked; it counts for 30 days. Returns PEM.
    ///
    /// # Errors
    /// [`Error::Expired`], [`Error::NotYet`], [`Error::Malformed`] for a serial number that is none, [`Error::Write`].
    pub fn sign_revocations(&self, revoked: &[Revoked], number: u64, now: Timestamp) -> Result<String, Error> {
        self.check_time(now)?;
        let mut entries = Vec::new();
        for one in revoked {
            entries.push(rcgen::RevokedCertParams {
                serial_number: SerialNumber::from_slice(&serial_bytes(&one.serial)?),
                revocation_time: moment!(one.at),
                reason_code: match one.reason {
                    Reason::Unspecified => None,
                    Reason::KeyCompromise => Some(rcgen::RevocationReason::KeyCompromise),
                    Reason::Superseded => Some(rcgen::RevocationReason::Superseded),
                    Reason::Cessation => Some(rcgen::RevocationReason::CessationOfOperation),
                },
                invalidity_date: None,
            });
        }
        let der = rcgen_der(&self.certificate);
        let issuer = rcgen::Issuer::from_ca_cert_der(&der, &self.key).map_err(writing("revocation list"))?;
        let list = rcgen::CertificateRevocationListParams {
            this_update: moment!(now),
            next_update: moment!(after(now, CRL_DAYS * DAY)?),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: entries,
            key_identifier_method: KeyIdMethod::PreSpecified(
                self.certificate.key_id().map(<[u8]>::to_vec).unwrap_or_default(),
            ),
        };
        let made = list.signed_by(&issuer).map_err(writing("revocation list"))?;
        Ok(write_pem("X509 CRL", made.der()))
    }
}

fn rcgen_der(certificate: &Certificate) -> rustls::pki_types::CertificateDer<'_> {
    rustls::pki_types::CertificateDer::from(certificate.der())
}

fn serial_bytes(hex: &str) -> Result<Vec<u8>, Error> {
    let wrong =
        || Error::Malformed { what: "serial number", why: format!("{hex:?} is not 1 to 20 bytes in hex digits") };
    let digits: Vec<u8> = hex.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    if digits.len() != hex.len() || digits.is_empty() || digits.len() > 40 || digits.len() % 2 != 0 {
        return Err(wrong());
    }
    Ok(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// The subject of a server: the organization of the authority, and its first name where it fits.
fn subject(authority: &Certificate, names: &[ServerName]) -> DistinguishedName {
    let mut all = DistinguishedName::new();
    if let Some(organization) = authority.organization() {
        all.push(DnType::OrganizationName, organization);
    }
    let first = names.iter().map(ServerName::to_string).find(|name| name.chars().count() <= MAX_ATTRIBUTE);
    if let Some(name) = first {
        all.push(DnType::CommonName, name);
    }
    all
}

/// Says whose key is signed.
#[derive(Clone, Copy, Debug)]
pub enum SubjectKey<'a> {
    /// A key that was made here.
    Own(&'a CaKey),
    /// The key in a request.
    Requested(&'a Request),
}

impl SubjectKey<'_> {
    fn public(&self) -> &dyn PublicKeyData {
        match self {
            SubjectKey::Own(key) => *key,
            SubjectKey::Requested(request) => &request.key,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::trust::SystemRandomness;

    #[test]
    fn serial_numbers_are_positive_of_one_length_and_never_the_same() {
        let mut seen = HashSet::new();
        for _ in 0..5000 {
            let number = serial(&mut SystemRandomness).unwrap();
            assert!(number.as_ref().len() == 20 && (0x40..0x80).contains(&number.as_ref()[0]));
            assert!(seen.insert(number.to_bytes()));
        }
    }

    #[test]
    fn the_same_key_and_time_give_the_same_certificate() {
        struct Counting(u8);
        impl Randomness for Counting {
            fn fill(&mut self, bytes: &mut [u8]) -> Result<(), crate::trust::Error> {
                for byte in bytes {
                    self.0 = self.0.wrapping_add(1);
                    *byte = self.0;
                }
                Ok(())
            }
        }
        let names = CaNames::new("Acme").unwrap();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let make = || Authority::root(&names, 1, Lifetime::Years(10), now, &mut Counting(0)).unwrap();
        assert_eq!(make().certificate(), make().certificate());
        let root = make();
        assert_eq!(root.certificate().not_before(), Timestamp::from_second(1_800_000_000 - BACKDATED).unwrap());
        assert!(root.certificate().belongs_to(root.key()) && root.certificate().is_self_issued());
        // A certificate of a server is no authority, whoever has its key.
        let key = CaKey::generate(Curve::P256, &mut Counting(7)).unwrap();
        let own = SubjectKey::Own(&key);
        let name = ["a.example".parse().unwrap()];
        let leaf = root.sign_server(own, &name, Lifetime::Days(90), Usage::ServerAndClient, now, &mut Counting(9));
        assert!(matches!(Authority::new(leaf.unwrap(), key), Err(Error::NotAnAuthority { .. })));
    }
}
