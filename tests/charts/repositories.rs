//! Repositories over HTTP: which version, from where, with whose login.

use airgap_bundler::{error::Kind, oci::Digest, resolve::Update};
use base64::{Engine, engine::general_purpose::STANDARD};

use super::{Desk, images, reasons};
use crate::support::{
    certificates::Certificates,
    registry::basic,
    repository::{Repository, archive, pod, simple},
};

fn entry(repository: &Repository, name: &str, version: &str) -> String {
    format!("charts:\n  - {{name: {name}, repo: \"{}\", version: \"{version}\"}}\n", repository.url())
}

#[test]
fn a_range_is_resolved_and_stays_until_it_may_move() {
    let repository = Repository::start();
    for version in ["1.2.0", "1.10.0", "2.0.0-rc.1"] {
        repository.publish("web", version, &simple("web", version, ""));
    }
    let mut desk = Desk::new();
    let spec = entry(&repository, "web", "^1.2");
    let wanted = desk.gather(&spec).unwrap();
    assert_eq!(images(&wanted), ["docker.io/library/web:1.10.0"]);
    let locked = &wanted.charts[0];
    assert_eq!((locked.chart.as_str(), locked.version.as_str()), ("web", "1.10.0"));
    assert_eq!(locked.source, format!("{}/web-1.10.0.tgz", repository.url()));
    assert_eq!(locked.archive, Digest::sha256(&simple("web", "1.10.0", "")), "the bytes are the repository's");
    assert_eq!((locked.digest, locked.size), (wanted.packages[0].digest(), wanted.packages[0].archive.len() as u64));
    assert!(locked.vendored.is_empty());
    assert_eq!(
        reasons(&wanted, "docker.io/library/web:1.10.0"),
        ["charts[0] → web@1.10.0 → templates/pod.yaml:6 → Pod web → spec.containers[0].image"]
    );
    assert_eq!(repository.times("/index.yaml"), 1);

    // Something newer is not taken by itself, and the range may still exclude what is locked.
    desk.lock(&wanted);
    repository.publish("web", "1.11.0", &simple("web", "1.11.0", ""));
    let same = desk.gather(&spec).unwrap();
    assert_eq!(same.charts, wanted.charts);
    assert_eq!(desk.gather(&entry(&repository, "web", ">1.10")).unwrap().charts[0].version, "1.11.0");
    for update in [Update::Everything, Update::Matching(vec!["web".into()])] {
        desk.update(update);
        assert_eq!(desk.gather(&spec).unwrap().charts[0].version, "1.11.0");
    }
    desk.update(Update::Matching(vec!["other".into()]));
    assert_eq!(desk.gather(&spec).unwrap().charts[0].version, "1.10.0");
    assert_eq!(desk.gather(&entry(&repository, "web", ">=2.0.0-0")).unwrap().charts[0].version, "2.0.0-rc.1");
    desk.gather(&entry(&repository, "web", "^2")).unwrap_err().says(
        Kind::NotFound,
        1,
        &["bundle.yaml:5:5", "charts[0]", "prereleases", "2.0.0-rc.1", "`-0`"],
    );
}

#[test]
fn what_changed_or_vanished_under_a_locked_version_is_told() {
    let repository = Repository::start();
    repository.publish("web", "1.0.0", &simple("web", "1.0.0", ""));
    repository.publish("web", "1.1.0", &simple("web", "1.1.0", ""));
    let mut desk = Desk::new();
    let spec = entry(&repository, "web", "1.x");
    desk.lock(&desk.gather(&spec).unwrap());

    repository.forget("web");
    repository.publish("web", "1.1.0", &simple("web", "1.1.0", "description: other\n"));
    desk.gather(&spec).unwrap_err().says(
        Kind::Corrupt,
        1,
        &["changed upstream under the same version", "version 1.1.0", "--update web"],
    );
    repository.forget("web");
    repository.publish("web", "1.0.0", &simple("web", "1.0.0", ""));
    desk.gather(&spec).unwrap_err().says(Kind::NotFound, 1, &["does not offer 1.1.0 any more", "--update web"]);
    desk.update(Update::Everything);
    assert_eq!(desk.gather(&spec).unwrap().charts[0].version, "1.0.0");
}

