//! The hash that becomes part of a generated name, so that other content means another name.

use crate::oci::Digest;

use super::{
    Problem,
    node::{Content, Node},
    resource::Resource,
};

/// Returns the ten characters.
///
/// # Errors
/// The content cannot be JSON.
pub(super) fn of(resource: &Resource) -> Result<String, Problem> {
    let text = match resource.kind() {
        "ConfigMap" => fields(resource, &["binaryData"], false)?,
        "Secret" => fields(resource, &["stringData"], true)?,
        _ => return Err(Problem::NoHash),
    };
    // Characters that could spell words are swapped for others.
    let swap = |c: char| match c {
        '0' => 'g',
        '1' => 'h',
        '3' => 'k',
        'a' => 'm',
        'e' => 't',
        other => other,
    };
    Ok(Digest::sha256(text.as_bytes()).hex().chars().take(10).map(swap).collect())
}

/// Writes the JSON object that is hashed: known fields in the order of their names.
fn fields(resource: &Resource, optional: &[&str], is_secret: bool) -> Result<String, Problem> {
    let mut entries: Vec<(&str, String)> = vec![
        ("data", value(resource.node.get("data"))?),
        ("kind", json_text(resource.kind())),
        // kustomize looks for the name where it never is, so it is always empty.
        ("name", json_text("")),
    ];
    for name in optional {
        if let Some(node) = resource.node.get(name).filter(|node| node.as_map().is_some()) {
            entries.push((name, value(Some(node))?));
        }
    }
    if is_secret {
        entries.push(("type", value(resource.node.get("type"))?));
    }
    entries.sort();
    let entries: Vec<String> = entries.into_iter().map(|(name, json)| format!("{}:{json}", json_text(name))).collect();
    Ok(format!("{{{}}}", entries.join(",")))
}

fn value(node: Option<&Node>) -> Result<String, Problem> {
    match node {
        None => Ok("\"\"".to_owned()),
        Some(node) => match &node.content {
            Content::Scalar(scalar) => Ok(json_text(&scalar.text)),
            Content::List(_) => Ok("null".to_owned()),
            Content::Map(_) => json(&node.finish()?.to_json().map_err(Problem::Syntax)?),
        },
    }
}

fn json(value: &serde_json::Value) -> Result<String, Problem> {
    Ok(match value {
        serde_json::Value::Object(map) => {
            let mut entries: Vec<(&String, &serde_json::Value)> = map.iter().collect();
            entries.sort_by_key(|(name, _)| *name);
            let mut texts = Vec::with_capacity(entries.len());
            for (name, value) in entries {
                texts.push(format!("{}:{}", json_text(name), json(value)?));
            }
            format!("{{{}}}", texts.join(","))
        }
        serde_json::Value::Array(items) => {
            let items: Result<Vec<String>, Problem> = items.iter().map(json).collect();
            format!("[{}]", items?.join(","))
        }
        serde_json::Value::String(text) => json_text(text),
        other => other.to_string(),
    })
}

/// Writes a text as Go's encoding/json does, which also escapes what HTML could stumble over.
fn json_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
