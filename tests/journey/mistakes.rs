//! What users do wrong, and what they are told: every mistake with its place, and the exit code of `docs/architecture.md`.

use std::net::TcpListener;

use super::{
    machine::Machine,
    shop::{Shop, deployment},
    source::End,
};
use crate::support::registry::Setup;

const CREATE: &[&str] = &["create", "--key", "shop.key", "-o", "shop.tar"];

#[test]
fn all_mistakes_of_a_spec_are_told_at_once() {
    let machine = Machine::new();
    machine.write(
        "bundle.yaml",
        "apiVersion: airgap-bundler/v1
kind: Bundel
metadata: {name: Shop_1, version: 1.0.0}
platforms: [linux]
imagse: [nginx]
registries:
  docker.io: {plainHttp: perhaps}
manifests:
  - {path: deploy/, kustomize: overlay/}
  - {url: https://example.com/install.yaml}
images:
  - docker.io/library/NGINX:1.27
  - {image: busybox:1.37, achive: box.tar}
files:
  - {path: feeds/, maxAge: soon}
",
    );
    let expected: &[(u32, u32, &str)] = &[
        (2, 7, "did you mean `Bundle`?"),
        (3, 18, "Shop_1"),
        (4, 13, "linux"),
        (5, 1, "did you mean `images`?"),
        (7, 26, "true or false"),
        (9, 5, "kustomize"),
        (10, 5, "sha256"),
        (12, 5, "NGINX"),
        (13, 27, "did you mean `archive`?"),
        (15, 28, "soon"),
    ];
    let text = machine.ends(2, &["create"]);
    for (line, column, what) in expected {
        text.says(&[&format!("bundle.yaml:{line}:{column}"), what]);
    }
    text.says(&["10 mistakes in bundle.yaml"]);
    assert_eq!(text.out, "");

    let error = machine.ends(2, &["create", "--output", "json"]).error();
    assert_eq!((&error["kind"], &error["exitCode"]), (&"usage".into(), &2.into()));
    let told = error["diagnostics"].as_array().unwrap();
    assert_eq!(told.len(), expected.len(), "{error:#}");
    for (one, (line, column, what)) in told.iter().zip(expected) {
        assert_eq!(one["at"], serde_json::json!({"file": "bundle.yaml", "line": line, "column": column}), "{one}");
        assert!(one.to_string().contains(what), "{one}");
        assert!(one["code"].is_string() && one["severity"] == "error", "{one}");
    }
}

#[test]
fn an_image_that_is_not_there_is_named_with_its_registry_and_who_wants_it() {
    let shop = Shop::new();
    shop.machine.write("deploy/gone.yaml", deployment("shop/gone:3"));
    let ended = shop.machine.ends(3, CREATE);
    ended.says(&["docker.io/shop/gone:3", &shop.source.host, "deploy/gone.yaml:8", "is not there"]);
    assert!(!shop.machine.has("shop.tar"));
    let error = shop.machine.ends(3, &[CREATE, &["-o", "json"]].concat()).error();
    assert_eq!((&error["kind"], &error["side"]), (&"not-found".into(), &"source".into()));

    // Several are all named.
    shop.machine.write("deploy/lost.yaml", deployment("lost:4"));
    shop.machine.ends(3, &["resolve"]).says(&["docker.io/shop/gone:3", "docker.io/library/lost:4"]);
}

#[test]
fn denied_credentials_are_told_without_showing_them() {
    let shop = Shop::over(Setup { login: Some(("robot", "right")), ..Setup::default() });
    shop.machine.ends(3, CREATE).says(&["docker.io/library/busybox:1.37", &shop.source.host, "denied", "credentials"]);
    shop.machine.login(&shop.source.host, ("robot", "n0t-the-password"));
    let ended = shop.machine.ends(3, CREATE);
    ended.says(&["denied", "robot"]);
    assert!(!ended.err.contains("n0t-the-password"), "{}", ended.err);
    shop.machine.login(&shop.source.host, ("robot", "right"));
    shop.machine.ok(CREATE);
}

#[test]
fn a_registry_that_does_not_answer_is_unavailable() {
    let shop = Shop::new();
    // Nobody listens on a port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let spec = shop.machine.text("bundle.yaml").replace(&shop.source.host, &free.to_string());
    shop.machine.write("bundle.yaml", spec);
    let ended = shop.machine.ends(4, CREATE);
    ended.says(&["docker.io/library/busybox:1.37", &free.to_string(), "run the same command again"]);
}

#[test]
fn a_manifest_that_does_not_parse_stops_everything() {
    let shop = Shop::new();
    shop.machine.write("deploy/broken.yaml", "kind: Pod\nmetadata:\n  name: [a, b\nspec: {}\n");
    shop.machine.write("deploy/double.yaml", "apiVersion: v1\nkind: Pod\nspec:\n  containers: 7\n");
    let ended = shop.machine.ends(2, CREATE);
    ended.says(&["deploy/broken.yaml:4:", "deploy/double.yaml:4:"]);
    assert!(!shop.machine.has("shop.tar") && !shop.machine.has("bundle.lock"));
    // From another folder, too, the place is one that can be opened from there.
    shop.machine.write("else/where.txt", "");
    let ended = shop.machine.bundle(&["resolve", "../bundle.yaml"]).current_dir(shop.machine.path("else")).output();
    let ended = ended.unwrap();
    assert_eq!(ended.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("../deploy/broken.yaml:4:"));
}

#[test]
fn missing_inputs_are_told_with_the_line_that_wants_them() {
    let shop = Shop::new();
    shop.spec("manifests:\n  - {path: deplyo/}\nfiles:\n  - {path: motd.text, name: motd}\n");
    let ended = shop.machine.ends(3, CREATE);
    ended.says(&["manifests[0]", "deplyo", "bundle.yaml:7:5", "files[0]", "motd.text", "bundle.yaml:9:5"]);
    std::fs::create_dir(shop.machine.path("empty")).unwrap();
    shop.spec("manifests: [{path: empty/}]\n");
    shop.machine.ends(2, CREATE).says(&["no .yaml, .yml or .json file", "bundle.yaml:6:13"]);
    shop.machine.ends(3, &["create", "nothing.yaml"]).says(&["nothing.yaml"]);
}

#[test]
fn an_image_without_a_wanted_platform_says_what_it_offers() {
    let shop = Shop::new();
    let amd64 = shop.source.registry().get("/v2/shop/app/manifests/1").body;
    let digest = super::machine::digest(&amd64);
    let entry = |architecture: &str| {
        serde_json::json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": amd64.len(),
            "platform": {"os": "linux", "architecture": architecture}})
    };
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry("amd64"), entry("arm64")]});
    shop.source.registry().put_document("shop/app", "1", "application/vnd.oci.image.index.v1+json", &index);
    shop.spec("platforms: [linux/s390x]\nmanifests: [{path: deploy/}]\n");
    let ended = shop.machine.run(CREATE);
    assert_eq!(ended.code, Some(3), "{}", ended.err);
    ended.says(&["docker.io/shop/app:1", "linux/amd64", "linux/arm64", "linux/s390x"]);
    assert!(!shop.machine.has("shop.tar"));
}

