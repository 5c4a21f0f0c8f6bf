//! `bundle export policy`.

use super::{input::From, output::Into};
use crate::{
    cli::{Context, Failure},
    export::{Error, PolicyFormat, PolicyRequest, policy},
    names::{Layout, Target},
    trust::Policy,
};

/// Write a policy by which a cluster or a node accepts only what was shipped: images that the given key signed.
///
/// `--key` is checked against the archive as well, so that no policy is written that would refuse what it is for. How to
/// install it stands at the top of the file.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    from: From,
    /// Where the images are loaded to: HOST[:PORT][/PREFIX].
    #[arg(long, value_name = "TARGET")]
    to: Target,
    /// Who enforces it.
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Format,
    /// Names in the target, as given to `bundle load`: source, host, flat, or depth=N.
    #[arg(long, value_name = "LAYOUT", default_value = "source")]
    layout: Layout,
    /// Namespace that Kyverno leaves alone; repeat for several. The cluster's own pods are often not in a bundle.
    #[arg(long, value_name = "NAME", default_value = "kube-system", conflicts_with = "no_exempt")]
    exempt: Vec<String>,
    /// Leave no namespace alone, not even kube-system.
    #[arg(long)]
    no_exempt: bool,
    #[command(flatten)]
    into: Into,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// Kyverno, ClusterPolicy.
    Kyverno,
    /// Kyverno, ImageValidatingPolicy (1.16 or newer).
    KyvernoImageValidating,
    /// sigstore policy-controller, ClusterImagePolicy.
    PolicyController,
    /// CRI-O, Podman, Skopeo: policy.json and registries.d.
    #[value(alias = "containers", alias = "cri-o")]
    ContainersPolicy,
    /// OpenShift, ClusterImagePolicy (4.17 or newer).
    #[value(name = "openshift")]
    OpenShift,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        if self.from.trust.keys.is_empty() {
            return Err(Error::NoKey.into());
        }
        let trusted = self.from.trust.policy()?;
        let keys = trusted.iter().flat_map(Policy::keys).cloned().collect();
        let content = self.from.content(context)?;
        let exempt = if self.no_exempt { Vec::new() } else { self.exempt };
        let request = PolicyRequest { target: self.to, layout: self.layout, keys, exempt };
        let format = match self.format {
            Format::Kyverno => PolicyFormat::Kyverno,
            Format::KyvernoImageValidating => PolicyFormat::KyvernoImageValidating,
            Format::PolicyController => PolicyFormat::PolicyController,
            Format::ContainersPolicy => PolicyFormat::Containers,
            Format::OpenShift => PolicyFormat::OpenShift,
        };
        self.into.write(&policy(&content, &request, format)?)
    }
}
