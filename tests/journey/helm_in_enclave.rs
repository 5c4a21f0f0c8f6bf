//! Charts on the whole way: archive, registry, Helm repository; the real helm, cosign, oras and skopeo say whether it is true.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use airgap_bundler::{
    archive::Time,
    error::{Classify, Kind},
    event::Silent,
    fetch,
    helm::{Package, metadata::Metadata, package},
    lock::{Lock, LockedChart},
    net::Settings,
    oci::{Descriptor, Manifest, media_type},
    registry::{Credentials, Registries},
    serve::{self, Running},
    store::Slots,
    trust::{Passphrase, SigningKey},
};
use axum::{Router, http::header, routing::get};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    machine::{Ended, Machine, digest},
    source::End,
};
use crate::support::{
    charts::{chart, locked},
    referees,
    registry::{Registry, wait_for},
};

pub const TEMPLATE: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}-{{ .Chart.Name }}}\n\
                        data: {app: {{ .Chart.AppVersion | quote }}, colour: {{ .Values.colour }}}\n";

/// The first two bytes of a provenance file say nothing; helm carries it as it is.
pub const PROVENANCE: &str = "-----BEGIN PGP SIGNED MESSAGE-----\nname: shop\n";

pub fn shop() -> Package {
    let description = json!({
        "apiVersion": "v2", "name": "shop", "version": "1.2.3+build.4", "appVersion": "4.50", "description": "A shop: with #signs",
        "keywords": ["on", "1.10"], "annotations": {"example.com/note": "yes"}, "kubeVersion": ">=1.20.0-0", "type": "application",
        "maintainers": [{"name": "Ann", "email": "ann@example.com"}], "dependencies": [{"name": "redis", "version": "20.1.0", "repository": ""}],
    });
    let redis = "apiVersion: v2\nname: redis\nversion: 20.1.0\n";
    let files = [
        ("values.yaml", "colour: green\n"),
        ("templates/cm.yaml", TEMPLATE),
        ("charts/redis/Chart.yaml", redis),
        ("charts/redis/templates/cm.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: inner}\n"),
    ];
    chart(&description, &files, Some(PROVENANCE))
}

pub fn tool(version: &str) -> Package {
    let description = json!({"apiVersion": "v2", "name": "the-tool", "version": version, "appVersion": "1.10"});
    chart(&description, &[("values.yaml", "colour: blue\n"), ("templates/cm.yaml", TEMPLATE)], None)
}

pub fn lock(charts: Vec<LockedChart>) -> Lock {
    Lock {
        name: "demo".into(),
        version: "1.0.0".into(),
        sequence: 7,
        platforms: vec!["linux/amd64".parse().unwrap()],
        charts,
        images: Vec::new(),
        not_carried: Vec::new(),
        files: Vec::new(),
        hosts: Vec::new(),
    }
}

/// Makes an archive of charts as `bundle create` does, signed with the key `NAME.key` of the machine.
pub fn create(
    machine: &Machine,
    target: &str,
    key: Option<&str>,
    lock: &Lock,
    charts: &[Package],
) -> Result<(), fetch::Error> {
    let keys: Vec<SigningKey> = key
        .map(|name| SigningKey::open(&machine.text(&format!("{name}.key")), &Passphrase::new("open sesame")).unwrap())
        .into_iter()
        .collect();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let registries = Registries::new(Settings::default(), Credentials::none(), Arc::new(Silent)).unwrap();
        let planned = fetch::plan(&fetch::Job {
            lock,
            lock_text: Bytes::from(lock.to_text()),
            charts,
            folder: &machine.path("."),
            registries: &registries,
            keys: &keys,
            created: Time::from_seconds(1_700_000_000).unwrap(),
            expires: None,
            slots: Slots::new(4),
            observer: Arc::new(Silent),
        })
        .await?;
        fetch::pull(planned, &machine.path(target)).await.map(drop)
    })
}

