use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::error::Severity;

const HEX: &str = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

/// Uses every key of the language once.
fn everything() -> String {
    "\
apiVersion: airgap-bundler/v1
kind: Bundle
metadata: {name: shop, version: 2.10, description: everything at once}
platforms: [linux/amd64, linux/arm64/v8]
kubernetes:
  version: 1.30
  apiVersions: [monitoring.coreos.com/v1, v1, apps/v1/Deployment]
registries:
  index.docker.io: {mirror: cache.example/hub/proxy, ca: certs/cache.pem}
  localhost:5000: {plainHttp: true}
substitutions:
  - {from: docker.io/bitnami/, to: bitnamilegacy/, reason: tags were removed}
  - {from: bitnami/redis, to: quay.io/acme/redis}
charts:
  - {name: cert-manager, repo: https://charts.example.com, version: ^1.18, namespace: cert-manager, values: [values/cm.yaml]}
  - name: redis
    repo: oci://registry.example.com/charts/redis
    version: 20.x
    set: {architecture: replication, image.tag: 1.10, nested: {on: true}}
    variants:
      - {values: [values/tls.yaml]}
      - {set: {tls: true}}
  - {name: shop.web, path: ./charts/web}
manifests:
  - {path: deploy/}
  - {kustomize: overlays/production}
  - {url: 'https://example.com/install.yaml', sha256: HEX}
images:
  - busybox:1.37
  - quay.io/acme/tool@sha256:HEX
  - {image: registry.example.com/app:1.0, archive: ./dist/app.tar}
files:
  - {path: dashboards/, name: grafana/dashboards}
  - {path: ../licence.txt}
  - {url: 'https://example.com/db/main.cvd?x=1', sha256: 'sha256:HEX', maxAge: 7d}
discovery:
  guesses: include
  optional: include
  accept:
    - {image: 'quay.io/acme/*'}
  ignore:
    - {image: '*/busybox:*', reason: only named in a comment}
  rules:
    - {group: example.com, kind: Widget, paths: [spec.image, 'spec.sidecars[].image', spec.byName.*.image]}
verify:
  - {images: 'ghcr.io/acme/*', key: acme.pub}
issuer:
  organization: Acme Enclave
  domains: [enclave.lan, svc, cluster.local]
  replaces: [letsencrypt-prod]
"
    .replace("HEX", HEX)
}

fn parse(text: &str) -> (Spec, Vec<Diagnostic>) {
    match Spec::parse("bundle.yaml", text) {
        Ok(parsed) => parsed,
        Err(wrong) => panic!("{}", wrong.iter().map(|d| format!("{d}\n")).collect::<String>()),
    }
}

fn wrong(text: &str) -> Vec<Diagnostic> {
    Spec::parse("bundle.yaml", text).unwrap_err()
}

/// Returns a spec with a body behind the keys that every spec needs; the body begins in line 4.
fn with(body: &str) -> String {
    format!("apiVersion: airgap-bundler/v1\nkind: Bundle\nmetadata: {{name: a, version: '1'}}\n{body}")
}

/// Returns `line:column code` of every error and warning.
fn codes(text: &str) -> Vec<String> {
    let found = match Spec::parse("bundle.yaml", text) {
        Ok((_, warnings)) => warnings,
        Err(wrong) => wrong,
    };
    found
        .iter()
        .map(|d| d.at.as_ref().map_or_else(String::new, |at| format!("{}:{} {}", at.line, at.column, d.code)))
        .collect()
}

#[test]
fn every_key_reaches_the_model() {
    let (spec, warnings) = parse(&everything());
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!((spec.name.as_str(), spec.version.as_str()), ("shop", "2.10"));
    assert_eq!(spec.description.as_deref(), Some("everything at once"));
    assert_eq!(spec.platforms.iter().map(ToString::to_string).collect::<Vec<_>>(), ["linux/amd64", "linux/arm64/v8"]);
    assert_eq!(spec.kubernetes.version.as_deref(), Some("1.30"));
    assert_eq!(spec.kubernetes.api_versions.len(), 3);
    let hub = spec.registry(&"docker.io".parse().unwrap()).unwrap();
    let mirror = hub.mirror.as_ref().unwrap();
    assert_eq!((mirror.host.as_str(), mirror.prefix.as_ref().unwrap().as_str()), ("cache.example", "hub/proxy"));
    assert_eq!(hub.ca.as_deref(), Some("certs/cache.pem"));
    assert!(!hub.plain_http && spec.registries[1].plain_http);
    assert_eq!(spec.registries[1].entry.label, "registries.localhost:5000");

    assert_eq!(
        spec.charts[0].source,
        ChartSource::Repo { url: "https://charts.example.com".into(), version: "^1.18".into() }
    );
    assert_eq!(spec.charts[0].namespace.as_deref(), Some("cert-manager"));
    let set: Vec<_> = spec.charts[1].values.set.iter().map(|(key, value)| (key.as_str(), value.text())).collect();
    assert_eq!(set, [("architecture", Some("replication")), ("image.tag", Some("1.10")), ("nested", None)]);
    assert_eq!(spec.charts[1].variants[1].entry.label, "charts[1].variants[1]");
    assert_eq!(spec.charts[2].source, ChartSource::Path("./charts/web".into()));

    assert_eq!(spec.manifests[1].source, ManifestSource::Kustomize("overlays/production".into()));
    assert!(matches!(&spec.manifests[2].source, ManifestSource::Url { sha256, .. } if sha256.hex() == HEX));
    assert_eq!(spec.images[0].reference.to_string(), "docker.io/library/busybox:1.37");
    assert_eq!((spec.images[0].written.as_str(), spec.images[0].entry.label.as_str()), ("busybox:1.37", "images[0]"));
    assert_eq!(spec.images[2].archive.as_deref(), Some("./dist/app.tar"));
    let names: Vec<_> = spec.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["grafana/dashboards", "licence.txt", "main.cvd"]);
    assert_eq!(spec.files[2].max_age, Some(Duration::from_secs(7 * 86_400)));

    assert_eq!((spec.discovery.guesses, spec.discovery.optional), (Guesses::Include, Optional::Include));
    assert_eq!(spec.discovery.ignore[0].reason.as_deref(), Some("only named in a comment"));
    assert_eq!(spec.discovery.rules[0].paths.len(), 3);
    assert_eq!(spec.verify[0].key, "acme.pub");
    let issuer = spec.issuer.unwrap();
    assert_eq!((issuer.organization.as_str(), issuer.domains.len(), issuer.replaces.len()), ("Acme Enclave", 3, 1));
}

