//! Formatting as Go's `fmt` and `strconv` do it: `%v` of every value, `printf`, quoting, floats.
//!
//! # Invariants
//! - Widths and precisions are bounded, and so is the nesting of what is printed.
//!
//! # Failure
//! Like Go's, formatting does not fail: mistakes appear as `%!d(string=x)` in the text. Only bounds are errors.

mod format;
mod quoting;

use super::{
    error::Limit,
    floats::sharpened,
    value::{IntKind, Value},
};

pub use super::floats::float;

pub use format::sprintf;
use quoting::quote_with;
pub use quoting::{is_print, quote, runes};

/// How deep a printed value may nest.
const DEPTH: usize = 1000;

/// Bytes of one printed value: one that holds itself many times over is short in memory and endless as text.
const OUTPUT: usize = 64 << 20;

/// Go's own bound for widths and precisions.
const WIDTH: i64 = 1_000_000;

#[derive(Clone, Copy, Default)]
struct Flags {
    width: Option<usize>,
    precision: Option<usize>,
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    plus_v: bool,
    sharp_v: bool,
}

struct Printer {
    out: Vec<u8>,
    flags: Flags,
    depth: usize,
}

impl Printer {
    fn new() -> Self {
        Printer { out: Vec::new(), flags: Flags::default(), depth: 0 }
    }

    fn pad(&mut self, text: &[u8]) {
        let count = match self.flags.width {
            None => return self.out.extend_from_slice(text),
            Some(width) => width.saturating_sub(runes(text).count()),
        };
        if self.flags.minus {
            self.out.extend_from_slice(text);
            self.out.extend(std::iter::repeat_n(b' ', count));
        } else {
            let fill = if self.flags.zero { b'0' } else { b' ' };
            self.out.extend(std::iter::repeat_n(fill, count));
            self.out.extend_from_slice(text);
        }
    }

    fn integer(&mut self, value: i64, unsigned: bool, radix: u32, verb: char) {
        let negative = !unsigned && value < 0;
        let mut magnitude = if unsigned { value as u64 } else { value.unsigned_abs() };
        let mut text = Vec::new();
        let alphabet: &[u8] = if verb == 'X' { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
        loop {
            text.push(alphabet[(magnitude % u64::from(radix)) as usize]);
            magnitude /= u64::from(radix);
            if magnitude == 0 {
                break;
            }
        }
        if let Some(precision) = self.flags.precision {
            if precision == 0 && value == 0 {
                let zero = std::mem::take(&mut self.flags.zero);
                self.pad(b"");
                self.flags.zero = zero;
                return;
            }
            while text.len() < precision {
                text.push(b'0');
            }
        } else if self.flags.zero
            && !self.flags.minus
            && let Some(width) = self.flags.width
        {
            let sign = usize::from(negative || self.flags.plus || self.flags.space);
            while text.len() + sign < width {
                text.push(b'0');
            }
        }
        if self.flags.sharp {
            match radix {
                2 => text.extend(b"b0"),
                8 if text.last() != Some(&b'0') => text.push(b'0'),
                16 => text.extend(if verb == 'X' { b"X0" } else { b"x0" }),
                _ => {}
            }
        }
        if verb == 'O' {
            text.extend(b"o0");
        }
        if negative {
            text.push(b'-');
        } else if self.flags.plus {
            text.push(b'+');
        } else if self.flags.space {
            text.push(b' ');
        }
        text.reverse();
        let zero = std::mem::take(&mut self.flags.zero);
        self.pad(&text);
        self.flags.zero = zero;
    }

    fn float(&mut self, value: f64, verb: u8, precision: Option<usize>) {
        let precision = self.flags.precision.or(precision);
        let mut text = float(value, verb, precision);
        if !text.starts_with(['-', '+']) {
            text.insert(0, '+');
        }
        if self.flags.sharp && verb != b'b' && value.is_finite() {
            text = sharpened(&text, verb, precision);
        }
        if self.flags.space && text.starts_with('+') && !self.flags.plus {
            text.replace_range(0..1, " ");
        }
        let infinite = value.is_infinite() || value.is_nan();
        let zero = self.flags.zero && !infinite;
        if infinite {
            if text.starts_with('+') && !self.flags.plus {
                text.remove(0);
            }
            let before = std::mem::take(&mut self.flags.zero);
            self.pad(text.as_bytes());
            self.flags.zero = before;
            return;
        }
        if self.flags.plus || !text.starts_with('+') {
            if zero && !self.flags.minus && self.flags.width.is_some_and(|width| width > text.len()) {
                let (sign, body) = text.split_at(1);
                self.out.extend_from_slice(sign.as_bytes());
                let before = self.flags.width;
                self.flags.width = before.map(|width| width - 1);
                self.pad(body.as_bytes());
                self.flags.width = before;
                return;
            }
            self.pad(text.as_bytes());
            return;
        }
        self.pad(&text.as_bytes()[1..]);
    }

    fn truncated<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        let Some(precision) = self.flags.precision else { return text };
        let end: usize = runes(text).take(precision).map(|rune| rune.map_or(1, char::len_utf8)).sum();
        &text[..end]
    }

