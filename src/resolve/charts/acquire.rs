//! From an address and a range to a chart's files.
//!
//! # Invariants
//! - What the lock pins is taken again, byte for byte, while the range still allows it; otherwise it is an error that says
//!   that something moved.

use std::{path::Path, sync::OnceLock};

use bytes::Bytes;

use super::{
    Error,
    folder::{self, Home},
    git::{self, Git},
    registry::{self, Charts},
    repositories::Repositories,
    web::{self, Web},
};
use crate::{
    files,
    helm::{
        index::{Release, SelectError},
        metadata::Dependency,
        package,
        semver::{self, Version},
    },
    lock::{LockedChart, LockedDependency},
    net::{Environment, Url, printable},
    oci::Digest,
    registry::{By, Registries},
    spec::ChartSource,
    tree::{RelPath, Tree},
};

/// Fetches charts; what several need is fetched once.
pub struct Acquirer {
    pub(super) web: Web,
    pub(super) charts: Charts,
    pub(super) git: Git,
    pub(super) environment: Environment,
    repositories: OnceLock<Result<Repositories, Error>>,
}

/// Says which chart is wanted.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The name of the chart in a repository over HTTP; elsewhere the address says it.
    pub name: &'a str,
    /// Where it comes from.
    pub source: &'a ChartSource,
    /// What paths are relative to; `file://` dependencies must not leave it.
    pub folder: &'a Path,
    /// What was locked before and must not move.
    pub pins: &'a [&'a LockedChart],
    /// Tells of a dependency that was put inside whether it may move all the same; by its path and its address.
    pub moves: &'a (dyn Fn(&LockedDependency) -> bool + Sync),
}

/// What was locked about one chart.
#[derive(Clone, Debug)]
pub(super) struct Pin {
    /// The name for `--update`.
    pub(super) chart: String,
    pub(super) version: String,
    /// The digest of the archive, unless something was put into it.
    pub(super) archive: Option<Digest>,
    /// The digest of the manifest in its registry, unless something was put into the archive.
    pub(super) manifest: Option<Digest>,
}

/// A chart's files, before anything is put into it.
pub(super) struct Fetched {
    pub(super) tree: Tree,
    pub(super) archive: Option<Bytes>,
    pub(super) provenance: Option<Bytes>,
    pub(super) artifact: Option<registry::Pulled>,
    pub(super) source: String,
    pub(super) home: Home,
    /// What the chart must be, where the address says it.
    pub(super) expected: Expected,
}

/// What an address promises.
#[derive(Clone, Debug, Default)]
pub(super) struct Expected {
    pub(super) name: Option<String>,
    pub(super) version: Option<String>,
    /// A range that the chart's own version must be in.
    pub(super) range: Option<String>,
}

impl Pin {
    pub(super) fn of_chart(locked: &LockedChart) -> Pin {
        let whole = locked.vendored.is_empty();
        Pin {
            chart: locked.chart.clone(),
            version: locked.version.clone(),
            archive: whole.then_some(locked.archive),
            manifest: whole.then_some(locked.digest),
        }
    }

    pub(super) fn of_dependency(root: &str, locked: &LockedDependency, all: &[LockedDependency]) -> Pin {
        let inside = format!("{}/", locked.path);
        let whole = !all.iter().any(|other| other.path.starts_with(&inside));
        Pin {
            chart: root.to_owned(),
            version: locked.version.clone(),
            archive: whole.then_some(locked.archive),
            manifest: None,
        }
    }

    fn check(&self, place: &str, archive: &Bytes) -> Result<(), Error> {
        let Some(locked) = self.archive else { return Ok(()) };
        let actual = locked.same_algorithm(archive);
        if actual == locked {
            return Ok(());
        }
        Err(Error::Changed { place: place.to_owned(), locked, actual, chart: self.chart.clone() })
    }

