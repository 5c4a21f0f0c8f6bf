//! docker-registry with a login and TLS at both ends, filled by skopeo; skopeo and oras compare what arrives.

use super::{
    machine::{Machine, digest},
    source::{End, Shapes, Tools},
};

/// The images of the journey: shape, public name, and where the source registry has it.
const IMAGES: &[(&str, &str, &str)] = &[
    ("single", "docker.io/library/single:1.0", "dockerhub/library/single:1.0"),
    ("multi", "docker.io/library/web:1.27", "dockerhub/library/web:1.27"),
    // The same image under another name: one image in the archive, layers mounted in the target.
    ("multi", "quay.io/team/web-copy:2", "quay/team/web-copy:2"),
    ("nested", "quay.io/team/nested:3", "quay/team/nested:3"),
    // Two images of one repository that share manifests, and one image under two tags.
    ("nested", "quay.io/team/web-copy:nested", "quay/team/web-copy:nested"),
    ("multi", "quay.io/team/web-copy:two", "quay/team/web-copy:two"),
    ("docker", "ghcr.io/acme/docker:4", "acme/docker:4"),
    ("zstd", "docker.io/acme/zstd:5", "dockerhub/acme/zstd:5"),
    ("artifact", "ghcr.io/acme/model:6", "acme/model:6"),
];

struct Journey {
    tools: Tools,
    connected: Machine,
    enclave: Machine,
    shapes: Shapes,
    _source: End,
    target: End,
    /// Shape and full name of every image that the spec names.
    names: Vec<(&'static str, String)>,
}

impl Journey {
    /// Fills the source, writes the spec, creates the archive and carries it over with the public key.
    fn create() -> Option<Journey> {
        let tools = Tools::find()?;
        let (source, target) = (End::stock_secure()?, End::stock_secure()?);
        let (connected, enclave) = (Machine::new(), Machine::new());
        source.known_to(&connected);
        let shapes = Shapes::write(&connected);
        for (shape, _, place) in IMAGES {
            shapes.push(&connected, &tools, shape, &source, place);
        }
        shapes.push(&connected, &tools, "single", &source, "quay/team/by-digest:hidden");
        shapes.push(&connected, &tools, "multi", &source, "quay/team/both:7");
        let mut names: Vec<(&str, String)> =
            IMAGES.iter().map(|(shape, name, _)| (*shape, (*name).to_owned())).collect();
        names.push(("single", format!("quay.io/team/by-digest@{}", shapes.digest("single"))));
        names.push(("multi", format!("quay.io/team/both:7@{}", shapes.digest("multi"))));
        connected.write("source-ca.pem", source.root.as_ref().unwrap());
        let host = &source.host;
        let images: String = names.iter().map(|(_, name)| format!("  - {name}\n")).collect();
        connected.write(
            "bundle.yaml",
            format!(
                "apiVersion: airgap-bundler/v1\nkind: Bundle\nmetadata: {{name: shapes, version: 1.0.0}}\n\
                 platforms: [linux/amd64, linux/arm64]\nregistries:\n\
                 \x20 docker.io: {{mirror: {host}/dockerhub, ca: source-ca.pem}}\n\
                 \x20 quay.io: {{mirror: {host}/quay, ca: source-ca.pem}}\n\
                 \x20 ghcr.io: {{mirror: {host}, ca: source-ca.pem}}\nimages:\n{images}"
            ),
        );
        connected.keys("shop");
        connected.ok(&["create", "--key", "shop.key", "-o", "shapes.tar"]);
        enclave.write("shapes.tar", connected.read("shapes.tar"));
        enclave.write("shop.pub", connected.read("shop.pub"));
        enclave.write("target-ca.pem", target.root.as_ref().unwrap());
        Some(Journey { tools, connected, enclave, shapes, _source: source, target, names })
    }

    /// Returns where an image is in the target, with its tag or digest.
    fn place(name: &str) -> String {
        // With both, the tag is what can be asked for; the digest is compared.
        match name.split_once('@') {
            Some((tagged, _)) if tagged.rsplit('/').next().unwrap().contains(':') => format!("mirror/{tagged}"),
            _ => format!("mirror/{name}"),
        }
    }

    /// Compares everything in the target with the source.
    fn compare_target(&self) {
        self.target.known_to(&self.enclave);
        for (at, (shape, name)) in self.names.iter().enumerate() {
            let place = Journey::place(name);
            let raw = self.target.raw(&self.enclave, &self.tools.skopeo, &place);
            assert_eq!(digest(&raw), self.shapes.digest(shape), "{name}");
            let repository = place.split('@').next().unwrap();
            let repository = match repository.rsplit_once(':') {
                Some((repository, tag)) if !tag.contains('/') => repository,
                _ => repository,
            };
            for (digest, bytes) in self.shapes.manifests(shape) {
                let child = format!("{repository}@{digest}");
                assert_eq!(self.target.raw(&self.enclave, &self.tools.skopeo, &child), bytes, "{child}");
            }
            let from = format!("{}/{place}", self.target.host);
            self.copy_out(shape, &from, &format!("out{at}"));
        }
    }

