//! Everything that a command takes from its surroundings: environment variables, clock, terminal. Nothing else reads them.

use std::{
    io::{IsTerminal, Read, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    error::{Classify, Kind},
    net::Secret,
    trust::Passphrase,
};

/// Says what is wrong with the surroundings.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An environment variable has a value that means nothing.
    #[error("{name}={value:?} is no number of seconds since 1970")]
    NotANumber {
        /// Which variable.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// A passphrase is needed and nothing can give it.
    #[error(
        "{0} is encrypted and there is no terminal to ask for its passphrase: set COSIGN_PASSWORD, or BUNDLE_PASSWORD_FILE to a file that holds it"
    )]
    NoPassphrase(String),
    /// The two passphrases typed for a new key differ.
    #[error("the passphrases differ; nothing was written")]
    PassphrasesDiffer,
    /// Reading failed.
    #[error("cannot read {what}: {cause}")]
    Read {
        /// What was to be read.
        what: String,
        /// Why it failed.
        #[source]
        cause: std::io::Error,
    },
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] crate::files::Error),
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        match self {
            Error::NotANumber { .. } | Error::PassphrasesDiffer => Kind::Usage,
            Error::NoPassphrase(_) => Kind::NotFound,
            Error::Read { cause, .. } => Kind::of_io(cause),
            Error::File(cause) => cause.kind(),
        }
    }
}

/// Returns the seconds since 1970 of this machine's clock.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// Returns the time that an archive carries: `SOURCE_DATE_EPOCH` (reproducible-builds.org), else 0.
///
/// # Errors
/// When the variable holds no number.
pub fn source_date_epoch() -> Result<u64, Error> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(value) => value.trim().parse().map_err(|_| Error::NotANumber { name: "SOURCE_DATE_EPOCH", value }),
        Err(_) => Ok(0),
    }
}

/// Returns the folder where this machine remembers what it loaded: `BUNDLE_STATE_DIR`, else the XDG state folder.
pub fn state_dir() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("BUNDLE_STATE_DIR")
        .or_else(|| set("XDG_STATE_HOME").map(|dir| dir.join("bundle")))
        .or_else(|| set("HOME").map(|dir| dir.join(".local/state/bundle")))
}

/// Returns today as a number, `20261231`, in UTC; by `SOURCE_DATE_EPOCH` when it is set.
///
/// # Errors
/// When the variable holds no number.
pub fn today() -> Result<u64, Error> {
    let seconds = match source_date_epoch()? {
        0 => now(),
        fixed => fixed,
    };
    let seconds = i64::try_from(seconds).unwrap_or_default();
    let date = jiff::Timestamp::from_second(seconds).unwrap_or_default().to_zoned(jiff::tz::TimeZone::UTC).date();
    let part = |number: i16| u64::from(number.unsigned_abs());
    Ok(part(date.year()) * 10_000 + part(date.month().into()) * 100 + part(date.day().into()))
}

/// Returns the environment for what reads proxies and credentials.
pub fn surroundings() -> crate::net::Environment {
    crate::net::Environment::of_process()
}

/// Returns the passphrase that a file holds, without its line end.
///
/// # Errors
/// Those of reading.
pub fn passphrase_in(path: &Path) -> Result<Passphrase, Error> {
    let bytes = crate::files::read_limited(path, 64 << 10)?;
    let end = bytes.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
    Ok(Passphrase::new(&bytes[..end]))
}

fn given_passphrase() -> Result<Option<Passphrase>, Error> {
    if let Some(path) = std::env::var_os("BUNDLE_PASSWORD_FILE") {
        return passphrase_in(Path::new(&path)).map(Some);
    }
    Ok(std::env::var_os("COSIGN_PASSWORD").map(|text| Passphrase::new(text.into_encoded_bytes())))
}

fn ask(question: &str) -> Result<String, Error> {
    let failed = |cause| Error::Read { what: "the passphrase".to_owned(), cause };
    let mut err = std::io::stderr();
    write!(err, "{question}").and_then(|()| err.flush()).map_err(failed)?;
    rpassword::read_password().map_err(failed)
}

/// Returns the passphrase of an existing key: from the environment, else asked for on the terminal.
///
/// # Errors
/// When nothing can give it.
pub fn passphrase(key: &Path) -> Result<Passphrase, Error> {
    match given_passphrase()? {
        Some(text) => Ok(text),
        None if std::io::stdin().is_terminal() => {
            Ok(Passphrase::new(ask(&format!("Passphrase of {}: ", key.display()))?))
        }
        None => Err(Error::NoPassphrase(key.display().to_string())),
    }
}

/// Returns the passphrase for a new key: from the environment, else asked for twice on the terminal.
///
/// # Errors
/// When nothing can give it, or the two differ.
pub fn new_passphrase(key: &Path) -> Result<Passphrase, Error> {
    if let Some(text) = given_passphrase()? {
        return Ok(text);
    }
    if !std::io::stdin().is_terminal() {
        return Err(Error::NoPassphrase(key.display().to_string()));
    }
    let first = ask("Passphrase for the new private key: ")?;
    if first == ask("Once more: ")? { Ok(Passphrase::new(first)) } else { Err(Error::PassphrasesDiffer) }
}

/// Reads a password from standard input, without its line end.
///
/// # Errors
/// Those of reading.
pub fn password_from_stdin() -> Result<Secret, Error> {
    let mut text = String::new();
    std::io::stdin()
        .take(64 << 10)
        .read_to_string(&mut text)
        .map_err(|cause| Error::Read { what: "the password from standard input".to_owned(), cause })?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
}
