//! What plain scalars mean to go-yaml v3, which kustomize reads with: `yes` is text, `0644` octal, a date a point in time.

use crate::yaml::{self, Mark};

use super::{Problem, node::Tag};

/// Returns the type of a plain scalar.
pub(super) fn tag(text: &str) -> Tag {
    let Some(first) = text.bytes().next() else { return Tag::Null };
    match first {
        b'~' | b'n' | b'N' if matches!(text, "~" | "null" | "Null" | "NULL") => Tag::Null,
        b't' | b'T' | b'f' | b'F' if matches!(text, "true" | "True" | "TRUE" | "false" | "False" | "FALSE") => {
            Tag::Bool
        }
        b'.' | b'+' | b'-' | b'0'..=b'9' => number_tag(text),
        _ => Tag::Text,
    }
}

/// Names a type for people.
pub(super) fn name(tag: Tag) -> &'static str {
    match tag {
        Tag::Unset => "a value",
        Tag::Text => "a text",
        Tag::Int => "a whole number",
        Tag::Float => "a number",
        Tag::Bool => "true or false",
        Tag::Null => "null",
        Tag::Time => "a time",
    }
}

fn number_tag(text: &str) -> Tag {
    if is_infinite_or_nan(text) {
        return Tag::Float;
    }
    if text.starts_with('.') {
        return if float(text).is_some() { Tag::Float } else { Tag::Text };
    }
    if time(text).is_some() {
        return Tag::Time;
    }
    let digits = text.replace('_', "");
    if integer(&digits).is_some() {
        Tag::Int
    } else if float(&digits).is_some() {
        Tag::Float
    } else {
        Tag::Text
    }
}

fn is_infinite_or_nan(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN")
}

/// Returns the value of a plain scalar of a known type, as it arrives after a round through JSON.
///
/// # Errors
/// JSON has no infinities.
pub(super) fn value(text: &str, tag: Tag, at: Mark) -> Result<yaml::Value, Problem> {
    use yaml::Value;
    Ok(match tag {
        Tag::Null => Value::Null,
        Tag::Bool => Value::Bool(matches!(text.as_bytes().first(), Some(b't' | b'T'))),
        Tag::Int => integer(&text.replace('_', "")).unwrap_or_else(|| Value::String(text.to_owned())),
        Tag::Float => match float(&text.replace('_', "")) {
            Some(number) => from_f64(number),
            None => {
                let problem = yaml::Problem::NotFinite(text.to_owned());
                return Err(Problem::Syntax(yaml::Error { at, problem }));
            }
        },
        Tag::Time => Value::String(time(text).unwrap_or_else(|| text.to_owned())),
        Tag::Text | Tag::Unset => Value::String(text.to_owned()),
    })
}

/// Returns a floating-point number as JSON's reader gives it back: whole ones come back as integers.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)] // The bounds are checked.
pub(super) fn from_f64(number: f64) -> yaml::Value {
    use yaml::Value;
    const TWO_TO_63: f64 = (1u64 << 63) as f64;
    // JSON writes an exponent from 1e21 on; below, integers that fit 64 bits are integers for the next reader.
    if number.fract() == 0.0 {
        if (-TWO_TO_63..TWO_TO_63).contains(&number) {
            return Value::Int(number as i64);
        }
        if (0.0..2.0 * TWO_TO_63).contains(&number) {
            return Value::UInt(number as u64);
        }
    }
    Value::Float(number)
}

/// Reads an integer as Go's `ParseInt` with base 0 does, and `0o17` of YAML 1.2.
fn integer(text: &str) -> Option<yaml::Value> {
    let (negative, magnitude) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = magnitude.get(..2).map(str::to_ascii_lowercase);
    let (base, digits) = match lower.as_deref() {
        Some("0x") => (16, &magnitude[2..]),
        Some("0b") => (2, &magnitude[2..]),
        Some("0o") => (8, &magnitude[2..]),
        _ if magnitude.len() > 1 && magnitude.starts_with('0') => (8, &magnitude[1..]),
        _ => (10, magnitude),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, base).ok()?;
    if negative {
        return 0i64.checked_sub_unsigned(magnitude).map(yaml::Value::Int);
    }
    match i64::try_from(magnitude) {
        Ok(number) => Some(yaml::Value::Int(number)),
        Err(_) if text.starts_with('+') => None,
        Err(_) => Some(yaml::Value::UInt(magnitude)),
    }
}

