//! The chart renderer against what the real helm answered (`tests/data/helm`, with the script that asked), and against
//! hostile input.

use std::collections::BTreeMap;

use airgap_bundler::{
    helm::{
        Ambient, Capabilities, Chart, Error, Limits, Options, Origin, Overrides, Release, Rendered, Time, render,
        template::{exec::Interp, parser},
    },
    tree::Tree,
};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value as Json;

const CHART: &str = "apiVersion: v2\nname: golden\nversion: 1.2.3\nappVersion: \"4.5\"\n";

fn chart(files: &[(&str, &str)]) -> Result<Chart, Error> {
    let tree: Tree = files
        .iter()
        .map(|(path, text)| (path.parse().unwrap(), Bytes::copy_from_slice(text.as_bytes())))
        .collect();
    Chart::load(&tree, Origin::Folder, &|_, _| Err("no archives here".to_owned()))
}

fn ambient() -> Ambient {
    Ambient { now: Time::unix(1_700_000_000), random: [7; 32] }
}

fn rendered(chart: &Chart, limits: &Limits) -> Result<Rendered, Error> {
    let capabilities = Capabilities::default().with_kube_version("1.33.0").unwrap();
    let release = Release::new("rel", "ns");
    render(chart, &Overrides::new(), &release, &capabilities, &ambient(), limits, &Options::default())
}

/// Renders one expression in the chart that the real helm was asked with.
fn evaluate(expression: &str, values: &str, files: &BTreeMap<String, String>) -> Result<String, String> {
    let partial = format!("{{{{- define \"x\" -}}}}{expression}{{{{- end -}}}}");
    let template = "kind: X\nv: {{ include \"x\" . | b64enc | quote }}\n";
    let mut all = vec![
        ("Chart.yaml", CHART),
        ("values.yaml", values),
        ("templates/_x.tpl", &partial),
        ("templates/x.yaml", template),
    ];
    all.extend(files.iter().map(|(path, text)| (path.as_str(), text.as_str())));
    let chart = chart(&all).map_err(|error| error.to_string())?;
    let rendered = rendered(&chart, &Limits::default()).map_err(|error| error.to_string())?;
    let text = &rendered.manifests[0].text;
    Ok(text.lines().find_map(|line| line.strip_prefix("v: \"")?.strip_suffix('"')).unwrap_or_default().to_owned())
}

fn base64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[test]
fn expressions_give_what_helm_gives() {
    let shared: Json = serde_json::from_str(include_str!("data/helm/chart.json")).unwrap();
    let values = shared["values"].as_str().unwrap();
    let files: BTreeMap<String, String> = serde_json::from_value(shared["files"].clone()).unwrap();
    let (mut count, mut wrong) = (0, Vec::new());
    for line in include_str!("data/helm/expressions.jsonl").lines() {
        let case: Json = serde_json::from_str(line).unwrap();
        let expression = case["expr"].as_str().unwrap();
        let have = evaluate(expression, values, &files);
        count += 1;
        let want = case["out"].as_str().map(base64).or_else(|| case["b64"].as_str().map(str::to_owned));
        let good = match (&have, &want) {
            (Ok(have), Some(want)) => have == want,
            (Err(_), None) => true,
            _ => false,
        };
        if !good {
            use base64::Engine;
            let have = have.map(|have| {
                let bytes = base64::engine::general_purpose::STANDARD.decode(have).unwrap_or_default();
                String::from_utf8_lossy(&bytes).into_owned()
            });
            let helm = case["out"].as_str().or(case["error"].as_str()).unwrap_or("bytes");
            wrong.push(format!("{expression}\n   helm: {helm:?}\n   here: {have:?}"));
        }
    }
    assert!(count >= 1500, "only {count} expressions");
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong.join("\n"));
}
