//! From graph to tree: aliases expand, tags apply, `<<` merges, equal keys meet.

use std::slice;

use indexmap::IndexMap;

use super::{
    Duplicates, Error, Mark, Node, Options, Problem, Value,
    compose::{Content, Graph},
    scalar,
};

/// Resolves one document; an empty one is null. The walk keeps its own stack, so that depth costs no thread's stack.
pub(super) fn document(graph: &Graph, options: &Options, budget: &mut usize) -> Result<Node, Error> {
    if graph.vertices.is_empty() {
        return Ok(Node::new(Value::Null, Mark::START));
    }
    let mut resolver = Resolver { graph, options, budget, alias_budget: options.max_alias_nodes };
    let mut stack: Vec<Frame<'_>> = Vec::new();
    let mut step = Step::Visit(0, false);
    loop {
        step = match step {
            Step::Visit(index, aliased) => {
                let vertex = &graph.vertices[index];
                if let Content::Alias(target) = vertex.content {
                    step = Step::Visit(target, true);
                    continue;
                }
                resolver.spend(vertex.at, stack.len(), aliased)?;
                let content = match &vertex.content {
                    Content::Seq(items) => Partial::Seq(items.iter(), Vec::with_capacity(items.len())),
                    Content::Map(children) => Partial::Map {
                        rest: children.iter(),
                        entries: Entries::new(options.duplicates, children.len() / 2).keeping_own(options.own_keys_win),
                        key: None,
                        merges: Vec::new(),
                        merging: false,
                    },
                    Content::Scalar { .. } | Content::Alias(_) => {
                        step = Step::Take(resolver.scalar(index)?);
                        continue;
                    }
                };
                stack.push(Frame { at: vertex.at, aliased, content });
                Step::Advance
            }
            Step::Take(node) => match stack.last_mut() {
                None => return Ok(node),
                Some(frame) => {
                    frame.take(node)?;
                    Step::Advance
                }
            },
            Step::Advance => match stack.pop() {
                None => return Err(Error::new(Mark::START, Problem::Unreadable)),
                Some(mut frame) => match frame.next(&resolver)? {
                    Some(child) => {
                        let aliased = frame.aliased;
                        stack.push(frame);
                        Step::Visit(child, aliased)
                    }
                    None => Step::Take(frame.finish()),
                },
            },
        };
    }
}

enum Step {
    /// Resolve the vertex; it is reached through an alias or not.
    Visit(usize, bool),
    /// Hand a finished value to the collection that waits for it.
    Take(Node),
    /// Go on with the innermost collection.
    Advance,
}

/// Holds a collection that is being resolved.
struct Frame<'a> {
    at: Mark,
    aliased: bool,
    content: Partial<'a>,
}

enum Partial<'a> {
    Seq(slice::Iter<'a, usize>, Vec<Node>),
    Map {
        rest: slice::Iter<'a, usize>,
        entries: Entries,
        /// A key that waits for its value.
        key: Option<Node>,
        /// What is left to merge, the strongest first.
        merges: Vec<usize>,
        /// Whether the next value is merged.
        merging: bool,
    },
}

impl Frame<'_> {
    fn next(&mut self, resolver: &Resolver<'_>) -> Result<Option<usize>, Error> {
        match &mut self.content {
            Partial::Seq(rest, _) => Ok(rest.next().copied()),
            Partial::Map { rest, merges, merging, key, .. } => loop {
                if let Some(source) = merges.pop() {
                    *merging = true;
                    return Ok(Some(source));
                }
                *merging = false;
                let Some(child) = rest.next() else { return Ok(None) };
                if key.is_some() || !resolver.is_merge(*child) {
                    return Ok(Some(*child));
                }
                if let Some(source) = rest.next() {
                    *merges = resolver.merge_sources(*source)?;
                }
            },
        }
    }

    fn take(&mut self, node: Node) -> Result<(), Error> {
        match &mut self.content {
            Partial::Seq(_, found) => found.push(node),
            Partial::Map { entries, merging: true, .. } => entries.merge(node)?,
            Partial::Map { entries, key, .. } => match key.take() {
                Some(key) => entries.insert(key, node)?,
                None => *key = Some(node),
            },
        }
        Ok(())
    }

    fn finish(self) -> Node {
        let value = match self.content {
            Partial::Seq(_, found) => Value::Seq(found),
            Partial::Map { entries, .. } => Value::Map(entries.finish()),
        };
        Node::new(value, self.at)
    }
}

struct Resolver<'a> {
    graph: &'a Graph,
    options: &'a Options,
    budget: &'a mut usize,
    alias_budget: usize,
}

