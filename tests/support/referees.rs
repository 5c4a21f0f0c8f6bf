//! Stock tools that judge our work, because our client and our server share their author.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Finds a stock tool: one of `names` in the directory `BUNDLE_REFEREES` or on the `PATH`, in this order. A missing tool
/// is said loudly, and is a failure where `CI` is `true`.
pub fn find(names: &[&str]) -> Option<PathBuf> {
    let found = look(names);
    if found.is_none() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "none of {names:?} is here, and CI must have it");
        eprintln!("SKIPPED: none of {names:?} is in BUNDLE_REFEREES or on the PATH");
    }
    found
}

/// Finds a tool that CI need not have.
pub fn find_if_here(names: &[&str]) -> Option<PathBuf> {
    let found = look(names);
    if found.is_none() {
        eprintln!("SKIPPED: none of {names:?} is in BUNDLE_REFEREES or on the PATH");
    }
    found
}

fn look(names: &[&str]) -> Option<PathBuf> {
    let own = std::env::var_os("BUNDLE_REFEREES").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = own.into_iter().chain(std::env::split_paths(&path)).collect();
    folders.iter().flat_map(|folder| names.iter().map(move |name| folder.join(name))).find(|path| path.is_file())
}

pub fn skopeo() -> Option<PathBuf> {
    find(&["skopeo-new", "skopeo"])
}

pub fn crane() -> Option<PathBuf> {
    find(&["crane"])
}

pub fn oras() -> Option<PathBuf> {
    find(&["oras"])
}

pub fn cosign() -> Option<PathBuf> {
    find(&["cosign"])
}

pub fn docker_registry() -> Option<PathBuf> {
    find(&["docker-registry-283", "docker-registry"])
}

/// Runs a tool in a home directory of its own, without proxies and without the user's credentials.
pub fn run(tool: &Path, home: &Path, arguments: &[&str]) -> Output {
    command(tool, home).args(arguments).output().unwrap_or_else(|error| panic!("{}: {error}", tool.display()))
}

/// Runs a tool that must succeed and returns what it wrote to its standard output.
pub fn must(tool: &Path, home: &Path, arguments: &[&str]) -> String {
    let output = run(tool, home, arguments);
    assert!(
        output.status.success(),
        "{} {}\n{}{}",
        tool.display(),
        arguments.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Prepares a run.
pub fn command(tool: &Path, home: &Path) -> Command {
    let mut command = Command::new(tool);
    command.current_dir(home).env("HOME", home).env("XDG_RUNTIME_DIR", home).env("DOCKER_CONFIG", home);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "REGISTRY_AUTH_FILE", "XDG_CONFIG_HOME"] {
        command.env_remove(name);
    }
    command
}
