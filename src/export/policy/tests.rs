use serde_json::Value;

use super::*;
use crate::{
    export::Shipped,
    oci::Digest,
    trust::{SigningKey, SystemRandomness},
    yaml,
};

fn key() -> PublicKey {
    SigningKey::generate(&mut SystemRandomness).unwrap().public().clone()
}

fn request(keys: usize, exempt: &[&str]) -> PolicyRequest {
    PolicyRequest {
        target: "reg.lan:5000/m".parse().unwrap(),
        layout: Layout::Source,
        keys: (0..keys).map(|_| key()).collect(),
        exempt: exempt.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn content() -> Content {
    let shipped = |name: &str| Shipped { reference: name.parse().unwrap(), digest: Digest::sha256(name.as_bytes()) };
    Content { name: "shop".into(), version: "1".into(), images: vec![shipped("nginx:1"), shipped("quay.io/a/b:1")] }
}

fn one(format: PolicyFormat, request: &PolicyRequest) -> Value {
    let sheets = policy(&content(), request, format).unwrap();
    assert!(!sheets[0].text.contains("@PREFIX@") && !sheets[0].text.contains("@KEYS@"), "{}", sheets[0].text);
    yaml::from_text(&sheets[0].text).unwrap()
}

#[test]
fn admission_policies_name_the_registry_and_every_key_and_ask_nobody_outside() {
    let request = request(2, &["kube-system"]);
    let kyverno = one(PolicyFormat::Kyverno, &request);
    assert_eq!(kyverno["spec"]["rules"][0]["validate"]["foreach"][0]["pattern"]["image"], "reg.lan:5000/m/*");
    assert_eq!(kyverno["spec"]["rules"][0]["exclude"]["any"][0]["resources"]["namespaces"][0], "kube-system");
    let entries = kyverno["spec"]["rules"][1]["verifyImages"][0]["attestors"][0]["entries"].as_array().unwrap();
    for (entry, key) in entries.iter().zip(&request.keys) {
        assert_eq!(entry["keys"]["publicKeys"].as_str().unwrap(), key.to_pem().trim_end());
        assert_eq!(
            (&entry["keys"]["rekor"]["ignoreTlog"], &entry["keys"]["ctlog"]["ignoreSCT"]),
            (&Value::from(true), &Value::from(true))
        );
    }
    assert_eq!(entries.len(), 2);

    let newer = one(PolicyFormat::KyvernoImageValidating, &request);
    assert_eq!(newer["spec"]["attestors"][1]["cosign"]["key"]["data"], request.keys[1].to_pem().trim_end());
    let expression = newer["spec"]["validations"][1]["expression"].as_str().unwrap();
    assert!(expression.contains("[attestors.shipper1, attestors.shipper2]) > 0"), "{expression}");

    let controller = one(PolicyFormat::PolicyController, &request);
    assert_eq!(controller["spec"]["images"][0]["glob"], "reg.lan:5000/m/**");
    assert_eq!(controller["spec"]["authorities"][0]["key"]["data"], request.keys[0].to_pem());
    assert!(controller["spec"]["authorities"][0].get("ctlog").is_none());
}

#[test]
fn nothing_is_exempt_unless_it_is_named() {
    let kyverno = one(PolicyFormat::Kyverno, &request(1, &[]));
    for rule in kyverno["spec"]["rules"].as_array().unwrap() {
        assert!(
            rule.get("exclude").is_none() && (rule.get("validate").is_some() || rule.get("verifyImages").is_some())
        );
    }
    let newer = one(PolicyFormat::KyvernoImageValidating, &request(1, &[]));
    let constraints = &newer["spec"]["matchConstraints"];
    assert!(constraints.get("namespaceSelector").is_none() && constraints.get("resourceRules").is_some(), "{newer}");
    let error = policy(&content(), &request(1, &["a b"]), PolicyFormat::Kyverno).unwrap_err();
    assert!(matches!(error, Error::Namespace(_)));
    assert!(matches!(policy(&content(), &request(0, &[]), PolicyFormat::Kyverno), Err(Error::NoKey)));
}

#[test]
fn containers_policy_refuses_by_default_and_knows_both_names() {
    let sheets = policy(&content(), &request(1, &[]), PolicyFormat::Containers).unwrap();
    let text = |path: &str| &sheets.iter().find(|sheet| sheet.path.as_str() == path).unwrap().text;
    let json: Value = serde_json::from_str(text("policy.json")).unwrap();
    assert_eq!(json["default"][0]["type"], "reject");
    let docker = &json["transports"]["docker"];
    let identity = &docker["reg.lan:5000/m/docker.io"][0]["signedIdentity"];
    assert_eq!((&identity["type"], &identity["signedPrefix"]), (&"remapIdentity".into(), &"docker.io".into()));
    assert_eq!(docker["quay.io"][0]["signedIdentity"]["type"], "matchRepoDigestOrExact");
    assert_eq!(docker.as_object().unwrap().len(), 4, "aliases are not what signatures speak of: {docker}");
    let drop_in: Value = yaml::from_text(text("registries.d/enclave.yaml")).unwrap();
    assert_eq!(drop_in["docker"]["reg.lan:5000/m/quay.io"]["use-sigstore-attachments"], true);
    let flat = PolicyRequest { layout: Layout::Depth(1), ..request(2, &[]) };
    let sheets = policy(&content(), &flat, PolicyFormat::Containers).unwrap();
    let json: Value = serde_json::from_str(&sheets[1].text).unwrap();
    let one = &json["transports"]["docker"]["reg.lan:5000/m/docker.io-library-nginx"][0];
    assert_eq!(one["signedIdentity"]["signedPrefix"], "docker.io/library/nginx");
    assert_eq!(one["keyDatas"].as_array().unwrap().len(), 2);
}

#[test]
fn openshift_policies_are_one_for_each_name() {
    let sheets = policy(&content(), &request(1, &[]), PolicyFormat::OpenShift).unwrap();
    let documents: Vec<Value> =
        sheets[0].text.split("\n---\n").skip(1).map(|document| yaml::from_text(document).unwrap()).collect();
    assert_eq!(documents.len(), 4);
    assert!(matches!(policy(&content(), &request(2, &[]), PolicyFormat::OpenShift), Err(Error::OneKey)));
    assert_eq!(documents[0]["spec"]["policy"]["signedIdentity"]["remapIdentity"]["signedPrefix"], "docker.io");
}
