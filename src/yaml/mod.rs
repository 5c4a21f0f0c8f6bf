//! YAML and JSON documents with the place of every value: the words in which specs, manifests and values are written.
//!
//! ```text
//!  text ─ ordinary block style, line by line (quick/) ─────────────────────────────────────────→ Node tree
//!       ├ anything else: libyaml events (compose.rs) ─→ graph ─ Go's rules (resolve.rs, scalar.rs) ──↗
//!       └ RFC 8259, when it starts with { or [ (json.rs) ────────────────────────────────────────────↗
//! ```
//!
//! Values are resolved as Helm and kubectl do (go-yaml v2 below sigs.k8s.io/yaml): `yes` and `on` are booleans, `0644` is
//! octal, `1_000` a number, `<<` merges in the order of the document. What a person wrote stays available as
//! [`Node::text`], because a spec wants `1.10`, not 1.1.
//!
//! # Invariants
//! - No input makes this module panic, recurse without bound or grow without bound: [`Options`] limits bytes, depth,
//!   nodes and alias expansion before they are spent. The parser crate is known to panic on some inputs; it runs fenced.
//! - Marks count from 1, columns in characters.
//! - In the tree there are no aliases, no tags and no merge keys; every key is a scalar and not null.
//! - Nothing outside this module names the YAML crates.
//!
//! # Failure
//! The first thing that is not YAML ends parsing: [`Error`] says where and what. Text that starts like JSON is tried as
//! JSON first and as YAML second; when both fail, the reading that got further explains itself.

mod compose;
mod json;
mod node;
mod quick;
mod resolve;
mod scalar;
mod source;

use serde::{Serialize, de::DeserializeOwned};

use crate::error::{Classify, Kind};

pub use node::{Mark, Node, Value};
pub use quick::Keep;
pub use source::{Scalar, Source, Style};

/// The largest text that is read: a hundred times the largest manifest in the wild (5 MB of CRDs).
const MAX_BYTES: usize = 64 << 20;

/// How deep collections nest in files that people write; the deepest CRD schema seen has about 40 levels.
const MAX_DEPTH: usize = 128;

/// No option allows deeper nesting: the tree is walked recursively and must fit a thread's stack.
const DEPTH_CEILING: usize = 1000;

/// How many nodes one text may hold, which bounds memory to a few hundred megabytes.
const MAX_NODES: usize = 4_000_000;

/// How many nodes aliases may add: far above real use, far below a "billion laughs".
const MAX_ALIAS_NODES: usize = 1_000_000;

/// How many `%TAG` directives are read; the parser's cost is quadratic in them.
const MAX_DIRECTIVES: usize = 64;

/// Says what two equal keys in one mapping mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Duplicates {
    /// The last one counts, as in Helm and kubectl.
    #[default]
    LastWins,
    /// They are an error.
    Refuse,
    /// Both stay in the tree, so that the reader can report all of them at once.
    Keep,
}

/// Limits and choices for [`documents`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// What two equal keys mean.
    pub duplicates: Duplicates,
    /// Whether a mapping's own key wins over one that `<<` merges below it, as in go-yaml v3.
    pub own_keys_win: bool,
    /// The largest text, in bytes.
    pub max_bytes: usize,
    /// How deep collections may nest; values above 1,000 count as 1,000.
    pub max_depth: usize,
    /// How many nodes may come out.
    pub max_nodes: usize,
    /// How many of them may come from aliases.
    pub max_alias_nodes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            duplicates: Duplicates::LastWins,
            own_keys_win: false,
            max_bytes: MAX_BYTES,
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_alias_nodes: MAX_ALIAS_NODES,
        }
    }
}

impl Options {
    /// Returns the options for input that programs write: the last of equal keys counts, nesting up to 1,000 levels.
    pub fn lenient() -> Self {
        Options { max_depth: DEPTH_CEILING, ..Options::default() }
    }

    fn depth(&self) -> usize {
        self.max_depth.min(DEPTH_CEILING)
    }
}

/// Says where a text stops being usable YAML, and why.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("line {}, column {}: {problem}", at.line, at.column)]
pub struct Error {
    /// The place.
    pub at: Mark,
    /// What is wrong there.
    pub problem: Problem,
}

