//! Who signed an archive, and is every bit of its signed part covered? Stock cosign is asked in `trust/referees.rs`.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod referees;

use std::sync::LazyLock;

use airgap_bundler::{
    error::{Classify as _, Kind},
    oci::Digest,
    tree::RelPath,
    trust::{
        Error, Passphrase, Policy, PublicKey, SignatureSet, SignedImage, SigningKey, Verdict, verify_control,
        verify_simple,
    },
};
use bytes::Bytes;
use proptest::prelude::*;

type Files = Vec<(RelPath, Bytes)>;

const BUNDLE_JSON: &[u8] = br#"{"name":"demo","sequence":1}"#;

/// A key of the fixtures; opening one costs a run of scrypt, so they are imported open where that does not matter.
fn ours() -> SigningKey {
    SigningKey::open(include_str!("data/keys/ours.key"), &Passphrase::new("own")).unwrap()
}

fn other() -> SigningKey {
    SigningKey::import_unencrypted(include_str!("data/keys/open-pkcs8.pem")).unwrap()
}

fn image(name: &str, digests: impl IntoIterator<Item = u32>) -> SignedImage {
    SignedImage {
        identities: vec![name.parse().unwrap()],
        digests: digests.into_iter().map(|n| Digest::sha256(&n.to_be_bytes())).collect(),
    }
}

fn images() -> Vec<SignedImage> {
    vec![image("docker.io/library/nginx:1.27", [1, 2]), image("quay.io/a/b:v1", [2])]
}

fn sign(keys: &[&SigningKey], bundle_json: &[u8], images: &[SignedImage]) -> Files {
    let sets: Vec<_> = keys.iter().map(|key| SignatureSet::sign(key, bundle_json, images).unwrap()).collect();
    SignatureSet::write(&sets).unwrap()
}

fn trust(keys: &[&SigningKey], threshold: usize) -> Policy {
    Policy::new(keys.iter().map(|key| key.public().clone()), threshold).unwrap()
}

fn check(policy: &Policy, files: &Files) -> Result<Verdict, Error> {
    verify_control(policy, BUNDLE_JSON, files)
}

fn refused(policy: &Policy, files: &Files) -> Error {
    let error = check(policy, files).unwrap_err();
    assert_eq!(error.kind(), Kind::Untrusted, "{error}");
    error
}

fn names(files: &Files) -> Vec<&str> {
    files.iter().map(|(path, _)| path.as_str()).collect()
}

#[test]
fn what_is_signed_verifies_and_is_the_same_each_time() {
    let (key, policy) = (ours(), trust(&[&ours()], 1));
    let files = sign(&[&key], BUNDLE_JSON, &images());
    assert_eq!(files, sign(&[&key], BUNDLE_JSON, &images()));
    let id = key.public().id();
    assert_eq!(
        names(&files),
        [
            "bundle.json.sigstore.json".to_owned(),
            format!("bundle.sig/{id}-1.sigstore.json"),
            format!("bundle.sig/{id}.images.json")
        ]
    );
    assert!(files.iter().all(|(path, _)| SignatureSet::owns(path)));
    let verdict = check(&policy, &files).unwrap();
    assert_eq!(verdict.signers().collect::<Vec<_>>(), [id]);
    assert_eq!(verdict.bundle_json(), Digest::sha256(BUNDLE_JSON));
    verdict.covers(&images()).unwrap();
    let digest = Digest::sha256(&2u32.to_be_bytes());
    let signed = verdict.sets()[0].of_image(&digest).unwrap();
    assert_eq!(signed.simple.len(), 2);
    for one in &signed.simple {
        verify_simple(&one.payload, &one.signature, key.public(), &digest).unwrap();
    }
    assert_eq!(signed.bundle, files[1].1);
    assert!(verdict.sets()[0].of_image(&Digest::sha256(b"else")).is_none());
}

