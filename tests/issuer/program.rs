//! `bundle issuer` through the real program.

use airgap_bundler::trust::x509::{Certificate, read_chain};
use jiff::{SignedDuration, Timestamp};

use super::{home, now, openssl, openssl_verifies};
use crate::journey::machine::Machine;

const INIT: [&str; 10] = [
    "issuer",
    "init",
    "--dir",
    "ca",
    "--organization",
    "Acme Enclave",
    "--domain",
    "enclave.lan",
    "--ip-range",
    "10.0.0.0/8",
];

fn made() -> Machine {
    let machine = Machine::new();
    machine.ok(&INIT);
    machine
}

#[test]
fn from_a_spec_to_a_certificate_that_openssl_believes() {
    let machine = Machine::new();
    machine.write(
        "bundle.yaml",
        "apiVersion: airgap-bundler/v1\nkind: Bundle\nmetadata: {name: x, version: 1.0.0}\nissuer:\n  organization: Acme Enclave\n  domains: [enclave.lan, svc, cluster.local]\n  ipRanges: [10.0.0.0/8]\n  replaces: [letsencrypt-prod]\n",
    );
    let sheet = machine.ok(&["issuer", "init", "bundle.yaml", "--dir", "ca", "-o", "json"]).json();
    assert_eq!(sheet["maySign"], "enclave.lan, svc, cluster.local, 10.0.0.0/8");
    let root = Certificate::from_pem(&machine.text("ca/ca.crt")).unwrap();
    assert_eq!(sheet["root"]["fingerprint"], root.fingerprint());
    assert_eq!((root.name(), root.path_length()), ("Acme Enclave Root CA G1", Some(1)));
    let issuing = Certificate::from_pem(&machine.text("ca/issuing-g1.1.crt")).unwrap();
    assert_eq!((issuing.name(), issuing.path_length()), ("Acme Enclave Issuing CA G1.1", Some(0)));
    for certificate in [&root, &issuing] {
        // Twenty bytes, positive: the first byte is 0x40 to 0x7f.
        assert!(certificate.serial().len() == 40 && certificate.serial().starts_with(['4', '5', '6', '7']));
    }
    let asked = ["issuer", "issue", "registry.enclave.lan", "10.1.2.3", "--dir", "ca", "-o", "json"];
    let report = machine.ok(&asked).json();
    assert_eq!(report["certificate"], "ca/certificates/registry.enclave.lan.crt");
    let chain = machine.text("ca/certificates/registry.enclave.lan.crt");
    assert_eq!(read_chain(&chain).unwrap().len(), 2);
    if let Some(answer) = openssl_verifies(&machine.path("."), &chain, &root.to_pem()) {
        assert_eq!(answer, Ok(()));
    }
    #[cfg(unix)]
    for key in ["ca/root-g1.key", "ca/issuing-g1.1.key", "ca/certificates/registry.enclave.lan.key"] {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(machine.path(key)).unwrap().permissions().mode() & 0o777, 0o600, "{key}");
    }
    let status = machine.ok(&["issuer", "status", "--dir", "ca", "-o", "json"]).json();
    assert_eq!(status["status"]["certificates"].as_array().unwrap().len(), 3);
    // Once more: the certificate is a new one, in the place of the old one.
    assert_ne!(machine.ok(&asked).json()["serial"], report["serial"]);
    // What openssl says of the revocation list.
    machine.ok(&["issuer", "revoke", "registry.enclave.lan", "--dir", "ca", "--reason", "key-compromise"]);
    machine.ok(&["issuer", "crl", "--dir", "ca", "-o", "ca/crl.pem"]);
    let path = |name: &str| machine.path(name).to_str().unwrap().to_owned();
    let (list, ca) = (path("ca/crl.pem"), path("ca/issuing-g1.1.crt"));
    if let Some(output) = openssl(&["crl", "-in", &list, "-CAfile", &ca, "-noout", "-text"]) {
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("verify OK") && text.contains("Key Compromise"), "{text}");
        assert_eq!(text.matches("Serial Number").count(), 2, "{text}");
    }
    // Its list stays the business of whoever signed it.
    machine.ok(&["issuer", "rotate", "--dir", "ca"]);
    machine.ok(&["issuer", "crl", "--dir", "ca", "-o", "ca/crl.pem"]);
    let lists = machine.text("ca/crl.pem");
    assert_eq!(lists.matches("BEGIN X509 CRL").count(), 2);
    machine.write("ca/old.pem", &lists[lists.rfind("-----BEGIN").unwrap()..]);
    if let Some(output) = openssl(&["crl", "-in", &path("ca/old.pem"), "-CAfile", &ca, "-noout", "-text"]) {
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("verify OK") && text.contains("Key Compromise"), "{text}");
    }
    machine.ends(3, &["issuer", "revoke", "nobody.enclave.lan", "--dir", "ca"]).says(&["nobody.enclave.lan"]);
}

