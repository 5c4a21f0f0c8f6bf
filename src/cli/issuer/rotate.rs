//! `bundle issuer rotate`.

use serde_json::json;

use super::{Dir, Password, now};
use crate::{
    cli::{Context, Failure, OutputError, args::Output, ui::Ui},
    issuer::{self, Home, Step},
    trust::{SystemRandomness, x509::Lifetime},
};

/// Make the successor of the issuing authority, or change the root step by step.
///
/// Without --root: a new issuing authority under the same root. With it, four steps, each of which leaves every client
/// that made the one before in trust: publish, switch, settle, retire. `bundle issuer status` tells which comes next.
#[derive(Debug, clap::Args)]
pub(crate) struct Rotate {
    #[command(flatten)]
    dir: Dir,
    /// Do this step of a change of the root.
    #[arg(long, value_name = "STEP", value_enum)]
    root: Option<RootStep>,
    /// How long a new root lives.
    #[arg(long, value_name = "YEARS", default_value_t = 10)]
    root_years: u8,
    /// How long a new issuing authority lives; never beyond the root.
    #[arg(long, value_name = "YEARS", default_value_t = 2)]
    issuing_years: u8,
    /// Retire the old root although something recorded here still needs it.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    password: Password,
    #[command(flatten)]
    pub output: Output,
}

/// A step of a change of the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum RootStep {
    /// Make the new root and hand it out beside the old one.
    Publish,
    /// Sign with a new issuing authority that both roots certify.
    Switch,
    /// Let its chain lead to the new root.
    Settle,
    /// Trust the old root no more.
    Retire,
}

impl Rotate {
    pub fn run(self, _: &Context) -> Result<(), Failure> {
        let mut home = Home::open(&self.dir.dir)?;
        let lives = (Lifetime::Years(self.root_years), Lifetime::Years(self.issuing_years));
        let (now, random) = (now()?, &mut SystemRandomness);
        let dir = self.dir.dir.display();
        let apply = format!("bundle issuer apply --dir {dir}");
        let next = match self.root {
            None => {
                let password = self.password.of(&home.root_key_file())?;
                issuer::rotate_issuing(&mut home, lives.1, &password, now, random)?;
                format!("{apply}, then renew what the old one signed: cmctl renew --all --all-namespaces")
            }
            Some(step) => {
                let (step, password) = match step {
                    RootStep::Publish => (Some(Step::Published), Some(self.password.of(&home.root_key_file())?)),
                    RootStep::Switch => (Some(Step::Switched), Some(self.password.of(&home.root_key_file())?)),
                    RootStep::Settle => (Some(Step::Settled), None),
                    RootStep::Retire => (None, None),
                };
                issuer::rotate_root(&mut home, step, lives, self.force, password.as_ref(), now, random)?;
                match step {
                    Some(Step::Published) => format!(
                        "{apply}, install {} on every node and client, wait until all have it, then rotate --root switch",
                        home.roots_file().display()
                    ),
                    Some(Step::Switched) => {
                        format!("{apply}, renew every certificate, then rotate --root settle")
                    }
                    Some(Step::Settled) => {
                        format!("{apply}, renew every certificate once more, then rotate --root retire")
                    }
                    None => {
                        format!("{apply}, and install {} in the place of the one before", home.roots_file().display())
                    }
                }
            }
        };
        let status = issuer::status(&home, now)?;
        let report = json!({"status": status, "next": next});
        Ui { format: self.output.format }
            .print(&report, || format!("{}\nnext: {next}\n", super::kube::table(&status)))
            .map_err(OutputError)?;
        Ok(())
    }
}
