//! Plans a transfer: reads manifests, and only manifests, from a few roots down to their leaves.
//!
//! # Invariants
//! - Every manifest was verified against its descriptor before it was parsed; its raw bytes are kept as they came.
//! - Each digest occurs once in a [`Graph`], after all its children.
//! - What a platform selection left out is recorded, so that nobody takes a sparse index for a whole one.
//!
//! # Failure
//! Bounded in size, depth and number ([`Limits`](self::MAX_DEPTH)); a selection that fits nothing says what is offered.

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use indexmap::IndexMap;

use super::{
    Error, Source,
    segment::{MAX_FAILURES, pause},
};
use crate::{
    error::{Classify, Side},
    oci::{Descriptor, Digest, Manifest, ManifestError, ManifestKind, Platform, annotation},
};

/// How deep manifests may be nested: an index of indexes of images is three deep, and nobody needs more than four.
pub const MAX_DEPTH: usize = 4;

/// How many manifests and blobs one walk may see.
pub const MAX_NODES: usize = 100_000;

/// How many manifests are read at the same time.
const READERS: usize = 8;

/// Says which parts of an image are wanted.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// The platforms to keep of an index; empty keeps all.
    pub platforms: Vec<Platform>,
}

/// One manifest or blob of a [`Graph`].
#[derive(Clone, Debug)]
pub struct Node {
    /// Its type, digest and size, and its platform as the parent names it.
    pub descriptor: Descriptor,
    /// The raw bytes and their view, when it is a manifest.
    pub manifest: Option<(Bytes, Manifest)>,
    /// The children that are in the graph, in document order.
    pub children: Vec<Digest>,
    /// The entries of an index that the selection left out.
    pub left_out: Vec<Descriptor>,
    /// Selected platforms that this index does not offer; never all of them.
    pub not_offered: Vec<Platform>,
}

impl Node {
    /// Tells whether registries do not hold this blob: it is fetched from its own addresses.
    pub fn is_foreign(&self) -> bool {
        self.descriptor.media_type.is_foreign()
    }

    /// Tells whether this is an index of which some entries were left out.
    pub fn is_sparse(&self) -> bool {
        !self.left_out.is_empty()
    }
}

/// Everything that a set of roots needs.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    nodes: IndexMap<Digest, Node>,
    roots: Vec<Digest>,
}

impl Graph {
    /// Returns the digests of the roots, in the order in which they were given.
    pub fn roots(&self) -> &[Digest] {
        &self.roots
    }

    /// Returns a node.
    pub fn get(&self, digest: &Digest) -> Option<&Node> {
        self.nodes.get(digest)
    }

    /// Walks all nodes, children before parents.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = &Node> {
        self.nodes.values()
    }

    /// Walks the manifests with their raw bytes, children before parents.
    pub fn manifests(&self) -> impl Iterator<Item = (&Descriptor, &Bytes)> {
        self.nodes().filter_map(|node| node.manifest.as_ref().map(|(raw, _)| (&node.descriptor, raw)))
    }

    /// Returns the blobs to move: every node that is neither a manifest nor foreign.
    pub fn leaves(&self) -> Vec<Descriptor> {
        self.nodes()
            .filter(|node| node.manifest.is_none() && !node.is_foreign())
            .map(|node| node.descriptor.clone())
            .collect()
    }

    /// Returns everything below `root`, itself last; nothing when the graph does not hold it.
    pub fn below(&self, root: &Digest) -> Vec<&Node> {
        let mut wanted = std::collections::HashSet::from([*root]);
        // Parents come after their children, so one pass from the end finds all.
        let mut found: Vec<&Node> = self
            .nodes
            .values()
            .rev()
            .filter(|node| {
                let needed = wanted.contains(&node.descriptor.digest);
                if needed {
                    wanted.extend(&node.children);
                }
                needed
            })
            .collect();
        found.reverse();
        found
    }

    /// Adds the nodes of another graph; of a digest that both hold, the own node stays.
    ///
    /// # Errors
    /// [`Error::Manifest`] when both name a digest with different sizes, [`Error::Limit`] when there are too many.
    pub fn merge(&mut self, other: Graph) -> Result<(), Error> {
        for (digest, node) in other.nodes {
            match self.nodes.get(&digest) {
                Some(own) if own.descriptor.size != node.descriptor.size => return Err(two_sizes(digest)),
                Some(_) => {}
                None => {
                    self.nodes.insert(digest, node);
                }
            }
            if self.nodes.len() > MAX_NODES {
                return Err(Error::Limit { digest, what: TOO_MANY });
            }
        }
        for root in other.roots {
            if !self.roots.contains(&root) {
                self.roots.push(root);
            }
        }
        Ok(())
    }
}

