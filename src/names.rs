//! Names in the enclave: a pure mapping from source names to target names, with collision detection.
//!
//! | layout | `quay.io/prometheus/node-exporter` under `reg.lan/mirror` |
//! |---|---|
//! | source (default) | `reg.lan/mirror/quay.io/prometheus/node-exporter` |
//! | `host` | `reg.lan/mirror/quay.io/prometheus-node-exporter` |
//! | `flat` | `reg.lan/mirror/quay.io-prometheus-node-exporter` |
//! | `depth=N` | at most N components below the prefix; the last ones are joined by `-` |
//!
//! # Invariants
//! - The default layout is injective and can be inverted; the others are checked: two sources never share a target.

use std::{collections::BTreeMap, fmt, str::FromStr};

use crate::{
    error::{Classify, Kind},
    oci::{Host, ReferenceError, Repository},
};

/// Names where a load goes: a registry and a path prefix in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The registry.
    pub host: Host,
    /// The path in front of every name, if any.
    pub prefix: Option<Repository>,
}

impl FromStr for Target {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.contains("://") {
            return Err(ReferenceError::Host(text.to_owned()));
        }
        let text = text.trim_end_matches('/');
        match text.split_once('/') {
            Some((host, prefix)) => Ok(Target { host: host.parse()?, prefix: Some(prefix.parse()?) }),
            None => Ok(Target { host: text.parse()?, prefix: None }),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.prefix {
            Some(prefix) => write!(f, "{}/{prefix}", self.host),
            None => self.host.fmt(f),
        }
    }
}

/// Says how many path components a target name may have below the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Layout {
    /// Source host and full path.
    #[default]
    Source,
    /// At most this many components, at least one.
    Depth(usize),
}

/// Says why a text is no layout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no layout: expected source, host, flat or depth=N")]
pub struct LayoutError(String);

impl FromStr for Layout {
    type Err = LayoutError;

    fn from_str(text: &str) -> Result<Self, LayoutError> {
        match text {
            "source" => Ok(Layout::Source),
            "host" => Ok(Layout::Depth(2)),
            "flat" => Ok(Layout::Depth(1)),
            _ => match text.strip_prefix("depth=").and_then(|depth| depth.parse().ok()) {
                Some(depth @ 1..) => Ok(Layout::Depth(depth)),
                _ => Err(LayoutError(text.to_owned())),
            },
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Layout::Source => f.write_str("source"),
            Layout::Depth(1) => f.write_str("flat"),
            Layout::Depth(2) => f.write_str("host"),
            Layout::Depth(depth) => write!(f, "depth={depth}"),
        }
    }
}

/// Says why a name has no place in the target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenameError {
    /// Two sources would get one name.
    #[error("{first} and {second} would both become {target}: choose a layout with more depth")]
    Collision {
        /// One source.
        first: String,
        /// The other.
        second: String,
        /// The name of both.
        target: String,
    },
    /// The resulting name breaks a rule of references.
    #[error("{source_name} would become a name that registries refuse: {cause}")]
    Name {
        /// The source.
        source_name: String,
        /// Which rule.
        cause: ReferenceError,
    },
}

impl Classify for RenameError {
    fn kind(&self) -> Kind {
        Kind::Usage
    }
}

/// Maps source names to repositories of one target and remembers what it gave out.
#[derive(Clone, Debug)]
pub struct Renamer {
    target: Target,
    layout: Layout,
    given: BTreeMap<Repository, String>,
}

impl Renamer {
    /// Makes a mapping into `target`.
    pub fn new(target: Target, layout: Layout) -> Self {
        Renamer { target, layout, given: BTreeMap::new() }
    }

    /// Returns the repository in the target registry for an image of `host`.
    ///
    /// # Errors
    /// When another source already has that name, or the name breaks a rule.
    pub fn image(&mut self, host: &Host, repository: &Repository) -> Result<Repository, RenameError> {
        let mut components = vec![host_component(host)];
        components.extend(repository.as_str().split('/').map(str::to_owned));
        self.give(format!("{host}/{repository}"), components)
    }

    /// Returns the repository for something that has no source host: charts, files, the state record.
    ///
    /// # Errors
    /// As [`Renamer::image`].
    pub fn own(&mut self, path: &[&str]) -> Result<Repository, RenameError> {
        self.give(path.join("/"), path.iter().map(|component| (*component).to_owned()).collect())
    }

