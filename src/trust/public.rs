//! Public keys: what they are called, and whether a signature is theirs.
//!
//! # Invariants
//! - A key is named by the SHA-256 of its SPKI DER, and this module accepts one DER spelling per key; so counting ids is
//!   counting keys.
//! - The algorithm comes from the key, never from a signature. ECDSA is always over SHA-256, as stock cosign verifies it
//!   for both curves; only signatures that others made of images may use what cosign makes by default.

use std::fmt;

use ring::{digest, signature};

use super::{
    Error,
    encoding::{self, Der, tag},
};

/// Names a public key: the SHA-256 of its SPKI DER, shown as hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; 32]);

impl KeyId {
    /// Reads 64 lower-case hex digits.
    pub fn from_hex(text: &str) -> Option<KeyId> {
        encoding::unhex(text).map(KeyId)
    }

    /// Returns the spelling that sigstore bundles use as a hint.
    pub fn hint(&self) -> String {
        encoding::base64(&self.0)
    }

    /// Reads the spelling that sigstore bundles use as a hint.
    pub(super) fn from_hint(text: &str) -> Option<KeyId> {
        encoding::unbase64(text).and_then(|bytes| bytes.try_into().ok()).map(KeyId)
    }

    /// Returns the spelling for people to compare, `SHA256:` and base64 as `ssh-keygen -l` shows keys.
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", encoding::base64_unpadded(&self.0))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encoding::hex(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for KeyId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Names what kind of key it is and how it verifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyAlgorithm {
    /// ECDSA on P-256 with SHA-256; what this project signs with.
    EcdsaP256,
    /// ECDSA on P-384 with SHA-256.
    EcdsaP384,
    /// Ed25519, pure.
    Ed25519,
    /// RSA of 2,048 to 8,192 bits, PKCS#1 v1.5 with SHA-256.
    Rsa,
}

/// Verifies signatures.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: KeyAlgorithm,
    spki: Vec<u8>,
    /// Where the key itself starts in `spki`.
    at: usize,
    id: KeyId,
}

/// The DER in front of an uncompressed point on P-256 (RFC 5480, section 2).
const P256_PREFIX: &[u8] =
    b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
/// The DER in front of an uncompressed point on P-384 (RFC 5480, section 2).
const P384_PREFIX: &[u8] =
    b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22\x03\x62\x00";
/// The DER in front of an Ed25519 key (RFC 8410, section 4).
const ED25519_PREFIX: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
/// The algorithm identifier of an RSA key (RFC 3279, section 2.3.1).
const RSA_ALGORITHM: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";

/// Half the order of P-256 (SEC 2, section 2.4.2): with `s`, also `n - s` is a signature, and the low one is ours.
const P256_HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xde, 0x73, 0x7d,
    0x56, 0xd3, 0x8b, 0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8,
];

const WHAT: &str = "public key";

impl PublicKey {
    /// Reads a `PUBLIC KEY` in PEM form.
    ///
    /// # Errors
    /// [`Error::KeyFile`] when it is no strict PEM or DER, [`Error::UnsupportedKey`] for other types of keys.
    pub fn from_pem(text: &str) -> Result<PublicKey, Error> {
        let (label, der) = encoding::read_pem(text).map_err(|why| Error::KeyFile { what: WHAT, why })?;
        match label {
            "PUBLIC KEY" => PublicKey::from_spki(&der),
            "CERTIFICATE" => Err(Error::KeyFile { what: WHAT, why: "it is a certificate; extract its public key" }),
            label if label.ends_with("PRIVATE KEY") => {
                Err(Error::KeyFile { what: WHAT, why: "it is a private key, which must not be handed around" })
            }
            _ => Err(Error::KeyFile { what: WHAT, why: "the PEM block is not labelled PUBLIC KEY" }),
        }
    }

    /// Reads a SubjectPublicKeyInfo in DER.
    ///
    /// # Errors
    /// As [`PublicKey::from_pem`].
    pub fn from_spki(der: &[u8]) -> Result<PublicKey, Error> {
        let (algorithm, at) = recognise(der)?;
        let mut id = [0; 32];
        id.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
        Ok(PublicKey { algorithm, spki: der.to_owned(), at, id: KeyId(id) })
    }

    /// Makes the key that belongs to a P-256 point in its uncompressed form.
    pub(super) fn from_p256_point(point: &[u8]) -> Result<PublicKey, Error> {
        PublicKey::from_spki(&[P256_PREFIX, point].concat())
    }

    /// Returns the PEM form, as cosign writes it.
    pub fn to_pem(&self) -> String {
        encoding::write_pem("PUBLIC KEY", &self.spki)
    }

    /// Returns the name of the key.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Returns the kind of key.
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// Returns the spelling of the key's name for people to compare.
    pub fn fingerprint(&self) -> String {
        self.id.fingerprint()
    }

