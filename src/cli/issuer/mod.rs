//! `bundle issuer`: one file for each group of its subcommands.
//!
//! | file | subcommands |
//! |---|---|
//! | `make.rs` | `init` `request` `sign` `install` |
//! | `servers.rs` | `issue` `revoke` `crl` |
//! | `rotate.rs` | `rotate` |
//! | `kube.rs` | `manifests` `apply` `status` |
//! | `others.rs` | what `serve` and `load` need of an authority |

mod kube;
mod make;
mod others;
mod rotate;
mod servers;

use std::path::{Path, PathBuf};

use jiff::Timestamp;

pub(crate) use kube::applied_table;
pub(crate) use others::{Authority, ForLoad, ForServe};

use super::{Context, Failure, env, ui};
use crate::{
    error::{Classify, Kind},
    files,
    trust::Passphrase,
};

/// The largest request or certificate file that is read.
const MAX_FILE: u64 = 1 << 20;

/// The enclave's own certificate authority: make it, sign with it, give it to a cluster, renew it.
///
/// A root whose key stays outside, an issuing authority below it that may sign the enclave's names only, and cert-manager
/// signing with that. Nothing here needs the internet.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Init(make::Init),
    Request(make::Request),
    Sign(make::Sign),
    Install(make::Install),
    Issue(servers::Issue),
    Manifests(kube::Manifests),
    Apply(kube::Apply),
    Status(kube::Status),
    Rotate(rotate::Rotate),
    Revoke(servers::Revoke),
    Crl(servers::Crl),
}

impl Args {
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        match self.command {
            Command::Init(args) => args.run(context),
            Command::Request(args) => args.run(context),
            Command::Sign(args) => args.run(),
            Command::Install(args) => args.run(),
            Command::Issue(args) => args.run(context),
            Command::Manifests(args) => args.run(context),
            Command::Apply(args) => args.run(context).await,
            Command::Status(args) => args.run(context).await,
            Command::Rotate(args) => args.run(context),
            Command::Revoke(args) => args.run(),
            Command::Crl(args) => args.run(),
        }
    }

    pub fn format(&self) -> ui::Format {
        match &self.command {
            Command::Init(args) => args.output.format,
            Command::Request(_) | Command::Sign(_) | Command::Crl(_) | Command::Manifests(_) => ui::Format::Table,
            Command::Install(args) => args.output.format,
            Command::Issue(args) => args.output.format,
            Command::Apply(args) => args.output.format,
            Command::Status(args) => args.output.format,
            Command::Rotate(args) => args.output.format,
            Command::Revoke(args) => args.output.format,
        }
    }
}

/// The folder of the authority.
#[derive(Clone, Debug, clap::Args)]
struct Dir {
    /// The folder of the authority.
    #[arg(long, value_name = "DIR", default_value = "issuer")]
    dir: PathBuf,
}

/// Where the password of the authority's keys comes from.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Password {
    /// Read the password of the authority's keys from this file; else from the file that BUNDLE_PASSWORD_FILE names, or
    /// from COSIGN_PASSWORD, else it is asked for.
    #[arg(long, value_name = "FILE", conflicts_with = "password_stdin", help_heading = "Password options")]
    password_file: Option<PathBuf>,
    /// Read the password of the authority's keys from standard input.
    #[arg(long, help_heading = "Password options")]
    password_stdin: bool,
}

impl Password {
    fn given(&self) -> Result<Option<Passphrase>, Failure> {
        Ok(match &self.password_file {
            Some(path) => Some(env::passphrase_in(path)?),
            None if self.password_stdin => Some(Passphrase::new(env::password_from_stdin()?.expose())),
            None => None,
        })
    }

    /// Returns the password of an existing key.
    fn of(&self, key: &Path) -> Result<Passphrase, Failure> {
        match self.given()? {
            Some(password) => Ok(password),
            None => Ok(env::passphrase(key)?),
        }
    }

    /// Returns the password for a key that is going to be made.
    fn of_new(&self, key: &Path) -> Result<Passphrase, Failure> {
        match self.given()? {
            Some(password) => Ok(password),
            None => Ok(env::new_passphrase(key)?),
        }
    }
}

/// Time on this machine's clock cannot be expressed.
#[derive(Debug, thiserror::Error)]
#[error("this machine's clock shows a time that cannot be: set it")]
struct Clock;

impl Classify for Clock {
    fn kind(&self) -> Kind {
        Kind::Usage
    }
}

pub(super) fn now() -> Result<Timestamp, Failure> {
    Ok(i64::try_from(env::now()).ok().and_then(|now| Timestamp::from_second(now).ok()).ok_or(Clock)?)
}

fn text(path: &Path) -> Result<String, Failure> {
    Ok(String::from_utf8_lossy(&files::read_limited(path, MAX_FILE)?).into_owned())
}

/// Shows a time as people read it: to the day.
fn day(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}
