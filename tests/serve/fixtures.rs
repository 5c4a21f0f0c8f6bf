//! The fixtures themselves: a fault that does not happen would make every test of a client pass.

use std::{
    io::{Read, Write},
    time::{Duration, Instant},
};

use airgap_bundler::oci::media_type;

use super::digest;
use crate::support::{
    faults::{self, Break, Fault, Line, Proxy, Rule},
    registry::{Registry, Setup, basic},
    tokens::{self, Tokens},
    wire,
};

fn faulty(rules: Vec<Rule>) -> (Registry, faults::Happened) {
    let (wrap, happened) = faults::by_rule(rules);
    (Registry::with(Setup { wrap: Some(wrap), ..Setup::default() }), happened)
}

#[test]
fn faults_happen_when_they_are_told_to() {
    let bytes = vec![b'a'; 100_000];
    let (registry, happened) = faulty(vec![
        Rule::once("GET", "/v2/a/blobs/", Fault::Status(503)),
        Rule::once("GET", "/v2/a/blobs/", Fault::TooMany("1")),
        Rule::once("GET", "/v2/a/blobs/", Fault::Truncate(1000)),
        Rule::once("GET", "/v2/a/blobs/", Fault::Flip(99_999)),
        Rule::once("GET", "/v2/a/blobs/", Fault::IgnoreRange),
        Rule::once("GET", "/v2/a/blobs/", Fault::Without("docker-content-digest")),
        Rule::once("GET", "/v2/a/blobs/", Fault::Header("content-type", "text/html")),
        Rule::once("GET", "/v2/a/blobs/", Fault::Delay(Duration::from_millis(200))),
        Rule::once("PUT", "/manifests/v2", Fault::DoneBut(500)),
        Rule::always("HEAD", "/v2/b/", Fault::Status(405)).after(1).times(2),
    ]);
    registry.put_blob("a", media_type::LAYER, &bytes);
    let get =
        || registry.request("GET", &format!("/v2/a/blobs/{}", digest(&bytes)), &[("Range", "bytes=0-99998")], b"");
    assert_eq!(get().status, 503);
    let limited = get();
    assert_eq!((limited.status, limited.header("retry-after")), (429, Some("1")));
    let cut = get();
    assert_eq!((cut.status, cut.header("content-length"), cut.body.len()), (206, Some("99999"), 1000));
    // The place lies behind the end of this part.
    assert!(get().body == bytes[..99_999]);
    let whole = get();
    assert_eq!((whole.status, whole.body.len()), (200, bytes.len()));
    assert_eq!(get().header("docker-content-digest"), None);
    assert_eq!(get().header("content-type"), Some("text/html"));
    let began = Instant::now();
    assert_eq!(get().status, 206);
    assert!(began.elapsed() >= Duration::from_millis(200));
    assert_eq!(happened.count(), 8);
    let manifest = br#"{"schemaVersion":2,"manifests":[]}"#;
    let put = registry.request("PUT", "/v2/a/manifests/v2", &[("Content-Type", media_type::INDEX)], manifest);
    assert_eq!((put.status, registry.get("/v2/a/manifests/v2").status), (500, 200));
    let heads: Vec<u16> = (0..4).map(|_| registry.request("HEAD", "/v2/b/tags/list", &[], b"").status).collect();
    assert_eq!(heads, [404, 405, 405, 404]);
}

#[test]
fn a_stalled_answer_stays_open_and_a_flipped_one_is_wrong() {
    let (registry, _) = faulty(vec![
        Rule::once("GET", "/v2/a/blobs/", Fault::Stall(5)),
        Rule::once("GET", "/v2/a/blobs/", Fault::Flip(3)),
    ]);
    registry.put_blob("a", media_type::LAYER, b"0123456789");
    let target = format!("/v2/a/blobs/{}", digest(b"0123456789"));
    let mut stream = wire::connect(registry.addr());
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    let mut raw = Vec::new();
    assert!(stream.read_to_end(&mut raw).is_err(), "it is still open");
    assert!(raw.ends_with(b"\r\n\r\n01234"));
    assert_eq!(registry.get(&target).body, b"0122456789");
}

