//! Reading manifests and files of a spec.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::{
    Carried, Job,
    batch::{Batch, Origin, shown},
    charts::Acquirer,
    gitops::{FLEET_FILE, fleet_bundle},
    kustomize,
};
use crate::{
    error::{Classify, Diagnostic, Kind},
    files::{self, Limits},
    kube::{self, object::is_manifest_file},
    lock::{LockedFile, Member},
    net,
    oci::Digest,
    registry::Registries,
    spec::{Entry, FileSource, ManifestSource},
    tree::RelPath,
};

/// Mistakes with their kinds.
type Failures = Vec<(Kind, Diagnostic)>;

/// The largest manifest file: ten times the largest file of CRDs in the wild.
const MAX_MANIFEST: u64 = 64 << 20;

/// The largest file that is fetched from an address.
const MAX_FETCHED: usize = 1 << 30;

/// How much of a local file is hashed at once.
const READ: u64 = 1 << 20;

/// What an entry of `manifests` gave.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) batches: Vec<Batch>,
    pub(super) warnings: Vec<Diagnostic>,
    /// Charts that kustomizations ask for.
    pub(super) charts: Vec<Carried>,
    /// Texts that cannot be read; the others are searched all the same, so that their mistakes are told in the same run.
    pub(super) failures: Failures,
}

/// Reads every entry of `manifests`, in the order of the spec.
pub(super) async fn manifests<'a>(job: &Job<'a>, acquirer: &Arc<Acquirer>) -> Vec<(&'a Entry, Result<Read, Failures>)> {
    stream::iter(&job.spec.manifests)
        .map(async |manifest| {
            let found = match &manifest.source {
                ManifestSource::Path(path) => local(job.folder, path, &manifest.entry),
                ManifestSource::Url { url, sha256 } => {
                    fetch(job, url, *sha256, &manifest.entry).await.map(|bytes| documents(&[Text::of(url, url, bytes)]))
                }
                ManifestSource::Kustomize(path) => build(job, acquirer, path, &manifest.entry).await,
            };
            (&manifest.entry, found)
        })
        .buffered(job.jobs.max(1))
        .collect()
        .await
}

async fn build(job: &Job<'_>, acquirer: &Arc<Acquirer>, path: &str, entry: &Entry) -> Result<Read, Failures> {
    let (workshop, path, entry) = (kustomize::Workshop::of(job, acquirer), path.to_owned(), entry.clone());
    let built = files::blocking(move || kustomize::build(&workshop, &path, &entry)).await?;
    Ok(Read { batches: vec![built.batch], warnings: built.warnings, charts: built.charts, failures: Failures::new() })
}

fn local(folder: &Path, path: &str, entry: &Entry) -> Result<Read, Failures> {
    let folder_of_spec = folder;
    let failed = |error: files::Error| {
        vec![(error.kind(), Diagnostic::error("manifest", format!("{}: {error}", entry.label)).at(entry.at.clone()))]
    };
    let place = folder.join(path);
    if !files::is_folder(&place) {
        let bytes = files::read_limited(&place, MAX_MANIFEST).map_err(failed)?;
        return Ok(documents(&[Text::of(&shown(folder, path), path, bytes)]));
    }
    let limits = Limits { file_bytes: MAX_MANIFEST, ..Limits::default() };
    let tree = files::read_tree(&place, &limits, &|path, is_folder| is_folder || is_manifest_file(path.name()))
        .map_err(failed)?;
    // A folder with a file of Fleet belongs to Fleet: what is in it may be values, a chart, a kustomization.
    let folders: Vec<String> = tree
        .iter()
        .filter(|(path, _)| path.name() == FLEET_FILE)
        .map(|(path, _)| path.parent().map(|folder| format!("{folder}/")).unwrap_or_default())
        .collect();
    let of_fleet = |path: &str| folders.iter().any(|folder| path.starts_with(folder.as_str()));
    let texts: Vec<Text> = tree
        .iter()
        .filter(|(path, _)| is_manifest_file(path.name()) && !of_fleet(path.as_str()))
        .map(|(inner, bytes)| {
            let path = format!("{}/{inner}", path.trim_end_matches('/'));
            Text::of(&shown(folder, &path), &path, bytes.clone())
        })
        .collect();
    if texts.is_empty() && folders.is_empty() {
        let text = format!("{}: no .yaml, .yml or .json file in {}", entry.label, place.display());
        return Err(vec![(Kind::Usage, Diagnostic::error("no-manifests", text).at(entry.at.clone()))]);
    }
    let mut read = documents(&texts);
    for folder in folders {
        let inner = format!("{folder}{FLEET_FILE}");
        let whole = format!("{}/{inner}", path.trim_end_matches('/'));
        let Some(bytes) = tree.get(&inner) else { continue };
        let Text { shown, path, .. } = Text::of(&shown(folder_of_spec, &whole), &whole, Bytes::new());
        let name = path.strip_suffix(FLEET_FILE).unwrap_or(&path).trim_end_matches('/').to_owned();
        match fleet_bundle(&name, &shown, &String::from_utf8_lossy(bytes)) {
            Ok(object) => read.batches.push(Batch::new(vec![object], Origin::File(path))),
            Err(failure) => read.failures.push(failure),
        }
    }
    Ok(read)
}

/// One text of manifests.
struct Text {
    /// How mistakes name it: so that the user can open it from here.
    shown: String,
    /// How the lock names it: relative to the spec, so that the lock is the same wherever it is made.
    path: String,
    bytes: Bytes,
}

