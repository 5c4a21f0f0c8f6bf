//! Transformers and generators that a kustomization configures: by its own fields, or by files under `transformers` and
//! `generators` that name one of kustomize's built-in plugins. Nothing is ever executed.

use crate::yaml::Mark;

use super::{
    Error, Problem,
    fieldspec::FieldSpec,
    folder::Folder,
    generator::Generator,
    images::Image,
    names::End,
    namespace::{Namespace, Subjects},
    node::Node,
    patch::{Patch, Source, json},
    read::{self, Section, Written},
    replacements::Replacement,
    replicas::Replica,
    resource::Resource,
    selector::{self, Selector},
    transform::{Action, Transformer},
    value_add::ValueAdd,
};

/// Reads the text of a patch entry: inline, or from a file.
struct PatchText {
    file: String,
    text: String,
    line: u32,
}

impl PatchText {
    fn read(section: &Section<'_>, inline: &str, folder: &Folder<'_>) -> Result<PatchText, Error> {
        let (text, path) = (section.text_or_empty(inline)?, section.text_or_empty("path")?);
        let fail = |problem: Problem| Err(problem.at(section.file, section.node.at));
        match (text.trim().is_empty(), path.is_empty()) {
            (true, true) => fail(Problem::NoPatch),
            (false, false) => fail(Problem::TwoPatches),
            (false, true) => {
                let at = section.get(inline).map_or(section.node.at, |node| node.at);
                // The text of a block begins in the line below its indicator.
                let line = if text.contains('\n') { at.line + 1 } else { at.line };
                Ok(PatchText { file: section.file.to_owned(), text: text.trim().to_owned(), line })
            }
            (true, false) => {
                let at = section.get("path").map_or(section.node.at, |node| node.at);
                let (file, content) = folder.load(&Written { text: path, at }, section.file)?;
                let text = String::from_utf8(content.to_vec()).map_err(|_| Problem::NotText.at(&file, Mark::START))?;
                Ok(PatchText { file, text, line: 1 })
            }
        }
    }

    fn source(&self) -> Source<'_> {
        Source { file: &self.file, text: &self.text, line: self.line }
    }
}

/// Reads an entry of `patches`.
pub(super) fn patch(section: &Section<'_>, folder: &Folder<'_>, strict: bool) -> Result<Action, Error> {
    if strict {
        section.only(&["path", "patch", "target", "options"])?;
    }
    let text = PatchText::read(section, "patch", folder)?;
    let mut patch = Patch::read(&text.source())?;
    let options = section.flag_map("options")?;
    let is_on = |name: &str| options.get(name).copied().unwrap_or_default();
    patch.allow(is_on("allowNameChange"), is_on("allowKindChange"));
    let target = section.section("target")?;
    if strict && let Some(target) = &target {
        target.only(selector::FIELDS)?;
    }
    Ok(Action::Patch { patch, target: target.map(|target| Selector::read(&target)).transpose()? })
}

/// Reads an entry of `patchesJson6902`.
pub(super) fn json_patch(
    section: &Section<'_>,
    inline: &'static str,
    folder: &Folder<'_>,
    strict: bool,
) -> Result<Action, Error> {
    if strict {
        section.only(&["path", inline, "target", "options"])?;
    }
    let fail = |problem: Problem| Err(problem.at(section.file, section.node.at));
    let Some(target) = section.section("target")? else { return fail(Problem::TargetMissing) };
    let target = Selector::read(&target)?;
    if target.name.is_empty() {
        return fail(Problem::TargetName);
    }
    let text = PatchText::read(section, inline, folder)?;
    match json::read(&text.file, &text.text, text.line)? {
        Some(operations) if !operations.is_empty() => Ok(Action::Json { operations, target }),
        _ => Err(Problem::NoJsonPatch.at(&text.file, Mark { line: text.line, column: 1 })),
    }
}

/// Reads an entry of `patchesStrategicMerge`: the patch itself, or the file that holds it.
pub(super) fn merge_patch(written: &Written, file: &str, folder: &Folder<'_>) -> Result<Vec<Resource>, Error> {
    let line = if written.text.contains('\n') { written.at.line + 1 } else { written.at.line };
    let inline = Source { file, text: &written.text, line };
    if let Ok(found) = inline.resources() {
        return Ok(found);
    }
    let (name, content) = folder.load(written, file)?;
    let text = String::from_utf8(content.to_vec()).map_err(|_| Problem::NotText.at(&name, Mark::START))?;
    Source { file: &name, text: &text, line: 1 }.resources()
}

