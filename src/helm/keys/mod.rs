//! Private keys and certificates that charts make: `genCA`, `genPrivateKey` and their kin.
//!
//! ```text
//!  random bytes ─ primes ─→ rsa, dsa ─┐
//!                   curve, ed25519 ───┴─→ Key ─ x509 ─→ certificate      der: the notation of all of them
//! ```
//!
//! # Invariants
//! - All randomness comes from the caller: the same seed makes the same keys and the same signatures.
//! - Keys and certificates have the form that Go's `crypto/x509` gives them.
//!
//! # Failure
//! A message in the words of Go's `crypto/x509`, which the functions of the template show.

mod der;
mod dsa;
mod primes;
mod rsa;
mod sample;
mod x509;

use p256::ecdsa::signature::Signer as _;
use p256::elliptic_curve::sec1::ToEncodedPoint as _;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use der::tag;
use rsa::RsaKey;

pub(in crate::helm) use x509::{Certificate, Subject};

/// Says where the keys of charts come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeySource {
    /// Each key is made from the seed of the rendering: what is installed. An RSA key takes a good part of a second.
    #[default]
    Fresh,
    /// Every key of a kind is the same published one, and password hashes are shaped noise. For whoever renders to look
    /// at the result and throws it away: costs next to nothing, protects nothing.
    Sample,
}

/// Names what `genPrivateKey` and the certificate functions make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::helm) enum KeyKind {
    /// For certificates.
    Rsa2048,
    /// `genPrivateKey "rsa"`.
    Rsa4096,
    /// `genPrivateKey "dsa"`.
    Dsa,
    /// `genPrivateKey "ecdsa"`, on P-256.
    Ecdsa,
    /// `genPrivateKey "ed25519"`.
    Ed25519,
}

impl KeyKind {
    /// Returns how much work a key counts for. One step is worth about 100 ns on a slow machine.
    pub(in crate::helm) const fn steps(self) -> u64 {
        match self {
            KeyKind::Rsa2048 => 400_000,
            KeyKind::Rsa4096 | KeyKind::Dsa => 2_000_000,
            KeyKind::Ecdsa | KeyKind::Ed25519 => 10_000,
        }
    }
}

/// prime256v1 and secp384r1 (RFC 5480, 2.1.1.1), id-ecPublicKey (2.1.1), rsaEncryption (RFC 8017, A.1), Ed25519 (RFC
/// 8410, 3).
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
/// sha256WithRSAEncryption (RFC 8017, A.2.4), ecdsa-with-SHA256 and ecdsa-with-SHA384 (RFC 5758, 3.2).
const SHA256_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
const SHA256_ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const SHA384_ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];

/// A private key.
pub(in crate::helm) struct Key(Inner);

enum Inner {
    Rsa(RsaKey),
    Dsa(dsa::DsaKey),
    P256(p256::SecretKey),
    P384(p384::SecretKey),
    Ed25519(Box<[u8; 32]>),
}

fn oid(id: &[u8]) -> Vec<u8> {
    der::element(tag::OID, id)
}

fn null() -> Vec<u8> {
    der::element(tag::NULL, &[])
}

fn sec1(secret: &[u8], curve: &[u8], point: &[u8]) -> Vec<u8> {
    der::sequence(&[
        &der::element(tag::INTEGER, &[1]),
        &der::element(tag::OCTET_STRING, secret),
        &der::element(tag::context(0), &oid(curve)),
        &der::element(tag::context(1), &der::bits(point)),
    ])
}

/// Returns the scalar at the size of its curve; some writers add or drop leading zeros.
fn scalar(bytes: &[u8], size: usize) -> Option<Vec<u8>> {
    let extra = bytes.len().saturating_sub(size);
    if bytes[..extra].iter().any(|byte| *byte != 0) {
        return None;
    }
    let bytes = &bytes[extra..];
    Some([&vec![0; size - bytes.len()], bytes].concat())
}

impl Key {
    /// Makes a key.
    pub(in crate::helm) fn generate(kind: KeyKind, source: KeySource, random: primes::Random<'_>) -> Key {
        Key(match (kind, source) {
            (KeyKind::Rsa2048, KeySource::Fresh) => Inner::Rsa(RsaKey::generate(2048, random)),
            (KeyKind::Rsa4096, KeySource::Fresh) => Inner::Rsa(RsaKey::generate(4096, random)),
            (KeyKind::Dsa, KeySource::Fresh) => Inner::Dsa(dsa::DsaKey::generate(random)),
            (KeyKind::Rsa2048, KeySource::Sample) => Inner::Rsa(sample::rsa_2048()),
            (KeyKind::Rsa4096, KeySource::Sample) => Inner::Rsa(sample::rsa_4096()),
            (KeyKind::Dsa, KeySource::Sample) => Inner::Dsa(sample::dsa()),
            (KeyKind::Ecdsa, _) => loop {
                let mut bytes = [0; 32];
                random(&mut bytes);
                if let Ok(key) = p256::SecretKey::from_slice(&bytes) {
                    break Inner::P256(key);
                }
            },
            (KeyKind::Ed25519, _) => {
                let mut seed = Box::new([0; 32]);
                random(&mut *seed);
                Inner::Ed25519(seed)
            }
        })
    }

