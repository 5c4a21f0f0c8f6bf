//! Points in time and spans, formatted and parsed with Go's layouts.
//!
//! # Invariants
//! - Nothing here reads a clock or a time-zone file: the local zone is UTC, so that output is the same everywhere.

use super::{error::CallError, value::Value};

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

/// The pieces that a layout is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    LongMonth,
    Month,
    NumMonth,
    ZeroMonth,
    LongWeekDay,
    WeekDay,
    Day,
    UnderDay,
    ZeroDay,
    UnderYearDay,
    ZeroYearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    LongYear,
    Year,
    Pm,
    SmallPm,
    Zone,
    /// Offset: `Z` for zero, colons, parts (1 hours, 2 minutes, 3 seconds).
    Offset(bool, bool, u8),
    /// Fraction: digits, whether trailing zeros go, separator.
    Fraction(usize, bool, u8),
}

/// Finds the next piece: (text before, piece, rest).
fn next_piece(layout: &str) -> Option<(&str, Piece, &str)> {
    let bytes = layout.as_bytes();
    for (i, byte) in bytes.iter().enumerate() {
        let rest = &layout.get(i..)?;
        let found: Option<(Piece, usize)> = match byte {
            b'J' if rest.starts_with("January") => Some((Piece::LongMonth, 7)),
            b'J' if rest.starts_with("Jan") => Some((Piece::Month, 3)),
            b'M' if rest.starts_with("Monday") => Some((Piece::LongWeekDay, 6)),
            b'M' if rest.starts_with("Mon") && !rest[3..].starts_with(|c: char| c.is_ascii_lowercase()) => {
                Some((Piece::WeekDay, 3))
            }
            b'M' if rest.starts_with("MST") => Some((Piece::Zone, 3)),
            b'0' => match bytes.get(i + 1) {
                Some(b'1') => Some((Piece::ZeroMonth, 2)),
                Some(b'2') => Some((Piece::ZeroDay, 2)),
                Some(b'3') => Some((Piece::ZeroHour12, 2)),
                Some(b'4') => Some((Piece::ZeroMinute, 2)),
                Some(b'5') => Some((Piece::ZeroSecond, 2)),
                Some(b'6') => Some((Piece::Year, 2)),
                _ if rest.starts_with("002") => Some((Piece::ZeroYearDay, 3)),
                _ => None,
            },
            b'1' if rest.starts_with("15") => Some((Piece::Hour, 2)),
            b'1' => Some((Piece::NumMonth, 1)),
            b'2' if rest.starts_with("2006") => Some((Piece::LongYear, 4)),
            b'2' => Some((Piece::Day, 1)),
            b'_' if rest.starts_with("_2006") => {
                let at = i + 1;
                return Some((&layout[..at], Piece::LongYear, &layout[at + 4..]));
            }
            b'_' if rest.starts_with("_2") => Some((Piece::UnderDay, 2)),
            b'_' if rest.starts_with("__2") => Some((Piece::UnderYearDay, 3)),
            b'3' => Some((Piece::Hour12, 1)),
            b'4' => Some((Piece::Minute, 1)),
            b'5' => Some((Piece::Second, 1)),
            b'P' if rest.starts_with("PM") => Some((Piece::Pm, 2)),
            b'p' if rest.starts_with("pm") => Some((Piece::SmallPm, 2)),
            b'-' | b'Z' => {
                let zulu = *byte == b'Z';
                let forms: [(&str, bool, u8); 5] = [
                    ("070000", false, 3),
                    ("07:00:00", true, 3),
                    ("0700", false, 2),
                    ("07:00", true, 2),
                    ("07", false, 1),
                ];
                forms
                    .iter()
                    .find(|(text, ..)| rest[1..].starts_with(text))
                    .map(|(text, colons, parts)| (Piece::Offset(zulu, *colons, *parts), text.len() + 1))
            }
            b'.' | b',' => match bytes.get(i + 1) {
                Some(digit @ (b'0' | b'9')) => {
                    let count = bytes[i + 1..].iter().take_while(|other| *other == digit).count();
                    let ends = !bytes.get(i + 1 + count).is_some_and(u8::is_ascii_digit);
                    ends.then_some((Piece::Fraction(count, *digit == b'9', *byte), count + 1))
                }
                _ => None,
            },
            _ => None,
        };
        if let Some((piece, length)) = found {
            return Some((&layout[..i], piece, &layout[i + length..]));
        }
    }
    None
}

