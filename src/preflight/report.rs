//! What was found.

use serde::Serialize;

use crate::error::Kind;

/// Says how a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As it must be.
    Ok,
    /// Works, and deserves a look.
    Warning,
    /// It could not be found out.
    CouldNotCheck,
    /// Loading or running will fail.
    Failure,
}

impl Outcome {
    /// Returns how people see it.
    pub fn label(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Warning => "warning",
            Outcome::CouldNotCheck => "could not check",
            Outcome::Failure => "FAILURE",
        }
    }
}

/// Holds one finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Which check, such as `PRE103`; stable.
    pub id: &'static str,
    /// The name of the check, such as `certificate`; stable.
    pub name: &'static str,
    /// How it came out.
    pub outcome: Outcome,
    /// What was found, in one sentence.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// What kind of failure it is; decides the exit code.
    #[serde(skip)]
    pub kind: Kind,
}

impl Check {
    /// Says that something is as it must be.
    pub fn ok((id, name): Id, message: impl Into<String>) -> Check {
        Check { id, name, outcome: Outcome::Ok, message: message.into(), remedy: None, kind: Kind::Answer }
    }

    /// Says that something deserves a look.
    pub fn warning(id: Id, message: impl Into<String>) -> Check {
        Check { outcome: Outcome::Warning, ..Check::ok(id, message) }
    }

    /// Says that something will fail.
    pub fn failure(id: Id, message: impl Into<String>) -> Check {
        Check { outcome: Outcome::Failure, ..Check::ok(id, message) }
    }

    /// Says that something could not be found out.
    pub fn unchecked(id: Id, message: impl Into<String>) -> Check {
        Check { outcome: Outcome::CouldNotCheck, ..Check::ok(id, message) }
    }

    /// Adds what to do.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Check {
        self.remedy = Some(remedy.into());
        self
    }

    /// Says what kind of failure it is, when it is not merely the answer "no".
    pub fn of_kind(mut self, kind: Kind) -> Check {
        self.kind = kind;
        self
    }
}

/// The identifier and the name of a check.
pub type Id = (&'static str, &'static str);

/// Every check with its identifier, in the order of the report.
pub mod id {
    use super::Id;

    /// The archive can be read and is signed by a trusted key.
    pub const ARCHIVE: Id = ("PRE001", "archive");
    /// It is not expired and not from the future.
    pub const ARCHIVE_AGE: Id = ("PRE002", "archive-age");
    /// Every name in it has a place in the target.
    pub const NAMES: Id = ("PRE003", "names");
    /// The disk of this machine has room.
    pub const DISK: Id = ("PRE004", "disk");
    /// The objects of charts and manifests could be read.
    pub const OBJECTS: Id = ("PRE005", "objects");
    /// The registry's name is known here.
    pub const REGISTRY_NAME: Id = ("PRE101", "registry-name");
    /// The registry answers.
    pub const REGISTRY: Id = ("PRE102", "registry");
    /// Its certificate holds.
    pub const CERTIFICATE: Id = ("PRE103", "certificate");
    /// Its clock agrees with ours.
    pub const CLOCK: Id = ("PRE104", "clock");
    /// There are credentials.
    pub const CREDENTIALS: Id = ("PRE105", "credentials");
    /// It lets us write to every repository.
    pub const PUSH: Id = ("PRE106", "push");
    /// It takes paths as deep as the deepest.
    pub const DEPTH: Id = ("PRE107", "path-depth");
    /// It takes indexes of which some platforms are missing.
    pub const SPARSE: Id = ("PRE108", "sparse-index");
    /// It has room.
    pub const ROOM: Id = ("PRE109", "registry-room");
    /// How much is there already.
    pub const THERE: Id = ("PRE110", "content");
    /// The API server answers.
    pub const CLUSTER: Id = ("PRE201", "cluster");
    /// It is ready.
    pub const READY: Id = ("PRE202", "cluster-ready");
    /// Its clock agrees with ours.
    pub const CLUSTER_CLOCK: Id = ("PRE203", "cluster-clock");
    /// It serves the API versions of the objects.
    pub const APIS: Id = ("PRE204", "api-versions");
    /// It has the kinds of custom resources, or they are carried.
    pub const DEFINITIONS: Id = ("PRE205", "definitions");
    /// cert-manager is there.
    pub const CERT_MANAGER: Id = ("PRE206", "cert-manager");
    /// Storage classes exist.
    pub const STORAGE: Id = ("PRE207", "storage-classes");
    /// Ingress and Gateway classes exist.
    pub const INGRESS: Id = ("PRE208", "ingress-classes");
    /// This user may apply the objects.
    pub const RIGHTS: Id = ("PRE209", "cluster-rights");
    /// There are nodes, ready and without pressure.
    pub const NODES: Id = ("PRE210", "nodes");
    /// The images run on the nodes' architectures.
    pub const PLATFORMS: Id = ("PRE211", "platforms");
    /// Container runtimes can do what mirrors need.
    pub const RUNTIMES: Id = ("PRE212", "runtimes");
    /// The names that people will type are known here.
    pub const HOSTS: Id = ("PRE301", "host-names");
}

