//! `bundle inspect`.

mod sheets;

use std::{collections::BTreeSet, path::PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::{
    Context, Failure, OutputError,
    args::Trust,
    env, opened,
    opened::Signers,
    ui::{self, Format, Ui},
};
use crate::{
    archive::{Archive, Attachment, Chart, Entry, FileEntry, Image, Inventory, LeftOut, PlatformManifest, Time},
    discover::{Finding, Step},
    lock::Verified,
    oci::{Digest, MediaType, Platform, Reference},
};

/// Show what is in an archive: images, charts, files, sizes, and why each is there.
///
/// Reads kilobytes, however large the archive is. Without --key nothing says who made it; with it, the signatures are
/// checked first. `bundle verify` checks every byte.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The archive.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Add the reasons for every image and chart, down to the line that names it.
    #[arg(long)]
    why: bool,
    /// Print only the names of the images, one per line, for scripts.
    #[arg(long, conflicts_with_all = ["why", "format"])]
    images: bool,
    #[command(flatten)]
    trust: Trust,
    /// Output format.
    #[arg(id = "format", short = 'o', long = "output", value_enum, default_value_t, value_name = "FORMAT")]
    output: Style,
}

/// How the result is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Style {
    /// For people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
    /// For spreadsheets: one line for each name of an image, each chart and each file.
    Csv,
    /// For documents and change requests.
    Markdown,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Contents<'a> {
    archive: String,
    archive_size: u64,
    /// The digest of `bundle.json`, which names the archive.
    bundle: Digest,
    #[serde(flatten)]
    signers: Signers,
    name: &'a str,
    version: &'a str,
    sequence: u64,
    created: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<Time>,
    tool: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<Digest>,
    platforms: &'a [Platform],
    #[serde(skip_serializing_if = "Option::is_none")]
    lock: Option<Digest>,
    totals: Totals,
    images: Vec<ImageRow<'a>>,
    charts: &'a [Chart],
    files: &'a [FileEntry],
    entries: &'a [Entry],
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Totals {
    images: usize,
    charts: usize,
    files: usize,
    /// What the images need, each byte once.
    image_bytes: u64,
    /// What several images need, each byte once.
    shared_bytes: u64,
    /// What the charts need, each byte once.
    chart_bytes: u64,
    file_bytes: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImageRow<'a> {
    references: &'a [Reference],
    digest: Digest,
    media_type: &'a MediaType,
    manifest_size: u64,
    /// Everything that it needs.
    size: u64,
    /// What other images need as well.
    shared: u64,
    platforms: &'a [PlatformManifest],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    left_out: &'a [LeftOut],
    #[serde(skip_serializing_if = "Option::is_none")]
    derived_from: Option<Digest>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    attachments: &'a [Attachment],
    /// Whose signatures were checked when the archive was made.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    verified: &'a [Verified],
    because: &'a Value,
}

impl Args {
    /// Returns how the result is printed.
    pub fn format(&self) -> Format {
        match self.output {
            Style::Json => Format::Json,
            Style::Yaml => Format::Yaml,
            Style::Table | Style::Csv | Style::Markdown => Format::Table,
        }
    }

    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        // Looking is free: who gives no key is shown the archive and told that nothing vouches for it.
        let policy = if self.trust.keys.is_empty() { None } else { self.trust.policy()? };
        let (archive, verdict) = opened::open(&self.file, policy.as_ref())?;
        if self.images {
            let named = archive.inventory().images.iter().filter(|image| image.derived_from.is_none());
            let lines: String = named.flat_map(|image| &image.references).map(|name| format!("{name}\n")).collect();
            return Ok(ui::write_all(lines.as_bytes()).map_err(OutputError)?);
        }
        opened::note_age(&archive, context, env::now());
        let contents = contents(&archive, Signers::of(verdict.as_ref()));
        let people = || match self.output {
            Style::Csv => sheets::csv(&contents),
            Style::Markdown => sheets::markdown(&contents),
            _ => text(&contents, self.why),
        };
        Ui { format: self.format() }.print(&contents, people).map_err(OutputError)?;
        Ok(())
    }
}

fn contents(archive: &Archive, signers: Signers) -> Contents<'_> {
    let inventory = archive.inventory();
    let (images, totals) = sizes(inventory);
    Contents {
        archive: archive.path().display().to_string(),
        archive_size: archive.layout().total(),
        bundle: archive.control().digest(),
        signers,
        name: &inventory.name,
        version: &inventory.version,
        sequence: inventory.sequence,
        created: inventory.created,
        expires: inventory.expires,
        tool: &inventory.tool,
        previous: inventory.previous,
        platforms: &inventory.platforms,
        lock: inventory.lock,
        totals,
        images,
        charts: &inventory.charts,
        files: &inventory.files,
        entries: &inventory.entries,
    }
}

