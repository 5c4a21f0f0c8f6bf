//! Values, variants, and what renderings say.

use airgap_bundler::error::Kind;

use super::{Desk, images, reasons};
use crate::support::repository::pod;

const CHART: &str = "apiVersion: v2\nname: web\nversion: 1.0.0\n";

fn desk(template: &str) -> Desk {
    let desk = Desk::new();
    desk.write("web/Chart.yaml", CHART)
        .write("web/values.yaml", "image: {name: web, tag: \"1\"}\nextra: false\n")
        .write("web/templates/pod.yaml", template);
    desk
}

fn templated() -> String {
    format!(
        "{}{{{{- if .Values.extra }}}}\n  - name: b\n    image: extra:{{{{ .Values.image.tag }}}}\n{{{{- end }}}}\n",
        pod("{{ .Values.image.name }}:{{ .Values.image.tag }}").trim_end()
    )
}

#[test]
fn images_are_the_union_over_variants_with_all_reasons() {
    let desk = desk(&templated());
    desk.write("v.yaml", "image: {tag: \"2\"}\n").write("w.yaml", "image: {tag: \"4\"}\n");
    let spec = "charts:\n  - name: web\n    path: web\n    values: [v.yaml]\n    set: {image.tag: \"3\"}\n    variants:\n    - {set: {extra: true}}\n    - {values: [w.yaml]}\n";
    let wanted = desk.gather(spec).unwrap();
    assert_eq!(images(&wanted), ["docker.io/library/extra:3", "docker.io/library/web:3", "docker.io/library/web:4"]);
    assert_eq!(
        reasons(&wanted, "docker.io/library/extra:3"),
        ["charts[0] → web@1.0.0 → variants[0] → templates/pod.yaml:8 → Pod web → spec.containers[1].image"]
    );
    // What the first rendering says already is not said again.
    assert_eq!(
        reasons(&wanted, "docker.io/library/web:3"),
        ["charts[0] → web@1.0.0 → templates/pod.yaml:6 → Pod web → spec.containers[0].image"]
    );
    assert!(wanted.warnings.is_empty(), "{:?}", wanted.warnings);
}

#[test]
fn tables_of_set_are_merged_and_null_removes() {
    let desk = desk(&templated());
    let image = |set: &str| {
        let wanted = desk.gather(&format!("charts:\n  - {{name: web, path: web, set: {set}}}\n")).unwrap();
        images(&wanted)
    };
    assert_eq!(image("{image: {tag: 1.10}}"), ["docker.io/library/web:1.1"], "a number, as in values");
    assert_eq!(image("{image: {tag: \"1.10\"}}"), ["docker.io/library/web:1.10"]);
    assert_eq!(image("{image.name: shop/web}"), ["docker.io/shop/web:1"]);
}

#[test]
fn values_that_nobody_reads_are_told_with_their_place() {
    let desk = desk(&templated());
    desk.write("v.yaml", "image:\n  tag: \"2\"\n  tga: \"2\"\nreplicas: 3\n");
    let spec = "charts:\n  - name: web\n    path: web\n    values: [v.yaml]\n    set: {extr: true}\n    variants:\n    - {set: {other: 1}}\n";
    let wanted = desk.gather(spec).unwrap();
    let folder = desk.path().display().to_string();
    let mut told: Vec<String> = wanted
        .warnings
        .iter()
        .filter(|warning| warning.code != "optional-not-carried")
        .map(|warning| warning.to_string().replace(&format!("{folder}/"), ""))
        .collect();
    told.sort();
    assert_eq!(
        told,
        [
            "bundle.yaml:10:21: charts[0]: no template of web reads the value other",
            "bundle.yaml:8:17: charts[0]: no template of web reads the value extr",
            "v.yaml:3:3: charts[0]: no template of web reads the value image.tga",
            "v.yaml:4:1: charts[0]: no template of web reads the value replicas",
        ]
    );

    // What switches a dependency is read by helm itself.
    let needs = "dependencies:\n- {name: sub, version: '*', alias: part, condition: part.enabled, tags: [extras]}\n";
    desk.write("web/Chart.yaml", format!("{CHART}{needs}"))
        .write("web/charts/sub/Chart.yaml", CHART.replace("web", "sub"))
        .write("web/charts/sub/templates/pod.yaml", pod("sub:1"));
    let spec = "charts:\n  - name: web\n    path: web\n    set: {part.enabled: false, tags.extras: true}\n    variants:\n    - {set: {part.enabled: true}}\n";
    let wanted = desk.gather(spec).unwrap();
    let told: Vec<&str> = wanted.warnings.iter().map(|warning| warning.code).collect();
    assert!(told.iter().all(|code| *code == "optional-not-carried"), "{:?}", wanted.warnings);
    assert_eq!(
        reasons(&wanted, "docker.io/library/sub:1"),
        [
            "charts[0] → web@1.0.0 → part@1.0.0 → variants[0] → templates/pod.yaml:6 → Pod web → spec.containers[0].image"
        ]
    );

    // A value that only a variant uses is used.
    desk.write("web/templates/other.yaml", "{{ if .Values.extra }}{{ print .Values.replicas | trunc 0 }}{{ end }}");
    let spec = "charts:\n  - name: web\n    path: web\n    set: {replicas: 3}\n    variants:\n    - {set: {extra: true}}\ndiscovery: {optional: ignore}\n";
    assert!(desk.gather(spec).unwrap().warnings.is_empty());
}

