//! What `Chart.yaml` and `requirements.yaml` say, read as Go's JSON reader would.

use crate::yaml::{Node, Value as Yaml};

use super::{
    semver::Version,
    template::{
        gofmt,
        value::{DictKind, Map, Str, Value},
    },
};

/// A person behind a chart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maintainer {
    /// The name.
    pub name: String,
    /// The address.
    pub email: String,
    /// The page.
    pub url: String,
}

/// What a subchart's values give to its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Import {
    /// A table below `exports`.
    Export(String),
    /// A table under another name.
    Pair {
        /// The name in the subchart.
        child: String,
        /// The name in the parent.
        parent: String,
    },
    /// Something that helm skips.
    Other,
}

/// A chart that another one needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dependency {
    /// Its name; its alias once dependencies were processed.
    pub name: String,
    /// The range of versions.
    pub version: String,
    /// Where it comes from.
    pub repository: String,
    /// The values that switch it on or off, separated by commas.
    pub condition: String,
    /// The tags that switch it on or off.
    pub tags: Vec<String>,
    /// Whether it is on.
    pub enabled: bool,
    /// What it gives to its parent.
    pub imports: Vec<Import>,
    /// Another name.
    pub alias: String,
}

/// What a chart says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of Chart.yaml, documented by helm")]
pub struct Metadata {
    pub name: String,
    pub home: String,
    pub sources: Vec<String>,
    pub version: String,
    pub description: String,
    pub keywords: Vec<String>,
    pub maintainers: Vec<Maintainer>,
    pub icon: String,
    pub api_version: String,
    pub condition: String,
    pub tags: String,
    pub app_version: String,
    pub deprecated: bool,
    pub annotations: Vec<(String, String)>,
    pub kube_version: String,
    pub dependencies: Vec<Dependency>,
    pub kind: String,
}

/// Turns a scalar into text as sigs.k8s.io/yaml does where a string is wanted.
pub(super) fn scalar(node: &Node, field: &str) -> Result<String, String> {
    Ok(match &node.value {
        Yaml::Null => String::new(),
        Yaml::Bool(truth) => truth.to_string(),
        Yaml::Int(number) => number.to_string(),
        Yaml::UInt(number) => number.to_string(),
        // The library formats with the digits that a 32-bit float needs.
        Yaml::Float(number) => {
            let short = format!("{:e}", *number as f32).parse().unwrap_or(*number);
            gofmt::float(short, b'g', None)
        }
        Yaml::String(text) => text.clone(),
        Yaml::Seq(_) | Yaml::Map(_) => {
            return Err(format!("line {}: {field} must be a string, not {}", node.at.line, node.kind_name()));
        }
    })
}

fn list(node: &Node, field: &str) -> Result<Vec<String>, String> {
    match &node.value {
        Yaml::Null => Ok(Vec::new()),
        Yaml::Seq(items) => items.iter().map(|item| scalar(item, field)).collect(),
        _ => Err(format!("line {}: {field} must be a list of strings", node.at.line)),
    }
}

fn truth(node: &Node, field: &str) -> Result<bool, String> {
    match node.value {
        Yaml::Null => Ok(false),
        Yaml::Bool(truth) => Ok(truth),
        _ => Err(format!("line {}: {field} must be true or false", node.at.line)),
    }
}

/// Walks the entries of a mapping with their keys in lower case, because Go's reader ignores case.
fn entries<'n>(node: &'n Node, what: &str) -> Result<Vec<(String, &'n Node)>, String> {
    match &node.value {
        Yaml::Null => Ok(Vec::new()),
        Yaml::Map(entries) => {
            Ok(entries.iter().filter_map(|(key, value)| Some((key.key()?.to_ascii_lowercase(), value))).collect())
        }
        _ => Err(format!("line {}: {what} must be a mapping, not {}", node.at.line, node.kind_name())),
    }
}

fn sanitized(text: &str) -> String {
    text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|c| *c == ' ' || gofmt::is_print(*c)).collect()
}

