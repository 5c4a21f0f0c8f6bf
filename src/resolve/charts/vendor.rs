//! A chart with everything that it needs inside.
//!
//! # Invariants
//! - A chart that has all its dependencies inside keeps its bytes, its signature, and the manifest that it had in a registry.
//! - What is missing is put into `charts/`, packed the same way every time, and listed with its digest.
//! - Nothing is left out in silence: a dependency that cannot be had is an error.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::{BoxFuture, join_all};

use super::{
    Error,
    acquire::{Acquirer, Ask, Fetched, Pin, fits},
    folder::{pack, unpack_inner},
};
use crate::{
    error::Diagnostic,
    files,
    helm::{Chart, Origin, Package, metadata::Dependency},
    lock::LockedDependency,
    oci::Digest,
    tree::{RelPath, Tree},
};

/// How deep dependencies of dependencies are followed; the deepest known chart has five levels.
const LEVELS: usize = 16;
/// How many charts are fetched for one.
const CHARTS: usize = 200;

/// A chart, complete.
#[derive(Clone, Debug)]
pub struct Acquired {
    /// What templates are rendered from.
    pub chart: Chart,
    /// The chart as it travels.
    pub package: Package,
    /// Where it comes from.
    pub source: String,
    /// What was put into it, sorted.
    pub vendored: Vec<LockedDependency>,
    /// What deserves a look, without places.
    pub warnings: Vec<Diagnostic>,
}

/// What the dependencies of one chart share.
struct Tour<'a> {
    moves: &'a (dyn Fn(&LockedDependency) -> bool + Sync),
    locked: Vec<&'a [LockedDependency]>,
    fetched: AtomicUsize,
}

/// The way from the chart of the spec to one inside of it.
#[derive(Clone)]
struct Way {
    /// Names, joined by slashes.
    path: String,
    /// Where each comes from.
    sources: Vec<String>,
}

impl Acquirer {
    /// Fetches a chart and everything that it needs.
    ///
    /// # Errors
    /// Everything that is wrong with it and with what it needs.
    pub async fn acquire(&self, ask: &Ask<'_>) -> Result<Acquired, Vec<Error>> {
        let fetched = self.fetch(ask).await.map_err(|error| vec![error])?;
        let tour = Tour {
            moves: ask.moves,
            locked: ask.pins.iter().map(|chart| chart.vendored.as_slice()).collect(),
            fetched: AtomicUsize::new(0),
        };
        let way = Way { path: String::new(), sources: Vec::new() };
        self.complete(fetched, &tour, way).await
    }

