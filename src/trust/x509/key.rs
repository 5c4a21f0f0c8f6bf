//! Keys of authorities and servers: ECDSA on P-256 and P-384, deterministic (RFC 6979).
//!
//! # Invariants
//! - Wiped when dropped; `Debug` shows the curve only.
//! - The key of an authority is written under a password. The open form exists for servers and for a cluster's Secret.

use std::fmt;

use p256::ecdsa::signature::Signer as _;
use zeroize::Zeroizing;

use super::{Error, pbes2};
use crate::trust::{
    Passphrase, Randomness,
    encoding::{self, Der, element, tag},
};

/// Names a curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// NIST P-256, signatures with SHA-256.
    P256,
    /// NIST P-384, signatures with SHA-384.
    P384,
}

impl Curve {
    fn oid(self) -> &'static [u8] {
        match self {
            Curve::P256 => b"\x2a\x86\x48\xce\x3d\x03\x01\x07",
            Curve::P384 => b"\x2b\x81\x04\x00\x22",
        }
    }
}

/// id-ecPublicKey (RFC 5480, section 2.1.1).
const EC_PUBLIC_KEY: &[u8] = b"\x2a\x86\x48\xce\x3d\x02\x01";
const OPEN: &str = "PRIVATE KEY";
const SEALED: &str = "ENCRYPTED PRIVATE KEY";

enum Secret {
    P256(p256::SecretKey),
    P384(p384::SecretKey),
}

/// Holds a private key.
pub struct CaKey {
    secret: Secret,
    /// The public point, uncompressed.
    point: Vec<u8>,
}

fn broken(why: &str) -> Error {
    Error::Malformed { what: "private key", why: why.to_owned() }
}

impl CaKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`Error::NoRandomness`].
    pub fn generate(curve: Curve, random: &mut dyn Randomness) -> Result<CaKey, Error> {
        // Draws outside the curve's order are as good as impossible; a source that only makes those is broken.
        for _ in 0..16 {
            let mut bytes = Zeroizing::new([0; 48]);
            random.fill(bytes.as_mut())?;
            let drawn = match curve {
                Curve::P256 => &bytes[..32],
                Curve::P384 => &bytes[..],
            };
            if let Some(key) = CaKey::of_scalar(curve, drawn) {
                return Ok(key);
            }
        }
        Err(Error::NoRandomness)
    }

    fn of_scalar(curve: Curve, scalar: &[u8]) -> Option<CaKey> {
        Some(match curve {
            Curve::P256 => {
                let secret = p256::SecretKey::from_slice(scalar).ok()?;
                let point = secret.public_key().to_sec1_bytes().to_vec();
                CaKey { secret: Secret::P256(secret), point }
            }
            Curve::P384 => {
                let secret = p384::SecretKey::from_slice(scalar).ok()?;
                let point = p384::ecdsa::VerifyingKey::from(secret.public_key()).to_encoded_point(false);
                CaKey { secret: Secret::P384(secret), point: point.as_bytes().to_vec() }
            }
        })
    }

    /// Returns the curve.
    pub fn curve(&self) -> Curve {
        match self.secret {
            Secret::P256(_) => Curve::P256,
            Secret::P384(_) => Curve::P384,
        }
    }

    /// Returns the PKCS#8 form (RFC 5958) with the SEC 1 key inside (RFC 5915).
    fn pkcs8(&self) -> Zeroizing<Vec<u8>> {
        let scalar = match &self.secret {
            Secret::P256(secret) => Zeroizing::new(secret.to_bytes().to_vec()),
            Secret::P384(secret) => Zeroizing::new(secret.to_bytes().to_vec()),
        };
        let public = element(0xa1, &[&element(tag::BIT_STRING, &[&[0], &self.point])]);
        let inner = Zeroizing::new(element(
            tag::SEQUENCE,
            &[&element(tag::INTEGER, &[&[1]]), &Zeroizing::new(element(tag::OCTET_STRING, &[&scalar])), &public],
        ));
        let algorithm =
            element(tag::SEQUENCE, &[&element(tag::OID, &[EC_PUBLIC_KEY]), &element(tag::OID, &[self.curve().oid()])]);
        let key = Zeroizing::new(element(tag::OCTET_STRING, &[&inner]));
        Zeroizing::new(element(tag::SEQUENCE, &[&element(tag::INTEGER, &[&[0]]), &algorithm, &key]))
    }

    fn of_pkcs8(der: &[u8]) -> Result<CaKey, Error> {
        let read = || {
            let mut all = Der(der);
            let mut outer = Der(all.take(tag::SEQUENCE)?);
            all.end()?;
            outer.take(tag::INTEGER)?;
            let mut algorithm = Der(outer.take(tag::SEQUENCE)?);
            if algorithm.take(tag::OID)? != EC_PUBLIC_KEY {
                return Some(None);
            }
            let oid = algorithm.take(tag::OID)?;
            let Some(curve) = [Curve::P256, Curve::P384].into_iter().find(|curve| curve.oid() == oid) else {
                return Some(None);
            };
            let mut key = Der(Der(outer.take(tag::OCTET_STRING)?).take(tag::SEQUENCE)?);
            key.take(tag::INTEGER)?;
            CaKey::of_scalar(curve, key.take(tag::OCTET_STRING)?).map(Some)
        };
        match read() {
            Some(Some(key)) => Ok(key),
            Some(None) => Err(broken("its algorithm is not ECDSA on P-256 or P-384")),
            None => Err(broken("its structure is broken")),
        }
    }

    /// Opens a key that is under a password; `openssl pkcs8 -topk8` writes such files, too.
    ///
    /// # Errors
    /// [`Error::WrongPassword`], [`Error::OpenKey`], [`Error::Encryption`], [`Error::Malformed`].
    pub fn open(pem: &str, password: &Passphrase) -> Result<CaKey, Error> {
        let (label, der) = encoding::read_pem(pem).map_err(broken)?;
        match label {
            SEALED => {
                let opened = pbes2::open(&der, password)?;
                // A wrong password leaves a right padding once in 256 times; the content gives it away.
                CaKey::of_pkcs8(&opened).map_err(|error| match opened.first() {
                    Some(&tag::SEQUENCE) => error,
                    _ => Error::WrongPassword,
                })
            }
            OPEN | "EC PRIVATE KEY" => Err(Error::OpenKey),
            _ => Err(broken("the PEM block is not labelled ENCRYPTED PRIVATE KEY")),
        }
    }

    /// Reads a key that lies open, as a server has it.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn of_open_pem(pem: &str) -> Result<CaKey, Error> {
        match encoding::read_pem(pem).map_err(broken)? {
            (OPEN, der) => CaKey::of_pkcs8(&der),
            _ => Err(broken("the PEM block is not labelled PRIVATE KEY")),
        }
    }

    /// Returns the key under a password, as stock `openssl pkey` reads it.
    ///
    /// # Errors
    /// [`Error::EmptyPassword`], [`Error::NoRandomness`].
    pub fn seal(&self, password: &Passphrase, random: &mut dyn Randomness) -> Result<String, Error> {
        Ok(encoding::write_pem(SEALED, &pbes2::seal(&self.pkcs8(), password, random)?))
    }

    /// Returns the open form, for a server or a cluster's Secret.
    pub fn to_open_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(encoding::write_pem(OPEN, &self.pkcs8()))
    }

    /// Returns the public point, uncompressed.
    pub(super) fn point(&self) -> &[u8] {
        &self.point
    }
}