/// Holds every finding of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The findings, by identifier.
    pub checks: Vec<Check>,
}

impl Report {
    /// Puts findings together.
    pub fn new(mut checks: Vec<Check>) -> Report {
        checks.sort_by_key(|check| check.id);
        Report { checks }
    }

    /// Counts the findings with an outcome.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.checks.iter().filter(|check| check.outcome == outcome).count()
    }

    /// Returns what kind of failure this is, if any: an archive that must not be used comes before a server that cannot be
    /// reached, and that before everything else. When `strict`, warnings and what could not be checked count too.
    pub fn verdict(&self, strict: bool) -> Option<Kind> {
        let failures = self.checks.iter().filter(|check| check.outcome == Outcome::Failure);
        let rank = |kind: &Kind| match kind {
            Kind::Corrupt => 4,
            Kind::Untrusted => 3,
            Kind::Unavailable => 2,
            Kind::Answer => 0,
            _ => 1,
        };
        let worst = failures.map(|check| check.kind).max_by_key(rank);
        let strictly = strict && self.checks.iter().any(|check| check.outcome != Outcome::Ok);
        worst.or(strictly.then_some(Kind::Answer))
    }
}

/// Writes a few names of many: `a, b and 3 more`.
pub(super) fn some_of<T: std::fmt::Display>(names: impl IntoIterator<Item = T>) -> String {
    const SHOWN: usize = 5;
    let all: Vec<String> = names.into_iter().map(|name| name.to_string()).collect();
    match all.len() {
        0..=SHOWN => all.join(", "),
        many => format!("{} and {} more", all[..SHOWN].join(", "), many - SHOWN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_failure_decides() {
        let report = |checks: &[Check]| Report::new(checks.to_vec());
        let ok = Check::ok(id::CLOCK, "x");
        let no = Check::failure(id::PUSH, "x");
        let away = Check::failure(id::REGISTRY, "x").of_kind(Kind::Unavailable);
        let bad = Check::failure(id::ARCHIVE, "x").of_kind(Kind::Untrusted);
        let unknown = Check::unchecked(id::ROOM, "x");
        assert_eq!(report(&[ok.clone(), unknown.clone()]).verdict(false), None);
        assert_eq!(report(&[ok.clone(), unknown]).verdict(true), Some(Kind::Answer));
        assert_eq!(report(&[ok.clone(), no.clone()]).verdict(false), Some(Kind::Answer));
        assert_eq!(report(&[no.clone(), away.clone()]).verdict(false), Some(Kind::Unavailable));
        assert_eq!(report(&[bad, no, away]).verdict(false), Some(Kind::Untrusted));
        assert_eq!(report(&[ok]).verdict(true), None);
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(some_of(["a", "b"]), "a, b");
        assert_eq!(some_of(1..=7), "1, 2, 3, 4, 5 and 2 more");
    }
}
