//! Arguments and commands: `--x-image=REF`, `--x-image REF`, flags with one dash, whole command lines in one element, and
//! repositories whose tag is another flag.

use crate::yaml::Node;

use super::{
    guess, negative, script,
    site::{Path, Site},
};

/// The class in provenance.
const RULE: &str = "argument";

/// Reads a list of arguments; lists of other things hold nothing that begins with a dash, and bare texts are judged alone.
pub(super) fn list(site: &mut Site<'_>, items: &[Node], path: &Path) {
    let texts: Vec<Option<&str>> = items.iter().map(Node::as_str).collect();
    for (i, text) in texts.iter().enumerate() {
        let Some(text) = text.map(str::trim) else { continue };
        let (path, node) = (path.index(i), &items[i]);
        if text.is_empty() || site.is_settled(&path.to_string()) {
            continue;
        }
        if text.contains('\n') {
            super::payload::text(site, text, node, &path);
            continue;
        }
        let before = i.checked_sub(1).and_then(|before| texts[before]).map(str::trim);
        match flag(text) {
            Some((name, Some(value))) => {
                if guess::names_repository(name)
                    && let Some(whole) = with_tag(&texts, name, value)
                {
                    site.guess_name(&whole, value, RULE, node, &path);
                } else {
                    value_of(site, name, value, node, &path);
                }
            }
            Some((_, None)) => {}
            None if text.contains(char::is_whitespace) => script::line(site, text, node, &path),
            None => match before.and_then(flag) {
                Some((name, None)) => {
                    if guess::names_repository(name)
                        && let Some(whole) = with_tag(&texts, name, text)
                    {
                        site.guess_name(&whole, text, RULE, node, &path);
                    } else {
                        value_of(site, name, text, node, &path);
                    }
                }
                _ if guess::is_strict(text) => site.guess(text, RULE, node, &path),
                _ => {}
            },
        }
    }
}

/// Splits an argument into the name of a flag and its value.
pub(super) fn flag(text: &str) -> Option<(&str, Option<&str>)> {
    let name = text.strip_prefix("--").or_else(|| text.strip_prefix('-'))?;
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || name.contains(char::is_whitespace) && !name.contains('=')
    {
        return None;
    }
    Some(match name.split_once('=') {
        Some((name, value)) => (name, Some(unquoted(value))),
        None => (name, None),
    })
}

pub(super) fn unquoted(text: &str) -> &str {
    text.trim_matches(['"', '\''])
}

/// Tells whether the value of a flag is an image.
pub(super) fn is_value(name: &str, value: &str) -> bool {
    if negative::is_target(name) {
        return false;
    }
    guess::is_strict(value)
        || (guess::names_image(name)
            && (guess::is_image(value)
                || (name.to_ascii_lowercase().ends_with("image") && guess::is_image_or_name(value))))
}

fn value_of(site: &mut Site<'_>, name: &str, value: &str, node: &Node, path: &Path) {
    if value.starts_with(['{', '[']) {
        return super::payload::text(site, value, node, path);
    }
    for part in value.split([',', ';']).map(str::trim).filter(|part| !part.is_empty()) {
        // `--default-images=sidecar=quay.io/a/b:1` and the like.
        let last = part.rsplit_once('=').map_or(part, |(_, last)| last);
        if is_value(name, last) && !negative::is_word(last) {
            site.guess(last, RULE, node, path);
        }
    }
}

/// Completes the value of `--x-repository` by that of `--x-tag`.
fn with_tag(texts: &[Option<&str>], name: &str, repository: &str) -> Option<String> {
    let stem = name.strip_suffix("repository").or_else(|| name.strip_suffix("repo"))?;
    for (i, text) in texts.iter().enumerate() {
        let Some((other, value)) = text.and_then(flag) else { continue };
        let wanted = other.strip_prefix(stem).is_some_and(|rest| matches!(rest, "tag" | "version" | "image-tag"));
        let value = value.or_else(|| texts.get(i + 1).copied().flatten());
        if wanted && let Some(value) = value {
            let whole = format!("{repository}:{value}");
            return guess::is_image(&whole).then_some(whole);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_have_one_dash_or_two() {
        assert_eq!(flag("--image=a:1"), Some(("image", Some("a:1"))));
        assert_eq!(flag("-entrypoint-image"), Some(("entrypoint-image", None)));
        assert_eq!(flag("--x=\"a b\""), Some(("x", Some("a b"))));
        assert_eq!(flag("-1"), None);
        assert_eq!(flag("run"), None);
    }

    #[test]
    fn a_repository_finds_its_tag_among_the_other_flags() {
        let texts =
            [Some("--sidecar-image-repository=x.io/envoy"), Some("--log"), Some("--sidecar-image-tag"), Some("v1")];
        assert_eq!(with_tag(&texts, "sidecar-image-repository", "x.io/envoy").as_deref(), Some("x.io/envoy:v1"));
        assert_eq!(with_tag(&texts, "init-image-repository", "x.io/envoy"), None);
    }
}
