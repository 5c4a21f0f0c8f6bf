//! Whether a genuine archive is one to load now: its sequence, its age, whom it is for.
//!
//! The rules are those of The Update Framework, made fit for media that are carried: no server says what is newest, and
//! clocks on the other side are wrong.
//!
//! | rule | breaks it |
//! |---|---|
//! | a name's sequence never falls | an old archive replayed; may be allowed, then it is a warning |
//! | one sequence, one archive | two archives signed under one number; never allowed |
//! | a sequence does not leap | a huge number after which nothing else could be loaded |
//! | nothing comes from the future | more than 48 hours ahead of the clock here |
//! | time does not run back | the later of the clock and the newest archive accepted counts, so a clock set back revives nothing |
//! | an archive is for somebody | loaded by somebody else |
//!
//! # Invariants
//! - Pure: the time and the memory of earlier loads are arguments.

use jiff::Timestamp;

use super::Error;
use crate::{error::Diagnostic, oci::Digest};

/// Says what an archive tells about itself, read from a verified `bundle.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveFacts {
    /// The digest of `bundle.json`.
    pub bundle_json: Digest,
    /// Its number; higher is newer.
    pub sequence: u64,
    /// When it was made; the epoch, the default of reproducible archives, stands for an unstated time.
    pub created: Timestamp,
    /// When it should not be loaded any more.
    pub expires: Option<Timestamp>,
    /// The `bundle.json` of the archive that this one builds on, for a differential archive.
    pub base: Option<Digest>,
    /// Whom it is for.
    pub audience: Option<String>,
}

/// Remembers earlier loads of archives of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastLoaded {
    /// The digest of the `bundle.json` that was loaded last.
    pub bundle_json: Digest,
    /// Its sequence.
    pub sequence: u64,
    /// The latest creation time of all archives that were ever accepted, of any name.
    pub newest_created: Timestamp,
}

/// Says what happens to expired archives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExpiryPolicy {
    /// Refuse as soon as it expired.
    Enforce,
    /// Warn at first, and refuse when it has been expired for as long as it was valid.
    #[default]
    Warn,
    /// Load anyway; also archives from the future, with a warning.
    Ignore,
}

/// Says how strict to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreshnessPolicy {
    /// About expiry.
    pub expiry: ExpiryPolicy,
    /// Whether a lower sequence may be loaded; the caller writes down who allowed it and why.
    pub allow_rollback: bool,
    /// How far a sequence may leap.
    pub max_leap: u64,
    /// Who is here; nothing when this side has no name.
    pub enclave: Option<String>,
}

/// How far a sequence may leap by default: room for numbers that are dates, where a year is 10,000; an enclave that nobody
/// visited for ten years is still served.
const MAX_LEAP: u64 = 100_000;
/// How far ahead of the clock here an archive may be: a day of wrong time zones and a day of drift.
const MAX_AHEAD_SECONDS: i64 = 48 * 3600;

impl Default for FreshnessPolicy {
    fn default() -> Self {
        FreshnessPolicy { expiry: ExpiryPolicy::Warn, allow_rollback: false, max_leap: MAX_LEAP, enclave: None }
    }
}

/// Decides whether an archive may be loaded now; returns what deserves a warning.
///
/// # Errors
/// One of [`Error::Audience`], [`Error::Equivocation`], [`Error::Rollback`], [`Error::Leap`], [`Error::Base`],
/// [`Error::FromTheFuture`], [`Error::Lifetime`], [`Error::Expired`].
pub fn freshness(
    archive: &ArchiveFacts,
    last: Option<&LastLoaded>,
    now: Timestamp,
    policy: &FreshnessPolicy,
) -> Result<Vec<Diagnostic>, Error> {
    let mut warnings = Vec::new();
    audience(archive, policy, &mut warnings)?;
    sequence(archive, last, policy, &mut warnings)?;
    age(archive, last, now, policy, &mut warnings)?;
    Ok(warnings)
}

