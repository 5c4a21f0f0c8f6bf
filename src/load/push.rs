//! Doing a load: blobs, manifests, companions, signatures, tags, and a last look at everything.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Mutex;

use super::{Error, ImagePlan, LoadPlan, once::Once};
use crate::{
    archive::{Archive, ArchiveSource, Attachment},
    error::{Diagnostic, Side},
    event::{Event, Observer, Phase},
    oci::{Descriptor, Digest, Repository, Tag},
    registry::{self, By, RawManifest, Registries, Remote},
    store::{self, Copied, Memory, Reader, Sink, Slots, Source, copy},
    trust::{SignatureSet, bundle_referrer, signature_manifest, signature_tag},
};

/// What a push works with.
pub struct Job<'a> {
    /// The admitted archive.
    pub archive: &'a Archive,
    /// What to do.
    pub plan: &'a LoadPlan,
    /// What the trusted keys signed about the images; empty when verification was skipped.
    pub signatures: &'a [SignatureSet],
    /// How registries are reached.
    pub registries: &'a Registries,
    /// Whether a registry that refuses a sparse index gets the derived one.
    pub derive_index: bool,
    /// How many transfers run at the same time.
    pub slots: Slots,
    /// Is told what happens.
    pub observer: Arc<dyn Observer>,
}

/// Says what a push did.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Loaded {
    /// The images, as they are now in the target.
    pub images: Vec<LoadedImage>,
    /// The charts, as they are now in the target.
    pub charts: Vec<LoadedChart>,
    /// Blobs that were pushed.
    pub pushed_blobs: u64,
    /// Their bytes.
    pub pushed_bytes: u64,
    /// Blobs that were there already.
    pub kept_blobs: u64,
    /// Their bytes.
    pub kept_bytes: u64,
}

/// One image as it is now in the target.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadedImage {
    /// The name it had.
    pub source: String,
    /// The name it has, without tag.
    pub target: String,
    /// What its tags point at.
    pub digest: Digest,
    /// The sparse index that the digest stands for, when it is a derived one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub derived_from: Option<Digest>,
    /// Its tags.
    pub tags: Vec<Tag>,
    /// Tags that pointed at something else before.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub replaced: BTreeMap<String, Digest>,
}

/// One chart as it is now in the target.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadedChart {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The name it has in the target, without tag; behind `oci://` it is what helm wants to hear.
    pub target: String,
    /// Its tag.
    pub tag: Tag,
    /// What the tag points at.
    pub digest: Digest,
    /// What the tag pointed at before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced: Option<Digest>,
}

/// Blobs of this size and above are looked for even in a repository without tags: an interrupted load may have brought
/// them, and sending them again costs more than asking.
const WORTH_ASKING: u64 = 1 << 20;

/// One repository of the target.
struct Place {
    remote: Remote,
    /// It has no tags: most likely nothing is there.
    fresh: bool,
}

impl Place {
    async fn has(&self, blob: &Descriptor) -> Result<bool, store::Error> {
        if self.fresh && blob.size < WORTH_ASKING { Ok(false) } else { self.remote.has(blob).await }
    }
}

/// All repositories of the target as one sink: a blob goes to the first that needs it and is mounted into the others.
struct Fleet<'a> {
    places: &'a BTreeMap<Repository, Place>,
    wanted: HashMap<Digest, Vec<&'a Repository>>,
}

impl Fleet<'_> {
    fn places(&self, digest: &Digest) -> impl Iterator<Item = &Place> {
        self.wanted.get(digest).into_iter().flatten().filter_map(|name| self.places.get(*name))
    }
}

