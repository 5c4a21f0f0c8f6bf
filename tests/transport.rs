//! The transport against a hostile registry: every fault is survived or reported, none is passed on.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use airgap_bundler::{
    error::{Classify as _, Kind, Side},
    event::Silent,
    net::{Policy, Settings, Timeouts},
    oci::{Descriptor, Digest, Manifest, Reference, media_type},
    registry::{By, Credentials, Error, RawManifest, Registries, Remote},
    store::{self, Sink as _, Source as _},
};
use bytes::Bytes;

use crate::support::{
    faulty::{Faulty, Quirks, Reply, Seen},
    memory::{self, Memory},
    pull,
};

/// Waits as short as a test can bear; everything else as in production.
pub fn settings() -> Settings {
    Settings {
        timeouts: Timeouts {
            idle: Duration::from_millis(250),
            commit: Duration::from_millis(1500),
            slow_window: Duration::from_millis(400),
            ..Timeouts::default()
        },
        retry: Policy {
            first: Duration::from_millis(4),
            longest: Duration::from_millis(40),
            longest_asked: Duration::from_millis(1500),
            ..Policy::default()
        },
        ..Settings::default()
    }
}

pub fn registries(settings: Settings, credentials: Credentials) -> Registries {
    Registries::new(settings, credentials, Arc::new(Silent)).unwrap()
}

pub fn remote(registries: &Registries, host: &str, repository: &str, side: Side) -> Remote {
    let reference: Reference = format!("{host}/{repository}").parse().unwrap();
    registries.repository(&reference.host, &reference.repository, side)
}

mod reading;
mod storm;
mod writing;

const REPOSITORY: &str = "team/app";
const LAYER: usize = 300_000;

/// A registry that holds an image, tagged `1`.
async fn filled(quirks: Quirks) -> (Faulty, Memory, RawManifest) {
    let faulty = Faulty::start(quirks).await;
    let mut memory = Memory::default();
    let raw = memory::image(&mut memory, 7, &[LAYER, 70_000]);
    faulty.hold(REPOSITORY, memory.blobs.values().cloned());
    faulty.hold_manifest(REPOSITORY, &["1"], media_type::MANIFEST, &raw.bytes);
    (faulty, memory, raw)
}

fn source(faulty: &Faulty) -> Remote {
    remote(&registries(settings(), Credentials::none()), &faulty.host(), REPOSITORY, Side::Source)
}

fn target(faulty: &Faulty) -> Remote {
    remote(&registries(settings(), Credentials::none()), &faulty.host(), REPOSITORY, Side::Target)
}

async fn pull_image(remote: &Remote, memory: &Memory, raw: &RawManifest) {
    let got = remote.manifest(&By::Tag("1".parse().unwrap())).await.unwrap();
    assert_eq!(&got, raw);
    for child in Manifest::parse(None, &got.bytes).unwrap().children() {
        assert!(pull::blob(remote, &child).await.unwrap() == memory.bytes(&child.digest), "{}", child.digest);
    }
}

async fn push_image(remote: &Remote, memory: &Memory, raw: &RawManifest) -> Result<(), store::Error> {
    for child in Manifest::parse(None, &raw.bytes).unwrap().children() {
        let moved = std::sync::atomic::AtomicU64::new(0);
        remote
            .put(&child, memory, &|bytes| {
                moved.fetch_add(bytes, std::sync::atomic::Ordering::SeqCst);
            })
            .await?;
        assert_eq!(moved.into_inner(), child.size, "moved bytes add up to the size, whatever was sent twice");
    }
    remote.put(&raw.descriptor, memory, &|_| {}).await?;
    remote
        .put_manifest(raw, Some(&"1".parse().unwrap()))
        .await
        .map_err(|error| store::Error::place(Side::Target, error))
}

fn assert_holds(faulty: &Faulty, memory: &Memory, raw: &RawManifest) {
    for child in Manifest::parse(None, &raw.bytes).unwrap().children() {
        assert!(faulty.blob(&child.digest) == Some(memory.bytes(&child.digest)), "{}", child.digest);
    }
    let manifests = faulty.store.manifests.lock().unwrap();
    assert_eq!(manifests[&(REPOSITORY.to_owned(), "1".to_owned())].1, raw.bytes);
}

/// Pushes an image of layers of these sizes and checks that it arrived.
async fn pushed(faulty: &Faulty, layers: &[usize]) -> Remote {
    let mut memory = Memory { piece: 64 << 10, ..Memory::default() };
    let raw = memory::image(&mut memory, 11, layers);
    let remote = target(faulty);
    push_image(&remote, &memory, &raw).await.unwrap();
    assert_holds(faulty, &memory, &raw);
    remote
}

fn is_layer(seen: &Seen) -> bool {
    seen.is("GET", "/blobs/sha256:")
}

fn raw_layer(raw: &RawManifest) -> Descriptor {
    Manifest::parse(None, &raw.bytes).unwrap().layers[0].clone()
}

async fn collect(mut reader: store::Reader) -> Result<Bytes, store::Error> {
    let mut whole = Vec::new();
    while let Some(part) = futures_util::StreamExt::next(&mut reader).await {
        whole.extend_from_slice(&part?);
    }
    Ok(whole.into())
}
