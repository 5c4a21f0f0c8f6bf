//! Failures of registries.

use std::{fmt, sync::Arc, time::Duration};

use super::wire::{Answer, LocationError};
use crate::{
    error::{Classify, Kind},
    net::{self, Refusal, Secret},
    oci::{Digest, ManifestError, Tag},
    store,
};

/// Names a repository as it is really asked: behind a mirror, the mirror's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The host that is asked.
    pub registry: Arc<str>,
    /// The path within it; empty for the registry as a whole.
    pub repository: Arc<str>,
}

/// Holds two digests that should be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// What was asked for, announced or wanted.
    pub wanted: Digest,
    /// What it is.
    pub actual: Digest,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.registry)?;
        if self.repository.is_empty() { Ok(()) } else { write!(f, "/{}", self.repository) }
    }
}

/// Tells as whom we spoke to a registry, and what kept us from speaking as somebody else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// The user and where the credentials come from; none: nobody.
    pub login: Option<String>,
    /// What went wrong while looking for credentials.
    pub troubles: Vec<String>,
    /// A token server that was not given the credentials because it belongs to another domain.
    pub foreign_realm: Option<String>,
    /// What was shown: must not come back in a message.
    pub(super) hidden: Vec<Secret>,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.login {
            Some(login) => write!(f, "asked as {login}")?,
            None => f.write_str("asked without credentials")?,
        }
        for trouble in &self.troubles {
            write!(f, "; {trouble}")?;
        }
        if let Some(realm) = &self.foreign_realm {
            write!(
                f,
                "; its token server {realm} belongs to another domain and got no credentials: name it in authRealms of this \
                 registry if it is meant to get them"
            )?;
        }
        Ok(())
    }
}

/// Says why a registry did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No answer.
    #[error("{place}: {cause}")]
    Net {
        /// Where.
        place: Place,
        /// Why.
        #[source]
        cause: Box<net::Error>,
    },
    /// Access is denied.
    #[error("{place}: {doing} was denied ({answer}; {who})")]
    Denied {
        /// Where.
        place: Place,
        /// What was asked.
        doing: &'static str,
        /// What the registry said.
        answer: Box<Answer>,
        /// As whom we asked.
        who: Box<Who>,
    },
    /// It is not there.
    #[error("{place}: {what} is not there ({answer})")]
    NotFound {
        /// Where.
        place: Place,
        /// What.
        what: String,
        /// What the registry said.
        answer: Box<Answer>,
    },
    /// The registry limits how often it is asked, and still does after all retries.
    #[error("{place}: too many requests ({answer}){}", asked.map_or_else(String::new, |asked| format!("; it asks to wait {} s", asked.as_secs())))]
    RateLimited {
        /// Where.
        place: Place,
        /// What the registry said.
        answer: Box<Answer>,
        /// How long it asks to wait.
        asked: Option<Duration>,
    },
    /// Any other refusal.
    #[error("{place}: {doing} failed ({answer})")]
    Status {
        /// Where.
        place: Place,
        /// What was asked.
        doing: &'static str,
        /// What the registry said.
        answer: Box<Answer>,
    },
    /// The token server refused.
    #[error("{place}: no token from {realm} ({answer}; {who})")]
    Token {
        /// Where.
        place: Place,
        /// The token server.
        realm: String,
        /// What it said.
        answer: Box<Answer>,
        /// As whom we asked.
        who: Box<Who>,
    },
    /// The token server's answer holds no token.
    #[error("{place}: the answer of {realm} holds no usable token")]
    NoToken {
        /// Where.
        place: Place,
        /// The token server.
        realm: String,
    },
    /// The registry names a token server that must not be asked at all.
    #[error("{place}: the token server {realm} is not asked: {cause}")]
    Realm {
        /// Where.
        place: Place,
        /// The token server.
        realm: String,
        /// Why not.
        cause: LocationError,
    },
    /// The registry wants something else than Basic or Bearer.
    #[error("{place}: wants authentication by {offered}; only Basic and Bearer are known")]
    Scheme {
        /// Where.
        place: Place,
        /// What it offers.
        offered: String,
    },
    /// The bytes of a manifest are not those of its digest.
    #[error("{place}: {what} should have digest {}, but its bytes have {}", digests.wanted, digests.actual)]
    WrongDigest {
        /// Where.
        place: Place,
        /// Which manifest, or which upload.
        what: String,
        /// What was asked for or announced in `Docker-Content-Digest`, and what the bytes hash to.
        digests: Box<Mismatch>,
    },
    /// A manifest cannot be read.
    #[error("{place}: {what}: {cause}")]
    Manifest {
        /// Where.
        place: Place,
        /// Which manifest.
        what: String,
        /// Why.
        #[source]
        cause: Box<ManifestError>,
    },
    /// The registry refuses a manifest because something that it names is not there. For an index with entries left out
    /// ("sparse") this means that the registry does not take such an index.
    #[error("{place}: {what} was refused because content that it names is not there ({answer})")]
    ManifestBlobUnknown {
        /// Where.
        place: Place,
        /// Which manifest.
        what: String,
        /// What the registry said.
        answer: Box<Answer>,
    },
    /// The tag is there with another digest and cannot be moved.
    #[error("{place}:{tag} is {} and the registry does not let it become {}", digests.actual, digests.wanted)]
    TagImmutable {
        /// Where.
        place: Place,
        /// Which tag.
        tag: Tag,
        /// What it should become, and what it is.
        digests: Box<Mismatch>,
    },
    /// An upload cannot go where the registry sends it.
    #[error("{place}: uploads are sent to {location}, which is not followed: {cause}")]
    Location {
        /// Where.
        place: Place,
        /// Where it should go.
        location: String,
        /// Why not.
        cause: LocationError,
    },
    /// The registry opened an upload without saying where.
    #[error("{place}: an upload was accepted without a Location to send it to")]
    NoLocation {
        /// Where.
        place: Place,
    },
    /// The registry accepts chunks and does not keep them.
    #[error(
        "{place}: the upload of {digest} does not advance beyond byte {at}: the registry accepts chunks and drops them"
    )]
    Stuck {
        /// Where.
        place: Place,
        /// Which blob.
        digest: Digest,
        /// How far it came.
        at: u64,
    },
    /// A list leads elsewhere or does not end.
    #[error("{place}: {what}: {cause}")]
    Pages {
        /// Where.
        place: Place,
        /// Which list.
        what: &'static str,
        /// What is wrong.
        cause: PagesProblem,
    },
    /// Others kept changing the list of referrers while we added to it.
    #[error("{place}:{tag}: the list of referrers changed at each of {attempts} attempts to add to it")]
    Contended {
        /// Where.
        place: Place,
        /// The tag of the list.
        tag: Tag,
        /// How often it was tried.
        attempts: u32,
    },
    /// A mirror in the settings is no address.
    #[error("registries.{host}.mirror: {mirror:?} is no HOST[:PORT][/PREFIX]")]
    Mirror {
        /// Of which registry.
        host: String,
        /// What was written.
        mirror: String,
    },
}

