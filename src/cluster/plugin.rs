//! Credential plugins: programs that give a token or a client certificate (`client.authentication.k8s.io`,
//! kubernetes.io/docs/reference/access-authn-authz/authentication, "client-go credential plugins").

use std::{
    io::{IsTerminal, Read},
    process::{Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use jiff::Timestamp;
use serde::Deserialize;

use super::{PluginProblem, kubeconfig::Plugin};
use crate::net::{Environment, Secret, printable};

/// The largest answer that is read.
const MAX_ANSWER: u64 = 1 << 20;
/// How long a plugin may take that speaks with nobody.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long one may take that waits for a person to log in.
const PATIENCE_WITH_PERSON: Duration = Duration::from_secs(600);

/// Holds what a plugin gave.
pub(super) struct Credential {
    pub(super) token: Option<Secret>,
    pub(super) certificate: Option<(Secret, Secret)>,
    pub(super) expires: Option<Timestamp>,
}

impl Plugin {
    pub(super) fn copied(&self) -> Plugin {
        Plugin {
            api_version: self.api_version.clone(),
            command: self.command.clone(),
            args: self.args.clone(),
            env: self.env.clone(),
            install_hint: self.install_hint.clone(),
            interactive: self.interactive,
            cluster: self.cluster.clone(),
        }
    }
}

/// Runs a plugin on a thread of its own.
pub(super) async fn run(plugin: Plugin, environment: Environment) -> Result<Credential, PluginProblem> {
    let command = plugin.command.clone();
    tokio::task::spawn_blocking(move || ask(&plugin, &environment))
        .await
        .unwrap_or_else(|_| Err(PluginProblem::Failed(command, "interrupted".to_owned())))
}

fn ask(plugin: &Plugin, environment: &Environment) -> Result<Credential, PluginProblem> {
    let name = || plugin.command.clone();
    let person = std::io::stdin().is_terminal();
    if plugin.interactive && !person {
        return Err(PluginProblem::NoTerminal(name()));
    }
    let mut spec = serde_json::json!({"interactive": plugin.interactive});
    if let Some(cluster) = &plugin.cluster {
        spec["cluster"] = cluster.clone();
    }
    let info =
        serde_json::json!({"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}).to_string();
    let mut command = Command::new(&plugin.command);
    command
        .args(&plugin.args)
        .env_clear()
        .envs(environment.iter())
        .envs(plugin.env.iter().map(|(name, value)| (name, value)))
        .env("KUBERNETES_EXEC_INFO", info)
        .stdout(Stdio::piped());
    // A plugin that speaks with a person needs the terminal; any other must not write on it.
    if plugin.interactive {
        command.stdin(Stdio::inherit()).stderr(Stdio::inherit());
    } else {
        command.stdin(Stdio::null()).stderr(Stdio::piped());
    }
    let mut child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            PluginProblem::NotFound { command: name(), hint: plugin.install_hint.as_deref().map(|h| printable(h, 300)) }
        }
        _ => PluginProblem::Start(name(), error.to_string()),
    })?;
    let (sender, receiver) = mpsc::channel();
    let complaint = child.stderr.take().map(|stderr| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            // What cannot be read is only missing from a message.
            let _ = stderr.take(MAX_ANSWER).read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        })
    });
    if let Some(stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut answer = Vec::new();
            let read = stdout.take(MAX_ANSWER).read_to_end(&mut answer);
            let _ = sender.send(read.map(|_| zeroize::Zeroizing::new(answer)));
        });
    }
    let patience = if plugin.interactive { PATIENCE_WITH_PERSON } else { PATIENCE };
    let answer = receiver.recv_timeout(patience);
    if answer.is_err() {
        let _ = child.kill();
    }
    let status = child.wait();
    let Ok(Ok(answer)) = answer else { return Err(PluginProblem::Slow(name(), patience.as_secs())) };
    if !status.is_ok_and(|status| status.success()) {
        let said = complaint.and_then(|reader| reader.join().ok()).unwrap_or_default();
        return Err(PluginProblem::Failed(name(), printable(&said, 300)));
    }
    read(plugin, &answer).ok_or_else(|| PluginProblem::Unreadable(name()))
}

fn read(plugin: &Plugin, answer: &[u8]) -> Option<Credential> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        kind: String,
        api_version: String,
        status: Status,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Status {
        token: Option<String>,
        client_certificate_data: Option<String>,
        client_key_data: Option<String>,
        expiration_timestamp: Option<String>,
    }
    let answer: Answer = serde_json::from_slice(answer).ok()?;
    if answer.kind != "ExecCredential" || answer.api_version != plugin.api_version {
        return None;
    }
    let given = |text: Option<String>| text.filter(|text| !text.is_empty()).map(Secret::new);
    let token = given(answer.status.token);
    let certificate = match (given(answer.status.client_certificate_data), given(answer.status.client_key_data)) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        _ => return None,
    };
    if token.is_none() && certificate.is_none() {
        return None;
    }
    let expires = match answer.status.expiration_timestamp {
        Some(text) => Some(text.parse().ok()?),
        None => None,
    };
    Some(Credential { token, certificate, expires })
}
