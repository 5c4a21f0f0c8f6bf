//! What a scalar means: the rules of go-yaml v2, which Helm and kubectl use.

use base64::Engine as _;

use super::{Problem, Value};

/// The prefix of YAML's own tags; `!!int` stands for `tag:yaml.org,2002:int`.
const YAML_TAG: &str = "tag:yaml.org,2002:";

/// Resolves a plain scalar without a tag.
pub(super) fn plain(text: &str) -> Value {
    // The first character tells what a scalar can be, and everything that is not listed here is text.
    match text.as_bytes().first() {
        None => Value::Null,
        Some(b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~') => word(text),
        Some(b'.') => word(text).or_else_float(text),
        Some(b'+' | b'-') => word(text).or_else_number(text),
        Some(b'0'..=b'9') => number(text),
        Some(_) => Value::String(text.to_owned()),
    }
}

/// Resolves a scalar with a tag, or one without that was quoted.
pub(super) fn tagged(text: &str, tag: Option<&str>) -> Result<Value, Problem> {
    let Some(tag) = tag else { return Ok(Value::String(text.to_owned())) };
    let Some(short) = tag.strip_prefix(YAML_TAG) else { return Ok(Value::String(text.to_owned())) };
    let wrong = || Problem::Tag { text: text.chars().take(60).collect(), tag: format!("!!{short}") };
    match (short, plain(text)) {
        ("bool", value @ Value::Bool(_))
        | ("int", value @ (Value::Int(_) | Value::UInt(_)))
        | ("float", value @ Value::Float(_))
        | ("null", value @ Value::Null) => Ok(value),
        #[allow(clippy::cast_precision_loss)] // A float was asked for.
        ("float", Value::Int(number)) => Ok(Value::Float(number as f64)),
        ("bool" | "int" | "float" | "null", _) => Err(wrong()),
        ("timestamp", _) if !is_timestamp(text) => Err(wrong()),
        ("binary", _) => {
            let packed: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
            let bytes = base64::engine::general_purpose::STANDARD.decode(packed).map_err(|_| wrong())?;
            Ok(Value::String(String::from_utf8_lossy(&bytes).into_owned()))
        }
        _ => Ok(Value::String(text.to_owned())),
    }
}

impl Value {
    fn or_else_float(self, text: &str) -> Value {
        match self {
            Value::String(_) => float(text).map_or(self, Value::Float),
            known => known,
        }
    }

    fn or_else_number(self, text: &str) -> Value {
        match self {
            Value::String(_) => number(text),
            known => known,
        }
    }
}

fn word(text: &str) -> Value {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Value::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Value::Bool(false),
        "~" | "null" | "Null" | "NULL" => Value::Null,
        ".nan" | ".NaN" | ".NAN" => Value::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Value::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Value::Float(f64::NEG_INFINITY),
        _ => Value::String(text.to_owned()),
    }
}

fn number(text: &str) -> Value {
    let digits: String = text.chars().filter(|c| *c != '_').collect();
    if let Some(number) = integer(&digits) {
        return number;
    }
    float(&digits).map_or_else(|| Value::String(text.to_owned()), Value::Float)
}

/// Reads an integer as Go's `strconv.ParseInt(text, 0, 64)` and `ParseUint` do: the prefix gives the base, and a leading
/// zero means octal.
fn integer(text: &str) -> Option<Value> {
    let (negative, magnitude) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let bytes = magnitude.as_bytes();
    let (base, digits) = match (bytes.first()?, bytes.get(1).map(u8::to_ascii_lowercase)) {
        (b'0', Some(b'x')) => (16, &magnitude[2..]),
        (b'0', Some(b'o')) => (8, &magnitude[2..]),
        (b'0', Some(b'b')) => (2, &magnitude[2..]),
        (b'0', Some(_)) => (8, &magnitude[1..]),
        _ => (10, magnitude),
    };
    // Rust's parser takes a sign here, Go's does not.
    if !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, base).ok()?;
    if negative {
        return 0i64.checked_sub_unsigned(magnitude).map(Value::Int);
    }
    match i64::try_from(magnitude) {
        Ok(number) => Some(Value::Int(number)),
        // ParseUint takes no sign.
        Err(_) if text.starts_with('+') => None,
        Err(_) => Some(Value::UInt(magnitude)),
    }
}

