//! No archive is accepted with a bit out of place: flips, cuts, additions, and everything that a tar can be turned into.

#![allow(clippy::unwrap_used)]

use std::{fs, os::unix::fs::FileExt, path::Path, sync::Arc};

use airgap_bundler::{
    archive::{Archive, Damage, Error, Inventory, Layout, Unverified},
    error::{Classify, Kind},
    event::{Observer, Silent},
    store::Slots,
};
use proptest::prelude::*;

use crate::archive::fixture::{Fixture, create, create_with_chart, open, signature, write};

/// Everything that an archive has to pass.
async fn accept(path: &Path) -> Result<(), Error> {
    let observer: Arc<dyn Observer> = Arc::new(Silent);
    open(path)?.verify_all(1, &observer).await.map(drop)
}

/// Cuts an archive into its entries: everything from one header to the next.
fn entries(archive: &Archive) -> Vec<Vec<u8>> {
    let bytes = fs::read(archive.path()).unwrap();
    let mut starts = vec![0];
    let mut at = 0;
    let control = archive.control();
    for content in [&control.layout, &control.index, &control.bundle]
        .into_iter()
        .chain(control.signatures.iter().map(|(_, bytes)| bytes))
    {
        at += 512 + content.len().next_multiple_of(512);
        starts.push(at);
    }
    for blob in archive.layout().blobs() {
        at = (blob.offset + blob.size).next_multiple_of(512) as usize;
        starts.push(at);
    }
    let mut parts: Vec<Vec<u8>> = starts.windows(2).map(|pair| bytes[pair[0]..pair[1]].to_vec()).collect();
    parts.push(bytes[at..].to_vec());
    parts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_single_bit_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = create_with_chart(&Fixture::small(), folder.path()).await;
    let bytes = fs::read(&path).unwrap();
    assert!(bytes.len() <= 48 << 10, "{} bytes", bytes.len());
    accept(&path).await.unwrap();
    let bytes = Arc::new(bytes);
    let workers: Vec<_> = (0..2)
        .map(|worker| {
            let (bytes, path) = (bytes.clone(), folder.path().join(format!("{worker}.tar")));
            tokio::spawn(async move {
                fs::write(&path, &*bytes).unwrap();
                let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
                for at in (worker..bytes.len()).step_by(2) {
                    for bit in 0..8 {
                        file.write_all_at(&[bytes[at] ^ 1 << bit], at as u64).unwrap();
                        let error = accept(&path).await.err();
                        let kind = error.as_ref().map(Classify::kind);
                        assert_eq!(kind, Some(Kind::Corrupt), "byte {at} bit {bit}: {error:?}");
                    }
                    file.write_all_at(&bytes[at..=at], at as u64).unwrap();
                }
                accept(&path).await.unwrap();
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
}

#[tokio::test]
async fn no_cut_and_no_addition_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let path = create(&Fixture::small(), folder.path()).await;
    let bytes = fs::read(&path).unwrap();
    let other = folder.path().join("x.tar");
    for length in (0..bytes.len()).filter(|length| length % 512 == 0 || *length < 4096 || length % 97 == 0) {
        fs::write(&other, &bytes[..length]).unwrap();
        assert_eq!(accept(&other).await.unwrap_err().kind(), Kind::Corrupt, "{length} bytes");
    }
    for addition in [vec![0], vec![0; 512], vec![0; 10_240], b"x".to_vec(), bytes.clone()] {
        fs::write(&other, [&bytes[..], &addition[..]].concat()).unwrap();
        assert!(matches!(accept(&other).await, Err(Error::Malformed { .. })), "{} bytes more", addition.len());
    }
}

#[tokio::test]
async fn no_other_arrangement_of_the_same_entries_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let path = create(&Fixture::small(), folder.path()).await;
    let archive = open(&path).unwrap();
    let parts = entries(&archive);
    assert_eq!(parts.concat(), fs::read(&path).unwrap());
    let last = parts.len() - 1;
    let other = folder.path().join("x.tar");
    let check = async |parts: &[Vec<u8>], what: String| {
        fs::write(&other, parts.concat()).unwrap();
        let error = accept(&other).await.expect_err(&what);
        assert_eq!(error.kind(), Kind::Corrupt, "{what}: {error}");
    };
    for a in 0..last {
        let mut dropped = parts.clone();
        dropped.remove(a);
        check(&dropped, format!("without entry {a}")).await;
        let mut twice = parts.clone();
        twice.insert(a, parts[a].clone());
        check(&twice, format!("entry {a} twice")).await;
        for b in a + 1..last {
            let mut swapped = parts.clone();
            swapped.swap(a, b);
            check(&swapped, format!("entries {a} and {b} swapped")).await;
            // The contents change places, the headers stay.
            if parts[a].len() == parts[b].len() {
                let mut crossed = parts.clone();
                crossed[a][512..].copy_from_slice(&parts[b][512..]);
                crossed[b][512..].copy_from_slice(&parts[a][512..]);
                if crossed != parts {
                    check(&crossed, format!("contents {a} and {b} swapped")).await;
                }
            }
        }
    }
    for (what, kind) in [
        ("link", b'1'),
        ("symlink", b'2'),
        ("device", b'3'),
        ("folder", b'5'),
        ("fifo", b'6'),
        ("old", 0),
        ("pax", b'x'),
        ("global", b'g'),
        ("sparse", b'S'),
    ] {
        for at in 0..last {
            let mut changed = parts.clone();
            changed[at][156] = kind;
            checksum(&mut changed[at]);
            check(&changed, format!("entry {at} as {what}")).await;
        }
    }
    // Headers that mean the same and are spelled otherwise.
    for (what, range, text) in [
        ("mode", 100..108, &b"0000600\0"[..]),
        ("owner", 108..116, b"0000001\0"),
        ("size without zeros", 124..136, b"         36 "),
        ("time", 136..148, b"00000000001\0"),
        ("user name", 265..269, b"root"),
        ("prefix", 345..346, b"x"),
        ("magic", 257..265, b"ustar  \0"),
    ] {
        for at in 0..last {
            let mut changed = parts.clone();
            changed[at][range.clone()].copy_from_slice(text);
            checksum(&mut changed[at]);
            check(&changed, format!("entry {at} with another {what}")).await;
        }
    }
    // An extension header, and an entry that nobody listed.
    let mut extra = parts[last - 1].clone();
    extra[..5].copy_from_slice(b"extra");
    checksum(&mut extra);
    for at in 0..=last {
        let mut more = parts.clone();
        more.insert(at, extra.clone());
        check(&more, format!("an unlisted entry at {at}")).await;
    }
}

fn checksum(entry: &mut [u8]) {
    entry[148..156].fill(b' ');
    let sum: u32 = entry[..512].iter().map(|byte| u32::from(*byte)).sum();
    entry[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

#[tokio::test]
async fn parts_of_two_archives_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::small();
    let graph = fixture.graph(&[]).await;
    let mut archives = Vec::new();
    for created in [1, 2] {
        let draft = fixture.draft(&graph, created);
        let signed = signature(draft.bundle_json());
        let layout = draft.seal(vec![("bundle.json.sigstore.json".into(), signed)]).unwrap();
        let path = folder.path().join(format!("{created}.tar"));
        write(&fixture.memory, &path, layout, &Slots::new(1)).await.unwrap();
        archives.push(entries(&open(&path).unwrap()));
    }
    let other = folder.path().join("x.tar");
    for at in 0..archives[0].len() - 1 {
        let mut mixed = archives[0].clone();
        mixed[at] = archives[1][at].clone();
        fs::write(&other, mixed.concat()).unwrap();
        assert_eq!(accept(&other).await.unwrap_err().kind(), Kind::Corrupt, "entry {at}");
    }
    // Without a signature, or with that of the other one, the check decides, and it says no.
    let mut stripped = archives[0].clone();
    stripped.remove(3);
    fs::write(&other, stripped.concat()).unwrap();
    assert!(Unverified::open(&other).unwrap().control().signatures.is_empty());
    assert!(accept(&other).await.is_err());
}

#[tokio::test]
async fn all_damage_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = create(&Fixture::new(50_000), folder.path()).await;
    let archive = open(&path).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let victims: Vec<_> = archive.layout().blobs().iter().filter(|blob| blob.size > 600).cloned().collect();
    for victim in &victims {
        file.write_all_at(b"damaged!", victim.offset + 100).unwrap();
    }
    let Err(Error::Damaged { damage, .. }) = accept(&path).await.map(drop) else { panic!() };
    let named: Vec<&str> = damage.iter().map(|one: &Damage| one.entry.as_str()).collect();
    assert_eq!(named, victims.iter().map(|victim| victim.path.as_str()).collect::<Vec<_>>());
    assert!(damage.iter().any(|one| one.images.len() == 2 && one.to_string().contains("needed by docker.io/")));
}

/// Writes an archive with another inventory, as someone with the key could.
fn forge(archive: &Archive, bundle: &[u8]) -> Vec<u8> {
    let mut parts = entries(archive);
    for (at, content) in [(2, bundle), (3, &signature(bundle)[..])] {
        let mut entry = parts[at][..512].to_vec();
        entry[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
        checksum(&mut entry);
        entry.extend_from_slice(content);
        entry.resize(entry.len().next_multiple_of(512), 0);
        parts[at] = entry;
    }
    parts.concat()
}

#[tokio::test]
async fn even_signed_inventories_must_make_sense() {
    let folder = tempfile::tempdir().unwrap();
    let path = create(&Fixture::small(), folder.path()).await;
    let archive = open(&path).unwrap();
    let text = String::from_utf8(archive.control().bundle.to_vec()).unwrap();
    let other = folder.path().join("x.tar");
    fs::write(&other, forge(&archive, text.as_bytes())).unwrap();
    accept(&other).await.unwrap();
    let first = archive.layout().blobs()[0].clone();
    let size = format!("\"size\":{}", first.size);
    let cases = [
        ("use a newer version", text.replace("\"format\":1", "\"format\":2"), Kind::Usage),
        ("differential", text.replace("\"incompatible\":[]", "\"incompatible\":[\"differential\"]"), Kind::Usage),
        ("occurs twice", text.replacen('{', "{\"format\":1,", 1), Kind::Corrupt),
        ("not valid", text.replace("\"sequence\":7", "\"sequence\":7.0"), Kind::Corrupt),
        ("not valid", text.replace("\"sequence\":7", "\"sequence\":-7"), Kind::Corrupt),
        ("not valid", text.replace("1970-01-01T00:00:00Z", "1970-01-01T00:00:00+00:00"), Kind::Corrupt),
        ("tar header", text.replace("1970-01-01T00:00:00Z", "1970-01-01T00:00:01Z"), Kind::Corrupt),
        ("any disk", text.replacen(&size, "\"size\":9223372036854775807", 1), Kind::Corrupt),
        ("leaves its root", text.replace("blobs/sha256/", "blobs/sha256/../sha256/"), Kind::Corrupt),
        ("not valid", text.replace("\"path\":\"oci-layout\"", "\"path\":\"../oci-layout\""), Kind::Corrupt),
        ("contradicts itself", text.replace("\"role\":\"layout\"", "\"role\":\"file\""), Kind::Corrupt),
        ("contradicts itself", text.replace("\"images\":[0]", "\"images\":[9]"), Kind::Corrupt),
        ("contradicts itself", text.replace("\"images\":[0,1]", "\"images\":[1,0]"), Kind::Corrupt),
        ("contradicts itself", text.replace("\"name\":\"demo\"", "\"name\":\"../demo\""), Kind::Corrupt),
        ("what follows from bundle.json", text.replace("nginx:1.27", "nginx:1.28"), Kind::Corrupt),
        ("not valid", text.replace("sha256:", "md5:"), Kind::Corrupt),
        (
            "nested",
            text.replace("\"because\":null", &format!("\"because\":{}{}", "[".repeat(40), "]".repeat(40))),
            Kind::Corrupt,
        ),
        ("not valid", String::new(), Kind::Corrupt),
    ];
    for (reason, bundle, kind) in cases {
        assert_ne!(bundle, text, "{reason}");
        fs::write(&other, forge(&archive, bundle.as_bytes())).unwrap();
        let error = accept(&other).await.expect_err(reason);
        assert!(error.to_string().contains(reason), "{error} lacks {reason:?}");
        assert_eq!(error.kind(), kind, "{error}");
    }
}

#[tokio::test]
async fn even_signed_charts_must_make_sense() {
    let folder = tempfile::tempdir().unwrap();
    let path = create_with_chart(&Fixture::small(), folder.path()).await;
    let archive = open(&path).unwrap();
    let text = String::from_utf8(archive.control().bundle.to_vec()).unwrap();
    let chart = &archive.inventory().charts[0];
    let other = folder.path().join("x.tar");
    let alone = text.find("\"charts\":[{").unwrap() + "\"charts\":[".len();
    let end = text[alone..].find("}],\"files\"").unwrap() + alone + 1;
    let whole = &text[alone..end];
    let twice = |second: &str| format!("{}{whole},{second}{}", &text[..alone], &text[end..]);
    let named = |name: &str| text.replace("\"name\":\"shop\"", &format!("\"name\":{name:?}"));
    let (archive_size, digest) = (format!("\"archiveSize\":{}", chart.archive_size), chart.digest.to_string());
    let nowhere = format!("sha256:{}", "0".repeat(64));
    let cases = [
        ("no place in a registry", named("Shop")),
        ("no place in a registry", named("a/shop")),
        ("no place in a registry", named("..")),
        ("no place in a registry", named("shop:1")),
        ("no place in a registry", text.replace("\"version\":\"1.0.0+b\"", "\"version\":\"1 0\"")),
        ("not valid", named("shop").replace("\"source\":\"./charts/shop\",", "")),
        ("there is no entry", text.replace(&archive_size, &format!("\"archiveSize\":{}", chart.archive_size + 1))),
        ("there is no entry", text.replacen(&digest, &nowhere, 1)),
        ("out of order", twice(whole)),
        ("out of order", twice(&whole.replace("shop", "shoa"))),
        ("occurs twice", twice(&whole.replace("1.0.0+b", "1.0.0_b").replacen(&digest, &nowhere, 1))),
        ("occurs twice", twice(&whole.replace("\"name\":\"shop\"", "\"name\":\"shop2\""))),
        ("charts that are not there", text.replacen("\"charts\":[0]", "\"charts\":[1]", 1)),
        ("charts that are not there", text.replacen("\"charts\":[0]", "\"charts\":[0,0]", 1)),
        ("nothing needs", text.replacen(",\"charts\":[0]", "", 1)),
        ("what follows from bundle.json", text.replace("\"name\":\"shop\"", "\"name\":\"shap\"")),
        ("what follows from bundle.json", text.replace("\"version\":\"1.0.0+b\"", "\"version\":\"1.0.0+c\"")),
    ];
    for (reason, bundle) in cases {
        assert_ne!(bundle, text, "{reason}");
        fs::write(&other, forge(&archive, bundle.as_bytes())).unwrap();
        let error = accept(&other).await.expect_err(reason);
        assert!(error.to_string().contains(reason), "{error} lacks {reason:?}");
        assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    }
}

#[tokio::test]
async fn claimed_sizes_are_not_allocated() {
    let folder = tempfile::tempdir().unwrap();
    let path = create(&Fixture::small(), folder.path()).await;
    let archive = open(&path).unwrap();
    let parts = entries(&archive);
    let other = folder.path().join("x.tar");
    for at in 0..4 {
        for size in [&b"77777777777\0"[..], b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", b"00200000001\0"] {
            let mut changed = parts.clone();
            changed[at][124..136].copy_from_slice(size);
            checksum(&mut changed[at]);
            fs::write(&other, changed.concat()).unwrap();
            assert_eq!(accept(&other).await.unwrap_err().kind(), Kind::Corrupt);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn inventories_of_any_shape_never_panic(noise in proptest::collection::vec(any::<u8>(), 0..40), at in 0usize..3000, cut in any::<bool>()) {
        let mut bytes = GOOD.clone();
        let at = at.min(bytes.len() - 1);
        for (slot, byte) in bytes.iter_mut().skip(at).zip(&noise) { *slot = *byte; }
        if cut { bytes.truncate(at); }
        let _ = Inventory::parse(Path::new("x"), &bytes);
        let _ = Inventory::parse(Path::new("x"), &noise);
    }
}

static GOOD: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let layout: Layout = runtime.block_on(Fixture::small().layout_with_chart());
    layout.inventory().to_bytes().unwrap().to_vec()
});
