//! Failures of HTTP.

use std::{path::PathBuf, time::Duration};

use super::origin::Refusal;
use crate::{
    error::{Classify, Kind},
    files,
};

/// Says why a request has no answer. Addresses are shown without query and user information.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name has no address.
    #[error("{host}: no address found for this name: {cause}")]
    Resolve {
        /// Which host.
        host: String,
        /// What the resolver said.
        cause: String,
    },
    /// No connection.
    #[error("{host}: cannot connect: {cause}")]
    Connect {
        /// Which host.
        host: String,
        /// What the system said.
        cause: String,
    },
    /// The server's certificate does not hold.
    #[error("{host}: certificate not trusted: {problem}{}", remedy(problem, host))]
    Certificate {
        /// Which host.
        host: String,
        /// What is wrong with it.
        problem: CertificateProblem,
    },
    /// The server does not speak TLS, or not one that is safe.
    #[error("{host}: TLS failed: {cause}{}", if *.plain { "; the port seems to speak plain HTTP: set registries.<host>.plainHttp or use --plain-http if that is meant" } else { "" })]
    Tls {
        /// Which host.
        host: String,
        /// What rustls said.
        cause: String,
        /// Whether the answer looks like plain HTTP.
        plain: bool,
    },
    /// The connection broke before the end.
    #[error("{host}: connection broke: {cause}")]
    Broken {
        /// Which host.
        host: String,
        /// What happened.
        cause: String,
    },
    /// Nothing came for too long.
    #[error("{host}: no byte for {} s", after.as_secs_f32())]
    Stalled {
        /// Which host.
        host: String,
        /// For how long.
        after: Duration,
    },
    /// Too little came for too long.
    #[error("{host}: only {bytes} bytes in {} s", over.as_secs_f32())]
    Slow {
        /// Which host.
        host: String,
        /// How many bytes.
        bytes: u64,
        /// In which time.
        over: Duration,
    },
    /// What came is no HTTP, or its head is beyond all limits.
    #[error("{host}: not an HTTP answer: {cause}")]
    Protocol {
        /// Which host.
        host: String,
        /// What is wrong.
        cause: String,
    },
    /// An answer is larger than anything sensible.
    #[error("{url}: the answer is larger than {limit} bytes")]
    TooLarge {
        /// Which address.
        url: String,
        /// The limit.
        limit: usize,
    },
    /// A redirect that is not followed.
    #[error("{from} redirects to {to}, which is not followed: {cause}")]
    Redirect {
        /// From where.
        from: String,
        /// To where.
        to: String,
        /// Why not.
        cause: Refusal,
    },
    /// Redirects without end.
    #[error("{url}: more than {limit} redirects")]
    TooManyRedirects {
        /// Where it began.
        url: String,
        /// The limit.
        limit: usize,
    },
    /// A request could not be formed.
    #[error("{url}: cannot ask for this: {cause}")]
    Request {
        /// Which address.
        url: String,
        /// Why.
        cause: String,
    },
    /// The body of an upload ended with an error of its own, which the caller knows.
    #[error("{host}: upload aborted")]
    Aborted {
        /// Which host.
        host: String,
    },
    /// A certificate or key file cannot be read.
    #[error("certificate or key for {whom}: {cause}")]
    File {
        /// For which host, or for all.
        whom: String,
        /// Why.
        #[source]
        cause: files::Error,
    },
    /// A file holds no certificate or key.
    #[error("{}: {cause}", shown_path(path))]
    Pem {
        /// Which file; none for text given directly.
        path: Option<PathBuf>,
        /// What is missing.
        cause: &'static str,
    },
    /// A proxy variable cannot be used.
    #[error("the environment variable {variable} names no proxy that can be used (http and https proxies can)")]
    Proxy {
        /// Which variable; its value can hold a password.
        variable: &'static str,
    },
    /// The HTTP client cannot be set up.
    #[error("cannot set up HTTPS: {cause}")]
    Setup {
        /// Why.
        cause: String,
    },
}

/// Says what is wrong with a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateProblem {
    /// No trusted authority signed it.
    #[error("its issuer is unknown")]
    UnknownIssuer,
    /// As before, and this machine has no list of authorities at all.
    #[error("its issuer is unknown, and this machine has no system certificates")]
    NoRoots,
    /// Its time is over.
    #[error("it has expired (or this machine's clock is wrong)")]
    Expired,
    /// Its time has not begun.
    #[error("it is not valid yet (or this machine's clock is wrong)")]
    NotYetValid,
    /// It speaks of other names.
    #[error("it is for other names")]
    WrongName,
    /// The server refused ours or wants one.
    #[error("the server asks for a client certificate, or does not accept the one shown")]
    Client,
    /// Anything else that rustls objects to.
    #[error("{0}")]
    Other(String),
}

fn remedy(problem: &CertificateProblem, host: &str) -> String {
    match problem {
        CertificateProblem::UnknownIssuer | CertificateProblem::NoRoots => {
            format!("; give its CA with registries.{host}.ca or --ca")
        }
        CertificateProblem::Client => format!("; give one with registries.{host}.cert and .key, or in certs.d/{host}/"),
        _ => String::new(),
    }
}

fn shown_path(path: &Option<PathBuf>) -> String {
    path.as_ref().map_or_else(|| "PEM text".to_owned(), |path| path.display().to_string())
}

impl Error {
    /// Tells whether there never was a connection.
    pub fn is_connect(&self) -> bool {
        matches!(self, Error::Resolve { .. } | Error::Connect { .. })
    }
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        match self {
            Error::Resolve { .. }
            | Error::Connect { .. }
            | Error::Broken { .. }
            | Error::Stalled { .. }
            | Error::Slow { .. }
            | Error::Aborted { .. } => Kind::Unavailable,
            Error::Certificate { .. } | Error::Tls { .. } | Error::Redirect { .. } => Kind::Untrusted,
            Error::Protocol { .. } | Error::TooLarge { .. } | Error::TooManyRedirects { .. } => Kind::Corrupt,
            Error::Request { .. } | Error::Pem { .. } | Error::Proxy { .. } => Kind::Usage,
            Error::File { cause, .. } => cause.kind(),
            Error::Setup { .. } => Kind::Internal,
        }
    }
}