#[test]
fn chance_is_the_same_for_the_same_seed() {
    let run = |seed| {
        let (wrap, happened) = faults::by_chance(seed, 0.3);
        let registry = Registry::with(Setup { wrap: Some(wrap), ..Setup::default() });
        let statuses: Vec<Option<u16>> = (0..60)
            .map(|_| {
                let mut stream = wire::connect(registry.addr());
                stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
                let mut raw = Vec::new();
                let _ = stream.read_to_end(&mut raw);
                (!raw.is_empty()).then(|| wire::Answer::parse(&raw).status)
            })
            .collect();
        assert!((8..30).contains(&happened.count()), "{}", happened.count());
        statuses
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn a_distant_registry_is_distant() {
    let registry = Registry::start();
    let bytes = vec![1; 12 << 20];
    let blob = registry.put_blob("a", media_type::LAYER, &bytes);
    let proxy = Proxy::start(registry.addr(), Line::distant());
    let began = Instant::now();
    assert_eq!(wire::request(proxy.addr(), "GET", "/v2/", &[], b"").status, 200);
    // One round trip to connect, one for the request.
    assert!(began.elapsed() >= Duration::from_millis(40), "{:?}", began.elapsed());
    let began = Instant::now();
    let answer = wire::request(proxy.addr(), "GET", &format!("/v2/a/blobs/{}", blob.digest), &[], b"");
    assert!(answer.body == bytes);
    // Six windows take six round trips, whatever the machine can do.
    assert!(began.elapsed() >= Duration::from_millis(120), "{:?}", began.elapsed());
    let began = Instant::now();
    let upload = format!("/v2/b/blobs/uploads/?digest={}", blob.digest);
    assert_eq!(wire::request(proxy.addr(), "POST", &upload, &[], &bytes).status, 201);
    assert!(began.elapsed() >= Duration::from_millis(120), "{:?}", began.elapsed());
    assert_eq!((proxy.connections(), proxy.broken()), (3, 0));
}

#[test]
fn a_bad_line_breaks_as_told() {
    let registry = Registry::start();
    let bytes = vec![1; 3 << 20];
    let blob = registry.put_blob("a", media_type::LAYER, &bytes);
    for (fault, complete) in [(Break::Reset, false), (Break::Close, false), (Break::Flip, true)] {
        let breaks: &'static [Break] = match fault {
            Break::Reset => &[Break::Reset],
            Break::Close => &[Break::Close],
            _ => &[Break::Flip],
        };
        let proxy = Proxy::start(registry.addr(), Line { probability: 1.0, breaks, ..Line::default() });
        let mut stream = wire::connect(proxy.addr());
        let head = format!("GET /v2/a/blobs/{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", blob.digest);
        stream.write_all(head.as_bytes()).unwrap();
        let mut raw = Vec::new();
        let end = stream.read_to_end(&mut raw);
        assert_eq!(end.is_err(), fault == Break::Reset, "{fault:?}: {end:?}");
        assert_eq!(raw.len() > bytes.len(), complete, "{fault:?}");
        assert_eq!(proxy.broken(), 1, "{fault:?}");
    }
    let line = Line { probability: 1.0, breaks: &[Break::Stall], ..Line::default() };
    let proxy = Proxy::start(registry.addr(), line);
    let mut stream = wire::connect(proxy.addr());
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    stream.write_all(format!("GET /v2/a/blobs/{} HTTP/1.1\r\nHost: x\r\n\r\n", blob.digest).as_bytes()).unwrap();
    assert!(stream.read_to_end(&mut Vec::new()).is_err(), "it is still open");
}

#[test]
fn tokens_open_what_they_are_for() {
    let tokens = Tokens::start(tokens::Policy { life: Duration::from_millis(700), ..tokens::Policy::default() });
    let registry = Registry::with(Setup { wrap: Some(tokens.wrap()), ..Setup::default() });
    let ask = |method: &str, target: &str, token: &str| {
        let value = format!("Bearer {token}");
        let headers: &[(&str, &str)] = if token.is_empty() { &[] } else { &[("Authorization", &value)] };
        wire::request(registry.addr(), method, target, headers, b"")
    };
    let refused = ask("POST", "/v2/a/b/blobs/uploads/?mount=x&from=c", "");
    assert_eq!(refused.status, 401);
    let challenge = format!(
        "Bearer realm=\"http://{}/token\",service=\"registry.test\",scope=\"repository:a/b:pull,push repository:c:pull\"",
        tokens.addr()
    );
    assert_eq!(refused.header("www-authenticate"), Some(challenge.as_str()));
    let fetch = |scope: &str, login: Option<&str>| {
        let target = format!("/token?service=registry.test&scope={scope}");
        let headers: &[(&str, &str)] = match &login {
            Some(login) => &[("Authorization", login)],
            None => &[],
        };
        wire::request(tokens.addr(), "GET", &target, headers, b"")
    };
    let login = basic("user", "secret");
    assert_eq!(fetch("repository:a/b:pull,push", Some(&basic("user", "wrong"))).status, 401);
    let push = fetch("repository:a/b:pull,push", Some(&login)).json()["token"].as_str().unwrap().to_owned();
    assert_eq!(ask("POST", "/v2/a/b/blobs/uploads/", &push).status, 202);
    assert_eq!(ask("POST", "/v2/other/blobs/uploads/", &push).status, 401);
    let anonymous = fetch("repository:a/b:pull,push", None).json()["token"].as_str().unwrap().to_owned();
    assert_eq!(ask("GET", "/v2/a/b/tags/list", &anonymous).status, 404);
    assert_eq!(ask("POST", "/v2/a/b/blobs/uploads/", &anonymous).status, 401);
    assert_eq!(ask("GET", "/v2/", &anonymous).status, 200);
    std::thread::sleep(Duration::from_millis(800));
    let late = ask("GET", "/v2/a/b/tags/list", &anonymous);
    assert!(late.status == 401 && late.header("www-authenticate").unwrap().contains("invalid_token"));
    assert_eq!(
        tokens.log().iter().map(|one| (one.known, one.given)).collect::<Vec<_>>(),
        [(false, false), (true, true), (false, true)]
    );
}