/// Reads an entry of `replacements`, which may name a file of them.
pub(super) fn replacements(
    section: &Section<'_>,
    folder: &Folder<'_>,
    strict: bool,
) -> Result<Vec<Replacement>, Error> {
    let path = section.text_or_empty("path")?;
    if path.is_empty() {
        return Ok(vec![Replacement::read(section, strict)?]);
    }
    if section.get("source").is_some() || section.get("targets").is_some() {
        return Err(Problem::ReplacementPath.at(section.file, section.node.at));
    }
    let at = section.get("path").map_or(section.node.at, |node| node.at);
    let (file, content) = folder.load(&Written { text: path, at }, section.file)?;
    let text = std::str::from_utf8(&content).map_err(|_| Problem::NotText.at(&file, Mark::START))?;
    let document = read::document(&file, text)?;
    match document.as_seq() {
        Some(items) => items.iter().map(|item| Replacement::read(&Section::new(&file, item)?, false)).collect(),
        None => Ok(vec![Replacement::read(&Section::new(&file, &document)?, false)?]),
    }
}

fn specs(section: &Section<'_>) -> Result<Vec<FieldSpec>, Error> {
    section.sections("fieldSpecs")?.iter().map(FieldSpec::read).collect()
}

/// Demands one of kustomize's own plugins.
fn builtin(resource: &Resource) -> Result<(), Error> {
    if resource.api_version() == "builtin" {
        return Ok(());
    }
    let problem = Problem::ForeignPlugin { kind: resource.kind().to_owned() };
    Err(problem.at(&resource.origin.file, resource.at()))
}

/// Makes the transformers that a resource of `transformers` configures.
///
/// # Errors
/// It is no built-in transformer, or badly configured.
pub(super) fn transformers(resource: &Resource, folder: &Folder<'_>) -> Result<Vec<Transformer>, Error> {
    builtin(resource)?;
    let file = resource.origin.file.clone();
    let document = resource.node.finish().map_err(|problem| problem.at(&file, resource.at()))?;
    let section = Section::new(&file, &document)?;
    let fail = |problem: Problem| Err(problem.at(&file, resource.at()));
    let extend = |end: End, text: String, specs: Vec<FieldSpec>| Action::Extend { end, text, specs };
    let actions = match resource.kind() {
        "AnnotationsTransformer" => {
            vec![Action::Entries { entries: section.text_map("annotations")?, specs: specs(&section)? }]
        }
        "LabelTransformer" => vec![Action::Entries { entries: section.text_map("labels")?, specs: specs(&section)? }],
        "HashTransformer" => vec![Action::Hash],
        "ImageTagTransformer" => {
            let image = section.section("imageTag")?.map(|image| Image::read(&image)).transpose()?;
            vec![Action::Image { image: image.unwrap_or_default(), specs: specs(&section)? }]
        }
        "NamespaceTransformer" => vec![Action::Namespace(namespace(&section)?)],
        "PatchTransformer" => vec![patch(&section, folder, false)?],
        "PatchJson6902Transformer" => vec![json_patch(&section, "jsonOp", folder, false)?],
        "PatchStrategicMergeTransformer" => vec![Action::MergeByName(merge_patches(&section, folder)?)],
        "PrefixTransformer" | "SuffixTransformer" | "PrefixSuffixTransformer" => {
            let specs = specs(&section)?;
            if section.get("fieldSpecs").is_none() {
                return fail(Problem::SpecsMissing);
            }
            let mut actions = Vec::new();
            if resource.kind() != "SuffixTransformer" {
                actions.push(extend(End::Prefix, section.text_or_empty("prefix")?, specs.clone()));
            }
            if resource.kind() != "PrefixTransformer" {
                actions.push(extend(End::Suffix, section.text_or_empty("suffix")?, specs));
            }
            actions
        }
        "ReplacementTransformer" => {
            let mut all = Vec::new();
            for item in section.sections("replacements")? {
                all.extend(replacements(&item, folder, false)?);
            }
            vec![Action::Replacements(all)]
        }
        "ReplicaCountTransformer" => {
            let replica = section.section("replica")?.map(|replica| Replica::read(&replica)).transpose()?;
            vec![Action::Replica { replica: replica.unwrap_or_default(), specs: specs(&section)? }]
        }
        "ValueAddTransformer" => vec![Action::ValueAdd(value_add(&section, folder)?)],
        kind => return fail(Problem::UnknownPlugin { kind: kind.to_owned(), what: "transformer" }),
    };
    let count = actions.len();
    let make = |(index, action)| {
        let step = resource.trail.as_plugin(resource).filter(|_| index + 1 == count);
        Transformer { action, file: file.clone(), at: resource.at(), step }
    };
    Ok(actions.into_iter().enumerate().map(make).collect())
}

