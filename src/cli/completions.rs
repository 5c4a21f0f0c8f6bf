//! `bundle completions SHELL`.

use clap::CommandFactory;

use super::{Failure, OutputError, ui};

/// Print the completion script for a shell.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which shell.
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

impl Args {
    pub fn run(self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::Cli::command(), "bundle", &mut script);
        ui::write_all(&script).map_err(OutputError)?;
        Ok(())
    }
}
