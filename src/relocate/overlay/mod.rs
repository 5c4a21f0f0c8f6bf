//! Overlays: values that make the images of a chart point at the enclave's registry.
//!
//! ```text
//!  values ─ marks.rs ─→ marked values ─ seen.rs (render, discover) ─→ what each image is made of
//!                                                                        └ solve.rs ─→ overlay ─ render again ─→ proof
//! ```
//!
//! | file | owns |
//! |---|---|
//! | `mod.rs` | [`overlay`]: the order of the attempts |
//! | `seen.rs` | what a rendering names |
//! | `marks.rs` | values made recognisable |
//! | `solve.rs` | what each value must be |
//! | `pins.rs` | digests |
//! | `write.rs` | the overlay as a file |
//!
//! A key that moves everything, such as `global.imageRegistry`, is tried first; then every value that stands in an image.
//!
//! # Invariants
//! - Nothing is believed: only what a rendering with the overlay shows counts as moved.

mod marks;
mod pins;
mod seen;
mod solve;
mod write;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use crate::{
    helm::{self, Ambient, Capabilities, Chart, Overrides, Release},
    oci::{Digest, Reference},
};

use super::{Error, Names, Place, rewrite::whole};
use marks::{Candidate, Part, Segment, Way, candidates, dotted, parts, put};
use seen::{Eye, Key, Seen, absent, mentions};
use solve::{Wish, solve};

/// A chart and what it is rendered with.
pub struct Setup<'a> {
    /// The chart.
    pub chart: &'a Chart,
    /// The user's values.
    pub overrides: Overrides,
    /// The release.
    pub release: Release,
    /// The cluster.
    pub capabilities: Capabilities,
    /// Time and randomness; the same for every rendering, so that only values make a difference.
    pub ambient: Ambient,
    /// Does not hold values against the chart's schema.
    pub skip_schema: bool,
}

/// One value of an overlay.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    way: Way,
    /// The path as `helm --set` writes it.
    pub path: String,
    /// The value.
    pub value: Json,
    /// The images that it moves, as the chart names them; none when it is there for another reason.
    pub images: BTreeSet<String>,
}

/// An image that values do not move.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unmoved {
    /// The image.
    pub image: String,
    /// Where it is named.
    pub place: String,
    /// Whether it was carried at all, as far as that is known.
    pub carried: bool,
}

/// Values that move the images of a chart, proved.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    /// The values.
    pub settings: Vec<Setting>,
    /// The images that it moves, with their names in the enclave.
    pub moved: BTreeMap<String, String>,
    /// The images that it does not move.
    pub unmoved: BTreeSet<Unmoved>,
    /// The images that were to get a digest and have none.
    pub unpinned: BTreeSet<String>,
    json: Json,
}

/// What an image is to be.
#[derive(Clone, Debug)]
struct Want {
    written: String,
    wanted: String,
    image: Reference,
    digest: Option<Digest>,
    sure: bool,
}

/// Keys by which many charts let one registry stand in front of all images.
const KNOBS: &[&[&str]] = &[
    &["global", "imageRegistry"],
    &["global", "image", "registry"],
    &["global", "registry"],
    &["global", "hub"],
    &["imageRegistry"],
    &["image", "registry"],
    &["registry"],
];

/// The switch of Bitnami's charts, which refuse other registries than their own.
const INSECURE: &[&str] = &["global", "security", "allowInsecureImages"];

fn way(keys: &[&str]) -> Way {
    keys.iter().map(|key| Segment::Key((*key).to_owned())).collect()
}

