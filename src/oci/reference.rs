//! Image references: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`.
//!
//! The grammar is the distribution project's `reference` package as its documentation states it, with Docker's rule for
//! the host: the first component is a host when it holds `.` or `:`, is `localhost`, or has an upper-case letter;
//! everything else lives on `docker.io`, single names under `library/`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Digest, DigestError};

/// Names a registry: a domain, an IPv4 or bracketed IPv6 address, optionally with a port; domains in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host(String);

/// Names a repository within a registry: lower-case path components.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository(String);

/// Names a version of an image: up to 128 characters of `[A-Za-z0-9_.-]`, the first not `.` or `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

/// Names an image or artifact. Equal references are spelled alike when displayed: the host is explicit, `library/` is
/// added on `docker.io`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// The registry.
    pub host: Host,
    /// The repository.
    pub repository: Repository,
    /// The tag, if written.
    pub tag: Option<Tag>,
    /// The digest, if written.
    pub digest: Option<Digest>,
}

/// Names an image by digest; the only kind of reference that is ever fetched into an archive.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Exact {
    reference: Reference,
    digest: Digest,
}

/// Says why a text is not an image reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing was written.
    #[error("an empty image reference")]
    Empty,
    /// The host part breaks a rule.
    #[error("{0:?} is no registry host")]
    Host(String),
    /// The repository part breaks a rule.
    #[error("{0:?} is no repository name: lower-case letters, digits and single separators . _ __ - are allowed")]
    Repository(String),
    /// Host and repository together are too long.
    #[error("an image name of {0} characters is too long: at most 255 are allowed")]
    TooLong(usize),
    /// The tag breaks a rule.
    #[error("{0:?} is no tag: up to 128 letters, digits, _ . - are allowed, not starting with . or -")]
    Tag(String),
    /// The digest breaks a rule.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// Sixty-four hex digits are a local image id, which means nothing elsewhere.
    #[error("{0} is a local image id, which no registry knows; write a name")]
    ImageId(String),
}

/// Docker Hub under the name that references use.
const DOCKER_HUB: &str = "docker.io";

impl Host {
    /// Returns the text, with the port if one was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name without port and brackets.
    pub fn name(&self) -> &str {
        if let Some(rest) = self.0.strip_prefix('[') {
            return rest.split(']').next().unwrap_or(rest);
        }
        self.0.split(':').next().unwrap_or(&self.0)
    }

    /// Returns the port, if one was written.
    pub fn port(&self) -> Option<u16> {
        let rest = self.0.rsplit_once(']').map_or(self.0.as_str(), |(_, rest)| rest);
        rest.rsplit_once(':').and_then(|(_, port)| port.parse().ok())
    }

    /// Tells whether the host is this machine: `localhost`, `127.0.0.0/8` or `::1`.
    pub fn is_loopback(&self) -> bool {
        let name = self.name();
        name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// Tells whether this is Docker Hub.
    pub fn is_docker_hub(&self) -> bool {
        self.0 == DOCKER_HUB
    }
}

impl FromStr for Host {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let error = || ReferenceError::Host(text.to_owned());
        let lower = text.to_ascii_lowercase();
        let (name, port) = if let Some(rest) = lower.strip_prefix('[') {
            let (address, rest) = rest.split_once(']').ok_or_else(error)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| error())?;
            (None, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(error)?) })
        } else {
            match lower.split_once(':') {
                Some((name, port)) => (Some(name), Some(port)),
                None => (Some(lower.as_str()), None),
            }
        };
        if let Some(name) = name {
            let label = |label: &str| {
                !label.is_empty()
                    && !label.starts_with('-')
                    && !label.ends_with('-')
                    && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            };
            if name.len() > 253 || !name.split('.').all(label) {
                return Err(error());
            }
        }
        if let Some(port) = port
            && (!port.bytes().all(|b| b.is_ascii_digit()) || port.parse::<u16>().is_err())
        {
            return Err(error());
        }
        Ok(Host(match lower.as_str() {
            "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB.to_owned(),
            // A bare word is a host only because of its upper case; in lower case it would be read as a path.
            _ if !lower.contains(['.', ':', '[']) && lower != text => text.to_owned(),
            _ => lower,
        }))
    }
}

impl Repository {
    /// Returns the path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns how many components the path has.
    pub fn depth(&self) -> usize {
        self.0.split('/').count()
    }
}

fn is_component(text: &str) -> bool {
    // distribution `reference`: alphanumerics joined by one separator each: ".", "_", "__" or any number of "-".
    let bytes = text.as_bytes();
    let alnum = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    if !bytes.first().is_some_and(alnum) || !bytes.last().is_some_and(alnum) {
        return false;
    }
    let mut rest = bytes;
    while let Some(start) = rest.iter().position(|b| !alnum(b)) {
        let tail = &rest[start..];
        let length = tail.iter().position(alnum).unwrap_or(tail.len());
        if !(matches!(&tail[..length], b"." | b"_" | b"__") || tail[..length].iter().all(|b| *b == b'-')) {
            return false;
        }
        rest = &tail[length..];
    }
    true
}

impl FromStr for Repository {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.split('/').all(is_component) {
            Ok(Repository(text.to_owned()))
        } else {
            Err(ReferenceError::Repository(text.to_owned()))
        }
    }
}

impl Tag {
    /// Returns `latest`, which is meant where no tag and no digest is written.
    pub fn latest() -> Self {
        Tag("latest".to_owned())
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let good = !text.is_empty()
            && text.len() <= 128
            && word(text.as_bytes()[0])
            && text.bytes().all(|b| word(b) || b == b'.' || b == b'-');
        if good { Ok(Tag(text.to_owned())) } else { Err(ReferenceError::Tag(text.to_owned())) }
    }
}