    fn complete<'s>(
        &'s self,
        fetched: Fetched,
        tour: &'s Tour<'_>,
        way: Way,
    ) -> BoxFuture<'s, Result<Acquired, Vec<Error>>> {
        Box::pin(async move {
            let source = fetched.source.clone();
            let (chart, tree) = load(fetched.tree, &source).await.map_err(|error| vec![error])?;
            let metadata = chart.metadata.clone();
            fetched.expected.check(&source, &metadata.name, &metadata.version).map_err(|error| vec![error])?;
            let mut way = way;
            if way.sources.contains(&source) {
                way.sources.push(source);
                return Err(vec![Error::Circle { chain: way.sources }]);
            }
            way.sources.push(source.clone());
            way.path =
                if way.path.is_empty() { metadata.name.clone() } else { format!("{}/{}", way.path, metadata.name) };
            let mut warnings = Vec::new();
            mismatched(&chart, &metadata.name, &mut warnings);
            let missing: Vec<&Dependency> =
                metadata.dependencies.iter().filter(|wanted| !has(&chart, wanted)).collect();
            if missing.is_empty() {
                let package = package(fetched.archive, fetched.provenance, fetched.artifact, &chart, &tree)?;
                return Ok(Acquired { chart, package, source, vendored: Vec::new(), warnings });
            }
            let locked = in_sync(&chart, &tree).map_err(|error| vec![error])?;
            let (mut tree, mut vendored, mut errors) = (tree, Vec::new(), Vec::new());
            let mut parts = Vec::new();
            for wanted in missing {
                parts.push(self.part(&metadata.name, &fetched.home, wanted, &locked, tour, way.clone()));
            }
            // How many requests run at the same time is for the queue of each host to say.
            let parts = join_all(parts).await;
            for part in parts {
                match part {
                    Ok(part) => {
                        let inner = &part.chart.metadata;
                        let path = format!("charts/{}-{}.tgz", inner.name, inner.version);
                        match path.parse::<RelPath>() {
                            Ok(path) => drop(tree.insert(path, part.package.archive.clone())),
                            Err(error) => {
                                errors.push(Error::Pack { chart: metadata.name.clone(), why: error.to_string() });
                            }
                        }
                        vendored.push(LockedDependency {
                            path: format!("{}/{}", way.path, inner.name),
                            version: inner.version.clone(),
                            archive: Digest::sha256(&part.package.archive),
                            source: part.source,
                        });
                        vendored.extend(part.vendored);
                        warnings.extend(part.warnings);
                    }
                    Err(all) => errors.extend(all),
                }
            }
            if !errors.is_empty() {
                return Err(errors);
            }
            vendored.sort();
            vendored.dedup();
            let (chart, tree) = load(tree, &source).await.map_err(|error| vec![error])?;
            // The signature was for other bytes.
            let package = package(None, None, None, &chart, &tree)?;
            Ok(Acquired { chart, package, source, vendored, warnings })
        })
    }

    /// Fetches one dependency and completes it.
    async fn part(
        &self,
        chart: &str,
        home: &super::folder::Home,
        wanted: &Dependency,
        locked: &[Dependency],
        tour: &Tour<'_>,
        way: Way,
    ) -> Result<Acquired, Vec<Error>> {
        let inside = |cause: Error| match cause {
            Error::NoSource { .. } | Error::Circle { .. } | Error::OutOfSync { .. } => cause,
            cause => Error::Dependency {
                chart: chart.to_owned(),
                name: wanted.name.clone(),
                version: wanted.version.clone(),
                cause: Box::new(cause),
            },
        };
        let limit = |limit, what| Err(vec![Error::Limit { chart: way.path.clone(), limit, what }]);
        if way.sources.len() >= LEVELS {
            return limit(LEVELS, "levels of dependencies");
        }
        if tour.fetched.fetch_add(1, Ordering::Relaxed) >= CHARTS {
            return limit(CHARTS, "dependencies");
        }
        let exact = locked.iter().find(|entry| entry.name == wanted.name && fits(&wanted.version, &entry.version));
        let range = exact.map_or(wanted.version.as_str(), |entry| entry.version.as_str());
        let path = format!("{}/{}", way.path, wanted.name);
        let root = way.path.split('/').next().unwrap_or_default();
        let pins: Vec<Pin> = tour
            .locked
            .iter()
            .flat_map(|all| {
                all.iter()
                    .filter(|entry| entry.path == path && !(tour.moves)(entry))
                    .map(|entry| Pin::of_dependency(root, entry, all))
            })
            .collect();
        let fetched = self.dependency(chart, home, wanted, range, &pins).await.map_err(|error| vec![inside(error)])?;
        let complete = self.complete(fetched, tour, way).await;
        complete.map_err(|errors| errors.into_iter().map(inside).collect())
    }
}

/// Loads a chart on a thread where that may take a while.
async fn load(tree: Tree, source: &str) -> Result<(Chart, Tree), Error> {
    let place = source.to_owned();
    files::blocking(move || match Chart::load(&tree, Origin::Archive, &unpack_inner) {
        Ok(chart) => Ok((chart, tree)),
        Err(cause) => Err(Error::Chart { place, cause: cause.into() }),
    })
    .await
}

