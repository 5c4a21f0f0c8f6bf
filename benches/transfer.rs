//! Measures `create` and `load` beside stock tools in the same run, interleaved, as ratios of medians.
//!
//! ```text
//! .ci/referees target/referees
//! BUNDLE_REFEREES=target/referees cargo bench --bench transfer            # everything, 5 rounds
//! BUNDLE_REFEREES=target/referees cargo bench --bench transfer -- create  # only scenarios whose name contains `create`
//! ```
//!
//! `BENCH_ROUNDS` sets the number of rounds, `BENCH_DIR` the scratch folder (about 6 GB). Peers are builds that hash with the
//! processor's instructions (skopeo 1.22, crane, oras, docker-registry 2.8.3): Debian stable's own are slower and would flatter.
//! Peak memory is the high-water mark that the kernel keeps for the process, read every few milliseconds.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and one that cannot run says so by panicking"
)]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

#[path = "transfer/images.rs"]
mod images;
#[path = "transfer/place.rs"]
mod place;

use place::{Place, Registry};

/// One run of one tool.
struct Sample {
    seconds: f64,
    peak_kib: u64,
}

/// Runs a command to its end; panics with its output when it fails, because a ratio with a failed run means nothing.
fn run(label: &str, command: &mut Command) -> Sample {
    let log = std::env::temp_dir().join(format!("bench-{}.log", std::process::id()));
    let output = std::fs::File::create(&log).unwrap();
    command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
    let started = Instant::now();
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{label}: {error}"));
    let status_file = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    let status = loop {
        if let Ok(text) = std::fs::read_to_string(&status_file)
            && let Some(line) = text.lines().find(|line| line.starts_with("VmHWM:"))
        {
            peak_kib = peak_kib.max(line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0));
        }
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(3));
    };
    let seconds = started.elapsed().as_secs_f64();
    assert!(status.success(), "{label} failed:\n{}", std::fs::read_to_string(&log).unwrap_or_default());
    Sample { seconds, peak_kib }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Collects samples of one scenario and prints the table; the first tool is the one that others are compared with.
struct Table {
    scenario: &'static str,
    megabytes: f64,
    tools: Vec<&'static str>,
    samples: BTreeMap<&'static str, Vec<Sample>>,
}

impl Table {
    fn new(scenario: &'static str, bytes: u64) -> Self {
        Table { scenario, megabytes: bytes as f64 / 1e6, tools: Vec::new(), samples: BTreeMap::new() }
    }

    fn add(&mut self, tool: &'static str, sample: Sample) {
        if !self.tools.contains(&tool) {
            self.tools.push(tool);
        }
        self.samples.entry(tool).or_default().push(sample);
    }

    fn print(&self) {
        let of = |tool: &str| median(self.samples[tool].iter().map(|sample| sample.seconds));
        let ours = of(self.tools[0]);
        println!("\n{} ({:.0} MB)", self.scenario, self.megabytes);
        println!(
            "  {:<34} {:>8} {:>8} {:>9} {:>12} {:>10}",
            "tool", "median", "best", "MB/s", "x of bundle", "peak RSS"
        );
        for tool in &self.tools {
            let samples = &self.samples[tool];
            let best = samples.iter().map(|sample| sample.seconds).fold(f64::MAX, f64::min);
            let peak = samples.iter().map(|sample| sample.peak_kib).max().unwrap_or(0);
            println!(
                "  {tool:<34} {:>6.3} s {best:>6.3} s {:>9.0} {:>12.2} {:>6} MiB",
                of(tool),
                self.megabytes / of(tool),
                of(tool) / ours,
                peak / 1024
            );
        }
    }
}

struct Bench {
    place: Place,
    rounds: usize,
    filter: Vec<String>,
}

impl Bench {
    fn wanted(&self, scenario: &str) -> bool {
        self.filter.is_empty() || self.filter.iter().any(|word| scenario.contains(word.as_str()))
    }

