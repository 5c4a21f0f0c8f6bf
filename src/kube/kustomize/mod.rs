//! kustomize: a folder of resources, patches and generators becomes the objects that `kubectl kustomize` prints.
//!
//! ```text
//!  kustomization.rs ─→ accumulate.rs ── load.rs ─────────────→ Set of Resources ─→ transform.rs ─→ Built
//!   (the file)          (the order of    generator.rs, chart.rs  (set.rs,            patch/ names namespace labels
//!                        things)         plugins.rs               resource.rs)        images replicas replacements
//!                                                                                    └ once: hash refs vars order trail
//! ```
//!
//! Behavior is that of kustomize 5.7 (kubectl 1.35), bugs included: what comes out here must be what the cluster's owner
//! gets from kubectl. The built-in configurations are tables (`defaults.txt`, `schema.txt`).
//!
//! # Invariants
//! - Pure: files come as a [`Tree`]; remote bases and charts come through [`Environment`], and only declared ones.
//! - Nothing is executed, and nothing outside the tree is read. Files come from a kustomization's own folder.
//! - [`Limits`] bound nesting, resources and bytes.
//!
//! # Failure
//! The first mistake ends the build with file, line, what is wrong and what to do. A build that succeeds is complete.

mod accumulate;
mod chart;
mod config;
mod crds;
mod emit;
mod error;
mod fieldspec;
mod folder;
mod generator;
mod hash;
mod id;
mod images;
mod kustomization;
mod labels;
mod load;
mod names;
mod namespace;
mod node;
mod order;
mod patch;
mod path;
mod plugins;
mod quoting;
mod read;
mod refold;
mod refs;
mod replacements;
mod replicas;
mod resource;
mod scalar;
mod schema;
mod selector;
mod set;
mod steps;
mod trail;
mod transform;
mod value_add;
mod vars;

use bytes::Bytes;

use crate::{
    error::Diagnostic,
    tree::{RelPath, Tree},
};

use super::Object;

pub use chart::{ChartRequest, Charts, ValuesMerge};
pub use error::{Error, Problem};

/// What a remote entry of a kustomization stands for.
#[derive(Clone, Debug)]
pub enum Fetched {
    /// A file.
    File(Bytes),
    /// A repository and the folder in it; `None` is its top.
    Folder {
        /// The files.
        tree: Tree,
        /// The folder of the kustomization.
        root: Option<RelPath>,
    },
}

/// Answers for remote entries that were declared.
pub trait Remote {
    /// Returns what a written address stands for; `None` when it was not declared.
    fn fetch(&self, written: &str) -> Option<Fetched>;
}

/// Bounds a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many kustomizations may stand inside each other.
    pub depth: usize,
    /// How many resources may be read.
    pub resources: usize,
    /// How many bytes of resources may be read.
    pub bytes: usize,
}

impl Default for Limits {
    /// Returns limits far above the largest kustomizations in the wild (1,000 resources, 20 MB, 10 levels).
    fn default() -> Self {
        Limits { depth: 64, resources: 50_000, bytes: 256 << 20 }
    }
}

/// What a build may ask for besides the tree.
#[derive(Clone, Copy, Default)]
pub struct Environment<'a> {
    /// Answers for remote entries; without it every remote entry is an error.
    pub remote: Option<&'a dyn Remote>,
    /// Renders charts; without it `helmCharts` is an error, as it is for kubectl.
    pub charts: Option<&'a dyn Charts>,
    /// Bounds.
    pub limits: Limits,
}

/// Holds the result of a build.
#[derive(Clone, Debug)]
pub struct Built {
    /// The objects in their order, each with the file and line where it was written or asked for.
    pub objects: Vec<Object>,
    /// What deserves a look: deprecated fields, variables that nothing uses.
    pub warnings: Vec<Diagnostic>,
}

impl Built {
    /// Writes the objects as `kubectl kustomize` prints them.
    pub fn to_yaml(&self) -> String {
        let documents: Vec<String> = self.objects.iter().map(|object| emit::document(&object.node)).collect();
        documents.join("---\n")
    }
}

