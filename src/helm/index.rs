//! Which version of a chart is meant: the `index.yaml` of a repository, and lists of tags, chosen from as helm chooses.
//!
//! # Invariants
//! - An exact version wins over every range; of a range, the newest version. Prereleases are in a range only when the range
//!   names one (Masterminds' rule), and what is no semantic version is never chosen.
//! - Only the entries of the chart that is asked for are read in full: indices hold tens of thousands of others.
//!
//! # Failure
//! [`IndexError`] for what is no index, [`SelectError`] when nothing fits, with what there is instead.

use crate::yaml::{self, Node};

use super::{
    metadata::{Metadata, scalar},
    semver::{Constraint, Version},
};

/// How many versions an error lists.
const LISTED: usize = 5;

/// Says why a text is no index.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum IndexError {
    /// It is no YAML.
    #[error(transparent)]
    Syntax(#[from] yaml::Error),
    /// It is YAML, but no mapping; pages of web servers are sometimes text that reads as YAML.
    #[error("this is {0}, and the index of a repository is a mapping")]
    Shape(&'static str),
    /// `apiVersion` is missing, without which helm reads no index.
    #[error("no API version specified")]
    NoApiVersion,
    /// `entries` is no mapping of lists.
    #[error("line {0}: `entries` must map names of charts to lists of versions")]
    Entries(u32),
}

/// Says why no version was chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// There is no such chart.
    #[error("there is no chart {name:?}{}", near.as_ref().map(|near| format!("; did you mean {near:?}?")).unwrap_or_default())]
    NoChart {
        /// The name.
        name: String,
        /// A name that is there and looks like it.
        near: Option<String>,
    },
    /// The range is none.
    #[error("{0:?} is neither a version nor a range of versions")]
    Range(String),
    /// No version is in the range.
    #[error("no version fits {range:?}{}", offer(there, prereleases))]
    NoVersion {
        /// The range.
        range: String,
        /// The newest versions that are there.
        there: Vec<String>,
        /// Prereleases that would fit if the range admitted them.
        prereleases: Vec<String>,
    },
}

fn offer(there: &[String], prereleases: &[String]) -> String {
    if !prereleases.is_empty() {
        return format!(
            "; there are prereleases, which a range admits only when it names one: {}",
            prereleases.join(", ")
        );
    }
    match there {
        [] => "; there is no version at all".to_owned(),
        some => format!("; the newest are {}", some.join(", ")),
    }
}

/// One version of a chart in a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Release {
    /// The version as written.
    pub version: String,
    /// Where its archive is: whole addresses, or relative to the repository.
    pub urls: Vec<String>,
    /// What the repository says about the archive's SHA-256; empty when it says nothing.
    pub digest: String,
    /// Whether the chart is not maintained any more.
    pub deprecated: bool,
}

/// The `index.yaml` of a repository.
#[derive(Clone, Debug)]
pub struct Index {
    entries: Vec<(String, Node)>,
}

impl Index {
    /// Reads an index.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn parse(text: &str) -> Result<Index, IndexError> {
        let root = yaml::documents(text, &yaml::Options::lenient())?.into_iter().next();
        let root = root.ok_or(IndexError::Shape("nothing"))?;
        if root.as_map().is_none() {
            return Err(IndexError::Shape(root.kind_name()));
        }
        let written = root.get("apiVersion").and_then(|node| scalar(node, "apiVersion").ok());
        if written.is_none_or(|version| version.is_empty()) {
            return Err(IndexError::NoApiVersion);
        }
        let yaml::Value::Map(fields) = root.value else { return Err(IndexError::Shape("nothing")) };
        let Some((_, entries)) = fields.into_iter().find(|(key, _)| key.as_str() == Some("entries")) else {
            return Ok(Index { entries: Vec::new() });
        };
        let line = entries.at.line;
        let entries = match entries.value {
            yaml::Value::Null => Vec::new(),
            yaml::Value::Map(entries) => {
                entries.into_iter().filter_map(|(key, list)| Some((key.key()?.into_owned(), list))).collect()
            }
            _ => return Err(IndexError::Entries(line)),
        };
        Ok(Index { entries })
    }

    /// Returns the versions of a chart that helm would see, newest first.
    ///
    /// # Errors
    /// [`SelectError::NoChart`].
    pub fn versions(&self, name: &str) -> Result<Vec<Release>, SelectError> {
        let Some((_, list)) = self.entries.iter().find(|(known, _)| known == name) else {
            let known = self.entries.iter().map(|(known, _)| known.as_str());
            let near = crate::error::nearest(name, known).map(str::to_owned);
            return Err(SelectError::NoChart { name: name.to_owned(), near });
        };
        let mut found: Vec<(Option<Version>, Release)> = list
            .as_seq()
            .unwrap_or_default()
            .iter()
            .filter_map(release)
            .map(|release| (Version::parse(&release.version).ok(), release))
            .collect();
        found.sort_by(|(a, _), (b, _)| match (a, b) {
            (Some(a), Some(b)) => b.compare(a),
            (a, b) => b.is_some().cmp(&a.is_some()),
        });
        Ok(found.into_iter().map(|(_, release)| release).collect())
    }

    /// Chooses a version of a chart.
    ///
    /// # Errors
    /// [`SelectError`].
    pub fn select(&self, name: &str, range: &str) -> Result<Release, SelectError> {
        let releases = self.versions(name)?;
        let versions: Vec<&str> = releases.iter().map(|release| release.version.as_str()).collect();
        let at = select(&versions, range)?;
        releases.into_iter().nth(at).ok_or_else(|| SelectError::Range(range.to_owned()))
    }
}

