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
//! - Where a name goes is what `Renamer` says, the same that `load` pushes by; a rule is written only when it gives
//!   exactly this for every image.
//! - No rule ever lets a runtime ask the source registry: in an enclave that only means waiting.
//! - Names that mean Docker Hub too (`index.docker.io`, `registry-1.docker.io`) are covered with it.

mod containerd;
mod containers;
mod docker;
mod k3s;

use super::{
    Content, Error, Sheet,
    routes::{Route, Rule, routes},
};
use crate::{
    names::{Layout, Target},
    oci::Repository,
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
    // A mirror of the enclave's registry in itself would hide everything else there.
    let own = content.images.iter().find(|image| image.reference.host == registry.target.host);
    if let Some(image) = own {
        let (image, host) = (image.reference.to_string(), registry.target.host.to_string());
        return Err(Error::OwnName { image, host });
    }
    let plan = Plan {
        registry,
        routes: routes(content, &registry.target, registry.layout)?,
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
