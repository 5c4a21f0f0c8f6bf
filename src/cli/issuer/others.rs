//! What other commands need of an authority: `serve --issuer-dir`, `load --issuer`.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Password, day,
    kube::{Kube, Waiting},
    now,
    servers::{DAYS, make, refuse_early},
    text,
};
use crate::{
    cli::{Context, Failure},
    cluster::Cluster,
    error::{Classify, Diagnostic, Kind, Severity},
    event::Event,
    files,
    issuer::{self, Applied, Ask, Home, Options},
    net::{Pem, Secret},
    oci::Host,
    trust::x509::{CaKey, ServerName, Usage, read_chain, verify_server, write_chain},
};

/// How a server that is started here gets its certificate.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ForServe {
    /// Take the certificate from the enclave's own authority in this folder; it is signed when there is none that lasts.
    #[arg(long, value_name = "DIR", conflicts_with = "tls_cert")]
    issuer_dir: Option<PathBuf>,
    /// What clients call this registry; repeat for several. Without it, the address that it listens at.
    #[arg(long = "tls-name", value_name = "NAME", requires = "issuer_dir")]
    names: Vec<ServerName>,
    /// File with the password of the authority's key; else BUNDLE_PASSWORD_FILE, COSIGN_PASSWORD, or it is asked for.
    #[arg(long, value_name = "FILE", requires = "issuer_dir")]
    issuer_password_file: Option<PathBuf>,
}

/// Nobody said what clients call the server.
#[derive(Debug, thiserror::Error)]
#[error("nothing says what clients call this registry: --tls-name registry.enclave.lan")]
struct NoName;

impl Classify for NoName {
    fn kind(&self) -> Kind {
        Kind::Usage
    }
}

impl ForServe {
    /// Returns what clients call the server, when somebody said it.
    pub fn name(&self) -> Option<&ServerName> {
        self.names.first()
    }

    /// Returns certificate and key for a server that listens at an address; none when no authority was named.
    pub fn certificate(&self, context: &Context, listen: IpAddr) -> Result<Option<(PathBuf, PathBuf)>, Failure> {
        let Some(dir) = &self.issuer_dir else { return Ok(None) };
        let names = match self.names.is_empty() {
            true if listen.is_unspecified() => return Err(NoName.into()),
            true => vec![ServerName::Ip(listen)],
            false => self.names.clone(),
        };
        let password = Password { password_file: self.issuer_password_file.clone(), password_stdin: false };
        certificate_for(context, dir, &names, &password).map(Some)
    }
}

/// How a load gives the authority to the cluster.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ForLoad {
    /// Afterwards, give the enclave's own authority in this folder to the cluster, as `bundle issuer apply` does. The
    /// registry is reached under its certificate, which is signed first when there is none.
    #[arg(long, value_name = "DIR", help_heading = "Issuer options")]
    issuer: Option<PathBuf>,
    /// File with the password of the authority's key; else BUNDLE_PASSWORD_FILE, COSIGN_PASSWORD, or it is asked for.
    #[arg(long, value_name = "FILE", requires = "issuer", help_heading = "Issuer options")]
    issuer_password_file: Option<PathBuf>,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    kube: Kube,
}

/// An authority that a load works with.
pub(crate) struct Authority<'a> {
    home: Home,
    roots: String,
    flags: &'a ForLoad,
}

/// The same with the cluster that gets it.
pub(crate) struct Connected<'a> {
    home: Home,
    flags: &'a ForLoad,
    cluster: Cluster,
    password: crate::trust::Passphrase,
}

impl ForLoad {
    /// Opens the authority and makes sure that the registry has a certificate of it, when it may sign one.
    pub fn open(&self, context: &Context, registry: &Host, dry_run: bool) -> Result<Option<Authority<'_>>, Failure> {
        let Some(dir) = &self.issuer else { return Ok(None) };
        let home = Home::open(dir)?;
        let name: ServerName = registry.name().parse()?;
        let authority = home.issuing_chain()?.remove(0);
        let may_sign = authority.scope().is_none_or(|scope| scope.refuse(std::slice::from_ref(&name)).is_empty());
        if may_sign && !dry_run && kept(&home, std::slice::from_ref(&name))?.is_none() {
            let password = Password { password_file: self.issuer_password_file.clone(), password_stdin: false };
            let (certificate, key) = certificate_for(context, dir, &[name], &password)?;
            let text = format!("{registry} must serve {} with {}", certificate.display(), key.display());
            context.observer.on(&Event::Noted(Diagnostic::warning("registry-certificate", text)));
        }
        let roots = write_chain(&home.roots()?);
        Ok(Some(Authority { home, roots, flags: self }))
    }
}