impl Time {
    /// Makes a point in time of seconds since 1970.
    pub fn unix(seconds: i64) -> Time {
        Time { seconds, nanos: 0, offset: 0 }
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

    /// Shows the same point with another offset.
    pub fn at_offset(self, offset: i32) -> Time {
        Time { offset, ..self }
    }

    /// Adds nanoseconds.
    pub fn plus(self, nanos: i64) -> Time {
        let total = i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanos) + i128::from(nanos);
        Time {
            seconds: i64::try_from(total.div_euclid(1_000_000_000)).unwrap_or(i64::MAX),
            nanos: total.rem_euclid(1_000_000_000) as u32,
            offset: self.offset,
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
            Piece::Year => format!("{:02}", civil.year.rem_euclid(100)),
            Piece::Pm => if civil.hour >= 12 { "PM" } else { "AM" }.to_owned(),
            Piece::SmallPm => if civil.hour >= 12 { "pm" } else { "am" }.to_owned(),
            Piece::Zone if self.offset == 0 => "UTC".to_owned(),
            Piece::Zone => {
                let minutes = self.offset.abs() / 60;
                let sign = if self.offset < 0 { '-' } else { '+' };
                if minutes % 60 == 0 {
                    format!("{sign}{:02}", minutes / 60)
                } else {
                    format!("{sign}{:02}{:02}", minutes / 60, minutes % 60)
                }
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

    /// Parses with a layout of Go; `None` when the text does not fit.
    pub fn parse(layout: &str, text: &str) -> Option<Time> {
        let mut parse = Parsed { year: 0, month: 1, day: 1, ..Parsed::default() };
        let (mut layout, mut text) = (layout, text);
        loop {
            let Some((before, piece, after)) = next_piece(layout) else {
                if layout != text {
                    return None;
                }
                break;
            };
            text = text.strip_prefix(before)?;
            text = parse.take(piece, text)?;
            // A fraction may follow seconds even when the layout has none.
            if matches!(piece, Piece::Second | Piece::ZeroSecond)
                && !matches!(next_piece(after), Some(("", Piece::Fraction(..), _)))
                && text.starts_with(['.', ','])
                && text[1..].starts_with(|c: char| c.is_ascii_digit())
            {
                text = parse.fraction(text)?;
            }
            layout = after;
        }
        parse.finish()
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
            ("UTC" | "Local", []) => Value::object(super::object::Object::Time(self.at_offset(0))),
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
            ("Format" | "Add" | "AddDate", _) => {
                return Some(Err(CallError::Arity(format!("wrong number or type of args for {name}"))));
            }
            _ => return None,
        };
        Some(Ok(value))
    }
}

#[derive(Default)]
struct Parsed {
    year: i64,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
    nanos: u32,
    year_day: Option<u32>,
    afternoon: Option<bool>,
    offset: i32,
}

fn digits(text: &str, least: usize, most: usize) -> Option<(u32, &str)> {
    let count = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if count < least {
        return None;
    }
    Some((text[..count].parse().ok()?, &text[count..]))
}

fn name<'t>(text: &'t str, names: &[&str], short: bool) -> Option<(u32, &'t str)> {
    names.iter().enumerate().find_map(|(i, name)| {
        let name = if short { &name[..3] } else { name };
        let head = text.get(..name.len())?;
        head.eq_ignore_ascii_case(name).then(|| (i as u32, &text[name.len()..]))
    })
}

impl Parsed {
    fn fraction<'t>(&mut self, text: &'t str) -> Option<&'t str> {
        let count = text[1..].bytes().take_while(u8::is_ascii_digit).count();
        let digits = &text[1..1 + count.min(9)];
        self.nanos = format!("{digits:0<9}").parse().ok()?;
        Some(&text[1 + count..])
    }

    fn take<'t>(&mut self, piece: Piece, text: &'t str) -> Option<&'t str> {
        let range = |found: (u32, &'t str), most: u32| (found.0 <= most).then_some(found);
        Some(match piece {
            Piece::LongMonth | Piece::Month => {
                let (month, rest) = name(text, &MONTHS, piece == Piece::Month)?;
                self.month = month + 1;
                rest
            }
            Piece::LongWeekDay | Piece::WeekDay => name(text, &DAYS, piece == Piece::WeekDay)?.1,
            Piece::NumMonth | Piece::ZeroMonth => {
                let least = if piece == Piece::ZeroMonth { 2 } else { 1 };
                let (month, rest) = range(digits(text, least, 2)?, 12)?;
                self.month = Some(month).filter(|month| *month > 0)?;
                rest
            }
            Piece::Day | Piece::UnderDay | Piece::ZeroDay => {
                let text = if piece == Piece::UnderDay { text.strip_prefix(' ').unwrap_or(text) } else { text };
                let least = if piece == Piece::ZeroDay { 2 } else { 1 };
                let (day, rest) = digits(text, least, 2)?;
                self.day = day;
                rest
            }
            Piece::UnderYearDay | Piece::ZeroYearDay => {
                let text = if piece == Piece::UnderYearDay { text.trim_start_matches(' ') } else { text };
                let (day, rest) = digits(text, 1, 3)?;
                self.year_day = Some(day);
                rest
            }
            Piece::Hour => {
                let (hour, rest) = range(digits(text, 1, 2)?, 23)?;
                self.hour = hour;
                rest
            }
            Piece::Hour12 | Piece::ZeroHour12 => {
                let least = if piece == Piece::ZeroHour12 { 2 } else { 1 };
                let (hour, rest) = range(digits(text, least, 2)?, 12)?;
                self.hour = hour;
                rest
            }
            Piece::Minute | Piece::ZeroMinute => {
                let least = if piece == Piece::ZeroMinute { 2 } else { 1 };
                let (minute, rest) = range(digits(text, least, 2)?, 59)?;
                self.minute = minute;
                rest
            }
            Piece::Second | Piece::ZeroSecond => {
                let least = if piece == Piece::ZeroSecond { 2 } else { 1 };
                let (second, rest) = range(digits(text, least, 2)?, 59)?;
                self.second = second;
                rest
            }
            Piece::LongYear => {
                let (year, rest) = digits(text, 4, 4)?;
                self.year = i64::from(year);
                rest
            }
            Piece::Year => {
                let (year, rest) = digits(text, 2, 2)?;
                self.year = i64::from(if year >= 69 { year + 1900 } else { year + 2000 });
                rest
            }
            Piece::Pm | Piece::SmallPm => {
                let (am, pm) = if piece == Piece::Pm { ("AM", "PM") } else { ("am", "pm") };
                let (afternoon, rest) = match text.strip_prefix(pm) {
                    Some(rest) => (true, rest),
                    None => (false, text.strip_prefix(am)?),
                };
                self.afternoon = Some(afternoon);
                rest
            }
            Piece::Zone => {
                let count = text.bytes().take_while(u8::is_ascii_uppercase).count();
                if !(3..=5).contains(&count) {
                    return None;
                }
                &text[count..]
            }
            Piece::Offset(zulu, colons, parts) => {
                if zulu && let Some(rest) = text.strip_prefix('Z') {
                    return Some(rest);
                }
                let sign = if text.starts_with('-') { -1 } else { 1 };
                let mut rest = text.strip_prefix(['+', '-'])?;
                let mut total = 0;
                for (i, unit) in [3600, 60, 1].into_iter().take(parts as usize).enumerate() {
                    if i > 0 && colons {
                        rest = rest.strip_prefix(':')?;
                    }
                    let (value, after) = digits(rest, 2, 2)?;
                    total += value as i32 * unit;
                    rest = after;
                }
                self.offset = sign * total;
                rest
            }
            Piece::Fraction(count, trims, _) => {
                let starts = text.starts_with(['.', ',']) && text[1..].starts_with(|c: char| c.is_ascii_digit());
                match (starts, trims) {
                    (false, true) => text,
                    (false, false) => return None,
                    (true, true) => self.fraction(text)?,
                    (true, false) => {
                        let have = text[1..].bytes().take_while(u8::is_ascii_digit).count();
                        if have < count {
                            return None;
                        }
                        self.fraction(&text[..=count])?;
                        &text[count + 1..]
                    }
                }
            }
        })
    }

    fn finish(mut self) -> Option<Time> {
        match self.afternoon {
            Some(true) if self.hour < 12 => self.hour += 12,
            Some(false) if self.hour == 12 => self.hour = 0,
            _ => {}
        }
        let days = match self.year_day {
            Some(day) => days_from_civil(self.year, 1, 1) + i64::from(day) - 1,
            None => days_from_civil(self.year, self.month, self.day),
        };
        if self.year_day.is_none() && civil_from_days(days) != (self.year, self.month, self.day) {
            return None;
        }
        let clock = i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second);
        Some(Time { seconds: days * DAY + clock - i64::from(self.offset), nanos: self.nanos, offset: self.offset })
    }
}

