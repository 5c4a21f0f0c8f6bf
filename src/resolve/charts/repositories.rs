//! Helm's `repositories.yaml`: names of repositories, and the logins that belong to them (helm, `repo.Entry`).
//!
//! # Invariants
//! - A login goes to the origin of its repository's address; elsewhere only when the entry says `pass_credentials_all`.
//!
//! # Failure
//! A file that nobody named need not be there; one that is there and cannot be read is an error, because its logins would
//! be missing in silence.

use std::path::PathBuf;

use serde::Deserialize;

use super::Error;
use crate::{
    files,
    net::{Environment, Secret, Url, printable},
    yaml,
};

/// The largest file that is read; real ones have a few kilobytes.
const MAX_FILE: u64 = 4 << 20;

/// One repository.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Known {
    pub(super) name: String,
    pub(super) url: String,
    username: String,
    password: String,
    #[serde(rename = "certFile")]
    pub(super) cert_file: String,
    #[serde(rename = "keyFile")]
    pub(super) key_file: String,
    #[serde(rename = "caFile")]
    pub(super) ca_file: String,
    insecure_skip_tls_verify: bool,
    pub(super) pass_credentials_all: bool,
}

/// Everything that the file says.
#[derive(Clone)]
pub(super) struct Repositories {
    pub(super) path: PathBuf,
    known: Vec<Known>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw {
    repositories: Option<Vec<Known>>,
}

impl Known {
    /// Returns the login, if there is one.
    pub(super) fn login(&self) -> Option<(String, Secret)> {
        (!self.username.is_empty()).then(|| (self.username.clone(), Secret::new(self.password.as_str())))
    }

    /// Tells whether a certificate or a key of its own belongs to the repository.
    pub(super) fn has_certificates(&self) -> bool {
        [&self.cert_file, &self.key_file, &self.ca_file].iter().any(|file| !file.is_empty())
    }
}

impl Repositories {
    /// Reads the file that `HELM_REPOSITORY_CONFIG` names, or the one in helm's folder of settings.
    ///
    /// # Errors
    /// [`Error::Repositories`] and [`Error::File`].
    pub(super) fn read(environment: &Environment) -> Result<Repositories, Error> {
        let named = environment.path("HELM_REPOSITORY_CONFIG");
        let home = || Some(environment.path("HOME")?.join(".config"));
        let config = || {
            environment
                .path("HELM_CONFIG_HOME")
                .or_else(|| environment.path("XDG_CONFIG_HOME").or_else(home).map(|folder| folder.join("helm")))
        };
        let path = named.clone().or_else(|| Some(config()?.join("repositories.yaml")));
        let Some(path) = path else { return Ok(Repositories { path: "repositories.yaml".into(), known: Vec::new() }) };
        let bytes = match files::read_limited(&path, MAX_FILE) {
            Ok(bytes) => bytes,
            Err(error) if error.is_missing() => return Ok(Repositories { path, known: Vec::new() }),
            Err(error) => return Err(error.into()),
        };
        let wrong = |why: String| Error::Repositories { path: path.clone(), why };
        let text = std::str::from_utf8(&bytes).map_err(|_| wrong("not UTF-8 text".to_owned()))?;
        // The reader's message names the place; it does not quote values.
        let documents = yaml::documents(text, &yaml::Options::lenient()).map_err(|error| wrong(error.to_string()))?;
        let raw: Raw = match documents.first() {
            Some(node) if !node.is_null() => {
                let json = node.to_json().map_err(|error| wrong(error.to_string()))?;
                serde_json::from_value(json)
                    .map_err(|_| wrong("no list of repositories as helm writes it".to_owned()))?
            }
            _ => Raw::default(),
        };
        let known = raw.repositories.unwrap_or_default();
        Ok(Repositories { path, known })
    }

    /// Finds a repository by its address.
    ///
    /// # Errors
    /// [`Error::Insecure`] when the entry wants no certificate checked.
    pub(super) fn by_url(&self, url: &Url) -> Result<Option<&Known>, Error> {
        let plain = |url: &str| url.trim_end_matches('/').to_owned();
        let wanted = plain(url.as_str());
        let same = |known: &&Known| known.url.parse::<Url>().is_ok_and(|url| plain(url.as_str()) == wanted);
        self.checked(self.known.iter().find(same))
    }

    /// Finds a repository by its name.
    ///
    /// # Errors
    /// [`Error::Insecure`] when the entry wants no certificate checked, [`Error::NoRepository`].
    pub(super) fn by_name(&self, name: &str, chart: &str) -> Result<&Known, Error> {
        let found = self.checked(self.known.iter().find(|known| known.name == name))?;
        found.ok_or_else(|| Error::NoRepository {
            chart: chart.to_owned(),
            name: printable(name, 100),
            path: self.path.clone(),
        })
    }

    fn checked<'k>(&self, found: Option<&'k Known>) -> Result<Option<&'k Known>, Error> {
        match found {
            Some(known) if known.insecure_skip_tls_verify => {
                Err(Error::Insecure { name: printable(&known.name, 100), path: self.path.clone() })
            }
            found => Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_found_where_helm_keeps_them() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(".config/helm");
        std::fs::create_dir_all(&folder).unwrap();
        let text = "apiVersion: ''\nrepositories:\n- {name: corp, url: 'https://charts.corp.example/stable/', username: me, password: p}\n- {name: bad, url: 'https://bad.example', insecure_skip_tls_verify: true}\n";
        std::fs::write(folder.join("repositories.yaml"), text).unwrap();
        let environment: Environment = [("HOME", home.path().to_str().unwrap())].into_iter().collect();
        let found = Repositories::read(&environment).unwrap();
        let by = |url: &str| found.by_url(&url.parse().unwrap());
        let (user, password) = by("https://charts.corp.example/stable").unwrap().unwrap().login().unwrap();
        assert_eq!((user.as_str(), password.expose()), ("me", "p"));
        assert!(by("https://charts.corp.example/").unwrap().is_none());
        assert!(matches!(by("https://bad.example/"), Err(Error::Insecure { .. })));
        assert!(matches!(found.by_name("gone", "x"), Err(Error::NoRepository { .. })));
        assert!(found.by_name("corp", "x").is_ok());

        let named = home.path().join("other.yaml");
        std::fs::write(&named, "repositories: 7").unwrap();
        let pairs = [("HOME", home.path().to_str().unwrap()), ("HELM_REPOSITORY_CONFIG", named.to_str().unwrap())];
        assert!(matches!(Repositories::read(&pairs.into_iter().collect()), Err(Error::Repositories { .. })));
        std::fs::write(&named, "").unwrap();
        assert!(Repositories::read(&pairs.into_iter().collect()).is_ok());
        assert!(Repositories::read(&Environment::default()).is_ok());
    }
}