/// Reads an entry; what helm skips is `None`: empty ones, and those whose description is invalid.
fn release(node: &Node) -> Option<Release> {
    let mut metadata = Metadata::default();
    metadata.read(node).ok()?;
    // Helm overlooks dependencies that are there twice, and so do we: only name, version and type count here.
    metadata.dependencies.clear();
    metadata.validate().ok()?;
    let text = |key: &str| node.get(key).and_then(|value| scalar(value, key).ok()).unwrap_or_default();
    let urls = node.get("urls").and_then(Node::as_seq).unwrap_or_default();
    let urls = urls.iter().filter_map(|url| scalar(url, "urls").ok()).filter(|url| !url.is_empty()).collect();
    Some(Release { version: metadata.version, urls, digest: text("digest"), deprecated: metadata.deprecated })
}

/// Chooses from versions that are sorted newest first; an empty range is any version.
///
/// # Errors
/// [`SelectError::Range`] and [`SelectError::NoVersion`].
pub fn select(newest_first: &[&str], range: &str) -> Result<usize, SelectError> {
    if let Some(at) = newest_first.iter().position(|version| *version == range && !range.is_empty()) {
        return Ok(at);
    }
    let constraint = match range {
        "" => Constraint::parse("*"),
        range => Constraint::parse(range),
    };
    let constraint = constraint.map_err(|_| SelectError::Range(range.to_owned()))?;
    let parsed: Vec<(usize, Version)> =
        newest_first.iter().enumerate().filter_map(|(at, text)| Some((at, Version::parse(text).ok()?))).collect();
    if let Some((at, _)) = parsed.iter().find(|(_, version)| constraint.check(version)) {
        return Ok(*at);
    }
    let listed = |found: &mut dyn Iterator<Item = usize>| {
        found.take(LISTED).map(|at| newest_first[at].to_owned()).collect::<Vec<String>>()
    };
    let would_fit = |version: &Version| {
        let mut release = version.clone();
        release.prerelease.clear();
        !version.prerelease.is_empty() && constraint.check(&release)
    };
    Err(SelectError::NoVersion {
        range: range.to_owned(),
        there: listed(&mut parsed.iter().map(|(at, _)| *at)),
        prereleases: listed(&mut parsed.iter().filter(|(_, version)| would_fit(version)).map(|(at, _)| *at)),
    })
}

/// Returns the versions that tags of a registry stand for, newest first: `_` means `+`, and what is no complete semantic
/// version is no version of a chart.
pub fn versions_of_tags<'a>(tags: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut found: Vec<(Version, String)> = tags
        .into_iter()
        .map(|tag| tag.replace('_', "+"))
        .filter(|text| is_strict(text))
        .filter_map(|text| Some((Version::parse(&text).ok()?, text)))
        .collect();
    found.sort_by(|(a, _), (b, _)| b.compare(a));
    found.into_iter().map(|(_, text)| text).collect()
}

