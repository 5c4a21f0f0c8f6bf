//! Images: another name, tag or digest for every container that uses an image.

use super::{
    Error, Problem,
    fieldspec::{Create, FieldSpec, apply_all},
    node::{Content, Node, Tag},
    read::Section,
    selector::expression,
    set::Set,
};

/// Says what becomes of an image.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    pub(super) name: String,
    pub(super) new_name: String,
    pub(super) new_tag: String,
    pub(super) tag_suffix: String,
    pub(super) digest: String,
}

pub(super) const FIELDS: &[&str] = &["name", "newName", "tagSuffix", "newTag", "digest"];

impl Image {
    pub(super) fn read(section: &Section<'_>) -> Result<Image, Error> {
        Ok(Image {
            name: section.text_or_empty("name")?,
            new_name: section.text_or_empty("newName")?,
            new_tag: section.text_or_empty("newTag")?,
            tag_suffix: section.text_or_empty("tagSuffix")?,
            digest: section.text_or_empty("digest")?,
        })
    }

    /// Changes the image in all resources that are no definitions of kinds.
    ///
    /// # Errors
    /// The name is no regular expression, or a field of an image is no single value.
    pub(super) fn apply(&self, set: &mut Set, specs: &[FieldSpec]) -> Result<(), Problem> {
        // The name is a pattern, although nobody says so.
        let pattern = format!("^{}(:[a-zA-Z0-9_.{{}}-]*)?(@sha256:[a-zA-Z0-9_.{{}}-]*)?$", self.name);
        let pattern = expression(&pattern)?;
        let mut update = |node: &mut Node| {
            if node.is_null() {
                return Ok(());
            }
            if node.as_scalar().is_none() {
                let (expected, found) = ("a single value", node.kind_name());
                return Err(Problem::Shape { expected, found, field: "image".to_owned() });
            }
            match pattern.is_match(node.written()) {
                true => {
                    let new = self.rename(node.written());
                    node.set_here(Node::scalar(new, Tag::Unset))
                }
                false => Ok(()),
            }
        };
        for item in set.items.iter_mut().filter(|item| item.kind() != "CustomResourceDefinition") {
            let label = item.label();
            containers(&mut item.node, &mut update)
                .and_then(|()| apply_all(specs, &mut item.node, Create::Nothing, &mut update))
                .map_err(|problem| problem.of(label))?;
        }
        Ok(())
    }

    fn rename(&self, written: &str) -> String {
        let (name, tag, digest) = split(written);
        let name = if self.new_name.is_empty() { name } else { &self.new_name };
        let (tag, digest) = match (self.new_tag.as_str(), self.digest.as_str()) {
            ("", "") if !self.tag_suffix.is_empty() => (format!("{tag}{}", self.tag_suffix), ""),
            ("", "") => (tag.to_owned(), digest),
            (tag, digest) => (tag.to_owned(), digest),
        };
        let tag = if tag.is_empty() { tag } else { format!(":{tag}") };
        let digest = if digest.is_empty() { String::new() } else { format!("@{digest}") };
        format!("{name}{tag}{digest}")
    }
}

/// Splits an image into name, tag and digest; a colon before the first slash belongs to the host.
fn split(image: &str) -> (&str, &str, &str) {
    let host = image.find('/').filter(|slash| *slash > 0).unwrap_or(0);
    let colon = image[host..].find(':').map(|at| at + host);
    let at = image[host..].find('@').map(|at| at + host);
    match (colon, at) {
        (None, None) => (image, "", ""),
        (Some(colon), Some(at)) if colon < at => (&image[..colon], &image[colon + 1..at], &image[at + 1..]),
        (_, Some(at)) => (&image[..at], "", &image[at + 1..]),
        (Some(colon), None) => (&image[..colon], &image[colon + 1..], ""),
    }
}

/// Visits the image of every element of every list named `containers` or `initContainers`, innermost first.
fn containers(node: &mut Node, update: &mut dyn FnMut(&mut Node) -> Result<(), Problem>) -> Result<(), Problem> {
    match &mut node.content {
        Content::Scalar(_) => Ok(()),
        Content::List(items) => items.iter_mut().try_for_each(|item| containers(item, update)),
        Content::Map(fields) => {
            for field in fields {
                containers(&mut field.value, update)?;
                if !matches!(field.name.as_str(), "containers" | "initContainers") {
                    continue;
                }
                let Content::List(items) = &mut field.value.content else { continue };
                for item in items {
                    if item.as_map().is_none() && !item.is_null() {
                        let (expected, found) = ("a mapping", item.kind_name());
                        return Err(Problem::Shape { expected, found, field: field.name.clone() });
                    }
                    if let Some(image) = item.get_mut("image") {
                        update(image)?;
                    }
                }
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_split_at_the_last_name() {
        for (image, parts) in [
            ("nginx", ("nginx", "", "")),
            ("nginx:1", ("nginx", "1", "")),
            ("h:5000/a/b", ("h:5000/a/b", "", "")),
            ("h:5000/a:1@sha256:x", ("h:5000/a", "1", "sha256:x")),
            ("a@sha256:x", ("a", "", "sha256:x")),
        ] {
            assert_eq!(split(image), parts);
        }
    }
}