    fn string(&mut self, text: &[u8], verb: char, value: &Value) -> Result<(), Limit> {
        match verb {
            'v' if self.flags.sharp_v => self.quoted(text),
            'v' | 's' => {
                let cut = self.truncated(text);
                self.pad(cut);
            }
            'q' => self.quoted(text),
            'x' | 'X' => {
                let cut = match self.flags.precision {
                    Some(precision) => &text[..text.len().min(precision)],
                    None => text,
                };
                let mut hex = String::with_capacity(cut.len() * 2 + 2);
                let prefix = if verb == 'x' { "0x" } else { "0X" };
                for (i, byte) in cut.iter().enumerate() {
                    if i > 0 && self.flags.space {
                        hex.push(' ');
                    }
                    if self.flags.sharp && (i == 0 || self.flags.space) {
                        hex.push_str(prefix);
                    }
                    hex.push_str(&if verb == 'x' { format!("{byte:02x}") } else { format!("{byte:02X}") });
                }
                self.pad(hex.as_bytes());
            }
            _ => self.bad(verb, value)?,
        }
        Ok(())
    }

    fn quoted(&mut self, text: &[u8]) {
        let cut = self.truncated(text).to_vec();
        let raw = self.flags.sharp
            && !cut.contains(&b'`')
            && runes(&cut).all(|rune| rune.is_ok_and(|c| c == '\t' || !c.is_control()));
        let quoted = if raw && !self.flags.sharp_v {
            [b"`".as_slice(), &cut, b"`"].concat()
        } else {
            quote(&cut, self.flags.plus)
        };
        self.pad(&quoted);
    }

    /// Shows a value under a verb that it does not have; width and other flags still hold.
    fn bad(&mut self, verb: char, value: &Value) -> Result<(), Limit> {
        self.out.extend_from_slice(format!("%!{verb}(").as_bytes());
        if value.is_nil() {
            self.out.extend_from_slice(b"<nil>");
        } else {
            self.out.extend_from_slice(value.type_name().as_bytes());
            self.out.push(b'=');
            self.value(value, 'v')?;
        }
        self.out.push(b')');
        Ok(())
    }

