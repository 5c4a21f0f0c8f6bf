//! The enclave's own certificate authority: what verifiers say of its certificates, and the way from the first key to a
//! registry and a cluster.

mod cluster;
mod constraints;
mod manifests;
mod paper;
mod program;
mod rotation;
mod stock_tools;

use std::{
    path::Path,
    process::{Command, Output},
};

use airgap_bundler::{
    issuer::{self, Ask, Home, Issued, Plan},
    trust::{
        Passphrase, SystemRandomness,
        x509::{CaNames, Certificate, Lifetime, Scope, Usage},
    },
};
use jiff::Timestamp;

/// The password of every authority here.
pub const PASSWORD: &str = "open sesame";

/// A moment at which nothing made here has expired.
pub fn now() -> Timestamp {
    Timestamp::now()
}

pub fn password() -> Passphrase {
    Passphrase::new(PASSWORD)
}

pub fn plan(domains: &[&str], ranges: &[&str]) -> Plan {
    Plan {
        names: CaNames::new("Acme Enclave").unwrap(),
        scope: Scope::new(domains, ranges).unwrap(),
        replaces: vec!["letsencrypt-prod".to_owned()],
        root: Lifetime::Years(10),
        issuing: Lifetime::Years(2),
        root_only: false,
    }
}

/// Makes an authority in a folder.
pub fn home(dir: &Path, domains: &[&str], ranges: &[&str], at: Timestamp) -> Home {
    issuer::init(dir, &plan(domains, ranges), &password(), at, &mut SystemRandomness).unwrap()
}

pub fn issue(home: &Home, names: &[&str], at: Timestamp) -> Result<Issued, issuer::Error> {
    let issuing = home.issuing(&password()).unwrap();
    let names = names.iter().map(|name| name.parse().unwrap()).collect();
    let ask = Ask { names, request: None, days: 90, usage: Usage::Server };
    issuer::issue(home, &issuing, &ask, at, &mut SystemRandomness)
}

pub fn pem(chain: &[Certificate]) -> String {
    airgap_bundler::trust::x509::write_chain(chain)
}

pub fn openssl(arguments: &[&str]) -> Option<Output> {
    let program = crate::support::referees::find(&["openssl"])?;
    Some(Command::new(program).args(arguments).output().unwrap())
}

/// Asks OpenSSL whether a server is believed by a client that trusts `roots` alone.
pub fn openssl_verifies(folder: &Path, chain: &str, roots: &str) -> Option<Result<(), String>> {
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (chain, roots) = (file("asked-chain.pem", chain), file("asked-roots.pem", roots));
    let output = openssl(&[
        "verify",
        "-x509_strict",
        "-purpose",
        "sslserver",
        "-no-CApath",
        "-no-CAstore",
        "-CAfile",
        &roots,
        "-untrusted",
        &chain,
        &chain,
    ])?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Some(if output.status.success() { Ok(()) } else { Err(said) })
}
