//! Tag → digest.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};

use super::{Error, Job, WantedImage};
use crate::{
    error::{Classify, Diagnostic, Kind, Side},
    event::{Event, Phase},
    lock::LockedImage,
    oci::{Descriptor, Reference, Tag},
    registry::By,
    store,
};

/// Pins every image; those that the lock before pinned, from the same place, keep their digest.
pub(super) async fn pin(job: &Job<'_>, wanted: &BTreeMap<Reference, WantedImage>) -> Result<Vec<LockedImage>, Error> {
    job.observer.on(&Event::Planned { phase: Phase::Resolve, items: wanted.len() as u64, bytes: 0 });
    let results: Vec<Result<LockedImage, (Kind, Diagnostic)>> = stream::iter(wanted)
        .map(async |(reference, image)| {
            let pinned = one(job, reference, image).await;
            job.observer.on(&Event::Done { phase: Phase::Resolve, item: reference.to_string(), bytes: 0 });
            pinned
        })
        .buffered(job.jobs.max(1))
        .collect()
        .await;
    let mut images = Vec::with_capacity(results.len());
    let mut failures = Vec::new();
    for result in results {
        match result {
            Ok(image) => images.push(image),
            Err(failure) => failures.push(failure),
        }
    }
    if failures.is_empty() { Ok(images) } else { Err(Error::of("images that cannot be pinned", failures)) }
}

async fn one(job: &Job<'_>, reference: &Reference, image: &WantedImage) -> Result<LockedImage, (Kind, Diagnostic)> {
    let locked = |root: Descriptor| LockedImage {
        image: reference.clone(),
        digest: root.digest,
        media_type: root.media_type,
        size: root.size,
        from: image.from.clone(),
        archive: image.archive.clone(),
        verified: Vec::new(),
        because: image.because.clone(),
    };
    let failed = |error: &dyn Classify| {
        let why = image.because.first().map(|reason| format!("wanted by {reason}"));
        let mut diagnostic = Diagnostic::error("pin", format!("{reference}: {error}"));
        diagnostic.hint = why;
        (error.kind(), diagnostic)
    };
    if let Some(archive) = &image.archive {
        let opened = store::open_image(&job.folder.join(archive), Some(reference)).await;
        return opened.map(|(root, _)| locked(root)).map_err(|error| failed(&error));
    }
    let kept = job.previous.filter(|_| !job.update.moves(reference)).and_then(|previous| {
        previous
            .images
            .iter()
            .find(|before| before.image == *reference && before.from == image.from && before.archive.is_none())
    });
    if let Some(before) = kept {
        return Ok(locked(Descriptor::new(before.media_type.clone(), before.digest, before.size)));
    }
    let from = image.from.as_ref().unwrap_or(reference);
    let remote = job.registries.repository(&from.host, &from.repository, Side::Source);
    let by = match (&from.digest, &from.tag) {
        (Some(digest), _) => By::Digest(*digest),
        (None, Some(tag)) => By::Tag(tag.clone()),
        (None, None) => By::Tag(Tag::latest()),
    };
    let raw = remote.manifest(&by).await.map_err(|error| failed(&error))?;
    Ok(locked(raw.descriptor))
}
