//! From images, charts, files and lock to an inventory, before the first layer is fetched.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use bytes::Bytes;

use super::{
    Error, Layout, PlannedChart, Time,
    chart::{self, Needs},
    index::{OCI_LAYOUT, index_json},
    inventory::{
        Attachment, Entry, FORMAT, Features, FileEntry, Image, Inventory, LeftOut, PlatformManifest, Role, blob_path,
        check_word,
    },
    layout::Held,
    reader::{MAX_SIGNATURE, MAX_SIGNATURES, signature_path},
};
use crate::{
    lock::Verified,
    oci::{Digest, ManifestKind, Platform, Reference, Tag},
    store::{Graph, Node},
    tree::RelPath,
};

/// What goes into an archive.
#[derive(Debug, Default)]
pub struct Plan<'a> {
    /// The name of the bundle.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its place in the row of bundles of this name.
    pub sequence: u64,
    /// When it was made, as far as its bytes know.
    pub created: Time,
    /// When it should be replaced.
    pub expires: Option<Time>,
    /// The program that makes it, with its version.
    pub tool: String,
    /// The digest of the `bundle.json` of the bundle before.
    pub previous: Option<Digest>,
    /// The selected platforms; empty for all.
    pub platforms: Vec<Platform>,
    /// The lock file.
    pub lock: Option<Bytes>,
    /// The images; each digest once.
    pub images: Vec<PlannedImage<'a>>,
    /// The charts.
    pub charts: Vec<PlannedChart<'a>>,
    /// Files that are no image content.
    pub files: Vec<PlannedFile>,
}

/// An image of a plan.
#[derive(Debug)]
pub struct PlannedImage<'a> {
    /// Every name under which it is asked for.
    pub references: Vec<Reference>,
    /// The digest of its root manifest.
    pub root: Digest,
    /// The walked graph that holds it.
    pub graph: &'a Graph,
    /// The platform of a root that is no index, when the caller knows it.
    pub platform: Option<Platform>,
    /// The index that the root was made from.
    pub derived_from: Option<Digest>,
    /// What speaks of it.
    pub attachments: Vec<PlannedAttachment<'a>>,
    /// Whose signatures of it were checked.
    pub verified: Vec<Verified>,
    /// Why it is here.
    pub because: serde_json::Value,
}

/// A signature, attestation or other artifact of a planned image.
#[derive(Debug)]
pub struct PlannedAttachment<'a> {
    /// The manifest that it speaks of.
    pub subject: Digest,
    /// Its own manifest.
    pub root: Digest,
    /// The walked graph that holds it.
    pub graph: &'a Graph,
    /// The tag under which it is found, when it is not a referrer.
    pub tag: Option<Tag>,
}

/// A file of a plan.
#[derive(Clone, Debug)]
pub struct PlannedFile {
    /// Where it belongs.
    pub path: RelPath,
    /// Its digest.
    pub digest: Digest,
    /// Its size.
    pub size: u64,
    /// What it is.
    pub role: Role,
    /// Its content, when it is at hand; otherwise it is fetched like a layer.
    pub content: Option<Bytes>,
    /// Why it is here.
    pub because: serde_json::Value,
}

/// A planned archive whose `bundle.json` is final, so that it can be signed; only the signatures are missing.
#[derive(Debug)]
pub struct Draft {
    inventory: Inventory,
    index: Bytes,
    bundle: Bytes,
    held: Held,
}

/// Collects the entries of the tar.
#[derive(Default)]
pub(super) struct Entries {
    blobs: BTreeMap<String, Entry>,
    pub(super) held: Held,
}

impl Entries {
    fn add(&mut self, digest: Digest, size: u64, role: Role, needs: Option<Needs>) -> Result<(), Error> {
        let path = blob_path(&digest);
        let entry = match self.blobs.get_mut(&path) {
            Some(entry) if entry.size != size => return Err(Error::TwoSizes(digest)),
            Some(entry) => entry,
            None => {
                let parsed = path.parse().map_err(|_| Error::Unplanned(digest))?;
                let (images, charts) = Default::default();
                self.blobs.entry(path).or_insert(Entry { path: parsed, size, digest, role, images, charts })
            }
        };
        entry.role = entry.role.min(role);
        let (users, user) = match needs {
            Some(Needs::Image(image)) => (&mut entry.images, image),
            Some(Needs::Chart(chart)) => (&mut entry.charts, chart),
            None => return Ok(()),
        };
        if users.last() != Some(&user) {
            users.push(user);
        }
        Ok(())
    }

