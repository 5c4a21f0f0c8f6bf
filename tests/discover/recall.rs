//! Recall and precision of every class against the corpus: `BUNDLE_CORPUS=… cargo test --test main discover::recall -- --nocapture`.
//!
//! The facts hold the images of pod specs, which are exact, and suspects outside pod specs, which an independent program found
//! by its own heuristics. Recall counts which of both are found; precision counts what is found above class guess and is
//! neither. Whatever is found above class guess outside pod specs, and whatever authors of charts list, was looked at by eye once:
//! the verdicts are in `tests/data/discover/verdicts.txt`, and a finding without one fails.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use airgap_bundler::{
    discover::{self, Confidence, Step},
    helm::{Chart, Origin},
    kube::object,
    resolve::charts::{unpack, unpack_inner},
};
use serde_json::Value;

use super::{corpus, read_gzip, read_json};

/// What the independent scan takes for an image and is none, by the start of the place.
const NOT_IMAGES: &[(&str, &str)] = &[
    ("clickhouse/clickhouse-server:22.3", "a file of examples that the operator only keeps"),
    ("busybox:1.28", "a comment in istio's injection template"),
    ("gcr.io/istio-release", "a hub, the front part of images"),
    ("840364872350.dkr.ecr.us-west-2.amazonaws.com/aws-appmesh-envoy", "half a reference: the tag is another flag"),
];

#[derive(Default)]
struct Tally {
    /// Suspect rule → found, all.
    recall: BTreeMap<String, (usize, usize)>,
    /// Class and rule of the finding → in the facts, all.
    precision: BTreeMap<String, (usize, usize)>,
    missed: BTreeSet<String>,
    surplus: BTreeSet<String>,
    /// Class and reference of everything above class guess outside pod specs, and of what authors list.
    sure: BTreeSet<(Confidence, String)>,
}

/// A line is a class, a reference, and `yes` or `no` with the reason.
const VERDICTS: &str = include_str!("../data/discover/verdicts.txt");

/// At most so many of a thousand findings above class guess may be no image.
const WRONG: usize = 10;

impl Tally {
    fn count(&mut self, id: &str, text: &str, facts: &Value) {
        let Ok(objects) = object::objects(id, text) else { return };
        let found = discover::find_all(&objects, Vec::new());
        let written: BTreeSet<&str> = found.findings.iter().map(|finding| finding.written.as_str()).collect();
        let texts = |list: &str, key: &str| -> Vec<(String, String)> {
            let entry = |item: &Value| {
                let text = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
                if item.is_string() {
                    (item.as_str().unwrap_or_default().to_owned(), "pod spec".to_owned())
                } else {
                    (text(key), text("rule"))
                }
            };
            facts[list].as_array().map(|items| items.iter().map(entry).collect()).unwrap_or_default()
        };
        let images = texts("images", "image");
        let suspects = texts("suspects", "ref");
        let known: BTreeSet<&str> = images.iter().chain(&suspects).map(|(image, _)| image.as_str()).collect();
        let unique: BTreeSet<(String, String)> = images.iter().chain(&suspects).cloned().collect();
        for (image, rule) in unique {
            if NOT_IMAGES.iter().any(|(known, _)| *known == image)
                || image == "auto"
                || image.parse::<airgap_bundler::oci::Reference>().is_err()
            {
                continue;
            }
            let rule =
                rule.split(':').take(if rule.starts_with("configmap") { 2 } else { 1 }).collect::<Vec<_>>().join(":");
            let (hits, all) = self.recall.entry(rule.clone()).or_default();
            *all += 1;
            // A name without tag may have been completed by one that stands elsewhere.
            let completed =
                |found: &&str| found.strip_prefix(image.as_str()).is_some_and(|rest| rest.starts_with([':', '@']));
            if written.contains(image.as_str()) || written.iter().any(completed) {
                *hits += 1;
            } else {
                self.missed.insert(format!("{rule:28} {image}  ({id})"));
            }
        }
        let mut seen = BTreeSet::new();
        for finding in &found.findings {
            let rule = finding.provenance.iter().rev().find_map(|step| match step {
                Step::Rule { rule } => Some(rule.as_str()),
                _ => None,
            });
            let rule = rule.unwrap_or("pod spec");
            if !seen.insert((finding.written.as_str(), finding.confidence, rule)) {
                continue;
            }
            if finding.confidence < Confidence::Guess && rule != "pod spec" {
                self.sure.insert((finding.confidence, finding.written.clone()));
            }
            let shown = match finding.confidence {
                Confidence::Rule if rule.starts_with("default in") => "default".to_owned(),
                Confidence::Rule if rule.starts_with("schema of") => "schema of a definition".to_owned(),
                Confidence::Rule if rule.starts_with("annotation") => "annotation".to_owned(),
                Confidence::Rule if rule.contains("override:") => "implied".to_owned(),
                Confidence::Rule if rule.contains('.') => "kind".to_owned(),
                _ => rule.to_owned(),
            };
            let class = format!("{} {shown}", finding.confidence);
            let (hits, all) = self.precision.entry(class.clone()).or_default();
            *all += 1;
            if known.contains(finding.written.as_str()) {
                *hits += 1;
            } else {
                self.surplus.insert(format!("{class:28} {}  {finding}  ({id})", finding.written));
            }
        }
    }

