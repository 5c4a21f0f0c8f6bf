//! Images that only other values of a chart bring: found by trying, told with the values, carried as the spec says; and what the
//! lock says about everything that was found and is not carried.

use airgap_bundler::{
    discover::Confidence,
    lock::{NotCarried, Why},
    resolve::Wanted,
};

use crate::{
    charts::{Desk, images, reasons},
    support::repository::pod,
};

const CHART: &str = "apiVersion: v2\nname: web\nversion: 1.0.0\n";

/// A chart with a template for each of these: a name, and the condition under which it is there.
fn desk(values: &str, parts: &[(&str, &str)]) -> Desk {
    let desk = Desk::new();
    desk.write("web/Chart.yaml", CHART).write("web/values.yaml", values).write("web/templates/web.yaml", pod("web:1"));
    for (name, condition) in parts {
        let template = format!("{{{{- if {condition} }}}}\n{}\n{{{{- end }}}}\n", pod(&format!("{name}:1")));
        desk.write(&format!("web/templates/{name}.yaml"), template);
    }
    desk
}

fn optional(wanted: &Wanted) -> Vec<String> {
    let told = |one: &NotCarried| format!("{} {}: {}", one.image, one.why, one.because[0]);
    wanted.not_carried.iter().map(told).collect()
}

const SPEC: &str = "charts: [{name: web, path: web}]\n";

#[test]
fn the_values_that_bring_an_image_are_told() {
    let desk = desk(
        "metrics: {enabled: false, exporter: {enabled: false}}\nbackup: {enabled: false}\nupload: false\nmode: single\ntls: {enabled: true}\n",
        &[
            ("metrics", ".Values.metrics.enabled"),
            ("exporter", "and .Values.metrics.enabled .Values.metrics.exporter.enabled"),
            ("uploader", "and .Values.backup.enabled .Values.upload"),
            ("cluster", "eq .Values.mode \"cluster\""),
            ("never", "false"),
            ("tls", ".Values.tls.enabled"),
        ],
    );
    let wanted = desk.gather(SPEC).unwrap();
    assert_eq!(images(&wanted), ["docker.io/library/tls:1", "docker.io/library/web:1"]);
    let place = |name: &str| format!("templates/{name}.yaml:6 → Pod web → spec.containers[0].image");
    let told = |name: &str, set: &str| {
        format!("docker.io/library/{name}:1 optional: charts[0] → web@1.0.0 → set {set} → {}", place(name))
    };
    let mut found = optional(&wanted);
    found.iter_mut().for_each(|line| *line = line.replace(".yaml:7", ".yaml:6"));
    assert_eq!(
        found,
        [
            told("cluster", "mode=cluster"),
            told("exporter", "metrics.enabled=true,metrics.exporter.enabled=true"),
            told("metrics", "metrics.enabled=true"),
            told("uploader", "backup.enabled=true,upload=true"),
        ]
    );
    assert!(wanted.not_carried.iter().all(|one| one.because[0].confidence == Confidence::Schema));
    let warnings: Vec<String> = wanted.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(warnings[0].contains("4 images that only other values bring are not carried"), "{warnings:#?}");
}

#[test]
fn values_that_exclude_each_other_are_tried_apart_and_those_of_the_spec_stay() {
    let desk = desk(
        "a: {enabled: false}\nb: {enabled: false}\nc: {enabled: false}\n",
        &[
            ("a", "and .Values.a.enabled (not .Values.b.enabled)"),
            ("b", "and .Values.b.enabled (or (not .Values.a.enabled) (fail \"a or b\"))"),
            ("c", ".Values.c.enabled"),
        ],
    );
    let set = |wanted: &Wanted| -> Vec<String> {
        optional(wanted).iter().map(|line| line.split(" → ").nth(2).unwrap().to_owned()).collect()
    };
    assert_eq!(set(&desk.gather(SPEC).unwrap()), ["set a.enabled=true", "set b.enabled=true", "set c.enabled=true"]);
    let spec = "charts: [{name: web, path: web, set: {b.enabled: false, c: {enabled: false}}}]\n";
    assert_eq!(set(&desk.gather(spec).unwrap()), ["set a.enabled=true"]);
}

#[test]
fn subcharts_that_are_off_are_switched_on_by_condition_and_by_tag() {
    let desk = Desk::new();
    let needs = "dependencies:\n- {name: db, version: '*', condition: db.enabled}\n- {name: db, version: '*', alias: cache, condition: cache.enabled}\n- {name: log, version: '*', tags: [logging]}\n";
    desk.write("web/Chart.yaml", format!("{CHART}{needs}"))
        .write(
            "web/values.yaml",
            "db: {enabled: false}\ncache: {enabled: false, image: cache:1}\ntags: {logging: false}\n",
        )
        .write("web/templates/web.yaml", pod("web:1"));
    let exporter = format!(
        "{{{{ if .Values.metrics }}}}\n{}{{{{ end }}}}\n",
        pod("exporter:{{ .Values.image | replace \":\" \"-\" }}")
    );
    desk.write("web/charts/db/Chart.yaml", "apiVersion: v2\nname: db\nversion: 2.0.0\n")
        .write("web/charts/db/values.yaml", "image: db:1\nmetrics: false\n")
        .write("web/charts/db/templates/db.yaml", pod("{{ .Values.image }}"))
        .write("web/charts/db/templates/exporter.yaml", exporter)
        .write("web/charts/log/Chart.yaml", "apiVersion: v2\nname: log\nversion: 3.0.0\n")
        .write("web/charts/log/templates/log.yaml", pod("log:1"));
    let wanted = desk.gather(SPEC).unwrap();
    assert_eq!(images(&wanted), ["docker.io/library/web:1"]);
    let found: Vec<String> = optional(&wanted)
        .iter()
        .map(|line| {
            line.split(" → ").take(5).map(|step| step.split(" optional").next().unwrap()).collect::<Vec<_>>().join(" ")
        })
        .map(|line| line.split(".yaml:").next().unwrap().replace("docker.io/library/", ""))
        .collect();
    assert_eq!(
        found,
        [
            "cache:1 web@1.0.0 cache@2.0.0 set cache.enabled=true templates/db",
            "db:1 web@1.0.0 db@2.0.0 set db.enabled=true templates/db",
            "exporter:cache-1 web@1.0.0 cache@2.0.0 set cache.enabled=true,cache.metrics=true templates/exporter",
            "exporter:db-1 web@1.0.0 db@2.0.0 set db.enabled=true,db.metrics=true templates/exporter",
            "log:1 web@1.0.0 log@3.0.0 set tags.logging=true templates/log",
        ]
    );
}

