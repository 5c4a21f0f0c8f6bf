//! Going back to what the load before brought, without its archive.

use super::{
    machine::{Ended, digest},
    shop::Shop,
    source::{End, Tools},
};

const APP: &str = "docker.io/shop/app";
const KEY: [&str; 2] = ["--key", "shop.pub"];

/// A shop whose second archive has another image under the same tag, and a changed file.
fn two_versions() -> (Shop, String, String) {
    let shop = Shop::new();
    let first = shop.create("one.tar");
    let old = tagged(&shop.source, "shop/app", "1");
    let moved = shop.source.registry().put_image("shop/app", "1", &[b"first layer", b"moved"]);
    shop.machine.write("motd.txt", "news\n");
    let second = shop.machine.ok(&["create", "--update", "--key", "shop.key", "-o", "two.tar", "-o", "json"]).json();
    assert!(second["sequence"].as_u64() > first["sequence"].as_u64());
    (shop, old, moved.digest.to_string())
}

fn back(shop: &Shop, target: &End, flags: &[&str]) -> Ended {
    shop.machine.run(&[&["load", "--rollback", "--to", &target.host], &KEY[..], flags].concat())
}

fn tagged(target: &End, repository: &str, tag: &str) -> String {
    let answer = target.registry().get(&format!("/v2/{repository}/manifests/{tag}"));
    answer.header("docker-content-digest").unwrap_or_else(|| panic!("{repository}:{tag}: {}", answer.text())).to_owned()
}

#[test]
fn the_tags_go_back_and_forth() {
    let (shop, old, new) = two_versions();
    let target = End::ours();
    assert_eq!(shop.load("one.tar", &target, &KEY).code, Some(0));
    let motd = tagged(&target, "files/motd", "1.0.0");
    let alone = back(&shop, &target, &[]);
    assert_eq!(alone.code, Some(3), "{}", alone.err);
    alone.says(&["shop was loaded once"]);
    assert_eq!(shop.load("two.tar", &target, &KEY).code, Some(0));
    // The same archive again is no step of its own.
    assert_eq!(shop.load("two.tar", &target, &KEY).code, Some(0));
    assert_eq!(tagged(&target, APP, "1"), new);
    assert_ne!(tagged(&target, "files/motd", "1.0.0"), motd);

    let planned = back(&shop, &target, &["--dry-run", "-o", "json"]);
    assert_eq!(planned.code, Some(0), "{}", planned.err);
    let tags = planned.json()["rollback"]["tags"].clone();
    let app = tags.as_array().unwrap().iter().find(|tag| tag["name"].as_str().unwrap().contains(APP)).unwrap();
    assert_eq!((app["from"].as_str(), app["to"].as_str()), (Some(&*new), Some(&*old)));
    assert_eq!(tagged(&target, APP, "1"), new, "a dry run moves nothing");

    let done = back(&shop, &target, &["--reason", "the shop is closed"]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.out.contains("shop is 1.0.0 again"), "{}", done.out);
    assert_eq!(tagged(&target, APP, "1"), old);
    assert_eq!(tagged(&target, "files/motd", "1.0.0"), motd);
    // The one before is the newer one now, also for a machine that remembers nothing.
    std::fs::remove_dir_all(shop.machine.path("state")).unwrap();
    let forth = back(&shop, &target, &["-o", "json"]);
    assert_eq!(forth.code, Some(0), "{}", forth.err);
    assert_eq!(forth.json()["receipt"]["rollbackReason"], "load --rollback");
    assert_eq!(tagged(&target, APP, "1"), new);
}

#[test]
fn a_sequence_names_the_load_to_go_back_to() {
    let (shop, old, _) = two_versions();
    shop.source.registry().put_image("shop/app", "1", &[b"first layer", b"third"]);
    shop.machine.ok(&["create", "--update", "--key", "shop.key", "-o", "three.tar"]);
    let target = End::ours();
    let mut sequences = Vec::new();
    for archive in ["one.tar", "two.tar", "three.tar"] {
        let loaded = shop.load(archive, &target, &[&KEY[..], &["-o", "json"]].concat());
        sequences.push(loaded.json()["receipt"]["sequence"].to_string());
    }
    let unknown = back(&shop, &target, &["--sequence", "7"]);
    assert_eq!(unknown.code, Some(3), "{}", unknown.err);
    assert_eq!(tagged(&target, "bundle-state", "shop").len(), 71);
    let done = back(&shop, &target, &["--sequence", &sequences[0]]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert_eq!(tagged(&target, APP, "1"), old);
}

#[test]
fn what_the_registry_lost_is_named_and_no_tag_moves() {
    let (shop, old, new) = two_versions();
    let target = End::ours();
    for archive in ["one.tar", "two.tar"] {
        assert_eq!(shop.load(archive, &target, &KEY).code, Some(0));
    }
    let deleted = target.registry().request("DELETE", &format!("/v2/{APP}/manifests/{old}"), &[], b"");
    assert_eq!(deleted.status, 202);
    let motd = tagged(&target, "files/motd", "1.0.0");
    let refused = back(&shop, &target, &[]);
    assert_eq!(refused.code, Some(7), "{}", refused.err);
    refused.says(&["does not hold the earlier load whole any more, one part is missing", &old]);
    assert_eq!((tagged(&target, APP, "1"), tagged(&target, "files/motd", "1.0.0")), (new, motd));
}

#[test]
fn only_a_trusted_record_leads_back() {
    let (shop, _, new) = two_versions();
    let target = End::ours();
    shop.machine.keys("other");
    for archive in ["one.tar", "two.tar"] {
        assert_eq!(shop.load(archive, &target, &KEY).code, Some(0));
    }
    let other = shop.machine.run(&["load", "--rollback", "--to", &target.host, "--key", "other.pub"]);
    assert_eq!(other.code, Some(3), "{}", other.err);
    other.says(&["no record of a load that a trusted key signed"]);
    let none = shop.machine.run(&["load", "--rollback", "--to", &target.host]);
    assert_eq!(none.code, Some(6), "{}", none.err);
    let path = back(&shop, &target, &["two.tar"]);
    assert_eq!(path.code, Some(2), "{}", path.err);
    path.says(&["two.tar is no name of a bundle"]);
    assert_eq!(back(&shop, &End::ours(), &[]).code, Some(3), "nothing was ever loaded there");
    assert_eq!(tagged(&target, APP, "1"), new);
}

#[test]
fn docker_registry_goes_back_too() {
    let (Some(target), Some(tools)) = (End::stock(), Tools::find()) else { return };
    let (shop, old, new) = two_versions();
    for archive in ["one.tar", "two.tar"] {
        let loaded = shop.load(archive, &target, &KEY);
        assert_eq!(loaded.code, Some(0), "{}", loaded.err);
    }
    let tagged = |target: &End| digest(target.raw(&shop.machine, &tools.skopeo, &format!("{APP}:1")));
    assert_eq!(tagged(&target), new);
    let done = back(&shop, &target, &["shop"]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert_eq!(tagged(&target), old);
}
