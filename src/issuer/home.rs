//! The folder of an authority.
//!
//! ```text
//!  issuer.json                 names, domains, which generation is in use; nothing secret
//!  ca.crt                      every root that clients must trust: what nodes and clients install
//!  root-g1.crt  root-g1.key    the root; the key may live on another machine
//!  issuing-g1.1.crt  .key      the issuing authority (its certificate and what stands between it and the root)
//!  certificates/NAME.crt .key  what was issued to servers
//!  issued.jsonl                a line for each of them
//! ```
//!
//! # Invariants
//! - `issuer.json` and `ca.crt` are replaced as a whole; keys and certificates of authorities are never overwritten.
//! - What `issuer.json` names is there, or the error names the file that is missing.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Error;
use crate::{
    files,
    trust::{
        Passphrase, Randomness,
        x509::{Authority, CaKey, CaNames, Certificate, Scope, read_chain, write_chain},
    },
};

/// The version of `issuer.json`.
const VERSION: u32 = 1;
/// No file of an authority comes near.
const MAX_FILE: u64 = 1 << 20;

/// Names the step at which a change of the root stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The new root is made and handed out beside the old one; nothing is signed under it yet.
    Published,
    /// A new issuing authority signs, certified by both roots; its chain leads to the old one.
    Switched,
    /// The chain of the same issuing authority leads to the new root.
    Settled,
}

/// What the folder remembers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct State {
    version: u32,
    pub(super) organization: String,
    pub(super) domains: Vec<String>,
    pub(super) ip_ranges: Vec<String>,
    pub(super) replaces: Vec<String>,
    /// The generations of roots that clients must trust, oldest first.
    pub(super) trusted: Vec<u32>,
    /// What signs for servers.
    pub(super) issuing: Option<Issuing>,
    /// The name of a key that waits for its certificate.
    pub(super) pending: Option<String>,
    /// The issuing authorities before, newest last.
    pub(super) previous: Vec<String>,
    /// How many issuing authorities the root has signed here.
    pub(super) signed: u32,
    pub(super) step: Option<Step>,
    pub(super) revocation_lists: u64,
}

/// Names the issuing authority in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Issuing {
    /// The stem of its key file.
    pub(super) key: String,
    /// The stem of its certificate's file; another one than the key's while a root changes.
    pub(super) certificate: String,
    /// The generation of the root that its chain leads to.
    pub(super) root: u32,
}

/// Holds the folder of an authority.
#[derive(Clone, Debug)]
pub struct Home {
    dir: PathBuf,
    pub(super) state: State,
}

/// Returns the stem of a root's files.
pub(super) fn root_stem(generation: u32) -> String {
    format!("root-g{generation}")
}

/// Returns the stem of an issuing authority's files.
pub(super) fn issuing_stem(root: u32, generation: u32) -> String {
    format!("issuing-g{root}.{generation}")
}

