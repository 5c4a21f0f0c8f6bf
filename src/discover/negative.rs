//! What looks like an image and is none: kinds, fields and texts that no weaker rule may look at.

/// Kinds whose references are patterns, scan targets, reports or deletions; `*` stands for every kind of the group.
const KINDS: &[(&str, &str)] = &[
    // Policies match images; nothing is pulled because of them.
    ("kyverno.io", "*"),
    ("policies.kyverno.io", "*"),
    ("policy.sigstore.dev", "*"),
    ("constraints.gatekeeper.sh", "*"),
    ("templates.gatekeeper.sh", "*"),
    ("mutations.gatekeeper.sh", "*"),
    ("config.gatekeeper.sh", "*"),
    ("admissionregistration.k8s.io", "*"),
    ("policy.x-k8s.io", "*"),
    // Mirrors and rewriting.
    ("config.openshift.io", "*"),
    ("operator.openshift.io", "ImageContentSourcePolicy"),
    ("machineconfiguration.openshift.io", "*"),
    ("pkg.crossplane.io", "ImageConfig"),
    // They watch registries for new tags.
    ("image.toolkit.fluxcd.io", "*"),
    ("argocd-image-updater.argoproj.io", "*"),
    ("kargo.akuity.io", "Warehouse"),
    // Deletion and reports.
    ("eraser.sh", "*"),
    ("aquasecurity.github.io", "*"),
    ("wgpolicyk8s.io", "*"),
    ("events.k8s.io", "*"),
    ("", "Event"),
    ("", "Node"),
    // Names of rights, routes and services.
    ("rbac.authorization.k8s.io", "*"),
    ("authorization.openshift.io", "*"),
    ("networking.k8s.io", "*"),
    ("", "Service"),
    ("", "ServiceAccount"),
    ("", "Namespace"),
    ("apiregistration.k8s.io", "*"),
    ("scheduling.k8s.io", "*"),
    ("storage.k8s.io", "*"),
    // Their schemas are read elsewhere; descriptions and examples in them name images by the hundred.
    ("apiextensions.k8s.io", "*"),
    // Configuration of a test cluster outside the cluster.
    ("kind.x-k8s.io", "*"),
    // Machine images of clouds.
    ("infrastructure.cluster.x-k8s.io", "*"),
    ("machine.openshift.io", "*"),
    ("karpenter.sh", "*"),
    ("karpenter.k8s.aws", "*"),
    ("metal3.io", "*"),
];

/// Tells whether nothing in objects of this kind is pulled.
pub(super) fn is_other_kind(group: &str, kind: &str) -> bool {
    KINDS.iter().any(|(known, name)| *known == group && (*name == "*" || *name == kind))
        || group.ends_with(".constraints.gatekeeper.sh")
        // Cloud resources of Crossplane's providers: AMIs and disks.
        || group.ends_with(".aws.upbound.io")
        || group.ends_with(".gcp.upbound.io")
        || group.ends_with(".azure.upbound.io")
}

/// Tells whether the value of a key is something else: `keys` are the keys on the way to it, nearest first, and `depth`
/// counts them.
pub(super) fn is_other_field<'a>(mut keys: impl Iterator<Item = &'a str>, depth: usize) -> bool {
    let Some(key) = keys.next() else { return false };
    let parent = keys.next().unwrap_or_default();
    match key {
        "status" | "apiVersion" | "kind" => depth == 1,
        "labels" | "managedFields" | "ownerReferences" | "finalizers" | "selfLink" | "uid" | "resourceVersion" => {
            parent == "metadata"
        }
        "matchLabels"
        | "nodeSelector"
        | "imagePullSecrets"
        | "imagePullPolicy"
        | "tolerations"
        | "affinity"
        | "resourceNames"
        | "caBundle"
        | "containerStatuses"
        | "initContainerStatuses" => true,
        // Ceph's block device; dozens of kinds embed volumes.
        "image" if parent == "rbd" => true,
        // Where a build pushes to: Strimzi, Shipwright.
        "image" => parent == "output",
        // A Maven repository, and a GitHub one.
        "repository" => parent == "artifacts",
        // Patterns that policies match, also where other kinds embed them.
        "imageReferences" | "matchImageReferences" | "matchImages" | "verifyImages" | "imageRegistry" => true,
        _ => false,
    }
}

/// Tells whether a key or a flag names where an image goes, not where it comes from.
pub(super) fn is_target(name: &str) -> bool {
    const TARGETS: &[&str] = &["destination", "destinations", "push", "output", "target", "tag", "tags", "to"];
    let last = name.trim_start_matches('-').rsplit(['-', '_', '.']).next().unwrap_or_default().to_ascii_lowercase();
    TARGETS.contains(&last.as_str())
}

