//! One object under examination: where the reader stands in it, what is settled, what came out.

use std::{collections::HashSet, fmt};

use crate::{
    error::{Diagnostic, Location},
    kube::Object,
    yaml::Node,
};

use super::{Confidence, Context, Finding, Findings, Level, Occurrence, Piece, Role, Step, place::span};

/// One station on the way into an object.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Key(String),
    Index(usize),
}

/// The way from the root of an object to a value. Its display is unambiguous: keys that hold more than letters, digits,
/// `-` and `_` stand in brackets, as in `data["pod.yaml"]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Path(Vec<Segment>);

impl Path {
    pub(super) fn push(&mut self, key: &str) {
        self.0.push(Segment::Key(key.to_owned()));
    }

    pub(super) fn push_index(&mut self, index: usize) {
        self.0.push(Segment::Index(index));
    }

    pub(super) fn pop(&mut self) {
        self.0.pop();
    }

    /// Returns the path of a key below.
    pub(super) fn key(&self, key: &str) -> Path {
        let mut path = self.clone();
        path.push(key);
        path
    }

    /// Returns the path of an item below.
    pub(super) fn index(&self, index: usize) -> Path {
        let mut path = self.clone();
        path.push_index(index);
        path
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the last keys, nearest first, without indexes.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().rev().filter_map(|segment| match segment {
            Segment::Key(key) => Some(key.as_str()),
            Segment::Index(_) => None,
        })
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key)
                    if !key.is_empty()
                        && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'/' | b'$')) =>
                {
                    if i > 0 {
                        f.write_str(".")?;
                    }
                    f.write_str(key)?;
                }
                Segment::Key(key) => write!(f, "[{key:?}]")?,
            }
        }
        Ok(())
    }
}

/// How many bytes of texts inside one object are read; the largest ConfigMap that a cluster takes has 1 MiB (etcd's limit),
/// and texts inside texts count again.
const PAYLOAD_BYTES: usize = 8 << 20;

/// How deep an object is followed: three times the deepest schema seen, and little enough for a thread's stack.
pub(super) const MAX_LEVELS: usize = 200;

/// Returns the step that names an object in provenance.
pub fn object_step(object: &Object) -> Step {
    let group = object.group();
    Step::Object {
        object: if group.is_empty() { object.kind.clone() } else { format!("{}.{group}", object.kind) },
        namespace: object.namespace.clone(),
        name: object.name.clone(),
    }
}

/// An object, what is known around it, and what was found in it so far.
pub(super) struct Site<'a> {
    pub(super) object: &'a Object,
    pub(super) context: &'a Context,
    pub(super) found: Findings,
    /// How many texts this object is inside of.
    pub(super) depth: usize,
    /// How many bytes of texts may still be read.
    pub(super) budget: usize,
    /// Fields whose meaning is settled: no weaker rule looks at them again.
    settled: HashSet<String>,
    seen: HashSet<(String, String)>,
    /// Where in memory the text lies that base64 of the value under examination stands for.
    decoded: Option<(usize, usize)>,
}

impl<'a> Site<'a> {
    pub(super) fn new(object: &'a Object, context: &'a Context) -> Self {
        Site {
            object,
            context,
            found: Findings::default(),
            depth: 0,
            budget: PAYLOAD_BYTES,
            settled: HashSet::new(),
            seen: HashSet::new(),
            decoded: None,
        }
    }

    pub(super) fn settle(&mut self, field: String) {
        self.settled.insert(field);
    }

    pub(super) fn is_settled(&self, field: &str) -> bool {
        self.settled.contains(field)
    }

    /// Says that the value under examination is base64 and `text` is what it stands for; nothing ends that.
    pub(super) fn set_decoded(&mut self, text: Option<&str>) {
        self.decoded = text.map(|text| (text.as_ptr() as usize, text.len()));
    }