    fn gone(&self, place: &str, cause: Error) -> Error {
        Error::Gone {
            place: place.to_owned(),
            version: self.version.clone(),
            chart: self.chart.clone(),
            cause: Box::new(cause),
        }
    }
}

/// Tells whether a version is what a range asks for; an empty range is any version.
pub(in crate::resolve) fn fits(range: &str, version: &str) -> bool {
    range.is_empty() || range == version || semver::is_compatible(range, version)
}

fn same_version(a: &str, b: &str) -> bool {
    a == b || matches!((Version::parse(a), Version::parse(b)), (Ok(a), Ok(b)) if a.to_string() == b.to_string())
}

impl Acquirer {
    /// Makes one; nothing is asked yet. Helm's `repositories.yaml` is found through the environment of the settings.
    pub fn new(registries: &Registries) -> Acquirer {
        Acquirer {
            web: Web::new(registries.clone()),
            charts: Charts::new(registries.clone()),
            git: Git::default(),
            environment: registries.client().settings().environment.clone(),
            repositories: OnceLock::new(),
        }
    }

    pub(super) fn repositories(&self) -> Result<&Repositories, Error> {
        self.repositories.get_or_init(|| Repositories::read(&self.environment)).as_ref().map_err(Clone::clone)
    }

    /// Fetches the chart of an entry.
    pub(super) async fn fetch(&self, ask: &Ask<'_>) -> Result<Fetched, Error> {
        match ask.source {
            ChartSource::Path(path) => self.local(Home::of_spec(ask.folder, path), Expected::default()).await,
            ChartSource::Repo { url, version } => {
                let pins: Vec<Pin> = ask.pins.iter().map(|locked| Pin::of_chart(locked)).collect();
                if url.starts_with("git+") {
                    let address = git::Address::parse(url)?;
                    let pinned = ask.pins.iter().find_map(|locked| address.commit_of(&locked.source));
                    return self.git_chart(&address, address.folder.clone(), version, pinned, ask.name).await;
                }
                if url.starts_with("oci://") {
                    return self.registry_chart(&registry::Address::parse(url)?, version, &pins).await;
                }
                self.repository_chart(url, ask.name, version, &pins).await
            }
        }
    }

    /// Fetches what a chart needs; `range` is what `Chart.yaml` says, or the version of `Chart.lock`.
    pub(super) async fn dependency(
        &self,
        chart: &str,
        home: &Home,
        wanted: &Dependency,
        range: &str,
        pins: &[Pin],
    ) -> Result<Fetched, Error> {
        let repository = wanted.repository.as_str();
        let expected = Expected { name: Some(wanted.name.clone()), range: Some(wanted.version.clone()), version: None };
        if repository.is_empty() {
            return Err(Error::NoSource {
                chart: chart.to_owned(),
                name: wanted.name.clone(),
                version: wanted.version.clone(),
            });
        }
        if repository.starts_with("file://") {
            return self.local(home.follow(chart, repository)?, expected).await;
        }
        if repository.starts_with("git+") {
            let address = git::Address::parse(repository)?;
            let commit = self.git.fetch(&address, None, &self.environment).await?;
            // The plugin helm-git treats the folder as a repository of charts.
            let below = RelPath::join(address.folder.as_ref(), &wanted.name).ok().filter(|folder| commit.has(folder));
            let folder = below.or_else(|| address.folder.clone());
            let mut found = self.git_chart(&address, folder, range, None, &wanted.name).await?;
            found.expected.name = Some(wanted.name.clone());
            return Ok(found);
        }
        let named = repository.strip_prefix("alias:").or_else(|| repository.strip_prefix('@'));
        let url = match named {
            Some(name) => self.repositories()?.by_name(name, chart)?.url.clone(),
            None => repository.to_owned(),
        };
        if url.starts_with("oci://") {
            let address = registry::Address::parse(&format!("{}/{}", url.trim_end_matches('/'), wanted.name))?;
            return self.registry_chart(&address, range, pins).await;
        }
        self.repository_chart(&url, &wanted.name, range, pins).await
    }

