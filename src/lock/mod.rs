//! `bundle.lock`: what a spec resolved to. Every image pinned to a digest with all its reasons, every file with its hash.
//!
//! | file | owns |
//! |---|---|
//! | `mod.rs` | the model, reading and writing |
//! | `not_carried.rs` | what was found and decided against |
//! | `compare.rs` | what changed between two locks |
//!
//! # Invariants
//! - Images are sorted by name, each name once, and none is without a reason.
//! - What was found and is not carried is there too, with the decision: nothing vanishes.
//! - [`Lock::parse`] of [`Lock::to_text`] is the same lock; the same lock is always the same text. One block per image and
//!   one line per reason, so that changes to different images merge.
//! - The sequence rises whenever anything else in the lock changes; the same lock is always the same archive.
//!
//! # Failure
//! A lock that a person or a merge has damaged is an [`Error`] with its place; nothing of it is used.

mod compare;
mod not_carried;

use std::{collections::BTreeSet, fmt::Write as _};

use serde::{Deserialize, Serialize};

use crate::{
    discover::{Finding, Step},
    error::{Classify, Diagnostic, Kind, Location},
    oci::{Digest, MediaType, Platform, Reference},
    tree::RelPath,
    yaml,
};

pub use compare::{Change, Difference};
pub use not_carried::{NotCarried, Why};

/// The version of the file format.
const API_VERSION: &str = "airgap-bundler/v1";
/// What the file says it is.
const KIND: &str = "Lock";

/// Says what a spec resolved to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// The name of the bundle.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its place in the row of locks of this name: the date as a number, or one more than the lock before.
    pub sequence: u64,
    /// The selected platforms.
    pub platforms: Vec<Platform>,
    /// The charts, sorted by name and version.
    pub charts: Vec<LockedChart>,
    /// The images, sorted by name.
    pub images: Vec<LockedImage>,
    /// Images that were found and are not carried, sorted by name.
    pub not_carried: Vec<NotCarried>,
    /// The files, sorted by name.
    pub files: Vec<LockedFile>,
}

/// One pinned image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LockedImage {
    /// The name under which manifests ask for it.
    pub image: Reference,
    /// What it was when it was pinned.
    pub digest: Digest,
    /// The type of its root manifest.
    pub media_type: MediaType,
    /// The size of its root manifest in bytes.
    pub size: u64,
    /// Where it is pulled from instead, by a substitution of the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Reference>,
    /// The file that it comes from, relative to the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
    /// Whose signatures of it were checked, because the spec wants them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verified: Vec<Verified>,
    /// Why it is here; never empty.
    pub because: Vec<Finding>,
}

/// A signature of upstream that was checked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    /// The key: the SHA-256 of its SPKI DER, in hex digits.
    pub key: String,
    /// The file of the key, as the spec names it.
    pub file: String,
    /// Where the signature was.
    pub form: SignatureForm,
}

/// Says where a signature of an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignatureForm {
    /// At cosign's tag beside the image, or in the same form among what refers to it.
    Tag,
    /// In a sigstore bundle that refers to the image.
    Bundle,
}

impl SignatureForm {
    /// Returns the word used in files and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            SignatureForm::Tag => "tag",
            SignatureForm::Bundle => "bundle",
        }
    }
}

/// One chart, with everything that it needs inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LockedChart {
    /// Its name, as its `Chart.yaml` says.
    pub chart: String,
    /// Its version, as its `Chart.yaml` says.
    pub version: String,
    /// The digest of its OCI artifact: the one that it had in a registry, or the one that is made of its archive.
    pub digest: Digest,
    /// The digest of its archive, the `.tgz`.
    pub archive: Digest,
    /// The size of its archive in bytes.
    pub size: u64,
    /// Where it comes from: the address of its archive, `oci://…` with the tag, `git+…`, or a path relative to the spec.
    pub source: String,
    /// What was put into it because it was missing; then its bytes are not the ones of the source.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vendored: Vec<LockedDependency>,
    /// The ways from the spec to it; never empty.
    pub because: Vec<Vec<Step>>,
}

