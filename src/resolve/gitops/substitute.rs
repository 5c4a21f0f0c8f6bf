//! Variables of a Flux Kustomization, `${name}`, in what it builds (drone/envsubst, kustomize-controller "Post build variable
//! substitution").
//!
//! Flux replaces in the text of an object, so that a value may become a number or a flag; here it happens value by value.

use std::collections::BTreeMap;

use crate::{
    kube::Object,
    yaml::{self, Node, Value},
};

/// The label or annotation that switches it off for an object.
const SWITCH: &str = "kustomize.toolkit.fluxcd.io/substitute";

/// How deep a default may hold further variables.
const DEPTH: usize = 16;

/// How long a text may become.
const LONGEST: usize = 4 << 20;

/// Replaces the variables in an object.
pub(super) fn apply(object: &mut Object, variables: &BTreeMap<String, String>) {
    let off = |field: &str| {
        let value = object.node.at_path(["metadata", field])?.get(SWITCH)?;
        Some(value.text() == Some("disabled"))
    };
    if off("labels").unwrap_or(false) || off("annotations").unwrap_or(false) {
        return;
    }
    replace(&mut object.node, variables);
    let metadata = |field: &str| object.node.at_path(["metadata", field]).and_then(Node::text).map(str::to_owned);
    let (name, namespace) = (metadata("name"), metadata("namespace"));
    if let Some(name) = name {
        object.name = name;
    }
    if namespace.is_some() {
        object.namespace = namespace;
    }
}

fn replace(node: &mut Node, variables: &BTreeMap<String, String>) {
    match &mut node.value {
        Value::String(text) => {
            if !text.contains('$') {
                return;
            }
            let Some(new) = expand(text, variables, 0) else { return };
            if new == *text {
                return;
            }
            let at = node.at;
            *node = retyped(new);
            node.at = at;
        }
        Value::Seq(items) => items.iter_mut().for_each(|item| replace(item, variables)),
        Value::Map(entries) => entries.iter_mut().for_each(|(_, value)| replace(value, variables)),
        _ => {}
    }
}

/// Reads a text as the value that it is in YAML; what is no single value stays text.
fn retyped(text: String) -> Node {
    let mark = yaml::Mark::START;
    if !text.contains('\n')
        && let Ok(mut documents) = yaml::documents(&text, &yaml::Options::default())
        && documents.len() == 1
        && let Some(node) = documents.pop()
        && node.as_map().is_none()
        && node.as_seq().is_none()
        // A comment in a value was part of it before.
        && (node.as_str().is_none_or(|read| read == text) || text.starts_with(['"', '\'']))
    {
        return node;
    }
    Node::new(Value::String(text), mark)
}

/// Replaces the variables in a text; nothing when what it says is no expression.
fn expand(text: &str, variables: &BTreeMap<String, String>, depth: usize) -> Option<String> {
    if depth > DEPTH {
        return None;
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(after) = after.strip_prefix("${") {
            // Two of them stand for one.
            out.push_str("${");
            rest = after;
        } else if let Some(inner) = after.strip_prefix('{') {
            let end = closing(inner)?;
            out.push_str(&value(&inner[..end], variables, depth)?);
            rest = &inner[end + 1..];
        } else {
            out.push('$');
            rest = after;
        }
        if out.len() > LONGEST {
            return None;
        }
    }
    out.push_str(rest);
    Some(out)
}

/// Finds the brace that closes an expression.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' if at > 0 && text.as_bytes()[at - 1] == b'$' => open += 1,
            b'}' if open == 0 => return Some(at),
            b'}' => open -= 1,
            _ => {}
        }
    }
    None
}

