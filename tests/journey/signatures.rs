//! Stock cosign accepts the archive, and in the enclave every image, by our key and by upstream's.

use std::path::{Path, PathBuf};

use super::{
    machine::Machine,
    shop::Shop,
    source::{End, Shapes, Tools},
};
use crate::support::referees;

/// Neither transparency log nor signing service: there is no network.
const OFFLINE: &[&str] = &["--tlog-upload=false", "--use-signing-config=false", "--allow-http-registry", "--yes"];

/// What upstream signs with.
#[derive(Clone, Copy, PartialEq)]
enum Upstream {
    Tag,
    TagAndBundle,
}

struct Journey {
    cosign: PathBuf,
    tools: Tools,
    _connected: Machine,
    enclave: Machine,
    shapes: Shapes,
    target: End,
}

impl Journey {
    /// Signs upstream's images in the source, carries them over and loads them.
    fn run(cosign: PathBuf, tools: Tools, source: &End, target: End, upstream: Upstream) -> Journey {
        Journey::over(cosign, tools, source, target, upstream, "linux/amd64, linux/arm64", &[])
    }

    fn over(
        cosign: PathBuf,
        tools: Tools,
        source: &End,
        target: End,
        upstream: Upstream,
        platforms: &str,
        flags: &[&str],
    ) -> Journey {
        let (connected, enclave) = (Machine::new(), Machine::new());
        let shapes = Shapes::write(&connected);
        for shape in ["multi", "single"] {
            shapes.push(&connected, &tools, shape, source, &format!("hub/app/{shape}:1"));
        }
        connected.tool(&cosign, &["generate-key-pair", "--output-key-prefix", "upstream"]);
        let image = format!("{}/hub/app/multi@{}", source.host, shapes.digest("multi"));
        let sign = [&["sign", "--recursive", "--key", "upstream.key"], OFFLINE].concat();
        connected.tool(&cosign, &[&sign[..], &["--new-bundle-format=false", &image]].concat());
        if upstream == Upstream::TagAndBundle {
            connected.tool(&cosign, &[&sign[..], &[&image]].concat());
            connected.write("scan.json", r#"{"scanned": true}"#);
            let attest = ["attest", "--key", "upstream.key", "--type", "custom", "--predicate", "scan.json"];
            connected.tool(&cosign, &[&attest[..], OFFLINE, &["--new-bundle-format=false", &image]].concat());
        }
        connected.write(
            "bundle.yaml",
            format!(
                "apiVersion: airgap-bundler/v1\nkind: Bundle\nmetadata: {{name: signed, version: 1.0.0}}\n\
                 platforms: [{platforms}]\nregistries: {{docker.io: {{mirror: {}/hub}}}}\n\
                 images: [app/multi:1, app/single:1]\n",
                source.host
            ),
        );
        connected.keys("shop");
        connected.ok(&["create", "--key", "shop.key", "-o", "signed.tar"]);
        for name in ["signed.tar", "shop.pub", "upstream.pub"] {
            enclave.write(name, connected.read(name));
        }
        enclave.ok(&[&["load", "signed.tar", "--key", "shop.pub", "--to", &target.host], flags].concat());
        Journey { cosign, tools, _connected: connected, enclave, shapes, target }
    }

    fn verifies(&self, key: &str, flags: &[&str], image: &str) -> (bool, String) {
        self.cosign("verify", key, flags, image)
    }

    fn cosign(&self, command: &str, key: &str, flags: &[&str], image: &str) -> (bool, String) {
        let image = format!("{}/docker.io/app/{image}", self.target.host);
        let verify = [command, "--key", key, "--insecure-ignore-tlog", "--allow-http-registry"];
        let ended = self.enclave.try_tool(&self.cosign, &[&verify[..], flags, &[&image]].concat());
        (ended.code == Some(0), format!("cosign verify {flags:?} --key {key} {image}\n{}", ended.err))
    }

    #[track_caller]
    fn accepts(&self, key: &str, flags: &[&str], image: &str) {
        let (accepted, text) = self.verifies(key, flags, image);
        assert!(accepted, "{text}");
    }

    /// Returns the index and everything that it lists.
    fn parts(&self) -> Vec<String> {
        self.shapes.manifests("multi").into_iter().map(|(digest, _)| format!("multi@{digest}")).collect()
    }
}

/// Both old and new ways of cosign find our signature and upstream's, for the index and for each part of it.
fn both_keys_are_accepted(source: &End, target: End) {
    let (Some(cosign), Some(tools)) = (referees::cosign(), Tools::find()) else { return };
    let journey = Journey::run(cosign, tools, source, target, Upstream::TagAndBundle);
    journey.accepts("shop.pub", &[], "multi:1");
    journey.accepts("shop.pub", &[], "single:1");
    for part in journey.parts() {
        for key in ["shop.pub", "upstream.pub"] {
            journey.accepts(key, &[], &part);
            journey.accepts(key, &["--new-bundle-format=false"], &part);
        }
    }
    let attested = ["--type", "custom", "--new-bundle-format=false"];
    let (accepted, text) = journey.cosign("verify-attestation", "upstream.pub", &attested, "multi:1");
    assert!(accepted, "{text}");
    let (accepted, text) = journey.verifies("upstream.pub", &[], "single:1");
    assert!(!accepted, "upstream never signed it: {text}");
    let enclave = &journey.enclave;
    enclave.keys("stranger");
    let (accepted, text) = journey.verifies("stranger.pub", &[], "multi:1");
    assert!(!accepted, "{text}");

    // A second load finds every signature and adds none.
    let raw = |name: &str| journey.target.raw(enclave, &journey.tools.skopeo, name);
    let tag = format!("docker.io/app/multi:{}.sig", journey.shapes.digest("multi").replace(':', "-"));
    let before = raw(&tag);
    let again = enclave.ok(&["load", "signed.tar", "--key", "shop.pub", "--to", &journey.target.host, "-o", "json"]);
    assert_eq!(again.json()["pushedBlobs"], 0);
    assert!(raw(&tag) == before);
    let layers = serde_json::from_slice::<serde_json::Value>(&before).unwrap()["layers"].as_array().unwrap().len();
    assert_eq!(layers, 2, "one signature of upstream, one of ours");
}

#[test]
fn cosign_accepts_both_keys_in_a_registry_without_referrers() {
    let (source, Some(target)) = (End::ours(), End::stock()) else { return };
    both_keys_are_accepted(&source, target);
}

#[test]
fn cosign_accepts_both_keys_in_a_registry_with_referrers() {
    let (Some(source), target) = (End::stock(), End::ours()) else { return };
    both_keys_are_accepted(&source, target);
}

#[test]
fn a_signature_of_upstream_in_a_tag_alone_is_kept() {
    let (Some(cosign), Some(tools)) = (referees::cosign(), Tools::find()) else { return };
    let (source, target) = (End::ours(), End::ours());
    let journey = Journey::run(cosign, tools, &source, target, Upstream::Tag);
    for part in journey.parts() {
        journey.accepts("shop.pub", &[], &part);
        // cosign 3 looks at tags only when an image has no bundle at all, and ours is one.
        journey.accepts("upstream.pub", &["--new-bundle-format=false"], &part);
    }
}

#[test]
fn a_derived_index_keeps_what_upstream_signed_of_its_parts() {
    let (Some(cosign), Some(tools)) = (referees::cosign(), Tools::find()) else { return };
    let (source, Some(target)) = (End::ours(), End::stock()) else { return };
    let flags = &["--derive-index"];
    let journey = Journey::over(cosign, tools, &source, target, Upstream::TagAndBundle, "linux/arm64", flags);
    journey.accepts("shop.pub", &[], "multi:1");
    let manifests = journey.shapes.manifests("multi");
    let arm64 = format!("multi@{}", manifests[2].0);
    for key in ["shop.pub", "upstream.pub"] {
        journey.accepts(key, &[], &arm64);
        journey.accepts(key, &["--new-bundle-format=false"], &arm64);
    }
    // Upstream never saw the index that stands for its own.
    let (accepted, text) = journey.verifies("upstream.pub", &[], "multi:1");
    assert!(!accepted, "{text}");
}

#[test]
fn two_people_sign_and_cosign_accepts_each() {
    let Some(cosign) = referees::cosign() else { return };
    let shop = Shop::new();
    shop.machine.keys("alice");
    shop.machine.keys("bob");
    shop.machine.ok(&["create", "--key", "alice.key", "--key", "bob.key", "-o", "both.tar"]);
    let both = ["--key", "alice.pub", "--key", "bob.pub", "--threshold", "2"];
    shop.machine.ok(&[&["verify", "both.tar"], &both[..]].concat());
    shop.create("one.tar");
    let target = End::stock().unwrap_or_else(End::ours);
    // The same key given twice is one key, and one of two is not enough.
    assert_ne!(
        shop.load("both.tar", &target, &["--key", "bob.pub", "--key", "bob.pub", "--threshold", "2"]).code,
        Some(0)
    );
    let mixed = ["--key", "alice.pub", "--key", "shop.pub", "--threshold", "2"];
    assert_eq!(shop.load("one.tar", &target, &mixed).code, Some(6));
    let loaded = shop.load("both.tar", &target, &both);
    assert_eq!(loaded.code, Some(0), "{}", loaded.err);
    let image = format!("{}/docker.io/shop/app:1", target.host);
    for (key, accepted) in [("alice.pub", true), ("bob.pub", true), ("shop.pub", false)] {
        for format in ["--new-bundle-format=true", "--new-bundle-format=false"] {
            let verify = ["verify", "--key", key, "--insecure-ignore-tlog", "--allow-http-registry", format, &image];
            let ended = shop.machine.try_tool(&cosign, &verify);
            assert_eq!(ended.code == Some(0), accepted, "{key} {format}: {}", ended.err);
        }
    }
}

#[test]
fn cosign_accepts_the_archive() {
    let Some(cosign) = referees::cosign() else { return };
    let machine = Machine::new();
    machine.write("motd", "welcome\n");
    machine.write(
        "bundle.yaml",
        "apiVersion: airgap-bundler/v1\nkind: Bundle\nmetadata: {name: files, version: 1.0.0}\nfiles: [{path: motd, name: motd}]\n",
    );
    machine.keys("shop");
    machine.keys("stranger");
    machine.ok(&["create", "--key", "shop.key"]);
    // As the guide says, with nothing but tar and cosign.
    let archive = "files-1.0.0.bundle.tar";
    machine.tool(Path::new("tar"), &["xf", archive, "bundle.json", "bundle.json.sigstore.json"]);
    let verify = |key: &str, file: &str| {
        let arguments =
            ["verify-blob", "--key", key, "--bundle", "bundle.json.sigstore.json", "--insecure-ignore-tlog", file];
        machine.try_tool(&cosign, &arguments)
    };
    let ended = verify("shop.pub", "bundle.json");
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_ne!(verify("stranger.pub", "bundle.json").code, Some(0));
    machine.write("changed.json", machine.text("bundle.json").replace("1.0.0", "1.0.1"));
    assert_ne!(verify("shop.pub", "changed.json").code, Some(0));
    machine.ok(&["verify", archive, "--key", "shop.pub"]);
    machine.ends(6, &["verify", archive, "--key", "stranger.pub"]);
}