    fn scratch(&self, name: &str) -> PathBuf {
        let path = self.place.dir.join(name);
        if path.is_dir() {
            std::fs::remove_dir_all(&path).unwrap();
        } else if path.exists() {
            std::fs::remove_file(&path).unwrap();
        }
        path
    }

    fn spec(&self, name: &str, source: &str, images: &[&str]) -> PathBuf {
        let folder = self.place.dir.join(format!("spec-{name}"));
        std::fs::create_dir_all(&folder).unwrap();
        let list: String = images.iter().map(|image| format!("  - {source}/{image}\n")).collect();
        let text = format!(
            "apiVersion: airgap-bundler/v1\nkind: Bundle\nmetadata: {{name: {name}, version: 1.0.0}}\nregistries:\n  {source}: {{plainHttp: true}}\nimages:\n{list}"
        );
        let _ = std::fs::remove_file(folder.join("bundle.lock"));
        std::fs::write(folder.join("bundle.yaml"), text).unwrap();
        folder.join("bundle.yaml")
    }

    fn create(&self, spec: &Path, output: &Path, jobs: u32) -> Command {
        let mut command = self.place.bundle();
        command.args(["create", "--progress", "none", "--concurrency", &jobs.to_string(), "--key"]);
        command.arg(self.place.dir.join("bench.key")).arg(spec).arg("-o").arg(output);
        command
    }

    fn load(&self, archive: &Path, target: &str, jobs: u32) -> Command {
        let mut command = self.place.bundle();
        command.args(["load", "--progress", "none", "--concurrency", &jobs.to_string(), "--to", target, "--key"]);
        command.arg(self.place.dir.join("bench.pub")).arg(archive);
        command
    }

    /// One large image in eight layers, over loopback.
    fn create_one(&self, source: &Registry) {
        let mut table = Table::new("create: one image, 8 layers, loopback", images::BIG.bytes());
        let at = source.address();
        let spec = self.spec("big", &at, &["bench/big:1"]);
        for _ in 0..self.rounds {
            let archive = self.scratch("big.bundle.tar");
            let _ = std::fs::remove_file(spec.with_file_name("bundle.lock"));
            table.add("bundle create (signed)", run("bundle", &mut self.create(&spec, &archive, 8)));
            let out = self.scratch("skopeo.tar");
            table.add(
                "skopeo copy -> oci-archive",
                run(
                    "skopeo",
                    self.place.skopeo().args([
                        "copy",
                        "--src-tls-verify=false",
                        &format!("docker://{at}/bench/big:1"),
                        &format!("oci-archive:{}", out.display()),
                    ]),
                ),
            );
            let out = self.scratch("oras.tar");
            table.add(
                "oras backup -> tar",
                run(
                    "oras",
                    self.place
                        .oras()
                        .args(["backup", "--plain-http", "--output"])
                        .arg(&out)
                        .arg(format!("{at}/bench/big:1")),
                ),
            );
            let out = self.scratch("oras.dir");
            table.add(
                "oras cp -> directory",
                run(
                    "oras",
                    self.place.oras().args([
                        "cp",
                        "--from-plain-http",
                        &format!("{at}/bench/big:1"),
                        "--to-oci-layout",
                        &format!("{}:1", out.display()),
                    ]),
                ),
            );
            let out = self.scratch("crane.dir");
            table.add(
                "crane pull -> directory",
                run(
                    "crane",
                    self.place
                        .crane()
                        .args(["pull", "--insecure", "--format=oci", &format!("{at}/bench/big:1")])
                        .arg(&out),
                ),
            );
        }
        table.print();
    }

