use proptest::prelude::*;

use super::*;
use crate::{
    discover::{Confidence, Step},
    oci::media_type,
};

fn reason(written: &str, line: u32) -> Finding {
    Finding {
        written: written.to_owned(),
        confidence: Confidence::Schema,
        provenance: vec![
            Step::entry("manifests[0]"),
            Step::File { file: "deploy/app.yaml".into(), line: Some(line) },
            Step::Object { object: "Deployment.apps".into(), namespace: Some("web".into()), name: "on".into() },
            Step::Field { field: "spec.template.spec.containers[0].image".into() },
        ],
    }
}

fn image(name: &str, content: &str) -> LockedImage {
    LockedImage {
        image: name.parse().unwrap(),
        digest: Digest::sha256(content.as_bytes()),
        media_type: media_type::INDEX.into(),
        size: 1234,
        from: None,
        archive: None,
        because: vec![reason(name, 7)],
    }
}

fn file(name: &str, content: &str) -> LockedFile {
    LockedFile {
        name: name.parse().unwrap(),
        digest: Digest::sha256(content.as_bytes()),
        size: content.len() as u64,
        max_age: None,
        source: format!("./{name}"),
        entry: "files[0]".into(),
    }
}

fn contents() -> Contents {
    Contents {
        name: "shop".into(),
        version: "1.10".into(),
        platforms: vec!["linux/arm64".parse().unwrap(), "linux/amd64".parse().unwrap()],
        images: vec![image("quay.io/acme/b:1", "b"), image("docker.io/library/a:1.0", "a")],
        manifests: vec![file("app.yaml", "m")],
        files: vec![file("z", "z"), file("a/b", "b")],
    }
}

fn lock(contents: Contents) -> Lock {
    Lock::new(contents).unwrap()
}

