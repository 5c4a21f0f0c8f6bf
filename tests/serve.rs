//! The registry: the distribution API over sockets, its limits, and what stock tools say of it.

mod fixtures;
mod limits;
mod read_only;
mod stock_tools;
mod storage;
mod uploads;

use airgap_bundler::{
    oci::{Digest, media_type},
    serve::Policy,
};
use serde_json::json;

use crate::support::registry::{Registry, Setup, basic};

fn digest(bytes: &[u8]) -> String {
    Digest::sha256(bytes).to_string()
}

fn sha512(bytes: &[u8]) -> String {
    Digest::Sha512([0; 64]).same_algorithm(bytes).to_string()
}

fn with(policy: Policy) -> Registry {
    Registry::with(Setup { policy, ..Setup::default() })
}

#[test]
fn an_image_goes_in_and_comes_out() {
    let registry = Registry::start();
    let layer = b"some layer".as_slice();
    let image = registry.put_image("a/b", "v1", &[layer]);
    for which in ["v1", &image.digest.to_string()] {
        let answer = registry.get(&format!("/v2/a/b/manifests/{which}"));
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(media_type::MANIFEST)));
        assert_eq!(answer.header("docker-content-digest"), Some(image.digest.to_string().as_str()));
        assert_eq!(Digest::sha256(&answer.body), image.digest);
        let head = registry.request("HEAD", &format!("/v2/a/b/manifests/{which}"), &[], b"");
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(head.header("content-length"), Some(image.size.to_string().as_str()));
        assert_eq!(head.header("docker-content-digest"), answer.header("docker-content-digest"));
    }
    let blob = registry.get(&format!("/v2/a/b/blobs/{}", digest(layer)));
    assert_eq!((blob.status, blob.body.as_slice()), (200, layer));
    assert_eq!(registry.get("/v2/a/b/tags/list").json(), json!({"name": "a/b", "tags": ["v1"]}));
    assert_eq!(registry.get("/v2/_catalog").json(), json!({"repositories": ["a/b"]}));
}

