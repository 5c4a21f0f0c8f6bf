//! One small file of objects per class in `tests/data/discover`, with what must be found beside it: confidence, text and
//! provenance within the file, one line each; then the diagnostics. `BUNDLE_BLESS=1` rewrites what is expected, for review.

use std::{fmt::Write, fs, path::Path};

use airgap_bundler::{
    discover::{self, Step, UserRule},
    kube::object,
};

fn rules() -> Vec<UserRule> {
    let paths = ["spec.image", "spec.sidecars[].image", "spec.pod", "spec.broken"].map(str::to_owned).to_vec();
    vec![UserRule { name: "discovery.rules[0]".into(), group: "example.com".into(), kind: "Widget".into(), paths }]
}

#[test]
fn every_class_finds_what_its_sample_names_and_nothing_else() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/discover");
    let mut names: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".yaml")?.to_owned()))
        .collect();
    names.sort();
    assert!(names.len() >= 13, "{names:?}");
    let mut wrong = String::new();
    for name in names {
        let file = format!("{name}.yaml");
        let objects = object::objects(&file, &fs::read_to_string(folder.join(&file)).unwrap()).unwrap();
        let found = discover::find_all(&objects, rules());
        let mut shown = String::new();
        for mut finding in found.findings {
            let line = finding.provenance.iter().find_map(|step| match step {
                Step::File { line, .. } => *line,
                _ => None,
            });
            finding.provenance.retain(|step| !matches!(step, Step::File { .. }));
            writeln!(shown, "{} {}  {}: {finding}", finding.confidence, finding.written, line.unwrap()).unwrap();
        }
        for diagnostic in found.diagnostics {
            writeln!(shown, "{:?} {diagnostic}", diagnostic.severity).unwrap();
        }
        let expected = folder.join(format!("{name}.expected"));
        if std::env::var_os("BUNDLE_BLESS").is_some() {
            fs::write(&expected, &shown).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != shown {
            write!(wrong, "--- {file}\n{shown}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "found something else than expected:\n{wrong}");
}

#[test]
fn nothing_in_the_negative_sample_is_found() {
    let objects = object::objects("negative.yaml", include_str!("../data/discover/negative.yaml")).unwrap();
    let found = discover::find_all(&objects, Vec::new());
    assert!(found.findings.is_empty(), "{:#?}", found.findings);
}

#[test]
fn nesting_ends_and_says_so() {
    let deep = |levels: usize, inner: &str| format!("{}{inner}{}", "{a: ".repeat(levels), "}".repeat(levels));
    for levels in [100, 190, 900] {
        let text =
            format!("apiVersion: a.example.com/v1\nkind: Deep\nspec: {}", deep(levels, "{image: 'quay.io/acme/a:1'}"));
        let found = discover::find_all(&object::objects("m", &text).unwrap(), Vec::new());
        assert_eq!(found.findings.len(), usize::from(levels < 200), "{levels}");
        assert_eq!(found.diagnostics.len(), usize::from(levels > 200), "{levels}");
    }
    // Texts inside texts: the innermost one is not read.
    let mut text = "image: quay.io/acme/a:1\nx: y\n".to_owned();
    for level in 0..6 {
        let map: String = text.lines().map(|line| format!("    {line}\n")).collect();
        text = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata:\n  inner.yaml: |\n{map}");
        let found = discover::find_all(&object::objects("m", &text).unwrap(), Vec::new());
        assert_eq!(found.findings.len(), usize::from(level < 3), "{level}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 2_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn whatever_the_objects_hold_every_finding_is_a_reference(
        text in "apiVersion: (v1|apps/v1|apiextensions.k8s.io/v1|nvidia.com/v1)\nkind: (ConfigMap|Secret|Deployment|CustomResourceDefinition|ClusterPolicy)\n((data|spec|metadata): \\{((image|env|args|tag|repository|name|value|annotations|versions|schema|default|x): (a:1|quay.io/a/b:1|'--image=a/b:1 c'|\"FROM a\\\\nRUN b\"|'\\{\"image\": \"a:1\"\\}'|\\[-x, a:1\\]|\\{image: a/b, tag: '@@'\\}|\\PC{0,8}), ){0,4}\\}\n){0,3}"
    ) {
        if let Ok(objects) = object::objects("m", &text) {
            for finding in discover::find_all(&objects, rules()).findings {
                proptest::prop_assert!(finding.written.parse::<airgap_bundler::oci::Reference>().is_ok(), "{}", finding.written);
            }
        }
    }
}

#[test]
fn what_one_input_defines_counts_for_the_others() {
    let read = |text: &str| object::objects("m", text).unwrap();
    let definition = read(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nspec: {group: a.example.com, names: {kind: Job}, versions: [{name: v1, storage: true, schema: {openAPIV3Schema: {properties: {spec: {properties: {image: {type: string, default: 'quay.io/acme/job:1'}}}}}}}]}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: images, namespace: ns}\ndata: {a: 'quay.io/acme/a:1'}",
    );
    let user = read(
        "apiVersion: a.example.com/v1\nkind: Job\nmetadata: {name: j}\nspec: {}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: ns}\nspec: {containers: [{name: c, image: 'quay.io/acme/c:1', env: [{name: A_IMAGE, valueFrom: {configMapKeyRef: {name: images, key: a}}}]}]}",
    );
    let written =
        |found: discover::Findings| found.findings.into_iter().map(|finding| finding.written).collect::<Vec<_>>();
    let mut context = discover::Context::new(Vec::new());
    context.learn(&definition);
    context.learn(&user);
    assert_eq!(written(context.find(&user)), ["quay.io/acme/job:1", "quay.io/acme/c:1", "quay.io/acme/a:1"]);
    assert_eq!(written(context.find(&definition)), ["quay.io/acme/a:1"], "the default counts where the object is");
    assert_eq!(written(discover::find_all(&user, Vec::new())), ["quay.io/acme/c:1"]);
    assert_eq!(written(discover::find_all(&definition, Vec::new())), ["quay.io/acme/job:1", "quay.io/acme/a:1"]);
}
