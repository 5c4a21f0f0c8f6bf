//! A registry that shows what a source holds and takes nothing.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use airgap_bundler::{
    error::Side,
    oci::{Descriptor, Digest, Reference, media_type},
    serve::{Catalogue, ReadOnly, Shown},
    store::{Error, Reader, Source},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::json;

use super::digest;
use crate::support::{
    referees::{self, must},
    registry::{Registry, Setup, wait_for},
    wire,
};

/// Holds content in memory and counts how often something is opened.
#[derive(Clone, Default)]
struct Memory(HashMap<Digest, Bytes>, Arc<AtomicUsize>);

impl Memory {
    fn add(&mut self, media_type: &str, bytes: &[u8]) -> Descriptor {
        let descriptor = Descriptor::of(media_type, bytes);
        self.0.insert(descriptor.digest, Bytes::copy_from_slice(bytes));
        descriptor
    }

    fn add_json(&mut self, media_type: &str, value: &serde_json::Value) -> Descriptor {
        self.add(media_type, value.to_string().as_bytes())
    }

    fn image(&mut self, layer: &[u8]) -> Descriptor {
        let config = self.add(media_type::CONFIG, format!("{{\"of\":\"{}\"}}", digest(layer)).as_bytes());
        let layer = self.add(media_type::LAYER, layer);
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
        self.add_json(media_type::MANIFEST, &manifest)
    }

    fn serve(&self, shown: Vec<Shown>) -> Result<Registry, Error> {
        let source = self.clone();
        let backend = wait_for(async move {
            let catalogue = Catalogue::gather(&source, shown).await?;
            Ok(ReadOnly::new(source, catalogue))
        })?;
        Ok(Registry::of(backend, Setup::default()))
    }
}

impl Source for Memory {
    async fn open(&self, blob: &Descriptor, from: u64, to: u64) -> Result<Reader, Error> {
        self.1.fetch_add(1, Ordering::SeqCst);
        let Some(bytes) = self.0.get(&blob.digest) else {
            return Err(Error::Missing { side: Side::Source, digest: blob.digest });
        };
        let pieces: Vec<_> = bytes
            .slice(from as usize..to as usize)
            .chunks(1000)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        Ok(stream::iter(pieces).boxed())
    }
}

fn shown(reference: &str, root: &Descriptor) -> Shown {
    let reference: Reference = reference.parse().unwrap();
    Shown::under_host(&reference, root.clone()).unwrap()
}

fn nginx() -> (Memory, Registry, Descriptor) {
    let mut memory = Memory::default();
    let image = memory.image(&[3; 5000]);
    let registry = memory
        .serve(vec![
            shown("docker.io/library/nginx:1.27", &image),
            shown("quay.io/library/nginx:quay", &image),
            shown("localhost:5000/app:v1", &image),
        ])
        .unwrap();
    (memory, registry, image)
}

#[test]
fn an_image_has_its_name_under_its_host_and_as_a_mirror() {
    let (_, registry, image) = nginx();
    let root = image.digest.to_string();
    for target in [
        "/v2/docker.io/library/nginx/manifests/1.27",
        "/v2/library/nginx/manifests/1.27?ns=docker.io",
        "/v2/library/nginx/manifests/1.27?ns=registry-1.docker.io",
        // Docker itself does not say whose mirror it believes to talk to; it mirrors Docker Hub only.
        "/v2/library/nginx/manifests/1.27",
        "/v2/library/nginx/manifests/quay?ns=quay.io",
        "/v2/app/manifests/v1?ns=localhost:5000",
        "/v2/localhost_5000/app/manifests/v1",
        &format!("/v2/library/nginx/manifests/{root}?ns=quay.io"),
    ] {
        let answer = registry.get(target);
        assert_eq!((answer.status, answer.header("docker-content-digest")), (200, Some(root.as_str())), "{target}");
        let namespace = target.split_once("ns=").map(|(_, host)| host.replace("registry-1.", ""));
        assert_eq!(answer.header("oci-namespace"), namespace.as_deref(), "{target}");
    }
    for target in [
        "/v2/library/nginx/manifests/quay?ns=docker.io",
        "/v2/library/nginx/manifests/1.27?ns=quay.io",
        "/v2/library/nginx/manifests/1.27?ns=ghcr.io",
        "/v2/nginx/manifests/1.27?ns=docker.io",
        "/v2/app/manifests/v1",
    ] {
        assert_eq!(registry.get(target).status, 404, "{target}");
    }
    let tags = registry.get("/v2/library/nginx/tags/list?ns=quay.io").json();
    assert_eq!(tags, json!({"name": "library/nginx", "tags": ["quay"]}));
    let names = registry.get("/v2/_catalog").json();
    assert_eq!(
        names["repositories"],
        json!(["docker.io/library/nginx", "localhost_5000/app", "quay.io/library/nginx"])
    );
}

