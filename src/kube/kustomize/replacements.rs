//! Replacements: the value of one field, copied into others.

use super::{
    Error, Problem,
    id::Id,
    node::{Content, Node, Tag, check_text},
    path::{self, Kind},
    read::Section,
    resource::Resource,
    schema::Schemas,
    selector::{self, Selector},
    set::Set,
};

const DEFAULT_PATH: &str = "metadata.name";

/// How a field is split or joined.
#[derive(Clone, Debug, Default)]
struct Options {
    delimiter: String,
    index: i64,
    create: bool,
}

#[derive(Clone, Debug)]
struct Target {
    select: Option<Selector>,
    reject: Vec<Selector>,
    paths: Vec<String>,
    options: Options,
}

#[derive(Clone, Debug)]
enum From {
    Value(String),
    Field { of: Box<Selector>, path: String, options: Options },
    Both,
    Nothing,
}

/// Holds one replacement.
#[derive(Clone, Debug)]
pub(super) struct Replacement {
    from: From,
    targets: Option<Vec<Target>>,
}

fn options(section: &Section<'_>, strict: bool) -> Result<Options, Error> {
    let Some(options) = section.section("options")? else { return Ok(Options::default()) };
    if strict {
        options.only(&["delimiter", "index", "encoding", "create"])?;
    }
    Ok(Options {
        delimiter: options.text_or_empty("delimiter")?,
        index: options.number("index")?.unwrap_or_default(),
        create: options.flag("create")?,
    })
}

impl Replacement {
    /// Reads a replacement; `strict` refuses unknown fields.
    pub(super) fn read(section: &Section<'_>, strict: bool) -> Result<Replacement, Error> {
        if strict {
            section.only(&["source", "targets", "sourceValue", "path"])?;
        }
        let source = match section.section("source")? {
            None => None,
            Some(source) => {
                if strict {
                    source.only(&["group", "version", "kind", "name", "namespace", "fieldPath", "options"])?;
                }
                let path = source.text_or_empty("fieldPath")?;
                Some(From::Field { of: Box::new(Selector::read(&source)?), path, options: options(&source, strict)? })
            }
        };
        let from = match (section.text("sourceValue")?, source) {
            (None, None) => From::Nothing,
            (Some(value), None) => From::Value(value),
            (None, Some(source)) => source,
            (Some(_), Some(_)) => From::Both,
        };
        let mut targets = Vec::new();
        for target in section.sections("targets")? {
            if strict {
                target.only(&["select", "reject", "fieldPaths", "options"])?;
            }
            let read = |section: &Section<'_>| {
                if strict {
                    section.only(selector::FIELDS)?;
                }
                Selector::read(section)
            };
            targets.push(Target {
                select: target.section("select")?.as_ref().map(read).transpose()?,
                reject: target.sections("reject")?.iter().map(read).collect::<Result<_, _>>()?,
                paths: target.texts("fieldPaths")?.into_iter().map(|path| path.text).collect(),
                options: options(&target, strict)?,
            });
        }
        Ok(Replacement { from, targets: section.get("targets").map(|_| targets) })
    }

    /// Copies the value.
    ///
    /// # Errors
    /// The source or a target field is not there, or not one.
    pub(super) fn apply(&self, set: &mut Set, schemas: &Schemas) -> Result<(), Problem> {
        let Some(targets) = &self.targets else { return Err(Problem::ReplacementParts) };
        let value = match &self.from {
            From::Nothing => return Err(Problem::ReplacementParts),
            From::Both => return Err(Problem::TwoSources),
            From::Value(text) => Node::scalar(text.clone(), Tag::Unset),
            From::Field { of, path, options } => source(set, of, path, options, schemas)?,
        };
        for target in targets {
            target.fill(set, &value, schemas)?;
        }
        Ok(())
    }
}

/// Returns the identities by which replacements know a resource: scopes are not looked up.
fn ids<'a>(resource: &'a Resource, schemas: &Schemas) -> Vec<Id<'a>> {
    let current = Id { cluster: false, ..resource.id(schemas) };
    std::iter::once(current).chain(resource.former_ids()).collect()
}

