//! What a list that people keep by hand misses of what a deployment needs, and what in it nobody needs any more.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::snapshot::Snapshot;
use crate::{
    discover::Finding,
    error::Location,
    lock::NotCarried,
    oci::{Digest, Reference},
    peers::{Peer, Source, What},
};

/// Holds how well a list covers what is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Coverage {
    /// How many of the needed images are listed.
    pub covered: usize,
    /// Images that are needed and not listed.
    pub missing: Vec<Needed>,
    /// Images that are listed and not needed.
    pub stale: Vec<Listed>,
    /// Repositories that are listed with other versions than are needed.
    pub versions: Vec<OtherVersion>,
    /// Images that are listed with another digest than the lock has.
    pub moved: Vec<OtherWay>,
    /// Charts that are needed and not listed, or listed and not needed; empty when the list knows no charts.
    pub charts: Vec<Other>,
    /// Files that are listed and not carried, or carried and not listed; empty when the list knows no files.
    pub files: Vec<Other>,
    /// What the list says and what cannot be compared.
    pub not_compared: Vec<Other>,
}

/// An image that is needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Needed {
    /// Its name.
    pub image: Reference,
    /// Its digest.
    pub digest: Digest,
    /// Why it is needed.
    pub because: Vec<Finding>,
}

/// An image that is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// Its name in full.
    pub image: Reference,
    /// As it is written in the list.
    pub written: String,
    /// Where.
    pub at: Location,
    /// That it was found and decided against, such as an image that only other values bring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_carried: Option<NotCarried>,
}

/// A repository that is listed with other versions than are needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OtherVersion {
    /// The repository, with its host.
    pub repository: String,
    /// What is listed and not needed.
    pub listed: Vec<Listed>,
    /// What is needed and not listed.
    pub needed: Vec<Needed>,
}

/// An image that is listed with another digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OtherWay {
    /// The image as it is listed.
    #[serde(flatten)]
    pub listed: Listed,
    /// The digest that is pinned.
    pub pinned: Digest,
}

/// Something else that deserves a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Other {
    /// What it is.
    pub what: String,
    /// What is the matter with it: `missing`, `stale`, or a reason.
    pub why: String,
    /// Where it is listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Location>,
}

impl Coverage {
    /// Tells whether the list and the need are the same, as far as they can be compared.
    pub fn is_exact(&self) -> bool {
        self.missing.is_empty()
            && self.stale.is_empty()
            && self.versions.is_empty()
            && self.moved.is_empty()
            && self.charts.is_empty()
            && self.files.is_empty()
    }
}

/// Compares a list with what is needed.
pub fn coverage(list: &Peer, needed: &Snapshot) -> Coverage {
    let mut found = Coverage::default();
    images(list, needed, &mut found);
    charts(list, needed, &mut found);
    files(list, needed, &mut found);
    for item in &list.items {
        let (what, why) = match &item.what {
            What::Other { what, why } => (what.clone(), why.clone()),
            What::Blocked(name) => (format!("{name} is blocked"), "what shall be left out is not compared".to_owned()),
            _ => continue,
        };
        found.not_compared.push(Other { what, why, at: Some(item.at.clone()) });
    }
    found
}

