//! The build: kustomizations from the innermost to the outermost, and what happens once at the end.
//!
//! ```text
//!  resources → generators → components → transformers → validators     for each kustomization
//!  hashes → references → variables → order → annotations               once, for the outermost
//! ```

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{
    error::{Diagnostic, Location},
    yaml::Mark,
};

use super::{
    Environment, Error, Limits, Problem, chart,
    config::Config,
    crds,
    fieldspec::FieldSpec,
    folder::{Entry, Folder},
    generator::{Generator, Options},
    kustomization::Kustomization,
    load,
    node::Node,
    plugins::{self, Made},
    read::{Section, Written},
    refs,
    resource::Resource,
    schema::{Own, Schemas},
    set::Set,
    steps,
    trail::{self, Step, Wanted},
    transform::{Transformer, add_hashes},
    vars::{self, Var},
};

/// What one kustomization has put together.
#[derive(Default)]
struct Accumulator {
    set: Set,
    config: Config,
    vars: BTreeMap<String, Var>,
}

/// A kustomization that is being built.
pub(super) struct Target<'a> {
    pub(super) folder: Folder<'a>,
    pub(super) kustomization: Kustomization,
    /// The folder as the trail names it: the written paths from the outermost kustomization, joined.
    trail: String,
}

pub(super) struct Builder<'a> {
    env: &'a Environment<'a>,
    schemas: Schemas,
    /// Whether some kustomization has said which schema counts; the first one does.
    schema_chosen: bool,
    traced: bool,
    /// The folders that are being built, the outermost first.
    stack: Vec<Folder<'a>>,
    resources: usize,
    bytes: usize,
    pub(super) warnings: Vec<Diagnostic>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(env: &'a Environment<'a>) -> Self {
        Builder {
            env,
            schemas: Schemas::default(),
            schema_chosen: false,
            traced: false,
            stack: Vec::new(),
            resources: 0,
            bytes: 0,
            warnings: Vec::new(),
        }
    }

    /// Builds the outermost kustomization.
    ///
    /// # Errors
    /// The first mistake, with its place.
    pub(super) fn build(&mut self, folder: Folder<'a>) -> Result<Vec<Resource>, Error> {
        let target = self.target(folder, String::new())?;
        let top = target.kustomization.top();
        let file = target.kustomization.file.clone();
        let mut wanted = Wanted::default();
        for option in top.texts("buildMetadata")? {
            match option.text.as_str() {
                "originAnnotations" => wanted.origins = true,
                "transformerAnnotations" => wanted.transformations = true,
                "managedByLabel" => wanted.managed_by = true,
                _ => return Err(Problem::BuildMetadata { found: option.text }.at(&file, option.at)),
            }
        }
        self.traced = wanted != Wanted::default();
        let order = steps::order(&top)?;
        self.choose_schema(&target)?;
        self.stack.push(target.folder.clone());
        let mut result = self.accumulate(&target, Accumulator::default())?;
        let at = |problem: Problem| problem.at(&file, Mark::START);
        let schemas = &self.schemas;
        add_hashes(&mut result.set, schemas).map_err(at)?;
        refs::mend(&mut result.set, &result.config.name_references, schemas).map_err(at)?;
        let unused = vars::resolve(&mut result.set, &result.vars, &result.config.var_references);
        for name in unused.map_err(|problem| problem.at(&file, target.kustomization.place("vars")))? {
            let message = format!("variable `{name}` is used nowhere");
            self.warnings.push(Diagnostic::warning("kustomize-unused-var", message).at(Location::new(&file, 1, 1)));
        }
        result.set.items.retain(|item| {
            let local = item.annotations().remove("config.kubernetes.io/local-config");
            local.is_none_or(|local| local == "false")
        });
        order.sort(&mut result.set, schemas).map_err(at)?;
        if wanted.managed_by {
            let entries = BTreeMap::from([("app.kubernetes.io/managed-by".to_owned(), MANAGED_BY.to_owned())]);
            let specs = [FieldSpec::any("metadata/labels", true)];
            super::labels::apply(&mut result.set, &entries, &specs).map_err(at)?;
        }
        for item in &mut result.set.items {
            trail::finish(item, wanted).map_err(at)?;
        }
        Ok(result.set.items)
    }

    fn target(&mut self, folder: Folder<'a>, trail: String) -> Result<Target<'a>, Error> {
        let (name, file, content) = folder.kustomization().map_err(|p| p.at(&folder.display(), Mark::START))?;
        let kustomization = Kustomization::read(name, file, &content)?;
        self.warnings.extend(kustomization.warnings());
        Ok(Target { folder, kustomization, trail })
    }

    /// Takes the schema that `openapi` names, unless one was named before.
    fn choose_schema(&mut self, target: &Target<'_>) -> Result<(), Error> {
        let top = target.kustomization.top();
        let named = top.text_map("openapi")?;
        let fail = |problem: Problem| Err(problem.at(top.file, target.kustomization.place("openapi")));
        let content = match named.get("path") {
            None => None,
            Some(path) => {
                let written = Written { text: path.clone(), at: target.kustomization.place("openapi") };
                Some(target.folder.load(&written, top.file)?)
            }
        };
        if self.schema_chosen {
            return Ok(());
        }
        match (content, named.get("version")) {
            (Some(_), Some(_)) => fail(Problem::TwoSchemas),
            (Some((file, content)), None) => {
                let own = Own::read(&text_of(&file, &content)?).map_err(|problem| problem.at(&file, Mark::START))?;
                self.schemas.describe(own);
                self.schema_chosen = true;
                Ok(())
            }
            (None, Some(version)) if !version.is_empty() => {
                self.schema_chosen = true;
                if version == "v1.21.2" { Ok(()) } else { fail(Problem::SchemaVersion { found: version.clone() }) }
            }
            (None, _) => Ok(()),
        }
    }

    fn accumulate(&mut self, target: &Target<'a>, mut acc: Accumulator) -> Result<Accumulator, Error> {
        let kustomization = &target.kustomization;
        let top = kustomization.top();
        for written in kustomization.resources()? {
            self.resource(target, &written, &mut acc)?;
        }
        let mut config = Config::built_in();
        for written in top.texts("configurations")? {
            let (file, content) = target.folder.load(&written, top.file)?;
            let more = Config::read(&file, &text_of(&file, &content)?)?;
            config.merge(&more).map_err(|problem| problem.at(&file, Mark::START))?;
        }
        acc.config.merge(&config).map_err(|p| p.at(top.file, kustomization.place("configurations")))?;
        for written in top.texts("crds")? {
            let (file, content) = target.folder.load(&written, top.file)?;
            let more = crds::read(&file, &text_of(&file, &content)?)?;
            acc.config.merge(&more).map_err(|problem| problem.at(&file, Mark::START))?;
        }
        self.generate(target, &mut acc)?;
        for written in top.texts("components")? {
            acc = self.component(target, &written, acc)?;
        }
        for transformer in self.transformers(target, &acc.config)? {
            transformer.apply(&mut acc.set, &self.schemas)?;
        }
        for transformer in self.external_transformers(target, "validators")? {
            let before: Vec<Node> = acc.set.items.iter().map(|item| item.node.clone()).collect();
            transformer.apply(&mut acc.set, &self.schemas)?;
            if acc.set.items.iter().map(|item| &item.node).ne(&before) {
                return Err(Problem::ValidatorChanges.at(&transformer.file, transformer.at));
            }
        }
        for section in top.sections("vars")? {
            let var = Var::read(&section)?;
            var.bind(&mut acc.set, &self.schemas).map_err(|problem| problem.at(top.file, section.node.at))?;
            add_var(&mut acc.vars, var).map_err(|problem| problem.at(top.file, section.node.at))?;
        }
        Ok(acc)
    }

    /// Adds what one entry of `resources` means.
    fn resource(&mut self, target: &Target<'a>, written: &Written, acc: &mut Accumulator) -> Result<(), Error> {
        let file = &target.kustomization.file;
        match target.folder.open(written, file)? {
            Entry::File { name, content } => {
                let mut found = self.load(&name, &content)?;
                if self.traced {
                    let path = join_trail(&target.trail, &written.text);
                    found.iter_mut().for_each(|r| r.trail.begin(Step { path: path.clone(), ..Step::default() }));
                }
                self.append(&mut acc.set, found)
            }
            Entry::Folder(folder) => {
                let trail = join_trail(&target.trail, &written.text);
                let inner = self.enter(folder, trail, written, file)?;
                if inner.kustomization.is_component {
                    let problem = Problem::ComponentAsResource { path: written.text.clone() };
                    return Err(problem.at(file, written.at));
                }
                let built = self.accumulate(&inner, Accumulator::default())?;
                self.stack.pop();
                self.merge(acc, built, file, written.at)
            }
        }
    }

    fn component(&mut self, target: &Target<'a>, written: &Written, acc: Accumulator) -> Result<Accumulator, Error> {
        let file = &target.kustomization.file;
        let Entry::Folder(folder) = target.folder.open(written, file)? else {
            return Err(Problem::NoFileOrFolder { path: written.text.clone() }.at(file, written.at));
        };
        let inner = self.enter(folder, join_trail(&target.trail, &written.text), written, file)?;
        if !inner.kustomization.is_component {
            return Err(Problem::NoComponent { path: written.text.clone() }.at(file, written.at));
        }
        let built = self.accumulate(&inner, acc)?;
        self.stack.pop();
        Ok(built)
    }

    /// Opens the kustomization of a folder that another one names.
    fn enter(&mut self, folder: Folder<'a>, trail: String, written: &Written, file: &str) -> Result<Target<'a>, Error> {
        if self.stack.iter().any(|outer| folder.holds(outer)) {
            return Err(Problem::Cycle { path: written.text.clone() }.at(file, written.at));
        }
        if self.stack.len() >= self.env.limits.depth {
            return Err(Problem::TooDeep { limit: self.env.limits.depth }.at(file, written.at));
        }
        self.stack.push(folder.clone());
        let inner = self.target(folder, trail)?;
        self.choose_schema(&inner)?;
        Ok(inner)
    }

    fn load(&mut self, file: &str, content: &Bytes) -> Result<Vec<Resource>, Error> {
        let Limits { resources, bytes, .. } = self.env.limits;
        self.bytes = self.bytes.saturating_add(content.len());
        if self.bytes > bytes {
            return Err(Problem::TooLarge { limit: bytes }.at(file, Mark::START));
        }
        let found = load::resources(file, &text_of(file, content)?)?;
        self.resources = self.resources.saturating_add(found.len());
        if self.resources > resources {
            return Err(Problem::TooMany { limit: resources }.at(file, Mark::START));
        }
        Ok(found)
    }

    fn append(&self, set: &mut Set, found: Vec<Resource>) -> Result<(), Error> {
        for resource in found {
            let (origin, at) = (resource.origin.clone(), resource.at());
            set.append(resource, &self.schemas).map_err(|problem| problem.at(&origin.file, at))?;
        }
        Ok(())
    }

    fn merge(&self, acc: &mut Accumulator, built: Accumulator, file: &str, at: Mark) -> Result<(), Error> {
        self.append(&mut acc.set, built.set.items)?;
        acc.config.merge(&built.config).map_err(|problem| problem.at(file, at))?;
        for var in built.vars.into_values() {
            add_var(&mut acc.vars, var).map_err(|problem| problem.at(file, at))?;
        }
        Ok(())
    }

    pub(super) fn step(&self, target: &Target<'_>, kind: &str) -> Option<Step> {
        self.traced.then(|| Step::builtin(&join_trail(&target.trail, target.kustomization.name), kind))
    }

    fn generate(&mut self, target: &Target<'a>, acc: &mut Accumulator) -> Result<(), Error> {
        let top = target.kustomization.top();
        let global = top.section("generatorOptions")?.map(|options| Options::read(&options, true)).transpose()?;
        for (field, secret, kind) in
            [("configMapGenerator", false, "ConfigMapGenerator"), ("secretGenerator", true, "SecretGenerator")]
        {
            for section in top.sections(field)? {
                let mut generator = Generator::read(&section, secret, true)?;
                if let Some(global) = &global {
                    generator.options.merge_global(global);
                }
                let made = generator.make(&target.folder, top.file, section.node.at.line)?;
                self.absorb(acc, made, self.step(target, kind), top.file, section.node.at)?;
            }
        }
        let globals = top.section("helmGlobals")?;
        let home = globals.map(|globals| globals.text_or_empty("chartHome")).transpose()?.unwrap_or_default();
        if let Some(node) = top.get("helmChartInflationGenerator") {
            return Err(Problem::OldCharts.at(top.file, node.at));
        }
        for section in top.sections("helmCharts")? {
            let step = self.step(target, "HelmChartInflationGenerator");
            self.chart(target, &section, &home, true, step, acc)?;
        }
        for resource in self.plugin_resources(target, "generators")? {
            let step = resource.trail.as_plugin(&resource);
            match plugins::generate(&resource, &target.folder)? {
                Made::Resource(made) => self.absorb(acc, *made, step, &resource.origin.file, resource.at())?,
                Made::Chart(document) => {
                    let section = Section::new(&resource.origin.file, &document)?;
                    let home = section.text_or_empty("chartHome")?;
                    self.chart(target, &section, &home, false, step, acc)?;
                }
            }
        }
        Ok(())
    }

    fn absorb(
        &mut self,
        acc: &mut Accumulator,
        mut made: Resource,
        step: Option<Step>,
        file: &str,
        at: Mark,
    ) -> Result<(), Error> {
        if let Some(step) = step {
            made.trail.begin(step);
        }
        acc.set.absorb(made, &self.schemas).map_err(|problem| problem.at(file, at))
    }

    fn chart(
        &mut self,
        target: &Target<'a>,
        section: &Section<'_>,
        home: &str,
        strict: bool,
        step: Option<Step>,
        acc: &mut Accumulator,
    ) -> Result<(), Error> {
        let home = if home.is_empty() { "charts" } else { home };
        let request = chart::read(section, home, &target.folder, strict)?;
        let at = |problem: Problem| problem.at(section.file, section.node.at);
        let Some(charts) = self.env.charts else { return Err(at(Problem::NoCharts { name: request.name })) };
        let rendered = charts.render(&request);
        let text = rendered.map_err(|source| at(Problem::Chart { name: request.name.clone(), source }))?;
        let name = format!("{}: chart {}", section.file, request.name);
        for made in self.load(&name, &Bytes::from(text))? {
            self.absorb(acc, made, step.clone(), section.file, section.node.at)?;
        }
        Ok(())
    }

    /// Returns the resources that configure plugins: inline, from files, or from kustomizations.
    fn plugin_resources(&mut self, target: &Target<'a>, field: &str) -> Result<Vec<Resource>, Error> {
        let top = target.kustomization.top();
        let mut acc = Accumulator::default();
        let mut paths = Vec::new();
        for written in top.texts(field)? {
            match load::resources(top.file, &written.text) {
                Ok(mut found) => {
                    for resource in &mut found {
                        resource.origin.line = resource.origin.line.saturating_add(written.at.line);
                        if self.traced {
                            let path = join_trail(&target.trail, target.kustomization.name);
                            resource.trail.begin(Step { path, ..Step::default() });
                        }
                    }
                    self.append(&mut acc.set, found)?;
                }
                Err(_) => paths.push(written),
            }
        }
        for written in paths {
            self.resource(target, &written, &mut acc)?;
        }
        Ok(acc.set.items)
    }

    pub(super) fn external_transformers(
        &mut self,
        target: &Target<'a>,
        field: &str,
    ) -> Result<Vec<Transformer>, Error> {
        let mut found = Vec::new();
        for resource in self.plugin_resources(target, field)? {
            found.extend(plugins::transformers(&resource, &target.folder)?);
        }
        Ok(found)
    }
}

/// What the label of `managedByLabel` says: the kustomize release whose behavior this is.
const MANAGED_BY: &str = "kustomize-v5.7.1";

fn add_var(vars: &mut BTreeMap<String, Var>, var: Var) -> Result<(), Problem> {
    if vars.contains_key(&var.name) {
        return Err(Problem::VarTwice { name: var.name });
    }
    vars.insert(var.name.clone(), var);
    Ok(())
}

/// Joins written paths, resolving `.` and `..`.
fn join_trail(base: &str, written: &str) -> String {
    let mut parts: Vec<&str> = base.split('/').filter(|part| !part.is_empty()).collect();
    for part in written.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    parts.join("/")
}

fn text_of(file: &str, content: &Bytes) -> Result<String, Error> {
    String::from_utf8(content.to_vec()).map_err(|_| Problem::NotText.at(file, Mark::START))
}