#[test]
fn says_what_it_is_and_refuses_in_the_words_of_the_specification() {
    let registry = Registry::start();
    registry.put_image("a", "v1", &[b"x"]);
    for target in ["/v2/", "/v2"] {
        let answer = registry.get(target);
        assert_eq!((answer.status, answer.header("docker-distribution-api-version")), (200, Some("registry/2.0")));
    }
    let absent = digest(b"absent");
    for (method, target, status, code) in [
        ("GET", "/v2/UPPER/tags/list", 400, "NAME_INVALID"),
        ("GET", "/v2/none/tags/list", 404, "NAME_UNKNOWN"),
        ("GET", "/v2/none/manifests/v1", 404, "NAME_UNKNOWN"),
        ("GET", "/v2/a/manifests/none", 404, "MANIFEST_UNKNOWN"),
        ("GET", &format!("/v2/a/manifests/{absent}"), 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/a/manifests/sha256:00", 400, "DIGEST_INVALID"),
        ("GET", &format!("/v2/a/blobs/{absent}"), 404, "BLOB_UNKNOWN"),
        ("DELETE", &format!("/v2/a/blobs/{absent}"), 404, "BLOB_UNKNOWN"),
        ("DELETE", &format!("/v2/a/manifests/{absent}"), 404, "MANIFEST_UNKNOWN"),
        ("DELETE", "/v2/a/manifests/none", 404, "MANIFEST_UNKNOWN"),
        ("DELETE", &format!("/v2/none/manifests/{absent}"), 404, "NAME_UNKNOWN"),
        ("GET", "/v2/a/blobs/md5:d41d8cd98f00b204e9800998ecf8427e", 400, "DIGEST_INVALID"),
        ("GET", "/v2/a/blobs/uploads/nonsense", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("GET", "/v2/a/blobs/uploads/00000000-0000-4000-8000-000000000000", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("PATCH", "/v2/a/manifests/v1", 405, "UNSUPPORTED"),
        ("POST", "/v2/a/tags/list", 405, "UNSUPPORTED"),
        ("GET", "/v2/nothing", 404, "UNSUPPORTED"),
        ("GET", "/v2/a/tags/list?n=x", 400, "UNSUPPORTED"),
        ("GET", "/v2/a/referrers/x", 400, "DIGEST_INVALID"),
    ] {
        let answer = registry.request(method, target, &[], b"");
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{method} {target}: {}", answer.text());
    }
}

#[test]
fn ranges_of_blobs() {
    let registry = Registry::start();
    let bytes: Vec<u8> = (0..1_500_000u32).map(|n| (n % 251) as u8).collect();
    let blob = registry.put_blob("a", media_type::LAYER, &bytes);
    let target = format!("/v2/a/blobs/{}", blob.digest);
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=700000-", 700_000, bytes.len()),
        ("bytes=10-1000009", 10, 1_000_010),
        ("bytes=-5", bytes.len() - 5, bytes.len()),
        ("bytes=1499999-9999999", bytes.len() - 1, bytes.len()),
    ] {
        let answer = registry.request("GET", &target, &[("Range", range)], b"");
        let said = format!("bytes {from}-{}/{}", to - 1, bytes.len());
        assert_eq!((answer.status, answer.header("content-range")), (206, Some(said.as_str())), "{range}");
        assert!(answer.body == bytes[from..to], "{range}");
    }
    let beyond = registry.request("GET", &target, &[("Range", "bytes=1500000-")], b"");
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */1500000")));
    let whole = registry.request("GET", &target, &[("Range", "bytes=0-1,3-4")], b"");
    assert!(whole.status == 200 && whole.body == bytes && whole.header("accept-ranges") == Some("bytes"));
    let tag = format!("\"{}\"", blob.digest);
    let same = registry.request("GET", &target, &[("Range", "bytes=1-1"), ("If-Range", &tag)], b"");
    let other = registry.request("GET", &target, &[("Range", "bytes=1-1"), ("If-Range", "\"x\"")], b"");
    assert_eq!((same.status, other.status), (206, 200));
    assert_eq!(registry.request("GET", &target, &[("If-None-Match", &tag)], b"").status, 304);
}

#[test]
fn manifests_are_kept_as_they_were_pushed() {
    let registry = Registry::start();
    let config = registry.put_blob("a", "application/vnd.docker.container.image.v1+json", b"{}");
    // Odd white space and an unknown field: bytes, not documents, are stored.
    let text = format!(
        "{{ \"schemaVersion\":2,\n\t\"mediaType\":\"{}\", \"config\":{}, \"layers\":[],\"x\":1}}\n",
        media_type::DOCKER_MANIFEST,
        json!(config)
    );
    registry.put_manifest("a", "v1", media_type::DOCKER_MANIFEST, text.as_bytes());
    let answer = registry.get("/v2/a/manifests/v1");
    assert_eq!((answer.header("content-type"), answer.text()), (Some(media_type::DOCKER_MANIFEST), text.clone()));
    // A type with parameters, or none that says anything: the document's own is kept.
    for announced in ["application/json; charset=utf-8", "application/vnd.docker.distribution.manifest.v2+json; x=y"] {
        registry.put_manifest("a", "v2", announced, text.as_bytes());
        assert_eq!(registry.get("/v2/a/manifests/v2").header("content-type"), Some(media_type::DOCKER_MANIFEST));
    }
    let list = json!({"schemaVersion": 2, "mediaType": media_type::DOCKER_LIST, "manifests": []});
    registry.put_document("a", "list", media_type::DOCKER_LIST, &list);
    assert_eq!(registry.get("/v2/a/manifests/list").header("content-type"), Some(media_type::DOCKER_LIST));
}

#[test]
fn manifests_that_nobody_could_use_are_refused() {
    let registry = Registry::start();
    let put = |text: &str, announced: &str, which: &str| {
        let target = format!("/v2/a/manifests/{which}");
        let answer = registry.request("PUT", &target, &[("Content-Type", announced)], text.as_bytes());
        (answer.status, answer.code())
    };
    let invalid = (400, "MANIFEST_INVALID".to_owned());
    assert_eq!(put("{", media_type::MANIFEST, "v1"), invalid);
    assert_eq!(put("{}", "text/html", "v1"), invalid);
    assert_eq!(put(r#"{"schemaVersion":1,"fsLayers":[]}"#, media_type::DOCKER_SCHEMA1, "v1"), invalid);
    assert_eq!(put(r#"{"manifests":[],"layers":[]}"#, media_type::INDEX, "v1"), invalid);
    assert_eq!(put(r#"{"manifests":[]}"#, media_type::INDEX, ".bad"), invalid);
    let elsewhere = digest(b"else");
    assert_eq!(put(r#"{"manifests":[]}"#, media_type::INDEX, &elsewhere), (400, "DIGEST_INVALID".into()));
    let large = format!("{{\"manifests\":[],\"annotations\":{{\"x\":\"{}\"}}}}", "y".repeat(4 << 20));
    assert_eq!(put(&large, media_type::INDEX, "v1"), (413, "SIZE_INVALID".into()));
    assert_eq!(registry.get("/v2/a/tags/list").status, 404);
}

#[test]
fn an_image_needs_its_blobs_and_an_index_may_be_sparse() {
    let missing = |name: &str| json!({"mediaType": media_type::LAYER, "digest": digest(name.as_bytes()), "size": 1});
    let foreign = json!({"mediaType": media_type::DOCKER_FOREIGN_LAYER, "digest": digest(b"f"), "size": 1,
        "urls": ["https://example.com/f"]});
    let registry = Registry::start();
    let config = registry.put_blob("a", media_type::CONFIG, b"{}");
    let put = |registry: &Registry, which: &str, announced: &str, value: &serde_json::Value| {
        let target = format!("/v2/a/manifests/{which}");
        registry.request("PUT", &target, &[("Content-Type", announced)], value.to_string().as_bytes())
    };
    let image = json!({"schemaVersion": 2, "config": config, "layers": [missing("1"), missing("2"), foreign]});
    let answer = put(&registry, "v1", media_type::MANIFEST, &image);
    let errors = answer.json()["errors"].as_array().unwrap().clone();
    assert_eq!((answer.status, errors.len()), (400, 2));
    assert!(errors.iter().all(|error| error["code"] == "MANIFEST_BLOB_UNKNOWN"));
    assert_eq!(errors[0]["detail"]["digest"], digest(b"1"));
    // A layer of another repository is not one of this.
    registry.put_blob("b", media_type::LAYER, b"1");
    assert_eq!(put(&registry, "v1", media_type::MANIFEST, &image).status, 400);
    let foreign_only = json!({"schemaVersion": 2, "config": config, "layers": [foreign]});
    assert_eq!(put(&registry, "foreign", media_type::MANIFEST, &foreign_only).status, 201);

    let entry = json!({"mediaType": media_type::MANIFEST, "digest": digest(b"m"), "size": 1});
    let index = json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": [entry]});
    assert_eq!(put(&registry, "index", media_type::INDEX, &index).status, 201);
    let strict = with(Policy { refuse_sparse: true, ..Policy::default() });
    let answer = put(&strict, "index", media_type::INDEX, &index);
    assert_eq!((answer.status, answer.code().as_str()), (400, "MANIFEST_BLOB_UNKNOWN"));
    let child = strict.put_image("a", "child", &[]);
    let complete = json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": [child]});
    assert_eq!(put(&strict, "index", media_type::INDEX, &complete).status, 201);
}

#[test]
fn tags_move_unless_they_must_not() {
    let registry = Registry::start();
    let one = registry.put_image("a", "v1", &[b"one"]);
    let two = registry.put_image("a", "v1", &[b"two"]);
    let now = |registry: &Registry| {
        registry.get("/v2/a/manifests/v1").header("docker-content-digest").unwrap_or_default().to_owned()
    };
    assert_eq!(now(&registry), two.digest.to_string());
    let bytes = registry.get(&format!("/v2/a/manifests/{}", one.digest)).body;
    let conditional = |condition: &str| {
        let headers = [("Content-Type", media_type::MANIFEST), ("If-Match", condition)];
        registry.request("PUT", "/v2/a/manifests/v1", &headers, &bytes).status
    };
    assert_eq!(conditional(&format!("\"{}\"", one.digest)), 412);
    assert_eq!(conditional(&format!("\"{}\"", two.digest)), 201);
    assert_eq!((now(&registry), conditional("*")), (one.digest.to_string(), 201));

    let immutable = with(Policy { immutable_tags: true, ..Policy::default() });
    let first = immutable.put_image("a", "v1", &[b"one"]);
    immutable.put_image("a", "v1", &[b"one"]);
    immutable.put_blob("a", media_type::LAYER, b"two");
    let other = json!({"schemaVersion": 2, "manifests": []}).to_string();
    let headers = [("Content-Type", media_type::INDEX)];
    let answer = immutable.request("PUT", "/v2/a/manifests/v1", &headers, other.as_bytes());
    assert_eq!((answer.status, answer.code().as_str()), (409, "DENIED"));
    assert_eq!(now(&immutable), first.digest.to_string());
}

#[test]
fn one_push_may_set_several_tags() {
    let registry = Registry::start();
    let bytes = json!({"schemaVersion": 2, "manifests": []}).to_string();
    let target = format!("/v2/a/manifests/{}?tag=1.2.3&tag=1.2&tag=1&tag=1", digest(bytes.as_bytes()));
    let answer = registry.request("PUT", &target, &[("Content-Type", media_type::INDEX)], bytes.as_bytes());
    assert_eq!((answer.status, answer.all("oci-tag")), (201, vec!["1.2.3", "1.2", "1"]));
    assert_eq!(registry.get("/v2/a/tags/list").json()["tags"], json!(["1", "1.2", "1.2.3"]));
}

#[test]
fn sha512_names_content_as_well() {
    let registry = Registry::start();
    let layer = b"layer under sha512".as_slice();
    let target = format!("/v2/a/blobs/uploads/?digest={}", sha512(layer));
    let answer = registry.request("POST", &target, &[], layer);
    assert_eq!((answer.status, answer.header("docker-content-digest")), (201, Some(sha512(layer).as_str())));
    let answer = registry.get(&format!("/v2/a/blobs/{}", sha512(layer)));
    assert_eq!((answer.status, answer.header("docker-content-digest")), (200, Some(sha512(layer).as_str())));
    let entry = json!({"mediaType": media_type::LAYER, "digest": sha512(layer), "size": layer.len()});
    let manifest = json!({"schemaVersion": 2, "config": entry, "layers": [entry]}).to_string();
    registry.put_manifest("a", &sha512(manifest.as_bytes()), media_type::MANIFEST, manifest.as_bytes());
    let answer = registry.get(&format!("/v2/a/manifests/{}", sha512(manifest.as_bytes())));
    assert_eq!(answer.header("docker-content-digest"), Some(sha512(manifest.as_bytes()).as_str()));
    assert_eq!(registry.get(&format!("/v2/a/manifests/{}", digest(manifest.as_bytes()))).status, 404);
}

/// Pushes an artifact that refers to a subject and returns its digest.
fn put_referrer(registry: &Registry, subject: &serde_json::Value, kind: &str, note: &str) -> String {
    let empty = registry.put_blob("a", media_type::EMPTY, b"{}");
    let manifest = json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST, "artifactType": kind, "config": empty,
        "layers": [empty], "subject": subject, "annotations": {"note": note}})
    .to_string();
    let target = format!("/v2/a/manifests/{}", digest(manifest.as_bytes()));
    let answer = registry.request("PUT", &target, &[("Content-Type", media_type::MANIFEST)], manifest.as_bytes());
    assert_eq!((answer.status, answer.header("oci-subject")), (201, subject["digest"].as_str()));
    digest(manifest.as_bytes())
}

#[test]
fn referrers_are_listed_filtered_and_forgotten() {
    let registry = Registry::start();
    let subject = json!(registry.put_image("a", "v1", &[b"x"]));
    let target = format!("/v2/a/referrers/{}", subject["digest"].as_str().unwrap());
    let list = |query: &str| registry.get(&format!("{target}{query}"));
    assert_eq!(list("").json()["manifests"], json!([]));
    let sbom = put_referrer(&registry, &subject, "application/vnd.example.sbom+json", "one");
    let signature = put_referrer(&registry, &subject, "application/vnd.example.signature", "two");
    let all = list("");
    assert_eq!((all.status, all.header("content-type")), (200, Some(media_type::INDEX)));
    assert_eq!((all.json()["manifests"].as_array().unwrap().len(), all.header("oci-filters-applied")), (2, None));
    // A plus sign that is not encoded, as some clients send it.
    for query in
        ["?artifactType=application/vnd.example.sbom%2Bjson", "?artifactType=application/vnd.example.sbom+json"]
    {
        let filtered = list(query);
        let found = filtered.json()["manifests"].clone();
        assert_eq!(filtered.header("oci-filters-applied"), Some("artifactType"));
        assert_eq!(found.as_array().unwrap().len(), 1);
        assert_eq!((&found[0]["digest"], &found[0]["annotations"]), (&json!(sbom), &json!({"note": "one"})));
        assert_eq!(found[0]["artifactType"], "application/vnd.example.sbom+json");
    }
    assert_eq!(registry.request("DELETE", &format!("/v2/a/manifests/{sbom}"), &[], b"").status, 202);
    let rest = list("").json()["manifests"].clone();
    assert_eq!((rest.as_array().unwrap().len(), &rest[0]["digest"]), (1, &json!(signature)));
    // Whatever is asked for, this endpoint is there.
    let absent = registry.get(&format!("/v2/none/referrers/{}", digest(b"x")));
    assert_eq!((absent.status, &absent.json()["manifests"]), (200, &json!([])));

    let without = with(Policy { referrers: false, ..Policy::default() });
    let subject = json!(without.put_image("a", "v1", &[b"x"]));
    let manifest = json!({"schemaVersion": 2, "manifests": [], "subject": subject}).to_string();
    let answer = without.request(
        "PUT",
        &format!("/v2/a/manifests/{}", digest(manifest.as_bytes())),
        &[("Content-Type", media_type::INDEX)],
        manifest.as_bytes(),
    );
    assert_eq!((answer.status, answer.header("oci-subject")), (201, None));
    assert_eq!(without.get(&target).status, 404);
}

/// Follows the links of a listing and returns what the pages hold.
fn pages(registry: &Registry, first: &str, field: &str) -> Vec<Vec<serde_json::Value>> {
    let mut target = first.to_owned();
    let mut pages = Vec::new();
    loop {
        let answer = registry.get(&target);
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        pages.push(answer.json()[field].as_array().unwrap().clone());
        let Some(link) = answer.header("link") else { return pages };
        assert!(link.ends_with(">; rel=\"next\""), "{link}");
        target = link[1..].split('>').next().unwrap().to_owned();
    }
}

#[test]
fn long_lists_come_in_pages() {
    let registry = with(Policy { page: 3, ..Policy::default() });
    let subject = json!(registry.put_image("a", "t0", &[b"x"]));
    for n in 1..7 {
        registry.put_image("a", &format!("t{n}"), &[b"x"]);
        registry.put_image(&format!("r{n}"), "v", &[]);
        put_referrer(&registry, &subject, "application/x+y", &n.to_string());
    }
    let tags: Vec<_> = (0..7).map(|n| json!(format!("t{n}"))).collect();
    assert_eq!(pages(&registry, "/v2/a/tags/list", "tags"), [&tags[..3], &tags[3..6], &tags[6..]]);
    assert_eq!(pages(&registry, "/v2/a/tags/list?n=2", "tags").len(), 4);
    assert_eq!(pages(&registry, "/v2/a/tags/list?last=t4", "tags"), [&tags[5..]]);
    assert_eq!(pages(&registry, "/v2/a/tags/list?n=0", "tags"), [&tags[..0]]);
    assert_eq!(pages(&registry, "/v2/_catalog?n=1", "repositories").concat().len(), 7);
    let subject = subject["digest"].as_str().unwrap();
    for query in ["", "?artifactType=application/x%2By"] {
        let found = pages(&registry, &format!("/v2/a/referrers/{subject}{query}"), "manifests");
        assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3], "{query}");
        let mut digests: Vec<_> = found.concat().iter().map(|one| one["digest"].to_string()).collect();
        digests.dedup();
        assert_eq!(digests.len(), 6);
    }
}

#[test]
fn deletes_take_what_they_name_and_nothing_else() {
    let registry = Registry::start();
    let image = registry.put_image("a", "v1", &[b"shared"]);
    registry.put_image("a", "v2", &[b"shared"]);
    registry.put_image("b", "v1", &[b"shared"]);
    let status = |method: &str, target: &str| registry.request(method, target, &[], b"").status;
    assert_eq!(status("DELETE", "/v2/a/manifests/v1"), 202);
    assert_eq!((status("GET", "/v2/a/manifests/v1"), status("GET", "/v2/a/manifests/v2")), (404, 200));
    let by_digest = format!("/v2/a/manifests/{}", image.digest);
    assert_eq!((status("DELETE", &by_digest), status("DELETE", &by_digest)), (202, 404));
    assert_eq!((status("GET", "/v2/a/manifests/v2"), status("GET", "/v2/b/manifests/v1")), (404, 200));
    let blob = format!("/v2/a/blobs/{}", digest(b"shared"));
    assert_eq!((status("DELETE", &blob), status("GET", &blob)), (202, 404));
    assert_eq!(status("GET", &format!("/v2/b/blobs/{}", digest(b"shared"))), 200);
    assert_eq!(registry.get("/v2/a/tags/list").json()["tags"], json!([]));

    let keeps = with(Policy { delete: false, ..Policy::default() });
    keeps.put_image("a", "v1", &[b"x"]);
    let answer = keeps.request("DELETE", "/v2/a/manifests/v1", &[], b"");
    assert_eq!((answer.status, answer.code().as_str()), (405, "UNSUPPORTED"));
}

#[test]
fn a_login_opens_the_door() {
    let registry = Registry::with(Setup { login: Some(("user", "secret")), ..Setup::default() });
    registry.put_image("a", "v1", &[b"x"]);
    let ask = |headers: &[(&str, &str)]| {
        crate::support::wire::request(registry.addr(), "GET", "/v2/a/manifests/v1", headers, b"")
    };
    let refused = ask(&[]);
    assert_eq!((refused.status, refused.code().as_str()), (401, "UNAUTHORIZED"));
    assert!(refused.header("www-authenticate").unwrap().starts_with("Basic realm="));
    assert_eq!(ask(&[("Authorization", &basic("user", "wrong"))]).status, 401);
    assert_eq!(ask(&[("Authorization", &basic("user", "secret"))]).status, 200);
}
