//! Charts through the program: `resolve`, the lock beside the spec, `--locked`, `template`; and what the real helm chooses.

use std::process::Command;

use airgap_bundler::lock::Lock;

use super::Desk;
use crate::support::{
    referees,
    registry::Registry,
    repository::{Repository, simple},
};

fn bundle(desk: &Desk, arguments: &[&str]) -> (Option<i32>, String, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_bundle"))
        .args(arguments)
        .current_dir(desk.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", desk.path())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.code(), text(&done.stdout), text(&done.stderr))
}

#[test]
fn resolve_writes_charts_into_the_lock_and_locked_holds_them_to_it() {
    let (repository, registry) = (Repository::start(), Registry::start());
    let needs = format!("dependencies:\n- {{name: lib, version: 1.x, repository: \"{}\"}}\n", repository.url());
    repository.publish("web", "1.0.0", &simple("web", "1.0.0", &needs));
    repository.publish("lib", "1.4.0", &simple("lib", "1.4.0", ""));
    for image in ["web", "lib"] {
        registry.put_image(&format!("library/{image}"), "1.0.0", &[b"layer"]);
        registry.put_image(&format!("library/{image}"), "1.4.0", &[b"layer"]);
    }
    let desk = Desk::new();
    let spec = format!(
        "apiVersion: airgap-bundler/v1\nkind: Bundle\nmetadata: {{name: shop, version: 1.0.0}}\nregistries:\n  docker.io: {{mirror: \"{}\"}}\n  charts.example.com: {{mirror: \"{}\"}}\ncharts:\n  - {{name: web, repo: https://charts.example.com, version: ^1}}\n",
        registry.host(),
        repository.host()
    );
    desk.write("bundle.yaml", &spec);
    let (code, out, err) = bundle(&desk, &["resolve"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("https://charts.example.com/web-1.0.0.tgz") && out.contains("1 chart, 2 images"), "{out}");
    let text = std::fs::read_to_string(desk.path().join("bundle.lock")).unwrap();
    let lock = Lock::parse("bundle.lock", &text).unwrap();
    assert_eq!((lock.charts.len(), lock.charts[0].vendored.len(), lock.images.len()), (1, 1, 2), "{text}");
    assert_eq!(lock.charts[0].vendored[0].path, "web/lib");

    // The same spec is the same lock; another chart is another one.
    repository.publish("web", "1.1.0", &simple("web", "1.1.0", ""));
    let (code, _, err) = bundle(&desk, &["resolve"]);
    assert_eq!((code, std::fs::read_to_string(desk.path().join("bundle.lock")).unwrap()), (Some(0), text), "{err}");
    let locked = &["create", "--locked", "--dry-run"];
    assert_eq!(bundle(&desk, locked).0, Some(0), "{}", bundle(&desk, locked).2);
    desk.write("bundle.yaml", spec.replace("^1", "^1.1"));
    let (code, _, err) = bundle(&desk, locked);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("the chart web 1.1.0 is new") && err.contains("the chart web 1.0.0 is gone"), "{err}");
    repository.fails("/web-1.1.0.tgz", 404);
    let (code, _, err) = bundle(&desk, &["resolve"]);
    assert_eq!(code, Some(3), "{err}");
    assert!(err.contains("bundle.yaml") && err.contains("web-1.1.0.tgz answers 404"), "{err}");
}

#[test]
fn template_takes_charts_from_repositories_and_registries() {
    let repository = Repository::start();
    for version in ["1.0.0", "1.1.0", "2.0.0-rc.1"] {
        repository.publish("web", version, &simple("web", version, ""));
    }
    let desk = Desk::new();
    let url = repository.url();
    for (arguments, image) in [
        (&["template", "rel", "web", "--repo", &url][..], "web:1.1.0"),
        (&["template", "rel", "web", "--repo", &url, "--version", "1.0.0"], "web:1.0.0"),
        (&["template", "web", "--repo", &url, "--version", ">1-0"], "web:2.0.0-rc.1"),
    ] {
        let (code, out, err) = bundle(&desk, arguments);
        assert_eq!(code, Some(0), "{err}");
        assert!(out.contains(&format!("image: \"{image}\"")), "{out}");
    }
    let (code, _, err) = bundle(&desk, &["template", "wep", "--repo", &url]);
    assert_eq!(code, Some(3), "{err}");
    assert!(err.contains("did you mean"), "{err}");

    let registry = Registry::start();
    let packed: bytes::Bytes = simple("web", "1.0.0", "").into();
    let metadata =
        airgap_bundler::helm::metadata::Metadata { name: "web".into(), version: "1.0.0".into(), ..Default::default() };
    let package = airgap_bundler::helm::Package::new(metadata, packed, None);
    for (descriptor, bytes) in &package.blobs {
        registry.put_blob("charts/web", descriptor.media_type.as_str(), bytes);
    }
    registry.put_manifest("charts/web", "1.0.0", airgap_bundler::oci::media_type::MANIFEST, &package.manifest.1);
    let address = format!("oci://{}/charts/web", registry.host());
    for arguments in [&["template", "rel", &address][..], &["template", "rel", &address, "--version", "1.0.0"]] {
        let (code, out, err) = bundle(&desk, arguments);
        assert_eq!(code, Some(0), "{err}");
        assert!(out.contains("name: rel") && out.contains("web:1.0.0"), "{out}");
    }
}

#[test]
fn helm_chooses_the_same_versions() {
    let Some(helm) = referees::find_if_here(&["helm4", "helm"]) else { return };
    let repository = Repository::start();
    let versions = [
        "0.9.0",
        "1.0.0",
        "1.2.0",
        "1.2.3",
        "v1.3.0",
        "1.10.1",
        "1.10.0",
        "2.0.0-rc.1",
        "2.0.0-rc.2",
        "1.2.4-beta",
        "3.0.0+b.1",
        "0.1.0-alpha",
    ];
    for version in versions {
        repository.publish("web", version, &simple("web", version, ""));
    }
    repository.list("web", "version: not-one, urls: [x.tgz]");
    repository.list("web", "version: 9.0.0.1, urls: [x.tgz]");
    let desk = Desk::new();
    let mut differ = Vec::new();
    let url = repository.url();
    for range in [
        "",
        "*",
        "1.2.0",
        "1.2",
        "1",
        "v1.2.3",
        "1.3.0",
        "v1.3",
        "^1.2",
        "~1.2",
        "~1.2.3",
        "1.2.x",
        ">=1.2 <1.10",
        ">1.2,<1.11",
        "^2",
        "^2.0.0-0",
        ">=2.0.0-rc.1",
        "2.0.0-rc.1",
        "1.2 - 1.3",
        "<1.0 || ^3",
        "!=3.0.0",
        "3.0.0",
        "~0",
        "^0.1.0-0",
        ">0-0",
        "5",
        "latest",
        "=1.2.4-beta",
        "1.2.4-beta",
    ] {
        let place = tempfile::tempdir().unwrap();
        let destination = place.path().to_string_lossy().into_owned();
        let mut arguments = vec!["pull", "web", "--repo", &url, "--destination", &destination];
        if !range.is_empty() {
            arguments.extend(["--version", range]);
        }
        let ran = referees::run(&helm, desk.path(), &arguments);
        let files: Vec<String> = std::fs::read_dir(place.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".tgz"))
            .collect();
        let theirs = files.first().map(|name| name["web-".len()..name.len() - ".tgz".len()].to_owned());
        assert_eq!(ran.status.success(), theirs.is_some());
        let version = if range.is_empty() { "*" } else { range };
        let spec = format!("charts:\n  - {{name: web, repo: \"{url}\", version: \"{version}\"}}\n");
        let ours = desk.gather(&spec).ok().map(|wanted| wanted.charts[0].version.clone());
        if ours != theirs {
            differ.push(format!("{range:?}: helm {theirs:?}, here {ours:?}"));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}
