//! Plans: which manifests and blobs belong to an image, for which platforms, and what is refused on the way.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::Ordering;

use airgap_bundler::{
    error::{Classify, Kind},
    oci::{Descriptor, Digest, Manifest, ManifestError, Platform, annotation, media_type},
    store::{Error, Graph, Memory, Policy, walk},
};
use serde_json::json;

use crate::archive::fixture::{Fault, Faulty, image, index, noise};

async fn plan(memory: &Memory, root: &Descriptor, platforms: &[&str]) -> Result<Graph, Error> {
    let platforms: Vec<Platform> = platforms.iter().map(|text| text.parse().unwrap()).collect();
    walk(memory, std::slice::from_ref(root), &Policy { platforms }).await
}

/// An index for two platforms with an attestation for each, as BuildKit makes them, and an entry without a platform.
fn buildkit(memory: &Memory) -> (Descriptor, Vec<Descriptor>) {
    let amd = image(memory, &[noise(1, 100)], "amd");
    let arm = image(memory, &[noise(2, 100)], "arm");
    let about_amd = image(memory, &[noise(3, 50)], "about amd");
    let about_arm = image(memory, &[noise(4, 50)], "about arm");
    let plain = image(memory, &[noise(5, 50)], "plain");
    let on = |one: &Descriptor, platform: &str| Descriptor { platform: Some(platform.parse().unwrap()), ..one.clone() };
    let about = |one: &Descriptor, subject: &Descriptor| {
        let mut entry = on(one, "unknown/unknown");
        entry.annotations.insert(annotation::ATTESTED_DIGEST.into(), subject.digest.to_string());
        entry
    };
    let entries = vec![
        on(&amd, "linux/amd64"),
        on(&arm, "linux/arm64/v8"),
        about(&about_amd, &amd),
        about(&about_arm, &arm),
        plain.clone(),
        on(&image(memory, &[], "stray"), "unknown/unknown"),
    ];
    let document = json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": entries});
    (memory.add(media_type::INDEX, document.to_string()), entries)
}

#[tokio::test]
async fn a_platform_brings_its_attestations_and_what_is_for_all() {
    let memory = Memory::new();
    let (root, entries) = buildkit(&memory);
    let graph = plan(&memory, &root, &["linux/arm64"]).await.unwrap();
    let node = graph.get(&root.digest).unwrap();
    assert_eq!(node.children, [1, 3, 4].map(|at: usize| entries[at].digest));
    let left_out: Vec<Digest> = node.left_out.iter().map(|one| one.digest).collect();
    assert_eq!(left_out, [0, 2, 5].map(|at: usize| entries[at].digest));
    assert!(node.is_sparse() && node.not_offered.is_empty());
    assert!(graph.get(&entries[0].digest).is_none());
    // The bytes of the index stay what they are.
    assert_eq!(graph.manifests().last().unwrap().1, &memory.get(&root.digest).unwrap());

    let both = plan(&memory, &root, &["linux/amd64", "linux/arm64", "linux/s390x"]).await.unwrap();
    let node = both.get(&root.digest).unwrap();
    assert_eq!((node.children.len(), node.left_out.len()), (5, 1));
    assert_eq!(node.not_offered, ["linux/s390x".parse().unwrap()]);
    let all = plan(&memory, &root, &[]).await.unwrap();
    assert_eq!((all.get(&root.digest).unwrap().children.len(), all.get(&root.digest).unwrap().is_sparse()), (6, false));
}

#[tokio::test]
async fn a_platform_that_is_not_offered_names_those_that_are() {
    let memory = Memory::new();
    let (root, entries) = buildkit(&memory);
    let error = plan(&memory, &root, &["windows/amd64", "linux/arm64/v9"]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("offers linux/amd64, linux/arm64/v8, but none of windows/amd64"), "{error}");
    // An image without an index is what it is.
    assert_eq!(plan(&memory, &entries[0], &["linux/s390x"]).await.unwrap().roots(), [entries[0].digest]);
    // An index of things without platforms is for all.
    let artifacts = json!({"mediaType": media_type::INDEX, "manifests": [entries[4]]});
    let artifacts = memory.add(media_type::INDEX, artifacts.to_string());
    assert_eq!(plan(&memory, &artifacts, &["linux/s390x"]).await.unwrap().nodes().count(), 4);
}

#[tokio::test]
async fn children_come_before_parents_and_each_once() {
    let memory = Memory::new();
    let shared = noise(1, 100);
    let one = image(&memory, &[shared.clone(), noise(2, 10)], "one");
    let two = image(&memory, &[shared, noise(3, 10)], "two");
    let inner = index(&memory, &[(&one, "linux/amd64")]);
    let outer = index(&memory, &[(&two, "linux/amd64"), (&one, "linux/arm64")]);
    let nested = json!({"mediaType": media_type::INDEX, "manifests": [inner, outer]});
    let root = memory.add(media_type::INDEX, nested.to_string());
    let graph = walk(&memory, &[root.clone(), two.clone(), root.clone()], &Policy::default()).await.unwrap();
    assert_eq!(graph.roots(), [root.digest, two.digest]);
    let mut seen = std::collections::HashSet::new();
    for node in graph.nodes() {
        assert!(node.children.iter().all(|child| seen.contains(child)));
        assert!(seen.insert(node.descriptor.digest));
    }
    // Three indexes, two images, two configurations, three layers.
    assert_eq!((seen.len(), graph.leaves().len()), (10, 5));
    let below = graph.below(&outer.digest);
    assert_eq!(below.len(), 8);
    assert_eq!(below.last().unwrap().descriptor.digest, outer.digest);
    assert!(graph.below(&Digest::sha256(b"unknown")).is_empty());
    let mut merged = plan(&memory, &one, &[]).await.unwrap();
    merged.merge(graph).unwrap();
    assert_eq!((merged.nodes().count(), merged.roots().len()), (10, 3));
}

