//! What was loaded last: kept in the target registry and on the loading machine; the larger sequence counts.
//!
//! The record in the registry is an artifact `bundle-state:NAME`: what was done, and the signed `bundle.json` itself, so that
//! nobody who can write to the registry can invent a sequence.
//!
//! # Invariants
//! - Written after the last tag; a load that failed leaves the record of the one before.
//! - A record in the registry counts only when its signature holds, or when verification is skipped anyway.

use std::{collections::BTreeMap, path::Path};

use bytes::Bytes;
use futures_util::{TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Error, Loaded, plan::version_tag};
use crate::{
    archive::{Archive, Control, Time},
    files,
    oci::{Descriptor, Digest, Manifest, media_type},
    registry::{self, By, RawManifest, Remote},
    store::{Memory, Sink, read_manifest},
    tree::RelPath,
    trust::{self, LastLoaded, Policy},
};

/// The type of the artifact, and of what was done.
const RECEIPT_TYPE: &str = "application/vnd.airgap-bundler.receipt.v1+json";
/// The type of a control file of the archive.
const CONTROL_TYPE: &str = "application/vnd.airgap-bundler.control.v1";
/// Tells the name of a control file.
const TITLE: &str = "org.opencontainers.image.title";
/// The largest record on this machine that is read.
const MAX_STATE: u64 = 1 << 20;

/// What a load did.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The version of the document.
    pub api_version: &'static str,
    /// What it is.
    pub kind: &'static str,
    /// The name of the bundle.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its sequence.
    pub sequence: u64,
    /// The digest of its `bundle.json`.
    pub bundle: Digest,
    /// The `bundle.json` that was loaded before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// When, in seconds since 1970 by the loading machine's clock.
    pub loaded_at: u64,
    /// Why an older archive was allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback_reason: Option<String>,
    /// The images as they are now.
    pub images: Vec<super::push::LoadedImage>,
    /// The charts as they are now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub charts: Vec<super::push::LoadedChart>,
}

/// What this machine remembers, by name of the bundle.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct State {
    /// The newest creation time of all archives that were accepted, in seconds since 1970.
    newest_created: u64,
    bundles: BTreeMap<String, Remembered>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Remembered {
    bundle: Digest,
    sequence: u64,
}

fn timestamp(seconds: u64) -> jiff::Timestamp {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .unwrap_or(jiff::Timestamp::MAX)
}

/// Where the memory of one target is, below the state folder.
fn state_path(folder: &Path, target: &str) -> std::path::PathBuf {
    let name: String =
        target.chars().map(|c| if c.is_ascii_alphanumeric() || ".-".contains(c) { c } else { '_' }).collect();
    folder.join(format!("loaded-{name}.json"))
}

fn read_state(folder: &Path, target: &str) -> Result<State, Error> {
    let path = state_path(folder, target);
    match files::read_limited(&path, MAX_STATE) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(|error| Error::Record { place: path.display().to_string(), why: error.to_string() }),
        Err(error) if error.is_missing() => Ok(State::default()),
        Err(error) => Err(error.into()),
    }
}

/// Returns what was loaded last under this name into this target, as far as this machine or the registry remembers.
///
/// # Errors
/// [`Error::Record`] for a record that cannot be read; failures of registry and disk.
pub async fn last_loaded(
    remote: &Remote,
    target: &str,
    state: Option<&Path>,
    name: &str,
    policy: Option<&Policy>,
) -> Result<Option<LastLoaded>, Error> {
    let mut last: Option<LastLoaded> = None;
    if let Some(folder) = state {
        let state = read_state(folder, target)?;
        last = state.bundles.get(name).map(|remembered| LastLoaded {
            bundle_json: remembered.bundle,
            sequence: remembered.sequence,
            newest_created: timestamp(state.newest_created),
        });
    }
    if let Some(there) = in_registry(remote, name, policy).await?
        && last.as_ref().is_none_or(|known| known.sequence < there.sequence)
    {
        let newest_created = last.map_or(there.newest_created, |known| known.newest_created.max(there.newest_created));
        last = Some(LastLoaded { newest_created, ..there });
    }
    Ok(last)
}

