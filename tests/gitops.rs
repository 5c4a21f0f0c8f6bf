//! Objects of GitOps tools, followed through the program: `bundle resolve`.

mod argo;
mod bounds;
mod cattle;
mod flux;
mod remotes;

use std::{collections::BTreeSet, path::Path, process::Command};

use airgap_bundler::{
    helm::{Package, metadata::Metadata},
    lock::Lock,
    oci::media_type,
};

use crate::support::{
    referees,
    registry::Registry,
    repository::{Repository, archive},
};

/// A folder with a spec, a registry for images and charts, and a repository of charts.
pub struct Field {
    place: tempfile::TempDir,
    pub registry: Registry,
    pub repository: Repository,
}

/// How a run of the program ended.
pub struct Run {
    pub code: Option<i32>,
    pub err: String,
    lock: Option<Lock>,
}

impl Field {
    pub fn new() -> Field {
        let field =
            Field { place: tempfile::tempdir().unwrap(), registry: Registry::start(), repository: Repository::start() };
        field.repository.publish("shop", "1.2.0", &shop("1.2.0"));
        field
    }

    pub fn path(&self) -> &Path {
        self.place.path()
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> &Field {
        let path = self.place.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    /// Resolves a spec with these lines; the named images are in the registry.
    pub fn resolve(&self, lines: &str, images: &[&str]) -> Run {
        for image in images {
            let (name, tag) = image.split_once(':').unwrap();
            self.registry.put_image(&format!("library/{name}"), tag, &[b"layer"]);
        }
        let hosts = format!(
            "registries:\n  docker.io: {{mirror: \"{}\"}}\n  r.example: {{mirror: \"{}\"}}\n  charts.example.com: {{mirror: \"{}\"}}\n",
            self.registry.host(),
            self.registry.host(),
            self.repository.host(),
        );
        self.write(
            "bundle.yaml",
            format!(
                "apiVersion: airgap-bundler/v1\nkind: Bundle\nmetadata: {{name: shop, version: 1.0.0}}\n{hosts}{lines}"
            ),
        );
        let done = Command::new(env!("CARGO_BIN_EXE_bundle"))
            .args(["resolve"])
            .current_dir(self.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path())
            .output()
            .unwrap();
        let lock = std::fs::read_to_string(self.path().join("bundle.lock")).ok();
        let lock = lock.filter(|_| done.status.success()).map(|text| Lock::parse("bundle.lock", &text).unwrap());
        let err = String::from_utf8_lossy(&done.stderr).into_owned();
        Run { code: done.status.code(), err, lock }
    }

    /// Resolves a spec and expects exactly these images.
    #[track_caller]
    pub fn expect(&self, lines: &str, images: &[&str]) -> Run {
        let run = self.resolve(lines, images);
        assert_eq!(run.code, Some(0), "{}", run.err);
        let wanted: BTreeSet<String> = images.iter().map(|image| format!("docker.io/library/{image}")).collect();
        let found: BTreeSet<String> = run.lock().images.iter().map(|image| image.image.to_string()).collect();
        assert_eq!(found, wanted, "{}", run.err);
        run
    }

    /// Puts a chart into the registry.
    pub fn push(&self, repository: &str, version: &str, packed: Vec<u8>) {
        let name = repository.rsplit('/').next().unwrap();
        let metadata = Metadata { name: name.into(), version: version.into(), ..Metadata::default() };
        let package = Package::new(metadata, packed.into(), None);
        for (descriptor, bytes) in &package.blobs {
            self.registry.put_blob(repository, descriptor.media_type.as_str(), bytes);
        }
        self.registry.put_manifest(repository, version, media_type::MANIFEST, &package.manifest.1);
    }
}

impl Run {
    #[track_caller]
    pub fn lock(&self) -> &Lock {
        self.lock.as_ref().unwrap_or_else(|| panic!("{}", self.err))
    }

    /// Returns the reasons of an image.
    #[track_caller]
    pub fn why(&self, image: &str) -> Vec<String> {
        let name = format!("docker.io/library/{image}");
        let found = self.lock().images.iter().find(|one| one.image.to_string() == name);
        found.unwrap().because.iter().map(ToString::to_string).collect()
    }

    /// Returns the charts of the lock with their sources.
    pub fn charts(&self) -> Vec<String> {
        self.lock().charts.iter().map(|chart| format!("{} {} {}", chart.chart, chart.version, chart.source)).collect()
    }

    /// Asserts that the run ended like this and said these texts.
    #[track_caller]
    pub fn says(&self, code: i32, texts: &[&str]) {
        // Lines are folded for people.
        let flat: String = self.err.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(self.code, Some(code), "{}", self.err);
        for text in texts {
            assert!(flat.contains(text), "{text:?} is not said:\n{}", self.err);
        }
    }
}

/// A template with a pod for every image among the values.
pub const PODS: &str = "\
{{- range $name, $image := .Values.images }}
---
apiVersion: v1
kind: Pod
metadata:
  name: {{ $.Release.Name }}-{{ $name }}
  namespace: {{ $.Release.Namespace }}
spec:
  containers:
  - name: a
    image: {{ $image | quote }}
{{- end }}
";

/// The files of a chart with a pod for every image among the values.
pub fn shop_files(version: &str) -> Vec<(&'static str, String)> {
    vec![
        ("Chart.yaml", format!("apiVersion: v2\nname: shop\nversion: {version}\n")),
        ("values.yaml", "images: {own: 'own:1'}\n".to_owned()),
        ("values-prod.yaml", "images: {prod: 'prod:1'}\n".to_owned()),
        ("templates/pods.yaml", PODS.to_owned()),
    ]
}

pub fn shop(version: &str) -> Vec<u8> {
    let files = shop_files(version);
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    archive("shop", &files)
}

/// Makes a folder a repository in git with one commit, tagged v1.0.0, and returns the commit; nothing when there is no git.
pub fn commit(folder: &Path) -> Option<String> {
    referees::find(&["git"])?;
    let git = |arguments: &[&str]| {
        let done = Command::new("git")
            .arg("-C")
            .arg(folder)
            .args(["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "-q"]);
    git(&["add", "-A"]);
    git(&["commit", "-q", "-m", "one"]);
    git(&["tag", "v1.0.0"]);
    Some(git(&["rev-parse", "HEAD"]))
}

pub const HELM_REPOSITORY: &str = "\
apiVersion: source.toolkit.fluxcd.io/v1
kind: HelmRepository
metadata: {name: charts, namespace: flux-system}
spec: {url: 'https://charts.example.com'}
";

/// A HelmRelease of the chart, with these lines in its spec.
pub fn release(name: &str, more: &str) -> String {
    format!(
        "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {{name: {name}, namespace: apps}}\nspec:\n  chart:\n    spec:\n      chart: shop\n      version: 1.x\n      sourceRef: {{kind: HelmRepository, name: charts, namespace: flux-system}}\n{more}"
    )
}
