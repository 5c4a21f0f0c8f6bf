//! `inspect`, `verify`, `serve` and `keygen` through the real program.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::Arc,
};

use airgap_bundler::{
    archive::{Draft, Plan, PlannedAttachment, PlannedFile, PlannedImage, Role, Time, Writer},
    event::{Phase, Silent},
    oci::{Descriptor, Digest, Platform, media_type},
    store::{self, Graph, Memory, Slots, copy, walk},
    trust::{SignatureSet, SigningKey, SystemRandomness, signature_manifest, signature_tag},
};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::support::{referees, wire};

/// A folder with an archive, the key that signed it, and another key.
struct Place {
    folder: tempfile::TempDir,
    web: Descriptor,
    tool: Descriptor,
    amd: Descriptor,
}

const ARCHIVE: &str = "demo-1.0.0.bundle.tar";

fn layer(seed: u8, kilobytes: usize) -> Bytes {
    let noise = (0..kilobytes * 16)
        .flat_map(|block| Digest::sha256(&[&[seed][..], &block.to_be_bytes()].concat()).hex().into_bytes());
    noise.collect::<Vec<u8>>().into()
}

fn image(memory: &Memory, architecture: &str, layers: &[Bytes]) -> Descriptor {
    let config = json!({
        "architecture": architecture, "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|layer| Digest::sha256(layer)).collect::<Vec<_>>()},
    });
    let config = memory.add(media_type::CONFIG, config.to_string());
    let layers: Vec<Descriptor> = layers.iter().map(|layer| memory.add(media_type::LAYER, layer.clone())).collect();
    let manifest = json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config, "layers": layers});
    memory.add(media_type::MANIFEST, manifest.to_string())
}

fn index(memory: &Memory, entries: &[(&Descriptor, &str)]) -> Descriptor {
    let entries: Vec<Descriptor> = entries
        .iter()
        .map(|(entry, platform)| Descriptor { platform: Some(platform.parse().unwrap()), ..(*entry).clone() })
        .collect();
    let index = json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": entries});
    memory.add(media_type::INDEX, index.to_string())
}

