//! The transport against a hostile registry: every fault is survived or reported, none is passed on.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use airgap_bundler::{
    error::{Classify as _, Kind, Side},
    event::Silent,
    net::{Policy, Settings, Timeouts},
    oci::{Descriptor, Digest, Manifest, Reference, media_type},
    registry::{By, Credentials, Error, RawManifest, Registries, Remote},
    store::{self, Sink as _, Source as _},
};
use bytes::Bytes;

use crate::support::{
    faulty::{Faulty, Quirks, Reply, Seen},
    memory::{self, Memory},
    pull,
};

/// Waits as short as a test can bear; everything else as in production.
pub fn settings() -> Settings {
    Settings {
        timeouts: Timeouts {
            idle: Duration::from_millis(250),
            commit: Duration::from_millis(1500),
            slow_window: Duration::from_millis(400),
            ..Timeouts::default()
        },
        retry: Policy {
            first: Duration::from_millis(4),
            longest: Duration::from_millis(40),
            longest_asked: Duration::from_millis(1500),
            ..Policy::default()
        },
        ..Settings::default()
    }
}

pub fn registries(settings: Settings, credentials: Credentials) -> Registries {
    Registries::new(settings, credentials, Arc::new(Silent)).unwrap()
}

pub fn remote(registries: &Registries, host: &str, repository: &str, side: Side) -> Remote {
    let reference: Reference = format!("{host}/{repository}").parse().unwrap();
    registries.repository(&reference.host, &reference.repository, side)
}

const REPOSITORY: &str = "team/app";
const LAYER: usize = 300_000;

/// A registry that holds an image, tagged `1`.
async fn filled(quirks: Quirks) -> (Faulty, Memory, RawManifest) {
    let faulty = Faulty::start(quirks).await;
    let mut memory = Memory::default();
    let raw = memory::image(&mut memory, 7, &[LAYER, 70_000]);
    faulty.hold(REPOSITORY, memory.blobs.values().cloned());
    faulty.hold_manifest(REPOSITORY, &["1"], media_type::MANIFEST, &raw.bytes);
    (faulty, memory, raw)
}

fn source(faulty: &Faulty) -> Remote {
    remote(&registries(settings(), Credentials::none()), &faulty.host(), REPOSITORY, Side::Source)
}

fn target(faulty: &Faulty) -> Remote {
    remote(&registries(settings(), Credentials::none()), &faulty.host(), REPOSITORY, Side::Target)
}

async fn pull_image(remote: &Remote, memory: &Memory, raw: &RawManifest) {
    let got = remote.manifest(&By::Tag("1".parse().unwrap())).await.unwrap();
    assert_eq!(&got, raw);
    for child in Manifest::parse(None, &got.bytes).unwrap().children() {
        assert!(pull::blob(remote, &child).await.unwrap() == memory.bytes(&child.digest), "{}", child.digest);
    }
}

async fn push_image(remote: &Remote, memory: &Memory, raw: &RawManifest) -> Result<(), store::Error> {
    for child in Manifest::parse(None, &raw.bytes).unwrap().children() {
        let moved = std::sync::atomic::AtomicU64::new(0);
        remote
            .put(&child, memory, &|bytes| {
                moved.fetch_add(bytes, std::sync::atomic::Ordering::SeqCst);
            })
            .await?;
        assert_eq!(moved.into_inner(), child.size, "moved bytes add up to the size, whatever was sent twice");
    }
    remote.put(&raw.descriptor, memory, &|_| {}).await?;
    remote
        .put_manifest(raw, Some(&"1".parse().unwrap()))
        .await
        .map_err(|error| store::Error::place(Side::Target, error))
}

fn assert_holds(faulty: &Faulty, memory: &Memory, raw: &RawManifest) {
    for child in Manifest::parse(None, &raw.bytes).unwrap().children() {
        assert!(faulty.blob(&child.digest) == Some(memory.bytes(&child.digest)), "{}", child.digest);
    }
    let manifests = faulty.store.manifests.lock().unwrap();
    assert_eq!(manifests[&(REPOSITORY.to_owned(), "1".to_owned())].1, raw.bytes);
}

/// Pushes an image of layers of these sizes and checks that it arrived.
async fn pushed(faulty: &Faulty, layers: &[usize]) -> Remote {
    let mut memory = Memory { piece: 64 << 10, ..Memory::default() };
    let raw = memory::image(&mut memory, 11, layers);
    let remote = target(faulty);
    push_image(&remote, &memory, &raw).await.unwrap();
    assert_holds(faulty, &memory, &raw);
    remote
}

fn is_layer(seen: &Seen) -> bool {
    seen.is("GET", "/blobs/sha256:")
}

// ---- reading ----

