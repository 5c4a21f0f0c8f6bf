//! What changed from one lock or archive to another.
//!
//! Images and charts that changed their version are told as one change of their repository; the rest is new, gone, or the
//! same name with other content.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::snapshot::{ImageSeen, Snapshot};
use crate::{
    discover::Finding,
    helm::semver::Version,
    lock::{LockedChart, LockedFile, NotCarried, Why},
    oci::{Digest, Reference},
};

/// Holds everything that changed; empty lists mean that nothing did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Diff {
    /// Properties of the whole.
    pub properties: Vec<Property>,
    /// Images.
    pub images: Changed<ImageAt, ImageVersions, ImageMoved, ImageReasons>,
    /// Charts.
    pub charts: Changed<ChartChange, ChartChange, ChartChange, ChartChange>,
    /// Files.
    pub files: Vec<FileChange>,
    /// Decisions about what is found and not carried; of two locks that know such.
    pub not_carried: Vec<Decision>,
    /// What must travel; known when both are archives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<SizeChange>,
}

/// Sorts changes of one sort of thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changed<A, V, M, R> {
    /// New.
    pub added: Vec<A>,
    /// Gone.
    pub removed: Vec<A>,
    /// Another version of the same thing.
    pub versions: Vec<V>,
    /// The same name with other content.
    pub moved: Vec<M>,
    /// There for other reasons.
    pub reasons: Vec<R>,
}

impl<A, V, M, R> Default for Changed<A, V, M, R> {
    fn default() -> Self {
        Changed { added: Vec::new(), removed: Vec::new(), versions: Vec::new(), moved: Vec::new(), reasons: Vec::new() }
    }
}

impl<A, V, M, R> Changed<A, V, M, R> {
    /// Tells whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty()
            && self.removed.is_empty()
            && self.versions.is_empty()
            && self.moved.is_empty()
            && self.reasons.is_empty()
    }
}

/// A property of the whole that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Property {
    /// Which.
    pub what: &'static str,
    /// Before.
    pub from: String,
    /// Now.
    pub to: String,
}

/// An image on one side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageAt {
    /// Its name.
    pub image: Reference,
    /// Its digest.
    pub digest: Digest,
    /// Its size, when it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Why it is there.
    pub because: Vec<Finding>,
}

/// A repository of which other versions are there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageVersions {
    /// The repository, with its host.
    pub repository: String,
    /// What was there and is not any more.
    pub from: Vec<ImageAt>,
    /// What is new.
    pub to: Vec<ImageAt>,
    /// How far the version jumped, where one took the place of one and both are versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jump: Option<Jump>,
}

/// How far a version jumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Jump {
    /// The first number.
    Major,
    /// The second number.
    Minor,
    /// The third number.
    Patch,
    /// Less than that: a prerelease or a suffix.
    Suffix,
    /// Back.
    Back,
}

impl Jump {
    /// Returns the word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Jump::Major => "major",
            Jump::Minor => "minor",
            Jump::Patch => "patch",
            Jump::Suffix => "suffix",
            Jump::Back => "back",
        }
    }

    fn of(from: &str, to: &str) -> Option<Jump> {
        let (from, to) = (Version::parse(from).ok()?, Version::parse(to).ok()?);
        let numbers = |version: &Version| [version.major, version.minor, version.patch];
        let (a, b) = (numbers(&from), numbers(&to));
        Some(match a.iter().zip(&b).position(|(a, b)| a != b) {
            Some(at) if b[at] < a[at] => Jump::Back,
            Some(0) => Jump::Major,
            Some(1) => Jump::Minor,
            Some(_) => Jump::Patch,
            None if from.compare(&to).is_gt() => Jump::Back,
            None => Jump::Suffix,
        })
    }
}

/// An image whose name stayed and whose content did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageMoved {
    /// Its name.
    pub image: Reference,
    /// The digest before.
    pub from: Digest,
    /// The digest now.
    pub to: Digest,
    /// The size before, when it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_size: Option<u64>,
    /// The size now, when it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_size: Option<u64>,
}

/// An image that is the same and there for other reasons; line numbers do not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageReasons {
    /// Its name.
    pub image: Reference,
    /// Reasons that are new.
    pub gained: Vec<Finding>,
    /// Reasons that are gone.
    pub lost: Vec<Finding>,
    /// Where it is pulled from, when that changed: before and now; without one, from where its name says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<(Option<Reference>, Option<Reference>)>,
    /// Whose signatures were checked, when that changed: before and now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signers: Option<(Vec<String>, Vec<String>)>,
}

/// A change of a chart; which side is empty depends on the change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChartChange {
    /// Its name.
    pub chart: String,
    /// Before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<ChartAt>,
    /// Now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<ChartAt>,
    /// How far the version jumped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jump: Option<Jump>,
}

