//! What charts are told about the cluster: its version and the API versions it serves.

use super::template::value::{Elem, Value};

/// The version of helm whose behaviour this module has, as charts see it.
const HELM_VERSION: &str = "v4.1.4";

/// The Go release and the Kubernetes client of that helm.
const GO_VERSION: &str = "go1.25.9";
const KUBE_CLIENT_VERSION: &str = "v1.35";

/// The Kubernetes version that helm assumes when nobody says one.
const KUBE_VERSION: &str = "v1.35.0";

/// The API versions that helm assumes: every group and version that its Kubernetes client knows.
const API_VERSIONS: &[&str] = &[
    "v1",
    "admissionregistration.k8s.io/v1",
    "admissionregistration.k8s.io/v1alpha1",
    "admissionregistration.k8s.io/v1beta1",
    "internal.apiserver.k8s.io/v1alpha1",
    "apps/v1",
    "apps/v1beta1",
    "apps/v1beta2",
    "authentication.k8s.io/v1",
    "authentication.k8s.io/v1alpha1",
    "authentication.k8s.io/v1beta1",
    "authorization.k8s.io/v1",
    "authorization.k8s.io/v1beta1",
    "autoscaling/v1",
    "autoscaling/v2",
    "autoscaling/v2beta1",
    "autoscaling/v2beta2",
    "batch/v1",
    "batch/v1beta1",
    "certificates.k8s.io/v1",
    "certificates.k8s.io/v1beta1",
    "certificates.k8s.io/v1alpha1",
    "coordination.k8s.io/v1alpha2",
    "coordination.k8s.io/v1beta1",
    "coordination.k8s.io/v1",
    "discovery.k8s.io/v1",
    "discovery.k8s.io/v1beta1",
    "events.k8s.io/v1",
    "events.k8s.io/v1beta1",
    "extensions/v1beta1",
    "flowcontrol.apiserver.k8s.io/v1",
    "flowcontrol.apiserver.k8s.io/v1beta1",
    "flowcontrol.apiserver.k8s.io/v1beta2",
    "flowcontrol.apiserver.k8s.io/v1beta3",
    "networking.k8s.io/v1",
    "networking.k8s.io/v1beta1",
    "node.k8s.io/v1",
    "node.k8s.io/v1alpha1",
    "node.k8s.io/v1beta1",
    "policy/v1",
    "policy/v1beta1",
    "rbac.authorization.k8s.io/v1",
    "rbac.authorization.k8s.io/v1beta1",
    "rbac.authorization.k8s.io/v1alpha1",
    "resource.k8s.io/v1",
    "resource.k8s.io/v1beta2",
    "resource.k8s.io/v1beta1",
    "resource.k8s.io/v1alpha3",
    "scheduling.k8s.io/v1alpha1",
    "scheduling.k8s.io/v1beta1",
    "scheduling.k8s.io/v1",
    "storage.k8s.io/v1beta1",
    "storage.k8s.io/v1",
    "storage.k8s.io/v1alpha1",
    "storagemigration.k8s.io/v1beta1",
    "apiextensions.k8s.io/v1beta1",
    "apiextensions.k8s.io/v1",
];

/// Says that a text is no Kubernetes version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid kube version {0:?}: expected something like 1.33 or v1.33.4")]
pub struct KubeVersionError(pub String);

/// A Kubernetes version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubeVersion {
    /// As written, with a `v` in front.
    pub git: String,
    /// The numbers alone, which ranges are checked against.
    pub normalized: String,
    /// The first number.
    pub major: String,
    /// The second number.
    pub minor: String,
}

impl KubeVersion {
    /// Parses a version: at least two numbers, anything may follow.
    ///
    /// # Errors
    /// [`KubeVersionError`] when there are no two numbers.
    pub fn parse(text: &str) -> Result<KubeVersion, KubeVersionError> {
        let bad = || KubeVersionError(text.to_owned());
        let bare = text.trim();
        let bare = bare.strip_prefix('v').unwrap_or(bare);
        // Numbers with dots, then whatever (apimachinery's ParseGeneric).
        let length = bare.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let numeric = &bare[..length];
        let mut numbers = Vec::new();
        for part in numeric.trim_end_matches('.').split('.') {
            let padded = part.len() > 1 && part.starts_with('0');
            if padded {
                return Err(bad());
            }
            numbers.push(part.parse::<u32>().map_err(|_| bad())?);
        }
        if numbers.len() < 2 {
            return Err(bad());
        }
        let dotted: Vec<String> = numbers.iter().map(u32::to_string).collect();
        Ok(KubeVersion {
            git: if text.starts_with('v') { text.to_owned() } else { format!("v{text}") },
            normalized: format!("v{}", dotted.join(".")),
            major: dotted[0].clone(),
            minor: dotted[1].clone(),
        })
    }
}

/// What charts see as `.Capabilities`.
#[derive(Clone, Debug)]
pub struct Capabilities {
    /// The cluster's version.
    pub kube: KubeVersion,
    /// What it serves: `group/version` and `group/version/Kind`.
    pub api_versions: Vec<String>,
    /// Helm's own version.
    pub helm_version: String,
    /// The Go release it is built with.
    pub go_version: String,
    /// The Kubernetes client it is built with.
    pub kube_client_version: String,
}

impl Default for Capabilities {
    fn default() -> Self {
        let (major, minor) = ("1", "35");
        Capabilities {
            kube: KubeVersion {
                git: KUBE_VERSION.to_owned(),
                normalized: KUBE_VERSION.to_owned(),
                major: major.to_owned(),
                minor: minor.to_owned(),
            },
            api_versions: API_VERSIONS.iter().map(|version| (*version).to_owned()).collect(),
            helm_version: HELM_VERSION.to_owned(),
            go_version: GO_VERSION.to_owned(),
            kube_client_version: KUBE_CLIENT_VERSION.to_owned(),
        }
    }
}

impl Capabilities {
    /// Sets the cluster's version.
    ///
    /// # Errors
    /// [`KubeVersionError`] for what is none.
    pub fn with_kube_version(mut self, version: &str) -> Result<Capabilities, KubeVersionError> {
        self.kube = KubeVersion::parse(version)?;
        Ok(self)
    }

    /// Adds API versions to those that every cluster is assumed to serve.
    pub fn with_api_versions(mut self, versions: impl IntoIterator<Item = String>) -> Capabilities {
        self.api_versions.extend(versions);
        self
    }

    /// Returns the list as templates see it.
    pub fn version_set(&self) -> Value {
        Value::list_of(Elem::Versions, self.api_versions.iter().map(|version| Value::str(version.as_str())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_clusters() {
        let version = KubeVersion::parse("1.33.4-gke.1245000").unwrap();
        assert_eq!((version.git.as_str(), version.normalized.as_str()), ("v1.33.4-gke.1245000", "v1.33.4"));
        assert_eq!(KubeVersion::parse("v1.30").unwrap().minor, "30");
        for bad in ["", "1", "v", "x.y", "1.x"] {
            assert!(KubeVersion::parse(bad).is_err(), "{bad}");
        }
    }
}
