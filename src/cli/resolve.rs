//! `bundle resolve`.

use std::path::PathBuf;

use serde_json::json;

use super::{
    Context, Failure, OutputError,
    args::{Access, Output},
    env, input, ui,
    ui::Ui,
};
use crate::{
    discover::Step,
    event::Event,
    files,
    lock::Lock,
    registry::{Credentials, Registries},
    resolve::{Job, Update, resolve},
};

/// Find every image that a spec needs, pin each to a digest, and write bundle.lock beside the spec.
///
/// Images that the lock pins already keep their digest until --update moves them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The spec.
    #[arg(default_value = "bundle.yaml")]
    spec: PathBuf,
    /// Pin again what tags point at now: everything, or the images whose name holds one of these texts.
    #[arg(long, value_name = "NAME", num_args = 0..)]
    update: Option<Vec<String>>,
    /// Show what would change; write nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    pub output: Output,
}

pub(super) fn update(given: Option<&Vec<String>>) -> Update {
    match given {
        None => Update::Nothing,
        Some(names) if names.is_empty() => Update::Everything,
        Some(names) => Update::Matching(names.clone()),
    }
}

impl Args {
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let input = input::read(context, &self.spec)?;
        let settings = self.access.settings(Some((&input.spec, &input.folder)));
        let registries = Registries::new(settings, Credentials::new(env::surroundings()), context.observer.clone())?;
        let job = Job {
            spec: &input.spec,
            folder: &input.folder,
            previous: input.lock.as_ref(),
            update: update(self.update.as_ref()),
            date: env::today()?,
            registries: &registries,
            jobs: usize::from(self.access.concurrency),
            observer: context.observer.as_ref(),
        };
        let resolution = resolve(&job).await?;
        for warning in resolution.warnings {
            context.observer.on(&Event::Noted(warning));
        }
        let lock = resolution.lock;
        let changes = input.lock.as_ref().map(|before| lock.compare(before));
        if !self.dry_run {
            files::atomic_write(&input.lock_path, lock.to_text().as_bytes())?;
        }
        let report = json!({
            "lock": input.lock_path.display().to_string(), "written": !self.dry_run, "bundle": lock.name, "version": lock.version,
            "sequence": lock.sequence, "platforms": lock.platforms, "charts": lock.charts, "images": lock.images, "notCarried": lock.not_carried, "files": lock.files, "changes": changes,
        });
        Ui { format: self.output.format }
            .print(&report, || {
                let mut text = charts(&lock);
                text.push_str(&images(&lock));
                text.push_str(&not_carried(&lock));
                if let Some(changes) = &changes {
                    for change in changes {
                        text.push_str(&format!("* {}\n", ui::clean(&change.to_string())));
                    }
                }
                let done = if self.dry_run { "would be written to" } else { "in" };
                text.push_str(&format!(
                    "\n{}, {}, {} {done} {}\n",
                    ui::count(lock.charts.len(), "chart"),
                    ui::count(lock.images.len(), "image"),
                    ui::count(lock.files.len(), "file set"),
                    input.lock_path.display()
                ));
                text
            })
            .map_err(OutputError)?;
        Ok(())
    }
}

/// Shows the charts of a lock; nothing when there are none.
fn charts(lock: &Lock) -> String {
    if lock.charts.is_empty() {
        return String::new();
    }
    let table = ui::table(
        &["chart", "version", "digest", "size", "inside", "source"],
        lock.charts.iter().map(|chart| {
            vec![
                chart.chart.clone(),
                chart.version.clone(),
                chart.digest.short(),
                ui::size(chart.size),
                chart.vendored.len().to_string(),
                chart.source.clone(),
            ]
        }),
    );
    format!("{table}\n")
}

/// Shows what was found and is not carried; nothing when there is nothing.
fn not_carried(lock: &Lock) -> String {
    if lock.not_carried.is_empty() {
        return String::new();
    }
    let table = ui::table(
        &["not carried", "why", "class", "with", "first reason"],
        lock.not_carried.iter().map(|one| {
            let first = one.because.first();
            let set = one.because.iter().flat_map(|reason| &reason.provenance).find_map(|step| match step {
                Step::Set { .. } => Some(step.to_string()),
                _ => None,
            });
            vec![
                one.image.to_string(),
                one.by.as_ref().map_or_else(|| one.why.to_string(), |by| format!("{} by {by}", one.why)),
                first.map(|reason| reason.confidence.to_string()).unwrap_or_default(),
                set.unwrap_or_default(),
                one.reason.clone().or_else(|| first.map(ToString::to_string)).unwrap_or_default(),
            ]
        }),
    );
    format!("\n{table}")
}

/// Shows the images of a lock.
fn images(lock: &Lock) -> String {
    ui::table(
        &["image", "digest", "class", "reasons", "first reason"],
        lock.images.iter().map(|image| {
            // The best class decides; the first reason of that class stands for all.
            let first = image.because.iter().min_by_key(|reason| reason.confidence);
            vec![
                image.image.to_string(),
                image.digest.short(),
                first.map(|reason| reason.confidence.to_string()).unwrap_or_default(),
                image.because.len().to_string(),
                first.map(ToString::to_string).unwrap_or_default(),
            ]
        }),
    )
}
