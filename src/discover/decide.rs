//! What becomes of findings: which are taken, which are ignored, and which guesses nobody decided about.
//!
//! A guess needs no decision when its image is wanted anyway: another finding of a better class, or an image that the spec
//! names. Ignoring is stronger than accepting, and both name images by pattern.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    error::{Diagnostic, Location},
    oci::Reference,
};

use super::{Confidence, Finding, Step};

/// Says what happens to guesses that no pattern names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GuessPolicy {
    /// They are mistakes that somebody must decide about.
    #[default]
    Fail,
    /// They are taken.
    Include,
    /// They are left out.
    Ignore,
}

/// Holds what a spec says about findings. Patterns are full references (`docker.io/library/busybox:1.37`) in which `*` stands
/// for any text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What happens to guesses that no pattern names.
    pub guesses: GuessPolicy,
    /// Guesses that are right.
    pub accept: Vec<String>,
    /// Findings that do not count, of any class but declared ones.
    pub ignore: Vec<String>,
    /// Images that are wanted anyway.
    pub wanted: BTreeSet<Reference>,
}

/// Holds a guess that somebody must decide about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The image as full name.
    pub image: Reference,
    /// Every place where it looks like one; never empty.
    pub findings: Vec<Finding>,
}

impl Refused {
    /// Returns what to write into the spec.
    pub fn remedy(&self) -> String {
        let image = self.image.clone().with_default_tag();
        format!(
            "add `- {{image: \"{image}\"}}` to `discovery.accept` when the deployment needs it, or to `discovery.ignore` when not"
        )
    }

    /// Returns the mistake, with its first place and the remedy.
    pub fn diagnostic(&self) -> Diagnostic {
        let written = self.findings.first().map_or("", |finding| finding.written.as_str());
        let place = self.findings.first().map(ToString::to_string).unwrap_or_default();
        let more = match self.findings.len() {
            0 | 1 => String::new(),
            count => format!(" and {} more places", count - 1),
        };
        let message = format!("{written:?} looks like an image that is needed: {place}{more}");
        let mut diagnostic = Diagnostic::error("guess-undecided", message).hint(self.remedy());
        let at = self.findings.iter().flat_map(|finding| &finding.provenance).find_map(|step| match step {
            Step::File { file, line: Some(line) } => Some(Location::new(file, *line, 1)),
            _ => None,
        });
        diagnostic.at = at;
        diagnostic
    }
}

/// Holds findings by what becomes of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// What counts, in the order of the findings.
    pub taken: Vec<Finding>,
    /// Guesses without a decision, by image; empty unless guesses are mistakes.
    pub refused: Vec<Refused>,
    /// What does not count.
    pub ignored: Vec<Finding>,
    /// Patterns of the policy that fit nothing: probably mistyped or out of date.
    pub unused: Vec<String>,
}

/// Decides about findings.
pub fn decide(findings: Vec<Finding>, policy: &Policy) -> Decision {
    let mut decision = Decision::default();
    let mut used = vec![false; policy.accept.len() + policy.ignore.len()];
    let full = |finding: &Finding| finding.written.parse::<Reference>().ok().map(Reference::with_default_tag);
    let mut wanted: BTreeSet<Reference> = policy.wanted.iter().cloned().map(Reference::with_default_tag).collect();
    let mut read: Vec<(Finding, Option<Reference>, bool)> = Vec::with_capacity(findings.len());
    for finding in findings {
        let image = full(&finding);
        let ignored = finding.confidence != Confidence::Declared
            && image.as_ref().is_some_and(|image| fits(&policy.ignore, &mut used[policy.accept.len()..], image));
        if !ignored && finding.confidence != Confidence::Guess {
            wanted.extend(image.clone());
        }
        read.push((finding, image, ignored));
    }
    let mut refused: BTreeMap<Reference, Vec<Finding>> = BTreeMap::new();
    for (finding, image, ignored) in read {
        // What is no reference is the caller's mistake to report; it is kept so that it can.
        let Some(image) = image else {
            decision.taken.push(finding);
            continue;
        };
        let accepted = finding.confidence == Confidence::Guess && fits(&policy.accept, &mut used, &image);
        if ignored {
            decision.ignored.push(finding);
        } else if finding.confidence != Confidence::Guess
            || accepted
            || policy.guesses == GuessPolicy::Include
            || wanted.contains(&image)
        {
            decision.taken.push(finding);
        } else if policy.guesses == GuessPolicy::Ignore {
            decision.ignored.push(finding);
        } else {
            refused.entry(image).or_default().push(finding);
        }
    }
    decision.refused = refused.into_iter().map(|(image, findings)| Refused { image, findings }).collect();
    let patterns = policy.accept.iter().chain(&policy.ignore);
    decision.unused = patterns.zip(&used).filter(|(_, used)| !**used).map(|(pattern, _)| pattern.clone()).collect();
    decision
}

