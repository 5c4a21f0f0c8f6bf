//! What goes wrong between a chart and its manifests.

use crate::error::{Classify, Diagnostic, Kind, Location};

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
    #[error("{error}")]
    Exec {
        /// How, in Go's words, with every place from the outermost template to the failing line.
        error: Box<ExecError>,
        /// The same for people: the failing place, what is wrong there, and what to do.
        diagnostics: Vec<Diagnostic>,
    },
    /// What a template made is no YAML.
    #[error("YAML parse error on {template}{}: {message}", line.map(|line| format!(":{line}")).unwrap_or_default())]
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
            Error::Exec { error, .. } => error.limit(),
            _ => None,
        }
    }

    /// Returns what the chart's author says through `fail` or `required`, if that is the reason.
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Error::Exec { error, .. } => error.refusal(),
            _ => None,
        }
    }
}

impl From<Box<ExecError>> for Error {
    fn from(error: Box<ExecError>) -> Self {
        let diagnostics = vec![diagnostic(&error)];
        Error::Exec { error, diagnostics }
    }
}

/// Says where a template failed, why, and what the one who renders it can do.
fn diagnostic(error: &ExecError) -> Diagnostic {
    let root = error.root();
    let mut hints = Vec::new();
    match (error.unset(), error.refusal(), error.limit()) {
        (Some(unset), ..) => {
            let path = unset.wanted;
            hints.push(format!("set {path} in a values file, or with --set {path}=VALUE"));
        }
        (None, Some(_), _) => {}
        (None, None, Some(_)) => {
            hints.push(
                "the chart asks for more than any sound chart needs: look for a loop or a template that calls itself"
                    .to_owned(),
            );
        }
        (None, None, None) => match error.values().as_slice() {
            [] => {}
            values => hints.push(format!("look at the values that this line reads: {}", values.join(", "))),
        },
    }
    let chain = error.chain();
    if let [outer @ .., _] = chain.as_slice()
        && !outer.is_empty()
    {
        // The nearest caller comes first, as in a stack trace.
        let places: Vec<String> = outer.iter().rev().map(|site| format!("{}:{}", site.file, site.line)).collect();
        hints.push(format!("it is included from {}", places.join(", from ")));
    }
    if !root.site.text.is_empty() {
        hints.push(format!("the line is: {}", root.site.text));
    }
    let code = if error.refusal().is_some() { "chart-refused" } else { "template" };
    let at = Location::new(root.site.file.as_str(), root.site.line, root.site.column + 1);
    Diagnostic::error(code, error.sentence()).at(at).hint(hints.join("; "))
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        match self {
            Error::Renderer(_) => Kind::Internal,
            _ => Kind::Usage,
        }
    }

    fn diagnostics(&self) -> &[Diagnostic] {
        match self {
            Error::Exec { diagnostics, .. } => diagnostics,
            _ => &[],
        }
    }
}
