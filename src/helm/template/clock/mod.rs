//! Points in time and spans, formatted and parsed with Go's layouts.
//!
//! # Invariants
//! - Nothing here reads a clock or a time-zone file: the local zone is UTC and zones come from the database in the binary,
//!   so that output is the same everywhere.

mod layout;
mod parse;
mod span;

use super::{error::CallError, value::Value};
use layout::{Piece, next_piece};

pub use span::{duration, parse_duration};

/// Seconds of a day.
const DAY: i64 = 86_400;

/// A point in time with the offset it is shown in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// Seconds since 1970-01-01 00:00 UTC.
    pub seconds: i64,
    /// Nanoseconds on top.
    pub nanos: u32,
    /// Seconds east of UTC.
    pub offset: i32,
    /// The abbreviation of the zone; empty when only the offset is known.
    pub zone: Zone,
}

/// The abbreviation of a zone, such as `CEST`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Zone {
    /// The longest ones, of Go's parser and of the IANA database, have six bytes: `GMT+12`, `+0530`.
    bytes: [u8; 8],
    length: u8,
}

impl Zone {
    const UTC: Zone = Zone { bytes: *b"UTC\0\0\0\0\0", length: 3 };

    fn new(name: &str) -> Zone {
        let mut bytes = [0; 8];
        let length = name.len().min(bytes.len());
        bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
        Zone { bytes, length: length as u8 }
    }