    fn value(&mut self, value: &Value, verb: char) -> Result<(), Limit> {
        if self.depth > DEPTH {
            return Err(Limit::Depth(DEPTH));
        }
        if self.out.len() > OUTPUT {
            return Err(Limit::Output(OUTPUT));
        }
        if verb == 'T' {
            let name = value.type_name();
            return self.string(name.as_bytes(), 's', value);
        }
        match value {
            Value::Missing | Value::Nil => match verb {
                // Inside of something, whatever the verb.
                _ if self.depth > 0 => {
                    self.out.extend_from_slice(if self.flags.sharp_v { b"interface {}(nil)" } else { b"<nil>" });
                }
                'v' => self.pad(b"<nil>"),
                _ => self.bad(verb, value)?,
            },
            Value::Bool(truth) => match verb {
                't' | 'v' => self.pad(if *truth { b"true" } else { b"false" }),
                _ => self.bad(verb, value)?,
            },
            Value::Int(kind, number) => {
                let unsigned = kind.unsigned();
                match verb {
                    'v' if self.flags.sharp_v && unsigned => {
                        let sharp = std::mem::replace(&mut self.flags.sharp, true);
                        self.integer(*number, true, 16, verb);
                        self.flags.sharp = sharp;
                    }
                    'v' | 'd' => self.integer(*number, unsigned, 10, verb),
                    'b' => self.integer(*number, unsigned, 2, verb),
                    'o' | 'O' => self.integer(*number, unsigned, 8, verb),
                    'x' | 'X' => self.integer(*number, unsigned, 16, verb),
                    'c' | 'q' => {
                        let c = u32::try_from(*number).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
                        let text = c.to_string();
                        if verb == 'c' {
                            self.pad(text.as_bytes());
                        } else {
                            let quoted = quote_with(text.as_bytes(), '\'', self.flags.plus);
                            self.pad(&quoted);
                        }
                    }
                    'U' => {
                        let mut text = format!("U+{number:04X}");
                        if let Some(c) = u32::try_from(*number).ok().and_then(char::from_u32)
                            && self.flags.sharp
                            && is_print(c)
                        {
                            text.push_str(&format!(" '{c}'"));
                        }
                        self.pad(text.as_bytes());
                    }
                    _ => self.bad(verb, value)?,
                }
            }
            Value::Float(number) => match verb {
                'v' => self.float(*number, b'g', None),
                'e' | 'E' | 'f' | 'F' => self.float(*number, if verb == 'F' { b'f' } else { verb as u8 }, Some(6)),
                'g' | 'G' | 'x' | 'X' | 'b' => self.float(*number, verb as u8, None),
                _ => self.bad(verb, value)?,
            },
            Value::Str(text) => self.string(text.bytes(), verb, value)?,
            Value::Bytes(bytes) => match verb {
                'v' if self.flags.sharp_v => {
                    let shown: Vec<String> = bytes.bytes().iter().map(|byte| format!("{byte:#x}")).collect();
                    self.out.extend_from_slice(format!("[]byte{{{}}}", shown.join(", ")).as_bytes());
                }
                'v' | 'd' => {
                    self.out.push(b'[');
                    for (i, byte) in bytes.bytes().iter().enumerate() {
                        if i > 0 {
                            self.out.push(b' ');
                        }
                        self.integer(i64::from(*byte), true, 10, 'd');
                    }
                    self.out.push(b']');
                }
                's' | 'q' | 'x' | 'X' => self.string(bytes.bytes(), verb, value)?,
                _ => {
                    let bytes = bytes.bytes().iter().map(|byte| Value::Int(IntKind::Uint8, i64::from(*byte)));
                    self.value(&Value::list(bytes.collect()), verb)?;
                }
            },
            Value::List(list) => {
                self.depth += 1;
                let sharp = self.flags.sharp_v;
                if sharp {
                    self.out.extend_from_slice(value.type_name().as_bytes());
                }
                self.out.push(if sharp { b'{' } else { b'[' });
                for (i, item) in list.items.iter().enumerate() {
                    if i > 0 {
                        self.out.extend_from_slice(if sharp { b", " } else { b" " });
                    }
                    self.value(item, verb)?;
                }
                self.out.push(if sharp { b'}' } else { b']' });
                self.depth -= 1;
            }
            Value::Dict(dict) => {
                self.depth += 1;
                let sharp = self.flags.sharp_v;
                self.out.extend_from_slice(if sharp { value.type_name().as_bytes() } else { b"map" });
                self.out.push(if sharp { b'{' } else { b'[' });
                for (i, (key, item)) in dict.snapshot().into_iter().enumerate() {
                    if i > 0 {
                        self.out.extend_from_slice(if sharp { b", " } else { b" " });
                    }
                    self.value(&Value::Str(key), verb)?;
                    self.out.push(b':');
                    self.value(&item, verb)?;
                }
                self.out.push(if sharp { b'}' } else { b']' });
                self.depth -= 1;
            }
            Value::Object(object) => {
                if let Some(text) = object.stringer()
                    && matches!(verb, 'v' | 's' | 'q' | 'x' | 'X')
                {
                    return self.string(text.as_bytes(), verb, value);
                }
                if object.kind_name() == "ptr" {
                    self.out.push(b'&');
                }
                self.depth += 1;
                self.out.push(b'{');
                for (i, (name, part)) in object.parts().into_iter().enumerate() {
                    if i > 0 {
                        self.out.push(b' ');
                    }
                    if self.flags.plus_v {
                        self.out.extend_from_slice(name.as_bytes());
                        self.out.push(b':');
                    }
                    self.value(&part, verb)?;
                }
                self.out.push(b'}');
                self.depth -= 1;
            }
        }
        Ok(())
    }
}

