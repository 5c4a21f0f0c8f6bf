//! Documentation that is generated is current; documentation that is written does not promise what is not there.

use std::{fs, path::Path};

/// `UPDATE=1 cargo test docs` writes the pages anew.
#[test]
fn the_command_reference_is_current() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli");
    let update = std::env::var_os("UPDATE").is_some();
    if update {
        fs::create_dir_all(&folder).unwrap();
    }
    let pages = airgap_bundler::cli::reference::pages();
    for (name, text) in &pages {
        let path = folder.join(name);
        if update {
            fs::write(&path, text).unwrap();
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(&found, text, "docs/cli/{name} is out of date: run `UPDATE=1 cargo test docs`");
    }
    for entry in fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(pages.iter().any(|(page, _)| *page == name), "docs/cli/{name} describes no command");
    }
}

/// Every relative link of the written pages leads somewhere.
#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut broken = Vec::new();
    for page in [
        "README.md",
        "docs/guide.md",
        "docs/spec.md",
        "docs/signing.md",
        "docs/diff.md",
        "docs/issuer.md",
        "manifests/README.md",
        "docs/format.md",
        "docs/architecture.md",
        "docs/benchmarks.md",
        "docs/preflight.md",
    ] {
        let text = fs::read_to_string(root.join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        let folder = root.join(page).parent().unwrap().to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap();
            if !target.is_empty() && !link.contains("://") && !folder.join(target).exists() {
                broken.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// What the README's table names as a command is one.
#[test]
fn the_readme_names_real_commands() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let pages = airgap_bundler::cli::reference::pages();
    for rest in text.split("`bundle ").skip(1) {
        let name: String = rest.chars().take_while(|c| c.is_ascii_lowercase()).collect();
        assert!(pages.iter().any(|(page, _)| *page == format!("{name}.md")), "README names `bundle {name}`");
    }
}
