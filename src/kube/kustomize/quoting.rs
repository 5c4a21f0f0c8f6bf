//! What go-yaml v2 decides about a text before it writes it: the styles it can have, whether it needs quotes, the order of keys.

pub(super) fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Tells what the library writes without an escape: nothing beyond the basic plane, no tab.
pub(super) fn printable(c: char) -> bool {
    c == '\n' || (' '..='~').contains(&c) || (('\u{a0}'..='\u{fffd}').contains(&c) && c != '\u{feff}')
}

pub(super) fn escape(c: char) -> String {
    let short = match c {
        '\0' => '0',
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\u{b}' => 'v',
        '\u{c}' => 'f',
        '\r' => 'r',
        '\u{1b}' => 'e',
        '"' => '"',
        '\\' => '\\',
        '\u{85}' => 'N',
        '\u{a0}' => '_',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        c if (c as u32) <= 0xff => return format!("\\x{:02X}", c as u32),
        c if (c as u32) <= 0xffff => return format!("\\u{:04X}", c as u32),
        c => return format!("\\U{:08X}", c as u32),
    };
    format!("\\{short}")
}

/// Says in which styles a text can be written.
pub(super) struct Facts {
    pub(super) multiline: bool,
    pub(super) plain: bool,
    pub(super) single: bool,
    pub(super) block: bool,
}

pub(super) fn analyze(text: &str) -> Facts {
    if text.is_empty() {
        return Facts { multiline: false, plain: true, single: true, block: false };
    }
    let mut indicators = text.starts_with("---") || text.starts_with("...");
    let (mut multiline, mut special) = (false, false);
    let (mut break_space, mut space_break) = (false, false);
    let (mut was_space, mut was_break) = (false, false);
    let mut before_blank = true;
    let mut chars = text.chars().peekable();
    let mut first = true;
    while let Some(c) = chars.next() {
        let after_blank = chars.peek().is_none_or(|next| matches!(next, ' ' | '\t'));
        indicators |= match c {
            '#' => first || before_blank,
            ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => first,
            '?' | '-' => first && after_blank,
            ':' => after_blank,
            _ => false,
        };
        special |= !printable(c);
        if c == ' ' {
            break_space |= was_break;
            (was_space, was_break) = (true, false);
        } else if is_break(c) {
            multiline = true;
            space_break |= was_space;
            (was_space, was_break) = (false, true);
        } else {
            (was_space, was_break) = (false, false);
        }
        before_blank = matches!(c, ' ' | '\t' | '\0') || is_break(c);
        first = false;
    }
    let edge = |c: Option<char>| c.is_some_and(|c| c == ' ' || is_break(c));
    let edges = edge(text.chars().next()) || edge(text.chars().next_back());
    let trailing_space = text.ends_with(' ');
    let hard = space_break || special;
    Facts {
        multiline,
        plain: !(edges || break_space || hard || multiline || indicators),
        single: !(break_space || hard),
        block: !(trailing_space || hard),
    }
}

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
        b'.' => !matches!(text, ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF") && text.parse::<f64>().is_err(),
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
    if is_integer(&plain) {
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

/// Tells whether Go's `ParseInt` or `ParseUint` with base 0 takes a text.
fn is_integer(text: &str) -> bool {
    let (negative, body) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let prefix = body.get(..2).map(str::to_ascii_lowercase);
    let (base, digits) = match prefix.as_deref() {
        Some("0x") => (16, &body[2..]),
        Some("0b") => (2, &body[2..]),
        Some("0o") => (8, &body[2..]),
        _ if body.len() > 1 && body.starts_with('0') => (8, &body[1..]),
        _ => (10, body),
    };
    let clean = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
    clean && u64::from_str_radix(digits, base).is_ok_and(|number| !negative || number <= 1 << 63)
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
    let (second, fraction) = second.split_once('.').unwrap_or((second, "0"));
    let clock_ok = number(hour, 23).is_some()
        && number(minute, 59).is_some()
        && number(second, 59).is_some()
        && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let zone_ok = zone.is_none_or(|zone| {
        zone == "Z"
            || (zone.len() == 6
                && zone.as_bytes()[3] == b':'
                && zone[1..3].bytes().chain(zone[4..6].bytes()).all(|byte| byte.is_ascii_digit()))
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

/// Orders keys as go-yaml: letters after everything else, numbers by value.
pub(super) fn key_order(a: &str, b: &str) -> std::cmp::Ordering {
    use std::cmp::Ordering;
    let (left, right): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let is_digit = |c: char| c.is_ascii_digit();
    for i in 0..left.len().min(right.len()) {
        let (x, y) = (left[i], right[i]);
        if x == y {
            continue;
        }
        match (x.is_alphabetic(), y.is_alphabetic()) {
            (true, true) => return x.cmp(&y),
            (true, false) => return Ordering::Greater,
            (false, true) => return Ordering::Less,
            _ => {}
        }
        let (mut xn, mut yn) = (0i64, 0i64);
        if x == '0' || y == '0' {
            let mut j = i;
            while j > 0 && is_digit(left[j - 1]) {
                j -= 1;
                if left[j] != '0' {
                    (xn, yn) = (1, 1);
                    break;
                }
            }
        }
        let run = |chars: &[char], mut value: i64| {
            let mut end = i;
            while end < chars.len() && is_digit(chars[end]) {
                value = value.wrapping_mul(10).wrapping_add(i64::from(chars[end] as u32) - 48);
                end += 1;
            }
            (value, end)
        };
        let (xv, xe) = run(&left, xn);
        let (yv, ye) = run(&right, yn);
        return xv.cmp(&yv).then(xe.cmp(&ye)).then(x.cmp(&y));
    }
    left.len().cmp(&right.len())
}
