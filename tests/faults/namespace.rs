//! Runs a test in namespaces of its own: with mounts or a network that end with it, whatever happens.

use std::process::Command;

/// Set for the test that runs inside.
const INSIDE: &str = "BUNDLE_TEST_INSIDE";

/// Runs the ignored test `name` of this program under `unshare` with these flags, after the shell command `first`. Where
/// that is not permitted it is said loudly, and is a failure where `CI` is `true`.
pub fn run(flags: &[&str], first: &str, name: &str) {
    // As root, or as a user who is root in a namespace of his own.
    let ways: [&[&str]; 2] = [&[], &["--map-root-user"]];
    let unshare = |way: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(way).args(flags).args(["sh", "-c"]);
        command
    };
    let permitted = |way: &&&[&str]| unshare(way).arg(first).output().is_ok_and(|output| output.status.success());
    let Some(way) = ways.iter().find(permitted) else {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "unshare {flags:?} is not permitted, and CI must permit it"
        );
        eprintln!("SKIPPED: unshare {flags:?} is not permitted here");
        return;
    };
    let output = unshare(way)
        .arg(format!("{first} && exec \"$0\" \"$@\""))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "yes")
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    print!("{text}");
}

/// Tells whether this is the test inside; it means nothing outside.
pub fn is_inside() -> bool {
    let inside = std::env::var_os(INSIDE).is_some();
    if !inside {
        eprintln!("SKIPPED: started by the test of the same name that is not ignored");
    }
    inside
}
