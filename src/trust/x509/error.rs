//! What can go wrong with an authority, its keys and its certificates.

use jiff::Timestamp;

use crate::error::{Classify, Diagnostic, Kind};

/// Says why a certificate cannot be made, read or believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A text is no domain.
    #[error("{text:?} is no domain: {why}")]
    Domain {
        /// What was given.
        text: String,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// A text is no range of addresses.
    #[error("{text:?} is no range of addresses: {why}")]
    Range {
        /// What was given.
        text: String,
        /// Which rule it breaks.
        why: String,
    },
    /// A text is no name of a server.
    #[error("{text:?} is no name of a server: {why}")]
    Name {
        /// What was given.
        text: String,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// A text cannot be an organization.
    #[error("{text:?} cannot be the organization in certificates: {why}")]
    Organization {
        /// What was given.
        text: String,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// An authority needs at least one domain or range of its own.
    #[error("nothing says which names the enclave has: give its domains, such as enclave.lan, or ranges of addresses")]
    EmptyScope,
    /// Names that the authority may not sign.
    #[error("{} cannot be signed: outside of what {authority} may sign ({permitted})", list(.refused))]
    Refused {
        /// The authority.
        authority: String,
        /// What it may sign.
        permitted: String,
        /// Each name with the reason.
        refused: Vec<Diagnostic>,
    },
    /// Nothing to sign for.
    #[error("no name to sign for: name the server, as its clients call it")]
    NoName,
    /// A lifetime that clients refuse, or none at all.
    #[error(
        "{days} days are no lifetime for the certificate of a server: 1 to {limit} are, because browsers refuse more"
    )]
    ServerLifetime {
        /// What was asked for.
        days: u32,
        /// How many are accepted.
        limit: u32,
    },
    /// A lifetime of an authority that makes no sense.
    #[error("{years} years are no lifetime for {what}: {least} to {most} are")]
    AuthorityLifetime {
        /// Which authority.
        what: &'static str,
        /// What was asked for.
        years: u8,
        /// The least.
        least: u8,
        /// The most.
        most: u8,
    },
    /// The certificate would outlive the authority that signs it.
    #[error(
        "a certificate until {wanted} would outlive {authority}, which ends on {end}: ask for at most {days} days, or rotate it"
    )]
    Outlives {
        /// The authority.
        authority: String,
        /// The end that was asked for.
        wanted: Timestamp,
        /// The end of the authority.
        end: Timestamp,
        /// How many days are left.
        days: i64,
    },
    /// The authority's time is over.
    #[error("{authority} expired on {end}: it signs nothing any more")]
    Expired {
        /// The authority.
        authority: String,
        /// When it ended.
        end: Timestamp,
    },
    /// The authority's time has not come.
    #[error("{authority} is not valid before {start}: check this machine's clock")]
    NotYet {
        /// The authority.
        authority: String,
        /// When it begins.
        start: Timestamp,
    },
    /// The key belongs to another certificate.
    #[error("the private key does not belong to the certificate of {0}")]
    OtherKey(String),
    /// The certificate is not one of an authority, or not one that may do this.
    #[error("{name} is no authority that can do this: {why}")]
    NotAnAuthority {
        /// The certificate.
        name: String,
        /// What is missing.
        why: &'static str,
    },
    /// Bytes are not what they must be.
    #[error("no usable {what}: {why}")]
    Malformed {
        /// What was expected, such as `certificate`.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A request asks for something that is not given.
    #[error("the request asks for what is not given: {0}")]
    RequestAsks(String),
    /// The request is not signed by the key in it.
    #[error("the request is not signed by the key that it holds")]
    RequestSignature,
    /// The certificate does not hold: verifiers refuse it.
    #[error("{name} is refused by verifiers: {why}")]
    Chain {
        /// The certificate.
        name: String,
        /// What the verifier said.
        why: String,
    },
    /// The password opens no such key, or the file was changed.
    #[error("the password does not open the private key")]
    WrongPassword,
    /// A key must not lie open.
    #[error("the password is empty: the key of an authority is never written without one")]
    EmptyPassword,
    /// The private key is not encrypted.
    #[error(
        "the private key is not encrypted; `openssl pkcs8 -topk8 -scrypt -scrypt_N 16384 -in KEY -out KEY.new` encrypts it"
    )]
    OpenKey,
    /// The key file is encrypted in a way that is not read here.
    #[error("the private key is encrypted in a way that is not read here: {0}")]
    Encryption(&'static str),
    /// The source of random bytes failed.
    #[error("no random bytes: the system's generator failed")]
    NoRandomness,
    /// A certificate cannot be written.
    #[error("cannot write the {what}: {why}")]
    Write {
        /// What was to be written.
        what: &'static str,
        /// Why.
        why: String,
    },
}

fn list(refused: &[Diagnostic]) -> String {
    match refused.len() {
        1 => "1 name".to_owned(),
        count => format!("{count} names"),
    }
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        match self {
            // Exit code 3 covers denied credentials, which is what a wrong password is.
            Error::WrongPassword => Kind::NotFound,
            Error::NoRandomness => Kind::Unavailable,
            Error::Expired { .. } | Error::NotYet { .. } | Error::Chain { .. } | Error::RequestSignature => {
                Kind::Untrusted
            }
            Error::Malformed { .. } | Error::OtherKey(_) => Kind::Corrupt,
            Error::Write { .. } => Kind::Internal,
            _ => Kind::Usage,
        }
    }

    fn diagnostics(&self) -> &[Diagnostic] {
        match self {
            Error::Refused { refused, .. } => refused,
            _ => &[],
        }
    }
}

impl From<crate::trust::Error> for Error {
    fn from(_: crate::trust::Error) -> Self {
        // Only the source of randomness speaks that language here.
        Error::NoRandomness
    }
}