    async fn local(&self, home: Home, expected: Expected) -> Result<Fetched, Error> {
        let source = home.source();
        let found = files::blocking(move || home.open()).await?;
        Ok(Fetched {
            tree: found.tree,
            archive: found.archive,
            provenance: None,
            artifact: None,
            source,
            home: found.home,
            expected,
        })
    }

    async fn git_chart(
        &self,
        address: &git::Address,
        folder: Option<RelPath>,
        range: &str,
        pinned: Option<&str>,
        chart: &str,
    ) -> Result<Fetched, Error> {
        let commit = match self.git.fetch(address, pinned, &self.environment).await {
            Ok(commit) => commit,
            Err(error) => {
                let Some(id) = pinned else { return Err(error) };
                // Not every server gives a commit by its id; the name may still stand for it.
                let now = self.git.fetch(address, None, &self.environment).await?;
                if now.id != id {
                    return Err(Error::Gone {
                        place: address.source(folder.as_ref(), &now.id),
                        version: id.to_owned(),
                        chart: chart.to_owned(),
                        cause: Box::new(error),
                    });
                }
                now
            }
        };
        let home = Home::Git { address: address.clone(), commit, at: folder };
        let range = (!range.is_empty()).then(|| range.to_owned());
        self.local(home, Expected { range, ..Expected::default() }).await
    }

    async fn repository_chart(&self, url: &str, name: &str, range: &str, pins: &[Pin]) -> Result<Fetched, Error> {
        let bad = |why| Error::Address { written: printable(url, 200), why };
        let repository: Url = url.parse().map_err(|_| bad("no address"))?;
        if !matches!(repository.scheme(), "http" | "https") {
            return Err(bad("charts come from https://, oci://, git+https://, and from folders"));
        }
        if !repository.username().is_empty() || repository.password().is_some() {
            return Err(bad("an address must not hold a login: `helm repo add` or `docker login` store one"));
        }
        let repositories = self.repositories()?;
        let index = self.web.index(&repository, repositories).await?;
        let place = format!("{name} of {}", crate::net::shown(&repository));
        let select = |cause: SelectError| Error::Select { place: crate::net::shown(&repository), cause };
        let pin = pins.iter().find(|pin| fits(range, &pin.version));
        let release = match pin {
            None => index.select(name, range).map_err(select)?,
            Some(pin) => {
                let all = index.versions(name).map_err(|cause| pin.gone(&place, select(cause)))?;
                let there: Vec<String> = all.iter().take(5).map(|release| release.version.clone()).collect();
                all.into_iter().find(|release| same_version(&release.version, &pin.version)).ok_or_else(|| {
                    let range = pin.version.clone();
                    pin.gone(&place, select(SelectError::NoVersion { range, there, prereleases: Vec::new() }))
                })?
            }
        };
        let fetched = self.released(&repository, repositories, &release, &place, pin).await?;
        if let (Some(pin), Some(archive)) = (pin, &fetched.archive) {
            pin.check(&format!("{place}, version {}", release.version), archive)?;
        }
        let expected = Expected { name: Some(name.to_owned()), version: Some(release.version.clone()), range: None };
        Ok(Fetched { expected, ..fetched })
    }

