//! A registry that fails, lies, stalls, cuts connections, asks for patience, and forgets its tokens: as a source, and as a
//! target.

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use airgap_bundler::oci::Digest;
use serde_json::Value;

use super::machine::{CREATE, HOST, Image, LOAD, Machine, Outcome, assert_loaded, fill};
use crate::support::{
    faults::{Fault, Happened, Line, Proxy, Rule, by_chance, by_rule},
    registry::{Registry, Setup},
    tokens::{Policy, Tokens},
};

/// A layer of this size takes a few reads and no noticeable time.
const LARGE: usize = 2 << 20;

fn with_rules(rules: Vec<Rule>) -> (Registry, Happened) {
    let (wrap, happened) = by_rule(rules);
    (Registry::with(Setup { wrap: Some(wrap), ..Setup::default() }), happened)
}

/// Returns the archive that a registry without faults gives.
fn expected() -> Vec<u8> {
    let source = Registry::start();
    fill(&source, LARGE);
    let machine = Machine::new();
    machine.spec(source.addr());
    machine.run(CREATE).succeeded();
    machine.archive().unwrap()
}

/// Creates from a registry with these faults, and compares with what a good one gives.
fn create_through(rules: Vec<Rule>, arguments: &[&str]) -> (Outcome, usize) {
    let (source, happened) = with_rules(rules);
    fill(&source, LARGE);
    let machine = Machine::new();
    machine.spec(source.addr());
    let outcome = machine.run(&[CREATE, arguments].concat()).succeeded();
    assert!(machine.archive().unwrap() == expected());
    (outcome, happened.count())
}

/// Makes an archive; returns the machine that has it, and its images.
fn with_archive() -> (Machine, Vec<Image>) {
    let source = Registry::start();
    let images = fill(&source, LARGE);
    let machine = Machine::new();
    machine.spec(source.addr());
    machine.run(CREATE).succeeded();
    (machine, images)
}

/// Loads into a registry with these faults, and checks what arrived.
fn load_through(rules: Vec<Rule>, arguments: &[&str]) -> (Outcome, usize) {
    let (target, happened) = with_rules(rules);
    let (machine, images) = with_archive();
    let outcome = machine.run(&[LOAD, &[&target.host()], arguments].concat()).succeeded();
    assert_loaded(target.addr(), "", &images);
    (outcome, happened.count())
}

/// Fills a data folder through a door of its own, without faults, and lets go of it.
fn prepared(data: &Path) -> Vec<Image> {
    let registry = Registry::with(Setup { data: Some(data.to_owned()), ..Setup::default() });
    let images = fill(&registry, LARGE);
    registry.stop();
    images
}

fn digest_of_large() -> String {
    Digest::sha256(&crate::support::memory::noise(1, LARGE)).to_string()
}

#[test]
fn a_create_through_three_in_ten_failures_completes() {
    let mut resets = 0;
    for seed in [1, 2] {
        let (wrap, happened) = by_chance(seed, 0.3);
        let place = tempfile::tempdir().unwrap();
        let data = place.path().join("data");
        prepared(&data);
        let source = Registry::with(Setup { data: Some(data), wrap: Some(wrap), ..Setup::default() });
        let line = Line { seed, probability: 0.6, within: 8 << 10, ..Line::default() };
        let proxy = Proxy::start(source.addr(), line);
        let machine = Machine::new();
        machine.spec(proxy.addr());
        let outcome = machine.run(CREATE).succeeded();
        assert!(machine.archive().unwrap() == expected());
        let requests = source.hits().len() + happened.count();
        println!(
            "create: {} faults and {} resets in {requests} requests, {:?}",
            happened.count(),
            proxy.broken(),
            outcome.took
        );
        assert!(happened.count() > 0);
        resets += proxy.broken();
    }
    assert!(resets > 0);
}