impl Sink for Fleet<'_> {
    async fn has(&self, blob: &Descriptor) -> Result<bool, store::Error> {
        for place in self.places(&blob.digest) {
            if !place.has(blob).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn put<S: Source>(
        &self,
        blob: &Descriptor,
        source: &S,
        moved: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), store::Error> {
        let mut first = true;
        for place in self.places(&blob.digest) {
            // Only the first push counts as progress: the others are mounts.
            let count: &(dyn Fn(u64) + Send + Sync) = if first { moved } else { &|_| {} };
            if first || !place.has(blob).await? {
                let remote = &place.remote;
                let small = place.fresh && blob.size < WORTH_ASKING;
                if small {
                    remote.clone().assume_empty().put(blob, source, count).await?
                } else {
                    remote.put(blob, source, count).await?
                }
            }
            first = false;
        }
        Ok(())
    }
}

/// The archive, and small content that was made here.
struct Mixed<'a> {
    archive: ArchiveSource,
    made: &'a Memory,
}

impl Source for Mixed<'_> {
    async fn open(&self, blob: &Descriptor, from: u64, to: u64) -> Result<Reader, store::Error> {
        if self.made.get(&blob.digest).is_some() {
            self.made.open(blob, from, to).await
        } else {
            self.archive.open(blob, from, to).await
        }
    }
}

/// What an image or a chart becomes in the target.
struct Outcome<'a> {
    image: &'a ImagePlan,
    /// What its tags will point at.
    root: RawManifest,
    derived: bool,
}

/// Pushes everything. No tag is written before all that it needs is in the registry.
///
/// # Errors
/// The first failure of source or target; [`Error::SparseRefused`] and [`Error::Unanswered`] with every image that they
/// concern. The same call continues.
pub async fn push(job: &Job<'_>) -> Result<Loaded, Error> {
    let pusher = Pusher::start(job).await?;
    let (copied, ()) = futures_util::try_join!(pusher.blobs(), pusher.signature_blobs())?;
    let outcomes = pusher.manifests().await?;
    // None of these needs another one's result, and each is a chain of round trips.
    let ((), (), (), before) = futures_util::try_join!(
        pusher.companions(&outcomes),
        pusher.signatures(&outcomes),
        pusher.answers(&outcomes),
        pusher.tagged(&outcomes),
    )?;
    let (mut images, ()) = futures_util::try_join!(pusher.tags(&outcomes, before), pusher.files())?;
    let charts = images.split_off(job.plan.images.len());
    let charts = job.plan.charts.iter().zip(charts).map(|(chart, mut loaded)| LoadedChart {
        name: chart.name.clone(),
        version: chart.version.clone(),
        target: loaded.target,
        tag: chart.tag.clone(),
        digest: loaded.digest,
        replaced: loaded.replaced.remove(chart.tag.as_str()),
    });
    let charts = charts.collect();
    Ok(Loaded {
        images,
        charts,
        pushed_blobs: copied.moved,
        pushed_bytes: copied.moved_bytes,
        kept_blobs: copied.kept,
        kept_bytes: copied.kept_bytes,
    })
}

struct Pusher<'a> {
    job: &'a Job<'a>,
    places: BTreeMap<Repository, Place>,
    made: Memory,
    manifests_put: Once,
    blobs_put: Once,
}

