//! Writing: what is sent arrives once and right, whatever the registry does with it.

use super::*;

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
async fn answers_to_uploads_that_never_come() {
    let faulty = Faulty::start(Quirks::default()).await;
    for (method, part) in [("POST", ""), ("PUT", "/blobs/"), ("PUT", "/manifests/"), ("HEAD", "")] {
        faulty.instead(1, move |seen| seen.is(method, part), |_, reply| reply.silent = Some(Duration::from_secs(60)));
    }
    let began = Instant::now();
    pushed(&faulty, &[10]).await;
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

/// Serves uploads by hand. The first `deaf` bodies are not read: the server says nothing, or answers before it has them.
async fn deaf_server(deaf: usize, early: Option<&'static str>) -> (String, tokio::task::JoinHandle<()>) {
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let left = Arc::new(std::sync::atomic::AtomicUsize::new(deaf));
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let left = left.clone();
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                loop {
                    let (mut head, mut line) = (String::new(), String::new());
                    while stream.read_line(&mut line).await.unwrap_or(0) > 2 {
                        head += &line;
                        line.clear();
                    }
                    if head.is_empty() {
                        return;
                    }
                    let length = head
                        .lines()
                        .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                    let is_put = head.starts_with("PUT");
                    let hear = !is_put
                        || left
                            .fetch_update(
                                std::sync::atomic::Ordering::SeqCst,
                                std::sync::atomic::Ordering::SeqCst,
                                |left| left.checked_sub(1),
                            )
                            .is_err();
                    if !hear {
                        match early {
                            None => tokio::time::sleep(Duration::from_secs(60)).await,
                            Some(answer) => {
                                let _ = stream.write_all(answer.as_bytes()).await;
                                // Long enough to be read before the connection is reset.
                                tokio::time::sleep(Duration::from_millis(50)).await;
                            }
                        }
                        return;
                    }
                    let mut body = vec![0; length.unwrap_or(0)];
                    stream.read_exact(&mut body).await.unwrap();
                    let answer = match head.split(' ').next().unwrap() {
                        "HEAD" => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
                        "POST" => {
                            "HTTP/1.1 202 Accepted\r\nlocation: /v2/x/blobs/uploads/1\r\ncontent-length: 0\r\n\r\n"
                        }
                        _ => "HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n",
                    };
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    (host, task)
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_to_a_server_that_does_not_listen() {
    let early = "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    for early in [None, Some(early), Some("HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n"), Some("")] {
        let (host, server) = deaf_server(2, early).await;
        let mut memory = Memory { piece: 64 << 10, ..Memory::default() };
        // More than all buffers on the way hold.
        let blob = memory.add(media_type::LAYER_GZIP, memory::noise(1, 24 << 20));
        let target = remote(&registries(settings(), Credentials::none()), &host, "x", Side::Target);
        let began = Instant::now();
        target.put(&blob, &memory, &|_| {}).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(6), "{early:?}: {:?}", began.elapsed());
        server.abort();
    }
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
