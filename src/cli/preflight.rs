//! `bundle preflight`.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{
    Context, Failure, OutputError,
    args::{Access, Login, Output, Trust},
    env, ui,
    ui::Ui,
};
use crate::{
    archive::{Archive, Unverified, admit},
    cluster,
    error::{Classify, Kind},
    files::{self, Limits as FileLimits},
    helm::{self, Ambient, Capabilities, Chart, KeySource, Limits, Origin, Overrides, Release, Time},
    kube::object::{is_manifest_file, objects},
    load::{LoadPlan, plan, receipt},
    names::{Layout, Target},
    preflight::{
        Carried, Check, Needs, Outcome, Push, Report, Subject, check_cluster, check_names, check_registry,
        check_version, id,
    },
    registry::Registries,
    resolve::charts::{unpack, unpack_inner},
    trust::{FreshnessPolicy, Policy, freshness},
};

/// The largest text of manifests that is read.
const MAX_MANIFESTS: u64 = 64 << 20;
/// The largest chart archive that is read: the largest of a thousand public ones has 3 MB.
const MAX_CHART: u64 = 64 << 20;
/// How often a request is tried again: a check should say soon what a load would wait for.
const RETRIES: usize = 2;

/// Find out whether the enclave is ready, before anything is changed.
///
/// Everything is checked in one run: the archive, the registry (name, certificate, clock, rights, paths, content), and with
/// --cluster the cluster (API versions, definitions, cert-manager, storage and ingress classes, rights, nodes). What could
/// not be found out is said, not taken for good. To learn whether it may push, an upload is opened in each repository and
/// given up before anything was sent.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").args(["file", "to", "cluster", "manifests"]).required(true).multiple(true))]
pub(crate) struct Args {
    /// The archive that will be loaded.
    file: Option<PathBuf>,
    /// Where it will be loaded: HOST[:PORT][/PREFIX].
    #[arg(long, value_name = "TARGET")]
    to: Option<Target>,
    /// Names in the target: source (host and full path), host, flat, or depth=N path components.
    #[arg(long, value_name = "LAYOUT", default_value = "source")]
    layout: Layout,
    /// Do not open uploads to learn whether pushing is allowed. (Quay makes an empty repository for each.)
    #[arg(long)]
    no_upload_probe: bool,
    /// Folder in which `bundle serve --data` will keep its content: is there room for the archive?
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Kubernetes manifests that will be applied: a file, a folder, or - for standard input; repeat for several. Without it
    /// the charts of the archive are rendered with their own values.
    #[arg(long, value_name = "PATH")]
    manifests: Vec<PathBuf>,
    /// Check the cluster too.
    #[arg(long, help_heading = "Cluster options")]
    cluster: bool,
    /// The kubeconfig to use instead of KUBECONFIG and ~/.kube/config.
    #[arg(long, value_name = "FILE", requires = "cluster", help_heading = "Cluster options")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig to use instead of the current one.
    #[arg(long, value_name = "NAME", requires = "cluster", help_heading = "Cluster options")]
    context: Option<String>,
    /// Without --cluster: the Kubernetes version that the objects are held against, such as 1.34.
    #[arg(long, value_name = "VERSION", help_heading = "Cluster options")]
    kube_version: Option<String>,
    /// Let warnings and what could not be checked count as failures.
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    trust: Trust,
    #[command(flatten)]
    login: Login,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    pub output: Output,
}

/// The enclave is not ready.
#[derive(Debug, thiserror::Error)]
#[error("not ready: {what}")]
struct NotReady {
    what: String,
    kind: Kind,
}

impl Classify for NotReady {
    fn kind(&self) -> Kind {
        self.kind
    }
}

/// A version that is none.
#[derive(Debug, thiserror::Error)]
#[error("--kube-version {0}: expected a version such as 1.34")]
struct BadVersion(String);

impl Classify for BadVersion {
    fn kind(&self) -> Kind {
        Kind::Usage
    }
}

