//! RSA keys (RFC 8017): made, read, written, used to sign.
//!
//! Chart keys are made for one rendering and written into manifests, so nobody can time the arithmetic from outside:
//! it need not run in constant time.

use num_bigint::BigUint;

use super::{
    der::{self, Reader},
    primes::{self, Random},
};
use crate::oci::Digest;

/// The public exponent that everyone uses (Go's `rsa.GenerateKey` too).
const EXPONENT: u32 = 65_537;

/// Keys of charts beyond this would only cost time.
const MAX_BITS: u64 = 8192;

/// Go refuses to sign with less (`crypto/rsa`, "Minimum key size").
const MIN_BITS: u64 = 1024;

/// The DER of a DigestInfo of SHA-256 up to the digest (RFC 8017, 9.2, note 1).
const SHA256_INFO: &[u8] =
    &[0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20];

/// An RSA key of two primes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RsaKey {
    n: BigUint,
    e: BigUint,
    d: BigUint,
    p: BigUint,
    q: BigUint,
}

impl RsaKey {
    /// Makes a key of so many bits.
    pub(super) fn generate(bits: usize, random: Random<'_>) -> RsaKey {
        loop {
            let p = primes::prime(bits / 2, random);
            let q = primes::prime(bits / 2, random);
            if let Some(key) = RsaKey::of_primes(p, q) {
                return key;
            }
        }
    }

    /// Makes the key of two primes; `None` when they do not fit the exponent.
    pub(super) fn of_primes(p: BigUint, q: BigUint) -> Option<RsaKey> {
        let (p1, q1) = (&p - 1u32, &q - 1u32);
        let e = BigUint::from(EXPONENT);
        if p == q {
            return None;
        }
        let period = &p1 * &q1 / primes::common_divisor(&p1, &q1);
        let d = e.modinv(&period)?;
        Some(RsaKey { n: &p * &q, e, d, p, q })
    }

    fn remainders(&self) -> (BigUint, BigUint, Option<BigUint>) {
        (&self.d % (&self.p - 1u32), &self.d % (&self.q - 1u32), self.q.modinv(&self.p))
    }

    /// Writes the key as PKCS#1 (RFC 8017, A.1.2).
    pub(super) fn to_der(&self) -> Vec<u8> {
        let (dp, dq, inverse) = self.remainders();
        let zero = BigUint::from(0u8);
        let inverse = inverse.unwrap_or_default();
        let numbers = [&zero, &self.n, &self.e, &self.d, &self.p, &self.q, &dp, &dq, &inverse];
        der::element(der::tag::SEQUENCE, &numbers.map(der::integer).concat())
    }

    /// Reads a PKCS#1 key.
    ///
    /// # Errors
    /// What is wrong with it; `None` when it has another form.
    pub(super) fn read(bytes: &[u8]) -> Result<RsaKey, Option<&'static str>> {
        let mut body = der::only_sequence(bytes).ok_or(None)?;
        let mut number = || body.number().ok_or(None);
        let version = number()?;
        let (n, e, d, p, q) = (number()?, number()?, number()?, number()?, number()?);
        let (_dp, _dq, _inverse) = (number()?, number()?, number()?);
        if version != BigUint::from(0u8) {
            return Err(Some("x509: unsupported private key version"));
        }
        if !body.is_done() {
            return Err(None);
        }
        let one = BigUint::from(1u8);
        if n.bits() > MAX_BITS {
            return Err(Some("crypto/rsa: keys of more than 8192 bits are not supported here"));
        }
        if p <= one || q <= one || &p * &q != n {
            return Err(Some("crypto/rsa: invalid prime value"));
        }
        if !e.bit(0) || e.bits() > 32 || e <= one {
            return Err(Some("crypto/rsa: invalid public exponent"));
        }
        let product = &e * &d;
        if [&p, &q].iter().any(|prime| &product % (*prime - 1u32) != one) {
            return Err(Some("crypto/rsa: invalid private exponent"));
        }
        Ok(RsaKey { n, e, d, p, q })
    }

    /// Returns the public key (RFC 8017, A.1.1).
    pub(super) fn public(&self) -> Vec<u8> {
        der::sequence(&[&der::integer(&self.n), &der::integer(&self.e)])
    }

    /// Signs with PKCS#1 v1.5 and SHA-256 (RFC 8017, 8.2.1).
    ///
    /// # Errors
    /// Go's message for a key that is too small.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        if self.n.bits() < MIN_BITS {
            return Err(format!(
                "crypto/rsa: {}-bit keys are insecure (see https://go.dev/pkg/crypto/rsa#hdr-Minimum_key_size)",
                self.n.bits()
            ));
        }
        let size = self.n.bits().div_ceil(8) as usize;
        let digest = Digest::sha256(message);
        let digest = match &digest {
            Digest::Sha256(bytes) => &bytes[..],
            Digest::Sha512(bytes) => &bytes[..],
        };
        let tail = [&[0], SHA256_INFO, digest].concat();
        let mut block = vec![0xff; size];
        (block[0], block[1]) = (0, 1);
        block[size - tail.len()..].copy_from_slice(&tail);
        let number = BigUint::from_bytes_be(&block);
        let (dp, dq, inverse) = self.remainders();
        // The Chinese remainder theorem (RFC 8017, 5.2.1): a quarter of the work.
        let signed = match inverse {
            Some(inverse) => {
                let (a, b) = (number.modpow(&dp, &self.p), number.modpow(&dq, &self.q));
                let difference = (&a + &self.p - &b % &self.p) % &self.p;
                b + difference * inverse % &self.p * &self.q
            }
            None => number.modpow(&self.d, &self.n),
        };
        let bytes = signed.to_bytes_be();
        let mut out = vec![0; size.saturating_sub(bytes.len())];
        out.extend(bytes);
        Ok(out)
    }
}

/// Tells whether bytes have the outer form of a PKCS#1 key.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    der::only_sequence(bytes).is_some_and(|mut body: Reader<'_>| (0..9).all(|_| body.number().is_some()))
}