impl<'a> Pusher<'a> {
    /// Looks at every repository of the target once.
    async fn start(job: &'a Job<'a>) -> Result<Pusher<'a>, Error> {
        let names: BTreeSet<&Repository> = job
            .plan
            .named()
            .map(|image| &image.repository)
            .chain(job.plan.files.iter().map(|set| &set.repository))
            .collect();
        let places = stream::iter(names)
            .map(async |name| {
                let remote = job.registries.repository(&job.plan.target.host, name, Side::Target);
                let fresh = match remote.tags().await {
                    Ok(tags) => tags.is_empty(),
                    Err(registry::Error::NotFound { .. }) => true,
                    // Some registries do not let everyone list tags; then every blob is asked for.
                    Err(registry::Error::Denied { .. }) => false,
                    Err(error) => return Err(error),
                };
                Ok::<_, registry::Error>((name.clone(), Place { remote, fresh }))
            })
            .buffer_unordered(job.slots.total())
            .try_collect()
            .await?;
        let (manifests_put, blobs_put) = Default::default();
        Ok(Pusher { job, places, made: Memory::new(), manifests_put, blobs_put })
    }

    fn remote(&self, repository: &Repository) -> Remote {
        match self.places.get(repository) {
            Some(place) => place.remote.clone(),
            None => self.job.registries.repository(&self.job.plan.target.host, repository, Side::Target),
        }
    }

    /// Tells whether nothing is in a repository yet.
    fn is_fresh(&self, repository: &Repository) -> bool {
        self.places.get(repository).is_some_and(|place| place.fresh)
    }

    fn source(&self) -> Mixed<'_> {
        Mixed { archive: self.job.archive.source(), made: &self.made }
    }

    fn raw(&self, digest: &Digest) -> Result<RawManifest, Error> {
        let node = self.job.plan.graph.get(digest);
        match node.and_then(|node| node.manifest.as_ref().map(|(bytes, _)| (&node.descriptor, bytes))) {
            Some((descriptor, bytes)) => Ok(RawManifest { descriptor: descriptor.clone(), bytes: bytes.clone() }),
            None => Err(store::Error::Missing { side: Side::Source, digest: *digest }.into()),
        }
    }

    /// Pushes every blob once and mounts it where it is needed too.
    async fn blobs(&self) -> Result<Copied, Error> {
        let mut wanted: HashMap<Digest, Vec<&Repository>> = HashMap::new();
        let mut leaves: BTreeMap<Digest, Descriptor> = BTreeMap::new();
        let mut want = |repository: &'a Repository, blob: &Descriptor| {
            let places = wanted.entry(blob.digest).or_default();
            if !places.contains(&repository) {
                places.push(repository);
            }
            leaves.entry(blob.digest).or_insert_with(|| blob.clone());
        };
        for image in self.job.plan.named() {
            let roots = std::iter::once(&image.digest).chain(image.attachments.iter().map(|one| &one.digest));
            for node in roots.flat_map(|root| self.job.plan.graph.below(root)) {
                if node.manifest.is_none() && !node.is_foreign() {
                    want(&image.repository, &node.descriptor);
                }
            }
        }
        for set in &self.job.plan.files {
            let (config, bytes) = &set.artifact.config;
            self.made.set(config.digest, bytes.clone());
            for blob in set.artifact.files.iter().chain([config]) {
                want(&set.repository, blob);
            }
        }
        let leaves: Vec<Descriptor> = leaves.into_values().collect();
        let fleet = Fleet { places: &self.places, wanted };
        Ok(copy(&self.source(), &fleet, &leaves, &self.job.slots, self.job.observer.as_ref(), Phase::Push).await?)
    }

    /// Brings the blobs of signatures into repositories that hold nothing yet, beside those of the images: what will be
    /// needed there does not depend on anything that has to be looked up first.
    async fn signature_blobs(&self) -> Result<(), Error> {
        let mut todo: BTreeMap<(&Repository, Digest), (Descriptor, Bytes)> = BTreeMap::new();
        for image in self.job.plan.named().filter(|image| self.is_fresh(&image.repository)) {
            for node in self.job.plan.graph.below(&image.digest).into_iter().filter(|node| node.manifest.is_some()) {
                let digest = node.descriptor.digest;
                let sets: Vec<_> = self.job.signatures.iter().filter_map(|set| set.of_image(&digest)).collect();
                let ours: Vec<_> = sets.iter().flat_map(|set| set.simple.iter().cloned()).collect();
                let upstream = image.attachments.iter().find(|one| {
                    one.subject == digest && one.tag.as_ref().is_some_and(|tag| tag.as_str().ends_with(".sig"))
                });
                let base = upstream.map(|one| self.raw(&one.digest)).transpose()?;
                if !ours.is_empty() {
                    let simple = signature_manifest(base.as_ref().map(|raw| &*raw.bytes), &ours)?;
                    todo.extend(simple.blobs.into_iter().map(|blob| ((&image.repository, blob.0.digest), blob)));
                }
                for set in &sets {
                    let referrer = bundle_referrer(&node.descriptor, &set.bundle, None);
                    todo.extend(referrer.blobs.into_iter().map(|blob| ((&image.repository, blob.0.digest), blob)));
                }
            }
        }
        let mut by_repository: BTreeMap<&Repository, Vec<(Descriptor, Bytes)>> = BTreeMap::new();
        // What an image brings itself (an empty config is part of many artifacts) is under way with its blobs, and nothing
        // may be put into a repository twice at the same time.
        for ((repository, _), blob) in
            todo.into_iter().filter(|((_, digest), _)| self.job.plan.graph.get(digest).is_none())
        {
            by_repository.entry(repository).or_default().push(blob);
        }
        stream::iter(by_repository.into_iter().map(Ok))
            .try_for_each_concurrent(self.job.slots.total(), async |(repository, blobs)| {
                self.put_made(&self.remote(repository).assume_empty(), &blobs).await
            })
            .await
    }

    /// Puts every manifest by digest, children first.
    async fn manifests(&self) -> Result<Vec<Outcome<'a>>, Error> {
        let results: Vec<Result<Outcome<'a>, (usize, Diagnostic)>> = stream::iter(self.job.plan.named().enumerate())
            .map(async |(at, image)| {
                self.image_manifests(image).await.map(|outcome| outcome.map_err(|refused| (at, refused)))
            })
            .buffered(self.job.slots.total())
            .try_collect()
            .await?;
        let mut outcomes = Vec::with_capacity(results.len());
        let mut refused = Vec::new();
        for result in results {
            match result {
                Ok(outcome) => outcomes.push(outcome),
                Err((_, diagnostic)) => refused.push(diagnostic),
            }
        }
        if refused.is_empty() { Ok(outcomes) } else { Err(Error::SparseRefused(refused)) }
    }

    async fn image_manifests(&self, image: &'a ImagePlan) -> Result<Result<Outcome<'a>, Diagnostic>, Error> {
        let remote = self.remote(&image.repository);
        let mut refused = false;
        let manifests: Vec<_> = self.job.plan.graph.below(&image.digest);
        let manifests: Vec<_> = manifests.into_iter().filter(|node| node.manifest.is_some()).collect();
        let is_index = |node: &&&store::Node| {
            node.children
                .iter()
                .any(|child| self.job.plan.graph.get(child).is_some_and(|child| child.manifest.is_some()))
        };
        // Those of single platforms do not wait for each other; indexes come after all that they name.
        stream::iter(manifests.iter().filter(|node| !is_index(node) && !node.is_sparse()).map(Ok::<_, Error>))
            .try_for_each_concurrent(self.job.slots.total(), async |node| {
                self.put_manifest(&remote, &node.descriptor.digest).await
            })
            .await?;
        for node in manifests.iter().filter(|node| is_index(node) || node.is_sparse()) {
            match self.put_manifest(&remote, &node.descriptor.digest).await {
                Ok(()) => {}
                // Whoever holds such an index, or a sparse one, cannot be pushed either.
                Err(Error::Registry(registry::Error::ManifestBlobUnknown { .. }))
                    if image.sparse && image.derived.is_some() =>
                {
                    refused = true;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        match image.derived {
            Some(derived) if refused && self.job.derive_index => {
                for node in self.job.plan.graph.below(&derived) {
                    if node.manifest.is_some() {
                        self.put_manifest(&remote, &node.descriptor.digest).await?;
                    }
                }
                let text = format!(
                    "{} has another digest here: the registry refuses its index {}, so an index of the carried platforms stands for it",
                    image.source,
                    image.digest.short()
                );
                self.job.observer.on(&Event::Noted(Diagnostic::warning("derived-index", text)));
                Ok(Ok(Outcome { image, root: self.raw(&derived)?, derived: true }))
            }
            _ if refused => {
                let text = format!(
                    "{}/{} does not take the index of {}",
                    self.job.plan.target.host, image.repository, image.source
                );
                let hint = "run again with --derive-index to push an index of just the carried platforms, or create the archive with all platforms of the image";
                Ok(Err(Diagnostic::error("sparse-index", text).hint(hint)))
            }
            _ => Ok(Ok(Outcome { image, root: self.raw(&image.digest)?, derived: false })),
        }
    }

    /// Puts what upstream attached: referrers now, tags that cosign derives from a digest with the signatures.
    async fn companions(&self, outcomes: &[Outcome<'_>]) -> Result<(), Error> {
        let mut referrers: Vec<(&Repository, &Attachment)> = Vec::new();
        for outcome in outcomes {
            referrers.extend(outcome.carried().map(|attachment| (&outcome.image.repository, attachment)));
        }
        stream::iter(referrers.into_iter().map(Ok::<_, Error>))
            .try_for_each_concurrent(self.job.slots.total(), async |(repository, attachment)| {
                let remote = self.remote(repository);
                for node in self.job.plan.graph.below(&attachment.digest) {
                    if node.manifest.is_some() && node.descriptor.digest != attachment.digest {
                        self.put_manifest(&remote, &node.descriptor.digest).await?;
                    }
                }
                let raw = self.raw(&attachment.digest)?;
                match &attachment.tag {
                    None => remote.add_referrer(&attachment.subject, &raw).await?,
                    // Signatures are merged with what is there and with our own.
                    Some(tag) if tag.as_str().ends_with(".sig") => {}
                    Some(tag) => remote.put_manifest(&raw, Some(tag)).await?,
                }
                Ok(())
            })
            .await
    }

    /// Puts the signatures: upstream's, those that are in the target already, and ours, in one manifest for each image.
    async fn signatures(&self, outcomes: &[Outcome<'_>]) -> Result<(), Error> {
        let mut todo: BTreeMap<(&Repository, Digest), Option<Digest>> = BTreeMap::new();
        for outcome in outcomes {
            let repository = &outcome.image.repository;
            for digest in self.signed_digests(outcome) {
                todo.entry((repository, digest)).or_default();
            }
            for attachment in outcome.carried() {
                if attachment.tag.as_ref().is_some_and(|tag| tag.as_str().ends_with(".sig")) {
                    todo.insert((repository, attachment.subject), Some(attachment.digest));
                }
            }
        }
        stream::iter(todo.into_iter().map(Ok::<_, Error>))
            .try_for_each_concurrent(self.job.slots.total(), async |((repository, digest), upstream)| {
                self.sign(&self.remote(repository), digest, upstream).await
            })
            .await
    }

    fn signed_digests(&self, outcome: &Outcome<'_>) -> Vec<Digest> {
        if self.job.signatures.is_empty() {
            return Vec::new();
        }
        let below = self.job.plan.graph.below(&outcome.root.descriptor.digest);
        below.iter().filter(|node| node.manifest.is_some()).map(|node| node.descriptor.digest).collect()
    }

    async fn sign(&self, remote: &Remote, digest: Digest, upstream: Option<Digest>) -> Result<(), Error> {
        let sets: Vec<_> = self.job.signatures.iter().filter_map(|set| set.of_image(&digest)).collect();
        let ours: Vec<_> = sets.iter().flat_map(|set| set.simple.iter().cloned()).collect();
        let simple = async {
            let Ok(tag) = signature_tag(&digest).parse::<Tag>() else { return Ok(()) };
            if upstream.is_none() && ours.is_empty() {
                return Ok(());
            }
            let there = match remote.manifest(&By::Tag(tag.clone())).await {
                Ok(raw) => Some(raw.bytes),
                Err(registry::Error::NotFound { .. }) => None,
                Err(error) => return Err(error.into()),
            };
            let upstream = upstream.map(|upstream| self.raw(&upstream)).transpose()?;
            let base = merge_layers(there.as_ref(), upstream.as_ref().map(|raw| &raw.bytes));
            let merged = signature_manifest(base.as_deref(), &ours)?;
            if there.as_deref() != Some(&*merged.manifest.1) {
                self.put_made(remote, &merged.blobs).await?;
                let raw = RawManifest { descriptor: merged.manifest.0, bytes: merged.manifest.1 };
                remote.put_manifest(&raw, Some(&tag)).await?;
            }
            Ok::<_, Error>(())
        };
        let bundles = async {
            let subject = self.raw(&digest)?.descriptor;
            for set in &sets {
                let referrer = bundle_referrer(&subject, &set.bundle, None);
                self.put_made(remote, &referrer.blobs).await?;
                let raw = RawManifest { descriptor: referrer.manifest.0, bytes: referrer.manifest.1 };
                remote.add_referrer(&digest, &raw).await?;
            }
            Ok(())
        };
        futures_util::try_join!(simple, bundles).map(drop)
    }

    async fn put_made(&self, remote: &Remote, blobs: &[(Descriptor, Bytes)]) -> Result<(), Error> {
        stream::iter(blobs.iter().map(Ok::<_, Error>))
            .try_for_each_concurrent(self.job.slots.total(), async |(descriptor, bytes)| {
                let memory = Memory::new();
                memory.set(descriptor.digest, bytes.clone());
                let put = remote.put(descriptor, &memory, &|_| {});
                Ok(self.blobs_put.put(remote.repository(), descriptor.digest, put).await?)
            })
            .await
    }

    /// Puts a manifest of the archive by digest, once for each repository.
    async fn put_manifest(&self, remote: &Remote, digest: &Digest) -> Result<(), Error> {
        let raw = self.raw(digest)?;
        Ok(self.manifests_put.put(remote.repository(), *digest, remote.put_manifest(&raw, None)).await?)
    }

    async fn files(&self) -> Result<(), Error> {
        stream::iter(self.job.plan.files.iter().map(Ok::<_, Error>))
            .try_for_each_concurrent(self.job.slots.total(), async |set| {
                let (descriptor, bytes) = set.artifact.manifest.clone();
                let raw = RawManifest { descriptor, bytes };
                Ok(self.remote(&set.repository).put_manifest(&raw, Some(&set.tag)).await?)
            })
            .await
    }

    /// Asks for every digest once more, before any tag points at it.
    async fn answers(&self, outcomes: &[Outcome<'_>]) -> Result<(), Error> {
        let mut all: BTreeSet<(&Repository, Digest)> = BTreeSet::new();
        for outcome in outcomes {
            for node in self.job.plan.graph.below(&outcome.root.descriptor.digest) {
                if node.manifest.is_some() {
                    all.insert((&outcome.image.repository, node.descriptor.digest));
                }
            }
        }
        self.job.observer.on(&Event::Planned { phase: Phase::Verify, items: all.len() as u64, bytes: 0 });
        let lost: Vec<Option<Diagnostic>> = stream::iter(all)
            .map(async |(repository, digest)| {
                let there = self.remote(repository).head(&By::Digest(digest)).await?;
                let name = format!("{}/{repository}@{digest}", self.job.plan.target.host);
                self.job.observer.on(&Event::Done { phase: Phase::Verify, item: name.clone(), bytes: 0 });
                Ok::<_, Error>(there.is_none().then(|| Diagnostic::error("unanswered", format!("{name} is not there"))))
            })
            .buffered(self.job.slots.total())
            .try_collect()
            .await?;
        let lost: Vec<Diagnostic> = lost.into_iter().flatten().collect();
        if lost.is_empty() { Ok(()) } else { Err(Error::Unanswered(lost)) }
    }

    /// Looks where the tags point now, for each image in its order.
    async fn tagged(&self, outcomes: &[Outcome<'_>]) -> Result<Vec<Vec<Option<Digest>>>, Error> {
        stream::iter(outcomes)
            .map(async |outcome| {
                let remote = self.remote(&outcome.image.repository);
                let mut tagged = Vec::with_capacity(outcome.image.tags.len());
                for tag in &outcome.image.tags {
                    tagged.push(remote.head(&By::Tag(tag.clone())).await?.map(|there| there.digest));
                }
                Ok(tagged)
            })
            .buffered(self.job.slots.total())
            .try_collect()
            .await
    }

    /// Writes the tags; those that point right already are left alone.
    ///
    /// In one repository one tag at a time: writing a tag puts its manifest again, and docker-registry then refuses an
    /// index that names this manifest ([`Once`] tells why).
    async fn tags(
        &self,
        outcomes: &[Outcome<'_>],
        before: Vec<Vec<Option<Digest>>>,
    ) -> Result<Vec<LoadedImage>, Error> {
        let turns: BTreeMap<&Repository, Mutex<()>> =
            outcomes.iter().map(|outcome| (&outcome.image.repository, Mutex::default())).collect();
        let turns = &turns;
        stream::iter(outcomes.iter().zip(before))
            .map(async |(outcome, before)| {
                let remote = self.remote(&outcome.image.repository);
                let mut replaced = BTreeMap::new();
                for (tag, before) in outcome.image.tags.iter().zip(before) {
                    if before == Some(outcome.root.descriptor.digest) {
                        continue;
                    }
                    if let Some(before) = before {
                        replaced.insert(tag.to_string(), before);
                    }
                    let _turn = match turns.get(&outcome.image.repository) {
                        Some(turn) => Some(turn.lock().await),
                        None => None,
                    };
                    remote.put_manifest(&outcome.root, Some(tag)).await?;
                }
                Ok(LoadedImage {
                    source: outcome.image.source.clone(),
                    target: format!("{}/{}", self.job.plan.target.host, outcome.image.repository),
                    digest: outcome.root.descriptor.digest,
                    derived_from: outcome.derived.then_some(outcome.image.digest),
                    tags: outcome.image.tags.clone(),
                    replaced,
                })
            })
            .buffered(self.job.slots.total())
            .try_collect()
            .await
    }
}

impl Outcome<'_> {
    /// Returns the attachments that speak of something that is in the target: nothing of a refused index.
    fn carried(&self) -> impl Iterator<Item = &Attachment> {
        self.image.attachments.iter().filter(|one| !(self.derived && one.subject == self.image.digest))
    }
}

/// Returns the signature manifest that is there with upstream's layers appended, unless they are in it already.
fn merge_layers(there: Option<&Bytes>, upstream: Option<&Bytes>) -> Option<Vec<u8>> {
    let (there, upstream) = match (there, upstream) {
        (Some(there), Some(upstream)) => (there, upstream),
        (one, other) => return one.or(other).map(|bytes| bytes.to_vec()),
    };
    let layers = |bytes: &Bytes| -> Option<Value> { serde_json::from_slice(bytes).ok() };
    let (Some(mut merged), Some(upstream)) = (layers(there), layers(upstream)) else { return Some(there.to_vec()) };
    let mut changed = false;
    if let (Some(Value::Array(own)), Some(Value::Array(theirs))) = (merged.get_mut("layers"), upstream.get("layers")) {
        for layer in theirs {
            if !own.contains(layer) {
                own.push(layer.clone());
                changed = true;
            }
        }
    }
    Some(if changed { merged.to_string().into_bytes() } else { there.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_of_both_sides_are_kept_once() {
        let there = Bytes::from_static(br#"{"layers":[{"digest":"a"},{"digest":"b"}]}"#);
        let upstream = Bytes::from_static(br#"{"layers":[{"digest":"b"},{"digest":"c"}]}"#);
        let merged = merge_layers(Some(&there), Some(&upstream)).unwrap();
        assert_eq!(merged, br#"{"layers":[{"digest":"a"},{"digest":"b"},{"digest":"c"}]}"#);
        assert_eq!(merge_layers(Some(&there), Some(&there)).unwrap(), there);
        assert_eq!(merge_layers(None, Some(&upstream)).unwrap(), upstream);
        assert!(merge_layers(None, None).is_none());
    }
}
