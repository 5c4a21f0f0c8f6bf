//! The names of an enclave: its domains and address ranges, and the names of servers in them.
//!
//! # Invariants
//! - A [`Scope`] holds at least one domain or range that somebody asked for, and always `svc` and `cluster.local`, the names
//!   that every cluster gives to its services.
//! - A [`ServerName`] is one that every client accepts in a certificate: lower case, at least two labels unless the label
//!   itself is a domain of the scope, `*` only as a whole first label above two others.

use std::{fmt, net::IpAddr, str::FromStr};

use super::Error;
use crate::error::Diagnostic;

/// The domains that clusters give to their services: `NAME.NAMESPACE.svc` and `NAME.NAMESPACE.svc.cluster.local`.
const OF_CLUSTERS: [&str; 2] = ["svc", "cluster.local"];
/// RFC 1035, section 2.3.4, without the root's dot.
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;
/// More are a mistake, and make every certificate of the chain longer.
const MAX_ENTRIES: usize = 64;

/// Says which names an authority may sign: its name constraints (RFC 5280, section 4.2.1.10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    domains: Vec<String>,
    ranges: Vec<IpRange>,
}

impl Scope {
    /// Makes a scope of domains, each with everything below it, and ranges of addresses.
    ///
    /// # Errors
    /// [`Error::Domain`], [`Error::Range`]; [`Error::EmptyScope`] when there is nothing beyond a cluster's own names.
    pub fn new<D: AsRef<str>, R: AsRef<str>>(domains: &[D], ranges: &[R]) -> Result<Scope, Error> {
        let mut found: Vec<String> = Vec::new();
        for text in domains {
            let domain = domain(text.as_ref())?;
            if !found.contains(&domain) {
                found.push(domain);
            }
        }
        let own = found.iter().any(|domain| !OF_CLUSTERS.contains(&domain.as_str()));
        for domain in OF_CLUSTERS {
            if !found.iter().any(|known| known == domain) {
                found.push(domain.to_owned());
            }
        }
        let mut within: Vec<IpRange> = Vec::new();
        for text in ranges {
            let range: IpRange = text.as_ref().parse()?;
            if !within.contains(&range) {
                within.push(range);
            }
        }
        if !own && within.is_empty() {
            return Err(Error::EmptyScope);
        }
        Scope::of_parts(found, within)
    }

    /// Makes the scope that a certificate states; it may hold less than one of our own would.
    pub(super) fn of_parts(domains: Vec<String>, ranges: Vec<IpRange>) -> Result<Scope, Error> {
        for (what, count) in [("domains", domains.len()), ("ranges", ranges.len())] {
            if count > MAX_ENTRIES {
                let why = format!("{count} {what} are over the limit of {MAX_ENTRIES}");
                return Err(Error::Range { text: what.to_owned(), why });
            }
        }
        Ok(Scope { domains, ranges })
    }

    /// Returns the domains.
    pub fn domains(&self) -> &[String] {
        &self.domains
    }

    /// Returns the ranges of addresses.
    pub fn ranges(&self) -> &[IpRange] {
        &self.ranges
    }

    /// Tells whether all of `other` lies within this scope.
    pub fn contains(&self, other: &Scope) -> bool {
        other.domains.iter().all(|domain| self.has_domain(domain))
            && other.ranges.iter().all(|range| self.ranges.iter().any(|own| own.covers(range)))
    }

    /// Explains each name that lies outside; empty when all are inside.
    pub fn refuse(&self, names: &[ServerName]) -> Vec<Diagnostic> {
        names.iter().filter_map(|name| self.refuse_one(name)).collect()
    }

    fn has_domain(&self, name: &str) -> bool {
        self.domains
            .iter()
            .any(|domain| name.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
    }

    fn refuse_one(&self, name: &ServerName) -> Option<Diagnostic> {
        let outside = |message: String| Diagnostic::error("name-outside", message);
        match name {
            ServerName::Dns(name) => {
                let base = name.strip_prefix("*.").unwrap_or(name);
                if base.contains('.') && self.has_domain(base) || self.domains.iter().any(|domain| domain == base) {
                    return None;
                }
                let problem = outside(format!("{name} is in none of the domains {}", self.domains.join(", ")));
                Some(match base.split('.').collect::<Vec<_>>()[..] {
                    [name] => problem.hint(format!("clients need the full name, such as {name}.NAMESPACE.svc")),
                    [_, _] => problem.hint(format!("the name of a service in a cluster is {base}.svc in full")),
                    _ => problem,
                })
            }
            ServerName::Ip(ip) => {
                if self.ranges.iter().any(|range| range.has(*ip)) {
                    return None;
                }
                let ranges: Vec<String> = self.ranges.iter().map(IpRange::to_string).collect();
                Some(match ranges.is_empty() {
                    true => outside(format!("{ip} is an address, and the authority may sign none"))
                        .hint("sign for a name instead, or make the authority with a range of addresses"),
                    false => outside(format!("{ip} is in none of the ranges {}", ranges.join(", "))),
                })
            }
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.domains.join(", "))?;
        for range in &self.ranges {
            write!(f, ", {range}")?;
        }
        Ok(())
    }
}

/// Names a range of addresses, such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IpRange {
    base: IpAddr,
    prefix: u8,
}

