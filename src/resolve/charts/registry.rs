//! Charts in OCI registries (helm, "Use OCI-based registries").

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use super::{
    Error,
    once::Once,
    web::{MAX_ARCHIVE, MAX_PROVENANCE},
};
use crate::{
    error::{Classify as _, Side},
    helm::{
        index::{self, SelectError},
        package,
        semver::Version,
    },
    net::printable,
    oci::{Descriptor, Digest, Host, Manifest, Repository, Tag},
    registry::{By, Registries, Remote},
    store::{self, Source as _},
};

/// The largest configuration that is read: a `Chart.yaml` as JSON.
const MAX_CONFIG: usize = 4 << 20;
/// How many blobs an artifact may have; helm makes at most three.
const MAX_BLOBS: usize = 16;

/// Where a chart is in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) host: Host,
    pub(super) repository: Repository,
    pub(super) tag: Option<Tag>,
    pub(super) digest: Option<Digest>,
}

/// A chart as a registry holds it.
#[derive(Clone)]
pub(super) struct Pulled {
    pub(super) manifest: (Descriptor, Bytes),
    pub(super) blobs: Vec<(Descriptor, Bytes)>,
    pub(super) archive: Bytes,
}

/// Asks registries.
pub(super) struct Charts {
    registries: Registries,
    tags: Once<Vec<String>>,
    pulled: Once<Pulled>,
}

impl Address {
    /// Reads `oci://HOST/REPOSITORY[:TAG][@DIGEST]`.
    pub(super) fn parse(written: &str) -> Result<Address, Error> {
        let bad = |why| Error::Address { written: printable(written, 200), why };
        let rest = written.strip_prefix("oci://").ok_or_else(|| bad("no address that begins with oci://"))?;
        let (host, rest) = rest
            .trim_end_matches('/')
            .split_once('/')
            .ok_or_else(|| bad("an address of a chart is oci://HOST/…/CHART"))?;
        let host = host.parse().map_err(|_| bad("no host of a registry"))?;
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => {
                (rest, Some(digest.parse().map_err(|_| bad("what follows @ must be a digest, sha256:…"))?))
            }
            None => (rest, None),
        };
        let (name, tag) = match rest.split_once(':') {
            Some((name, tag)) => (name, Some(tag.parse().map_err(|_| bad("what follows : must be a tag"))?)),
            None => (rest, None),
        };
        let repository = name.parse().map_err(|_| bad("no name of a repository in a registry"))?;
        Ok(Address { host, repository, tag, digest })
    }

    /// Returns the repository's last name, which is the chart's.
    pub(super) fn chart(&self) -> &str {
        self.repository.as_str().rsplit('/').next().unwrap_or_default()
    }

    fn shown(&self, by: &By) -> String {
        let mark = if matches!(by, By::Tag(_)) { ':' } else { '@' };
        format!("{}{mark}{by}", self.bare())
    }

    /// Returns the address without tag and digest.
    pub(super) fn bare(&self) -> String {
        format!("oci://{}/{}", self.host, self.repository)
    }
}

impl Charts {
    pub(super) fn new(registries: Registries) -> Charts {
        Charts { registries, tags: Once::default(), pulled: Once::default() }
    }

    fn remote(&self, address: &Address) -> Remote {
        self.registries.repository(&address.host, &address.repository, Side::Source)
    }

    /// Chooses a version; what reads as one version is a tag as it stands, everything else a range.
    pub(super) async fn select(&self, address: &Address, range: &str) -> Result<Tag, Error> {
        let exact = Version::parse(range).is_ok();
        if exact && let Some(tag) = package::tag(range) {
            // `1.2` may be a tag; when it is none, it is a range.
            if index::is_strict(range) || self.remote(address).head(&By::Tag(tag.clone())).await?.is_some() {
                return Ok(tag);
            }
        }
        let place = address.bare();
        let make = async {
            let tags = self.remote(address).tags().await?;
            Ok(index::versions_of_tags(tags.iter().map(Tag::as_str)))
        };
        let versions = self.tags.get(&place, make).await?;
        let texts: Vec<&str> = versions.iter().map(String::as_str).collect();
        let at = index::select(&texts, range).map_err(|cause| Error::Select { place: place.clone(), cause })?;
        package::tag(texts[at]).ok_or_else(|| Error::Select { place, cause: SelectError::Range(range.to_owned()) })
    }

    /// Pulls a chart.
    pub(super) async fn pull(&self, address: &Address, by: &By) -> Result<Pulled, Error> {
        self.pulled.get(&address.shown(by), self.pull_now(address, by)).await
    }

