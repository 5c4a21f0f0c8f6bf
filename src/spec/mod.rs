//! The bundle spec, `bundle.yaml`: what a person writes to say what a bundle carries.
//!
//! | file | owns |
//! |---|---|
//! | `keys.rs` | the tables of keys: one source for checks, suggestions and schema |
//! | `check.rs` | keys and types; collecting mistakes |
//! | `read.rs`, `sections.rs` | from checked mappings to the model |
//! | `model.rs` | [`Spec`] and its entries |
//! | `names.rs` | patterns, prefixes, durations, sizes |
//! | `schema.rs` | the JSON schema |
//!
//! # Invariants
//! - A [`Spec`] is complete and consistent in itself: references, digests, platforms, addresses and names were parsed,
//!   names are unique, nothing leaves the bundle's root.
//! - Every entry keeps its label (`charts[0]`) and its place.
//! - Nothing is expanded, nothing is read: paths are as written, relative to the spec's folder.
//! - The model knows the whole language. What a verb cannot do with a section, it refuses by the section's label.
//!
//! # Failure
//! All mistakes of a text come out in one run as [`Diagnostic`]s with file, line, column and, where there is one, a
//! suggestion. Only text that is not YAML ends at its first mistake.

mod check;
mod keys;
mod model;
mod names;
mod read;
mod schema;
mod sections;

use crate::{
    error::{Diagnostic, Location},
    yaml::{self, Duplicates, Options},
};

pub use model::{
    Chart, ChartSource, ChartValues, Discovery, Entry, File, FileSource, Guesses, Image, Issuer, Kubernetes, Manifest,
    ManifestSource, Mirror, Optional, Registry, Remote, RemoteSource, Rule, Selection, Spec, Substitution, Unfollowed,
    Variant, Verify,
};
pub use names::{DurationError, ObjectPattern, Pattern, PatternError, Prefix, PrefixError, SizeError, duration, size};
pub use schema::schema;

impl Spec {
    /// Parses a spec; `file` is its name in messages. With the spec come the warnings.
    ///
    /// # Errors
    /// Every mistake in the text, and the warnings.
    pub fn parse(file: &str, text: &str) -> Result<(Spec, Vec<Diagnostic>), Vec<Diagnostic>> {
        let options = Options { duplicates: Duplicates::Keep, ..Options::default() };
        let documents = yaml::documents(text, &options).map_err(|error| {
            let at = Location::new(file, error.at.line, error.at.column);
            vec![Diagnostic::error("spec-syntax", error.problem.to_string()).at(at)]
        })?;
        match documents.as_slice() {
            [document] if !document.is_null() => read::spec(file, document),
            [] | [_] => {
                let hint = "`bundle init` writes one to start from";
                Err(vec![Diagnostic::error("empty", "the spec is empty").at(Location::new(file, 1, 1)).hint(hint)])
            }
            [_, second, ..] => {
                let at = Location::new(file, second.at.line, second.at.column);
                Err(vec![Diagnostic::error("spec-syntax", "a spec is one document, and this is a second one").at(at)])
            }
        }
    }
}

#[cfg(test)]
mod tests;
