//! Against Debian's docker-registry: what is pushed comes back, and other tools agree.

use std::sync::Arc;

use airgap_bundler::{
    error::Side,
    event::Silent,
    net::Settings,
    oci::{Manifest, Reference},
    registry::{By, Credentials, Error, RawManifest, Registries},
    store::{self, Sink as _},
};

use crate::support::{
    memory::{self, Memory},
    pull,
    stock::{DockerRegistry, Options},
};

async fn push(remote: &airgap_bundler::registry::Remote, memory: &Memory, raw: &RawManifest, tag: Option<&str>) {
    for child in Manifest::parse(None, &raw.bytes).unwrap().children() {
        remote.put(&child, memory, &|_| {}).await.unwrap();
    }
    remote.put_manifest(raw, tag.map(|tag| tag.parse().unwrap()).as_ref()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_comes_back() {
    let Some(registry) = DockerRegistry::start(&Options::default()) else { return };
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

    assert!(target.delete(&By::Digest(raw.descriptor.digest)).await.unwrap());
    assert_eq!(target.head(&By::Digest(raw.descriptor.digest)).await.unwrap(), None);
}
