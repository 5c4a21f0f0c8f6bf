//! `bundle create`.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::json;

use super::{
    Context, Failure, OutputError,
    args::{Access, signing_keys},
    env, input,
    ui::{self, Format, Ui},
};
use crate::{
    archive::Time,
    error::{Classify, Diagnostic, Kind},
    event::Event,
    fetch, files,
    helm::Package,
    lock::{Difference, Lock},
    registry::{Credentials, Registries},
    resolve::{self, Job},
    store::Slots,
};

/// Resolve a spec, pull everything, and write one signed archive.
///
/// An interrupted create is continued by the same command: what has arrived is checked and kept.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The spec.
    #[arg(default_value = "bundle.yaml")]
    spec: PathBuf,
    /// The archive, by default NAME-VERSION.bundle.tar; `json`, `yaml` or `table` instead says how the result is printed (both may be given).
    #[arg(short, long, value_name = "FILE or FORMAT")]
    output: Vec<String>,
    /// Private key that signs the archive and its images; repeat for several. Without one the archive is not signed.
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// Use the lock as it is; fail when the spec would resolve to something else.
    #[arg(long)]
    locked: bool,
    /// Pin again what tags point at now: everything, or the images whose name holds one of these texts.
    #[arg(long, value_name = "NAME", num_args = 0.., conflicts_with = "locked")]
    update: Option<Vec<String>>,
    /// Show what would be pulled, with sizes; write nothing.
    #[arg(long)]
    dry_run: bool,
    /// When the archive should be replaced: days, hours or minutes after its creation time (needs SOURCE_DATE_EPOCH), such as 90d.
    #[arg(long, value_name = "AGE")]
    expires: Option<String>,
    #[command(flatten)]
    access: Access,
}

/// The spec would resolve to something else than its lock.
#[derive(Debug, thiserror::Error)]
#[error("{lock} does not match the spec: run `bundle resolve` and review the change")]
struct Unlocked {
    lock: String,
    diagnostics: Vec<Diagnostic>,
}

impl Classify for Unlocked {
    fn kind(&self) -> Kind {
        Kind::Answer
    }

    fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }
}

/// `--locked` without a lock.
#[derive(Debug, thiserror::Error)]
#[error("there is no {0}: run `bundle resolve` first")]
struct NoLock(String);

impl Classify for NoLock {
    fn kind(&self) -> Kind {
        Kind::Incomplete
    }
}

/// `--expires` without a time to count from, or with none that can be read.
#[derive(Debug, thiserror::Error)]
#[error("--expires {0}: {1}")]
struct BadExpiry(String, String);

impl Classify for BadExpiry {
    fn kind(&self) -> Kind {
        Kind::Usage
    }
}

impl Args {
    /// Returns how the result is printed.
    pub fn format(&self) -> Format {
        self.output.iter().find_map(|text| <Format as clap::ValueEnum>::from_str(text, false).ok()).unwrap_or_default()
    }

    fn target(&self, lock: &Lock) -> PathBuf {
        let is_file = |text: &&String| <Format as clap::ValueEnum>::from_str(text, false).is_err();
        match self.output.iter().find(is_file) {
            Some(path) => PathBuf::from(path),
            None => PathBuf::from(format!("{}-{}.bundle.tar", lock.name, lock.version)),
        }
    }

