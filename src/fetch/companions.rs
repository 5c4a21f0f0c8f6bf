//! What belongs to an image without being part of it: cosign's tags, and everything that refers to it.
//!
//! # Invariants
//! - Every manifest that is carried is asked for, not only the root: signatures of platforms count too.
//! - "Could not look" is an error, never "there is nothing".

use std::collections::{HashMap, HashSet};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::Error;
use crate::{
    oci::{Descriptor, Digest, Tag},
    registry::{By, Remote},
    store::{Graph, Policy, walk},
};

/// Tags that cosign derives from a digest.
const SUFFIXES: [&str; 3] = ["sig", "att", "sbom"];

/// How deep referrers of referrers are followed: a signature of an attestation of an image is two.
const MAX_DEPTH: usize = 4;

/// How many artifacts may belong to one image.
const MAX_COMPANIONS: usize = 1000;

/// How many look-ups run at the same time for one image; the host's queue bounds them over all images.
const LOOKUPS: usize = 8;

/// One artifact that speaks of a manifest.
pub(super) struct Companion {
    /// The manifest that it speaks of.
    pub subject: Digest,
    /// The tag under which it is found; a referrer has none.
    pub tag: Option<Tag>,
    /// Its root and everything below.
    pub root: Digest,
    /// What it consists of.
    pub graph: Graph,
}

/// Finds everything that speaks of one of `manifests`, recursively.
pub(super) async fn find(remote: &Remote, manifests: Vec<Digest>) -> Result<Vec<Companion>, Error> {
    let mut found: Vec<Companion> = Vec::new();
    let mut seen: HashSet<Digest> = manifests.iter().copied().collect();
    let mut level = manifests;
    for _ in 0..MAX_DEPTH {
        if level.is_empty() {
            break;
        }
        let looked: Vec<Vec<(Digest, Option<Tag>, Descriptor)>> =
            stream::iter(level).map(|subject| look(remote, subject)).buffered(LOOKUPS).try_collect().await?;
        level = Vec::new();
        let mut fresh: HashMap<Digest, Vec<(Digest, Option<Tag>)>> = HashMap::new();
        let mut roots = Vec::new();
        for (subject, tag, root) in looked.into_iter().flatten() {
            if fresh.entry(root.digest).or_default().is_empty() {
                roots.push(root.clone());
            }
            if let Some(places) = fresh.get_mut(&root.digest) {
                places.push((subject, tag));
            }
        }
        let graphs: Vec<(Descriptor, Graph)> = stream::iter(roots)
            .map(async |root| {
                let graph = walk(remote, std::slice::from_ref(&root), &Policy::default()).await?;
                Ok::<_, Error>((root, graph))
            })
            .buffered(LOOKUPS)
            .try_collect()
            .await?;
        for (root, graph) in graphs {
            for (subject, tag) in fresh.remove(&root.digest).unwrap_or_default() {
                found.push(Companion { subject, tag, root: root.digest, graph: graph.clone() });
            }
            if found.len() > MAX_COMPANIONS {
                return Err(Error::TooManyCompanions {
                    image: format!("{}/{}", remote.host(), remote.repository()),
                    limit: MAX_COMPANIONS,
                });
            }
            if seen.insert(root.digest) {
                level.push(root.digest);
            }
        }
    }
    Ok(found)
}

async fn look(remote: &Remote, subject: Digest) -> Result<Vec<(Digest, Option<Tag>, Descriptor)>, Error> {
    let tags = stream::iter(SUFFIXES)
        .map(async |suffix| {
            let tag: Tag = match format!("{}-{}.{suffix}", subject.algorithm().name(), subject.hex()).parse() {
                Ok(tag) => tag,
                // A SHA-512 digest is longer than a tag may be: nobody can have used it.
                Err(_) => return Ok(None),
            };
            let root = remote.head(&By::Tag(tag.clone())).await?;
            Ok::<_, Error>(root.map(|root| (subject, Some(tag), root)))
        })
        .buffered(SUFFIXES.len())
        .try_collect::<Vec<_>>();
    let (tags, referrers) = futures_util::try_join!(tags, async { Ok::<_, Error>(remote.referrers(&subject).await?) })?;
    let referrers = referrers.into_iter().map(|root| (subject, None, root));
    Ok(tags.into_iter().flatten().chain(referrers).collect())
}
