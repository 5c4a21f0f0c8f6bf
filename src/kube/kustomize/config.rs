//! What tells the transformers where to look: kustomize's defaults (`defaults.txt`) and the `configurations` of the user.

use std::sync::LazyLock;

use super::{
    Error, Problem,
    fieldspec::{FieldSpec, gvk, merge_all},
    id::Gvk,
    read::{self, Section},
};

const DEFAULTS: &str = include_str!("defaults.txt");

static DEFAULT: LazyLock<Config> = LazyLock::new(|| Config::parse(DEFAULTS));

/// Where the pod spec is in each kind of workload.
const PODS: &[(&str, &str)] =
    &[("Pod", "spec/"), ("PodTemplate", "template/spec/"), ("CronJob", "spec/jobTemplate/spec/template/spec/")];

/// Fields that hold the name of a kind.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NameReference {
    pub(super) target: Gvk,
    pub(super) referrers: Vec<FieldSpec>,
}

/// Field specifications of every transformer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Config {
    pub(super) name_prefix: Vec<FieldSpec>,
    pub(super) name_suffix: Vec<FieldSpec>,
    pub(super) namespace: Vec<FieldSpec>,
    pub(super) common_labels: Vec<FieldSpec>,
    pub(super) labels: Vec<FieldSpec>,
    pub(super) template_labels: Vec<FieldSpec>,
    pub(super) annotations: Vec<FieldSpec>,
    pub(super) name_references: Vec<NameReference>,
    pub(super) var_references: Vec<FieldSpec>,
    pub(super) images: Vec<FieldSpec>,
    pub(super) replicas: Vec<FieldSpec>,
}

const SECTIONS: &[&str] = &[
    "namePrefix",
    "nameSuffix",
    "namespace",
    "commonLabels",
    "labels",
    "templateLabels",
    "commonAnnotations",
    "nameReference",
    "varReference",
    "images",
    "replicas",
];

impl Config {
    /// Returns the defaults.
    pub(super) fn built_in() -> Config {
        DEFAULT.clone()
    }

    fn specs(&mut self, section: &str) -> Option<&mut Vec<FieldSpec>> {
        Some(match section {
            "namePrefix" => &mut self.name_prefix,
            "nameSuffix" => &mut self.name_suffix,
            "namespace" => &mut self.namespace,
            "commonLabels" => &mut self.common_labels,
            "labels" => &mut self.labels,
            "templateLabels" => &mut self.template_labels,
            "commonAnnotations" => &mut self.annotations,
            "varReference" => &mut self.var_references,
            "images" => &mut self.images,
            "replicas" => &mut self.replicas,
            _ => return None,
        })
    }

    /// Reads the table of defaults.
    fn parse(table: &str) -> Config {
        let mut config = Config::default();
        let mut section = "";
        let mut path = "";
        for line in table.lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.split_ascii_whitespace();
            if !line.starts_with(' ') {
                section = words.next().unwrap_or_default();
                if let Some(target) = words.next() {
                    config.name_references.push(NameReference { target: parse_kind(target), referrers: Vec::new() });
                }
                continue;
            }
            if !line.starts_with("    ") {
                path = words.next().unwrap_or_default();
            }
            for kind in words {
                let gvk = parse_kind(kind);
                let (create, rest) = path.strip_prefix('+').map_or((false, path), |rest| (true, rest));
                let path = match rest.strip_prefix("pod:") {
                    Some(rest) => {
                        let root = PODS.iter().find(|(kind, _)| *kind == gvk.kind);
                        format!("{}{rest}", root.map_or("spec/template/spec/", |(_, root)| root))
                    }
                    None => rest.to_owned(),
                };
                let spec = FieldSpec { gvk, path, create };
                match config.specs(section) {
                    Some(specs) => specs.push(spec),
                    None => config.name_references.last_mut().map_or((), |last| last.referrers.push(spec)),
                }
            }
        }
        config.name_suffix = config.name_prefix.clone();
        let template_labels = config.template_labels.clone();
        config.common_labels.extend(template_labels);
        config.sort();
        config
    }

    /// Reads a file of `configurations`.
    ///
    /// # Errors
    /// An unknown section, or a field of the wrong type.
    pub(super) fn read(file: &str, text: &str) -> Result<Config, Error> {
        let document = read::document(file, text)?;
        let top = Section::new(file, &document)?;
        top.only(SECTIONS)?;
        let mut config = Config::default();
        for name in SECTIONS {
            for item in top.sections(name)? {
                if *name == "nameReference" {
                    item.only(&["group", "version", "kind", "fieldSpecs"])?;
                    let mut referrers = Vec::new();
                    for spec in item.sections("fieldSpecs")? {
                        referrers.push(read_spec(&spec)?);
                    }
                    config.name_references.push(NameReference { target: gvk(&item)?, referrers });
                } else if let Some(specs) = config.specs(name) {
                    specs.push(read_spec(&item)?);
                }
            }
        }
        config.sort();
        Ok(config)
    }

    /// Adds another configuration to this one.
    ///
    /// # Errors
    /// The two disagree on whether a field is to be created.
    pub(super) fn merge(&mut self, other: &Config) -> Result<(), Problem> {
        if *self == *other {
            return Ok(());
        }
        let mut other = other.clone();
        for name in SECTIONS {
            let more = other.specs(name).map(std::mem::take).unwrap_or_default();
            if let Some(specs) = self.specs(name) {
                merge_all(specs, &more)?;
            }
        }
        for reference in other.name_references {
            self.merge_reference(reference)?;
        }
        self.sort();
        Ok(())
    }

    /// Adds fields that hold the name of a kind.
    pub(super) fn merge_reference(&mut self, reference: NameReference) -> Result<(), Problem> {
        match self.name_references.iter_mut().find(|known| known.target == reference.target) {
            Some(known) => merge_all(&mut known.referrers, &reference.referrers),
            None => {
                self.name_references.push(reference);
                Ok(())
            }
        }
    }

    fn sort(&mut self) {
        for name in SECTIONS {
            if let Some(specs) = self.specs(name) {
                specs.sort_by_cached_key(|spec| spec.gvk.rank());
            }
        }
        self.name_references.sort_by_cached_key(|reference| reference.target.rank());
    }
}

fn read_spec(section: &Section<'_>) -> Result<FieldSpec, Error> {
    section.only(&["group", "version", "kind", "path", "create"])?;
    FieldSpec::read(section)
}

/// Reads `Kind/version@group`; `*` is any kind.
fn parse_kind(text: &str) -> Gvk {
    let (rest, group) = text.split_once('@').unwrap_or((text, ""));
    let (kind, version) = rest.split_once('/').unwrap_or((rest, ""));
    let kind = if kind == "*" { "" } else { kind };
    Gvk { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_complete() {
        let config = Config::built_in();
        let referrers: usize = config.name_references.iter().map(|reference| reference.referrers.len()).sum();
        assert_eq!((config.name_references.len(), referrers), (16, 166));
        assert_eq!((config.common_labels.len(), config.var_references.len()), (32, 72));
        let secret = config.name_references.iter().find(|reference| reference.target.kind == "Secret").unwrap();
        let cron = FieldSpec {
            gvk: Gvk { kind: "CronJob".into(), ..Gvk::default() },
            path: "spec/jobTemplate/spec/template/spec/volumes/secret/secretName".into(),
            create: false,
        };
        assert!(secret.referrers.contains(&cron));
    }
}
