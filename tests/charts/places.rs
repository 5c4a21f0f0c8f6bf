//! Charts in registries, in git, and in folders.

use std::{path::Path, process::Command};

use airgap_bundler::{
    error::Kind,
    helm::package::{CONFIG, CONTENT, PROVENANCE, Package},
    oci::{Descriptor, Digest, media_type},
    resolve::Update,
};
use serde_json::json;

use super::{Desk, images, reasons};
use crate::support::{
    referees,
    registry::{DockerRegistry, Registry},
    repository::{pod, simple},
};

/// Pushes an archive as helm does, with an annotation of its own, so that the manifest is not one that we would make.
fn push(registry: &Registry, repository: &str, tag: &str, archive: &[u8], provenance: Option<&str>) -> Descriptor {
    let config = registry.put_blob(repository, CONFIG, b"{\"name\":\"x\"}");
    let mut layers = vec![registry.put_blob(repository, CONTENT, archive)];
    layers.extend(provenance.map(|text| registry.put_blob(repository, PROVENANCE, text.as_bytes())));
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers,
        "annotations": {"org.opencontainers.image.created": "2026-01-01T00:00:00Z"}});
    registry.put_document(repository, tag, media_type::MANIFEST, &manifest)
}

fn entry(registry: &str, rest: &str) -> String {
    format!(
        "registries:\n  r.example: {{mirror: \"{registry}\"}}\ncharts:\n  - {{name: web, repo: \"oci://r.example/charts/web\"{rest}}}\n"
    )
}

#[test]
fn charts_of_a_registry_keep_their_manifest_and_their_pin() {
    let registry = Registry::start();
    let mut put = std::collections::BTreeMap::new();
    for version in ["1.2.0", "1.10.0+build.1", "2.0.0-rc.1"] {
        let tag = version.replace('+', "_");
        put.insert(tag.clone(), push(&registry, "charts/web", &tag, &simple("web", version, ""), Some("-----BEGIN")));
    }
    // Other things in the same repository are no versions.
    push(&registry, "charts/web", "latest", &simple("web", "9.0.0", ""), None);
    push(&registry, "charts/web", "v9.0.0", &simple("web", "9.0.0", ""), None);
    let mut desk = Desk::new();
    let spec = entry(&registry.host(), ", version: 1.x");
    let wanted = desk.gather(&spec).unwrap();
    let (locked, package) = (&wanted.charts[0], &wanted.packages[0]);
    assert_eq!(locked.source, "oci://r.example/charts/web:1.10.0_build.1");
    assert_eq!((locked.version.as_str(), locked.digest), ("1.10.0+build.1", put["1.10.0_build.1"].digest));
    assert_eq!(package.manifest.0.digest, locked.digest);
    assert_eq!(Digest::sha256(&package.manifest.1), locked.digest, "the manifest's own bytes");
    assert_eq!(package.provenance.as_deref(), Some(&b"-----BEGIN"[..]));
    assert_eq!(package.blobs.len(), 3);
    assert_eq!(images(&wanted), ["docker.io/library/web:1.10.0_build.1"]);

    // Another chart under the same tag does not matter while the digest is pinned.
    desk.lock(&wanted);
    push(&registry, "charts/web", "1.10.0_build.1", &simple("web", "1.10.0+build.1", "home: x\n"), None);
    push(&registry, "charts/web", "1.11.0", &simple("web", "1.11.0", ""), None);
    assert_eq!(desk.gather(&spec).unwrap().charts, wanted.charts);
    desk.update(Update::Matching(vec!["charts/web".into()]));
    assert_eq!(desk.gather(&spec).unwrap().charts[0].version, "1.11.0");

    let desk = Desk::new();
    let exact = |rest: &str| desk.gather(&entry(&registry.host(), rest)).map(|wanted| wanted.charts[0].version.clone());
    assert_eq!(exact(", version: 1.2.0").unwrap(), "1.2.0");
    assert_eq!(exact(", version: \"1.2\"").unwrap(), "1.2.0");
    assert_eq!(exact(", version: \">=2.0.0-0\"").unwrap(), "2.0.0-rc.1");
    let digest = put["1.2.0"].digest;
    let by_digest = format!(
        "registries:\n  r.example: {{mirror: \"{}\"}}\ncharts:\n  - {{name: web, repo: \"oci://r.example/charts/web@{digest}\"}}\n",
        registry.host()
    );
    let wanted = desk.gather(&by_digest).unwrap();
    assert_eq!((wanted.charts[0].digest, wanted.charts[0].version.as_str()), (digest, "1.2.0"));
    assert_eq!(wanted.charts[0].source, format!("oci://r.example/charts/web@{digest}"));
    exact(", version: ^3").unwrap_err().says(Kind::NotFound, 1, &["no version fits \"^3\"", "2.0.0-rc.1"]);
    exact(", version: 7.0.0").unwrap_err().says(Kind::NotFound, 1, &["7.0.0"]);
    exact("").unwrap_err().says(Kind::Usage, 1, &["needs `version`"]);
}