    /// Returns where `part` lies in the value of a scalar, when it is a slice of it or of what it stands for.
    pub(super) fn level(&self, node: &Node, part: &str) -> Option<Level> {
        if let Some((start, end)) = node.text().and_then(|text| span(text, part)) {
            return Some(Level { at: node.at, start, end, base64: false });
        }
        let (from, length) = self.decoded?;
        let start = (part.as_ptr() as usize).checked_sub(from)?;
        let end = start.checked_add(part.len()).filter(|end| *end <= length && !part.is_empty())?;
        Some(Level { at: node.at, start, end, base64: true })
    }

    /// Returns the piece that `part` of a scalar is; none when it is no slice of it.
    pub(super) fn piece(&self, role: Role, node: &Node, part: &str) -> Option<Piece> {
        self.level(node, part).map(|level| Piece { role, levels: vec![level] })
    }

    /// Returns the pieces of a reference whose keys stand in a mapping.
    pub(super) fn pieces(&self, map: &Node, parts: &[(Role, &'static str)]) -> Vec<Piece> {
        let piece = |(role, key): &(Role, &'static str)| {
            let node = map.get(key)?;
            self.piece(*role, node, node.text()?.trim())
        };
        parts.iter().filter_map(piece).collect()
    }

    /// Adds a finding of a class; the same text in the same field counts once.
    pub(super) fn add(&mut self, written: &str, confidence: Confidence, rule: &str, node: &Node, path: &Path) {
        let pieces = self.piece(Role::Reference, node, written).into_iter().collect();
        self.add_written(written, (confidence, rule), node, path, pieces);
    }

    /// Adds a finding whose pieces the caller knows.
    pub(super) fn add_written(
        &mut self,
        written: &str,
        (confidence, rule): (Confidence, &str),
        node: &Node,
        path: &Path,
        pieces: Vec<Piece>,
    ) {
        let field = path.to_string();
        let first = self.seen.insert((field.clone(), written.to_owned()));
        let Location { file, line, .. } = self.object.location(node);
        let finding = Finding {
            written: written.to_owned(),
            confidence,
            provenance: vec![
                Step::File { file, line: Some(line) },
                object_step(self.object),
                Step::Field { field },
                Step::Rule { rule: rule.to_owned() },
            ],
        };
        if first {
            self.found.findings.push(finding.clone());
        }
        self.found.occurrences.push(Occurrence { finding, pieces });
    }

    /// Makes a finding with the steps behind the object.
    pub(super) fn lifted(&self, written: &str, confidence: Confidence, steps: Vec<Step>, node: &Node) -> Finding {
        let Location { file, line, .. } = self.object.location(node);
        let mut provenance = vec![Step::File { file, line: Some(line) }, object_step(self.object)];
        provenance.extend(steps);
        Finding { written: written.to_owned(), confidence, provenance }
    }

    /// Adds a finding that looks like an image and may be none.
    pub(super) fn guess(&mut self, written: &str, rule: &str, node: &Node, path: &Path) {
        self.add(written, Confidence::Guess, rule, node, path);
    }

    /// Adds a guess of which `name` is all that is written here: the tag stands elsewhere.
    pub(super) fn guess_name(&mut self, written: &str, name: &str, rule: &str, node: &Node, path: &Path) {
        let pieces = self.piece(Role::Name, node, name).into_iter().collect();
        self.add_written(written, (Confidence::Guess, rule), node, path, pieces);
    }

    pub(super) fn report(&mut self, diagnostic: Diagnostic, node: &Node) {
        self.found.diagnostics.push(diagnostic.at(self.object.location(node)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_written_without_doubt() {
        let path = Path::default().key("data").key("pod.yaml").key("spec").key("containers").index(3).key("x-y_z");
        assert_eq!(path.to_string(), r#"data["pod.yaml"].spec.containers[3].x-y_z"#);
        assert_eq!(path.keys().take(2).collect::<Vec<_>>(), ["x-y_z", "containers"]);
        assert_eq!(Path::default().key("a/b").to_string(), "a/b");
    }
}
