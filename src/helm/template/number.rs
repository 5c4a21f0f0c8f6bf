//! Go's literals: numbers, quoted strings and characters.

use super::ast::Number;

/// Parses an integer as Go's `strconv.ParseInt(text, 0, 64)`: prefixes, and underscores only where Go allows them.
pub fn parse_int_literal(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let magnitude = parse_uint_literal(digits)?;
    if negative {
        if magnitude <= 1 << 63 { Some((magnitude as i64).wrapping_neg()) } else { None }
    } else {
        i64::try_from(magnitude).ok()
    }
}

/// Parses an integer as Go's `strconv.ParseUint(text, 0, 64)`.
pub fn parse_uint_literal(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] if lower.len() > 2 => (16, &lower[2..]),
        [b'0', b'o', ..] if lower.len() > 2 => (8, &lower[2..]),
        [b'0', b'b', ..] if lower.len() > 2 => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, &lower[..]),
    };
    if !underscores_ok(&lower) || digits.starts_with('+') || digits.is_empty() {
        return None;
    }
    u64::from_str_radix(&digits.replace('_', ""), radix).ok()
}

/// Underscores must stand between digits, or between a prefix and a digit.
fn underscores_ok(text: &str) -> bool {
    let bytes = text.as_bytes();
    let prefixed = bytes.len() >= 2 && bytes[0] == b'0' && matches!(bytes[1], b'x' | b'o' | b'b');
    let hex = prefixed && bytes[1] == b'x';
    let digit = |byte: &u8| byte.is_ascii_digit() || (hex && byte.is_ascii_hexdigit());
    let digits = &bytes[if prefixed { 2 } else { 0 }..];
    digits.iter().enumerate().filter(|(_, byte)| **byte == b'_').all(|(i, _)| {
        let before = if i == 0 { prefixed } else { digit(&digits[i - 1]) };
        before && digits.get(i + 1).is_some_and(digit)
    })
}

/// Parses a float as Go's `strconv.ParseFloat(text, 64)`.
pub fn parse_float(text: &str) -> Option<f64> {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let lower = body.to_ascii_lowercase();
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    match lower.as_str() {
        "inf" | "infinity" => return Some(sign * f64::INFINITY),
        "nan" => return Some(f64::NAN),
        _ => {}
    }
    if let Some(hex) = lower.strip_prefix("0x") {
        if !underscores_ok(&lower) {
            return None;
        }
        return hex_float(&hex.replace('_', "")).map(|value| sign * value);
    }
    if !body.starts_with(|c: char| c.is_ascii_digit() || c == '.') || !underscores_ok(&lower) {
        return None;
    }
    let value: f64 = body.replace('_', "").parse().ok()?;
    value.is_finite().then_some(sign * value)
}

fn hex_float(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once('p')?;
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.len() + part.len() == 0 || whole.len() + part.len() > 15 {
        return None;
    }
    let digits = u64::from_str_radix(&format!("{whole}{part}"), 16).ok()?;
    Some(digits as f64 * 2f64.powi(exponent.checked_sub(4 * part.len() as i32)?))
}

/// Parses a number of a template.
///
/// # Errors
/// Go's message.
pub fn parse_number(text: &str) -> Result<Number, String> {
    if let Some(digits) = text.strip_suffix('i') {
        return complex(text, digits).ok_or_else(|| format!("illegal number syntax: {text:?}"));
    }
    let looks_float = {
        let hex = text.len() > 2 && text.starts_with('0') && matches!(text.as_bytes()[1], b'x' | b'X');
        if hex { text.contains(['p', 'P']) } else { text.contains(['.', 'e', 'E', 'p', 'P']) }
    };
    let signless = text.strip_prefix('+').unwrap_or(text);
    if let Some(int) = parse_int_literal(text).or_else(|| parse_int_literal(signless)) {
        return Ok(Number {
            text: text.into(),
            int: Some(int),
            float: int as f64,
            is_float: looks_float,
            complex: None,
        });
    }
    if let Some(uint) = parse_uint_literal(text) {
        // Fits no int: an error where it is used, not here.
        return Ok(Number { text: text.into(), int: None, float: uint as f64, is_float: false, complex: None });
    }
    match parse_float(text) {
        Some(value) => {
            if !text.contains(['.', 'e', 'E', 'p', 'P']) {
                return Err(format!("integer overflow: {text:?}"));
            }
            let int = (value.trunc() == value && value.abs() < 9.2e18).then_some(value as i64);
            Ok(Number { text: text.into(), int, float: value, is_float: looks_float, complex: None })
        }
        None => Err(format!("illegal number syntax: {text:?}")),
    }
}

