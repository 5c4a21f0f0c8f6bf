//! Registries for tests: ours in this process, and Debian's docker-registry as a child process. Always on the loopback
//! interface, always on a free port, one per test.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, LazyLock, Mutex, mpsc},
    time::{Duration, Instant},
};

use airgap_bundler::{
    oci::{Descriptor, Digest, media_type},
    serve::{self, Access, Backend, Data, Limits, Login, Options, Policy, Running},
};
use axum::Router;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;

use super::{
    certificates::Certificates,
    referees,
    wire::{self, Answer},
};

/// Registries run beside the tests, so that a test may block, be asynchronous, or wait for a child process.
static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime starts")
});

/// Runs something on the runtime of the registries and waits for it, from any thread.
pub fn wait_for<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    RUNTIME.spawn(async move {
        let _ = sender.send(work.await);
    });
    receiver.recv().expect("the work does not panic")
}

/// Says what kind of encryption a registry wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// None.
    #[default]
    Plain,
    /// TLS with a certificate of our own root.
    Tls,
    /// TLS, and the client must present a certificate of our own root.
    Mutual,
}

/// Puts something around the routes of a registry.
pub type Wrap = Box<dyn FnOnce(Router) -> Router + Send>;

/// Says what kind of registry to start.
#[derive(Default)]
pub struct Setup {
    pub policy: Policy,
    pub limits: Limits,
    /// User and password, needed for everything.
    pub login: Option<(&'static str, &'static str)>,
    pub security: Security,
    /// Where it keeps its data; a temporary directory when not given.
    pub data: Option<PathBuf>,
    /// What to put around it, such as faults.
    pub wrap: Option<Wrap>,
}

/// Tells of a request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    pub method: String,
    pub path: String,
    pub query: Option<String>,
    pub status: u16,
}

/// Is a registry that runs in this process; dropping it stops it.
pub struct Registry {
    running: Option<Running>,
    hits: Arc<Mutex<Vec<Hit>>>,
    login: Option<(&'static str, &'static str)>,
    pub certificates: Option<Certificates>,
    place: tempfile::TempDir,
}

impl Registry {
    /// Starts an empty, writable registry.
    pub fn start() -> Registry {
        Registry::with(Setup::default())
    }

    /// Starts a writable registry.
    pub fn with(setup: Setup) -> Registry {
        let place = tempfile::tempdir().unwrap();
        let data = setup.data.clone().unwrap_or_else(|| place.path().join("data"));
        // Nobody cuts the power in the middle of a test.
        let data = open_when_free(&data, false);
        Registry::over(data, setup, place)
    }

    /// Starts a registry over any backend.
    pub fn of<B: Backend>(backend: B, setup: Setup) -> Registry {
        Registry::over(backend, setup, tempfile::tempdir().unwrap())
    }

    fn over<B: Backend>(backend: B, setup: Setup, place: tempfile::TempDir) -> Registry {
        let hits: Arc<Mutex<Vec<Hit>>> = Arc::default();
        let log = Arc::clone(&hits);
        let certificates = (setup.security != Security::Plain).then(Certificates::new);
        let tls = certificates.as_ref().map(|made| serve::Tls {
            certificates: made.server.clone().into_bytes(),
            key: made.server_key.clone().into_bytes(),
            client_roots: (setup.security == Security::Mutual).then(|| made.root.clone().into_bytes()),
        });
        let access = match setup.login {
            Some((user, password)) => Access::Logins(vec![Login::new(user, password)]),
            None => Access::Open,
        };
        let options = Options {
            tls,
            access,
            policy: setup.policy,
            limits: setup.limits,
            watch: Some(Arc::new(move |visit| {
                if let Some(trouble) = &visit.trouble {
                    eprintln!("{} {}: {trouble}", visit.method, visit.path);
                }
                log.lock().unwrap().push(Hit {
                    method: visit.method.clone(),
                    path: visit.path.clone(),
                    query: visit.query.clone(),
                    status: visit.status,
                });
            })),
            ..Options::default()
        };
        let router = serve::router(&options, backend);
        let router = match setup.wrap {
            Some(wrap) => wrap(router),
            None => router,
        };
        let running = wait_for(async move { serve::listen(&options, router).await }).unwrap();
        Registry { running: Some(running), hits, login: setup.login, certificates, place }
    }

    /// Returns the address.
    pub fn addr(&self) -> SocketAddr {
        self.running.as_ref().expect("it runs until it is dropped").addr()
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.addr().port()
    }