impl Reference {
    /// Returns `host/repository`, without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.host, self.repository)
    }

    /// Returns the same reference with tag `latest` when neither tag nor digest was written, as every client does.
    pub fn with_default_tag(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(Tag::latest());
        }
        self
    }

    /// Pins the reference to a digest.
    pub fn pin(&self, digest: Digest) -> Exact {
        Exact { reference: Reference { digest: Some(digest), ..self.clone() }, digest }
    }

    /// Returns the reference as an exact one when a digest was written.
    pub fn exact(&self) -> Option<Exact> {
        self.digest.map(|digest| self.pin(digest))
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(ReferenceError::ImageId(text.to_owned()));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (text, None),
        };
        let last_slash = rest.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match rest[last_slash..].rfind(':') {
            // Without a slash, "host:5000" cannot be told from "name:tag"; it is a name with a tag.
            Some(colon) if !rest[last_slash..].contains(']') => {
                (&rest[..last_slash + colon], Some(rest[last_slash + colon + 1..].parse()?))
            }
            _ => (rest, None),
        };
        let (host, path) = match name.split_once('/') {
            Some((first, path))
                if first.contains(['.', ':', '['])
                    || first == "localhost"
                    || first.bytes().any(|b| b.is_ascii_uppercase()) =>
            {
                (first.parse()?, path.to_owned())
            }
            _ => (Host(DOCKER_HUB.to_owned()), name.to_owned()),
        };
        let path = if host.is_docker_hub() && !path.contains('/') { format!("library/{path}") } else { path };
        let length = host.0.len() + 1 + path.len();
        if length > 255 {
            return Err(ReferenceError::TooLong(length));
        }
        Ok(Reference { host, repository: path.parse()?, tag, digest })
    }
}

impl Exact {
    /// Returns the reference; its digest is set.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// Returns the digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl FromStr for Exact {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let reference: Reference = text.parse()?;
        reference.exact().ok_or_else(|| ReferenceError::Digest(DigestError::NoAlgorithm(text.to_owned())))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

macro_rules! text_type {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

macro_rules! display_inner {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

display_inner!(Host, Repository, Tag);
text_type!(Host, Repository, Tag, Reference, Exact);

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reference.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DIGEST: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

    #[test]
    fn spellings_of_the_same_image_are_one_reference() {
        for (written, full) in [
            ("nginx", "docker.io/library/nginx"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            ("index.docker.io/library/nginx:1.27", "docker.io/library/nginx:1.27"),
            ("registry-1.docker.io/nginx", "docker.io/library/nginx"),
            ("bitnami/redis:8", "docker.io/bitnami/redis:8"),
            ("localhost/app", "localhost/app"),
            ("localhost:5000/app:v1", "localhost:5000/app:v1"),
            ("[::1]:5000/app:v1", "[::1]:5000/app:v1"),
            ("UPPER/app", "UPPER/app"),
            ("quay.io/a/b/c__d:v1.2_3-x", "quay.io/a/b/c__d:v1.2_3-x"),
            ("host:5000", "docker.io/library/host:5000"),
            ("a---b/c", "docker.io/a---b/c"),
        ] {
            assert_eq!(written.parse::<Reference>().map(|r| r.to_string()), Ok(full.to_owned()), "{written}");
        }
        let both: Reference = format!("quay.io/a/b:v1@{DIGEST}").parse().unwrap();
        assert_eq!(both.to_string(), format!("quay.io/a/b:v1@{DIGEST}"));
        assert_eq!(both.exact().unwrap().digest().to_string(), DIGEST);
    }

    #[test]
    fn refuses_what_registries_refuse() {
        for bad in [
            "",
            ":tag",
            "@",
            "a/",
            "/a",
            "a//b",
            "quay.io/A/b",
            "quay.io/a..b",
            "quay.io/a___b",
            "quay.io/-a",
            "a:.x",
            "a:",
            "http://quay.io/a",
            "quay.io:port/a",
            "quay.io:70000/a",
            "[::1/a",
            "[zz]:1/a",
            "a b",
            "quay.io/a:b:c",
            "a@sha256:00",
            "{{ .Values.image }}",
            "$IMAGE",
            "a@md5:d41d8cd98f00b204e9800998ecf8427e",
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
        assert!("a".repeat(64).parse::<Reference>().is_err());
        assert!(format!("quay.io/{}", "a".repeat(250)).parse::<Reference>().is_err());
        assert!(format!("a:{}", "t".repeat(129)).parse::<Reference>().is_err());
    }

    #[test]
    fn hosts_know_their_parts() {
        let host: Host = "[::1]:5000".parse().unwrap();
        assert_eq!((host.name(), host.port(), host.is_loopback()), ("::1", Some(5000), true));
        let host: Host = "127.0.0.1:5000".parse().unwrap();
        assert_eq!((host.name(), host.port(), host.is_loopback()), ("127.0.0.1", Some(5000), true));
        let host: Host = "Registry.Example.COM".parse().unwrap();
        assert_eq!((host.as_str(), host.port(), host.is_loopback()), ("registry.example.com", None, false));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn parsing_is_total_and_printing_is_its_inverse(text in "(([a-zA-Z0-9.:-]{1,12}|\\[::1\\](:5)?)/)?[a-z0-9._/-]{1,20}(:[\\w.-]{1,10})?(@sha256:[0-9a-f]{62,65})?|\\PC{0,40}") {
            if let Ok(reference) = text.parse::<Reference>() {
                let printed = reference.to_string();
                prop_assert_eq!(printed.parse::<Reference>(), Ok(reference));
            }
        }
    }
}