fn wrong(text: &str) -> Vec<String> {
    Lock::parse("bundle.lock", text).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn the_text_is_what_reviewers_read() {
    let mut contents = contents();
    contents.images.truncate(1);
    contents.images[0].from = Some("mirror.example/acme/b:1".parse().unwrap());
    contents.images[0].archive = Some("./dist/b.tar".into());
    contents.files.clear();
    let digest = Digest::sha256(b"b");
    let expected = format!(
        "\
# Written by `bundle resolve`. Review changes like code: a moved digest is other software.
# To move pins, run `bundle resolve --update [NAME…]`; do not edit by hand.
apiVersion: airgap-bundler/v1
kind: Lock
metadata:
  name: shop
  version: \"1.10\"
platforms:
- linux/amd64
- linux/arm64
images:
- image: quay.io/acme/b:1
  digest: {digest}
  mediaType: application/vnd.oci.image.index.v1+json
  size: 1234
  from: mirror.example/acme/b:1
  archive: ./dist/b.tar
  because:
  - written: quay.io/acme/b:1
    confidence: schema
    provenance:
    - entry: manifests[0]
    - file: deploy/app.yaml
      line: 7
    - object: Deployment.apps
      namespace: web
      name: \"on\"
    - field: spec.template.spec.containers[0].image
manifests:
- name: app.yaml
  digest: {}
  size: 1
  source: ./app.yaml
  entry: files[0]
",
        Digest::sha256(b"m")
    );
    let text = lock(contents).to_text().unwrap();
    assert_eq!(text, expected);
    assert_eq!(Lock::parse("l", &text).unwrap().to_text().unwrap(), text);
}

#[test]
fn a_lock_is_sorted_whatever_the_order_it_was_made_in() {
    let one = lock(contents());
    let mut other = contents();
    other.images.reverse();
    other.files.reverse();
    other.platforms.reverse();
    other.images.push(image("quay.io/acme/b:1", "b"));
    let other = lock(other);
    assert_eq!(one, other);
    assert_eq!(one.images()[0].image.to_string(), "docker.io/library/a:1.0");
    assert_eq!(one.image(&"a:1.0".parse().unwrap()).unwrap().size, 1234);
    assert!(one.image(&"a:2".parse().unwrap()).is_none());
    assert_eq!(one.files()[0].name.as_str(), "a/b");
    assert_eq!(one.images()[0].source().digest(), Digest::sha256(b"a"));
    assert_eq!(one.images()[0].exact().to_string(), format!("docker.io/library/a:1.0@{}", Digest::sha256(b"a")));
}

#[test]
fn contents_that_contradict_themselves_are_refused() {
    let with = |change: fn(&mut Contents)| {
        let mut contents = contents();
        change(&mut contents);
        Lock::new(contents).unwrap_err()
    };
    assert!(matches!(with(|c| c.images[0].because.clear()), LockError::NoReason(_)));
    assert!(matches!(with(|c| c.images.push(image("a:1.0", "other"))), LockError::ImageTwice { .. }));
    assert!(matches!(with(|c| c.files.push(file("z", "y"))), LockError::NameTwice { item: Item::File, .. }));
    let pinned = with(|c| c.images[0].image.digest = Some(Digest::sha256(b"other")));
    assert!(matches!(pinned, LockError::OtherDigest { .. }));
}

#[test]
fn every_wrong_entry_is_named_with_its_place() {
    let text = lock(contents()).to_text().unwrap();
    let digest = Digest::sha256(b"a").to_string();
    let broken = text
        .replacen("linux/arm64", "arm", 1)
        .replacen(&digest, "sha256:00", 1)
        .replacen("size: 1234\n  because:\n  - written: quay", "size: -1\n  because:\n  - written: quay", 1)
        .replacen("name: a/b", "name: ../b", 1)
        .replace("platforms:", "platform: []\nplatforms:");
    let found = wrong(&broken);
    assert_eq!(found.len(), 5, "{found:#?}");
    assert!(found[0].starts_with("bundle.lock:8:1: unknown key `platform` (did you mean `platforms`?)"), "{found:?}");
    assert!(found[1].starts_with("bundle.lock:11:3: `platforms[1]`: \"arm\" is no platform"), "{found:?}");
    assert!(found[2].starts_with("bundle.lock:13:3: `images[0]`: "), "{found:?}");
    assert!(found[3].contains("`images[1]`: ") && found[4].contains("`files[0]`: "), "{found:?}");

    let start = text.find("- image: docker.io").unwrap();
    let end = text.find("- image: quay.io").unwrap();
    let twice = format!(
        "{}{}{}",
        &text[..end],
        &text[start..end].replace(&digest, &Digest::sha256(b"x").to_string()),
        &text[end..]
    );
    assert!(wrong(&twice)[0].contains("pinned twice"), "{:?}", wrong(&twice));
    let mut empty = text.clone();
    let because = empty.find("because:").unwrap();
    let next = empty.find("- image: quay").unwrap();
    empty.replace_range(because..next, "because: []\n");
    assert!(wrong(&empty)[0].contains("has no reason"), "{:?}", wrong(&empty));
}

#[test]
fn what_is_no_lock_is_told_apart() {
    let text = lock(contents()).to_text().unwrap();
    assert!(wrong("")[0].contains("one mapping"));
    assert!(wrong(&text.replace("bundler/v1", "bundler/v2"))[0].contains("this version can read"));
    assert!(wrong(&text.replace("kind: Lock", "kind: Bundle"))[0].contains("must be Lock"));
    assert!(wrong("apiVersion: airgap-bundler/v1\nkind: Lock\n").len() == 3);
    let conflict = text.replacen("- image: quay", "<<<<<<< HEAD\n- image: quay", 1);
    assert!(wrong(&conflict)[0].contains("merge conflict"), "{:?}", wrong(&conflict));
    assert!(wrong(&text.replacen("size: 1234", "size: 1234\n  size: 1234", 1))[0].contains("twice"));
    assert!(wrong(&text.replacen("confidence: schema", "confidence: sure", 1))[0].contains("sure"));
    assert!(wrong(&text.replacen("- entry: manifests", "- entri: manifests", 1)).len() == 1);
}

#[test]
fn merged_locks_need_no_order() {
    let text = lock(contents()).to_text().unwrap();
    let (a, b) = (text.find("- image: docker.io").unwrap(), text.find("- image: quay.io").unwrap());
    let end = text.find("manifests:\n").unwrap();
    let swapped = format!("{}{}{}{}", &text[..a], &text[b..end], &text[a..b], &text[end..]);
    assert_eq!(Lock::parse("l", &swapped).unwrap(), lock(contents()));
}

#[test]
fn differences_are_told_one_by_one() {
    let old = lock(contents());
    assert!(old.compare(&old).is_empty());
    let mut new = contents();
    new.version = "1.11".into();
    new.images[0].because = vec![reason("quay.io/acme/b:1", 99), reason("quay.io/acme/b:1@x", 1)];
    new.images[1].digest = Digest::sha256(b"moved");
    new.images.push(image("quay.io/acme/c:1", "c"));
    new.images[1].from = Some("mirror.example/a:1.0".parse().unwrap());
    new.files.remove(0);
    new.files[0].max_age = Some(60);
    let new = lock(new);
    let lines: Vec<String> = old.compare(&new).iter().map(ToString::to_string).collect();
    let why = "manifests[0] → deploy/app.yaml";
    let rest = "Deployment web/on → spec.template.spec.containers[0].image";
    let short = |content: &str| Digest::sha256(content.as_bytes()).short();
    assert_eq!(
        lines,
        [
            "~ bundle shop: version was 1.10, is 1.11".to_owned(),
            format!("~ image docker.io/library/a:1.0 moved from {} to {}", short("a"), short("moved")),
            "~ image docker.io/library/a:1.0: source was nothing, is mirror.example/a:1.0".to_owned(),
            format!("~ image quay.io/acme/b:1 is there for other reasons\n    + {why}:1 → {rest}"),
            format!("+ image quay.io/acme/c:1 {}\n    because {why}:7 → {rest}", short("c")),
            "~ file a/b: greatest age was nothing, is 60 s".to_owned(),
            format!("- file z {}", short("z")),
        ]
    );
    let back: Vec<String> = new.compare(&old).iter().map(ToString::to_string).collect();
    assert!(back.iter().any(|line| line.starts_with("- image quay.io/acme/c:1")));
}

#[test]
fn lines_that_moved_are_no_difference() {
    let mut moved = contents();
    moved.images[0].because = vec![reason("quay.io/acme/b:1", 999)];
    assert!(lock(contents()).compare(&lock(moved)).is_empty());
}

fn any_text() -> impl Strategy<Value = String> {
    "\\PC{1,20}|[0-9a-fx._:+-]{1,8}|(yes|no|on|~|null|1e3|0644|=|<<|- a|a: b|#a)|[ \t\n:'\"]{1,5}|[a-z/.\\[\\]0-9]{1,20}"
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any_text().prop_map(|entry| Step::Entry { entry }),
        (any_text(), any_text()).prop_map(|(chart, version)| Step::Chart { chart, version }),
        any_text().prop_map(|variant| Step::Variant { variant }),
        (any_text(), proptest::option::of(any::<u32>())).prop_map(|(file, line)| Step::File { file, line }),
        (any_text(), proptest::option::of(any_text()), any_text()).prop_map(|(object, namespace, name)| Step::Object {
            object,
            namespace,
            name
        }),
        any_text().prop_map(|field| Step::Field { field }),
        any_text().prop_map(|rule| Step::Rule { rule }),
    ]
}

