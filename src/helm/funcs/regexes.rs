//! Regular expressions with RE2's syntax as Go reads it, on top of the `regex` crate.
//!
//! # Invariants
//! - A pattern is rewritten so that every piece means what it means in Go: `\d` and its kin are ASCII, brackets hold no
//!   set operators, braces that count nothing are text.
//!
//! # Failure
//! What Go rejects is rejected: backreferences, look-around, stacked repetitions, counts above 1,000.

mod translation;

use std::rc::Rc;

use regex::bytes::{Regex, RegexBuilder};

use super::{Args, Func, Outcome, Param, func};
use crate::helm::template::{
    error::CallError,
    exec::Interp,
    value::{Elem, Str, Value},
};

use Param::{Int, Str as Text};

use translation::translate;

/// How much memory a compiled pattern may take.
const SIZE: usize = 10 << 20;

/// The largest repetition count, Go's own limit.
const REPEAT: u32 = 1000;

pub(super) const FUNCS: &[Func] = &[
    func("regexMatch", &[Text, Text], |interp, args| {
        Ok(Value::Bool(compiled(interp, args).is_ok_and(|pattern| pattern.is_match(args.bytes(1)))))
    }),
    func("mustRegexMatch", &[Text, Text], |interp, args| {
        Ok(Value::Bool(compiled(interp, args)?.is_match(args.bytes(1))))
    }),
    func("regexFind", &[Text, Text], find),
    func("mustRegexFind", &[Text, Text], find),
    func("regexFindAll", &[Text, Text, Int], find_all),
    func("mustRegexFindAll", &[Text, Text, Int], find_all),
    func("regexReplaceAll", &[Text, Text, Text], replace),
    func("mustRegexReplaceAll", &[Text, Text, Text], replace),
    func("regexReplaceAllLiteral", &[Text, Text, Text], replace_literal),
    func("mustRegexReplaceAllLiteral", &[Text, Text, Text], replace_literal),
    func("regexSplit", &[Text, Text, Int], split),
    func("mustRegexSplit", &[Text, Text, Int], split),
    func("regexQuoteMeta", &[Text], |_, args| {
        let text = args.text(0);
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            if r"\.+*?()|[]{}^$".contains(c) {
                out.push('\\');
            }
            out.push(c);
        }
        Ok(Value::str(out))
    }),
];

/// How many compiled patterns are kept; a chart has a few dozen.
const PATTERNS: usize = 32;

fn compiled(interp: &mut Interp<'_>, args: Args<'_>) -> Result<Rc<Regex>, CallError> {
    interp.spend((args.bytes(1).len() / 64) as u64)?;
    let Value::Str(source) = args.value(0) else { return Err(CallError::function("no pattern")) };
    if let Some(pattern) = interp.patterns.get(source) {
        return Ok(pattern.clone());
    }
    // A counted repetition is unrolled: short patterns may take a thousand times longer than they look.
    let unrolled = if source.bytes().contains(&b'{') { 5000 } else { 0 };
    interp.spend(100 + unrolled + source.len() as u64)?;
    if interp.patterns.len() >= PATTERNS {
        interp.patterns.clear();
    }
    let pattern = Rc::new(compile(&source.text()).map_err(CallError::Function)?);
    interp.patterns.insert(source.clone(), pattern.clone());
    Ok(pattern)
}

/// Compiles a pattern of Go.
///
/// # Errors
/// A message like Go's.
pub fn compile(source: &str) -> Result<Regex, String> {
    let fault = |why: String| format!("error parsing regexp: {why}");
    let pattern = translate(source).map_err(fault)?;
    RegexBuilder::new(&pattern)
        .size_limit(SIZE)
        .dfa_size_limit(SIZE)
        .build()
        .map_err(|error| fault(error.to_string().lines().last().unwrap_or_default().to_owned()))
}

