//! Three public deployments, kept outside the repository beside the corpus (`BUNDLE_CORPUS`): resolving each reports what its
//! bill of materials lists, and names the file and line of what is broken in it.
//!
//! Charts come from a repository on this machine, as far as the corpus has them; images are not pinned.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use airgap_bundler::{
    error::Kind,
    helm::{Chart, Origin},
    oci::Reference,
    resolve::charts::{unpack, unpack_inner},
    yaml::{self, Node},
};

use crate::{
    charts::{Desk, images, reasons},
    support::repository::Repository,
};

/// The folder of the deployments, and that of the corpus.
fn folders() -> Option<(PathBuf, PathBuf)> {
    let corpus = std::env::var_os("BUNDLE_CORPUS").map(PathBuf::from);
    let found = corpus.map(|corpus| (corpus.join("../stacks"), corpus)).filter(|(stacks, _)| stacks.is_dir());
    if found.is_none() {
        eprintln!("SKIPPED: BUNDLE_CORPUS does not name a folder with the deployments beside it");
    }
    found
}

fn copy(from: &Path, desk: &Desk, name: &str) {
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let inner = format!("{name}/{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            copy(&path, desk, &inner);
        } else if path.is_file() {
            desk.write(&inner, std::fs::read(&path).unwrap());
        }
    }
}

/// Publishes charts of the corpus.
fn publish(corpus: &Path, charts: &[&str]) -> Repository {
    let repository = Repository::start();
    for file in charts {
        let bytes: bytes::Bytes = std::fs::read(corpus.join(format!("charts/{file}.tgz"))).unwrap().into();
        let tree = unpack(Path::new(file), &bytes).unwrap();
        let metadata = Chart::load(&tree, Origin::Archive, &unpack_inner).unwrap().metadata;
        repository.publish(&metadata.name, &metadata.version, &bytes);
    }
    repository
}

/// Returns the images of a list in a bill of materials: the first reference of every text.
fn listed(bill: &Node, path: &[&str]) -> Vec<String> {
    let list = bill.at_path(path.iter().copied()).and_then(Node::as_seq).unwrap();
    let first = |node: &Node| {
        let text = node.as_str()?;
        let word = text.split([' ', ',']).next()?;
        let word = word.trim_matches(['(', ')', ':']);
        Some(word.parse::<Reference>().ok()?.with_default_tag().to_string())
    };
    list.iter().filter_map(first).collect()
}

fn bill(stacks: &Path, name: &str) -> Node {
    let text = std::fs::read_to_string(stacks.join(format!("bom/{name}.yaml"))).unwrap();
    yaml::documents(&text, &yaml::Options::lenient()).unwrap().remove(0)
}

/// Returns what is not among the images; `aside` names what belongs to another state of the deployment.
fn missing(wanted: &[String], found: &[String], aside: &[&str]) -> Vec<String> {
    let found: BTreeSet<&String> = found.iter().collect();
    let is_aside = |image: &String| aside.iter().any(|part| image.contains(part));
    wanted.iter().filter(|image| !found.contains(image) && !is_aside(image)).cloned().collect()
}

const GUESSES: &str = "kubernetes: {version: 1.33.0}\ndiscovery: {guesses: include}\n";

