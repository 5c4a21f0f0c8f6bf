//! `bundle load`.

mod rollback;

use std::path::PathBuf;

use serde_json::json;

use super::{
    Context, Failure, OutputError,
    args::{Access, Login, Output, Trust},
    env, issuer, ui,
    ui::Ui,
};
use crate::{
    archive::{Archive, Unverified, admit},
    error::{Classify, Diagnostic, Kind, Side},
    event::Event,
    load::{Job, LoadPlan, plan, push, receipt},
    names::{Layout, Target},
    registry::Registries,
    store::Slots,
    trust::{ExpiryPolicy, FreshnessPolicy, Verdict, freshness},
};

/// Verify an archive and push everything in it into a registry.
///
/// Blobs that the registry has are skipped; tags are written last, when every digest has answered. An interrupted load is
/// continued by the same command.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The archive; with --rollback the name of the bundle, which may be left out where only one was loaded.
    #[arg(required_unless_present = "rollback")]
    file: Option<PathBuf>,
    /// Where to: HOST[:PORT][/PREFIX].
    #[arg(long, value_name = "TARGET")]
    to: Target,
    /// Show what would be pushed where; push nothing.
    #[arg(long)]
    dry_run: bool,
    /// Names in the target: source (host and full path), host, flat, or depth=N path components.
    #[arg(long, value_name = "LAYOUT", default_value = "source")]
    layout: Layout,
    /// For registries that refuse an index of which they hold only some platforms: push an index of just those.
    #[arg(long)]
    derive_index: bool,
    /// What to do with an archive that has expired: enforce, warn or ignore.
    #[arg(long, value_name = "POLICY", default_value = "warn", value_parser = expiry)]
    expiry: ExpiryPolicy,
    /// Load an older archive than the one loaded last; needs --reason.
    #[arg(long, requires = "reason")]
    allow_rollback: bool,
    /// Why an older archive is loaded, or why --rollback; kept in the receipt.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Go back: point the tags again at what the load before the last one brought. Needs no archive.
    #[arg(long, conflicts_with_all = ["layout", "derive_index", "allow_rollback"])]
    rollback: bool,
    /// With --rollback: go back to the last load that had this sequence.
    #[arg(long, value_name = "N", requires = "rollback")]
    sequence: Option<u64>,
    #[command(flatten)]
    issuer: issuer::ForLoad,
    #[command(flatten)]
    trust: Trust,
    #[command(flatten)]
    login: Login,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    pub output: Output,
}

fn expiry(text: &str) -> Result<ExpiryPolicy, String> {
    match text {
        "enforce" => Ok(ExpiryPolicy::Enforce),
        "warn" => Ok(ExpiryPolicy::Warn),
        "ignore" => Ok(ExpiryPolicy::Ignore),
        _ => Err("expected enforce, warn or ignore".to_owned()),
    }
}

/// Time on this machine's clock cannot be expressed.
#[derive(Debug, thiserror::Error)]
#[error("this machine's clock shows a time that cannot be: set it")]
struct Clock;

impl Classify for Clock {
    fn kind(&self) -> Kind {
        Kind::Usage
    }
}

/// A reason was given for nothing.
#[derive(Debug, thiserror::Error)]
#[error("--reason says why an older archive is loaded: it goes with --allow-rollback or --rollback")]
struct Misplaced;

impl Classify for Misplaced {
    fn kind(&self) -> Kind {
        Kind::Usage
    }
}

/// Returns what time it is: in seconds since 1970, and as a moment.
fn clock() -> Result<(u64, jiff::Timestamp), Clock> {
    let now = env::now();
    let moment = i64::try_from(now).ok().and_then(|now| jiff::Timestamp::from_second(now).ok()).ok_or(Clock)?;
    Ok((now, moment))
}

