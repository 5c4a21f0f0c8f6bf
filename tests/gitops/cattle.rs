//! k3s, RKE2 and Fleet.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Field, PODS, shop, shop_files};

const SPEC: &str = "manifests:\n  - {path: m}\n";

fn chart(more: &str) -> String {
    format!(
        "apiVersion: helm.cattle.io/v1\nkind: HelmChart\nmetadata: {{name: web, namespace: kube-system}}\nspec:\n{more}"
    )
}

#[test]
fn charts_of_k3s_and_what_configures_them() {
    let field = Field::new();
    field.write(
        "m/chart.yaml",
        chart("  repo: https://charts.example.com\n  chart: shop\n  version: 1.2.0\n  targetNamespace: prod\n  jobImage: job:1\n  set: {images.set: 'set:1', images.own: 'set:2'}\n  valuesContent: |\n    images: {content: 'content:1', config: 'content:2'}\n"),
    );
    field.write(
        "m/config.yaml",
        "apiVersion: helm.cattle.io/v1\nkind: HelmChartConfig\nmetadata: {name: web, namespace: kube-system}\nspec:\n  valuesContent: |\n    images: {config: 'config:1'}\n",
    );
    let run = field.expect(SPEC, &["job:1", "set:1", "set:2", "content:1", "config:1"]);
    assert_eq!(
        run.why("config:1"),
        [
            "manifests[0] → m/chart.yaml:1 → HelmChart kube-system/web → shop@1.2.0 → templates/pods.yaml:11 → Pod prod/web-config → spec.containers[0].image"
        ]
    );
    std::fs::remove_file(field.path().join("m/config.yaml")).unwrap();
    field.write("m/chart.yaml", chart(&format!("  chartContent: {}\n", STANDARD.encode(shop("3.0.0")))));
    let run = field.expect(SPEC, &["own:1"]);
    assert_eq!(run.charts(), ["shop 3.0.0 m/chart.yaml"]);
    field.repository.put("/direct.tgz", shop("4.0.0"));
    let direct = chart(&format!("  chart: {}/direct.tgz\n", field.repository.url()));
    field.write("m/chart.yaml", &direct);
    assert_eq!(field.expect(SPEC, &["own:1"]).charts(), [format!("shop 4.0.0 {}/direct.tgz", field.repository.url())]);
    // Nothing but the lock holds what an address answers.
    field.repository.put("/direct.tgz", shop("4.0.1"));
    field.resolve(SPEC, &["own:1"]).says(5, &["direct.tgz changed", "--update shop"]);
}

#[test]
fn charts_of_the_distribution_itself_are_named() {
    let field = Field::new();
    field.write("m/chart.yaml", chart("  chart: https://%{KUBERNETES_API}%/static/charts/traefik.tgz\n"));
    field.resolve(SPEC, &[]).says(7, &["m/chart.yaml:1:", "HelmChart kube-system/web", "served by the cluster itself"]);
    field.write("m/chart.yaml", "apiVersion: helm.cattle.io/v1\nkind: HelmChartConfig\nmetadata: {name: traefik, namespace: kube-system}\nspec: {valuesContent: 'a: 1'}\n");
    field.resolve(SPEC, &[]).says(0, &["HelmChartConfig kube-system/traefik", "not followed, because the HelmChart"]);
}

#[test]
fn folders_of_fleet_are_charts_kustomizations_or_manifests() {
    let field = Field::new();
    field.write(
        "m/shop/fleet.yaml",
        "defaultNamespace: prod\nhelm:\n  chart: shop\n  repo: https://charts.example.com\n  version: 1.2.0\n  releaseName: rel\n  valuesFiles: [values.yaml]\n  values: {images: {inline: 'inline:1'}}\ntargetCustomizations:\n- name: edge\n  helm: {values: {images: {edge: 'edge:1'}}}\n",
    );
    field.write("m/shop/values.yaml", "images: {file: 'file:1', inline: 'never:1'}\n");
    for (path, text) in shop_files("0.2.0") {
        field.write(&format!("m/own/{path}"), text.replace("own:1", "chart:1"));
    }
    field.write("m/own/fleet.yaml", "");
    let pod = |image: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  containers:\n  - {{name: a, image: '{image}:1'}}\n"
        )
    };
    field.write("m/raw/fleet.yaml", "namespace: x\ntargetCustomizations: [{name: e, yaml: {overlays: [edge]}}]\n");
    field.write("m/raw/pod.yaml", pod("raw")).write("m/raw/overlays/edge/pod.yaml", pod("overlay"));
    field.write("m/raw/overlays/edge/pod_patch.yaml", "spec: {}\n");
    field
        .write("m/k/fleet.yaml", "kustomize: {dir: base}\n")
        .write("m/k/base/kustomization.yaml", "resources: [p.yaml]\n");
    field.write("m/k/base/p.yaml", pod("built"));
    field.write("m/plain.yaml", pod("plain"));
    let run = field.expect(
        SPEC,
        &["own:1", "file:1", "inline:1", "edge:1", "chart:1", "raw:1", "overlay:1", "built:1", "plain:1"],
    );
    assert_eq!(run.charts(), ["shop 0.2.0 m/own", "shop 1.2.0 https://charts.example.com/shop-1.2.0.tgz"]);
    assert_eq!(
        run.why("inline:1"),
        [
            "manifests[0] → m/shop/fleet.yaml:1 → Fleet m/shop → shop@1.2.0 → templates/pods.yaml:11 → Pod prod/rel-inline → spec.containers[0].image"
        ]
    );
    field.write("m/shop/fleet.yaml", "helm: {chart: ./gone}\n");
    field.resolve(SPEC, &[]).says(3, &["m/shop/fleet.yaml:1:", "Fleet m/shop", "gone"]);
}

#[test]
fn repositories_of_fleet() {
    let field = Field::new();
    field
        .write("apps/a/Chart.yaml", "apiVersion: v2\nname: a\nversion: 0.1.0\n")
        .write("apps/a/templates/p.yaml", PODS);
    field.write("apps/a/fleet.yaml", "helm: {values: {images: {a: 'a:1'}}}\n");
    field.write("apps/b/fleet.yaml", "helm: {chart: shop, repo: 'https://charts.example.com', version: 1.2.0}\n");
    field.write(
        "m/repo.yaml",
        "apiVersion: fleet.cattle.io/v1alpha1\nkind: GitRepo\nmetadata: {name: apps, namespace: fleet-local}\nspec: {repo: 'https://git.example.com/acme/apps', paths: [apps]}\n",
    );
    let run =
        field.expect(&format!("{SPEC}remotes:\n  https://git.example.com/acme/apps: {{path: .}}\n"), &["a:1", "own:1"]);
    assert_eq!(run.charts(), ["a 0.1.0 apps/a", "shop 1.2.0 https://charts.example.com/shop-1.2.0.tgz"]);
    assert!(
        run.why("a:1")[0]
            .starts_with("manifests[0] → m/repo.yaml:1 → GitRepo fleet-local/apps → Fleet apps/a → a@0.1.0"),
        "{:?}",
        run.why("a:1")
    );
}