    /// Five images that share layers, over loopback.
    fn create_five(&self, source: &Registry) {
        let mut table = Table::new("create: five images that share layers, loopback", images::five_bytes());
        let at = source.address();
        let names: Vec<String> = images::FIVE.iter().map(|image| format!("bench/{}:1", image.name)).collect();
        let spec = self.spec("five", &at, &names.iter().map(String::as_str).collect::<Vec<_>>());
        for _ in 0..self.rounds {
            let archive = self.scratch("five.bundle.tar");
            let _ = std::fs::remove_file(spec.with_file_name("bundle.lock"));
            table.add("bundle create (signed)", run("bundle", &mut self.create(&spec, &archive, 8)));
            let list = self.place.dir.join("sync.yaml");
            let images: String =
                images::FIVE.iter().map(|image| format!("    bench/{}: ['1']\n", image.name)).collect();
            std::fs::write(&list, format!("{at}:\n  tls-verify: false\n  images:\n{images}")).unwrap();
            let out = self.scratch("sync.dir");
            std::fs::create_dir_all(&out).unwrap();
            table.add(
                "skopeo sync -> directory",
                run(
                    "skopeo",
                    self.place.skopeo().args(["sync", "--src", "yaml", "--dest", "dir"]).arg(&list).arg(&out),
                ),
            );
            let out = self.scratch("crane.dir");
            let mut crane = self.place.crane();
            crane.args(["pull", "--insecure", "--format=oci"]);
            crane.args(names.iter().map(|name| format!("{at}/{name}"))).arg(&out);
            table.add("crane pull -> directory", run("crane", &mut crane));
        }
        table.print();
    }

    /// From the archive into an empty registry, over loopback; and once more into the same.
    fn load_one(&self, source: &Registry) {
        let at = source.address();
        let spec = self.spec("big", &at, &["bench/big:1"]);
        let archive = self.scratch("big.bundle.tar");
        run("bundle create", &mut self.create(&spec, &archive, 8));
        let oci = self.scratch("skopeo.tar");
        run(
            "skopeo",
            self.place.skopeo().args([
                "copy",
                "--src-tls-verify=false",
                &format!("docker://{at}/bench/big:1"),
                &format!("oci-archive:{}", oci.display()),
            ]),
        );
        let layout = self.scratch("oras.dir");
        run(
            "oras",
            self.place.oras().args([
                "cp",
                "--from-plain-http",
                &format!("{at}/bench/big:1"),
                "--to-oci-layout",
                &format!("{}:1", layout.display()),
            ]),
        );
        let mut table = Table::new("load: one image, 8 layers, empty registry, loopback", images::BIG.bytes());
        let mut again = Table::new("load again: everything is there", images::BIG.bytes());
        for _ in 0..self.rounds {
            let target = self.place.registry("target");
            table.add("bundle load (verifies)", run("bundle", &mut self.load(&archive, &target.address(), 8)));
            again.add("bundle load (verifies)", run("bundle", &mut self.load(&archive, &target.address(), 8)));
            drop(target);
            let target = self.place.registry("target");
            table.add(
                "skopeo copy oci-archive ->",
                run(
                    "skopeo",
                    self.place.skopeo().args([
                        "copy",
                        "--dest-tls-verify=false",
                        &format!("oci-archive:{}", oci.display()),
                        &format!("docker://{}/bench/big:1", target.address()),
                    ]),
                ),
            );
            drop(target);
            let target = self.place.registry("target");
            table.add(
                "oras cp from directory (no check)",
                run(
                    "oras",
                    self.place.oras().args([
                        "cp",
                        "--from-oci-layout",
                        &format!("{}:1", layout.display()),
                        "--to-plain-http",
                        &format!("{}/bench/big:1", target.address()),
                    ]),
                ),
            );
        }
        table.print();
        again.print();
    }

