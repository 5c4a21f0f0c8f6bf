//! `bundle export mirrors`.

use std::path::PathBuf;

use super::{input::From, output::Into};
use crate::{
    cli::{Context, Failure},
    export::{MirrorFormat, Registry, mirrors},
    names::{Layout, Target},
};

/// Write node configuration that makes unchanged manifests pull from the enclave, by tag and by digest.
///
/// One entry for each registry that images of the bundle are named after. How to install it, and what restarts, stands at
/// the top of each file.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    from: From,
    /// Where the images are loaded to: HOST[:PORT][/PREFIX].
    #[arg(long, value_name = "TARGET")]
    to: Target,
    /// What the nodes run.
    #[arg(long, value_enum, value_name = "RUNTIME")]
    format: Runtime,
    /// Names in the target, as given to `bundle load`: source, host, flat, or depth=N.
    #[arg(long, value_name = "LAYOUT", default_value = "source")]
    layout: Layout,
    /// Certificate of the authority that signed the registry's certificate; put beside the configuration.
    #[arg(long, value_name = "FILE", conflicts_with = "plain_http")]
    ca: Option<PathBuf>,
    /// The registry speaks plain HTTP.
    #[arg(long)]
    plain_http: bool,
    #[command(flatten)]
    into: Into,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Runtime {
    /// containerd: a folder of hosts.toml.
    Containerd,
    /// CRI-O, and Podman, Buildah, Skopeo: a drop-in of registries.conf.
    #[value(name = "cri-o", alias = "crio", alias = "podman")]
    CriO,
    /// Docker Engine: mirrors of Docker Hub, a script for the rest.
    Docker,
    /// k3s and RKE2: registries.yaml.
    #[value(alias = "rke2")]
    K3s,
    /// OpenShift: ImageDigestMirrorSet and ImageTagMirrorSet.
    #[value(name = "openshift", alias = "okd")]
    OpenShift,
    /// Talos Linux: machine configuration.
    Talos,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let ca = match &self.ca {
            Some(path) => Some(super::trust::read(path)?.to_pem()),
            None => None,
        };
        let content = self.from.content(context)?;
        let registry = Registry { target: self.to, layout: self.layout, plain_http: self.plain_http, ca };
        let format = match self.format {
            Runtime::Containerd => MirrorFormat::Containerd,
            Runtime::CriO => MirrorFormat::CriO,
            Runtime::Docker => MirrorFormat::Docker,
            Runtime::K3s => MirrorFormat::K3s,
            Runtime::OpenShift => MirrorFormat::OpenShift,
            Runtime::Talos => MirrorFormat::Talos,
        };
        self.into.write(&mirrors(&content, &registry, format)?)
    }
}