#[test]
fn a_small_spec_has_the_defaults() {
    let (spec, warnings) = parse(&with("images: [a:1]\nfiles:\n"));
    assert_eq!(spec.platforms.iter().map(ToString::to_string).collect::<Vec<_>>(), ["linux/amd64"]);
    assert_eq!((spec.discovery, spec.issuer, warnings.len()), (Discovery::default(), None, 0));
    assert_eq!(codes(&with("")), ["1:1 nothing-to-carry"]);
}

#[test]
fn the_longest_substitution_counts_and_the_name_stays() {
    let (spec, _) = parse(&everything());
    let substituted =
        |image: &str| spec.substitute(&image.parse().unwrap()).map(|(to, by)| (to.to_string(), by.entry.label.clone()));
    assert_eq!(
        substituted("bitnami/kafka:4"),
        Some(("docker.io/bitnamilegacy/kafka:4".into(), "substitutions[0]".into()))
    );
    assert_eq!(substituted("bitnami/redis:8"), Some(("quay.io/acme/redis:8".into(), "substitutions[1]".into())));
    assert_eq!(substituted("bitnami/redis-exporter:1").unwrap().1, "substitutions[0]");
    assert_eq!(substituted("quay.io/bitnami/redis:8"), None);
}

#[test]
fn all_mistakes_show_in_one_run() {
    let text = "\
apiVersion: airgap-bundler/v1
kind: Bundel
metadata: {name: My Shop, versoin: 1, version: ' '}
platform: [linux/amd64]
platforms: [linux/x86_64, linux, 'Linux/amd64', linux/amd46, linux/arm, linux/arm]
images:
  - busybox
  - docker://quay.io/a:1
  - quay.io/A:1
  - {image: a:1, archiv: x}
  - [x]
  - a@sha256:00
files:
  - {path: a, url: 'https://x.example/a', sha256: '00'}
  - {name: ../a, path: x}
  - {url: 'https://x.example/'}
  - {path: a, maxAge: 7 days, sha256: HEX}
";
    let found = wrong(&text.replace("HEX", HEX));
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    let has = |start: &str, part: &str| {
        assert!(
            lines.iter().any(|line| line.starts_with(&format!("bundle.yaml:{start}: ")) && line.contains(part)),
            "{start} {part}\n{}",
            lines.join("\n")
        );
    };
    has("2:7", "did you mean `Bundle`?");
    has("3:18", "(perhaps `my-shop`)");
    has("3:27", "unknown key `versoin` in `metadata` (did you mean `version`?)");
    has("3:48", "`metadata.version` is empty");
    has("4:1", "unknown key `platform` in the spec (did you mean `platforms`?)");
    has("5:13", "(write linux/amd64)");
    has("5:27", "\"linux\" is no platform");
    has("5:34", "\"Linux/amd64\" is no platform");
    has("5:49", "(did you mean linux/amd64?)");
    has("5:73", "linux/arm is there twice");
    has("7:5", "write busybox:latest");
    has("8:5", "(write quay.io/a:1)");
    has("9:5", "quay.io/A:1");
    has("10:18", "did you mean `archive`?");
    has("11:5", "`images[4]` must be text, not a list");
    has("12:5", "64 lower-case hex digits");
    has("14:5", "`path` and `url`: only one");
    has("14:51", "is no SHA-256");
    has("15:12", "leaves its root");
    has("16:5", "`files[2]` needs `sha256`");
    has("17:23", "\"7 days\" is no duration");
    has("17:39", "`sha256` in `files[3]` belongs to `url`");
    assert!(found.windows(2).all(|pair| pair[0].at <= pair[1].at), "in the order of the text");
}