fn images(list: &Peer, needed: &Snapshot, found: &mut Coverage) {
    let mut met: BTreeSet<&Reference> = BTreeSet::new();
    let mut repositories: BTreeMap<String, (Vec<Listed>, Vec<Needed>)> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for item in &list.items {
        let What::Image(image) = &item.what else { continue };
        if !seen.insert(&image.reference) {
            continue;
        }
        let not_carried = needed.not_carried.iter().flatten().find(|one| one.image == image.reference).cloned();
        let (reference, written) = (image.reference.clone(), image.written.clone());
        let listed = Listed { image: reference, written, at: item.at.clone(), not_carried };
        // One entry meets every name of what it is: by tag where it has one, else by digest.
        let by_tag = |name: &Reference| {
            name.name() == image.reference.name() && image.reference.tag.is_some() && name.tag == image.reference.tag
        };
        let by_digest = |name: &Reference, digest: &Digest| {
            name.name() == image.reference.name() && image.reference.digest.as_ref() == Some(digest)
        };
        let fits: Vec<(&Reference, Digest)> = needed
            .images
            .iter()
            .filter(|(name, image)| by_tag(name) || by_digest(name, &image.digest))
            .map(|(name, image)| (name, image.digest))
            .collect();
        met.extend(fits.iter().map(|(name, _)| *name));
        let other = fits.iter().find(|(_, digest)| image.reference.digest.is_some_and(|listed| listed != *digest));
        match (fits.is_empty(), other) {
            (true, _) => repositories.entry(image.reference.name()).or_default().0.push(listed),
            (false, Some((_, pinned))) => found.moved.push(OtherWay { listed, pinned: *pinned }),
            (false, None) => {}
        }
    }
    found.covered = met.len();
    for (name, image) in needed.images.iter().filter(|(name, _)| !met.contains(name)) {
        let one = Needed { image: name.clone(), digest: image.digest, because: image.because.clone() };
        repositories.entry(name.name()).or_default().1.push(one);
    }
    for (repository, (listed, needed)) in repositories {
        match (listed.is_empty(), needed.is_empty()) {
            (true, _) => found.missing.extend(needed),
            (_, true) => found.stale.extend(listed),
            _ => found.versions.push(OtherVersion { repository, listed, needed }),
        }
    }
}

fn charts(list: &Peer, needed: &Snapshot, found: &mut Coverage) {
    let listed: Vec<_> = list
        .items
        .iter()
        .filter_map(|item| match &item.what {
            What::Chart(chart) => Some((item, chart)),
            _ => None,
        })
        .collect();
    if listed.is_empty() {
        return;
    }
    for (item, chart) in &listed {
        let same: Vec<_> =
            needed.charts.iter().filter(|known| known.chart == chart.name || known.source == chart.source).collect();
        let at = Some(item.at.clone());
        let version = chart.version.as_deref();
        // Helm reads `v1.2` and `1.2` as one version.
        let plain = |version: &str| version.trim_start_matches('v').to_owned();
        let is = |known: &str| version.is_none_or(|version| plain(version) == plain(known));
        if same.is_empty() {
            let what = format!("{} {}", chart.name, version.unwrap_or_default()).trim_end().to_owned();
            found.charts.push(Other { what, why: "stale: nothing carries it".to_owned(), at });
        } else if !same.iter().any(|known| is(&known.version)) {
            let have: Vec<&str> = same.iter().map(|known| known.version.as_str()).collect();
            let what = format!("{} {}", chart.name, version.unwrap_or_default());
            found.charts.push(Other { what, why: format!("another version is carried: {}", have.join(", ")), at });
        }
    }
    for chart in &needed.charts {
        if !listed.iter().any(|(_, known)| known.name == chart.chart || known.source == chart.source) {
            let what = format!("{} {}", chart.chart, chart.version);
            found.charts.push(Other { what, why: "missing: it is carried and not listed".to_owned(), at: None });
        }
    }
}

