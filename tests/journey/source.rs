//! Registries of a journey, and the images that stock tools put into the first one.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::machine::{Machine, digest};
use crate::support::{
    images, referees,
    registry::{DOCKER_LOGIN, DockerRegistry, Registry, Security, Setup},
};

/// What must live as long as the registry is used.
enum Held {
    Stock { _registry: DockerRegistry },
    Ours(Registry),
}

/// A registry at one end of a journey.
pub struct End {
    held: Held,
    pub host: String,
    pub root: Option<String>,
    pub login: Option<(&'static str, &'static str)>,
}

impl End {
    /// Starts Debian's docker-registry with a login and TLS.
    pub fn stock_secure() -> Option<End> {
        let registry = DockerRegistry::start(true, Security::Tls)?;
        let root = registry.certificates.as_ref().map(|made| made.root.clone());
        Some(End { host: registry.host(), root, login: Some(DOCKER_LOGIN), held: Held::Stock { _registry: registry } })
    }

    /// Starts Debian's docker-registry, open and plain.
    pub fn stock() -> Option<End> {
        let registry = DockerRegistry::start(false, Security::Plain)?;
        Some(End { host: registry.host(), root: None, login: None, held: Held::Stock { _registry: registry } })
    }

    /// Starts our own registry, open and plain.
    pub fn ours() -> End {
        End::of(Setup::default())
    }

    pub fn of(setup: Setup) -> End {
        let login = setup.login;
        let registry = Registry::with(setup);
        let root = registry.certificates.as_ref().map(|made| made.root.clone());
        End { host: registry.host(), root, login, held: Held::Ours(registry) }
    }

    /// Returns our own registry.
    pub fn registry(&self) -> &Registry {
        match &self.held {
            Held::Ours(registry) => registry,
            Held::Stock { .. } => panic!("this is docker-registry"),
        }
    }

    /// Gives a machine what it needs to talk to this registry: the login, and the root for stock tools.
    pub fn known_to(&self, machine: &Machine) {
        if let Some(login) = self.login {
            machine.login(&self.host, login);
        }
        if let Some(root) = &self.root {
            machine.trust(root);
        }
    }

    /// Asks what a reference holds, with skopeo, and returns the raw manifest.
    #[track_caller]
    pub fn raw(&self, machine: &Machine, skopeo: &Path, name: &str) -> Vec<u8> {
        let name = format!("docker://{}/{name}", self.host);
        let verify = format!("--tls-verify={}", self.root.is_some());
        machine.tool(skopeo, &["inspect", "--raw", &verify, &name]).into_bytes()
    }

    /// Tells whether a reference is there.
    pub fn holds(&self, machine: &Machine, skopeo: &Path, name: &str) -> bool {
        let name = format!("docker://{}/{name}", self.host);
        let verify = format!("--tls-verify={}", self.root.is_some());
        machine.try_tool(skopeo, &["inspect", "--raw", &verify, &name]).code == Some(0)
    }
}

/// The tools that fill and judge registries.
pub struct Tools {
    pub skopeo: PathBuf,
    pub oras: PathBuf,
}

impl Tools {
    pub fn find() -> Option<Tools> {
        Some(Tools { skopeo: referees::skopeo()?, oras: referees::oras()? })
    }
}

/// Images on disk, written as an OCI layout below the folder of a machine.
pub struct Shapes {
    folder: PathBuf,
}

impl Shapes {
    /// Writes one image of every shape.
    pub fn write(machine: &Machine) -> Shapes {
        let folder = machine.path("shapes");
        images::every_shape(&folder);
        Shapes { folder }
    }

    /// Returns the raw manifest of a shape.
    pub fn raw(&self, shape: &str) -> Vec<u8> {
        let index: Value = serde_json::from_slice(&std::fs::read(self.folder.join("index.json")).unwrap()).unwrap();
        let entries = index["manifests"].as_array().unwrap();
        let entry = entries.iter().find(|entry| entry["annotations"]["org.opencontainers.image.ref.name"] == shape);
        self.blob(entry.unwrap_or_else(|| panic!("no shape {shape}"))["digest"].as_str().unwrap())
    }

    /// Returns the digest of a shape.
    pub fn digest(&self, shape: &str) -> String {
        digest(self.raw(shape))
    }

    pub fn blob(&self, digest: &str) -> Vec<u8> {
        std::fs::read(self.folder.join("blobs").join(digest.replace(':', "/"))).unwrap()
    }

    /// Returns every manifest of a shape: the digest and the raw bytes, the root first.
    pub fn manifests(&self, shape: &str) -> Vec<(String, Vec<u8>)> {
        let mut all = vec![(self.digest(shape), self.raw(shape))];
        let mut at = 0;
        while at < all.len() {
            let value: Value = serde_json::from_slice(&all[at].1).unwrap();
            for entry in value["manifests"].as_array().into_iter().flatten() {
                let digest = entry["digest"].as_str().unwrap();
                if all.iter().all(|(known, _)| known != digest) {
                    all.push((digest.to_owned(), self.blob(digest)));
                }
            }
            at += 1;
        }
        all
    }

    /// Pushes a shape with skopeo; an index in an index, which skopeo does not copy, with oras.
    #[track_caller]
    pub fn push(&self, machine: &Machine, tools: &Tools, shape: &str, to: &End, name: &str) {
        let folder = self.folder.display();
        if shape == "nested" {
            let plain = format!("--to-plain-http={}", to.root.is_none());
            let from = format!("{folder}:{shape}");
            let to = format!("{}/{name}", to.host);
            machine.tool(&tools.oras, &["cp", "-r", &plain, "--from-oci-layout", &from, &to]);
            return;
        }
        let verify = format!("--dest-tls-verify={}", to.root.is_some());
        let (from, to) = (format!("oci:{folder}:{shape}"), format!("docker://{}/{name}", to.host));
        machine.tool(&tools.skopeo, &["copy", "--all", "--preserve-digests", &verify, &from, &to]);
    }
}
