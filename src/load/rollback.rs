//! Going back: tags point again at what an earlier load brought, without its archive.
//!
//! # Invariants
//! - What the tags will point at comes from the signed `bundle.json` in the earlier record, not from words that anybody who
//!   can write to the registry can change.
//! - Before the first tag moves, every manifest and blob of the earlier load has answered; a registry that collected garbage
//!   meanwhile is told about with everything that is lost, and no tag has moved.
//! - Tags that only the newer load brought stay: nothing that runs loses its image.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use super::{
    Error, Loaded, LoadedChart,
    plan::names,
    push::LoadedImage,
    receipt::{Past, read},
};
use crate::{
    archive::{CHARTS, Inventory},
    error::{Diagnostic, Side},
    event::{Event, Observer, Phase},
    names::{Layout, Renamer, Target},
    oci::{Descriptor, Digest, Repository, Tag},
    registry::{self, By, RawManifest, Registries, Remote},
    store::{self, Policy, Sink, walk},
};

/// How far back the chain of records is followed: a load every day for more than two years.
const MAX_STEPS: usize = 1000;

/// Finds the record to go back to: the one before the last, or the newest before it that has this sequence.
///
/// # Errors
/// [`Error::NothingBefore`], [`Error::Trust`] when no trusted key signed it, [`Error::Record`] when it cannot be read.
pub async fn earlier(
    records: &Remote,
    last: &Past,
    sequence: Option<u64>,
    policy: Option<&crate::trust::Policy>,
) -> Result<Past, Error> {
    let name = &last.inventory.name;
    let mut seen = BTreeSet::new();
    let mut at = last.clone();
    for _ in 0..MAX_STEPS {
        let Some(before) = at.written.previous_record.filter(|before| seen.insert(*before)) else { break };
        let Some(past) = read(records, &By::Digest(before)).await? else {
            let lost = format!("the record {before} of an earlier load of {name} is not in the registry any more");
            return Err(Error::NothingBefore(lost));
        };
        if let Some(policy) = policy {
            let _verdict = past.verify(policy)?;
        }
        if past.inventory.name != *name {
            return Err(Error::Record { place: before.to_string(), why: format!("it is not about {name}") });
        }
        if sequence.is_none_or(|wanted| past.inventory.sequence == wanted) {
            return Ok(past);
        }
        at = past;
    }
    Err(Error::NothingBefore(match sequence {
        Some(sequence) => format!("no earlier load of {name} had sequence {sequence}"),
        None => format!("{name} was loaded once, and what was there before is not known"),
    }))
}

/// A way back, decided to the last tag; no tag has moved yet.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Return {
    /// The name of the bundle.
    pub name: String,
    /// The version to go back to.
    pub version: String,
    /// Its sequence.
    pub sequence: u64,
    /// Every tag with what it points at now and what it will point at.
    pub tags: Vec<Move>,
    #[serde(skip)]
    layout: Layout,
    #[serde(skip)]
    images: Vec<Named>,
    #[serde(skip)]
    charts: Vec<(String, String, Named)>,
    #[serde(skip)]
    files: Vec<Named>,
}

/// One tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Move {
    /// Its name in the target.
    pub name: String,
    /// What it points at now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Digest>,
    /// What it will point at.
    pub to: Digest,
}

/// Something with tags.
#[derive(Debug)]
struct Named {
    source: String,
    repository: Repository,
    tags: Vec<Tag>,
    root: RawManifest,
    derived_from: Option<Digest>,
    now: Vec<Option<Digest>>,
}

/// What was asked for, before anything was looked up.
struct Wanted {
    source: String,
    repository: Repository,
    tags: Vec<Tag>,
    root: Descriptor,
    /// The index that stands for it where the registry refused the sparse one.
    derived: Option<Descriptor>,
    policy: Policy,
}

