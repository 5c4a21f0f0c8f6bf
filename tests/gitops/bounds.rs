//! Charts that bring objects that bring charts.

use super::{Field, HELM_REPOSITORY, archive, release};

/// A chart of releases, as umbrellas are.
fn umbrella(version: &str, templates: &[(&str, &str)], values: &str) -> Vec<u8> {
    let about = format!("apiVersion: v2\nname: umbrella\nversion: {version}\n");
    let mut files = vec![("Chart.yaml", about.as_str()), ("values.yaml", values)];
    files.extend(templates);
    archive("umbrella", &files)
}

#[test]
fn an_umbrella_of_releases_is_followed_to_the_images() {
    let field = Field::new();
    let values = "apiVersion: v1\nkind: Secret\nmetadata: {name: shop-values, namespace: apps}\nstringData:\n  overlays: |\n    images: {own: {{ .Values.image | quote }}}\n";
    let one = release("shop", "  valuesFrom: [{kind: Secret, name: shop-values, valuesKey: overlays}]\n");
    let one = format!("{{{{- if .Values.shop.enabled }}}}\n{one}{{{{- end }}}}\n");
    let packed = umbrella(
        "2.0.0",
        &[
            ("templates/source.yaml", HELM_REPOSITORY),
            ("templates/values.yaml", values),
            ("templates/release.yaml", &one),
        ],
        "image: umbrella:1\nshop: {enabled: true}\n",
    );
    field.repository.publish("umbrella", "2.0.0", &packed);
    let spec =
        "charts:\n  - {name: umbrella, repo: 'https://charts.example.com', version: 2.0.0, set: {image: 'given:1'}}\n";
    let run = field.expect(spec, &["given:1"]);
    assert_eq!(
        run.why("given:1"),
        [
            "charts[0] → umbrella@2.0.0 → templates/release.yaml:2 → HelmRelease apps/shop → shop@1.2.0 → templates/pods.yaml:11 → Pod apps/shop-own → spec.containers[0].image"
        ]
    );
    assert_eq!(run.charts().len(), 2);
    field.repository.forget("shop");
    field.repository.list("other", "version: 1.0.0, urls: [x.tgz]");
    std::fs::remove_file(field.path().join("bundle.lock")).unwrap();
    field.resolve(spec, &[]).says(3, &["charts[0]: HelmRelease apps/shop", "umbrella/templates/release.yaml:2"]);
}

#[test]
fn circles_end() {
    let field = Field::new();
    // Every release brings another one of the same chart.
    let endless = release("turn-{{ .Values.turn }}", "  values: {turn: {{ add .Values.turn 1 }}}\n")
        .replace("chart: shop", "chart: umbrella")
        .replace("1.x", "2.x");
    let packed =
        umbrella("2.0.0", &[("templates/a.yaml", HELM_REPOSITORY), ("templates/b.yaml", &endless)], "turn: 1\n");
    field.repository.publish("umbrella", "2.0.0", &packed);
    field.write(
        "a.yaml",
        format!(
            "{HELM_REPOSITORY}---\n{}",
            release("first", "").replace("chart: shop", "chart: umbrella").replace("1.x", "2.x")
        ),
    );
    let spec = "manifests:\n  - {path: a.yaml}\n";
    field.resolve(spec, &[]).says(2, &["HelmRelease apps/turn-16", "stands inside 16 others"]);
    // One that brings itself back is no circle.
    let same = release("first", "").replace("chart: shop", "chart: umbrella").replace("1.x", "2.x");
    let packed =
        umbrella("2.0.1", &[("templates/b.yaml", &same), ("templates/pods.yaml", super::PODS)], "images: {a: 'a:1'}\n");
    field.repository.publish("umbrella", "2.0.1", &packed);
    field.expect(spec, &["a:1"]);
}
