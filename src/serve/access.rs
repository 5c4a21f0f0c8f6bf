//! Who may use the registry: everybody, or whoever knows a password.
//!
//! # Invariants
//! - Passwords are compared in a time that depends neither on where they differ nor on which login is meant.

use axum::http::{HeaderMap, header};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::oci::Digest;

/// Holds a user name with its password; neither is ever shown.
#[derive(Clone)]
pub struct Login {
    hashed: Digest,
}

impl Login {
    /// Makes a login.
    pub fn new(user: &str, password: &str) -> Self {
        Login { hashed: Digest::sha256(format!("{user}:{password}").as_bytes()) }
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login")
    }
}

/// Says who may use the registry.
#[derive(Clone, Debug, Default)]
pub enum Access {
    /// Everybody may do everything.
    #[default]
    Open,
    /// One of these logins is needed for everything (HTTP Basic, RFC 7617).
    Logins(Vec<Login>),
    /// Everybody may read; one of these logins is needed to write.
    LoginsToWrite(Vec<Login>),
}

impl Access {
    /// Tells whether a request is admitted.
    pub(super) fn admits(&self, headers: &HeaderMap, writes: bool) -> bool {
        match self {
            Access::Open => true,
            Access::Logins(logins) => is_known(logins, headers),
            Access::LoginsToWrite(logins) => !writes || is_known(logins, headers),
        }
    }
}

fn is_known(logins: &[Login], headers: &HeaderMap) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, rest) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("basic").then_some(rest.trim())
    });
    let Some(given) = given.and_then(|text| STANDARD.decode(text).ok()) else { return false };
    let given = Digest::sha256(&given).hex();
    // Hashes have one length and reveal nothing of the password; every login is looked at, every byte is compared.
    logins.iter().fold(false, |known, login| known | is_same(&login.hashed.hex(), &given))
}

fn is_same(left: &str, right: &str) -> bool {
    left.len() == right.len() && left.bytes().zip(right.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())])
    }

    #[test]
    fn only_known_logins_pass() {
        let access = Access::Logins(vec![Login::new("a", "one"), Login::new("b", "t:wo")]);
        for good in ["a:one", "b:t:wo"] {
            assert!(access.admits(&headers(&format!("basic {}", STANDARD.encode(good))), false), "{good}");
        }
        for bad in ["a:two", "a:", "", "b:one", "a:one "] {
            assert!(!access.admits(&headers(&format!("Basic {}", STANDARD.encode(bad))), false), "{bad}");
        }
        for bad in ["Basic", "Basic ***", "Bearer YTpvbmU="] {
            assert!(!access.admits(&headers(bad), false), "{bad}");
        }
        assert!(!access.admits(&HeaderMap::new(), false));
        assert!(!format!("{access:?}").contains("one"));
    }

    #[test]
    fn reading_can_be_free() {
        let access = Access::LoginsToWrite(vec![Login::new("a", "one")]);
        assert!(access.admits(&HeaderMap::new(), false) && !access.admits(&HeaderMap::new(), true));
    }
}