#[test]
fn archives_that_are_not_what_they_should_be_are_refused() {
    let repository = Repository::start();
    repository.put("/web-1.0.0.tgz", simple("web", "1.0.0", ""));
    repository.list("web", &format!("version: 1.0.0, urls: [web-1.0.0.tgz], digest: sha256:{}", "0".repeat(64)));
    repository.put("/other.tgz", simple("other", "1.0.0", ""));
    repository.list("named", "version: 1.0.0, urls: [other.tgz]");
    repository.put("/older.tgz", simple("older", "0.9.0", ""));
    repository.list("older", "version: 1.0.0, urls: [older.tgz]");
    repository.put("/junk.tgz", "no archive");
    repository.list("junk", "version: 1.0.0, urls: [junk.tgz]");
    repository.list("nowhere", "version: 1.0.0");
    repository.list("gone", "version: 1.0.0, urls: [gone.tgz]");
    repository.list("local", "version: 1.0.0, urls: ['ftp://h.example/x.tgz']");
    let names = ["web", "named", "older", "junk", "nowhere", "gone", "local", "weeb"];
    let entries: String = names
        .iter()
        .map(|name| format!("  - {{name: {name}, repo: \"{}\", version: 1.0.0}}\n", repository.url()))
        .collect();
    // Every mistake of every chart in one run, and the index once.
    Desk::new().gather(&format!("charts:\n{entries}")).unwrap_err().says(
        Kind::Corrupt,
        8,
        &[
            "web-1.0.0.tgz has the SHA-256",
            "holds other 1.0.0, and named was asked for",
            "holds older 0.9.0, and version 1.0.0 was asked for",
            "junk.tgz",
            "nowhere of http",
            "version 1.0.0 has no address",
            "gone.tgz answers 404",
            "no chart \"weeb\"; did you mean \"web\"?",
            "bundle.yaml:12:5",
        ],
    );
    assert_eq!(repository.times("/index.yaml"), 1);

    let broken = Repository::start();
    for (index, kind, text) in [
        ("entries: {}", Kind::Corrupt, "no API version"),
        ("<!doctype html>", Kind::Corrupt, "a mapping"),
        ("a: [", Kind::Corrupt, "not valid YAML"),
    ] {
        broken.put("/index.yaml", index);
        Desk::new().gather(&entry(&broken, "web", "*")).unwrap_err().says(kind, 1, &[text, "index.yaml"]);
    }
    broken.fails("/index.yaml", 403);
    Desk::new().gather(&entry(&broken, "web", "*")).unwrap_err().says(Kind::NotFound, 1, &["403", "docker login"]);
}

#[test]
fn several_addresses_signatures_and_deprecation() {
    let (repository, cdn) = (Repository::start(), Repository::start());
    let packed = simple("web", "1.0.0", "deprecated: true\n");
    cdn.put("/files/web-1.0.0.tgz", packed.clone());
    let signature = "-----BEGIN PGP SIGNED MESSAGE-----\nname: web\n";
    cdn.put("/files/web-1.0.0.tgz.prov", signature);
    let urls = format!("urls: [gone/web.tgz, '{}/files/web-1.0.0.tgz?token=secret']", cdn.url());
    repository.list("web", &format!("version: 1.0.0, deprecated: true, {urls}"));
    let wanted = Desk::new().gather(&entry(&repository, "web", "*")).unwrap();
    assert_eq!(wanted.packages[0].provenance.as_deref(), Some(signature.as_bytes()));
    assert_eq!(wanted.charts[0].source, format!("{}/files/web-1.0.0.tgz", cdn.url()), "nothing secret");
    assert_eq!(wanted.warnings.len(), 1, "{:?}", wanted.warnings);
    assert!(wanted.warnings[0].to_string().starts_with("bundle.yaml:5:5: charts[0]: the chart web is deprecated"));

    // A page of a web server is no signature; a failing server is no absence.
    cdn.put("/files/web-1.0.0.tgz.prov", "<html>not here</html>");
    assert!(Desk::new().gather(&entry(&repository, "web", "*")).unwrap().packages[0].provenance.is_none());
    cdn.fails("/files/web-1.0.0.tgz.prov", 403);
    assert!(Desk::new().gather(&entry(&repository, "web", "*")).unwrap().packages[0].provenance.is_none());
    cdn.fails("/files/web-1.0.0.tgz.prov", 400);
    Desk::new().gather(&entry(&repository, "web", "*")).unwrap_err().says(Kind::NotFound, 1, &["404"]);
}

