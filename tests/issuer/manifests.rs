//! What a cluster gets: cert-manager's own checks, and the schemas of the kinds.

use airgap_bundler::{
    issuer::{self, Document, Options, Registry, Shadow},
    trust::x509::{CaKey, read_chain},
    yaml,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{home, now, password};
use crate::journey::machine::Machine;

/// The caps of cert-manager's PEM decoder: bytes of a CA certificate, of a private key, certificates in a chain.
const MAX_CERTIFICATE: usize = 6_500;
const MAX_KEY: usize = 13_000;
const MAX_CHAIN: usize = 10;

pub fn options() -> Options {
    Options {
        shadows: vec![Shadow { namespace: "shop".into(), name: "letsencrypt-staging".into() }],
        registry: Some(Registry {
            names: vec!["registry.enclave.lan".parse().unwrap(), "10.1.2.3".parse().unwrap()],
            namespace: "registry".into(),
            secret: "registry-tls".into(),
        }),
        ..Options::default()
    }
}

pub fn documents() -> Vec<Document> {
    let folder = tempfile::tempdir().unwrap();
    let home = home(folder.path(), &["enclave.lan"], &["10.0.0.0/8"], now());
    let issuing = home.issuing(&password()).unwrap();
    issuer::manifests(&home, &options(), Some(&issuing), now()).unwrap()
}

#[test]
fn the_secret_passes_the_checks_of_cert_manager() {
    let documents = documents();
    let secrets: Vec<&Document> = documents.iter().filter(|document| document.kind() == "Secret").collect();
    assert_eq!(secrets.len(), 2, "one for the cluster, one beside the Issuer");
    for document in secrets {
        assert!(document.secret && document.value["type"] == "kubernetes.io/tls");
        let part = |key: &str| {
            let text = document.value["data"][key].as_str().unwrap();
            String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
        };
        let chain = read_chain(&part("tls.crt")).unwrap();
        assert!(chain.len() == 2 && chain.len() <= MAX_CHAIN);
        assert!(chain.iter().all(|one| one.is_authority() && one.to_pem().len() < MAX_CERTIFICATE));
        assert!(chain[0].is_issued_by(&chain[1]) && chain[1].is_self_issued());
        let key = part("tls.key");
        assert!(key.len() < MAX_KEY && key.starts_with("-----BEGIN PRIVATE KEY-----"));
        assert!(chain[0].belongs_to(&CaKey::of_open_pem(&key).unwrap()));
    }
    assert!(documents.iter().all(|document| document.secret == document.text.contains("tls.key:")));
}

#[test]
fn issuers_have_the_names_that_manifests_use() {
    let documents = documents();
    let named = |kind: &str| -> Vec<&str> {
        documents.iter().filter(|document| document.kind() == kind).map(Document::name).collect()
    };
    assert_eq!(named("ClusterIssuer"), ["enclave-ca", "letsencrypt-prod"]);
    assert_eq!(named("Issuer"), ["letsencrypt-staging"]);
    for document in documents.iter().filter(|document| document.kind().ends_with("Issuer")) {
        assert_eq!(document.value["spec"], json!({"ca": {"secretName": "enclave-ca"}}));
    }
    let bundle = documents.iter().find(|document| document.kind() == "Bundle").unwrap();
    assert_eq!(bundle.value["spec"]["target"]["namespaceSelector"], json!({"matchLabels": {"trust": "enclave"}}));
    let roots = bundle.value["spec"]["sources"][0]["inLine"].as_str().unwrap();
    assert!(read_chain(roots).unwrap()[0].is_self_issued());
    let certificate = documents.iter().find(|document| document.kind() == "Certificate").unwrap();
    assert_eq!(certificate.value["spec"]["dnsNames"], json!(["registry.enclave.lan"]));
    assert_eq!(certificate.value["spec"]["ipAddresses"], json!(["10.1.2.3"]));
    assert_eq!(certificate.value["spec"]["duration"], "2160h0m0s");
}

/// Follows a structural schema (apiextensions.k8s.io/v1): unknown fields, missing fields, types, patterns of words.
fn check(value: &Value, schema: &Value, at: &str, wrong: &mut Vec<String>) {
    let kind = match value {
        Value::Object(_) => "object",
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::Null => "null",
    };
    if let Some(expected) = schema["type"].as_str().filter(|expected| *expected != kind) {
        wrong.push(format!("{at} is {kind}, not {expected}"));
    }
    if let Some(allowed) = schema["enum"].as_array().filter(|allowed| !allowed.contains(value)) {
        wrong.push(format!("{at} is {value}, none of {allowed:?}"));
    }
    if let Some(fields) = value.as_object() {
        for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !fields.contains_key(required) {
                wrong.push(format!("{at} has no {required}"));
            }
        }
        for (name, value) in fields {
            // What every object has is not in the schema.
            if at.is_empty() && ["apiVersion", "kind", "metadata"].contains(&name.as_str()) {
                continue;
            }
            match (schema["properties"].get(name), schema.get("additionalProperties")) {
                (Some(schema), _) | (None, Some(schema)) => check(value, schema, &format!("{at}.{name}"), wrong),
                (None, None) => wrong.push(format!("{at}.{name} is not in the schema")),
            }
        }
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        check(item, &schema["items"], &format!("{at}[{index}]"), wrong);
    }
}