impl Dependency {
    fn read(node: &Node) -> Result<Dependency, String> {
        if node.is_null() {
            return Err("dependencies must not contain empty or null nodes".to_owned());
        }
        let mut found = Dependency::default();
        for (key, value) in entries(node, "a dependency")? {
            match key.as_str() {
                "name" => found.name = sanitized(&scalar(value, "name")?),
                "version" => found.version = sanitized(&scalar(value, "version")?),
                "repository" => found.repository = sanitized(&scalar(value, "repository")?),
                "condition" => found.condition = sanitized(&scalar(value, "condition")?),
                "tags" => found.tags = list(value, "tags")?.iter().map(|tag| sanitized(tag)).collect(),
                "enabled" => found.enabled = truth(value, "enabled")?,
                "alias" => found.alias = scalar(value, "alias")?,
                "import-values" => {
                    let items = match &value.value {
                        Yaml::Null => &[][..],
                        Yaml::Seq(items) => items,
                        _ => return Err(format!("line {}: import-values must be a list", value.at.line)),
                    };
                    found.imports = items.iter().map(Self::import).collect();
                }
                _ => {}
            }
        }
        Ok(found)
    }

    fn import(node: &Node) -> Import {
        match &node.value {
            Yaml::String(name) => Import::Export(name.clone()),
            Yaml::Map(_) => {
                let part = |key: &str| match node.get(key) {
                    Some(value) => scalar(value, key).unwrap_or_default(),
                    None => "<nil>".to_owned(),
                };
                Import::Pair { child: part("child"), parent: part("parent") }
            }
            _ => Import::Other,
        }
    }

    fn view(&self) -> Value {
        let imports = self.imports.iter().filter_map(|import| match import {
            Import::Export(name) => Some(Value::from(name.as_str())),
            Import::Pair { child, parent } => Some(Value::dict_of(
                DictKind::Plain,
                [
                    (Str::from("child"), Value::from(child.as_str())),
                    (Str::from("parent"), Value::from(parent.as_str())),
                ]
                .into_iter()
                .collect(),
            )),
            Import::Other => None,
        });
        record(vec![
            ("Name", Value::from(self.name.as_str())),
            ("Version", Value::from(self.version.as_str())),
            ("Repository", Value::from(self.repository.as_str())),
            ("Condition", Value::from(self.condition.as_str())),
            ("Tags", strings(&self.tags)),
            ("Enabled", Value::Bool(self.enabled)),
            ("ImportValues", Value::list(imports.collect())),
            ("Alias", Value::from(self.alias.as_str())),
        ])
    }
}

fn record(fields: Vec<(&str, Value)>) -> Value {
    Value::dict(fields.into_iter().map(|(name, value)| (Str::from(name), value)).collect())
}

fn strings(items: &[String]) -> Value {
    Value::list(items.iter().map(|item| Value::from(item.as_str())).collect())
}