#[test]
fn messenger() {
    let Some((stacks, corpus)) = folders() else { return };
    let desk = Desk::new();
    copy(&stacks.join("messenger"), &desk, "m");
    let failed = desk.gather(&format!("{GUESSES}manifests:\n  - {{path: m/deployment}}\n")).unwrap_err();
    assert_eq!(failed.kind, Kind::Usage);
    let told = failed.told.join("\n");
    for place in [
        "deployment/antivirus/02-scan-workers/deployment.yaml:173:1: not valid YAML",
        "deployment/li-instance/01-synapse-li/homeserver.yaml:18:1: ",
        "deployment/li-instance/05-key-vault/deployment.yaml:265:",
        "deployment/li-instance/05-key-vault/deployment.yaml:304:",
        "deployment/values/images.yaml:10:1: ",
    ] {
        assert!(told.contains(place), "{place} is not told:\n{told}");
    }

    // Repaired, with the charts that the corpus has.
    let broken = desk.path().join("m/deployment/antivirus/02-scan-workers");
    std::fs::remove_dir_all(broken).unwrap();
    let vault = "m/deployment/li-instance/05-key-vault/deployment.yaml";
    let text = std::fs::read_to_string(desk.path().join(vault)).unwrap();
    desk.write(vault, text.replace("CHANGEME_KEY_VAULT_IMAGE", "key-vault"));
    std::fs::remove_file(desk.path().join("m/deployment/li-instance/01-synapse-li/homeserver.yaml")).unwrap();
    let repository = publish(
        &corpus,
        &[
            "cloudnative-pg__charts__cloudnative-pg-0.29.0",
            "minio__operator__operator-7.1.1",
            "bitnami__charts__redis-23.1.1",
            "kubernetes__ingress-nginx__ingress-nginx-4.15.1",
            "grafana__helm-charts__loki-stack-2.10.3",
            "external-secrets__external-secrets__external-secrets-2.9.0",
            "stakater__Reloader__reloader-2.2.16",
        ],
    );
    let mut spec = format!("{GUESSES}manifests:\n");
    for folder in ["infrastructure", "antivirus", "monitoring", "main-instance", "li-instance"] {
        spec.push_str(&format!("  - {{path: m/deployment/{folder}}}\n"));
    }
    spec.push_str("  - {path: m/at-2025-11-17/deployment/manifests}\ncharts:\n");
    for (name, version, values) in [
        ("cloudnative-pg", "0.29.0", "cloudnativepg-values"),
        ("operator", "7.1.1", "minio-operator-values"),
        ("redis", "23.1.1", "redis-synapse-values"),
        ("ingress-nginx", "4.15.1", "nginx-ingress-values"),
        ("loki-stack", "2.10.3", "loki-values"),
        ("external-secrets", "2.9.0", ""),
        ("reloader", "2.2.16", ""),
    ] {
        let values =
            if values.is_empty() { String::new() } else { format!(", values: [m/deployment/values/{values}.yaml]") };
        spec.push_str(&format!("  - {{name: {name}, repo: \"{}\", version: {version}{values}}}\n", repository.url()));
    }
    let wanted = desk.gather(&spec).unwrap_or_else(|failed| panic!("{}", failed.told.join("\n")));
    let found = images(&wanted);
    let bill = bill(&stacks, "messenger");
    // In the file that is no YAML.
    let mut absent = missing(&listed(&bill, &["images", "inPodSpecs"]), &found, &["matrix-content-scanner"]);
    // Of charts that the corpus does not have.
    let elsewhere = ["prometheus", "thanos", "cert-manager", "barman"];
    for class in ["onlyInCustomResources", "onlyInArgsEnvConfig"] {
        absent.extend(missing(&listed(&bill, &["images", class]), &found, &elsewhere));
    }
    absent.extend(missing(&listed(&bill, &["images", "implied"]), &found, &["lk-jwt-service"]));
    assert!(absent.is_empty(), "{absent:?}");
    assert_eq!(wanted.charts.len(), 7);
    let sidecar = reasons(&wanted, "quay.io/minio/operator-sidecar:v7.0.1");
    assert!(sidecar.iter().any(|reason| reason.contains("Tenant")), "{sidecar:?}");
    let postgres = reasons(&wanted, "ghcr.io/cloudnative-pg/postgresql:16.1");
    assert!(
        postgres.iter().any(|reason| reason.contains("infrastructure/01-postgresql/main-cluster.yaml:31")),
        "{postgres:?}"
    );
    // What no template reads is told with the file of the values.
    let unread = wanted.warnings.iter().filter(|warning| warning.code == "unused-value").map(ToString::to_string);
    assert!(unread.into_iter().any(|told| told.contains("m/deployment/values/minio-operator-values.yaml:")));
}