#[test]
fn every_flipped_bit_is_refused() {
    let (key, second) = (ours(), other());
    for signers in [vec![&key], vec![&key, &second]] {
        let policy = trust(&signers, 1);
        let files = sign(&signers, BUNDLE_JSON, &images());
        let _ = check(&policy, &files).unwrap();
        let mut flips = 0;
        for at in 0..files.len() {
            for byte in 0..files[at].1.len() {
                for bit in 0..8 {
                    let mut changed = files.clone();
                    let mut bytes = changed[at].1.to_vec();
                    bytes[byte] ^= 1 << bit;
                    changed[at].1 = bytes.into();
                    refused(&policy, &changed);
                    flips += 1;
                }
            }
        }
        assert!(flips > 8 * 1500, "{flips}");
        let mut changed = BUNDLE_JSON.to_vec();
        for bit in 0..changed.len() * 8 {
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(verify_control(&policy, &changed, &files).is_err());
            changed[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn every_flipped_bit_of_a_file_name_is_refused() {
    let (key, policy) = (ours(), trust(&[&ours()], 1).allow_unknown_signers());
    let files = sign(&[&key], BUNDLE_JSON, &images());
    for at in 0..files.len() {
        let name = files[at].0.as_str().as_bytes();
        for bit in 0..name.len() * 8 {
            let mut changed = name.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            let Some(path) = String::from_utf8(changed).ok().and_then(|name| name.parse().ok()) else { continue };
            let mut files = files.clone();
            files[at].0 = path;
            refused(&policy, &files);
        }
    }
}

#[test]
fn other_spellings_of_the_same_are_refused() {
    let (key, policy) = (ours(), trust(&[&ours()], 1));
    let files = sign(&[&key], BUNDLE_JSON, &images());
    for at in 0..files.len() {
        let text = std::str::from_utf8(&files[at].1).unwrap();
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        for same in [
            serde_json::to_string_pretty(&value).unwrap(),
            format!("{text}\n"),
            format!(" {text}"),
            text.replacen("\":\"", "\": \"", 1),
            text.replacen("sig", "\\u0073ig", 1),
        ] {
            let mut files = files.clone();
            files[at].1 = same.into();
            let error = refused(&policy, &files);
            assert!(matches!(error, Error::NotCanonical(_)), "{error}");
        }
    }
}

#[test]
fn a_second_signature_made_from_a_first_is_refused() {
    let key = ours();
    let files = sign(&[&key], BUNDLE_JSON, &images());
    let mut list: serde_json::Value = serde_json::from_slice(&files[2].1).unwrap();
    let engine = base64::engine::general_purpose::STANDARD;
    let low = base64::Engine::decode(&engine, list[0]["signature"].as_str().unwrap()).unwrap();
    let low = p256::ecdsa::Signature::from_der(&low).unwrap();
    let high = p256::ecdsa::Signature::from_scalars(low.r().to_bytes(), (-*low.s()).to_bytes()).unwrap().to_der();
    list[0]["signature"] = base64::Engine::encode(&engine, high.as_bytes()).into();
    let mut changed = files;
    changed[2].1 = list.to_string().into();
    assert!(matches!(refused(&trust(&[&key], 1), &changed), Error::BadSignature { .. }));
}

#[test]
fn missing_foreign_and_repeated_files_are_refused() {
    let (key, policy) = (ours(), trust(&[&ours()], 1));
    let files = sign(&[&key], BUNDLE_JSON, &images());
    assert_eq!(refused(&policy, &Vec::new()), Error::Unsigned);
    for at in 0..files.len() {
        let mut fewer = files.clone();
        let (missing, _) = fewer.remove(at);
        assert_eq!(refused(&policy, &fewer), Error::MissingFile(missing));
    }
    let id = key.public().id();
    for extra in [
        "bundle.sig/README".to_owned(),
        format!("bundle.sig/{id}-01.sigstore.json"),
        format!("bundle.sig/{id}-0.sigstore.json"),
        format!("bundle.json.{id}.sigstore.json"),
        "bundle.json.sig".to_owned(),
    ] {
        let mut more = files.clone();
        more.push((extra.parse().unwrap(), files[0].1.clone()));
        assert_eq!(refused(&policy, &more), Error::UnknownFile(extra.parse().unwrap()), "{extra}");
        assert_eq!(refused(&policy, &vec![more.pop().unwrap()]).kind(), Kind::Untrusted);
    }
    let mut far = files.clone();
    far.push((format!("bundle.sig/{id}-1024.sigstore.json").parse().unwrap(), files[1].1.clone()));
    assert!(matches!(refused(&policy, &far), Error::MissingFile(_)));
    let mut twice = files.clone();
    twice.push(files[0].clone());
    assert!(matches!(refused(&policy, &twice), Error::UnknownFile(_)));
    let mut swapped = files.clone();
    (swapped[0].1, swapped[1].1) = (files[1].1.clone(), files[0].1.clone());
    refused(&policy, &swapped);
}

#[test]
fn the_signature_of_another_archive_is_refused() {
    let (key, policy) = (ours(), trust(&[&ours()], 1));
    let others = sign(&[&key], br#"{"name":"demo","sequence":2}"#, &images());
    assert!(matches!(refused(&policy, &others), Error::WrongSubject { .. }));
    // Files of both mixed.
    let files = sign(&[&key], BUNDLE_JSON, &images());
    for at in 0..2 {
        let mut mixed = files.clone();
        mixed[at] = others[at].clone();
        refused(&policy, &mixed);
    }
    // The same archive signed with another list of images: genuine, but not what the archive lists.
    let fewer = sign(&[&key], BUNDLE_JSON, &images()[1..]);
    let verdict = check(&policy, &fewer).unwrap();
    let error = verdict.covers(&images()).unwrap_err();
    assert!(matches!(error, Error::Coverage { .. }) && error.kind() == Kind::Untrusted);
    verdict.covers(&images()[1..]).unwrap();
    assert!(verdict.covers(&[]).is_err());
    let renamed = [image("docker.io/library/nginx:1.28", [1, 2]), images().remove(1)];
    assert!(check(&policy, &files).unwrap().covers(&renamed).is_err());
    // The list of names exchanged for a genuine one that names images beyond the statement.
    let mut mixed = fewer;
    mixed[2] = files[2].clone();
    assert!(matches!(refused(&policy, &mixed), Error::Coverage { .. }));
}

#[test]
fn only_trusted_keys_count_and_each_once() {
    let (key, second) = (ours(), other());
    let (one, both) = (sign(&[&key], BUNDLE_JSON, &images()), sign(&[&key, &second], BUNDLE_JSON, &images()));
    assert!(matches!(refused(&trust(&[&second], 1), &one), Error::UnknownKey { have, want }
        if have == [key.public().id()] && want == [second.public().id()]));
    // A stranger's signature beside a good one: only when allowed.
    assert!(matches!(refused(&trust(&[&key], 1), &both), Error::UnknownKey { .. }));
    let verdict = check(&trust(&[&key], 1).allow_unknown_signers(), &both).unwrap();
    assert_eq!(verdict.unknown_signers().collect::<Vec<_>>(), [second.public().id()]);
    assert_eq!(verdict.sets().len(), 1);
    assert!(check(&trust(&[&second], 1).allow_unknown_signers(), &one).is_err());
    // Two are needed.
    assert_eq!(refused(&trust(&[&key, &second], 2), &one), Error::TooFewSigners { have: 1, need: 2 });
    let verdict = check(&trust(&[&key, &second], 2), &both).unwrap();
    assert_eq!(verdict.signers().count(), 2);
    verdict.covers(&images()).unwrap();
    // One of two is enough, but what the other signed must be good as well.
    let _ = check(&trust(&[&key, &second], 1), &both).unwrap();
    let mut bad = both.clone();
    let at = names(&bad).iter().position(|name| name.ends_with(&format!("{}.images.json", second.public().id())));
    let text = std::str::from_utf8(&bad[at.unwrap()].1).unwrap().replace("nginx:1.27", "nginx:1.28");
    bad[at.unwrap()].1 = text.into();
    assert!(matches!(refused(&trust(&[&key, &second], 1), &bad), Error::BadSignature { .. }));
}

#[test]
fn policies_that_make_no_sense_do_not_exist() {
    let key = ours().public().clone();
    assert_eq!(Policy::new([], 1).err(), Some(Error::NoKey));
    assert_eq!(Error::NoKey.kind(), Kind::Untrusted);
    assert!(matches!(Policy::new([key.clone()], 0), Err(Error::Threshold { .. })));
    assert!(matches!(Policy::new([key.clone(), key], 2), Err(Error::Threshold { keys: 1, .. })));
    assert_eq!(SignatureSet::write(&[]).err(), Some(Error::NoSigner));
    let set = SignatureSet::sign(&other(), BUNDLE_JSON, &[]).unwrap();
    assert!(matches!(SignatureSet::write(&[set.clone(), set]), Err(Error::SignerTwice(_))));
}

#[test]
fn another_person_can_sign_later() {
    let (key, second) = (ours(), other());
    let mut sets = SignatureSet::read(&sign(&[&key], BUNDLE_JSON, &images())).unwrap();
    sets.push(SignatureSet::sign(&second, BUNDLE_JSON, &images()).unwrap());
    assert_eq!(SignatureSet::write(&sets).unwrap(), sign(&[&second, &key], BUNDLE_JSON, &images()));
}

#[test]
fn many_images_go_into_several_statements() {
    let key = other();
    let nameless = SignedImage { identities: Vec::new(), digests: image("a.b/c", 0..2500).digests };
    let some = image("quay.io/a/b:v1", [7]);
    let images = [nameless, some];
    let files = sign(&[&key], BUNDLE_JSON, &images);
    assert_eq!(files.len(), 5);
    let policy = trust(&[&key], 1);
    let verdict = check(&policy, &files).unwrap();
    verdict.covers(&images).unwrap();
    for digest in images[0].digests.iter().step_by(97) {
        let signed = verdict.sets()[0].of_image(digest).unwrap();
        let statement = airgap_bundler::trust::verify_bundle(&signed.bundle, key.public(), digest).unwrap();
        assert!(statement.covers(&Digest::sha256(BUNDLE_JSON)) && statement.subjects.len() <= 1024);
    }
    // The last statement dropped: everything left is genuine, but the archive lists more.
    let fewer: Files = files.iter().filter(|(path, _)| !path.as_str().contains("-3.")).cloned().collect();
    assert!(check(&policy, &fewer).is_err() || check(&policy, &fewer).unwrap().covers(&images).is_err());
    let middle: Files = files.iter().filter(|(path, _)| !path.as_str().contains("-2.")).cloned().collect();
    assert!(matches!(refused(&policy, &middle), Error::MissingFile(_)));
}

#[test]
fn an_archive_without_images_is_signed_too() {
    let key = other();
    let files = sign(&[&key], BUNDLE_JSON, &[]);
    assert_eq!(&files[2].1[..], b"[]");
    check(&trust(&[&key], 1), &files).unwrap().covers(&[]).unwrap();
}

#[test]
fn keys_of_other_types_cannot_have_signed_what_they_did_not() {
    let policy = Policy::new(
        [include_str!("data/keys/p384.pub"), include_str!("data/keys/rsa.pub"), include_str!("data/keys/cosign.pub")]
            .map(|pem| PublicKey::from_pem(pem).unwrap()),
        1,
    )
    .unwrap();
    let files = sign(&[&other()], BUNDLE_JSON, &images());
    assert!(matches!(refused(&policy, &files), Error::UnknownKey { .. }));
    // The files under the name of a trusted key: every hint and name says so, and no signature matches.
    let (from, to) = (other().public().id(), policy.keys().next().unwrap().id());
    let renamed: Files = files
        .iter()
        .map(|(path, bytes)| {
            let path = path.as_str().replace(&from.to_string(), &to.to_string()).parse().unwrap();
            let text = std::str::from_utf8(bytes).unwrap().replace(&from.hint(), &to.hint());
            (path, text.into())
        })
        .collect();
    assert!(matches!(refused(&policy, &renamed), Error::BadSignature { .. }));
}

static SIGNED: LazyLock<(Policy, Files)> =
    LazyLock::new(|| (trust(&[&other()], 1), sign(&[&other()], BUNDLE_JSON, &[])));

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_files_never_panic_and_never_pass(
        noise in proptest::collection::vec(any::<u8>(), 1..40), file in 0usize..3, at in 0usize..900,
        paths in proptest::collection::vec("(bundle\\.(sig/|json\\.))?[0-9a-f]{0,2}[a-z.-]{1,12}", 0..3),
    ) {
        let (policy, mut files) = SIGNED.clone();
        let mut bytes = files[file].1.to_vec();
        for (slot, byte) in bytes.iter_mut().skip(at).zip(&noise) { *slot ^= byte; }
        let same = bytes == files[file].1;
        files[file].1 = bytes.into();
        prop_assert_eq!(check(&policy, &files).is_ok(), same);
        files[file].1 = noise.into();
        prop_assert!(check(&policy, &files).is_err());
        files.extend(paths.into_iter().filter_map(|path| Some((path.parse().ok()?, Bytes::new()))));
        prop_assert!(check(&policy, &files).is_err());
    }
}
