//! Relocation through the program, judged by helm 3, helm 4 and kubectl.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::support::{referees, registry::Registry};

/// A folder with a chart, a spec and what else a test writes.
struct Desk {
    place: tempfile::TempDir,
}

/// What a run left behind.
struct Done {
    code: Option<i32>,
    out: String,
    err: String,
}

const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: \"{{ .Values.global.imageRegistry | default .Values.image.registry }}/{{ .Values.image.repository }}:{{ .Values.image.tag }}{{ with .Values.image.digest }}@{{ . }}{{ end }}\"
          args: [\"--side-image={{ .Values.side }}\"]
";

const HOOK: &str = "\
apiVersion: batch/v1
kind: Job
metadata:
  name: before
  annotations: {helm.sh/hook: pre-install}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: j, image: quay.io/acme/job:1}]
";

const VALUES: &str = "\
global: {imageRegistry: ''}
image: {registry: docker.io, repository: library/web, tag: '1', digest: ''}
side: quay.io/acme/side:2
";

impl Desk {
    fn new() -> Desk {
        let desk = Desk { place: tempfile::tempdir().unwrap() };
        desk.write("web/Chart.yaml", "{apiVersion: v2, name: web, version: 1.2.3}\n");
        desk.write("web/values.yaml", VALUES);
        desk.write("web/templates/web.yaml", DEPLOYMENT);
        desk
    }

    fn path(&self) -> &Path {
        self.place.path()
    }

    fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path().join(path)).unwrap()
    }

    fn run(&self, arguments: &[&str], input: &str) -> Done {
        let mut child = Command::new(env!("CARGO_BIN_EXE_bundle"))
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("HOME", self.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let done = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Done { code: done.status.code(), out: text(&done.stdout), err: text(&done.stderr) }
    }

    /// Runs the program, which must succeed, and returns its output.
    #[track_caller]
    fn must(&self, arguments: &[&str], input: &str) -> String {
        let done = self.run(arguments, input);
        assert_eq!(done.code, Some(0), "{arguments:?}\n{}", done.err);
        done.out
    }

    /// Runs a stock tool that finds the program on its path.
    #[track_caller]
    fn tool(&self, tool: &Path, arguments: &[&str]) -> String {
        let program = Path::new(env!("CARGO_BIN_EXE_bundle")).parent().unwrap();
        let path = std::env::join_paths(
            std::iter::once(program.to_owned())
                .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
        );
        let done = referees::command(tool, self.path()).args(arguments).env("PATH", path.unwrap()).output().unwrap();
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "{arguments:?}\n{text}{}", String::from_utf8_lossy(&done.stderr));
        text
    }
}

#[test]
fn a_pipe_changes_names_and_tells_what_it_leaves() {
    let desk = Desk::new();
    let input = "\
# comment
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  containers:
    - image: 'quay.io/a/b:1'   # why
      env: [{name: SIDE_IMAGE, value: acme/side:1}]
";
    let to = ["rewrite", "--to", "reg.lan:5000/m"];
    let done = desk.run(&to, input);
    assert_eq!(done.code, Some(0));
    assert_eq!(done.out, input.replace("'quay.io", "'reg.lan:5000/m/quay.io"));
    assert!(done.err.contains("acme/side:1 may be an image: Pod p"), "{}", done.err);
    assert!(desk.must(&[&to[..], &["--guesses"]].concat(), input).contains("reg.lan:5000/m/docker.io/acme/side:1"));
    desk.write("m.yaml", input);
    assert_eq!(desk.must(&[&to[..], &["-f", "m.yaml"]].concat(), ""), done.out);
    assert_eq!(desk.must(&to, &done.out), done.out);
    assert_eq!(desk.must(&to, ""), "");
}

