//! Certificates of an enclave's own authority (RFC 5280): made, read, checked. Pure: time, randomness and passwords come in
//! as arguments. The only importer of the X.509 crates.
//!
//! ```text
//!   root CA    P-384, 10 years, pathlen 1, key encrypted, stays outside
//!    └─ issuing CA    P-256, 2 years, pathlen 0, critical name constraints = Scope
//!        └─ servers    at most 397 days, names inside the Scope
//! ```
//!
//! | file | owns |
//! |---|---|
//! | `scope.rs` | [`Scope`]: the names an enclave may have; [`ServerName`], [`IpRange`] |
//! | `key.rs` | [`CaKey`]: keys on P-256 and P-384, their encrypted and open forms |
//! | `pbes2.rs` | PKCS#8 encrypted with a password (RFC 8018, RFC 7914) |
//! | `certificate.rs` | [`Certificate`]: what one says |
//! | `request.rs` | [`Request`]: what a PKCS#10 request asks for, and requests of our own |
//! | `authority.rs` | [`Authority`]: a certificate with its key, which signs others and revocation lists |
//! | `chain.rs` | [`verify_server`]: the check that clients make |
//!
//! # Invariants
//! - No certificate leaves [`Authority`] that rustls-webpki refuses for a name in it.
//! - An issuing CA always says something about IP addresses: a CA that is silent about them may sign any address. It says
//!   nothing about URIs: verifiers disagree on such constraints.
//! - Of a request, only the public key and the names are used; everything else is ours to decide.
//! - Private keys are wiped when dropped, and never shown.
//!
//! # Failure
//! [`Error`]; names outside the scope are all told at once.

mod authority;
mod certificate;
mod chain;
mod error;
mod key;
mod pbes2;
mod request;
mod scope;

pub use authority::{Authority, CaNames, Lifetime, MAX_SERVER_DAYS, Reason, Revoked, SubjectKey, Usage};
pub use certificate::{Certificate, read_chain, write_chain};
pub use chain::verify_server;
pub use error::Error;
pub use key::{CaKey, Curve};
pub use request::Request;
pub use scope::{IpRange, Scope, ServerName};
