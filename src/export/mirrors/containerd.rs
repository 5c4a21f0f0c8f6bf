//! containerd's `hosts.toml` (containerd, docs/hosts.md), and the same in Talos' words.

use super::{Error, MirrorFormat, Plan, Sheet};
use crate::export::sheet::indented;

/// Returns a folder for `/etc/containerd/certs.d`.
pub(super) fn hosts(plan: &Plan<'_>) -> Result<Vec<Sheet>, Error> {
    let mut sheets = Vec::new();
    for route in &plan.routes {
        let path = route.path(MirrorFormat::Containerd)?;
        let url = format!("{}/v2/{path}", plan.registry.url());
        for host in &route.hosts {
            let folder = format!("certs.d/{}", folder(host));
            sheets.push(sheet(&format!("{folder}/hosts.toml"), text(plan, host, &url, true))?);
            if let Some(ca) = plan.ca() {
                sheets.push(sheet(&format!("{folder}/ca.crt"), ca.to_owned())?);
            }
        }
    }
    // Charts, files and images that are asked for by their name in the enclave.
    let own = plan.registry.target.host.to_string();
    if plan.ca().is_some() || plan.registry.plain_http {
        let folder = format!("certs.d/{}", folder(&own));
        sheets.push(sheet(&format!("{folder}/hosts.toml"), text(plan, &own, &plan.registry.url(), false))?);
        if let Some(ca) = plan.ca() {
            sheets.push(sheet(&format!("{folder}/ca.crt"), ca.to_owned())?);
        }
    }
    Ok(sheets)
}

fn sheet(path: &str, text: String) -> Result<Sheet, Error> {
    Ok(Sheet::new(path.parse().map_err(Error::Path)?, text))
}

/// Writes a host as containerd looks for it on systems whose file names hold no colon (`host_port_`); it looks for this
/// spelling on every system, and first.
fn folder(host: &str) -> String {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => format!("{name}_{port}_"),
        _ => host.to_owned(),
    }
}

fn text(plan: &Plan<'_>, host: &str, url: &str, is_mirror: bool) -> String {
    let settings = |indent: &str| {
        let mut lines = format!("{indent}capabilities = [\"pull\", \"resolve\"]\n");
        if is_mirror {
            lines.push_str(&format!("{indent}override_path = true\n"));
        }
        if plan.ca().is_some() {
            lines.push_str(&format!("{indent}ca = \"ca.crt\"\n"));
        }
        lines
    };
    format!(
        r#"# {host} in the enclave.
# {origin}
#
# Install: copy the folder `certs.d` to /etc/containerd on every node. containerd reads it at each pull; nothing restarts.
# Once on each node /etc/containerd/config.toml must name the folder, and containerd restarts:
#   containerd 1.x   [plugins."io.containerd.grpc.v1.cri".registry]     config_path = "/etc/containerd/certs.d"
#   containerd 2.x   [plugins."io.containerd.cri.v1.images".registry]   config_path = "/etc/containerd/certs.d"
#
# `server` keeps containerd from asking the internet. The same address stands under `host` because containerd 1.6
# refuses a file without one.
server = "{url}"
{above}
[host."{url}"]
{below}"#,
        origin = plan.origin(),
        above = settings(""),
        below = settings("  "),
    )
}

/// Returns documents for Talos' machine configuration (Talos, RegistryMirrorConfig and RegistryTLSConfig; since 1.12).
pub(super) fn talos(plan: &Plan<'_>) -> Result<Vec<Sheet>, Error> {
    let mut text = format!(
        "# {}\n#\n# Install: `talosctl patch machineconfig --patch @talos-registries.yaml` for every node. No reboot.\n",
        plan.origin()
    );
    for route in &plan.routes {
        let path = route.path(MirrorFormat::Talos)?;
        for host in &route.hosts {
            text.push_str(&format!(
                "---\napiVersion: v1alpha1\nkind: RegistryMirrorConfig\nname: {host:?}\nendpoints:\n  - url: {:?}\n    overridePath: true\nskipFallback: true\n",
                format!("{}/v2/{path}", plan.registry.url())
            ));
        }
    }
    if let Some(ca) = plan.ca() {
        text.push_str(&format!(
            "---\napiVersion: v1alpha1\nkind: RegistryTLSConfig\nname: {:?}\nca: |-\n{}",
            plan.registry.target.host.to_string(),
            indented(ca, "  ")
        ));
    }
    Ok(vec![Sheet::fixed("talos-registries.yaml", text)])
}
