//! Images of every shape, written as an OCI layout folder that stock tools push into a registry.

use std::{io::Write, path::Path};

use airgap_bundler::oci::Digest;
use serde_json::{Value, json};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// Writes an OCI layout step by step.
pub struct Layout<'a> {
    folder: &'a Path,
    entries: Vec<Value>,
}

impl<'a> Layout<'a> {
    pub fn new(folder: &'a Path) -> Self {
        std::fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
        Layout { folder, entries: Vec::new() }
    }

    /// Adds a blob and returns its descriptor.
    pub fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::sha256(bytes);
        std::fs::write(self.folder.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    pub fn json(&self, media_type: &str, value: &Value) -> Value {
        self.blob(media_type, value.to_string().as_bytes())
    }

    /// Adds a gzip layer with one file of bytes that do not compress.
    pub fn layer(&self, name: &str, length: usize) -> (Value, Digest) {
        let tar = tar(name, &noise(name, length));
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&tar).unwrap();
        (self.blob("application/vnd.oci.image.layer.v1.tar+gzip", &gzip.finish().unwrap()), Digest::sha256(&tar))
    }

    /// Adds an image for one platform with a layer per given (name, size).
    pub fn image(&self, os: &str, architecture: &str, layers: &[(&str, usize)]) -> Value {
        let (layers, diff_ids): (Vec<Value>, Vec<Digest>) =
            layers.iter().map(|(name, length)| self.layer(name, *length)).unzip();
        let config = json!({"os": os, "architecture": architecture, "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let config = self.json("application/vnd.oci.image.config.v1+json", &config);
        self.json(MANIFEST, &json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}))
    }

    pub fn index(&self, entries: &[Value]) -> Value {
        self.json(INDEX, &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}))
    }

    /// Names a manifest, so that `oci:FOLDER:NAME` finds it.
    pub fn tag(&mut self, name: &str, manifest: &Value) {
        let mut entry = manifest.clone();
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        self.entries.push(entry);
    }

    pub fn finish(self) {
        std::fs::write(self.folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": self.entries});
        std::fs::write(self.folder.join("index.json"), index.to_string()).unwrap();
    }
}

/// Bytes that do not compress and depend on nothing but the name.
pub fn noise(name: &str, length: usize) -> Vec<u8> {
    let mut state = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
        | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24) as u8
        })
        .collect()
}

fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    tar.append_data(&mut header, format!("data/{name}"), content).unwrap();
    tar.into_inner().unwrap()
}

fn on(entry: Value, os: &str, architecture: &str) -> Value {
    let mut entry = entry;
    entry["platform"] = json!({"os": os, "architecture": architecture});
    entry
}

/// Writes one image of every shape that is met in the wild; returns their names with what is special about them.
pub fn every_shape(folder: &Path) -> Vec<(&'static str, &'static str)> {
    let mut layout = Layout::new(folder);
    let single = layout.image("linux", "amd64", &[("base", 200_000), ("single", 3000)]);
    layout.tag("single", &single);

    let amd64 = layout.image("linux", "amd64", &[("base", 200_000), ("multi-amd64", 70_000)]);
    let arm64 = layout.image("linux", "arm64", &[("base-arm", 190_000), ("multi-arm64", 60_000)]);
    let (statement, diff_id) = layout.layer("attestation", 900);
    let config = json!({"os": "unknown", "architecture": "unknown", "config": {}, "rootfs": {"type": "layers", "diff_ids": [diff_id]}});
    let config = layout.json("application/vnd.oci.image.config.v1+json", &config);
    let attestation = layout
        .json(MANIFEST, &json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [statement]}));
    let mut attestation = on(attestation, "unknown", "unknown");
    attestation["annotations"] =
        json!({"vnd.docker.reference.digest": amd64["digest"], "vnd.docker.reference.type": "attestation-manifest"});
    let multi = layout.index(&[on(amd64.clone(), "linux", "amd64"), on(arm64.clone(), "linux", "arm64"), attestation]);
    layout.tag("multi", &multi);

    let nested = layout.index(std::slice::from_ref(&multi));
    layout.tag("nested", &nested);

    let (layer, diff_id) = layout.layer("docker", 50_000);
    let config = json!({"os": "linux", "architecture": "amd64", "config": {}, "rootfs": {"type": "layers", "diff_ids": [diff_id]}});
    let config = layout.json("application/vnd.docker.container.image.v1+json", &config);
    let layer = json!({"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "digest": layer["digest"], "size": layer["size"]});
    let docker = layout.json(
        DOCKER_MANIFEST,
        &json!({"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": config, "layers": [layer]}),
    );
    let list = json!({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [on(docker, "linux", "amd64")]});
    let docker = layout.json(DOCKER_LIST, &list);
    layout.tag("docker", &docker);

    let zstd = layout.blob(
        "application/vnd.oci.image.layer.v1.tar+zstd",
        &[&[0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x00, 0x01, 0x00, 0x00][..], &[0x99, 0xe9, 0xd8, 0x51]].concat(),
    );
    let config = json!({"os": "linux", "architecture": "amd64", "config": {}, "rootfs": {"type": "layers", "diff_ids": [Digest::sha256(b"")]}});
    let config = layout.json("application/vnd.oci.image.config.v1+json", &config);
    let zstd =
        layout.json(MANIFEST, &json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [zstd]}));
    layout.tag("zstd", &zstd);

    let empty = layout.blob("application/vnd.oci.empty.v1+json", b"{}");
    let nothing = layout.blob("application/vnd.example.data", b"");
    let model = layout.blob("application/vnd.example.data", &noise("model", 10_000));
    let artifact = json!({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.example.model", "config": empty, "layers": [model, nothing, model]});
    let artifact = layout.json(MANIFEST, &artifact);
    layout.tag("artifact", &artifact);
    layout.finish();
    vec![
        ("single", "one platform"),
        ("multi", "two platforms with an attestation"),
        ("nested", "an index in an index"),
        ("docker", "Docker's own media types"),
        ("zstd", "a zstd layer"),
        ("artifact", "no image at all, with an empty blob and a blob that is named twice"),
    ]
}
