//! `bundle issuer manifests`, `apply`, `status`.

use std::{path::PathBuf, time::Duration};

use serde_json::json;

use super::{Dir, Password, day, now};
use crate::{
    cli::{Context, Failure, OutputError, args::Output, env, ui, ui::Ui},
    cluster::{self, Cluster},
    error::{Classify, Diagnostic, Kind},
    event::Event,
    files,
    issuer::{self, Applied, Document, Home, Options, Outcome, Registry, Shadow},
    trust::x509::ServerName,
};

/// Which cluster is meant.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Kube {
    /// The kubeconfig; without it KUBECONFIG, then ~/.kube/config, then the pod's service account.
    #[arg(long, value_name = "FILE", help_heading = "Cluster options")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig.
    #[arg(long, value_name = "NAME", help_heading = "Cluster options")]
    context: Option<String>,
}

impl Kube {
    /// Connects to the cluster.
    pub async fn connect(&self, context: &Context) -> Result<Cluster, Failure> {
        let options = cluster::Options {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
            environment: env::surroundings(),
        };
        Ok(Cluster::connect(&options, context.observer.clone()).await?)
    }
}

/// What the manifests hold.
#[derive(Clone, Debug, clap::Args)]
struct What {
    /// The name of the ClusterIssuer, and of its Secret.
    #[arg(long, value_name = "NAME", default_value = "enclave-ca")]
    name: String,
    /// Where cert-manager looks for the Secrets of ClusterIssuers.
    #[arg(long, value_name = "NAMESPACE", default_value = "cert-manager")]
    secret_namespace: String,
    /// The name of the trust-manager Bundle, and of the ConfigMaps that it makes.
    #[arg(long, value_name = "NAME", default_value = "enclave-trust")]
    trust_name: String,
    /// The label of the namespaces that get the roots.
    #[arg(long, value_name = "KEY=VALUE", default_value = "trust=enclave", value_parser = label)]
    trust_label: (String, String),
    /// An Issuer of one namespace that the authority stands in for; repeat for several. The key is copied into that
    /// namespace.
    #[arg(long = "issuer-in", value_name = "NAMESPACE/NAME", value_parser = shadow)]
    issuers_in: Vec<Shadow>,
    /// What clients call a registry that runs in the cluster and gets a Certificate; repeat for several names.
    #[arg(long = "registry", value_name = "NAME")]
    registry: Vec<ServerName>,
    /// Where that registry runs.
    #[arg(long, value_name = "NAMESPACE", default_value = "registry", requires = "registry")]
    registry_namespace: String,
    /// The Secret that it reads its certificate from.
    #[arg(long, value_name = "NAME", default_value = "registry-tls", requires = "registry")]
    registry_secret: String,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn shadow(text: &str) -> Result<Shadow, String> {
    let (namespace, name) = text.split_once('/').ok_or("expected NAMESPACE/NAME")?;
    Ok(Shadow { namespace: namespace.to_owned(), name: name.to_owned() })
}

impl What {
    fn options(&self) -> Options {
        let registry = (!self.registry.is_empty()).then(|| Registry {
            names: self.registry.clone(),
            namespace: self.registry_namespace.clone(),
            secret: self.registry_secret.clone(),
        });
        Options {
            name: self.name.clone(),
            secret_namespace: self.secret_namespace.clone(),
            trust_name: self.trust_name.clone(),
            trust_label: self.trust_label.clone(),
            shadows: self.issuers_in.clone(),
            registry,
        }
    }
}

/// Print what a cluster needs to sign by itself: Secret, ClusterIssuer and its stand-ins, the roots, the registry's Certificate.
///
/// The Secret holds the key of the issuing authority: what is printed is as secret as that.
#[derive(Debug, clap::Args)]
pub(crate) struct Manifests {
    #[command(flatten)]
    dir: Dir,
    #[command(flatten)]
    what: What,
    /// Write a file for each into this folder, which must be new or empty.
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Leave the Secrets out: nothing that is printed is secret then, and no password is needed.
    #[arg(long)]
    no_secret: bool,
    #[command(flatten)]
    password: Password,
}

/// The folder has something in it.
#[derive(Debug, thiserror::Error)]
#[error("{} is not empty: what lies there could be applied together with the manifests", .0.display())]
struct NotEmpty(PathBuf);

impl Classify for NotEmpty {
    fn kind(&self) -> Kind {
        Kind::Usage
    }
}

impl Manifests {
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let home = Home::open(&self.dir.dir)?;
        let documents = documents(&home, &self.what.options(), self.no_secret, &self.password)?;
        if !self.no_secret {
            let text = "the Secret holds the key of the issuing authority: keep it out of Git and logs (--no-secret leaves it out)";
            context.observer.on(&Event::Noted(Diagnostic::warning("holds-a-key", text)));
        }
        let Some(folder) = &self.output else {
            let all: Vec<&str> = documents.iter().map(|document| document.text.as_str()).collect();
            ui::write_all(all.join("---\n").as_bytes()).map_err(OutputError)?;
            return Ok(());
        };
        files::create_folder(folder)?;
        if !files::file_names(folder)?.is_empty() {
            return Err(NotEmpty(folder.clone()).into());
        }
        for document in &documents {
            let path = folder.join(&document.file);
            match document.secret {
                true => files::create_new_private(&path, document.text.as_bytes())?,
                false => files::create_new(&path, document.text.as_bytes())?,
            }
        }
        Ok(())
    }
}