    /// Tells whether the signature over the message is by this key.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &dyn signature::VerificationAlgorithm = match self.algorithm {
            KeyAlgorithm::EcdsaP256 => &signature::ECDSA_P256_SHA256_ASN1,
            KeyAlgorithm::EcdsaP384 => &signature::ECDSA_P384_SHA256_ASN1,
            KeyAlgorithm::Ed25519 => &signature::ED25519,
            KeyAlgorithm::Rsa => &signature::RSA_PKCS1_2048_8192_SHA256,
        };
        signature::UnparsedPublicKey::new(algorithm, &self.spki[self.at..]).verify(message, signature).is_ok()
    }

    /// Tells whether a signature that others made of an image is by this key. Beyond what archives are signed with, this
    /// takes what cosign signs with: SHA-384 for P-384, and Ed25519ph (`signature.LoadDefaultSigner` of sigstore with its
    /// default algorithms: `ECDSA_SHA2_384_NISTP384`, `ED25519_PH`).
    pub fn verifies_image(&self, message: &[u8], signature: &[u8]) -> bool {
        if self.verifies(message, signature) {
            return true;
        }
        let key = &self.spki[self.at..];
        match self.algorithm {
            KeyAlgorithm::EcdsaP384 => signature::UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_ASN1, key)
                .verify(message, signature)
                .is_ok(),
            KeyAlgorithm::Ed25519 => ed25519ph(key, message, signature).unwrap_or(false),
            KeyAlgorithm::EcdsaP256 | KeyAlgorithm::Rsa => false,
        }
    }

    /// Tells whether a signature has the one form in which it is written here: minimal DER, and for P-256 the lower of
    /// the two possible values, so that nobody can make a second valid signature from a first.
    pub(super) fn is_canonical(&self, signature: &[u8]) -> bool {
        match self.algorithm {
            KeyAlgorithm::EcdsaP256 => encoding::ecdsa_parts(signature).is_some_and(|(_, s)| {
                s.len() <= 32 && {
                    let mut padded = [0; 32];
                    padded[32 - s.len()..].copy_from_slice(s);
                    padded <= P256_HALF_ORDER
                }
            }),
            KeyAlgorithm::EcdsaP384 => encoding::ecdsa_parts(signature).is_some(),
            KeyAlgorithm::Ed25519 | KeyAlgorithm::Rsa => true,
        }
    }
}

/// Verifies Ed25519ph with an empty context (RFC 8032, section 5.1), which ring does not know; strictly, without points of
/// small order.
fn ed25519ph(key: &[u8], message: &[u8], signature: &[u8]) -> Option<bool> {
    use ed25519_dalek::{Digest as _, Sha512, Signature, VerifyingKey};
    let key = VerifyingKey::from_bytes(key.try_into().ok()?).ok()?;
    let signature = Signature::from_slice(signature).ok()?;
    let hashed = Sha512::new().chain_update(message);
    Some(key.verify_prehashed_strict(hashed, None, &signature).is_ok())
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({:?} {})", self.algorithm, self.id)
    }
}

/// Finds the algorithm and where the key starts. Fixed prefixes leave no room for a second spelling.
fn recognise(der: &[u8]) -> Result<(KeyAlgorithm, usize), Error> {
    let broken = |why| Error::KeyFile { what: WHAT, why };
    if let Some(point) = der.strip_prefix(P256_PREFIX) {
        // An uncompressed point starts with 4 (SEC 1, section 2.3.3); other forms would be second names for the key.
        if point.len() != 65 || point[0] != 4 || p256::PublicKey::from_sec1_bytes(point).is_err() {
            return Err(broken("the point is not on the curve P-256"));
        }
        return Ok((KeyAlgorithm::EcdsaP256, P256_PREFIX.len()));
    }
    if let Some(point) = der.strip_prefix(P384_PREFIX) {
        if point.len() != 97 || point[0] != 4 {
            return Err(broken("the point is not on the curve P-384"));
        }
        return Ok((KeyAlgorithm::EcdsaP384, P384_PREFIX.len()));
    }
    if let Some(key) = der.strip_prefix(ED25519_PREFIX) {
        if key.len() != 32 {
            return Err(broken("an Ed25519 key has 32 bytes"));
        }
        return Ok((KeyAlgorithm::Ed25519, ED25519_PREFIX.len()));
    }
    let mut outer = Der(der);
    let content = outer.take(tag::SEQUENCE).ok_or_else(|| broken("it is not canonical DER"))?;
    outer.end().ok_or_else(|| broken("something follows the key"))?;
    let Some(rest) = content.strip_prefix(RSA_ALGORITHM) else {
        return Err(Error::UnsupportedKey {
            what: "this type of public key",
            hint: "use ECDSA on P-256 or P-384, Ed25519, or RSA",
        });
    };
    let bits = rsa_bits(rest).ok_or_else(|| broken("the RSA key is not canonical DER"))?;
    // ring verifies no other sizes: smaller ones are breakable, larger ones a way to waste time.
    if !(2048..=8192).contains(&bits) {
        return Err(Error::UnsupportedKey { what: "an RSA key of this size", hint: "2,048 to 8,192 bits are" });
    }
    let mut inner = Der(rest);
    let key = inner.take(tag::BIT_STRING).ok_or_else(|| broken("the RSA key is not canonical DER"))?;
    Ok((KeyAlgorithm::Rsa, der.len() - key.len() + 1))
}

