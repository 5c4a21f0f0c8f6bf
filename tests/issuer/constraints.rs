//! Name constraints: OpenSSL, rustls-webpki and Python's `cryptography` give the same answer for every name under every
//! profile, and the profile that is written here gives the right one.

use std::{io::Write as _, process::Stdio};

use airgap_bundler::trust::x509::{Certificate, ServerName, verify_server};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose, SanType};
use serde_json::{Value, json};

use super::{home, now, openssl_verifies, password, pem};
use crate::support::referees;

/// What a profile permits beside the domains.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Profile {
    /// Silent about addresses: what is *not* written here.
    Silent,
    /// Ours without ranges.
    NoAddresses,
    /// Ours with a range.
    Range,
    /// With a constraint on URIs: what is *not* written here, because verifiers differ.
    Uri,
}

const PROFILES: [Profile; 4] = [Profile::Silent, Profile::NoAddresses, Profile::Range, Profile::Uri];

/// A leaf's names, and what the profiles answer in the order of [`PROFILES`].
const ROWS: [(&[&str], [bool; 4]); 15] = [
    (&["reg.enclave.lan"], [true, true, true, true]),
    (&["enclave.lan"], [true, true, true, true]),
    (&["*.apps.enclave.lan"], [true, true, true, true]),
    (&["r.ns.svc"], [true, true, true, true]),
    (&["r.ns.svc.cluster.local"], [true, true, true, true]),
    (&["reg.enclave.lan", "r.ns.svc"], [true, true, true, true]),
    (&["r.ns"], [false, false, false, false]),
    (&["evil.example.com"], [false, false, false, false]),
    (&["notenclave.lan"], [false, false, false, false]),
    (&["*.lan"], [false, false, false, false]),
    (&["reg.enclave.lan", "evil.example.com"], [false, false, false, false]),
    (&["10.1.2.3"], [true, false, true, true]),
    (&["8.8.8.8"], [true, false, false, false]),
    (&["fd00::1"], [true, false, false, false]),
    (&["reg.enclave.lan", "10.1.2.3"], [true, false, true, true]),
];

/// Where Python's verifier is wider than the others: it permits `*.lan` under `enclave.lan`, because one of the names that
/// the wildcard stands for is permitted. No constraint that permits `enclave.lan` can tell it otherwise.
const TOO_WIDE: &str = r#"["*.lan"]"#;

/// The chain of one profile: root, issuing authority, and the key that signs leaves that no honest program would sign.
struct Chain {
    root: Certificate,
    issuing: Certificate,
    signer: Issuer<'static, KeyPair>,
}

fn ours(ranges: &[&str]) -> Chain {
    let folder = tempfile::tempdir().unwrap();
    let home = home(folder.path(), &["enclave.lan"], ranges, now());
    let issuing = home.issuing(&password()).unwrap();
    let mut chain = home.issuing_chain().unwrap();
    let der = chain[0].der().to_vec().into();
    let signer = Issuer::from_ca_cert_der(&der, KeyPair::from_pem(&issuing.key().to_open_pem()).unwrap()).unwrap();
    Chain { root: chain.pop().unwrap(), issuing: chain.remove(0), signer }
}

