//! Spans of time in Go's notation, such as `1h15m30.5s`.

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
    fn spans() {
        assert_eq!(parse_duration("1h15m30.5s"), Some(4_530_500_000_000));
        assert_eq!(parse_duration("-1.5h"), Some(-5_400_000_000_000));
        assert_eq!(parse_duration("1"), None);
        assert_eq!(duration(4_530_500_000_000), "1h15m30.5s");
        assert_eq!(duration(95_000_000_000), "1m35s");
        assert_eq!(duration(1_500_000), "1.5ms");
    }
}
