//! SIGKILL at moments that are drawn anew each time, from a generator that always starts at the same number.

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::machine::{CREATE, HOST, Image, LOAD, Machine, Running, assert_loaded, fill, incomplete};
use crate::support::{
    faults::{Chance, Line, Proxy},
    registry::{DockerRegistry, Registry, Security},
};

const KILLS: usize = 50;

/// Slow enough that a run has moments to be killed at: about 25 MB/s for each connection.
fn slow() -> Line {
    Line { round_trip: Duration::from_millis(4), window: 96 << 10, ..Line::default() }
}

/// What lies between two marks of a download (4 MiB), the two buffers of a connection, and what the line and the system
/// hold.
const LOST_PER_KILL: u64 = (4 + 2 + 1) << 20;

/// What two undisturbed runs may differ by: requests that are only made when there is no lock, and a few retries.
const REQUESTS: u64 = 16 << 10;

/// Kills a command at a moment of its run: half of the moments are drawn from the time that a whole run takes, half from
/// the bytes that it moves, so that a busy machine meets them as well. False when it ended before.
fn kill_somewhere(running: &mut Running, chance: &Chance, proxy: &Proxy, whole: (Duration, u64)) -> bool {
    let (began, before) = (Instant::now(), proxy.carried());
    if chance.below(2) == 0 {
        let moment = whole.0.mul_f64(chance.fraction());
        running.wait_until(|| began.elapsed() >= moment);
    } else {
        let bytes = chance.below(whole.1);
        running.wait_until(|| proxy.carried() - before >= bytes);
    }
    running.kill()
}

#[test]
fn fifty_kills_of_create_change_nothing() {
    let source = Registry::start();
    fill(&source, 10 << 20);
    let proxy = Proxy::start(source.addr(), slow());
    let clean = Machine::new();
    clean.spec(proxy.addr());
    let took = clean.run(CREATE).succeeded().took;
    let whole = (took, proxy.carried());
    let expected = clean.archive().unwrap();
    let all = ["bundle.key", "bundle.lock", "bundle.pub", "bundle.yaml", "shop.tar"];
    assert_eq!(clean.names(), all);

    let machine = Machine::new();
    machine.spec(proxy.addr());
    let chance = Chance::new(20);
    let (mut kills, mut during, mut ended, mut in_a_row, mut at_start) = (0, 0, 0, 0, proxy.carried());
    let mut fetched_again = 0;
    // Each kill costs one run, and so does each run that ends before its moment: far fewer than half of them.
    for _ in 0..6 * KILLS {
        let mut running = machine.start(CREATE);
        // The last run is left alone.
        let killed = kills < KILLS && kill_somewhere(&mut running, &chance, &proxy, whole);
        if killed {
            (kills, in_a_row) = (kills + 1, in_a_row + 1);
            during += usize::from(machine.path("shop.tar.partial").exists());
            // Under the final name there is everything or nothing.
            assert!(machine.archive().is_none_or(|bytes| bytes == expected), "kill {kills}");
            continue;
        }
        running.outcome().succeeded();
        ended += 1;
        assert!(machine.archive().unwrap() == expected, "after kill {kills}");
        assert_eq!(machine.names(), all, "after kill {kills}");
        let again = (proxy.carried() - at_start).saturating_sub(whole.1);
        assert!(
            again <= REQUESTS + in_a_row * (LOST_PER_KILL + whole.1 / 20),
            "{again} bytes again for {in_a_row} kills"
        );
        fetched_again += again;
        if kills == KILLS {
            println!(
                "{kills} kills, {during} of them while blobs were written; {ended} runs ended, {} of {} bytes again for each kill",
                fetched_again / KILLS as u64,
                whole.1
            );
            assert!(during >= KILLS / 5, "only {during} kills met a run that wrote");
            return;
        }
        // Every second time from nothing, else over what is there.
        if chance.below(2) == 0 {
            fs::remove_file(machine.path("shop.tar")).unwrap();
            fs::remove_file(machine.path("bundle.lock")).unwrap();
        }
        (in_a_row, at_start) = (0, proxy.carried());
    }
    panic!("only {kills} of {KILLS} kills met their run");
}

