//! Where the names of each source registry go: the mapping of a load as rules that configuration can express.
//!
//! # Invariants
//! - A rule gives exactly what [`Renamer`] gives, for every image.

use std::collections::BTreeMap;

use super::{Content, Error};
use crate::{
    names::{Layout, Renamer, Target},
    oci::{Host, Repository},
};

/// Where the names of one source registry go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// The source registry, as manifests may write it; the first is its proper name.
    pub(super) hosts: Vec<String>,
    pub(super) rule: Rule,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Every name goes behind this path.
    Behind(Repository),
    /// Each name goes somewhere else.
    Each(BTreeMap<Repository, Repository>),
}

/// Finds the rules for everything in `content`.
///
/// # Errors
/// [`Error::Rename`] when two images would share a name, [`Error::NoImages`] when there is none.
pub(super) fn routes(content: &Content, target: &Target, layout: Layout) -> Result<Vec<Route>, Error> {
    let mut renamer = Renamer::new(target.clone(), layout);
    let mut names: BTreeMap<&Host, BTreeMap<Repository, Repository>> = BTreeMap::new();
    for image in &content.images {
        let (host, repository) = (&image.reference.host, &image.reference.repository);
        let target = renamer.image(host, repository)?;
        names.entry(host).or_default().insert(repository.clone(), target);
    }
    if names.is_empty() {
        return Err(Error::NoImages);
    }
    Ok(names
        .into_iter()
        .map(|(host, names)| {
            let mut hosts = vec![host.to_string()];
            if host.is_docker_hub() {
                hosts.extend(HUB_ALIASES.map(str::to_owned));
            }
            Route { hosts, rule: rule(names) }
        })
        .collect())
}

/// Other names of Docker Hub: manifests write them, and most runtimes take them for registries of their own.
const HUB_ALIASES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];

/// Finds one path that stands before every name, or keeps them apart.
fn rule(names: BTreeMap<Repository, Repository>) -> Rule {
    let before = |(source, target): (&Repository, &Repository)| {
        target.as_str().strip_suffix(source.as_str())?.strip_suffix('/')?.parse::<Repository>().ok()
    };
    match names.iter().map(before).reduce(|one, other| if one == other { one } else { None }).flatten() {
        Some(path) => Rule::Behind(path),
        None => Rule::Each(names),
    }
}

impl Route {
    /// Returns the proper name of the source registry.
    pub(super) fn host(&self) -> &str {
        self.hosts.first().map_or("", String::as_str)
    }

    /// Returns every prefix of names with what replaces it, `host/path` without a registry in front of the latter.
    pub(super) fn prefixes(&self) -> Vec<(String, String)> {
        let of = |host: &String| match &self.rule {
            Rule::Behind(path) => vec![(host.clone(), path.to_string())],
            Rule::Each(names) => {
                names.iter().map(|(source, target)| (format!("{host}/{source}"), target.to_string())).collect()
            }
        };
        self.hosts.iter().flat_map(of).collect()
    }
}
