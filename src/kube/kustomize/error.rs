//! What can be wrong with a kustomization: typed, with a place, and with what to do about it.

use crate::{
    error::{Classify, Kind, Location},
    tree::PathError,
    yaml::{self, Mark},
};

/// Says what is wrong, and where.
#[derive(Debug, thiserror::Error)]
#[error("{at}: {problem}")]
pub struct Error {
    /// The place.
    pub at: Box<Location>,
    /// What is wrong there.
    #[source]
    pub problem: Box<Problem>,
}

impl Error {
    /// Moves the place down, for text that is a part of a file.
    pub(super) fn shifted(mut self, lines: u32) -> Error {
        self.at.line = self.at.line.saturating_add(lines);
        self
    }
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        match self.problem.innermost() {
            Problem::NoFile { .. }
            | Problem::NoFileOrFolder { .. }
            | Problem::NoKustomization { .. }
            | Problem::Undeclared { .. } => Kind::NotFound,
            _ => Kind::Usage,
        }
    }
}

/// Says what is wrong with a kustomization, or with something that it names.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the variants and their fields mean")]
pub enum Problem {
    #[error("{}", .0.problem)]
    Syntax(#[source] yaml::Error),
    #[error("a line that begins with --- holds more than the separator: put the content on a line of its own")]
    Separator,
    #[error("the file is not text in UTF-8")]
    NotText,
    #[error("unknown field `{name}`{}", .near.as_ref().map(|near| format!(": did you mean `{near}`?")).unwrap_or_default())]
    UnknownField { name: String, near: Option<String> },
    #[error("{expected} is expected here, not {found}{}", if *.quote { ": put it in quotes" } else { "" })]
    WrongType { expected: &'static str, found: &'static str, quote: bool },
    #[error("kind {found} is no kustomization: write Kustomization or Component")]
    WrongKind { found: String },
    #[error("apiVersion {found} is not known: write {expected}")]
    WrongVersion { found: String, expected: &'static str },
    #[error("the kustomization says nothing: add resources, or remove the file")]
    EmptyKustomization,
    #[error("{path} is a component: list it under `components`, not under `resources`")]
    ComponentAsResource { path: String },
    #[error("{path} is no component: list it under `resources`, or set its kind to Component")]
    NoComponent { path: String },
    #[error("folder {folder} has no kustomization.yaml")]
    NoKustomization { folder: String },
    #[error("folder {folder} has more than one kustomization file: keep one")]
    ManyKustomizations { folder: String },
    #[error("{path} would be built from within itself: a kustomization cannot name a folder that holds it")]
    Cycle { path: String },
    #[error("kustomizations nest deeper than {limit}")]
    TooDeep { limit: usize },
    #[error("more than {limit} resources")]
    TooMany { limit: usize },
    #[error("this grows beyond {limit} {what}")]
    Grown { limit: usize, what: &'static str },
    #[error("resources of more than {limit} bytes")]
    TooLarge { limit: usize },

    #[error("{path} is neither a file nor a folder with files here")]
    NoFileOrFolder { path: String },
    #[error("there is no file {path}")]
    NoFile { path: String },
    #[error("{path} is absolute: write it relative to the kustomization")]
    AbsolutePath { path: String },
    #[error("{path} leaves the files that were given: start higher up, so that it is among them")]
    LeavesTree { path: String },
    #[error(
        "{path} is outside {folder}: files must be in the folder of their kustomization or below it; move the file, or make its folder a kustomization and list that"
    )]
    OutsideFolder { path: String, folder: String },
    #[error("{path} cannot be read: {source}")]
    Path { path: String, source: PathError },
    #[error("{what} is remote and not declared: declare it in the bundle spec, or copy it beside the kustomization")]
    Undeclared { what: String },

    #[error("{found} is no Kubernetes object: a mapping with apiVersion, kind and metadata.name is expected")]
    NoResource { found: &'static str },
    #[error("this object has no kind")]
    NoKind,
    #[error("this {kind} has no metadata.name")]
    NoName { kind: String },
    #[error(
        "{resource} is there twice; the first is at {first}: remove one, or give them different names or namespaces"
    )]
    Twice { resource: String, first: String },
    #[error("{expected} is expected{}, not {found}", if .field.is_empty() { String::new() } else { format!(" for `{field}`") })]
    Shape { expected: &'static str, found: &'static str, field: String },
    #[error("key {key:?} is no text, which JSON and Kubernetes demand: put it in quotes")]
    Key { key: String, at: Mark },
    #[error("{text:?} is no {tag}, which the field held before")]
    Misfit { text: String, tag: &'static str, at: Mark },
    #[error("{resource}: {problem}")]
    Of { resource: String, problem: Box<Problem> },
    #[error("field {path}: {problem}")]
    InField { path: String, problem: Box<Problem> },
    #[error("a field path is empty")]
    EmptyPath,
    #[error("field specifications for {path} disagree on `create`: make them equal")]
    ConflictingSpecs { path: String },

    #[error("a patch needs `path` or `patch`")]
    NoPatch,
    #[error("a patch has both inline text and a path: keep one")]
    TwoPatches,
    #[error("a JSON patch needs a `target`")]
    TargetMissing,
    #[error("the target of a JSON patch needs a name here: use `patches` to select by other things")]
    TargetName,
    #[error(
        "this is no JSON patch: a list of operations is expected, and text that begins with [ must be JSON, not YAML"
    )]
    NoJsonPatch,
    #[error("{count} patches in one entry cannot share a target: write an entry for each")]
    ManyPatches { count: usize },
    #[error("no resource is {wanted}: check kind, name and namespace, or give the patch a `target`")]
    NoTarget { wanted: String },
    #[error("{count} resources are {wanted}: say which by namespace, or give the patch a `target`")]
    ManyTargets { wanted: String, count: usize },
    #[error("{expected} cannot be patched with {found}")]
    PatchShape { expected: &'static str, found: &'static str, at: Mark },
    #[error("$patch is {found:?}: merge, replace and delete are known")]
    Directive { found: String },
    #[error("an operation has no `{missing}`")]
    Operation { missing: &'static str },
    #[error("operation {found:?} is not known: add, remove, replace, move, copy and test are")]
    OperationName { found: String },
    #[error("operation at {path} (line {line} of the patch's file): {problem}")]
    InOperation { path: String, line: u32, problem: Box<Problem> },
    #[error("{found:?} is no JSON pointer: it begins with /")]
    Pointer { found: String },
    #[error("{part:?} is not there")]
    PathMissing { part: String },
    #[error("{part} is no index into {length} elements")]
    Index { part: String, length: usize },
    #[error("the test failed: the value is another one")]
    TestFailed,
    #[error("{text:?} is no regular expression: {reason}")]
    Expression { text: String, reason: String },
    #[error("{text:?} is no label selector")]
    LabelSelector { text: String },

    #[error("a {kind} generator needs a name")]
    GeneratorName { kind: &'static str },
    #[error("key {key} comes twice in {generator}: remove one source of it")]
    KeyTwice { key: String, generator: String },
    #[error("literal {text:?}: key=value is expected")]
    Literal { text: String },
    #[error("file source {text:?}: path or key=path is expected")]
    FileSource { text: String },
    #[error("there is no {resource} to merge into or to replace: remove `behavior`, or add the resource before")]
    NothingToMerge { resource: String },
    #[error("{resource} is there already: set `behavior` to merge or replace")]
    AlreadyThere { resource: String },
    #[error("only ConfigMaps and Secrets can have a hash in their name")]
    NoHash,

    #[error("no workload is named {name}: check `replicas`")]
    NoReplicas { name: String },
    #[error("name {name} can mean several resources: {candidates}")]
    Ambiguous { name: String, candidates: String },
    #[error("the field is configured to hold a reference but has no `name`: check the nameReference configuration")]
    NoNameField,

    #[error("a replacement needs a source and targets")]
    ReplacementParts,
    #[error("a replacement has both `source` and `sourceValue`: keep one")]
    TwoSources,
    #[error("a replacement has both `path` and a source or targets: keep one")]
    ReplacementPath,
    #[error("nothing is {wanted}: check the source")]
    NoSource { wanted: String },
    #[error("{count} resources are {wanted}: say more precisely which")]
    ManySources { wanted: String, count: usize },
    #[error("{resource} has no value at {path}")]
    NoSourceField { path: String, resource: String },
    #[error("{path} is no single value, so it has no delimiter")]
    DelimiterOfMany { path: String },
    #[error("a target of a replacement has no `select`")]
    NoSelect,
    #[error("there is no field {path}: correct the path, or set `options.create`")]
    NoTargetField { path: String },
    #[error("{part:?} cannot be a part of a path here")]
    PathPart { part: String },

    #[error("variable {name} is declared twice")]
    VarTwice { name: String },
    #[error("variable {name} belongs to no resource: check its `objref`")]
    VarWithoutObject { name: String },
    #[error("variable {name}: {of} has no field {path}")]
    VarWithoutField { name: String, path: String, of: String },

    #[error("the OpenAPI description is no mapping")]
    OpenApi,
    #[error("`openapi` has both a path and a version: keep one")]
    TwoSchemas,
    #[error("OpenAPI version {found} is not built in: v1.21.2 is")]
    SchemaVersion { found: String },
    #[error("definition {name} refers to itself without end")]
    CircularDefinitions { name: String },

    #[error(
        "plugin {kind} would have to be executed, which is never done: only kustomize's built-in plugins (apiVersion: builtin) work"
    )]
    ForeignPlugin { kind: String },
    #[error("{kind} is no built-in {what}")]
    UnknownPlugin { kind: String, what: &'static str },
    #[error("cloud {found:?} is not known: gke is")]
    Cloud { found: String },
    #[error("a prefix or suffix transformer needs `fieldSpecs`")]
    SpecsMissing,
    #[error("setRoleBindingSubjects is {found:?}: defaultOnly, allServiceAccounts and none are known")]
    Subjects { found: String },
    #[error("a validator changed resources, which is a transformer's part: list it under `transformers`")]
    ValidatorChanges,
    #[error("build metadata {found:?} is not known: originAnnotations, transformerAnnotations and managedByLabel are")]
    BuildMetadata { found: String },
    #[error("sort order {found:?} is not known: fifo and legacy are")]
    SortOrder { found: String },
    #[error("`legacySortOptions` is for the order legacy: change the order, or remove it")]
    FifoOptions,

    #[error("chart {name} cannot be rendered here: Helm charts need a renderer, which was not given")]
    NoCharts { name: String },
    #[error("chart {name}: {source}")]
    Chart { name: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("helmChartInflationGenerator is older than this: use `helmCharts`")]
    OldCharts,
    #[error("valuesMerge is {found:?}: merge, override and replace are known")]
    ValuesMerge { found: String },
}

impl Problem {
    /// Places the problem in a file; a problem that knows its own line keeps it.
    pub(super) fn at(self, file: &str, mark: Mark) -> Error {
        let mark = match self.innermost() {
            Problem::Syntax(error) => error.at,
            Problem::Key { at, .. } | Problem::Misfit { at, .. } => *at,
            _ => mark,
        };
        Error { at: Box::new(Location::new(file, mark.line, mark.column)), problem: Box::new(self) }
    }

    /// Places the problem in a file, where the problem itself says.
    pub(super) fn start_of(self, file: &str) -> Error {
        self.at(file, Mark::START)
    }

    /// Says which resource it is about.
    pub(super) fn of(self, resource: String) -> Problem {
        match self {
            Problem::Of { .. } => self,
            problem => Problem::Of { resource, problem: Box::new(problem) },
        }
    }

    fn innermost(&self) -> &Problem {
        match self {
            Problem::Of { problem, .. } | Problem::InField { problem, .. } | Problem::InOperation { problem, .. } => {
                problem.innermost()
            }
            other => other,
        }
    }
}
