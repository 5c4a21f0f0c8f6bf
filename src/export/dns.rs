//! Names for the enclave: what is deployed, and the registry, as configuration of name servers.
//!
//! # Invariants
//! - Nothing is answered for but the names that were asked for, unless a zone is named: other names of a domain go where they
//!   went before.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use super::{
    Error, Sheet,
    sheet::{comment, indented},
};
use crate::kube::is_full_name;

/// What reads the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsFormat {
    /// A server block for a Corefile.
    CoreDns,
    /// The ConfigMap that k3s and RKE2 include into theirs.
    K3s,
    /// Lines for `/etc/hosts`.
    Hosts,
    /// A zone file for BIND, NSD, Knot and the like.
    Bind,
}

/// What the names mean.
#[derive(Clone, Debug)]
pub struct DnsRequest {
    /// The bundle, for the comment.
    pub bundle: String,
    /// The host names of what is deployed.
    pub hosts: Vec<String>,
    /// Where they lead to: the load balancer or the nodes of the ingress.
    pub addresses: Vec<IpAddr>,
    /// The registry and where it is; nodes must know it from elsewhere than the cluster.
    pub registry: Option<(String, Vec<IpAddr>)>,
    /// The zones that this server answers for on its own; without one, for the names alone.
    pub zones: Vec<String>,
    /// The number of the zone's version.
    pub serial: u64,
}

/// Every name with its addresses.
struct Table {
    names: Vec<(String, Vec<IpAddr>)>,
    /// Names whose first label is any; without the `*.`.
    wild: Vec<(String, Vec<IpAddr>)>,
}

/// Returns the configuration.
///
/// # Errors
/// [`Error::NoHosts`], [`Error::HostName`] for what is no name, [`Error::NoZone`] when a zone file has no zone or a name is
/// in none.
pub fn dns(request: &DnsRequest, format: DnsFormat) -> Result<Vec<Sheet>, Error> {
    for name in request.hosts.iter().chain(&request.zones).chain(request.registry.iter().map(|(name, _)| name)) {
        if !is_full_name(name) {
            return Err(Error::HostName(name.clone()));
        }
    }
    let table = table(request);
    if table.names.is_empty() && table.wild.is_empty() {
        return Err(Error::NoHosts);
    }
    let origin = format!("Written by `bundle export dns` for {}.", comment(&request.bundle));
    match format {
        DnsFormat::CoreDns => Ok(vec![Sheet::fixed("Corefile", core_dns(request, &table, &origin)?)]),
        DnsFormat::K3s => {
            let block = core_dns(request, &table, &origin)?;
            let text = format!(
                "# {origin}\n# Install: kubectl apply -f coredns-custom.yaml    (k3s and RKE2 read it within a minute; nothing restarts.\n\
                 # A ConfigMap of this name that is there already is replaced: put its other keys in here.)\n\
                 apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: coredns-custom\n  namespace: kube-system\ndata:\n  enclave.server: |\n{}",
                indented(&block, "    ")
            );
            Ok(vec![Sheet::fixed("coredns-custom.yaml", text)])
        }
        DnsFormat::Hosts => Ok(vec![Sheet::fixed("hosts", hosts(&table, &origin))]),
        DnsFormat::Bind => zones(request, &table, &origin),
    }
}

fn table(request: &DnsRequest) -> Table {
    let mut table = Table { names: Vec::new(), wild: Vec::new() };
    let registry = request.registry.iter().map(|(name, addresses)| (name, addresses));
    let hosts: BTreeSet<&String> = request.hosts.iter().collect();
    for (name, addresses) in registry.chain(hosts.into_iter().map(|name| (name, &request.addresses))) {
        if request.registry.as_ref().is_some_and(|(registry, own)| registry == name && own != addresses) {
            continue;
        }
        match name.strip_prefix("*.") {
            Some(base) => table.wild.push((base.to_owned(), addresses.clone())),
            None => table.names.push((name.clone(), addresses.clone())),
        }
    }
    table.names.dedup();
    table
}

/// Tells whether a name is in a zone.
fn is_within(name: &str, zone: &str) -> bool {
    name == zone || name.strip_suffix(zone).is_some_and(|before| before.ends_with('.'))
}

