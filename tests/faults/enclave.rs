//! No network but the loopback interface: everything that the enclave's side needs works, and nothing looks for more.

use std::fs;

use airgap_bundler::{
    archive::{Unverified, admit},
    oci::Descriptor,
    serve::{Catalogue, ReadOnly, Shown},
    trust::{Policy, PublicKey},
};

use super::{
    machine::{CREATE, LOAD, Machine, assert_loaded, fill},
    namespace,
};
use crate::support::registry::{Registry, Setup, wait_for};

#[test]
fn the_enclave_needs_no_network() {
    namespace::run(&["--net"], "ip link set lo up", "faults::enclave::inside_without_a_network");
}

#[test]
#[ignore = "runs in a namespace, started by the_enclave_needs_no_network"]
fn inside_without_a_network() {
    if !namespace::is_inside() {
        return;
    }
    let devices = fs::read_to_string("/proc/net/dev").unwrap();
    let devices: Vec<&str> = devices.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim).collect();
    assert_eq!(devices, ["lo"]);
    let source = Registry::start();
    let images = fill(&source, 1 << 20);
    let machine = Machine::new();
    machine.spec(source.addr());
    machine.run(CREATE).succeeded();
    machine.run(&["verify", "shop.tar", "--key", "bundle.pub"]).succeeded();
    machine.run(&["inspect", "shop.tar"]).succeeded();
    let target = Registry::start();
    machine.run(&[LOAD, &[&target.host()]].concat()).succeeded();
    assert_loaded(target.addr(), "", &images);

    // Served from the archive itself, it can be made once more: the same images, under the names that they have there.
    let pem = fs::read_to_string(machine.path("bundle.pub")).unwrap();
    let policy = Policy::new([PublicKey::from_pem(&pem).unwrap()], 1).unwrap();
    let (archive, _) = admit(Unverified::open(&machine.path("shop.tar")).unwrap(), Some(&policy)).unwrap();
    let shown: Vec<Shown> = archive
        .inventory()
        .images
        .iter()
        .flat_map(|image| {
            let root = Descriptor::new(image.media_type.clone(), image.digest, image.size);
            image.references.iter().map(move |name| Shown {
                name: name.repository.clone(),
                tag: name.tag.clone(),
                root: root.clone(),
                origin: None,
            })
        })
        .collect();
    let store = archive.source();
    let backend = wait_for(async move {
        let catalogue = Catalogue::gather(&store, shown).await.unwrap();
        ReadOnly::new(store, catalogue)
    });
    let served = Registry::of(backend, Setup::default());
    let again = Machine::new();
    again.spec(served.addr());
    again.run(CREATE).succeeded();
    assert!(again.archive() == machine.archive());
}