fn any_finding() -> impl Strategy<Value = Finding> {
    let confidence = prop_oneof![
        Just(Confidence::Declared),
        Just(Confidence::Schema),
        Just(Confidence::Rule),
        Just(Confidence::Guess)
    ];
    (any_text(), confidence, prop::collection::vec(any_step(), 0..4))
        .prop_map(|(written, confidence, provenance)| Finding { written, confidence, provenance })
}

fn any_image() -> impl Strategy<Value = LockedImage> {
    let name = "[a-z]{1,8}(/[a-z0-9]{1,5})?:[0-9][0-9._]{0,4}";
    (
        name,
        any::<[u8; 32]>(),
        any::<u64>(),
        proptest::option::of(name),
        proptest::option::of(any_text()),
        prop::collection::vec(any_finding(), 1..3),
    )
        .prop_map(|(name, digest, size, from, archive, because)| LockedImage {
            image: name.parse().unwrap(),
            digest: Digest::Sha256(digest),
            media_type: media_type::MANIFEST.into(),
            size,
            from: from.map(|from| from.parse().unwrap()),
            archive,
            because,
        })
}

fn any_file() -> impl Strategy<Value = LockedFile> {
    ("[a-zA-Z0-9._~ -]{1,10}", any::<u64>(), proptest::option::of(any::<u64>()), any_text(), any_text())
        .prop_filter_map("names that are paths", |(name, size, max_age, source, entry)| {
            let name = name.parse().ok()?;
            Some(LockedFile { name, digest: Digest::sha256(b""), size, max_age, source, entry })
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reading_is_the_inverse_of_writing(
        name in any_text(), version in any_text(),
        images in prop::collection::vec(any_image(), 0..4),
        manifests in prop::collection::vec(any_file(), 0..2),
        files in prop::collection::vec(any_file(), 0..3),
    ) {
        let platforms = vec!["linux/arm/v7".parse().unwrap()];
        if let Ok(lock) = Lock::new(Contents { name, version, platforms, images, manifests, files }) {
            let text = lock.to_text().unwrap();
            let read = Lock::parse("l", &text);
            prop_assert_eq!(read, Ok(lock), "{}", text);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_change_to_a_lock_makes_the_reader_panic(
        changes in prop::collection::vec((0usize..2600, 0usize..20, "(\\PC|[ \n:{}\\[\\],'\"&*~<-]){0,4}"), 1..4)
    ) {
        let mut text: Vec<char> = lock(contents()).to_text().unwrap().chars().collect();
        for (at, length, replacement) in changes {
            let at = at.min(text.len());
            let end = (at + length).min(text.len());
            text.splice(at..end, replacement.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(wrong) = Lock::parse("l", &text) {
            prop_assert!(!wrong.is_empty() && wrong.iter().all(|d| d.at.is_some()));
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,80}") {
        let _ = Lock::parse("l", &text);
        let _ = Lock::parse("l", &format!("apiVersion: airgap-bundler/v1\nkind: Lock\n{text}"));
    }
}