    /// Create over a connection with 20 ms round trip and 2 MiB in flight.
    fn create_far(&self, source: &Registry) {
        let far = self.place.far(source);
        let at = far.address();
        let spec = self.spec("big", &at, &["bench/big:1"]);
        let mut table = Table::new("create far: one image, 20 ms round trip, 2 MiB in flight", images::BIG.bytes());
        for _ in 0..self.rounds {
            let archive = self.scratch("big.bundle.tar");
            let _ = std::fs::remove_file(spec.with_file_name("bundle.lock"));
            table.add("bundle create (signed)", run("bundle", &mut self.create(&spec, &archive, 16)));
            let out = self.scratch("skopeo.dir");
            table.add(
                "skopeo copy -> directory",
                run(
                    "skopeo",
                    self.place.skopeo().args([
                        "copy",
                        "--src-tls-verify=false",
                        &format!("docker://{at}/bench/big:1"),
                        &format!("oci:{}:1", out.display()),
                    ]),
                ),
            );
            let out = self.scratch("oras.dir");
            table.add(
                "oras cp -> directory",
                run(
                    "oras",
                    self.place.oras().args([
                        "cp",
                        "--concurrency",
                        "16",
                        "--from-plain-http",
                        &format!("{at}/bench/big:1"),
                        "--to-oci-layout",
                        &format!("{}:1", out.display()),
                    ]),
                ),
            );
            let out = self.scratch("crane.dir");
            table.add(
                "crane pull -> directory",
                run(
                    "crane",
                    self.place
                        .crane()
                        .args(["pull", "--insecure", "--format=oci", &format!("{at}/bench/big:1")])
                        .arg(&out),
                ),
            );
        }
        table.print();
    }

    /// Sixty small layers into a far, empty registry.
    fn load_far(&self, source: &Registry) {
        let at = source.address();
        let spec = self.spec("many", &at, &["bench/many:1"]);
        let archive = self.scratch("many.bundle.tar");
        run("bundle create", &mut self.create(&spec, &archive, 8));
        let oci = self.scratch("skopeo.tar");
        run(
            "skopeo",
            self.place.skopeo().args([
                "copy",
                "--src-tls-verify=false",
                &format!("docker://{at}/bench/many:1"),
                &format!("oci-archive:{}", oci.display()),
            ]),
        );
        let layout = self.scratch("oras.dir");
        run(
            "oras",
            self.place.oras().args([
                "cp",
                "--from-plain-http",
                &format!("{at}/bench/many:1"),
                "--to-oci-layout",
                &format!("{}:1", layout.display()),
            ]),
        );
        let mut table = Table::new("load far: 60 small layers, 20 ms round trip", images::MANY.bytes());
        for _ in 0..self.rounds {
            let target = self.place.registry("target");
            let far = self.place.far(&target);
            table.add("bundle load (verifies, signs)", run("bundle", &mut self.load(&archive, &far.address(), 16)));
            drop((far, target));
            let target = self.place.registry("target");
            let far = self.place.far(&target);
            table.add(
                "skopeo copy oci-archive ->",
                run(
                    "skopeo",
                    self.place.skopeo().args([
                        "copy",
                        "--dest-tls-verify=false",
                        &format!("oci-archive:{}", oci.display()),
                        &format!("docker://{}/bench/many:1", far.address()),
                    ]),
                ),
            );
            drop((far, target));
            let target = self.place.registry("target");
            let far = self.place.far(&target);
            table.add(
                "oras cp, 16 at once",
                run(
                    "oras",
                    self.place.oras().args([
                        "cp",
                        "--concurrency",
                        "16",
                        "--from-oci-layout",
                        &format!("{}:1", layout.display()),
                        "--to-plain-http",
                        &format!("{}/bench/many:1", far.address()),
                    ]),
                ),
            );
        }
        table.print();
    }
}

fn main() {
    let filter: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let rounds = std::env::var("BENCH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(5);
    let Some(place) = Place::prepare() else { return };
    let bench = Bench { place, rounds, filter };
    let source = bench.place.registry("source");
    bench.place.fill(&source);
    let scenarios: [(&str, fn(&Bench, &Registry)); 5] = [
        ("create-one", Bench::create_one),
        ("create-five", Bench::create_five),
        ("load-one", Bench::load_one),
        ("create-far", Bench::create_far),
        ("load-far", Bench::load_far),
    ];
    for (name, scenario) in scenarios {
        if bench.wanted(name) {
            scenario(&bench, &source);
        }
    }
}