/// Says what is wrong with a list that comes in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PagesProblem {
    /// The next page is at another origin.
    #[error("the next page is on another host")]
    OtherOrigin,
    /// The next page is no address.
    #[error("the next page is no address")]
    NotAnAddress,
    /// A page leads to one that was read already.
    #[error("the pages lead in a circle")]
    Circle,
    /// There are too many.
    #[error("more pages or entries than any real list has")]
    TooMany,
    /// A page is no list.
    #[error("a page cannot be read")]
    Unreadable,
}

impl Error {
    /// Returns the registry's error inside of an error of a source or sink.
    pub fn of(error: &store::Error) -> Option<&Error> {
        match error {
            store::Error::Place { cause, .. } => {
                let cause: &dyn std::error::Error = cause.as_ref();
                cause.downcast_ref()
            }
            _ => None,
        }
    }

    pub(super) fn realm(place: Place, realm: String, cause: Refusal) -> Self {
        Error::Realm { place, realm, cause: cause.into() }
    }
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        match self {
            Error::Net { cause, .. } => cause.kind(),
            Error::Denied { .. } | Error::NotFound { .. } | Error::Scheme { .. } => Kind::NotFound,
            Error::RateLimited { .. } => Kind::Unavailable,
            Error::Status { answer, .. } | Error::Token { answer, .. } => of_status(answer.status),
            Error::Realm { .. } | Error::Location { .. } => Kind::Untrusted,
            Error::WrongDigest { .. } | Error::Manifest { .. } | Error::Pages { .. } | Error::NoToken { .. } => {
                Kind::Corrupt
            }
            Error::ManifestBlobUnknown { .. } => Kind::Incomplete,
            Error::TagImmutable { .. } => Kind::Answer,
            Error::NoLocation { .. } | Error::Stuck { .. } | Error::Contended { .. } => Kind::Unavailable,
            Error::Mirror { .. } => Kind::Usage,
        }
    }
}

/// Classifies a status that is not a success.
fn of_status(status: u16) -> Kind {
    match status {
        401 | 403 | 404 | 410 => Kind::NotFound,
        408 | 425 | 429 | 500..=599 => Kind::Unavailable,
        _ => Kind::Usage,
    }
}
