//! `bundle issuer issue`, `revoke`, `crl`.

use std::path::PathBuf;

use serde::Serialize;

use super::{Dir, Password, day, now, text};
use crate::{
    cli::{Context, Failure, OutputError, args::Output, ui, ui::Ui},
    files,
    issuer::{self, Ask, Home, Issued},
    trust::{
        SystemRandomness,
        x509::{MAX_SERVER_DAYS, Reason, Request, ServerName, Usage},
    },
};

/// How long a server's certificate lives unless told otherwise; also cert-manager's.
pub(super) const DAYS: u32 = 90;

/// Sign the certificate of a server: the registry's before there is a cluster, and any other.
///
/// The file holds the whole chain, as servers want it. A certificate of the same name is replaced.
#[derive(Debug, clap::Args)]
pub(crate) struct Issue {
    /// What clients call the server: host names, *.DOMAIN, addresses.
    #[arg(value_name = "NAME", required_unless_present = "csr")]
    names: Vec<ServerName>,
    #[command(flatten)]
    dir: Dir,
    /// Sign the key of this request (PEM) instead of making one; its names count as well.
    #[arg(long, value_name = "FILE")]
    csr: Option<PathBuf>,
    /// How many days it lives, at most 397.
    #[arg(long, value_name = "N", default_value_t = DAYS)]
    days: u32,
    /// Let it serve as a client's certificate, too.
    #[arg(long)]
    client: bool,
    /// Where certificate and key go: PREFIX.crt and PREFIX.key. Without it, certificates/NAME in the folder.
    #[arg(long, value_name = "PREFIX")]
    output_prefix: Option<PathBuf>,
    #[command(flatten)]
    password: Password,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    names: Vec<String>,
    serial: String,
    not_after: String,
    certificate: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_key: Option<String>,
    roots: String,
}

impl Issue {
    pub fn run(self, _: &Context) -> Result<(), Failure> {
        let home = Home::open(&self.dir.dir)?;
        let request = self.csr.as_deref().map(|path| Ok::<_, Failure>(Request::from_pem(&text(path)?)?)).transpose()?;
        if !(1..=MAX_SERVER_DAYS).contains(&self.days) {
            let wrong = crate::trust::x509::Error::ServerLifetime { days: self.days, limit: MAX_SERVER_DAYS };
            return Err(wrong.into());
        }
        let usage = if self.client { Usage::ServerAndClient } else { Usage::Server };
        let ask = Ask { names: self.names, request: request.as_ref(), days: self.days, usage };
        refuse_early(&home, &ask)?;
        let issued = make(&home, &ask, &self.password)?;
        let (certificate, key) = issuer::save(&home, &issued, self.output_prefix.as_deref())?;
        let made = Made {
            names: issued.certificate.names().iter().map(ServerName::to_string).collect(),
            serial: issued.certificate.serial().to_owned(),
            not_after: issued.certificate.not_after().to_string(),
            certificate: certificate.display().to_string(),
            private_key: key.map(|key| key.display().to_string()),
            roots: home.roots_file().display().to_string(),
        };
        Ui { format: self.output.format }
            .print(&made, || {
                let mut rows = vec![
                    vec!["names".to_owned(), made.names.join(", ")],
                    vec!["valid until".to_owned(), day(issued.certificate.not_after())],
                    vec!["serial".to_owned(), made.serial.clone()],
                    vec!["certificate".to_owned(), format!("{} (the whole chain)", made.certificate)],
                ];
                rows.extend(made.private_key.iter().map(|key| vec!["private key".to_owned(), key.clone()]));
                rows.push(vec!["clients trust".to_owned(), made.roots.clone()]);
                ui::table(&["what", "value"], rows)
            })
            .map_err(OutputError)?;
        Ok(())
    }
}

/// Tells of names that would be refused before a password is asked for.
pub(super) fn refuse_early(home: &Home, ask: &Ask<'_>) -> Result<(), Failure> {
    let authority = home.issuing_chain()?.remove(0);
    let Some(scope) = authority.scope() else { return Ok(()) };
    let mut names = ask.names.clone();
    names.extend(ask.request.iter().flat_map(|request| request.names.iter().cloned()));
    let refused = scope.refuse(&names);
    if refused.is_empty() {
        return Ok(());
    }
    let (authority, permitted) = (authority.name().to_owned(), scope.to_string());
    Err(crate::trust::x509::Error::Refused { authority, permitted, refused }.into())
}

pub(super) fn make(home: &Home, ask: &Ask<'_>, password: &Password) -> Result<Issued, Failure> {
    let password = password.of(&home.issuing_key_file()?)?;
    let issuing = home.issuing(&password)?;
    Ok(issuer::issue(home, &issuing, ask, now()?, &mut SystemRandomness)?)
}

/// Why a certificate is revoked.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Why {
    /// Nobody says.
    #[default]
    Unspecified,
    /// Somebody else may have the key.
    KeyCompromise,
    /// Another certificate took its place.
    Superseded,
    /// What it was for is no more.
    Cessation,
}

/// Revoke a certificate that was issued here. `bundle issuer crl` then signs the list that tells others.
#[derive(Debug, clap::Args)]
pub(crate) struct Revoke {
    /// The serial number, or a name: then everything that is valid under it.
    which: String,
    #[command(flatten)]
    dir: Dir,
    /// Why.
    #[arg(long, value_enum, default_value_t, value_name = "REASON")]
    reason: Why,
    #[command(flatten)]
    pub output: Output,
}

impl Revoke {
    pub fn run(self) -> Result<(), Failure> {
        let home = Home::open(&self.dir.dir)?;
        let reason = match self.reason {
            Why::Unspecified => Reason::Unspecified,
            Why::KeyCompromise => Reason::KeyCompromise,
            Why::Superseded => Reason::Superseded,
            Why::Cessation => Reason::Cessation,
        };
        let revoked = issuer::revoke(&home, &self.which, reason, now()?)?;
        Ui { format: self.output.format }
            .print(&revoked, || {
                ui::table(
                    &["serial", "names", "would end"],
                    revoked.iter().map(|one| vec![one.serial.clone(), one.names.join(", "), day(one.not_after)]),
                )
            })
            .map_err(OutputError)?;
        Ok(())
    }
}

/// Sign the list of revoked certificates. It counts for 30 days; sign a new one before.
#[derive(Debug, clap::Args)]
pub(crate) struct Crl {
    #[command(flatten)]
    dir: Dir,
    /// Where the list goes (PEM); standard output without it.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    password: Password,
}

impl Crl {
    pub fn run(self) -> Result<(), Failure> {
        let mut home = Home::open(&self.dir.dir)?;
        let password = self.password.of(&home.issuing_key_file()?)?;
        let list = issuer::crl(&mut home, &password, now()?)?;
        match &self.output {
            Some(path) => files::atomic_write(path, list.as_bytes())?,
            None => ui::write_all(list.as_bytes()).map_err(OutputError)?,
        }
        Ok(())
    }
}
