//! What charts need of other charts.

use std::path::Path;

use airgap_bundler::{
    error::Kind,
    resolve::{Update, charts::unpack},
};

use super::{Desk, images, reasons};
use crate::support::{
    registry::Registry,
    repository::{Repository, archive, pod, simple},
};

fn needs(name: &str, version: &str, repository: &str) -> String {
    format!("dependencies:\n- {{name: {name}, version: \"{version}\", repository: \"{repository}\"}}\n")
}

fn chart(desk: &Desk, folder: &str, name: &str, more: &str) {
    desk.write(&format!("{folder}/Chart.yaml"), format!("apiVersion: v2\nname: {name}\nversion: 1.0.0\n{more}"))
        .write(&format!("{folder}/templates/pod.yaml"), pod(&format!("{name}:folder")));
}

#[test]
fn missing_charts_are_fetched_and_put_inside() {
    let repository = Repository::start();
    let registry = Registry::start();
    // redis needs common, and does not bring it.
    repository.publish("redis", "20.1.0", &simple("redis", "20.1.0", &needs("common", "2.x", &repository.url())));
    repository.publish("redis", "20.2.0", &simple("redis", "20.2.0", &needs("common", "2.x", &repository.url())));
    repository.publish("common", "2.4.0", &simple("common", "2.4.0", ""));
    let packed = simple("queue", "3.0.0", "");
    let config = registry.put_blob("lib/queue", airgap_bundler::helm::package::CONFIG, b"{}");
    let layer = registry.put_blob("lib/queue", airgap_bundler::helm::package::CONTENT, &packed);
    let manifest = serde_json::json!({"schemaVersion": 2, "config": config, "layers": [layer]});
    registry.put_document("lib/queue", "3.0.0", airgap_bundler::oci::media_type::MANIFEST, &manifest);
    let mut desk = Desk::new();
    let more = format!(
        "dependencies:\n- {{name: redis, version: 20.x, repository: \"{}\"}}\n- {{name: redis, version: 20.x, alias: second, repository: \"{}\"}}\n- {{name: queue, version: ^3, repository: \"oci://{}/lib\"}}\n- {{name: beside, version: '*', repository: file://../beside}}\n- {{name: corp, version: 1.x, repository: '@corp'}}\n",
        repository.url(),
        repository.url(),
        registry.host(),
    );
    repository.publish("corp", "1.5.0", &simple("corp", "1.5.0", ""));
    desk.write(
        ".config/helm/repositories.yaml",
        format!("repositories: [{{name: corp, url: \"{}\"}}]\n", repository.url()),
    );
    chart(&desk, "charts/shop", "shop", &more);
    chart(&desk, "charts/beside", "beside", "");
    let spec = "charts:\n  - {name: shop, path: charts/shop}\n";
    let wanted = desk.gather(spec).unwrap();
    let locked = &wanted.charts[0];
    let inside: Vec<String> =
        locked.vendored.iter().map(|one| format!("{} {} {}", one.path, one.version, one.source)).collect();
    assert_eq!(
        inside,
        [
            "shop/beside 1.0.0 charts/beside".to_owned(),
            format!("shop/corp 1.5.0 {}/corp-1.5.0.tgz", repository.url()),
            format!("shop/queue 3.0.0 oci://{}/lib/queue:3.0.0", registry.host()),
            format!("shop/redis 20.2.0 {}/redis-20.2.0.tgz", repository.url()),
            format!("shop/redis/common 2.4.0 {}/common-2.4.0.tgz", repository.url()),
        ]
    );
    assert_eq!(
        reasons(&wanted, "docker.io/library/common:2.4.0"),
        [
            "charts[0] → shop@1.0.0 → redis@20.2.0 → common@2.4.0 → templates/pod.yaml:6 → Pod shop → spec.containers[0].image",
            "charts[0] → shop@1.0.0 → second@20.2.0 → common@2.4.0 → templates/pod.yaml:6 → Pod shop → spec.containers[0].image",
        ]
    );
    let tree = unpack(Path::new("shop.tgz"), &wanted.packages[0].archive).unwrap();
    let names: Vec<&str> =
        tree.iter().map(|(path, _)| path.as_str()).filter(|path| path.starts_with("charts/")).collect();
    assert_eq!(
        names,
        ["charts/beside-1.0.0.tgz", "charts/corp-1.5.0.tgz", "charts/queue-3.0.0.tgz", "charts/redis-20.2.0.tgz"]
    );
    assert_eq!((repository.times("/index.yaml"), repository.times("/redis-20.2.0.tgz")), (1, 1));
    assert_eq!(desk.gather(spec).unwrap().charts, wanted.charts);

    // Pins hold for what is inside, too.
    desk.lock(&wanted);
    repository.publish("redis", "20.3.0", &simple("redis", "20.3.0", ""));
    repository.publish("corp", "1.6.0", &simple("corp", "1.6.0", ""));
    assert_eq!(desk.gather(spec).unwrap().charts, wanted.charts);
    desk.update(Update::Matching(vec!["shop/corp".into()]));
    let moved = desk.gather(spec).unwrap();
    let versions: Vec<&str> = moved.charts[0].vendored.iter().map(|one| one.version.as_str()).collect();
    assert_eq!(versions, ["1.0.0", "1.6.0", "3.0.0", "20.2.0", "2.4.0"]);
    desk.update(Update::Nothing);
    repository.forget("corp");
    repository.publish("corp", "1.5.0", &simple("corp", "1.5.0", "home: x\n"));
    desk.gather(spec).unwrap_err().says(
        Kind::Corrupt,
        1,
        &["shop needs corp 1.x", "changed upstream under the same version", "--update shop"],
    );
}

