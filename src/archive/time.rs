//! Points in time, whole seconds in UTC, as the archive writes them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A whole second since 1970, written as `2026-01-31T12:00:00Z`; no later than a tar header can hold (the year 2242).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Time(u64);

/// Says why a text or number is not a time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no time: expected UTC with whole seconds between 1970 and 2242, such as 2026-01-31T12:00:00Z")]
pub struct TimeError(String);

/// Eleven octal digits, the room that a ustar header has.
const MAX: u64 = (1 << 33) - 1;

impl Time {
    /// Takes seconds since 1970.
    ///
    /// # Errors
    /// When a tar header cannot hold them.
    pub fn from_seconds(seconds: u64) -> Result<Self, TimeError> {
        if seconds <= MAX { Ok(Time(seconds)) } else { Err(TimeError(seconds.to_string())) }
    }

    /// Returns the seconds since 1970.
    pub fn seconds(self) -> u64 {
        self.0
    }
}

impl FromStr for Time {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let error = || TimeError(text.to_owned());
        let parsed: jiff::Timestamp = text.parse().map_err(|_| error())?;
        let time = u64::try_from(parsed.as_second()).ok().filter(|seconds| *seconds <= MAX).map(Time);
        // One spelling only: no offsets, no fractions, no lower case.
        time.filter(|time| time.to_string() == text).ok_or_else(error)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = i64::try_from(self.0).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_second(seconds) {
            Ok(timestamp) => timestamp.fmt(f),
            // The bound of the type is far below jiff's.
            Err(_) => seconds.fmt(f),
        }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_for_each_second() {
        assert_eq!(Time::default().to_string(), "1970-01-01T00:00:00Z");
        let last = Time::from_seconds(MAX).unwrap();
        assert_eq!(last.to_string().parse(), Ok(last));
        assert!(Time::from_seconds(MAX + 1).is_err());
        for bad in [
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00.5Z",
            "1970-01-01T00:00:00+00:00",
            "1970-01-01t00:00:00z",
            "0",
            "",
        ] {
            assert!(bad.parse::<Time>().is_err(), "{bad}");
        }
    }
}
