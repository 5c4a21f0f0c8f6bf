//! Ranges of versions with Masterminds' rules.

use std::cmp::Ordering;

use super::{Pieces, SemverError, Version, compare_prerelease, pieces};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterEqual,
    LessEqual,
    Tilde,
    Caret,
}

#[derive(Clone, Debug)]
struct Comparison {
    operator: Operator,
    version: Version,
    dirty: bool,
    minor_dirty: bool,
    patch_dirty: bool,
}

/// A range of versions: alternatives of comparisons that all must hold.
#[derive(Clone, Debug)]
pub struct Constraint {
    alternatives: Vec<Vec<Comparison>>,
}

const OPERATORS: [(&str, Operator); 11] = [
    ("!=", Operator::NotEqual),
    (">=", Operator::GreaterEqual),
    ("=>", Operator::GreaterEqual),
    ("<=", Operator::LessEqual),
    ("=<", Operator::LessEqual),
    ("~>", Operator::Tilde),
    ("=", Operator::Equal),
    (">", Operator::Greater),
    ("<", Operator::Less),
    ("~", Operator::Tilde),
    ("^", Operator::Caret),
];

/// White space as Go's patterns see it.
fn trim(text: &str) -> &str {
    text.trim_start_matches(['\t', '\n', '\u{c}', '\r', ' '])
}

fn wild(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'x' | b'X' | b'*' | b'|')
}

/// Rewrites `1.2 - 2` as `>= 1.2, <= 2`.
fn rewritten(text: &str) -> String {
    if !text.contains('-') {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut rest = text;
    'search: while !rest.is_empty() {
        for (at, _) in rest.char_indices() {
            let start = &rest[at..];
            let Some(low) = pieces(trim(start), wild) else { continue };
            let low_text = &trim(start)[..low.length];
            let after = &trim(start)[low.length..];
            let gap = trim(after);
            if gap.len() == after.len() {
                continue;
            }
            let Some(second) = gap.strip_prefix('-') else { continue };
            let high_start = trim(second);
            if high_start.len() == second.len() {
                continue;
            }
            let Some(high) = pieces(high_start, wild) else { continue };
            out.push_str(&rest[..at]);
            out.push_str(&format!(">= {low_text}, <= {} ", &high_start[..high.length]));
            rest = trim(&high_start[high.length..]);
            continue 'search;
        }
        break;
    }
    out.push_str(rest);
    out
}

impl Constraint {
    /// Parses a range.
    ///
    /// # Errors
    /// [`SemverError::Constraint`] for what is none; also for an empty text.
    pub fn parse(text: &str) -> Result<Constraint, SemverError> {
        let text = rewritten(text);
        let alternatives = text.split("||").map(Self::alternative).collect::<Result<_, _>>()?;
        Ok(Constraint { alternatives })
    }

    fn alternative(text: &str) -> Result<Vec<Comparison>, SemverError> {
        let improper = || SemverError::Constraint(text.to_owned());
        let mut found = Vec::new();
        let mut rest = trim(text);
        loop {
            let (operator, after) = OPERATORS
                .iter()
                .find_map(|(name, operator)| Some((*operator, rest.strip_prefix(name)?)))
                .unwrap_or((Operator::Equal, rest));
            let body = trim(after);
            let version = pieces(body, wild).ok_or_else(improper)?;
            found.push(Comparison::new(operator, &version).ok_or_else(improper)?);
            let end = &body[version.length..];
            rest = trim(end);
            if rest.is_empty() {
                return Ok(found);
            }
            match rest.strip_prefix(',') {
                Some(after) => rest = trim(after),
                None if rest.len() == end.len() => return Err(improper()),
                None => {}
            }
        }
    }

    /// Tells whether a version is in the range.
    pub fn check(&self, version: &Version) -> bool {
        self.alternatives.iter().any(|comparisons| {
            let admits = comparisons.iter().any(|comparison| !comparison.version.prerelease.is_empty());
            if !version.prerelease.is_empty() && !admits {
                return false;
            }
            comparisons.iter().all(|comparison| comparison.holds(version))
        })
    }
}

