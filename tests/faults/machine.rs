//! A user's machine: a home of its own, keys, a spec, the program; and a registry with images for it.

use std::{
    ffi::OsStr,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use airgap_bundler::oci::{Descriptor, Digest, media_type};
use serde_json::json;

use crate::support::{memory::noise, registry::Registry, wire};

/// No command of these tests takes this long, also on a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(120);

/// The host that images are named after; a mirror says where they really are.
pub const HOST: &str = "registry.example.com";

/// One key pair for all: deriving a key from a passphrase is slow by design.
static KEYS: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let machine = Machine::without_keys();
    machine.run(&["keygen", "--output-key-prefix", "bundle"]).succeeded();
    ["bundle.key", "bundle.pub"].map(|name| fs::read(machine.path(name)).unwrap())
});

/// Is a folder in which commands run, with nothing of the real surroundings; removed when dropped.
pub struct Machine {
    place: tempfile::TempDir,
    runs: AtomicUsize,
}

/// Tells how a command ended.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
    pub took: Duration,
}

impl Outcome {
    #[track_caller]
    pub fn succeeded(self) -> Outcome {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self
    }

    /// Checks the exit code and that the message holds each of these texts.
    #[track_caller]
    pub fn failed(self, code: i32, texts: &[&str]) -> Outcome {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        for text in texts {
            assert!(self.err.contains(text), "{text:?} is not in: {}", self.err);
        }
        self
    }
}

/// Is a command that runs; killed when dropped.
pub struct Running {
    child: Child,
    began: Instant,
    out: PathBuf,
    err: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns what it has written to its standard error so far.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.err).unwrap_or_default()
    }

    pub fn ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Looks every millisecond until this is so, or the command has ended; tells whether it was so.
    pub fn wait_until(&mut self, mut so: impl FnMut() -> bool) -> bool {
        loop {
            if so() {
                return true;
            }
            if self.ended() {
                return false;
            }
            assert!(self.began.elapsed() < PATIENCE, "{}", self.said());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends it as a power cut would, without a word; false when it had ended by itself.
    pub fn kill(&mut self) -> bool {
        if self.ended() {
            return false;
        }
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        status.code().is_none()
    }

    /// Waits for its end.
    pub fn outcome(mut self) -> Outcome {
        self.wait_until(|| false);
        let code = self.child.wait().unwrap().code();
        let text = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        Outcome { code, out: text(&self.out), err: text(&self.err), took: self.began.elapsed() }
    }
}

impl Machine {
    fn without_keys() -> Machine {
        let place = tempfile::tempdir().unwrap();
        for name in ["home", "docker", "state", "tmp", "log", "work"] {
            fs::create_dir(place.path().join(name)).unwrap();
        }
        Machine { place, runs: AtomicUsize::new(0) }
    }

    pub fn new() -> Machine {
        let machine = Machine::without_keys();
        for (name, bytes) in ["bundle.key", "bundle.pub"].iter().zip(&*KEYS) {
            fs::write(machine.path(name), bytes).unwrap();
        }
        machine
    }

    /// Returns a path in the folder where commands run.
    pub fn path(&self, name: &str) -> PathBuf {
        self.place.path().join("work").join(name)
    }

    /// Returns the names in the folder where commands run, sorted.
    pub fn names(&self) -> Vec<String> {
        names(&self.path(""))
    }

    /// Starts the program in the folder, with `input` on its standard input.
    pub fn start_with(&self, args: &[impl AsRef<OsStr>], input: &str) -> Running {
        let number = self.runs.fetch_add(1, Ordering::SeqCst);
        let log = |name: &str| self.place.path().join("log").join(format!("{number}.{name}"));
        let at = |name: &str| self.place.path().join(name);
        fs::write(log("in"), input).unwrap();
        // Another build of the program, such as the optimised one, can be put to these tests.
        let program = std::env::var_os("BUNDLE_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_bundle").into());
        let child = Command::new(program)
            .args(args)
            .current_dir(at("work"))
            .env_clear()
            .env("HOME", at("home"))
            .env("DOCKER_CONFIG", at("docker"))
            .env("BUNDLE_STATE_DIR", at("state"))
            .env("TMPDIR", at("tmp"))
            .env("COSIGN_PASSWORD", "airgapped")
            // A lock says of what day it is; a test must not fail at midnight.
            .env("SOURCE_DATE_EPOCH", "1700000000")
            .stdin(fs::File::open(log("in")).unwrap())
            .stdout(Stdio::from(fs::File::create(log("out")).unwrap()))
            .stderr(Stdio::from(fs::File::create(log("err")).unwrap()))
            .spawn()
            .unwrap();
        Running { child, began: Instant::now(), out: log("out"), err: log("err") }
    }

    pub fn start(&self, args: &[impl AsRef<OsStr>]) -> Running {
        self.start_with(args, "")
    }

    /// Runs the program to its end.
    pub fn run(&self, args: &[impl AsRef<OsStr>]) -> Outcome {
        self.start(args).outcome()
    }

    /// Writes the spec of [`fill`]'s images, to be found at this address.
    pub fn spec(&self, at: SocketAddr) {
        self.spec_of(at, &["app/one:1", "app/two:1", "app/three:1"]);
    }

    /// Writes a spec of images, to be found at this address.
    pub fn spec_of(&self, at: SocketAddr, images: &[&str]) {
        let images: String = images.iter().map(|image| format!("  - {HOST}/{image}\n")).collect();
        let text = format!(
            "apiVersion: airgap-bundler/v1\nkind: Bundle\nmetadata: {{name: shop, version: 1.0.0}}\n\
             platforms: [linux/amd64, linux/arm64]\n\
             registries: {{{HOST}: {{mirror: \"{at}\", plainHttp: true}}}}\nimages:\n{images}"
        );
        fs::write(self.path("bundle.yaml"), text).unwrap();
    }

    /// Returns the bytes of the finished archive, if there is one.
    pub fn archive(&self) -> Option<Vec<u8>> {
        fs::read(self.path("shop.tar")).ok()
    }
}

