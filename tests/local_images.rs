//! Images that lie in files: OCI layouts in folders and tars, and what `docker save` writes, old and new, honest and not.

#![allow(clippy::unwrap_used)]

use std::{fs, io::Write, path::Path};

use airgap_bundler::{
    error::{Classify, Kind},
    event::{Phase, Silent},
    oci::{Descriptor, Digest, media_type},
    store::{LocalError, LocalSource, Memory, Policy, Slots, copy, open_image, walk},
};
use serde_json::json;

use crate::archive::fixture::{Fixture, create, image, index, noise};

/// Reads everything below the root into memory, verified.
async fn all(root: &Descriptor, source: &LocalSource) -> Memory {
    let graph = walk(source, std::slice::from_ref(root), &Policy::default()).await.unwrap();
    let memory = Memory::new();
    copy(source, &memory, &graph.leaves(), &Slots::new(3), &Silent, Phase::Pull).await.unwrap();
    memory
}

fn layout(folder: &Path, memory: &Memory, blobs: &[Digest], entries: serde_json::Value) {
    fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
    for digest in blobs {
        fs::write(folder.join("blobs/sha256").join(digest.hex()), memory.get(digest).unwrap()).unwrap();
    }
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    fs::write(folder.join("index.json"), json!({"schemaVersion": 2, "manifests": entries}).to_string()).unwrap();
}

fn tarball(entries: &[(&str, tar::EntryType, &[u8], &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, bytes, link) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        if !link.is_empty() {
            header.set_link_name(link).unwrap();
        }
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

const FILE: tar::EntryType = tar::EntryType::Regular;

fn saved(config: &str, layers: &[&str], tags: &[&str]) -> String {
    json!([{"Config": config, "RepoTags": tags, "Layers": layers}]).to_string()
}

fn config(layers: &[&[u8]]) -> String {
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::sha256(layer)).collect();
    json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}).to_string()
}

#[tokio::test]
async fn a_layout_in_a_folder() {
    let memory = Memory::new();
    let one = image(&memory, &[noise(1, 1000)], "one");
    let two = image(&memory, &[noise(2, 2000)], "two");
    let blobs: Vec<Digest> = {
        let graph = walk(&memory, &[one.clone(), two.clone()], &Policy::default()).await.unwrap();
        graph.nodes().map(|node| node.descriptor.digest).collect()
    };
    let named = |descriptor: &Descriptor, name: &str| {
        let mut entry = descriptor.clone();
        entry.annotations.insert("org.opencontainers.image.ref.name".into(), name.into());
        entry
    };
    let folder = tempfile::tempdir().unwrap();
    layout(folder.path(), &memory, &blobs, json!([named(&one, "v1"), named(&two, "quay.io/a/b:v2")]));
    for (wanted, expected) in [("quay.io/x/y:v1", &one), ("quay.io/a/b:v2", &two)] {
        let (root, source) = open_image(folder.path(), Some(&wanted.parse().unwrap())).await.unwrap();
        assert_eq!(root, *expected);
        all(&root, &source).await;
    }
    let error = open_image(folder.path(), Some(&"quay.io/a/b:v3".parse().unwrap())).await.unwrap_err();
    assert!(error.to_string().contains("v1, quay.io/a/b:v2"), "{error}");
    assert_eq!(error.kind(), Kind::NotFound);

    // A single image is the image, whatever its name.
    layout(folder.path(), &memory, &[], json!([named(&one, "v1")]));
    let (root, source) = open_image(folder.path(), Some(&"app:9".parse().unwrap())).await.unwrap();
    assert_eq!(root.digest, one.digest);
    // A blob that is gone, and one that has other bytes.
    let layer = &walk(&source, &[root], &Policy::default()).await.unwrap().leaves()[1];
    let path = folder.path().join("blobs/sha256").join(layer.digest.hex());
    fs::write(&path, noise(9, 1000)).unwrap();
    let wrong = copy(&source, &Memory::new(), std::slice::from_ref(layer), &Slots::new(1), &Silent, Phase::Pull).await;
    assert_eq!(wrong.unwrap_err().kind(), Kind::Corrupt);
    fs::remove_file(&path).unwrap();
    let gone = copy(&source, &Memory::new(), std::slice::from_ref(layer), &Slots::new(1), &Silent, Phase::Pull).await;
    assert_eq!(gone.unwrap_err().kind(), Kind::NotFound);

    // Platforms side by side without names are one image.
    let index = index(&memory, &[(&one, "linux/amd64"), (&two, "linux/arm64")]);
    fs::write(folder.path().join("index.json"), memory.get(&index.digest).unwrap()).unwrap();
    let (root, _) = open_image(folder.path(), None).await.unwrap();
    assert_eq!((root.digest, root.media_type.as_str()), (index.digest, media_type::INDEX));

    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(open_image(empty.path(), None).await, Err(LocalError::NotAnImage(_))));
}

