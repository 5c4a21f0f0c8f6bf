//! From objects to findings: which images a set of manifests names, and why.
//!
//! ```text
//!  objects ─ podspec.rs: the fields that the Kubernetes API calls images ─→ Findings { findings, diagnostics }
//! ```
//!
//! | file | owns |
//! |---|---|
//! | `podspec.rs` | pod specs of the built-in kinds |
//! | `provenance.rs` | [`Finding`], [`Step`], [`Confidence`] |
//!
//! # Invariants
//! - A finding holds the reference exactly as it was written; what it means is for the reader of the finding.
//! - Every finding's text parses as an image reference; what does not is a diagnostic of severity error, with its place.
//! - Kinds are matched by API group *and* kind: `Cluster`, `Service` or `Job` mean different things in different groups.
//!
//! # Failure
//! There is no error type: [`find`] always answers, and what it could not understand is among the diagnostics.

mod podspec;
mod provenance;

use crate::{error::Diagnostic, kube::Object};

pub use provenance::{Confidence, Finding, Step};

/// Holds what was found and what could not be understood.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Every place that names an image, in the order of the objects.
    pub findings: Vec<Finding>,
    /// Every place that could not be understood, and what deserves a look.
    pub diagnostics: Vec<Diagnostic>,
}

/// Finds every image that the objects name.
pub fn find(objects: &[Object]) -> Findings {
    let mut found = Findings::default();
    for object in objects {
        let before = found.diagnostics.len();
        podspec::find(object, &mut found);
        found.diagnostics[before..].sort_by(|a, b| a.at.cmp(&b.at));
    }
    found
}
