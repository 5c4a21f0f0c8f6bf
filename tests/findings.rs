//! What resolving finds outside pod specs, and what becomes of it: rules, defaults, guesses, kustomizations, lists of authors.

use std::{collections::BTreeSet, path::PathBuf};

use airgap_bundler::{
    discover::{Confidence, Finding},
    error::Kind,
    oci::Reference,
    resolve::Wanted,
};

use crate::{
    charts::{Desk, images, reasons},
    support::repository::{Repository, pod, simple},
};

const DEPLOYMENT: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: op}\nspec:\n  template:\n    spec:\n      containers:\n      - name: a\n        image: shop/op:1\n        args: [\"--reloader=quay.io/acme/reloader:v2\"]\n        env:\n        - {name: HELPER_IMAGE, value: \"ghcr.io/acme/helper:3\"}\n";

fn told(wanted: &Wanted) -> Vec<String> {
    wanted.warnings.iter().map(ToString::to_string).collect()
}

fn classes(wanted: &Wanted, image: &str) -> Vec<Confidence> {
    wanted.images[&image.parse().unwrap()].because.iter().map(|reason| reason.confidence).collect()
}

#[test]
fn undecided_guesses_are_all_told_with_place_and_remedy() {
    let desk = Desk::new();
    desk.write("deploy/op.yaml", DEPLOYMENT);
    let failed = desk.gather("manifests: [{path: deploy/}]\n").unwrap_err();
    failed.says(
        Kind::Incomplete,
        2,
        &[
            "deploy/op.yaml:10:1: \"quay.io/acme/reloader:v2\" looks like an image that is needed: manifests[0] → deploy/op.yaml:10 → Deployment op",
            "deploy/op.yaml:12:1: \"ghcr.io/acme/helper:3\"",
            "add `- {image: \"quay.io/acme/reloader:v2\"}` to `discovery.accept`",
        ],
    );
    // A mistake of the spec says more than a guess; both are told.
    desk.write("bad.yaml", "a: 1\n");
    desk.gather("manifests: [{path: deploy/}, {path: bad.yaml}]\n").unwrap_err().says(
        Kind::Usage,
        3,
        &["bad.yaml:1:1", "ghcr.io/acme/helper:3", "quay.io/acme/reloader:v2"],
    );
}

#[test]
fn patterns_decide_and_what_fits_nothing_is_told() {
    let desk = Desk::new();
    desk.write("op.yaml", DEPLOYMENT);
    let spec = "manifests: [{path: op.yaml}]\ndiscovery:\n  accept: [{image: \"quay.io/acme/*\"}, {image: \"quay.io/nobody/*\"}]\n  ignore:\n  - {image: \"ghcr.io/acme/helper:3\", reason: not used}\n  - {image: \"*/mistyped:*\"}\n";
    let wanted = desk.gather(spec).unwrap();
    assert_eq!(images(&wanted), ["docker.io/shop/op:1", "quay.io/acme/reloader:v2"]);
    assert_eq!(classes(&wanted, "quay.io/acme/reloader:v2"), [Confidence::Guess]);
    let warnings = told(&wanted);
    assert_eq!(warnings.len(), 2, "{warnings:#?}");
    assert!(warnings[0].starts_with("bundle.yaml:6:") && warnings[0].contains("quay.io/nobody/*"), "{warnings:#?}");
    assert!(warnings[1].starts_with("bundle.yaml:9:") && warnings[1].contains("*/mistyped:*"), "{warnings:#?}");
    // What the spec itself names needs no decision.
    let wanted = desk
        .gather("manifests: [{path: op.yaml}]\nimages: [quay.io/acme/reloader:v2, ghcr.io/acme/helper:3]\n")
        .unwrap();
    assert_eq!(wanted.images.len(), 3);
    assert_eq!(classes(&wanted, "ghcr.io/acme/helper:3"), [Confidence::Guess, Confidence::Declared]);
}

#[test]
fn guesses_are_included_or_ignored_as_the_spec_says() {
    let desk = Desk::new();
    desk.write("op.yaml", DEPLOYMENT);
    let wanted = desk.gather("manifests: [{path: op.yaml}]\ndiscovery: {guesses: include}\n").unwrap();
    assert_eq!(images(&wanted), ["docker.io/shop/op:1", "ghcr.io/acme/helper:3", "quay.io/acme/reloader:v2"]);
    assert!(told(&wanted).is_empty());
    let spec = "manifests: [{path: op.yaml}]\ndiscovery: {guesses: ignore, accept: [{image: \"ghcr.io/*\"}]}\n";
    let wanted = desk.gather(spec).unwrap();
    assert_eq!(images(&wanted), ["docker.io/shop/op:1", "ghcr.io/acme/helper:3"]);
    let warnings = told(&wanted);
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(warnings[0].starts_with("1 text") && warnings[0].contains("quay.io/acme/reloader:v2"), "{warnings:#?}");
}

const DEFINITION: &str = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: gadgets.example.com}\nspec:\n  group: example.com\n  names: {kind: Gadget, plural: gadgets}\n  scope: Namespaced\n  versions:\n  - name: v1\n    served: true\n    storage: true\n    schema:\n      openAPIV3Schema:\n        type: object\n        properties:\n          spec:\n            type: object\n            properties:\n              image: {type: string}\n              sidecarImage: {type: string, default: \"quay.io/acme/sidecar:7\"}\n";

#[test]
fn custom_resources_are_known_by_rules_of_bundle_of_the_spec_and_of_definitions() {
    let desk = Desk::new();
    desk.write("known.yaml", "apiVersion: postgresql.cnpg.io/v1\nkind: Cluster\nmetadata: {name: db}\nspec:\n  imageName: ghcr.io/acme/postgres:17\n")
        .write("own.yaml", "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\nspec: {runner: {from: shop/runner:4}}\n")
        .write("gadget.yaml", "apiVersion: example.com/v1\nkind: Gadget\nmetadata: {name: g}\nspec: {image: \"shop/gadget:1\"}\n")
        // The definition comes from a chart, the resource from a manifest.
        .write("defs/Chart.yaml", "apiVersion: v2\nname: defs\nversion: 1.0.0\n")
        .write("defs/crds/gadgets.yaml", DEFINITION);
    let spec = "charts: [{name: defs, path: defs}]\nmanifests: [{path: known.yaml}, {path: own.yaml}, {path: gadget.yaml}]\ndiscovery:\n  rules: [{group: example.com, kind: Widget, paths: [spec.runner.from]}]\n";
    let wanted = desk.gather(spec).unwrap();
    assert_eq!(
        images(&wanted),
        ["docker.io/shop/gadget:1", "docker.io/shop/runner:4", "ghcr.io/acme/postgres:17", "quay.io/acme/sidecar:7"]
    );
    for image in images(&wanted) {
        assert_eq!(classes(&wanted, &image)[0], Confidence::Rule, "{image}");
    }
    let of = |image: &str| reasons(&wanted, image).join("\n");
    assert_eq!(
        of("docker.io/shop/runner:4"),
        "manifests[1] → own.yaml:4 → Widget w → spec.runner.from → rule discovery.rules[0]"
    );
    assert!(
        of("ghcr.io/acme/postgres:17").starts_with("manifests[0] → known.yaml:5 → Cluster db → spec.imageName → rule")
    );
    assert!(of("docker.io/shop/gadget:1").starts_with("manifests[2] → gadget.yaml:4 → Gadget g → spec.image → rule"));
    // The default counts where the resource leaves the field out.
    assert_eq!(
        of("quay.io/acme/sidecar:7"),
        "manifests[2] → gadget.yaml:4 → Gadget g → spec.sidecarImage → rule default in the schema of Gadget.example.com"
    );
}

#[test]
fn a_variable_is_followed_into_the_configmap_of_another_input() {
    let desk = Desk::new();
    desk.write("job.yaml", "apiVersion: batch/v1\nkind: Job\nmetadata: {name: j}\nspec:\n  template:\n    spec:\n      containers:\n      - name: a\n        image: shop/job:1\n        env:\n        - name: WORKER_IMAGE\n          valueFrom: {configMapKeyRef: {name: settings, key: worker}}\n")
        .write("web/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n")
        .write("web/values.yaml", "tag: \"1\"\n")
        .write("web/templates/c.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata:\n  worker: shop/worker:{{ .Values.tag }}\n");
    let spec = "manifests: [{path: job.yaml}]\ncharts: [{name: web, path: web, variants: [{set: {tag: \"2\"}}]}]\ndiscovery: {accept: [{image: docker.io/shop/worker:*}]}\n";
    let wanted = desk.gather(spec).unwrap();
    for worker in ["docker.io/shop/worker:1", "docker.io/shop/worker:2"] {
        let all = reasons(&wanted, worker).join("\n");
        assert!(all.contains("manifests[0] → job.yaml:12 → Job j → "), "{all}");
        assert_eq!(classes(&wanted, worker)[0], Confidence::Guess);
    }
}

#[test]
fn a_kustomization_is_built_with_its_bases_and_its_images() {
    let desk = Desk::new();
    desk.write("k/base/kustomization.yaml", "resources: [app.yaml]\n")
        .write("k/base/app.yaml", DEPLOYMENT.replace("shop/op:1", "shop/app").split("        args").next().unwrap())
        .write("k/overlays/prod/kustomization.yaml", "resources: [../../base, job.yaml]\nnamePrefix: prod-\nimages:\n- {name: shop/app, newName: registry.example.com/shop/app, newTag: \"9\"}\nconfigMapGenerator:\n- {name: c, literals: [\"HELPER_IMAGE=ghcr.io/acme/helper:3\"]}\n")
        .write("k/overlays/prod/job.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - {name: a, image: \"shop/pod:1\"}\n");
    let spec = "manifests: [{kustomize: k/overlays/prod}]\ndiscovery: {accept: [{image: \"ghcr.io/acme/*\"}]}\n";
    let wanted = desk.gather(spec).unwrap();
    assert_eq!(images(&wanted), ["docker.io/shop/pod:1", "ghcr.io/acme/helper:3", "registry.example.com/shop/app:9"]);
    assert_eq!(
        reasons(&wanted, "registry.example.com/shop/app:9"),
        ["manifests[0] → k/base/app.yaml:9 → Deployment prod-op → spec.template.spec.containers[0].image"]
    );
    assert_eq!(
        reasons(&wanted, "docker.io/shop/pod:1"),
        ["manifests[0] → k/overlays/prod/job.yaml:6 → Pod prod-p → spec.containers[0].image"]
    );
    let generated = reasons(&wanted, "ghcr.io/acme/helper:3").join("\n");
    assert!(generated.starts_with("manifests[0] → k/overlays/prod/kustomization.yaml"), "{generated}");
}

#[test]
fn charts_of_a_kustomization_are_rendered() {
    let desk = Desk::new();
    desk.write("k/kustomization.yaml", "helmCharts:\n- name: web\n  releaseName: shop\n  namespace: s\n  valuesFile: v.yaml\n  valuesInline: {tag: \"3\"}\n- name: web\n  releaseName: second\n  valuesFile: v.yaml\n  valuesInline: {tag: \"3\"}\n  valuesMerge: merge\n")
        .write("k/v.yaml", "tag: \"2\"\n")
        .write("k/charts/web/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n")
        .write("k/charts/web/values.yaml", "tag: \"1\"\n")
        .write("k/charts/web/templates/pod.yaml", pod("shop/web:{{ .Values.tag }}-{{ .Capabilities.KubeVersion.Minor }}"));
    let wanted = desk.gather("kubernetes: {version: \"1.31\"}\nmanifests: [{kustomize: ./k}]\n").unwrap();
    assert_eq!(images(&wanted), ["docker.io/shop/web:2-31", "docker.io/shop/web:3-31"]);
    assert_eq!(
        reasons(&wanted, "docker.io/shop/web:3-31"),
        ["manifests[0] → k/kustomization.yaml: chart web → Pod shop → spec.containers[0].image"]
    );
    desk.write("k/kustomization.yaml", "helmCharts: [{name: web, repo: 'https://charts.example', version: ^1.0}]\n");
    desk.gather("manifests: [{kustomize: k}]\n").unwrap_err().says(
        Kind::Usage,
        1,
        &["k/kustomization.yaml:1:14", "exact `version`"],
    );
    desk.write("k/kustomization.yaml", "helmCharts: [{name: gone}]\n");
    desk.gather("manifests: [{kustomize: k}]\n").unwrap_err().says(
        Kind::Usage,
        1,
        &["there is no folder k/charts/gone"],
    );
}

#[test]
fn charts_of_a_kustomization_are_fetched_by_exact_version() {
    let repository = Repository::start();
    repository.publish("web", "1.2.0", &simple("web", "1.2.0", ""));
    let desk = Desk::new();
    desk.write(
        "kustomization.yaml",
        format!("helmCharts: [{{name: web, repo: '{}', version: 1.2.0, releaseName: r}}]\n", repository.url()),
    );
    let wanted = desk.gather("manifests: [{kustomize: .}]\n").unwrap();
    assert_eq!(images(&wanted), ["docker.io/library/web:1.2.0"]);
    let carried: Vec<_> = wanted.charts.iter().map(|chart| format!("{} {}", chart.chart, chart.version)).collect();
    assert_eq!(carried, ["web 1.2.0"]);
    // What kustomize fetched before is used from where kustomize keeps it.
    desk.write("charts/web-1.2.0/web/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.2.0\n")
        .write("charts/web-1.2.0/web/templates/pod.yaml", pod("web:kept"));
    assert_eq!(images(&desk.gather("manifests: [{kustomize: .}]\n").unwrap()), ["docker.io/library/web:kept"]);
}

/// Kustomizations of well-known projects, against what kubectl makes of them. `BUNDLE_CORPUS` names the folder.
#[test]
fn well_known_kustomizations_name_the_images_that_kubectl_shows() {
    let Some(corpus) = std::env::var_os("BUNDLE_CORPUS").map(PathBuf::from) else {
        eprintln!("SKIPPED: BUNDLE_CORPUS does not name the folder with the corpus");
        return;
    };
    let json = |path: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(corpus.join(path)).unwrap()).unwrap()
    };
    let desk = Desk::new();
    let packed = std::fs::File::open(corpus.join("kustomize/src.tar.gz")).unwrap();
    tar::Archive::new(flate2::read::GzDecoder::new(packed)).unpack(desk.path().join("kustomize")).unwrap();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for case in json("kustomize/cases.json").as_array().unwrap() {
        let (Some(folder), Some(facts)) = (case["dir"].as_str(), case["images"].as_str()) else { continue };
        // Texts that are no images stand there on purpose, and are mistakes here.
        if !corpus.join(facts).exists() || folder.ends_with("/find-images/valid-image-uri") {
            continue;
        }
        count += 1;
        let facts = json(facts);
        let name = |text: &str| Some(text.parse::<Reference>().ok()?.with_default_tag().to_string());
        let expected: BTreeSet<String> =
            facts["images"].as_array().unwrap().iter().filter_map(|image| name(image.as_str()?)).collect();
        // What objects of GitOps tools bring is not what kubectl shows.
        let discovery = "discovery: {guesses: ignore, ignore: [{object: '* *'}]}";
        match desk.gather(&format!("manifests: [{{kustomize: {folder}}}]\n{discovery}\n")) {
            Err(failed) => wrong.push(format!("{folder}: {}", failed.told.join("; "))),
            Ok(wanted) => {
                let is_schema = |finding: &Finding| finding.confidence == Confidence::Schema;
                let found = wanted.images.iter().filter(|(_, image)| image.because.iter().any(is_schema));
                let found: BTreeSet<String> = found.map(|(name, _)| name.to_string()).collect();
                if found != expected {
                    wrong.push(format!("{folder}: {found:?}, and kubectl shows {expected:?}"));
                }
            }
        }
    }
    println!("{count} kustomizations");
    assert!(count > 300 && wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn kustomizations_stay_in_the_folder_and_off_the_network() {
    let desk = Desk::new();
    desk.write("k/kustomization.yaml", "resources:\n- https://github.com/acme/base?ref=v1\n")
        .write("l/kustomization.yaml", "resources: [../../elsewhere]\n")
        .write("n/readme", "");
    let failed =
        desk.gather("manifests: [{kustomize: k}, {kustomize: l}, {kustomize: ../x}, {kustomize: n}]\n").unwrap_err();
    let folder = desk.path().display().to_string();
    failed.says(
        Kind::Usage,
        4,
        &[
            &format!("{folder}/k/kustomization.yaml:2:3: manifests[0]: https://github.com/acme/base?ref=v1 is remote"),
            "declare it under `remotes` of the spec",
            &format!("{folder}/l/kustomization.yaml:1:13: manifests[1]: "),
            "../x is not in the folder of the spec",
            "name the folder that holds kustomization.yaml",
        ],
    );
}

#[test]
fn lists_of_authors_confirm_but_do_not_carry() {
    let desk = Desk::new();
    let chart = "apiVersion: v2\nname: web\nversion: 1.0.0\nannotations:\n  images: |\n    - {name: web, image: docker.io/library/web:1}\n    - {name: helper, image: ghcr.io/acme/helper:3}\n    - {name: metrics, image: quay.io/acme/metrics:5}\n    - {name: box, image: quay.io/acme/box:1}\n";
    desk.write("web/Chart.yaml", chart).write(
        "web/templates/pod.yaml",
        format!(
            "{}    env: [{{name: HELPER_IMAGE, value: ghcr.io/acme/helper:3}}]\n",
            pod("web:1").replace("{name: a, image: \"web:1\"}", "name: a\n    image: web:1")
        ),
    );
    let spec = "charts: [{name: web, path: web}]\ndiscovery: {ignore: [{image: \"*/box:*\"}]}\n";
    let wanted = desk.gather(spec).unwrap();
    assert_eq!(images(&wanted), ["docker.io/library/web:1", "ghcr.io/acme/helper:3"]);
    assert_eq!(classes(&wanted, "ghcr.io/acme/helper:3"), [Confidence::Guess, Confidence::Declared]);
    assert_eq!(
        reasons(&wanted, "docker.io/library/web:1")[1],
        "charts[0] → web@1.0.0 → Chart.yaml → annotations[\"images\"][0].image"
    );
    let left: Vec<String> =
        wanted.not_carried.iter().map(|one| format!("{} {} {}", one.image, one.why, one.because[0])).collect();
    assert_eq!(
        left,
        [
            "quay.io/acme/box:1 ignored charts[0] → web@1.0.0 → Chart.yaml → annotations[\"images\"][3].image",
            "quay.io/acme/metrics:5 optional charts[0] → web@1.0.0 → Chart.yaml → annotations[\"images\"][2].image",
        ]
    );
    let warnings = told(&wanted);
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(warnings[0].contains("1 image that only other values bring is not carried: quay.io/acme/metrics:5"));
}
