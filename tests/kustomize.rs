//! Kustomizations as `kubectl kustomize` builds them: goldens of our own, and a corpus where there is one.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
    rc::Rc,
};

use airgap_bundler::{
    kube::kustomize::{self, Environment},
    tree::{RelPath, Tree},
    yaml,
};
use bytes::Bytes;

fn read_tree(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(name) = path.strip_prefix(root).unwrap().to_str().unwrap().parse::<RelPath>() {
                tree.insert(name, Bytes::from(fs::read(&path).unwrap()));
            }
        }
    }
    tree
}

/// Makes documents comparable: values only, mappings in one order.
fn values(text: &str) -> Vec<serde_json::Value> {
    let documents = yaml::documents(text, &yaml::Options::lenient()).unwrap();
    documents.iter().filter(|node| !node.is_null()).map(|node| node.to_json().unwrap()).collect()
}

/// Our own kustomizations, each with what kubectl 1.35.2 printed (`expected.yaml`), or with our refusal (`refused.txt`)
/// where kubectl refuses too. `tests/data/kustomize/update` asks kubectl again.
#[test]
fn our_kustomizations_build_as_kubectl_builds_them() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/kustomize");
    let mut folders: Vec<PathBuf> = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| folder.is_dir());
    folders.sort();
    let mut wrong = Vec::new();
    for folder in &folders {
        let name = folder.file_name().unwrap().to_string_lossy();
        let built = kustomize::build(&read_tree(&folder.join("in")), None, &Environment::default());
        match (built, fs::read_to_string(folder.join("expected.yaml"))) {
            (Ok(built), Ok(expected)) => {
                let found = built.to_yaml();
                if found != expected {
                    let line = found.lines().zip(expected.lines()).position(|(found, expected)| found != expected);
                    let line = line.unwrap_or(found.lines().count().min(expected.lines().count()));
                    let at = |text: &str| text.lines().nth(line).unwrap_or("the end").to_owned();
                    wrong.push(format!("{name}: line {}: {:?} for {:?}", line + 1, at(&found), at(&expected)));
                }
            }
            (Err(error), Err(_)) => {
                let said = fs::read_to_string(folder.join("refused.txt")).unwrap_or_default();
                if said.trim() != error.to_string() {
                    wrong.push(format!("{name}: says {error}"));
                }
            }
            (Ok(_), Err(_)) => wrong.push(format!("{name}: kubectl refuses this")),
            (Err(error), Ok(_)) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(folders.len() >= 60, "the goldens are gone");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Builds every case of a corpus (`BUNDLE_KUSTOMIZE_CORPUS`: `cases.json`, `expected/` and an unpacked `src/`).
#[test]
fn the_corpus_builds_as_kubectl_builds_it() {
    let Some(corpus) = std::env::var_os("BUNDLE_KUSTOMIZE_CORPUS").map(PathBuf::from) else {
        eprintln!("skipped: BUNDLE_KUSTOMIZE_CORPUS is not set");
        return;
    };
    let only = std::env::var("ONLY").unwrap_or_default();
    let cases: Vec<serde_json::Value> = serde_json::from_slice(&fs::read(corpus.join("cases.json")).unwrap()).unwrap();
    let mut trees: BTreeMap<String, Rc<Tree>> = BTreeMap::new();
    let (mut same, mut bytes, mut failed) = (0, 0, Vec::new());
    // A corpus may also list what kubectl refuses.
    let refused = fs::read(corpus.join("refused.json")).unwrap_or_else(|_| b"[]".to_vec());
    let refused: Vec<serde_json::Value> = serde_json::from_slice(&refused).unwrap();
    for case in cases.iter().chain(&refused) {
        let text = |name: &str| case[name].as_str().unwrap_or_default().to_owned();
        let (id, dir, repo) = (text("id"), text("dir"), text("repo"));
        if !id.contains(&only) {
            continue;
        }
        let tree = trees.entry(repo.clone()).or_insert_with(|| Rc::new(read_tree(&corpus.join("src").join(&repo))));
        let root = dir.strip_prefix(&format!("kustomize/src/{repo}")).unwrap().trim_start_matches('/');
        let root: Option<RelPath> = if root.is_empty() { None } else { Some(root.parse().unwrap()) };
        if let Some(because) = case["refused"].as_str() {
            match kustomize::build(tree, root.as_ref(), &Environment::default()) {
                Ok(_) => failed.push(format!("{id}: kubectl refuses this: {because}")),
                Err(error) => {
                    same += 1;
                    eprintln!("refused: {id}: {error}");
                }
            }
            continue;
        }
        let expected = fs::read(corpus.join(text("output").strip_prefix("kustomize/").unwrap())).unwrap();
        let mut wanted = String::new();
        flate2::read::GzDecoder::new(&expected[..]).read_to_string(&mut wanted).unwrap();
        match kustomize::build(tree, root.as_ref(), &Environment::default()) {
            Err(error) => failed.push(format!("{id}: {error}")),
            Ok(built) => {
                let found = built.to_yaml();
                if found == wanted {
                    same += 1;
                    bytes += 1;
                    continue;
                }
                let (a, b) = (values(&found), values(&wanted));
                if a == b {
                    same += 1;
                    if let Some((at, (x, y))) = found.lines().zip(wanted.lines()).enumerate().find(|(_, (x, y))| x != y)
                    {
                        eprintln!("bytes differ: {id} line {}: {x:?} for {y:?}", at + 1);
                    }
                } else {
                    let at = a.iter().zip(&b).position(|(a, b)| a != b);
                    failed.push(format!("{id}: {} documents for {}, first difference {at:?}", a.len(), b.len()));
                }
                if let Some(folder) = std::env::var_os("KEEP") {
                    fs::write(Path::new(&folder).join(format!("{id}.got")), &found).unwrap();
                    fs::write(Path::new(&folder).join(format!("{id}.want")), &wanted).unwrap();
                }
            }
        }
    }
    eprintln!("{same} same, {bytes} to the byte, {} failed", failed.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