#[test]
fn keys_are_what_stock_openssl_reads_and_writes() {
    let machine = made();
    let path = |name: &str| machine.path(name).to_str().unwrap().to_owned();
    let (root, pass) = (path("ca/root-g1.key"), "pass:open sesame");
    let Some(output) = openssl(&["pkey", "-in", &root, "-passin", pass, "-noout", "-text"]) else { return };
    assert!(String::from_utf8_lossy(&output.stdout).contains("P-384"), "{output:?}");
    assert!(!openssl(&["pkey", "-in", &root, "-passin", "pass:other", "-noout"]).unwrap().status.success());
    // Another password, by openssl's own ways to encrypt.
    for flags in [&["-scrypt"][..], &["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA256"]] {
        let (old, new) = (path("ca/issuing-g1.1.key"), path("new.key"));
        let convert = ["pkcs8", "-topk8", "-in", &old, "-passin", pass, "-out", &new, "-passout", "pass:second"];
        assert!(openssl(&[&convert[..], flags].concat()).unwrap().status.success());
        let kept = machine.read("ca/issuing-g1.1.key");
        machine.write("ca/issuing-g1.1.key", machine.read("new.key"));
        machine.write("second.txt", "second\n");
        machine.ok(&["issuer", "issue", "a.enclave.lan", "--dir", "ca", "--password-file", "second.txt"]);
        assert_eq!(
            machine.fed("second\n", &["issuer", "issue", "b.enclave.lan", "--dir", "ca", "--password-stdin"]).code,
            Some(0)
        );
        machine.ends(3, &["issuer", "issue", "c.enclave.lan", "--dir", "ca"]).says(&["issuing-g1.1.key", "password"]);
        machine.write("ca/issuing-g1.1.key", kept);
    }
    // An open one is refused, with the way to close it.
    let (old, new) = (path("ca/issuing-g1.1.key"), path("open.key"));
    assert!(openssl(&["pkey", "-in", &old, "-passin", pass, "-out", &new]).unwrap().status.success());
    machine.write("ca/issuing-g1.1.key", machine.read("open.key"));
    machine.ends(2, &["issuer", "issue", "c.enclave.lan", "--dir", "ca"]).says(&["not encrypted", "openssl pkcs8"]);
}

#[test]
fn every_name_that_is_refused_is_told_at_once_and_nothing_is_written() {
    let machine = made();
    let names = ["r.ns", "registry", "evil.example.com", "8.8.8.8", "fine.enclave.lan"];
    let ended = machine.ends(2, &[&["issuer", "issue", "--dir", "ca"][..], &names].concat());
    ended.says(&[
        "r.ns.svc in full",
        "registry.NAMESPACE.svc",
        "evil.example.com is in none",
        "8.8.8.8 is in none",
        "4 names",
    ]);
    assert!(!ended.err.contains("fine.enclave.lan"));
    let ended = machine.ends(2, &[&["issuer", "issue", "--dir", "ca", "-o", "json"][..], &names].concat());
    assert_eq!(ended.error()["diagnostics"].as_array().unwrap().len(), 4);
    assert!(!machine.has("ca/certificates") && !machine.has("ca/issued.jsonl"));
    machine.ends(2, &["issuer", "issue", "*.lan", "--dir", "ca"]).says(&["two further labels"]);
    machine.ends(2, &["issuer", "issue", "https://a.enclave.lan", "--dir", "ca"]).says(&["without scheme"]);
    machine.ends(2, &["issuer", "issue", "a.enclave.lan", "--dir", "ca", "--days", "398"]).says(&["1 to 397"]);
}

