//! Names in the enclave, files as artifacts, content from addresses, sources that moved.

use std::collections::BTreeMap;

use axum::{body::Bytes, routing::get};

use super::{
    machine::{Machine, digest},
    shop::{Shop, deployment},
    source::End,
};
use crate::support::{referees, registry::Setup};

fn answers(end: &End, repository: &str, tag: &str) -> Option<String> {
    let answer = end.registry().get(&format!("/v2/{repository}/manifests/{tag}"));
    (answer.status == 200).then(|| digest(answer.body))
}

#[test]
fn layouts_shorten_names() {
    let shop = Shop::new();
    shop.source.registry().put_image("deep/a/b/c", "1", &[b"first layer"]);
    shop.spec("images: [busybox:1.37, docker.io/deep/a/b/c:1]\nfiles: [{path: motd.txt, name: motd}]\n");
    shop.create("shop.tar");
    let wanted = answers(&shop.source, "deep/a/b/c", "1");
    for (layout, busybox, deep, files, state) in [
        ("source", "docker.io/library/busybox", "docker.io/deep/a/b/c", "files/motd", "bundle-state"),
        ("host", "docker.io/library-busybox", "docker.io/deep-a-b-c", "files/motd", "bundle-state"),
        ("flat", "docker.io-library-busybox", "docker.io-deep-a-b-c", "files-motd", "bundle-state"),
        ("depth=3", "docker.io/library/busybox", "docker.io/deep/a-b-c", "files/motd", "bundle-state"),
    ] {
        for prefix in ["", "mirror/"] {
            let target = End::ours();
            let to = format!("{}/{prefix}", target.host);
            let load = ["load", "shop.tar", "--key", "shop.pub", "--layout", layout, "--to", &to, "-o", "json"];
            let planned = shop.machine.ok(&[&load[..], &["--dry-run"]].concat()).json();
            assert!(target.registry().hits().is_empty(), "a plan asks nobody");
            shop.machine.ok(&load);
            assert_eq!(answers(&target, &format!("{prefix}{deep}"), "1"), wanted, "{layout} {prefix}");
            for (place, tag) in [(busybox, "1.37"), (files, "1.0.0"), (state, "shop")] {
                assert!(
                    answers(&target, &format!("{prefix}{place}"), tag).is_some(),
                    "{layout}: {prefix}{place}:{tag}"
                );
            }
            let repositories = planned["images"].as_array().unwrap().iter().map(|image| image["repository"].clone());
            assert!(repositories.eq([format!("{prefix}{deep}"), format!("{prefix}{busybox}")]), "{planned}");
        }
    }
}

#[test]
fn two_sources_never_share_a_name() {
    let shop = Shop::new();
    for name in ["a-b/c", "a/b-c"] {
        shop.source.registry().put_image(name, "1", &[name.as_bytes()]);
    }
    shop.spec("images: [docker.io/a-b/c:1, docker.io/a/b-c:1]\n");
    shop.create("shop.tar");
    let target = End::ours();
    for layout in ["flat", "host"] {
        let refused = shop.load("shop.tar", &target, &["--key", "shop.pub", "--layout", layout]);
        assert_eq!(refused.code, Some(2), "{}", refused.err);
        refused.says(&["docker.io/a-b/c", "docker.io/a/b-c", "choose a layout with more depth"]);
    }
    assert!(target.registry().hits().is_empty(), "nothing was asked for or pushed");
    assert_eq!(shop.load("shop.tar", &target, &["--key", "shop.pub", "--layout", "depth=3"]).code, Some(0));
}

#[test]
fn oras_unpacks_files_as_they_were() {
    let Some(oras) = referees::oras() else { return };
    for target in [Some(End::ours()), End::stock()].into_iter().flatten() {
        let shop = Shop::new();
        let contents: BTreeMap<&str, Vec<u8>> = BTreeMap::from([
            ("dashboards/node.json", b"{}".to_vec()),
            ("dashboards/deep/er/empty", Vec::new()),
            ("dashboards/same.json", b"{}".to_vec()),
            ("dashboards/wide name \u{e4}.bin", (0..300_000u32).map(|n| (n % 251) as u8).collect()),
        ]);
        for (name, bytes) in &contents {
            shop.machine.write(name, bytes);
        }
        shop.spec("files:\n  - {path: dashboards/, name: dashboards}\n  - {path: motd.txt, name: motd}\n");
        shop.create("shop.tar");
        assert_eq!(shop.load("shop.tar", &target, &["--key", "shop.pub"]).code, Some(0));
        let enclave = Machine::new();
        for set in ["dashboards", "motd"] {
            let artifact = format!("{}/files/{set}:1.0.0", target.host);
            enclave.tool(&oras, &["pull", "--plain-http", "-o", set, &artifact]);
        }
        for (name, bytes) in &contents {
            assert!(enclave.read(name) == *bytes, "{name}");
        }
        assert_eq!(enclave.text("motd/motd.txt"), "welcome\n");
        let again = shop.load("shop.tar", &target, &["--key", "shop.pub", "-o", "json"]).json();
        assert_eq!(again["pushedBlobs"], 0, "{again}");
    }
}