impl Args {
    fn registries(&self, context: &Context) -> Result<Registries, Failure> {
        let credentials = self.login.credentials(&self.to.host)?;
        Ok(Registries::new(self.access.settings(None), credentials, context.observer.clone())?)
    }

    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let policy = self.trust.policy()?;
        if self.reason.is_some() && !self.allow_rollback && !self.rollback {
            return Err(Misplaced.into());
        }
        if policy.is_none() {
            let text = "nothing says who made this archive: --insecure-skip-verify";
            context.observer.on(&Event::Noted(Diagnostic::warning("unverified", text)));
        }
        let file = match &self.file {
            Some(file) if !self.rollback => file,
            _ => return self.go_back(context, policy.as_ref()).await,
        };
        let (archive, verdict) = admit(Unverified::open(file)?, policy.as_ref())?;
        let credentials = self.login.credentials(&self.to.host)?;
        let mut settings = self.access.settings(None);
        // The registry's certificate comes first: the cluster pulls cert-manager from that registry.
        let authority = self.issuer.open(context, &self.to.host, self.dry_run)?;
        settings.ca.extend(authority.iter().map(issuer::Authority::roots));
        let registries = Registries::new(settings, credentials, context.observer.clone())?;
        let planned = plan(&archive, self.to.clone(), self.layout).await?;
        if self.dry_run {
            return self.show_plan(&archive, verdict.as_ref(), &planned);
        }
        let authority = match authority {
            // Before hours of pushing, not after them.
            Some(authority) => Some(authority.connect(context).await?),
            None => None,
        };
        let state = env::state_dir();
        let records = registries.repository(&self.to.host, &planned.state, Side::Target);
        let target = self.to.to_string();
        let name = &archive.inventory().name;
        let before = receipt::last_loaded(&records, &target, state.as_deref(), name, policy.as_ref()).await?;
        let (now, moment) = clock()?;
        let rules =
            FreshnessPolicy { expiry: self.expiry, allow_rollback: self.allow_rollback, ..FreshnessPolicy::default() };
        for warning in freshness(
            &receipt::facts(archive.inventory(), archive.control().digest()),
            before.last.as_ref(),
            moment,
            &rules,
        )? {
            context.observer.on(&Event::Noted(warning));
        }
        let job = Job {
            archive: &archive,
            plan: &planned,
            signatures: verdict.as_ref().map(Verdict::sets).unwrap_or_default(),
            registries: &registries,
            derive_index: self.derive_index,
            slots: Slots::new(usize::from(self.access.concurrency)),
            observer: context.observer.clone(),
        };
        let loaded = push(&job).await?;
        let record = receipt::Record {
            remote: &records,
            target: &target,
            state: state.as_deref(),
            before: &before,
            layout: self.layout,
            now,
            rollback_reason: self.reason.clone(),
        };
        let receipt = receipt::write(record, archive.inventory(), &archive.control().into(), &loaded).await?;
        let applied = match &authority {
            Some(authority) => authority.apply(context, &format!("{target}/{}", crate::archive::CHARTS)).await?,
            None => Vec::new(),
        };
        let report = json!({"applied": applied, "receipt": receipt, "pushedBlobs": loaded.pushed_blobs, "pushedBytes": loaded.pushed_bytes,
            "keptBlobs": loaded.kept_blobs, "keptBytes": loaded.kept_bytes, "files": planned.files});
        Ui { format: self.output.format }
            .print(&report, || {
                let mut text = ui::table_of_any(
                    &["image", "digest"],
                    loaded.images.iter().map(|image| {
                        let tags: Vec<&str> = image.tags.iter().map(crate::oci::Tag::as_str).collect();
                        let tags = if tags.is_empty() { String::new() } else { format!(":{}", tags.join(",")) };
                        vec![format!("{}{tags}", image.target), image.digest.short()]
                    }),
                );
                if !loaded.charts.is_empty() {
                    text.push_str(ui::between(&text));
                    text.push_str(&ui::table(
                        &["chart", "version", "digest"],
                        loaded.charts.iter().map(|chart| {
                            vec![format!("oci://{}", chart.target), chart.version.clone(), chart.digest.short()]
                        }),
                    ));
                }
                for set in &planned.files {
                    text.push_str(&format!(
                        "{}/{}:{}  {}\n",
                        self.to.host,
                        set.repository,
                        set.tag,
                        set.digest.short()
                    ));
                }
                if !applied.is_empty() {
                    text.push_str(ui::between(&text));
                    text.push_str(&issuer::applied_table(&applied));
                }
                text.push_str(&format!(
                    "\nloaded {} {} into {target}: {} pushed ({}), {} there already ({})\n",
                    receipt.name,
                    receipt.version,
                    ui::count(loaded.pushed_blobs as usize, "blob"),
                    ui::size(loaded.pushed_bytes),
                    ui::count(loaded.kept_blobs as usize, "blob"),
                    ui::size(loaded.kept_bytes),
                ));
                text
            })
            .map_err(OutputError)?;
        Ok(())
    }

    fn show_plan(&self, archive: &Archive, verdict: Option<&Verdict>, planned: &LoadPlan) -> Result<(), Failure> {
        let inventory = archive.inventory();
        let signers: Vec<String> =
            verdict.iter().flat_map(|verdict| verdict.signers()).map(|key| key.fingerprint()).collect();
        let report = json!({
            "dryRun": true, "bundle": inventory.name, "version": inventory.version, "sequence": inventory.sequence, "signers": signers,
            "target": planned.target.to_string(), "layout": planned.layout.to_string(), "images": planned.images, "charts": planned.charts, "files": planned.files,
        });
        Ui { format: self.output.format }
            .print(&report, || {
                let mut text = ui::table_of_any(
                    &["source", "becomes", "size", "note"],
                    planned.images.iter().flat_map(|image| {
                        let note = if image.sparse { "some platforms only" } else { "" };
                        let name = format!("{}/{}", planned.target.host, image.repository);
                        let rows: Vec<(String, String)> = match image.tags.is_empty() {
                            true => vec![(
                                format!("{}@{}", image.source, image.digest.short()),
                                format!("{name}@{}", image.digest.short()),
                            )],
                            false => image
                                .tags
                                .iter()
                                .map(|tag| (format!("{}:{tag}", image.source), format!("{name}:{tag}")))
                                .collect(),
                        };
                        rows.into_iter()
                            .map(move |(source, target)| vec![source, target, ui::size(image.size), note.to_owned()])
                    }),
                );
                if !planned.charts.is_empty() {
                    text.push_str(ui::between(&text));
                    text.push_str(&ui::table(
                        &["chart", "version", "becomes", "size"],
                        planned.charts.iter().map(|chart| {
                            let target = format!("oci://{}/{}:{}", planned.target.host, chart.repository, chart.tag);
                            vec![chart.name.clone(), chart.version.clone(), target, ui::size(chart.size)]
                        }),
                    ));
                }
                for set in &planned.files {
                    text.push_str(&format!(
                        "files {}: {}, {} -> {}/{}:{}\n",
                        set.name,
                        ui::count(set.files, "file"),
                        ui::size(set.size),
                        planned.target.host,
                        set.repository,
                        set.tag
                    ));
                }
                text.push_str("\nnothing was pushed (--dry-run)\n");
                text
            })
            .map_err(OutputError)?;
        Ok(())
    }
}
