//! Discovery against a corpus of real install manifests, with image lists made by an independent program. The corpus is
//! kept outside the repository; the variable `BUNDLE_CORPUS` names its folder.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // This is a test: a panic is its answer.

mod classes;
mod probes;
mod recall;

use std::{
    collections::BTreeSet,
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use airgap_bundler::{discover, error::Severity, kube::object};
use serde_json::Value;

fn corpus() -> Option<PathBuf> {
    let folder = std::env::var_os("BUNDLE_CORPUS").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("SKIPPED: BUNDLE_CORPUS does not name the folder with the corpus");
    }
    folder
}

fn read_gzip(path: &Path) -> String {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Compares what is found in one text with the facts about it; returns what differs and how many images there are.
fn compare(id: &str, text: &str, facts: &Value) -> (Vec<String>, usize) {
    let objects = match object::objects(id, text) {
        Ok(objects) => objects,
        Err(wrong) => return (wrong.iter().map(ToString::to_string).collect(), 0),
    };
    let found = discover::find(&objects);
    let written: BTreeSet<&str> = found.findings.iter().map(|finding| finding.written.as_str()).collect();
    let expected: BTreeSet<&str> = facts["images"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let mut differs = Vec::new();
    let uses = facts["uses"].as_array().map_or(0, Vec::len);
    if written != expected || found.findings.len() != uses {
        differs.push(format!(
            "{id}: found {} times {written:?}, expected {uses} times {expected:?}",
            found.findings.len()
        ));
    }
    differs.extend(found.diagnostics.iter().filter(|d| d.severity == Severity::Error).map(ToString::to_string));
    let lines: Vec<&str> = text.lines().collect();
    for finding in &found.findings {
        let line = finding.provenance.iter().find_map(|step| match step {
            discover::Step::File { line: Some(line), .. } => lines.get(*line as usize - 1),
            _ => None,
        });
        // The value may begin in the line after its key.
        if !line.is_some_and(|line| line.contains(&finding.written) || line.trim_end().ends_with(['>', '-', '|'])) {
            differs.push(format!("{id}: {finding} is not in line {line:?}"));
        }
    }
    for diagnostic in found.diagnostics.iter().filter(|d| d.severity != Severity::Error) {
        eprintln!("{diagnostic}");
    }
    (differs, written.len())
}

#[test]
fn install_manifests_name_the_images_that_an_independent_scan_finds() {
    let Some(folder) = corpus() else { return };
    let cases = read_json(&folder.join("manifests/cases.json"));
    let cases = cases.as_array().unwrap();
    let (mut differs, mut images) = (Vec::new(), 0);
    for case in cases {
        let text = read_gzip(&folder.join(case["file"].as_str().unwrap()));
        let facts = read_json(&folder.join(case["images"].as_str().unwrap()));
        let (wrong, count) = compare(case["id"].as_str().unwrap(), &text, &facts);
        differs.extend(wrong);
        images += count;
    }
    eprintln!("{} manifests, {images} images", cases.len());
    assert!(differs.is_empty(), "{} differences:\n{}", differs.len(), differs.join("\n"));
}

/// Charts whose rendering is not what a cluster would take, or not what the independent scan could read.
const KNOWN: &[(&str, &str)] = &[
    ("SonarSource__helm-chart-sonarqube__sonarqube-azure-", "an unfilled __PLACEHOLDER__ is refused"),
    ("kiali__helm-charts__kiali-server-", "an unfilled ${VARIABLE} is refused"),
    ("zarf-dev__zarf__raw-init-zarf-agent-", "an unfilled ###VARIABLE### is refused"),
    ("zarf-dev__zarf__simple-chart-", "an unfilled ###VARIABLE### is refused"),
    ("zarf-dev__zarf__simple-helm-", "the scan counts a container without image"),
    ("VictoriaMetrics__helm-charts__crds-", "test data: a document that is no object"),
    ("helm__helm__", "test data: documents that are no objects"),
    ("helm__charts__pgadmin-", "the scan gives up at a tag that Go ignores"),
];

#[test]
fn rendered_charts_name_the_images_that_an_independent_scan_finds() {
    let Some(folder) = corpus() else { return };
    let cases = read_json(&folder.join("cases.json"));
    let (mut differs, mut images, mut count) = (Vec::new(), 0, 0);
    for case in cases.as_array().unwrap().iter().filter(|case| case["helm4_ok"] == true) {
        let id = case["id"].as_str().unwrap();
        let (rendered, facts) =
            (folder.join(format!("expected/{id}.yaml.gz")), folder.join(format!("images/{id}.json")));
        if !rendered.exists() || !facts.exists() {
            continue;
        }
        let (wrong, found) = compare(id, &read_gzip(&rendered), &read_json(&facts));
        if !KNOWN.iter().any(|(known, _)| id.starts_with(known)) {
            differs.extend(wrong);
        }
        images += found;
        count += 1;
    }
    eprintln!("{count} rendered charts, {images} images");
    assert!(differs.is_empty(), "{} differences:\n{}", differs.len(), differs.join("\n"));
}