fn source(set: &Set, of: &Selector, path: &str, options: &Options, schemas: &Schemas) -> Result<Node, Problem> {
    let is_it = |item: &&Resource| ids(item, schemas).iter().any(|id| of.fits_exactly(id));
    let found: Vec<&Resource> = set.items.iter().filter(is_it).collect();
    let item = match found[..] {
        [one] => one,
        [] => return Err(Problem::NoSource { wanted: of.label() }),
        _ => return Err(Problem::ManySources { wanted: of.label(), count: found.len() }),
    };
    let path = if path.is_empty() { DEFAULT_PATH } else { path };
    let value = path::lookup(&item.node, &path::split(path)).map_err(|problem| problem.of(item.label()))?;
    let Some(value) = value.filter(|value| !value.is_void()) else {
        return Err(Problem::NoSourceField { path: path.to_owned(), resource: item.label() });
    };
    if options.delimiter.is_empty() {
        return Ok(value.clone());
    }
    let Content::Scalar(scalar) = &value.content else {
        return Err(Problem::DelimiterOfMany { path: path.to_owned() });
    };
    let parts: Vec<&str> = scalar.text.split(&options.delimiter).collect();
    let part = usize::try_from(options.index).ok().and_then(|index| parts.get(index));
    let Some(part) = part else {
        return Err(Problem::Index { part: options.index.to_string(), length: parts.len() });
    };
    let mut value = value.clone();
    if let Content::Scalar(scalar) = &mut value.content {
        scalar.text = (*part).to_owned();
    }
    Ok(value)
}

impl Target {
    fn fill(&self, set: &mut Set, value: &Node, schemas: &Schemas) -> Result<(), Problem> {
        let Some(select) = &self.select else { return Err(Problem::NoSelect) };
        for item in &mut set.items {
            if !select.fits_metadata(item)? {
                continue;
            }
            let mut rejected = false;
            for reject in &self.reject {
                let by_metadata = !(reject.labels.is_empty() && reject.annotations.is_empty());
                rejected |= by_metadata && reject.fits_metadata(item)?;
            }
            let ids = ids(item, schemas);
            let is_rejected =
                |id: &Id<'_>| self.reject.iter().any(|reject| !reject.names_nothing() && reject.fits_exactly(id));
            if rejected || !ids.iter().any(|id| select.fits_exactly(id)) || ids.iter().any(is_rejected) {
                continue;
            }
            let label = item.label();
            let written = self.write(&mut item.node, value).and_then(|()| item.node.check_size());
            written.map_err(|problem| problem.of(label))?;
        }
        Ok(())
    }

    fn write(&self, resource: &mut Node, value: &Node) -> Result<(), Problem> {
        let default = [DEFAULT_PATH.to_owned()];
        let paths = if self.paths.is_empty() { &default[..] } else { &self.paths };
        for written in paths {
            let create = self.options.create.then(|| Kind::of(value));
            let in_field = |problem| Problem::InField { path: written.clone(), problem: Box::new(problem) };
            let places = path::pick(resource, &path::split(written), create).map_err(in_field)?;
            if places.is_empty() {
                return Err(Problem::NoTargetField { path: written.clone() });
            }
            for place in places {
                if let Some(field) = path::follow(resource, &place) {
                    self.write_field(field, value, written)?;
                }
            }
        }
        Ok(())
    }

    fn write_field(&self, field: &mut Node, value: &Node, path: &str) -> Result<(), Problem> {
        let mut text = value.written().to_owned();
        if !self.options.delimiter.is_empty() {
            let Content::Scalar(scalar) = &field.content else {
                return Err(Problem::DelimiterOfMany { path: path.to_owned() });
            };
            let mut parts: Vec<&str> = scalar.text.split(&self.options.delimiter).collect();
            match usize::try_from(self.options.index) {
                Err(_) => parts.insert(0, &text),
                Ok(index) if index >= parts.len() => parts.push(&text),
                Ok(index) => parts[index] = &text,
            }
            text = parts.join(&self.options.delimiter);
        }
        check_text(text.len())?;
        match &mut field.content {
            // Only the text moves, so that a number stays a number and a text a text.
            Content::Scalar(scalar) => scalar.text = text,
            content => {
                *content = value.content.clone();
                if let Content::Scalar(scalar) = content {
                    scalar.text = text;
                }
            }
        }
        Ok(())
    }
}
