//! What went wrong, in words that every layer shares.
//!
//! Each module has its own typed error enum; this module owns what they have in common: the [`Kind`] that decides
//! exit code and retry, the [`Classify`] trait that every enum implements, and the [`Diagnostic`] that checks of user
//! input produce by the dozen.
//!
//! # Invariants
//! - A kind maps to exactly one exit code (`docs/architecture.md`), and only [`Kind::Unavailable`] is ever retried.
//! - Hints for kinds live in `cli/report.rs`; a [`Diagnostic`] carries a hint only when it is specific to its place.

use std::fmt;

use serde::Serialize;

/// Says what class of failure an error belongs to: decides the exit code and whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Checked, and the answer is no: differences, findings over the threshold, drift.
    Answer,
    /// The command line, spec, chart or manifest is wrong.
    Usage,
    /// Something is not there, or access to it is denied.
    NotFound,
    /// The network or a server failed for now; trying again may help.
    Unavailable,
    /// Bytes are not what they must be: digest, size or format. Never retried as if it were a hiccup.
    Corrupt,
    /// No key, a bad signature, an expired or rolled-back archive.
    Untrusted,
    /// A part, a base or a pin is missing.
    Incomplete,
    /// A bug of ours.
    Internal,
}

impl Kind {
    /// Returns the process exit code.
    pub const fn exit_code(self) -> u8 {
        match self {
            Kind::Answer => 1,
            Kind::Usage => 2,
            Kind::NotFound => 3,
            Kind::Unavailable => 4,
            Kind::Corrupt => 5,
            Kind::Untrusted => 6,
            Kind::Incomplete => 7,
            Kind::Internal => 70,
        }
    }

    /// Tells whether the same request may succeed when it is made again.
    pub const fn is_transient(self) -> bool {
        matches!(self, Kind::Unavailable)
    }

    /// Classifies a local I/O error. A full disk is transient: the operation can be resumed once there is room.
    pub fn of_io(error: &std::io::Error) -> Kind {
        match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied => Kind::NotFound,
            std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => Kind::Corrupt,
            _ => Kind::Unavailable,
        }
    }
}

/// Names the end of a transfer that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// Where the bytes come from.
    Source,
    /// Where the bytes go.
    Target,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Source => "source",
            Side::Target => "target",
        })
    }
}

/// Lets every error say what kind it is; exit code, retry and hint follow from it.
pub trait Classify: std::error::Error + Send + Sync + 'static {
    /// Returns the class of this failure.
    fn kind(&self) -> Kind;

    /// Returns the end of a transfer that failed, when there is one.
    fn side(&self) -> Option<Side> {
        None
    }

    /// Returns every mistake found, when the error stands for a checked input; empty otherwise.
    fn diagnostics(&self) -> &[Diagnostic] {
        &[]
    }
}

/// Grades a [`Diagnostic`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Stops the command.
    Error,
    /// Deserves a look; does not stop the command.
    Warning,
    /// Information.
    Note,
}

/// Points into a text file; line and column count from 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Location {
    /// The file as the user knows it.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

impl Location {
    /// Makes a location.
    pub fn new(file: impl Into<String>, line: u32, column: u32) -> Self {
        Location { file: file.into(), line, column }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Tells one thing about an input: what, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A stable identifier in kebab-case, such as `unknown-key`.
    pub code: &'static str,
    /// What happened, in one sentence without a full stop.
    pub message: String,
    /// Where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Location>,
    /// What to do, when that is specific to this place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Diagnostic {
    /// Makes an error.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Diagnostic { severity: Severity::Error, code, message: message.into(), at: None, hint: None }
    }

    /// Makes a warning.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Diagnostic { severity: Severity::Warning, ..Self::error(code, message) }
    }

    /// Adds the place.
    pub fn at(mut self, at: Location) -> Self {
        self.at = Some(at);
        self
    }

    /// Adds what to do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = &self.at {
            write!(f, "{at}: ")?;
        }
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

/// Finds the candidate nearest to what was written, for "did you mean".
pub fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&written.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1.max(candidate.chars().count().min(written.chars().count()) / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unavailability_is_transient() {
        for kind in [Kind::Answer, Kind::Usage, Kind::NotFound, Kind::Corrupt, Kind::Untrusted, Kind::Incomplete] {
            assert!(!kind.is_transient());
        }
        assert!(Kind::Unavailable.is_transient());
    }

    #[test]
    fn suggests_near_names_only() {
        assert_eq!(nearest("imagse", ["images", "files"]), Some("images"));
        assert_eq!(nearest("platform", ["platforms", "files"]), Some("platforms"));
        assert_eq!(nearest("zebra", ["images", "files"]), None);
    }
}
