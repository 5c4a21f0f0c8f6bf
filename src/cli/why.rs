//! `bundle why`.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Context, Failure, OutputError, args::Output, input, ui, ui::Ui};
use crate::{
    archive::Unverified,
    discover::Finding,
    error::{Classify, Kind},
    oci::Reference,
};

/// Tell every reason why an image is there, down to file, line, object and field.
///
/// Reads the lock beside a spec, or the control part of an archive. IMAGE is a reference or a part of one.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image, or a part of its name.
    image: String,
    /// A spec with its lock, or an archive.
    #[arg(value_name = "SPEC or FILE", default_value = "bundle.yaml")]
    place: PathBuf,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reasons {
    image: String,
    digest: String,
    because: Vec<Finding>,
}

/// Nothing of that name.
#[derive(Debug, thiserror::Error)]
#[error("{place} holds no image whose name contains {image:?}")]
struct Unknown {
    image: String,
    place: String,
}

impl Classify for Unknown {
    fn kind(&self) -> Kind {
        Kind::NotFound
    }
}

/// A spec without a lock.
#[derive(Debug, thiserror::Error)]
#[error("there is no lock beside {0}: run `bundle resolve` first")]
struct NoLock(String);

impl Classify for NoLock {
    fn kind(&self) -> Kind {
        Kind::Incomplete
    }
}

fn is_archive(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "tar")
}

impl Args {
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let all: Vec<Reasons> = if is_archive(&self.place) {
            let inventory = Unverified::open(&self.place)?.peek()?;
            let named = |image: &crate::archive::Image, name: &Reference| {
                let because: Vec<Finding> = serde_json::from_value(image.because.clone()).unwrap_or_default();
                let own = because.into_iter().filter(|reason| {
                    reason.written.parse::<Reference>().is_ok_and(|written| written.with_default_tag() == *name)
                });
                Reasons { image: name.to_string(), digest: image.digest.to_string(), because: own.collect() }
            };
            let images = inventory.images.iter().filter(|image| image.derived_from.is_none());
            images.flat_map(|image| image.references.iter().map(move |name| named(image, name))).collect()
        } else {
            let input = input::read(context, &self.place)?;
            let lock = input.lock.ok_or_else(|| NoLock(self.place.display().to_string()))?;
            let reasons = lock.images.into_iter().map(|image| Reasons {
                image: image.image.to_string(),
                digest: image.digest.to_string(),
                because: image.because,
            });
            reasons.collect()
        };
        let exact =
            self.image.parse::<Reference>().map(|image| image.with_default_tag().to_string()).unwrap_or_default();
        let mut found: Vec<Reasons> = Vec::new();
        let (precise, others): (Vec<Reasons>, Vec<Reasons>) = all.into_iter().partition(|one| one.image == exact);
        found.extend(precise);
        if found.is_empty() {
            found.extend(others.into_iter().filter(|one| one.image.contains(&self.image)));
        }
        if found.is_empty() {
            return Err(Unknown { image: self.image, place: self.place.display().to_string() }.into());
        }
        Ui { format: self.output.format }
            .print(&found, || {
                let mut text = String::new();
                for image in &found {
                    text.push_str(&format!("{}\n  {}\n", ui::clean(&image.image), image.digest));
                    for reason in &image.because {
                        text.push_str(&format!(
                            "  {:<8}  {}\n",
                            reason.confidence.to_string(),
                            ui::clean(&reason.to_string())
                        ));
                        if reason.written != image.image {
                            text.push_str(&format!("            written as {}\n", ui::clean(&reason.written)));
                        }
                    }
                }
                text
            })
            .map_err(OutputError)?;
        Ok(())
    }
}
