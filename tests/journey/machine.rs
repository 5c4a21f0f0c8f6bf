//! A user at a machine: a folder that is home and working directory at once, with own credentials, keys and memory.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use airgap_bundler::oci::Digest;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// What every key of these tests is encrypted with.
const PASSPHRASE: &str = "open sesame";

/// One machine with one user; nothing of the real user's is seen or touched.
pub struct Machine {
    place: tempfile::TempDir,
}

/// How a command ended.
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ended {
    pub fn of(output: &Output) -> Ended {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ended { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Returns what was printed, as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}\n{}\n{}", self.out, self.err))
    }

    /// Returns the error object that `--output json` writes to stderr as its last line.
    #[track_caller]
    pub fn error(&self) -> Value {
        let line = self.err.lines().last().unwrap_or_default();
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}\n{}", self.err))["error"].take()
    }

    /// Asserts that stderr says every one of these texts.
    #[track_caller]
    pub fn says(&self, texts: &[&str]) -> &Self {
        for text in texts {
            assert!(self.err.contains(text), "{text:?} is not said:\n{}", self.err);
        }
        self
    }
}

impl Machine {
    pub fn new() -> Machine {
        Machine { place: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap()
    }

    pub fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// Prepares a program with nothing of the real environment but `PATH`.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        let home = self.place.path();
        command
            .current_dir(home)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home)
            .env("XDG_RUNTIME_DIR", home)
            .env("DOCKER_CONFIG", home.join("docker"))
            .env("BUNDLE_STATE_DIR", home.join("state"))
            .env("COSIGN_PASSWORD", PASSPHRASE)
            .stdin(Stdio::null());
        command
    }

    /// Prepares the binary under test.
    pub fn bundle(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(Path::new(env!("CARGO_BIN_EXE_bundle")));
        command.args(arguments);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(&self.bundle(arguments).output().unwrap())
    }

    /// Runs the binary under test, which must end with this exit code.
    #[track_caller]
    pub fn ends(&self, code: i32, arguments: &[&str]) -> Ended {
        let ended = self.run(arguments);
        assert_eq!(
            ended.code,
            Some(code),
            "bundle {}\n--- stdout\n{}\n--- stderr\n{}",
            arguments.join(" "),
            ended.out,
            ended.err
        );
        ended
    }

    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> Ended {
        self.ends(0, arguments)
    }

    /// Runs a command with a text on its standard input.
    pub fn fed(&self, input: &str, arguments: &[&str]) -> Ended {
        let mut child =
            self.bundle(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A command that refuses before it reads closes the pipe.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        Ended::of(&child.wait_with_output().unwrap())
    }

    /// Runs a stock tool that must succeed; it trusts the roots that [`Machine::trust`] collected.
    #[track_caller]
    pub fn tool(&self, program: &Path, arguments: &[&str]) -> String {
        let ended = self.try_tool(program, arguments);
        assert_eq!(ended.code, Some(0), "{} {}\n{}{}", program.display(), arguments.join(" "), ended.out, ended.err);
        ended.out
    }

    pub fn try_tool(&self, program: &Path, arguments: &[&str]) -> Ended {
        let mut command = self.command(program);
        if self.has("roots.pem") {
            // Tools written in Go read it.
            command.env("SSL_CERT_FILE", self.path("roots.pem"));
        }
        Ended::of(&command.args(arguments).output().unwrap())
    }

    /// Makes a key pair: `NAME.key` and `NAME.pub`.
    pub fn keys(&self, name: &str) {
        self.ok(&["keygen", "--output-key-prefix", name]);
    }

    /// Does what `docker login` does.
    pub fn login(&self, host: &str, (user, password): (&str, &str)) {
        let path = "docker/config.json";
        let mut config: Value =
            if self.has(path) { serde_json::from_slice(&self.read(path)).unwrap() } else { json!({"auths": {}}) };
        config["auths"][host] = json!({"auth": STANDARD.encode(format!("{user}:{password}"))});
        self.write(path, config.to_string());
    }

    /// Lets stock tools trust one more root.
    pub fn trust(&self, root: &str) {
        let mut all = if self.has("roots.pem") { self.text("roots.pem") } else { String::new() };
        all.push_str(root);
        self.write("roots.pem", all);
    }
}

/// Returns the digest of some bytes as text.
pub fn digest(bytes: impl AsRef<[u8]>) -> String {
    Digest::sha256(bytes.as_ref()).to_string()
}
