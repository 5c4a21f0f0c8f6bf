//! Who may see what: credentials, tokens, mirrors, and that no secret ever reaches another origin.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use airgap_bundler::{
    error::{Classify as _, Kind, Side},
    event::Silent,
    net::{Environment, HostSettings, Secret, Settings},
    oci::{Descriptor, Manifest, Reference, media_type},
    registry::{By, Credentials, Error, Login, RawManifest, Registries, Remote},
    store::{Sink as _, Source as _},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    support::{
        faulty::{Faulty, Quirks, Reply, Seen},
        memory::{self, Memory},
        pull,
    },
    transport::{registries, remote, settings},
};

const CANARY: &str = "c4n4ry-s3cr3t";
const REPOSITORY: &str = "team/app";

fn login() -> Login {
    Login::Basic { username: "robot$ci".to_owned(), password: Secret::new(CANARY) }
}

fn basic() -> String {
    format!("Basic {}", STANDARD.encode(format!("robot$ci:{CANARY}")))
}

fn knows(faulty: &Faulty) -> Credentials {
    Credentials::none().with(faulty.host().parse().unwrap(), login())
}

async fn filled(quirks: Quirks) -> (Faulty, Memory, RawManifest) {
    let faulty = Faulty::start(quirks).await;
    let mut memory = Memory::default();
    let raw = memory::image(&mut memory, 7, &[300_000, 70_000]);
    faulty.hold(REPOSITORY, memory.blobs.values().cloned());
    faulty.hold_manifest(REPOSITORY, &["1"], media_type::MANIFEST, &raw.bytes);
    (faulty, memory, raw)
}

async fn pull_all(remote: &Remote, memory: &Memory) -> Result<(), Error> {
    let raw = remote.manifest(&By::Tag("1".parse().unwrap())).await?;
    for child in Manifest::parse(None, &raw.bytes).unwrap().children() {
        let bytes = pull::blob(remote, &child).await.unwrap();
        assert!(bytes == memory.bytes(&child.digest));
    }
    Ok(())
}

async fn push_all(remote: &Remote, seed: u64) {
    let mut memory = Memory::default();
    let raw = memory::image(&mut memory, seed, &[40_000, 3]);
    for child in Manifest::parse(None, &raw.bytes).unwrap().children() {
        remote.put(&child, &memory, &|_| {}).await.unwrap();
    }
    remote.put_manifest(&raw, Some(&"pushed".parse().unwrap())).await.unwrap();
}