/// Evaluates what stands between the braces.
fn value(expression: &str, variables: &BTreeMap<String, String>, depth: usize) -> Option<String> {
    let (length, expression) = match expression.strip_prefix('#') {
        Some(rest) => (true, rest),
        None => (false, expression),
    };
    let end = expression.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(expression.len());
    let (name, operation) = expression.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let own = variables.get(name).map(String::as_str);
    let found = own.unwrap_or_default();
    if length {
        return Some(found.chars().count().to_string());
    }
    let inner = |text: &str| expand(text, variables, depth + 1);
    // `:-` and `:=` take the place of an empty value, `-` and `=` of one that is not there.
    for (mark, empty) in [(":=", true), (":-", true), ("=", false), ("-", false)] {
        if let Some(default) = operation.strip_prefix(mark) {
            let absent = if empty { found.is_empty() } else { own.is_none() };
            return if absent { inner(default) } else { Some(found.to_owned()) };
        }
    }
    if let Some(other) = operation.strip_prefix(":+").or_else(|| operation.strip_prefix('+')) {
        return if found.is_empty() { Some(String::new()) } else { inner(other) };
    }
    match operation {
        "" => return Some(found.to_owned()),
        "^^" => return Some(found.to_uppercase()),
        ",," => return Some(found.to_lowercase()),
        "^" | "," => {
            let mut rest = found.chars();
            let first: String = rest.next().map(String::from).unwrap_or_default();
            let first = if operation == "^" { first.to_uppercase() } else { first.to_lowercase() };
            return Some(first + rest.as_str());
        }
        _ => {}
    }
    if let Some(range) = operation.strip_prefix(':') {
        let (from, count) = range.split_once(':').map_or((range, None), |(from, count)| (from, Some(count)));
        let from: usize = from.trim().parse().ok()?;
        let count: usize = count.map_or(Some(usize::MAX), |count| count.trim().parse().ok())?;
        return Some(found.chars().skip(from).take(count).collect());
    }
    if let Some(pair) = operation.strip_prefix('/') {
        let (all, pair) = pair.strip_prefix('/').map_or((false, pair), |pair| (true, pair));
        let (old, new) = pair.split_once('/').unwrap_or((pair, ""));
        return Some(if all { found.replace(old, new) } else { found.replacen(old, new, 1) });
    }
    for (mark, is_start) in [("##", true), ("#", true), ("%%", false), ("%", false)] {
        if let Some(pattern) = operation.strip_prefix(mark) {
            return Some(trimmed(found, pattern, is_start, mark.len() == 2));
        }
    }
    None
}

/// Removes what a pattern with `*` matches at the beginning or the end, as little or as much as possible.
fn trimmed(text: &str, pattern: &str, is_start: bool, longest: bool) -> String {
    // As in a shell, `*` passes over `/` too, which is nothing special here.
    let plain = |text: &str| text.replace('/', "\u{1}");
    let pattern = plain(pattern);
    let mut cuts: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    // The shortest piece first.
    if !is_start {
        cuts.reverse();
    }
    if longest {
        cuts.reverse();
    }
    for cut in cuts {
        let (head, tail) = text.split_at(cut);
        let (piece, rest) = if is_start { (head, tail) } else { (tail, head) };
        if crate::helm::glob::shell_match(&pattern, &plain(piece)) == Some(true) {
            return rest.to_owned();
        }
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn variables() -> BTreeMap<String, String> {
        [("region", "eu-west-1"), ("tag", "1.10"), ("on", "true"), ("empty", ""), ("path", "a/b/c.tar.gz")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn expressions_are_those_of_flux() {
        for (text, expected) in [
            ("x-${region}-y", "x-eu-west-1-y"),
            ("${gone}", ""),
            ("${gone:=default}", "default"),
            ("${gone:-${region}}", "eu-west-1"),
            ("${empty:-x} ${empty-x}", "x "),
            ("$${region} $region ${region:0:2} ${#tag}", "${region} $region eu 4"),
            ("${region//-/_} ${region/-/_} ${tag^^} ${region^}", "eu_west_1 eu_west-1 1.10 Eu-west-1"),
            ("${path##*/}", "c.tar.gz"),
            ("${path%.*} ${path%%.*}", "a/b/c.tar a/b/c"),
        ] {
            assert_eq!(expand(text, &variables(), 0).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(expand("${a b}", &variables(), 0), None);
        assert_eq!(expand("${open", &variables(), 0), None);
    }

    #[test]
    fn values_take_the_type_that_they_are_written_with() {
        let text = "apiVersion: v1\nkind: X\nmetadata: {name: 'x-${region}'}\nspec: {isOn: '${on}', image: 'a:${tag}', number: '${n:=3}', script: |\n  echo ${region}\n  }\n";
        let text = text.replace("script: |\n  echo ${region}\n  }", "script: \"${region}\\n\"}");
        let mut object = crate::kube::object::objects("x", &text).unwrap().remove(0);
        apply(&mut object, &variables());
        let json = object.node.to_json().unwrap();
        assert_eq!(
            json["spec"],
            serde_json::json!({"isOn": true, "image": "a:1.10", "number": 3, "script": "eu-west-1\n"})
        );
        assert_eq!(object.name, "x-eu-west-1");
        let off = text.replace("metadata: {", &format!("metadata: {{annotations: {{{SWITCH}: disabled}}, "));
        let mut object = crate::kube::object::objects("x", &off).unwrap().remove(0);
        apply(&mut object, &variables());
        assert_eq!(object.name, "x-${region}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_makes_it_panic(text in "([$]|[{]|[}]|region|:=|:-|/|#|%|\\*|[0-9ä]|gone){0,24}") {
            let _ = expand(&text, &variables(), 0);
        }
    }
}
