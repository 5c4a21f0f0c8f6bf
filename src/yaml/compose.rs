//! From text to a graph: the only place that runs the YAML parser, inside a fence.
//!
//! The parser crate is exact but not robust: it panics on a block scalar that ends at the end of the text without a line
//! break, on `"x\` and on `[!,x]`, and needs quadratic time for thousands of directives. Hence a line break is added where
//! there is none, directives are counted beforehand, depth and size are checked at every event, and the rest is caught.

use std::{
    cell::Cell,
    collections::HashMap,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

use libyaml_safer::{ErrorKind, EventData, Parser, ScalarStyle};

use super::{Error, MAX_DIRECTIVES, Mark, Node, Options, Problem, resolve};

/// Holds one document before anchors and tags are resolved; children are indices.
#[derive(Default)]
pub(super) struct Graph {
    pub(super) vertices: Vec<Vertex>,
}

pub(super) struct Vertex {
    pub(super) at: Mark,
    pub(super) content: Content,
}

pub(super) enum Content {
    Scalar {
        text: String,
        tag: Option<String>,
        plain: bool,
        folded: bool,
    },
    Seq(Vec<usize>),
    /// Keys and values take turns.
    Map(Vec<usize>),
    Alias(usize),
}

/// Parses every document of a text.
pub(super) fn documents(text: &str, options: &Options) -> Result<Vec<Node>, Error> {
    let is_break = |c: char| matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let starts_line = |at: &usize| text[..*at].chars().next_back().is_none_or(is_break);
    if let Some((at, _)) = text.match_indices("%TAG").filter(|(at, _)| starts_line(at)).nth(MAX_DIRECTIVES) {
        return Err(Error::new(Mark::of(text, at), Problem::TooManyDirectives(MAX_DIRECTIVES)));
    }
    let padded = (!text.ends_with(is_break)).then(|| format!("{text}\n"));
    let mut reader = Reader {
        text,
        // A last line of blanks only is no content of a block scalar, so nothing was added to one.
        pad_is_content: padded.is_some() && text.rsplit(is_break).next().is_some_and(|line| !line.trim().is_empty()),
        options,
        budget: options.max_nodes,
        last: Mark::START,
    };
    let input = padded.as_deref().unwrap_or(text);
    fenced(|| reader.read(input)).unwrap_or_else(|| Err(Error::new(reader.last, Problem::Unreadable)))
}

thread_local! {
    static FENCED: Cell<bool> = const { Cell::new(false) };
}

/// Runs the parser and returns nothing when it panicked. The process's panic hook stays silent meanwhile: text from
/// outside must not be able to print a trace. Every other panic reaches the hook that was there.
fn fenced<T>(run: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !FENCED.get() {
                before(info);
            }
        }));
    });
    FENCED.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    FENCED.set(false);
    result.ok()
}

struct Reader<'a> {
    text: &'a str,
    pad_is_content: bool,
    options: &'a Options,
    budget: usize,
    /// Where the last event began, for a panic that says nothing.
    last: Mark,
}

/// Holds a collection whose end has not been seen.
struct Open {
    vertex: usize,
    children: Vec<usize>,
    is_map: bool,
}

impl Reader<'_> {
    fn read(&mut self, input: &str) -> Result<Vec<Node>, Error> {
        let mut bytes = input.as_bytes();
        let mut parser = Parser::new();
        parser.set_input_string(&mut bytes);
        let mut found = Vec::new();
        let mut graph = Graph::default();
        let mut anchors: HashMap<String, usize> = HashMap::new();
        let mut open: Vec<Open> = Vec::new();
        let mut is_open: Vec<bool> = Vec::new();
        loop {
            let event = parser.parse().map_err(|error| self.explain(&error))?;
            let at = mark(event.start_mark);
            self.last = at;
            let (anchor, content) = match event.data {
                EventData::DocumentStart { version_directive: Some(version), .. }
                    if (version.major, version.minor) != (1, 1) =>
                {
                    return Err(Error::new(at, Problem::Version(version.major, version.minor)));
                }
                EventData::StreamStart { .. } | EventData::DocumentStart { .. } => continue,
                EventData::StreamEnd => return Ok(found),
                EventData::DocumentEnd { .. } => {
                    found.push(resolve::document(&graph, self.options, &mut self.budget)?);
                    graph.vertices.clear();
                    anchors.clear();
                    is_open.clear();
                    continue;
                }
                EventData::SequenceEnd | EventData::MappingEnd => {
                    if let Some(done) = open.pop() {
                        is_open[done.vertex] = false;
                        graph.vertices[done.vertex].content =
                            if done.is_map { Content::Map(done.children) } else { Content::Seq(done.children) };
                    }
                    continue;
                }
                EventData::Alias { anchor } => match anchors.get(&anchor) {
                    Some(target) if is_open[*target] => return Err(Error::new(at, Problem::Recursive(anchor))),
                    Some(target) => (None, Content::Alias(*target)),
                    None => return Err(Error::new(at, Problem::UnknownAnchor(anchor))),
                },
                EventData::Scalar { anchor, tag, mut value, style, .. } => {
                    let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                    let reaches_pad = event.end_mark.index > self.text.len() as u64;
                    if is_block && reaches_pad && self.pad_is_content && value.ends_with('\n') {
                        value.pop();
                    }
                    let (plain, folded) = (style == ScalarStyle::Plain, style == ScalarStyle::Folded);
                    (anchor, Content::Scalar { text: value, tag, plain, folded })
                }
                EventData::SequenceStart { anchor, .. } => (anchor, Content::Seq(Vec::new())),
                EventData::MappingStart { anchor, .. } => (anchor, Content::Map(Vec::new())),
            };
            let index = graph.vertices.len();
            if index >= self.budget {
                return Err(Error::new(at, Problem::TooMany(self.options.max_nodes)));
            }
            if let Some(anchor) = anchor {
                anchors.insert(anchor, index);
            }
            if let Some(parent) = open.last_mut() {
                parent.children.push(index);
            }
            let is_map = matches!(content, Content::Map(_));
            let opens = is_map || matches!(content, Content::Seq(_));
            if opens {
                if open.len() >= self.options.depth() {
                    return Err(Error::new(at, Problem::TooDeep(self.options.depth())));
                }
                open.push(Open { vertex: index, children: Vec::new(), is_map });
            }
            is_open.push(opens);
            graph.vertices.push(Vertex { at, content });
        }
    }

    fn explain(&self, error: &libyaml_safer::Error) -> Error {
        if error.kind() == ErrorKind::Reader {
            let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..);
            if let Some((at, found)) = self.text.char_indices().find(|(_, c)| !allowed(*c)) {
                return Error::new(Mark::of(self.text, at), Problem::ControlCharacter(u32::from(found)));
            }
        }
        let at = error.problem_mark().or(error.context_mark()).map_or(self.last, mark);
        let mut message = error.problem().to_owned();
        if let (Some(context), Some(began)) = (error.context(), error.context_mark()) {
            message = format!("{message} {context} that began in line {}", began.line + 1);
        }
        Error::new(at, Problem::Syntax(message))
    }
}

fn mark(mark: libyaml_safer::Mark) -> Mark {
    let count = |zero_based: u64| u32::try_from(zero_based).unwrap_or(u32::MAX - 1) + 1;
    Mark { line: count(mark.line), column: count(mark.column) }
}
