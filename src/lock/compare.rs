//! What changed between two locks.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::{Lock, LockedChart, LockedFile, LockedImage, NotCarried, Why};
use crate::oci::{Digest, Reference};

/// One thing that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// What it is about: an image, a file, or the bundle itself.
    pub what: String,
    /// How it differs.
    #[serde(flatten)]
    pub change: Change,
}

/// How something differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "camelCase")]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is pinned to something else.
    Moved {
        /// The digest before.
        from: Digest,
        /// The digest now.
        to: Digest,
    },
    /// It is there for other reasons, or comes from elsewhere.
    Reasons,
    /// Other keys were found to have signed it.
    Signers,
    /// Its content differs.
    Content,
    /// It was found before, and is not carried for other reasons.
    NotCarried {
        /// Why: `optional`, `guess` or `ignored`; nothing when it is no longer found or carried now.
        #[serde(skip_serializing_if = "Option::is_none")]
        now: Option<Why>,
    },
    /// A property of the whole differs.
    Value {
        /// Its value before.
        from: String,
        /// Its value now.
        to: String,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.change {
            Change::Added => write!(f, "{} is new", self.what),
            Change::Removed => write!(f, "{} is gone", self.what),
            Change::Moved { from, to } => write!(f, "{} moved from {} to {}", self.what, from.short(), to.short()),
            Change::Reasons => write!(f, "{} is there for other reasons", self.what),
            Change::Signers => write!(f, "{} is signed by other keys than the lock says", self.what),
            Change::Content => write!(f, "{} has other content", self.what),
            Change::NotCarried { now: Some(why) } => write!(f, "{} was found and is not carried ({why})", self.what),
            Change::NotCarried { now: None } => write!(f, "{} is no longer among what is not carried", self.what),
            Change::Value { from, to } => write!(f, "{} was {from} and is {to}", self.what),
        }
    }
}

impl Lock {
    /// Returns what differs in `self` against `before`; the sequence and the lines in reasons do not count.
    pub fn compare(&self, before: &Lock) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut value = |what: &str, from: String, to: String| {
            if from != to {
                found.push(Difference { what: what.to_owned(), change: Change::Value { from, to } });
            }
        };
        let platforms = |lock: &Lock| lock.platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        value("the name", before.name.clone(), self.name.clone());
        value("the version", before.version.clone(), self.version.clone());
        value("platforms", platforms(before), platforms(self));
        fn named(charts: &[LockedChart]) -> BTreeMap<(&str, &str), &LockedChart> {
            charts.iter().map(|chart| ((chart.chart.as_str(), chart.version.as_str()), chart)).collect()
        }
        let (old, new) = (named(&before.charts), named(&self.charts));
        let what = |(chart, version): &(&str, &str)| format!("the chart {chart} {version}");
        for (name, chart) in &new {
            let change = match old.get(name) {
                None => Change::Added,
                Some(before) if before.digest != chart.digest || before.archive != chart.archive => Change::Content,
                Some(before) if before != chart => Change::Reasons,
                Some(_) => continue,
            };
            found.push(Difference { what: what(name), change });
        }
        found.extend(
            old.keys()
                .filter(|name| !new.contains_key(*name))
                .map(|name| Difference { what: what(name), change: Change::Removed }),
        );
        let old: BTreeMap<_, &LockedImage> = before.images.iter().map(|image| (&image.image, image)).collect();
        let new: BTreeMap<_, &LockedImage> = self.images.iter().map(|image| (&image.image, image)).collect();
        for (name, image) in &new {
            let change = match old.get(name) {
                None => Change::Added,
                Some(before) if before.digest != image.digest => {
                    Change::Moved { from: before.digest, to: image.digest }
                }
                Some(before) if !same_reasons(before, image) => Change::Reasons,
                Some(before) if before.verified != image.verified => Change::Signers,
                Some(_) => continue,
            };
            found.push(Difference { what: name.to_string(), change });
        }
        found.extend(
            old.keys()
                .filter(|name| !new.contains_key(*name))
                .map(|name| Difference { what: name.to_string(), change: Change::Removed }),
        );
        fn decided(lock: &Lock) -> BTreeMap<&Reference, &NotCarried> {
            lock.not_carried.iter().map(|one| (&one.image, one)).collect()
        }
        let (old, new) = (decided(before), decided(self));
        let carried = |lock: &Lock, name: &Reference| lock.images.iter().any(|image| image.image == *name);
        let mut told = |name: &Reference, now| {
            found.push(Difference { what: name.to_string(), change: Change::NotCarried { now } });
        };
        for (name, one) in &new {
            let same = |old: &&NotCarried| (old.why, &old.by, &old.reason) == (one.why, &one.by, &one.reason);
            if !old.get(name).is_some_and(same) {
                told(name, Some(one.why));
            }
        }
        // One that is carried now is told as a new image.
        for name in old.keys().filter(|name| !new.contains_key(*name) && !carried(self, name)) {
            told(name, None);
        }
        let old: BTreeMap<_, &LockedFile> = before.files.iter().map(|file| (&file.name, file)).collect();
        let new: BTreeMap<_, &LockedFile> = self.files.iter().map(|file| (&file.name, file)).collect();
        for (name, file) in &new {
            let change = match old.get(name) {
                None => Change::Added,
                Some(before) if before != file => Change::Content,
                Some(_) => continue,
            };
            found.push(Difference { what: format!("the file {name}"), change });
        }
        found.extend(
            old.keys()
                .filter(|name| !new.contains_key(*name))
                .map(|name| Difference { what: format!("the file {name}"), change: Change::Removed }),
        );
        found
    }
}

fn same_reasons(a: &LockedImage, b: &LockedImage) -> bool {
    let reasons = |image: &LockedImage| {
        let mut reasons: Vec<_> = image.because.iter().map(|reason| reason.without_lines()).collect();
        reasons.sort();
        reasons.dedup();
        reasons
    };
    a.from == b.from && a.archive == b.archive && reasons(a) == reasons(b)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{image, lock};

    #[test]
    fn every_difference_is_said_in_words() {
        let before = lock(vec![image("a.io/a:1", 1), image("b.io/b:1", 2), image("d.io/d:1", 4)]);
        let mut after = lock(vec![image("a.io/a:1", 9), image("c.io/c:1", 3), image("d.io/d:1", 4)]);
        after.version = "2".into();
        after.images[2].because[0].written = "other".into();
        after.files.clear();
        after.not_carried.remove(0);
        after.not_carried[0].reason = None;
        after.charts[0].archive = crate::oci::Digest::sha256(b"other");
        let said: Vec<String> = after.compare(&before).iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 9, "{said:?}");
        assert_eq!(said[0], "the version was 1.10 and is 2");
        assert_eq!(said[1], "the chart shop 1.2.3+build has other content");
        assert!(said[2].starts_with("a.io/a:1 moved from "));
        assert_eq!(
            &said[3..],
            [
                "c.io/c:1 is new",
                "d.io/d:1 is there for other reasons",
                "b.io/b:1 is gone",
                "z.io/text:1 was found and is not carried (ignored)",
                "z.io/exporter:1 is no longer among what is not carried",
                "the file dashboards is gone"
            ]
        );
        assert!(before.compare(&before).is_empty());
    }
}
