//! Where a finding is written: what a writer has to change to make it name another image.
//!
//! ```text
//!  Occurrence ─ a finding and its pieces
//!    Piece    ─ which part of the reference, and the texts around it from the outermost to the innermost
//!      Level  ─ a scalar by its place in its text, and the bytes of its value that count
//! ```
//!
//! A reference in one scalar is one piece; `{registry, repository, tag}` has one for each key; one inside a document that
//! is itself a text of a ConfigMap has two levels. What is put together at run time has no pieces.
//!
//! # Invariants
//! - Places count from the start of the text that the outermost object was read from.
//! - The pieces that make up the name stand in the order in which they are joined by `/`.

use crate::yaml::Mark;

use super::Finding;

/// Tells which part of a reference a piece holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// All of it, as the finding has it.
    Reference,
    /// The name without tag and digest, which stand elsewhere.
    Name,
    /// The front of the name: a registry, or a registry and a path.
    Registry,
    /// A registry that the repository beside it repeats.
    Repeated,
    /// The middle or the end of the name.
    Repository,
    /// The end of the name.
    Image,
    /// The tag.
    Tag,
    /// The digest.
    Digest,
}

impl Role {
    /// Tells whether the piece holds a part of the name.
    pub fn is_name(self) -> bool {
        !matches!(self, Role::Tag | Role::Digest | Role::Repeated)
    }
}

/// Points at bytes of a scalar's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Level {
    /// Where the scalar begins in its text.
    pub at: Mark,
    /// The first byte of the value that counts.
    pub start: usize,
    /// The byte behind the last one.
    pub end: usize,
    /// Whether the value is base64, and the bytes are counted in what it says.
    pub base64: bool,
}

/// Holds one part of a reference with its place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Piece {
    /// The part.
    pub role: Role,
    /// The way to it: every level but the last holds a document in which the next one counts.
    pub levels: Vec<Level>,
}

/// Holds a finding and where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// The finding.
    pub finding: Finding,
    /// Its pieces; none when it is written nowhere.
    pub pieces: Vec<Piece>,
}

impl Occurrence {
    /// Tells whether it is beyond doubt that this is an image: a rule says so, or the text names a registry and could
    /// hardly be anything else.
    pub fn is_evident(&self) -> bool {
        let written = self.finding.written.as_str();
        self.finding.confidence != super::Confidence::Guess
            || super::guess::is_strict(written)
            || super::guess::is_on_registry(written)
    }
}

/// Returns the bytes of `text` that `part` is, when it is a slice of it.
pub(super) fn span(text: &str, part: &str) -> Option<(usize, usize)> {
    // Readers hand on slices of the values they read: where a slice lies says where in the value it was found, even when
    // the same characters stand there twice.
    let start = (part.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    let end = start.checked_add(part.len())?;
    (end <= text.len() && !part.is_empty()).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_know_their_place() {
        let text = String::from("a/b:1 a/b:1");
        assert_eq!(span(&text, &text[6..]), Some((6, 11)));
        assert_eq!(span(&text, &String::from("a/b:1")), None);
        assert_eq!(span(&text, ""), None);
    }
}
