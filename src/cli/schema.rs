//! `bundle schema`.

use super::{Failure, OutputError, ui};

/// Print the JSON schema of bundle.yaml, for editors.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

impl Args {
    pub fn run(self) -> Result<(), Failure> {
        let text = format!("{:#}\n", crate::spec::schema());
        ui::write_all(text.as_bytes()).map_err(OutputError)?;
        Ok(())
    }
}
