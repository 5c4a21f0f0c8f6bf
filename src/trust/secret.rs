//! Private keys: made, sealed with a passphrase, opened, and used.
//!
//! The sealed form is cosign's: scrypt turns the passphrase into a key for NaCl's secretbox, which holds the PKCS#8 form.
//!
//! # Invariants
//! - Secrets are wiped from memory when they are dropped, and never shown: `Debug` names the public key only.
//! - The same key and message always give the same signature (`docs/decisions/0003-deterministic-signatures.md`).
//! - A key file cannot ask for more work than the strongest allowed derivation (128 MiB of memory).

use std::fmt;

use crypto_secretbox::{Key, KeyInit as _, Nonce, XSalsa20Poly1305, aead::Aead as _};
use p256::{
    ecdsa::signature::Signer as _,
    pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _},
};
use ring::rand::SecureRandom as _;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    Error, PublicKey,
    encoding::{self, Der, tag},
};

/// Gives random bytes.
pub trait Randomness {
    /// Fills the slice.
    ///
    /// # Errors
    /// [`Error::NoRandomness`] when the source failed.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Error>;
}

/// Takes random bytes from the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandomness;

impl Randomness for SystemRandomness {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        ring::rand::SystemRandom::new().fill(bytes).map_err(|_| Error::NoRandomness)
    }
}

/// Holds a passphrase; empty is legal, as in cosign.
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// Takes the bytes over; they are wiped in the end.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Passphrase(Zeroizing::new(bytes.into()))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(redacted)")
    }
}

/// Signs, with ECDSA on P-256 and SHA-256.
pub struct SigningKey {
    secret: p256::SecretKey,
    public: PublicKey,
}