#[test]
fn each_rule_has_its_code_and_place() {
    for (body, expected) in [
        ("images: busybox:1", "4:9 wrong-type"),
        ("images: {a: b}", "4:9 wrong-type"),
        ("images: [3]", "4:10 bad-reference"),
        ("images: [a:1, 'docker.io/library/a:1']", "4:15 duplicate"),
        ("images: [{archive: x}]", "4:10 missing-key"),
        ("images: [~]", "4:10 wrong-type"),
        ("charts: [{name: a, path: x}, {name: a, path: y}]", "4:37 duplicate"),
        ("charts: [{name: a}]", "4:10 missing-key"),
        ("charts: [{name: a, repo: 'https://x.example'}]", "4:10 missing-key"),
        ("charts: [{name: a, repo: 'git://x.example', version: 1}]", "4:26 bad-url"),
        ("charts: [{name: a, repo: 'https://u:p@x.example', version: 1}]", "4:26 bad-url"),
        ("charts: [{name: a, path: x, version: 1}]", "4:38 conflicting-keys"),
        ("charts: [{name: A, path: x}]", "4:17 bad-name"),
        ("charts: [{name: a/b, path: x}]", "4:17 bad-name"),
        ("charts: [{name: a, path: x, set: [b]}]", "4:34 wrong-type"),
        ("charts: [{name: a, path: x, set: {b: 1, b: 2}}]", "4:41 duplicate-key"),
        ("charts: [{name: a, path: x, set: {b: {c: 1, c: 2}}}]", "4:45 duplicate-key"),
        ("charts: [{name: a, path: x, variants: [{}]}]", "4:40 empty"),
        ("charts: [{name: a, path: x, namespace: A_b}]", "4:40 bad-name"),
        ("charts: [{name: a, path: 'https://x.example/a.tgz'}]", "4:26 bad-path"),
        ("manifests: [a.yaml]", "4:13 wrong-type"),
        ("manifests: [{path: a}, {path: a}]", "4:24 duplicate"),
        ("manifests: [{url: 'file:///etc/passwd', sha256: x}]", "4:19 bad-url"),
        ("manifests: [{path: '~/a'}]", "4:20 bad-path"),
        ("manifests: [{path: \"a\\u0000b\"}]", "4:20 bad-value"),
        ("files: [{path: a}, {path: b/a}]", "4:20 duplicate"),
        ("files: [{path: a}, {path: x, name: a/b}]", "4:36 duplicate"),
        ("files: [{path: '..'}]", "4:9 missing-key"),
        ("files: [{path: x, name: /etc/x}]", "4:25 bad-path"),
        ("images: [a:1]\nimages: [b:1]", "5:1 duplicate-key"),
        ("registries: {'https://quay.io': {plainHttp: true}}", "4:14 bad-host"),
        ("registries: {quay.io: {plainHttp: perhaps}}", "4:35 wrong-type"),
        ("registries: {quay.io: {}}", "4:23 empty"),
        ("registries: {quay.io: {mirror: 'http://x'}}", "4:32 bad-host"),
        ("registries: {docker.io: {ca: a}, index.docker.io: {ca: a}}", "4:34 duplicate"),
        ("substitutions: [{from: a/, to: b}]", "4:17 bad-reference"),
        ("substitutions: [{from: a/, to: docker.io/a/}]", "4:17 bad-reference"),
        ("substitutions: [{from: a/, to: b/}, {from: docker.io/a/, to: c/}]", "4:37 duplicate"),
        ("substitutions: [{from: 'a b', to: c}]", "4:24 bad-reference"),
        ("platforms: []", "4:12 empty"),
        ("kubernetes: {version: latest}", "4:23 bad-version"),
        ("kubernetes: {apiVersions: [a b]}", "4:28 bad-value"),
        ("discovery: {guesses: maybe}", "4:22 bad-value"),
        ("discovery: {optional: maybe}", "4:23 bad-value"),
        ("discovery: {optoinal: list}", "4:13 unknown-key"),
        ("discovery: {accept: [{image: acme/*}]}", "4:30 bad-pattern"),
        ("discovery: {rules: [{group: a/v1, kind: B, paths: [x]}]}", "4:29 bad-name"),
        ("discovery: {rules: [{group: a, kind: B, paths: []}]}", "4:21 empty"),
        ("discovery: {rules: [{group: a, kind: B, paths: ['x[0]']}]}", "4:49 bad-value"),
        ("verify: [{images: '*'}]", "4:10 missing-key"),
        ("issuer: {domains: [Enclave.LAN]}", "4:9 missing-key"),
        ("issuer: {organization: a, domains: [a b]}", "4:37 bad-name"),
        ("issuer: {organization: a, ipRanges: [x/8]}", "4:38 bad-name"),
        ("wholly: unknown", "4:1 unknown-key"),
    ] {
        let codes = codes(&with(body));
        assert!(codes.iter().any(|code| code == expected), "{body}: {codes:?}");
    }
}

