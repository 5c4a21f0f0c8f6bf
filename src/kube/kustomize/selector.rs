//! Selectors: resources by kind, name and namespace (regular expressions, anchored), by labels and by annotations.

use std::collections::BTreeMap;

use regex::Regex;

use super::{
    Error, Problem,
    id::{Gvk, Id},
    read::Section,
    resource::Resource,
    schema::Schemas,
    set::Set,
};

/// How large a compiled expression may be; kustomizations select by a few words.
const MAX_EXPRESSION: usize = 1 << 20;

/// Compiles an expression of the user's.
///
/// # Errors
/// It is no regular expression.
pub(super) fn expression(text: &str) -> Result<Regex, Problem> {
    let built = regex::RegexBuilder::new(text).size_limit(MAX_EXPRESSION).build();
    built.map_err(|error| Problem::Expression { text: text.to_owned(), reason: error.to_string() })
}

/// Selects resources.
#[derive(Clone, Debug, Default)]
pub(super) struct Selector {
    pub(super) gvk: Gvk,
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) labels: String,
    pub(super) annotations: String,
}

pub(super) const FIELDS: &[&str] =
    &["group", "version", "kind", "name", "namespace", "labelSelector", "annotationSelector"];

impl Selector {
    pub(super) fn read(section: &Section<'_>) -> Result<Selector, Error> {
        Ok(Selector {
            gvk: super::fieldspec::gvk(section)?,
            name: section.text_or_empty("name")?,
            namespace: section.text_or_empty("namespace")?,
            labels: section.text_or_empty("labelSelector")?,
            annotations: section.text_or_empty("annotationSelector")?,
        })
    }

    /// Tells whether kind, name and namespace say nothing.
    pub(super) fn names_nothing(&self) -> bool {
        self.gvk == Gvk::default() && self.name.is_empty() && self.namespace.is_empty()
    }

    /// Returns the indices of the resources that this selects, parts being regular expressions.
    ///
    /// # Errors
    /// A part is no regular expression, or no label selector.
    pub(super) fn select(&self, set: &Set, schemas: &Schemas) -> Result<Vec<usize>, Problem> {
        let part = |text: &str| match text {
            "" => Ok(None),
            text => expression(&format!("^(?:{text})$")).map(Some),
        };
        let (group, version, kind) = (part(&self.gvk.group)?, part(&self.gvk.version)?, part(&self.gvk.kind)?);
        let (name, namespace) = (part(&self.name)?, part(&self.namespace)?);
        let fits = |wanted: &Option<Regex>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted.is_match(found));
        let labels = Requirements::parse(&self.labels)?;
        let annotations = Requirements::parse(&self.annotations)?;
        let mut selected = Vec::new();
        for (at, item) in set.items.iter().enumerate() {
            let (id, original) = (item.id(schemas), item.original_id(schemas));
            let is_it = (fits(&namespace, original.effective_namespace())
                || fits(&namespace, id.effective_namespace()))
                && (fits(&name, original.name) || fits(&name, id.name))
                && fits(&group, id.group)
                && fits(&version, id.version)
                && fits(&kind, id.kind)
                && labels.fit(&item.labels())
                && annotations.fit(&item.annotations());
            if is_it {
                selected.push(at);
            }
        }
        Ok(selected)
    }

    /// Tells whether labels and annotations of a resource fit.
    ///
    /// # Errors
    /// A part is no label selector.
    pub(super) fn fits_metadata(&self, resource: &Resource) -> Result<bool, Problem> {
        Ok(Requirements::parse(&self.labels)?.fit(&resource.labels())
            && Requirements::parse(&self.annotations)?.fit(&resource.annotations()))
    }

    /// Tells whether an identity has exactly the parts that this names.
    pub(super) fn fits_exactly(&self, id: &Id<'_>) -> bool {
        let wanted = if self.namespace.is_empty() { "default" } else { &self.namespace };
        (self.name.is_empty() || self.name == id.name)
            && (self.namespace.is_empty() || wanted == id.effective_namespace())
            && self.gvk.selects(id.group, id.version, id.kind)
    }

    /// Names what is selected for people.
    pub(super) fn label(&self) -> String {
        let Gvk { group, version, kind } = &self.gvk;
        let parts = [
            ("group", group),
            ("version", version),
            ("kind", kind),
            ("name", &self.name),
            ("namespace", &self.namespace),
            ("labels", &self.labels),
            ("annotations", &self.annotations),
        ];
        let parts: Vec<String> =
            parts.iter().filter(|(_, text)| !text.is_empty()).map(|(what, text)| format!("{what} {text}")).collect();
        if parts.is_empty() { "everything".to_owned() } else { parts.join(", ") }
    }
}