/// A chart that was fetched and put into another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LockedDependency {
    /// Where it was put: the names of the charts that hold it and its own, such as `shop/redis`.
    pub path: String,
    /// Its version.
    pub version: String,
    /// The digest of its archive.
    pub archive: Digest,
    /// Where it comes from.
    pub source: String,
}

/// One entry of `files`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LockedFile {
    /// Its name in the spec.
    pub name: String,
    /// Where it is, relative to the spec: a file or a folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Where it is fetched from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Which entry of the spec asks for it.
    pub entry: String,
    /// The files, sorted by path; below the name when it is a folder, otherwise one with the file's own name.
    pub members: Vec<Member>,
}

/// One file of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Member {
    /// Its path below the entry's name.
    #[serde(deserialize_with = "rel_path")]
    pub path: RelPath,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

fn rel_path<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<RelPath, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    api_version: String,
    kind: String,
    bundle: RawBundle,
    platforms: Vec<String>,
    #[serde(default)]
    charts: Vec<LockedChart>,
    #[serde(default)]
    images: Vec<LockedImage>,
    #[serde(default)]
    not_carried: Vec<NotCarried>,
    #[serde(default)]
    files: Vec<LockedFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBundle {
    name: String,
    version: String,
    sequence: u64,
}

/// Says why a lock cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{file} is no lock that can be used; delete it to resolve everything anew, or restore it")]
pub struct Error {
    file: String,
    diagnostics: Vec<Diagnostic>,
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        Kind::Usage
    }

    fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }
}

impl Lock {
    /// Reads a lock; `file` names it in errors.
    ///
    /// # Errors
    /// Not a lock, or one that breaks its own rules (unsorted, an image twice, an image without a reason).
    pub fn parse(file: &str, text: &str) -> Result<Lock, Error> {
        let error = |message: String, line: u32, column: u32| Error {
            file: file.to_owned(),
            diagnostics: vec![Diagnostic::error("lock", message).at(Location::new(file, line, column))],
        };
        let raw: Raw =
            yaml::from_text(text).map_err(|cause| error(cause.problem.to_string(), cause.at.line, cause.at.column))?;
        if raw.api_version != API_VERSION || raw.kind != KIND {
            return Err(error(format!("this is {} {}, not {API_VERSION} {KIND}", raw.api_version, raw.kind), 1, 1));
        }
        let platforms = raw.platforms.iter().map(|text| text.parse()).collect::<Result<Vec<Platform>, _>>();
        let platforms = platforms.map_err(|cause| error(cause.to_string(), 1, 1))?;
        let place = |needle: &str| text.lines().position(|line| line.contains(needle)).map_or(1, |at| at as u32 + 1);
        for pair in raw.images.windows(2) {
            if pair[0].image >= pair[1].image {
                let name = pair[1].image.to_string();
                return Err(error(format!("{name} is out of order or there twice"), place(&name), 1));
            }
        }
        for pair in raw.not_carried.windows(2) {
            if pair[0].image >= pair[1].image {
                let name = pair[1].image.to_string();
                return Err(error(format!("{name} is out of order or there twice"), place(&name), 1));
            }
        }
        if let Some(both) = raw.not_carried.iter().find(|one| raw.images.iter().any(|image| image.image == one.image)) {
            let name = both.image.to_string();
            return Err(error(format!("{name} is carried and not carried"), place(&name), 1));
        }
        if let Some(bare) = raw.images.iter().find(|image| image.because.is_empty()) {
            let name = bare.image.to_string();
            return Err(error(format!("{name} is here without a reason"), place(&name), 1));
        }
        for image in &raw.images {
            if image.image.digest.is_some_and(|named| named != image.digest) {
                let name = image.image.to_string();
                return Err(error(format!("{name} is pinned to {}", image.digest), place(&name), 1));
            }
        }
        for pair in raw.charts.windows(2) {
            if (&pair[0].chart, &pair[0].version) >= (&pair[1].chart, &pair[1].version) {
                let name = format!("the chart {} {}", pair[1].chart, pair[1].version);
                return Err(error(format!("{name} is out of order or there twice"), place(&pair[1].chart), 1));
            }
        }
        if let Some(bare) = raw.charts.iter().find(|chart| chart.because.is_empty()) {
            let name = format!("the chart {}", bare.chart);
            return Err(error(format!("{name} is here without a reason"), place(&bare.chart), 1));
        }
        let mut names = BTreeSet::new();
        for file in &raw.files {
            if !names.insert(&file.name) || file.path.is_some() == file.url.is_some() {
                return Err(error(
                    format!("the file {:?} is there twice or has no source", file.name),
                    place(&file.name),
                    1,
                ));
            }
        }
        Ok(Lock {
            name: raw.bundle.name,
            version: raw.bundle.version,
            sequence: raw.bundle.sequence,
            platforms,
            charts: raw.charts,
            images: raw.images,
            not_carried: raw.not_carried,
            files: raw.files,
        })
    }

