//! Uploads: every way in, and every way in which they go wrong.

use std::io::{Read, Write};

use airgap_bundler::{oci::media_type, serve::Policy};

use super::{digest, sha512, with};
use crate::support::{
    registry::{Registry, Setup},
    wire::{self, Answer},
};

fn begin(registry: &Registry) -> String {
    let answer = registry.request("POST", "/v2/a/blobs/uploads/", &[], b"");
    assert_eq!(answer.status, 202);
    location(&answer)
}

fn location(answer: &Answer) -> String {
    answer.header("location").expect("a location").to_owned()
}

fn finish(registry: &Registry, location: &str, digest: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    registry.request("PUT", &format!("{location}?digest={digest}"), headers, body)
}

fn stored(registry: &Registry, bytes: &[u8]) -> bool {
    let answer = registry.get(&format!("/v2/a/blobs/{}", digest(bytes)));
    answer.status == 200 && answer.body == bytes
}

#[test]
fn every_way_in() {
    let registry = Registry::start();
    let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (name, octets) = (digest(&bytes), [("Content-Type", "application/octet-stream")]);

    // POST, then PUT with everything.
    let answer = finish(&registry, &begin(&registry), &name, &octets, &bytes);
    assert_eq!((answer.status, answer.header("docker-content-digest")), (201, Some(name.as_str())));
    assert_eq!(location(&answer), format!("/v2/a/blobs/{name}"));
    assert!(stored(&registry, &bytes));

    // POST with everything.
    let target = format!("/v2/a/blobs/uploads/?digest={}", digest(&bytes[1..]));
    assert_eq!(registry.request("POST", &target, &octets, &bytes[1..]).status, 201);
    assert!(stored(&registry, &bytes[1..]));

    // One PATCH that does not say where it belongs, then PUT without a body.
    let upload = begin(&registry);
    let answer = registry.request("PATCH", &upload, &octets, &bytes[2..]);
    let range = format!("0-{}", bytes.len() - 3);
    assert_eq!((answer.status, answer.header("range")), (202, Some(range.as_str())));
    assert_eq!(finish(&registry, &location(&answer), &digest(&bytes[2..]), &[], b"").status, 201);
    assert!(stored(&registry, &bytes[2..]));

    // Chunks, the last one in the PUT; the status in between.
    let upload = begin(&registry);
    for (from, to) in [(0, 1_000_000), (1_000_000, 1_000_001), (1_000_001, 2_000_000)] {
        let range = format!("{from}-{}", to - 1);
        let answer = registry.request("PATCH", &upload, &[("Content-Range", &range)], &bytes[3 + from..3 + to]);
        assert_eq!((answer.status, answer.header("range")), (202, Some(format!("0-{}", to - 1).as_str())));
        let status = registry.get(&upload);
        assert_eq!((status.status, status.header("range")), (204, answer.header("range")));
    }
    let range = format!("2000000-{}", bytes.len() - 4);
    let answer = finish(&registry, &upload, &digest(&bytes[3..]), &[("Content-Range", &range)], &bytes[2_000_003..]);
    assert_eq!(answer.status, 201);
    assert!(stored(&registry, &bytes[3..]));

    // Nothing at all is a blob, too.
    assert_eq!(finish(&registry, &begin(&registry), &digest(b""), &[], b"").status, 201);
    assert!(stored(&registry, b""));

    // An algorithm that is named only at the end is computed then.
    let upload = begin(&registry);
    assert_eq!(registry.request("PATCH", &upload, &octets, &bytes).status, 202);
    assert_eq!(finish(&registry, &upload, &sha512(&bytes), &[], b"").status, 201);
    let answer = registry.request("POST", "/v2/a/blobs/uploads/?digest-algorithm=sha512", &[], b"");
    assert_eq!(finish(&registry, &location(&answer), &sha512(&bytes[9..]), &[], &bytes[9..]).status, 201);
}

