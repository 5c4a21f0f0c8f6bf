//! Images beyond the ones that the spec's own values bring, and what is told of everything that is not carried.
//!
//! ```text
//!  charts ─ other values, tried ──┐
//!  lists of chart authors ────────┼─ candidates ─┬─ accepted, or `optional: include` → as all findings
//!                                 │              └─ otherwise → listed in the lock, not carried
//!  findings that do not count ────┘
//! ```
//!
//! # Invariants
//! - An image that is found anyway is not optional.
//! - What is not carried is told with its decision; it never only vanishes.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    charts::optional::{self, Explored},
    parallel,
    search::Input,
};
use crate::{
    discover::{Confidence, Context, Decision, Finding, Step},
    error::Diagnostic,
    lock::{NotCarried, Why},
    oci::Reference,
    spec::{Discovery, Guesses, Optional, Selection, Spec},
};

/// How many places of one image are told; more say nothing new.
const PLACES: usize = 5;

/// How many names one warning holds.
const NAMED: usize = 8;

/// Finds what other values bring, and what only the authors of charts list; `known` are the images that are found anyway.
pub(super) fn candidates(
    spec: &Spec,
    context: &Context,
    inputs: &[Input],
    known: &BTreeSet<Reference>,
    warnings: &mut Vec<Diagnostic>,
) -> Vec<Finding> {
    if spec.discovery.optional == Optional::Ignore {
        return Vec::new();
    }
    let grounds: Vec<_> = inputs.iter().filter_map(|input| Some((input, input.ground.as_ref()?))).collect();
    let explored = parallel::each(&grounds, |(_, ground)| optional::search(ground, context, known));
    let mut found = Vec::new();
    for ((input, _), explored) in grounds.into_iter().zip(explored) {
        tell(input, &explored, warnings);
        for brought in explored.images.into_values() {
            let step = Step::Set { set: brought.switches };
            found.extend(brought.findings.into_iter().take(PLACES).map(|mut finding| {
                let charts = finding.provenance.iter().take_while(|step| matches!(step, Step::Chart { .. })).count();
                finding.provenance.insert(charts, step.clone());
                finding.within(Step::entry(input.label.clone()))
            }));
        }
    }
    for input in inputs {
        let entry = Step::entry(input.label.clone());
        let listed = input.listed.iter().flat_map(|listed| &listed.findings);
        let new = listed.filter(|finding| full(finding).is_some_and(|image| !known.contains(&image)));
        found.extend(new.map(|finding| finding.clone().within(entry.clone())));
    }
    found
}

/// Tells what could not be tried.
fn tell(input: &Input, explored: &Explored, warnings: &mut Vec<Diagnostic>) {
    let mut warn = |code, text: String, hint: &str| {
        warnings.push(Diagnostic::warning(code, format!("{}: {text}", input.label)).at(input.at.clone()).hint(hint));
    };
    if explored.ran_out {
        let text = format!(
            "after {} renderings the search for images that other values bring ended before everything was tried",
            explored.renderings
        );
        warn("optional-budget", text, "a variant with the values that you may use finds their images for sure");
    }
}

fn full(finding: &Finding) -> Option<Reference> {
    finding.written.parse::<Reference>().ok().map(Reference::with_default_tag)
}

/// Returns the first selection that fits.
fn fitting<'s>(list: &'s [Selection], image: &Reference) -> Option<&'s Selection> {
    list.iter().find(|selection| selection.image.matches(image))
}

/// Splits candidates into those that count like all findings and those that are only listed.
pub(super) fn divide(discovery: &Discovery, candidates: Vec<Finding>) -> (Vec<Finding>, Vec<Finding>) {
    candidates.into_iter().partition(|finding| {
        let Some(image) = full(finding) else { return false };
        fitting(&discovery.ignore, &image).is_none()
            && (discovery.optional == Optional::Include || fitting(&discovery.accept, &image).is_some())
    })
}

/// Notes in what was taken by a decision of the spec which one it was.
pub(super) fn sign(discovery: &Discovery, taken: &mut [Finding]) {
    for finding in taken {
        let is_optional = finding.provenance.iter().any(|step| matches!(step, Step::Set { .. }));
        let (guess, image) = (finding.confidence == Confidence::Guess, full(finding));
        let selection = image.filter(|_| guess || is_optional).and_then(|image| fitting(&discovery.accept, &image));
        let step = match selection {
            Some(selection) => {
                Step::Accepted { accepted: selection.entry.label.clone(), reason: selection.reason.clone() }
            }
            None if is_optional && discovery.optional == Optional::Include => {
                Step::Accepted { accepted: "discovery.optional".to_owned(), reason: None }
            }
            None if guess && discovery.guesses == Guesses::Include => {
                Step::Accepted { accepted: "discovery.guesses".to_owned(), reason: None }
            }
            None => continue,
        };
        finding.provenance.push(step);
    }
}

/// Collects what is not carried; `carried` are the images that are.
pub(super) fn not_carried(
    discovery: &Discovery,
    decision: &Decision,
    listed: &[Finding],
    carried: &BTreeSet<Reference>,
) -> Vec<NotCarried> {
    let ignored = decision.ignored.iter().map(|finding| (finding, Why::Guess));
    let optional = listed.iter().map(|finding| (finding, Why::Optional));
    let mut found: BTreeMap<Reference, NotCarried> = BTreeMap::new();
    for (finding, why) in ignored.chain(optional) {
        let Some(image) = full(finding).filter(|image| !carried.contains(image)) else { continue };
        let one = found.entry(image.clone()).or_insert_with(|| {
            let selection = fitting(&discovery.ignore, &image);
            let policy = (why == Why::Guess).then(|| "discovery.guesses".to_owned());
            NotCarried {
                why: if selection.is_some() { Why::Ignored } else { why },
                by: selection.map(|selection| selection.entry.label.clone()).or(policy),
                reason: selection.and_then(|selection| selection.reason.clone()),
                because: Vec::new(),
                image,
            }
        });
        if one.because.len() < PLACES && !one.because.contains(finding) {
            one.because.push(finding.clone());
        }
    }
    found.into_values().collect()
}

/// Says in one warning which optional images are not carried.
pub(super) fn summary(not_carried: &[NotCarried]) -> Option<Diagnostic> {
    let optional: Vec<String> =
        not_carried.iter().filter(|one| one.why == Why::Optional).map(|one| one.image.to_string()).collect();
    if optional.is_empty() {
        return None;
    }
    let dots = if optional.len() > NAMED { ", …" } else { "" };
    let names = optional.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let text = match optional.len() {
        1 => format!("1 image that only other values bring is not carried: {names}"),
        count => format!("{count} images that only other values bring are not carried: {names}{dots}"),
    };
    Some(
        Diagnostic::warning("optional-not-carried", text)
            .hint("`bundle resolve` tells the values; accept them under `discovery.accept`, all of them with `discovery.optional: include`, or add a variant"),
    )
}
