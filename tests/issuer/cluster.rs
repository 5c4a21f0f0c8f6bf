//! `apply` and `load --issuer`, judged by a real kube-apiserver with cert-manager's published definitions. No controller
//! runs there: a thread of the test says of every issuer and certificate that it is ready, as cert-manager would.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};

use super::manifests::definitions;
use crate::{
    journey::{helm_in_enclave::carried, machine::Machine},
    support::{
        apiserver::{self, ADMIN, ApiServer, WEAK},
        referees,
        stock::{Options, StockRegistry},
    },
};

/// A machine that reaches a cluster.
struct Site {
    server: ApiServer,
    machine: Machine,
    kubectl: PathBuf,
}

fn site(machine: Machine) -> Option<Site> {
    let (kubectl, server) = (referees::find(&["kubectl"])?, apiserver::start()?);
    machine.write("kubeconfig", server.kubeconfig(ADMIN));
    machine.ok(&[
        "issuer",
        "init",
        "--dir",
        "ca",
        "--organization",
        "Acme Enclave",
        "--domain",
        "enclave.lan",
        "--ip-range",
        "127.0.0.0/8",
        "--replaces",
        "letsencrypt-prod",
    ]);
    Some(Site { server, machine, kubectl })
}

impl Site {
    fn kubectl(&self, arguments: &[&str]) -> String {
        self.machine.tool(&self.kubectl, &[&["--kubeconfig", "kubeconfig"], arguments].concat())
    }

    fn create(&self, object: &Value) {
        self.machine.write("object.json", object.to_string());
        self.kubectl(&["create", "-f", "object.json"]);
    }

    /// Installs the definitions of cert-manager, and of trust-manager as far as they are used.
    fn define(&self, definitions: &[Value]) {
        for definition in definitions {
            let mut definition = definition.clone();
            definition.as_object_mut().unwrap().remove("status");
            // Only one version is served: nothing would answer for a conversion.
            definition["spec"].as_object_mut().unwrap().remove("conversion");
            self.create(&definition);
        }
        self.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]);
    }

    fn namespaces(&self, names: &[&str]) {
        for name in names {
            self.kubectl(&["create", "namespace", name]);
        }
    }

    /// Says of every object of cert-manager that it is ready, until dropped.
    fn controller(&self) -> Controller {
        let stop = Arc::new(AtomicBool::new(false));
        let (done, kubectl, config) = (stop.clone(), self.kubectl.clone(), self.machine.path("kubeconfig"));
        let thread = std::thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                make_ready(&kubectl, &config);
                std::thread::sleep(Duration::from_millis(300));
            }
        });
        Controller { stop, thread: Some(thread) }
    }
}

struct Controller {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

fn make_ready(kubectl: &Path, config: &Path) {
    let run =
        |arguments: &[&str]| Command::new(kubectl).arg("--kubeconfig").arg(config).args(arguments).output().unwrap();
    for (kind, condition) in
        [("clusterissuers", "Ready"), ("issuers", "Ready"), ("certificates", "Ready"), ("bundles", "Synced")]
    {
        let listed = run(&["get", kind, "--all-namespaces", "-o", "json"]);
        let Ok(listed) = serde_json::from_slice::<Value>(&listed.stdout) else { continue };
        for object in listed["items"].as_array().into_iter().flatten().filter(|object| object.get("status").is_none()) {
            let status = json!({"status": {"conditions": [{"type": condition, "status": "True", "reason": "Test",
                "message": "said by a test", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
            let name = object["metadata"]["name"].as_str().unwrap();
            let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
            run(&[
                "--namespace",
                namespace,
                "patch",
                kind,
                name,
                "--subresource=status",
                "--type=merge",
                "--patch",
                &status.to_string(),
            ]);
        }
    }
}

/// trust-manager's Bundle, as far as it is used here.
fn bundle_definition() -> Value {
    let mut schema = super::manifests::bundle_schema();
    schema["properties"]["status"] = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "bundles.trust.cert-manager.io", "annotations": {
            "api-approved.kubernetes.io": "unapproved, a part of the published one"}},
        "spec": {"group": "trust.cert-manager.io", "scope": "Cluster",
            "names": {"kind": "Bundle", "plural": "bundles", "singular": "bundle", "listKind": "BundleList"},
            "versions": [{"name": "v1alpha1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": schema}}]},
    })
}

fn deployment(name: &str, labels: Value, available: bool) -> Value {
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "x", "image": "x"}]}});
    let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "cert-manager", "labels": labels},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    if available {
        object["status"] = json!({"replicas": 1, "readyReplicas": 1, "availableReplicas": 1, "updatedReplicas": 1});
    }
    object
}

