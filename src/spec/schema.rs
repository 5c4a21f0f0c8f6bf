//! The JSON schema of the language, made of the same tables that the parser uses.

use serde_json::{Map, Value, json};

use super::keys::{self, Key, Shape, Table};

/// Returns the JSON schema (draft 2020-12) of the spec, for editors.
pub fn schema() -> Value {
    let mut schema = object(&keys::BUNDLE);
    if let Value::Object(schema) = &mut schema {
        schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        schema.insert("title".to_owned(), json!("bundle.yaml"));
    }
    schema
}

fn object(table: &Table) -> Value {
    let properties: Map<String, Value> = table.keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let mut schema = json!({
        "type": "object",
        "description": table.about,
        "properties": properties,
        "additionalProperties": false,
    });
    let required: Vec<&str> = table.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if !table.one_of.is_empty() {
        schema["oneOf"] = table.one_of.iter().map(|name| json!({"required": [name]})).collect();
    }
    let dependent: Map<String, Value> = table
        .keys
        .iter()
        .filter_map(|key| key.only_with.map(|other| (key.name, other)))
        // An address and its digest need each other; so do a repository and a version.
        .flat_map(|(name, other)| [(name.to_owned(), json!([other])), (other.to_owned(), json!([name]))])
        .collect();
    if !dependent.is_empty() {
        schema["dependentRequired"] = Value::Object(dependent);
    }
    schema
}

fn property(key: &Key) -> Value {
    let mut schema = match &key.shape {
        Shape::Text => json!({"type": "string", "minLength": 1}),
        Shape::Version => json!({"type": ["string", "number"]}),
        Shape::Word(words) => json!({"enum": words}),
        Shape::Flag => json!({"type": "boolean"}),
        Shape::Texts => json!({"type": "array", "items": {"type": "string", "minLength": 1}}),
        Shape::Object(table) => object(table),
        Shape::Objects(table) => json!({"type": "array", "items": object(table)}),
        Shape::TextsOrObjects(table) => {
            json!({"type": "array", "items": {"anyOf": [{"type": "string", "minLength": 1}, object(table)]}})
        }
        Shape::ByName(table) => json!({"type": "object", "additionalProperties": object(table)}),
        Shape::Free => json!({"type": "object"}),
    };
    schema["description"] = json!(key.about);
    schema
}
