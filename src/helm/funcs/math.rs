//! Numbers: conversion, integer and decimal arithmetic, rounding.

use super::{Args, Func, Outcome, Param, func, variadic, words::below};
use crate::helm::template::{
    error::CallError,
    gofmt,
    number::{parse_float, parse_int_literal},
    value::Value,
};

use Param::{Any, Float, Int, Str as Text};

pub(super) const FUNCS: &[Func] = &[
    func("atoi", &[Text], |_, args| Ok(Value::int(atoi(&args.text(0))))),
    func("int", &[Any], |_, args| Ok(Value::int(to_int(args.value(0))))),
    func("int64", &[Any], |_, args| Ok(Value::int64(to_int(args.value(0))))),
    func("float64", &[Any], |_, args| Ok(Value::Float(to_float(args.value(0))))),
    func("toDecimal", &[Any], |_, args| {
        let text = gofmt::sprint(args.value(0))?;
        let text = String::from_utf8_lossy(&text);
        Ok(Value::int64(i64::from_str_radix(&text, 8).unwrap_or(0)))
    }),
    func("add1", &[Any], |_, args| Ok(Value::int64(to_int(args.value(0)).wrapping_add(1)))),
    variadic("add", &[], Any, |_, args| {
        Ok(Value::int64(args.0.iter().fold(0i64, |sum, value| sum.wrapping_add(to_int(value)))))
    }),
    func("sub", &[Any, Any], |_, args| Ok(Value::int64(to_int(args.value(0)).wrapping_sub(to_int(args.value(1)))))),
    func("div", &[Any, Any], |_, args| divided(args, i64::wrapping_div)),
    func("mod", &[Any, Any], |_, args| divided(args, i64::wrapping_rem)),
    variadic("mul", &[Any], Any, |_, args| {
        Ok(Value::int64(args.0.iter().fold(1i64, |product, value| product.wrapping_mul(to_int(value)))))
    }),
    variadic("max", &[Any], Any, |_, args| Ok(Value::int64(args.0.iter().map(to_int).max().unwrap_or(0)))),
    variadic("biggest", &[Any], Any, |_, args| Ok(Value::int64(args.0.iter().map(to_int).max().unwrap_or(0)))),
    variadic("min", &[Any], Any, |_, args| Ok(Value::int64(args.0.iter().map(to_int).min().unwrap_or(0)))),
    variadic("maxf", &[Any], Any, |_, args| Ok(extreme(args, |a, b| if a > b { a } else { b }))),
    variadic("minf", &[Any], Any, |_, args| Ok(extreme(args, |a, b| if a < b { a } else { b }))),
    func("ceil", &[Any], |_, args| Ok(Value::Float(to_float(args.value(0)).ceil()))),
    func("floor", &[Any], |_, args| Ok(Value::Float(to_float(args.value(0)).floor()))),
    variadic("round", &[Any, Int], Float, round),
    func("add1f", &[Any], |_, args| decimals(&[args.value(0).clone(), Value::int(1)], Operation::Add)),
    variadic("addf", &[], Any, |_, args| {
        let mut all = vec![Value::Float(0.0)];
        all.extend_from_slice(args.0);
        decimals(&all, Operation::Add)
    }),
    variadic("subf", &[Any], Any, |_, args| decimals(args.0, Operation::Sub)),
    variadic("mulf", &[Any], Any, |_, args| decimals(args.0, Operation::Mul)),
    variadic("divf", &[Any], Any, |_, args| decimals(args.0, Operation::Div)),
    func("randInt", &[Int, Int], |interp, args| {
        let (min, max) = (args.int(0), args.int(1));
        match u64::try_from(max.wrapping_sub(min)) {
            Ok(span) if span > 0 => Ok(Value::int(min + below(interp, span) as i64)),
            _ => Err(CallError::function("invalid argument to Intn")),
        }
    }),
];

/// Parses as `strconv.Atoi`, with its result for numbers out of range.
fn atoi(text: &str) -> i64 {
    match text.parse::<i64>() {
        Ok(number) => number,
        Err(error) => match error.kind() {
            std::num::IntErrorKind::PosOverflow => i64::MAX,
            std::num::IntErrorKind::NegOverflow => i64::MIN,
            _ => 0,
        },
    }
}

/// Cuts `.000` off a number's text.
fn without_zeros(text: &str) -> &str {
    match text.rsplit_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') => whole,
        _ => text,
    }
}

/// Converts a float as Go does on amd64: what does not fit is the smallest number.
fn truncated(number: f64) -> i64 {
    if number.is_nan() || !(-9.223_372_036_854_776e18..9.223_372_036_854_776e18).contains(&number) {
        i64::MIN
    } else {
        number as i64
    }
}

/// Converts anything to an integer as sprig's `int64`: zero for what is no number.
pub(super) fn to_int(value: &Value) -> i64 {
    match value {
        Value::Int(_, number) => *number,
        Value::Float(number) => truncated(*number),
        Value::Bool(truth) => i64::from(*truth),
        Value::Str(text) => parse_int_literal(without_zeros(&text.text())).unwrap_or(0),
        _ => 0,
    }
}

/// Converts anything to a float as sprig's `float64`.
pub(super) fn to_float(value: &Value) -> f64 {
    match value {
        Value::Int(kind, number) if kind.unsigned() => *number as u64 as f64,
        Value::Int(_, number) => *number as f64,
        Value::Float(number) => *number,
        Value::Bool(truth) => f64::from(u8::from(*truth)),
        Value::Str(text) => parse_float(&text.text()).unwrap_or(0.0),
        _ => 0.0,
    }
}