const APPLY: [&str; 10] = [
    "issuer",
    "apply",
    "--dir",
    "ca",
    "--kubeconfig",
    "kubeconfig",
    "--cluster-timeout",
    "3",
    "--issuer-in",
    "shop/old",
];

/// One server for all of it, step by step: they take a while to start.
#[test]
fn a_real_api_server_on_the_whole_way() {
    let Some(definitions) = definitions() else { return };
    let Some(site) = site(carried().0) else { return };
    let machine = &site.machine;
    machine.ok(&["issuer", "issue", "127.0.0.1", "--dir", "ca"]);
    let (certificate, key) =
        (machine.path("ca/certificates/127.0.0.1.crt"), machine.path("ca/certificates/127.0.0.1.key"));
    let options = Options { tls: Some((&certificate, &key)), ..Options::default() };
    let Some(registry) = StockRegistry::docker(&options) else { return };
    let load = [
        "load",
        "demo.tar",
        "--key",
        "shop.pub",
        "--to",
        &registry.host,
        "--issuer",
        "ca",
        "--kubeconfig",
        "kubeconfig",
        "-o",
        "json",
    ];
    // A wrong password is told before anything is pushed.
    machine.write("wrong.txt", "wrong");
    machine.ends(3, &[&load[..], &["--issuer-password-file", "wrong.txt"]].concat()).says(&["password"]);
    // Everything is in the registry before cert-manager is asked for, which is pulled from there.
    let ended = machine.ends(7, &load);
    ended.says(&[&format!("oci://{}/charts/cert-manager", registry.host), "then run this again"]);

    applied(&site, &definitions);
    an_acme_issuer_in_the_way(&site);

    let controller = site.controller();
    let report = machine.ok(&load).json();
    drop(controller);
    assert_eq!(report["pushedBlobs"], 0, "the first run pushed everything");
    assert_eq!(report["applied"][0]["kind"], "Secret");
    assert_eq!(site.kubectl(&["get", "clusterissuers", "-o", "name"]).lines().count(), 2);
}

