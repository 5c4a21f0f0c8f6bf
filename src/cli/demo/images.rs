//! Small multi-platform images for the demo, made from nothing but their names; the same bytes every time.

use bytes::Bytes;
use serde_json::json;

use crate::{
    files,
    oci::{Descriptor, Digest, Reference, media_type},
};

/// One image: what it is called and everything that it consists of, children before parents.
pub(super) struct DemoImage {
    pub reference: Reference,
    pub root: Descriptor,
    pub content: Vec<(Descriptor, Bytes)>,
}

/// What the demo's manifests and spec name, with a line of text that each image "contains".
const IMAGES: [(&str, &str); 4] = [
    ("docker.io/library/busybox:1.37", "a toolbox"),
    ("docker.io/library/nginx:1.27", "a web server"),
    ("docker.io/library/postgres:16", "a database"),
    ("quay.io/prometheus/node-exporter:v1.9.0", "a node agent"),
];

/// Makes the images of the demo.
pub(super) fn all() -> Vec<DemoImage> {
    IMAGES.iter().filter_map(|(name, text)| name.parse().ok().map(|reference| image(reference, text))).collect()
}

fn image(reference: Reference, text: &str) -> DemoImage {
    let mut content = Vec::new();
    let mut add = |media_type: &str, bytes: Vec<u8>| {
        let descriptor = Descriptor::of(media_type, &bytes);
        content.push((descriptor.clone(), Bytes::from(bytes)));
        descriptor
    };
    let mut entries = Vec::new();
    for (architecture, variant) in [("amd64", None), ("arm64", Some("v8")), ("s390x", None)] {
        // The first layer is the same in all images of a platform, as a common base image is.
        let base = noise(architecture, 96 << 10);
        let own = noise(&format!("{reference} {architecture}"), 32 << 10);
        let layers = [
            files::pack(&[("usr/lib/base.bin", &base)]),
            files::pack(&[("app/about.txt", format!("{reference}: {text}\n").as_bytes()), ("app/data.bin", &own)]),
        ];
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::sha256(layer)).collect();
        let layers = layers.map(|layer| add(media_type::LAYER_GZIP, files::gzip(&layer)));
        let config = json!({
            "architecture": architecture, "os": "linux", "variant": variant,
            "config": {"Cmd": ["/app/run"], "Labels": {"org.opencontainers.image.licenses": "Apache-2.0"}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = add(media_type::CONFIG, config.to_string().into_bytes());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config, "layers": layers,
        });
        let mut manifest = serde_json::to_value(add(media_type::MANIFEST, manifest.to_string().into_bytes())).unwrap_or_default();
        manifest["platform"] = json!({"os": "linux", "architecture": architecture});
        if let Some(variant) = variant {
            manifest["platform"]["variant"] = json!(variant);
        }
        entries.push(manifest);
    }
    let index = json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": entries});
    let root = add(media_type::INDEX, index.to_string().into_bytes());
    DemoImage { reference, root, content }
}

/// Bytes that do not compress, from a name: SHA-256 in counter mode.
fn noise(name: &str, length: usize) -> Vec<u8> {
    let blocks = (0..length.div_ceil(64)).flat_map(|block| Digest::sha256(format!("{name} {block}").as_bytes()).hex().into_bytes());
    blocks.take(length).collect()
}
