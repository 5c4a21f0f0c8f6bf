//! Memory does not grow with the image: 64 MiB and 2 MiB for each connection are promised, whatever the size.

use std::fs;

use super::machine::{CREATE, LOAD, Machine, Running};
use crate::support::{memory::noise, registry::Registry};

const LAYER: usize = 100 << 20;

/// What is promised at four connections, in KiB, and as much again: this program is built without optimisation.
const BOUND: u64 = 2 * ((64 + 2 * 4) << 10);

/// Reads the largest resident size so far, in KiB; it only grows, so the last look before the end is close to the truth.
fn peak(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

fn measure(what: &str, mut running: Running) {
    let process = running.id();
    let mut most = 0;
    running.wait_until(|| {
        most = most.max(peak(process));
        false
    });
    running.outcome().succeeded();
    println!("{what}: {} MiB", most >> 10);
    assert!(most > 0 && most < BOUND, "{what}: {} MiB", most >> 10);
}

#[test]
fn three_hundred_megabytes_pass_through_little_memory() {
    if !std::path::Path::new("/proc/self/status").exists() {
        eprintln!("SKIPPED: no /proc tells how much memory a process takes");
        return;
    }
    let source = Registry::start();
    {
        let layers: Vec<Vec<u8>> = (1..=3).map(|seed| noise(seed, LAYER)).collect();
        let layers: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
        source.put_image("large", "1", &layers);
    }
    let machine = Machine::new();
    machine.spec_of(source.addr(), &["large:1"]);
    // Deriving a signing key from its passphrase takes 64 MiB by cosign's parameters, before anything is pulled.
    measure("create, signed", machine.start(CREATE));
    measure("create, not signed", machine.start(&["create", "-o", "unsigned.tar", "-j", "4"]));
    measure("verify", machine.start(&["verify", "shop.tar", "--key", "bundle.pub"]));
    let target = Registry::start();
    measure("load", machine.start(&[LOAD, &[&target.host()]].concat()));
}