    async fn pull_now(&self, address: &Address, by: &By) -> Result<Pulled, Error> {
        let remote = self.remote(address);
        let place = address.shown(by);
        let not = |why: String| Error::NotAChart { place: place.clone(), why };
        let raw = remote.manifest(by).await?;
        if raw.descriptor.media_type.is_index() {
            return Err(not("it is an index of several images".to_owned()));
        }
        let parsed = Manifest::parse(Some(&raw.descriptor.media_type), &raw.bytes)
            .map_err(|cause| store::Error::Manifest { digest: raw.descriptor.digest, cause })?;
        let config = parsed.config.ok_or_else(|| not("it has no configuration".to_owned()))?;
        if config.media_type.as_str() != package::CONFIG {
            let kind = printable(config.media_type.as_str(), 100);
            return Err(not(format!("its configuration is {kind}, and {} is expected", package::CONFIG)));
        }
        let is_archive =
            |layer: &&Descriptor| matches!(layer.media_type.as_str(), package::CONTENT | package::LEGACY_CONTENT);
        if !parsed.layers.iter().any(|layer| is_archive(&layer)) {
            return Err(not("it has no layer with the archive of a chart".to_owned()));
        }
        if parsed.layers.len() >= MAX_BLOBS {
            return Err(Error::Limit { chart: place, limit: MAX_BLOBS, what: "blobs" });
        }
        let mut blobs: Vec<(Descriptor, Bytes)> = Vec::new();
        let mut left = MAX_ARCHIVE + MAX_PROVENANCE;
        let with_limits = std::iter::once((config, MAX_CONFIG)).chain(parsed.layers.into_iter().map(|layer| {
            let limit = if layer.media_type.as_str() == package::PROVENANCE { MAX_PROVENANCE } else { MAX_ARCHIVE };
            (layer, limit)
        }));
        for (descriptor, limit) in with_limits {
            if blobs.iter().any(|(known, _)| known.digest == descriptor.digest) {
                continue;
            }
            let bytes = read(&self.registries, &remote, &descriptor, limit.min(left)).await?;
            left -= bytes.len();
            blobs.push((descriptor, bytes));
        }
        let archive = blobs
            .iter()
            .find(|(descriptor, _)| is_archive(&descriptor))
            .map(|(_, bytes)| bytes.clone())
            .ok_or_else(|| not("its archive is its configuration".to_owned()))?;
        Ok(Pulled { manifest: (raw.descriptor, raw.bytes), blobs, archive })
    }
}

/// Reads a blob into memory and checks its size and digest.
async fn read(registries: &Registries, remote: &Remote, blob: &Descriptor, limit: usize) -> Result<Bytes, Error> {
    let size = |actual| store::Error::Size { side: Side::Source, digest: blob.digest, expected: blob.size, actual };
    if blob.size > limit as u64 {
        return Err(Error::Limit { chart: blob.digest.to_string(), limit, what: "bytes" });
    }
    let mut trial = registries.client().trial(format!("reading {}", blob.digest));
    loop {
        let mut bytes = BytesMut::new();
        let failure = match remote.open(blob, 0, blob.size).await {
            Err(error) => Some(error),
            Ok(mut reader) => loop {
                match reader.next().await {
                    None => break None,
                    Some(Err(error)) => break Some(error),
                    Some(Ok(part)) => bytes.extend_from_slice(&part),
                }
                if bytes.len() as u64 > blob.size {
                    return Err(size(bytes.len() as u64).into());
                }
            },
        };
        if let Some(error) = failure {
            if !error.kind().is_transient() || !trial.again(&error.to_string(), None).await {
                return Err(error.into());
            }
            continue;
        }
        if bytes.len() as u64 != blob.size {
            return Err(size(bytes.len() as u64).into());
        }
        let actual = blob.digest.same_algorithm(&bytes);
        if actual != blob.digest {
            return Err(store::Error::Corrupt { side: Side::Source, expected: blob.digest, actual }.into());
        }
        return Ok(bytes.freeze());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let read = Address::parse("oci://127.0.0.1:5000/a/web:1.0_b").unwrap();
        assert_eq!(
            (read.host.as_str(), read.chart(), read.tag.as_ref().unwrap().as_str()),
            ("127.0.0.1:5000", "web", "1.0_b")
        );
        let digest = Digest::sha256(b"x");
        let read = Address::parse(&format!("oci://r.example/web@{digest}")).unwrap();
        assert_eq!((read.digest, read.bare().as_str()), (Some(digest), "oci://r.example/web"));
        for bad in
            ["https://a/b", "oci://", "oci://host", "oci://host/UPPER", "oci://host/a@sha1:00", "oci://host/a:-x"]
        {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }
}
