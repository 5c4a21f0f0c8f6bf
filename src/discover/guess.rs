//! Does a text look like an image? The judgement behind every finding of class guess.
//!
//! Two strengths: [`is_image`] is for texts in places whose name says image, where `busybox:1` is enough; [`is_strict`] is
//! for texts anywhere else, which must name a registry and a tag or digest.

use crate::oci::Reference;

use super::negative;

/// No reference is longer: 255 characters of name, 128 of tag, 135 of digest, and the separators.
const LONGEST: usize = 520;

/// Splits a name into its words in lower case: `ImagePullPolicy`, `image-pull-policy` and `IMAGE_PULL_POLICY` are alike.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = '_';
    for c in name.chars() {
        let begins = !c.is_alphanumeric() || (c.is_uppercase() && (before.is_lowercase() || before.is_ascii_digit()));
        if begins {
            words.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
        before = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Words beside `image` that say that the value is something about an image, not the image.
const ABOUT: &[&str] = &[
    "pull",
    "policy",
    "secret",
    "secrets",
    "registry",
    "registries",
    "prefix",
    "suffix",
    "tag",
    "digest",
    "version",
    "size",
    "width",
    "height",
    "format",
    "gc",
    "family",
    "type",
    "id",
    "ids",
    "arch",
    "os",
    "timeout",
    "interval",
    "enabled",
    "glob",
    "globs",
    "pattern",
    "patterns",
    "allowed",
    "allowlist",
    "denied",
    "credentials",
    "auth",
    "user",
    "username",
    "password",
    "signature",
    "platform",
    "threshold",
    "count",
    "max",
    "min",
    "disk",
    "boot",
    "sha",
    "checksum",
    "logo",
    "icon",
    "sources",
    "repo",
    "repository",
    "mirror",
    "mirrors",
    "renderer",
    "streams",
    "stream",
    "magick",
    "project",
];

/// Tells whether a key, a flag or a variable says that its value is an image.
pub(super) fn names_image(name: &str) -> bool {
    let words = words(name);
    let image = |word: &String| matches!(word.as_str(), "image" | "images" | "baseimage" | "imagename" | "imageref");
    words.iter().any(image) && !words.iter().any(|word| ABOUT.contains(&word.as_str()))
}

/// Tells whether a key says that its value is a repository of images, which a tag elsewhere completes.
pub(super) fn names_repository(name: &str) -> bool {
    words(name).last().is_some_and(|word| matches!(word.as_str(), "repository" | "repo"))
}

/// Tells whether a key says that its value is only the front part of images, or a place where charts and code are.
pub(super) fn names_prefix(name: &str) -> bool {
    const FRONTS: &[&str] = &[
        "registry",
        "registries",
        "prefix",
        "mirror",
        "mirrors",
        "hub",
        "url",
        "uri",
        "repo",
        "source",
        "sources",
        "host",
        "endpoint",
    ];
    words(name).iter().any(|word| FRONTS.contains(&word.as_str()))
}

fn parsed(text: &str) -> Option<Reference> {
    if text.len() > LONGEST || negative::is_word(text) || negative::is_file(text) || negative::is_label(text) {
        return None;
    }
    text.parse().ok()
}

/// Tells whether a text in a place that is called image is one: a tag, a digest or a path must tell it from a plain word.
pub(super) fn is_image(text: &str) -> bool {
    text.contains(['/', ':', '@']) && parsed(text).is_some()
}

/// Tells whether a text in a place that is called image, and nothing else, is one; a plain name such as `busybox` is enough.
pub(super) fn is_image_or_name(text: &str) -> bool {
    is_image(text) || (text.len() > 2 && text.bytes().any(|b| b.is_ascii_lowercase()) && parsed(text).is_some())
}

/// Tells whether a text names a registry.
pub(super) fn has_host(text: &str) -> bool {
    let Some((host, _)) = text.split_once('/') else { return false };
    let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    if name == "localhost" || port.is_some() {
        return true;
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    let numeric = name.split('.').all(|label| !label.is_empty() && label.bytes().all(|b| b.is_ascii_digit()));
    name.contains('.') && (numeric || (last.len() >= 2 && last.bytes().all(|b| b.is_ascii_alphabetic())))
}

/// Tells whether a text in any place is an image: it names a registry, and a tag or a digest.
pub(super) fn is_strict(text: &str) -> bool {
    has_host(text)
        && parsed(text).is_some_and(|reference| reference.tag.is_some() || reference.digest.is_some())
        && !text.split('/').next().is_some_and(|host| negative::is_api_group(host) || negative::is_service(host))
}

/// Hosts that serve images and hardly anything else: a path there is an image even without a tag.
const REGISTRIES: &[&str] = &[
    "docker.io",
    "index.docker.io",
    "quay.io",
    "ghcr.io",
    "gcr.io",
    "mirror.gcr.io",
    "us.gcr.io",
    "eu.gcr.io",
    "asia.gcr.io",
    "k8s.gcr.io",
    "registry.k8s.io",
    "mcr.microsoft.com",
    "public.ecr.aws",
    "nvcr.io",
    "docker.elastic.co",
    "cr.fluentbit.io",
    "docker.redpanda.com",
    "registry.redhat.io",
    "registry.access.redhat.com",
    "registry.connect.redhat.com",
    "cr.l5d.io",
    "xpkg.upbound.io",
    "xpkg.crossplane.io",
    "reg.kyverno.io",
    "registry.gitlab.com",
    "docker.getcollate.io",
    "lscr.io",
    "registry.developers.crunchydata.com",
    "oci.external-secrets.io",
    "public.cr.seqera.io",
    "cgr.dev",
    "registry.suse.com",
];

/// Tells whether a text is a path on a host that serves images and hardly anything else: at least two names deep, because
/// one name is often only the front part of many images.
pub(super) fn is_on_registry(text: &str) -> bool {
    let Some((host, path)) = text.split_once('/') else { return false };
    let known = REGISTRIES.contains(&host)
        || host.ends_with(".pkg.dev")
        || (host.contains(".dkr.ecr.") && host.ends_with(".amazonaws.com"))
        || host.ends_with(".azurecr.io");
    known && (path.contains('/') || path.contains([':', '@'])) && parsed(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_image_in_any_spelling() {
        for name in [
            "image",
            "imageName",
            "RELATED_IMAGE_DATABASE",
            "IMAGE_PROXY",
            "--sidecar-image",
            "helper_image",
            "baseImage",
            "docker_image",
            "queue-sidecar-image",
            "node.collector.imageRef",
            "CSI_ATTACHER_IMAGE",
            "images",
            "entrypoint-image",
            "AWS-SIGV4-PROXY-IMAGE",
            "OPERATOR_IMAGE_NAME",
        ] {
            assert!(names_image(name), "{name}");
        }
        for name in [
            "imagePullPolicy",
            "IMAGE_PULL_SECRETS",
            "imageRegistry",
            "image_tag",
            "imagine",
            "imageGCHighThresholdPercent",
            "imageFamily",
            "imageID",
            "pilgrimage",
            "sidecar-image-repository",
            "verifyImageSignature",
            "",
        ] {
            assert!(!names_image(name), "{name}");
        }
    }

    #[test]
    fn texts_are_judged_by_the_place_they_stand_in() {
        for text in [
            "busybox:1",
            "a/b",
            "quay.io/a/b:1",
            "clamav:3310",
            "a@sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        ] {
            assert!(is_image(text), "{text}");
        }
        for text in [
            "busybox",
            "true",
            "https://a/b",
            "images/logo.png",
            "{{ a }}/b",
            "$(IMAGE):1",
            "a b/c",
            "system:image-puller",
            "projects/debian-cloud/global/images/debian-12",
            "",
        ] {
            assert!(!is_image(text), "{text}");
        }
        assert!(
            is_image_or_name("busybox")
                && !is_image_or_name("auto")
                && !is_image_or_name("42")
                && !is_image_or_name("IfNotPresent")
        );
        for text in
            ["quay.io/a/b:1", "localhost:5000/a:1", "10.0.0.1:5000/a:1", "registry.k8s.io/pause:3.10", "10.0.0.1/a:1"]
        {
            assert!(is_strict(text), "{text}");
        }
        for text in [
            "clamav:3310",
            "bitnami/redis:8",
            "quay.io/a/b",
            "node-role.kubernetes.io/master:NoSchedule",
            "kubernetes.io/os:linux",
            "v1.2/a:b",
            "https://quay.io/a:b",
            "example.com/config.yaml:3",
            "topology.k8s.aws/zone-id:usw",
            "a.b.svc.cluster.local:443/x:1",
        ] {
            assert!(!is_strict(text), "{text}");
        }
        assert!(
            is_on_registry("quay.io/kiali/kiali")
                && !is_on_registry("gcr.io/istio-release")
                && !is_on_registry("github.com/a/b")
        );
    }
}
