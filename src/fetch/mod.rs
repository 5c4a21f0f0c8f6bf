//! Lock → Archive: reads manifests to know every size, then pulls blobs straight into the archive.
//!
//! ```text
//!  Lock ─ walk manifests, find companions ─→ Planned (inventory, signatures, layout) ─ copy ─→ Finished
//!         origin.rs      companions.rs         derive.rs                              
//! ```
//!
//! | file | owns |
//! |---|---|
//! | `origin.rs` | where each digest comes from: a registry, a file, an archive on disk, memory |
//! | `companions.rs` | signatures, attestations and other artifacts that speak of an image |
//! | `charts.rs` | charts, compared with the lock |
//! | `derive.rs` | an index of just the carried platforms, for registries that refuse sparse ones |
//!
//! # Invariants
//! - Nothing is fetched that the lock does not pin.
//! - The plan is a value: its sizes are shown, checked against the disk, and exactly met.
//! - Signatures are made over the inventory before the blobs arrive; the archive gets its name when every blob matched.
//!
//! # Failure
//! [`Error`] names the image. What was written stays beside the target and is continued by the same call.

mod charts;
mod companions;
mod derive;
mod origin;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use crate::{
    archive::{self, Draft, Finished, Layout, Plan, PlannedFile, PlannedImage, Role, Time, Writer},
    error::{Classify, Diagnostic, Kind, Side},
    event::{Event, Observer, Phase},
    files, helm,
    lock::{Lock, LockedImage, Verified},
    oci::{Descriptor, Digest, ManifestKind, Platform, Reference},
    registry::{self, Registries},
    store::{self, Copied, Graph, LocalError, Policy, Routes, Slots, copy, walk},
    trust::{self, SignatureSet, SigningKey},
};
use charts::Carried;
use companions::Companion;
use origin::Origin;

/// Says why an archive could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// One image cannot be planned.
    #[error("{image}: {cause}")]
    Image {
        /// Which image.
        image: Box<Reference>,
        /// Why.
        #[source]
        cause: store::Error,
    },
    /// Looking for signatures and other companions failed.
    #[error("{image}: cannot tell which signatures and other artifacts belong to it: {cause}")]
    Companions {
        /// Which image.
        image: Box<Reference>,
        /// Why.
        #[source]
        cause: Box<Error>,
    },
    /// An image has more companions than anyone needs.
    #[error("{image} has more than {limit} signatures and other artifacts")]
    TooManyCompanions {
        /// Which repository.
        image: String,
        /// The limit.
        limit: usize,
    },
    /// A blob could not be moved.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A blob of known images could not be moved.
    #[error("{cause} (needed by {})", needed_by(images))]
    Blob {
        /// The images that need it.
        images: Vec<Reference>,
        /// Why.
        #[source]
        cause: store::Error,
    },
    /// A registry failed.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// The archive could not be written.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] files::Error),
    /// Signing failed.
    #[error(transparent)]
    Trust(#[from] trust::Error),
    /// An image in a file cannot be read.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// An image in a file is not what the lock says any more.
    #[error("{path} holds {found}, and the lock says {locked}: run `bundle resolve` and review the change")]
    ArchiveChanged {
        /// Which file.
        path: String,
        /// What the lock says.
        locked: Digest,
        /// What is there.
        found: Digest,
    },
    /// A chart is not what the lock says any more.
    #[error("the chart {chart} is not the one that the lock pins: run `bundle resolve` and review the change")]
    ChartChanged {
        /// Which chart.
        chart: String,
    },
    /// A chart of the lock was not given.
    #[error(
        "the lock holds the chart {chart}, which the spec does not ask for: run `bundle resolve` and review the change"
    )]
    ChartAbsent {
        /// Which chart.
        chart: String,
    },
    /// The address of a file or chart in the lock is none.
    #[error("{0:?} is no address")]
    Address(String),
    /// Several images failed.
    #[error("{} images cannot be carried", .0.len())]
    Several(Vec<Diagnostic>, Kind),
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        match self {
            Error::Image { cause, .. } | Error::Blob { cause, .. } | Error::Store(cause) => cause.kind(),
            Error::Companions { cause, .. } => cause.kind(),
            Error::TooManyCompanions { .. } => Kind::Corrupt,
            Error::Local(cause) => cause.kind(),
            Error::ArchiveChanged { .. } | Error::ChartChanged { .. } | Error::ChartAbsent { .. } => Kind::Answer,
            Error::Address(_) => Kind::Usage,
            Error::Registry(cause) => cause.kind(),
            Error::Archive(cause) => cause.kind(),
            Error::File(cause) => cause.kind(),
            Error::Trust(cause) => cause.kind(),
            Error::Several(_, kind) => *kind,
        }
    }

    fn side(&self) -> Option<Side> {
        match self {
            Error::Image { cause, .. } | Error::Blob { cause, .. } | Error::Store(cause) => cause.side(),
            Error::Companions { .. } | Error::TooManyCompanions { .. } | Error::Registry(_) => Some(Side::Source),
            Error::Archive(cause) => cause.side(),
            _ => None,
        }
    }

    fn diagnostics(&self) -> &[Diagnostic] {
        match self {
            Error::Several(diagnostics, _) => diagnostics,
            _ => &[],
        }
    }
}