#[test]
fn a_chart_and_a_key_that_are_not_there_are_told_in_one_run() {
    let shop = Shop::new();
    shop.spec("charts: [{name: redis, path: charts/redis}]\nverify: [{images: \"docker.io/*\", key: acme.pub}]\n");
    shop.machine.ends(3, CREATE).says(&["bundle.yaml:6:10", "charts/redis", "bundle.yaml:7:10", "acme.pub"]);
}

#[test]
fn a_guess_stops_until_somebody_decides() {
    let shop = Shop::new();
    let guessing = deployment("shop/app:1").replace(
        "image: \"shop/app:1\"",
        "image: \"shop/app:1\", args: [\"--runner=docker.io/shop/app:1\", \"--box=docker.io/library/busybox:1.37\"]",
    );
    shop.machine.write("deploy/app.yaml", guessing);
    shop.spec("manifests: [{path: deploy/}]\n");
    let ended = shop.machine.ends(7, &["resolve"]);
    ended.says(&["docker.io/library/busybox:1.37", "deploy/app.yaml:8", "discovery.accept", "discovery.ignore"]);
    shop.spec("manifests: [{path: deploy/}]\ndiscovery: {accept: [{image: \"*/busybox:*\"}]}\n");
    shop.machine.ok(&["resolve"]);
    let why = shop.machine.ok(&["why", "busybox"]).out;
    let way = "guess     manifests[0] \u{2192} deploy/app.yaml:8 \u{2192} Deployment app \u{2192} spec.template.spec.containers[0].args[1]";
    assert!(why.contains(way), "{why}");
    // An image that is wanted anyway is named with all its reasons.
    let why = shop.machine.ok(&["why", "shop/app"]).out;
    assert!(why.contains("schema    manifests[0]") && why.contains("guess     manifests[0]"), "{why}");
}