/// Makes the package of a chart; the archive as it came, or one of its files.
fn package(
    archive: Option<bytes::Bytes>,
    provenance: Option<bytes::Bytes>,
    artifact: Option<super::registry::Pulled>,
    chart: &Chart,
    tree: &Tree,
) -> Result<Package, Vec<Error>> {
    let metadata = chart.metadata.clone();
    if let Some(pulled) = artifact
        && let Some(package) = Package::pulled(metadata.clone(), pulled.manifest, pulled.blobs)
    {
        return Ok(package);
    }
    let archive = match archive {
        Some(archive) => archive,
        None => pack(&metadata, tree).map_err(|error| vec![error])?,
    };
    Ok(Package::new(metadata, archive, provenance))
}

/// Tells whether a dependency is inside; by name, as helm checks it.
fn has(chart: &Chart, wanted: &Dependency) -> bool {
    chart.dependencies.iter().any(|inner| inner.name() == wanted.name)
}

/// Collects what helm overlooks: versions that do not fit, and dependencies of subcharts that are not there.
fn mismatched(chart: &Chart, path: &str, warnings: &mut Vec<Diagnostic>) {
    for wanted in &chart.metadata.dependencies {
        let mut same = chart.dependencies.iter().filter(|inner| inner.name() == wanted.name).peekable();
        let Some(first) = same.peek().map(|inner| inner.metadata.version.clone()) else { continue };
        if !same.any(|inner| fits(&wanted.version, &inner.metadata.version)) {
            let text = format!(
                "{path} wants {} {}, and its charts/ folder holds {first}: helm renders it without its alias and conditions",
                wanted.name, wanted.version
            );
            warnings.push(
                Diagnostic::warning("dependency-version", text).hint("`helm dependency update` fetches what is wanted"),
            );
        }
    }
    for inner in &chart.dependencies {
        let path = format!("{path}/{}", inner.name());
        for wanted in inner.metadata.dependencies.iter().filter(|wanted| !has(inner, wanted)) {
            let text = format!(
                "{path} wants {} {}, which is not inside it: helm renders it without",
                wanted.name, wanted.version
            );
            warnings.push(Diagnostic::warning("dependency-missing", text));
        }
        mismatched(inner, &path, warnings);
    }
}

/// Returns what the chart's lock pins; nothing when it has no lock.
fn in_sync(chart: &Chart, tree: &Tree) -> Result<Vec<Dependency>, Error> {
    let file = ["Chart.lock", "requirements.lock"].into_iter().find(|name| tree.get(name).is_some());
    let Some(file) = file else { return Ok(Vec::new()) };
    let out = |why: String| Error::OutOfSync { chart: chart.name().to_owned(), file, why };
    let wanted = &chart.metadata.dependencies;
    if wanted.len() != chart.locked.len() {
        return Err(out(format!("it pins {} charts, and {} are needed", chart.locked.len(), wanted.len())));
    }
    let alias = |repository: &str| repository.starts_with('@') || repository.starts_with("alias:");
    let plain = |repository: &str| repository.trim_end_matches('/').to_owned();
    for wanted in wanted {
        let Some(pinned) = chart.locked.iter().find(|pinned| pinned.name == wanted.name) else {
            return Err(out(format!("{} is not in it", wanted.name)));
        };
        let versions: Vec<&str> = chart
            .locked
            .iter()
            .filter(|pinned| pinned.name == wanted.name)
            .map(|pinned| pinned.version.as_str())
            .collect();
        if !versions.iter().any(|version| fits(&wanted.version, version)) {
            return Err(out(format!(
                "it pins {} {}, and {} is wanted",
                wanted.name,
                versions.join(", "),
                wanted.version
            )));
        }
        if !alias(&wanted.repository) && plain(&wanted.repository) != plain(&pinned.repository) {
            return Err(out(format!(
                "it takes {} from {:?}, and {:?} is wanted",
                wanted.name, pinned.repository, wanted.repository
            )));
        }
    }
    Ok(chart.locked.clone())
}
