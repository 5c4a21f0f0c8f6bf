//! What is measured: the commands of each tool, side by side.

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    images,
    limit::Limit,
    measure::{self, Table},
    place::{Place, Registry},
};

/// One tool of a scenario; `fresh` brings everything to the state before its run and returns its command.
struct Tool<'a> {
    name: &'static str,
    fresh: Box<dyn FnMut() -> Command + 'a>,
}

fn tool<'a>(name: &'static str, fresh: impl FnMut() -> Command + 'a) -> Tool<'a> {
    Tool { name, fresh: Box::new(fresh) }
}

pub struct Bench {
    place: Place,
    rounds: usize,
}

impl Bench {
    pub fn new(place: Place, rounds: usize) -> Self {
        Bench { place, rounds }
    }

    /// Runs all tools in turn, each round beginning with another one, then each once more to see what it takes on the
    /// disk.
    fn race(&self, table: &mut Table, tools: &mut [Tool<'_>], registries: &dyn Fn() -> Vec<u32>) {
        let number = tools.len();
        for round in 0..self.rounds {
            for at in 0..number {
                let tool = &mut tools[(round + at) % number];
                table.add(tool.name, measure::run(tool.name, registries, &mut tool.fresh));
            }
        }
        for tool in tools.iter_mut() {
            let mut command = (tool.fresh)();
            table.add_disk(tool.name, measure::peak_on_disk(&self.place.written(), &mut command));
        }
        table.print(&tools.iter().map(|tool| tool.name).collect::<Vec<_>>());
    }

    fn spec(&self, name: &str, source: &str, images: &[&str]) -> PathBuf {
        let folder = self.place.dir.join(format!("spec-{name}"));
        std::fs::create_dir_all(&folder).unwrap();
        let list: String = images.iter().map(|image| format!("  - {source}/{image}\n")).collect();
        let text = format!(
            "apiVersion: airgap-bundler/v1\nkind: Bundle\nmetadata: {{name: {name}, version: 1.0.0}}\nregistries:\n  {source}: {{plainHttp: true}}\nimages:\n{list}"
        );
        std::fs::write(folder.join("bundle.yaml"), text).unwrap();
        folder.join("bundle.yaml")
    }

    fn bundle_create(&self, spec: &Path, archive: &Path, signed: bool) -> Command {
        let _ = std::fs::remove_file(spec.with_file_name("bundle.lock"));
        let mut command = self.place.bundle();
        command.arg("create").arg(spec).arg("-o").arg(archive);
        if signed {
            command.arg("--key").arg(self.place.dir.join("bench.key"));
        }
        command
    }

    fn bundle_load(&self, archive: &Path, target: &str) -> Command {
        let mut command = self.place.bundle();
        command.arg("load").arg(archive).args(["--to", target, "--key"]).arg(self.place.dir.join("bench.pub"));
        command
    }

    fn skopeo_pull(&self, image: &str, to: &str) -> Command {
        let mut command = self.place.skopeo();
        command.args(["copy", "--src-tls-verify=false", &format!("docker://{image}"), to]);
        command
    }

    fn skopeo_push(&self, from: &Path, image: &str) -> Command {
        let mut command = self.place.skopeo();
        command.args(["copy", "--dest-tls-verify=false"]);
        command.arg(format!("oci-archive:{}", from.display())).arg(format!("docker://{image}"));
        command
    }

    fn oras_pull(&self, image: &str, out: &Path, more: &[&str]) -> Command {
        let mut command = self.place.oras();
        command.arg("cp").args(more).args(["--from-plain-http", image, "--to-oci-layout"]);
        command.arg(format!("{}:1", out.display()));
        command
    }

    fn oras_push(&self, layout: &Path, image: &str, more: &[&str]) -> Command {
        let mut command = self.place.oras();
        command.arg("cp").args(more).arg("--from-oci-layout").arg(format!("{}:1", layout.display()));
        command.args(["--to-plain-http", image]);
        command
    }

    fn crane_pull(&self, images: &[String], out: &Path) -> Command {
        let mut command = self.place.crane();
        command.args(["pull", "--insecure", "--format=oci"]).args(images).arg(out);
        command
    }

    /// One large image in eight layers, over loopback.
    pub fn create_one(&self, source: &Registry) {
        let limit = Limit::measure(source, "bench/big", &self.place.dir, self.rounds);
        limit.print();
        let mut table = Table::new("create: one image, 8 layers, loopback", images::BIG.bytes());
        let image = format!("{}/bench/big:1", source.address());
        let spec = self.spec("big", &source.address(), &["bench/big:1"]);
        let mut tools = [
            tool("bundle create", || self.bundle_create(&spec, &self.place.fresh("big.bundle.tar"), false)),
            tool("bundle create --key", || self.bundle_create(&spec, &self.place.fresh("big.bundle.tar"), true)),
            tool("skopeo copy -> oci-archive", || {
                self.skopeo_pull(&image, &format!("oci-archive:{}", self.place.fresh("skopeo.tar").display()))
            }),
            tool("oras backup -> tar", || {
                let out = self.place.fresh("oras.tar");
                let mut command = self.place.oras();
                command.args(["backup", "--plain-http", "--output"]).arg(out).arg(&image);
                command
            }),
            tool("oras cp -> directory", || self.oras_pull(&image, &self.place.fresh("oras.dir"), &[])),
            tool("crane pull -> directory", || {
                self.crane_pull(std::slice::from_ref(&image), &self.place.fresh("crane.dir"))
            }),
        ];
        self.race(&mut table, &mut tools, &|| vec![source.id()]);
        println!("  share of the derived limit: {:.2}", limit.pull() / table.median("bundle create"));
    }

    /// Five images that share layers, over loopback.
    pub fn create_five(&self, source: &Registry) {
        let mut table = Table::new("create: five images that share layers, loopback", images::five_bytes());
        let at = source.address();
        let names: Vec<String> = images::FIVE.iter().map(|image| format!("bench/{}:1", image.name)).collect();
        let full: Vec<String> = names.iter().map(|name| format!("{at}/{name}")).collect();
        let spec = self.spec("five", &at, &names.iter().map(String::as_str).collect::<Vec<_>>());
        let list = self.place.dir.join("sync.yaml");
        let images: String = images::FIVE.iter().map(|image| format!("    bench/{}: ['1']\n", image.name)).collect();
        std::fs::write(&list, format!("{at}:\n  tls-verify: false\n  images:\n{images}")).unwrap();
        let mut tools = [
            tool("bundle create", || self.bundle_create(&spec, &self.place.fresh("five.bundle.tar"), false)),
            tool("bundle create --key", || self.bundle_create(&spec, &self.place.fresh("five.bundle.tar"), true)),
            tool("skopeo sync -> directory", || {
                let out = self.place.fresh("sync.dir");
                std::fs::create_dir_all(&out).unwrap();
                let mut command = self.place.skopeo();
                command.args(["sync", "--src", "yaml", "--dest", "dir"]).arg(&list).arg(out);
                command
            }),
            tool("crane pull -> directory", || self.crane_pull(&full, &self.place.fresh("crane.dir"))),
        ];
        self.race(&mut table, &mut tools, &|| vec![source.id()]);
    }

    /// Sixty small layers, over loopback.
    pub fn create_many(&self, source: &Registry) {
        let mut table = Table::new("create: one image, 60 small layers, loopback", images::MANY.bytes());
        let image = format!("{}/bench/many:1", source.address());
        let spec = self.spec("many", &source.address(), &["bench/many:1"]);
        let mut tools = [
            tool("bundle create", || self.bundle_create(&spec, &self.place.fresh("many.bundle.tar"), false)),
            tool("bundle create --key", || self.bundle_create(&spec, &self.place.fresh("many.bundle.tar"), true)),
            tool("skopeo copy -> oci-archive", || {
                self.skopeo_pull(&image, &format!("oci-archive:{}", self.place.fresh("skopeo.tar").display()))
            }),
            tool("oras cp -> directory", || self.oras_pull(&image, &self.place.fresh("oras.dir"), &[])),
            tool("crane pull -> directory", || {
                self.crane_pull(std::slice::from_ref(&image), &self.place.fresh("crane.dir"))
            }),
        ];
        self.race(&mut table, &mut tools, &|| vec![source.id()]);
    }

    /// Makes what the loads of one image start from.
    fn inputs(&self, source: &Registry, name: &'static str) -> (PathBuf, PathBuf, PathBuf) {
        let image = format!("{}/bench/{name}:1", source.address());
        let spec = self.spec(name, &source.address(), &[&format!("bench/{name}:1")]);
        let archive = self.place.renewed(&format!("in-{name}.bundle.tar"));
        measure::once("bundle create", &[], &mut self.bundle_create(&spec, &archive, true));
        let oci = self.place.renewed(&format!("in-{name}.skopeo.tar"));
        measure::once("skopeo", &[], &mut self.skopeo_pull(&image, &format!("oci-archive:{}", oci.display())));
        let layout = self.place.renewed(&format!("in-{name}.oras"));
        measure::once("oras", &[], &mut self.oras_pull(&image, &layout, &[]));
        (archive, oci, layout)
    }

    /// From the archive into an empty registry, over loopback; and once more into the same.
    pub fn load_one(&self, source: &Registry) {
        let (archive, oci, layout) = self.inputs(source, "big");
        let target: RefCell<Option<Registry>> = RefCell::default();
        let empty = || {
            target.take();
            self.place.fresh("nothing");
            let registry = self.place.registry("target");
            let address = registry.address();
            target.replace(Some(registry));
            address
        };
        let ids = || target.borrow().iter().map(Registry::id).collect();
        let mut table = Table::new("load: one image, 8 layers, empty registry, loopback", images::BIG.bytes());
        let mut tools = [
            tool("bundle load --key (verifies, signs)", || self.bundle_load(&archive, &empty())),
            tool("skopeo copy oci-archive ->", || self.skopeo_push(&oci, &format!("{}/bench/big:1", empty()))),
            tool("oras cp from directory (no check)", || {
                self.oras_push(&layout, &format!("{}/bench/big:1", empty()), &[])
            }),
        ];
        self.race(&mut table, &mut tools, &ids);
        let at = empty();
        measure::once("bundle load", &[], &mut self.bundle_load(&archive, &at));
        let mut again = Table::new("load again: everything is there", images::BIG.bytes());
        let mut tools = [
            tool("bundle load --key (verifies, signs)", || self.bundle_load(&archive, &at)),
            tool("skopeo copy oci-archive ->", || self.skopeo_push(&oci, &format!("{at}/bench/big:1"))),
        ];
        self.race(&mut again, &mut tools, &ids);
        drop(tools);
        target.take();
    }

    /// Create over a connection with 20 ms round trip and 2 MiB in flight.
    pub fn create_far(&self, source: &Registry) {
        let far = self.place.far(source);
        let image = format!("{}/bench/big:1", far.address());
        let spec = self.spec("big", &far.address(), &["bench/big:1"]);
        let mut table = Table::new("create far: one image, 20 ms round trip, 2 MiB in flight", images::BIG.bytes());
        let mut tools = [
            tool("bundle create", || self.bundle_create(&spec, &self.place.fresh("big.bundle.tar"), false)),
            tool("bundle create --key", || self.bundle_create(&spec, &self.place.fresh("big.bundle.tar"), true)),
            tool("skopeo copy -> directory", || {
                self.skopeo_pull(&image, &format!("oci:{}:1", self.place.fresh("skopeo.dir").display()))
            }),
            tool("oras cp, 16 at once -> directory", || {
                self.oras_pull(&image, &self.place.fresh("oras.dir"), &["--concurrency", "16"])
            }),
            tool("crane pull -> directory", || {
                self.crane_pull(std::slice::from_ref(&image), &self.place.fresh("crane.dir"))
            }),
        ];
        self.race(&mut table, &mut tools, &|| vec![source.id()]);
    }

    /// Sixty small layers into a far, empty registry.
    pub fn load_far(&self, source: &Registry) {
        let (archive, oci, layout) = self.inputs(source, "many");
        let target: RefCell<Option<(Registry, Registry)>> = RefCell::default();
        let empty = || {
            target.take();
            self.place.fresh("nothing");
            let registry = self.place.registry("target");
            let far = self.place.far(&registry);
            let address = far.address();
            target.replace(Some((registry, far)));
            address
        };
        let ids = || target.borrow().iter().map(|(registry, _)| registry.id()).collect();
        let mut table = Table::new("load far: 60 small layers, 20 ms round trip", images::MANY.bytes());
        let mut tools = [
            tool("bundle load --key (verifies, signs)", || self.bundle_load(&archive, &empty())),
            tool("bundle load --insecure-skip-verify", || {
                let mut command = self.place.bundle();
                command.arg("load").arg(&archive).args(["--to", &empty(), "--insecure-skip-verify"]);
                command
            }),
            tool("skopeo copy oci-archive ->", || self.skopeo_push(&oci, &format!("{}/bench/many:1", empty()))),
            tool("oras cp, 16 at once", || {
                self.oras_push(&layout, &format!("{}/bench/many:1", empty()), &["--concurrency", "16"])
            }),
        ];
        self.race(&mut table, &mut tools, &ids);
        drop(tools);
        target.take();
    }
}