#[test]
fn manifests_and_files_come_from_addresses() {
    let (install, feed) = (deployment("shop/app:1"), vec![7u8; 100_000]);
    let (served, fed) = (install.clone(), Bytes::from(feed.clone()));
    let router = move |router: axum::Router| {
        router
            .route("/install.yaml", get(async move || served))
            .route("/feeds/main.cvd", get(async move || fed))
            .route("/broken.yaml", get(async || "kind: [Pod\n"))
    };
    let shop = Shop::over(Setup { wrap: Some(Box::new(router)), ..Setup::default() });
    let at = |path: &str| format!("{}/{path}", shop.source.registry().url());
    let sum = |bytes: &[u8]| digest(bytes).replace("sha256:", "");
    let entry = |path: &str, sum: String| format!("{{url: \"{}\", sha256: {sum}}}", at(path));
    let spec = |manifest: String| {
        let file = entry("feeds/main.cvd", sum(&feed));
        shop.spec(&format!("manifests:\n  - {manifest}\nfiles:\n  - {}, name: clamav}}\n", file.trim_end_matches('}')));
    };
    let create = ["create", "--key", "shop.key", "-o", "shop.tar"];
    spec(entry("install.yaml", sum(b"something else")));
    shop.machine.ends(5, &create).says(&[&at("install.yaml"), &digest(&install), "bundle.yaml:7:5"]);
    spec(entry("nothing.yaml", sum(b"")));
    shop.machine.ends(3, &create).says(&[&at("nothing.yaml"), "404", "manifests[0]"]);
    spec(entry("broken.yaml", sum(b"kind: [Pod\n")));
    shop.machine.ends(2, &create).says(&[&format!("{}:2:", at("broken.yaml"))]);
    spec(entry("install.yaml", sum(install.as_bytes())));
    shop.machine.ok(&create);
    let why = shop.machine.ok(&["why", "shop/app"]).out;
    assert!(why.contains(&format!("manifests[0] \u{2192} {}:8", at("install.yaml"))), "{why}");
    let target = End::ours();
    assert_eq!(shop.load("shop.tar", &target, &["--key", "shop.pub"]).code, Some(0));
    let manifest = target.registry().get("/v2/files/clamav/manifests/1.0.0").json();
    let layer = &manifest["layers"][0];
    assert_eq!(layer["annotations"]["org.opencontainers.image.title"], "main.cvd");
    let blob = target.registry().get(&format!("/v2/files/clamav/blobs/{}", layer["digest"].as_str().unwrap()));
    assert!(blob.body == feed);
}

#[test]
fn an_image_that_moved_keeps_its_name() {
    let shop = Shop::new();
    let moved = shop.source.registry().put_image("attic/bitnamilegacy/redis", "7", &[b"redis"]).digest;
    shop.source.registry().put_image("attic/single", "2", &[b"single"]);
    let host = &shop.source.host;
    shop.spec(&format!(
        "  quay.io: {{mirror: \"{host}/attic\"}}\nsubstitutions:\n\
         \x20 - {{from: docker.io/bitnami/, to: quay.io/bitnamilegacy/, reason: versioned tags removed}}\n\
         \x20 - {{from: docker.io/shop/app, to: quay.io/single}}\n\
         images: [bitnami/redis:7, shop/app:2, busybox:1.37]\n"
    ));
    shop.create("shop.tar");
    let lock = shop.machine.text("bundle.lock");
    assert!(lock.contains("quay.io/bitnamilegacy/redis:7"), "{lock}");
    assert_eq!(
        shop.machine.ok(&["inspect", "shop.tar", "--images"]).out,
        "docker.io/bitnami/redis:7\ndocker.io/library/busybox:1.37\ndocker.io/shop/app:2\n"
    );
    let target = End::ours();
    assert_eq!(shop.load("shop.tar", &target, &["--key", "shop.pub"]).code, Some(0));
    assert_eq!(answers(&target, "docker.io/bitnami/redis", "7"), Some(moved.to_string()));
    assert!(answers(&target, "docker.io/shop/app", "2").is_some());
    // What dies is named with both names.
    shop.machine.write("bundle.yaml", shop.machine.text("bundle.yaml").replace("redis:7", "redis:8"));
    shop.machine.ends(3, &["create"]).says(&["docker.io/bitnami/redis:8", "attic/bitnamilegacy/redis"]);
}