impl Text {
    fn of(shown: &str, path: &str, bytes: Bytes) -> Text {
        let path = path.strip_prefix("./").unwrap_or(path);
        Text { shown: shown.to_owned(), path: path.to_owned(), bytes }
    }
}

fn documents(texts: &[Text]) -> Read {
    let mut all = Read::default();
    for Text { shown: name, path, bytes } in texts {
        let Ok(text) = std::str::from_utf8(bytes) else {
            all.failures.push((Kind::Usage, Diagnostic::error("not-text", format!("{name} is not UTF-8 text"))));
            continue;
        };
        match kube::object::objects(name, text) {
            Ok(objects) => all.batches.push(Batch::new(objects, Origin::File(path.clone()))),
            Err(mistakes) => all.failures.extend(mistakes.into_iter().map(|mistake| (Kind::Usage, mistake))),
        }
    }
    all
}

async fn fetch(job: &Job<'_>, url: &str, expected: Digest, entry: &Entry) -> Result<Bytes, Failures> {
    fetch_file(job.registries, url, expected).await.map_err(|(kind, text)| {
        vec![(kind, Diagnostic::error("fetch", format!("{}: {text}", entry.label)).at(entry.at.clone()))]
    })
}

/// Fetches a file and checks its digest.
///
/// # Errors
/// What happened, in words that name the address.
pub(super) async fn fetch_file(registries: &Registries, url: &str, expected: Digest) -> Result<Bytes, (Kind, String)> {
    let bytes = get(registries, url, MAX_FETCHED).await?;
    let actual = expected.same_algorithm(&bytes);
    if actual != expected {
        return Err((Kind::Corrupt, format!("{url} has the digest {actual}, and the spec says {expected}")));
    }
    Ok(bytes)
}

/// Fetches a file of at most `limit` bytes.
///
/// # Errors
/// What happened, in words that name the address.
pub(super) async fn get(registries: &Registries, url: &str, limit: usize) -> Result<Bytes, (Kind, String)> {
    let failed = |kind: Kind, text: String| (kind, text);
    let parsed = url.parse::<net::Url>().map_err(|error| failed(Kind::Usage, format!("{url}: {error}")))?;
    let response = registries
        .client()
        .send(net::Request::get(parsed))
        .await
        .map_err(|error| failed(error.kind(), error.to_string()))?;
    match response.status() {
        200 => {}
        status @ (401 | 403 | 404 | 410) => return Err(failed(Kind::NotFound, format!("{url} answers {status}"))),
        status => return Err(failed(Kind::Unavailable, format!("{url} answers {status}"))),
    }
    response.bytes(limit).await.map_err(|error| failed(error.kind(), error.to_string()))
}

/// Hashes every file of the spec.
pub(super) async fn files(job: &Job<'_>) -> Result<Vec<LockedFile>, Failures> {
    let results: Vec<Result<LockedFile, Failures>> = stream::iter(&job.spec.files)
        .map(async |file| {
            let locked = |path, url, members| LockedFile {
                name: file.name.to_string(),
                path,
                url,
                entry: file.entry.label.clone(),
                members,
            };
            match &file.source {
                FileSource::Path(path) => {
                    let (place, label, at) = (job.folder.join(path), file.entry.label.clone(), file.entry.at.clone());
                    let members = files::blocking(move || hash_all(&place)).await.map_err(|error| {
                        vec![(error.kind(), Diagnostic::error("file", format!("{label}: {error}")).at(at))]
                    })?;
                    Ok(locked(Some(path.clone()), None, members))
                }
                FileSource::Url { url, sha256 } => {
                    let bytes = fetch(job, url, *sha256, &file.entry).await?;
                    let name =
                        url.split(['?', '#']).next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
                    let path: RelPath = name.parse().unwrap_or_else(|_| file.name.clone());
                    let member = Member { path, digest: *sha256, size: bytes.len() as u64 };
                    Ok(locked(None, Some(url.clone()), vec![member]))
                }
            }
        })
        .buffered(job.jobs.max(1))
        .collect()
        .await;
    let mut found = Vec::with_capacity(results.len());
    let mut failures = Failures::new();
    for result in results {
        match result {
            Ok(file) => found.push(file),
            Err(mistakes) => failures.extend(mistakes),
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    if failures.is_empty() { Ok(found) } else { Err(failures) }
}

fn hash_all(place: &Path) -> Result<Vec<Member>, files::Error> {
    if files::is_folder(place) {
        let paths = files::walk_files(place)?;
        return paths.into_iter().map(|path| hash(&place.join(path.as_str()), path)).collect();
    }
    let name = place.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let path = name.parse().map_err(|cause| files::Error::Name { path: place.to_owned(), cause })?;
    Ok(vec![hash(place, path)?])
}

fn hash(place: &Path, path: RelPath) -> Result<Member, files::Error> {
    let file = files::Positional::open(place)?;
    let size = file.len()?;
    let mut hasher = crate::oci::Algorithm::Sha256.hasher();
    let mut buffer = vec![0; usize::try_from(READ.min(size)).unwrap_or(0)];
    let mut at = 0;
    while at < size {
        let length = usize::try_from(READ.min(size - at)).unwrap_or(0);
        file.read_exact_at(&mut buffer[..length], at)?;
        hasher.update(&buffer[..length]);
        at += length as u64;
    }
    Ok(Member { path, digest: hasher.finish(), size })
}