impl Args {
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let mut checks = Vec::new();
        let version = self.kube_version.as_deref().map(|text| parse_version(text).ok_or(BadVersion(text.to_owned())));
        let version = version.transpose()?;
        let archive = match &self.file {
            Some(file) => self.admit(file, &mut checks)?,
            None => None,
        };
        let mut planned = None;
        if let (Some(archive), Some(target)) = (&archive, &self.to) {
            match plan(archive, target.clone(), self.layout).await {
                Ok(plan) => planned = Some(plan),
                Err(error) => checks.push(
                    Check::failure(id::NAMES, error.to_string())
                        .remedy("choose another --layout or prefix")
                        .of_kind(if error.kind() == Kind::Usage { Kind::Answer } else { error.kind() }),
                ),
            }
        }
        let pushes = planned.as_ref().map(|plan| pushes(plan, archive.as_ref())).unwrap_or_default();
        if planned.is_some() {
            checks
                .push(Check::ok(id::NAMES, format!("{} have a place in the target", ui::count(pushes.len(), "item"))));
        }
        checks.extend(self.disk(archive.as_ref()));
        let needs = self.needs(archive.as_ref(), &mut checks).await?;
        let known = needs.objects() > 0;
        let registry = async {
            let Some(target) = &self.to else { return Ok::<_, Failure>(Vec::new()) };
            let mut settings = self.access.settings(None);
            settings.retry.retries = settings.retry.retries.min(RETRIES);
            settings.retry.retries_unreached = 0;
            let credentials = self.login.credentials(&target.host)?;
            let registries = Registries::new(settings, credentials, context.observer.clone())?;
            let further = planned.iter().map(|plan| plan.state.clone()).collect();
            let at_once = usize::from(self.access.concurrency);
            let try_uploads = !self.no_upload_probe;
            let subject = Subject { registries: &registries, target, pushes: &pushes, further, try_uploads, at_once };
            Ok(check_registry(&subject).await)
        };
        let of_cluster = async {
            if !self.cluster {
                return version.filter(|_| known).map(|version| check_version(&needs, version)).unwrap_or_default();
            }
            let options = cluster::Options {
                kubeconfig: self.kubeconfig.clone(),
                context: self.context.clone(),
                environment: env::surroundings(),
            };
            let cert_manager = archive
                .iter()
                .any(|archive| archive.inventory().charts.iter().any(|chart| chart.name == "cert-manager"));
            let carried = Carried { pushes: &pushes, cert_manager, objects: known };
            check_cluster(&options, context.observer.clone(), &needs, carried).await
        };
        let (registry, of_cluster, names) = tokio::join!(registry, of_cluster, check_names(&needs));
        checks.extend(registry?);
        checks.extend(of_cluster);
        checks.extend(names);
        self.tell(Report::new(checks))
    }

    /// Opens the archive; what is wrong with it is a finding, and its content is then not looked at.
    fn admit(&self, file: &Path, checks: &mut Vec<Check>) -> Result<Option<Archive>, Failure> {
        let unasked = self.trust.keys.is_empty();
        let policy: Option<Policy> = if unasked { None } else { self.trust.policy()? };
        let admitted =
            Unverified::open(file).map_err(Failure::from).and_then(|found| Ok(admit(found, policy.as_ref())?));
        let (archive, verdict) = match admitted {
            Ok(admitted) => admitted,
            Err(error) => {
                checks.push(Check::failure(id::ARCHIVE, error.to_string()).of_kind(error.kind()));
                return Ok(None);
            }
        };
        let inventory = archive.inventory();
        let name = format!("{} {}", inventory.name, inventory.version);
        checks.push(match &verdict {
            Some(verdict) => {
                let signers: Vec<String> = verdict.signers().map(|key| key.fingerprint()).collect();
                Check::ok(id::ARCHIVE, format!("{name} is signed by {}", signers.join(", ")))
            }
            None => Check::unchecked(id::ARCHIVE, format!("nothing says who made {name}"))
                .remedy("give --key FILE: load wants it too"),
        });
        let now = i64::try_from(env::now()).ok().and_then(|now| jiff::Timestamp::from_second(now).ok());
        if let Some(now) = now {
            checks.extend(
                match freshness(
                    &receipt::facts(archive.inventory(), archive.control().digest()),
                    None,
                    now,
                    &FreshnessPolicy::default(),
                ) {
                    Ok(warnings) if warnings.is_empty() => {
                        let until =
                            inventory.expires.map_or_else(|| "without end".to_owned(), |end| format!("until {end}"));
                        vec![Check::ok(id::ARCHIVE_AGE, format!("made {}, to be used {until}", inventory.created))]
                    }
                    Ok(warnings) => {
                        warnings.iter().map(|one| Check::warning(id::ARCHIVE_AGE, one.message.clone())).collect()
                    }
                    Err(refusal) => vec![
                        Check::failure(id::ARCHIVE_AGE, refusal.to_string())
                            .remedy("make a new archive, or set this machine's clock")
                            .of_kind(refusal.kind()),
                    ],
                },
            );
        }
        Ok(Some(archive))
    }

    fn disk(&self, archive: Option<&Archive>) -> Option<Check> {
        let folder = self.data.as_ref()?;
        let Some(free) = files::free_space(folder) else {
            return Some(Check::unchecked(
                id::DISK,
                format!("{}: the system does not say how much is free", folder.display()),
            ));
        };
        let Some(archive) = archive else {
            return Some(Check::unchecked(
                id::DISK,
                format!("{} free in {}; there is no archive to compare", ui::size(free), folder.display()),
            ));
        };
        let needed = archive.layout().total();
        let text = format!(
            "{} needs {}, and {} are free in {}",
            archive.inventory().name,
            ui::size(needed),
            ui::size(free),
            folder.display()
        );
        Some(match free > needed {
            true => Check::ok(id::DISK, text),
            false => Check::failure(id::DISK, text).remedy("free room, or give a folder on another disk"),
        })
    }

    /// Gathers what the deployment asks of a cluster: from the manifests that were given, else from the charts.
    async fn needs(&self, archive: Option<&Archive>, checks: &mut Vec<Check>) -> Result<Needs, Failure> {
        let mut needs = Needs::default();
        for path in &self.manifests {
            for (name, text) in texts(path)? {
                match objects(&name, &text) {
                    Ok(found) => needs.learn(&found, None, None),
                    Err(mistakes) => checks.extend(mistakes.iter().map(|mistake| {
                        Check::failure(id::OBJECTS, mistake.to_string())
                            .remedy("give manifests as kubectl reads them")
                            .of_kind(Kind::Usage)
                    })),
                }
            }
        }
        let charts = archive.filter(|_| self.manifests.is_empty()).map(|archive| archive.inventory().charts.as_slice());
        for chart in charts.unwrap_or_default() {
            let name = format!("{} {}", chart.name, chart.version);
            let rendered = match archive.map(|archive| archive.read(&chart.archive, MAX_CHART)) {
                Some(Ok(bytes)) => {
                    let (capabilities, place) = (self.capabilities(), format!("{name}.tgz"));
                    files::blocking(move || render(Path::new(&place), &bytes, capabilities)).await
                }
                Some(Err(error)) => Err(error.to_string()),
                None => continue,
            };
            match rendered {
                Ok(texts) => {
                    for (file, text) in texts {
                        // What a chart writes that is no object is the business of whoever installs it.
                        if let Ok(found) = objects(&file, &text) {
                            needs.learn(&found, Some(&name), None);
                        }
                    }
                }
                Err(why) => checks.push(
                    Check::unchecked(id::OBJECTS, format!("{name} does not render with its own values: {why}"))
                        .remedy("give what will be applied: helm template … | bundle preflight --manifests -"),
                ),
            }
        }
        if needs.objects() > 0 {
            let values = if self.manifests.is_empty() { ", from charts with their own values" } else { "" };
            checks.push(Check::ok(id::OBJECTS, format!("{} were read{values}", ui::count(needs.objects(), "object"))));
        }
        Ok(needs)
    }

    fn capabilities(&self) -> Capabilities {
        let capabilities = Capabilities::default();
        match &self.kube_version {
            // Checked at the start; a version that helm reads differently leaves its default.
            Some(version) => capabilities.clone().with_kube_version(version).unwrap_or(capabilities),
            None => capabilities,
        }
    }

    fn tell(&self, report: Report) -> Result<(), Failure> {
        let verdict = report.verdict(self.strict);
        let counts =
            [Outcome::Ok, Outcome::Warning, Outcome::CouldNotCheck, Outcome::Failure].map(|one| report.count(one));
        let [fine, warnings, unknown, failures] = counts;
        let value = json!({"ready": verdict.is_none(), "ok": fine, "warnings": warnings, "couldNotCheck": unknown,
            "failures": failures, "checks": report.checks});
        Ui { format: self.output.format }.print(&value, || people(&report, counts)).map_err(OutputError)?;
        match verdict {
            None => Ok(()),
            Some(kind) => {
                let what = format!(
                    "{}, {}, {unknown} could not be checked",
                    ui::count(failures, "failure"),
                    ui::count(warnings, "warning")
                );
                Err(NotReady { what, kind }.into())
            }
        }
    }
}

