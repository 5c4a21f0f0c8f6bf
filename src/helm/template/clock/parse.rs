//! Reads points in time with Go's layouts.
//!
//! # Failure
//! The message of Go's `time.ParseError`.

use super::{
    DAY, DAYS, MONTHS, Time, Zone, civil_from_days, days_from_civil,
    layout::{Piece, next_piece},
};

/// Names a piece of a layout and the text that does not fit it.
struct Misfit<'t> {
    piece: &'t str,
    text: &'t str,
    more: &'static str,
}

/// Removes what stands between two pieces; a run of spaces fits any other run.
fn skip<'t>(mut text: &'t str, mut between: &str) -> Option<&'t str> {
    while let Some(c) = between.chars().next() {
        if c == ' ' {
            if !text.is_empty() && !text.starts_with(' ') {
                return None;
            }
            between = between.trim_start_matches(' ');
            text = text.trim_start_matches(' ');
        } else {
            text = text.strip_prefix(c)?;
            between = &between[c.len_utf8()..];
        }
    }
    Some(text)
}

impl Time {
    /// Parses with a layout of Go.
    ///
    /// # Errors
    /// Go's message, which says what part of the text does not fit what part of the layout.
    pub fn parse(layout: &str, text: &str) -> Result<Time, String> {
        parse(layout, text).map_err(|Misfit { piece, text: rest, more }| {
            if more.is_empty() {
                format!("parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {piece:?}")
            } else {
                format!("parsing time {text:?}{more}")
            }
        })
    }
}

fn parse<'t>(layout: &'t str, text: &'t str) -> Result<Time, Misfit<'t>> {
    let mut parsed = Parsed { year: 0, ..Parsed::default() };
    let (mut layout, mut rest) = (layout, text);
    while let Some((before, piece, after)) = next_piece(layout) {
        let name = &layout[before.len()..layout.len() - after.len()];
        let misfit = |text, piece| Misfit { piece, text, more: "" };
        rest = skip(rest, before).ok_or(misfit(rest, before))?;
        rest = parsed.take(piece, rest).ok_or(misfit(rest, name))?;
        // A fraction may follow seconds even when the layout has none.
        if matches!(piece, Piece::Second | Piece::ZeroSecond)
            && !matches!(next_piece(after), Some(("", Piece::Fraction(..), _)))
            && rest.starts_with(['.', ','])
            && rest[1..].starts_with(|c: char| c.is_ascii_digit())
        {
            rest = parsed.fraction(rest).ok_or(misfit(rest, name))?;
        }
        layout = after;
    }
    match skip(rest, layout) {
        Some("") => parsed.finish().map_err(|more| Misfit { piece: "", text: "", more }),
        Some(rest) => Err(Misfit { piece: "", text: rest, more: ": extra text" }),
        None => Err(Misfit { piece: layout, text: rest, more: "" }),
    }
}

