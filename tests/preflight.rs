//! `bundle preflight`: what it finds, what it says to do, and that it changes nothing.

use std::path::{Path, PathBuf};

use airgap_bundler::{
    cluster::{self, Apply, Cluster, condition},
    event::Silent,
    kube::object::objects,
};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::{Value, json};

use crate::{
    journey::machine::{Ended, Machine},
    support::{
        apiserver::{self, ADMIN, WEAK},
        faulty::{Faulty, Quirks, Reply},
        images::Layout,
        registry::{DOCKER_LOGIN, DockerRegistry, Registry, Security},
        stock::{Options, StockRegistry},
    },
};

/// Makes an archive: an image of two platforms of which one is carried, a chart that uses it, and a file.
fn carried() -> Machine {
    let machine = Machine::new();
    let folder = machine.path("app");
    let mut layout = Layout::new(&folder);
    let mut entries = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let mut entry = layout.image("linux", architecture, &[(architecture, 30_000)]);
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        entries.push(entry);
    }
    let index = layout.index(&entries);
    layout.tag("1.0", &index);
    layout.finish();
    machine.write("shop/Chart.yaml", "apiVersion: v2\nname: shop\nversion: 0.1.0\n");
    machine.write("shop/values.yaml", "class: fast\n");
    machine.write(
        "shop/templates/all.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: web, image: 'quay.io/team/deep/er/app:1.0'}]}\n\
         ---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\n\
         spec: {accessModes: [ReadWriteOnce], storageClassName: '{{ .Values.class }}', resources: {requests: {storage: 1Gi}}}\n",
    );
    machine.write("notes/readme.txt", "hello");
    machine.write(
        "bundle.yaml",
        "apiVersion: airgap-bundler/v1\nkind: Bundle\nmetadata: {name: shop, version: 1.0.0}\n\
         images: [{image: 'quay.io/team/deep/er/app:1.0', archive: ./app}]\n\
         charts: [{name: shop, path: ./shop}]\nfiles: [{path: notes/, name: notes}]\n",
    );
    machine.keys("shop");
    machine.ok(&["create", "--key", "shop.key", "-o", "shop.tar"]);
    machine
}

/// Returns the checks of a report with an identifier.
#[track_caller]
fn of<'a>(report: &'a Value, id: &str) -> Vec<&'a Value> {
    let found: Vec<&Value> = report["checks"].as_array().unwrap().iter().filter(|check| check["id"] == id).collect();
    assert!(!found.is_empty(), "no {id} in {report:#}");
    found
}

/// Asserts how a check came out, and that message and remedy hold these texts.
#[track_caller]
fn expect(report: &Value, id: &str, outcome: &str, texts: &[&str]) {
    let found = of(report, id);
    let says = |check: &Value| {
        let all = [&check["message"], &check["remedy"]].map(|text| text.as_str().unwrap_or_default()).join(" ");
        check["outcome"] == outcome && texts.iter().all(|text| all.contains(text))
    };
    assert!(found.iter().any(|check| says(check)), "{id} is not {outcome} with {texts:?}: {found:#?}");
}

fn checked(machine: &Machine, code: i32, arguments: &[&str]) -> Value {
    machine.ends(code, &[&["preflight"], arguments, &["-o", "json"]].concat()).json()
}