fn outside(table: &Table, zones: &[String]) -> Option<String> {
    let all = table.names.iter().chain(&table.wild).map(|(name, _)| name);
    all.into_iter().find(|name| !zones.iter().any(|zone| is_within(name, zone))).cloned()
}

fn core_dns(request: &DnsRequest, table: &Table, origin: &str) -> Result<String, Error> {
    let zones: Vec<String> = match request.zones.as_slice() {
        [] => table
            .names
            .iter()
            .chain(&table.wild)
            .map(|(name, _)| name.clone())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
        zones => zones.to_vec(),
    };
    if let Some(name) = outside(table, &zones) {
        return Err(Error::NoZone(name));
    }
    let mut text = format!(
        "# {origin}\n# Put this block into the Corefile beside the one that begins with `.:53` (ConfigMap coredns in kube-system); CoreDNS\n\
         # reads it anew when its plugin `reload` is on. Nodes do not ask CoreDNS: give the registry's name to their resolver too.\n"
    );
    let listen: Vec<String> = zones.iter().map(|zone| format!("{zone}:53")).collect();
    text.push_str(&format!("{} {{\n    errors\n    hosts {{\n", listen.join(" ")));
    for (name, addresses) in &table.names {
        for address in addresses {
            text.push_str(&format!("        {address} {name}\n"));
        }
    }
    // Patterns are asked first, whatever the order here (CoreDNS, plugin.cfg); what has no line either does not exist.
    text.push_str("        ttl 60\n    }\n");
    for (base, addresses) in &table.wild {
        let pattern = base.replace('.', "\\.");
        for (kind, has) in [("A", IpAddr::is_ipv4 as fn(&IpAddr) -> bool), ("AAAA", IpAddr::is_ipv6)] {
            text.push_str(&format!("    template IN {kind} {base} {{\n        match \"^[^.]+\\.{pattern}\\.$\"\n"));
            for address in addresses.iter().filter(|address| has(address)) {
                text.push_str(&format!("        answer \"{{{{ .Name }}}} 60 IN {kind} {address}\"\n"));
            }
            // Without an answer this says that the name exists and has no such address.
            text.push_str("        rcode NOERROR\n        fallthrough\n    }\n");
        }
    }
    text.push_str("    cache 30\n}\n");
    Ok(text)
}

fn hosts(table: &Table, origin: &str) -> String {
    let mut text = format!(
        "# {origin}\n# Add these lines to /etc/hosts, or give them to dnsmasq (--addn-hosts) or CoreDNS (plugin hosts).\n"
    );
    for (name, addresses) in &table.names {
        for address in addresses {
            text.push_str(&format!("{address} {name}\n"));
        }
    }
    for (base, _) in &table.wild {
        text.push_str(&format!("# *.{base}: this format has no such names; add each one that is used\n"));
    }
    text
}

