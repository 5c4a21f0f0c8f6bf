//! All inputs at once: learned, searched, decided about.
//!
//! ```text
//!  batches of all inputs ─ Context ─ find ─ decide ─┬─ taken    → images of the lock
//!                        lists of chart authors ────┤  refused  → mistakes, each with its remedy
//!                        other values (beyond.rs) ──┴─ ignored  → the lock's list of what is not carried
//! ```
//!
//! # Invariants
//! - Every input is learned before the first one is searched: a definition or a ConfigMap of one counts for all.
//! - Lists that chart authors publish name what a chart can pull with any values. They confirm guesses and are further
//!   reasons for images that are wanted anyway; what only they name is optional, as is what only other values bring.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    batch::{Batch, shown},
    beyond,
    charts::optional::Ground,
    parallel,
};
use crate::{
    discover::{self, Context, Decision, Finding, Findings, GuessPolicy, Policy, Refused, Step, UserRule},
    error::{Diagnostic, Kind, Location, Severity},
    lock::NotCarried,
    oci::Reference,
    spec::{Discovery, Guesses, Selection, Spec},
};

/// How many images one warning names.
const NAMED: usize = 20;

/// What one entry of the spec gave.
#[derive(Debug)]
pub(super) struct Input {
    /// The label of the entry.
    pub(super) label: String,
    /// Where the entry is written.
    pub(super) at: Location,
    /// What mistakes begin with, when they do not say it themselves.
    pub(super) subject: Option<String>,
    pub(super) batches: Vec<Batch>,
    pub(super) listed: Vec<Listed>,
    /// What trying other values takes, for charts.
    pub(super) ground: Option<Ground>,
}

/// What a chart's author lists.
#[derive(Debug)]
pub(super) struct Listed {
    /// With the charts in front.
    pub(super) findings: Vec<Finding>,
}

/// Fields that were followed to what they mean, by object: what is found in them counts no more. A field is told by how its
/// path begins.
#[derive(Debug, Default)]
pub(super) struct Settled(BTreeMap<Step, BTreeSet<String>>);

impl Settled {
    pub(super) fn add(&mut self, object: Step, field: String) {
        self.0.entry(object).or_default().insert(field);
    }

    fn holds(&self, provenance: &[Step]) -> bool {
        let first = provenance.windows(2).find_map(|pair| match pair {
            [object @ Step::Object { .. }, Step::Field { field }] => Some((object, field)),
            _ => None,
        });
        let Some((object, field)) = first else { return false };
        self.0.get(object).is_some_and(|fields| {
            let below = |start: &String| {
                field.strip_prefix(start.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            };
            fields.iter().any(below)
        })
    }
}

/// What came out.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// What counts, with its entry in front, in the order of the inputs.
    pub(super) taken: Vec<Finding>,
    /// What was found and does not count.
    pub(super) not_carried: Vec<NotCarried>,
    pub(super) warnings: Vec<Diagnostic>,
    pub(super) failures: Vec<(Kind, Diagnostic)>,
}