#[test]
fn what_is_no_chart_is_said_to_be_none() {
    let registry = Registry::start();
    registry.put_image("charts/web", "1.0.0", &[b"layer"]);
    let image = registry.put_image("charts/web", "x", &[b"layer"]);
    registry.put_document(
        "charts/web",
        "2.0.0",
        media_type::INDEX,
        &json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": [image]}),
    );
    let config = registry.put_blob("charts/web", CONFIG, b"{}");
    registry.put_document(
        "charts/web",
        "3.0.0",
        media_type::MANIFEST,
        &json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config, "layers": []}),
    );
    push(&registry, "charts/web", "4.0.0", &simple("web", "4.1.0", ""), None);
    for (version, kind, text) in [
        ("1.0.0", Kind::Usage, "its configuration is application/vnd.oci.image.config.v1+json"),
        ("2.0.0", Kind::Usage, "an index of several images"),
        ("3.0.0", Kind::Usage, "no layer with the archive of a chart"),
        ("4.0.0", Kind::Corrupt, "holds web 4.1.0, and version 4.0.0 was asked for"),
    ] {
        let spec = entry(&registry.host(), &format!(", version: {version}"));
        Desk::new().gather(&spec).unwrap_err().says(kind, 1, &[text, "r.example/charts/web:"]);
    }
}

#[test]
fn helm_pushes_and_we_pull() {
    let (Some(helm), Some(registry)) =
        (referees::find_if_here(&["helm4", "helm"]), DockerRegistry::start(false, Default::default()))
    else {
        return;
    };
    let desk = Desk::new();
    desk.write("web-1.0.0+b.tgz", simple("web", "1.0.0+b", ""));
    let target = format!("oci://{}/charts", registry.host());
    let file = desk.path().join("web-1.0.0+b.tgz");
    referees::must(&helm, desk.path(), &["push", file.to_str().unwrap(), &target, "--plain-http"]);
    let wanted = desk.gather(&entry(&registry.host(), ", version: ^1")).unwrap();
    assert_eq!(wanted.charts[0].source, "oci://r.example/charts/web:1.0.0_b");
    assert_eq!(wanted.charts[0].archive, Digest::sha256(&simple("web", "1.0.0+b", "")));
    // What helm says of the chart is what we would say, but for the time.
    let made = Package::new(wanted.packages[0].metadata.clone(), wanted.packages[0].archive.clone(), None);
    assert_eq!(made.blobs[0].1, wanted.packages[0].blobs[0].1);
}