/// Returns the files that a docker-registry keeps. Of an upload that was given up it writes the state of an empty hash
/// anew after it removed everything, and forgets it a week later.
fn content_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.components().any(|part| part.as_os_str() == "hashstates") => {}
                false => found.push(path),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_registry_that_is_ready_is_told_so_and_left_as_it_was() {
    let Some(registry) = DockerRegistry::start(true, Security::Tls) else { return };
    let machine = carried();
    let host = registry.host();
    machine.write("ca.pem", &registry.certificates.as_ref().unwrap().root);
    machine.login(&host, DOCKER_LOGIN);
    let to = format!("{host}/team");
    let arguments = ["shop.tar", "--key", "shop.pub", "--to", &to, "--ca", "ca.pem", "--data", "."];
    let report = checked(&machine, 0, &arguments);
    assert_eq!((&report["ready"], &report["failures"]), (&json!(true), &json!(0)));
    expect(&report, "PRE001", "ok", &["shop 1.0.0", "signed by"]);
    expect(&report, "PRE004", "ok", &["free"]);
    expect(&report, "PRE005", "ok", &["2 objects"]);
    expect(&report, "PRE102", "ok", &[&host]);
    expect(&report, "PRE103", "ok", &["test root"]);
    expect(&report, "PRE104", "ok", &[]);
    expect(&report, "PRE105", "ok", &["bundle"]);
    expect(&report, "PRE106", "ok", &["all 4 repositories"]);
    expect(&report, "PRE107", "ok", &["team/quay.io/team/deep/er/app"]);
    expect(&report, "PRE108", "could-not-check", &["quay.io/team/deep/er/app", "--derive-index"]);
    expect(&report, "PRE109", "could-not-check", &["bytes"]);
    expect(&report, "PRE110", "ok", &["0 of 3"]);
    assert_eq!(content_below(&registry.home().join("data")), Vec::<PathBuf>::new());
    // Strictness counts what could not be checked.
    checked(&machine, 1, &[&arguments[..], &["--strict"]].concat());

    machine.ok(&["load", "shop.tar", "--key", "shop.pub", "--to", &to, "--ca", "ca.pem", "--derive-index"]);
    let before = content_below(&registry.home().join("data"));
    assert!(!before.is_empty());
    let report = checked(&machine, 0, &arguments);
    expect(&report, "PRE110", "ok", &["2 of 3"]);
    assert_eq!(content_below(&registry.home().join("data")), before);

    let text = machine.ok(&[&["preflight"], &arguments[..]].concat()).out;
    assert!(
        text.contains("PRE103") && text.contains("could not check") && text.contains("nothing was changed"),
        "{text}"
    );
}

#[test]
fn nothing_is_written() {
    let registry = Registry::start();
    let machine = carried();
    checked(&machine, 0, &["shop.tar", "--key", "shop.pub", "--to", &registry.host()]);
    let hits = registry.take_hits();
    assert!(hits.iter().all(|hit| matches!(hit.method.as_str(), "GET" | "HEAD" | "POST" | "DELETE")), "{hits:#?}");
    let uploads =
        |method: &str| hits.iter().filter(|hit| hit.method == method && hit.path.contains("/blobs/uploads/")).count();
    assert_eq!((uploads("POST"), uploads("DELETE")), (4, 4), "{hits:#?}");
    let sessions: Vec<_> = hits.iter().filter(|hit| hit.method == "DELETE").map(|hit| hit.status).collect();
    assert!(sessions.iter().all(|status| *status == 204 || *status == 202), "an upload was not given up: {sessions:?}");
    // When it is not to be tried, not even that.
    let report =
        checked(&machine, 0, &["shop.tar", "--key", "shop.pub", "--to", &registry.host(), "--no-upload-probe"]);
    expect(&report, "PRE106", "could-not-check", &["--no-upload-probe"]);
    assert!(registry.hits().iter().all(|hit| matches!(hit.method.as_str(), "GET" | "HEAD")));
}

#[test]
fn what_a_registry_refuses_is_told_with_a_remedy() {
    let Some(registry) = DockerRegistry::start(true, Security::Tls) else { return };
    let machine = carried();
    let host = registry.host();
    let arguments = ["shop.tar", "--key", "shop.pub", "--to", &host];
    // Nobody told this machine about the authority.
    let report = checked(&machine, 1, &arguments);
    expect(&report, "PRE102", "ok", &[]);
    expect(&report, "PRE103", "failure", &["issuer is unknown", "test root", "--ca"]);
    expect(&report, "PRE106", "could-not-check", &[]);
    machine.write("ca.pem", &registry.certificates.as_ref().unwrap().root);
    let arguments = [&arguments[..], &["--ca", "ca.pem"]].concat();
    let report = checked(&machine, 1, &arguments);
    expect(&report, "PRE105", "ok", &["nobody"]);
    expect(&report, "PRE106", "failure", &["denied", "4 of 4", "docker login", &host]);
    machine.login(&host, (DOCKER_LOGIN.0, "wrong"));
    let report = checked(&machine, 1, &arguments);
    expect(&report, "PRE106", "failure", &["denied"]);
    assert!(!report.to_string().contains("wrong"));
    // It is still found out what can be found out without it.
    expect(&report, "PRE104", "ok", &[]);
    expect(&report, "PRE001", "ok", &[]);
}

#[test]
fn a_read_only_registry_is_told() {
    let Some(registry) = StockRegistry::docker(&Options { read_only: true, ..Options::default() }) else { return };
    let machine = carried();
    let report = checked(&machine, 1, &["shop.tar", "--key", "shop.pub", "--to", &registry.host]);
    expect(&report, "PRE106", "failure", &["read-only", "maintenance"]);
}

