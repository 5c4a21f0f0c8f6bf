//! `bundle demo` comes to its end, tells every step, and leaves nothing behind.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

fn demo(temporary: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bundle"))
        .arg("demo")
        .args(arguments)
        .env("TMPDIR", temporary)
        // Nothing of the surroundings may lead it astray.
        .env("HTTP_PROXY", "http://127.0.0.1:1")
        .env("http_proxy", "http://127.0.0.1:1")
        .env("BUNDLE_PASSWORD_FILE", "/does/not/exist")
        .env("COSIGN_PASSWORD", "not that of the demo")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[track_caller]
fn story(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

const COMMANDS: [&str; 10] = [
    "$ cat bundle.yaml",
    "$ bundle keygen --output-key-prefix demo",
    "$ bundle resolve bundle.yaml",
    "$ bundle why busybox bundle.yaml",
    "$ bundle create bundle.yaml --key demo.key",
    "$ bundle verify demo-1.0.0.bundle.tar --key demo.pub",
    "$ bundle inspect demo-1.0.0.bundle.tar --key demo.pub",
    "$ bundle load demo-1.0.0.bundle.tar --key demo.pub --to 127.0.0.1:",
    "$ bundle load demo-1.0.0.bundle.tar --key demo.pub --to 127.0.0.1:",
    "$ bundle verify changed.bundle.tar --key demo.pub",
];

#[test]
fn the_demo_tells_every_step_and_leaves_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    let output = demo(temporary.path(), &[]);
    let text = story(&output);
    let mut rest = text.as_str();
    for command in COMMANDS {
        let at = rest.find(command).unwrap_or_else(|| panic!("{command} is not next:\n{rest}"));
        rest = &rest[at + command.len()..];
    }
    for outcome in [
        "registries:\n",
        "intact: ",
        "0 blobs pushed",
        "(exit code 5)",
        "/quay.io/prometheus/node-exporter:v1.9.0",
        "That was the whole journey",
    ] {
        assert!(text.contains(outcome), "{outcome}\n{text}");
    }
    let told = text.lines().filter(|line| line.chars().count() > 80).collect::<Vec<_>>();
    assert!(told.len() <= 3, "few words are too long for eighty columns: {told:#?}");
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[test]
fn what_is_kept_can_be_used() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("kept");
    let name = folder.to_str().unwrap();
    let text = story(&demo(temporary.path(), &["--keep", name]));
    assert!(text.contains(&format!("bundle serve {name}/demo-1.0.0.bundle.tar --key {name}/demo.pub")), "{text}");
    let verified = Command::new(env!("CARGO_BIN_EXE_bundle"))
        .args(["verify", "demo-1.0.0.bundle.tar", "--key", "demo.pub", "--quiet"])
        .current_dir(&folder)
        .status()
        .unwrap();
    assert!(verified.success());
    let again = demo(temporary.path(), &["--keep", name]);
    assert_eq!(again.status.code(), Some(2), "a folder that holds something is left alone");
}