#[test]
fn mistakes_have_their_exit_codes() {
    let desk = Desk::new();
    let to = ["rewrite", "--to", "reg.lan"];
    let wrong = desk.run(&to, "a: 1\n---\nkind: Pod\n");
    assert_eq!((wrong.code, wrong.out.as_str()), (Some(2), ""), "{}", wrong.err);
    assert!(wrong.err.contains("neither apiVersion nor kind") && wrong.err.contains("Pod has no apiVersion"));
    assert_eq!(desk.run(&to, "a: {{ b }}\n").code, Some(2));
    assert_eq!(desk.run(&["rewrite", "--to", "https://reg.lan"], "").code, Some(2));
    assert_eq!(desk.run(&["rewrite", "--to", "reg.lan", "--digests"], "").code, Some(2));
    assert_eq!(desk.run(&["rewrite", "--to", "reg.lan", "-f", "none.yaml"], "").code, Some(3));
    assert_eq!(desk.run(&["rewrite", "--to", "reg.lan", "--lock", "none.lock"], "").code, Some(3));
    let collision =
        "apiVersion: v1\nkind: Pod\nspec: {containers: [{image: 'quay.io/a/b-c:1'}, {image: 'quay.io/a-b/c:1'}]}\n";
    assert_eq!(desk.run(&["rewrite", "--to", "reg.lan", "--layout", "flat"], collision).code, Some(2));
}

#[test]
fn public_issuers_become_the_enclaves() {
    let desk = Desk::new();
    let input = "\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
  annotations:
    cert-manager.io/cluster-issuer: letsencrypt-prod
    acme.cert-manager.io/http01-edit-in-place: \"true\"
";
    let expected = "\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
  annotations:
    cert-manager.io/cluster-issuer: enclave-ca
";
    let with = ["rewrite", "--to", "reg.lan", "--issuer", "enclave-ca"];
    assert_eq!(desk.must(&with, input), expected);
    assert_eq!(desk.must(&with, expected), expected);
    // Without the flag, certificates are none of its business.
    assert_eq!(desk.must(&with[..3], input), input);
}

#[test]
fn helm_3_and_helm_4_take_it_as_post_renderer() {
    let desk = Desk::new();
    desk.write("web/templates/hook.yaml", HOOK);
    let common = ["template", "rel", "web", "--post-renderer-args=--to=reg.lan/m"];
    if let Some(helm) = referees::find(&["helm3"]) {
        let renderer = ["--post-renderer", "bundle", "--post-renderer-args", "rewrite"];
        let out = desk.tool(&helm, &[&common[..3], &renderer, &common[3..]].concat());
        assert!(
            out.contains("reg.lan/m/docker.io/library/web:1") && out.contains("reg.lan/m/quay.io/acme/side:2"),
            "{out}"
        );
        // Helm 3 keeps hooks to itself; the documentation says what to do.
        assert!(out.contains("image: quay.io/acme/job:1"), "{out}");
    }
    if let Some(helm) = referees::find(&["helm4"]) {
        let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/helm-plugin");
        desk.tool(&helm, &["plugin", "install", &plugin.display().to_string()]);
        let out = desk.tool(&helm, &[&common[..], &["--post-renderer", "bundle-rewrite"]].concat());
        assert!(
            out.contains("reg.lan/m/docker.io/library/web:1") && out.contains("reg.lan/m/quay.io/acme/side:2"),
            "{out}"
        );
        assert!(out.contains("reg.lan/m/quay.io/acme/job:1") && !out.contains(" quay.io"), "{out}");
    }
}

const SPEC: &str = "\
apiVersion: airgap-bundler/v1
kind: Bundle
metadata: {name: shop, version: 1.0.0}
charts:
  - {name: web, path: web}
";