fn divided(args: Args<'_>, divide: fn(i64, i64) -> i64) -> Outcome {
    match to_int(args.value(1)) {
        0 => Err(CallError::function("runtime error: integer divide by zero")),
        by => Ok(Value::int64(divide(to_int(args.value(0)), by))),
    }
}

fn extreme(args: Args<'_>, pick: fn(f64, f64) -> f64) -> Value {
    let mut numbers = args.0.iter().map(to_float);
    let first = numbers.next().unwrap_or(0.0);
    Value::Float(numbers.fold(first, |a, b| if a.is_nan() || b.is_nan() { f64::NAN } else { pick(a, b) }))
}

fn round(_: &mut crate::helm::template::exec::Interp<'_>, args: Args<'_>) -> Outcome {
    let on = match args.value(2) {
        Value::Float(on) => *on,
        _ => 0.5,
    };
    let power = 10f64.powi(i32::try_from(args.int(1)).unwrap_or(i32::MAX));
    let digit = power * to_float(args.value(0));
    let part = digit.fract();
    let rounded = if part >= on { digit.ceil() } else { digit.floor() };
    Ok(Value::Float(rounded / power))
}

/// A decimal number, `coefficient × 10^exponent`, as the library behind sprig's float functions has it.
#[derive(Clone, Copy)]
struct Decimal {
    coefficient: i128,
    exponent: i32,
}

/// Digits after the point that a division keeps.
const DIVISION: i32 = 16;

impl Decimal {
    fn of(number: f64) -> Option<Decimal> {
        if !number.is_finite() {
            return None;
        }
        let text = format!("{number:e}");
        let (mantissa, exponent) = text.split_once('e')?;
        let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
        let places = mantissa.split_once('.').map_or(0, |(_, part)| part.len());
        Some(Decimal { coefficient: digits.parse().ok()?, exponent: exponent.parse::<i32>().ok()? - places as i32 })
    }

    fn scaled(self, exponent: i32) -> Option<i128> {
        let shift = u32::try_from(self.exponent.checked_sub(exponent)?).ok()?;
        self.coefficient.checked_mul(10i128.checked_pow(shift)?)
    }

    fn add(self, other: Decimal) -> Option<Decimal> {
        let exponent = self.exponent.min(other.exponent);
        Some(Decimal { coefficient: self.scaled(exponent)?.checked_add(other.scaled(exponent)?)?, exponent })
    }

    fn sub(self, other: Decimal) -> Option<Decimal> {
        self.add(Decimal { coefficient: -other.coefficient, ..other })
    }

    fn mul(self, other: Decimal) -> Option<Decimal> {
        Some(Decimal {
            coefficient: self.coefficient.checked_mul(other.coefficient)?,
            exponent: self.exponent.checked_add(other.exponent)?,
        })
    }

    fn div(self, other: Decimal) -> Option<Decimal> {
        // Scaled so that the quotient has the kept digits, rounded half away from zero.
        let shift = self.exponent - other.exponent + DIVISION;
        let (mut over, mut under) = (self.coefficient, other.coefficient);
        let factor = 10i128.checked_pow(shift.unsigned_abs())?;
        if shift >= 0 {
            over = over.checked_mul(factor)?;
        } else {
            under = under.checked_mul(factor)?;
        }
        let (quotient, rest) = (over.checked_div(under)?, over.checked_rem(under)?);
        let up = rest.unsigned_abs().checked_mul(2)? >= under.unsigned_abs();
        let sign = if (over < 0) == (under < 0) { 1 } else { -1 };
        Some(Decimal { coefficient: quotient + if up { sign } else { 0 }, exponent: -DIVISION })
    }

    fn float(self) -> f64 {
        format!("{}e{}", self.coefficient, self.exponent).parse().unwrap_or(0.0)
    }
}

/// The four operations.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Add,
    Sub,
    Mul,
    Div,
}

impl Operation {
    fn exact(self, a: Decimal, b: Decimal) -> Option<Decimal> {
        match self {
            Operation::Add => a.add(b),
            Operation::Sub => a.sub(b),
            Operation::Mul => a.mul(b),
            Operation::Div => a.div(b),
        }
    }

    fn rough(self, a: f64, b: f64) -> f64 {
        match self {
            Operation::Add => a + b,
            Operation::Sub => a - b,
            Operation::Mul => a * b,
            Operation::Div => a / b,
        }
    }
}

fn decimals(values: &[Value], operation: Operation) -> Outcome {
    let mut numbers = values.iter().map(to_float);
    let mut result = numbers.next().unwrap_or(0.0);
    let mut exact = Decimal::of(result);
    for number in numbers {
        let (Some(left), Some(right)) = (exact, Decimal::of(number)) else {
            return Err(CallError::function("Cannot create a Decimal from NaN or Inf"));
        };
        if operation == Operation::Div && right.coefficient == 0 {
            return Err(CallError::function("decimal division by 0"));
        }
        // Beyond 38 digits a float is as good as it gets.
        exact = operation.exact(left, right).or_else(|| Decimal::of(operation.rough(left.float(), right.float())));
        result = exact.map_or(result, Decimal::float);
    }
    Ok(Value::Float(result))
}
