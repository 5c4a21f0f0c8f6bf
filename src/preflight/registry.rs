//! The registry that a load would push to: is it there, is it the right one, what does it hold already.

use std::{collections::BTreeMap, time::Duration};

use futures_util::{StreamExt, stream};
use jiff::Timestamp;

use super::{
    certificate,
    report::{Check, id, some_of},
    resolver, rights,
};
use crate::{
    error::{Classify as _, Kind, Side},
    names::Target,
    net::{self, CertificateProblem},
    oci::{Descriptor, Digest, Host, Platform, Repository},
    registry::{Error, Pong, Registries},
    store::Sink as _,
};

/// How far two clocks may differ without a word: what a second of rounding and a slow answer explain.
const CLOCK_FINE: Duration = Duration::from_secs(30);
/// How far they may differ at all: tokens and fresh certificates are refused by then (Kerberos allows the same).
const CLOCK_BAD: Duration = Duration::from_secs(300);
/// How long before its end a certificate deserves a look.
const CERTIFICATE_SOON: i64 = 30 * 24 * 3600;
/// How long a look at a certificate may take.
const LOOK: Duration = Duration::from_secs(10);

/// One image, chart or set of files that a load would push.
#[derive(Clone, Debug)]
pub struct Push {
    /// The name that it had.
    pub source: String,
    /// Where it goes.
    pub repository: Repository,
    /// Its root.
    pub root: Descriptor,
    /// Everything below the root, with it.
    pub blobs: Vec<Descriptor>,
    /// Whether its index names platforms that are not carried.
    pub sparse: bool,
    /// Whether an index of just the carried platforms comes along.
    pub derived: bool,
    /// The platforms that are carried, where they are known.
    pub platforms: Vec<Platform>,
}

/// Says what is to be checked.
pub struct Subject<'a> {
    /// How registries are reached.
    pub registries: &'a Registries,
    /// Where a load would go.
    pub target: &'a Target,
    /// What it would push; empty when there is no archive.
    pub pushes: &'a [Push],
    /// Further repositories that it writes to.
    pub further: Vec<Repository>,
    /// Whether uploads are opened and given up, to learn whether we may push.
    pub try_uploads: bool,
    /// How many requests are made at once.
    pub at_once: usize,
}

/// Checks everything about the registry.
pub async fn check(subject: &Subject<'_>) -> Vec<Check> {
    let host = &subject.target.host;
    let mut checks = Vec::new();
    checks.extend(name(host).await);
    let pong = match subject.registries.ping(host).await {
        Ok(pong) => pong,
        Err(error) => {
            checks.extend(unreached(host, &error).await);
            let rest = [id::CLOCK, id::PUSH, id::DEPTH, id::SPARSE, id::THERE];
            let because = "needs a registry that answers and is trusted";
            checks.extend(rest.into_iter().map(|id| Check::unchecked(id, because)));
            return checks;
        }
    };
    let is_registry = pong.is_registry;
    checks.push(answered(host, &pong));
    checks.push(encrypted(host, &pong).await);
    if let Some((there, here)) = pong.date {
        checks.push(clock(id::CLOCK, host.as_str(), there, here));
    } else {
        checks.push(Check::unchecked(id::CLOCK, format!("{host} does not say what time it has")));
    }
    if !is_registry {
        return checks;
    }
    checks.extend(rights::check(subject).await);
    checks.extend(content(subject).await);
    checks
}

async fn name(host: &Host) -> Option<Check> {
    let name = host.name().trim_start_matches('[').trim_end_matches(']');
    if name.parse::<std::net::IpAddr>().is_ok() {
        return None;
    }
    Some(match resolver::resolve(name).await {
        Ok(found) => Check::ok(id::REGISTRY_NAME, format!("{name} is {}", some_of(found))),
        Err(why) => Check::failure(id::REGISTRY_NAME, format!("{name} has no address here: {why}"))
            .remedy("add it to the enclave's DNS or to /etc/hosts; every node must know it too, because nodes pull")
            .of_kind(Kind::Unavailable),
    })
}

/// Says what kept us from the registry.
async fn unreached(host: &Host, error: &Error) -> Vec<Check> {
    let Error::Net { cause, .. } = error else {
        return vec![Check::failure(id::REGISTRY, error.to_string()).of_kind(error.kind())];
    };
    match &**cause {
        net::Error::Certificate { problem, .. } => {
            let reached = Check::ok(id::REGISTRY, format!("{host} answers"));
            vec![reached, distrusted(host, problem).await]
        }
        net::Error::Tls { plain: true, .. } => vec![
            Check::ok(id::REGISTRY, format!("{host} answers")),
            Check::failure(id::CERTIFICATE, format!("{host} speaks plain HTTP on this port, and HTTPS was expected"))
                .remedy(format!(
                    "give the registry a certificate (bundle issuer issue {}), or, if plain HTTP is meant, --plain-http {host}",
                    host.name()
                )),
        ],
        net::Error::Tls { cause, .. } => vec![
            Check::ok(id::REGISTRY, format!("{host} answers")),
            Check::failure(id::CERTIFICATE, format!("{host}: TLS failed: {cause}")),
        ],
        cause => vec![
            Check::failure(id::REGISTRY, cause.to_string())
                .remedy("start the registry, or correct --to; a firewall in between drops what is not allowed")
                .of_kind(cause.kind()),
            Check::unchecked(id::CERTIFICATE, "needs a registry that answers"),
        ],
    }
}

