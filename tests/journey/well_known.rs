//! Well-known charts on the whole way: a repository and a registry outside, the archive, docker-registry inside, and the real
//! helm, which must render from there what it renders from the source. The corpus is kept outside the repository; the
//! variable `BUNDLE_CORPUS` names its folder.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use airgap_bundler::{
    helm::{Chart, Origin, Package, metadata::Metadata},
    oci::{Reference, media_type},
    resolve::charts::{unpack, unpack_inner},
};
use bytes::Bytes;
use serde_json::Value;

use super::{
    helm_in_enclave::{helms, label},
    machine::{Machine, digest},
    source::End,
};
use crate::{charts::Desk, support::repository::Repository};

/// The charts, and values without which nobody could make their images: one of a given digest.
const KNOWN: &[(&str, &str)] = &[
    ("argoproj__argo-helm__argo-cd-10.1.1", ""),
    ("argoproj__argo-helm__argo-rollouts-2.41.0", ""),
    ("aquasecurity__trivy-operator__trivy-operator-0.34.0", ""),
    ("bitnami__charts__contour-21.1.5", ""),
    ("bitnami__charts__redis-23.1.1", ""),
    ("DandyDeveloper__charts__redis-ha-4.39.0", ""),
    ("external-secrets__external-secrets__external-secrets-2.9.0", ""),
    ("goharbor__harbor-helm__harbor-1.4.0-dev", ""),
    ("grafana__helm-charts__loki-stack-2.10.3", ""),
    ("hashicorp__vault-helm__vault-0.34.1", ""),
    ("jenkinsci__helm-charts__jenkins-5.9.53", ""),
    (
        "kubernetes__ingress-nginx__ingress-nginx-4.15.1",
        ", set: {controller.image.digest: \"\", controller.admissionWebhooks.patch.image.digest: \"\"}",
    ),
    ("kubernetes-sigs__metrics-server__metrics-server-3.13.1", ""),
    ("longhorn__charts__longhorn-1.6.1-rc3", ""),
    ("prometheus-community__helm-charts__prometheus-29.27.0", ""),
];

/// What every rendering is made with.
const FLAGS: &[&str] = &["-n", "ns", "--include-crds", "--kube-version", "1.33.0"];

struct Known {
    name: String,
    version: String,
    archive: Bytes,
}

/// Finds the charts of the corpus.
fn known(folder: &Path) -> Vec<(Metadata, Bytes, &'static str)> {
    let cases: Value = serde_json::from_slice(&std::fs::read(folder.join("cases.json")).unwrap()).unwrap();
    let case = |id: &str| {
        let wanted = format!("{id}__default");
        cases.as_array().unwrap().iter().find(|case| case["id"] == wanted.as_str())
    };
    let chart = |(id, set): &(&str, &'static str)| {
        let path = folder.join(case(id)?["chart"].as_str().unwrap());
        let archive = Bytes::from(std::fs::read(path).unwrap());
        let tree = unpack(Path::new(id), &archive).unwrap();
        Some((Chart::load(&tree, Origin::Archive, &unpack_inner).unwrap().metadata, archive, *set))
    };
    KNOWN.iter().filter_map(chart).collect()
}

/// Tells whether helm rendered the same twice, but for lines that already differ between two renderings of the source:
/// charts make up passwords.
fn same(from_enclave: &str, from_source: &[String; 2]) -> bool {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (have, one, two) = (lines(from_enclave), lines(&from_source[0]), lines(&from_source[1]));
    let fixed = |at: &usize| one[*at] == two[*at];
    have.len() == one.len() && one.len() == two.len() && (0..one.len()).filter(fixed).all(|at| have[at] == one[at])
}

