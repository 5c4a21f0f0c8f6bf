//! What an export is made from: an archive, a lock, or the lock beside a spec.

use std::path::{Path, PathBuf};

use crate::{
    archive::Inventory,
    cli::{Context, Failure, args::Trust, input, opened},
    error::{Classify, Diagnostic, Kind},
    event::Event,
    export::Content,
    files,
    lock::Lock,
};

/// The largest lock that is read.
const MAX_LOCK: u64 = 64 << 20;

/// Where the names come from.
#[derive(Debug, clap::Args)]
pub(super) struct From {
    /// The archive; or a lock, or a spec with its lock beside it.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub trust: Trust,
}

/// A spec has no lock beside it, so nobody knows what would be in the archive.
#[derive(Debug, thiserror::Error)]
#[error("there is no lock beside {0}: run `bundle resolve` first, or name the archive")]
struct NoLock(String);

impl Classify for NoLock {
    fn kind(&self) -> Kind {
        Kind::Incomplete
    }
}

/// Tells whether a path names an archive and not a spec or lock.
pub(super) fn is_archive(path: &Path) -> bool {
    path.extension().is_none_or(|extension| !["yaml", "yml", "lock"].iter().any(|text| extension == *text))
}

impl From {
    /// Reads what is shipped. An archive is checked when a key is given; without one, a note says that nobody vouches.
    pub fn content(&self, context: &Context) -> Result<Content, Failure> {
        if is_archive(&self.file) {
            return Ok(Content::of_inventory(&self.inventory(context)?));
        }
        if self.file.extension().is_some_and(|extension| extension == "lock") {
            let bytes = files::read_limited(&self.file, MAX_LOCK)?;
            let lock = Lock::parse(&self.file.display().to_string(), &String::from_utf8_lossy(&bytes))?;
            return Ok(Content::of_lock(&lock));
        }
        let lock = input::read(context, &self.file)?.lock;
        Ok(Content::of_lock(&lock.ok_or_else(|| NoLock(self.file.display().to_string()))?))
    }

    /// Reads the inventory of an archive.
    pub fn inventory(&self, context: &Context) -> Result<Inventory, Failure> {
        let policy = if self.trust.keys.is_empty() { None } else { self.trust.policy()? };
        let (archive, _) = opened::open(&self.file, policy.as_ref())?;
        if policy.is_none() && !self.trust.insecure_skip_verify {
            let text = format!("nothing says who made {}: --key checks it", self.file.display());
            context.observer.on(&Event::Noted(Diagnostic::warning("unverified", text)));
        }
        Ok(archive.inventory().clone())
    }
}
