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
    render::{self, Again},
    values::Values,
};
use crate::{
    discover::{Context, Finding, Step},
    helm::{Chart, Limits, Options, Overrides, Session, Switch, explore, explore::Kind},
    oci::Reference,
    spec::{self, Kubernetes},
};

/// How many renderings one chart is worth. The largest known charts need about this many; most need fewer than ten.
pub(in crate::resolve) const RENDERINGS: usize = 96;

/// How many steps of evaluation one chart is worth, over all renderings: about two seconds.
const STEPS: u64 = 20_000_000;

/// How many words one value is tried with; values with more choose among kinds of clouds and the like.
const WORDS: usize = 4;

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
                mentioned: BTreeMap::new(),
                steps: 0,
                found: Explored::default(),
            };
            search.everything();
            search.found
        },
    );
    explored.unwrap_or_else(|_| none())
}

/// An image while it is looked for: where it is named, and by which template at which line.
struct Seen {
    findings: Vec<Finding>,
    template: String,
    line: u32,
}

type Images = BTreeMap<Reference, Seen>;

/// What one rendering gave.
#[derive(Default)]
struct Outcome {
    /// Images that only its switches bring.
    images: Images,
    /// Templates that fail.
    failed: BTreeSet<String>,
}

struct Search<'a, 's> {
    session: &'a mut Session<'s>,
    again: Again<'a>,
    context: &'a Context,
    known: &'a BTreeSet<Reference>,
    base: Overrides,
    switches: Vec<Switch>,
    /// Template → the switches that it looks at.
    mentioned: BTreeMap<String, Vec<usize>>,
    steps: u64,
    found: Explored,
}

