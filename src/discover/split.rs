//! References in pieces: `{registry, repository, tag, digest}` and its relatives, joined.
//!
//! | pieces | seen in |
//! |---|---|
//! | registry, repository, tag, digest | values of most charts |
//! | repository, image, version | GPU operator |
//! | hub, image, tag | istio |
//! | repository, version · baseImage, version · image, image_version | Scylla, TiDB, AWX |
//! | name, tag · name, version | Datadog, linkerd, jupyterhub |

use crate::{oci::Reference, yaml::Node};

use super::{Role, guess};

/// A reference put together, and the keys that it was put together from; the first one names the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Joined {
    pub(super) text: String,
    pub(super) keys: Vec<&'static str>,
    /// What each key holds; the parts of the name first, in the order in which they are joined.
    pub(super) parts: Vec<(Role, &'static str)>,
    /// Whether a tag or a digest was among the pieces.
    pub(super) pinned: bool,
}

const REGISTRIES: &[&str] = &["registry", "imageRegistry", "image_registry", "hub"];
const REPOSITORIES: &[&str] = &["repository", "imageRepository", "image_repository", "repo", "baseImage"];
const NAMES: &[&str] = &["image", "imageName", "newName", "name"];
const TAGS: &[&str] =
    &["tag", "newTag", "imageTag", "image_tag", "versionTag", "version", "image_version", "imageVersion"];
const DIGESTS: &[&str] = &["digest", "imageDigest", "image_digest", "sha", "sha256"];

/// Returns the first of the keys that holds text or a number, as written; an empty text counts as absent.
fn piece<'n>(map: &'n Node, keys: &[&'static str]) -> Option<(&'static str, &'n str)> {
    keys.iter().find_map(|key| {
        let text = map.get(key).filter(|node| !node.is_null())?.text()?.trim();
        (!text.is_empty()).then_some((*key, text))
    })
}

/// Says how a reference goes on after its name: `:tag@digest`.
fn version(map: &Node, parts: &mut Vec<(Role, &'static str)>) -> String {
    let mut text = String::new();
    if let Some((key, tag)) = piece(map, TAGS) {
        match tag.strip_prefix("sha256:") {
            Some(_) => text.push('@'),
            None if tag.starts_with('@') => {}
            None => text.push(':'),
        }
        text.push_str(tag.trim_start_matches(':'));
        parts.push((Role::Tag, key));
    }
    if let Some((key, digest)) = piece(map, DIGESTS)
        && !text.contains('@')
    {
        let bare = digest.trim_start_matches('@');
        if bare.contains(':') {
            text = format!("{text}@{bare}");
        } else if bare.len() == 64 {
            text = format!("{text}@sha256:{bare}");
        } else {
            return text;
        }
        parts.push((Role::Digest, key));
    }
    text
}

/// Joins the pieces in a mapping that is known to be an image.
pub(super) fn join(map: &Node) -> Option<Joined> {
    map.as_map()?;
    let registry = piece(map, REGISTRIES);
    let repository = piece(map, REPOSITORIES);
    let name = piece(map, NAMES);
    let mut parts = Vec::new();
    let mut repeated = None;
    let mut text = String::new();
    let mut put = |role: Role, key: &'static str, part: &str| {
        if !text.is_empty() {
            text.push('/');
        }
        text.push_str(part.trim_matches('/'));
        parts.push((role, key));
    };
    match (repository, name) {
        (Some((key, repository)), name) => {
            match registry {
                Some((key, registry)) if !repository.starts_with(registry) => put(Role::Registry, key, registry),
                Some((key, _)) => repeated = Some((Role::Repeated, key)),
                None => {}
            }
            put(Role::Repository, key, repository);
            // `image` beside `repository` is the last part of the name.
            if let Some((key @ "image", name)) = name
                && !name.contains(':')
                && !repository.ends_with(&format!("/{name}"))
                && repository != name
            {
                put(Role::Image, key, name);
            }
        }
        (None, Some((key, name))) => {
            match registry {
                Some((key, registry)) if !name.starts_with(registry) => put(Role::Registry, key, registry),
                Some((key, _)) => repeated = Some((Role::Repeated, key)),
                None => {}
            }
            put(Role::Repository, key, name);
        }
        (None, None) => return None,
    }
    let mut tail = Vec::new();
    let already = text.rsplit('/').next().is_some_and(|last| last.contains([':', '@'])) || text.contains('@');
    let after = if already { String::new() } else { version(map, &mut tail) };
    let mut keys: Vec<&'static str> = parts.iter().chain(&tail).map(|(_, key)| *key).collect();
    parts.extend(tail.into_iter().chain(repeated));
    text.push_str(&after);
    // The repository leads, because its place stands for the whole.
    if let Some(at) = keys.iter().position(|key| REPOSITORIES.contains(key)) {
        keys.swap(0, at);
    }
    text.parse::<Reference>().ok()?;
    Some(Joined { text, keys, parts, pinned: already || !after.is_empty() })
}