/// Parses a span as `time.ParseDuration`, in nanoseconds.
pub fn parse_duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let whole = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(whole);
        let (part, after) = match after.strip_prefix('.') {
            Some(after) => after.split_at(after.bytes().take_while(u8::is_ascii_digit).count()),
            None => ("", after),
        };
        if number.is_empty() && part.is_empty() {
            return None;
        }
        let unit_end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let unit: i128 = match &after[..unit_end] {
            "ns" => 1,
            "us" | "µs" | "μs" => 1000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let number: i128 = if number.is_empty() { 0 } else { number.parse().ok()? };
        total += number.checked_mul(unit)?;
        let part = &part[..part.len().min(18)];
        if !part.is_empty() {
            total += part.parse::<i128>().ok()? * unit / 10i128.pow(part.len() as u32);
        }
        if total > i128::from(i64::MAX) + i128::from(sign < 0) {
            return None;
        }
        rest = &after[unit_end..];
    }
    i64::try_from(total * sign).ok()
}

/// Formats a span as the type's `String` method.
pub fn duration(nanos: i64) -> String {
    if nanos == 0 {
        return "0s".to_owned();
    }
    let sign = if nanos < 0 { "-" } else { "" };
    let size = nanos.unsigned_abs();
    let fraction = |value: u64, unit: u64| {
        let (whole, part) = (value / unit, value % unit);
        if part == 0 {
            return whole.to_string();
        }
        let width = unit.ilog10() as usize;
        let text = format!("{whole}.{part:0width$}");
        text.trim_end_matches('0').to_owned()
    };
    if size < 1000 {
        return format!("{sign}{size}ns");
    }
    if size < 1_000_000 {
        return format!("{sign}{}µs", fraction(size, 1000));
    }
    if size < 1_000_000_000 {
        return format!("{sign}{}ms", fraction(size, 1_000_000));
    }
    let seconds = format!("{}s", fraction(size % 60_000_000_000, 1_000_000_000));
    let minutes = size / 60_000_000_000;
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{sign}{seconds}"),
        (0, minutes) => format!("{sign}{minutes}m{seconds}"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts() {
        let time = Time::unix(1_700_000_000);
        assert_eq!(time.format("2006-01-02T15:04:05Z07:00"), "2023-11-14T22:13:20Z");
        assert_eq!(time.format("Mon Jan _2 3:4PM 06 .000 002"), "Tue Nov 14 10:13PM 23 .000 318");
        assert_eq!(Time::parse("2006-01-02 15:04:05", "2023-11-14 22:13:20"), Some(time));
        assert_eq!(Time::parse("2006-01-02", "2023-02-30"), None);
        assert_eq!(Time::zero().to_go_string(), "0001-01-01 00:00:00 +0000 UTC");
    }

    #[test]
    fn spans() {
        assert_eq!(parse_duration("1h15m30.5s"), Some(4_530_500_000_000));
        assert_eq!(parse_duration("-1.5h"), Some(-5_400_000_000_000));
        assert_eq!(parse_duration("1"), None);
        assert_eq!(duration(4_530_500_000_000), "1h15m30.5s");
        assert_eq!(duration(95_000_000_000), "1m35s");
        assert_eq!(duration(1_500_000), "1.5ms");
    }
}