/// How many images an error names before it only counts them.
const NAMED: usize = 3;

fn needed_by(images: &[Reference]) -> String {
    let named: Vec<String> = images.iter().take(NAMED).map(Reference::to_string).collect();
    match images.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

impl Error {
    /// Says which images need the content that could not be moved, where the failure is about one.
    fn of_content(cause: store::Error, inventory: &archive::Inventory) -> Error {
        let digest = match &cause {
            store::Error::Corrupt { expected: digest, .. }
            | store::Error::Size { digest, .. }
            | store::Error::Missing { digest, .. } => *digest,
            _ => return cause.into(),
        };
        let entry = inventory.entries.iter().find(|entry| entry.digest == digest);
        let named = |at: &u32| inventory.images.get(*at as usize)?.references.first().cloned();
        let images: Vec<Reference> = entry.iter().flat_map(|entry| &entry.images).filter_map(named).collect();
        if images.is_empty() { cause.into() } else { Error::Blob { images, cause } }
    }
}

/// What an archive is made from.
pub struct Job<'a> {
    /// What to carry.
    pub lock: &'a Lock,
    /// The bytes of the lock as they stand beside the spec.
    pub lock_text: Bytes,
    /// The charts of the lock, in its order.
    pub charts: &'a [helm::Package],
    /// The folder of the spec, to which paths in the lock are relative.
    pub folder: &'a Path,
    /// How registries are reached.
    pub registries: &'a Registries,
    /// Who signs; nobody makes an unsigned archive.
    pub keys: &'a [SigningKey],
    /// When the archive was made, as far as its bytes know.
    pub created: Time,
    /// When it should be replaced.
    pub expires: Option<Time>,
    /// How many transfers run at the same time.
    pub slots: Slots,
    /// Is told what happens.
    pub observer: Arc<dyn Observer>,
}

/// An archive of which everything is known but the blobs.
pub struct Planned {
    /// Where every byte will be.
    pub layout: Layout,
    /// What deserves a look.
    pub warnings: Vec<Diagnostic>,
    router: Routes<Origin>,
    slots: Slots,
    observer: Arc<dyn Observer>,
}

/// One image of the lock, walked.
struct Walked {
    references: Vec<Reference>,
    root: Descriptor,
    origin: Origin,
    graph: Graph,
    platform: Option<Platform>,
    companions: Vec<Companion>,
    derived: Option<derive::Derived>,
    verified: Vec<Verified>,
    because: serde_json::Value,
    warnings: Vec<Diagnostic>,
}