/// Derives an overlay for a chart, and proves it by another rendering.
///
/// # Errors
/// [`Error::Chart`] when the chart does not render without it, [`Error::Name`] when names collide.
pub fn overlay(setup: &Setup<'_>, names: &mut Names, digests: bool) -> Result<Overlay, Error> {
    let failed = |cause| Error::Chart { chart: setup.chart.name().to_owned(), cause };
    let mut eye = Eye::new(setup);
    let base = eye.look(&json!({})).map_err(failed)?;
    let mut result = Overlay { json: json!({}), ..Overlay::default() };
    let mut wants: BTreeMap<Key, Want> = BTreeMap::new();
    for (key, named) in &base.images {
        let Ok(image) = named.written.parse::<Reference>() else { continue };
        match names.place(&image) {
            Ok(Place::Inside) => {}
            Ok(Place::Moved { name, digest }) => {
                let wanted = whole(&image, &name, None);
                let sure = named.sure || names.has(&image);
                wants.insert(key.clone(), Want { written: named.written.clone(), wanted, image, digest, sure });
            }
            Ok(Place::Missing) if named.sure => {
                let (image, place) = (named.written.clone(), key.0.clone());
                result.unmoved.insert(Unmoved { image, place, carried: false });
            }
            Ok(Place::Missing) => {}
            Err(_) if !named.sure => {}
            Err(error) => return Err(error.into()),
        }
    }
    if wants.is_empty() {
        return Ok(result);
    }
    let values = eye.values(&json!({})).map_err(failed)?;
    let mut search = Search { eye, values, wants, target: names.target().to_string(), insecure: false };
    let mut found = match search.single_key() {
        Some(found) => found,
        None => {
            let found = search.by_values();
            search.with_keys(found)
        }
    };
    let pinned = if digests { search.pin(&mut found) } else { BTreeSet::new() };
    let proof = search.look(&found.json);
    for (key, want) in &search.wants {
        let is = proof.as_ref().and_then(|seen| seen.images.get(key)).map(|named| named.written.as_str());
        let pinned_as = is.filter(|is| want.is_pinned_as(is));
        let moved =
            pinned_as.is_some() || proof.as_ref().is_some_and(|seen| seen.says(key, &want.written, &want.wanted));
        if moved {
            result.moved.insert(want.written.clone(), pinned_as.unwrap_or(&want.wanted).to_owned());
            if digests && want.digest.is_some() && !pinned.contains(key) {
                result.unpinned.insert(want.written.clone());
            }
        } else if want.sure {
            let (image, place) = (want.written.clone(), key.0.clone());
            result.unmoved.insert(Unmoved { image, place, carried: true });
        }
    }
    // An image that is moved in one place and not in another is not moved.
    result.moved.retain(|image, _| !result.unmoved.iter().any(|unmoved| unmoved.image == *image));
    // What appears only with the overlay would be pulled from somewhere, too.
    for (key, named) in
        proof.iter().flat_map(|seen| &seen.images).filter(|(key, named)| named.sure && !search.wants.contains_key(key))
    {
        let outside = named.written.parse().is_ok_and(|image| !matches!(names.place(&image), Ok(Place::Inside)));
        if outside && !base.images.contains_key(key) {
            let (image, place) = (named.written.clone(), key.0.clone());
            result.unmoved.insert(Unmoved { image, place, carried: true });
        }
    }
    if search.insecure {
        put(&mut found.json, &search.values, &way(INSECURE), json!(true));
        found.images.insert(way(INSECURE), BTreeSet::new());
    }
    result.settings = found
        .images
        .into_iter()
        .filter_map(|(way, images)| {
            let value = marks::get(&found.json, &way)?.clone();
            Some(Setting { path: dotted(&way), value, images, way })
        })
        .collect();
    result.json = found.json;
    Ok(result)
}

/// Derives one overlay for several renderings of a chart: what one needs beyond the others is added.
///
/// # Errors
/// As [`overlay`].
pub fn overlay_of_all(setups: Vec<Setup<'_>>, names: &mut Names, digests: bool) -> Result<Overlay, Error> {
    let mut all = Overlay { json: json!({}), ..Overlay::default() };
    for mut setup in setups {
        if !all.settings.is_empty() {
            setup.overrides = setup.overrides.file("overlay", all.json.to_string());
        }
        let values = helm::computed_values(setup.chart, &setup.overrides)
            .map_err(|cause| Error::Chart { chart: setup.chart.name().to_owned(), cause })?;
        let next = overlay(&setup, names, digests)?;
        for setting in next.settings {
            put(&mut all.json, &values, &setting.way, setting.value.clone());
            match all.settings.iter_mut().find(|known| known.way == setting.way) {
                Some(known) => *known = setting,
                None => all.settings.push(setting),
            }
        }
        all.moved.extend(next.moved);
        all.unmoved.extend(next.unmoved);
        all.unpinned.extend(next.unpinned);
    }
    all.moved.retain(|image, _| !all.unmoved.iter().any(|unmoved| unmoved.image == *image));
    Ok(all)
}

