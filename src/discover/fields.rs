//! Paths of fields as rules write them: `spec.templates[].container.image`, `spec.override.*.image`.

use crate::yaml::Node;

use super::site::Path;

/// One step of a rule's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A key of a mapping.
    Key(String),
    /// Every value of a mapping.
    Any,
    /// Every item of a list.
    Each,
}

/// Reads a path; an empty one names the object itself.
pub(super) fn parse(path: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    for text in path.split('.').filter(|text| !text.is_empty()) {
        let (key, each) = text.strip_suffix("[]").map_or((text, false), |key| (key, true));
        match key {
            "" => {}
            "*" => parts.push(Part::Any),
            key => parts.push(Part::Key(key.to_owned())),
        }
        if each {
            parts.push(Part::Each);
        }
    }
    parts
}

/// A value that a path leads to, and the mapping that it stands in.
pub(super) struct Selected<'n> {
    pub(super) path: Path,
    pub(super) node: &'n Node,
    pub(super) parent: Option<&'n Node>,
}

/// Returns every value that the path leads to; what does not have the path's shape is passed over.
pub(super) fn select<'n>(root: &'n Node, parts: &[Part]) -> Vec<Selected<'n>> {
    let mut found = vec![Selected { path: Path::default(), node: root, parent: None }];
    for part in parts {
        let mut next = Vec::new();
        for at in found {
            match part {
                Part::Key(key) => {
                    next.extend(at.node.get(key).filter(|child| !child.is_null()).map(|child| Selected {
                        path: at.path.key(key),
                        node: child,
                        parent: Some(at.node),
                    }))
                }
                Part::Any => next.extend(at.node.as_map().unwrap_or_default().iter().filter_map(|(name, child)| {
                    Some(Selected { path: at.path.key(&name.key()?), node: child, parent: Some(at.node) })
                })),
                Part::Each => {
                    let items = at.node.as_seq().unwrap_or_default();
                    next.extend(items.iter().enumerate().map(|(i, item)| Selected {
                        path: at.path.index(i),
                        node: item,
                        parent: at.parent,
                    }));
                }
            }
        }
        found = next;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    #[test]
    fn paths_lead_through_lists_and_maps() {
        let root = yaml::documents(
            "a: {b: [{c: 1}, {c: 2}, {d: 3}], m: {x: {c: 4}, z: {c: 5}}, n: }",
            &yaml::Options::default(),
        )
        .unwrap()
        .remove(0);
        let read = |path: &str| -> Vec<String> {
            select(&root, &parse(path))
                .iter()
                .map(|at| format!("{}={}", at.path, at.node.text().unwrap_or("?")))
                .collect()
        };
        assert_eq!(read("a.b[].c"), ["a.b[0].c=1", "a.b[1].c=2"]);
        assert_eq!(read("a.m.*.c"), ["a.m.x.c=4", "a.m.z.c=5"]);
        assert_eq!(read("a.m.x.c.d"), Vec::<String>::new());
        assert_eq!(read("a.n"), Vec::<String>::new());
        assert_eq!(read("a.b.c"), Vec::<String>::new());
    }
}
