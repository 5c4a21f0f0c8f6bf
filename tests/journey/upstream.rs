//! `verify` in a spec: images must be signed by upstream's keys, as real cosign signs them.

use std::path::{Path, PathBuf};

use super::{machine::Machine, shop::Shop, source::End};
use crate::support::referees;

/// Neither transparency log nor signing service: there is no network.
const OFFLINE: &[&str] = &["--tlog-upload=false", "--use-signing-config=false", "--allow-http-registry", "--yes"];
const OLD: &str = "--new-bundle-format=false";
const NEW: &str = "--new-bundle-format=true";

/// A shop whose images cosign signs.
struct Signed {
    shop: Shop,
    cosign: PathBuf,
}

impl Signed {
    fn new() -> Option<Signed> {
        let cosign = referees::cosign()?;
        let shop = Shop::new();
        for key in ["acme", "stranger"] {
            shop.machine.tool(&cosign, &["generate-key-pair", "--output-key-prefix", key]);
        }
        let signed = Signed { shop, cosign };
        signed.spec("docker.io/shop/*", "acme.pub");
        Some(signed)
    }

    fn machine(&self) -> &Machine {
        &self.shop.machine
    }

    fn spec(&self, images: &str, key: &str) {
        self.shop.spec(&format!(
            "manifests: [{{path: deploy/}}]\nimages: [busybox:1.37]\nverify:\n  - {{images: \"{images}\", key: {key}}}\n"
        ));
    }

    fn sign(&self, key: &str, form: &str, name: &str) {
        let image = format!("{}/{name}@{}", self.shop.source.host, self.digest(name));
        let arguments = [&["sign", "--key", key], OFFLINE, &[form, &image]].concat();
        self.machine().tool(&self.cosign, &arguments);
    }

    fn digest(&self, name: &str) -> String {
        let tag = if name == "shop/app" { "1" } else { "1.37" };
        let found = self.shop.source.registry().get(&format!("/v2/{name}/manifests/{tag}"));
        super::machine::digest(found.body)
    }
}

#[test]
fn images_signed_in_either_form_pass_and_the_archive_says_so() {
    for (form, word) in [(OLD, "tag"), (NEW, "bundle")] {
        let Some(signed) = Signed::new() else { return };
        let machine = signed.machine();
        signed.sign("acme.key", form, "shop/app");
        machine.ok(&["resolve"]);
        assert!(machine.text("bundle.lock").contains("\"file\":\"acme.pub\""), "{}", machine.text("bundle.lock"));
        machine.ok(&["create", "--key", "shop.key", "-o", "shop.tar"]);
        machine.ok(&["create", "--locked", "--key", "shop.key", "-o", "locked.tar"]);
        assert!(machine.read("shop.tar") == machine.read("locked.tar"), "the same lock gives the same archive");
        let seen = machine.ok(&["inspect", "shop.tar", "-o", "json"]).json();
        let [busybox, app] = &seen["images"].as_array().unwrap()[..] else { panic!("{seen:#}") };
        assert_eq!((&app["verified"][0]["file"], &app["verified"][0]["form"]), (&"acme.pub".into(), &word.into()));
        assert!(busybox["verified"].is_null());
        let text = machine.ok(&["inspect", "shop.tar", "--why"]).out;
        assert!(text.contains("signed by acme.pub SHA256:"), "{text}");
        assert!(text.contains("1 of 2 has a signature of upstream that was checked: acme.pub"), "{text}");
        for place in ["bundle.yaml", "shop.tar"] {
            let told = machine.ok(&["why", "shop/app", place]).out;
            assert!(told.contains("verified  acme.pub SHA256:") && told.contains(&format!("({word})")), "{told}");
        }
        // It travels, and the enclave's own check agrees.
        let target = End::ours();
        machine.ok(&["load", "shop.tar", "--key", "shop.pub", "--to", &target.host]);
    }
}

