//! What was loaded last: kept in the target registry and on the loading machine; the larger sequence counts.
//!
//! The record in the registry is an artifact `bundle-state:NAME`: what was done, and the signed `bundle.json` itself, so that
//! nobody who can write to the registry can invent a sequence. Each record names the one before, which keeps a tag of its
//! own, `NAME.before-…`, so that no garbage collection takes it: `rollback` follows this chain.
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
    archive::{Control, Inventory, Time},
    files,
    names::Layout,
    oci::{Descriptor, Digest, Manifest, Tag, media_type},
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
    /// The record before this one, in the same repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_record: Option<Digest>,
    /// How names were made.
    pub layout: String,
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

/// What is read of an earlier receipt. Everything else about it follows from the signed `bundle.json` beside it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Written {
    pub previous_record: Option<Digest>,
    pub layout: Option<String>,
    #[serde(default)]
    pub loaded_at: u64,
}

/// `bundle.json` and the files that sign it, by name: what a record holds of an archive.
#[derive(Clone, Debug)]
pub struct Signed {
    bundle: Bytes,
    signatures: Vec<(String, Bytes)>,
}

impl Signed {
    fn digest(&self) -> Digest {
        Digest::sha256(&self.bundle)
    }
}

impl From<&Control> for Signed {
    fn from(control: &Control) -> Self {
        Signed { bundle: control.bundle.clone(), signatures: control.signatures.clone() }
    }
}

/// A record as it lies in the registry.
#[derive(Clone, Debug)]
pub struct Past {
    pub(super) raw: RawManifest,
    pub(super) control: Signed,
    pub(super) inventory: Inventory,
    pub(super) written: Written,
}

/// What came before a load: as far as is known by machine or registry, and the record that the registry holds.
#[derive(Clone, Debug, Default)]
pub struct Before {
    /// What was loaded last.
    pub last: Option<LastLoaded>,
    /// The record in the registry, when a trusted key signed it.
    pub record: Option<Past>,
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
) -> Result<Before, Error> {
    let mut last: Option<LastLoaded> = None;
    if let Some(folder) = state {
        let state = read_state(folder, target)?;
        last = state.bundles.get(name).map(|remembered| LastLoaded {
            bundle_json: remembered.bundle,
            sequence: remembered.sequence,
            newest_created: timestamp(state.newest_created),
        });
    }
    // Signed by a key that is not trusted any more, a record still warns nobody of anything: it is none.
    let trusted = |past: &Past| policy.is_none_or(|policy| past.verify(policy).is_ok()) && past.inventory.name == name;
    let record = read(remote, &By::Tag(version_tag(name))).await?.filter(trusted);
    if let Some(past) = &record {
        let there = past.last_loaded();
        if last.as_ref().is_none_or(|known| known.sequence < there.sequence) {
            let newest_created =
                last.map_or(there.newest_created, |known| known.newest_created.max(there.newest_created));
            last = Some(LastLoaded { newest_created, ..there });
        }
    }
    Ok(Before { last, record })
}

