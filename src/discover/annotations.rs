//! Annotations: those by which webhooks choose what they inject, and others that name an image.

use crate::{oci::Reference, yaml::Node};

use super::{
    Confidence, Role, guess, negative, payload,
    site::{Path, Site},
};

/// Annotations whose value is an image that is pulled, and the annotation that completes it with a tag. From the
/// documentation of istio, linkerd, Vault's injector, Consul, Dapr, OpenTelemetry's operator and the Operator Lifecycle Manager.
const KNOWN: &[(&str, &str)] = &[
    ("sidecar.istio.io/proxyImage", ""),
    ("config.linkerd.io/proxy-image", "config.linkerd.io/proxy-version"),
    ("config.linkerd.io/init-image", "config.linkerd.io/init-image-version"),
    ("config.linkerd.io/debug-image", "config.linkerd.io/debug-image-version"),
    ("vault.hashicorp.com/agent-image", ""),
    ("consul.hashicorp.com/consul-sidecar-image", ""),
    ("dapr.io/sidecar-image", ""),
    ("instrumentation.opentelemetry.io/java-image", ""),
    ("containerImage", ""),
    ("cnpg.io/imageName", ""),
];

/// Reads the annotations of an object or of a pod template.
pub(super) fn map(site: &mut Site<'_>, annotations: &Node, path: &Path) {
    for (name, value) in annotations.as_map().unwrap_or_default() {
        let (Some(key), Some(text)) = (name.key(), value.as_str()) else { continue };
        let path = path.key(&key);
        let text = text.trim();
        if negative::is_other_annotation(&key) || site.is_settled(&path.to_string()) {
            continue;
        }
        let known = KNOWN.iter().find(|(known, _)| *known == key);
        if let Some((_, tag)) = known
            && guess::is_image_or_name(text)
        {
            let tag = annotations.get(tag).and_then(Node::as_str).filter(|tag| !tag.is_empty());
            let whole = match (tag, text.parse::<Reference>()) {
                (Some(tag), Ok(Reference { tag: None, digest: None, .. })) => format!("{text}:{tag}"),
                _ => text.to_owned(),
            };
            let role = if whole == text { Role::Reference } else { Role::Name };
            let pieces = site.piece(role, value, text).into_iter().collect();
            site.add_written(&whole, (Confidence::Rule, &format!("annotation {key}")), value, &path, pieces);
            continue;
        }
        if text.contains('\n') || text.starts_with(['{', '[']) {
            payload::text(site, text, value, &path);
            continue;
        }
        let name = key.rsplit('/').next().unwrap_or(&key);
        if guess::is_strict(text) || (guess::names_image(name) && guess::is_image(text)) {
            site.guess(text, "annotation", value, &path);
        }
    }
}
