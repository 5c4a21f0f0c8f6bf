//! The YAML reader against what helm says about a hundred documents. The facts are kept outside the repository; the
//! variable `BUNDLE_ORACLE` names the folder that holds `yaml.json`.

use std::{fs, path::Path};

use airgap_bundler::yaml::{self, Options};
use serde_json::Value;

/// Documents where this reader deliberately knows better than the oracle's question shows.
const DIFFERENT: &[(&str, &str)] = &[
    ("dq escapes", "the escape of a slash, which JSON and YAML 1.2 have, is read"),
    ("doc end then garbage", "what follows a document's end is a mistake, not nothing"),
    ("emoji", "JSON's surrogate pairs are refused in YAML only"),
    ("root list", "the oracle's question asks for a mapping; a list is a document"),
    ("root scalar", "the oracle's question asks for a mapping; a scalar is a document"),
    ("deep nesting 300", "allowed up to the limit that the caller sets"),
];

fn same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => ours == theirs,
    }
}

#[test]
fn agrees_with_helm() {
    let Ok(folder) = std::env::var("BUNDLE_ORACLE") else {
        eprintln!("SKIPPED: BUNDLE_ORACLE does not name the folder with yaml.json");
        return;
    };
    let text = fs::read_to_string(Path::new(&folder).join("yaml.json")).unwrap();
    // serde_json refuses to nest as deep as one of the answers does.
    let facts = yaml::documents(&text, &Options::lenient()).unwrap().remove(0).to_json().unwrap();
    let cases = facts.as_array().unwrap();
    assert!(cases.len() > 100);
    let mut differs = Vec::new();
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let source = case["yaml"].as_str().unwrap();
        let accepted = case["helm4_fromYaml"][0] == "OK";
        let expected = &case["helm4_fromYaml"][1];
        let ours = yaml::documents(source, &Options::lenient())
            .and_then(|found| found.first().map_or_else(|| Ok(serde_json::json!({})), |first| first.to_json()));
        let agrees = match &ours {
            Ok(value) => accepted && same(value, expected),
            Err(_) => !accepted,
        };
        if !agrees && !DIFFERENT.iter().any(|(known, _)| *known == name) {
            differs.push(format!("{name}: {source:?}\n  ours {ours:?}\n  helm {expected}"));
        }
    }
    assert!(differs.is_empty(), "{} of {} differ:\n{}", differs.len(), cases.len(), differs.join("\n"));
}