/// Looks whether everything of an earlier load is still there and where its tags point now.
///
/// # Errors
/// [`Error::Gone`] with everything that is lost, [`Error::Record`] for a record of a version that did not say how it named
/// things, failures of the registry.
pub async fn back(
    registries: &Registries,
    target: &Target,
    past: &Past,
    slots: usize,
    observer: &dyn Observer,
) -> Result<Return, Error> {
    let inventory = &past.inventory;
    let unknown = |why: &str| Error::Record { place: format!("the record of {}", inventory.version), why: why.into() };
    let layout: Layout = match past.written.layout.as_deref().map(str::parse) {
        Some(Ok(layout)) => layout,
        _ => return Err(unknown("it does not say under which names things were loaded; load the archive again")),
    };
    let mut renamer = Renamer::new(target.clone(), layout);
    let (images, charts, files) = wanted(inventory, &mut renamer)?;
    let all = images.len() + charts.len() + files.len();
    observer.on(&Event::Planned { phase: Phase::Verify, items: all as u64, bytes: 0 });
    let found: Vec<Result<Named, Vec<Diagnostic>>> =
        stream::iter(images.into_iter().chain(charts.into_iter().map(|(_, _, chart)| chart)).chain(files))
            .map(async |wanted| {
                let found = look(registries, target, wanted, slots).await;
                if let Ok(Ok(named)) = &found {
                    let item = format!("{}/{}", target.host, named.repository);
                    observer.on(&Event::Done { phase: Phase::Verify, item, bytes: 0 });
                }
                found
            })
            .buffered(slots)
            .try_collect()
            .await?;
    let (mut there, mut lost) = (Vec::new(), Vec::new());
    for one in found {
        match one {
            Ok(named) => there.push(named),
            Err(missing) => lost.extend(missing),
        }
    }
    if !lost.is_empty() {
        return Err(Error::Gone(lost));
    }
    let mut tags = Vec::new();
    for named in &there {
        for (tag, from) in named.tags.iter().zip(&named.now) {
            let name = format!("{}/{}:{tag}", target.host, named.repository);
            tags.push(Move { name, from: *from, to: named.root.descriptor.digest });
        }
    }
    let carried: Vec<_> = inventory.charts.iter().filter(|chart| chart.tag().is_some()).collect();
    let files = there.split_off(there.len() - inventory.file_artifacts().len());
    let charts = there.split_off(there.len() - carried.len());
    let charts =
        carried.into_iter().zip(charts).map(|(chart, named)| (chart.name.clone(), chart.version.clone(), named));
    Ok(Return {
        name: inventory.name.clone(),
        version: inventory.version.clone(),
        sequence: inventory.sequence,
        tags,
        layout,
        images: there,
        charts: charts.collect(),
        files,
    })
}

type Charts = Vec<(String, String, Wanted)>;

fn wanted(inventory: &Inventory, renamer: &mut Renamer) -> Result<(Vec<Wanted>, Charts, Vec<Wanted>), Error> {
    let derived: BTreeMap<Digest, Descriptor> = inventory
        .images
        .iter()
        .filter_map(|one| Some((one.derived_from?, Descriptor::new(one.media_type.clone(), one.digest, one.size))))
        .collect();
    let selected = Policy { platforms: inventory.platforms.clone() };
    let images = names(inventory, renamer)?.into_iter().map(|(image, repository, source, tags)| Wanted {
        source,
        repository,
        tags,
        root: Descriptor::new(image.media_type.clone(), image.digest, image.size),
        derived: derived.get(&image.digest).cloned(),
        policy: selected.clone(),
    });
    let images = images.collect();
    let mut charts = Vec::new();
    for chart in &inventory.charts {
        let Some(tag) = chart.tag() else { continue };
        let wanted = Wanted {
            source: format!("{CHARTS}/{}", chart.name),
            repository: renamer.own(&[CHARTS, &chart.name])?,
            tags: vec![tag],
            root: Descriptor::new(chart.media_type.clone(), chart.digest, chart.size),
            derived: None,
            policy: Policy::default(),
        };
        charts.push((chart.name.clone(), chart.version.clone(), wanted));
    }
    let mut files = Vec::new();
    for (name, artifact) in inventory.file_artifacts() {
        files.push(Wanted {
            repository: renamer.own(&["files", &name])?,
            tags: vec![inventory.version_tag()],
            root: artifact.manifest.0,
            source: format!("files/{name}"),
            derived: None,
            policy: Policy::default(),
        });
    }
    Ok((images, charts, files))
}