    fn name(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl std::fmt::Debug for Zone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

struct Civil {
    year: i64,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
    weekday: usize,
    day_of_year: u32,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Counts days since 1970-01-01 in the proleptic Gregorian calendar (Hinnant, "chrono-compatible algorithms").
fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let shifted = i64::from((month + 9) % 12);
    let of_year = (153 * shifted + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = (of_year - (153 * shifted + 2) / 5 + 1) as u32;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 } as u32;
    (year + era * 400 + i64::from(month <= 2), month, day)
}

impl Time {
    /// Makes a point in time of seconds since 1970.
    pub fn unix(seconds: i64) -> Time {
        Time { seconds, nanos: 0, offset: 0, zone: Zone::UTC }
    }

    /// Go's zero time: the first day of year 1.
    pub fn zero() -> Time {
        Time::unix(days_from_civil(1, 1, 1) * DAY)
    }

    fn civil(&self) -> Civil {
        let local = self.seconds.saturating_add(i64::from(self.offset));
        let (days, second) = (local.div_euclid(DAY), local.rem_euclid(DAY));
        let (year, month, day) = civil_from_days(days);
        Civil {
            year,
            month,
            day,
            hour: (second / 3600) as u32,
            minute: (second / 60 % 60) as u32,
            second: (second % 60) as u32,
            weekday: (days + 4).rem_euclid(7) as usize,
            day_of_year: (days - days_from_civil(year, 1, 1) + 1) as u32,
        }
    }

    /// Shows the same point in UTC.
    pub fn utc(self) -> Time {
        Time { offset: 0, zone: Zone::UTC, ..self }
    }

    /// Shows the same point in a zone of the IANA database; `None` when there is no such zone. The local zone is UTC.
    pub fn in_zone(self, name: &str) -> Option<Time> {
        if matches!(name, "" | "UTC" | "Local") {
            return Some(self.utc());
        }
        let zone = jiff::tz::db().get(name).ok()?;
        // Files are found by their exact name where Go looks.
        if zone.iana_name() != Some(name) {
            return None;
        }
        let moment = jiff::Timestamp::from_second(known(self.seconds)).ok()?;
        let info = zone.to_offset_info(moment);
        Some(Time { offset: info.offset().seconds(), zone: Zone::new(info.abbreviation()), ..self })
    }

    /// Adds nanoseconds.
    pub fn plus(self, nanos: i64) -> Time {
        let total = i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanos) + i128::from(nanos);
        Time {
            seconds: i64::try_from(total.div_euclid(1_000_000_000)).unwrap_or(i64::MAX),
            nanos: total.rem_euclid(1_000_000_000) as u32,
            ..self
        }
    }

    /// Returns the nanoseconds since another point.
    pub fn since(self, other: Time) -> i64 {
        let total = (i128::from(self.seconds) - i128::from(other.seconds)) * 1_000_000_000 + i128::from(self.nanos)
            - i128::from(other.nanos);
        i64::try_from(total).unwrap_or(if total < 0 { i64::MIN } else { i64::MAX })
    }

    /// Formats with a layout of Go.
    pub fn format(&self, layout: &str) -> String {
        let civil = self.civil();
        let mut out = String::new();
        let mut rest = layout;
        while let Some((before, piece, after)) = next_piece(rest) {
            out.push_str(before);
            self.push(&mut out, &civil, piece);
            rest = after;
        }
        out.push_str(rest);
        out
    }

    fn push(&self, out: &mut String, civil: &Civil, piece: Piece) {
        let twelve = match civil.hour % 12 {
            0 => 12,
            hour => hour,
        };
        let text = match piece {
            Piece::LongMonth => MONTHS[civil.month as usize - 1].to_owned(),
            Piece::Month => MONTHS[civil.month as usize - 1][..3].to_owned(),
            Piece::NumMonth => civil.month.to_string(),
            Piece::ZeroMonth => format!("{:02}", civil.month),
            Piece::LongWeekDay => DAYS[civil.weekday].to_owned(),
            Piece::WeekDay => DAYS[civil.weekday][..3].to_owned(),
            Piece::Day => civil.day.to_string(),
            Piece::UnderDay => format!("{:2}", civil.day),
            Piece::ZeroDay => format!("{:02}", civil.day),
            Piece::UnderYearDay => format!("{:3}", civil.day_of_year),
            Piece::ZeroYearDay => format!("{:03}", civil.day_of_year),
            Piece::Hour => format!("{:02}", civil.hour),
            Piece::Hour12 => twelve.to_string(),
            Piece::ZeroHour12 => format!("{twelve:02}"),
            Piece::Minute => civil.minute.to_string(),
            Piece::ZeroMinute => format!("{:02}", civil.minute),
            Piece::Second => civil.second.to_string(),
            Piece::ZeroSecond => format!("{:02}", civil.second),
            Piece::LongYear if civil.year < 0 => format!("-{:04}", -civil.year),
            Piece::LongYear => format!("{:04}", civil.year),
            Piece::Year => format!("{:02}", civil.year.unsigned_abs() % 100),
            Piece::Pm => if civil.hour >= 12 { "PM" } else { "AM" }.to_owned(),
            Piece::SmallPm => if civil.hour >= 12 { "pm" } else { "am" }.to_owned(),
            Piece::Zone if !self.zone.name().is_empty() => self.zone.name().to_owned(),
            Piece::Zone => {
                let minutes = self.offset.abs() / 60;
                let sign = if self.offset < 0 { '-' } else { '+' };
                format!("{sign}{:02}{:02}", minutes / 60, minutes % 60)
            }
            Piece::Offset(true, ..) if self.offset == 0 => "Z".to_owned(),
            Piece::Offset(_, colons, parts) => {
                let size = self.offset.abs();
                let colon = if colons { ":" } else { "" };
                let mut text = format!("{}{:02}", if self.offset < 0 { '-' } else { '+' }, size / 3600);
                if parts > 1 {
                    text.push_str(&format!("{colon}{:02}", size / 60 % 60));
                }
                if parts > 2 {
                    text.push_str(&format!("{colon}{:02}", size % 60));
                }
                text
            }
            Piece::Fraction(digits, trims, separator) => {
                let digits = digits.min(9);
                let mut text = format!("{:09}", self.nanos)[..digits].to_owned();
                if trims {
                    text.truncate(text.trim_end_matches('0').len());
                }
                if text.is_empty() { text } else { format!("{}{text}", separator as char) }
            }
        };
        out.push_str(&text);
    }

    /// Formats as the type's `String` method.
    pub fn to_go_string(&self) -> String {
        self.format("2006-01-02 15:04:05.999999999 -0700 MST")
    }

    /// Formats as JSON does.
    pub fn to_rfc3339_nano(&self) -> String {
        self.format("2006-01-02T15:04:05.999999999Z07:00")
    }

    /// Evaluates a method of `time.Time`.
    pub fn access(&self, name: &str, args: &[Value]) -> Option<Result<Value, CallError>> {
        let civil = self.civil();
        let value = match (name, args) {
            ("Format", [Value::Str(layout)]) => Value::from(self.format(&layout.text())),
            ("String", []) => Value::from(self.to_go_string()),
            ("Unix", []) => Value::int64(self.seconds),
            ("UnixMilli", []) => Value::int64(self.seconds.saturating_mul(1000) + i64::from(self.nanos / 1_000_000)),
            ("UnixNano", []) => {
                Value::int64(self.seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(self.nanos)))
            }
            ("Year", []) => Value::int(civil.year),
            ("Month", []) => Value::from(MONTHS[civil.month as usize - 1]),
            ("Weekday", []) => Value::from(DAYS[civil.weekday]),
            ("Day", []) => Value::int(i64::from(civil.day)),
            ("YearDay", []) => Value::int(i64::from(civil.day_of_year)),
            ("Hour", []) => Value::int(i64::from(civil.hour)),
            ("Minute", []) => Value::int(i64::from(civil.minute)),
            ("Second", []) => Value::int(i64::from(civil.second)),
            ("Nanosecond", []) => Value::int(i64::from(self.nanos)),
            ("UTC" | "Local", []) => Value::object(super::object::Object::Time(self.utc())),
            ("UnixMicro", []) => Value::int64(self.seconds.saturating_mul(1_000_000) + i64::from(self.nanos / 1000)),
            ("Equal" | "Before" | "After" | "Compare", [Value::Object(other)]) => {
                let super::object::Object::Time(other) = **other else { return Some(Err(wrong(name))) };
                let order = (self.seconds, self.nanos).cmp(&(other.seconds, other.nanos));
                match name {
                    "Equal" => Value::Bool(order.is_eq()),
                    "Before" => Value::Bool(order.is_lt()),
                    "After" => Value::Bool(order.is_gt()),
                    _ => Value::int(order as i64),
                }
            }
            ("Location", []) => Value::from(self.zone.name()),
            ("IsZero", []) => Value::Bool(self.seconds == Time::zero().seconds && self.nanos == 0),
            ("Add", [Value::Int(_, nanos)]) => Value::object(super::object::Object::Time(self.plus(*nanos))),
            ("AddDate", [Value::Int(_, years), Value::Int(_, months), Value::Int(_, days)]) => {
                let month = i64::from(civil.month) - 1 + months;
                let (year, month) = (civil.year + years + month.div_euclid(12), month.rem_euclid(12) as u32 + 1);
                let date = days_from_civil(year, month, 1) + i64::from(civil.day) - 1 + days;
                let before = days_from_civil(civil.year, civil.month, civil.day);
                let seconds = self.seconds.saturating_add((date - before).saturating_mul(DAY));
                Value::object(super::object::Object::Time(Time { seconds, ..*self }))
            }
            ("Format" | "Add" | "AddDate" | "Equal" | "Before" | "After" | "Compare", _) => {
                return Some(Err(wrong(name)));
            }
            _ => return None,
        };
        Some(Ok(value))
    }
}

