//! The values of a spec. Every entry knows its label and its place, so that whatever happens to it later can say where
//! it was written.

use std::time::Duration;

use crate::{
    error::Location,
    oci::{Digest, Host, Platform, Reference, Repository},
    tree::RelPath,
    yaml::Node,
};

use super::{ObjectPattern, Pattern, Prefix};

/// Names an entry of a spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// A stable label, such as `charts[0]`.
    pub label: String,
    /// Where the entry is written.
    pub at: Location,
}

/// Holds everything that a spec says.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// The file as the user knows it.
    pub file: String,
    /// `metadata.name`, a DNS label.
    pub name: String,
    /// `metadata.version`, usable as a tag.
    pub version: String,
    /// `metadata.description`.
    pub description: Option<String>,
    /// The platforms whose images are carried; never empty.
    pub platforms: Vec<Platform>,
    /// What charts see of the cluster.
    pub kubernetes: Kubernetes,
    /// How to reach source hosts; each host once.
    pub registries: Vec<Registry>,
    /// Sources that died or moved.
    pub substitutions: Vec<Substitution>,
    /// What addresses in kustomizations and in objects of GitOps tools stand for; each address once.
    pub remotes: Vec<Remote>,
    /// Helm charts; each name once.
    pub charts: Vec<Chart>,
    /// Kubernetes manifests.
    pub manifests: Vec<Manifest>,
    /// Images and other OCI artifacts.
    pub images: Vec<Image>,
    /// Files; no name is another one or lies below another one.
    pub files: Vec<File>,
    /// What to make of findings.
    pub discovery: Discovery,
    /// Signatures that images must have.
    pub verify: Vec<Verify>,
    /// The enclave's certificate authority.
    pub issuer: Option<Issuer>,
}

/// Holds what charts see as `.Capabilities`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kubernetes {
    /// The version as written, such as `1.33`.
    pub version: Option<String>,
    /// Further API versions, such as `monitoring.coreos.com/v1`.
    pub api_versions: Vec<String>,
}

/// Says how to reach a source host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    /// The entry.
    pub entry: Entry,
    /// The host in image names.
    pub host: Host,
    /// Who answers in its place.
    pub mirror: Option<Mirror>,
    /// A file with certificates, relative to the spec.
    pub ca: Option<String>,
    /// Whether the host speaks HTTP without TLS.
    pub plain_http: bool,
}

/// Names a registry that answers in the place of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The host.
    pub host: Host,
    /// What stands in front of every repository.
    pub prefix: Option<Repository>,
}

/// Says that names are pulled from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Substitution {
    /// The entry.
    pub entry: Entry,
    /// What is replaced.
    pub from: Prefix,
    /// What takes its place.
    pub to: Prefix,
    /// Why.
    pub reason: Option<String>,
}

/// Says what an address stands for that a kustomization or an object of a GitOps tool names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The entry.
    pub entry: Entry,
    /// The address as it is written there, or that of a whole repository.
    pub address: String,
    /// What it stands for.
    pub source: RemoteSource,
}

/// Says where the content of a remote address comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteSource {
    /// A file or a folder, relative to the spec.
    Path(String),
    /// What the address answers.
    File {
        /// The digest of it.
        sha256: Digest,
    },
    /// A commit of a git repository.
    Commit {
        /// The id of the commit.
        commit: String,
        /// The repository, when it is reached elsewhere than the address says.
        repo: Option<String>,
    },
}

/// Names a Helm chart and the values it is rendered with.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// The entry.
    pub entry: Entry,
    /// The name of the chart and of its release.
    pub name: String,
    /// Where it comes from.
    pub source: ChartSource,
    /// The namespace of the release.
    pub namespace: Option<String>,
    /// The values of the first rendering.
    pub values: ChartValues,
    /// What further renderings add.
    pub variants: Vec<Variant>,
}

/// Says where a chart comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChartSource {
    /// A Helm repository, or with `oci://` or `git+…://` the chart's own address.
    Repo {
        /// The address.
        url: String,
        /// The version or range; empty where the address is exact and nothing else was written.
        version: String,
    },
    /// A folder or an archive, relative to the spec.
    Path(String),
}

/// Holds values for one rendering.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChartValues {
    /// Values files, relative to the spec.
    pub files: Vec<String>,
    /// Single values, as they were written.
    pub set: Vec<(String, Node)>,
}