/// Reads a decimal number; hexadecimal ones, words and numbers beyond the range are text.
fn float(text: &str) -> Option<f64> {
    let digits: String = text.chars().filter(|c| *c != '_').collect();
    let rest = digits.strip_prefix(['+', '-']).unwrap_or(&digits);
    let (mantissa, exponent) = rest.split_once(['e', 'E']).map_or((rest, None), |(m, e)| (m, Some(e)));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let exponent_fits = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['+', '-']).unwrap_or(e);
        !e.is_empty() && all_digits(e)
    });
    if !all_digits(whole) || !all_digits(fraction) || (whole.is_empty() && fraction.is_empty()) || !exponent_fits {
        return None;
    }
    digits.parse::<f64>().ok().filter(|number| number.is_finite())
}

/// Tells whether a text is a timestamp in one of the forms that go-yaml takes; it stays text in any case.
fn is_timestamp(text: &str) -> bool {
    let bytes = text.as_bytes();
    let year = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    let date = text.get(year + 1..).unwrap_or_default();
    let parts: Vec<&str> = date.splitn(2, '-').collect();
    let day = parts.get(1).map(|rest| rest.bytes().take_while(u8::is_ascii_digit).count());
    year == 4
        && bytes.get(4) == Some(&b'-')
        && matches!(parts.first(), Some(month) if matches!(month.parse::<u8>(), Ok(1..=12)))
        && matches!(day, Some(1..=2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    #[test]
    fn the_first_character_decides_what_a_scalar_can_be() {
        for (written, value) in [
            ("", Value::Null),
            ("~", Value::Null),
            ("nULL", text("nULL")),
            ("yes", Value::Bool(true)),
            ("YeS", text("YeS")),
            ("Off", Value::Bool(false)),
            ("0644", Value::Int(420)),
            ("0o644", Value::Int(420)),
            ("0O17", Value::Int(15)),
            ("08", Value::Float(8.0)),
            ("-010", Value::Int(-8)),
            ("0b11", Value::Int(3)),
            ("-0b11", Value::Int(-3)),
            ("0x_FF", Value::Int(255)),
            ("0x", text("0x")),
            ("0b2", text("0b2")),
            ("0x1p4", text("0x1p4")),
            ("1_000.5", Value::Float(1000.5)),
            ("_1", text("_1")),
            ("+0x1", Value::Int(1)),
            ("--1", text("--1")),
            ("+-1", text("+-1")),
            ("0x-1", text("0x-1")),
            ("1.", Value::Float(1.0)),
            ("+.5", Value::Float(0.5)),
            (".5_0", Value::Float(0.5)),
            (".", text(".")),
            ("-", text("-")),
            ("1e3", Value::Float(1000.0)),
            ("1e", text("1e")),
            ("1e400", text("1e400")),
            ("1.2.3", text("1.2.3")),
            ("9223372036854775808", Value::UInt(9_223_372_036_854_775_808)),
            ("-9223372036854775808", Value::Int(i64::MIN)),
            ("18446744073709551616", Value::Float(18_446_744_073_709_551_616.0)),
            ("-.inf", Value::Float(f64::NEG_INFINITY)),
            ("Infinity", text("Infinity")),
            ("NaN", text("NaN")),
            ("12:30", text("12:30")),
            ("2001-12-14", text("2001-12-14")),
            ("=", text("=")),
        ] {
            assert_eq!(plain(written), value, "{written}");
        }
        assert!(matches!(plain(".NaN"), Value::Float(number) if number.is_nan()));
    }

    #[test]
    fn tags_convert_or_refuse() {
        let tag = |name: &str, written: &str| tagged(written, Some(&format!("{YAML_TAG}{name}")));
        assert_eq!(tag("str", "1"), Ok(text("1")));
        assert_eq!(tag("int", "3"), Ok(Value::Int(3)));
        assert_eq!(tag("float", "1"), Ok(Value::Float(1.0)));
        assert_eq!(tag("bool", "yes"), Ok(Value::Bool(true)));
        assert_eq!(tag("binary", "aGVs\nbG8="), Ok(text("hello")));
        assert_eq!(tag("timestamp", "2001-12-14"), Ok(text("2001-12-14")));
        assert_eq!(tag("map", "x"), Ok(text("x")));
        assert_eq!(tagged("12", Some("!")), Ok(text("12")));
        assert_eq!(tagged("12", Some("!own")), Ok(text("12")));
        for (name, written) in
            [("null", "x"), ("int", "1.5"), ("bool", "1"), ("binary", "#"), ("timestamp", "x"), ("float", "x")]
        {
            assert!(tag(name, written).is_err(), "!!{name} {written}");
        }
    }
}
