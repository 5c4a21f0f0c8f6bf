//! Why an image is there, what an archive holds, pins that move when asked, and the same bytes wherever they are made.

use std::path::Path;

use super::{
    machine::{Machine, digest},
    shop::{Shop, deployment},
    source::End,
};

#[test]
fn why_tells_line_object_and_field() {
    let shop = Shop::new();
    shop.machine.write("deploy/second.yaml", deployment("docker.io/shop/app:1"));
    shop.machine.ends(7, &["why", "shop/app"]).says(&["bundle resolve"]);
    shop.create("shop.tar");
    let digest = digest(shop.source.registry().get("/v2/shop/app/manifests/1").body);
    for place in ["bundle.yaml", "shop.tar"] {
        let text = shop.machine.ok(&["why", "shop/app", place]).out;
        for part in [
            "docker.io/shop/app:1\n",
            &digest,
            "manifests[0] \u{2192} deploy/app.yaml:8 \u{2192} Deployment app \u{2192} spec.template.spec.containers[0].image",
            "deploy/second.yaml:8",
            "written as shop/app:1",
        ] {
            assert!(text.contains(part), "{place}: {part:?} is not in\n{text}");
        }
        let told = shop.machine.ok(&["why", "busybox:1.37", place, "-o", "json"]).json();
        assert_eq!(told[0]["image"], "docker.io/library/busybox:1.37");
        assert_eq!(told[0]["because"][0]["provenance"], serde_json::json!([{"entry": "images[0]"}]));
        shop.machine.ends(3, &["why", "nginx", place]).says(&["nginx"]);
    }
}

#[test]
fn inspect_shows_everything_without_reading_it() {
    let shop = Shop::new();
    let made = shop.create("shop.tar");
    // The control part is all that it reads.
    let whole = shop.machine.read("shop.tar");
    let seen = shop.machine.ok(&["inspect", "shop.tar", "--key", "shop.pub", "-o", "json"]).json();
    assert_eq!((&seen["name"], &seen["version"]), (&"shop".into(), &"1.0.0".into()));
    assert_eq!((&seen["bundle"], &seen["archiveSize"]), (&made["digest"], &whole.len().into()));
    assert_eq!((&seen["verified"], &seen["sequence"]), (&true.into(), &made["sequence"]));
    let images = seen["images"].as_array().unwrap();
    assert_eq!(images.len(), 2, "{seen:#}");
    for (image, name) in images.iter().zip(["docker.io/library/busybox:1.37", "docker.io/shop/app:1"]) {
        assert_eq!(image["references"], serde_json::json!([name]));
        assert_eq!(image["shared"], b"first layer".len(), "{image:#}");
        assert!(image["size"].as_u64().unwrap() > image["shared"].as_u64().unwrap());
        let platform = serde_json::json!({"os": "linux", "architecture": "amd64"});
        assert_eq!(image["platforms"][0]["platform"], platform, "{image:#}");
        assert!(!image["because"].as_array().unwrap().is_empty());
    }
    let totals = &seen["totals"];
    assert_eq!((&totals["images"], &totals["files"]), (&2.into(), &1.into()));
    assert_eq!((&totals["sharedBytes"], &totals["fileBytes"]), (&11.into(), &8.into()));
    assert_eq!(seen["files"][0]["path"], "motd/motd.txt");
    let unverified = shop.machine.ok(&["inspect", "shop.tar", "-o", "json"]).json();
    assert_eq!(unverified["verified"], false);
    shop.machine.keys("stranger");
    shop.machine.ends(6, &["inspect", "shop.tar", "--key", "stranger.pub"]);
    let why = shop.machine.ok(&["inspect", "shop.tar", "--why"]).out;
    assert!(why.contains("deploy/app.yaml:8") && why.contains("not verified"), "{why}");
    let verified = shop.machine.ok(&["verify", "shop.tar", "--key", "shop.pub", "-o", "json"]).json();
    assert_eq!((&verified["intact"], &verified["bytes"]), (&true.into(), &whole.len().into()));
}

