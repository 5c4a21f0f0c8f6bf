//! Lists of images that people keep: one reference per line, or YAML with `images:`.

use super::{Peer, Reader, Tool, items, text};
use crate::{
    oci::Reference,
    yaml::{Mark, Node, Value},
};

/// Reads YAML: a list at the top, or below `images`; items are texts, or mappings with `image` or `name`.
pub(super) fn yaml(reader: &mut Reader<'_>, documents: &[&Node]) -> Option<Peer> {
    let is_list =
        |node: &Node| node.as_seq().is_some() || node.get("images").is_some_and(|node| node.as_seq().is_some());
    if !documents.iter().any(|document| is_list(document)) {
        return None;
    }
    for document in documents {
        match document.as_seq() {
            Some(list) => images(reader, "", list),
            None => {
                images(reader, "images", items(document, "images"));
                reader.rest("", document, &["images", "apiVersion", "kind", "metadata"], &|_| {
                    Some("only `images` of a list of images is read")
                });
            }
        }
    }
    Some(Reader { file: reader.file, items: std::mem::take(&mut reader.items) }.finish(Tool::List))
}

fn images(reader: &mut Reader<'_>, above: &str, list: &[Node]) {
    for (at, node) in list.iter().enumerate() {
        let label = format!("{above}[{at}]");
        let written = match node.as_map() {
            None => node.text().map(str::to_owned),
            Some(_) => whole(node),
        };
        match written {
            Some(written) => {
                reader.image(label, node, &written);
            }
            None => {
                reader.other(label, node, node.kind_name(), "an image is a text, or a mapping with `image` or `name`")
            }
        }
    }
}

/// Puts an image together that is written in parts.
fn whole(node: &Node) -> Option<String> {
    if let Some(image) = text(node, "image") {
        return Some(image);
    }
    let mut name = text(node, "name").or_else(|| text(node, "repository"))?;
    if let Some(registry) = text(node, "registry") {
        name = format!("{registry}/{name}");
    }
    if let Some(tag) = text(node, "tag").or_else(|| text(node, "version")) {
        name = format!("{name}:{tag}");
    }
    if let Some(digest) = text(node, "digest") {
        name = format!("{name}@{digest}");
    }
    Some(name)
}

/// Reads one reference per line; `#` begins a comment. A text of which no line is a reference is no list.
pub(super) fn plain(reader: &mut Reader<'_>, text: &str) -> Option<Peer> {
    let mut images = 0;
    for (at, line) in text.lines().enumerate() {
        let content = line.trim_start_matches('\u{feff}');
        let content = content.split(" #").next().unwrap_or(content).trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let number = u32::try_from(at + 1).unwrap_or(u32::MAX);
        let node = Node::new(Value::Null, Mark { line: number, column: 1 });
        images += usize::from(content.parse::<Reference>().is_ok());
        reader.image(format!("line {number}"), &node, content);
    }
    if images == 0 || reader.items.len() > images * 2 {
        reader.items.clear();
        return None;
    }
    Some(Reader { file: reader.file, items: std::mem::take(&mut reader.items) }.finish(Tool::List))
}
