//! Node configuration that sends every pull of a shipped image to the enclave, so that manifests need no change.
//!
//! | file | runtime | what it can say |
//! |---|---|---|
//! | `containerd.rs` | containerd, and Talos which speaks of it in its own words | a path in front of every name of a source registry |
//! | `containers.rs` | CRI-O and Podman, and OpenShift which configures CRI-O | a path for a registry, or for each repository |
//! | `k3s.rs` | k3s and RKE2 | regular expressions on names |
//! | `docker.rs` | Docker Engine | mirrors of Docker Hub alone |
//!
//! # Invariants
//! - Where a name goes is what [`Renamer`] says, the same that `load` pushes by; a rule is written only when it gives
//!   exactly this for every image.
//! - No rule ever lets a runtime ask the source registry: in an enclave that only means waiting.
//! - Names that mean Docker Hub too (`index.docker.io`, `registry-1.docker.io`) are covered with it.

mod containerd;
mod containers;
mod docker;
mod k3s;

use std::collections::BTreeMap;

use super::{Content, Error, Sheet};
use crate::{
    names::{Layout, Renamer, Target},
    oci::{Host, Repository},
};

/// A runtime, by the configuration that it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MirrorFormat {
    /// containerd's `certs.d/HOST/hosts.toml`.
    Containerd,
    /// `registries.conf.d` of CRI-O and Podman.
    CriO,
    /// Docker Engine.
    Docker,
    /// `registries.yaml` of k3s and RKE2.
    K3s,
    /// ImageDigestMirrorSet and ImageTagMirrorSet.
    OpenShift,
    /// Machine configuration of Talos.
    Talos,
}

impl MirrorFormat {
    fn name(self) -> &'static str {
        match self {
            MirrorFormat::Containerd => "containerd",
            MirrorFormat::CriO => "CRI-O",
            MirrorFormat::Docker => "Docker",
            MirrorFormat::K3s => "k3s",
            MirrorFormat::OpenShift => "OpenShift",
            MirrorFormat::Talos => "Talos",
        }
    }
}

/// Where the images are in the enclave and how it is reached.
#[derive(Clone, Debug)]
pub struct Registry {
    /// Host and prefix, as given to `load`.
    pub target: Target,
    /// How names were made.
    pub layout: Layout,
    /// Whether it speaks HTTP without TLS.
    pub plain_http: bool,
    /// The certificate of its authority (PEM), when nodes do not trust it by themselves.
    pub ca: Option<String>,
}

impl Registry {
    /// Returns `https://HOST` or `http://HOST`.
    fn url(&self) -> String {
        format!("{}://{}", if self.plain_http { "http" } else { "https" }, self.target.host)
    }
}

/// Where the names of one source registry go.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Route {
    /// The source registry, as manifests may write it; the first is its proper name.
    hosts: Vec<String>,
    rule: Rule,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    /// Every name goes behind this path.
    Behind(Repository),
    /// Each name goes somewhere else.
    Each(BTreeMap<Repository, Repository>),
}

/// Everything that the formats write from.
struct Plan<'a> {
    registry: &'a Registry,
    routes: Vec<Route>,
    /// What the configuration is for, in one line.
    bundle: String,
}

/// Returns the configuration of nodes of one kind.
///
/// # Errors
/// [`Error::Rename`] when two images would share a name, [`Error::NoImages`], [`Error::OwnName`],
/// [`Error::NotExpressible`] when the runtime has no words for the layout.
pub fn mirrors(content: &Content, registry: &Registry, format: MirrorFormat) -> Result<Vec<Sheet>, Error> {
    let plan = Plan {
        registry,
        routes: routes(content, registry)?,
        bundle: super::sheet::comment(&format!("{} {}", content.name, content.version)),
    };
    match format {
        MirrorFormat::Containerd => containerd::hosts(&plan),
        MirrorFormat::Talos => containerd::talos(&plan),
        MirrorFormat::CriO => Ok(containers::registries(&plan)),
        MirrorFormat::OpenShift => Ok(containers::mirror_sets(&plan)),
        MirrorFormat::K3s => Ok(k3s::registries(&plan)),
        MirrorFormat::Docker => docker::files(&plan, content),
    }
}

fn routes(content: &Content, registry: &Registry) -> Result<Vec<Route>, Error> {
    let mut renamer = Renamer::new(registry.target.clone(), registry.layout);
    let mut names: BTreeMap<&Host, BTreeMap<Repository, Repository>> = BTreeMap::new();
    for image in &content.images {
        let (host, repository) = (&image.reference.host, &image.reference.repository);
        if *host == registry.target.host {
            return Err(Error::OwnName { image: image.reference.to_string(), host: host.to_string() });
        }
        let target = renamer.image(host, repository)?;
        names.entry(host).or_default().insert(repository.clone(), target);
    }
    if names.is_empty() {
        return Err(Error::NoImages);
    }
    Ok(names
        .into_iter()
        .map(|(host, names)| {
            let mut hosts = vec![host.to_string()];
            if host.is_docker_hub() {
                hosts.extend(HUB_ALIASES.map(str::to_owned));
            }
            Route { hosts, rule: rule(names) }
        })
        .collect())
}

/// Other names of Docker Hub: manifests write them, and most runtimes take them for registries of their own.
const HUB_ALIASES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];

/// Finds one path that stands before every name, or keeps them apart.
fn rule(names: BTreeMap<Repository, Repository>) -> Rule {
    let before = |(source, target): (&Repository, &Repository)| {
        target.as_str().strip_suffix(source.as_str())?.strip_suffix('/')?.parse::<Repository>().ok()
    };
    match names.iter().map(before).reduce(|one, other| if one == other { one } else { None }).flatten() {
        Some(path) => Rule::Behind(path),
        None => Rule::Each(names),
    }
}

impl Route {
    /// Returns the path for runtimes that know no other rule.
    fn path(&self, format: MirrorFormat) -> Result<&Repository, Error> {
        match &self.rule {
            Rule::Behind(path) => Ok(path),
            Rule::Each(names) => {
                let (source, target) =
                    names.first_key_value().map(|(a, b)| (a.as_str(), b.as_str())).unwrap_or_default();
                Err(Error::NotExpressible {
                    format: format.name(),
                    source_name: format!("{}/{source}", self.host()),
                    target: target.to_owned(),
                })
            }
        }
    }

    fn host(&self) -> &str {
        self.hosts.first().map_or("", String::as_str)
    }
}

impl Plan<'_> {
    /// Returns who wrote this and for what, one line.
    fn origin(&self) -> String {
        format!("Written by `bundle export mirrors` for {} in {}.", self.bundle, self.registry.target)
    }

    fn ca(&self) -> Option<&str> {
        self.registry.ca.as_deref()
    }
}

#[cfg(test)]
mod tests;