/// Searches everything.
pub(super) fn search(spec: &Spec, folder: &std::path::Path, inputs: &[Input], settled: &Settled) -> Outcome {
    let mut context = Context::new(rules(&spec.discovery));
    for batch in inputs.iter().flat_map(|input| &input.batches).filter(|batch| !batch.via.made) {
        context.learn(&batch.objects);
    }
    let mut outcome = Outcome::default();
    let batches: Vec<&Batch> = inputs.iter().flat_map(|input| &input.batches).filter(|batch| !batch.via.made).collect();
    let mut searched = parallel::each(&batches, |batch| batch.find(&context)).into_iter();
    let mut findings = Vec::new();
    for input in inputs {
        find(input, settled, &mut searched, &mut findings, &mut outcome);
    }
    let mut policy = policy(spec);
    let listed: Vec<Finding> = inputs
        .iter()
        .flat_map(|input| {
            let of_entry = |finding: &Finding| finding.clone().within(Step::entry(input.label.clone()));
            input.listed.iter().flat_map(|listed| &listed.findings).map(of_entry)
        })
        .collect();
    let named = || spec.images.iter().map(|image| image.reference.clone().with_default_tag());
    let known: BTreeSet<Reference> = findings.iter().filter_map(full).chain(named()).collect();
    let candidates = beyond::candidates(spec, &context, inputs, &known, &mut outcome.warnings);
    let optional: BTreeSet<Reference> = candidates.iter().filter_map(full).collect();
    let (wanted, left) = beyond::divide(&spec.discovery, candidates);
    findings.extend(wanted);
    policy.wanted.extend(listed.iter().filter_map(full));
    let mut decision = discover::decide(findings, &policy);
    let carried: BTreeSet<Reference> = decision.taken.iter().filter_map(full).chain(named()).collect();
    let refused: BTreeSet<&Reference> = decision.refused.iter().map(|refused| &refused.image).collect();
    let left: Vec<Finding> =
        left.into_iter().filter(|finding| full(finding).is_some_and(|image| !refused.contains(&image))).collect();
    outcome.not_carried = beyond::not_carried(&spec.discovery, &decision, &left, &carried);
    outcome.warnings.extend(beyond::summary(&outcome.not_carried));
    // A pattern that fits an optional image does something.
    decision.unused.retain(|pattern| {
        let fits = |selection: &Selection| {
            selection.image.as_str() == pattern && optional.iter().any(|image| selection.image.matches(image))
        };
        !spec.discovery.accept.iter().chain(&spec.discovery.ignore).any(fits)
    });
    report(spec, folder, inputs, &decision, &mut outcome);
    let confirmed = listed.into_iter().filter(|finding| full(finding).is_some_and(|image| carried.contains(&image)));
    outcome.taken = decision.taken;
    outcome.taken.extend(confirmed.filter(|finding| full(finding).is_some_and(|image| !optional.contains(&image))));
    beyond::sign(&spec.discovery, &mut outcome.taken);
    outcome
}

fn full(finding: &Finding) -> Option<Reference> {
    finding.written.parse::<Reference>().ok().map(Reference::with_default_tag)
}

fn ignores(discovery: &Discovery, image: &Reference) -> bool {
    discovery.ignore.iter().any(|selection| selection.image.matches(image))
}

/// Takes what was found in the batches of an input, once each.
fn find(
    input: &Input,
    settled: &Settled,
    searched: &mut impl Iterator<Item = Findings>,
    findings: &mut Vec<Finding>,
    outcome: &mut Outcome,
) {
    // What one set of values says, no other one says again.
    let mut said = BTreeSet::new();
    for (batch, found) in input.batches.iter().filter(|batch| !batch.via.made).zip(searched) {
        for finding in found.findings.into_iter().filter(|finding| !settled.holds(&finding.provenance)) {
            let plain = Finding {
                provenance: finding
                    .provenance
                    .iter()
                    .filter(|step| !matches!(step, Step::Variant { .. }))
                    .cloned()
                    .collect(),
                ..finding.clone()
            };
            if said.insert(format!("{} {plain}", plain.written)) {
                findings.push(finding.within(Step::entry(input.label.clone())));
            }
        }
        for diagnostic in found.diagnostics {
            let place = diagnostic.at.as_ref().map(ToString::to_string).unwrap_or_default();
            if !said.insert(format!("{place} {}", diagnostic.message)) {
                continue;
            }
            let diagnostic = match batch.via.subject.as_ref().or(input.subject.as_ref()) {
                Some(subject) => of_chart(diagnostic, subject, batch.variant()),
                None => diagnostic,
            };
            match diagnostic.severity {
                Severity::Error => outcome.failures.push((Kind::Usage, diagnostic)),
                _ => outcome.warnings.push(diagnostic),
            }
        }
    }
}

/// Says which chart a mistake belongs to.
pub(super) fn of_chart(diagnostic: Diagnostic, subject: &str, variant: Option<&str>) -> Diagnostic {
    let with = variant.map(|variant| format!(" with {variant}")).unwrap_or_default();
    let message = format!("{subject}{with}: {}", diagnostic.message);
    // It was rendered; what is left open is a value.
    let hint = match diagnostic.code {
        "image-unreadable" => Some("the values of the chart say what stands there".to_owned()),
        _ => diagnostic.hint,
    };
    Diagnostic { message, hint, ..diagnostic }
}

