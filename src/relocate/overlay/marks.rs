//! Marks: values made recognisable, so that an image tells which of them it was made from.

use serde_json::{Map, Value as Json};

use crate::oci::Reference;

/// A way to a value.
pub(super) type Way = Vec<Segment>;

/// One step of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Segment {
    Key(String),
    Index(usize),
}

/// A value that may be a part of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) way: Way,
    pub(super) old: String,
    /// The value with the mark in it.
    pub(super) marked: String,
}

/// The longest value that is looked at: longer ones are scripts and documents.
const LONGEST: usize = 512;

/// How many values are marked.
const MOST: usize = 2_000;

/// A part of what an image was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// What the template says itself.
    Literal(String),
    /// A candidate.
    Value(usize),
}

fn mark(id: usize) -> String {
    format!("zm{id}z")
}

fn is_host(text: &str) -> bool {
    text.contains('.') || text.contains(':') || text == "localhost"
}

impl Candidate {
    /// Makes a candidate; the mark leaves the shape of the value as it is.
    pub(super) fn new(id: usize, way: Way, old: &str) -> Candidate {
        let mark = mark(id);
        let marked = match old.split_once('/') {
            None if old.is_empty() => format!("{mark}.example.com"),
            None if is_host(old) && old.parse::<Reference>().is_ok_and(|image| image.tag.is_none())
                || old.ends_with("/") =>
            {
                format!("{mark}.{old}")
            }
            Some((host, "")) => format!("{mark}.{host}/"),
            Some((host, rest)) if is_host(host) => format!("{host}/{mark}/{rest}"),
            _ => format!("{mark}/{old}"),
        };
        Candidate { way, old: old.to_owned(), marked }
    }
}

/// Tells whether a value stands in an image as whole components of its name.
fn is_part(image: &str, value: &str) -> bool {
    let trimmed = value.trim_end_matches('/');
    !trimmed.is_empty()
        && image.match_indices(trimmed).any(|(at, _)| {
            let before = at == 0 || image.as_bytes()[at - 1] == b'/';
            let after = image.as_bytes().get(at + trimmed.len());
            before && after.is_none_or(|byte| matches!(byte, b'/' | b':' | b'@'))
        })
}

/// Words in keys that say that a value is about images.
const WORDS: &[&str] = &["image", "repo", "registry", "hub"];

fn is_about_images(way: &Way) -> bool {
    way.iter().any(|segment| {
        matches!(segment, Segment::Key(key) if {
            let lower = key.to_ascii_lowercase();
            WORDS.iter().any(|word| lower.contains(word))
        })
    })
}

/// Ends of keys about images that hold no name of one.
const OTHER: &[&str] =
    &["tag", "version", "policy", "secrets", "secret", "digest", "sha", "enabled", "prefix", "command", "args"];

/// Tells whether a value that nothing gives may be a part of an image's name.
pub(super) fn may_be_image(way: &Way) -> bool {
    let Some(Segment::Key(last)) = way.last() else { return false };
    let lower = last.to_ascii_lowercase();
    is_about_images(way) && !OTHER.iter().any(|end| lower.ends_with(end))
}

/// Returns the values that stand in one of the images.
pub(super) fn candidates(values: &Json, images: &[&str]) -> Vec<Candidate> {
    let mut found = Vec::new();
    collect(values, &mut Vec::new(), images, &mut found);
    found
}

fn collect(value: &Json, way: &mut Way, images: &[&str], found: &mut Vec<Candidate>) {
    if found.len() >= MOST {
        return;
    }
    match value {
        Json::Object(map) => {
            for (key, value) in map {
                way.push(Segment::Key(key.clone()));
                collect(value, way, images, found);
                way.pop();
            }
        }
        Json::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                way.push(Segment::Index(i));
                collect(item, way, images, found);
                way.pop();
            }
        }
        Json::String(text) if text.len() <= LONGEST => {
            let telling = text.contains('/') || text.contains('.') || is_about_images(way);
            if telling && images.iter().any(|image| is_part(image, text)) {
                found.push(Candidate::new(found.len(), way.clone(), text));
            }
        }
        _ => {}
    }
}

