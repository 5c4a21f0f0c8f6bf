//! Policies by which a cluster accepts only what was shipped: signed by the keys that sign archives, from the enclave's
//! registry. `load` puts the signatures beside the images, at the tag that all of these read and as referrers.
//!
//! | file | owns |
//! |---|---|
//! | `mod.rs` | Kyverno and policy-controller: templates of `manifests/policy/` |
//! | `containers.rs` | containers/image (CRI-O, Podman, Skopeo) and OpenShift, which configures it |
//!
//! # Invariants
//! - One signature of any of the given keys is enough; none is a refusal.
//! - No policy asks a transparency log or anything else outside.

mod containers;

use super::{
    Content, Error, Sheet,
    routes::{Route, routes},
    sheet::{comment, fill, indented},
};
use crate::{
    names::{Layout, Target},
    trust::PublicKey,
};

const KYVERNO: &str = include_str!("../../../manifests/policy/kyverno.yaml");
const IMAGE_VALIDATING: &str = include_str!("../../../manifests/policy/kyverno-image-validating.yaml");
const POLICY_CONTROLLER: &str = include_str!("../../../manifests/policy/policy-controller.yaml");

/// Who enforces a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyFormat {
    /// Kyverno's ClusterPolicy.
    Kyverno,
    /// Kyverno's ImageValidatingPolicy.
    KyvernoImageValidating,
    /// ClusterImagePolicy of sigstore's policy-controller.
    PolicyController,
    /// `policy.json` and `registries.d` of CRI-O, Podman and Skopeo.
    Containers,
    /// ClusterImagePolicy of OpenShift.
    OpenShift,
}

/// What a policy is made of.
#[derive(Clone, Debug)]
pub struct PolicyRequest {
    /// Where the images are: host and prefix, as given to `load`.
    pub target: Target,
    /// How names were made.
    pub layout: Layout,
    /// The keys that sign archives; never empty.
    pub keys: Vec<PublicKey>,
    /// Namespaces that the policy leaves alone, where it can.
    pub exempt: Vec<String>,
}

/// Returns a policy for one kind of enforcement.
///
/// # Errors
/// [`Error::NoImages`], [`Error::Rename`], [`Error::NoKey`], [`Error::OneKey`], [`Error::Namespace`].
pub fn policy(content: &Content, request: &PolicyRequest, format: PolicyFormat) -> Result<Vec<Sheet>, Error> {
    if request.keys.is_empty() {
        return Err(Error::NoKey);
    }
    if let Some(bad) = request.exempt.iter().find(|name| !is_namespace(name)) {
        return Err(Error::Namespace(bad.clone()));
    }
    let routes = routes(content, &request.target, request.layout)?;
    let origin = format!(
        "Written by `bundle export policy` for {} in {}.",
        comment(&format!("{} {}", content.name, content.version)),
        request.target
    );
    Ok(match format {
        PolicyFormat::Kyverno => vec![Sheet::fixed("kyverno.yaml", kyverno(request, &origin))],
        PolicyFormat::KyvernoImageValidating => {
            vec![Sheet::fixed("kyverno-image-validating.yaml", image_validating(request, &origin))]
        }
        PolicyFormat::PolicyController => {
            vec![Sheet::fixed("policy-controller.yaml", policy_controller(request, &origin))]
        }
        PolicyFormat::Containers => containers::policy_json(&routes, request, &origin),
        PolicyFormat::OpenShift => match request.keys.as_slice() {
            [key] => vec![containers::cluster_image_policies(&routes, request, key, &origin)],
            _ => return Err(Error::OneKey),
        },
    })
}

/// Tells whether a text is the name of a namespace (RFC 1123 label, as Kubernetes asks for).
fn is_namespace(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(inside) && !text.starts_with('-') && !text.ends_with('-')
}

fn fill_in(template: &str, request: &PolicyRequest, origin: &str, keys: &str) -> String {
    let prefix = request.target.to_string();
    // Names of namespaces hold nothing that JSON must escape, and a list in JSON is one in YAML.
    let exempt = serde_json::json!(request.exempt).to_string();
    let attestors: Vec<String> = (0..request.keys.len()).map(|at| format!("attestors.{}", attestor(at))).collect();
    fill(
        template,
        &[
            ("ORIGIN", Some(origin)),
            ("PREFIX", Some(&prefix)),
            ("EXEMPT", Some(&exempt)),
            ("KEYS", Some(keys.trim_end())),
            ("ATTESTORS", Some(&attestors.join(", "))),
        ],
    )
}

fn attestor(at: usize) -> String {
    format!("shipper{}", at + 1)
}

fn kyverno(request: &PolicyRequest, origin: &str) -> String {
    let keys: String = request
        .keys
        .iter()
        .map(|key| {
            format!(
                "                - keys:\n                    signatureAlgorithm: sha256\n                    publicKeys: |-\n{}                    rekor:\n                      ignoreTlog: true\n                    ctlog:\n                      ignoreSCT: true\n",
                indented(&key.to_pem(), "                      ")
            )
        })
        .collect();
    let text = fill_in(KYVERNO, request, origin, &keys);
    if request.exempt.is_empty() { without(&text, "      exclude:") } else { text }
}

/// Takes out what stands under a key: without namespaces, an exclusion would exclude every pod, or be no valid object.
fn without(text: &str, key: &str) -> String {
    let depth = key.len() - key.trim_start().len();
    let mut out = String::with_capacity(text.len());
    let mut skipping = false;
    for line in text.split_inclusive('\n') {
        if line.trim_end() == key {
            skipping = true;
        } else if skipping && line.len() - line.trim_start().len() <= depth {
            skipping = false;
        }
        if !skipping {
            out.push_str(line);
        }
    }
    out
}

fn image_validating(request: &PolicyRequest, origin: &str) -> String {
    let keys: String = request
        .keys
        .iter()
        .enumerate()
        .map(|(at, key)| {
            format!(
                "    - name: {}\n      cosign:\n        key:\n          data: |-\n{}          hashAlgorithm: sha256\n        ctlog:\n          insecureIgnoreTlog: true\n          insecureIgnoreSCT: true\n",
                attestor(at),
                indented(&key.to_pem(), "            ")
            )
        })
        .collect();
    let text = fill_in(IMAGE_VALIDATING, request, origin, &keys);
    if request.exempt.is_empty() { without(&text, "    namespaceSelector:") } else { text }
}

fn policy_controller(request: &PolicyRequest, origin: &str) -> String {
    let keys: String = request
        .keys
        .iter()
        .enumerate()
        .map(|(at, key)| {
            format!(
                "    - name: {}\n      key:\n        hashAlgorithm: sha256\n        data: |\n{}",
                attestor(at),
                indented(&key.to_pem(), "          ")
            )
        })
        .collect();
    fill_in(POLICY_CONTROLLER, request, origin, &keys)
}

/// Returns the enclave's names with the source names that signatures speak of, both as prefixes.
fn identities(routes: &[Route], request: &PolicyRequest) -> Vec<(String, String)> {
    let inside = &request.target.host;
    // Aliases of a source are not written into signatures; the first of its names is.
    let proper = |route: &Route| Route { hosts: route.hosts.iter().take(1).cloned().collect(), ..route.clone() };
    let all = routes.iter().flat_map(|route| proper(route).prefixes());
    all.map(|(source, path)| (format!("{inside}/{path}"), source)).collect()
}

#[cfg(test)]
mod tests;
