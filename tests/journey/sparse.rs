//! An archive that holds only some platforms of an image, in a registry that takes such an index and in one that does not.

use serde_json::Value;

use super::{
    machine::{Machine, digest},
    source::{End, Shapes, Tools},
};
use crate::support::referees;

struct Journey {
    tools: Tools,
    connected: Machine,
    shapes: Shapes,
}

/// Carries linux/amd64, the default, of an image that has linux/arm64 too.
fn create() -> Option<Journey> {
    let tools = Tools::find()?;
    let source = End::stock()?;
    let connected = Machine::new();
    let shapes = Shapes::write(&connected);
    for (shape, name) in [("multi", "app/web:1"), ("nested", "app/nested:1"), ("single", "app/single:1")] {
        shapes.push(&connected, &tools, shape, &source, name);
    }
    connected.write(
        "bundle.yaml",
        format!(
            "apiVersion: airgap-bundler/v1\nkind: Bundle\nmetadata: {{name: sparse, version: 1.0.0}}\n\
             registries: {{quay.io: {{mirror: {}}}}}\n\
             images: [quay.io/app/web:1, quay.io/app/nested:1, quay.io/app/single:1]\n",
            source.host
        ),
    );
    connected.keys("shop");
    connected.ok(&["create", "--key", "shop.key", "-o", "sparse.tar"]);
    Some(Journey { tools, connected, shapes })
}

#[test]
fn docker_registry_refuses_a_sparse_index_and_takes_a_derived_one() {
    let Some(Journey { tools, connected, shapes }) = create() else { return };
    let Some(target) = End::stock() else { return };
    let load = ["load", "sparse.tar", "--key", "shop.pub", "--to", &target.host];
    let refused = connected.ends(1, &load);
    // Every image is named in one run, and what to do.
    refused.says(&["quay.io/app/web", "quay.io/app/nested", "--derive-index", "no tag was written"]);
    assert!(!refused.err.contains("quay.io/app/single"), "{}", refused.err);
    for name in ["web", "nested", "single"] {
        let name = format!("quay.io/app/{name}:1");
        assert!(!target.holds(&connected, &tools.skopeo, &name), "{name} is there");
    }
    let as_json = connected.ends(1, &[&load[..], &["-o", "json"]].concat()).error();
    assert_eq!(as_json["exitCode"], 1);
    assert_eq!(as_json["diagnostics"].as_array().unwrap().len(), 2, "{as_json}");

    let loaded = connected.ok(&[&load[..], &["--derive-index", "-o", "json"]].concat()).json();
    for (name, shape) in [("web", "multi"), ("nested", "nested")] {
        let raw = target.raw(&connected, &tools.skopeo, &format!("quay.io/app/{name}:1"));
        let images = loaded["receipt"]["images"].as_array().unwrap();
        let image = images.iter().find(|image| image["source"] == format!("quay.io/app/{name}")).unwrap();
        assert_eq!(image["digest"], digest(&raw));
        assert_eq!(image["derivedFrom"], shapes.digest(shape));
        assert_ne!(digest(&raw), shapes.digest(shape));
    }
    let raw = target.raw(&connected, &tools.skopeo, "quay.io/app/web:1");
    let index: Value = serde_json::from_slice(&raw).unwrap();
    let original: Value = serde_json::from_slice(&shapes.raw("multi")).unwrap();
    let entries = index["manifests"].as_array().unwrap();
    // The platform's image and what BuildKit attested about it, as upstream wrote them.
    assert_eq!(entries[..], [original["manifests"][0].clone(), original["manifests"][2].clone()], "{index}");
    let web = format!("docker://{}/quay.io/app/web:1", target.host);
    let shown = connected.tool(&tools.skopeo, &["inspect", "--tls-verify=false", &web]);
    assert_eq!(serde_json::from_str::<Value>(&shown).unwrap()["Architecture"], "amd64");
    connected.tool(&tools.skopeo, &["copy", "--all", "--src-tls-verify=false", &web, "dir:web"]);
    let single = target.raw(&connected, &tools.skopeo, "quay.io/app/single:1");
    assert_eq!(digest(single), shapes.digest("single"));

    let Some(cosign) = referees::cosign() else { return };
    for name in ["web", "nested", "single"] {
        let image = format!("{}/quay.io/app/{name}:1", target.host);
        let verify = ["verify", "--key", "shop.pub", "--insecure-ignore-tlog", "--allow-http-registry", &image];
        connected.tool(&cosign, &verify);
    }
    let again = connected.ok(&[&load[..], &["--derive-index", "-o", "json"]].concat()).json();
    assert_eq!(again["pushedBlobs"], 0);
}

#[test]
fn a_registry_that_takes_sparse_indexes_gets_upstreams() {
    let Some(Journey { tools, connected, shapes }) = create() else { return };
    // --derive-index is an offer, not an order.
    for flags in [&[][..], &["--derive-index"]] {
        let target = End::ours();
        let load = ["load", "sparse.tar", "--key", "shop.pub", "--to", &target.host];
        connected.ok(&[&load[..], flags].concat());
        for (name, shape) in [("web", "multi"), ("nested", "nested"), ("single", "single")] {
            let raw = target.raw(&connected, &tools.skopeo, &format!("quay.io/app/{name}:1"));
            assert_eq!(digest(raw), shapes.digest(shape), "{name}");
        }
        let web = format!("docker://{}/quay.io/app/web:1", target.host);
        connected.tool(&tools.skopeo, &["copy", "--src-tls-verify=false", "--override-arch=amd64", &web, "dir:web"]);
        let Some(cosign) = referees::cosign() else { return };
        let image = format!("{}/quay.io/app/web:1", target.host);
        let verify = ["verify", "--key", "shop.pub", "--insecure-ignore-tlog", "--allow-http-registry", &image];
        connected.tool(&cosign, &verify);
        std::fs::remove_dir_all(connected.path("web")).unwrap();
        // The memory of this machine is of another registry.
        let _ = std::fs::remove_dir_all(connected.path("state"));
    }
}

#[test]
fn a_dry_run_says_which_images_are_sparse() {
    let Some(Journey { connected, .. }) = create() else { return };
    // Planning asks no registry: this one does not exist.
    let planned = connected.ok(&["load", "sparse.tar", "--key", "shop.pub", "--to", "127.0.0.1:9", "--dry-run"]);
    let lines: Vec<&str> = planned.out.lines().filter(|line| line.contains("some platforms only")).collect();
    assert_eq!(lines.len(), 2, "{}", planned.out);
    let listed = connected.ok(&["inspect", "sparse.tar", "--images"]).out;
    assert_eq!(listed, "quay.io/app/nested:1\nquay.io/app/single:1\nquay.io/app/web:1\n");
    let table = connected.ok(&["inspect", "sparse.tar", "--key", "shop.pub"]).out;
    assert!(table.contains("1 left out"), "{table}");
}