/// Reads every manifest that the lock needs and lays the archive out.
///
/// # Errors
/// [`Error::Several`] with every image that cannot be carried; otherwise the first failure.
pub async fn plan(job: &Job<'_>) -> Result<Planned, Error> {
    let mut groups: BTreeMap<Digest, Vec<&LockedImage>> = BTreeMap::new();
    for image in &job.lock.images {
        groups.entry(image.digest).or_default().push(image);
    }
    job.observer.on(&Event::Planned { phase: Phase::Plan, items: groups.len() as u64, bytes: 0 });
    let charts = charts::gather(job).await?;
    let results: Vec<(Reference, Result<Walked, Error>)> = stream::iter(groups.into_values())
        .map(async |images| {
            let name = images[0].image.clone();
            let walked = walk_image(job, &images).await;
            job.observer.on(&Event::Done { phase: Phase::Plan, item: name.to_string(), bytes: 0 });
            (name, walked)
        })
        .buffer_unordered(job.slots.total())
        .collect()
        .await;
    let mut walked = Vec::with_capacity(results.len());
    let mut failed = Vec::new();
    for (name, result) in results {
        match result {
            Ok(image) => walked.push(image),
            Err(error) => failed.push((name, error)),
        }
    }
    failed.sort_by(|a, b| a.0.cmp(&b.0));
    match failed.len() {
        0 => {}
        1 => return Err(failed.remove(0).1),
        _ => {
            // The kind that says most: wrong bytes before absence before a network that may come back.
            let kind = failed.iter().map(|(_, error)| error.kind()).max_by_key(|kind| match kind {
                Kind::Unavailable => 0,
                Kind::NotFound => 1,
                _ => 2,
            });
            let diagnostics = failed.iter().map(|(_, error)| Diagnostic::error("image", error.to_string())).collect();
            return Err(Error::Several(diagnostics, kind.unwrap_or(Kind::Unavailable)));
        }
    }
    walked.sort_by(|a, b| a.references.cmp(&b.references));
    assemble(job, walked, charts)
}

async fn walk_image(job: &Job<'_>, images: &[&LockedImage]) -> Result<Walked, Error> {
    let first = images[0];
    let at = |cause| Error::Image { image: Box::new(first.image.clone()), cause };
    let root = Descriptor::new(first.media_type.clone(), first.digest, first.size);
    let origin = Origin::of(job.registries, job.folder, first).await?;
    let policy = Policy { platforms: job.lock.platforms.clone() };
    let graph = walk(&origin, std::slice::from_ref(&root), &policy).await.map_err(at)?;
    let mut warnings = Vec::new();
    for node in graph.nodes() {
        for missing in &node.not_offered {
            let text = format!("{} does not offer {missing}; the other platforms are carried", first.image);
            warnings.push(Diagnostic::warning("platform-missing", text));
        }
        if node.is_foreign() {
            let text = format!(
                "{}: the layer {} is held by no registry and is not carried",
                first.image, node.descriptor.digest
            );
            warnings.push(
                Diagnostic::warning("foreign-layer", text)
                    .hint("images with such layers run only where the layer can be fetched"),
            );
        }
    }
    let manifests: Vec<Digest> = graph.manifests().map(|(descriptor, _)| descriptor.digest).collect();
    let found = async {
        match &origin {
            Origin::Remote(remote) => companions::find(remote, manifests)
                .await
                .map_err(|cause| Error::Companions { image: Box::new(first.image.clone()), cause: Box::new(cause) }),
            _ => Ok(Vec::new()),
        }
    };
    let platform = async { single_platform(&origin, &graph, &root).await.map_err(at) };
    // Neither waits for the other: each is a round trip or two.
    let (platform, companions) = futures_util::try_join!(platform, found)?;
    if let Some(platform) = &platform
        && !policy.platforms.is_empty()
        && !policy.platforms.iter().any(|wanted| wanted.takes(platform))
    {
        let text = format!("{} exists for {platform} only", first.image);
        warnings.push(
            Diagnostic::warning("platform-other", text)
                .hint("it is carried, but does not run on the platforms of this spec"),
        );
    }
    let derived = derive::derive(&graph, &root).await.map_err(at)?;
    let references = images.iter().map(|image| image.image.clone()).collect();
    let because = images
        .iter()
        .flat_map(|image| &image.because)
        .map(|reason| serde_json::to_value(reason).unwrap_or_default())
        .collect::<Vec<_>>()
        .into();
    // Names of one image may have been asked for different signatures; all of them are true of the image.
    let verified = images.iter().flat_map(|image| image.verified.iter().cloned()).collect::<BTreeSet<_>>();
    let verified = verified.into_iter().collect();
    Ok(Walked { references, root, origin, graph, platform, companions, derived, verified, because, warnings })
}

/// Returns the platform of an image that is no index, from its configuration.
async fn single_platform(origin: &Origin, graph: &Graph, root: &Descriptor) -> Result<Option<Platform>, store::Error> {
    let Some((_, manifest)) = graph.get(&root.digest).and_then(|node| node.manifest.as_ref()) else { return Ok(None) };
    let is_image_config = |config: &&Descriptor| {
        matches!(
            config.media_type.as_str(),
            crate::oci::media_type::CONFIG | "application/vnd.docker.container.image.v1+json"
        )
    };
    let Some(config) =
        manifest.config.as_ref().filter(is_image_config).filter(|_| manifest.kind == ManifestKind::Image)
    else {
        return Ok(None);
    };
    let bytes = store::read_manifest(origin, config).await?;
    let platform: Option<Platform> = serde_json::from_slice(&bytes).ok();
    Ok(platform.filter(|platform| !platform.os.is_empty() && !platform.architecture.is_empty()))
}

