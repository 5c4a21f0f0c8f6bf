//! OCI image layouts: which image of an `index.json` is meant.

use std::{collections::HashMap, path::Path};

use super::{
    Memory,
    local::{LocalError, Places},
};
use crate::{
    files::TarIndex,
    oci::{Algorithm, Descriptor, Digest, Manifest, Reference, annotation, media_type},
};

/// Finds the blobs of a layout in a tar.
pub(super) fn places(index: &TarIndex) -> Places {
    let mut inside = HashMap::new();
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let prefix = format!("blobs/{}/", algorithm.name());
        for name in index.below(&prefix) {
            let digest: Option<Digest> =
                name.strip_prefix(&prefix).and_then(|hex| format!("{}:{hex}", algorithm.name()).parse().ok());
            if let Some(digest) = digest
                && let Some(place) = index.find(name)
            {
                inside.insert(digest, (index.file().clone(), place));
            }
        }
    }
    Places { inside, ..Places::default() }
}

/// Chooses the image: the one of the wanted name, else the only one. An index without names whose entries are the
/// platforms of one image is itself that image; its bytes are then put into `held`.
pub(super) fn choose(
    path: &Path,
    bytes: &bytes::Bytes,
    wanted: Option<&Reference>,
    held: &Memory,
) -> Result<Descriptor, LocalError> {
    let json = |cause: String| LocalError::Json { path: path.to_owned(), entry: "index.json".into(), cause };
    let index = Manifest::parse(Some(&media_type::INDEX.into()), bytes).map_err(|cause| json(cause.to_string()))?;
    let entries: Vec<&Descriptor> = index.manifests.iter().filter(|entry| entry.media_type.is_manifest()).collect();
    if let Some(wanted) = wanted
        && let Some(found) = entries.iter().find(|entry| is_named(entry, wanted))
    {
        return Ok(bare(found));
    }
    let mut digests: Vec<Digest> = entries.iter().map(|entry| entry.digest).collect();
    digests.sort();
    digests.dedup();
    match (&digests[..], &entries[..]) {
        ([_], [only, ..]) => return Ok(bare(only)),
        ([], _) => return Err(LocalError::NotAnImage(path.to_owned())),
        _ => {}
    }
    let nameless = entries.iter().all(|entry| spelled(entry).next().is_none() && entry.platform.is_some());
    if nameless {
        let root = Descriptor::of(media_type::INDEX, bytes);
        held.set(root.digest, bytes.clone());
        return Ok(root);
    }
    let offered = entries.iter().filter_map(|entry| spelled(entry).next()).map(str::to_owned).collect();
    Err(unclear(path, wanted, offered))
}

pub(super) fn unclear(path: &Path, wanted: Option<&Reference>, offered: Vec<String>) -> LocalError {
    let wanted = wanted.map_or_else(|| "anything, because no name was given".to_owned(), ToString::to_string);
    LocalError::Unclear { path: path.to_owned(), wanted, offered }
}

/// The names of an entry, the full one first.
fn spelled(entry: &Descriptor) -> impl Iterator<Item = &str> {
    [annotation::CONTAINERD_NAME, annotation::REF_NAME]
        .into_iter()
        .filter_map(|key| entry.annotations.get(key).map(String::as_str))
}

fn is_named(entry: &Descriptor, wanted: &Reference) -> bool {
    if wanted.digest == Some(entry.digest) {
        return true;
    }
    let plain = Reference { digest: None, ..wanted.clone() }.with_default_tag();
    spelled(entry).any(|name| same_name(name, &plain) || plain.tag.as_ref().is_some_and(|tag| tag.as_str() == name))
}

/// Tells whether a written name is the wanted one, both with their defaults.
pub(super) fn same_name(written: &str, wanted: &Reference) -> bool {
    written.parse::<Reference>().is_ok_and(|name| name.with_default_tag() == *wanted)
}

/// What an index says of an entry beside type, digest and size is about its place there, not about the image.
fn bare(entry: &Descriptor) -> Descriptor {
    Descriptor::new(entry.media_type.clone(), entry.digest, entry.size)
}
