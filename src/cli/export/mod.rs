//! `bundle export`: one file per sub-command.

mod images;
mod input;
mod kustomize;
mod mirrors;
mod output;
mod policy;
mod trust;
mod values;

use super::{Context, Failure, ui::Format};

/// Write what the machines of the enclave are configured with, from what an archive holds.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Mirrors(mirrors::Args),
    Trust(trust::Args),
    Policy(policy::Args),
    Images(images::Args),
    Values(values::Args),
    Kustomize(kustomize::Args),
}

impl Args {
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        match self.what {
            What::Mirrors(args) => args.run(context),
            What::Trust(args) => args.run(),
            What::Policy(args) => args.run(context),
            What::Images(args) => args.run(context),
            What::Values(args) => args.run(context).await,
            What::Kustomize(args) => args.run(context),
        }
    }

    /// Returns how the result is printed, for errors in the same form.
    pub fn format(&self) -> Format {
        match &self.what {
            What::Images(args) => args.output.format,
            What::Mirrors(_) | What::Trust(_) | What::Policy(_) | What::Values(_) | What::Kustomize(_) => Format::Table,
        }
    }
}
