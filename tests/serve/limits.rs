//! Clients that are slow on purpose, too many, or in the way of a stop; and TLS.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use airgap_bundler::{
    oci::media_type,
    serve::{self, Data, Limits, Options, StartError, Tls},
};

use super::digest;
use crate::support::{
    certificates::Certificates,
    referees,
    registry::{Registry, Security, Setup, wait_for},
    wire,
};

fn impatient() -> Registry {
    let limits = Limits {
        head: Duration::from_millis(400),
        silence: Duration::from_millis(400),
        connections: 4,
        ..Limits::default()
    };
    Registry::with(Setup { limits, ..Setup::default() })
}

/// Reads until the registry closes the connection; fails when it does not.
fn closed(stream: &mut TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut raw = Vec::new();
    match stream.read_to_end(&mut raw) {
        Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
            panic!("the connection stays open")
        }
        _ => raw,
    }
}

#[test]
fn slow_heads_and_silent_bodies_lose_their_connection() {
    let registry = impatient();
    let mut silent = wire::connect(registry.addr());
    let mut slow = wire::connect(registry.addr());
    slow.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n").unwrap();
    let mut body = wire::connect(registry.addr());
    let location = registry.request("POST", "/v2/a/blobs/uploads/", &[], b"").header("location").unwrap().to_owned();
    body.write_all(format!("PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc").as_bytes())
        .unwrap();
    let began = Instant::now();
    closed(&mut silent);
    closed(&mut slow);
    let answer = closed(&mut body);
    assert!(began.elapsed() < Duration::from_secs(15));
    assert_eq!(wire::Answer::parse(&answer).status, 400);
    assert_eq!(registry.get(&location).header("range"), Some("0-2"));
}

#[test]
fn who_does_not_read_is_cut_off() {
    let registry = impatient();
    let bytes = vec![1; 32 << 20];
    let blob = registry.put_blob("a", media_type::LAYER, &bytes);
    let mut stream = wire::connect(registry.addr());
    stream.write_all(format!("GET /v2/a/blobs/{} HTTP/1.1\r\nHost: x\r\n\r\n", blob.digest).as_bytes()).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert!(closed(&mut stream).len() < bytes.len());
}

#[test]
fn connections_beyond_the_limit_wait_for_a_place() {
    let registry = impatient();
    let mut held: Vec<TcpStream> = (0..4).map(|_| wire::connect(registry.addr())).collect();
    for stream in &mut held {
        stream.write_all(b"GET /v2/ HTTP/1.1\r\n").unwrap();
    }
    // The four lose their places after a while; the fifth is answered then.
    let began = Instant::now();
    assert_eq!(registry.get("/v2/").status, 200);
    assert!(began.elapsed() > Duration::from_millis(200));
}

#[test]
fn a_head_without_end_is_refused() {
    let registry = Registry::start();
    let mut stream = wire::connect(registry.addr());
    stream.write_all(b"GET /v2/ HTTP/1.1\r\n").unwrap();
    for n in 0..200_000 {
        if stream.write_all(format!("x-{n}: {}\r\n", "y".repeat(100)).as_bytes()).is_err() {
            return;
        }
    }
    panic!("twenty megabytes of headers are taken");
}

#[test]
fn a_stop_lets_requests_finish() {
    let registry = Registry::start();
    let bytes = vec![5; 3_000_000];
    let addr = registry.addr();
    let target = format!("/v2/a/blobs/uploads/?digest={}", digest(&bytes));
    let mut stream = wire::connect(addr);
    let head =
        format!("POST {target} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n", bytes.len());
    stream.write_all(head.as_bytes()).unwrap();
    // A stop lets go of connections that have not asked for anything yet; the word to continue says that this one has.
    let mut word = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
    stream.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(&bytes[..1_000_000]).unwrap();
    let idle = wire::connect(addr);
    let stopping = std::thread::spawn(move || registry.stop());
    std::thread::sleep(Duration::from_millis(300));
    assert!(!stopping.is_finished());
    stream.write_all(&bytes[1_000_000..]).unwrap();
    assert_eq!(wire::Answer::parse(&closed(&mut stream)).status, 201);
    stopping.join().unwrap();
    drop(idle);
    assert!(TcpStream::connect(addr).is_err());
}

#[test]
fn an_unwanted_body_does_not_cost_the_answer() {
    let registry = Registry::with(Setup { login: Some(("user", "secret")), ..Setup::default() });
    for size in [1_000, 3_000_000] {
        let answer = wire::request(registry.addr(), "PUT", "/v2/a/manifests/v1", &[], &vec![b'x'; size]);
        assert_eq!(answer.status, 401, "{size}");
    }
}

#[test]
fn tls_and_client_certificates() {
    let Some(curl) = referees::find(&["curl"]) else { return };
    for security in [Security::Tls, Security::Mutual] {
        let registry = Registry::with(Setup { security, ..Setup::default() });
        assert!(registry.url().starts_with("https://127.0.0.1:"));
        let made = registry.certificates.as_ref().unwrap();
        for (name, text) in [("root", &made.root), ("client", &made.client), ("key", &made.client_key)] {
            std::fs::write(registry.home().join(name), text).unwrap();
        }
        let url = format!("{}/v2/", registry.url());
        let fetch = |arguments: &[&str]| {
            let all = [&["--silent", "--fail", &url][..], arguments].concat();
            referees::run(&curl, registry.home(), &all).status.success()
        };
        assert!(!fetch(&[]), "the root is not one of the system's");
        assert_eq!(fetch(&["--cacert", "root"]), security == Security::Tls);
        assert!(fetch(&["--cacert", "root", "--cert", "client", "--key", "key"]));
    }
}

#[test]
fn what_cannot_be_served_is_said() {
    let place = tempfile::tempdir().unwrap();
    let data = Data::open(place.path(), false).unwrap();
    let made = Certificates::new();
    let start = |tls: Tls| {
        let data = data.clone();
        wait_for(async move { serve::start(Options { tls: Some(tls), ..Options::default() }, data).await })
    };
    let (chain, key) = (made.server.clone().into_bytes(), made.server_key.clone().into_bytes());
    let other = Certificates::new().server_key.into_bytes();
    let tls = |certificates: &[u8], key: &[u8]| Tls {
        certificates: certificates.into(),
        key: key.into(),
        client_roots: None,
    };
    assert!(matches!(start(tls(b"", &key)), Err(StartError::NoCertificate(_))));
    assert!(matches!(start(tls(&chain, b"")), Err(StartError::Pem { .. })));
    assert!(matches!(start(tls(&chain, &other)), Err(StartError::Tls(_))));
    let running = start(tls(&chain, &key)).unwrap();
    let addr = running.addr();
    let again = wait_for(async move { serve::start(Options { addr, ..Options::default() }, data).await });
    assert!(matches!(again, Err(StartError::Listen { .. })));
    wait_for(running.shutdown());
}
