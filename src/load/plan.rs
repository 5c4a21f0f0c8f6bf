//! What a load will do.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Error;
use crate::{
    archive::{Archive, Attachment, CHARTS, Chart, FileArtifact, Image, Inventory},
    names::{Layout, Renamer, Target},
    oci::{Descriptor, Digest, Repository, Tag},
    store::{Graph, Policy, walk},
};

/// A load, decided to the last name; nothing has been done yet.
#[derive(Debug)]
pub struct LoadPlan {
    /// Where it goes.
    pub target: Target,
    /// Under which names.
    pub layout: Layout,
    /// The images, sorted by source name.
    pub images: Vec<ImagePlan>,
    /// The charts, sorted by name and version.
    pub charts: Vec<ChartPlan>,
    /// The files.
    pub files: Vec<FileSet>,
    /// Where the receipt goes.
    pub state: Repository,
    /// Every manifest of the archive by what needs it.
    pub(super) graph: Graph,
}

/// One image in one repository of the target.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImagePlan {
    /// The name it had.
    pub source: String,
    /// The repository it goes to.
    pub repository: Repository,
    /// The tags that it gets there; none when it was asked for by digest alone.
    pub tags: Vec<Tag>,
    /// Its root.
    pub digest: Digest,
    /// Whether its index names platforms that the archive does not hold.
    pub sparse: bool,
    /// The index of just the carried platforms, for registries that refuse the sparse one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub derived: Option<Digest>,
    /// Its size with everything that it needs, in bytes.
    pub size: u64,
    /// What speaks of it: signatures and other artifacts of upstream.
    #[serde(skip)]
    pub attachments: Vec<Attachment>,
}

/// One chart in the target.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChartPlan {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The repository it goes to.
    pub repository: Repository,
    /// Its tag: the version, as helm writes it.
    pub tag: Tag,
    /// The digest of its manifest.
    pub digest: Digest,
    /// Its size with everything that it needs, in bytes.
    pub size: u64,
    /// The same as something to push: a chart is pushed like an image.
    #[serde(skip)]
    pub(super) pushed: ImagePlan,
}

impl LoadPlan {
    /// Returns everything that is pushed under a name of its own: the images, then the charts.
    pub(super) fn named(&self) -> impl Iterator<Item = &ImagePlan> {
        self.images.iter().chain(self.charts.iter().map(|chart| &chart.pushed))
    }

    /// Returns everything below a root, with it, that a registry has to hold.
    pub fn contents(&self, root: &Digest) -> Vec<Descriptor> {
        self.graph.below(root).iter().filter(|node| !node.is_foreign()).map(|node| node.descriptor.clone()).collect()
    }
}

impl FileSet {
    /// Returns the manifest of its artifact, and what the manifest names.
    pub fn contents(&self) -> (Descriptor, Vec<Descriptor>) {
        let artifact = &self.artifact;
        let blobs = [&artifact.manifest.0, &artifact.config.0].into_iter().chain(&artifact.files).cloned();
        (artifact.manifest.0.clone(), blobs.collect())
    }
}

/// Files that become one artifact.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileSet {
    /// The name in the spec.
    pub name: String,
    /// The repository it goes to.
    pub repository: Repository,
    /// Its tag: the version of the bundle.
    pub tag: Tag,
    /// The digest of its manifest.
    pub digest: Digest,
    /// How many files.
    pub files: usize,
    /// Their size in bytes.
    pub size: u64,
    #[serde(skip)]
    pub(super) artifact: FileArtifact,
}

