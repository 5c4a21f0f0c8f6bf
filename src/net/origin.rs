//! Where a request may go next, and what may go with it.
//!
//! A registry can send a client elsewhere in four ways: a redirect, an upload `Location`, a token realm, a pagination
//! `Link`. All four pass through [`check_step`]; whether credentials come along is [`may_carry`]'s answer.

use std::net::IpAddr;

use reqwest::Url;
use url::Host;

/// Says why a step from one address to another is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Only `http` and `https` are followed.
    #[error("only http and https addresses are followed")]
    Scheme,
    /// From an encrypted connection to a readable one.
    #[error("it leads from https down to http")]
    Downgrade,
    /// The address carries a user name or password of its own.
    #[error("the address carries a user name or password")]
    UserInfo,
    /// A remote host must not make this machine talk to itself or to its neighbours' metadata services.
    #[error("it leads from another machine to a loopback or link-local address")]
    Local,
    /// A client for one server is led to another.
    #[error("this server is asked on terms of its own, which hold for no other")]
    Elsewhere,
}

/// Tells whether two addresses have the same scheme, host and port (RFC 6454 section 5).
pub fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme() && a.host() == b.host() && a.port_or_known_default() == b.port_or_known_default()
}

/// Tells whether credentials that belong to the origin of `owner` may be sent to `to`: the same origin, or the same
/// host by its default ports after an upgrade from http to https.
pub fn may_carry(owner: &Url, to: &Url) -> bool {
    let upgrade = owner.scheme() == "http"
        && to.scheme() == "https"
        && owner.host() == to.host()
        && owner.port().is_none()
        && to.port().is_none();
    same_origin(owner, to) || upgrade
}

/// Tells whether the host of an address is this machine or one of the link-local addresses where cloud machines keep
/// their own credentials (RFC 3927, RFC 4291 section 2.5.6).
pub fn is_local(url: &Url) -> bool {
    let v4 = |ip: std::net::Ipv4Addr| ip.is_loopback() || ip.is_link_local() || ip.is_unspecified();
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        Some(Host::Ipv4(ip)) => v4(ip),
        Some(Host::Ipv6(ip)) => {
            ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_unicast_link_local()
                || matches!(ip.to_canonical(), IpAddr::V4(inner) if v4(inner))
        }
        None => false,
    }
}

/// Checks a step that the server at `from` asks for.
///
/// # Errors
/// The reason for which the step must not be taken, with or without credentials.
pub fn check_step(from: &Url, to: &Url) -> Result<(), Refusal> {
    if !matches!(to.scheme(), "http" | "https") || to.host().is_none() {
        return Err(Refusal::Scheme);
    }
    if from.scheme() == "https" && to.scheme() == "http" {
        return Err(Refusal::Downgrade);
    }
    if !to.username().is_empty() || to.password().is_some() {
        return Err(Refusal::UserInfo);
    }
    if is_local(to) && !is_local(from) && from.host() != to.host() {
        return Err(Refusal::Local);
    }
    Ok(())
}

/// Returns `host[:port]` of an address as certificates folders and configuration name it.
pub fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Returns an address without query, fragment and user information: those can hold secrets.
pub fn shown(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), authority(url), url.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn credentials_stay_with_their_origin() {
        let owner = url("https://r.example/v2/");
        assert!(may_carry(&owner, &url("https://r.example:443/x")));
        for other in ["https://r.example:8443/", "http://r.example/", "https://x.r.example/", "https://r.example.evil/"]
        {
            assert!(!may_carry(&owner, &url(other)), "{other}");
        }
        assert!(may_carry(&url("http://r.example/"), &url("https://r.example/")));
        assert!(!may_carry(&url("http://r.example:5000/"), &url("https://r.example/")));
    }

    #[test]
    fn steps_that_are_never_taken() {
        let public = url("https://r.example/");
        for (to, why) in [
            ("http://r.example/", Refusal::Downgrade),
            ("file:///etc/passwd", Refusal::Scheme),
            ("https://user:pass@r.example/", Refusal::UserInfo),
            ("https://169.254.169.254/latest", Refusal::Local),
            ("https://127.0.0.1/", Refusal::Local),
            ("https://[::1]/", Refusal::Local),
            ("https://[::ffff:127.0.0.1]/", Refusal::Local),
            ("https://0.0.0.0/", Refusal::Local),
            ("https://localhost/", Refusal::Local),
            ("https://a.localhost./", Refusal::Local),
        ] {
            assert_eq!(check_step(&public, &url(to)), Err(why), "{to}");
        }
        assert_eq!(check_step(&public, &url("https://s3.example/x?sig=1")), Ok(()));
        assert_eq!(check_step(&url("http://127.0.0.1:1/"), &url("http://localhost:2/")), Ok(()));
    }

    #[test]
    fn what_is_shown_holds_no_secret() {
        assert_eq!(shown(&url("https://u:p@r.example:1/a?token=s#f")), "https://r.example:1/a");
    }
}