    fn give(&mut self, source_name: String, components: Vec<String>) -> Result<Repository, RenameError> {
        let path = match self.layout {
            Layout::Source => components.join("/"),
            Layout::Depth(depth) => {
                let keep = depth.saturating_sub(1).min(components.len() - 1);
                let mut kept: Vec<String> = components[..keep].to_vec();
                kept.push(components[keep..].join("-"));
                kept.join("/")
            }
        };
        let path = match &self.target.prefix {
            Some(prefix) => format!("{prefix}/{path}"),
            None => path,
        };
        let wrong = |cause| RenameError::Name { source_name: source_name.clone(), cause };
        let repository: Repository = path.parse().map_err(wrong)?;
        let length = self.target.host.as_str().len() + 1 + path.len();
        if length > 255 {
            return Err(wrong(ReferenceError::TooLong(length)));
        }
        match self.given.insert(repository.clone(), source_name.clone()) {
            Some(first) if first != source_name => {
                Err(RenameError::Collision { first, second: source_name, target: repository.to_string() })
            }
            _ => Ok(repository),
        }
    }
}

/// Writes a host as a path component: `:` before the port becomes `_`, which no host name holds, so it can be undone.
fn host_component(host: &Host) -> String {
    let name = match host.name().parse::<std::net::Ipv6Addr>() {
        Ok(address) => format!("ip6-{}", address.segments().map(|segment| format!("{segment:x}")).join("-")),
        Err(_) => host.name().to_ascii_lowercase(),
    };
    match host.port() {
        Some(port) => format!("{name}_{port}"),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Reference;
    use proptest::prelude::*;

    fn map(target: &str, layout: &str, images: &[&str]) -> Result<Vec<String>, RenameError> {
        let mut renamer = Renamer::new(target.parse().unwrap(), layout.parse().unwrap());
        images
            .iter()
            .map(|image| {
                let image: Reference = image.parse().unwrap();
                renamer.image(&image.host, &image.repository).map(|name| name.to_string())
            })
            .collect()
    }

    #[test]
    fn every_layout_names_as_documented() {
        let image = "quay.io/prometheus/node-exporter:v1";
        for (layout, name) in [
            ("source", "mirror/quay.io/prometheus/node-exporter"),
            ("host", "mirror/quay.io/prometheus-node-exporter"),
            ("flat", "mirror/quay.io-prometheus-node-exporter"),
            ("depth=3", "mirror/quay.io/prometheus/node-exporter"),
        ] {
            assert_eq!(map("reg.lan/mirror", layout, &[image]), Ok(vec![name.to_owned()]), "{layout}");
        }
        assert_eq!(map("reg.lan:5000", "source", &["nginx"]), Ok(vec!["docker.io/library/nginx".to_owned()]));
        assert_eq!(map("reg.lan", "source", &["localhost:5000/a"]), Ok(vec!["localhost_5000/a".to_owned()]));
        assert_eq!(map("reg.lan", "source", &["[::1]:5000/a"]), Ok(vec!["ip6-0-0-0-0-0-0-0-1_5000/a".to_owned()]));
    }

    #[test]
    fn a_collision_names_both_sources() {
        let error = map("reg.lan", "flat", &["quay.io/a/b-c", "quay.io/a-b/c"]).unwrap_err();
        assert!(matches!(&error, RenameError::Collision { target, .. } if target == "quay.io-a-b-c"), "{error}");
        // The same source twice is no collision.
        assert!(map("reg.lan", "flat", &["quay.io/a/b:1", "quay.io/a/b:2"]).is_ok());
    }

    #[test]
    fn targets_are_read_with_or_without_prefix() {
        assert_eq!("reg.lan:5000/a/b/".parse::<Target>().unwrap().to_string(), "reg.lan:5000/a/b");
        assert_eq!("localhost:5000".parse::<Target>().unwrap().to_string(), "localhost:5000");
        for bad in ["", "https://reg.lan", "reg.lan/UPPER", "reg.lan//x"] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
        for bad in ["", "depth=0", "depth=x", "deep"] {
            assert!(bad.parse::<Layout>().is_err(), "{bad}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_default_layout_is_injective(a in "[a-z]{1,3}\\.[a-z]{2}(:[1-9][0-9]{0,3})?/[a-z]{1,2}(/[a-z]{1,2}){0,2}", b in "[a-z]{1,3}\\.[a-z]{2}(:[1-9][0-9]{0,3})?/[a-z]{1,2}(/[a-z]{1,2}){0,2}") {
            let both = map("reg.lan", "source", &[&a, &b]).unwrap();
            let (a, b): (Reference, Reference) = (a.parse().unwrap(), b.parse().unwrap());
            prop_assert_eq!(both[0] == both[1], a.name() == b.name());
        }
    }
}
