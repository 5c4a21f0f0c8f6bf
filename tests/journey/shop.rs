//! A small shop: one manifest, one image, one file, keys; for journeys on which something goes wrong.

use serde_json::Value;

use super::{
    machine::{Ended, Machine},
    source::End,
};
use crate::support::registry::Setup;

/// A machine with a spec in `bundle.yaml` that works.
pub struct Shop {
    pub machine: Machine,
    pub source: End,
}

impl Shop {
    pub fn new() -> Shop {
        Shop::over(Setup::default())
    }

    /// Fills a registry of this kind.
    pub fn over(setup: Setup) -> Shop {
        let (machine, source) = (Machine::new(), End::of(setup));
        source.registry().put_image("shop/app", "1", &[b"first layer", b"second layer"]);
        source.registry().put_image("library/busybox", "1.37", &[b"first layer", b"box"]);
        machine.write("deploy/app.yaml", deployment("shop/app:1"));
        machine.write("motd.txt", "welcome\n");
        machine.keys("shop");
        let shop = Shop { machine, source };
        shop.spec("manifests: [{path: deploy/}]\nimages: [busybox:1.37]\nfiles: [{path: motd.txt, name: motd}]\n");
        shop
    }

    /// Writes `bundle.yaml`: five lines that every spec here begins with, and `body`.
    pub fn spec(&self, body: &str) {
        self.machine.write("bundle.yaml", self.head() + body);
    }

    fn head(&self) -> String {
        format!(
            "apiVersion: airgap-bundler/v1\nkind: Bundle\nmetadata: {{name: shop, version: 1.0.0}}\n\
             registries:\n  docker.io: {{mirror: \"{}\"}}\n",
            self.source.host
        )
    }

    #[track_caller]
    pub fn create(&self, archive: &str) -> Value {
        self.machine.ok(&["create", "--key", "shop.key", "-o", archive, "-o", "json"]).json()
    }

    pub fn load(&self, archive: &str, target: &End, flags: &[&str]) -> Ended {
        self.machine.run(&[&["load", archive, "--to", &target.host], flags].concat())
    }
}

/// Returns a Deployment with one container; its image is in line 8.
pub fn deployment(image: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: app}}\nspec:\n  template:\n    spec:\n      containers:\n      \
         - {{name: app, image: \"{image}\"}}\n"
    )
}