/// What cosign writes today.
const LABEL: &str = "ENCRYPTED SIGSTORE PRIVATE KEY";
/// What cosign wrote before version 2, and still reads.
const OLD_LABEL: &str = "ENCRYPTED COSIGN PRIVATE KEY";
/// The cost that every reader accepts: one widespread reader refuses 131,072.
const WRITTEN_N: u64 = 1 << 16;
/// The costs that cosign accepts, as exponents of two.
const ACCEPTED_LOG_N: [u8; 3] = [15, 16, 17];
const WHAT: &str = "private key";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kdf {
    name: String,
    params: KdfParams,
    salt: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KdfParams {
    #[serde(rename = "N")]
    n: u64,
    r: u64,
    p: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cipher {
    name: String,
    nonce: String,
}

fn broken(why: &'static str) -> Error {
    Error::KeyFile { what: WHAT, why }
}

impl SigningKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`Error::NoRandomness`].
    pub fn generate(random: &mut dyn Randomness) -> Result<SigningKey, Error> {
        let mut bytes = Zeroizing::new([0; 32]);
        // One draw in 2^32 lies outside the curve's order; a source that never hits it is broken.
        for _ in 0..16 {
            random.fill(bytes.as_mut())?;
            if let Ok(secret) = p256::SecretKey::from_slice(bytes.as_ref()) {
                return SigningKey::from_secret(secret);
            }
        }
        Err(Error::NoRandomness)
    }

    /// Opens a sealed key in PEM form.
    ///
    /// # Errors
    /// [`Error::WrongPassphrase`]; [`Error::UnencryptedKey`] when the key is not sealed; [`Error::KeyFile`],
    /// [`Error::KeyDerivation`] and [`Error::UnsupportedKey`] when the file is not what cosign writes for a P-256 key.
    pub fn open(pem: &str, passphrase: &Passphrase) -> Result<SigningKey, Error> {
        let (label, json) = encoding::read_pem(pem).map_err(broken)?;
        match label {
            LABEL | OLD_LABEL => {}
            "PRIVATE KEY" | "EC PRIVATE KEY" | "RSA PRIVATE KEY" => return Err(Error::UnencryptedKey),
            "ENCRYPTED PRIVATE KEY" => {
                return Err(Error::UnsupportedKey {
                    what: "a key encrypted by OpenSSL",
                    hint: "decrypt it and import it, or make a new one",
                });
            }
            _ => return Err(broken("the PEM block is not labelled as an encrypted private key")),
        }
        let sealed: Sealed = encoding::read_json(&json)
            .and_then(|value| serde_json::from_value(value).map_err(|_| "its fields are not those of a sealed key"))
            .map_err(broken)?;
        if sealed.kdf.name != "scrypt" || sealed.cipher.name != "nacl/secretbox" {
            return Err(broken("it is not sealed with scrypt and nacl/secretbox"));
        }
        let KdfParams { n, r, p } = sealed.kdf.params;
        let log_n = ACCEPTED_LOG_N
            .into_iter()
            .find(|log_n| 1 << log_n == n && (r, p) == (8, 1))
            .ok_or(Error::KeyDerivation { n, r, p })?;
        let salt = encoding::unbase64(&sealed.kdf.salt).filter(|salt| salt.len() == 32);
        let nonce = encoding::unbase64(&sealed.cipher.nonce).filter(|nonce| nonce.len() == 24);
        let (Some(salt), Some(nonce), Some(ciphertext)) = (salt, nonce, encoding::unbase64(&sealed.ciphertext)) else {
            return Err(broken("salt, nonce or ciphertext are not base64 of the right length"));
        };
        let secretbox = secretbox(passphrase, &salt, log_n)?;
        let opened = secretbox.decrypt(Nonce::from_slice(&nonce), ciphertext.as_slice());
        let pkcs8 = Zeroizing::new(opened.map_err(|_| Error::WrongPassphrase)?);
        SigningKey::from_pkcs8(&pkcs8)
    }

    /// Reads a key that lies open: `PRIVATE KEY` (PKCS#8) or `EC PRIVATE KEY` (SEC 1). Calling this is the statement that
    /// an unencrypted key is meant.
    ///
    /// # Errors
    /// [`Error::KeyFile`] and [`Error::UnsupportedKey`].
    pub fn import_unencrypted(pem: &str) -> Result<SigningKey, Error> {
        let (label, der) = encoding::read_pem(pem).map_err(broken)?;
        match label {
            "PRIVATE KEY" => SigningKey::from_pkcs8(&der),
            "EC PRIVATE KEY" => {
                if !sec1_names_p256(&der) {
                    return Err(not_p256());
                }
                SigningKey::from_secret(
                    p256::SecretKey::from_sec1_der(&der).map_err(|_| broken("it is no valid key on P-256"))?,
                )
            }
            "RSA PRIVATE KEY" => Err(not_p256()),
            _ => Err(broken("the PEM block is not labelled PRIVATE KEY or EC PRIVATE KEY")),
        }
    }

    /// Returns the sealed form of the key, as `cosign generate-key-pair` writes it.
    ///
    /// # Errors
    /// [`Error::NoRandomness`].
    pub fn seal(&self, passphrase: &Passphrase, random: &mut dyn Randomness) -> Result<String, Error> {
        let (mut salt, mut nonce) = ([0; 32], [0; 24]);
        random.fill(&mut salt)?;
        random.fill(&mut nonce)?;
        let pkcs8 = self.secret.to_pkcs8_der().map_err(|_| broken("its PKCS#8 form cannot be written"))?;
        let secretbox = secretbox(passphrase, &salt, WRITTEN_N.trailing_zeros() as u8)?;
        let ciphertext = secretbox
            .encrypt(Nonce::from_slice(&nonce), pkcs8.as_bytes())
            .map_err(|_| broken("it cannot be encrypted"))?;
        let sealed = Sealed {
            kdf: Kdf {
                name: "scrypt".to_owned(),
                params: KdfParams { n: WRITTEN_N, r: 8, p: 1 },
                salt: encoding::base64(&salt),
            },
            cipher: Cipher { name: "nacl/secretbox".to_owned(), nonce: encoding::base64(&nonce) },
            ciphertext: encoding::base64(&ciphertext),
        };
        let json = serde_json::to_vec(&sealed).map_err(|_| broken("its sealed form cannot be written"))?;
        Ok(encoding::write_pem(LABEL, &json))
    }

    /// Returns the public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs the message: DER, deterministic (RFC 6979), the lower of the two values of `s`.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature: p256::ecdsa::Signature = p256::ecdsa::SigningKey::from(&self.secret).sign(message);
        signature.normalize_s().unwrap_or(signature).to_der().as_bytes().to_vec()
    }

    fn from_pkcs8(der: &[u8]) -> Result<SigningKey, Error> {
        SigningKey::from_secret(p256::SecretKey::from_pkcs8_der(der).map_err(|_| not_p256())?)
    }

    fn from_secret(secret: p256::SecretKey) -> Result<SigningKey, Error> {
        let public = PublicKey::from_p256_point(&secret.public_key().to_sec1_bytes())?;
        Ok(SigningKey { secret, public })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public.id())
    }
}

fn not_p256() -> Error {
    Error::UnsupportedKey { what: "a private key that is not on P-256", hint: "signing uses ECDSA on P-256" }
}