#[test]
fn a_load_through_three_in_ten_failures_completes() {
    let (machine, images) = with_archive();
    for seed in [3, 4] {
        let (wrap, happened) = by_chance(seed, 0.3);
        let place = tempfile::tempdir().unwrap();
        let data = place.path().join("data");
        let target = Registry::with(Setup { data: Some(data.clone()), wrap: Some(wrap), ..Setup::default() });
        let line = Line { seed, probability: 0.3, within: 4 << 10, ..Line::default() };
        let proxy = Proxy::start(target.addr(), line);
        let outcome = machine.run(&[LOAD, &[&proxy.addr().to_string()]].concat()).succeeded();
        let requests = target.hits().len() + happened.count();
        println!(
            "load: {} faults and {} resets in {requests} requests, {:?}",
            happened.count(),
            proxy.broken(),
            outcome.took
        );
        assert!(happened.count() > 0);
        drop(proxy);
        target.stop();
        let whole = Registry::with(Setup { data: Some(data), ..Setup::default() });
        assert_loaded(whole.addr(), "", &images);
    }
}

#[test]
fn what_will_not_change_fails_at_once() {
    for (status, path) in [(404, "/manifests/"), (403, "/manifests/"), (404, "/blobs/"), (403, "/blobs/")] {
        let (source, happened) = with_rules(vec![
            Rule::always("GET", path, Fault::Status(status)),
            Rule::always("HEAD", path, Fault::Status(status)),
        ]);
        // Blobs and manifests are put, not got.
        fill(&source, LARGE);
        let machine = Machine::new();
        machine.spec_of(source.addr(), &["app/one:1"]);
        let outcome = machine.run(CREATE).failed(3, &["app/one"]);
        assert!(outcome.took < Duration::from_secs(5), "{status} {path}: {:?}", outcome.took);
        assert!(!outcome.err.contains("retry"), "{}", outcome.err);
        println!("create, {status} {path}: {} requests, {:?}", happened.count(), outcome.took);
        // At most one for each thing that is asked for.
        assert!(happened.count() <= 6, "{status} {path}: {} requests", happened.count());
        assert!(machine.archive().is_none());
    }
    let (machine, _) = with_archive();
    for (status, method, path) in [(403, "POST", "/uploads/"), (404, "POST", "/uploads/"), (403, "PUT", "/manifests/")]
    {
        let (target, happened) = with_rules(vec![Rule::always(method, path, Fault::Status(status))]);
        let outcome = machine.run(&[LOAD, &[&target.host()]].concat()).failed(3, &[]);
        assert!(outcome.took < Duration::from_secs(5), "{status} {path}: {:?}", outcome.took);
        assert!(!outcome.err.contains("retry"), "{}", outcome.err);
        println!("load, {status} {path}: {} requests, {:?}", happened.count(), outcome.took);
        assert!(happened.count() <= 12, "{status} {path}: {} requests", happened.count());
    }
}

/// Finds what the image needs: its configuration and its first layer.
fn parts(source: &Registry, repository: &str) -> (String, String) {
    let manifest: Value = source.get(&format!("/v2/{repository}/manifests/1")).json();
    let digest = |part: &Value| part["digest"].as_str().unwrap().to_owned();
    (digest(&manifest["config"]), digest(&manifest["layers"][0]))
}