fn namespace(section: &Section<'_>) -> Result<Namespace, Error> {
    let metadata = section.section("metadata")?;
    let name = metadata.map(|metadata| metadata.text_or_empty("namespace")).transpose()?;
    let subjects = match section.text_or_empty("setRoleBindingSubjects")?.as_str() {
        "" | "defaultOnly" => Subjects::Default,
        "allServiceAccounts" => Subjects::ServiceAccounts,
        "none" => Subjects::None,
        found => return Err(Problem::Subjects { found: found.to_owned() }.at(section.file, section.node.at)),
    };
    Ok(Namespace {
        name: name.unwrap_or_default(),
        specs: specs(section)?,
        unset_only: section.flag("unsetOnly")?,
        subjects,
    })
}

fn merge_patches(section: &Section<'_>, folder: &Folder<'_>) -> Result<Vec<Resource>, Error> {
    let mut found = Vec::new();
    for path in section.texts("paths")? {
        found.extend(merge_patch(&path, section.file, folder)?);
    }
    let inline = section.text_or_empty("patches")?;
    if !inline.is_empty() {
        let at = section.get("patches").map_or(section.node.at, |node| node.at);
        found.extend(Source { file: section.file, text: &inline, line: at.line + 1 }.resources()?);
    }
    if found.is_empty() { Err(Problem::NoPatch.at(section.file, section.node.at)) } else { Ok(found) }
}

fn value_add(section: &Section<'_>, folder: &Folder<'_>) -> Result<ValueAdd, Error> {
    let path = section.text_or_empty("targetFilePath")?;
    if path.is_empty() {
        return ValueAdd::read(section, folder.base_name(), &[]);
    }
    let (file, content) = folder.load(&Written { text: path, at: section.node.at }, section.file)?;
    let text = std::str::from_utf8(&content).map_err(|_| Problem::NotText.at(&file, Mark::START))?;
    let document = read::document(&file, text)?;
    let more = Section::new(&file, &document)?.sections("targets")?;
    ValueAdd::read(section, folder.base_name(), &more)
}

/// Makes the service account of the `IAMPolicyGenerator`, which is bound to one of the cloud's.
fn cloud_account(section: &Section<'_>) -> Result<Resource, Error> {
    let at = section.node.at;
    let fail = |problem: Problem| problem.at(section.file, at);
    let cloud = section.text_or_empty("cloud")?;
    if cloud != "gke" {
        return Err(fail(Problem::Cloud { found: cloud }));
    }
    let part = |name: &str, field: &str| -> Result<String, Error> {
        Ok(section.section(name)?.map(|part| part.text_or_empty(field)).transpose()?.unwrap_or_default())
    };
    let (account, project) = (part("serviceAccount", "name")?, part("serviceAccount", "projectId")?);
    let mut node = Node::map();
    node.at = at;
    let fill = |node: &mut Node, fields: [(&str, String); 2]| {
        fields.into_iter().try_for_each(|(name, text)| node.set(name, Node::text(text)))
    };
    fill(&mut node, [("apiVersion", "v1".to_owned()), ("kind", "ServiceAccount".to_owned())]).map_err(fail)?;
    let mut made = Resource::new(node, section.file);
    let annotation = format!("{account}@{project}.iam.gserviceaccount.com");
    let annotations = [("iam.gke.io/gcp-service-account".to_owned(), annotation)].into();
    made.set_metadata_map("annotations", annotations).map_err(fail)?;
    made.set_name(&part("kubernetesService", "name")?).map_err(fail)?;
    made.set_namespace(&part("kubernetesService", "namespace")?).map_err(fail)?;
    Ok(made)
}

/// What a resource of `generators` makes.
pub(super) enum Made {
    Resource(Box<Resource>),
    /// The manifests of a chart: to be asked for with this configuration.
    Chart(crate::yaml::Node),
}

/// Runs the generator that a resource of `generators` configures.
///
/// # Errors
/// It is no built-in generator, or badly configured.
pub(super) fn generate(resource: &Resource, folder: &Folder<'_>) -> Result<Made, Error> {
    builtin(resource)?;
    let file = resource.origin.file.clone();
    let document = resource.node.finish().map_err(|problem| problem.at(&file, resource.at()))?;
    let section = Section::new(&file, &document)?;
    match resource.kind() {
        kind @ ("ConfigMapGenerator" | "SecretGenerator") => {
            let mut generator = Generator::read(&section, kind == "SecretGenerator", false)?;
            if generator.name.is_empty() {
                resource.name().clone_into(&mut generator.name);
            }
            if generator.namespace.is_empty() {
                resource.namespace().clone_into(&mut generator.namespace);
            }
            let made = generator.make(folder, &file, resource.at().line)?;
            Ok(Made::Resource(Box::new(made)))
        }
        "HelmChartInflationGenerator" => Ok(Made::Chart(document)),
        "IAMPolicyGenerator" => Ok(Made::Resource(Box::new(cloud_account(&section)?))),
        kind => {
            let problem = Problem::UnknownPlugin { kind: kind.to_owned(), what: "generator" };
            Err(problem.at(&file, resource.at()))
        }
    }
}
