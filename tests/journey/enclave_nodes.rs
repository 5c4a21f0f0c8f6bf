//! What `bundle export` writes, judged by the programs that read it: containerd, skopeo, keytool, openssl, named-checkzone,
//! shellcheck, oras, curl's kind of request.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::{
    machine::{Ended, Machine},
    source::{End, Shapes, Tools},
};
use crate::support::{
    certificates::Certificates,
    referees,
    registry::{DockerRegistry, Security},
};

/// The enclave: a registry that was loaded, and the folder of the machine that exports.
struct Enclave {
    tools: Tools,
    machine: Machine,
    shapes: Shapes,
    registry: DockerRegistry,
}

impl Enclave {
    /// Loads three images of three registries into `HOST/mirror` of docker-registry.
    fn load(security: Security, layout: &str) -> Option<Enclave> {
        let tools = Tools::find()?;
        let registry = DockerRegistry::start(false, security)?;
        let (machine, source) = (Machine::new(), End::ours());
        let shapes = Shapes::write(&machine);
        shapes.push(&machine, &tools, "multi", &source, "hub/library/web:1.27");
        shapes.push(&machine, &tools, "single", &source, "quay/team/app:1");
        shapes.push(&machine, &tools, "single", &source, "acme/app:2");
        let host = &source.host;
        machine.write("deploy/names.yaml", NAMES);
        machine.write("files/motd.txt", "welcome\n");
        machine.write("files/deep/main.cvd", "ClamAV-VDB:01 Jan 2020 00-00 +0000:1:1:1:x:y:z:1\n");
        machine.write(
            "bundle.yaml",
            format!(
                "apiVersion: airgap-bundler/v1\nkind: Bundle\nmetadata: {{name: shop, version: 1.0.0}}\n\
                 platforms: [linux/amd64, linux/arm64]\nregistries:\n\
                 \x20 docker.io: {{mirror: {host}/hub}}\n  quay.io: {{mirror: {host}/quay}}\n\
                 \x20 registry.example.com:5000: {{mirror: {host}}}\nmanifests: [{{path: deploy/}}]\n\
                 images: [web:1.27, quay.io/team/app:1, registry.example.com:5000/acme/app:2]\n\
                 files: [{{path: files/, name: base}}, {{path: files/deep/main.cvd, name: clamav, maxAge: 7d}}]\n"
            ),
        );
        machine.keys("shop");
        machine.ok(&["create", "--key", "shop.key", "-o", "shop.tar"]);
        let target = format!("{}/mirror", registry.host());
        let mut load = vec!["load", "shop.tar", "--to", &target, "--key", "shop.pub", "--layout", layout];
        if let Some(made) = &registry.certificates {
            machine.write("root.pem", &made.root);
            machine.trust(&made.root);
            load.extend(["--ca", "root.pem"]);
        }
        machine.ok(&load);
        Some(Enclave { tools, machine, shapes, registry })
    }

    fn target(&self) -> String {
        format!("{}/mirror", self.registry.host())
    }

    /// Exports mirrors into the folder `node`.
    #[track_caller]
    fn mirrors(&self, format: &str, flags: &[&str]) {
        let target = self.target();
        let trust: &[&str] =
            if self.registry.certificates.is_some() { &["--ca", "root.pem"] } else { &["--plain-http"] };
        let command = ["export", "mirrors", "shop.tar", "--key", "shop.pub", "--to", &target, "--format", format];
        self.machine.ok(&[&command, trust, &["-o", "node", "--force"], flags].concat());
    }
}

const NAMES: &str = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: chat}\nspec:\n  rules: \
    [{host: chat.enclave.lan}, {host: '*.apps.enclave.lan'}, {host: chat.enclave.lan}]\n";

/// A containerd of its own, with its data in a folder that goes away; stopped when dropped.
struct Containerd {
    child: Child,
    ctr: PathBuf,
    socket: String,
    _place: tempfile::TempDir,
}