#[test]
fn wrong_bytes_are_named_and_never_kept() {
    let probe = Registry::start();
    let images = fill(&probe, LARGE);
    let (config, layer) = parts(&probe, "app/one");
    let manifest = images[0].root.digest.to_string();
    for (what, digest) in [("layer", layer), ("config", config), ("manifest", manifest)] {
        let path = format!("/{}/{digest}", if what == "manifest" { "manifests" } else { "blobs" });
        let place = tempfile::tempdir().unwrap();
        let data = place.path().join("data");
        let (wrap, happened) = by_rule(vec![Rule::always("GET", path, Fault::Flip(40))]);
        let source = Registry::with(Setup { data: Some(data.clone()), wrap: Some(wrap), ..Setup::default() });
        fill(&source, LARGE);
        let machine = Machine::new();
        // Pinned before: a manifest that pinning has just verified is not asked for again.
        machine.spec(probe.addr());
        machine.run(&["resolve"]).succeeded();
        machine.spec(source.addr());
        let outcome = machine.run(CREATE).failed(5, &[&digest, &format!("{HOST}/app/one:1")]);
        assert!(happened.count() >= 1, "{what}");
        assert!(machine.archive().is_none(), "{what}");
        println!(
            "{what}: {} wrong answers, {:?}: {}",
            happened.count(),
            outcome.took,
            outcome.err.lines().last().unwrap_or_default()
        );
        source.stop();
        let healed = Registry::with(Setup { data: Some(data), ..Setup::default() });
        machine.spec(healed.addr());
        machine.run(CREATE).succeeded();
        assert!(machine.archive().unwrap() == expected(), "{what}");
    }
}

#[test]
fn a_tag_that_is_answered_with_wrong_bytes_pins_nothing() {
    // Until something is pinned, only the registry's own word tells what a tag means.
    let (source, _) = with_rules(vec![Rule::always("GET", "/manifests/", Fault::Flip(40))]);
    fill(&source, LARGE);
    let machine = Machine::new();
    machine.spec(source.addr());
    machine.run(CREATE).failed(5, &["app/one"]);
    assert_eq!(machine.names(), ["bundle.key", "bundle.pub", "bundle.yaml"]);
}

#[test]
fn a_connection_that_is_cut_is_taken_up_where_it_broke() {
    let path = format!("/blobs/{}", digest_of_large());
    for ranges in [true, false] {
        let mut rules = vec![
            Rule::once("GET", path.clone(), Fault::Truncate(LARGE / 2)),
            Rule::once("GET", path.clone(), Fault::Truncate(LARGE / 3)),
        ];
        if !ranges {
            rules.push(Rule::always("GET", path.clone(), Fault::IgnoreRange));
        }
        let (outcome, happened) = create_through(rules, &[]);
        assert!(happened >= 2, "{happened}");
        assert!(outcome.err.contains("from byte"), "{}", outcome.err);
    }
}

#[test]
fn a_connection_that_stalls_is_broken() {
    let path = format!("/blobs/{}", digest_of_large());
    let rules =
        vec![Rule::once("GET", path, Fault::Stall(LARGE / 2)), Rule::once("GET", "/manifests/", Fault::Stall(10))];
    let (outcome, happened) = create_through(rules, &["--idle-timeout", "1"]);
    assert_eq!(happened, 2);
    assert!(outcome.err.contains("no byte for 1 s"), "{}", outcome.err);
    let rules = vec![Rule::once("PUT", "/manifests/", Fault::Stall(0)), Rule::once("GET", "/tags/", Fault::Stall(3))];
    load_through(rules, &["--idle-timeout", "1"]);
}

#[test]
fn a_failure_of_the_last_put_costs_one_more_try() {
    for status in [500, 502, 503, 504] {
        let rules = vec![
            Rule::once("PUT", "/blobs/uploads/", Fault::Status(status)).times(3),
            Rule::once("PUT", "/manifests/", Fault::DoneBut(status)).times(2),
        ];
        let (_, happened) = load_through(rules, &[]);
        assert_eq!(happened, 5, "{status}");
    }
}

#[test]
fn a_registry_that_has_not_settled_is_asked_again() {
    let unsettled = Fault::Refuse(400, "DIGEST_INVALID");
    let (_, happened) = load_through(vec![Rule::once("PUT", "/manifests/", unsettled.clone()).times(2)], &[]);
    assert_eq!(happened, 2);
    // One that stays so is not asked for ever.
    let (target, happened) = with_rules(vec![Rule::always("PUT", "/manifests/", unsettled)]);
    let (machine, _) = with_archive();
    let refused = machine.run(&[LOAD, &[&target.host()]].concat());
    assert!(refused.code.is_some_and(|code| code != 0) && refused.err.contains("DIGEST_INVALID"), "{}", refused.err);
    // At most five tries for each of the manifests that are put at the same time.
    assert!((5..=20).contains(&happened.count()), "{}", happened.count());
}

