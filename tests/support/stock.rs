//! Stock programs as referees: found in the folder of `BUNDLE_REFEREES` or in `PATH`.

use std::{
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Finds a program; says loudly when a test is skipped for want of it.
pub fn find(names: &[&str]) -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = std::env::var_os("BUNDLE_REFEREES").into_iter().map(PathBuf::from).collect();
    folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let found =
        folders.iter().flat_map(|folder| names.iter().map(|name| folder.join(name))).find(|path| path.is_file());
    if found.is_none() {
        assert!(
            std::env::var_os("BUNDLE_REFEREES_REQUIRED").is_none(),
            "none of {names:?} is in BUNDLE_REFEREES or PATH"
        );
        // Straight to the stream: what a passing test prints by macro is not shown.
        let _ = writeln!(io::stderr(), "SKIPPED: none of {names:?} is in BUNDLE_REFEREES or PATH");
    }
    found
}

/// A running registry, stopped when dropped.
pub struct StockRegistry {
    child: Child,
    /// `127.0.0.1:PORT`.
    pub host: String,
    _data: tempfile::TempDir,
}

/// What a registry asks of its clients.
#[derive(Default)]
pub struct Options<'a> {
    /// An htpasswd file (bcrypt).
    pub htpasswd: Option<&'a Path>,
    /// Certificate and key.
    pub tls: Option<(&'a Path, &'a Path)>,
    /// The authority of client certificates.
    pub client_ca: Option<&'a Path>,
    /// In maintenance: nothing can be written.
    pub read_only: bool,
}

impl StockRegistry {
    /// Starts `docker-registry` (distribution), or skips.
    pub fn docker(options: &Options<'_>) -> Option<Self> {
        let program = find(&["docker-registry-283", "docker-registry", "registry"])?;
        let data = tempfile::tempdir().unwrap();
        let mut config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage:\n  filesystem: {{rootdirectory: {:?}}}\n  delete: {{enabled: true}}\n",
            data.path().join("data")
        );
        if options.read_only {
            config += "  maintenance: {readonly: {enabled: true}}\n";
        }
        if let Some(path) = options.htpasswd {
            config += &format!("auth:\n  htpasswd: {{realm: test, path: {path:?}}}\n");
        }
        config += "http:\n  addr: 127.0.0.1:0\n";
        if let Some((cert, key)) = options.tls {
            config += &format!("  tls:\n    certificate: {cert:?}\n    key: {key:?}\n");
            if let Some(ca) = options.client_ca {
                config += &format!("    clientcas: [{ca:?}]\n");
            }
        }
        let file = data.path().join("config.yml");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(program);
        command.arg("serve").arg(&file).env("OTEL_TRACES_EXPORTER", "none");
        Some(Self::run(command, data, "listening on 127.0.0.1:"))
    }

    /// Starts `crane registry serve` (go-containerregistry), or skips.
    pub fn crane() -> Option<Self> {
        let program = find(&["crane"])?;
        let data = tempfile::tempdir().unwrap();
        let mut command = Command::new(program);
        command.args(["registry", "serve", "--address", "127.0.0.1:0", "--disk"]).arg(data.path());
        Some(Self::run(command, data, "serving on port "))
    }

    /// Runs until it says on which port.
    fn run(mut command: Command, data: tempfile::TempDir, words: &str) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let port: String = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let rest = &line[line.find(words)? + words.len()..];
                Some(rest.chars().take_while(char::is_ascii_digit).collect())
            })
            .expect("the registry says where it listens");
        std::thread::spawn(move || lines.for_each(drop));
        StockRegistry { child, host: format!("127.0.0.1:{port}"), _data: data }
    }
}

impl Drop for StockRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