#[test]
fn what_is_not_expanded_is_pointed_out() {
    let (_, warnings) = parse(&with("manifests: [{path: '${HOME}/x'}]"));
    assert_eq!((warnings[0].severity, warnings[0].code), (Severity::Warning, "not-expanded"));
}

#[test]
fn texts_that_are_no_spec_say_what_they_are() {
    assert_eq!(codes(""), ["1:1 empty"]);
    assert_eq!(codes("- a"), ["1:1 wrong-type"]);
    assert_eq!(codes("a: [1"), ["2:1 spec-syntax"]);
    assert!(codes(&format!("{}---\nb: 1\n", with("images: [a:1]\n"))).contains(&"6:1 spec-syntax".into()));
    let zarf = wrong("kind: ZarfPackageConfig\nmetadata: {name: x}\n");
    assert!(zarf.iter().any(|d| d.hint.as_deref().is_some_and(|hint| hint.contains("--from-zarf"))));
}

#[test]
fn what_was_written_counts_where_yaml_sees_numbers_and_booleans() {
    let (spec, _) =
        parse(&with("charts: [{name: y, repo: 'https://x.example', version: 1.10}]\nmanifests: [{path: on}]"));
    assert_eq!(spec.charts[0].name, "y");
    assert!(matches!(&spec.charts[0].source, ChartSource::Repo { version, .. } if version == "1.10"));
    assert_eq!(spec.manifests[0].source, ManifestSource::Path("on".into()));
}