impl Containerd {
    fn start(machine: &Machine) -> Option<Containerd> {
        let (program, ctr) = (referees::find(&["containerd"])?, referees::find(&["ctr"])?);
        // Its socket has a path that must be short, and its data must not lie in a folder that is compared.
        let place = tempfile::Builder::new().prefix("ctrd").tempdir_in("/tmp").unwrap();
        let at = |name: &str| place.path().join(name).display().to_string();
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = {:?}\n",
            at("root"),
            at("state"),
            at("s")
        );
        std::fs::write(at("config.toml"), config).unwrap();
        let child = Command::new(program)
            .args(["-c", &at("config.toml")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Containerd { child, ctr, socket: at("s"), _place: place };
        for _ in 0..100 {
            if started.run(machine, &["version"]).code == Some(0) {
                return Some(started);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        // Without the rights of root it does not start; CI runs as root.
        assert!(std::env::var("CI").as_deref() != Ok("true"), "containerd does not start");
        eprintln!("SKIPPED: containerd does not start here; it needs root");
        None
    }

    fn run(&self, machine: &Machine, arguments: &[&str]) -> Ended {
        machine.try_tool(&self.ctr, &[&["-a", &self.socket], arguments].concat())
    }

    /// Fetches an image as containerd's clients do; nothing is unpacked.
    fn fetch(&self, machine: &Machine, name: &str) -> Ended {
        let folder = machine.path("node/certs.d").display().to_string();
        self.run(machine, &["content", "fetch", "--hosts-dir", &folder, name])
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn containerd_pulls_unchanged_names_by_tag_and_by_digest() {
    for security in [Security::Tls, Security::Plain] {
        let Some(enclave) = Enclave::load(security, "source") else { return };
        enclave.mirrors("containerd", &[]);
        let Some(containerd) = Containerd::start(&enclave.machine) else { return };
        let digest = enclave.shapes.digest("multi");
        for name in [
            "docker.io/library/web:1.27",
            &format!("docker.io/library/web@{digest}"),
            "registry-1.docker.io/library/web:1.27",
            "index.docker.io/library/web:1.27",
            "quay.io/team/app:1",
            "registry.example.com:5000/acme/app:2",
            &format!("{}/quay.io/team/app:1", enclave.target()),
        ] {
            let ended = containerd.fetch(&enclave.machine, name);
            assert_eq!(ended.code, Some(0), "{name}\n{}{}", ended.out, ended.err);
        }
        // What was not shipped is not there, and nobody outside is asked for it.
        let ended = containerd.fetch(&enclave.machine, "docker.io/library/absent:1");
        assert!(ended.code != Some(0) && ended.err.contains("not found"), "{}", ended.err);
        assert!(!ended.err.contains("registry-1.docker.io"), "{}", ended.err);
    }
}

#[test]
fn skopeo_follows_registries_conf_in_every_layout() {
    for layout in ["source", "flat", "host"] {
        let Some(enclave) = Enclave::load(Security::Plain, layout) else { return };
        enclave.mirrors("cri-o", &["--layout", layout]);
        let digest = enclave.shapes.digest("multi");
        for (name, shape) in [
            ("docker.io/library/web:1.27", "multi"),
            (&format!("docker.io/library/web@{digest}"), "multi"),
            ("quay.io/team/app:1", "single"),
            ("registry.example.com:5000/acme/app:2", "single"),
        ] {
            let name = format!("docker://{name}");
            let arguments = ["--registries-conf", "node/50-enclave.conf", "inspect", "--raw", &name];
            let raw = enclave.machine.tool(&enclave.tools.skopeo, &arguments);
            assert_eq!(raw.as_bytes(), enclave.shapes.raw(shape), "{layout}: {name}");
        }
    }
}

#[test]
fn every_image_of_the_list_is_where_the_list_says() {
    let Some(enclave) = Enclave::load(Security::Plain, "flat") else { return };
    let target = enclave.target();
    let list = enclave
        .machine
        .ok(&["export", "images", "shop.tar", "--key", "shop.pub", "--to", &target, "--layout", "flat", "--source"]);
    assert_eq!(list.out.lines().count(), 3);
    for line in list.out.lines() {
        let (_, inside) = line.split_once('\t').unwrap();
        enclave
            .machine
            .tool(&enclave.tools.skopeo, &["inspect", "--raw", "--tls-verify=false", &format!("docker://{inside}")]);
    }
    let json = enclave.machine.ok(&["export", "images", "bundle.yaml", "-o", "json"]).json();
    assert_eq!(json[0]["source"], "docker.io/library/web:1.27");
}

/// A skopeo that asks a policy: the wrapper around the current one accepts anything.
fn strict_skopeo(machine: &Machine, arguments: &[&str]) -> Option<Ended> {
    let folder = referees::find(&["skopeo-new"])?.parent().unwrap().join("skopeo.d");
    let library = folder.display().to_string();
    let program = folder.join("skopeo").display().to_string();
    let loader = folder.join("ld-linux-x86-64.so.2");
    Some(machine.try_tool(&loader, &[&["--library-path", &library, &program], arguments].concat()))
}

#[test]
fn containers_policy_accepts_what_was_shipped_and_nothing_else() {
    for layout in ["source", "flat"] {
        let Some(enclave) = Enclave::load(Security::Plain, layout) else { return };
        let target = enclave.target();
        enclave.mirrors("cri-o", &["--layout", layout]);
        let export = ["export", "policy", "shop.tar", "--key", "shop.pub", "--to", &target, "--layout", layout];
        enclave.machine.ok(&[&export[..], &["--format", "containers-policy", "-o", "policy"]].concat());
        let (web, evil) = match layout {
            "source" => ("docker.io/library/web", "docker.io/library/evil"),
            _ => ("docker.io-library-web", "docker.io-library-evil"),
        };
        // Somebody else put an image beside the shipped ones.
        let folder = enclave.machine.path("shapes").display().to_string();
        let evil = format!("docker://{target}/{evil}:1");
        let copy = ["copy", "--all", "--dest-tls-verify=false", &format!("oci:{folder}:single"), &evil];
        enclave.machine.tool(&enclave.tools.skopeo, &copy);
        let digest = enclave.shapes.digest("multi");
        let judge = |name: &str| {
            let _ = std::fs::remove_dir_all(enclave.machine.path("pulled"));
            let fixed = ["--policy", "policy/policy.json", "--registries.d", "policy/registries.d"];
            let mirrored = ["--registries-conf", "node/50-enclave.conf"];
            let copy = ["copy", "--all", "--src-tls-verify=false", name, "dir:pulled"];
            strict_skopeo(&enclave.machine, &[&fixed[..], &mirrored, &copy].concat())
        };
        for name in [
            format!("docker://{target}/{web}:1.27"),
            format!("docker://{target}/{web}@{digest}"),
            "docker://docker.io/library/web:1.27".to_owned(),
            format!("docker://docker.io/library/web@{digest}"),
        ] {
            let Some(ended) = judge(&name) else { return };
            assert_eq!(ended.code, Some(0), "{layout}: {name}\n{}", ended.err);
        }
        let refused = judge(&evil).unwrap();
        assert_ne!(refused.code, Some(0));
        assert!(refused.err.contains("rejected"), "{}", refused.err);
        if layout == "source" {
            assert!(refused.err.contains("no signature exists"), "{}", refused.err);
        }
    }
}

#[test]
fn policies_are_not_written_for_a_key_that_did_not_sign() {
    let Some(enclave) = Enclave::load(Security::Plain, "source") else { return };
    enclave.machine.keys("other");
    let target = enclave.target();
    let policy = ["export", "policy", "shop.tar", "--to", &target, "--format", "kyverno"];
    enclave.machine.ends(6, &[&policy[..], &["--key", "other.pub"]].concat());
    enclave.machine.ends(6, &policy).says(&["no key was given"]);
    let text = enclave.machine.ok(&[&policy[..], &["--key", "shop.pub"]].concat()).out;
    assert!(text.contains(&format!("imageReferences: [\"{target}/*\"]")), "{text}");
    enclave
        .machine
        .ends(2, &["export", "mirrors", "shop.tar", "--to", &target, "--layout", "flat", "--format", "containerd"]);
}

#[test]
fn the_root_is_installed_twice_and_a_key_never() {
    let machine = Machine::new();
    let made = Certificates::new();
    machine.write("root.pem", &made.root);
    machine.write("root.key", &made.server_key);
    machine.ok(&["export", "trust", "--ca", "root.pem", "--registry", "reg.lan:5000", "-o", "trust"]);
    machine.ends(2, &["export", "trust", "--ca", "root.key"]).says(&["holds a private key"]);
    machine.write("server.pem", &made.server);
    machine.ends(2, &["export", "trust", "--ca", "server.pem"]);
    // Again is harmless; over something else it is refused, and nothing is changed.
    machine.ok(&["export", "trust", "--ca", "root.pem", "--registry", "reg.lan:5000", "-o", "trust"]);
    machine.write("trust/README.md", "mine");
    machine.ends(2, &["export", "trust", "--ca", "root.pem", "-o", "trust"]).says(&["README.md is there"]);
    if let Some(openssl) = referees::find(&["openssl"]) {
        let shown = machine.tool(&openssl, &["x509", "-in", "trust/ca.crt", "-noout", "-fingerprint", "-sha256"]);
        let fingerprint = shown.trim().rsplit('=').next().unwrap().to_owned();
        machine.ok(&["export", "trust", "--ca", "root.pem", "-o", "trust", "--force"]);
        assert!(machine.text("trust/README.md").contains(&fingerprint), "{fingerprint}");
    }
    let script = "trust/install.sh";
    if let Some(shellcheck) = referees::find(&["shellcheck"]) {
        machine.tool(&shellcheck, &[script]);
    }
    std::fs::create_dir_all(machine.path("image/etc/pki/ca-trust/source/anchors")).unwrap();
    let install = |what: &[&str]| {
        let mut command = machine.command(Path::new("/bin/sh"));
        command.args([script, "--registry", "reg.lan:5000"]).args(what).env("DESTDIR", machine.path("image"));
        Ended::of(&command.output().unwrap())
    };
    let all = ["system", "containerd", "docker", "cri-o", "k3s", "firefox"];
    let first = install(&all);
    assert_eq!(first.code, Some(0), "{}", first.err);
    for place in [
        "etc/pki/ca-trust/source/anchors/enclave-ca.crt",
        "etc/containerd/certs.d/reg.lan:5000/ca.crt",
        "etc/docker/certs.d/reg.lan:5000/ca.crt",
        "etc/containers/certs.d/reg.lan:5000/ca.crt",
    ] {
        assert_eq!(machine.read(&format!("image/{place}")), machine.read("trust/ca.crt"), "{place}");
    }
    let second = install(&all);
    assert!(second.code == Some(0) && !second.out.contains("written:"), "{}", second.out);
    assert_ne!(install(&["everything"]).code, Some(0));
    if let Some(keytool) = referees::find_if_here(&["keytool"]) {
        let java = || {
            let mut command = machine.command(Path::new("/bin/sh"));
            command.args([script, "java"]).env("JAVA_KEYSTORE", machine.path("trust.p12"));
            Ended::of(&command.output().unwrap())
        };
        assert_eq!(java().code, Some(0));
        assert!(java().out.contains("unchanged"));
        let listed = machine.tool(&keytool, &["-list", "-keystore", "trust.p12", "-storepass", "changeit"]);
        assert!(listed.contains("trustedCertEntry"), "{listed}");
    }
}

#[test]
fn files_arrive_by_every_way_and_their_age_is_told() {
    let Some(enclave) = Enclave::load(Security::Plain, "source") else { return };
    let machine = &enclave.machine;
    // Unpacked, again, over something else, through a link.
    let unpack = ["export", "files", "shop.tar", "--key", "shop.pub", "-o", "unpacked"];
    machine.ok(&unpack).says(&["stale-file", "2020-01-08T00:00:00Z"]);
    assert_eq!(machine.text("unpacked/base/motd.txt"), "welcome\n");
    let again = machine.ok(&[&unpack[..], &["--format", "json"]].concat()).json();
    assert!(again.as_array().unwrap().iter().all(|file| file["kept"] == true), "{again}");
    machine.write("unpacked/base/motd.txt", "mine\n");
    machine.ends(2, &unpack).says(&["says something else"]);
    assert_eq!(machine.text("unpacked/base/motd.txt"), "mine\n");
    machine.ok(&[&unpack[..], &["--force"]].concat());
    assert_eq!(machine.text("unpacked/base/motd.txt"), "welcome\n");
    #[cfg(unix)]
    {
        std::fs::remove_dir_all(machine.path("unpacked/base")).unwrap();
        std::fs::create_dir(machine.path("elsewhere")).unwrap();
        std::os::unix::fs::symlink(machine.path("elsewhere"), machine.path("unpacked/base")).unwrap();
        machine.ends(3, &[&unpack[..], &["--force"]].concat()).says(&["nothing is written through it"]);
        assert!(std::fs::read_dir(machine.path("elsewhere")).unwrap().next().is_none());
    }
    // From the registry, as an artifact.
    std::fs::create_dir(machine.path("pulled")).unwrap();
    let name = format!("{}/files/base:1.0.0", enclave.target());
    machine.tool(&enclave.tools.oras, &["pull", "--plain-http", "-o", "pulled", &name]);
    assert_eq!(machine.text("pulled/motd.txt"), "welcome\n");
    assert_eq!(machine.read("pulled/deep/main.cvd"), machine.read("files/deep/main.cvd"));
    // Too old is said, and refused where that is asked for.
    machine.ok(&["verify", "shop.tar", "--key", "shop.pub"]).says(&["stale-file"]);
    let target = enclave.target();
    let load = ["load", "shop.tar", "--to", &target, "--key", "shop.pub", "--expiry"];
    machine.ends(6, &[&load[..], &["enforce"]].concat()).says(&["past the age"]);
    machine.ok(&[&load[..], &["warn"]].concat()).says(&["stale-file"]);
    assert!(!machine.ok(&[&load[..], &["ignore"]].concat()).err.contains("stale-file"));
}

#[test]
fn name_servers_accept_the_names_that_manifests_speak_of() {
    let Some(enclave) = Enclave::load(Security::Plain, "source") else { return };
    let machine = &enclave.machine;
    let dns = ["export", "dns", "shop.tar", "--key", "shop.pub", "--ip", "10.0.0.10", "--ip", "fd00::10"];
    let registry = ["--registry", "reg.enclave.lan:5000", "--registry-ip", "10.0.0.5"];
    machine.ok(&[&dns[..], &registry, &["--zone", "enclave.lan", "--format", "bind", "-o", "dns"]].concat());
    if let Some(check) = referees::find(&["named-checkzone"]) {
        let said = machine.tool(&check, &["-D", "enclave.lan", "dns/enclave.lan.zone"]);
        for line in ["*.apps.enclave.lan.", "chat.enclave.lan.", "reg.enclave.lan.", "10.0.0.5", "fd00::10"] {
            assert!(said.contains(line), "{line} is not in\n{said}");
        }
    }
    let text = machine.ok(&[&dns[..], &["--format", "hosts"]].concat()).out;
    assert!(text.contains("\n10.0.0.10 chat.enclave.lan\n"), "{text}");
    // The lock knows the same as the archive.
    let spec =
        machine.ok(&["export", "dns", "bundle.yaml", "--ip", "10.0.0.10", "--ip", "fd00::10", "--format", "hosts"]);
    assert_eq!(spec.out, text);
    machine.ends(2, &[&dns[..], &["--format", "bind"]].concat()).says(&["--zone"]);
}
