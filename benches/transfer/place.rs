//! Where a benchmark runs: the tools, registries as child processes, and a far link.

use std::{
    collections::VecDeque,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use crate::images;

/// The scratch folder and the tools.
pub struct Place {
    pub dir: PathBuf,
    tools: PathBuf,
}

impl Place {
    /// Checks that the referees are there; says what to do when they are not.
    pub fn prepare() -> Option<Place> {
        let tools = PathBuf::from(std::env::var_os("BUNDLE_REFEREES").unwrap_or_else(|| "target/referees".into()));
        let tools = std::fs::canonicalize(&tools).unwrap_or(tools);
        for tool in ["skopeo-new", "crane", "oras", "docker-registry-283"] {
            if !tools.join(tool).exists() {
                println!("SKIPPED: {tool} is not in {}: run `.ci/referees {}` first", tools.display(), tools.display());
                return None;
            }
        }
        let dir =
            std::env::var_os("BENCH_DIR").map_or_else(|| std::env::temp_dir().join("bundle-bench"), PathBuf::from);
        std::fs::create_dir_all(&dir).unwrap();
        let place = Place { dir, tools };
        let prefix = place.dir.join("bench");
        let _ = std::fs::remove_file(prefix.with_extension("key"));
        let _ = std::fs::remove_file(prefix.with_extension("pub"));
        let made = place.bundle().args(["keygen", "--output-key-prefix"]).arg(&prefix).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Some(place)
    }

    /// Returns the folders in which tools write: their output, their temporary files, what they remember.
    pub fn written(&self) -> [PathBuf; 3] {
        ["out", "tmp", "state"].map(|name| self.dir.join(name))
    }

    /// Removes everything that tools wrote and returns a path for the output of the next one.
    pub fn fresh(&self, name: &str) -> PathBuf {
        for folder in self.written() {
            let _ = std::fs::remove_dir_all(&folder);
            std::fs::create_dir_all(&folder).unwrap();
        }
        self.dir.join("out").join(name)
    }

    /// Returns a path for something that several runs start from.
    pub fn renewed(&self, name: &str) -> PathBuf {
        let path = self.dir.join(name);
        let _ = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        path
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("TMPDIR", self.dir.join("tmp"));
        command
    }

    pub fn bundle(&self) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_bundle"));
        command.env("COSIGN_PASSWORD", "bench").env("BUNDLE_STATE_DIR", self.dir.join("state"));
        command
    }

    pub fn skopeo(&self) -> Command {
        // The wrapper would count its shell's memory; the binary is run by its own loader instead.
        let home = self.tools.join("skopeo.d");
        let mut command = self.command(home.join("ld-linux-x86-64.so.2"));
        command.arg("--library-path").arg(&home).arg(home.join("skopeo")).arg("--insecure-policy");
        command
    }

    pub fn crane(&self) -> Command {
        self.command(self.tools.join("crane"))
    }

    pub fn oras(&self) -> Command {
        self.command(self.tools.join("oras"))
    }

    /// Starts an empty registry.
    pub fn registry(&self, name: &str) -> Registry {
        let root = self.dir.join(format!("registry-{name}"));
        let _ = std::fs::remove_dir_all(&root);
        std::fs::create_dir_all(&root).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = self.dir.join(format!("registry-{name}.yml"));
        std::fs::write(
            &config,
            format!(
                "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:{port}', secret: bench}}\n",
                root.display()
            ),
        )
        .unwrap();
        let child = Command::new(self.tools.join("docker-registry-283"))
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = Registry { child: Some(child), port };
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(10), "docker-registry does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        registry
    }

    /// Pushes all images of the benchmark into a registry.
    pub fn fill(&self, registry: &Registry) {
        self.fresh("nothing");
        let layout = self.dir.join("source-layout");
        let _ = std::fs::remove_dir_all(&layout);
        let images: Vec<&images::Image> = images::FIVE.iter().chain([&images::MANY]).collect();
        images::write(&layout, &images);
        for image in images {
            let to = format!("docker://{}/bench/{}:1", registry.address(), image.name);
            let from = format!("oci:{}:{}", layout.display(), image.name);
            let pushed = self.skopeo().args(["copy", "-q", "--dest-tls-verify=false", &from, &to]).output().unwrap();
            assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
        }
        std::fs::remove_dir_all(&layout).unwrap();
    }

    /// Puts a far link in front of a registry.
    pub fn far(&self, registry: &Registry) -> Registry {
        Registry { child: None, port: far_link(registry.port) }
    }
}

/// A registry on loopback; ends with its value.
pub struct Registry {
    child: Option<Child>,
    port: u16,
}

impl Registry {
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns the process of the registry; none has the number 0.
    pub fn id(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// One way of the far link, in milliseconds: half of a 20 ms round trip.
const ONE_WAY: Duration = Duration::from_millis(10);
/// What one connection may have under way, as a window-limited TCP connection does.
const IN_FLIGHT: usize = 2 << 20;

fn far_link(upstream: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for near in listener.incoming().flatten() {
            std::thread::spawn(move || {
                // A handshake costs one round trip before the first byte can leave.
                std::thread::sleep(ONE_WAY * 2);
                let Ok(far) = TcpStream::connect(("127.0.0.1", upstream)) else { return };
                let _ = (near.set_nodelay(true), far.set_nodelay(true));
                let done = Arc::new(AtomicBool::new(false));
                one_way(near.try_clone().unwrap(), far.try_clone().unwrap(), Arc::clone(&done));
                one_way(far, near, done);
            });
        }
    });
    port
}

/// How much the link takes at once.
const PIECE: usize = 256 << 10;

/// One piece on its way.
struct Piece {
    due: Instant,
    bytes: Vec<u8>,
    size: usize,
}

fn one_way(mut from: TcpStream, mut to: TcpStream, done: Arc<AtomicBool>) {
    let (send, receive) = mpsc::channel::<Piece>();
    let (give_back, spare) = mpsc::channel::<Vec<u8>>();
    let gone = Arc::clone(&done);
    std::thread::spawn(move || {
        let mut under_way: VecDeque<(Instant, usize)> = VecDeque::new();
        let mut in_flight = 0;
        loop {
            while let Some((acknowledged, size)) = under_way.front().copied() {
                let now = Instant::now();
                if acknowledged > now {
                    if in_flight + PIECE <= IN_FLIGHT {
                        break;
                    }
                    std::thread::sleep(acknowledged - now);
                }
                in_flight -= size;
                under_way.pop_front();
            }
            let mut bytes = spare.try_recv().unwrap_or_else(|_| vec![0; PIECE]);
            match from.read(&mut bytes) {
                Ok(0) | Err(_) => break,
                Ok(size) => {
                    let now = Instant::now();
                    in_flight += size;
                    under_way.push_back((now + ONE_WAY * 2, size));
                    let piece = Piece { due: now + ONE_WAY, bytes, size };
                    if gone.load(Ordering::Relaxed) || send.send(piece).is_err() {
                        break;
                    }
                }
            }
        }
    });
    std::thread::spawn(move || {
        while let Ok(piece) = receive.recv() {
            std::thread::sleep(piece.due.saturating_duration_since(Instant::now()));
            if to.write_all(&piece.bytes[..piece.size]).is_err() {
                done.store(true, Ordering::Relaxed);
                break;
            }
            let _ = give_back.send(piece.bytes);
        }
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
}