#[test]
fn overlays_of_a_spec_work_with_helm() {
    let desk = Desk::new();
    desk.write("bundle.yaml", SPEC);
    desk.must(&["export", "values", "bundle.yaml", "--to", "reg.lan/m", "-o", "values"], "");
    let overlay = desk.read("values/web.yaml");
    assert!(overlay.contains("helm install web oci://reg.lan/m/charts/web --version 1.2.3 -f web.yaml"), "{overlay}");
    assert!(overlay.contains("  # docker.io/library/web:1\n  registry: reg.lan/m/docker.io\n"), "{overlay}");
    assert!(overlay.contains("# quay.io/acme/side:2\nside: reg.lan/m/quay.io/acme/side:2\n"), "{overlay}");
    for name in ["helm3", "helm4"] {
        let Some(helm) = referees::find(&[name]) else { continue };
        let out = desk.tool(&helm, &["template", "rel", "web", "-f", "values/web.yaml"]);
        assert!(out.contains("image: \"reg.lan/m/docker.io/library/web:1\""), "{out}");
        assert!(out.contains("--side-image=reg.lan/m/quay.io/acme/side:2"), "{out}");
    }
    // One key is enough when it moves everything.
    desk.write("web/values.yaml", &VALUES.replace("side: quay.io/acme/side:2", "side: ''"));
    let overlay = desk.must(&["export", "values", "bundle.yaml", "--to", "reg.lan/m"], "");
    assert!(
        overlay.ends_with("global:\n  # docker.io/library/web:1\n  imageRegistry: reg.lan/m/docker.io\n"),
        "{overlay}"
    );
    // What no value moves is named.
    desk.write("web/templates/hook.yaml", HOOK);
    let done = desk.run(&["export", "values", "bundle.yaml", "--to", "reg.lan/m"], "");
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.out.contains("#   quay.io/acme/job:1: ") && done.err.contains("no value moves quay.io/acme/job:1"));
    let unknown = desk.run(&["export", "values", "bundle.yaml", "--to", "reg.lan", "--chart", "wep"], "");
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.err.contains("there are: web"), "{}", unknown.err);
}

#[test]
fn an_archive_knows_charts_names_and_digests() {
    let desk = Desk::new();
    let registry = Registry::start();
    let web = registry.put_image("library/web", "1", &[b"web"]).digest.to_string();
    registry.put_image("acme/side", "2", &[b"side"]);
    let mirrors =
        format!("registries:\n  docker.io: {{mirror: \"{0}\"}}\n  quay.io: {{mirror: \"{0}\"}}\n", registry.host());
    let accepted = "discovery: {accept: [{image: 'quay.io/acme/*'}]}\n";
    desk.write("bundle.yaml", &format!("{SPEC}{mirrors}{accepted}"));
    desk.must(&["create", "-o", "shop.bundle.tar"], "");
    let file = ["shop.bundle.tar", "--to", "reg.lan", "--insecure-skip-verify"];
    let overlay = desk.must(&[&["export", "values", "--digests"], &file[..]].concat(), "");
    assert!(overlay.contains(&format!("digest: {web}")), "{overlay}");
    assert!(overlay.contains("side: reg.lan/quay.io/acme/side:2@sha256:"), "{overlay}");

    let manifests = desk.must(&["template", "rel", "web"], "");
    let rewrite = ["rewrite", "--to", "reg.lan", "--lock", "shop.bundle.tar", "--digests"];
    let done = desk.must(&rewrite, &manifests);
    assert!(done.contains(&format!("reg.lan/docker.io/library/web:1@{web}")), "{done}");
    let other = desk.run(&rewrite, &manifests.replace("library/web:1", "library/web:2"));
    assert_eq!((other.code, other.out.as_str()), (Some(7), ""), "{}", other.err);
    assert!(other.err.contains("docker.io/library/web:2 was not carried: Deployment web"), "{}", other.err);

    // The lock says the same.
    let by_lock = desk.must(&["rewrite", "--to", "reg.lan", "--lock", "bundle.lock", "--digests"], &manifests);
    assert_eq!(by_lock, done);
    let component = desk.must(&[&["export", "kustomize", "--digests"], &file[..]].concat(), "");
    assert_eq!(component, desk.must(&["export", "kustomize", "--digests", "bundle.lock", "--to", "reg.lan"], ""));
    let Some(kubectl) = referees::find(&["kubectl"]) else { return };
    desk.write("k/component/kustomization.yaml", &component);
    desk.write("k/kustomization.yaml", "resources: [pod.yaml]\ncomponents: [component]\n");
    let pod = |image: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {{containers: [{{name: c, image: '{image}'}}]}}\n"
        )
    };
    for image in ["web:1", "docker.io/library/web:1", "library/web:1", "docker.io/web", "index.docker.io/library/web:1"]
    {
        desk.write("k/pod.yaml", &pod(image));
        let built = desk.tool(&kubectl, &["kustomize", "k"]);
        assert!(built.contains(&format!("image: reg.lan/docker.io/library/web@{web}")), "{image}: {built}");
    }
}
