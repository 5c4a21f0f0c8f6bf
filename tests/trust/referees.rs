//! Stock cosign judges what is signed here: key files, the archive's signature, and images in a registry.
//!
//! `BUNDLE_REFEREES` names a folder with `cosign` and `crane`. Without it these tests say SKIPPED; with `CI=true` a missing
//! referee is a failure.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use airgap_bundler::{
    oci::{Descriptor, Digest, media_type},
    trust::{
        Passphrase, PublicKey, SignatureSet, SignedImage, SigningKey, SystemRandomness, bundle_referrer,
        signature_manifest, signature_tag, simple_layers, verify_blob, verify_bundle, verify_simple,
    },
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{BUNDLE_JSON, other, ours, sign};

/// Returns the path of a stock tool; says loudly when it is missing.
fn referee(name: &str) -> Option<PathBuf> {
    let path = env::var_os("BUNDLE_REFEREES").map(|folder| Path::new(&folder).join(name)).filter(|path| path.exists());
    if path.is_none() {
        assert_ne!(env::var("CI").as_deref(), Ok("true"), "{name} is missing: set BUNDLE_REFEREES to its folder");
        eprintln!("SKIPPED: no {name}; set BUNDLE_REFEREES to a folder that has it");
    }
    path
}

/// Runs cosign in a folder of its own.
struct Cosign {
    program: PathBuf,
    folder: TempDir,
}