impl Home {
    /// Opens the folder of an authority.
    ///
    /// # Errors
    /// [`Error::NoHome`], [`Error::State`], [`Error::Newer`].
    pub fn open(dir: &Path) -> Result<Home, Error> {
        let path = dir.join("issuer.json");
        if !files::exists(&path) {
            return Err(Error::NoHome(dir.to_owned()));
        }
        let bytes = files::read_limited(&path, MAX_FILE)?;
        let value: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|cause| Error::state(path.clone(), cause))?;
        match value.get("version").and_then(serde_json::Value::as_u64) {
            Some(version) if version > u64::from(VERSION) => {
                return Err(Error::Newer { path, version: version.try_into().unwrap_or(u32::MAX) });
            }
            _ => {}
        }
        let state: State = serde_json::from_value(value).map_err(|cause| Error::state(path.clone(), cause))?;
        let stems = state.issuing.iter().flat_map(|one| [&one.key, &one.certificate]).chain(&state.pending);
        for stem in stems.chain(&state.previous) {
            let plain = stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
            if !plain || stem.starts_with('.') || stem.is_empty() {
                return Err(Error::state(path, format!("{stem:?} is no name of a file")));
            }
        }
        Ok(Home { dir: dir.to_owned(), state })
    }

    /// Prepares a folder that holds no authority yet. Nothing is written.
    pub(super) fn prepare(dir: &Path, names: &CaNames, scope: &Scope, replaces: &[String]) -> Result<Home, Error> {
        if files::exists(&dir.join("issuer.json")) {
            return Err(Error::Taken(dir.to_owned()));
        }
        for stem in [root_stem(1), issuing_stem(1, 1)] {
            for file in [format!("{stem}.key"), format!("{stem}.crt")] {
                if files::exists(&dir.join(&file)) {
                    return Err(Error::Unfinished { dir: dir.to_owned(), file });
                }
            }
        }
        let state = State {
            version: VERSION,
            organization: names.organization().to_owned(),
            domains: scope.domains().to_vec(),
            ip_ranges: scope.ranges().iter().map(ToString::to_string).collect(),
            replaces: replaces.to_vec(),
            trusted: Vec::new(),
            issuing: None,
            pending: None,
            previous: Vec::new(),
            signed: 0,
            step: None,
            revocation_lists: 0,
        };
        Ok(Home { dir: dir.to_owned(), state })
    }

    /// Returns the folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the organization.
    pub fn organization(&self) -> &str {
        &self.state.organization
    }

    /// Returns the names of issuers that the authority stands in for.
    pub fn replaces(&self) -> &[String] {
        &self.state.replaces
    }

    /// Returns the step at which a change of the root stands.
    pub fn step(&self) -> Option<Step> {
        self.state.step
    }

    pub(super) fn names(&self) -> Result<CaNames, Error> {
        Ok(CaNames::new(&self.state.organization)?)
    }

    /// Returns what the authority is meant for; what it may sign is said by its certificate.
    pub fn scope(&self) -> Result<Scope, Error> {
        Ok(Scope::new(&self.state.domains, &self.state.ip_ranges)?)
    }

    pub(super) fn path(&self, stem: &str, extension: &str) -> PathBuf {
        self.dir.join(format!("{stem}.{extension}"))
    }

    /// Returns the path of the file with every root that clients must trust.
    pub fn roots_file(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    fn text(path: &Path) -> Result<String, Error> {
        let bytes = files::read_limited(path, MAX_FILE)?;
        String::from_utf8(bytes.into()).map_err(|cause| Error::state(path.to_owned(), cause))
    }

    pub(super) fn chain_of(&self, stem: &str) -> Result<Vec<Certificate>, Error> {
        let path = self.path(stem, "crt");
        read_chain(&Home::text(&path)?).map_err(|cause| Error::InFile { path, cause })
    }

    pub(super) fn root(&self, generation: u32) -> Result<Certificate, Error> {
        let path = self.path(&root_stem(generation), "crt");
        Certificate::from_pem(&Home::text(&path)?).map_err(|cause| Error::InFile { path, cause })
    }

    /// Returns every root that clients must trust, oldest first.
    ///
    /// # Errors
    /// Those of reading.
    pub fn roots(&self) -> Result<Vec<Certificate>, Error> {
        self.state.trusted.iter().map(|generation| self.root(*generation)).collect()
    }

    pub(super) fn active(&self) -> Result<&Issuing, Error> {
        let hint = match &self.state.pending {
            Some(_) => "install what was signed for its request (`bundle issuer install`)",
            None => "this folder keeps the root only; make one elsewhere with `bundle issuer request`",
        };
        self.state.issuing.as_ref().ok_or(Error::NoIssuing { dir: self.dir.clone(), hint })
    }

    /// Returns the certificate of the issuing authority, then those between it and the root, then the root: what belongs
    /// into a cluster's Secret.
    ///
    /// # Errors
    /// [`Error::NoIssuing`], those of reading.
    pub fn issuing_chain(&self) -> Result<Vec<Certificate>, Error> {
        let active = self.active()?;
        let mut chain = self.chain_of(&active.certificate)?;
        chain.push(self.root(active.root)?);
        Ok(chain)
    }

    /// Returns the path of the issuing authority's key, for messages.
    ///
    /// # Errors
    /// [`Error::NoIssuing`].
    pub fn issuing_key_file(&self) -> Result<PathBuf, Error> {
        Ok(self.path(&self.active()?.key, "key"))
    }

    /// Returns the path of the newest root's key; it need not be there.
    pub fn root_key_file(&self) -> PathBuf {
        let newest = self.state.trusted.last().copied().unwrap_or(1);
        self.path(&root_stem(newest), "key")
    }

    pub(super) fn key(&self, stem: &str, password: &Passphrase) -> Result<CaKey, Error> {
        let path = self.path(stem, "key");
        let pem = zeroize::Zeroizing::new(Home::text(&path)?);
        CaKey::open(&pem, password).map_err(|cause| Error::InFile { path, cause })
    }

    /// Opens the issuing authority.
    ///
    /// # Errors
    /// [`Error::NoIssuing`], a wrong password, those of reading.
    pub fn issuing(&self, password: &Passphrase) -> Result<Authority, Error> {
        let active = self.active()?;
        let certificate = self.chain_of(&active.certificate)?.remove(0);
        Ok(Authority::new(certificate, self.key(&active.key, password)?)?)
    }

    /// Opens the root of a generation.
    pub(super) fn root_authority(&self, generation: u32, password: &Passphrase) -> Result<Authority, Error> {
        let stem = root_stem(generation);
        if !files::exists(&self.path(&stem, "key")) {
            return Err(Error::NoRootKey(self.dir.clone()));
        }
        Ok(Authority::new(self.root(generation)?, self.key(&stem, password)?)?)
    }

    pub(super) fn write_key(
        &self,
        stem: &str,
        key: &CaKey,
        password: &Passphrase,
        random: &mut dyn Randomness,
    ) -> Result<(), Error> {
        let sealed = key.seal(password, random)?;
        files::create_folder(&self.dir)?;
        Ok(files::create_new_private(&self.path(stem, "key"), sealed.as_bytes())?)
    }

    pub(super) fn write_chain(&self, stem: &str, chain: &[Certificate]) -> Result<(), Error> {
        Ok(files::create_new(&self.path(stem, "crt"), write_chain(chain).as_bytes())?)
    }

    /// Writes the roots, then the state: whoever finds the state finds everything.
    pub(super) fn save(&self) -> Result<(), Error> {
        let roots = self.roots()?;
        if !roots.is_empty() {
            files::atomic_write(&self.roots_file(), write_chain(&roots).as_bytes())?;
        }
        let path = self.dir.join("issuer.json");
        let mut text = serde_json::to_string_pretty(&self.state).map_err(|cause| Error::state(path.clone(), cause))?;
        text.push('\n');
        Ok(files::atomic_write(&path, text.as_bytes())?)
    }
}
