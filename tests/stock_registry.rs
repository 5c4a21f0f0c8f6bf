//! Against stock registries: what is pushed comes back, and other tools agree.

use std::sync::Arc;

use airgap_bundler::{
    error::Side,
    event::Silent,
    net::{HostSettings, Pem, Secret, Settings},
    oci::{Manifest, Reference},
    registry::{By, Credentials, Error, Login, RawManifest, Registries},
    store::{self, Sink as _},
};

use crate::{
    support::{
        memory::{self, Memory},
        pull,
        stock::{self, Options, StockRegistry},
    },
    tls::Authority,
};

async fn push(remote: &airgap_bundler::registry::Remote, memory: &Memory, raw: &RawManifest, tag: Option<&str>) {
    for child in Manifest::parse(None, &raw.bytes).unwrap().children() {
        remote.put(&child, memory, &|_| {}).await.unwrap();
    }
    remote.put_manifest(raw, tag.map(|tag| tag.parse().unwrap()).as_ref()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_comes_back() {
    let Some(registry) = StockRegistry::docker(&Options::default()) else { return };
    let registries = Registries::new(Settings::default(), Credentials::none(), Arc::new(Silent)).unwrap();
    let reference: Reference = format!("{}/team/app:1", registry.host).parse().unwrap();
    let target = registries.repository(&reference.host, &reference.repository, Side::Target);
    let mut memory = Memory::default();
    let raw = memory::image(&mut memory, 1, &[0, 10, 3_000_000, 700_000]);
    push(&target, &memory, &raw, Some("1")).await;

    let source = registries.repository(&reference.host, &reference.repository, Side::Source);
    let by_tag = source.manifest(&By::Tag("1".parse().unwrap())).await.unwrap();
    assert_eq!(by_tag, raw);
    assert_eq!(source.manifest(&By::Digest(raw.descriptor.digest)).await.unwrap(), raw);
    assert_eq!(source.head(&By::Tag("1".parse().unwrap())).await.unwrap().unwrap(), raw.descriptor);
    assert_eq!(source.head(&By::Tag("2".parse().unwrap())).await.unwrap(), None);
    for child in Manifest::parse(None, &raw.bytes).unwrap().children() {
        assert_eq!(pull::blob(&source, &child).await.unwrap(), memory.bytes(&child.digest));
        assert!(source.has(&child).await.unwrap());
    }
    assert_eq!(source.tags().await.unwrap(), ["1".parse().unwrap()]);
    assert!(source.referrers(&raw.descriptor.digest).await.unwrap().is_empty());

    // The same blobs into another repository: mounted, nothing is sent.
    let other: Reference = format!("{}/team/copy", registry.host).parse().unwrap();
    let other = registries.repository(&other.host, &other.repository, Side::Target);
    struct Never;
    impl store::Source for Never {
        async fn open(
            &self,
            blob: &airgap_bundler::oci::Descriptor,
            _: u64,
            _: u64,
        ) -> Result<store::Reader, store::Error> {
            panic!("{} is read although it can be mounted", blob.digest)
        }
    }
    for child in Manifest::parse(None, &raw.bytes).unwrap().children() {
        other.put(&child, &Never, &|_| {}).await.unwrap();
    }
    other.put_manifest(&raw, None).await.unwrap();

    // A manifest whose layers are missing is refused recognisably.
    let mut elsewhere = Memory::default();
    let incomplete = memory::image(&mut elsewhere, 2, &[5]);
    let refused = other.put_manifest(&incomplete, None).await.unwrap_err();
    assert!(matches!(refused, Error::ManifestBlobUnknown { .. }), "{refused}");
    elsewhere.blobs.insert(incomplete.descriptor.digest, incomplete.bytes.clone());
    let refused = other.put(&incomplete.descriptor, &elsewhere, &|_| {}).await.unwrap_err();
    assert!(matches!(Error::of(&refused), Some(Error::ManifestBlobUnknown { .. })), "{refused}");

    // The registry keeps no lists of referrers: one is kept under a tag.
    let mut signature = memory::image(&mut memory, 3, &[7]);
    push(&target, &memory, &signature, None).await;
    let text = String::from_utf8(signature.bytes.to_vec()).unwrap();
    let subject = serde_json::to_string(&raw.descriptor).unwrap();
    signature = RawManifest::new(
        signature.descriptor.media_type.clone(),
        text.replacen('{', &format!("{{\"subject\":{subject},"), 1).into_bytes(),
    );
    target.add_referrer(&raw.descriptor.digest, &signature).await.unwrap();
    target.add_referrer(&raw.descriptor.digest, &signature).await.unwrap();
    let listed = source.referrers(&raw.descriptor.digest).await.unwrap();
    assert_eq!(listed.iter().map(|one| one.digest).collect::<Vec<_>>(), [signature.descriptor.digest]);

    assert!(target.delete(&By::Digest(raw.descriptor.digest)).await.unwrap());
    assert_eq!(target.head(&By::Digest(raw.descriptor.digest)).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_password_and_tls() {
    let authority = Authority::new();
    let (certificate, key, _) = authority.issue("127.0.0.1", |_| {});
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    // "s3cret", bcrypt at its lowest cost.
    let htpasswd = file("htpasswd", "robot:$2b$04$9SNXrM1h9U/lRgMNxAE0Tus/.nuRJX53CpJU4HqP7E5kwouoZWWcK\n");
    let (cert, key) = (file("cert.pem", &certificate), file("key.pem", &key.serialize_pem()));
    let options = Options { htpasswd: Some(&htpasswd), tls: Some((&cert, &key)), ..Options::default() };
    let Some(registry) = StockRegistry::docker(&options) else { return };
    let reference: Reference = format!("{}/team/app:1", registry.host).parse().unwrap();
    let trusting = || {
        let mut settings = Settings::default();
        let ca = vec![Pem::Text(Secret::new(authority.pem()))];
        settings.hosts.insert(reference.host.clone(), HostSettings { ca, ..HostSettings::default() });
        settings
    };
    let login = |password: &str| {
        let login = Login::Basic { username: "robot".into(), password: Secret::new(password) };
        Credentials::none().with(reference.host.clone(), login)
    };
    let open = |settings: Settings, credentials: Credentials| {
        let registries = Registries::new(settings, credentials, Arc::new(Silent)).unwrap();
        registries.repository(&reference.host, &reference.repository, Side::Target)
    };
    let mut memory = Memory::default();
    let raw = memory::image(&mut memory, 1, &[500_000]);
    let remote = open(trusting(), login("s3cret"));
    push(&remote, &memory, &raw, Some("1")).await;
    assert_eq!(remote.manifest(&By::Tag("1".parse().unwrap())).await.unwrap(), raw);
    let denied = open(trusting(), login("wrong")).tags().await.unwrap_err();
    assert!(matches!(denied, Error::Denied { .. }), "{denied}");
    let untrusted = open(Settings::default(), login("s3cret")).tags().await.unwrap_err();
    assert!(untrusted.to_string().contains("certificate not trusted"), "{untrusted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_reads_what_we_write_and_we_read_what_it_writes() {
    let Some(skopeo) = stock::find(&["skopeo-new", "skopeo"]) else { return };
    let Some(registry) = StockRegistry::docker(&Options::default()) else { return };
    let registries = Registries::new(Settings::default(), Credentials::none(), Arc::new(Silent)).unwrap();
    let repository = |name: &str, side| {
        let reference: Reference = format!("{}/{name}", registry.host).parse().unwrap();
        registries.repository(&reference.host, &reference.repository, side)
    };
    let mut memory = Memory::default();
    let raw = memory::image(&mut memory, 1, &[300_000, 2_000_000]);
    push(&repository("ours", Side::Target), &memory, &raw, Some("1")).await;
    let run = |arguments: &[&str]| {
        let output = std::process::Command::new(&skopeo).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let (ours, theirs) = (format!("docker://{}/ours:1", registry.host), format!("docker://{}/theirs:1", registry.host));
    assert_eq!(run(&["inspect", "--raw", "--tls-verify=false", &ours]), raw.bytes);
    run(&[
        "--insecure-policy",
        "copy",
        "--preserve-digests",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        &ours,
        &theirs,
    ]);
    let theirs = repository("theirs", Side::Source);
    assert_eq!(theirs.manifest(&By::Tag("1".parse().unwrap())).await.unwrap(), raw);
    for child in Manifest::parse(None, &raw.bytes).unwrap().children() {
        assert!(pull::blob(&theirs, &child).await.unwrap() == memory.bytes(&child.digest));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sloppy_registry() {
    // Answers PATCH with 204, gives no Location for what was put, checks no layers, knows no mounts.
    let Some(registry) = StockRegistry::crane() else { return };
    let mut memory = Memory::default();
    let raw = memory::image(&mut memory, 1, &[0, 9_000_000]);
    let registries = Registries::new(Settings::default(), Credentials::none(), Arc::new(Silent)).unwrap();
    for name in ["one", "two"] {
        let reference: Reference = format!("{}/{name}", registry.host).parse().unwrap();
        let remote = registries.repository(&reference.host, &reference.repository, Side::Target);
        push(&remote, &memory, &raw, Some("1")).await;
        assert_eq!(remote.manifest(&By::Tag("1".parse().unwrap())).await.unwrap(), raw);
        for child in Manifest::parse(None, &raw.bytes).unwrap().children() {
            assert!(pull::blob(&remote, &child).await.unwrap() == memory.bytes(&child.digest));
        }
        assert_eq!(remote.tags().await.unwrap(), ["1".parse().unwrap()]);
        assert!(remote.referrers(&raw.descriptor.digest).await.unwrap().is_empty());
    }
}