#[test]
fn unsigned_images_and_those_of_others_are_all_named_at_once() {
    let Some(signed) = Signed::new() else { return };
    let machine = signed.machine();
    signed.spec("docker.io/*", "acme.pub");
    signed.sign("stranger.key", OLD, "shop/app");
    signed.sign("stranger.key", NEW, "shop/app");
    for command in [&["resolve"][..], &["create", "--key", "shop.key", "-o", "shop.tar"]] {
        let ended = machine.ends(6, command);
        ended.says(&[
            "docker.io/shop/app:1",
            "it has 2 signatures, none by acme.pub",
            "docker.io/library/busybox:1.37",
            "it is not signed, and verify[0] wants a signature by acme.pub",
            "2 mistakes",
        ]);
        assert!(!machine.has("bundle.lock") && !machine.has("shop.tar"));
    }
    // One more signature beside the foreign ones is enough.
    signed.sign("acme.key", NEW, "shop/app");
    signed.sign("acme.key", OLD, "library/busybox");
    machine.ok(&["resolve"]);
}

#[test]
fn a_lock_that_claims_a_signature_is_not_believed() {
    let Some(signed) = Signed::new() else { return };
    let machine = signed.machine();
    signed.sign("acme.key", OLD, "shop/app");
    machine.ok(&["resolve"]);
    // Upstream's signature is gone, or never was: a lock is a file like any other.
    signed.spec("docker.io/shop/*", "stranger.pub");
    machine.ends(6, &["create", "--locked", "--key", "shop.key", "-o", "shop.tar"]).says(&["none by stranger.pub"]);
    // Another key under the same name is another signer.
    machine.write("acme.pub", machine.read("stranger.pub"));
    signed.spec("docker.io/shop/*", "acme.pub");
    machine.ends(6, &["create", "--locked", "--key", "shop.key", "-o", "shop.tar"]);
    // A policy that came later than the lock needs a new lock.
    signed.shop.spec("manifests: [{path: deploy/}]\nimages: [busybox:1.37]\n");
    machine.ends(1, &["create", "--locked", "--key", "shop.key", "-o", "shop.tar"]).says(&["signed by other keys"]);
    assert!(!machine.has("shop.tar"));
}

#[test]
fn signatures_of_other_content_do_not_count() {
    let Some(signed) = Signed::new() else { return };
    let machine = signed.machine();
    let registry = signed.shop.source.registry();
    for form in [OLD, NEW] {
        signed.sign("acme.key", form, "shop/app");
    }
    let before = signed.digest("shop/app");
    registry.put_image("shop/app", "1", &[b"first layer", b"changed afterwards"]);
    let after = signed.digest("shop/app");
    machine.ends(6, &["resolve"]).says(&["it is not signed", &after]);
    // The genuine signature of other content, put beside the changed image.
    let tag = |digest: &str| format!("{}.sig", digest.replace(':', "-"));
    let genuine = registry.get(&format!("/v2/shop/app/manifests/{}", tag(&before))).body;
    let kind = "application/vnd.oci.image.manifest.v1+json";
    registry.put_manifest("shop/app", &tag(&after), kind, &genuine);
    machine.ends(6, &["resolve"]).says(&["none by acme.pub that counts", "about other content", &after]);
    // And one whose payload says the right thing, which nobody signed.
    let payload = format!(
        "{{\"critical\":{{\"identity\":{{\"docker-reference\":\"docker.io/shop/app\"}},\"image\":{{\"docker-manifest-digest\":\"{after}\"}},\
         \"type\":\"cosign container image signature\"}},\"optional\":null}}"
    );
    let blob = registry.put_blob("shop/app", "application/vnd.dev.cosign.simplesigning.v1+json", payload.as_bytes());
    let mut forged: serde_json::Value = serde_json::from_slice(&genuine).unwrap();
    forged["layers"][0]["digest"] = blob.digest.to_string().into();
    forged["layers"][0]["size"] = blob.size.into();
    registry.put_document("shop/app", &tag(&after), kind, &forged);
    machine.ends(6, &["resolve"]).says(&["none by acme.pub"]);
}