    /// Writes the lock.
    pub fn to_text(&self) -> String {
        let mut out =
            String::from("# Written by `bundle resolve` and `bundle create`. Review it, commit it, do not edit it.\n");
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let _ = writeln!(out, "apiVersion: {API_VERSION}\nkind: {KIND}\nbundle:");
        let _ = writeln!(
            out,
            "  name: {}\n  version: {}\n  sequence: {}",
            quoted(&self.name),
            quoted(&self.version),
            self.sequence
        );
        let platforms: Vec<String> = self.platforms.iter().map(ToString::to_string).collect();
        let _ = writeln!(out, "platforms: [{}]", platforms.join(", "));
        out.push_str(if self.charts.is_empty() { "charts: []\n" } else { "charts:\n" });
        for chart in &self.charts {
            let _ = writeln!(out, "  - chart: {}\n    version: {}", quoted(&chart.chart), quoted(&chart.version));
            let _ = writeln!(out, "    digest: {}\n    archive: {}", chart.digest, chart.archive);
            let _ = writeln!(out, "    size: {}\n    source: {}", chart.size, quoted(&chart.source));
            if !chart.vendored.is_empty() {
                out.push_str("    vendored:\n");
            }
            for dependency in &chart.vendored {
                let _ = writeln!(out, "      - {}", serde_json::to_string(dependency).unwrap_or_default());
            }
            out.push_str("    because:\n");
            for reason in &chart.because {
                let _ = writeln!(out, "      - {}", serde_json::to_string(reason).unwrap_or_default());
            }
        }
        out.push_str(if self.images.is_empty() { "images: []\n" } else { "images:\n" });
        for image in &self.images {
            let _ = writeln!(out, "  - image: {}\n    digest: {}", quoted(&image.image.to_string()), image.digest);
            let _ = writeln!(out, "    mediaType: {}\n    size: {}", quoted(image.media_type.as_str()), image.size);
            if let Some(from) = &image.from {
                let _ = writeln!(out, "    from: {}", quoted(&from.to_string()));
            }
            if let Some(archive) = &image.archive {
                let _ = writeln!(out, "    archive: {}", quoted(archive));
            }
            if !image.verified.is_empty() {
                out.push_str("    verified:\n");
            }
            for signature in &image.verified {
                let _ = writeln!(out, "      - {}", serde_json::to_string(signature).unwrap_or_default());
            }
            out.push_str("    because:\n");
            for reason in &image.because {
                let _ = writeln!(out, "      - {}", serde_json::to_string(reason).unwrap_or_default());
            }
        }
        if !self.not_carried.is_empty() {
            out.push_str("notCarried:\n");
            self.not_carried.iter().for_each(|one| one.write(&mut out));
        }
        out.push_str(if self.files.is_empty() { "files: []\n" } else { "files:\n" });
        for file in &self.files {
            let _ = writeln!(out, "  - name: {}\n    entry: {}", quoted(&file.name), quoted(&file.entry));
            if let Some(path) = &file.path {
                let _ = writeln!(out, "    path: {}", quoted(path));
            }
            if let Some(url) = &file.url {
                let _ = writeln!(out, "    url: {}", quoted(url));
            }
            out.push_str(if file.members.is_empty() { "    members: []\n" } else { "    members:\n" });
            for member in &file.members {
                let _ = writeln!(out, "      - {}", serde_json::to_string(member).unwrap_or_default());
            }
        }
        out
    }