/// A chart on one side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChartAt {
    /// Its version.
    pub version: String,
    /// The digest of its archive.
    pub archive: Digest,
    /// The size of its archive.
    pub size: u64,
    /// Where it comes from.
    pub source: String,
}

/// A change of the files of one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// The name.
    pub file: String,
    /// Members that are new.
    pub added: Vec<String>,
    /// Members that are gone.
    pub removed: Vec<String>,
    /// Members with other content.
    pub changed: Vec<String>,
    /// The size of all members before; none when the name is new.
    #[serde(rename = "fromSize", skip_serializing_if = "Option::is_none")]
    pub from_size: Option<u64>,
    /// The size of all members now; none when the name is gone.
    #[serde(rename = "toSize", skip_serializing_if = "Option::is_none")]
    pub to_size: Option<u64>,
}

/// A changed decision about an image that is not carried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// The image.
    pub image: Reference,
    /// What it was; none when it was not found, or was carried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Why>,
    /// What it is; none when it is not found any more, or is carried now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Why>,
}

/// How much of an archive another one has already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SizeChange {
    /// All content before.
    pub from: u64,
    /// All content now.
    pub to: u64,
    /// Content that is new.
    pub new: u64,
    /// Content that both have.
    pub shared: u64,
    /// Content that is gone.
    pub gone: u64,
}

impl Diff {
    /// Tells whether anything differs. Sizes follow from the rest and do not count.
    pub fn is_empty(&self) -> bool {
        self.properties.is_empty()
            && self.images.is_empty()
            && self.charts.is_empty()
            && self.files.is_empty()
            && self.not_carried.is_empty()
    }
}

/// Compares; the sequence and the lines in reasons do not count, as everywhere.
pub fn diff(old: &Snapshot, new: &Snapshot) -> Diff {
    let texts = [
        ("name", &old.name, &new.name),
        ("version", &old.version, &new.version),
        ("platforms", &old.platforms, &new.platforms),
    ];
    let differing = texts.into_iter().filter(|(_, from, to)| from != to);
    Diff {
        properties: differing.map(|(what, from, to)| Property { what, from: from.clone(), to: to.clone() }).collect(),
        images: images(&old.images, &new.images),
        charts: charts(&old.charts, &new.charts),
        files: files(&old.files, &new.files),
        not_carried: match (&old.not_carried, &new.not_carried) {
            (Some(old), Some(new)) => decisions(old, new),
            _ => Vec::new(),
        },
        size: old.blobs.as_ref().zip(new.blobs.as_ref()).map(|(old, new)| sizes(old, new)),
    }
}

fn at(name: &Reference, seen: &ImageSeen) -> ImageAt {
    ImageAt { image: name.clone(), digest: seen.digest, size: seen.size, because: seen.because.clone() }
}

fn images(
    old: &BTreeMap<Reference, ImageSeen>,
    new: &BTreeMap<Reference, ImageSeen>,
) -> Changed<ImageAt, ImageVersions, ImageMoved, ImageReasons> {
    let mut changed = Changed::default();
    // What came and went, by repository.
    let mut repositories: BTreeMap<String, (Vec<ImageAt>, Vec<ImageAt>)> = BTreeMap::new();
    for (name, seen) in old.iter().filter(|(name, _)| !new.contains_key(name)) {
        repositories.entry(name.name()).or_default().0.push(at(name, seen));
    }
    for (name, now) in new {
        match old.get(name) {
            None => repositories.entry(name.name()).or_default().1.push(at(name, now)),
            Some(before) => {
                if before.digest != now.digest {
                    changed.moved.push(ImageMoved {
                        image: name.clone(),
                        from: before.digest,
                        to: now.digest,
                        from_size: before.size,
                        to_size: now.size,
                    });
                }
                changed.reasons.extend(reasons(name, before, now));
            }
        }
    }
    for (repository, (from, to)) in repositories {
        match (from.as_slice(), to.as_slice()) {
            ([], _) => changed.added.extend(to),
            (_, []) => changed.removed.extend(from),
            _ => {
                let jump = match (from.as_slice(), to.as_slice()) {
                    ([one], [other]) => one.image.tag.as_ref().zip(other.image.tag.as_ref()),
                    _ => None,
                };
                let jump = jump.and_then(|(from, to)| Jump::of(from.as_str(), to.as_str()));
                changed.versions.push(ImageVersions { repository, from, to, jump });
            }
        }
    }
    changed
}

