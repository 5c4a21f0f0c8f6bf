//! Images that a chart pulls with other values only: switched on by trying.
//!
//! ```text
//!  Ground ─ switches ─ all at once ─┬─ renders ─ more images? ─ halves, and halves of halves ─→ the values that bring each
//!                                   └─ does not ─ halves ─ …
//! ```
//!
//! # Invariants
//! - Only what differs from the renderings of the spec's own values is searched.
//! - Values that the spec gives are decided and stay; the chart's schema is not asked, its templates are.
//! - Work is bounded by counting renderings and steps, never by a clock: the same chart always gives the same answer.
//!
//! # Failure
//! There is none: what cannot be tried is counted, and [`Explored`] says so.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    super::batch::Batch,
    render::{self, Again},
    values::Values,
};
use crate::{
    discover::{Context, Finding},
    helm::{Chart, Limits, Options, Overrides, Session, Switch, explore, explore::Kind},
    oci::Reference,
    spec::{self, Kubernetes},
};

/// How many renderings one chart is worth. The largest known charts need about this many; most need fewer than ten.
pub(in crate::resolve) const RENDERINGS: usize = 96;

/// How many steps of evaluation one chart is worth, over all renderings: about two seconds.
const STEPS: u64 = 20_000_000;

/// How many switches one rendering may need together; nobody would look for more by hand.
const TOGETHER: usize = 6;

/// Everything that rendering a chart once more takes.
#[derive(Clone, Debug)]
pub(in crate::resolve) struct Ground {
    pub(super) chart: Arc<Chart>,
    pub(super) entry: spec::Chart,
    pub(super) values: Arc<Values>,
    pub(super) cluster: Kubernetes,
    /// The texts that the renderings with the spec's values gave.
    pub(super) said: Arc<BTreeSet<String>>,
}

/// An image that other values bring.
#[derive(Clone, Debug)]
pub(in crate::resolve) struct Brought {
    /// The values; empty when there was no budget left to find out which of them it is.
    pub(in crate::resolve) switches: Vec<String>,
    /// Every place that names the image then.
    pub(in crate::resolve) findings: Vec<Finding>,
}

/// What trying gave.
#[derive(Debug, Default)]
pub(in crate::resolve) struct Explored {
    /// By image.
    pub(in crate::resolve) images: BTreeMap<Reference, Brought>,
    /// How many times the chart was rendered.
    pub(in crate::resolve) renderings: usize,
    /// Values with which the chart does not render; what they would bring is not known.
    pub(in crate::resolve) untried: Vec<String>,
    /// Whether the budget ended before everything was tried.
    pub(in crate::resolve) ran_out: bool,
}

/// Tries what the values of a chart switch on; `known` are the images that are found without.
pub(in crate::resolve) fn search(ground: &Ground, context: &Context, known: &BTreeSet<Reference>) -> Explored {
    let none = Explored::default;
    let Ok(setting) = render::setting(&ground.entry, &ground.cluster) else { return none() };
    let Ok(base) = ground.values.base() else { return none() };
    let explored = explore(
        &ground.chart,
        &setting.release,
        &setting.capabilities,
        &setting.ambient,
        &Limits { steps: STEPS, ..Limits::default() },
        |session| {
            let again = Again::new(&ground.chart, &ground.entry, &ground.said);
            let mut search = Search {
                session,
                again,
                context,
                known,
                base,
                switches: Vec::new(),
                steps: 0,
                found: Explored::default(),
            };
            search.everything();
            search.found
        },
    );
    explored.unwrap_or_else(|_| none())
}

/// Images, and where they are named then.
type Images = BTreeMap<Reference, Vec<Finding>>;

/// What one rendering gave: nothing when it failed, or when there was no budget for it.
enum Outcome {
    Images(Images, BTreeSet<String>),
    Failed,
    RanOut,
}

struct Search<'a, 's> {
    session: &'a mut Session<'s>,
    again: Again<'a>,
    context: &'a Context,
    known: &'a BTreeSet<Reference>,
    base: Overrides,
    switches: Vec<Switch>,
    steps: u64,
    found: Explored,
}

impl Search<'_, '_> {
    /// Tries everything: what switches something on first, then all the rest.
    fn everything(&mut self) {
        self.list();
        let all: Vec<usize> = (0..self.switches.len()).collect();
        let by_kind = |likely: bool| -> Vec<usize> {
            let is_likely = |at: &usize| matches!(self.switches[*at].kind, Kind::Subchart | Kind::Enabled);
            all.iter().copied().filter(|at| is_likely(at) == likely).collect()
        };
        let (likely, rest) = (by_kind(true), by_kind(false));
        self.attempt(&likely, &[]);
        self.attempt(&rest, &[]);
        // Flags within what is off matter only together with what switches it on.
        self.attempt(&rest, &likely);
        self.words();
        self.found.untried.sort();
        self.found.untried.dedup();
    }

    /// Lists the switches, those of the subcharts that are off as well.
    fn list(&mut self) {
        let mut values = self.base.clone();
        let mut listed: Vec<Switch> = Vec::new();
        // A subchart that is switched on may have switches of its own; two levels are the deepest seen.
        for _ in 0..3 {
            let Ok(found) = self.session.switches(&values, &self.base) else { break };
            let more: Vec<Switch> =
                found.into_iter().filter(|switch| listed.iter().all(|known| known.path != switch.path)).collect();
            if more.is_empty() {
                break;
            }
            values = more.iter().fold(values, |values, switch| switch.apply(values));
            listed.extend(more);
        }
        listed.sort();
        self.switches = listed;
    }