impl<'a> Authority<'a> {
    /// Returns the roots that the registry's certificate leads to.
    pub fn roots(&self) -> Pem {
        Pem::Text(Secret::new(self.roots.as_str()))
    }

    /// Connects to the cluster and asks for the password, before anything takes long.
    pub async fn connect(self, context: &Context) -> Result<Connected<'a>, Failure> {
        let cluster = self.flags.kube.connect(context).await?;
        let password = Password { password_file: self.flags.issuer_password_file.clone(), password_stdin: false };
        let password = password.of(&self.home.issuing_key_file()?)?;
        // A wrong one is told now.
        self.home.issuing(&password)?;
        Ok(Connected { home: self.home, flags: self.flags, cluster, password })
    }
}

impl Connected<'_> {
    /// Applies the manifests; `charts` is where the loaded charts lie.
    pub async fn apply(&self, context: &Context, charts: &str) -> Result<Vec<Applied>, Failure> {
        let options = Options::default();
        let issuing = self.home.issuing(&self.password)?;
        let documents = issuer::manifests(&self.home, &options, Some(&issuing), now()?)?;
        let job = issuer::Job {
            cluster: &self.cluster,
            documents: &documents,
            options: &options,
            limit: Duration::from_secs(self.flags.waiting.timeout.into()),
            dry_run: false,
            force: self.flags.waiting.force_conflicts,
            charts: Some(charts),
            observer: &*context.observer,
        };
        Ok(issuer::apply(&job).await?)
    }
}

/// Returns certificate chain and key for a server that another command starts or needs: those in the folder while a third
/// of their life is left, else new ones, which are kept there.
fn certificate_for(
    context: &Context,
    dir: &Path,
    names: &[ServerName],
    password: &Password,
) -> Result<(PathBuf, PathBuf), Failure> {
    let home = Home::open(dir)?;
    if let Some(kept) = kept(&home, names)? {
        return Ok(kept);
    }
    let ask = Ask { names: names.to_vec(), request: None, days: DAYS, usage: Usage::Server };
    refuse_early(&home, &ask)?;
    let issued = make(&home, &ask, password)?;
    let (certificate, key) = issuer::save(&home, &issued, None)?;
    let text = format!("{}: signed until {}", certificate.display(), day(issued.certificate.not_after()));
    let note = Diagnostic { severity: Severity::Note, ..Diagnostic::warning("issued", text) };
    context.observer.on(&Event::Noted(note));
    // A key that was made is always written.
    let key = key.unwrap_or_else(|| certificate.with_extension("key"));
    Ok((certificate, key))
}

fn kept(home: &Home, names: &[ServerName]) -> Result<Option<(PathBuf, PathBuf)>, Failure> {
    let now = now()?;
    let folder = home.dir().join("certificates");
    if !files::is_folder(&folder) {
        return Ok(None);
    }
    let roots = home.roots()?;
    for name in files::file_names(&folder)?.into_iter().filter(|name| name.ends_with(".crt")) {
        let (certificate, key) = (folder.join(&name), folder.join(&name).with_extension("key"));
        let Ok(chain) = read_chain(&text(&certificate)?) else { continue };
        let fits = chain
            .first()
            .is_some_and(|leaf| names.iter().all(|name| leaf.names().contains(name)) && leaf.age(now) < 67);
        if fits && files::exists(&key) && verify_server(&chain, &roots, now).is_ok() {
            let pem = zeroize::Zeroizing::new(text(&key)?);
            if CaKey::of_open_pem(&pem).is_ok_and(|key| chain[0].belongs_to(&key)) {
                return Ok(Some((certificate, key)));
            }
        }
    }
    Ok(None)
}
