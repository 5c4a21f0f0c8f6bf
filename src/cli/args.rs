//! Flags that several commands share.

use std::path::PathBuf;

use super::{Failure, env, ui::Format};
use crate::{
    error::{Classify, Kind},
    net::Environment,
    oci::Host,
    registry::{self, Credentials},
    trust::{Policy, PublicKey},
};

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
    #[arg(long = "key", value_name = "FILE")]
    pub keys: Vec<PathBuf>,
    /// How many of the given keys must have signed.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub threshold: usize,
    /// Accept signatures by keys that were not given, beside those that were: they cannot be checked.
    #[arg(long)]
    pub allow_unknown_signers: bool,
    /// Use an archive without checking who made it. Every byte is still checked against its inventory.
    #[arg(long, conflicts_with_all = ["keys"])]
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
            let pem = crate::files::read_limited(path, 1 << 20)?;
            keys.push(PublicKey::from_pem(&String::from_utf8_lossy(&pem))?);
        }
        let mut policy = Policy::new(keys, self.threshold)?;
        if self.allow_unknown_signers {
            policy = policy.allow_unknown_signers();
        }
        Ok(Some(policy))
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
    #[arg(long, short = 'j', value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64), help_heading = "Registry options")]
    pub concurrency: u16,
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
        let credentials = Credentials::new(Environment::of_process());
        let Some(username) = &self.username else { return Ok(credentials) };
        let login = registry::Login::Basic { username: username.clone(), password: env::password_from_stdin()? };
        Ok(credentials.with(host.clone(), login))
    }
}