async fn in_registry(remote: &Remote, name: &str, policy: Option<&Policy>) -> Result<Option<LastLoaded>, Error> {
    let bad = |why: String| Error::Record { place: format!("{}/{}:{name}", remote.host(), remote.repository()), why };
    let raw = match remote.manifest(&By::Tag(version_tag(name))).await {
        Ok(raw) => raw,
        Err(registry::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let manifest =
        Manifest::parse(Some(&raw.descriptor.media_type), &raw.bytes).map_err(|error| bad(error.to_string()))?;
    let mut bundle = None;
    let mut signatures: Vec<(RelPath, Bytes)> = Vec::new();
    for layer in &manifest.layers {
        let Some(title) = layer.annotations.get(TITLE) else { continue };
        if layer.media_type.as_str() != CONTROL_TYPE {
            continue;
        }
        let bytes = read_manifest(remote, layer).await?;
        if title == "bundle.json" {
            bundle = Some(bytes);
        } else {
            signatures.push((title.parse().map_err(|error| bad(format!("{error}")))?, bytes));
        }
    }
    let Some(bundle) = bundle else { return Err(bad("it holds no bundle.json".to_owned())) };
    if let Some(policy) = policy {
        // Signed by a key that is not trusted any more, it still warns nobody of anything: it is no record.
        let _verdict = match trust::verify_control(policy, &bundle, &signatures) {
            Ok(verdict) => verdict,
            Err(_) => return Ok(None),
        };
    }
    let inventory =
        crate::archive::Inventory::parse(Path::new("the record"), &bundle).map_err(|error| bad(error.to_string()))?;
    Ok((inventory.name == name).then(|| LastLoaded {
        bundle_json: Digest::sha256(&bundle),
        sequence: inventory.sequence,
        newest_created: timestamp(inventory.created.seconds()),
    }))
}

/// Where a record is written, and what goes into it beside the load itself.
pub struct Record<'a> {
    /// The repository of records.
    pub remote: &'a Remote,
    /// The target as the user wrote it.
    pub target: &'a str,
    /// The folder where this machine remembers.
    pub state: Option<&'a Path>,
    /// What was loaded before.
    pub previous: Option<&'a LastLoaded>,
    /// This machine's clock, in seconds since 1970.
    pub now: u64,
    /// Why an older archive was allowed.
    pub rollback_reason: Option<String>,
}

/// Writes the record of a load: into the registry, then on this machine.
///
/// # Errors
/// Failures of registry and disk.
pub async fn write(record: Record<'_>, archive: &Archive, loaded: &Loaded) -> Result<Receipt, Error> {
    let Record { remote, target, state, previous, now, rollback_reason } = record;
    let inventory = archive.inventory();
    let control = archive.control();
    let receipt = Receipt {
        api_version: "airgap-bundler/v1",
        kind: "Receipt",
        name: inventory.name.clone(),
        version: inventory.version.clone(),
        sequence: inventory.sequence,
        bundle: control.digest(),
        previous: previous.map(|last| last.bundle_json).filter(|before| *before != control.digest()),
        loaded_at: now,
        rollback_reason,
        images: loaded.images.clone(),
        charts: loaded.charts.clone(),
    };
    push(remote, &receipt, control, previous.is_none()).await?;
    if let Some(folder) = state {
        let mut state = read_state(folder, target)?;
        state.newest_created = state.newest_created.max(inventory.created.seconds());
        let remembered = Remembered { bundle: control.digest(), sequence: inventory.sequence };
        state.bundles.insert(inventory.name.clone(), remembered);
        let text = serde_json::to_vec_pretty(&state)
            .map_err(|error| Error::Record { place: folder.display().to_string(), why: error.to_string() })?;
        files::create_folder(folder)?;
        files::atomic_write(&state_path(folder, target), &text)?;
    }
    Ok(receipt)
}

async fn push(remote: &Remote, receipt: &Receipt, control: &Control, first: bool) -> Result<(), Error> {
    let memory = Memory::new();
    let text = serde_json::to_vec(receipt)
        .map_err(|error| Error::Record { place: "the receipt".into(), why: error.to_string() })?;
    let config = memory.add(media_type::EMPTY, Bytes::from_static(b"{}"));
    let mut layers = vec![memory.add(RECEIPT_TYPE, text)];
    let named = std::iter::once(("bundle.json", &control.bundle))
        .chain(control.signatures.iter().map(|(name, bytes)| (name.as_str(), bytes)));
    for (name, bytes) in named {
        let mut layer = memory.add(CONTROL_TYPE, bytes.clone());
        layer.annotations.insert(TITLE.to_owned(), name.to_owned());
        layers.push(layer);
    }
    // Before the first load of a bundle none of this is there, and its first layer says when it was made, so that nobody
    // ever has it yet.
    let fresh = remote.clone().assume_empty();
    stream::iter(layers.iter().chain([&config]).enumerate().map(Ok::<_, Error>))
        .try_for_each_concurrent(None, async |(at, blob)| {
            let blob = Descriptor::new(blob.media_type.clone(), blob.digest, blob.size);
            let remote = if first || at == 0 { &fresh } else { remote };
            if !remote.has(&blob).await? {
                remote.put(&blob, &memory, &|_| {}).await?;
            }
            Ok(())
        })
        .await?;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type::MANIFEST, "artifactType": RECEIPT_TYPE, "config": config, "layers": layers,
    });
    let raw = RawManifest::new(media_type::MANIFEST, manifest.to_string());
    Ok(remote.put_manifest(&raw, Some(&version_tag(&receipt.name))).await?)
}

/// Returns what an archive says about itself, for the rules of freshness.
pub fn facts(archive: &Archive) -> trust::ArchiveFacts {
    let inventory = archive.inventory();
    let at = |time: Time| timestamp(time.seconds());
    trust::ArchiveFacts {
        bundle_json: archive.control().digest(),
        sequence: inventory.sequence,
        created: at(inventory.created),
        expires: inventory.expires.map(at),
        base: None,
        audience: None,
    }
}