/// Reads a record; none when there is none.
///
/// # Errors
/// [`Error::Record`] when it is something else; failures of the registry.
pub(super) async fn read(remote: &Remote, by: &By) -> Result<Option<Past>, Error> {
    let bad = |why: String| Error::Record { place: format!("{}/{}:{by}", remote.host(), remote.repository()), why };
    let raw = match remote.manifest(by).await {
        Ok(raw) => raw,
        Err(registry::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let manifest =
        Manifest::parse(Some(&raw.descriptor.media_type), &raw.bytes).map_err(|error| bad(error.to_string()))?;
    let (mut bundle, mut written) = (None, None);
    let mut signatures: Vec<(String, Bytes)> = Vec::new();
    for layer in &manifest.layers {
        if layer.media_type.as_str() == RECEIPT_TYPE {
            written = Some(read_manifest(remote, layer).await?);
            continue;
        }
        let Some(title) = layer.annotations.get(TITLE) else { continue };
        if layer.media_type.as_str() != CONTROL_TYPE {
            continue;
        }
        let bytes = read_manifest(remote, layer).await?;
        if title == "bundle.json" {
            bundle = Some(bytes);
        } else {
            signatures.push((title.clone(), bytes));
        }
    }
    let Some(bundle) = bundle else { return Err(bad("it holds no bundle.json".to_owned())) };
    let Some(written) = written else { return Err(bad("it holds no receipt".to_owned())) };
    let written = serde_json::from_slice(&written).map_err(|error| bad(error.to_string()))?;
    let inventory = Inventory::parse(Path::new("the record"), &bundle).map_err(|error| bad(error.to_string()))?;
    Ok(Some(Past { raw, control: Signed { bundle, signatures }, inventory, written }))
}

impl Past {
    /// Returns what was loaded.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// Returns the signed documents that it holds.
    pub fn signed(&self) -> &Signed {
        &self.control
    }

    /// Returns when, in seconds since 1970 by the clock of the machine that loaded it.
    pub fn loaded_at(&self) -> u64 {
        self.written.loaded_at
    }

    /// Checks who signed the `bundle.json` that the record holds.
    ///
    /// # Errors
    /// Those of [`trust::verify_control`].
    pub fn verify(&self, policy: &Policy) -> Result<trust::Verdict, trust::Error> {
        let named = |(name, bytes): &(String, Bytes)| Some((name.parse::<RelPath>().ok()?, bytes.clone()));
        // A name that no archive can have is left out, and the signature with it.
        let files: Vec<(RelPath, Bytes)> = self.control.signatures.iter().filter_map(named).collect();
        trust::verify_control(policy, &self.control.bundle, &files)
    }

    /// Returns what it says, for the rules of freshness.
    pub fn last_loaded(&self) -> LastLoaded {
        LastLoaded {
            bundle_json: self.control.digest(),
            sequence: self.inventory.sequence,
            newest_created: timestamp(self.inventory.created.seconds()),
        }
    }

    /// Returns the same as what an archive says about itself.
    pub fn facts(&self) -> trust::ArchiveFacts {
        facts(&self.inventory, self.control.digest())
    }
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
    pub before: &'a Before,
    /// How names were made.
    pub layout: Layout,
    /// This machine's clock, in seconds since 1970.
    pub now: u64,
    /// Why an older archive was allowed.
    pub rollback_reason: Option<String>,
}

/// Writes the record of a load: into the registry, then on this machine.
///
/// # Errors
/// Failures of registry and disk.
pub async fn write(
    record: Record<'_>,
    inventory: &Inventory,
    control: &Signed,
    loaded: &Loaded,
) -> Result<Receipt, Error> {
    let Record { remote, target, state, before, layout, now, rollback_reason } = record;
    let last = before.last.as_ref().map(|last| last.bundle_json);
    // The same again adds nothing to the chain; the record before stays the one before.
    let previous_record = match &before.record {
        Some(past) if past.control.digest() == control.digest() => past.written.previous_record,
        Some(past) => Some(past.raw.descriptor.digest),
        None => None,
    };
    let receipt = Receipt {
        api_version: "airgap-bundler/v1",
        kind: "Receipt",
        name: inventory.name.clone(),
        version: inventory.version.clone(),
        sequence: inventory.sequence,
        bundle: control.digest(),
        previous: last.filter(|last| *last != control.digest()),
        previous_record,
        layout: layout.to_string(),
        loaded_at: now,
        rollback_reason,
        images: loaded.images.clone(),
        charts: loaded.charts.clone(),
    };
    if let Some(past) = before.record.as_ref().filter(|past| Some(past.raw.descriptor.digest) == previous_record) {
        remote.put_manifest(&past.raw, Some(&history_tag(&inventory.name, &past.raw.descriptor.digest))).await?;
    }
    push(remote, &receipt, control, last.is_none()).await?;
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

/// Stands between the name of a bundle and the record that was written before the last one.
const BEFORE: &str = ".before-";

/// Returns the tag under which an earlier record is kept: with 64 bits of its digest, well below the 128 characters that a
/// tag may have (distribution specification, "Pulling manifests").
fn history_tag(name: &str, record: &Digest) -> Tag {
    let name: String = version_tag(name).as_str().chars().take(100).collect();
    let hex = record.hex();
    version_tag(&format!("{name}{BEFORE}{}", hex.get(..16).unwrap_or(&hex)))
}

/// Returns the names of the bundles that were loaded into the repository of records.
///
/// # Errors
/// Failures of the registry.
pub async fn names(remote: &Remote) -> Result<Vec<String>, Error> {
    let tags = match remote.tags().await {
        Ok(tags) => tags,
        Err(registry::Error::NotFound { .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    Ok(tags.iter().map(Tag::as_str).filter(|tag| !tag.contains(BEFORE)).map(str::to_owned).collect())
}

async fn push(remote: &Remote, receipt: &Receipt, control: &Signed, first: bool) -> Result<(), Error> {
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

/// Returns what a verified `bundle.json` of this digest says about itself, for the rules of freshness.
pub fn facts(inventory: &Inventory, bundle_json: Digest) -> trust::ArchiveFacts {
    let at = |time: Time| timestamp(time.seconds());
    trust::ArchiveFacts {
        bundle_json,
        sequence: inventory.sequence,
        created: at(inventory.created),
        expires: inventory.expires.map(at),
        base: None,
        audience: None,
    }
}