/// Looks for everything below one root; what is lost is a value, because all of it is told in one run.
async fn look(
    registries: &Registries,
    target: &Target,
    wanted: Wanted,
    slots: usize,
) -> Result<Result<Named, Vec<Diagnostic>>, Error> {
    let remote = registries.repository(&target.host, &wanted.repository, Side::Target);
    let name = format!("{}/{}", target.host, wanted.repository);
    let mut root = wanted.root.clone();
    let mut policy = wanted.policy;
    let mut derived_from = None;
    let mut raw = manifest(&remote, &root.digest).await?;
    if raw.is_none()
        && let Some(derived) = wanted.derived
    {
        raw = manifest(&remote, &derived.digest).await?;
        (derived_from, root, policy) = (Some(wanted.root.digest), derived, Policy::default());
    }
    let lost = |digest: Digest| Diagnostic::error("gone", format!("{name}@{digest} is not there"));
    let Some(raw) = raw else { return Ok(Err(vec![lost(wanted.root.digest)])) };
    let graph = match walk(&remote, std::slice::from_ref(&root), &policy).await {
        Ok(graph) => graph,
        Err(store::Error::Missing { digest, .. }) => return Ok(Err(vec![lost(digest)])),
        Err(error) => return Err(error.into()),
    };
    let missing: Vec<Option<Diagnostic>> = stream::iter(graph.leaves())
        .map(async |blob| {
            let there = blob.media_type.is_foreign() || remote.has(&blob).await?;
            Ok::<_, Error>((!there).then(|| lost(blob.digest)))
        })
        .buffered(slots)
        .try_collect()
        .await?;
    let missing: Vec<Diagnostic> = missing.into_iter().flatten().collect();
    if !missing.is_empty() {
        return Ok(Err(missing));
    }
    let mut now = Vec::with_capacity(wanted.tags.len());
    for tag in &wanted.tags {
        now.push(remote.head(&By::Tag(tag.clone())).await?.map(|there| there.digest));
    }
    let (source, repository, tags) = (wanted.source, wanted.repository, wanted.tags);
    Ok(Ok(Named { source, repository, tags, root: raw, derived_from, now }))
}

async fn manifest(remote: &Remote, digest: &Digest) -> Result<Option<RawManifest>, Error> {
    match remote.manifest(&By::Digest(*digest)).await {
        Ok(raw) => Ok(Some(raw)),
        Err(registry::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Return {
    /// Returns how names were made by the load that this goes back to.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Moves the tags, one after the other; the same call continues when it was interrupted.
    ///
    /// # Errors
    /// Failures of the registry.
    pub async fn go(&self, registries: &Registries, target: &Target) -> Result<Loaded, Error> {
        let mut loaded = Loaded::default();
        for named in &self.images {
            let replaced = retag(registries, target, named).await?;
            loaded.images.push(LoadedImage {
                source: named.source.clone(),
                target: format!("{}/{}", target.host, named.repository),
                digest: named.root.descriptor.digest,
                derived_from: named.derived_from,
                tags: named.tags.clone(),
                replaced,
            });
        }
        for (name, version, named) in &self.charts {
            let mut replaced = retag(registries, target, named).await?;
            let Some(tag) = named.tags.first() else { continue };
            loaded.charts.push(LoadedChart {
                name: name.clone(),
                version: version.clone(),
                target: format!("{}/{}", target.host, named.repository),
                tag: tag.clone(),
                digest: named.root.descriptor.digest,
                replaced: replaced.remove(tag.as_str()),
            });
        }
        for named in &self.files {
            let _replaced = retag(registries, target, named).await?;
        }
        Ok(loaded)
    }
}

async fn retag(registries: &Registries, target: &Target, named: &Named) -> Result<BTreeMap<String, Digest>, Error> {
    let remote = registries.repository(&target.host, &named.repository, Side::Target);
    let mut replaced = BTreeMap::new();
    for (tag, now) in named.tags.iter().zip(&named.now) {
        if *now == Some(named.root.descriptor.digest) {
            continue;
        }
        remote.put_manifest(&named.root, Some(tag)).await?;
        if let Some(now) = now {
            replaced.insert(tag.to_string(), *now);
        }
    }
    Ok(replaced)
}
