//! The bundle file: written in parallel, resumed, reproducible, and never accepted with a bit out of place.

pub(crate) mod fixture;

use std::{
    fs,
    sync::{Arc, atomic::Ordering},
};

use airgap_bundler::{
    archive::{
        Draft, Error, Fault as Broken, Inventory, Plan, PlannedAttachment, PlannedFile, PlannedImage, Role, Unverified,
        Writer,
    },
    error::{Classify, Kind},
    event::{Observer, Phase, Silent},
    files::Positional,
    oci::{Descriptor, Digest, annotation},
    store::{self, Memory, Policy, Sink, Slots, Source, copy, walk},
};
use futures_util::StreamExt;
use serde_json::json;

use fixture::{Far, Fault, Faulty, Fixture, create, image, noise, open, write};

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
        write(&source, &path, fixture.layout().await, &Slots::new(16).whatever_the_load()).await.unwrap();
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
    let slots = Slots::new(16).whatever_the_load();
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

#[tokio::test]
async fn a_disk_without_room_is_noticed_before_the_first_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.tar");
    let fixture = Fixture::small();
    let graph = fixture.graph(&[]).await;
    let layout = fixture.huge(&graph).seal(Vec::new()).unwrap();
    let (total, slots) = (layout.total(), Slots::new(1));
    let Err(error) = Writer::open(&path, layout, &slots, silent()) else { panic!() };
    assert_eq!(error.kind(), Kind::Unavailable);
    let Error::Files(airgap_bundler::files::Error::NoRoom { needed: Some(needed), .. }) = error else {
        panic!("{error}")
    };
    assert!(needed > 0 && needed < total);
    assert!(error.to_string().contains(&format!("free {needed} bytes and run the same command again")), "{error}");
}

/// The bytes of format 1. When this test fails, archives that exist cannot be continued or compared any more: a change
/// of the format needs a feature flag (`docs/format.md`, "Features"), not a new number here.
#[tokio::test]
async fn the_format_stays_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = create(&Fixture::small(), folder.path()).await;
    let bytes = fs::read(path).unwrap();
    assert_eq!(
        (bytes.len(), Digest::sha256(&bytes).to_string().as_str()),
        (20480, "sha256:19009a21a63e045bab2b171ac09097558f11813b7937a4e94d6163b4e9abfbc1")
    );
    let with_chart = fixture::create_with_chart(&Fixture::small(), folder.path()).await;
    let bytes = fs::read(with_chart).unwrap();
    assert_eq!(
        (bytes.len(), Digest::sha256(&bytes).to_string().as_str()),
        (30208, "sha256:453f32fdbeb3bde3a27ba15f7d2c12722b73bb27f928883fd86255f28dbf7274")
    );
}

#[tokio::test]
async fn an_archive_with_charts_is_continued() {
    let fixture = Fixture::small();
    let clean = tempfile::tempdir().unwrap();
    let clean = fs::read(fixture::create_with_chart(&fixture, clean.path()).await).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (path, slots) = (folder.path().join("x.tar"), Slots::new(1));
    let writer = Writer::open(&path, fixture.layout_with_chart().await, &slots, silent()).unwrap();
    let leaves = writer.layout().leaves();
    let chart = writer.layout().inventory().charts[0].archive;
    assert!(leaves.iter().all(|leaf| leaf.digest != chart), "it is at hand");
    copy(&fixture.memory, &writer, &leaves[..2], &slots, &Silent, Phase::Pull).await.unwrap();
    drop(writer);
    let writer = Writer::open(&path, fixture.layout_with_chart().await, &slots, silent()).unwrap();
    let copied = copy(&fixture.memory, &writer, &leaves, &slots, &Silent, Phase::Pull).await.unwrap();
    assert_eq!((copied.kept, copied.moved), (2, leaves.len() as u64 - 2));
    writer.finish().await.unwrap();
    assert!(fs::read(&path).unwrap() == clean);
}

#[tokio::test]
async fn charts_go_in_and_come_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = fixture::create_with_chart(&Fixture::small(), folder.path()).await;
    let archive = open(&path).unwrap();
    archive.verify_all(2, &silent()).await.unwrap();
    let inventory = archive.inventory();
    let chart = &inventory.charts[0];
    assert_eq!((chart.name.as_str(), chart.app_version.as_deref(), chart.vendored.len()), ("shop", Some("2"), 1));
    let archived = archive.read(&chart.archive, 10_000).unwrap();
    assert_eq!(archived.len() as u64, chart.archive_size);
    let roles = |role| inventory.entries.iter().filter(|entry| entry.charts == [0] && entry.role == role).count();
    let counts = [Role::Manifest, Role::Config, Role::Chart, Role::Layer, Role::Attachment].map(roles);
    assert_eq!(counts, [1, 1, 1, 1, 2]);
    let index: serde_json::Value = serde_json::from_slice(&archive.control().index).unwrap();
    let names: Vec<_> = index["manifests"].as_array().unwrap().iter().map(|entry| &entry["annotations"]).collect();
    let names: Vec<_> = names.iter().map(|all| all[annotation::REF_NAME].as_str()).collect();
    assert_eq!(names[3..], [Some("charts/shop:1.0.0_b"), None, Some("charts/shop:sha256-x.att")]);
    let signed = inventory.signed_images();
    assert_eq!(signed.len(), 3);
    let identities: Vec<String> = signed[2].identities.iter().map(ToString::to_string).collect();
    assert_eq!((identities, &signed[2].digests), (vec!["charts.invalid/shop:1.0.0_b".to_owned()], &vec![chart.digest]));
}