impl Want {
    fn is_pinned_as(&self, text: &str) -> bool {
        let Some(digest) = self.digest else { return false };
        let name = self.wanted.split('@').next().unwrap_or(&self.wanted);
        let bare = match &self.image.tag {
            Some(tag) => name.strip_suffix(&format!(":{tag}")).unwrap_or(name),
            None => name,
        };
        [name, bare].iter().any(|name| text == format!("{name}@{digest}"))
    }
}

/// An overlay in the making: its values, and the images behind each.
#[derive(Clone, Debug)]
struct Attempt {
    json: Json,
    images: BTreeMap<Way, BTreeSet<String>>,
}

impl Attempt {
    fn nothing() -> Attempt {
        Attempt { json: json!({}), images: BTreeMap::new() }
    }
}

struct Search<'a> {
    eye: Eye<'a>,
    values: Json,
    wants: BTreeMap<Key, Want>,
    target: String,
    /// Whether the chart refuses images of others unless it is told not to.
    insecure: bool,
}

impl Search<'_> {
    /// Renders with an overlay; charts that refuse images of others are told that they are wanted.
    fn try_look(&mut self, overlay: &Json) -> Result<Seen, helm::Error> {
        let allowed = |values: &Json| {
            let mut overlay = overlay.clone();
            put(&mut overlay, values, &way(INSECURE), json!(true));
            overlay
        };
        if self.insecure {
            return self.eye.look(&allowed(&self.values));
        }
        match self.eye.look(overlay) {
            Err(error) if error.to_string().contains("allowInsecureImages") => {
                let seen = self.eye.look(&allowed(&self.values))?;
                self.insecure = true;
                Ok(seen)
            }
            result => result,
        }
    }

    fn look(&mut self, overlay: &Json) -> Option<Seen> {
        self.try_look(overlay).ok()
    }

    /// Returns the places that an overlay leaves as they are; all of them when the chart does not render with it.
    fn unmoved(&mut self, overlay: &Json) -> BTreeSet<Key> {
        let seen = self.look(overlay);
        let stays = |(key, want): &(&Key, &Want)| {
            want.sure && !seen.as_ref().is_some_and(|seen| seen.says(key, &want.written, &want.wanted))
        };
        self.wants.iter().filter(stays).map(|(key, _)| key.clone()).collect()
    }

    /// Returns the keys that are empty and may stand in front of images.
    fn knobs(&self) -> Vec<Way> {
        let chart = self.eye.chart();
        let is_free = |way: &&[&str]| match marks::get(&self.values, &self::way(way)) {
            None | Some(Json::Null) => mentions(chart, &way.join(".")),
            Some(Json::String(text)) => text.is_empty(),
            Some(_) => false,
        };
        KNOBS.iter().copied().filter(is_free).map(way).collect()
    }

    /// Tries whether one key moves everything.
    fn single_key(&mut self) -> Option<Attempt> {
        let sure = self.wants.values().filter(|want| want.sure).count();
        for knob in self.knobs() {
            let Some(attempt) = self.with_knob(&Attempt::nothing(), &knob, None) else { continue };
            let moves = attempt.images.len() == 1 && sure > 0;
            if moves && self.unmoved(&attempt.json).is_empty() {
                return Some(attempt);
            }
        }
        None
    }

    /// Adds a key that stands in front of images; `only` says which images count.
    fn with_knob(&mut self, attempt: &Attempt, knob: &Way, only: Option<&BTreeSet<Key>>) -> Option<Attempt> {
        let candidate = Candidate::new(0, knob.clone(), "");
        let mut marked = json!({});
        put(&mut marked, &self.values, knob, json!(candidate.marked));
        let seen = self.look(&marked)?;
        self.solved(attempt, &seen, &[candidate], only)
    }

    /// Reads a marked rendering and adds what follows from it.
    fn solved(
        &self,
        attempt: &Attempt,
        seen: &Seen,
        candidates: &[Candidate],
        only: Option<&BTreeSet<Key>>,
    ) -> Option<Attempt> {
        let mut wishes = Vec::new();
        let mut images: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
        for (key, want) in self.wants.iter().filter(|(key, _)| only.is_none_or(|only| only.contains(*key))) {
            let Some(named) = seen.images.get(key).filter(|named| named.written != want.written) else { continue };
            let Some(parts) = parts(&named.written, candidates) else { continue };
            for part in &parts {
                if let Part::Value(id) = part {
                    images.entry(*id).or_default().insert(want.written.clone());
                }
            }
            wishes.push(Wish { parts, wanted: want.wanted.clone() });
        }
        let solved = solve(&wishes, candidates, &self.target);
        if solved.is_empty() {
            return None;
        }
        let mut next = attempt.clone();
        for (id, new) in solved {
            let way = &candidates.get(id)?.way;
            put(&mut next.json, &self.values, way, json!(new));
            next.images.entry(way.clone()).or_default().extend(images.remove(&id).unwrap_or_default());
        }
        Some(next)
    }

    /// Marks every value that stands in an image.
    fn by_values(&mut self) -> Attempt {
        let images: BTreeSet<String> =
            self.wants.values().flat_map(|want| [want.written.clone(), want.image.to_string()]).collect();
        let images: Vec<&str> = images.iter().map(String::as_str).collect();
        let all = candidates(&self.values, &images);
        let nothing = Attempt::nothing();
        let Some((seen, _)) = self.marked(&all) else { return nothing };
        self.solved(&nothing, &seen, &all, None).unwrap_or(nothing)
    }

    fn overlay_of(&self, candidates: &[&Candidate]) -> Json {
        let mut overlay = json!({});
        for candidate in candidates {
            put(&mut overlay, &self.values, &candidate.way, json!(candidate.marked));
        }
        overlay
    }

    /// Renders with marks; those with which the chart does not render are left out.
    fn marked(&mut self, all: &[Candidate]) -> Option<(Seen, usize)> {
        let every: Vec<&Candidate> = all.iter().collect();
        if let Some(seen) = self.look(&self.overlay_of(&every)) {
            return Some((seen, every.len()));
        }
        let mut good: Vec<&Candidate> = Vec::new();
        let mut seen = None;
        for half in split(&every) {
            self.grow(&half, &mut good, &mut seen);
        }
        seen.map(|seen| (seen, good.len()))
    }

    /// Adds candidates with which the chart renders, halving what fails.
    fn grow<'c>(&mut self, some: &[&'c Candidate], good: &mut Vec<&'c Candidate>, seen: &mut Option<Seen>) {
        if some.is_empty() {
            return;
        }
        let together: Vec<&Candidate> = good.iter().chain(some).copied().collect();
        match self.look(&self.overlay_of(&together)) {
            Some(found) => {
                good.extend(some);
                *seen = Some(found);
            }
            None if some.len() > 1 => {
                for half in split(some) {
                    self.grow(&half, good, seen);
                }
            }
            None => {}
        }
    }

    /// Tries keys that are empty for what values do not move.
    fn with_keys(&mut self, mut attempt: Attempt) -> Attempt {
        let mut left = self.unmoved(&attempt.json);
        for knob in self.knobs() {
            if left.is_empty() {
                break;
            }
            let Some(next) = self.with_knob(&attempt, &knob, Some(&left)) else { continue };
            let after = self.unmoved(&next.json);
            if after.len() < left.len() {
                (attempt, left) = (next, after);
            }
        }
        if left.is_empty() { attempt } else { self.with_absent(attempt, left) }
    }

    /// Tries values that templates name and nothing gives: `{{ .Values.init.image | default "busybox" }}`.
    fn with_absent(&mut self, attempt: Attempt, left: BTreeSet<Key>) -> Attempt {
        let ways = absent(self.eye.chart(), &self.values);
        let all: Vec<Candidate> = ways.into_iter().enumerate().map(|(id, way)| Candidate::new(id, way, "")).collect();
        let Some((seen, _)) = self.marked(&all) else { return attempt };
        match self.solved(&attempt, &seen, &all, Some(&left)) {
            Some(next) if self.unmoved(&next.json).len() < left.len() => next,
            _ => attempt,
        }
    }
}

fn split<'c>(some: &[&'c Candidate]) -> [Vec<&'c Candidate>; 2] {
    let (first, second) = some.split_at(some.len() / 2);
    [first.to_vec(), second.to_vec()]
}
