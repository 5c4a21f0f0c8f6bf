//! Measures `bundle resolve` with 50 charts and 500 manifests from local files, and how many of the images that authors of
//! charts list the search for optional images finds.
//!
//! ```text
//! cargo bench --bench resolve                                       # charts and manifests that are made up
//! BUNDLE_CORPUS=corpus cargo bench --bench resolve                  # real ones
//! BUNDLE_CORPUS=corpus cargo bench --bench resolve -- --optional    # what is found of the images in annotations
//! ```
//!
//! The corpus is described in `benches/render.rs`; `manifests/cases.json` in it lists packed texts of manifests.
//!
//! The measured command is the program as a user runs it, with a lock that pins every image already: all inputs are read, rendered
//! and searched, optional images are tried, the lock is written; no registry is asked. That part depends on the network
//! and on nothing else.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and one that cannot run says so by panicking"
)]

#[path = "resolve/inputs.rs"]
mod inputs;
#[path = "resolve/optional.rs"]
mod optional;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use airgap_bundler::{
    event::{Event, Observer},
    lock::{Lock, LockedImage},
    net::Settings,
    oci::{Digest, media_type},
    registry::{Credentials, Registries},
    resolve::{self, Job, Update, Wanted},
    spec::Spec,
};

/// How often the command runs; the median counts.
const ROUNDS: usize = 7;

struct Silent;

impl Observer for Silent {
    fn on(&self, _: &Event) {}
}

/// Gathers what a spec asks for.
fn gather(folder: &Path, text: &str) -> Result<(Spec, Wanted), String> {
    let told =
        |all: &[airgap_bundler::error::Diagnostic]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let (spec, _) = Spec::parse("bundle.yaml", text).map_err(|mistakes| told(&mistakes))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let wanted = runtime.block_on(async {
        let credentials = Credentials::new(std::iter::empty::<(String, String)>().collect());
        let registries = Registries::new(Settings::default(), credentials, Arc::new(Silent)).unwrap();
        let job = Job {
            spec: &spec,
            folder,
            previous: None,
            update: Update::Nothing,
            date: 20_260_101,
            registries: &registries,
            jobs: 16,
            observer: &Silent,
        };
        resolve::gather(&job).await.map_err(|error| {
            use airgap_bundler::error::Classify as _;
            told(error.diagnostics())
        })
    })?;
    Ok((spec, wanted))
}

/// Pins every image to something, as a lock does that was made before.
fn pinned(spec: &Spec, wanted: &Wanted) -> Lock {
    let images = wanted.images.iter().map(|(name, image)| LockedImage {
        image: name.clone(),
        digest: name.digest.unwrap_or_else(|| Digest::sha256(name.to_string().as_bytes())),
        media_type: media_type::INDEX.into(),
        size: 1000,
        from: None,
        archive: None,
        verified: Vec::new(),
        because: image.because.clone(),
    });
    Lock {
        name: spec.name.clone(),
        version: spec.version.clone(),
        sequence: 20_260_101,
        platforms: spec.platforms.clone(),
        charts: wanted.charts.clone(),
        images: images.collect(),
        not_carried: wanted.not_carried.clone(),
        files: wanted.files.clone(),
    }
}

/// Runs the command once; returns seconds, processor seconds and the peak of memory in MiB.
fn once(program: &Path, folder: &Path) -> (f64, f64, u64) {
    let (cpu, started) = (children(), Instant::now());
    let mut child = Command::new(program)
        .args(["resolve", "-q", "bundle.yaml"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let ended = loop {
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) / 1024);
        std::thread::sleep(Duration::from_millis(2));
    };
    let seconds = started.elapsed().as_secs_f64();
    assert!(ended.success(), "bundle resolve failed");
    (seconds, children() - cpu, peak)
}

/// Returns the processor time of all children that ended so far, in seconds.
fn children() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let words: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // Fields 16 and 17 of proc(5), counted from the one behind the name, in units of USER_HZ, which is 100 on Linux.
    words[13..15].iter().map(|word| word.parse::<f64>().unwrap()).sum::<f64>() * 0.01
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let corpus = std::env::var_os("BUNDLE_CORPUS").map(PathBuf::from);
    if words.first().is_some_and(|word| word == "--optional") {
        let Some(corpus) = corpus else {
            println!("SKIPPED: BUNDLE_CORPUS names no folder of charts");
            return;
        };
        return optional::main(&corpus);
    }
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let spec = match &corpus {
        Some(corpus) => inputs::of_corpus(corpus, folder),
        None => inputs::made_up(folder),
    };
    println!("load before: {}", std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());
    let program = Path::new(env!("CARGO_BIN_EXE_bundle"));
    for policy in ["list", "ignore"] {
        let text = format!("{spec}discovery: {{guesses: ignore, optional: {policy}}}\n");
        let (parsed, wanted) = gather(folder, &text).unwrap_or_else(|told| panic!("{told}"));
        std::fs::write(folder.join("bundle.yaml"), &text).unwrap();
        std::fs::write(folder.join("bundle.lock"), pinned(&parsed, &wanted).to_text()).unwrap();
        let mut runs: Vec<(f64, f64, u64)> = (0..ROUNDS).map(|_| once(program, folder)).collect();
        runs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (seconds, cpu, _) = runs[ROUNDS / 2];
        let peak = runs.iter().map(|run| run.2).max().unwrap_or(0);
        println!(
            "optional: {policy:<8} {} charts, {} manifests, {} images, {} not carried: median {seconds:.2} s (best {:.2}), {cpu:.2} s of processor, peak {peak} MiB",
            parsed.charts.len(),
            parsed.manifests.len(),
            wanted.images.len(),
            wanted.not_carried.len(),
            runs[0].0,
        );
    }
    println!("load after: {}", std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());
}
