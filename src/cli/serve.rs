//! `bundle serve`.

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Serialize;

use super::{
    Context, Failure, OutputError,
    args::{Output, Trust},
    env, issuer, opened,
    opened::Signers,
    ui,
    ui::{Format, Ui},
};
use crate::{
    archive::{Archive, CHARTS},
    error::Diagnostic,
    event::Event,
    files,
    serve::{self, Access, Data, Options, ReadOnly, Running, Tls, Visit},
};

/// Where a registry listens unless told otherwise: this machine alone, at the port that registries have by custom.
const LISTEN: &str = "127.0.0.1:5000";
/// The largest certificate or key file.
const MAX_PEM: u64 = 1 << 20;

/// Serve a registry: read-only, straight from an archive, or a writable one over a folder.
///
/// With FILE, images have the names that loading would give them (docker.io/library/nginx:1.27), and node runtimes can
/// use the registry as a mirror; the signatures of the trusted keys are beside the images. Charts are offered twice: to
/// `helm pull oci://HOST/charts/NAME`, and as a Helm repository to `helm repo add NAME http://HOST`. With --data DIR, the registry
/// starts empty and takes what is pushed. Runs until Ctrl-C or SIGTERM.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The archive.
    #[arg(value_name = "FILE", required_unless_present = "data", conflicts_with = "data")]
    file: Option<PathBuf>,
    /// Serve a writable registry that keeps its content in this folder.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["keys", "insecure_skip_verify"])]
    data: Option<PathBuf>,
    #[command(flatten)]
    trust: Trust,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = LISTEN, value_parser = address)]
    listen: SocketAddr,
    /// Certificate chain (PEM); without it the registry speaks plain HTTP.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    #[command(flatten)]
    issuer: issuer::ForServe,
    /// User name that clients must give.
    #[arg(long, value_name = "NAME", requires = "password_stdin")]
    username: Option<String>,
    /// Read the password that clients must give from standard input.
    #[arg(long, requires = "username")]
    password_stdin: bool,
    /// Tell of every request on stderr.
    #[arg(long)]
    log: bool,
    #[command(flatten)]
    pub output: Output,
}

/// Reads `ADDR:PORT`, `:PORT` (every address of this machine) or `localhost:PORT`.
fn address(text: &str) -> Result<SocketAddr, String> {
    let named = text.rsplit_once(':').and_then(|(host, port)| {
        let host = match host {
            "" => Ipv4Addr::UNSPECIFIED,
            "localhost" => Ipv4Addr::LOCALHOST,
            _ => return None,
        };
        Some(SocketAddr::from((host, port.parse().ok()?)))
    });
    let parsed = named.or_else(|| text.parse().ok());
    parsed.ok_or_else(|| format!("expected an IP address and a port, such as {LISTEN} or 0.0.0.0:5000"))
}

/// What is told when the registry answers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Started {
    url: String,
    /// What clients call it, when that is not its address.
    #[serde(skip)]
    name: Option<String>,
    address: SocketAddr,
    writable: bool,
    #[serde(flatten)]
    signers: Option<Signers>,
    repositories: Vec<String>,
    /// The charts of the Helm repository, as `NAME VERSION`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    charts: Vec<String>,
}

