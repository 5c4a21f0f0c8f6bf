//! The samples in `manifests/node/` are what `bundle export mirrors` writes for an example, so that people can read and use them
//! without the tool. `UPDATE=1 cargo test samples` writes them anew.

use std::{fs, path::Path};

use airgap_bundler::{
    export::{Content, MirrorFormat, Registry, Shipped, mirrors},
    names::Layout,
    oci::Digest,
};

#[test]
fn samples_of_node_configuration_are_current() {
    let shipped = |name: &str| Shipped { reference: name.parse().unwrap(), digest: Digest::sha256(b"example") };
    let content = Content {
        name: "example".into(),
        version: "1.0.0".into(),
        images: vec![
            shipped("docker.io/library/nginx:1.27"),
            shipped("quay.io/prometheus/node-exporter:v1.9.1"),
            shipped("registry.k8s.io/pause:3.10"),
        ],
        ..Content::default()
    };
    let registry = Registry {
        target: "registry.enclave.example:5000/mirror".parse().unwrap(),
        layout: Layout::Source,
        plain_http: false,
        ca: None,
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/node");
    for (name, format) in [
        ("containerd", MirrorFormat::Containerd),
        ("cri-o", MirrorFormat::CriO),
        ("docker", MirrorFormat::Docker),
        ("k3s", MirrorFormat::K3s),
        ("openshift", MirrorFormat::OpenShift),
        ("talos", MirrorFormat::Talos),
    ] {
        for sheet in mirrors(&content, &registry, format).unwrap() {
            let path = folder.join(name).join(sheet.path.as_str());
            if std::env::var_os("UPDATE").is_some() {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, &sheet.text).unwrap();
            }
            let found = fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(found, sheet.text, "{} is not current: run `UPDATE=1 cargo test samples`", path.display());
        }
    }
}