/// Looks at what a registry shows, for messages.
async fn look(host: &Host) -> Option<(certificate::Shown, Vec<certificate::Shown>)> {
    let chain = net::certificates_of(host.name(), host.port().unwrap_or(443), LOOK).await;
    let mut shown = chain.iter().filter_map(|der| certificate::read(der));
    let own = shown.next()?;
    Some((own, shown.collect()))
}

async fn distrusted(host: &Host, problem: &CertificateProblem) -> Check {
    let seen = look(host).await;
    let says = match (&seen, problem) {
        (Some((own, _)), CertificateProblem::Expired | CertificateProblem::NotYetValid) => {
            format!(": it holds from {} to {}", own.not_before, own.not_after)
        }
        (Some((own, _)), CertificateProblem::WrongName) => format!(": it is for {}", some_of(&own.names)),
        (Some((own, further)), _) => {
            let top = further.last().unwrap_or(own);
            let own_word = if own.subject == own.issuer { ", by itself" } else { "" };
            format!(": {} was issued by {}{own_word}, and its chain ends at {}", own.subject, own.issuer, top.issuer)
        }
        (None, _) => String::new(),
    };
    let remedy = match problem {
        CertificateProblem::UnknownIssuer | CertificateProblem::NoRoots => match &seen {
            Some((own, further)) => format!(
                "give the CA {:?} with --ca FILE, or install it on this machine and on every node (bundle export trust)",
                further.last().unwrap_or(own).issuer
            ),
            None => "give its CA with --ca FILE, and install it on every node (bundle export trust)".to_owned(),
        },
        CertificateProblem::Expired => {
            format!(
                "renew it (bundle issuer issue {}); when the dates look right, set this machine's clock",
                host.name()
            )
        }
        CertificateProblem::NotYetValid => "set this machine's clock, or wait".to_owned(),
        CertificateProblem::WrongName => {
            format!("use one of these names, or issue a certificate for it (bundle issuer issue {})", host.name())
        }
        CertificateProblem::Client => {
            format!("put a client certificate and its key into certs.d/{host}/ (client.cert, client.key)")
        }
        CertificateProblem::Other(_) => "replace the certificate".to_owned(),
    };
    Check::failure(id::CERTIFICATE, format!("{host}: certificate not trusted: {problem}{says}")).remedy(remedy)
}

fn answered(host: &Host, pong: &Pong) -> Check {
    let url = net::shown(&pong.url);
    if pong.is_registry {
        return Check::ok(id::REGISTRY, format!("{url} answers within {} ms", pong.took.as_millis()));
    }
    Check::failure(id::REGISTRY, format!("{url} answers with status {}, which no registry does", pong.status))
        .remedy(format!("{host} is something else, such as a proxy's page or another web server: correct --to"))
}

async fn encrypted(host: &Host, pong: &Pong) -> Check {
    if pong.url.scheme() == "http" {
        return match host.is_loopback() {
            true => Check::ok(id::CERTIFICATE, "plain HTTP, which does not leave this machine"),
            false => Check::warning(
                id::CERTIFICATE,
                format!("{host} speaks plain HTTP: anyone on the way can read the credentials and change images"),
            )
            .remedy(format!("give the registry a certificate (bundle issuer issue {})", host.name())),
        };
    }
    let Some((own, _)) = look(host).await else {
        return Check::ok(id::CERTIFICATE, format!("{host}: the certificate is trusted"));
    };
    let text = format!("{host}: issued by {}, until {}", own.issuer, own.not_after);
    if own.not_after.as_second() - Timestamp::now().as_second() < CERTIFICATE_SOON {
        let remedy = format!("renew it soon (bundle issuer issue {}): afterwards no node can pull", host.name());
        return Check::warning(id::CERTIFICATE, text).remedy(remedy);
    }
    Check::ok(id::CERTIFICATE, text)
}

/// Compares two clocks; `there` has whole seconds.
pub(super) fn clock(id: super::report::Id, whose: &str, there: Timestamp, here: Timestamp) -> Check {
    let ahead = there.as_second() - here.as_second();
    let apart = Duration::from_secs(ahead.unsigned_abs());
    if apart <= CLOCK_FINE {
        return Check::ok(id, format!("{whose} and this machine agree to {} s", apart.as_secs().max(1)));
    }
    let direction = if ahead > 0 { "ahead of" } else { "behind" };
    let text = format!("{whose} is {} s {direction} this machine: {there} there, {here} here", apart.as_secs());
    let remedy = "let both take the time from one server of the enclave (chrony, `server … iburst`)";
    match apart <= CLOCK_BAD {
        true => Check::warning(id, text).remedy(remedy),
        false => Check::failure(id, text).remedy(format!("{remedy}: certificates and tokens are refused otherwise")),
    }
}