    fn expiry(&self, created: u64) -> Result<Option<Time>, Failure> {
        let Some(text) = &self.expires else { return Ok(None) };
        let bad = |why: &str| BadExpiry(text.clone(), why.to_owned());
        let age = crate::spec::duration(text).map_err(|error| bad(&error.to_string()))?;
        if created == 0 {
            return Err(
                bad("set SOURCE_DATE_EPOCH to the time of creation, so that the archive stays reproducible").into()
            );
        }
        let at = created.saturating_add(age.as_secs());
        Ok(Some(Time::from_seconds(at).map_err(|error| bad(&error.to_string()))?))
    }

    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let input = input::read(context, &self.spec)?;
        let created = env::source_date_epoch()?;
        let expires = self.expiry(created)?;
        // Deriving a key from a passphrase takes a while by design; meanwhile the spec is resolved.
        let keys = tokio::spawn(signing_keys(self.keys.clone()));
        let settings = self.access.settings(Some((&input.spec, &input.folder)));
        let registries = Registries::new(settings, Credentials::new(env::surroundings()), context.observer.clone())?;
        let job = Job {
            spec: &input.spec,
            folder: &input.folder,
            previous: input.lock.as_ref(),
            update: super::resolve::update(self.update.as_ref()),
            date: env::today()?,
            registries: &registries,
            jobs: usize::from(self.access.concurrency),
            observer: context.observer.as_ref(),
        };
        let (lock, charts, lock_written) = match self.locked {
            true => {
                let (lock, charts) = self.locked(&job, &input).await?;
                (lock, charts, None)
            }
            false => self.resolve(context, &job, &input).await?,
        };
        let keys = keys.await.unwrap_or_else(|_| Ok(Vec::new()))?;
        if keys.is_empty() && !self.dry_run {
            let text = "the archive is not signed, and `load` will refuse it without --insecure-skip-verify";
            context.observer.on(&Event::Noted(
                Diagnostic::warning("unsigned", text).hint("sign with --key; `bundle keygen` makes a key pair"),
            ));
        }
        let job = fetch::Job {
            lock: &lock,
            lock_text: Bytes::from(lock.to_text()),
            charts: &charts,
            folder: &input.folder,
            registries: &registries,
            keys: &keys,
            created: Time::from_seconds(created)
                .map_err(|error| BadExpiry("SOURCE_DATE_EPOCH".into(), error.to_string()))?,
            expires,
            slots: Slots::new(usize::from(self.access.concurrency)),
            observer: context.observer.clone(),
        };
        let planned = fetch::plan(&job).await;
        if let Some(written) = lock_written {
            written.await?;
        }
        let planned = planned?;
        for warning in &planned.warnings {
            context.observer.on(&Event::Noted(warning.clone()));
        }
        let target = self.target(&lock);
        if self.dry_run {
            return self.show_plan(&planned, &lock, &target);
        }
        self.pull(planned, &lock, &target).await
    }

    /// Resolves the spec and starts writing the lock, which the disk may take its time for.
    async fn resolve(
        &self,
        context: &Context,
        job: &Job<'_>,
        input: &input::Input,
    ) -> Result<(Lock, Vec<Package>, Option<impl Future<Output = Result<(), files::Error>> + use<>>), Failure> {
        let resolution = resolve::resolve(job).await?;
        for warning in resolution.warnings {
            context.observer.on(&Event::Noted(warning));
        }
        let text = resolution.lock.to_text();
        let unchanged = input.lock.as_ref().is_some_and(|before| before.to_text() == text);
        let written = (!self.dry_run && !unchanged).then(|| {
            let path = input.lock_path.clone();
            files::blocking(move || files::atomic_write(&path, text.as_bytes()))
        });
        Ok((resolution.lock, resolution.packages, written))
    }

    /// Compares what the spec asks for with the lock; needs no network but for inputs that are addresses.
    async fn locked(&self, job: &Job<'_>, input: &input::Input) -> Result<(Lock, Vec<Package>), Failure> {
        let lock_path = input.lock_path.display().to_string();
        let Some(lock) = input.lock.clone() else { return Err(NoLock(lock_path).into()) };
        let wanted = resolve::gather(job).await?;
        let mut differences = wanted.compare(job.spec, &lock);
        if differences.is_empty() {
            // The lock is a file like any other: whose signatures it claims is checked anew.
            let (checked, warnings) = resolve::verify(job, &lock).await?;
            warnings.into_iter().for_each(|warning| job.observer.on(&Event::Noted(warning)));
            differences = checked.compare(&lock);
        }
        if differences.is_empty() {
            return Ok((lock, wanted.packages));
        }
        let diagnostics =
            differences.iter().map(|one: &Difference| Diagnostic::error("unlocked", one.to_string())).collect();
        Err(Unlocked { lock: lock_path, diagnostics }.into())
    }

    fn show_plan(&self, planned: &fetch::Planned, lock: &Lock, target: &Path) -> Result<(), Failure> {
        let inventory = planned.layout.inventory();
        let report = json!({
            "dryRun": true, "archive": target.display().to_string(), "bytes": planned.layout.total(), "blobs": planned.layout.blobs().len(),
            "images": inventory.images, "charts": inventory.charts, "files": inventory.files,
        });
        Ui { format: self.format() }
            .print(&report, || {
                let mut text = ui::table_of_any(
                    &["image", "platforms", "size"],
                    inventory.images.iter().filter(|image| image.derived_from.is_none()).flat_map(|image| {
                        let platforms: Vec<String> = image
                            .platforms
                            .iter()
                            .filter_map(|one| one.platform.as_ref())
                            .map(ToString::to_string)
                            .collect();
                        let size = ui::size(image.platforms.iter().map(|one| one.size).sum());
                        image
                            .references
                            .iter()
                            .map(move |name| vec![name.to_string(), platforms.join(", "), size.clone()])
                    }),
                );
                if !inventory.charts.is_empty() {
                    text.push_str(ui::between(&text));
                    text.push_str(&ui::table(
                        &["chart", "version", "size", "source"],
                        inventory.charts.iter().map(|chart| {
                            let size = ui::size(chart.archive_size);
                            vec![chart.name.clone(), chart.version.clone(), size, chart.source.clone()]
                        }),
                    ));
                }
                text.push_str(&format!(
                    "\n{} would be {} with {}, each blob once\n",
                    target.display(),
                    ui::size(planned.layout.total()),
                    counted(lock)
                ));
                text
            })
            .map_err(OutputError)?;
        Ok(())
    }

    async fn pull(&self, planned: fetch::Planned, lock: &Lock, target: &Path) -> Result<(), Failure> {
        let pulled = fetch::pull(planned, target).await?;
        let report = json!({
            "archive": pulled.finished.path.display().to_string(), "bytes": pulled.finished.bytes, "digest": pulled.finished.bundle,
            "bundle": lock.name, "version": lock.version, "sequence": lock.sequence, "images": lock.images.len(), "charts": lock.charts.len(), "signed": !self.keys.is_empty(),
            "pulledBytes": pulled.copied.moved_bytes, "keptBytes": pulled.copied.kept_bytes,
        });
        Ui { format: self.format() }
            .print(&report, || {
                let signed = if self.keys.is_empty() { "not signed" } else { "signed" };
                format!(
                    "{}: {}, {}, {signed}\nbundle.json {}\n",
                    pulled.finished.path.display(),
                    ui::size(pulled.finished.bytes),
                    counted(lock),
                    pulled.finished.bundle,
                )
            })
            .map_err(OutputError)?;
        Ok(())
    }
}

/// Says how many images there are, and how many charts if there are any.
fn counted(lock: &Lock) -> String {
    let images = ui::count(lock.images.len(), "image");
    if lock.charts.is_empty() { images } else { format!("{images} and {}", ui::count(lock.charts.len(), "chart")) }
}