/// Checks a document against the parts of JSON Schema that ours uses.
fn accepts(schema: &serde_json::Value, value: &serde_json::Value) -> Result<(), String> {
    let refuse = |why: &str| Err(format!("{why}: {value}"));
    if let Some(words) = schema["enum"].as_array() {
        return if words.contains(value) { Ok(()) } else { refuse("not among the words") };
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        return if choices.iter().any(|choice| accepts(choice, value).is_ok()) {
            Ok(())
        } else {
            refuse("no choice fits")
        };
    }
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        _ => false,
    };
    let fits = schema["type"].as_str().is_some_and(is)
        || schema["type"].as_array().is_some_and(|names| names.iter().filter_map(|name| name.as_str()).any(is));
    if !fits {
        return refuse("wrong type");
    }
    for item in value.as_array().into_iter().flatten() {
        accepts(&schema["items"], item)?;
    }
    let Some(object) = value.as_object() else { return Ok(()) };
    for (key, item) in object {
        match (&schema["properties"][key], &schema["additionalProperties"]) {
            (serde_json::Value::Null, serde_json::Value::Bool(false)) => return refuse(&format!("unknown key {key}")),
            (serde_json::Value::Null, serde_json::Value::Null) => {}
            (serde_json::Value::Null, other) => accepts(other, item)?,
            (known, _) => accepts(known, item)?,
        }
    }
    let names = |value: &serde_json::Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|name| name.as_str()).map(str::to_owned).collect()
    };
    if let Some(missing) = names(&schema["required"]).iter().find(|name| !object.contains_key(*name)) {
        return refuse(&format!("no {missing}"));
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let held =
            choices.iter().filter(|choice| names(&choice["required"]).iter().all(|name| object.contains_key(name)));
        if held.count() != 1 {
            return refuse("not exactly one");
        }
    }
    for (key, needs) in schema["dependentRequired"].as_object().into_iter().flatten() {
        if object.contains_key(key) && names(needs).iter().any(|name| !object.contains_key(name)) {
            return refuse(&format!("{key} alone"));
        }
    }
    Ok(())
}

#[test]
fn the_schema_says_what_the_parser_says() {
    let schema = schema();
    let json = |text: &str| yaml::documents(text, &Options::default()).unwrap()[0].to_json().unwrap();
    accepts(&schema, &json(&everything())).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    for body in [
        "imagse: []",
        "images: busybox:1",
        "images: [{image: a:1, archiv: x}]",
        "charts: [{name: a}]",
        "charts: [{name: a, repo: 'https://x.example'}]",
        "charts: [{name: a, path: x, version: '1'}]",
        "files: [{path: a, url: 'https://x.example/b', sha256: x}]",
        "files: [{url: 'https://x.example/b'}]",
        "registries: {quay.io: {plainHttp: maybe}}",
        "registries: {quay.io: {tls: false}}",
        "discovery: {guesses: maybe}",
        "issuer: {domains: [a]}",
    ] {
        assert!(accepts(&schema, &json(&with(body))).is_err(), "schema takes {body}");
        assert!(Spec::parse("b", &with(body)).is_err(), "parser takes {body}");
    }
}

#[test]
fn every_object_of_the_schema_is_closed() {
    fn walk(schema: &serde_json::Value, objects: &mut usize) {
        if schema.is_null() {
            return;
        }
        if let Some(properties) = schema["properties"].as_object() {
            assert_eq!(schema["additionalProperties"], false, "{schema}");
            *objects += 1;
            properties.values().for_each(|property| walk(property, objects));
        }
        for part in [&schema["items"], &schema["additionalProperties"]] {
            walk(part, objects);
        }
        schema["anyOf"].as_array().into_iter().flatten().for_each(|choice| walk(choice, objects));
    }
    let mut objects = 0;
    walk(&schema(), &mut objects);
    // Sixteen tables, one of which appears in two places.
    assert_eq!(objects, 17);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,80}") {
        let _ = Spec::parse("b", &text);
        let _ = Spec::parse("b", &with(&text));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_change_to_a_spec_makes_the_parser_panic(
        changes in prop::collection::vec((0usize..2300, 0usize..20, "(\\PC|[ \n:{}\\[\\],'\"&*~<-]){0,4}"), 1..4)
    ) {
        let mut text: Vec<char> = everything().chars().collect();
        for (at, length, replacement) in changes {
            let at = at.min(text.len());
            let end = (at + length).min(text.len());
            text.splice(at..end, replacement.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(wrong) = Spec::parse("b", &text) {
            prop_assert!(wrong.iter().any(|d| d.severity == Severity::Error && d.at.is_some()));
        }
    }
}
