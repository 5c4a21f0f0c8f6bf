//! What stock tools and the specification's own suite say of the registry.

use std::io::Write;

use airgap_bundler::{
    oci::{Digest, media_type},
    serve::Policy,
};
use serde_json::json;

use super::{digest, with};
use crate::support::{
    referees::{self, must, run},
    registry::{DOCKER_LOGIN, DockerRegistry, Registry, Security, Setup},
};

#[test]
fn the_conformance_suite_of_the_specification_is_satisfied() {
    let Some(suite) = referees::find_if_here(&["oci-distribution-conformance"]) else { return };
    for version in ["1.1", "dev"] {
        // The suite pushes images without some of their layers, too, which the default refuses.
        let registry = with(Policy { refuse_missing_blobs: false, ..Policy::default() });
        let output = referees::command(&suite, registry.home())
            .envs([("OCI_REGISTRY", registry.host().as_str()), ("OCI_TLS", "disabled"), ("OCI_VERSION", version)])
            // Off by default, because registries may refuse it.
            .env("OCI_DATA_SPARSE", "true")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let count = |label: &str| -> usize {
            let line =
                text.lines().find(|line| line.trim_start().starts_with(label)).unwrap_or_else(|| panic!("{text}"));
            line.rsplit(' ').next().unwrap().parse().unwrap()
        };
        println!("{version}: {} passed, {} skipped", count("Pass..."), count("Skip..."));
        assert_eq!((count("FAIL..."), count("Error...")), (0, 0), "{version}:\n{text}");
        // What docker-registry 2.8.3 passes; a suite that skipped nearly everything would say nothing.
        assert!(count("Pass...") > 712, "{version}:\n{text}");
    }
}

/// Pushes an image for two platforms and returns the digest of its index.
fn multi(registry: &Registry, name: &str, tag: &str) -> String {
    let mut entries = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let layer = tar(&format!("layer for {architecture}"));
        let platform = json!({"architecture": architecture, "os": "linux"});
        let mut config = platform.clone();
        config["rootfs"] = json!({"type": "layers", "diff_ids": [digest(&layer)]});
        let config = registry.put_blob(name, media_type::CONFIG, config.to_string().as_bytes());
        let layer = registry.put_blob(name, media_type::LAYER_GZIP, &gzip(&layer));
        let image = json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config, "layers": [layer]});
        let mut entry = json!(registry.put_document(name, "", media_type::MANIFEST, &image));
        entry["platform"] = platform;
        entries.push(entry);
    }
    let index = json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": entries});
    registry.put_document(name, tag, media_type::INDEX, &index).digest.to_string()
}