/// Tells whether a text is a version as semver.org writes it: three numbers, no `v`, no zeros in front.
pub fn is_strict(text: &str) -> bool {
    let core = text.split(['-', '+']).next().unwrap_or_default();
    let mut numbers = core.split('.');
    let number = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && (part.len() == 1 || !part.starts_with('0'))
    };
    let three = (0..3).all(|_| numbers.next().is_some_and(number));
    three && numbers.next().is_none() && Version::parse(text).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INDEX: &str = "\
apiVersion: v1
entries:
  web:
  - {name: web, version: 1.2.0, urls: [web-1.2.0.tgz], digest: sha256:aa}
  - {name: web, version: 2.0.0-rc.1, urls: [web-2.0.0-rc.1.tgz]}
  - {name: web, version: 1.10.0, urls: ['https://cdn.example.com/web-1.10.0.tgz'], deprecated: true}
  - ~
  - {name: web, version: not-a-version, urls: [x]}
  - {version: 9.0.0, urls: [nameless]}
  - {name: web, version: v1.9, urls: [web-v1.9.tgz], dependencies: [{name: a}, {name: a}]}
  - {name: web, version: 0.1.0+build.5}
  rc:
  - {name: rc, version: 1.0.0-alpha.1}
";

    fn chosen(range: &str) -> String {
        match Index::parse(INDEX).unwrap().select("web", range) {
            Ok(release) => release.version,
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn chooses_as_helm_does() {
        for (range, expected) in [
            ("", "1.10.0"),
            ("*", "1.10.0"),
            ("1.2.0", "1.2.0"),
            ("^1.2", "1.10.0"),
            ("~1.2", "1.2.0"),
            ("1.9", "v1.9"),
            ("v1.9", "v1.9"),
            ("<1.9.0 >1.0", "1.2.0"),
            (">=1.0-0", "2.0.0-rc.1"),
            ("2.0.0-rc.1", "2.0.0-rc.1"),
            ("0.1.0", "0.1.0+build.5"),
            ("1.x || 2.x", "1.10.0"),
        ] {
            assert_eq!(chosen(range), expected, "{range}");
        }
        assert!(chosen("^2").contains("prereleases") && chosen("^2").contains("2.0.0-rc.1"));
        assert!(chosen("^7").contains("the newest are 2.0.0-rc.1, 1.10.0"));
        assert!(chosen("latest").contains("neither a version nor a range"));
        let index = Index::parse(INDEX).unwrap();
        assert!(index.select("wbe", "*").unwrap_err().to_string().contains("did you mean \"web\""));
        assert!(index.select("rc", "*").unwrap_err().to_string().contains("1.0.0-alpha.1"));
        let found = index.select("web", "1.10.0").unwrap();
        assert!(found.deprecated && found.urls == ["https://cdn.example.com/web-1.10.0.tgz"]);
    }

    #[test]
    fn what_is_no_index_is_said() {
        for (text, expected) in [
            ("", IndexError::Shape("nothing")),
            ("<html>", IndexError::Shape("a string")),
            ("entries: {}", IndexError::NoApiVersion),
            ("apiVersion: v1\nentries: [a]", IndexError::Entries(2)),
        ] {
            assert_eq!(Index::parse(text).unwrap_err(), expected, "{text}");
        }
        assert!(matches!(Index::parse("a: [b"), Err(IndexError::Syntax(_))));
        assert!(Index::parse("apiVersion: v1").unwrap().versions("a").is_err());
    }

    #[test]
    fn tags_are_versions_when_they_are_complete() {
        let tags = ["1.0.0", "latest", "1.10.0_b.1", "v2.0.0", "1.2", "01.2.3", "1.10.0-rc.1", "sha256-aa.sig"];
        assert_eq!(versions_of_tags(tags), ["1.10.0+b.1", "1.10.0-rc.1", "1.0.0"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn reading_never_panics(text in "(apiVersion: v1\n|entries:\n|  a:\n|  - |name: a|version: |urls: |\\[|\\]|\\{|\\}|,|1\\.0|\\PC{0,5}|\n){0,20}", range in "\\PC{0,12}") {
            if let Ok(index) = Index::parse(&text) {
                let _ = index.select("a", &range);
            }
        }

        #[test]
        fn the_newest_that_fits_is_chosen(numbers in proptest::collection::vec((0u64..4, 0u64..4, 0u64..4), 1..20), major in 0u64..4) {
            let entries: String = numbers.iter().map(|(a, b, c)| format!("  - {{name: a, version: {a}.{b}.{c}}}\n")).collect();
            let index = Index::parse(&format!("apiVersion: v1\nentries:\n  a:\n{entries}")).unwrap();
            let best = numbers.iter().filter(|(a, _, _)| *a == major).max();
            let found = index.select("a", &format!("{major}.x")).ok().map(|release| release.version);
            prop_assert_eq!(found, best.map(|(a, b, c)| format!("{a}.{b}.{c}")));
        }
    }
}