#[test]
fn what_is_inside_already_is_not_fetched() {
    let repository = Repository::start();
    let desk = Desk::new();
    chart(&desk, "shop", "shop", &needs("redis", "20.x", &repository.url()));
    desk.write("shop/charts/redis-20.1.0.tgz", simple("redis", "20.1.0", ""));
    let wanted = desk.gather("charts:\n  - {name: shop, path: shop}\n").unwrap();
    assert_eq!(images(&wanted), ["docker.io/library/redis:20.1.0", "docker.io/library/shop:folder"]);
    assert!(wanted.charts[0].vendored.is_empty() && repository.asked().is_empty());

    // Another version than the one that is wanted is worth a word.
    chart(&desk, "shop", "shop", &needs("redis", "21.x", &repository.url()));
    let wanted = desk.gather("charts:\n  - {name: shop, path: shop}\n").unwrap();
    assert_eq!(wanted.warnings.len(), 1, "{:?}", wanted.warnings);
    assert!(wanted.warnings[0].message.contains("shop wants redis 21.x, and its charts/ folder holds 20.1.0"));
}

#[test]
fn the_chart_s_own_lock_is_respected_or_refused() {
    let repository = Repository::start();
    for version in ["20.1.0", "20.2.0"] {
        repository.publish("redis", version, &simple("redis", version, ""));
    }
    let desk = Desk::new();
    chart(&desk, "shop", "shop", &needs("redis", "20.x", &repository.url()));
    let lock = |name: &str, version: &str, repository: &str| {
        format!("dependencies:\n- name: {name}\n  repository: {repository}\n  version: {version}\ndigest: sha256:00\n")
    };
    desk.write("shop/Chart.lock", lock("redis", "20.1.0", &repository.url()));
    let spec = "charts:\n  - {name: shop, path: shop}\n";
    assert_eq!(desk.gather(spec).unwrap().charts[0].vendored[0].version, "20.1.0");
    for (name, version, from, text) in [
        ("redis", "19.9.0", repository.url(), "it pins redis 19.9.0, and 20.x is wanted"),
        ("valkey", "20.1.0", repository.url(), "redis is not in it"),
        ("redis", "20.1.0", "https://elsewhere.example".to_owned(), "it takes redis from"),
    ] {
        desk.write("shop/Chart.lock", lock(name, version, &from));
        desk.gather(spec).unwrap_err().says(
            Kind::Usage,
            1,
            &["bundle.yaml:5:5", "Chart.lock is out of sync", text, "helm dependency update"],
        );
    }
    desk.write("shop/Chart.lock", "dependencies: []\n");
    desk.gather(spec).unwrap_err().says(Kind::Usage, 1, &["it pins 0 charts, and 1 are needed"]);
}

