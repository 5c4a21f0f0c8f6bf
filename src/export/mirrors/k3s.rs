//! `registries.yaml` of k3s and RKE2 (k3s documentation, "Private Registry Configuration").

use super::{Plan, Rule, Sheet};

/// Returns the file for `/etc/rancher/k3s` or `/etc/rancher/rke2`.
pub(super) fn registries(plan: &Plan<'_>) -> Vec<Sheet> {
    let mut text = format!(
        "# {}\n#\n# Install: copy this file to /etc/rancher/k3s/registries.yaml (RKE2: /etc/rancher/rke2/registries.yaml) on every node\n\
         # and restart its service: k3s, k3s-agent, rke2-server or rke2-agent. Pods keep running meanwhile.\n\
         # Start every node with `disable-default-registry-endpoint: true` in config.yaml beside it: otherwise containerd asks the\n\
         # internet when the enclave does not have an image, and the error that is shown is the internet's.\n",
        plan.origin()
    );
    if plan.ca().is_some() {
        text.push_str("# Copy ca.crt to /etc/rancher/enclave-registry-ca.crt first.\n");
    }
    text.push_str("mirrors:\n");
    for route in &plan.routes {
        for host in &route.hosts {
            text.push_str(&format!("  {host:?}:\n    endpoint:\n      - {:?}\n    rewrite:\n", plan.registry.url()));
            match &route.rule {
                Rule::Behind(path) => text.push_str(&format!("      \"^(.*)$\": \"{path}/$1\"\n")),
                // The order of rules is not kept, so no two may fit one name: each is anchored on both ends.
                Rule::Each(names) => {
                    for (source, target) in names {
                        let source = source.as_str().replace('.', "\\\\.");
                        text.push_str(&format!("      \"^{source}$\": \"{target}\"\n"));
                    }
                }
            }
        }
    }
    if plan.registry.plain_http {
        // Without an entry of its own, the registry is asked over TLS for what has a name in the enclave.
        let host = plan.registry.target.host.to_string();
        text.push_str(&format!("  {host:?}:\n    endpoint:\n      - {:?}\n", plan.registry.url()));
    }
    if plan.ca().is_some() {
        text.push_str(&format!(
            "configs:\n  {:?}:\n    tls:\n      ca_file: /etc/rancher/enclave-registry-ca.crt\n",
            plan.registry.target.host.to_string()
        ));
    }
    let mut sheets = vec![Sheet::fixed("registries.yaml", text)];
    sheets.extend(plan.ca().map(|ca| Sheet::fixed("ca.crt", ca)));
    sheets
}