    /// Returns the sequence for a lock that replaces `previous`, made on the day `date` (as a number, `20261231`): the
    /// same when nothing else changed, else the date or one more than before, whichever is larger.
    pub fn next_sequence(&self, previous: Option<&Lock>, date: u64) -> u64 {
        match previous {
            // The inventory holds every reason with its line: a line that moved makes another archive, and two archives
            // under one number are refused.
            Some(previous) if Lock { sequence: previous.sequence, ..self.clone() } == *previous => previous.sequence,
            Some(previous) => date.max(previous.sequence.saturating_add(1)),
            None => date,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::{Confidence, Step};
    use proptest::prelude::*;

    pub(super) fn image(name: &str, seed: u8) -> LockedImage {
        LockedImage {
            image: name.parse().unwrap(),
            digest: Digest::sha256(&[seed]),
            media_type: crate::oci::media_type::INDEX.into(),
            size: 1000 + u64::from(seed),
            from: None,
            archive: None,
            verified: Vec::new(),
            because: vec![Finding {
                written: name.to_owned(),
                confidence: Confidence::Schema,
                provenance: vec![Step::entry("manifests[0]"), Step::File { file: "a.yaml".into(), line: Some(3) }],
            }],
        }
    }

    pub(super) fn lock(images: Vec<LockedImage>) -> Lock {
        Lock {
            name: "shop".into(),
            version: "1.10".into(),
            sequence: 20_261_121,
            platforms: vec!["linux/amd64".parse().unwrap(), "linux/arm/v7".parse().unwrap()],
            charts: vec![LockedChart {
                chart: "shop".into(),
                version: "1.2.3+build".into(),
                digest: Digest::sha256(b"manifest"),
                archive: Digest::sha256(b"tgz"),
                size: 3,
                source: "https://charts.example.com/shop-1.2.3+build.tgz".into(),
                vendored: vec![LockedDependency {
                    path: "shop/redis".into(),
                    version: "20.1.0".into(),
                    archive: Digest::sha256(b"redis"),
                    source: "oci://registry-1.docker.io/bitnamicharts/redis:20.1.0".into(),
                }],
                because: vec![vec![Step::entry("charts[0]")]],
            }],
            images,
            not_carried: vec![
                NotCarried {
                    image: "z.io/exporter:1".parse().unwrap(),
                    why: Why::Optional,
                    by: None,
                    reason: None,
                    because: vec![Finding {
                        written: "z.io/exporter:1".into(),
                        confidence: Confidence::Schema,
                        provenance: vec![
                            Step::entry("charts[0]"),
                            Step::Set { set: vec!["metrics.enabled=true".into()] },
                        ],
                    }],
                },
                NotCarried {
                    image: "z.io/text:1".parse().unwrap(),
                    why: Why::Ignored,
                    by: Some("discovery.ignore[0]".into()),
                    reason: Some("only in a comment: \"never\" pulled".into()),
                    because: vec![Finding {
                        written: "z.io/text:1".into(),
                        confidence: Confidence::Guess,
                        provenance: vec![Step::entry("manifests[0]")],
                    }],
                },
            ],
            files: vec![LockedFile {
                name: "dashboards".into(),
                path: Some("dashboards/".into()),
                url: None,
                entry: "files[0]".into(),
                members: vec![Member { path: "web.json".parse().unwrap(), digest: Digest::sha256(b"x"), size: 1 }],
            }],
        }
    }

    #[test]
    fn written_and_read_it_is_the_same() {
        let mut one = image("docker.io/library/nginx:1.27", 1);
        one.from = Some("quay.io/mirror/nginx:1.27".parse().unwrap());
        one.verified = vec![Verified { key: "00".repeat(32), file: "a \"b\".pub".into(), form: SignatureForm::Bundle }];
        let lock = lock(vec![
            one,
            image("quay.io/a/b@sha256:4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a", 1),
        ]);
        let text = lock.to_text();
        assert_eq!(Lock::parse("bundle.lock", &text).unwrap(), lock, "{text}");
        assert!(text.contains("version: \"1.10\""));
    }

    #[test]
    fn damage_is_named_with_its_place() {
        let good = lock(vec![image("a.io/a:1", 1), image("b.io/b:1", 2)]);
        let mut swapped = good.clone();
        swapped.images.reverse();
        let error = Lock::parse("bundle.lock", &swapped.to_text()).unwrap_err();
        assert!(error.diagnostics()[0].message.contains("out of order"));
        let merged = good.to_text().replace("images:\n", "<<<<<<< ours\nimages:\n");
        assert!(!Lock::parse("bundle.lock", &merged).unwrap_err().diagnostics().is_empty());
        let other = good.to_text().replace("kind: Lock", "kind: Bundle");
        assert!(Lock::parse("bundle.lock", &other).is_err());
        let unknown = good.to_text().replace("    size:", "    sizes:");
        assert!(Lock::parse("bundle.lock", &unknown).is_err());
    }

    #[test]
    fn the_sequence_rises_with_every_change_and_only_then() {
        let before = lock(vec![image("a.io/a:1", 1)]);
        let mut moved_lines = before.clone();
        moved_lines.images[0].because[0].provenance[1] = Step::File { file: "a.yaml".into(), line: Some(99) };
        assert_eq!(before.next_sequence(Some(&before), 20_270_101), 20_261_121);
        assert_eq!(moved_lines.next_sequence(Some(&before), 20_261_121), 20_261_122);
        let after = lock(vec![image("a.io/a:1", 2)]);
        assert_eq!(after.next_sequence(Some(&before), 20_261_121), 20_261_122);
        assert_eq!(after.next_sequence(Some(&before), 20_270_101), 20_270_101);
        assert_eq!(after.next_sequence(None, 20_270_101), 20_270_101);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn round_trip(names in proptest::collection::btree_set("[a-z]{1,5}\\.io/[a-z]{1,6}:[0-9]{1,3}", 0..5), version in "[A-Za-z0-9.+_-]{1,10}", file in "\\PC{0,12}") {
            let mut made = lock(names.iter().enumerate().map(|(at, name)| image(name, at as u8)).collect());
            made.images.sort_by(|a, b| a.image.cmp(&b.image));
            made.version = version;
            made.files[0].path = Some(file);
            let text = made.to_text();
            prop_assert_eq!(Lock::parse("bundle.lock", &text).unwrap(), made);
        }

        #[test]
        fn reading_never_panics(text in "\\PC{0,200}", at in 0usize..600, junk in "\\PC{0,4}") {
            let _ = Lock::parse("x", &text);
            let mut good = lock(vec![image("a.io/a:1", 1)]).to_text();
            let at = (0..=at.min(good.len())).rev().find(|at| good.is_char_boundary(*at)).unwrap_or(0);
            good.insert_str(at, &junk);
            let _ = Lock::parse("x", &good);
        }
    }
}