#[derive(Default)]
struct Parsed {
    year: i64,
    month: Option<u32>,
    day: Option<u32>,
    hour: u32,
    minute: u32,
    second: u32,
    nanos: u32,
    year_day: Option<u32>,
    afternoon: Option<bool>,
    offset: Option<i32>,
    zone: Option<String>,
    utc: bool,
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
                self.month = Some(month + 1);
                rest
            }
            Piece::LongWeekDay | Piece::WeekDay => name(text, &DAYS, piece == Piece::WeekDay)?.1,
            Piece::NumMonth | Piece::ZeroMonth => {
                let least = if piece == Piece::ZeroMonth { 2 } else { 1 };
                let (month, rest) = range(digits(text, least, 2)?, 12)?;
                self.month = Some(Some(month).filter(|month| *month > 0)?);
                rest
            }
            Piece::Day | Piece::UnderDay | Piece::ZeroDay => {
                let text = if piece == Piece::UnderDay { text.strip_prefix(' ').unwrap_or(text) } else { text };
                let least = if piece == Piece::ZeroDay { 2 } else { 1 };
                let (day, rest) = digits(text, least, 2)?;
                self.day = Some(day);
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
                if let Some(rest) = text.strip_prefix("UTC") {
                    self.utc = true;
                    return Some(rest);
                }
                let (zone, rest) = text.split_at(abbreviation(text)?);
                self.zone = Some(zone.to_owned());
                rest
            }
            Piece::Offset(zulu, colons, parts) => {
                if zulu && let Some(rest) = text.strip_prefix('Z') {
                    self.utc = true;
                    return Some(rest);
                }
                let sign = if text.starts_with('-') { -1 } else { 1 };
                let mut rest = text.strip_prefix(['+', '-'])?;
                let mut total = 0;
                for (i, unit) in [3600, 60, 1].into_iter().take(parts as usize).enumerate() {
                    if i > 0 && colons {
                        rest = rest.strip_prefix(':')?;
                    }
                    let (value, after) = range(digits(rest, 2, 2)?, if i == 0 { 24 } else { 60 })?;
                    total += value as i32 * unit;
                    rest = after;
                }
                self.offset = Some(sign * total);
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

    fn finish(mut self) -> Result<Time, &'static str> {
        match self.afternoon {
            Some(true) if self.hour < 12 => self.hour += 12,
            Some(false) if self.hour == 12 => self.hour = 0,
            _ => {}
        }
        let first = days_from_civil(self.year, 1, 1);
        let days = match self.year_day {
            Some(day) => {
                let days = first + i64::from(day) - 1;
                let (year, month, of_month) = civil_from_days(days);
                if day < 1 || year != self.year {
                    return Err(": day-of-year out of range");
                }
                if self.month.is_some_and(|wanted| wanted != month) {
                    return Err(": day-of-year does not match month");
                }
                if self.day.is_some_and(|wanted| wanted != of_month) {
                    return Err(": day-of-year does not match day");
                }
                days
            }
            None => {
                let (month, day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
                let days = days_from_civil(self.year, month, day);
                if civil_from_days(days) != (self.year, month, day) {
                    return Err(": day out of range");
                }
                days
            }
        };
        let clock = i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second);
        let time = Time { nanos: self.nanos, ..Time::unix(days * DAY + clock) };
        let zone = self.zone.as_deref().unwrap_or_default();
        Ok(match self.offset {
            _ if self.utc => time,
            Some(0) if zone.is_empty() => time,
            Some(offset) => Time { seconds: time.seconds - i64::from(offset), offset, zone: Zone::new(zone), ..time },
            None if zone.is_empty() => time,
            None => {
                // A name alone says nothing of the offset, except for GMT; Go keeps the clock's digits as UTC.
                let hours: i32 = zone.strip_prefix("GMT").and_then(|hours| hours.parse().ok()).unwrap_or(0);
                Time { offset: hours * 3600, zone: Zone::new(zone), ..time }
            }
        })
    }
}

/// Returns the length of the zone abbreviation that a text begins with.
fn abbreviation(text: &str) -> Option<usize> {
    if text.starts_with("ChST") || text.starts_with("MeST") {
        return Some(4);
    }
    let signed = |text: &str| {
        let digits = text.strip_prefix(['+', '-'])?;
        let count = digits.bytes().take_while(u8::is_ascii_digit).count();
        let hours: u32 = digits[..count].parse().ok()?;
        (hours <= 23).then_some(count + 1)
    };
    if let Some(rest) = text.strip_prefix("GMT") {
        return Some(3 + signed(rest).unwrap_or(0));
    }
    if text.starts_with(['+', '-']) {
        return signed(text);
    }
    match text.bytes().take(6).take_while(u8::is_ascii_uppercase).count() {
        3 => Some(3),
        4 if text.as_bytes()[3] == b'T' || text.starts_with("WITA") => Some(4),
        5 if text.as_bytes()[4] == b'T' => Some(5),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_times() {
        let time = Time::unix(1_700_000_000);
        assert_eq!(Time::parse("2006-01-02 15:04:05", "2023-11-14 22:13:20"), Ok(time));
        assert_eq!(Time::parse(" 2006-01-02   15:04:05", "  2023-11-14 22:13:20"), Ok(time));
        let shown = |layout, text| Time::parse(layout, text).unwrap().to_go_string();
        assert_eq!(shown("Jan 2 2006 15:04 -0700", "May 3 2024 10:00 +0530"), "2024-05-03 10:00:00 +0530 +0530");
        assert_eq!(shown("2006 MST", "2024 CET"), "2024-01-01 00:00:00 +0000 CET");
        assert_eq!(shown("2006 MST", "2024 GMT+3"), "2024-01-01 03:00:00 +0300 GMT+3");
        assert_eq!(shown("2006 -0700 MST", "2024 -0500 EST"), "2024-01-01 00:00:00 -0500 EST");
    }

    #[test]
    fn misfits_are_named() {
        for (layout, text, words) in [
            ("2006-01-02", "2023-02-30", "parsing time \"2023-02-30\": day out of range"),
            ("2006-01-02", "junk", "cannot parse \"junk\" as \"2006\""),
            ("2006-01-02", "2023-13-01", "cannot parse \"13-01\" as \"01\""),
            ("2006", "2023x", ": extra text"),
            ("2006 002", "2023 366", "day-of-year out of range"),
            ("MST", "abc", "as \"MST\""),
        ] {
            let error = Time::parse(layout, text).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
