//! What a load will do.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Error, Layout, Renamer, Target};
use crate::{
    archive::{Archive, FileArtifact, Image},
    oci::{Descriptor, Digest, Reference, Repository, Tag},
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
    pub attachments: Vec<crate::archive::Attachment>,
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
        let attachments: Vec<Descriptor> = image
            .attachments
            .iter()
            .map(|attachment| Descriptor::new(attachment.media_type.clone(), attachment.digest, attachment.size))
            .collect();
        graph.merge(walk(&source, &attachments, &Policy::default()).await?)?;
    }
    let mut images = Vec::new();
    for image in inventory.images.iter().filter(|image| image.derived_from.is_none()) {
        let mut places: BTreeMap<(Repository, String), Vec<Tag>> = BTreeMap::new();
        for reference in &image.references {
            let repository = renamer.image(&reference.host, &reference.repository)?;
            places.entry((repository, name(reference))).or_default().extend(reference.tag.clone());
        }
        let below = graph.below(&image.digest);
        let size = below.iter().filter(|node| !node.is_foreign()).map(|node| node.descriptor.size).sum();
        let sparse = below.iter().any(|node| node.is_sparse());
        for ((repository, source), mut tags) in places {
            tags.sort();
            tags.dedup();
            images.push(ImagePlan {
                source,
                repository,
                tags,
                digest: image.digest,
                sparse,
                derived: derived.get(&image.digest).map(|derived| derived.digest),
                size,
                attachments: image.attachments.clone(),
            });
        }
    }
    images.sort_by(|a, b| (&a.source, a.digest).cmp(&(&b.source, b.digest)));
    let mut files = Vec::new();
    for (name, artifact) in inventory.file_artifacts() {
        let repository = renamer.own(&["files", &name])?;
        let tag = inventory.version_tag();
        let (digest, count, size) = (artifact.manifest.0.digest, artifact.files.len(), artifact.size());
        files.push(FileSet { name, repository, tag, digest, files: count, size, artifact });
    }
    let state = renamer.own(&["bundle-state"])?;
    Ok(LoadPlan { target, layout, images, files, state, graph })
}

fn name(reference: &Reference) -> String {
    reference.name()
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
