//! `bundle load --rollback`.

use serde_json::json;

use super::{Args, clock};
use crate::{
    cli::{Context, Failure, OutputError, env, ui, ui::Ui},
    error::{Classify, Kind, Side},
    event::Event,
    load::{
        Loaded, Return, back, earlier,
        receipt::{self, Receipt},
    },
    names::{Layout, Renamer},
    registry::Remote,
    trust::{FreshnessPolicy, Policy, freshness},
};

/// Says why nothing can be gone back to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// No record at all.
    #[error("nothing was loaded into {0}: it holds no record of a load that a trusted key signed")]
    Nothing(String),
    /// Several bundles, and none was named.
    #[error("several bundles were loaded into {target}: {}; say which one: bundle load --rollback NAME --to {target}", .names.join(", "))]
    Several {
        /// Where.
        target: String,
        /// Which.
        names: Vec<String>,
    },
    /// A path was given.
    #[error("{0} is no name of a bundle: --rollback needs no archive, only the name of what was loaded")]
    Name(String),
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        match self {
            Error::Nothing(_) => Kind::NotFound,
            Error::Several { .. } | Error::Name(_) => Kind::Usage,
        }
    }
}

impl Args {
    /// Points the tags at what an earlier load brought.
    pub(super) async fn go_back(&self, context: &Context, policy: Option<&Policy>) -> Result<(), Failure> {
        let registries = self.registries(context)?;
        let target = self.to.to_string();
        let state =
            Renamer::new(self.to.clone(), Layout::Source).own(&["bundle-state"]).map_err(crate::load::Error::from)?;
        let records = registries.repository(&self.to.host, &state, Side::Target);
        let name = self.name(&records).await?;
        let folder = env::state_dir();
        let before = receipt::last_loaded(&records, &target, folder.as_deref(), &name, policy).await?;
        let Some(last) = &before.record else { return Err(Error::Nothing(target).into()) };
        let past = earlier(&records, last, self.sequence, policy).await?;
        let (now, moment) = clock()?;
        let rules = FreshnessPolicy { expiry: self.expiry, allow_rollback: true, ..FreshnessPolicy::default() };
        for warning in freshness(&past.facts(), before.last.as_ref(), moment, &rules)? {
            // That it is older is what was asked for.
            if warning.code != "rollback" {
                context.observer.on(&Event::Noted(warning));
            }
        }
        let way =
            back(&registries, &self.to, &past, usize::from(self.access.concurrency), context.observer.as_ref()).await?;
        if self.dry_run {
            return self.show(&way, None);
        }
        let loaded = way.go(&registries, &self.to).await?;
        let reason = self.reason.clone().unwrap_or_else(|| "load --rollback".to_owned());
        let record = receipt::Record {
            remote: &records,
            target: &target,
            state: folder.as_deref(),
            before: &before,
            layout: way.layout(),
            now,
            rollback_reason: Some(reason),
        };
        let receipt = receipt::write(record, past.inventory(), past.signed(), &loaded).await?;
        self.show(&way, Some((&receipt, &loaded)))
    }

    async fn name(&self, records: &Remote) -> Result<String, Failure> {
        if let Some(written) = &self.file {
            let written = written.to_string_lossy().into_owned();
            let plain = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
            return match written.chars().all(plain) && !written.ends_with(".tar") {
                true => Ok(written),
                false => Err(Error::Name(written).into()),
            };
        }
        let target = self.to.to_string();
        let mut names = receipt::names(records).await?;
        match (names.pop(), names.is_empty()) {
            (Some(name), true) => Ok(name),
            (None, _) => Err(Error::Nothing(target).into()),
            (Some(name), false) => {
                names.push(name);
                Err(Error::Several { target, names }.into())
            }
        }
    }

    fn show(&self, way: &Return, done: Option<(&Receipt, &Loaded)>) -> Result<(), Failure> {
        let report = match done {
            Some((receipt, _)) => json!({"receipt": receipt, "rollback": way}),
            None => json!({"dryRun": true, "rollback": way}),
        };
        Ui { format: self.output.format }
            .print(&report, || {
                let short = |digest: &crate::oci::Digest| digest.short();
                let mut text = ui::table_of_any(
                    &["tag", "pointed at", "points at"],
                    way.tags.iter().map(|tag| {
                        let from = tag.from.as_ref().map_or_else(|| "-".to_owned(), short);
                        let note = if tag.from == Some(tag.to) { "the same".to_owned() } else { short(&tag.to) };
                        vec![tag.name.clone(), from, note]
                    }),
                );
                let moved = way.tags.iter().filter(|tag| tag.from != Some(tag.to)).count();
                let tags = ui::count(moved, "tag");
                text.push_str(&match done {
                    Some(_) => {
                        format!("\n{} is {} again (sequence {}): {tags} moved\n", way.name, way.version, way.sequence)
                    }
                    None => format!(
                        "\n{tags} would move to {} {}; nothing was changed (--dry-run)\n",
                        way.name, way.version
                    ),
                });
                text
            })
            .map_err(OutputError)?;
        Ok(())
    }
}