/// Makes a signed archive of the spec.
pub const CREATE: &[&str] = &["create", "--key", "bundle.key", "-o", "shop.tar", "--progress", "plain", "-j", "4"];

/// Loads that archive to the target that follows.
pub const LOAD: &[&str] = &["load", "shop.tar", "--key", "bundle.pub", "--progress", "plain", "-j", "4", "--to"];

/// Returns the names in a folder, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Is one image of a registry: the repository, the digest that its tag `1` has, and everything that it needs.
#[derive(Clone, Debug)]
pub struct Image {
    pub repository: String,
    pub root: Descriptor,
}

/// Fills a registry with three images: one with a layer of this size, one for two platforms, one that shares a layer.
pub fn fill(registry: &Registry, large: usize) -> Vec<Image> {
    let layer = noise(1, large);
    let shared = noise(2, 150_000);
    let one = registry.put_image("app/one", "1", &[&layer, &shared]);
    let entry = |architecture: &str| {
        let layers = [noise(architecture.len() as u64 + u64::from(architecture.as_bytes()[1]), 90_000), shared.clone()];
        let layers: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
        let image = platform_image(registry, "app/two", architecture, &layers);
        let mut entry = json!(image);
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        entry
    };
    let index =
        json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": [entry("amd64"), entry("arm64")]});
    let two = registry.put_document("app/two", "1", media_type::INDEX, &index);
    let three = registry.put_image("app/three", "1", &[&shared, &noise(5, 40_000)]);
    let named = [("app/one", one), ("app/two", two), ("app/three", three)];
    named.into_iter().map(|(repository, root)| Image { repository: repository.to_owned(), root }).collect()
}

fn platform_image(registry: &Registry, name: &str, architecture: &str, layers: &[&[u8]]) -> Descriptor {
    let diff_ids: Vec<String> = layers.iter().map(|layer| Digest::sha256(layer).to_string()).collect();
    let config = json!({"architecture": architecture, "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let config = registry.put_blob(name, media_type::CONFIG, config.to_string().as_bytes());
    let layers: Vec<Descriptor> =
        layers.iter().map(|layer| registry.put_blob(name, media_type::LAYER, layer)).collect();
    let manifest = json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config, "layers": layers});
    registry.put_document(name, "", media_type::MANIFEST, &manifest)
}

/// What a manifest asks for is accepted in every form.
const ACCEPT: (&str, &str) = (
    "Accept",
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json",
);

/// Asks until the answer is no server error: docker-registry writes its links in place, and who reads one at that moment
/// gets 500, also of a manifest that was there before and is put again.
fn settled(at: SocketAddr, method: &str, target: &str) -> wire::Answer {
    let mut answer = wire::request(at, method, target, &[ACCEPT], b"");
    for _ in 0..100 {
        if answer.status < 500 {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
        answer = wire::request(at, method, target, &[ACCEPT], b"");
    }
    answer
}

/// Tells what is wrong with what a tag or digest of a registry points at: nothing when it is not there at all, or when it
/// is there with everything that it needs.
pub fn incomplete(at: SocketAddr, repository: &str, which: &str) -> Option<String> {
    let answer = settled(at, "GET", &format!("/v2/{repository}/manifests/{which}"));
    if answer.status == 404 {
        return None;
    }
    if answer.status != 200 {
        return Some(format!("{repository}:{which} answers {}", answer.status));
    }
    let manifest = answer.json();
    let list = |field: &str| manifest[field].as_array().cloned().unwrap_or_default();
    for child in list("manifests") {
        let digest = child["digest"].as_str().unwrap();
        let there = settled(at, "GET", &format!("/v2/{repository}/manifests/{digest}"));
        if there.status != 200 {
            return Some(format!("{repository}:{which} names {digest}, which answers {}", there.status));
        }
        if let Some(problem) = incomplete(at, repository, digest) {
            return Some(problem);
        }
    }
    for blob in list("layers").into_iter().chain([manifest["config"].clone()]) {
        let Some(digest) = blob["digest"].as_str() else { continue };
        let there = settled(at, "HEAD", &format!("/v2/{repository}/blobs/{digest}"));
        if there.status != 200 {
            return Some(format!("{repository}:{which} needs {digest}, which answers {}", there.status));
        }
    }
    None
}

/// Checks that a target holds every image in full, under `prefix`, with its tag and its digest.
#[track_caller]
pub fn assert_loaded(at: SocketAddr, prefix: &str, images: &[Image]) {
    for image in images {
        let repository = format!("{prefix}{HOST}/{}", image.repository);
        for which in ["1", &image.root.digest.to_string()] {
            let target = format!("/v2/{repository}/manifests/{which}");
            let answer = wire::request(at, "GET", &target, &[ACCEPT], b"");
            assert_eq!(answer.status, 200, "{target}");
            assert_eq!(Digest::sha256(&answer.body), image.root.digest, "{target}");
            assert_eq!(incomplete(at, &repository, which), None);
        }
    }
}
