//! Kustomizations and folders of manifests of a repository: read, built, filled in.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value as Json, json};

use super::{
    super::{
        batch::{Batch, Origin, shown},
        kustomize::{self, NAMES},
        remotes::place_of,
    },
    Follower, Yield,
    place::Root,
    subject::{Refusal, Subject},
    substitute,
};
use crate::{
    error::{Classify as _, Diagnostic, Kind, Location},
    files::{self, Limits},
    helm::glob::Glob,
    kube::{self, object::is_manifest_file},
    tree::{RelPath, Tree},
};

/// The largest manifest file.
const MAX_MANIFEST: u64 = 64 << 20;

/// Where the files are put when options of an object are laid over a kustomization.
const INSIDE: &str = "repository";

/// Where those options are put.
const OVER: &str = "options";

/// What is built.
pub(super) struct Plan {
    pub(super) root: Root,
    /// The folder.
    pub(super) path: Option<RelPath>,
    pub(super) shape: Shape,
    /// Fields of a kustomization that are laid over what is built.
    pub(super) over: Map<String, Json>,
    /// What variables stand for; none when they are not replaced.
    pub(super) variables: Option<BTreeMap<String, String>>,
}

/// How a folder is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// As a kustomization, which Flux makes of all manifests below when there is none.
    Flux,
    /// As a kustomization.
    Kustomize,
    /// As manifests: those that a pattern names and another one does not.
    Folder { recurse: bool, include: Option<String>, exclude: Option<String> },
}

impl Follower<'_, '_> {
    /// Builds and adds what comes out.
    pub(super) async fn build(&self, subject: &Subject<'_>, plan: Plan, found: &mut Yield) {
        match self.built(subject, plan, found).await {
            Ok(()) => {}
            Err(refusal) => found.failures.push(refusal.told(&subject.title(), subject.object, subject.place(None))),
        }
    }

    async fn built(&self, subject: &Subject<'_>, plan: Plan, found: &mut Yield) -> Result<(), Refusal> {
        let tree = match &plan.root {
            Root::Git(checkout) => (*self.tree(checkout).await?).clone(),
            _ => self.local(&plan)?,
        };
        if let Some(path) = &plan.path
            && tree.below(path).is_empty()
        {
            let text = match &plan.root {
                Root::Git(checkout) => format!("{} has no folder {path}", checkout.source()),
                _ => format!("there is no folder {} with manifests", place_of(self.job.folder, Some(path)).display()),
            };
            return Err(Refusal::new("gitops-path", text));
        }
        if let Shape::Folder { .. } = plan.shape {
            return self.folder(subject, &plan, &tree, found);
        }
        let (workshop, home, way) = (self.workshop.clone(), plan.root.home(), subject.way());
        let (tree, over, path, shape) = (Arc::new(tree), plan.over.clone(), plan.path.clone(), plan.shape.clone());
        let files = tree.clone();
        let product = files::blocking(move || {
            let mut tree = (*files).clone();
            if shape == Shape::Flux {
                generate(&mut tree, path.as_ref());
            }
            let laid = (!over.is_empty()).then(|| lay_over(&tree, path.as_ref(), over));
            let (tree, root, inside) = match &laid {
                Some(laid) => (laid, OVER.parse().ok(), Some(INSIDE)),
                None => (&tree, path, None),
            };
            kustomize::make(&workshop, &kustomize::Task { tree, root: root.as_ref(), home: &home, inside, way: &way })
        })
        .await;
        let name = |file: &str| file.strip_prefix(&format!("{INSIDE}/")).unwrap_or(file).to_owned();
        let origin = match &plan.root {
            Root::Git(checkout) => Origin::Fetched { source: checkout.source() },
            _ => Origin::Built { tree: tree.clone(), folder: self.job.folder.to_owned() },
        };
        let place = |at: Location| match &plan.root {
            Root::Git(checkout) => Location { file: format!("{}:{}", checkout.source(), name(&at.file)), ..at },
            _ => Location { file: shown(self.job.folder, &name(&at.file)), ..at },
        };
        let product = match product {
            Ok(product) => product,
            Err(mistake) => {
                let own = mistake.at.as_ref().is_none_or(|at| at.file.starts_with(&format!("{OVER}/")));
                let refusal = Refusal::new("gitops-build", format!("what it builds is wrong: {}", mistake.text));
                let refusal = refusal.of_kind(mistake.kind);
                let refusal = mistake.hint.into_iter().fold(refusal, Refusal::hint);
                return Err(match mistake.at {
                    Some(at) if !own => refusal.at(place(at)),
                    _ => refusal,
                });
            }
        };
        found.warnings.extend(product.warnings.into_iter().map(|warning| {
            let message = format!("{}: {}", subject.title(), warning.message);
            Diagnostic { message, at: warning.at.map(place), ..warning }
        }));
        found.charts.extend(product.charts);
        let mut objects = product.objects;
        for object in &mut objects {
            object.origin.file = name(&object.origin.file);
            if let Some(variables) = &plan.variables {
                substitute::apply(object, variables);
            }
        }
        let mut batch = Batch::new(objects, origin);
        batch.via = subject.via(plan.root.home());
        found.batches.push(batch);
        Ok(())
    }

