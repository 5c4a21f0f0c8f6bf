//! `helmCharts`: what a kustomization asks of Helm. Rendering is the caller's part.

use crate::tree::{RelPath, Tree};

use super::{Error, Problem, folder::Folder, read::Section};

/// How inline values and the values file of a chart entry meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ValuesMerge {
    /// Inline values win.
    #[default]
    Override,
    /// The values file wins.
    Merge,
    /// Only inline values count.
    Replace,
}

/// Asks for the manifests of a chart.
#[derive(Clone, Debug)]
pub struct ChartRequest<'a> {
    /// The files of the kustomization, among which the chart may be.
    pub tree: &'a Tree,
    /// The folder of the kustomization; `None` is the top of the tree.
    pub folder: Option<RelPath>,
    /// The folder of charts, relative to the kustomization.
    pub chart_home: String,
    /// The chart's name.
    pub name: String,
    /// The chart's version; empty for any.
    pub version: String,
    /// The repository; empty for a chart in the tree.
    pub repo: String,
    /// The release's name; empty for a generated one.
    pub release_name: String,
    /// The release's namespace; empty for the default.
    pub namespace: String,
    /// A template for the release's name.
    pub name_template: String,
    /// The text of the values file, when one is named.
    pub values_file: Option<String>,
    /// The texts of additional values files; later ones win.
    pub additional_values: Vec<String>,
    /// Inline values as YAML.
    pub values_inline: Option<String>,
    /// How inline values and the values file meet.
    pub values_merge: ValuesMerge,
    /// Whether the chart's definitions of kinds come too.
    pub include_crds: bool,
    /// Whether hooks are left out.
    pub skip_hooks: bool,
    /// Whether tests are left out.
    pub skip_tests: bool,
    /// API versions of the cluster, besides the default ones.
    pub api_versions: Vec<String>,
    /// The version of the cluster; empty for the default.
    pub kube_version: String,
}

/// Renders charts for a build.
pub trait Charts {
    /// Returns the manifests of a chart.
    ///
    /// # Errors
    /// The chart is not declared, or does not render; the text says why and what to do.
    fn render(&self, request: &ChartRequest<'_>) -> Result<String, Box<dyn std::error::Error + Send + Sync>>;
}

const FIELDS: &[&str] = &[
    "name",
    "version",
    "repo",
    "releaseName",
    "namespace",
    "additionalValuesFiles",
    "valuesFile",
    "valuesInline",
    "valuesMerge",
    "includeCRDs",
    "skipHooks",
    "apiVersions",
    "kubeVersion",
    "nameTemplate",
    "skipTests",
    "debug",
    "devel",
];

/// Reads an entry of `helmCharts`.
pub(super) fn read<'a>(
    section: &Section<'_>,
    chart_home: &str,
    folder: &'a Folder<'_>,
    strict: bool,
) -> Result<ChartRequest<'a>, Error> {
    if strict {
        section.only(FIELDS)?;
    }
    let file = |written: &super::read::Written| -> Result<String, Error> {
        let (name, content) = folder.load(written, section.file)?;
        let text = String::from_utf8(content.to_vec());
        text.map_err(|_| Problem::NotText.at(&name, crate::yaml::Mark::START))
    };
    let values_file = match section.get("valuesFile") {
        Some(node) => {
            let text = super::read::text(section.file, node)?;
            if text.is_empty() { None } else { Some(file(&super::read::Written { text, at: node.at })?) }
        }
        None => None,
    };
    let inline = section.get("valuesInline").map(|node| node.to_json()).transpose();
    let inline = inline.map_err(|error| Problem::Syntax(error).start_of(section.file))?;
    let values_merge = match section.text_or_empty("valuesMerge")?.as_str() {
        "" | "override" => ValuesMerge::Override,
        "merge" => ValuesMerge::Merge,
        "replace" => ValuesMerge::Replace,
        other => return Err(Problem::ValuesMerge { found: other.to_owned() }.at(section.file, section.node.at)),
    };
    Ok(ChartRequest {
        tree: folder.tree(),
        folder: folder.path().cloned(),
        chart_home: chart_home.to_owned(),
        name: section.text_or_empty("name")?,
        version: section.text_or_empty("version")?,
        repo: section.text_or_empty("repo")?,
        release_name: section.text_or_empty("releaseName")?,
        namespace: section.text_or_empty("namespace")?,
        name_template: section.text_or_empty("nameTemplate")?,
        values_file,
        additional_values: section.texts("additionalValuesFiles")?.iter().map(file).collect::<Result<_, _>>()?,
        // JSON is YAML, and writes every value without a doubt about its type.
        values_inline: inline.map(|json| json.to_string()),
        values_merge,
        include_crds: section.flag("includeCRDs")?,
        skip_hooks: section.flag("skipHooks")?,
        skip_tests: section.flag("skipTests")?,
        api_versions: section.texts("apiVersions")?.into_iter().map(|version| version.text).collect(),
        kube_version: section.text_or_empty("kubeVersion")?,
    })
}