/// Plans a load of `archive` into `target`.
///
/// # Errors
/// [`Error::Rename`] when two sources would share a name, [`Error::Store`] for manifests that cannot be read.
pub async fn plan(archive: &Archive, target: Target, layout: Layout) -> Result<LoadPlan, Error> {
    let inventory = archive.inventory();
    let source = archive.source();
    let mut renamer = Renamer::new(target.clone(), layout);
    let mut graph = Graph::default();
    let derived: BTreeMap<Digest, &Image> =
        inventory.images.iter().filter_map(|image| image.derived_from.map(|from| (from, image))).collect();
    let selected = Policy { platforms: inventory.platforms.clone() };
    for image in &inventory.images {
        let root = Descriptor::new(image.media_type.clone(), image.digest, image.size);
        // A derived index holds only what is there; any selection would ask it for more.
        let policy = if image.derived_from.is_some() { &Policy::default() } else { &selected };
        graph.merge(walk(&source, &[root], policy).await?)?;
        graph.merge(walk(&source, &roots(&image.attachments), &Policy::default()).await?)?;
    }
    for chart in &inventory.charts {
        let root = Descriptor::new(chart.media_type.clone(), chart.digest, chart.size);
        graph.merge(walk(&source, &[root], &Policy::default()).await?)?;
        graph.merge(walk(&source, &roots(&chart.attachments), &Policy::default()).await?)?;
    }
    let mut images = Vec::new();
    for (image, repository, source, tags) in names(inventory, &mut renamer)? {
        images.push(ImagePlan {
            source,
            repository,
            tags,
            digest: image.digest,
            sparse: graph.below(&image.digest).iter().any(|node| node.is_sparse()),
            derived: derived.get(&image.digest).map(|derived| derived.digest),
            size: size(&graph, &image.digest),
            attachments: image.attachments.clone(),
        });
    }
    let mut charts = Vec::with_capacity(inventory.charts.len());
    for chart in &inventory.charts {
        charts.extend(plan_chart(chart, &mut renamer, &graph)?);
    }
    let mut files = Vec::new();
    for (name, artifact) in inventory.file_artifacts() {
        let repository = renamer.own(&["files", &name])?;
        let tag = inventory.version_tag();
        let (digest, count, size) = (artifact.manifest.0.digest, artifact.files.len(), artifact.size());
        files.push(FileSet { name, repository, tag, digest, files: count, size, artifact });
    }
    let state = renamer.own(&["bundle-state"])?;
    Ok(LoadPlan { target, layout, images, charts, files, state, graph })
}

/// Says under which names the images of an inventory lie in the target: for each its repository, the name that it had, and
/// its tags; sorted by the name that it had.
pub(super) fn names<'a>(
    inventory: &'a Inventory,
    renamer: &mut Renamer,
) -> Result<Vec<(&'a Image, Repository, String, Vec<Tag>)>, Error> {
    let mut named = Vec::new();
    for image in inventory.images.iter().filter(|image| image.derived_from.is_none()) {
        let mut places: BTreeMap<(Repository, String), Vec<Tag>> = BTreeMap::new();
        for reference in &image.references {
            let repository = renamer.image(&reference.host, &reference.repository)?;
            places.entry((repository, reference.name())).or_default().extend(reference.tag.clone());
        }
        for ((repository, source), mut tags) in places {
            tags.sort();
            tags.dedup();
            named.push((image, repository, source, tags));
        }
    }
    named.sort_by(|a, b| (&a.2, a.0.digest).cmp(&(&b.2, b.0.digest)));
    Ok(named)
}

fn roots(attachments: &[Attachment]) -> Vec<Descriptor> {
    attachments.iter().map(|one| Descriptor::new(one.media_type.clone(), one.digest, one.size)).collect()
}

fn size(graph: &Graph, root: &Digest) -> u64 {
    graph.below(root).iter().filter(|node| !node.is_foreign()).map(|node| node.descriptor.size).sum()
}

/// Plans a chart; none whose version cannot be a tag is in an archive that was admitted.
fn plan_chart(chart: &Chart, renamer: &mut Renamer, graph: &Graph) -> Result<Option<ChartPlan>, Error> {
    let Some(tag) = chart.tag() else { return Ok(None) };
    let repository = renamer.own(&[CHARTS, &chart.name])?;
    let size = size(graph, &chart.digest);
    let pushed = ImagePlan {
        source: format!("{CHARTS}/{}", chart.name),
        repository: repository.clone(),
        tags: vec![tag.clone()],
        digest: chart.digest,
        sparse: false,
        derived: None,
        size,
        attachments: chart.attachments.clone(),
    };
    let (name, version, digest) = (chart.name.clone(), chart.version.clone(), chart.digest);
    Ok(Some(ChartPlan { name, version, repository, tag, digest, size, pushed }))
}

/// Writes a version as a tag: `+` becomes `_`, as Helm does for charts.
pub(super) fn version_tag(version: &str) -> Tag {
    let text: String = version
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' })
        .take(128)
        .collect();
    text.parse().unwrap_or_else(|_| Tag::latest())
}