#[test]
fn well_known_charts_render_in_the_enclave_as_outside() {
    let Some(folder) = std::env::var_os("BUNDLE_CORPUS").map(std::path::PathBuf::from) else {
        eprintln!("SKIPPED: BUNDLE_CORPUS does not name the folder with the corpus");
        return;
    };
    let (Some(helms), Some(target)) = (helms(), End::stock()) else { return };
    let (repository, source, machine) = (Repository::start(), End::ours(), Machine::new());
    let mut lines = String::from("kubernetes: {version: 1.33.0}\ndiscovery: {guesses: ignore}\ncharts:\n");
    let mut charts = Vec::new();
    for (at, (metadata, archive, set)) in known(&folder).into_iter().enumerate() {
        let (name, version) = (metadata.name.clone(), metadata.version.clone());
        // Every other chart comes from the registry.
        let url = if at % 2 == 0 {
            repository.put(&format!("/c{at}/{name}.tgz"), archive.clone());
            let entry = format!("{{name: {name}, version: \"{version}\", urls: [{name}.tgz]}}");
            repository
                .put(&format!("/c{at}/index.yaml"), format!("apiVersion: v1\nentries:\n  {name}:\n  - {entry}\n"));
            format!("{}/c{at}", repository.url())
        } else {
            let package = Package::new(metadata, archive.clone(), None);
            let path = format!("charts/{name}");
            for (descriptor, bytes) in &package.blobs {
                source.registry().put_blob(&path, descriptor.media_type.as_str(), bytes);
            }
            let tag = package.tag().unwrap();
            source.registry().put_manifest(&path, tag.as_str(), media_type::MANIFEST, &package.manifest.1);
            format!("oci://{}/{path}", source.host)
        };
        lines.push_str(&format!("  - {{name: {name}, repo: \"{url}\", version: \"{version}\", namespace: ns{set}}}\n"));
        charts.push(Known { name, version, archive });
    }
    assert!(charts.len() >= 10, "only {} charts of the corpus can be used", charts.len());

    // Images of all the names that the charts lead to, in one registry that stands for all.
    let wanted = Desk::new().gather(&lines).unwrap_or_else(|failed| panic!("{}", failed.told.join("\n")));
    let names: BTreeSet<Reference> =
        wanted.images.keys().map(|name| name.to_string().parse::<Reference>().unwrap().with_default_tag()).collect();
    let hosts: BTreeSet<String> = names.iter().map(|name| name.host.to_string()).collect();
    let mut mirrors = String::from("registries:\n");
    for (at, host) in hosts.iter().enumerate() {
        mirrors.push_str(&format!("  \"{host}\": {{mirror: \"{}/h{at}\"}}\n", source.host));
    }
    let mut pushed: BTreeMap<String, String> = BTreeMap::new();
    for name in &names {
        let at = hosts.iter().position(|host| *host == name.host.to_string()).unwrap();
        assert!(name.digest.is_none(), "nobody can make an image of a given digest: {name}");
        let (path, tag) = (format!("h{at}/{}", name.repository), name.tag.as_ref().unwrap().to_string());
        let layer = format!("layer of {name}");
        let image = source.registry().put_image(&path, &tag, &[b"a layer that all share", layer.as_bytes()]);
        pushed.insert(name.to_string(), image.digest.to_string());
    }
    let head = "apiVersion: airgap-bundler/v1\nkind: Bundle\nmetadata: {name: known, version: 1.0.0}\n";
    machine.write("bundle.yaml", format!("{head}{mirrors}{lines}"));
    machine.keys("shop");
    machine.ok(&["create", "--key", "shop.key", "-o", "known.tar"]);
    let to = format!("{}/mirror", target.host);
    let loaded = machine.ok(&["load", "known.tar", "--key", "shop.pub", "--to", &to, "-o", "json"]).json();
    assert_eq!(loaded["receipt"]["charts"].as_array().unwrap().len(), charts.len());
    let images = loaded["receipt"]["images"].as_array().unwrap();
    let there: BTreeSet<&str> = images.iter().filter_map(|image| image["digest"].as_str()).collect();
    assert!(pushed.values().all(|digest| there.contains(digest.as_str())), "{there:?}");

    let mut exact = 0;
    for chart in &charts {
        let file = machine.write(&format!("{}.tgz", chart.name), &chart.archive);
        for helm in &helms {
            let url = format!("oci://{to}/charts/{}", chart.name);
            let place = format!("pulled/{}", label(helm));
            machine.write(&format!("{place}/x"), "");
            let at = ["--version", &chart.version, "--plain-http"];
            machine.tool(helm, &[&["pull", &url, "--destination", &place], &at[..]].concat());
            let pulled = machine.read(&format!("{place}/{}-{}.tgz", chart.name, chart.version));
            assert_eq!(digest(&pulled), digest(&chart.archive), "{}", chart.name);
            let from_enclave = machine.tool(helm, &[&["template", "rel", &url], &at[..], FLAGS].concat());
            let outside = || machine.tool(helm, &[&["template", "rel", file.to_str().unwrap()], FLAGS].concat());
            let from_source = [outside(), outside()];
            assert!(same(&from_enclave, &from_source), "{} differs in the enclave ({})", chart.name, label(helm));
            exact += usize::from(from_enclave == from_source[0]);
        }
    }
    assert!(exact >= 2 * 10, "only {exact} renderings are the same byte for byte");
    println!("{} charts, {} images, {exact} renderings byte for byte", charts.len(), names.len());
}
