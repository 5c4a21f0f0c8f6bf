//! What can go wrong with the authority of an enclave.

use std::path::PathBuf;

use crate::{
    cluster,
    error::{Classify, Diagnostic, Kind},
    files,
    trust::x509,
    yaml,
};

/// Says why the authority did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A certificate or key.
    #[error(transparent)]
    X509(#[from] x509::Error),
    /// A certificate or key in a file.
    #[error("{}: {cause}", path.display())]
    InFile {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: x509::Error,
    },
    /// A file.
    #[error(transparent)]
    File(#[from] files::Error),
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// The folder holds an authority already.
    #[error("{} holds an authority already: choose another folder, or `bundle issuer rotate` this one", .0.display())]
    Taken(PathBuf),
    /// The folder holds parts of an authority that was not finished.
    #[error(
        "{} holds {file}, but no issuer.json: an attempt that did not finish. Remove the folder if nothing in it was ever used",
        dir.display()
    )]
    Unfinished {
        /// The folder.
        dir: PathBuf,
        /// The file that is there.
        file: String,
    },
    /// The folder holds no authority.
    #[error("{} holds no authority (no issuer.json): `bundle issuer init --dir {}` makes one", .0.display(), .0.display())]
    NoHome(PathBuf),
    /// The state file is not ours.
    #[error("{}: {cause}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// A newer version wrote the folder.
    #[error("{} was written by a newer version of bundle (format {version})", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// There is no issuing authority yet.
    #[error("{} has no issuing authority yet: {hint}", dir.display())]
    NoIssuing {
        /// The folder.
        dir: PathBuf,
        /// What to do.
        hint: &'static str,
    },
    /// The root's key is elsewhere.
    #[error(
        "the key of the root is not in {}: run this where it is kept, or go over a request (`bundle issuer request`)",
        .0.display()
    )]
    NoRootKey(PathBuf),
    /// Nothing waits for a certificate.
    #[error("{} waits for no certificate: `bundle issuer request` makes a key and a request first", .0.display())]
    NoRequest(PathBuf),
    /// The file does not hold what an installation needs.
    #[error("the certificates cannot be installed: {0}")]
    Install(String),
    /// The root is another one than was read out.
    #[error("the root in the file has the fingerprint {found}, not {expected}: somebody changed it on the way")]
    Fingerprint {
        /// What the file holds.
        found: String,
        /// What was given.
        expected: String,
    },
    /// The step does not come now.
    #[error("{0}")]
    Step(String),
    /// Certificates still need what a step would take away.
    #[error("{} still depend on the old root: renew them first (`bundle issuer issue`, `cmctl renew`), or --force", .0.join(", "))]
    StillUsed(Vec<String>),
    /// A name in a manifest is none.
    #[error("{what} {text:?} is no name that Kubernetes takes: lower-case letters, digits, - and . are")]
    KubeName {
        /// What it names.
        what: &'static str,
        /// The text.
        text: String,
    },
    /// A template is broken.
    #[error("the template {file} is broken: {cause}")]
    Template {
        /// Which one.
        file: &'static str,
        /// What is wrong.
        cause: String,
    },
    /// No certificate has this serial number.
    #[error("no certificate with the serial number or name {0:?} was issued here: see `bundle issuer status`")]
    NotIssued(String),
    /// cert-manager is not in the cluster, or not working.
    #[error("{place}: {what}. {remedy}")]
    NoCertManager {
        /// Which cluster.
        place: String,
        /// What is missing.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// An object did not become ready.
    #[error("{what} does not become ready: {why}")]
    NotReady {
        /// Which object.
        what: String,
        /// What it says.
        why: String,
    },
}

impl Error {
    pub(super) fn state(path: PathBuf, cause: impl ToString) -> Error {
        Error::State { path, cause: cause.to_string() }
    }
}

impl From<yaml::Error> for Error {
    fn from(cause: yaml::Error) -> Self {
        Error::Template { file: "manifests", cause: cause.to_string() }
    }
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        match self {
            Error::X509(cause) | Error::InFile { cause, .. } => cause.kind(),
            Error::File(cause) => cause.kind(),
            Error::Cluster(cause) => cause.kind(),
            Error::NoHome(_) | Error::NoRootKey(_) | Error::NotIssued(_) => Kind::NotFound,
            Error::State { .. } | Error::Newer { .. } => Kind::Corrupt,
            Error::NoIssuing { .. } | Error::NoCertManager { .. } => Kind::Incomplete,
            Error::Fingerprint { .. } => Kind::Untrusted,
            Error::StillUsed(_) => Kind::Answer,
            Error::NotReady { .. } => Kind::Unavailable,
            Error::Template { .. } => Kind::Internal,
            Error::Taken(_)
            | Error::Unfinished { .. }
            | Error::NoRequest(_)
            | Error::Install(_)
            | Error::Step(_)
            | Error::KubeName { .. } => Kind::Usage,
        }
    }

    fn diagnostics(&self) -> &[Diagnostic] {
        match self {
            Error::X509(cause) | Error::InFile { cause, .. } => cause.diagnostics(),
            _ => &[],
        }
    }
}
