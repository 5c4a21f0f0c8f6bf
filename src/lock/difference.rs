//! What changed between two locks.

use std::{collections::BTreeSet, fmt};

use serde::Serialize;

use crate::{discover::Finding, oci::Digest};

use super::{Lock, LockedFile, LockedImage};

/// Names a sort of entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Item {
    /// The bundle itself.
    Bundle,
    /// An image or another OCI artifact.
    Image,
    /// A manifest.
    Manifest,
    /// A file.
    File,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Item::Bundle => "bundle",
            Item::Image => "image",
            Item::Manifest => "manifest",
            Item::File => "file",
        })
    }
}

/// Tells one thing that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What sort of entry.
    pub item: Item,
    /// Which one.
    pub name: String,
    /// What happened to it.
    pub change: Change,
}

/// Says what happened to an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "change")]
pub enum Change {
    /// It is new.
    Added {
        /// Its digest.
        digest: Digest,
        /// Why it is there; empty for files.
        because: Vec<Finding>,
    },
    /// It is gone.
    Removed {
        /// Its digest.
        digest: Digest,
    },
    /// The same name is other content.
    Moved {
        /// The digest that it had.
        from: Digest,
        /// The digest that it has.
        to: Digest,
    },
    /// A property changed that is neither content nor reason.
    Property {
        /// Which one.
        property: &'static str,
        /// What it was; empty when it was not there.
        from: String,
        /// What it is; empty when it is no more.
        to: String,
    },
    /// It is there for other reasons.
    Reasons {
        /// What is new.
        added: Vec<Finding>,
        /// What is gone.
        removed: Vec<Finding>,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { item, name, change } = self;
        match change {
            Change::Added { digest, because } => {
                write!(f, "+ {item} {name} {}", digest.short())?;
                because.iter().try_for_each(|finding| write!(f, "\n    because {finding}"))
            }
            Change::Removed { digest } => write!(f, "- {item} {name} {}", digest.short()),
            Change::Moved { from, to } => write!(f, "~ {item} {name} moved from {} to {}", from.short(), to.short()),
            Change::Property { property, from, to } => {
                let shown = |text: &str| if text.is_empty() { "nothing".to_owned() } else { text.to_owned() };
                write!(f, "~ {item} {name}: {property} was {}, is {}", shown(from), shown(to))
            }
            Change::Reasons { added, removed } => {
                write!(f, "~ {item} {name} is there for other reasons")?;
                added.iter().try_for_each(|finding| write!(f, "\n    + {finding}"))?;
                removed.iter().try_for_each(|finding| write!(f, "\n    - {finding}"))
            }
        }
    }
}

impl Lock {
    /// Tells what is different in `newer`. Line numbers inside reasons do not count: they change with every edit.
    pub fn compare(&self, newer: &Lock) -> Vec<Difference> {
        let mut found = Differences(Vec::new());
        let joined = |lock: &Lock| lock.platforms().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        found.property(Item::Bundle, newer.name(), "name", self.name(), newer.name());
        found.property(Item::Bundle, newer.name(), "version", self.version(), newer.version());
        found.property(Item::Bundle, newer.name(), "platforms", &joined(self), &joined(newer));
        pairs(self.images(), newer.images(), |image| &image.image, |old, new| found.image(old, new));
        for (item, old, new) in
            [(Item::Manifest, self.manifests(), newer.manifests()), (Item::File, self.files(), newer.files())]
        {
            pairs(old, new, |file| &file.name, |old, new| found.file(item, old, new));
        }
        found.0
    }
}

/// Walks two sorted lists side by side.
fn pairs<'a, T, K: Ord + 'a>(
    old: &'a [T],
    new: &'a [T],
    key: impl Fn(&'a T) -> &'a K,
    mut visit: impl FnMut(Option<&'a T>, Option<&'a T>),
) {
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(old), Some(new)) => key(old).cmp(key(new)),
        };
        match order {
            std::cmp::Ordering::Less => visit(old.next(), None),
            std::cmp::Ordering::Greater => visit(None, new.next()),
            std::cmp::Ordering::Equal => visit(old.next(), new.next()),
        }
    }
}

struct Differences(Vec<Difference>);

impl Differences {
    fn push(&mut self, item: Item, name: &str, change: Change) {
        self.0.push(Difference { item, name: name.to_owned(), change });
    }

    fn property(&mut self, item: Item, name: &str, property: &'static str, from: &str, to: &str) {
        if from != to {
            self.push(item, name, Change::Property { property, from: from.to_owned(), to: to.to_owned() });
        }
    }

    /// Compares content; returns false when one side is not there.
    fn digest(
        &mut self,
        item: Item,
        name: &str,
        old: Option<Digest>,
        new: Option<Digest>,
        because: &[Finding],
    ) -> bool {
        match (old, new) {
            (Some(from), Some(to)) if from != to => self.push(item, name, Change::Moved { from, to }),
            (Some(_), Some(_)) => {}
            (Some(digest), None) => self.push(item, name, Change::Removed { digest }),
            (None, Some(digest)) => self.push(item, name, Change::Added { digest, because: because.to_vec() }),
            (None, None) => {}
        }
        old.is_some() && new.is_some()
    }

    fn image(&mut self, old: Option<&LockedImage>, new: Option<&LockedImage>) {
        let name = new.or(old).map(|image| image.image.to_string()).unwrap_or_default();
        let because = new.map(|image| image.because.as_slice()).unwrap_or_default();
        self.digest(Item::Image, &name, old.map(|old| old.digest), new.map(|new| new.digest), because);
        let (Some(old), Some(new)) = (old, new) else { return };
        let text =
            |reference: &Option<crate::oci::Reference>| reference.as_ref().map(ToString::to_string).unwrap_or_default();
        self.property(Item::Image, &name, "source", &text(&old.from), &text(&new.from));
        let text = |archive: &Option<String>| archive.clone().unwrap_or_default();
        self.property(Item::Image, &name, "archive", &text(&old.archive), &text(&new.archive));
        if old.digest == new.digest {
            self.property(Item::Image, &name, "media type", old.media_type.as_str(), new.media_type.as_str());
            self.property(Item::Image, &name, "size", &old.size.to_string(), &new.size.to_string());
        }
        let bare = |image: &LockedImage| image.because.iter().map(Finding::without_lines).collect::<BTreeSet<_>>();
        let (before, after) = (bare(old), bare(new));
        if before != after {
            let missing_in = |other: &BTreeSet<Finding>, image: &LockedImage| {
                image.because.iter().filter(|finding| !other.contains(&finding.without_lines())).cloned().collect()
            };
            let change = Change::Reasons { added: missing_in(&before, new), removed: missing_in(&after, old) };
            self.push(Item::Image, &name, change);
        }
    }

    fn file(&mut self, item: Item, old: Option<&LockedFile>, new: Option<&LockedFile>) {
        let name = new.or(old).map(|file| file.name.to_string()).unwrap_or_default();
        if !self.digest(item, &name, old.map(|old| old.digest), new.map(|new| new.digest), &[]) {
            return;
        }
        let (Some(old), Some(new)) = (old, new) else { return };
        self.property(item, &name, "source", &old.source, &new.source);
        self.property(item, &name, "entry", &old.entry, &new.entry);
        if old.digest == new.digest {
            self.property(item, &name, "size", &old.size.to_string(), &new.size.to_string());
        }
        let seconds = |file: &LockedFile| file.max_age.map(|seconds| format!("{seconds} s")).unwrap_or_default();
        self.property(item, &name, "greatest age", &seconds(old), &seconds(new));
    }
}
