//! Formats: `fmt.Sprintf` with flags, widths, precisions and indices of arguments.

use super::{
    super::{error::Limit, value::Value},
    Flags, Printer, WIDTH, runes,
};

/// Takes a number from a format; `None` when it is too large.
fn number(format: &[u8], at: &mut usize) -> Option<i64> {
    let start = *at;
    let mut value: i64 = 0;
    while let Some(digit) = format.get(*at).filter(|byte| byte.is_ascii_digit()) {
        value = value * 10 + i64::from(digit - b'0');
        *at += 1;
        if value > WIDTH {
            return None;
        }
    }
    (*at > start).then_some(value)
}

/// Formats as `fmt.Sprintf`.
///
/// # Errors
/// As [`super::sprint`], and [`Limit::Output`] when the text grows beyond `limit` bytes.
pub fn sprintf(format: &[u8], args: &[Value], limit: usize) -> Result<Vec<u8>, Limit> {
    let mut p = Printer::new();
    let mut next = 0;
    let mut reordered = false;
    let mut at = 0;
    while at < format.len() {
        if p.out.len() > limit {
            return Err(Limit::Output(limit));
        }
        let plain = format[at..].iter().position(|byte| *byte == b'%').map_or(format.len(), |found| at + found);
        p.out.extend_from_slice(&format[at..plain]);
        at = plain + 1;
        if plain == format.len() {
            break;
        }
        p.flags = Flags::default();
        let mut good = true;
        while let Some(byte) = format.get(at) {
            match byte {
                b'#' => p.flags.sharp = true,
                b'0' => p.flags.zero = true,
                b'+' => p.flags.plus = true,
                b'-' => p.flags.minus = true,
                b' ' => p.flags.space = true,
                _ => break,
            }
            at += 1;
        }
        let mut indexed = index(format, &mut at, &mut next, args.len(), &mut reordered, &mut good);
        if format.get(at) == Some(&b'*') {
            at += 1;
            match args.get(next) {
                Some(Value::Int(_, width)) if width.abs() <= WIDTH => {
                    p.flags.width = Some(width.unsigned_abs() as usize);
                    if *width < 0 {
                        p.flags.minus = true;
                        p.flags.zero = false;
                    }
                }
                _ => p.out.extend_from_slice(b"%!(BADWIDTH)"),
            }
            next += 1;
            indexed = false;
        } else if let Some(width) = number(format, &mut at) {
            p.flags.width = Some(width as usize);
            if indexed {
                good = false;
            }
        }
        if format.get(at) == Some(&b'.') {
            at += 1;
            if indexed {
                good = false;
            }
            indexed = index(format, &mut at, &mut next, args.len(), &mut reordered, &mut good);
            if format.get(at) == Some(&b'*') {
                at += 1;
                match args.get(next) {
                    Some(Value::Int(_, precision)) if (0..=WIDTH).contains(precision) => {
                        p.flags.precision = Some(*precision as usize);
                    }
                    _ => p.out.extend_from_slice(b"%!(BADPREC)"),
                }
                next += 1;
                indexed = false;
            } else {
                p.flags.precision = Some(number(format, &mut at).unwrap_or(0) as usize);
            }
        }
        if !indexed {
            index(format, &mut at, &mut next, args.len(), &mut reordered, &mut good);
        }
        let Some(verb) = runes(&format[at.min(format.len())..]).next() else {
            p.out.extend_from_slice(b"%!(NOVERB)");
            break;
        };
        at += verb.map_or(1, char::len_utf8);
        let verb = verb.unwrap_or('\u{fffd}');
        if verb == '%' {
            p.out.push(b'%');
        } else if !good {
            p.out.extend_from_slice(format!("%!{verb}(BADINDEX)").as_bytes());
        } else if next >= args.len() {
            p.out.extend_from_slice(format!("%!{verb}(MISSING)").as_bytes());
        } else {
            if verb == 'v' {
                p.flags.sharp_v = std::mem::take(&mut p.flags.sharp);
                p.flags.plus_v = std::mem::take(&mut p.flags.plus);
            }
            if verb == 'w' {
                p.bad(verb, &args[next])?;
            } else if verb == 'p' {
                match &args[next] {
                    Value::List(_) | Value::Dict(_) => p.out.extend_from_slice(b"0xc000000000"),
                    other => p.bad(verb, other)?,
                }
            } else {
                p.value(&args[next], verb)?;
            }
            next += 1;
        }
    }
    if !reordered && next < args.len() {
        p.flags = Flags::default();
        p.out.extend_from_slice(b"%!(EXTRA ");
        for (i, arg) in args[next..].iter().enumerate() {
            if i > 0 {
                p.out.extend_from_slice(b", ");
            }
            if arg.is_nil() {
                p.out.extend_from_slice(b"<nil>");
            } else {
                p.out.extend_from_slice(arg.type_name().as_bytes());
                p.out.push(b'=');
                p.value(arg, 'v')?;
            }
        }
        p.out.push(b')');
    }
    if p.out.len() > limit { Err(Limit::Output(limit)) } else { Ok(p.out) }
}

/// Reads an explicit argument index such as `[2]`.
fn index(format: &[u8], at: &mut usize, next: &mut usize, count: usize, reordered: &mut bool, good: &mut bool) -> bool {
    if format.get(*at) != Some(&b'[') {
        return false;
    }
    *reordered = true;
    let Some(close) = format[*at..].iter().position(|byte| *byte == b']') else {
        *good = false;
        *at += 1;
        return false;
    };
    let mut from = *at + 1;
    let found = number(format, &mut from).filter(|_| from == *at + close);
    *at += close + 1;
    match found {
        Some(found) if found >= 1 && found as usize <= count => {
            *next = found as usize - 1;
            true
        }
        _ => {
            *good = false;
            true
        }
    }
}