fn git(folder: &Path, arguments: &[&str]) {
    let done = Command::new("git")
        .args([
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@t",
            "-c",
            "commit.gpgsign=false",
            "-c",
            "init.defaultBranch=main",
        ])
        .args(arguments)
        .current_dir(folder)
        .env("HOME", folder)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn charts_of_git_repositories() {
    if referees::find(&["git"]).is_none() {
        return;
    }
    let source = Desk::new();
    let chart = |version: &str| {
        format!(
            "apiVersion: v2\nname: web\nversion: {version}\ndependencies:\n- {{name: common, version: 1.x, repository: file://../common}}\n"
        )
    };
    source
        .write("charts/web/Chart.yaml", chart("1.0.0"))
        .write("charts/web/templates/pod.yaml", pod("web:1"))
        .write("charts/web/.helmignore", "secret\n")
        .write("charts/web/secret/x", "x")
        .write("charts/common/Chart.yaml", "apiVersion: v2\nname: common\nversion: 1.3.0\n")
        .write("charts/common/templates/pod.yaml", pod("common:1"));
    for arguments in [&["init", "-q"][..], &["add", "."], &["commit", "-qm", "one"], &["tag", "v1"]] {
        git(source.path(), arguments);
    }
    let url = format!("git+file://{}", source.path().display());
    let spec = |rest: &str| format!("charts:\n  - {{name: web, repo: \"{url}{rest}\"}}\n");
    let mut desk = Desk::new();
    let wanted = desk.gather(&spec("//charts/web?ref=v1")).unwrap();
    assert_eq!(images(&wanted), ["docker.io/library/common:1", "docker.io/library/web:1"]);
    let locked = &wanted.charts[0];
    assert!(locked.source.starts_with(&format!("{url}//charts/web?ref=v1#")), "{}", locked.source);
    assert_eq!(locked.vendored[0].path, "web/common");
    assert!(locked.vendored[0].source.starts_with(&format!("{url}//charts/common?ref=v1#")));
    assert_eq!(desk.gather(&spec("//charts/web@v1")).unwrap().charts[0].archive, locked.archive);
    assert_eq!(desk.gather(&spec("@charts/web?ref=v1")).unwrap().charts[0].archive, locked.archive);

    // A branch moves; its pin does not.
    let branch = spec("//charts/web@main");
    let before = desk.gather(&branch).unwrap();
    source.write("charts/web/Chart.yaml", chart("1.1.0"));
    git(source.path(), &["commit", "-qam", "two"]);
    desk.lock(&before);
    assert_eq!(desk.gather(&branch).unwrap().charts, before.charts);
    desk.update(Update::Everything);
    assert_eq!(desk.gather(&branch).unwrap().charts[0].version, "1.1.0");

    desk.gather(&spec("//charts/web?ref=v9")).unwrap_err().says(Kind::NotFound, 1, &["git fetch", "v9"]);
    desk.gather(&spec("//charts/gone?ref=v1")).unwrap_err().says(Kind::NotFound, 1, &["git archive"]);
    desk.gather(&spec("//charts/web?ref=--upload-pack=touch")).unwrap_err().says(
        Kind::Usage,
        1,
        &["no name of a branch, tag or commit"],
    );
    desk.gather(&spec("//charts?ref=v1")).unwrap_err().says(Kind::Usage, 1, &["Chart.yaml file is missing"]);
}

#[test]
fn folders_and_archives() {
    let desk = Desk::new();
    desk.write("charts/web/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n")
        .write("charts/web/templates/pod.yaml", pod("web:1"))
        .write("charts/web/notes.bak", "x")
        .write("charts/web/.helmignore", "*.bak\n")
        .write("tool-2.0.0.tgz", simple("tool", "2.0.0", ""));
    let spec =
        "charts:\n  - {name: front, path: ./charts/web/, namespace: shop}\n  - {name: tool, path: tool-2.0.0.tgz}\n";
    let wanted = desk.gather(spec).unwrap();
    let named: Vec<(&str, &str)> =
        wanted.charts.iter().map(|chart| (chart.chart.as_str(), chart.source.as_str())).collect();
    assert_eq!(named, [("tool", "tool-2.0.0.tgz"), ("web", "charts/web")]);
    assert_eq!(wanted.charts[0].archive, Digest::sha256(&simple("tool", "2.0.0", "")));
    assert_eq!(
        reasons(&wanted, "docker.io/library/web:1"),
        ["charts[0] → web@1.0.0 → templates/pod.yaml:6 → Pod front → spec.containers[0].image"]
    );
    // What is ignored changes nothing; what is not does.
    desk.write("charts/web/more.bak", "y");
    assert_eq!(desk.gather(spec).unwrap().charts, wanted.charts);
    desk.write("charts/web/README.md", "y");
    assert_ne!(desk.gather(spec).unwrap().charts, wanted.charts);

    // The same chart for two releases travels once.
    let twice =
        desk.gather("charts:\n  - {name: a, path: tool-2.0.0.tgz}\n  - {name: b, path: ./tool-2.0.0.tgz}\n").unwrap();
    assert_eq!((twice.charts.len(), twice.packages.len(), twice.charts[0].because.len()), (1, 1, 2));
    desk.write("other.tgz", simple("tool", "2.0.0", "home: x\n"));
    desk.gather("charts:\n  - {name: a, path: tool-2.0.0.tgz}\n  - {name: b, path: other.tgz}\n").unwrap_err().says(
        Kind::Usage,
        1,
        &["charts[1]: tool 2.0.0 has other content here than from tool-2.0.0.tgz"],
    );
    desk.write("empty/x", "").write("bad.tgz", "junk");
    desk.gather("charts:\n  - {name: a, path: gone}\n  - {name: b, path: empty}\n  - {name: c, path: bad.tgz}\n")
        .unwrap_err()
        .says(Kind::Usage, 3, &["gone", "Chart.yaml file is missing", "a folder or a .tgz", "bad.tgz"]);
}
