//! What `docker save` writes: `manifest.json`, a configuration for each image, and layers by path.
//!
//! There is no OCI manifest in it, so one is made, the same for the same content: it has a digest of its own, which no
//! registry has seen before.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::Arc,
};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;

use super::{
    layout::{same_name, unclear},
    local::{LocalError, MAX_JSON, Places},
};
use crate::{
    files::{Place, Positional, TarIndex, blocking},
    oci::{Descriptor, Digest, Hasher, Reference, media_type},
};

/// How many layers are hashed at the same time.
const HASHERS: usize = 4;

/// How much is read at once.
const READ: usize = 256 << 10;

/// How many layers an image may have; container runtimes stop at 127.
const MAX_LAYERS: usize = 1000;

#[derive(Deserialize)]
struct Saved {
    #[serde(rename = "Config")]
    config: String,
    #[serde(rename = "RepoTags", default)]
    repo_tags: Option<Vec<String>>,
    #[serde(rename = "Layers", default)]
    layers: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<Digest>,
}

/// Describes the wanted image of a `docker save` tar.
pub(super) async fn docker_save(
    index: TarIndex,
    wanted: Option<&Reference>,
) -> Result<(Descriptor, Places), LocalError> {
    let path = index.file().path().to_owned();
    let json = |entry: &str, cause: String| LocalError::Json { path: path.clone(), entry: entry.to_owned(), cause };
    let missing = |entry: &str| LocalError::Missing { path: path.clone(), entry: entry.to_owned() };
    let document = index.read_file("manifest.json", MAX_JSON)?.ok_or_else(|| LocalError::NotAnImage(path.clone()))?;
    let saved: Vec<Saved> =
        serde_json::from_slice(&document).map_err(|error| json("manifest.json", error.to_string()))?;
    let image = choose(&path, saved, wanted)?;
    let raw = index.read_file(&image.config, MAX_JSON)?.ok_or_else(|| missing(&image.config))?;
    let config: Config = serde_json::from_slice(&raw).map_err(|error| json(&image.config, error.to_string()))?;
    let names = image.layers.unwrap_or_default();
    let diff_ids = config.rootfs.diff_ids;
    if names.len() != diff_ids.len() || names.len() > MAX_LAYERS {
        let cause = format!("{} layers, but the configuration {} has {}", names.len(), image.config, diff_ids.len());
        return Err(json("manifest.json", cause));
    }
    let mut unique: HashSet<Place> = HashSet::new();
    let mut places = Vec::with_capacity(names.len());
    for name in &names {
        let place = index.find(name).ok_or_else(|| missing(name))?;
        unique.insert(place);
        places.push(place);
    }
    let hashed: HashMap<Place, (&'static str, Digest)> = stream::iter(unique)
        .map(|place| {
            let file = index.file().clone();
            async move { Ok::<_, LocalError>((place, describe(file, place).await?)) }
        })
        .buffer_unordered(HASHERS)
        .try_collect()
        .await?;
    let mut inside = HashMap::new();
    let mut layers = Vec::with_capacity(places.len());
    for ((place, expected), name) in places.iter().zip(&diff_ids).zip(&names) {
        let (kind, actual) = hashed.get(place).ok_or_else(|| missing(name))?;
        // A compressed layer hashes to something else than the list of uncompressed ones says.
        if *kind == media_type::LAYER && actual != expected {
            let (expected, actual) = (*expected, *actual);
            return Err(LocalError::Layer { path: path.clone(), entry: name.clone(), expected, actual });
        }
        inside.insert(*actual, (index.file().clone(), *place));
        layers.push(Descriptor::new(*kind, *actual, place.size));
    }
    let places = Places { inside, ..Places::default() };
    let config = places.held.add(media_type::CONFIG, raw);
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type::MANIFEST,
        "config": config,
        "layers": layers,
    });
    let root = places.held.add(media_type::MANIFEST, manifest.to_string());
    Ok((root, places))
}

fn choose(path: &Path, saved: Vec<Saved>, wanted: Option<&Reference>) -> Result<Saved, LocalError> {
    let plain = wanted.map(|wanted| Reference { digest: None, ..wanted.clone() }.with_default_tag());
    let named = plain.as_ref().and_then(|plain| {
        saved.iter().position(|one| one.repo_tags.iter().flatten().any(|name| same_name(name, plain)))
    });
    let at = match (named, saved.len()) {
        (Some(at), _) => at,
        (None, 1) => 0,
        (None, 0) => return Err(LocalError::NotAnImage(path.to_owned())),
        (None, _) => {
            let offered = saved.into_iter().flat_map(|one| one.repo_tags.unwrap_or_default()).collect();
            return Err(unclear(path, wanted, offered));
        }
    };
    saved.into_iter().nth(at).ok_or_else(|| LocalError::NotAnImage(path.to_owned()))
}

/// Hashes a layer and looks at how it is compressed.
async fn describe(file: Arc<Positional>, place: Place) -> Result<(&'static str, Digest), LocalError> {
    blocking(move || {
        let mut hasher: Hasher = crate::oci::Algorithm::Sha256.hasher();
        let mut buffer = vec![0; READ];
        let (mut at, end) = (place.offset, place.offset + place.size);
        let mut kind = media_type::LAYER;
        while at < end {
            let n = usize::try_from(end - at).unwrap_or(READ).min(READ);
            file.read_exact_at(&mut buffer[..n], at)?;
            if at == place.offset {
                // RFC 1952, section 2.3.1; RFC 8878, section 3.1.1.
                kind = match buffer[..n] {
                    [0x1f, 0x8b, ..] => media_type::LAYER_GZIP,
                    [0x28, 0xb5, 0x2f, 0xfd, ..] => media_type::LAYER_ZSTD,
                    _ => media_type::LAYER,
                };
            }
            hasher.update(&buffer[..n]);
            at += n as u64;
        }
        Ok((kind, hasher.finish()))
    })
    .await
}
