//! Which texts go-yaml would read back as something else: words, numbers, sexagesimals, points in time.

use crate::helm::template::number::{parse_float, parse_int_literal, parse_uint_literal};

/// Tells whether a text read back without quotes is a text again.
pub(super) fn plain_is_text(text: &str) -> bool {
    let Some(first) = text.bytes().next() else { return false };
    match first {
        b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~' => !matches!(
            text,
            "y" | "Y"
                | "yes"
                | "Yes"
                | "YES"
                | "true"
                | "True"
                | "TRUE"
                | "on"
                | "On"
                | "ON"
                | "n"
                | "N"
                | "no"
                | "No"
                | "NO"
                | "false"
                | "False"
                | "FALSE"
                | "off"
                | "Off"
                | "OFF"
                | "~"
                | "null"
                | "Null"
                | "NULL"
        ),
        b'.' => !matches!(text, ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF") && parse_float(text).is_none(),
        b'+' | b'-' | b'0'..=b'9' => {
            if matches!(text, "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf" | "-.INF") {
                return false;
            }
            !(is_timestamp(text) || is_number(text) || is_base60(text))
        }
        _ => text != "<<",
    }
}

fn is_number(text: &str) -> bool {
    let plain = text.replace('_', "");
    if parse_int_literal(&plain).is_some() || parse_uint_literal(&plain).is_some() {
        return true;
    }
    let body = plain.strip_prefix(['-', '+']).unwrap_or(&plain);
    let (mantissa, exponent) = match body.find(['e', 'E']) {
        Some(at) => (&body[..at], Some(&body[at + 1..])),
        None => (body, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa_ok = match mantissa.split_once('.') {
        Some(("", part)) => digits(part),
        Some((whole, part)) => digits(whole) && (part.is_empty() || digits(part)),
        None => digits(mantissa),
    };
    let exponent_ok = exponent.is_none_or(|text| digits(text.strip_prefix(['-', '+']).unwrap_or(text)));
    mantissa_ok && exponent_ok && plain.parse::<f64>().is_ok_and(f64::is_finite)
}

fn is_base60(text: &str) -> bool {
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut parts = body.split(':');
    let head = parts.next().unwrap_or_default();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !head.starts_with(|c: char| c.is_ascii_digit()) || !head.bytes().all(|b| b.is_ascii_digit() || b == b'_') {
        return false;
    }
    let rest: Vec<&str> = parts.collect();
    let Some((last, middle)) = rest.split_last() else { return false };
    let sixty = |text: &str| digits(text) && (text.len() == 1 || (text.len() == 2 && text.as_bytes()[0] <= b'5'));
    let (last, part) = last.split_once('.').unwrap_or((last, ""));
    middle.iter().all(|text| sixty(text)) && sixty(last) && part.bytes().all(|b| b.is_ascii_digit() || b == b'_')
}

fn is_timestamp(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.len() < 8 || !bytes[..4].iter().all(u8::is_ascii_digit) || bytes[4] != b'-' {
        return false;
    }
    let number = |text: &str, most: u32| -> Option<u32> {
        let fits = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|value| fits && *value <= most)
    };
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some((text.as_bytes()[at], &text[at + 1..]))),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next(), parts.next(), parts.next());
    let (Some(year), Some(month), Some(day), None) = (year, month, day, parts.next()) else { return false };
    let (Ok(year), Some(month), Some(day)) = (year.parse::<i32>(), number(month, 12), number(day, 31)) else {
        return false;
    };
    if month == 0 || day == 0 || day > days_in(year, month) {
        return false;
    }
    let Some((separator, time)) = time else { return true };
    let (clock, zone) = match time.find(['Z', '+', '-']) {
        Some(at) => (&time[..at], Some(&time[at..])),
        None => (time, None),
    };
    if zone.is_some() == (separator == b' ') {
        return false;
    }
    let mut parts = clock.split(':');
    let (hour, minute, second) = (parts.next(), parts.next(), parts.next());
    let (Some(hour), Some(minute), Some(second), None) = (hour, minute, second, parts.next()) else { return false };
    // Go's reader takes a comma as well.
    let (second, fraction) = second.split_once(['.', ',']).unwrap_or((second, "0"));
    let clock_ok = number(hour, 23).is_some()
        && number(minute, 59).is_some()
        && number(second, 59).is_some()
        && !fraction.is_empty()
        && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let zone_ok = zone.is_none_or(|zone| match zone.as_bytes() {
        b"Z" => true,
        [b'+' | b'-', hours @ .., b':', _, _] if hours.len() == 2 => {
            // Go allows offsets of 24 hours and of 60 minutes, which people do write.
            number(&zone[1..3], 24).is_some() && number(&zone[4..], 60).is_some()
        }
        _ => false,
    });
    clock_ok && zone_ok
}

fn days_in(year: i32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_those_of_gos_reader() {
        for text in
            ["2001-1-2", "2001-01-02T3:4:5Z", "2001-01-02t03:04:05+24:60", "2001-01-02 3:4:5.25", "2001-01-02T3:4:5,5Z"]
        {
            assert!(is_timestamp(text), "{text}");
        }
        for text in [
            "2006-01-02T15:04:05Z07:00",
            "2001-01-02T03:04:05+25:00",
            "2001-01-02T03:04:05+00:61",
            "2001-01-02T03:04:05.Z",
            "2001-01-02T03:04:05",
            "2001-01-02 03:04:05Z",
            "2001-02-29",
            "2001-01-02T24:00:00Z",
        ] {
            assert!(!is_timestamp(text), "{text}");
        }
    }
}