/// Reads `2i` or `1+2i`; `digits` is what stands before the `i`.
fn complex(text: &str, digits: &str) -> Option<Number> {
    // The sign of the imaginary part is the last one that belongs to no exponent.
    let hex = digits.contains(['x', 'X']);
    let split = digits.char_indices().skip(1).filter(|(at, c)| {
        let before = digits.as_bytes()[at - 1];
        matches!(c, '+' | '-') && !matches!(before, b'p' | b'P') && (hex || !matches!(before, b'e' | b'E'))
    });
    let (real, imaginary) = match split.last() {
        Some((at, _)) => (parse_float(&digits[..at])?, parse_float(&digits[at..])?),
        None => (0.0, parse_float(digits)?),
    };
    let whole = imaginary == 0.0 && real.trunc() == real && real.abs() < 9.2e18;
    let int = whole.then_some(real as i64);
    Some(Number { text: text.into(), int, float: real, is_float: true, complex: Some((real, imaginary)) })
}

/// Takes one character or escape from `text`, which is not empty; pushes it as Go's `strconv.UnquoteChar` reads it.
fn take_char(text: &str, quote: char, out: &mut Vec<u8>) -> Option<(usize, u32)> {
    let mut chars = text.chars();
    let c = chars.next()?;
    let mut buffer = [0; 4];
    if c == quote {
        return None;
    }
    if c != '\\' {
        out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
        return Some((c.len_utf8(), c as u32));
    }
    let escape = chars.next()?;
    let simple = match escape {
        'a' => Some(7),
        'b' => Some(8),
        'f' => Some(12),
        'n' => Some(10),
        'r' => Some(13),
        't' => Some(9),
        'v' => Some(11),
        '\\' => Some(b'\\'),
        '\'' | '"' if escape == quote => Some(escape as u8),
        _ => None,
    };
    if let Some(byte) = simple {
        out.push(byte);
        return Some((2, u32::from(byte)));
    }
    let digits = |from: usize, count: usize, radix: u32| -> Option<u32> {
        let digits = text.get(from..from + count)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        u32::from_str_radix(digits, radix).ok()
    };
    match escape {
        'x' => {
            let code = digits(2, 2, 16)?;
            out.push(code as u8);
            Some((4, code))
        }
        'u' | 'U' => {
            let count = if escape == 'u' { 4 } else { 8 };
            let code = digits(2, count, 16)?;
            out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut buffer).as_bytes());
            Some((2 + count, code))
        }
        '0'..='7' => {
            let code = digits(1, 3, 8)?;
            out.push(u8::try_from(code).ok()?);
            Some((4, code))
        }
        _ => None,
    }
}

/// Reads a quoted or raw string literal; `None` when Go's `strconv.Unquote` fails.
pub fn unquote(text: &str) -> Option<Vec<u8>> {
    if let Some(raw) = text.strip_prefix('`') {
        return Some(raw.strip_suffix('`')?.replace('\r', "").into_bytes());
    }
    let mut rest = text.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr3(b'\\', b'"', b'\n', rest.as_bytes()).is_none() {
        return Some(rest.as_bytes().to_vec());
    }
    let mut out = Vec::with_capacity(rest.len());
    while !rest.is_empty() {
        if rest.starts_with('\n') {
            return None;
        }
        let (used, _) = take_char(rest, '"', &mut out)?;
        rest = &rest[used..];
    }
    Some(out)
}

/// Reads a character literal.
pub fn unquote_char(text: &str) -> Option<i64> {
    let inner = text.strip_prefix('\'')?.strip_suffix('\'')?;
    let (used, code) = take_char(inner, '\'', &mut Vec::new())?;
    (used == inner.len()).then_some(i64::from(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_follow_go() {
        assert_eq!(parse_int_literal("0x1F"), Some(31));
        assert_eq!(parse_int_literal("017"), Some(15));
        assert_eq!(parse_int_literal("1_000"), Some(1000));
        assert_eq!(parse_int_literal("1__0"), None);
        assert_eq!(parse_int_literal("0_17"), Some(15));
        assert_eq!(parse_int_literal("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(parse_int_literal("08"), None);
        assert!(parse_number("+0b11").is_ok_and(|number| number.int == Some(3)));
        assert!(parse_number("1.0").is_ok_and(|number| number.is_float && number.int == Some(1)));
        assert!(parse_number("9223372036854775808").is_ok_and(|number| number.int.is_none()));
        assert!(parse_number("1.5.2").is_err());
        assert_eq!(unquote(r#""a\x41\n\101é""#).unwrap(), "aA\nAé".as_bytes());
        assert_eq!(unquote(r#""\'""#), None);
        assert_eq!(unquote("`a\\d`").unwrap(), b"a\\d");
        assert_eq!(unquote_char("'a'"), Some(97));
    }
}
