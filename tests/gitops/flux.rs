//! Flux.

use super::{Field, HELM_REPOSITORY, PODS, commit, release, shop, shop_files};

const CHART: &str = "shop 1.2.0 https://charts.example.com/shop-1.2.0.tgz";

#[test]
fn a_release_is_rendered_with_its_values() {
    let field = Field::new();
    field.write("flux/source.yaml", HELM_REPOSITORY);
    field.write(
        "flux/values.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: base, namespace: apps}\ndata:\n  values.yaml: |\n    images: {own: 'from-map:1', map: 'map:1', never: 'never:1'}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: tags, namespace: apps}\ndata: {image: c2VjcmV0OjE=, other: 'bmV2ZXI6Mg=='}\n",
    );
    field.write(
        "flux/release.yaml",
        release(
            "shop",
            "  targetNamespace: prod\n  valuesFrom:\n  - {kind: ConfigMap, name: base}\n  - {kind: Secret, name: tags, valuesKey: image, targetPath: images.secret}\n  - {kind: ConfigMap, name: gone, optional: true}\n  values:\n    images:\n      own: inline:1\n      never: null\n    unread: {repository: nowhere, tag: '9'}\n",
        ),
    );
    let images = ["inline:1", "map:1", "secret:1"];
    let run = field.expect("manifests:\n  - {path: flux}\n", &images);
    assert_eq!(run.charts(), [CHART]);
    assert_eq!(
        run.why("inline:1"),
        [
            "manifests[0] → flux/release.yaml:1 → HelmRelease apps/shop → shop@1.2.0 → templates/pods.yaml:11 → Pod prod/prod-shop-own → spec.containers[0].image"
        ]
    );
    let way: Vec<String> = run.lock().charts[0].because[0].iter().map(ToString::to_string).collect();
    assert_eq!(way, ["manifests[0]", "flux/release.yaml:1", "HelmRelease apps/shop"]);
    run.says(0, &["flux/release.yaml:19", "no template of shop reads the value unread"]);
    // What was locked stays, although there is a newer one.
    field.repository.publish("shop", "1.3.0", &shop("1.3.0"));
    assert_eq!(field.expect("manifests:\n  - {path: flux}\n", &images).charts(), [CHART]);
}

#[test]
fn charts_come_from_registries_too() {
    let field = Field::new();
    field.push("charts/shop", "1.2.0", shop("1.2.0"));
    field.push("charts/shop", "1.4.0", shop("1.4.0"));
    let oci = "apiVersion: source.toolkit.fluxcd.io/v1\nkind: HelmRepository\nmetadata: {name: charts, namespace: flux-system}\nspec: {type: oci, url: 'oci://r.example/charts'}\n";
    field.write("a.yaml", format!("{oci}---\n{}", release("one", "")));
    let run = field.expect("manifests:\n  - {path: a.yaml}\n", &["own:1"]);
    assert_eq!(run.charts(), ["shop 1.4.0 oci://r.example/charts/shop:1.4.0"]);

    let field = Field::new();
    field.push("charts/shop", "1.2.0", shop("1.2.0"));
    let source = "apiVersion: source.toolkit.fluxcd.io/v1\nkind: OCIRepository\nmetadata: {name: shop}\nspec:\n  url: oci://r.example/charts/shop\n  ref: {tag: 1.2.0}\n---\napiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: shop}\nspec:\n  chartRef: {kind: OCIRepository, name: shop}\n  values: {images: {more: 'more:1'}}\n";
    field.write("a.yaml", source);
    let run = field.resolve("manifests:\n  - {path: a.yaml}\n", &["own:1", "more:1"]);
    assert_eq!(run.code, Some(0), "{}", run.err);
    // The artifact is carried under its own name as well: Flux pulls it by that one.
    let names: Vec<String> = run.lock().images.iter().map(|image| image.image.to_string()).collect();
    assert_eq!(names, ["docker.io/library/more:1", "docker.io/library/own:1", "r.example/charts/shop:1.2.0"]);
    assert_eq!(run.charts(), ["shop 1.2.0 oci://r.example/charts/shop:1.2.0"]);
}

