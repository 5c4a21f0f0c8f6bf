//! Registries with a certificate of the enclave's authority, and the stock tools that talk to them.

use std::io::{BufRead as _, BufReader};

use serde_json::Value;

use crate::{
    journey::{
        helm_in_enclave::{carried, helms},
        machine::Machine,
    },
    support::{
        images::Layout,
        referees,
        stock::{Options, StockRegistry},
    },
};

fn authority(machine: &Machine) {
    machine.ok(&[
        "issuer",
        "init",
        "--dir",
        "ca",
        "--organization",
        "Acme Enclave",
        "--domain",
        "localhost",
        "--ip-range",
        "127.0.0.0/8",
    ]);
}

fn push(machine: &Machine, host: &str) {
    let Some(skopeo) = referees::skopeo() else { return };
    machine.write("certs/ca.crt", machine.read("ca/ca.crt"));
    machine.write("none/x", "");
    let folder = machine.path("layout");
    std::fs::create_dir_all(&folder).unwrap();
    let mut layout = Layout::new(&folder);
    let image = layout.image("linux", "amd64", &[("app", 2000)]);
    layout.tag("app", &image);
    layout.finish();
    let layout = format!("oci:{}:app", folder.display());
    let to = format!("docker://{host}/team/app:1.0");
    let copy = |certs: &str| {
        let certs = machine.path(certs);
        let arguments = ["copy", "--dest-cert-dir", certs.to_str().unwrap(), &layout, &to];
        machine.try_tool(&skopeo, &arguments)
    };
    let ended = copy("certs");
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let ended = copy("none");
    assert!(ended.code != Some(0) && ended.err.contains("certificate"), "{}", ended.err);
    let certs = machine.path("certs");
    machine.tool(&skopeo, &["inspect", "--cert-dir", certs.to_str().unwrap(), &to]);
}

#[test]
fn docker_registry_with_our_certificate() {
    let machine = Machine::new();
    authority(&machine);
    machine.ok(&["issuer", "issue", "127.0.0.1", "localhost", "--dir", "ca"]);
    let (certificate, key) =
        (machine.path("ca/certificates/127.0.0.1.crt"), machine.path("ca/certificates/127.0.0.1.key"));
    let options = Options { tls: Some((&certificate, &key)), ..Options::default() };
    let Some(registry) = StockRegistry::docker(&options) else { return };
    push(&machine, &registry.host);
    push(&machine, &registry.host.replace("127.0.0.1", "localhost"));
    charts(&registry.host, &machine, false);
}

/// Loads an archive with charts over TLS, and pulls them with the real helm: helm 4 from the registry, helm 3 from the
/// Helm repository that our own registry also is (with registries on loopback addresses, helm 3 always speaks plain HTTP).
fn charts(host: &str, authority: &Machine, is_ours: bool) {
    let (machine, charts) = carried();
    machine.write("ca.crt", authority.read("ca/ca.crt"));
    machine.ok(&["load", "demo.tar", "--key", "shop.pub", "--to", host, "--ca", "ca.crt"]);
    machine
        .ends(6, &["load", "demo.tar", "--key", "shop.pub", "--to", &format!("{host}/other")])
        .says(&["certificate not trusted", "--ca"]);
    let Some(helms) = helms() else { return };
    let chart = &charts[0].metadata;
    let (url, repository) = (format!("oci://{host}/charts/{}", chart.name), format!("https://{host}"));
    let ca = machine.path("ca.crt");
    for helm in &helms {
        let mut ways = Vec::new();
        if helm.ends_with("helm4") {
            ways.push(vec!["pull", &url]);
        }
        if is_ours {
            ways.push(vec!["pull", &chart.name, "--repo", &repository]);
        }
        for way in ways {
            let pull = [&way[..], &["--version", &chart.version]].concat();
            machine.tool(helm, &[&pull[..], &["--ca-file", ca.to_str().unwrap()]].concat());
            let without = machine.try_tool(helm, &pull);
            assert!(without.code != Some(0) && without.err.contains("certificate"), "{}", without.err);
        }
    }
}

#[test]
fn our_registry_takes_its_certificate_from_the_authority() {
    let machine = Machine::new();
    authority(&machine);
    let serve = |more: &[&str]| {
        let arguments = ["serve", "--data", "data", "--issuer-dir", "ca", "--listen", "127.0.0.1:0", "-o", "json"];
        machine.bundle(&[&arguments[..], more].concat())
    };
    let mut serials = Vec::new();
    for round in 0..2 {
        let mut child = serve(&[]).stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        while !text.ends_with("}\n") {
            assert_ne!(out.read_line(&mut text).unwrap(), 0, "{text}");
        }
        let started: Value = serde_json::from_str(&text).unwrap();
        let host = started["address"].as_str().unwrap().to_owned();
        assert!(started["url"].as_str().unwrap().starts_with("https://"));
        if round == 0 {
            push(&machine, &host);
            charts(&host, &machine, true);
        }
        serials.push(machine.text("ca/issued.jsonl").lines().count());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(serials, [1, 1], "a certificate that lasts is used again");
    // Nobody knows by which name an address that stands for all is called.
    machine.ends(2, &["serve", "--data", "data", "--issuer-dir", "ca", "--listen", "0.0.0.0:0"]).says(&["--tls-name"]);
    machine
        .ends(
            2,
            &[
                "serve",
                "--data",
                "data",
                "--issuer-dir",
                "ca",
                "--listen",
                "127.0.0.1:0",
                "--tls-name",
                "x.example.com",
            ],
        )
        .says(&["x.example.com is in none"]);
}

#[test]
fn a_load_without_a_cluster_says_so_before_it_pushes() {
    let (machine, _) = carried();
    authority(&machine);
    machine.ok(&["issuer", "issue", "127.0.0.1", "--dir", "ca"]);
    let (certificate, key) =
        (machine.path("ca/certificates/127.0.0.1.crt"), machine.path("ca/certificates/127.0.0.1.key"));
    let options = Options { tls: Some((&certificate, &key)), ..Options::default() };
    let Some(registry) = StockRegistry::docker(&options) else { return };
    let load = ["load", "demo.tar", "--key", "shop.pub", "--to", &registry.host, "--issuer", "ca"];
    machine.ends(3, &load).says(&["no cluster is configured", "--kubeconfig"]);
    let plan = machine.ok(&[&load[..], &["--dry-run", "-o", "json"]].concat()).json();
    assert_eq!(plan["dryRun"], true);
    if let Some(skopeo) = referees::skopeo() {
        let certs = machine.path("certs");
        machine.write("certs/ca.crt", machine.read("ca/ca.crt"));
        let name = format!("docker://{}/charts/shop", registry.host);
        let listed = machine.try_tool(&skopeo, &["list-tags", "--cert-dir", certs.to_str().unwrap(), &name]);
        assert_ne!(listed.code, Some(0), "nothing was pushed: {}", listed.out);
    }
}
