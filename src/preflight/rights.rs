//! May we push, and to which paths: for every repository of the plan an upload is opened and given up.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};

use super::{
    registry::Subject,
    report::{Check, id, some_of},
};
use crate::{
    error::{Classify as _, Kind, Side},
    oci::Repository,
    registry::{Error, Given, Remote},
};

/// The longest name of a repository that common registries keep (distribution, `RepositoryNameTotalLengthMax`).
const MAX_NAME: usize = 255;

/// Says what stands in the way of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Obstacle {
    Denied,
    ReadOnly,
    Name,
    Absent,
    Away,
    Other,
}

fn obstacle(error: &Error) -> Obstacle {
    match error {
        Error::Denied { .. } | Error::Scheme { .. } | Error::Realm { .. } => Obstacle::Denied,
        Error::Token { .. } if error.kind() == Kind::NotFound => Obstacle::Denied,
        Error::NotFound { .. } => Obstacle::Absent,
        // Distribution answers 405 with UNSUPPORTED in read-only mode; others say it with a code of their own.
        Error::Status { answer, .. } if answer.status == 405 || answer.has_code(&["UNSUPPORTED", "READONLY"]) => {
            Obstacle::ReadOnly
        }
        Error::Status { answer, .. } if answer.has_code(&["NAME_INVALID"]) || answer.status == 400 => Obstacle::Name,
        error if error.kind() == Kind::Unavailable => Obstacle::Away,
        _ => Obstacle::Other,
    }
}

/// Checks credentials, rights and depth.
pub(super) async fn check(subject: &Subject<'_>) -> Vec<Check> {
    let host = &subject.target.host;
    let mut repositories: Vec<&Repository> =
        subject.pushes.iter().map(|push| &push.repository).chain(&subject.further).collect();
    repositories.sort();
    repositories.dedup();
    let mut checks = Vec::new();
    let Some(deepest) = repositories.iter().copied().max_by_key(|name| (name.depth(), name.as_str().len())) else {
        checks.push(Check::unchecked(id::PUSH, "without an archive there is no repository to try"));
        return checks;
    };
    let found = subject.registries.credentials().find(host, deepest.as_str()).await;
    checks.push(match (found.describe(), found.troubles.as_slice()) {
        (Some(who), _) => Check::ok(id::CREDENTIALS, format!("{host} is asked as {who}")),
        (None, []) => Check::ok(id::CREDENTIALS, format!("there are none for {host}; it is asked as nobody")),
        (None, troubles) => Check::failure(id::CREDENTIALS, format!("none for {host}: {}", troubles.join("; ")))
            .remedy("repair the credential helper or the file, or give --username and --password-stdin")
            .of_kind(Kind::NotFound),
    });
    if !subject.try_uploads {
        checks.push(Check::unchecked(id::PUSH, "uploads were not to be tried (--no-upload-probe)"));
        checks.push(depth(deepest, None));
        return checks;
    }
    let tried: Vec<(&Repository, Result<Given, Error>)> = stream::iter(repositories.iter().copied())
        .map(async |repository| {
            let remote: Remote = subject.registries.repository(host, repository, Side::Target);
            (repository, remote.try_upload().await)
        })
        .buffer_unordered(subject.at_once.max(1))
        .collect()
        .await;
    let total = tried.len();
    let mut left_open = 0;
    let mut refused: BTreeMap<Obstacle, Vec<(&Repository, Error)>> = BTreeMap::new();
    for (repository, outcome) in tried {
        match outcome {
            Ok(given) => left_open += usize::from(given == Given::ToTime),
            Err(error) => refused.entry(obstacle(&error)).or_default().push((repository, error)),
        }
    }
    let depth_error = refused.get(&Obstacle::Name).and_then(|all| all.iter().find(|(name, _)| *name == deepest));
    checks.push(depth(deepest, depth_error.map(|(_, error)| error)));
    for (obstacle, mut all) in refused {
        all.sort_by(|a, b| a.0.cmp(b.0));
        checks.push(told(obstacle, host.as_str(), &all, total));
    }
    if !checks.iter().any(|check| check.id == id::PUSH.0) {
        let mut text = format!("uploads are accepted in all {total} repositories");
        if left_open > 0 {
            text.push_str("; the registry knows no way to give one up and forgets them by itself");
        }
        checks.push(Check::ok(id::PUSH, text));
    }
    checks
}

fn told(obstacle: Obstacle, host: &str, all: &[(&Repository, Error)], total: usize) -> Check {
    let names = some_of(all.iter().map(|(repository, _)| repository));
    let first = all.first().map(|(_, error)| error.to_string()).unwrap_or_default();
    let number = all.len();
    let at = format!("{number} of {total} repositories ({names})");
    match obstacle {
        Obstacle::Denied => Check::failure(id::PUSH, format!("pushing is denied in {at}: {first}")).remedy(format!(
            "log in as a user who may push there (docker login {host}, REGISTRY_AUTH_FILE, --username); a robot or deploy account needs the right to push in each project"
        )),
        Obstacle::ReadOnly => Check::failure(id::PUSH, format!("{host} is read-only: {first}"))
            .remedy("end its maintenance or read-only mode (distribution: storage.maintenance.readonly), or push to another registry"),
        Obstacle::Name => Check::failure(id::PUSH, format!("the registry does not take the names of {at}: {first}"))
            .remedy("load with --layout depth=N, host or flat: names get fewer components"),
        Obstacle::Absent => Check::failure(id::PUSH, format!("there is no place for {at}: {first}"))
            .remedy("create the project or the repositories first (Harbor: project; ECR: each repository), or give another prefix in --to"),
        Obstacle::Away => Check::failure(id::PUSH, format!("no answer for {at}: {first}")).of_kind(Kind::Unavailable),
        Obstacle::Other => Check::failure(id::PUSH, format!("uploads are refused in {at}: {first}")),
    }
}

fn depth(deepest: &Repository, error: Option<&Error>) -> Check {
    let (components, length) = (deepest.depth(), deepest.as_str().len());
    if length > MAX_NAME {
        return Check::failure(
            id::DEPTH,
            format!("{deepest} has {length} characters; registries keep at most {MAX_NAME}"),
        )
        .remedy("give a shorter prefix in --to");
    }
    match error {
        Some(error) => {
            Check::failure(id::DEPTH, format!("{components} components are too many for this registry: {error}"))
                .remedy("load with --layout depth=N, host or flat")
        }
        None => Check::ok(id::DEPTH, format!("the deepest name has {components} components: {deepest}")),
    }
}
