//! What a read-only registry over an archive shows: its charts, its images under the names that loading gives them, what upstream
//! attached to them, what the trusted keys signed about them, and its files.
//!
//! # Invariants
//! - Signatures and file artifacts are made here from verified parts and live in memory; every other byte comes from its
//!   place in the archive.
//! - The same manifests and tags appear as after loading the archive into an empty registry.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::{
    archive::{self, Archive, ArchiveSource, Attachment, CHARTS, Chart, Image},
    error::{Classify, Diagnostic, Kind, Side},
    event::{Event, Observer},
    oci::{Descriptor, Digest, Host, Manifest, ManifestError, Repository, Tag},
    store::{self, Memory, Reader, Source},
    trust::{self, SignatureSet, SignedImage, SimpleSignature, bundle_referrer, signature_manifest, signature_tag},
};

use super::catalogue::{Catalogue, Shown, mirror_name};

/// Says why an archive cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum CarriedError {
    /// A manifest in the archive is damaged.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// A manifest in the archive cannot be read.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A manifest in the archive has another form than its kind.
    #[error("manifest {digest}: {cause}")]
    Manifest {
        /// Which manifest.
        digest: Digest,
        /// Why.
        #[source]
        cause: ManifestError,
    },
    /// The signatures cannot be put in the form in which clients look for them.
    #[error(transparent)]
    Trust(#[from] trust::Error),
}

impl Classify for CarriedError {
    fn kind(&self) -> Kind {
        match self {
            CarriedError::Archive(cause) => cause.kind(),
            CarriedError::Store(cause) => cause.kind(),
            CarriedError::Manifest { .. } => Kind::Corrupt,
            CarriedError::Trust(cause) => cause.kind(),
        }
    }

    fn side(&self) -> Option<Side> {
        match self {
            CarriedError::Archive(cause) => cause.side(),
            CarriedError::Store(cause) => cause.side(),
            _ => None,
        }
    }
}

/// The content of an archive with what was made for serving it.
#[derive(Debug)]
pub struct Carried {
    made: Memory,
    archive: ArchiveSource,
}

impl Source for Carried {
    async fn open(&self, blob: &Descriptor, from: u64, to: u64) -> Result<Reader, store::Error> {
        match self.made.get(&blob.digest) {
            Some(_) => self.made.open(blob, from, to).await,
            None => self.archive.open(blob, from, to).await,
        }
    }
}

/// Gathers what an admitted archive shows, with the signatures of the keys that were trusted when it was admitted. Reads
/// all its manifests. What has no place in a registry is told to the observer.
///
/// # Errors
/// A manifest is damaged, or what upstream calls a signature cannot be read.
pub async fn gather(
    archive: &Archive,
    signatures: &[SignatureSet],
    observer: &dyn Observer,
) -> Result<(Catalogue, Carried), CarriedError> {
    let inventory = archive.inventory();
    let mut counter = Counter { archive, signatures, observer, made: Memory::new(), shown: Vec::new() };
    // Derived indexes are for registries that refuse a sparse one; this one does not.
    let upstream = |(image, _): &(&Image, &SignedImage)| image.derived_from.is_none();
    let signed = inventory.signed_images();
    let (of_images, of_charts) = signed.split_at(inventory.images.len().min(signed.len()));
    for (image, signed) in inventory.images.iter().zip(of_images).filter(upstream) {
        counter.image(image, signed)?;
    }
    for (chart, signed) in inventory.charts.iter().zip(of_charts) {
        counter.chart(chart, signed)?;
    }
    counter.files();
    let Counter { made, shown, .. } = counter;
    let carried = Carried { made, archive: archive.source() };
    let catalogue = Catalogue::gather(&carried, shown).await?;
    Ok((catalogue, carried))
}

/// Where something is shown.
#[derive(PartialEq)]
struct Place {
    name: Repository,
    /// The registry and the repository that it comes from.
    origin: Option<(Host, Repository)>,
}

/// Collects what is shown.
struct Counter<'a> {
    archive: &'a Archive,
    signatures: &'a [SignatureSet],
    observer: &'a dyn Observer,
    made: Memory,
    shown: Vec<Shown>,
}