    async fn released(
        &self,
        repository: &Url,
        repositories: &Repositories,
        release: &Release,
        place: &str,
        pin: Option<&Pin>,
    ) -> Result<Fetched, Error> {
        let urls: Vec<Url> = release.urls.iter().filter_map(|written| web::resolve(repository, written)).collect();
        // Some repositories over HTTP only say where in a registry their charts are.
        if let Some(url) = urls.iter().find(|url| url.scheme() == "oci")
            && !urls.iter().any(|url| matches!(url.scheme(), "http" | "https"))
        {
            let address = registry::Address::parse(url.as_str())?;
            let pins: Vec<Pin> = pin.cloned().into_iter().collect();
            return self.registry_chart(&address, &release.version, &pins).await;
        }
        let urls: Vec<Url> = urls.into_iter().filter(|url| matches!(url.scheme(), "http" | "https")).collect();
        if urls.is_empty() {
            return Err(Error::NoAddress { place: place.to_owned(), version: printable(&release.version, 100) });
        }
        let found = self.web.chart(repository, repositories, release, &urls).await?;
        let (name, archive) = (found.source.clone(), found.archive.clone());
        let tree = files::blocking(move || folder::unpack(Path::new(&name), &archive)).await?;
        Ok(Fetched {
            tree,
            archive: Some(found.archive),
            provenance: found.provenance,
            artifact: None,
            source: found.source,
            home: Home::Nowhere,
            expected: Expected::default(),
        })
    }

    async fn registry_chart(&self, address: &registry::Address, range: &str, pins: &[Pin]) -> Result<Fetched, Error> {
        let pin = pins.iter().find(|pin| fits(range, &pin.version));
        let mut expected = Expected { range: (!range.is_empty()).then(|| range.to_owned()), ..Expected::default() };
        let (by, shown) = match (&address.digest, &address.tag, pin) {
            (Some(digest), tag, _) => {
                let tag = tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
                (By::Digest(*digest), format!("{}{tag}@{digest}", address.bare()))
            }
            (None, Some(tag), pin) => {
                let by = pin.and_then(|pin| pin.manifest).map_or(By::Tag(tag.clone()), By::Digest);
                (by, format!("{}:{tag}", address.bare()))
            }
            (None, None, Some(pin)) if package::tag(&pin.version).is_some() => {
                let tag = package::tag(&pin.version).unwrap_or_else(crate::oci::Tag::latest);
                let by = pin.manifest.map_or(By::Tag(tag.clone()), By::Digest);
                (by, format!("{}:{tag}", address.bare()))
            }
            (None, None, _) => {
                let tag = self.charts.select(address, range).await?;
                expected.version = Some(tag.as_str().replace('_', "+"));
                (By::Tag(tag.clone()), format!("{}:{tag}", address.bare()))
            }
        };
        let pulled = self.charts.pull(address, &by).await.map_err(|error| match pin {
            Some(pin) if error.is_not_there() => pin.gone(&address.bare(), error),
            _ => error,
        })?;
        if let Some(pin) = pin {
            pin.check(&shown, &pulled.archive)?;
        }
        let (name, archive) = (shown.clone(), pulled.archive.clone());
        let tree = files::blocking(move || folder::unpack(Path::new(&name), &archive)).await?;
        Ok(Fetched {
            tree,
            archive: Some(pulled.archive.clone()),
            provenance: None,
            artifact: Some(pulled),
            source: shown,
            home: Home::Nowhere,
            expected,
        })
    }
}

impl Expected {
    /// Compares with what came.
    pub(super) fn check(&self, source: &str, name: &str, version: &str) -> Result<(), Error> {
        let wrong = |wanted: String| {
            let found = printable(&format!("{name} {version}"), 200);
            Err(Error::WrongChart { place: source.to_owned(), wanted, found })
        };
        if let Some(wanted) = self.name.as_ref().filter(|wanted| *wanted != name) {
            return wrong(wanted.clone());
        }
        if let Some(wanted) = self.version.as_ref().filter(|wanted| !same_version(wanted, version)) {
            return wrong(format!("version {wanted}"));
        }
        match &self.range {
            Some(range) if !fits(range, version) => {
                let there = vec![printable(version, 100)];
                let cause = SelectError::NoVersion { range: range.clone(), there, prereleases: Vec::new() };
                Err(Error::Select { place: source.to_owned(), cause })
            }
            _ => Ok(()),
        }
    }
}
