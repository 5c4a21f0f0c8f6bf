//! Dependencies at work: aliases, conditions, tags, imported values.
//!
//! # Invariants
//! - A [`Live`] chart is what is left of a [`Chart`] for one rendering: the subcharts that are on, under their aliases.

use std::rc::Rc;

use super::{
    chart::{Chart, satisfies},
    error::Error,
    metadata::{Import, Metadata},
    template::value::{Dict, Map, Str, Value},
    values::{self, Charted, coalesce_values, new_dict, table, table_at, value_at},
};

/// How deep tables may nest while they are merged.
const DEPTH: usize = 1000;

/// A chart while it is rendered.
#[derive(Clone)]
pub(super) struct Live<'c> {
    /// Its own description: names and dependencies change while dependencies are processed.
    pub metadata: Metadata,
    /// Its default values, with what was imported.
    pub values: Rc<Dict>,
    /// Where templates, files and schema are.
    pub chart: &'c Chart,
    /// The subcharts.
    pub children: Vec<Live<'c>>,
}

impl Charted for Live<'_> {
    fn name(&self) -> &str {
        &self.metadata.name
    }

    fn defaults(&self) -> &Rc<Dict> {
        &self.values
    }

    fn children(&self) -> &[Self] {
        &self.children
    }
}

impl<'c> Live<'c> {
    /// Prepares a chart and its subcharts.
    pub(super) fn of(chart: &'c Chart) -> Result<Live<'c>, Error> {
        let values = table(&chart.values).map_err(|message| Error::File {
            chart: chart.name().to_owned(),
            file: "values.yaml".to_owned(),
            message,
        })?;
        let children = chart.dependencies.iter().map(Live::of).collect::<Result<_, _>>()?;
        Ok(Live { metadata: chart.metadata.clone(), values, chart, children })
    }

    /// Switches subcharts on and off and imports their values.
    pub(super) fn process(&mut self, values: &Rc<Dict>) -> Result<(), Error> {
        self.enable(values, "")?;
        self.import()
    }

    fn enable(&mut self, values: &Rc<Dict>, path: &str) -> Result<(), Error> {
        if self.metadata.dependencies.is_empty() {
            return Ok(());
        }
        let mut children: Vec<Live<'c>> = self
            .children
            .iter()
            .filter(|child| {
                let (name, version) = (&child.metadata.name, &child.metadata.version);
                !self.metadata.dependencies.iter().any(|wanted| satisfies(wanted, name, version))
            })
            .cloned()
            .collect();
        for wanted in &mut self.metadata.dependencies {
            let found =
                self.children.iter().find(|child| satisfies(wanted, &child.metadata.name, &child.metadata.version));
            if let Some(found) = found {
                let mut child = found.clone();
                // Each use of a chart has values of its own.
                child.separate();
                if !wanted.alias.is_empty() {
                    child.metadata.name = wanted.alias.clone();
                }
                children.push(child);
            }
            if !wanted.alias.is_empty() {
                wanted.name = wanted.alias.clone();
            }
            wanted.enabled = true;
        }
        self.children = children;
        let all = coalesce_values(self, values, false)?;
        self.tags(&all);
        self.conditions(&all, path);
        let off: Vec<String> = self
            .metadata
            .dependencies
            .iter()
            .filter(|wanted| !wanted.enabled)
            .map(|wanted| wanted.name.clone())
            .collect();
        self.children.retain(|child| !off.contains(&child.metadata.name));
        self.metadata.dependencies.retain(|wanted| !off.contains(&wanted.name));
        for child in &mut self.children {
            let path = format!("{path}{}.", child.metadata.name);
            child.enable(&all, &path)?;
        }
        Ok(())
    }

    fn separate(&mut self) {
        self.values = values::deep_dict(&self.values);
        self.children.iter_mut().for_each(Live::separate);
    }

    fn tags(&mut self, values: &Rc<Dict>) {
        let Some(tags) = table_at(values, "tags") else { return };
        for wanted in &mut self.metadata.dependencies {
            let said: Vec<bool> = wanted
                .tags
                .iter()
                .filter_map(|tag| match tags.peek(|map| map.get(tag.as_bytes()).cloned()) {
                    Some(Value::Bool(on)) => Some(on),
                    _ => None,
                })
                .collect();
            wanted.enabled = said.is_empty() || said.contains(&true);
        }
    }

    fn conditions(&mut self, values: &Rc<Dict>, path: &str) {
        for wanted in &mut self.metadata.dependencies {
            for condition in wanted.condition.trim().split(',').filter(|condition| !condition.is_empty()) {
                if let Some(Value::Bool(on)) = value_at(values, &format!("{path}{condition}")) {
                    wanted.enabled = on;
                    break;
                }
            }
        }
    }

    fn import(&mut self) -> Result<(), Error> {
        for child in &mut self.children {
            child.import()?;
        }
        if self.metadata.dependencies.is_empty() {
            return Ok(());
        }
        let all = coalesce_values(self, &new_dict(Map::new()), true)?;
        let imported = new_dict(Map::new());
        for wanted in &mut self.metadata.dependencies {
            let mut kept = Vec::new();
            for import in &wanted.imports {
                let (child, parent, told) = match import {
                    Import::Pair { child, parent } => (child.clone(), parent.clone(), import.clone()),
                    Import::Export(name) => {
                        let child = format!("exports.{name}");
                        let told = Import::Pair { child: child.clone(), parent: ".".to_owned() };
                        (child, ".".to_owned(), told)
                    }
                    Import::Other => continue,
                };
                kept.push(told);
                let Some(found) = table_at(&all, &format!("{}.{child}", wanted.name)) else { continue };
                let mut wrapped = found;
                if parent != "." {
                    for part in parent.rsplit('.') {
                        wrapped = new_dict([(Str::from(part), Value::Dict(wrapped))].into_iter().collect());
                    }
                }
                values::tables(&imported, &wrapped, true, DEPTH);
            }
            wanted.imports = kept;
        }
        let all = values::deep_dict(&all);
        values::tables(&all, &imported, true, DEPTH);
        self.values = all;
        Ok(())
    }
}