#[test]
fn stock_tools_pull_under_both_names() {
    let Some(skopeo) = referees::skopeo() else { return };
    let (_, registry, image) = nginx();
    for (n, name) in ["docker.io/library/nginx:1.27", "library/nginx:1.27"].iter().enumerate() {
        let (from, to) = (format!("docker://{}/{name}", registry.host()), format!("dir:{n}"));
        must(&skopeo, registry.home(), &["copy", "--src-tls-verify=false", "--preserve-digests", &from, &to]);
        let manifest = std::fs::read(registry.home().join(format!("{n}/manifest.json"))).unwrap();
        assert_eq!(Digest::sha256(&manifest), image.digest);
    }
}

#[test]
fn a_blob_is_verified_once_however_many_ask() {
    let mut memory = Memory::default();
    let image = memory.image(&[7; 50_000]);
    let opened = Arc::clone(&memory.1);
    let registry = memory.serve(vec![shown("a.io/a:v1", &image)]).unwrap();
    let target = format!("/v2/a.io/a/blobs/{}", digest(&[7; 50_000]));
    let before = opened.load(Ordering::SeqCst);
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (registry, target) = (&registry, &target);
            scope.spawn(move || {
                let range = format!("bytes={}-{}", n * 1000, n * 1000 + 9);
                assert_eq!(registry.request("GET", target, &[("Range", &range)], b"").body, [7; 10]);
            });
        }
    });
    // Eight parts, and the whole once.
    assert_eq!(opened.load(Ordering::SeqCst) - before, 9);
}

#[test]
fn nothing_can_be_written() {
    let (_, registry, image) = nginx();
    let repository = "/v2/docker.io/library/nginx";
    for (method, path) in [
        ("PUT", "manifests/1.27".to_owned()),
        ("DELETE", "manifests/1.27".to_owned()),
        ("DELETE", format!("blobs/{}", digest(&[3; 5000]))),
        ("POST", "blobs/uploads/".to_owned()),
        ("POST", format!("blobs/uploads/?mount={}&from=docker.io/library/nginx", digest(&[3; 5000]))),
        ("PATCH", "blobs/uploads/x".to_owned()),
        ("PUT", format!("blobs/uploads/x?digest={}", image.digest)),
        ("GET", "blobs/uploads/x".to_owned()),
    ] {
        let answer = registry.request(method, &format!("{repository}/{path}"), &[], b"");
        assert_eq!((answer.status, answer.code().as_str()), (405, "UNSUPPORTED"), "{method} {path}");
    }
}

#[test]
fn blobs_come_whole_and_in_parts_and_only_under_their_names() {
    let (mut memory, _, image) = nginx();
    let other = memory.image(b"other");
    let registry = memory.serve(vec![shown("a.io/a:v1", &image), shown("a.io/b:v1", &other)]).unwrap();
    let target = format!("/v2/a.io/a/blobs/{}", digest(&[3; 5000]));
    let part = registry.request("GET", &target, &[("Range", "bytes=1000-2000")], b"");
    assert_eq!((part.status, part.body.len()), (206, 1001));
    let whole = registry.get(&target);
    assert_eq!((whole.status, whole.body), (200, vec![3; 5000]));
    assert_eq!(registry.request("HEAD", &target, &[], b"").header("content-length"), Some("5000"));
    assert_eq!(registry.get(&target.replace("a.io/a", "a.io/b")).code(), "BLOB_UNKNOWN");
    assert_eq!(registry.get(&format!("/v2/a.io/b/manifests/{}", image.digest)).code(), "MANIFEST_UNKNOWN");
}

