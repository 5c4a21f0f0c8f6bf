//! `bundle export values`.

use std::path::{Path, PathBuf};

use super::input::{From, is_archive};
use crate::{
    archive::Archive,
    cli::{Context, Failure, OutputError, args::Access, env, input, opened, ui},
    error::{Classify, Diagnostic, Kind},
    event::Event,
    files,
    helm::{Capabilities, Chart, Origin, Overrides, Release},
    names::{Layout, Target},
    oci::{Digest, Reference},
    registry::{Credentials, Registries},
    relocate::{Names, Overlay, Setup, overlay_of_all},
    resolve::{
        Job, Update,
        charts::{Input, ambient, inputs, unpack, unpack_inner},
    },
};

/// The largest values file, and the largest chart.
const MAX_BYTES: u64 = 64 << 20;

/// Write values files that make charts pull from the enclave's registry.
///
/// Which values end up in which image is found by rendering with marked values; the result is proved by rendering again.
/// An image that no value moves is named, in the file and on standard error: `bundle rewrite` moves it. Of a spec, charts are
/// rendered with the values that it gives; of an archive, with their defaults and those given by --values.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    from: From,
    /// Where the images are: HOST[:PORT][/PREFIX], as given to `bundle load`.
    #[arg(long, value_name = "TARGET")]
    to: Target,
    /// Names in the target, as given to `bundle load`: source, host, flat, or depth=N.
    #[arg(long, value_name = "LAYOUT", default_value = "source")]
    layout: Layout,
    /// Pin images to their digests where the chart allows it.
    #[arg(long)]
    digests: bool,
    /// Write NAME.yaml for every chart into this folder, instead of everything to standard output.
    #[arg(short = 'o', long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Only these charts; repeat for several.
    #[arg(long, value_name = "NAME")]
    chart: Vec<String>,
    /// With an archive: a values file of a chart, as NAME=FILE; repeat for several.
    #[arg(long, value_name = "NAME=FILE")]
    values: Vec<String>,
    #[command(flatten)]
    access: Access,
}

/// Something about the charts cannot be used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("--values {0}: NAME=FILE is expected")]
    Values(String),
    #[error("{0} is not UTF-8 text")]
    NoText(String),
    #[error("there is no chart named {name:?}; there are: {known}")]
    NoChart { name: String, known: String },
    #[error("{0} is a lock: charts are in the spec and in the archive")]
    Lock(String),
}

impl Classify for Unusable {
    fn kind(&self) -> Kind {
        Kind::Usage
    }
}

impl Args {
    /// Reads the charts of an archive.
    fn of_archive(&self, archive: &Archive) -> Result<Vec<Input>, Failure> {
        let mut found = Vec::new();
        for chart in &archive.inventory().charts {
            let bytes = archive.read(&chart.archive, MAX_BYTES)?;
            let tree = unpack(Path::new(&format!("{}.tgz", chart.name)), &bytes)?;
            let loaded = Chart::load(&tree, Origin::Archive, &unpack_inner)?;
            found.push(Input {
                name: chart.name.clone(),
                release: Release::new(chart.name.as_str(), "default"),
                capabilities: Capabilities::default(),
                renderings: vec![self.given(&chart.name)?],
                chart: loaded,
            });
        }
        Ok(found)
    }

    /// Reads the values files of a chart.
    fn given(&self, name: &str) -> Result<Overrides, Failure> {
        let mut overrides = Overrides::new();
        for given in &self.values {
            let (chart, path) = given.split_once('=').ok_or_else(|| Unusable::Values(given.clone()))?;
            if chart == name {
                let bytes = files::read_limited(Path::new(path), MAX_BYTES)?;
                let text = String::from_utf8(bytes.to_vec()).map_err(|_| Unusable::NoText(path.to_owned()))?;
                overrides = overrides.file(path, text);
            }
        }
        Ok(overrides)
    }

