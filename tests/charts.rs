//! Charts of a spec: from where they are to the images that they name.

mod corpus;
mod dependencies;
mod places;
mod program;
mod rendering;
mod repositories;

use std::{path::Path, sync::Arc};

use airgap_bundler::{
    error::{Classify, Kind},
    event::Silent,
    lock::Lock,
    net::{Environment, HostSettings, Pem, Settings},
    registry::{Credentials, Registries},
    resolve::{self, Job, Update, Wanted},
    spec::Spec,
};

/// A folder with a spec, and a home without anything of the real user's.
pub struct Desk {
    place: tempfile::TempDir,
    previous: Option<Lock>,
    update: Update,
}

/// How resolving failed.
#[derive(Debug)]
pub struct Failed {
    pub kind: Kind,
    pub told: Vec<String>,
}

impl Failed {
    /// Asserts that there are so many mistakes, and that they say these texts.
    #[track_caller]
    pub fn says(&self, kind: Kind, number: usize, texts: &[&str]) {
        let all = self.told.join("\n");
        assert_eq!((self.kind, self.told.len()), (kind, number), "{all}");
        for text in texts {
            assert!(all.contains(text), "{text:?} is not said:\n{all}");
        }
    }
}

impl Desk {
    pub fn new() -> Desk {
        Desk { place: tempfile::tempdir().unwrap(), previous: None, update: Update::Nothing }
    }

    pub fn path(&self) -> &Path {
        self.place.path()
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> &Desk {
        let path = self.place.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
        self
    }

    /// Resolves a spec that has these lines behind its head; images are not pinned.
    pub fn gather(&self, lines: &str) -> Result<Wanted, Failed> {
        let text =
            format!("apiVersion: airgap-bundler/v1\nkind: Bundle\nmetadata: {{name: shop, version: 1.0.0}}\n{lines}");
        let (spec, _) = Spec::parse("bundle.yaml", &text).map_err(|mistakes| Failed {
            kind: Kind::Usage,
            told: mistakes.iter().map(ToString::to_string).collect(),
        })?;
        let home = self.place.path().to_string_lossy().into_owned();
        let path = std::env::var("PATH").unwrap_or_default();
        let own = [("HOME".to_owned(), home.clone()), ("DOCKER_CONFIG".to_owned(), home), ("PATH".to_owned(), path)];
        let environment: Environment = own.into_iter().collect();
        let mut settings = Settings::of_environment(environment.clone());
        settings.retry.retries = 1;
        for registry in &spec.registries {
            let host: &mut HostSettings = settings.hosts.entry(registry.host.clone()).or_default();
            host.plain_http = registry.plain_http.then_some(true);
            host.ca = registry.ca.iter().map(|path| Pem::File(self.place.path().join(path))).collect();
            host.mirror = registry.mirror.as_ref().map(|mirror| match &mirror.prefix {
                Some(prefix) => format!("{}/{prefix}", mirror.host),
                None => mirror.host.to_string(),
            });
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let registries = Registries::new(settings, Credentials::new(environment), Arc::new(Silent)).unwrap();
            let job = Job {
                spec: &spec,
                folder: self.place.path(),
                previous: self.previous.as_ref(),
                update: self.update.clone(),
                date: 20_261_121,
                registries: &registries,
                jobs: 4,
                observer: &Silent,
            };
            resolve::gather(&job).await.map_err(|error| Failed {
                kind: error.kind(),
                told: error.diagnostics().iter().map(ToString::to_string).collect(),
            })
        })
    }

    /// Remembers what was resolved as the lock before.
    pub fn lock(&mut self, wanted: &Wanted) {
        self.previous = Some(Lock {
            name: "shop".into(),
            version: "1.0.0".into(),
            sequence: 1,
            platforms: Vec::new(),
            charts: wanted.charts.clone(),
            images: Vec::new(),
            not_carried: Vec::new(),
            files: Vec::new(),
            hosts: Vec::new(),
        });
    }

    pub fn update(&mut self, update: Update) {
        self.update = update;
    }
}

/// Returns the names of the images.
pub fn images(wanted: &Wanted) -> Vec<String> {
    wanted.images.keys().map(ToString::to_string).collect()
}

/// Returns the reasons of an image.
pub fn reasons(wanted: &Wanted, image: &str) -> Vec<String> {
    wanted.images[&image.parse().unwrap()].because.iter().map(ToString::to_string).collect()
}
