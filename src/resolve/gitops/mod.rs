//! Objects of GitOps tools, followed to what they would bring into the cluster.
//!
//! ```text
//!  objects of all inputs ─ catalogue ─┬ flux.rs argo.rs appset/ cattle.rs fleet.rs ─→ Action
//!        ↑                            │        (what is asked for)                     │
//!        └── new batches of objects ──┴── chart.rs, build.rs (charts, kustomizations) ─┘
//! ```
//!
//! | file | owns |
//! |---|---|
//! | `mod.rs` | rounds until nothing new appears; bounds |
//! | `catalogue.rs` | all objects by kind and name; values from ConfigMaps and Secrets |
//! | `subject.rs` | an object that is followed: its fields, its name in messages |
//! | `place.rs` | from the address of a repository to files |
//! | `flux.rs`, `argo.rs`, `cattle.rs`, `fleet.rs` | the objects of each tool |
//! | `appset.rs`, `generators.rs` | ApplicationSets |
//! | `chart.rs` | charts: fetched, rendered, post-rendered |
//! | `build.rs` | kustomizations and folders of manifests |
//! | `substitute.rs` | variables of Flux |
//!
//! # Invariants
//! - An object that cannot be followed is a mistake with its place; only the spec can say that it does not matter.
//! - What is found tells its way: the object's file and line, its kind and name, then the chart or the file behind it.
//! - Nothing is followed twice: an object that brings itself back ends there. Rounds, depth and numbers are bounded.

mod appset;
mod argo;
mod build;
mod catalogue;
mod cattle;
mod chart;
mod fleet;
mod flux;
mod generators;
mod place;
mod subject;
mod substitute;

use std::{collections::BTreeSet, sync::Arc};

use futures_util::{StreamExt, stream};

use super::{
    Carried, Job,
    batch::{Batch, Home, Origin, Via},
    charts::Acquirer,
    kustomize::Workshop,
    search::{Input, Listed, Settled},
};
use crate::{
    discover::{Step, object_step},
    error::{Diagnostic, Kind, Location},
    kube::Object,
};

use catalogue::Catalogue;
use place::Yard;
use subject::{Refusal, Subject};

pub(super) use fleet::{FILE as FLEET_FILE, bundle as fleet_bundle};

/// How many objects may stand inside each other: an application of applications of a chart is three.
const DEPTH: usize = 16;

/// How many objects are followed in all: far above the largest fleets in one repository.
const OBJECTS: usize = 5_000;

/// What following gave besides new batches.
#[derive(Default)]
pub(super) struct Followed {
    /// Charts, with the label and the place of the entry that leads to them.
    pub(super) charts: Vec<(String, Location, Carried)>,
    pub(super) warnings: Vec<Diagnostic>,
    pub(super) failures: Vec<(Kind, Diagnostic)>,
    /// Fields that were followed.
    pub(super) settled: Settled,
}

/// What an object asks for.
enum Action {
    /// A chart.
    Chart(Box<chart::Plan>),
    /// A kustomization or a folder of manifests.
    Build(Box<build::Plan>),
    /// Further objects that are only followed.
    Made(Vec<Object>),
    /// Further objects, in files that are somewhere else.
    Found { home: Home, objects: Vec<Object> },
    /// A text of manifests that the object holds, and its field.
    Text { field: String, text: String },
    /// A field of another object that was taken into account.
    Settled { object: Step, field: String },
    /// Something that is not followed.
    Refused(Refusal),
    /// Something that deserves a look.
    Note(Diagnostic),
}

/// What an object gave.
#[derive(Default)]
struct Yield {
    batches: Vec<Batch>,
    charts: Vec<Carried>,
    listed: Vec<Listed>,
    warnings: Vec<Diagnostic>,
    failures: Vec<(Kind, Diagnostic)>,
    /// Fields of this object and of those that it takes values from.
    settled: Vec<(Step, String)>,
}

/// What everybody who follows needs.
struct Follower<'a, 'j> {
    job: &'a Job<'j>,
    acquirer: &'a Arc<Acquirer>,
    workshop: Workshop,
    yard: Yard,
    /// Charts at hand.
    copies: Vec<Carried>,
}

/// The kinds that are followed, and whether they bring further objects rather than charts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    HelmRelease,
    Kustomization,
    Application,
    ApplicationSet,
    HelmChart,
    HelmChartConfig,
    FleetFile,
    FleetBundle,
    FleetRepo,
    ManagedChart,
    HelmChartProxy,
}

impl Tool {
    fn of(object: &Object) -> Option<Tool> {
        Some(match (object.group(), object.kind.as_str()) {
            ("helm.toolkit.fluxcd.io", "HelmRelease") => Tool::HelmRelease,
            ("kustomize.toolkit.fluxcd.io", "Kustomization") => Tool::Kustomization,
            ("argoproj.io", "Application") => Tool::Application,
            ("argoproj.io", "ApplicationSet") => Tool::ApplicationSet,
            ("helm.cattle.io", "HelmChart") => Tool::HelmChart,
            ("helm.cattle.io", "HelmChartConfig") => Tool::HelmChartConfig,
            ("fleet.cattle.io", kind) if kind == fleet::KIND => Tool::FleetFile,
            ("fleet.cattle.io", "Bundle") => Tool::FleetBundle,
            ("fleet.cattle.io", "GitRepo") => Tool::FleetRepo,
            ("management.cattle.io", "ManagedChart") => Tool::ManagedChart,
            ("addons.cluster.x-k8s.io", "HelmChartProxy") => Tool::HelmChartProxy,
            _ => return None,
        })
    }

