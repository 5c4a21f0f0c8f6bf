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