fn float(text: &str) -> Option<f64> {
    let rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = rest.split_once(['e', 'E']).map_or((rest, None), |(m, e)| (m, Some(e)));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let exponent_fits = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['+', '-']).unwrap_or(e);
        !e.is_empty() && all_digits(e)
    });
    let has_digits = !(whole.is_empty() && fraction.is_empty());
    if !all_digits(whole) || !all_digits(fraction) || !has_digits || !exponent_fits {
        return None;
    }
    text.parse::<f64>().ok().filter(|number| number.is_finite())
}

/// Returns a time as Go writes it into JSON (RFC 3339), or nothing when the text is no time to go-yaml.
fn time(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    if bytes.len() < 8 || bytes[4] != b'-' || !bytes[..4].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let year: u32 = text.get(..4)?.parse().ok()?;
    let (month, rest) = short_number(text.get(5..)?)?;
    let (day, rest) = short_number(rest.strip_prefix('-')?)?;
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days).contains(&day) {
        return None;
    }
    let date = format!("{year:04}-{month:02}-{day:02}T");
    if rest.is_empty() {
        return Some(date + "00:00:00Z");
    }
    let zoned = rest.starts_with(['T', 't']);
    let (hour, rest) = short_number(rest.strip_prefix(['T', 't', ' '])?)?;
    let (minute, rest) = short_number(rest.strip_prefix(':')?)?;
    let (second, rest) = short_number(rest.strip_prefix(':')?)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (fraction, rest) = match rest.strip_prefix(['.', ',']) {
        Some(rest) => {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            (rest[..end].get(..end.min(9))?.trim_end_matches('0'), &rest[end..])
        }
        None => ("", rest),
    };
    let zone = match (zoned, rest) {
        (false, "") | (true, "Z") => "Z",
        (true, zone) => {
            let bytes = zone.as_bytes();
            let is_zone = bytes.len() == 6
                && matches!(bytes[0], b'+' | b'-')
                && bytes[3] == b':'
                && [1, 2, 4, 5].iter().all(|at| bytes[*at].is_ascii_digit());
            if !is_zone {
                return None;
            }
            if zone == "+00:00" || zone == "-00:00" { "Z" } else { zone }
        }
        (false, _) => return None,
    };
    let dot = if fraction.is_empty() { "" } else { "." };
    Some(format!("{date}{hour:02}:{minute:02}:{second:02}{dot}{fraction}{zone}"))
}

/// Reads one or two digits.
fn short_number(text: &str) -> Option<(u32, &str)> {
    let end = text.bytes().take(2).take_while(u8::is_ascii_digit).count();
    Some((text.get(..end)?.parse().ok()?, text.get(end..)?))
}

/// Tells whether a YAML 1.1 reader takes a text for something else than text.
pub(super) fn is_special_in_yaml_1_1(text: &str) -> bool {
    let Some(first) = text.chars().next() else { return false };
    if text.contains('\n') {
        return false;
    }
    // Other first characters begin nothing but plain text.
    let suspicious = first.is_ascii_digit() || "yYnNtTfFoO~.+-[{\"'&!|>?*%@` \t".contains(first) || text.contains(": ");
    if !suspicious && !text.ends_with(':') && !text.contains('#') {
        return false;
    }
    match yaml::documents(text, &yaml::Options::default()) {
        Ok(documents) => documents.first().is_some_and(|document| document.as_str().is_none()),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_have_the_types_of_go_yaml_v3() {
        for (text, expected) in [
            ("", Tag::Null),
            ("~", Tag::Null),
            ("yes", Tag::Text),
            ("on", Tag::Text),
            ("y", Tag::Text),
            ("true", Tag::Bool),
            ("tRUE", Tag::Text),
            ("0644", Tag::Int),
            ("0o17", Tag::Int),
            ("08", Tag::Float),
            ("1_000", Tag::Int),
            ("0x1F", Tag::Int),
            ("1e3", Tag::Float),
            (".5", Tag::Float),
            ("1.10", Tag::Float),
            ("1.2.3", Tag::Text),
            ("1:30", Tag::Text),
            ("-", Tag::Text),
            ("2001-12-14", Tag::Time),
            ("2001-02-30", Tag::Text),
            ("123456789012345678901", Tag::Float),
        ] {
            assert_eq!(tag(text), expected, "{text}");
        }
    }

    #[test]
    fn times_are_written_as_go_writes_them() {
        for (text, expected) in [
            ("2001-12-14", "2001-12-14T00:00:00Z"),
            ("2001-12-14t21:59:43.10-05:00", "2001-12-14T21:59:43.1-05:00"),
            ("2001-1-2 3:4:5", "2001-01-02T03:04:05Z"),
        ] {
            assert_eq!(time(text).as_deref(), Some(expected));
        }
        assert_eq!(time("2001-12-14T21:59"), None);
    }
}
