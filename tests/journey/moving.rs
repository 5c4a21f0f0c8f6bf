//! Moving over from other tools: their documents become specs that parse, and nothing in them is lost in silence.

use std::path::Path;

use airgap_bundler::spec::{ChartSource, FileSource, ManifestSource, Spec};
use serde_json::Value;

use super::{machine::Machine, shop::Shop};

fn data(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/peers").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// Translates a document; returns the spec, its text, and everything that was warned of.
fn translated(flag: &str, document: &str) -> (Spec, String, Vec<String>) {
    let machine = Machine::new();
    machine.write("peer.yaml", data(document));
    let report = machine.ok(&["init", flag, "peer.yaml", "-o", "json"]).json();
    let text = machine.text("bundle.yaml");
    let (spec, _) = Spec::parse("bundle.yaml", &text).unwrap_or_else(|error| panic!("{error:#?}\n{text}"));
    let warnings = report["warnings"].as_array().unwrap();
    let warnings: Vec<String> = warnings.iter().map(|one| one["message"].as_str().unwrap().to_owned()).collect();
    // Every item that is not an entry is both warned of and a comment.
    let lost = report["warnings"].as_array().unwrap().iter().filter(|one| one["code"] == "not-translated").count();
    let comments = text.split("# Not translated").nth(1).map_or(0, |rest| rest.lines().skip(1).count());
    assert_eq!(lost, comments, "{text}\n{warnings:#?}");
    (spec, text, warnings)
}

#[track_caller]
fn warned(warnings: &[String], parts: &[&str]) {
    assert!(
        warnings.iter().any(|one| parts.iter().all(|part| one.contains(part))),
        "{parts:?} is not among {warnings:#?}"
    );
}

fn images(spec: &Spec) -> Vec<String> {
    spec.images.iter().map(|image| image.reference.to_string()).collect()
}

#[test]
fn a_zarf_package_becomes_a_spec() {
    let (spec, text, warnings) = translated("--from-zarf", "zarf.yaml");
    assert_eq!((spec.name.as_str(), spec.version.as_str()), ("web-shop", "2.1.0_build7"));
    assert_eq!(spec.description.as_deref(), Some("The shop: front and back"));
    assert_eq!(spec.platforms.iter().map(ToString::to_string).collect::<Vec<_>>(), ["linux/arm64"]);
    let digest = "6f1e0c3a7c0b5e3c1a2b4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192";
    assert_eq!(
        images(&spec),
        [
            "docker.io/shop/app:1",
            "ghcr.io/acme/front:v2.0.0",
            "docker.io/library/nginx:latest",
            &format!("ghcr.io/acme/back@sha256:{digest}"),
            "registry.example.com/extra:3",
        ]
    );
    assert_eq!(spec.images[4].archive.as_deref(), Some("dist/extra.tar"));
    let charts: Vec<(&str, &ChartSource)> =
        spec.charts.iter().map(|chart| (chart.name.as_str(), &chart.source)).collect();
    let repo = |url: &str, version: &str| ChartSource::Repo { url: url.into(), version: version.into() };
    assert_eq!(charts[0], ("front", &repo("https://charts.example.com", "1.2.3")));
    assert_eq!(charts[1], ("podinfo", &repo("oci://ghcr.io/stefanprodan/charts/podinfo", "6.4.0")));
    assert_eq!(charts[2], ("tool", &repo("git+https://git.example.com/team/tool.git//deploy/chart?ref=v0.9", "")));
    assert_eq!(charts[3], ("local", &ChartSource::Path("charts/local".into())));
    assert_eq!(spec.charts[0].values.files, ["values/front.yaml"]);
    assert_eq!(spec.charts[0].variants[0].values.files, ["values/blue.yaml"]);
    assert_eq!(spec.charts[0].namespace.as_deref(), Some("shop"));
    let manifests: Vec<&ManifestSource> = spec.manifests.iter().map(|manifest| &manifest.source).collect();
    assert_eq!(manifests[0], &ManifestSource::Path("deploy/app.yaml".into()));
    assert!(
        matches!(manifests[1], ManifestSource::Url { url, sha256 } if url == "https://example.com/install.yaml" && sha256.hex() == digest)
    );
    assert_eq!(manifests[2], &ManifestSource::Kustomize("overlays/production".into()));
    let files: Vec<(&str, &FileSource)> = spec.files.iter().map(|file| (file.name.as_str(), &file.source)).collect();
    assert!(matches!(files[0], ("tool", FileSource::Url { url, .. }) if url == "https://example.com/tool-linux-arm64"));
    assert_eq!(files[1], ("motd.txt", &FileSource::Path("motd.txt".into())));
    for parts in [
        &["###ZARF_PKG_TMPL_SIDECAR###", "variable"][..],
        &["unpinned.yaml", "sha256sum"],
        &["https://github.com/acme/deploy//overlays/x?ref=v1", "clone"],
        &["`components[0].actions`"],
        &["`components[0].repos`", "git repositories"],
        &["`components[0].charts[2].variables`"],
        &["`components[0].files[0].executable`"],
        &["`components[1].futureKey`"],
        &["`variables`"],
        &["front is there with several values"],
    ] {
        warned(&warnings, parts);
    }
    assert!(text.contains("# Translated from peer.yaml (Zarf package)"), "{text}");
}

#[test]
fn image_sets_of_both_versions_become_specs() {
    let (spec, _, warnings) = translated("--from-imageset", "imageset-v1.yaml");
    assert_eq!(images(&spec), ["registry.redhat.io/ubi8/ubi:latest", "docker.io/shop/app:1"]);
    assert_eq!(spec.charts[0].name, "podinfo");
    assert_eq!(spec.charts[1].source, ChartSource::Path("charts/shop.tgz".into()));
    assert_eq!(spec.discovery.ignore[0].image.as_str(), "docker.io/library/alpine:*");
    for parts in [
        &["stable-4.16 from 4.16.1 to 4.16.9", "oc-mirror"][..],
        &["the operators rhacs-operator of registry.redhat.io/redhat/redhat-operator-index:v4.16"],
        &["`storageConfig`"],
        &["`archiveSize: 4`"],
    ] {
        warned(&warnings, parts);
    }
    let (spec, text, warnings) = translated("--from-imageset", "imageset-v2.yaml");
    assert_eq!(spec.platforms.iter().map(ToString::to_string).collect::<Vec<_>>(), ["linux/amd64", "linux/arm64"]);
    let web = &spec.charts[0];
    assert_eq!(
        web.source,
        ChartSource::Repo { url: "oci://registry.example.com/charts/web".into(), version: "1.10".into() }
    );
    assert_eq!(web.values.set.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["replicas", "image"], "{text}");
    warned(&warnings, &["stable-4.18"]);
    warned(&warnings, &["targetRepo"]);
    warned(&warnings, &["imagePaths"]);
}

#[test]
fn a_hauler_manifest_becomes_a_spec_with_its_keys() {
    let (spec, text, warnings) = translated("--from-hauler", "hauler.yaml");
    let wanted = [
        "docker.io/library/busybox:stable",
        "ghcr.io/acme/app:1.0",
        "ghcr.io/acme/keyless:1",
        "registry.corp.example/team/app:2",
    ];
    assert_eq!(images(&spec), wanted, "{text}");
    let keys: Vec<(&str, &str)> = spec.verify.iter().map(|one| (one.images.as_str(), one.key.as_str())).collect();
    assert_eq!(
        keys,
        [
            ("docker.io/library/busybox:stable", "acme.pub"),
            ("ghcr.io/acme/app:1.0", "other.pub"),
            ("ghcr.io/acme/keyless:1", "acme.pub"),
        ]
    );
    assert_eq!(
        spec.charts.iter().map(|chart| chart.name.as_str()).collect::<Vec<_>>(),
        ["rancher", "hauler-helm", "mine-1.0.0"]
    );
    assert_eq!(spec.charts[2].source, ChartSource::Path("charts/mine-1.0.0.tgz".into()));
    assert_eq!(spec.files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["motd.txt", "2-motd.txt"]);
    for parts in [
        &["rancher 2.8.4", "one chart of a name"][..],
        &["rancher has no version"],
        &["install.sh", "sha256"],
        &["certificate-identity"],
        &["rewrite"],
        &["https://example.com/images.txt"],
        &["2-motd.txt"],
    ] {
        warned(&warnings, parts);
    }
}

#[test]
fn paths_lead_from_the_spec_to_the_files() {
    let machine = Machine::new();
    machine.write("old/zarf.yaml", data("zarf.yaml"));
    machine.ok(&["init", "--from-zarf", "old/zarf.yaml", "-q"]);
    assert!(
        machine.text("bundle.yaml").contains("{name: local, path: old/charts/local}"),
        "{}",
        machine.text("bundle.yaml")
    );
    std::fs::create_dir(machine.path("new")).unwrap();
    machine.ok(&["init", "new/bundle.yaml", "--from-zarf", "old/zarf.yaml", "-q"]);
    assert!(machine.text("new/bundle.yaml").contains("path: ../old/charts/local"));
}

#[test]
fn a_translation_resolves() {
    let shop = Shop::new();
    let machine = &shop.machine;
    machine.write(
        "zarf.yaml",
        "kind: ZarfPackageConfig\nmetadata: {name: shop, version: 1.0.0, architecture: amd64}\ncomponents:\n  \
         - {name: all, images: ['busybox:1.37'], manifests: [{name: app, files: [deploy/app.yaml]}], files: [{source: motd.txt, target: /etc/motd}]}\n",
    );
    machine.ends(2, &["init", "--from-zarf", "zarf.yaml"]).says(&["bundle.yaml", "already"]);
    machine.ok(&["init", "--from-zarf", "zarf.yaml", "--force"]);
    let mirror = format!("registries:\n  docker.io: {{mirror: \"{}\"}}\n", shop.source.host);
    machine.write("bundle.yaml", machine.text("bundle.yaml") + &mirror);
    let report = machine.ok(&["resolve", "-o", "json"]).json();
    let names: Vec<&Value> = report["images"].as_array().unwrap().iter().map(|image| &image["image"]).collect();
    assert_eq!(names, ["docker.io/library/busybox:1.37", "docker.io/shop/app:1"]);
    // The document that it came from lists what is needed, but for what only its manifests name.
    let told = machine.ends(1, &["diff", "zarf.yaml", "-o", "json"]).json();
    assert_eq!(told["coverage"]["missing"][0]["image"], "docker.io/shop/app:1");
    assert_eq!(told["coverage"]["covered"], 1);
}

#[test]
fn a_new_spec_parses_and_replaces_nothing() {
    let machine = Machine::new();
    machine.ok(&["init"]);
    let text = machine.text("bundle.yaml");
    let (spec, warnings) = Spec::parse("bundle.yaml", &text).unwrap();
    assert!(warnings.iter().all(|one| one.code == "nothing-to-carry") && spec.images.is_empty(), "{warnings:?}");
    // What is commented out is right as well.
    let live: String = text
        .lines()
        .map(|line| match line.trim_start().strip_prefix("# ") {
            Some(entry) if entry.starts_with("- {") || entry.starts_with("- docker") => format!("  {entry}\n"),
            Some(entry)
                if entry.starts_with("kubernetes:")
                    || entry.starts_with("verify:")
                    || entry.starts_with("discovery:") =>
            {
                format!("{entry}\n")
            }
            Some(entry) if entry.starts_with(' ') => format!("{entry}\n"),
            _ => format!("{}\n", line.replace(" []", "")),
        })
        .collect();
    let (spec, _) = Spec::parse("live.yaml", &live).unwrap_or_else(|error| panic!("{error:#?}\n{live}"));
    assert_eq!((spec.charts.len(), spec.manifests.len(), spec.images.len(), spec.files.len()), (3, 2, 2, 1), "{live}");
    machine.ends(2, &["init"]).says(&["bundle.yaml"]);
    assert_eq!(machine.text("bundle.yaml"), text);
}

#[test]
fn what_is_no_such_document_is_told() {
    let machine = Machine::new();
    machine.write("hauler.yaml", data("hauler.yaml"));
    machine.write("deploy.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n");
    machine.write("broken.yaml", "kind: [\n");
    machine.write("empty.yaml", "# nothing\n");
    machine.write("binary.yaml", b"\xff\xfe\x00");
    machine.ends(2, &["init", "--from-zarf", "hauler.yaml"]).says(&["Hauler manifest", "Zarf package"]);
    machine.ends(2, &["init", "--from-zarf", "deploy.yaml"]).says(&["apps/v1 Deployment", "ImageSetConfiguration"]);
    machine.ends(2, &["init", "--from-zarf", "broken.yaml"]).says(&["broken.yaml:"]);
    machine.ends(2, &["init", "--from-list", "empty.yaml"]).says(&["empty.yaml is empty"]);
    machine.ends(2, &["init", "--from-list", "binary.yaml"]).says(&["UTF-8"]);
    machine.ends(3, &["init", "--from-list", "absent.txt"]).says(&["absent.txt"]);
    machine.ends(2, &["init", "--from-zarf", "hauler.yaml", "--from-hauler", "hauler.yaml"]);
    assert!(!machine.has("bundle.yaml"));
}

#[test]
fn texts_from_outside_cannot_leave_their_comment() {
    let machine = Machine::new();
    machine.write(
        "zarf.yaml",
        "kind: ZarfPackageConfig\nmetadata: {name: \"x\\ny: 1\", version: \"1\\nevil: true\"}\ncomponents:\n  \
         - {name: a, images: [\"a b\\nimages: [evil]\", \"a: b\"], charts: [{name: \"x\\n- y\", url: \"https://h/\\nz\", version: \"1\"}]}\n",
    );
    machine.ok(&["init", "--from-zarf", "zarf.yaml"]);
    let text = machine.text("bundle.yaml");
    let (spec, _) = Spec::parse("bundle.yaml", &text).unwrap_or_else(|error| panic!("{error:#?}\n{text}"));
    assert!(spec.images.is_empty() && spec.charts.is_empty(), "{text}");
}

mod properties {
    use airgap_bundler::{error::Severity, peers, spec::Spec};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn fits(text: &str) -> Result<(), String> {
        Spec::parse("", text).map(drop).map_err(|mistakes| {
            let first = mistakes.into_iter().find(|one| one.severity == Severity::Error);
            first.map(|one| one.message).unwrap_or_default()
        })
    }

    /// Names, references, addresses, and what people and attackers write in their place.
    fn word() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-z]{1,4}(\\.io)?/[a-z]{1,3}(:[0-9.]{1,4})?",
            "(https|http|oci|git\\+https)://[a-z]{1,3}\\.[a-z]{2}/[a-z]{0,3}(\\.git)?(@[a-z0-9]{1,3})?",
            "[a-z0-9./-]{0,8}",
            "\\PC{0,8}",
            "[ -~\n]{0,8}",
            Just("###ZARF_PKG_TMPL_X###".to_owned()),
            Just("- y\n  z: {".to_owned()),
        ]
    }

    fn document() -> impl Strategy<Value = Value> {
        let words = || proptest::collection::vec(word(), 0..4);
        let all = (word(), word(), words(), words(), words(), words(), 0usize..4);
        all.prop_map(|(name, version, images, charts, files, values, which)| {
            let chart = |url: &String| {
                json!({"name": name, "version": version, "url": url, "repoURL": url, "localPath": values.first(), "path": values.get(1),
                    "valuesFiles": values, "values": {name.clone(): version}, "namespace": name})
            };
            let charts: Vec<Value> = charts.iter().map(chart).collect();
            let named: Vec<Value> = images.iter().map(|name| json!({"name": name, "key": version})).collect();
            let files: Vec<Value> = files.iter().map(|file| json!({"source": file, "target": name, "path": file, "name": version})).collect();
            match which {
                0 => json!({"kind": "ZarfPackageConfig", "metadata": {"name": name, "version": version, "description": name, "architecture": name},
                    "components": [{"images": images, "charts": charts, "files": files, "manifests": [{"files": values, "kustomizations": values}], "x": name}]}),
                1 => json!({"kind": "ImageSetConfiguration", "apiVersion": "mirror.openshift.io/v2alpha1", "metadata": {"name": name},
                    "mirror": {"additionalImages": named, "blockedImages": named, "platform": {"architectures": images},
                    "helm": {"local": charts, "repositories": [{"url": version, "charts": charts}]}, "operators": charts}}),
                2 => json!({"kind": name, "apiVersion": "content.hauler.cattle.io/v1", "metadata": {"annotations": {"hauler.dev/registry": version}},
                    "spec": {"images": named}}),
                _ => json!({"images": images}),
            }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_is_read_becomes_a_spec_that_parses(document in document(), folder in "(\\.\\./){0,2}[a-z]{0,3}") {
            if let Ok(peer) = peers::read("x.yaml", &document.to_string()) {
                let written = peers::write(&peer, &folder, &fits);
                let parsed = Spec::parse("bundle.yaml", &written.text);
                prop_assert!(parsed.is_ok(), "{:#?}\n{}\n{}", parsed.err(), document, written.text);
            }
        }

        #[test]
        fn reading_never_panics(text in "[ -~\n]{0,80}", noise in "\\PC{0,40}") {
            let _ = (peers::read("x", &text), peers::read("x", &noise));
        }
    }
}