#[test]
fn charts_of_repositories_in_git_bring_their_values_files() {
    let source = tempfile::tempdir().unwrap();
    for (path, text) in shop_files("0.1.0") {
        let path = source.path().join("charts/shop").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let Some(id) = commit(source.path()) else { return };
    let field = Field::new();
    let url = format!("file://{}", source.path().display());
    field.write(
        "a.yaml",
        format!(
            "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {{name: apps, namespace: apps}}\nspec:\n  url: {url}\n  ref: {{semver: '>=1.0.0'}}\n---\napiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {{name: shop, namespace: apps}}\nspec:\n  chart:\n    spec:\n      chart: ./charts/shop\n      sourceRef: {{kind: GitRepository, name: apps}}\n      valuesFiles: [./charts/shop/values-prod.yaml]\n"
        ),
    );
    // The files take the place of the chart's own values.
    let run = field.expect("manifests:\n  - {path: a.yaml}\n", &["prod:1"]);
    assert_eq!(run.charts(), [format!("shop 0.1.0 git+{url}//charts/shop?ref=v1.0.0#{id}")]);
}

#[test]
fn what_was_rendered_is_changed_by_post_renderers() {
    let field = Field::new();
    let post = "  values: {images: {b: 'b:1'}}\n  postRenderers:\n  - kustomize:\n      images: [{name: own, newName: mirrored, newTag: '2'}]\n      patches:\n      - target: {kind: Pod, name: shop-b}\n        patch: |\n          - {op: add, path: /spec/containers/-, value: {name: side, image: 'side:1'}}\n";
    field.write("a.yaml", format!("{HELM_REPOSITORY}---\n{}", release("shop", post)));
    field.expect("manifests:\n  - {path: a.yaml}\n", &["mirrored:2", "b:1", "side:1"]);
}

const SYNC: &str = "\
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: flux-system, namespace: flux-system}
spec: {url: 'ssh://git@git.example.com/acme/fleet', ref: {branch: main}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: flux-system, namespace: flux-system}
spec:
  path: ./clusters/production
  sourceRef: {kind: GitRepository, name: flux-system}
";

fn apps(more: &str) -> String {
    format!(
        "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {{name: apps, namespace: flux-system}}\nspec:\n  path: ./apps/production\n  sourceRef: {{kind: GitRepository, name: flux-system}}\n{more}"
    )
}

/// A repository as `flux bootstrap` lays it out.
fn fleet() -> Field {
    let field = Field::new();
    field.write("clusters/production/flux-system/gotk-sync.yaml", SYNC);
    field.write("clusters/production/flux-system/kustomization.yaml", "resources: [gotk-sync.yaml]\n");
    field.write(
        "clusters/production/apps.yaml",
        apps("  images: [{name: plain, newTag: '2'}]\n  postBuild:\n    substitute: {env: prod, on: 'true'}\n    substituteFrom: [{kind: ConfigMap, name: cluster}]\n"),
    );
    field.write(
        "clusters/production/cluster.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cluster, namespace: flux-system}\ndata: {region: eu}\n",
    );
    field.write("apps/base/source.yaml", HELM_REPOSITORY);
    field.write("apps/base/release.yaml", release("shop", ""));
    field.write("apps/base/kustomization.yaml", "resources: [source.yaml, release.yaml]\n");
    field.write(
        "apps/production/kustomization.yaml",
        "resources: [../base, pod.yaml]\npatches:\n- patch: |\n    apiVersion: helm.toolkit.fluxcd.io/v2\n    kind: HelmRelease\n    metadata: {name: shop, namespace: apps}\n    spec: {values: {images: {own: 'own-${env}-${region}:${tag:=1}'}}}\n",
    );
    field.write(
        "apps/production/pod.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: plain, namespace: apps}\nspec:\n  containers:\n  - {name: a, image: 'plain:1'}\n",
    );
    field
}

#[test]
fn kustomizations_lead_from_a_cluster_to_its_applications() {
    let field = fleet();
    let run = field.expect("manifests:\n  - {path: clusters/production/apps.yaml}\n  - {path: clusters/production/cluster.yaml}\n  - {path: clusters/production/flux-system/gotk-sync.yaml}\nremotes:\n  https://git.example.com/acme/fleet: {path: .}\n", &["own-prod-eu:1", "plain:2"]);
    assert!(!run.err.contains("gitops-repository"), "{}", run.err);
    let why = run.why("own-prod-eu:1");
    assert!(
        why.iter().any(|why| why.starts_with("manifests[0] → clusters/production/apps.yaml:1 → Kustomization flux-system/apps → apps/base/release.yaml:1 → HelmRelease apps/shop → shop@1.2.0 → templates/pods.yaml:")),
        "{why:?}"
    );
    // The cluster's own Kustomization brings itself back, which ends there.
    let alone = "manifests:\n  - {path: clusters/production/flux-system/gotk-sync.yaml}\n";
    let run = field.expect(alone, &["own-prod-eu:1", "plain:2"]);
    run.says(
        0,
        &["GitRepository flux-system/flux-system", "is taken to be the folder of the spec", "clusters/production"],
    );
    // Without the object, too: `flux bootstrap` may have kept it in the cluster.
    field.write("clusters/production/flux-system/gotk-sync.yaml", SYNC.split("---\n").nth(1).unwrap());
    field.expect(alone, &["own-prod-eu:1", "plain:2"]).says(0, &["no input describes GitRepository flux-system"]);
}

#[test]
fn folders_without_a_kustomization_are_one_of_all_their_manifests() {
    let field = fleet();
    std::fs::remove_file(field.path().join("apps/production/kustomization.yaml")).unwrap();
    field.write(
        "apps/production/deep/pod.yml",
        std::fs::read_to_string(field.path().join("apps/production/pod.yaml")).unwrap().replace("plain", "deep"),
    );
    field.write("a.yaml", apps("  targetNamespace: elsewhere\n"));
    let run = field.expect("manifests:\n  - {path: a.yaml}\n", &["plain:1", "deep:1"]);
    assert_eq!(
        run.why("deep:1"),
        [
            "manifests[0] → a.yaml:1 → Kustomization flux-system/apps → apps/production/deep/pod.yml:6 → Pod elsewhere/deep → spec.containers[0].image"
        ]
    );
}

#[test]
fn a_repository_in_git_is_built_where_it_is() {
    let source = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("k/kustomization.yaml", "resources: [pod.yaml]\nhelmCharts:\n- {name: shop, releaseName: s}\n"),
        (
            "k/pod.yaml",
            "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - {name: a, image: 'remote:1'}\n",
        ),
        ("k/charts/shop/Chart.yaml", "apiVersion: v2\nname: shop\nversion: 0.3.0\n"),
        ("k/charts/shop/values.yaml", "images: {a: 'inner:1'}\n"),
        ("k/charts/shop/templates/pods.yaml", PODS),
    ] {
        let path = source.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let Some(id) = commit(source.path()) else { return };
    let url = format!("file://{}", source.path().display());
    let field = Field::new();
    field.write(
        "a.yaml",
        format!("apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {{name: r}}\nspec: {{url: '{url}', ref: {{branch: main}}}}\n---\napiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {{name: k}}\nspec: {{path: k, namePrefix: x-, sourceRef: {{kind: GitRepository, name: r}}}}\n"),
    );
    let run = field.expect("manifests:\n  - {path: a.yaml}\n", &["remote:1", "inner:1"]);
    assert_eq!(run.charts(), [format!("shop 0.3.0 git+{url}//k/charts/shop?ref=main#{id}")]);
    let why = run.why("remote:1").remove(0);
    assert!(why.contains(&format!("git+{url}?ref=main#{id}:k/pod.yaml → Pod x-p")), "{why}");
}

#[test]
fn what_cannot_be_followed_says_why() {
    let field = Field::new();
    let manifests = "manifests:\n  - {path: a.yaml}\n";
    field.write("a.yaml", release("shop", ""));
    field.resolve(manifests, &[]).says(
        7,
        &[
            "a.yaml:9:",
            "HelmRelease apps/shop",
            "HelmRepository flux-system/charts is not among the inputs",
            "discovery.ignore",
        ],
    );
    field.write(
        "a.yaml",
        format!("{HELM_REPOSITORY}---\n{}", release("shop", "  valuesFrom:\n  - {kind: Secret, name: gone}\n")),
    );
    field.resolve(manifests, &[]).says(
        7,
        &["a.yaml:16:", "the values of Secret apps/gone are not among the inputs", "in its key \"values.yaml\""],
    );
    field.write("a.yaml", format!("{HELM_REPOSITORY}---\n{}", release("shop", "").replace("1.x", "9.x")));
    field.resolve(manifests, &[]).says(3, &["a.yaml:6:", "HelmRelease apps/shop", "9.x", "`charts` with `path`"]);
    // What the hint says works.
    field.write("vendor/shop.tgz", shop("9.1.0"));
    let run =
        field.expect("manifests:\n  - {path: a.yaml}\ncharts:\n  - {name: shop, path: vendor/shop.tgz}\n", &["own:1"]);
    assert_eq!((run.charts(), run.lock().charts[0].because.len()), (vec!["shop 9.1.0 vendor/shop.tgz".to_owned()], 2));
    let ignored =
        "discovery:\n  ignore: [{object: 'HelmRelease apps/*', reason: not ours}, {object: 'HelmRelease x'}]\n";
    field.resolve(&format!("{manifests}{ignored}"), &[]).says(0, &["discovery.ignore[1]", "fits no object"]);

    field.write(
        "a.yaml",
        "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: shop}\nspec:\n  values: {a: 1}\n",
    );
    field.resolve(manifests, &[]).says(2, &["a.yaml:1:", "neither spec.chart nor spec.chartRef", "patch"]);
    let bucket = HELM_REPOSITORY.replace("HelmRepository", "Bucket");
    field.write("a.yaml", format!("{bucket}---\n{}", release("shop", "").replace("HelmRepository", "Bucket")));
    field.resolve(manifests, &[]).says(7, &["not followed, because its chart comes from Bucket flux-system/charts"]);
    field.write("a.yaml", format!("{SYNC}---\n{}", apps("").replace("./apps/production", "../x")));
    let here = format!("{manifests}remotes:\n  https://git.example.com/acme/fleet: {{path: .}}\n");
    field.resolve(&here, &[]).says(2, &["Kustomization flux-system/apps", "../x leads out of the repository"]);
}