/// A machine with an archive of three charts and the key that signed it.
pub fn carried() -> (Machine, Vec<Package>) {
    let machine = Machine::new();
    machine.keys("shop");
    let charts = vec![shop(), tool("0.9.0"), tool("0.10.0-rc.1")];
    let mut locked = vec![
        locked(&charts[0], "./charts/shop", &[("shop/redis", "20.1.0")]),
        locked(&charts[1], "https://charts.example.com/the-tool-0.9.0.tgz", &[]),
        locked(&charts[2], "https://charts.example.com/the-tool-0.10.0-rc.1.tgz", &[]),
    ];
    let mut charts = charts;
    locked.swap(1, 2);
    charts.swap(1, 2);
    create(&machine, "demo.tar", Some("shop"), &lock(locked), &charts).unwrap();
    (machine, charts)
}

pub fn helms() -> Option<Vec<PathBuf>> {
    Some(vec![referees::find(&["helm3"])?, referees::find(&["helm4"])?])
}

/// Pulls and renders a chart from a registry with the real helm.
#[track_caller]
pub fn helm_accepts(machine: &Machine, helm: &Path, place: &str, package: &Package, flags: &[&str]) {
    let (name, version) = (&package.metadata.name, &package.metadata.version);
    let url = format!("oci://{place}/{name}");
    let pulled = format!("pulled/{}", label(helm));
    machine.write(&format!("{pulled}/x"), "");
    let plain = ["--version", version, "--plain-http"];
    let destination = ["--destination", &pulled, "--prov"];
    let prov = if package.provenance.is_some() { &destination[..] } else { &destination[..2] };
    machine.tool(helm, &[&["pull", &url], &plain[..], prov, flags].concat());
    assert!(machine.read(&format!("{pulled}/{name}-{version}.tgz")) == package.archive, "{url}");
    if let Some(provenance) = &package.provenance {
        assert!(machine.read(&format!("{pulled}/{name}-{version}.tgz.prov")) == *provenance);
    }
    let rendered = machine.tool(helm, &[&["template", "rel", &url], &plain[..], flags].concat());
    assert!(rendered.contains(&format!("name: rel-{name}")), "{rendered}");
    // helm 3 wants to see a cluster even for this; helm 4 does not.
    let cluster = cluster();
    let reach = ["--kube-apiserver", &cluster.local_url(), "--disable-openapi-validation"];
    let reach = if label(helm) == "helm3" { &reach[..] } else { &[] };
    let install = ["install", "rel", &url, "--dry-run=client"];
    let installed = machine.tool(helm, &[&install[..], &plain, flags, reach].concat());
    assert!(installed.contains(&format!("name: rel-{name}")), "{installed}");
    assert!(installed.contains("STATUS: pending-install"), "{installed}");
}

