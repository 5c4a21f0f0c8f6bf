//! `bundle issuer init`, `request`, `sign`, `install`.

use std::path::PathBuf;

use serde::Serialize;

use super::{Dir, Password, now, text};
use crate::{
    cli::{Context, Failure, OutputError, args::Output, input, ui, ui::Ui},
    files,
    issuer::{self, Home, Plan},
    trust::{
        SystemRandomness,
        x509::{CaNames, Certificate, Lifetime, Scope, write_chain},
    },
};

/// Whom the authority is for, and what it may sign.
#[derive(Clone, Debug, clap::Args)]
struct Whom {
    /// The spec whose `issuer` section says whom the authority is for.
    #[arg(value_name = "SPEC")]
    spec: Option<PathBuf>,
    /// The organization in the certificates.
    #[arg(long, value_name = "NAME")]
    organization: Option<String>,
    /// A domain of the enclave, with everything below it; repeat for several. svc and cluster.local are always added.
    #[arg(long = "domain", value_name = "DOMAIN")]
    domains: Vec<String>,
    /// A range of addresses whose servers may be named by address, such as 10.0.0.0/8; repeat for several. All others are
    /// excluded.
    #[arg(long = "ip-range", value_name = "RANGE")]
    ip_ranges: Vec<String>,
    /// An issuer that manifests name and that the authority stands in for, such as letsencrypt-prod; repeat for several.
    #[arg(long = "replaces", value_name = "ISSUER")]
    replaces: Vec<String>,
}

/// The spec has nothing to say about an authority.
#[derive(Debug, thiserror::Error)]
#[error("{0} has no `issuer` section: add one, or give --organization and --domain")]
struct NoSection(String);

impl crate::error::Classify for NoSection {
    fn kind(&self) -> crate::error::Kind {
        crate::error::Kind::Usage
    }
}

/// Nobody said whom the authority is for.
#[derive(Debug, thiserror::Error)]
#[error("nothing says whom the authority is for: give --organization and --domain, or a spec with an `issuer` section")]
struct NoOrganization;

impl crate::error::Classify for NoOrganization {
    fn kind(&self) -> crate::error::Kind {
        crate::error::Kind::Usage
    }
}

impl Whom {
    fn plan(&self, context: &Context, root: u8, issuing: u8, root_only: bool) -> Result<Plan, Failure> {
        let (mut organization, mut domains) = (self.organization.clone(), self.domains.clone());
        let (mut ranges, mut replaces) = (self.ip_ranges.clone(), self.replaces.clone());
        if let Some(path) = &self.spec {
            let spec = input::read_spec(context, path)?;
            let section = spec.issuer.ok_or_else(|| NoSection(path.display().to_string()))?;
            organization.get_or_insert(section.organization);
            domains.extend(section.domains);
            ranges.extend(section.ip_ranges);
            replaces.extend(section.replaces.into_iter().filter(|name| !self.replaces.contains(name)));
        }
        Ok(Plan {
            names: CaNames::new(&organization.ok_or(NoOrganization)?)?,
            scope: Scope::new(&domains, &ranges)?,
            replaces,
            root: Lifetime::Years(root),
            issuing: Lifetime::Years(issuing),
            root_only,
        })
    }
}

/// Make the authority: an offline root and the issuing authority below it.
///
/// The keys are written under a password, for this user only. Move root-g1.key to a medium that stays in a safe: it is
/// needed again only to sign another issuing authority. The sheet that is printed goes on paper, so that everybody who
/// installs ca.crt can compare the fingerprint.
#[derive(Debug, clap::Args)]
pub(crate) struct Init {
    #[command(flatten)]
    whom: Whom,
    #[command(flatten)]
    dir: Dir,
    /// How long the root lives.
    #[arg(long, value_name = "YEARS", default_value_t = 10)]
    root_years: u8,
    /// How long the issuing authority lives; never beyond the root.
    #[arg(long, value_name = "YEARS", default_value_t = 2)]
    issuing_years: u8,
    /// Make only the root, on a machine of its own; issuing authorities are signed by `bundle issuer sign`.
    #[arg(long)]
    root_only: bool,
    #[command(flatten)]
    password: Password,
    #[command(flatten)]
    pub output: Output,
}