    /// Writes the key as sprig does: each kind in its traditional form, Ed25519 as PKCS#8.
    pub(in crate::helm) fn to_pem(&self) -> String {
        match &self.0 {
            Inner::Rsa(key) => der::pem("RSA PRIVATE KEY", &key.to_der()),
            Inner::Dsa(key) => der::pem("DSA PRIVATE KEY", &key.to_der()),
            Inner::P256(key) => der::pem("EC PRIVATE KEY", &sec1(&key.to_bytes(), P256, &self.public_bits())),
            Inner::P384(key) => der::pem("EC PRIVATE KEY", &sec1(&key.to_bytes(), P384, &self.public_bits())),
            Inner::Ed25519(seed) => {
                let version = der::element(tag::INTEGER, &[0]);
                let seed = der::element(tag::OCTET_STRING, &der::element(tag::OCTET_STRING, &**seed));
                der::pem("PRIVATE KEY", &der::sequence(&[&version, &der::sequence(&[&oid(ED25519)]), &seed]))
            }
        }
    }

    /// Reads a key as sprig does.
    ///
    /// # Errors
    /// The message of sprig or of Go.
    pub(in crate::helm) fn from_pem(text: &[u8]) -> Result<Key, String> {
        let (label, bytes) = der::unpem(text).ok_or("no PEM data in input")?;
        if label == "PRIVATE KEY" {
            return Key::from_pkcs8(&bytes).map_err(|error| format!("decoding PEM as PKCS#8: {error}"));
        }
        let Some(kind) = label.strip_suffix(" PRIVATE KEY") else {
            return Err(format!("no private key data in PEM block of type {label}"));
        };
        match kind {
            "RSA" => Key::from_pkcs1(&bytes).map_err(|error| format!("parsing RSA private key from PEM: {error}")),
            "EC" => Key::from_sec1(&bytes, None).map_err(|error| format!("parsing EC private key from PEM: {error}")),
            "DSA" => dsa::DsaKey::read(&bytes)
                .map(|key| Key(Inner::Dsa(key)))
                .ok_or_else(|| "parsing DSA private key from PEM: asn1: structure error: it is no DSA key".to_owned()),
            other => Err(format!("invalid private key type {other}")),
        }
    }

    fn from_pkcs1(bytes: &[u8]) -> Result<Key, String> {
        RsaKey::read(bytes).map(|key| Key(Inner::Rsa(key))).map_err(|error| match error {
            Some(error) => error.to_owned(),
            None => other_form(bytes, "asn1: structure error: it is no RSA key"),
        })
    }

    fn from_sec1(bytes: &[u8], curve: Option<&[u8]>) -> Result<Key, String> {
        let other = || other_form(bytes, "x509: failed to parse EC private key: asn1: structure error");
        let mut body = der::only_sequence(bytes).ok_or_else(other)?;
        let version = body.take(tag::INTEGER).ok_or_else(other)?;
        let secret = body.take(tag::OCTET_STRING).ok_or_else(other)?;
        if version != [1] {
            return Err("x509: unknown EC private key version".to_owned());
        }
        let inner = body.take(tag::context(0)).and_then(|named| der::Reader(named).take(tag::OID));
        let invalid = |_| "crypto/ecdh: invalid private key".to_owned();
        let sized = |size| scalar(secret, size).ok_or_else(|| "x509: invalid private key length".to_owned());
        match curve.or(inner) {
            Some(P256) => Ok(Key(Inner::P256(p256::SecretKey::from_slice(&sized(32)?).map_err(invalid)?))),
            Some(P384) => Ok(Key(Inner::P384(p384::SecretKey::from_slice(&sized(48)?).map_err(invalid)?))),
            _ => Err("x509: unknown elliptic curve: keys on P-256 and P-384 are supported here".to_owned()),
        }
    }

    fn from_pkcs8(bytes: &[u8]) -> Result<Key, String> {
        let parts = || {
            let mut body = der::only_sequence(bytes)?;
            body.number()?;
            let mut algorithm = body.sequence()?;
            let id = algorithm.take(tag::OID)?;
            Some((id, algorithm, body.take(tag::OCTET_STRING)?))
        };
        let Some((id, mut parameters, inner)) = parts() else {
            return Err(other_form(bytes, "asn1: structure error: it is no PKCS#8 key"));
        };
        match id {
            RSA => Key::from_pkcs1(inner)
                .map_err(|error| format!("x509: failed to parse RSA private key embedded in PKCS#8: {error}")),
            EC => Key::from_sec1(inner, parameters.take(tag::OID))
                .map_err(|error| format!("x509: failed to parse EC private key embedded in PKCS#8: {error}")),
            ED25519 => {
                let seed = der::Reader(inner).take(tag::OCTET_STRING).and_then(|seed| <[u8; 32]>::try_from(seed).ok());
                seed.map(|seed| Key(Inner::Ed25519(Box::new(seed))))
                    .ok_or_else(|| "x509: invalid Ed25519 private key".to_owned())
            }
            _ => Err("x509: PKCS#8 wrapping contained private key with unknown algorithm".to_owned()),
        }
    }

