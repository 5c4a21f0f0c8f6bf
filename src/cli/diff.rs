//! `bundle diff`.

mod sections;

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{
    Context, Failure, OutputError,
    args::{Access, Trust},
    env, input, opened,
    ui::{self, Format, Ui},
};
use crate::{
    audit::{self, Coverage, Diff, Snapshot},
    error::{Classify, Diagnostic, Kind},
    event::Event,
    files::{self, Positional},
    lock::Lock,
    peers::{self, Peer},
    registry::{Credentials, Registries},
    resolve::{Job, Update, resolve},
};

/// Tell what changed between two archives, locks or specs, or what a list that is kept by hand misses.
///
/// OLD may also be a list of images (one per line, or YAML with `images:`), a zarf.yaml, an ImageSetConfiguration of
/// oc-mirror or a Hauler manifest: then the answer is what it misses of what NEW needs, with the reasons, and what in it is
/// stale. A spec is resolved as `bundle resolve` does, keeping the pins of its lock, and nothing is written.
///
/// Ends with exit code 1 when there are differences.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// An archive, a lock, a spec, or a list of another tool.
    old: PathBuf,
    /// An archive, a lock or a spec.
    #[arg(default_value = "bundle.yaml")]
    new: PathBuf,
    /// Take the lock beside a spec as it is, without resolving.
    #[arg(long)]
    locked: bool,
    /// Output format.
    #[arg(short = 'o', long = "output", value_enum, default_value_t, value_name = "FORMAT")]
    output: Style,
    #[command(flatten)]
    trust: Trust,
    #[command(flatten)]
    access: Access,
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
    /// For pull requests.
    Markdown,
}

/// The two sides are not the same.
#[derive(Debug, thiserror::Error)]
#[error("{old} and {new} differ: {summary}")]
struct Differs {
    old: String,
    new: String,
    summary: String,
}

impl Classify for Differs {
    fn kind(&self) -> Kind {
        Kind::Answer
    }
}

/// A side that cannot be compared.
#[derive(Debug, thiserror::Error)]
enum BadSide {
    #[error("{0} is a {1}: give it first, and behind it the archive, lock or spec that it is compared with")]
    ListSecond(String, peers::Tool),
    #[error("{0} is a folder: name the archive, the lock or the spec in it")]
    Folder(String),
    #[error("there is no lock beside {0}: run `bundle resolve`, or leave out --locked")]
    NoLock(String),
    #[error("{0} is not UTF-8 text, and no archive either")]
    NotText(String),
}

impl Classify for BadSide {
    fn kind(&self) -> Kind {
        match self {
            BadSide::NoLock(_) => Kind::Incomplete,
            _ => Kind::Usage,
        }
    }
}

/// One side, read.
struct Side {
    place: String,
    what: &'static str,
    content: Content,
}

enum Content {
    Bundle(Box<Snapshot>),
    List(Peer),
}

/// One side, as the report names it.
#[derive(Serialize)]
struct Named {
    place: String,
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
}

#[derive(Serialize)]
struct Report<'a> {
    old: Named,
    new: Named,
    differs: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<&'a Diff>,
    #[serde(skip_serializing_if = "Option::is_none")]
    coverage: Option<&'a Coverage>,
}

impl Side {
    fn named(&self) -> Named {
        let (name, version, sequence) = match &self.content {
            Content::Bundle(snapshot) => {
                (Some(snapshot.name.clone()), Some(snapshot.version.clone()), Some(snapshot.sequence))
            }
            Content::List(peer) => (peer.name.clone(), peer.version.clone(), None),
        };
        Named { place: self.place.clone(), what: self.what, name, version, sequence }
    }
}

/// The largest lock, spec or list that is read.
const MAX_TEXT: u64 = 64 << 20;
/// Where tar archives say that they are some, and what they say there (POSIX.1-1988, ustar header).
const TAR_MAGIC: (u64, &[u8; 5]) = (257, b"ustar");