#[test]
fn chunks_out_of_order_are_refused_and_the_upload_goes_on() {
    let registry = Registry::start();
    let upload = begin(&registry);
    let patch = |range: &str, body: &[u8]| registry.request("PATCH", &upload, &[("Content-Range", range)], body);
    assert_eq!(patch("0-3", b"abcd").status, 202);
    for range in ["5-6", "0-1", "3-4"] {
        let answer = patch(range, b"xx");
        assert_eq!((answer.status, answer.header("range")), (416, Some("0-3")), "{range}");
        assert_eq!(location(&answer), upload);
    }
    let last = finish(&registry, &upload, &digest(b"abcdef"), &[("Content-Range", "5-6")], b"ef");
    assert_eq!(last.status, 416);
    assert_eq!(patch("4-9", b"ef").code(), "SIZE_INVALID");
    assert_eq!(patch("4", b"ef").status, 400);
    let last = finish(&registry, &upload, &digest(b"abcdef"), &[("Content-Range", "4-5")], b"ef");
    assert_eq!(last.status, 201);
    assert!(stored(&registry, b"abcdef"));
}

#[test]
fn wrong_bytes_never_become_a_blob() {
    let registry = Registry::start();
    let upload = begin(&registry);
    let answer = finish(&registry, &upload, &digest(b"right"), &[], b"wrong");
    assert_eq!((answer.status, answer.code().as_str()), (400, "DIGEST_INVALID"));
    assert!(!stored(&registry, b"right") && !stored(&registry, b"wrong"));
    assert_eq!(registry.get(&upload).code(), "BLOB_UPLOAD_UNKNOWN");
    let target = format!("/v2/a/blobs/uploads/?digest={}", digest(b"right"));
    assert_eq!(registry.request("POST", &target, &[], b"wrong").code(), "DIGEST_INVALID");
    let upload = begin(&registry);
    assert_eq!(registry.request("PUT", &upload, &[], b"x").code(), "DIGEST_INVALID");
    assert_eq!(finish(&registry, &upload, "md5:00", &[], b"x").code(), "DIGEST_INVALID");
    assert_eq!(finish(&registry, &upload, &digest(b"x"), &[], b"x").status, 201);
}

#[test]
fn a_cancelled_upload_is_gone() {
    let registry = Registry::start();
    let upload = begin(&registry);
    registry.request("PATCH", &upload, &[], b"abc");
    assert_eq!(registry.request("DELETE", &upload, &[], b"").status, 204);
    for method in ["DELETE", "GET", "PATCH"] {
        assert_eq!(registry.request(method, &upload, &[], b"").status, 404, "{method}");
    }
    // An upload belongs to its repository.
    let upload = begin(&registry).replace("/v2/a/", "/v2/b/");
    assert_eq!(registry.get(&upload).status, 404);
}

/// Sends part of a body and goes away.
fn break_off(registry: &Registry, method: &str, target: &str, announced: usize, body: &[u8]) {
    let mut stream = wire::connect(registry.addr());
    let head = format!("{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {announced}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
}

#[test]
fn a_broken_patch_keeps_what_came_and_a_broken_put_can_be_repeated() {
    let registry = Registry::start();
    let bytes: Vec<u8> = (0..2_000_000u32).map(|n| (n % 253) as u8).collect();
    let upload = begin(&registry);
    break_off(&registry, "PATCH", &upload, bytes.len(), &bytes[..1_200_000]);
    let status = registry.get(&upload);
    assert_eq!((status.status, status.header("range")), (204, Some("0-1199999")));
    let range = format!("1200000-{}", bytes.len() - 1);
    let target = format!("{upload}?digest={}", digest(&bytes));
    break_off(&registry, "PUT", &target, 800_000, &bytes[1_200_000..1_700_000]);
    assert_eq!(registry.get(&upload).header("range"), Some("0-1199999"));
    let answer = registry.request("PUT", &target, &[("Content-Range", &range)], &bytes[1_200_000..]);
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert!(stored(&registry, &bytes));

    let upload = begin(&registry);
    break_off(&registry, "PUT", &format!("{upload}?digest={}", digest(b"whole")), 5, b"who");
    assert_eq!(finish(&registry, &upload, &digest(b"whole"), &[], b"whole").status, 201);
}

#[test]
fn an_upload_outlives_the_registry() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let start = || Registry::with(Setup { data: Some(data.clone()), ..Setup::default() });
    let registry = start();
    let upload = begin(&registry);
    registry.request("PATCH", &upload, &[], b"before ");
    registry.stop();
    let registry = start();
    assert_eq!(registry.get(&upload).header("range"), Some("0-6"));
    assert_eq!(registry.request("PATCH", &upload, &[("Content-Range", "7-10")], b"and ").status, 202);
    assert_eq!(finish(&registry, &upload, &digest(b"before and after"), &[], b"after").status, 201);
    assert!(stored(&registry, b"before and after"));
}