    /// Reads what a folder beside the spec needs; paths are relative to the spec.
    fn local(&self, plan: &Plan) -> Result<Tree, Refusal> {
        let top = self.job.folder;
        let place = place_of(top, plan.path.as_ref());
        let wrong =
            |error: &dyn std::fmt::Display, kind: Kind| Refusal::new("gitops-path", error.to_string()).of_kind(kind);
        if !files::is_folder(&place) {
            let text = format!("there is no folder {}", place.display());
            return Err(Refusal::new("gitops-path", text));
        }
        let names = |folder: &std::path::Path| NAMES.iter().any(|name| files::is_file(&folder.join(name)));
        let kustomization = names(&place);
        if kustomization && !matches!(plan.shape, Shape::Folder { .. }) {
            return kustomize::read(top, plan.path.as_ref()).map_err(|error| wrong(&error, error.kind()));
        }
        let limits = Limits { file_bytes: MAX_MANIFEST, ..Limits::default() };
        let manifests = files::read_tree(&place, &limits, &|path, is_folder| {
            is_folder || is_manifest_file(path.name()) || path.name().ends_with(".jsonnet")
        });
        let manifests = manifests.map_err(|error| wrong(&error, error.kind()))?;
        let mut tree = Tree::new();
        for (path, bytes) in manifests.iter() {
            let Ok(whole) = RelPath::join(plan.path.as_ref(), path.as_str()) else { continue };
            tree.insert(whole.clone(), bytes.clone());
            // Folders with kustomizations may need more than manifests.
            if plan.shape == Shape::Flux && NAMES.contains(&path.name()) {
                let more =
                    kustomize::read(top, whole.parent().as_ref()).map_err(|error| wrong(&error, error.kind()))?;
                for (path, bytes) in more.iter() {
                    tree.insert(path.clone(), bytes.clone());
                }
            }
        }
        Ok(tree)
    }

    /// Reads manifests as they are.
    fn folder(&self, subject: &Subject<'_>, plan: &Plan, tree: &Tree, found: &mut Yield) -> Result<(), Refusal> {
        let Shape::Folder { recurse, include, exclude } = &plan.shape else { return Ok(()) };
        let below = plan.path.as_ref().map_or_else(|| tree.clone(), |path| tree.below(path));
        let fits = |pattern: &Option<String>, path: &str| {
            // Argo CD's `*` matches `/` too.
            let name = path.rsplit('/').next().unwrap_or(path);
            let hits = |one: &String| [path, name].iter().any(|text| Glob::new(one).matches(text));
            pattern.as_ref().map(|pattern| alternatives(pattern).iter().any(hits))
        };
        let mut count = 0;
        for (path, bytes) in below.iter() {
            let text = path.as_str();
            if (!recurse && text.contains('/'))
                || fits(exclude, text) == Some(true)
                || fits(include, text) == Some(false)
            {
                continue;
            }
            let Ok(whole) = RelPath::join(plan.path.as_ref(), text) else { continue };
            let place = match &plan.root {
                Root::Git(checkout) => format!("{}:{whole}", checkout.source()),
                _ => shown(self.job.folder, whole.as_str()),
            };
            if text.ends_with(".jsonnet") {
                let refusal = Refusal::unable(format!("{place} is Jsonnet, which is not evaluated"));
                found.failures.push(refusal.told(&subject.title(), subject.object, subject.place(None)));
                continue;
            }
            if !is_manifest_file(path.name()) {
                continue;
            }
            count += 1;
            let Ok(content) = std::str::from_utf8(bytes) else {
                return Err(Refusal::new("not-text", format!("{place} is not UTF-8 text")));
            };
            // Mistakes name the place; the lock names the path.
            let (name, origin) = match &plan.root {
                Root::Git(checkout) => (whole.to_string(), Origin::Fetched { source: checkout.source() }),
                _ => (place, Origin::File(whole.to_string())),
            };
            match kube::object::objects(&name, content) {
                Ok(objects) => {
                    let mut batch = Batch::new(objects, origin);
                    batch.via = subject.via(plan.root.home());
                    found.batches.push(batch);
                }
                Err(mistakes) => found.failures.extend(mistakes.into_iter().map(|mistake| {
                    let message = format!("{}: {}", subject.title(), mistake.message);
                    (Kind::Usage, Diagnostic { message, ..mistake })
                })),
            }
        }
        if count == 0 {
            let path = plan.path.as_ref().map_or(".", RelPath::as_str);
            return Err(Refusal::new("gitops-path", format!("no manifest in {path} is what it asks for")));
        }
        Ok(())
    }
}

