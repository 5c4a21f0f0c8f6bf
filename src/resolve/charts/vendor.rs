//! A chart with everything that it needs inside.
//!
//! # Invariants
//! - A chart that has all its dependencies inside keeps its bytes, its signature, and the manifest that it had in a registry.
//! - What is missing is put into `charts/`, packed the same way every time, and listed with its digest.
//! - Nothing is left out in silence: a dependency that cannot be had is an error.

use bytes::Bytes;
use futures_util::future::join_all;

use super::{
    Error,
    acquire::{Acquirer, Ask, Fetched, Pin, fits},
    folder::{Home, pack, unpack_inner},
    registry::Pulled,
};
use crate::{
    error::Diagnostic,
    files,
    helm::{Chart, Origin, Package, metadata::Dependency},
    lock::LockedDependency,
    oci::Digest,
    tree::{PathError, RelPath, Tree},
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

/// A chart on the way to being complete. Charts that need each other make no call stack: they are a list in which those
/// that are needed come after those that need them.
struct Node {
    chart: Chart,
    tree: Tree,
    archive: Option<Bytes>,
    provenance: Option<Bytes>,
    artifact: Option<Pulled>,
    source: String,
    home: Home,
    /// The place in the list of the chart that needs this one.
    parent: Option<usize>,
    way: Way,
}

/// The way from the chart of the spec to one inside of it.
#[derive(Clone, Default)]
struct Way {
    /// Names, joined by slashes.
    path: String,
    /// Where each comes from.
    sources: Vec<String>,
    /// Who needs whom, in which version.
    needs: Vec<(String, String, String)>,
}

impl Way {
    /// Puts the way in front of an error that does not name its place itself.
    fn wrap(&self, error: Error) -> Error {
        if matches!(
            error,
            Error::NoSource { .. } | Error::Circle { .. } | Error::OutOfSync { .. } | Error::Limit { .. }
        ) {
            return error;
        }
        self.needs.iter().rev().fold(error, |cause, (chart, name, version)| Error::Dependency {
            chart: chart.clone(),
            name: name.clone(),
            version: version.clone(),
            cause: Box::new(cause),
        })
    }
}

impl Acquirer {
    /// Fetches a chart and everything that it needs.
    ///
    /// # Errors
    /// Everything that is wrong with it and with what it needs.
    pub async fn acquire(&self, ask: &Ask<'_>) -> Result<Acquired, Vec<Error>> {
        let fetched = self.fetch(ask).await.map_err(|error| vec![error])?;
        let mut nodes = vec![node(fetched, Way::default(), None).await.map_err(|error| vec![error])?];
        let (mut errors, mut ready) = (Vec::new(), 0);
        while ready < nodes.len() {
            let mut parts = Vec::new();
            for (at, node) in nodes.iter().enumerate().skip(ready) {
                match node.missing() {
                    Ok(missing) => {
                        let limit = match node.way.sources.len() {
                            levels if levels >= LEVELS => Some((LEVELS, "levels of dependencies")),
                            _ if nodes.len() + parts.len() + missing.len() > CHARTS => Some((CHARTS, "dependencies")),
                            _ => None,
                        };
                        match limit {
                            Some((limit, what)) if !missing.is_empty() => {
                                errors.push(Error::Limit { chart: node.way.path.clone(), limit, what });
                            }
                            _ => {
                                parts.extend(
                                    missing.into_iter().map(|(wanted, range)| self.part(ask, at, node, wanted, range)),
                                );
                            }
                        }
                    }
                    Err(error) => errors.push(node.way.wrap(error)),
                }
            }
            // How many requests run at the same time is for the queue of each host to say.
            let found = join_all(parts).await;
            ready = nodes.len();
            for part in found {
                match part {
                    Ok(part) => nodes.push(part),
                    Err(error) => errors.push(error),
                }
            }
        }
        if errors.is_empty() { assemble(nodes).await.map_err(|error| vec![error]) } else { Err(errors) }
    }

    /// Fetches one dependency.
    async fn part(
        &self,
        ask: &Ask<'_>,
        parent: usize,
        node: &Node,
        wanted: &Dependency,
        range: String,
    ) -> Result<Node, Error> {
        let chart = node.chart.name();
        let mut way = node.way.clone();
        way.needs.push((chart.to_owned(), wanted.name.clone(), wanted.version.clone()));
        let path = format!("{}/{}", way.path, wanted.name);
        let root = path.split('/').next().unwrap_or_default();
        let same = |entry: &&LockedDependency| entry.path == path && !(ask.moves)(entry);
        let pins: Vec<Pin> = ask
            .pins
            .iter()
            .flat_map(|chart| {
                chart.vendored.iter().filter(same).map(|entry| Pin::of_dependency(root, entry, &chart.vendored))
            })
            .collect();
        let fetched = self.dependency(chart, &node.home, wanted, &range, &pins).await;
        match fetched {
            Ok(fetched) => self::node(fetched, way, Some(parent)).await,
            Err(error) => Err(way.wrap(error)),
        }
    }
}

/// Loads what was fetched.
async fn node(fetched: Fetched, way: Way, parent: Option<usize>) -> Result<Node, Error> {
    let Fetched { tree, archive, provenance, artifact, source, home, expected } = fetched;
    let mut way = way;
    let circle = way.sources.contains(&source);
    way.sources.push(source.clone());
    if circle {
        return Err(Error::Circle { chain: way.sources });
    }
    let (chart, tree) = load(tree, &source).await.map_err(|error| way.wrap(error))?;
    let metadata = &chart.metadata;
    expected.check(&source, &metadata.name, &metadata.version).map_err(|error| way.wrap(error))?;
    way.path = if way.path.is_empty() { metadata.name.clone() } else { format!("{}/{}", way.path, metadata.name) };
    Ok(Node { chart, tree, archive, provenance, artifact, source, home, parent, way })
}

impl Node {
    /// Returns what is not inside, with the range to choose from: that of `Chart.yaml`, or the version of `Chart.lock`.
    fn missing(&self) -> Result<Vec<(&Dependency, String)>, Error> {
        let missing: Vec<&Dependency> =
            self.chart.metadata.dependencies.iter().filter(|wanted| !has(&self.chart, wanted)).collect();
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let locked = in_sync(&self.chart, &self.tree)?;
        let exact = |wanted: &Dependency| {
            let mut same = locked.iter().filter(|entry| entry.name == wanted.name);
            same.find(|entry| fits(&wanted.version, &entry.version)).map(|entry| entry.version.clone())
        };
        Ok(missing
            .into_iter()
            .map(|wanted| (wanted, exact(wanted).unwrap_or_else(|| wanted.version.clone())))
            .collect())
    }
}

/// Puts charts into those that need them, from the innermost outwards.
async fn assemble(nodes: Vec<Node>) -> Result<Acquired, Error> {
    let mut inside: Vec<Vec<Acquired>> = nodes.iter().map(|_| Vec::new()).collect();
    for node in nodes.into_iter().rev() {
        let mut parts = inside.pop().unwrap_or_default();
        parts.reverse();
        let (parent, way) = (node.parent, node.way.clone());
        let complete = complete(node, parts).await.map_err(|error| way.wrap(error))?;
        match parent.and_then(|parent| inside.get_mut(parent)) {
            Some(siblings) => siblings.push(complete),
            None => return Ok(complete),
        }
    }
    // Not reached: the first chart of the list is the one that nobody needs.
    Err(Error::Circle { chain: Vec::new() })
}

async fn complete(node: Node, parts: Vec<Acquired>) -> Result<Acquired, Error> {
    let Node { chart, mut tree, archive, provenance, artifact, source, way, .. } = node;
    let mut warnings = Vec::new();
    mismatched(&chart, chart.name(), &mut warnings);
    if parts.is_empty() {
        let package = package(archive, provenance, artifact, &chart, &tree)?;
        return Ok(Acquired { chart, package, source, vendored: Vec::new(), warnings });
    }
    let mut vendored = Vec::new();
    for part in parts {
        let inner = &part.chart.metadata;
        let path: RelPath = format!("charts/{}-{}.tgz", inner.name, inner.version)
            .parse()
            .map_err(|error: PathError| Error::Pack { chart: chart.name().to_owned(), why: error.to_string() })?;
        tree.insert(path, part.package.archive.clone());
        vendored.push(LockedDependency {
            path: format!("{}/{}", way.path, inner.name),
            version: inner.version.clone(),
            archive: Digest::sha256(&part.package.archive),
            source: part.source,
        });
        vendored.extend(part.vendored);
        warnings.extend(part.warnings);
    }
    vendored.sort();
    vendored.dedup();
    let (chart, tree) = load(tree, &source).await?;
    // The signature was for other bytes.
    let package = package(None, None, None, &chart, &tree)?;
    Ok(Acquired { chart, package, source, vendored, warnings })
}

/// Takes an archive for a chart that is complete.
///
/// # Errors
/// It is no chart.
pub(in crate::resolve) async fn of_archive(archive: Bytes, source: String) -> Result<Acquired, Error> {
    let (place, bytes) = (source.clone(), archive.clone());
    let tree = files::blocking(move || super::folder::unpack(std::path::Path::new(&place), &bytes)).await?;
    let (chart, tree) = load(tree, &source).await?;
    let mut warnings = Vec::new();
    mismatched(&chart, chart.name(), &mut warnings);
    let package = package(Some(archive), None, None, &chart, &tree)?;
    Ok(Acquired { chart, package, source, vendored: Vec::new(), warnings })
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
    archive: Option<Bytes>,
    provenance: Option<Bytes>,
    artifact: Option<Pulled>,
    chart: &Chart,
    tree: &Tree,
) -> Result<Package, Error> {
    let metadata = chart.metadata.clone();
    if let Some(pulled) = artifact
        && let Some(package) = Package::pulled(metadata.clone(), pulled.manifest, pulled.blobs)
    {
        return Ok(package);
    }
    let archive = match archive {
        Some(archive) => archive,
        None => pack(&metadata, tree)?,
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