fn secretbox(passphrase: &Passphrase, salt: &[u8], log_n: u8) -> Result<XSalsa20Poly1305, Error> {
    let mut key = Zeroizing::new([0; 32]);
    let parameters = scrypt::Params::new(log_n, 8, 1).map_err(|_| broken("scrypt cannot run on this machine"))?;
    scrypt::scrypt(&passphrase.0, salt, &parameters, key.as_mut())
        .map_err(|_| broken("scrypt cannot run on this machine"))?;
    Ok(XSalsa20Poly1305::new(Key::from_slice(key.as_ref())))
}

/// Tells whether a SEC 1 private key names P-256 as its curve (RFC 5915, section 3): a key that names another curve of
/// the same size, or none, must not be taken for one of ours.
fn sec1_names_p256(der: &[u8]) -> bool {
    const OCTET_STRING: u8 = 0x04;
    const PARAMETERS: u8 = 0xa0;
    const P256_OID: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
    let mut inner = Der(Der(der).take(tag::SEQUENCE).unwrap_or_default());
    inner.take(tag::INTEGER).is_some() && inner.take(OCTET_STRING).is_some() && inner.take(PARAMETERS) == Some(P256_OID)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COSIGN_KEY: &str = include_str!("../../tests/data/keys/cosign.key");
    const COSIGN_EMPTY: &str = include_str!("../../tests/data/keys/cosign-empty.key");
    const OURS_KEY: &str = include_str!("../../tests/data/keys/ours.key");

    struct Counting(u8);

    impl Randomness for Counting {
        fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
            for byte in bytes {
                self.0 = self.0.wrapping_add(1);
                *byte = self.0;
            }
            Ok(())
        }
    }

    #[test]
    fn opens_what_cosign_and_this_project_sealed() {
        for (pem, passphrase, public) in [
            (COSIGN_KEY, "stock", include_str!("../../tests/data/keys/cosign.pub")),
            (COSIGN_EMPTY, "", include_str!("../../tests/data/keys/cosign-empty.pub")),
            (OURS_KEY, "own", include_str!("../../tests/data/keys/ours.pub")),
        ] {
            let key = SigningKey::open(pem, &Passphrase::new(passphrase)).unwrap();
            assert_eq!(key.public().to_pem(), public);
            let old = pem.replace("SIGSTORE", "COSIGN");
            assert!(SigningKey::open(&old, &Passphrase::new(passphrase)).is_ok());
        }
        assert_eq!(SigningKey::open(COSIGN_KEY, &Passphrase::new("other")).err(), Some(Error::WrongPassphrase));
    }

    #[test]
    fn seals_with_the_bytes_it_is_given() {
        let key = SigningKey::generate(&mut Counting(0)).unwrap();
        let sealed = key.seal(&Passphrase::new(""), &mut Counting(1)).unwrap();
        assert_eq!(sealed, key.seal(&Passphrase::new(""), &mut Counting(1)).unwrap());
        assert_eq!(SigningKey::open(&sealed, &Passphrase::new("")).unwrap().public(), key.public());
        assert!(SigningKey::open(&sealed, &Passphrase::new(" ")).is_err());
        assert!(sealed.lines().all(|line| line.len() <= 64));
    }

    fn edited(change: impl Fn(&str) -> String) -> Result<SigningKey, Error> {
        let (label, json) = encoding::read_pem(COSIGN_KEY).unwrap();
        let json = change(std::str::from_utf8(&json).unwrap());
        SigningKey::open(&encoding::write_pem(label, json.as_bytes()), &Passphrase::new("stock"))
    }

    #[test]
    fn refuses_other_derivations_and_second_spellings() {
        assert!(edited(str::to_owned).is_ok());
        for n in ["1", "16384", "262144", "1073741824"] {
            let result = edited(|json| json.replace("65536", n));
            assert!(matches!(result, Err(Error::KeyDerivation { .. })), "{n}");
        }
        assert!(matches!(edited(|json| json.replace("\"r\":8", "\"r\":9")), Err(Error::KeyDerivation { .. })));
        assert!(matches!(edited(|json| json.replace("\"p\":1", "\"p\":64")), Err(Error::KeyDerivation { .. })));
        for (from, to) in [
            ("\"r\":8", "\"r\":8,\"r\":8"),
            ("\"r\":8", "\"r\":8,\"x\":8"),
            ("scrypt", "argon2"),
            ("nacl/secretbox", "none"),
            ("\"nonce\":\"", "\"nonce\":\"AA"),
            ("\"N\":65536", "\"N\":-1"),
        ] {
            assert!(matches!(edited(|json| json.replace(from, to)), Err(Error::KeyFile { .. })), "{from} {to}");
        }
    }

    #[test]
    fn imports_open_keys_only_when_told() {
        let pkcs8 = include_str!("../../tests/data/keys/open-pkcs8.pem");
        let sec1 = include_str!("../../tests/data/keys/open-sec1.pem");
        assert_eq!(SigningKey::open(pkcs8, &Passphrase::new("")).err(), Some(Error::UnencryptedKey));
        let key = SigningKey::import_unencrypted(pkcs8).unwrap();
        assert_eq!(SigningKey::import_unencrypted(sec1).unwrap().public(), key.public());
        assert!(SigningKey::import_unencrypted(COSIGN_KEY).is_err());
        let (_, der) = encoding::read_pem(sec1).unwrap();
        let mut other = der.to_vec();
        let oid = other.windows(8).position(|at| at == b"\x2a\x86\x48\xce\x3d\x03\x01\x07").unwrap();
        other[oid + 7] = 1;
        assert!(SigningKey::import_unencrypted(&encoding::write_pem("EC PRIVATE KEY", &other)).is_err());
    }

    #[test]
    fn signatures_are_deterministic_low_and_verify() {
        let key = SigningKey::open(OURS_KEY, &Passphrase::new("own")).unwrap();
        for n in 0..64u8 {
            let signature = key.sign(&[n]);
            assert_eq!(signature, key.sign(&[n]));
            assert!(key.public().verifies(&[n], &signature) && key.public().is_canonical(&signature));
        }
    }

    #[test]
    fn the_other_value_of_s_verifies_and_is_not_canonical() {
        let key = SigningKey::open(OURS_KEY, &Passphrase::new("own")).unwrap();
        let low = p256::ecdsa::Signature::from_der(&key.sign(b"x")).unwrap();
        let high = p256::ecdsa::Signature::from_scalars(low.r().to_bytes(), (-*low.s()).to_bytes()).unwrap().to_der();
        assert!(key.public().verifies(b"x", high.as_bytes()));
        assert!(!key.public().is_canonical(high.as_bytes()));
    }

    #[test]
    fn rfc_6979_vector() {
        // RFC 6979, appendix A.2.5, SHA-256, message "sample"; its `s` is the high one, so `n - s` is expected here.
        let secret = encoding::unhex("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721").unwrap();
        let key = SigningKey::from_secret(p256::SecretKey::from_slice(&secret).unwrap()).unwrap();
        let signature = p256::ecdsa::Signature::from_der(&key.sign(b"sample")).unwrap();
        let expected = p256::ecdsa::Signature::from_scalars(
            encoding::unhex("efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716").unwrap(),
            encoding::unhex("f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8").unwrap(),
        )
        .unwrap();
        assert_eq!(signature, expected.normalize_s().unwrap());
    }

    #[test]
    fn secrets_are_not_shown() {
        let key = SigningKey::generate(&mut Counting(0)).unwrap();
        assert_eq!(format!("{key:?}"), format!("SigningKey({})", key.public().id()));
        assert!(!format!("{:?}", Passphrase::new("secret")).contains("secret"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn opening_is_total(noise in proptest::collection::vec(1u8.., 1..40), at in 0usize..60) {
            // Changes stay in front of the salt, where none leaves a legal file: each would cost a run of scrypt.
            let (label, json) = encoding::read_pem(COSIGN_KEY).unwrap();
            let mut json = json.to_vec();
            for (slot, byte) in json.iter_mut().skip(at).zip(&noise) { *slot ^= byte; }
            prop_assert!(SigningKey::open(&encoding::write_pem(label, &json), &Passphrase::new("stock")).is_err());
            prop_assert!(SigningKey::open(&encoding::write_pem(label, &noise), &Passphrase::new("")).is_err());
            let mut der = encoding::read_pem(include_str!("../../tests/data/keys/open-sec1.pem")).unwrap().1.to_vec();
            for (slot, byte) in der.iter_mut().skip(at).zip(&noise) { *slot ^= byte; }
            for der in [&der, &noise] {
                let _ = SigningKey::import_unencrypted(&encoding::write_pem("PRIVATE KEY", der));
                let _ = SigningKey::import_unencrypted(&encoding::write_pem("EC PRIVATE KEY", der));
            }
        }
    }
}