/// Prints one value as `%v` does.
///
/// # Errors
/// [`Limit::Depth`] for a value that is nested too deep.
pub fn sprint(value: &Value) -> Result<Vec<u8>, Limit> {
    if let Value::Str(text) = value {
        return Ok(text.bytes().to_vec());
    }
    let mut printer = Printer::new();
    printer.value(value, 'v')?;
    Ok(printer.out)
}

/// Prints the value of an action.
///
/// # Errors
/// As [`sprint`].
pub fn print_value(value: &Value) -> Result<Vec<u8>, Limit> {
    match value {
        Value::Missing | Value::Nil => Ok(b"<no value>".to_vec()),
        // Only as the value of an action the version is reached through a pointer, which has a String method.
        Value::Object(object) if object.type_name() == "common.KubeVersion" => match object.access("String", &[]) {
            Some(Ok(Value::Str(text))) => Ok(text.bytes().to_vec()),
            _ => sprint(value),
        },
        Value::Object(object) if object.kind_name() == "ptr" => {
            let mut text = sprint(value)?;
            if text.first() == Some(&b'&') {
                text.remove(0);
            }
            Ok(text)
        }
        other => sprint(other),
    }
}

/// Prints values as `fmt.Sprint`: a space between two that are no strings.
///
/// # Errors
/// As [`sprint`].
pub fn sprint_all(values: &[Value]) -> Result<Vec<u8>, Limit> {
    let mut printer = Printer::new();
    let mut before_string = true;
    for (i, value) in values.iter().enumerate() {
        let string = matches!(value, Value::Str(_));
        if i > 0 && !string && !before_string {
            printer.out.push(b' ');
        }
        printer.value(value, 'v')?;
        before_string = string;
    }
    Ok(printer.out)
}

/// Prints values as `fmt.Sprintln`.
///
/// # Errors
/// As [`sprint`].
pub fn sprintln(values: &[Value]) -> Result<Vec<u8>, Limit> {
    let mut printer = Printer::new();
    for (i, value) in values.iter().enumerate() {
        if i > 0 {
            printer.out.push(b' ');
        }
        printer.value(value, 'v')?;
    }
    printer.out.push(b'\n');
    Ok(printer.out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(format: &str, args: &[Value]) -> String {
        String::from_utf8(sprintf(format.as_bytes(), args, 1 << 20).unwrap()).unwrap()
    }

    #[test]
    fn floats_print_as_go() {
        for (value, want) in [
            (1_000_000.0, "1e+06"),
            (100_000.0, "100000"),
            (0.0, "0"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5, "1.5"),
            (123_456_789.0, "1.23456789e+08"),
            (-2.0, "-2"),
        ] {
            assert_eq!(float(value, b'g', None), want);
        }
        assert_eq!(
            show("%.2f %5.1f|%e|%g|%6.2g", &[1.005, 2.25, 12345.678, 1e21, 0.00012].map(Value::Float)),
            "1.00   2.2|1.234568e+04|1e+21|0.00012"
        );
    }

    #[test]
    fn verbs_print_as_go() {
        assert_eq!(show("%d %s", &[Value::str("x")]), "%!d(string=x) %!s(MISSING)");
        assert_eq!(show("a", &[Value::int(1), Value::Nil]), "a%!(EXTRA int=1, <nil>)");
        assert_eq!(
            show("%05d|%-5d|%+d|%x|%X|%o|%b|%c|%q|%U", &[7, 7, 7, 255, 255, 8, 5, 97, 97, 97].map(Value::int)),
            "00007|7    |+7|ff|FF|10|101|a|'a'|U+0061"
        );
        assert_eq!(
            show("%5s|%-5s|%.2s|%q|%x", &["ab", "ab", "abc", "a\"\n", "hi"].map(Value::from)),
            "   ab|ab   |ab|\"a\\\"\\n\"|6869"
        );
        assert_eq!(show("%[2]d %[1]d", &[Value::int(1), Value::int(2)]), "2 1");
        assert_eq!(show("%! %", &[]), "%!!(MISSING) %!(NOVERB)");
        assert_eq!(show("%s", &[Value::Nil]), "%!s(<nil>)");
        assert_eq!(
            show("%v %s", &[Value::list(vec![Value::Nil, Value::int(1)]), Value::list(vec![Value::int(1)])]),
            "[<nil> 1] [%!s(int=1)]"
        );
    }
}