/// Holds what a further rendering adds.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// The entry.
    pub entry: Entry,
    /// The values on top of the chart's.
    pub values: ChartValues,
}

/// Names Kubernetes manifests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The entry.
    pub entry: Entry,
    /// Where they come from.
    pub source: ManifestSource,
}

/// Says where manifests come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestSource {
    /// A file or a folder, relative to the spec.
    Path(String),
    /// A folder with a kustomization, relative to the spec.
    Kustomize(String),
    /// An address.
    Url {
        /// The address.
        url: String,
        /// The digest of what it answers.
        sha256: Digest,
    },
}

/// Names an image or another OCI artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The entry.
    pub entry: Entry,
    /// The reference as written.
    pub written: String,
    /// The reference; it has a tag, a digest or both.
    pub reference: Reference,
    /// An archive or a layout that holds the image, relative to the spec.
    pub archive: Option<String>,
}

/// Names a file, or a folder of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The entry.
    pub entry: Entry,
    /// The name in the bundle.
    pub name: RelPath,
    /// Where it comes from.
    pub source: FileSource,
    /// How old it may be when the bundle is loaded.
    pub max_age: Option<Duration>,
}

/// Says where a file comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileSource {
    /// A file or a folder, relative to the spec.
    Path(String),
    /// An address.
    Url {
        /// The address.
        url: String,
        /// The digest of what it answers.
        sha256: Digest,
    },
}

/// Says what happens to findings that are guesses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Guesses {
    /// They are errors until they are accepted or ignored.
    #[default]
    Fail,
    /// They count.
    Include,
    /// They do not count.
    Ignore,
}

/// Says what happens to images that only other values of a chart bring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Optional {
    /// They are looked for and listed, and carried where `accept` names them.
    #[default]
    List,
    /// They are looked for and count like all others.
    Include,
    /// They are not looked for.
    Ignore,
}

/// Says what to make of findings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    /// What happens to guesses.
    pub guesses: Guesses,
    /// What happens to images that only other values of a chart bring.
    pub optional: Optional,
    /// Guesses that are right, and optional images that are wanted.
    pub accept: Vec<Selection>,
    /// Findings that do not count.
    pub ignore: Vec<Selection>,
    /// Objects of GitOps tools that are not followed.
    pub unfollowed: Vec<Unfollowed>,
    /// Fields of custom resources that name images.
    pub rules: Vec<Rule>,
}

/// Selects images by pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The entry.
    pub entry: Entry,
    /// The pattern.
    pub image: Pattern,
    /// Why.
    pub reason: Option<String>,
}

/// Names objects of GitOps tools that are not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfollowed {
    /// The entry.
    pub entry: Entry,
    /// Which ones.
    pub object: ObjectPattern,
    /// Why.
    pub reason: Option<String>,
}

/// Says which fields of a custom resource name images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The entry.
    pub entry: Entry,
    /// The API group; empty for the core group.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The fields, such as `spec.sidecars[].image`; never empty.
    pub paths: Vec<String>,
}

/// Says that images must be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verify {
    /// The entry.
    pub entry: Entry,
    /// Which images.
    pub images: Pattern,
    /// A file with the public key, relative to the spec.
    pub key: String,
}

/// Describes the enclave's certificate authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// The entry.
    pub entry: Entry,
    /// The organization in the certificates.
    pub organization: String,
    /// The domains that certificates may name.
    pub domains: Vec<String>,
    /// The ranges of addresses that certificates may name, such as `10.0.0.0/8`.
    pub ip_ranges: Vec<String>,
    /// Names of issuers that it stands in for.
    pub replaces: Vec<String>,
}

impl Spec {
    /// Returns where an image is pulled from instead, and the substitution that says so; the longest one that fits.
    pub fn substitute(&self, image: &Reference) -> Option<(Reference, &Substitution)> {
        self.substitutions
            .iter()
            .filter_map(|substitution| Some((substitution.from.replace(image, &substitution.to)?, substitution)))
            .max_by_key(|(_, substitution)| substitution.from.as_str().len())
    }

    /// Returns how to reach a host, when the spec says something about it.
    pub fn registry(&self, host: &Host) -> Option<&Registry> {
        self.registries.iter().find(|registry| registry.host == *host)
    }
}
