//! The Helm repository over HTTP that `bundle serve` offers, used by the real helm.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Stdio},
};

use airgap_bundler::{
    helm::{Package, metadata::Metadata},
    oci::media_type,
    yaml,
};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    helm_in_enclave::{PROVENANCE, TEMPLATE, carried, create, helm_accepts, helms, label, lock, tool},
    machine::{Machine, digest},
};
use crate::support::{
    charts::locked,
    referees,
    registry::{Registry, Setup},
    wire,
};

/// A registry of ours in a process of its own; dropping it stops it.
struct Served {
    child: Child,
    url: String,
    host: String,
}

impl Served {
    fn start(machine: &Machine, arguments: &[&str], password: Option<&str>) -> Served {
        let mut command = machine.bundle(&[&["serve", "--listen", "127.0.0.1:0", "-o", "json"], arguments].concat());
        let input = if password.is_some() { Stdio::piped() } else { Stdio::null() };
        let mut child = command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        if let Some(password) = password {
            child.stdin.take().unwrap().write_all(format!("{password}\n").as_bytes()).unwrap();
        }
        let mut text = String::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            text.push_str(&line);
            if line == "}" {
                break;
            }
        }
        let started: Value = serde_json::from_str(&text).unwrap();
        let (url, host) =
            (started["url"].as_str().unwrap().to_owned(), started["address"].as_str().unwrap().to_owned());
        Served { child, url, host }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Uses a Helm repository over HTTP with the real helm.
#[track_caller]
fn is_a_helm_repository(machine: &Machine, helm: &Path, url: &str, package: &Package, login: &[&str]) {
    let label = label(helm);
    let (name, version) = (&package.metadata.name, &package.metadata.version);
    machine.tool(helm, &[&["repo", "add", "--force-update", &label, url], login].concat());
    machine.tool(helm, &["repo", "update", &label]);
    let found: Value = serde_json::from_str(
        &machine.tool(helm, &["search", "repo", &format!("{label}/{name}"), "--versions", "--devel", "-o", "json"]),
    )
    .unwrap();
    let listed = found.as_array().unwrap().iter().find(|one| one["version"] == json!(version)).unwrap();
    assert_eq!(listed["app_version"], json!(package.metadata.app_version));
    let folder = format!("from-{label}");
    machine.write(&format!("{folder}/x"), "");
    let mut pull = vec!["pull".to_owned(), format!("{label}/{name}"), "--version".to_owned(), version.clone()];
    pull.extend(["--destination".to_owned(), folder.clone()]);
    pull.extend(package.provenance.is_some().then(|| "--prov".to_owned()));
    machine.tool(helm, &pull.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(machine.read(&format!("{folder}/{name}-{version}.tgz")) == package.archive);
    if let Some(provenance) = &package.provenance {
        assert!(machine.read(&format!("{folder}/{name}-{version}.tgz.prov")) == *provenance);
    }
    let template = [&["template", "rel", "--repo", url, name, "--version", version], login].concat();
    let rendered = machine.tool(helm, &template);
    assert!(rendered.contains(&format!("name: rel-{name}")), "{rendered}");
}

#[test]
fn an_archive_is_a_helm_repository() {
    let Some(helms) = helms() else { return };
    let (machine, charts) = carried();
    let served = Served::start(&machine, &["demo.tar", "--key", "shop.pub"], None);
    for helm in &helms {
        for package in &charts {
            is_a_helm_repository(&machine, helm, &served.url, package, &[]);
        }
        helm_accepts(&machine, helm, &format!("{}/charts", served.host), &charts[0], &[]);
    }
    if let Some(cosign) = referees::cosign() {
        let name = format!("{}/charts/shop:1.2.3_build.4", served.host);
        let verify = ["verify", "--insecure-ignore-tlog", "--allow-http-registry", "--key", "shop.pub", &name];
        machine.tool(&cosign, &verify);
    }

    let ask = |method: &str, path: &str, headers: &[(&str, &str)]| {
        wire::request(served.host.parse().unwrap(), method, path, headers, b"")
    };
    let index = ask("GET", "/index.yaml", &[]);
    assert_eq!((index.status, index.header("content-type")), (200, Some("application/yaml")));
    let text = index.text();
    assert!(text.contains("2023-11-14T22:13:20Z"), "{text}");
    let value: Value = yaml::from_text(&text).unwrap();
    let shop = &value["entries"]["shop"][0];
    assert_eq!(shop["urls"], json!(["charts/shop-1.2.3+build.4.tgz"]));
    assert_eq!(shop["digest"], json!(digest(&charts[0].archive).replace("sha256:", "")));
    assert_eq!((&shop["keywords"], &shop["appVersion"]), (&json!(["on", "1.10"]), &json!("4.50")));
    let versions: Vec<&Value> =
        value["entries"]["the-tool"].as_array().unwrap().iter().map(|one| &one["version"]).collect();
    assert_eq!(versions, ["0.10.0-rc.1", "0.9.0"]);
    let etag = index.header("etag").unwrap().to_owned();
    assert_eq!(ask("GET", "/index.yaml", &[("If-None-Match", &etag)]).status, 304);
    let head = ask("HEAD", "/index.yaml", &[]);
    assert_eq!(
        (head.status, head.header("content-length"), head.body.len()),
        (200, Some(text.len().to_string().as_str()), 0)
    );
    // What another run answers is the same.
    let again = Served::start(&machine, &["demo.tar", "--key", "shop.pub"], None);
    assert_eq!(wire::request(again.host.parse().unwrap(), "GET", "/index.yaml", &[], b"").body, index.body);

    let file = "/charts/shop-1.2.3+build.4.tgz";
    for path in [file, "/charts/shop-1.2.3%2Bbuild.4.tgz"] {
        let whole = ask("GET", path, &[]);
        assert!(whole.status == 200 && whole.body == charts[0].archive, "{path}");
        assert_eq!(whole.header("content-type"), Some("application/gzip"));
    }
    let part = ask("GET", file, &[("Range", "bytes=2-9")]);
    assert!(part.status == 206 && part.body == charts[0].archive[2..10]);
    let head = ask("HEAD", file, &[]);
    assert_eq!(head.header("content-length"), Some(charts[0].archive.len().to_string().as_str()));
    let etag = head.header("etag").unwrap().to_owned();
    assert_eq!(ask("GET", file, &[("If-None-Match", &etag)]).status, 304);
    assert!(ask("GET", "/charts/shop-1.2.3+build.4.tgz.prov", &[]).body == PROVENANCE.as_bytes());
    for absent in [
        "/charts/shop-1.2.3.tgz",
        "/charts/the-tool-0.9.0.tgz.prov",
        "/charts/shop-1.2.3_build.4.tgz",
        "/charts/x",
        "/charts/..%2f..%2fx-1.tgz",
    ] {
        assert_eq!(ask("GET", absent, &[]).status, 404, "{absent}");
    }
    assert_eq!(ask("PUT", file, &[]).status, 405);
}

#[test]
fn a_writable_registry_is_a_helm_repository_of_what_was_pushed() {
    let Some(helms) = helms() else { return };
    let login = Some(("ann", "secret"));
    let registry = Registry::with(Setup { login, ..Setup::default() });
    let machine = Machine::new();
    let empty: Value = yaml::from_text(&registry.get("/index.yaml").text()).unwrap();
    assert_eq!(empty["entries"], json!({}));
    machine.login(&registry.host(), ("ann", "secret"));
    // helm looks for logins where its own `registry login` puts them.
    machine.write(".config/helm/registry/config.json", machine.read("docker/config.json"));
    let charts = [tool("1.0.0"), tool("1.10.0"), tool("1.9.0")];
    for package in &charts {
        let file = format!("the-tool-{}.tgz", package.metadata.version);
        machine.write(&file, &package.archive);
        let to = format!("oci://{}/charts", registry.host());
        machine.tool(&helms[0], &["push", &file, &to, "--plain-http"]);
    }
    // What is no chart, or none of this name or version, is not shown.
    registry.put_image("charts/picture", "1.0.0", &[b"layer"]);
    let raw = registry.get("/v2/charts/the-tool/manifests/1.0.0").body;
    registry.put_manifest("charts/the-tool", "latest", media_type::MANIFEST, &raw);
    for helm in &helms {
        for package in &charts {
            is_a_helm_repository(
                &machine,
                helm,
                &registry.url(),
                package,
                &["--username", "ann", "--password", "secret"],
            );
        }
    }
    let value: Value = yaml::from_text(&registry.get("/index.yaml").text()).unwrap();
    let versions: Vec<&Value> =
        value["entries"]["the-tool"].as_array().unwrap().iter().map(|one| &one["version"]).collect();
    assert_eq!(
        (versions, value["entries"].as_object().unwrap().len()),
        (["1.10.0".into(), "1.9.0".into(), "1.0.0".into()].iter().collect(), 1)
    );
    // helm says when it pushed a chart.
    assert!(value["generated"].as_str().unwrap() > "2020");
    for path in ["/index.yaml", "/charts/the-tool-1.0.0.tgz"] {
        let stranger = wire::request(registry.addr(), "GET", path, &[], b"");
        assert_eq!(stranger.status, 401, "{path}");
    }
    registry.request("DELETE", "/v2/charts/the-tool/manifests/1.9.0", &[], b"");
    assert_eq!(registry.get("/charts/the-tool-1.9.0.tgz").status, 404);
}

#[test]
fn a_prefix_is_a_repository_of_its_own() {
    let Some(helms) = helms() else { return };
    let (machine, charts) = carried();
    let registry = Registry::start();
    let to = format!("{}/team/mirror", registry.host());
    machine.ok(&["load", "demo.tar", "--key", "shop.pub", "--to", &to]);
    let url = format!("{}/team/mirror", registry.url());
    is_a_helm_repository(&machine, &helms[1], &url, &charts[0], &[]);
    assert_eq!(registry.get("/team/index.yaml").status, 404);
    assert_eq!(registry.get("/charts/shop-1.2.3+build.4.tgz").status, 404);
}

#[test]
fn helm_verifies_provenance_on_both_ways() {
    let (Some(helms), Some(gpg)) = (helms(), referees::find_if_here(&["gpg"])) else { return };
    let machine = Machine::new();
    machine.keys("shop");
    let own = ["--batch", "--pinentry-mode", "loopback", "--passphrase", ""];
    machine.write(".gnupg/gpg.conf", "");
    machine.tool(&gpg, &[&own[..], &["--quick-gen-key", "Ann <ann@example.com>", "rsa2048", "sign", "never"]].concat());
    // helm reads the rings of old.
    machine.tool(&gpg, &[&own[..], &["--output", "secret.gpg", "--export-secret-keys"]].concat());
    machine.tool(&gpg, &[&own[..], &["--output", "public.gpg", "--export"]].concat());
    machine.write("signed/Chart.yaml", "apiVersion: v2\nname: signed\nversion: 1.0.0\nappVersion: '1'\n");
    machine.write("signed/values.yaml", "colour: red\n");
    machine.write("signed/templates/cm.yaml", TEMPLATE);
    machine.tool(&helms[0], &["package", "signed", "--sign", "--key", "Ann", "--keyring", "secret.gpg"]);
    let metadata = Metadata::from_json(r#"{"apiVersion": "v2", "name": "signed", "version": "1.0.0"}"#).unwrap();
    let (archive, provenance) = (machine.read("signed-1.0.0.tgz"), machine.read("signed-1.0.0.tgz.prov"));
    let package = Package::new(metadata, archive.into(), Some(Bytes::from(provenance)));
    let lock = lock(vec![locked(&package, "./signed", &[])]);
    create(&machine, "demo.tar", Some("shop"), &lock, &[package]).unwrap();
    let served = Served::start(&machine, &["demo.tar", "--key", "shop.pub"], None);
    let ring = ["--verify", "--keyring", "public.gpg", "--version", "1.0.0"];
    for helm in &helms {
        for name in ["over-http", "over-oci"] {
            machine.write(&format!("{name}-{}/x", label(helm)), "");
        }
        let http = format!("over-http-{}", label(helm));
        let from = ["pull", "signed", "--repo", &served.url, "--destination", &http];
        let said = machine.tool(helm, &[&from[..], &ring].concat());
        assert!(
            said.contains("Ann <ann@example.com>") || machine.has(&format!("{http}/signed-1.0.0.tgz.prov")),
            "{said}"
        );
        let (oci, url) = (format!("over-oci-{}", label(helm)), format!("oci://{}/charts/signed", served.host));
        machine.tool(helm, &[&["pull", &url, "--plain-http", "--destination", &oci], &ring[..]].concat());
        assert!(machine.has(&format!("{oci}/signed-1.0.0.tgz.prov")));
    }
    // Who does not have the key cannot check, and helm says so.
    machine.write("empty.gpg", "");
    let refused = ["pull", "signed", "--repo", &served.url, "--verify", "--keyring", "empty.gpg"];
    assert_ne!(machine.try_tool(&helms[1], &refused).code, Some(0));
    let _ = machine.try_tool(Path::new("gpgconf"), &["--kill", "all"]);
}

#[test]
fn whoever_has_no_password_sees_no_charts() {
    let (machine, charts) = carried();
    let arguments = ["demo.tar", "--key", "shop.pub", "--username", "ann", "--password-stdin"];
    let served = Served::start(&machine, &arguments, Some("secret"));
    let address = served.host.parse().unwrap();
    for path in ["/index.yaml", "/charts/shop-1.2.3+build.4.tgz", "/elsewhere"] {
        assert_eq!(wire::request(address, "GET", path, &[], b"").status, 401, "{path}");
    }
    let Some(helms) = helms() else { return };
    let login = ["--username", "ann", "--password", "secret"];
    is_a_helm_repository(&machine, &helms[0], &served.url, &charts[0], &login);
}
