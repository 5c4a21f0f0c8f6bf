//! The way over two machines: the root's key and the issuing key never meet.

use airgap_bundler::trust::x509::{Certificate, Request, read_chain};

use super::openssl_verifies;
use crate::journey::machine::Machine;

#[test]
fn root_outside_issuing_inside() {
    let (outside, inside) = (Machine::new(), Machine::new());
    let whom = ["--organization", "Acme Enclave", "--domain", "enclave.lan", "--ip-range", "10.0.0.0/8"];
    outside.ok(&[&["issuer", "init", "--root-only", "--dir", "root"], &whom[..]].concat());
    assert!(!outside.has("root/issuing-g1.1.key"));
    outside.ends(7, &["issuer", "issue", "a.enclave.lan", "--dir", "root"]).says(&["bundle issuer request"]);

    let request = inside.ok(&[&["issuer", "request", "--dir", "ca"], &whom[..]].concat()).out;
    assert!(Request::from_pem(&request).unwrap().authority);
    assert_eq!(inside.text("ca/issuing-g1.1.csr"), request);
    inside.ends(7, &["issuer", "issue", "a.enclave.lan", "--dir", "ca"]).says(&["bundle issuer install"]);
    inside.ends(2, &["issuer", "request", "--dir", "ca"]).says(&["waits for its certificate already"]);

    outside.write("carried.csr", &request);
    outside.ok(&["issuer", "sign", "carried.csr", "--dir", "root", "--output", "signed.pem"]);
    let signed = outside.text("signed.pem");
    let chain = read_chain(&signed).unwrap();
    assert_eq!((chain[0].name(), chain[1].name()), ("Acme Enclave Issuing CA G1.1", "Acme Enclave Root CA G1"));

    // What arrives is checked against the sheet, and against the key that waits.
    inside.write("signed.pem", &signed);
    let install = ["issuer", "install", "signed.pem", "--dir", "ca", "--fingerprint"];
    inside.ends(6, &[&install[..], &["00:11"]].concat()).says(&["somebody changed it"]);
    inside.write("reversed.pem", format!("{}{}", chain[1].to_pem(), chain[0].to_pem()));
    inside.ends(2, &["issuer", "install", "reversed.pem", "--dir", "ca"]).says(&["the root last"]);
    let other = Machine::new();
    other.ok(&[&["issuer", "init", "--dir", "ca"], &whom[..]].concat());
    let foreign = format!("{}{}", other.text("ca/issuing-g1.1.crt"), other.text("ca/root-g1.crt"));
    inside.write("foreign.pem", foreign);
    inside.ends(5, &["issuer", "install", "foreign.pem", "--dir", "ca"]).says(&["does not belong"]);
    inside.write("mixed.pem", format!("{}{}", chain[0].to_pem(), other.text("ca/root-g1.crt")));
    inside.ends(2, &["issuer", "install", "mixed.pem", "--dir", "ca"]).says(&["is not signed by"]);
    let fingerprint = Certificate::from_pem(&outside.text("root/ca.crt")).unwrap().fingerprint();
    inside.ok(&[&install[..], &[&fingerprint.to_lowercase().replace(':', "")]].concat());
    inside.ends(2, &["issuer", "install", "signed.pem", "--dir", "ca"]).says(&["waits for no certificate"]);

    inside.ok(&["issuer", "issue", "reg.enclave.lan", "--dir", "ca"]);
    let chain = inside.text("ca/certificates/reg.enclave.lan.crt");
    if let Some(answer) = openssl_verifies(&inside.path("."), &chain, &outside.text("root/ca.crt")) {
        assert_eq!(answer, Ok(()));
    }
    assert!(!inside.has("ca/root-g1.key"));
    inside.ends(3, &["issuer", "rotate", "--dir", "ca"]).says(&["bundle issuer request"]);

    // The successor goes the same way; until it is back, the one before signs.
    inside.ok(&["issuer", "request", "--dir", "ca"]);
    inside.ok(&["issuer", "issue", "still.enclave.lan", "--dir", "ca"]);
    outside.write("second.csr", inside.read("ca/issuing-g1.2.csr"));
    // The root decides what it may sign, not the request.
    let sign = ["issuer", "sign", "second.csr", "--dir", "root", "--domain", "apps.enclave.lan"];
    inside.write("second.pem", outside.ok(&sign).out);
    inside.ok(&["issuer", "install", "second.pem", "--dir", "ca"]);
    inside.ends(2, &["issuer", "issue", "reg.enclave.lan", "--dir", "ca"]).says(&["apps.enclave.lan"]);
    inside.ok(&["issuer", "issue", "x.apps.enclave.lan", "--dir", "ca"]);
    assert_eq!(read_chain(&inside.text("ca/ca.crt")).unwrap().len(), 1);
}
