use super::*;
use crate::{
    export::Shipped,
    oci::{Digest, Reference},
    yaml,
};

fn content(names: &[&str]) -> Content {
    let shipped = |name: &&str| {
        let reference: Reference = name.parse().unwrap();
        let digest = reference.digest.unwrap_or_else(|| Digest::sha256(name.as_bytes()));
        Shipped { reference, digest }
    };
    Content { name: "shop".into(), version: "1.0".into(), images: names.iter().map(shipped).collect() }
}

fn shop() -> Content {
    content(&["nginx:1.27", "bitnami/redis:7", "quay.io/prometheus/node-exporter:v1", "localhost:5000/app:1"])
}

fn registry(target: &str, layout: Layout) -> Registry {
    Registry { target: target.parse().unwrap(), layout, plain_http: false, ca: Some("CA\n".into()) }
}

fn text<'a>(sheets: &'a [Sheet], path: &str) -> &'a str {
    let found = sheets.iter().find(|sheet| sheet.path.as_str() == path);
    &found.unwrap_or_else(|| panic!("{path} of {:?}", sheets.iter().map(|s| s.path.as_str()).collect::<Vec<_>>())).text
}

#[test]
fn every_source_registry_and_every_name_of_docker_hub_gets_an_entry() {
    let sheets = mirrors(&shop(), &registry("reg.lan:5000/m", Layout::Source), MirrorFormat::Containerd).unwrap();
    let hosts: Vec<&str> = sheets.iter().map(|s| s.path.as_str()).filter(|path| path.ends_with("hosts.toml")).collect();
    assert_eq!(
        hosts,
        [
            "certs.d/docker.io/hosts.toml",
            "certs.d/index.docker.io/hosts.toml",
            "certs.d/registry-1.docker.io/hosts.toml",
            "certs.d/localhost_5000_/hosts.toml",
            "certs.d/quay.io/hosts.toml",
            "certs.d/reg.lan_5000_/hosts.toml",
        ]
    );
    assert!(text(&sheets, "certs.d/quay.io/hosts.toml").contains("\nserver = \"https://reg.lan:5000/v2/m/quay.io\"\n"));
    assert!(
        text(&sheets, "certs.d/localhost_5000_/hosts.toml")
            .contains("[host.\"https://reg.lan:5000/v2/m/localhost_5000\"]")
    );
    assert!(!text(&sheets, "certs.d/reg.lan_5000_/hosts.toml").contains("override_path"));
}

#[test]
fn layouts_without_a_common_path_are_refused_with_what_to_do_or_said_name_by_name() {
    let flat = registry("reg.lan/m", Layout::Depth(1));
    for format in [MirrorFormat::Containerd, MirrorFormat::Talos] {
        let error = mirrors(&shop(), &flat, format).unwrap_err().to_string();
        assert!(error.contains("docker.io-bitnami-redis") && error.contains("--layout source"), "{error}");
    }
    let sheets = mirrors(&shop(), &flat, MirrorFormat::K3s).unwrap();
    let rules = text(&sheets, "registries.yaml");
    assert!(rules.contains(r#""^library/nginx$": "m/docker.io-library-nginx""#), "{rules}");
    let sheets = mirrors(&shop(), &flat, MirrorFormat::CriO).unwrap();
    let rules = text(&sheets, "50-enclave.conf");
    assert!(rules.contains("prefix = \"docker.io/library/nginx\"\nlocation = \"reg.lan/m/docker.io-library-nginx\""));
    // A depth that changes none of the names that are shipped is as good as the full path.
    assert!(mirrors(&shop(), &registry("reg.lan", Layout::Depth(3)), MirrorFormat::Containerd).is_ok());
}

#[test]
fn yaml_formats_are_yaml_and_say_the_same_as_load() {
    let sheets = mirrors(&shop(), &registry("reg.lan:5000/m", Layout::Source), MirrorFormat::K3s).unwrap();
    let rules: serde_json::Value = yaml::from_text(text(&sheets, "registries.yaml")).unwrap();
    let hub = &rules["mirrors"]["docker.io"];
    assert_eq!(hub["endpoint"][0], "https://reg.lan:5000");
    assert_eq!(hub["rewrite"]["^(.*)$"], "m/docker.io/$1");
    assert_eq!(rules["configs"]["reg.lan:5000"]["tls"]["ca_file"], "/etc/rancher/enclave-registry-ca.crt");

    let sheets = mirrors(&shop(), &registry("reg.lan:5000/m", Layout::Source), MirrorFormat::OpenShift).unwrap();
    let documents: Vec<serde_json::Value> = text(&sheets, "openshift-mirrors.yaml")
        .split("---\n")
        .skip(1)
        .map(|document| yaml::from_text(document).unwrap())
        .collect();
    assert_eq!(documents[0]["spec"]["imageDigestMirrors"][0]["source"], "docker.io");
    assert_eq!(documents[1]["spec"]["imageTagMirrors"][0]["mirrors"][0], "reg.lan:5000/m/docker.io");
    assert_eq!(documents[2]["data"]["reg.lan..5000"], "CA\n");

    let sheets = mirrors(&shop(), &registry("reg.lan:5000/m", Layout::Source), MirrorFormat::Talos).unwrap();
    for document in text(&sheets, "talos-registries.yaml").split("---\n").skip(1) {
        let document: serde_json::Value = yaml::from_text(document).unwrap();
        assert!(document["kind"] == "RegistryMirrorConfig" || document["ca"] == "CA", "{document}");
    }
}

#[test]
fn docker_says_what_it_cannot() {
    let sheets = mirrors(&shop(), &registry("reg.lan:5000/m", Layout::Source), MirrorFormat::Docker).unwrap();
    let daemon: serde_json::Value = serde_json::from_str(text(&sheets, "daemon.json")).unwrap();
    assert_eq!(daemon["registry-mirrors"][0], "https://reg.lan:5000/m/docker.io");
    let readme = text(&sheets, "README.txt");
    assert!(readme.contains("no mirrors for other registries (localhost:5000, quay.io)"), "{readme}");
    let script = text(&sheets, "pull-images.sh");
    assert!(script.contains("'docker.io/library/nginx:1.27'"), "{script}");
    let flat = mirrors(&shop(), &registry("reg.lan", Layout::Depth(1)), MirrorFormat::Docker).unwrap();
    assert!(flat.iter().all(|sheet| sheet.path.as_str() != "daemon.json"));
}

#[test]
fn what_cannot_be_a_mirror_is_refused() {
    let error = mirrors(&content(&[]), &registry("reg.lan", Layout::Source), MirrorFormat::K3s).unwrap_err();
    assert!(matches!(error, Error::NoImages));
    let own = content(&["reg.lan/app:1", "nginx:1"]);
    let error = mirrors(&own, &registry("reg.lan/m", Layout::Source), MirrorFormat::K3s).unwrap_err();
    assert!(error.to_string().contains("named after reg.lan itself"), "{error}");
}