    /// Tries the words that templates compare values with, one value at a time.
    fn words(&mut self) {
        let Ok(words) = self.session.words(&self.base, &self.base) else { return };
        for word in words {
            let at = self.switches.len();
            self.switches.push(word);
            self.attempt(&[at], &[]);
        }
    }

    fn values(&self, switches: &[usize]) -> Overrides {
        switches.iter().fold(self.base.clone(), |values, at| self.switches[*at].apply(values))
    }

    /// Renders with switches and returns the images that only they bring; `only` names the templates that matter.
    fn render(&mut self, switches: &[usize], only: &BTreeSet<String>) -> Outcome {
        if self.found.renderings >= RENDERINGS || self.steps >= STEPS {
            self.found.ran_out = true;
            return Outcome::RanOut;
        }
        self.found.renderings += 1;
        let options = Options { skip_schema_validation: true, only: only.clone() };
        let Ok(rendered) = self.session.render(&self.values(switches), &options) else { return Outcome::Failed };
        self.steps += rendered.steps;
        let mut images = Images::new();
        let mut templates = BTreeSet::new();
        for batch in self.again.batches(&rendered) {
            let before = images.len();
            self.images_of(&batch, &mut images);
            if images.len() > before {
                templates.extend(batch.objects.iter().map(|object| object.origin.file.clone()));
            }
        }
        Outcome::Images(images, templates)
    }

    fn images_of(&self, batch: &Batch, images: &mut Images) {
        for finding in batch.find(self.context).findings {
            let Ok(image) = finding.written.parse::<Reference>() else { continue };
            let image = image.with_default_tag();
            if !self.known.contains(&image) {
                images.entry(image).or_default().push(finding);
            }
        }
    }

    /// Tries a group of switches, in halves when the chart does not render with all of them.
    fn attempt(&mut self, group: &[usize], with: &[usize]) {
        if group.is_empty() {
            return;
        }
        match self.render(&joined(with, group), &BTreeSet::new()) {
            Outcome::RanOut => {}
            Outcome::Images(mut images, templates) => {
                images.retain(|image, _| !self.found.images.contains_key(image));
                if !images.is_empty() {
                    self.split(group, with, images, &templates);
                }
            }
            Outcome::Failed if group.len() == 1 => self.found.untried.push(self.switches[group[0]].to_string()),
            Outcome::Failed => {
                let (a, b) = group.split_at(group.len() / 2);
                self.attempt(a, with);
                self.attempt(b, with);
            }
        }
    }

    /// Finds out which switches of a group bring images: together with `with` all of them do, and `with` alone does not.
    fn split(&mut self, group: &[usize], with: &[usize], mut images: Images, only: &BTreeSet<String>) {
        if group.len() == 1 && with.is_empty() {
            for (image, findings) in images {
                self.keep(image, findings, group);
            }
            return;
        }
        if group.len() > 1 {
            let (a, b) = group.split_at(group.len() / 2);
            for half in [a, b] {
                if images.is_empty() {
                    return;
                }
                let Outcome::Images(brought, _) = self.render(&joined(with, half), only) else { continue };
                let (taken, left): (Images, Images) =
                    images.into_iter().partition(|(image, _)| brought.contains_key(image));
                images = left;
                if !taken.is_empty() {
                    self.split(half, with, taken, only);
                }
            }
        }
        // What no half brings alone needs something of both.
        while let Some((image, findings)) = images.pop_first() {
            let need = self.least(&image, &[], false, &joined(with, group), only);
            let mut alike = vec![(image, findings)];
            if need.len() <= TOGETHER
                && !images.is_empty()
                && let Outcome::Images(brought, _) = self.render(&need, only)
            {
                let (taken, left): (Images, Images) =
                    images.into_iter().partition(|(image, _)| brought.contains_key(image));
                alike.extend(taken);
                images = left;
            }
            for (image, findings) in alike {
                self.keep(image, findings, &need);
            }
        }
    }

    /// Returns as few of the candidates as bring an image together with `with` (QuickXplain, Junker 2004).
    fn least(
        &mut self,
        image: &Reference,
        with: &[usize],
        changed: bool,
        candidates: &[usize],
        only: &BTreeSet<String>,
    ) -> Vec<usize> {
        if changed
            && let Outcome::Images(brought, _) = self.render(with, only)
            && brought.contains_key(image)
        {
            return Vec::new();
        }
        if candidates.len() <= 1 {
            return candidates.to_vec();
        }
        let (a, b) = candidates.split_at(candidates.len() / 2);
        let of_b = self.least(image, &joined(with, a), !a.is_empty(), b, only);
        let of_a = self.least(image, &joined(with, &of_b), !of_b.is_empty(), a, only);
        joined(&of_a, &of_b)
    }

    fn keep(&mut self, image: Reference, findings: Vec<Finding>, switches: &[usize]) {
        let switches = if switches.len() > TOGETHER {
            Vec::new()
        } else {
            switches.iter().map(|at| self.switches[*at].to_string()).collect()
        };
        self.found.images.insert(image, Brought { switches, findings });
    }
}

fn joined(a: &[usize], b: &[usize]) -> Vec<usize> {
    let mut all: Vec<usize> = a.iter().chain(b).copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}
