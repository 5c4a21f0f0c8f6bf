//! Charts: what a folder or an archive of files means to helm.
//!
//! ```text
//!  Chart.yaml requirements.yaml   metadata and dependencies
//!  values.yaml values.schema.json defaults and what is allowed
//!  templates/ crds/ *             what is rendered, shown as it is, readable by templates
//!  charts/NAME/ charts/NAME.tgz   subcharts
//! ```
//!
//! # Invariants
//! - A [`Chart`] is plain data: it can be shared between threads and is never changed by rendering.
//! - Sizes and nesting are bounded as in helm: 5 MiB a file, 100 MiB a chart.

use bytes::Bytes;

use crate::{
    tree::{RelPath, Tree},
    yaml::{self, Node},
};

use super::{
    error::Error,
    glob::shell_match,
    metadata::{Dependency, Metadata},
    semver,
};

/// Helm's bound for a file.
const FILE_BYTES: usize = 5 << 20;

/// Helm's bound for a chart.
const CHART_BYTES: usize = 100 << 20;

/// How deep charts may contain charts; the deepest known chart has five levels.
const LEVELS: usize = 32;

/// How many charts one chart may contain in all.
const CHARTS: usize = 1000;

/// Unpacks a packed subchart: its name and content to its files, without the folder on top.
pub type Unpack<'a> = &'a dyn Fn(&str, &Bytes) -> Result<Tree, String>;

/// Says where the files come from: in a folder `.helmignore` holds, in an archive it is an ordinary file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A folder of a person.
    Folder,
    /// An archive.
    Archive,
}

/// A file of a chart.
#[derive(Clone, Debug)]
pub struct File {
    /// Its path in the chart.
    pub name: String,
    /// Its content, without byte order mark.
    pub data: Bytes,
}

/// A chart.
#[derive(Clone, Debug)]
pub struct Chart {
    /// What `Chart.yaml` says.
    pub metadata: Metadata,
    /// What `Chart.lock` or `requirements.lock` pins.
    pub locked: Vec<Dependency>,
    /// The default values: the documents of `values.yaml`.
    pub values: Vec<Node>,
    /// The schema of the values.
    pub schema: Option<Bytes>,
    /// The templates.
    pub templates: Vec<File>,
    /// All other files.
    pub files: Vec<File>,
    /// The subcharts that are there.
    pub dependencies: Vec<Chart>,
}

impl Chart {
    /// Loads a chart and its subcharts.
    ///
    /// # Errors
    /// [`Error`] for everything that helm rejects, and for what is too large or nested too deep.
    pub fn load(tree: &Tree, origin: Origin, unpack: Unpack<'_>) -> Result<Chart, Error> {
        let mut files = Vec::with_capacity(tree.len());
        let ignore = match origin {
            Origin::Folder => Ignore::of(tree)?,
            Origin::Archive => Ignore::default(),
        };
        for (path, data) in tree.iter() {
            if origin == Origin::Folder && ignore.skips(path) {
                continue;
            }
            files.push(File { name: path.as_str().to_owned(), data: without_mark(data) });
        }
        let mut count = 0;
        build("chart", files, unpack, 0, &mut count)
    }

    /// Returns the chart's name.
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// Checks that every dependency that the metadata names is there.
    ///
    /// # Errors
    /// [`Error::MissingDependencies`] with all missing names.
    pub fn check_dependencies(&self) -> Result<(), Error> {
        let missing: Vec<String> = self
            .metadata
            .dependencies
            .iter()
            .filter(|wanted| !self.dependencies.iter().any(|chart| chart.name() == wanted.name))
            .map(|wanted| wanted.name.clone())
            .collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(Error::MissingDependencies { chart: self.name().to_owned(), missing })
        }
    }
}

fn without_mark(data: &Bytes) -> Bytes {
    if data.starts_with(b"\xef\xbb\xbf") { data.slice(3..) } else { data.clone() }
}

fn text(chart: &str, file: &File) -> Result<String, Error> {
    String::from_utf8(file.data.to_vec()).map_err(|_| Error::File {
        chart: chart.to_owned(),
        file: file.name.clone(),
        message: "not UTF-8".to_owned(),
    })
}

