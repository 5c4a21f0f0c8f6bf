//! Three requests in ten fail, at random and by a seed.

use super::*;

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