#[test]
fn requests_for_certificates() {
    let machine = made();
    let path = |name: &str| machine.path(name).to_str().unwrap().to_owned();
    let make = |file: &str, algorithm: &[&str], san: &str| {
        let (key, csr) = (path(&format!("{file}.key")), path(&format!("{file}.csr")));
        let request = ["req", "-new", "-nodes", "-keyout", &key, "-out", &csr, "-subj", "/CN=ignored", "-addext", san];
        openssl(&[&request[..], algorithm].concat()).map(|output| assert!(output.status.success(), "{output:?}"))
    };
    let p384: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"];
    let Some(()) = make("rsa", &["-newkey", "rsa:2048"], "subjectAltName=DNS:app.enclave.lan,IP:10.0.0.1") else {
        return;
    };
    make("p384", p384, "subjectAltName=DNS:app2.enclave.lan").unwrap();
    make("outside", p384, "subjectAltName=DNS:app.example.com").unwrap();
    make("mail", p384, "subjectAltName=DNS:app.enclave.lan,email:a@enclave.lan").unwrap();
    make("ca", p384, "basicConstraints=critical,CA:TRUE").unwrap();
    make("weak", &["-newkey", "rsa:1024"], "subjectAltName=DNS:app.enclave.lan").unwrap();
    let root = machine.text("ca/ca.crt");
    for (file, name) in [("rsa", "app.enclave.lan"), ("p384", "app2.enclave.lan")] {
        machine.ok(&["issuer", "issue", "--csr", &format!("{file}.csr"), "--dir", "ca"]);
        let chain = machine.text(&format!("ca/certificates/{name}.crt"));
        assert_eq!(openssl_verifies(&machine.path("."), &chain, &root).unwrap(), Ok(()));
        assert!(!machine.has(&format!("ca/certificates/{name}.key")), "the key stays where the request was made");
        assert!(!chain.contains("ignored"));
    }
    let refused = |file: &str, code: i32, word: &str| {
        machine.ends(code, &["issuer", "issue", "--csr", file, "--dir", "ca"]).says(&[word]);
    };
    refused("outside.csr", 2, "app.example.com is in none");
    refused("mail.csr", 2, "a@enclave.lan");
    refused("ca.csr", 2, "bundle issuer sign");
    refused("weak.csr", 2, "less than 2048 bits");
    // Signed by another key than the one inside.
    let text = machine.text("p384.csr");
    let at = text.len() - 60;
    let flipped = if &text[at..=at] == "A" { "B" } else { "A" };
    machine.write("forged.csr", format!("{}{flipped}{}", &text[..at], &text[at + 1..]));
    refused("forged.csr", 6, "not signed by the key");
    machine.write("rubbish.csr", "hello");
    refused("rubbish.csr", 5, "no usable certificate request");
}

#[test]
fn mistakes_of_every_kind() {
    let machine = made();
    machine.ends(2, &INIT).says(&["holds an authority already"]);
    machine.ends(3, &["issuer", "status", "--dir", "nowhere"]).says(&["bundle issuer init --dir nowhere"]);
    fn init<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
        [&["issuer", "init", "--dir", "other"][..], arguments].concat()
    }
    machine.ends(2, &init(&["--organization", "A", "--domain", "*.lan"])).says(&["without *"]);
    machine.ends(2, &init(&["--organization", "A"])).says(&["which names the enclave has"]);
    machine.ends(2, &init(&["--organization", "A", "--ip-range", "10.0.0.1/8"])).says(&["write 10.0.0.0/8"]);
    machine.ends(2, &init(&["--organization", &"A".repeat(60), "--domain", "a.lan"])).says(&["64 characters"]);
    machine.ends(2, &init(&["--organization", "A", "--domain", "a.lan", "--issuing-years", "5"])).says(&["1 to 3"]);
    machine.write("empty.txt", "\n");
    machine
        .ends(2, &init(&["--organization", "A", "--domain", "a.lan", "--password-file", "empty.txt"]))
        .says(&["password is empty"]);
    assert!(!machine.has("other"), "nothing is left of what was refused");
    machine.write("bundle.yaml", "apiVersion: airgap-bundler/v1\nkind: Bundle\nmetadata: {name: x, version: 1.0.0}\n");
    machine.ends(2, &["issuer", "init", "bundle.yaml", "--dir", "other"]).says(&["no `issuer` section"]);
    machine.write("wrong.txt", "wrong");
    machine
        .ends(3, &["issuer", "issue", "a.enclave.lan", "--dir", "ca", "--password-file", "wrong.txt"])
        .says(&["issuing-g1.1.key", "the password does not open"]);
    // The root's key is where it belongs.
    std::fs::rename(machine.path("ca/root-g1.key"), machine.path("safe.key")).unwrap();
    machine.ok(&["issuer", "issue", "a.enclave.lan", "--dir", "ca"]);
    machine.ends(3, &["issuer", "rotate", "--dir", "ca"]).says(&["key of the root is not in"]);
    std::fs::rename(machine.path("safe.key"), machine.path("ca/root-g1.key")).unwrap();
    // Keys that were mixed up.
    let (root, issuing) = (machine.read("ca/root-g1.key"), machine.read("ca/issuing-g1.1.key"));
    machine.write("ca/issuing-g1.1.key", &root);
    machine.ends(5, &["issuer", "issue", "a.enclave.lan", "--dir", "ca"]).says(&["does not belong"]);
    machine.write("ca/issuing-g1.1.key", issuing);
    let state = machine.text("ca/issuer.json");
    machine.write("ca/issuer.json", state.replace("\"version\": 1", "\"version\": 2"));
    machine.ends(5, &["issuer", "status", "--dir", "ca"]).says(&["newer version"]);
    machine.write("ca/issuer.json", state.replace("issuing-g1.1", "../../etc/x"));
    machine.ends(5, &["issuer", "status", "--dir", "ca"]).says(&["no name of a file"]);
    machine.write("ca/issuer.json", &state[..40]);
    machine.ends(5, &["issuer", "status", "--dir", "ca"]).says(&["issuer.json"]);
    std::fs::remove_file(machine.path("ca/issuer.json")).unwrap();
    machine.ends(2, &INIT).says(&["did not finish"]);
}