    /// Copies an image from the target with every blob: skopeo checks each digest.
    fn copy_out(&self, shape: &str, from: &str, to: &str) {
        if shape == "nested" {
            self.enclave.tool(&self.tools.oras, &["cp", "-r", "--to-oci-layout", from, &format!("{to}:x")]);
            return;
        }
        let from = format!("docker://{from}");
        self.enclave.tool(&self.tools.skopeo, &["copy", "--all", "--preserve-digests", &from, &format!("dir:{to}")]);
        let copied = self.enclave.read(&format!("{to}/manifest.json"));
        assert_eq!(digest(copied), self.shapes.digest(shape), "{from}");
    }
}

#[test]
fn every_shape_of_image_arrives_as_it_was() {
    let Some(journey) = Journey::create() else { return };
    let (connected, enclave) = (&journey.connected, &journey.enclave);

    // The archive is an OCI archive to stock tools.
    for (at, (shape, name)) in journey.names.iter().enumerate() {
        let from = format!("oci-archive:shapes.tar:{name}");
        if *shape == "nested" {
            // skopeo copies no index in an index, not from a layout either; oras does, by digest.
            let whole = format!("shapes.tar@{}", journey.shapes.digest(shape));
            let copy = ["cp", "-r", "--from-oci-layout", "--to-oci-layout", &whole, "nested:x"];
            connected.tool(&journey.tools.oras, &copy);
            let raw = connected.tool(&journey.tools.skopeo, &["inspect", "--raw", &from]);
            assert_eq!(digest(raw), journey.shapes.digest(shape), "{name}");
            continue;
        }
        let to = format!("dir:read{at}");
        connected.tool(&journey.tools.skopeo, &["copy", "--all", "--preserve-digests", &from, &to]);
        let read = connected.read(&format!("read{at}/manifest.json"));
        assert!(read == journey.shapes.raw(shape), "{name} differs in the archive");
    }

    // The enclave knows nothing but the key, the registry's root and its login.
    let to = format!("{}/mirror", journey.target.host);
    let load = ["load", "shapes.tar", "--key", "shop.pub", "--to", &to, "--ca", "target-ca.pem", "-o", "json"];
    let refused = enclave.ends(3, &load);
    assert_eq!(refused.error()["side"], "target");
    enclave.login(&journey.target.host, journey.target.login.unwrap());
    let dry = enclave.ok(&[&load[..], &["--dry-run"]].concat()).json();
    assert_eq!(dry["dryRun"], true);
    let planned = dry["images"].as_array().unwrap();
    let tags = planned.iter().map(|image| image["tags"].as_array().unwrap().len().max(1)).sum::<usize>();
    assert_eq!(tags, journey.names.len(), "{dry}");
    let first = enclave.ok(&load).json();
    assert!(first["pushedBlobs"].as_u64().unwrap() > 0, "{first}");
    journey.compare_target();

    // Once more: nothing is pushed.
    let second = enclave.ok(&load).json();
    assert_eq!((second["pushedBlobs"].as_u64(), second["pushedBytes"].as_u64()), (Some(0), Some(0)), "{second}");
    assert_eq!(second["keptBlobs"], first["pushedBlobs"].as_u64().unwrap() + first["keptBlobs"].as_u64().unwrap());
    assert_eq!(second["receipt"]["images"], first["receipt"]["images"]);
}

#[test]
fn a_login_from_the_command_line_loads_too() {
    let Some(journey) = Journey::create() else { return };
    let to = format!("{}/mirror", journey.target.host);
    let (user, password) = journey.target.login.unwrap();
    let load = ["load", "shapes.tar", "--key", "shop.pub", "--to", &to, "--ca", "target-ca.pem"];
    let login = ["--username", user, "--password-stdin"];
    let wrong = journey.enclave.fed("not the password\n", &[&load[..], &login].concat());
    assert_eq!(wrong.code, Some(3), "{}", wrong.err);
    assert!(!wrong.err.contains("not the password"), "{}", wrong.err);
    let ended = journey.enclave.fed(&format!("{password}\n"), &[&load[..], &login].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(!journey.enclave.has("docker/config.json"), "a password from standard input is not kept");
    journey.compare_target();
}
