//! `bundle init`.

use std::path::{Component, Path, PathBuf};

use serde_json::json;

use super::{Context, Failure, OutputError, args::Output, ui, ui::Ui};
use crate::{
    error::{Classify, Kind},
    event::Event,
    files,
    peers::{self, Peer, Tool, Written},
    spec::Spec,
};

/// Write a spec to start from, or translate what another tool is given.
///
/// A translation keeps every item; what a spec cannot say stands in it as a comment, and is told as a warning. Values that
/// only the other tool knows are not filled in.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the spec goes.
    #[arg(default_value = "bundle.yaml")]
    spec: PathBuf,
    /// Translate a Zarf package (zarf.yaml).
    #[arg(long, value_name = "FILE", group = "from")]
    from_zarf: Option<PathBuf>,
    /// Translate an ImageSetConfiguration of oc-mirror.
    #[arg(long, value_name = "FILE", group = "from")]
    from_imageset: Option<PathBuf>,
    /// Translate a Hauler manifest.
    #[arg(long, value_name = "FILE", group = "from")]
    from_hauler: Option<PathBuf>,
    /// Translate a list of images: one per line, or YAML with `images:`.
    #[arg(long, value_name = "FILE", group = "from")]
    from_list: Option<PathBuf>,
    /// Replace a spec that is there already.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    pub output: Output,
}

/// The document is for another tool than was said.
#[derive(Debug, thiserror::Error)]
#[error("{file} is a {found}, not a {wanted}")]
struct OtherTool {
    file: String,
    found: Tool,
    wanted: Tool,
}

impl Classify for OtherTool {
    fn kind(&self) -> Kind {
        Kind::Usage
    }
}

/// The document cannot be read as text.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not UTF-8 text")]
struct NotText(String);

impl Classify for NotText {
    fn kind(&self) -> Kind {
        Kind::Usage
    }
}

/// What was written does not parse, which its parts did.
#[derive(Debug, thiserror::Error)]
#[error("the translation of {file} does not parse: {why}")]
struct Unparsable {
    file: String,
    why: String,
}

impl Classify for Unparsable {
    fn kind(&self) -> Kind {
        Kind::Internal
    }
}

/// The largest document that is translated.
const MAX_TEXT: u64 = 16 << 20;

impl Args {
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        if !self.force && files::exists(&self.spec) {
            return Err(files::Error::Exists { path: self.spec.clone() }.into());
        }
        let sources = [
            (&self.from_zarf, Tool::Zarf),
            (&self.from_imageset, Tool::ImageSet),
            (&self.from_hauler, Tool::Hauler),
            (&self.from_list, Tool::List),
        ];
        let source = sources.into_iter().find_map(|(path, tool)| path.as_ref().map(|path| (path, tool)));
        let written = match source {
            Some((path, tool)) => translate(path, tool, &self.spec)?,
            None => {
                let name = std::path::absolute(&self.spec).ok();
                let name = name.as_deref().and_then(Path::parent).and_then(Path::file_name);
                let text = peers::template(&name.unwrap_or_default().to_string_lossy());
                Written { text, entries: 0, warnings: Vec::new() }
            }
        };
        fits(&written.text).map_err(|why| Unparsable { file: self.spec.display().to_string(), why })?;
        match self.force {
            true => files::atomic_write(&self.spec, written.text.as_bytes())?,
            false => files::create_new(&self.spec, written.text.as_bytes())?,
        }
        for warning in &written.warnings {
            context.observer.on(&Event::Noted(warning.clone()));
        }
        let place = self.spec.display().to_string();
        let from = source.map(|(path, _)| path.display().to_string());
        let report = json!({
            "spec": place, "from": from, "entries": written.entries, "warnings": written.warnings,
        });
        Ui { format: self.output.format }
            .print(&report, || {
                let place = ui::clean(&place);
                match &from {
                    None => format!("{place} is written: fill it in, then run `bundle resolve`\n"),
                    Some(from) => {
                        let lost = written.warnings.iter().filter(|one| one.code == "not-translated").count();
                        let lost = match lost {
                            0 => String::new(),
                            lost => format!(", {lost} only as comments"),
                        };
                        let entries = ui::count(written.entries, "entry").replace("entrys", "entries");
                        format!("{place} is written: {entries} from {}{lost}\n", ui::clean(from))
                    }
                }
            })
            .map_err(OutputError)?;
        Ok(())
    }
}

/// Tells whether a text is a spec, and what is wrong with it if not.
fn fits(text: &str) -> Result<(), String> {
    match Spec::parse("", text) {
        Ok(_) => Ok(()),
        Err(mistakes) => {
            let first = mistakes.iter().find(|one| one.severity == crate::error::Severity::Error);
            Err(first.map(|one| one.message.clone()).unwrap_or_default())
        }
    }
}

fn translate(path: &Path, wanted: Tool, spec: &Path) -> Result<Written, Failure> {
    let file = path.display().to_string();
    let bytes = files::read_limited(path, MAX_TEXT)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| NotText(file.clone()))?;
    let peer: Peer = peers::read(&file, text)?;
    if peer.tool != wanted {
        return Err(OtherTool { file, found: peer.tool, wanted }.into());
    }
    Ok(peers::write(&peer, &way(spec, path), &fits))
}

/// Returns the way from the folder of the spec to the folder of a document; empty when they are the same.
fn way(spec: &Path, document: &Path) -> String {
    let folder = |path: &Path| {
        let full = std::path::absolute(path).ok()?;
        Some(normal(full.parent()?))
    };
    let (Some(from), Some(to)) = (folder(spec), folder(document)) else { return String::new() };
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let mut way = PathBuf::new();
    from.components().skip(shared).for_each(|_| way.push(".."));
    to.components().skip(shared).for_each(|part| way.push(part));
    way.to_string_lossy().into_owned()
}

/// Takes `.` and `..` out of a path.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}
