//! The root of the enclave's authority for everything that must trust it, with how to install it.

use super::{
    Sheet,
    sheet::{comment, fill},
};
use crate::{oci::Host, trust::RootCertificate};

const INSTALL: &str = include_str!("../../manifests/trust/install.sh");
const README: &str = include_str!("../../manifests/trust/README.md");
const PROFILE: &str = include_str!("../../manifests/trust/enclave-ca.mobileconfig");
const POLICIES: &str = include_str!("../../manifests/trust/policies.json");

/// Returns the root, a script that installs it, and what is installed by hand.
pub fn trust(root: &RootCertificate, registry: Option<&Host>) -> Vec<Sheet> {
    let (name, fingerprint, expires) = (comment(root.name()), root.fingerprint(), date(root.not_after()));
    let (registry, certificate) = (registry.map(Host::to_string), root.to_base64());
    let readme = fill(
        README,
        &[
            ("NAME", Some(&name.replace(['|', '`', '<', '[', ']'], " "))),
            ("FINGERPRINT", Some(&fingerprint)),
            ("EXPIRES", Some(&expires)),
            ("REGISTRY", Some(registry.as_deref().unwrap_or("HOST:PORT"))),
        ],
    );
    let (profile_id, certificate_id) = (identifier(root, 1), identifier(root, 2));
    let profile = fill(
        PROFILE,
        &[
            ("NAME", Some(&xml(&name))),
            ("PROFILE_ID", Some(&profile_id)),
            ("CERTIFICATE_ID", Some(&certificate_id)),
            ("CERTIFICATE", Some(&certificate)),
        ],
    );
    vec![
        Sheet::fixed("README.md", readme),
        Sheet::fixed("ca.crt", root.to_pem()),
        Sheet::fixed("install.sh", INSTALL),
        Sheet::fixed("firefox/policies.json", POLICIES),
        Sheet::fixed("apple/enclave-ca.mobileconfig", profile),
    ]
}

/// Writes `20361231235959Z` as people read it.
fn date(moment: &str) -> String {
    let part = |from: usize, to: usize| moment.get(from..to).unwrap_or("?");
    format!("{}-{}-{}", part(0, 4), part(4, 6), part(6, 8))
}

/// Makes an identifier out of the certificate, so that the profile of the same root is the same and replaces itself.
fn identifier(root: &RootCertificate, which: u8) -> String {
    let mut seed = root.der().to_vec();
    seed.push(which);
    let hex = crate::oci::Digest::sha256(&seed).hex().to_ascii_uppercase();
    // A UUID of the version for values of one's own making (RFC 9562, section 5.8).
    format!("{}-{}-8{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}

/// Writes text for XML.
fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};

    use super::*;

    #[test]
    fn every_template_is_filled_and_names_stay_text() {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "A & B <Root>");
        let pem = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
        let root = RootCertificate::from_pem(&pem).unwrap();
        let sheets = trust(&root, Some(&"reg.lan:5000".parse().unwrap()));
        for sheet in &sheets {
            let left = sheet.text.split('@').skip(1).find(|rest| {
                rest.len() > 1
                    && rest.split('@').next().is_some_and(|word| word.bytes().all(|b| b.is_ascii_uppercase()))
                    && rest.contains('@')
            });
            assert!(sheet.text.contains("$@") || left.is_none(), "{}: {left:?}", sheet.path);
            assert!(!sheet.text.contains("@NAME@") && !sheet.text.contains("@REGISTRY@"), "{}", sheet.path);
        }
        let profile = &sheets[4].text;
        assert!(profile.contains("A &amp; B &lt;Root&gt;") && profile.contains(&root.to_base64()), "{profile}");
        assert!(sheets[0].text.contains(&root.fingerprint()) && sheets[0].text.contains("certs.d/reg.lan:5000/"));
        assert_eq!(identifier(&root, 1).len(), 36);
        assert_eq!(date("20361231235959Z"), "2036-12-31");
    }
}