impl Cosign {
    fn new() -> Option<Cosign> {
        let program = referee("cosign")?;
        Some(Cosign { program, folder: tempfile::tempdir().unwrap() })
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    fn run(&self, passphrase: &str, arguments: &[&str]) -> Output {
        Command::new(&self.program)
            .args(arguments)
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path())
            .env("COSIGN_PASSWORD", passphrase)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    #[track_caller]
    fn accepts(&self, arguments: &[&str]) -> String {
        let output = self.run("", arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn refuses(&self, arguments: &[&str], saying: &str) {
        let output = self.run("", arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(saying), "{arguments:?}: {said}");
    }
}

#[test]
fn key_files_go_both_ways() {
    let Some(cosign) = Cosign::new() else { return };
    for passphrase in ["", "with spaces and ü"] {
        let made = cosign.run(passphrase, &["generate-key-pair", "--output-key-prefix", "theirs"]);
        assert!(made.status.success());
        let key = SigningKey::open(&cosign.read("theirs.key"), &Passphrase::new(passphrase)).unwrap();
        assert_eq!(key.public().to_pem(), cosign.read("theirs.pub"));
        fs::remove_file(cosign.folder.path().join("theirs.key")).unwrap();
        fs::remove_file(cosign.folder.path().join("theirs.pub")).unwrap();

        let key = SigningKey::generate(&mut SystemRandomness).unwrap();
        cosign.write("ours.key", key.seal(&Passphrase::new(passphrase), &mut SystemRandomness).unwrap());
        let shown = cosign.run(passphrase, &["public-key", "--key", "ours.key"]);
        assert_eq!(String::from_utf8_lossy(&shown.stdout), key.public().to_pem());
        assert!(!cosign.run("wrong", &["public-key", "--key", "ours.key"]).status.success());

        cosign.write("file", b"content");
        let signed = cosign.run(
            passphrase,
            &[
                "sign-blob",
                "--key",
                "ours.key",
                "--bundle",
                "b",
                "--use-signing-config=false",
                "--tlog-upload=false",
                "-y",
                "file",
            ],
        );
        assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
        verify_blob(cosign.read("b").as_bytes(), key.public(), b"content").unwrap();
        assert!(verify_blob(cosign.read("b").as_bytes(), key.public(), b"other").is_err());
    }
}

#[test]
fn cosign_verifies_the_archive() {
    let Some(cosign) = Cosign::new() else { return };
    let key = ours();
    let files = sign(&[&key], BUNDLE_JSON, &super::images());
    cosign.write("cosign.pub", key.public().to_pem());
    cosign.write("other.pub", other().public().to_pem());
    cosign.write("bundle.json", BUNDLE_JSON);
    let mut changed = BUNDLE_JSON.to_vec();
    changed[3] ^= 1;
    cosign.write("changed.json", changed);
    cosign.write("message", &files[0].1);
    cosign.write("statement", &files[1].1);
    let blob = |key, file| ["verify-blob", "--key", key, "--bundle", "message", "--insecure-ignore-tlog", file];
    cosign.accepts(&blob("cosign.pub", "bundle.json"));
    cosign.refuses(&blob("cosign.pub", "changed.json"), "");
    cosign.refuses(&blob("other.pub", "bundle.json"), "");
    // The same bundle that covers the images covers the archive.
    let attestation = |key, file| {
        let kind = "https://sigstore.dev/cosign/sign/v1";
        [
            "verify-blob-attestation",
            "--key",
            key,
            "--bundle",
            "statement",
            "--insecure-ignore-tlog",
            "--type",
            kind,
            file,
        ]
    };
    cosign.accepts(&attestation("cosign.pub", "bundle.json"));
    cosign.refuses(&attestation("cosign.pub", "changed.json"), "");
    cosign.refuses(&attestation("other.pub", "bundle.json"), "");
}

/// A stock registry as a child process; it ends with the value.
struct Registry {
    child: Child,
    host: String,
}

impl Registry {
    fn start() -> Option<Registry> {
        let crane = referee("crane")?;
        let mut child = Command::new(crane)
            .args(["registry", "serve", "--address", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("serving on port") {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "the registry did not start");
        }
        let port = line.trim().rsplit(' ').next().unwrap().to_owned();
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Some(Registry { child, host: format!("127.0.0.1:{port}") })
    }

    /// Makes one request; returns status, headers and body.
    fn request(&self, method: &str, target: &str, kind: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.host).unwrap();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAccept: */*\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            self.host,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|at| at == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head, answer[end + 4..].to_vec())
    }

    fn put_blob(&self, content: &[u8]) -> Descriptor {
        let (status, head, _) = self.request("POST", "/v2/app/blobs/uploads/", "text/plain", b"");
        assert_eq!(status, 202);
        let location = head.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap();
        let descriptor = Descriptor::of("application/octet-stream", content);
        let target = format!("{location}?digest={}", descriptor.digest);
        let (status, ..) = self.request("PUT", &target, "application/octet-stream", content);
        assert_eq!(status, 201);
        descriptor
    }

    fn put_manifest(&self, name: &str, kind: &str, content: &[u8]) -> Descriptor {
        let (status, _, body) = self.request("PUT", &format!("/v2/app/manifests/{name}"), kind, content);
        assert_eq!(status, 201, "{}", String::from_utf8_lossy(&body));
        Descriptor::of(kind, content)
    }

    fn get(&self, target: &str) -> Option<Vec<u8>> {
        let (status, _, body) = self.request("GET", &format!("/v2/app/{target}"), "", b"");
        (status == 200).then_some(body)
    }

    /// Pushes an image of one layer under a tag.
    fn push_image(&self, tag: &str) -> Descriptor {
        let layer = self.put_blob(tag.as_bytes());
        let config =
            self.put_blob(format!("{{\"architecture\":\"amd64\",\"os\":\"linux\",\"x\":\"{tag}\"}}").as_bytes());
        let layer = Descriptor::new(media_type::LAYER, layer.digest, layer.size);
        let config = Descriptor::new(media_type::CONFIG, config.digest, config.size);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config, "layers": [layer]
        });
        self.put_manifest(tag, media_type::MANIFEST, manifest.to_string().as_bytes())
    }

    /// Attaches the older form, keeping what is there.
    fn push_simple(&self, set: &SignatureSet, digest: &Digest) {
        let tag = signature_tag(digest);
        let existing = self.get(&format!("manifests/{tag}"));
        let made = signature_manifest(existing.as_deref(), &set.of_image(digest).unwrap().simple).unwrap();
        for (descriptor, content) in &made.blobs {
            assert_eq!(self.put_blob(content).digest, descriptor.digest);
        }
        let (descriptor, manifest) = &made.manifest;
        assert_eq!(self.put_manifest(&tag, descriptor.media_type.as_str(), manifest), *descriptor);
    }

    /// Attaches the newer form, with the tag that stands in for a referrers list when the registry has none.
    fn push_bundle(&self, set: &SignatureSet, subject: &Descriptor, created: Option<&str>) {
        let made = bundle_referrer(subject, &set.of_image(&subject.digest).unwrap().bundle, created);
        for (_, content) in &made.blobs {
            self.put_blob(content);
        }
        let (descriptor, manifest) = &made.manifest;
        self.put_manifest(&descriptor.digest.to_string(), descriptor.media_type.as_str(), manifest);
        if self.get(&format!("referrers/{}", subject.digest)).is_some() {
            return;
        }
        let tag = format!("sha256-{}", subject.digest.hex());
        let mut index: Value = self.get(&format!("manifests/{tag}")).map_or_else(
            || json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": []}),
            |bytes| serde_json::from_slice(&bytes).unwrap(),
        );
        index["manifests"].as_array_mut().unwrap().push(json!(descriptor));
        self.put_manifest(&tag, media_type::INDEX, index.to_string().as_bytes());
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything that the tests of images need.
struct Bench {
    cosign: Cosign,
    registry: Registry,
    key: SigningKey,
    foreign: SigningKey,
}

impl Bench {
    fn new() -> Option<Bench> {
        let (cosign, registry) = (Cosign::new()?, Registry::start()?);
        let (key, foreign) = (other(), SigningKey::generate(&mut SystemRandomness).unwrap());
        cosign.write("cosign.pub", key.public().to_pem());
        Some(Bench { cosign, registry, key, foreign })
    }

    fn sign(&self, key: &SigningKey, images: &[&Descriptor]) -> SignatureSet {
        let images = [SignedImage {
            identities: vec!["docker.io/library/app:1".parse().unwrap()],
            digests: images.iter().map(|image| image.digest).collect(),
        }];
        SignatureSet::sign(key, BUNDLE_JSON, &images).unwrap()
    }

    fn verify(&self, image: &Descriptor) -> [String; 6] {
        [
            "verify".to_owned(),
            "--key=cosign.pub".to_owned(),
            "--insecure-ignore-tlog".to_owned(),
            "--allow-http-registry".to_owned(),
            "--output=json".to_owned(),
            format!("{}/app@{}", self.registry.host, image.digest),
        ]
    }

    #[track_caller]
    fn accepts(&self, image: &Descriptor) {
        self.cosign.accepts(&self.verify(image).each_ref().map(String::as_str));
    }

    #[track_caller]
    fn refuses(&self, image: &Descriptor, saying: &str) {
        self.cosign.refuses(&self.verify(image).each_ref().map(String::as_str), saying);
    }
}

#[test]
fn cosign_verifies_images_by_either_form() {
    let Some(bench) = Bench::new() else { return };
    let registry = &bench.registry;
    let (one, two, three) = (registry.push_image("one"), registry.push_image("two"), registry.push_image("three"));
    let set = bench.sign(&bench.key, &[&one, &two, &three]);
    bench.refuses(&one, "no signatures found");
    registry.push_simple(&set, &one.digest);
    bench.accepts(&one);
    bench.refuses(&two, "no signatures found");
    registry.push_bundle(&set, &two, Some("1970-01-01T00:00:00Z"));
    bench.accepts(&two);
    // The creation time may be left out.
    registry.push_bundle(&set, &three, None);
    bench.accepts(&three);
}

#[test]
fn cosign_verifies_images_that_others_signed_too() {
    let Some(bench) = Bench::new() else { return };
    let registry = &bench.registry;
    let image = registry.push_image("one");
    let (ours, theirs) = (bench.sign(&bench.key, &[&image]), bench.sign(&bench.foreign, &[&image]));
    registry.push_simple(&theirs, &image.digest);
    bench.refuses(&image, "");
    // Ours joins theirs in one manifest.
    registry.push_simple(&ours, &image.digest);
    bench.accepts(&image);
    let merged = registry.get(&format!("manifests/{}", signature_tag(&image.digest))).unwrap();
    assert_eq!(simple_layers(&merged).unwrap().len(), 2);
    // A bundle of theirs hides the older form from cosign 3, which is why both forms are pushed.
    registry.push_bundle(&theirs, &image, None);
    bench.refuses(&image, "no matching attestations");
    registry.push_bundle(&ours, &image, None);
    bench.accepts(&image);
    // A signature that is about another image does not help.
    let lonely = registry.push_image("two");
    let payload = ours.of_image(&image.digest).unwrap().simple;
    let made = signature_manifest(None, &payload).unwrap();
    made.blobs.iter().for_each(|(_, content)| drop(registry.put_blob(content)));
    registry.put_manifest(&signature_tag(&lonely.digest), media_type::MANIFEST, &made.manifest.1);
    bench.refuses(&lonely, "");
}

#[test]
fn cosign_verifies_an_index_and_each_of_its_children() {
    let Some(bench) = Bench::new() else { return };
    let registry = &bench.registry;
    let children = [registry.push_image("amd64"), registry.push_image("arm64")];
    let index = json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": children});
    let index = registry.put_manifest("multi", media_type::INDEX, index.to_string().as_bytes());
    let set = bench.sign(&bench.key, &[&index, &children[0], &children[1]]);
    registry.push_simple(&set, &index.digest);
    registry.push_bundle(&set, &index, None);
    bench.accepts(&index);
    bench.refuses(&children[0], "no signatures found");
    for child in &children {
        registry.push_simple(&set, &child.digest);
        registry.push_bundle(&set, child, None);
        bench.accepts(child);
    }
}

#[test]
fn cosign_verifies_images_of_every_statement() {
    let Some(bench) = Bench::new() else { return };
    let registry = &bench.registry;
    let image = registry.push_image("one");
    let mut digests: Vec<Digest> = (0..1500u32).map(|n| Digest::sha256(&n.to_be_bytes())).collect();
    digests.push(image.digest);
    let images = [SignedImage { identities: Vec::new(), digests }];
    let set = SignatureSet::sign(&bench.key, BUNDLE_JSON, &images).unwrap();
    registry.push_bundle(&set, &image, None);
    bench.accepts(&image);
}

#[test]
fn what_cosign_signed_verifies_here() {
    let Some(bench) = Bench::new() else { return };
    let (cosign, registry) = (&bench.cosign, &bench.registry);
    let made = cosign.run("pass", &["generate-key-pair", "--output-key-prefix", "upstream"]);
    assert!(made.status.success());
    let key = PublicKey::from_pem(&cosign.read("upstream.pub")).unwrap();
    let (image, elsewhere) = (registry.push_image("one"), Digest::sha256(b"else"));
    for form in ["--new-bundle-format=false", "--new-bundle-format=true"] {
        let target = format!("{}/app@{}", registry.host, image.digest);
        let signed = cosign.run(
            "pass",
            &[
                "sign",
                "--key=upstream.key",
                "--tlog-upload=false",
                "--use-signing-config=false",
                "-y",
                "--allow-http-registry",
                form,
                &target,
            ],
        );
        assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
    }
    let manifest = registry.get(&format!("manifests/{}", signature_tag(&image.digest))).unwrap();
    let layers = simple_layers(&manifest).unwrap();
    assert_eq!(layers.len(), 1);
    let payload = registry.get(&format!("blobs/{}", layers[0].0.digest)).unwrap();
    verify_simple(&payload, &layers[0].1, &key, &image.digest).unwrap();
    assert!(verify_simple(&payload, &layers[0].1, &key, &elsewhere).is_err());
    assert!(verify_simple(&payload, &layers[0].1, bench.key.public(), &image.digest).is_err());

    let index = registry
        .get(&format!("referrers/{}", image.digest))
        .or_else(|| registry.get(&format!("manifests/sha256-{}", image.digest.hex())))
        .unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let referrer = registry.get(&format!("manifests/{}", index["manifests"][0]["digest"].as_str().unwrap())).unwrap();
    let referrer: Value = serde_json::from_slice(&referrer).unwrap();
    let bundle = registry.get(&format!("blobs/{}", referrer["layers"][0]["digest"].as_str().unwrap())).unwrap();
    verify_bundle(&bundle, &key, &image.digest).unwrap();
    assert!(verify_bundle(&bundle, &key, &elsewhere).is_err());
    assert!(verify_bundle(&bundle, bench.key.public(), &image.digest).is_err());
    // What we add to upstream's signatures leaves them as they are.
    let ours = bench.sign(&bench.key, &[&image]);
    registry.push_simple(&ours, &image.digest);
    registry.push_bundle(&ours, &image, None);
    bench.accepts(&image);
    cosign.write("cosign.pub", key.to_pem());
    bench.accepts(&image);
}