const TOO_MANY: &str = "more than 100,000 manifests and blobs belong to this image";
const TOO_DEEP: &str = "manifests are nested more than four deep";

fn two_sizes(digest: Digest) -> Error {
    Error::Manifest { digest, cause: ManifestError::TwoSizes(digest) }
}

/// Reads the manifests below `roots` and returns everything that they need.
///
/// # Errors
/// Whatever the source says; [`Error::Manifest`], [`Error::Corrupt`] and [`Error::Size`] for bad manifests,
/// [`Error::Limit`], and [`Error::NoPlatform`] when nothing of an index was selected.
pub async fn walk<S: Source>(source: &S, roots: &[Descriptor], policy: &Policy) -> Result<Graph, Error> {
    let mut found: IndexMap<Digest, Node> = IndexMap::new();
    let mut level: Vec<Descriptor> = roots.to_vec();
    let mut depth = 0;
    while !level.is_empty() {
        let mut fresh = Vec::new();
        for descriptor in level {
            match found.get(&descriptor.digest) {
                Some(known) if known.descriptor.size != descriptor.size => return Err(two_sizes(descriptor.digest)),
                // The same bytes as manifest here and as blob there could be read in two ways.
                Some(known) if known.descriptor.media_type.is_manifest() != descriptor.media_type.is_manifest() => {
                    return Err(Error::Manifest { digest: descriptor.digest, cause: ManifestError::Ambiguous });
                }
                Some(_) => continue,
                None => {}
            }
            if descriptor.media_type.is_manifest() && depth >= MAX_DEPTH {
                return Err(Error::Limit { digest: descriptor.digest, what: TOO_DEEP });
            }
            if found.len() >= MAX_NODES {
                return Err(Error::Limit { digest: descriptor.digest, what: TOO_MANY });
            }
            if descriptor.media_type.is_manifest() {
                fresh.push(descriptor.clone());
            }
            let node = Node {
                descriptor: descriptor.clone(),
                manifest: None,
                children: Vec::new(),
                left_out: Vec::new(),
                not_offered: Vec::new(),
            };
            found.insert(descriptor.digest, node);
        }
        let read: Vec<(Descriptor, Bytes)> = stream::iter(fresh)
            .map(async |descriptor| {
                let raw = read_manifest(source, &descriptor).await?;
                Ok::<_, Error>((descriptor, raw))
            })
            .buffered(READERS)
            .try_collect()
            .await?;
        level = Vec::new();
        for (descriptor, raw) in read {
            let digest = descriptor.digest;
            let manifest = Manifest::parse(Some(&descriptor.media_type), &raw)
                .map_err(|cause| Error::Manifest { digest, cause })?;
            let mut children = manifest.children();
            let mut left_out = Vec::new();
            let mut not_offered = Vec::new();
            if manifest.kind == ManifestKind::Index && !policy.platforms.is_empty() {
                let chosen = select(&manifest.manifests, &policy.platforms).map_err(|offered| Error::NoPlatform {
                    digest,
                    wanted: policy.platforms.clone(),
                    offered,
                })?;
                not_offered = chosen.not_offered;
                (children, left_out) = children.into_iter().partition(|child| chosen.kept.contains(&child.digest));
            }
            if let Some(node) = found.get_mut(&digest) {
                node.children = children.iter().map(|child| child.digest).collect();
                node.left_out = left_out;
                node.not_offered = not_offered;
                node.manifest = Some((raw, manifest));
            }
            level.extend(children);
        }
        depth += 1;
    }
    let mut roots: Vec<Digest> = roots.iter().map(|root| root.digest).collect();
    let mut seen = std::collections::HashSet::new();
    roots.retain(|root| seen.insert(*root));
    Ok(Graph { nodes: children_first(found, &roots), roots })
}

struct Chosen {
    kept: std::collections::HashSet<Digest>,
    not_offered: Vec<Platform>,
}