/// Writes a moment that is so far away as HTTP does.
fn http_date(ahead: Duration) -> &'static str {
    let now = jiff::Timestamp::now() + jiff::SignedDuration::try_from(ahead).unwrap();
    now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string().leak()
}

#[test]
fn too_many_requests_are_made_later() {
    for after in ["1", ""] {
        let began = Instant::now();
        // A date has whole seconds: two of them are more than one.
        let after = if after.is_empty() { http_date(Duration::from_secs(3)) } else { after };
        let every = |method: &'static str, path: &str| Rule::once(method, path, Fault::TooMany(after)).times(2);
        let (_, happened) = create_through(
            vec![
                every("GET", "/manifests/"),
                every("GET", "/blobs/"),
                every("HEAD", "/manifests/"),
                every("GET", "/referrers/"),
            ],
            &[],
        );
        assert!(happened >= 4, "{happened}");
        assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
        let after = if after == "1" { after } else { http_date(Duration::from_secs(3)) };
        let every = |method: &'static str, path: &str| Rule::once(method, path, Fault::TooMany(after)).times(2);
        let rules = [
            ("GET", "/tags/"),
            ("POST", "/uploads/"),
            ("PUT", "/uploads/"),
            ("PUT", "/manifests/"),
            ("HEAD", "/manifests/"),
            ("GET", "/manifests/"),
            ("HEAD", "/blobs/"),
        ];
        let began = Instant::now();
        let (_, happened) = load_through(rules.iter().map(|(method, path)| every(method, path)).collect(), &[]);
        assert!(happened >= 8, "{happened}");
        assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
    }
}

/// Tokens that are good for a moment, and a line on which the moment passes.
fn forgetful(expires_in: Option<u64>) -> (Tokens, Line) {
    let tokens = Tokens::start(Policy { life: Duration::from_millis(250), expires_in, ..Policy::default() });
    (tokens, Line { round_trip: Duration::from_millis(10), window: 32 << 10, ..Line::default() })
}

fn behind(tokens: &Tokens, data: Option<std::path::PathBuf>, line: Line) -> (Registry, Proxy) {
    let registry = Registry::with(Setup { data, wrap: Some(tokens.wrap()), ..Setup::default() });
    let proxy = Proxy::start(registry.addr(), line);
    (registry, proxy)
}

fn text(addr: SocketAddr) -> String {
    addr.to_string()
}

#[test]
fn tokens_that_end_in_the_middle_are_renewed() {
    // What the token server says of their life: nothing, the nearest it can say, and a lie.
    for expires_in in [None, Some(1), Some(3600)] {
        let (tokens, line) = forgetful(expires_in);
        let place = tempfile::tempdir().unwrap();
        let data = place.path().join("data");
        let images = prepared(&data);
        let (_source, proxy) = behind(&tokens, Some(data), line);
        let machine = Machine::new();
        machine.spec(proxy.addr());
        machine.run(CREATE).succeeded();
        assert!(machine.archive().unwrap() == expected());
        let pulled = tokens.log().len();

        let (tokens, line) = forgetful(expires_in);
        let place = tempfile::tempdir().unwrap();
        let data = place.path().join("data");
        let (target, proxy) = behind(&tokens, Some(data.clone()), line);
        let target_name = text(proxy.addr());
        let arguments = [LOAD, &[&target_name, "--username", "user", "--password-stdin"]].concat();
        machine.start_with(&arguments, "secret\n").outcome().succeeded();
        println!("{expires_in:?}: {pulled} tokens for create, {} for load", tokens.log().len());
        assert!(tokens.log().len() >= 4, "{}", tokens.log().len());
        drop(proxy);
        target.stop();
        assert_loaded(Registry::with(Setup { data: Some(data), ..Setup::default() }).addr(), "", &images);
    }
}