impl Args {
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        // Before anything is read: whoever stops it early stops it cleanly, too.
        let mut stop = Stop::new()?;
        let options = self.options(context)?;
        let (running, started, usage) = match (&self.file, &self.data) {
            (Some(file), _) => self.archive(file, options, context).await?,
            (None, Some(folder)) => {
                let running = serve::start(options, Data::open(folder, true)?).await?;
                let started = self.started(&running, true, None, Vec::new(), Vec::new());
                let usage = data_usage(folder, &started);
                (running, started, usage)
            }
            // clap asks for one of the two.
            (None, None) => return Ok(()),
        };
        if self.output.format == Format::Table {
            let _ = std::io::stderr().lock().write_all(usage.as_bytes());
        } else {
            Ui { format: self.output.format }.print(&started, String::new).map_err(OutputError)?;
        }
        stop.wait().await;
        let _ = writeln!(std::io::stderr().lock(), "stopping; requests that are under way may finish");
        tokio::select! {
            () = running.shutdown() => {}
            // Whoever asks twice means now.
            () = stop.wait() => {}
        }
        Ok(())
    }

    async fn archive(
        &self,
        file: &Path,
        options: Options,
        context: &Context,
    ) -> Result<(Running, Started, String), Failure> {
        let policy = self.trust.policy()?;
        let (archive, verdict) = opened::open(file, policy.as_ref())?;
        opened::note_age(&archive, context, env::now());
        let sets = verdict.as_ref().map(|verdict| verdict.sets()).unwrap_or_default();
        let (catalogue, carried) = serve::gather(&archive, sets, &*context.observer).await?;
        let names = catalogue.names().map(str::to_owned).collect();
        let inventory = archive.inventory();
        let options = Options { charts_created: Some(inventory.created), ..options };
        let charts = inventory.charts.iter().map(|chart| format!("{} {}", chart.name, chart.version)).collect();
        let running = serve::start(options, ReadOnly::new(carried, catalogue)).await?;
        let started = self.started(&running, false, Some(Signers::of(verdict.as_ref())), names, charts);
        let usage = archive_usage(&archive, self, &started);
        Ok((running, started, usage))
    }

    fn started(
        &self,
        running: &Running,
        writable: bool,
        signers: Option<Signers>,
        repositories: Vec<String>,
        charts: Vec<String>,
    ) -> Started {
        // A certificate for a name holds under that name only.
        let name = self.issuer.name().map(|name| format!("{name}:{}", running.addr().port()));
        let url = name.as_ref().map_or_else(|| running.local_url(), |name| format!("https://{name}"));
        Started { url, name, address: running.addr(), writable, signers, repositories, charts }
    }

    fn options(&self, context: &Context) -> Result<Options, Failure> {
        let pem = |path: &Path| files::read_limited(path, MAX_PEM).map(Vec::from);
        let tls = match (&self.tls_cert, &self.tls_key) {
            (Some(certificates), Some(key)) => {
                Some(Tls { certificates: pem(certificates)?, key: pem(key)?, client_roots: None })
            }
            _ => match self.issuer.certificate(context, self.listen.ip())? {
                Some((certificates, key)) => {
                    Some(Tls { certificates: pem(&certificates)?, key: pem(&key)?, client_roots: None })
                }
                None => None,
            },
        };
        let access = match &self.username {
            Some(user) => Access::Logins(vec![serve::Login::new(user, env::password_from_stdin()?.expose())]),
            None => Access::Open,
        };
        let note = |code, text: &str| context.observer.on(&Event::Noted(Diagnostic::warning(code, text)));
        if !is_local(self.listen.ip()) {
            if self.username.is_some() && tls.is_none() {
                note(
                    "password-in-clear",
                    "passwords cross the network in clear: add --tls-cert and --tls-key, or --issuer-dir",
                );
            }
            if self.username.is_none() && self.data.is_some() {
                note("open-to-all", "whoever reaches this address may push: add --username and --password-stdin");
            }
        }
        let watch = self.log.then(|| -> serve::Watch { Arc::new(log) });
        Ok(Options { addr: self.listen, tls, access, watch, ..Options::default() })
    }
}

fn is_local(address: IpAddr) -> bool {
    address.is_loopback()
}

fn log(visit: &Visit) {
    let peer = visit.peer.map(|peer| peer.ip().to_string()).unwrap_or_default();
    let query = visit.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    let trouble = visit.trouble.as_ref().map(|trouble| format!(" {trouble}")).unwrap_or_default();
    let line = format!("{peer} {} {}{query} {}{trouble}", visit.method, visit.path, visit.status);
    let _ = writeln!(std::io::stderr().lock(), "{}", ui::clean(&line));
}

/// Returns the address as a client on this machine may write it.
fn host(started: &Started) -> String {
    if let Some(name) = &started.name {
        return name.clone();
    }
    match started.address {
        address if address.ip().is_unspecified() => format!("localhost:{}", address.port()),
        address => address.to_string(),
    }
}