/// Lays out the report: a line for each check, its remedy below.
fn people(report: &Report, [fine, warnings, unknown, failures]: [usize; 4]) -> String {
    const NAME: usize = 16;
    const OUTCOME: usize = 16;
    let indent = "PRE000  ".len() + NAME + OUTCOME;
    let room = usize::from(ui::width()).saturating_sub(indent).max(40);
    let mut text = String::new();
    for check in &report.checks {
        let head = format!("{}  {:NAME$}{:OUTCOME$}", check.id, check.name, check.outcome.label());
        let remedy = check.remedy.iter().flat_map(|remedy| ui::wrapped(&format!("-> {}", ui::clean(remedy)), room));
        for (at, line) in ui::wrapped(&ui::clean(&check.message), room).into_iter().chain(remedy).enumerate() {
            let before = if at == 0 { head.clone() } else { " ".repeat(indent) };
            text.push_str(&format!("{before}{line}\n"));
        }
    }
    text.push_str(&format!(
        "\n{fine} ok, {}, {unknown} could not be checked, {}; nothing was changed\n",
        ui::count(warnings, "warning"),
        ui::count(failures, "failure")
    ));
    text
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim_start_matches('v').split(['.', '-', '+']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Says what a load would push: the images, the charts and the files.
fn pushes(plan: &LoadPlan, archive: Option<&Archive>) -> Vec<Push> {
    let platforms = |digest: &crate::oci::Digest| {
        let images = archive.map(|archive| archive.inventory().images.as_slice()).unwrap_or_default();
        let image = images.iter().find(|image| image.digest == *digest);
        let known = image.iter().flat_map(|image| &image.platforms).filter_map(|one| one.platform.clone());
        known.filter(|platform| !platform.is_unknown()).collect()
    };
    let pushed = |source: String, repository: &crate::oci::Repository, digest: crate::oci::Digest| {
        let blobs = plan.contents(&digest);
        let root = blobs.iter().find(|blob| blob.digest == digest)?.clone();
        Some(Push {
            source,
            repository: repository.clone(),
            root,
            blobs,
            sparse: false,
            derived: false,
            platforms: Vec::new(),
        })
    };
    let images = plan.images.iter().filter_map(|image| {
        let push = pushed(image.source.clone(), &image.repository, image.digest)?;
        let (sparse, derived) = (image.sparse, image.derived.is_some());
        Some(Push { sparse, derived, platforms: platforms(&image.digest), ..push })
    });
    let charts = plan
        .charts
        .iter()
        .filter_map(|chart| pushed(format!("chart {} {}", chart.name, chart.version), &chart.repository, chart.digest));
    let files = plan.files.iter().map(|set| {
        let (root, blobs) = set.contents();
        let source = format!("files {}", set.name);
        Push {
            source,
            repository: set.repository.clone(),
            root,
            blobs,
            sparse: false,
            derived: false,
            platforms: Vec::new(),
        }
    });
    images.chain(charts).chain(files).collect()
}

fn texts(path: &Path) -> Result<Vec<(String, String)>, Failure> {
    let name = path.display().to_string();
    let as_text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if name == "-" {
        let mut bytes = Vec::new();
        let read = std::io::stdin().take(MAX_MANIFESTS).read_to_end(&mut bytes);
        read.map_err(|cause| env::Error::Read { what: "manifests from standard input".to_owned(), cause })?;
        return Ok(vec![("standard input".to_owned(), as_text(&bytes))]);
    }
    if !files::is_folder(path) {
        return Ok(vec![(name, as_text(&files::read_limited(path, MAX_MANIFESTS)?))]);
    }
    let limits = FileLimits { file_bytes: MAX_MANIFESTS, ..FileLimits::default() };
    let tree = files::read_tree(path, &limits, &|path, is_folder| is_folder || is_manifest_file(path.name()))?;
    Ok(tree.iter().map(|(inner, bytes)| (format!("{name}/{inner}"), as_text(bytes))).collect())
}

/// Renders a chart of the archive with its own values; returns its documents with where they come from.
fn render(place: &Path, bytes: &bytes::Bytes, capabilities: Capabilities) -> Result<Vec<(String, String)>, String> {
    let tree = unpack(place, bytes).map_err(|error| error.to_string())?;
    let chart = Chart::load(&tree, Origin::Archive, &unpack_inner).map_err(|error| error.to_string())?;
    let release = Release::new(chart.name(), "default");
    let ambient = Ambient { now: Time::unix(0), random: [0; 32], keys: KeySource::Sample };
    let options = helm::Options::default();
    let rendered =
        helm::render(&chart, &Overrides::new(), &release, &capabilities, &ambient, &Limits::default(), &options)
            .map_err(|error| error.to_string())?;
    let hooks = rendered.hooks.into_iter().filter(|hook| !hook.is_test()).map(|hook| hook.manifest);
    let documents = rendered.manifests.into_iter().chain(hooks).map(|one| (one.template, one.text));
    Ok(documents.chain(rendered.crds.into_iter().map(|crd| (crd.path, crd.text))).collect())
}