    /// Takes what the author of a chart lists.
    fn list(&mut self, archive: &Path) {
        let bytes = fs::read(archive).unwrap().into();
        let Ok(tree) = unpack(archive, &bytes) else { return };
        let Ok(chart) = Chart::load(&tree, Origin::Archive, &unpack_inner) else { return };
        let annotations = chart.metadata.annotations.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        for finding in discover::chart_annotations("Chart.yaml", annotations).findings {
            self.sure.insert((finding.confidence, finding.written));
        }
    }

    /// Compares what is sure with the verdicts; returns what has none, and how many are no images, of all.
    fn judge(&self) -> (Vec<String>, usize, usize) {
        let verdicts: BTreeMap<(&str, &str), &str> = VERDICTS
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| {
                let mut words = line.splitn(3, ' ');
                let mut word = || words.next().unwrap_or_default();
                ((word(), word()), word())
            })
            .collect();
        let is_image = |one: &(Confidence, String)| -> Option<bool> {
            verdicts.get(&(one.0.as_str(), one.1.as_str())).map(|verdict| verdict.starts_with("yes"))
        };
        let open = self.sure.iter().filter(|one| is_image(one).is_none());
        let open = open.map(|(class, written)| format!("{class} {written}")).collect();
        let wrong = self.sure.iter().filter(|one| is_image(one) == Some(false));
        (open, wrong.count(), self.sure.len())
    }

    fn print(&self) {
        let percent = |hits: usize, all: usize| 100.0 * hits as f64 / all.max(1) as f64;
        eprintln!("recall by the class of the facts");
        for (rule, (hits, all)) in &self.recall {
            eprintln!("  {rule:32} {hits:6} of {all:6}  {:6.2} %", percent(*hits, *all));
        }
        eprintln!("findings that the facts name too, by our class");
        for (rule, (hits, all)) in &self.precision {
            eprintln!("  {rule:48} {hits:6} of {all:6}  {:6.2} %", percent(*hits, *all));
        }
        if let Ok(path) = std::env::var("BUNDLE_RECALL_DETAILS") {
            let lines = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join("\n");
            let sure: BTreeSet<String> =
                self.sure.iter().map(|(class, written)| format!("{class} {written}")).collect();
            let text =
                format!("MISSED\n{}\nSURPLUS\n{}\nSURE\n{}\n", lines(&self.missed), lines(&self.surplus), lines(&sure));
            std::fs::write(path, text).unwrap();
        }
    }
}

#[test]
fn every_class_against_an_independent_scan() {
    let Some(folder) = corpus() else { return };
    let mut tally = Tally::default();
    let charts = read_json(&folder.join("cases.json"));
    for case in charts.as_array().unwrap().iter().filter(|case| case["helm4_ok"] == true) {
        let id = case["id"].as_str().unwrap();
        let (rendered, facts) =
            (folder.join(format!("expected/{id}.yaml.gz")), folder.join(format!("images/{id}.json")));
        if case["cat"] == "real" && id.ends_with("__default") {
            tally.list(&folder.join(case["chart"].as_str().unwrap()));
        }
        if rendered.exists() && facts.exists() {
            tally.count(id, &read_gzip(&rendered), &read_json(&facts));
        }
    }
    let manifests = read_json(&folder.join("manifests/cases.json"));
    for case in manifests.as_array().unwrap() {
        let text = read_gzip(&folder.join(case["file"].as_str().unwrap()));
        tally.count(case["id"].as_str().unwrap(), &text, &read_json(&folder.join(case["images"].as_str().unwrap())));
    }
    let built = read_json(&folder.join("kustomize/cases.json"));
    for case in built.as_array().unwrap() {
        let (Some(output), Some(images)) = (case["output"].as_str(), case["images"].as_str()) else { continue };
        if folder.join(output).exists() && folder.join(images).exists() {
            tally.count(
                case["id"].as_str().unwrap(),
                &read_gzip(&folder.join(output)),
                &read_json(&folder.join(images)),
            );
        }
    }
    tally.print();
    let (hits, all) = tally.recall.values().fold((0, 0), |sum, (hits, all)| (sum.0 + hits, sum.1 + all));
    assert!(hits * 1000 >= all * 998, "recall fell: {hits} of {all}");
    let (open, wrong, sure) = tally.judge();
    assert!(open.is_empty(), "look at these and add a verdict each:\n{}", open.join("\n"));
    eprintln!("{sure} findings above class guess outside pod specs, {wrong} of them no image");
    assert!(wrong * 1000 <= sure * WRONG, "precision fell: {wrong} of {sure} are no images");
    assert_eq!(tally.recall["pod spec"].0, tally.recall["pod spec"].1, "an image of a pod spec is missed");
}
