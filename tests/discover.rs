//! Discovery against a corpus of real install manifests, with image lists made by an independent program. The corpus is
//! kept outside the repository; the variable `BUNDLE_CORPUS` names its folder.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // This is a test: a panic is its answer.

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

#[test]
fn install_manifests_name_the_images_that_an_independent_scan_finds() {
    let Some(folder) = corpus() else { return };
    let cases = read_json(&folder.join("manifests/cases.json"));
    let cases = cases.as_array().unwrap();
    let (mut differs, mut images) = (Vec::new(), 0);
    for case in cases {
        let id = case["id"].as_str().unwrap();
        let text = read_gzip(&folder.join(case["file"].as_str().unwrap()));
        let facts = read_json(&folder.join(case["images"].as_str().unwrap()));
        let expected: BTreeSet<&str> = facts["images"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let objects = match object::objects(id, &text) {
            Ok(objects) => objects,
            Err(wrong) => {
                differs.extend(wrong.iter().map(ToString::to_string));
                continue;
            }
        };
        let found = discover::find(&objects);
        let written: BTreeSet<&str> = found.findings.iter().map(|finding| finding.written.as_str()).collect();
        images += written.len();
        if written != expected || found.findings.len() != facts["uses"].as_array().unwrap().len() {
            differs.push(format!("{id}: found {written:?}, expected {expected:?}"));
        }
        differs.extend(found.diagnostics.iter().filter(|d| d.severity == Severity::Error).map(ToString::to_string));
        for finding in &found.findings {
            let Some(discover::Step::File { line: Some(line), .. }) = finding.provenance.first() else {
                differs.push(format!("{id}: {finding} has no line"));
                continue;
            };
            let line = text.lines().nth(*line as usize - 1).unwrap_or_default();
            if !line.contains(&finding.written) {
                differs.push(format!("{id}: {finding} is not in line {line:?}"));
            }
        }
        for diagnostic in &found.diagnostics {
            eprintln!("{diagnostic}");
        }
    }
    eprintln!("{} manifests, {images} images", cases.len());
    assert!(differs.is_empty(), "{} differences:\n{}", differs.len(), differs.join("\n"));
}
