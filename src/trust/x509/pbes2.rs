//! Private keys under a password: `ENCRYPTED PRIVATE KEY` (RFC 5958, section 3) by PBES2 (RFC 8018) with AES-256-CBC.
//!
//! Written with scrypt (RFC 7914); PBKDF2 is read too, because `openssl pkcs8 -topk8` writes it.
//!
//! # Invariants
//! - A file cannot ask for more work than [`MAX_SCRYPT`] or [`MAX_ROUNDS`].
//! - What is decrypted is wiped when dropped.

use std::num::NonZeroU32;

use aes::cipher::{BlockCipherDecrypt as _, BlockCipherEncrypt as _, KeyInit as _};
use zeroize::Zeroizing;

use super::Error;
use crate::trust::{
    Passphrase, Randomness,
    encoding::{Der, element, tag},
};

/// id-PBES2, id-scrypt, id-PBKDF2, id-hmacWithSHA256 (RFC 8018, appendix C; RFC 7914, section 7) and id-aes256-CBC.
const PBES2: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d";
const SCRYPT: &[u8] = b"\x2b\x06\x01\x04\x01\xda\x47\x04\x0b";
const PBKDF2: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0c";
const HMAC_SHA256: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x02\x09";
const AES256_CBC: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x01\x2a";

/// 16 MiB of memory: OpenSSL refuses scrypt with 32 MiB or more. Five passes make up for it, by OWASP's table of parameters
/// of equal strength.
const LOG_N: u8 = 14;
const R: u32 = 8;
const P: u32 = 5;
/// The most that a file may ask for: N·r·p, and N·r, which takes 128 bytes of memory each.
const MAX_SCRYPT: (u64, u64) = (1 << 23, 1 << 20);
/// OpenSSL writes 2,048 unless told otherwise.
const MAX_ROUNDS: u32 = 10_000_000;

const KEY: usize = 32;
const BLOCK: usize = 16;

fn number(value: u64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1);
    let mut digits = bytes[first..].to_vec();
    if digits[0] >= 0x80 {
        digits.insert(0, 0);
    }
    element(tag::INTEGER, &[&digits])
}

/// Returns the encrypted form of a PKCS#8 key, in DER.
pub(super) fn seal(pkcs8: &[u8], password: &Passphrase, random: &mut dyn Randomness) -> Result<Vec<u8>, Error> {
    if password.bytes().is_empty() {
        return Err(Error::EmptyPassword);
    }
    let (mut salt, mut iv) = ([0; 16], [0; BLOCK]);
    random.fill(&mut salt)?;
    random.fill(&mut iv)?;
    let key = scrypt_key(password, &salt, LOG_N, R, P)?;
    let cipher = aes::Aes256::new(&(*key).into());
    // PKCS#7 padding: always at least one byte, each holding how many there are.
    let pad = BLOCK - pkcs8.len() % BLOCK;
    let mut data = Zeroizing::new(pkcs8.to_vec());
    data.extend(std::iter::repeat_n(pad as u8, pad));
    let mut previous = iv;
    let mut sealed = Vec::with_capacity(data.len());
    for chunk in data.chunks_exact(BLOCK) {
        let mut block = [0; BLOCK];
        for (slot, (byte, before)) in block.iter_mut().zip(chunk.iter().zip(previous)) {
            *slot = byte ^ before;
        }
        let mut block = block.into();
        cipher.encrypt_block(&mut block);
        previous = block.into();
        sealed.extend_from_slice(&previous);
    }
    let numbers = [number(1 << LOG_N), number(R.into()), number(P.into()), number(KEY as u64)];
    let parameters =
        [&element(tag::OCTET_STRING, &[&salt])[..], &numbers[0], &numbers[1], &numbers[2], &numbers[3]].concat();
    let kdf = element(tag::SEQUENCE, &[&element(tag::OID, &[SCRYPT]), &element(tag::SEQUENCE, &[&parameters])]);
    let scheme = element(tag::SEQUENCE, &[&element(tag::OID, &[AES256_CBC]), &element(tag::OCTET_STRING, &[&iv])]);
    let algorithm = element(tag::SEQUENCE, &[&element(tag::OID, &[PBES2]), &element(tag::SEQUENCE, &[&kdf, &scheme])]);
    Ok(element(tag::SEQUENCE, &[&algorithm, &element(tag::OCTET_STRING, &[&sealed])]))
}