#[test]
fn ghostwire() {
    let Some((stacks, _)) = folders() else { return };
    let desk = Desk::new();
    copy(&stacks.join("ghostwire"), &desk, "g");
    let spec = |variant: &str| {
        format!("{GUESSES}charts:\n  - {{name: ghostwire, path: g/chart, variants: [{{set: {{tls: {variant}}}}}]}}\n")
    };
    let failed = desk.gather(&spec("{mode: custom}")).unwrap_err();
    failed.says(Kind::Usage, 1, &["variants[0]", "ghostwire/templates/secret-tls.yaml:14:6", "tls.cert is required"]);
    let wanted = desk.gather(&spec("{mode: custom, secretName: own}")).unwrap();
    // Images of helm's tests stay outside.
    let bill = bill(&stacks, "ghostwire");
    let absent = missing(&listed(&bill, &["images", "inPodSpecs"]), &images(&wanted), &["ghostwire/tools"]);
    assert!(absent.is_empty(), "{absent:?}");
}

#[test]
fn kubernaut() {
    let Some((stacks, _)) = folders() else { return };
    let desk = Desk::new();
    copy(&stacks.join("kubernaut"), &desk, "k");
    let mut all: Vec<String> = Vec::new();
    kustomizations(desk.path(), "k", &mut all);
    all.sort();
    assert_eq!(all.len(), 20);
    let entries = |all: &[String]| all.iter().map(|path| format!("  - {{kustomize: {path}}}\n")).collect::<String>();
    let failed = desk.gather(&format!("{GUESSES}manifests:\n{}", entries(&all))).unwrap_err();
    failed.says(
        Kind::Usage,
        6,
        &[
            "k/config/default/kustomization.yaml:19:",
            "k/config/samples/kustomization.yaml:6:",
            "k/deploy/integration/external-only/kustomization.yaml:18:",
            "k/deploy/integration/kustomization.yaml:43:",
            "k/deploy/secrets/production/kustomization.yaml:16:",
            "k/deploy/kustomization.yaml:36:",
        ],
    );
    let broken = ["config/default", "config/samples", "external-only", "deploy/integration", "production", "k/deploy"];
    all.retain(|path| !broken.iter().any(|end| path.ends_with(end)));
    assert_eq!(all.len(), 14);
    let plain = desk.gather(&format!("{GUESSES}charts:\n  - {{name: kubernaut, path: k/charts/kubernaut}}\n"));
    plain.unwrap_err().says(Kind::Usage, 1, &["/aianalysis/policies", "/signalprocessing/policies"]);
    let set = "{aianalysis.policies.existingConfigMap: a, signalprocessing.policies.existingConfigMap: b, global.llmProfiles: {a: {provider: openai, model: m, endpoint: 'http://llm', credentialsSecretName: s}}}";
    let wanted = desk
        .gather(&format!(
            "{GUESSES}charts:\n  - {{name: kubernaut, path: k/charts/kubernaut, set: {set}}}\nmanifests:\n  - {{path: k/charts/kubernaut/files/demo-content/workflows}}\n{}",
            entries(&all)
        ))
        .unwrap_or_else(|failed| panic!("{}", failed.told.join("\n")));
    let (found, bill) = (images(&wanted), bill(&stacks, "kubernaut"));
    let absent = missing(&listed(&bill, &["images", "inPodSpecs"]), &found, &[]);
    assert!(absent.is_empty(), "{absent:?}");
    for job in ["crashloop-rollback-job", "graceful-restart-job"] {
        let image = found.iter().find(|image| image.contains(job)).unwrap();
        let why = reasons(&wanted, image);
        assert!(
            why.iter().any(|why| why.contains("RemediationWorkflow") && why.contains("spec.execution.bundle")),
            "{why:?}"
        );
    }
}

fn kustomizations(top: &Path, folder: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(top.join(folder)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            kustomizations(top, &format!("{folder}/{name}"), found);
        } else if name.starts_with("kustomization.y") {
            found.push(folder.to_owned());
        }
    }
}