/// Annotations that repeat the object, or show examples.
pub(super) fn is_other_annotation(key: &str) -> bool {
    matches!(
        key,
        "kubectl.kubernetes.io/last-applied-configuration"
            | "alm-examples"
            | "operatorframework.io/initialization-resource"
            | "artifacthub.io/changes"
    ) || key.starts_with("checksum/")
}

/// Keys of payloads that show examples, which nobody reads as configuration.
pub(super) fn is_example(key: &str) -> bool {
    key == "_example" || key.ends_with(".example") || key.ends_with(".sample") || key.ends_with(".md")
}

/// Words that stand in fields called image and name none: switches, policies, and istio's "the injector fills this in".
pub(super) fn is_word(text: &str) -> bool {
    const WORDS: &[&str] = &[
        "",
        "auto",
        "true",
        "false",
        "yes",
        "no",
        "on",
        "off",
        "null",
        "none",
        "nil",
        "always",
        "never",
        "ifnotpresent",
        "default",
        "latest",
        "unset",
        "disabled",
        "enabled",
        "custom",
        "image",
        "images",
        "name",
        "todo",
        "changeme",
    ];
    WORDS.contains(&text.to_ascii_lowercase().as_str()) || text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// Tells whether a text is the path of a file or of a machine image.
pub(super) fn is_file(text: &str) -> bool {
    const ENDINGS: &[&str] = &[
        "png", "jpg", "jpeg", "svg", "gif", "ico", "webp", "iso", "qcow2", "img", "vmdk", "yaml", "yml", "json",
        "toml", "txt", "tgz", "gz", "tar", "zip", "html", "js", "css", "go", "py", "sh", "md", "sock", "conf", "crt",
        "pem", "key", "log", "vhd",
    ];
    let (name, last) = text.rsplit_once('/').unwrap_or(("", text));
    let last = last.split('@').next().unwrap_or(last);
    let last = last.split(':').next().unwrap_or(last);
    let ending = last.rsplit_once('.').map_or("", |(_, ending)| ending);
    // A file stands in a folder, or has no tag; `node.js:20` would be an image.
    (ENDINGS.contains(&ending) && (!name.is_empty() || !text.contains(':')))
        || (text.starts_with("projects/") && text.contains("/images/"))
        || text.starts_with("ami-")
}

/// Tells whether a text is a label, a taint or the name of a right.
pub(super) fn is_label(text: &str) -> bool {
    ["system:", "sha256:", "sha512:", "urn:", "arn:", "spiffe:", "rbac:"].iter().any(|start| text.starts_with(start))
        || [":NoSchedule", ":NoExecute", ":PreferNoSchedule"].iter().any(|end| text.ends_with(end))
}

/// Tells whether a host is the group of an API, whose names look like paths on it: `kubernetes.io/os:linux`.
pub(super) fn is_api_group(host: &str) -> bool {
    let registry = host == "registry.k8s.io" || host.ends_with(".registry.k8s.io");
    !registry
        && (host == "kubernetes.io"
            || host == "k8s.io"
            || host.ends_with(".kubernetes.io")
            || host.ends_with(".k8s.io")
            || host.ends_with(".k8s.aws")
            || host == "github.com")
}

/// Tells whether a host is a service of the cluster: what follows is a path of it, unless the place is called image.
pub(super) fn is_service(host: &str) -> bool {
    let name = host.split(':').next().unwrap_or(host);
    name.ends_with(".svc") || name.ends_with(".svc.cluster.local")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_apart_by_their_group() {
        assert!(is_other_kind("kyverno.io", "ClusterPolicy") && !is_other_kind("nvidia.com", "ClusterPolicy"));
        assert!(is_other_kind("", "Service") && !is_other_kind("serving.knative.dev", "Service"));
        assert!(is_other_kind("eraser.sh", "ImageList") && is_other_kind("ec2.aws.upbound.io", "Instance"));
    }

    #[test]
    fn fields_are_told_apart_by_what_they_stand_in() {
        let other = |path: &str| is_other_field(path.rsplit('.'), path.split('.').count());
        for path in
            ["status", "metadata.labels", "spec.volumes.rbd.image", "spec.build.output.image", "spec.imagePullSecrets"]
        {
            assert!(other(path), "{path}");
        }
        for path in ["spec.status", "spec.labels", "spec.image", "spec.outputs.image", "status.image"] {
            assert!(!other(path), "{path}");
        }
    }
}
