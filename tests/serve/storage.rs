//! The data directory: what survives, what is shared, what is swept.

use std::{fs, path::Path};

use airgap_bundler::{
    oci::media_type,
    serve::{Data, StartError},
};

use super::digest;
use crate::support::registry::{Registry, Setup};

fn over(data: &Path) -> Registry {
    Registry::with(Setup { data: Some(data.to_owned()), ..Setup::default() })
}

/// Returns the contents that lie in the directory.
fn contents(data: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![data.join("blobs")];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.file_name().unwrap().to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn everything_is_there_after_a_restart() {
    let place = tempfile::tempdir().unwrap();
    let registry = over(place.path());
    let image = registry.put_image("a/b/c", "v1", &[b"x", b"y"]);
    registry.put_image("a", "v2", &[b"x"]);
    registry.stop();
    let registry = over(place.path());
    assert_eq!(registry.get("/v2/_catalog").json()["repositories"], serde_json::json!(["a", "a/b/c"]));
    let answer = registry.get("/v2/a/b/c/manifests/v1");
    assert_eq!(answer.header("docker-content-digest"), Some(image.digest.to_string().as_str()));
    assert_eq!(registry.get(&format!("/v2/a/b/c/blobs/{}", digest(b"y"))).body, b"y");
}

#[test]
fn content_lies_there_once_and_goes_with_its_last_holder() {
    let place = tempfile::tempdir().unwrap();
    let registry = over(place.path());
    let hex = |bytes: &[u8]| digest(bytes)["sha256:".len()..].to_owned();
    for name in ["a", "b"] {
        registry.put_blob(name, media_type::LAYER, b"shared");
    }
    assert_eq!(contents(place.path()), [hex(b"shared")]);
    let status =
        |name: &str| registry.request("DELETE", &format!("/v2/{name}/blobs/{}", digest(b"shared")), &[], b"").status;
    assert_eq!(status("a"), 202);
    assert_eq!(contents(place.path()), [hex(b"shared")]);
    assert_eq!(status("b"), 202);
    assert!(contents(place.path()).is_empty());

    let image = registry.put_image("a", "v1", &[]);
    assert_eq!(contents(place.path()).len(), 2);
    registry.request("DELETE", &format!("/v2/a/manifests/{}", image.digest), &[], b"");
    assert_eq!(contents(place.path()).len(), 1);
    // Nothing half-written stays behind.
    assert_eq!(fs::read_dir(place.path().join("tmp")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(place.path().join("repositories/a/_uploads")).unwrap().count(), 0);
}

#[test]
fn what_a_crash_left_is_swept_and_nothing_else() {
    let place = tempfile::tempdir().unwrap();
    let registry = over(place.path());
    registry.put_image("a", "v1", &[b"x"]);
    registry.stop();
    let before = contents(place.path());
    // Content that got its name just before the crash, a small file that did not.
    let orphan = place.path().join("blobs/sha256/00");
    fs::create_dir_all(&orphan).unwrap();
    fs::write(orphan.join("0".repeat(64)), b"orphan").unwrap();
    fs::write(place.path().join("tmp/1-1"), b"half").unwrap();
    let upload = place.path().join("repositories/a/_uploads");
    for name in ["11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"] {
        fs::write(upload.join(name), b"part").unwrap();
    }
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(25 * 60 * 60);
    let stale = fs::File::options().write(true).open(upload.join("11111111-1111-4111-8111-111111111111")).unwrap();
    stale.set_modified(old).unwrap();
    let registry = over(place.path());
    assert_eq!(contents(place.path()), before);
    assert_eq!(fs::read_dir(place.path().join("tmp")).unwrap().count(), 0);
    assert_eq!(registry.get("/v2/a/blobs/uploads/11111111-1111-4111-8111-111111111111").status, 404);
    assert_eq!(registry.get("/v2/a/blobs/uploads/22222222-2222-4222-8222-222222222222").status, 204);
    assert_eq!(registry.get("/v2/a/manifests/v1").status, 200);
}

#[test]
fn a_directory_belongs_to_one_process_and_one_format() {
    let place = tempfile::tempdir().unwrap();
    let first = Data::open(place.path(), true).unwrap();
    assert!(matches!(Data::open(place.path(), true), Err(StartError::InUse(_))));
    drop(first);
    fs::write(place.path().join("registry.json"), b"{\"registry\":\"bundle\",\"version\":99}").unwrap();
    assert!(matches!(Data::open(place.path(), true), Err(StartError::Format(_))));
    let file = place.path().join("file");
    fs::write(&file, b"").unwrap();
    assert!(matches!(Data::open(&file, true), Err(StartError::Disk(_))));
}

#[test]
fn a_damaged_record_is_an_error_and_not_an_absence() {
    let place = tempfile::tempdir().unwrap();
    let registry = over(place.path());
    registry.put_image("a", "v1", &[b"x"]);
    fs::write(place.path().join("repositories/a/_tags/v1"), b"sha256:garbage").unwrap();
    let answer = registry.get("/v2/a/manifests/v1");
    assert_eq!((answer.status, answer.code().as_str()), (500, "UNKNOWN"));
    assert!(!answer.text().contains("repositories"), "paths of the server stay there: {}", answer.text());
}

#[test]
fn a_loaded_registry_is_a_mirror_and_an_upload_makes_no_repository() {
    let place = tempfile::tempdir().unwrap();
    let registry = over(place.path());
    registry.put_image("docker.io/library/nginx", "v1", &[b"x"]);
    registry.put_image("library/nginx", "own", &[b"y"]);
    assert_eq!(registry.get("/v2/library/nginx/manifests/v1?ns=docker.io").status, 200);
    assert_eq!(registry.get("/v2/library/nginx/manifests/v1").status, 404);
    assert_eq!(registry.get("/v2/library/nginx/manifests/own?ns=quay.io").status, 200);
    registry.request("POST", "/v2/only/uploads/blobs/uploads/", &[], b"");
    registry.stop();
    let names = over(place.path()).get("/v2/_catalog").json();
    assert_eq!(names["repositories"], serde_json::json!(["docker.io/library/nginx", "library/nginx"]));
}