/// The profiles that are not written here, made with the library alone.
fn foreign(profile: Profile) -> Chain {
    use rcgen::{BasicConstraints, CustomExtension, DnType, GeneralSubtree, IsCa, NameConstraints};
    let params = |name: &str, below: u8| {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2045, 1, 1);
        params.use_authority_key_identifier_extension = below == 0;
        params
    };
    let root_key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let root_params = params("foreign root", 1);
    let root = root_params.self_signed(&root_key).unwrap();
    let root_issuer = Issuer::new(root_params, root_key);
    let key = KeyPair::generate().unwrap();
    let mut issuing = params("foreign issuing", 0);
    let domains = ["enclave.lan", "svc", "cluster.local"];
    if profile == Profile::Silent {
        let permitted = domains.map(|domain| GeneralSubtree::DnsName(domain.to_owned())).to_vec();
        issuing.name_constraints =
            Some(NameConstraints { permitted_subtrees: permitted, excluded_subtrees: Vec::new() });
    } else {
        // The library writes no constraints on URIs: by hand (RFC 5280, 4.2.1.10).
        let element = |tag: u8, content: &[u8]| [&[tag, content.len() as u8], content].concat();
        let mut permitted = Vec::new();
        for domain in domains {
            permitted.extend(element(0x30, &element(0x82, domain.as_bytes())));
        }
        permitted.extend(element(0x30, &element(0x87, &[10, 0, 0, 0, 255, 0, 0, 0])));
        permitted.extend(element(0x30, &element(0x86, b"cluster.local")));
        let excluded = element(0x30, &element(0x87, &[0; 32]));
        let both = [element(0xa0, &permitted), element(0xa1, &excluded)].concat();
        let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 30], element(0x30, &both));
        extension.set_criticality(true);
        issuing.custom_extensions.push(extension);
    }
    let made = issuing.signed_by(&key, &root_issuer).unwrap();
    let certificate = |der: &[u8]| Certificate::from_der(der).unwrap();
    Chain { root: certificate(root.der()), issuing: certificate(made.der()), signer: Issuer::new(issuing, key) }
}

impl Chain {
    fn of(profile: Profile) -> Chain {
        match profile {
            Profile::NoAddresses => ours(&[]),
            Profile::Range => ours(&["10.0.0.0/8"]),
            other => foreign(other),
        }
    }

    fn leaf(&self, names: &[&str], uri: Option<&str>) -> Certificate {
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.subject_alt_names.extend(uri.map(|uri| SanType::URI(uri.try_into().unwrap())));
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "whoever stole the key");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.is_ca = rcgen::IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        let start = u64::try_from(now().as_second()).unwrap();
        let at = |seconds: u64| rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(seconds);
        (params.not_before, params.not_after) = (at(start - 60), at(start + 86_400));
        let key = KeyPair::generate().unwrap();
        Certificate::from_der(params.signed_by(&key, &self.signer).unwrap().der()).unwrap()
    }
}

/// One question to all verifiers.
struct Cell {
    label: String,
    /// The name that a client asks for.
    name: String,
    chain: Vec<Certificate>,
    root: Certificate,
    expected: bool,
}

/// Asks Python's `cryptography` about all cells at once.
fn python(cells: &[Cell]) -> Option<Vec<bool>> {
    const SCRIPT: &str = r#"
import datetime, ipaddress, json, sys
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
answers = []
for cell in json.load(sys.stdin):
    leaf, *between = [x509.load_pem_x509_certificate(pem.encode()) for pem in cell["chain"]]
    name = cell["name"]
    try:
        subject = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        subject = x509.DNSName(name)
    store = Store([x509.load_pem_x509_certificate(cell["root"].encode())])
    now = datetime.datetime.now(datetime.timezone.utc)
    verifier = PolicyBuilder().store(store).time(now).build_server_verifier(subject)
    try:
        verifier.verify(leaf, between)
        answers.append("")
    except VerificationError as error:
        answers.append(str(error) or "refused")
json.dump(answers, sys.stdout)
"#;
    let program = referees::find(&["python3"])?;
    let has = std::process::Command::new(&program)
        .args(["-c", "import cryptography.x509.verification"])
        .stderr(Stdio::null())
        .status();
    if !has.is_ok_and(|status| status.success()) {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "Python's cryptography is not here (.ci/referees installs it), and CI must have it"
        );
        eprintln!("SKIPPED: Python has no module cryptography with a verifier");
        return None;
    }
    let asked: Vec<Value> = cells
        .iter()
        .map(|cell| {
            let chain: Vec<String> = cell.chain.iter().map(Certificate::to_pem).collect();
            json!({"chain": chain, "root": cell.root.to_pem(), "name": cell.name})
        })
        .collect();
    let mut child = std::process::Command::new(program)
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(Value::from(asked).to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let answers: Vec<String> = serde_json::from_slice(&output.stdout).unwrap();
    Some(answers.iter().map(String::is_empty).collect())
}

fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for (column, profile) in PROFILES.into_iter().enumerate() {
        let chain = Chain::of(profile);
        for (names, expected) in ROWS {
            cells.push(Cell {
                label: format!("{profile:?} {names:?}"),
                name: names[0].replacen('*', "any", 1),
                chain: vec![chain.leaf(names, None), chain.issuing.clone()],
                root: chain.root.clone(),
                expected: expected[column],
            });
        }
        if profile != Profile::Uri {
            cells.push(Cell {
                label: format!("{profile:?} name and SPIFFE URI"),
                name: "reg.enclave.lan".to_owned(),
                chain: vec![
                    chain.leaf(&["reg.enclave.lan"], Some("spiffe://cluster.local/ns/a/sa/b")),
                    chain.issuing.clone(),
                ],
                root: chain.root.clone(),
                expected: true,
            });
        }
    }
    cells
}

#[test]
fn three_verifiers_agree_on_every_cell() {
    let cells = cells();
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    let python = python(&cells);
    for (at, cell) in cells.iter().enumerate() {
        let webpki = verify_server(&cell.chain, std::slice::from_ref(&cell.root), now());
        if webpki.is_ok() != cell.expected {
            wrong.push(format!("{}: webpki {webpki:?}", cell.label));
        }
        match openssl_verifies(folder.path(), &pem(&cell.chain), &cell.root.to_pem()) {
            Some(answer) if answer.is_ok() != cell.expected => {
                wrong.push(format!("{}: openssl {answer:?}", cell.label))
            }
            _ => {}
        }
        if let Some(answers) = &python
            && answers[at] != (cell.expected || cell.label.contains(TOO_WIDE))
        {
            wrong.push(format!("{}: python {}", cell.label, answers[at]));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cells:\n{}", wrong.len(), cells.len(), wrong.join("\n"));
}

#[test]
fn a_constraint_on_uris_is_what_verifiers_differ_about() {
    let chain = Chain::of(Profile::Uri);
    let leaf = chain.leaf(&["reg.enclave.lan"], Some("spiffe://cluster.local/ns/a/sa/b"));
    let both = [leaf, chain.issuing.clone()];
    assert!(verify_server(&both, std::slice::from_ref(&chain.root), now()).is_err());
    let folder = tempfile::tempdir().unwrap();
    if let Some(openssl) = openssl_verifies(folder.path(), &pem(&both), &chain.root.to_pem()) {
        assert_eq!(openssl, Ok(()));
    }
}

#[test]
fn what_is_refused_here_is_what_verifiers_refuse() {
    for (column, ranges) in [(1, &[][..]), (2, &["10.0.0.0/8"][..])] {
        let folder = tempfile::tempdir().unwrap();
        let home = home(folder.path(), &["enclave.lan"], ranges, now());
        let scope = home.issuing_chain().unwrap()[0].scope().unwrap().clone();
        for (names, expected) in ROWS {
            // `*.lan` is no name at all: nobody gets as far as the constraints.
            let names: Vec<Result<ServerName, _>> = names.iter().map(|name| name.parse()).collect();
            let accepted = names
                .iter()
                .all(|name| name.as_ref().is_ok_and(|name| scope.refuse(std::slice::from_ref(name)).is_empty()));
            assert_eq!(accepted, expected[column], "{names:?}");
        }
    }
}

#[test]
fn a_leaf_of_another_authority_with_the_same_name_is_refused() {
    let (one, other) = (ours(&[]), ours(&[]));
    assert_eq!(one.issuing.subject(), other.issuing.subject());
    let leaf = other.leaf(&["reg.enclave.lan"], None);
    assert!(!leaf.is_issued_by(&one.issuing) && leaf.is_issued_by(&other.issuing));
    let chain = [leaf, one.issuing.clone()];
    assert!(verify_server(&chain, std::slice::from_ref(&one.root), now()).is_err());
    let folder = tempfile::tempdir().unwrap();
    if let Some(openssl) = openssl_verifies(folder.path(), &pem(&chain), &one.root.to_pem()) {
        assert!(openssl.is_err());
    }
}