fn files(list: &Peer, needed: &Snapshot, found: &mut Coverage) {
    let listed: Vec<_> = list
        .items
        .iter()
        .filter_map(|item| match &item.what {
            What::File { name, source } => Some((item, name.as_deref(), source)),
            _ => None,
        })
        .collect();
    if listed.is_empty() {
        return;
    }
    let last = |path: &str| path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
    let same = |name: Option<&str>, source: &Source, file: &crate::lock::LockedFile| match source {
        Source::Url(url, _) if file.url.is_some() => file.url.as_deref() == Some(url),
        source => {
            let own = last(&file.name);
            name.is_some_and(|name| last(name) == own)
                || last(source.as_str()) == own
                || file.path.as_deref().is_some_and(|path| last(path) == last(source.as_str()))
        }
    };
    for (item, name, source) in &listed {
        if !needed.files.iter().any(|file| same(*name, source, file)) {
            let why = "stale: nothing carries it".to_owned();
            found.files.push(Other { what: source.as_str().to_owned(), why, at: Some(item.at.clone()) });
        }
    }
    for file in &needed.files {
        if !listed.iter().any(|(_, name, source)| same(*name, source, file)) {
            let why = "missing: it is carried and not listed".to_owned();
            found.files.push(Other { what: file.name.clone(), why, at: None });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        lock::{LockedChart, LockedFile},
        peers,
    };

    fn needed(charts: &[(&str, &str)], files: &[(&str, Option<&str>)]) -> Snapshot {
        let charts = charts.iter().map(|(name, version)| LockedChart {
            chart: (*name).into(),
            version: (*version).into(),
            digest: Digest::sha256(b""),
            archive: Digest::sha256(b""),
            size: 0,
            source: format!("https://charts.example.com/{name}-{version}.tgz"),
            vendored: Vec::new(),
            because: Vec::new(),
        });
        let files = files.iter().map(|(name, url)| LockedFile {
            name: (*name).into(),
            path: url.is_none().then(|| format!("files/{name}")),
            url: url.map(str::to_owned),
            entry: "files[0]".into(),
            members: Vec::new(),
        });
        Snapshot {
            name: "x".into(),
            version: "1".into(),
            sequence: 1,
            platforms: String::new(),
            images: BTreeMap::new(),
            charts: charts.collect(),
            files: files.collect(),
            not_carried: Some(vec![NotCarried {
                image: "docker.io/library/nginx:latest".parse().unwrap(),
                why: crate::lock::Why::Optional,
                by: None,
                reason: None,
                because: Vec::new(),
            }]),
            blobs: None,
        }
    }

    const HAULER: &str = "apiVersion: content.hauler.cattle.io/v1\nkind: Charts\nspec:\n  charts:\n    \
         - {name: one, repoURL: 'https://charts.example.com', version: v1.0.0}\n    \
         - {name: two, repoURL: 'oci://r.example.com/charts', version: 2.0.0}\n    \
         - {name: any, repoURL: 'https://charts.example.com'}\n    \
         - {name: stale, repoURL: 'https://charts.example.com', version: 1.0.0}\n---\n\
         apiVersion: content.hauler.cattle.io/v1\nkind: Files\nspec:\n  files:\n    \
         - {path: 'https://example.com/tool', name: tool}\n    - {path: ./motd.txt}\n    - {path: gone.txt}\n";

    #[test]
    fn charts_and_files_are_compared_where_the_list_knows_them() {
        let list = peers::read("hauler.yaml", HAULER).unwrap();
        let charts = [("any", "7.0.0"), ("missing", "1.0.0"), ("one", "1.0.0"), ("two", "2.1.0")];
        let files = [("motd.txt", None), ("bin/tool", Some("https://example.com/tool")), ("extra", None)];
        let found = coverage(&list, &needed(&charts, &files));
        let said = |list: &[Other]| list.iter().map(|one| format!("{}: {}", one.what, one.why)).collect::<Vec<_>>();
        assert_eq!(
            said(&found.charts),
            [
                "two 2.0.0: another version is carried: 2.1.0",
                "stale 1.0.0: stale: nothing carries it",
                "missing 1.0.0: missing: it is carried and not listed",
            ]
        );
        assert_eq!(
            said(&found.files),
            ["gone.txt: stale: nothing carries it", "extra: missing: it is carried and not listed"]
        );
        let images = peers::read("images.txt", "nginx\n").unwrap();
        let found = coverage(&images, &needed(&charts, &files));
        assert!(found.charts.is_empty() && found.files.is_empty() && found.stale.len() == 1);
        assert!(found.stale[0].not_carried.is_some());
    }
}