    /// Tells whether what it brings may be what charts take their values and sources from.
    fn is_early(self) -> bool {
        !matches!(self, Tool::HelmRelease | Tool::HelmChart | Tool::FleetFile | Tool::FleetBundle)
    }
}

/// Where an object is among the inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seat {
    input: usize,
    batch: usize,
    object: usize,
}

/// Follows every object of every input and adds what it finds to the inputs.
pub(super) async fn follow(
    job: &Job<'_>,
    acquirer: &Arc<Acquirer>,
    inputs: &mut [Input],
    copies: Vec<Carried>,
) -> Followed {
    let follower = Follower { job, acquirer, workshop: Workshop::of(job, acquirer), yard: Yard::default(), copies };
    let mut followed = Followed::default();
    let mut looked: Vec<usize> = vec![0; inputs.len()];
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut waiting: Vec<(Seat, Tool)> = Vec::new();
    let mut unused: BTreeSet<String> =
        job.spec.discovery.unfollowed.iter().map(|one| one.entry.label.clone()).collect();
    loop {
        for (input, looked) in looked.iter_mut().enumerate() {
            let all = &inputs[input];
            for batch in *looked..all.batches.len() {
                for (object, found) in all.batches[batch].objects.iter().enumerate() {
                    let Some(tool) = Tool::of(found) else { continue };
                    let skip = job
                        .spec
                        .discovery
                        .unfollowed
                        .iter()
                        .filter(|one| one.object.matches(&found.kind, found.namespace.as_deref(), &found.name));
                    let skip: Vec<String> = skip.map(|one| one.entry.label.clone()).collect();
                    if !skip.is_empty() {
                        unused.retain(|label| !skip.contains(label));
                        continue;
                    }
                    // What brings itself back is the same object in the same input.
                    if seen.insert(format!("{input} {}", identity(found))) {
                        waiting.push((Seat { input, batch, object }, tool));
                    }
                }
            }
            *looked = all.batches.len();
        }
        if waiting.is_empty() {
            break;
        }
        if seen.len() > OBJECTS {
            let text = format!("more than {OBJECTS} objects of GitOps tools bring each other");
            followed.failures.push((Kind::Usage, Diagnostic::error("gitops-limit", text)));
            break;
        }
        // What brings sources and values comes before what needs them.
        let early = waiting.iter().any(|(_, tool)| tool.is_early());
        let (now, later): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(_, tool)| !early || tool.is_early());
        let mut results = round(&follower, inputs, &now).await;
        waiting = later;
        // Without new objects, what is missing stays missing.
        let progress = results.iter().any(|(_, _, result)| result.is_ok());
        if !progress && early && !waiting.is_empty() {
            // Charts may bring it.
            let held: Vec<(Seat, Tool)> = results.drain(..).map(|(seat, tool, _)| (seat, tool)).collect();
            let late = std::mem::take(&mut waiting);
            results = round(&follower, inputs, &late).await;
            if results.iter().any(|(_, _, result)| result.is_ok()) {
                waiting = held;
            } else {
                results.extend(round(&follower, inputs, &held).await);
            }
        }
        let progress = results.iter().any(|(_, _, result)| result.is_ok());
        for (seat, tool, result) in results {
            match result {
                Ok(found) => take(&mut inputs[seat.input], found, &mut followed),
                Err(_) if progress => waiting.push((seat, tool)),
                Err(refusal) => {
                    let input = &inputs[seat.input];
                    let batch = &input.batches[seat.batch];
                    let title = format!("{}: {}", input.label, object_step(&batch.objects[seat.object]));
                    let place = batch.location(&batch.objects[seat.object], None);
                    followed.failures.push(refusal.told(&title, &batch.objects[seat.object], place));
                }
            }
        }
    }
    for one in job.spec.discovery.unfollowed.iter().filter(|one| unused.contains(&one.entry.label)) {
        let text = format!("{}: {:?} fits no object that would be followed", one.entry.label, one.object.as_str());
        followed.warnings.push(
            Diagnostic::warning("unused-pattern", text).at(one.entry.at.clone()).hint("correct it, or remove it"),
        );
    }
    followed
}

type Results = Vec<(Seat, Tool, Result<Yield, Refusal>)>;