#[test]
fn a_login_goes_to_its_repository_and_nowhere_else() {
    let (repository, other) = (Repository::start(), Repository::start());
    repository.wants("me", "s3cret");
    repository.publish("near", "1.0.0", &simple("near", "1.0.0", ""));
    repository.list("far", &format!("version: 1.0.0, urls: ['{}/far.tgz']", other.url()));
    repository.list("moved", "version: 1.0.0, urls: [moved.tgz]");
    repository.redirects("/moved.tgz", &format!("{}/moved.tgz", other.url()));
    other.put("/far.tgz", simple("far", "1.0.0", ""));
    other.put("/moved.tgz", simple("moved", "1.0.0", ""));
    let all: String = ["near", "far", "moved"]
        .iter()
        .map(|name| format!("  - {{name: {name}, repo: \"{}\", version: 1.0.0}}\n", repository.url()))
        .collect();
    let spec = format!("charts:\n{all}");
    Desk::new().gather(&spec).unwrap_err().says(Kind::NotFound, 3, &["401", "a login may be needed", "docker login"]);

    let docker = Desk::new();
    let auth = STANDARD.encode("me:s3cret");
    docker.write("config.json", format!("{{\"auths\": {{\"{}\": {{\"auth\": \"{auth}\"}}}}}}", repository.host()));
    let helm = Desk::new();
    let known = |more: &str| {
        format!(
            "repositories:\n- {{name: corp, url: \"{}/\", username: me, password: s3cret{more}}}\n",
            repository.url()
        )
    };
    helm.write(".config/helm/repositories.yaml", known(""));
    for desk in [&docker, &helm] {
        let wanted = desk.gather(&spec).unwrap();
        assert_eq!(wanted.charts.len(), 3);
        assert!(!format!("{:?}", wanted.charts).contains("s3cret"));
    }
    let expected = Some(basic("me", "s3cret"));
    assert!(repository.asked().iter().any(|asked| asked.path == "/near-1.0.0.tgz" && asked.authorization == expected));
    assert!(!other.asked().is_empty());
    assert!(other.asked().iter().all(|asked| asked.authorization.is_none()), "{:?}", other.asked());

    // Only who asks for it sends the login elsewhere, and not after a redirect.
    helm.write(".config/helm/repositories.yaml", known(", pass_credentials_all: true"));
    helm.gather(&spec).unwrap();
    let told: Vec<String> =
        other.asked().into_iter().filter(|asked| asked.authorization.is_some()).map(|asked| asked.path).collect();
    assert_eq!(told, ["/far.tgz", "/far.tgz.prov"]);

    helm.write(".config/helm/repositories.yaml", known(", insecure_skip_tls_verify: true"));
    helm.gather(&spec).unwrap_err().says(Kind::Usage, 3, &["wants its certificate not to be checked", "--ca-file"]);
    helm.write(".config/helm/repositories.yaml", "repositories: x");
    helm.gather(&spec).unwrap_err().says(Kind::Usage, 3, &["repositories.yaml"]);
}

#[test]
fn mirrors_stand_in_and_the_lock_keeps_the_public_address() {
    let mirror = Repository::start();
    let packed = simple("cert-manager", "v1.18.2", "");
    mirror.put("/jetstack/charts/cert-manager-v1.18.2.tgz", packed);
    mirror.put(
        "/jetstack/index.yaml",
        "apiVersion: v1\nentries:\n  cert-manager:\n  - {name: cert-manager, version: v1.18.2, urls: [charts/cert-manager-v1.18.2.tgz]}\n",
    );
    let desk = Desk::new();
    let auth = STANDARD.encode("me:s3cret");
    // What is meant for the public host is not shown to the mirror.
    desk.write("config.json", format!("{{\"auths\": {{\"charts.jetstack.io\": {{\"auth\": \"{auth}\"}}}}}}"));
    let spec = format!(
        "registries:\n  charts.jetstack.io: {{mirror: \"{}/jetstack\"}}\ncharts:\n  - {{name: cert-manager, repo: https://charts.jetstack.io, version: ^1.18}}\n",
        mirror.host()
    );
    let wanted = desk.gather(&spec).unwrap();
    assert_eq!(wanted.charts[0].source, "https://charts.jetstack.io/charts/cert-manager-v1.18.2.tgz");
    assert_eq!(wanted.charts[0].version, "v1.18.2");
    assert!(mirror.asked().iter().all(|asked| asked.authorization.is_none()));
}

#[test]
fn authorities_of_the_spec_and_of_helm_are_trusted_for_their_host() {
    let certificates = Certificates::new();
    let repository = Repository::secure(&certificates);
    repository.publish("web", "1.0.0", &simple("web", "1.0.0", ""));
    let spec = entry(&repository, "web", "*");
    let desk = Desk::new();
    desk.write("root.pem", &certificates.root);
    desk.gather(&spec).unwrap_err().says(Kind::Untrusted, 1, &["certificate"]);
    let own = format!("registries:\n  \"{}\": {{ca: root.pem}}\n{spec}", repository.host());
    assert_eq!(desk.gather(&own).unwrap().charts.len(), 1);
    let ca = desk.path().join("root.pem");
    let known = format!("repositories:\n- {{name: corp, url: \"{}\", caFile: {ca:?}}}\n", repository.url());
    desk.write(".config/helm/repositories.yaml", known);
    assert_eq!(desk.gather(&spec).unwrap().charts.len(), 1);
}

#[test]
fn the_same_charts_are_the_same_lock() {
    let repository = Repository::start();
    let random = archive(
        "web",
        &[
            ("Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n"),
            ("templates/pod.yaml", &pod("web:{{ randAlphaNum 6 | lower }}-{{ now | date \"2006\" }}")),
        ],
    );
    repository.publish("web", "1.0.0", &random);
    let spec = entry(&repository, "web", "*");
    let (one, two) = (Desk::new().gather(&spec).unwrap(), Desk::new().gather(&spec).unwrap());
    assert_eq!(images(&one), images(&two));
    assert!(images(&one)[0].ends_with("-2025"), "{:?}", images(&one));
    assert_eq!(one.charts, two.charts);
}
