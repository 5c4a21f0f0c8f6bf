//! Texts without structure: scripts, properties, TOML, Dockerfiles. Lines are read one by one; comments are passed over.

use crate::yaml::Node;

use super::{
    args, guess, negative,
    site::{Path, Site},
};

/// The class in provenance.
const RULE: &str = "text";

/// The longest line that is read: minified data is longer, and lines that people write are not.
const LONGEST_LINE: usize = 16 << 10;

/// Reads a text line by line.
pub(super) fn text(site: &mut Site<'_>, text: &str, node: &Node, path: &Path) {
    let dockerfile = is_dockerfile(text);
    let mut stages: Vec<&str> = Vec::new();
    let tags = properties(text);
    for written in text.lines() {
        let written = written.trim();
        if written.len() > LONGEST_LINE || is_comment(written) {
            continue;
        }
        if dockerfile && let Some((base, stage)) = from(written) {
            if !stages.contains(&base) && base != "scratch" && guess::is_image_or_name(base) {
                site.guess(base, RULE, node, path);
            }
            stages.extend(stage);
            continue;
        }
        if let Some((key, value)) = property(written) {
            if let Some(stem) = key.strip_suffix("repository").or_else(|| key.strip_suffix("REPOSITORY"))
                && stem.ends_with(['.', '_', '-'])
            {
                let tag = tags
                    .iter()
                    .find(|(other, _)| other.strip_prefix(stem).is_some_and(|rest| rest.eq_ignore_ascii_case("tag")));
                if let Some((_, tag)) = tag
                    && guess::is_image(&format!("{value}:{tag}"))
                {
                    site.guess_name(&format!("{value}:{tag}"), value, RULE, node, path);
                    continue;
                }
            }
            if (guess::names_image(key) && guess::is_image(value)) || guess::is_strict(value) {
                site.guess(value, RULE, node, path);
                continue;
            }
        }
        line(site, written, node, path);
    }
}

fn is_comment(line: &str) -> bool {
    line.is_empty()
        || line.starts_with('#')
        || line.starts_with("//")
        || line.starts_with(';')
        || line.starts_with("{{/*")
}

/// Splits `key = value`, `key: value` and `export KEY="value"`.
fn property(line: &str) -> Option<(&str, &str)> {
    let line = line.strip_prefix("export ").unwrap_or(line);
    let line = line.strip_prefix("- ").unwrap_or(line).trim_end_matches(',');
    let at = line.find(['=', ':'])?;
    let (key, value) = (line[..at].trim().trim_matches('"'), line[at + 1..].trim());
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    let value = value.split(" #").next().unwrap_or(value).trim().trim_end_matches(';');
    (!key.is_empty() && key.chars().all(name)).then(|| (key, args::unquoted(value)))
}

fn properties(text: &str) -> Vec<(&str, &str)> {
    text.lines()
        .map(str::trim)
        .filter(|line| !is_comment(line))
        .filter_map(property)
        .filter(|(key, _)| key.to_ascii_lowercase().ends_with("tag"))
        .collect()
}

/// A Dockerfile begins with FROM and goes on with another instruction.
fn is_dockerfile(text: &str) -> bool {
    let starts = |line: &str, words: &[&str]| words.iter().any(|word| line.trim_start().starts_with(word));
    text.lines().any(|line| starts(line, &["FROM "]))
        && text
            .lines()
            .any(|line| starts(line, &["RUN ", "COPY ", "CMD ", "ENTRYPOINT ", "ADD ", "WORKDIR ", "USER ", "ENV "]))
}

/// Reads `FROM [--platform=…] IMAGE [AS NAME]`.
fn from(line: &str) -> Option<(&str, Option<&str>)> {
    let mut words = line.strip_prefix("FROM ")?.split_whitespace().filter(|word| !word.starts_with("--"));
    let base = words.next()?;
    let stage = words.next().filter(|word| word.eq_ignore_ascii_case("as")).and_then(|_| words.next());
    Some((base, stage))
}

/// What pulls or runs the image that follows it.
const PULLS: &[&[&str]] = &[
    &["docker", "pull"],
    &["docker", "run"],
    &["podman", "pull"],
    &["podman", "run"],
    &["nerdctl", "pull"],
    &["nerdctl", "run"],
    &["crictl", "pull"],
    &["images", "pull"],
    &["image", "pull"],
];

/// What names images that go somewhere, or are made here.
const PUSHES: &[&str] = &["push", "tag", "build", "login", "rmi"];

/// The programs that [`PULLS`] and [`PUSHES`] are commands of.
const PROGRAMS: &[&str] = &["docker", "podman", "nerdctl", "buildah", "crane", "skopeo", "img", "oras"];

/// Reads one line as a command.
pub(super) fn line(site: &mut Site<'_>, line: &str, node: &Node, path: &Path) {
    let separators = |c: char| {
        c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ',' | '(' | ')' | '[' | ']' | '<' | '>' | '|' | ';')
    };
    let tokens: Vec<&str> = line.split(separators).filter(|token| !token.is_empty()).collect();
    let mut pulled = false;
    if tokens.windows(2).any(|pair| PROGRAMS.contains(&pair[0]) && PUSHES.contains(&pair[1])) {
        return;
    }
    for (i, token) in tokens.iter().enumerate() {
        let token = token.trim_end_matches(['.', '!', '?', '\\']);
        if PULLS.iter().any(|words| i >= 2 && tokens[i - 2] == words[0] && tokens[i - 1] == words[1]) {
            pulled = true;
        }
        let before = i.checked_sub(1).and_then(|before| args::flag(tokens[before]));
        match (args::flag(token), before) {
            (Some((name, Some(value))), _) => {
                if args::is_value(name, value) {
                    site.guess(value, RULE, node, path);
                }
            }
            (Some((_, None)), _) => {}
            (None, Some((name, None))) if negative::is_target(name) => {}
            (None, Some((name, None))) if guess::names_image(name) && guess::is_image(token) => {
                site.guess(token, RULE, node, path);
            }
            // The first word after a pulling command that is not a flag's value.
            (None, before) if pulled && before.is_none() && guess::is_image(token) => {
                site.guess(token, RULE, node, path);
                pulled = false;
            }
            _ => {
                let value = token.rsplit_once('=').map_or(token, |(_, value)| value);
                if guess::is_strict(value)
                    || guess::is_on_registry(value) && !value.contains('=') && value.contains(['@', ':'])
                {
                    site.guess(value, RULE, node, path);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_many_languages_are_properties() {
        for (line, expected) in [
            ("helper_image = \"a/b:1\"", Some(("helper_image", "a/b:1"))),
            ("export IMAGE='x:1'", Some(("IMAGE", "x:1"))),
            ("image: x:1 # why", Some(("image", "x:1"))),
            ("- image: x:1", Some(("image", "x:1"))),
            ("\"image\": \"x:1\",", Some(("image", "x:1"))),
            ("if a then b", None),
            ("a b = c", None),
        ] {
            assert_eq!(property(line), expected, "{line}");
        }
    }

    #[test]
    fn dockerfiles_name_their_bases() {
        assert!(is_dockerfile("FROM a\nRUN b") && !is_dockerfile("FROM here to there"));
        assert_eq!(from("FROM --platform=linux/amd64 golang:1.24 AS build"), Some(("golang:1.24", Some("build"))));
        assert_eq!(from("FROM build"), Some(("build", None)));
    }
}
