//! `bundle verify`.

use std::{path::PathBuf, time::Instant};

use serde::Serialize;

use super::{
    Context, Failure, OutputError,
    args::{Output, Trust},
    env, opened,
    opened::Signers,
    ui,
    ui::Ui,
};
use crate::{
    archive::{self, Archive, Damage, Time},
    oci::Digest,
};

/// Check an archive: that trusted keys signed it, and that every byte of it is what they signed.
///
/// Ends with exit code 6 when it is not trusted, and with 5 when it is damaged; all damaged entries are named.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The archive.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    trust: Trust,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    archive: String,
    name: String,
    version: String,
    sequence: u64,
    created: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<Time>,
    /// The digest of `bundle.json`, which names the archive.
    bundle: Digest,
    #[serde(flatten)]
    signers: Signers,
    /// Whether every byte is what the inventory says.
    intact: bool,
    images: usize,
    charts: usize,
    files: usize,
    entries: usize,
    bytes: u64,
    seconds: f64,
    bytes_per_second: u64,
    damaged: Vec<Damaged>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Damaged {
    entry: String,
    fault: String,
    /// The images and charts that need it.
    images: Vec<String>,
}

impl From<&Damage> for Damaged {
    fn from(damage: &Damage) -> Self {
        Damaged { entry: damage.entry.clone(), fault: damage.fault.to_string(), images: damage.images.clone() }
    }
}

impl Args {
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let policy = self.trust.policy()?;
        let (archive, verdict) = opened::open(&self.file, policy.as_ref())?;
        opened::note_age(&archive, context, env::now());
        let started = Instant::now();
        // Hashing keeps processors busy, not the disk; more tasks than processors gain nothing.
        let concurrency = std::thread::available_parallelism().map_or(2, usize::from);
        let outcome = archive.verify_all(concurrency, &context.observer).await;
        let damage = match &outcome {
            Ok(_) => &[][..],
            Err(archive::Error::Damaged { damage, .. }) => damage.as_slice(),
            Err(_) => return Ok(outcome.map(drop)?),
        };
        let report = report(&archive, Signers::of(verdict.as_ref()), started.elapsed().as_secs_f64(), damage);
        Ui { format: self.output.format }.print(&report, || text(&report)).map_err(OutputError)?;
        Ok(outcome.map(drop)?)
    }
}

fn report(archive: &Archive, signers: Signers, seconds: f64, damage: &[Damage]) -> Report {
    let inventory = archive.inventory();
    let layout = archive.layout();
    // Three control files, the signatures, the blobs.
    let entries = 3 + archive.control().signatures.len() + layout.blobs().len();
    let bytes = layout.total();
    Report {
        archive: archive.path().display().to_string(),
        name: inventory.name.clone(),
        version: inventory.version.clone(),
        sequence: inventory.sequence,
        created: inventory.created,
        expires: inventory.expires,
        bundle: archive.control().digest(),
        signers,
        intact: damage.is_empty(),
        images: inventory.images.iter().filter(|image| image.derived_from.is_none()).count(),
        charts: inventory.charts.len(),
        files: inventory.files.len(),
        entries,
        bytes,
        seconds,
        bytes_per_second: if seconds > 0.0 { (bytes as f64 / seconds) as u64 } else { 0 },
        damaged: damage.iter().map(Damaged::from).collect(),
    }
}

fn text(report: &Report) -> String {
    let mut rows = vec![
        ["bundle".to_owned(), format!("{} {}, sequence {}", report.name, report.version, report.sequence)],
        ["digest".to_owned(), report.bundle.to_string()],
        [
            "signed by".to_owned(),
            match report.signers.verified {
                true => report.signers.text(),
                false => "not verified: anybody may have made it (--insecure-skip-verify)".to_owned(),
            },
        ],
    ];
    if let Some(expires) = report.expires {
        rows.push(["expires".to_owned(), expires.to_string()]);
    }
    let mut content = vec![ui::count(report.images, "image"), ui::count(report.files, "file")];
    if report.charts > 0 {
        content.insert(1, ui::count(report.charts, "chart"));
    }
    rows.push(["content".to_owned(), content.join(", ")]);
    let what = if report.intact { "intact" } else { "DAMAGED" };
    let rate = format!("{}/s", ui::size(report.bytes_per_second));
    let time = ui::duration(std::time::Duration::from_secs_f64(report.seconds));
    rows.push([
        "bytes".to_owned(),
        format!("{what}: {} entries, {} in {time}, {rate}", report.entries, ui::size(report.bytes)),
    ]);
    let mut text = ui::table(&["what", "value"], rows.into_iter().map(Vec::from));
    for one in &report.damaged {
        // Names stay whole, so that they can be searched for and copied.
        text.push_str(&format!("\n{}\n  {}\n", ui::clean(&one.entry), ui::clean(&one.fault)));
        if !one.images.is_empty() {
            text.push_str(&format!("  needed by {}\n", ui::clean(&one.images.join(", "))));
        }
    }
    text
}
