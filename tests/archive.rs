//! The bundle file: written in parallel, resumed, reproducible, and never accepted with a bit out of place.

mod fixture;

use std::{
    fs,
    sync::{Arc, atomic::Ordering},
};

use airgap_bundler::{
    archive::{Error, Fault as Broken, Inventory, Role, Unverified, Writer},
    error::{Classify, Kind},
    event::{Observer, Phase, Silent},
    files::Positional,
    oci::{Descriptor, annotation},
    store::{self, Sink, Slots, Source, copy},
};
use futures_util::StreamExt;

use fixture::{Far, Fault, Faulty, Fixture, create, open, write};

fn silent() -> Arc<dyn Observer> {
    Arc::new(Silent)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_in_comes_out() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::new(3_000_000);
    let path = create(&fixture, folder.path()).await;
    let archive = open(&path).unwrap();
    archive.verify_all(2, &silent()).await.unwrap();
    let inventory = archive.inventory();
    assert_eq!(inventory.images.len(), 2);
    assert_eq!(inventory.images[1].references[0].to_string(), "docker.io/library/nginx:1.27");
    assert_eq!(inventory.images[1].platforms.len(), 2);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing but the archive is left");

    let source = archive.source();
    for entry in inventory.entries.iter().filter(|entry| entry.role == Role::Layer) {
        let descriptor = Descriptor::new("x", entry.digest, entry.size);
        let expected = fixture.memory.get(&entry.digest).unwrap();
        let mut bytes = Vec::new();
        let mut reader = source.open(&descriptor, 0, entry.size).await.unwrap();
        while let Some(chunk) = reader.next().await {
            bytes.extend_from_slice(&chunk.unwrap());
        }
        assert!(bytes == expected);
        let (from, to) = (entry.size / 3, entry.size / 2);
        let part: Vec<_> = source.open(&descriptor, from, to).await.unwrap().collect().await;
        let part: Vec<u8> = part.into_iter().flat_map(|chunk| chunk.unwrap()).collect();
        assert!(part == expected[from as usize..to as usize]);
    }
    // What is shared is there once, and says who needs it.
    let shared = inventory.entries.iter().filter(|entry| entry.size == 3_000_000).collect::<Vec<_>>();
    assert_eq!((shared.len(), &shared[0].images), (1, &vec![0, 1]));
    let lock = archive.read(&inventory.lock.unwrap(), 1000).unwrap();
    assert!(lock.starts_with(b"version: 1"));
    assert!(archive.read(&inventory.lock.unwrap(), 5).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_bytes_at_any_concurrency() {
    let fixture = Fixture::new(2_500_000);
    let mut first: Option<Vec<u8>> = None;
    for concurrency in [1, 2, 16] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.tar");
        write(&fixture.memory, &path, fixture.layout().await, &Slots::new(concurrency)).await.unwrap();
        let bytes = fs::read(&path).unwrap();
        match &first {
            None => first = Some(bytes),
            Some(first) => assert!(*first == bytes, "concurrency {concurrency}"),
        }
    }
}

#[tokio::test]
async fn stock_readers_see_an_image_layout() {
    let folder = tempfile::tempdir().unwrap();
    let path = create(&Fixture::new(2000), folder.path()).await;
    let unpacked = airgap_bundler::files::read_tarball(
        &path,
        fs::File::open(&path).unwrap(),
        &airgap_bundler::files::Limits::default(),
    )
    .unwrap();
    let index: serde_json::Value = serde_json::from_slice(unpacked.tree.get("index.json").unwrap()).unwrap();
    let names: Vec<&str> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            assert_eq!(entry["annotations"][annotation::REF_NAME], entry["annotations"][annotation::CONTAINERD_NAME]);
            entry["annotations"][annotation::REF_NAME].as_str().unwrap()
        })
        .collect();
    assert_eq!(names, ["docker.io/demo/tool:latest", "quay.io/demo/tool:v1", "docker.io/library/nginx:1.27"]);
    let inventory = Inventory::parse(&path, unpacked.tree.get("bundle.json").unwrap()).unwrap();
    for entry in &inventory.entries {
        let bytes = unpacked.tree.get(entry.path.as_str()).unwrap();
        assert_eq!(entry.digest, entry.digest.same_algorithm(bytes), "{}", entry.path);
    }
    // Everything but the inventory itself and the signature.
    assert_eq!(unpacked.tree.len(), inventory.entries.len() + 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_streams_go_on_where_they_broke() {
    let fixture = Fixture::new(400_000);
    let clean = tempfile::tempdir().unwrap();
    let clean = fs::read(create(&fixture, clean.path()).await).unwrap();
    for (fault, every) in
        [(Fault::Reset, 100_000), (Fault::Reset, 0), (Fault::Cut, 70_000), (Fault::Refuse, 100_000), (Fault::Cut, 0)]
    {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.tar");
        // Fewer failures without progress than what ends a transfer.
        let times = if every == 0 { 2 } else { 6 };
        let source = Faulty::new(&fixture.memory, every, fault, times);
        write(&source, &path, fixture.layout().await, &Slots::new(2)).await.unwrap();
        assert!(fs::read(&path).unwrap() == clean, "{fault:?} every {every}");
        let leaves: u64 = fixture.layout().await.leaves().iter().map(|leaf| leaf.size).sum();
        assert_eq!(source.served.load(Ordering::Relaxed), leaves, "no byte twice");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_bytes_are_fetched_once_more_and_then_refused() {
    let fixture = Fixture::new(300_000);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.tar");
    let source = Faulty::new(&fixture.memory, u64::MAX, Fault::Reset, 0);
    source.corrupt.store(1, Ordering::Relaxed);
    write(&source, &path, fixture.layout().await, &Slots::new(1)).await.unwrap();
    open(&path).unwrap().verify_all(1, &silent()).await.unwrap();

    let path = folder.path().join("y.tar");
    source.corrupt.store(u64::MAX, Ordering::Relaxed);
    let error = write(&source, &path, fixture.layout().await, &Slots::new(1)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(matches!(error, Error::Store(store::Error::Corrupt { .. })), "{error}");
    assert!(!path.exists());
    // What was wrong is not taken for good by the next run.
    source.corrupt.store(0, Ordering::Relaxed);
    write(&source, &path, fixture.layout().await, &Slots::new(1)).await.unwrap();
    open(&path).unwrap().verify_all(1, &silent()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_create_goes_on() {
    let fixture = Fixture::new(12 << 20);
    let clean = tempfile::tempdir().unwrap();
    let clean = fs::read(create(&fixture, clean.path()).await).unwrap();
    let total: u64 = fixture.layout().await.leaves().iter().map(|leaf| leaf.size).sum();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.tar");
    let slots = Slots::new(2);
    let mut served = 0;
    for round in 0..6u64 {
        let source = Faulty::new(&fixture.memory, u64::MAX, Fault::Reset, 0);
        let layout = fixture.layout().await;
        let writer = Writer::open(&path, layout, &slots, silent()).unwrap();
        let leaves = writer.layout().leaves();
        let counter = source.served.clone();
        let running = copy(&source, &writer, &leaves, &slots, &Silent, Phase::Pull);
        // Dropped in the middle, as by a signal: nothing gets the chance to tidy up.
        let stop = async {
            while counter.load(Ordering::Relaxed) < 3_000_000 * (round + 1) {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            done = running => { done.unwrap(); }
            () = stop => {}
        }
        served += source.served.load(Ordering::Relaxed);
        assert!(!path.exists());
        drop(writer);
        // A write that was under way on another thread still holds the file for a moment.
        while Positional::open_exclusive(&folder.path().join("x.tar.partial")).is_err() {
            tokio::task::yield_now().await;
        }
    }
    let source = Faulty::new(&fixture.memory, u64::MAX, Fault::Reset, 0);
    write(&source, &path, fixture.layout().await, &slots).await.unwrap();
    served += source.served.load(Ordering::Relaxed);
    assert!(fs::read(&path).unwrap() == clean);
    assert!(served < total * 3, "{served} bytes were fetched for {total}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn far_away_a_large_blob_comes_over_many_connections() {
    let fixture = Fixture::new(90 << 20);
    let clean = tempfile::tempdir().unwrap();
    let clean = fs::read(create(&fixture, clean.path()).await).unwrap();
    let leaves: u64 = fixture.layout().await.leaves().iter().map(|leaf| leaf.size).sum();
    for breaks in [0, 2] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.tar");
        let source = Far::new(&fixture.memory, breaks);
        let started = std::time::Instant::now();
        write(&source, &path, fixture.layout().await, &Slots::new(16)).await.unwrap();
        let (opened, served) = (source.opened.load(Ordering::Relaxed), source.served.load(Ordering::Relaxed));
        assert!(opened >= 10, "{opened} streams");
        // What a stream had under way when its tail was taken is all that comes twice.
        assert!(served < leaves + opened * (512 << 10), "{served} for {leaves}");
        assert!(fs::read(&path).unwrap() == clean);
        println!("{opened} streams, {:?}", started.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_many_connections_brought_is_not_fetched_again() {
    let fixture = Fixture::new(90 << 20);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.tar");
    let slots = Slots::new(16);
    let source = Far::new(&fixture.memory, 0);
    let layout = fixture.layout().await;
    let total: u64 = layout.leaves().iter().map(|leaf| leaf.size).sum();
    let writer = Writer::open(&path, layout, &slots, silent()).unwrap();
    let leaves = writer.layout().leaves();
    {
        let running = copy(&source, &writer, &leaves, &slots, &Silent, Phase::Pull);
        let stop = async {
            while source.served.load(Ordering::Relaxed) < total / 2 {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            done = running => { done.unwrap(); }
            () = stop => {}
        }
    }
    drop(writer);
    while Positional::open_exclusive(&folder.path().join("x.tar.partial")).is_err() {
        tokio::task::yield_now().await;
    }
    write(&source, &path, fixture.layout().await, &slots).await.unwrap();
    let served = source.served.load(Ordering::Relaxed);
    // Sixteen connections lose at most what lies between two marks, and the buffers that were being filled.
    assert!(served < total + 16 * (6 << 20), "{served} for {total}");
    open(&path).unwrap().verify_all(2, &silent()).await.unwrap();
}

#[tokio::test]
async fn finished_blobs_are_hashed_again_before_they_are_believed() {
    let fixture = Fixture::new(5 << 20);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.tar");
    let slots = Slots::new(2);
    let writer = Writer::open(&path, fixture.layout().await, &slots, silent()).unwrap();
    let leaves = writer.layout().leaves();
    copy(&fixture.memory, &writer, &leaves, &slots, &Silent, Phase::Pull).await.unwrap();
    let victim = writer.layout().blobs().iter().find(|blob| blob.size == 5 << 20).unwrap().clone();
    drop(writer);
    // A power cut: bytes that were marked never reached the disk.
    let partial = folder.path().join("x.tar.partial");
    let mut bytes = fs::read(&partial).unwrap();
    bytes[victim.offset as usize + 4_500_000..][..1000].fill(0);
    fs::write(&partial, bytes).unwrap();

    let writer = Writer::open(&path, fixture.layout().await, &slots, silent()).unwrap();
    let leaf = Descriptor::new("x", victim.digest, victim.size);
    assert!(!writer.has(&leaf).await.unwrap());
    let source = Faulty::new(&fixture.memory, u64::MAX, Fault::Reset, 0);
    let copied = copy(&source, &writer, &leaves, &slots, &Silent, Phase::Pull).await.unwrap();
    assert_eq!((copied.moved, copied.kept), (1, leaves.len() as u64 - 1));
    writer.finish().await.unwrap();
    open(&path).unwrap().verify_all(2, &silent()).await.unwrap();
}

#[tokio::test]
async fn a_journal_of_another_layout_is_worth_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.tar");
    let slots = Slots::new(2);
    for size in [100_000, 100_001] {
        let fixture = Fixture::new(size);
        let writer = Writer::open(&path, fixture.layout().await, &slots, silent()).unwrap();
        let leaves = writer.layout().leaves();
        for leaf in &leaves {
            assert!(!writer.has(leaf).await.unwrap());
        }
        copy(&fixture.memory, &writer, &leaves, &slots, &Silent, Phase::Pull).await.unwrap();
        if size == 100_001 {
            writer.finish().await.unwrap();
        }
    }
    open(&path).unwrap().verify_all(2, &silent()).await.unwrap();
}

#[tokio::test]
async fn two_creates_of_one_file_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.tar");
    let fixture = Fixture::new(1000);
    let slots = Slots::new(1);
    let first = Writer::open(&path, fixture.layout().await, &slots, silent()).unwrap();
    let Err(second) = Writer::open(&path, fixture.layout().await, &slots, silent()) else { panic!() };
    assert!(second.to_string().contains("in use by another process"), "{second}");
    let missing = first.finish().await.unwrap_err();
    assert_eq!(missing.kind(), Kind::Incomplete);
}

#[tokio::test]
async fn only_the_control_part_is_read_to_inspect() {
    let folder = tempfile::tempdir().unwrap();
    let path = create(&Fixture::new(100_000), folder.path()).await;
    let bytes = fs::read(&path).unwrap();
    let archive = open(&path).unwrap();
    let control = archive.layout().blobs()[0].offset as usize;
    drop(archive);
    // Without its blobs the file can be shown, but not admitted.
    let head = folder.path().join("head.tar");
    fs::write(&head, &bytes[..control - 512]).unwrap();
    assert_eq!(Unverified::open(&head).unwrap().peek().unwrap().name, "demo");
    assert!(matches!(open(&head), Err(Error::Malformed { fault: Broken::Length { .. }, .. })));
}