#[test]
fn a_lock_must_match_its_spec() {
    let shop = Shop::new();
    let locked = [CREATE, &["--locked"]].concat();
    shop.machine.ends(7, &locked).says(&["bundle.lock", "bundle resolve"]);
    shop.machine.ok(&["resolve"]);
    let lock = shop.machine.read("bundle.lock");
    // Lines that move change nothing.
    shop.machine.write("deploy/app.yaml", format!("# A comment.\n{}", deployment("shop/app:1")));
    shop.machine.ok(&locked);
    assert_eq!(shop.machine.read("bundle.lock"), lock, "--locked leaves the lock alone");
    shop.source.registry().put_image("shop/other", "2", &[b"other"]);
    shop.machine.write("deploy/app.yaml", deployment("shop/other:2"));
    let before = shop.machine.read("shop.tar");
    let ended = shop.machine.ends(1, &locked);
    ended.says(&["docker.io/shop/other:2 is new", "docker.io/shop/app:1 is gone"]);
    assert!(shop.machine.read("shop.tar") == before);
    assert_eq!(shop.machine.read("bundle.lock"), lock);
    shop.machine.ok(&["resolve"]);
    shop.machine.ok(&locked);
    // A file with other content is another bundle.
    shop.machine.write("motd.txt", "changed\n");
    shop.machine.ends(1, &locked).says(&["motd has other content"]);
    // A lock that was edited by hand is read as strictly as a spec.
    shop.machine.write("bundle.lock", shop.machine.text("bundle.lock").replace("digest:", "digset:"));
    shop.machine.ends(2, &locked).says(&["bundle.lock:"]);
}

#[test]
fn what_is_not_trusted_is_not_loaded() {
    let shop = Shop::new();
    let target = End::ours();
    shop.create("shop.tar");
    shop.machine.keys("stranger");
    let refused = shop.load("shop.tar", &target, &[]);
    assert_eq!(refused.code, Some(6));
    refused.says(&["--key"]);
    let refused = shop.load("shop.tar", &target, &["--key", "stranger.pub"]);
    assert_eq!(refused.code, Some(6), "{}", refused.err);
    assert_eq!(shop.machine.ends(6, &["verify", "shop.tar"]).out, "");

    // A changed inventory is not trusted; a changed blob is damaged.
    let mut bytes = shop.machine.read("shop.tar");
    let at = bytes.windows(8).position(|window| window == b"sequence").unwrap();
    bytes[at] ^= 1;
    shop.machine.write("inventory.tar", &bytes);
    bytes[at] ^= 1;
    let last = bytes.len() - 1024 - 512;
    bytes[last] ^= 1;
    shop.machine.write("blob.tar", &bytes);
    bytes[last] ^= 1;
    shop.machine.write("short.tar", &bytes[..bytes.len() - 512]);
    for (file, codes) in [("inventory.tar", &[5, 6][..]), ("blob.tar", &[5]), ("short.tar", &[5])] {
        let ended = shop.machine.run(&["verify", file, "--key", "shop.pub"]);
        assert!(codes.contains(&ended.code.unwrap()), "{file}: {:?} {}", ended.code, ended.err);
        let ended = shop.load(file, &target, &["--key", "shop.pub"]);
        assert!(codes.contains(&ended.code.unwrap()), "{file}: {:?} {}", ended.code, ended.err);
    }
    let tags = target.registry().get("/v2/docker.io/shop/app/tags/list");
    assert!(tags.status == 404 || tags.json()["tags"].as_array().is_none_or(Vec::is_empty), "{}", tags.text());
    shop.machine.ends(5, &["verify", "motd.txt", "--key", "shop.pub"]);
    shop.machine.ends(3, &["verify", "nothing.tar", "--key", "shop.pub"]).says(&["nothing.tar"]);
}

#[test]
fn an_unsigned_archive_needs_the_word_for_it() {
    let shop = Shop::new();
    let target = End::ours();
    let made = shop.machine.ok(&["create", "-o", "unsigned.tar"]);
    made.says(&["not signed", "--insecure-skip-verify"]);
    assert_eq!(shop.load("unsigned.tar", &target, &["--key", "shop.pub"]).code, Some(6));
    let loaded = shop.load("unsigned.tar", &target, &["--insecure-skip-verify"]);
    assert_eq!(loaded.code, Some(0), "{}", loaded.err);
    loaded.says(&["nothing says who made this archive"]);
    // Even so, every byte is compared.
    let mut bytes = shop.machine.read("unsigned.tar");
    let last = bytes.len() - 1024 - 512;
    bytes[last] ^= 1;
    shop.machine.write("damaged.tar", &bytes);
    assert_eq!(shop.load("damaged.tar", &End::ours(), &["--insecure-skip-verify"]).code, Some(5));
}