#[test]
fn what_was_marked_before_a_kill_is_not_fetched_again() {
    let source = Registry::start();
    fill(&source, 24 << 20);
    let proxy = Proxy::start(source.addr(), slow());
    let machine = Machine::new();
    machine.spec(proxy.addr());
    let mut running = machine.start(CREATE);
    assert!(running.wait_until(|| proxy.carried() >= 20 << 20));
    assert!(running.kill());
    let before = proxy.carried();
    machine.run(CREATE).succeeded();
    let after = proxy.carried() - before;
    let whole = 24 << 20;
    println!("{before} bytes before the kill, {after} after it");
    // Besides layers there are manifests, and the small layers that were not marked.
    assert!(after <= whole + (1 << 20) - before + LOST_PER_KILL, "{before} bytes before the kill, {after} after it");
    machine.run(&["verify", "shop.tar", "--key", "bundle.pub"]).succeeded();
}

/// Looks at every tag of a target all the time, and remembers the first one that points at something incomplete.
struct Watch {
    stop: Arc<AtomicBool>,
    found: Arc<Mutex<Option<String>>>,
    thread: Option<std::thread::JoinHandle<usize>>,
}

impl Watch {
    fn start(at: std::net::SocketAddr, prefix: Arc<Mutex<String>>, images: Vec<Image>) -> Watch {
        let (stop, found) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None)));
        let (until, problem) = (stop.clone(), found.clone());
        let thread = std::thread::spawn(move || {
            let mut looks = 0;
            while !until.load(Ordering::SeqCst) {
                for image in &images {
                    let prefix = prefix.lock().unwrap().clone();
                    let repository = format!("{prefix}{HOST}/{}", image.repository);
                    if let Some(wrong) = incomplete(at, &repository, "1") {
                        problem.lock().unwrap().get_or_insert(wrong);
                    }
                    looks += 1;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            looks
        });
        Watch { stop, found, thread: Some(thread) }
    }

    /// Returns how often it looked.
    fn end(mut self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        let looks = self.thread.take().unwrap().join().unwrap();
        assert_eq!(self.found.lock().unwrap().take(), None);
        looks
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

fn kills_of_load(upstream: std::net::SocketAddr, wanted: usize) {
    let source = Registry::start();
    let images = fill(&source, 6 << 20);
    let machine = Machine::new();
    machine.spec(source.addr());
    machine.run(CREATE).succeeded();
    let proxy = Proxy::start(upstream, slow());
    let load = |prefix: &str| {
        let target = format!("{}/{prefix}", proxy.addr());
        machine.start(&[LOAD, &[target.trim_end_matches('/')]].concat())
    };
    let took = load("clean/").outcome().succeeded().took;
    let whole = (took, proxy.carried());
    assert_loaded(upstream, "clean/", &images);

    let prefix = Arc::new(Mutex::new("t0/".to_owned()));
    let watch = Watch::start(upstream, prefix.clone(), images.clone());
    let chance = Chance::new(21);
    let (mut kills, mut ended) = (0, 0);
    for _ in 0..6 * wanted {
        let target = prefix.lock().unwrap().clone();
        let mut running = load(&target);
        if kills < wanted && kill_somewhere(&mut running, &chance, &proxy, whole) {
            kills += 1;
            continue;
        }
        running.outcome().succeeded();
        ended += 1;
        assert_loaded(upstream, &target, &images);
        if kills == wanted {
            let looks = watch.end();
            println!("{kills} kills, {ended} runs ended, {looks} looks at tags");
            assert!(looks > wanted);
            return;
        }
        *prefix.lock().unwrap() = format!("t{ended}/");
    }
    panic!("only {kills} of {wanted} kills met their run");
}

#[test]
fn fifty_kills_of_load_leave_no_tag_without_its_image() {
    let target = Registry::start();
    kills_of_load(target.addr(), KILLS);
}

#[test]
fn kills_of_load_into_a_stock_registry() {
    let Some(target) = DockerRegistry::start(false, Security::Plain) else { return };
    kills_of_load(target.host().parse().unwrap(), 6);
}
