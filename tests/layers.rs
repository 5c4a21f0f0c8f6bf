//! Reads `src/` and fails on an import that points upwards (`docs/architecture.md`, "Layers").

use std::{fs, path::Path};

/// Every module in reading order with its layer; verbs of one layer do not know each other.
const LAYERS: &[(&str, &[&str])] = &[
    ("words", &["error", "tree", "yaml", "oci", "event"]),
    ("nouns", &["spec", "helm", "kube", "trust", "discover", "names", "peers", "lock"]),
    ("places", &["files", "net", "store", "registry", "cluster"]),
    ("format", &["archive"]),
    ("verbs", &["resolve", "fetch", "load", "audit", "serve", "issuer", "relocate", "export", "preflight"]),
    ("face", &["cli"]),
];

/// Imports inside one layer that the plan names; each points to a module above.
const WITHIN: &[(&str, &str)] = &[("discover", "kube"), ("lock", "discover"), ("lock", "spec"), ("event", "error")];

fn place(module: &str) -> Option<(usize, usize)> {
    LAYERS.iter().enumerate().find_map(|(layer, (_, modules))| {
        modules.iter().position(|known| *known == module).map(|position| (layer, position))
    })
}

fn may_import(from: &str, to: &str) -> bool {
    let (Some((from_layer, from_at)), Some((to_layer, to_at))) = (place(from), place(to)) else { return false };
    let name = |layer: usize| LAYERS[layer].0;
    if from == to || WITHIN.contains(&(from, to)) {
        return true;
    }
    match name(from_layer) {
        "words" => to_layer == from_layer && to_at < from_at,
        "nouns" => name(to_layer) == "words",
        "places" => name(to_layer) == "words" || (to_layer == from_layer && to_at < from_at),
        "format" | "verbs" => to_layer < from_layer,
        _ => true,
    }
}

/// Finds the top-level modules that a source text names by `crate::` or `airgap_bundler::`, also inside braces.
fn imports(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::").chain(text.match_indices("airgap_bundler::")) {
        let line = text[..at].matches('\n').count() + 1;
        let code = text[..at].rsplit('\n').next().unwrap_or_default().trim_start();
        if code.starts_with("//") || text[..at].ends_with('$') {
            continue;
        }
        let rest = &text[at..];
        let rest = &rest[rest.find("::").map_or(0, |colons| colons + 2)..];
        let names: Vec<&str> = match rest.strip_prefix('{') {
            None => vec![rest],
            Some(group) => {
                let mut depth = 0usize;
                let mut names = vec![group];
                for (i, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => names.push(&group[i + 1..]),
                        _ => {}
                    }
                }
                names
            }
        };
        for name in names {
            let name: String =
                name.trim_start().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            if !name.is_empty() {
                found.push((line, name));
            }
        }
    }
    found
}

fn sources(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
}

fn all_sources() -> Vec<(String, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    paths
        .iter()
        .map(|path| {
            let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
            let module = name.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
            (name, module, fs::read_to_string(path).unwrap())
        })
        .collect()
}

#[test]
fn imports_point_downwards_only() {
    let mut broken = Vec::new();
    for (name, module, text) in all_sources() {
        if matches!(module.as_str(), "main" | "lib") {
            continue;
        }
        assert!(
            place(&module).is_some(),
            "src/{name}: module `{module}` has no layer; give it one in docs/architecture.md"
        );
        for (line, target) in imports(&text) {
            if place(&target).is_some() && !may_import(&module, &target) {
                broken.push(format!("src/{name}:{line}: {module} imports {target}"));
            }
        }
    }
    assert!(broken.is_empty(), "upward imports:\n{}", broken.join("\n"));
}

#[test]
fn the_check_itself_sees_upward_imports() {
    assert!(!may_import("oci", "store") && !may_import("load", "fetch") && !may_import("store", "trust"));
    assert!(may_import("fetch", "archive") && may_import("discover", "kube") && may_import("registry", "store"));
    let seen = imports("use crate::{oci::{Digest, Tag}, cli};\nfn f() { crate::load::x() }\n// crate::serve\n");
    assert_eq!(seen, [(1, "oci".into()), (1, "cli".into()), (2, "load".into())]);
}

#[test]
fn outside_crates_are_imported_by_their_owner_only() {
    // A dependency that carries risk or I/O has one owner module (`docs/architecture.md`, "Dependencies").
    let owners: &[(&str, &[&str])] = &[
        ("reqwest::", &["net"]),
        ("std::fs", &["files"]),
        // Charts make keys too; nouns do not know each other (docs/decisions/0005-keys-of-charts.md).
        ("ed25519_dalek::", &["trust"]),
        ("ring::", &["trust", "helm"]),
        ("p256::", &["trust", "helm"]),
        ("scrypt::", &["trust", "helm"]),
        ("p384::", &["trust", "helm"]),
        ("rcgen::", &["trust"]),
        ("x509_parser::", &["trust"]),
        ("webpki::", &["trust"]),
        ("num_bigint::", &["helm"]),
        ("bcrypt::", &["helm"]),
        ("aes::", &["trust", "helm"]),
        ("crypto_secretbox::", &["trust"]),
        ("serde_yaml::", &["yaml"]),
        ("libyaml_safer::", &["yaml"]),
        ("memchr::", &["helm"]),
        ("stacker::", &["helm"]),
        ("sha2::", &["oci"]),
        ("tar::", &["files"]),
        ("flate2::", &["files"]),
        ("axum::", &["serve"]),
        ("clap::", &["cli"]),
        ("indicatif::", &["cli"]),
        ("backon::", &["net"]),
    ];
    let mut broken = Vec::new();
    for (name, module, text) in all_sources() {
        let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        for (number, line) in text.lines().enumerate() {
            let code = line.trim_start();
            for (needle, allowed) in owners {
                let starts =
                    |at: usize| at == 0 || !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
                if !code.starts_with("//")
                    && code.match_indices(needle).any(|(at, _)| starts(at))
                    && !allowed.contains(&module.as_str())
                    && module != "main"
                {
                    broken.push(format!(
                        "src/{name}:{}: {} belongs to {allowed:?}",
                        number + 1,
                        needle.trim_end_matches(':')
                    ));
                }
            }
        }
    }
    assert!(broken.is_empty(), "imports by others than the owner:\n{}", broken.join("\n"));
}

#[test]
fn files_stay_readable() {
    let mut long = Vec::new();
    for (name, _, text) in all_sources() {
        let vague = ["util", "utils", "common", "helpers", "misc"];
        let stem = name.rsplit('/').next().unwrap().trim_end_matches(".rs");
        assert!(!vague.contains(&stem), "src/{name}: the name says nothing");
        if text.lines().count() > 800 {
            long.push(name);
        }
    }
    assert!(long.is_empty(), "files over 800 lines: {long:?}");
}

#[test]
fn no_second_crypto_stack_and_no_dangerous_crate_enters() {
    // The same list as in deny.toml, checked without its tool and without the network.
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lock = fs::read_to_string(root.join("Cargo.lock")).unwrap();
    let deny = fs::read_to_string(root.join("deny.toml")).unwrap();
    let banned: Vec<&str> = deny.split("{ crate = \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(banned.len() >= 8, "deny.toml lists what must not enter");
    let found: Vec<&&str> = banned.iter().filter(|name| lock.contains(&format!("\nname = \"{name}\"\n"))).collect();
    assert!(found.is_empty(), "Cargo.lock holds {found:?}");
}