/// Everything that shows who somebody is, in a request that went to another origin than `home`.
fn leaks(faulty: &Faulty, home: &str) -> Vec<Seen> {
    let encoded = STANDARD.encode(format!("robot$ci:{CANARY}"));
    let leak = |seen: &Seen| {
        let text = seen.text();
        text.contains(CANARY)
            || text.contains(&encoded)
            || text.contains("token-")
            || seen.header("authorization").is_some()
    };
    faulty.seen().into_iter().filter(|seen| seen.host != home && leak(seen)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn basic_authentication_after_the_first_401() {
    let (faulty, memory, _) = filled(Quirks { basic: Some(basic()), ..Quirks::default() }).await;
    let registries = registries(settings(), knows(&faulty));
    pull_all(&remote(&registries, &faulty.host(), REPOSITORY, Side::Source), &memory).await.unwrap();
    push_all(&remote(&registries, &faulty.host(), REPOSITORY, Side::Target), 9).await;
    let refused = faulty.seen().iter().filter(|seen| seen.header("authorization").is_none()).count();
    assert_eq!(refused, 1, "after the first request everybody knows");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_learn_from_the_first() {
    for quirks in [
        Quirks { basic: Some(basic()), ..Quirks::default() },
        Quirks { basic: Some(basic()), tokens: Some(Duration::from_secs(60)), ..Quirks::default() },
    ] {
        let (faulty, _, _) = filled(quirks).await;
        let remote = remote(&registries(settings(), knows(&faulty)), &faulty.host(), REPOSITORY, Side::Source);
        let all = (0..64).map(|_| {
            let remote = remote.clone();
            tokio::spawn(async move { remote.head(&By::Tag("1".parse().unwrap())).await })
        });
        for one in futures_util::future::join_all(all).await {
            assert!(one.unwrap().unwrap().is_some());
        }
        let bare =
            faulty.seen().iter().filter(|seen| seen.path != "/token" && seen.header("authorization").is_none()).count();
        assert!(
            bare == 1 && faulty.count("GET", "/token") <= 1,
            "{bare} requests without, {} tokens",
            faulty.count("GET", "/token")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_expire_while_we_work() {
    // The server lets them end before the time that it announces: pulls and pushes go on, uploads in the middle too.
    let life = Duration::from_millis(700);
    let quirks = Quirks { basic: Some(basic()), tokens: Some(life), announced_life: Some(300), ..Quirks::default() };
    let (faulty, memory, _) = filled(quirks).await;
    let registries = registries(settings(), knows(&faulty));
    let (from, to) = (
        remote(&registries, &faulty.host(), REPOSITORY, Side::Source),
        remote(&registries, &faulty.host(), "other", Side::Target),
    );
    let began = Instant::now();
    let mut rounds = 0;
    while began.elapsed() < Duration::from_millis(2500) {
        rounds += 1;
        pull_all(&from, &memory).await.unwrap();
        push_all(&to, 1000 + rounds).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let lives = began.elapsed().as_millis() / life.as_millis() + 1;
    assert!(faulty.count("GET", "/token") as u128 <= 2 * lives, "one token for each life and scope");
    assert!(leaks(&faulty, &faulty.host()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_renewed_before_they_end() {
    let life = Duration::from_secs(1);
    let (faulty, memory, _) = filled(Quirks { tokens: Some(life), ..Quirks::default() }).await;
    let remote = remote(&registries(settings(), Credentials::none()), &faulty.host(), REPOSITORY, Side::Source);
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2600) {
        pull_all(&remote, &memory).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let refused =
        faulty.seen().iter().filter(|seen| seen.path != "/token" && seen.header("authorization").is_none()).count();
    assert_eq!(refused, 1);
    assert!((3..=5).contains(&faulty.count("GET", "/token")), "{}", faulty.count("GET", "/token"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_refused_tokens_renews_once() {
    let (faulty, _, _) = filled(Quirks { tokens: Some(Duration::from_secs(60)), ..Quirks::default() }).await;
    let remote = remote(&registries(settings(), Credentials::none()), &faulty.host(), REPOSITORY, Side::Source);
    for round in 1..=3 {
        let all = (0..64).map(|_| {
            let remote = remote.clone();
            tokio::spawn(async move { remote.manifest(&By::Tag("1".parse().unwrap())).await.map(drop) })
        });
        for one in futures_util::future::join_all(all).await {
            one.unwrap().unwrap();
        }
        assert_eq!(faulty.count("GET", "/token"), round);
        faulty.forget_tokens();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_at_a_time_is_enough_for_everything() {
    // Whoever holds the only turn must not need another one: tokens, renewals, looks after writes, lists, fallbacks.
    let quirks = Quirks {
        basic: Some(basic()),
        tokens: Some(Duration::from_millis(200)),
        announced_life: Some(300),
        content_digest: false,
        head: false,
        ..Quirks::default()
    };
    let work = async {
        let (faulty, memory, raw) = filled(quirks).await;
        let registries = registries(Settings { concurrency: 1, ..settings() }, knows(&faulty));
        let from = remote(&registries, &faulty.host(), REPOSITORY, Side::Source);
        let to = remote(&registries, &faulty.host(), "other", Side::Target);
        let rounds = (0..8).map(|round| {
            let (from, to, memory, raw) = (from.clone(), to.clone(), memory.clone(), raw.clone());
            tokio::spawn(async move {
                pull_all(&from, &memory).await.unwrap();
                push_all(&to, 2000 + round).await;
                to.put_manifest(&raw, Some(&"1".parse().unwrap())).await.unwrap();
                assert!(from.head(&By::Tag("1".parse().unwrap())).await.unwrap().is_some());
                assert!(from.head(&By::Tag("2".parse().unwrap())).await.unwrap().is_none());
                assert!(from.referrers(&raw.descriptor.digest).await.unwrap().is_empty());
                from.tags().await.unwrap();
            })
        });
        for round in futures_util::future::join_all(rounds).await {
            round.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(30), work).await.expect("nobody waits for himself");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_asks_for_both_repositories() {
    let quirks = Quirks { basic: Some(basic()), tokens: Some(Duration::from_secs(60)), ..Quirks::default() };
    let faulty = Faulty::start(quirks).await;
    let registries = registries(settings(), knows(&faulty));
    for repository in ["a", "b"] {
        push_all(&remote(&registries, &faulty.host(), repository, Side::Target), 5).await;
    }
    let scopes: Vec<_> =
        faulty.seen().iter().filter(|seen| seen.path == "/token").map(|seen| seen.query.clone()).collect();
    assert!(
        scopes.iter().any(|query| query.contains("repository%3Aa%3Apull&scope=repository%3Ab%3Apull%2Cpush")),
        "{scopes:?}"
    );
    assert_eq!(faulty.count("PUT", "/v2/b/blobs/"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_token_is_exchanged_by_post() {
    let quirks =
        Quirks { basic: Some("refresh-me".into()), tokens: Some(Duration::from_secs(60)), ..Quirks::default() };
    let (faulty, memory, _) = filled(quirks).await;
    let credentials =
        Credentials::none().with(faulty.host().parse().unwrap(), Login::Identity(Secret::new("refresh-me")));
    pull_all(&remote(&registries(settings(), credentials), &faulty.host(), REPOSITORY, Side::Source), &memory)
        .await
        .unwrap();
    assert_eq!((faulty.count("POST", "/token"), faulty.count("GET", "/token")), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_who_asked_and_hide_what_was_shown() {
    let (faulty, _, _) = filled(Quirks { basic: Some("Basic other".into()), ..Quirks::default() }).await;
    let error = remote(&registries(settings(), knows(&faulty)), &faulty.host(), REPOSITORY, Side::Source)
        .tags()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    let text = format!("{error} {error:?}");
    assert!(text.contains("robot$ci") && !text.contains(CANARY), "{text}");
    assert!(faulty.seen().len() <= 2, "refused once is refused");
    let error = remote(&registries(settings(), Credentials::none()), &faulty.host(), REPOSITORY, Side::Source)
        .tags()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("without credentials"), "{error}");
    // A token server that refuses.
    let quirks =
        Quirks { basic: Some("Basic other".into()), tokens: Some(Duration::from_secs(9)), ..Quirks::default() };
    let (faulty, _, _) = filled(quirks).await;
    let error = remote(&registries(settings(), knows(&faulty)), &faulty.host(), REPOSITORY, Side::Source)
        .tags()
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Token { .. }) && error.kind() == Kind::NotFound, "{error}");
    assert!(!format!("{error} {error:?} {:?}", knows(&faulty)).contains(CANARY));
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_see_404_and_members_see_content() {
    let (faulty, memory, _) = filled(Quirks { basic: Some(basic()), ..Quirks::default() }).await;
    // Answers 404 to strangers; only its ping says what it wants.
    faulty.instead(
        1,
        |seen| seen.header("authorization").is_none() && seen.path != "/v2/",
        |_, reply| *reply = Reply::error(404, "NAME_UNKNOWN"),
    );
    pull_all(&remote(&registries(settings(), knows(&faulty)), &faulty.host(), REPOSITORY, Side::Source), &memory)
        .await
        .unwrap();
    assert_eq!(faulty.seen().iter().filter(|seen| seen.path == "/v2/").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_registry_sends_back_is_not_shown() {
    for tokens in [None, Some(Duration::from_secs(60))] {
        let (faulty, _, _) = filled(Quirks { basic: Some(basic()), tokens, ..Quirks::default() }).await;
        faulty.after(9, |seen| seen.header("authorization").is_some() && seen.path != "/token", |seen, reply| {
            let shown = seen.header("authorization").unwrap();
            let body = serde_json::json!({"errors": [{"code": "DENIED", "message": format!("bad {shown} ({CANARY})"), "detail": shown}]});
            *reply = Reply::status(403).body(body.to_string());
        });
        let remote = remote(&registries(settings(), knows(&faulty)), &faulty.host(), REPOSITORY, Side::Source);
        let error = remote.tags().await.unwrap_err();
        let text = format!("{error} {error:?}");
        let encoded = STANDARD.encode(format!("robot$ci:{CANARY}"));
        assert!(
            text.contains("DENIED") && ![CANARY, &encoded, "token-0"].iter().any(|secret| text.contains(secret)),
            "{text}"
        );
    }
}

// ---- no secret ever reaches another origin ----

#[tokio::test(flavor = "multi_thread")]
async fn canary_in_redirects_of_reads_and_writes() {
    for scheme in ["basic", "token"] {
        for part in ["/blobs/sha256", "/manifests/", "/tags/list", "/v2/"] {
            let tokens = (scheme == "token").then(|| Duration::from_secs(60));
            let (faulty, memory, _) = filled(Quirks { basic: Some(basic()), tokens, ..Quirks::default() }).await;
            // Another name, and another port of the same name.
            let (elsewhere, _, _) = filled(Quirks::default()).await;
            for other in [faulty.stranger(), elsewhere.host()] {
                let home = faulty.host();
                let location = other.clone();
                faulty.instead(
                    2,
                    move |seen| seen.host == home && seen.path.contains(part) && seen.header("authorization").is_some(),
                    move |seen, reply| {
                        *reply = Reply::status(307).with("location", format!("http://{location}{}", seen.path))
                    },
                );
                let registries = registries(settings(), knows(&faulty));
                let remote = remote(&registries, &faulty.host(), REPOSITORY, Side::Source);
                let _ = remote.tags().await;
                let _ = remote.delete(&By::Tag("none".parse().unwrap())).await;
                let _ = remote.manifest(&By::Tag("1".parse().unwrap())).await;
                for digest in memory.blobs.keys() {
                    let blob = Descriptor::new(media_type::LAYER_GZIP, *digest, memory.bytes(digest).len() as u64);
                    let _ = pull::blob(&remote, &blob).await;
                    let _ = remote.has(&blob).await;
                }
            }
            assert!(leaks(&faulty, &faulty.host()).is_empty(), "{part}");
            assert!(leaks(&elsewhere, "").is_empty(), "{part}");
            let followed = faulty.seen().iter().any(|seen| seen.host != faulty.host()) || !elsewhere.seen().is_empty();
            assert!(followed, "the test leads astray: {part}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_elsewhere_is_read_without_credentials() {
    let (faulty, memory, _) = filled(Quirks { basic: Some(basic()), ..Quirks::default() }).await;
    let (storage, _, _) = filled(Quirks::default()).await;
    let there = storage.host();
    faulty.instead(
        99,
        |seen| seen.is("GET", "/blobs/sha256") && seen.header("authorization").is_some(),
        move |seen, reply| *reply = Reply::status(307).with("location", format!("http://{there}{}?sig=x", seen.path)),
    );
    storage.after(1, |seen| seen.is("GET", "/blobs/"), |_, reply| reply.cut = Some(reply.body.len() / 2));
    pull_all(&remote(&registries(settings(), knows(&faulty)), &faulty.host(), REPOSITORY, Side::Source), &memory)
        .await
        .unwrap();
    assert!(storage.seen().iter().any(|seen| seen.header("range").is_some()), "resumed there");
    assert!(leaks(&storage, "").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn canary_in_upload_locations() {
    for (whole_put, tokens) in [(true, None), (false, None), (true, Some(Duration::from_secs(60)))] {
        let faulty = Faulty::start(Quirks { basic: Some(basic()), tokens, whole_put, ..Quirks::default() }).await;
        let base = format!("http://{}", faulty.stranger());
        faulty.set(|quirks| quirks.location_base = base);
        let stranger = faulty.stranger();
        let registries = registries(settings(), knows(&faulty));
        let target = remote(&registries, &faulty.host(), REPOSITORY, Side::Target);
        let mut memory = Memory::default();
        let raw = memory::image(&mut memory, 1, &[40_000]);
        let layer = Manifest::parse(None, &raw.bytes).unwrap().layers[0].clone();
        // It refuses, since it sees nobody: the upload fails, and nothing was shown.
        let error = target.put(&layer, &memory, &|_| {}).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{error}");
        assert!(faulty.seen().iter().any(|seen| seen.host == stranger));
        assert!(leaks(&faulty, &faulty.host()).is_empty());
        // One that wants nothing gets the blob.
        let open = Faulty::start(Quirks { whole_put, ..Quirks::default() }).await;
        let base = format!("http://{}", open.stranger());
        open.set(|quirks| quirks.location_base = base);
        push_all(&remote(&registries, &open.host(), REPOSITORY, Side::Target), 3).await;
        assert!(open.seen().iter().any(|seen| seen.host == open.stranger() && seen.method == "PUT"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn canary_in_token_realms() {
    for realm in [
        "http://{stranger}/token",
        "http://{stranger}/token?account=x",
        "file:///etc/passwd",
        "http://u:p@{stranger}/token",
        "::",
    ] {
        let (faulty, memory, _) = filled(Quirks { tokens: Some(Duration::from_secs(60)), ..Quirks::default() }).await;
        let realm = realm.replace("{stranger}", &faulty.stranger());
        faulty.set(|quirks| quirks.realm = Some(realm.clone()));
        let remote = remote(&registries(settings(), knows(&faulty)), &faulty.host(), REPOSITORY, Side::Source);
        let outcome = pull_all(&remote, &memory).await;
        let foreign = faulty.seen().iter().filter(|seen| seen.host != faulty.host()).cloned().collect::<Vec<_>>();
        assert!(foreign.iter().all(|seen| seen.header("authorization").is_none() && !seen.text().contains(CANARY)));
        if realm.starts_with("http://localhost") {
            outcome.unwrap();
            assert_eq!(foreign.len(), 1, "a token that anybody gets is asked for, as anybody");
        } else {
            assert!(matches!(outcome, Err(Error::Realm { .. })), "{realm}: {outcome:?}");
            assert!(foreign.is_empty());
        }
    }
    // A realm elsewhere that wants credentials fails with a clear line, and with permission gets them.
    let (faulty, memory, _) =
        filled(Quirks { basic: Some(basic()), tokens: Some(Duration::from_secs(60)), ..Quirks::default() }).await;
    let realm = format!("http://{}/token", faulty.stranger());
    faulty.set(|quirks| quirks.realm = Some(realm));
    let host = faulty.host();
    let source = remote(&registries(settings(), knows(&faulty)), &host, REPOSITORY, Side::Source);
    let error = pull_all(&source, &memory).await.unwrap_err();
    assert!(error.to_string().contains("authRealms") && error.to_string().contains("localhost"), "{error}");
    assert!(leaks(&faulty, &host).is_empty());
    let mut allowed = settings();
    let one = HostSettings { auth_realms: vec!["localhost".into()], ..HostSettings::default() };
    allowed.hosts.insert(host.parse().unwrap(), one);
    let source = remote(&registries(allowed, knows(&faulty)), &host, REPOSITORY, Side::Source);
    pull_all(&source, &memory).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn canary_in_pages_of_lists() {
    let (faulty, _, raw) = filled(Quirks { basic: Some(basic()), ..Quirks::default() }).await;
    let stranger = faulty.stranger();
    faulty.after(
        99,
        |seen| seen.header("authorization").is_some(),
        move |seen, reply| {
            *reply = reply.clone().with("link", format!("<http://{stranger}{}?last=x>; rel=\"next\"", seen.path));
        },
    );
    let remote = remote(&registries(settings(), knows(&faulty)), &faulty.host(), REPOSITORY, Side::Source);
    assert!(matches!(remote.tags().await, Err(Error::Pages { .. })));
    faulty.set(|quirks| quirks.referrers = true);
    assert!(matches!(remote.referrers(&raw.descriptor.digest).await, Err(Error::Pages { .. })));
    assert!(faulty.seen().iter().all(|seen| seen.host == faulty.host()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_gets_its_own_credentials_only() {
    let mirrored = "dockerhub/library/busybox";
    for own in [false, true] {
        let faulty = Faulty::start(Quirks { basic: own.then(basic), ..Quirks::default() }).await;
        let mut memory = Memory::default();
        let raw = memory::image(&mut memory, 7, &[3000]);
        faulty.hold(mirrored, memory.blobs.values().cloned());
        faulty.hold_manifest(mirrored, &["1"], media_type::MANIFEST, &raw.bytes);
        let mut settings = settings();
        let mirror = HostSettings { mirror: Some(format!("{}/dockerhub", faulty.host())), ..HostSettings::default() };
        settings.hosts.insert("docker.io".parse().unwrap(), mirror);
        let hub = Login::Basic { username: "hub".into(), password: Secret::new("hub-canary") };
        let mut credentials = Credentials::none().with("docker.io".parse().unwrap(), hub);
        if own {
            credentials = credentials.with(faulty.host().parse().unwrap(), login());
        }
        let registries = Registries::new(settings, credentials, Arc::new(Silent)).unwrap();
        let reference: Reference = "busybox:1".parse().unwrap();
        let remote = registries.repository(&reference.host, &reference.repository, Side::Source);
        pull_all(&remote, &memory).await.unwrap();
        let hub = STANDARD.encode("hub:hub-canary");
        assert!(faulty.seen().iter().all(|seen| !seen.text().contains(&hub) && !seen.text().contains("hub-canary")));
        assert!(faulty.seen().iter().all(|seen| seen.path.starts_with("/v2/dockerhub/library/busybox/")));
        assert_eq!((remote.host().as_str(), remote.repository().as_str()), ("docker.io", "library/busybox"));
        // A layer that is not there names the mirror.
        let error = remote.manifest(&By::Tag("nope".parse().unwrap())).await.unwrap_err();
        assert!(error.to_string().contains(&faulty.host()), "{error}");
    }
    let mut wrong = Settings::default();
    wrong.hosts.insert(
        "docker.io".parse().unwrap(),
        HostSettings { mirror: Some("https://x y".into()), ..HostSettings::default() },
    );
    assert!(matches!(Registries::new(wrong, Credentials::none(), Arc::new(Silent)), Err(Error::Mirror { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_to_a_registry_that_gives_tokens_to_anybody() {
    let (front, _, _) = filled(Quirks::default()).await;
    let (back, memory, _) = filled(Quirks { tokens: Some(Duration::from_secs(60)), ..Quirks::default() }).await;
    let there = back.host();
    front.instead(
        99,
        |_| true,
        move |seen, reply| *reply = Reply::status(307).with("location", format!("http://{there}{}", seen.path)),
    );
    pull_all(&remote(&registries(settings(), knows(&front)), &front.host(), REPOSITORY, Side::Source), &memory)
        .await
        .unwrap();
    assert!(back.seen().iter().all(|seen| !seen.text().contains(CANARY) && !seen.text().contains("Basic")));
}

// ---- where credentials come from ----

#[tokio::test(flavor = "multi_thread")]
async fn files_and_helpers_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, text: &str| {
        std::fs::create_dir_all(path(name).parent().unwrap()).unwrap();
        std::fs::write(path(name), text).unwrap();
    };
    let auth = |user: &str| format!(r#"{{"auth":"{}"}}"#, STANDARD.encode(format!("{user}:{user}-pw")));
    let helper = |name: &str, script: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        let file = format!("bin/docker-credential-{name}");
        write(&file, &format!("#!/bin/sh\nread server\necho \"$server\" >> {}\n{script}\n", path("asked").display()));
        std::fs::set_permissions(path(&file), std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    helper(
        "store",
        r#"case "$server" in h.example) echo '{"ServerURL":"","Username":"helped","Secret":"s"}';; https://index.docker.io/v1/) echo '{"Username":"<token>","Secret":"idt"}';; *) echo credentials not found in native keychain; exit 1;; esac"#,
    );
    helper("cloud", r#"echo '{"Username":"cloud","Secret":"s"}'"#);
    helper("broken", "echo 'keyring is locked' ; exit 1");
    write(
        "home/.docker/config.json",
        &format!(
            r#"{{"credsStore":"store","credHelpers":{{"c.example":"cloud","b.example":"broken","n.example":"missing","p.example":"../evil"}},
               "auths":{{"h.example":{},"a.example":{},"https://legacy.example/v1/":{},"b.example":{},"index.docker.io/v1":{},
               "empty.example":{{}},"bad.example":{{"auth":"%%%"}},"it.example":{{"identitytoken":"x"}},"rt.example":{{"registrytoken":"y"}}}}}}"#,
            auth("never"),
            auth("docker"),
            auth("legacy"),
            auth("fallback"),
            auth("hub"),
        ),
    );
    write(
        "xdg/containers/auth.json",
        &format!(
            r#"{{"auths":{{"ns.example/team/app":{},"ns.example/team":{},"ns.example":{}}}}}"#,
            auth("app"),
            auth("team"),
            auth("all")
        ),
    );
    write("run/containers/auth.json", &format!(r#"{{"auths":{{"first.example":{}}}}}"#, auth("runtime")));
    write("named.json", &format!(r#"{{"auths":{{"first.example":{}}}}}"#, auth("named")));
    let text = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    let bin = format!("{}:/usr/bin:/bin", path("bin").display());
    let mut environment = vec![
        ("HOME", text(path("home"))),
        ("XDG_CONFIG_HOME", text(path("xdg"))),
        ("XDG_RUNTIME_DIR", text(path("run"))),
        ("PATH", bin),
    ];
    let credentials = Credentials::new(environment.clone().into_iter().collect::<Environment>());
    let who = async |credentials: &Credentials, host: &str, repository: &str| {
        let found = credentials.find(&host.parse().unwrap(), repository).await;
        let name = match found.login {
            Some(Login::Basic { username, .. }) => username,
            Some(Login::Identity(token)) => format!("identity {}", token.expose()),
            Some(Login::Access(token)) => format!("access {}", token.expose()),
            None => "nobody".to_owned(),
        };
        (name, found.troubles)
    };
    for (host, repository, wanted) in [
        ("h.example", "x", "helped"),
        ("c.example", "x", "cloud"),
        ("a.example", "x", "docker"),
        ("legacy.example", "x", "legacy"),
        ("docker.io", "library/x", "identity idt"),
        ("first.example", "x", "runtime"),
        ("ns.example", "team/app", "app"),
        ("ns.example", "team/app/sub", "app"),
        ("ns.example", "team/application", "team"),
        ("ns.example", "other", "all"),
        ("it.example", "x", "identity x"),
        ("rt.example", "x", "access y"),
        ("empty.example", "x", "nobody"),
        ("unknown.example", "x", "nobody"),
        ("a.example:5000", "x", "nobody"),
    ] {
        assert_eq!(who(&credentials, host, repository).await, (wanted.to_owned(), vec![]), "{host}/{repository}");
    }
    // What fails is told, and the search goes on.
    let (name, troubles) = who(&credentials, "b.example", "x").await;
    assert_eq!(name, "fallback");
    assert!(
        troubles[0].contains("docker-credential-broken") && troubles[0].contains("keyring is locked"),
        "{troubles:?}"
    );
    for (host, words) in [("n.example", "not found in PATH"), ("p.example", "no name"), ("bad.example", "base64")] {
        let (name, troubles) = who(&credentials, host, "x").await;
        assert!(name == "nobody" && troubles.iter().any(|trouble| trouble.contains(words)), "{host}: {troubles:?}");
    }
    // A helper is asked once, by its standard input.
    let before = std::fs::read_to_string(path("asked")).unwrap();
    let again = futures_util::future::join_all((0..8).map(|_| who(&credentials, "h.example", "y"))).await;
    assert!(again.iter().all(|(name, _)| name == "helped"));
    assert_eq!(std::fs::read_to_string(path("asked")).unwrap(), before);

    // A file that was named comes first, and must be there.
    environment.push(("REGISTRY_AUTH_FILE", text(path("named.json"))));
    let named = Credentials::new(environment.clone().into_iter().collect::<Environment>());
    assert_eq!(who(&named, "first.example", "x").await.0, "named");
    assert_eq!(who(&named, "a.example", "x").await.0, "docker");
    *environment.last_mut().unwrap() = ("REGISTRY_AUTH_FILE", text(path("gone.json")));
    environment.push(("DOCKER_CONFIG", text(path("named.json"))));
    let gone = Credentials::new(environment.into_iter().collect::<Environment>());
    assert!(who(&gone, "a.example", "x").await.1[0].contains("gone.json"));
    // And given ones before all.
    let given = credentials.with("h.example".parse().unwrap(), login());
    assert_eq!(who(&given, "h.example", "x").await.0, "robot$ci");
    assert!(!format!("{given:?}").contains(CANARY));
}

#[tokio::test(flavor = "multi_thread")]
async fn troubles_with_helpers_do_not_stop_public_pulls_and_show_when_they_matter() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), r#"{"credsStore":"desktop.exe"}"#).unwrap();
    let environment = || -> Environment {
        [("DOCKER_CONFIG", folder.path().to_str().unwrap()), ("PATH", "/nowhere")].into_iter().collect()
    };
    let (faulty, memory, _) = filled(Quirks::default()).await;
    let public =
        remote(&registries(settings(), Credentials::new(environment())), &faulty.host(), REPOSITORY, Side::Source);
    pull_all(&public, &memory).await.unwrap();
    faulty.set(|quirks| quirks.basic = Some(basic()));
    let private =
        remote(&registries(settings(), Credentials::new(environment())), &faulty.host(), REPOSITORY, Side::Source);
    let error = private.tags().await.unwrap_err();
    assert!(error.to_string().contains("docker-credential-desktop.exe: not found in PATH"), "{error}");
    assert!(public.is_remote());
}