    /// Adds everything below `root`; returns the nodes, the root last.
    pub(super) fn add_graph<'g>(
        &mut self,
        graph: &'g Graph,
        root: Digest,
        needs: Needs,
        role: impl Fn(&Node, &HashMap<Digest, Role>) -> Role,
    ) -> Result<Vec<&'g Node>, Error> {
        let nodes = graph.below(&root);
        if nodes.last().is_none_or(|last| last.descriptor.digest != root) {
            return Err(Error::NotWalked(root));
        }
        let mut within = HashMap::new();
        for node in &nodes {
            if let Some(config) = node.manifest.as_ref().and_then(|(_, manifest)| manifest.config.as_ref()) {
                within.insert(config.digest, Role::Config);
            }
        }
        for node in nodes.iter().filter(|node| !node.is_foreign()) {
            let descriptor = &node.descriptor;
            self.add(descriptor.digest, descriptor.size, role(node, &within), Some(needs))?;
            self.held.types.insert(descriptor.digest, descriptor.media_type.clone());
            if let Some((raw, _)) = &node.manifest {
                self.held.content.set(descriptor.digest, raw.clone());
            }
        }
        Ok(nodes)
    }

    /// Adds what speaks of an image or chart and returns what the inventory says of it.
    pub(super) fn add_attachment(
        &mut self,
        attachment: PlannedAttachment<'_>,
        needs: Needs,
    ) -> Result<Attachment, Error> {
        let nodes = self.add_graph(attachment.graph, attachment.root, needs, |_, _| Role::Attachment)?;
        let Some(root) = nodes.last() else { return Err(Error::NotWalked(attachment.root)) };
        Ok(Attachment {
            subject: attachment.subject,
            digest: attachment.root,
            media_type: root.descriptor.media_type.clone(),
            size: root.descriptor.size,
            artifact_type: root.manifest.as_ref().and_then(|(_, manifest)| manifest.artifact_type.clone()),
            tag: attachment.tag,
        })
    }
}

fn image_role(node: &Node, within: &HashMap<Digest, Role>) -> Role {
    match &node.manifest {
        Some((_, manifest)) if manifest.kind == ManifestKind::Index => Role::ImageIndex,
        Some(_) => Role::Manifest,
        None => within.get(&node.descriptor.digest).copied().unwrap_or(Role::Layer),
    }
}

impl Draft {
    /// Makes the inventory of a plan. Its bytes depend on the plan's content alone, not on its order.
    ///
    /// # Errors
    /// [`Error::DuplicateName`] and its kin for plans that contradict themselves; [`Error::Inventory`] when the result
    /// is more than a reader accepts.
    pub fn new(mut plan: Plan<'_>) -> Result<Draft, Error> {
        check_word("name", &plan.name)?;
        check_word("version", &plan.version)?;
        for image in &mut plan.images {
            image.references.sort();
            image.references.dedup();
            image.attachments.sort_by(|a, b| (a.subject, &a.tag, a.root).cmp(&(b.subject, &b.tag, b.root)));
            image.attachments.dedup_by(|a, b| (a.subject, &a.tag, a.root) == (b.subject, &b.tag, b.root));
        }
        plan.images.sort_by(|a, b| (a.references.first(), a.root).cmp(&(b.references.first(), b.root)));
        plan.files.sort_by(|a, b| a.path.cmp(&b.path));
        plan.platforms.sort();
        plan.platforms.dedup();
        check_names(&plan.images)?;
        chart::arrange(&mut plan.charts)?;

        let mut entries = Entries::default();
        let mut images = Vec::with_capacity(plan.images.len());
        for (position, image) in plan.images.into_iter().enumerate() {
            images.push(describe(&mut entries, u32::try_from(position).unwrap_or(u32::MAX), image)?);
        }
        let mut charts = Vec::with_capacity(plan.charts.len());
        for (position, chart) in plan.charts.into_iter().enumerate() {
            charts.push(chart::describe(&mut entries, u32::try_from(position).unwrap_or(u32::MAX), chart)?);
        }
        if let Some(pair) = plan.files.windows(2).find(|pair| pair[0].path == pair[1].path) {
            return Err(Error::DuplicateFile(pair[0].path.to_string()));
        }
        let mut files = Vec::with_capacity(plan.files.len());
        for file in plan.files {
            entries.add(file.digest, file.size, file.role, None)?;
            if let Some(content) = file.content {
                entries.held.content.set(file.digest, content);
            }
            let PlannedFile { path, digest, size, role, because, .. } = file;
            files.push(FileEntry { path, digest, size, role, because });
        }
        let lock = plan.lock.as_ref().map(|lock| Digest::sha256(lock));
        if let (Some(digest), Some(lock)) = (lock, plan.lock) {
            entries.add(digest, lock.len() as u64, Role::Lock, None)?;
            entries.held.content.set(digest, lock);
        }
        let mut inventory = Inventory {
            format: FORMAT,
            features: Features::default(),
            name: plan.name,
            version: plan.version,
            sequence: plan.sequence,
            created: plan.created,
            expires: plan.expires,
            tool: plan.tool,
            previous: plan.previous,
            platforms: plan.platforms,
            lock,
            images,
            charts,
            files,
            entries: Vec::new(),
        };
        let index = index_json(&inventory);
        inventory.entries = vec![
            control_entry("oci-layout", Role::Layout, OCI_LAYOUT)?,
            control_entry("index.json", Role::Index, &index)?,
        ];
        inventory.entries.extend(entries.blobs.into_values());
        let bundle = inventory.to_bytes()?;
        // What a reader would refuse is refused here.
        Inventory::parse(Path::new("bundle.json"), &bundle)?;
        Ok(Draft { inventory, index, bundle, held: entries.held })
    }

