//! `bundle export files`.

use std::path::PathBuf;

use crate::{
    cli::{Context, Failure, OutputError, args::Trust, env, opened, ui, ui::Format, ui::Ui},
    export::{UnpackedFile, unpack},
};

/// Unpack the files of an archive, verified, below a folder.
///
/// Nothing is written outside the folder, and files that say something else are left alone unless --force is given. Files
/// that are past the age that the spec allows are told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The archive.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Unpack into this folder.
    #[arg(short = 'o', long = "output", value_name = "DIR")]
    output: PathBuf,
    /// Only the files of this entry of the spec; repeat for several.
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,
    /// Replace files that are there and say something else.
    #[arg(long)]
    force: bool,
    /// How the list of files is printed.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
    #[command(flatten)]
    trust: Trust,
}

impl Args {
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let policy = self.trust.policy()?;
        let (archive, _) = opened::open(&self.file, policy.as_ref())?;
        opened::note_age(&archive, context, env::now());
        let files = unpack(&archive, &self.names, &self.output, self.force).await?;
        Ui { format: self.format }.print(&files, || text(&files)).map_err(OutputError)?;
        Ok(())
    }
}

fn text(files: &[UnpackedFile]) -> String {
    let row = |file: &UnpackedFile| {
        let what = if file.kept { "unchanged" } else { "written" };
        vec![file.path.display().to_string(), ui::size(file.size), what.to_owned()]
    };
    ui::table(&["file", "size", "what"], files.iter().map(row))
}