impl IpRange {
    /// Returns the first address.
    pub fn base(&self) -> IpAddr {
        self.base
    }

    /// Returns how many leading bits are fixed.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Tells whether an address is in the range.
    pub fn has(&self, ip: IpAddr) -> bool {
        self.base.is_ipv4() == ip.is_ipv4() && masked(bits(ip), self.prefix) == bits(self.base)
    }

    fn covers(&self, other: &IpRange) -> bool {
        self.prefix <= other.prefix && self.has(other.base)
    }

    /// Reads address and mask as name constraints hold them; `None` when the mask has holes.
    pub(super) fn from_octets(octets: &[u8]) -> Option<IpRange> {
        let (base, mask) = octets.split_at(octets.len() / 2);
        let ip = |bytes: &[u8]| -> Option<IpAddr> {
            Some(match bytes.len() {
                4 => <[u8; 4]>::try_from(bytes).ok()?.into(),
                16 => <[u8; 16]>::try_from(bytes).ok()?.into(),
                _ => return None,
            })
        };
        let (base, mask) = (ip(base)?, bits(ip(mask)?));
        let prefix = mask.leading_ones() as u8;
        // An exact mask has no ones after its zeros.
        (masked(mask, prefix) == mask && base.is_ipv4() == (octets.len() == 8)).then_some(IpRange { base, prefix })
    }
}

/// Returns an address as 128 bits, from the left.
fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()) << 96,
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

fn masked(bits: u128, prefix: u8) -> u128 {
    bits & u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

impl FromStr for IpRange {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |why: String| Error::Range { text: text.to_owned(), why };
        let (base, prefix) = match text.split_once('/') {
            Some((base, prefix)) => (base, Some(prefix)),
            None => (text, None),
        };
        let base: IpAddr =
            base.parse().map_err(|_| wrong("an address and a length are expected, such as 10.0.0.0/8".to_owned()))?;
        let most = if base.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => most,
            Some(digits) => match digits.parse::<u8>() {
                Ok(prefix) if prefix <= most && digits.bytes().all(|byte| byte.is_ascii_digit()) => prefix,
                _ => return Err(wrong(format!("the length is a number from 0 to {most}"))),
            },
        };
        if prefix == 0 {
            return Err(wrong("all addresses would be no constraint".to_owned()));
        }
        let whole = masked(bits(base), prefix);
        if whole != bits(base) {
            let first: IpAddr = match base {
                IpAddr::V4(_) => std::net::Ipv4Addr::from_bits((whole >> 96) as u32).into(),
                IpAddr::V6(_) => std::net::Ipv6Addr::from_bits(whole).into(),
            };
            return Err(wrong(format!("it begins at {first}: write {first}/{prefix}")));
        }
        Ok(IpRange { base, prefix })
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

/// Names a server as its clients call it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServerName {
    /// A host name, or `*.` and a domain.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerName::Dns(name) => f.write_str(name),
            ServerName::Ip(ip) => ip.fmt(f),
        }
    }
}

impl FromStr for ServerName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |why| Error::Name { text: text.to_owned(), why };
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(ServerName::Ip(ip.to_canonical()));
        }
        if text.contains('/') || text.contains(':') {
            return Err(wrong("a host name or an address is expected, without scheme, port and path"));
        }
        let name = text.to_ascii_lowercase();
        let base = match name.strip_prefix("*.") {
            Some(base) if !base.contains('.') => {
                return Err(wrong("clients accept * only above two further labels, such as *.apps.enclave.lan"));
            }
            Some(base) => base,
            None => &name,
        };
        if base.contains('*') {
            return Err(wrong("clients accept * only as the whole first label"));
        }
        labels(base).map_err(wrong)?;
        Ok(ServerName::Dns(name))
    }
}

fn domain(text: &str) -> Result<String, Error> {
    let wrong = |why| Error::Domain { text: text.to_owned(), why };
    if text.contains('*') {
        return Err(wrong("a domain stands for everything below it, without *"));
    }
    if text.parse::<IpAddr>().is_ok() {
        return Err(wrong("it is an address; those are given as ranges"));
    }
    let name = text.to_ascii_lowercase();
    labels(name.strip_prefix('.').unwrap_or(&name)).map_err(wrong)?;
    Ok(name.strip_prefix('.').map(str::to_owned).unwrap_or(name))
}

