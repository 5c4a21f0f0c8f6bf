//! A Helm repository over HTTP (`helm repo add`), made of the charts that a registry holds. What was loaded under a prefix is
//! a repository of its own, `http://HOST/PREFIX`.
//!
//! ```text
//!  charts/NAME:TAG ─ manifest ─ config ─→ an entry of /index.yaml
//!                        └ layers ──────→ /charts/NAME-VERSION.tgz, /charts/NAME-VERSION.tgz.prov
//! ```
//!
//! # Invariants
//! - Shown is what helm itself would find in the registry: a manifest with helm's configuration, in the repository of its
//!   name, under the tag of its version. Everything else under `charts/` is left out.
//! - The index follows from the content alone, so an archive always has the same one.
//! - Files are the registry's blobs: verified, by range, with the same access rules.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use futures_util::TryStreamExt;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    archive::{CHARTS, Time},
    helm::{metadata::Metadata, package, semver::Version},
    oci::{Descriptor, Digest, Manifest, Repository, Tag},
    yaml,
};

use super::{
    api::{Asked, Registry, plain, with},
    backend::{Backend, Stored},
    pull::is_unchanged,
    refusal::Refusal,
    route::Which,
};

/// The largest configuration that is read: many times the largest `Chart.yaml` with its annotations.
const MAX_CONFIG: u64 = 1 << 20;

/// The longest name of a file: a repository name (255) and a tag (128) with what stands between and behind.
const MAX_FILE: usize = 400;

/// How many charts are remembered; the content of a digest never changes, so nothing has to be forgotten before.
const REMEMBERED: usize = 100_000;

/// The annotation that tells when an artifact was made (image specification, "Pre-Defined Annotation Keys").
const CREATED: &str = "org.opencontainers.image.created";

/// Remembers which manifests are charts.
pub(super) struct Charts {
    created: Option<Timestamp>,
    known: Mutex<HashMap<Digest, Option<Arc<Found>>>>,
}

/// What a manifest says, when it is a chart.
struct Found {
    name: String,
    version: String,
    order: Version,
    metadata: Value,
    archive: Descriptor,
    provenance: Option<Descriptor>,
    created: Timestamp,
}

impl Charts {
    pub(super) fn new(created: Option<Time>) -> Charts {
        let created = created.and_then(|time| Timestamp::from_second(i64::try_from(time.seconds()).ok()?).ok());
        Charts { created, known: Mutex::default() }
    }
}

impl<B: Backend> Registry<B> {
    /// Answers with the index of all charts, the newest version of each first.
    pub(super) async fn chart_index(&self, prefix: &str, asked: &Asked<'_>) -> Result<Response, Refusal> {
        let mut entries: BTreeMap<String, Vec<Arc<Found>>> = BTreeMap::new();
        let folder = format!("{prefix}{CHARTS}/");
        let names = self.backend.repositories().await?;
        for name in names.iter().filter_map(|name| name.strip_prefix(&folder)).filter(|name| !name.contains('/')) {
            let Ok(repository) = format!("{folder}{name}").parse::<Repository>() else { continue };
            for tag in absent_is_none(self.backend.tags(&repository).await)?.unwrap_or_default() {
                // A tag that names no chart of this version is none that helm would look for.
                if let Some(found) = self.chart(name, &repository, &tag).await? {
                    entries.entry(name.to_owned()).or_default().push(found);
                }
            }
        }
        // Whoever mistyped the prefix would otherwise add a repository without charts.
        if entries.is_empty() && !prefix.is_empty() {
            return Err(Refusal::NameUnknown(format!("{}{CHARTS}", prefix.chars().take(MAX_FILE).collect::<String>())));
        }
        let newest = entries.values().flatten().map(|found| found.created).max();
        let generated = newest.or(self.charts.created).unwrap_or(Timestamp::UNIX_EPOCH);
        for versions in entries.values_mut() {
            versions.sort_by(|a, b| newest_first(a, b));
        }
        let entries: serde_json::Map<String, Value> = entries
            .into_iter()
            .map(|(name, versions)| (name, versions.iter().map(|found| found.entry()).collect()))
            .collect();
        // The API version first, as `helm repo index` writes it.
        let index = json!({"apiVersion": "v1", "entries": entries, "generated": generated.to_string()});
        let text = yaml::to_text(&index).map_err(|_| Refusal::Damaged { record: "index.yaml".to_owned() })?;
        Ok(document(text, "application/yaml", asked))
    }

    /// Answers with the archive of a chart, `NAME-VERSION.tgz`, or its provenance file.
    pub(super) async fn chart_file(&self, prefix: &str, file: &str, asked: &Asked<'_>) -> Result<Response, Refusal> {
        let unknown = || Refusal::NameUnknown(file.chars().take(MAX_FILE).collect());
        if file.len() > MAX_FILE {
            return Err(unknown());
        }
        let (title, is_provenance) = match file.strip_suffix(".tgz.prov") {
            Some(title) => (title, true),
            None => (file.strip_suffix(".tgz").ok_or_else(unknown)?, false),
        };
        // Names and versions both may hold a hyphen.
        for (at, _) in title.match_indices('-') {
            let (name, version) = (&title[..at], &title[at + 1..]);
            let (Ok(repository), Some(tag), Ok(_)) = (
                format!("{prefix}{CHARTS}/{name}").parse::<Repository>(),
                package::tag(version),
                Version::parse(version),
            ) else {
                continue;
            };
            let Some(found) = self.chart(name, &repository, tag.as_str()).await? else { continue };
            if found.version != version {
                continue;
            }
            let (blob, media_type) = match is_provenance {
                false => (&found.archive, "application/gzip"),
                true => (found.provenance.as_ref().ok_or_else(unknown)?, "text/plain; charset=utf-8"),
            };
            let mut response = self.get_blob(&repository, blob.digest, asked).await?;
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
            return Ok(response);
        }
        Err(unknown())
    }

