//! Requests for certificates (PKCS#10, RFC 2986).

use x509_parser::{
    certification_request::X509CertificationRequest, extensions::ParsedExtension, prelude::FromDer as _,
};

use super::{CaKey, Error, ServerName, certificate::split_names};
use crate::trust::encoding::{read_pem, write_pem};

const LABEL: &str = "CERTIFICATE REQUEST";
/// What older tools write.
const OLD_LABEL: &str = "NEW CERTIFICATE REQUEST";
/// Shorter RSA keys are refused by verifiers.
const MIN_RSA: usize = 2048;

/// Holds what of a request is used: its public key and the names it asks for.
#[derive(Debug)]
pub struct Request {
    pub(super) key: rcgen::SubjectPublicKeyInfo,
    pub(super) is_rsa: bool,
    /// Names of servers.
    pub names: Vec<ServerName>,
    /// Whether it asks for a certificate of an authority.
    pub authority: bool,
    /// The subject it asks for, for people.
    pub subject: String,
}

fn broken(why: impl Into<String>) -> Error {
    Error::Malformed { what: "certificate request", why: why.into() }
}

impl Request {
    /// Reads a request in PEM and checks that it is signed by its own key.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::RequestSignature`]; [`Error::RequestAsks`] for names that no server has.
    pub fn from_pem(text: &str) -> Result<Request, Error> {
        let (label, der) = read_pem(text).map_err(broken)?;
        if label != LABEL && label != OLD_LABEL {
            return Err(broken(format!("the PEM block is labelled {label}")));
        }
        let (rest, parsed) = X509CertificationRequest::from_der(&der).map_err(|error| broken(error.to_string()))?;
        if !rest.is_empty() {
            return Err(broken("something follows it"));
        }
        let info = &parsed.certification_request_info;
        let spki = &info.subject_pki;
        let is_rsa = match spki.parsed() {
            Ok(x509_parser::public_key::PublicKey::RSA(key)) => {
                if key.key_size() < MIN_RSA {
                    return Err(Error::RequestAsks(format!("an RSA key of less than {MIN_RSA} bits")));
                }
                true
            }
            _ => false,
        };
        // After the length of the key, which the check of the signature would call a bad signature.
        parsed.verify_signature().map_err(|_| Error::RequestSignature)?;
        let key = rcgen::SubjectPublicKeyInfo::from_der(spki.raw).map_err(|_| {
            Error::RequestAsks("a key that is none of ECDSA on P-256 or P-384, RSA and Ed25519".to_owned())
        })?;
        let (mut names, mut authority) = (Vec::new(), false);
        for extension in parsed.requested_extensions().into_iter().flatten() {
            match extension {
                ParsedExtension::SubjectAlternativeName(all) => {
                    let (found, others) = split_names(&all.general_names);
                    if !others.is_empty() {
                        let text = format!("names that are not signed here: {}", others.join(", "));
                        return Err(Error::RequestAsks(text));
                    }
                    names.extend(found);
                }
                ParsedExtension::BasicConstraints(constraints) => authority |= constraints.ca,
                ParsedExtension::ParseError { .. } => return Err(broken("an extension in it is broken")),
                _ => {}
            }
        }
        let subject = info.subject.to_string();
        if names.is_empty() && !authority {
            // Old tools put the only name there.
            let common = info.subject.iter_common_name().next().and_then(|name| name.as_str().ok());
            names.extend(common.and_then(|name| name.parse().ok()));
        }
        Ok(Request { key, is_rsa, names, authority, subject })
    }

    /// Writes the request of an issuing authority for its key.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn of_authority(key: &CaKey, organization: &str, name: &str) -> Result<String, Error> {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = super::authority::distinguished(organization, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        let request = params
            .serialize_request(key)
            .map_err(|error| Error::Write { what: "certificate request", why: error.to_string() })?;
        Ok(write_pem(LABEL, request.der()))
    }
}