/// What a sheet says of an authority.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sheet {
    organization: String,
    folder: String,
    trust: String,
    may_sign: String,
    root: Shown,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuing: Option<Shown>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    name: String,
    fingerprint: String,
    serial: String,
    not_before: String,
    not_after: String,
}

impl Shown {
    fn of(certificate: &Certificate) -> Shown {
        Shown {
            name: certificate.name().to_owned(),
            fingerprint: certificate.fingerprint(),
            serial: certificate.serial().to_owned(),
            not_before: certificate.not_before().to_string(),
            not_after: certificate.not_after().to_string(),
        }
    }

    /// The fingerprint in two lines of sixteen pairs, which is how people read it to each other.
    fn rows(&self, role: &str) -> Vec<Vec<String>> {
        let (first, second) = self.fingerprint.split_at(48.min(self.fingerprint.len()));
        vec![
            vec![role.to_owned(), self.name.clone()],
            vec!["  valid".to_owned(), format!("{} to {}", self.not_before, self.not_after)],
            vec!["  serial".to_owned(), self.serial.clone()],
            vec!["  SHA-256".to_owned(), first.to_owned()],
            vec![String::new(), second.to_owned()],
        ]
    }
}

fn sheet(home: &Home) -> Result<Sheet, Failure> {
    let root = home.roots()?.pop();
    let issuing = home.issuing_chain().ok().and_then(|chain| chain.into_iter().next());
    let scope = match issuing.as_ref().and_then(Certificate::scope) {
        Some(scope) => scope.to_string(),
        None => home.scope()?.to_string(),
    };
    Ok(Sheet {
        organization: home.organization().to_owned(),
        folder: home.dir().display().to_string(),
        trust: home.roots_file().display().to_string(),
        may_sign: scope,
        root: root.as_ref().map(Shown::of).ok_or_else(|| issuer::Error::NoHome(home.dir().to_owned()))?,
        issuing: issuing.as_ref().map(Shown::of),
    })
}

fn show(home: &Home, output: &Output, next: &str) -> Result<(), Failure> {
    let sheet = sheet(home)?;
    Ui { format: output.format }
        .print(&sheet, || {
            let mut rows = vec![
                vec!["organization".to_owned(), sheet.organization.clone()],
                vec!["may sign".to_owned(), sheet.may_sign.clone()],
            ];
            rows.extend(sheet.root.rows("root"));
            rows.extend(sheet.issuing.iter().flat_map(|issuing| issuing.rows("issuing")));
            rows.push(vec!["install".to_owned(), format!("{} on every node and client", sheet.trust)]);
            format!("{}{next}", ui::table(&["sheet", "compare before you trust"], rows))
        })
        .map_err(OutputError)?;
    Ok(())
}

impl Init {
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let plan = self.whom.plan(context, self.root_years, self.issuing_years, self.root_only)?;
        let now = now()?;
        // Asking for a password only to refuse afterwards would be rude.
        if files::exists(&self.dir.dir.join("issuer.json")) {
            return Err(issuer::Error::Taken(self.dir.dir).into());
        }
        let password = self.password.of_new(&self.dir.dir.join("root-g1.key"))?;
        let home = issuer::init(&self.dir.dir, &plan, &password, now, &mut SystemRandomness)?;
        let dir = self.dir.dir.display();
        let next = match self.root_only {
            true => format!("\nnext: bundle issuer request inside, then bundle issuer sign REQUEST --dir {dir} here\n"),
            false => format!(
                "\n{}: take it off this machine\nnext: bundle issuer issue registry.… --dir {dir}\n",
                home.root_key_file().display()
            ),
        };
        show(&home, &self.output, &next)
    }
}

