//! How many of the images that authors list in annotations are found: by rendering, by trying other values.

use std::{collections::BTreeSet, path::Path};

use airgap_bundler::{discover::Step, lock::Why};
use serde_json::Value;

use super::gather;

#[derive(Default)]
struct Tally {
    charts: usize,
    listed: usize,
    rendered: usize,
    tried: usize,
    further: usize,
    out: usize,
}

pub fn main(corpus: &Path) {
    let cases: Value = serde_json::from_slice(&std::fs::read(corpus.join("cases.json")).unwrap()).unwrap();
    let only = std::env::var("BENCH_ONLY").unwrap_or_default();
    let details = std::env::var_os("BENCH_DETAILS").is_some();
    let (mut tally, mut seconds) = (Tally::default(), Vec::new());
    let place = tempfile::tempdir().unwrap();
    for case in cases.as_array().unwrap() {
        let id = case["id"].as_str().unwrap();
        let plain = case["cat"] == "real" && case["helm4_ok"] == true && id.ends_with("__default");
        if !plain || !id.contains(&only) {
            continue;
        }
        std::fs::copy(corpus.join(case["chart"].as_str().unwrap()), place.path().join("c.tgz")).unwrap();
        let spec = |optional: &str| {
            format!(
                "apiVersion: airgap-bundler/v1\nkind: Bundle\nmetadata: {{name: b, version: 1.0.0}}\nkubernetes: {{version: \"1.33\"}}\ncharts: [{{name: rel, path: c.tgz, namespace: ns}}]\ndiscovery: {{guesses: include, optional: {optional}}}\n"
            )
        };
        let started = std::time::Instant::now();
        if gather(place.path(), &spec("ignore")).is_err() {
            continue;
        }
        let plain = started.elapsed().as_secs_f64();
        let started = std::time::Instant::now();
        let Ok((_, wanted)) = gather(place.path(), &spec("list")) else { continue };
        let took = started.elapsed().as_secs_f64() - plain;
        let ran_out = wanted.warnings.iter().any(|warning| warning.code == "optional-budget");
        tally.out += usize::from(ran_out);
        seconds.push((took, plain, id.to_owned()));
        let is_listed = |provenance: &[Step]| {
            let mut steps = provenance.iter();
            steps.any(|step| matches!(step, Step::File { file, .. } if file == "Chart.yaml" || file == "Images.lock"))
                // The chart's own list, not that of one inside.
                && provenance.iter().filter(|step| matches!(step, Step::Chart { .. })).count() == 1
        };
        let is_tried = |provenance: &[Step]| provenance.iter().any(|step| matches!(step, Step::Set { .. }));
        let rendered: BTreeSet<String> = wanted
            .images
            .iter()
            .filter(|(_, image)| image.because.iter().any(|reason| is_listed(&reason.provenance)))
            .map(|(name, _)| name.to_string())
            .collect();
        let left = wanted.not_carried.iter().filter(|one| one.why == Why::Optional);
        let (mut tried, mut missed, mut further) = (0, Vec::new(), Vec::new());
        for one in left {
            let listed = one.because.iter().any(|reason| is_listed(&reason.provenance));
            let set = one.because.iter().find(|reason| is_tried(&reason.provenance));
            match (listed, set) {
                (true, Some(_)) => tried += 1,
                (true, None) => missed.push(one.image.to_string()),
                (false, Some(set)) => further.push(format!("{} {set}", one.image)),
                (false, None) => {}
            }
        }
        if rendered.len() + tried + missed.len() > 0 {
            tally.charts += 1;
            tally.listed += rendered.len() + tried + missed.len();
            tally.rendered += rendered.len();
            tally.tried += tried;
        }
        tally.further += further.len();
        if details {
            println!("{id}: {took:.3} s over {plain:.3} s{}", if ran_out { ", budget ran out" } else { "" });
            missed.iter().for_each(|image| println!("    missed {image}"));
            for one in wanted.not_carried.iter().filter(|one| one.why == Why::Optional) {
                if let Some(set) = one.because.iter().find(|reason| is_tried(&reason.provenance)) {
                    println!("    {} {set}", one.image);
                }
            }
            wanted
                .warnings
                .iter()
                .filter(|warning| warning.code == "optional-budget")
                .for_each(|w| println!("    {w}"));
        }
    }
    let percent = |part: usize| 100.0 * part as f64 / tally.listed.max(1) as f64;
    println!(
        "{} charts list {} images: {} ({:.1} %) are rendered with default values, {} more by trying ({:.1} % together)",
        tally.charts,
        tally.listed,
        tally.rendered,
        percent(tally.rendered),
        tally.tried,
        percent(tally.rendered + tally.tried)
    );
    println!(
        "{} further images that no list names; the budget ran out for {} of {} charts",
        tally.further,
        tally.out,
        seconds.len()
    );
    let (all, base) = seconds.iter().fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    println!("trying took {all:.2} s over {base:.2} s");
    seconds.sort_by(|a, b| b.0.total_cmp(&a.0));
    seconds.iter().take(8).for_each(|(took, plain, id)| println!("  {took:.3} s over {plain:.3} s  {id}"));
}
