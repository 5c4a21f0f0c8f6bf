//! How the commands behave in pipes, logs and terminals, and when somebody presses Ctrl-C.

use std::{
    io::Read,
    net::TcpListener,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use super::{machine::Ended, shop::Shop, source::End};
use crate::support::referees;

#[test]
fn results_go_to_stdout_and_everything_else_to_stderr() {
    let shop = Shop::new();
    let made = shop.machine.ok(&["create", "--key", "shop.key", "-o", "shop.tar"]);
    assert!(made.out.starts_with("shop.tar: ") && made.out.lines().count() == 2, "{}", made.out);
    made.says(&["resolve: 2 images", "pull: done"]);
    assert!(!made.err.contains(['\r', '\u{1b}']), "plain lines without a terminal: {:?}", made.err);
    // The same again over the archive that is there.
    let bytes = shop.machine.read("shop.tar");
    shop.machine.ok(&["create", "--key", "shop.key", "-o", "shop.tar"]);
    assert!(shop.machine.read("shop.tar") == bytes);
    // And over an archive of something else.
    shop.machine.write("motd.txt", "changed\n");
    shop.machine.ok(&["create", "--key", "shop.key", "-o", "shop.tar"]);
    assert!(shop.machine.read("shop.tar") != bytes);
    shop.machine.ok(&["verify", "shop.tar", "--key", "shop.pub"]);
    shop.machine.ends(3, &["create", "--key", "shop.key", "-o", "no/such/folder.tar"]).says(&["no/such"]);
    assert_ne!(shop.machine.run(&["create", "--key", "shop.key", "-o", "deploy"]).code, Some(0));
    let left: Vec<_> =
        std::fs::read_dir(shop.machine.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("part")), "{left:?}");
    assert_eq!(shop.machine.ok(&["create", "-q", "--key", "shop.key", "-o", "quiet.tar"]).err, "");
    let lines = shop.machine.ok(&["create", "--progress", "json", "--key", "shop.key", "-o", "lines.tar"]).err;
    for line in lines.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

#[test]
fn a_bundle_of_nothing_is_still_a_bundle() {
    let shop = Shop::new();
    shop.machine.write("deploy/app.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: only}\n");
    for body in ["manifests: [{path: deploy/}]\n", "files: [{path: motd.txt, name: motd}]\n", ""] {
        shop.spec(body);
        shop.create("shop.tar");
        shop.machine.ok(&["verify", "shop.tar", "--key", "shop.pub"]);
        shop.machine.ok(&["inspect", "shop.tar", "--key", "shop.pub"]);
        let loaded = shop.load("shop.tar", &End::ours(), &["--key", "shop.pub"]);
        assert_eq!(loaded.code, Some(0), "{body:?}: {}", loaded.err);
        shop.machine.ok(&["create", "--locked", "--key", "shop.key", "-o", "again.tar"]);
        let _ = std::fs::remove_dir_all(shop.machine.path("state"));
    }
}

#[test]
fn a_tag_that_pointed_elsewhere_is_moved_and_remembered() {
    let shop = Shop::new();
    let target = End::ours();
    let before = target.registry().put_image("docker.io/shop/app", "1", &[b"what was there"]).digest;
    shop.create("shop.tar");
    let receipt = shop.load("shop.tar", &target, &["--key", "shop.pub", "-o", "json"]).json()["receipt"].take();
    let app =
        receipt["images"].as_array().unwrap().iter().find(|image| image["source"] == "docker.io/shop/app").unwrap();
    assert_eq!(app["replaced"], serde_json::json!({"1": before}), "{app}");
    let there = target.registry().get("/v2/docker.io/shop/app/manifests/1").body;
    assert_eq!(app["digest"], super::machine::digest(there));
}

#[test]
fn a_dry_run_writes_nothing() {
    let shop = Shop::new();
    let shown = shop.machine.ok(&["create", "--dry-run", "-o", "shop.tar"]).out;
    assert!(shown.contains("docker.io/shop/app:1") && shown.contains("shop.tar would be"), "{shown}");
    assert!(!shop.machine.has("shop.tar") && !shop.machine.has("bundle.lock"));
    let shown = shop.machine.ok(&["create", "--dry-run", "-o", "json"]).json();
    assert_eq!(shown["images"].as_array().unwrap().len(), 2);
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let shop = Shop::new();
    shop.create("shop.tar");
    for arguments in [&["schema"][..], &["inspect", "shop.tar"], &["why", "app"], &["completions", "bash"]] {
        let mut command = shop.machine.bundle(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // As `| head -0` does.
        drop(child.stdout.take());
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let status = child.wait().unwrap();
        assert_eq!((status.code(), said.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let shop = Shop::new();
    let Some(script) = referees::find_if_here(&["script"]) else { return };
    let run = |variables: &[(&str, &str)]| {
        let mut command = shop.machine.command(Path::new(&script));
        let line = format!("{} verify shop.yaml --key shop.pub", env!("CARGO_BIN_EXE_bundle"));
        command.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").envs(variables.iter().copied());
        Ended::of(&command.output().unwrap())
    };
    let coloured = run(&[]);
    assert!(coloured.code == Some(3) && coloured.out.contains("\u{1b}["), "{:?} {:?}", coloured.code, coloured.out);
    let plain = run(&[("NO_COLOR", "1")]);
    assert!(plain.out.contains("shop.yaml") && !plain.out.contains('\u{1b}'), "{:?}", plain.out);
}

#[test]
fn ctrl_c_ends_with_130_and_the_same_command_continues() {
    let shop = Shop::new();
    // It takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let good = shop.machine.text("bundle.yaml");
    shop.machine.write("bundle.yaml", good.replace(&shop.source.host, &silent.local_addr().unwrap().to_string()));
    let mut command = shop.machine.bundle(&["create", "--key", "shop.key", "-o", "shop.tar"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let _asked = silent.accept().unwrap();
    let pid = child.id().to_string();
    let started = Instant::now();
    shop.machine.tool(Path::new("kill"), &["-INT", &pid]);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(started.elapsed() < Duration::from_secs(20), "it ends at once");
    shop.machine.write("bundle.yaml", good);
    shop.machine.ok(&["create", "--key", "shop.key", "-o", "shop.tar"]);
}

#[test]
fn the_exit_codes_are_those_of_the_architecture() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architecture.md");
    let page = std::fs::read_to_string(page).unwrap();
    let section = page.split("## Errors and exit codes").nth(1).unwrap().split("\n## ").next().unwrap();
    let listed: Vec<u8> =
        section.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok()).collect();
    // 0 to 6 and 130 are reached by other tests of this folder, 7 by `--locked` without a lock.
    use airgap_bundler::error::Kind;
    let kinds = [
        Kind::Answer,
        Kind::Usage,
        Kind::NotFound,
        Kind::Unavailable,
        Kind::Corrupt,
        Kind::Untrusted,
        Kind::Incomplete,
        Kind::Internal,
    ];
    let codes = std::iter::once(0).chain(kinds.map(Kind::exit_code)).chain([130]);
    assert_eq!(listed, codes.collect::<Vec<u8>>());
}
