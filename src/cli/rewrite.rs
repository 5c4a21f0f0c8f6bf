//! `bundle rewrite`.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use super::{Context, Failure, OutputError, ui};
use crate::{
    archive::Unverified,
    error::{Classify, Kind},
    event::Event,
    files,
    lock::Lock,
    names::{Layout, Target},
    oci::{Digest, Reference},
    relocate::{Choices, Issuer, Names, rewrite, secure},
};

/// The largest text that is read: as much as the reader of manifests takes.
const MAX_BYTES: u64 = 64 << 20;

/// Rewrite manifests so that they name the enclave's registry: standard input to standard output.
///
/// A post-renderer for helm 3 and helm 4, and a stage in a pipe to kubectl. Only the bytes that name images change:
/// comments, quotes and the order of keys stay. Images are found wherever `bundle resolve` finds them: in pod specs, custom
/// resources, arguments, variables, annotations, and texts inside ConfigMaps. What is left alone is told on standard error.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the images are: HOST[:PORT][/PREFIX], as given to `bundle load`.
    #[arg(long, value_name = "TARGET")]
    to: Target,
    /// Names in the target, as given to `bundle load`: source, host, flat, or depth=N.
    #[arg(long, value_name = "LAYOUT", default_value = "source")]
    layout: Layout,
    /// Read this file instead of standard input.
    #[arg(short = 'f', long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Also rewrite what only looks like an image.
    #[arg(long)]
    guesses: bool,
    /// What was carried: a lock or an archive. An image that is not in it is an error.
    #[arg(long, value_name = "LOCK or FILE")]
    lock: Option<PathBuf>,
    /// Add the digest to every name.
    #[arg(long, requires = "lock")]
    digests: bool,
    /// The enclave's ClusterIssuer: what asks the internet for certificates asks it instead.
    #[arg(long, value_name = "NAME", help_heading = "Certificate options")]
    issuer: Option<String>,
    /// The Secret with the issuing CA, for issuers that become its own [default: the name of the issuer].
    #[arg(long, value_name = "NAME", requires = "issuer", help_heading = "Certificate options")]
    issuer_secret: Option<String>,
    /// A further issuer that it stands for; those whose names say that they are public need no word. Repeat for several.
    #[arg(long, value_name = "NAME", requires = "issuer", help_heading = "Certificate options")]
    replaces: Vec<String>,
}

/// Manifests that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unread {
    /// They are no text.
    #[error("{0} is not UTF-8 text")]
    NoText(String),
    /// There are too many.
    #[error("{0} is larger than {MAX_BYTES} bytes")]
    TooLarge(String),
    /// Reading failed.
    #[error("cannot read {0}: {1}")]
    Io(String, std::io::Error),
}

impl Classify for Unread {
    fn kind(&self) -> Kind {
        match self {
            Unread::NoText(_) | Unread::TooLarge(_) => Kind::Usage,
            Unread::Io(_, error) => Kind::of_io(error),
        }
    }
}

/// Reads a file, or standard input.
fn read(path: Option<&Path>) -> Result<(String, String), Failure> {
    let (name, bytes) = match path {
        Some(path) => (path.display().to_string(), files::read_limited(path, MAX_BYTES)?.to_vec()),
        None => {
            let name = "<stdin>".to_owned();
            let mut bytes = Vec::new();
            let mut input = std::io::stdin().lock().take(MAX_BYTES + 1);
            input.read_to_end(&mut bytes).map_err(|error| Unread::Io(name.clone(), error))?;
            if bytes.len() as u64 > MAX_BYTES {
                return Err(Unread::TooLarge(name).into());
            }
            (name, bytes)
        }
    };
    let text = String::from_utf8(bytes).map_err(|_| Unread::NoText(name.clone()))?;
    Ok((name, text))
}

/// Reads which images were carried, from a lock or an archive.
pub(crate) fn carried(path: &Path) -> Result<Vec<(Reference, Digest)>, Failure> {
    if path.extension().is_some_and(|extension| extension == "lock") {
        let bytes = files::read_limited(path, MAX_BYTES)?;
        let lock = Lock::parse(&path.display().to_string(), &String::from_utf8_lossy(&bytes))?;
        return Ok(lock.images.into_iter().map(|image| (image.image, image.digest)).collect());
    }
    // Only names are taken from it, and a wrong one names nothing: who made the archive is asked when it is loaded.
    let inventory = Unverified::open(path)?.peek()?;
    let named = inventory.images.iter().filter(|image| image.derived_from.is_none());
    Ok(named.flat_map(|image| image.references.iter().map(|name| (name.clone(), image.digest))).collect())
}

impl Args {
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let mut names = Names::new(self.to.clone(), self.layout);
        if let Some(path) = &self.lock {
            names = names.carrying(carried(path)?)?;
        }
        let (file, text) = read(self.file.as_deref())?;
        let choices = Choices { guesses: self.guesses, digests: self.digests, rules: Vec::new() };
        let mut done = rewrite(&file, &text, &mut names, &choices)?;
        if let Some(name) = self.issuer {
            let secret = self.issuer_secret.unwrap_or_else(|| name.clone());
            let secured = secure(&file, &done.text, &Issuer { name, secret, replaces: self.replaces })?;
            done.text = secured.text;
            done.left.extend(secured.left);
        }
        for left in done.left {
            context.observer.on(&Event::Noted(left));
        }
        ui::write_all(done.text.as_bytes()).map_err(OutputError)?;
        Ok(())
    }
}
