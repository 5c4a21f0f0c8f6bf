//! The registry: the distribution API over sockets, judged by stock tools.

use airgap_bundler::{
    oci::{Digest, media_type},
    serve::Policy,
};
use serde_json::json;

use crate::support::{
    referees,
    registry::{Registry, Setup},
};

#[test]
fn an_image_goes_in_and_comes_out() {
    let registry = Registry::start();
    let layer = b"some layer".as_slice();
    let image = registry.put_image("a/b", "v1", &[layer]);
    let answer = registry.get("/v2/a/b/manifests/v1");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(media_type::MANIFEST)));
    assert_eq!(Digest::sha256(&answer.body), image.digest);
    let blob = registry.get(&format!("/v2/a/b/blobs/{}", Digest::sha256(layer)));
    assert_eq!((blob.status, blob.body.as_slice()), (200, layer));
    assert_eq!(registry.get("/v2/a/b/tags/list").json(), json!({"name": "a/b", "tags": ["v1"]}));
}

#[test]
fn the_conformance_suite_of_the_specification_is_satisfied() {
    let Some(suite) = referees::find_if_here(&["oci-distribution-conformance"]) else { return };
    for version in ["1.1", "dev"] {
        // The suite pushes images without some of their layers, too, which the default refuses.
        let policy = Policy { refuse_missing_blobs: false, ..Policy::default() };
        let registry = Registry::with(Setup { policy, ..Setup::default() });
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
