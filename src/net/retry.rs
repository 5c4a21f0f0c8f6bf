//! When to try again, and how long to wait.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use jiff::{SignedDuration, Timestamp};

/// Bounds retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How often a failed request is made again. With three in ten requests failing, ten retries leave two failures
    /// in a million.
    pub retries: usize,
    /// How often a host that never answered in this run is tried again: a mistyped name should fail within seconds.
    pub retries_unreached: usize,
    /// The upper bound of the first wait; each wait is drawn evenly from zero to its bound ("full jitter").
    pub first: Duration,
    /// The bound of the bounds.
    pub longest: Duration,
    /// The longest wait that a server's `Retry-After` can ask for.
    pub longest_asked: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            retries: 10,
            retries_unreached: 3,
            first: Duration::from_millis(500),
            longest: Duration::from_secs(30),
            longest_asked: Duration::from_secs(120),
        }
    }
}

/// Counts the attempts of one operation and draws the waits between them.
#[derive(Debug)]
pub struct Waits {
    jittered: ExponentialBackoff,
    plain: ExponentialBackoff,
    made: u32,
}

impl Policy {
    /// Starts counting.
    pub fn waits(&self) -> Waits {
        let plain = ExponentialBuilder::new()
            .with_min_delay(self.first)
            .with_max_delay(self.longest)
            .with_max_times(self.retries);
        Waits { jittered: plain.with_jitter().build(), plain: plain.build(), made: 0 }
    }
}

impl Waits {
    /// Returns how many retries were granted.
    pub fn made(&self) -> u32 {
        self.made
    }
}

impl Iterator for Waits {
    type Item = Duration;

    /// Returns how long to wait before the next attempt; none when there shall be no other.
    fn next(&mut self) -> Option<Duration> {
        // backon draws from d to 2d; less d, that is an even draw from zero to d.
        let (jittered, plain) = (self.jittered.next()?, self.plain.next()?);
        self.made += 1;
        Some(jittered.saturating_sub(plain))
    }
}

/// Tells whether a status is worth trying again: timeouts, too early, too many requests, and server errors except those
/// that will not pass (501 not implemented, 505 version, 507 insufficient storage, 508 loop, 511 login page).
pub fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 425 | 429) || (matches!(status, 500..=599) && !matches!(status, 501 | 505 | 507 | 508 | 511))
}

/// Reads a `Retry-After` (RFC 9110 section 10.2.3): seconds, or one of the three date forms of section 5.6.7. `now` is
/// the server's own clock where it told one, so that skew does not matter.
pub fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let wait: SignedDuration = http_date(text)?.duration_since(now);
    Some(Duration::try_from(wait).unwrap_or(Duration::ZERO))
}

/// Reads an HTTP date in any of its three forms (RFC 9110 section 5.6.7).
pub fn http_date(text: &str) -> Option<Timestamp> {
    if !text.is_ascii() || text.len() > 64 {
        return None;
    }
    if let Ok(zoned) = jiff::fmt::rfc2822::parse(text) {
        return Some(zoned.timestamp());
    }
    ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"].iter().find_map(|form| {
        let moment = jiff::civil::DateTime::strptime(form, text).ok()?;
        Some(moment.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn waits_are_full_jitter_within_bounds() {
        let policy = Policy::default();
        let mut bound = 0.5;
        let waits: Vec<_> = policy.waits().collect();
        assert_eq!(waits.len(), policy.retries);
        for wait in waits {
            assert!(wait.as_secs_f64() <= bound, "{wait:?} over {bound}");
            bound = f64::min(bound * 2.0, 30.0);
        }
        // Not all alike: drawn, not computed.
        let firsts: std::collections::HashSet<_> = (0..32).filter_map(|_| policy.waits().next()).collect();
        assert!(firsts.len() > 16);
    }

    #[test]
    fn reads_every_form_of_retry_after() {
        let now: Timestamp = "1994-11-06T08:49:00Z".parse().unwrap();
        for text in
            ["37", "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(retry_after(text, now), Some(Duration::from_secs(37)), "{text}");
        }
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("99999999999999999999999", now), Some(Duration::from_secs(u64::MAX)));
        for bad in ["", "-1", "soon", "1.5", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(retry_after(bad, now), None, "{bad}");
        }
    }

    #[test]
    fn permanent_server_errors_are_not_retried() {
        for status in [408, 425, 429, 500, 502, 503, 504, 520] {
            assert!(is_transient(status), "{status}");
        }
        for status in [200, 301, 400, 401, 403, 404, 405, 409, 413, 416, 501, 507] {
            assert!(!is_transient(status), "{status}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn never_panics(text in "[ -~]{0,40}", at in -100_000_000_000i64..200_000_000_000) {
            let now = Timestamp::from_second(at).unwrap();
            let _ = retry_after(&text, now);
            let _ = retry_after(&format!("Sun, {text} GMT"), now);
            let _ = retry_after(&format!("{}, 06-Nov-94 {text} GMT", &text), now);
        }

        #[test]
        fn dates_come_back(second in 0i64..4_000_000_000, ahead in 0u32..1_000_000) {
            let now = Timestamp::from_second(second).unwrap();
            let then = Timestamp::from_second(second + i64::from(ahead)).unwrap();
            let text = then.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            prop_assert_eq!(retry_after(&text, now), Some(Duration::from_secs(u64::from(ahead))));
        }
    }
}