impl Metadata {
    /// Reads `Chart.yaml` or `requirements.yaml`; what is there already stays unless it is named again.
    pub(super) fn read(&mut self, node: &Node) -> Result<(), String> {
        for (key, value) in entries(node, "the chart's description")? {
            match key.as_str() {
                "name" => self.name = scalar(value, "name")?,
                "home" => self.home = scalar(value, "home")?,
                "sources" => self.sources = list(value, "sources")?,
                "version" => self.version = scalar(value, "version")?,
                "description" => self.description = scalar(value, "description")?,
                "keywords" => self.keywords = list(value, "keywords")?,
                "icon" => self.icon = scalar(value, "icon")?,
                "apiversion" => self.api_version = scalar(value, "apiVersion")?,
                "condition" => self.condition = scalar(value, "condition")?,
                "tags" => self.tags = scalar(value, "tags")?,
                "appversion" => self.app_version = scalar(value, "appVersion")?,
                "deprecated" => self.deprecated = truth(value, "deprecated")?,
                "kubeversion" => self.kube_version = scalar(value, "kubeVersion")?,
                "type" => self.kind = scalar(value, "type")?,
                "annotations" => {
                    self.annotations = match &value.value {
                        Yaml::Null => Vec::new(),
                        Yaml::Map(entries) => entries
                            .iter()
                            .filter_map(|(key, value)| Some((key.key()?.into_owned(), value)))
                            .map(|(key, value)| Ok((key, scalar(value, "an annotation")?)))
                            .collect::<Result<_, String>>()?,
                        _ => return Err(format!("line {}: annotations must be a mapping", value.at.line)),
                    };
                }
                "maintainers" => {
                    let items = match &value.value {
                        Yaml::Null => &[][..],
                        Yaml::Seq(items) => items,
                        _ => return Err(format!("line {}: maintainers must be a list", value.at.line)),
                    };
                    self.maintainers = items.iter().map(Self::maintainer).collect::<Result<_, _>>()?;
                }
                "dependencies" => self.read_dependencies(value)?,
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn read_dependencies(&mut self, node: &Node) -> Result<(), String> {
        let items = match &node.value {
            Yaml::Null => &[][..],
            Yaml::Seq(items) => items,
            _ => return Err(format!("line {}: dependencies must be a list", node.at.line)),
        };
        self.dependencies = items.iter().map(Dependency::read).collect::<Result<_, _>>()?;
        Ok(())
    }

    fn maintainer(node: &Node) -> Result<Maintainer, String> {
        if node.is_null() {
            return Err("maintainers must not contain empty or null nodes".to_owned());
        }
        let mut found = Maintainer::default();
        for (key, value) in entries(node, "a maintainer")? {
            match key.as_str() {
                "name" => found.name = sanitized(&scalar(value, "name")?),
                "email" => found.email = sanitized(&scalar(value, "email")?),
                "url" => found.url = sanitized(&scalar(value, "url")?),
                _ => {}
            }
        }
        Ok(found)
    }

    /// Cleans and checks as helm does when it loads a chart.
    pub(super) fn validate(&mut self) -> Result<(), String> {
        for text in [
            &mut self.name,
            &mut self.description,
            &mut self.home,
            &mut self.icon,
            &mut self.condition,
            &mut self.tags,
            &mut self.app_version,
            &mut self.kube_version,
        ]
        .into_iter()
        .chain(&mut self.sources)
        .chain(&mut self.keywords)
        {
            *text = sanitized(text);
        }
        let name = &self.name;
        if name.is_empty() {
            return Err("chart.metadata.name is required".to_owned());
        }
        if name == "." || name == ".." || name.contains('/') || name.contains('\\') {
            return Err(format!("chart.metadata.name {name:?} is invalid"));
        }
        if self.version.is_empty() {
            return Err("chart.metadata.version is required".to_owned());
        }
        if Version::parse(&self.version).is_err() {
            return Err(format!("chart.metadata.version {:?} is invalid", self.version));
        }
        if !matches!(self.kind.as_str(), "" | "application" | "library") {
            return Err("chart.metadata.type must be application or library".to_owned());
        }
        let mut seen: Vec<&str> = Vec::new();
        for dependency in &self.dependencies {
            let alias = &dependency.alias;
            if !alias.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') {
                return Err(format!("dependency {:?} has disallowed characters in the alias", dependency.name));
            }
            let key = if alias.is_empty() { &dependency.name } else { alias };
            if seen.contains(&key.as_str()) {
                return Err(format!("more than one dependency with name or alias {key:?}"));
            }
            seen.push(key);
        }
        Ok(())
    }

    /// Tells whether the chart is only a library.
    pub fn is_library(&self) -> bool {
        self.kind.eq_ignore_ascii_case("library")
    }

    /// Returns what templates see as `.Chart`.
    pub fn view(&self, root: bool) -> Value {
        let maintainers = self.maintainers.iter().map(|person| {
            record(vec![
                ("Name", Value::from(person.name.as_str())),
                ("Email", Value::from(person.email.as_str())),
                ("URL", Value::from(person.url.as_str())),
            ])
        });
        let annotations: Map = self
            .annotations
            .iter()
            .map(|(key, value)| (Str::from(key.as_str()), Value::from(value.as_str())))
            .collect();
        record(vec![
            ("Name", Value::from(self.name.as_str())),
            ("Home", Value::from(self.home.as_str())),
            ("Sources", strings(&self.sources)),
            ("Version", Value::from(self.version.as_str())),
            ("Description", Value::from(self.description.as_str())),
            ("Keywords", strings(&self.keywords)),
            ("Maintainers", Value::list(maintainers.collect())),
            ("Icon", Value::from(self.icon.as_str())),
            ("APIVersion", Value::from(self.api_version.as_str())),
            ("Condition", Value::from(self.condition.as_str())),
            ("Tags", Value::from(self.tags.as_str())),
            ("AppVersion", Value::from(self.app_version.as_str())),
            ("Deprecated", Value::Bool(self.deprecated)),
            ("Annotations", Value::dict_of(DictKind::Strings, annotations)),
            ("KubeVersion", Value::from(self.kube_version.as_str())),
            ("Dependencies", Value::list(self.dependencies.iter().map(Dependency::view).collect())),
            ("Type", Value::from(self.kind.as_str())),
            ("IsRoot", Value::Bool(root)),
        ])
    }
}
