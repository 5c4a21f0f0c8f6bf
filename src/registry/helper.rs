//! Credential helpers: programs `docker-credential-NAME` that keep passwords (docker/docker-credential-helpers).

use std::{
    io::{Read, Write},
    path::PathBuf,
    process::{Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use serde::Deserialize;

use super::credentials::{Login, basic};
use crate::net::{Environment, printable};

/// The largest answer that is read.
const MAX_ANSWER: u64 = 1 << 20;
/// How long a helper may take; some wait for a person to unlock a keyring.
const PATIENCE: Duration = Duration::from_secs(60);
/// What helpers say when they have nothing, whatever their language (credentials/error.go of that project).
const NOT_FOUND: &str = "credentials not found in native keychain";

/// Says why a helper gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelperError {
    /// The name could be a path.
    #[error("no name of a helper")]
    Name,
    /// The program is not in `PATH`.
    #[error("not found in PATH")]
    NotFound,
    /// The program cannot be started.
    #[error("cannot be started: {0}")]
    Start(String),
    /// The program takes too long.
    #[error("gave no answer in {} s", PATIENCE.as_secs())]
    Slow,
    /// The program refused.
    #[error("failed: {0}")]
    Failed(String),
    /// The answer cannot be read.
    #[error("gave an answer that is no JSON with Username and Secret")]
    Unreadable,
    /// The task that ran the program is gone.
    #[error("was interrupted")]
    Died,
}

/// Asks a helper for the credentials of a server; blocks. The server's name goes through standard input, the secret comes
/// through standard output: neither shows in a process list.
pub(super) fn get(name: &str, server: &str, environment: &Environment) -> Result<Option<Login>, HelperError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(plain) {
        return Err(HelperError::Name);
    }
    let program = find(&format!("docker-credential-{name}"), environment).ok_or(HelperError::NotFound)?;
    let mut child = Command::new(program)
        .arg("get")
        .env_clear()
        .envs(environment.iter())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| HelperError::Start(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read its input will say so itself.
        let _ = stdin.write_all(server.as_bytes());
    }
    let (sender, receiver) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut answer = Vec::new();
            let read = stdout.take(MAX_ANSWER).read_to_end(&mut answer);
            let _ = sender.send(read.map(|_| zeroize::Zeroizing::new(answer)));
        });
    }
    let answer = receiver.recv_timeout(PATIENCE);
    if answer.is_err() {
        let _ = child.kill();
    }
    let status = child.wait();
    let Ok(Ok(answer)) = answer else { return Err(HelperError::Slow) };
    if !status.is_ok_and(|status| status.success()) {
        let said = String::from_utf8_lossy(&answer);
        return if said.trim().eq_ignore_ascii_case(NOT_FOUND) {
            Ok(None)
        } else {
            Err(HelperError::Failed(printable(&said, 200)))
        };
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        username: String,
        secret: String,
    }
    let answer: Answer = serde_json::from_slice(&answer).map_err(|_| HelperError::Unreadable)?;
    Ok(Some(basic(&answer.username, &answer.secret)).filter(|_| !answer.secret.is_empty()))
}

fn find(program: &str, environment: &Environment) -> Option<PathBuf> {
    std::env::split_paths(environment.get("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
}