    /// Returns what a certificate says of the public key in its bit string.
    fn public_bits(&self) -> Vec<u8> {
        match &self.0 {
            Inner::Rsa(key) => key.public(),
            Inner::Dsa(_) => Vec::new(),
            Inner::P256(key) => key.public_key().to_encoded_point(false).as_bytes().to_vec(),
            Inner::P384(key) => key.public_key().to_encoded_point(false).as_bytes().to_vec(),
            Inner::Ed25519(seed) => match Ed25519KeyPair::from_seed_unchecked(&**seed) {
                Ok(pair) => pair.public_key().as_ref().to_vec(),
                Err(_) => Vec::new(),
            },
        }
    }

    /// Returns the public key as certificates hold it (RFC 5280, 4.1); `None` for what X.509 of Go does not know.
    fn public_info(&self) -> Option<Vec<u8>> {
        let algorithm = match &self.0 {
            Inner::Rsa(_) => der::sequence(&[&oid(RSA), &null()]),
            Inner::Dsa(_) => return None,
            Inner::P256(_) => der::sequence(&[&oid(EC), &oid(P256)]),
            Inner::P384(_) => der::sequence(&[&oid(EC), &oid(P384)]),
            Inner::Ed25519(_) => der::sequence(&[&oid(ED25519)]),
        };
        Some(der::sequence(&[&algorithm, &der::bits(&self.public_bits())]))
    }

    /// Returns the name of the signature algorithm that the key signs with; `None` when it signs no certificates.
    fn signature_algorithm(&self) -> Option<Vec<u8>> {
        Some(match &self.0 {
            Inner::Rsa(_) => der::sequence(&[&oid(SHA256_RSA), &null()]),
            Inner::Dsa(_) => return None,
            Inner::P256(_) => der::sequence(&[&oid(SHA256_ECDSA)]),
            Inner::P384(_) => der::sequence(&[&oid(SHA384_ECDSA)]),
            Inner::Ed25519(_) => der::sequence(&[&oid(ED25519)]),
        })
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        const UNSUPPORTED: &str = "x509: certificate private key does not implement crypto.Signer";
        match &self.0 {
            Inner::Rsa(key) => key.sign(message),
            Inner::Dsa(_) => Err(UNSUPPORTED.to_owned()),
            Inner::P256(key) => {
                let signature: p256::ecdsa::Signature = p256::ecdsa::SigningKey::from(key).sign(message);
                Ok(signature.to_der().as_bytes().to_vec())
            }
            Inner::P384(key) => {
                let signature: p384::ecdsa::Signature = p384::ecdsa::SigningKey::from(key).sign(message);
                Ok(signature.to_der().as_bytes().to_vec())
            }
            Inner::Ed25519(seed) => match Ed25519KeyPair::from_seed_unchecked(&**seed) {
                Ok(pair) => Ok(pair.sign(message).as_ref().to_vec()),
                Err(_) => Err(UNSUPPORTED.to_owned()),
            },
        }
    }
}

/// Names the form that a key has instead of the one that its label promised.
fn other_form(bytes: &[u8], otherwise: &str) -> String {
    let kind = der::only_sequence(bytes).and_then(|mut body| {
        body.number()?;
        let mut ahead = body;
        if ahead.take(tag::OCTET_STRING).is_some() {
            return Some("EC");
        }
        body.sequence().map(|_| "PKCS8")
    });
    match kind {
        Some(kind) => {
            format!("x509: failed to parse private key (use Parse{kind}PrivateKey instead for this key format)")
        }
        None if rsa::looks_like(bytes) => {
            "x509: failed to parse private key (use ParsePKCS1PrivateKey instead for this key format)".to_owned()
        }
        None => otherwise.to_owned(),
    }
}

/// Returns the HMAC of a message with SHA-256 (RFC 2104).
pub(in crate::helm) fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
    ring::hmac::sign(&key, message).as_ref().to_vec()
}

/// Derives 64 bytes of a password as Master Password does: N = 32768, r = 8, p = 2, which takes 32 MiB.
pub(in crate::helm) fn scrypt_64(password: &[u8], salt: &[u8]) -> Option<[u8; 64]> {
    let mut out = [0; 64];
    let parameters = scrypt::Params::new(15, 8, 2).ok()?;
    scrypt::scrypt(password, salt, &parameters, &mut out).ok()?;
    Some(out)
}
