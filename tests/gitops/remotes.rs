//! Remote bases and charts of kustomizations.

use airgap_bundler::oci::Digest;

use super::{Field, PODS, archive, commit};

const POD: &str =
    "apiVersion: v1\nkind: Pod\nmetadata: {name: NAME}\nspec:\n  containers:\n  - {name: a, image: 'NAME:1'}\n";

#[test]
fn charts_of_kustomizations_are_carried() {
    let field = Field::new();
    field.write("k/kustomization.yaml", "helmCharts:\n- {name: shop, repo: 'https://charts.example.com', version: 1.2.0, releaseName: r}\n- {name: near, releaseName: near, valuesInline: {images: {a: 'near:1'}}}\n");
    field
        .write("k/charts/near/Chart.yaml", "apiVersion: v2\nname: near\nversion: 0.1.0\n")
        .write("k/charts/near/templates/p.yaml", PODS);
    let spec = "manifests:\n  - {kustomize: k}\n";
    let run = field.expect(spec, &["own:1", "near:1"]);
    assert_eq!(run.charts(), ["near 0.1.0 k/charts/near", "shop 1.2.0 https://charts.example.com/shop-1.2.0.tgz"]);
    let way: Vec<String> = run.lock().charts[1].because[0].iter().map(ToString::to_string).collect();
    assert_eq!(way, ["manifests[0]", "k/kustomization.yaml"]);
    // The lock holds what it pinned.
    field.repository.forget("shop");
    let other = archive("shop", &[("Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.2.0\n")]);
    field.repository.publish("shop", "1.2.0", &other);
    field.resolve(spec, &[]).says(2, &["k/kustomization.yaml:2", "changed upstream under the same version"]);
}

#[test]
fn remote_bases_are_built_when_they_are_declared() {
    let source = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("deploy/base/kustomization.yaml", "resources: [pod.yaml, ../more]\n".to_owned()),
        ("deploy/base/pod.yaml", POD.replace("NAME", "base")),
        ("deploy/more/kustomization.yaml", "resources: [pod.yaml]\n".to_owned()),
        ("deploy/more/pod.yaml", POD.replace("NAME", "more")),
    ] {
        let path = source.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let Some(id) = commit(source.path()) else { return };
    let field = Field::new();
    let file = POD.replace("NAME", "file");
    field.repository.put("/one.yaml", file.clone());
    let address = format!("{}/one.yaml", field.repository.url());
    field.write(
        "k/kustomization.yaml",
        format!("resources:\n- https://git.example.com/acme/app//deploy/base?ref=v1\n- {address}\n- git@git.example.com:acme/local.git//x?ref=main\n"),
    );
    field
        .write("vendor/local/x/kustomization.yaml", "resources: [pod.yaml]\n")
        .write("vendor/local/x/pod.yaml", POD.replace("NAME", "local"));
    let spec = "manifests:\n  - {kustomize: k}\n";
    field.resolve(spec, &[]).says(
        2,
        &[
            "k/kustomization.yaml:2:",
            "https://git.example.com/acme/app//deploy/base?ref=v1 is remote",
            "under `remotes`",
            "{commit: …}",
        ],
    );
    let digest = Digest::sha256(file.as_bytes());
    let remotes = |app: &str| {
        format!(
            "{spec}remotes:\n  https://git.example.com/acme/app: {app}\n  {address}: {{sha256: {}}}\n  https://git.example.com/acme/local: {{path: vendor/local}}\n",
            digest.hex()
        )
    };
    let from = format!("{{commit: {id}, repo: 'git+file://{}'}}", source.path().display());
    field.expect(&remotes(&from), &["base:1", "more:1", "file:1", "local:1"]);
    let gone = format!("{{commit: {}, repo: 'git+file://{}'}}", "0".repeat(40), source.path().display());
    field.resolve(&remotes(&gone), &[]).says(3, &["is declared, and git fetch"]);
    field.repository.put("/one.yaml", "x");
    field.resolve(&remotes(&from), &[]).says(5, &["has the digest", "and the spec says"]);
    field.resolve(&remotes("{commit: v1.0.0}"), &[]).says(2, &["is no commit", "git rev-parse"]);
    field.resolve(&remotes("{path: a, sha256: b}"), &[]).says(2, &["remotes.https://git.example.com/acme/app"]);
    // The address itself may be declared as well.
    field.write("k/kustomization.yaml", "resources: ['https://git.example.com/acme/app//deploy/base?ref=v1']\n");
    field.expect(
        &format!("{spec}remotes:\n  https://git.example.com/acme/app//deploy/base?ref=v1: {{path: vendor/local/x}}\n"),
        &["local:1"],
    );
}