impl fmt::Debug for CaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CaKey({:?})", self.curve())
    }
}

impl rcgen::PublicKeyData for CaKey {
    fn der_bytes(&self) -> &[u8] {
        &self.point
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        match self.curve() {
            Curve::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Curve::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        }
    }
}

impl rcgen::SigningKey for CaKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(match &self.secret {
            Secret::P256(secret) => {
                let signature: p256::ecdsa::Signature = p256::ecdsa::SigningKey::from(secret).sign(message);
                signature.to_der().as_bytes().to_vec()
            }
            Secret::P384(secret) => {
                let signature: p384::ecdsa::Signature = p384::ecdsa::SigningKey::from(secret).sign(message);
                signature.to_der().as_bytes().to_vec()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::SystemRandomness;

    #[test]
    fn both_curves_come_back_from_both_forms() {
        for curve in [Curve::P256, Curve::P384] {
            let key = CaKey::generate(curve, &mut SystemRandomness).unwrap();
            let password = Passphrase::new("right");
            let sealed = key.seal(&password, &mut SystemRandomness).unwrap();
            assert_eq!(CaKey::open(&sealed, &password).unwrap().point(), key.point());
            assert_eq!(CaKey::open(&sealed, &Passphrase::new("wrong")).unwrap_err(), Error::WrongPassword);
            assert_eq!(CaKey::open(&key.to_open_pem(), &password).unwrap_err(), Error::OpenKey);
            let open = CaKey::of_open_pem(&key.to_open_pem()).unwrap();
            assert_eq!((open.point(), open.curve()), (key.point(), curve));
            assert!(CaKey::of_open_pem(&sealed).is_err());
            assert_eq!(format!("{key:?}"), format!("CaKey({curve:?})"));
        }
    }

    #[test]
    fn a_key_on_another_curve_is_refused() {
        let key = CaKey::generate(Curve::P256, &mut SystemRandomness).unwrap();
        let mut der = key.pkcs8().to_vec();
        let at = der.windows(8).position(|oid| oid == Curve::P256.oid()).unwrap();
        der[at + 7] = 1;
        assert!(CaKey::of_pkcs8(&der).unwrap_err().to_string().contains("P-256 or P-384"));
        assert!(CaKey::of_pkcs8(&der[1..]).is_err());
    }
}
