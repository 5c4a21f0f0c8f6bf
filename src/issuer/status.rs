//! What there is, how long it lasts, and what needs attention.

use jiff::Timestamp;
use serde::Serialize;

use super::{Error, Home, Step, records};
use crate::{
    error::{Diagnostic, Severity},
    trust::x509::Certificate,
};

/// An authority with less of its life left than this, in hundredths, needs a successor.
const SCARCE: i64 = 20;
/// A server's certificate is renewed when a third of its life is left; later than this, somebody forgot.
const SERVER_DAYS: i64 = 14;

/// Tells of one certificate.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// What it is: `root`, `issuing`, `server`.
    pub role: &'static str,
    /// Its name, or the names of the server.
    pub name: String,
    /// When it ends.
    pub not_after: Timestamp,
    /// How many days are left; negative when it is over.
    pub days_left: i64,
    /// The serial number.
    pub serial: String,
    /// The fingerprint (SHA-256), where the certificate is at hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Whether it is in use now.
    pub active: bool,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Timestamp>,
}

/// Tells of an authority.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Who it is for.
    pub organization: String,
    /// What it may sign.
    pub scope: String,
    /// The names of issuers that it stands in for.
    pub replaces: Vec<String>,
    /// Whether the root's key lies in this folder.
    pub root_key_here: bool,
    /// The step at which a change of the root stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<Step>,
    /// Roots, issuing authorities, servers.
    pub certificates: Vec<Line>,
    /// What needs attention.
    pub findings: Vec<Diagnostic>,
}

impl Status {
    /// Tells whether something is wrong already, beyond a warning.
    pub fn is_broken(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }
}

fn days(until: Timestamp, now: Timestamp) -> i64 {
    (until.as_second() - now.as_second()).div_euclid(86_400)
}

fn line(role: &'static str, certificate: &Certificate, active: bool, now: Timestamp) -> Line {
    Line {
        role,
        name: certificate.name().to_owned(),
        not_after: certificate.not_after(),
        days_left: days(certificate.not_after(), now),
        serial: certificate.serial().to_owned(),
        fingerprint: Some(certificate.fingerprint()),
        active,
        revoked: None,
    }
}

/// Looks at everything in the folder. Needs no password.
///
/// # Errors
/// Those of reading.
pub fn status(home: &Home, now: Timestamp) -> Result<Status, Error> {
    let mut certificates = Vec::new();
    let mut findings = Vec::new();
    let active = home.state.issuing.as_ref();
    for root in home.roots()? {
        let used = match active {
            Some(active) => home.root(active.root)? == root,
            None => true,
        };
        check(&root, used, "rotate --root publish", now, &mut findings);
        certificates.push(line("root", &root, used, now));
    }
    for stem in &home.state.previous {
        let before = home.chain_of(stem)?.remove(0);
        if before.not_after() > now && active.is_none_or(|active| active.certificate != *stem) {
            certificates.push(line("issuing", &before, false, now));
        }
    }
    let mut scope = home.scope()?.to_string();
    if let Some(active) = active {
        let issuing = home.chain_of(&active.certificate)?.remove(0);
        check(&issuing, true, "rotate", now, &mut findings);
        certificates.push(line("issuing", &issuing, true, now));
        scope = issuing.scope().map_or_else(|| "anything: it has no name constraints".to_owned(), ToString::to_string);
    }
    if let Some(stem) = &home.state.pending {
        findings.push(
            Diagnostic::warning("request-waits", format!("{stem}.csr waits for its certificate"))
                .hint("sign it with the root (`bundle issuer sign`), then `bundle issuer install` what comes back"),
        );
    }
    if let Some(step) = home.step() {
        let (text, hint) = match step {
            Step::Published => (
                "a new root is published and signs nothing yet",
                "when every node and client has ca.crt: rotate --root switch",
            ),
            Step::Switched => (
                "the new issuing authority signs, under the old root",
                "when every client trusts the new root: rotate --root settle",
            ),
            Step::Settled => (
                "the new root is in use, the old one is still trusted",
                "when everything is renewed: rotate --root retire",
            ),
        };
        findings.push(Diagnostic::warning("root-changes", text).hint(hint));
    }
    let issued = records(home)?;
    for record in &issued {
        let replaced = issued.iter().any(|other| other.names == record.names && other.not_after > record.not_after);
        let left = days(record.not_after, now);
        if record.not_after <= now && (replaced || left < -30) {
            continue;
        }
        let name = record.names.join(", ");
        if !replaced && record.revoked.is_none() {
            let again = || format!("bundle issuer issue {}", record.names.join(" "));
            if record.not_after <= now {
                findings.push(Diagnostic::error("server-expired", format!("{name}: expired")).hint(again()));
            } else if left < SERVER_DAYS {
                let text = format!("{name}: {left} days left");
                findings.push(Diagnostic::warning("server-ends", text).hint(again()));
            }
        }
        certificates.push(Line {
            role: "server",
            name,
            not_after: record.not_after,
            days_left: left,
            serial: record.serial.clone(),
            fingerprint: None,
            active: !replaced && record.revoked.is_none(),
            revoked: record.revoked,
        });
    }
    Ok(Status {
        organization: home.organization().to_owned(),
        scope,
        replaces: home.replaces().to_vec(),
        root_key_here: crate::files::exists(&home.root_key_file()),
        step: home.step(),
        certificates,
        findings,
    })
}

fn check(certificate: &Certificate, used: bool, remedy: &str, now: Timestamp, findings: &mut Vec<Diagnostic>) {
    let name = certificate.name();
    let hint = || format!("bundle issuer {remedy}");
    if certificate.not_after() <= now {
        let text = format!("{name} expired on {}", certificate.not_after());
        findings.push(match used {
            true => Diagnostic::error("authority-expired", text).hint(hint()),
            false => Diagnostic::warning("authority-expired", text),
        });
    } else if certificate.not_before() > now {
        let text = format!("{name} is not valid before {}", certificate.not_before());
        findings.push(Diagnostic::error("authority-not-yet", text).hint("check this machine's clock"));
    } else if used && 100 - certificate.age(now) <= SCARCE {
        let left = days(certificate.not_after(), now);
        let text = format!("{name}: {left} days left, a fifth of its life or less");
        findings.push(Diagnostic::warning("authority-ends", text).hint(hint()));
    }
}