fn documents(home: &Home, options: &Options, no_secret: bool, password: &Password) -> Result<Vec<Document>, Failure> {
    let now = now()?;
    // What needs no key first: a mistake in a name should not cost a password.
    issuer::manifests(home, options, None, now)?;
    let issuing = match no_secret {
        true => None,
        false => Some(home.issuing(&password.of(&home.issuing_key_file()?)?)?),
    };
    Ok(issuer::manifests(home, options, issuing.as_ref(), now)?)
}

/// How long objects are waited for, and what may be taken over.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Waiting {
    /// How long each object may take to become ready.
    #[arg(long = "cluster-timeout", value_name = "SECONDS", default_value_t = 120, help_heading = "Cluster options")]
    pub(super) timeout: u16,
    /// Take over fields that somebody else has set.
    #[arg(long, help_heading = "Cluster options")]
    pub(super) force_conflicts: bool,
}

/// Give the authority to a cluster: apply the manifests and wait until cert-manager signs with it.
///
/// Checks first that cert-manager is there and works, and that no issuer of another type is in the way. Applying again
/// changes nothing.
#[derive(Debug, clap::Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    dir: Dir,
    #[command(flatten)]
    what: What,
    /// Let the server check everything; change nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    kube: Kube,
    #[command(flatten)]
    password: Password,
    #[command(flatten)]
    pub output: Output,
}

impl Apply {
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let home = Home::open(&self.dir.dir)?;
        let options = self.what.options();
        issuer::manifests(&home, &options, None, now()?)?;
        let cluster = self.kube.connect(context).await?;
        let documents = documents(&home, &options, false, &self.password)?;
        let job = issuer::Job {
            cluster: &cluster,
            documents: &documents,
            options: &options,
            limit: Duration::from_secs(self.waiting.timeout.into()),
            dry_run: self.dry_run,
            force: self.waiting.force_conflicts,
            charts: None,
            observer: &*context.observer,
        };
        let applied = issuer::apply(&job).await?;
        let report = json!({"cluster": cluster.place(), "dryRun": self.dry_run, "applied": applied});
        Ui { format: self.output.format }.print(&report, || applied_table(&applied)).map_err(OutputError)?;
        Ok(())
    }
}

/// Shows what became of objects.
pub(crate) fn applied_table(applied: &[Applied]) -> String {
    ui::table(
        &["object", "namespace", "result"],
        applied.iter().map(|one| {
            let outcome = match one.outcome {
                Outcome::Created => "created",
                Outcome::Configured => "configured",
                Outcome::Unchanged => "unchanged",
                Outcome::Skipped => "skipped",
            };
            let object = format!("{}/{}", one.kind.to_lowercase(), one.name);
            vec![object, one.namespace.clone().unwrap_or_default(), outcome.to_owned()]
        }),
    )
}

/// Tell what there is, how long it lasts and what needs attention; with a cluster, also what uses it.
///
/// Ends with exit code 1 when something has expired.
#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    #[command(flatten)]
    dir: Dir,
    /// Look into the cluster: which certificates name this authority.
    #[arg(long)]
    cluster: bool,
    /// The name of the ClusterIssuer.
    #[arg(long, value_name = "NAME", default_value = "enclave-ca")]
    name: String,
    #[command(flatten)]
    kube: Kube,
    #[command(flatten)]
    pub output: Output,
}

/// Something has expired.
#[derive(Debug, thiserror::Error)]
#[error("the authority needs attention now")]
struct Broken;

impl Classify for Broken {
    fn kind(&self) -> Kind {
        Kind::Answer
    }
}

/// Shows the certificates of an authority.
pub(super) fn table(status: &issuer::Status) -> String {
    ui::table(
        &["what", "name", "ends", "days left", ""],
        status.certificates.iter().map(|line| {
            let note = match (line.revoked, line.active) {
                (Some(_), _) => "revoked",
                (None, true) => "",
                (None, false) => "no longer in use",
            };
            let left = line.days_left.to_string();
            vec![line.role.to_owned(), line.name.clone(), day(line.not_after), left, note.to_owned()]
        }),
    )
}

impl Status {
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let home = Home::open(&self.dir.dir)?;
        let status = issuer::status(&home, now()?)?;
        let used = match self.cluster {
            true => {
                let cluster = self.kube.connect(context).await?;
                let mut issuers = vec![self.name.clone()];
                issuers.extend_from_slice(home.replaces());
                Some(issuer::in_use(&cluster, &issuers).await?)
            }
            false => None,
        };
        let report = json!({"status": status, "inUse": used});
        Ui { format: self.output.format }
            .print(&report, || {
                let mut text = format!("{}\nmay sign {}\n", table(&status), status.scope);
                if !status.replaces.is_empty() {
                    text.push_str(&format!("stands in for {}\n", status.replaces.join(", ")));
                }
                if status.root_key_here {
                    text.push_str("the root's key lies in this folder: take it off this machine\n");
                }
                if let Some(used) = &used {
                    text.push('\n');
                    text.push_str(&ui::table(
                        &["certificate", "issuer", "ready", "ends"],
                        used.iter().map(|one| {
                            let ready = if one.ready { "yes" } else { "no" };
                            let ends = one.not_after.clone().unwrap_or_default();
                            vec![format!("{}/{}", one.namespace, one.name), one.issuer.clone(), ready.to_owned(), ends]
                        }),
                    ));
                }
                text
            })
            .map_err(OutputError)?;
        for finding in &status.findings {
            context.observer.on(&Event::Noted(finding.clone()));
        }
        if status.is_broken() { Err(Broken.into()) } else { Ok(()) }
    }
}
