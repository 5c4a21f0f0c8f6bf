//! Findings and where they come from.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Grades how sure it is that a text is an image that the deployment needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// The spec or a chart's own list says so.
    Declared,
    /// The Kubernetes API says that this field is an image.
    Schema,
    /// A rule about a custom resource or an operator says so.
    Rule,
    /// It looks like one, in an environment variable, an argument or a ConfigMap.
    Guess,
}

impl Confidence {
    /// Returns the word used in files and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Confidence::Declared => "declared",
            Confidence::Schema => "schema",
            Confidence::Rule => "rule",
            Confidence::Guess => "guess",
        }
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Names one station on the way from the spec to the place that names an image. In files, the first key of a step tells
/// which station it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Step {
    /// An entry of the spec.
    Entry {
        /// Its label, such as `manifests[0]`.
        entry: String,
    },
    /// A chart, or a chart inside a chart.
    Chart {
        /// Its name.
        chart: String,
        /// Its version.
        version: String,
    },
    /// A set of values that a chart is rendered with.
    Variant {
        /// Its label, such as `variants[1]`.
        variant: String,
    },
    /// Values that a chart needs for it, other than those of the spec.
    Set {
        /// The values, as `helm --set` reads them; none when it was not found out which ones they are.
        set: Vec<String>,
    },
    /// The decision that made it count.
    Accepted {
        /// The entry of the spec that says so.
        accepted: String,
        /// Why, as the spec says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A file: a manifest, a template, a values file.
    File {
        /// Its path, or its address when it came over the network.
        file: String,
        /// The line, from 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        line: Option<u32>,
    },
    /// A Kubernetes object.
    Object {
        /// Its kind, with `.group` behind it unless it is in the core group.
        object: String,
        /// Its namespace, when it names one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        /// Its name.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        name: String,
    },
    /// A field of the object, such as `spec.containers[0].image`.
    Field {
        /// The path of the field.
        field: String,
    },
    /// The rule that knew where to look.
    Rule {
        /// Its name.
        rule: String,
    },
}

impl Step {
    /// Makes a step of an entry of the spec.
    pub fn entry(label: impl Into<String>) -> Self {
        Step::Entry { entry: label.into() }
    }

    /// Returns the same step without what changes when unrelated lines are edited.
    pub fn without_line(&self) -> Step {
        match self {
            Step::File { file, .. } => Step::File { file: file.clone(), line: None },
            other => other.clone(),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Entry { entry } => f.write_str(entry),
            Step::Chart { chart, version } => write!(f, "{chart}@{version}"),
            Step::Variant { variant } => f.write_str(variant),
            Step::Set { set } if set.is_empty() => f.write_str("set several values"),
            Step::Set { set } => write!(f, "set {}", set.join(",")),
            Step::Accepted { accepted, reason: None } => write!(f, "accepted by {accepted}"),
            Step::Accepted { accepted, reason: Some(reason) } => write!(f, "accepted by {accepted}: {reason}"),
            Step::File { file, line: None } => f.write_str(file),
            Step::File { file, line: Some(line) } => write!(f, "{file}:{line}"),
            Step::Object { object, namespace, name } => {
                f.write_str(object.split('.').next().unwrap_or(object))?;
                match (namespace, name.as_str()) {
                    (_, "") => Ok(()),
                    (Some(namespace), name) => write!(f, " {namespace}/{name}"),
                    (None, name) => write!(f, " {name}"),
                }
            }
            Step::Field { field } => f.write_str(field),
            Step::Rule { rule } => write!(f, "rule {rule}"),
        }
    }
}

/// Holds an image reference exactly as it was written, and why it counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// The reference as written.
    pub written: String,
    /// How sure it is.
    pub confidence: Confidence,
    /// The way from the spec to the place that names the image.
    pub provenance: Vec<Step>,
}

impl Finding {
    /// Returns the finding with one more station in front.
    pub fn within(mut self, step: Step) -> Self {
        self.provenance.insert(0, step);
        self
    }

    /// Returns the finding without the line numbers of its provenance: what to compare when lines may have moved.
    pub fn without_lines(&self) -> Finding {
        let provenance = self.provenance.iter().map(Step::without_line).collect();
        Finding { provenance, ..self.clone() }
    }
}

/// The provenance in one line.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.provenance.iter().enumerate() {
            if i > 0 {
                f.write_str(" → ")?;
            }
            step.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> Finding {
        Finding {
            written: "nginx".into(),
            confidence: Confidence::Rule,
            provenance: vec![
                Step::entry("charts[0]"),
                Step::Chart { chart: "redis".into(), version: "20.1.0".into() },
                Step::Variant { variant: "variants[1]".into() },
                Step::File { file: "templates/a.yaml".into(), line: Some(12) },
                Step::Object { object: "Deployment.apps".into(), namespace: Some("web".into()), name: "front".into() },
                Step::Field { field: "spec.image".into() },
                Step::Rule { rule: "widgets".into() },
                Step::Set { set: vec!["a.enabled=true".into(), "b=c".into()] },
                Step::Accepted { accepted: "discovery.accept[0]".into(), reason: Some("the operator pulls it".into()) },
            ],
        }
    }

    #[test]
    fn provenance_reads_in_one_line() {
        assert_eq!(
            everything().to_string(),
            "charts[0] → redis@20.1.0 → variants[1] → templates/a.yaml:12 → Deployment web/front → spec.image → rule widgets → set a.enabled=true,b=c → accepted by discovery.accept[0]: the operator pulls it"
        );
        let nameless = Step::Object { object: "Pod".into(), namespace: Some("web".into()), name: String::new() };
        assert_eq!(nameless.to_string(), "Pod");
    }

    #[test]
    fn steps_are_told_apart_when_read_back() {
        let finding = everything().within(Step::File { file: "x".into(), line: None });
        let text = serde_json::to_string(&finding).unwrap();
        assert_eq!(serde_json::from_str::<Finding>(&text).unwrap(), finding);
        assert!(serde_json::from_str::<Step>(r#"{"file":"a","lime":3}"#).is_err());
        assert!(serde_json::from_str::<Step>("{}").is_err());
        assert_eq!(serde_json::to_string(&Confidence::Schema).unwrap(), "\"schema\"");
    }

    #[test]
    fn lines_do_not_count_when_reasons_are_compared() {
        let mut moved = everything();
        moved.provenance[3] = Step::File { file: "templates/a.yaml".into(), line: Some(99) };
        assert_ne!(moved, everything());
        assert_eq!(moved.without_lines(), everything().without_lines());
    }
}