/// Says how much a load would move.
async fn content(subject: &Subject<'_>) -> Vec<Check> {
    let mut checks = Vec::new();
    if subject.pushes.is_empty() {
        return checks;
    }
    let host = &subject.target.host;
    // Whether a blob is anywhere in the registry: the load mounts it from there.
    let mut sizes: BTreeMap<Digest, (u64, bool)> = BTreeMap::new();
    let mut roots = 0;
    let mut sparse_there = 0;
    let mut failed: Option<Unseen> = None;
    let looked: Vec<(&Push, Result<Vec<(Digest, u64, bool)>, Unseen>)> = stream::iter(subject.pushes)
        .map(async |push| (push, present(subject, push).await))
        .buffer_unordered(subject.at_once.max(1))
        .collect()
        .await;
    for (push, found) in looked {
        match found {
            Ok(found) => {
                for (digest, size, there) in found {
                    let known = sizes.entry(digest).or_insert((size, false));
                    known.1 |= there;
                    if digest == push.root.digest && there {
                        roots += 1;
                        sparse_there += usize::from(push.sparse);
                    }
                }
            }
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    let all: u64 = sizes.values().map(|(size, _)| size).sum();
    let missing: u64 = sizes.values().filter(|(_, there)| !there).map(|(size, _)| size).sum();
    match failed {
        Some(error) => checks.push(Check::unchecked(id::THERE, format!("what {host} holds already: {}", error.0))),
        None => {
            let number = subject.pushes.len();
            let text = format!("{roots} of {number} are there already; {missing} of {all} bytes are to be pushed");
            checks.push(Check::ok(id::THERE, text));
        }
    }
    checks.push(sparse(subject, sparse_there));
    checks.push(match missing {
        0 if !checks.iter().any(|check| check.id == id::THERE.0 && check.outcome != super::Outcome::Ok) => {
            Check::ok(id::ROOM, "no room is needed: everything is there")
        }
        _ => Check::unchecked(
            id::ROOM,
            format!("registries do not say how much room they have; this needs {missing} bytes"),
        )
        .remedy("look at the disk of the registry, and at quotas of its projects"),
    });
    checks
}

/// Says why it could not be found out what is there.
struct Unseen(String);

/// Looks for the root of a push, and for each blob when the root is not there.
async fn present(subject: &Subject<'_>, push: &Push) -> Result<Vec<(Digest, u64, bool)>, Unseen> {
    let remote = subject.registries.repository(&subject.target.host, &push.repository, Side::Target);
    let wrong = |error: crate::store::Error| Unseen(error.to_string());
    if remote.has(&push.root).await.map_err(wrong)? {
        return Ok(push.blobs.iter().map(|blob| (blob.digest, blob.size, true)).collect());
    }
    let mut found = Vec::with_capacity(push.blobs.len());
    for blob in &push.blobs {
        // Manifests are put again in any case; they are small.
        let there = !blob.media_type.is_manifest() && remote.has(blob).await.map_err(wrong)?;
        found.push((blob.digest, blob.size, there));
    }
    Ok(found)
}

fn sparse(subject: &Subject<'_>, there: usize) -> Check {
    let sparse: Vec<&Push> = subject.pushes.iter().filter(|push| push.sparse).collect();
    if sparse.is_empty() {
        return Check::ok(id::SPARSE, "every image has all the platforms that its index names");
    }
    if there == sparse.len() {
        return Check::ok(id::SPARSE, "the registry holds these indexes already, with some of their platforms");
    }
    let number = sparse.len();
    let text = format!(
        "{number} indexes name platforms that are not carried, and whether this registry takes them shows when they are written: {}",
        some_of(sparse.iter().map(|push| &push.source))
    );
    let remedy = match sparse.iter().all(|push| push.derived) {
        true => "if the load is refused, load with --derive-index: the archive holds indexes of just these platforms",
        false => "if the load is refused, make the archive with all platforms",
    };
    Check::unchecked(id::SPARSE, text).remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::Outcome;

    #[test]
    fn clocks_are_compared_both_ways() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let outcome = |there, here| clock(id::CLOCK, "reg.lan", at(there), at(here)).outcome;
        assert_eq!(outcome(1000, 1001), Outcome::Ok);
        assert_eq!(outcome(1000, 1100), Outcome::Warning);
        assert_eq!(outcome(2000, 1000), Outcome::Failure);
        assert!(clock(id::CLOCK, "reg.lan", at(2000), at(1000)).message.contains("1000 s ahead"));
    }
}
