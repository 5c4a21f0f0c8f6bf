//! One run of one tool: its time, the processor time that it took, its memory, and who else was at work meanwhile.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// The kernel's unit of processor time in `/proc` (`USER_HZ`, fixed at 100 on Linux).
const TICK: f64 = 0.01;

/// More of the machine than this in other hands, and a run is made again.
const DISTURBED: f64 = 0.15;

/// How often a run is made again before the least disturbed one counts.
const AGAIN: usize = 3;

/// What one run took.
#[derive(Clone, Copy)]
pub struct Sample {
    pub seconds: f64,
    /// Processor time of the tool.
    pub cpu: f64,
    /// Processor time of the registries on the other side.
    pub registry_cpu: f64,
    pub peak_kib: u64,
    /// The share of the machine that everybody else took meanwhile.
    pub foreign: f64,
}

/// Processor seconds of the children that have ended, of everything on this machine, and of other processes.
struct Clock {
    children: f64,
    machine: f64,
    registries: f64,
    own: f64,
}

fn fields(path: &str) -> Vec<f64> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    // The name of a process is in parentheses and may hold blanks.
    let rest = text.rsplit_once(')').map_or(text.as_str(), |(_, rest)| rest);
    rest.split_whitespace().map(|word| word.parse().unwrap_or(0.0)).collect()
}

/// Returns the processor time of a process with all its threads, in seconds.
pub fn cpu_of(process: &str) -> f64 {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else { return 0.0 };
    let spent =
        |path: PathBuf| fields(&path.join("schedstat").display().to_string()).first().map_or(0.0, |ns| ns / 1e9);
    threads.flatten().map(|thread| spent(thread.path())).sum()
}

impl Clock {
    fn read(registries: &[u32]) -> Clock {
        let stat = fields("/proc/self/stat");
        let all = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let busy: f64 = all.lines().next().unwrap_or_default().split_whitespace().skip(1).enumerate().fold(
            0.0,
            // The fourth and fifth numbers are idleness.
            |sum, (at, word)| if at == 3 || at == 4 || at > 7 { sum } else { sum + word.parse().unwrap_or(0.0) },
        );
        Clock {
            // Fields 16 and 17 of proc(5), counted from the one behind the name.
            children: (stat[13] + stat[14]) * TICK,
            machine: busy * TICK,
            registries: registries.iter().map(|id| cpu_of(&id.to_string())).sum(),
            own: (stat[11] + stat[12]) * TICK,
        }
    }
}

/// Runs a command until it was hardly disturbed; `fresh` brings everything to the state that it had before.
pub fn run(label: &str, registries: &dyn Fn() -> Vec<u32>, fresh: &mut dyn FnMut() -> Command) -> Sample {
    let mut best: Option<Sample> = None;
    for _ in 0..=AGAIN {
        let mut command = fresh();
        let sample = once(label, &registries(), &mut command);
        if best.is_none_or(|best| sample.foreign < best.foreign) {
            best = Some(sample);
        }
        if sample.foreign < DISTURBED {
            break;
        }
    }
    best.expect("there was one run")
}

/// Runs a command to its end; panics with its output when it fails, because a ratio with a failed run means nothing.
pub fn once(label: &str, registries: &[u32], command: &mut Command) -> Sample {
    let log = std::env::temp_dir().join(format!("bench-{}.log", std::process::id()));
    let output = std::fs::File::create(&log).unwrap();
    command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
    // Nobody pays for what the tool before left to be written.
    Command::new("sync").status().unwrap();
    let before = Clock::read(registries);
    let started = Instant::now();
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{label}: {error}"));
    let (peak, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let watching = {
        let (peak, done) = (Arc::clone(&peak), Arc::clone(&done));
        let status = format!("/proc/{}/status", child.id());
        std::thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                if let Ok(text) = std::fs::read_to_string(&status)
                    && let Some(line) = text.lines().find(|line| line.starts_with("VmHWM:"))
                {
                    let kib = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
                    peak.fetch_max(kib, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(4));
            }
        })
    };
    let status = child.wait().unwrap();
    let seconds = started.elapsed().as_secs_f64();
    let after = Clock::read(registries);
    done.store(true, Ordering::Relaxed);
    watching.join().unwrap();
    assert!(status.success(), "{label} failed:\n{}", std::fs::read_to_string(&log).unwrap_or_default());
    let (cpu, registry_cpu) = (after.children - before.children, after.registries - before.registries);
    let foreign = after.machine - before.machine - cpu - registry_cpu - (after.own - before.own);
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    Sample {
        seconds,
        cpu,
        registry_cpu,
        peak_kib: peak.load(Ordering::Relaxed),
        foreign: (foreign / (seconds * cores)).max(0.0),
    }
}

pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Returns the most room on the disk that the folders took while the command ran, in bytes.
pub fn peak_on_disk(folders: &[PathBuf], command: &mut Command) -> u64 {
    fn allocated(path: &Path) -> u64 {
        use std::os::unix::fs::MetadataExt;
        let Ok(metadata) = std::fs::symlink_metadata(path) else { return 0 };
        if !metadata.is_dir() {
            return metadata.blocks() * 512;
        }
        std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| allocated(&entry.path())).sum()
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        peak = peak.max(folders.iter().map(|folder| allocated(folder)).sum());
        std::thread::sleep(Duration::from_millis(5));
    }
    peak.max(folders.iter().map(|folder| allocated(folder)).sum())
}

/// Collects samples of one scenario and prints the table; the first tool is the one that others are compared with.
pub struct Table {
    scenario: &'static str,
    megabytes: f64,
    tools: Vec<&'static str>,
    samples: BTreeMap<&'static str, Vec<Sample>>,
    disk: BTreeMap<&'static str, u64>,
}

impl Table {
    pub fn new(scenario: &'static str, bytes: u64) -> Self {
        let (samples, disk) = (BTreeMap::new(), BTreeMap::new());
        Table { scenario, megabytes: bytes as f64 / 1e6, tools: Vec::new(), samples, disk }
    }

    pub fn add(&mut self, tool: &'static str, sample: Sample) {
        if !self.tools.contains(&tool) {
            self.tools.push(tool);
        }
        self.samples.entry(tool).or_default().push(sample);
    }

    pub fn add_disk(&mut self, tool: &'static str, bytes: u64) {
        self.disk.insert(tool, bytes);
    }

    pub fn median(&self, tool: &str) -> f64 {
        median(self.samples[tool].iter().map(|sample| sample.seconds))
    }

    pub fn print(&self, order: &[&'static str]) {
        let ours = self.median(order[0]);
        println!("\n{} ({:.0} MB)", self.scenario, self.megabytes);
        println!(
            "  {:<36} {:>8} {:>8} {:>6} {:>8} {:>7} {:>8} {:>8} {:>9} {:>7}",
            "tool", "median", "best", "MB/s", "x bundle", "CPU", "registry", "RSS MiB", "disk MB", "others"
        );
        for tool in order {
            let samples = &self.samples[tool];
            let of = |value: fn(&Sample) -> f64| median(samples.iter().map(value));
            let best = samples.iter().map(|sample| sample.seconds).fold(f64::MAX, f64::min);
            let peak = samples.iter().map(|sample| sample.peak_kib).max().unwrap_or(0);
            let disk = self.disk.get(tool).map_or("-".to_owned(), |bytes| format!("{:.1}", *bytes as f64 / 1e6));
            println!(
                "  {tool:<36} {:>6.3} s {best:>6.3} s {:>6.0} {:>8.2} {:>5.2} s {:>6.2} s {:>8} {:>9} {:>5.0} %",
                self.median(tool),
                self.megabytes / self.median(tool),
                self.median(tool) / ours,
                of(|sample| sample.cpu),
                of(|sample| sample.registry_cpu),
                peak / 1024,
                disk,
                100.0 * of(|sample| sample.foreign),
            );
        }
    }
}
