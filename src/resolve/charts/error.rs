//! What goes wrong between a line of a spec and a chart that can be rendered.

use std::{path::PathBuf, sync::Arc};

use crate::{
    error::{Classify, Kind},
    files,
    helm::{
        self,
        index::{IndexError, SelectError},
    },
    net,
    oci::Digest,
    registry, store,
};

/// Says why a chart is not there. Cheap to clone: what failed once is told to everyone who wanted it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The network failed.
    #[error("{0}")]
    Net(Arc<net::Error>),
    /// A registry failed.
    #[error("{0}")]
    Registry(Arc<registry::Error>),
    /// Content of a registry failed.
    #[error("{0}")]
    Store(Arc<store::Error>),
    /// A file cannot be read.
    #[error("{0}")]
    File(Arc<files::Error>),
    /// The chart does not load.
    #[error("{place}: {cause}")]
    Chart {
        /// Where it comes from.
        place: String,
        /// Why.
        cause: Arc<helm::Error>,
    },
    /// An address means nothing.
    #[error("{written}: {why}")]
    Address {
        /// What was written.
        written: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A server answers with something else than the content.
    #[error("{url} answers {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// The status.
        status: u16,
        /// Whether a login was shown.
        known: bool,
    },
    /// The index of a repository cannot be read.
    #[error("{url}: {cause}")]
    Index {
        /// Its address.
        url: String,
        /// Why.
        cause: IndexError,
    },
    /// No version fits.
    #[error("{place}: {cause}")]
    Select {
        /// The repository.
        place: String,
        /// Why.
        cause: SelectError,
    },
    /// A version of an index has no address.
    #[error("{place}: version {version} has no address")]
    NoAddress {
        /// The repository with the chart.
        place: String,
        /// The version.
        version: String,
    },
    /// An index leads where nothing is followed.
    #[error("{from} leads to {to}: {cause}")]
    Step {
        /// The repository.
        from: String,
        /// Where to.
        to: String,
        /// Why not.
        cause: net::Refusal,
    },
    /// The archive is not what the index says.
    #[error("{url} has the SHA-256 {actual}, and the index of its repository says {expected}")]
    Digest {
        /// Where the archive is.
        url: String,
        /// What was said.
        expected: String,
        /// What came.
        actual: String,
    },
    /// The archive holds another chart.
    #[error("{place} holds {found}, and {wanted} was asked for")]
    WrongChart {
        /// Where it comes from.
        place: String,
        /// What was asked for.
        wanted: String,
        /// What it is.
        found: String,
    },
    /// What a registry holds is no chart.
    #[error("{place} is no Helm chart: {why}")]
    NotAChart {
        /// The address.
        place: String,
        /// What it is instead.
        why: String,
    },
    /// The version of the lock is there, with other content.
    #[error("{place} changed upstream under the same version: the lock has {locked}, and now it is {actual}")]
    Changed {
        /// The chart and where it comes from.
        place: String,
        /// What was locked.
        locked: Digest,
        /// What is there.
        actual: Digest,
        /// The name of the chart.
        chart: String,
    },
    /// The version of the lock is not there any more.
    #[error("{place} does not offer {version} any more, which the lock has: {cause}")]
    Gone {
        /// Where it came from.
        place: String,
        /// The version or commit.
        version: String,
        /// The name of the chart.
        chart: String,
        /// What was answered.
        cause: Box<Error>,
    },
    /// `repositories.yaml` cannot be used.
    #[error("{}: {why}", path.display())]
    Repositories {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// `repositories.yaml` asks for something that is not done.
    #[error("the repository {name:?} of {} wants its certificate not to be checked", path.display())]
    Insecure {
        /// The repository.
        name: String,
        /// The file.
        path: PathBuf,
    },
    /// A name of a repository that nobody knows.
    #[error("{chart} needs a chart from the repository {name:?}, which is not in {}", path.display())]
    NoRepository {
        /// The chart.
        chart: String,
        /// The repository.
        name: String,
        /// The file.
        path: PathBuf,
    },
    /// A dependency that comes from nowhere.
    #[error("{chart} needs {name} {version}, which is not in its charts/ folder, and no repository is named for it")]
    NoSource {
        /// The chart.
        chart: String,
        /// The dependency.
        name: String,
        /// Its range.
        version: String,
    },
    /// `Chart.lock` and `Chart.yaml` disagree.
    #[error("{chart}: {file} is out of sync with what the chart needs: {why}")]
    OutOfSync {
        /// The chart.
        chart: String,
        /// The lock.
        file: &'static str,
        /// How.
        why: String,
    },
    /// A `file://` dependency that leads outside.
    #[error("{chart} needs {written}, which is outside of {}", root.display())]
    Outside {
        /// The chart.
        chart: String,
        /// The address.
        written: String,
        /// The folder that it must stay in.
        root: PathBuf,
    },
    /// A `file://` dependency of a chart that comes from elsewhere.
    #[error("{chart} needs {written}, and it does not come from a folder where that could be")]
    NoFolder {
        /// The chart.
        chart: String,
        /// The address.
        written: String,
    },
    /// Charts that need each other.
    #[error("charts need each other in a circle: {}", chain.join(" → "))]
    Circle {
        /// The way around.
        chain: Vec<String>,
    },
    /// More of something than any real chart has.
    #[error("{chart}: more than {limit} {what}")]
    Limit {
        /// The chart.
        chart: String,
        /// The bound.
        limit: usize,
        /// Of what.
        what: &'static str,
    },
    /// Git failed.
    #[error("git {doing} {url}: {why}")]
    Git {
        /// The operation.
        doing: &'static str,
        /// The repository.
        url: String,
        /// What git says.
        why: String,
        /// What that means.
        kind: Kind,
    },
    /// A chart cannot be packed.
    #[error("{chart} cannot be packed: {why}")]
    Pack {
        /// The chart.
        chart: String,
        /// Why.
        why: String,
    },
    /// A dependency failed; the way to it comes first.
    #[error("{chart} needs {name} {version}: {cause}")]
    Dependency {
        /// The chart.
        chart: String,
        /// The dependency.
        name: String,
        /// Its range.
        version: String,
        /// Why.
        cause: Box<Error>,
    },
}