#[test]
fn certificates_that_do_not_hold_are_described() {
    let machine = carried();
    let served = |name: &str, change: &dyn Fn(&mut CertificateParams)| {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "old registry");
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        let (cert, key) = (machine.write("cert.pem", &certificate), machine.write("key.pem", key.serialize_pem()));
        StockRegistry::docker(&Options { tls: Some((&cert, &key)), ..Options::default() })
    };
    let old = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 2, 3);
    };
    let Some(registry) = served("127.0.0.1", &old) else { return };
    let report = checked(&machine, 1, &["--to", &registry.host, "--ca", "cert.pem"]);
    expect(&report, "PRE103", "failure", &["expired", "2021-02-03", "renew"]);
    let Some(registry) = served("other.lan", &|_| {}) else { return };
    let report = checked(&machine, 1, &["--to", &registry.host, "--ca", "cert.pem"]);
    expect(&report, "PRE103", "failure", &["other names", "other.lan"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_too_deep_clocks_that_are_wrong_and_servers_that_are_none() {
    let machine = carried();
    let faulty = Faulty::start(Quirks::default()).await;
    faulty.instead(
        usize::MAX,
        |seen| seen.method == "POST" && seen.path.matches('/').count() > 8,
        |_, reply| *reply = Reply::error(400, "NAME_INVALID"),
    );
    faulty.after(
        usize::MAX,
        |seen| seen.path == "/v2/",
        |_, reply| {
            reply.without("date");
            *reply = reply.clone().with("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        },
    );
    let host = faulty.host();
    let run = |arguments: Vec<String>| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        checked(&machine, 1, &arguments)
    };
    let arguments = |to: &str| ["shop.tar", "--key", "shop.pub", "--to", to].map(str::to_owned).to_vec();
    let report = tokio::task::block_in_place(|| run(arguments(&host)));
    expect(&report, "PRE104", "failure", &["behind this machine", "chrony"]);
    expect(&report, "PRE107", "failure", &["5 components", "--layout"]);
    expect(&report, "PRE106", "failure", &["1 of 4", "--layout"]);
    assert!(faulty.seen().iter().all(|seen| seen.body.is_empty()), "content was sent");
    let flat = [arguments(&host), vec!["--layout".to_owned(), "flat".to_owned()]].concat();
    let report = tokio::task::block_in_place(|| run(flat));
    expect(&report, "PRE106", "ok", &["all 4"]);
    expect(&report, "PRE107", "ok", &[]);

    let web = Faulty::start(Quirks::default()).await;
    web.instead(usize::MAX, |_| true, |_, reply| *reply = Reply::status(404));
    let report = tokio::task::block_in_place(|| run(arguments(&web.host())));
    expect(&report, "PRE102", "failure", &["status 404", "no registry"]);
}

#[test]
fn what_is_not_there_is_unavailable_and_what_is_not_trusted_is_not_used() {
    let machine = carried();
    let report = checked(&machine, 4, &["shop.tar", "--key", "shop.pub", "--to", "127.0.0.1:1"]);
    expect(&report, "PRE102", "failure", &["127.0.0.1:1"]);
    expect(&report, "PRE106", "could-not-check", &[]);
    let report = checked(&machine, 4, &["--to", "registry.invalid"]);
    expect(&report, "PRE101", "failure", &["registry.invalid", "/etc/hosts"]);

    machine.keys("other");
    let registry = Registry::start();
    let report = checked(&machine, 6, &["shop.tar", "--key", "other.pub", "--to", &registry.host()]);
    expect(&report, "PRE001", "failure", &[]);
    expect(&report, "PRE102", "ok", &[]);
    expect(&report, "PRE106", "could-not-check", &["without an archive"]);
    let report = checked(&machine, 0, &["shop.tar", "--to", &registry.host()]);
    expect(&report, "PRE001", "could-not-check", &["--key"]);
    let error = machine.ends(6, &["preflight", "shop.tar", "--key", "other.pub", "-o", "json"]).error();
    assert_eq!(error["exitCode"], 6);
    machine.ends(2, &["preflight"]);
}

const MANIFESTS: &str = "\
apiVersion: policy/v1beta1
kind: PodDisruptionBudget
metadata: {name: web}
---
apiVersion: example.test/v1
kind: Widget
metadata: {name: one}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: default, annotations: {cert-manager.io/cluster-issuer: letsencrypt-prod}}
spec: {ingressClassName: nginx, rules: [{host: web.enclave.invalid}]}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {storageClassName: fast}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: more}
spec: {}
";

#[test]
fn removed_versions_are_found_without_a_cluster() {
    let machine = Machine::new();
    machine.write("all.yaml", MANIFESTS);
    let report = checked(&machine, 1, &["--manifests", "all.yaml", "--kube-version", "1.33"]);
    expect(
        &report,
        "PRE204",
        "failure",
        &["PodDisruptionBudget in policy/v1beta1", "1.25", "all.yaml:1", "use policy/v1"],
    );
    expect(&report, "PRE301", "warning", &["web.enclave.invalid"]);
    let report = checked(&machine, 0, &["--manifests", "all.yaml", "--kube-version", "v1.24.3"]);
    expect(&report, "PRE204", "warning", &["until 1.24"]);
    let fed = machine.fed(MANIFESTS, &["preflight", "--manifests", "-", "--kube-version", "1.33", "-o", "json"]);
    assert_eq!(fed.code, Some(1), "{}", fed.err);
    machine.ends(2, &["preflight", "--manifests", "all.yaml", "--kube-version", "latest"]);
}

#[test]
fn a_real_cluster_is_held_against_the_deployment() {
    let Some(server) = apiserver::own() else { return };
    let machine = carried();
    let cluster = |token: &str| machine.write("kubeconfig", server.kubeconfig(token));
    cluster(ADMIN);
    let widget = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "gadgets.carried.test"},
        "spec": {"group": "carried.test", "names": {"kind": "Gadget", "plural": "gadgets"}, "scope": "Namespaced",
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
    let carried =
        format!("{MANIFESTS}---\n{widget}\n---\napiVersion: carried.test/v1\nkind: Gadget\nmetadata: {{name: g}}\n");
    machine.write("all.yaml", carried);
    let arguments = ["shop.tar", "--key", "shop.pub", "--to", "127.0.0.1:1", "--cluster", "--kubeconfig", "kubeconfig"];
    let report = checked(&machine, 4, &[&arguments[..], &["--manifests", "all.yaml"]].concat());
    expect(&report, "PRE201", "ok", &["Kubernetes v1."]);
    expect(&report, "PRE202", "ok", &[]);
    expect(&report, "PRE203", "ok", &[]);
    expect(&report, "PRE204", "failure", &["PodDisruptionBudget in policy/v1beta1", "use policy/v1"]);
    expect(&report, "PRE205", "failure", &["Widget in example.test/v1", "install the operator first"]);
    assert!(of(&report, "PRE205").iter().all(|check| !check.to_string().contains("Gadget")), "it is carried");
    expect(&report, "PRE206", "failure", &["not installed", "Ingress web"]);
    expect(&report, "PRE207", "failure", &["\"fast\"", "a default class", "the cluster has none"]);
    expect(&report, "PRE208", "failure", &["\"nginx\""]);
    expect(&report, "PRE209", "ok", &[]);
    expect(&report, "PRE210", "failure", &["no nodes"]);

    server.create("/apis/storage.k8s.io/v1/storageclasses", &json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": "fast", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}, "provisioner": "x.test/y"}));
    server.create(
        "/apis/networking.k8s.io/v1/ingressclasses",
        &json!({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
        "metadata": {"name": "nginx"}, "spec": {"controller": "x.test/y"}}),
    );
    let node = |name: &str, architecture: &str| {
        server.create("/api/v1/nodes", &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": {
            "nodeInfo": {"operatingSystem": "linux", "architecture": architecture, "containerRuntimeVersion": "containerd://2.1.4",
                "kubeletVersion": "v1.34.1", "machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": "", "osImage": "",
                "kubeProxyVersion": ""},
            "conditions": [{"type": "Ready", "status": "True"}]}}));
    };
    node("one", "amd64");
    // The chart of the archive, with its own values.
    let report = checked(&machine, 4, &arguments);
    expect(&report, "PRE005", "ok", &["2 objects", "charts"]);
    for id in ["PRE204", "PRE205", "PRE206", "PRE207", "PRE208", "PRE209", "PRE210", "PRE211", "PRE212"] {
        expect(&report, id, "ok", &[]);
    }
    node("two", "arm64");
    let report = checked(&machine, 4, &arguments);
    expect(&report, "PRE211", "warning", &["linux/arm64", "quay.io/team/deep/er/app"]);

    cluster(WEAK);
    let report = checked(&machine, 4, &arguments);
    expect(&report, "PRE201", "ok", &[]);
    expect(&report, "PRE207", "could-not-check", &["forbidden"]);
    expect(&report, "PRE209", "failure", &["persistentvolumeclaims", "role"]);
    expect(&report, "PRE210", "could-not-check", &["forbidden"]);
}