#[test]
fn the_spec_says_which_optional_images_are_carried() {
    let desk = desk(
        "metrics: {enabled: false}\nbackup: {enabled: false}\n",
        &[("metrics", ".Values.metrics.enabled"), ("backup", ".Values.backup.enabled")],
    );
    let wanted = desk.gather(&format!("{SPEC}discovery: {{optional: include}}\n")).unwrap();
    assert_eq!(images(&wanted).len(), 3);
    assert!(wanted.not_carried.is_empty() && wanted.warnings.is_empty());
    let reason = &reasons(&wanted, "docker.io/library/metrics:1")[0];
    assert!(
        reason.starts_with("charts[0] → web@1.0.0 → set metrics.enabled=true → templates/metrics.yaml:")
            && reason.ends_with("→ accepted by discovery.optional"),
        "{reason}"
    );

    let spec = format!(
        "{SPEC}discovery:\n  accept: [{{image: \"*/metrics:*\", reason: we watch}}]\n  ignore: [{{image: \"*/backup:*\", reason: never on}}]\n"
    );
    let wanted = desk.gather(&spec).unwrap();
    assert_eq!(images(&wanted), ["docker.io/library/metrics:1", "docker.io/library/web:1"]);
    let reason = &reasons(&wanted, "docker.io/library/metrics:1")[0];
    assert!(reason.ends_with("→ accepted by discovery.accept[0]: we watch"), "{reason}");
    let left = &wanted.not_carried[0];
    assert_eq!((left.why, left.by.as_deref()), (Why::Ignored, Some("discovery.ignore[0]")));
    assert_eq!(left.reason.as_deref(), Some("never on"));
    assert!(wanted.warnings.is_empty(), "patterns that fit optional images are in use: {:?}", wanted.warnings);

    let wanted = desk.gather(&format!("{SPEC}discovery: {{optional: ignore}}\n")).unwrap();
    assert_eq!((images(&wanted).len(), wanted.not_carried.len()), (1, 0));
}

#[test]
fn guesses_that_do_not_count_stay_in_the_lock_with_the_decision() {
    let desk = Desk::new();
    let op = "apiVersion: v1\nkind: Pod\nmetadata: {name: op}\nspec:\n  containers:\n  - name: a\n    image: op:1\n    args: [\"--reloader=quay.io/acme/reloader:v2\", \"--helper=quay.io/acme/helper:v3\", \"--side=quay.io/acme/side:v4\"]\n";
    desk.write("op.yaml", op);
    let spec = "manifests: [{path: op.yaml}]\ndiscovery:\n  guesses: ignore\n  accept: [{image: \"*/side:*\", reason: tried it}]\n  ignore: [{image: \"*/helper:*\", reason: old flag}]\n";
    let wanted = desk.gather(spec).unwrap();
    let left: Vec<_> = wanted
        .not_carried
        .iter()
        .map(|one| (one.image.repository.as_str(), one.why, one.by.as_deref().unwrap(), one.reason.as_deref()))
        .collect();
    assert_eq!(
        left,
        [
            ("acme/helper", Why::Ignored, "discovery.ignore[0]", Some("old flag")),
            ("acme/reloader", Why::Guess, "discovery.guesses", None),
        ]
    );
    assert!(reasons(&wanted, "quay.io/acme/side:v4")[0].ends_with("→ accepted by discovery.accept[0]: tried it"));
    let spec = "manifests: [{path: op.yaml}]\ndiscovery: {guesses: include}\n";
    let wanted = desk.gather(spec).unwrap();
    assert!(reasons(&wanted, "quay.io/acme/side:v4")[0].ends_with("→ accepted by discovery.guesses"));
    // A guess that nobody decided about is told; what lies within what was not decided is not listed in silence.
    assert_eq!(desk.gather("manifests: [{path: op.yaml}]\n").unwrap_err().told.len(), 3);
}

#[test]
fn the_search_ends_and_says_so() {
    // A thousand switches of which each two exclude each other.
    let mut values = String::new();
    let mut template = String::from("{{- $on := 0 }}\n");
    for at in 0..300 {
        values.push_str(&format!("part{at}: {{enabled: false}}\n"));
        template.push_str(&format!("{{{{- if .Values.part{at}.enabled }}}}{{{{ $on = add1 $on }}}}{{{{ end }}}}\n"));
    }
    template.push_str("{{- if gt (int $on) 1 }}{{ fail \"one of them\" }}{{ end }}\n");
    let desk = desk(&values, &[("last", ".Values.part299.enabled")]);
    desk.write("web/templates/guard.yaml", template);
    let wanted = desk.gather(SPEC).unwrap();
    let warnings: Vec<String> = wanted.warnings.iter().map(ToString::to_string).collect();
    assert!(warnings.iter().any(|text| text.contains("charts[0]: after 96 renderings the search")), "{warnings:#?}");
}