/// What a label selector demands (Kubernetes' `labels.Parse`).
struct Requirements(Vec<Requirement>);

struct Requirement {
    key: String,
    demand: Demand,
}

enum Demand {
    Exists,
    Absent,
    In(Vec<String>),
    NotIn(Vec<String>),
    Above(i64),
    Below(i64),
}

impl Requirements {
    fn parse(text: &str) -> Result<Requirements, Problem> {
        let wrong = || Problem::LabelSelector { text: text.to_owned() };
        let mut found = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            // A comma separates requirements, unless it stands in the parentheses of `in (a, b)`.
            let mut depth = 0i32;
            let end = rest.find(|c: char| {
                depth += i32::from(c == '(') - i32::from(c == ')');
                c == ',' && depth == 0
            });
            let (one, after) = end.map_or((rest, ""), |end| (&rest[..end], &rest[end + 1..]));
            found.push(Requirement::parse(one.trim()).ok_or_else(wrong)?);
            if end.is_some() && after.trim().is_empty() {
                return Err(wrong());
            }
            rest = after.trim();
        }
        Ok(Requirements(found))
    }

    fn fit(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            let number = || value.and_then(|value| value.parse::<i64>().ok());
            match &requirement.demand {
                Demand::Exists => value.is_some(),
                Demand::Absent => value.is_none(),
                Demand::In(values) => value.is_some_and(|value| values.contains(value)),
                Demand::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
                Demand::Above(limit) => number().is_some_and(|number| number > *limit),
                Demand::Below(limit) => number().is_some_and(|number| number < *limit),
            }
        })
    }
}

impl Requirement {
    fn parse(text: &str) -> Option<Requirement> {
        let is_word = |text: &str| {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'))
        };
        let make = |key: &str, demand: Demand| is_word(key).then(|| Requirement { key: key.to_owned(), demand });
        if let Some(key) = text.strip_prefix('!')
            && !key.contains('=')
        {
            return make(key.trim(), Demand::Absent);
        }
        let is_value = |text: &str| text.is_empty() || is_word(text);
        for (operator, negative) in [("!=", true), ("==", false), ("=", false)] {
            if let Some((key, value)) = text.split_once(operator) {
                let value = value.trim();
                let values = vec![value.to_owned()];
                let demand = if negative { Demand::NotIn(values) } else { Demand::In(values) };
                return if is_value(value) { make(key.trim(), demand) } else { None };
            }
        }
        for (operator, above) in [('>', true), ('<', false)] {
            if let Some((key, value)) = text.split_once(operator) {
                let limit = value.trim().parse().ok()?;
                return make(key.trim(), if above { Demand::Above(limit) } else { Demand::Below(limit) });
            }
        }
        if let Some((head, list)) = text.split_once('(') {
            let values: Vec<String> =
                list.trim().strip_suffix(')')?.split(',').map(|value| value.trim().to_owned()).collect();
            let mut words = head.split_ascii_whitespace();
            let (key, operator, None) = (words.next()?, words.next()?, words.next()) else { return None };
            return match operator {
                "in" => make(key, Demand::In(values)),
                "notin" => make(key, Demand::NotIn(values)),
                _ => None,
            };
        }
        make(text, Demand::Exists)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Requirements::parse(selector).unwrap().fit(&labels)
    }

    #[test]
    fn label_selectors_are_those_of_kubernetes() {
        let labels = [("a", "1"), ("b/c", "x")];
        for (selector, expected) in [
            ("", true),
            ("a=1", true),
            ("a == 1, b/c", true),
            ("a!=1", false),
            ("z!=1", true),
            ("!z", true),
            ("!a", false),
            ("b/c in (x, y),a", true),
            ("b/c notin (x, y)", false),
            ("a > 0", true),
            ("a < 1", false),
            ("z", false),
        ] {
            assert_eq!(fits(selector, &labels), expected, "{selector}");
        }
        for wrong in ["a=1,", "a in x", "a b", "=1", "a > x"] {
            assert!(Requirements::parse(wrong).is_err(), "{wrong}");
        }
    }
}