#[test]
fn an_older_archive_needs_a_reason() {
    let shop = Shop::new();
    let target = End::ours();
    let old = shop.create("old.tar")["sequence"].as_u64().unwrap();
    shop.machine.write("motd.txt", "news\n");
    let new = shop.create("new.tar")["sequence"].as_u64().unwrap();
    assert!(new > old);
    let key = ["--key", "shop.pub"];
    assert_eq!(shop.load("old.tar", &target, &key).code, Some(0));
    assert_eq!(shop.load("new.tar", &target, &key).code, Some(0));
    let refused = shop.load("old.tar", &target, &key);
    assert_eq!(refused.code, Some(6), "{}", refused.err);
    refused.says(&[&old.to_string(), &new.to_string()]);
    // The registry remembers when the machine does not, and the other way round.
    std::fs::rename(shop.machine.path("state"), shop.machine.path("elsewhere")).unwrap();
    assert_eq!(shop.load("old.tar", &target, &key).code, Some(6));
    std::fs::rename(shop.machine.path("elsewhere"), shop.machine.path("state")).unwrap();

    let allow = [&key[..], &["--allow-rollback"]].concat();
    assert_eq!(shop.load("old.tar", &target, &allow).code, Some(2), "a reason must be given");
    let loaded =
        shop.load("old.tar", &target, &[&allow[..], &["--reason", "the news are wrong", "-o", "json"]].concat());
    assert_eq!(loaded.code, Some(0), "{}", loaded.err);
    assert_eq!(loaded.json()["receipt"]["rollbackReason"], "the news are wrong");
    let receipt = target.registry().get("/v2/bundle-state/manifests/shop").json();
    let receipt = receipt["layers"][0]["digest"].as_str().unwrap().to_owned();
    let receipt = target.registry().get(&format!("/v2/bundle-state/blobs/{receipt}")).json();
    assert_eq!((&receipt["sequence"], &receipt["rollbackReason"]), (&old.into(), &"the news are wrong".into()));
}

#[test]
fn two_archives_under_one_number_are_refused() {
    let shop = Shop::new();
    let target = End::ours();
    let first = shop.create("first.tar")["sequence"].as_u64().unwrap();
    std::fs::remove_file(shop.machine.path("bundle.lock")).unwrap();
    shop.machine.write("motd.txt", "another truth\n");
    assert_eq!(shop.create("second.tar")["sequence"], first, "without a lock the number is the date");
    let key = ["--key", "shop.pub"];
    assert_eq!(shop.load("first.tar", &target, &key).code, Some(0));
    for flags in [&[][..], &["--allow-rollback", "--reason", "x"]] {
        let refused = shop.load("second.tar", &target, &[&key[..], flags].concat());
        assert_eq!(refused.code, Some(6), "{}", refused.err);
        refused.says(&["two archives under one number"]);
    }
}

#[test]
fn lines_that_move_do_not_make_a_second_truth() {
    let shop = Shop::new();
    let target = End::ours();
    shop.create("first.tar");
    shop.machine.write("deploy/app.yaml", format!("# A comment.\n{}", deployment("shop/app:1")));
    shop.create("second.tar");
    for archive in ["first.tar", "second.tar"] {
        let loaded = shop.load(archive, &target, &["--key", "shop.pub"]);
        assert_eq!(loaded.code, Some(0), "{archive}: {}", loaded.err);
    }
}

#[test]
fn flags_that_mean_nothing_are_refused_before_anything_is_done() {
    let shop = Shop::new();
    for wrong in [
        &["load", "shop.tar"][..],
        &["load", "shop.tar", "--to", "https://registry.lan", "--key", "shop.pub"],
        &["load", "shop.tar", "--to", "registry.lan", "--layout", "deep"],
        &["load", "shop.tar", "--to", "registry.lan", "--username", "me"],
        &["load", "shop.tar", "--to", "registry.lan", "--key", "shop.pub", "--insecure-skip-verify"],
        &["create", "--locked", "--update"],
        &["create", "-j", "0"],
        &["create", "--expires", "90d"],
        &["lood"],
    ] {
        shop.machine.ends(2, wrong);
    }
    shop.machine.run(&["lood"]).says(&["load"]);
    assert!(shop.source.registry().hits().iter().all(|hit| hit.method != "GET"), "nothing was asked for");
    shop.machine.ends(3, &["create", "--key", "nothing.key"]).says(&["nothing.key"]);
    shop.machine.write("wrong", "not the passphrase");
    let mut command = shop.machine.bundle(CREATE);
    let ended = command.env("BUNDLE_PASSWORD_FILE", shop.machine.path("wrong")).output().unwrap();
    assert_eq!(ended.status.code(), Some(3), "{}", String::from_utf8_lossy(&ended.stderr));
    shop.machine.ends(3, &["why", "nobody/knows"]);
    shop.machine.ends(2, &["keygen", "--output-key-prefix"]);
    let keep = shop.machine.read("shop.key");
    assert_ne!(shop.machine.run(&["keygen", "--output-key-prefix", "shop"]).code, Some(0));
    assert_eq!(shop.machine.read("shop.key"), keep, "a key is never overwritten");
}
