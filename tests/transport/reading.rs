//! Reading: what arrives is right, or it is an error.

use super::*;

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
