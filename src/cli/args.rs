//! Flags that several commands share.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Failure, env, ui::Format};
use crate::{
    error::{Classify, Kind},
    net::{HostSettings, Pem, Settings},
    oci::Host,
    registry::{Credentials, Login as Secret},
    spec::Spec,
    trust::{Policy, PublicKey, SigningKey},
};

/// The largest key file that is read.
const MAX_KEY: u64 = 1 << 20;

/// How the result is printed.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Output {
    /// Output format.
    #[arg(short = 'o', long = "output", value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
}

/// Which keys are trusted.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Trust {
    /// Public key that must have signed the archive (PEM); repeat for several.
    #[arg(long = "key", value_name = "FILE", help_heading = "Trust options")]
    pub keys: Vec<PathBuf>,
    /// How many of the given keys must have signed.
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Trust options")]
    pub threshold: usize,
    /// Accept further signatures by keys that were not given; they cannot be checked.
    #[arg(long, help_heading = "Trust options")]
    pub allow_unknown_signers: bool,
    /// Use an archive without asking who made it. Its bytes are still compared with its inventory.
    #[arg(long, conflicts_with = "keys", help_heading = "Trust options")]
    pub insecure_skip_verify: bool,
}

impl Trust {
    /// Returns the policy, or `None` when verification is skipped.
    pub fn policy(&self) -> Result<Option<Policy>, Failure> {
        if self.insecure_skip_verify {
            return Ok(None);
        }
        if self.keys.is_empty() {
            return Err(NoKey.into());
        }
        let mut keys = Vec::new();
        for path in &self.keys {
            let pem = crate::files::read_limited(path, MAX_KEY)?;
            keys.push(PublicKey::from_pem(&String::from_utf8_lossy(&pem))?);
        }
        let policy = Policy::new(keys, self.threshold)?;
        Ok(Some(if self.allow_unknown_signers { policy.allow_unknown_signers() } else { policy }))
    }
}

/// No key was given, and nobody said that none is meant.
#[derive(Debug, thiserror::Error)]
#[error(
    "no key was given, so nothing would say who made the archive: --key FILE names the public key of whoever signs your archives"
)]
struct NoKey;

impl Classify for NoKey {
    fn kind(&self) -> Kind {
        Kind::Untrusted
    }
}

/// How registries are reached.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Access {
    /// Registry that is reached over plain HTTP (`host[:port]`); repeat for several. Loopback addresses need no flag.
    #[arg(long, value_name = "HOST", help_heading = "Registry options")]
    pub plain_http: Vec<Host>,
    /// File with certificates (PEM) that are trusted beside the system's; repeat for several.
    #[arg(long, value_name = "FILE", help_heading = "Registry options")]
    pub ca: Vec<PathBuf>,
    /// How many transfers run at the same time.
    #[arg(long, short = 'j', value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=64), help_heading = "Registry options")]
    pub concurrency: u16,
    /// Break a connection from which nothing comes, or that takes nothing, for so many seconds, and try again.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=3600), help_heading = "Registry options")]
    pub idle_timeout: u16,
}

impl Access {
    /// Returns how hosts are reached: by these flags, the surroundings, and the spec that lies in `folder`.
    pub fn settings(&self, spec: Option<(&Spec, &Path)>) -> Settings {
        let mut settings = Settings::of_environment(env::surroundings());
        settings.ca = self.ca.iter().cloned().map(Pem::File).collect();
        settings.concurrency = usize::from(self.concurrency).max(1);
        settings.timeouts.idle = Duration::from_secs(u64::from(self.idle_timeout));
        if let Some((spec, folder)) = spec {
            for registry in &spec.registries {
                let host: &mut HostSettings = settings.hosts.entry(registry.host.clone()).or_default();
                host.plain_http = registry.plain_http.then_some(true);
                host.ca = registry.ca.iter().map(|path| Pem::File(folder.join(path))).collect();
                host.mirror = registry.mirror.as_ref().map(|mirror| match &mirror.prefix {
                    Some(prefix) => format!("{}/{prefix}", mirror.host),
                    None => mirror.host.to_string(),
                });
            }
        }
        for host in &self.plain_http {
            settings.hosts.entry(host.clone()).or_default().plain_http = Some(true);
        }
        settings
    }
}

/// A login given on the command line; everything else comes from Docker's and Podman's files.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Login {
    /// User name for the registry.
    #[arg(long, value_name = "NAME", requires = "password_stdin", help_heading = "Registry options")]
    pub username: Option<String>,
    /// Read the password from standard input.
    #[arg(long, requires = "username", help_heading = "Registry options")]
    pub password_stdin: bool,
}

impl Login {
    /// Returns the credentials for `host`: those given, else those of the surroundings.
    pub fn credentials(&self, host: &Host) -> Result<Credentials, Failure> {
        let credentials = Credentials::new(env::surroundings());
        Ok(match &self.username {
            Some(username) => {
                let password = env::password_from_stdin()?;
                credentials.with(host.clone(), Secret::Basic { username: username.clone(), password })
            }
            None => credentials,
        })
    }
}

/// Opens private keys; the passphrase derivation takes a moment, so it runs beside other work.
pub(crate) async fn signing_keys(paths: Vec<PathBuf>) -> Result<Vec<SigningKey>, Failure> {
    let mut keys = Vec::new();
    for path in paths {
        let pem = crate::files::read_limited(&path, MAX_KEY)?;
        let passphrase = env::passphrase(&path)?;
        let open = move || SigningKey::open(&String::from_utf8_lossy(&pem), &passphrase);
        keys.push(crate::files::blocking(open).await?);
    }
    Ok(keys)
}
