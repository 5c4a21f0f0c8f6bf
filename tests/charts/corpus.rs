//! Well-known charts, from a repository and from a registry, with the images that an independent program finds in what helm
//! renders. The corpus is kept outside the repository; the variable `BUNDLE_CORPUS` names its folder.
//! `BUNDLE_CORPUS_CHARTS=all` takes every chart that renders with its defaults, which takes minutes.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use airgap_bundler::{
    discover::Confidence,
    helm::{Chart, Origin, Package},
    oci::{Reference, media_type},
    resolve::{
        Wanted,
        charts::{unpack, unpack_inner},
    },
};
use serde_json::Value;

use super::Desk;
use crate::support::{registry::Registry, repository::Repository};

const KNOWN: &[&str] = &[
    "argoproj__argo-helm__argo-cd-10.1.1",
    "aquasecurity__trivy-operator__trivy-operator-0.34.0",
    "bitnami__charts__harbor-27.0.4",
    "bitnami__charts__redis-23.1.1",
    "bitnami__charts__postgresql-ha-16.3.4",
    "bitnami__charts__contour-21.1.5",
    "external-secrets__external-secrets__external-secrets-2.9.0",
    "goharbor__harbor-helm__harbor-1.4.0-dev",
    "grafana__helm-charts__loki-stack-2.10.3",
    "hashicorp__vault-helm__vault-0.34.1",
    "kubernetes-sigs__metrics-server__metrics-server-3.13.1",
    "kubernetes__ingress-nginx__ingress-nginx-4.15.1",
    "longhorn__charts__longhorn-1.6.1-rc3",
    "DandyDeveloper__charts__redis-ha-4.39.0",
    "apache__pulsar-helm-chart__pulsar-4.7.0",
];

/// Charts whose rendering the independent program cannot read: helm and kubectl take it, stricter readers of YAML do not.
const UNREAD: &[&str] = &["helm__charts__pgadmin-1.2.3"];

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Returns the images that helm's rendering names in pod specs, but for those of tests; none when one of them is no image.
fn expected(facts: &Value) -> Option<BTreeSet<String>> {
    let name = |text: &str| Some(text.parse::<Reference>().ok()?.with_default_tag().to_string());
    let uses = facts["uses"].as_array().unwrap().iter();
    uses.filter(|one| !one["hook"].to_string().contains("test"))
        .map(|one| name(one["image"].as_str().unwrap()))
        .collect()
}

/// Returns the images of pod specs by entry.
fn found(wanted: &Wanted) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, image) in &wanted.images {
        for reason in image.because.iter().filter(|reason| reason.confidence == Confidence::Schema) {
            found.entry(reason.provenance[0].to_string()).or_default().insert(name.to_string());
        }
    }
    found
}

#[test]
fn well_known_charts_name_the_images_that_helm_shows() {
    let Some(folder) = std::env::var_os("BUNDLE_CORPUS").map(std::path::PathBuf::from) else {
        eprintln!("SKIPPED: BUNDLE_CORPUS does not name the folder with the corpus");
        return;
    };
    let all = std::env::var("BUNDLE_CORPUS_CHARTS").as_deref() == Ok("all");
    let (repository, registry) = (Repository::start(), Registry::start());
    let (mut http, mut oci) = (String::from("charts:\n"), String::from("charts:\n"));
    let mut wanted: Vec<(String, BTreeSet<String>)> = Vec::new();
    for case in json(&folder.join("cases.json")).as_array().unwrap() {
        let id = case["id"].as_str().unwrap();
        let Some(known) = id.strip_suffix("__default") else { continue };
        let plain =
            case["helm4_ok"] == true && case["cat"] == "real" && !case["args"].to_string().contains("skip-schema");
        if !plain || UNREAD.contains(&known) || !(KNOWN.contains(&known) || all) {
            continue;
        }
        let facts = json(&folder.join(case["images"].as_str().unwrap()));
        let Some(images) = expected(&facts) else { continue };
        let bytes: bytes::Bytes = std::fs::read(folder.join(case["chart"].as_str().unwrap())).unwrap().into();
        let tree = unpack(Path::new(known), &bytes).unwrap();
        let metadata = Chart::load(&tree, Origin::Archive, &unpack_inner).unwrap().metadata;
        let (name, version) = (metadata.name.clone(), metadata.version.clone());
        let entry = format!("c{}", wanted.len());
        // Repositories have each name once.
        let place = format!("/{entry}/{name}.tgz");
        repository.put(&place, bytes.clone());
        repository.put(
            &format!("/{entry}/index.yaml"),
            format!("apiVersion: v1\nentries:\n  {name}:\n  - {{name: {name}, version: \"{version}\", urls: [{name}.tgz]}}\n"),
        );
        let package = Package::new(metadata, bytes, None);
        let path = format!("{entry}/{name}");
        for (descriptor, bytes) in &package.blobs {
            registry.put_blob(&path, descriptor.media_type.as_str(), bytes);
        }
        let tag = package.tag().unwrap();
        registry.put_manifest(&path, tag.as_str(), media_type::MANIFEST, &package.manifest.1);
        let rest = format!("version: \"{version}\", namespace: ns");
        // One name in one spec: a chart's name is the entry's where the repository is asked for it.
        if wanted.iter().all(|(known, _)| *known != name) {
            http.push_str(&format!("  - {{name: {name}, repo: \"{}/{entry}\", {rest}}}\n", repository.url()));
            oci.push_str(&format!("  - {{name: {name}, repo: \"oci://{}/{path}\", {rest}}}\n", registry.host()));
            wanted.push((name, images));
        }
    }
    assert!(wanted.len() >= 12, "only {} charts of the corpus can be used", wanted.len());
    let head = "kubernetes: {version: 1.33.0}\ndiscovery: {guesses: ignore}\n";
    let desk = Desk::new();
    let by_http = desk.gather(&format!("{head}{http}")).unwrap_or_else(|failed| panic!("{}", failed.told.join("\n")));
    let by_oci = desk.gather(&format!("{head}{oci}")).unwrap_or_else(|failed| panic!("{}", failed.told.join("\n")));
    let (one, two) = (found(&by_http), found(&by_oci));
    let mut wrong = Vec::new();
    for (at, (name, images)) in wanted.iter().enumerate() {
        for (place, found) in [("a repository", &one), ("a registry", &two)] {
            let found = found.get(&format!("charts[{at}]")).cloned().unwrap_or_default();
            if found != *images {
                wrong.push(format!("{name} from {place}: {found:?}, and helm shows {images:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (a, b) in by_http.charts.iter().zip(&by_oci.charts) {
        assert_eq!((&a.chart, a.archive, a.digest), (&b.chart, b.archive, b.digest));
    }
    println!("{} charts, {} images", wanted.len(), by_http.images.len());
}
