//! Digests in overlays: in a key of their own where the chart has one, else behind the tag.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use super::{
    Attempt, Search, Want,
    marks::{self, Segment, Way, put},
    seen::Key,
};

/// Keys for digests beside a repository.
const DIGESTS: &[&str] = &["digest", "imageDigest", "sha", "sha256"];

/// Keys for tags beside a repository.
const TAGS: &[&str] = &["tag", "imageTag", "image_tag", "version"];

/// What one image's pin needs.
struct Pin {
    way: Way,
    value: String,
    /// The image's places.
    places: BTreeSet<Key>,
}

impl Search<'_> {
    /// Adds digests to an overlay, keeps those that a rendering shows, and returns the places that have one.
    pub(super) fn pin(&mut self, attempt: &mut Attempt) -> BTreeSet<Key> {
        let mut pinned = BTreeSet::new();
        for ways in [Self::by_digest, Self::by_tag, Self::by_reference] {
            let pins: Vec<Pin> = ways(self, attempt, &pinned);
            if pins.is_empty() {
                continue;
            }
            let before = attempt.clone();
            apply(attempt, &pins, &self.values, &self.wants);
            let good = self.pinned(&attempt.json);
            // Those that did not work must not stay.
            let working: Vec<Pin> = pins.into_iter().filter(|pin| pin.places.is_subset(&good)).collect();
            *attempt = before.clone();
            apply(attempt, &working, &self.values, &self.wants);
            let good = self.pinned(&attempt.json);
            if working.iter().any(|pin| !pin.places.is_subset(&good)) || !pinned.is_subset(&good) {
                *attempt = before;
            } else {
                pinned = good;
            }
        }
        pinned
    }

    /// Returns the places whose image has its name in the enclave and its digest; none when another one is not moved any more.
    fn pinned(&mut self, overlay: &Json) -> BTreeSet<Key> {
        let Some(seen) = self.look(overlay) else { return BTreeSet::new() };
        let is = |key: &Key, want: &Want| seen.images.get(key).is_some_and(|named| want.is_pinned_as(&named.written));
        self.wants.iter().filter(|(key, want)| is(key, want)).map(|(key, _)| key.clone()).collect()
    }

    /// Returns the places of an image that still needs a digest.
    fn places(&self, image: &str, pinned: &BTreeSet<Key>) -> BTreeSet<Key> {
        let is = |(key, want): &(&Key, &Want)| want.written == image && want.digest.is_some() && !pinned.contains(*key);
        self.wants.iter().filter(is).map(|(key, _)| key.clone()).collect()
    }

    fn digest(&self, places: &BTreeSet<Key>) -> Option<String> {
        places.iter().find_map(|key| self.wants.get(key)?.digest).map(|digest| digest.to_string())
    }

    /// Finds, for every value that moves one image alone, a key beside it.
    fn beside(
        &self,
        attempt: &Attempt,
        pinned: &BTreeSet<Key>,
        keys: &[&str],
        value: impl Fn(&Json, &str, &str) -> Option<String>,
    ) -> Vec<Pin> {
        let mut pins: BTreeMap<Way, Pin> = BTreeMap::new();
        for (image, way) in self.leads(attempt) {
            let places = self.places(&image, pinned);
            let Some(digest) = self.digest(&places) else { continue };
            let Some((Segment::Key(_), parent)) = way.split_last() else { continue };
            for key in keys {
                let mut beside = parent.to_vec();
                beside.push(Segment::Key((*key).to_owned()));
                let Some(old) = marks::get(&self.values, &beside) else { continue };
                if let Some(value) = value(old, &image, &digest) {
                    pins.entry(beside.clone()).or_insert(Pin { way: beside, value, places: places.clone() });
                    break;
                }
            }
        }
        pins.into_values().collect()
    }

    /// Returns each image with the values that stand in it: every one of the values, because a single key may move them all.
    fn leads(&self, attempt: &Attempt) -> Vec<(String, Way)> {
        let mut found = Vec::new();
        for (way, images) in &attempt.images {
            if let [image] = images.iter().collect::<Vec<_>>().as_slice() {
                found.push(((*image).clone(), way.clone()));
            }
        }
        let images: BTreeSet<&String> = self.wants.values().map(|want| &want.written).collect();
        for image in images {
            for candidate in marks::candidates(&self.values, &[image]) {
                // Not a registry, which says nothing of one image.
                if candidate.old.contains('/') || !candidate.old.contains('.') {
                    found.push((image.clone(), candidate.way));
                }
            }
        }
        found
    }

    fn by_digest(&self, attempt: &Attempt, pinned: &BTreeSet<Key>) -> Vec<Pin> {
        self.beside(attempt, pinned, DIGESTS, |old, _, digest| {
            let free = old.is_null() || old.as_str().is_some_and(str::is_empty);
            free.then(|| digest.to_owned())
        })
    }

    fn by_tag(&self, attempt: &Attempt, pinned: &BTreeSet<Key>) -> Vec<Pin> {
        self.beside(attempt, pinned, TAGS, |old, image, digest| {
            let tag = image.rsplit('/').next()?.split_once(':')?.1;
            // The chart fills in what is empty; a tag that differs is made from more than this key.
            let own = match old {
                Json::Null => true,
                Json::String(text) => text.is_empty() || text == tag,
                Json::Number(number) => number.to_string() == tag,
                _ => false,
            };
            (own && !tag.contains('@')).then(|| format!("{tag}@{digest}"))
        })
    }

    /// Whole references in one value.
    fn by_reference(&self, attempt: &Attempt, pinned: &BTreeSet<Key>) -> Vec<Pin> {
        let mut pins = Vec::new();
        for (way, images) in &attempt.images {
            let [image] = images.iter().collect::<Vec<_>>()[..] else { continue };
            let places = self.places(image, pinned);
            let new = marks::get(&attempt.json, way).and_then(Json::as_str);
            let wanted = places.iter().find_map(|key| self.wants.get(key)).map(|want| want.wanted.as_str());
            if let (Some(digest), Some(new)) = (self.digest(&places), new.filter(|new| Some(*new) == wanted)) {
                pins.push(Pin { way: way.clone(), value: format!("{new}@{digest}"), places });
            }
        }
        pins
    }
}

fn apply(attempt: &mut Attempt, pins: &[Pin], values: &Json, wants: &BTreeMap<Key, Want>) {
    for pin in pins {
        put(&mut attempt.json, values, &pin.way, json!(pin.value));
        let images = pin.places.iter().filter_map(|key| wants.get(key)).map(|want| want.written.clone());
        attempt.images.entry(pin.way.clone()).or_default().extend(images);
    }
}
