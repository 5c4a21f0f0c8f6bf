//! Small languages inside the spec: patterns and prefixes of image names, durations, sizes.

use std::{fmt, str::FromStr, time::Duration};

use crate::oci::{Host, Reference};

/// Matches full image references; `*` stands for any characters, also for none and for `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

/// Says why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing was written.
    #[error("an empty pattern")]
    Empty,
    /// A character that no reference holds.
    #[error("{0:?} holds {1:?}, which is in no image reference; only * has a special meaning")]
    Character(String, char),
    /// It begins with something that is no host.
    #[error("{0:?} matches nothing: references are full, such as docker.io/{0}")]
    NoHost(String),
}

impl Pattern {
    /// Tells whether the reference, with its host and `:latest` when it has neither tag nor digest, fits.
    pub fn matches(&self, image: &Reference) -> bool {
        glob(self.0.as_bytes(), image.clone().with_default_tag().to_string().as_bytes())
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Matches with one star remembered at a time: the time is bounded by the product of the lengths.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            (p, t) = (p + 1, t + 1);
        } else if let Some((after, at)) = star {
            // The last star takes one character more.
            star = Some((after, at + 1));
            (p, t) = (after, at + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if let Some(wrong) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || "._-/:@*[]".contains(*c))) {
            return Err(PatternError::Character(text.to_owned(), wrong));
        }
        if !text.contains('*') {
            return match text.parse::<Reference>() {
                Ok(reference) => Ok(Pattern(reference.with_default_tag().to_string())),
                Err(_) => Err(PatternError::NoHost(text.to_owned())),
            };
        }
        let host = text.split('/').next().unwrap_or_default();
        if !host.contains(['.', ':', '*', '[']) && host != "localhost" {
            return Err(PatternError::NoHost(text.to_owned()));
        }
        Ok(Pattern(text.to_owned()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Matches objects as messages name them, `KIND NAME` or `KIND NAMESPACE/NAME`; `*` stands for any characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectPattern(String);

/// Says why a text matches no object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no object: KIND NAMESPACE/NAME does, such as \"HelmRelease apps/*\"")]
pub struct ObjectPatternError(String);

impl ObjectPattern {
    /// Tells whether an object fits; one without a namespace fits by its name alone.
    pub fn matches(&self, kind: &str, namespace: Option<&str>, name: &str) -> bool {
        let whole = match namespace {
            Some(namespace) => format!("{kind} {namespace}/{name}"),
            None => format!("{kind} {name}"),
        };
        glob(self.0.as_bytes(), whole.as_bytes())
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ObjectPattern {
    type Err = ObjectPatternError;

    fn from_str(text: &str) -> Result<Self, ObjectPatternError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-/*".contains(c);
        match text.split_once(' ') {
            Some((kind, name))
                if !kind.is_empty() && !name.is_empty() && (kind.to_owned() + name).chars().all(plain) =>
            {
                Ok(ObjectPattern(text.to_owned()))
            }
            _ => Err(ObjectPatternError(text.to_owned())),
        }
    }
}

/// Names an image, or with `/` at its end everything below a host or path; always with the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(String);

/// Says why a text is no prefix of image names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no image name and no beginning of one: {why}")]
pub struct PrefixError {
    text: String,
    why: String,
}

impl Prefix {
    /// Returns the text, with the host.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Tells whether this stands for everything below a host or path.
    pub fn is_folder(&self) -> bool {
        self.0.ends_with('/')
    }

    /// Puts `to` in the place of this prefix; `None` when the image does not begin with it. A prefix without `/` at its
    /// end is a whole name: `docker.io/acme/app` is not the beginning of `docker.io/acme/app-debug`.
    pub fn replace(&self, image: &Reference, to: &Prefix) -> Option<Reference> {
        let text = image.to_string();
        let rest = text.strip_prefix(&self.0)?;
        if !self.is_folder() && !rest.is_empty() && !rest.starts_with([':', '@']) {
            return None;
        }
        format!("{}{rest}", to.0).parse().ok()
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let error = |why: String| PrefixError { text: text.to_owned(), why };
        let Some(folder) = text.strip_suffix('/') else {
            return text
                .parse::<Reference>()
                .map(|name| Prefix(name.to_string()))
                .map_err(|why| error(why.to_string()));
        };
        if !folder.contains('/') && (folder.contains(['.', ':', '[']) || folder == "localhost") {
            return folder.parse::<Host>().map(|host| Prefix(format!("{host}/"))).map_err(|why| error(why.to_string()));
        }
        // A name below the folder tells how the folder is spelled in full.
        let below = format!("{folder}/x").parse::<Reference>().map_err(|why| error(why.to_string()))?.to_string();
        Ok(Prefix(below[..below.len() - 1].to_owned()))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Says why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no duration: a number and one of s, m, h, d, w is expected, such as 7d or 36h")]
pub struct DurationError(String);

/// Reads a duration such as `7d`, `36h` or `1d12h`.
///
/// # Errors
/// The text is none, or stands for nothing, or for more than can be counted.
pub fn duration(text: &str) -> Result<Duration, DurationError> {
    let error = || DurationError(text.to_owned());
    let mut rest = text;
    let mut seconds = 0u64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let count: u64 = rest[..digits].parse().map_err(|_| error())?;
        let unit = match rest.as_bytes().get(digits) {
            Some(b's') => 1,
            Some(b'm') => 60,
            Some(b'h') => 3600,
            Some(b'd') => 86_400,
            Some(b'w') => 604_800,
            _ => return Err(error()),
        };
        seconds = count.checked_mul(unit).and_then(|more| seconds.checked_add(more)).ok_or_else(error)?;
        rest = &rest[digits + 1..];
    }
    if seconds == 0 { Err(error()) } else { Ok(Duration::from_secs(seconds)) }
}

/// Says why a text is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no size: a number is expected, optionally with KiB, MiB, GiB, TiB or kB, MB, GB, TB, such as 4GiB")]
pub struct SizeError(String);

/// Reads a size in bytes such as `4GiB` or `700MB`.
///
/// # Errors
/// The text is none, or stands for nothing, or for more than can be counted.
pub fn size(text: &str) -> Result<u64, SizeError> {
    let error = || SizeError(text.to_owned());
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let count: u64 = text[..digits].parse().map_err(|_| error())?;
    let unit: u64 = match text[digits..].trim_start_matches(' ') {
        "" | "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" | "Ki" | "K" => 1 << 10,
        "MiB" | "Mi" | "M" => 1 << 20,
        "GiB" | "Gi" | "G" => 1 << 30,
        "TiB" | "Ti" | "T" => 1 << 40,
        _ => return Err(error()),
    };
    count.checked_mul(unit).filter(|bytes| *bytes > 0).ok_or_else(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn image(text: &str) -> Reference {
        text.parse().unwrap()
    }

    #[test]
    fn patterns_match_full_references() {
        let matches = |pattern: &str, text: &str| pattern.parse::<Pattern>().unwrap().matches(&image(text));
        assert!(matches("quay.io/prometheus-operator/*", "quay.io/prometheus-operator/a/b:v1"));
        assert!(matches("*/busybox:*", "busybox:1.28"));
        assert!(matches("*/busybox:*", "busybox"));
        assert!(!matches("*/busybox:*", "quay.io/notbusybox2:1"));
        assert!(matches("busybox:1.37", "docker.io/library/busybox:1.37"));
        assert!(matches("busybox", "busybox:latest") && !matches("busybox", "busybox:1"));
        assert!(matches("*", "a") && matches("*a*b*", "quay.io/a/xb:1") && !matches("*z", "quay.io/a:1"));
        for bad in ["", "acme/*", "quay.io/a b", "a?b.c/d", "{{x}}", "UPPER:x:y"] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad}");
        }
        // No pattern takes more than quadratic time.
        let stars: Pattern = format!("{}b", "a*".repeat(60)).replacen("a*", "*", 1).parse().unwrap();
        assert!(!stars.matches(&image(&format!("quay.io/{}", "a".repeat(200)))));
    }

    #[test]
    fn objects_are_matched_as_messages_name_them() {
        let matches = |pattern: &str, namespace: Option<&str>| {
            pattern.parse::<ObjectPattern>().unwrap().matches("HelmRelease", namespace, "shop")
        };
        assert!(matches("HelmRelease apps/shop", Some("apps")) && matches("HelmRelease apps/*", Some("apps")));
        assert!(matches("* *", None) && matches("HelmRelease shop", None) && matches("Helm* *shop", Some("apps")));
        assert!(!matches("HelmRelease shop", Some("apps")) && !matches("Kustomization *", Some("apps")));
        for bad in ["", "HelmRelease", "HelmRelease ", " shop", "HelmRelease a b", "HelmRelease {{x}}"] {
            assert!(bad.parse::<ObjectPattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn prefixes_are_replaced_at_their_boundary() {
        let replaced = |from: &str, to: &str, text: &str| {
            let (from, to): (Prefix, Prefix) = (from.parse().unwrap(), to.parse().unwrap());
            from.replace(&image(text), &to).map(|reference| reference.to_string())
        };
        assert_eq!(
            replaced("docker.io/bitnami/", "docker.io/bitnamilegacy/", "bitnami/redis:8"),
            Some("docker.io/bitnamilegacy/redis:8".into())
        );
        assert_eq!(replaced("bitnami/", "quay.io/x/", "docker.io/bitnami/a/b:1"), Some("quay.io/x/a/b:1".into()));
        assert_eq!(replaced("nginx", "quay.io/acme/nginx", "nginx:1"), Some("quay.io/acme/nginx:1".into()));
        assert_eq!(replaced("acme/app", "acme/new", "acme/app-debug:1"), None);
        assert_eq!(replaced("acme/app:1", "acme/app:2", "acme/app:1"), Some("docker.io/acme/app:2".into()));
        assert_eq!(replaced("acme/app:1", "acme/app:2", "acme/app:1.5"), None);
        assert_eq!(
            replaced("k8s.gcr.io/", "registry.k8s.io/", "k8s.gcr.io/a/b:1"),
            Some("registry.k8s.io/a/b:1".into())
        );
        assert_eq!(replaced("localhost:5000/", "quay.io/", "localhost:5000/a"), Some("quay.io/a".into()));
        assert_eq!("docker.io/".parse::<Prefix>().unwrap().as_str(), "docker.io/");
        for bad in ["", "/", "a b/", "https://x/", "-/"] {
            assert!(bad.parse::<Prefix>().is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_and_sizes() {
        assert_eq!(duration("7d"), Ok(Duration::from_secs(7 * 86_400)));
        assert_eq!(duration("1d12h"), Ok(Duration::from_secs(36 * 3600)));
        assert_eq!(size("4GiB"), Ok(4 << 30));
        assert_eq!((size("700MB"), size("512"), size("1Ki")), (Ok(700_000_000), Ok(512), Ok(1024)));
        for bad in ["", "7", "d", "7 d", "-1d", "7x", "0d", "99999999999999999999d", "18446744073709551615w", "1.5h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        for bad in ["", "GiB", "-1", "1.5G", "0", "1XB", "18446744073709551615K"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,12}|[0-9]{0,20}[smhdwGKi]{0,3}|[a-z./:*@-]{0,20}") {
            let _ = (duration(&text), size(&text), text.parse::<Pattern>());
            if let Ok(prefix) = text.parse::<Prefix>() {
                prop_assert_eq!(prefix.as_str().parse::<Prefix>(), Ok(prefix));
            }
        }
    }
}
