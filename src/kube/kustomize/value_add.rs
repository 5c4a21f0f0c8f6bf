//! The `ValueAddTransformer`: one value written into a field of many resources, as a whole or as a part of a file path.

use super::{
    Error, Problem,
    fieldspec::split_path,
    namespace::{Namespace, Subjects},
    node::{Node, Tag},
    read::Section,
    schema::Schemas,
    selector::Selector,
    set::Set,
};

#[derive(Clone, Debug)]
struct Target {
    selector: Option<Selector>,
    path: String,
    position: usize,
}

/// Says what to write where.
#[derive(Clone, Debug)]
pub(super) struct ValueAdd {
    value: String,
    targets: Vec<Target>,
}

impl ValueAdd {
    /// Reads the transformer's configuration; `fallback` is the value when none is given, `more` further targets.
    pub(super) fn read(section: &Section<'_>, fallback: String, more: &[Section<'_>]) -> Result<ValueAdd, Error> {
        let value = section.text_or_empty("value")?.trim().to_owned();
        let mut targets = Vec::new();
        for target in section.sections("targets")?.iter().chain(more) {
            let path = target.text_or_empty("fieldPath")?;
            let position = usize::try_from(target.number("filePathPosition")?.unwrap_or_default());
            let wrong = |problem: Problem| problem.at(target.file, target.node.at);
            if path.is_empty() {
                return Err(wrong(Problem::EmptyPath));
            }
            targets.push(Target {
                selector: target.section("selector")?.map(|selector| Selector::read(&selector)).transpose()?,
                path,
                position: position.map_err(|_| wrong(Problem::EmptyPath))?,
            });
        }
        if targets.is_empty() {
            return Err(Problem::TargetMissing.at(section.file, section.node.at));
        }
        Ok(ValueAdd { value: if value.is_empty() { fallback } else { value }, targets })
    }

    /// Writes the value.
    ///
    /// # Errors
    /// A field is no single value.
    pub(super) fn apply(&self, set: &mut Set, schemas: &Schemas) -> Result<(), Problem> {
        for target in &self.targets {
            let chosen = match &target.selector {
                None => (0..set.items.len()).collect(),
                Some(selector) => selector.select(set, schemas)?,
            };
            for at in chosen {
                let item = &mut set.items[at];
                let label = item.label();
                if target.path == "metadata/namespace" {
                    let (name, specs) = (self.value.clone(), Vec::new());
                    let namespace = Namespace { name, specs, unset_only: false, subjects: Subjects::Default };
                    namespace.apply_to(item, schemas).map_err(|problem| problem.of(label))?;
                } else {
                    self.write(&mut item.node, target).map_err(|problem| problem.of(label))?;
                }
            }
        }
        Ok(())
    }

    fn write(&self, mut node: &mut Node, target: &Target) -> Result<(), Problem> {
        let path = split_path(&target.path, '/');
        for (at, name) in path.iter().enumerate() {
            let is_last = at + 1 == path.len();
            let (kind, field) = (node.kind_name(), name.clone());
            let missing = || if is_last { Node::scalar("", Tag::Unset) } else { Node::map() };
            let next = node.get_or_insert(name, missing);
            node = next.ok_or(Problem::Shape { expected: "a mapping", found: kind, field })?;
        }
        let value = match target.position.checked_sub(1) {
            None => self.value.clone(),
            Some(position) => insert_part(node.written(), position, &self.value),
        };
        node.set_here(Node::scalar(value, Tag::Unset))
    }
}

/// Inserts a part into a file path; a position beyond the end means the end.
fn insert_part(path: &str, position: usize, part: &str) -> String {
    let (root, rest) = path.strip_prefix('/').map_or(("", path), |rest| ("/", rest));
    let mut parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
    parts.insert(position.min(parts.len()), part);
    format!("{root}{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::insert_part;

    #[test]
    fn a_part_goes_to_its_position() {
        for (path, position, expected) in [
            ("", 0, "P"),
            ("/", 0, "/P"),
            ("pie", 0, "P/pie"),
            ("/raw", 9, "/raw/P"),
            ("a/nice/warm/pie", 3, "a/nice/warm/P/pie"),
        ] {
            assert_eq!(insert_part(path, position, "P"), expected);
        }
    }
}