#[test]
fn what_cannot_be_had_is_told_with_the_way_to_it() {
    let repository = Repository::start();
    repository.publish("app", "1.0.0", &simple("app", "1.0.0", &needs("lib", "1.x", "file://../lib")));
    repository.publish("a", "1.0.0", &simple("a", "1.0.0", &needs("b", "1.x", &repository.url())));
    repository.publish("b", "1.0.0", &simple("b", "1.0.0", &needs("a", "1.x", &repository.url())));
    let desk = Desk::new();
    chart(&desk, "nowhere", "nowhere", &needs("lib", "1.x", ""));
    chart(&desk, "outside", "outside", &needs("lib", "1.x", "file://../../lib"));
    chart(&desk, "self", "self", &needs("self", "1.x", "file://../self"));
    chart(&desk, "unknown", "unknown", &needs("lib", "1.x", "@gone"));
    chart(&desk, "scheme", "scheme", &needs("lib", "1.x", "ftp://h.example"));
    chart(&desk, "range", "range", &needs("a", "7.x", &repository.url()));
    chart(&desk, "beside", "beside", &needs("range", "7.x", "file://../range"));
    let paths = ["nowhere", "outside", "self", "unknown", "scheme", "range", "beside"];
    let local: String = paths.iter().map(|name| format!("  - {{name: {name}, path: {name}}}\n")).collect();
    let remote: String = ["app", "a"]
        .iter()
        .map(|name| format!("  - {{name: {name}, repo: \"{}\", version: 1.0.0}}\n", repository.url()))
        .collect();
    desk.gather(&format!("charts:\n{local}{remote}")).unwrap_err().says(
        Kind::Usage,
        9,
        &[
            "nowhere needs lib 1.x, which is not in its charts/ folder, and no repository is named",
            "outside needs lib 1.x: outside needs file://../../lib, which is outside of",
            "helm dependency build",
            "charts need each other in a circle: self → self",
            "unknown needs a chart from the repository \"gone\"",
            "helm repo add gone URL",
            "charts come from https://",
            "range needs a 7.x",
            "beside needs range 7.x",
            "app needs file://../lib, and it does not come from a folder",
            "b-1.0.0.tgz → ",
        ],
    );
}

#[test]
fn endless_needs_end() {
    let repository = Repository::start();
    for level in 0..20 {
        let more = needs(&format!("c{}", level + 1), "1.x", &repository.url());
        repository.publish(&format!("c{level}"), "1.0.0", &simple(&format!("c{level}"), "1.0.0", &more));
    }
    let many: String = (0..201)
        .map(|at| format!("- {{name: leaf, alias: l{at}, version: 1.0.{at}, repository: \"{}\"}}\n", repository.url()))
        .collect();
    for at in 0..201 {
        repository.publish("leaf", &format!("1.0.{at}"), &simple("leaf", &format!("1.0.{at}"), ""));
    }
    repository.publish("many", "1.0.0", &simple("many", "1.0.0", &format!("dependencies:\n{many}")));
    let entries: String = ["c0", "many"]
        .iter()
        .map(|name| format!("  - {{name: {name}, repo: \"{}\", version: 1.x}}\n", repository.url()))
        .collect();
    Desk::new().gather(&format!("charts:\n{entries}")).unwrap_err().says(
        Kind::Usage,
        2,
        &["more than 16 levels of dependencies", "more than 200 dependencies"],
    );
}

#[test]
fn archives_that_are_too_large_or_lead_out_are_refused() {
    let repository = Repository::start();
    let chart = |name: &str| format!("apiVersion: v2\nname: {name}\nversion: 1.0.0\n");
    let large = "x".repeat((5 << 20) + 1);
    let packed = archive("large", &[("Chart.yaml", &chart("large")), ("big.txt", &large)]);
    repository.publish("large", "1.0.0", &packed);
    // The name of a chart becomes a part of a path.
    repository.publish("evil", "1.0.0", &archive("evil", &[("Chart.yaml", &chart("../evil"))]));
    let mut cut = simple("cut", "1.0.0", "");
    cut.truncate(cut.len() / 2);
    repository.publish("cut", "1.0.0", &cut);
    let entries: String = ["large", "evil", "cut"]
        .iter()
        .map(|name| format!("  - {{name: {name}, repo: \"{}\", version: 1.x}}\n", repository.url()))
        .collect();
    Desk::new().gather(&format!("charts:\n{entries}")).unwrap_err().says(
        Kind::Usage,
        3,
        &["larger than the maximum file size", "\"../evil\" is invalid", "cut-1.0.0.tgz"],
    );
}