#[tokio::test]
async fn names_and_attachments_reach_the_index() {
    let fixture = Fixture::small();
    let graph = fixture.graph(&[]).await;
    let memory = &fixture.memory;
    let signature = image(memory, &[], "signature");
    let referrer = image(memory, &[noise(7, 20)], "referrer");
    let attached = walk(memory, &[signature.clone(), referrer.clone()], &Policy::default()).await.unwrap();
    let (web, tool) = (fixture.web.digest, fixture.tool.digest);
    let attachment = |root: &Descriptor, tag: Option<&str>| PlannedAttachment {
        subject: web,
        root: root.digest,
        graph: &attached,
        tag: tag.map(|tag| tag.parse().unwrap()),
    };
    let planned = |references: Vec<String>, root, attachments| PlannedImage {
        references: references.iter().map(|text| text.parse().unwrap()).collect(),
        root,
        graph: &graph,
        platform: None,
        derived_from: None,
        verified: Vec::new(),
        attachments,
        because: json!([]),
    };
    let draft = |images| Draft::new(Plan { name: "n".into(), version: "1".into(), images, ..Plan::default() });
    let tag = format!("sha256-{}.sig", web.hex());
    let both = vec![attachment(&referrer, None), attachment(&signature, Some(&tag))];
    let sealed = draft(vec![
        planned(vec![format!("nginx:1@{web}"), format!("quay.io/web@{web}")], web, both),
        planned(vec![format!("tool:1@{tool}"), "nginx:2".into()], tool, Vec::new()),
    ])
    .unwrap();
    let roles: Vec<Role> = sealed.inventory().entries.iter().map(|entry| entry.role).collect();
    assert_eq!(roles.iter().filter(|role| **role == Role::Attachment).count(), 5);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.tar");
    write(memory, &path, sealed.seal(Vec::new()).unwrap(), &Slots::new(2)).await.unwrap();
    let unverified = Unverified::open(&path).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&unverified.control().index).unwrap();
    let names: Vec<Option<&str>> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry.get("annotations").map(|all| all[annotation::REF_NAME].as_str().unwrap()))
        .collect();
    let expected = [
        Some("docker.io/library/nginx:1".to_owned()),
        Some(format!("docker.io/library/nginx:1@{web}")),
        Some(format!("quay.io/web@{web}")),
        Some("docker.io/library/nginx:2".to_owned()),
        Some("docker.io/library/tool:1".to_owned()),
        Some(format!("docker.io/library/tool:1@{tool}")),
        None,
        Some(format!("docker.io/library/nginx:{tag}")),
        Some(format!("quay.io/web:{tag}")),
    ];
    assert_eq!(names, expected.iter().map(Option::as_deref).collect::<Vec<_>>());
    let (archive, ()) = unverified.admit(|_| Ok::<_, Error>(())).unwrap();
    archive.verify_all(2, &silent()).await.unwrap();

    // Names are unique, and every image has one.
    let twice = draft(vec![planned(vec!["a:1".into()], web, vec![]), planned(vec!["a:1".into()], tool, vec![])]);
    assert!(matches!(twice, Err(Error::DuplicateName { .. })));
    let other = draft(vec![planned(vec![format!("a:1@{tool}")], web, vec![])]);
    assert!(matches!(other, Err(Error::DuplicateName { .. })));
    assert!(matches!(draft(vec![planned(vec![], web, vec![])]), Err(Error::Nameless(_))));
    let image = |name: &str| planned(vec![name.to_owned()], web, vec![]);
    assert!(matches!(draft(vec![image("a:1"), image("a:2")]), Err(Error::DuplicateImage(_))));
    let unknown = planned(vec!["a:1".into()], Digest::sha256(b"unknown"), vec![]);
    assert!(matches!(draft(vec![unknown]), Err(Error::NotWalked(_))));
    let fraction = PlannedImage { because: json!(0.5), ..image("a:1") };
    assert!(matches!(draft(vec![fraction]), Err(Error::Inventory(_))));
    let path = Draft::new(Plan { name: "../x".into(), version: "1".into(), ..Plan::default() });
    assert!(matches!(path, Err(Error::Name { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sha512_blobs_and_empty_bundles_work_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.tar");
    let content = noise(3, 700);
    let mut hasher = airgap_bundler::oci::Algorithm::Sha512.hasher();
    hasher.update(&content);
    let digest = hasher.finish();
    let files = vec![PlannedFile {
        path: "data/x.bin".parse().unwrap(),
        digest,
        size: 700,
        role: Role::File,
        content: None,
        because: json!([]),
    }];
    let memory = Memory::new();
    memory.set(digest, content.clone());
    let plan = |files| Plan { name: "n".into(), version: "1".into(), files, ..Plan::default() };
    let layout = Draft::new(plan(files)).unwrap().seal(Vec::new()).unwrap();
    write(&memory, &path, layout, &Slots::new(1)).await.unwrap();
    let (archive, ()) = Unverified::open(&path).unwrap().admit(|_| Ok::<_, Error>(())).unwrap();
    archive.verify_all(1, &silent()).await.unwrap();
    assert_eq!(archive.read(&digest, 1000).unwrap(), content);
    let tar = airgap_bundler::files::TarIndex::read(Arc::new(Positional::open(&path).unwrap())).unwrap();
    assert_eq!(tar.read_file(&format!("blobs/sha512/{}", digest.hex()), 1000).unwrap().unwrap(), content);

    let layout = Draft::new(plan(Vec::new())).unwrap().seal(Vec::new()).unwrap();
    write(&memory, &path, layout, &Slots::new(1)).await.unwrap();
    let (archive, ()) = Unverified::open(&path).unwrap().admit(|_| Ok::<_, Error>(())).unwrap();
    assert_eq!(archive.verify_all(1, &silent()).await.unwrap().blobs, 0);
}