/// Checks a host name (RFC 1123, section 2.1; RFC 5280, section 4.2.1.6).
fn labels(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("it is empty");
    }
    if name.len() > MAX_NAME {
        return Err("it is longer than 253 characters");
    }
    if !name.is_ascii() {
        return Err("names in other scripts are written in their xn-- form");
    }
    if name.ends_with('.') {
        return Err("names in certificates have no dot at the end");
    }
    for label in name.split('.') {
        let fits = !label.is_empty()
            && label.len() <= MAX_LABEL
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-');
        if !fits {
            return Err("its parts are letters, digits and -, at most 63 of them, without - at either end");
        }
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("its last part is a number, as in an address");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scope() -> Scope {
        Scope::new(&["enclave.lan", ".corp.example"], &["10.0.0.0/8", "fd00::/8"]).unwrap()
    }

    #[test]
    fn names_inside_and_outside() {
        let scope = scope();
        for inside in [
            "enclave.lan",
            "reg.enclave.lan",
            "*.apps.enclave.lan",
            "*.enclave.lan",
            "REG.Corp.Example",
            "r.ns.svc",
            "r.ns.svc.cluster.local",
            "*.ns.svc",
            "10.1.2.3",
            "fd00::1",
            "[fd00::1]",
            "::ffff:10.0.0.1",
        ] {
            assert_eq!(scope.refuse(&[inside.parse().unwrap()]), [], "{inside}");
        }
        for outside in ["r.ns", "evil.example.com", "notenclave.lan", "registry", "8.8.8.8", "fe80::1", "lan"] {
            assert_eq!(scope.refuse(&[outside.parse().unwrap()]).len(), 1, "{outside}");
        }
        let hint = |name: &str| scope.refuse(&[name.parse().unwrap()])[0].hint.clone().unwrap();
        assert!(hint("r.ns").contains("r.ns.svc") && hint("registry").contains("registry.NAMESPACE.svc"));
        let silent = Scope::new::<_, &str>(&["enclave.lan"], &[]).unwrap();
        assert!(silent.refuse(&["10.1.2.3".parse().unwrap()])[0].message.contains("may sign none"));
        // A single label may be signed for when it is a domain itself.
        let local = Scope::new::<_, &str>(&["localhost"], &[]).unwrap();
        assert!(local.refuse(&["localhost".parse().unwrap()]).is_empty());
    }

    #[test]
    fn what_is_no_name_no_domain_and_no_range() {
        for bad in [
            "",
            "*",
            "*.lan",
            "a.*.lan",
            "x*.enclave.lan",
            "a..b",
            "-a.lan",
            "a-.lan",
            "a_b.lan",
            "a.lan.",
            "ä.lan",
            "https://a.lan",
            "a.lan:443",
            "1.2.3",
            "a.1",
            "10.0.0.0/8",
        ] {
            assert!(bad.parse::<ServerName>().is_err(), "{bad}");
        }
        for bad in ["", ".", "*.lan", "10.0.0.1", "a b", "x.lan."] {
            assert!(Scope::new::<_, &str>(&[bad], &[]).is_err(), "{bad}");
        }
        for bad in ["10.0.0.1/8", "0.0.0.0/0", "::/0", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0.0/", "x/8", "fd00::1/8"] {
            assert!(bad.parse::<IpRange>().is_err(), "{bad}");
        }
        assert!("10.1.0.1/16".parse::<IpRange>().unwrap_err().to_string().contains("write 10.1.0.0/16"));
        assert_eq!(Scope::new::<&str, &str>(&["svc"], &[]), Err(Error::EmptyScope));
        assert_eq!("10.1.2.3".parse::<IpRange>().unwrap().to_string(), "10.1.2.3/32");
    }

    #[test]
    fn scopes_within_scopes() {
        let scope = scope();
        assert!(scope.contains(&Scope::new(&["apps.enclave.lan"], &["10.1.0.0/16"]).unwrap()));
        assert!(!scope.contains(&Scope::new(&["lan"], &["10.1.0.0/16"]).unwrap()));
        assert!(!scope.contains(&Scope::new(&["enclave.lan"], &["8.0.0.0/7"]).unwrap()));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn reading_is_total_and_names_come_back(text in "\\PC{0,80}", octets in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(name) = text.parse::<ServerName>() {
                prop_assert_eq!(name.to_string().parse::<ServerName>().unwrap(), name);
            }
            let _ = domain(&text);
            if let Ok(range) = text.parse::<IpRange>() {
                prop_assert_eq!(range.to_string().parse::<IpRange>().unwrap(), range);
            }
            let _ = IpRange::from_octets(&octets);
        }

        #[test]
        fn ranges_hold_what_they_say(base in any::<u32>(), prefix in 1u8..=32, other in any::<u32>()) {
            let base = base & u32::MAX << (32 - u32::from(prefix));
            let text = format!("{}/{prefix}", std::net::Ipv4Addr::from_bits(base));
            let range: IpRange = text.parse().unwrap();
            let inside = base ^ other == 0 || (base ^ other).leading_zeros() >= u32::from(prefix);
            prop_assert_eq!(range.has(std::net::Ipv4Addr::from_bits(other).into()), inside);
        }
    }
}
