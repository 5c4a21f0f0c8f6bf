use proptest::prelude::*;

use super::*;
use crate::{names::Layout, oci::Digest};

fn names() -> Names {
    Names::new("reg.lan".parse().unwrap(), Layout::Source)
}

fn all() -> Choices {
    Choices { guesses: true, ..Choices::default() }
}

/// Rewrites, and checks that a second time changes nothing.
#[track_caller]
fn twice(text: &str, choices: &Choices) -> Rewritten {
    let done = rewrite("m.yaml", text, &mut names(), choices).unwrap();
    let again = rewrite("m.yaml", &done.text, &mut names(), choices).unwrap();
    assert_eq!(again.text, done.text);
    done
}

/// Asserts that exactly these texts take the place of others.
#[track_caller]
fn becomes(text: &str, changes: &[(&str, &str)]) {
    let done = twice(text, &all());
    let mut expected = text.to_owned();
    for (old, new) in changes {
        assert!(expected.contains(old), "{old}");
        expected = expected.replace(old, new);
    }
    assert_eq!(done.text, expected, "{:#?}", done.left);
}

#[test]
fn only_the_bytes_of_names_change() {
    becomes(
        "\
# front matter: nginx:1
---
apiVersion: apps/v1
kind: Deployment   # a comment with nginx:1
metadata: {name: nginx}
spec:
  template:
    spec:
      initContainers: [{name: a, image: busybox}, {\"name\":\"b\",\"image\":\"quay.io/a/b:1\"}]
      containers:
        - image:   'ghcr.io/c/d:2@sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a'   # kept
          name: c
        -   name: d
            image: >-
              docker.io/e/f:3
        - {name: g, image: \"reg.lan/docker.io/library/nginx:1\"}
---


# the end
",
        &[
            ("image: busybox}", "image: reg.lan/docker.io/library/busybox}"),
            ("quay.io/a/b:1", "reg.lan/quay.io/a/b:1"),
            ("'ghcr.io/c/d:2@", "'reg.lan/ghcr.io/c/d:2@"),
            (" docker.io/e/f:3", " reg.lan/docker.io/e/f:3"),
        ],
    );
}

#[test]
fn json_stays_json() {
    becomes(
        "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"spec\":{\"containers\":[{\"image\":\"quay.io\\/a/b:1\"}]}}\n",
        &[("quay.io\\/a/b:1", "reg.lan/quay.io/a/b:1")],
    );
}

#[test]
fn custom_resources_arguments_variables_and_annotations() {
    becomes(
        "\
apiVersion: monitoring.coreos.com/v1
kind: Prometheus
metadata: {name: p}
spec:
  baseImage: quay.io/prometheus/prometheus
  version: v3.8.0
---
apiVersion: nvidia.com/v1
kind: ClusterPolicy
metadata: {name: c}
spec:
  driver: {repository: nvcr.io/nvidia, image: driver, version: '580.1'}
---
apiVersion: example.com/v1
kind: Thing
metadata:
  name: t
  annotations:
    vault.hashicorp.com/agent-image: hashicorp/vault:1.20
spec:
  one: {registry: quay.io, repository: a/b, tag: 1.10}
  two: {repository: ghcr.io/c/d, tag: v1}
  three: {registry: gcr.io, repository: gcr.io/e/f, tag: v1}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: d}
spec:
  template:
    spec:
      containers:
        - name: c
          image: quay.io/x/y:1
          args: [--reloader-image=quay.io/x/reloader:2, --side-repository, docker.io/x/side, --side-tag, '3']
          env:
            - {name: RELATED_IMAGE_DB, value: 'quay.io/x/db:4'}
            - {name: VERSIONS, value: \"1=quay.io/x/one:1,2=quay.io/x/two:2\"}
            - {name: APP_IMAGE_REPOSITORY, value: x/app}
            - {name: APP_IMAGE_REGISTRY, value: quay.io}
            - {name: APP_IMAGE_TAG, value: v5}
",
        &[
            ("quay.io/prometheus/prometheus", "reg.lan/quay.io/prometheus/prometheus"),
            ("repository: nvcr.io/nvidia", "repository: reg.lan/nvcr.io/nvidia"),
            ("hashicorp/vault:1.20", "reg.lan/docker.io/hashicorp/vault:1.20"),
            ("registry: quay.io, repository: a/b", "registry: reg.lan/quay.io, repository: a/b"),
            ("repository: ghcr.io/c/d", "repository: reg.lan/ghcr.io/c/d"),
            ("registry: gcr.io, repository: gcr.io/e/f", "registry: reg.lan, repository: reg.lan/gcr.io/e/f"),
            ("quay.io/x/y:1", "reg.lan/quay.io/x/y:1"),
            ("quay.io/x/reloader:2", "reg.lan/quay.io/x/reloader:2"),
            ("docker.io/x/side", "reg.lan/docker.io/x/side"),
            ("quay.io/x/db:4", "reg.lan/quay.io/x/db:4"),
            ("quay.io/x/one:1", "reg.lan/quay.io/x/one:1"),
            ("quay.io/x/two:2", "reg.lan/quay.io/x/two:2"),
            ("value: quay.io}", "value: reg.lan/quay.io}"),
        ],
    );
}

#[test]
fn texts_inside_of_texts() {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let secret = "image: quay.io/s/t:1\nother: true\n";
    let moved = BASE64_STANDARD.encode(secret.replace("quay.io", "reg.lan/quay.io"));
    let secret = BASE64_STANDARD.encode(secret);
    becomes(
        &format!(
            "\
apiVersion: v1
kind: ConfigMap
metadata: {{name: c}}
data:
  image: quay.io/a/plain:1
  pod.yaml: |
    # quay.io/a/pod:1 in a comment
    apiVersion: v1
    kind: Pod
    spec:
      containers: [{{image: 'quay.io/a/pod:1'}}]   # kept
  mesh.json: '{{\"hub\": \"docker.io/istio\", \"tag\": \"1.29\", \"proxy\": {{\"image\": \"proxyv2\"}}}}'
  quoted: \"{{\\\"image\\\": \\\"quay.io/a/quoted:1\\\", \\\"n\\\": [\\n1]}}\"
  deep.yaml: |-
    apiVersion: v1
    kind: ConfigMap
    data:
      inner.json: |
        {{\"image\": \"quay.io/a/deep:1\"}}
  run.sh: |
    #!/bin/sh
    docker pull quay.io/a/script:1
    docker run quay.io/a/script:1 && echo done
---
apiVersion: v1
kind: Secret
metadata: {{name: s}}
data:
  config: {secret}
"
        ),
        &[
            ("image: quay.io/a/plain:1", "image: reg.lan/quay.io/a/plain:1"),
            ("'quay.io/a/pod:1'", "'reg.lan/quay.io/a/pod:1'"),
            ("docker.io/istio", "reg.lan/docker.io/istio"),
            ("quay.io/a/quoted:1", "reg.lan/quay.io/a/quoted:1"),
            ("quay.io/a/deep:1", "reg.lan/quay.io/a/deep:1"),
            ("quay.io/a/script:1", "reg.lan/quay.io/a/script:1"),
            (&secret, &moved),
        ],
    );
}

#[test]
fn defaults_of_definitions_and_values_behind_references() {
    becomes(
        "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.com}
spec:
  group: example.com
  names: {kind: Thing}
  versions:
    - name: v1
      storage: true
      schema:
        openAPIV3Schema:
          properties:
            spec:
              properties:
                image: {type: string, default: 'quay.io/a/default:1'}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
data: {worker: 'quay.io/a/worker:1'}
---
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  containers:
    - image: quay.io/a/main:1
      env: [{name: WORKER_IMAGE, valueFrom: {configMapKeyRef: {name: c, key: worker}}}]
",
        &[("quay.io/", "reg.lan/quay.io/")],
    );
}

#[test]
fn anchors_move_with_all_their_aliases_or_not_at_all() {
    becomes(
        "\
apiVersion: v1
kind: List
items:
  - {apiVersion: v1, kind: Pod, spec: {containers: [{image: &i 'quay.io/a/b:1'}, {image: *i}]}}
",
        &[("quay.io", "reg.lan/quay.io")],
    );
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: &n nginx}\nspec: {containers: [{image: *n}]}\n";
    let done = twice(text, &all());
    assert_eq!(done.text, text);
    assert_eq!(done.left[0].code, "left-shared");
}

#[test]
fn guesses_need_a_word_or_a_lock() {
    let text = "\
apiVersion: v1
kind: Pod
spec:
  containers:
    - image: quay.io/a/b:1
      env: [{name: SIDE_IMAGE, value: 'acme/side:1'}, {name: SURE, value: 'quay.io/a/sure:1'}]
";
    let done = twice(text, &Choices::default());
    assert!(done.text.contains("reg.lan/quay.io/a/sure:1") && done.text.contains("'acme/side:1'"));
    assert_eq!(done.left.iter().map(|left| left.code).collect::<Vec<_>>(), ["left-guess"]);
    let digest = Digest::sha256(b"x");
    let carried = ["quay.io/a/b:1", "docker.io/acme/side:1"].map(|image| (image.parse().unwrap(), digest));
    let mut names = names().carrying(carried).unwrap();
    let choices = Choices { digests: true, ..Choices::default() };
    let done = rewrite("m.yaml", text, &mut names, &choices).unwrap();
    assert!(done.text.contains(&format!("'reg.lan/docker.io/acme/side:1@{digest}'")), "{}", done.text);
    assert_eq!(done.left.iter().map(|left| left.code).collect::<Vec<_>>(), ["left-not-carried"]);
    assert_eq!(rewrite("m.yaml", &done.text, &mut names, &choices).unwrap().text, done.text);
}

#[test]
fn every_image_that_was_not_carried_is_told_at_once() {
    let text = "\
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  containers: [{image: 'quay.io/a/b:1'}, {image: 'quay.io/a/b:2'}, {image: 'quay.io/a/c:1'}]
";
    let mut names = names().carrying([("quay.io/a/b:1".parse().unwrap(), Digest::sha256(b"x"))]).unwrap();
    let error = rewrite("m.yaml", text, &mut names, &Choices::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Incomplete);
    let told: Vec<String> = error.diagnostics().iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2);
    assert!(
        told[0].starts_with("m.yaml:5:1: quay.io/a/b:2 was not carried: Pod p → spec.containers[1].image"),
        "{told:?}"
    );
}

#[test]
fn digests_go_where_the_tag_is() {
    let digest = Digest::sha256(b"x");
    let text = "\
apiVersion: nvidia.com/v1
kind: ClusterPolicy
spec:
  driver: {repository: nvcr.io/nvidia, image: driver, version: '580.1'}
---
apiVersion: v1
kind: Pod
spec: {containers: [{image: 'quay.io/a/b'}]}
";
    let carried = ["nvcr.io/nvidia/driver:580.1", "quay.io/a/b:latest"].map(|image| (image.parse().unwrap(), digest));
    let mut names = names().carrying(carried).unwrap();
    let choices = Choices { digests: true, ..Choices::default() };
    let done = rewrite("m.yaml", text, &mut names, &choices).unwrap();
    assert!(done.text.contains(&format!("version: '580.1@{digest}'")), "{}", done.text);
    assert!(done.text.contains(&format!("'reg.lan/quay.io/a/b@{digest}'")), "{}", done.text);
    assert_eq!(rewrite("m.yaml", &done.text, &mut names, &choices).unwrap().text, done.text);
}

#[test]
fn other_layouts_and_addresses_are_written_too() {
    let text = "\
apiVersion: v1
kind: Pod
spec: {containers: [{image: a/b:1}]}
---
apiVersion: example.com/v1
kind: Thing
spec:
  one:
    image: {registry: quay.io, repository: a/b, tag: v1}
  two: {image: quay.io/a/b:1}
";
    let mut flat = Names::new("reg.lan/m".parse().unwrap(), Layout::Depth(1));
    let done = rewrite("m.yaml", text, &mut flat, &all()).unwrap().text;
    assert!(done.contains("registry: reg.lan/m, repository: quay.io-a-b"), "{done}");
    assert_eq!(rewrite("m.yaml", &done, &mut flat, &all()).unwrap().text, done);
    let mut address = Names::new("[fd00::1]:5000".parse().unwrap(), Layout::Source);
    let done = rewrite("m.yaml", text, &mut address, &all()).unwrap().text;
    assert!(done.contains("image: \"[fd00::1]:5000/docker.io/a/b:1\""), "{done}");
    assert_eq!(rewrite("m.yaml", &done, &mut address, &all()).unwrap().text, done);
}

#[test]
fn what_is_no_manifest_is_an_error() {
    let error = rewrite("m.yaml", "a: 1\n---\n- b\n", &mut names(), &all()).unwrap_err();
    assert_eq!((error.kind(), error.diagnostics().len()), (Kind::Usage, 2));
    assert_eq!(rewrite("m.yaml", "", &mut names(), &all()).unwrap().text, "");
    assert_eq!(rewrite("m.yaml", "# nothing\n---\n", &mut names(), &all()).unwrap().text, "# nothing\n---\n");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_writing_of_a_manifest_keeps_everything_else(
        lines in proptest::collection::vec(
            "( {0,2}# [a-z:/]{0,9}|  k[0-9]: (quay\\.io/a/b:1|'quay\\.io/a/b:1'|\"x quay\\.io/a/b:1\"|[a-z]{1,5}|\\|\n    quay\\.io/a/b:1\n    x: y|>-\n    image: quay\\.io/c/d:2\n\n    z|&a b|\\[quay\\.io/a/b:1, \"x\"\\]|\\{image: quay\\.io/c/d:1, registry: quay\\.io, repository: x/y, tag: 1\\}))",
            0..8,
        ),
        crlf: bool,
    ) {
        let mut text = format!("apiVersion: example.com/v1\nkind: Thing\nspec:\n{}\n", lines.join("\n"));
        if crlf {
            text = text.replace('\n', "\r\n");
        }
        let Ok(done) = rewrite("m.yaml", &text, &mut names(), &all()) else {
            // Whatever is no manifest is refused as one.
            prop_assert!(crate::kube::object::objects("m.yaml", &text).is_err());
            return Ok(());
        };
        prop_assert_eq!(done.text.matches('\n').count(), text.matches('\n').count());
        prop_assert_eq!(done.text.replace("reg.lan/", ""), text);
        let again = rewrite("m.yaml", &done.text, &mut names(), &all()).unwrap();
        prop_assert_eq!(again.text, done.text);
    }
}
