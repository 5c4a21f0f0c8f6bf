//! Shapes that finders by pattern miss, one each; and texts that such finders take for images.

use airgap_bundler::{discover, kube::object};

const DIGEST: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

/// Finds what an object of an unknown kind names with this as its spec.
fn found(spec: &str) -> Vec<String> {
    let text = format!("apiVersion: acme.example.com/v1\nkind: Widget\nmetadata: {{name: w}}\nspec:\n  {spec}\n");
    written(&text)
}

fn written(text: &str) -> Vec<String> {
    let text = text.replace("DIGEST", DIGEST);
    let objects = object::objects("probe.yaml", &text).unwrap();
    let mut found: Vec<String> =
        discover::find_all(&objects, Vec::new()).findings.into_iter().map(|finding| finding.written).collect();
    found.sort();
    found.dedup();
    found
}

/// One test a shape: its name, the spec, and the one image in it.
macro_rules! probes {
    ($($name:ident: $spec:literal => $image:literal;)*) => {
        $(#[test]
        fn $name() {
            assert_eq!(found($spec), [$image.replace("DIGEST", DIGEST)]);
        })*
    };
}

probes! {
    a_version_with_v: "image: quay.io/org/app:v1.2.3" => "quay.io/org/app:v1.2.3";
    a_digest: "image: quay.io/org/app@DIGEST" => "quay.io/org/app@DIGEST";
    a_tag_and_a_digest: "image: quay.io/org/app:v1@DIGEST" => "quay.io/org/app:v1@DIGEST";
    no_tag: "image: ghcr.io/org/app" => "ghcr.io/org/app";
    a_tag_of_digits: "image: quay.io/minio/minio:20240101" => "quay.io/minio/minio:20240101";
    another_key_and_a_tag_of_digits: "imageName: ghcr.io/cloudnative-pg/postgresql:16" => "ghcr.io/cloudnative-pg/postgresql:16";
    another_key: "imageName: ghcr.io/cloudnative-pg/postgresql:16.4" => "ghcr.io/cloudnative-pg/postgresql:16.4";
    a_short_name: "image: postgres:16" => "postgres:16";
    a_local_registry: "image: localhost:5000/app:v1" => "localhost:5000/app:v1";
    a_variable_with_a_digest: "env: [{name: HELPER, value: 'quay.io/a/b@DIGEST'}]" => "quay.io/a/b@DIGEST";
    an_argument: "args: ['--prometheus-config-reloader=quay.io/x/y:v0.70.0']" => "quay.io/x/y:v0.70.0";
    an_argument_with_a_digest: "args: ['--img=quay.io/x/y@DIGEST']" => "quay.io/x/y@DIGEST";
    an_argument_of_two_tokens: "args: ['--foo quay.io/a/b:v1 --bar']" => "quay.io/a/b:v1";
    two_arguments: "args: [--foo, 'quay.io/a/b:v1']" => "quay.io/a/b:v1";
    a_hub_and_a_tag: "values: '{\"hub\":\"docker.io/istio\",\"tag\":\"1.20\",\"image\":\"proxyv2\"}'" => "docker.io/istio/proxyv2:1.20";
    pieces: "image: {repository: quay.io/a/b, tag: v1}" => "quay.io/a/b:v1";
    a_variable_without_tag: "env: [{name: HELPER_IMAGE, value: quay.io/a/b}]" => "quay.io/a/b";
    a_variable_of_any_name_without_tag: "env: [{name: HELPER, value: quay.io/a/b}]" => "quay.io/a/b";
}

#[test]
fn yaml_in_a_configmap() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  conf: |\n    side:\n      image: quay.io/a/b:v1.0\n      pull: Always\n";
    assert_eq!(written(text), ["quay.io/a/b:v1.0"]);
}

#[test]
fn json_in_a_configmap() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  conf: \"{\\\"image\\\":\\\"quay.io/a/b:v1.0\\\"}\"\n";
    assert_eq!(written(text), ["quay.io/a/b:v1.0"]);
}

#[test]
fn a_hub_in_a_configmap() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio-sidecar-injector}\ndata:\n  values: '{\"global\": {\"hub\": \"docker.io/istio\", \"tag\": \"1.20\", \"proxy\": {\"image\": \"proxyv2\"}}}'\n";
    assert_eq!(written(text), ["docker.io/istio/proxyv2:1.20"]);
}

#[test]
fn words_addresses_and_levels_are_no_images() {
    for spec in [
        "image: auto",
        "image: default",
        "args: ['--log-level=debug', '--log=info:v2', '--image-pull-policy=IfNotPresent']",
        "args: ['--endpoint=quay.example.com:443', '--url=https://quay.io/a/b:v1', '--leader-elect=true']",
        "env: [{name: LOG_LEVEL, value: 'istio:debug'}, {name: ADDRESS, value: 'redis:6379'}, {name: URL, value: 'http://quay.io/a/b:v1'}]",
        "imagePullPolicy: Always",
        "imageURL: https://example.com/logo.png",
        "volumes: [{name: v, rbd: {image: pool/disk, monitors: ['10.0.0.1:6789']}}]",
        "selector: 'kubernetes.io/os:linux'",
        "group: 'apiGroups.example.com/v1'",
    ] {
        assert_eq!(found(spec), [] as [&str; 0], "{spec}");
    }
}

#[test]
fn every_spelling_of_tag_and_digest_is_kept_as_it_is() {
    for written in ["a/b:1", "a/b@DIGEST", "a/b:1@DIGEST", "quay.io/a/b:1@DIGEST", "localhost:5000/a@DIGEST"] {
        let written = written.replace("DIGEST", DIGEST);
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {{containers: [{{name: a, image: '{written}'}}]}}\n"
        );
        assert_eq!(super::probes::written(&text), [written]);
    }
}