/// Makes a kustomization of all manifests below a folder that has none, as Flux does: folders with one of their own are
/// taken as a whole (fluxcd/pkg, `kustomize/kustomize_generator.go`).
fn generate(tree: &mut Tree, path: Option<&RelPath>) {
    let below = path.map_or_else(|| tree.clone(), |path| tree.below(path));
    if NAMES.iter().any(|name| below.get(name).is_some()) {
        return;
    }
    let folders: Vec<String> = below
        .iter()
        .filter(|(path, _)| NAMES.contains(&path.name()))
        .filter_map(|(path, _)| Some(path.parent()?.to_string()))
        .collect();
    let mut resources: Vec<String> = Vec::new();
    for (path, _) in below.iter() {
        let text = path.as_str();
        let holder =
            folders.iter().filter(|folder| text.starts_with(&format!("{folder}/"))).min_by_key(|folder| folder.len());
        match holder {
            Some(folder) if resources.contains(folder) => {}
            Some(folder) => resources.push(folder.clone()),
            None if text.ends_with(".yaml") || text.ends_with(".yml") => resources.push(text.to_owned()),
            None => {}
        }
    }
    if let Ok(file) = RelPath::join(path, NAMES[0]) {
        tree.insert(file, json!({ "resources": resources }).to_string());
    }
}

/// Lays options over a kustomization: another one beside it that has it as its base.
fn lay_over(tree: &Tree, path: Option<&RelPath>, over: Map<String, Json>) -> Tree {
    let mut laid: Tree = tree
        .iter()
        .filter_map(|(path, bytes)| Some((format!("{INSIDE}/{path}").parse().ok()?, bytes.clone())))
        .collect();
    let base = path.map_or_else(|| format!("../{INSIDE}"), |path| format!("../{INSIDE}/{path}"));
    let mut over = over;
    // Components are relative to what they are added to.
    if let Some(Json::Array(components)) = over.get_mut("components") {
        for component in components {
            *component = Json::from(format!("{base}/{}", component.as_str().unwrap_or_default()));
        }
    }
    over.insert("resources".to_owned(), json!([base]));
    if let Ok(file) = format!("{OVER}/{}", NAMES[0]).parse::<RelPath>() {
        laid.insert(file, Json::Object(over).to_string());
    }
    laid
}

/// Returns what `{a,b}` in a pattern stands for; one level of it, as people write it.
fn alternatives(pattern: &str) -> Vec<String> {
    let parts = pattern.split_once('{').and_then(|(before, rest)| {
        let (inside, after) = rest.split_once('}')?;
        Some((before, inside, after))
    });
    match parts {
        Some((before, inside, after)) => inside.split(',').map(|one| format!("{before}{one}{after}")).collect(),
        None => vec![pattern.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> Tree {
        files.iter().map(|path| (path.parse().unwrap(), bytes::Bytes::from_static(b"{}"))).collect()
    }

    #[test]
    fn flux_takes_folders_with_kustomizations_as_a_whole() {
        let mut files =
            tree(&["k/a.yaml", "k/b/kustomization.yaml", "k/b/c.yaml", "k/b/d/e.yaml", "k/n.json", "x.yaml"]);
        generate(&mut files, "k".parse().ok().as_ref());
        let made = std::str::from_utf8(files.get("k/kustomization.yaml").unwrap()).unwrap();
        assert_eq!(made, r#"{"resources":["a.yaml","b"]}"#);
        let mut has = tree(&["k/kustomization.yml", "k/a.yaml"]);
        generate(&mut has, "k".parse().ok().as_ref());
        assert!(has.get("k/kustomization.yaml").is_none());
    }

    #[test]
    fn patterns_have_alternatives() {
        assert_eq!(alternatives("*.{yaml,json}"), ["*.yaml", "*.json"]);
        assert_eq!(alternatives("*"), ["*"]);
    }
}
