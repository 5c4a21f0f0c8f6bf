//! Variables: `$(NAME)` in fields that `varReference` lists becomes the value of a field elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Error, Problem,
    fieldspec::{Create, FieldSpec},
    id::{Gvk, Id, split},
    node::{Content, Node, Tag, check_text},
    path,
    read::Section,
    schema::Schemas,
    set::Set,
};

/// Declares a variable.
#[derive(Clone, Debug)]
pub(super) struct Var {
    pub(super) name: String,
    gvk: Gvk,
    object: String,
    namespace: String,
    path: String,
}

impl Var {
    pub(super) fn read(section: &Section<'_>) -> Result<Var, Error> {
        section.only(&["name", "objref", "fieldref"])?;
        let mut var = Var {
            name: section.text_or_empty("name")?,
            gvk: Gvk::default(),
            object: String::new(),
            namespace: String::new(),
            path: String::new(),
        };
        if let Some(object) = section.section("objref")? {
            object.only(&["apiVersion", "group", "version", "kind", "name", "namespace"])?;
            var.gvk = super::fieldspec::gvk(&object)?;
            if let Some(api_version) = object.text("apiVersion")? {
                let (group, version) = split(&api_version);
                if !group.is_empty() {
                    var.gvk.group = group.to_owned();
                }
                var.gvk.version = version.to_owned();
            }
            var.object = object.text_or_empty("name")?;
            var.namespace = object.text_or_empty("namespace")?;
        }
        if let Some(field) = section.section("fieldref")? {
            field.only(&["fieldPath", "fieldpath"])?;
            var.path = field.text_or_empty("fieldPath")?;
        }
        if var.path.is_empty() {
            "metadata.name".clone_into(&mut var.path);
        }
        Ok(var)
    }

    /// Marks the resource that gives the value.
    ///
    /// # Errors
    /// Several resources could be meant.
    pub(super) fn bind(&self, set: &mut Set, schemas: &Schemas) -> Result<(), Problem> {
        let Gvk { group, version, kind } = &self.gvk;
        let wanted = Id { group, version, kind, name: &self.object, namespace: &self.namespace, cluster: false };
        let fits =
            |id: &Id<'_>| if self.namespace.is_empty() { wanted.same_kind_and_name(id) } else { wanted.same(id) };
        match set.matching(schemas, fits)[..] {
            [] => Ok(()),
            [at] => {
                set.items[at].vars.push(self.name.clone());
                Ok(())
            }
            ref many => Err(Problem::ManySources { wanted: wanted.label(), count: many.len() }),
        }
    }
}

/// Holds the value of a variable.
#[derive(Clone, Debug)]
enum Value {
    Text(String),
    Typed(String, Tag),
    /// A list or a mapping, which cannot be put into a text.
    Structure,
}

/// Replaces variables in all resources, and returns the names of those that nothing used.
///
/// # Errors
/// A variable has no value, or stands where no text can be.
pub(super) fn resolve(
    set: &mut Set,
    vars: &BTreeMap<String, Var>,
    specs: &[FieldSpec],
) -> Result<Vec<String>, Problem> {
    let mut values: BTreeMap<&str, Value> = BTreeMap::new();
    for var in vars.values() {
        values.insert(&var.name, value(set, var)?);
    }
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let mut used = BTreeSet::new();
    for item in &mut set.items {
        let label = item.label();
        for spec in specs {
            let mut replace = |node: &mut Node| replace(node, &values, &mut used);
            spec.apply(&mut item.node, Create::Nothing, &mut replace).map_err(|problem| problem.of(label.clone()))?;
        }
    }
    Ok(vars.keys().filter(|name| !used.contains(*name)).cloned().collect())
}

