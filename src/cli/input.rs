//! Reading a spec and its lock from disk, for every command that works on a spec.

use std::path::{Path, PathBuf};

use super::{Context, Failure};
use crate::{
    error::{Classify, Diagnostic, Kind},
    event::Event,
    files,
    lock::Lock,
    spec::Spec,
};

/// The largest spec or lock that is read.
const MAX_BYTES: u64 = 64 << 20;

/// A spec that has mistakes.
#[derive(Debug, thiserror::Error)]
#[error("{} in {file}", if diagnostics.len() == 1 { "a mistake".to_owned() } else { format!("{} mistakes", diagnostics.len()) })]
pub(crate) struct Invalid {
    file: String,
    diagnostics: Vec<Diagnostic>,
}

impl Classify for Invalid {
    fn kind(&self) -> Kind {
        Kind::Usage
    }

    fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }
}

/// A spec with where it is.
pub(crate) struct Input {
    pub spec: Spec,
    pub folder: PathBuf,
    pub lock_path: PathBuf,
    /// The lock beside it, if there is one.
    pub lock: Option<Lock>,
}

/// Reads a spec; warnings go to the observer.
pub(crate) fn read_spec(context: &Context, path: &Path) -> Result<Spec, Failure> {
    let file = path.display().to_string();
    let bytes = files::read_limited(path, MAX_BYTES)?;
    let invalid = |diagnostics| Invalid { file: file.clone(), diagnostics };
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| invalid(vec![Diagnostic::error("not-text", format!("{file} is not UTF-8 text"))]))?;
    let (spec, warnings) = Spec::parse(&file, text).map_err(invalid)?;
    for warning in warnings {
        context.observer.on(&Event::Noted(warning));
    }
    Ok(spec)
}

/// Reads a spec and the lock beside it; warnings go to the observer.
pub(crate) fn read(context: &Context, path: &Path) -> Result<Input, Failure> {
    let spec = read_spec(context, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
    let lock_path = path.with_extension("lock");
    let lock = match files::read_limited(&lock_path, MAX_BYTES) {
        Ok(bytes) => Some(Lock::parse(&lock_path.display().to_string(), &String::from_utf8_lossy(&bytes))?),
        Err(error) if error.is_missing() => None,
        Err(error) => return Err(error.into()),
    };
    Ok(Input { spec, folder, lock_path, lock })
}