/// Adds up what every image needs and what it shares with others. An index that was derived from another is the same
/// image to people, so the two share nothing.
fn sizes(inventory: &Inventory) -> (Vec<ImageRow<'_>>, Totals) {
    let mut rows: Vec<ImageRow<'_>> = inventory.images.iter().map(row).collect();
    let originals: Vec<Digest> = inventory.images.iter().map(|image| inventory.namesake(image).digest).collect();
    let mut totals = Totals {
        images: inventory.images.iter().filter(|image| image.derived_from.is_none()).count(),
        charts: inventory.charts.len(),
        files: inventory.files.len(),
        ..Totals::default()
    };
    for entry in &inventory.entries {
        let users: BTreeSet<Digest> =
            entry.images.iter().filter_map(|at| originals.get(*at as usize).copied()).collect();
        let shared = if users.len() > 1 { entry.size } else { 0 };
        if !users.is_empty() {
            totals.image_bytes += entry.size;
            totals.shared_bytes += shared;
        }
        if !entry.charts.is_empty() {
            totals.chart_bytes += entry.size;
        }
        for at in &entry.images {
            if let Some(row) = rows.get_mut(*at as usize) {
                row.size += entry.size;
                row.shared += shared;
            }
        }
    }
    let mut seen = BTreeSet::new();
    totals.file_bytes = inventory.files.iter().filter(|file| seen.insert(file.digest)).map(|file| file.size).sum();
    (rows, totals)
}

fn row(image: &Image) -> ImageRow<'_> {
    ImageRow {
        references: &image.references,
        digest: image.digest,
        media_type: &image.media_type,
        manifest_size: image.size,
        size: 0,
        shared: 0,
        platforms: &image.platforms,
        left_out: &image.left_out,
        derived_from: image.derived_from,
        attachments: &image.attachments,
        verified: &image.verified,
        because: &image.because,
    }
}

fn text(contents: &Contents<'_>, why: bool) -> String {
    let mut text = format!("{} {}, sequence {}", contents.name, contents.version, contents.sequence);
    // The epoch, the default of reproducible archives, stands for an unstated time.
    if contents.created.seconds() > 0 {
        text.push_str(&format!(", made {}", contents.created));
    }
    if let Some(expires) = contents.expires {
        text.push_str(&format!(", expires {expires}"));
    }
    text.push_str(&format!(", by {}\n", contents.tool));
    match contents.signers.verified {
        true => text.push_str(&format!("signed by {}\n", contents.signers.text())),
        false => text.push_str("not verified: no key was given (--key), so nothing says who made this archive\n"),
    }
    let mut text: String = text.lines().map(|line| ui::clean(line) + "\n").collect();
    let shown: Vec<&ImageRow<'_>> = contents.images.iter().filter(|image| image.derived_from.is_none()).collect();
    if !shown.is_empty() {
        text.push('\n');
        let headers = ["image", "platforms", "size", "shared", "digest", "why"];
        text.push_str(&ui::table(&headers, shown.iter().flat_map(|image| image_rows(image))));
    }
    if why {
        for image in &shown {
            text.push_str(&reasons(image));
        }
    }
    if !contents.charts.is_empty() {
        text.push('\n');
        text.push_str(&charts(contents.charts));
    }
    if why {
        for chart in contents.charts {
            text.push_str(&listed(&format!("chart {} {}", chart.name, chart.version), ways(&chart.because)));
        }
    }
    if !contents.files.is_empty() {
        text.push('\n');
        let rows = contents
            .files
            .iter()
            .map(|file| vec![file.path.to_string(), role(file), ui::size(file.size), file.digest.short()]);
        text.push_str(&ui::table(&["file", "what", "size", "digest"], rows));
    }
    text.push('\n');
    let Totals { images, charts, files, image_bytes, shared_bytes, chart_bytes, file_bytes } = contents.totals;
    let shared = match shared_bytes {
        0 => String::new(),
        shared => format!(", {} of them shared and counted once", ui::size(shared)),
    };
    text.push_str(&format!("{}: {}{shared}\n", ui::count(images, "image"), ui::size(image_bytes)));
    let checked = shown.iter().filter(|image| !image.verified.is_empty()).count();
    if checked > 0 {
        let keys: BTreeSet<String> =
            shown.iter().flat_map(|image| image.verified).map(|one| one.file.clone()).collect();
        let keys = keys.into_iter().collect::<Vec<_>>().join(", ");
        let (have, of) = (if checked == 1 { "has a signature" } else { "have signatures" }, ui::clean(&keys));
        text.push_str(&format!("{checked} of {images} {have} of upstream that was checked: {of}\n"));
    }
    if charts > 0 {
        text.push_str(&format!("{}: {}\n", ui::count(charts, "chart"), ui::size(chart_bytes)));
    }
    if files > 0 {
        text.push_str(&format!("{}: {}\n", ui::count(files, "file"), ui::size(file_bytes)));
    }
    text.push_str(&format!("archive: {}\n", ui::size(contents.archive_size)));
    text
}

