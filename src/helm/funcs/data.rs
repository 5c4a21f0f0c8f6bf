//! YAML in both directions.

use super::{Args, Func, Outcome, Param, func, json::failure, weigh};
use crate::{
    helm::{
        goyaml,
        template::{
            error::CallError,
            exec::Interp,
            value::{Elem, Map, Str, Value},
        },
    },
    yaml,
};

use Param::{Any, Str as Text};

pub(super) const FUNCS: &[Func] = &[
    func("toYaml", &[Any], |interp, args| {
        weigh(interp, args.value(0))?;
        Ok(match goyaml::write(args.value(0)) {
            Ok(text) => chomped(interp, text)?,
            Err(_) => Value::str(""),
        })
    }),
    func("mustToYaml", &[Any], |interp, args| {
        weigh(interp, args.value(0))?;
        match goyaml::write(args.value(0)) {
            Ok(text) => chomped(interp, text),
            Err(error) => Err(CallError::function(error.to_string())),
        }
    }),
    func("toYamlPretty", &[Any], |interp, args| {
        weigh(interp, args.value(0))?;
        Ok(match goyaml::write_pretty(args.value(0)) {
            Ok(text) => chomped(interp, text)?,
            Err(_) => Value::str(""),
        })
    }),
    func("fromYaml", &[Text], |interp, args| from_yaml(interp, args, false)),
    func("fromYamlArray", &[Text], |interp, args| from_yaml(interp, args, true)),
];

fn chomped(interp: &mut Interp<'_>, mut text: Vec<u8>) -> Outcome {
    interp.afford(text.len())?;
    if text.last() == Some(&b'\n') {
        text.pop();
    }
    Ok(Value::str(text))
}

fn from_yaml(interp: &mut Interp<'_>, args: Args<'_>, list: bool) -> Outcome {
    let text = args.text(0);
    interp.spend((text.len() / 8) as u64)?;
    let message = match read(&text) {
        Ok(Value::Nil) if list => return Ok(Value::nil_list(Elem::Any)),
        Ok(Value::Nil) => return Ok(Value::dict(Map::new())),
        Ok(value @ Value::List(_)) if list => return Ok(value),
        Ok(value @ Value::Dict(_)) if !list => return Ok(value),
        Ok(other) => {
            let want = if list { "[]interface {}" } else { "map[string]interface {}" };
            let have = match other {
                Value::Bool(_) => "bool",
                Value::Float(_) => "number",
                Value::Str(_) => "string",
                Value::List(_) => "array",
                _ => "object",
            };
            format!(
                "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {have} into Go value of type {want}"
            )
        }
        Err(message) => format!("error converting YAML to JSON: yaml: {message}"),
    };
    Ok(failure(message, list))
}

/// Cuts a stream after its first document, which is all that Go's reader looks at.
pub fn first_document(text: &str) -> &str {
    let mut content = false;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let marker =
            line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if marker && content {
            return &text[..at];
        }
        if content && line.strip_prefix("...").is_some_and(|rest| rest.trim().is_empty()) {
            return &text[..at];
        }
        let bare = line.trim();
        content |= marker || !(bare.is_empty() || bare.starts_with('#') || line.starts_with('%'));
        at += line.len();
    }
    text
}

/// Reads the first document of a text as Go does on its way through JSON: every number is a float.
///
/// # Errors
/// What is wrong with the text.
pub fn read(text: &str) -> Result<Value, String> {
    let documents =
        yaml::documents(first_document(text), &yaml::Options::lenient()).map_err(|error| error.to_string())?;
    match documents.into_iter().next() {
        Some(node) => from_node(&node),
        None => Ok(Value::Nil),
    }
}

/// Turns a YAML node into a value.
///
/// # Errors
/// What JSON cannot hold.
pub fn from_node(node: &yaml::Node) -> Result<Value, String> {
    Ok(match &node.value {
        yaml::Value::Null => Value::Nil,
        yaml::Value::Bool(truth) => Value::Bool(*truth),
        yaml::Value::Int(number) => Value::Float(*number as f64),
        yaml::Value::UInt(number) => Value::Float(*number as f64),
        yaml::Value::Float(number) if number.is_finite() => Value::Float(*number),
        yaml::Value::Float(number) => return Err(format!("json: unsupported value: {number}")),
        yaml::Value::String(text) => Value::str(text.as_str()),
        yaml::Value::Seq(items) => {
            let mut list = Vec::with_capacity(items.len());
            for item in items {
                list.push(from_node(item)?);
            }
            Value::list(list)
        }
        yaml::Value::Map(entries) => {
            let mut map = Map::new();
            for (key, value) in entries {
                let Some(name) = key.key() else {
                    return Err(format!("unsupported map key of type {}", key.kind_name()));
                };
                let name = Str::from(&*name);
                map.insert(name, from_node(value)?);
            }
            Value::dict(map)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_first_document() {
        assert_eq!(first_document("---\na: 1\n---\nb: [\n"), "---\na: 1\n");
        assert_eq!(first_document("# c\n\n---\na: 1\n"), "# c\n\n---\na: 1\n");
        assert_eq!(first_document("a: 1\n---\n"), "a: 1\n");
        assert_eq!(first_document("a: 1\n...\n]\n"), "a: 1\n");
        assert_eq!(first_document("a: |\n ---x\n"), "a: |\n ---x\n");
    }
}