#[test]
fn pins_move_only_when_asked() {
    let shop = Shop::new();
    let pin = |name: &str| {
        let told = shop.machine.ok(&["why", name, "-o", "json"]).json();
        told[0]["digest"].as_str().unwrap().to_owned()
    };
    shop.machine.ok(&["resolve"]);
    let (app, busybox) = (pin("shop/app:1"), pin("busybox:1.37"));
    let lock = shop.machine.read("bundle.lock");
    let new_app = shop.source.registry().put_image("shop/app", "1", &[b"new app"]).digest.to_string();
    let new_box = shop.source.registry().put_image("library/busybox", "1.37", &[b"new box"]).digest.to_string();
    shop.source.registry().take_hits();
    shop.machine.ok(&["resolve"]);
    assert!(shop.source.registry().take_hits().is_empty(), "what is pinned needs no registry");
    assert!(shop.machine.read("bundle.lock") == lock);
    shop.create("old.tar");
    assert_eq!((pin("shop/app:1"), pin("busybox:1.37")), (app.clone(), busybox.clone()));
    assert!(shop.machine.read("bundle.lock") == lock);

    let dry = shop.machine.ok(&["resolve", "--update", "busybox", "--dry-run", "-o", "json"]).json();
    let moved = serde_json::json!([{"what": "docker.io/library/busybox:1.37", "change": "moved", "from": busybox, "to": new_box}]);
    assert_eq!(dry["changes"], moved);
    assert!(shop.machine.read("bundle.lock") == lock);
    let text = shop.machine.ok(&["resolve", "--update", "busybox"]).out;
    assert!(text.contains("docker.io/library/busybox:1.37 moved from"), "{text}");
    assert_eq!((pin("shop/app:1"), pin("busybox:1.37")), (app, new_box.clone()));
    shop.machine.ok(&["resolve", "--update"]);
    assert_eq!((pin("shop/app:1"), pin("busybox:1.37")), (new_app.clone(), new_box));
    // The old archive is older now.
    shop.create("new.tar");
    let target = End::ours();
    assert_eq!(shop.load("new.tar", &target, &["--key", "shop.pub"]).code, Some(0));
    assert_eq!(digest(target.registry().get("/v2/docker.io/shop/app/manifests/1").body), new_app);
    assert_eq!(shop.load("old.tar", &target, &["--key", "shop.pub"]).code, Some(6));
}

#[test]
fn the_same_lock_makes_the_same_archive_anywhere() {
    let shop = Shop::new();
    let blob: Vec<u8> = (0..400_000u32).flat_map(u32::to_le_bytes).collect();
    shop.source.registry().put_image("shop/app", "1", &[b"first layer", &blob, &blob[..300_000]]);
    shop.create("first.tar");
    let first = shop.machine.read("first.tar");
    let lock = shop.machine.read("bundle.lock");

    // Another machine, another folder, another hour, other rights, another number of hands.
    for (umask, zone, jobs, folder) in
        [("077", "Asia/Kathmandu", "1", "elsewhere/deep"), ("002", "America/Lima", "16", "x")]
    {
        let other = Machine::new();
        for name in ["bundle.yaml", "bundle.lock", "deploy/app.yaml", "motd.txt", "shop.key"] {
            other.write(&format!("{folder}/{name}"), shop.machine.read(name));
        }
        let binary = env!("CARGO_BIN_EXE_bundle");
        let script = format!(
            "umask {umask}; exec {binary} create --locked {folder}/bundle.yaml --key {folder}/shop.key -j {jobs} -o out.tar"
        );
        let mut command = other.command(Path::new("sh"));
        let ended = command.args(["-c", &script]).env("TZ", zone).env("LC_ALL", "de_DE.UTF-8").output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        assert!(other.read("out.tar") == first, "the archive differs with -j {jobs}");
        assert!(other.read(&format!("{folder}/bundle.lock")) == lock);
    }

    // And where it is, without the word: the lock stays, the archive stays.
    shop.create("again.tar");
    assert!(shop.machine.read("again.tar") == first && shop.machine.read("bundle.lock") == lock);
    // The time of creation is part of an archive only when it is given.
    let mut command = shop.machine.bundle(&["create", "--key", "shop.key", "-o", "dated.tar", "--expires", "90d"]);
    assert!(command.env("SOURCE_DATE_EPOCH", "1700000000").output().unwrap().status.success());
    let dated = shop.machine.ok(&["inspect", "dated.tar", "-o", "json"]).json();
    assert_eq!(
        (&dated["created"], &dated["expires"]),
        (&"2023-11-14T22:13:20Z".into(), &"2024-02-12T22:13:20Z".into())
    );
}