fn value(set: &Set, var: &Var) -> Result<Value, Problem> {
    let Some(item) = set.items.iter().find(|item| item.vars.contains(&var.name)) else {
        return Err(Problem::VarWithoutObject { name: var.name.clone() });
    };
    let missing = || Problem::VarWithoutField { name: var.name.clone(), path: var.path.clone(), of: item.label() };
    let path = path::split_indices(path::split(&var.path));
    let found = path::lookup(&item.node, &path).map_err(|problem| problem.of(item.label()))?.ok_or_else(missing)?;
    let Content::Scalar(scalar) = &found.content else { return Ok(Value::Structure) };
    let typed = |text: String| Ok(Value::Typed(text, scalar.tag));
    match scalar.tag {
        Tag::Int => typed(scalar.text.parse::<i64>().map_err(|_| missing())?.to_string()),
        Tag::Float => typed(scalar.text.parse::<f64>().map_err(|_| missing())?.to_string()),
        Tag::Bool => typed(scalar.text.eq_ignore_ascii_case("true").to_string()),
        _ => Ok(Value::Text(scalar.text.clone())),
    }
}

fn replace(node: &mut Node, values: &BTreeMap<&str, Value>, used: &mut BTreeSet<String>) -> Result<(), Problem> {
    if node.is_null() {
        return Ok(());
    }
    match &mut node.content {
        Content::Scalar(_) => replace_text(node, values, used),
        Content::Map(fields) => {
            for field in fields {
                if !field.is_text {
                    return Err(Problem::Key { key: field.name.clone(), at: field.at });
                }
                replace_text(&mut field.value, values, used)?;
            }
            Ok(())
        }
        Content::List(items) => items.iter_mut().try_for_each(|item| {
            if !item.is_text() {
                let (expected, found) = ("a text", item.kind_name());
                return Err(Problem::Shape { expected, found, field: String::new() });
            }
            replace_text(item, values, used)
        }),
    }
}

fn replace_text(node: &mut Node, values: &BTreeMap<&str, Value>, used: &mut BTreeSet<String>) -> Result<(), Problem> {
    if !node.is_text() {
        return Ok(());
    }
    let at = node.at;
    *node = match expand(node.written(), values, used)? {
        Value::Typed(text, tag) => Node::scalar(text, tag),
        Value::Text(text) => Node::text(text),
        Value::Structure => return Ok(()),
    };
    node.at = at;
    Ok(())
}

/// Replaces `$(NAME)`; `$$` is a dollar sign. A text that is one variable takes the variable's type.
fn expand(text: &str, values: &BTreeMap<&str, Value>, used: &mut BTreeSet<String>) -> Result<Value, Problem> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let after = &rest[at + 1..];
        let Some(next) = after.chars().next() else { break };
        out.push_str(&rest[..at]);
        match (next, after.find(')')) {
            ('$', _) => {
                out.push('$');
                rest = &after[1..];
            }
            ('(', Some(end)) => {
                let name = &after[1..end];
                match values.get(name) {
                    Some(Value::Text(value) | Value::Typed(value, _)) => {
                        used.insert(name.to_owned());
                        if after.len() == end + 1 && at == 0 && out.is_empty() {
                            return Ok(values[name].clone());
                        }
                        out.push_str(value);
                        check_text(out.len())?;
                    }
                    _ => out.push_str(&rest[at..at + end + 2]),
                }
                rest = &after[end + 1..];
            }
            _ => {
                out.push('$');
                out.push(next);
                rest = &after[next.len_utf8()..];
            }
        }
    }
    out.push_str(rest);
    Ok(Value::Text(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_expand_and_dollars_escape() {
        let values = BTreeMap::from([("A", Value::Text("x".into())), ("N", Value::Typed("3".into(), Tag::Int))]);
        let mut used = BTreeSet::new();
        for (text, expected) in
            [("$(A)", "x"), ("a$(A)$(B)", "ax$(B)"), ("$$(A)", "$(A)"), ("$(A", "$(A"), ("$", "$"), ("é$é", "é$é")]
        {
            assert!(matches!(expand(text, &values, &mut used), Ok(Value::Text(found)) if found == expected), "{text}");
        }
        assert!(matches!(expand("$(N)", &values, &mut used), Ok(Value::Typed(text, Tag::Int)) if text == "3"));
        assert!(used.contains("A") && used.contains("N"));
    }
}
