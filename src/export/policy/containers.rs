//! containers/image: `policy.json` (containers-policy.json(5)) with `registries.d` (containers-registries.d(5)), and
//! OpenShift's ClusterImagePolicy, from which the nodes' files are made.
//!
//! Signatures speak of the source names, and containers/image compares names: an image under its name in the enclave needs
//! the mapping said again (`remapIdentity`), an image that comes through a mirror is asked for by its source name.

use base64::Engine as _;
use serde_json::{Map, Value, json};

use super::{PolicyRequest, Route, identities};
use crate::{export::Sheet, trust::PublicKey};

fn base64(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// Returns `policy.json`, the drop-in that makes signatures be looked for, and how to install both.
pub(super) fn policy_json(routes: &[Route], request: &PolicyRequest, origin: &str) -> Vec<Sheet> {
    let keys: Vec<String> = request.keys.iter().map(|key| base64(&key.to_pem())).collect();
    let signed = |identity: Value| {
        let mut one = Map::from_iter([("type".to_owned(), json!("sigstoreSigned"))]);
        match keys.as_slice() {
            [key] => one.insert("keyData".into(), json!(key)),
            // One of several is enough; separate requirements would all have to hold.
            keys => one.insert("keyDatas".into(), json!(keys)),
        };
        one.insert("signedIdentity".into(), identity);
        json!([one])
    };
    let mut docker = Map::new();
    for (inside, source) in identities(routes, request) {
        docker
            .insert(inside.clone(), signed(json!({"type": "remapIdentity", "prefix": inside, "signedPrefix": source})));
        docker.insert(source, signed(json!({"type": "matchRepoDigestOrExact"})));
    }
    let policy = json!({
        "default": [{"type": "reject"}],
        "transports": {
            "docker": docker,
            // What is on the machine already was judged when it was pulled.
            "containers-storage": {"": [{"type": "insecureAcceptAnything"}]},
        },
    });
    let mut scopes: Vec<String> = identities(routes, request).into_iter().flat_map(|(a, b)| [a, b]).collect();
    scopes.sort();
    scopes.dedup();
    let mut drop_in = format!(
        "# {origin}\n# Install: copy this file to /etc/containers/registries.d/. It makes signatures be looked for beside images.\ndocker:\n"
    );
    for scope in &scopes {
        drop_in.push_str(&format!("  {scope:?}:\n    use-sigstore-attachments: true\n"));
    }
    let readme = format!(
        "{origin}\n\n\
         policy.json                  to /etc/containers/policy.json, in place of the one that is there (keep a copy)\n\
         registries.d/enclave.yaml    to /etc/containers/registries.d/enclave.yaml\n\n\
         Podman, Buildah and Skopeo read both at each call; CRI-O after `systemctl reload crio`. Everything that the shipper's key has\n\
         not signed is refused from then on, images of the distribution itself included: ship them too, or add a scope for them.\n\
         Test: `skopeo copy docker://NAME dir:/tmp/probe` takes a shipped image and refuses any other.\n\
         Debian's and Ubuntu's builds of Skopeo and Podman older than 2024 were made without this kind of signature.\n"
    );
    vec![
        Sheet::fixed("README.txt", readme),
        Sheet::fixed("policy.json", format!("{policy:#}\n")),
        Sheet::fixed("registries.d/enclave.yaml", drop_in),
    ]
}

/// Returns OpenShift's policies: one object for each identity, because an object has one.
pub(super) fn cluster_image_policies(
    routes: &[Route],
    request: &PolicyRequest,
    key: &PublicKey,
    origin: &str,
) -> Sheet {
    let mut text = format!(
        "# {origin}\n#\n# Install: `oc apply -f openshift-policy.yaml` (OpenShift 4.17 or newer). The Machine Config Operator writes policy.json on each\n\
         # node in turn; watch `oc get machineconfigpools`. What no policy speaks of is still accepted: restrict that with\n\
         # `allowedRegistries` of image.config.openshift.io/cluster.\n"
    );
    let mut number = 0;
    for (inside, source) in identities(routes, request) {
        number += 1;
        let identity = format!(
            "      matchPolicy: RemapIdentity\n      remapIdentity:\n        prefix: {inside:?}\n        signedPrefix: {source:?}\n"
        );
        for (scope, identity) in
            [(&inside, identity.as_str()), (&source, "      matchPolicy: MatchRepoDigestOrExact\n")]
        {
            let place = if scope == &inside { "inside" } else { "mirrored" };
            text.push_str(&format!(
                "---\napiVersion: config.openshift.io/v1\nkind: ClusterImagePolicy\nmetadata:\n  name: enclave-{place}-{number}\nspec:\n  scopes: [{scope:?}]\n  policy:\n    rootOfTrust:\n      policyType: PublicKey\n      publicKey:\n        keyData: {}\n    signedIdentity:\n{}",
                base64(&key.to_pem()),
                identity
            ));
        }
    }
    Sheet::fixed("openshift-policy.yaml", text)
}