/// Returns a second of the same rules within the database's range: the calendar repeats every 400 years.
fn known(seconds: i64) -> i64 {
    const CYCLE: i64 = 146_097 * DAY;
    // Years 9599 to 9999; nothing before the year -9999 had zones.
    const LATE: i64 = 253_402_200_000 - CYCLE;
    if seconds > LATE { LATE + (seconds - LATE) % CYCLE } else { seconds.max(-377_000_000_000) }
}

fn wrong(method: &str) -> CallError {
    CallError::Arity(format!("wrong number or type of args for {method}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts() {
        let time = Time::unix(1_700_000_000);
        assert_eq!(time.format("2006-01-02T15:04:05Z07:00"), "2023-11-14T22:13:20Z");
        assert_eq!(time.format("Mon Jan _2 3:4PM 06 .000 002"), "Tue Nov 14 10:13PM 23 .000 318");
        assert_eq!(Time::zero().to_go_string(), "0001-01-01 00:00:00 +0000 UTC");
    }

    #[test]
    fn zones_come_from_the_database() {
        let shown = |seconds, zone| Time::unix(seconds).in_zone(zone).map(|time| time.format("15:04 MST -07:00"));
        assert_eq!(shown(1_700_000_000, "Europe/Berlin").unwrap(), "23:13 CET +01:00");
        assert_eq!(shown(1_690_000_000, "Europe/Berlin").unwrap(), "06:26 CEST +02:00");
        assert_eq!(shown(1_700_000_000, "Asia/Kolkata").unwrap(), "03:43 IST +05:30");
        assert_eq!(shown(1_700_000_000, "Local").unwrap(), "22:13 UTC +00:00");
        assert_eq!(shown(1_700_000_000, "europe/berlin"), None);
        assert_eq!(shown(1_700_000_000, "../../etc/passwd"), None);
    }
}
