//! What goes wrong between a chart and its manifests.

use crate::error::{Classify, Kind};

use super::{
    capabilities::KubeVersionError,
    template::{
        error::{ExecError, Limit},
        parser::ParseError,
    },
};

/// Says why a chart does not load or render.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no `Chart.yaml`.
    #[error("{chart}: Chart.yaml file is missing")]
    NoChartFile {
        /// Where the chart was expected.
        chart: String,
    },
    /// A file of the chart is no YAML, or has the wrong shape.
    #[error("{chart}: cannot load {file}: {message}")]
    File {
        /// The chart.
        chart: String,
        /// The file in it.
        file: String,
        /// What is wrong.
        message: String,
    },
    /// `Chart.yaml` breaks a rule.
    #[error("validation: {chart}: {message}")]
    Metadata {
        /// The chart.
        chart: String,
        /// The rule.
        message: String,
    },
    /// A packed subchart cannot be unpacked.
    #[error("error unpacking subchart {file} in {chart}: {message}")]
    Unpack {
        /// The chart that holds it.
        chart: String,
        /// The archive.
        file: String,
        /// Why.
        message: String,
    },
    /// Charts are nested without end, or are too large.
    #[error("{chart}: {what}")]
    TooLarge {
        /// The chart.
        chart: String,
        /// What is too large.
        what: String,
    },
    /// A dependency that `Chart.yaml` names is not in `charts/`.
    #[error("{chart}: found in Chart.yaml, but missing in charts/ directory: {}", missing.join(", "))]
    MissingDependencies {
        /// The chart.
        chart: String,
        /// The names.
        missing: Vec<String>,
    },
    /// A library chart is not rendered by itself.
    #[error("{chart}: library charts are not installable")]
    Library {
        /// The chart.
        chart: String,
    },
    /// The values that were given are no values.
    #[error("{origin}: {message}")]
    Values {
        /// The file or flag.
        origin: String,
        /// What is wrong.
        message: String,
    },
    /// The values of a subchart are no table.
    #[error(
        "type mismatch on {0}: a table is expected as the values of a subchart; remove the value or make it a mapping"
    )]
    NotATable(String),
    /// The values break the chart's schema.
    #[error("values don't meet the specifications of the schema(s) in the following chart(s):\n{0}")]
    Schema(String),
    /// The cluster is too old or too new for the chart.
    #[error("chart requires kubeVersion: {wanted} which is incompatible with Kubernetes {have}")]
    KubeVersion {
        /// The range.
        wanted: String,
        /// The cluster.
        have: String,
    },
    /// The cluster's version is none.
    #[error(transparent)]
    BadKubeVersion(#[from] KubeVersionError),
    /// A template is no template.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// A template failed.
    #[error("{0}")]
    Exec(Box<ExecError>),
    /// What a template made is no YAML.
    #[error("YAML parse error on {template}: {message}")]
    Manifest {
        /// The template.
        template: String,
        /// The line of the template, when known.
        line: Option<u32>,
        /// What is wrong.
        message: String,
    },
    /// `show-only` names a template that made nothing.
    #[error("could not find template {0} in chart")]
    NoSuchTemplate(String),
    /// The renderer's thread could not be started or failed.
    #[error("the renderer failed: {0}")]
    Renderer(String),
}

impl Error {
    /// Returns the bound that was broken, if that is the reason.
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Error::Exec(error) => error.limit(),
            _ => None,
        }
    }

    /// Returns what the chart's author says through `fail` or `required`, if that is the reason.
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Error::Exec(error) => error.refusal(),
            _ => None,
        }
    }
}

impl From<Box<ExecError>> for Error {
    fn from(error: Box<ExecError>) -> Self {
        Error::Exec(error)
    }
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        match self {
            Error::Renderer(_) => Kind::Internal,
            _ => Kind::Usage,
        }
    }
}