impl Place {
    /// Two images that share a layer, one of them sparse with an index derived from it and a signature of upstream's,
    /// and two files; signed.
    async fn new() -> Place {
        let memory = Memory::new();
        let base = layer(1, 64);
        let amd = image(&memory, "amd64", &[base.clone(), layer(2, 16)]);
        let arm = image(&memory, "arm64", &[layer(3, 64)]);
        let web = index(&memory, &[(&amd, "linux/amd64"), (&arm, "linux/arm64")]);
        let derived = index(&memory, &[(&amd, "linux/amd64")]);
        let tool = image(&memory, "amd64", &[base, layer(4, 4)]);
        let upstream = SigningKey::generate(&mut SystemRandomness).unwrap();
        let signed = airgap_bundler::trust::SignedImage {
            identities: vec!["docker.io/library/nginx:1.27".parse().unwrap()],
            digests: vec![web.digest],
        };
        let simple = SignatureSet::sign(&upstream, b"", &[signed]).unwrap().of_image(&web.digest).unwrap().simple;
        let signatures = signature_manifest(None, &simple).unwrap();
        for (descriptor, bytes) in signatures.blobs.into_iter().chain([signatures.manifest.clone()]) {
            memory.set(descriptor.digest, bytes);
        }
        let attached = signatures.manifest.0;
        let roots = [web.clone(), derived.clone(), tool.clone(), attached.clone()];
        let linux: Platform = "linux/amd64".parse().unwrap();
        let graph = walk(&memory, &roots, &store::Policy { platforms: vec![linux.clone()] }).await.unwrap();
        let draft = draft(&graph, linux, &web, &derived, &tool, &attached);

        let key = SigningKey::generate(&mut SystemRandomness).unwrap();
        let other = SigningKey::generate(&mut SystemRandomness).unwrap();
        let set = SignatureSet::sign(&key, draft.bundle_json(), &draft.inventory().signed_images()).unwrap();
        let files = SignatureSet::write(&[set]).unwrap();
        let layout = draft.seal(files.into_iter().map(|(path, bytes)| (path.to_string(), bytes)).collect()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("bundle.pub"), key.public().to_pem()).unwrap();
        fs::write(folder.path().join("other.pub"), other.public().to_pem()).unwrap();
        let slots = Slots::new(2);
        let writer = Writer::open(&folder.path().join(ARCHIVE), layout, &slots, Arc::new(Silent)).unwrap();
        let leaves = writer.layout().leaves();
        copy(&memory, &writer, &leaves, &slots, &Silent, Phase::Pull).await.unwrap();
        writer.finish().await.unwrap();
        Place { folder, web, tool, amd }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        command(self.path()).args(arguments).output().unwrap()
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that must fail with this code; returns what it wrote to stdout and stderr.
    #[track_caller]
    fn fails(&self, code: i32, arguments: &[&str]) -> (String, String) {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
        (String::from_utf8_lossy(&output.stdout).into_owned(), stderr(&output))
    }

    /// Flips a bit of a blob; returns its name in the archive.
    fn damage(&self, digest: &Digest) -> String {
        let path = self.path().join(ARCHIVE);
        let mut bytes = fs::read(&path).unwrap();
        let name = format!("blobs/sha256/{}", digest.hex());
        // The inventory names it first, its own header last.
        let at = bytes.windows(name.len()).rposition(|window| window == name.as_bytes()).unwrap();
        bytes[at + 512 + 3] ^= 1;
        fs::write(&path, bytes).unwrap();
        name
    }
}

fn draft(
    graph: &Graph,
    linux: Platform,
    web: &Descriptor,
    derived: &Descriptor,
    tool: &Descriptor,
    attached: &Descriptor,
) -> Draft {
    let planned = |references: &[&str], root: &Descriptor, because: Value| PlannedImage {
        references: references.iter().map(|text| text.parse().unwrap()).collect(),
        root: root.digest,
        graph,
        platform: None,
        derived_from: None,
        verified: Vec::new(),
        attachments: Vec::new(),
        because,
    };
    let reason = |written: &str, line: u32| {
        json!({
            "written": written, "confidence": "schema",
            "provenance": [
                {"entry": "manifests[0]"}, {"file": "web.yaml", "line": line},
                {"object": "Deployment.apps", "namespace": "web", "name": "front"}, {"field": "spec.image"},
            ],
        })
    };
    let mut first = planned(
        &["nginx:1.27", "quay.io/copies/nginx:stable"],
        web,
        json!([reason("nginx:1.27", 12), reason("nginx:1.27", 40)]),
    );
    first.attachments.push(PlannedAttachment {
        subject: web.digest,
        root: attached.digest,
        graph,
        tag: signature_tag(&web.digest).parse().ok(),
    });
    let mut second = planned(&[&format!("nginx@{}", derived.digest)], derived, json!([]));
    second.derived_from = Some(web.digest);
    let mut third = planned(&["quay.io/demo/tool:v1"], tool, json!([]));
    third.platform = Some(linux.clone());
    let file = |path: &str, content: &'static str| PlannedFile {
        path: path.parse().unwrap(),
        digest: Digest::sha256(content.as_bytes()),
        size: content.len() as u64,
        role: Role::File,
        content: Some(Bytes::from_static(content.as_bytes())),
        because: json!(["files[0]"]),
    };
    Draft::new(Plan {
        name: "demo".into(),
        version: "1.0.0".into(),
        sequence: 7,
        created: Time::from_seconds(0).unwrap(),
        tool: "bundle test".into(),
        platforms: vec![linux],
        images: vec![first, second, third],
        files: vec![file("dashboards/a.json", "{}\n"), file("dashboards/b/c.json", "[1]\n")],
        ..Plan::default()
    })
    .unwrap()
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bundle"));
    command.current_dir(folder).env("HOME", folder).stdin(Stdio::null());
    for name in ["COSIGN_PASSWORD", "BUNDLE_PASSWORD_FILE", "CI", "COLUMNS"] {
        command.env_remove(name);
    }
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inspect_shows_images_files_sizes_and_reasons() {
    let place = Place::new().await;
    let text = place.ok(&["inspect", ARCHIVE]);
    assert!(text.starts_with("demo 1.0.0, sequence 7, by bundle test\nnot verified: no key was given"), "{text}");
    let row =
        |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{text}")).to_owned();
    let web = row("docker.io/library/nginx:1.27");
    assert!(
        web.contains("linux/amd64 (1 left out)") && web.contains(&place.web.digest.short()) && web.ends_with(" 2"),
        "{web}"
    );
    assert!(row("quay.io/copies/nginx:stable").len() < 40, "a further name has a row of its own");
    assert!(row("quay.io/demo/tool:v1").contains("65.5 kB"), "the layer that both need");
    assert!(!text.contains("nginx@sha256"), "a derived index is no image to people\n{text}");
    assert!(row("dashboards/b/c.json").contains("4 B"));
    assert!(text.contains("2 images: ") && text.contains("65.5 kB of them shared and counted once"), "{text}");
    assert!(text.contains("2 files: 7 B"), "{text}");

    let text = place.ok(&["inspect", ARCHIVE, "--why", "--key", "bundle.pub"]);
    assert!(text.contains("\nsigned by SHA256:") && !text.contains("not verified"), "{text}");
    assert!(
        text.contains(
            "  manifests[0] → web.yaml:12 → Deployment web/front → spec.image (schema, written \"nginx:1.27\")\n"
        ),
        "{text}"
    );

    let names = place.ok(&["inspect", ARCHIVE, "--images"]);
    assert_eq!(names, "docker.io/library/nginx:1.27\nquay.io/copies/nginx:stable\nquay.io/demo/tool:v1\n");
    place.fails(6, &["inspect", ARCHIVE, "--key", "other.pub"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inspect_gives_programs_everything() {
    let place = Place::new().await;
    let shown: Value = serde_json::from_str(&place.ok(&["inspect", ARCHIVE, "-o", "json"])).unwrap();
    assert_eq!((&shown["verified"], &shown["signers"]), (&json!(false), &json!([])));
    let archive_size = fs::metadata(place.path().join(ARCHIVE)).unwrap().len();
    assert_eq!(shown["archiveSize"], json!(archive_size));
    let entries = shown["entries"].as_array().unwrap();
    let size = |wanted: &dyn Fn(&Value) -> bool| -> u64 {
        entries.iter().filter(|entry| wanted(entry)).map(|entry| entry["size"].as_u64().unwrap()).sum()
    };
    let needed = size(&|entry| entry["images"].is_array());
    assert_eq!(shown["totals"]["imageBytes"], json!(needed));
    assert_eq!(shown["totals"]["sharedBytes"], json!(64 << 10), "the derived index shares nothing with its original");
    assert_eq!(shown["totals"]["fileBytes"], json!(7));
    let image = |first: &str| {
        let images = shown["images"].as_array().unwrap();
        let at = images.iter().position(|image| image["references"][0].as_str().unwrap().starts_with(first)).unwrap();
        (at, &images[at])
    };
    let ((at, web), (_, tool)) = (image("docker.io/library/nginx:"), image("quay.io/demo/tool"));
    assert_eq!(
        web["size"],
        json!(size(&|entry| entry["images"].as_array().is_some_and(|users| users.contains(&json!(at)))))
    );
    assert_eq!((&web["shared"], &tool["shared"]), (&json!(64 << 10), &json!(64 << 10)));
    assert_eq!(web["because"].as_array().unwrap().len(), 2);
    assert_eq!(image("docker.io/library/nginx@").1["derivedFrom"], json!(place.web.digest.to_string()));
    let verified: Value =
        serde_json::from_str(&place.ok(&["inspect", ARCHIVE, "-o", "json", "--key", "bundle.pub"])).unwrap();
    assert_eq!(verified["verified"], json!(true));
    assert!(verified["signers"][0]["fingerprint"].as_str().unwrap().starts_with("SHA256:"));
    let yaml = place.ok(&["inspect", ARCHIVE, "-o", "yaml"]);
    assert!(yaml.contains("verified: false"), "{yaml}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_tells_trust_from_damage() {
    let place = Place::new().await;
    let text = place.ok(&["verify", ARCHIVE, "--key", "bundle.pub"]);
    assert!(text.contains("demo 1.0.0, sequence 7") && text.contains("SHA256:") && text.contains("intact: "), "{text}");
    let (out, err) = place.fails(6, &["verify", ARCHIVE]);
    assert!(out.is_empty() && err.contains("--key FILE"), "{err}");
    place.fails(6, &["verify", ARCHIVE, "--key", "other.pub"]);
    place.fails(6, &["verify", ARCHIVE, "--key", "bundle.pub", "--key", "other.pub", "--threshold", "2"]);
    place.fails(2, &["verify", ARCHIVE, "--key", "bundle.pub", "--insecure-skip-verify"]);
    let skipped: Value =
        serde_json::from_str(&place.ok(&["verify", ARCHIVE, "--insecure-skip-verify", "-o", "json"])).unwrap();
    assert_eq!((&skipped["verified"], &skipped["intact"]), (&json!(false), &json!(true)));

    let damaged = [place.damage(&Digest::sha256(&layer(1, 64))), place.damage(&place.tool.digest)];
    let (out, err) = place.fails(5, &["verify", ARCHIVE, "--key", "bundle.pub"]);
    assert!(damaged.iter().all(|name| out.contains(name)), "{out}");
    assert!(out.contains("docker.io/library/nginx:1.27") && out.contains("DAMAGED"), "{out}");
    assert!(err.contains("and 1 more"), "{err}");
    let (out, err) = place.fails(5, &["verify", ARCHIVE, "--key", "bundle.pub", "-o", "json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&report["verified"], &report["intact"]), (&json!(true), &json!(false)));
    let named: Vec<&str> =
        report["damaged"].as_array().unwrap().iter().map(|one| one["entry"].as_str().unwrap()).collect();
    let mut expected = damaged.each_ref().map(String::as_str);
    expected.sort_unstable();
    assert_eq!(named, expected);
    let error: Value = serde_json::from_str(err.lines().last().unwrap()).unwrap();
    assert_eq!(error["error"]["exitCode"], json!(5));

    let path = place.path().join(ARCHIVE);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 2000]).unwrap();
    for arguments in [&["verify", ARCHIVE, "--key", "bundle.pub"][..], &["inspect", ARCHIVE]] {
        place.fails(5, arguments);
    }
    place.fails(3, &["verify", "absent.tar", "--key", "bundle.pub"]);
    place.fails(5, &["verify", "bundle.pub", "--key", "bundle.pub"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_counts_every_byte_once() {
    let place = Place::new().await;
    let output = place.run(&["verify", ARCHIVE, "--key", "bundle.pub", "--progress", "json"]);
    let text = stderr(&output);
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let sum = |name: &str| -> u64 {
        events.iter().filter(|event| event["event"] == name).map(|event| event["bytes"].as_u64().unwrap()).sum()
    };
    assert!(sum("planned") > 0 && sum("planned") == sum("moved") && sum("moved") == sum("done"), "{text}");
    assert!(events.iter().all(|event| event.get("phase").is_none_or(|phase| phase == "verify")), "{text}");
    assert!(place.run(&["verify", ARCHIVE, "--key", "bundle.pub", "-q"]).stderr.is_empty());
}

#[test]
fn keygen_makes_keys_that_cosign_reads_and_overwrites_none() {
    let folder = tempfile::tempdir().unwrap();
    let keygen = |prefix: &str| {
        let mut command = command(folder.path());
        command.args(["keygen", "--output-key-prefix", prefix, "-o", "json"]);
        command
    };
    let refused = keygen("a").output().unwrap();
    assert_eq!(refused.status.code(), Some(3));
    assert!(stderr(&refused).contains("COSIGN_PASSWORD") && !folder.path().join("a.key").exists());
    fs::write(folder.path().join("passphrase"), "secret\r\n").unwrap();
    let made = keygen("a").env("BUNDLE_PASSWORD_FILE", "passphrase").output().unwrap();
    assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!(made["privateKey"], "a.key");
    let before = fs::read(folder.path().join("a.key")).unwrap();
    let again = keygen("a").env("COSIGN_PASSWORD", "other").output().unwrap();
    assert_eq!(again.status.code(), Some(2));
    assert!(stderr(&again).contains("a.key is there already"));
    assert_eq!(fs::read(folder.path().join("a.key")).unwrap(), before);
    let Some(cosign) = referees::cosign() else { return };
    let mut shown = referees::command(&cosign, folder.path());
    let shown = shown.args(["public-key", "--key", "a.key"]).env("COSIGN_PASSWORD", "secret").output().unwrap();
    assert_eq!(shown.stdout, fs::read(folder.path().join("a.pub")).unwrap(), "{}", stderr(&shown));
}

/// A running `bundle serve`; killed when dropped.
struct Served {
    child: Child,
    address: SocketAddr,
    told: Value,
}

impl Served {
    fn start(folder: &Path, arguments: &[&str], input: &str) -> Served {
        let mut child = command(folder)
            .args(["serve", "--listen", "127.0.0.1:0", "-o", "json"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let mut text = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        while !text.ends_with("}\n") || text.ends_with("  }\n") {
            assert_ne!(lines.read_line(&mut text).unwrap(), 0, "it did not start: {text}");
        }
        let told: Value = serde_json::from_str(&text).unwrap();
        let address = told["address"].as_str().unwrap().parse().unwrap();
        Served { child, address, told }
    }

    fn get(&self, target: &str) -> wire::Answer {
        wire::request(self.address, "GET", target, &[], &[])
    }

    /// Sends the signal that service managers send, and waits.
    #[cfg(unix)]
    fn stop(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serve_shows_what_loading_would_make() {
    let place = Place::new().await;
    let served = Served::start(place.path(), &[ARCHIVE, "--key", "bundle.pub"], "");
    assert_eq!((&served.told["writable"], &served.told["verified"]), (&json!(false), &json!(true)));
    let names = ["docker.io/library/nginx", "files/dashboards", "quay.io/copies/nginx", "quay.io/demo/tool"];
    assert_eq!(served.told["repositories"], json!(names));
    for target in [
        "/v2/docker.io/library/nginx/manifests/1.27",
        "/v2/quay.io/copies/nginx/manifests/stable",
        // As a mirror, asked by containerd and by Docker.
        "/v2/library/nginx/manifests/1.27?ns=docker.io",
        "/v2/library/nginx/manifests/1.27",
    ] {
        let answer = served.get(target);
        assert_eq!((answer.status, Digest::sha256(&answer.body)), (200, place.web.digest), "{target}");
    }
    // Upstream's signature and ours share a tag; the bundle refers to the image.
    let tag = signature_tag(&place.web.digest);
    let signatures = served.get(&format!("/v2/docker.io/library/nginx/manifests/{tag}")).json();
    assert_eq!(signatures["layers"].as_array().unwrap().len(), 3, "upstream's, and one for each of two names");
    for layer in signatures["layers"].as_array().unwrap() {
        let blob = served.get(&format!("/v2/docker.io/library/nginx/blobs/{}", layer["digest"].as_str().unwrap()));
        assert_eq!(blob.status, 200);
    }
    for digest in [place.web.digest, place.amd.digest] {
        let referrers = served.get(&format!("/v2/docker.io/library/nginx/referrers/{digest}")).json();
        assert_eq!(referrers["manifests"][0]["artifactType"], json!(media_type::SIGSTORE_BUNDLE));
    }
    let files = served.get("/v2/files/dashboards/manifests/1.0.0").json();
    let layer = &files["layers"][1];
    assert_eq!(layer["annotations"]["org.opencontainers.image.title"], "b/c.json");
    let content = served.get(&format!("/v2/files/dashboards/blobs/{}", layer["digest"].as_str().unwrap()));
    assert_eq!(content.body, b"[1]\n");
    let refused = wire::request(served.address, "POST", "/v2/docker.io/library/nginx/blobs/uploads/", &[], &[]);
    assert_eq!(refused.status, 405);
    #[cfg(unix)]
    assert_eq!(served.stop(), Some(0));

    let unverified = Served::start(place.path(), &[ARCHIVE, "--insecure-skip-verify"], "");
    assert_eq!(unverified.told["verified"], json!(false));
    let theirs = unverified.get(&format!("/v2/docker.io/library/nginx/manifests/{tag}")).json();
    assert_eq!(theirs["layers"].as_array().unwrap().len(), 1, "upstream's signature is content like any other");
    place.fails(6, &["serve", ARCHIVE, "--key", "other.pub", "--listen", "127.0.0.1:0"]);
    place.fails(6, &["serve", ARCHIVE, "--listen", "127.0.0.1:0"]);
    place.fails(2, &["serve"]);
    place.fails(2, &["serve", ARCHIVE, "--data", "x"]);
}

/// Every tag and every referrer of every digest, by repository.
fn everything(served: &Served, digests: &[Digest]) -> Vec<String> {
    let repositories = served.get("/v2/_catalog").json()["repositories"].clone();
    let mut shown = Vec::new();
    for name in repositories.as_array().unwrap().iter().map(|name| name.as_str().unwrap()) {
        if name == "bundle-state" {
            continue;
        }
        for tag in served.get(&format!("/v2/{name}/tags/list")).json()["tags"].as_array().unwrap() {
            let manifest = served.get(&format!("/v2/{name}/manifests/{}", tag.as_str().unwrap()));
            assert_eq!(manifest.status, 200);
            shown.push(format!("{name}:{} {}", tag.as_str().unwrap(), Digest::sha256(&manifest.body)));
        }
        for digest in digests {
            let held = served.get(&format!("/v2/{name}/manifests/{digest}")).status;
            let referrers = served.get(&format!("/v2/{name}/referrers/{digest}")).json()["manifests"].clone();
            shown.push(format!("{name}@{digest} {held} {referrers}"));
        }
    }
    shown
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_served_is_what_a_load_makes() {
    let place = Place::new().await;
    let target = Served::start(place.path(), &["--data", "registry"], "");
    place.ok(&["load", ARCHIVE, "--key", "bundle.pub", "--to", &target.address.to_string()]);
    let served = Served::start(place.path(), &[ARCHIVE, "--key", "bundle.pub"], "");
    let digests = [place.web.digest, place.amd.digest, place.tool.digest];
    let (loaded, served) = (everything(&target, &digests), everything(&served, &digests));
    assert_eq!(loaded, served);
    assert!(served.iter().filter(|line| line.contains(".sig ")).count() >= 3, "{served:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serve_gives_away_no_damaged_byte() {
    let place = Place::new().await;
    let base = layer(1, 64);
    place.damage(&Digest::sha256(&base));
    let served = Served::start(place.path(), &[ARCHIVE, "--key", "bundle.pub"], "");
    // The connection ends before the last piece, perhaps even before the head.
    let mut stream = wire::connect(served.address);
    let target = format!("/v2/quay.io/demo/tool/blobs/{}", Digest::sha256(&base));
    write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.len() < base.len(), "{} bytes left", answer.len());
}

#[test]
fn a_writable_registry_wants_its_password_and_keeps_what_is_pushed() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--data", "registry", "--username", "ann", "--password-stdin"];
    let blob = b"content";
    let target = format!("/v2/a/b/blobs/uploads/?digest={}", Digest::sha256(blob));
    let login = [("Authorization", "Basic YW5uOnNlY3JldA==")];
    let served = Served::start(folder.path(), &arguments, "secret\n");
    assert_eq!(served.told["writable"], json!(true));
    assert_eq!(wire::request(served.address, "POST", &target, &[], blob).status, 401);
    assert_eq!(wire::request(served.address, "POST", &target, &login, blob).status, 201);
    drop(served);
    let served = Served::start(folder.path(), &arguments, "secret\n");
    let path = format!("/v2/a/b/blobs/{}", Digest::sha256(blob));
    assert_eq!(wire::request(served.address, "GET", &path, &login, &[]).body, blob);
}

#[test]
fn serve_speaks_tls() {
    let Some(curl) = referees::find_if_here(&["curl"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let made = crate::support::certificates::Certificates::new();
    for (name, text) in [("cert.pem", &made.server), ("key.pem", &made.server_key), ("root.pem", &made.root)] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let served = Served::start(folder.path(), &["--data", "d", "--tls-cert", "cert.pem", "--tls-key", "key.pem"], "");
    let url = format!("{}/v2/", served.told["url"].as_str().unwrap());
    assert!(url.starts_with("https://"));
    let status =
        referees::must(&curl, folder.path(), &["-sS", "--cacert", "root.pem", "-w", "%{http_code}", "-o", "out", &url]);
    assert_eq!(status, "200");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_are_told_how_to_use_what_is_served() {
    let place = Place::new().await;
    let mut child = command(place.path())
        .args(["serve", ARCHIVE, "--key", "bundle.pub", "--listen", "127.0.0.1:0"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    while !text.contains("mirror ") {
        assert_ne!(lines.read_line(&mut text).unwrap(), 0, "{text}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    for part in [
        "2 images, signed by SHA256:",
        "at http://127.0.0.1:",
        "podman pull --tls-verify=false 127.0.0.1:",
        "cosign verify --key bundle.pub",
        "oras pull --plain-http 127.0.0.1:",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stock_skopeo_reads_and_stock_cosign_verifies_what_is_served() {
    let place = Place::new().await;
    let served = Served::start(place.path(), &[ARCHIVE, "--key", "bundle.pub"], "");
    let image = format!("{}/docker.io/library/nginx:1.27", served.address);
    if let Some(skopeo) = referees::skopeo() {
        let copy =
            ["copy", "--src-tls-verify=false", "--override-os=linux", "--override-arch=amd64", "--preserve-digests"];
        referees::must(&skopeo, place.path(), &[&copy[..], &[&format!("docker://{image}"), "oci:out:nginx"]].concat());
        let copied: PathBuf = place.path().join("out/blobs/sha256").join(place.amd.digest.hex());
        assert_eq!(Digest::sha256(&fs::read(copied).unwrap()), place.amd.digest);
    }
    if let Some(oras) = referees::oras() {
        let files = format!("{}/files/dashboards:1.0.0", served.address);
        referees::must(&oras, place.path(), &["pull", "--plain-http", &files, "-o", "pulled"]);
        assert_eq!(fs::read(place.path().join("pulled/b/c.json")).unwrap(), b"[1]\n");
    }
    let Some(cosign) = referees::cosign() else { return };
    let verify = |key: &str, image: &str| {
        let key = format!("--key={key}");
        referees::run(
            &cosign,
            place.path(),
            &["verify", &key, "--insecure-ignore-tlog", "--allow-http-registry", "--output=json", image],
        )
    };
    for reference in [
        image.clone(),
        format!("{}/docker.io/library/nginx@{}", served.address, place.amd.digest),
        format!("{}/quay.io/copies/nginx:stable", served.address),
        format!("{}/quay.io/demo/tool:v1", served.address),
    ] {
        let output = verify("bundle.pub", &reference);
        assert!(output.status.success(), "{reference}: {}", stderr(&output));
        assert!(!verify("other.pub", &reference).status.success(), "{reference}");
    }
}
