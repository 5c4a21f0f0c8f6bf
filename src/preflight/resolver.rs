//! Names of hosts, as this machine resolves them.

use std::{net::IpAddr, time::Duration};

use futures_util::{StreamExt, stream};

use super::{
    needs::Needs,
    report::{Check, id, some_of},
};

/// How long a name may take; resolvers that do not answer are asked twice by the system within this.
const LIMIT: Duration = Duration::from_secs(5);
/// How many names are asked for at once.
const AT_ONCE: usize = 16;
/// How many names are asked for at all.
const MAX_NAMES: usize = 500;

/// Returns the addresses of a name, or why there are none.
pub(super) async fn resolve(host: &str) -> Result<Vec<IpAddr>, String> {
    match tokio::time::timeout(LIMIT, tokio::net::lookup_host((host, 443))).await {
        Err(_) => Err(format!("no answer within {} s", LIMIT.as_secs())),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(found)) => {
            let mut found: Vec<IpAddr> = found.map(|address| address.ip()).collect();
            found.dedup();
            if found.is_empty() { Err("no address".to_owned()) } else { Ok(found) }
        }
    }
}

/// Looks up every name under which something will be served. A name that this machine does not know may be known to the
/// people's machines, so it is a warning.
pub async fn check(needs: &Needs) -> Vec<Check> {
    if needs.hosts.is_empty() {
        return Vec::new();
    }
    let asked = needs.hosts.iter().take(MAX_NAMES);
    let answers: Vec<(&String, Result<Vec<IpAddr>, String>)> = stream::iter(asked)
        .map(async |(host, _)| {
            // Any name below a wildcard will do.
            let name = host.replacen("*.", "preflight.", 1);
            (host, resolve(&name).await)
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    let unknown: Vec<&String> = answers.iter().filter(|(_, answer)| answer.is_err()).map(|(host, _)| *host).collect();
    let known = answers.len() - unknown.len();
    let mut checks = Vec::new();
    if known > 0 {
        let names = answers.iter().filter(|(_, answer)| answer.is_ok()).map(|(host, _)| *host);
        checks.push(Check::ok(id::HOSTS, format!("known to this machine's resolver: {}", some_of(names))));
    }
    if !unknown.is_empty() {
        let text = format!("not known to this machine's resolver: {}", some_of(unknown));
        checks.push(Check::warning(id::HOSTS, text).remedy(
            "add the names to the enclave's DNS (all of them point to the ingress), and to /etc/hosts for a first try",
        ));
    }
    if needs.hosts.len() > MAX_NAMES {
        let text = format!("{} further names were not looked up", needs.hosts.len() - MAX_NAMES);
        checks.push(Check::unchecked(id::HOSTS, text));
    }
    checks
}