impl Resolver<'_> {
    fn spend(&mut self, at: Mark, depth: usize, aliased: bool) -> Result<(), Error> {
        if depth > self.options.depth() {
            return Err(Error::new(at, Problem::TooDeep(self.options.depth())));
        }
        match self.budget.checked_sub(1) {
            Some(left) => *self.budget = left,
            None => return Err(Error::new(at, Problem::TooMany(self.options.max_nodes))),
        }
        if aliased {
            match self.alias_budget.checked_sub(1) {
                Some(left) => self.alias_budget = left,
                None => return Err(Error::new(at, Problem::TooManyAliases(self.options.max_alias_nodes))),
            }
        }
        Ok(())
    }

    fn scalar(&self, index: usize) -> Result<Node, Error> {
        let vertex = &self.graph.vertices[index];
        let value = match &vertex.content {
            Content::Scalar { text, tag: None, plain: true, .. } => Ok((scalar::plain(text), text)),
            Content::Scalar { text, tag, .. } => scalar::tagged(text, tag.as_deref()).map(|value| (value, text)),
            Content::Seq(_) | Content::Map(_) | Content::Alias(_) => Err(Problem::Unreadable),
        };
        let plain = matches!(vertex.content, Content::Scalar { tag: None, plain: true, .. });
        let folded = matches!(vertex.content, Content::Scalar { folded: true, .. });
        match value {
            Ok((value, text)) => Ok(Node::written(value, vertex.at, text).styled(plain, folded)),
            Err(problem) => Err(Error::new(vertex.at, problem)),
        }
    }

    /// Tells whether a key is the merge key: plain `<<`, or any spelling tagged as one.
    fn is_merge(&self, index: usize) -> bool {
        match &self.graph.vertices[index].content {
            Content::Scalar { text, tag: None, plain, .. } => *plain && text == "<<",
            Content::Scalar { text, tag: Some(tag), .. } => text == "<<" && tag == "tag:yaml.org,2002:merge",
            _ => false,
        }
    }

    /// Returns what `<<` merges, the strongest first: an earlier item of a list wins, so it is laid down last.
    fn merge_sources(&self, index: usize) -> Result<Vec<usize>, Error> {
        let vertex = &self.graph.vertices[index];
        let is_map = |index: usize| match &self.graph.vertices[index].content {
            Content::Map(_) => true,
            Content::Alias(target) => matches!(self.graph.vertices[*target].content, Content::Map(_)),
            _ => false,
        };
        let sources = match &vertex.content {
            Content::Seq(items) => items.clone(),
            _ => vec![index],
        };
        match sources.iter().find(|source| !is_map(**source)) {
            Some(wrong) => Err(Error::new(self.graph.vertices[*wrong].at, Problem::Merge)),
            None => Ok(sources),
        }
    }
}

struct Entry {
    key: Node,
    value: Node,
    /// Whether the mapping itself has the key, or a merge brought it.
    own: bool,
}

/// Collects the entries of one mapping.
pub(super) struct Entries {
    entries: IndexMap<String, Entry>,
    repeated: Vec<(Node, Node)>,
    duplicates: Duplicates,
    own_keys_win: bool,
}

impl Entries {
    pub(super) fn new(duplicates: Duplicates, capacity: usize) -> Self {
        Entries { entries: IndexMap::with_capacity(capacity), repeated: Vec::new(), duplicates, own_keys_win: false }
    }

    /// Says whether an entry of the mapping's own stays when a later `<<` brings the same key.
    fn keeping_own(mut self, own_keys_win: bool) -> Self {
        self.own_keys_win = own_keys_win;
        self
    }

    /// Adds an entry of the mapping's own.
    pub(super) fn insert(&mut self, key: Node, value: Node) -> Result<(), Error> {
        let name = name(&key)?;
        match (self.entries.get(&name), self.duplicates) {
            (Some(first), Duplicates::Refuse) if first.own => {
                return Err(Error::new(key.at, Problem::Duplicate { key: name, first: first.key.at.line }));
            }
            (Some(first), Duplicates::Keep) if first.own => self.repeated.push((key, value)),
            _ => {
                self.entries.insert(name, Entry { key, value, own: true });
            }
        }
        Ok(())
    }

    /// Adds the entries of a merged mapping. They override what stands above: go-yaml v2 works in the order of the text.
    fn merge(&mut self, source: Node) -> Result<(), Error> {
        if let Value::Map(merged) = source.value {
            for (key, value) in merged {
                let key_name = name(&key)?;
                if self.own_keys_win && self.entries.get(&key_name).is_some_and(|entry| entry.own) {
                    continue;
                }
                self.entries.insert(key_name, Entry { key, value, own: false });
            }
        }
        Ok(())
    }

    /// Returns the entries in order, repeated ones at the end.
    pub(super) fn finish(mut self) -> Vec<(Node, Node)> {
        let mut entries: Vec<(Node, Node)> = self.entries.into_values().map(|entry| (entry.key, entry.value)).collect();
        entries.append(&mut self.repeated);
        entries
    }
}

fn name(key: &Node) -> Result<String, Error> {
    match key.key() {
        Some(name) => Ok(name.into_owned()),
        None => Err(Error::new(key.at, Problem::Key(key.kind_name()))),
    }
}