fn documents(chart: &str, file: &File) -> Result<Vec<Node>, Error> {
    let text = text(chart, file)?;
    super::values::documents(&text).map_err(|message| Error::File {
        chart: chart.to_owned(),
        file: file.name.clone(),
        message,
    })
}

/// Orders paths as a walk over folders does: by their segments.
fn walk_order(a: &str, b: &str) -> std::cmp::Ordering {
    a.split('/').cmp(b.split('/'))
}

fn build(
    place: &str,
    mut files: Vec<File>,
    unpack: Unpack<'_>,
    level: usize,
    count: &mut usize,
) -> Result<Chart, Error> {
    *count += 1;
    let too_large = |what: String| Err(Error::TooLarge { chart: place.to_owned(), what });
    if level > LEVELS || *count > CHARTS {
        return too_large(format!("more than {LEVELS} levels or {CHARTS} charts inside each other"));
    }
    if let Some(file) = files.iter().find(|file| file.data.len() > FILE_BYTES) {
        return too_large(format!("file {:?} is larger than the maximum file size {FILE_BYTES}", file.name));
    }
    if files.iter().map(|file| file.data.len()).sum::<usize>() > CHART_BYTES {
        return too_large(format!("larger than the maximum size {CHART_BYTES}"));
    }
    files.sort_by(|a, b| walk_order(&a.name, &b.name));
    let Some(chart_file) = files.iter().find(|file| file.name == "Chart.yaml") else {
        return Err(Error::NoChartFile { chart: place.to_owned() });
    };
    let mut metadata = Metadata::default();
    read_metadata(&mut metadata, place, chart_file)?;
    if metadata.api_version.is_empty() {
        metadata.api_version = "v1".to_owned();
    }
    let v1 = metadata.api_version == "v1";
    let mut chart = Chart {
        metadata,
        locked: Vec::new(),
        values: Vec::new(),
        schema: None,
        templates: Vec::new(),
        files: Vec::new(),
        dependencies: Vec::new(),
    };
    let mut packed: Vec<(String, Vec<File>)> = Vec::new();
    for file in files {
        match file.name.as_str() {
            "Chart.yaml" => {}
            "Chart.lock" => chart.locked = locked(place, &file)?,
            "values.yaml" => chart.values = documents(place, &file)?,
            "values.schema.json" => chart.schema = Some(file.data),
            "requirements.yaml" => {
                read_metadata(&mut chart.metadata, place, &file)?;
                if v1 {
                    chart.files.push(file);
                }
            }
            "requirements.lock" => {
                chart.locked = locked(place, &file)?;
                if v1 {
                    chart.files.push(file);
                }
            }
            name if name.starts_with("templates/") => chart.templates.push(file),
            name => match name.strip_prefix("charts/") {
                Some(_) if name.ends_with(".prov") => chart.files.push(file),
                Some(rest) => {
                    let folder = rest.split('/').next().unwrap_or_default().to_owned();
                    let file = File { name: rest.to_owned(), data: file.data };
                    match packed.iter_mut().find(|(known, _)| *known == folder) {
                        Some((_, files)) => files.push(file),
                        None => packed.push((folder, vec![file])),
                    }
                }
                None => chart.files.push(file),
            },
        }
    }
    chart.metadata.validate().map_err(|message| Error::Metadata { chart: place.to_owned(), message })?;
    for (name, files) in packed {
        if name.starts_with(['_', '.']) {
            continue;
        }
        let inner = format!("{place}/charts/{name}");
        let subchart = if name.ends_with(".tgz") {
            let archive = files.first().filter(|file| file.name == name);
            let Some(archive) = archive else {
                return Err(Error::Unpack {
                    chart: chart.name().to_owned(),
                    file: name,
                    message: "a folder is named like an archive".to_owned(),
                });
            };
            let tree = unpack(&name, &archive.data).map_err(|message| Error::Unpack {
                chart: chart.name().to_owned(),
                file: name.clone(),
                message,
            })?;
            let files = tree
                .iter()
                .map(|(path, data)| File { name: path.as_str().to_owned(), data: without_mark(data) })
                .collect();
            build(&inner, files, unpack, level + 1, count)?
        } else {
            let files: Vec<File> = files
                .into_iter()
                .filter_map(|file| {
                    let name = file.name.split_once('/')?.1.to_owned();
                    Some(File { name, data: file.data })
                })
                .collect();
            build(&inner, files, unpack, level + 1, count)?
        };
        chart.dependencies.push(subchart);
    }
    Ok(chart)
}