#[test]
fn a_registry_that_does_not_answer_is_no_unsigned_image() {
    let Some(signed) = Signed::new() else { return };
    let machine = signed.machine();
    signed.sign("acme.key", OLD, "shop/app");
    machine.ok(&["resolve"]);
    let spec = machine.text("bundle.yaml").replace(&signed.shop.source.host, "127.0.0.1:1");
    machine.write("bundle.yaml", spec);
    // Everything is pinned already, so that only the signatures are asked for.
    machine.ends(4, &["resolve", "--idle-timeout", "1"]).says(&["cannot tell who signed it"]);
}

#[test]
fn key_files_are_checked_with_everything_else() {
    let Some(signed) = Signed::new() else { return };
    let machine = signed.machine();
    signed.spec("docker.io/shop/*", "absent.pub");
    machine.ends(3, &["resolve"]).says(&["absent.pub", "verify[0]"]);
    signed.spec("docker.io/shop/*", "acme.key");
    machine.ends(2, &["resolve"]).says(&["acme.key", "private key"]);
    signed.spec("quay.io/nobody/*", "acme.pub");
    machine.ok(&["resolve"]).says(&["no image fits quay.io/nobody/*"]);
    // Several keys in a file: any of them, so that a key can be replaced.
    let both = machine.text("stranger.pub") + &machine.text("acme.pub");
    machine.write("both.pub", both);
    signed.spec("docker.io/shop/*", "both.pub");
    signed.sign("acme.key", OLD, "shop/app");
    machine.ok(&["resolve"]);
    // Keyless is refused by name.
    signed.shop.spec(
        "images: [busybox:1.37]\nverify:\n  - {images: \"*\", identity: me@example.com, issuer: https://example.com}\n",
    );
    machine.ends(2, &["resolve"]).says(&["identity", "keyless"]);
}

#[test]
fn every_kind_of_key_that_cosign_signs_with() {
    let Some(signed) = Signed::new() else { return };
    let machine = signed.machine();
    let openssl = Path::new("/usr/bin/openssl");
    if !openssl.exists() {
        println!("SKIPPED: there is no openssl to make keys with");
        return;
    }
    for (name, make) in [
        ("p256", &["ecparam", "-name", "prime256v1", "-genkey", "-noout"][..]),
        ("p384", &["ecparam", "-name", "secp384r1", "-genkey", "-noout"]),
        ("rsa", &["genrsa", "2048"]),
        ("ed", &["genpkey", "-algorithm", "ed25519"]),
    ] {
        let pem = machine.tool(openssl, make);
        machine.write("import.pem", pem);
        machine.tool(&signed.cosign, &["import-key-pair", "--key", "import.pem", "--output-key-prefix", name]);
        for (form, tag) in [(OLD, "old"), (NEW, "new")] {
            let repository = format!("shop/{name}-{tag}");
            let put = signed.shop.source.registry().put_image(&repository, "1", &[name.as_bytes(), tag.as_bytes()]);
            let image = format!("{}/{repository}@{}", signed.shop.source.host, put.digest);
            let key = format!("{name}.key");
            machine.tool(&signed.cosign, &[&["sign", "--key", &key], OFFLINE, &[form, &image]].concat());
            signed.shop.spec(&format!(
                "images: [\"{repository}:1\"]\nverify:\n  - {{images: \"docker.io/{repository}:*\", key: {name}.pub}}\n"
            ));
            let ended = machine.run(&["resolve"]);
            assert_eq!(ended.code, Some(0), "{name} {tag}: {}", ended.err);
            let others = if name == "p256" { "stranger.pub" } else { "p256.pub" };
            let spec = machine.text("bundle.yaml").replace(&format!("{name}.pub"), others);
            machine.write("bundle.yaml", spec);
            machine.ends(6, &["resolve"]);
        }
    }
}