#[tokio::test]
async fn foreign_layers_are_named_and_unknown_types_are_carried() {
    let memory = Memory::new();
    let foreign = Descriptor::new(media_type::DOCKER_FOREIGN_LAYER, Digest::sha256(b"elsewhere"), 9);
    let config = memory.add(media_type::CONFIG, "{}");
    let windows = json!({"mediaType": media_type::MANIFEST, "config": config, "layers": [foreign]});
    let windows = memory.add(media_type::MANIFEST, windows.to_string());
    let odd = memory.add("application/vnd.example.thing+json", r#"{"layers":[],"manifests":[]}"#);
    let root = json!({"mediaType": media_type::INDEX, "manifests": [windows, odd]});
    let root = memory.add(media_type::INDEX, root.to_string());
    let graph = plan(&memory, &root, &[]).await.unwrap();
    assert!(graph.get(&foreign.digest).unwrap().is_foreign());
    let leaves: Vec<Digest> = graph.leaves().iter().map(|leaf| leaf.digest).collect();
    assert_eq!(leaves, [config.digest, odd.digest]);
}

#[tokio::test]
async fn hostile_manifests_are_refused() {
    let memory = Memory::new();
    let leaf = image(&memory, &[noise(1, 10)], "leaf");

    let mut deep = leaf.clone();
    for _ in 0..4 {
        let document = json!({"mediaType": media_type::INDEX, "manifests": [deep]});
        deep = memory.add(media_type::INDEX, document.to_string());
    }
    assert!(matches!(plan(&memory, &deep, &[]).await, Err(Error::Limit { .. })));

    let mut large = leaf.clone();
    large.size = Manifest::MAX_BYTES as u64 + 1;
    let refused = plan(&memory, &large, &[]).await.unwrap_err();
    assert!(matches!(refused, Error::Manifest { cause: ManifestError::TooLarge(_), .. }));

    for size in [leaf.size - 1, leaf.size + 1] {
        let lie = Descriptor { size, ..leaf.clone() };
        assert_eq!(plan(&memory, &lie, &[]).await.unwrap_err().kind(), Kind::Corrupt, "{size}");
    }

    memory.set(Digest::sha256(b"promised"), bytes::Bytes::from_static(b"received"));
    let wrong = Descriptor::new(media_type::MANIFEST, Digest::sha256(b"promised"), 8);
    assert!(matches!(plan(&memory, &wrong, &[]).await, Err(Error::Corrupt { .. })));

    // The same bytes as manifest and as layer, and with two sizes in two manifests.
    let both = json!({"mediaType": media_type::MANIFEST, "layers": [Descriptor::new(media_type::LAYER, leaf.digest, leaf.size)]});
    let both = memory.add(media_type::MANIFEST, both.to_string());
    let root = json!({"mediaType": media_type::INDEX, "manifests": [leaf, both]});
    let root = memory.add(media_type::INDEX, root.to_string());
    let refused = plan(&memory, &root, &[]).await.unwrap_err();
    assert!(matches!(refused, Error::Manifest { cause: ManifestError::Ambiguous, .. }));
    let other = json!({"mediaType": media_type::MANIFEST, "layers": [Descriptor::new(media_type::LAYER, Digest::sha256(&noise(1, 10)), 11)]});
    let other = memory.add(media_type::MANIFEST, other.to_string());
    let refused = walk(&memory, &[leaf.clone(), other], &Policy::default()).await.unwrap_err();
    assert!(matches!(refused, Error::Manifest { cause: ManifestError::TwoSizes(_), .. }));

    let gone = Descriptor::new(media_type::MANIFEST, Digest::sha256(b"gone"), 5);
    assert_eq!(plan(&memory, &gone, &[]).await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn a_manifest_that_breaks_off_is_read_again() {
    let memory = Memory::new();
    let root = image(&memory, &[noise(1, 10)], "x");
    for fault in [Fault::Reset, Fault::Cut, Fault::Refuse] {
        let source = Faulty::new(&memory, 20, fault, 1);
        walk(&source, std::slice::from_ref(&root), &Policy::default()).await.unwrap();
        assert_eq!(source.opened.load(Ordering::Relaxed), 2, "{fault:?}");
    }
    let source = Faulty::new(&memory, 20, Fault::Reset, 0);
    source.corrupt.store(1, Ordering::Relaxed);
    walk(&source, std::slice::from_ref(&root), &Policy::default()).await.unwrap();
    source.corrupt.store(2, Ordering::Relaxed);
    let refused = walk(&source, std::slice::from_ref(&root), &Policy::default()).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Corrupt);
}