fn rules(discovery: &Discovery) -> Vec<UserRule> {
    let rule = |rule: &crate::spec::Rule| UserRule {
        name: rule.entry.label.clone(),
        group: rule.group.clone(),
        kind: rule.kind.clone(),
        paths: rule.paths.clone(),
    };
    discovery.rules.iter().map(rule).collect()
}

fn policy(spec: &Spec) -> Policy {
    let patterns = |list: &[Selection]| list.iter().map(|one| one.image.as_str().to_owned()).collect();
    Policy {
        guesses: match spec.discovery.guesses {
            Guesses::Fail => GuessPolicy::Fail,
            Guesses::Include => GuessPolicy::Include,
            Guesses::Ignore => GuessPolicy::Ignore,
        },
        accept: patterns(&spec.discovery.accept),
        ignore: patterns(&spec.discovery.ignore),
        wanted: spec.images.iter().map(|image| image.reference.clone()).collect(),
    }
}

/// Tells of what was refused and left out, and of patterns that fit nothing.
fn report(spec: &Spec, folder: &std::path::Path, inputs: &[Input], decision: &Decision, outcome: &mut Outcome) {
    for refused in &decision.refused {
        let diagnostic = Diagnostic { at: place(folder, inputs, refused), ..refused.diagnostic() };
        outcome.failures.push((Kind::Incomplete, diagnostic));
    }
    let mut left: BTreeMap<String, usize> = BTreeMap::new();
    for image in decision.ignored.iter().filter_map(full).filter(|image| !ignores(&spec.discovery, image)) {
        *left.entry(image.to_string()).or_default() += 1;
    }
    if !left.is_empty() {
        let names: Vec<&str> = left.keys().take(NAMED).map(String::as_str).collect();
        let dots = if left.len() > NAMED { ", …" } else { "" };
        let text = format!(
            "{} that {} like an image {} left out, as `discovery.guesses: ignore` says: {}{dots}",
            if left.len() == 1 { "1 text".to_owned() } else { format!("{} texts", left.len()) },
            if left.len() == 1 { "looks" } else { "look" },
            if left.len() == 1 { "was" } else { "were" },
            names.join(", "),
        );
        outcome.warnings.push(
            Diagnostic::warning("guesses-ignored", text)
                .hint("what the deployment needs of them belongs under `discovery.accept`"),
        );
    }
    let lists = [("accept", &spec.discovery.accept), ("ignore", &spec.discovery.ignore)];
    for (list, selection) in lists.into_iter().flat_map(|(list, all)| all.iter().map(move |one| (list, one))) {
        if decision.unused.iter().any(|pattern| pattern == selection.image.as_str()) {
            let text = format!(
                "{}: {:?} fits nothing that {}",
                selection.entry.label,
                selection.image.as_str(),
                if list == "accept" { "is a guess" } else { "was found" }
            );
            outcome.warnings.push(
                Diagnostic::warning("unused-pattern", text)
                    .at(selection.entry.at.clone())
                    .hint("correct it, or remove it"),
            );
        }
    }
}

/// Returns the first place of a guess as the user can open it: the manifest, or the entry of the chart.
fn place(folder: &std::path::Path, inputs: &[Input], refused: &Refused) -> Option<Location> {
    let first = refused.findings.first()?;
    // What a chart makes stands in no file that the user can open; the object that names the chart may.
    let outside = first.provenance.iter().take_while(|step| !matches!(step, Step::Chart { .. }));
    let file = outside.into_iter().find_map(|step| match step {
        Step::File { file, line: Some(line) } if !file.contains("://") => Some((file, *line)),
        _ => None,
    });
    match (file, first.provenance.first()) {
        (Some((file, line)), _) => Some(Location::new(shown(folder, file), line, 1)),
        (None, Some(Step::Entry { entry })) => {
            inputs.iter().find(|input| input.label == *entry).map(|input| input.at.clone())
        }
        _ => None,
    }
}