/// Builds the kustomization in a folder of a tree; `None` is the top.
///
/// # Errors
/// The first mistake, with its place. See the module.
pub fn build(tree: &Tree, root: Option<&RelPath>, environment: &Environment<'_>) -> Result<Built, Error> {
    let mut builder = accumulate::Builder::new(environment);
    let resources = builder.build(folder::Folder::new(tree, root.cloned(), environment))?;
    let mut objects = Vec::with_capacity(resources.len());
    for resource in resources {
        let finished = resource
            .node
            .finish()
            .map_err(|problem| problem.of(resource.label()).at(&resource.origin.file, resource.at()))?;
        let namespace = Some(resource.namespace().to_owned()).filter(|namespace| !namespace.is_empty());
        objects.push(Object {
            api_version: resource.api_version().to_owned(),
            kind: resource.kind().to_owned(),
            name: resource.name().to_owned(),
            namespace,
            node: finished,
            origin: resource.origin,
        });
    }
    Ok(Built { objects, warnings: builder.warnings })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Shop;

    impl Remote for Shop {
        fn fetch(&self, written: &str) -> Option<Fetched> {
            let tree = tree(&[("base/kustomization.yaml", "resources: [a.yaml]\n"), ("base/a.yaml", ACCOUNT)]);
            match written {
                "https://git.example/x//base?ref=v1" => Some(Fetched::Folder { tree, root: "base".parse().ok() }),
                "https://files.example/a.yaml" => Some(Fetched::File(Bytes::from_static(ACCOUNT.as_bytes()))),
                _ => None,
            }
        }
    }

    impl Charts for Shop {
        fn render(&self, request: &ChartRequest<'_>) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
            if request.name != "known" {
                return Err("not declared".into());
            }
            let inline = request.values_inline.as_deref().unwrap_or_default();
            Ok(format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {}}}\ndata: {inline}\n",
                request.release_name
            ))
        }
    }

    const ACCOUNT: &str = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n";

    fn tree(files: &[(&str, &str)]) -> Tree {
        let file = |(path, text): &(&str, &str)| (path.parse().unwrap(), Bytes::copy_from_slice(text.as_bytes()));
        files.iter().map(file).collect()
    }

    fn built(kustomization: &str) -> Result<String, String> {
        let env = Environment { remote: Some(&Shop), charts: Some(&Shop), limits: Limits::default() };
        let tree = tree(&[("kustomization.yaml", kustomization), ("a.yaml", ACCOUNT)]);
        build(&tree, None, &env).map(|built| built.to_yaml()).map_err(|error| error.to_string())
    }

    #[test]
    fn declared_remotes_are_built_and_others_refused() {
        let built_base = built("resources: ['https://git.example/x//base?ref=v1']\nnamePrefix: p-\n").unwrap();
        assert!(built_base.contains("name: p-a"), "{built_base}");
        assert!(built("resources: ['https://files.example/a.yaml']\n").unwrap().contains("name: a"));
        let refused = built("resources: ['https://elsewhere.example/x.git']\n").unwrap_err();
        assert!(refused.starts_with("kustomization.yaml:1:13: ") && refused.contains("declare it"), "{refused}");
    }

    #[test]
    fn charts_are_rendered_by_the_caller() {
        let text =
            built("helmCharts: [{name: known, releaseName: r, valuesInline: {a: b}}]\nnameSuffix: -s\n").unwrap();
        assert!(text.contains("name: r-s") && text.contains("a: b"), "{text}");
        let refused = built("helmCharts:\n- {name: unknown}\n").unwrap_err();
        assert_eq!(refused, "kustomization.yaml:2:3: chart unknown: not declared");
    }

    #[test]
    fn limits_end_a_build() {
        let tree = tree(&[("kustomization.yaml", "resources: [a.yaml]\n"), ("a.yaml", ACCOUNT)]);
        for limits in [Limits { resources: 0, ..Limits::default() }, Limits { bytes: 10, ..Limits::default() }] {
            let env = Environment { limits, ..Environment::default() };
            assert!(build(&tree, None, &env).is_err());
        }
    }

    #[test]
    fn nothing_grows_without_bound() {
        let copy = |at: usize| format!("    - {{op: copy, from: /metadata, path: /metadata/x{at}}}\n");
        let copies: String = (0..40).map(copy).collect();
        let copies = format!("resources: [a.yaml]\npatches:\n- target: {{}}\n  patch: |\n{copies}");
        assert!(built(&copies).unwrap_err().contains("grows beyond"));
        let double = "- {source: {kind: ServiceAccount, fieldPath: metadata.name}, targets: [{select: {kind: ServiceAccount}, options: {delimiter: '/', index: -1}}]}\n";
        let doubled = format!("resources: [a.yaml]\nreplacements:\n{}", double.repeat(40));
        assert!(built(&doubled).unwrap_err().contains("grows beyond"));
        let deep =
            format!("apiVersion: v1\nkind: X\nmetadata: {{name: x}}\nspec: {}{}\n", "[".repeat(900), "]".repeat(900));
        let tree = tree(&[("kustomization.yaml", "resources: [a.yaml]\n"), ("a.yaml", &deep)]);
        assert!(build(&tree, None, &Environment::default()).is_err());
    }

    #[test]
    fn objects_know_their_place_and_deprecated_fields_warn() {
        let tree = tree(&[
            ("k/kustomization.yml", "bases: [b]\n"),
            ("k/b/kustomization.yaml", "resources: [a.yaml]\n"),
            ("k/b/a.yaml", "# first\napiVersion: v1\nkind: Pod\nmetadata: {name: p}\n"),
        ]);
        let root: RelPath = "k".parse().unwrap();
        let built = build(&tree, Some(&root), &Environment::default()).unwrap();
        assert_eq!((built.objects[0].origin.file.as_str(), built.objects[0].origin.line), ("k/b/a.yaml", 2));
        assert_eq!(built.warnings.len(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_kustomization_makes_the_build_panic(
            fields in "(resources: \\[a.yaml\\]\n|namePrefix: [a-z$]{0,3}\n|patches: \\[\\{patch: \"[\\PC]{0,12}\"\\}\\]\n|images: \\[\\{name: [a(*]{0,4}\\}\\]\n|replacements: \\[\\{sourceValue: x, targets: \\[\\{select: \\{\\}, fieldPaths: \\[\"[a-z.\\[\\]=*0-9]{0,9}\"\\], options: \\{create: true\\}\\}\\]\\}\\]\n|labels: \\[\\{pairs: \\{a: b\\}, fields: \\[\\{path: [a-z/\\[\\]]{0,6}, create: true\\}\\]\\}\\]\n|\\PC{0,8}\n){0,5}",
            resource in "(apiVersion: v1\n|kind: (List|Pod|RoleBinding)\n|metadata: \\{name: (a|1|~)\\}\n|metadata: 3\n|items: (\\[1\\]|x|~)\n|subjects: (\\[1\\]|x)\n|spec: \\{containers: (\\[\\{\\}, 1\\]|x|\\[\\{image: a\\}\\])\\}\n|---\n){0,7}",
        ) {
            let tree = tree(&[("kustomization.yaml", &fields), ("a.yaml", &resource)]);
            if let Ok(built) = build(&tree, None, &Environment::default()) {
                let _ = built.to_yaml();
            }
        }
    }
}