fn scrypt_key(password: &Passphrase, salt: &[u8], log_n: u8, r: u32, p: u32) -> Result<Zeroizing<[u8; KEY]>, Error> {
    let wrong = |_| Error::Encryption("its scrypt parameters make no sense");
    let parameters =
        scrypt::Params::new(log_n, r, p).map_err(|_| Error::Encryption("its scrypt parameters make no sense"))?;
    let mut key = Zeroizing::new([0; KEY]);
    scrypt::scrypt(password.bytes(), salt, &parameters, key.as_mut()).map_err(wrong)?;
    Ok(key)
}

/// What the outer structure says.
struct Sealed<'a> {
    kdf: Kdf<'a>,
    iv: [u8; BLOCK],
    data: &'a [u8],
}

enum Kdf<'a> {
    Scrypt { salt: &'a [u8], log_n: u8, r: u32, p: u32 },
    Pbkdf2 { salt: &'a [u8], rounds: NonZeroU32 },
}

fn small(digits: &[u8]) -> Option<u64> {
    (digits.len() <= 8).then(|| digits.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)))
}

impl<'a> Sealed<'a> {
    fn read(der: &'a [u8]) -> Option<Result<Sealed<'a>, Error>> {
        let mut all = Der(der);
        let mut outer = Der(all.take(tag::SEQUENCE)?);
        all.end()?;
        let mut algorithm = Der(outer.take(tag::SEQUENCE)?);
        let data = outer.take(tag::OCTET_STRING)?;
        outer.end()?;
        if algorithm.take(tag::OID)? != PBES2 {
            return Some(Err(Error::Encryption("its scheme is not PBES2")));
        }
        let mut parameters = Der(algorithm.take(tag::SEQUENCE)?);
        let mut kdf = Der(parameters.take(tag::SEQUENCE)?);
        let mut scheme = Der(parameters.take(tag::SEQUENCE)?);
        parameters.end()?;
        algorithm.end()?;
        if scheme.take(tag::OID)? != AES256_CBC {
            return Some(Err(Error::Encryption("its cipher is not AES-256-CBC")));
        }
        let iv = scheme.take(tag::OCTET_STRING)?.try_into().ok()?;
        scheme.end()?;
        let kind = kdf.take(tag::OID)?;
        let mut fields = Der(kdf.take(tag::SEQUENCE)?);
        kdf.end()?;
        let salt = fields.take(tag::OCTET_STRING)?;
        let kdf = match kind {
            SCRYPT => {
                let (n, r, p) = (small(fields.positive()?)?, small(fields.positive()?)?, small(fields.positive()?)?);
                if !fields.0.is_empty() && small(fields.positive()?)? != KEY as u64 {
                    return None;
                }
                fields.end()?;
                let work = n.checked_mul(r).and_then(|memory| Some((memory.checked_mul(p)?, memory)));
                match work {
                    Some((work, memory)) if n.is_power_of_two() && work <= MAX_SCRYPT.0 && memory <= MAX_SCRYPT.1 => {}
                    _ => return Some(Err(Error::Encryption("its scrypt parameters ask for too much work"))),
                }
                Kdf::Scrypt { salt, log_n: n.trailing_zeros() as u8, r: r.try_into().ok()?, p: p.try_into().ok()? }
            }
            PBKDF2 => {
                let rounds = u32::try_from(small(fields.positive()?)?).ok().filter(|rounds| *rounds <= MAX_ROUNDS);
                if fields.0.first() == Some(&tag::INTEGER) && small(fields.positive()?)? != KEY as u64 {
                    return None;
                }
                let function = Der(fields.take(tag::SEQUENCE)?).take(tag::OID)?;
                fields.end()?;
                match rounds.and_then(NonZeroU32::new) {
                    Some(rounds) if function == HMAC_SHA256 => Kdf::Pbkdf2 { salt, rounds },
                    _ => return Some(Err(Error::Encryption("its PBKDF2 parameters are not HMAC-SHA-256"))),
                }
            }
            _ => return Some(Err(Error::Encryption("its key derivation is neither scrypt nor PBKDF2"))),
        };
        Some(Ok(Sealed { kdf, iv, data }))
    }
}

/// Opens the encrypted form; what comes out is PKCS#8 in DER.
pub(super) fn open(der: &[u8], password: &Passphrase) -> Result<Zeroizing<Vec<u8>>, Error> {
    let malformed = || Error::Malformed { what: "encrypted private key", why: "its structure is broken".to_owned() };
    let sealed = Sealed::read(der).ok_or_else(malformed)??;
    if sealed.data.is_empty() || sealed.data.len() % BLOCK != 0 {
        return Err(malformed());
    }
    let key = match sealed.kdf {
        Kdf::Scrypt { salt, log_n, r, p } => scrypt_key(password, salt, log_n, r, p)?,
        Kdf::Pbkdf2 { salt, rounds } => {
            let mut key = Zeroizing::new([0; KEY]);
            ring::pbkdf2::derive(ring::pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, password.bytes(), key.as_mut());
            key
        }
    };
    let cipher = aes::Aes256::new(&(*key).into());
    let mut plain = Zeroizing::new(Vec::with_capacity(sealed.data.len()));
    let mut previous = sealed.iv;
    for chunk in sealed.data.chunks_exact(BLOCK) {
        let bytes: [u8; BLOCK] = chunk.try_into().map_err(|_| malformed())?;
        let mut block = bytes.into();
        cipher.decrypt_block(&mut block);
        let opened: [u8; BLOCK] = block.into();
        plain.extend(opened.iter().zip(previous).map(|(byte, before)| byte ^ before));
        previous = bytes;
    }
    let pad = usize::from(plain.last().copied().unwrap_or_default());
    let padded = (1..=BLOCK).contains(&pad) && plain[plain.len() - pad..].iter().all(|byte| usize::from(*byte) == pad);
    if !padded {
        return Err(Error::WrongPassword);
    }
    let length = plain.len() - pad;
    plain.truncate(length);
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Fixed;

    impl Randomness for Fixed {
        fn fill(&mut self, bytes: &mut [u8]) -> Result<(), crate::trust::Error> {
            bytes.fill(7);
            Ok(())
        }
    }

    #[test]
    fn comes_back_with_the_password_only() {
        for length in [0, 1, 15, 16, 17, 185] {
            let plain: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let sealed = seal(&plain, &Passphrase::new("pass"), &mut Fixed).unwrap();
            assert_eq!(*open(&sealed, &Passphrase::new("pass")).unwrap(), plain);
        }
        let sealed = seal(b"something longer than a block", &Passphrase::new("pass"), &mut Fixed).unwrap();
        assert_eq!(open(&sealed, &Passphrase::new("Pass")).unwrap_err(), Error::WrongPassword);
        assert_eq!(seal(b"x", &Passphrase::new(""), &mut Fixed).unwrap_err(), Error::EmptyPassword);
    }

    #[test]
    fn too_much_work_is_refused_before_it_is_done() {
        let sealed = seal(b"x", &Passphrase::new("p"), &mut Fixed).unwrap();
        let at = sealed.windows(4).position(|bytes| bytes == [2, 2, 0x40, 0]).unwrap();
        let mut huge = sealed;
        // N = 2^14 becomes 3·2^13, and r = 8 becomes 127.
        huge[at + 2] = 0x60;
        assert!(matches!(open(&huge, &Passphrase::new("p")), Err(Error::Encryption(_))));
        huge[at + 2] = 0x40;
        huge[at + 6] = 127;
        assert!(matches!(open(&huge, &Passphrase::new("p")), Err(Error::Encryption(_))));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 5000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn reading_is_total(noise in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..120, flip in 1u8..) {
            let _ = Sealed::read(&noise);
            let mut sealed = element(tag::SEQUENCE, &[&noise]);
            if let Some(byte) = sealed.get_mut(at) { *byte ^= flip; }
            let _ = Sealed::read(&sealed);
        }
    }
}