fn find(interp: &mut Interp<'_>, args: Args<'_>) -> Outcome {
    let pattern = compiled(interp, args)?;
    Ok(pattern.find(args.bytes(1)).map_or_else(|| Value::str(""), |found| Value::str(found.as_bytes())))
}

fn find_all(interp: &mut Interp<'_>, args: Args<'_>) -> Outcome {
    let pattern = compiled(interp, args)?;
    let most = usize::try_from(args.int(2)).unwrap_or(usize::MAX);
    let found: Vec<&[u8]> = pattern.find_iter(args.bytes(1)).take(most).map(|found| found.as_bytes()).collect();
    interp.spend(found.len() as u64 / 4)?;
    Ok(if found.is_empty() { Value::nil_list(Elem::Str) } else { Value::strings(found) })
}

fn replace(interp: &mut Interp<'_>, args: Args<'_>) -> Outcome {
    let pattern = compiled(interp, args)?;
    let (text, template) = (args.bytes(1), args.bytes(2));
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    for found in pattern.captures_iter(text) {
        let Some(whole) = found.get(0) else { continue };
        out.extend_from_slice(&text[at..whole.start()]);
        found.expand(template, &mut out);
        at = whole.end();
        if out.len() > interp.limits.output {
            interp.afford(out.len())?;
        }
    }
    out.extend_from_slice(&text[at..]);
    Ok(Value::str(out))
}

fn replace_literal(interp: &mut Interp<'_>, args: Args<'_>) -> Outcome {
    let pattern = compiled(interp, args)?;
    let (text, with) = (args.bytes(1), args.bytes(2));
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    for found in pattern.find_iter(text) {
        out.extend_from_slice(&text[at..found.start()]);
        out.extend_from_slice(with);
        at = found.end();
        if out.len() > interp.limits.output {
            interp.afford(out.len())?;
        }
    }
    out.extend_from_slice(&text[at..]);
    Ok(Value::str(out))
}

fn split(interp: &mut Interp<'_>, args: Args<'_>) -> Outcome {
    let pattern = compiled(interp, args)?;
    let (text, count) = (args.bytes(1), args.int(2));
    if count == 0 {
        return Ok(Value::nil_list(Elem::Str));
    }
    if !args.bytes(0).is_empty() && text.is_empty() {
        return Ok(Value::strings([Str::from("")]));
    }
    let most = usize::try_from(count).unwrap_or(usize::MAX);
    let mut parts: Vec<&[u8]> = Vec::new();
    let (mut begin, mut end) = (0, 0);
    for found in pattern.find_iter(text).take(most) {
        if parts.len() + 1 == most {
            break;
        }
        end = found.start();
        if found.end() != 0 {
            parts.push(&text[begin..end]);
        }
        begin = found.end();
    }
    if end != text.len() {
        parts.push(&text[begin..]);
    }
    interp.spend(parts.len() as u64 / 4)?;
    Ok(Value::strings(parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_patterns_as_go() {
        for (pattern, text, want) in [
            (r"^[\w-\.]+$", "a-b.c", true),
            (r"\$(x)?{[^}]+}", "${a}", true),
            (r"{(v\d)}", "{v1}", true),
            (r"\d", "٣", false),
            (r"[[a]", "[", true),
            (r"[a&&b]", "&", true),
            (r"\Qa.b\E", "a.b", true),
            (r"^\07$", "\u{7}", true),
            (r"\<a", "<a", true),
            (r"^a{2}$", "aa", true),
            (r"^[]a]+$", "]a", true),
            (r"(?i)ABC", "xabcx", true),
            (r"^a{,2}$", "a{,2}", true),
        ] {
            assert_eq!(compile(pattern).unwrap().is_match(text.as_bytes()), want, "{pattern}");
        }
        for pattern in ["a**", "a++", "a{1001}", "(?x)a", r"(a)\1", "(?=a)", "[a", "a)", "*a", r"\Z"] {
            assert!(compile(pattern).is_err(), "{pattern}");
        }
    }
}