/// Follows several objects; an error is one that waits for another object.
async fn round(follower: &Follower<'_, '_>, inputs: &[Input], now: &[(Seat, Tool)]) -> Results {
    let catalogue = Catalogue::of(inputs);
    stream::iter(now)
        .map(async |(seat, tool)| {
            let input = &inputs[seat.input];
            let batch = &input.batches[seat.batch];
            let subject = Subject { catalogue: &catalogue, input, batch, object: &batch.objects[seat.object] };
            (*seat, *tool, follower.one(&subject, *tool).await)
        })
        .buffered(follower.job.jobs.max(1))
        .collect()
        .await
}

fn take(input: &mut Input, found: Yield, followed: &mut Followed) {
    for (object, field) in found.settled {
        followed.settled.add(object, field);
    }
    input.batches.extend(found.batches);
    input.listed.extend(found.listed);
    let labelled = found.charts.into_iter().map(|chart| (input.label.clone(), input.at.clone(), chart));
    followed.charts.extend(labelled);
    followed.warnings.extend(found.warnings);
    followed.failures.extend(found.failures);
}

/// Tells objects apart: the same name with other content is another one.
fn identity(object: &Object) -> String {
    let content = object.node.to_json().map(|json| json.to_string()).unwrap_or_default();
    format!("{} {}", object_step(object), crate::oci::Digest::sha256(content.as_bytes()))
}

impl Follower<'_, '_> {
    /// Follows one object. Everything that is wrong is in what it yields, but for what may still come.
    async fn one(&self, subject: &Subject<'_>, tool: Tool) -> Result<Yield, Refusal> {
        let mut found = Yield::default();
        if subject.batch.via.depth >= DEPTH {
            let text = format!("it stands inside {DEPTH} others; charts and kustomizations bring each other");
            let place = subject.place(None);
            found.failures.push(Refusal::new("gitops-limit", text).told(&subject.title(), subject.object, place));
            return Ok(found);
        }
        let actions = match tool {
            Tool::HelmRelease => flux::release(self, subject).await,
            Tool::Kustomization => flux::kustomization(self, subject).await,
            Tool::Application => argo::application(self, subject).await,
            Tool::ApplicationSet => appset::applications(subject),
            Tool::HelmChart => cattle::chart(subject),
            Tool::HelmChartConfig => cattle::config(subject),
            Tool::FleetFile => fleet::file(self, subject).await,
            Tool::FleetBundle => fleet::made(subject),
            Tool::FleetRepo => fleet::repository(self, subject).await,
            Tool::ManagedChart | Tool::HelmChartProxy => cattle::elsewhere(subject),
        };
        let told = |refusal: Refusal| refusal.told(&subject.title(), subject.object, subject.place(None));
        let actions = match actions {
            Ok(actions) => actions,
            Err(refusal) if refusal.waits => return Err(refusal),
            Err(refusal) => {
                found.failures.push(told(refusal));
                return Ok(found);
            }
        };
        let whole = match tool {
            Tool::HelmRelease => &["spec.values", "spec.chart", "spec.postRenderers"][..],
            Tool::HelmChart | Tool::HelmChartConfig => &["spec.values", "spec.set", "spec.chart"][..],
            Tool::FleetFile => &["helm", "targetCustomizations"][..],
            _ => &["spec"][..],
        };
        let mut clean = true;
        let mut settled = Vec::new();
        for action in actions {
            let before = found.failures.len();
            match action {
                Action::Chart(plan) => self.chart(subject, *plan, &mut found).await,
                Action::Build(plan) => self.build(subject, *plan, &mut found).await,
                Action::Made(objects) => found.batches.push(made(subject, objects)),
                Action::Found { home, objects } => {
                    let mut batch = made(subject, objects);
                    batch.via.home = home;
                    found.batches.push(batch);
                }
                Action::Text { field, text } => self.text(subject, &field, &text, &mut found),
                Action::Settled { object, field } => settled.push((object, field)),
                Action::Refused(refusal) => found.failures.push(told(refusal)),
                Action::Note(diagnostic) => found.warnings.push(diagnostic),
            }
            clean &= found.failures.len() == before;
        }
        if clean {
            let object = object_step(subject.object);
            found.settled.extend(settled);
            found.settled.extend(whole.iter().map(|field| (object.clone(), (*field).to_owned())));
        }
        Ok(found)
    }

    /// Reads manifests that stand in a field.
    fn text(&self, subject: &Subject<'_>, field: &str, text: &str, found: &mut Yield) {
        let name = format!("{}#{field}", subject.place(None).file);
        match crate::kube::object::objects(&name, text) {
            Ok(objects) => {
                let mut batch = Batch::new(objects, Origin::File(field.to_owned()));
                batch.via = subject.via(subject.batch.via.home.clone());
                found.batches.push(batch);
            }
            Err(mistakes) => found.failures.extend(mistakes.into_iter().map(|mistake| {
                let message = format!("{}: {}", subject.title(), mistake.message);
                (Kind::Usage, Diagnostic { message, ..mistake })
            })),
        }
    }
}

/// Makes a batch of objects that an object stands for.
fn made(subject: &Subject<'_>, objects: Vec<Object>) -> Batch {
    let mut batch = Batch::new(objects, Origin::File(String::new()));
    batch.via = Via { made: true, ..subject.via(subject.batch.via.home.clone()) };
    batch
}