#[test]
fn an_expired_authority_signs_nothing() {
    let machine = Machine::new();
    let then: Timestamp = now().checked_sub(SignedDuration::from_hours(24 * 365 * 3)).unwrap();
    drop(home(&machine.path("ca"), &["enclave.lan"], &[], then));
    machine.ends(6, &["issuer", "issue", "a.enclave.lan", "--dir", "ca"]).says(&["expired on"]);
    machine.ends(6, &["issuer", "manifests", "--dir", "ca"]).says(&["expired on"]);
    let ended = machine.ends(1, &["issuer", "status", "--dir", "ca"]);
    ended.says(&["Issuing CA G1.1 expired", "bundle issuer rotate"]);
    machine.ok(&["issuer", "rotate", "--dir", "ca"]);
    machine.ok(&["issuer", "issue", "a.enclave.lan", "--dir", "ca"]);
    machine.ok(&["issuer", "status", "--dir", "ca"]);
}

#[test]
fn the_root_changes_step_by_step() {
    let machine = made();
    let rotate = |step: &str| machine.ok(&["issuer", "rotate", "--dir", "ca", "--root", step]);
    machine.ends(2, &["issuer", "rotate", "--dir", "ca", "--root", "retire"]).says(&["the next step is publish"]);
    rotate("publish");
    assert_eq!(read_chain(&machine.text("ca/ca.crt")).unwrap().len(), 2);
    machine.ends(2, &["issuer", "rotate", "--dir", "ca"]).says(&["the root is being changed"]);
    assert!(machine.ok(&["issuer", "status", "--dir", "ca"]).err.contains("rotate --root switch"));
    for step in ["switch", "settle", "retire"] {
        rotate(step);
    }
    assert_eq!(read_chain(&machine.text("ca/ca.crt")).unwrap()[0].name(), "Acme Enclave Root CA G2");
    machine.ok(&["issuer", "issue", "a.enclave.lan", "--dir", "ca"]);
}

#[test]
fn secrets_stay_out_of_what_is_printed() {
    let machine = made();
    let asked = ["issuer", "issue", "a.enclave.lan", "--dir", "ca", "-o", "json"];
    let all = [machine.ok(&asked), machine.ok(&["issuer", "status", "--dir", "ca", "-o", "json"])];
    for ended in all {
        assert!(!ended.out.contains("PRIVATE KEY") && !ended.out.contains("open sesame"), "{}", ended.out);
    }
    for file in ["ca/issuer.json", "ca/issued.jsonl", "ca/ca.crt"] {
        let text = machine.text(file);
        assert!(!text.contains("PRIVATE") && !text.contains("open sesame"), "{file}");
    }
}