#[tokio::test]
async fn an_archive_of_ours_is_an_oci_archive() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::new(5000);
    let path = create(&fixture, folder.path()).await;
    let (root, source) = open_image(&path, Some(&"nginx:1.27".parse().unwrap())).await.unwrap();
    assert_eq!(root.digest, fixture.web.digest);
    all(&root, &source).await;
    // Compressed as a whole, it is read all the same.
    let packed = folder.path().join("x.tar.gz");
    let mut encoder = flate2::write::GzEncoder::new(fs::File::create(&packed).unwrap(), flate2::Compression::fast());
    encoder.write_all(&fs::read(&path).unwrap()).unwrap();
    encoder.finish().unwrap();
    let (root, source) = open_image(&packed, Some(&"quay.io/demo/tool:v1".parse().unwrap())).await.unwrap();
    assert_eq!(root.digest, fixture.tool.digest);
    all(&root, &source).await;
}

#[tokio::test]
async fn what_docker_save_writes_gets_a_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved.tar");
    let (a, b) = (noise(1, 3000), noise(2, 100));
    let config = config(&[&a, &b, &a]);
    // Old engines write a link for a layer that they wrote before.
    let bytes = tarball(&[
        ("c.json", FILE, config.as_bytes(), ""),
        ("1/layer.tar", FILE, &a, ""),
        ("2/layer.tar", FILE, &b, ""),
        ("3/layer.tar", tar::EntryType::Symlink, b"", "../1/layer.tar"),
        (
            "manifest.json",
            FILE,
            saved("c.json", &["1/layer.tar", "2/layer.tar", "3/layer.tar"], &["app:1.0"]).as_bytes(),
            "",
        ),
    ]);
    fs::write(&path, bytes).unwrap();
    let (root, source) = open_image(&path, Some(&"registry.example.com/app:1.0".parse().unwrap())).await.unwrap();
    let memory = all(&root, &source).await;
    assert_eq!(memory.get(&Digest::sha256(&a)).unwrap(), a);
    assert_eq!(memory.get(&Digest::sha256(config.as_bytes())).unwrap(), config.as_bytes());
    let (again, source) = open_image(&path, None).await.unwrap();
    assert_eq!(root, again, "the same manifest for the same content");
    let graph = walk(&source, &[again], &Policy::default()).await.unwrap();
    assert_eq!(graph.leaves().len(), 3, "a layer that occurs twice is one blob");
}

#[tokio::test]
async fn hostile_tars_are_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved.tar");
    let layer = noise(1, 3000);
    let good = config(&[&layer]);
    let other = config(&[b"something else"]);
    let short = config(&[]);
    let manifest = saved("c.json", &["l"], &[]);
    let link = tar::EntryType::Symlink;
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("is neither", b"no tar at all".to_vec()),
        ("is neither", vec![0; 2048]),
        ("is neither", tarball(&[("x", FILE, b"", "")])),
        ("is neither", tarball(&[("manifest.json", FILE, b"[]", "")])),
        ("manifest.json", tarball(&[("manifest.json", FILE, b"[{]", "")])),
        ("does not hold", tarball(&[("manifest.json", FILE, manifest.as_bytes(), "")])),
        (
            "does not hold",
            tarball(&[("manifest.json", FILE, manifest.as_bytes(), ""), ("c.json", FILE, good.as_bytes(), "")]),
        ),
        (
            "but the configuration says",
            tarball(&[
                ("manifest.json", FILE, manifest.as_bytes(), ""),
                ("c.json", FILE, other.as_bytes(), ""),
                ("l", FILE, &layer, ""),
            ]),
        ),
        (
            "1 layers",
            tarball(&[
                ("manifest.json", FILE, manifest.as_bytes(), ""),
                ("c.json", FILE, short.as_bytes(), ""),
                ("l", FILE, &layer, ""),
            ]),
        ),
        (
            "leads out",
            tarball(&[
                ("manifest.json", FILE, manifest.as_bytes(), ""),
                ("c.json", FILE, good.as_bytes(), ""),
                ("l", link, b"", "../../etc/passwd"),
            ]),
        ),
        ("twice", tarball(&[("manifest.json", FILE, b"[]", ""), ("manifest.json", FILE, b"[]", "")])),
        ("index.json", tarball(&[("index.json", FILE, br#"{"manifests":[],"layers":[]}"#, "")])),
    ];
    for (reason, bytes) in cases {
        fs::write(&path, &bytes).unwrap();
        let error = open_image(&path, Some(&"app:1".parse().unwrap())).await.unwrap_err();
        assert!(error.to_string().contains(reason), "{error} lacks {reason:?}");
    }
    let good = tarball(&[
        ("manifest.json", FILE, manifest.as_bytes(), ""),
        ("c.json", FILE, good.as_bytes(), ""),
        ("l", FILE, &layer, ""),
    ]);
    fs::write(&path, &good).unwrap();
    open_image(&path, None).await.unwrap();
    fs::write(&path, &good[..good.len() - 2500]).unwrap();
    assert!(open_image(&path, None).await.is_err());
    assert!(open_image(&folder.path().join("none"), None).await.is_err());
}
