//! The search through everything that no rule settled: each value goes to the class that knows its surroundings.

use crate::{
    error::Diagnostic,
    yaml::{Node, Value},
};

use super::{
    Confidence, Role, annotations, args, env, guess, negative, payload,
    site::{MAX_LEVELS, Path, Site, object_step},
    split,
};

/// Walks through the object.
pub(super) fn find(site: &mut Site<'_>) {
    let object = site.object;
    if object.group().is_empty() && matches!(object.kind.as_str(), "ConfigMap" | "Secret") {
        payload::data(site);
        if let Some(list) = object.node.at_path(["metadata", "annotations"]) {
            annotations::map(site, list, &Path::default().key("metadata").key("annotations"));
        }
        return;
    }
    node(site, &object.node, &mut Path::default(), None);
}

/// A registry and a tag that hold for every image below, and the value of the registry: istio's `global`.
type Hub<'n> = Option<(&'n str, &'n str, &'n Node)>;

fn node<'n>(site: &mut Site<'_>, at: &'n Node, path: &mut Path, hub: Hub<'n>) {
    if negative::is_other_field(path.keys(), path.len()) {
        return;
    }
    if path.len() > MAX_LEVELS {
        let message = format!("{}: nested too deep to look for images", object_step(site.object));
        let hint = "name the images that it needs under `images` of the spec";
        return site.report(Diagnostic::warning("object-too-deep", message).hint(hint), at);
    }
    match &at.value {
        Value::Map(entries) => map(site, at, entries, path, hub),
        Value::Seq(items) => list(site, items, path, hub),
        Value::String(text) => leaf(site, text, at, path, hub),
        _ => {}
    }
}

fn map<'n>(site: &mut Site<'_>, at: &'n Node, entries: &'n [(Node, Node)], path: &mut Path, hub: Hub<'n>) {
    let key = path.keys().next().unwrap_or_default().to_owned();
    if key == "annotations" {
        return annotations::map(site, at, path);
    }
    if env::is_variable(at) {
        return env::variable(site, at, path);
    }
    let text = |key: &str| at.get(key).and_then(Node::text).filter(|text| !text.is_empty());
    let own = text("hub").zip(text("tag")).zip(at.get("hub"));
    let hub = own.map(|((hub, tag), node)| (hub, tag, node)).or(hub);
    let lead = split::join_unnamed(at, &key).filter(|joined| !site.is_settled(&path.key(joined.keys[0]).to_string()));
    if let Some(joined) = &lead {
        let lead = path.key(joined.keys[0]);
        let place = at.get(joined.keys[0]).unwrap_or(at);
        let pieces = site.pieces(at, &joined.parts);
        site.add_written(&joined.text, (Confidence::Guess, "split reference"), place, &lead, pieces);
        for key in &joined.keys {
            site.settle(path.key(key).to_string());
        }
    }
    for (name, value) in entries {
        let Some(key) = name.key() else { continue };
        path.push(&key);
        if let (Some(text), true) = (value.as_str(), guess::names_image(&key))
            && !site.is_settled(&path.to_string())
            && let Some(joined) = beside(text, &key, at)
        {
            site.guess_name(&joined, text, "split reference", value, path);
            site.settle(path.to_string());
        }
        node(site, value, path, hub);
        path.pop();
    }
}

/// Completes `controllerImage` by `controllerImageVersion` or `controllerImageTag`, and `image` by `tag`.
fn beside(text: &str, key: &str, map: &Node) -> Option<String> {
    if !guess::is_image_or_name(text) || text.rsplit('/').next().is_some_and(|last| last.contains([':', '@'])) {
        return None;
    }
    let named = ["Version", "Tag", "_version", "_tag", "-version", "-tag"].iter().find_map(|end| {
        let value = map.get(&format!("{key}{end}")).and_then(Node::text).map(str::trim);
        value.filter(|value| !value.is_empty())
    });
    let whole = match named {
        Some(tag) => format!("{text}:{tag}"),
        None if key == "image" => split::with_tag_beside(text, map)?.text,
        None => return None,
    };
    guess::is_image(&whole).then_some(whole)
}

fn list<'n>(site: &mut Site<'_>, items: &'n [Node], path: &mut Path, hub: Hub<'n>) {
    let key = path.keys().next().unwrap_or_default().to_owned();
    let lower = key.to_ascii_lowercase();
    let dashes = items.iter().any(|item| item.as_str().is_some_and(|text| text.starts_with('-')));
    if lower.ends_with("args") || lower.ends_with("command") || dashes {
        args::list(site, items, path);
        // A list of arguments may hold nothing else.
        if items.iter().all(|item| item.as_str().is_some()) {
            return;
        }
    }
    if items.iter().any(env::is_variable) {
        env::join(site, items, path);
    }
    for (i, item) in items.iter().enumerate() {
        path.push_index(i);
        node(site, item, path, hub);
        path.pop();
    }
}

fn leaf<'n>(site: &mut Site<'_>, text: &str, at: &'n Node, path: &Path, hub: Hub<'n>) {
    let key = path.keys().next().unwrap_or_default();
    let trimmed = text.trim();
    if trimmed.is_empty() || site.is_settled(&path.to_string()) || negative::is_example(key) || negative::is_target(key)
    {
        return;
    }
    if trimmed.contains('\n') || trimmed.starts_with("{\"") || trimmed.starts_with("[{") {
        return payload::text(site, text, at, path);
    }
    let named = guess::names_image(key);
    if named
        && key == "image"
        && !trimmed.contains(['/', ':', '@'])
        && let Some((hub, tag, node)) = hub
        && guess::is_image(&format!("{hub}/{trimmed}:{tag}"))
    {
        let front = site.piece(Role::Registry, node, hub);
        let pieces = front.into_iter().chain(site.piece(Role::Image, at, trimmed)).collect();
        let whole = format!("{hub}/{trimmed}:{tag}");
        return site.add_written(&whole, (Confidence::Guess, "split reference"), at, path, pieces);
    }
    if named && guess::is_image(trimmed) {
        site.guess(trimmed, "image field", at, path);
    } else if guess::is_strict(trimmed)
        || (guess::is_on_registry(trimmed) && !guess::names_prefix(key) && !guess::names_repository(key))
    {
        site.guess(trimmed, "reference", at, path);
    }
}
