//! What a read-only registry shows: names, tags and the content that belongs to each name.
//!
//! # Invariants
//! - A digest is served under a name only when a root of that name leads to it.
//! - Every manifest was read and verified when the catalogue was made; one that is absent (a sparse index) is left out.

use std::collections::{BTreeMap, HashMap, HashSet, hash_map::Entry};

use futures_util::TryStreamExt;

use crate::{
    error::Side,
    oci::{Descriptor, Digest, Host, Manifest, Reference, Repository, Tag},
    store::{self, Source},
};

/// How deep indexes may be nested; two levels are used in practice.
const MAX_DEPTH: usize = 8;

/// Shows one image or artifact under a name.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The repository in this registry.
    pub name: Repository,
    /// Where it comes from: the registry and the repository there. Clients that use this registry as a mirror ask so.
    pub origin: Option<(Host, Repository)>,
    /// The tag, if it has one. Signatures and other referrers have none.
    pub tag: Option<Tag>,
    /// The root manifest.
    pub root: Descriptor,
}

impl Shown {
    /// Shows an image as loading it into a registry names it: its source host first, then its repository. `None` when
    /// the host cannot be part of a repository name.
    pub fn under_host(reference: &Reference, root: Descriptor) -> Option<Shown> {
        let name = mirror_name(&reference.host, &reference.repository)?;
        let origin = Some((reference.host.clone(), reference.repository.clone()));
        Some(Shown { name, origin, tag: reference.tag.clone(), root })
    }
}

/// Returns `host/repository` as a repository name, as loading does; the colon before a port, which no repository name can
/// hold, becomes an underscore, and an IPv6 address is written out.
pub(super) fn mirror_name(host: &Host, name: &Repository) -> Option<Repository> {
    let first = match host.name().parse::<std::net::Ipv6Addr>() {
        Ok(address) => format!("ip6-{}", address.segments().map(|segment| format!("{segment:x}")).join("-")),
        Err(_) => host.name().to_ascii_lowercase(),
    };
    let port = host.port().map(|port| format!("_{port}")).unwrap_or_default();
    format!("{first}{port}/{name}").parse().ok()
}

/// Says what a read-only registry shows.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    shelves: BTreeMap<String, Shelf>,
    origins: HashMap<(Host, Repository), Repository>,
}

/// Holds what one repository shows.
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf {
    pub(super) tags: BTreeMap<String, Digest>,
    pub(super) manifests: HashMap<Digest, Descriptor>,
    pub(super) blobs: HashMap<Digest, Descriptor>,
    pub(super) referrers: HashMap<Digest, BTreeMap<Digest, Descriptor>>,
}

impl Catalogue {
    /// Reads every manifest that the roots lead to.
    ///
    /// # Errors
    /// A manifest has wrong bytes or cannot be read, indexes are nested too deeply, or the source fails. A root that is
    /// absent is an error; an absent child is not.
    pub async fn gather<S: Source>(
        source: &S,
        shown: impl IntoIterator<Item = Shown>,
    ) -> Result<Catalogue, store::Error> {
        let mut catalogue = Catalogue::default();
        let mut read: HashMap<Digest, Option<Manifest>> = HashMap::new();
        for one in shown {
            if let Some(origin) = one.origin {
                catalogue.origins.insert(origin, one.name.clone());
            }
            let shelf = catalogue.shelves.entry(one.name.to_string()).or_default();
            if let Some(tag) = &one.tag {
                shelf.tags.insert(tag.to_string(), one.root.digest);
            }
            let root = one.root.digest;
            let mut seen = HashSet::new();
            let mut open = vec![(one.root, 0)];
            while let Some((descriptor, depth)) = open.pop() {
                if !seen.insert(descriptor.digest) {
                    continue;
                }
                if depth > MAX_DEPTH {
                    return Err(store::Error::Limit { digest: root, what: "indexes are nested too deeply" });
                }
                if let Entry::Vacant(unread) = read.entry(descriptor.digest) {
                    unread.insert(match read_manifest(source, &descriptor).await {
                        Err(store::Error::Missing { .. }) if depth > 0 => None,
                        other => Some(other?.1),
                    });
                }
                let Some(Some(manifest)) = read.get(&descriptor.digest) else { continue };
                shelf.add(&descriptor, manifest);
                for child in manifest.children() {
                    // An index may name content that is no manifest; it is served as a blob.
                    if manifest.manifests.iter().any(|entry| entry.digest == child.digest)
                        && child.media_type.is_manifest()
                    {
                        open.push((child, depth + 1));
                    } else {
                        shelf.blobs.insert(child.digest, child);
                    }
                }
            }
        }
        Ok(catalogue)
    }

    /// Returns the names of all repositories, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.shelves.keys().map(String::as_str)
    }

    pub(super) fn shelf(&self, name: &Repository) -> Option<&Shelf> {
        self.shelves.get(name.as_str())
    }

    /// Finds the name that a request means: as it is; as a mirror of `origin`; and, when the client does not say which
    /// registry it believes to talk to, as a mirror of Docker Hub, which is the only one that Docker mirrors.
    pub(super) fn locate(&self, name: Repository, origin: Option<&Host>) -> Repository {
        let hub = "docker.io".parse().ok();
        let mirrored = match origin.or(hub.as_ref()) {
            Some(host) => self.origins.get(&(host.clone(), name.clone())),
            None => None,
        };
        match mirrored {
            Some(mirrored) if origin.is_some() || !self.shelves.contains_key(name.as_str()) => mirrored.clone(),
            _ => name,
        }
    }
}

impl Shelf {
    fn add(&mut self, descriptor: &Descriptor, manifest: &Manifest) {
        let plain = Descriptor::new(manifest.media_type.as_str(), descriptor.digest, descriptor.size);
        if let Some(subject) = &manifest.subject {
            let referrer = Descriptor {
                artifact_type: manifest.artifact_type.clone(),
                annotations: manifest.annotations.clone(),
                ..plain.clone()
            };
            self.referrers.entry(subject.digest).or_default().insert(referrer.digest, referrer);
        }
        self.manifests.insert(plain.digest, plain);
    }
}

/// Reads a manifest and verifies it.
pub(super) async fn read_manifest<S: Source>(
    source: &S,
    descriptor: &Descriptor,
) -> Result<(bytes::Bytes, Manifest), store::Error> {
    let digest = descriptor.digest;
    let unreadable = |cause| store::Error::Manifest { digest, cause };
    let size = usize::try_from(descriptor.size).unwrap_or(usize::MAX);
    if size > Manifest::MAX_BYTES {
        return Err(unreadable(crate::oci::ManifestError::TooLarge(size)));
    }
    let mut reader = source.open(descriptor, 0, descriptor.size).await?;
    let mut bytes = Vec::with_capacity(size);
    while let Some(piece) = reader.try_next().await? {
        bytes.extend_from_slice(&piece);
        if bytes.len() > size {
            break;
        }
    }
    if bytes.len() != size {
        let actual = bytes.len() as u64;
        return Err(store::Error::Size { side: Side::Source, digest, expected: descriptor.size, actual });
    }
    let actual = digest.same_algorithm(&bytes);
    if actual != digest {
        return Err(store::Error::Corrupt { side: Side::Source, expected: digest, actual });
    }
    let manifest = Manifest::parse(Some(&descriptor.media_type), &bytes).map_err(unreadable)?;
    Ok((bytes.into(), manifest))
}