/// Applies a platform selection to the entries of an index; when nothing fits, returns what is offered.
fn select(entries: &[Descriptor], wanted: &[Platform]) -> Result<Chosen, Vec<Platform>> {
    let mut kept = std::collections::HashSet::new();
    let mut offered = Vec::new();
    let mut matched = vec![false; wanted.len()];
    for entry in entries {
        match &entry.platform {
            // Entries without a platform (artifacts, nested indexes) are for every platform.
            None => {
                kept.insert(entry.digest);
            }
            Some(platform) if platform.is_unknown() => {}
            Some(platform) => {
                offered.push(platform.clone());
                for (wanted, matched) in wanted.iter().zip(&mut matched) {
                    if wanted.takes(platform) {
                        *matched = true;
                        kept.insert(entry.digest);
                    }
                }
            }
        }
    }
    if !offered.is_empty() && !matched.contains(&true) {
        return Err(offered);
    }
    // BuildKit's attestations name the image they speak of, and go where it goes.
    for entry in entries {
        if entry.platform.as_ref().is_some_and(Platform::is_unknown)
            && let Some(subject) = entry.annotations.get(annotation::ATTESTED_DIGEST)
            && subject.parse::<Digest>().is_ok_and(|subject| kept.contains(&subject))
        {
            kept.insert(entry.digest);
        }
    }
    let not_offered = if offered.is_empty() { Vec::new() } else { unmatched(wanted, &matched) };
    Ok(Chosen { kept, not_offered })
}

fn unmatched(wanted: &[Platform], matched: &[bool]) -> Vec<Platform> {
    wanted.iter().zip(matched).filter(|(_, matched)| !**matched).map(|(wanted, _)| wanted.clone()).collect()
}

/// Orders nodes so that each follows its children; without recursion, because depth comes from outside.
fn children_first(mut found: IndexMap<Digest, Node>, roots: &[Digest]) -> IndexMap<Digest, Node> {
    let mut ordered = IndexMap::with_capacity(found.len());
    let mut stack: Vec<(Digest, usize)> = Vec::new();
    for root in roots {
        stack.push((*root, 0));
        while let Some((digest, at)) = stack.pop() {
            match found.get(&digest).map(|node| node.children.get(at).copied()) {
                Some(Some(child)) => {
                    stack.push((digest, at + 1));
                    // A digest that waits further down the stack would be its own descendant, which hashes forbid.
                    if !ordered.contains_key(&child) && !stack.iter().any(|(waiting, _)| *waiting == child) {
                        stack.push((child, 0));
                    }
                }
                Some(None) => {
                    if let Some(node) = found.swap_remove(&digest) {
                        ordered.insert(digest, node);
                    }
                }
                None => {}
            }
        }
    }
    ordered
}

/// Reads one manifest into memory and verifies it.
///
/// # Errors
/// [`Error::Manifest`] when it is too large, [`Error::Size`], [`Error::Corrupt`], and what the source says.
pub async fn read_manifest<S: Source>(source: &S, descriptor: &Descriptor) -> Result<Bytes, Error> {
    if descriptor.size > Manifest::MAX_BYTES as u64 {
        let size = usize::try_from(descriptor.size).unwrap_or(usize::MAX);
        return Err(Error::Manifest { digest: descriptor.digest, cause: ManifestError::TooLarge(size) });
    }
    let mut failures = 0;
    loop {
        let once = read_once(source, descriptor).await.and_then(|bytes| {
            super::verify(descriptor, &bytes)?;
            Ok(bytes)
        });
        match once {
            Err(error) if error.kind().is_transient() && source.is_remote() && failures < MAX_FAILURES => {
                failures += 1;
                tokio::time::sleep(pause(&descriptor.digest, failures)).await;
            }
            // Wrong bytes are asked for once more, in case a proxy damaged them.
            Err(Error::Corrupt { .. } | Error::Size { .. }) if source.is_remote() && failures == 0 => {
                failures = MAX_FAILURES;
            }
            other => return other,
        }
    }
}

async fn read_once<S: Source>(source: &S, descriptor: &Descriptor) -> Result<Bytes, Error> {
    let mut reader = source.open(descriptor, 0, descriptor.size).await?;
    let mut bytes = BytesMut::new();
    while let Some(chunk) = reader.next().await {
        bytes.extend_from_slice(&chunk?);
        if bytes.len() as u64 > descriptor.size {
            return Err(Error::Size {
                side: Side::Source,
                digest: descriptor.digest,
                expected: descriptor.size,
                actual: bytes.len() as u64,
            });
        }
    }
    Ok(bytes.freeze())
}