    async fn read(&self, context: &Context) -> Result<(Vec<Input>, Option<Vec<(Reference, Digest)>>), Failure> {
        let path = &self.from.file;
        if is_archive(path) {
            let policy = if self.from.trust.keys.is_empty() { None } else { self.from.trust.policy()? };
            let (archive, _) = opened::open(path, policy.as_ref())?;
            let images = archive.inventory().images.iter().filter(|image| image.derived_from.is_none());
            let carried = images.flat_map(|image| image.references.iter().map(|name| (name.clone(), image.digest)));
            let carried = carried.collect();
            return Ok((self.of_archive(&archive)?, Some(carried)));
        }
        if path.extension().is_some_and(|extension| extension == "lock") {
            return Err(Unusable::Lock(path.display().to_string()).into());
        }
        let input = input::read(context, path)?;
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
        let charts = inputs(&job).await?;
        let carried = input.lock.map(|lock| lock.images.into_iter().map(|image| (image.image, image.digest)).collect());
        if carried.is_none() && self.digests {
            let text = "there is no lock beside the spec, so no digest is known: run `bundle resolve` first";
            context.observer.on(&Event::Noted(Diagnostic::warning("no-lock", text)));
        }
        Ok((charts, carried))
    }

    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let (mut charts, carried) = self.read(context).await?;
        if let Some(name) = self.chart.iter().find(|name| !charts.iter().any(|chart| chart.name == **name)) {
            let known: Vec<&str> = charts.iter().map(|chart| chart.name.as_str()).collect();
            return Err(Unusable::NoChart { name: name.clone(), known: known.join(", ") }.into());
        }
        charts.retain(|chart| self.chart.is_empty() || self.chart.contains(&chart.name));
        let mut names = Names::new(self.to.clone(), self.layout);
        if let Some(carried) = carried {
            names = names.carrying(carried)?;
        }
        let mut written: Vec<(String, String)> = Vec::new();
        for input in charts {
            let (name, text) = self.one(context, input, &mut names)?;
            // Two entries of one name are two files.
            let count =
                written.iter().filter(|(known, _)| *known == name || known.starts_with(&format!("{name}-"))).count();
            let name = if count == 0 { name } else { format!("{name}-{}", count + 1) };
            written.push((name, text));
        }
        let Some(folder) = &self.output else {
            let texts: Vec<&str> = written.iter().map(|(_, text)| text.as_str()).collect();
            return Ok(ui::write_all(texts.join("---\n").as_bytes()).map_err(OutputError)?);
        };
        files::create_folder(folder)?;
        for (name, text) in written {
            // Names of entries are names of releases, which hold no slash; one that does must not leave the folder.
            let name = name.replace(['/', '\\'], "_");
            files::atomic_write(&folder.join(format!("{name}.yaml")), text.as_bytes())?;
        }
        Ok(())
    }

    fn one(&self, context: &Context, input: Input, names: &mut Names) -> Result<(String, String), Failure> {
        let Input { name, chart, release, capabilities, renderings } = input;
        let setup = |overrides| Setup {
            chart: &chart,
            overrides,
            release: release.clone(),
            capabilities: capabilities.clone(),
            ambient: ambient(),
            skip_schema: false,
        };
        let overlay = overlay_of_all(renderings.into_iter().map(setup).collect(), names, self.digests)?;
        let head = self.head(&name, &chart, &overlay, names)?;
        for unmoved in &overlay.unmoved {
            let text = match unmoved.carried {
                true => format!("{name}: no value moves {}: {}", unmoved.image, unmoved.place),
                false => format!("{name}: {} was not carried: {}", unmoved.image, unmoved.place),
            };
            let hint = format!("bundle rewrite --to {} as a post-renderer moves it", self.to);
            let diagnostic = Diagnostic::warning("value-unmoved", text);
            let diagnostic = if unmoved.carried { diagnostic.hint(hint) } else { diagnostic };
            context.observer.on(&Event::Noted(diagnostic));
        }
        for image in &overlay.unpinned {
            let text = format!("{name}: the chart has no value for the digest of {image}");
            context.observer.on(&Event::Noted(Diagnostic::warning("value-unpinned", text)));
        }
        Ok((name, overlay.to_text(&head)))
    }

    fn head(&self, name: &str, chart: &Chart, overlay: &Overlay, names: &mut Names) -> Result<String, Failure> {
        let (place, version) = (names.chart(chart.name())?, &chart.metadata.version);
        let target = &self.to;
        let mut head =
            format!("The images of {} {version} from {target}. Give it after your own values:\n", chart.name());
        head.push_str(&format!("  helm install {name} {place} --version {version} -f {name}.yaml\n"));
        if !overlay.unmoved.is_empty() {
            head.push_str("No value moves these; bundle rewrite as a post-renderer does:\n");
            for unmoved in &overlay.unmoved {
                head.push_str(&format!("  {}: {}\n", unmoved.image, unmoved.place));
            }
        }
        Ok(head)
    }
}
