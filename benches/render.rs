//! Measures the rendering of charts beside helm: as a process, chart by chart, and as a library, all charts in one process.
//!
//! ```text
//! BUNDLE_CORPUS=corpus BUNDLE_REFEREES=target/referees cargo bench --bench render
//! BUNDLE_CORPUS=corpus cargo bench --bench render -- --library 20     # only the library, 20 rounds; what a profiler wants
//! ```
//!
//! The corpus is a folder with `cases.json`, a list of `{"id", "chart", "values": [...], "args": [...], "helm4_ok"}`: paths of
//! a packed chart and of values files in the folder, flags of `helm template`, and whether helm renders it. helm is
//! `helm4` in the referees' folder. `BENCH_LIMIT` takes only so many cases.
//!
//! helm and bundle run in turns, case by case, each as a user types it, output to `/dev/null`. Processor time is what the
//! kernel counts for ended children, and does not depend on who else is at work.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and one that cannot run says so by panicking"
)]

#[path = "render/library.rs"]
mod library;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

/// The kernel's unit of processor time in `/proc` (`USER_HZ`, fixed at 100 on Linux).
const TICK: f64 = 0.01;

/// A chart with values and flags.
pub struct Case {
    id: String,
    chart: PathBuf,
    values: Vec<PathBuf>,
    args: Vec<String>,
    fails: bool,
}

/// Reads the list of cases; `None`, and a word about it, when there is no corpus.
fn cases() -> Option<Vec<Case>> {
    let Some(corpus) = std::env::var_os("BUNDLE_CORPUS").map(PathBuf::from) else {
        println!("SKIPPED: BUNDLE_CORPUS names no folder of charts");
        return None;
    };
    let Ok(text) = std::fs::read_to_string(corpus.join("cases.json")) else {
        println!("SKIPPED: there is no cases.json in {}", corpus.display());
        return None;
    };
    let list: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let limit = std::env::var("BENCH_LIMIT").ok().and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
    let words = |value: &serde_json::Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let case = |case: &serde_json::Value| Case {
        id: case["id"].as_str().unwrap().to_owned(),
        chart: corpus.join(case["chart"].as_str().unwrap()),
        values: words(&case["values"]).iter().map(|path| corpus.join(path)).collect(),
        args: words(&case["args"]),
        fails: case["helm4_ok"] != true,
    };
    Some(list.iter().take(limit).map(case).collect())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Returns the processor time of all children that ended so far, in seconds.
fn children() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let words: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // Fields 16 and 17 of proc(5), counted from the one behind the name.
    words[13..15].iter().map(|word| word.parse::<f64>().unwrap()).sum::<f64>() * TICK
}

/// What one tool took for all cases.
#[derive(Default)]
struct Runs {
    wall: Vec<f64>,
    cpu: f64,
}

impl Runs {
    fn run(&mut self, tool: &Path, quiet: &[&str], case: &Case) {
        let mut command = Command::new(tool);
        command.args(quiet).args(["template", "rel"]).arg(&case.chart).args(&case.args);
        for path in &case.values {
            command.arg("-f").arg(path);
        }
        // No proxy leads anywhere: what a schema refers to is not fetched.
        command.env("HTTPS_PROXY", "http://127.0.0.1:9").env("HTTP_PROXY", "http://127.0.0.1:9");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let (cpu, started) = (children(), Instant::now());
        let status = command.status().unwrap();
        self.wall.push(started.elapsed().as_secs_f64());
        // The counter ticks coarsely, but what one difference misses the next ones have: the sum is right.
        self.cpu += children() - cpu;
        assert_eq!(status.success(), !case.fails, "{} {}", tool.display(), case.id);
    }

    fn sum(&self) -> f64 {
        self.wall.iter().sum()
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let Some(cases) = cases() else { return };
    if words.first().is_some_and(|word| word == "--library") {
        let rounds = words.get(1).and_then(|rounds| rounds.parse().ok()).unwrap_or(1);
        library::main(&cases, rounds);
        return;
    }
    let referees = PathBuf::from(std::env::var_os("BUNDLE_REFEREES").unwrap_or_else(|| "target/referees".into()));
    let helm = referees.join("helm4");
    if !helm.exists() {
        println!("SKIPPED: there is no helm4 in {}", referees.display());
        return;
    }
    let load = || std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load before: {}", load().trim());
    let bundle = Path::new(env!("CARGO_BIN_EXE_bundle"));
    let (mut ours, mut theirs) = (Runs::default(), Runs::default());
    for case in &cases {
        theirs.run(&helm, &[], case);
        ours.run(bundle, &["-q"], case);
    }
    // A process of its own, so that its memory is the renderer's alone.
    let library = library::Figures::of_child(&std::env::current_exe().unwrap());
    let ms = |runs: &Runs| 1000.0 * median(runs.wall.clone());
    let ratios: Vec<f64> = theirs.wall.iter().zip(&ours.wall).map(|(theirs, ours)| theirs / ours).collect();
    println!("{} cases", cases.len());
    println!("  {:<28} {:>12} {:>10} {:>10} {:>8}", "", "median wall", "sum wall", "sum CPU", "RSS MiB");
    for (name, runs) in [("helm template", &theirs), ("bundle template", &ours)] {
        println!("  {name:<28} {:>9.2} ms {:>8.2} s {:>8.2} s {:>8}", ms(runs), runs.sum(), runs.cpu, "");
    }
    let row = "all in one process";
    println!("  {row:<28} {:>12} {:>8.2} s {:>8.2} s {:>8}", "", library.wall, library.cpu, library.peak_mib);
    println!(
        "process, ratio of medians:    {:.1} (median of the ratios {:.1})",
        ms(&theirs) / ms(&ours),
        median(ratios)
    );
    println!("process, CPU:                 {:.1}", theirs.cpu / ours.cpu);
    println!("one process, wall time:       1/{:.0} of helm's sum", theirs.sum() / library.wall);
    println!("one process, CPU:             1/{:.0} of helm's sum", theirs.cpu / library.cpu);
    println!("one process, peak memory:     {} MiB", library.peak_mib);
    println!("load after: {}", load().trim());
}