impl Counter<'_> {
    fn note(&self, code: &'static str, message: String) {
        self.observer.on(&Event::Noted(Diagnostic::warning(code, message)));
    }

    fn show(&mut self, place: &Place, tag: Option<Tag>, root: Descriptor) {
        self.shown.push(Shown { name: place.name.clone(), origin: place.origin.clone(), tag, root });
    }

    fn keep(&self, content: impl IntoIterator<Item = (Descriptor, Bytes)>) {
        for (descriptor, bytes) in content {
            self.made.set(descriptor.digest, bytes);
        }
    }

    fn image(&mut self, image: &Image, signed: &SignedImage) -> Result<(), CarriedError> {
        let root = Descriptor::new(image.media_type.clone(), image.digest, image.size);
        let mut places: Vec<Place> = Vec::new();
        for reference in &image.references {
            let Some(name) = mirror_name(&reference.host, &reference.repository) else {
                self.note("no-name", format!("{reference} has no name that a registry accepts; it is not served"));
                continue;
            };
            let place = Place { name, origin: Some((reference.host.clone(), reference.repository.clone())) };
            self.show(&place, reference.tag.clone(), root.clone());
            if !places.contains(&place) {
                places.push(place);
            }
        }
        self.what_speaks_of_it(&image.attachments, signed, &places)
    }

    fn chart(&mut self, chart: &Chart, signed: &SignedImage) -> Result<(), CarriedError> {
        let name = format!("{CHARTS}/{}", chart.name);
        let (Ok(name), Some(tag)) = (name.parse(), chart.tag()) else {
            // An archive that was admitted holds no such chart.
            self.note("no-name", format!("{name} has no name that a registry accepts; it is not served"));
            return Ok(());
        };
        let place = Place { name, origin: None };
        self.show(&place, Some(tag), Descriptor::new(chart.media_type.clone(), chart.digest, chart.size));
        self.what_speaks_of_it(&chart.attachments, signed, &[place])
    }

    /// Shows our signatures, and what upstream attached.
    fn what_speaks_of_it(
        &mut self,
        attachments: &[Attachment],
        signed: &SignedImage,
        places: &[Place],
    ) -> Result<(), CarriedError> {
        let mut extended = BTreeSet::new();
        for digest in &signed.digests {
            if let Some(upstream) = self.signatures_of(attachments, *digest, places)? {
                extended.insert(upstream);
            }
        }
        for attachment in attachments.iter().filter(|attachment| !extended.contains(&attachment.digest)) {
            let root = Descriptor::new(attachment.media_type.clone(), attachment.digest, attachment.size);
            for place in places {
                self.show(place, attachment.tag.clone(), root.clone());
            }
        }
        Ok(())
    }

    /// Shows what the trusted keys signed about a digest, together with what upstream had signed; returns upstream's
    /// signature manifest when it was extended.
    fn signatures_of(
        &mut self,
        attachments: &[Attachment],
        digest: Digest,
        places: &[Place],
    ) -> Result<Option<Digest>, CarriedError> {
        let ours: Vec<_> = self.signatures.iter().filter_map(|set| set.of_image(&digest)).collect();
        if ours.is_empty() {
            return Ok(None);
        }
        let simple: Vec<SimpleSignature> = ours.iter().flat_map(|one| one.simple.iter().cloned()).collect();
        let mut extended = None;
        if let (false, Ok(tag)) = (simple.is_empty(), signature_tag(&digest).parse::<Tag>()) {
            let upstream = attachments.iter().find(|one| one.tag.as_ref() == Some(&tag)).map(|one| one.digest);
            let existing = upstream.map(|upstream| self.manifest(&upstream)).transpose()?;
            let merged = signature_manifest(existing.as_deref(), &simple)?;
            extended = upstream;
            for place in places {
                self.show(place, Some(tag.clone()), merged.manifest.0.clone());
            }
            self.keep(merged.blobs);
            self.keep([merged.manifest]);
        }
        let bytes = self.manifest(&digest)?;
        let view = Manifest::parse(None, &bytes).map_err(|cause| CarriedError::Manifest { digest, cause })?;
        let subject = Descriptor::new(view.media_type, digest, bytes.len() as u64);
        for one in &ours {
            let referrer = bundle_referrer(&subject, &one.bundle, None);
            for place in places {
                self.show(place, None, referrer.manifest.0.clone());
            }
            self.keep(referrer.blobs);
            self.keep([referrer.manifest]);
        }
        Ok(extended)
    }

    fn manifest(&self, digest: &Digest) -> Result<Bytes, CarriedError> {
        Ok(self.archive.read(digest, Manifest::MAX_BYTES as u64)?)
    }

    fn files(&mut self) {
        let inventory = self.archive.inventory();
        for (name, artifact) in inventory.file_artifacts() {
            match format!("files/{name}").parse::<Repository>() {
                Ok(repository) => {
                    let (tag, root) = (Some(inventory.version_tag()), artifact.manifest.0.clone());
                    self.shown.push(Shown { name: repository, origin: None, tag, root });
                    self.keep([artifact.manifest, artifact.config]);
                }
                Err(cause) => self.note("no-name", format!("the files {name:?} are not served: {cause}")),
            }
        }
    }
}