    /// Returns the chart that a tag names; `None` when it names none that helm would find there.
    async fn chart(&self, name: &str, repository: &Repository, tag: &str) -> Result<Option<Arc<Found>>, Refusal> {
        let Ok(tag) = tag.parse::<Tag>() else { return Ok(None) };
        let stored = absent_is_none(self.backend.manifest(repository, &Which::Tag(tag.clone())).await)?;
        let Some(stored) = stored else { return Ok(None) };
        let digest = stored.descriptor.digest;
        let known = self.charts.known.lock().unwrap_or_else(PoisonError::into_inner).get(&digest).cloned();
        let found = match known {
            Some(found) => found,
            None => {
                let found = self.read_chart(repository, &stored).await?.map(Arc::new);
                let mut known = self.charts.known.lock().unwrap_or_else(PoisonError::into_inner);
                if known.len() >= REMEMBERED {
                    known.clear();
                }
                known.insert(digest, found.clone());
                found
            }
        };
        Ok(found.filter(|found| found.name == name && package::tag(&found.version).as_ref() == Some(&tag)))
    }

    async fn read_chart(&self, repository: &Repository, stored: &Stored) -> Result<Option<Found>, Refusal> {
        let Ok(manifest) = Manifest::parse(Some(&stored.descriptor.media_type), &stored.bytes) else { return Ok(None) };
        let of =
            |types: &[&str]| manifest.layers.iter().find(|layer| types.contains(&layer.media_type.as_str())).cloned();
        let config = manifest.config.as_ref().filter(|config| config.media_type.as_str() == package::CONFIG);
        let (Some(config), Some(archive)) = (config, of(&[package::CONTENT, package::LEGACY_CONTENT])) else {
            return Ok(None);
        };
        if config.size > MAX_CONFIG {
            return Ok(None);
        }
        let opened = self.backend.open(repository, config.digest, 0, config.size).await;
        let Some(mut reader) = absent_is_none(opened)? else { return Ok(None) };
        let mut bytes = Vec::new();
        while let Some(piece) = reader.try_next().await? {
            bytes.extend_from_slice(&piece);
        }
        let metadata = String::from_utf8(bytes).ok().and_then(|text| Metadata::from_json(&text));
        let Some((metadata, Ok(order))) = metadata.map(|metadata| {
            let order = Version::parse(&metadata.version);
            (metadata, order)
        }) else {
            return Ok(None);
        };
        let said = manifest.annotations.get(CREATED).and_then(|text| text.parse::<Timestamp>().ok());
        let created = self.charts.created.or(said).unwrap_or(Timestamp::UNIX_EPOCH);
        Ok(Some(Found {
            name: metadata.name.clone(),
            version: metadata.version.clone(),
            order,
            metadata: metadata.to_json(),
            archive,
            provenance: of(&[package::PROVENANCE]),
            created,
        }))
    }
}

impl Found {
    /// Returns the chart as helm's index describes it.
    fn entry(&self) -> Value {
        let mut entry = self.metadata.clone();
        entry["created"] = self.created.to_string().into();
        // Helm compares with the SHA-256 of the archive; it knows no other.
        if let Digest::Sha256(_) = self.archive.digest {
            entry["digest"] = self.archive.digest.hex().into();
        }
        entry["urls"] = json!([format!("{CHARTS}/{}-{}.tgz", self.name, self.version)]);
        entry
    }
}

fn newest_first(a: &Found, b: &Found) -> Ordering {
    b.order.compare(&a.order).then_with(|| b.version.cmp(&a.version))
}

/// What was removed between two looks is as if it had never been there.
fn absent_is_none<T>(outcome: Result<T, Refusal>) -> Result<Option<T>, Refusal> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(Refusal::NameUnknown(_) | Refusal::ManifestUnknown(_) | Refusal::BlobUnknown(_)) => Ok(None),
        Err(other) => Err(other),
    }
}

/// Answers with a text that was made here.
fn document(text: String, media_type: &str, asked: &Asked<'_>) -> Response {
    let digest = Digest::sha256(text.as_bytes());
    let etag = |response| with(response, header::ETAG, &format!("\"{digest}\""));
    if is_unchanged(asked, digest) {
        return etag(plain(StatusCode::NOT_MODIFIED));
    }
    let length = text.len().to_string();
    let body = if asked.wants_body { Body::from(text) } else { Body::empty() };
    let response = with(Response::new(body), header::CONTENT_TYPE, media_type);
    etag(with(response, header::CONTENT_LENGTH, &length))
}