fn audience(archive: &ArchiveFacts, policy: &FreshnessPolicy, warnings: &mut Vec<Diagnostic>) -> Result<(), Error> {
    match (&archive.audience, &policy.enclave) {
        (Some(audience), Some(enclave)) if audience != enclave => {
            Err(Error::Audience { audience: audience.clone(), enclave: enclave.clone() })
        }
        (Some(audience), None) => {
            let text = format!("the archive is for {audience}, and this side has no name to compare");
            warnings.push(Diagnostic::warning("audience-unknown", text));
            Ok(())
        }
        _ => Ok(()),
    }
}

fn sequence(
    archive: &ArchiveFacts,
    last: Option<&LastLoaded>,
    policy: &FreshnessPolicy,
    warnings: &mut Vec<Diagnostic>,
) -> Result<(), Error> {
    if let Some(last) = last {
        let (offered, loaded) = (archive.sequence, last.sequence);
        if offered == loaded && archive.bundle_json != last.bundle_json {
            let (loaded, offered) = (Box::new(last.bundle_json), Box::new(archive.bundle_json));
            return Err(Error::Equivocation { sequence: archive.sequence, loaded, offered });
        }
        if offered < loaded {
            if !policy.allow_rollback {
                return Err(Error::Rollback { offered, loaded });
            }
            let text = format!("sequence {offered} is older than {loaded}, and loading it was allowed");
            warnings.push(Diagnostic::warning("rollback", text));
        }
        if offered.saturating_sub(loaded) > policy.max_leap {
            return Err(Error::Leap { offered, loaded, limit: policy.max_leap });
        }
    }
    // The same archive again repeats a load; its base was checked at the first time.
    let again = last.is_some_and(|last| last.bundle_json == archive.bundle_json);
    match archive.base {
        Some(needed) if !again && last.is_none_or(|last| last.bundle_json != needed) => Err(Error::Base { needed }),
        _ => Ok(()),
    }
}

fn age(
    archive: &ArchiveFacts,
    last: Option<&LastLoaded>,
    now: Timestamp,
    policy: &FreshnessPolicy,
    warnings: &mut Vec<Diagnostic>,
) -> Result<(), Error> {
    let created = archive.created;
    let latest = last.map_or(now, |last| last.newest_created.max(now));
    if latest > now {
        let text = format!("the clock here says {now}, which is before the newest archive loaded ({latest})");
        warnings
            .push(Diagnostic::warning("clock-behind", text).hint("set the clock; until then the later time counts"));
    }
    if created.as_second().saturating_sub(latest.as_second()) > MAX_AHEAD_SECONDS {
        if policy.expiry != ExpiryPolicy::Ignore {
            return Err(Error::FromTheFuture { created, now: latest });
        }
        let text = format!("the archive was created on {created}, but it is {latest} here");
        warnings.push(Diagnostic::warning("from-the-future", text));
    }
    let Some(expires) = archive.expires else { return Ok(()) };
    if expires < created {
        return Err(Error::Lifetime { created, expires });
    }
    if latest <= expires || policy.expiry == ExpiryPolicy::Ignore {
        return Ok(());
    }
    let refused = match policy.expiry {
        ExpiryPolicy::Warn => grace_ends(created, expires),
        _ => expires,
    };
    if latest > refused {
        return Err(Error::Expired { expires, refused });
    }
    let text = format!("the archive expired on {expires}; it will be refused after {refused}");
    warnings.push(Diagnostic::warning("expired", text).hint("ask for a newer archive"));
    Ok(())
}

