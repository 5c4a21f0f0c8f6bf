//! `bundle why`.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Context, Failure, OutputError, args::Output, input, opened, ui, ui::Ui};
use crate::{
    archive::{Image, Inventory, Unverified},
    discover::{Finding, Step},
    error::{Classify, Kind},
    lock::{Lock, Verified, Why},
    oci::{Digest, Reference},
};

/// Tell every reason why an image or a chart is there, down to file, line, object and field.
///
/// Reads the lock beside a spec, or the control part of an archive. IMAGE is a reference, the name of a chart (with or
/// without @VERSION), or a part of one.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image or chart, or a part of its name.
    image: String,
    /// A spec with its lock, or an archive.
    #[arg(value_name = "SPEC or FILE", default_value = "bundle.yaml")]
    place: PathBuf,
    #[command(flatten)]
    pub output: Output,
}

/// Why one image or chart is there.
#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum Reasons {
    Image {
        image: String,
        digest: Digest,
        /// Whose signatures were checked, because the spec wants them.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        verified: Vec<Verified>,
        because: Vec<Finding>,
    },
    NotCarried {
        image: String,
        not_carried: Why,
        by: Option<String>,
        reason: Option<String>,
        because: Vec<Finding>,
    },
    Chart {
        chart: String,
        version: String,
        digest: Digest,
        source: String,
        because: Vec<Vec<Step>>,
    },
}

impl Reasons {
    /// Tells whether this is exactly what was asked for.
    fn is(&self, asked: &str) -> bool {
        match self {
            Reasons::Image { image, .. } | Reasons::NotCarried { image, .. } => {
                asked.parse::<Reference>().is_ok_and(|asked| asked.with_default_tag().to_string() == *image)
            }
            Reasons::Chart { chart, version, .. } => asked
                .strip_prefix(chart.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.strip_prefix('@') == Some(version)),
        }
    }

    /// Tells whether its name holds what was asked for.
    fn holds(&self, asked: &str) -> bool {
        match self {
            Reasons::Image { image, .. } | Reasons::NotCarried { image, .. } => image.contains(asked),
            Reasons::Chart { chart, .. } => chart.contains(asked) || self.is(asked),
        }
    }

    fn text(&self) -> String {
        match self {
            Reasons::Image { image, digest, verified, because } => {
                let mut text = format!("{}\n  {digest}\n", ui::clean(image));
                for signature in verified {
                    text.push_str(&format!("  verified  {}\n", ui::clean(&opened::signature(signature))));
                }
                text + &places(image, because)
            }
            Reasons::NotCarried { image, not_carried, by, reason, because } => {
                let by = by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
                let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
                let decision = ui::clean(&format!("{not_carried}{by}{reason}"));
                format!("{}\n  not carried, {decision}\n{}", ui::clean(image), places(image, because))
            }
            Reasons::Chart { chart, version, digest, source, because } => {
                let mut text = ui::clean(&format!("chart {chart} {version}")) + "\n";
                text.push_str(&format!("  {digest}\n  from      {}\n", ui::clean(source)));
                for way in because {
                    let way: Vec<String> = way.iter().map(Step::to_string).collect();
                    text.push_str(&format!("  declared  {}\n", ui::clean(&way.join(" → "))));
                }
                text
            }
        }
    }
}

/// Tells every place that names an image.
fn places(image: &str, because: &[Finding]) -> String {
    let mut text = String::new();
    for reason in because {
        let way = ui::clean(&reason.to_string());
        text.push_str(&format!("  {:<8}  {way}\n", reason.confidence.to_string()));
        if reason.written != *image {
            text.push_str(&format!("            written as {}\n", ui::clean(&reason.written)));
        }
    }
    text
}

/// Nothing of that name.
#[derive(Debug, thiserror::Error)]
#[error("{place} holds no image and no chart whose name contains {image:?}")]
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
        let all = if is_archive(&self.place) {
            of_inventory(Unverified::open(&self.place)?.peek()?)
        } else {
            let input = input::read(context, &self.place)?;
            of_lock(input.lock.ok_or_else(|| NoLock(self.place.display().to_string()))?)
        };
        let is_exact = all.iter().any(|one| !matches!(one, Reasons::Chart { .. }) && one.is(&self.image));
        // A whole reference means this image alone; the name of a chart is often a part of the names of its images.
        let wanted = |one: &Reasons| if is_exact { one.is(&self.image) } else { one.holds(&self.image) };
        let found: Vec<Reasons> = all.into_iter().filter(wanted).collect();
        if found.is_empty() {
            return Err(Unknown { image: self.image, place: self.place.display().to_string() }.into());
        }
        Ui { format: self.output.format }
            .print(&found, || found.iter().map(Reasons::text).collect())
            .map_err(OutputError)?;
        Ok(())
    }
}

fn of_inventory(inventory: Inventory) -> Vec<Reasons> {
    let named = |image: &Image, name: &Reference| {
        let because: Vec<Finding> = serde_json::from_value(image.because.clone()).unwrap_or_default();
        let own = because.into_iter().filter(|reason| {
            reason.written.parse::<Reference>().is_ok_and(|written| written.with_default_tag() == *name)
        });
        let verified = image.verified.clone();
        Reasons::Image { image: name.to_string(), digest: image.digest, verified, because: own.collect() }
    };
    let images = inventory.images.iter().filter(|image| image.derived_from.is_none());
    let images = images.flat_map(|image| image.references.iter().map(move |name| named(image, name)));
    let charts = inventory.charts.iter().map(|chart| Reasons::Chart {
        chart: chart.name.clone(),
        version: chart.version.clone(),
        digest: chart.digest,
        source: chart.source.clone(),
        because: serde_json::from_value(chart.because.clone()).unwrap_or_default(),
    });
    images.chain(charts).collect()
}

fn of_lock(lock: Lock) -> Vec<Reasons> {
    let images = lock.images.into_iter().map(|image| Reasons::Image {
        image: image.image.to_string(),
        digest: image.digest,
        verified: image.verified,
        because: image.because,
    });
    let left = lock.not_carried.into_iter().map(|one| Reasons::NotCarried {
        image: one.image.to_string(),
        not_carried: one.why,
        by: one.by,
        reason: one.reason,
        because: one.because,
    });
    let charts = lock.charts.into_iter().map(|chart| Reasons::Chart {
        chart: chart.chart,
        version: chart.version,
        digest: chart.digest,
        source: chart.source,
        because: chart.because,
    });
    images.chain(left).chain(charts).collect()
}
