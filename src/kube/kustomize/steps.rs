//! The transformers that a kustomization's own fields ask for, in the order in which they work.

use crate::yaml::Mark;

use super::{
    Error, Problem,
    accumulate::{Builder, Target},
    config::Config,
    fieldspec::{FieldSpec, merge_all, merge_one},
    images::{self, Image},
    names::End,
    namespace::{Namespace, Subjects},
    order::Order,
    plugins,
    read::Section,
    replicas::Replica,
    transform::{Action, Transformer},
};

impl<'a> Builder<'a> {
    /// Returns the transformers of a kustomization in the order in which they work.
    pub(super) fn transformers(&mut self, target: &Target<'a>, config: &Config) -> Result<Vec<Transformer>, Error> {
        let top = target.kustomization.top();
        let mut found = Vec::new();
        let mut add = |action: Action, at: Mark, kind: &str| {
            let step = self.step(target, kind);
            found.push(Transformer { action, file: top.file.to_owned(), at, step });
        };
        let mut patches = Vec::new();
        for written in top.texts("patchesStrategicMerge")? {
            patches.extend(plugins::merge_patch(&written, top.file, &target.folder)?);
        }
        if !patches.is_empty() {
            let at = target.kustomization.place("patchesStrategicMerge");
            add(Action::MergeByName(patches), at, "PatchStrategicMergeTransformer");
        }
        for section in top.sections("patches")? {
            add(plugins::patch(&section, &target.folder, true)?, section.node.at, "PatchTransformer");
        }
        let name = top.text_or_empty("namespace")?;
        if !name.is_empty() {
            let specs = config.namespace.clone();
            let namespace = Namespace { name, specs, unset_only: false, subjects: Subjects::Default };
            add(Action::Namespace(namespace), target.kustomization.place("namespace"), "NamespaceTransformer");
        }
        for (field, end, specs, kind) in [
            ("namePrefix", End::Prefix, &config.name_prefix, "PrefixTransformer"),
            ("nameSuffix", End::Suffix, &config.name_suffix, "SuffixTransformer"),
        ] {
            let text = top.text_or_empty(field)?;
            if !text.is_empty() {
                add(Action::Extend { end, text, specs: specs.clone() }, target.kustomization.place(field), kind);
            }
        }
        for section in top.sections("labels")? {
            let action = labels(&section, config)?;
            add(action, section.node.at, "LabelTransformer");
        }
        let entries = top.text_map("commonLabels")?;
        if !entries.is_empty() || top.get("labels").is_some() {
            let specs = config.common_labels.clone();
            let at = target.kustomization.place("commonLabels");
            add(Action::Entries { entries, specs }, at, "LabelTransformer");
        }
        let entries = top.text_map("commonAnnotations")?;
        if !entries.is_empty() {
            let specs = config.annotations.clone();
            let at = target.kustomization.place("commonAnnotations");
            add(Action::Entries { entries, specs }, at, "AnnotationsTransformer");
        }
        for section in top.sections("patchesJson6902")? {
            let action = plugins::json_patch(&section, "patch", &target.folder, true)?;
            add(action, section.node.at, "PatchJson6902Transformer");
        }
        for section in top.sections("replicas")? {
            section.only(&["name", "count"])?;
            let action = Action::Replica { replica: Replica::read(&section)?, specs: config.replicas.clone() };
            add(action, section.node.at, "ReplicaCountTransformer");
        }
        for section in top.sections("images")?.into_iter().chain(top.sections("imageTags")?) {
            section.only(images::FIELDS)?;
            let action = Action::Image { image: Image::read(&section)?, specs: config.images.clone() };
            add(action, section.node.at, "ImageTagTransformer");
        }
        let mut all = Vec::new();
        for section in top.sections("replacements")? {
            all.extend(plugins::replacements(&section, &target.folder, true)?);
        }
        if !all.is_empty() {
            add(Action::Replacements(all), target.kustomization.place("replacements"), "ReplacementTransformer");
        }
        found.extend(self.external_transformers(target, "transformers")?);
        Ok(found)
    }
}

fn labels(section: &Section<'_>, config: &Config) -> Result<Action, Error> {
    section.only(&["pairs", "includeSelectors", "includeTemplates", "fields"])?;
    let mut specs: Vec<FieldSpec> = Vec::new();
    for spec in section.sections("fields")? {
        spec.only(&["group", "version", "kind", "path", "create"])?;
        specs.push(FieldSpec::read(&spec)?);
    }
    let selectors = section.flag("includeSelectors")?;
    let templates = section.flag("includeTemplates")?;
    let merged = merge_all(&mut specs, &config.labels).and_then(|()| {
        if selectors {
            return merge_all(&mut specs, &config.common_labels);
        }
        if templates {
            merge_all(&mut specs, &config.template_labels)?;
        }
        merge_one(&mut specs, FieldSpec::any("metadata/labels", true))
    });
    merged.map_err(|problem| problem.at(section.file, section.node.at))?;
    Ok(Action::Entries { entries: section.text_map("pairs")?, specs })
}

/// Reads how the result is sorted.
///
/// # Errors
/// An unknown order, or options of another one.
pub(super) fn order(top: &Section<'_>) -> Result<Order, Error> {
    let Some(options) = top.section("sortOptions")? else { return Ok(Order::by_kind()) };
    options.only(&["order", "legacySortOptions"])?;
    let legacy = options.section("legacySortOptions")?;
    let fail = |problem: Problem| Err(problem.at(top.file, options.node.at));
    match (options.text_or_empty("order")?.as_str(), legacy) {
        ("fifo", None) => Ok(Order::Fifo),
        ("legacy", None) => Ok(Order::by_kind()),
        ("legacy", Some(legacy)) => {
            legacy.only(&["orderFirst", "orderLast"])?;
            let kinds = |field: &str| -> Result<Vec<String>, Error> {
                Ok(legacy.texts(field)?.into_iter().map(|kind| kind.text).collect())
            };
            Ok(Order::Legacy { first: kinds("orderFirst")?, last: kinds("orderLast")? })
        }
        ("fifo", Some(_)) => fail(Problem::FifoOptions),
        (found, _) => fail(Problem::SortOrder { found: found.to_owned() }),
    }
}
