//! Disks that are full or read-only, and files that somebody else writes.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command, time::Duration};

use super::{
    machine::{CREATE, Machine, assert_loaded, fill, names},
    namespace,
};
use crate::support::{
    faults::{Line, Proxy},
    registry::Registry,
};

const LARGE: usize = 10 << 20;

fn mount(options: &str, at: &Path) {
    let output = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Reads the number of bytes that a message asks to free.
#[track_caller]
fn to_free(message: &str) -> u64 {
    let number = message.split("free ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    number.parse().unwrap_or_else(|_| panic!("no number of bytes in: {message}"))
}

#[test]
fn a_full_disk_stops_a_create_and_room_continues_it() {
    namespace::run(&["--mount"], "true", "faults::disk::inside_a_small_disk");
}

#[test]
#[ignore = "runs in a namespace, started by a_full_disk_stops_a_create_and_room_continues_it"]
fn inside_a_small_disk() {
    if !namespace::is_inside() {
        return;
    }
    let source = Registry::start();
    let images = fill(&source, LARGE);
    let line = Line { round_trip: Duration::from_millis(4), window: 96 << 10, ..Line::default() };
    let proxy = Proxy::start(source.addr(), line);
    let clean = Machine::new();
    clean.spec(proxy.addr());
    clean.run(CREATE).succeeded();
    let expected = clean.archive().unwrap();

    let machine = Machine::new();
    machine.spec(proxy.addr());
    let disk = machine.path("disk");
    fs::create_dir(&disk).unwrap();
    mount("size=4m", &disk);
    let create = ["create", "--key", "bundle.key", "-o", "disk/shop.tar", "--progress", "plain"];

    // It is known before anything is fetched that this cannot fit.
    source.take_hits();
    let refused = machine.run(&create).failed(4, &["no room left", "disk/shop.tar", "run the same command again"]);
    let missing = to_free(&refused.err);
    let lacking = (expected.len() - (4 << 20)) as u64;
    assert!((lacking..lacking + (256 << 10)).contains(&missing), "{missing} for {lacking}: {}", refused.err);
    let large = source.hits().iter().filter(|hit| hit.method == "GET" && hit.path.contains("/blobs/")).count();
    // The configurations of images tell their platforms; layers are not touched.
    assert!(large <= 4, "{large} blobs were fetched");

    // It fits, and its room is its own from the start: somebody else takes all the rest while it is written.
    mount("remount,size=16m", &disk);
    let before = proxy.carried();
    let mut running = machine.start(&create);
    assert!(running.wait_until(|| proxy.carried() - before > 7 << 20));
    let filler = disk.join("filler");
    for _ in 0..64 {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(&filler).unwrap();
        if std::io::Write::write_all(&mut file, &[1; 256 << 10]).is_err() {
            break;
        }
    }
    let left = (16 << 20) - expected.len() as u64;
    assert!(fs::metadata(&filler).unwrap().len() <= left, "the archive had not set its room aside");
    assert!(running.kill(), "it was to be stopped half-way");
    let fetched = proxy.carried() - before;

    // What had arrived is kept, and the full disk does not keep the rest from coming.
    let before = proxy.carried();
    machine.run(&create).succeeded();
    assert!(fs::read(disk.join("shop.tar")).unwrap() == expected);
    assert_eq!(names(&disk), ["filler", "shop.tar"]);
    let again = proxy.carried() - before;
    println!(
        "{fetched} bytes until the disk was full and create was killed, {again} after that, of {}",
        expected.len()
    );
    assert!(again + (3 << 20) < expected.len() as u64, "{again} bytes were fetched again");

    // Read-only media: the archive is used in place, and nothing is written beside it.
    fs::remove_file(&filler).unwrap();
    mount("remount,ro", &disk);
    assert!(fs::write(disk.join("x"), "x").is_err());
    let target = Registry::start();
    let host = target.host();
    for command in [
        &["verify", "disk/shop.tar", "--key", "bundle.pub"][..],
        &["inspect", "disk/shop.tar"],
        &["why", "app/one", "disk/shop.tar"],
        &["load", "disk/shop.tar", "--key", "bundle.pub", "--to", &host],
    ] {
        machine.run(command).succeeded();
    }
    assert_loaded(target.addr(), "", &images);
    let refused = machine.run(&create);
    assert!(refused.code.is_some_and(|code| code != 0) && refused.err.contains("disk/shop.tar"), "{}", refused.err);
}

#[test]
fn an_archive_is_used_where_nothing_may_be_written() {
    let source = Registry::start();
    let images = fill(&source, 1 << 20);
    let machine = Machine::new();
    machine.spec(source.addr());
    machine.run(CREATE).succeeded();
    let disc = machine.path("disc");
    fs::create_dir(&disc).unwrap();
    fs::rename(machine.path("shop.tar"), disc.join("shop.tar")).unwrap();
    fs::set_permissions(disc.join("shop.tar"), fs::Permissions::from_mode(0o444)).unwrap();
    fs::set_permissions(&disc, fs::Permissions::from_mode(0o555)).unwrap();
    let target = Registry::start();
    let host = target.host();
    let before = fs::metadata(&disc).unwrap().modified().unwrap();
    for command in [
        &["verify", "disc/shop.tar", "--key", "bundle.pub"][..],
        &["inspect", "disc/shop.tar"],
        &["load", "disc/shop.tar", "--key", "bundle.pub", "--to", &host],
    ] {
        machine.run(command).succeeded();
    }
    assert_loaded(target.addr(), "", &images);
    assert_eq!(names(&disc), ["shop.tar"]);
    // A file that came and went would have changed the folder; root may do what its mode forbids.
    assert_eq!(fs::metadata(&disc).unwrap().modified().unwrap(), before);
    fs::set_permissions(&disc, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_second_create_of_one_file_is_told_at_once() {
    let source = Registry::start();
    fill(&source, LARGE);
    let line = Line { round_trip: Duration::from_millis(20), window: 64 << 10, ..Line::default() };
    let proxy = Proxy::start(source.addr(), line);
    let machine = Machine::new();
    machine.spec(proxy.addr());
    let mut first = machine.start(CREATE);
    assert!(first.wait_until(|| machine.path("shop.tar.partial.journal").exists()));
    // Straight to the registry, so that only the file can keep it.
    fs::create_dir(machine.path("near")).unwrap();
    machine.spec(source.addr());
    let second = machine.run(CREATE);
    assert!(!first.ended(), "the first create was too fast for this test");
    second.failed(4, &["shop.tar.partial", "in use by another process"]);
    first.outcome().succeeded();
    machine.run(&["verify", "shop.tar", "--key", "bundle.pub"]).succeeded();
}
