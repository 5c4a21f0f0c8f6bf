//! What proves to the API server who is asking, kept fresh.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use tokio::sync::Mutex;

use super::{
    ConfigProblem, Error, PluginProblem,
    kubeconfig::{Access, Plugin, Proof},
    plugin,
};
use crate::{
    files,
    net::{ClientPair, Environment, HeaderName, HeaderValue, Pem, Secret},
};

/// How long a token read from a file is used before the file is read again: client-go's own period.
const FILE_PERIOD: Duration = Duration::from_secs(60);
/// The largest token; real ones have one or two kilobytes.
const MAX_TOKEN: u64 = 64 << 10;
/// How long before its end a plugin's token is asked for anew.
const MARGIN_SECONDS: i64 = 30;

/// Knows how to prove who is asking.
pub(super) struct Login {
    proof: Kept,
    environment: Environment,
    headers: Vec<(HeaderName, HeaderValue)>,
}

enum Kept {
    Nothing,
    Fixed(Secret),
    File { path: PathBuf, last: Mutex<Option<(Secret, Instant)>> },
    Plugin { plugin: Box<Plugin>, last: Mutex<Option<plugin::Credential>> },
}

impl Login {
    pub(super) fn new(access: &Access, environment: &Environment) -> Result<Self, Error> {
        let bad = |problem| Error::Config { file: access.file.clone(), problem };
        let bearer = |token: &Secret| Secret::new(format!("Bearer {}", token.expose().trim()));
        let proof = match &access.proof {
            Proof::None => Kept::Nothing,
            Proof::Token(token) => Kept::Fixed(bearer(token)),
            Proof::Basic(name, password) => {
                Kept::Fixed(Secret::new(format!("Basic {}", STANDARD.encode(format!("{name}:{}", password.expose())))))
            }
            Proof::TokenFile(path) => {
                // Read once at the start, so that a file that is not there is told before anything is asked.
                let token = read(path).map_err(|cause| bad(ConfigProblem::TokenFile(cause)))?;
                Kept::File { path: path.clone(), last: Mutex::new(Some((token, Instant::now()))) }
            }
            Proof::Plugin(plugin) => Kept::Plugin { plugin: Box::new(plugin.copied()), last: Mutex::new(None) },
        };
        let mut headers = Vec::new();
        for (name, value) in &access.impersonate {
            let name: Result<HeaderName, _> = name.parse();
            let value = HeaderValue::from_str(value);
            let (Ok(name), Ok(value)) = (name, value) else {
                return Err(bad(ConfigProblem::Shape("a user to impersonate that HTTP cannot carry".to_owned())));
            };
            headers.push((name, value));
        }
        Ok(Login { proof, environment: environment.clone(), headers })
    }

    /// Returns the headers that every request bears.
    pub(super) fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// Returns the client certificate that a plugin gives.
    pub(super) async fn certificate(&self) -> Result<Option<ClientPair>, PluginProblem> {
        let Kept::Plugin { plugin, last } = &self.proof else { return Ok(None) };
        let mut last = last.lock().await;
        if last.is_none() {
            *last = Some(plugin::run(plugin.copied(), self.environment.clone()).await?);
        }
        Ok(last
            .as_ref()
            .and_then(|credential| credential.certificate.clone())
            .map(|(cert, key)| ClientPair { cert: Pem::Text(cert), key: Pem::Text(key) }))
    }

    /// Returns the value of `Authorization`. `anew` after the server refused the last one.
    pub(super) async fn authorization(&self, anew: bool) -> Result<Option<Secret>, PluginProblem> {
        match &self.proof {
            Kept::Nothing => Ok(None),
            Kept::Fixed(value) => Ok(Some(value.clone())),
            Kept::File { path, last } => {
                let mut last = last.lock().await;
                let old = last.as_ref().is_none_or(|(_, read)| read.elapsed() > FILE_PERIOD);
                if (old || anew)
                    && let Ok(token) = read(path)
                {
                    // A file that is being replaced is not there for a moment; the token in hand may still do.
                    *last = Some((token, Instant::now()));
                }
                Ok(last.as_ref().map(|(token, _)| Secret::new(format!("Bearer {}", token.expose()))))
            }
            Kept::Plugin { plugin, last } => {
                let mut last = last.lock().await;
                let now = Timestamp::now().as_second();
                let old = last.as_ref().is_none_or(|credential| {
                    credential.expires.is_some_and(|end| end.as_second() - MARGIN_SECONDS <= now)
                });
                if old || anew {
                    *last = Some(plugin::run(plugin.copied(), self.environment.clone()).await?);
                }
                let token = last.as_ref().and_then(|credential| credential.token.as_ref());
                Ok(token.map(|token| Secret::new(format!("Bearer {}", token.expose()))))
            }
        }
    }

    /// Tells whether asking again can give other credentials.
    pub(super) fn can_renew(&self) -> bool {
        matches!(self.proof, Kept::File { .. } | Kept::Plugin { .. })
    }
}

fn read(path: &Path) -> Result<Secret, files::Error> {
    let bytes = files::read_limited(path, MAX_TOKEN)?;
    Ok(Secret::new(String::from_utf8_lossy(&bytes).trim()))
}