    /// Returns what `bundle.json` says.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// Returns the bytes of `bundle.json`: what a signature covers.
    pub fn bundle_json(&self) -> &Bytes {
        &self.bundle
    }

    /// Adds the signatures, by file name, and lays out the whole. A name is `bundle.json.sigstore.json`,
    /// `bundle.json.KEY.sigstore.json`, or a file directly in `bundle.sig/`.
    ///
    /// # Errors
    /// [`Error::Name`] for other names or the same one twice, [`Error::Inventory`] for one that is too large.
    pub fn seal(self, mut signatures: Vec<(String, Bytes)>) -> Result<Layout, Error> {
        signatures.sort();
        let twice = signatures.windows(2).find(|pair| pair[0].0 == pair[1].0).map(|pair| &pair[0].0);
        if let Some(bad) = twice.or(signatures.iter().map(|(name, _)| name).find(|name| !signature_path(name))) {
            return Err(Error::Name { what: "signature", text: bad.clone() });
        }
        if signatures.len() > MAX_SIGNATURES || signatures.iter().any(|(_, bytes)| bytes.len() as u64 > MAX_SIGNATURE) {
            return Err(Error::Inventory(super::Fault::TooLarge(MAX_SIGNATURE)));
        }
        Layout::new(Path::new("bundle.json"), self.inventory, self.index, self.bundle, signatures, self.held)
    }
}

fn control_entry(path: &str, role: Role, bytes: &[u8]) -> Result<Entry, Error> {
    let digest = Digest::sha256(bytes);
    let path = path.parse().map_err(|_| Error::Unplanned(digest))?;
    Ok(Entry { path, size: bytes.len() as u64, digest, role, images: Vec::new(), charts: Vec::new() })
}

fn check_names(images: &[PlannedImage<'_>]) -> Result<(), Error> {
    let mut names = HashMap::new();
    let mut roots = std::collections::HashSet::new();
    for image in images {
        if image.references.is_empty() {
            return Err(Error::Nameless(image.root));
        }
        if !roots.insert(image.root) {
            return Err(Error::DuplicateImage(image.root));
        }
        for reference in &image.references {
            let taken = names.insert(reference, image.root);
            let other = taken.or(reference.digest).filter(|other| *other != image.root);
            if let Some(first) = other {
                let reference = Box::new(reference.clone());
                return Err(Error::DuplicateName { reference, first, second: image.root });
            }
        }
    }
    Ok(())
}

fn describe(entries: &mut Entries, position: u32, image: PlannedImage<'_>) -> Result<Image, Error> {
    let derived = image.derived_from.is_some();
    let nodes = entries.add_graph(image.graph, image.root, Needs::Image(position), |node, within| {
        if derived && node.descriptor.digest == image.root { Role::DerivedIndex } else { image_role(node, within) }
    })?;
    let Some(root) = nodes.last() else { return Err(Error::NotWalked(image.root)) };
    // The platform stands in the index that names a manifest, and another image's index may say something else.
    let named: HashMap<Digest, &Platform> = nodes
        .iter()
        .filter_map(|node| node.manifest.as_ref())
        .flat_map(|(_, manifest)| &manifest.manifests)
        .filter_map(|entry| entry.platform.as_ref().map(|platform| (entry.digest, platform)))
        .collect();
    let mut platforms = Vec::new();
    let mut left_out = Vec::new();
    for node in &nodes {
        left_out.extend(node.left_out.iter().map(|one| LeftOut { digest: one.digest, platform: one.platform.clone() }));
        let Some((raw, manifest)) = &node.manifest else { continue };
        let platform = match named.get(&node.descriptor.digest) {
            Some(platform) => Some((*platform).clone()),
            None if node.descriptor.digest == image.root => image.platform.clone(),
            None => None,
        };
        if manifest.kind == ManifestKind::Image && !platform.as_ref().is_some_and(Platform::is_unknown) {
            let children = manifest.children();
            let held = children.iter().filter(|child| !child.media_type.is_foreign());
            let blobs: u64 = held.fold(0, |sum, child| child.size.saturating_add(sum));
            let size = blobs.saturating_add(raw.len() as u64);
            platforms.push(PlatformManifest { platform, digest: node.descriptor.digest, size });
        }
    }
    left_out.retain(|one| !nodes.iter().any(|node| node.descriptor.digest == one.digest));
    platforms.sort_by(|a, b| (&a.platform, a.digest).cmp(&(&b.platform, b.digest)));
    left_out.sort_by(|a, b| (&a.platform, a.digest).cmp(&(&b.platform, b.digest)));
    left_out.dedup();
    let mut attachments = Vec::with_capacity(image.attachments.len());
    for attachment in image.attachments {
        attachments.push(entries.add_attachment(attachment, Needs::Image(position))?);
    }
    Ok(Image {
        references: image.references,
        digest: image.root,
        media_type: root.descriptor.media_type.clone(),
        size: root.descriptor.size,
        platforms,
        left_out,
        derived_from: image.derived_from,
        attachments,
        verified: image.verified,
        because: image.because,
    })
}