/// Says what is wrong with a text.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Problem {
    /// The text breaks YAML's grammar.
    #[error("not valid YAML: {0}")]
    Syntax(String),
    /// The text breaks JSON's grammar.
    #[error("not valid JSON: {0}")]
    Json(&'static str),
    /// A character that YAML does not allow.
    #[error("control character U+{0:04X} is not allowed in YAML")]
    ControlCharacter(u32),
    /// The text is larger than allowed.
    #[error("a text of {bytes} bytes is too large: at most {limit} are read")]
    TooLarge {
        /// The size of the text.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Collections nest deeper than allowed.
    #[error("nested deeper than {0} levels")]
    TooDeep(usize),
    /// There are more values than allowed.
    #[error("more than {0} values")]
    TooMany(usize),
    /// Aliases expand to more than allowed.
    #[error("aliases expand to more than {0} values")]
    TooManyAliases(usize),
    /// The text asks for rules that Go's reader does not have.
    #[error("YAML {0}.{1} is not read by Kubernetes' tools: remove the %YAML directive or write 1.1")]
    Version(i32, i32),
    /// There are more directives than allowed.
    #[error("more than {0} %TAG directives")]
    TooManyDirectives(usize),
    /// An alias names no anchor.
    #[error("alias *{0} names no anchor above it")]
    UnknownAnchor(String),
    /// An anchor's value contains its own alias.
    #[error("the value of anchor &{0} contains itself")]
    Recursive(String),
    /// A value does not fit its tag.
    #[error("{text:?} is no {tag}")]
    Tag {
        /// The value as written.
        text: String,
        /// The tag in its short form, such as `!!int`.
        tag: String,
    },
    /// `<<` merges something else than mappings.
    #[error("<< merges mappings only: a mapping, an alias of one, or a list of those")]
    Merge,
    /// A key is null, a list, a mapping or an integer that no reader agrees on.
    #[error("{0} cannot be a key (a left-over {{{{ template }}}} looks like this)")]
    Key(&'static str),
    /// A mapping has two equal keys.
    #[error("key {key:?} is there twice; the first is in line {first}")]
    Duplicate {
        /// The key.
        key: String,
        /// The line of the first one.
        first: u32,
    },
    /// A number has no finite value.
    #[error("{0} has no place in JSON, which Kubernetes reads")]
    NotFinite(String),
    /// There is no single document where one is expected.
    #[error("{0} documents where one is expected")]
    Documents(usize),
    /// The document does not have the expected shape.
    #[error("{0}")]
    Shape(String),
    /// The parser gave up on this input in a way that it should not.
    #[error("not valid YAML: the parser cannot read what begins here")]
    Unreadable,
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        Kind::Usage
    }
}

impl Error {
    fn new(at: Mark, problem: Problem) -> Self {
        Error { at, problem }
    }
}

/// Parses every document of a text; an empty document is a null node.
///
/// # Errors
/// The first mistake, with its place.
pub fn documents(text: &str, options: &Options) -> Result<Vec<Node>, Error> {
    parts(text, options, Keep::All)
}

/// Parses every document of a text of which the caller needs a part: what `keep` names is there, and perhaps more.
///
/// The rest is held against the same rules: what [`documents`] refuses is refused here.
///
/// # Errors
/// The first mistake, with its place.
pub fn parts(text: &str, options: &Options, keep: Keep) -> Result<Vec<Node>, Error> {
    if text.len() > options.max_bytes {
        let problem = Problem::TooLarge { bytes: text.len(), limit: options.max_bytes };
        return Err(Error::new(Mark::START, problem));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if !text.trim_start().starts_with(['{', '[']) {
        return match quick::documents(text, options, keep) {
            Some(documents) => Ok(documents),
            None => compose::documents(text, options),
        };
    }
    // kubectl tries JSON first for such texts too: YAML 1.1 refuses surrogate pairs, long keys and line breaks that JSON has.
    let as_json = match json::documents(text, options) {
        Ok(documents) => return Ok(documents),
        Err(error) => error,
    };
    compose::documents(text, options).map_err(|as_yaml| if as_json.at > as_yaml.at { as_json } else { as_yaml })
}

/// Writes a value as YAML, fields in their own order; strings that any YAML reader could take for something else are quoted.
///
/// # Errors
/// The value cannot be written, such as a mapping with a key that is no scalar.
pub fn to_text<T: Serialize>(value: &T) -> Result<String, Error> {
    let options = serde_yaml::ser_options! { prefer_block_scalars: false, compact_list_indent: true };
    serde_yaml::to_string_with_options(value, options)
        .map_err(|error| Error::new(Mark::START, Problem::Shape(error.to_string())))
}

/// Reads the single document of a text into a type.
///
/// # Errors
/// The text is no YAML, or does not have the type's shape.
pub fn from_text<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    // Our own reader first: its limits and its places hold for every text, and the typed reader then sees sane input only.
    let documents = documents(text, &Options { duplicates: Duplicates::Refuse, ..Options::default() })?;
    if documents.len() != 1 {
        return Err(Error::new(Mark::START, Problem::Documents(documents.len())));
    }
    let options =
        serde_yaml::options! { strict_booleans: true, emit_comments: false, with_snippet: false, budget: None };
    serde_yaml::from_str_with_options(text, options).map_err(|error| {
        let at = error.location().map_or(Mark::START, |at| Mark {
            line: u32::try_from(at.line()).unwrap_or(u32::MAX).max(1),
            column: u32::try_from(at.column()).unwrap_or(u32::MAX).max(1),
        });
        Error::new(at, Problem::Shape(error.to_string()))
    })
}

#[cfg(test)]
mod tests;