fn rsa_bits(bit_string: &[u8]) -> Option<usize> {
    let mut outer = Der(bit_string);
    let key = outer.take(tag::BIT_STRING)?.strip_prefix(&[0])?;
    outer.end()?;
    let mut outer = Der(key);
    let mut inner = Der(outer.take(tag::SEQUENCE)?);
    outer.end()?;
    let modulus = inner.positive()?;
    inner.positive()?;
    inner.end()?;
    Some(modulus.len() * 8 - modulus.first()?.leading_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::encoding::{base64, write_pem};
    use proptest::prelude::*;
    use ring::{
        rand::SystemRandom,
        signature::{Ed25519KeyPair, KeyPair as _},
    };

    const P384: &str = include_str!("../../tests/data/keys/p384.pub");
    const RSA: &str = include_str!("../../tests/data/keys/rsa.pub");
    const COSIGN: &str = include_str!("../../tests/data/keys/cosign.pub");

    #[test]
    fn knows_its_names() {
        let key = PublicKey::from_pem(COSIGN).unwrap();
        assert_eq!(key.algorithm(), KeyAlgorithm::EcdsaP256);
        assert_eq!(key.to_pem(), COSIGN);
        assert_eq!(KeyId::from_hex(&key.id().to_string()), Some(key.id()));
        assert_eq!(KeyId::from_hint(&key.id().hint()), Some(key.id()));
        assert_eq!(key.fingerprint(), format!("SHA256:{}", key.id().hint().trim_end_matches('=')));
    }

    #[test]
    fn reads_every_supported_type_and_names_the_others() {
        assert_eq!(PublicKey::from_pem(P384).unwrap().algorithm(), KeyAlgorithm::EcdsaP384);
        assert_eq!(PublicKey::from_pem(RSA).unwrap().algorithm(), KeyAlgorithm::Rsa);
        // Ed448 (RFC 8410): a type that is not supported.
        let mut ed448 = b"\x30\x43\x30\x05\x06\x03\x2b\x65\x71\x03\x3a\x00".to_vec();
        ed448.extend([9; 57]);
        let result = PublicKey::from_pem(&write_pem("PUBLIC KEY", &ed448));
        assert!(matches!(result, Err(Error::UnsupportedKey { .. })), "{result:?}");
        for label in ["PRIVATE KEY", "CERTIFICATE", "RSA PUBLIC KEY"] {
            assert!(PublicKey::from_pem(&COSIGN.replace("PUBLIC KEY", label)).is_err());
        }
    }

    #[test]
    fn verifies_what_openssl_signed() {
        let message = include_bytes!("../../tests/data/keys/message.txt");
        let signed: [(&str, &[u8]); 2] = [
            (P384, include_bytes!("../../tests/data/keys/p384.sig")),
            (RSA, include_bytes!("../../tests/data/keys/rsa.sig")),
        ];
        for (pem, signature) in signed {
            let key = PublicKey::from_pem(pem).unwrap();
            assert!(key.verifies(message, signature) && key.is_canonical(signature), "{key:?}");
            assert!(!key.verifies(&message[1..], signature));
        }
    }

    #[test]
    fn verifies_ed25519() {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let key = PublicKey::from_spki(&[ED25519_PREFIX, pair.public_key().as_ref()].concat()).unwrap();
        let signature = pair.sign(b"x");
        assert!(key.verifies(b"x", signature.as_ref()) && !key.verifies(b"y", signature.as_ref()));
    }

    #[test]
    fn a_point_off_the_curve_or_in_another_form_is_refused() {
        let good = PublicKey::from_pem(COSIGN).unwrap().spki;
        let mut off = good.clone();
        *off.last_mut().unwrap() ^= 1;
        assert!(PublicKey::from_spki(&off).is_err());
        let mut hybrid = good.clone();
        hybrid[P256_PREFIX.len()] = 6;
        assert!(PublicKey::from_spki(&hybrid).is_err());
        assert!(PublicKey::from_spki(&[&good[..], &[0]].concat()).is_err());
        assert!(PublicKey::from_pem(&COSIGN.replace(&base64(&good)[..8], "MFkwEwYI")).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn reading_is_total(noise in proptest::collection::vec(any::<u8>(), 0..80), at in 0usize..300, which in 0usize..3) {
            let pem = [COSIGN, P384, RSA][which];
            let mut bytes = pem.as_bytes().to_vec();
            for (slot, byte) in bytes.iter_mut().skip(at).zip(&noise) { *slot ^= byte; }
            let _ = PublicKey::from_pem(&String::from_utf8_lossy(&bytes));
            let mut der = PublicKey::from_pem(pem).unwrap().spki;
            for (slot, byte) in der.iter_mut().skip(at % 100).zip(&noise) { *slot ^= byte; }
            if let Ok(key) = PublicKey::from_spki(&der) {
                let _ = (key.verifies(b"x", &noise), key.verifies_image(b"x", &noise));
                prop_assert_eq!(PublicKey::from_pem(&key.to_pem()), Ok(key));
            }
            let _ = PublicKey::from_spki(&noise);
        }
    }
}