/// Starts what helm 3 asks of a cluster before it installs anything.
fn cluster() -> Running {
    let answer = |value: Value| {
        let text = value.to_string();
        get(async move || ([(header::CONTENT_TYPE, "application/json")], text))
    };
    let maps = json!({"name": "configmaps", "singularName": "configmap", "namespaced": true, "kind": "ConfigMap", "verbs": ["get"]});
    let router = Router::new()
        .route("/version", answer(json!({"major": "1", "minor": "33", "gitVersion": "v1.33.0"})))
        .route("/api", answer(json!({"kind": "APIVersions", "versions": ["v1"]})))
        .route("/apis", answer(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": []})))
        .route("/api/v1", answer(json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": [maps]})));
    wait_for(async move { serve::listen(&serve::Options::default(), router).await }).unwrap()
}

pub fn label(helm: &Path) -> String {
    helm.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn helm_installs_what_was_loaded() {
    let (Some(helms), Some(cosign)) = (helms(), referees::cosign()) else { return };
    let Some(target) = End::stock() else { return };
    let (machine, charts) = carried();
    let to = format!("{}/mirror", target.host);

    let plan = machine.ok(&["load", "demo.tar", "--key", "shop.pub", "--to", &to, "--dry-run", "-o", "json"]).json();
    assert_eq!(plan["charts"][0]["repository"], "mirror/charts/shop");
    assert_eq!(plan["charts"][0]["tag"], "1.2.3_build.4");
    let text = machine.ok(&["load", "demo.tar", "--key", "shop.pub", "--to", &to, "--dry-run"]).out;
    assert!(text.contains(&format!("oci://{to}/charts/shop:1.2.3_build.4")), "{text}");

    let loaded = machine.ok(&["load", "demo.tar", "--key", "shop.pub", "--to", &to, "-o", "json"]).json();
    let receipt = &loaded["receipt"]["charts"];
    assert_eq!(receipt.as_array().unwrap().len(), 3);
    assert_eq!(receipt[0]["target"], json!(format!("{to}/charts/shop")));
    for helm in &helms {
        for package in &charts {
            helm_accepts(&machine, helm, &format!("{to}/charts"), package, &[]);
        }
    }
    machine.keys("stranger");
    for package in &charts {
        let name = format!("{to}/charts/{}:{}", package.metadata.name, package.tag().unwrap());
        for flags in [&[][..], &["--new-bundle-format=false"]] {
            let verify = [&["verify", "--insecure-ignore-tlog", "--allow-http-registry", "--key"], flags].concat();
            let (ours, others) = (
                [&verify[..4], &["shop.pub", &name], flags].concat(),
                [&verify[..4], &["stranger.pub", &name], flags].concat(),
            );
            machine.tool(&cosign, &ours);
            assert_ne!(machine.try_tool(&cosign, &others).code, Some(0));
        }
    }
    let again = machine.ok(&["load", "demo.tar", "--key", "shop.pub", "--to", &to, "-o", "json"]).json();
    assert_eq!((&again["pushedBlobs"], &again["receipt"]["charts"]), (&json!(0), receipt));

    // In one component, as registries with a limit want it.
    let flat = format!("{}/flat", target.host);
    machine.ok(&["load", "demo.tar", "--key", "shop.pub", "--to", &flat, "--layout", "flat"]);
    let url = format!("oci://{flat}/charts-shop");
    machine.tool(&helms[1], &["template", "rel", &url, "--version", "1.2.3+build.4", "--plain-http"]);
}

#[test]
fn upstreams_signatures_of_charts_come_along() {
    let (Some(helms), Some(cosign)) = (helms(), referees::cosign()) else { return };
    let (source, Some(target)) = (End::ours(), End::stock()) else { return };
    let machine = Machine::new();
    machine.keys("shop");
    let made = tool("2.0.0+x");
    machine.write("the-tool-2.0.0+x.tgz", &made.archive);
    let place = format!("{}/team/charts", source.host);
    machine.tool(&helms[1], &["push", "the-tool-2.0.0+x.tgz", &format!("oci://{place}"), "--plain-http"]);
    machine.tool(&cosign, &["generate-key-pair", "--output-key-prefix", "upstream"]);
    let name = format!("{place}/the-tool:2.0.0_x");
    let offline = ["--tlog-upload=false", "--use-signing-config=false", "--allow-http-registry", "--yes", &name];
    machine.tool(&cosign, &[&["sign", "--key", "upstream.key"], &offline[..]].concat());
    machine.tool(&cosign, &[&["sign", "--key", "upstream.key", "--new-bundle-format=false"], &offline[..]].concat());

    let package = pulled(source.registry(), "team/charts/the-tool", "2.0.0_x");
    assert!(
        package.archive == made.archive && package.digest() != made.digest(),
        "helm writes the time into the manifest"
    );
    let locked = locked(&package, &format!("oci://{name}"), &[]);
    create(&machine, "demo.tar", Some("shop"), &lock(vec![locked]), std::slice::from_ref(&package)).unwrap();
    let shown = machine.ok(&["inspect", "demo.tar", "-o", "json"]).json();
    assert_eq!(shown["charts"][0]["digest"], json!(package.digest()));
    assert_eq!(shown["charts"][0]["attachments"].as_array().unwrap().len(), 2);
    machine.ok(&["load", "demo.tar", "--key", "shop.pub", "--to", &target.host]);
    helm_accepts(&machine, &helms[0], &format!("{}/charts", target.host), &package, &[]);
    let name = format!("{}/charts/the-tool:2.0.0_x", target.host);
    for key in ["shop.pub", "upstream.pub"] {
        for flags in [&[][..], &["--new-bundle-format=false"]] {
            let verify = ["verify", "--insecure-ignore-tlog", "--allow-http-registry", "--key", key, &name];
            machine.tool(&cosign, &[&verify[..], flags].concat());
        }
    }
}

/// Takes a chart out of a registry as it is.
fn pulled(registry: &Registry, repository: &str, tag: &str) -> Package {
    let raw = Bytes::from(registry.get(&format!("/v2/{repository}/manifests/{tag}")).body);
    let manifest = Manifest::parse(None, &raw).unwrap();
    let blob = |blob: &Descriptor| Bytes::from(registry.get(&format!("/v2/{repository}/blobs/{}", blob.digest)).body);
    let blobs: Vec<(Descriptor, Bytes)> =
        manifest.children().into_iter().map(|one| (one.clone(), blob(&one))).collect();
    let of = |kind: &str| blobs.iter().find(|(one, _)| one.media_type.as_str() == kind).map(|(_, bytes)| bytes.clone());
    Package {
        metadata: Metadata::from_json(std::str::from_utf8(&of(package::CONFIG).unwrap()).unwrap()).unwrap(),
        archive: of(package::CONTENT).unwrap(),
        provenance: None,
        manifest: (Descriptor::of(media_type::MANIFEST, &raw), raw),
        blobs,
    }
}

#[test]
fn stock_tools_find_the_chart_in_the_file() {
    let (Some(oras), Some(skopeo), Some(crane)) = (referees::oras(), referees::skopeo(), referees::crane()) else {
        return;
    };
    let (machine, charts) = carried();
    let place = format!("demo.tar@{}", charts[0].digest());
    machine.tool(&oras, &["pull", "--oci-layout", &place, "--output", "out"]);
    machine.tool(&oras, &["pull", "charts/shop:1.2.3_build.4", "--oci-layout-path", "demo.tar", "--output", "named"]);
    let fetch = ["manifest", "fetch", "charts/shop:1.2.3_build.4", "--oci-layout-path", "demo.tar"];
    assert_eq!(digest(machine.tool(&oras, &fetch)), charts[0].digest().to_string());
    let copied = ["copy", "--preserve-digests", "oci-archive:demo.tar:charts/shop:1.2.3_build.4", "dir:copied"];
    machine.tool(&skopeo, &copied);
    let archive = digest(&charts[0].archive).replace("sha256:", "");
    assert!(machine.read(&format!("copied/{archive}")) == charts[0].archive);
    // From the file into a registry without our program.
    let target = End::ours();
    let to = format!("{}/by-hand/shop:1.2.3_build.4", target.host);
    let from = ["cp", "--from-oci-layout-path", "demo.tar", "--to-plain-http", "charts/shop:1.2.3_build.4", &to];
    machine.tool(&oras, &from);
    assert_eq!(machine.tool(&crane, &["digest", "--insecure", &to]).trim(), charts[0].digest().to_string());
}

#[test]
fn people_are_told_of_charts() {
    let (machine, charts) = carried();
    let wide = machine.bundle(&["inspect", "demo.tar", "--why"]).env("COLUMNS", "200").output().unwrap();
    let text = Ended::of(&wide).out;
    let row = text.lines().find(|line| line.starts_with("shop ")).unwrap_or_else(|| panic!("{text}"));
    for part in ["1.2.3+build.4", "4.50", &charts[0].digest().short(), "./charts/shop", " 2 "] {
        assert!(row.contains(part), "{part}: {row}");
    }
    assert!(text.contains("shop/redis (vendored)") && text.contains("3 charts: "), "{text}");
    assert!(text.contains("chart the-tool 0.9.0\n  charts[0]\n  charts[1] → variants[0]\n"), "{text}");
    let shown = machine.ok(&["inspect", "demo.tar", "-o", "json"]).json();
    assert_eq!((&shown["totals"]["charts"], &shown["totals"]["images"]), (&json!(3), &json!(0)));
    assert_eq!(shown["charts"][0]["vendored"][0]["path"], "shop/redis");
    let size =
        |package: &Package| package.blobs.iter().map(|(blob, _)| blob.size).sum::<u64>() + package.manifest.0.size;
    assert_eq!(shown["totals"]["chartBytes"], json!(charts.iter().map(size).sum::<u64>()));
    assert_eq!(shown["entries"].as_array().unwrap().iter().filter(|entry| entry["role"] == "chart").count(), 3);

    let verified = machine.ok(&["verify", "demo.tar", "--key", "shop.pub", "-o", "json"]).json();
    assert_eq!((&verified["intact"], &verified["charts"]), (&json!(true), &json!(3)));
    let why = machine.ok(&["why", "the-tool@0.9.0", "demo.tar", "-o", "json"]).json();
    assert_eq!(why.as_array().unwrap().len(), 1);
    assert_eq!(why[0]["because"][1], json!([{"entry": "charts[1]"}, {"variant": "variants[0]"}]));
    let text = machine.ok(&["why", "tool", "demo.tar"]).out;
    assert!(
        text.contains("chart the-tool 0.10.0-rc.1\n") && text.contains("  declared  charts[1] → variants[0]\n"),
        "{text}"
    );
    machine.ends(3, &["why", "nothing", "demo.tar"]).says(&["no image and no chart"]);

    // Damage names the chart that it concerns.
    let mut bytes = machine.read("demo.tar");
    let at = bytes.windows(64).rposition(|window| *window == charts[0].archive[..64]).unwrap();
    bytes[at + 20] ^= 1;
    machine.write("damaged.tar", bytes);
    let damaged = machine.ends(5, &["verify", "damaged.tar", "--key", "shop.pub", "-o", "json"]).json();
    assert_eq!(damaged["damaged"][0]["images"], json!(["charts/shop:1.2.3_build.4"]));
}

#[test]
fn the_same_charts_are_the_same_archive_and_others_are_refused() {
    let machine = Machine::new();
    let charts = vec![shop(), tool("1.0.0")];
    let pins = |charts: &[Package]| lock(charts.iter().map(|one| locked(one, "./charts", &[])).collect());
    create(&machine, "a.tar", None, &pins(&charts), &charts).unwrap();
    create(&machine, "b.tar", None, &pins(&charts), &[shop(), tool("1.0.0")]).unwrap();
    assert!(machine.read("a.tar") == machine.read("b.tar"));

    let refused = |lock: &Lock, charts: &[Package]| {
        let error = create(&machine, "c.tar", None, lock, charts).unwrap_err();
        assert!(!machine.has("c.tar"));
        error
    };
    let other = refused(&pins(&charts), &[shop(), tool("1.0.1")]);
    assert!(other.kind() == Kind::Answer && other.to_string().contains("the chart the-tool 1.0.0"), "{other}");
    let mut swapped = shop();
    swapped.archive = Bytes::from_static(b"something else");
    assert_eq!(refused(&pins(&charts), &[swapped, tool("1.0.0")]).kind(), Kind::Answer);
    assert!(refused(&pins(&charts), &charts[..1]).to_string().contains("does not ask for"));
    assert_eq!(refused(&pins(&charts[..1]), &charts).kind(), Kind::Answer);
    // Two charts that would get one tag.
    let plus = [tool("1.0.0+a"), tool("1.0.0+a")];
    assert!(refused(&pins(&plus), &plus).to_string().contains("there are two charts the-tool 1.0.0+a"));
    let upper = [chart(&json!({"apiVersion": "v2", "name": "Tool", "version": "1.0.0"}), &[], None)];
    let error = refused(&pins(&upper), &upper);
    assert!(error.kind() == Kind::Usage && error.to_string().contains("lower-case"), "{error}");
}