/// The definitions that a corpus of real manifests holds, where it lies beside the repository.
pub fn definitions() -> Option<Vec<Value>> {
    let corpus = std::env::var_os("BUNDLE_CORPUS").map(std::path::PathBuf::from);
    let name = "manifests/files/kubeflow__manifests__common__cert-manager__base__upstream__cert-manager.yaml.gz";
    let Some(path) = corpus.map(|corpus| corpus.join(name)).filter(|path| path.is_file()) else {
        eprintln!("SKIPPED: the corpus of real manifests is not here (BUNDLE_CORPUS)");
        return None;
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).unwrap();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(file), &mut text).unwrap();
    let parts = text.split("\n---").filter(|part| part.contains("kind: CustomResourceDefinition"));
    Some(parts.map(|part| yaml::from_text(part).unwrap()).collect())
}

/// What trust-manager's Bundle takes, as far as it is used here.
pub fn bundle_schema() -> Value {
    let key = json!({"type": "object", "required": ["key"], "properties": {"key": {"type": "string"}}});
    let labels = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let target = json!({"type": "object", "properties": {"configMap": key,
        "namespaceSelector": {"type": "object", "properties": {"matchLabels": labels}}}});
    let source = json!({"type": "object", "properties": {"inLine": {"type": "string"}}});
    json!({"type": "object", "required": ["spec"], "properties": {"spec": {"type": "object", "required": ["sources", "target"],
        "properties": {"sources": {"type": "array", "items": source}, "target": target}}}})
}

#[test]
fn every_field_is_in_the_published_schemas() {
    let documents = documents();
    let mut wrong = Vec::new();
    for document in documents.iter().filter(|document| document.kind() == "Bundle") {
        check(&document.value, &bundle_schema(), "", &mut wrong);
    }
    let Some(definitions) = definitions() else {
        assert!(wrong.is_empty(), "{wrong:?}");
        return;
    };
    let mut checked = 0;
    for document in &documents {
        let group = document.value["apiVersion"].as_str().unwrap().split('/').next().unwrap();
        let Some(definition) = definitions
            .iter()
            .find(|one| one["spec"]["names"]["kind"] == document.kind() && one["spec"]["group"] == group)
        else {
            continue;
        };
        let version =
            definition["spec"]["versions"].as_array().unwrap().iter().find(|one| one["name"] == "v1").unwrap();
        check(&document.value, &version["schema"]["openAPIV3Schema"], "", &mut wrong);
        checked += 1;
    }
    assert_eq!(checked, 4, "two ClusterIssuers, an Issuer, a Certificate");
    assert!(wrong.is_empty(), "{wrong:#?}");
    // The check can fail.
    let mut broken = documents[1].value.clone();
    broken["spec"]["ca"]["secretname"] = json!(1);
    check(&broken, &bundle_schema(), "", &mut wrong);
    assert!(!wrong.is_empty());
}

#[test]
fn printed_or_written_and_secrets_as_such() {
    let machine = Machine::new();
    machine.ok(&["issuer", "init", "--dir", "ca", "--organization", "A", "--domain", "enclave.lan"]);
    let printed = machine.ok(&["issuer", "manifests", "--dir", "ca"]);
    assert!(printed.out.contains("kind: Secret") && printed.err.contains("keep it out of Git"));
    let open =
        machine.bundle(&["issuer", "manifests", "--dir", "ca", "--no-secret"]).env_remove("COSIGN_PASSWORD").output();
    let open = String::from_utf8(open.unwrap().stdout).unwrap();
    assert!(!open.contains("kind: Secret") && open.contains("kind: ClusterIssuer"));
    machine.ok(&["issuer", "manifests", "--dir", "ca", "--output", "out", "--registry", "reg.enclave.lan"]);
    let names: Vec<String> = std::fs::read_dir(machine.path("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.len(), 5, "{names:?}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(machine.path("out/01-secret-cert-manager-enclave-ca.yaml")).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }
    machine.ends(2, &["issuer", "manifests", "--dir", "ca", "--output", "out"]).says(&["not empty"]);
    machine
        .ends(2, &["issuer", "manifests", "--dir", "ca", "--registry", "reg.example.com"])
        .says(&["reg.example.com is in none"]);
    machine.ends(2, &["issuer", "manifests", "--dir", "ca", "--name", "a b"]).says(&["no name that Kubernetes takes"]);
    machine
        .ends(2, &["issuer", "manifests", "--dir", "ca", "--trust-label", "a\"b=c"])
        .says(&["no name that Kubernetes"]);
    let kubectl = crate::support::referees::find(&["kubectl"]);
    if let Some(kubectl) = kubectl {
        // Without a cluster, kubectl knows its own kinds only.
        let secret = "out/01-secret-cert-manager-enclave-ca.yaml";
        let seen = machine.tool(&kubectl, &["label", "--local", "-f", secret, "a=b", "-o", "name"]);
        assert_eq!(seen.trim(), "secret/enclave-ca");
    }
}
