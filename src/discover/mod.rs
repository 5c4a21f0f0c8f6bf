//! From objects to findings: which images a set of manifests names, and why.
//!
//! ```text
//!  objects ─┬─ podspec   pod specs of the built-in kinds          schema ─┐
//!           ├─ rules     custom resources by group and kind       rule    │
//!           ├─ schema    definitions among the inputs             rule    ├─→ Findings ─ decide ─→ taken, refused, ignored
//!           ├─ shape     pod specs anywhere else                  rule    │
//!           ├─ implied   what an operator starts unasked          rule    │
//!           └─ walk      args env annotations payload split …     guess ──┘
//! ```
//!
//! | file | owns |
//! |---|---|
//! | `context.rs` | [`Context`]: what is known around the objects; the entry |
//! | `podspec.rs` | pod specs of the built-in kinds |
//! | `rules.rs`, `rules.txt` | fields of custom resources by group and kind; rules of the spec |
//! | `schema.rs` | definitions of custom resources: image fields and their defaults |
//! | `shape.rs` | pod specs at places that no rule names |
//! | `implied.rs`, `implied.yaml` | images that no manifest names |
//! | `walk.rs` | the search through what is left |
//! | `args.rs`, `env.rs`, `annotations.rs`, `payload.rs`, `script.rs`, `split.rs` | its classes |
//! | `guess.rs`, `negative.rs` | what looks like an image, and what only seems to |
//! | `listed.rs` | lists that chart authors publish |
//! | `decide.rs` | [`decide`]: what becomes of guesses |
//! | `fields.rs`, `site.rs` | paths; one object under examination |
//! | `provenance.rs` | [`Finding`], [`Step`], [`Confidence`] |
//! | `place.rs` | [`Occurrence`]: where each finding is written |
//!
//! # Invariants
//! - A finding holds the reference exactly as it was written; one in pieces is joined, and its rule says so.
//! - Every finding's text parses as an image reference; what does not, where an image must be, is a diagnostic with its place.
//! - Kinds are matched by API group *and* kind: `Cluster`, `Service` or `Job` mean different things in different groups.
//! - A field counts once: what a stronger class settled, no weaker one looks at.
//! - Nothing here asks the network; the same objects give the same findings.
//!
//! # Failure
//! There is no error type: [`find_all`] always answers, and what it could not understand is among the diagnostics.

mod annotations;
mod args;
mod context;
mod decide;
mod env;
mod fields;
mod guess;
mod implied;
mod listed;
mod negative;
mod payload;
mod place;
mod podspec;
mod provenance;
mod rules;
mod schema;
mod script;
mod shape;
mod site;
mod split;
mod walk;

use crate::{error::Diagnostic, kube::Object};

pub use context::{Context, UserRule};
pub use decide::{Decision, GuessPolicy, Policy, Refused, decide};
pub use listed::{chart_annotations, images_lock};
pub use place::{Level, Occurrence, Piece, Role};
pub use provenance::{Confidence, Finding, Step};

use site::Site;
pub use site::object_step;

/// Holds what was found and what could not be understood.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Every place that names an image, in the order of the objects.
    pub findings: Vec<Finding>,
    /// Every place that could not be understood, and what deserves a look.
    pub diagnostics: Vec<Diagnostic>,
    /// Where the findings are written; one that stands at several places of a field occurs several times.
    pub occurrences: Vec<Occurrence>,
}

/// Finds every image that pod specs of the built-in kinds name, and nothing else.
pub fn find(objects: &[Object]) -> Findings {
    let mut found = Findings::default();
    for object in objects {
        let before = found.diagnostics.len();
        podspec::find(object, &mut found);
        found.diagnostics[before..].sort_by(|a, b| a.at.cmp(&b.at));
    }
    found
}

/// Finds every image that the objects name or imply, of every class, when these objects are all there is. Where they are a
/// part of more, a [`Context`] that learned everything sees definitions and ConfigMaps of other inputs too.
pub fn find_all(objects: &[Object], rules: Vec<UserRule>) -> Findings {
    let mut context = Context::new(rules);
    context.learn(objects);
    context.find(objects)
}

/// Examines one object, the strongest class first.
fn examine(site: &mut Site<'_>) {
    let object = site.object;
    if object.kind == "CustomResourceDefinition" && object.group() == "apiextensions.k8s.io" {
        return schema::defaults(site);
    }
    rules::find_named(site);
    if negative::is_other_kind(object.group(), &object.kind) {
        return;
    }
    let mut pods = Findings::default();
    podspec::find(object, &mut pods);
    // Istio's injector replaces this word by its proxy.
    pods.occurrences.retain(|occurrence| occurrence.finding.written != "auto");
    for finding in pods.findings {
        if let Some(Step::Field { field }) = finding.provenance.last() {
            site.settle(field.clone());
        }
        if finding.written != "auto" {
            site.found.findings.push(finding);
        }
    }
    site.found.occurrences.append(&mut pods.occurrences);
    site.found.diagnostics.append(&mut pods.diagnostics);
    rules::find(site);
    if !podspec::knows(object) {
        shape::find(site, "pod spec in a custom resource");
    }
    walk::find(site);
}