fn assemble(job: &Job<'_>, walked: Vec<Walked>, charts: Vec<Carried<'_>>) -> Result<Planned, Error> {
    let mut router = Routes::new();
    let mut warnings = Vec::new();
    for image in &walked {
        warnings.extend(image.warnings.iter().cloned());
        let graphs = std::iter::once(&image.graph).chain(image.companions.iter().map(|companion| &companion.graph));
        router.add(image.origin.clone(), graphs.flat_map(Graph::leaves).map(|leaf| leaf.digest));
    }
    for chart in &charts {
        if let Some(remote) = &chart.remote {
            router.add(Origin::Remote(Box::new(remote.clone())), chart.leaves());
        }
    }
    let mut images = Vec::new();
    for image in &walked {
        images.push(PlannedImage {
            references: image.references.clone(),
            root: image.root.digest,
            graph: &image.graph,
            platform: image.platform.clone(),
            derived_from: None,
            verified: image.verified.clone(),
            attachments: image.companions.iter().map(charts::attachment).collect(),
            because: image.because.clone(),
        });
        if let Some(derived) = &image.derived
            && let Some(first) = image.references.first()
        {
            let name = Reference { tag: None, digest: Some(derived.root), ..first.clone() };
            images.push(PlannedImage {
                references: vec![name],
                root: derived.root,
                graph: &derived.graph,
                platform: None,
                derived_from: Some(image.root.digest),
                verified: Vec::new(),
                attachments: Vec::new(),
                because: serde_json::json!([]),
            });
        }
    }
    let mut planned_files = Vec::new();
    for file in &job.lock.files {
        for (path, member, digest, size) in origin::members(file) {
            router.add(Origin::of_file(job.registries, job.folder, file, &member)?, [digest]);
            let because = serde_json::json!([file.entry]);
            planned_files.push(PlannedFile { path, digest, size, role: Role::File, content: None, because });
        }
    }
    let draft = Draft::new(Plan {
        name: job.lock.name.clone(),
        version: job.lock.version.clone(),
        sequence: job.lock.sequence,
        created: job.created,
        expires: job.expires,
        tool: concat!("bundle ", env!("CARGO_PKG_VERSION")).to_owned(),
        previous: None,
        platforms: job.lock.platforms.clone(),
        lock: Some(job.lock_text.clone()),
        images,
        charts: charts.iter().map(Carried::planned).collect(),
        files: planned_files,
    })?;
    let signed = draft.inventory().signed_images();
    let sets = job
        .keys
        .iter()
        .map(|key| SignatureSet::sign(key, draft.bundle_json(), &signed))
        .collect::<Result<Vec<_>, _>>()?;
    let signatures = if sets.is_empty() { Vec::new() } else { SignatureSet::write(&sets)? };
    let signatures = signatures.into_iter().map(|(path, bytes)| (path.to_string(), bytes)).collect();
    let layout = draft.seal(signatures)?;
    Ok(Planned { layout, warnings, router, slots: job.slots.clone(), observer: job.observer.clone() })
}

/// Says what a pull did.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// The archive.
    pub finished: Finished,
    /// What was moved and what an earlier run had brought.
    pub copied: Copied,
}

/// Pulls every blob of a plan into `target`, which appears when all are verified.
///
/// # Errors
/// The first failure; the same call continues where it stopped.
pub async fn pull(planned: Planned, target: &Path) -> Result<Pulled, Error> {
    let Planned { layout, router, slots, observer, .. } = planned;
    let leaves = layout.leaves();
    let target: PathBuf = target.to_owned();
    let writer = Writer::open(&target, layout, &slots, observer.clone())?;
    let copied = copy(&router, &writer, &leaves, &slots, observer.as_ref(), Phase::Pull)
        .await
        .map_err(|cause| Error::of_content(cause, writer.layout().inventory()))?;
    let finished = writer.finish().await?;
    Ok(Pulled { finished, copied })
}
