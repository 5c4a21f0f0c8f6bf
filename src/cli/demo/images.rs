//! Small multi-platform images for the demo, made from nothing but their names; the same bytes every time.

use std::io;

use bytes::Bytes;
use serde_json::json;

use crate::{
    files,
    oci::{Descriptor, Digest, Reference, media_type},
    tree::Tree,
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
///
/// # Errors
/// None in practice: everything happens in memory.
pub(super) fn all() -> io::Result<Vec<DemoImage>> {
    let parsed = IMAGES.iter().filter_map(|(name, text)| Some((name.parse().ok()?, text)));
    parsed.map(|(reference, text)| image(reference, text)).collect()
}

fn image(reference: Reference, text: &str) -> io::Result<DemoImage> {
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
        let about = format!("{reference}: {text}\n").into_bytes();
        let layers = [layer([("usr/lib/base.bin", base)])?, layer([("app/about.txt", about), ("app/data.bin", own)])?];
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::sha256(layer)).collect();
        let [base, own] = layers.map(|layer| files::gzip(&layer));
        let layers = [add(media_type::LAYER_GZIP, base?), add(media_type::LAYER_GZIP, own?)];
        let mut platform = json!({"os": "linux", "architecture": architecture});
        if let Some(variant) = variant {
            platform["variant"] = json!(variant);
        }
        let mut config = platform.clone();
        config["config"] = json!({"Cmd": ["/app/run"], "Labels": {"org.opencontainers.image.licenses": "Apache-2.0"}});
        config["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids});
        let config = add(media_type::CONFIG, config.to_string().into_bytes());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config, "layers": layers,
        });
        let mut manifest = json!(add(media_type::MANIFEST, manifest.to_string().into_bytes()));
        manifest["platform"] = platform;
        entries.push(manifest);
    }
    let index = json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": entries});
    let root = add(media_type::INDEX, index.to_string().into_bytes());
    Ok(DemoImage { reference, root, content })
}

fn layer<const N: usize>(content: [(&str, Vec<u8>); N]) -> io::Result<Vec<u8>> {
    let mut tree = Tree::new();
    for (path, bytes) in content {
        tree.insert(path.parse().map_err(io::Error::other)?, bytes);
    }
    files::pack(&tree)
}

/// Bytes that do not compress, from a name: SHA-256 in counter mode.
fn noise(name: &str, length: usize) -> Vec<u8> {
    let blocks = (0..length.div_ceil(64))
        .flat_map(|block| Digest::sha256(format!("{name} {block}").as_bytes()).hex().into_bytes());
    blocks.take(length).collect()
}
