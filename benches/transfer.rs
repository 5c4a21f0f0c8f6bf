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
//!
//! Every tool is run as a user types it. Before each run its output is removed and dirty pages are written (`sync`); the
//! registry's files stay in the page cache for all of them. The order of the tools turns with each round. A run during
//! which others took more than 15 % of the machine is made again, at most three times; the column `others` shows what
//! remained. Peak memory is the high-water mark that the kernel keeps for the process; room on the disk is sampled in a
//! run of its own.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::type_complexity,
    reason = "a benchmark prints, and one that cannot run says so by panicking"
)]

#[path = "transfer/images.rs"]
mod images;
#[path = "transfer/limit.rs"]
mod limit;
#[path = "transfer/measure.rs"]
mod measure;
#[path = "transfer/place.rs"]
mod place;
#[path = "transfer/scenarios.rs"]
mod scenarios;

use place::{Place, Registry};
use scenarios::Bench;

fn main() {
    let filter: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let rounds = std::env::var("BENCH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(5);
    let Some(place) = Place::prepare() else { return };
    let load = || std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load before: {}", load().trim());
    let source = place.registry("source");
    place.fill(&source);
    let bench = Bench::new(place, rounds);
    let scenarios: [(&str, fn(&Bench, &Registry)); 6] = [
        ("create-one", Bench::create_one),
        ("create-five", Bench::create_five),
        ("create-many", Bench::create_many),
        ("load-one", Bench::load_one),
        ("create-far", Bench::create_far),
        ("load-far", Bench::load_far),
    ];
    for (name, scenario) in scenarios {
        if filter.is_empty() || filter.iter().any(|word| name.contains(word.as_str())) {
            scenario(&bench, &source);
        }
    }
    println!("\nload after: {}", load().trim());
}
