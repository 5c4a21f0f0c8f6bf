//! Real install manifests of operators, through create and load; an independent program says which images they name. The
//! corpus is kept outside the repository; the variable `BUNDLE_CORPUS` names its folder.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    path::Path,
};

use airgap_bundler::oci::Reference;
use serde_json::Value;

use super::{machine::Machine, source::End};

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn texts(value: &Value) -> BTreeSet<String> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn install_manifests_of_operators_arrive_with_all_their_images() {
    let Some(folder) = std::env::var_os("BUNDLE_CORPUS").map(std::path::PathBuf::from) else {
        eprintln!("SKIPPED: BUNDLE_CORPUS does not name the folder with the corpus");
        return;
    };
    let machine = Machine::new();
    let (source, target) = (End::ours(), End::ours());
    let mut entries: Vec<(String, Value)> = Vec::new();
    let mut names: BTreeMap<String, Reference> = BTreeMap::new();
    for case in json(&folder.join("manifests/cases.json")).as_array().unwrap() {
        let facts = json(&folder.join(case["images"].as_str().unwrap()));
        let images = texts(&facts["images"]);
        // Nobody can make an image of a given digest.
        if images.is_empty() || images.iter().any(|image| image.contains('@')) {
            continue;
        }
        for image in images {
            names.insert(image.clone(), image.parse::<Reference>().unwrap().with_default_tag());
        }
        let mut text = Vec::new();
        let file = std::fs::File::open(folder.join(case["file"].as_str().unwrap())).unwrap();
        flate2::read::MultiGzDecoder::new(file).read_to_end(&mut text).unwrap();
        let id = case["id"].as_str().unwrap().to_owned();
        machine.write(&format!("install/{id}"), text);
        entries.push((id, facts));
    }
    assert!(entries.len() >= 8, "only {} files of the corpus can be used", entries.len());

    let mut spec =
        String::from("apiVersion: airgap-bundler/v1\nkind: Bundle\nmetadata: {name: operators, version: 1.0.0}\n");
    spec.push_str("registries:\n");
    let hosts: BTreeSet<String> = names.values().map(|name| name.host.to_string()).collect();
    for (at, host) in hosts.iter().enumerate() {
        spec.push_str(&format!("  \"{host}\": {{mirror: \"{}/h{at}\"}}\n", source.host));
    }
    let mut pushed: BTreeMap<String, String> = BTreeMap::new();
    for name in names.values() {
        let at = hosts.iter().position(|host| *host == name.host.to_string()).unwrap();
        let (repository, tag) = (format!("h{at}/{}", name.repository), name.tag.as_ref().unwrap().to_string());
        let layer = format!("layer of {name}");
        let image = source.registry().put_image(&repository, &tag, &[b"a layer that all share", layer.as_bytes()]);
        pushed.insert(name.to_string(), image.digest.to_string());
    }
    spec.push_str("manifests:\n");
    for (id, _) in &entries {
        spec.push_str(&format!("  - {{path: install/{id}}}\n"));
    }
    // The facts speak of pod specs; what else looks like an image has tests of its own.
    spec.push_str("discovery: {guesses: ignore}\n");
    machine.write("bundle.yaml", spec);
    machine.keys("shop");

    let resolved = machine.ok(&["resolve", "-o", "json"]).json();
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for image in resolved["images"].as_array().unwrap() {
        for reason in image["because"].as_array().unwrap().iter().filter(|reason| reason["confidence"] == "schema") {
            let entry = reason["provenance"][0]["entry"].as_str().unwrap();
            found.entry(entry.to_owned()).or_default().push(reason["written"].as_str().unwrap().to_owned());
        }
    }
    for (at, (id, facts)) in entries.iter().enumerate() {
        let written = found.remove(&format!("manifests[{at}]")).unwrap_or_default();
        assert_eq!(written.len(), facts["uses"].as_array().unwrap().len(), "{id}");
        assert_eq!(written.into_iter().collect::<BTreeSet<_>>(), texts(&facts["images"]), "{id}");
    }
    assert!(found.is_empty(), "{found:?}");

    machine.ok(&["create", "--locked", "--key", "shop.key", "-o", "operators.tar"]);
    machine.ok(&["load", "operators.tar", "--key", "shop.pub", "--to", &target.host]);
    for name in names.values() {
        let place = format!("/v2/{}/{}/manifests/{}", host(name), name.repository, name.tag.as_ref().unwrap());
        let answer = target.registry().get(&place);
        assert_eq!(answer.status, 200, "{place}");
        assert_eq!(super::machine::digest(answer.body), pushed[&name.to_string()], "{place}");
    }
    println!("{} files, {} images", entries.len(), names.len());
}

/// Writes a host as the first component of a name in the enclave.
fn host(name: &Reference) -> String {
    name.host.to_string().replace(':', "_")
}