impl Comparison {
    fn new(operator: Operator, found: &Pieces<'_>) -> Option<Comparison> {
        let open = |text: &str| matches!(text, "" | "x" | "X" | "*");
        let [major, minor, patch] = found.numbers;
        let (mut dirty, mut minor_dirty, mut patch_dirty) = (false, false, false);
        let suffix = if found.prerelease.is_empty() { String::new() } else { format!("-{}", found.prerelease) };
        let text = if open(major) {
            dirty = true;
            format!("0.0.0{suffix}")
        } else if open(minor) {
            (dirty, minor_dirty) = (true, true);
            format!("{major}.0.0{suffix}")
        } else if open(patch) {
            (dirty, patch_dirty) = (true, true);
            format!("{major}.{minor}.0{suffix}")
        } else {
            format!("{major}.{minor}.{patch}{suffix}")
        };
        let version = Version::parse(&text).ok()?;
        Some(Comparison { operator, version, dirty, minor_dirty, patch_dirty })
    }

    fn holds(&self, version: &Version) -> bool {
        let bound = &self.version;
        let order = version.compare(bound);
        match self.operator {
            Operator::Equal if self.dirty => self.tilde(version),
            Operator::Equal => order.is_eq(),
            Operator::NotEqual => {
                if self.dirty {
                    if bound.major != version.major {
                        return true;
                    }
                    if bound.minor != version.minor && !self.minor_dirty {
                        return true;
                    } else if self.minor_dirty {
                        return false;
                    } else if bound.patch != version.patch && !self.patch_dirty {
                        return true;
                    } else if self.patch_dirty {
                        let some = !version.prerelease.is_empty() || !bound.prerelease.is_empty();
                        return some && compare_prerelease(&version.prerelease, &bound.prerelease).is_ne();
                    }
                }
                order.is_ne()
            }
            Operator::Greater if !self.dirty => order.is_gt(),
            Operator::Greater => match version.major.cmp(&bound.major) {
                Ordering::Greater => true,
                Ordering::Less => false,
                Ordering::Equal if self.minor_dirty => false,
                Ordering::Equal if self.patch_dirty => version.minor > bound.minor,
                Ordering::Equal => order.is_gt(),
            },
            Operator::Less => order.is_lt(),
            Operator::GreaterEqual => order.is_ge(),
            Operator::LessEqual if !self.dirty => order.is_le(),
            Operator::LessEqual => {
                version.major <= bound.major
                    && !(version.major == bound.major && version.minor > bound.minor && !self.minor_dirty)
            }
            Operator::Tilde => self.tilde(version),
            Operator::Caret => self.caret(version),
        }
    }

    fn tilde(&self, version: &Version) -> bool {
        let bound = &self.version;
        if version.compare(bound).is_lt() {
            return false;
        }
        let any = (bound.major, bound.minor, bound.patch) == (0, 0, 0) && !self.minor_dirty && !self.patch_dirty;
        any || (version.major == bound.major && (version.minor == bound.minor || self.minor_dirty))
    }

    fn caret(&self, version: &Version) -> bool {
        let bound = &self.version;
        if version.compare(bound).is_lt() {
            return false;
        }
        if bound.major > 0 || self.minor_dirty {
            return version.major == bound.major;
        }
        if version.major > 0 {
            return false;
        }
        if bound.minor > 0 || self.patch_dirty {
            return version.minor == bound.minor;
        }
        version.minor == 0 && version.patch == bound.patch
    }
}

/// Tells whether a version is in a range; what cannot be parsed is in none.
pub fn is_compatible(range: &str, version: &str) -> bool {
    match (Version::parse(version), Constraint::parse(range)) {
        (Ok(version), Ok(range)) => range.check(&version),
        _ => false,
    }
}