/// Returns when an archive has been expired for as long as it was valid. Without a creation time the valid span is not
/// known, and a guess would keep archives alive for decades; so then there is no grace.
fn grace_ends(created: Timestamp, expires: Timestamp) -> Timestamp {
    if created == Timestamp::UNIX_EPOCH {
        return expires;
    }
    let end = expires.as_second().saturating_mul(2).saturating_sub(created.as_second());
    Timestamp::from_second(end).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Classify as _, Kind};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn archive(sequence: u64) -> ArchiveFacts {
        ArchiveFacts {
            bundle_json: Digest::sha256(&sequence.to_be_bytes()),
            sequence,
            created: at("2026-01-01T00:00:00Z"),
            expires: Some(at("2026-01-31T00:00:00Z")),
            base: None,
            audience: None,
        }
    }

    fn loaded(sequence: u64) -> LastLoaded {
        LastLoaded {
            bundle_json: Digest::sha256(&sequence.to_be_bytes()),
            sequence,
            newest_created: at("2025-12-01T00:00:00Z"),
        }
    }

    fn check(archive: &ArchiveFacts, last: Option<&LastLoaded>, now: &str) -> Result<Vec<&'static str>, Error> {
        check_with(archive, last, now, &FreshnessPolicy::default())
    }

    fn check_with(
        archive: &ArchiveFacts,
        last: Option<&LastLoaded>,
        now: &str,
        policy: &FreshnessPolicy,
    ) -> Result<Vec<&'static str>, Error> {
        freshness(archive, last, at(now), policy).map(|all| all.into_iter().map(|one| one.code).collect())
    }

    const NOW: &str = "2026-01-10T00:00:00Z";

    #[test]
    fn a_sequence_never_falls() {
        assert_eq!(check(&archive(5), None, NOW), Ok(vec![]));
        assert_eq!(check(&archive(5), Some(&loaded(4)), NOW), Ok(vec![]));
        assert_eq!(check(&archive(5), Some(&loaded(5)), NOW), Ok(vec![]));
        let error = check(&archive(5), Some(&loaded(6)), NOW).unwrap_err();
        assert_eq!((&error, error.kind()), (&Error::Rollback { offered: 5, loaded: 6 }, Kind::Untrusted));
        let allowed = FreshnessPolicy { allow_rollback: true, ..FreshnessPolicy::default() };
        assert_eq!(check_with(&archive(5), Some(&loaded(6)), NOW, &allowed), Ok(vec!["rollback"]));
    }

    #[test]
    fn two_archives_under_one_number_are_never_allowed() {
        let allowed =
            FreshnessPolicy { allow_rollback: true, expiry: ExpiryPolicy::Ignore, ..FreshnessPolicy::default() };
        let other = ArchiveFacts { bundle_json: Digest::sha256(b"other"), ..archive(5) };
        let result = check_with(&other, Some(&loaded(5)), NOW, &allowed);
        assert!(matches!(result, Err(Error::Equivocation { sequence: 5, .. })));
    }

    #[test]
    fn a_sequence_does_not_leap() {
        assert_eq!(check(&archive(100_001), Some(&loaded(1)), NOW), Ok(vec![]));
        assert!(matches!(check(&archive(100_002), Some(&loaded(1)), NOW), Err(Error::Leap { .. })));
        assert!(matches!(check(&archive(u64::MAX), Some(&loaded(1)), NOW), Err(Error::Leap { .. })));
        assert_eq!(check(&archive(u64::MAX), None, NOW), Ok(vec![]));
    }

    #[test]
    fn expiry_warns_and_then_refuses() {
        let (valid, expired, long) = ("2026-01-31T00:00:00Z", "2026-01-31T00:00:01Z", "2026-03-02T00:00:01Z");
        assert_eq!(check(&archive(1), None, valid), Ok(vec![]));
        assert_eq!(check(&archive(1), None, expired), Ok(vec!["expired"]));
        assert_eq!(check(&archive(1), None, "2026-03-02T00:00:00Z"), Ok(vec!["expired"]));
        assert!(matches!(check(&archive(1), None, long), Err(Error::Expired { .. })));
        let policy = |expiry| FreshnessPolicy { expiry, ..FreshnessPolicy::default() };
        assert_eq!(check_with(&archive(1), None, valid, &policy(ExpiryPolicy::Enforce)), Ok(vec![]));
        assert!(check_with(&archive(1), None, expired, &policy(ExpiryPolicy::Enforce)).is_err());
        assert_eq!(check_with(&archive(1), None, long, &policy(ExpiryPolicy::Ignore)), Ok(vec![]));
        let untimed = ArchiveFacts { created: Timestamp::UNIX_EPOCH, ..archive(1) };
        assert_eq!(check(&untimed, None, valid), Ok(vec![]));
        assert!(matches!(check(&untimed, None, expired), Err(Error::Expired { .. })));
        let never = ArchiveFacts { expires: None, ..archive(1) };
        assert_eq!(check(&never, None, "2999-01-01T00:00:00Z"), Ok(vec![]));
        let wrong = ArchiveFacts { expires: Some(at("2025-01-01T00:00:00Z")), ..archive(1) };
        assert!(matches!(check(&wrong, None, NOW), Err(Error::Lifetime { .. })));
        let extreme = ArchiveFacts { created: Timestamp::MIN, expires: Some(Timestamp::MAX), ..archive(1) };
        assert_eq!(check(&extreme, None, NOW), Ok(vec![]));
    }

    #[test]
    fn a_clock_set_back_revives_nothing() {
        let last = LastLoaded { newest_created: at("2026-06-01T00:00:00Z"), ..loaded(1) };
        assert!(matches!(check(&archive(2), Some(&last), NOW), Err(Error::Expired { .. })));
        let fresh = ArchiveFacts { created: at("2026-06-02T00:00:00Z"), expires: None, ..archive(2) };
        assert_eq!(check(&fresh, Some(&last), NOW), Ok(vec!["clock-behind"]));
    }

    #[test]
    fn nothing_comes_from_the_future() {
        assert_eq!(check(&archive(1), None, "2025-12-30T00:00:00Z"), Ok(vec![]));
        assert!(matches!(check(&archive(1), None, "2025-12-29T23:59:59Z"), Err(Error::FromTheFuture { .. })));
        assert!(matches!(check(&archive(1), None, "1970-01-01T00:00:00Z"), Err(Error::FromTheFuture { .. })));
        let ignore = FreshnessPolicy { expiry: ExpiryPolicy::Ignore, ..FreshnessPolicy::default() };
        assert_eq!(check_with(&archive(1), None, "1970-01-01T00:00:00Z", &ignore), Ok(vec!["from-the-future"]));
    }

    #[test]
    fn a_differential_archive_needs_its_base() {
        let delta = ArchiveFacts { base: Some(loaded(4).bundle_json), ..archive(5) };
        assert_eq!(check(&delta, Some(&loaded(4)), NOW), Ok(vec![]));
        assert_eq!(check(&delta, Some(&loaded(5)), NOW), Ok(vec![]));
        for last in [None, Some(&loaded(3))] {
            let error = check(&delta, last, NOW).unwrap_err();
            assert_eq!(error.kind(), Kind::Incomplete);
        }
    }

    #[test]
    fn an_archive_is_for_somebody() {
        let ours = FreshnessPolicy { enclave: Some("ship-7".to_owned()), ..FreshnessPolicy::default() };
        let for_us = ArchiveFacts { audience: Some("ship-7".to_owned()), ..archive(1) };
        let for_others = ArchiveFacts { audience: Some("ship-8".to_owned()), ..archive(1) };
        assert_eq!(check_with(&for_us, None, NOW, &ours), Ok(vec![]));
        assert_eq!(check_with(&archive(1), None, NOW, &ours), Ok(vec![]));
        assert!(matches!(check_with(&for_others, None, NOW, &ours), Err(Error::Audience { .. })));
        assert_eq!(check(&for_us, None, NOW), Ok(vec!["audience-unknown"]));
    }
}
