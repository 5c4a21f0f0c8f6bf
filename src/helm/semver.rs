//! Versions and ranges with the rules of Masterminds' semver 3, which helm uses for charts, Kubernetes and templates.
//!
//! # Invariants
//! - A range whose any comparison of one alternative names a prerelease admits prereleases; all others refuse them.
//!
//! # Failure
//! [`SemverError`] for what is no version or no range.

mod constraint;

use std::{cmp::Ordering, fmt};

use super::template::{
    error::CallError,
    value::{IntKind, Value},
};

pub use constraint::{Constraint, is_compatible};

/// Says that a text is no version or no range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SemverError {
    /// No version.
    #[error("invalid semantic version")]
    Version(String),
    /// A prerelease with an empty or zero-padded part.
    #[error("invalid prerelease string")]
    Prerelease(String),
    /// A number beyond 64 bits.
    #[error("error parsing version segment: value out of range")]
    Segment(String),
    /// No range.
    #[error("improper constraint: {0}")]
    Constraint(String),
}

/// A semantic version, also written loosely: `v1.2`.
#[derive(Clone, Debug)]
pub struct Version {
    /// The first number.
    pub major: u64,
    /// The second number.
    pub minor: u64,
    /// The third number.
    pub patch: u64,
    /// What follows the first `-`.
    pub prerelease: String,
    /// What follows the `+`.
    pub metadata: String,
    original: String,
}

/// The raw pieces of a version or of the version in a range.
struct Pieces<'a> {
    numbers: [&'a str; 3],
    prerelease: &'a str,
    metadata: &'a str,
    length: usize,
}

fn identifiers(text: &str) -> usize {
    // Dot-separated, none empty.
    let mut end = 0;
    loop {
        let word = text[end..].bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'-').count();
        if word == 0 {
            return end.saturating_sub(1);
        }
        end += word;
        if !text[end..].starts_with('.') {
            return end;
        }
        end += 1;
    }
}

/// Takes a version off the front of a text; `digit` says what a number is made of.
fn pieces(text: &str, digit: fn(u8) -> bool) -> Option<Pieces<'_>> {
    let mut at = usize::from(text.starts_with('v'));
    let run = |from: usize| text[from..].bytes().take_while(|byte| digit(*byte)).count();
    let mut numbers = [""; 3];
    let count = run(at);
    if count == 0 {
        return None;
    }
    numbers[0] = &text[at..at + count];
    at += count;
    for number in &mut numbers[1..] {
        let dot = text[at..].starts_with('.');
        let count = if dot { run(at + 1) } else { 0 };
        if count == 0 {
            break;
        }
        *number = &text[at + 1..at + 1 + count];
        at += count + 1;
    }
    let (mut prerelease, mut metadata) = ("", "");
    for (mark, slot) in [('-', &mut prerelease), ('+', &mut metadata)] {
        if let Some(rest) = text[at..].strip_prefix(mark) {
            let length = identifiers(rest);
            if length > 0 {
                *slot = &rest[..length];
                at += length + 1;
            }
        }
    }
    Some(Pieces { numbers, prerelease, metadata, length: at })
}

impl Version {
    /// Parses a version, loosely: `v1.2` is 1.2.0.
    ///
    /// # Errors
    /// [`SemverError`] for anything else.
    pub fn parse(text: &str) -> Result<Version, SemverError> {
        let invalid = || SemverError::Version(text.to_owned());
        let found = pieces(text, |byte| byte.is_ascii_digit()).ok_or_else(invalid)?;
        if found.length != text.len() {
            return Err(invalid());
        }
        let number = |text: &str| match text {
            "" => Ok(0),
            digits => digits.parse().map_err(|_| SemverError::Segment(digits.to_owned())),
        };
        let padded = |part: &str| part.len() > 1 && part.starts_with('0') && part.bytes().all(|b| b.is_ascii_digit());
        if found.prerelease.split('.').any(padded) {
            return Err(SemverError::Prerelease(text.to_owned()));
        }
        Ok(Version {
            major: number(found.numbers[0])?,
            minor: number(found.numbers[1])?,
            patch: number(found.numbers[2])?,
            prerelease: found.prerelease.to_owned(),
            metadata: found.metadata.to_owned(),
            original: text.to_owned(),
        })
    }