fn zones(request: &DnsRequest, table: &Table, origin: &str) -> Result<Vec<Sheet>, Error> {
    if let Some(name) = outside(table, &request.zones) {
        return Err(Error::NoZone(name));
    }
    // The longest zone that a name is in has it.
    let of = |name: &str| request.zones.iter().filter(|zone| is_within(name, zone)).max_by_key(|zone| zone.len());
    let serial = u32::try_from(request.serial.min(u64::from(u32::MAX))).unwrap_or(u32::MAX);
    let server = request.addresses.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let mut sheets = Vec::new();
    for zone in &request.zones {
        let mut text = format!(
            "; {origin}\n; BIND: zone \"{zone}\" {{ type primary; file \"{zone}.zone\"; }};\n\
             $ORIGIN {zone}.\n$TTL 300\n@ IN SOA ns hostmaster ( {serial} 3600 600 1209600 60 )\n@ IN NS ns\n"
        );
        let mut line = |owner: &str, address: &IpAddr| {
            let kind = if address.is_ipv4() { "A" } else { "AAAA" };
            text.push_str(&format!("{owner} IN {kind} {address}\n"));
        };
        if !table.names.iter().any(|(name, _)| *name == format!("ns.{zone}")) {
            // Change this to where the name server is, if it is not there.
            line("ns", &server);
        }
        let relative = |name: &str| match name.strip_suffix(zone.as_str()).and_then(|name| name.strip_suffix('.')) {
            Some(owner) => owner.to_owned(),
            None => "@".to_owned(),
        };
        for (name, addresses) in table.names.iter().filter(|(name, _)| of(name) == Some(zone)) {
            addresses.iter().for_each(|address| line(&relative(name), address));
        }
        for (base, addresses) in table.wild.iter().filter(|(base, _)| of(base) == Some(zone)) {
            let owner = match relative(base).as_str() {
                "@" => "*".to_owned(),
                owner => format!("*.{owner}"),
            };
            addresses.iter().for_each(|address| line(&owner, address));
        }
        let path = format!("{}.zone", zone.trim_start_matches("*.")).parse().map_err(Error::Path)?;
        sheets.push(Sheet::new(path, text));
    }
    Ok(sheets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    fn request(zones: &[&str]) -> DnsRequest {
        DnsRequest {
            bundle: "shop 1.0".into(),
            hosts: vec!["chat.enclave.lan".into(), "*.apps.enclave.lan".into(), "enclave.lan".into()],
            addresses: vec!["10.0.0.10".parse().unwrap(), "fd00::10".parse().unwrap()],
            registry: Some(("reg.enclave.lan".into(), vec!["10.0.0.5".parse().unwrap()])),
            zones: zones.iter().map(|zone| (*zone).to_owned()).collect(),
            serial: 20_261_121,
        }
    }

    #[test]
    fn core_dns_answers_for_these_names_alone_or_for_a_zone() {
        let text = &dns(&request(&[]), DnsFormat::CoreDns).unwrap()[0].text;
        assert!(
            text.contains("\napps.enclave.lan:53 chat.enclave.lan:53 enclave.lan:53 reg.enclave.lan:53 {\n"),
            "{text}"
        );
        assert!(text.contains("        10.0.0.10 chat.enclave.lan\n        fd00::10 chat.enclave.lan\n"), "{text}");
        assert!(text.contains("        10.0.0.5 reg.enclave.lan\n") && !text.contains("10.0.0.10 reg."), "{text}");
        assert!(text.contains(r#"match "^[^.]+\.apps\.enclave\.lan\.$""#), "{text}");
        assert!(text.contains("answer \"{{ .Name }} 60 IN AAAA fd00::10\""), "{text}");
        assert_eq!(text.matches('{').count(), text.matches('}').count());
        let zone = &dns(&request(&["enclave.lan"]), DnsFormat::CoreDns).unwrap()[0].text;
        assert!(zone.contains("\nenclave.lan:53 {\n"), "{zone}");
        let sheet = &dns(&request(&[]), DnsFormat::K3s).unwrap()[0];
        let object: serde_json::Value = yaml::from_text(&sheet.text).unwrap();
        assert_eq!(object["data"]["enclave.server"].as_str().unwrap(), text);
    }

    #[test]
    fn zone_files_hold_every_name_of_the_zone() {
        let sheets = dns(&request(&["enclave.lan", "apps.enclave.lan"]), DnsFormat::Bind).unwrap();
        assert_eq!(sheets[0].path.as_str(), "enclave.lan.zone");
        assert!(sheets[0].text.contains("\nchat IN A 10.0.0.10\nchat IN AAAA fd00::10\n"), "{}", sheets[0].text);
        assert!(sheets[0].text.contains("\n@ IN A 10.0.0.10\n"), "{}", sheets[0].text);
        assert!(sheets[1].text.contains("\n* IN A 10.0.0.10\n"), "{}", sheets[1].text);
        let error = dns(&request(&["other.lan"]), DnsFormat::Bind).unwrap_err();
        assert!(matches!(error, Error::NoZone(_)), "{error}");
        assert!(matches!(dns(&request(&[]), DnsFormat::Bind), Err(Error::NoZone(_))));
    }

    #[test]
    fn hosts_files_say_what_they_cannot() {
        let text = &dns(&request(&[]), DnsFormat::Hosts).unwrap()[0].text;
        assert!(text.contains("\n10.0.0.10 chat.enclave.lan\n") && text.contains("# *.apps.enclave.lan:"), "{text}");
        let bad = DnsRequest { hosts: vec!["a b\n".into()], ..request(&[]) };
        assert!(matches!(dns(&bad, DnsFormat::Hosts), Err(Error::HostName(_))));
        let none = DnsRequest { hosts: Vec::new(), registry: None, ..request(&[]) };
        assert!(matches!(dns(&none, DnsFormat::Hosts), Err(Error::NoHosts)));
    }
}
