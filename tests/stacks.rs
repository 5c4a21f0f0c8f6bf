//! Three public deployments, kept outside the repository beside the corpus (`BUNDLE_CORPUS`): resolving each reports what its
//! bill of materials lists, and names the file and line of what is broken in it.
//!
//! Charts come from a repository on this machine, as far as the corpus has them; images are not pinned.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use airgap_bundler::{
    error::Kind,
    helm::{Chart, Origin},
    oci::Reference,
    resolve::charts::{unpack, unpack_inner},
    yaml::{self, Node},
};

use crate::{
    charts::{Desk, images, reasons},
    support::repository::Repository,
};

/// The folder of the deployments, and that of the corpus.
fn folders() -> Option<(PathBuf, PathBuf)> {
    let corpus = std::env::var_os("BUNDLE_CORPUS").map(PathBuf::from);
    let found = corpus.map(|corpus| (corpus.join("../stacks"), corpus)).filter(|(stacks, _)| stacks.is_dir());
    if found.is_none() {
        eprintln!("SKIPPED: BUNDLE_CORPUS does not name a folder with the deployments beside it");
    }
    found
}

fn copy(from: &Path, desk: &Desk, name: &str) {
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let inner = format!("{name}/{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            copy(&path, desk, &inner);
        } else if path.is_file() {
            desk.write(&inner, std::fs::read(&path).unwrap());
        }
    }
}

/// Publishes charts of the corpus.
fn publish(corpus: &Path, charts: &[&str]) -> Repository {
    let repository = Repository::start();
    for file in charts {
        let bytes: bytes::Bytes = std::fs::read(corpus.join(format!("charts/{file}.tgz"))).unwrap().into();
        let tree = unpack(Path::new(file), &bytes).unwrap();
        let metadata = Chart::load(&tree, Origin::Archive, &unpack_inner).unwrap().metadata;
        repository.publish(&metadata.name, &metadata.version, &bytes);
    }
    repository
}

/// Returns the images of a list in a bill of materials: the first reference of every text.
fn listed(bill: &Node, path: &[&str]) -> Vec<String> {
    let list = bill.at_path(path.iter().copied()).and_then(Node::as_seq).unwrap();
    let first = |node: &Node| {
        let text = node.as_str()?;
        let word = text.split([' ', ',']).next()?;
        let word = word.trim_matches(['(', ')', ':']);
        Some(word.parse::<Reference>().ok()?.with_default_tag().to_string())
    };
    list.iter().filter_map(first).collect()
}

fn bill(stacks: &Path, name: &str) -> Node {
    let text = std::fs::read_to_string(stacks.join(format!("bom/{name}.yaml"))).unwrap();
    yaml::documents(&text, &yaml::Options::lenient()).unwrap().remove(0)
}

/// Returns what is not among the images; `aside` names what belongs to another state of the deployment.
fn missing(wanted: &[String], found: &[String], aside: &[&str]) -> Vec<String> {
    let found: BTreeSet<&String> = found.iter().collect();
    let is_aside = |image: &String| aside.iter().any(|part| image.contains(part));
    wanted.iter().filter(|image| !found.contains(image) && !is_aside(image)).cloned().collect()
}

const GUESSES: &str = "kubernetes: {version: 1.33.0}\ndiscovery: {guesses: include}\n";

#[test]
fn messenger() {
    let Some((stacks, corpus)) = folders() else { return };
    let desk = Desk::new();
    copy(&stacks.join("messenger"), &desk, "m");
    let everything = desk.gather(&format!("{GUESSES}manifests:\n  - {{path: m/deployment}}\n"));
    let failed = everything.unwrap_err();
    println!("{:?} {}", failed.kind, failed.told.join("\n"));
}