/// Splits what a marked rendering says into what it was made from; nothing when a value was changed on the way.
pub(super) fn parts(text: &str, candidates: &[Candidate]) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((id, at)) = first_mark(rest) {
        let candidate = candidates.get(id)?;
        let offset = candidate.marked.find(&mark(id))?;
        let start = at.checked_sub(offset)?;
        let end = start + candidate.marked.len();
        let (start, end) = match rest.get(start..end) {
            Some(said) if said == candidate.marked => (start, end),
            // Charts trim the slash behind a registry, or a prefix ends with one.
            _ => return None,
        };
        if start > 0 {
            parts.push(Part::Literal(rest[..start].to_owned()));
        }
        parts.push(Part::Value(id));
        rest = &rest[end..];
    }
    if !rest.is_empty() {
        parts.push(Part::Literal(rest.to_owned()));
    }
    Some(parts)
}

/// Finds the first mark: its number and where it stands.
fn first_mark(text: &str) -> Option<(usize, usize)> {
    text.match_indices("zm").find_map(|(at, _)| {
        let (digits, _) = text[at + 2..].split_once('z')?;
        Some((digits.parse().ok()?, at))
    })
}

/// Puts a value at a way into an overlay. Lists are replaced as a whole by helm, so one that is touched is copied from the values.
pub(super) fn put(overlay: &mut Json, values: &Json, way: &[Segment], new: Json) {
    let mut node = overlay;
    let mut below = Some(values);
    for (i, segment) in way.iter().enumerate() {
        if i + 1 < way.len()
            && matches!(way[i + 1], Segment::Index(_))
            && let Segment::Key(key) = segment
        {
            let list = below.and_then(|below| below.get(key)).cloned().unwrap_or_default();
            let Some(map) = as_map(node) else { return };
            node = map.entry(key.clone()).or_insert(list);
            below = below.and_then(|below| below.get(key));
            continue;
        }
        match segment {
            Segment::Key(key) => {
                let Some(map) = as_map(node) else { return };
                node = map.entry(key.clone()).or_insert(Json::Null);
                below = below.and_then(|below| below.get(key));
            }
            Segment::Index(index) => {
                let Some(item) = node.as_array_mut().and_then(|items| items.get_mut(*index)) else { return };
                node = item;
                below = below.and_then(|below| below.get(*index));
            }
        }
    }
    *node = new;
}

/// Makes a node a mapping, unless it is one.
fn as_map(node: &mut Json) -> Option<&mut Map<String, Json>> {
    if !node.is_object() {
        *node = Json::Object(Map::new());
    }
    node.as_object_mut()
}

/// Returns the value at a way.
pub(super) fn get<'j>(values: &'j Json, way: &[Segment]) -> Option<&'j Json> {
    way.iter().try_fold(values, |node, segment| match segment {
        Segment::Key(key) => node.get(key),
        Segment::Index(index) => node.get(*index),
    })
}

/// Writes a way as helm's `--set` does.
pub(super) fn dotted(way: &[Segment]) -> String {
    let mut text = String::new();
    for segment in way {
        match segment {
            Segment::Key(key) if text.is_empty() => text.push_str(key),
            Segment::Key(key) => text.push_str(&format!(".{key}")),
            Segment::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_that_stand_in_images_are_marked() {
        let values = json!({
            "image": {"registry": "quay.io", "repository": "a/b", "tag": "1.2"},
            "name": "b",
            "url": "https://quay.io",
            "side": {"image": "quay.io/c/d:1"},
            "nameOverride": "",
            "list": [{"image": "nginx"}],
        });
        let found = candidates(&values, &["quay.io/a/b:1.2", "quay.io/c/d:1", "nginx:1"]);
        let told: Vec<_> = found.iter().map(|one| format!("{}={}", dotted(&one.way), one.marked)).collect();
        assert_eq!(
            told,
            [
                "image.registry=zm0z.quay.io",
                "image.repository=zm1z/a/b",
                "side.image=quay.io/zm2z/c/d:1",
                "list[0].image=zm3z/nginx",
            ]
        );
        let parts = |text: &str| super::parts(text, &found);
        assert_eq!(
            parts("zm0z.quay.io/zm1z/a/b:1.2"),
            Some(vec![Part::Value(0), Part::Literal("/".into()), Part::Value(1), Part::Literal(":1.2".into())])
        );
        assert_eq!(parts("quay.io/a:1"), Some(vec![Part::Literal("quay.io/a:1".into())]));
        assert_eq!(parts("docker.io/zm1z-a-b"), None);
        let mut overlay = json!({});
        put(&mut overlay, &values, &found[3].way, json!("x"));
        put(&mut overlay, &values, &found[0].way, json!("y"));
        assert_eq!(overlay, json!({"list": [{"image": "x"}], "image": {"registry": "y"}}));
    }
}