fn reasons(name: &Reference, before: &ImageSeen, now: &ImageSeen) -> Option<ImageReasons> {
    let without = |seen: &ImageSeen| seen.because.iter().map(Finding::without_lines).collect::<BTreeSet<_>>();
    let (old, new) = (without(before), without(now));
    let only = |seen: &ImageSeen, other: &BTreeSet<Finding>| {
        seen.because.iter().filter(|reason| !other.contains(&reason.without_lines())).cloned().collect::<Vec<_>>()
    };
    let (gained, lost) = (only(now, &old), only(before, &new));
    let source = (before.from != now.from).then(|| (before.from.clone(), now.from.clone()));
    let signers = (before.verified != now.verified).then(|| (before.verified.clone(), now.verified.clone()));
    if gained.is_empty() && lost.is_empty() && source.is_none() && signers.is_none() {
        return None;
    }
    Some(ImageReasons { image: name.clone(), gained, lost, source, signers })
}

fn chart_at(chart: &LockedChart) -> ChartAt {
    ChartAt { version: chart.version.clone(), archive: chart.archive, size: chart.size, source: chart.source.clone() }
}

fn charts(old: &[LockedChart], new: &[LockedChart]) -> Changed<ChartChange, ChartChange, ChartChange, ChartChange> {
    let mut changed = Changed::default();
    let mut names: BTreeMap<&str, (Vec<ChartAt>, Vec<ChartAt>)> = BTreeMap::new();
    let find = |charts: &'_ [LockedChart], wanted: &LockedChart| {
        charts.iter().position(|chart| chart.chart == wanted.chart && chart.version == wanted.version)
    };
    for chart in old.iter().filter(|chart| find(new, chart).is_none()) {
        names.entry(&chart.chart).or_default().0.push(chart_at(chart));
    }
    for chart in new {
        let Some(before) = find(old, chart).map(|at| &old[at]) else {
            names.entry(&chart.chart).or_default().1.push(chart_at(chart));
            continue;
        };
        let change = || ChartChange {
            chart: chart.chart.clone(),
            from: vec![chart_at(before)],
            to: vec![chart_at(chart)],
            jump: None,
        };
        let mut ways = (before.because.clone(), chart.because.clone());
        for ways in [&mut ways.0, &mut ways.1] {
            ways.iter_mut().flatten().for_each(|step| *step = step.without_line());
            ways.sort();
        }
        if before.digest != chart.digest || before.archive != chart.archive {
            changed.moved.push(change());
        } else if ways.0 != ways.1 || before.source != chart.source {
            changed.reasons.push(change());
        }
    }
    for (name, (from, to)) in names {
        let jump = match (from.as_slice(), to.as_slice()) {
            ([one], [other]) => Jump::of(&one.version, &other.version),
            _ => None,
        };
        let list = match (from.is_empty(), to.is_empty()) {
            (true, _) => &mut changed.added,
            (_, true) => &mut changed.removed,
            _ => &mut changed.versions,
        };
        list.push(ChartChange { chart: name.to_owned(), from, to, jump });
    }
    changed
}

fn files(old: &[LockedFile], new: &[LockedFile]) -> Vec<FileChange> {
    fn members(file: Option<&&LockedFile>) -> BTreeMap<String, (Digest, u64)> {
        let members = file.iter().flat_map(|file| &file.members);
        members.map(|member| (member.path.to_string(), (member.digest, member.size))).collect()
    }
    let by_name = |files: &'_ [LockedFile]| files.iter().map(|file| file.name.clone()).collect::<BTreeSet<_>>();
    let mut found = Vec::new();
    for name in by_name(old).union(&by_name(new)) {
        let (before, now) = (old.iter().find(|file| file.name == *name), new.iter().find(|file| file.name == *name));
        let (a, b) = (members(before.as_ref()), members(now.as_ref()));
        if a == b && before.is_some() == now.is_some() {
            continue;
        }
        let size = |members: &BTreeMap<String, (Digest, u64)>| members.values().map(|(_, size)| size).sum();
        found.push(FileChange {
            file: name.clone(),
            added: b.keys().filter(|path| !a.contains_key(*path)).cloned().collect(),
            removed: a.keys().filter(|path| !b.contains_key(*path)).cloned().collect(),
            changed: b
                .iter()
                .filter(|(path, is)| a.get(*path).is_some_and(|was| was != *is))
                .map(|(path, _)| path.clone())
                .collect(),
            from_size: before.map(|_| size(&a)),
            to_size: now.map(|_| size(&b)),
        });
    }
    found
}

fn decisions(old: &[NotCarried], new: &[NotCarried]) -> Vec<Decision> {
    let by_name =
        |list: &'_ [NotCarried]| list.iter().map(|one| (one.image.clone(), one.why)).collect::<BTreeMap<_, _>>();
    let (old, new) = (by_name(old), by_name(new));
    let names: BTreeSet<&Reference> = old.keys().chain(new.keys()).collect();
    let decision =
        |name: &Reference| Decision { image: name.clone(), from: old.get(name).copied(), to: new.get(name).copied() };
    names.into_iter().map(decision).filter(|one| one.from != one.to).collect()
}