#[test]
fn wrong_bytes_never_arrive_whole() {
    for size in [5000, 10, 1000] {
        let mut memory = Memory::default();
        let layer = vec![3; size];
        let image = memory.image(&layer);
        let mut wrong = layer.clone();
        wrong[size / 2] ^= 1;
        memory.0.insert(Digest::sha256(&layer), wrong.into());
        let registry = memory.serve(vec![shown("a.io/a:v1", &image)]).unwrap();
        let target = format!("/v2/a.io/a/blobs/{}", digest(&layer));
        for _ in 0..2 {
            // Known before anything was sent: an error. Known only at the end: the connection breaks.
            let raw = wire::exchange(registry.addr(), "GET", &target, &[], b"");
            let refused = raw.starts_with(b"HTTP/1.1 500 ");
            assert!(refused == (size <= 1000) && (refused || raw.len() < size), "{size}: {}", raw.len());
            let part = registry.request("GET", &target, &[("Range", "bytes=0-1")], b"");
            assert_eq!((part.status, part.code().as_str()), (500, "UNKNOWN"));
        }
    }
}

#[test]
fn a_wrong_manifest_is_not_shown_at_all() {
    let mut memory = Memory::default();
    let image = memory.image(b"x");
    let mut wrong = memory.0[&image.digest].to_vec();
    wrong.push(b' ');
    wrong.remove(0);
    wrong.insert(0, b'{');
    wrong.truncate(image.size as usize);
    wrong[20] ^= 1;
    memory.0.insert(image.digest, wrong.into());
    assert!(matches!(memory.serve(vec![shown("a.io/a:v1", &image)]), Err(Error::Corrupt { .. })));
    memory.0.remove(&image.digest);
    assert!(matches!(memory.serve(vec![shown("a.io/a:v1", &image)]), Err(Error::Missing { .. })));
}

#[test]
fn indexes_may_be_sparse_and_referrers_are_found() {
    let mut memory = Memory::default();
    let image = memory.image(b"x");
    let absent = Descriptor::of(media_type::MANIFEST, b"absent");
    let nested = memory.add_json(media_type::INDEX, &json!({"schemaVersion": 2, "manifests": [image]}));
    let index = memory.add_json(media_type::INDEX, &json!({"schemaVersion": 2, "manifests": [nested, absent]}));
    let signature = memory.add(media_type::SIGSTORE_BUNDLE, b"signature");
    let empty = memory.add(media_type::EMPTY, b"{}");
    let referrer = memory.add_json(
        media_type::MANIFEST,
        &json!({"schemaVersion": 2, "artifactType": media_type::SIGSTORE_BUNDLE, "config": empty,
            "layers": [signature], "subject": index, "annotations": {"a": "b"}}),
    );
    let untagged = Shown { tag: None, ..shown("a.io/a", &referrer) };
    let registry = memory.serve(vec![shown("a.io/a:v1", &index), untagged]).unwrap();
    let get = |path: &str| registry.get(&format!("/v2/a.io/a/{path}"));
    assert_eq!(get(&format!("manifests/{}", image.digest)).status, 200);
    assert_eq!(get(&format!("manifests/{}", absent.digest)).status, 404);
    assert_eq!(get(&format!("blobs/{}", signature.digest)).body, b"signature");
    let found = get(&format!("referrers/{}", index.digest)).json()["manifests"].clone();
    assert_eq!(found.as_array().unwrap().len(), 1);
    assert_eq!(found[0]["digest"], json!(referrer.digest));
    assert_eq!(
        (&found[0]["artifactType"], &found[0]["annotations"]),
        (&json!(media_type::SIGSTORE_BUNDLE), &json!({"a": "b"}))
    );
    assert_eq!(get("tags/list").json()["tags"], json!(["v1"]));
}

#[test]
fn indexes_nested_without_end_are_refused() {
    let mut memory = Memory::default();
    let mut root = memory.image(b"x");
    for n in 0..20 {
        let index = json!({"schemaVersion": 2, "manifests": [root], "annotations": {"n": n.to_string()}});
        root = memory.add_json(media_type::INDEX, &index);
    }
    assert!(matches!(memory.serve(vec![shown("a.io/a:v1", &root)]), Err(Error::Limit { .. })));
}
