//! Argo CD.

use super::{Field, commit, shop, shop_files};

fn application(source: &str) -> String {
    format!(
        "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {{name: web, namespace: argocd}}\nspec:\n  destination: {{namespace: prod}}\n{source}"
    )
}

#[test]
fn a_chart_is_rendered_with_every_way_to_give_values() {
    let field = Field::new();
    field.write(
        "a.yaml",
        application("  source:\n    repoURL: https://charts.example.com\n    chart: shop\n    targetRevision: 1.2.0\n    helm:\n      releaseName: rel\n      valueFiles: [values-prod.yaml, gone.yaml]\n      ignoreMissingValueFiles: true\n      values: |\n        images: {never: 'never:1'}\n      valuesObject: {images: {object: 'object:1', p: 'object:2'}}\n      parameters:\n      - {name: images.p, value: '$ARGOCD_APP_NAME:3'}\n      - {name: images.text, value: '4', forceString: true}\n"),
    );
    let run = field.resolve("manifests:\n  - {path: a.yaml}\n", &["own:1", "prod:1", "object:1", "web:3", "4:latest"]);
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert_eq!(
        run.lock().images.len(),
        5,
        "{:?}",
        run.lock().images.iter().map(|i| i.image.to_string()).collect::<Vec<_>>()
    );
    assert_eq!(
        run.why("web:3"),
        [
            "manifests[0] → a.yaml:1 → Application argocd/web → shop@1.2.0 → templates/pods.yaml:11 → Pod prod/rel-p → spec.containers[0].image"
        ]
    );
    field.push("charts/shop", "1.5.0", shop("1.5.0"));
    field.write("a.yaml", application("  source: {repoURL: r.example/charts, chart: shop, targetRevision: 1.*}\n"));
    std::fs::remove_file(field.path().join("bundle.lock")).unwrap();
    let run = field.expect("manifests:\n  - {path: a.yaml}\n", &["own:1"]);
    assert_eq!(run.charts(), ["shop 1.5.0 oci://r.example/charts/shop:1.5.0"]);
}

#[test]
fn several_sources_share_values() {
    let field = Field::new();
    field.write("envs/prod/values.yaml", "images: {ref: 'ref:1'}\n");
    field.write("envs/prod/image.txt", "file:1");
    field.write("local/chart/Chart.yaml", "apiVersion: v2\nname: local\nversion: 0.1.0\n");
    field.write("local/chart/templates/pods.yaml", super::PODS);
    field.write("local/extra.yaml", "images: {extra: 'extra:1'}\n");
    field.write(
        "a.yaml",
        application("  sources:\n  - {repoURL: 'https://git.example.com/acme/envs.git', targetRevision: main, ref: envs}\n  - repoURL: https://charts.example.com\n    chart: shop\n    targetRevision: 1.2.0\n    helm: {valueFiles: [$envs/envs/prod/values.yaml], fileParameters: [{name: images.file, path: $envs/envs/prod/image.txt}]}\n  - repoURL: https://git.example.com/acme/envs\n    path: local/chart\n    helm: {valueFiles: [../extra.yaml, /envs/prod/values.yaml]}\n"),
    );
    let spec = "manifests:\n  - {path: a.yaml}\nremotes:\n  https://git.example.com/acme/envs: {path: .}\n";
    let run = field.expect(spec, &["own:1", "ref:1", "file:1", "extra:1"]);
    assert_eq!(run.charts(), ["local 0.1.0 local/chart", "shop 1.2.0 https://charts.example.com/shop-1.2.0.tgz"]);
}

const POD: &str =
    "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - {name: a, image: 'NAME:1'}\n";

#[test]
fn folders_are_charts_kustomizations_or_manifests() {
    let field = Field::new();
    field.write("k/kustomization.yaml", "resources: [pod.yaml]\n").write("k/pod.yaml", POD.replace("NAME", "k"));
    field.write("d/a.yaml", POD.replace("NAME", "top")).write("d/deep/b.yaml", POD.replace("NAME", "deep"));
    field.write("d/deep/no.yaml", POD.replace("NAME", "no"));
    for (path, text) in shop_files("0.1.0") {
        field.write(&format!("c/{path}"), text);
    }
    let remotes = "remotes:\n  https://git.example.com/acme/apps: {path: .}\nmanifests:\n  - {path: a.yaml}\n";
    let source =
        |rest: &str| application(&format!("  source: {{repoURL: 'git@git.example.com:acme/apps.git', {rest}}}\n"));
    for (rest, images) in [
        (
            "path: k, kustomize: {images: ['k=other:2'], namePrefix: x-, patches: [{target: {kind: Pod}, patch: '- {op: replace, path: /spec/containers/0/name, value: z}'}]}",
            &["other:2"][..],
        ),
        ("path: k", &["k:1"]),
        ("path: d", &["top:1"]),
        ("path: d, directory: {recurse: true, exclude: '{no.yaml,x}'}", &["top:1", "deep:1"]),
        ("path: d, directory: {recurse: true, include: 'deep/*'}", &["deep:1", "no:1"]),
        ("path: c", &["own:1"]),
    ] {
        field.write("a.yaml", source(rest));
        field.expect(remotes, images);
    }
    field.write("d/x.jsonnet", "{}").write("a.yaml", source("path: d"));
    field.resolve(remotes, &["top:1"]).says(7, &["d/x.jsonnet is Jsonnet", "Application argocd/web"]);
    field.write("a.yaml", source("path: d, plugin: {name: x}"));
    field.resolve(remotes, &[]).says(7, &["not followed, because a plugin of Argo CD makes its manifests"]);
    field.write("a.yaml", source("path: gone"));
    field.resolve(remotes, &[]).says(2, &["a.yaml:1:", "there is no folder", "gone"]);
}