fn sizes(old: &BTreeMap<Digest, u64>, new: &BTreeMap<Digest, u64>) -> SizeChange {
    let shared = new.iter().filter(|(digest, _)| old.contains_key(*digest)).map(|(_, size)| size).sum();
    let (from, to): (u64, u64) = (old.values().sum(), new.values().sum());
    SizeChange { from, to, new: to.saturating_sub(shared), shared, gone: from.saturating_sub(shared) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::{Confidence, Step};

    fn chart(name: &str, version: &str, content: &[u8], entry: &str) -> LockedChart {
        LockedChart {
            chart: name.into(),
            version: version.into(),
            digest: Digest::sha256(content),
            archive: Digest::sha256(content),
            size: content.len() as u64,
            source: format!("https://charts.example.com/{name}-{version}.tgz"),
            vendored: Vec::new(),
            because: vec![vec![Step::entry(entry)]],
        }
    }

    fn seen(content: &[u8], entry: &str, line: u32) -> ImageSeen {
        let provenance = vec![Step::entry(entry), Step::File { file: "a.yaml".into(), line: Some(line) }];
        let because = vec![Finding { written: "x".into(), confidence: Confidence::Schema, provenance }];
        ImageSeen { digest: Digest::sha256(content), because, from: None, verified: Vec::new(), size: None }
    }

    #[test]
    fn jumps_are_graded() {
        for (from, to, jump) in [
            ("1.2.3", "2.0.0", Some(Jump::Major)),
            ("v1.2.3", "v1.3.0", Some(Jump::Minor)),
            ("1.27", "1.27.1", Some(Jump::Patch)),
            ("1.27-alpine", "1.27-slim", Some(Jump::Suffix)),
            ("1.2.3", "1.2.2", Some(Jump::Back)),
            ("1.2.3", "1.2.3-rc.1", Some(Jump::Back)),
            ("latest", "1.0.0", None),
        ] {
            assert_eq!(Jump::of(from, to), jump, "{from} {to}");
        }
    }

    #[test]
    fn every_change_of_a_chart_has_its_list() {
        let old = [
            chart("gone", "1.0.0", b"gone", "charts[0]"),
            chart("moved", "1.0.0", b"one", "charts[1]"),
            chart("newer", "1.0.0", b"newer", "charts[2]"),
            chart("other", "1.0.0", b"other", "charts[3]"),
            chart("same", "1.0.0", b"same", "charts[4]"),
        ];
        let new = [
            chart("added", "1.0.0", b"added", "charts[0]"),
            chart("moved", "1.0.0", b"two", "charts[1]"),
            chart("newer", "2.0.0", b"newer", "charts[2]"),
            chart("other", "1.0.0", b"other", "charts[9]"),
            chart("same", "1.0.0", b"same", "charts[4]"),
        ];
        let changed = charts(&old, &new);
        let names = |list: &[ChartChange]| list.iter().map(|one| one.chart.clone()).collect::<Vec<_>>();
        assert_eq!(names(&changed.added), ["added"]);
        assert_eq!(names(&changed.removed), ["gone"]);
        assert_eq!(names(&changed.versions), ["newer"]);
        assert_eq!(changed.versions[0].jump, Some(Jump::Major));
        assert_eq!(names(&changed.moved), ["moved"]);
        assert_eq!(names(&changed.reasons), ["other"]);
        assert!(charts(&old, &old).is_empty());
    }

    #[test]
    fn several_tags_of_a_repository_are_one_change_and_lines_are_none() {
        let name = |text: &str| text.parse::<Reference>().unwrap();
        let old = BTreeMap::from([
            (name("a.io/a:1"), seen(b"1", "images[0]", 3)),
            (name("a.io/a:2"), seen(b"2", "images[1]", 3)),
        ]);
        let new = BTreeMap::from([
            (name("a.io/a:1"), seen(b"1", "images[0]", 99)),
            (name("a.io/a:3"), seen(b"3", "images[1]", 3)),
            (name("a.io/a:4"), seen(b"4", "images[2]", 3)),
        ]);
        let changed = images(&old, &new);
        assert!(changed.reasons.is_empty() && changed.added.is_empty() && changed.removed.is_empty());
        let [one] = &changed.versions[..] else { panic!("{changed:?}") };
        assert_eq!((one.from.len(), one.to.len(), one.jump), (1, 2, None));
        let signed = ImageSeen { verified: vec!["a.pub".into()], ..seen(b"1", "images[0]", 3) };
        let changed =
            images(&old, &BTreeMap::from([(name("a.io/a:1"), signed), (name("a.io/a:2"), seen(b"2", "images[1]", 3))]));
        assert_eq!(changed.reasons[0].signers, Some((Vec::new(), vec!["a.pub".to_owned()])));
    }
}