/// Makes a tar with one file, because some tools look into layers.
fn tar(text: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    builder.append_data(&mut header, "file", text.as_bytes()).unwrap();
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn held(registry: &Registry, name: &str, tag: &str) -> Option<String> {
    let answer = registry.get(&format!("/v2/{name}/manifests/{tag}"));
    (answer.status == 200).then(|| Digest::sha256(&answer.body).to_string())
}

#[test]
fn skopeo_copies_in_and_out() {
    let Some(skopeo) = referees::skopeo() else { return };
    let (one, two) = (Registry::start(), Registry::start());
    let root = multi(&one, "library/app", "v1");
    let (from, to) =
        (format!("docker://{}/library/app:v1", one.host()), format!("docker://{}/copy/app:v2", two.host()));
    let plain = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    must(&skopeo, one.home(), &[&["copy", "--all", "--preserve-digests"], &plain[..], &[&from, &to]].concat());
    assert_eq!(held(&two, "copy/app", "v2"), Some(root.clone()));
    must(&skopeo, one.home(), &["copy", "--all", "--src-tls-verify=false", &to, "oci:out:app"]);
    must(&skopeo, one.home(), &["copy", "--all", "--dest-tls-verify=false", "oci:out:app", &to.replace("v2", "v3")]);
    assert_eq!(held(&two, "copy/app", "v3"), Some(root.clone()));
    let docker = ["copy", "--format", "v2s2", "--src-tls-verify=false", "--dest-tls-verify=false"];
    must(&skopeo, one.home(), &[&docker[..], &[&from, &to.replace("v2", "docker")]].concat());
    let answer = two.get("/v2/copy/app/manifests/docker");
    assert_eq!(answer.header("content-type"), Some(media_type::DOCKER_MANIFEST));
    let tags = must(&skopeo, one.home(), &["list-tags", "--tls-verify=false", &to.replace(":v2", "")]);
    let tags: serde_json::Value = serde_json::from_str(&tags).unwrap();
    assert_eq!(tags["Tags"], json!(["docker", "v2", "v3"]));
    must(&skopeo, one.home(), &["delete", "--tls-verify=false", &to.replace("v2", "docker")]);
    assert_eq!(held(&two, "copy/app", "docker"), None);
}

#[test]
fn skopeo_knows_the_login_and_the_certificate() {
    let Some(skopeo) = referees::skopeo() else { return };
    let secure = Setup { login: Some(("user", "secret")), security: Security::Mutual, ..Setup::default() };
    let registry = Registry::with(secure);
    let source = Registry::start();
    let root = multi(&source, "app", "v1");
    let folder = registry.home().join("certs");
    std::fs::create_dir(&folder).unwrap();
    let made = registry.certificates.as_ref().unwrap();
    for (name, text) in [("ca.crt", &made.root), ("client.cert", &made.client), ("client.key", &made.client_key)] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let from = format!("docker://{}/app:v1", source.host());
    let to = format!("docker://{}/app:v1", registry.host());
    let copy = |login: &str| {
        let arguments = ["copy", "--all", "--src-tls-verify=false", "--dest-cert-dir", "certs", "--dest-creds", login];
        run(&skopeo, registry.home(), &[&arguments[..], &[&from, &to]].concat()).status.success()
    };
    assert!(!copy("user:wrong") && copy("user:secret"));
    let arguments = ["inspect", "--raw", "--cert-dir", "certs", "--creds", "user:secret", &to];
    assert_eq!(digest(must(&skopeo, registry.home(), &arguments).as_bytes()), root);
}

#[test]
fn crane_pushes_pulls_copies_and_lists() {
    let Some(crane) = referees::crane() else { return };
    let registry = Registry::start();
    let root = multi(&registry, "app", "v1");
    let name = |tail: &str| format!("{}/{tail}", registry.host());
    must(&crane, registry.home(), &["copy", &name("app:v1"), &name("copies/app:v1")]);
    assert_eq!(held(&registry, "copies/app", "v1"), Some(root.clone()));
    must(&crane, registry.home(), &["pull", "--format=oci", &name("app:v1"), "layout"]);
    must(&crane, registry.home(), &["push", "--index", "layout", &name("pushed:v1")]);
    must(&crane, registry.home(), &["validate", "--remote", &name("copies/app:v1")]);
    assert_eq!(must(&crane, registry.home(), &["digest", &name("app:v1")]).trim(), root);
    must(&crane, registry.home(), &["tag", &name("app:v1"), "v2"]);
    assert_eq!(must(&crane, registry.home(), &["ls", &name("app")]), "v1\nv2\n");
    assert_eq!(must(&crane, registry.home(), &["catalog", &registry.host()]), "app\ncopies/app\npushed\n");
    must(&crane, registry.home(), &["delete", &name(&format!("app@{root}"))]);
    assert_eq!((held(&registry, "app", "v1"), held(&registry, "app", "v2")), (None, None));
}

#[test]
fn oras_carries_referrers() {
    let Some(oras) = referees::oras() else { return };
    let (one, two) = (Registry::start(), Registry::start());
    let root = multi(&one, "app", "v1");
    let subject = format!("{}/app:v1", one.host());
    std::fs::write(one.home().join("sbom.json"), "{}").unwrap();
    let attach = ["attach", "--plain-http", "--artifact-type", "application/vnd.example.sbom+json", &subject];
    must(&oras, one.home(), &[&attach[..], &["sbom.json:application/json"]].concat());
    assert_eq!(one.get("/v2/app/tags/list").json()["tags"], json!(["v1"]), "the referrers API makes tags needless");
    let target = format!("{}/copy:v1", two.host());
    let copy = ["cp", "-r", "--from-plain-http", "--to-plain-http", &subject, &target];
    must(&oras, one.home(), &copy);
    assert_eq!(held(&two, "copy", "v1"), Some(root.clone()));
    let tree = must(&oras, one.home(), &["discover", "--plain-http", "--format", "json", &target]);
    assert!(tree.contains("application/vnd.example.sbom+json"), "{tree}");
    let found = two.get(&format!("/v2/copy/referrers/{root}")).json();
    assert_eq!(found["manifests"][0]["artifactType"], "application/vnd.example.sbom+json");
    std::fs::write(one.home().join("payload"), vec![1; 5 << 20]).unwrap();
    must(&oras, one.home(), &["push", "--plain-http", &format!("{}/files:v1", one.host()), "payload"]);
    std::fs::remove_file(one.home().join("payload")).unwrap();
    must(&oras, one.home(), &["pull", "--plain-http", &format!("{}/files:v1", one.host())]);
    assert!(std::fs::read(one.home().join("payload")).unwrap() == vec![1; 5 << 20]);
}

#[test]
fn cosign_signs_and_verifies() {
    let Some(cosign) = referees::cosign() else { return };
    let registry = Registry::start();
    let root = multi(&registry, "app", "v1");
    let image = format!("{}/app@{root}", registry.host());
    let cosign = |arguments: &[&str]| {
        let mut command = referees::command(&cosign, registry.home());
        let output = command.env("COSIGN_PASSWORD", "").args(arguments).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert!(cosign(&["generate-key-pair"]).0);
    let offline = ["--tlog-upload=false", "--use-signing-config=false", "--allow-http-registry", "--yes"];
    let (signed, text) = cosign(&[&["sign", "--key", "cosign.key"], &offline[..], &[&image]].concat());
    assert!(signed, "{text}");
    let verify = ["verify", "--key", "cosign.pub", "--insecure-ignore-tlog", "--allow-http-registry", &image];
    let (verified, text) = cosign(&verify);
    assert!(verified, "{text}");
    let referrers = registry.get(&format!("/v2/app/referrers/{root}")).json();
    assert_eq!(referrers["manifests"].as_array().unwrap().len(), 1, "{referrers}");
    assert!(!cosign(&[&verify[..5], &[&image.replace("/app@", "/other@")]].concat()).0);
}

#[test]
fn docker_registry_and_ours_agree() {
    let Some(skopeo) = referees::skopeo() else { return };
    let Some(theirs) = DockerRegistry::start(true, Security::Tls) else { return };
    let ours = Registry::start();
    let root = multi(&ours, "app", "v1");
    let folder = ours.home().join("certs");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("ca.crt"), &theirs.certificates.as_ref().unwrap().root).unwrap();
    let login = format!("{}:{}", DOCKER_LOGIN.0, DOCKER_LOGIN.1);
    let there = format!("docker://{}/app:v1", theirs.host());
    let (here, back) = (format!("docker://{}/app:v1", ours.host()), format!("docker://{}/back:v1", ours.host()));
    let out = ["copy", "--all", "--src-tls-verify=false", "--dest-cert-dir", "certs", "--dest-creds", &login];
    must(&skopeo, ours.home(), &[&out[..], &[&here, &there]].concat());
    let home = ["copy", "--all", "--dest-tls-verify=false", "--src-cert-dir", "certs", "--src-creds", &login];
    must(&skopeo, ours.home(), &[&home[..], &[&there, &back]].concat());
    assert_eq!(held(&ours, "back", "v1"), Some(root));
}