#[test]
fn blobs_are_mounted_from_where_they_are() {
    let registry = Registry::start();
    registry.put_blob("source/x", media_type::LAYER, b"blob");
    let mount =
        |name: &str, query: &str| registry.request("POST", &format!("/v2/{name}/blobs/uploads/?{query}"), &[], b"");
    let blob = digest(b"blob");
    let answer = mount("a", &format!("mount={blob}&from=source/x"));
    assert_eq!((answer.status, location(&answer)), (201, format!("/v2/a/blobs/{blob}")));
    assert!(stored(&registry, b"blob"));
    assert_eq!(mount("anonymous", &format!("mount={blob}")).status, 201);
    for query in [
        format!("mount={blob}&from=elsewhere"),
        format!("mount={blob}&from=NO/../NAME"),
        format!("mount={}&from=source/x", digest(b"absent")),
        format!("mount={}", digest(b"absent")),
    ] {
        let answer = mount("b", &query);
        assert_eq!(answer.status, 202, "{query}");
        let target = format!("{}?digest={}", location(&answer), digest(b"new"));
        assert_eq!(registry.request("PUT", &target, &[], b"new").status, 201);
    }
    assert_eq!(mount("b", "mount=nonsense").code(), "DIGEST_INVALID");
}

#[test]
fn registries_in_the_field_do_less() {
    let registry = with(Policy { mount: false, single_post: false, absolute_locations: true, ..Policy::default() });
    registry.put_image_by_put("a", b"blob");
    let blob = digest(b"blob");
    let answer = registry.request("POST", &format!("/v2/b/blobs/uploads/?mount={blob}&from=a"), &[], b"");
    assert_eq!(answer.status, 202);
    assert!(location(&answer).starts_with(&format!("{}/v2/b/blobs/uploads/", registry.url())));
    let answer = registry.request("POST", &format!("/v2/b/blobs/uploads/?digest={blob}"), &[], b"blob");
    assert_eq!(answer.status, 202);
    let target = format!("{}?digest={blob}", location(&answer).strip_prefix(&registry.url()).unwrap());
    assert_eq!(registry.request("PUT", &target, &[], b"blob").status, 201);
}

impl Registry {
    /// Pushes a blob without relying on a single `POST`.
    fn put_image_by_put(&self, name: &str, bytes: &[u8]) {
        let answer = self.request("POST", &format!("/v2/{name}/blobs/uploads/"), &[], b"");
        let location = location(&answer);
        let path = location.strip_prefix(&self.url()).unwrap_or(&location);
        assert_eq!(finish(self, path, &digest(bytes), &[], bytes).status, 201);
    }
}

#[test]
fn many_clients_may_push_the_same_blob_at_once() {
    let registry = Registry::start();
    let bytes = vec![7; 700_000];
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (registry, bytes) = (&registry, &bytes);
            scope.spawn(move || registry.put_image(&format!("r{n}"), "v1", &[bytes, b"other"]));
        }
    });
    for n in 0..8 {
        let answer = registry.get(&format!("/v2/r{n}/blobs/{}", digest(&bytes)));
        assert!(answer.status == 200 && answer.body == bytes);
    }
}

#[test]
fn two_requests_do_not_mix_in_one_upload() {
    let registry = Registry::start();
    let upload = begin(&registry);
    let bytes = vec![9; 400_000];
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(registry.request("PATCH", &upload, &[], &bytes).status, 202));
        }
    });
    let whole = bytes.repeat(4);
    assert_eq!(finish(&registry, &upload, &digest(&whole), &[], b"").status, 201);
}