/// Tells whether a pattern fits, and remembers which ones did.
fn fits(patterns: &[String], used: &mut [bool], image: &Reference) -> bool {
    let text = image.to_string();
    let mut any = false;
    for (pattern, used) in patterns.iter().zip(used) {
        if glob(pattern, &text) {
            (*used, any) = (true, true);
        }
    }
    any
}

/// Matches a pattern in which `*` stands for any text: the parts between stars are found from left to right, the first and
/// the last one at the ends.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(written: &str, confidence: Confidence) -> Finding {
        let provenance =
            vec![Step::File { file: "m.yaml".into(), line: Some(7) }, Step::Field { field: "spec.x".into() }];
        Finding { written: written.into(), confidence, provenance }
    }

    fn written(findings: &[Finding]) -> Vec<&str> {
        findings.iter().map(|finding| finding.written.as_str()).collect()
    }

    fn sample() -> Vec<Finding> {
        vec![
            finding("nginx:1", Confidence::Schema),
            finding("nginx:1", Confidence::Guess),
            finding("busybox", Confidence::Guess),
            finding("docker.io/library/busybox:latest", Confidence::Guess),
            finding("quay.io/a/b:1", Confidence::Rule),
            finding("quay.io/c/d:1", Confidence::Guess),
        ]
    }

    #[test]
    fn undecided_guesses_are_refused_with_a_remedy() {
        let decision = decide(sample(), &Policy::default());
        assert_eq!(written(&decision.taken), ["nginx:1", "nginx:1", "quay.io/a/b:1"]);
        assert_eq!(decision.refused.len(), 2);
        assert_eq!(decision.refused[0].findings.len(), 2, "both spellings are one image");
        let shown = decision.refused[0].diagnostic().to_string();
        assert!(shown.starts_with("m.yaml:7:1: \"busybox\" looks like an image"), "{shown}");
        assert!(shown.contains("and 1 more") && shown.contains("docker.io/library/busybox:latest"), "{shown}");
    }

    #[test]
    fn patterns_and_policies_decide() {
        let mut policy = Policy {
            accept: vec!["quay.io/c/*".into()],
            ignore: vec!["*/busybox:*".into(), "x*".into()],
            ..Policy::default()
        };
        let decision = decide(sample(), &policy);
        assert!(decision.refused.is_empty());
        assert_eq!(written(&decision.ignored), ["busybox", "docker.io/library/busybox:latest"]);
        assert_eq!(decision.unused, ["x*"]);
        policy = Policy { guesses: GuessPolicy::Ignore, ..Policy::default() };
        assert_eq!(written(&decide(sample(), &policy).taken), ["nginx:1", "nginx:1", "quay.io/a/b:1"]);
        policy.guesses = GuessPolicy::Include;
        assert_eq!(decide(sample(), &policy).taken.len(), 6);
        policy = Policy {
            wanted: BTreeSet::from(["busybox".parse().unwrap()]),
            accept: vec!["quay.io/c/d:1".into()],
            ..Policy::default()
        };
        assert!(decide(sample(), &policy).refused.is_empty());
        let declared = vec![finding("a", Confidence::Declared)];
        policy.ignore = vec!["*".into()];
        assert_eq!(decide(declared, &policy).taken.len(), 1);
    }

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, text, fits) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "abcd", false),
            ("*/busybox:*", "docker.io/library/busybox:1", true),
            ("a*b*a", "aba", true),
            ("a*a", "a", false),
            ("*ab*ab", "ab", false),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
    }
}