/// Make a key inside the enclave, and the request that the offline root signs.
///
/// With whom the authority is for, in a new folder; without, as the successor of the one in the folder. The request is
/// printed and lies in the folder; the key never leaves it.
#[derive(Debug, clap::Args)]
pub(crate) struct Request {
    #[command(flatten)]
    whom: Whom,
    #[command(flatten)]
    dir: Dir,
    #[command(flatten)]
    password: Password,
}

impl Request {
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let new = !files::exists(&self.dir.dir.join("issuer.json"));
        let plan = if new { Some(self.whom.plan(context, 10, 2, false)?) } else { None };
        let key = self.dir.dir.join("issuing.key");
        let password = if new { self.password.of_new(&key)? } else { self.password.of(&key)? };
        let (_, pem) = issuer::request(&self.dir.dir, plan.as_ref(), &password, &mut SystemRandomness)?;
        ui::write_all(pem.as_bytes()).map_err(OutputError)?;
        Ok(())
    }
}

/// Sign a request for an issuing authority, where the root's key is.
///
/// What it may sign is what the root's folder says, or the domains and ranges given here; never what the request asks for.
#[derive(Debug, clap::Args)]
pub(crate) struct Sign {
    /// The request (PEM).
    request: PathBuf,
    #[command(flatten)]
    dir: Dir,
    /// A domain that it may sign, instead of those in the folder; repeat for several.
    #[arg(long = "domain", value_name = "DOMAIN")]
    domains: Vec<String>,
    /// A range of addresses that it may sign; repeat for several.
    #[arg(long = "ip-range", value_name = "RANGE")]
    ip_ranges: Vec<String>,
    /// How long it lives; never beyond the root.
    #[arg(long, value_name = "YEARS", default_value_t = 2)]
    years: u8,
    /// Where the certificates go: the new one first, the root last. Standard output without it.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    password: Password,
}

impl Sign {
    pub fn run(self) -> Result<(), Failure> {
        let mut home = Home::open(&self.dir.dir)?;
        let request = text(&self.request)?;
        let scope = match self.domains.is_empty() && self.ip_ranges.is_empty() {
            true => None,
            false => Some(Scope::new(&self.domains, &self.ip_ranges)?),
        };
        let password = self.password.of(&home.root_key_file())?;
        let life = Lifetime::Years(self.years);
        let signed = issuer::sign(&mut home, &request, scope.as_ref(), life, &password, now()?, &mut SystemRandomness)?;
        let pem = write_chain(&signed.chain);
        match &self.output {
            Some(path) => files::create_new(path, pem.as_bytes())?,
            None => ui::write_all(pem.as_bytes()).map_err(OutputError)?,
        }
        Ok(())
    }
}

/// Take over what the root signed for this folder's request.
#[derive(Debug, clap::Args)]
pub(crate) struct Install {
    /// The certificates that came back (PEM): the new one first, the root last.
    certificates: PathBuf,
    #[command(flatten)]
    dir: Dir,
    /// The root's fingerprint as its sheet has it; anything else in the file is refused.
    #[arg(long, value_name = "SHA256")]
    fingerprint: Option<String>,
    #[command(flatten)]
    password: Password,
    #[command(flatten)]
    pub output: Output,
}

impl Install {
    pub fn run(self) -> Result<(), Failure> {
        let mut home = Home::open(&self.dir.dir)?;
        let certificates = text(&self.certificates)?;
        let password = self.password.of(&self.dir.dir.join("issuing.key"))?;
        issuer::install(&mut home, &certificates, self.fingerprint.as_deref(), &password, now()?)?;
        let next = match &self.fingerprint {
            Some(_) => String::new(),
            None => "\ncompare the root's fingerprint with its sheet before anything trusts it\n".to_owned(),
        };
        show(&home, &self.output, &next)?;
        Ok(())
    }
}
