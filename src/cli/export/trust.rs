//! `bundle export trust`.

use std::path::{Path, PathBuf};

use super::output::Into;
use crate::{
    cli::Failure,
    error::{Classify, Kind},
    export::trust,
    files,
    oci::Host,
    trust::RootCertificate,
};

/// The largest certificate file that is read.
const MAX_CA: u64 = 1 << 20;

/// Write the root of the enclave's authority for everything that must trust it: systems, runtimes, Java, browsers.
///
/// The folder holds the root, a script that installs it and can be repeated, and a README with the commands to do the same
/// by hand. The file given must hold one root certificate; keys and other certificates are refused.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The root certificate (PEM).
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// The registry of the enclave, for what trusts a root for one registry: HOST[:PORT].
    #[arg(long, value_name = "HOST")]
    registry: Option<Host>,
    #[command(flatten)]
    into: Into,
}

impl Args {
    pub fn run(self) -> Result<(), Failure> {
        let root = read(&self.ca)?;
        self.into.write(&trust(&root, self.registry.as_ref()))
    }
}

/// A file is no root certificate.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {cause}")]
struct NoRoot {
    file: String,
    cause: crate::trust::Error,
}

impl Classify for NoRoot {
    fn kind(&self) -> Kind {
        Kind::Usage
    }
}

/// Reads a root certificate.
pub(super) fn read(path: &Path) -> Result<RootCertificate, Failure> {
    let bytes = files::read_limited(path, MAX_CA)?;
    RootCertificate::from_pem(&String::from_utf8_lossy(&bytes))
        .map_err(|cause| NoRoot { file: path.display().to_string(), cause }.into())
}
