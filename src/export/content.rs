//! What was shipped, as far as configuration speaks of it.

use std::collections::BTreeSet;

use crate::{
    archive::Inventory,
    lock::Lock,
    oci::{Digest, Reference},
};

/// What a bundle holds: the same view of an archive and of a lock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The name of the bundle.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its place in the row of bundles of this name.
    pub sequence: u64,
    /// The host names by which what is deployed is reached, sorted; those of the lock that the archive holds.
    pub hosts: Vec<String>,
    /// The images by name, sorted, each name once.
    pub images: Vec<Shipped>,
}

/// One name of an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shipped {
    /// The name under which manifests ask for it.
    pub reference: Reference,
    /// What it is.
    pub digest: Digest,
}

impl Content {
    /// Returns what an archive holds; `lock` is the one in it.
    pub fn of_inventory(inventory: &Inventory, lock: Option<&Lock>) -> Content {
        let named = inventory.images.iter().filter(|image| image.derived_from.is_none());
        let images = named.flat_map(|image| {
            image.references.iter().map(|name| Shipped { reference: name.clone(), digest: image.digest })
        });
        let hosts = lock.map(hosts).unwrap_or_default();
        Content { sequence: inventory.sequence, hosts, ..Content::of(&inventory.name, &inventory.version, images) }
    }

    /// Returns what an archive made from a lock would hold.
    pub fn of_lock(lock: &Lock) -> Content {
        let images = lock.images.iter().map(|image| Shipped { reference: image.image.clone(), digest: image.digest });
        Content { sequence: lock.sequence, hosts: hosts(lock), ..Content::of(&lock.name, &lock.version, images) }
    }

    fn of(name: &str, version: &str, images: impl Iterator<Item = Shipped>) -> Content {
        let images: BTreeSet<Shipped> = images.collect();
        let (name, version) = (name.to_owned(), version.to_owned());
        Content { name, version, images: images.into_iter().collect(), ..Content::default() }
    }
}

fn hosts(lock: &Lock) -> Vec<String> {
    lock.hosts.iter().map(|host| host.host.clone()).collect()
}