impl Args {
    /// Returns how the result is printed.
    pub fn format(&self) -> Format {
        match self.output {
            Style::Json => Format::Json,
            Style::Yaml => Format::Yaml,
            Style::Table | Style::Markdown => Format::Table,
        }
    }

    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let old = self.side(context, &self.old).await?;
        let new = self.side(context, &self.new).await?;
        let needed = match &new.content {
            Content::Bundle(snapshot) => snapshot,
            Content::List(peer) => return Err(BadSide::ListSecond(new.place.clone(), peer.tool).into()),
        };
        let (changes, coverage) = match &old.content {
            Content::Bundle(before) => (Some(audit::diff(before, needed)), None),
            Content::List(list) => (None, Some(audit::coverage(list, needed))),
        };
        let sections = match (&changes, &coverage) {
            (Some(diff), _) => sections::of_diff(diff),
            (None, Some(coverage)) => sections::of_coverage(coverage),
            (None, None) => sections::Sections::default(),
        };
        let differs = !changes.as_ref().is_none_or(Diff::is_empty) || !coverage.as_ref().is_none_or(Coverage::is_exact);
        let report = Report {
            old: old.named(),
            new: new.named(),
            differs,
            changes: changes.as_ref(),
            coverage: coverage.as_ref(),
        };
        let people = || match self.output {
            Style::Markdown => sections.markdown(&old.place, &new.place),
            _ => sections.text(&old.place, &new.place),
        };
        Ui { format: self.format() }.print(&report, people).map_err(OutputError)?;
        if !differs {
            return Ok(());
        }
        Err(Differs { old: old.place, new: new.place, summary: sections.summary }.into())
    }

    /// Reads one side; what it is, its content says.
    async fn side(&self, context: &Context, path: &Path) -> Result<Side, Failure> {
        let place = path.display().to_string();
        if files::is_folder(path) {
            return Err(BadSide::Folder(place).into());
        }
        if is_archive(path)? {
            let content = Content::Bundle(Box::new(self.archive(context, path)?));
            return Ok(Side { place, what: "archive", content });
        }
        let bytes = files::read_limited(path, MAX_TEXT)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| BadSide::NotText(place.clone()))?;
        let (what, content) = match ours(text) {
            Some("Lock") => ("lock", Content::Bundle(Box::new(Snapshot::from(&Lock::parse(&place, text)?)))),
            Some(_) => ("spec", Content::Bundle(Box::new(self.spec(context, path).await?))),
            None => {
                let peer = peers::read(&place, text)?;
                let what = match peer.tool {
                    peers::Tool::List => "list",
                    peers::Tool::Zarf => "zarf",
                    peers::Tool::ImageSet => "imageset",
                    peers::Tool::Hauler => "hauler",
                };
                (what, Content::List(peer))
            }
        };
        Ok(Side { place, what, content })
    }

    fn archive(&self, context: &Context, path: &Path) -> Result<Snapshot, Failure> {
        let policy = if self.trust.keys.is_empty() { None } else { self.trust.policy()? };
        let (archive, _) = opened::open(path, policy.as_ref())?;
        let inventory = archive.inventory();
        let mut lock = None;
        if let Some(digest) = &inventory.lock {
            let text = archive.read(digest, MAX_TEXT)?;
            match Lock::parse("bundle.lock", &String::from_utf8_lossy(&text)) {
                Ok(read) => lock = Some(read),
                // Written by another version: the inventory says nearly as much.
                Err(error) => context.observer.on(&Event::Noted(Diagnostic::warning(
                    "foreign-lock",
                    format!("{}: {error}; its inventory is compared instead", path.display()),
                ))),
            }
        }
        Ok(Snapshot::of_archive(inventory, lock.as_ref()))
    }

    async fn spec(&self, context: &Context, path: &Path) -> Result<Snapshot, Failure> {
        let input = input::read(context, path)?;
        if self.locked {
            let lock = input.lock.ok_or_else(|| BadSide::NoLock(path.display().to_string()))?;
            return Ok(Snapshot::from(&lock));
        }
        let settings = self.access.settings(Some((&input.spec, &input.folder)));
        let registries = Registries::new(settings, Credentials::new(env::surroundings()), context.observer.clone())?;
        let job = Job {
            spec: &input.spec,
            folder: &input.folder,
            previous: input.lock.as_ref(),
            update: Update::Nothing,
            date: env::today()?,
            registries: &registries,
            jobs: usize::from(self.access.concurrency),
            observer: context.observer.as_ref(),
        };
        let resolution = resolve(&job).await?;
        for warning in resolution.warnings {
            context.observer.on(&Event::Noted(warning));
        }
        Ok(Snapshot::from(&resolution.lock))
    }
}

fn is_archive(path: &Path) -> Result<bool, Failure> {
    let file = Positional::open(path)?;
    let (at, magic) = TAR_MAGIC;
    if file.len()? < at + magic.len() as u64 {
        return Ok(false);
    }
    let mut found = [0; 5];
    file.read_exact_at(&mut found, at)?;
    Ok(found == *magic)
}

/// Returns the kind of a document of this project; `None` for those of others.
fn ours(text: &str) -> Option<&str> {
    /// How far the head of a document reaches: a licence may stand above it.
    const HEAD: usize = 500;
    let value = |key: &str| {
        text.lines().take(HEAD).find_map(|line| {
            let line = line.trim_start_matches(['{', '"', ' ']).strip_prefix(key)?;
            let line = line.trim_start_matches('"').strip_prefix(':')?;
            Some(line.trim().trim_end_matches(',').trim_matches(['"', '\'']))
        })
    };
    value("apiVersion").filter(|api| api.starts_with("airgap-bundler/"))?;
    // A document in one line has its kind elsewhere; only specs are written by hand.
    Some(value("kind").unwrap_or("Bundle"))
}

/// Writes a place in a list for people.
fn place(at: &crate::error::Location) -> String {
    ui::clean(&format!("{}:{}", at.file, at.line))
}
