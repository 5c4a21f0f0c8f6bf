//! Which token servers get a registry's credentials.
//!
//! A registry names its token server itself, so a hostile one could name any address and collect what belongs to it. The
//! rule: the same host, or a host of the same registrable domain over https, or one that the user named.

use crate::net::{Refusal, Url, check_step};

/// Says what a token server is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The registry's credentials.
    Credentials,
    /// A request without credentials.
    Anonymous,
}

/// Domains under which strangers live side by side: two hosts below one of these have nothing to do with each other
/// (from the private section of the Public Suffix List, those where registries or storage are commonly found).
const SHARED: &[&str] = &[
    "amazonaws.com",
    "amazonaws.com.cn",
    "appspot.com",
    "azurecr.io",
    "azurewebsites.net",
    "backblazeb2.com",
    "cloudapp.net",
    "cloudfront.net",
    "digitaloceanspaces.com",
    "duckdns.org",
    "fly.dev",
    "github.io",
    "gitlab.io",
    "googleapis.com",
    "herokuapp.com",
    "netlify.app",
    "ngrok.io",
    "ngrok.app",
    "nip.io",
    "onrender.com",
    "pages.dev",
    "run.app",
    "sslip.io",
    "trafficmanager.net",
    "vercel.app",
    "windows.net",
    "workers.dev",
];

/// Decides about the token server `realm` of the registry at `registry`.
///
/// # Errors
/// The reason for which it must not even be asked without credentials.
pub fn judge(registry: &Url, realm: &Url, allowed: &[String]) -> Result<Trust, Refusal> {
    check_step(registry, realm)?;
    let (Some(home), Some(host)) = (registry.host_str(), realm.host_str()) else { return Err(Refusal::Scheme) };
    let secure = realm.scheme() == "https";
    let named = || allowed.iter().any(|name| name.eq_ignore_ascii_case(host) || *name == crate::net::authority(realm));
    let related = || secure && domain(registry).is_some_and(|own| Some(own) == domain(realm));
    // Plain http to the host itself happens only where the registry itself is asked so: check_step saw to that.
    Ok(if home == host || related() || (named() && (secure || registry.scheme() == "http")) {
        Trust::Credentials
    } else {
        Trust::Anonymous
    })
}

/// Returns the registrable domain of a host: its last two labels, three where the last two are a country's `co.uk`; none
/// for addresses and for domains that strangers share.
fn domain(url: &Url) -> Option<&str> {
    let name = match url.host()? {
        url::Host::Domain(name) => name.trim_end_matches('.'),
        _ => return None,
    };
    let labels: Vec<&str> = name.split('.').collect();
    let [.., second, last] = labels[..] else { return None };
    let country =
        last.len() == 2 && matches!(second, "co" | "com" | "net" | "org" | "ac" | "gov" | "edu" | "or" | "ne" | "go");
    let take = if country { 3 } else { 2 };
    if labels.len() < take {
        return None;
    }
    let length: usize = labels[labels.len() - take..].iter().map(|label| label.len() + 1).sum();
    let domain = &name[name.len() - (length - 1)..];
    let shared = SHARED.iter().any(|shared| name == *shared || name.ends_with(&format!(".{shared}")));
    (!shared).then_some(domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trust(registry: &str, realm: &str) -> Result<Trust, Refusal> {
        judge(&registry.parse().unwrap(), &realm.parse().unwrap(), &["sso.partner.example".to_owned()])
    }

    #[test]
    fn known_registries_and_their_token_servers() {
        for (registry, realm) in [
            ("https://registry-1.docker.io/v2/", "https://auth.docker.io/token"),
            ("https://quay.io/v2/", "https://quay.io/v2/auth"),
            ("https://ghcr.io/v2/", "https://ghcr.io/token"),
            ("https://registry.gitlab.com/v2/", "https://gitlab.com/jwt/auth"),
            ("https://docker.elastic.co/v2/", "https://docker-auth.elastic.co/auth"),
            ("https://harbor.corp.example:8443/v2/", "https://harbor.corp.example:9443/service/token"),
            ("http://localhost:5000/v2/", "http://localhost:5001/auth"),
            ("https://r.example/v2/", "https://sso.partner.example/token"),
        ] {
            assert_eq!(trust(registry, realm), Ok(Trust::Credentials), "{registry} {realm}");
        }
    }

    #[test]
    fn strangers_get_nothing() {
        for (registry, realm) in [
            ("https://r.example/v2/", "https://evil.test/token"),
            ("https://r.example/v2/", "https://r.example.evil.test/token"),
            ("https://a.azurecr.io/v2/", "https://evil.azurecr.io/token"),
            ("https://1.dkr.ecr.eu-west-1.amazonaws.com/v2/", "https://evil.s3.amazonaws.com/token"),
            ("https://r.firm.co.uk/v2/", "https://evil.co.uk/token"),
            ("https://10.0.0.1/v2/", "https://11.0.0.1/token"),
            ("http://127.0.0.1:5000/v2/", "http://localhost:5000/token"),
            ("http://reg.lan/v2/", "http://other.lan/token"),
        ] {
            assert_eq!(trust(registry, realm), Ok(Trust::Anonymous), "{registry} {realm}");
        }
        for (realm, why) in [
            ("http://r.example/token", Refusal::Downgrade),
            ("file:///etc/passwd", Refusal::Scheme),
            ("https://127.0.0.1/token", Refusal::Local),
            ("https://169.254.169.254/latest", Refusal::Local),
            ("https://a:b@r.example/token", Refusal::UserInfo),
        ] {
            assert_eq!(trust("https://r.example/v2/", realm), Err(why), "{realm}");
        }
    }
}