impl Search<'_, '_> {
    /// Tries everything: what switches something on first, then all the rest.
    fn everything(&mut self) {
        self.list();
        let all: Vec<usize> = (0..self.switches.len()).collect();
        let is_likely = |at: &usize| matches!(self.switches[*at].kind, Kind::Subchart | Kind::Enabled);
        let likely: Vec<usize> = all.iter().copied().filter(is_likely).collect();
        let none = BTreeSet::new();
        // All flags: those within what is off matter only together with what switches it on.
        self.attempt(&all, &none);
        // One switch may hide what another one brings; every other one hides less, and mere flags hide most.
        if likely.len() > 1 {
            for turn in 0..2 {
                let half: Vec<usize> = likely.iter().copied().skip(turn).step_by(2).collect();
                self.attempt(&half, &none);
            }
        }
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
            let subcharts = more.iter().any(|switch| switch.kind == Kind::Subchart);
            listed.extend(more);
            if !subcharts {
                break;
            }
        }
        listed.sort();
        self.switches = listed;
    }

    /// Tries the words that templates compare values with, one of each value at a time.
    fn words(&mut self) {
        let Ok(words) = self.session.words(&self.base, &self.base) else { return };
        let mut rounds: [Vec<usize>; WORDS] = Default::default();
        let mut before: Option<(String, usize)> = None;
        for word in words {
            let turn = match &before {
                Some((path, turn)) if *path == word.path => turn + 1,
                _ => 0,
            };
            before = Some((word.path.clone(), turn));
            match rounds.get_mut(turn) {
                Some(round) => round.push(self.switches.len()),
                None => self.found.ran_out = true,
            }
            self.switches.push(word);
        }
        self.mentioned.clear();
        for round in rounds.iter().filter(|round| !round.is_empty()) {
            self.attempt(round, &BTreeSet::new());
        }
    }

    /// Renders with switches; `only` names the templates that matter. Nothing when the budget is used up.
    fn render(&mut self, switches: &[usize], only: &BTreeSet<String>) -> Option<Outcome> {
        if self.found.renderings >= RENDERINGS || self.steps >= STEPS {
            self.found.ran_out = true;
            return None;
        }
        self.found.renderings += 1;
        let values = switches.iter().fold(self.base.clone(), |values, at| self.switches[*at].apply(values));
        let options = Options { skip_schema_validation: true, only: only.clone(), lenient: true, ..Options::default() };
        let Ok(rendered) = self.session.render(&values, &options) else {
            // The values themselves do not go together: no template was reached.
            self.steps += STEPS / RENDERINGS as u64;
            return Some(Outcome { failed: BTreeSet::from([String::new()]), ..Outcome::default() });
        };
        self.steps += rendered.steps;
        let mut outcome = Outcome::default();
        for batch in self.again.batches(&rendered) {
            for finding in batch.find(self.context).findings {
                let Ok(image) = finding.written.parse::<Reference>() else { continue };
                let image = image.with_default_tag();
                if !self.known.contains(&image) {
                    let template = batch.objects.first().map(|object| object.origin.file.clone());
                    let line = finding.provenance.iter().find_map(|step| match step {
                        Step::File { line, .. } => *line,
                        _ => None,
                    });
                    let seen = outcome.images.entry(image).or_insert_with(|| Seen {
                        findings: Vec::new(),
                        template: template.unwrap_or_default(),
                        line: line.unwrap_or(0),
                    });
                    seen.findings.push(finding);
                }
            }
        }
        outcome.failed = rendered.failed;
        Some(outcome)
    }

    /// Tries a group of switches; those templates that fail with all of them, in halves.
    fn attempt(&mut self, group: &[usize], only: &BTreeSet<String>) {
        if group.is_empty() {
            return;
        }
        let Some(Outcome { mut images, failed }) = self.render(group, only) else { return };
        images.retain(|image, _| !self.found.images.contains_key(image));
        self.attribute(group, images);
        match group {
            _ if failed.is_empty() => {}
            [one] => self.found.untried.push(self.switches[*one].to_string()),
            group => {
                let only = if failed.contains("") { only.clone() } else { failed };
                let (a, b) = group.split_at(group.len() / 2);
                self.attempt(a, &only);
                self.attempt(b, &only);
            }
        }
    }

    /// Finds out which switches of a group bring images: first among those that the templates look at, then among all.
    fn attribute(&mut self, group: &[usize], images: Images) {
        let mut by_place: BTreeMap<(String, Vec<usize>), Images> = BTreeMap::new();
        for (image, seen) in images {
            let mut around = self.session.around(&seen.template, seen.line, &self.switches);
            around.retain(|at| group.contains(at));
            by_place.entry((seen.template.clone(), around)).or_default().insert(image, seen);
        }
        let mut by_template: BTreeMap<String, Images> = BTreeMap::new();
        for ((template, around), mut images) in by_place {
            images.retain(|image, _| !self.found.images.contains_key(image));
            if !around.is_empty() && around.len() < group.len() && !images.is_empty() {
                let only = BTreeSet::from([template.clone()]);
                let Some(outcome) = self.render(&around, &only) else { break };
                let (taken, left) = images.into_iter().partition(|(image, _)| outcome.images.contains_key(image));
                images = left;
                self.split(&around, taken, &only);
            }
            by_template.entry(template).or_default().extend(images);
        }
        for (template, mut images) in by_template {
            // A template before it may have given the values of this one already.
            images.retain(|image, _| !self.found.images.contains_key(image));
            if images.is_empty() {
                continue;
            }
            let only = BTreeSet::from([template.clone()]);
            let (session, switches) = (&*self.session, &self.switches);
            let near = self.mentioned.entry(template.clone()).or_insert_with(|| session.mentioned(&template, switches));
            let near: Vec<usize> = near.iter().copied().filter(|at| group.contains(at)).collect();
            if near.len() < group.len()
                && !near.is_empty()
                && let Some(outcome) = self.render(&near, &only)
            {
                let (taken, left) = images.into_iter().partition(|(image, _)| outcome.images.contains_key(image));
                images = left;
                self.split(&near, taken, &only);
            }
            self.split(group, images, &only);
        }
    }

    /// Halves a group of switches that brings images until one switch, or as few as possible, brings each.
    fn split(&mut self, group: &[usize], mut images: Images, only: &BTreeSet<String>) {
        if let [_] = group {
            images.into_iter().for_each(|(image, seen)| self.keep(image, seen, group));
            return;
        }
        let (a, b) = group.split_at(group.len() / 2);
        for half in [a, b] {
            if images.is_empty() {
                return;
            }
            let Some(outcome) = self.render(half, only) else { break };
            let (taken, left) = images.into_iter().partition(|(image, _)| outcome.images.contains_key(image));
            images = left;
            self.split(half, taken, only);
        }
        // What no half brings alone needs something of both.
        while let Some((image, seen)) = images.pop_first() {
            let need = self.least(&image, &[], false, group, only);
            let mut alike = vec![(image, seen)];
            if !images.is_empty()
                && need.len() <= TOGETHER
                && let Some(outcome) = self.render(&need, only)
            {
                let (taken, left): (Images, Images) =
                    images.into_iter().partition(|(image, _)| outcome.images.contains_key(image));
                alike.extend(taken);
                images = left;
            }
            alike.into_iter().for_each(|(image, seen)| self.keep(image, seen, &need));
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
        if changed && self.render(with, only).is_some_and(|outcome| outcome.images.contains_key(image)) {
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

    fn keep(&mut self, image: Reference, seen: Seen, switches: &[usize]) {
        let switches = if switches.len() > TOGETHER {
            Vec::new()
        } else {
            switches.iter().map(|at| self.switches[*at].to_string()).collect()
        };
        self.found.images.insert(image, Brought { switches, findings: seen.findings });
    }
}

fn joined(a: &[usize], b: &[usize]) -> Vec<usize> {
    let mut all: Vec<usize> = a.iter().chain(b).copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}
