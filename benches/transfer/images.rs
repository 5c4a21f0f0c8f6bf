//! Synthetic images: layers are real gzip streams of incompressible data, so no tool finds anything to gain in them.

use std::{io::Write, path::Path};

use serde_json::json;
use sha2::{Digest, Sha256};

/// One image: layers by (seed, megabytes); equal pairs are equal layers.
pub struct Image {
    pub name: &'static str,
    pub layers: &'static [(u64, u64)],
}

impl Image {
    pub fn bytes(&self) -> u64 {
        self.layers.iter().map(|(_, megabytes)| if *megabytes == 0 { 250_000 } else { megabytes * 1_000_000 }).sum()
    }
}

/// Eight layers, 595 MB, one of them large, as images of language runtimes are.
pub const BIG: Image =
    Image { name: "big", layers: &[(1, 228), (2, 120), (3, 90), (4, 65), (5, 45), (6, 27), (7, 15), (8, 5)] };

/// Sixty layers of a quarter megabyte.
pub const MANY: Image = Image { name: "many", layers: &SIXTY };

const SIXTY: [(u64, u64); 60] = {
    let mut layers = [(0, 0); 60];
    let mut at = 0;
    while at < 60 {
        layers[at] = (1000 + at as u64, 0);
        at += 1;
    }
    layers
};

/// Five images of a gigabyte together, with shared layers.
pub const FIVE: [Image; 5] = [
    BIG,
    Image { name: "second", layers: &[(1, 228), (21, 60)] },
    Image { name: "third", layers: &[(31, 80), (32, 40)] },
    Image { name: "fourth", layers: &[(4, 65), (41, 30)] },
    Image { name: "fifth", layers: &[(51, 17)] },
];

/// What a deduplicating tool has to move.
pub fn five_bytes() -> u64 {
    let all: std::collections::BTreeSet<_> = FIVE.iter().flat_map(|image| image.layers).collect();
    all.iter().map(|(_, megabytes)| megabytes * 1_000_000).sum()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes bytes that do not compress, from a xorshift generator.
struct Noise(u64);

impl std::io::Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        for chunk in buffer.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            chunk.copy_from_slice(&self.0.to_le_bytes()[..chunk.len()]);
        }
        Ok(buffer.len())
    }
}

fn blob(blobs: &Path, content: &[u8]) -> (String, u64) {
    let digest = hex(&Sha256::digest(content));
    std::fs::write(blobs.join(&digest), content).unwrap();
    (format!("sha256:{digest}"), content.len() as u64)
}

/// Writes the images into an OCI layout at `folder`, tagged with their names.
pub fn write(folder: &Path, images: &[&Image]) {
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let mut entries = Vec::new();
    for image in images {
        let (mut layers, mut diff_ids) = (Vec::new(), Vec::new());
        for (seed, megabytes) in image.layers {
            let size = if *megabytes == 0 { 250_000 } else { megabytes * 1_000_000 };
            let mut tar = tar::Builder::new(Vec::with_capacity(size as usize + 2048));
            let mut header = tar::Header::new_ustar();
            header.set_size(size);
            header.set_mode(0o644);
            header.set_mtime(0);
            let noise = std::io::Read::take(Noise(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1), size);
            tar.append_data(&mut header, format!("data-{seed}"), noise).unwrap();
            let tar = tar.into_inner().unwrap();
            diff_ids.push(format!("sha256:{}", hex(&Sha256::digest(&tar))));
            let mut gzip =
                flate2::write::GzEncoder::new(Vec::with_capacity(tar.len() + 65536), flate2::Compression::none());
            gzip.write_all(&tar).unwrap();
            let (digest, size) = blob(&blobs, &gzip.finish().unwrap());
            layers.push(
                json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest, "size": size}),
            );
        }
        let config = json!({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let (digest, size) = blob(&blobs, config.to_string().as_bytes());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": size}, "layers": layers,
        });
        let (digest, size) = blob(&blobs, manifest.to_string().as_bytes());
        entries.push(json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": size,
            "annotations": {"org.opencontainers.image.ref.name": image.name},
        }));
    }
    std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let index =
        json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries});
    std::fs::write(folder.join("index.json"), index.to_string()).unwrap();
}
