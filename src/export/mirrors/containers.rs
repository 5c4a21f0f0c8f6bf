//! `registries.conf` of CRI-O, Podman, Buildah and Skopeo (containers-registries.conf(5)), and OpenShift's mirror sets.

use super::{Plan, Sheet};
use crate::export::sheet::indented;

/// Returns every prefix of names with where it goes.
fn prefixes(plan: &Plan<'_>) -> Vec<(String, String)> {
    let inside = &plan.registry.target.host;
    let all = plan.routes.iter().flat_map(|route| route.prefixes());
    all.map(|(source, path)| (source, format!("{inside}/{path}"))).collect()
}

/// Returns a drop-in for `/etc/containers/registries.conf.d`.
pub(super) fn registries(plan: &Plan<'_>) -> Vec<Sheet> {
    let host = &plan.registry.target.host;
    let insecure = if plan.registry.plain_http { "insecure = true\n" } else { "" };
    let trust = match plan.ca() {
        Some(_) => format!("# Copy ca.crt to /etc/containers/certs.d/{host}/ca.crt as well.\n"),
        None => String::new(),
    };
    let mut text = format!(
        "# {}\n#\n# Install: copy this file to /etc/containers/registries.conf.d/ on every node. Podman and Skopeo read it at each call;\n\
         # CRI-O at its start and when it is told: `systemctl reload crio`. Nothing restarts.\n{trust}\n\
         # Names without a registry mean Docker Hub, as Kubernetes understands them.\n\
         unqualified-search-registries = [\"docker.io\"]\n",
        plan.origin()
    );
    for (prefix, location) in prefixes(plan) {
        text.push_str(&format!("\n[[registry]]\nprefix = \"{prefix}\"\nlocation = \"{location}\"\n{insecure}"));
    }
    if plan.registry.plain_http {
        text.push_str(&format!("\n[[registry]]\nlocation = \"{host}\"\n{insecure}"));
    }
    let mut sheets = vec![Sheet::fixed("50-enclave.conf", text)];
    sheets.extend(plan.ca().map(|ca| Sheet::fixed("ca.crt", ca)));
    sheets
}

/// Returns the objects that make OpenShift's nodes use the enclave, for pulls by digest and by tag.
pub(super) fn mirror_sets(plan: &Plan<'_>) -> Vec<Sheet> {
    let mut text = format!(
        "# {}\n#\n# Install: `oc apply -f openshift-mirrors.yaml`. The Machine Config Operator writes registries.conf on each node in turn and\n\
         # reloads CRI-O; watch `oc get machineconfigpools`. Two objects, because pulls by digest and by tag have one each.\n",
        plan.origin()
    );
    for (kind, field) in [("ImageDigestMirrorSet", "imageDigestMirrors"), ("ImageTagMirrorSet", "imageTagMirrors")] {
        text.push_str(&format!(
            "---\napiVersion: config.openshift.io/v1\nkind: {kind}\nmetadata:\n  name: enclave\nspec:\n  {field}:\n"
        ));
        for (source, mirror) in prefixes(plan) {
            text.push_str(&format!(
                "    - source: {source:?}\n      mirrors: [{mirror:?}]\n      mirrorSourcePolicy: NeverContactSource\n"
            ));
        }
    }
    if let Some(ca) = plan.ca() {
        // A key of a ConfigMap holds no colon; OpenShift reads two dots as one.
        let key = plan.registry.target.host.to_string().replace(':', "..");
        text.push_str(&format!(
            "---\n# Then: oc patch image.config.openshift.io/cluster --type=merge \\\n#   -p '{{\"spec\":{{\"additionalTrustedCA\":{{\"name\":\"enclave-registry-ca\"}}}}}}'\n\
             apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: enclave-registry-ca\n  namespace: openshift-config\ndata:\n  {key:?}: |\n{}",
            indented(ca, "    ")
        ));
    }
    vec![Sheet::fixed("openshift-mirrors.yaml", text)]
}