    /// Compares by precedence; metadata does not count.
    pub fn compare(&self, other: &Version) -> Ordering {
        (self.major, self.minor, self.patch).cmp(&(other.major, other.minor, other.patch)).then_with(|| {
            match (self.prerelease.is_empty(), other.prerelease.is_empty()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => compare_prerelease(&self.prerelease, &other.prerelease),
            }
        })
    }

    fn bumped(&self, major: u64, minor: u64, patch: u64) -> Version {
        let mut next = Version {
            major,
            minor,
            patch,
            prerelease: String::new(),
            metadata: String::new(),
            original: String::new(),
        };
        next.original = format!("{}{next}", if self.original.starts_with('v') { "v" } else { "" });
        next
    }

    /// Evaluates a method of `*semver.Version`; `None` when there is none of that name.
    pub fn access(&self, name: &str, args: &[Value]) -> Option<Result<Value, CallError>> {
        let number = |value: u64| Value::Int(IntKind::Uint64, value as i64);
        let version = |version: Version| Value::object(super::template::object::Object::Semver(version));
        let other = || match args {
            [Value::Object(object)] => match &**object {
                super::template::object::Object::Semver(other) => Some(other),
                _ => None,
            },
            _ => None,
        };
        let compared = |holds: fn(Ordering) -> bool| {
            Some(match other() {
                Some(other) => Ok(Value::Bool(holds(self.compare(other)))),
                None => Err(CallError::Arity(format!("{name} needs one version"))),
            })
        };
        let value = match name {
            "Major" => number(self.major),
            "Minor" => number(self.minor),
            "Patch" => number(self.patch),
            "Prerelease" => Value::str(self.prerelease.as_str()),
            "Metadata" => Value::str(self.metadata.as_str()),
            "Original" => Value::str(self.original.as_str()),
            "String" => Value::from(self.to_string()),
            "IncMajor" => version(self.bumped(self.major + 1, 0, 0)),
            "IncMinor" => version(self.bumped(self.major, self.minor + 1, 0)),
            "IncPatch" if self.prerelease.is_empty() => version(self.bumped(self.major, self.minor, self.patch + 1)),
            "IncPatch" => version(self.bumped(self.major, self.minor, self.patch)),
            "Compare" => {
                return Some(match other() {
                    Some(other) => Ok(Value::int(self.compare(other) as i64)),
                    None => Err(CallError::Arity(format!("{name} needs one version"))),
                });
            }
            "Equal" => return compared(Ordering::is_eq),
            "LessThan" => return compared(Ordering::is_lt),
            "LessThanEqual" => return compared(Ordering::is_le),
            "GreaterThan" => return compared(Ordering::is_gt),
            "GreaterThanEqual" => return compared(Ordering::is_ge),
            _ => return None,
        };
        Some(Ok(value))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        if !self.prerelease.is_empty() {
            write!(f, "-{}", self.prerelease)?;
        }
        if !self.metadata.is_empty() {
            write!(f, "+{}", self.metadata)?;
        }
        Ok(())
    }
}

fn compare_prerelease(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.split('.'), right.split('.'));
    loop {
        let (a, b) = (left.next(), right.next());
        let order = match (a, b) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(a), Some(b)) => match (a.parse::<u64>(), b.parse::<u64>()) {
                (Ok(a), Ok(b)) => a.cmp(&b),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                (Err(_), Err(_)) => a.cmp(b),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (range, version, want) in [
            ("^1.2.3", "1.9.0", true),
            ("^0.2.3", "0.3.0", false),
            ("~1.2", "1.3.0", false),
            (">=1.19-0", "1.28.3-eks-abc", true),
            (">=1.19", "1.28.3-eks-abc", false),
            (">=1.2.3-0", "2.0.0-rc.1", true),
            ("1.2 - 2", "1.9.9", true),
            ("1.x || >=3", "3.1.0", true),
            ("!=1.2.3", "1.2.4", true),
            (">1, <3", "2.0.0", true),
            (">1 <3", "3.0.0", false),
            ("*", "1.2.3", true),
            ("", "1.2.3", false),
            ("1.2.3.4", "1.2.3", false),
            ("=<2", "2.5.0", true),
        ] {
            assert_eq!(is_compatible(range, version), want, "{range} {version}");
        }
    }

    #[test]
    fn versions() {
        assert_eq!(Version::parse("v1.2").unwrap().to_string(), "1.2.0");
        assert!(Version::parse("1.2.3.4").is_err() && Version::parse("").is_err() && Version::parse("1.0-01").is_err());
    }
}