fn archive_usage(archive: &Archive, args: &Args, started: &Started) -> String {
    let inventory = archive.inventory();
    let host = host(started);
    let count = inventory.images.iter().filter(|image| image.derived_from.is_none()).count();
    let signed = match &started.signers {
        Some(signers) if signers.verified => format!("signed by {}", signers.text()),
        _ => "NOT VERIFIED: anybody may have made it".to_owned(),
    };
    let mut text = format!(
        "{} {}, {}, {signed}\nread-only registry at {} (Ctrl-C stops it)\n\n",
        inventory.name,
        inventory.version,
        match inventory.charts.len() {
            0 => ui::count(count, "image"),
            charts => format!("{}, {}", ui::count(count, "image"), ui::count(charts, "chart")),
        },
        started.url
    );
    let tagged = inventory.images.iter().flat_map(|image| &image.references).find(|reference| reference.tag.is_some());
    let mut examples = Vec::new();
    // Without TLS, stock clients want to hear that this is meant.
    let plain = |flag: &'static str| if started.url.starts_with("https:") { "" } else { flag };
    if let Some(reference) = tagged {
        let reference = crate::oci::Reference { digest: None, ..reference.clone() };
        examples.push(("pull", format!("podman pull {}{host}/{reference}", plain("--tls-verify=false "))));
        if let (Some(key), Some(true)) =
            (args.trust.keys.first(), started.signers.as_ref().map(|signers| signers.verified))
        {
            let flags = plain("--allow-http-registry ");
            let check =
                format!("cosign verify --key {} --insecure-ignore-tlog {flags}{host}/{reference}", key.display());
            examples.push(("check", check));
        }
    }
    if let Some(chart) = inventory.charts.first() {
        let (name, version) = (&chart.name, &chart.version);
        let pull = format!("helm pull oci://{host}/{CHARTS}/{name} --version {version}{}", plain(" --plain-http"));
        examples.push(("chart", pull));
        examples.push(("charts", format!("helm repo add {} {}", inventory.name, started.url)));
    }
    if let Some(name) = inventory.file_artifacts().keys().next() {
        examples.push((
            "files",
            format!("oras pull {}{host}/files/{name}:{}", plain("--plain-http "), inventory.version_tag()),
        ));
    }
    examples.push(("mirror", format!("[host.\"{}\"] in /etc/containerd/certs.d/_default/hosts.toml", started.url)));
    text.push_str(&lines(&examples));
    text
}

fn data_usage(folder: &Path, started: &Started) -> String {
    let host = host(started);
    let flag = if started.url.starts_with("https:") { "" } else { "--tls-verify=false " };
    let examples = [
        ("load", format!("bundle load FILE --key KEY --to {host}")),
        ("push", format!("podman push {flag}IMAGE {host}/NAME:TAG")),
        ("charts", format!("helm repo add NAME {}", started.url)),
    ];
    format!("writable registry at {} over {} (Ctrl-C stops it)\n\n{}", started.url, folder.display(), lines(&examples))
}

fn lines(examples: &[(&str, String)]) -> String {
    examples.iter().map(|(what, how)| format!("{what:7} {}\n", ui::clean(how))).collect()
}

/// Waits for Ctrl-C or, where the system has it, SIGTERM, by which service managers and containers stop a program.
struct Stop {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Stop {
    #[cfg(unix)]
    fn new() -> Result<Stop, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).map_err(|cause| env::Error::Read { what: "signals".to_owned(), cause });
        Ok(Stop { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    #[cfg(unix)]
    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    #[cfg(not(unix))]
    fn new() -> Result<Stop, Failure> {
        Ok(Stop {})
    }

    #[cfg(not(unix))]
    async fn wait(&mut self) {
        // Where Ctrl-C cannot be waited for, the system ends the process.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (written, meant) in [
            ("127.0.0.1:5000", "127.0.0.1:5000"),
            (":5000", "0.0.0.0:5000"),
            ("localhost:0", "127.0.0.1:0"),
            ("[::1]:7", "[::1]:7"),
        ] {
            assert_eq!(address(written).unwrap().to_string(), meant);
        }
        for bad in ["5000", "localhost", "host:5000", ":x", ":70000"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
