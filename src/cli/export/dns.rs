//! `bundle export dns`.

use std::net::IpAddr;

use super::{input::From, output::Into};
use crate::{
    cli::{Context, Failure},
    export::{DnsFormat, DnsRequest, dns},
    oci::Host,
};

/// Write name server configuration for the hosts that the manifests and charts of a bundle speak of, and for the registry.
///
/// The names come from Ingress, Gateway and its routes, IngressRoute, Certificate and their kin, as `bundle resolve` found
/// them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    from: From,
    /// Address that the hosts lead to: the load balancer or the nodes of the ingress; repeat for several.
    #[arg(long = "ip", value_name = "IP", required = true)]
    addresses: Vec<IpAddr>,
    /// The registry, to be known as well.
    #[arg(long, value_name = "HOST")]
    registry: Option<Host>,
    /// Address of the registry, when it is another; repeat for several.
    #[arg(long = "registry-ip", value_name = "IP", requires = "registry")]
    registry_addresses: Vec<IpAddr>,
    /// Zone that the server answers for on its own; repeat for several. Without one, it answers for the names alone.
    #[arg(long = "zone", value_name = "NAME")]
    zones: Vec<String>,
    /// Further name that leads to the same addresses; repeat for several.
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
    /// What reads it.
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Format,
    #[command(flatten)]
    into: Into,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// A server block for a Corefile.
    Coredns,
    /// The ConfigMap coredns-custom of k3s and RKE2.
    K3s,
    /// Lines for /etc/hosts.
    Hosts,
    /// Zone files for BIND and the like; needs --zone.
    Bind,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let content = self.from.content(context)?;
        let registry = self.registry.map(|host| {
            let own = self.registry_addresses.clone();
            (host.name().to_owned(), if own.is_empty() { self.addresses.clone() } else { own })
        });
        let request = DnsRequest {
            bundle: format!("{} {}", content.name, content.version),
            hosts: content.hosts.into_iter().chain(self.hosts).collect(),
            addresses: self.addresses,
            registry,
            zones: self.zones,
            serial: content.sequence,
        };
        let format = match self.format {
            Format::Coredns => DnsFormat::CoreDns,
            Format::K3s => DnsFormat::K3s,
            Format::Hosts => DnsFormat::Hosts,
            Format::Bind => DnsFormat::Bind,
        };
        self.into.write(&dns(&request, format)?)
    }
}