/// What is missing is said, what is applied is checked by the server, and applying again changes nothing.
fn applied(site: &Site, definitions: &[Value]) {
    let machine = &site.machine;
    let registry = ["--registry", "registry.enclave.lan"];
    let apply = |more: &[&str]| -> Vec<String> {
        [&APPLY[..], &registry, more].concat().iter().map(|part| (*part).to_owned()).collect()
    };
    let ends = |code: i32, more: &[&str]| {
        let arguments = apply(more);
        machine.ends(code, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    // No cluster, a cluster that is not there, a user who may not, no cert-manager.
    machine.ends(3, &["issuer", "apply", "--dir", "ca"]).says(&["no cluster is configured"]);
    machine.write("gone", site.server.kubeconfig(ADMIN).replace(&site.server.port.to_string(), "1"));
    machine.ends(4, &["issuer", "apply", "--dir", "ca", "--kubeconfig", "gone"]).says(&["127.0.0.1:1"]);
    ends(7, &[]).says(&["cert-manager is not installed", "https://charts.jetstack.io", "helm install cert-manager"]);
    site.define(definitions);
    ends(7, &[]).says(&["namespace cert-manager is not there", "--secret-namespace"]);
    site.namespaces(&["cert-manager", "shop", "registry"]);
    machine.write("weak", site.server.kubeconfig(WEAK));
    machine.ends(3, &["issuer", "apply", "--dir", "ca", "--kubeconfig", "weak"]).says(&["forbidden"]);

    // The server checks every field by the published definitions, and changes nothing.
    let report = ends(0, &["--dry-run", "-o", "json"]).json();
    let outcomes: Vec<&str> =
        report["applied"].as_array().unwrap().iter().map(|one| one["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["created", "created", "created", "created", "created", "created", "skipped", "created"]);
    assert_eq!(site.kubectl(&["get", "clusterissuers,issuers,certificates,secrets", "-A", "-o", "name"]).trim(), "");

    // A webhook that does not run is waited for, and named.
    let labels = json!({"app.kubernetes.io/name": "webhook", "app.kubernetes.io/component": "webhook"});
    site.create(&deployment("cert-manager-webhook", labels.clone(), false));
    ends(7, &[]).says(&[
        "webhook of cert-manager (cert-manager/cert-manager-webhook) is not running",
        "kubectl -n cert-manager",
    ]);
    site.kubectl(&["-n", "cert-manager", "delete", "deployment", "cert-manager-webhook"]);

    // Nobody makes the issuers ready: the first one is named.
    ends(4, &[]).says(&["ClusterIssuer enclave-ca does not become ready"]);
    let controller = site.controller();
    let limit = ["--cluster-timeout", "30"];
    let arguments: Vec<String> =
        apply(&["-o", "json"]).into_iter().map(|part| if part == "3" { limit[1].to_owned() } else { part }).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let report = machine.ok(&arguments).json();
    assert_eq!(report["applied"][1]["outcome"], "unchanged", "the first try left it");
    assert_eq!(report["applied"][7]["outcome"], "created");
    let ended = machine.ok(&arguments);
    for one in ended.json()["applied"].as_array().unwrap() {
        let expected = if one["kind"] == "Bundle" { "skipped" } else { "unchanged" };
        assert_eq!(one["outcome"], expected, "{one}");
    }
    ended.says(&["trust-manager is not installed"]);
    // With trust-manager, the roots reach the namespaces.
    site.define(&[bundle_definition()]);
    let report = machine.ok(&arguments).json();
    assert_eq!(
        (&report["applied"][6]["kind"], &report["applied"][6]["outcome"]),
        (&json!("Bundle"), &json!("created"))
    );
    let status = ["issuer", "status", "--dir", "ca", "--cluster", "--kubeconfig", "kubeconfig", "-o", "json"];
    let used = machine.ok(&status).json()["inUse"].clone();
    assert_eq!((&used[0]["name"], &used[0]["ready"]), (&json!("registry-tls"), &json!(true)));
    drop(controller);
    // A rotation changes the Secret and nothing else.
    machine.ok(&["issuer", "rotate", "--dir", "ca"]);
    let report = machine.ok(&arguments).json();
    let changed: Vec<&Value> = report["applied"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["outcome"] == "configured")
        .map(|one| &one["kind"])
        .collect();
    assert_eq!(changed, ["Secret", "Secret"]);
}

/// cert-manager takes one type for an issuer: the one that is there is named, and nothing is changed.
fn an_acme_issuer_in_the_way(site: &Site) {
    let acme = json!({"server": "https://acme.example.com", "privateKeySecretRef": {"name": "x"}, "solvers": []});
    let name = json!({"name": "letsencrypt-prod"});
    site.kubectl(&["delete", "clusterissuer", "letsencrypt-prod"]);
    let kind = ("cert-manager.io/v1", "ClusterIssuer");
    site.create(&json!({"apiVersion": kind.0, "kind": kind.1, "metadata": name, "spec": {"acme": acme}}));
    let before = site.kubectl(&["get", "secrets", "-A", "-o", "json"]);
    let words = ["ClusterIssuer letsencrypt-prod", "type acme", "kubectl delete clusterissuer letsencrypt-prod"];
    site.machine.ends(4, &APPLY).says(&words);
    assert_eq!(site.kubectl(&["get", "secrets", "-A", "-o", "json"]), before);
    site.kubectl(&["delete", "clusterissuer", "letsencrypt-prod"]);
}