fn single(chart: &str, file: &File) -> Result<Option<Node>, Error> {
    let text = text(chart, file)?;
    let documents = yaml::documents(super::funcs::data::first_document(&text), &yaml::Options::lenient());
    match documents {
        Ok(documents) => Ok(documents.into_iter().next()),
        Err(error) => Err(Error::File { chart: chart.to_owned(), file: file.name.clone(), message: error.to_string() }),
    }
}

fn read_metadata(metadata: &mut Metadata, chart: &str, file: &File) -> Result<(), Error> {
    match single(chart, file)? {
        Some(node) => metadata.read(&node).map_err(|message| Error::File {
            chart: chart.to_owned(),
            file: file.name.clone(),
            message,
        }),
        None => Ok(()),
    }
}

fn locked(chart: &str, file: &File) -> Result<Vec<Dependency>, Error> {
    let mut lock = Metadata::default();
    if let Some(node) = single(chart, file)?
        && let Some(dependencies) = node.get("dependencies")
    {
        lock.read_dependencies(dependencies).map_err(|message| Error::File {
            chart: chart.to_owned(),
            file: file.name.clone(),
            message,
        })?;
    }
    Ok(lock.dependencies)
}

/// Finds the subchart that a dependency means.
pub(super) fn satisfies(wanted: &Dependency, name: &str, version: &str) -> bool {
    wanted.name == name && semver::is_compatible(&wanted.version, version)
}

/// The rules of `.helmignore`.
#[derive(Debug, Default)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    pattern: String,
    negated: bool,
    folder: bool,
}

impl Ignore {
    /// Reads the `.helmignore` of a chart's folder, with what helm always adds.
    ///
    /// # Errors
    /// [`Error::File`] with the line that is no pattern.
    pub fn of(tree: &Tree) -> Result<Ignore, Error> {
        let mut ignore = Ignore::default();
        let bad = |line: &str, why: &str| Error::File {
            chart: "chart".to_owned(),
            file: ".helmignore".to_owned(),
            message: format!("{line:?}: {why}"),
        };
        let text = tree.get(".helmignore").map(|data| String::from_utf8_lossy(&without_mark(data)).into_owned());
        for line in text.as_deref().unwrap_or_default().lines().chain(["templates/.?*"]) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line.contains("**") {
                return Err(bad(line, "double-star (**) syntax is not supported"));
            }
            if shell_match(line, "abc").is_none() {
                return Err(bad(line, "syntax error in pattern"));
            }
            let (negated, rest) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest));
            let (folder, rest) = rest.strip_suffix('/').map_or((false, rest), |rest| (true, rest));
            ignore.rules.push(Rule { pattern: rest.to_owned(), negated, folder });
        }
        Ok(ignore)
    }

    fn skips(&self, path: &RelPath) -> bool {
        let text = path.as_str();
        let folders = text.match_indices('/').map(|(at, _)| &text[..at]);
        let mut folders = folders.map(|folder| (folder, true));
        folders.any(|(folder, _)| self.hits(folder, true)) || self.hits(text, false)
    }

    /// Tells whether a rule leaves out this file or folder; those above it are not looked at.
    pub fn hits(&self, path: &str, folder: bool) -> bool {
        for rule in &self.rules {
            let matches = match rule.pattern.strip_prefix('/') {
                Some(pattern) => shell_match(pattern, path),
                None if rule.pattern.contains('/') => shell_match(&rule.pattern, path),
                None => shell_match(&rule.pattern, path.rsplit('/').next().unwrap_or(path)),
            }
            .unwrap_or(false);
            if rule.negated {
                if (rule.folder && !folder) || !matches {
                    return true;
                }
            } else if matches && (folder || !rule.folder) {
                return true;
            }
        }
        false
    }
}
