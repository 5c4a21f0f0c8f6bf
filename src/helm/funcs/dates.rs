//! Dates: now, formatting, parsing, spans.

use super::{Args, Func, Outcome, Param, func};
use crate::helm::template::{
    clock::{self, Time},
    error::CallError,
    exec::Interp,
    object::Object,
    value::{IntKind, Value},
};

use Param::{Any, Str as Text, Time as Moment};

/// Nanoseconds of a second.
const SECOND: i64 = 1_000_000_000;

pub(super) const FUNCS: &[Func] = &[
    func("now", &[], |interp, _| Ok(moment(interp.ambient.now))),
    func("date", &[Text, Any], |interp, args| shown(interp, &args.text(0), args.value(1), "Local")),
    func("dateInZone", &[Text, Any, Text], |interp, args| shown(interp, &args.text(0), args.value(1), &args.text(2))),
    func("date_in_zone", &[Text, Any, Text], |interp, args| shown(interp, &args.text(0), args.value(1), &args.text(2))),
    func("htmlDate", &[Any], |interp, args| shown(interp, "2006-01-02", args.value(0), "Local")),
    func("htmlDateInZone", &[Any, Text], |interp, args| shown(interp, "2006-01-02", args.value(0), &args.text(1))),
    func("dateModify", &[Text, Moment], |_, args| modified(args, false)),
    func("date_modify", &[Text, Moment], |_, args| modified(args, false)),
    func("mustDateModify", &[Text, Moment], |_, args| modified(args, true)),
    func("must_date_modify", &[Text, Moment], |_, args| modified(args, true)),
    func("toDate", &[Text, Text], |_, args| {
        Ok(moment(Time::parse(&args.text(0), &args.text(1)).unwrap_or_else(|_| Time::zero())))
    }),
    func("mustToDate", &[Text, Text], |_, args| {
        Time::parse(&args.text(0), &args.text(1)).map(moment).map_err(CallError::function)
    }),
    func("unixEpoch", &[Moment], |_, args| {
        Ok(Value::from(time_of(args.value(0)).map_or(0, |time| time.seconds).to_string()))
    }),
    func("ago", &[Any], |interp, args| {
        let then = match args.value(0) {
            Value::Int(IntKind::Int | IntKind::Int64, seconds) => Time::unix(*seconds),
            other => time_of(other).unwrap_or(interp.ambient.now),
        };
        let span = interp.ambient.now.since(then);
        let half = if span < 0 { -SECOND / 2 } else { SECOND / 2 };
        Ok(Value::from(clock::duration(span.saturating_add(half) / SECOND * SECOND)))
    }),
    func("duration", &[Any], |_, args| {
        let seconds = match args.value(0) {
            Value::Str(text) => whole(&text.text()),
            Value::Int(IntKind::Int64, seconds) => *seconds,
            _ => 0,
        };
        Ok(Value::from(clock::duration(seconds.wrapping_mul(SECOND))))
    }),
    func("durationRound", &[Any], |interp, args| {
        let span = match args.value(0) {
            Value::Str(text) => clock::parse_duration(&text.text()).unwrap_or(0),
            Value::Int(IntKind::Int64, nanos) => *nanos,
            other => time_of(other).map_or(0, |time| interp.ambient.now.since(time)),
        };
        Ok(Value::from(rounded(span)))
    }),
];

fn moment(time: Time) -> Value {
    Value::object(Object::Time(time))
}

fn time_of(value: &Value) -> Option<Time> {
    match value {
        Value::Object(object) => match **object {
            Object::Time(time) => Some(time),
            _ => None,
        },
        _ => None,
    }
}

/// Reads a number as Go's `strconv.ParseInt`, whose result for what is too large is the largest one.
fn whole(text: &str) -> i64 {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    match text.parse() {
        Ok(number) => number,
        Err(error) => match std::num::ParseIntError::kind(&error) {
            PosOverflow => i64::MAX,
            NegOverflow => i64::MIN,
            _ => 0,
        },
    }
}

/// Formats in a zone; in UTC when there is no such zone.
fn shown(interp: &mut Interp<'_>, layout: &str, date: &Value, zone: &str) -> Outcome {
    let time = match date {
        Value::Int(IntKind::Int | IntKind::Int64 | IntKind::Int32, seconds) => Time::unix(*seconds),
        other => time_of(other).unwrap_or(interp.ambient.now),
    };
    // Finding a zone and following a layout cost more than most functions.
    interp.spend(10 + layout.len() as u64 / 8)?;
    let text = time.in_zone(zone).unwrap_or_else(|| time.utc()).format(layout);
    interp.afford(text.len())?;
    Ok(Value::from(text))
}

fn modified(args: Args<'_>, must: bool) -> Outcome {
    let time = time_of(args.value(1)).unwrap_or_else(Time::zero);
    match clock::parse_duration(&args.text(0)) {
        Some(nanos) => Ok(moment(time.plus(nanos))),
        None if must => Err(CallError::function(format!("time: invalid duration {:?}", args.text(0)))),
        None => Ok(moment(time)),
    }
}

fn rounded(span: i64) -> String {
    let size = span.unsigned_abs();
    let hour = 3600 * SECOND as u64;
    let units = [
        (hour * 24 * 365, "y"),
        (hour * 24 * 30, "mo"),
        (hour * 24, "d"),
        (hour, "h"),
        (60 * SECOND as u64, "m"),
        (SECOND as u64, "s"),
    ];
    units
        .iter()
        .find(|(unit, _)| size > *unit)
        .map_or_else(|| "0s".to_owned(), |(unit, name)| format!("{}{name}", size / unit))
}
