//! Content digests.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256, Sha512};

/// Names content by its hash; sha256 and sha512 are the registered algorithms of the OCI image specification
/// ("Descriptors", section "Registered algorithms").
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Digest {
    /// SHA-256, the algorithm nearly everything uses.
    Sha256([u8; 32]),
    /// SHA-512, accepted where upstream names content so.
    Sha512([u8; 64]),
}

/// Names a hash algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// Says why a text is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// There is no `algorithm:` in front.
    #[error("{0:?} is no digest: expected sha256:<64 hex digits>")]
    NoAlgorithm(String),
    /// The algorithm is not accepted.
    #[error("digest algorithm {0:?} is not accepted: only sha256 and sha512 are")]
    UnknownAlgorithm(String),
    /// The hex part has the wrong length or holds other characters than 0-9 and a-f.
    #[error("{0:?} is no digest: expected {1} lower-case hex digits")]
    BadHex(String, usize),
}

impl Digest {
    /// Computes the SHA-256 digest of bytes in memory.
    pub fn sha256(bytes: &[u8]) -> Self {
        Digest::Sha256(Sha256::digest(bytes).into())
    }

    /// Computes the digest of bytes in memory with this digest's own algorithm.
    pub fn same_algorithm(&self, bytes: &[u8]) -> Self {
        let mut hasher = self.algorithm().hasher();
        hasher.update(bytes);
        hasher.finish()
    }

    /// Returns the algorithm.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Digest::Sha256(_) => Algorithm::Sha256,
            Digest::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Returns the hash as lower-case hex digits.
    pub fn hex(&self) -> String {
        let bytes: &[u8] = match self {
            Digest::Sha256(bytes) => bytes,
            Digest::Sha512(bytes) => bytes,
        };
        let mut text = String::with_capacity(bytes.len() * 2);
        for byte in bytes {
            text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
            text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
        }
        text
    }

    /// Returns the first twelve hex digits, for people.
    pub fn short(&self) -> String {
        self.hex()[..12].to_owned()
    }
}

impl Algorithm {
    /// Returns the name used in digests.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }

    /// Starts a hash.
    pub fn hasher(self) -> Hasher {
        match self {
            Algorithm::Sha256 => Hasher::Sha256(Sha256::new()),
            Algorithm::Sha512 => Hasher::Sha512(Sha512::new()),
        }
    }
}

/// Hashes bytes as they pass by; `Clone` keeps the state of a prefix, so that a transfer can resume.
#[derive(Clone, Debug)]
pub enum Hasher {
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-512.
    Sha512(Sha512),
}

impl Hasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// Returns the digest of everything taken.
    pub fn finish(self) -> Digest {
        match self {
            Hasher::Sha256(hasher) => Digest::Sha256(hasher.finalize().into()),
            Hasher::Sha512(hasher) => Digest::Sha512(hasher.finalize().into()),
        }
    }
}

fn unhex<const N: usize>(whole: &str, hex: &str) -> Result<[u8; N], DigestError> {
    let bad = || DigestError::BadHex(whole.to_owned(), N * 2);
    if hex.len() != N * 2 {
        return Err(bad());
    }
    let nibble = |byte: u8| match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(bad()),
    };
    let mut out = [0; N];
    for (slot, pair) in out.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *slot = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Ok(out)
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        match text.split_once(':') {
            Some(("sha256", hex)) => Ok(Digest::Sha256(unhex(text, hex)?)),
            Some(("sha512", hex)) => Ok(Digest::Sha512(unhex(text, hex)?)),
            Some((other, _)) => Err(DigestError::UnknownAlgorithm(other.to_owned())),
            None => Err(DigestError::NoAlgorithm(text.to_owned())),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm().name(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_object_has_its_known_digest() {
        // Image specification, "Guidance for an empty descriptor".
        let empty = Digest::sha256(b"{}");
        assert_eq!(empty.to_string(), "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
        assert_eq!(empty.to_string().parse(), Ok(empty));
    }

    #[test]
    fn strict_about_everything() {
        let good = Digest::sha256(b"x").to_string();
        for bad in [
            good.to_uppercase(),
            good.replace("sha256", "md5"),
            good[..good.len() - 1].to_owned(),
            format!("{good}0"),
            good.replace("sha256:", "sha512:"),
            "sha256:../../x".into(),
            good.replace("sha256:", ""),
            String::new(),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }
}