impl Error {
    /// Returns what to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Error::Status { status: 401 | 403, known, .. } => {
                let start = if *known { "the login was refused" } else { "a login may be needed" };
                format!("{start}: `docker login HOST` or `helm repo add NAME URL --username …` stores one")
            }
            Error::Status { status: 404 | 410, url, .. } if url.ends_with("/index.yaml") => {
                "check the address: a repository of charts has an index.yaml below it".to_owned()
            }
            Error::Status { status: 404 | 410, .. } => {
                "the repository lists what it does not have; another version may be there".to_owned()
            }
            Error::Index { .. } => "check the address: a repository of charts has an index.yaml below it".to_owned(),
            Error::Select { cause: SelectError::NoVersion { prereleases, .. }, .. } if !prereleases.is_empty() => {
                "a range with `-0`, such as `>=1.2.0-0`, admits prereleases".to_owned()
            }
            Error::Select { cause: SelectError::NoChart { .. }, .. } => return None,
            Error::Select { .. } => "ranges are written as helm reads them: 1.2.3, ^1.2, ~1.2, 1.x, >=1.2 <2".to_owned(),
            Error::Digest { .. } => {
                "whoever runs the repository must repair it: what it serves is not what it lists".to_owned()
            }
            Error::Changed { chart, .. } => format!(
                "compare the two with whoever publishes it; `bundle resolve --update {chart}` takes what is there now"
            ),
            Error::Gone { chart, .. } => {
                format!("`bundle resolve --update {chart}` chooses from what there is now")
            }
            Error::Insecure { .. } => {
                "give the certificate of its authority with `helm repo add --ca-file`, or as `ca` under `registries`"
                    .to_owned()
            }
            Error::NoRepository { name, .. } => format!("`helm repo add {name} URL` adds it"),
            Error::NoSource { .. } => "add `repository` to the dependency, or put the chart into charts/".to_owned(),
            Error::OutOfSync { .. } => "`helm dependency update` in the chart's folder writes it anew".to_owned(),
            Error::Outside { .. } | Error::NoFolder { .. } => {
                "`helm dependency build` in the chart's folder puts it into charts/; or move the spec above both folders"
                    .to_owned()
            }
            Error::NotAChart { .. } => "images are listed under `images`; charts are pushed with `helm push`".to_owned(),
            Error::Chart { cause, .. } if matches!(**cause, helm::Error::NoChartFile { .. }) => {
                "a chart is a folder or a .tgz with a Chart.yaml".to_owned()
            }
            Error::Dependency { cause, .. } => return cause.hint(),
            _ => return None,
        })
    }

    /// Tells whether the reason is that something is not there.
    pub fn is_not_there(&self) -> bool {
        match self {
            Error::Status { status, .. } => matches!(status, 404 | 410),
            Error::Registry(cause) => matches!(**cause, registry::Error::NotFound { .. }),
            Error::Select { .. } => true,
            Error::Git { kind, .. } => *kind == Kind::NotFound,
            _ => false,
        }
    }
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        match self {
            Error::Net(cause) => cause.kind(),
            Error::Registry(cause) => cause.kind(),
            Error::Store(cause) => cause.kind(),
            Error::File(cause) => cause.kind(),
            Error::Chart { cause, .. } => cause.kind(),
            Error::Status { status: 401 | 403 | 404 | 410, .. } | Error::Gone { .. } => Kind::NotFound,
            Error::Status { .. } => Kind::Unavailable,
            Error::Select { cause: SelectError::Range(_), .. } => Kind::Usage,
            Error::Select { .. } | Error::NoAddress { .. } => Kind::NotFound,
            Error::Index { .. } | Error::Digest { .. } | Error::WrongChart { .. } | Error::Changed { .. } => {
                Kind::Corrupt
            }
            Error::Git { kind, .. } => *kind,
            Error::Dependency { cause, .. } => cause.kind(),
            Error::Address { .. }
            | Error::Step { .. }
            | Error::NotAChart { .. }
            | Error::Repositories { .. }
            | Error::Insecure { .. }
            | Error::NoRepository { .. }
            | Error::NoSource { .. }
            | Error::OutOfSync { .. }
            | Error::Outside { .. }
            | Error::NoFolder { .. }
            | Error::Circle { .. }
            | Error::Limit { .. }
            | Error::Pack { .. } => Kind::Usage,
        }
    }
}

impl From<net::Error> for Error {
    fn from(cause: net::Error) -> Self {
        Error::Net(Arc::new(cause))
    }
}

impl From<registry::Error> for Error {
    fn from(cause: registry::Error) -> Self {
        Error::Registry(Arc::new(cause))
    }
}

impl From<store::Error> for Error {
    fn from(cause: store::Error) -> Self {
        Error::Store(Arc::new(cause))
    }
}

impl From<files::Error> for Error {
    fn from(cause: files::Error) -> Self {
        Error::File(Arc::new(cause))
    }
}