#[tokio::test(flavor = "multi_thread")]
async fn manifest_429_with_retry_after_in_seconds_twice() {
    let (faulty, memory, raw) = filled(Quirks::default()).await;
    faulty.instead(
        2,
        |seen| seen.is("GET", "/manifests/"),
        |_, reply| *reply = Reply::status(429).with("retry-after", "1"),
    );
    let began = Instant::now();
    pull_image(&source(&faulty), &memory, &raw).await;
    assert!(began.elapsed() >= Duration::from_secs(2), "what the server asks for is waited for");
}

#[tokio::test(flavor = "multi_thread")]
async fn manifest_429_with_retry_after_as_a_date_and_absurd_ones() {
    let (faulty, memory, raw) = filled(Quirks::default()).await;
    let times = std::sync::atomic::AtomicUsize::new(0);
    faulty.instead(
        3,
        |seen| seen.is("GET", "/manifests/"),
        move |_, reply| {
            // The server's clock is wrong by years: its own date counts.
            let after = match times.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
                0 => "Sun, 06 Nov 1994 08:49:38 GMT",
                1 => "31536000",
                _ => "yesterday",
            };
            *reply = Reply::status(429).with("retry-after", after).with("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        },
    );
    let began = Instant::now();
    pull_image(&source(&faulty), &memory, &raw).await;
    // One second, then the cap of the test's settings, then jitter only.
    assert!((2400..5000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn blob_429_and_503_and_resets_before_the_head() {
    let (faulty, memory, raw) = filled(Quirks::default()).await;
    faulty.instead(1, is_layer, |_, reply| *reply = Reply::status(429));
    faulty.instead(1, is_layer, |_, reply| *reply = Reply::status(503));
    faulty.instead(2, is_layer, |_, reply| reply.reset = true);
    pull_image(&source(&faulty), &memory, &raw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blob_cut_half_way_is_resumed_where_it_broke() {
    let (faulty, memory, raw) = filled(Quirks::default()).await;
    faulty.after(
        2,
        |seen| is_layer(seen) && seen.header("range").is_none(),
        |_, reply| reply.cut = Some(reply.body.len() / 2),
    );
    let remote = source(&faulty);
    pull_image(&remote, &memory, &raw).await;
    let resumed = faulty
        .seen()
        .iter()
        .filter(|seen| seen.header("range").is_some_and(|range| !range.starts_with("bytes=0-")))
        .count();
    assert_eq!(resumed, 2, "the rest is asked for, not the whole");
    assert!(remote.is_remote());
}

#[tokio::test(flavor = "multi_thread")]
async fn blob_cut_half_way_where_ranges_are_ignored() {
    let (faulty, memory, raw) = filled(Quirks { ranges: false, ..Quirks::default() }).await;
    faulty.after(3, is_layer, |_, reply| reply.cut = Some(reply.body.len() / 2));
    let remote = source(&faulty);
    pull_image(&remote, &memory, &raw).await;
    assert!(remote.ignores_ranges() && !remote.is_remote(), "no parallel parts of such a registry");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_or_partial_ranges_are_not_believed() {
    let (faulty, memory, raw) = filled(Quirks::default()).await;
    let layer = raw_layer(&raw);
    let range = |from: u64, to: u64| {
        let (faulty, layer) = (&faulty, layer.clone());
        async move { collect(source(faulty).open(&layer, from, to).await?).await }
    };
    let wanted = memory.bytes(&layer.digest).slice(1000..5000);
    assert!(range(1000, 5000).await.unwrap() == wanted);
    // The right bytes under a wrong name, and other bytes than asked for: the whole is fetched instead.
    faulty.after(1, is_layer, |_, reply| *reply = reply.clone().with("content-range", "bytes 999-4998/300000"));
    assert!(range(1000, 5000).await.unwrap() == wanted);
    faulty.after(1, is_layer, |_, reply| reply.without("content-range"));
    assert!(range(1000, 5000).await.unwrap() == wanted);
    // Less than asked for is a broken connection to the reader.
    faulty.after(1, is_layer, |_, reply| {
        let part = reply.body.slice(..1000);
        *reply = reply.clone().with("content-range", "bytes 1000-1999/300000").body(part);
    });
    assert_eq!(range(1000, 5000).await.unwrap_err().kind(), Kind::Unavailable);
    // Another total is another blob.
    faulty.after(1, is_layer, |_, reply| *reply = reply.clone().with("content-range", "bytes 1000-4999/5000"));
    assert!(matches!(range(1000, 5000).await, Err(store::Error::Size { expected: 300_000, actual: 5000, .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn blob_that_stalls_for_ever_is_resumed() {
    let (faulty, memory, raw) = filled(Quirks::default()).await;
    faulty.after(2, is_layer, |_, reply| reply.stall = Some(reply.body.len() / 2));
    let began = Instant::now();
    pull_image(&source(&faulty), &memory, &raw).await;
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn head_that_never_comes_and_bytes_that_drip() {
    let (faulty, memory, raw) = filled(Quirks::default()).await;
    faulty.after(1, is_layer, |_, reply| reply.trickle = Some(Duration::from_millis(20)));
    faulty.after(1, |seen| seen.is("GET", "/manifests/"), |_, reply| reply.stall = Some(0));
    let began = Instant::now();
    pull_image(&source(&faulty), &memory, &raw).await;
    assert!(began.elapsed() < Duration::from_secs(5), "one byte in 20 ms is no transfer");
}

#[tokio::test(flavor = "multi_thread")]
async fn corrupted_blob_is_fetched_once_more_and_then_rejected() {
    let (faulty, memory, raw) = filled(Quirks::default()).await;
    let flip = |_: &Seen, reply: &mut Reply| {
        let mut bytes = reply.body.to_vec();
        bytes[1234] ^= 1;
        reply.body = bytes.into();
    };
    let layer = raw_layer(&raw);
    let name = layer.digest.to_string();
    faulty.after(1, move |seen| seen.path.contains(&name), flip);
    pull_image(&source(&faulty), &memory, &raw).await;
    faulty.after(9, is_layer, flip);
    let error = pull::blob(&source(&faulty), &layer).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.to_string().contains(&layer.digest.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_that_lie() {
    let (faulty, _, raw) = filled(Quirks::default()).await;
    let layer = raw_layer(&raw);
    let whole = || async { collect(source(&faulty).open(&layer, 0, layer.size).await?).await };
    faulty.after(1, is_layer, |_, reply| reply.body = reply.body.slice(..1000));
    assert!(matches!(whole().await, Err(store::Error::Size { actual: 1000, .. })));
    faulty.after(1, is_layer, |_, reply| reply.body = vec![0; 400_000].into());
    assert!(matches!(whole().await, Err(store::Error::Size { actual: 400_000, .. })));
    // Without a length, surplus bytes are seen when they come.
    faulty.after(1, is_layer, |_, reply| {
        reply.body = vec![0; 10].into();
        reply.trickle = Some(Duration::from_millis(1));
    });
    let small = Descriptor { size: 5, ..layer.clone() };
    let error = collect(source(&faulty).open(&small, 0, 5).await.unwrap()).await.unwrap_err();
    assert!(matches!(error, store::Error::Size { expected: 5, .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_content_digest_of_a_tag_names_both() {
    let (faulty, _, raw) = filled(Quirks::default()).await;
    let lie = Digest::sha256(b"lie");
    faulty.after(
        9,
        |seen| seen.is("GET", "/manifests/"),
        move |_, reply| {
            *reply = reply.clone().with("docker-content-digest", lie.to_string());
        },
    );
    let error = source(&faulty).manifest(&By::Tag("1".parse().unwrap())).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    let text = error.to_string();
    assert!(text.contains(&lie.to_string()) && text.contains(&raw.descriptor.digest.to_string()), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_for_a_digest() {
    let (faulty, _, raw) = filled(Quirks::default()).await;
    faulty.after(2, |seen| seen.is("GET", "/manifests/"), |_, reply| reply.body = Bytes::from_static(b"{}"));
    let error = source(&faulty).manifest(&By::Digest(raw.descriptor.digest)).await.unwrap_err();
    assert!(matches!(error, Error::WrongDigest { .. }) && error.kind() == Kind::Corrupt, "{error}");
    // Once could be an accident on the way.
    faulty.after(1, |seen| seen.is("GET", "/manifests/"), |_, reply| reply.body = Bytes::from_static(b"{}"));
    assert_eq!(source(&faulty).manifest(&By::Digest(raw.descriptor.digest)).await.unwrap(), raw);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_content_digest_no_head_and_a_charset() {
    let (faulty, memory, raw) = filled(Quirks { content_digest: false, head: false, ..Quirks::default() }).await;
    faulty.after(
        9,
        |seen| seen.is("GET", "/manifests/"),
        |_, reply| {
            *reply = reply.clone().with("content-type", format!("{}; charset=utf-8", media_type::MANIFEST));
        },
    );
    let remote = source(&faulty);
    pull_image(&remote, &memory, &raw).await;
    assert_eq!(remote.head(&By::Tag("1".parse().unwrap())).await.unwrap(), Some(raw.descriptor));
}

#[tokio::test(flavor = "multi_thread")]
async fn manifest_served_as_plain_json() {
    let (faulty, memory, raw) = filled(Quirks::default()).await;
    faulty.after(
        9,
        |seen| seen.path.contains("/manifests/"),
        |_, reply| {
            *reply = reply.clone().with("content-type", "application/json");
        },
    );
    let remote = source(&faulty);
    pull_image(&remote, &memory, &raw).await;
    assert_eq!(remote.head(&By::Tag("1".parse().unwrap())).await.unwrap(), Some(raw.descriptor));
}

#[tokio::test(flavor = "multi_thread")]
async fn manifest_of_30_mib_is_refused_without_being_read() {
    let (faulty, _, _) = filled(Quirks::default()).await;
    faulty.after(9, |seen| seen.is("GET", "/manifests/"), |_, reply| reply.body = vec![b' '; 30 << 20].into());
    let error = source(&faulty).manifest(&By::Tag("1".parse().unwrap())).await.unwrap_err();
    assert!(matches!(error, Error::Manifest { .. }), "{error}");
    // Without a length it ends at the limit.
    let (faulty, _, _) = filled(Quirks::default()).await;
    faulty.after(
        9,
        |seen| seen.is("GET", "/manifests/"),
        |_, reply| {
            reply.body = vec![b' '; 30 << 20].into();
            reply.length = None;
            reply.stall = Some(9 << 20);
        },
    );
    let error = source(&faulty).manifest(&By::Tag("1".parse().unwrap())).await.unwrap_err();
    assert!(matches!(error, Error::Manifest { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn permanent_refusals_are_not_tried_again() {
    let (faulty, _, _) = filled(Quirks::default()).await;
    for (status, code) in [(403, "DENIED"), (404, "MANIFEST_UNKNOWN"), (400, "NAME_INVALID"), (451, "GONE")] {
        let before = faulty.seen().len();
        faulty.instead(1, |_| true, move |_, reply| *reply = Reply::error(status, code));
        let error = source(&faulty).manifest(&By::Tag("1".parse().unwrap())).await.unwrap_err();
        assert!(error.to_string().contains(code) && error.to_string().contains(REPOSITORY), "{error}");
        // The probe for TLS does not arrive as a request.
        assert_eq!(faulty.seen().len() - before, 1, "{status}");
        assert_ne!(error.kind(), Kind::Unavailable);
    }
    assert!(source(&faulty).head(&By::Tag("nope".parse().unwrap())).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_not_there_fails_within_seconds() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    drop(listener);
    let remote = remote(&registries(settings(), Credentials::none()), &host, "x", Side::Source);
    let began = Instant::now();
    let error = remote.tags().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(began.elapsed() < Duration::from_secs(3) && error.to_string().contains(&host), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_heads_and_redirects() {
    let (faulty, _, _) = filled(Quirks::default()).await;
    faulty.instead(
        100,
        |_| true,
        |seen, reply| *reply = Reply::status(307).with("location", format!("{}?x", seen.path)),
    );
    let error = source(&faulty).manifest(&By::Tag("1".parse().unwrap())).await.unwrap_err();
    assert!(error.to_string().contains("redirects"), "{error}");
    assert!(faulty.seen().len() <= 12);
    let (faulty, _, _) = filled(Quirks::default()).await;
    faulty.after(
        100,
        |_| true,
        |_, reply| {
            for n in 0..3000 {
                reply.headers.push((format!("x-{n}"), "y".to_owned()));
            }
        },
    );
    let error = source(&faulty).manifest(&By::Tag("1".parse().unwrap())).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages_and_stay_at_home() {
    let (faulty, _, raw) = filled(Quirks::default()).await;
    let names: Vec<String> = (0..7).map(|n| format!("v{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    faulty.hold_manifest(REPOSITORY, &names, media_type::MANIFEST, &raw.bytes);
    assert_eq!(source(&faulty).tags().await.unwrap().len(), 8);
    let stranger = faulty.stranger();
    faulty.after(
        1,
        |seen| seen.is("GET", "/tags/list"),
        move |_, reply| {
            *reply = reply.clone().with("link", format!("<http://{stranger}/v2/team/app/tags/list?last=x>; rel=next"));
        },
    );
    let error = source(&faulty).tags().await.unwrap_err();
    assert!(matches!(error, Error::Pages { .. }), "{error}");
    assert!(faulty.seen().iter().all(|seen| seen.host == faulty.host()));
    faulty.after(
        9,
        |seen| seen.is("GET", "/tags/list"),
        |_, reply| {
            *reply = reply.clone().with("link", "</v2/team/app/tags/list?n=1000>; rel=next");
        },
    );
    assert!(matches!(source(&faulty).tags().await, Err(Error::Pages { .. })), "pages in a circle end");
}

// ---- writing ----

#[tokio::test(flavor = "multi_thread")]
async fn push_and_what_it_costs() {
    let faulty = Faulty::start(Quirks::default()).await;
    let remote = pushed(&faulty, &[0, 1, LAYER]).await;
    // Per blob one HEAD, one POST, one PUT; per manifest one PUT.
    assert_eq!((faulty.count("HEAD", "/blobs/"), faulty.count("POST", ""), faulty.count("PUT", "/blobs/")), (4, 4, 4));
    assert_eq!(faulty.count("PUT", "/manifests/"), 2);
    // Content that is there is not sent again.
    let mut memory = Memory::default();
    let raw = memory::image(&mut memory, 11, &[0, 1, LAYER]);
    push_image(&remote, &memory, &raw).await.unwrap();
    assert_eq!(faulty.count("POST", ""), 4);
    let fresh = target(&faulty).assume_empty();
    push_image(&fresh, &memory, &raw).await.unwrap();
    assert_eq!(faulty.count("HEAD", "/blobs/"), 8, "a new repository is not searched");
}

#[tokio::test(flavor = "multi_thread")]
async fn relative_location_whose_query_is_kept_byte_for_byte() {
    let quirks = Quirks { location_query: "?_state=a%2Fb%3D%3D&x=%20+~".into(), ..Quirks::default() };
    pushed(&Faulty::start(quirks).await, &[LAYER]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn manifest_put_without_location_and_without_digest() {
    let faulty = Faulty::start(Quirks { content_digest: false, ..Quirks::default() }).await;
    faulty.after(9, |seen| seen.is("PUT", ""), |_, reply| reply.without("location"));
    pushed(&faulty, &[10]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn manifest_put_answered_with_202() {
    let faulty = Faulty::start(Quirks::default()).await;
    faulty.after(9, |seen| seen.is("PUT", "/manifests/"), |_, reply| reply.status = 202);
    pushed(&faulty, &[10]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn manifest_put_429_twice_and_500() {
    let faulty = Faulty::start(Quirks::default()).await;
    faulty.instead(2, |seen| seen.is("PUT", "/manifests/"), |_, reply| *reply = Reply::status(429));
    faulty.instead(1, |seen| seen.is("PUT", "/manifests/"), |_, reply| *reply = Reply::status(500));
    pushed(&faulty, &[10]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn upload_start_429_twice() {
    let faulty = Faulty::start(Quirks::default()).await;
    faulty.instead(2, |seen| seen.is("POST", ""), |_, reply| *reply = Reply::status(429).with("retry-after", "0"));
    pushed(&faulty, &[10]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_500_on_the_final_put_of_each_blob() {
    let faulty = Faulty::start(Quirks::default()).await;
    let failed = std::sync::Mutex::new(std::collections::HashSet::new());
    faulty.instead(
        9,
        move |seen| seen.is("PUT", "/blobs/") && failed.lock().unwrap().insert(seen.param("digest")),
        |_, reply| *reply = Reply::error(500, "UNKNOWN"),
    );
    pushed(&faulty, &[0, 10, LAYER]).await;
    assert_eq!((faulty.count("PUT", "/blobs/"), faulty.count("POST", "")), (8, 8), "each with a session of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_reset_stall_or_lose_their_session() {
    let faulty = Faulty::start(Quirks::default()).await;
    faulty.instead(2, |seen| seen.is("PUT", "/blobs/"), |_, reply| reply.reset = true);
    faulty.instead(1, |seen| seen.is("PUT", "/blobs/"), |_, reply| *reply = Reply::error(404, "BLOB_UPLOAD_UNKNOWN"));
    pushed(&faulty, &[10, LAYER]).await;
    assert_eq!(faulty.count("PATCH", ""), 0, "a lost session is no reason to change the method");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_500_on_patch() {
    let faulty = Faulty::start(Quirks { whole_put: false, ..Quirks::default() }).await;
    faulty.instead(1, |seen| seen.is("PATCH", ""), |_, reply| *reply = Reply::status(500));
    pushed(&faulty, &[LAYER]).await;
    assert!(faulty.count("PATCH", "") >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn registry_without_patch() {
    pushed(&Faulty::start(Quirks { patch: 405, ..Quirks::default() }).await, &[LAYER]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registry_without_put_of_whole_bodies() {
    for patch in [202, 201, 204] {
        let faulty = Faulty::start(Quirks { whole_put: false, patch, ..Quirks::default() }).await;
        pushed(&faulty, &[LAYER, LAYER + 1, 0]).await;
        let refused = faulty.seen().iter().filter(|seen| seen.is("PUT", "/blobs/") && !seen.body.is_empty()).count();
        assert_eq!(refused, 1, "what works is remembered");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn registry_that_wants_large_chunks_behind_a_proxy_that_wants_small_requests() {
    let quirks = Quirks { max_body: Some(9 << 20), min_chunk: Some(8 << 20), ..Quirks::default() };
    let faulty = Faulty::start(quirks).await;
    pushed(&faulty, &[20 << 20]).await;
    let sizes: Vec<_> = faulty
        .seen()
        .iter()
        .filter(|seen| seen.header("content-range").is_some())
        .map(|seen| seen.body.len())
        .collect();
    assert_eq!(sizes, [8 << 20, 8 << 20, 4 << 20]);
}

#[tokio::test(flavor = "multi_thread")]
async fn registry_that_refuses_chunks_over_4_mib() {
    let quirks = Quirks { whole_put: false, max_chunk: Some(4 << 20), ..Quirks::default() };
    pushed(&Faulty::start(quirks).await, &[9 << 20]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_that_break_are_continued_where_the_registry_is() {
    let faulty = Faulty::start(Quirks { max_body: Some(5 << 20), ..Quirks::default() }).await;
    let chunk = |seen: &Seen| {
        seen.is("PATCH", "") && seen.header("content-range").is_some_and(|range| !range.starts_with("0-"))
    };
    faulty.instead(1, chunk, |_, reply| *reply = Reply::status(502));
    // The chunk arrives but its answer is lost.
    faulty.after(1, chunk, |_, reply| reply.reset = true);
    pushed(&faulty, &[14 << 20]).await;
    assert_eq!(
        faulty
            .seen()
            .iter()
            .filter(|seen| seen.header("content-range").is_some_and(|range| range.starts_with("0-")))
            .count(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_that_are_dropped_are_reported() {
    let faulty = Faulty::start(Quirks { max_body: Some(5 << 20), drops_chunks: true, ..Quirks::default() }).await;
    let mut memory = Memory::default();
    let raw = memory::image(&mut memory, 3, &[9 << 20]);
    let error = push_image(&target(&faulty), &memory, &raw).await.unwrap_err();
    assert!(error.to_string().contains("does not advance"), "{error}");
    assert_eq!(error.side(), Some(Side::Target));
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_that_are_refused_or_lied_about() {
    for mount in [201, 202, 400, 401, 403, 404, 405, 299] {
        let faulty = Faulty::start(Quirks { mount, ..Quirks::default() }).await;
        let registries = registries(settings(), Credentials::none());
        let mut memory = Memory::default();
        let raw = memory::image(&mut memory, 5, &[LAYER]);
        for repository in ["first", REPOSITORY] {
            let remote = remote(&registries, &faulty.host(), repository, Side::Target);
            push_image(&remote, &memory, &raw).await.unwrap();
        }
        assert_holds(&faulty, &memory, &raw);
        assert_eq!(faulty.count("PUT", "team/app/blobs/"), if mount == 201 { 0 } else { 2 }, "{mount}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_was_stored_as_another_is_an_error() {
    let faulty = Faulty::start(Quirks::default()).await;
    let other = Digest::sha256(b"other");
    faulty.after(
        9,
        |seen| seen.is("PUT", "/blobs/"),
        move |_, reply| {
            *reply = reply.clone().with("docker-content-digest", other.to_string());
        },
    );
    let mut memory = Memory::default();
    let raw = memory::image(&mut memory, 3, &[5]);
    let error = push_image(&target(&faulty), &memory, &raw).await.unwrap_err();
    assert_eq!((error.kind(), error.side()), (Kind::Corrupt, Some(Side::Target)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_source_bytes_are_never_committed() {
    for quirks in [
        Quirks::default(),
        Quirks { whole_put: false, ..Quirks::default() },
        Quirks { whole_put: false, max_body: Some(5 << 20), ..Quirks::default() },
    ] {
        let faulty = Faulty::start(quirks).await;
        let mut memory = Memory { piece: 64 << 10, ..Memory::default() };
        let raw = memory::image(&mut memory, 3, &[9 << 20]);
        let layer = raw_layer(&raw);
        let mut wrong = memory.bytes(&layer.digest).to_vec();
        *wrong.last_mut().unwrap() ^= 1;
        memory.blobs.insert(layer.digest, wrong.into());
        let error = target(&faulty).put(&layer, &memory, &|_| {}).await.unwrap_err();
        assert!(matches!(error, store::Error::Corrupt { side: Side::Source, .. }), "{error}");
        assert!(faulty.seen().iter().all(|seen| !(seen.is("PUT", "/blobs/") && seen.body.len() == 9 << 20)));
        memory.blobs.insert(layer.digest, Bytes::from_static(b"short"));
        let error = target(&faulty).put(&layer, &memory, &|_| {}).await.unwrap_err();
        assert!(matches!(error, store::Error::Size { actual: 5, .. }), "{error}");
        assert_eq!(faulty.blob(&layer.digest), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_one_registry_to_another_with_a_source_that_breaks() {
    let (from, memory, raw) = filled(Quirks::default()).await;
    from.after(2, is_layer, |_, reply| reply.cut = Some(reply.body.len() / 3));
    let to = Faulty::start(Quirks::default()).await;
    let (reading, writing) = (source(&from), target(&to));
    for child in Manifest::parse(None, &raw.bytes).unwrap().children().iter().chain([&raw.descriptor]) {
        writing.put(child, &reading, &|_| {}).await.unwrap();
    }
    assert_eq!(to.count("POST", ""), 3, "the upload goes on while the download is resumed");
    assert!(to.blob(&raw_layer(&raw).digest) == Some(memory.bytes(&raw_layer(&raw).digest)));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_copies_within_one_registry_than_it_has_turns() {
    // Each upload reads from the same host: uploads and downloads must not wait for each other's turns.
    let (faulty, _, _) = filled(Quirks { mount: 400, ..Quirks::default() }).await;
    let blobs: Vec<Bytes> = (0..24).map(|n| memory::noise(n + 500, 200_000).into()).collect();
    faulty.hold(REPOSITORY, blobs.clone());
    let registries = registries(Settings { concurrency: 2, ..settings() }, Credentials::none());
    let from = remote(&registries, &faulty.host(), REPOSITORY, Side::Source);
    let to = remote(&registries, &faulty.host(), "copy", Side::Target);
    let copies = blobs.iter().map(|bytes| {
        let (from, to, blob) = (from.clone(), to.clone(), Descriptor::of(media_type::LAYER_GZIP, bytes));
        tokio::spawn(async move { to.put(&blob, &from, &|_| {}).await })
    });
    let copies = futures_util::future::join_all(copies);
    let done = tokio::time::timeout(Duration::from_secs(20), copies).await.expect("no deadlock");
    assert!(done.into_iter().all(|one| one.unwrap().is_ok()));
}

#[tokio::test(flavor = "multi_thread")]
async fn immutable_tags() {
    let faulty = Faulty::start(Quirks { immutable_tags: true, ..Quirks::default() }).await;
    let mut memory = Memory::default();
    let raw = memory::image(&mut memory, 1, &[5]);
    let remote = target(&faulty);
    push_image(&remote, &memory, &raw).await.unwrap();
    push_image(&remote, &memory, &raw).await.unwrap();
    let other = memory::image(&mut memory, 2, &[5]);
    let error = remote.put_manifest(&other, Some(&"1".parse().unwrap())).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Answer);
    let text = error.to_string();
    assert!(text.contains(&raw.descriptor.digest.to_string()) && text.contains(&other.descriptor.digest.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn referrers_by_the_registry_and_by_tag() {
    for keeps in [true, false] {
        let faulty = Faulty::start(Quirks { referrers: keeps, ..Quirks::default() }).await;
        let mut memory = Memory::default();
        let raw = memory::image(&mut memory, 1, &[5]);
        let remote = target(&faulty);
        push_image(&remote, &memory, &raw).await.unwrap();
        let subject = raw.descriptor.digest;
        assert!(remote.referrers(&subject).await.unwrap().is_empty());
        let signature = |n: u64| {
            let manifest = serde_json::json!({
                "schemaVersion": 2, "mediaType": media_type::MANIFEST, "artifactType": media_type::SIGSTORE_BUNDLE,
                "config": {"mediaType": media_type::EMPTY, "digest": Digest::sha256(b"{}"), "size": 2},
                "layers": [], "subject": raw.descriptor, "annotations": {"n": n.to_string()},
            });
            RawManifest::new(media_type::MANIFEST, manifest.to_string().into_bytes())
        };
        // Several at once, and each twice: the list holds each once.
        let all = futures_util::future::join_all((0..6).map(|n| {
            let (remote, signature) = (remote.clone(), signature(n % 3));
            async move { remote.add_referrer(&subject, &signature).await }
        }));
        assert!(all.await.into_iter().all(|one| one.is_ok()));
        let mut listed: Vec<_> = remote.referrers(&subject).await.unwrap().into_iter().map(|one| one.digest).collect();
        let mut wanted: Vec<_> = (0..3).map(|n| signature(n).descriptor.digest).collect();
        listed.sort();
        wanted.sort();
        assert_eq!(listed, wanted);
        // A failure to look is not "none".
        faulty.instead(99, |seen| seen.method == "GET", |_, reply| *reply = Reply::error(403, "DENIED"));
        assert!(matches!(remote.referrers(&subject).await, Err(Error::Denied { .. })));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn additions_of_others_to_a_list_are_kept() {
    let (faulty, _, raw) = filled(Quirks::default()).await;
    let subject = raw.descriptor.digest;
    let list = format!("sha256-{}", subject.hex());
    let theirs = serde_json::json!({"mediaType": media_type::MANIFEST, "digest": Digest::sha256(b"theirs"), "size": 6});
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": [theirs]});
    let index = Bytes::from(index.to_string());
    // Right after our write somebody else writes what he made of the list before it.
    let (store, name, bytes) = (faulty.store.clone(), list.clone(), index.clone());
    faulty.after(2, move |seen| seen.is("PUT", &format!("/manifests/{name}")), {
        let name = list.clone();
        move |_, _| {
            let value = (media_type::INDEX.to_owned(), bytes.clone());
            store.manifests.lock().unwrap().insert((REPOSITORY.to_owned(), name.clone()), value);
        }
    });
    let mut memory = Memory::default();
    let ours = memory::image(&mut memory, 77, &[]);
    let remote = target(&faulty);
    remote.add_referrer(&subject, &ours).await.unwrap();
    let listed: Vec<_> = remote.referrers(&subject).await.unwrap().into_iter().map(|one| one.digest).collect();
    assert_eq!(listed, [Digest::sha256(b"theirs"), ours.descriptor.digest]);
}

#[tokio::test(flavor = "multi_thread")]
async fn cosign_tags_are_found() {
    let (faulty, _, raw) = filled(Quirks::default()).await;
    let tag = format!("sha256-{}.sig", raw.descriptor.digest.hex());
    faulty.hold_manifest(REPOSITORY, &[tag.as_str()], media_type::MANIFEST, &raw.bytes);
    let found = source(&faulty).cosign_tags(&raw.descriptor.digest).await.unwrap();
    assert_eq!(found.iter().map(|(tag, _)| tag.as_str()).collect::<Vec<_>>(), [tag.as_str()]);
}

// ---- thirty in a hundred ----

/// Copies sixteen images from one registry to another, each of whose answers fails with the given probability in
/// tenths; returns how many requests were made.
async fn copy_among_faults(seed: u64, tenths: u64) -> usize {
    let from = Faulty::start(Quirks::default()).await;
    let to = Faulty::start(Quirks { mount: 202, ..Quirks::default() }).await;
    let mut memory = Memory { piece: 16 << 10, ..Memory::default() };
    let images: Vec<RawManifest> =
        (0..16).map(|n| memory::image(&mut memory, seed * 1000 + n, &[60_000, 1, 90_000, 5_000])).collect();
    from.hold(REPOSITORY, memory.blobs.values().cloned());
    for (n, raw) in images.iter().enumerate() {
        from.hold_manifest(REPOSITORY, &[format!("v{n}").as_str()], media_type::MANIFEST, &raw.bytes);
    }
    for (faulty, salt) in [(&from, 1), (&to, 2)] {
        let (often, dice) = (dice(seed * 17 + salt), dice(seed * 31 + salt));
        faulty.after(
            usize::MAX,
            move |_| often() % 10 < tenths,
            move |_, reply| match dice() % 6 {
                0 => *reply = Reply::status(500),
                1 => *reply = Reply::status(503).with("retry-after", "0"),
                2 => *reply = Reply::status(429),
                3 => reply.reset = true,
                4 => *reply = Reply::status(502).body("<html>"),
                _ => reply.cut = Some(reply.body.len() / 2),
            },
        );
    }
    let registries = registries(settings(), Credentials::none());
    let reading = remote(&registries, &from.host(), REPOSITORY, Side::Source);
    let writing = remote(&registries, &to.host(), "copy", Side::Target);
    let copies = images.iter().enumerate().map(|(n, raw)| {
        let (reading, writing, raw) = (reading.clone(), writing.clone(), raw.clone());
        tokio::spawn(async move {
            let got = reading.manifest(&By::Tag(format!("v{n}").parse().unwrap())).await.unwrap();
            assert_eq!(got, raw);
            for child in Manifest::parse(None, &got.bytes).unwrap().children() {
                pull::blob(&reading, &child).await.unwrap();
                writing.put(&child, &reading, &|_| {}).await.unwrap();
            }
            writing.put_manifest(&raw, Some(&format!("v{n}").parse().unwrap())).await.unwrap();
        })
    });
    for copy in futures_util::future::join_all(copies).await {
        copy.unwrap();
    }
    for raw in &images {
        for child in Manifest::parse(None, &raw.bytes).unwrap().children() {
            assert!(to.blob(&child.digest) == Some(memory.bytes(&child.digest)), "seed {seed}: {}", child.digest);
        }
    }
    from.seen().len() + to.seen().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_in_ten_requests_fail_and_everything_arrives() {
    let undisturbed = copy_among_faults(99, 0).await;
    assert!(undisturbed > 400);
    for seed in 0..4 {
        let requests = copy_among_faults(seed, 3).await;
        // One in 0.7 succeeds; an upload that fails takes a session with it.
        assert!(requests as f64 <= undisturbed as f64 * 1.8, "{requests} instead of {undisturbed}");
    }
}

/// Returns numbers that a seed decides.
fn dice(seed: u64) -> impl Fn() -> u64 + Send + Sync {
    let state = std::sync::Mutex::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    move || {
        let mut state = state.lock().unwrap();
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state >> 20
    }
}

fn raw_layer(raw: &RawManifest) -> Descriptor {
    Manifest::parse(None, &raw.bytes).unwrap().layers[0].clone()
}

async fn collect(mut reader: store::Reader) -> Result<Bytes, store::Error> {
    let mut whole = Vec::new();
    while let Some(part) = futures_util::StreamExt::next(&mut reader).await {
        whole.extend_from_slice(&part?);
    }
    Ok(whole.into())
}