    /// Returns the host as references name it, `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.addr().to_string()
    }

    /// Returns the URL, without a slash at the end.
    pub fn url(&self) -> String {
        self.running.as_ref().expect("it runs until it is dropped").local_url()
    }

    /// Returns a directory that lives as long as the registry: a home for stock tools, a place for files.
    pub fn home(&self) -> &Path {
        self.place.path()
    }

    /// Returns every request so far, in the order of the answers.
    pub fn hits(&self) -> Vec<Hit> {
        self.hits.lock().unwrap().clone()
    }

    /// Forgets the requests so far and returns them.
    pub fn take_hits(&self) -> Vec<Hit> {
        std::mem::take(&mut self.hits.lock().unwrap())
    }

    /// Stops it gracefully; the data directory can be used again afterwards.
    pub fn stop(mut self) {
        let running = self.running.take().expect("it runs until it is dropped");
        wait_for(running.shutdown());
    }

    /// Makes a request over plain HTTP, with the registry's own login.
    pub fn request(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let login = self.login.map(|(user, password)| basic(user, password));
        let mut all = headers.to_vec();
        all.extend(login.as_deref().map(|value| ("Authorization", value)));
        wire::request(self.addr(), method, target, &all, body)
    }

    /// Reads something.
    pub fn get(&self, target: &str) -> Answer {
        self.request("GET", target, &[], b"")
    }

    /// Pushes a blob and returns its descriptor.
    pub fn put_blob(&self, name: &str, media_type: &str, bytes: &[u8]) -> Descriptor {
        let descriptor = Descriptor::of(media_type, bytes);
        let target = format!("/v2/{name}/blobs/uploads/?digest={}", descriptor.digest);
        let answer = self.request("POST", &target, &[], bytes);
        assert_eq!(answer.status, 201, "{}", answer.text());
        descriptor
    }

    /// Pushes a manifest under a tag or digest and returns its descriptor.
    pub fn put_manifest(&self, name: &str, which: &str, media_type: &str, bytes: &[u8]) -> Descriptor {
        let target = format!("/v2/{name}/manifests/{which}");
        let answer = self.request("PUT", &target, &[("Content-Type", media_type)], bytes);
        assert_eq!(answer.status, 201, "{}", answer.text());
        Descriptor::of(media_type, bytes)
    }

    /// Pushes an image of these layers under a tag, or by digest when `which` is empty, and returns its descriptor.
    pub fn put_image(&self, name: &str, which: &str, layers: &[&[u8]]) -> Descriptor {
        let diff_ids: Vec<String> = layers.iter().map(|layer| Digest::sha256(layer).to_string()).collect();
        let config = json!({"architecture": "amd64", "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let config = self.put_blob(name, media_type::CONFIG, config.to_string().as_bytes());
        let layers: Vec<Descriptor> =
            layers.iter().map(|layer| self.put_blob(name, media_type::LAYER, layer)).collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config,
            "layers": layers});
        self.put_document(name, which, media_type::MANIFEST, &manifest)
    }

    /// Pushes a manifest given as JSON, by digest when `which` is empty.
    pub fn put_document(&self, name: &str, which: &str, media_type: &str, value: &serde_json::Value) -> Descriptor {
        let bytes = value.to_string().into_bytes();
        let digest = Digest::sha256(&bytes).to_string();
        self.put_manifest(name, if which.is_empty() { &digest } else { which }, media_type, &bytes)
    }
}

/// Writes the value of an `Authorization` header.
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// Is Debian's docker-registry in a child process; dropping it kills it.
pub struct DockerRegistry {
    child: Child,
    addr: SocketAddr,
    pub certificates: Option<Certificates>,
    place: tempfile::TempDir,
}

/// The login of a [`DockerRegistry`] that wants one.
pub const DOCKER_LOGIN: (&str, &str) = ("bundle", "airgapped");

/// Made by `htpasswd -nbB bundle airgapped`: docker-registry reads bcrypt only.
const DOCKER_HTPASSWD: &str = "bundle:$2y$05$PB0gFHUJXn9mUkuI1Euxdu5l1Ir/Oov/nK.5eOcjtO7YACGCf02cy\n";

impl DockerRegistry {
    /// Starts an empty registry that allows deletes; `None`, said loudly, when docker-registry is not here.
    pub fn start(login: bool, security: Security) -> Option<DockerRegistry> {
        let tool = referees::docker_registry()?;
        // Another process may take the port between our look and its start: then it exits, and we try the next.
        for _ in 0..5 {
            if let Some(registry) = DockerRegistry::try_start(&tool, login, security) {
                return Some(registry);
            }
        }
        panic!("{} does not start", tool.display());
    }

    fn try_start(tool: &Path, login: bool, security: Security) -> Option<DockerRegistry> {
        let place = tempfile::tempdir().unwrap();
        let addr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let at = |name: &str| place.path().join(name);
        let mut config = json!({
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": true}},
            "storage": {"filesystem": {"rootdirectory": at("data")}, "delete": {"enabled": true}},
            "http": {"addr": addr.to_string(), "secret": "test"},
        });
        if login {
            std::fs::write(at("htpasswd"), DOCKER_HTPASSWD).unwrap();
            config["auth"] = json!({"htpasswd": {"realm": "registry", "path": at("htpasswd")}});
        }
        let certificates = (security != Security::Plain).then(Certificates::new);
        if let Some(made) = &certificates {
            for (name, text) in
                [("server.pem", &made.server), ("server.key", &made.server_key), ("root.pem", &made.root)]
            {
                std::fs::write(at(name), text).unwrap();
            }
            config["http"]["tls"] = json!({"certificate": at("server.pem"), "key": at("server.key")});
            if security == Security::Mutual {
                config["http"]["tls"]["clientcas"] = json!([at("root.pem")]);
            }
        }
        // JSON is YAML.
        std::fs::write(at("config.yml"), config.to_string()).unwrap();
        let log = std::fs::File::create(at("log")).unwrap();
        let mut child = Command::new(tool)
            .args(["serve".as_ref(), at("config.yml").as_os_str()])
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(addr).is_err() {
            if child.try_wait().unwrap().is_some() || Instant::now() > deadline {
                eprintln!("{}", std::fs::read_to_string(at("log")).unwrap_or_default());
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(DockerRegistry { child, addr, certificates, place })
    }

    /// Returns the host as references name it, `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.addr.to_string()
    }

    /// Returns a directory that lives as long as the registry.
    pub fn home(&self) -> &Path {
        self.place.path()
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Opens a data folder; the registry that had it before may need a moment to let it go.
fn open_when_free(folder: &Path, durable: bool) -> Data {
    let started = std::time::Instant::now();
    loop {
        match Data::open(folder, durable) {
            Err(airgap_bundler::serve::StartError::InUse(_)) if started.elapsed().as_secs() < 20 => {
                std::thread::sleep(std::time::Duration::from_millis(20))
            }
            opened => return opened.unwrap(),
        }
    }
}