/// Joins the pieces in a mapping of which nobody said that it is an image; `key` is the key that it stands under. More is
/// asked: a repository and a tag or digest, and a sign that these are images.
pub(super) fn join_unnamed(map: &Node, key: &str) -> Option<Joined> {
    let joined = join(map)?;
    let has = |keys: &[&str]| joined.keys.iter().any(|key| keys.contains(key));
    let under_image = guess::names_image(key);
    let whole = has(REPOSITORIES);
    let tagged = has(DIGESTS) || has(&["tag", "imageTag", "image_tag", "versionTag"]);
    let sure = under_image
        || (whole && tagged && (has(REGISTRIES) || joined.text.contains('/')))
        || (whole && has(&["image"]) && has(&["version"]))
        || (tagged && has(REGISTRIES) && has(&["image"]))
        || (has(&["name"]) && !whole && has(&["tag"]) && guess::is_strict(&joined.text));
    let looks = guess::is_image(&joined.text) && !joined.text.starts_with("http");
    // `image: {name: x}` alone says nothing; a reference with host and path does.
    let complete = joined.pinned || guess::is_on_registry(&joined.text);
    // A lone string `image` is a field of its own.
    let pieces = joined.keys.len() > 1 || !has(&["image", "imageName"]);
    (sure && looks && complete && pieces).then_some(joined)
}

/// Completes a name without tag by a tag that stands beside it.
pub(super) fn with_tag_beside(text: &str, map: &Node) -> Option<Joined> {
    let reference: Reference = text.parse().ok()?;
    if reference.tag.is_some() || reference.digest.is_some() {
        return None;
    }
    let mut parts = Vec::new();
    let after = version(map, &mut parts);
    let whole = format!("{text}{after}");
    let keys = parts.iter().map(|(_, key)| *key).collect();
    (!after.is_empty() && whole.parse::<Reference>().is_ok()).then_some(Joined {
        text: whole,
        keys,
        parts,
        pinned: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    fn node(text: &str) -> Node {
        yaml::documents(text, &yaml::Options::default()).unwrap().remove(0)
    }

    #[test]
    fn pieces_are_joined() {
        let digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        for (map, expected) in [
            ("{registry: quay.io, repository: a/b, tag: 1.10}", "quay.io/a/b:1.10"),
            ("{repository: quay.io/a/b, tag: v1, digest: ''}", "quay.io/a/b:v1"),
            (&format!("{{repository: a/b, digest: 'sha256:{digest}'}}"), &format!("a/b@sha256:{digest}")),
            (&format!("{{repository: a/b, tag: v1, sha: {digest}}}"), &format!("a/b:v1@sha256:{digest}")),
            ("{repository: nvcr.io/nvidia, image: driver, version: 580.1}", "nvcr.io/nvidia/driver:580.1"),
            ("{hub: docker.io/istio, image: proxyv2, tag: 1.29.0}", "docker.io/istio/proxyv2:1.29.0"),
            ("{name: cr.l5d.io/linkerd/proxy, version: edge-1}", "cr.l5d.io/linkerd/proxy:edge-1"),
            ("{baseImage: pingcap/pd, version: v8.5.0}", "pingcap/pd:v8.5.0"),
            ("{image: quay.io/a/b:1, version: 2}", "quay.io/a/b:1"),
            ("{registry: quay.io, repository: quay.io/a/b, tag: 1}", "quay.io/a/b:1"),
        ] {
            assert_eq!(join(&node(map)).map(|joined| joined.text).as_deref(), Some(expected), "{map}");
        }
        assert_eq!(join(&node("{tag: 1}")), None);
        assert_eq!(join(&node("{repository: 'https://charts.example.com', version: 1}")), None);
        assert_eq!(join(&node("{repository: a/b, tag: 1}")).unwrap().keys, ["repository", "tag"]);
    }

    #[test]
    fn pieces_that_nobody_calls_an_image_need_more() {
        let yes = |key, map| join_unnamed(&node(map), key).is_some();
        assert!(yes("x", "{repository: a/b, tag: 1}") && yes("image", "{repository: redis, tag: 1}"));
        assert!(yes("x", "{name: quay.io/jupyterhub/k8s-hub, tag: 4.3.6}"));
        assert!(yes("x", "{hub: docker.io/istio, image: proxyv2, tag: 1.20}"));
        assert!(
            !yes("x", "{name: web, version: 1}")
                && !yes("dep", "{name: redis, version: 1.2.3, repository: 'https://x/y'}")
        );
        assert!(!yes("x", "{repository: acme/app, version: 3}") && !yes("x", "{image: a/b}"));
        assert!(!yes("x", "{name: a, image: quay.io/a/b:1}"));
    }

    #[test]
    fn a_tag_beside_completes_a_name() {
        let map = node("{version: v3.8.0}");
        assert_eq!(
            with_tag_beside("quay.io/prometheus/prometheus", &map).unwrap().text,
            "quay.io/prometheus/prometheus:v3.8.0"
        );
        assert_eq!(with_tag_beside("a:1", &map), None);
    }
}