/// cert-manager as it is published, into a real API server: every object is applied, and the check finds it.
#[tokio::test(flavor = "multi_thread")]
async fn cert_manager_as_published_is_applied_and_found() {
    let Some(corpus) = std::env::var_os("BUNDLE_CORPUS") else {
        eprintln!("SKIPPED: BUNDLE_CORPUS does not say where published manifests are");
        return;
    };
    let name = "manifests/files/kubeflow__manifests__common__cert-manager__base__upstream__cert-manager.yaml.gz";
    let Some(server) = apiserver::own() else { return };
    let packed = std::fs::File::open(Path::new(&corpus).join(name)).unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(packed), &mut text).unwrap();
    let machine = Machine::new();
    machine.write("kubeconfig", server.kubeconfig(ADMIN));
    let arguments = ["--cluster", "--kubeconfig", "kubeconfig"];
    let check = || {
        tokio::task::block_in_place(|| machine.run(&[&["preflight"], &arguments[..], &["-o", "json"]].concat()).json())
    };
    expect(&check(), "PRE206", "ok", &["not installed", "nothing asks"]);

    let options = cluster::Options { kubeconfig: Some(machine.path("kubeconfig")), ..cluster::Options::default() };
    let cluster = Cluster::connect(&options, std::sync::Arc::new(Silent)).await.unwrap();
    let how = Apply { manager: "bundle-test", force: false, dry_run: false };
    let objects = objects("cert-manager.yaml", &text).unwrap();
    let (definitions, rest): (Vec<_>, Vec<_>) =
        objects.iter().partition(|object| object.kind == "CustomResourceDefinition");
    assert!(definitions.len() >= 6, "{} definitions", definitions.len());
    for object in &definitions {
        let applied = cluster.apply(&object.node.to_json().unwrap(), &how).await.unwrap();
        let kind = ("apiextensions.k8s.io/v1", "CustomResourceDefinition");
        let name = applied["metadata"]["name"].as_str().unwrap();
        let established = |seen: &Value| condition(seen, "Established").is_some_and(|(status, ..)| status == "True");
        cluster.wait(kind, None, name, std::time::Duration::from_secs(30), established).await.unwrap();
    }
    expect(&check(), "PRE206", "warning", &["nothing that runs it"]);
    let issuer = |field: &str| {
        json!({"apiVersion": "cert-manager.io/v1", "kind": "ClusterIssuer", "metadata": {"name": "enclave"},
            "spec": {"ca": {field: "enclave-ca"}}})
    };
    let only_try = Apply { dry_run: true, ..how };
    cluster.apply(&issuer("secretName"), &only_try).await.unwrap();
    assert_eq!(cluster.get("cert-manager.io/v1", "ClusterIssuer", None, "enclave").await.unwrap(), None);
    let error = cluster.apply(&issuer("secret"), &only_try).await.unwrap_err().to_string();
    assert!(error.contains(".spec.ca.secret: field not declared in schema"), "{error}");

    // A webhook that nothing answers would stop every further issuer; nobody is left to create one.
    for object in rest {
        cluster.apply(&object.node.to_json().unwrap(), &how).await.unwrap_or_else(|error| panic!("{error}"));
    }
    // Nothing runs there: no controller ever says that it is available.
    expect(&check(), "PRE206", "warning", &["cert-manager v1.", "does not say that it runs"]);
}

#[test]
fn without_a_cluster_the_reason_is_told() {
    let machine = Machine::new();
    let report = checked(&machine, 3, &["--cluster"]);
    expect(&report, "PRE201", "failure", &["no cluster is configured", "--kubeconfig"]);
    expect(&report, "PRE206", "could-not-check", &[]);
    let closed = "current-context: x\nclusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\n\
         contexts: [{name: x, context: {cluster: c, user: ''}}]\n";
    machine.write(".kube/config", closed);
    let report = checked(&machine, 4, &["--cluster"]);
    expect(&report, "PRE201", "failure", &["https://127.0.0.1:1", "context x"]);
    let ended: Ended = machine.ends(4, &["preflight", "--cluster"]);
    assert!(ended.out.contains("FAILURE"), "{}", ended.out);
    ended.says(&["not ready: 1 failure"]);
}