#[test]
fn every_chart_and_variant_that_fails_is_named_in_one_run() {
    let good = desk(&templated());
    let write = |name: &str, template: &str| {
        good.write(&format!("{name}/Chart.yaml"), CHART.replace("web", name))
            .write(&format!("{name}/templates/x.yaml"), template);
    };
    write("requires", "a: {{ required \"set the domain\" .Values.domain }}\n");
    write("syntax", "a: {{ .Values.x\n");
    write("object", "# no object\na: 1\n");
    write("broken", "apiVersion: v1\nkind: Pod\nspec:\n\n  containers:\n  - {name: a, image: '<image>'}\n");
    write("variant", "{{ if .Values.bad }}{{ fail \"bad\" }}{{ end }}\n");
    write("old", "");
    good.write("old/Chart.yaml", format!("{}kubeVersion: \">=1.90\"\n", CHART.replace("web", "old")));
    write("schema", "");
    good.write("schema/values.schema.json", "{\"required\": [\"must\"]}");
    write("crd", "");
    good.write("crd/crds/x.yaml", "apiVersion: v1\nkind: [\n");
    let names = ["requires", "syntax", "object", "broken", "old", "schema", "crd"];
    let entries: String = names.iter().map(|name| format!("  - {{name: {name}, path: {name}}}\n")).collect();
    let spec = format!(
        "kubernetes: {{version: \"1.33\"}}\ncharts:\n{entries}  - {{name: variant, path: variant, variants: [{{set: {{bad: true}}}}]}}\n  - {{name: novalues, path: web, values: [gone.yaml]}}\n"
    );
    good.gather(&spec).unwrap_err().says(
        Kind::Usage,
        9,
        &[
            "bundle.yaml:6:5: charts[0]: requires 1.0.0 does not render",
            "requires/templates/x.yaml:1",
            "set the domain",
            "give the value under `values` or `set`",
            "syntax/templates/x.yaml:2",
            "object/templates/x.yaml:2:1: charts[2]: object 1.0.0: this document has neither apiVersion nor kind",
            "broken/templates/x.yaml:6:1: charts[3]: broken 1.0.0: Pod: `spec.containers[0].image` is no image reference",
            "kubernetes.version",
            "values.schema.json",
            "crd/crds/x.yaml:",
            "charts[7]: variant 1.0.0 does not render with variants[0]",
            "charts[8]: ",
            "gone.yaml",
        ],
    );
}

#[test]
fn hooks_and_crds_count_and_tests_do_not() {
    let desk = desk(&templated());
    let hook = |event: &str, image: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {event}\n  annotations: {{helm.sh/hook: {event}}}\nspec: {{containers: [{{name: a, image: {image}}}]}}\n"
        )
    };
    desk.write("web/templates/hook.yaml", hook("pre-install", "hook:1"))
        .write("web/templates/tests/test.yaml", hook("test", "test:1"))
        .write(
            "web/crds/x.yaml",
            "apiVersion: v1\nkind: Pod\nmetadata: {name: crd}\nspec: {containers: [{name: a, image: crd:1}]}\n",
        );
    let wanted = desk.gather("charts:\n  - {name: web, path: web}\n").unwrap();
    assert_eq!(images(&wanted), ["docker.io/library/crd:1", "docker.io/library/hook:1", "docker.io/library/web:1"]);
    assert_eq!(
        reasons(&wanted, "docker.io/library/crd:1"),
        ["charts[0] → web@1.0.0 → crds/x.yaml:4 → Pod crd → spec.containers[0].image"]
    );
}

#[test]
fn charts_see_the_cluster_of_the_spec() {
    let desk = desk(&pod(
        "web:{{ .Capabilities.KubeVersion.Minor }}-{{ .Capabilities.APIVersions.Has \"x.example/v1\" }}-{{ .Release.Namespace }}",
    ));
    let wanted = desk
        .gather("kubernetes: {version: \"1.31\", apiVersions: [x.example/v1]}\ncharts:\n  - {name: web, path: web, namespace: shop}\n")
        .unwrap();
    assert_eq!(images(&wanted), ["docker.io/library/web:31-true-shop"]);
}
