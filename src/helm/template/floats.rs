//! Floats as Go's `strconv` writes them.

/// Splits a finite float into its decimal digits and the position of the point: `0.d1d2… × 10^point`.
fn digits(value: f64, precision: Option<usize>) -> (String, i32) {
    let text = match precision {
        Some(precision) => format!("{:.*e}", precision, value.abs()),
        None => format!("{:e}", value.abs()),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let zero = digits.bytes().all(|digit| digit == b'0');
    (digits, if zero { 1 } else { exponent + 1 })
}

/// Formats as `strconv.FormatFloat(value, verb, precision, 64)`.
pub fn float(value: f64, verb: u8, precision: Option<usize>) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let exponential = |digits: &str, point: i32, keep: usize, e: char| {
        let mut body = digits[..1].to_owned();
        if keep > 1 {
            body.push('.');
            body.push_str(&digits[1..keep.min(digits.len())]);
            body.extend(std::iter::repeat_n('0', keep.saturating_sub(digits.len())));
        }
        let zero = digits.bytes().all(|digit| digit == b'0');
        let exponent = if zero { 0 } else { point - 1 };
        format!("{sign}{body}{e}{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
    };
    match verb {
        b'e' | b'E' => {
            let (digits, point) = digits(value, precision);
            let keep = precision.map_or(digits.len(), |precision| precision + 1);
            exponential(&digits, point, keep, verb as char)
        }
        b'g' | b'G' => {
            let shortest = precision.is_none();
            let wanted = precision.map(|precision| precision.max(1));
            let (mut found, point) = digits(value, wanted.map(|wanted| wanted - 1));
            if !shortest {
                // Go keeps no trailing zeros here.
                let kept = found.trim_end_matches('0').len().max(1);
                found.truncate(kept);
            }
            let count = found.len() as i32;
            let mut limit = wanted.map_or(6, |wanted| wanted as i32);
            if limit > count && count >= point {
                limit = count;
            }
            if shortest {
                limit = 6;
            }
            let exponent = if value == 0.0 { 0 } else { point - 1 };
            if exponent < -4 || exponent >= limit {
                let e = if verb == b'g' { 'e' } else { 'E' };
                exponential(&found, point, found.len(), e)
            } else if value == 0.0 {
                format!("{sign}0")
            } else {
                format!("{sign}{:.*}", (count - point).max(0) as usize, value.abs())
            }
        }
        b'b' => {
            let (mantissa, exponent) = parts(value);
            format!("{sign}{mantissa}p{exponent:+}")
        }
        b'x' | b'X' => {
            let text = format!("{sign}{}", hex_float(value, precision));
            if verb == b'X' { text.to_uppercase() } else { text }
        }
        _ => match precision {
            Some(precision) => format!("{sign}{:.*}", precision, value.abs()),
            None => format!("{sign}{}", value.abs()),
        },
    }
}

/// Splits a float into an integer and a power of two.
fn parts(value: f64) -> (u64, i32) {
    let bits = value.to_bits();
    let exponent = (bits >> 52 & 0x7ff) as i32;
    let fraction = bits & ((1 << 52) - 1);
    if exponent == 0 { (fraction, -1074) } else { (fraction | 1 << 52, exponent - 1075) }
}

fn hex_float(value: f64, precision: Option<usize>) -> String {
    let (mut mantissa, mut exponent) = parts(value);
    if mantissa == 0 {
        let zeros = "0".repeat(precision.unwrap_or(0));
        return if zeros.is_empty() { "0x0p+00".to_owned() } else { format!("0x0.{zeros}p+00") };
    }
    // One bit before the point, 52 behind it.
    while mantissa >> 52 == 0 {
        mantissa <<= 1;
        exponent -= 1;
    }
    exponent += 52;
    let digits = match precision {
        Some(precision) if precision < 13 => {
            let drop = 52 - 4 * precision as u32;
            let (half, rest) = (1u64 << (drop - 1), mantissa & ((1 << drop) - 1));
            mantissa >>= drop;
            if rest > half || (rest == half && mantissa & 1 == 1) {
                mantissa += 1;
            }
            mantissa <<= drop;
            if mantissa >> 53 != 0 {
                mantissa >>= 1;
                exponent += 1;
            }
            format!("{:013x}", mantissa & ((1 << 52) - 1))[..precision].to_owned()
        }
        Some(precision) => format!("{:013x}{}", mantissa & ((1 << 52) - 1), "0".repeat(precision - 13)),
        None => format!("{:013x}", mantissa & ((1 << 52) - 1)).trim_end_matches('0').to_owned(),
    };
    let point = if digits.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("0x1{point}{digits}p{sign}{:02}", exponent.abs())
}

/// Keeps the decimal point and the zeros behind it, as the flag `#` asks (`fmt.fmtFloat`). The text has a sign.
pub(super) fn sharpened(text: &str, verb: u8, precision: Option<usize>) -> String {
    let mut digits = match verb {
        b'g' | b'G' | b'x' => precision.unwrap_or(6),
        _ => 0,
    };
    let hex = matches!(verb, b'x' | b'X');
    let cut = text.find(|c| matches!(c, 'p' | 'P') || (!hex && matches!(c, 'e' | 'E'))).unwrap_or(text.len());
    let (number, tail) = text.split_at(cut);
    let mut seen = false;
    for byte in number.bytes().skip(1).filter(|byte| *byte != b'.') {
        seen |= byte != b'0';
        if seen {
            digits = digits.saturating_sub(1);
        }
    }
    let mut out = number.to_owned();
    if !number.contains('.') {
        if number.len() == 2 && number.ends_with('0') {
            digits = digits.saturating_sub(1);
        }
        out.push('.');
    }
    out.extend(std::iter::repeat_n('0', digits));
    out.push_str(tail);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sharp_keeps_zeros() {
        for (value, verb, precision, shown) in [
            (1.5, b'g', None, "+1.50000"),
            (0.0, b'g', Some(3), "+0.00"),
            (1e21, b'g', None, "+1.00000e+21"),
            (1.0, b'x', None, "+0x1.0000p+00"),
            (2.0, b'f', Some(0), "+2."),
        ] {
            assert_eq!(sharpened(&format!("+{}", float(value, verb, precision)), verb, precision), shown);
        }
    }
}
