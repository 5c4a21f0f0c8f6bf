//! `bundle export images`.

use super::input::From;
use crate::{
    cli::{Context, Failure, OutputError, args::Output, ui, ui::Format, ui::Ui},
    export::images,
    names::{Layout, Target},
};

/// List the images for scripts: one name per line, in the enclave when --to is given.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    from: From,
    /// Where they are loaded to: HOST[:PORT][/PREFIX]; without it, names are those of the sources.
    #[arg(long, value_name = "TARGET")]
    to: Option<Target>,
    /// Names in the target, as given to `bundle load`: source, host, flat, or depth=N.
    #[arg(long, value_name = "LAYOUT", default_value = "source", requires = "to")]
    layout: Layout,
    /// Write the name of the source in front of the name in the enclave, separated by a tab.
    #[arg(long, requires = "to")]
    source: bool,
    /// Add the digest to every name.
    #[arg(long)]
    digests: bool,
    #[command(flatten)]
    pub output: Output,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let content = self.from.content(context)?;
        let mut rows = images(&content, self.to.as_ref().map(|target| (target, self.layout)))?;
        if self.digests {
            for row in &mut rows {
                let digest = Some(row.digest);
                row.source.digest = digest;
                if let Some(target) = &mut row.target {
                    target.digest = digest;
                }
            }
        }
        if self.output.format != Format::Table {
            Ui { format: self.output.format }.print(&rows, String::new).map_err(OutputError)?;
            return Ok(());
        }
        let lines: String = rows
            .iter()
            .map(|row| match &row.target {
                Some(target) if self.source => format!("{}\t{target}\n", row.source),
                Some(target) => format!("{target}\n"),
                None => format!("{}\n", row.source),
            })
            .collect();
        Ok(ui::write_all(lines.as_bytes()).map_err(OutputError)?)
    }
}