fn role(file: &FileEntry) -> String {
    serde_json::to_value(file.role).ok().and_then(|role| role.as_str().map(str::to_owned)).unwrap_or_default()
}

/// One row with everything, and one for each further name.
fn image_rows(image: &ImageRow<'_>) -> Vec<Vec<String>> {
    let mut platforms: Vec<String> =
        image.platforms.iter().map(|one| one.platform.as_ref().map_or("any".to_owned(), Platform::to_string)).collect();
    platforms.dedup();
    let mut platforms = platforms.join(", ");
    if !image.left_out.is_empty() {
        platforms.push_str(&format!(" ({} left out)", image.left_out.len()));
    }
    let because = findings(image.because).len().to_string();
    let mut names = image.references.iter().map(ToString::to_string);
    let first = names.next().unwrap_or_default();
    let mut rows =
        vec![vec![first, platforms, ui::size(image.size), ui::size(image.shared), image.digest.short(), because]];
    rows.extend(
        names.map(|name| vec![name, String::new(), String::new(), String::new(), String::new(), String::new()]),
    );
    rows
}

fn reasons(image: &ImageRow<'_>) -> String {
    let name = image.references.first().map(ToString::to_string).unwrap_or_default();
    let mut lines: Vec<String> =
        image.verified.iter().map(|one| format!("signed by {}", opened::signature(one))).collect();
    lines.extend(findings(image.because));
    listed(&name, lines)
}

fn listed(name: &str, reasons: Vec<String>) -> String {
    let mut text = format!("\n{}\n", ui::clean(name));
    for reason in reasons {
        text.push_str(&format!("  {}\n", ui::clean(&reason)));
    }
    text
}

/// One row for each chart, and one for each chart that was put into it.
fn charts(charts: &[Chart]) -> String {
    let rows = charts.iter().flat_map(|chart| {
        let app = chart.app_version.clone().unwrap_or_default();
        let why = ways(&chart.because).len().to_string();
        let size = ui::size(chart.archive_size);
        let (name, version, digest) = (chart.name.clone(), chart.version.clone(), chart.digest.short());
        let own = vec![name, version, app, size, digest, why, chart.source.clone()];
        let vendored = chart.vendored.iter().map(|one| {
            let (path, digest) = (format!("{} (vendored)", one.path), one.archive.short());
            vec![path, one.version.clone(), String::new(), String::new(), digest, String::new(), one.source.clone()]
        });
        std::iter::once(own).chain(vendored).collect::<Vec<_>>()
    });
    ui::table(&["chart", "version", "app", "size", "digest", "why", "source"], rows)
}

/// Returns the ways from the spec to a chart in one line each; what is none of today's form is shown as it stands.
fn ways(because: &Value) -> Vec<String> {
    let one = |value: &Value| match serde_json::from_value::<Vec<Step>>(value.clone()) {
        Ok(steps) => steps.iter().map(Step::to_string).collect::<Vec<_>>().join(" → "),
        Err(_) => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
    };
    match because {
        Value::Array(values) => values.iter().map(one).collect(),
        Value::Null => Vec::new(),
        other => vec![one(other)],
    }
}

/// Returns the reasons in one line each; what is none of today's form is shown as it stands.
fn findings(because: &Value) -> Vec<String> {
    let one = |value: &Value| match serde_json::from_value::<Finding>(value.clone()) {
        Ok(finding) => format!("{finding} ({}, written {:?})", finding.confidence, finding.written),
        Err(_) => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
    };
    match because {
        Value::Array(values) => values.iter().map(one).collect(),
        Value::Null => Vec::new(),
        other => vec![one(other)],
    }
}