#[test]
fn an_application_of_applications_is_followed_to_the_end() {
    let field = Field::new();
    field.write(
        "apps/web.yaml",
        application("  source: {repoURL: 'https://charts.example.com', chart: shop, targetRevision: 1.2.0}\n"),
    );
    field.write(
        "root.yaml",
        application("  source: {repoURL: 'https://git.example.com/acme/apps', path: apps}\n")
            .replace("name: web", "name: root"),
    );
    let run = field.expect("manifests:\n  - {path: root.yaml}\n", &["own:1"]);
    run.says(0, &["is taken to be the folder of the spec, which has apps"]);
    assert!(run.why("own:1")[0].starts_with("manifests[0] → root.yaml:1 → Application argocd/root → apps/web.yaml:1 → Application argocd/web → shop@1.2.0 → "), "{:?}", run.why("own:1"));
}

fn set(go: bool, generators: &str, template: &str) -> String {
    format!(
        "apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nmetadata: {{name: all, namespace: argocd}}\nspec:\n  goTemplate: {go}\n  generators:\n{generators}\n  template:\n    metadata: {{name: '{template}'}}\n    spec:\n      destination: {{namespace: '{template}', server: '{{{{ server }}}}'}}\n      source:\n        repoURL: https://charts.example.com\n        chart: shop\n        targetRevision: 1.2.0\n"
    )
}

#[test]
fn application_sets_without_a_cluster_are_spread_out() {
    let field = Field::new();
    let values = |text: &str| format!("        helm: {{valuesObject: {{images: {{own: '{text}'}}}}}}\n");
    let spec = "manifests:\n  - {path: a.yaml}\n";
    let matrix = "  - matrix:\n      generators:\n      - list: {elements: [{env: dev}, {env: prod}]}\n      - list: {elements: [{app: a}, {app: b}]}\n";
    field.write("a.yaml", set(false, matrix, "x-{{env}}") + &values("{{app}}-{{ env }}:1"));
    let run = field.expect(spec, &["a-dev:1", "b-dev:1", "a-prod:1", "b-prod:1"]);
    assert!(
        run.why("a-dev:1")[0].starts_with(
            "manifests[0] → a.yaml:1 → ApplicationSet argocd/all → Application argocd/x-dev → shop@1.2.0 → "
        ),
        "{:?}",
        run.why("a-dev:1")
    );
    let go = set(true, "  - list: {elements: [{env: dev, part: {v: 1}}, {env: prod, part: {v: 2}}]}", "{{ .env }}");
    let go = go.replace("{{ server }}", "x") + &values("{{ .env | upper | lower }}:{{ .part.v }}");
    field.write("a.yaml", &go);
    field.expect(spec, &["dev:1", "prod:2"]);
    let patch = "  templatePatch: |\n    spec:\n      source:\n        helm:\n          valuesObject: {images: {patched: \"{{ .env }}-p:1\"}}\n";
    field.write("a.yaml", go + patch);
    field.expect(spec, &["dev:1", "prod:2", "dev-p:1", "prod-p:1"]);
    // A generator that needs the cluster matters where the source depends on it.
    field.write("a.yaml", set(false, "  - clusters: {}", "x-{{name}}"));
    field.expect(spec, &["own:1"]);
    field.write("a.yaml", set(false, "  - clusters: {}", "x-{{name}}") + &values("{{name}}:1"));
    field.resolve(spec, &[]).says(
        7,
        &[
            "a.yaml:7:",
            "ApplicationSet argocd/all",
            "not followed, because of its generator `clusters`",
            "discovery.ignore",
        ],
    );
    field.write("a.yaml", set(true, "  - list: {elements: [{}]}", "{{ fail .x }"));
    field.resolve(spec, &[]).says(2, &["a.yaml:1:", "its template"]);
}

#[test]
fn repositories_in_git_are_fetched() {
    let source = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(source.path().join("d")).unwrap();
    std::fs::write(source.path().join("d/pod.yaml"), POD.replace("NAME", "fetched")).unwrap();
    let Some(id) = commit(source.path()) else { return };
    let url = format!("file://{}", source.path().display());
    let field = Field::new();
    field.write("a.yaml", application(&format!("  source: {{repoURL: '{url}', path: d, targetRevision: v1.0.0}}\n")));
    let run = field.expect("manifests:\n  - {path: a.yaml}\n", &["fetched:1"]);
    assert_eq!(
        run.why("fetched:1"),
        [format!(
            "manifests[0] → a.yaml:1 → Application argocd/web → git+{url}?ref=v1.0.0#{id}:d/pod.yaml → Pod p → spec.containers[0].image"
        )]
    );
    field.write("a.yaml", application("  source: {repoURL: 'file:///nowhere/at/all', path: d}\n"));
    field
        .resolve("manifests:\n  - {path: a.yaml}\n", &[])
        .says(3, &["a.yaml:1:", "Application argocd/web", "cannot be had", "remotes"]);
    // A spec can say which commit, and from where.
    let spec = format!(
        "manifests:\n  - {{path: a.yaml}}\nremotes:\n  'file:///nowhere/at/all': {{commit: {id}, repo: 'git+{url}'}}\n"
    );
    field.expect(&spec, &["fetched:1"]);
}
