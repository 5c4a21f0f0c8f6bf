//! All cases through the library, in one process.

use std::{
    path::Path,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use airgap_bundler::{
    files::{self, Limits as FileLimits},
    helm::{
        Ambient, Capabilities, Chart, KeySource, Limits, Options, Origin, Overrides, Release, Show, Time, render,
        to_helm_template_output,
    },
    tree::{RelPath, Tree},
};
use bytes::Bytes;

use super::Case;

/// What all cases took.
pub struct Figures {
    pub wall: f64,
    pub cpu: f64,
    pub peak_mib: u64,
}

impl Figures {
    /// Runs [`main`] in a child and reads what it prints.
    pub fn of_child(program: &Path) -> Figures {
        let output = Command::new(program).arg("--library").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let words: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
        Figures { wall: words[0].parse().unwrap(), cpu: words[1].parse().unwrap(), peak_mib: words[2].parse().unwrap() }
    }
}

/// Renders all cases so many times and prints wall seconds, processor seconds and the peak of memory in MiB of the last round.
pub fn main(cases: &[Case], rounds: usize) {
    for _ in 0..rounds {
        let (cpu, started) = (processor(), Instant::now());
        // One after the other on every core, as `resolve` does with the charts of a spec.
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                let done = case.render();
                assert_eq!(done.is_err(), case.fails, "{}: {done:?}", case.id);
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(work);
            }
        });
        println!("{:.3} {:.3} {}", started.elapsed().as_secs_f64(), processor() - cpu, peak_mib());
    }
}

/// Returns the processor time of this process, in seconds.
fn processor() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let words: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    words[11..13].iter().map(|word| word.parse::<f64>().unwrap()).sum::<f64>() * super::TICK
}

/// Returns the kernel's high-water mark of this process's memory.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn unpack(name: &Path, bytes: &Bytes) -> Result<Tree, files::Error> {
    let tree = files::read_tarball(name, bytes.as_ref(), &FileLimits::default())?.tree;
    let below_top = |(path, content): (&RelPath, &Bytes)| {
        let inner: RelPath = path.as_str().split_once('/')?.1.parse().ok()?;
        Some((inner, content.clone()))
    };
    Ok(tree.iter().filter_map(below_top).collect())
}

impl Case {
    /// Reads, renders and prints a case, as `bundle template` does; returns the size of the output.
    fn render(&self) -> Result<usize, String> {
        let flag = |name: &str| self.args.iter().any(|word| word == name);
        let value = |name: &str| Some(self.args[self.args.iter().position(|word| word == name)? + 1].as_str());
        let inner = |name: &str, bytes: &Bytes| unpack(Path::new(name), bytes).map_err(|error| error.to_string());
        let bytes = files::read_limited(&self.chart, FileLimits::default().bytes).map_err(|error| error.to_string())?;
        let tree = unpack(&self.chart, &bytes).map_err(|error| error.to_string())?;
        let chart = Chart::load(&tree, Origin::Archive, &inner).map_err(|error| error.to_string())?;
        let overrides = self.values.iter().fold(Overrides::new(), |all, path| {
            all.file(path.display().to_string(), std::fs::read_to_string(path).unwrap())
        });
        let capabilities = value("--kube-version")
            .map_or_else(|| Ok(Capabilities::default()), |version| Capabilities::default().with_kube_version(version))
            .map_err(|error| error.to_string())?;
        let rendered = render(
            &chart,
            &overrides,
            &Release::new("rel", value("-n").unwrap_or("default")),
            &capabilities,
            &Ambient { now: Time::unix(1_700_000_000), random: [7; 32], keys: KeySource::Sample },
            &Limits::default(),
            &Options { skip_schema_validation: flag("--skip-schema-validation"), ..Options::default() },
        )
        .map_err(|error| error.to_string())?;
        let show = Show { include_crds: flag("--include-crds"), ..Show::default() };
        Ok(to_helm_template_output(&rendered, &show).map_err(|error| error.to_string())?.len())
    }
}
